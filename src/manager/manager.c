/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The delta manager: its life, its peers, and where what comes in goes.
 *
 * Peers are the members of role node. They keep their place in the table as long as they are there;
 * whoever remembers a place remembers its serial too, so that nothing meant for one member reaches
 * the next one in that place.
 *
 * A balancer has a manager too, for the sake of one shape: it keeps no sessions and only becomes
 * READY.
 */
#include <string.h>

#include "internal.h"

/* A record that this node writes: a block of a transfer with one large session is the largest. */
#define MSG_MAX (128 * 1024 * 1024)

apr_time_t sc_mgr_now(const sc_manager_t *m)
{
    return sc_mono(m->cfg.clock);
}

apr_uint64_t sc_mgr_lsn(const sc_manager_t *m)
{
    sc_store_stats_t stats;

    sc_store_stats(m->store, &stats);
    return stats.lsn;
}

void sc_mgr_announce(sc_manager_t *m)
{
    sc_node_state_t told = m->state;

    if (told == SC_NODE_READY) {
        told = sc_board_get(m->board->quorum_lost) ? SC_NODE_MINORITY
               : m->leaving                        ? SC_NODE_LEAVING
               : sc_mgr_drains(m)                  ? SC_NODE_DRAINING
                                                   : told;
    }
    sc_board_set(m->board->node_state, m->state);
    m->cfg.down.announce(m->cfg.down.ctx, told);
}

void sc_mgr_notice(sc_manager_t *m, sc_notice_kind_t kind, const sc_member_t *who,
                   apr_uint64_t number)
{
    sc_notice_add(&m->board->notices, sc_wall(m->cfg.clock), kind, who != NULL ? who->route : NULL,
                  number);
}

int sc_mgr_is_blank(const sc_manager_t *m)
{
    return !sc_board_get(m->board->completed);
}

void sc_mgr_set_state(sc_manager_t *m, sc_node_state_t state)
{
    if (m->state == state) {
        return;
    }
    m->state = state;
    if (state == SC_NODE_READY) {
        sc_board_set(m->board->completed, 1);
    }
    sc_log(m->cfg.log, SC_LOG_INFO, 0, "SC0570: this node is %s", sc_node_state_name(state));
    sc_mgr_announce(m);
    sc_lease_review(m);
}

/* ---- peers ---------------------------------------------------------------------------------- */

sc_peer_t *sc_mgr_peer(sc_manager_t *m, const sc_member_t *member)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && sc_member_same(&m->peer[i].member, member)) {
            return &m->peer[i];
        }
    }
    return NULL;
}

sc_peer_t *sc_mgr_peer_at(sc_manager_t *m, apr_uint32_t place, apr_uint32_t serial)
{
    sc_peer_t *peer = &m->peer[place];

    return peer->serial == serial ? peer : NULL;
}

/* The board says so only when it has lasted for a lease time: what keeps old copies from being read
 * meanwhile is that there is no lease without a quorum, and requests wait for a moment. */
void sc_mgr_judge_quorum(sc_manager_t *m)
{
    apr_time_t now = sc_mgr_now(m);
    apr_uint32_t live = sc_lease_support(m, 0);
    apr_uint32_t lost = live < m->config->quorum;

    if (m->config->quorum == 0) {
        return;
    }
    if (!lost) {
        m->quorum_short = 0;
    } else if (m->quorum_short == 0) {
        m->quorum_short = now;
    }
    if (lost == sc_board_get(m->board->quorum_lost) ||
        (lost && now - m->quorum_short < m->lease_time)) {
        return;
    }
    sc_board_set(m->board->quorum_lost, lost);
    sc_log(m->cfg.log, lost ? SC_LOG_ERROR : SC_LOG_NOTICE, 0,
           lost
               ? "SC0571: %u of the %u nodes that SessionClusterQuorum asks for are here; sessions "
                 "are not served"
               : "SC0572: %u nodes are here, SessionClusterQuorum %u is met; sessions are served",
           live, m->config->quorum);
    sc_mgr_notice(m, lost ? SC_NOTICE_quorum_lost : SC_NOTICE_quorum_met, NULL, live);
    sc_mgr_announce(m);
}

/* What locations name has to be in the store's table already (place.c). */
static void intern_route(sc_manager_t *m, sc_peer_t *peer)
{
    const char *route = peer->member.route;

    if (m->config->role == SC_ROLE_BALANCER || sc_mgr_is_backup(m)) {
        if (sc_store_route(m->store, route, strlen(route), 1, &peer->route) != APR_SUCCESS) {
            peer->route = SC_ROUTE_NONE;
        }
        (void)sc_member_domain(&peer->member, peer->domain);
        sc_layout_review(m);
    }
}

void sc_manager_member_added(sc_manager_t *m, const sc_member_t *member)
{
    sc_peer_t *peer = NULL;
    int i;

    if (member->role != SC_ROLE_NODE) {
        sc_place_added(m, member);
        return;
    }
    if (sc_mgr_peer(m, member) != NULL) {
        sc_manager_member_changed(m, member);
        return;
    }
    for (i = 0; i < SC_MEMBERS_MAX && peer == NULL; i++) {
        if (m->peer[i].serial == 0) {
            peer = &m->peer[i];
        }
    }
    if (peer == NULL) {
        return; /* the channel holds fewer members than there are places */
    }
    memset(peer, 0, sizeof(*peer));
    peer->m = m;
    peer->serial = ++m->peer_serial;
    if (peer->serial == 0) {
        peer->serial = ++m->peer_serial;
    }
    peer->member = *member;
    m->npeers++;
    intern_route(m, peer);
    sc_place_added(m, member);
    if (m->config->role == SC_ROLE_NODE) {
        sc_lease_added(m, peer);
        sc_expiry_found(m, member);
        sc_fetch_added(m, peer);
        sc_pull_added(m, peer);
        sc_move_review(m);
    }
}

void sc_manager_member_changed(sc_manager_t *m, const sc_member_t *member)
{
    sc_peer_t *peer = sc_mgr_peer(m, member);

    if (peer != NULL) {
        peer->member = *member;
        intern_route(m, peer);
        sc_place_added(m, member);
        sc_lease_review(m);
        sc_move_review(m);
    }
}

void sc_manager_member_gone(sc_manager_t *m, const sc_member_t *member, int goodbye)
{
    sc_peer_t *peer = sc_mgr_peer(m, member);
    apr_uint32_t serial;

    sc_place_gone(m, member);
    if (peer == NULL) {
        return;
    }
    serial = peer->serial;
    m->npeers--;
    if (m->config->role == SC_ROLE_NODE && !goodbye) {
        sc_expiry_missing(m, &peer->member);
    } else if (goodbye) {
        sc_snapshot_left(m, &peer->member);
    }
    sc_donor_gone(m, peer);
    sc_digest_gone(m, peer);
    peer->serial = 0;
    sc_layout_review(m);
    if (m->config->role == SC_ROLE_NODE) {
        sc_pull_gone(m, peer, serial, goodbye);
        sc_lease_gone(m, peer, goodbye);
    }
    sc_mgr_replicate_gone(m, peer, serial, goodbye);
    if (m->config->role == SC_ROLE_NODE) {
        sc_move_gone(m, peer, serial);
        sc_fetch_review(m);
    }
}

void sc_manager_settled(sc_manager_t *m)
{
    if (m->settled || sc_restore_waits(m)) {
        return;
    }
    m->settled = 1;
    if (m->state == SC_NODE_JOINING) {
        sc_pull_join(m);
    }
    sc_fetch_review(m);
}

void sc_manager_gap(sc_manager_t *m, const sc_member_t *from)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);

    sc_place_lost(m, from);
    if (peer != NULL && m->config->role == SC_ROLE_NODE) {
        sc_pull_gap(m, peer);
    } else {
        m->cfg.down.resynced(m->cfg.down.ctx, from); /* nothing else of it could be missed */
    }
}

/* That all of a peer's store up to a number has arrived is true only if what others have told it
 * has come here, too. Were somebody cut off from this node, its lease would run out soon; so a
 * number is believed when the lease has outlasted it by the time in which that shows. */
static void believe(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t lsn)
{
    apr_time_t now = sc_mgr_now(m);

    if (m->lapsed) {
        return;
    }
    if (peer->progress_at != 0 &&
        now - peer->progress_at >= 2 * apr_time_from_msec(m->config->ack_wait_ms)) {
        sc_board_peer_set(m->board, peer->member.store_id, peer->progress, now);
        peer->progress_at = 0;
    }
    if (peer->progress_at == 0) {
        peer->progress = lsn;
        peer->progress_at = now;
    }
}

void sc_manager_progress(sc_manager_t *m, const sc_member_t *from, apr_uint64_t lsn)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);

    if (peer != NULL && peer->synced) {
        believe(m, peer, lsn);
    }
}

/* ---- records -------------------------------------------------------------------------------- */

static apr_status_t dispatch(sc_manager_t *m, const sc_member_t *from, unsigned int event,
                             sc_rd_t *r)
{
    switch (event) {
    case SC_EVT_SESSION_CREATED:
        return sc_apply_created(m, from, r);
    case SC_EVT_SESSION_EXPIRED:
        return sc_apply_expired(m, from, r);
    case SC_EVT_SESSION_ACCESSED:
        return sc_apply_accessed(m, from, r);
    case SC_EVT_SESSION_DELTA:
        return sc_apply_delta(m, from, r);
    case SC_EVT_CHANGE_SESSION_ID:
        return sc_apply_change_id(m, from, r);
    case SC_EVT_GET_ALL_SESSIONS:
        return sc_donor_asked(m, from, r);
    case SC_EVT_ALL_SESSION_DATA:
        return sc_pull_data(m, from, r);
    case SC_EVT_ALL_SESSION_TRANSFERCOMPLETE:
        return sc_pull_complete(m, from, r);
    case SC_EVT_ALL_SESSION_NOCONTEXTMANAGER:
        return sc_apply_nocontext(m, from, r);
    case SC_EVT_BACKUP:
        return sc_apply_created(m, from, r);
    case SC_EVT_BACKUP_DIFF:
        return sc_apply_delta(m, from, r);
    case SC_EVT_REMOVE:
        return sc_apply_expired(m, from, r);
    case SC_EVT_ACCESS:
        return sc_apply_accessed(m, from, r);
    case SC_EVT_PROXY:
        return sc_place_heard(m, from, r);
    case SC_EVT_STATE:
        return sc_place_asked(m, from, r);
    case SC_EVT_COPY:
        return sc_move_copied(m, from, r);
    case SC_EVT_NOTIFY:
        return sc_move_notified(m, from, r);
    case SC_EVT_NOTIFY_REPLY:
        return sc_move_answered(m, from, r);
    case SC_EVT_TAKE:
        return sc_move_asked(m, from, r);
    case SC_EVT_PING:
        return sc_lease_asked(m, from, r);
    case SC_EVT_PING_REPLY:
        return sc_lease_answered(m, from, r);
    case SC_EVT_DIGEST:
        return sc_digest_asked(m, from, r);
    case SC_EVT_DIGEST_LIST:
        return sc_digest_listed(m, from, r);
    case SC_EVT_RETRIEVE:
        return sc_fetch_asked(m, from, r);
    case SC_EVT_RETRIEVE_REPLY:
        return sc_fetch_answered(m, from, r);
    default:
        return APR_ENOTIMPL;
    }
}

/* What a front end listens to. */
static apr_status_t dispatch_front(sc_manager_t *m, const sc_member_t *from, unsigned int event,
                                   sc_rd_t *r)
{
    switch (event) {
    case SC_EVT_PROXY:
        return sc_place_heard(m, from, r);
    case SC_EVT_REMOVE:
    case SC_EVT_SESSION_EXPIRED:
        return sc_place_dead(m, from, r);
    default:
        return APR_ENOTIMPL;
    }
}

apr_status_t sc_manager_record(sc_manager_t *m, const sc_member_t *from, const void *bytes,
                               apr_size_t len)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;
    unsigned int event;
    apr_status_t rv;
    sc_rd_t r;

    sc_rd_init(&r, bytes, len);
    event = sc_get_u8(&r);
    if (m->config->role != SC_ROLE_NODE) {
        rv = r.bad ? APR_ENOTIMPL : dispatch_front(m, from, event, &r);
    } else {
        rv = r.bad ? APR_EINVAL : dispatch(m, from, event, &r);
    }
    if (rv == APR_ENOTIMPL) {
        sc_count(m->board, ignored, 1); /* of a later version */
        return APR_SUCCESS;
    }
    if (rv != APR_EINVAL) {
        return rv;
    }
    /* taken and thrown away: a refusal would be repeated, and would take what came in the same
     * envelope with it */
    sc_count(m->board, records_refused, 1);
    if (sc_log_allowed(&m->limit.malformed, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0573: a malformed %s (event %u) of member %s was refused (%" APR_UINT64_T_FMT
               " more before)",
               sc_event_name(event), event, sc_member_name(from, name), more);
    }
    return APR_SUCCESS;
}

/* ---- life ----------------------------------------------------------------------------------- */

void sc_manager_start(sc_manager_t *m)
{
    if (m->config->role == SC_ROLE_NODE && m->config->membership != SC_MEMBERSHIP_NONE) {
        sc_mgr_doubt_recent(m);
    }
    sc_expiry_start(m);
    sc_place_start(m);
    sc_move_start(m);
    sc_lease_start(m);
    sc_digest_start(m);
    sc_restore_start(m);
    if (m->config->membership == SC_MEMBERSHIP_NONE) {
        sc_restore_now(m);
        m->settled = 1;
        sc_mgr_set_state(m, SC_NODE_READY);
    } else {
        sc_mgr_set_state(m, SC_NODE_JOINING);
    }
}

void sc_manager_leave(sc_manager_t *m)
{
    if (m->leaving || m->stopped || m->config->role != SC_ROLE_NODE ||
        m->config->membership == SC_MEMBERSHIP_NONE) {
        return;
    }
    m->leaving = 1;
    sc_mgr_announce(m);
}

void sc_manager_stop(sc_manager_t *m)
{
    if (m->stopped) {
        return;
    }
    m->stopped = 1;
    m->stopped_at = sc_mgr_now(m);
    if (m->config->delta.expire_on_shutdown && m->config->role == SC_ROLE_NODE) {
        sc_expiry_bury_own(m);
    }
    sc_lease_stop(m);
    sc_mgr_set_state(m, SC_NODE_LEAVING);
    sc_move_leave(m);
}

int sc_manager_busy(const sc_manager_t *m)
{
    return sc_move_leaving(m) || sc_snapshot_listens(m);
}

static apr_status_t manager_cleanup(void *data)
{
    sc_manager_t *m = data;
    int i;

    sc_restore_end(m);
    sc_expiry_stop(m);
    sc_move_stop(m);
    sc_place_stop(m);
    sc_digest_stop(m);
    sc_timer_cancel(m->cfg.timers, &m->lease_timer);
    sc_fetch_end(m);
    sc_donor_end(m);
    sc_mgr_replicate_end(m);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_timer_cancel(m->cfg.timers, &m->peer[i].pull.timer);
    }
    sc_buf_free(&m->old);
    sc_buf_free(&m->out);
    sc_buf_free(&m->delta);
    sc_buf_free(&m->moved);
    sc_buf_free(&m->msg);
    return APR_SUCCESS;
}

/* Names that the store must know. The engine may have entered them already. */
static apr_status_t enter_names(sc_manager_t *m)
{
    const sc_config_t *c = m->config;
    apr_status_t rv = APR_SUCCESS;
    apr_uint16_t index;
    apr_uint32_t i;

    m->own_route = SC_ROUTE_NONE;
    if (c->route[0] != '\0') {
        rv = sc_store_route(m->store, c->route, strlen(c->route), 1, &m->own_route);
        if (rv == APR_SUCCESS) {
            sc_store_set_own_route(m->store, m->own_route);
        }
    }
    for (i = 0; i < c->ncontexts && rv == APR_SUCCESS; i++) {
        rv = sc_store_context(m->store, c->context[i], strlen(c->context[i]), 1, &index);
    }
    return rv;
}

apr_status_t sc_manager_create(sc_manager_t **out, const sc_manager_config_t *cfg, apr_pool_t *pool)
{
    sc_manager_t *m = apr_pcalloc(pool, sizeof(*m));
    apr_status_t rv;

    *out = NULL;
    m->cfg = *cfg;
    m->config = cfg->config;
    m->store = cfg->store;
    m->board = sc_store_board(cfg->store);
    m->state = SC_NODE_STARTING;
    m->node_tag = sc_mgr_tag(sc_store_id(cfg->store));
    rv = apr_pool_create(&m->scratch, pool);
    if (rv == APR_SUCCESS) {
        rv = enter_names(m);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* names, stamps and removals take room besides what the limit counts */
    m->body_limit = 2 * (apr_size_t)m->config->max_session + 16 * 1024;
    sc_buf_init(&m->old, MSG_MAX);
    sc_buf_init(&m->out, m->body_limit);
    sc_buf_init(&m->delta, m->body_limit);
    sc_buf_init(&m->moved, MSG_MAX);
    sc_buf_init(&m->msg, MSG_MAX);
    sc_expiry_init(m);
    sc_notify_start(m);
    sc_board_set(m->board->quorum_lost, 0);
    sc_board_set(m->board->transfer_total, 0);
    sc_board_set(m->board->transfer_done, 0);
    sc_board_set(m->board->quorum_lost, m->config->quorum > 1);
    if (m->config->role != SC_ROLE_NODE || m->config->membership == SC_MEMBERSHIP_NONE) {
        sc_board_set(m->board->draining, 0); /* of another configuration */
    }
    apr_pool_cleanup_register(pool, m, manager_cleanup, apr_pool_cleanup_null);
    *out = m;
    return APR_SUCCESS;
}

/* ---- contexts ------------------------------------------------------------------------------- */

apr_status_t sc_mgr_learn_context(sc_manager_t *m, const char *name, apr_size_t len,
                                  apr_uint16_t *index)
{
    apr_status_t rv = sc_store_context(m->store, name, len, 0, index);

    if (rv != APR_NOTFOUND) {
        return rv;
    }
    rv = sc_store_context(m->store, name, len, 1, index);
    if (rv == APR_SUCCESS) {
        sc_log(m->cfg.log, SC_LOG_INFO, 0, "SC0574: context \"%.*s\" is new on this node", (int)len,
               name);
        sc_pull_context(m, *index);
    } else if (sc_log_allowed(&m->limit.context, sc_mgr_now(m), SC_COMPLAIN, NULL)) {
        sc_log(m->cfg.log, SC_LOG_ERROR, rv,
               "SC0575: context \"%.*s\" was refused: a node can have %d contexts", (int)len, name,
               SC_CONTEXTS_MAX);
    }
    return rv;
}
