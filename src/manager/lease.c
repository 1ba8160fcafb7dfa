/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Leases: who may answer from its copies, and who has to be waited for (docs/consistency.md).
 *
 * Asking: this node sends a PING to every peer some times per lease time. A reply that grants makes
 * the lease from that peer run from the moment the PING was sent, in a clock that goes on while the
 * process or the machine stands still. The lease on the noticeboard is the earliest end of those
 * that count. So a node that was frozen, stopped or cut off wakes up with a lease that has run out,
 * whatever it knows about itself.
 *
 * Granting: a promise not to acknowledge a change without the peer, a little longer than what the
 * peer counts on. replicate.c keeps it. Nothing is granted to a peer that lets an acknowledgement
 * wait, or for which something was lost, until it has made that up; so what was granted runs out,
 * and after that nobody waits for it.
 *
 * Who counts: peers that are READY, or have ever granted a lease. And members that are not in this
 * node's view but that a peer counts on: then somebody is cut off from somebody, and there may be
 * changes that have not come here. Then the peers are asked for each session.
 *
 * A node that stood still for as long as a lease lasts owes it to each peer to hear of it first:
 * the peer's silence proves nothing then.
 */
#include <string.h>

#include "internal.h"

#define GRANT_MIN_MS 80
#define GRANT_MAX_MS 10000
#define TICKS 3 /* PINGs per lease time: two may be lost or late */
/** Never a valid time, and not 0, which means that no lease is needed. */
#define NO_LEASE 1

static void lease_due(void *baton, apr_time_t now);

static void arm(sc_manager_t *m, apr_time_t now)
{
    sc_board_set(m->board->worked_at, now);
    (void)sc_timer_set(m->cfg.timers, &m->lease_timer, now + m->lease_time / TICKS, lease_due, m);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Members that this node counts on, or may soon. */
static void put_members(const sc_manager_t *m, const sc_peer_t *to, sc_msg_ping_t *ping)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && peer != to) {
            ping->hung |= (apr_uint64_t)sc_lease_hung(m, peer) << ping->nmembers;
            ping->member[ping->nmembers++] = peer->member.store_id;
        }
    }
}

static void ask(sc_manager_t *m, sc_peer_t *peer, apr_time_t now)
{
    sc_msg_ping_t ping;

    memset(&ping, 0, sizeof(ping));
    m->pinged = now > m->pinged ? now : m->pinged;
    ping.sent = (apr_uint64_t)m->pinged;
    ping.healed = peer->lease.healed;
    ping.clock = sc_mgr_clock_told(m);
    put_members(m, peer, &ping);
    sc_buf_clear(&m->msg);
    sc_msg_ping_put(&m->msg, &ping);
    if (peer->lease.silent == 0) {
        peer->lease.silent = now;
    }
    sc_mgr_send(m, peer);
}

static void ask_all(sc_manager_t *m, apr_time_t now)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            ask(m, &m->peer[i], now);
        }
    }
}

/* Whether a peer counts on a member. */
static int is_told(const sc_peer_t *peer, apr_uint64_t store_id)
{
    apr_uint32_t i;

    for (i = 0; i < peer->lease.nmembers; i++) {
        if (peer->lease.member[i] == store_id) {
            return 1;
        }
    }
    return 0;
}

void sc_lease_tell_hung(sc_manager_t *m, const sc_member_t *from)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    int i, wanted = 0;

    for (i = 0; i < SC_MEMBERS_MAX && peer != NULL; i++) {
        const sc_peer_t *other = &m->peer[i];

        wanted |= other->serial != 0 && other != peer && sc_lease_hung(m, other) &&
                  !is_told(peer, other->member.store_id);
    }
    if (wanted && m->lease_time != 0) {
        ask(m, peer, sc_mgr_now(m));
    }
}

apr_status_t sc_lease_answered(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    apr_time_t now = sc_mgr_now(m);
    sc_msg_ping_reply_t reply;
    apr_time_t sent;

    if (sc_msg_ping_reply_get(r, &reply) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    sent = (apr_time_t)reply.sent;
    if (peer == NULL || m->lease_time == 0 || sent <= 0 || sent > now) {
        return APR_SUCCESS;
    }
    if (sc_lease_mute(m, peer)) {
        sc_move_review(m); /* what was made meanwhile has been made without it */
    }
    peer->lease.silent = 0;
    if (sent > peer->lease.told) {
        peer->lease.told = sent;
    }
    peer->lease.known = reply.introduced != 0;
    sc_pull_given(m, peer, sent, reply.transfer);
    peer->lease.withheld = !reply.granted && reply.introduced && reply.loss == peer->lease.healed;
    if (!reply.granted) {
        if (peer->lease.withheld) {
            sc_pull_review(m);
        }
        if (reply.loss != peer->lease.healed) {
            sc_pull_lost(m, peer);
        }
        return APR_SUCCESS;
    }
    peer->lease.counts = 1;
    peer->lease.owed = 0;
    if (sent > peer->lease.answered) {
        peer->lease.answered = sent;
    }
    if (sent + m->lease_time > peer->lease.until) {
        peer->lease.until = sent + m->lease_time;
    }
    sc_lease_review(m);
    return APR_SUCCESS;
}

/* ---- granting ------------------------------------------------------------------------------- */

/* @return -1: it is not in the view */
static int place_of(const sc_manager_t *m, apr_uint64_t store_id)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && m->peer[i].member.store_id == store_id) {
            return i;
        }
    }
    return -1;
}

int sc_lease_knows(const sc_manager_t *m, apr_uint64_t store_id)
{
    return store_id == sc_store_id(m->store) || place_of(m, store_id) >= 0;
}

/* When it does not count on a stranger any more, what that one has told it meanwhile has still not
 * come here. */
static void look_for_strangers(sc_manager_t *m, sc_peer_t *peer)
{
    int before = peer->lease.strangers;
    apr_time_t now = sc_mgr_now(m);
    apr_uint32_t i;

    peer->lease.strangers = 0;
    for (i = 0; i < peer->lease.nmembers; i++) {
        int place = place_of(m, peer->lease.member[i]);

        if (place >= 0) {
            m->peer[place].lease.counts = 1; /* what it is to this node may be long out of date */
        } else if (peer->lease.member[i] != sc_store_id(m->store)) {
            peer->lease.strangers = 1;
        }
    }
    if (!before && peer->lease.strangers) {
        peer->lease.strange = now;
    } else if (before && !peer->lease.strangers) {
        sc_pull_recent(peer, sc_mgr_age(now, peer->lease.strange) + m->config->mcast.drop_ms +
                                 2 * m->config->ack_wait_ms);
    }
}

static void look_for_all_strangers(sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            look_for_strangers(m, &m->peer[i]);
        }
    }
}

/* Whether all who may read on this node's word know of the peer: before that it might acknowledge a
 * change with this node alone, and they would not know that they should have asked. */
static int is_introduced(const sc_manager_t *m, const sc_peer_t *peer)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *other = &m->peer[i];

        if (other->serial != 0 && other != peer && sc_lease_may_read(m, other) &&
            other->lease.told < peer->lease.added) {
            return 0;
        }
    }
    return 1;
}

apr_status_t sc_lease_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_msg_ping_reply_t reply;
    sc_msg_ping_t ping;
    sc_lease_t *l;

    if (sc_msg_ping_get(r, &ping) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    /* one that was late, or comes again, says what was so once */
    if (peer == NULL || m->grant_time == 0 || ping.sent <= peer->lease.heard) {
        return APR_SUCCESS;
    }
    sc_mgr_observe_clock(m, from, ping.clock);
    l = &peer->lease;
    l->heard = ping.sent;
    l->heard_at = sc_mgr_now(m);
    l->hung = ping.hung;
    l->nmembers = ping.nmembers;
    memcpy(l->member, ping.member, ping.nmembers * sizeof(l->member[0]));
    look_for_strangers(m, peer);
    sc_lease_review(m); /* the reply says that children here ask because of a stranger */
    reply.sent = ping.sent;
    reply.transfer = sc_donor_serial(peer);
    reply.loss = l->loss;
    reply.introduced = (apr_uint32_t)is_introduced(m, peer);
    reply.granted = reply.introduced && ping.healed == l->loss && !l->overdue &&
                    !sc_restore_pending(m) && sc_lag_may_end(m, peer);
    if (reply.granted) {
        int first = l->granted == 0;

        /* it has made up all that was acknowledged without it: it is waited for again */
        sc_lag_ends(m, peer);
        l->granted = sc_mgr_now(m) + m->grant_time;
        if (first) {
            sc_pull_review(m);
        }
    }
    sc_buf_clear(&m->msg);
    sc_msg_ping_reply_put(&m->msg, &reply);
    sc_mgr_send(m, peer);
    return APR_SUCCESS;
}

void sc_lease_lost(sc_manager_t *m, sc_peer_t *peer)
{
    (void)m;
    peer->lease.loss++;
    peer->lease.overdue = 0; /* that is enough to grant it nothing */
}

void sc_lease_healed(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t loss)
{
    peer->lease.owed = 0;
    if (peer->lease.healed != loss) {
        peer->lease.healed = loss;
        ask(m, peer, sc_mgr_now(m));
        sc_digest_soon(m, peer); /* it joined, came back, or something was lost */
    }
}

int sc_lease_may_read(const sc_manager_t *m, const sc_peer_t *peer)
{
    return peer->lease.granted > sc_mgr_now(m);
}

/* ---- judging -------------------------------------------------------------------------------- */

static int counts(const sc_peer_t *peer)
{
    return peer->serial != 0 && (peer->lease.counts || peer->member.node_state >= SC_NODE_READY);
}

/* End of the lease as the peers' grants make it, NO_LEASE for none. */
static apr_time_t worked_out(const sc_manager_t *m, apr_time_t now)
{
    apr_time_t until = now + m->lease_time;
    int i;

    if (m->state != SC_NODE_READY || m->stopped || now < m->lease_hold ||
        sc_pull_legacy_wanted(m) || sc_lease_support(m, 0) < m->config->quorum) {
        return NO_LEASE;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && (peer->lease.strangers || peer->lease.owed)) {
            return NO_LEASE;
        }
        if (peer->serial != 0 && peer->lease.withheld &&
            peer->member.node_state == SC_NODE_JOINING) {
            return NO_LEASE; /* its snapshot may be newer than what is here */
        }
        if (counts(peer) && peer->lease.heard == 0) {
            return NO_LEASE; /* it has not said yet on whom it counts */
        }
        if (counts(peer) && peer->lease.until < until) {
            until = peer->lease.until;
        }
    }
    return until > now ? until : NO_LEASE;
}

int sc_lease_introduced(const sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && !peer->lease.known && !sc_lease_mute(m, peer)) {
            return 0;
        }
    }
    return 1;
}

int sc_lease_mute(const sc_manager_t *m, const sc_peer_t *peer)
{
    return peer->lease.silent != 0 && !peer->lease.owed &&
           sc_mgr_now(m) - peer->lease.silent >= m->lease_time;
}

int sc_lease_hung(const sc_manager_t *m, const sc_peer_t *peer)
{
    return sc_lease_mute(m, peer) && !sc_lease_may_read(m, peer);
}

int sc_lease_minority(const sc_manager_t *m, apr_uint64_t without)
{
    const char *first = m->config->route;
    apr_uint32_t i, n = 0;
    int has_first = 1;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];
        int is_without = (int)(without >> i & 1);

        if (peer->serial == 0) {
            continue;
        }
        n += (apr_uint32_t)is_without;
        if (strcmp(peer->member.route, first) < 0) {
            first = peer->member.route;
            has_first = !is_without;
        }
    }
    /* of two neither can know whether the other one is there */
    return m->npeers > 1 && (2 * n > m->npeers + 1 || (2 * n == m->npeers + 1 && !has_first));
}

int sc_lease_cut_off(const sc_manager_t *m)
{
    apr_uint64_t mute = 0;
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            mute |= (apr_uint64_t)sc_lease_mute(m, &m->peer[i]) << i;
        }
    }
    return sc_lease_minority(m, mute) || sc_mgr_now(m) < m->lease_hold;
}

int sc_lease_stays(const sc_peer_t *peer)
{
    return peer->member.node_state != SC_NODE_LEAVING;
}

apr_uint32_t sc_lease_support(const sc_manager_t *m, apr_time_t since)
{
    apr_time_t now = sc_mgr_now(m);
    apr_uint32_t n = m->config->role == SC_ROLE_NODE;
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && peer->lease.until > now && peer->lease.answered >= since) {
            n++;
        }
    }
    return n;
}

/* ---- members that went without a word -------------------------------------------------------- */

void sc_lease_added(sc_manager_t *m, sc_peer_t *peer)
{
    int i;

    /* Whatever there is: it has to ask for it once. And once again each time that it is taken into
     * the view, even if it has never noticed that it was not there. */
    peer->lease.loss = (apr_uint64_t)peer->serial << 32;
    for (i = 0; i < SC_DEPARTED; i++) {
        /* a new engine on the store of the old one, which cannot be read without a new lease */
        if (m->departed[i].store_id == peer->member.store_id) {
            m->departed[i].until = 0;
        }
    }
    /* Members may come in one instant. A PING that tells of this one must not look like one that
     * was sent before. */
    m->pinged = sc_mgr_now(m) > m->pinged ? sc_mgr_now(m) : m->pinged + 1;
    peer->lease.added = m->pinged;
    if (m->lease_time != 0) {
        look_for_all_strangers(m);
        ask_all(m, sc_mgr_now(m));
        sc_lease_review(m);
    }
}

void sc_lease_gone(sc_manager_t *m, const sc_peer_t *peer, int goodbye)
{
    int i, oldest = 0;

    if (!goodbye) {
        for (i = 1; i < SC_DEPARTED; i++) {
            if (m->departed[i].until < m->departed[oldest].until) {
                oldest = i;
            }
        }
        m->departed[oldest].store_id = peer->member.store_id;
        m->departed[oldest].until = peer->lease.granted;
    }
    if (!goodbye && peer->lease.owed) {
        /* nothing was heard of it since this node stood still: it may be there in another life */
        apr_time_t hear = sc_mgr_now(m) + apr_time_from_msec(m->config->mcast.drop_ms);

        m->lease_hold = hear > m->lease_hold ? hear : m->lease_hold;
    }
    if (m->lease_time != 0) {
        look_for_all_strangers(m);
        sc_lease_review(m);
    }
}

apr_time_t sc_lease_departed(const sc_manager_t *m)
{
    apr_time_t now = sc_mgr_now(m);
    apr_time_t until = 0;
    int i;

    for (i = 0; i < SC_DEPARTED; i++) {
        if (m->departed[i].until > now && m->departed[i].until > until) {
            until = m->departed[i].until;
        }
    }
    return until;
}

/* ---- the own lease --------------------------------------------------------------------------- */

static void complain(sc_manager_t *m, apr_time_t now)
{
    char name[SC_MEMBER_NAME];
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (counts(&m->peer[i]) && m->peer[i].lease.until <= now) {
            sc_log(m->cfg.log, SC_LOG_INFO, 0,
                   "SC0582: member %s has not confirmed lately that it hears this node; the %u "
                   "peers are asked for each session until it has, or is gone",
                   sc_member_name(&m->peer[i].member, name), m->npeers);
            return;
        }
    }
}

/* What seemed to have arrived may lack what somebody told others meanwhile. */
static void forget_progress(sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        m->peer[i].progress_at = 0;
    }
}

static void judge(sc_manager_t *m, apr_time_t now)
{
    apr_time_t until = worked_out(m, now);
    int lapsed = until == NO_LEASE;

    if (lapsed && !m->lapsed) {
        forget_progress(m);
        sc_count(m->board, lapses, 1);
        if (m->state == SC_NODE_READY && !m->stopped) {
            sc_mgr_notice(m, SC_NOTICE_lease_lost, NULL, 0);
            complain(m, now);
        }
    } else if (!lapsed && m->lapsed) {
        sc_mgr_notice(m, SC_NOTICE_lease_back, NULL, 0);
        sc_log(m->cfg.log, SC_LOG_DEBUG, 0, "SC0581: this node knows the latest of all sessions");
    }
    m->lapsed = lapsed;
    sc_board_set(m->board->lease_until, until);
    sc_mgr_judge_quorum(m);
}

static void stood_still(sc_manager_t *m, apr_time_t now)
{
    apr_interval_time_t hear = apr_time_from_msec(m->config->mcast.frequency_ms) * 3 / 2;
    int i;

    sc_log(m->cfg.log, SC_LOG_WARNING, 0,
           "SC0580: this node stood still for %" APR_TIME_T_FMT
           " ms; it asks its %u peers for each session until it has heard of them",
           apr_time_as_msec(now - m->lease_seen), m->npeers);
    m->lease_seen = now;
    m->lease_hold = now + (hear > m->lease_time ? hear : m->lease_time);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            m->peer[i].lease.owed = 1;
            m->peer[i].lease.silent = 0;
        }
    }
    /* who has dropped this node meanwhile takes it in again as soon as it hears of it */
    sc_mgr_announce(m);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            sc_pull_gap(m, &m->peer[i]);
        }
    }
    ask_all(m, now);
}

void sc_lease_check(sc_manager_t *m)
{
    apr_time_t now = sc_mgr_now(m);

    if (m->lease_time == 0) {
        return;
    }
    if (now - m->lease_seen >= m->lease_time) {
        stood_still(m, now);
    }
    judge(m, now);
}

void sc_lease_review(sc_manager_t *m)
{
    int before = m->lapsed;

    sc_lease_check(m);
    if (before && !m->lapsed) {
        sc_fetch_review(m);
    }
}

static void lease_due(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;

    sc_lease_check(m);
    m->lease_seen = now;
    ask_all(m, now);
    sc_fetch_repeat(m);
    sc_fetch_review(m);
    arm(m, now);
}

void sc_lease_start(sc_manager_t *m)
{
    apr_uint32_t ms = m->config->ack_wait_ms / 4 * 3;

    if (m->config->membership == SC_MEMBERSHIP_NONE || m->config->role != SC_ROLE_NODE) {
        sc_board_set(m->board->lease_until, 0);
        return;
    }
    ms = ms < GRANT_MIN_MS ? GRANT_MIN_MS : ms > GRANT_MAX_MS ? GRANT_MAX_MS : ms;
    m->grant_time = apr_time_from_msec(ms);
    m->lease_time = m->grant_time / 16 * 15;
    m->lapsed = 1;
    m->lease_seen = sc_mgr_now(m);
    sc_board_set(m->board->lease_until, NO_LEASE);
    arm(m, sc_mgr_now(m));
}

void sc_lease_stop(sc_manager_t *m)
{
    if (m->lease_time != 0) {
        m->lapsed = 1;
        sc_board_set(m->board->lease_until, NO_LEASE);
    }
}
