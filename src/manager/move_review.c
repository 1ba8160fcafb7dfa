/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which sessions are to move. When members come or go, or one of them cannot be counted on any
 * more, this node walks through its store, in slices between other work, and moves what it owns to
 * where it should be, some sessions at a time and no faster than copyRate says. When all that was
 * begun has been decided it walks again, until it finds nothing to do.
 *
 * It walks only when it is leased: so it has learned all that others know of these sessions.
 */
#include <stdlib.h>
#include <string.h>

#include "move.h"

#define SOON apr_time_from_msec(20) /**< members come and go together */
#define POLL apr_time_from_msec(50)
#define SLICE_BUCKETS 512
#define SLICE_BYTES (1024 * 1024)
#define IDLE_MAX 5
#define BACK_OFF apr_time_from_msec(100)

/* Those that a slice has found. */
typedef struct found_t {
    sc_manager_t *m;
    apr_uint32_t n;
    apr_size_t bytes;
    apr_uint32_t bucket_short; /* counted only when the bucket is done with */
    sc_record_t rec[SC_MOVES_BATCH];
    sc_record_t want[SC_MOVES_BATCH];
} found_t;

static void work(void *baton, apr_time_t now);

static int is_on(const sc_manager_t *m)
{
    return m->moves != NULL;
}

static void arm(sc_manager_t *m, apr_time_t when)
{
    sc_timer_t *t = &m->moves->review.timer;

    if (t->index == 0 || when < t->due) {
        (void)sc_timer_set(m->cfg.timers, t, when, work, m);
    }
}

/* For children and status: how much is going on. */
static void show(sc_manager_t *m)
{
    sc_moves_t *all = m->moves;
    apr_uint32_t n =
        all->n + ((all->review.wanted || all->review.active) && all->review.idle < IDLE_MAX);

    sc_board_set(m->board->moving, n);
}

void sc_move_review(sc_manager_t *m)
{
    if (is_on(m)) {
        m->moves->review.wanted = 1;
        m->moves->review.idle = 0;
        show(m);
        arm(m, sc_mgr_now(m) + SOON);
    }
}

void sc_move_look(sc_manager_t *m, const sc_record_t *rec)
{
    sc_record_t want;

    if (is_on(m) && sc_layout_here(m, rec) && sc_layout_owner(m, rec) == m->own_route &&
        sc_move_want(m, rec, SC_ROUTE_NONE, 0, &want)) {
        sc_move_review(m);
    }
}

void sc_review_kick(sc_manager_t *m, int decided)
{
    m->moves->review.decided += (apr_uint32_t)decided;
    show(m);
    if (m->moves->review.wanted || m->moves->review.active) {
        arm(m, sc_mgr_now(m));
    }
}

/* ---- walking -------------------------------------------------------------------------------- */

static int is_short(sc_manager_t *m, const sc_record_t *rec)
{
    apr_size_t possible = sc_layout_possible(m, rec->context, rec->primary);
    apr_size_t want = m->config->backup.backups;

    want = want < possible ? want : possible;
    return sc_layout_live(m, rec) < want;
}

/* Bits of the places of members that hold no copy and would not take one: they have no room, or do
 * not acknowledge just now. */
static apr_uint64_t full_for(sc_manager_t *m, const sc_record_t *rec)
{
    apr_time_t now = sc_mgr_now(m);
    apr_uint64_t places = 0;
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && (peer->lagging || m->moves->full[i] > now) &&
            sc_record_holder(rec, peer->route) == SC_HOLDER_NONE) {
            places |= (apr_uint64_t)1 << i;
        }
    }
    return places;
}

/* Where a session goes that should go to a member without room: if it has fewer backups than it
 * should, to another one meanwhile. @return 0: it stays where it is */
static int want_instead(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t full,
                        sc_record_t *want)
{
    return is_short(m, rec) && sc_move_want(m, rec, SC_ROUTE_NONE, full, want) &&
           (sc_move_newcomers(m, rec, want) & full) == 0;
}

static int look_at(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    found_t *f = baton;
    sc_manager_t *m = f->m;
    apr_uint64_t full;
    sc_record_t want;

    (void)body;
    if (!sc_move_mine(m, rec)) {
        return 1;
    }
    if (f->n == SC_MOVES_BATCH || f->bytes >= SLICE_BYTES) {
        return 0; /* this bucket comes again */
    }
    f->bucket_short += (apr_uint32_t)is_short(m, rec);
    if (sc_move_find(m, rec->context, &rec->id) != NULL ||
        !sc_move_want(m, rec, SC_ROUTE_NONE, 0, &want)) {
        return 1;
    }
    full = full_for(m, rec);
    if (sc_move_newcomers(m, rec, &want) & full) {
        m->moves->review.full = 1;
        if (!want_instead(m, rec, full, &want)) {
            return 1;
        }
    }
    f->rec[f->n] = *rec;
    f->want[f->n++] = want;
    f->bytes += rec->body_len;
    return 1;
}

/* @return how many have to be waited for before more can begin */
static void begin(found_t *f, apr_time_t now)
{
    sc_manager_t *m = f->m;
    apr_uint32_t rate = m->config->backup.copy_rate;
    sc_move_t *items = NULL;
    apr_uint32_t i, copies;

    for (i = 0; i < f->n; i++) {
        sc_move_t *move = sc_move_add(m, &f->rec[i], &f->want[i], 0);

        if (move != NULL) {
            move->sibling = items;
            items = move;
            m->moves->review.started++;
        }
    }
    if (items == NULL) {
        return;
    }
    copies = sc_move_begin(m, items);
    if (rate > 0) {
        apr_time_t paid = m->moves->review.paid > now ? m->moves->review.paid : now;

        m->moves->review.paid = paid + (apr_time_t)copies * APR_USEC_PER_SEC / rate;
    }
}

/* The end of a walk. What was begun has to be over before it is known what is left. */
static void walked(sc_manager_t *m)
{
    sc_moves_t *all = m->moves;

    all->review.active = 0;
    sc_board_set(m->board->short_copies, all->review.short_copies);
    if (all->review.started > 0) {
        all->review.idle = all->review.decided > 0 ? 0 : all->review.idle + 1;
        all->review.wanted = 1;
        arm(m, sc_mgr_now(m) + (all->review.decided > 0 ? 0 : BACK_OFF << all->review.idle));
        if (all->review.idle > IDLE_MAX) {
            all->review.idle = IDLE_MAX;
        }
        return;
    }
    if (all->review.full && !all->review.wanted) {
        all->review.idle = IDLE_MAX; /* later, and quietly */
        all->review.wanted = 1;
        arm(m, sc_mgr_now(m) + SC_MOVE_FULL);
    } else if (all->review.wanted) {
        arm(m, sc_mgr_now(m) + SOON);
    } else if (all->review.moved > 0) {
        sc_log(m->cfg.log, SC_LOG_INFO, 0,
               "SC0596: %" APR_UINT64_T_FMT " sessions have got other holders; %u have fewer "
               "backups than they should",
               all->review.moved, all->review.short_copies);
        all->review.moved = 0;
    }
}

static int may_walk(const sc_manager_t *m)
{
    return m->stopped || (m->state == SC_NODE_READY && !m->lapsed);
}

static void slice(sc_manager_t *m, apr_time_t now)
{
    sc_moves_t *all = m->moves;
    apr_status_t rv = APR_SUCCESS;
    found_t *f = malloc(sizeof(*f));
    int i;

    if (f == NULL) {
        arm(m, now + POLL);
        return;
    }
    f->m = m;
    f->n = 0;
    f->bytes = 0;
    for (i = 0; i < SLICE_BUCKETS && rv == APR_SUCCESS; i++) {
        f->bucket_short = 0;
        rv = sc_store_scan(m->store, &all->review.cursor, 0, 1, look_at, f);
        all->review.short_copies += rv != APR_EINTR ? f->bucket_short : 0;
    }
    begin(f, now);
    free(f);
    if (rv == APR_EOF) {
        all->review.cursor = 0;
        all->review.active = 2; /* to the end; what it began goes on */
    }
    arm(m, now);
}

static void work(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    sc_moves_t *all = m->moves;

    sc_lease_check(m);
    if (!may_walk(m)) {
        if (all->review.wanted || all->review.active) {
            arm(m, now + POLL);
        }
        return;
    }
    if (all->review.active == 0) {
        if (!all->review.wanted) {
            return;
        }
        all->review.wanted = 0;
        all->review.active = 1;
        all->review.cursor = 0;
        all->review.started = all->review.decided = all->review.short_copies = 0;
        all->review.full = 0;
    }
    if (all->review.active == 2) {
        if (all->background == 0) {
            walked(m);
        }
    } else if (all->review.paid > now) {
        arm(m, all->review.paid);
    } else if (all->background + SC_MOVES_BATCH <= SC_MOVES_BACKGROUND) {
        slice(m, now);
    }
    show(m);
}

/* ---- who can be counted on ------------------------------------------------------------------- */

/* Leases end without a word: members that can be counted on, as a number. */
static apr_uint64_t view_of(sc_manager_t *m)
{
    apr_uint64_t h = 14695981039346656037ull;
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0) {
            h = (h ^ i) * 1099511628211ull;
            h = (h ^ peer->serial) * 1099511628211ull;
            h = (h ^ (apr_uint64_t)sc_layout_usable(m, peer->route)) * 1099511628211ull;
            h = (h ^ (apr_uint64_t)sc_lease_mute(m, peer)) * 1099511628211ull;
            h = (h ^ (apr_uint64_t)peer->lagging) * 1099511628211ull;
        }
    }
    return h;
}

static void tick(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    apr_uint64_t view = view_of(m);

    if (view != m->moves->review.view) {
        m->moves->review.view = view;
        sc_move_review(m);
    }
    (void)sc_timer_set(m->cfg.timers, &m->moves->review.tick,
                       now + (m->lease_time > 4 * POLL ? m->lease_time / 4 : POLL), tick, m);
}

/* ---- life ----------------------------------------------------------------------------------- */

void sc_move_start(sc_manager_t *m)
{
    if (!sc_mgr_is_backup(m) || m->config->role != SC_ROLE_NODE || m->moves != NULL) {
        return;
    }
    m->moves = calloc(1, sizeof(*m->moves));
    if (m->moves == NULL) {
        return;
    }
    sc_board_set(m->board->moving, 0);
    sc_board_set(m->board->short_copies, 0);
    tick(m, sc_mgr_now(m));
}

void sc_move_leave(sc_manager_t *m)
{
    if (is_on(m)) {
        m->moves->leave_until = sc_mgr_now(m) + apr_time_from_msec(m->config->backup.leave_ms);
        sc_move_review(m);
    }
}

/* Whether there is somebody who could take over. */
static int somebody_stays(const sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_member_t *member = &m->peer[i].member;

        if (m->peer[i].serial != 0 && !(member->flags & SC_MEMBER_NO_BACKUPS) &&
            sc_node_complete(member->node_state)) {
            return 1;
        }
    }
    return 0;
}

int sc_move_leaving(const sc_manager_t *m)
{
    sc_context_stats_t stats;
    apr_uint16_t i;

    if (!is_on(m) || !m->stopped || sc_mgr_now(m) >= m->moves->leave_until || !somebody_stays(m)) {
        return 0;
    }
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        if (sc_store_context_stats(m->store, i, &stats) == APR_SUCCESS &&
            stats.primaries + stats.backups > 0) {
            return 1;
        }
    }
    return m->moves->nlost > 0;
}
