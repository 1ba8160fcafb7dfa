/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Tombstones: sessions that are dead, and ids that were changed.
 *
 *   INVALIDATED  final: nothing brings the id back, whatever its stamp (DESIGN I11)
 *   RENAMED      final for the id; the session lives on as its heir, whose id the tombstone keeps
 *   IDLE         gone, unless somebody knows of a later change, or of an access that leaves it
 * time: whoever declared it idle may have been cut off from the node that serves its user
 *
 * A change of id is no moment that all nodes share. Others may change or end the session under the
 * old id before they hear of it, on the other side of a partition even. That was meant for the same
 * session and counts for the heir. It cannot be made to depend on how late it was done: clocks need
 * not agree (I7), and by order of arrival the nodes would not converge (I5). A node that has heard
 * of the change refuses the old id to its children, so there is an end to it.
 *
 * The heir's id has to be found again by an engine that takes over, and a tombstone has no body. It
 * stands where a tombstone needs nothing else: in the time of creation, the epoch, and the node of
 * the stamp.
 */
#include <string.h>

#include "internal.h"

#define HOPS_MAX 8 /* of changed ids; a circle needs a broken peer, and ends here */

/* ---- heirs ---------------------------------------------------------------------------------- */

_Static_assert(sizeof(((sc_record_t *)0)->created) == 8 && sizeof(((sc_record_t *)0)->epoch) == 4 &&
                   sizeof(((sc_record_t *)0)->stamp.node) == 4,
               "the three places hold an id exactly");

static void pack_heir(sc_record_t *rec, const sc_id_t *heir)
{
    memcpy(&rec->created, heir->b, 8);
    memcpy(&rec->epoch, heir->b + 8, 4);
    memcpy(&rec->stamp.node, heir->b + 12, 4);
}

static sc_id_t heir_of(const sc_record_t *rec)
{
    sc_id_t heir;

    memcpy(heir.b, &rec->created, 8);
    memcpy(heir.b + 8, &rec->epoch, 4);
    memcpy(heir.b + 12, &rec->stamp.node, 4);
    return heir;
}

static int is_renamed(const sc_record_t *rec)
{
    return (rec->flags & SC_REC_TOMBSTONE) && rec->max_idle_s == SC_DEAD_RENAMED;
}

int sc_record_heir(const sc_record_t *rec, sc_id_t *heir)
{
    if (!is_renamed(rec)) {
        return 0;
    }
    *heir = heir_of(rec);
    return 1;
}

void sc_mgr_wire_tombstone(const sc_record_t *rec, sc_wire_session_t *w)
{
    w->body_len = 0;
    w->age_ms = 0;
    w->epoch = 0;
    if (is_renamed(rec)) {
        w->heir = heir_of(rec);
        w->stamp.node = 0;
    }
}

apr_status_t sc_mgr_get_heir(sc_manager_t *m, apr_uint16_t context, sc_id_t *id, sc_record_t *rec)
{
    apr_status_t rv = sc_store_get(m->store, context, id, rec, &m->old);
    int hops;

    for (hops = 0; hops < HOPS_MAX && rv == APR_SUCCESS && is_renamed(rec); hops++) {
        *id = heir_of(rec);
        rv = sc_store_get(m->store, context, id, rec, &m->old);
    }
    return rv;
}

void sc_mgr_tell_heir(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_id_t heir = *id;
    sc_record_t rec;

    if (sc_mgr_get_heir(m, context, &heir, &rec) == APR_SUCCESS &&
        !(rec.flags & SC_REC_TOMBSTONE) && sc_mgr_msg_current(m, context, &heir) == APR_SUCCESS) {
        sc_mgr_broadcast(m, context, &heir);
    }
}

/* ---- burying -------------------------------------------------------------------------------- */

apr_status_t sc_mgr_bury(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                         const sc_stamp_t *stamp, unsigned int reason, const sc_id_t *heir)
{
    apr_time_t now = sc_mgr_now(m);
    sc_record_t rec;

    if (sc_store_get(m->store, context, id, &rec, NULL) != APR_SUCCESS) {
        memset(&rec, 0, sizeof(rec));
        rec.id = *id;
        rec.context = context;
    }
    rec.flags = SC_REC_TOMBSTONE;
    rec.max_idle_s = reason;
    rec.created = rec.accessed = now;
    rec.stamp = *stamp;
    rec.due = now + (reason == SC_DEAD_IDLE
                         ? SC_IDLE_TOMBSTONE
                         : apr_time_from_sec((apr_time_t)m->config->delta.tombstone_s));
    if (heir != NULL) {
        pack_heir(&rec, heir);
    }
    return sc_mgr_put(m, &rec, NULL, 0);
}

/* The session was ended under its old id. */
static void bury_heir(sc_manager_t *m, apr_uint16_t context, const sc_id_t *first,
                      const sc_stamp_t *stamp)
{
    sc_id_t id = *first;
    sc_record_t rec;
    apr_status_t rv = sc_mgr_get_heir(m, context, &id, &rec);

    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && (!(rec.flags & SC_REC_TOMBSTONE) ||
                                                     rec.max_idle_s == SC_DEAD_IDLE))) {
        (void)sc_mgr_bury(m, context, &id, stamp, SC_DEAD_INVALIDATED, NULL);
    }
}

/* Only the location is known here; the heir is where the session was. */
static apr_status_t put_proxy(sc_manager_t *m, const sc_record_t *old, const sc_id_t *heir)
{
    sc_record_t rec = *old;

    rec.id = *heir;
    rec.due = sc_mgr_due(m, &rec);
    (void)sc_store_put(m->store, &rec, NULL, 0); /* no room: then it is asked for */
    return APR_SUCCESS;
}

/* A session that lives here under its old id goes to its heir, merged with what is there. */
static apr_status_t move(sc_manager_t *m, const sc_record_t *old, const sc_id_t *heir, int *news)
{
    sc_incoming_t in;
    sc_record_t rec;
    sc_id_t id = *heir;
    apr_status_t rv;

    rv = sc_store_get(m->store, old->context, &old->id, &rec, &m->moved);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    in.stamp = rec.stamp;
    in.max_idle_s = rec.max_idle_s;
    sc_incoming_locate(&in, &rec);
    in.doubt = rec.flags & SC_REC_DOUBT;
    in.created = rec.created;
    in.accessed = rec.accessed;
    in.body = m->moved.data;
    in.body_len = m->moved.len;

    rv = sc_mgr_get_heir(m, old->context, &id, &rec);
    if (old->flags & SC_REC_PROXY) {
        return rv == APR_NOTFOUND ? put_proxy(m, old, &id) : rv;
    }
    if (rv == APR_SUCCESS && (rec.flags & SC_REC_PROXY)) {
        if (sc_layout_cmp(m, &rec, old) > 0) {
            sc_incoming_locate(&in, &rec);
        }
        rv = APR_NOTFOUND;
    }
    if (rv == APR_NOTFOUND) {
        rv = sc_mgr_put_new(m, old->context, &id, &in, news);
    } else if (rv == APR_SUCCESS && !(rec.flags & SC_REC_TOMBSTONE)) {
        rv = sc_mgr_merge_live(m, &rec, &in, news);
    }
    if (rv == APR_SUCCESS && sc_layout_here(m, old)) {
        sc_fetch_has_come(m, old->context, &id);
    }
    return rv;
}

/* ---- merging -------------------------------------------------------------------------------- */

/* Whether a session here outlives the news that it has idled out elsewhere. */
static int survives(sc_manager_t *m, sc_record_t *rec, const sc_stamp_t *stamp)
{
    apr_time_t now = sc_mgr_now(m);
    int c = sc_stamp_cmp(&rec->stamp, stamp);

    if (c == 0) {
        sc_expiry_refresh(m, rec);
    }
    return c > 0 || (c == 0 && sc_mgr_outlives(m, rec->max_idle_s, sc_mgr_age(now, rec->accessed)));
}

/* News of a death where a tombstone is. @return whether it takes that one's place */
static int is_stronger(sc_manager_t *m, const sc_record_t *rec, const sc_stamp_t *stamp,
                       unsigned int reason, const sc_id_t *heir)
{
    sc_id_t known;

    if (rec->max_idle_s == SC_DEAD_IDLE || reason == SC_DEAD_IDLE) {
        return reason < rec->max_idle_s;
    }
    if (rec->max_idle_s == SC_DEAD_INVALIDATED && reason == SC_DEAD_RENAMED) {
        bury_heir(m, rec->context, heir, &rec->stamp);
        return 0;
    }
    if (rec->max_idle_s == SC_DEAD_RENAMED && reason == SC_DEAD_INVALIDATED) {
        known = heir_of(rec);
        bury_heir(m, rec->context, &known, stamp);
        return 1;
    }
    /* of two ends of one kind the earlier one: so all nodes keep the same heir */
    return stamp->hlc < rec->stamp.hlc;
}

apr_status_t sc_mgr_merge_death(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                                const sc_stamp_t *stamp, unsigned int reason, const sc_id_t *heir,
                                int *changed, int *news)
{
    sc_record_t rec;
    apr_status_t rv;

    *changed = 0;
    *news = 0;
    rv = sc_store_get(m->store, context, id, &rec, NULL);
    if (rv == APR_NOTFOUND) {
        if (reason != SC_DEAD_IDLE) { /* else: gone is gone */
            /* it may have overtaken the session. No room for it? Then nothing is here to be lost */
            *changed = sc_mgr_bury(m, context, id, stamp, reason, heir) == APR_SUCCESS;
        }
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (rec.flags & SC_REC_TOMBSTONE) {
        if (!is_stronger(m, &rec, stamp, reason, heir)) {
            return APR_SUCCESS;
        }
    } else if (reason == SC_DEAD_IDLE && !(rec.flags & SC_REC_PROXY) && survives(m, &rec, stamp)) {
        *news = 1;
        return APR_SUCCESS;
    } else if (reason == SC_DEAD_RENAMED) {
        rv = move(m, &rec, heir, news);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    rv = sc_mgr_bury(m, context, id, stamp, reason, heir);
    *changed = rv == APR_SUCCESS;
    return rv;
}
