/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Draining: an administrator wants this node to be free, to stop or to repair it.
 *
 * It goes on as a full member: it acknowledges, grants leases, counts for a quorum, keeps the
 * copies that it holds as a backup, and serves whoever comes. But it says that it drains, so
 * balancers send new sessions elsewhere, and its own one by one to those who take them over. With
 * the backup manager it gives these away itself (sc_move_want), to the first of their backups, and
 * becomes a backup in its turn.
 *
 * The wish stands on the noticeboard, so it outlives the engine and restarts of httpd. It ends with
 * the mapping: a node that is stopped and started serves again.
 */
#include <string.h>

#include "internal.h"

static void set(sc_manager_t *m, int on)
{
    if (sc_board_get(m->board->draining) == (apr_uint32_t)on) {
        return;
    }
    sc_board_set(m->board->draining, (apr_uint32_t)on);
    sc_log(
        m->cfg.log, SC_LOG_NOTICE, 0, "%s",
        on ? "SC1100: this node drains: it takes no new sessions, and gives away those of which it "
             "is the primary"
           : "SC1101: this node does not drain any more: it takes new sessions");
    sc_mgr_announce(m);
    sc_move_review(m);
}

int sc_mgr_drains(const sc_manager_t *m)
{
    return sc_board_get(m->board->draining) != 0;
}

apr_status_t sc_manager_drain(sc_manager_t *m, int on)
{
    if (m->stopped || m->config->role != SC_ROLE_NODE ||
        m->config->membership == SC_MEMBERSHIP_NONE) {
        return APR_ENOTIMPL;
    }
    set(m, on);
    return APR_SUCCESS;
}

void sc_manager_view(const sc_manager_t *m, sc_view_t *view)
{
    apr_time_t now = sc_mgr_now(m);
    apr_uint32_t i, k;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        for (k = 0; peer->serial != 0 && k < view->count; k++) {
            sc_board_member_t *b = &view->member[k];

            if (memcmp(&b->uid, &peer->member.uid, sizeof(b->uid)) == 0) {
                b->lagging = peer->lagging != 0;
                b->leased = peer->lease.until > now;
            }
        }
    }
}
