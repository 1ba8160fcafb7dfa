/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file fetch.h
 * @brief Private to fetch*.c: sessions that are being asked for.
 *
 *   fetch.c        asking, and those who wait for it
 *   fetch_judge.c  what the answers amount to; ids that nobody had
 *
 * What peers ask for (fetch_asked.c) needs nothing of this.
 */
#ifndef SC_MANAGER_FETCH_H
#define SC_MANAGER_FETCH_H

#include "internal.h"

/** A request that waits. */
struct sc_waiter_t {
    sc_waiter_t *next;
    sc_link_call_t call;
    sc_link_op_t op;
    int again;
    int creates; /**< the session is to be a new one */
    apr_time_t since;
    apr_size_t len;
    unsigned char body[];
};

/** What one peer was asked and has said. */
typedef struct sc_fetch_asked_t {
    apr_uint32_t serial; /**< of the peer in that place when it was asked; 0: not asked */
    int answered;
    int gave;           /**< it holds the session: its copy has been merged */
    apr_uint32_t epoch; /**< of the location by which it does */
    int blank;          /**< it has forgotten what it was told */
    int none;           /**< it knows nothing of it, or that it is dead */
    apr_uint16_t route; /**< its */
} sc_fetch_asked_t;

/** One session. */
struct sc_fetch_t {
    sc_fetch_t *next; /**< of the bucket */
    sc_manager_t *m;
    apr_uint16_t context;
    sc_id_t id;
    int everybody; /**< all peers are to be asked, not only one */
    int decided;   /**< somebody answered who knows best */
    int found;
    int full;         /**< found, but there was no room for it */
    int holders;      /**< backup manager: the holders are asked, everybody if need be */
    int away;         /**< somebody has missed so many members that all holders may be among them */
    int unreadable;   /**< somebody has it, or knows where it is, in a way that was refused */
    int sure_copy;    /**< who knows best had it, */
    int sure_absent;  /**< or not */
    int rounds;       /**< how often it was asked for anew */
    int had_body;     /**< something was here when it began, */
    int own_copy;     /**< and this node was a holder */
    int dropped;      /**< it is gone since, with all that had been merged */
    sc_record_t best; /**< newest location that anybody knows; primary SC_ROUTE_NONE: none yet */
    char hint[SC_ROUTE_MAX + 1];
    sc_fetch_asked_t asked[SC_MEMBERS_MAX];
    sc_timer_t timer;
    sc_waiter_t *waiters;
    sc_waiter_t **tail;
    apr_time_t began;
    apr_uint64_t serial; /**< of its questions */
    sc_waiter_t *late;   /**< backup manager: came after the questions: they need newer answers */
    sc_waiter_t **late_tail;
};

/* fetch_judge.c */
/** Whether everybody has answered who was asked. @param mute_too 0: those count that can answer
 * (lease.c) */
int sc_fetch_all_answered(const sc_fetch_t *f, int mute_too);
/** Whether the member of this route holds the session by the newest location that anybody knows. */
int sc_fetch_is_holder(const sc_fetch_t *f, apr_uint16_t route);
/** Backup manager: whether what has been merged is the latest. */
int sc_fetch_counts(const sc_fetch_t *f);
/** Whether what has come is all that can be found out. */
int sc_fetch_is_complete(const sc_fetch_t *f);
/** Whether another holder has not said that it has nothing, or has gone and may come back with it:
 * who stands in for it need not have had it. */
int sc_fetch_is_one_owed(const sc_fetch_t *f);
/** What came of it, at its end. Drops a copy that does not count, and remembers an id that nobody
 * had. */
sc_outcome_t sc_fetch_outcome(sc_fetch_t *f);

#endif
