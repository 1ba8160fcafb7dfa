/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of location: requests that wait until a location is decided that this node has accepted.
 *
 * Who accepts a location acts upon it at once, but it does not know yet whether all have heard of
 * it who hold the session by the one before. What it changed now they would lack, and nobody would
 * wait for them. So changes wait: usually for the time of one message.
 */
#include <stdlib.h>
#include <string.h>

#include "move.h"

/** How often it is looked whether it is decided. Who hears of it looks at once. */
#define LOOK apr_time_from_msec(20)

struct sc_await_t {
    sc_await_t *next;
    sc_await_t **link; /* what points to this one */
    sc_manager_t *m;
    apr_uint16_t context;
    sc_id_t id;
    sc_timer_t timer;
    apr_time_t since;
    sc_move_wait_t *request;
};

static void unlink_await(sc_await_t *a)
{
    *a->link = a->next;
    if (a->next != NULL) {
        a->next->link = a->link;
    }
    sc_timer_cancel(a->m->cfg.timers, &a->timer);
}

static void await_end(sc_await_t *a)
{
    unlink_await(a);
    sc_move_let_go(a->m, a->request);
    free(a);
}

static void await_due(void *baton, apr_time_t now)
{
    sc_await_t *a = baton;
    sc_manager_t *m = a->m;
    sc_record_t rec;

    if (sc_store_get(m->store, a->context, &a->id, &rec, NULL) != APR_SUCCESS ||
        (rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) || !sc_promise_is_open(m, &rec) ||
        now - a->since > apr_time_from_msec(m->config->ack_wait_ms) ||
        sc_timer_set(m->cfg.timers, &a->timer, now + LOOK, await_due, a) != APR_SUCCESS) {
        await_end(a);
    } else if (sc_promise_stale(m, &rec)) {
        sc_move_take(m, &rec); /* nobody will decide it */
    }
}

apr_status_t sc_move_await(sc_manager_t *m, const sc_record_t *rec, const sc_link_call_t *call,
                           sc_link_op_t op, int again, const unsigned char *body, apr_size_t len,
                           apr_time_t since)
{
    sc_await_t *a;

    if (m->moves == NULL || m->stopped || !sc_promise_is_open(m, rec)) {
        return APR_ENOTIMPL;
    }
    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return APR_ENOSPC;
    }
    a->request = sc_move_keep(m, call, op, again, body, len, since);
    if (a->request == NULL ||
        sc_timer_set(m->cfg.timers, &a->timer, sc_mgr_now(m) + LOOK, await_due, a) != APR_SUCCESS) {
        m->moves->nwaits -= a->request != NULL;
        free(a->request);
        free(a);
        return APR_ENOSPC;
    }
    a->m = m;
    a->context = rec->context;
    a->id = rec->id;
    a->since = since;
    a->next = m->moves->awaits;
    a->link = &m->moves->awaits;
    if (a->next != NULL) {
        a->next->link = &a->next;
    }
    m->moves->awaits = a;
    return APR_SUCCESS;
}

void sc_move_go_on(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_await_t *a = m->moves->awaits;

    /* not from here: a request that goes on changes the list */
    for (; a != NULL; a = a->next) {
        if (a->context == context && memcmp(&a->id, id, sizeof(*id)) == 0) {
            (void)sc_timer_set(m->cfg.timers, &a->timer, sc_mgr_now(m), await_due, a);
        }
    }
}

void sc_move_await_stop(sc_manager_t *m)
{
    while (m->moves->awaits != NULL) {
        sc_await_t *a = m->moves->awaits;

        unlink_await(a);
        sc_move_forget_waits(a->request);
        free(a);
    }
}
