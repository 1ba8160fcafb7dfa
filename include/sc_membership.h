/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_membership.h
 * @brief Room "channel": who is there. A service announces the local member and reports the others.
 *
 * Pure logic over timers and the transport; no sockets.
 *
 * ## A further kind (a registry, a cloud's list of machines)
 *
 * 1. A file src/channel/membership_<kind>.c with an sc_membership_class_t, and its declaration
 * here.
 *    - create makes self->state; it may look at env->config and nothing else.
 *    - start begins timers and sends the first greetings. It must see to it that up.settled is
 *      called exactly once, from a timer, also when nobody answers: the node does not serve from
 *      its copies before.
 *    - up.added, changed and gone must agree with each other, and bear being called back
 *      (dropped) from within. roster.h does all of that: a kind only has to tell it who was heard
 *      (sc_roster_heard) and to let it expire members each frequency.
 *    - a kind that finds addresses and not members (a list, a directory) hands them to
 *      membership_fixed.h, which greets whoever is there and hears who answers; see
 *      membership_dns.c, which adds nothing but the look-up.
 *    - what blocks is a matter of the transport: a function of sc_transport_t that answers by a
 *      callback, as resolve does. Tests and the simulator bring their own.
 * 2. A constant in sc_membership_kind_t and a line in sc_membership_find (membership.c).
 * 3. A name in set_membership (src/httpd/directives.c), a table of its attributes in
 *    option_tables.c, what they must not contradict in config.c, and what "auto" means for the
 *    receiver's address in listen.c.
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

/** What Tribes' interceptors say of their sender in a message of its own (tribes-protocol 4.9,
 *  4.10). */
typedef enum sc_membership_text_t { SC_TEXT_PING, SC_TEXT_STOP } sc_membership_text_t;

/** The text of such a message. */
void sc_membership_text(sc_membership_text_t which, const unsigned char **text, apr_size_t *len);

extern const sc_membership_class_t sc_membership_multicast_class;
extern const sc_membership_class_t sc_membership_static_class;
extern const sc_membership_class_t sc_membership_dns_class;
extern const sc_membership_class_t sc_membership_none_class;

#endif
