/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file outbox.h
 * @brief Private to room "channel": group commit, one outbox per member.
 *
 * Records that are posted while an envelope is on its way are put together and go in the next one:
 * the busier the line, the larger the envelopes, and the latency of one round trip is paid once for
 * all that waited. An outbox owns its envelopes; what is in flight when it is destroyed ends on its
 * own, so the transport may report the end of a send at any time later.
 */
#ifndef SC_OUTBOX_H
#define SC_OUTBOX_H

#include "sc_interceptor.h"

typedef struct sc_outbox_t sc_outbox_t;
typedef struct sc_post_t sc_post_t;

/** What all outboxes of a channel share. */
typedef struct sc_post_office_t {
    const sc_chain_env_t *env;
    void *ctx;
    void (*send)(void *ctx, const sc_outgoing_t *out);
    /** The chain's bound on asynchronous messages, as in sc_interceptor_class_t. */
    int (*reserve)(void *ctx, apr_uint64_t bytes);
    void (*release)(void *ctx, apr_uint64_t bytes);
    apr_size_t max_record;
    apr_size_t max_queue;
    apr_uint64_t streams; /**< started so far */
    sc_post_t *ended;     /**< posts whose end has not been told yet, in order */
    sc_post_t **ended_tail;
    sc_outbox_t *boxes;
    sc_timer_t timer;
    sc_log_limit_t overflow_log;
    sc_log_limit_t lost_log;
} sc_post_office_t;

/** @param po zeroed, with env, ctx, the functions and the limits filled in */
void sc_post_office_init(sc_post_office_t *po);
/** Send all that waits, without regard to what is in flight. */
void sc_post_office_flush(sc_post_office_t *po);
/** Tell the ends of all posts that have ended. */
void sc_post_office_settle(sc_post_office_t *po);

/** @return NULL when out of memory */
sc_outbox_t *sc_outbox_create(sc_post_office_t *po, const sc_member_t *to);
/** End all posts with APR_ECONNABORTED (told later, or by sc_post_office_settle). */
void sc_outbox_destroy(sc_outbox_t *box);
/** As sc_channel_post. */
apr_status_t sc_outbox_post(sc_outbox_t *box, const void *bytes, apr_size_t len,
                            apr_uint32_t options, apr_uint64_t lsn, sc_sent_fn_t *done,
                            void *baton);
/** Bytes and records that wait for their turn; what is in flight is the transport's. */
void sc_outbox_queued(const sc_outbox_t *box, apr_uint64_t *bytes, apr_uint32_t *records);
/** Since when something has been in flight without a pause; 0: nothing is. */
apr_time_t sc_outbox_since(const sc_outbox_t *box);

#endif
