/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Comparing what two members hold, and exchanging what differs: so all come to the same sessions,
 * whatever was lost on the way, without a request and without a restart.
 *
 *   asker                                          answerer
 *   sums of its sessions, by first byte of the id
 *   ---- DIGEST: contexts, 256 sums ---->
 *                                                  its own sums; of ranges that differ:
 *   <---- DIGEST_LISTs: each id, what it says ----
 *   <---- the end: how many ranges differed ------
 *   its own sessions in these ranges against the lists; of each session that differs:
 *   ---- its own version; RETRIEVE ------>
 *
 * What a session says: where it is (backup manager), and if both are to hold it, what is in it.
 * Tombstones say nothing: they end at different times, and would be spread again for ever. They
 * answer when the other side lists the session as alive. Accesses say nothing either, and nor do
 * old removals in a body: each node forgets them when it next writes the session (merge.c).
 *
 * Both sides go through their stores in slices, between other work. What changes meanwhile is left
 * for the next time, so in a busy cluster some ranges differ in each comparison, and it costs
 * little. The answerer lists some ranges at a time, others the next time. One comparison after the
 * other is asked for, with one peer after the other; one that found something is repeated soon, and
 * if that does not help (a full store, say) at longer and longer intervals.
 */
#include <stdlib.h>
#include <string.h>

#include "digest.h"

#define SLICE_BUCKETS 512
#define SLICE_BYTES (1024 * 1024)
#define TICK apr_time_from_sec(1)
#define TICK_MIN apr_time_from_msec(100)
#define SOON                                                                                       \
    apr_time_from_msec(300) /* things settle, and who hears of it several times asks once */

/* Removals further back than the first from the session's last change, or than the second from now,
 * may have been forgotten by one of two nodes that hold the same. */
#define REMOVAL_MS ((apr_uint64_t)60 * 1000)
#define REMOVAL_AGE_MS ((apr_uint64_t)12 * 3600 * 1000)

static void tick(void *baton, apr_time_t now);

/* ---- what a session says -------------------------------------------------------------------- */

static apr_uint64_t add(apr_uint64_t h, apr_uint64_t v)
{
    /* each step is a bijection that spreads every bit: sums of such numbers do not cancel out */
    h ^= v;
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9ull;
    h = (h ^ h >> 27) * 0x94D049BB133111EBull;
    return (h ^ h >> 31) + 0x9E3779B97F4A7C15ull;
}

static apr_uint64_t add_text(apr_uint64_t h, const char *text)
{
    return add(h, sc_body_digest(text, strlen(text)));
}

static int may_be_forgotten(const sc_manager_t *m, const sc_record_t *rec, const sc_attr_t *a)
{
    apr_uint64_t now = sc_mgr_clock(m);
    apr_uint64_t removed = a->stamp.hlc >> 16;

    return (a->flags & SC_ATTR_REMOVED) &&
           (removed + REMOVAL_MS < rec->stamp.hlc >> 16 || removed + REMOVAL_AGE_MS < now);
}

static apr_uint64_t add_body(const sc_manager_t *m, apr_uint64_t h, const sc_record_t *rec,
                             const unsigned char *body)
{
    const unsigned char *p;
    sc_attr_t a;
    sc_rd_t r;

    sc_rd_init(&r, body, rec->body_len);
    p = r.p;
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        if (!may_be_forgotten(m, rec, &a)) {
            h = add(h, sc_body_digest(p, (apr_size_t)(r.p - p)));
        }
        p = r.p;
    }
    return h;
}

apr_uint64_t sc_digest_says(const sc_peer_t *peer, const sc_record_t *rec,
                            const unsigned char *body)
{
    const sc_manager_t *m = peer->m;
    apr_uint64_t h = add_text(0, sc_store_context_name(m->store, rec->context));
    int i;

    h = add(h, sc_body_digest(rec->id.b, sizeof(rec->id.b)));
    if (m->config->manager == SC_MANAGER_BACKUP) {
        h = add(h, rec->epoch);
        h = add_text(h, sc_store_route_name(m->store, rec->primary));
        for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
            h = add_text(h, sc_store_route_name(m->store, rec->backups[i]));
        }
    }
    if (!sc_layout_here(m, rec) || !sc_layout_at(m, rec, peer)) {
        return h;
    }
    if (rec->flags & SC_REC_PROXY) {
        return add(h, 1); /* which is not what a holder that has it says */
    }
    h = add(h, rec->max_idle_s);
    h = add(h, rec->stamp.hlc);
    h = add(h, rec->stamp.node);
    return add_body(m, h, rec, body);
}

/* ---- walking through the store -------------------------------------------------------------- */

int sc_sweep_counts(sc_sweep_t *s, const sc_record_t *rec)
{
    s->bytes += rec->body_len;
    return !(rec->flags & SC_REC_TOMBSTONE) && rec->context < SC_CONTEXTS_MAX &&
           (s->contexts >> rec->context & 1);
}

apr_status_t sc_sweep(sc_sweep_t *s, sc_store_scan_fn_t *fn, void *baton)
{
    apr_status_t rv = APR_SUCCESS;
    int i;

    s->bytes = 0;
    for (i = 0; i < SLICE_BUCKETS && rv == APR_SUCCESS && s->bytes < SLICE_BYTES; i++) {
        rv = sc_store_scan(s->peer->m->store, &s->cursor, 0, 1, fn, baton);
    }
    return rv;
}

int sc_sums_add(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    sc_sums_t *s = baton;

    if (sc_sweep_counts(&s->sweep, rec)) {
        s->sum[rec->id.b[0]] += sc_digest_says(s->sweep.peer, rec, body);
        s->n[rec->id.b[0]]++;
    }
    return 1;
}

/* ---- sending -------------------------------------------------------------------------------- */

/* A post has ended. The baton is the peer's place: what it was for may be gone. */
static void posted(void *baton, apr_status_t rv)
{
    sc_peer_t *peer = baton;
    sc_digest_t *d = peer->digest;

    if (d == NULL) {
        return;
    }
    d->posts -= d->posts > 0;
    sc_ask_posted(d, rv);
    sc_answer_posted(d, rv);
}

int sc_digest_post(sc_digest_t *d)
{
    sc_manager_t *m = d->peer->m;

    if (m->msg.err != APR_SUCCESS ||
        m->cfg.down.post(m->cfg.down.ctx, &d->peer->member, m->msg.data, m->msg.len, SC_OPT_QUIET,
                         posted, d->peer) != APR_SUCCESS) {
        return 0;
    }
    d->posts++;
    return 1;
}

/* ---- when ----------------------------------------------------------------------------------- */

/* Time between two comparisons of this node; never quite the same, so that nodes that began
 * together do not go on together. */
static apr_interval_time_t pause_time(const sc_manager_t *m)
{
    apr_uint64_t ms = m->config->delta.digest_ms;
    apr_uint64_t jitter = add(m->digest.serial, m->node_tag) % 256;

    return apr_time_from_msec((apr_time_t)(ms * (896 + jitter) / 1024));
}

apr_interval_time_t sc_digest_round(const sc_manager_t *m)
{
    apr_interval_time_t t = pause_time(m) * (m->npeers > 0 ? (apr_time_t)m->npeers : 1);

    return t > SC_DIGEST_REST ? t : SC_DIGEST_REST;
}

static apr_interval_time_t tick_time(const sc_manager_t *m)
{
    apr_interval_time_t pause = pause_time(m);

    if (pause < TICK_MIN) {
        return TICK_MIN;
    }
    return pause < TICK ? pause : TICK;
}

static int is_ready(const sc_peer_t *peer)
{
    return sc_node_complete(peer->member.node_state);
}

sc_digest_t *sc_digest_of(sc_manager_t *m, sc_peer_t *peer)
{
    apr_uint32_t before = 0;
    int i;

    if (peer->digest != NULL) {
        return peer->digest;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        before += m->peer[i].serial != 0 && m->peer[i].digest != NULL;
    }
    peer->digest = calloc(1, sizeof(*peer->digest));
    if (peer->digest != NULL) {
        peer->digest->peer = peer;
        /* one after the other */
        peer->digest->due = sc_mgr_now(m) + pause_time(m) * (before + 1);
    }
    return peer->digest;
}

static void arm(sc_manager_t *m, apr_time_t when)
{
    if (m->config->delta.digest_ms > 0 && m->config->role == SC_ROLE_NODE &&
        (m->digest.timer.index == 0 || when < m->digest.timer.due)) {
        (void)sc_timer_set(m->cfg.timers, &m->digest.timer, when, tick, m);
    }
}

void sc_digest_next(sc_manager_t *m)
{
    arm(m, sc_mgr_now(m));
}

void sc_digest_due(sc_digest_t *d, apr_time_t due)
{
    d->due = due > d->asked + SC_DIGEST_REST ? due : d->asked + SC_DIGEST_REST;
    arm(d->peer->m, d->due);
}

/* Look who is due; come back when somebody is, and after a while in any case: members come. */
static void tick(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    apr_time_t next = now + tick_time(m);
    sc_digest_t *first = NULL;
    int busy = 0;
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_digest_t *d = m->peer[i].serial != 0 ? sc_digest_of(m, &m->peer[i]) : NULL;

        busy |= d != NULL && d->ask != NULL;
        if (d == NULL || !is_ready(d->peer)) {
            continue;
        }
        if (d->due > now) {
            next = d->due < next ? d->due : next;
        } else if (first == NULL || d->due < first->due) {
            first = d;
        }
    }
    arm(m, next);
    if (first != NULL && !busy && m->state == SC_NODE_READY && !m->stopped) {
        sc_ask_start(first);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

void sc_digest_start(sc_manager_t *m)
{
    arm(m, sc_mgr_now(m) + tick_time(m));
}

static void digest_free(sc_peer_t *peer)
{
    if (peer->digest != NULL) {
        sc_ask_free(peer->digest);
        sc_answer_free(peer->digest);
        free(peer->digest);
        peer->digest = NULL;
    }
}

void sc_digest_stop(sc_manager_t *m)
{
    int i;

    sc_timer_cancel(m->cfg.timers, &m->digest.timer);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        digest_free(&m->peer[i]);
    }
}

void sc_digest_soon(sc_manager_t *m, sc_peer_t *peer)
{
    apr_time_t due = sc_mgr_now(m) + SOON;
    sc_digest_t *d = sc_digest_of(m, peer);

    if (d == NULL) {
        return;
    }
    peer->digest_soon = 1;
    d->delay = 0;
    if (d->ask == NULL && d->due > due) {
        sc_digest_due(d, due);
    }
}

void sc_digest_gone(sc_manager_t *m, sc_peer_t *peer)
{
    int busy = peer->digest != NULL && peer->digest->ask != NULL;

    digest_free(peer);
    if (busy) {
        sc_digest_next(m);
    }
}
