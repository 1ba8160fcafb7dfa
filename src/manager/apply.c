/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Live changes of peers, applied before they are acknowledged (DESIGN I2).
 *
 * A delta for a session that is not here cannot be applied: this node lacks the rest of it. That is
 * said by a failure, upon which the sender sends the whole session; and the session is asked for
 * besides, because a sender that waits for no acknowledgement does not learn of the failure.
 *
 * With the backup manager a change goes to the holders, as its maker knows them. One made under an
 * older location is refused, so that it is repeated for the holders there are now, and its maker is
 * told of them; the same goes for a change that comes while this node is about to change the
 * location. What the change says is merged all the same, if the session is here: that is harmless.
 *
 * What still comes for an old id after a change of id was meant for the same session, by a node
 * that had not heard of it yet, and is led to the new id (death.c). That holds for peers only.
 * Children of this node get "absent" for an old id at once: that is what ids are changed for.
 */
#include <string.h>

#include "internal.h"

static void count_result(sc_manager_t *m, apr_status_t rv, int changed)
{
    if (rv == APR_SUCCESS && changed) {
        sc_count(m->board, applied, 1);
    } else if (rv == APR_SUCCESS) {
        sc_count(m->board, ignored, 1);
    }
}

/* ---- contexts ------------------------------------------------------------------------------- */

static apr_uint64_t digest(const sc_member_t *from, const char *name, apr_size_t len)
{
    apr_uint64_t h = 14695981039346656037ull;
    apr_size_t i;

    for (i = 0; i < sizeof(from->uid.b); i++) {
        h = (h ^ from->uid.b[i]) * 1099511628211ull;
    }
    for (i = 0; i < len; i++) {
        h = (h ^ (unsigned char)name[i]) * 1099511628211ull;
    }
    return h != 0 ? h : 1;
}

/* Tell a member, once, that its sessions of a context are not kept here. */
static void tell_unknown(sc_manager_t *m, const sc_member_t *from, const char *name, apr_size_t len)
{
    apr_uint64_t h = digest(from, name, len);
    sc_text_t text = {name, len};
    apr_uint32_t i;

    for (i = 0; i < SC_TOLD; i++) {
        if (m->told[i] == h) {
            return;
        }
    }
    if (!sc_log_allowed(&m->limit.context, sc_mgr_now(m), apr_time_from_sec(1), NULL)) {
        return; /* at the next occasion: this is for an administrator to read, not for a log to fill
                 */
    }
    m->told[m->next_told++ % SC_TOLD] = h;
    sc_log(
        m->cfg.log, SC_LOG_WARNING, 0,
        "SC0530: node %s sends sessions of context \"%.*s\", which this node (%s) does not have; "
        "they are not kept here. If it is the same application, the virtual hosts have different "
        "ServerNames: set SessionClusterContext in both",
        from->route, (int)len, name, m->config->route);
    sc_buf_clear(&m->msg);
    sc_msg_nocontext_put(&m->msg, &text);
    sc_mgr_reply(m, from);
}

apr_status_t sc_apply_context(sc_manager_t *m, const sc_member_t *from, const char *name,
                              apr_size_t len, apr_uint16_t *index)
{
    apr_status_t rv = sc_store_context(m->store, name, len, 0, index);

    if (rv != APR_SUCCESS) {
        tell_unknown(m, from, name, len);
        sc_count(m->board, ignored, 1);
        return APR_NOTFOUND;
    }
    return APR_SUCCESS;
}

apr_status_t sc_apply_nocontext(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    apr_uint16_t context;
    sc_text_t name;

    if (sc_msg_nocontext_get(r, &name) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (peer != NULL && sc_store_context(m->store, name.s, name.len, 0, &context) == APR_SUCCESS &&
        !(peer->lacks >> context & 1)) {
        peer->lacks |= (apr_uint64_t)1 << context;
        sc_move_review(m);
    }
    if (sc_log_allowed(&m->limit.nocontext, sc_mgr_now(m), apr_time_from_sec(1), NULL)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0531: node %s does not have context \"%.*s\" of this node (%s), so it keeps no "
               "copies of its sessions. If it is the same application, the virtual hosts have "
               "different ServerNames: set SessionClusterContext in both",
               from->route, (int)name.len, name.s, m->config->route);
    }
    return APR_SUCCESS;
}

/* ---- CREATED -------------------------------------------------------------------------------- */

/* Whether who sends this knows another location than there is, or will be in a moment: a higher
 * number was promised to somebody else, who need not hear of this change. */
static int is_outdated(sc_manager_t *m, const sc_member_t *from, const sc_record_t *rec,
                       apr_uint32_t epoch)
{
    return !(rec->flags & SC_REC_TOMBSTONE) &&
           (epoch < rec->epoch ||
            (epoch < rec->promised && !sc_promise_to(m, rec, from->store_id)) ||
            sc_promise_open_to(m, rec, from->store_id) || sc_move_refuses(m, rec));
}

/* Tell the maker of a change, which is refused, where the session is. */
static apr_status_t refuse_outdated(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                                    const sc_id_t *id)
{
    sc_record_t rec;

    sc_count(m->board, ignored, 1);
    if (sc_store_get(m->store, context, id, &rec, NULL) == APR_SUCCESS) {
        sc_place_tell(m, from, &rec);
        if (sc_promise_stale(m, &rec)) {
            sc_move_take(m, &rec); /* its owner does not know that this is the reason */
        }
    }
    return APR_EGENERAL;
}

/* Without a quorum two locations may have one number. Of these the names say which counts, and a
 * member that is no holder by that one must not acknowledge what was meant for a holder. */
static int is_lesser(sc_manager_t *m, const sc_wire_session_t *w, const sc_record_t *rec)
{
    sc_record_t said;

    return !(rec->flags & SC_REC_TOMBSTONE) && w->epoch == rec->epoch &&
           sc_place_of(m, w, rec->context, &said) && sc_layout_cmp(m, &said, rec) < 0;
}

/* Backup manager: a whole session. */
static apr_status_t apply_backup(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                                 const sc_wire_session_t *w, int *changed)
{
    sc_record_t rec;
    apr_status_t rv = sc_store_get(m->store, context, &w->id, &rec, NULL);
    int live = rv == APR_SUCCESS && !(rec.flags & SC_REC_TOMBSTONE);
    int outdated = live && (is_outdated(m, from, &rec, w->epoch) || is_lesser(m, w, &rec));

    *changed = 0;
    if (!(w->flags & SC_REC_TOMBSTONE)) {
        if (!sc_place_possible(m, from, live ? rec.epoch : 0, w->epoch)) {
            return APR_SUCCESS; /* taken and thrown away: it would be repeated */
        }
        if (outdated && (rec.flags & SC_REC_PROXY)) {
            return refuse_outdated(m, from, context, &w->id);
        }
    }
    rv = sc_mgr_merge_whole(m, from, context, w, changed);
    if (rv == APR_SUCCESS && outdated && !(w->flags & SC_REC_TOMBSTONE)) {
        return refuse_outdated(m, from, context, &w->id);
    }
    return rv;
}

apr_status_t sc_apply_created(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_wire_session_t w;
    apr_uint16_t context;
    apr_status_t rv;
    int changed;

    if (sc_msg_created_get(r, &w) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (sc_apply_context(m, from, w.context, w.context_len, &context) != APR_SUCCESS) {
        return APR_SUCCESS;
    }
    rv = sc_mgr_is_backup(m) ? apply_backup(m, from, context, &w, &changed)
                             : sc_mgr_merge_whole(m, from, context, &w, &changed);
    count_result(m, rv, changed);
    return rv == APR_EINVAL ? APR_EGENERAL : rv;
}

/* ---- DELTA ---------------------------------------------------------------------------------- */

/* A peer changed what is dead here: it missed that. */
static void tell_dead(sc_manager_t *m, const sc_member_t *from, const sc_record_t *rec)
{
    if (rec->max_idle_s != SC_DEAD_IDLE &&
        sc_mgr_msg_current(m, rec->context, &rec->id) == APR_SUCCESS) {
        sc_mgr_reply(m, from);
    }
}

static void incoming_delta(sc_manager_t *m, const sc_member_t *from, const sc_msg_delta_t *d,
                           const sc_record_t *rec, sc_incoming_t *in)
{
    memset(in, 0, sizeof(*in));
    in->stamp = d->stamp;
    in->max_idle_s = d->max_idle_s;
    in->primary = rec->primary;
    in->epoch = d->epoch;
    in->created = rec->created;
    in->accessed = sc_mgr_ago(sc_mgr_now(m), d->idle_ms);
    in->body = d->body;
    in->body_len = d->body_len;
    in->located = 0; /* a change does not move a session; numbers without names say little */
    if (d->flags & SC_MSG_PRIMARY) {
        in->primary = SC_ROUTE_NONE;
        (void)sc_store_route(m->store, from->route, strlen(from->route), 1, &in->primary);
    }
}

/* A change of the session that stands in *rec, or in whose place it was found to be dead. */
static apr_status_t apply_to(sc_manager_t *m, const sc_member_t *from, const sc_msg_delta_t *d,
                             sc_record_t *rec, int *changed)
{
    sc_incoming_t in;
    apr_status_t rv;

    if (rec->flags & SC_REC_TOMBSTONE) {
        tell_dead(m, from, rec);
        return APR_SUCCESS;
    }
    incoming_delta(m, from, d, rec, &in);
    rv = sc_mgr_merge_live(m, rec, &in, changed);
    if (*changed && memcmp(&d->id, &rec->id, sizeof(d->id)) != 0) {
        sc_mgr_tell_heir(m, rec->context, &rec->id);
    }
    return rv;
}

/* Backup manager: a change of a session whose record, if there is one, is *rec.
 * @return APR_NOTFOUND: the whole session is needed, with its location */
static apr_status_t apply_diff(sc_manager_t *m, const sc_member_t *from, const sc_msg_delta_t *d,
                               sc_record_t *rec, int *changed)
{
    apr_uint32_t epoch = rec->epoch;
    apr_status_t rv;

    if (rec->flags & SC_REC_TOMBSTONE) {
        return apply_to(m, from, d, rec, changed);
    }
    if (!sc_place_possible(m, from, epoch, d->epoch)) {
        return APR_SUCCESS;
    }
    if (rec->flags & SC_REC_PROXY) {
        if (is_outdated(m, from, rec, d->epoch)) {
            return refuse_outdated(m, from, rec->context, &rec->id);
        }
        if (sc_layout_here(m, rec)) {
            sc_fetch_from(m, rec->context, &rec->id, from);
        }
        return APR_NOTFOUND;
    }
    rv = apply_to(m, from, d, rec, changed);
    if (rv == APR_SUCCESS && is_outdated(m, from, rec, d->epoch)) {
        return refuse_outdated(m, from, rec->context, &rec->id);
    }
    if (rv == APR_SUCCESS && d->epoch == epoch && m->config->quorum < 2 &&
        !sc_layout_here(m, rec)) {
        return APR_NOTFOUND; /* by which location is it a holder? See is_lesser */
    }
    return rv == APR_SUCCESS && d->epoch > epoch ? APR_NOTFOUND : rv;
}

apr_status_t sc_apply_delta(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    apr_uint16_t context;
    sc_msg_delta_t d;
    sc_record_t rec;
    apr_status_t rv;
    sc_id_t id;
    int changed = 0;

    if (sc_msg_delta_get(r, SC_EVT_SESSION_DELTA, &d) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (sc_apply_context(m, from, d.context.s, d.context.len, &context) != APR_SUCCESS) {
        return APR_SUCCESS;
    }
    rv = sc_mgr_observe(m, from, &d.stamp, d.body, d.body_len);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    id = d.id;
    rv = sc_mgr_get_heir(m, context, &id, &rec);
    if (rv == APR_NOTFOUND ||
        (rv == APR_SUCCESS && (rec.flags & SC_REC_TOMBSTONE) && rec.max_idle_s == SC_DEAD_IDLE &&
         sc_stamp_cmp(&d.stamp, &rec.stamp) > 0)) {
        if (!sc_mgr_is_backup(m)) {
            sc_fetch_from(m, context, &d.id, from);
        }
        return APR_NOTFOUND;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_mgr_is_backup(m) ? apply_diff(m, from, &d, &rec, &changed)
                                 : apply_to(m, from, &d, &rec, &changed);
    }
    count_result(m, rv, changed);
    return rv == APR_EINVAL ? APR_EGENERAL : rv;
}

/* ---- CHANGE_SESSION_ID ---------------------------------------------------------------------- */

/* Backup manager: who acknowledges is counted among those that have the session under its new id.
 * So a holder that has not got all of it asks for the whole, and who knows another location, or is
 * about to change it, refuses.
 * @param rec what is here under the new id, @param moving the session was being moved here */
static apr_status_t has_all(sc_manager_t *m, const sc_member_t *from, const sc_msg_delta_t *d,
                            const sc_record_t *rec, int moving)
{
    if (rec->flags & SC_REC_TOMBSTONE) {
        return APR_SUCCESS;
    }
    if (moving || d->epoch < rec->epoch) {
        return refuse_outdated(m, from, rec->context, &rec->id);
    }
    if (!sc_layout_here(m, rec)) {
        return APR_SUCCESS;
    }
    if (rec->flags & SC_REC_PROXY) {
        sc_fetch_from(m, rec->context, &rec->id, from);
        return APR_NOTFOUND;
    }
    return sc_body_digest(m->out.data, m->out.len) == d->digest ? APR_SUCCESS : APR_NOTFOUND;
}

/* What came on top differs from what its maker has: it was changed meanwhile, here or there. A copy
 * that is not held here is no news, unless it was kept because of something in it. */
static int is_news(sc_manager_t *m, const sc_msg_delta_t *d, const sc_record_t *rec, int kept)
{
    return sc_body_digest(m->out.data, m->out.len) != d->digest && (sc_layout_here(m, rec) || kept);
}

/* First what is here under the old id goes to the new one, then the delta comes on top. */
static apr_status_t change_id(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                              const sc_msg_delta_t *d, int *changed)
{
    int merged = 0, news, moving = 0, kept = 0;
    sc_id_t id = d->new_id;
    sc_incoming_t in;
    sc_record_t rec;
    apr_status_t rv;

    if (sc_mgr_is_backup(m) && sc_store_get(m->store, context, &d->id, &rec, NULL) == APR_SUCCESS) {
        kept = sc_move_has_news(m, &rec);
        moving = sc_layout_here(m, &rec) && sc_move_pending(m, context, &d->id);
    }
    rv = sc_mgr_merge_death(m, context, &d->id, &d->stamp, SC_DEAD_RENAMED, &d->new_id, changed,
                            &news);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = sc_mgr_get_heir(m, context, &id, &rec);
    if (rv == APR_NOTFOUND && !sc_mgr_is_backup(m)) {
        sc_fetch_from(m, context, &id, from);
        return rv;
    }
    if (rv == APR_SUCCESS && (rec.flags & SC_REC_TOMBSTONE)) {
        tell_dead(m, from, &rec); /* somebody logged out meanwhile: that counts */
    } else if (rv == APR_SUCCESS && !(rec.flags & SC_REC_PROXY)) {
        incoming_delta(m, from, d, &rec, &in);
        rv = sc_mgr_merge_live(m, &rec, &in, &merged);
        *changed |= merged;
        if (rv == APR_SUCCESS && is_news(m, d, &rec, kept)) {
            sc_mgr_tell_heir(m, context, &id);
        }
    }
    return rv == APR_SUCCESS && sc_mgr_is_backup(m) ? has_all(m, from, d, &rec, moving) : rv;
}

apr_status_t sc_apply_change_id(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    apr_uint16_t context;
    sc_msg_delta_t d;
    apr_status_t rv;
    int changed = 0;

    if (sc_msg_delta_get(r, SC_EVT_CHANGE_SESSION_ID, &d) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (sc_apply_context(m, from, d.context.s, d.context.len, &context) != APR_SUCCESS) {
        return APR_SUCCESS;
    }
    rv = sc_mgr_observe(m, from, &d.stamp, d.body, d.body_len);
    if (rv == APR_SUCCESS) {
        rv = change_id(m, from, context, &d, &changed);
        count_result(m, rv, changed);
    }
    return rv == APR_EINVAL ? APR_EGENERAL : rv;
}

/* ---- ACCESSED ------------------------------------------------------------------------------- */

static void accessed_item(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                          apr_time_t accessed)
{
    sc_record_t rec;
    int changed = 0;

    if (sc_store_get(m->store, context, id, &rec, NULL) == APR_SUCCESS &&
        !(rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) && accessed > rec.accessed) {
        rec.accessed = accessed;
        changed =
            sc_store_touch(m->store, context, id, accessed, sc_mgr_due(m, &rec)) == APR_SUCCESS;
    }
    count_result(m, APR_SUCCESS, changed);
}

apr_status_t sc_apply_accessed(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    apr_time_t now = sc_mgr_now(m);
    apr_uint64_t ngroups, i, k, idle_ms;
    apr_uint16_t context;
    sc_rd_t items;
    sc_group_t g;
    sc_id_t id;

    if (sc_msg_groups_get(r, SC_EVT_SESSION_ACCESSED, &ngroups) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    for (i = 0; i < ngroups && sc_group_get(r, &g) == APR_SUCCESS; i++) {
        if (sc_apply_context(m, from, g.context.s, g.context.len, &context) != APR_SUCCESS) {
            continue;
        }
        sc_rd_init(&items, g.items, g.items_len);
        for (k = 0; k < g.n; k++) {
            if (sc_item_accessed_get(&items, &id, &idle_ms) == APR_SUCCESS) {
                accessed_item(m, context, &id, sc_mgr_ago(now, idle_ms));
            }
        }
    }
    return APR_SUCCESS;
}

/* ---- EXPIRED -------------------------------------------------------------------------------- */

static apr_status_t expired_item(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                                 const sc_id_t *id, const sc_stamp_t *stamp, unsigned int reason)
{
    int changed = 0, news = 0;
    apr_status_t rv = sc_mgr_observe(m, from, stamp, NULL, 0);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = sc_mgr_merge_death(m, context, id, stamp, reason, NULL, &changed, &news);
    if (news && sc_mgr_msg_current(m, context, id) == APR_SUCCESS) {
        sc_mgr_broadcast(m, context, id);
    }
    count_result(m, rv, changed);
    return rv;
}

apr_status_t sc_apply_expired(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    apr_status_t result = APR_SUCCESS;
    apr_uint64_t ngroups, i, k;
    apr_uint16_t context;
    sc_stamp_t stamp;
    sc_rd_t items;
    sc_group_t g;
    sc_id_t id;

    if (sc_msg_groups_get(r, SC_EVT_SESSION_EXPIRED, &ngroups) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    for (i = 0; i < ngroups && sc_group_get(r, &g) == APR_SUCCESS; i++) {
        if (sc_apply_context(m, from, g.context.s, g.context.len, &context) != APR_SUCCESS) {
            continue;
        }
        sc_rd_init(&items, g.items, g.items_len);
        for (k = 0; k < g.n; k++) {
            if (sc_item_expired_get(&items, &id, &stamp) == APR_SUCCESS) {
                apr_status_t rv = expired_item(m, from, context, &id, &stamp, g.reason);

                result = result == APR_SUCCESS ? rv : result;
            }
        }
    }
    return result == APR_EINVAL ? APR_EGENERAL : result;
}
