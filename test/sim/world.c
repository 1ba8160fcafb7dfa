/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Time. The world's own events (packets, faults, clicks) and the timers of all nodes are run in the
 * order of their time; at one instant the world's events come first, then the nodes in order. So a
 * seed is one history, however fast the machine is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/** Rounds at one instant after which somebody must be going in circles. */
#define SAME_TIME_MAX 200000

world_t *world_create(const plan_t *plan)
{
    world_t *w = calloc(1, sizeof(*w));

    apr_allocator_create(&w->allocator);
    apr_pool_create_ex(&w->pool, NULL, NULL, w->allocator);
    apr_allocator_owner_set(w->allocator, w->pool);
    w->plan = plan;
    w->events = sc_timers_create(w->pool);
    w->hash = 0xCBF29CE484222325ull;
    rng_seed(&w->rng_ids, plan->seed, 1);
    rng_seed(&w->rng_net, plan->seed, 2);
    rng_seed(&w->rng_nodes, plan->seed, 3);
    rng_seed(&w->rng_faults, plan->seed, 4);
    rng_seed(&w->rng_clients, plan->seed, 5);
    rng_seed(&w->rng_drains, plan->seed, 6);
    rng_ids_from(&w->rng_ids);
    w->sessions_tail = &w->sessions;
    return w;
}

void world_destroy(world_t *w)
{
    int i;

    for (i = 0; i < w->nmembers; i++) {
        node_destroy(w->node[i]);
    }
    if (w->net != NULL) {
        net_destroy(w->net);
    }
    faults_destroy(w);
    world_cancel(w, &w->drain);
    clients_destroy(w);
    history_free(w);
    rng_ids_from(NULL);
    apr_pool_destroy(w->pool);
    free(w);
}

void world_at(world_t *w, sc_timer_t *t, apr_time_t when, event_fn_t *fn, void *baton)
{
    if (sc_timer_set(w->events, t, when, fn, baton) != APR_SUCCESS) {
        abort();
    }
}

void world_cancel(world_t *w, sc_timer_t *t)
{
    sc_timer_cancel(w->events, t);
}

/** The next instant at which something happens, -1: never. */
static apr_time_t next_time(const world_t *w)
{
    apr_time_t next = sc_timers_next(w->events);
    int i;

    for (i = 0; i < w->nmembers; i++) {
        apr_time_t t = node_next(w->node[i]);

        if (t >= 0 && (next < 0 || t < next)) {
            next = t;
        }
    }
    return next;
}

static void move_to(world_t *w, apr_time_t t)
{
    if (t > w->now) {
        w->now = t;
        w->same_time = 0;
    } else if (++w->same_time > SAME_TIME_MAX) {
        violated(w, "C6 loop", NULL, "time does not pass: somebody arms a timer for now for ever");
    }
}

void world_run(world_t *w, apr_time_t until)
{
    while (w->rule[0] == '\0') {
        apr_time_t t = next_time(w);
        int i;

        if (t < 0 || t > until) {
            move_to(w, until);
            return;
        }
        move_to(w, t);
        w->steps++;
        sc_timers_run(w->events, w->now);
        for (i = 0; i < w->nmembers; i++) {
            (void)node_run(w->node[i]);
        }
    }
}

/* ---- the trace ------------------------------------------------------------------------------- */

void trace_mix(world_t *w, apr_uint64_t a, apr_uint64_t b)
{
    apr_uint64_t h = w->hash ^ (apr_uint64_t)w->now * 0x9E3779B97F4A7C15ull;

    h = (h ^ a) * 0x100000001B3ull;
    h ^= h >> 29;
    h = (h ^ b) * 0xBF58476D1CE4E5B9ull;
    h ^= h >> 32;
    w->hash = h;
}

void trace(world_t *w, const char *fmt, ...)
{
    char line[512];
    apr_uint64_t h = 0;
    va_list ap;
    char *p;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    for (p = line; *p != '\0'; p++) {
        h = h * 131 + (unsigned char)*p;
    }
    trace_mix(w, h, 0);
    if (w->plan->verbose) {
        printf("%11.6f %s\n", (double)w->now / 1e6, line);
    }
}

void violated(world_t *w, const char *rule, session_t *s, const char *fmt, ...)
{
    va_list ap;

    if (w->rule[0] != '\0') {
        return;
    }
    apr_cpystrn(w->rule, rule, sizeof(w->rule));
    va_start(ap, fmt);
    vsnprintf(w->what, sizeof(w->what), fmt, ap);
    va_end(ap);
    w->guilty = s;
    trace(w, "VIOLATED %s: %s", w->rule, w->what);
}
