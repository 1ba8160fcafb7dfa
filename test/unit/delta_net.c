/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The fake clock and the fake channel of the delta manager's tests; see delta_net.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"

#define STORE_BYTES (2 * 1024 * 1024)
#define SEND_TIMEOUT apr_time_from_msec(500)
#define REVEAL apr_time_from_sec(1)
#define SETTLE apr_time_from_msec(200)

/* ---- the line: one direction between two nodes ------------------------------------------------
 */

typedef struct post_t {
    struct post_t *next;
    void (*done)(void *baton, apr_status_t rv);
    void *baton;
    int data; /* an ALL_SESSION_DATA record */
} post_t;

typedef struct envelope_t {
    sc_buf_t records;
    post_t *posts;
    post_t **tail;
    apr_uint64_t seq;
    apr_uint64_t lsn;
    int tries;
} envelope_t;

typedef struct net_line_t {
    net_t *net;
    int from;
    int to;
    int open;
    /* sender */
    apr_uint64_t stream;
    apr_uint64_t seq;
    int broken;
    int failed;
    envelope_t *filling;
    envelope_t *flying;
    sc_timer_t flush;
    sc_timer_t timeout;
    sc_timer_t reveal;
    /* receiver */
    int known;
    apr_uint64_t id;
    apr_uint64_t last;
    int behind;
} net_line_t;

/* Something on its way. */
typedef struct event_t {
    sc_timer_t timer;
    net_line_t *line;
    int ack;
    apr_status_t rv;
    apr_uint64_t stream;
    apr_uint64_t seq;
    apr_uint64_t lsn;
    sc_buf_t records;
    apr_interval_time_t held; /* how long to look again whether it may arrive */
} event_t;

static net_line_t *line_of(net_t *net, int from, int to)
{
    return net->link[from][to].line;
}

apr_uint32_t net_random(net_t *net, apr_uint32_t n)
{
    net->random ^= net->random << 13;
    net->random ^= net->random >> 7;
    net->random ^= net->random << 17;
    return (apr_uint32_t)((net->random >> 11) % n);
}

static void end_posts(net_line_t *line, post_t *p, apr_status_t rv)
{
    while (p != NULL) {
        post_t *next = p->next;

        if (p->data) {
            line->net->node[line->from].data_in_flight--;
        }
        if (p->done != NULL && line->net->node[line->from].alive) {
            p->done(p->baton, rv);
        }
        free(p);
        p = next;
    }
}

static void envelope_free(envelope_t *e)
{
    if (e != NULL) {
        sc_buf_free(&e->records);
        free(e);
    }
}

static envelope_t *filling(net_line_t *line)
{
    if (line->filling == NULL) {
        line->filling = calloc(1, sizeof(envelope_t));
        sc_buf_init(&line->filling->records, 64 * 1024 * 1024);
        line->filling->tail = &line->filling->posts;
    }
    return line->filling;
}

static void arrived(void *baton, apr_time_t now);
static void timed_out(void *baton, apr_time_t now);
static void flush_line(void *baton, apr_time_t now);

static void schedule(net_line_t *line, event_t *e, apr_interval_time_t delay)
{
    e->line = line;
    sc_timer_set(line->net->timers, &e->timer, line->net->now + delay, arrived, e);
}

static void transmit(net_line_t *line)
{
    net_t *net = line->net;
    net_link_t *link = &net->link[line->from][line->to];
    envelope_t *e = line->flying;
    int copies = 1 + (net_random(net, 1000) < link->dup);
    int i;

    for (i = 0; i < copies; i++) {
        event_t *ev;

        if (net_random(net, 1000) < link->loss) {
            continue;
        }
        ev = calloc(1, sizeof(*ev));
        ev->stream = line->stream;
        ev->seq = e->seq;
        ev->lsn = e->lsn;
        sc_buf_init(&ev->records, 64 * 1024 * 1024);
        sc_put(&ev->records, e->records.data, e->records.len);
        schedule(line, ev, i == 0 ? link->delay : link->delay * (2 + net_random(net, 100)));
    }
    sc_timer_set(net->timers, &line->timeout, net->now + SEND_TIMEOUT, timed_out, line);
}

static void send_next(net_line_t *line)
{
    if (line->flying != NULL || line->filling == NULL) {
        return;
    }
    line->flying = line->filling;
    line->filling = NULL;
    line->seq += line->broken ? 2 : 1;
    line->broken = 0;
    line->flying->seq = line->seq;
    transmit(line);
}

static void flush_line(void *baton, apr_time_t now)
{
    (void)now;
    send_next(baton);
}

static void reveal_due(void *baton, apr_time_t now)
{
    net_line_t *line = baton;

    (void)now;
    if (line->flying == NULL && line->filling == NULL) {
        filling(line);
        send_next(line);
    }
}

static void flight_ended(net_line_t *line, apr_status_t rv)
{
    envelope_t *e = line->flying;
    apr_uint64_t stream = line->stream;

    sc_timer_cancel(line->net->timers, &line->timeout);
    line->flying = NULL;
    line->failed = rv != APR_SUCCESS;
    end_posts(line, e->posts, rv);
    envelope_free(e);
    if (!line->open || line->stream != stream) {
        return;
    }
    send_next(line);
    if ((line->failed || line->broken) && line->flying == NULL) {
        sc_timer_set(line->net->timers, &line->reveal, line->net->now + REVEAL, reveal_due, line);
    }
}

static void try_again(net_line_t *line, apr_status_t rv)
{
    if (line->flying->tries++ == 0) {
        transmit(line);
    } else {
        flight_ended(line, rv);
    }
}

static void timed_out(void *baton, apr_time_t now)
{
    (void)now;
    try_again(baton, APR_TIMEUP);
}

/* ---- the receiver -----------------------------------------------------------------------------
 */

/* As sc_channel.h says. @return the first failure of a record */
static apr_status_t process(net_line_t *line, const event_t *ev)
{
    net_node_t *to = &line->net->node[line->to];
    const sc_member_t *from = &line->net->node[line->from].self;
    int late = line->known && line->id == ev->stream && ev->seq <= line->last;
    apr_status_t result = APR_SUCCESS;
    sc_rd_t r;

    if (!late && (!line->known || line->id != ev->stream || ev->seq != line->last + 1)) {
        int gap = line->known || ev->seq != 1;

        line->known = 1;
        line->id = ev->stream;
        line->last = ev->seq - 1;
        if (gap) {
            line->behind = 1;
            to->gaps++;
            sc_manager_gap(to->m, from);
        }
    }
    sc_rd_init(&r, ev->records.data, ev->records.len);
    while (sc_rd_left(&r) > 0) {
        apr_size_t n;
        const unsigned char *p = sc_get_str(&r, sc_rd_left(&r), &n);
        apr_status_t rv = sc_manager_record(to->m, from, p, n);

        result = result == APR_SUCCESS ? rv : result;
    }
    if (result == APR_SUCCESS && !late) {
        line->last = ev->seq;
        if (!line->behind) {
            sc_manager_progress(to->m, from, ev->lsn);
        }
    }
    return result;
}

static void deliver(event_t *ev)
{
    net_line_t *line = ev->line;
    net_t *net = line->net;
    net_link_t *back = &net->link[line->to][line->from];
    net_node_t *to = &net->node[line->to];
    event_t *ack;

    if (!to->alive || !net->node[line->from].alive) {
        return;
    }
    if (ev->stream != line->stream) {
        return; /* its connection is gone */
    }
    ack = calloc(1, sizeof(*ack));
    ack->rv = to->sees[line->from] ? process(line, ev) : APR_EGENERAL;
    if (ack->rv != APR_SUCCESS) {
        ack->rv = APR_EGENERAL;
    }
    ack->ack = 1;
    ack->stream = ev->stream;
    ack->seq = ev->seq;
    if (net_random(net, 1000) < back->loss) {
        free(ack);
    } else {
        schedule(line, ack, back->delay);
    }
}

static void arrived(void *baton, apr_time_t now)
{
    event_t *ev = baton;
    net_line_t *line = ev->line;
    net_t *net = line->net;
    int hold =
        ev->ack ? net->link[line->to][line->from].hold : net->link[line->from][line->to].hold;

    if (hold) {
        ev->held = ev->held == 0 ? apr_time_from_msec(10) : ev->held * 3 / 2;
        if (ev->held > apr_time_from_sec(1)) {
            ev->held = apr_time_from_sec(1);
        }
        sc_timer_set(net->timers, &ev->timer, now + ev->held, arrived, ev);
        return;
    }
    if (!ev->ack) {
        deliver(ev);
    } else if (line->open && line->flying != NULL && line->stream == ev->stream &&
               line->flying->seq == ev->seq) {
        if (ev->rv == APR_SUCCESS) {
            flight_ended(line, APR_SUCCESS);
        } else {
            try_again(line, ev->rv);
        }
    }
    sc_buf_free(&ev->records);
    free(ev);
}

static void line_close(net_line_t *line)
{
    envelope_t *flying = line->flying, *waiting = line->filling;

    if (!line->open) {
        return;
    }
    line->open = 0;
    line->flying = line->filling = NULL;
    sc_timer_cancel(line->net->timers, &line->flush);
    sc_timer_cancel(line->net->timers, &line->timeout);
    sc_timer_cancel(line->net->timers, &line->reveal);
    if (flying != NULL) {
        end_posts(line, flying->posts, APR_ECONNABORTED);
    }
    if (waiting != NULL) {
        end_posts(line, waiting->posts, APR_ECONNABORTED);
    }
    envelope_free(flying);
    envelope_free(waiting);
}

static void line_open(net_line_t *line)
{
    line_close(line);
    line->open = 1;
    line->stream++;
    line->seq = 0;
    line->broken = line->failed = 0;
}

/* ---- the channel as a manager sees it ---------------------------------------------------------
 */

static int node_of(const net_t *net, const sc_member_t *m)
{
    int i;

    for (i = 0; i < net->n; i++) {
        if (sc_member_same(&net->node[i].self, m)) {
            return i;
        }
    }
    return -1;
}

static apr_status_t down_post(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                              apr_uint32_t options, void (*done)(void *, apr_status_t), void *baton)
{
    net_node_t *node = ctx;
    int i = node_of(node->net, to);
    const unsigned char *p = bytes;
    sc_store_stats_t stats;
    net_line_t *line;
    envelope_t *e;
    post_t *post;

    (void)options;
    if (i < 0 || !node->sees[i]) {
        return APR_NOTFOUND;
    }
    line = line_of(node->net, node->index, i);
    if (node->net->link[node->index][i].full) {
        line->broken = 1;
        if (line->flying == NULL && line->filling == NULL) {
            sc_timer_set(node->net->timers, &line->reveal, node->net->now + REVEAL, reveal_due,
                         line);
        }
        return APR_ENOSPC;
    }
    if (node->net->tap != NULL) {
        node->net->tap(node->net, node->index, i, bytes, len);
    }
    sc_store_stats(node->store, &stats);
    e = filling(line);
    sc_put_str(&e->records, bytes, len);
    e->lsn = stats.lsn;
    post = calloc(1, sizeof(*post));
    post->done = done;
    post->baton = baton;
    post->data = len > 0 && p[0] == SC_EVT_ALL_SESSION_DATA;
    *e->tail = post;
    e->tail = &post->next;
    /* an empty list only carries a change number */
    node->posted[len > 1 && (p[0] != SC_EVT_SESSION_ACCESSED || p[1] != 0) ? p[0] : 0]++;
    if (post->data && ++node->data_in_flight > node->data_in_flight_max) {
        node->data_in_flight_max = node->data_in_flight;
    }
    if (line->flying == NULL) {
        sc_timer_set(node->net->timers, &line->flush, node->net->now, flush_line, line);
    }
    return APR_SUCCESS;
}

static void down_resynced(void *ctx, const sc_member_t *from)
{
    net_node_t *node = ctx;
    int i = node_of(node->net, from);

    node->resynced++;
    if (i >= 0) {
        line_of(node->net, i, node->index)->behind = 0;
    }
}

static apr_size_t down_members(void *ctx, const sc_member_t **members, apr_size_t max)
{
    net_node_t *node = ctx;
    apr_size_t n = 0;
    int i;

    for (i = 0; i < node->net->n && n < max; i++) {
        if (node->sees[i]) {
            members[n++] = &node->net->node[i].self;
        }
    }
    return n;
}

static void down_announce(void *ctx, sc_node_state_t state)
{
    net_node_t *node = ctx;
    int i;

    node->self.node_state = state;
    for (i = 0; i < node->net->n; i++) {
        net_node_t *other = &node->net->node[i];

        if (other->alive && other->sees[node->index]) {
            sc_manager_member_changed(other->m, &node->self);
        }
    }
}

static void up_event(void *ctx, const sc_session_event_t *event)
{
    net_node_t *node = ctx;

    node->net->heard(node->net, node->index, event);
}

static void up_answer(void *ctx, const sc_link_call_t *call, sc_outcome_t outcome,
                      apr_interval_time_t wait_us)
{
    net_node_t *node = ctx;
    net_answer_t *a = &node->net->answer[call->serial];

    a->times++;
    a->outcome = outcome;
    a->wait_us = wait_us;
}

/* ---- clocks and logs --------------------------------------------------------------------------
 */

static apr_time_t node_mono(void *ctx)
{
    net_node_t *node = ctx;

    return node->net->now + node->mono_offset;
}

static apr_time_t node_wall(void *ctx)
{
    net_node_t *node = ctx;

    return node->net->now + apr_time_from_sec(1700000000) + node->wall_offset;
}

static void node_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    net_node_t *node = ctx;
    int code = 0;

    (void)rv;
    if (sscanf(line, "SC%d:", &code) == 1 && code >= 500 && code < 500 + NET_CODES) {
        node->logged[code - 500]++;
    } else if (code != 1100 && code != 1101 && /* drain.c */
               (code < 1150 || code > 1159)) { /* snapshots */
        CU_FAIL("a log line without a code of this room");
    }
    if (level <= SC_LOG_WARNING) {
        snprintf(node->last_log, sizeof(node->last_log), "%s", line);
    }
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void make_store(net_node_t *node)
{
    if (node->store_pool != NULL) {
        apr_pool_destroy(node->store_pool);
    }
    apr_pool_create(&node->store_pool, node->net->pool);
    CU_ASSERT_EQUAL_FATAL(
        sc_store_create(&node->store, node->net->store_bytes ? node->net->store_bytes : STORE_BYTES,
                        node->store_pool),
        APR_SUCCESS);
    node->board = sc_store_board(node->store);
}

net_t *net_create(int n, net_tweak_t *tweak)
{
    net_t *net = calloc(1, sizeof(*net));
    int i, k;

    apr_pool_create(&net->pool, NULL);
    net->timers = sc_timers_create(net->pool);
    net->now = apr_time_from_sec(100000);
    net->random = 0x9E3779B97F4A7C15ull;
    net->n = n;
    for (i = 0; i < n; i++) {
        net_node_t *node = &net->node[i];

        node->net = net;
        node->index = i;
        sc_config_defaults(&node->config);
        node->config.membership = SC_MEMBERSHIP_STATIC;
        snprintf(node->config.route, sizeof(node->config.route), "n%d", i + 1);
        node->config.ncontexts = 1;
        strcpy(node->config.context[0], NET_CONTEXT);
        node->config.delta.state_ms = 5000;
        if (tweak != NULL) {
            tweak(&node->config, i);
        }
        /* no two clocks agree */
        node->mono_offset = apr_time_from_sec(5000 * i);
        node->wall_offset = apr_time_from_sec(i % 2 ? 700 * i : -900 * i);
        node->clock.ctx = node;
        node->clock.mono = node_mono;
        node->clock.wall = node_wall;
        node->log.ctx = node;
        node->log.level = SC_LOG_DEBUG;
        node->log.write = node_log;
        make_store(node);
        for (k = 0; k < n; k++) {
            net->link[i][k].delay = 1000;
            net->link[i][k].line = calloc(1, sizeof(net_line_t));
            net->link[i][k].line->net = net;
            net->link[i][k].line->from = i;
            net->link[i][k].line->to = k;
        }
    }
    return net;
}

void net_start(net_t *net, int index, int fresh)
{
    net_node_t *node = &net->node[index];
    sc_manager_config_t cfg;
    sc_store_recovery_t report;
    int i;

    for (i = 0; i < net->n; i++) {
        net_forget(net, i, index, 0); /* an engine's life has an identity of its own */
    }
    if (fresh) {
        make_store(node);
    }
    CU_ASSERT_EQUAL_FATAL(sc_store_recover(node->store, &report), APR_SUCCESS);
    apr_pool_create(&node->engine_pool, net->pool);
    node->timers = sc_timers_create(node->engine_pool);
    memset(&node->self, 0, sizeof(node->self));
    node->self.ours = 1;
    node->self.port = 4000 + index;
    node->self.role = node->config.role;
    node->self.store_id = sc_store_id(node->store);
    strcpy(node->self.route, node->config.route);
    sc_member_set_host(&node->self, "127.0.0.1");
    sc_uid_generate(&node->self.uid);
    memset(&cfg, 0, sizeof(cfg));
    cfg.config = &node->config;
    cfg.clock = &node->clock;
    cfg.timers = node->timers;
    cfg.log = &node->log;
    cfg.store = node->store;
    cfg.down.ctx = node;
    cfg.down.post = down_post;
    cfg.down.resynced = down_resynced;
    cfg.down.members = down_members;
    cfg.down.announce = down_announce;
    cfg.up.ctx = node;
    cfg.up.answer = up_answer;
    cfg.up.event = net->heard != NULL ? up_event : NULL;
    CU_ASSERT_EQUAL_FATAL(sc_manager_create(&node->m, &cfg, node->engine_pool), APR_SUCCESS);
    node->alive = 1;
    sc_manager_start(node->m);
}

void net_see(net_t *net, int who, int whom)
{
    net_node_t *node = &net->node[who];
    net_line_t *in = line_of(net, whom, who);

    if (!node->alive || !net->node[whom].alive || node->sees[whom]) {
        return;
    }
    node->sees[whom] = 1;
    line_open(line_of(net, who, whom));
    in->known = in->behind = 0;
    sc_manager_member_added(node->m, &net->node[whom].self);
}

void net_meet(net_t *net, int a, int b)
{
    net_see(net, a, b);
    net_see(net, b, a);
}

void net_forget(net_t *net, int who, int whom, int goodbye)
{
    net_node_t *node = &net->node[who];

    if (node->sees[whom]) {
        node->sees[whom] = 0;
        sc_manager_member_gone(node->m, &net->node[whom].self, goodbye);
        line_close(line_of(net, who, whom));
    }
}

void net_part(net_t *net, int a, int b)
{
    net_forget(net, a, b, 0);
    net_forget(net, b, a, 0);
}

void net_join(net_t *net, int index, int fresh)
{
    int i;

    net_start(net, index, fresh);
    for (i = 0; i < net->n; i++) {
        if (i != index) {
            net_meet(net, index, i);
        }
    }
    net_run(net, (int)apr_time_as_msec(SETTLE));
    sc_manager_settled(net->node[index].m);
}

static void stop_engine(net_t *net, int index)
{
    net_node_t *node = &net->node[index];
    int i;

    for (i = 0; i < net->n; i++) {
        line_close(line_of(net, index, i));
        node->sees[i] = 0;
    }
    node->alive = 0;
    apr_pool_destroy(node->engine_pool);
    node->engine_pool = NULL;
    node->m = NULL;
    node->timers = NULL;
}

void net_crash(net_t *net, int index, int told)
{
    int i;

    net->node[index].alive = 0; /* its posts end unheard */
    stop_engine(net, index);
    for (i = 0; i < net->n && told; i++) {
        net_forget(net, i, index, 0);
    }
}

net_t *net_ready(int n, net_tweak_t *tweak)
{
    net_t *net = net_create(n, tweak);
    int i;

    for (i = 0; i < n; i++) {
        net_join(net, i, 0);
        CU_ASSERT(net_wait_ready(net, 5000));
    }
    return net;
}

void net_destroy(net_t *net)
{
    int i, k;

    for (i = 0; i < net->n; i++) {
        if (net->node[i].engine_pool != NULL) {
            stop_engine(net, i);
        }
    }
    /* what is still on its way arrives at nobody and is freed */
    for (i = 0; i < net->n; i++) {
        for (k = 0; k < net->n; k++) {
            net->link[i][k].hold = 0;
        }
    }
    net_run(net, 100000);
    for (i = 0; i < net->n; i++) {
        for (k = 0; k < net->n; k++) {
            free(net->link[i][k].line);
        }
    }
    apr_pool_destroy(net->pool);
    free(net);
}

/* ---- time -------------------------------------------------------------------------------------
 */

/* Time of the next thing that happens anywhere, or the end. */
static apr_time_t next_time(const net_t *net, apr_time_t end)
{
    apr_time_t t = sc_timers_next(net->timers);
    int i;

    if (t < 0 || t > end) {
        t = end;
    }
    for (i = 0; i < net->n; i++) {
        apr_time_t due = net->node[i].alive ? sc_timers_next(net->node[i].timers) : -1;

        if (due >= 0 && due - net->node[i].mono_offset < t) {
            t = due - net->node[i].mono_offset;
        }
    }
    return t > net->now ? t : net->now;
}

static void step(net_t *net, apr_time_t end)
{
    int i;

    net->now = next_time(net, end);
    sc_timers_run(net->timers, net->now);
    for (i = 0; i < net->n; i++) {
        if (net->node[i].alive) {
            sc_timers_run(net->node[i].timers, net->now + net->node[i].mono_offset);
        }
    }
}

void net_run(net_t *net, int ms)
{
    apr_time_t end = net->now + apr_time_from_msec(ms);
    int same = 0;
    apr_time_t last;

    do {
        last = net->now;
        step(net, end);
        same = net->now == last ? same + 1 : 0;
    } while (net->now < end && same < 1000000);
    step(net, end);
}

int net_wait(net_t *net, apr_uint32_t call, int ms)
{
    apr_time_t end = net->now + apr_time_from_msec(ms);

    while (net->answer[call].times == 0 && net->now < end) {
        step(net, end);
    }
    return net->answer[call].times != 0;
}

static int all_ready(const net_t *net)
{
    int i;

    for (i = 0; i < net->n; i++) {
        if (net->node[i].alive && net->node[i].board->node_state != SC_NODE_READY) {
            return 0;
        }
    }
    return 1;
}

int net_wait_ready(net_t *net, int ms)
{
    apr_time_t end = net->now + apr_time_from_msec(ms);

    while (!all_ready(net) && net->now < end) {
        step(net, end);
    }
    return all_ready(net);
}

void net_weather(net_t *net, apr_interval_time_t delay, apr_uint32_t loss, apr_uint32_t dup)
{
    int i, k;

    for (i = 0; i < net->n; i++) {
        for (k = 0; k < net->n; k++) {
            net->link[i][k].delay = delay;
            net->link[i][k].loss = loss;
            net->link[i][k].dup = dup;
        }
    }
}

void net_hold(net_t *net, int node, int on)
{
    int i;

    for (i = 0; i < net->n; i++) {
        net->link[node][i].hold = net->link[i][node].hold = on;
    }
}

void net_lose(net_t *net, int node, apr_uint32_t id)
{
    sc_id_t lost = net_id(id);

    CU_ASSERT_EQUAL(sc_store_remove(net->node[node].store, 0, &lost), APR_SUCCESS);
}
