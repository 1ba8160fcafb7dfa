/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Reading a snapshot; see snapshot.c for what is in it.
 *
 * The records come in like those of a peer, after the join and before READY: what the
 * others know is here by then, tombstones included, and the usual rules of merging decide. Until
 * it is done this node grants no lease and answers no peer that asks for a session. After that the
 * peers have lost something of this node (sc_lease_lost): they ask it for what it has come to know,
 * and are not leased before they have it. So nobody answers from a copy that a snapshot knows
 * better.
 *
 * A node with a note waits for one that has the sessions (wait=), and so does, with the backup
 * manager, one whose companions have the rest: until then the membership has not settled, and
 * sessions that are not here are "not known" instead of "there is none".
 *
 * What cannot be told any more is whether a session that nobody knows has ended meanwhile: the
 * others may have forgotten its tombstone. They tell the newest stamp that they have forgotten; a
 * snapshot that is older than that brings back no session that is not alive elsewhere.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "snapshot.h"

#define SLICE (2 * 1024 * 1024) /* bytes of the file between other work */
#define LOOK apr_time_from_msec(200)

struct sc_restore_t {
    sc_snap_reader_t reader;
    sc_snap_meta_t meta;
    apr_uint64_t off_ms;   /**< time that the machine was off */
    apr_time_t wait_until; /**< for others */
    int released;          /**< they are waited for no longer */
    int reading;           /**< 1: looking whether it is whole, 2: taking records */
    apr_time_t began;
    sc_member_t self; /**< whose records these are */
    sc_timer_t timer;
    apr_uint64_t records; /**< in the file */
    apr_uint64_t taken;
    apr_uint64_t dead; /**< tombstones */
    apr_uint64_t idle;
    apr_uint64_t outdated;
    apr_uint64_t refused;
};

/* On the noticeboard. An engine that was replaced while it read is followed by one that begins
 * again, which does no harm; after two the file itself is to blame. */
enum { FRESH = 0, READING = 1, READING_AGAIN = 2, OVER = 3 };

/* ---- the end of reading --------------------------------------------------------------------- */

static void restore_free(sc_manager_t *m)
{
    sc_restore_t *r = m->restore;

    m->restore = NULL;
    sc_timer_cancel(m->cfg.timers, &r->timer);
    sc_snap_close(&r->reader);
    free(r);
}

static void set_aside(sc_manager_t *m, apr_status_t why, const char *text)
{
    char aside[SC_SNAP_PATH_MAX + 32];
    apr_status_t rv =
        sc_snap_set_aside(m->config->snapshot.path, sc_wall(m->cfg.clock), aside, sizeof(aside));

    sc_count(m->board, snapshots_bad, 1);
    sc_board_set(m->board->restore, OVER);
    sc_log(m->cfg.log, SC_LOG_ERROR, why,
           "SC1153: the snapshot %s is not used: %s; this node starts without it, and it is kept "
           "as %s",
           m->config->snapshot.path, text,
           rv == APR_SUCCESS ? aside
                             : "it is, for it could not be "
                               "renamed");
}

static int is_here(const sc_manager_t *m, const char *route)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && strcmp(m->peer[i].member.route, route) == 0) {
            return 1;
        }
    }
    return strcmp(route, m->config->route) == 0;
}

/* Companions that are not here yet may bring sessions back that end from now on. */
static void expect_companions(sc_manager_t *m, const sc_snap_meta_t *meta)
{
    static const sc_member_t nobody;
    sc_member_t other = nobody;
    apr_uint32_t i;

    for (i = 0; i < meta->nothers; i++) {
        if (!is_here(m, meta->other[i]) && meta->other[i][0] != '\0') {
            apr_cpystrn(other.route, meta->other[i], sizeof(other.route));
            /* no store has this number; it tells one from the other in the list */
            other.store_id = sc_body_digest(other.route, strlen(other.route)) | 1;
            sc_expiry_missing(m, &other);
        }
    }
}

/* What is here now nobody else may know. */
static void let_others_ask(sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            sc_lease_lost(m, &m->peer[i]);
        }
    }
    sc_move_review(m);
}

static void restored(sc_manager_t *m)
{
    sc_restore_t *r = m->restore;
    apr_status_t rv = sc_snap_remove(m->config->snapshot.path);

    if (rv != APR_SUCCESS) {
        sc_log(m->cfg.log, SC_LOG_ERROR, rv,
               "SC1154: the snapshot %s has been read and cannot be removed; remove it, or the "
               "next start brings back what has ended since",
               m->config->snapshot.path);
    }
    sc_log(m->cfg.log, r->refused ? SC_LOG_WARNING : SC_LOG_NOTICE, 0,
           "SC1155: %" APR_UINT64_T_FMT " sessions and %" APR_UINT64_T_FMT
           " ended ones read from %s (%" APR_UINT64_T_FMT " bytes, %" APR_TIME_T_FMT
           " ms); not taken: %" APR_UINT64_T_FMT " had idled out, %" APR_UINT64_T_FMT
           " are older than what the others remember, %" APR_UINT64_T_FMT " were refused",
           r->taken, r->dead, m->config->snapshot.path, r->reader.size,
           apr_time_as_msec(sc_mgr_now(m) - r->began), r->idle, r->outdated, r->refused);
    sc_board_set(m->board->restore, OVER);
    expect_companions(m, &r->meta);
    restore_free(m);
    let_others_ask(m);
}

/* ---- taking records -------------------------------------------------------------------------- */

/* Whether a session that nobody here knows may have ended, and that be forgotten. */
static int is_outdated(sc_manager_t *m, const sc_restore_t *r, apr_uint16_t context,
                       const sc_wire_session_t *w)
{
    sc_id_t id = w->id;
    sc_record_t rec;

    return sc_board_get(m->board->forgot) >> 16 > r->meta.clock_ms &&
           sc_mgr_get_heir(m, context, &id, &rec) == APR_NOTFOUND;
}

static void take(sc_manager_t *m, sc_wire_session_t *w)
{
    sc_restore_t *r = m->restore;
    int alive = !(w->flags & SC_REC_TOMBSTONE);
    apr_uint16_t context;
    int changed = 0;
    apr_status_t rv;

    w->age_ms += r->off_ms;
    w->idle_ms += r->off_ms;
    if (alive && w->max_idle_s != 0 && w->idle_ms / 1000 >= w->max_idle_s) {
        r->idle++;
        return;
    }
    rv = sc_store_context(m->store, w->context, w->context_len, 1, &context);
    if (rv == APR_SUCCESS && alive && is_outdated(m, r, context, w)) {
        r->outdated++;
        return;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_mgr_merge_whole(m, &r->self, context, w, &changed);
    }
    if (rv != APR_SUCCESS) {
        r->refused++;
    } else if (alive) {
        r->taken++;
        sc_count(m->board, restored, 1);
    } else {
        r->dead++;
    }
}

/* Records of one block. @param use 0: only look whether they can be read */
static apr_status_t take_block(sc_manager_t *m, const unsigned char *bytes, apr_size_t len, int use)
{
    sc_wire_session_t w;
    sc_rd_t rd;

    sc_rd_init(&rd, bytes, len);
    while (sc_rd_left(&rd) > 0) {
        if (sc_wire_session_get(&rd, &w) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        if (use) {
            take(m, &w);
        } else {
            m->restore->records++;
        }
    }
    return rd.bad ? APR_EINVAL : APR_SUCCESS;
}

static apr_status_t check_end(const sc_restore_t *r, const unsigned char *bytes, apr_size_t len)
{
    sc_rd_t rd;

    sc_rd_init(&rd, bytes, len);
    return sc_get_u64(&rd) == r->records && !rd.bad ? APR_SUCCESS : APR_EINVAL;
}

/* One more block. @return APR_EOF: that pass is over */
static apr_status_t step(sc_manager_t *m)
{
    sc_restore_t *r = m->restore;
    const unsigned char *bytes;
    sc_snap_kind_t kind;
    apr_size_t len;
    apr_status_t rv = sc_snap_next(&r->reader, &kind, &bytes, &len);

    if (rv == APR_SUCCESS && kind == SC_SNAP_RECORDS) {
        rv = take_block(m, bytes, len, r->reading == 2);
    } else if (rv == APR_SUCCESS && kind == SC_SNAP_END && r->reading == 1) {
        rv = check_end(r, bytes, len);
    }
    return rv;
}

/* It is whole. @return 0: it cannot be used all the same */
static int may_take(sc_manager_t *m)
{
    sc_restore_t *r = m->restore;
    apr_time_t wall = sc_wall(m->cfg.clock);
    apr_uint64_t now_ms = wall > 0 ? (apr_uint64_t)apr_time_as_msec(wall) : 0;
    apr_status_t rv = sc_snap_rewind(&r->reader);

    if (rv != APR_SUCCESS) {
        set_aside(m, rv, "it could not be read again");
        return 0;
    }
    if (r->meta.clock_ms > now_ms + SC_FUTURE_MS) {
        set_aside(m, 0, "it is dated more than a day ahead of this machine's clock");
        return 0;
    }
    r->off_ms = now_ms > r->meta.wall_ms ? now_ms - r->meta.wall_ms : 0;
    r->reading = 2;
    sc_mgr_observe_clock(m, &r->self, r->meta.clock_ms);
    if (r->meta.forgot > sc_board_get(m->board->forgot)) {
        sc_board_set(m->board->forgot, r->meta.forgot);
    }
    return 1;
}

/* @return 1: there is more to be done */
static int read_on(sc_manager_t *m)
{
    sc_restore_t *r = m->restore;
    apr_uint64_t upto = r->reader.at + SLICE;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && r->reader.at < upto) {
        rv = step(m);
    }
    if (rv == APR_SUCCESS || (rv == APR_EOF && r->reading == 1 && may_take(m))) {
        return 1;
    }
    if (rv == APR_EOF && r->reading == 2) {
        restored(m);
        return 0;
    }
    if (rv != APR_EOF) {
        set_aside(m, rv == APR_EINVAL ? 0 : rv, "it is damaged or cut off");
    }
    restore_free(m);
    return 0;
}

static void read_due(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;

    if (read_on(m)) {
        (void)sc_timer_set(m->cfg.timers, &m->restore->timer, now, read_due, m);
    } else {
        sc_pull_restored(m);
    }
}

int sc_restore_pending(const sc_manager_t *m)
{
    return m->restore != NULL;
}

int sc_restore_first(sc_manager_t *m)
{
    sc_restore_t *r = m->restore;

    if (r != NULL && r->reading == 0) {
        sc_board_set(m->board->restore, sc_board_get(m->board->restore) + 1);
        r->reading = 1;
        r->began = sc_mgr_now(m);
        (void)sc_timer_set(m->cfg.timers, &r->timer, r->began, read_due, m);
    }
    return r != NULL;
}

void sc_restore_now(sc_manager_t *m)
{
    while (sc_restore_first(m)) {
        (void)read_on(m);
    }
}

/* ---- waiting for others ---------------------------------------------------------------------- */

static int are_here(const sc_manager_t *m, const sc_snap_meta_t *meta, apr_uint32_t n)
{
    apr_uint32_t i;

    for (i = 0; i < n; i++) {
        if (!is_here(m, meta->other[i])) {
            return 0;
        }
    }
    return 1;
}

/* Whether whoever is waited for is there, or need not be. */
static int is_enough(const sc_manager_t *m, const sc_snap_meta_t *meta)
{
    if (sc_snapshot_others(m)) { /* it has all that there is, or has waited for it */
        return 1;
    }
    if (meta->flags & SC_SNAP_OTHERS_STAYED) {
        return 0;
    }
    /* backup manager: they hold what this node does not; delta: the later ones may have it newer,
     * since one that is stopped gracefully goes on for a while */
    return are_here(m, meta, sc_mgr_is_backup(m) ? meta->nothers : meta->nlater);
}

static void look_again(void *baton, apr_time_t now)
{
    (void)now;
    sc_manager_settled(baton);
}

int sc_restore_waits(sc_manager_t *m)
{
    sc_restore_t *r = m->restore;
    apr_time_t now = sc_mgr_now(m);

    if (r == NULL || r->released || r->reading != 0) {
        return 0;
    }
    if (r->wait_until == 0) {
        r->wait_until = now + apr_time_from_msec((apr_time_t)m->config->snapshot.wait_ms);
    }
    if (!is_enough(m, &r->meta)) {
        if (now < r->wait_until) {
            (void)sc_timer_set(m->cfg.timers, &r->timer, now + LOOK, look_again, m);
            return 1;
        }
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC1156: %s says that %s have sessions that this node does not, and they have not "
               "come within %u s; it goes on without them",
               m->config->snapshot.path,
               r->meta.flags & SC_SNAP_OTHERS_STAYED ? "nodes that stopped later"
                                                     : "nodes that stopped together with this one",
               m->config->snapshot.wait_ms / 1000);
    }
    r->released = 1;
    sc_timer_cancel(m->cfg.timers, &r->timer);
    return 0;
}

/* ---- the beginning -------------------------------------------------------------------------- */

static const char *why_not(apr_status_t rv)
{
    switch (rv) {
    case SC_SNAP_NO_KEY:
        return "it is encrypted with a secret that this node does not have";
    case APR_ENOTIMPL:
        return "it was written by a later version of this module";
    case APR_EBADPATH:
        return "it is no regular file, or a link";
    case APR_EACCES:
        return "it belongs to somebody else, or others may read or write it";
    case APR_EINVAL:
        return "it is damaged, or no snapshot";
    default:
        return "it cannot be read";
    }
}

static apr_status_t read_meta(sc_restore_t *r)
{
    const unsigned char *bytes;
    sc_snap_kind_t kind;
    apr_size_t len;
    apr_status_t rv = sc_snap_next(&r->reader, &kind, &bytes, &len);

    rv = rv == APR_SUCCESS ? sc_snap_meta_get(&r->meta, bytes, len) : rv;
    return rv == APR_EOF ? APR_EINVAL : rv;
}

static int is_refused(sc_manager_t *m, apr_status_t rv)
{
    if (rv == APR_SUCCESS && strcmp(m->restore->meta.route, m->config->route) != 0) {
        set_aside(m, 0, "it is another node's (SessionClusterRoute)");
        return 1;
    }
    if (rv != APR_SUCCESS) {
        set_aside(m, rv == APR_EINVAL || rv == SC_SNAP_NO_KEY ? 0 : rv, why_not(rv));
    }
    return rv != APR_SUCCESS;
}

void sc_restore_start(sc_manager_t *m)
{
    apr_uint32_t before = sc_board_get(m->board->restore);
    sc_restore_t *r;
    apr_status_t rv;

    if (!sc_snapshot_on(m) || before == OVER) {
        sc_board_set(m->board->restore, OVER); /* what is configured later is for the next start */
        return;
    }
    if (before == READING_AGAIN) {
        set_aside(m, 0, "two engines have ended while they read it");
        return;
    }
    r = calloc(1, sizeof(*r));
    rv = r != NULL ? sc_snap_open(&r->reader, m->config->snapshot.path, m->cfg.ring) : APR_ENOMEM;
    if (rv != APR_SUCCESS) {
        free(r);
        if (APR_STATUS_IS_ENOENT(rv)) {
            sc_board_set(m->board->restore, OVER);
        } else {
            (void)is_refused(m, rv);
        }
        return;
    }
    m->restore = r;
    r->self.ours = 1;
    apr_cpystrn(r->self.route, m->config->route, sizeof(r->self.route));
    if (is_refused(m, read_meta(r))) {
        restore_free(m);
    } else if (m->cfg.ring != NULL && m->cfg.ring->count > 0 && !r->reader.seal.encrypted) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0644: the snapshot %s is not encrypted although there is a secret: it is from "
               "before, or somebody has put it there; it is taken this once, since its owner and "
               "mode are right, and written encrypted from now on",
               m->config->snapshot.path);
    }
}

void sc_restore_end(sc_manager_t *m)
{
    if (m->restore != NULL) {
        restore_free(m);
    }
}
