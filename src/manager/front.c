/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Locations told: in batches to the nodes that hold no copy, and to front ends, which need to know
 * where a session is to send its user there.
 *
 * Nobody waits for that, and nothing depends on its arrival: a node that does not know where a
 * session is asks everybody (fetch.c), a front end asks any node. So a batch is what has come
 * together in a short time, one list for each member, and a list that is lost is made up for like
 * anything else that was lost: nodes pull, front ends ask for everything again (STATE).
 *
 * A STATE is answered by each node with the locations of what it owns, one slice of the store per
 * turn and one list on its way, so that many front ends that start at once cost no request a delay.
 *
 * With the delta manager front ends hear of deaths only, from the node that declared them: all that
 * they need to know of a session there is whether it has ended.
 */
#include <stdlib.h>
#include <string.h>

#include "place.h"

#define FLUSH_MIN_MS 10
#define SLACK_MIN 1024 /* for what an earlier engine may have had no time to tell */
#define WALK_TURN apr_time_from_msec(10)
#define SLICE_BUCKETS 512
#define TICK apr_time_from_sec(1)
#define DUE_MAX 1000
/** A front end asks each node again so often, and so soon when no answer came to its end. */
#define ASK_AGAIN apr_time_from_sec(300)
#define ASK_PATIENCE apr_time_from_sec(30)

static void flush_due(void *baton, apr_time_t now);
static void walk_due(void *baton, apr_time_t now);
static void front_tick(void *baton, apr_time_t now);

/* ---- the table ------------------------------------------------------------------------------- */

static void told_free(sc_told_t *t)
{
    sc_places_free(t->list);
    sc_places_free(t->walk.list);
    t->list = t->walk.list = NULL;
}

static sc_told_t *find(sc_told_t *table, const sc_member_t *member)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (table[i].used && sc_member_same(&table[i].member, member)) {
            return &table[i];
        }
    }
    return NULL;
}

static sc_told_t *told_of(sc_fronts_t *f, const sc_member_t *member)
{
    sc_told_t *t = find(f->node, member);

    return t != NULL ? t : find(f->front, member);
}

/* Who is told of locations; NULL where there are none to tell. */
static sc_told_t *told_places(const sc_manager_t *m, const sc_member_t *member)
{
    return m->fronts != NULL && !m->fronts->deaths_only ? told_of(m->fronts, member) : NULL;
}

/* Nodes have the places of the manager's peers. */
static sc_told_t *free_place(sc_manager_t *m, const sc_member_t *member)
{
    sc_fronts_t *f = m->fronts;
    int i;

    if (member->role == SC_ROLE_NODE) {
        const sc_peer_t *peer = sc_mgr_peer(m, member);

        return peer != NULL ? &f->node[peer - m->peer] : NULL;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (!f->front[i].used) {
            f->nfronts++;
            return &f->front[i];
        }
    }
    return NULL;
}

void sc_place_added(sc_manager_t *m, const sc_member_t *member)
{
    sc_fronts_t *f = m->fronts;
    sc_told_t *t;

    if (f == NULL) {
        return;
    }
    t = told_of(f, member);
    if (t == NULL && (t = free_place(m, member)) != NULL) {
        apr_uint32_t flying = t->walk.flying; /* lists to whoever was here before */

        memset(t, 0, sizeof(*t));
        t->m = m;
        t->used = 1;
        t->walk.flying = flying;
    }
    if (t != NULL) {
        t->member = *member;
        if (m->config->role == SC_ROLE_BALANCER) {
            (void)sc_timer_set(m->cfg.timers, &f->tick, sc_mgr_now(m), front_tick, m);
        }
    }
}

void sc_place_gone(sc_manager_t *m, const sc_member_t *member)
{
    sc_told_t *t = m->fronts != NULL ? told_of(m->fronts, member) : NULL;

    if (t != NULL) {
        m->fronts->nfronts -= t >= m->fronts->front && t < m->fronts->front + SC_MEMBERS_MAX;
        told_free(t);
        t->used = 0;
        t->walk.active = 0;
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

/* A list, by itself or in answer to a STATE. */
static apr_status_t post_list(sc_told_t *t, const sc_places_t *list, apr_uint64_t serial,
                              unsigned int flags, void (*done)(void *baton, apr_status_t rv))
{
    sc_manager_t *m = t->m;
    sc_buf_t *msg = &m->fronts->msg;

    sc_buf_clear(msg);
    sc_places_put(msg, SC_EVT_PROXY, serial, flags, list, m->store);
    if (msg->err != APR_SUCCESS) {
        return msg->err;
    }
    sc_count(m->board, places_sent, sc_places_count(list));
    return m->cfg.down.post(m->cfg.down.ctx, &t->member, msg->data, msg->len, SC_OPT_QUIET, done,
                            done != NULL ? t : NULL);
}

static void flush_told(sc_told_t *t)
{
    if (t->used && t->list != NULL && sc_places_count(t->list) > 0) {
        (void)post_list(t, t->list, 0, 0, NULL);
        sc_places_clear(t->list);
    }
}

/* What died, to all front ends: after where it was, so that they hear of the end last. */
static void flush_dead(sc_manager_t *m)
{
    sc_fronts_t *f = m->fronts;
    int i;

    sc_buf_clear(&f->msg);
    if (sc_batch_put(m, &f->dead, &f->msg) == 0 || f->msg.err != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (f->front[i].used) {
            (void)m->cfg.down.post(m->cfg.down.ctx, &f->front[i].member, f->msg.data, f->msg.len,
                                   SC_OPT_QUIET, NULL, NULL);
        }
    }
}

static apr_uint64_t span(const sc_manager_t *m)
{
    apr_uint64_t now = sc_mgr_lsn(m) - m->fronts->begun;

    return now > m->fronts->span ? now : m->fronts->span;
}

/* Each envelope says how far this store is, and may leave before the locations that belong to that.
 */
apr_uint64_t sc_place_slack(const sc_manager_t *m)
{
    apr_uint64_t slack = m->fronts == NULL || m->fronts->deaths_only ? 0
                         : m->fronts->flush.index != 0               ? span(m)
                                                                     : m->fronts->span;

    return slack > SLACK_MIN ? slack : SLACK_MIN;
}

static void flush_due(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    int i;

    (void)now;
    m->fronts->span = span(m);
    m->fronts->begun = sc_mgr_lsn(m);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        flush_told(&m->fronts->node[i]);
        flush_told(&m->fronts->front[i]);
    }
    flush_dead(m);
}

static void flush_soon(sc_manager_t *m)
{
    apr_uint32_t ms = m->config->backup.place_ms;

    if (m->fronts->flush.index == 0) {
        m->fronts->begun = sc_mgr_lsn(m) - 1; /* it has been written already */
        (void)sc_timer_set(m->cfg.timers, &m->fronts->flush,
                           sc_mgr_now(m) +
                               apr_time_from_msec(ms > FLUSH_MIN_MS ? ms : FLUSH_MIN_MS),
                           flush_due, m);
    }
}

static void add(sc_told_t *t, const sc_record_t *rec, apr_uint64_t digest)
{
    if (t->list == NULL && (t->list = sc_places_create()) == NULL) {
        return;
    }
    if (sc_places_add(t->list, t->m->store, rec, digest) == APR_ENOSPC) {
        flush_told(t);
        (void)sc_places_add(t->list, t->m->store, rec, digest);
    }
}

static void note_death(sc_manager_t *m, const sc_record_t *rec)
{
    sc_fronts_t *f = m->fronts;

    if (f->nfronts > 0 && sc_batch_death(&f->dead, rec->context, &rec->id, &rec->stamp)) {
        flush_due(m, 0);
    }
}

void sc_place_note(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t digest)
{
    sc_fronts_t *f = m->fronts;
    int i;

    if (f == NULL || m->config->role != SC_ROLE_NODE ||
        (f->deaths_only && !(rec->flags & SC_REC_TOMBSTONE))) {
        return;
    }
    flush_soon(m);
    if (rec->flags & SC_REC_TOMBSTONE) {
        note_death(m, rec);
        return;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (f->node[i].used && m->peer[i].serial != 0 && !sc_layout_at(m, rec, &m->peer[i])) {
            add(&f->node[i], rec, digest);
        }
        if (f->front[i].used) {
            add(&f->front[i], rec, digest);
        }
    }
}

void sc_place_dead_here(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                        const sc_stamp_t *stamp)
{
    sc_record_t rec;

    memset(&rec, 0, sizeof(rec));
    rec.context = context;
    rec.id = *id;
    rec.stamp = *stamp;
    rec.flags = SC_REC_TOMBSTONE;
    sc_place_note(m, &rec, 0);
}

void sc_place_answer(sc_manager_t *m, const sc_member_t *to, const sc_record_t *rec)
{
    sc_told_t *t = told_places(m, to);

    if (t != NULL) {
        add(t, rec, 0);
        flush_soon(m);
    }
}

void sc_place_tell(sc_manager_t *m, const sc_member_t *to, const sc_record_t *rec)
{
    sc_told_t *t = told_places(m, to);

    if (t == NULL) {
        return;
    }
    sc_places_clear(m->fronts->one);
    if (sc_places_add(m->fronts->one, m->store, rec, 0) == APR_SUCCESS) {
        (void)post_list(t, m->fronts->one, 0, 0, NULL);
    }
}

/* ---- answering STATE ------------------------------------------------------------------------- */

typedef struct owned_t {
    sc_manager_t *m;
    sc_places_t *list;
} owned_t;

static int add_owned(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    owned_t *o = baton;

    if (!(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) &&
        sc_layout_owner(o->m, rec) == o->m->own_route) {
        (void)sc_places_add(o->list, o->m->store, rec, sc_body_digest(body, rec->body_len));
    }
    return 1;
}

static void walk_soon(sc_manager_t *m)
{
    if (m->fronts->walk.index == 0) {
        (void)sc_timer_set(m->cfg.timers, &m->fronts->walk, sc_mgr_now(m) + WALK_TURN, walk_due, m);
    }
}

static void walk_posted(void *baton, apr_status_t rv)
{
    sc_told_t *t = baton;

    (void)rv; /* what was lost shows as a gap there */
    t->walk.flying -= t->walk.flying > 0;
    if (t->used && t->walk.active && t->m->fronts != NULL) {
        walk_soon(t->m);
    }
}

/* Half a list is sent: what one bucket holds always fits into the other half. */
static void walk_on(sc_told_t *t)
{
    sc_manager_t *m = t->m;
    sc_walk_t *w = &t->walk;
    owned_t o = {m, w->list};
    int i;

    for (i = 0; i < SLICE_BUCKETS && !w->done && sc_places_bytes(w->list) < SC_PLACES_BYTES / 2;
         i++) {
        w->done = sc_store_scan(m->store, &w->cursor, 0, 1, add_owned, &o) != APR_SUCCESS;
    }
    if (!w->done && sc_places_bytes(w->list) < SC_PLACES_BYTES / 2) {
        return;
    }
    if (post_list(t, w->list, w->serial, w->done ? SC_PLACES_LAST : 0, walk_posted) !=
        APR_SUCCESS) {
        w->active = 0; /* it asks again */
    } else {
        w->flying++;
        w->active = !w->done;
    }
    sc_places_clear(w->list);
}

static void walk_all(sc_manager_t *m, sc_told_t *table, int *more)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_told_t *t = &table[i];

        if (t->used && t->walk.active && t->walk.flying == 0) {
            walk_on(t);
            *more |= t->walk.active && t->walk.flying == 0;
        }
    }
    (void)m;
}

static void walk_due(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    int more = 0;

    (void)now;
    walk_all(m, m->fronts->front, &more);
    walk_all(m, m->fronts->node, &more);
    if (more) {
        walk_soon(m);
    }
}

apr_status_t sc_place_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    apr_uint64_t serial;
    sc_told_t *t;

    if (sc_msg_state_get(r, &serial) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    t = m->config->role == SC_ROLE_NODE ? told_places(m, from) : NULL;
    if (t == NULL) {
        sc_count(m->board, ignored, 1);
        return APR_SUCCESS; /* not known here yet: it asks again; or there is nothing to tell */
    }
    if (t->walk.list == NULL && (t->walk.list = sc_places_create()) == NULL) {
        return APR_SUCCESS;
    }
    sc_places_clear(t->walk.list);
    t->walk.active = 1;
    t->walk.serial = serial;
    t->walk.cursor = 0;
    t->walk.done = 0;
    walk_soon(m);
    return APR_SUCCESS;
}

/* ---- asking STATE: this is a front end --------------------------------------------------------
 */

void sc_place_last(sc_manager_t *m, const sc_member_t *from, apr_uint64_t serial)
{
    sc_told_t *t = find(m->fronts->node, from);

    if (t != NULL && t->serial == serial && serial != 0) {
        t->due = sc_mgr_now(m) + ASK_AGAIN;
    }
}

void sc_place_lost(sc_manager_t *m, const sc_member_t *from)
{
    sc_told_t *t = m->fronts != NULL ? find(m->fronts->node, from) : NULL;

    if (m->fronts != NULL) {
        m->fronts->gap = sc_mgr_lsn(m);
    }
    if (t != NULL && m->config->role == SC_ROLE_BALANCER) {
        t->due = 0;
        (void)sc_timer_set(m->cfg.timers, &m->fronts->tick, sc_mgr_now(m), front_tick, m);
    }
}

static int can_answer(const sc_told_t *t)
{
    return t->used && sc_node_complete(t->member.node_state);
}

static void ask(sc_told_t *t, apr_time_t now)
{
    sc_fronts_t *f = t->m->fronts;

    t->serial = ++f->serial;
    t->due = now + ASK_PATIENCE;
    sc_buf_clear(&f->msg);
    sc_msg_state_put(&f->msg, t->serial);
    (void)t->m->cfg.down.post(t->m->cfg.down.ctx, &t->member, f->msg.data, f->msg.len, SC_OPT_QUIET,
                              NULL, NULL);
}

static apr_time_t is_due(void *baton, const sc_record_t *rec)
{
    sc_manager_t *m = baton;

    (void)sc_store_remove(m->store, rec->context, &rec->id);
    return 0;
}

static void front_tick(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    apr_size_t n;
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_told_t *t = &m->fronts->node[i];

        if (can_answer(t) && t->due <= now) {
            ask(t, now);
        }
    }
    n = sc_store_run_due(m->store, now, DUE_MAX, is_due, m);
    (void)sc_timer_set(m->cfg.timers, &m->fronts->tick, n >= DUE_MAX ? now : now + TICK, front_tick,
                       m);
}

/* ---- life ------------------------------------------------------------------------------------ */

void sc_place_start(sc_manager_t *m)
{
    sc_fronts_t *f;

    if (m->fronts != NULL) {
        return;
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL || (f->one = sc_places_create()) == NULL) {
        free(f);
        return; /* nobody is told of anything, which works, slowly */
    }
    f->deaths_only = m->config->role != SC_ROLE_BALANCER && !sc_mgr_is_backup(m);
    sc_batch_init(&f->dead, SC_EVT_REMOVE, SC_DEAD_INVALIDATED);
    sc_buf_init(&f->msg, 4 * SC_LIST_BYTES);
    m->fronts = f;
    if (m->config->role == SC_ROLE_BALANCER) {
        (void)sc_timer_set(m->cfg.timers, &f->tick, sc_mgr_now(m) + TICK, front_tick, m);
    }
}

void sc_place_stop(sc_manager_t *m)
{
    sc_fronts_t *f = m->fronts;
    int i;

    if (f == NULL) {
        return;
    }
    sc_timer_cancel(m->cfg.timers, &f->flush);
    sc_timer_cancel(m->cfg.timers, &f->walk);
    sc_timer_cancel(m->cfg.timers, &f->tick);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        told_free(&f->node[i]);
        told_free(&f->front[i]);
    }
    sc_batch_free(&f->dead);
    sc_places_free(f->one);
    sc_buf_free(&f->msg);
    m->fronts = NULL;
    free(f);
}
