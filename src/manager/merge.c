/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The rules by which versions of a session merge, and the clock that orders them.
 *
 *   attributes       each by itself: the higher stamp wins (session.c)
 *   max idle, owner  those of the highest stamp of the session as a whole
 *   last access      the later one
 *   epoch            the higher one
 *   tombstones       see death.c
 *   location         backup manager: the higher epoch, then the names (layout.c); never by stamps:
 *                    who changed a session last says nothing about where it is
 *
 * Each is the maximum in some order, so it does not matter in which order, how often and by which
 * way (live, in a state transfer, fetched) a version arrives: all nodes come to the same session.
 */
#include <string.h>

#include "internal.h"

/* Ages beyond this are nonsense; the bound keeps the arithmetic from overflowing. */
#define AGE_MAX_MS (10 * 365 * 24 * 3600 * (apr_uint64_t)1000)
/* A session without idle time is looked at so often. */
#define NEVER apr_time_from_sec(30 * 24 * 3600)
/* How long removed attributes are remembered, so that a late message cannot bring them back; less
 * when a session would otherwise outgrow its limit. */
static const apr_uint64_t removal_memory_ms[] = {24 * 3600 * 1000, 600 * 1000, 60 * 1000};
#define NMEMORIES (sizeof(removal_memory_ms) / sizeof(removal_memory_ms[0]))

/* ---- the clock ------------------------------------------------------------------------------ */

static apr_uint64_t wall_ms(const sc_manager_t *m)
{
    apr_time_t wall = sc_wall(m->cfg.clock);

    return wall > 0 ? (apr_uint64_t)apr_time_as_msec(wall) : 0;
}

static int too_far(const sc_manager_t *m, apr_uint64_t hlc)
{
    return hlc >> 16 > wall_ms(m) + SC_FUTURE_MS;
}

/*
 * The cluster's time: it goes on from the newest stamp seen at the speed of time. Were it only
 * pushed forward by stamps that come in, a node whose clock is slow would order its changes before
 * older ones of the others as soon as it is cut off from them. Nor does it follow this node's wall
 * clock, once it has begun: one that is set while its node is cut off would order what that node
 * refuses in the end behind what the others do later. So it agrees on all nodes but for drift, and
 * PINGs see to that. More than half of what is tolerated ahead it does not go by itself: who
 * follows would be refused.
 */
static apr_uint64_t cluster_ms(const sc_manager_t *m)
{
    apr_uint64_t wall = wall_ms(m);
    apr_uint64_t seen = sc_board_get(m->board->hlc) >> 16;
    apr_uint64_t cluster = seen + sc_mgr_age(sc_mgr_now(m), sc_board_get(m->board->hlc_at));
    apr_uint64_t most = wall + SC_FUTURE_MS / 2;

    if (seen == 0) {
        return wall;
    }
    if (cluster > most) {
        cluster = seen > most ? seen : most;
    }
    return cluster;
}

apr_uint64_t sc_mgr_clock(const sc_manager_t *m)
{
    return cluster_ms(m);
}

/* The newest stamp, issued or seen. What is seen may be newer than the one before and yet behind
 * the cluster's time, which must not go back then. Whole milliseconds only: what is left over must
 * not be lost each time. */
static void set_hlc(sc_manager_t *m, apr_uint64_t hlc)
{
    apr_time_t now = sc_mgr_now(m);
    apr_uint64_t behind = sc_mgr_age(now, sc_board_get(m->board->hlc_at));
    apr_uint64_t before = sc_board_get(m->board->hlc) >> 16;
    apr_uint64_t ms = hlc >> 16;

    if (ms > before + behind) {
        sc_board_set(m->board->hlc_at, now);
    } else if (ms > before) {
        sc_board_set(m->board->hlc_at,
                     m->board->hlc_at + apr_time_from_msec((apr_time_t)(ms - before)));
    }
    sc_board_set(m->board->hlc, hlc);
}

sc_stamp_t sc_mgr_stamp(sc_manager_t *m)
{
    apr_uint64_t last = sc_board_get(m->board->hlc);
    sc_stamp_t stamp;

    stamp.hlc = cluster_ms(m) << 16;
    if (stamp.hlc <= last) {
        stamp.hlc = last + 1;
        if (too_far(m, stamp.hlc) &&
            sc_log_allowed(&m->limit.clock, sc_mgr_now(m), SC_COMPLAIN, NULL)) {
            sc_log(m->cfg.log, SC_LOG_ERROR, 0,
                   "SC0501: the clock of this machine was set back by more than a day; until it "
                   "has caught up, other nodes will refuse this node's changes");
        }
    }
    stamp.node = m->node_tag;
    set_hlc(m, stamp.hlc);
    return stamp;
}

static void far_ahead(sc_manager_t *m, const sc_member_t *from)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    sc_count(m->board, records_refused, 1);
    if (sc_log_allowed(&m->limit.future, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_ERROR, 0,
               "SC0502: changes of member %s were refused: they are dated more than a day ahead "
               "of this node's clock (%" APR_UINT64_T_FMT " more before); set the clocks right",
               sc_member_name(from, name), more);
    }
}

apr_status_t sc_mgr_observe(sc_manager_t *m, const sc_member_t *from, const sc_stamp_t *stamp,
                            const unsigned char *body, apr_size_t len)
{
    apr_uint64_t newest = stamp->hlc;
    sc_attr_t a;
    sc_rd_t r;

    sc_rd_init(&r, body, len);
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        if (a.stamp.hlc > newest) {
            newest = a.stamp.hlc;
        }
    }
    if (too_far(m, newest)) {
        far_ahead(m, from);
        return APR_EBADDATE;
    }
    if (newest > sc_board_get(m->board->hlc)) {
        set_hlc(m, newest);
    }
    return APR_SUCCESS;
}

/* Who has begun with nothing, and may hear the cluster's time yet, knows only what its own wall
 * clock says. The others would follow that, those that it can reach; and what they refuse in the
 * end would be ordered behind what the rest does later. */
static int is_new(const sc_manager_t *m)
{
    return sc_board_get(m->board->hlc) == 0;
}

apr_uint64_t sc_mgr_clock_told(const sc_manager_t *m)
{
    return is_new(m) && m->state != SC_NODE_READY ? 0 : cluster_ms(m);
}

void sc_mgr_observe_clock(sc_manager_t *m, const sc_member_t *from, apr_uint64_t ms)
{
    if (ms >= (apr_uint64_t)1 << 48 || too_far(m, ms << 16)) {
        far_ahead(m, from);
    } else if (ms > 0 && (is_new(m) || ms > cluster_ms(m))) {
        set_hlc(m, ms << 16);
    }
}

/* A stamp older than everything that was stamped in the last so many milliseconds. */
static sc_stamp_t stamp_ago(const sc_manager_t *m, apr_uint64_t ms)
{
    apr_uint64_t time = cluster_ms(m);
    sc_stamp_t s = {0, 0};

    s.hlc = time > ms ? (time - ms) << 16 : 0;
    return s;
}

/* ---- times ---------------------------------------------------------------------------------- */

apr_time_t sc_mgr_ago(apr_time_t now, apr_uint64_t ms)
{
    return now - apr_time_from_msec(ms < AGE_MAX_MS ? ms : AGE_MAX_MS);
}

apr_uint64_t sc_mgr_age(apr_time_t now, apr_time_t then)
{
    return now > then ? (apr_uint64_t)apr_time_as_msec(now - then) : 0;
}

apr_time_t sc_mgr_due(const sc_manager_t *m, const sc_record_t *rec)
{
    apr_time_t due = rec->accessed + apr_time_from_sec((apr_time_t)rec->max_idle_s);

    if (sc_mgr_is_backup(m) && (rec->flags & SC_REC_PROXY)) {
        return sc_mgr_now(m) + SC_PROXY_LOOK;
    }
    if (!sc_layout_here(m, rec)) {
        return sc_mgr_now(m) + SC_GUEST_STAY;
    }
    if (rec->max_idle_s == 0) {
        return sc_mgr_now(m) + NEVER;
    }
    if (rec->primary != m->own_route) {
        /* its primary is to say so; this is when to begin to wonder */
        due += 2 * sc_expiry_step(m, rec->max_idle_s);
    }
    return due;
}

int sc_mgr_outlives(const sc_manager_t *m, apr_uint32_t max_idle_s, apr_uint64_t idle_ms)
{
    apr_uint64_t slack = 2000 + (apr_uint64_t)m->config->delta.touch_ms;

    /* the slack: on the way from node to node an age stands still, so copies differ a little */
    return max_idle_s == 0 || idle_ms + slack < (apr_uint64_t)max_idle_s * 1000;
}

/* ---- putting -------------------------------------------------------------------------------- */

apr_status_t sc_mgr_put(sc_manager_t *m, sc_record_t *rec, const void *body, apr_size_t len)
{
    apr_uint64_t more = 0;
    apr_status_t rv;

    if (!(rec->flags & SC_REC_TOMBSTONE)) {
        rec->due = sc_mgr_due(m, rec);
    }
    if (m->brought != SC_BROUGHT_BY_TRANSFER) {
        rec->flags &= (apr_uint16_t)~SC_REC_GIVEN;
    }
    rv = sc_store_put(m->store, rec, body, len);
    if (rv == APR_SUCCESS || (rec->flags & SC_REC_TOMBSTONE)) {
        return rv;
    }
    sc_count(m->board, refused_full, 1);
    if (sc_log_allowed(&m->limit.full, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_ERROR, rv,
               "SC0503: the session store is full, new sessions are refused (%" APR_UINT64_T_FMT
               " more before); enlarge SessionClusterMemory",
               more);
    }
    return rv;
}

/* ---- merging -------------------------------------------------------------------------------- */

apr_status_t sc_mgr_merge_body(sc_manager_t *m, const void *old_body, apr_size_t old_len,
                               const void *delta, apr_size_t len, apr_size_t limit,
                               sc_merge_t *result)
{
    apr_status_t rv = APR_ENOSPC;
    apr_size_t i;

    m->out.limit = limit;
    for (i = 0; i < NMEMORIES && rv == APR_ENOSPC; i++) {
        sc_stamp_t drop_before = stamp_ago(m, removal_memory_ms[i]);

        rv = sc_body_merge(old_body, old_len, delta, len, &drop_before, &m->out, result);
    }
    return rv;
}

/* ---- locations ------------------------------------------------------------------------------ */

static void located(const sc_incoming_t *in, sc_record_t *rec)
{
    rec->primary = in->primary;
    rec->epoch = in->epoch;
    memcpy(rec->backups, in->backups, sizeof(rec->backups));
}

/* Backup manager: the newer location of the two. @return 1 if that is what has come */
static int merge_location(sc_manager_t *m, sc_record_t *rec, const sc_incoming_t *in)
{
    sc_record_t other = *rec;

    if (!in->located) {
        return 0;
    }
    located(in, &other);
    if (sc_layout_cmp(m, &other, rec) <= 0 || sc_place_undecided(m, rec, &other)) {
        return 0;
    }
    *rec = other;
    return 1;
}

/* ---- merging -------------------------------------------------------------------------------- */

/* A change of a peer does not fit in. An old copy must not stay, since the change will be
 * acknowledged without this node; what only that copy has goes to the others. */
static void no_room(sc_manager_t *m, const sc_id_t *id, apr_uint16_t context)
{
    if (sc_mgr_msg_current(m, context, id) == APR_SUCCESS) {
        sc_mgr_broadcast(m, context, id);
    }
    (void)sc_store_remove(m->store, context, id);
}

/* What goes by the stamp of the whole session, and where it is. @return 1 if something is new */
static int merge_head(sc_manager_t *m, sc_record_t *rec, const sc_incoming_t *in)
{
    int newer = sc_stamp_cmp(&in->stamp, &rec->stamp) > 0;
    int news = newer;

    if (newer) {
        rec->stamp = in->stamp;
        rec->max_idle_s = in->max_idle_s;
    }
    if (sc_mgr_is_backup(m)) {
        return merge_location(m, rec, in) || news;
    }
    if (newer) {
        rec->primary = in->primary;
    }
    if (in->epoch > rec->epoch) {
        rec->epoch = in->epoch;
        news = 1;
    }
    return news;
}

/* The session was held here, and is no more. It stands in m->out as it is now. */
static void not_held(sc_manager_t *m, const sc_record_t *rec, const sc_incoming_t *in)
{
    apr_uint64_t digest = sc_body_digest(in->body, in->body_len);

    sc_buf_clear(&m->old);
    sc_put(&m->old, m->out.data, m->out.len);
    sc_move_lost(m, rec, digest);
}

apr_status_t sc_mgr_merge_live(sc_manager_t *m, sc_record_t *rec, const sc_incoming_t *in,
                               int *changed)
{
    int later = in->accessed > rec->accessed;
    int held = sc_layout_here(m, rec);
    sc_merge_t result;
    apr_status_t rv;
    int news;

    *changed = 0;
    /* twice: what two nodes have each accepted within their limits must fit when it is put together
     */
    rv = sc_mgr_merge_body(m, m->old.data, m->old.len, in->body, in->body_len, 2 * m->body_limit,
                           &result);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (later) {
        rec->accessed = in->accessed;
    }
    news = merge_head(m, rec, in);
    if (result.changed || in->doubt != 0) {
        news |= in->doubt != 0 && !(rec->flags & SC_REC_DOUBT);
        rec->flags |= in->doubt; /* also of what is here already: it was refused since */
    }
    if (!result.changed && !news) {
        if (later || !held) {
            (void)sc_store_touch(m->store, rec->context, &rec->id, rec->accessed,
                                 sc_mgr_due(m, rec));
        }
        return APR_SUCCESS;
    }
    rv = sc_mgr_put(m, rec, m->out.data, m->out.len);
    *changed = rv == APR_SUCCESS;
    if (rv == APR_ENOSPC) {
        no_room(m, &rec->id, rec->context);
    } else if (rv == APR_SUCCESS && held && !sc_layout_here(m, rec)) {
        not_held(m, rec, in);
    }
    if (*changed) {
        if (result.changed) {
            sc_move_dirty(m, rec, in);
        }
        sc_move_look(m, rec);
    }
    return rv;
}

/* Names in locations come from others; they must not fill the table, which is small and for ever.
 * What is left of it belongs to members that come. */
#define ROUTES_HEARD (SC_ROUTES_MAX / 4 * 3)

static apr_uint16_t route_index(sc_manager_t *m, const char *name, apr_size_t len)
{
    int room = !sc_mgr_is_backup(m) || *sc_store_route_name(m->store, ROUTES_HEARD) == '\0';
    apr_uint16_t index = SC_ROUTE_NONE;

    if (len == 0 || sc_store_route(m->store, name, len, room, &index) != APR_SUCCESS) {
        return SC_ROUTE_NONE;
    }
    return index;
}

/* Where the sender says that the session is. @return 0: it names a primary that cannot be known */
static int incoming_location(sc_manager_t *m, const sc_wire_session_t *w, sc_incoming_t *in)
{
    apr_uint32_t i, n = 0;

    in->located = 1;
    in->primary = route_index(m, w->primary, w->primary_len);
    in->epoch = w->epoch;
    memset(in->backups, 0, sizeof(in->backups));
    for (i = 0; i < w->nbackups && sc_mgr_is_backup(m); i++) {
        apr_uint16_t route = route_index(m, w->backup[i].s, w->backup[i].len);

        if (route != SC_ROUTE_NONE) {
            in->backups[n++] = route;
        }
    }
    return !sc_mgr_is_backup(m) || in->primary != SC_ROUTE_NONE;
}

apr_status_t sc_mgr_put_new(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                            const sc_incoming_t *in, int *changed)
{
    sc_record_t rec;
    sc_merge_t result;
    apr_status_t rv;

    rv = sc_mgr_merge_body(m, NULL, 0, in->body, in->body_len, 2 * m->body_limit, &result);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    memset(&rec, 0, sizeof(rec));
    rec.id = *id;
    rec.context = context;
    rec.max_idle_s = in->max_idle_s;
    rec.created = in->created;
    rec.accessed = in->accessed;
    rec.stamp = sc_stamp_cmp(&in->stamp, &result.newest) > 0 ? in->stamp : result.newest;
    rec.flags = in->doubt;
    if (m->brought == SC_BROUGHT_BY_TRANSFER) {
        rec.flags |= SC_REC_GIVEN;
    }
    located(in, &rec);
    rv = sc_mgr_put(m, &rec, m->out.data, m->out.len);
    *changed = rv == APR_SUCCESS;
    if (*changed) {
        sc_move_look(m, &rec);
    }
    return rv;
}

/* Whether the session may be with a holder that cannot be asked now. */
static int is_away(sc_manager_t *m, apr_uint16_t route)
{
    const sc_peer_t *peer = sc_layout_peer(m, route);

    if (route == m->own_route) {
        return 0;
    }
    return peer != NULL ? sc_lease_mute(m, peer) : sc_expiry_lately(m, route, sc_fetch_grace(m));
}

/* Whether what has come would make this node a holder, out of a copy that its sender does not hold.
 */
static int is_left_over(sc_manager_t *m, const sc_member_t *from, const sc_incoming_t *in)
{
    const sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_record_t rec;

    located(in, &rec);
    return sc_mgr_is_backup(m) && peer != NULL && sc_layout_here(m, &rec) &&
           !sc_layout_at(m, &rec, peer);
}

/* Whether such a copy must not be put where there is none. It is kept because of something in it
 * that holders lack, which says nothing about the rest: it may be as old as the engine before. A
 * copy that is here it completes; it must not stand for one that is missing (memory was lost),
 * since whoever asks takes that for the latest. Unless all holders are there, so that what they
 * have is merged with it, or nothing. */
static int is_rest(sc_manager_t *m, const sc_member_t *from, const sc_incoming_t *in)
{
    sc_record_t rec;
    int i, away;

    if (!is_left_over(m, from, in)) {
        return 0;
    }
    located(in, &rec);
    sc_lease_check(m);
    /* as long as this node is joining, or not leased, it may lack what another one has, who may go
     * before it comes */
    away = m->state != SC_NODE_READY || (m->lapsed && m->brought != SC_BROUGHT_BY_ANSWER) ||
           is_away(m, rec.primary);
    for (i = 0; i < SC_BACKUPS_MAX && rec.backups[i] != SC_ROUTE_NONE; i++) {
        away |= is_away(m, rec.backups[i]);
    }
    return away;
}

/* The session itself has come where there was none. */
static apr_status_t put_first(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                              const sc_id_t *id, const sc_incoming_t *in, int *changed)
{
    return is_rest(m, from, in) ? APR_EGENERAL : sc_mgr_put_new(m, context, id, in, changed);
}

/* The session itself has come where only its location was known. */
static apr_status_t put_known(sc_manager_t *m, const sc_member_t *from, const sc_record_t *proxy,
                              sc_incoming_t *in, int *changed)
{
    sc_record_t rec = *proxy;

    (void)merge_location(m, &rec, in);
    sc_incoming_locate(in, &rec);
    return put_first(m, from, proxy->context, &proxy->id, in, changed);
}

static apr_uint32_t known_epoch(apr_status_t rv, const sc_record_t *rec)
{
    return rv == APR_SUCCESS && !(rec->flags & SC_REC_TOMBSTONE) ? rec->epoch : 0;
}

/* Whether a session that has idled out here has been used since, elsewhere. An older version of it
 * does not prove that: on the way to a node that hangs an age stands still, so a copy that has
 * missed the last changes may look younger than it is (death.c, survives, for the other way). */
static int was_used_since(const sc_manager_t *m, const sc_record_t *rec, const sc_wire_session_t *w)
{
    int c = sc_stamp_cmp(&w->stamp, &rec->stamp);

    return rec->max_idle_s == SC_DEAD_IDLE &&
           (c > 0 || (c == 0 && sc_mgr_outlives(m, w->max_idle_s, w->idle_ms)));
}

/* A session that is alive elsewhere. *id: where it went, if its id was changed. */
static apr_status_t merge_alive(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                                const sc_wire_session_t *w, sc_id_t *id, int *changed)
{
    apr_time_t now = sc_mgr_now(m);
    sc_incoming_t in;
    sc_record_t rec;
    apr_status_t rv;

    in.stamp = w->stamp;
    in.max_idle_s = w->max_idle_s;
    if (!incoming_location(m, w, &in)) {
        sc_count(m->board, records_refused, 1);
        return APR_EINVAL;
    }
    in.doubt = w->flags & SC_REC_DOUBT;
    in.created = sc_mgr_ago(now, w->age_ms);
    in.accessed = sc_mgr_ago(now, w->idle_ms);
    in.body = w->body;
    in.body_len = w->body_len;

    *id = w->id;
    rv = sc_mgr_get_heir(m, context, id, &rec);
    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return rv;
    }
    if (sc_mgr_is_backup(m) && !sc_place_possible(m, from, known_epoch(rv, &rec), in.epoch)) {
        return APR_EINVAL;
    }
    if (rv == APR_NOTFOUND) {
        return put_first(m, from, context, id, &in, changed);
    }
    if (rec.flags & SC_REC_PROXY) {
        return put_known(m, from, &rec, &in, changed);
    }
    if (!(rec.flags & SC_REC_TOMBSTONE)) {
        /* that others name this node does not bring it what it has missed */
        in.located &= !is_left_over(m, from, &in);
        return sc_mgr_merge_live(m, &rec, &in, changed);
    }
    return was_used_since(m, &rec, w) ? sc_mgr_put_new(m, context, id, &in, changed) : APR_SUCCESS;
}

apr_status_t sc_mgr_merge_whole(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                                const sc_wire_session_t *w, int *changed)
{
    apr_status_t rv;
    sc_id_t id;
    int news;

    *changed = 0;
    rv = sc_mgr_observe(m, from, &w->stamp, w->body, w->body_len);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (w->flags & SC_REC_TOMBSTONE) {
        int renamed = w->max_idle_s == SC_DEAD_RENAMED;

        rv = sc_mgr_merge_death(m, context, &w->id, &w->stamp, w->max_idle_s,
                                renamed ? &w->heir : NULL, changed, &news);
        if (renamed && news) {
            sc_mgr_tell_heir(m, context, &w->id);
        }
        return rv;
    }
    rv = merge_alive(m, from, context, w, &id, changed);
    if (*changed && memcmp(&id, &w->id, sizeof(id)) != 0) {
        sc_mgr_tell_heir(m, context, &id);
    }
    return rv;
}

/* ---- sending -------------------------------------------------------------------------------- */

static void wire_backups(const sc_manager_t *m, const sc_record_t *rec, sc_wire_session_t *w)
{
    int i;

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        const char *name = sc_store_route_name(m->store, rec->backups[i]);

        if (*name != '\0' && rec->backups[i] != rec->primary) {
            w->backup[w->nbackups].s = name;
            w->backup[w->nbackups].len = strlen(name);
            w->nbackups++;
        }
    }
}

void sc_mgr_wire(const sc_manager_t *m, const sc_record_t *rec, const void *body, apr_size_t len,
                 sc_wire_session_t *w)
{
    apr_time_t now = sc_mgr_now(m);

    memset(w, 0, sizeof(*w));
    w->context = sc_store_context_name(m->store, rec->context);
    w->context_len = strlen(w->context);
    w->id = rec->id;
    w->flags = rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY | SC_REC_DOUBT);
    w->max_idle_s = rec->max_idle_s;
    w->age_ms = sc_mgr_age(now, rec->created);
    w->idle_ms = sc_mgr_age(now, rec->accessed);
    w->stamp = rec->stamp;
    w->primary = sc_store_route_name(m->store, rec->primary);
    w->primary_len = strlen(w->primary);
    w->epoch = rec->epoch;
    w->body = body;
    w->body_len = len;
    if (w->flags & SC_REC_TOMBSTONE) {
        sc_mgr_wire_tombstone(rec, w);
    } else if (sc_mgr_is_backup(m)) {
        wire_backups(m, rec, w);
    }
}

void sc_mgr_msg_death(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                      const sc_stamp_t *stamp, unsigned int reason)
{
    unsigned char bytes[SC_ID_LEN + 12];
    sc_buf_t items = {bytes, 0, sizeof(bytes), sizeof(bytes), APR_SUCCESS};
    sc_group_t g;

    sc_item_expired_put(&items, id, stamp);
    g.context.s = sc_store_context_name(m->store, context);
    g.context.len = strlen(g.context.s);
    g.reason = reason;
    g.n = 1;
    g.items = bytes;
    g.items_len = items.len;
    sc_buf_clear(&m->msg);
    sc_msg_groups_put(&m->msg, sc_mgr_is_backup(m) ? SC_EVT_REMOVE : SC_EVT_SESSION_EXPIRED, 1);
    sc_group_put(&m->msg, &g);
}

void sc_mgr_msg_whole(sc_manager_t *m, const sc_record_t *rec, const sc_buf_t *body)
{
    int alive = !(rec->flags & SC_REC_TOMBSTONE);
    sc_record_t told = *rec;
    sc_wire_session_t w;

    if (alive && sc_mgr_is_backup(m)) {
        sc_move_told(m, &told);
    }
    sc_mgr_wire(m, &told, body->data, body->len, &w);
    sc_buf_clear(&m->msg);
    sc_msg_created_put(&m->msg,
                       alive && sc_mgr_is_backup(m) ? SC_EVT_BACKUP : SC_EVT_SESSION_CREATED, &w);
}

apr_status_t sc_mgr_msg_current(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_record_t rec;
    apr_status_t rv = sc_store_get(m->store, context, id, &rec, &m->old);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rec.flags & SC_REC_TOMBSTONE) && rec.max_idle_s != SC_DEAD_RENAMED) {
        sc_mgr_msg_death(m, context, id, &rec.stamp, rec.max_idle_s);
        return APR_SUCCESS;
    }
    if (rec.flags & SC_REC_PROXY) {
        return APR_NOTFOUND;
    }
    sc_mgr_msg_whole(m, &rec, &m->old);
    return m->msg.err;
}
