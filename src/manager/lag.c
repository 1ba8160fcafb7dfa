/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Members that do not acknowledge in time.
 *
 * Requests wait for such a member once, and no more until it acknowledges again. One that does so
 * only to hang again (it swaps, its CPU is stolen, its link loses packets) would take that time of
 * requests each time. So one that lags again soon after has to show first that it can do better:
 * nothing it acknowledges for a while may be late, two seconds the second time, and twice as long
 * each further time. Meanwhile it gets everything, but nobody waits for it, and it is granted
 * nothing: it asks the others before it answers.
 *
 * Where a change that is not acknowledged by everybody is refused (onTimeout=fail), or where it is
 * needed for the quorum, that would end service instead of slowing it down: there it is waited for
 * as soon as it acknowledges.
 */
#include "replicate.h"

#define PROBATION_MIN apr_time_from_sec(2)
#define PROBATION_MAX apr_time_from_sec(60)
/** One that has not lagged for so long is as good as one that never has. */
#define FORGIVEN apr_time_from_sec(60)

/** Whether there is a quorum, or all that is asked for, without it. */
static int is_dispensable(const sc_manager_t *m)
{
    apr_uint32_t n = 1;
    apr_uint32_t i;

    if (m->config->refuse_unacked) {
        return 0;
    }
    for (i = 0; m->config->quorum > 1 && i < SC_MEMBERS_MAX; i++) {
        n += m->peer[i].serial != 0 && !m->peer[i].lagging;
    }
    return n >= m->config->quorum;
}

void sc_lag_begins(sc_manager_t *m, sc_peer_t *peer)
{
    sc_lag_t *l = &peer->lag;
    apr_time_t now = sc_mgr_now(m);
    char name[SC_MEMBER_NAME];

    l->late = now;
    if (peer->lagging) {
        return;
    }
    peer->lagging = 1;
    if (l->ended == 0 || now - l->ended > FORGIVEN) {
        l->probation = 0;
    } else if (l->probation == 0) {
        l->probation = PROBATION_MIN;
    } else if (l->probation < PROBATION_MAX) {
        l->probation = 2 * l->probation < PROBATION_MAX ? 2 * l->probation : PROBATION_MAX;
    }
    sc_mgr_notice(m, SC_NOTICE_lagging, &peer->member, 0);
    (void)sc_member_name(&peer->member, name);
    if (l->probation > 0) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0514: member %s does not acknowledge in time, once more; requests no longer wait "
               "for it until it has done so for %d seconds",
               name, (int)apr_time_sec(l->probation));
    } else {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0510: member %s does not acknowledge in time; requests no longer wait for it",
               name);
    }
}

void sc_lag_ends(sc_manager_t *m, sc_peer_t *peer)
{
    char name[SC_MEMBER_NAME];

    if (!peer->lagging) {
        return;
    }
    peer->lagging = 0;
    peer->lag.ended = sc_mgr_now(m);
    sc_mgr_notice(m, SC_NOTICE_caught_up, &peer->member, 0);
    sc_log(m->cfg.log, SC_LOG_NOTICE, 0,
           "SC0511: member %s acknowledges again; requests wait for it again",
           sc_member_name(&peer->member, name));
}

int sc_lag_may_end(const sc_manager_t *m, const sc_peer_t *peer)
{
    return !peer->lagging || peer->lag.probation == 0 || !is_dispensable(m) ||
           sc_mgr_now(m) - peer->lag.late >= peer->lag.probation;
}

void sc_lag_acked(sc_manager_t *m, sc_peer_t *peer, apr_time_t posted)
{
    apr_time_t now = sc_mgr_now(m);

    if (!peer->lagging) {
        return;
    }
    if (now - posted > apr_time_from_msec(m->config->ack_wait_ms)) {
        peer->lag.late = now;
    }
    if (sc_lag_may_end(m, peer)) {
        sc_lag_ends(m, peer);
    }
}

void sc_lag_failed(sc_manager_t *m, sc_peer_t *peer, apr_time_t posted)
{
    if (sc_mgr_now(m) - posted >= apr_time_from_msec(m->config->ack_wait_ms) / 4) {
        sc_lag_begins(m, peer);
    }
}
