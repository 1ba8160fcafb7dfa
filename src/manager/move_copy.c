/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Copies of sessions whose location is to change: who gets one, how they go there, and whether they
 * have got there.
 *
 * A session goes to all those who are to hold it and do not, in blocks, once its number has been
 * claimed; and once more to all of them if others have changed it meanwhile. If it does not get to
 * one of them the move is tried again.
 */
#include <string.h>

#include "move.h"

/** Bytes of sessions in one COPY. */
#define BLOCK_BYTES (256 * 1024)

static void copy_ended(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t serial, apr_status_t rv);

/* ---- to whom -------------------------------------------------------------------------------- */

/* Places of those that are to hold the session and do not. */
apr_uint64_t sc_move_newcomers(sc_manager_t *m, const sc_record_t *rec, const sc_record_t *want)
{
    apr_uint64_t places = 0;
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && sc_record_holder(want, peer->route) != SC_HOLDER_NONE &&
            sc_record_holder(rec, peer->route) == SC_HOLDER_NONE) {
            places |= (apr_uint64_t)1 << i;
        }
    }
    return places;
}

/* With a quorum a change may have been acknowledged without some of the holders. Those that have it
 * can be outvoted no more than they can be left out: who stays gets all that they have first. */
static apr_uint64_t stayers(sc_manager_t *m, const sc_record_t *rec, const sc_record_t *want)
{
    int i, leaves = sc_record_holder(want, rec->primary) == SC_HOLDER_NONE;
    sc_record_t nowhere = {0};

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        leaves |= sc_record_holder(want, rec->backups[i]) == SC_HOLDER_NONE;
    }
    return m->config->quorum > 1 && leaves
               ? sc_move_newcomers(m, &nowhere, want) & ~sc_move_newcomers(m, rec, want)
               : 0;
}

void sc_move_plan_copies(sc_move_t *move, const sc_record_t *rec)
{
    move->stay = stayers(move->m, rec, &move->want);
    move->copy = move->stay | sc_move_newcomers(move->m, rec, &move->want);
}

void sc_move_behind(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_move_t *move = sc_move_find(m, context, id);

    if (move != NULL && move->stay != 0) {
        move->dirty = 1;
    }
}

/* ---- copying -------------------------------------------------------------------------------- */

/* The block in *data goes to the peer. */
static void post_copies(sc_moving_t *b, sc_peer_t *peer, sc_buf_t *data, apr_uint64_t count)
{
    sc_manager_t *m = b->m;
    sc_msg_data_t d = {b->serial, count, count};

    if (count == 0) {
        return;
    }
    sc_buf_clear(&m->msg);
    sc_msg_data_put(&m->msg, SC_EVT_COPY, &d);
    sc_put(&m->msg, data->data, data->len);
    if (data->err == APR_SUCCESS && sc_mgr_post(m, peer, copy_ended, b->serial) == APR_SUCCESS) {
        b->copies++;
        b->copied[peer - m->peer] = peer->serial;
        sc_count(m->board, copies_sent, count);
    } else {
        b->broken |= (apr_uint64_t)1 << (peer - m->peer);
    }
    sc_buf_clear(data);
}

static void copy_to(sc_moving_t *b, sc_peer_t *peer, sc_buf_t *data)
{
    sc_manager_t *m = b->m;
    apr_uint64_t bit = (apr_uint64_t)1 << (peer - m->peer);
    apr_uint64_t count = 0;
    sc_wire_session_t w;
    sc_record_t rec;
    sc_move_t *move;

    for (move = b->items; move != NULL; move = move->sibling) {
        if (!(move->copy & bit) ||
            sc_store_get(m->store, move->context, &move->id, &rec, &m->old) != APR_SUCCESS ||
            (rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY))) {
            continue;
        }
        sc_mgr_wire(m, &rec, m->old.data, m->old.len, &w);
        sc_wire_session_put(data, &w);
        count++;
        if (data->len >= BLOCK_BYTES) {
            post_copies(b, peer, data, count);
            count = 0;
        }
    }
    post_copies(b, peer, data, count);
}

static void copy_all(sc_moving_t *b)
{
    sc_manager_t *m = b->m;
    apr_uint32_t i;
    sc_buf_t data;

    sc_buf_init(&data, 128 * 1024 * 1024);
    b->phase = SC_MOVE_COPY;
    b->broken = 0;
    memset(b->copied, 0, sizeof(b->copied));
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            copy_to(b, &m->peer[i], &data);
        }
    }
    sc_buf_free(&data);
}

/* All copies have got there, or have not: who is to hold the session and has none would make the
 * others give theirs up for nothing. */
static void copied(sc_moving_t *b)
{
    sc_move_t *good = NULL, *failed = NULL, *move, *next;
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        /* it has gone, before or since, and is perhaps there again, without what was sent to it */
        b->broken |= (apr_uint64_t)(b->copied[i] == 0 || b->copied[i] != b->m->peer[i].serial) << i;
    }
    for (move = b->items; move != NULL; move = next) {
        apr_uint64_t broken = move->copy & b->broken;
        sc_move_t **list = broken != 0 ? &failed : &good;

        next = move->sibling;
        move->refused |= broken != 0;
        move->lack |= broken;
        move->sibling = *list;
        *list = move;
    }
    if (sc_move_part(b, good, failed)) {
        sc_move_ask(b, SC_MOVE_ASK);
    }
}

static void copy_ended(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t serial, apr_status_t rv)
{
    sc_moving_t *b = m->moves != NULL ? m->moves->batches : NULL;

    while (b != NULL && b->serial != serial) {
        b = b->next;
    }
    if (b == NULL || b->phase != SC_MOVE_COPY) {
        return;
    }
    if (rv != APR_SUCCESS && peer != NULL) {
        b->broken |= (apr_uint64_t)1 << (peer - m->peer);
    }
    b->copies -= b->copies > 0;
    if (b->copies > 0) {
        return;
    }
    if (b->accepted && b->items != NULL) {
        b->phase = SC_MOVE_ASK;
        sc_move_look_again(b);
        sc_move_decide(b);
    } else {
        copied(b);
    }
}

void sc_move_copy(sc_moving_t *b)
{
    sc_manager_t *m = b->m;
    sc_move_t *move;

    b->serial = ++m->moves->serial;
    b->copies = 0;
    for (move = b->items; move != NULL; move = move->sibling) {
        move->dirty = 0;
    }
    copy_all(b);
    if (b->copies == 0) {
        copied(b);
    } else {
        sc_move_look_again(b);
    }
}

/* All have accepted, but others have changed the sessions since they were copied. The number stays
 * the same: who is to be the primary acts upon it already, and would be in the way of a new one.
 * @param b as it was asked; it becomes a batch of these */
void sc_move_copy_again(sc_moving_t *b, sc_move_t *items)
{
    sc_manager_t *m = b->m;
    sc_move_t *move;

    memset(&b->timer, 0, sizeof(b->timer));
    b->serial = ++m->moves->serial;
    b->accepted = 1;
    b->copies = 0;
    b->items = items;
    b->next = m->moves->batches;
    m->moves->batches = b;
    for (move = items; move != NULL; move = move->sibling) {
        move->dirty = 0;
        move->tries++;
    }
    copy_all(b);
    if (b->copies == 0) {
        sc_move_ask(b, SC_MOVE_ASK);
    } else {
        sc_move_look_again(b);
    }
}

/* Whether those have answered that are to get copies: who does not know that it holds the session
 * would go on with an old copy when it hears of that later. */
void sc_move_judge_copies(sc_moving_t *b, sc_move_t *move)
{
    apr_uint64_t broken = b->broken & (b->accepted ? move->copy : move->stay);
    apr_uint64_t silent = move->copy & ~b->replied;

    if ((broken | silent) != 0) {
        move->refused = 1;
        move->lack |= broken;
        move->without |= silent;
    }
}
