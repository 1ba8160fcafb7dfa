/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file roster.h
 * @brief Private to room "channel": the members that a membership service has heard, and what
 *        follows from hearing them. Shared by all kinds of membership.
 */
#ifndef SC_ROSTER_H
#define SC_ROSTER_H

#include "sc_membership.h"

typedef struct sc_roster_t sc_roster_t;

/** @param self whose up functions are called */
sc_roster_t *sc_roster_create(sc_membership_t *self, apr_pool_t *pool);
/** What is heard may be a recording: nobody makes place for a member that does not answer. */
apr_status_t sc_roster_doubt(sc_roster_t *r, apr_pool_t *pool);
/** While held, members are noted but not reported; release reports those noted and not expired. */
void sc_roster_hold(sc_roster_t *r);
void sc_roster_release(sc_roster_t *r);
/** Forget all without a word. */
void sc_roster_clear(sc_roster_t *r);

/** A member was heard, of ours or one without our mark that is accepted: new, again, changed,
 * restarted, or leaving (SHUTDOWN command).
 *  @param said its wall clock when it said so, milliseconds; 0: not known */
void sc_roster_heard(sc_roster_t *r, const sc_member_t *m, apr_uint64_t said);
/** A member says good-bye. */
void sc_roster_goodbye(sc_roster_t *r, const sc_member_t *m);
/** Report members that have been silent for longer than dropTime. */
void sc_roster_expire(sc_roster_t *r);
/** Forget a member, so that it is new when it is heard again. */
void sc_roster_drop(sc_roster_t *r, const sc_member_t *m);
/** Whoever was heard with this address is gone, without a good-bye. */
void sc_roster_vacate(sc_roster_t *r, const sc_member_t *at);
/** Mono time a member was last heard, 0 if unknown. */
apr_time_t sc_roster_last_heard(const sc_roster_t *r, const sc_member_t *m);

/** alive_ms for an announcement: grows with each one, so that late ones are recognised. */
void sc_roster_set_alive(sc_membership_t *self, apr_time_t started);

#endif
