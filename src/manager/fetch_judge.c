/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the answers to a fetch amount to: whether it is over, and what came of it.
 *
 * Who finds a session need not have its latest state; so it counts as found when somebody has
 * answered who has a valid lease, or everybody has who can. It is absent only when everybody was
 * there to be asked and has said no. Until the membership has settled the answer is that nobody
 * knows. So it is for a node that may be cut off itself, and with a quorum as long as too few have
 * answered.
 *
 * With the backup manager a copy counts when it comes from a holder by the newest location that
 * anybody knew: others may have stopped to get the changes.
 *
 * Ids that nobody had are remembered for a moment, so that a flood of one bad cookie stays on this
 * node.
 */
#include <string.h>

#include "fetch.h"

/* A holder that went without a word comes back, or not. Its engine may only be replaced; and with a
 * quorum it is rather unknown for a while what a part of the cluster has that was cut off. */
#define GRACE apr_time_from_sec(2)
#define GRACE_QUORUM apr_time_from_sec(60)
#define NEGATIVE_TIME apr_time_from_sec(1)

/* ---- ids that nobody had -------------------------------------------------------------------- */

static sc_negative_t *negative_of(sc_manager_t *m, const sc_id_t *id)
{
    return &m->negative[id->b[1] % SC_NEGATIVES];
}

int sc_fetch_known_absent(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    const sc_negative_t *n = negative_of(m, id);
    sc_record_t rec;

    /* what is known here has come since */
    return n->until > sc_mgr_now(m) && n->context == context &&
           memcmp(&n->id, id, sizeof(*id)) == 0 &&
           (sc_store_get(m->store, context, id, &rec, NULL) != APR_SUCCESS ||
            (rec.flags & SC_REC_TOMBSTONE));
}

static void remember_absent(sc_fetch_t *f)
{
    sc_negative_t *n = negative_of(f->m, &f->id);
    const sc_waiter_t *w;

    for (w = f->waiters; w != NULL; w = w->next) {
        if (w->creates) {
            return; /* it is about to be made, if not here then elsewhere */
        }
    }
    n->context = f->context;
    n->id = f->id;
    n->until = sc_mgr_now(f->m) + NEGATIVE_TIME;
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Whether everybody has answered who was asked, or only those who can. */
int sc_fetch_all_answered(const sc_fetch_t *f, int mute_too)
{
    const sc_manager_t *m = f->m;
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_fetch_asked_t *a = &f->asked[i];

        if (a->serial != 0 && a->serial == m->peer[i].serial && !a->answered &&
            (mute_too || !sc_lease_mute(m, &m->peer[i]))) {
            return 0;
        }
    }
    return 1;
}

/* Whether the session is only to be made, on this node: nobody else has heard of its id. */
static int only_creates(const sc_fetch_t *f)
{
    const sc_waiter_t *w = f->waiters;

    while (w != NULL && w->creates && !w->again) {
        w = w->next;
    }
    return f->waiters != NULL && w == NULL;
}

/* Whether enough members have answered. What a quorum has acknowledged is not known any more to who
 * has lost his memory since. */
static int is_quorum(const sc_fetch_t *f)
{
    int all = f->m->config->quorum < 2 || only_creates(f);
    apr_uint32_t n = all || !sc_mgr_is_blank(f->m), i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        n += f->asked[i].serial != 0 && f->asked[i].serial == f->m->peer[i].serial &&
             f->asked[i].answered && (all || !f->asked[i].blank);
    }
    return n >= f->m->config->quorum;
}

int sc_fetch_is_holder(const sc_fetch_t *f, apr_uint16_t route)
{
    return sc_record_holder(&f->best, route) != SC_HOLDER_NONE;
}

/* Whether the copy that was here is one by the newest location that anybody knows. */
static int own_counts(const sc_fetch_t *f)
{
    sc_record_t rec;

    if (!f->own_copy || !sc_fetch_is_holder(f, f->m->own_route) ||
        sc_store_get(f->m->store, f->context, &f->id, &rec, NULL) != APR_SUCCESS) {
        return 0;
    }
    sc_move_told(f->m, &rec);
    return rec.epoch >= f->best.epoch;
}

/* Whether what has been merged is the latest: somebody's who holds the session, and knows that. By
 * an older location he may be a holder, too, that has been left out in between. */
int sc_fetch_counts(const sc_fetch_t *f)
{
    int i;

    if (own_counts(f)) {
        return 1;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (f->asked[i].gave && f->asked[i].epoch >= f->best.epoch &&
            sc_fetch_is_holder(f, f->asked[i].route)) {
            return 1;
        }
    }
    return 0;
}

/* Whether a member that another one counts on may hold the session, and is not in the view. */
static int may_hold(const sc_fetch_t *f, apr_uint64_t store_id)
{
    const sc_manager_t *m = f->m;
    apr_uint16_t route;

    if (sc_lease_knows(m, store_id)) {
        return 0;
    }
    route = sc_expiry_missing_route(m, store_id);
    return f->best.primary == SC_ROUTE_NONE || route == SC_ROUTE_NONE ||
           sc_fetch_is_holder(f, route);
}

/* Whether a peer has said since this began that a member does not answer it either. That one has
 * changed nothing with its help, up to now, that it would not have told; so this is the same as if
 * the peer had dropped it already, which takes some time and would make each request wait. */
static int is_hung(const sc_fetch_t *f, const sc_peer_t *peer, apr_uint32_t k)
{
    return (peer->lease.hung >> k & 1) && peer->lease.heard_at >= f->began;
}

/* Members that others see and this node does not: what they hold cannot be known. */
static int are_strangers(const sc_fetch_t *f)
{
    const sc_manager_t *m = f->m;
    apr_uint32_t i, k;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        for (k = 0; peer->serial != 0 && peer->lease.strangers && k < peer->lease.nmembers; k++) {
            if (may_hold(f, peer->lease.member[k]) && !is_hung(f, peer, k)) {
                return 1;
            }
        }
    }
    return 0;
}

/* Backup manager: a session that is only to be made, and of which nobody knows who answers. Its id
 * is new and random: those who do not answer, or are not seen, have nothing of it either. */
static int is_new(const sc_fetch_t *f)
{
    return f->holders && only_creates(f) && !f->found && !f->unreadable &&
           f->best.primary == SC_ROUTE_NONE;
}

/* Whether what has come is all that can be found out. */
int sc_fetch_is_complete(const sc_fetch_t *f)
{
    if (f->decided) {
        return 1;
    }
    if (sc_restore_pending(f->m)) {
        return 0; /* this node itself has not been asked */
    }
    if (f->holders && (!f->everybody || (are_strangers(f) && !is_new(f)))) {
        return 0;
    }
    return sc_fetch_all_answered(f, 0) &&
           (!f->everybody || (f->m->settled && is_quorum(f) && !sc_lease_cut_off(f->m)));
}

/* ---- the end, with the backup manager -------------------------------------------------------- */

apr_interval_time_t sc_fetch_grace(const sc_manager_t *m)
{
    return m->config->quorum > 1 ? GRACE_QUORUM : GRACE;
}

/* Whether a holder is there that has not said that it has nothing. One that only says where else it
 * is knows that the session lives: two members may have asked for a location at once, and which one
 * comes true is not known yet. */
static int is_owed(const sc_fetch_t *f, apr_uint16_t route)
{
    const sc_peer_t *peer = sc_layout_peer(f->m, route);
    const sc_fetch_asked_t *a;

    if (peer == NULL) {
        return sc_expiry_lately(f->m, route, sc_fetch_grace(f->m));
    }
    a = &f->asked[peer - f->m->peer];
    return a->serial != peer->serial || !a->none;
}

static int is_other_owed(const sc_fetch_t *f, apr_uint16_t route)
{
    return route != f->m->own_route && is_owed(f, route);
}

int sc_fetch_is_one_owed(const sc_fetch_t *f)
{
    int i, owed = is_other_owed(f, f->best.primary);

    for (i = 0; i < SC_BACKUPS_MAX && f->best.backups[i] != SC_ROUTE_NONE; i++) {
        owed |= is_other_owed(f, f->best.backups[i]);
    }
    return owed;
}

int sc_fetch_holders_away(const sc_manager_t *m)
{
    return sc_expiry_missing_lately(m, sc_fetch_grace(m)) > m->config->backup.backups;
}

/* Whether nobody has it who should. Without a location that may be everybody. */
static int all_said_no(const sc_fetch_t *f)
{
    int i;

    if (f->best.primary == SC_ROUTE_NONE) {
        return sc_fetch_all_answered(f, 1) && !f->away && !sc_fetch_holders_away(f->m);
    }
    if (is_owed(f, f->best.primary)) {
        return 0;
    }
    for (i = 0; i < SC_BACKUPS_MAX && f->best.backups[i] != SC_ROUTE_NONE; i++) {
        if (is_owed(f, f->best.backups[i])) {
            return 0;
        }
    }
    return 1;
}

/* A copy that did not count must not be taken for the session. @param gone 1: nor is there anything
 * where it was said to be */
static void drop_rest(sc_fetch_t *f, const sc_record_t *rec, int gone)
{
    sc_manager_t *m = f->m;
    int proxy = (rec->flags & SC_REC_PROXY) != 0;

    if (!proxy && (f->had_body || !f->found || sc_layout_here(m, rec))) {
        return;
    }
    if (gone || (!proxy && sc_place_only(m, rec) != APR_SUCCESS)) {
        (void)sc_store_remove(m->store, f->context, &f->id);
    }
}

static sc_outcome_t outcome_backup(sc_fetch_t *f, apr_status_t rv, const sc_record_t *rec)
{
    int gone = f->sure_absent || (f->everybody && !f->unreadable && all_said_no(f));

    if (rv == APR_SUCCESS && !(rec->flags & SC_REC_PROXY) && (f->sure_copy || sc_fetch_counts(f))) {
        return SC_FOUND;
    }
    if (f->full) {
        return SC_FULL;
    }
    if (rv == APR_SUCCESS) {
        drop_rest(f, rec, gone);
    }
    if (gone && (rv == APR_SUCCESS || rv == APR_NOTFOUND)) {
        remember_absent(f);
        return SC_ABSENT;
    }
    return rv == APR_NOTFOUND && is_new(f) ? SC_ABSENT : SC_UNKNOWN;
}

/* ---- the end, with both ---------------------------------------------------------------------- */

sc_outcome_t sc_fetch_outcome(sc_fetch_t *f)
{
    sc_record_t rec;
    apr_status_t rv = sc_store_get(f->m->store, f->context, &f->id, &rec, NULL);

    if (rv == APR_SUCCESS && (rec.flags & SC_REC_TOMBSTONE)) {
        if (!sc_mgr_is_backup(f->m) || rec.max_idle_s != SC_DEAD_IDLE) {
            return SC_ABSENT;
        }
        if (sc_fetch_is_complete(f)) {
            return f->decided || sc_fetch_counts(f) || all_said_no(f) ? SC_ABSENT : SC_UNKNOWN;
        }
    }
    if (!sc_fetch_is_complete(f)) {
        return is_quorum(f) ? SC_UNKNOWN : SC_NO_QUORUM;
    }
    if (sc_mgr_is_backup(f->m)) {
        return outcome_backup(f, rv, &rec);
    }
    if (rv == APR_SUCCESS) {
        return SC_FOUND;
    }
    if (f->full) {
        return SC_FULL;
    }
    /* the silent one may be the only one that has it */
    if (rv == APR_NOTFOUND && f->everybody && (f->decided || sc_fetch_all_answered(f, 1))) {
        remember_absent(f);
        return SC_ABSENT;
    }
    return SC_UNKNOWN;
}
