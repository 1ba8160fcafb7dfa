/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Comparing with a peer: the side that asks; see digest.c.
 *
 * The lists that come are kept until the last one has come; then this node's store is walked
 * through once, each session in the ranges listed is looked up, and what is left on the lists is
 * what only the peer has. Sessions that differ are noted, as many as may be exchanged at once, and
 * exchanged step by step.
 */
#include <stdlib.h>
#include <string.h>

#include "digest.h"

#define SLICE_ITEMS 1000
#define LISTS_MAX 4096 /* taken in one answer */
#define LISTS_BYTES (8 * 1024 * 1024)
#define ACTIONS_MAX 2000 /* sessions exchanged in one comparison */
#define POSTS_AT_ONCE 64 /* and SC_LIST_BYTES: then their acknowledgements are waited for */
#define FETCHES_AT_ONCE 32
#define POLL apr_time_from_msec(20)

/* One list that came; its items stand in the buffer. */
typedef struct list_t {
    apr_uint16_t context;
    sc_id_t from, upto;
    apr_size_t first; /* item */
    apr_size_t n;
} list_t;

#define ACT_SEND 0x1
#define ACT_FETCH 0x2

typedef struct action_t {
    sc_id_t id;
    apr_uint16_t context;
    apr_uint16_t what;
} action_t;

typedef enum phase_t {
    ASK_SUMS,    /* the own sums */
    ASK_WAIT,    /* for lists and the end */
    ASK_OWN,     /* the own sessions against the lists */
    ASK_MISSING, /* what is left on the lists */
    ASK_EXCHANGE
} phase_t;

struct sc_ask_t {
    phase_t phase;
    apr_uint64_t serial;
    apr_uint64_t lsn; /* of the own store when it was asked: what changed later is not compared */
    sc_sums_t own;
    list_t *lists;
    apr_size_t nlists, cap;
    sc_buf_t items;
    unsigned char *seen;                    /* by item: it is here, too */
    apr_size_t nseen;                       /* items looked at in ASK_MISSING */
    unsigned char listed[SC_DIGEST_RANGES]; /* 1: something of this range */
    apr_uint32_t ranges;                    /* that differed, as the peer says */
    int refused;                            /* some of what came was too much */
    int failed;                             /* something could not be delivered */
    apr_uint64_t found;                     /* sessions that differ */
    apr_uint64_t busy;                      /* that changed meanwhile */
    action_t *actions;
    apr_size_t nactions, done;
    apr_time_t moved; /* last progress */
    sc_timer_t timer;
};

static void ask_run(void *baton, apr_time_t now);

static void run_ask(sc_digest_t *d, apr_time_t when)
{
    (void)sc_timer_set(d->peer->m->cfg.timers, &d->ask->timer, when, ask_run, d);
}

/* ---- life ----------------------------------------------------------------------------------- */

typedef enum outcome_t { OUT_AGREED, OUT_DIFFERED, OUT_CONTEXTS, OUT_FAILED } outcome_t;

void sc_ask_free(sc_digest_t *d)
{
    sc_ask_t *a = d->ask;

    if (a != NULL) {
        sc_timer_cancel(d->peer->m->cfg.timers, &a->timer);
        sc_buf_free(&a->items);
        free(a->lists);
        free(a->seen);
        free(a->actions);
        free(a);
        d->ask = NULL;
    }
}

/* A refusal (APR_EGENERAL) may mean something else in the same envelope, and there may be sessions
 * that the peer cannot take: that must not keep the others from it. */
void sc_ask_posted(sc_digest_t *d, apr_status_t rv)
{
    sc_ask_t *a = d->ask;

    if (a == NULL) {
        return;
    }
    a->failed |= rv != APR_SUCCESS && rv != APR_EGENERAL;
    if (a->failed || (a->phase == ASK_EXCHANGE && d->posts == 0)) {
        run_ask(d, sc_mgr_now(d->peer->m));
    }
}

static apr_uint32_t ranges_listed(const sc_ask_t *a)
{
    apr_uint32_t n = 0, i;

    for (i = 0; i < SC_DIGEST_RANGES; i++) {
        n += a->listed[i];
    }
    return n;
}

/* Whether there is more to be found, and it pays to go on at once: sessions do get fewer. */
static int goes_on(const sc_digest_t *d)
{
    const sc_ask_t *a = d->ask;
    sc_store_stats_t stats;

    sc_store_stats(d->peer->m->store, &stats);
    return a->nactions > 0 && (a->nactions == ACTIONS_MAX || a->ranges > ranges_listed(a)) &&
           d->streak <= 2 * (stats.sessions + stats.proxies) + ACTIONS_MAX;
}

static void count_found(sc_digest_t *d)
{
    sc_manager_t *m = d->peer->m;
    char name[SC_MEMBER_NAME];

    sc_count(m->board, digests, 1);
    if (d->ask->found > 0) {
        sc_count(m->board, differences, d->ask->found);
        sc_log(m->cfg.log, SC_LOG_INFO, 0,
               "SC0590: %" APR_UINT64_T_FMT " sessions differed from those of member %s; their "
               "versions are being exchanged",
               d->ask->found, sc_member_name(&d->peer->member, name));
    }
}

static void ask_end(sc_digest_t *d, outcome_t outcome)
{
    sc_manager_t *m = d->peer->m;
    apr_time_t now = sc_mgr_now(m);
    apr_interval_time_t round = sc_digest_round(m);

    if (outcome == OUT_AGREED || outcome == OUT_DIFFERED || d->ask->phase == ASK_EXCHANGE) {
        count_found(d);
    }
    switch (outcome) {
    case OUT_AGREED:
        d->delay = 0;
        d->streak = 0;
        break;
    case OUT_CONTEXTS:
        break;
    default:
        d->streak += d->ask->nactions;
        d->delay = goes_on(d) ? 0 : 2 * d->delay;
        if (d->delay < SC_DIGEST_REST) {
            d->delay = SC_DIGEST_REST;
        } else if (d->delay > round) {
            d->delay = round;
        }
        break;
    }
    if (d->peer->digest_soon) {
        sc_digest_due(d, now);
    } else if (outcome == OUT_CONTEXTS) {
        sc_digest_due(d, now);
    } else {
        sc_digest_due(d, now + (outcome == OUT_AGREED ? round : d->delay));
    }
    sc_ask_free(d);
    sc_digest_next(m);
}

static apr_uint64_t own_contexts(const sc_manager_t *m)
{
    apr_uint64_t which = 0;
    apr_uint16_t i;

    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        if (sc_store_context_name(m->store, i)[0] != '\0') {
            which |= (apr_uint64_t)1 << i;
        }
    }
    return which;
}

void sc_ask_start(sc_digest_t *d)
{
    sc_manager_t *m = d->peer->m;
    apr_time_t now = sc_mgr_now(m);
    apr_uint64_t contexts = own_contexts(m) & ~d->lacks;

    d->asked = now;
    d->peer->digest_soon = 0;
    d->ask = contexts != 0 ? calloc(1, sizeof(*d->ask)) : NULL;
    if (d->ask == NULL) {
        sc_digest_due(d, now + sc_digest_round(m));
        return;
    }
    d->ask->serial = ++m->digest.serial;
    d->ask->own.sweep.peer = d->peer;
    d->ask->own.sweep.contexts = contexts;
    d->ask->moved = now;
    sc_buf_init(&d->ask->items, LISTS_BYTES);
    run_ask(d, now);
}

/* ---- sums ----------------------------------------------------------------------------------- */

static int post_sums(sc_digest_t *d)
{
    sc_manager_t *m = d->peer->m;
    sc_ask_t *a = d->ask;
    sc_msg_digest_t msg;
    apr_uint16_t i;

    memset(&msg, 0, sizeof(msg));
    msg.serial = a->serial;
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        if (a->own.sweep.contexts >> i & 1) {
            const char *name = sc_store_context_name(m->store, i);

            msg.context[msg.ncontexts].s = name;
            msg.context[msg.ncontexts++].len = strlen(name);
        }
    }
    memcpy(msg.sum, a->own.sum, sizeof(msg.sum));
    sc_buf_clear(&m->msg);
    sc_msg_digest_put(&m->msg, &msg);
    a->lsn = sc_mgr_lsn(m);
    return sc_digest_post(d);
}

/* ---- what comes back ------------------------------------------------------------------------ */

static void refuse_lists(sc_digest_t *d)
{
    sc_manager_t *m = d->peer->m;
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    d->ask->refused = 1;
    sc_count(m->board, ignored, 1);
    if (sc_log_allowed(&d->absurd, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0591: lists of sessions of member %s were refused: too many, or not as they were "
               "asked for (%" APR_UINT64_T_FMT " more before)",
               sc_member_name(&d->peer->member, name), more);
    }
}

static int more_lists(sc_ask_t *a)
{
    apr_size_t cap = a->cap > 0 ? 2 * a->cap : 32;
    list_t *lists;

    if (a->nlists < a->cap) {
        return 1;
    }
    lists = a->nlists < LISTS_MAX ? realloc(a->lists, cap * sizeof(*lists)) : NULL;
    if (lists == NULL) {
        return 0;
    }
    a->lists = lists;
    a->cap = cap;
    return 1;
}

static void take_list(sc_digest_t *d, const sc_msg_digest_list_t *l, apr_uint16_t context)
{
    sc_ask_t *a = d->ask;
    list_t *mine;

    if (!more_lists(a) || l->items_len > a->items.limit - a->items.len) {
        refuse_lists(d);
        return;
    }
    mine = &a->lists[a->nlists];
    mine->context = context;
    mine->from = l->from;
    mine->upto = l->upto;
    mine->first = a->items.len / SC_DIGEST_ITEM;
    mine->n = (apr_size_t)l->n;
    sc_put(&a->items, l->items, l->items_len);
    if (a->items.err == APR_SUCCESS) {
        a->nlists++;
        a->listed[l->range] = 1;
    }
}

static int list_cmp(const void *x, const void *y)
{
    const list_t *a = x;
    const list_t *b = y;

    if (a->context != b->context) {
        return a->context < b->context ? -1 : 1;
    }
    return memcmp(a->from.b, b->from.b, SC_ID_LEN);
}

/* In order for searching; of two that overlap one goes. */
static void sort_lists(sc_digest_t *d)
{
    sc_ask_t *a = d->ask;
    apr_size_t n = 0, i;

    if (a->nlists > 0) {
        qsort(a->lists, a->nlists, sizeof(*a->lists), list_cmp);
    }
    for (i = 0; i < a->nlists; i++) {
        if (n > 0 && a->lists[n - 1].context == a->lists[i].context &&
            memcmp(a->lists[n - 1].upto.b, a->lists[i].from.b, SC_ID_LEN) >= 0) {
            refuse_lists(d);
        } else {
            a->lists[n++] = a->lists[i];
        }
    }
    a->nlists = n;
}

/* The peer has these not. What was named already, or not asked for, does not count: else a peer
 * could have itself asked again and again. */
static outcome_t lacks(sc_digest_t *d, const sc_msg_digest_list_t *l)
{
    apr_uint64_t before = d->lacks;
    apr_uint16_t context;
    apr_uint64_t i;
    sc_rd_t r;

    sc_rd_init(&r, l->items, l->items_len);
    for (i = 0; i < l->n; i++) {
        apr_size_t len;
        const char *name = (const char *)sc_get_str(&r, SC_CONTEXT_MAX, &len);

        if (name != NULL &&
            sc_store_context(d->peer->m->store, name, len, 0, &context) == APR_SUCCESS &&
            context < SC_CONTEXTS_MAX) {
            d->lacks |= (apr_uint64_t)1 << context & d->ask->own.sweep.contexts;
        }
    }
    return d->lacks != before ? OUT_CONTEXTS : OUT_FAILED;
}

/* All lists have come. */
static void take_end(sc_digest_t *d, const sc_msg_digest_list_t *l)
{
    sc_ask_t *a = d->ask;
    apr_size_t n;

    if (l->n > 0) {
        ask_end(d, lacks(d, l));
        return;
    }
    if (l->range == 0) {
        ask_end(d, OUT_AGREED);
        return;
    }
    a->ranges = l->range;
    sort_lists(d);
    n = a->items.len / SC_DIGEST_ITEM;
    a->seen = calloc(n + 1, 1);
    a->actions = calloc(ACTIONS_MAX, sizeof(*a->actions));
    if (a->seen == NULL || a->actions == NULL) {
        ask_end(d, OUT_FAILED);
        return;
    }
    a->phase = ASK_OWN;
    a->own.sweep.cursor = 0;
    run_ask(d, sc_mgr_now(d->peer->m));
}

apr_status_t sc_digest_listed(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_digest_t *d = peer != NULL ? peer->digest : NULL;
    sc_msg_digest_list_t l;
    apr_uint16_t context;

    if (sc_msg_digest_list_get(r, &l) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (d == NULL || d->ask == NULL || d->ask->phase != ASK_WAIT || d->ask->serial != l.serial) {
        sc_count(m->board, ignored, 1); /* of a comparison that was given up */
        return APR_SUCCESS;
    }
    d->ask->moved = sc_mgr_now(m);
    run_ask(d, d->ask->moved + SC_DIGEST_MUTE);
    if (l.context.len == 0) {
        take_end(d, &l);
    } else if (sc_store_context(m->store, l.context.s, l.context.len, 0, &context) == APR_SUCCESS &&
               context < SC_CONTEXTS_MAX && (d->ask->own.sweep.contexts >> context & 1)) {
        take_list(d, &l, context);
    } else {
        refuse_lists(d);
    }
    return APR_SUCCESS;
}

/* ---- the own sessions against the lists ----------------------------------------------------- */

static const unsigned char *item_at(const sc_ask_t *a, apr_size_t i)
{
    return a->items.data + i * SC_DIGEST_ITEM;
}

static const list_t *find_list(const sc_ask_t *a, apr_uint16_t context, const sc_id_t *id)
{
    apr_size_t low = 0, high = a->nlists;

    /* the last one that begins no later */
    while (low < high) {
        apr_size_t mid = (low + high) / 2;
        const list_t *l = &a->lists[mid];

        if (l->context < context ||
            (l->context == context && memcmp(l->from.b, id->b, SC_ID_LEN) <= 0)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low == 0 || a->lists[low - 1].context != context ||
        memcmp(id->b, a->lists[low - 1].upto.b, SC_ID_LEN) > 0) {
        return NULL;
    }
    return &a->lists[low - 1];
}

/* @return 0: the peer has no such session */
static int find_item(const sc_ask_t *a, const list_t *l, const sc_id_t *id, apr_size_t *found)
{
    apr_size_t low = l->first, high = l->first + l->n;

    while (low < high) {
        apr_size_t mid = (low + high) / 2;
        int c = memcmp(item_at(a, mid), id->b, SC_ID_LEN);

        if (c == 0) {
            *found = mid;
            return 1;
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return 0;
}

static void differs(sc_ask_t *a, apr_uint16_t context, const sc_id_t *id, apr_uint16_t what)
{
    a->found++;
    if (a->nactions < ACTIONS_MAX) {
        action_t *act = &a->actions[a->nactions++];

        act->context = context;
        act->id = *id;
        act->what = what;
    }
}

static apr_uint64_t item_sum(const unsigned char *item)
{
    apr_uint64_t sum;
    sc_id_t id;
    sc_rd_t r;

    sc_rd_init(&r, item, SC_DIGEST_ITEM);
    (void)sc_item_digest_get(&r, &id, &sum);
    return sum;
}

static int compare_own(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    sc_ask_t *a = baton;
    sc_peer_t *peer = a->own.sweep.peer;
    apr_uint16_t what = ACT_SEND;
    const list_t *l;
    apr_size_t i;

    if (!sc_sweep_counts(&a->own.sweep, rec) || !a->listed[rec->id.b[0]] ||
        (l = find_list(a, rec->context, &rec->id)) == NULL) {
        return 1;
    }
    if (find_item(a, l, &rec->id, &i)) {
        a->seen[i] = 1;
        if (sc_layout_here(peer->m, rec) && sc_layout_at(peer->m, rec, peer)) {
            what |= ACT_FETCH; /* else it says where the session is if it knows better */
        }
        if (item_sum(item_at(a, i)) == sc_digest_says(peer, rec, body)) {
            return 1;
        }
    }
    if (rec->lsn > a->lsn) {
        a->busy++;
    } else {
        differs(a, rec->context, &rec->id, what);
    }
    return 1;
}

/* The peer has it alive; this node has not, or had not when it was looked for. */
static void compare_missing(sc_digest_t *d, const list_t *l, apr_size_t item)
{
    sc_ask_t *a = d->ask;
    sc_record_t rec;
    apr_status_t rv;
    sc_id_t id;

    memcpy(id.b, item_at(a, item), SC_ID_LEN);
    rv = sc_store_get(d->peer->m->store, l->context, &id, &rec, NULL);
    if (rv == APR_NOTFOUND) {
        differs(a, l->context, &id, ACT_FETCH);
    } else if (rv != APR_SUCCESS || rec.lsn > a->lsn || !(rec.flags & SC_REC_TOMBSTONE)) {
        a->busy++;
    } else {
        /* one that idled out may be brought back by what the peer knows; or the peer has missed it
         */
        differs(a, l->context, &id,
                rec.max_idle_s == SC_DEAD_IDLE ? ACT_FETCH | ACT_SEND : ACT_SEND);
    }
}

/* One slice. @return 1 when all have been looked at */
static int compare_rest(sc_digest_t *d)
{
    sc_ask_t *a = d->ask;
    apr_size_t end = a->nseen + SLICE_ITEMS;
    apr_size_t i, k;

    for (i = 0; i < a->nlists; i++) {
        const list_t *l = &a->lists[i];

        /* lists are not in the order of their items: each has its part of [nseen, end) */
        for (k = l->first > a->nseen ? l->first : a->nseen; k < l->first + l->n && k < end; k++) {
            if (!a->seen[k]) {
                compare_missing(d, l, k);
            }
        }
    }
    a->nseen = end;
    return end >= a->items.len / SC_DIGEST_ITEM;
}

/* ---- exchanging ----------------------------------------------------------------------------- */

/* This node's version, to a peer that is to have it. @return bytes sent, -1: it cannot be */
static apr_ssize_t send_version(sc_digest_t *d, const action_t *act)
{
    sc_manager_t *m = d->peer->m;
    sc_record_t rec;

    if (sc_store_get(m->store, act->context, &act->id, &rec, NULL) != APR_SUCCESS) {
        return 0;
    }
    if (rec.flags & SC_REC_TOMBSTONE) {
        if (rec.max_idle_s == SC_DEAD_IDLE && !sc_layout_here(m, &rec)) {
            return 0; /* its holders know better */
        }
    } else if ((rec.flags & SC_REC_PROXY) || !sc_layout_here(m, &rec) ||
               !sc_layout_at(m, &rec, d->peer)) {
        sc_place_tell(m, &d->peer->member, &rec); /* whole sessions go from holder to holder */
        return 0;
    } else {
        sc_expiry_refresh(m, &rec);
    }
    if (sc_mgr_msg_current(m, act->context, &act->id) != APR_SUCCESS) {
        return 0;
    }
    return sc_digest_post(d) ? (apr_ssize_t)m->msg.len : -1;
}

/* As much as may be under way at once. */
static void exchange(sc_digest_t *d, apr_time_t now)
{
    sc_manager_t *m = d->peer->m;
    sc_ask_t *a = d->ask;
    apr_size_t before = a->done;
    apr_ssize_t bytes = 0;

    if (d->posts > 0) {
        run_ask(d, a->moved + SC_DIGEST_MUTE); /* their end brings us back */
        return;
    }
    while (a->done < a->nactions && bytes < SC_LIST_BYTES && d->posts < POSTS_AT_ONCE &&
           m->nfetches < FETCHES_AT_ONCE) {
        const action_t *act = &a->actions[a->done++];
        apr_ssize_t n = act->what & ACT_SEND ? send_version(d, act) : 0;

        if (n < 0) {
            ask_end(d, OUT_FAILED);
            return;
        }
        bytes += n;
        if (act->what & ACT_FETCH) {
            sc_fetch_from(m, act->context, &act->id, &d->peer->member);
        }
    }
    if (a->done > before) {
        a->moved = now;
    }
    if (a->done == a->nactions) {
        ask_end(d, a->found > 0 || a->busy > 0 || a->refused || a->ranges > ranges_listed(a)
                       ? OUT_DIFFERED
                       : OUT_AGREED);
    } else if (d->posts == 0) {
        run_ask(d, now + POLL); /* until there are fewer fetches */
    } else {
        run_ask(d, now + SC_DIGEST_MUTE);
    }
}

static void ask_run(void *baton, apr_time_t now)
{
    sc_digest_t *d = baton;
    sc_ask_t *a = d->ask;
    apr_status_t rv = APR_SUCCESS;

    if (a->failed || now >= a->moved + SC_DIGEST_MUTE) {
        ask_end(d, OUT_FAILED);
        return;
    }
    switch (a->phase) {
    case ASK_SUMS:
        a->moved = now;
        rv = sc_sweep(&a->own.sweep, sc_sums_add, &a->own);
        if (rv == APR_EOF) {
            a->phase = ASK_WAIT;
            rv = post_sums(d) ? APR_SUCCESS : APR_EGENERAL;
            now += SC_DIGEST_MUTE;
        }
        break;
    case ASK_WAIT:
        now = a->moved + SC_DIGEST_MUTE;
        break;
    case ASK_OWN:
        a->moved = now;
        rv = sc_sweep(&a->own.sweep, compare_own, a);
        if (rv == APR_EOF) {
            a->phase = ASK_MISSING;
            rv = APR_SUCCESS;
        }
        break;
    case ASK_MISSING:
        a->moved = now;
        if (compare_rest(d)) {
            a->phase = ASK_EXCHANGE;
        }
        break;
    case ASK_EXCHANGE:
        exchange(d, now);
        return;
    }
    if (rv != APR_SUCCESS) {
        ask_end(d, OUT_FAILED);
        return;
    }
    run_ask(d, now);
}
