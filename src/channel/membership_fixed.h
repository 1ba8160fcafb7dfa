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

/** What a kind of its own adds. */
typedef struct sc_fixed_kind_t {
    void *more;    /**< its state */
    int expecting; /**< 1: no target is known yet, so having none says nothing (sc_fixed_known) */
    /** somebody whose address is none of the targets' wants to be a member; NULL: only logged */
    void (*stranger)(sc_membership_t *self, const sc_member_t *m);
} sc_fixed_kind_t;

apr_status_t sc_fixed_create(sc_membership_t *self, const sc_fixed_kind_t *kind, apr_pool_t *pool);
void *sc_fixed_more(const sc_membership_t *self);

/** Another target. @param at its host and port, copied
 *  @return APR_SUCCESS, also when it was there; APR_ENOSPC: there are too many */
apr_status_t sc_fixed_add(sc_membership_t *self, const sc_member_t *at);
/** Greet it no more. Whoever was heard from there is gone, without a good-bye. */
void sc_fixed_remove(sc_membership_t *self, const sc_member_t *at);
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
