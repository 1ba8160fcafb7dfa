/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file digest.h
 * @brief Private to digest*.c: comparisons under way.
 *
 *   digest.c         when, and what a session says
 *   digest_ask.c     the side that wants to know what differs, and has it exchanged
 *   digest_answer.c  the side that lists what it has
 */
#ifndef SC_MANAGER_DIGEST_H
#define SC_MANAGER_DIGEST_H

#include "internal.h"

#define SC_DIGEST_REST apr_time_from_sec(1)  /**< between two comparisons with one peer */
#define SC_DIGEST_MUTE apr_time_from_sec(20) /**< a comparison that does not go on ends */
/** Bytes of an item in a list. */
#define SC_DIGEST_ITEM (SC_ID_LEN + 8)

/** A walk through the store. */
typedef struct sc_sweep_t {
    sc_peer_t *peer;
    apr_uint64_t contexts; /**< bits of those that count */
    apr_uint32_t cursor;
    apr_size_t bytes; /**< looked at in this slice */
} sc_sweep_t;

typedef struct sc_sums_t {
    sc_sweep_t sweep;
    apr_uint64_t sum[SC_DIGEST_RANGES];
    apr_uint32_t n[SC_DIGEST_RANGES];
} sc_sums_t;

typedef struct sc_ask_t sc_ask_t;       /* digest_ask.c */
typedef struct sc_answer_t sc_answer_t; /* digest_answer.c */

/** All there is about one peer. */
struct sc_digest_t {
    sc_peer_t *peer;
    apr_time_t due;   /**< next comparison */
    apr_time_t asked; /**< last one began */
    apr_interval_time_t
        delay;               /**< to the next one, since the last ones found something; 0: not so */
    apr_uint64_t streak;     /**< sessions exchanged since they last agreed */
    apr_uint64_t lacks;      /**< bits of contexts that it has not */
    apr_time_t answered;     /**< when an answer was last begun */
    apr_uint32_t next_range; /**< of the next answer */
    apr_uint32_t posts;      /**< not ended yet */
    sc_ask_t *ask;
    sc_answer_t *answer;
    sc_log_limit_t absurd;
};

/* digest.c */
/** A number that differs when what it has to say does: where a session is, and if both members are
 * to hold it, what is in it. */
apr_uint64_t sc_digest_says(const sc_peer_t *peer, const sc_record_t *rec,
                            const unsigned char *body);
/** Whether a record counts in this walk. */
int sc_sweep_counts(sc_sweep_t *s, const sc_record_t *rec);
/** One slice. @return APR_SUCCESS: go on; APR_EOF: done */
apr_status_t sc_sweep(sc_sweep_t *s, sc_store_scan_fn_t *fn, void *baton);
/** Visits each record of a walk for sums. */
int sc_sums_add(void *baton, const sc_record_t *rec, const unsigned char *body);
/** Post m->msg. @return 0: it cannot be */
int sc_digest_post(sc_digest_t *d);
/** Of a peer, made when there is none. @return NULL: out of memory */
sc_digest_t *sc_digest_of(sc_manager_t *m, sc_peer_t *peer);
/** Time between two comparisons with one peer. */
apr_interval_time_t sc_digest_round(const sc_manager_t *m);
/** The next comparison with a peer, no sooner than it may be. */
void sc_digest_due(sc_digest_t *d, apr_time_t due);
/** This node is done with a comparison, others may wait for their turn. */
void sc_digest_next(sc_manager_t *m);

/* digest_ask.c */
void sc_ask_start(sc_digest_t *d);
void sc_ask_free(sc_digest_t *d);
/** A post for this peer has ended. */
void sc_ask_posted(sc_digest_t *d, apr_status_t rv);

/* digest_answer.c */
void sc_answer_free(sc_digest_t *d);
void sc_answer_posted(sc_digest_t *d, apr_status_t rv);

#endif
