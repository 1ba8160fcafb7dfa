/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One machine: its clocks, its memory, its engine.
 *
 * The engine is put together as src/engine/engine.c does it, with the simulated transport in place
 * of the event loop's. A killed engine is taken apart with the proper calls, since its memory must
 * be freed, but nothing of that may be seen: it is cut off before, and the store is put back to
 * what it was in the instant of death.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define STORE_BYTES (1024 * 1024)
#define REFRESH_INTERVAL apr_time_from_sec(1)
#define DRAIN_TIME apr_time_from_sec(1)
#define LEAVE_STEP apr_time_from_msec(10)
/** Between the last new request and the end of the engine, when httpd stops. */
#define LEAVE_PAUSE apr_time_from_msec(500)

/* ---- clocks ---------------------------------------------------------------------------------- */

apr_time_t node_mono(const node_t *n)
{
    return n->mono_offset + n->w->now + n->w->now * n->drift_ppm / 1000000;
}

static apr_time_t mono_at(const node_t *n, apr_time_t t)
{
    return n->mono_offset + t + t * n->drift_ppm / 1000000;
}

apr_time_t node_when(const node_t *n, apr_time_t mono)
{
    apr_time_t rest = mono - n->mono_offset;
    apr_time_t t = rest - rest * n->drift_ppm / (1000000 + n->drift_ppm);

    while (mono_at(n, t) < mono) {
        t++;
    }
    while (t > 0 && mono_at(n, t - 1) >= mono) {
        t--;
    }
    return t;
}

static apr_time_t clock_mono(void *ctx)
{
    return node_mono(ctx);
}

static apr_time_t clock_wall(void *ctx)
{
    const node_t *n = ctx;

    return node_mono(n) - n->mono_offset + apr_time_from_sec(1700000000) + n->wall_offset;
}

static void log_line(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    const node_t *n = ctx;

    (void)level;
    (void)rv;
    if (n->w->plan->verbose) {
        printf("%11.6f %-3s %s\n", (double)n->w->now / 1e6, n->route, line);
    }
}

/* ---- the noticeboard: as src/engine/engine.c ------------------------------------------------- */

static int same_place(const sc_board_member_t *a, const sc_board_member_t *b)
{
    if (a->route[0] || b->route[0]) {
        return strcmp(a->route, b->route) == 0;
    }
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static int in_view(const sc_view_t *view, const sc_board_member_t *m)
{
    apr_uint32_t i;

    for (i = 0; i < view->count; i++) {
        if (same_place(&view->member[i], m)) {
            return 1;
        }
    }
    return 0;
}

static void keep_gone(engine_t *e, apr_time_t now)
{
    apr_uint32_t i;

    for (i = 0; i < e->old.count && e->view.count < SC_MEMBERS_MAX; i++) {
        sc_board_member_t *was = &e->old.member[i];

        if (was->self || !was->route[0] || in_view(&e->view, was)) {
            continue;
        }
        if (e->settled && was->state != SC_MEMBER_GONE) {
            was->state = SC_MEMBER_GONE;
            was->since = now;
        }
        was->queued = 0;
        was->queued_bytes = 0;
        e->view.member[e->view.count++] = *was;
    }
}

static int view_changed(const sc_view_t *a, const sc_view_t *b)
{
    apr_uint32_t i;

    if (a->count != b->count) {
        return 1;
    }
    for (i = 0; i < a->count; i++) {
        const sc_board_member_t *x = &a->member[i], *y = &b->member[i];

        if (memcmp(&x->uid, &y->uid, sizeof(x->uid)) != 0 || x->state != y->state ||
            x->node_state != y->node_state || strcmp(x->route, y->route) != 0) {
            return 1;
        }
    }
    return 0;
}

static void publish(engine_t *e)
{
    if (e->draining) {
        return;
    }
    if (sc_board_view(e->board, &e->old) != APR_SUCCESS) {
        e->old.count = 0;
    }
    memset(&e->view, 0, offsetof(sc_view_t, member));
    sc_channel_view(e->channel, &e->view);
    keep_gone(e, node_mono(e->node));
    e->view.changes = e->old.changes + (apr_uint32_t)view_changed(&e->old, &e->view);
    sc_board_publish(e->board, &e->view);
}

static void refresh_due(void *baton, apr_time_t now)
{
    engine_t *e = baton;

    publish(e);
    (void)sc_timer_set(e->timers, &e->refresh, now + REFRESH_INTERVAL, refresh_due, e);
}

/* ---- manager <-> channel --------------------------------------------------------------------- */

static apr_status_t down_post(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                              apr_uint32_t options, void (*done)(void *baton, apr_status_t rv),
                              void *baton)
{
    engine_t *e = ctx;

    e->node->records++;
    return sc_channel_post(e->channel, to, bytes, len, options, done, baton);
}

static void down_resynced(void *ctx, const sc_member_t *from)
{
    engine_t *e = ctx;

    sc_channel_resynced(e->channel, from);
}

static apr_size_t down_members(void *ctx, const sc_member_t **members, apr_size_t max)
{
    engine_t *e = ctx;

    return sc_channel_members(e->channel, members, max);
}

static void down_announce(void *ctx, sc_node_state_t state)
{
    engine_t *e = ctx;

    sc_channel_announce(e->channel, state);
    publish(e);
}

static void up_answer(void *ctx, const sc_link_call_t *call, sc_outcome_t outcome,
                      apr_interval_time_t wait_us)
{
    child_answered(ctx, call, outcome, wait_us);
}

static apr_status_t up_record(void *baton, const sc_member_t *from, const void *bytes,
                              apr_size_t len)
{
    engine_t *e = baton;

    return sc_manager_record(e->manager, from, bytes, len);
}

static void up_gap(void *baton, const sc_member_t *from)
{
    engine_t *e = baton;

    sc_manager_gap(e->manager, from);
}

static void up_progress(void *baton, const sc_member_t *from, apr_uint64_t lsn)
{
    engine_t *e = baton;

    sc_manager_progress(e->manager, from, lsn);
}

static void up_message(void *baton, const sc_packet_t *packet)
{
    (void)baton;
    (void)packet;
}

static void up_member_added(void *baton, const sc_member_t *m)
{
    engine_t *e = baton;

    publish(e);
    sc_manager_member_added(e->manager, m);
}

static void up_member_changed(void *baton, const sc_member_t *m)
{
    engine_t *e = baton;

    publish(e);
    sc_manager_member_changed(e->manager, m);
}

static void up_member_gone(void *baton, const sc_member_t *m, int goodbye)
{
    engine_t *e = baton;

    if (!goodbye && !e->dead) {
        faults_dropped(e->node->w, e->node->index, m);
    }
    publish(e);
    sc_manager_member_gone(e->manager, m, goodbye);
}

static apr_uint64_t up_lsn(void *baton)
{
    engine_t *e = baton;
    sc_store_stats_t stats;

    sc_store_stats(e->store, &stats);
    return stats.lsn;
}

static void up_settled(void *baton)
{
    engine_t *e = baton;

    e->settled = 1;
    publish(e);
    sc_manager_settled(e->manager);
}

/* ---- an engine's life ------------------------------------------------------------------------ */

static void must(apr_status_t rv, const char *what)
{
    char text[120];

    if (rv != APR_SUCCESS) {
        fprintf(stderr, "sim: %s: %s\n", what, apr_strerror(rv, text, sizeof(text)));
        abort();
    }
}

static void prepare_store(engine_t *e)
{
    const sc_config_t *c = &e->node->config;
    sc_store_recovery_t found;
    apr_uint16_t index;
    apr_uint32_t i;

    must(sc_store_attach(&e->store, sc_store_base(e->node->store), sc_store_bytes(e->node->store),
                         e->pool),
         "attaching the store");
    must(sc_store_recover(e->store, &found), "recovering the store");
    if (found.dropped > 0) {
        violated(e->node->w, "C6 store", NULL, "%s: damaged records in its store", e->node->route);
    }
    must(sc_uid_generate(&e->uid), "unique id");
    if (c->route[0] != '\0') {
        must(sc_store_route(e->store, c->route, strlen(c->route), 1, &index), "route");
        sc_store_set_own_route(e->store, index);
    }
    for (i = 0; i < c->ncontexts; i++) {
        must(sc_store_context(e->store, c->context[i], strlen(c->context[i]), 1, &index),
             "context");
    }
    memcpy(e->board->route, c->route, sizeof(e->board->route));
    e->board->uid = e->uid;
    sc_board_set(e->board->transfer_total, 0);
    sc_board_set(e->board->engine_starts, e->board->engine_starts + 1);
    sc_board_set(e->board->engine_started, node_mono(e->node));
    sc_board_set(e->board->engine_pid, e->gen);
}

static void create_channel(engine_t *e)
{
    sc_channel_up_t up = {e,
                          up_record,
                          up_gap,
                          up_progress,
                          up_message,
                          up_member_added,
                          up_member_changed,
                          up_member_gone,
                          up_lsn,
                          up_settled};
    sc_channel_config_t cfg = {0};

    cfg.config = &e->node->config;
    cfg.clock = &e->node->clock;
    cfg.timers = e->timers;
    cfg.log = &e->node->log;
    cfg.board = e->board;
    cfg.store_id = sc_store_id(e->store);
    cfg.uid = e->uid;
    must(sc_channel_create(&e->channel, &cfg, &up, e->pool), "channel");
    e->up = sc_channel_transport_up(e->channel);
    sender_create(e);
}

static void create_manager(engine_t *e)
{
    sc_manager_config_t mc = {0};

    mc.config = &e->node->config;
    mc.clock = &e->node->clock;
    mc.timers = e->timers;
    mc.log = &e->node->log;
    mc.store = e->store;
    mc.down.ctx = e;
    mc.down.post = down_post;
    mc.down.resynced = down_resynced;
    mc.down.members = down_members;
    mc.down.announce = down_announce;
    mc.up.ctx = e;
    mc.up.answer = up_answer;
    must(sc_manager_create(&e->manager, &mc, e->pool), "manager");
}

void node_start_engine(node_t *n)
{
    apr_pool_t *timer_pool, *pool;
    engine_t *e;

    if (n->engine != NULL || n->power != POWER_ON || n->leaving) {
        return;
    }
    trace(n->w, "%s engine %u starts", n->route, n->gen + 1);
    apr_pool_create(&timer_pool, n->w->pool);
    apr_pool_create(&pool, n->w->pool);
    e = calloc(1, sizeof(*e));
    e->timer_pool = timer_pool;
    e->node = n;
    e->gen = ++n->gen;
    e->pool = pool;
    e->timers = sc_timers_create(timer_pool);
    e->net_timers = sc_timers_create(timer_pool);
    e->board = n->board;
    n->engine = e;
    sc_board_set(e->board->node_state, SC_NODE_STARTING);
    prepare_store(e);
    create_channel(e);
    create_manager(e);
    sc_manager_start(e->manager);
    must(sc_channel_start(e->channel, &e->transport), "membership");
    refresh_due(e, node_mono(n));
    net_awake(n->w->net, n->index, n->w->now);
    child_engine_started(n);
}

/* As sc_engine_run does after its loop, or as the kernel does it. */
static void take_apart(engine_t *e)
{
    node_t *n = e->node;
    apr_size_t bytes = sc_store_bytes(n->store);
    void *copy = NULL;

    if (e->dead) {
        copy = malloc(bytes);
        memcpy(copy, sc_store_base(n->store), bytes);
    }
    if (!e->draining) {
        sc_channel_stop(e->channel);
    }
    sender_close(e);
    if (!e->dead && sc_timers_next(e->net_timers) >= 0) {
        violated(n->w, "C6 timer", NULL, "%s: a timer of the transport is left", n->route);
    }
    sc_timer_cancel(e->timers, &e->refresh);
    apr_pool_destroy(e->pool);
    if (!e->dead && sc_timers_next(e->timers) >= 0) {
        violated(n->w, "C6 timer", NULL, "%s: a timer is left behind", n->route);
    }
    apr_pool_destroy(e->timer_pool);
    if (e->dead) {
        memcpy(sc_store_base(n->store), copy, bytes);
        free(copy);
    }
    n->engine = NULL;
    free(e);
}

void node_kill_engine(node_t *n)
{
    engine_t *e = n->engine;

    if (e == NULL) {
        return;
    }
    trace(n->w, "%s engine %u is killed", n->route, e->gen);
    e->dead = 1;
    take_apart(e);
    net_engine_gone(n->w->net, n->index);
    child_engine_gone(n);
}

/* ---- leaving: sc_engine_stop(e, 1), step by step --------------------------------------------- */

static apr_uint64_t queued(engine_t *e)
{
    apr_uint64_t n = 0;
    apr_uint32_t i;

    memset(&e->view, 0, offsetof(sc_view_t, member));
    sc_channel_view(e->channel, &e->view);
    for (i = 0; i < e->view.count; i++) {
        n += e->view.member[i].queued;
    }
    return n;
}

static void left(node_t *n)
{
    engine_t *e = n->engine;

    sc_board_set(e->board->node_state, SC_NODE_DOWN);
    trace(n->w, "%s engine %u has left", n->route, e->gen);
    take_apart(e);
    net_engine_gone(n->w->net, n->index);
    child_engine_gone(n);
    n->leaving = 0;
    node_down(n, POWER_STOPPED, 0);
}

static void leave_step(void *baton, apr_time_t now)
{
    engine_t *e = baton;
    node_t *n = e->node;
    int over = now >= e->leave_until;

    if (n->leaving == 1) {
        n->leaving = 2;
        sc_manager_stop(e->manager);
        e->leave_until = now + DRAIN_TIME;
    } else if (n->leaving == 2 && sc_manager_busy(e->manager)) {
        e->leave_until = now + DRAIN_TIME; /* it hands over, for a bounded time */
    } else if (n->leaving == 2 && (over || queued(e) == 0)) {
        n->leaving = 3;
        sc_channel_stop(e->channel);
        e->draining = 1;
        e->leave_until = now + DRAIN_TIME;
    } else if (n->leaving == 3 && (over || sender_waiting(e) == 0)) {
        n->leaving = 4;
    }
    if (n->leaving < 4) {
        (void)sc_timer_set(e->net_timers, &e->leave_timer, now + LEAVE_STEP, leave_step, e);
    }
}

void node_leave(node_t *n)
{
    if (n->engine == NULL || n->leaving) {
        return;
    }
    trace(n->w, "%s leaves", n->route);
    n->leaving = 1;
    (void)sc_timer_set(n->engine->net_timers, &n->engine->leave_timer, node_mono(n) + LEAVE_PAUSE,
                       leave_step, n->engine);
}

/* ---- a machine's life ------------------------------------------------------------------------ */

void node_new_store(node_t *n)
{
    if (n->store_pool != NULL) {
        apr_pool_destroy(n->store_pool);
        n->store = NULL;
        n->board = NULL;
    }
    apr_pool_create(&n->store_pool, n->w->pool);
    must(sc_store_create(&n->store, STORE_BYTES, n->store_pool), "store");
    n->board = sc_store_board(n->store);
}

node_t *node_create(world_t *w, int index, apr_uint32_t role)
{
    node_t *n = calloc(1, sizeof(*n));
    rng_t *r = &w->rng_nodes;

    n->w = w;
    n->index = index;
    n->calls_tail = &n->calls;
    n->config = w->config;
    n->config.role = role;
    snprintf(n->route, sizeof(n->route), role == SC_ROLE_NODE ? "n%d" : "b%d", index + 1);
    if (role == SC_ROLE_NODE) {
        memcpy(n->config.route, n->route, sizeof(n->config.route));
    } else {
        n->config.quorum = 0;
    }
    snprintf(n->config.receiver.address, sizeof(n->config.receiver.address), "10.0.0.%d",
             index + 1);
    n->mono_offset = apr_time_from_sec(rng_between(r, 100, 3000000)) + rng_between(r, 0, 999999);
    n->drift_ppm = rng_between(r, -200, 200);
    n->wall_offset = rng_below(r, 3) ? rng_between(r, -2000000, 2000000)
                                     : apr_time_from_sec(rng_between(r, -7200, 7200));
    n->clock.ctx = n;
    n->clock.mono = clock_mono;
    n->clock.wall = clock_wall;
    n->log.ctx = n;
    n->log.level =
        w->plan->verbose ? (w->plan->verbose > 1 ? SC_LOG_TRACE : SC_LOG_INFO) : SC_LOG_ERROR;
    n->log.write = log_line;
    apr_pool_create(&n->scratch, w->pool);
    n->child_timers = sc_timers_create(w->pool);
    node_new_store(n);
    return n;
}

void node_destroy(node_t *n)
{
    if (n->engine != NULL) {
        n->engine->dead = 1;
        take_apart(n->engine);
    }
    child_all_gone(n);
    free(n);
}

void node_down(node_t *n, power_t power, int keep)
{
    trace(n->w, "%s is down (%s, %s)", n->route, power == POWER_OFF ? "machine" : "httpd",
          keep ? "memory kept" : "memory lost");
    node_kill_engine(n);
    child_all_gone(n);
    net_node_gone(n->w->net, n->index, power == POWER_OFF);
    n->power = power;
    n->frost = FROST_NONE;
    n->leaving = 0;
    if (!keep) {
        node_new_store(n);
    }
}

void node_up(node_t *n)
{
    if (n->power != POWER_ON) {
        trace(n->w, "%s is up", n->route);
        n->power = POWER_ON;
        node_start_engine(n);
    }
}

void node_freeze(node_t *n, frost_t frost)
{
    trace(n->w, "%s freezes (%s)", n->route,
          frost == FROST_ENGINE      ? "engine"
          : frost == FROST_PROCESSES ? "processes"
                                     : "machine");
    n->frost = frost;
}

void node_thaw(node_t *n)
{
    int timers_first = (int)rng_below(&n->w->rng_nodes, 2);

    if (n->frost == FROST_NONE) {
        return;
    }
    trace(n->w, "%s thaws, %s first", n->route, timers_first ? "timers" : "packets");
    n->frost = FROST_NONE;
    n->thawed = n->w->now;
    n->timers_from = n->w->now + (timers_first ? 0 : 1000);
    net_awake(n->w->net, n->index, n->w->now + (timers_first ? 1000 : 0));
    child_thawed(n);
}

/* ---- questions ------------------------------------------------------------------------------- */

int node_runs(const node_t *n)
{
    return n->power == POWER_ON && n->frost == FROST_NONE && n->engine != NULL;
}

int node_children_run(const node_t *n)
{
    return n->power == POWER_ON && (n->frost == FROST_NONE || n->frost == FROST_ENGINE);
}

int node_kernel(const node_t *n)
{
    return n->power != POWER_OFF && n->frost != FROST_MACHINE;
}

int node_healthy(const node_t *n)
{
    apr_time_t lease;
    int i;

    if (!node_runs(n) || n->leaving ||
        (n->config.role == SC_ROLE_NODE && sc_board_get(n->board->node_state) != SC_NODE_READY)) {
        return 0;
    }
    lease = sc_board_get(n->board->lease_until);
    if (lease != 0 && lease <= node_mono(n)) {
        return 0;
    }
    for (i = 0; i < n->w->nmembers; i++) {
        if (net_apart(n->w->net, n->index, i)) {
            return 0;
        }
    }
    return 1;
}

/* ---- running --------------------------------------------------------------------------------- */

static apr_time_t sooner(apr_time_t a, apr_time_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

apr_time_t node_next(const node_t *n)
{
    apr_time_t engine = -1, next = -1;

    if (node_children_run(n)) {
        next = sc_timers_next(n->child_timers);
    }
    if (node_runs(n)) {
        if (!n->engine->draining) {
            engine = sc_timers_next(n->engine->timers);
        }
        engine = sooner(engine, sc_timers_next(n->engine->net_timers));
        next = sooner(next, engine);
    }
    if (next < 0) {
        return -1;
    }
    next = node_when(n, next);
    if (engine >= 0 && n->timers_from > n->w->now && next < n->timers_from) {
        next = n->timers_from;
    }
    return next > n->w->now ? next : n->w->now;
}

static int run_timers(sc_timers_t *ts, apr_time_t now)
{
    apr_time_t next = sc_timers_next(ts);

    if (next < 0 || next > now) {
        return 0;
    }
    sc_timers_run(ts, now);
    return 1;
}

int node_run(node_t *n)
{
    apr_time_t now = node_mono(n);
    int some = 0;

    if (node_children_run(n)) {
        some = run_timers(n->child_timers, now);
    }
    if (node_runs(n) && n->w->now >= n->timers_from) {
        if (!n->engine->draining) {
            some |= run_timers(n->engine->timers, now);
        }
        some |= run_timers(n->engine->net_timers, now);
        if (n->leaving == 4) {
            left(n);
        }
    }
    return some;
}
