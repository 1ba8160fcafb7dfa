/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of location: what the others do. A copy that comes is kept as any session that this node
 * does not hold, until a location says that it does. Who accepts a location acts upon it at once.
 *
 * First it is asked for a promise (move_claim.c). With that the claimer gets what is in the copy
 * here and may not be in his: what he moves is the latest that those know who have promised.
 *
 * A reply lists what was not promised or accepted: with the location that is known here and the
 * number that was promised to somebody else, or with no location if this node is to hold what it
 * does not have.
 */
#include <string.h>

#include "move.h"

typedef struct verdict_t {
    sc_manager_t *m;
    const sc_member_t *from;
    sc_places_t *refused;
    int bad; /* the reply is not complete */
} verdict_t;

/* ---- NOTIFY --------------------------------------------------------------------------------- */

/* Refused: it is somewhere else, as far as is known here. */
static void say(verdict_t *v, const sc_record_t *known)
{
    v->bad |= sc_places_add(v->refused, v->m->store, known, 0) != APR_SUCCESS;
}

/* Refused: a number was promised that is higher, or the same to somebody else. */
static void say_promised(verdict_t *v, const sc_record_t *in, apr_uint32_t number)
{
    v->bad |= sc_places_number(v->refused, v->m->store, in, 0, number) != APR_SUCCESS;
}

/* Refused: there is no copy here. */
static void say_none(verdict_t *v, const sc_record_t *in)
{
    sc_record_t none;

    memset(&none, 0, sizeof(none));
    none.id = in->id;
    none.context = in->context;
    none.epoch = in->epoch;
    say(v, &none);
}

static void tell_death(verdict_t *v, const sc_record_t *dead)
{
    if (sc_mgr_msg_current(v->m, dead->context, &dead->id) == APR_SUCCESS) {
        sc_mgr_reply(v->m, v->from);
    }
}

/* What this node itself has asked for it has accepted, though here it counts when it is decided.
 * Two that could not talk may have asked for different ones with one number: the names say which
 * counts, so only one of them gives way. @return 1: that is newer than a location */
static int asks_newer(const sc_manager_t *m, const sc_move_t *move, const sc_record_t *in)
{
    return move != NULL && move->asked && sc_layout_cmp(m, &move->base, in) > 0;
}

/* Nothing is known here of a session, or nothing that counts, so its location is harmless news:
 * unless this node is to hold it. */
static void accept_unknown(verdict_t *v, const sc_record_t *in, apr_status_t rv)
{
    if (rv == APR_EINVAL || sc_layout_here(v->m, in)) {
        say_none(v, in);
    }
}

static void take(verdict_t *v, const sc_record_t *in, apr_uint64_t digest)
{
    sc_manager_t *m = v->m;
    sc_move_t *move;
    sc_record_t now;
    apr_status_t rv = sc_place_merge(m, v->from, in, digest, 1);

    if (rv != APR_SUCCESS) {
        if (sc_store_get(m->store, in->context, &in->id, &now, NULL) == APR_SUCCESS &&
            rv == APR_EEXIST) {
            say(v, &now);
        } else {
            accept_unknown(v, in, rv);
        }
        return;
    }
    if (sc_layout_here(m, in)) {
        sc_promise_open(m, in, v->from->store_id);
        sc_fetch_has_come(m, in->context, &in->id);
    }
    move = sc_move_find(m, in->context, &in->id);
    if (move != NULL) {
        sc_move_drop(move);
    }
}

/* @return 1: it has died here for good, and the other one is told */
static int is_dead(verdict_t *v, const sc_record_t *rec, const sc_record_t *in)
{
    if (!(rec->flags & SC_REC_TOMBSTONE) || rec->max_idle_s == SC_DEAD_IDLE) {
        return 0;
    }
    tell_death(v, rec);
    say_none(v, in);
    return 1;
}

static void notified(verdict_t *v, const sc_record_t *in, apr_uint64_t digest)
{
    sc_manager_t *m = v->m;
    const sc_move_t *move = sc_move_find(m, in->context, &in->id);
    sc_record_t rec;
    apr_status_t rv = sc_store_get(m->store, in->context, &in->id, &rec, NULL);
    int here = sc_layout_here(m, in);
    apr_uint32_t promised = sc_promise_number(m, rv == APR_SUCCESS ? &rec : in);

    if (rv == APR_SUCCESS && (rec.flags & SC_REC_TOMBSTONE)) {
        if (!is_dead(v, &rec, in) && here) {
            say_none(v, in);
        }
        return;
    }
    if (rv == APR_SUCCESS && sc_layout_cmp(m, in, &rec) < 0) {
        say(v, &rec);
    } else if (rv == APR_SUCCESS && sc_layout_cmp(m, in, &rec) == 0) {
        if (here && (rec.flags & SC_REC_PROXY)) {
            say_none(v, in);
        }
    } else if (asks_newer(m, move, in)) {
        say(v, &move->base);
    } else if (promised > in->epoch) {
        say_promised(v, in, promised);
    } else {
        take(v, in, digest);
    }
}

/* ---- CLAIM ---------------------------------------------------------------------------------- */

/* What is here may have something that the copy of whoever is to move the session has not: a change
 * that was acknowledged by others. It gets there before the answer. */
static void bring_up(verdict_t *v, const sc_record_t *rec, apr_uint64_t digest)
{
    sc_manager_t *m = v->m;

    if (!(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) &&
        (sc_layout_here(m, rec) || sc_lost_pending(m, rec->context, &rec->id)) &&
        sc_body_digest(m->old.data, m->old.len) != digest) {
        sc_mgr_msg_whole(m, rec, &m->old);
        sc_mgr_reply(m, v->from);
    }
}

/* @param base the location that the other one begins from, @param number that he wants */
static void claimed(verdict_t *v, const sc_record_t *base, apr_uint32_t number, apr_uint64_t digest)
{
    sc_manager_t *m = v->m;
    sc_move_t *move = sc_move_find(m, base->context, &base->id);
    sc_record_t rec;
    apr_status_t rv = sc_store_get(m->store, base->context, &base->id, &rec, NULL);
    const sc_record_t *known = rv == APR_SUCCESS ? &rec : base;

    if (rv == APR_SUCCESS && is_dead(v, &rec, base)) {
        return;
    }
    if (rv == APR_SUCCESS && !(rec.flags & SC_REC_TOMBSTONE) && rec.epoch > base->epoch) {
        say(v, &rec);
        return;
    }
    if (asks_newer(m, move, base)) {
        say(v, &move->base);
        return;
    }
    if (!sc_promise_free(m, known, number, v->from->store_id)) {
        say_promised(v, base, sc_promise_number(m, known));
        return;
    }
    if (rv != APR_SUCCESS || rec.epoch < base->epoch) {
        (void)sc_place_merge(m, v->from, base, digest, 0);
    }
    if (sc_store_get(m->store, base->context, &base->id, &rec, &m->old) == APR_SUCCESS) {
        bring_up(v, &rec, digest);
    }
    sc_promise_make(m, base, number, v->from->store_id);
    if (move != NULL) {
        sc_move_drop(move); /* the other one goes on */
    }
}

/* ---- both ----------------------------------------------------------------------------------- */

static void notified_group(verdict_t *v, const sc_msg_places_t *list, const sc_group_t *g)
{
    apr_uint16_t context;
    sc_place_t item;
    sc_record_t in;
    apr_uint64_t i;
    sc_rd_t items;

    if (sc_apply_context(v->m, v->from, g->context.s, g->context.len, &context) != APR_SUCCESS) {
        return; /* nothing of it is kept here */
    }
    sc_rd_init(&items, g->items, g->items_len);
    for (i = 0; i < g->n && sc_place_get(&items, &item) == APR_SUCCESS; i++) {
        apr_status_t rv = sc_place_record(v->m, list, &item, context, &in);

        if (rv == APR_SUCCESS && in.primary != SC_ROUTE_NONE &&
            (!(list->flags & SC_PLACES_CLAIM) ||
             (item.number > item.epoch &&
              sc_place_possible(v->m, v->from, item.epoch, item.number)))) {
            if (list->flags & SC_PLACES_DECIDED) {
                sc_promise_decided(v->m, &in);
            } else if (list->flags & SC_PLACES_CLAIM) {
                claimed(v, &in, item.number, item.digest);
            } else {
                notified(v, &in, item.digest);
            }
        } else {
            sc_count(v->m->board, records_refused, 1);
            in.id = item.id;
            in.context = context;
            in.epoch = item.epoch;
            say_none(v, &in);
        }
    }
}

apr_status_t sc_move_notified(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_msg_places_t list;
    verdict_t v = {m, from, NULL, 0};
    apr_uint64_t i;
    sc_group_t g;

    if (sc_msg_places_get(r, &list) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (m->moves == NULL) {
        sc_count(m->board, ignored, 1);
        return APR_SUCCESS;
    }
    v.refused = sc_places_create();
    if (v.refused == NULL) {
        return APR_ENOMEM;
    }
    for (i = 0; i < list.ngroups && sc_places_group_get(r, &g) == APR_SUCCESS; i++) {
        notified_group(&v, &list, &g);
    }
    if (!v.bad && !(list.flags & SC_PLACES_DECIDED)) {
        sc_buf_clear(&m->msg);
        sc_places_put(&m->msg, SC_EVT_NOTIFY_REPLY, list.serial,
                      sc_mgr_is_blank(m) ? SC_PLACES_BLANK : 0, v.refused, m->store);
        sc_mgr_reply(m, from);
    }
    sc_places_free(v.refused);
    return APR_SUCCESS;
}

/* ---- COPY ----------------------------------------------------------------------------------- */

/* A copy that was held here has to go when it comes with a location that is newer, and not here.
 * But this node is to hold it by the next one: then it stays, like one that is new here. */
static apr_status_t copied(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                           const sc_wire_session_t *w)
{
    sc_record_t rec;
    int changed;
    apr_status_t rv = sc_mgr_merge_whole(m, from, context, w, &changed);

    if (rv == APR_SUCCESS && !(w->flags & SC_REC_TOMBSTONE) &&
        sc_store_get(m->store, context, &w->id, &rec, NULL) == APR_SUCCESS &&
        (rec.flags & SC_REC_PROXY)) {
        rv = sc_mgr_merge_whole(m, from, context, w, &changed);
    }
    return rv;
}

apr_status_t sc_move_copied(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_wire_session_t w;
    apr_uint16_t context;
    sc_msg_data_t d;
    apr_uint64_t i;

    if (sc_msg_data_get(r, SC_EVT_COPY, &d) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    for (i = 0; i < d.count; i++) {
        if (sc_wire_session_get(r, &w) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        /* what does not fit is missed when the location is accepted */
        if (m->moves != NULL &&
            sc_apply_context(m, from, w.context, w.context_len, &context) == APR_SUCCESS &&
            copied(m, from, context, &w) == APR_SUCCESS) {
            sc_count(m->board, copies_received, 1);
        }
    }
    return APR_SUCCESS;
}

/* ---- TAKE ----------------------------------------------------------------------------------- */

/* @param to the new primary */
static void give(sc_manager_t *m, const sc_record_t *rec, apr_uint16_t to)
{
    sc_move_t *move;
    sc_record_t want;

    if (m->moves == NULL || m->stopped || sc_move_find(m, rec->context, &rec->id) != NULL ||
        !sc_move_want(m, rec, to, 0, &want)) {
        return;
    }
    move = sc_move_add(m, rec, &want, 1);
    if (move != NULL) {
        move->taker = to;
        (void)sc_move_begin(m, move);
    }
}

apr_status_t sc_move_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_msg_take_t t;
    apr_uint16_t context;
    sc_record_t rec;

    if (sc_msg_take_get(r, &t) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (peer == NULL || m->moves == NULL ||
        sc_apply_context(m, from, t.context.s, t.context.len, &context) != APR_SUCCESS ||
        sc_store_get(m->store, context, &t.id, &rec, NULL) != APR_SUCCESS ||
        (rec.flags & SC_REC_TOMBSTONE)) {
        return APR_SUCCESS;
    }
    if (!sc_move_mine(m, &rec)) {
        sc_place_tell(m, from, &rec);
    } else if (peer->member.node_state == SC_NODE_READY && sc_layout_usable(m, peer->route)) {
        give(m, &rec, peer->route);
    } else if (sc_node_going(peer->member.node_state)) {
        give(m, &rec, m->own_route); /* it needs other holders for a change, and is to be none */
    }
    return APR_SUCCESS;
}

void sc_move_take(sc_manager_t *m, const sc_record_t *rec)
{
    sc_msg_take_t t;
    sc_peer_t *owner;

    if (sc_move_mine(m, rec)) {
        give(m, rec, m->own_route);
        return;
    }
    owner = sc_layout_peer(m, sc_layout_owner(m, rec));
    if (owner == NULL) {
        return;
    }
    t.context.s = sc_store_context_name(m->store, rec->context);
    t.context.len = strlen(t.context.s);
    t.id = rec->id;
    t.epoch = rec->epoch;
    sc_buf_clear(&m->msg);
    sc_msg_take_put(&m->msg, &t);
    sc_mgr_reply(m, &owner->member);
}
