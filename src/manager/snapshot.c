/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions over a planned stop of all nodes: written at the end of the engine, read at the next
 * start, once.
 *
 * Who writes what. A node that leaves while others go on has nothing that is worth keeping: its
 * sessions are with them, and are changed and ended there from then on. What it writes is a note
 * that says so, with the tombstones, which never become wrong. Only those that leave last,
 * together, write sessions: nobody changes these any more. So there are no old copies to be afraid
 * of. With the backup manager a leaving node also writes what it could not hand over in its time.
 *
 * To know who else leaves, a leaving node that sees others stay listens for a moment longer: of two
 * that are stopped at once at least one hears of the other then.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "snapshot.h"

#define BLOCK (64 * 1024)
#define LISTEN apr_time_from_sec(1)
/* Members that said good-bye so long ago, or less, left together with this node. */
#define TOGETHER apr_time_from_sec(120)

/* ---- the first block ------------------------------------------------------------------------ */

static void meta_put(sc_buf_t *b, const sc_snap_meta_t *meta)
{
    apr_uint32_t i;

    sc_put_u64(b, meta->wall_ms);
    sc_put_u64(b, meta->clock_ms);
    sc_put_u64(b, meta->forgot);
    sc_put_varint(b, meta->flags);
    sc_put_str(b, meta->route, strlen(meta->route));
    sc_put_varint(b, meta->nothers);
    sc_put_varint(b, meta->nlater);
    for (i = 0; i < meta->nothers; i++) {
        sc_put_str(b, meta->other[i], strlen(meta->other[i]));
    }
}

static void get_route(sc_rd_t *r, char route[SC_ROUTE_MAX + 1])
{
    apr_size_t len = 0;
    const unsigned char *p = sc_get_str(r, SC_ROUTE_MAX, &len);

    if (p != NULL) {
        memcpy(route, p, len);
        route[len] = '\0';
    }
}

apr_status_t sc_snap_meta_get(sc_snap_meta_t *meta, const unsigned char *bytes, apr_size_t len)
{
    apr_uint64_t n, i;
    sc_rd_t r;

    memset(meta, 0, sizeof(*meta));
    sc_rd_init(&r, bytes, len);
    meta->wall_ms = sc_get_u64(&r);
    meta->clock_ms = sc_get_u64(&r);
    meta->forgot = sc_get_u64(&r);
    meta->flags = sc_get_varint(&r);
    get_route(&r, meta->route);
    n = sc_get_varint(&r);
    meta->nlater = (apr_uint32_t)sc_get_varint(&r);
    if (n > SC_MEMBERS_MAX || meta->nlater > n) {
        return APR_EINVAL;
    }
    for (i = 0; i < n; i++) {
        get_route(&r, meta->other[i]);
    }
    meta->nothers = (apr_uint32_t)n;
    return r.bad || meta->clock_ms >> 48 ? APR_EINVAL : APR_SUCCESS;
}

/* ---- who leaves, who stays ------------------------------------------------------------------- */

int sc_snapshot_on(const sc_manager_t *m)
{
    return m->config->snapshot.path[0] != '\0' && m->config->role == SC_ROLE_NODE;
}

int sc_snapshot_others(const sc_manager_t *m)
{
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && !sc_lease_mute(m, peer) &&
            sc_node_complete(peer->member.node_state)) {
            return 1;
        }
    }
    return 0;
}

int sc_snapshot_listens(const sc_manager_t *m)
{
    return sc_snapshot_on(m) && m->stopped && sc_mgr_now(m) < m->stopped_at + LISTEN &&
           sc_snapshot_others(m);
}

void sc_snapshot_left(sc_manager_t *m, const sc_member_t *member)
{
    sc_left_t *left = &m->left[m->nleft++ % SC_LEFT];

    apr_cpystrn(left->route, member->route, sizeof(left->route));
    left->at = sc_mgr_now(m);
}

static void add_other(sc_snap_meta_t *meta, const char *route)
{
    apr_uint32_t i;

    for (i = 0; i < meta->nothers; i++) {
        if (strcmp(meta->other[i], route) == 0) {
            return;
        }
    }
    if (meta->nothers < SC_MEMBERS_MAX) {
        apr_cpystrn(meta->other[meta->nothers++], route, SC_ROUTE_MAX + 1);
    }
}

static void describe(const sc_manager_t *m, sc_snap_meta_t *meta)
{
    apr_time_t now = sc_mgr_now(m);
    apr_time_t wall = sc_wall(m->cfg.clock);
    int i;

    memset(meta, 0, sizeof(*meta));
    meta->wall_ms = wall > 0 ? (apr_uint64_t)apr_time_as_msec(wall) : 0;
    meta->clock_ms = sc_mgr_clock(m);
    meta->forgot = sc_board_get(m->board->forgot);
    meta->flags = sc_snapshot_others(m) ? SC_SNAP_OTHERS_STAYED : 0;
    apr_cpystrn(meta->route, m->config->route, sizeof(meta->route));
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            add_other(meta, m->peer[i].member.route);
        }
    }
    meta->nlater = meta->nothers;
    for (i = 0; i < SC_LEFT; i++) {
        if (m->left[i].at != 0 && now - m->left[i].at < TOGETHER) {
            add_other(meta, m->left[i].route);
        }
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct save_t {
    sc_manager_t *m;
    sc_snap_writer_t writer;
    sc_buf_t items;
    int bodies; /* 0: only tombstones */
    apr_uint64_t sessions;
    apr_uint64_t records;
    apr_status_t rv;
} save_t;

static void note_access(void *baton, const sc_record_t *rec, apr_time_t accessed)
{
    sc_manager_t *m = baton;

    (void)sc_store_touch(m->store, rec->context, &rec->id, accessed, rec->due);
}

/* What a peer would be given of it, and then some. */
static int is_worth(const save_t *s, const sc_record_t *rec)
{
    sc_manager_t *m = s->m;

    if (rec->flags & SC_REC_TOMBSTONE) {
        return rec->max_idle_s != SC_DEAD_IDLE;
    }
    return s->bodies && !(rec->flags & SC_REC_PROXY) &&
           (sc_layout_here(m, rec) || (!m->others_stay && sc_move_has_news(m, rec)));
}

static int save_record(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    save_t *s = baton;
    sc_wire_session_t w;

    if (!is_worth(s, rec)) {
        return 1;
    }
    sc_mgr_wire(s->m, rec, body, rec->flags & SC_REC_TOMBSTONE ? 0 : rec->body_len, &w);
    sc_wire_session_put(&s->items, &w);
    s->records++;
    s->sessions += !(rec->flags & SC_REC_TOMBSTONE);
    return 1;
}

static apr_status_t flush(save_t *s)
{
    apr_status_t rv = s->items.err;

    if (rv == APR_SUCCESS && s->items.len > 0) {
        rv = sc_snap_put(&s->writer, SC_SNAP_RECORDS, s->items.data, s->items.len);
    }
    sc_buf_clear(&s->items);
    return rv;
}

static apr_status_t save_records(save_t *s)
{
    apr_uint32_t cursor = 0;
    apr_status_t rv = APR_SUCCESS, scan;

    do {
        scan = sc_store_scan(s->m->store, &cursor, 0, 1, save_record, s);
        if (s->items.err != APR_SUCCESS || s->items.len >= BLOCK) {
            rv = flush(s);
        }
    } while (scan == APR_SUCCESS && rv == APR_SUCCESS);
    return rv == APR_SUCCESS ? flush(s) : rv;
}

static apr_status_t save_all(save_t *s, const sc_snap_meta_t *meta)
{
    unsigned char count[8];
    sc_buf_t end = {count, 0, sizeof(count), sizeof(count), APR_SUCCESS};
    apr_status_t rv;

    meta_put(&s->items, meta);
    rv = s->items.err;
    if (rv == APR_SUCCESS) {
        rv = sc_snap_put(&s->writer, SC_SNAP_META, s->items.data, s->items.len);
    }
    sc_buf_clear(&s->items);
    if (rv == APR_SUCCESS) {
        rv = save_records(s);
    }
    sc_put_u64(&end, s->records);
    return rv == APR_SUCCESS ? sc_snap_put(&s->writer, SC_SNAP_END, count, sizeof(count)) : rv;
}

void sc_manager_last_look(sc_manager_t *m)
{
    m->others_stay = sc_snapshot_on(m) && sc_snapshot_others(m);
}

void sc_manager_save(sc_manager_t *m)
{
    const char *path = m->config->snapshot.path;
    apr_time_t began = sc_mgr_now(m);
    apr_uint64_t bytes = 0;
    save_t s = {m, {0}, {0}, 0, 0, 0, APR_SUCCESS};
    sc_snap_meta_t meta;

    if (!sc_snapshot_on(m)) {
        return;
    }
    if (m->restore != NULL) {
        sc_log(m->cfg.log, SC_LOG_NOTICE, 0,
               "SC1150: this node stops before it has read its snapshot; %s stays as it is", path);
        return;
    }
    describe(m, &meta);
    meta.flags = m->others_stay ? SC_SNAP_OTHERS_STAYED : 0;
    s.bodies = !m->others_stay || sc_mgr_is_backup(m);
    sc_store_collect(m->store, began, note_access, m);
    sc_buf_init(&s.items, SC_SNAP_BLOCK_MAX);
    s.rv = sc_snap_create(&s.writer, path, m->cfg.ring);
    if (s.rv == APR_SUCCESS) {
        s.rv = save_all(&s, &meta);
        if (s.rv == APR_SUCCESS) {
            bytes = s.writer.bytes;
            s.rv = sc_snap_commit(&s.writer);
        } else {
            sc_snap_abandon(&s.writer);
        }
    }
    sc_buf_free(&s.items);
    if (s.rv != APR_SUCCESS) {
        sc_log(m->cfg.log, SC_LOG_ERROR, s.rv,
               "SC1151: sessions could not be written to %s; they end with this stop unless other "
               "nodes have them",
               path);
        return;
    }
    sc_log(m->cfg.log, SC_LOG_NOTICE, 0,
           "SC1152: %" APR_UINT64_T_FMT " sessions and %" APR_UINT64_T_FMT
           " ended ones written to %s (%" APR_UINT64_T_FMT " bytes, %" APR_TIME_T_FMT " ms)%s",
           s.sessions, s.records - s.sessions, path, bytes, apr_time_as_msec(sc_mgr_now(m) - began),
           m->others_stay ? "; other nodes go on with the rest" : "");
}
