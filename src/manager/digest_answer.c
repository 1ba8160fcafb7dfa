/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Comparing with a peer: the side that answers; see digest.c.
 *
 * It works out its own sums for the same contexts; then it goes through its store once more and
 * notes the sessions of the ranges that differ, of so many ranges as fit into bounded memory. They
 * go out sorted, in lists that are complete for an interval of ids each, some at a time: the next
 * ones when those have arrived. The next answer begins with the range after, so that ranges that
 * cannot be made equal do not keep the others from it.
 */
#include <stdlib.h>
#include <string.h>

#include "digest.h"

#define RANGES_AT_ONCE 16
#define ENTRIES_AT_ONCE 65536 /* unless one range alone has more */
#define ANSWERS_AT_ONCE 4     /* that hold entries */
#define TURN apr_time_from_msec(100)
#define PAUSE apr_time_from_msec(500) /* between two answers to one peer */
#define LIST_ITEMS (SC_LIST_BYTES / SC_DIGEST_ITEM)

_Static_assert(LIST_ITEMS <= SC_DIGEST_ITEMS, "what is written can be read");

typedef struct entry_t {
    sc_id_t id;
    apr_uint16_t context;
    apr_uint64_t sum;
} entry_t;

typedef enum stage_t {
    ANSWER_SUMS,   /* the own sums */
    ANSWER_CHOOSE, /* ranges to be listed */
    ANSWER_LIST,   /* collecting their sessions */
    ANSWER_SEND
} stage_t;

struct sc_answer_t {
    stage_t stage;
    apr_uint64_t serial;
    sc_sums_t own;
    apr_uint64_t theirs[SC_DIGEST_RANGES];
    unsigned char chosen[SC_DIGEST_RANGES];
    apr_uint32_t differ; /* ranges */
    entry_t *entries;
    apr_size_t n, cap;
    /* sending: the next list is of this range and context, and begins so */
    apr_uint32_t range;
    apr_uint16_t context;
    sc_id_t from;
    apr_size_t at; /* entry */
    int failed;
    sc_timer_t timer;
};

static void answer_run(void *baton, apr_time_t now);

static void run_at(sc_digest_t *d, apr_time_t when)
{
    (void)sc_timer_set(d->peer->m->cfg.timers, &d->answer->timer, when, answer_run, d);
}

void sc_answer_free(sc_digest_t *d)
{
    if (d->answer != NULL) {
        sc_timer_cancel(d->peer->m->cfg.timers, &d->answer->timer);
        free(d->answer->entries);
        free(d->answer);
        d->answer = NULL;
    }
}

void sc_answer_posted(sc_digest_t *d, apr_status_t rv)
{
    if (d->answer != NULL && d->answer->stage == ANSWER_SEND) {
        d->answer->failed |= rv != APR_SUCCESS;
        if (d->posts == 0) {
            run_at(d, sc_mgr_now(d->peer->m));
        }
    }
}

/* The last message. @param names of contexts that are not here, as they travel */
static void post_end(sc_digest_t *d, apr_uint64_t serial, apr_uint32_t differ, apr_uint64_t n,
                     const sc_buf_t *names)
{
    sc_manager_t *m = d->peer->m;
    sc_msg_digest_list_t l;

    memset(&l, 0, sizeof(l));
    l.serial = serial;
    l.range = differ;
    l.n = n;
    if (n > 0) {
        l.items = names->data;
        l.items_len = names->len;
    }
    sc_buf_clear(&m->msg);
    sc_msg_digest_list_put(&m->msg, &l);
    (void)sc_digest_post(d); /* else the peer waits for a while, and asks again */
}

/* Without lists: the peer tries again after a while. */
static void give_up(sc_digest_t *d)
{
    const sc_answer_t *a = d->answer;

    post_end(d, a->serial, a->differ > 0 ? a->differ : SC_DIGEST_RANGES, 0, NULL);
    sc_answer_free(d);
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* Answers that hold entries. */
static apr_uint32_t answers(const sc_manager_t *m)
{
    apr_uint32_t n = 0;
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_digest_t *d = m->peer[i].digest;

        n += m->peer[i].serial != 0 && d != NULL && d->answer != NULL && d->answer->entries != NULL;
    }
    return n;
}

static apr_uint32_t count_different(const sc_answer_t *a)
{
    apr_uint32_t n = 0, i;

    for (i = 0; i < SC_DIGEST_RANGES; i++) {
        n += a->own.sum[i] != a->theirs[i];
    }
    return n;
}

/* @return entries that they will need, about */
static apr_size_t choose_ranges(sc_digest_t *d)
{
    sc_answer_t *a = d->answer;
    apr_size_t entries = 0;
    apr_uint32_t ranges = 0, i;
    apr_uint32_t begin = d->next_range;

    for (i = 0; i < SC_DIGEST_RANGES && ranges < RANGES_AT_ONCE; i++) {
        apr_uint32_t r = (begin + i) % SC_DIGEST_RANGES;

        if (a->own.sum[r] == a->theirs[r]) {
            continue;
        }
        if (ranges > 0 && entries + a->own.n[r] > ENTRIES_AT_ONCE) {
            break;
        }
        entries += a->own.n[r];
        a->chosen[r] = 1;
        ranges++;
        d->next_range = (r + 1) % SC_DIGEST_RANGES;
    }
    return entries;
}

static void choose(sc_digest_t *d, apr_time_t now)
{
    sc_manager_t *m = d->peer->m;
    sc_answer_t *a = d->answer;
    apr_time_t due = now + (d->delay > SC_DIGEST_REST ? d->delay : SC_DIGEST_REST);

    a->differ = count_different(a);
    if (a->differ == 0) {
        post_end(d, a->serial, 0, 0, NULL);
        sc_answer_free(d);
        return;
    }
    if (answers(m) >= ANSWERS_AT_ONCE) {
        run_at(d, now + TURN);
        return;
    }
    /* what this node has buried only its own question brings to light */
    if (d->ask == NULL && d->due > due) {
        sc_digest_due(d, due);
    }
    a->cap = choose_ranges(d);
    a->cap += a->cap / 4 + 256; /* more may come meanwhile */
    a->entries = malloc(a->cap * sizeof(*a->entries));
    if (a->entries == NULL) {
        give_up(d);
        return;
    }
    a->stage = ANSWER_LIST;
    a->own.sweep.cursor = 0;
    run_at(d, now);
}

/* ---- listing -------------------------------------------------------------------------------- */

static int add_entry(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    sc_answer_t *a = baton;

    if (sc_sweep_counts(&a->own.sweep, rec) && a->chosen[rec->id.b[0]]) {
        entry_t *e = &a->entries[a->n];

        if (a->n == a->cap) {
            a->failed = 1; /* a list that is not complete would be a lie */
            return 0;
        }
        a->n++;
        e->id = rec->id;
        e->context = rec->context;
        e->sum = sc_digest_says(a->own.sweep.peer, rec, body);
    }
    return 1;
}

/* By range, context, id. */
static int entry_cmp(const void *x, const void *y)
{
    const entry_t *a = x;
    const entry_t *b = y;

    if (a->id.b[0] != b->id.b[0]) {
        return a->id.b[0] < b->id.b[0] ? -1 : 1;
    }
    if (a->context != b->context) {
        return a->context < b->context ? -1 : 1;
    }
    return memcmp(a->id.b, b->id.b, SC_ID_LEN);
}

static void sort_entries(sc_answer_t *a)
{
    apr_size_t n = 0, i;

    if (a->n > 0) {
        qsort(a->entries, a->n, sizeof(*a->entries), entry_cmp);
    }
    for (i = 0; i < a->n; i++) {
        if (n == 0 || entry_cmp(&a->entries[n - 1], &a->entries[i]) != 0) {
            a->entries[n++] = a->entries[i]; /* a walk may meet a record twice */
        }
    }
    a->n = n;
}

/* ---- sending -------------------------------------------------------------------------------- */

/* Stand at the first list there is. @return 0: there is none left */
static int find_list(sc_answer_t *a)
{
    while (a->range < SC_DIGEST_RANGES && (!a->chosen[a->range] || a->context >= SC_CONTEXTS_MAX ||
                                           !(a->own.sweep.contexts >> a->context & 1))) {
        if (a->chosen[a->range] && a->context + 1 < SC_CONTEXTS_MAX) {
            a->context++;
        } else {
            a->range++;
            a->context = 0;
        }
        memset(&a->from, 0, sizeof(a->from));
        a->from.b[0] = (unsigned char)a->range;
    }
    return a->range < SC_DIGEST_RANGES;
}

static int of_list(const sc_answer_t *a, apr_size_t i)
{
    return i < a->n && a->entries[i].id.b[0] == a->range && a->entries[i].context == a->context;
}

/* The id before; there is one, for it is larger than another one of its range. */
static sc_id_t before(sc_id_t id)
{
    int i = SC_ID_LEN - 1;

    while (i > 0 && id.b[i] == 0) {
        id.b[i--] = 0xFF;
    }
    id.b[i]--;
    return id;
}

/* The list at which it stands to m->msg; then it stands at the next one. */
static void put_list(sc_digest_t *d)
{
    sc_manager_t *m = d->peer->m;
    sc_answer_t *a = d->answer;
    sc_msg_digest_list_t l;

    memset(&l, 0, sizeof(l));
    l.serial = a->serial;
    l.context.s = sc_store_context_name(m->store, a->context);
    l.context.len = strlen(l.context.s);
    l.range = a->range;
    l.from = a->from;
    sc_buf_clear(&m->old);
    while (of_list(a, a->at) && l.n < LIST_ITEMS) {
        sc_item_digest_put(&m->old, &a->entries[a->at].id, a->entries[a->at].sum);
        a->at++;
        l.n++;
    }
    l.items = m->old.data;
    l.items_len = m->old.len;
    if (of_list(a, a->at)) {
        a->from = a->entries[a->at].id;
        l.upto = before(a->from);
    } else {
        memset(&l.upto, 0xFF, sizeof(l.upto));
        l.upto.b[0] = (unsigned char)a->range;
        memset(&a->from, 0, sizeof(a->from));
        a->from.b[0] = (unsigned char)a->range;
        a->context++;
    }
    sc_buf_clear(&m->msg);
    sc_msg_digest_list_put(&m->msg, &l);
    m->msg.err = m->msg.err == APR_SUCCESS ? m->old.err : m->msg.err;
}

static void send_some(sc_digest_t *d, apr_time_t now)
{
    sc_manager_t *m = d->peer->m;
    sc_answer_t *a = d->answer;
    apr_size_t bytes = 0;

    if (d->posts > 0) {
        run_at(d, now + SC_DIGEST_MUTE); /* their end brings us back */
        return;
    }
    while (bytes < SC_LIST_BYTES && find_list(a)) {
        put_list(d);
        if (!sc_digest_post(d)) {
            sc_answer_free(d);
            return;
        }
        bytes += m->msg.len;
    }
    if (find_list(a)) {
        run_at(d, now + SC_DIGEST_MUTE);
        return;
    }
    post_end(d, a->serial, a->differ, 0, NULL);
    sc_answer_free(d);
}

static void answer_run(void *baton, apr_time_t now)
{
    sc_digest_t *d = baton;
    sc_answer_t *a = d->answer;
    apr_status_t rv = APR_SUCCESS;

    switch (a->stage) {
    case ANSWER_SUMS:
        d->answered = now;
        rv = sc_sweep(&a->own.sweep, sc_sums_add, &a->own);
        break;
    case ANSWER_CHOOSE:
        choose(d, now);
        return;
    case ANSWER_LIST:
        rv = sc_sweep(&a->own.sweep, add_entry, a);
        break;
    case ANSWER_SEND:
        break;
    }
    if (a->failed || (rv != APR_SUCCESS && rv != APR_EOF)) {
        give_up(d);
        return;
    }
    if (a->stage == ANSWER_SEND) {
        send_some(d, now);
        return;
    }
    if (rv == APR_EOF) {
        a->stage = a->stage == ANSWER_SUMS ? ANSWER_CHOOSE : ANSWER_SEND;
        if (a->stage == ANSWER_SEND) {
            sort_entries(a);
        }
    }
    run_at(d, now);
}

/* ---- being asked ---------------------------------------------------------------------------- */

/* Bits of the contexts that are here; the others' names. */
static apr_uint64_t known_contexts(sc_manager_t *m, const sc_msg_digest_t *msg, sc_buf_t *names,
                                   apr_uint64_t *unknown)
{
    apr_uint64_t which = 0;
    apr_uint16_t index;
    apr_uint32_t i;

    *unknown = 0;
    sc_buf_clear(names);
    for (i = 0; i < msg->ncontexts; i++) {
        const sc_text_t *name = &msg->context[i];

        if (sc_store_context(m->store, name->s, name->len, 0, &index) == APR_SUCCESS &&
            index < SC_CONTEXTS_MAX) {
            which |= (apr_uint64_t)1 << index;
        } else {
            sc_put_str(names, name->s, name->len);
            ++*unknown;
        }
    }
    return which;
}

apr_status_t sc_digest_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    apr_time_t now = sc_mgr_now(m);
    sc_msg_digest_t msg;
    apr_uint64_t contexts, unknown;
    sc_digest_t *d;

    if (sc_msg_digest_get(r, &msg) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    d = peer != NULL && m->state == SC_NODE_READY ? sc_digest_of(m, peer) : NULL;
    if (d == NULL) {
        return APR_SUCCESS; /* it will ask again */
    }
    sc_answer_free(d); /* the peer has given it up */
    contexts = known_contexts(m, &msg, &m->old, &unknown);
    d->lacks &= ~contexts; /* it has them now */
    if (unknown > 0) {
        post_end(d, msg.serial, 0, unknown, &m->old);
        return APR_SUCCESS;
    }
    d->answer = calloc(1, sizeof(*d->answer));
    if (d->answer == NULL) {
        return APR_SUCCESS;
    }
    d->answer->serial = msg.serial;
    d->answer->own.sweep.peer = peer;
    d->answer->own.sweep.contexts = contexts;
    memcpy(d->answer->theirs, msg.sum, sizeof(msg.sum));
    run_at(d, now > d->answered + PAUSE ? now : d->answered + PAUSE);
    return APR_SUCCESS;
}
