/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Group commit.
 *
 * An outbox has one envelope in flight and a queue of envelopes, of which the last one is filling.
 * A first post into an empty outbox does not leave at once but at the end of the current round of
 * the event loop (a timer that is due now), so that what one round of requests brings travels
 * together; from then on each acknowledgement sends the next envelope.
 *
 * The head of an envelope is written when it leaves, since only then its number is known. Room for
 * the longest head is kept free before the records, and the head is put right in front of them: the
 * bytes of a record are copied into the envelope once and never moved.
 *
 * Asynchronous records count in the chain's bound (MessageDispatch) from when they are posted until
 * their envelope has ended. When that bound is full, what waits for the member that takes most of
 * it is dropped: a member that hangs must not cost the others their messages.
 *
 * What goes wrong becomes visible to the receiver as a gap in the numbers. An envelope that failed
 * keeps its number; a queue that was dropped because it was full skips one. If nothing else is
 * waiting then, an empty envelope follows after a while, and again until one arrives: a loss that
 * is only noticed with the next change could stay unnoticed for a night.
 */
#include <stdlib.h>
#include <string.h>

#include "envelope.h"
#include "outbox.h"

/* Records are put together up to this size; a larger one travels alone. */
#define ENVELOPE_BYTES (1024 * 1024)
#define REVEAL_INTERVAL apr_time_from_sec(1)
#define LOG_INTERVAL apr_time_from_sec(10)

struct sc_post_t {
    sc_post_t *next;
    sc_sent_fn_t *done;
    void *baton;
    apr_status_t rv;
};

typedef struct envelope_t envelope_t;

struct envelope_t {
    envelope_t *next;
    sc_outbox_t *box; /* NULL: the outbox is gone */
    sc_buf_t buf;     /* room for the head, then records */
    apr_uint32_t records;
    apr_uint32_t async_records; /* of these */
    apr_uint64_t async_bytes;   /* of those, reserved in the chain */
    apr_uint32_t options;
    apr_uint64_t lsn;
    sc_post_t *posts; /* those that wait for its end */
    sc_post_t **posts_tail;
};

struct sc_outbox_t {
    sc_outbox_t *next;
    sc_post_office_t *po;
    sc_member_t to;
    apr_uint64_t stream;
    apr_uint64_t seq; /* number of the last envelope sent */
    apr_uint64_t lsn; /* of the last record posted */
    int broken;       /* something was dropped since */
    int failed;       /* the last envelope did not arrive */
    envelope_t *waiting;
    envelope_t *filling; /* last of waiting */
    envelope_t *flying;
    apr_uint64_t waiting_bytes;
    apr_uint64_t waiting_async; /* of these, reserved in the chain */
    apr_uint64_t flying_bytes;
    apr_time_t flying_since; /* the one that was sent first of those in flight */
    apr_uint32_t waiting_records;
    sc_timer_t reveal;
};

/* ---- ends of posts -------------------------------------------------------------------------- */

static void office_due(void *baton, apr_time_t now);

static void wake_office(sc_post_office_t *po)
{
    if (po->timer.index == 0) {
        (void)sc_timer_set(po->env->timers, &po->timer, sc_mono(po->env->clock), office_due, po);
    }
}

/** Append a chain of posts to those whose end is to be told. */
static void end_posts(sc_post_office_t *po, sc_post_t *posts, apr_status_t rv)
{
    while (posts != NULL) {
        sc_post_t *post = posts;

        posts = post->next;
        post->next = NULL;
        post->rv = rv;
        *po->ended_tail = post;
        po->ended_tail = &post->next;
        wake_office(po);
    }
}

void sc_post_office_settle(sc_post_office_t *po)
{
    while (po->ended != NULL) {
        sc_post_t *post = po->ended;

        po->ended = post->next;
        if (po->ended == NULL) {
            po->ended_tail = &po->ended;
        }
        post->done(post->baton, post->rv);
        free(post);
    }
}

/* ---- envelopes ------------------------------------------------------------------------------ */

static envelope_t *envelope_create(sc_outbox_t *box, apr_size_t first)
{
    envelope_t *e = calloc(1, sizeof(*e));
    apr_size_t limit = first > ENVELOPE_BYTES ? first : ENVELOPE_BYTES;

    if (e == NULL) {
        return NULL;
    }
    sc_buf_init(&e->buf, SC_ENVELOPE_HEAD_MAX + limit);
    if (sc_buf_reserve(&e->buf, SC_ENVELOPE_HEAD_MAX + first) == NULL) {
        free(e);
        return NULL;
    }
    e->buf.len = SC_ENVELOPE_HEAD_MAX;
    e->posts_tail = &e->posts;
    e->box = box;
    e->options = SC_OPT_BYTE_MESSAGE | SC_OPT_ASYNCHRONOUS;
    return e;
}

/** Its records are on their way no longer, whatever became of them. */
static void give_back(sc_post_office_t *po, envelope_t *e)
{
    if (e->async_bytes > 0) {
        po->release(po->ctx, e->async_bytes);
        e->async_bytes = 0;
    }
}

static void envelope_free(envelope_t *e)
{
    sc_buf_free(&e->buf);
    free(e);
}

/** Put the head in front of the records. @return where the envelope begins */
static apr_size_t envelope_close(envelope_t *e, const sc_envelope_t *head)
{
    unsigned char room[SC_ENVELOPE_HEAD_MAX];
    sc_buf_t b = {room, 0, sizeof(room), sizeof(room), APR_SUCCESS};
    apr_size_t start;

    sc_envelope_put_head(&b, head);
    start = SC_ENVELOPE_HEAD_MAX - b.len;
    memcpy(e->buf.data + start, room, b.len);
    return start;
}

static void envelope_ended(void *baton, apr_status_t rv);

static void send_first(sc_outbox_t *box)
{
    envelope_t *e = box->waiting;
    apr_size_t size = e->buf.len - SC_ENVELOPE_HEAD_MAX;
    sc_envelope_t head = {0};
    sc_outgoing_t out;
    apr_size_t start;

    box->waiting = e->next;
    if (box->waiting == NULL) {
        box->filling = NULL;
    }
    box->waiting_bytes -= size;
    box->waiting_async -= e->async_bytes;
    box->waiting_records -= e->records;
    if (box->flying == NULL) {
        box->flying_since = sc_mono(box->po->env->clock);
    }
    e->next = box->flying;
    box->flying = e;
    box->flying_bytes += size;

    box->seq += box->broken ? 2 : 1;
    box->broken = 0;
    head.stream = box->stream;
    head.seq = box->seq;
    head.store_id = box->po->env->local->store_id;
    head.lsn = e->lsn;
    start = envelope_close(e, &head);

    memset(&out, 0, sizeof(out));
    out.packet.options = e->options;
    sc_packet_stamp(box->po->env, &out.packet);
    out.packet.body = e->buf.data + start;
    out.packet.body_len = e->buf.len - start;
    out.to = &box->to;
    out.lane = SC_LANE_DATA;
    out.dispatched = 1;
    out.done = envelope_ended;
    out.baton = e;
    box->po->send(box->po->ctx, &out);
    /* whoever sends has made its own copy; keep the length, it is taken off when the flight ends */
    free(e->buf.data);
    e->buf.data = NULL;
}

static void send_next(sc_outbox_t *box)
{
    if (box->flying == NULL && box->waiting != NULL) {
        send_first(box);
    }
}

/** Something was lost and nothing is on its way that would show it: send an empty envelope. */
static void reveal_due(void *baton, apr_time_t now)
{
    sc_outbox_t *box = baton;
    envelope_t *e;

    (void)now;
    if (box->flying != NULL || box->waiting != NULL) {
        return;
    }
    e = envelope_create(box, 0);
    if (e == NULL) {
        (void)sc_timer_set(box->po->env->timers, &box->reveal, now + REVEAL_INTERVAL, reveal_due,
                           box);
        return;
    }
    e->options = SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK;
    e->lsn = box->lsn;
    box->waiting = box->filling = e;
    send_first(box);
}

static void reveal_later(sc_outbox_t *box)
{
    if ((box->broken || box->failed) && box->flying == NULL && box->waiting == NULL &&
        box->reveal.index == 0) {
        (void)sc_timer_set(box->po->env->timers, &box->reveal,
                           sc_mono(box->po->env->clock) + REVEAL_INTERVAL, reveal_due, box);
    }
}

/** Nobody waits for these records, so nobody else would say that they are lost. */
static void async_lost(sc_outbox_t *box, apr_uint32_t records, apr_status_t rv)
{
    const sc_chain_env_t *env = box->po->env;
    apr_uint64_t more = 0;
    char name[SC_MEMBER_NAME];

    if (records == 0) {
        return;
    }
    if (env->board != NULL) {
        sc_count(env->board, async_lost, records);
    }
    if (sc_log_allowed(&box->po->lost_log, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, rv,
               "SC0542: %u asynchronous messages did not reach member %s (and others "
               "%" APR_UINT64_T_FMT " times before); it will ask for what it missed",
               records, sc_member_name(&box->to, name), more);
    }
}

static void envelope_ended(void *baton, apr_status_t rv)
{
    envelope_t *e = baton;
    sc_outbox_t *box = e->box;

    if (box != NULL) {
        sc_post_office_t *po = box->po;
        envelope_t **link = &box->flying;

        while (*link != e) {
            link = &(*link)->next;
        }
        *link = e->next;
        box->flying_bytes -= e->buf.len - SC_ENVELOPE_HEAD_MAX;
        box->failed = rv != APR_SUCCESS;
        if (rv != APR_SUCCESS) {
            async_lost(box, e->async_records, rv);
        }
        give_back(po, e);
        end_posts(po, e->posts, rv);
        send_next(box);
        reveal_later(box);
        envelope_free(e);
        sc_post_office_settle(po);
        return;
    }
    envelope_free(e);
}

/* ---- the office ----------------------------------------------------------------------------- */

static void office_due(void *baton, apr_time_t now)
{
    sc_post_office_t *po = baton;
    sc_outbox_t *box;

    (void)now;
    for (box = po->boxes; box != NULL; box = box->next) {
        send_next(box);
    }
    sc_post_office_settle(po);
}

void sc_post_office_init(sc_post_office_t *po)
{
    po->ended = NULL;
    po->ended_tail = &po->ended;
}

void sc_post_office_flush(sc_post_office_t *po)
{
    sc_outbox_t *box;

    for (box = po->boxes; box != NULL; box = box->next) {
        while (box->waiting != NULL) {
            send_first(box);
        }
    }
}

/* ---- outboxes ------------------------------------------------------------------------------- */

/** A number that no other stream of this cluster has: mixed from the engine's random unique id and
 *  a counter (the finalizer of splitmix64). */
static apr_uint64_t new_stream(sc_post_office_t *po)
{
    apr_uint64_t x = ++po->streams * 0x9E3779B97F4A7C15ull;
    sc_rd_t r;

    sc_rd_init(&r, po->env->local->uid.b, sizeof(po->env->local->uid.b));
    x += sc_get_u64(&r);
    x ^= sc_get_u64(&r);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    x ^= x >> 31;
    return x != 0 ? x : 1;
}

sc_outbox_t *sc_outbox_create(sc_post_office_t *po, const sc_member_t *to)
{
    sc_outbox_t *box = calloc(1, sizeof(*box));

    if (box != NULL) {
        box->po = po;
        box->to = *to;
        box->stream = new_stream(po);
        box->next = po->boxes;
        po->boxes = box;
    }
    return box;
}

static void drop_waiting(sc_outbox_t *box, apr_status_t rv)
{
    while (box->waiting != NULL) {
        envelope_t *e = box->waiting;

        box->waiting = e->next;
        end_posts(box->po, e->posts, rv);
        give_back(box->po, e);
        envelope_free(e);
    }
    box->filling = NULL;
    box->waiting_bytes = 0;
    box->waiting_async = 0;
    box->waiting_records = 0;
}

void sc_outbox_destroy(sc_outbox_t *box)
{
    sc_outbox_t **link = &box->po->boxes;
    envelope_t *e;

    while (*link != box) {
        link = &(*link)->next;
    }
    *link = box->next;
    sc_timer_cancel(box->po->env->timers, &box->reveal);
    for (e = box->flying; e != NULL; e = e->next) {
        end_posts(box->po, e->posts, APR_ECONNABORTED);
        e->posts = NULL;
        e->box = NULL;
        give_back(box->po, e);
    }
    drop_waiting(box, APR_ECONNABORTED);
    free(box);
}

/** Drop all that waits. @param refused bytes of the record that has found no room; 0: none has
 *  @param async whether that one is asynchronous */
static void overflow(sc_outbox_t *box, apr_status_t rv, apr_size_t refused, int async)
{
    const sc_chain_env_t *env = box->po->env;
    apr_uint32_t lost = async ? 1 : 0;
    char name[SC_MEMBER_NAME];
    const envelope_t *e;

    for (e = box->waiting; e != NULL; e = e->next) {
        lost += e->async_records;
    }
    if (env->board != NULL) {
        sc_count(env->board, async_lost, lost);
    }
    if (sc_log_allowed(&box->po->overflow_log, sc_mono(env->clock), LOG_INTERVAL, NULL)) {
        sc_log(env->log, SC_LOG_WARNING, rv,
               "SC0410: what waits for member %s was dropped (%" APR_UINT64_T_FMT
               " bytes in %u records); it will ask for what it missed",
               sc_member_name(&box->to, name), box->waiting_bytes + refused,
               box->waiting_records + (refused > 0));
    }
    drop_waiting(box, APR_ENOSPC);
    box->broken = 1;
    reveal_later(box);
}

/** The outbox with most asynchronous bytes waiting. */
static sc_outbox_t *fullest(const sc_post_office_t *po)
{
    sc_outbox_t *found = NULL;
    sc_outbox_t *box;

    for (box = po->boxes; box != NULL; box = box->next) {
        if (found == NULL || box->waiting_async > found->waiting_async) {
            found = box;
        }
    }
    return found;
}

/** Have an asynchronous record counted in the chain's bound. @return 0: it is to be refused */
static int reserve(sc_outbox_t *box, apr_size_t size)
{
    sc_post_office_t *po = box->po;
    sc_outbox_t *full;

    if (po->reserve(po->ctx, size)) {
        return 1;
    }
    full = fullest(po);
    if (full->waiting_async < size) {
        return 0;
    }
    overflow(full, APR_ENOSPC, 0, 0);
    return po->reserve(po->ctx, size);
}

/** The envelope that takes a record of this size. @return NULL when out of memory */
static envelope_t *envelope_for(sc_outbox_t *box, apr_size_t size)
{
    envelope_t *e = box->filling;

    if (e != NULL && size <= e->buf.limit - e->buf.len &&
        e->buf.limit - SC_ENVELOPE_HEAD_MAX <= ENVELOPE_BYTES) {
        return e;
    }
    e = envelope_create(box, size);
    if (e == NULL) {
        return NULL;
    }
    if (box->filling != NULL) {
        box->filling->next = e;
    } else {
        box->waiting = e;
    }
    box->filling = e;
    return e;
}

/** What the envelope asks for is what the most demanding of its records does; it is asynchronous
 *  on the wire only if all of them are. */
static apr_uint32_t merge_options(apr_uint32_t old, apr_uint32_t options)
{
    apr_uint32_t async = old & options & SC_OPT_ASYNCHRONOUS;

    return (((old | options) & ~(apr_uint32_t)SC_OPT_ASYNCHRONOUS) | async) &
           ~(apr_uint32_t)(SC_OPT_UDP | SC_OPT_MULTICAST);
}

apr_status_t sc_outbox_post(sc_outbox_t *box, const void *bytes, apr_size_t len,
                            apr_uint32_t options, apr_uint64_t lsn, sc_sent_fn_t *done, void *baton)
{
    apr_size_t size = sc_varint_size(len) + len;
    int async = (options & SC_OPT_ASYNCHRONOUS) != 0;
    sc_post_t *post = NULL;
    envelope_t *e;

    if (len > box->po->max_record) {
        return APR_EINVAL;
    }
    box->lsn = lsn;
    if (box->waiting_bytes + box->flying_bytes > 0 &&
        box->waiting_bytes + box->flying_bytes + size > box->po->max_queue) {
        overflow(box, APR_ENOSPC, size, async);
        return APR_ENOSPC;
    }
    if (async && !reserve(box, size)) {
        overflow(box, APR_ENOSPC, size, async);
        return APR_ENOSPC;
    }
    if (done != NULL) {
        post = calloc(1, sizeof(*post));
    }
    e = done != NULL && post == NULL ? NULL : envelope_for(box, size);
    if (e != NULL) {
        sc_put_str(&e->buf, bytes, len);
    }
    if (e == NULL || e->buf.err != APR_SUCCESS) {
        free(post);
        if (async) {
            box->po->release(box->po->ctx, size);
        }
        overflow(box, APR_ENOMEM, size, async);
        return APR_ENOMEM;
    }
    e->records++;
    e->options = merge_options(e->options, options);
    e->lsn = lsn;
    if (async) {
        e->async_records++;
        e->async_bytes += size;
        box->waiting_async += size;
    }
    box->waiting_bytes += size;
    box->waiting_records++;
    if (post != NULL) {
        post->done = done;
        post->baton = baton;
        if (async) {
            end_posts(box->po, post, APR_SUCCESS);
        } else {
            *e->posts_tail = post;
            e->posts_tail = &post->next;
        }
    }
    wake_office(box->po);
    return APR_SUCCESS;
}

void sc_outbox_queued(const sc_outbox_t *box, apr_uint64_t *bytes, apr_uint32_t *records)
{
    *bytes = box->waiting_bytes;
    *records = box->waiting_records;
}

apr_time_t sc_outbox_since(const sc_outbox_t *box)
{
    return box->flying != NULL ? box->flying_since : 0;
}
