/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_membership.h
 * @brief Room "channel": who is there. A service announces the local member and reports the others.
 *
 * Pure logic over timers and the transport; no sockets. New kinds of membership implement this
 * struct and are entered in sc_membership_find.
 */
#ifndef SC_MEMBERSHIP_H
#define SC_MEMBERSHIP_H

#include "sc_interceptor.h"

typedef struct sc_membership_t sc_membership_t;

typedef struct sc_membership_up_t {
    void *baton;
    void (*added)(void *baton, const sc_member_t *m);
    void (*changed)(void *baton, const sc_member_t *m);
    void (*gone)(void *baton, const sc_member_t *m, int goodbye);
    /** Members without our mark are heard; the service has logged it. At most once per minute. */
    void (*foreign)(void *baton, const sc_member_t *m);
    /** The first round of listening and announcing is over. */
    void (*settled)(void *baton);
} sc_membership_up_t;

typedef struct sc_membership_class_t {
    const char *name;
    apr_status_t (*create)(sc_membership_t *self, apr_pool_t *pool);
    apr_status_t (*start)(sc_membership_t *self);
    /** say good-bye and stop */
    void (*stop)(sc_membership_t *self);
    /** the local member has changed: announce it now */
    void (*announce)(sc_membership_t *self);
    /** a datagram of the group */
    void (*datagram)(sc_membership_t *self, const void *bytes, apr_size_t len);
    /** a frame on the control lane or from anybody: @return 1: it was membership's, swallow it */
    int (*packet)(sc_membership_t *self, const sc_packet_t *packet);
    /** the layer above has removed or refused a member: forget it, so that it can be added again */
    void (*dropped)(sc_membership_t *self, const sc_member_t *m);
    /** mono time a member was last heard, 0 if unknown */
    apr_time_t (*heard)(const sc_membership_t *self, const sc_member_t *m);
} sc_membership_class_t;

struct sc_membership_t {
    const sc_membership_class_t *cls;
    const sc_chain_env_t *env;
    sc_member_t *local; /**< alive_ms is set by the service at each announcement */
    sc_membership_up_t up;
    void *state;
};

const sc_membership_class_t *sc_membership_find(sc_membership_kind_t kind);

extern const sc_membership_class_t sc_membership_multicast_class;
extern const sc_membership_class_t sc_membership_static_class;
extern const sc_membership_class_t sc_membership_none_class;

#endif
