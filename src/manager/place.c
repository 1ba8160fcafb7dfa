/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Locations heard: who holds a session, without the session.
 *
 * Of two locations the one with the higher epoch counts, of two with one epoch the one with the
 * larger names: so all members come to the same one, whatever they hear first. A location never
 * brings a session back that is dead here, and never makes a holder of a node without a copy: the
 * session is fetched for that.
 *
 * Of a session that is not known here only who holds it is believed to know. Otherwise what has
 * ended would go round for ever among those who have not heard of its end.
 *
 * Names are looked up and never entered: nodes that were ever members are in the store's table. So
 * nobody can fill the table by naming what does not exist.
 *
 * A node keeps as proxies what it is told; they are dropped when none of the holders is there any
 * more. A front end keeps nothing else, drops what is not confirmed for a while, and remembers the
 * dead for a moment, since what one node says may be behind what another one said.
 */
#include <string.h>

#include "place.h"

/** Sessions fetched at once because they are to be held here. */
#define FETCHES_AT_ONCE 32

static int is_front(const sc_manager_t *m)
{
    return m->config->role == SC_ROLE_BALANCER;
}

/* ---- what is refused ------------------------------------------------------------------------- */

static apr_status_t refuse(sc_manager_t *m, const sc_member_t *from, const char *why)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    sc_count(m->board, records_refused, 1);
    if (m->fronts != NULL &&
        sc_log_allowed(&m->fronts->refused, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0545: where a session is was not taken from member %s: %s (%" APR_UINT64_T_FMT
               " more before)",
               sc_member_name(from, name), why, more);
    }
    return APR_EINVAL;
}

int sc_place_possible(sc_manager_t *m, const sc_member_t *from, apr_uint32_t known,
                      apr_uint32_t epoch)
{
    if (epoch > known && epoch - known > SC_EPOCH_JUMP) {
        (void)refuse(m, from, "its number is impossible");
        return 0;
    }
    return 1;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Place of a name in the store's table. @return 0: it is not there */
static int route_of(const sc_manager_t *m, const sc_text_t *name, apr_uint16_t *route)
{
    *route = SC_ROUTE_NONE;
    return name->len == 0 || sc_store_route(m->store, name->s, name->len, 0, route) == APR_SUCCESS;
}

apr_status_t sc_place_record(sc_manager_t *m, const sc_msg_places_t *list, const sc_place_t *item,
                             apr_uint16_t context, sc_record_t *rec)
{
    apr_uint32_t i;

    memset(rec, 0, sizeof(*rec));
    rec->id = item->id;
    rec->context = context;
    rec->epoch = item->epoch;
    if (item->primary >= list->nroutes ||
        !route_of(m, &list->route[item->primary], &rec->primary)) {
        return APR_EINVAL;
    }
    for (i = 0; i < item->nbackups && i < SC_BACKUPS_MAX; i++) {
        if (item->backup[i] >= list->nroutes ||
            !route_of(m, &list->route[item->backup[i]], &rec->backups[i])) {
            return APR_EINVAL;
        }
    }
    return APR_SUCCESS;
}

int sc_place_of(sc_manager_t *m, const sc_wire_session_t *w, apr_uint16_t context, sc_record_t *rec)
{
    sc_text_t primary = {w->primary, w->primary_len};
    apr_uint32_t i, n = 0;

    memset(rec, 0, sizeof(*rec));
    rec->id = w->id;
    rec->context = context;
    rec->epoch = w->epoch;
    for (i = 0; i < w->nbackups; i++) {
        n += route_of(m, &w->backup[i], &rec->backups[n]) != 0;
    }
    return route_of(m, &primary, &rec->primary) && rec->primary != SC_ROUTE_NONE;
}

/* ---- records without a body ------------------------------------------------------------------ */

apr_status_t sc_place_only(sc_manager_t *m, const sc_record_t *rec)
{
    apr_time_t now = sc_mgr_now(m);
    sc_record_t proxy = *rec, before;

    if (sc_store_get(m->store, rec->context, &rec->id, &before, NULL) == APR_SUCCESS &&
        !(before.flags & SC_REC_PROXY)) {
        sc_fetch_dropped(m, rec->context, &rec->id);
    }
    proxy.flags = SC_REC_PROXY;
    proxy.due = now + (is_front(m) ? SC_FRONT_STAY : SC_PROXY_LOOK);
    return sc_store_put(m->store, &proxy, NULL, 0);
}

/* Sessions come first: on a node locations do not take the last of its memory. */
static int is_room(const sc_manager_t *m)
{
    sc_store_stats_t stats;

    sc_store_stats(m->store, &stats);
    return is_front(m) || stats.cells_free > stats.cells / 8;
}

static apr_status_t put_unknown(sc_manager_t *m, const sc_record_t *rec)
{
    apr_uint64_t more = 0;
    sc_record_t proxy = *rec;
    apr_status_t rv;

    proxy.created = proxy.accessed = sc_mgr_now(m);
    rv = is_room(m) ? sc_place_only(m, &proxy) : APR_ENOSPC;
    if (rv == APR_ENOSPC && m->fronts != NULL &&
        sc_log_allowed(&m->fronts->full, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0546: the session store is full, so this node does not know where all sessions "
               "are (%" APR_UINT64_T_FMT " more before)",
               more);
    }
    return rv;
}

static int somebody_there(sc_manager_t *m, const sc_record_t *rec)
{
    int i;

    if (sc_layout_here(m, rec) || sc_layout_peer(m, rec->primary) != NULL) {
        return 1;
    }
    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        if (sc_layout_peer(m, rec->backups[i]) != NULL) {
            return 1;
        }
    }
    return 0;
}

apr_time_t sc_place_due(sc_manager_t *m, const sc_record_t *rec, apr_time_t now)
{
    sc_record_t here;

    if (rec->flags & SC_REC_PROXY) {
        if (!is_front(m) && somebody_there(m, rec)) {
            return now + SC_PROXY_LOOK;
        }
        (void)sc_store_remove(m->store, rec->context, &rec->id);
        return 0;
    }
    if (sc_move_pending(m, rec->context, &rec->id)) {
        return now + SC_GUEST_STAY;
    }
    /* the engine before this one may have kept it because the holders lacked something of it */
    if (now - m->started < 2 * SC_GUEST_STAY &&
        sc_store_get(m->store, rec->context, &rec->id, &here, &m->old) == APR_SUCCESS) {
        sc_move_lost(m, &here, 0);
        return now + SC_GUEST_STAY;
    }
    if (sc_place_only(m, rec) != APR_SUCCESS) {
        (void)sc_store_remove(m->store, rec->context, &rec->id);
    }
    return 0;
}

/* ---- merging --------------------------------------------------------------------------------- */

/* It is here, and newer than what was known. */
static apr_status_t take(sc_manager_t *m, const sc_record_t *rec, const sc_record_t *in,
                         apr_uint64_t digest)
{
    int held = !(rec->flags & SC_REC_PROXY) && sc_layout_here(m, rec);
    sc_record_t now;
    apr_status_t rv;

    rv = sc_layout_set(m, in);
    if (rv == APR_SUCCESS && held && !sc_layout_here(m, in) &&
        sc_store_get(m->store, in->context, &in->id, &now, &m->old) == APR_SUCCESS) {
        sc_move_lost(m, &now, digest);
    }
    sc_move_look(m, in);
    return rv;
}

/* Somebody says that the session is nowhere. What is held here is not given up for that. */
static apr_status_t nowhere(sc_manager_t *m, const sc_record_t *rec, const sc_record_t *in)
{
    if (!(rec->flags & SC_REC_PROXY) || in->epoch < rec->epoch) {
        return APR_EEXIST;
    }
    (void)sc_store_remove(m->store, in->context, &in->id);
    return APR_SUCCESS;
}

static int is_holder(sc_manager_t *m, const sc_member_t *from, const sc_record_t *in)
{
    const sc_peer_t *peer = sc_mgr_peer(m, from);

    return peer != NULL && sc_record_holder(in, peer->route) != SC_HOLDER_NONE;
}

int sc_place_undecided(const sc_manager_t *m, const sc_record_t *rec, const sc_record_t *in)
{
    sc_record_t told = *rec;

    sc_move_told(m, &told);
    return told.epoch > rec->epoch && sc_layout_cmp(m, in, &told) <= 0;
}

/* A copy that was not to be held here makes a holder of this node if it is the same as that of the
 * primary, or has been brought here for that and nothing was lost since. Any other one may be what
 * a request brought along some time ago. */
static int is_good_copy(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t digest, int copied)
{
    sc_record_t now;

    return m->fronts == NULL || m->fronts->deaths_only || (copied && rec->lsn > m->fronts->gap) ||
           (digest != 0 &&
            sc_store_get(m->store, rec->context, &rec->id, &now, &m->old) == APR_SUCCESS &&
            sc_body_digest(m->old.data, m->old.len) == digest);
}

apr_status_t sc_place_merge(sc_manager_t *m, const sc_member_t *from, const sc_record_t *in,
                            apr_uint64_t digest, int copied)
{
    sc_record_t rec;
    apr_status_t rv = sc_store_get(m->store, in->context, &in->id, &rec, NULL);
    int known = rv == APR_SUCCESS;
    int here = sc_record_holder(in, m->own_route) != SC_HOLDER_NONE;
    int cmp;

    if (!known && rv != APR_NOTFOUND) {
        return rv;
    }
    if (known && (rec.flags & SC_REC_TOMBSTONE)) {
        if (rec.max_idle_s != SC_DEAD_IDLE || is_front(m) || sc_layout_cmp(m, in, &rec) <= 0) {
            return APR_EEXIST;
        }
        known = 0; /* it has gone on elsewhere */
    }
    if (!sc_place_possible(m, from, known ? rec.epoch : 0, in->epoch)) {
        return APR_EINVAL;
    }
    if (in->primary == SC_ROUTE_NONE) {
        return known ? nowhere(m, &rec, in) : APR_SUCCESS;
    }
    if (!known && here) {
        return APR_EGENERAL;
    }
    if (!known) {
        return is_holder(m, from, in) ? put_unknown(m, in) : APR_SUCCESS;
    }
    cmp = sc_layout_cmp(m, in, &rec);
    if (cmp < 0) {
        return APR_EEXIST;
    }
    if (cmp > 0 && sc_place_undecided(m, &rec, in)) {
        return APR_SUCCESS;
    }
    if (here && ((rec.flags & SC_REC_PROXY) ||
                 (!sc_layout_here(m, &rec) && !is_good_copy(m, &rec, digest, copied)))) {
        return APR_EGENERAL;
    }
    if (is_front(m)) {
        apr_time_t now = sc_mgr_now(m);

        (void)sc_store_touch(m->store, in->context, &in->id, now, now + SC_FRONT_STAY);
    }
    return cmp > 0 ? take(m, &rec, in, digest) : APR_SUCCESS;
}

/* ---- PROXY ----------------------------------------------------------------------------------- */

/* Whether no holder is missing: one that is may come back with the session. */
static int all_there(sc_manager_t *m, const sc_record_t *rec)
{
    int i, there = rec->primary == m->own_route || sc_layout_peer(m, rec->primary) != NULL;

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        there &= rec->backups[i] == m->own_route || sc_layout_peer(m, rec->backups[i]) != NULL;
    }
    return there;
}

/* This node is to hold what it does not have. The other holders compare with it anyway (digest.c),
 * so those that are too many come later. And if it should know best, there is no such session: who
 * only knows the location may forget it. */
static void get_copy(sc_manager_t *m, const sc_member_t *from, const sc_record_t *rec)
{
    sc_record_t none = *rec, here;
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && sc_layout_at(m, rec, &m->peer[i]) &&
            m->nfetches < FETCHES_AT_ONCE) {
            sc_fetch_from(m, rec->context, &rec->id, &m->peer[i].member);
        }
    }
    if (!m->lapsed && m->board->count.refused_full == 0 && all_there(m, rec) &&
        sc_layout_owner(m, rec) == m->own_route &&
        sc_store_get(m->store, rec->context, &rec->id, &here, NULL) == APR_NOTFOUND) {
        none.primary = SC_ROUTE_NONE;
        sc_place_answer(m, from, &none);
    }
}

/* A node that only knows the location does not notice by itself that the session has idled out. */
void sc_place_behind(sc_manager_t *m, const sc_member_t *from, const sc_record_t *said)
{
    sc_record_t rec;

    if (sc_store_get(m->store, said->context, &said->id, &rec, NULL) != APR_SUCCESS) {
        return;
    }
    if (!(rec.flags & SC_REC_TOMBSTONE)) {
        sc_place_answer(m, from, &rec);
    } else if (sc_mgr_msg_current(m, rec.context, &rec.id) == APR_SUCCESS) {
        sc_mgr_reply(m, from);
    }
}

static void heard_item(sc_manager_t *m, const sc_member_t *from, const sc_record_t *rec,
                       apr_uint64_t digest)
{
    apr_status_t rv = sc_place_merge(m, from, rec, digest, 0);

    if (is_front(m)) {
        return;
    }
    if (rv == APR_EGENERAL) {
        get_copy(m, from, rec);
    } else if (rv == APR_EEXIST) {
        sc_place_behind(m, from, rec);
    }
}

static void heard_group(sc_manager_t *m, const sc_member_t *from, const sc_msg_places_t *list,
                        const sc_group_t *g, apr_uint16_t context)
{
    sc_place_t item;
    sc_record_t rec;
    apr_uint64_t i;
    sc_rd_t items;

    sc_rd_init(&items, g->items, g->items_len);
    for (i = 0; i < g->n && sc_place_get(&items, &item) == APR_SUCCESS; i++) {
        sc_count(m->board, places_received, 1);
        if (sc_place_record(m, list, &item, context, &rec) != APR_SUCCESS) {
            (void)refuse(m, from, "it names nodes that nobody has heard of");
        } else {
            heard_item(m, from, &rec, item.digest);
        }
    }
}

/* A front end has no contexts of its own: it takes those that it hears of. */
static apr_status_t context_of(sc_manager_t *m, const sc_member_t *from, const sc_text_t *name,
                               apr_uint16_t *context)
{
    if (is_front(m)) {
        return sc_store_context(m->store, name->s, name->len, 1, context);
    }
    return sc_apply_context(m, from, name->s, name->len, context);
}

apr_status_t sc_place_heard(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_msg_places_t list;
    apr_uint16_t context;
    apr_uint64_t i;
    sc_group_t g;

    if (sc_msg_places_get(r, &list) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (m->fronts == NULL || m->fronts->deaths_only) {
        sc_count(m->board, ignored, 1); /* the delta manager: everybody holds everything */
        return APR_SUCCESS;
    }
    for (i = 0; i < list.ngroups && sc_places_group_get(r, &g) == APR_SUCCESS; i++) {
        if (context_of(m, from, &g.context, &context) == APR_SUCCESS) {
            heard_group(m, from, &list, &g, context);
        }
    }
    if (list.serial != 0 && !is_front(m)) {
        sc_pull_alive(m, from, list.serial);
    }
    if (list.flags & SC_PLACES_LAST) {
        sc_place_last(m, from, list.serial);
    }
    return APR_SUCCESS;
}

/* ---- deaths, as a front end hears of them ---------------------------------------------------- */

static void forget_dead(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    apr_time_t now = sc_mgr_now(m);
    sc_record_t rec;

    memset(&rec, 0, sizeof(rec));
    rec.id = *id;
    rec.context = context;
    rec.flags = SC_REC_TOMBSTONE;
    rec.max_idle_s = SC_DEAD_INVALIDATED;
    rec.created = rec.accessed = now;
    rec.due = now + SC_FRONT_DEAD;
    if (sc_store_put(m->store, &rec, NULL, 0) != APR_SUCCESS) {
        (void)sc_store_remove(m->store, context, id);
    }
}

apr_status_t sc_place_dead(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    apr_uint64_t ngroups, i, k;
    apr_uint16_t context;
    sc_stamp_t stamp;
    sc_rd_t items;
    sc_group_t g;
    sc_id_t id;

    if (sc_msg_groups_get(r, SC_EVT_REMOVE, &ngroups) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    for (i = 0; i < ngroups && sc_group_get(r, &g) == APR_SUCCESS; i++) {
        if (context_of(m, from, &g.context, &context) != APR_SUCCESS) {
            continue; /* with the delta manager it may be the first word about that space */
        }
        sc_rd_init(&items, g.items, g.items_len);
        for (k = 0; k < g.n && sc_item_expired_get(&items, &id, &stamp) == APR_SUCCESS; k++) {
            forget_dead(m, context, &id);
        }
    }
    return APR_SUCCESS;
}
