/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Requests that wait for a change of location: a change is not answered before there are as many
 * copies as there can be, and all know where. Bounded in number, and in time: then the request goes
 * on as it is.
 */
#include <stdlib.h>
#include <string.h>

#include "move.h"

#define WAITS_MAX 4096

struct sc_move_wait_t {
    sc_move_wait_t *next;
    sc_link_call_t call;
    sc_link_op_t op;
    int again;
    apr_time_t since;
    apr_size_t len;
    unsigned char body[];
};

/* Requests that have waited go on; some end in here, others may begin a move. */
void sc_move_let_go(sc_manager_t *m, sc_move_wait_t *w)
{
    while (w != NULL) {
        sc_move_wait_t *next = w->next;

        m->moves->nwaits--;
        sc_mgr_resume(m, &w->call, w->op, w->again, w->body, w->len, w->since, SC_DONE);
        free(w);
        w = next;
    }
}

sc_move_wait_t *sc_move_take_waits(sc_move_t *move)
{
    sc_move_wait_t *w = move->waits;

    sc_timer_cancel(move->m->cfg.timers, &move->patience);
    move->waits = NULL;
    move->tail = &move->waits;
    return w;
}

void sc_move_forget_waits(sc_move_wait_t *w)
{
    while (w != NULL) {
        sc_move_wait_t *next = w->next;

        free(w);
        w = next;
    }
}

static void patience_ended(void *baton, apr_time_t now)
{
    sc_move_t *move = baton;

    (void)now;
    sc_move_let_go(move->m, sc_move_take_waits(move));
}

/* How many of the holders of a record can be counted on. */
static int count_usable(sc_manager_t *m, const sc_record_t *rec)
{
    int i, n = sc_layout_usable(m, rec->primary);

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        n += sc_layout_usable(m, rec->backups[i]);
    }
    return n;
}

sc_move_wait_t *sc_move_keep(sc_manager_t *m, const sc_link_call_t *call, sc_link_op_t op,
                             int again, const unsigned char *body, apr_size_t len, apr_time_t since)
{
    sc_move_wait_t *w = m->moves->nwaits < WAITS_MAX ? malloc(sizeof(*w) + len) : NULL;

    if (w != NULL) {
        w->next = NULL;
        w->call = *call;
        w->op = op;
        w->again = again;
        w->since = since;
        w->len = len;
        memcpy(w->body, body, len);
        m->moves->nwaits++;
    }
    return w;
}

static apr_status_t park(sc_move_t *move, const sc_link_call_t *call, sc_link_op_t op, int again,
                         const unsigned char *body, apr_size_t len, apr_time_t since)
{
    sc_manager_t *m = move->m;
    sc_move_wait_t *w = sc_move_keep(m, call, op, again, body, len, since);

    if (w == NULL) {
        return APR_ENOSPC;
    }
    if (move->waits == NULL &&
        sc_timer_set(m->cfg.timers, &move->patience,
                     sc_mgr_now(m) + apr_time_from_msec(m->config->ack_wait_ms), patience_ended,
                     move) != APR_SUCCESS) {
        m->moves->nwaits--;
        free(w);
        return APR_ENOSPC;
    }
    *move->tail = w;
    move->tail = &w->next;
    return APR_SUCCESS;
}

/* Whether too few of its holders are there, and there could be more. The session is this node's. */
static int is_urgent(sc_manager_t *m, const sc_record_t *rec, sc_record_t *want)
{
    return m->moves != NULL && !m->stopped && sc_move_mine(m, rec) &&
           sc_move_want(m, rec, SC_ROUTE_NONE, 0, want) &&
           (count_usable(m, want) > count_usable(m, rec) || sc_promise_stale(m, rec));
}

apr_status_t sc_move_for(sc_manager_t *m, const sc_record_t *rec, const sc_link_call_t *call,
                         sc_link_op_t op, int again, const unsigned char *body, apr_size_t len,
                         apr_time_t since)
{
    sc_move_t *move;
    sc_record_t want;
    apr_status_t rv;

    if (!is_urgent(m, rec, &want)) {
        return APR_ENOTIMPL;
    }
    move = sc_move_find(m, rec->context, &rec->id);
    if (move != NULL) {
        return park(move, call, op, again, body, len, since);
    }
    if (sc_move_no_room(m, sc_move_newcomers(m, rec, &want), 1)) {
        return APR_ENOTIMPL;
    }
    move = sc_move_add(m, rec, &want, 1);
    if (move == NULL) {
        return APR_ENOSPC;
    }
    rv = park(move, call, op, again, body, len, since);
    if (rv == APR_SUCCESS) {
        (void)sc_move_begin(m, move);
    } else {
        sc_move_end(move, 0);
    }
    return rv;
}

/* Bits of the places of the holders that have not got a change. */
static apr_uint64_t lacking(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t has)
{
    apr_uint64_t places = 0;
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && !(has >> i & 1) && sc_layout_at(m, rec, &m->peer[i])) {
            places |= (apr_uint64_t)1 << i;
        }
    }
    return places;
}

/* A copy of which something is still on its way to the others is no reason any more when this node
 * has become a holder: it waits for whoever does not answer, and so would each change. */
static int is_moving(const sc_manager_t *m, const sc_record_t *rec)
{
    return sc_move_find(m, rec->context, &rec->id) != NULL ||
           (!sc_layout_here(m, rec) && sc_lost_pending(m, rec->context, &rec->id));
}

int sc_move_without(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t has, int ask)
{
    apr_uint64_t without;
    sc_move_t *move;
    sc_record_t want;

    if (m->moves == NULL || m->stopped) {
        return 0;
    }
    if (is_moving(m, rec)) {
        return 1;
    }
    if (!sc_move_mine(m, rec)) {
        if (ask) {
            sc_move_take(m, rec);
        }
        return 1;
    }
    without = lacking(m, rec, has);
    if (!sc_move_want(m, rec, SC_ROUTE_NONE, without, &want)) {
        return 0;
    }
    if (sc_move_no_room(m, sc_move_newcomers(m, rec, &want), 1)) {
        without |= sc_move_newcomers(m, rec, &want); /* nor can these take its place */
        (void)sc_move_want(m, rec, SC_ROUTE_NONE, without, &want);
    }
    move = sc_move_add(m, rec, &want, 1);
    if (move != NULL) {
        move->without = without;
        (void)sc_move_begin(m, move);
    }
    return move != NULL;
}

int sc_move_settle(sc_manager_t *m, const sc_record_t *rec)
{
    sc_move_t *move;
    sc_record_t want = *rec;

    if (m->moves == NULL || m->stopped || is_moving(m, rec) || !sc_move_mine(m, rec)) {
        return m->moves != NULL && is_moving(m, rec);
    }
    (void)sc_move_want(m, rec, SC_ROUTE_NONE, 0, &want);
    move = sc_move_add(m, rec, &want, 1);
    if (move != NULL) {
        (void)sc_move_begin(m, move);
    }
    return move != NULL;
}

int sc_move_refuses(sc_manager_t *m, const sc_record_t *rec)
{
    sc_move_t *move;
    sc_record_t want;

    /* what is on its way from here to the holders is no reason: two would refuse each other's */
    if (sc_move_find(m, rec->context, &rec->id) != NULL) {
        return 1;
    }
    if (!is_urgent(m, rec, &want) || sc_move_no_room(m, sc_move_newcomers(m, rec, &want), 1)) {
        return 0;
    }
    move = sc_move_add(m, rec, &want, 1);
    if (move != NULL) {
        (void)sc_move_begin(m, move);
    }
    return move != NULL;
}
