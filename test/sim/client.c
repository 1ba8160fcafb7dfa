/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Browsers, and the balancer before them.
 *
 * A browser has one session at a time and sends requests one after the other, now and then some at
 * once, for different attributes. The balancer sends them to the node of the cookie's route if it
 * believes it alive, else to the one that comes first for the session; some browsers have a
 * balancer that knows nothing of routes. What the balancer believes it reads from the noticeboard
 * of a member of its own, or it hears of deaths a while later. Nodes that refuse connections or do
 * not answer are left alone for a while, and the request is tried elsewhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "sc_placement.h"

#define PROXY_TIMEOUT apr_time_from_sec(5)
#define ERROR_TIME apr_time_from_sec(3)
#define ATTEMPTS 4
#define SESSIONS_MAX 200

typedef struct browser_t {
    world_t *w;
    int index;
    int sticky;
    int outstanding;
    session_t *s;
    session_t *ghost; /* whose id is tried once more */
    sc_id_t ghost_id;
    char route[SC_ROUTE_MAX + 1];
    sc_timer_t think;
    int pace; /* milliseconds between two requests, roughly */
} browser_t;

typedef struct belief_t {
    int alive;
    int actual;
    apr_time_t since;
    apr_time_t error_until;
} belief_t;

struct clients_t {
    world_t *w;
    int running;
    int nbrowsers;
    browser_t browser[SIM_BROWSERS];
    belief_t belief[SC_MEMBERS_MAX];
    apr_interval_time_t delay; /* until a balancer without a member of its own hears of something */
    apr_uint32_t view_gen;
    sc_view_t view;
};

static void attempt(op_t *op);

/* ---- the balancer's knowledge ---------------------------------------------------------------- */

static const node_t *balancer_node(const world_t *w)
{
    return w->nmembers > w->nnodes ? w->node[w->nnodes] : NULL;
}

static int view_says(clients_t *c, const node_t *b, const char *route)
{
    apr_uint32_t gen = sc_board_view_gen(b->board);
    apr_uint32_t i;
    int best = 0;

    if (gen != c->view_gen && sc_board_view(b->board, &c->view) == APR_SUCCESS) {
        c->view_gen = gen;
    }
    for (i = 0; i < c->view.count; i++) {
        const sc_board_member_t *m = &c->view.member[i];

        if (m->role == SC_ROLE_NODE && strcmp(m->route, route) == 0 && m->state != SC_MEMBER_GONE) {
            int is = m->node_state == SC_NODE_READY ? 3 : m->node_state == SC_NODE_MINORITY ? 1 : 2;

            best = is > best ? is : best;
        }
    }
    return best;
}

/** 0: dead, 3: good, between: alive but not of much use. */
static int standing(clients_t *c, int i)
{
    const node_t *n = c->w->node[i], *b = balancer_node(c->w);
    belief_t *k = &c->belief[i];
    int actual;

    if (b != NULL) {
        return view_says(c, b, n->route);
    }
    actual = n->power == POWER_ON && n->frost == FROST_NONE && !n->leaving && n->engine != NULL
                 ? (sc_board_get(n->board->node_state) == SC_NODE_READY ? 3 : 2)
                 : 0;
    if (actual != k->actual) {
        k->actual = actual;
        k->since = c->w->now;
    }
    if (c->w->now - k->since >= c->delay) {
        k->alive = actual;
    }
    return k->alive;
}

static int node_of_route(const world_t *w, const char *route)
{
    int i;

    for (i = 0; i < w->nnodes; i++) {
        if (strcmp(w->node[i]->route, route) == 0) {
            return i;
        }
    }
    return -1;
}

static int usable(clients_t *c, const op_t *op, int i)
{
    return !op->tried[i] && c->belief[i].error_until <= c->w->now;
}

/** With the backup manager: the holders that are known come first. */
static int by_location(clients_t *c, const op_t *op)
{
    const node_t *b = balancer_node(c->w);
    apr_uint16_t context;
    sc_record_t rec;
    int i, k;

    if (b == NULL || c->w->config.manager != SC_MANAGER_BACKUP ||
        sc_store_context(b->store, SIM_CONTEXT, sizeof(SIM_CONTEXT) - 1, 0, &context) !=
            APR_SUCCESS ||
        sc_store_locate(b->store, context, &op->id, &rec) != APR_SUCCESS) {
        return -1;
    }
    for (k = -1; k < SC_BACKUPS_MAX; k++) {
        i = node_of_route(c->w,
                          sc_store_route_name(b->store, k < 0 ? rec.primary : rec.backups[k]));
        if (i >= 0 && usable(c, op, i) && standing(c, i) == 3) {
            return i;
        }
    }
    return -1;
}

static int by_placement(clients_t *c, const op_t *op, int least)
{
    char id[SC_ID_HEX + 1];
    apr_uint64_t seed, weight, best_weight = 0;
    int i, best = -1;

    seed = sc_placement_seed(sc_id_format(&op->id, id), SC_ID_HEX);
    for (i = 0; i < c->w->nnodes; i++) {
        if (op->tried[i] || (least > 0 && (!usable(c, op, i) || standing(c, i) < least))) {
            continue;
        }
        weight = sc_placement_weight(seed, c->w->node[i]->route);
        if (best < 0 || sc_placement_before(weight, c->w->node[i]->route, best_weight,
                                            c->w->node[best]->route)) {
            best = i;
            best_weight = weight;
        }
    }
    return best;
}

static int choose(clients_t *c, const op_t *op)
{
    int i = node_of_route(c->w, op->route), k;

    if (!op->browser->sticky || !*op->route) {
        i = (int)rng_below(&c->w->rng_clients, (apr_uint32_t)c->w->nnodes);
        for (k = 0; k < c->w->nnodes && (!usable(c, op, i) || standing(c, i) < 3); k++) {
            i = (i + 1) % c->w->nnodes;
        }
        if (!op->tried[i]) {
            return i;
        }
    } else if (i >= 0 && usable(c, op, i) && standing(c, i) > 1) {
        return i;
    }
    i = by_location(c, op);
    for (k = 3; i < 0 && k >= 0; k--) {
        i = by_placement(c, op, k);
    }
    return i;
}

/* ---- one request ----------------------------------------------------------------------------- */

static void think(browser_t *b);

static void done(op_t *op, answer_t a, const job_t *job)
{
    browser_t *b = op->browser;
    session_t *s = op->s;

    world_cancel(b->w, &op->timer);
    op_end(op, (int)a, job);
    b->outstanding--;
    if (op->kind == OP_GHOST) {
        think(b);
        return;
    }
    if (a == ANSWER_OK && job != NULL && job->route[0] && b->s == s) {
        memcpy(b->route, job->route, sizeof(b->route));
    }
    if (op->kind == OP_CREATE && a == ANSWER_OK) {
        b->s = s;
    } else if (b->s == s && (a == ANSWER_GONE || (a == ANSWER_OK && op->kind == OP_LOGOUT))) {
        b->s = NULL;
        b->route[0] = '\0';
        if (a == ANSWER_OK && rng_below(&b->w->rng_clients, 2)) {
            b->ghost = s;
            b->ghost_id = s->id;
        }
    } else if (a == ANSWER_OK && op->kind == OP_RENAME && rng_below(&b->w->rng_clients, 2)) {
        b->ghost = s;
        b->ghost_id = op->id;
    }
    if (b->outstanding == 0) {
        think(b);
    }
}

static void arrives(void *baton, apr_time_t now);

static void gave_up(void *baton, apr_time_t now)
{
    op_t *op = baton;
    clients_t *c = op->s->w->clients;

    c->belief[op->on].error_until = now + ERROR_TIME;
    attempt(op);
}

/* The same timer: first the way to the node, then the time until the balancer gives it up. */
static void arrives(void *baton, apr_time_t now)
{
    op_t *op = baton;

    world_at(op->s->w, &op->timer, now + PROXY_TIMEOUT, gave_up, op);
    child_begin(op->s->w->node[op->on], op, op->attempts);
}

static void attempt(op_t *op)
{
    world_t *w = op->s->w;
    int i = op->attempts < ATTEMPTS ? choose(w->clients, op) : -1;
    apr_size_t len = strlen(op->path);

    if (i < 0) {
        done(op, op->attempts > 0 ? ANSWER_FAILED : ANSWER_UNREACHED, NULL);
        return;
    }
    op->attempts++;
    op->tried[i] = 1;
    op->on = i;
    snprintf(op->path + len, sizeof(op->path) - len, "%s%s", len > 0 ? ">" : "", w->node[i]->route);
    world_at(w, &op->timer, w->now + rng_between(&w->rng_clients, 100, 1500), arrives, op);
}

void client_answer(op_t *op, int number, node_t *n, answer_t a, const job_t *job)
{
    clients_t *c = op->s->w->clients;

    if (op->end >= 0 || number != op->attempts) {
        return; /* nobody waits for it any more */
    }
    switch (a) {
    case ANSWER_UNREACHED:
        c->belief[n->index].error_until = c->w->now + ERROR_TIME;
        attempt(op);
        break;
    case ANSWER_REFUSED:
        if (op->attempts < 3 && op->attempts < c->w->nnodes) {
            attempt(op);
        } else {
            done(op, a, job);
        }
        break;
    case ANSWER_FAILED:
        if (rng_below(&c->w->rng_clients, 2) && op->attempts < c->w->nnodes) {
            attempt(op);
        } else {
            done(op, a, job);
        }
        break;
    default:
        done(op, a, job);
        break;
    }
}

/* ---- browsers -------------------------------------------------------------------------------- */

static void send_op(browser_t *b, session_t *s, kind_t kind, int attr)
{
    op_t *op = op_begin(s, kind, attr, b->route);

    op->browser = b;
    if (kind == OP_RENAME) {
        (void)sc_id_generate(&op->new_id);
    } else if (kind == OP_GHOST) {
        op->id = b->ghost_id;
    }
    b->outstanding++;
    attempt(op);
}

static int free_attr(browser_t *b)
{
    int i = (int)rng_below(&b->w->rng_clients, SIM_ATTRS), k;

    for (k = 0; k < SIM_ATTRS && b->s->attr[i].busy; k++) {
        i = (i + 1) % SIM_ATTRS;
    }
    return b->s->attr[i].busy ? -1 : i;
}

static void write_or_read(browser_t *b)
{
    apr_uint32_t r = rng_below(&b->w->rng_clients, 100);
    int attr = free_attr(b);

    if (r < 30 || attr < 0) {
        send_op(b, b->s, OP_READ, -1);
    } else {
        send_op(b, b->s, r < 40 ? OP_DEL : OP_SET, attr);
    }
}

static void create(browser_t *b)
{
    rng_t *r = &b->w->rng_clients;
    session_t *s;
    sc_id_t id;

    if (b->w->nsessions >= SESSIONS_MAX) {
        return;
    }
    (void)sc_id_generate(&id);
    s = session_begin(b->w, &id, rng_below(r, 5) ? 1800 : 8 + rng_below(r, 32));
    b->route[0] = '\0';
    if (b->w->faults->parted >= 0) {
        s->tainted = b->w->now;
    }
    send_op(b, s, OP_CREATE, 0);
}

static void clicked(void *baton, apr_time_t now)
{
    browser_t *b = baton;
    apr_uint32_t r = rng_below(&b->w->rng_clients, 1000);
    int i;

    (void)now;
    if (!b->w->clients->running || b->outstanding > 0) {
        return;
    }
    if (b->ghost != NULL && rng_below(&b->w->rng_clients, 3) == 0) {
        session_t *ghost = b->ghost;

        b->ghost = NULL;
        send_op(b, ghost, OP_GHOST, -1);
    } else if (b->s == NULL) {
        create(b);
    } else if (r < 8) {
        send_op(b, b->s, OP_LOGOUT, -1);
    } else if (r < 16) {
        send_op(b, b->s, OP_RENAME, -1);
    } else if (r < 150) {
        for (i = (int)rng_below(&b->w->rng_clients, 2) + 2; i > 0 && b->s != NULL; i--) {
            write_or_read(b);
        }
    } else {
        write_or_read(b);
    }
}

static void think(browser_t *b)
{
    rng_t *r = &b->w->rng_clients;
    apr_int64_t ms = rng_between(r, 1, 2 * b->pace);

    if (!b->w->clients->running) {
        return;
    }
    if (rng_below(r, 40) == 0) {
        ms += rng_between(r, 500, 4000);
    }
    world_at(b->w, &b->think, b->w->now + apr_time_from_msec(ms), clicked, b);
}

/* ---- life ------------------------------------------------------------------------------------ */

void clients_create(world_t *w)
{
    clients_t *c = calloc(1, sizeof(*c));
    int i;

    w->clients = c;
    c->w = w;
    c->nbrowsers = (int)rng_between(&w->rng_clients, 5, 14);
    c->delay = rng_between(&w->rng_clients, 50000, 4000000);
    for (i = 0; i < c->nbrowsers; i++) {
        browser_t *b = &c->browser[i];

        b->w = w;
        b->index = i;
        b->sticky = rng_below(&w->rng_clients, 10) < 7;
        b->pace = (int)rng_between(&w->rng_clients, 60, 900);
    }
    for (i = 0; i < w->nnodes; i++) {
        c->belief[i].alive = c->belief[i].actual = 3;
    }
}

void clients_start(world_t *w)
{
    clients_t *c = w->clients;
    int i;

    c->running = 1;
    for (i = 0; i < c->nbrowsers; i++) {
        think(&c->browser[i]);
    }
}

void clients_stop(world_t *w)
{
    w->clients->running = 0;
}

int clients_busy(const world_t *w)
{
    const clients_t *c = w->clients;
    int i, n = 0;

    for (i = 0; i < c->nbrowsers; i++) {
        n += c->browser[i].outstanding;
    }
    return n;
}

void clients_destroy(world_t *w)
{
    child_end(w);
    free(w->clients);
    w->clients = NULL;
}
