/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A binary heap of timers.
 *
 * Entries carry the sequence number of their arming besides the due time, so timers of the same
 * instant run in the order in which they were armed: a simulated run replays exactly.
 *
 * While the heap is being run, a timer that is armed for a time that has already come sorts behind
 * all others until the run is over ("late"); it is then put in its place. So a callback that keeps
 * arming itself for "now" gets its turn once per call and cannot starve the loop, without a second
 * list that cancel would have to know.
 */
#include <limits.h>
#include <stdlib.h>

#include "sc_timer.h"

typedef struct entry_t {
    apr_time_t due;
    apr_uint64_t seq;
    sc_timer_t *timer;
    int late;
} entry_t;

struct sc_timers_t {
    entry_t *heap;
    int n;
    int cap;
    int running;
    int nlate; /* armed as late in this run, cancelled ones included */
    apr_time_t now;
    apr_uint64_t seq;
};

static int before(const entry_t *a, const entry_t *b)
{
    if (a->late != b->late) {
        return b->late;
    }
    if (a->due != b->due) {
        return a->due < b->due;
    }
    return a->seq < b->seq;
}

static void place(sc_timers_t *ts, int i, const entry_t *e)
{
    ts->heap[i] = *e;
    e->timer->index = i + 1;
}

static void sift_up(sc_timers_t *ts, int i)
{
    entry_t e = ts->heap[i];

    while (i > 0 && before(&e, &ts->heap[(i - 1) / 2])) {
        place(ts, i, &ts->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(ts, i, &e);
}

static void sift_down(sc_timers_t *ts, int i)
{
    entry_t e = ts->heap[i];

    /* i < n / 2 means that i has a child, and keeps 2 * i + 1 from overflowing */
    while (i < ts->n / 2) {
        int child = 2 * i + 1;

        if (child + 1 < ts->n && before(&ts->heap[child + 1], &ts->heap[child])) {
            child++;
        }
        if (!before(&ts->heap[child], &e)) {
            break;
        }
        place(ts, i, &ts->heap[child]);
        i = child;
    }
    place(ts, i, &e);
}

static apr_status_t timers_cleanup(void *data)
{
    sc_timers_t *ts = data;

    free(ts->heap);
    ts->heap = NULL;
    ts->n = ts->cap = 0;
    return APR_SUCCESS;
}

sc_timers_t *sc_timers_create(apr_pool_t *pool)
{
    sc_timers_t *ts = apr_pcalloc(pool, sizeof(*ts));

    if (ts != NULL) {
        apr_pool_cleanup_register(pool, ts, timers_cleanup, apr_pool_cleanup_null);
    }
    return ts;
}

static apr_status_t grow(sc_timers_t *ts)
{
    int cap = ts->cap > 0 ? ts->cap : 16;
    entry_t *heap;

    if (ts->n < ts->cap) {
        return APR_SUCCESS;
    }
    if (ts->cap > INT_MAX / 2) {
        return APR_ENOMEM;
    }
    if (ts->cap > 0) {
        cap *= 2;
    }
    heap = realloc(ts->heap, (apr_size_t)cap * sizeof(*heap));
    if (heap == NULL) {
        return APR_ENOMEM;
    }
    ts->heap = heap;
    ts->cap = cap;
    return APR_SUCCESS;
}

apr_status_t sc_timer_set(sc_timers_t *ts, sc_timer_t *t, apr_time_t due, sc_timer_fn_t *fn,
                          void *baton)
{
    entry_t e = {due, 0, t, 0};
    apr_status_t rv = APR_SUCCESS;

    if (t->index == 0 && (rv = grow(ts)) != APR_SUCCESS) {
        return rv;
    }
    sc_timer_cancel(ts, t);
    t->due = due;
    t->fn = fn;
    t->baton = baton;
    e.seq = ++ts->seq;
    if (ts->running && due <= ts->now) {
        e.late = 1;
        ts->nlate++;
    }
    place(ts, ts->n++, &e);
    sift_up(ts, ts->n - 1);
    return rv;
}

void sc_timer_cancel(sc_timers_t *ts, sc_timer_t *t)
{
    int i = t->index - 1;

    if (i < 0) {
        return;
    }
    t->index = 0;
    ts->n--;
    if (i < ts->n) {
        place(ts, i, &ts->heap[ts->n]);
        sift_up(ts, i);
        sift_down(ts, i);
    }
}

apr_time_t sc_timers_next(const sc_timers_t *ts)
{
    return ts->n > 0 ? ts->heap[0].due : -1;
}

/* Late timers become ordinary ones: order the whole heap anew. */
static void admit_late(sc_timers_t *ts)
{
    int i;

    if (ts->nlate == 0) {
        return;
    }
    ts->nlate = 0;
    for (i = 0; i < ts->n; i++) {
        ts->heap[i].late = 0;
    }
    for (i = ts->n / 2 - 1; i >= 0; i--) {
        sift_down(ts, i);
    }
}

void sc_timers_run(sc_timers_t *ts, apr_time_t now)
{
    if (ts->running) {
        return; /* from within a callback: the outer run goes on anyway */
    }
    ts->running = 1;
    ts->now = now;
    while (ts->n > 0 && !ts->heap[0].late && ts->heap[0].due <= now) {
        sc_timer_t *t = ts->heap[0].timer;

        /* disarmed before the call: the callback may arm it again or free its owner */
        sc_timer_cancel(ts, t);
        t->fn(t->baton, now);
    }
    ts->running = 0;
    admit_late(ts);
}
