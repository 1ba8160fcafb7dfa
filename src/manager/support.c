/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Whether a change has got far enough to be acknowledged, and what becomes of it if it has not
 * (docs/consistency.md, "Quorum").
 */
#include <string.h>

#include "replicate.h"

/** How many such pauses a change waits for the session to get other holders. */
#define MOVING_MAX 25
/** Its owner is asked for them in each so many of these. */
#define TAKE_TURNS 5

int sc_pending_live(const sc_pending_t *p, sc_record_t *rec)
{
    return p->lives && sc_store_get(p->m->store, p->context, &p->id, rec, NULL) == APR_SUCCESS &&
           !(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY));
}

/* Bits of places of members that stay. */
static apr_uint32_t count_staying(const sc_manager_t *m, apr_uint64_t places)
{
    apr_uint32_t i, n = 0;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        n += (places >> i & 1) && sc_lease_stays(&m->peer[i]);
    }
    return n;
}

apr_uint32_t sc_pending_acked(const sc_pending_t *p)
{
    return p->acked + count_staying(p->m, p->acks);
}

apr_uint32_t sc_pending_held(const sc_pending_t *p)
{
    return p->held + count_staying(p->m, p->holds);
}

static int has_it(const sc_pending_t *p, apr_uint16_t route)
{
    const sc_peer_t *peer = sc_layout_peer(p->m, route);

    return route == p->m->own_route || (peer != NULL && (p->has >> (peer - p->m->peer) & 1));
}

static int holders_have(const sc_pending_t *p, const sc_record_t *rec)
{
    int i, all = has_it(p, rec->primary);

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        all &= has_it(p, rec->backups[i]);
    }
    return all;
}

/* Those that this node has asked to hold it may have accepted that already, and act upon it. */
int sc_pending_all_have(const sc_pending_t *p, const sc_record_t *rec)
{
    sc_record_t told = *rec;

    sc_move_told(p->m, &told);
    return holders_have(p, rec) && (told.epoch == rec->epoch || holders_have(p, &told));
}

int sc_pending_lacking(const sc_pending_t *p)
{
    sc_record_t rec;

    return sc_pending_live(p, &rec) && !sc_pending_all_have(p, &rec);
}

/* Holders that have not got this change may be there all the same, where this node does not see
 * them. The copy that has it is not to stay here; it goes to them as soon as they can be reached.
 */
static void keep_guest(const sc_pending_t *p, sc_outcome_t outcome)
{
    sc_manager_t *m = p->m;
    sc_record_t rec;

    if (sc_store_get(m->store, p->context, &p->id, &rec, &m->old) == APR_SUCCESS &&
        !(rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) && !sc_layout_here(m, &rec) &&
        (outcome != SC_DONE || !sc_pending_all_have(p, &rec))) {
        sc_move_lost(m, &rec, 0);
    }
}

/* What is refused in the end may be nowhere but here: who reads it next sees to it that others have
 * it, too. What all have got that should is in no doubt any more. */
static void mark(const sc_pending_t *p, int doubt)
{
    sc_manager_t *m = p->m;
    sc_record_t rec;

    if (sc_store_get(m->store, p->context, &p->id, &rec, &m->old) != APR_SUCCESS ||
        (rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) ||
        doubt == ((rec.flags & SC_REC_DOUBT) != 0) ||
        (!doubt && (!p->whole || sc_stamp_cmp(&rec.stamp, &p->stamp) != 0))) {
        return;
    }
    rec.flags ^= SC_REC_DOUBT;
    (void)sc_mgr_put(m, &rec, m->old.data, m->old.len);
}

static int is_open(const sc_pending_t *p, sc_record_t *rec)
{
    return sc_pending_live(p, rec) && sc_promise_is_open(p->m, rec);
}

int sc_pending_open(sc_pending_t *p)
{
    sc_record_t rec;

    if (!is_open(p, &rec)) {
        return 0;
    }
    if (sc_promise_stale(p->m, &rec) && p->open++ % TAKE_TURNS == 0) {
        sc_move_take(p->m, &rec); /* that it is decided has not come here, or it is not */
    }
    return 1;
}

/* Whether so many members know of the session that no quorum of the others can take it for absent:
 * a location that was changed once is known to a quorum. A new one only its holders know; as many
 * as there should be are never all forgotten (fetch_judge.c). */
static int is_known(const sc_pending_t *p, const sc_record_t *rec)
{
    apr_uint32_t n = 1;

    while (n <= SC_BACKUPS_MAX && rec->backups[n - 1] != SC_ROUTE_NONE) {
        n++;
    }
    return rec->epoch > 1 || n > p->m->config->backup.backups;
}

/* Several have not got it, and those that have are the lesser part of all that are in the view,
 * though this node hears some of the others by now: they may be able to go on without it. */
static int is_outnumbered(const sc_pending_t *p)
{
    return !p->lives && p->unacked > 1 && sc_lease_minority(p->m, ~p->acks);
}

/* Who hears nobody of several is probably the one that is cut off: the others go on without this
 * change. With a quorum: whoever might serve without it would have to share a member with those
 * that have it; or, since a quorum knows who the holders are, to ask one of these, so each of them
 * needs it. That others hear this node proves nothing: they may go on with a holder that is away
 * now. */
int sc_pending_supported(const sc_pending_t *p)
{
    apr_uint32_t quorum = p->m->config->quorum;
    apr_uint32_t own = !p->m->stopped || quorum < 2; /* see sc_lease_stays */
    sc_record_t rec;

    if (!sc_lease_introduced(p->m) || is_open(p, &rec)) {
        return 0;
    }
    if (p->lives && quorum > 1 && (!p->renamed || sc_pending_acked(p) + own >= quorum)) {
        return sc_lease_support(p->m, 0) >= quorum &&
               (!sc_pending_live(p, &rec) ||
                (is_known(p, &rec) &&
                 (sc_pending_all_have(p, &rec) ||
                  (sc_pending_held(p) + own >= quorum && !sc_promise_binds(p->m, &rec)))));
    }
    return sc_pending_acked(p) + own >= quorum &&
           (p->unacked == 0 || (!sc_lease_cut_off(p->m) && !is_outnumbered(p)));
}

/* Backup manager: a holder has not got the change. It cannot read, as far as this node granted it
 * anything. But it may ask others, and those that hold nothing do not know that its copy is old.
 * When they know other holders they do; so the session gets them first. */
int sc_pending_moving(sc_pending_t *p)
{
    sc_record_t rec;

    if (!sc_pending_live(p, &rec)) {
        return 0;
    }
    if (p->m->config->quorum > 1 && !is_known(p, &rec)) {
        return p->moving++ < MOVING_MAX && sc_move_settle(p->m, &rec);
    }
    if (rec.epoch != p->epoch || sc_pending_all_have(p, &rec)) {
        return 0;
    }
    if (p->m->config->quorum > 1) {
        return sc_layout_here(p->m, &rec) && p->moving++ < MOVING_MAX &&
               sc_move_refuses(p->m, &rec);
    }
    p->stuck = 0;
    if (!sc_move_without(p->m, &rec, p->has, p->moving % TAKE_TURNS == 0)) {
        return 0;
    }
    p->stuck = p->moving++ >= MOVING_MAX;
    return !p->stuck;
}

/* Whoever waits for the answer does not do so much longer (session_load.c, session_save.c). */
int sc_pending_late(const sc_pending_t *p)
{
    const sc_config_t *c = p->m->config;
    apr_time_t ms = (apr_time_t)c->delta.fetch_ms + c->ack_wait_ms / 2;

    return sc_mgr_now(p->m) - p->since > apr_time_from_msec(p->shown ? ms : ms + c->ack_wait_ms);
}

/* Whoever has got what is refused now takes it for good, and would show it: he hears that it is
 * not.
 */
static void tell_doubt(const sc_pending_t *p)
{
    sc_manager_t *m = p->m;
    apr_uint64_t places = p->acks | p->holds;
    apr_uint32_t i;

    if (places == 0 || sc_mgr_msg_current(m, p->context, &p->id) != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if ((places >> i & 1) && m->peer[i].serial != 0) {
            sc_mgr_send(m, &m->peer[i]);
        }
    }
}

void sc_pending_leave(const sc_pending_t *p, sc_outcome_t outcome)
{
    int doubt = outcome == SC_NO_QUORUM || outcome == SC_UNKNOWN;

    if (sc_pending_lacking(p)) {
        sc_move_behind(p->m, p->context, &p->id);
    }
    mark(p, doubt);
    if (doubt) {
        tell_doubt(p);
    }
    if (p->guest) {
        keep_guest(p, outcome);
    }
}

/* ---- what an engine before this one left -------------------------------------------------------
 */

typedef struct recent_t {
    sc_manager_t *m;
    apr_uint64_t since; /* milliseconds of the cluster's clock */
} recent_t;

static int doubt_recent(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    const recent_t *recent = baton;
    sc_manager_t *m = recent->m;
    sc_record_t now;

    (void)body;
    if (!(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY | SC_REC_DOUBT)) &&
        rec->stamp.hlc >> 16 >= recent->since &&
        sc_store_get(m->store, rec->context, &rec->id, &now, &m->old) == APR_SUCCESS) {
        now.flags |= SC_REC_DOUBT;
        (void)sc_mgr_put(m, &now, m->old.data, m->old.len);
    }
    return 1;
}

void sc_mgr_doubt_recent(sc_manager_t *m)
{
    apr_time_t worked = sc_board_get(m->board->worked_at);
    /* no change is under way for longer (sc_pending_late), in the steps of the lease */
    apr_uint64_t before = sc_mgr_age(sc_mgr_now(m), worked) + m->config->delta.fetch_ms +
                          (apr_uint64_t)2 * m->config->ack_wait_ms;
    apr_uint64_t now = sc_mgr_clock(m);
    recent_t recent = {m, now > before ? now - before : 0};
    apr_uint32_t cursor = 0;

    if (worked == 0) {
        return;
    }
    while (sc_store_scan(m->store, &cursor, 0, 64, doubt_recent, &recent) == APR_SUCCESS) {
    }
}
