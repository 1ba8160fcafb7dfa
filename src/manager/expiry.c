/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Accesses, idling out, and the end of tombstones.
 *
 * An access without a change is noted by the child in the store's touch area and collected here. It
 * is told to the peers only when the last access they know of is a step behind: a hundredth of the
 * idle time, but not less than the collecting interval. Until then the store's access time stays as
 * the peers know it (so it is the memory of what they were told), and the touch area holds the
 * rest: whoever is about to decide that a session has idled out looks there first
 * (sc_expiry_refresh).
 *
 * The primary decides, and tells all peers in one message for many sessions. The others let a
 * session go silently: when its primary is not there to say anything, soon after the idle time (a
 * moment later than the primary would, since what they know may be steps behind); when it is, after
 * twice the idle time, by which it must have forgotten about it.
 *
 * With the backup manager the owner decides, accesses are told to the other holders only, one list
 * for each, and deaths to everybody: who only knew where the session was must not look for it. A
 * location has no idle time; whether it still makes sense is looked at now and then (place.c).
 *
 * Nothing here works through the whole store: a tick handles so many due records and comes back at
 * once if there are more.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define TICK apr_time_from_sec(1)
#define PROGRESS_TICKS 5
#define DUE_MAX 1000 /* records per tick */
#define SILENT_GRACE apr_time_from_sec(10)
#define TOUCH_MIN_MS 10 /* an interval of 0 would keep the engine busy with nothing */
/* How long a member that went without a word keeps tombstones alive: it may come back with
 * sessions that were invalidated meanwhile. */
#define MISSING_TIME apr_time_from_sec(24 * 3600)

apr_interval_time_t sc_expiry_step(const sc_manager_t *m, apr_uint32_t max_idle_s)
{
    apr_interval_time_t step = apr_time_from_sec((apr_time_t)max_idle_s) / 100;
    apr_interval_time_t touch = apr_time_from_msec(m->config->delta.touch_ms);

    return step > touch ? step : touch;
}

/* ---- lists ---------------------------------------------------------------------------------- */

/* One message with all that has been collected, to all peers. */
static void flush(sc_manager_t *m, sc_batch_t *b, apr_uint32_t options)
{
    sc_buf_clear(&m->msg);
    if (sc_batch_put(m, b, &m->msg) > 0) {
        sc_mgr_spread(m, options);
    }
}

/* Backup manager: to each holder what it holds. */
static void flush_accesses(sc_manager_t *m)
{
    int i;

    flush(m, &m->accessed, SC_OPT_ASYNCHRONOUS);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->accesses[i] == NULL) {
            continue;
        }
        sc_buf_clear(&m->msg);
        if (sc_batch_put(m, m->accesses[i], &m->msg) > 0 && m->peer[i].serial != 0) {
            sc_mgr_send(m, &m->peer[i]);
        }
    }
}

static void add_access(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t idle_ms)
{
    int full = 0, i;

    if (!sc_mgr_is_backup(m)) {
        full = sc_batch_access(&m->accessed, rec->context, &rec->id, idle_ms);
    }
    for (i = 0; i < SC_MEMBERS_MAX && sc_mgr_is_backup(m); i++) {
        if (m->peer[i].serial == 0 || !sc_layout_at(m, rec, &m->peer[i])) {
            continue;
        }
        if (m->accesses[i] == NULL) {
            m->accesses[i] = malloc(sizeof(sc_batch_t));
            if (m->accesses[i] == NULL) {
                continue;
            }
            sc_batch_init(m->accesses[i], SC_EVT_ACCESS, 0);
        }
        full |= sc_batch_access(m->accesses[i], rec->context, &rec->id, idle_ms);
    }
    if (full) {
        flush_accesses(m);
    }
}

static void add_expired(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                        const sc_stamp_t *stamp)
{
    sc_place_dead_here(m, context, id, stamp); /* front ends hear of it by themselves */
    if (m->npeers > 0 && sc_batch_death(&m->expired, context, id, stamp)) {
        flush(m, &m->expired, SC_OPT_QUIET);
    }
}

/* ---- accesses ------------------------------------------------------------------------------- */

void sc_expiry_touch(sc_manager_t *m, const sc_record_t *rec, apr_time_t accessed)
{
    apr_time_t now = sc_mgr_now(m);
    sc_record_t touched = *rec;

    if (accessed - rec->accessed <= sc_expiry_step(m, rec->max_idle_s)) {
        return;
    }
    touched.accessed = accessed;
    /* a copy that is not to be held here does not stay longer because it is used */
    (void)sc_store_touch(m->store, rec->context, &rec->id, accessed,
                         sc_layout_here(m, rec) ? sc_mgr_due(m, &touched) : rec->due);
    if (m->npeers > 0) {
        add_access(m, rec, sc_mgr_age(now, accessed));
    }
}

static void collected(void *baton, const sc_record_t *rec, apr_time_t accessed)
{
    sc_manager_t *m = baton;

    sc_count(m->board, touches, 1);
    sc_expiry_touch(m, rec, accessed);
}

static void touch_due(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    apr_uint32_t ms = m->config->delta.touch_ms;

    sc_store_collect(m->store, now, collected, m);
    flush_accesses(m);
    (void)sc_timer_set(m->cfg.timers, &m->touch_timer,
                       now + apr_time_from_msec(ms > TOUCH_MIN_MS ? ms : TOUCH_MIN_MS), touch_due,
                       m);
}

void sc_expiry_refresh(sc_manager_t *m, sc_record_t *rec)
{
    apr_time_t now = sc_mgr_now(m);
    sc_stored_t stored;
    apr_time_t last = 0;

    if (sc_store_read(m->store, rec->context, &rec->id, m->scratch, &stored) == APR_SUCCESS) {
        last = sc_store_last_access(m->store, &stored);
        last = last < now ? last : now; /* what a child wrote is only believed as far as possible */
    }
    apr_pool_clear(m->scratch);
    if (last > rec->accessed) {
        rec->accessed = last;
        rec->due = sc_mgr_due(m, rec);
        (void)sc_store_touch(m->store, rec->context, &rec->id, last, rec->due);
    }
}

/* ---- members that may come back ------------------------------------------------------------- */

void sc_expiry_missing(sc_manager_t *m, const sc_member_t *member)
{
    int i, oldest = 0;

    for (i = 0; i < SC_MISSING; i++) {
        if (m->missing[i].store_id == member->store_id) {
            oldest = i;
            break;
        }
        if (m->missing[i].since < m->missing[oldest].since) {
            oldest = i;
        }
    }
    m->missing[oldest].store_id = member->store_id;
    memcpy(m->missing[oldest].route, member->route, sizeof(m->missing[oldest].route));
    m->missing[oldest].since = sc_mgr_now(m);
}

void sc_expiry_found(sc_manager_t *m, const sc_member_t *member)
{
    int i;

    for (i = 0; i < SC_MISSING; i++) {
        /* by its route, too: whoever comes back with another store has lost the old one */
        if (m->missing[i].store_id == member->store_id ||
            strcmp(m->missing[i].route, member->route) == 0) {
            memset(&m->missing[i], 0, sizeof(m->missing[i]));
        }
    }
}

apr_uint16_t sc_expiry_missing_route(const sc_manager_t *m, apr_uint64_t store_id)
{
    apr_uint16_t route = SC_ROUTE_NONE;
    int i;

    for (i = 0; i < SC_MISSING; i++) {
        if (store_id != 0 && m->missing[i].store_id == store_id) {
            (void)sc_store_route(m->store, m->missing[i].route, strlen(m->missing[i].route), 0,
                                 &route);
        }
    }
    return route;
}

apr_uint32_t sc_expiry_missing_lately(const sc_manager_t *m, apr_interval_time_t time)
{
    apr_uint32_t n = 0;
    int i;

    for (i = 0; i < SC_MISSING; i++) {
        n += m->missing[i].store_id != 0 && sc_mgr_now(m) - m->missing[i].since < time;
    }
    return n;
}

int sc_expiry_lately(const sc_manager_t *m, apr_uint16_t route, apr_interval_time_t time)
{
    const char *name = sc_store_route_name(m->store, route);
    int i;

    if (sc_mgr_now(m) - m->started < time) {
        return 1;
    }
    for (i = 0; i < SC_MISSING && name[0] != '\0'; i++) {
        if (m->missing[i].store_id != 0 && strcmp(m->missing[i].route, name) == 0 &&
            sc_mgr_now(m) - m->missing[i].since < time) {
            return 1;
        }
    }
    return 0;
}

/* Whether the dead should be remembered longer, and there is room for it. */
static int keep_dead(const sc_manager_t *m, apr_time_t now)
{
    sc_store_stats_t stats;
    int i;

    for (i = 0; i < SC_MISSING; i++) {
        if (m->missing[i].store_id != 0 && now - m->missing[i].since < MISSING_TIME) {
            sc_store_stats(m->store, &stats);
            return stats.cells_free > stats.cells / 2;
        }
    }
    return 0;
}

/* ---- what is due ---------------------------------------------------------------------------- */

static int is_present(const sc_manager_t *m, apr_uint16_t route)
{
    const char *name = sc_store_route_name(m->store, route);
    int i;

    for (i = 0; i < SC_MEMBERS_MAX && name[0] != '\0'; i++) {
        if (m->peer[i].serial != 0 && strcmp(m->peer[i].member.route, name) == 0) {
            return 1;
        }
    }
    return 0;
}

static apr_time_t due_dead(sc_manager_t *m, const sc_record_t *rec, apr_time_t now)
{
    if (rec->max_idle_s != SC_DEAD_IDLE && keep_dead(m, now)) {
        return now + apr_time_from_sec((apr_time_t)m->config->delta.tombstone_s + 1);
    }
    if (rec->max_idle_s != SC_DEAD_IDLE && rec->stamp.hlc > sc_board_get(m->board->forgot)) {
        sc_board_set(m->board->forgot, rec->stamp.hlc);
    }
    (void)sc_store_remove(m->store, rec->context, &rec->id);
    return 0;
}

/* Whether it is this node that says when a session has idled out. */
static int decides(sc_manager_t *m, const sc_record_t *rec)
{
    return rec->primary == m->own_route ||
           (sc_mgr_is_backup(m) && sc_layout_owner(m, rec) == m->own_route);
}

/* @return when the session has idled out, as far as this node may say so */
static apr_time_t deadline(sc_manager_t *m, const sc_record_t *rec)
{
    apr_interval_time_t idle = apr_time_from_sec((apr_time_t)rec->max_idle_s);

    if (rec->max_idle_s != 0 && !decides(m, rec) &&
        (sc_mgr_is_backup(m) || is_present(m, rec->primary))) {
        return rec->accessed + 2 * idle + SILENT_GRACE;
    }
    return sc_mgr_due(m, rec);
}

/* Who is not leased may not have heard that a session is used elsewhere, and is held by others by
 * now: nobody is told then that it has idled out, as long as a lease may still come. */
static int is_unsure(sc_manager_t *m, const sc_record_t *rec, apr_time_t now)
{
    apr_interval_time_t idle = apr_time_from_sec((apr_time_t)rec->max_idle_s);

    return m->lapsed && now < rec->accessed + 2 * idle + SILENT_GRACE;
}

static apr_time_t is_due(void *baton, const sc_record_t *found)
{
    sc_manager_t *m = baton;
    apr_time_t now = sc_mgr_now(m);
    sc_record_t rec = *found;
    apr_time_t end;

    if (rec.flags & SC_REC_TOMBSTONE) {
        return due_dead(m, &rec, now);
    }
    if ((rec.flags & SC_REC_PROXY) || !sc_layout_here(m, &rec)) {
        return sc_place_due(m, &rec, now);
    }
    end = deadline(m, &rec);
    if (end <= now) {
        sc_expiry_refresh(m, &rec);
        end = deadline(m, &rec);
    }
    if (end > now) {
        return end;
    }
    if (is_unsure(m, &rec, now)) {
        return now + TICK;
    }
    if (!decides(m, &rec)) {
        (void)sc_store_remove(m->store, rec.context, &rec.id);
        return 0;
    }
    if (sc_mgr_bury(m, rec.context, &rec.id, &rec.stamp, SC_DEAD_IDLE, NULL) != APR_SUCCESS) {
        (void)sc_store_remove(m->store, rec.context, &rec.id);
    }
    sc_count(m->board, expired, 1);
    add_expired(m, rec.context, &rec.id, &rec.stamp);
    return 0;
}

static void work_due(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    apr_size_t n;

    sc_lease_check(m);
    m->cause = SC_CAUSE_IDLE;
    n = sc_store_run_due(m->store, now, DUE_MAX, is_due, m);
    m->cause = SC_CAUSE_PEER;
    if (n >= DUE_MAX) {
        (void)sc_timer_set(m->cfg.timers, &m->due_timer, now, work_due, m);
    }
    flush(m, &m->expired, SC_OPT_QUIET);
}

/* ---- ticks ---------------------------------------------------------------------------------- */

static void note_lsn(sc_manager_t *m, apr_time_t now)
{
    sc_checkpoint_t *c = &m->checkpoint[m->ncheckpoints++ % SC_CHECKPOINTS];

    c->at = now;
    c->lsn = sc_mgr_lsn(m);
}

apr_uint64_t sc_expiry_lsn_ago(const sc_manager_t *m, apr_uint64_t ms)
{
    apr_time_t then = sc_mgr_ago(sc_mgr_now(m), ms);
    apr_uint32_t kept = m->ncheckpoints < SC_CHECKPOINTS ? m->ncheckpoints : SC_CHECKPOINTS;
    apr_uint64_t lsn = 0;
    apr_uint32_t i;

    /* the latest one that is old enough */
    for (i = 0; i < kept; i++) {
        const sc_checkpoint_t *c = &m->checkpoint[i];

        if (c->at <= then && c->lsn > lsn) {
            lsn = c->lsn;
        }
    }
    return lsn;
}

static void tick(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;

    note_lsn(m, now);
    if (m->due_timer.index == 0) {
        work_due(m, now);
    }
    if (m->ncheckpoints % PROGRESS_TICKS == 0) {
        sc_mgr_tell_progress(m);
    }
    (void)sc_timer_set(m->cfg.timers, &m->tick_timer, now + TICK, tick, m);
}

void sc_expiry_init(sc_manager_t *m)
{
    sc_batch_init(&m->accessed, SC_EVT_SESSION_ACCESSED, 0);
    sc_batch_init(&m->expired, sc_mgr_is_backup(m) ? SC_EVT_REMOVE : SC_EVT_SESSION_EXPIRED,
                  SC_DEAD_IDLE);
}

void sc_expiry_start(sc_manager_t *m)
{
    apr_time_t now = sc_mgr_now(m);

    if (m->config->role != SC_ROLE_NODE) {
        return;
    }
    m->started = now;
    note_lsn(m, now);
    (void)sc_timer_set(m->cfg.timers, &m->touch_timer,
                       now + apr_time_from_msec(m->config->delta.touch_ms), touch_due, m);
    (void)sc_timer_set(m->cfg.timers, &m->tick_timer, now + TICK, tick, m);
}

void sc_expiry_stop(sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->accesses[i] != NULL) {
            sc_batch_free(m->accesses[i]);
            free(m->accesses[i]);
            m->accesses[i] = NULL;
        }
    }
    sc_timer_cancel(m->cfg.timers, &m->touch_timer);
    sc_timer_cancel(m->cfg.timers, &m->tick_timer);
    sc_timer_cancel(m->cfg.timers, &m->due_timer);
    sc_batch_free(&m->accessed);
    sc_batch_free(&m->expired);
}

/* ---- the end of the node -------------------------------------------------------------------- */

typedef struct doomed_t {
    sc_manager_t *m;
    sc_buf_t ids; /* of the bucket at hand: the store is not changed while it is scanned */
} doomed_t;

static int collect_own(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    doomed_t *d = baton;

    (void)body;
    if (!(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) && rec->primary == d->m->own_route) {
        sc_put_u8(&d->ids, rec->context);
        sc_put(&d->ids, rec->id.b, sizeof(rec->id.b));
    }
    return 1;
}

static void bury_collected(doomed_t *d)
{
    sc_manager_t *m = d->m;
    sc_rd_t r;

    sc_rd_init(&r, d->ids.data, d->ids.len);
    while (sc_rd_left(&r) > SC_ID_LEN) {
        apr_uint16_t context = (apr_uint16_t)sc_get_u8(&r);
        sc_stamp_t stamp = sc_mgr_stamp(m);
        sc_id_t id;

        memcpy(id.b, sc_get(&r, SC_ID_LEN), SC_ID_LEN);
        if (sc_mgr_bury(m, context, &id, &stamp, SC_DEAD_INVALIDATED, NULL) == APR_SUCCESS) {
            sc_count(m->board, invalidated, 1);
            add_expired(m, context, &id, &stamp);
        }
    }
    sc_buf_clear(&d->ids);
}

void sc_expiry_bury_own(sc_manager_t *m)
{
    apr_uint32_t cursor = 0;
    doomed_t d = {m, {0}};
    apr_status_t rv;

    flush(m, &m->expired, SC_OPT_QUIET);
    m->cause = SC_CAUSE_SHUTDOWN;
    m->expired.reason = SC_DEAD_INVALIDATED;
    sc_buf_init(&d.ids, 16 * 1024 * 1024);
    do {
        rv = sc_store_scan(m->store, &cursor, 0, 64, collect_own, &d);
        bury_collected(&d);
    } while (rv == APR_SUCCESS);
    flush(m, &m->expired, SC_OPT_QUIET);
    m->expired.reason = SC_DEAD_IDLE;
    m->cause = SC_CAUSE_PEER;
    sc_buf_free(&d.ids);
}
