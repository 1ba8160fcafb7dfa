/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Administrators who drain nodes and take them back, while everything else goes on. Asked for by
 * --drains, with a generator of its own, so that histories without them stay what they are.
 */
#include "sim.h"

static void drain_due(void *baton, apr_time_t now)
{
    world_t *w = baton;
    rng_t *r = &w->rng_drains;
    node_t *n = w->node[rng_below(r, (apr_uint32_t)w->nnodes)];

    /* in between all may be drained, or none */
    if (node_runs(n) && !n->leaving && n->engine->manager != NULL) {
        int on = !sc_board_get(n->board->draining);

        trace(w, "%s %s", n->route, on ? "is drained" : "serves again");
        (void)sc_manager_drain(n->engine->manager, on);
    }
    world_at(w, &w->drain, now + apr_time_from_msec(rng_between(r, 200, 8000)), drain_due, w);
}

void drains_start(world_t *w)
{
    drain_due(w, w->now);
}

void drains_end(world_t *w)
{
    int i;

    world_cancel(w, &w->drain);
    for (i = 0; i < w->nnodes; i++) {
        if (node_runs(w->node[i])) {
            (void)sc_manager_drain(w->node[i]->engine->manager, 0);
        }
    }
}
