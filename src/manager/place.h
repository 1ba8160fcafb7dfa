/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file place.h
 * @brief Private to place.c and front.c: locations told and heard.
 *
 *   place.c   what a location that comes in means, and what becomes of records without a body
 *   front.c   lists on their way out; members that are told; STATE, asked and answered
 */
#ifndef SC_MANAGER_PLACE_H
#define SC_MANAGER_PLACE_H

#include "internal.h"

/** A front end forgets what nobody has confirmed for so long. */
#define SC_FRONT_STAY apr_time_from_sec(900)
/** A front end remembers for so long that a session is dead: what was said about it may be late. */
#define SC_FRONT_DEAD apr_time_from_sec(60)

/** A location cannot have changed so many times without a word. */
#define SC_EPOCH_JUMP ((apr_uint32_t)1 << 20)

/** The answer to a STATE, under way. */
typedef struct sc_walk_t {
    int active;
    apr_uint64_t serial; /**< of the STATE */
    apr_uint32_t cursor;
    int done;            /**< the store has been walked through */
    apr_uint32_t flying; /**< lists on their way; they outlive the walk and the member */
    sc_places_t *list;
} sc_walk_t;

/** A member that is told of locations. */
typedef struct sc_told_t {
    sc_manager_t *m;
    int used;
    sc_member_t member;
    sc_places_t *list; /**< to be sent with the next batch; NULL: nothing yet */
    sc_walk_t walk;
    /* on a front end: */
    apr_uint64_t serial; /**< of the last STATE that was sent to it */
    apr_time_t due;      /**< when it is asked again */
} sc_told_t;

typedef struct sc_fronts_t sc_fronts_t;
struct sc_fronts_t {
    sc_told_t node[SC_MEMBERS_MAX]; /**< in the places of the manager's peers */
    sc_told_t front[SC_MEMBERS_MAX];
    int deaths_only; /**< delta manager: everybody holds everything, there are no locations to tell
                      */
    apr_uint32_t nfronts;
    sc_batch_t dead;  /**< sessions that died, for front ends */
    sc_places_t *one; /**< for a location that goes out by itself */
    sc_buf_t msg;     /**< not that of the manager, in which something else may stand ready */
    sc_timer_t flush;
    sc_timer_t walk;
    sc_timer_t tick; /**< of a front end */
    apr_uint64_t serial;
    apr_uint64_t begun; /**< change number of the store when the batch began */
    apr_uint64_t span;  /**< changes in one batch, at most so far */
    apr_uint64_t gap;   /**< change number of the store when something was lost last */
    sc_log_limit_t refused, full;
};

/** Tell one member in the next batch. A record without primary says that there is no such session.
 */
void sc_place_answer(sc_manager_t *m, const sc_member_t *to, const sc_record_t *rec);
/** SC_PLACES_LAST came from this node. */
void sc_place_last(sc_manager_t *m, const sc_member_t *from, apr_uint64_t serial);

#endif
