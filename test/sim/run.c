/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One seed from beginning to end: a cluster comes up, clients work while faults come and go, all
 * faults end, clients go on for a while, then it is quiet, then everything is looked at, and at
 * last all nodes leave in good order, one after the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define START_TIME apr_time_from_sec(20)
/** Without faults, clients still at work. */
#define CALM_TIME apr_time_from_sec(15)
/** Until the last response. */
#define BUSY_MAX apr_time_from_sec(40)
/** A session that has idled out is gone everywhere by then. */
#define ENDING_MAX apr_time_from_sec(60)

static void config_of_members(world_t *w)
{
    sc_config_t *c = &w->config;
    int i;

    c->membership = w->is_static ? SC_MEMBERSHIP_STATIC : SC_MEMBERSHIP_MULTICAST;
    for (i = 0; w->is_static && i < w->nmembers; i++) {
        sc_config_member_t *m = &c->member[c->nmembers++];

        snprintf(m->host, sizeof(m->host), "10.0.0.%d", i + 1);
        m->port = c->receiver.port;
    }
}

static void configure(world_t *w)
{
    rng_t *r = &w->rng_nodes;
    const plan_t *p = w->plan;
    sc_config_t *c = &w->config;
    int balancer = (int)rng_below(r, 2);

    sc_config_defaults(c);
    w->nnodes = (int)(rng_below(r, 5) < 3 ? 3 : rng_between(r, 3, 7));
    w->nnodes = p->nodes > 0 ? p->nodes : w->nnodes;
    w->nmembers = w->nnodes + balancer;
    w->quorum = (int)rng_below(r, 2);
    w->quorum = p->quorum >= 0 ? p->quorum : w->quorum;
    w->quorum = w->quorum ? w->nnodes / 2 + 1 : 0;
    w->profile = (profile_t)rng_below(r, PROFILES);
    w->profile = p->profile >= 0 ? (profile_t)p->profile : w->profile;
    w->is_static = (int)rng_below(r, 2);
    config_of_members(w);
    c->manager = p->manager;
    c->quorum = (apr_uint32_t)w->quorum;
    c->sender.timeout_ms = (apr_uint32_t)rng_between(r, 1000, 3000);
    c->sender.max_retries = rng_below(r, 3);
    c->refuse_unacked = rng_below(r, 4) == 0;
    c->delta.digest_ms = (apr_uint32_t)rng_between(r, 2000, 8000);
    c->delta.state_ms = 10000;
    c->delta.block_bytes = rng_below(r, 2) ? 4096 : 256 * 1024;
    c->delta.tombstone_s = rng_below(r, 4) ? 600 : 45;
    c->backup.backups = rng_below(r, 4) ? 1 : 2;
    c->backup.leave_ms = 5000;
    c->ncontexts = 1;
    memcpy(c->context[0], SIM_CONTEXT, sizeof(SIM_CONTEXT));
}

static void describe(const world_t *w, result_t *out)
{
    snprintf(out->setup, sizeof(out->setup), "%s, %d nodes%s, quorum %s, %s, %s",
             w->config.manager == SC_MANAGER_BACKUP ? "backup" : "delta", w->nnodes,
             w->nmembers > w->nnodes ? " and a balancer" : "", w->quorum ? "on" : "off",
             w->is_static ? "static" : "multicast", profile_name((int)w->profile));
}

static int all_healthy(const world_t *w)
{
    int i;

    for (i = 0; i < w->nmembers; i++) {
        if (!node_healthy(w->node[i])) {
            return 0;
        }
    }
    return 1;
}

static void wait_healthy(world_t *w, apr_interval_time_t most)
{
    apr_time_t until = w->now + most;

    while (!all_healthy(w) && w->now < until && w->rule[0] == '\0') {
        world_run(w, w->now + apr_time_from_msec(100));
    }
}

static void start(world_t *w)
{
    int i;

    w->net = net_create(w);
    faults_create(w);
    clients_create(w);
    for (i = 0; i < w->nmembers; i++) {
        w->node[i] = node_create(w, i, i < w->nnodes ? SC_ROLE_NODE : SC_ROLE_BALANCER);
    }
    for (i = 0; i < w->nmembers; i++) {
        node_start_engine(w->node[i]);
        world_run(w, w->now + rng_between(&w->rng_nodes, 0, 2000000));
    }
    wait_healthy(w, START_TIME);
    if (!all_healthy(w)) {
        violated(w, "A1 start", NULL, "the nodes do not find each other");
    }
}

static void finish(world_t *w)
{
    apr_time_t until;
    int i;

    faults_end(w);
    if (w->plan->drains) {
        drains_end(w);
    }
    world_run(w, w->now + CALM_TIME);
    clients_stop(w);
    until = w->now + BUSY_MAX;
    while (clients_busy(w) && w->now < until && w->rule[0] == '\0') {
        world_run(w, w->now + apr_time_from_msec(200));
    }
    /* each two members compare at least twice */
    world_run(w, w->now + 2 * w->nmembers * apr_time_from_msec(w->config.delta.digest_ms) / 3 +
                     apr_time_from_sec(12));
    until = w->now + ENDING_MAX;
    while (w->rule[0] == '\0' && w->now < until && judge_is_ending(w)) {
        world_run(w, w->now + apr_time_from_sec(1));
    }
    if (w->rule[0] == '\0') {
        judge_end(w);
    }
    if (w->config.delta.tombstone_s <= 60) {
        /* those of sessions that idled out stay a minute */
        world_run(w, w->now + apr_time_from_sec(100));
    }
    if (w->rule[0] == '\0') {
        judge_rest(w);
    }
    for (i = 0; i < w->nmembers && w->rule[0] == '\0'; i++) {
        node_leave(w->node[i]);
        world_run(w, w->now + apr_time_from_sec(i == w->nmembers - 1 ? 14 : 4));
    }
    for (i = 0; i < w->nmembers && w->rule[0] == '\0'; i++) {
        if (w->node[i]->power == POWER_ON) {
            violated(w, "C5 leave", NULL, "%s does not get away", w->node[i]->route);
        }
    }
}

void run_seed(const plan_t *plan, result_t *out)
{
    long before = heap_blocks();
    world_t *w = world_create(plan);

    memset(out, 0, sizeof(*out));
    configure(w);
    describe(w, out);
    start(w);
    if (w->rule[0] == '\0') {
        clients_start(w);
        if (plan->drains) {
            drains_start(w);
        }
        faults_start(w, w->now + apr_time_from_sec(60 * (apr_time_t)plan->minutes));
        world_run(w, w->now + apr_time_from_sec(60 * (apr_time_t)plan->minutes));
    }
    if (w->rule[0] == '\0') {
        finish(w);
    }
    memcpy(out->rule, w->rule, sizeof(out->rule));
    memcpy(out->what, w->what, sizeof(out->what));
    out->hash = w->hash;
    out->operations = w->noperations;
    out->noanswer = w->noanswer;
    out->sessions = w->nsessions;
    out->steps = w->steps;
    if (w->guilty != NULL) {
        history_print(w->guilty, stdout);
    }
    world_destroy(w);
    out->heap = heap_blocks() - before;
}
