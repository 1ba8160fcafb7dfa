/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file move.h
 * @brief Private to move*.c: changes of location under way.
 *
 *   move.c         one session, or some together, from here to their new holders
 *   move_copy.c    the sessions go to their new holders
 *   move_claim.c   the number of a new location, claimed and promised
 *   move_answer.c  what the others say to that
 *   move_wait.c    requests that wait for that
 *   move_await.c   and for what others decide
 *   move_notify.c  the others' side: NOTIFY, COPY, TAKE
 *   move_review.c  which sessions are to move, and when; leaving
 *   move_lost.c    what becomes of a copy that is not to be here any more
 */
#ifndef SC_MANAGER_MOVE_H
#define SC_MANAGER_MOVE_H

#include "internal.h"

#define SC_MOVES_MAX 1024       /**< sessions under way at once */
#define SC_MOVES_BACKGROUND 768 /**< of these for which no request waits, at most */
#define SC_MOVES_BATCH 64       /**< sessions that are asked for together */
#define SC_MOVES_BUCKETS 256
#define SC_MOVE_FULL                                                                               \
    apr_time_from_sec(10) /**< a member without room is not asked again so soon                    \
                           */
#define SC_MOVE_FULL_URGENT apr_time_from_sec(1) /**< nor, if a request waits, so soon */

#define SC_PROMISES 4096 /**< of which is remembered what was promised and accepted */

typedef struct sc_move_wait_t sc_move_wait_t; /* a request that waits: move_wait.c */

/** One session. */
typedef struct sc_move_t {
    struct sc_move_t *next;    /**< of the bucket */
    struct sc_move_t *sibling; /**< of the batch */
    sc_manager_t *m;
    apr_uint16_t context;
    sc_id_t id;
    sc_record_t want;     /**< id, context, and the location that is asked for */
    sc_record_t base;     /**< what it begins from: as it is here, or what was asked for last */
    apr_uint16_t taker;   /**< who asked to become primary; SC_ROUTE_NONE: nobody */
    apr_uint64_t without; /**< bits of the places of those that are not to hold it */
    int urgent;           /**< begun for a request */
    int asked;         /**< others have been asked, so some may know of it: it has to be decided */
    apr_uint64_t copy; /**< bits of the places of those that get a copy */
    apr_uint64_t stay; /**< of these, those that hold it already */
    apr_uint64_t told; /**< of those that may take themselves for holders by what was asked */
    apr_uint64_t lack; /**< of those that had none when they were asked */
    int refused;
    int dirty;          /**< others have changed it since it was copied, which was refused */
    int known_better;   /**< somebody knew a higher epoch, which has been taken */
    apr_uint32_t heard; /**< highest epoch that somebody knows */
    apr_uint32_t tries;
    sc_move_wait_t *waits;
    sc_move_wait_t **tail;
    sc_timer_t patience; /**< of the requests that wait */
} sc_move_t;

/** What a batch does now: CLAIM, COPY, ASK. After PAUSE it begins with CLAIM again. From ASK back
 * to COPY when others have changed the sessions meanwhile. */
typedef enum sc_move_phase_t {
    SC_MOVE_CLAIM, /**< the numbers are being claimed */
    SC_MOVE_COPY,  /**< blocks are on their way */
    SC_MOVE_ASK,   /**< all peers have been asked to accept the locations */
    SC_MOVE_PAUSE  /**< before another attempt */
} sc_move_phase_t;

/** Sessions that are asked for together. */
typedef struct sc_moving_t {
    struct sc_moving_t *next;
    sc_manager_t *m;
    sc_move_phase_t phase;
    sc_move_t *items;    /**< NULL: it ends at its next step */
    sc_timer_t timer;    /**< when it is looked at again, in each phase */
    apr_uint64_t serial; /**< of what was posted last: a new one for CLAIM and COPY, kept in ASK */

    /* COPY */
    apr_uint32_t copies;                 /**< blocks on their way; 0 in all other phases */
    apr_uint32_t copied[SC_MEMBERS_MAX]; /**< serial of the peer in that place that was sent some */

    /* COPY, and ASK after it */
    apr_uint64_t broken; /**< bits of the places where one did not get to */
    int accepted;        /**< by all, before; those that were to get copies get newer ones, the
                            answers count as they are. 0 in CLAIM and PAUSE */

    /* CLAIM, ASK, and COPY with accepted: the answers */
    apr_time_t asked_at;                /**< for the first time */
    apr_uint32_t asked[SC_MEMBERS_MAX]; /**< serial of the peer in that place that was asked */
    apr_uint64_t replied;               /**< bits of the places */
    apr_uint64_t overdue;               /**< of those that have had their time */
} sc_moving_t;

typedef struct sc_lost_t sc_lost_t; /* move_lost.c */

/** What is remembered of a session: a number that was promised, a location that was accepted. */
typedef struct sc_promise_t {
    apr_uint16_t context;
    sc_id_t id;
    apr_uint32_t number;   /**< 0: none */
    apr_uint64_t store_id; /**< of whom it was promised to */
    apr_time_t at;
    apr_uint32_t open;   /**< epoch of a location that is not known to be decided; 0: none */
    apr_uint64_t opener; /**< who asked for that */
    apr_time_t opened;
} sc_promise_t;

typedef struct sc_await_t sc_await_t; /* move_wait.c */
/** Keep a request, until sc_move_let_go runs it again or sc_move_forget_waits forgets it.
 * @return NULL: too many wait */
sc_move_wait_t *sc_move_keep(sc_manager_t *m, const sc_link_call_t *call, sc_link_op_t op,
                             int again, const unsigned char *body, apr_size_t len,
                             apr_time_t since);

/* move_await.c */

typedef struct sc_moves_t sc_moves_t;
struct sc_moves_t {
    apr_uint32_t n;          /**< sessions under way */
    apr_uint32_t background; /**< of these, without a request */
    apr_uint32_t nwaits;
    sc_await_t *awaits; /**< move_await.c */
    apr_uint64_t serial;
    sc_move_t *bucket[SC_MOVES_BUCKETS];
    sc_moving_t *batches;
    apr_time_t full[SC_MEMBERS_MAX]; /**< a member in that place has no room until then */
    sc_log_limit_t full_log;
    sc_promise_t promise[SC_PROMISES]; /**< move_claim.c */

    sc_lost_t *lost; /**< move_lost.c */
    apr_uint32_t nlost;
    sc_timer_t lost_timer;

    struct { /**< move_review.c */
        sc_timer_t timer;
        sc_timer_t tick;
        int wanted; /**< a walk through the store is to begin */
        int active; /**< one is under way */
        apr_uint32_t cursor;
        apr_uint32_t started; /**< in this walk */
        apr_uint32_t decided; /**< since it began */
        apr_uint32_t short_copies;
        int full;           /**< some did not even begin, for want of room elsewhere */
        apr_uint32_t idle;  /**< walks in a row after which nothing was decided */
        apr_uint64_t view;  /**< what the last tick saw */
        apr_time_t paid;    /**< copies are accounted for until then */
        apr_uint64_t moved; /**< for the log */
    } review;
    apr_time_t leave_until;
};

/* move.c */
sc_move_t *sc_move_find(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** Where the session should be, which this node owns. @param without bits of the places of those
 * that are not to hold it @return 0: where it is */
int sc_move_want(sc_manager_t *m, const sc_record_t *rec, apr_uint16_t taker, apr_uint64_t without,
                 sc_record_t *want);
/** Whether the record is live, has a body, is held here, and this node is its owner. */
int sc_move_mine(sc_manager_t *m, const sc_record_t *rec);
/** Make an entry. @return NULL: too many */
sc_move_t *sc_move_add(sc_manager_t *m, const sc_record_t *rec, const sc_record_t *want,
                       int urgent);
/** Begin with entries that hang together by sibling. @return copies that were posted */
apr_uint32_t sc_move_begin(sc_manager_t *m, sc_move_t *items);
/** Take an entry out of its batch, and let its requests go on. */
void sc_move_drop(sc_move_t *move);

/** An entry that is off its batch ends, and its requests go on. @param decided its location has
 * changed */
void sc_move_end(sc_move_t *move, int decided);
/** The same, undecided, of entries that hang together by sibling. */
void sc_move_end_all(sc_move_t *items);
/** Whether somebody who is to get a copy has no room for it. */
int sc_move_no_room(sc_manager_t *m, apr_uint64_t places, int urgent);

/** Go on if all have answered who have to. It may be gone then. */
void sc_move_decide(sc_moving_t *b);
/** Ask all peers: to promise the numbers, or to accept the locations. It may be gone then. */
void sc_move_ask(sc_moving_t *b, sc_move_phase_t phase);
/** The items of a batch fall into those that go on and those that are tried again after a pause.
 * Both lists together are the batch's. @return 0: none goes on, it is not this one's turn any more
 */
int sc_move_part(sc_moving_t *b, sc_move_t *good, sc_move_t *refused);
/** The batch is looked at again when it is time to ask once more. */
void sc_move_look_again(sc_moving_t *b);

/* move_copy.c */
/** Bits of the places of those that are to hold the session and do not. */
apr_uint64_t sc_move_newcomers(sc_manager_t *m, const sc_record_t *rec, const sc_record_t *want);
/** Who is to get a copy: move->copy and move->stay. @param rec as it is here */
void sc_move_plan_copies(sc_move_t *move, const sc_record_t *rec);
/** The sessions go to their new holders, and then all are asked. It may be gone then. */
void sc_move_copy(sc_moving_t *b);
/** All have accepted, but others have changed these since they were copied: they are copied once
 * more. It may be gone then. @param b as it was asked, allocated; it becomes a batch of its own,
 * of these */
void sc_move_copy_again(sc_moving_t *b, sc_move_t *items);
/** All have answered who have to: if one who is to get a copy has not, or has none, the move is
 * refused. */
void sc_move_judge_copies(sc_moving_t *b, sc_move_t *move);

/* move_await.c */
/** One session's location is decided: what waited for that goes on. */
void sc_move_go_on(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** Forget all. */
void sc_move_await_stop(sc_manager_t *m);

/* move_claim.c */
/** A number that was promised for a session: by its record, or as far as it is remembered. */
apr_uint32_t sc_promise_number(const sc_manager_t *m, const sc_record_t *rec);
/** @param store_id of the member that it is promised to */
void sc_promise_make(sc_manager_t *m, const sc_record_t *rec, apr_uint32_t number,
                     apr_uint64_t store_id);
/** Whether a number may be promised to that member: it is higher than what was promised, or just
 * this one was promised to just this member. */
int sc_promise_free(const sc_manager_t *m, const sc_record_t *rec, apr_uint32_t number,
                    apr_uint64_t store_id);
/** This node has accepted a location by which it holds the session; it is open until it is decided.
 * @param store_id of the member that asked for it */
void sc_promise_open(sc_manager_t *m, const sc_record_t *in, apr_uint64_t store_id);
/** It is decided. */
void sc_promise_decided(sc_manager_t *m, const sc_record_t *in);
/** The number of the next attempt, which this node promises to itself. @return 0: there is none */
int sc_move_number(sc_move_t *move, const sc_record_t *rec);
/** Claim the numbers of a batch. It may be gone then. */
void sc_move_claim(sc_moving_t *b);
/** All have answered to that. */
void sc_move_claimed(sc_moving_t *b);

/* move_wait.c */
sc_move_wait_t *sc_move_take_waits(sc_move_t *move);
/** Requests that have waited go on; some end in here, others may begin a move. */
void sc_move_let_go(sc_manager_t *m, sc_move_wait_t *w);
void sc_move_forget_waits(sc_move_wait_t *w);

/* move_review.c */
/** A session is done with. */
void sc_review_kick(sc_manager_t *m, int decided);

/* move_lost.c */
int sc_lost_pending(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
void sc_lost_stop(sc_manager_t *m);

#endif
