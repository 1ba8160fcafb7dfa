/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * State given to peers: the store is scanned in slices between other work, and sent in blocks.
 *
 * The next block leaves when the one before has been applied, so a transfer is as fast as its
 * receiver, and neither side holds more than a block of it. Changes go on meanwhile; they are sent
 * to the requester live, like to everybody. So what the requester is promised at the end is the
 * change number at which the scan began.
 *
 * With the backup manager the requester gets the sessions that it holds; of the others it is told
 * where they are, in lists that go between the blocks. One that has nothing yet asks for all that
 * it holds, however old, of their owners; so each comes from one donor.
 *
 * A node that is still joining need not give back what it has just been given, to a requester that
 * has everything, or everything of a READY node. What has been changed since it does give: that may
 * have been acknowledged because it was here.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ACTIVE_MAX 8      /* transfers at once; others wait for their turn */
#define SLICE_BUCKETS 512 /* of the scan, between other work */
#define TRIES_MAX 10      /* of one block */
#define RETRY apr_time_from_msec(500)
#define BUCKET_BYTES (64 * 1024 * 1024) /* what sessions of one bucket may take at most */

struct sc_transfer_t {
    sc_peer_t *peer;
    apr_uint64_t serial; /* of the request */
    apr_uint64_t contexts;
    apr_uint64_t since;
    int held;             /* backup manager: all that the requester holds, if this is the owner */
    int not_given;        /* nothing that others have given to this node and nobody has changed */
    int filtered;         /* only sessions of one primary, backup manager: or backup */
    apr_uint16_t primary; /* that one */
    apr_uint32_t maker;   /* or with something that this node has stamped */
    apr_uint64_t lsn;     /* when the scan began */
    int ready;            /* this node was READY and leased then */
    apr_uint64_t loss;    /* of the requester, then */
    apr_uint32_t cursor;
    int scanned;         /* to the end */
    sc_buf_t items;      /* sessions found and not sent yet */
    sc_places_t *places; /* locations, likewise; backup manager */
    apr_uint64_t places_since;
    apr_uint64_t total;
    apr_uint64_t sent;
    int active;
    int in_flight;     /* 1: a block, 2: the last message, 3: locations */
    apr_size_t flying; /* bytes of items in that block */
    apr_uint64_t flying_count;
    apr_uint32_t tries;
    sc_timer_t timer;
};

static void slice(void *baton, apr_time_t now);

/* ---- life ----------------------------------------------------------------------------------- */

static void activate(sc_transfer_t *t, apr_time_t now)
{
    sc_manager_t *m = t->peer->m;

    t->active = 1;
    m->transfers++;
    (void)sc_timer_set(m->cfg.timers, &t->timer, now, slice, t);
}

static void start_waiting(sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX && m->transfers < ACTIVE_MAX; i++) {
        sc_transfer_t *t = m->peer[i].transfer;

        if (t != NULL && !t->active) {
            activate(t, sc_mgr_now(m));
        }
    }
}

static void transfer_free(sc_transfer_t *t)
{
    sc_manager_t *m = t->peer->m;

    if (t->active) {
        m->transfers--;
    }
    t->peer->transfer = NULL;
    sc_timer_cancel(m->cfg.timers, &t->timer);
    sc_buf_free(&t->items);
    sc_places_free(t->places);
    free(t);
}

static void end_transfer(sc_transfer_t *t)
{
    sc_manager_t *m = t->peer->m;

    transfer_free(t);
    start_waiting(m);
}

/* ---- scanning ------------------------------------------------------------------------------- */

static void add_session(sc_transfer_t *t, const sc_record_t *rec, const unsigned char *body)
{
    sc_wire_session_t w;

    sc_mgr_wire(t->peer->m, rec, body, rec->flags & SC_REC_TOMBSTONE ? 0 : rec->body_len, &w);
    sc_wire_session_put(&t->items, &w);
}

/* Whether there is something in it that a node has stamped, as far as that is not outdated. */
static int has_made(apr_uint32_t node, const sc_record_t *rec, const unsigned char *body)
{
    sc_attr_t a;
    sc_rd_t r;

    if (rec->stamp.node == node) {
        return 1;
    }
    sc_rd_init(&r, body, rec->flags & SC_REC_PROXY ? 0 : rec->body_len);
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        if (a.stamp.node == node) {
            return 1;
        }
    }
    return 0;
}

static int is_for(const sc_transfer_t *t, const sc_record_t *rec, const unsigned char *body)
{
    int its = sc_mgr_is_backup(t->peer->m) ? sc_record_holder(rec, t->primary) != SC_HOLDER_NONE
                                           : rec->primary == t->primary;

    return !t->filtered || its || (rec->flags & SC_REC_TOMBSTONE) ||
           (t->maker != 0 && has_made(t->maker, rec, body));
}

/* Backup manager: whether the requester gets the session itself. Not only from holders: what was
 * changed on a copy that is not held need not be on any holder that is there now, and when this
 * transfer is complete the requester is granted a lease. Other such copies may be old. */
static int gets_body(const sc_transfer_t *t, const sc_record_t *rec, const unsigned char *body)
{
    sc_manager_t *m = t->peer->m;
    int here = sc_layout_here(m, rec);

    return !(rec->flags & SC_REC_PROXY) && sc_layout_at(m, rec, t->peer) &&
           ((rec->lsn > t->since && is_for(t, rec, body) &&
             (here || sc_move_has_news(m, rec) || sc_mgr_awaited(m, rec->context, &rec->id))) ||
            (t->held && here && sc_layout_owner(m, rec) == m->own_route));
}

/* Backup manager. */
static int scanned_backup(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    sc_transfer_t *t = baton;
    sc_manager_t *m = t->peer->m;
    int moved = rec->lsn > t->places_since;
    int has_body = !(rec->flags & SC_REC_PROXY) && sc_layout_here(m, rec);

    if (!(t->contexts >> rec->context & 1)) {
        return 1;
    }
    if (rec->flags & SC_REC_TOMBSTONE) {
        if (rec->lsn > t->since) {
            add_session(t, rec, body);
        }
    } else if (gets_body(t, rec, body)) {
        add_session(t, rec, body);
    } else if (has_body && sc_layout_at(m, rec, t->peer)) {
        return 1; /* it has it */
    } else if (moved && is_for(t, rec, body) && (has_body || t->since > 0)) {
        /* of what it does not know the requester believes holders only (place.c) */
        (void)sc_places_add(
            t->places, m->store, rec,
            has_body && rec->primary == m->own_route ? sc_body_digest(body, rec->body_len) : 0);
    }
    return 1;
}

static int scanned(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    sc_transfer_t *t = baton;

    if ((t->contexts >> rec->context & 1) && is_for(t, rec, body) &&
        !(t->not_given && (rec->flags & SC_REC_GIVEN))) {
        add_session(t, rec, body);
    }
    return 1;
}

/* Whether it is time to send. Half a list: what one bucket holds fits into the other half. */
static int is_full(const sc_transfer_t *t)
{
    return t->items.len >= t->peer->m->config->delta.block_bytes ||
           (t->places != NULL && sc_places_bytes(t->places) >= SC_PLACES_BYTES / 2);
}

static void scan_slice(sc_transfer_t *t)
{
    sc_manager_t *m = t->peer->m;
    apr_uint64_t since = t->held ? 0 : t->places != NULL ? t->places_since : t->since;
    int i;

    for (i = 0; i < SLICE_BUCKETS && !t->scanned && t->items.err == APR_SUCCESS && !is_full(t);
         i++) {
        t->scanned = sc_store_scan(m->store, &t->cursor, since, 1,
                                   t->places != NULL ? scanned_backup : scanned, t) != APR_SUCCESS;
    }
}

/* ---- sending -------------------------------------------------------------------------------- */

/* As many sessions as go into a block, at least one. */
static void post_block(sc_transfer_t *t)
{
    sc_manager_t *m = t->peer->m;
    sc_msg_data_t d = {t->serial, t->total, 0};
    apr_size_t bytes = 0;
    apr_size_t n;
    sc_rd_t r;

    sc_rd_init(&r, t->items.data, t->items.len);
    while (sc_rd_left(&r) > 0 && sc_get_str(&r, sc_rd_left(&r), &n) != NULL) {
        apr_size_t upto = t->items.len - sc_rd_left(&r);

        if (d.count > 0 && upto > m->config->delta.block_bytes) {
            break;
        }
        bytes = upto;
        d.count++;
    }
    sc_buf_clear(&m->msg);
    sc_msg_data_put(&m->msg, SC_EVT_ALL_SESSION_DATA, &d);
    sc_put(&m->msg, t->items.data, bytes);
    t->flying = bytes;
    t->flying_count = d.count;
    t->in_flight = 1;
}

static void post_places(sc_transfer_t *t)
{
    sc_manager_t *m = t->peer->m;

    sc_buf_clear(&m->msg);
    sc_places_put(&m->msg, SC_EVT_PROXY, t->serial, 0, t->places, m->store);
    t->in_flight = 3;
}

static void post_complete(sc_transfer_t *t)
{
    sc_msg_complete_t c = {t->serial, t->lsn,  t->ready != 0,
                           t->sent,   t->loss, sc_board_get(t->peer->m->board->forgot)};

    sc_buf_clear(&t->peer->m->msg);
    sc_msg_complete_put(&t->peer->m->msg, &c);
    t->in_flight = 2;
}

static void try_again(sc_transfer_t *t, apr_status_t rv)
{
    sc_manager_t *m = t->peer->m;
    char name[SC_MEMBER_NAME];

    t->in_flight = 0;
    if (++t->tries >= TRIES_MAX) {
        sc_log(m->cfg.log, SC_LOG_WARNING, rv,
               "SC0560: sessions could not be given to member %s; it will ask again",
               sc_member_name(&t->peer->member, name));
        end_transfer(t);
        return;
    }
    (void)sc_timer_set(m->cfg.timers, &t->timer, sc_mgr_now(m) + RETRY, slice, t);
}

static void block_ended(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t serial, apr_status_t rv)
{
    sc_transfer_t *t = peer != NULL ? peer->transfer : NULL;

    if (t == NULL || t->serial != serial || !t->in_flight) {
        return; /* of a transfer that was given up or began anew */
    }
    if (rv != APR_SUCCESS) {
        try_again(t, rv);
        return;
    }
    if (t->in_flight == 2) {
        sc_log(m->cfg.log, SC_LOG_INFO, 0,
               "SC0561: %" APR_UINT64_T_FMT " sessions were given to node %s", t->sent,
               peer->member.route);
        end_transfer(t);
        return;
    }
    if (t->in_flight == 3) {
        sc_count(m->board, places_sent, sc_places_count(t->places));
        sc_places_clear(t->places);
    } else {
        t->sent += t->flying_count;
        sc_buf_consume(&t->items, t->flying);
    }
    t->in_flight = 0;
    t->tries = 0;
    (void)sc_timer_set(m->cfg.timers, &t->timer, sc_mgr_now(m), slice, t);
}

static void slice(void *baton, apr_time_t now)
{
    sc_transfer_t *t = baton;
    sc_manager_t *m = t->peer->m;
    apr_status_t rv;

    scan_slice(t);
    if (t->items.err != APR_SUCCESS) {
        try_again(t, t->items.err);
        return;
    }
    if (!is_full(t) && !t->scanned) {
        (void)sc_timer_set(m->cfg.timers, &t->timer, now, slice, t);
        return;
    }
    if (t->places != NULL && sc_places_count(t->places) > 0) {
        post_places(t);
    } else if (t->items.len > 0) {
        post_block(t);
    } else {
        post_complete(t);
    }
    rv = sc_mgr_post(m, t->peer, block_ended, t->serial);
    if (rv != APR_SUCCESS) {
        try_again(t, rv);
    }
}

/* ---- being asked ---------------------------------------------------------------------------- */

/* Bits of the contexts that both know; the requester is told of the others. */
static apr_uint64_t common_contexts(sc_manager_t *m, const sc_member_t *from,
                                    const sc_msg_get_all_t *g)
{
    apr_uint64_t which = 0;
    apr_uint16_t index;
    apr_uint32_t i;

    for (i = 0; i < g->ncontexts; i++) {
        if (sc_store_context(m->store, g->context[i].s, g->context[i].len, 0, &index) ==
                APR_SUCCESS &&
            index < SC_CONTEXTS_MAX) {
            which |= (apr_uint64_t)1 << index;
        } else {
            sc_buf_clear(&m->msg);
            sc_msg_nocontext_put(&m->msg, &g->context[i]);
            sc_mgr_reply(m, from);
        }
    }
    return which;
}

static void set_filter(sc_manager_t *m, sc_transfer_t *t, const sc_text_t *primary)
{
    t->filtered = primary->len > 0;
    if (!t->filtered ||
        sc_store_route(m->store, primary->s, primary->len, 0, &t->primary) != APR_SUCCESS) {
        t->primary = SC_ROUTE_NONE;
    }
}

apr_status_t sc_donor_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_msg_get_all_t g;
    sc_store_stats_t stats;
    sc_transfer_t *t;

    if (sc_msg_get_all_get(r, &g) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (peer == NULL) {
        return APR_NOTFOUND; /* not known here yet: it will ask again */
    }
    if (peer->transfer != NULL) {
        end_transfer(peer->transfer);
    }
    t = calloc(1, sizeof(*t));
    if (t == NULL || (sc_mgr_is_backup(m) && (t->places = sc_places_create()) == NULL)) {
        free(t);
        return APR_ENOMEM;
    }
    sc_store_stats(m->store, &stats);
    t->peer = peer;
    t->serial = g.serial;
    t->contexts = common_contexts(m, from, &g);
    if (peer->lacks & t->contexts) {
        peer->lacks &= ~t->contexts;
        sc_move_review(m); /* it can hold theirs from now on */
    }
    t->since = g.recent_ms > 0 ? sc_expiry_lsn_ago(m, g.recent_ms) : g.since;
    t->lsn = stats.lsn;
    t->ready = m->state == SC_NODE_READY && !m->lapsed;
    t->loss = peer->lease.loss;
    t->total = stats.sessions + stats.tombstones;
    if (t->since > 0 && stats.lsn >= t->since && stats.lsn - t->since < t->total) {
        t->total = stats.lsn - t->since;
    }
    t->not_given = g.knows && m->state != SC_NODE_READY;
    t->held = g.held && t->places != NULL;
    t->places_since = t->since > sc_place_slack(m) ? t->since - sc_place_slack(m) : 0;
    t->scanned = (t->since >= stats.lsn && t->places == NULL) || t->contexts == 0;
    sc_buf_init(&t->items, m->config->delta.block_bytes + (apr_size_t)BUCKET_BYTES);
    t->maker = g.maker;
    set_filter(m, t, &g.primary);
    peer->transfer = t;
    if (m->transfers < ACTIVE_MAX) {
        activate(t, sc_mgr_now(m));
    }
    return APR_SUCCESS;
}

apr_uint64_t sc_donor_serial(const sc_peer_t *peer)
{
    return peer->transfer != NULL ? peer->transfer->serial : 0;
}

void sc_donor_gone(sc_manager_t *m, sc_peer_t *peer)
{
    (void)m;
    if (peer->transfer != NULL) {
        end_transfer(peer->transfer);
    }
}

void sc_donor_end(sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].transfer != NULL) {
            transfer_free(m->peer[i].transfer);
        }
    }
}
