/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Events that wait to be told: see sc_events.h.
 *
 * They are told in a timer's call that is due at once, a few at a time: as many as fit in SLICE,
 * one at least. So a listener that needs a millisecond costs the engine that millisecond now and
 * then, and sessions go on between.
 */
#include <stdlib.h>
#include <string.h>

#include "sc_events.h"

#define SLICE apr_time_from_msec(2)
#define COMPLAIN apr_time_from_sec(10)

typedef struct event_t {
    struct event_t *next;
    sc_told_t told;
    sc_session_event_t session;
    char text[]; /* of what the above points to */
} event_t;

struct sc_events_t {
    sc_loop_t *loop;
    const sc_log_t *log;
    sc_board_t *board;
    sc_tell_fn_t *tell;
    void *baton;
    event_t *first;
    event_t **tail;
    apr_uint32_t n;
    sc_timer_t timer;
    int armed;
    sc_log_limit_t limit;
};

static void due(void *baton, apr_time_t now);

static void arm(sc_events_t *q)
{
    if (!q->armed && q->first != NULL) {
        q->armed = sc_timer_set(sc_loop_timers(q->loop), &q->timer, sc_loop_now(q->loop), due, q) ==
                   APR_SUCCESS;
    }
}

static void tell_until(sc_events_t *q, apr_time_t end)
{
    const sc_clock_t *clock = sc_loop_clock(q->loop);

    while (q->first != NULL) {
        event_t *e = q->first;

        q->first = e->next;
        q->n--;
        if (q->first == NULL) {
            q->tail = &q->first;
        }
        sc_count(q->board, events_told, 1);
        q->tell(q->baton, &e->told);
        free(e);
        if (sc_mono(clock) >= end) {
            return;
        }
    }
}

static void due(void *baton, apr_time_t now)
{
    sc_events_t *q = baton;

    (void)now;
    q->armed = 0;
    tell_until(q, sc_mono(sc_loop_clock(q->loop)) + SLICE);
    arm(q);
}

/* A place at the end, with two texts in it. @return NULL: it is lost */
static event_t *append(sc_events_t *q, const char **first, const char **second)
{
    apr_size_t n1 = strlen(*first) + 1, n2 = strlen(*second) + 1;
    event_t *e = q->n < SC_EVENTS_MAX ? calloc(1, sizeof(*e) + n1 + n2) : NULL;
    apr_uint64_t before = 0;

    if (e == NULL) {
        sc_count(q->board, events_lost, 1);
        if (sc_log_allowed(&q->limit, sc_loop_now(q->loop), COMPLAIN, &before)) {
            sc_log(q->log, SC_LOG_WARNING, 0,
                   "SC1061: listeners are slower than what happens: %u events wait, further ones "
                   "are not told (%" APR_UINT64_T_FMT " more before)",
                   q->n, before);
        }
        return NULL;
    }
    memcpy(e->text, *first, n1);
    memcpy(e->text + n1, *second, n2);
    *first = e->text;
    *second = e->text + n1;
    *q->tail = e;
    q->tail = &e->next;
    q->n++;
    arm(q);
    return e;
}

void sc_events_session(sc_events_t *q, const sc_session_event_t *event)
{
    const char *context = event->context, *primary = event->primary;
    event_t *e = append(q, &context, &primary);

    if (e != NULL) {
        e->told.happened = SC_HAPPENED_SESSION;
        e->told.session = &e->session;
        e->told.route = e->told.host = "";
        e->session = *event;
        e->session.context = context;
        e->session.primary = primary;
    }
}

void sc_events_member(sc_events_t *q, sc_happened_t happened, const sc_member_t *member,
                      int goodbye)
{
    char buffer[SC_HOST_MAX + 1];
    const char *route = member->route, *host = sc_member_host(member, buffer);
    event_t *e = append(q, &route, &host);

    if (e != NULL) {
        e->told.happened = happened;
        e->told.route = route;
        e->told.host = host;
        e->told.port = (apr_uint16_t)member->port;
        e->told.balancer = member->role == SC_ROLE_BALANCER;
        e->told.goodbye = goodbye;
    }
}

void sc_events_flush(sc_events_t *q, apr_interval_time_t longest)
{
    tell_until(q, sc_mono(sc_loop_clock(q->loop)) + longest);
}

apr_status_t sc_events_create(sc_events_t **events, sc_loop_t *loop, const sc_log_t *log,
                              sc_board_t *board, sc_tell_fn_t *tell, void *baton, apr_pool_t *pool)
{
    sc_events_t *q = apr_pcalloc(pool, sizeof(*q));

    q->loop = loop;
    q->log = log;
    q->board = board;
    q->tell = tell;
    q->baton = baton;
    q->tail = &q->first;
    *events = q;
    return APR_SUCCESS;
}
