/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What goes wrong, and when.
 *
 * Faults are drawn so that no loss is ever excusable: without a quorum one healthy node, that has
 * been so for a while, is left to itself; a node loses its memory only when all others are healthy
 * and no session lacks a copy. Only the profile "loss" knows no such restraint. Without a quorum,
 * sessions that lived through a longer partition are marked: old values of them are excused then,
 * lost changes are not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define WATCH_INTERVAL apr_time_from_msec(100)
/** After the last fault every request must succeed again. */
#define CALM_TIME apr_time_from_sec(5)
/** Healthy for so long: it has what the others have. */
#define SOUND_TIME apr_time_from_sec(3)
/** So long after its end a failure of the network may still have nodes drop each other. */
#define AFTER_TIME apr_time_from_sec(6)
/** After a partition, until the sides know each other again. */
#define MEET_TIME apr_time_from_sec(6)

typedef enum what_t {
    F_FREEZE,
    F_KILL,
    F_CRASH, /* memory kept */
    F_LOSE,  /* memory lost */
    F_LEAVE,
    F_ONE_WAY,
    F_PAIR,
    F_SPLIT,
    F_BLIP,
    F_WEATHER,
    F_WALL,
    FAULTS
} what_t;

typedef struct fault_t {
    struct fault_t *next;
    faults_t *f;
    what_t what;
    int node, other;
    apr_uint64_t side; /* F_SPLIT: bits of one side */
    sc_timer_t end;
} fault_t;

static const int weights[PROFILES][FAULTS] = {
    /* freeze kill crash lose leave one-way pair split blip weather wall */
    [PROFILE_CALM] = {4, 2, 1, 2, 1, 0, 0, 0, 1, 1, 1},
    [PROFILE_FREEZE] = {10, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1},
    [PROFILE_PARTITION] = {1, 0, 0, 0, 0, 4, 4, 6, 5, 2, 0},
    [PROFILE_CRASH] = {1, 8, 4, 4, 1, 0, 0, 0, 0, 1, 0},
    [PROFILE_ROLLING] = {0, 1, 0, 0, 10, 0, 0, 0, 0, 0, 0},
    [PROFILE_CLOCKS] = {4, 1, 0, 0, 0, 0, 0, 1, 0, 1, 12},
    [PROFILE_ALL] = {5, 3, 2, 2, 2, 2, 2, 3, 3, 3, 3},
    [PROFILE_LOSS] = {3, 4, 3, 8, 2, 1, 1, 2, 2, 1, 1},
};

const char *profile_name(int profile)
{
    static const char *const names[] = {"calm",    "freeze", "partition", "crash",
                                        "rolling", "clocks", "all",       "loss"};

    return names[profile];
}

/* ---- who may be hit -------------------------------------------------------------------------- */

static int sound(const node_t *n)
{
    return node_healthy(n) && n->w->now - n->bad_at > SOUND_TIME;
}

/** Healthy nodes besides one. */
static int others_sound(const world_t *w, int but)
{
    int i, n = 0;

    for (i = 0; i < w->nnodes; i++) {
        n += i != but && sound(w->node[i]);
    }
    return n;
}

/** No session lacks a copy. */
static int all_copied(const world_t *w)
{
    int i;

    for (i = 0; i < w->nnodes; i++) {
        if (sc_board_get(w->node[i]->board->short_copies) != 0 ||
            sc_board_get(w->node[i]->board->moving) != 0) {
            return 0;
        }
    }
    return 1;
}

/**
 * Without a quorum, silence of the only other node cannot be told from its death. So a network that
 * is bad for a moment only, which excuses nothing, needs all nodes; and many short cuts are a long
 * one.
 */
static int may_disturb(const world_t *w, what_t what)
{
    if (w->quorum > 0 || w->profile == PROFILE_LOSS || (what != F_BLIP && what != F_WEATHER)) {
        return 1;
    }
    return w->nnodes > 2 && others_sound(w, -1) == w->nnodes && w->faults->active == 0;
}

/** Whether such a moment goes on. */
static int disturbed(const world_t *w)
{
    const fault_t *f;

    for (f = w->faults->list; f != NULL; f = f->next) {
        if (w->quorum == 0 && (f->what == F_BLIP || f->what == F_WEATHER)) {
            return 1;
        }
    }
    return 0;
}

static int may_hit(const world_t *w, what_t what, int node)
{
    const node_t *n = w->node[node];
    int others = others_sound(w, node);

    if (n->power != POWER_ON || n->frost != FROST_NONE || n->leaving || n->engine == NULL) {
        return 0;
    }
    if (w->profile == PROFILE_LOSS) {
        return 1;
    }
    if (disturbed(w)) {
        return 0;
    }
    if (what == F_LOSE || what == F_LEAVE) {
        return others == w->nnodes - 1 && all_copied(w);
    }
    if (w->config.manager == SC_MANAGER_BACKUP && w->quorum == 0) {
        /* the other holders may be any of them */
        return others == w->nnodes - 1 && all_copied(w);
    }
    return w->quorum > 0 || others > 0;
}

/* ---- one fault ------------------------------------------------------------------------------- */

static void all_cuts(world_t *w)
{
    int a, b;

    /* what is cut is the union of all faults that cut */
    for (a = 0; a < w->nmembers; a++) {
        for (b = 0; b < w->nmembers; b++) {
            const fault_t *f;
            int cut = 0;

            for (f = w->faults->list; f != NULL && a != b; f = f->next) {
                int sides = ((f->side >> a) & 1) != ((f->side >> b) & 1);

                cut |= (f->what == F_SPLIT && sides) || (f->what == F_BLIP && sides) ||
                       (f->what == F_ONE_WAY && a == f->node && b == f->other) ||
                       (f->what == F_PAIR &&
                        ((a == f->node && b == f->other) || (b == f->node && a == f->other)));
            }
            if (cut != w->net->link[a][b].cut) {
                net_cut(w->net, a, b, cut);
            }
        }
    }
}

static void mark_bad(world_t *w)
{
    int a, b;

    for (a = 0; a < w->nmembers; a++) {
        for (b = 0; b < w->nmembers; b++) {
            w->net->link[a][b].bad_at = w->now;
        }
    }
}

static void taint_all(world_t *w)
{
    session_t *s;

    if (w->faults->parted < 0) {
        w->faults->parted = w->now;
    }
    for (s = w->sessions; s != NULL; s = s->next) {
        if (s->tainted < 0) {
            s->tainted = w->now;
        }
    }
}

/** Whether the network between two nodes was bad a moment ago. */
static int was_bad(const world_t *w, int a, int b)
{
    const fault_t *f;

    for (f = w->faults->list; f != NULL; f = f->next) {
        if (f->what == F_WEATHER) {
            return 1;
        }
    }
    return net_apart(w->net, a, b) ||
           (w->net->link[a][b].bad_at > 0 && w->now - w->net->link[a][b].bad_at < AFTER_TIME) ||
           (w->net->link[b][a].bad_at > 0 && w->now - w->net->link[b][a].bad_at < AFTER_TIME);
}

void faults_dropped(world_t *w, int by, const sc_member_t *m)
{
    int i = m->host[3] - 1;
    const node_t *n = i >= 0 && i < w->nnodes ? w->node[i] : NULL;

    if (w->quorum > 0 || by >= w->nnodes || n == NULL || !node_runs(n) ||
        memcmp(&n->engine->uid, &m->uid, sizeof(m->uid)) != 0 || !was_bad(w, by, i)) {
        return;
    }
    trace(w, "%s and %s are parted", w->node[by]->route, n->route);
    taint_all(w);
    w->faults->met = w->now + MEET_TIME;
}

static void fault_end(fault_t *fault)
{
    faults_t *f = fault->f;
    world_t *w = f->w;
    fault_t **link = &f->list;
    node_t *n = w->node[fault->node];

    while (*link != fault) {
        link = &(*link)->next;
    }
    *link = fault->next;
    world_cancel(w, &fault->end);
    switch (fault->what) {
    case F_FREEZE:
        node_thaw(n);
        f->freeze_began = -1;
        break;
    case F_KILL:
        node_start_engine(n);
        break;
    case F_CRASH:
    case F_LOSE:
    case F_LEAVE:
        node_up(n);
        break;
    case F_WEATHER:
        trace(w, "the weather clears");
        net_weather(w->net, 150, 400, 0, 0, 0, 0);
        mark_bad(w);
        break;
    case F_WALL:
        break;
    default:
        all_cuts(w);
        trace(w, "heals: n%d n%d %lx", fault->node + 1, fault->other + 1,
              (unsigned long)fault->side);
        f->cuts--;
        f->met = f->parted >= 0 ? w->now + MEET_TIME : f->met;
        break;
    }
    free(fault);
    if (--f->active == 0) {
        f->calm_since = w->now;
    }
}

static void end_due(void *baton, apr_time_t now)
{
    fault_t *fault = baton;
    node_t *n = fault->f->w->node[fault->node];

    if (fault->what == F_LEAVE && n->power == POWER_ON) {
        world_at(fault->f->w, &fault->end, now + apr_time_from_msec(500), end_due, fault);
        return; /* it has not left yet */
    }
    fault_end(fault);
}

/** How long it lasts, milliseconds. */
static apr_int64_t duration(world_t *w, what_t what)
{
    rng_t *r = &w->rng_faults;
    apr_int64_t drop = w->config.mcast.drop_ms;

    switch (what) {
    case F_FREEZE:
        return rng_below(r, 3) ? rng_between(r, 100, 3000) : rng_between(r, 3000, 15000);
    case F_KILL:
        return rng_between(r, 20, rng_below(r, 3) ? 600 : 4000);
    case F_CRASH:
    case F_LOSE:
        return rng_between(r, 500, 9000);
    case F_LEAVE:
        return rng_between(r, 1000, 4000);
    case F_BLIP:
        return rng_between(r, 50, drop - 500);
    case F_WEATHER:
        return rng_between(r, 2000, 10000);
    case F_WALL:
        return 1;
    default:
        return rng_below(r, 3) ? rng_between(r, 1000, 8000) : rng_between(r, 8000, 20000);
    }
}

static void step_wall(world_t *w, int node)
{
    rng_t *r = &w->rng_faults;
    apr_int64_t most = rng_below(r, 3) ? 5 : 7200;
    apr_int64_t s = rng_between(r, -most, most);

    w->faults->steps++;
    w->node[node]->wall_offset += apr_time_from_sec(s);
    trace(w, "n%d clock steps by %" APR_INT64_T_FMT " s", node + 1, s);
}

static void begin_weather(world_t *w)
{
    rng_t *r = &w->rng_faults;
    apr_uint32_t jitter = (apr_uint32_t)rng_between(r, 1000, rng_below(r, 2) ? 20000 : 150000);
    apr_uint32_t reset = rng_below(r, rng_below(r, 3) ? 60000 : 300000),
                 stall = rng_below(r, 20000);
    apr_uint32_t loss = rng_below(r, 300000), dup = rng_below(r, 100000);

    trace(w, "weather: jitter %u us, resets %u, stalls %u, losses %u, doubles %u ppm", jitter,
          reset, stall, loss, dup);
    net_weather(w->net, 200, jitter, reset, stall, loss, dup);
}

static void fault_apply(fault_t *fault, apr_int64_t ms)
{
    world_t *w = fault->f->w;
    rng_t *r = &w->rng_faults;
    node_t *n = w->node[fault->node];

    switch (fault->what) {
    case F_FREEZE:
        node_freeze(n, (frost_t)rng_between(r, FROST_ENGINE, FROST_MACHINE));
        if (fault->f->active == 1 && w->profile == PROFILE_CALM) {
            fault->f->freeze_began = w->now;
            fault->f->freeze_node = fault->node;
            memset(fault->f->stall, 0xff, sizeof(fault->f->stall));
        }
        break;
    case F_KILL:
        node_kill_engine(n);
        break;
    case F_CRASH:
    case F_LOSE:
        node_down(n, rng_below(r, 2) ? POWER_STOPPED : POWER_OFF, fault->what == F_CRASH);
        break;
    case F_LEAVE:
        node_leave(n);
        break;
    case F_WEATHER:
        begin_weather(w);
        break;
    case F_WALL:
        step_wall(w, fault->node);
        break;
    default:
        fault->f->cuts++;
        all_cuts(w);
        trace(w, "%s: n%d n%d %lx for %" APR_INT64_T_FMT " ms",
              fault->what == F_ONE_WAY ? "cut one way"
              : fault->what == F_PAIR  ? "cut"
                                       : "split",
              fault->node + 1, fault->other + 1, (unsigned long)fault->side, ms);
        /* longer than a lease: who is left with one other member cannot know whether that hangs or
         * cannot be heard, and serves either way */
        if (w->quorum == 0 && ms > (apr_int64_t)w->config.ack_wait_ms / 2) {
            taint_all(w);
        }
        break;
    }
}

static int begin(faults_t *f, what_t what, int node)
{
    world_t *w = f->w;
    rng_t *r = &w->rng_faults;
    int any = what == F_WEATHER || what == F_WALL || what >= F_ONE_WAY;
    apr_int64_t ms = duration(w, what);
    fault_t *fault;

    if (!any && !may_hit(w, what, node)) {
        return 0;
    }
    if (!may_disturb(w, what)) {
        return 0;
    }
    fault = calloc(1, sizeof(*fault));
    fault->f = f;
    fault->what = what;
    fault->node = node;
    fault->other = (node + 1 + (int)rng_below(r, (apr_uint32_t)w->nmembers - 1)) % w->nmembers;
    fault->side = what == F_SPLIT || what == F_BLIP
                      ? (apr_uint64_t)rng_between(r, 1, (1 << w->nmembers) - 2)
                      : 0;
    fault->next = f->list;
    f->list = fault;
    f->active++;
    fault_apply(fault, ms);
    world_at(w, &fault->end, w->now + apr_time_from_msec(ms), end_due, fault);
    return 1;
}

/* ---- the schedule ---------------------------------------------------------------------------- */

static int all_sound(const world_t *w)
{
    return others_sound(w, -1) == w->nnodes;
}

static what_t draw(world_t *w)
{
    const int *p = weights[w->profile];
    int sum = 0, i, x;

    for (i = 0; i < FAULTS; i++) {
        sum += p[i];
    }
    x = (int)rng_below(&w->rng_faults, (apr_uint32_t)sum);
    for (i = 0; x >= p[i]; i++) {
        x -= p[i];
    }
    return (what_t)i;
}

static void next_due(void *baton, apr_time_t now);

static void plan_next(faults_t *f)
{
    rng_t *r = &f->w->rng_faults;
    apr_int64_t ms = f->w->profile == PROFILE_CALM
                         ? rng_between(r, 7000, 14000)
                         : rng_between(r, 100, rng_below(r, 2) ? 2000 : 9000);

    world_at(f->w, &f->next, f->w->now + apr_time_from_msec(ms), next_due, f);
}

static void next_due(void *baton, apr_time_t now)
{
    faults_t *f = baton;
    world_t *w = f->w;
    int most = w->profile == PROFILE_CALM || w->profile == PROFILE_ROLLING ? 1 : 3;

    if (now > f->stop_at) {
        return;
    }
    if (f->active < most && (w->profile != PROFILE_ROLLING || all_sound(w)) &&
        (w->profile != PROFILE_CALM || all_sound(w))) {
        what_t what = draw(w);
        int node = (int)rng_below(&w->rng_faults, (apr_uint32_t)w->nnodes);

        if (w->profile == PROFILE_ROLLING) {
            node = f->step++ % w->nnodes;
        }
        (void)begin(f, what, node);
    }
    plan_next(f);
}

static void watch_due(void *baton, apr_time_t now)
{
    faults_t *f = baton;
    world_t *w = f->w;
    int i;

    for (i = 0; i < w->nmembers; i++) {
        if (!node_healthy(w->node[i])) {
            w->node[i]->bad_at = now;
        }
    }
    if (f->parted >= 0 && f->cuts == 0 && now > f->met) {
        f->parted = -1;
    }
    world_at(w, &f->watch, now + WATCH_INTERVAL, watch_due, f);
}

void faults_create(world_t *w)
{
    faults_t *f = calloc(1, sizeof(*f));

    w->faults = f;
    f->w = w;
    f->freeze_began = -1;
    f->calm_since = f->parted = f->met = -1;
}

void faults_start(world_t *w, apr_time_t until)
{
    w->faults->stop_at = until;
    w->faults->calm_since = w->now;
    watch_due(w->faults, w->now);
    plan_next(w->faults);
}

void faults_end(world_t *w)
{
    faults_t *f = w->faults;
    fault_t *fault = f->list;

    world_cancel(w, &f->next);
    while (fault != NULL) {
        fault_t *next = fault->next;

        if (fault->what != F_LEAVE) {
            fault_end(fault); /* a leaving one comes back by itself */
        }
        fault = next;
    }
}

void faults_destroy(world_t *w)
{
    while (w->faults != NULL && w->faults->list != NULL) {
        fault_t *fault = w->faults->list;

        w->faults->list = fault->next;
        world_cancel(w, &fault->end);
        free(fault);
    }
    if (w->faults != NULL) {
        world_cancel(w, &w->faults->next);
        world_cancel(w, &w->faults->watch);
        free(w->faults);
    }
}

int faults_parted(const world_t *w, apr_time_t start)
{
    return w->faults->parted >= 0 || start <= w->faults->met;
}

int faults_calm(const world_t *w, apr_time_t start)
{
    const faults_t *f = w->faults;

    return f->active == 0 && f->calm_since >= 0 && start > f->calm_since + CALM_TIME;
}
