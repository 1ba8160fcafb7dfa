/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The lease on reading: children may answer from the store only while it runs (DESIGN I6).
 *
 * The engine renews it from a timer, in a clock that goes on while the process or the machine
 * stands still. A node that was stopped therefore wakes up with a lease that has run out, and what
 * its children find in the store counts as a copy of unknown age: the session is asked of the
 * peers (fetch.c). At the same time everything that was missed is pulled from each of them; then
 * the lease is renewed again.
 *
 * The lease is shorter than the time for which the others wait for an acknowledgement. So when they
 * go on without a node that stands still, its lease has run out already.
 *
 * An engine that has just begun has no lease until it is READY: its store may be that of an engine
 * which died some time ago.
 *
 * What this does not see is a node that runs but cannot be reached.
 */
#include "internal.h"

#define LEASE_MIN_MS 100
#define LEASE_MAX_MS 5000
/** Never a valid time, and not 0, which means that no lease is needed. */
#define NO_LEASE 1

static void lease_due(void *baton, apr_time_t now);

static void arm(sc_manager_t *m, apr_time_t now)
{
    (void)sc_timer_set(m->cfg.timers, &m->lease_timer, now + m->lease_time / 5, lease_due, m);
}

static void renew(sc_manager_t *m, apr_time_t now)
{
    sc_board_set(m->board->lease_until, now + m->lease_time);
}

static int caught_up(const sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_pull_t *p = &m->peer[i].pull;

        if (m->peer[i].serial != 0 && (p->want_missed || p->job == SC_JOB_MISSED)) {
            return 0;
        }
    }
    return m->state == SC_NODE_READY;
}

static void lapse(sc_manager_t *m, apr_time_t now)
{
    int i;

    m->lapsed = 1;
    sc_board_set(m->board->lease_until, NO_LEASE);
    sc_log(m->cfg.log, SC_LOG_WARNING, 0,
           "SC0580: this node stood still for %" APR_TIME_T_FMT
           " ms; it asks its %u peers for each session until it has caught up",
           apr_time_as_msec(now - m->lease_seen), m->npeers);
    m->lease_seen = now;
    /* who has dropped this node meanwhile takes it in again as soon as it hears of it */
    m->cfg.down.announce(m->cfg.down.ctx, m->state);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            sc_pull_gap(m, &m->peer[i]);
        }
    }
}

void sc_lease_check(sc_manager_t *m)
{
    apr_time_t now = sc_mgr_now(m);

    if (m->lease_time != 0 && now - m->lease_seen >= m->lease_time) {
        lapse(m, now);
    }
}

void sc_lease_review(sc_manager_t *m)
{
    sc_lease_check(m);
    if (m->lease_time != 0 && m->lapsed && caught_up(m)) {
        m->lapsed = 0;
        renew(m, sc_mgr_now(m));
        sc_log(m->cfg.log, SC_LOG_INFO, 0, "SC0581: this node knows the latest of all sessions");
    }
}

static void lease_due(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;

    sc_lease_review(m);
    m->lease_seen = now;
    if (m->lapsed) {
        sc_fetch_repeat(m);
    } else {
        renew(m, now);
    }
    arm(m, now);
}

void sc_lease_start(sc_manager_t *m)
{
    apr_uint32_t ms = m->config->ack_wait_ms / 4 * 3;

    if (m->config->membership == SC_MEMBERSHIP_NONE || m->config->role != SC_ROLE_NODE) {
        sc_board_set(m->board->lease_until, 0);
        return;
    }
    ms = ms < LEASE_MIN_MS ? LEASE_MIN_MS : ms > LEASE_MAX_MS ? LEASE_MAX_MS : ms;
    m->lease_time = apr_time_from_msec(ms);
    m->lapsed = 1;
    m->lease_seen = sc_mgr_now(m);
    sc_board_set(m->board->lease_until, NO_LEASE);
    arm(m, sc_mgr_now(m));
}
