/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * State wanted from peers: when joining, after a gap, after a partition, after a death.
 *
 * With each peer one request runs at a time; others for the same peer wait as flags, so that ten
 * gaps in a row are one request more. What is asked for is said in change numbers of the donor's
 * store: all since the last one known, which survives in the noticeboard while either engine is
 * replaced. A peer's reports of progress are believed (sc_manager_progress) only after all that it
 * had at the beginning has been pulled; otherwise the first small change it sends would look as if
 * everything before it had arrived.
 *
 * Joining: one donor gives everything it has, preferably a READY one, among equals the oldest. Then
 * each other peer gives what this node may have missed: a change that it made before it knew this
 * node, and that reached the donor after its scan had passed. For that the last minutes do when the
 * donor was READY; else each may have what no other has, and gives everything too. Then the node is
 * READY.
 *
 * With the backup manager no donor has everything: each gives what this node holds, of what it owns
 * itself all, and of the rest where it is.
 *
 * A death: what a node did last may have reached some peers and not others. So each peer is asked
 * for its recent copies of the dead node's sessions, and of those that it has changed, whosever
 * they are since.
 */
#include <string.h>

#include <apr_strings.h>

#include "internal.h"

#define RETRY apr_time_from_sec(1)
/* Between two requests to one peer; gaps that keep coming must not keep it scanning. */
#define REST apr_time_from_sec(1)
#define REST_JOINING apr_time_from_msec(100)
#define FAILED_REST apr_time_from_sec(5)
#define FAILED_REST_MAX apr_time_from_sec(60)
#define RECENT_MS 60000
#define PATIENCE_MS 60000 /* where stateTransferTimeout says not to wait at all */

enum { ASKING = 0, ASKED = 1, NOT_ASKED = -1 };

static void pull_due(void *baton, apr_time_t now);
static void start_next(sc_manager_t *m, sc_peer_t *peer);
static void join_next(sc_manager_t *m);
static void join_review(sc_manager_t *m);

/* ---- asking --------------------------------------------------------------------------------- */

static apr_interval_time_t patience(const sc_manager_t *m)
{
    return apr_time_from_msec(m->config->delta.state_ms > 0 ? m->config->delta.state_ms
                                                            : PATIENCE_MS);
}

/* Contexts of a bit mask; the names stay where they are, in the store. */
static void put_contexts(const sc_manager_t *m, apr_uint64_t which, sc_msg_get_all_t *g)
{
    apr_uint16_t i;

    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        const char *name = sc_store_context_name(m->store, i);

        if (name[0] != '\0' && (which >> i & 1)) {
            g->context[g->ncontexts].s = name;
            g->context[g->ncontexts].len = strlen(name);
            g->ncontexts++;
        }
    }
}

static void describe(const sc_manager_t *m, const sc_peer_t *peer, sc_msg_get_all_t *g)
{
    const sc_pull_t *p = &peer->pull;
    apr_time_t now = sc_mgr_now(m);

    memset(g, 0, sizeof(*g));
    g->serial = p->serial;
    g->knows = m->state == SC_NODE_READY || (m->join.main_done && m->join.donor_ready);
    put_contexts(m, p->job == SC_JOB_CONTEXTS ? p->asked_contexts : ~(apr_uint64_t)0, g);
    if (p->job == SC_JOB_MISSED) {
        g->since = sc_board_peer_lsn(m->board, peer->member.store_id);
        if (g->since == 0 && m->join.active && m->join.main_done && m->join.donor_ready) {
            g->recent_ms = RECENT_MS + (apr_uint64_t)apr_time_as_msec(now - m->join.began);
        }
        /* with a memory of it, what this node came to hold since is among what was changed since */
        g->held = sc_mgr_is_backup(m) && g->since == 0;
    } else if (p->job == SC_JOB_LEGACY) {
        g->recent_ms = p->asked_legacy_ms;
        g->primary.s = p->asked_legacy;
        g->primary.len = strlen(p->asked_legacy);
        g->maker = p->asked_tag;
    }
}

/* The request has got there, or has not. */
static void request_ended(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t serial, apr_status_t rv)
{
    sc_pull_t *p = peer != NULL ? &peer->pull : NULL;

    if (p == NULL || p->job == SC_JOB_NONE || p->serial != serial || p->asked != ASKING) {
        return;
    }
    if (rv == APR_SUCCESS) {
        p->asked = ASKED;
        p->asked_at = sc_mgr_now(m);
        return;
    }
    /* it may not know this node yet */
    p->asked = NOT_ASKED;
    (void)sc_timer_set(m->cfg.timers, &p->timer, sc_mgr_now(m) + RETRY, pull_due, peer);
}

static void send_request(sc_manager_t *m, sc_peer_t *peer)
{
    sc_pull_t *p = &peer->pull;
    apr_time_t now = sc_mgr_now(m);
    sc_msg_get_all_t g;

    p->serial = ++m->pull_serial;
    p->asked = ASKING;
    describe(m, peer, &g);
    sc_buf_clear(&m->msg);
    sc_msg_get_all_put(&m->msg, &g);
    if (sc_mgr_post(m, peer, request_ended, p->serial) != APR_SUCCESS) {
        p->asked = NOT_ASKED;
    }
    (void)sc_timer_set(m->cfg.timers, &p->timer,
                       p->asked == NOT_ASKED ? now + RETRY : p->heard + patience(m), pull_due,
                       peer);
}

/* What is wanted next of this peer, if anything, becomes the running job. */
static int choose(sc_pull_t *p)
{
    if (p->want_contexts != 0) {
        p->job = SC_JOB_CONTEXTS;
        p->asked_contexts = p->want_contexts;
        p->want_contexts = 0;
    } else if (p->want_missed) {
        p->job = SC_JOB_MISSED;
        p->want_missed = 0;
    } else if (p->want_legacy) {
        p->job = SC_JOB_LEGACY;
        memcpy(p->asked_legacy, p->legacy, sizeof(p->asked_legacy));
        p->asked_tag = p->legacy_tag;
        p->asked_legacy_ms = p->legacy_ms;
        p->want_legacy = 0;
    }
    return p->job != SC_JOB_NONE;
}

static void start_next(sc_manager_t *m, sc_peer_t *peer)
{
    sc_pull_t *p = &peer->pull;
    apr_time_t now = sc_mgr_now(m);

    if (p->job != SC_JOB_NONE || !m->settled || m->stopped ||
        (m->join.active && !m->join.main_done && peer->serial != m->join.main)) {
        return;
    }
    if (now < p->rest && (p->failures > 0 || (p->want_contexts == 0 && !p->want_legacy))) {
        if (p->want_contexts != 0 || p->want_missed || p->want_legacy) {
            (void)sc_timer_set(m->cfg.timers, &p->timer, p->rest, pull_due, peer);
        }
        return;
    }
    if (choose(p)) {
        p->heard = now;
        p->total = 0;
        p->damaged = 0;
        send_request(m, peer);
    }
}

/* ---- ends ----------------------------------------------------------------------------------- */

/* The noticeboard shows the progress of all pulls together; nothing when none runs. */
static void clear_progress(sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && m->peer[i].pull.job != SC_JOB_NONE) {
            return;
        }
    }
    sc_board_set(m->board->transfer_total, 0);
    sc_board_set(m->board->transfer_done, 0);
}

/* It is wanted still. */
static void want_again(sc_pull_t *p)
{
    if (p->job == SC_JOB_CONTEXTS) {
        p->want_contexts |= p->asked_contexts;
    } else if (p->job == SC_JOB_MISSED) {
        p->want_missed = 1;
    } else if (p->job == SC_JOB_LEGACY && !p->want_legacy) {
        p->want_legacy = 1;
        p->legacy_ms = p->asked_legacy_ms;
        p->legacy_tag = p->asked_tag;
        memcpy(p->legacy, p->asked_legacy, sizeof(p->legacy));
    }
    p->job = SC_JOB_NONE;
}

static void failed(sc_manager_t *m, sc_peer_t *peer, const char *why)
{
    sc_pull_t *p = &peer->pull;
    apr_interval_time_t rest;
    char name[SC_MEMBER_NAME];

    sc_log(m->cfg.log, SC_LOG_WARNING, 0, "SC0550: state of member %s could not be taken over: %s",
           sc_member_name(&peer->member, name), why);
    sc_mgr_notice(m, SC_NOTICE_transfer_failed, &peer->member, 0);
    want_again(p);
    p->failures++;
    rest = FAILED_REST * (apr_interval_time_t)p->failures;
    p->rest = sc_mgr_now(m) + (rest < FAILED_REST_MAX ? rest : FAILED_REST_MAX);
    clear_progress(m);
    peer->join_tried = 1;
    start_next(m, peer);
    if (m->join.active && m->join.main == peer->serial) {
        join_next(m);
    }
    join_review(m);
}

static void pull_due(void *baton, apr_time_t now)
{
    sc_peer_t *peer = baton;
    sc_manager_t *m = peer->m;
    sc_pull_t *p = &peer->pull;

    if (p->job == SC_JOB_NONE) {
        start_next(m, peer);
    } else if (now - p->heard >= patience(m)) {
        failed(m, peer, "nothing came for too long");
    } else if (p->asked == NOT_ASKED) {
        send_request(m, peer);
    } else {
        (void)sc_timer_set(m->cfg.timers, &p->timer, p->heard + patience(m), pull_due, peer);
    }
}

static void join_main_done(sc_manager_t *m, const sc_peer_t *donor, int ready);

static void completed(sc_manager_t *m, sc_peer_t *peer, const sc_msg_complete_t *c)
{
    sc_pull_t *p = &peer->pull;
    apr_time_t now = sc_mgr_now(m);
    sc_job_t job = p->job;

    sc_timer_cancel(m->cfg.timers, &p->timer);
    p->job = SC_JOB_NONE;
    p->failures = 0;
    p->rest = job == SC_JOB_MISSED ? now + (m->join.active ? REST_JOINING : REST) : 0;
    sc_count(m->board, transfers, 1);
    if (m->join.active || sc_board_get(m->board->transfer_done) > 0) {
        sc_mgr_notice(m, SC_NOTICE_transfer_finished, &peer->member,
                      sc_board_get(m->board->transfer_done));
    }
    clear_progress(m);
    if (job == SC_JOB_MISSED) {
        sc_board_peer_set(m->board, peer->member.store_id, c->lsn, now);
        peer->synced = 1;
        sc_lease_healed(m, peer, c->loss);
        if (c->forgot > sc_board_get(m->board->forgot)) {
            sc_board_set(m->board->forgot, c->forgot);
        }
        if (!p->want_missed) {
            p->missed_since = 0;
            m->cfg.down.resynced(m->cfg.down.ctx, &peer->member);
        }
    }
    start_next(m, peer);
    sc_lease_review(m);
    if (job == SC_JOB_MISSED && m->join.active && m->join.main == peer->serial) {
        join_main_done(m, peer, c->ready != 0);
    }
    join_review(m);
}

apr_status_t sc_pull_complete(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_msg_complete_t c;

    if (sc_msg_complete_get(r, &c) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (peer == NULL || peer->pull.job == SC_JOB_NONE || peer->pull.serial != c.serial) {
        return APR_SUCCESS; /* of a request that was given up */
    }
    if (peer->pull.damaged) {
        failed(m, peer, "a part of it could not be read");
    } else {
        completed(m, peer, &c);
    }
    return APR_SUCCESS;
}

/* ---- blocks --------------------------------------------------------------------------------- */

static void show_progress(sc_manager_t *m, sc_pull_t *p, const sc_msg_data_t *d)
{
    apr_uint64_t total = sc_board_get(m->board->transfer_total);
    apr_uint64_t done = sc_board_get(m->board->transfer_done) + d->count;

    if (p->total == 0) {
        p->total = d->total;
        total += d->total;
    }
    total = total > done ? total : done;
    if (total <= APR_UINT32_MAX) {
        sc_board_set(m->board->transfer_done, (apr_uint32_t)done);
        sc_board_set(m->board->transfer_total, (apr_uint32_t)total);
    }
}

/* One session of a block. Refused ones (store full, dated too far ahead) are counted by the merge;
 * asking for them again would not help. */
static void take(sc_manager_t *m, const sc_member_t *from, const sc_wire_session_t *w)
{
    apr_uint16_t context;
    int changed = 0;

    if (sc_apply_context(m, from, w->context, w->context_len, &context) == APR_SUCCESS) {
        m->brought = SC_BROUGHT_BY_TRANSFER;
        (void)sc_mgr_merge_whole(m, from, context, w, &changed);
        m->brought = SC_BROUGHT_BY_CHANGE;
    }
}

apr_status_t sc_pull_data(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_wire_session_t w;
    sc_pull_t *p = NULL;
    sc_msg_data_t d;
    apr_uint64_t i;

    if (sc_msg_data_get(r, SC_EVT_ALL_SESSION_DATA, &d) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (peer != NULL && peer->pull.job != SC_JOB_NONE && peer->pull.serial == d.serial) {
        p = &peer->pull;
        p->heard = sc_mgr_now(m);
    }
    for (i = 0; i < d.count; i++) {
        if (sc_wire_session_get(r, &w) != APR_SUCCESS) {
            if (p != NULL) {
                p->damaged = 1;
            }
            return APR_EINVAL;
        }
        take(m, from, &w);
        sc_count(m->board, transferred, 1);
    }
    if (p != NULL) {
        show_progress(m, p, &d);
    }
    return APR_SUCCESS;
}

void sc_pull_alive(sc_manager_t *m, const sc_member_t *from, apr_uint64_t serial)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);

    if (peer != NULL && peer->pull.job != SC_JOB_NONE && peer->pull.serial == serial) {
        peer->pull.heard = sc_mgr_now(m);
    }
}

/* ---- joining -------------------------------------------------------------------------------- */

/* Contexts of which nothing is here. They may be new here, and old elsewhere. */
static apr_uint64_t empty_contexts(const sc_manager_t *m)
{
    sc_context_stats_t stats;
    apr_uint64_t which = 0;
    apr_uint16_t i;

    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        if (sc_store_context_stats(m->store, i, &stats) == APR_SUCCESS && stats.sessions == 0 &&
            stats.tombstones == 0) {
            which |= (apr_uint64_t)1 << i;
        }
    }
    return which;
}

static void want_all(sc_manager_t *m, sc_peer_t *peer)
{
    peer->pull.want_missed = 1;
    if (sc_board_peer_lsn(m->board, peer->member.store_id) != 0) {
        peer->pull.want_contexts |= empty_contexts(m);
    }
}

static void ready(sc_manager_t *m)
{
    int i;

    if (sc_restore_first(m)) {
        return; /* it comes again */
    }
    memset(&m->join, 0, sizeof(m->join));
    sc_mgr_set_state(m, SC_NODE_READY);
    sc_fetch_review(m);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            start_next(m, &m->peer[i]); /* what had to wait for the join, or failed in it */
        }
    }
}

static sc_peer_t *best_donor(sc_manager_t *m)
{
    const sc_member_t *members[SC_MEMBERS_MAX];
    apr_size_t n = m->cfg.down.members(m->cfg.down.ctx, members, SC_MEMBERS_MAX);
    sc_peer_t *oldest = NULL;
    apr_size_t i;

    for (i = 0; i < n; i++) {
        sc_peer_t *peer = sc_mgr_peer(m, members[i]);

        if (peer == NULL || peer->join_tried) {
            continue;
        }
        if (peer->member.node_state == SC_NODE_READY ||
            peer->member.node_state == SC_NODE_DRAINING) {
            return peer;
        }
        if (oldest == NULL) {
            oldest = peer;
        }
    }
    return oldest;
}

static void join_next(sc_manager_t *m)
{
    sc_peer_t *donor = best_donor(m);
    char name[SC_MEMBER_NAME];

    m->join.main = 0;
    if (donor == NULL) {
        if (m->npeers > 0) {
            sc_log(m->cfg.log, SC_LOG_WARNING, 0,
                   "SC0551: no member has given its sessions; this node serves without them, and "
                   "goes on asking");
        }
        ready(m);
        return;
    }
    sc_log(m->cfg.log, SC_LOG_INFO, 0, "SC0552: taking over sessions from member %s",
           sc_member_name(&donor->member, name));
    sc_mgr_notice(m, SC_NOTICE_transfer_began, &donor->member, 0);
    m->join.main = donor->serial;
    want_all(m, donor);
    start_next(m, donor);
}

static void join_main_done(sc_manager_t *m, const sc_peer_t *donor, int donor_ready)
{
    int i;

    m->join.main_done = 1;
    m->join.donor_ready = donor_ready;
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_peer_t *peer = &m->peer[i];

        if (peer->serial == 0 || peer == donor) {
            continue;
        }
        peer->pull.want_missed = 1;
        if (!donor_ready || sc_mgr_is_backup(m)) {
            want_all(m, peer);
        }
        start_next(m, peer);
    }
}

/* It begins to join when somebody is READY (restore.c): it counts on nobody before. */
static int is_waiting(const sc_peer_t *peer)
{
    return peer->lease.withheld && peer->member.node_state == SC_NODE_JOINING;
}

/* READY when each peer has given what it had at first. Gaps since then are no reason to wait: with
 * a full store they could go on for ever. */
static void join_review(sc_manager_t *m)
{
    int i;

    if (!m->join.active || !m->join.main_done) {
        return;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];
        const sc_pull_t *p = &peer->pull;

        if (peer->serial != 0 && !peer->join_tried &&
            (!peer->synced || p->job == SC_JOB_CONTEXTS || p->want_contexts != 0)) {
            return;
        }
    }
    if (sc_restore_first(m)) {
        return; /* on top of what they know; before that this node grants nothing */
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        /* from when on it counts on this node: before that a change made here without it might be
         * acknowledged, and it would not know that it should have asked */
        if (peer->serial != 0 && !peer->join_tried && peer->lease.granted == 0 &&
            !is_waiting(peer) && !sc_lease_mute(m, peer)) {
            return;
        }
    }
    ready(m);
}

void sc_pull_restored(sc_manager_t *m)
{
    if (m->join.active && m->join.main_done) {
        join_review(m);
    } else {
        ready(m);
    }
}

void sc_pull_join(sc_manager_t *m)
{
    int i;

    if (m->npeers == 0 || m->config->role != SC_ROLE_NODE) {
        ready(m);
        return;
    }
    if (m->config->delta.state_ms == 0) {
        ready(m); /* as configured: serve at once, learn meanwhile */
        for (i = 0; i < SC_MEMBERS_MAX; i++) {
            if (m->peer[i].serial != 0) {
                want_all(m, &m->peer[i]);
                start_next(m, &m->peer[i]);
            }
        }
        return;
    }
    m->join.active = 1;
    m->join.began = sc_mgr_now(m);
    join_next(m);
}

/* ---- members and gaps ----------------------------------------------------------------------- */

static void want_missed(sc_manager_t *m, sc_peer_t *peer)
{
    peer->pull.want_missed = 1;
    if (peer->pull.missed_since == 0) {
        peer->pull.missed_since = sc_mgr_now(m);
    }
    start_next(m, peer);
}

void sc_pull_lost(sc_manager_t *m, sc_peer_t *peer)
{
    if (!peer->pull.want_missed && peer->pull.job != SC_JOB_MISSED) {
        want_missed(m, peer);
    }
}

void sc_pull_given(sc_manager_t *m, sc_peer_t *peer, apr_time_t sent, apr_uint64_t serial)
{
    sc_pull_t *p = &peer->pull;

    if (p->job != SC_JOB_NONE && p->asked == ASKED && sent > p->asked_at && serial != p->serial) {
        sc_timer_cancel(m->cfg.timers, &p->timer);
        want_again(p);
        p->rest = 0;
        start_next(m, peer);
    }
}

int sc_pull_legacy_wanted(const sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_pull_t *p = &m->peer[i].pull;

        if (m->peer[i].serial != 0 && (p->want_legacy || p->job == SC_JOB_LEGACY)) {
            return 1;
        }
    }
    return 0;
}

void sc_pull_review(sc_manager_t *m)
{
    join_review(m);
}

void sc_pull_added(sc_manager_t *m, sc_peer_t *peer)
{
    want_missed(m, peer);
}

/* @param dead NULL: whoever changed it */
static void want_recent(sc_peer_t *peer, const sc_member_t *dead, apr_uint64_t ms)
{
    const char *route = dead != NULL ? dead->route : "";
    apr_uint32_t tag = dead != NULL ? sc_mgr_tag(dead->store_id) : 0;
    sc_pull_t *p = &peer->pull;

    if (!p->want_legacy) {
        p->want_legacy = 1;
        p->legacy_ms = 0;
        p->legacy_tag = tag;
        apr_cpystrn(p->legacy, route, sizeof(p->legacy));
    } else if (strcmp(p->legacy, route) != 0 || p->legacy_tag != tag) {
        p->legacy[0] = '\0'; /* of several: whatever is recent */
    }
    p->legacy_ms = p->legacy_ms > ms ? p->legacy_ms : ms;
    start_next(peer->m, peer);
}

static void want_legacy(sc_manager_t *m, const sc_member_t *dead, apr_uint64_t ms)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            want_recent(&m->peer[i], dead, ms);
        }
    }
}

void sc_pull_recent(sc_peer_t *peer, apr_uint64_t ms)
{
    want_recent(peer, NULL, ms);
}

void sc_pull_gone(sc_manager_t *m, sc_peer_t *peer, apr_uint32_t serial, int goodbye)
{
    /* what it did in the time it took to notice that it is gone, and to acknowledge */
    apr_uint64_t ms = (apr_uint64_t)m->config->mcast.drop_ms + m->config->ack_wait_ms + 2000;

    sc_timer_cancel(m->cfg.timers, &peer->pull.timer);
    clear_progress(m);
    if (m->join.active && m->join.main == serial && !m->join.main_done) {
        join_next(m);
    }
    join_review(m);
    if (peer->pull.missed_since != 0) {
        ms += (apr_uint64_t)apr_time_as_msec(sc_mgr_now(m) - peer->pull.missed_since);
    }
    if (m->settled && (!goodbye || peer->pull.missed_since != 0)) {
        want_legacy(m, &peer->member, ms);
    }
}

void sc_pull_gap(sc_manager_t *m, sc_peer_t *peer)
{
    want_missed(m, peer);
}

void sc_pull_context(sc_manager_t *m, apr_uint16_t context)
{
    const sc_member_t *members[SC_MEMBERS_MAX];
    apr_size_t n = m->cfg.down.members(m->cfg.down.ctx, members, SC_MEMBERS_MAX);
    apr_size_t i;

    for (i = 0; i < n; i++) {
        sc_peer_t *peer = sc_mgr_peer(m, members[i]);

        if (peer != NULL) {
            peer->pull.want_contexts |= (apr_uint64_t)1 << context;
            start_next(m, peer);
            if (!sc_mgr_is_backup(m)) {
                return; /* which has them all */
            }
        }
    }
}
