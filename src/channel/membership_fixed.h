/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file membership_fixed.h
 * @brief Private to room "channel": members whose addresses are known before they are heard.
 *
 * What static membership and dns have in common: a set of targets that are greeted each frequency,
 * and the members that were heard from there. Both keep the same state, so every function here can
 * stand in a class as it is; a kind whose targets come and go adds and removes them.
 */
#ifndef SC_MEMBERSHIP_FIXED_H
#define SC_MEMBERSHIP_FIXED_H

#include "roster.h"

/** Most targets: a node may be entered with an address of either family. */
#define SC_FIXED_MAX (2 * SC_MEMBERS_MAX)

/** A member of the list. */
typedef struct sc_fixed_target_t sc_fixed_target_t;

/** What a kind of its own adds. */
typedef struct sc_fixed_kind_t {
    void *more;    /**< its state */
    int expecting; /**< 1: no target is known yet, so having none says nothing (sc_fixed_known) */
    /** somebody whose address is none of the targets' wants to be a member */
    void (*stranger)(sc_membership_t *self, const sc_member_t *m);
} sc_fixed_kind_t;

apr_status_t sc_fixed_create(sc_membership_t *self, const sc_fixed_kind_t *kind, apr_pool_t *pool);
void *sc_fixed_more(const sc_membership_t *self);

/** Another target. @param at its host and port, copied
 *  @return APR_SUCCESS, also when it was there; APR_ENOSPC: there are too many */
apr_status_t sc_fixed_add(sc_membership_t *self, const sc_member_t *at);
/** Greet it no more. Whoever was heard from there is gone, without a good-bye. */
void sc_fixed_remove(sc_membership_t *self, const sc_member_t *at);
/** For how long somebody who is no target has been wanting to be a member, without a pause. To be
 *  asked whenever it does. */
apr_interval_time_t sc_fixed_knocking(sc_membership_t *self, const sc_member_t *m);

/* ---- targets whose addresses are looked up ----------------------------------------------------
 */

/** A target without an address yet; it stays. @return NULL: there are too many */
sc_fixed_target_t *sc_fixed_target(sc_membership_t *self);
/** These are its addresses now: those that are new are greeted. One that is missing from two
 * answers is let go when nobody speaks from there any more.
 *  @param name for the log */
void sc_fixed_found(sc_fixed_target_t *t, const char *name, apr_uint32_t port,
                    const sc_address_t *found, apr_size_t n);
/** Nobody knows where it is: no reason to wait for it. */
void sc_fixed_nowhere(sc_fixed_target_t *t);
/** Whether it has an address. */
int sc_fixed_known_at(const sc_fixed_target_t *t);
/** Whether it has not been heard for dropTime; this node itself never is. */
int sc_fixed_silent(const sc_fixed_target_t *t);

/* ---- as in a class ----------------------------------------------------------------------------
 */

/** What targets there are is known now: greet them, and settle when they have answered or within
 *  two frequencies. */
void sc_fixed_known(sc_membership_t *self);

/** @param patience when to settle although nothing has become known */
apr_status_t sc_fixed_start(sc_membership_t *self, apr_interval_time_t patience);
void sc_fixed_stop(sc_membership_t *self);
void sc_fixed_announce(sc_membership_t *self);
void sc_fixed_datagram(sc_membership_t *self, const void *bytes, apr_size_t len);
int sc_fixed_packet(sc_membership_t *self, const sc_packet_t *packet);
void sc_fixed_dropped(sc_membership_t *self, const sc_member_t *m);
apr_time_t sc_fixed_heard(const sc_membership_t *self, const sc_member_t *m);

#endif
