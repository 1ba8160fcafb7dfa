/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file newcomers.h
 * @brief Private to room "channel": members that are asked whether they are there before anybody
 *        has to make place for them.
 *
 * With a secret a datagram proves that a member said this once, not that it lives: who has recorded
 * a group can play its dead to a node that never heard them. A connection proves it, since only who
 * lives can answer with its unique id. Bounded: so many questions at a time, and a member that does
 * not answer is asked again after a second at the earliest.
 */
#ifndef SC_NEWCOMERS_H
#define SC_NEWCOMERS_H

#include "sc_membership.h"

typedef struct sc_newcomers_t sc_newcomers_t;

/** Whom a question is about. */
typedef struct sc_newcomer_t {
    sc_member_t m;
    apr_uint64_t said; /**< its wall clock when it said so, milliseconds; 0: not known */
    sc_member_t rival; /**< who would have to go, and is asked, too, when the newcomer answers */
} sc_newcomer_t;

/** A question has been answered, or not.
 *  @param n valid during the call, which may ask further questions
 *  @param rival_lives 0: the rival was asked, too, and did not answer; 1: it did, or was not asked
 */
typedef void sc_newcomer_fn_t(void *baton, const sc_newcomer_t *n, int lives, int rival_lives);

/** @param answered called once for each question that was taken, never from within the call that
 *  asks, not after sc_newcomers_clear */
sc_newcomers_t *sc_newcomers_create(const sc_chain_env_t *env, sc_newcomer_fn_t *answered,
                                    void *baton, apr_pool_t *pool);
/** Ask it, unless it is being asked or has been asked just now.
 *  @param ask_rival also ask the rival when it answers: otherwise it has been decided already */
void sc_newcomers_ask(sc_newcomers_t *all, const sc_newcomer_t *n, int ask_rival);
/** Forget all questions. */
void sc_newcomers_clear(sc_newcomers_t *all);

#endif
