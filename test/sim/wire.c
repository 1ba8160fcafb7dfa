/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What lies between the machines: TCP connections and datagrams, as far as processes notice.
 *
 * A connection delivers in order or not at all. What cannot pass (a cut, a machine that stands
 * still) is sent again after a while by the kernels, longer and longer, also after the sender has
 * closed: so old frames arrive late. What a process that stands still does not read waits in the
 * kernel's buffer. A dead process's connections are reset by its kernel; a dead machine says
 * nothing. While no engine runs but httpd does, connections are taken and wait for the next engine,
 * because the parent keeps the socket.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define RTO apr_time_from_msec(200)
#define RTO_CONNECT apr_time_from_sec(1)
#define RTO_MAX apr_time_from_sec(3)
/** How long a kernel goes on with what a process has left behind. */
#define ORPHAN_TIME apr_time_from_sec(60)
/** A frame that took longer is worth a line in the trace. */
#define LATE_TIME apr_time_from_msec(500)
/** Datagrams that a socket keeps for a process that does not read. */
#define DGRAMS_HELD 100

typedef enum fate_t { FATE_ARRIVE, FATE_RESET_BEFORE, FATE_RESET_AFTER } fate_t;

/** Something on its way: to the receiver a connect (no blob) or a frame, back a signal. */
typedef struct seg_t {
    struct seg_t *next;
    blob_t *blob;
    signal_t signal;
    fate_t fate;
    apr_time_t due;
    apr_time_t sent;
} seg_t;

/** One direction. */
typedef struct pipe_t {
    seg_t *head, **tail;
    apr_time_t last;
    sc_timer_t timer;
    apr_interval_time_t rto;
    int held; /* arrived, and the process does not read */
} pipe_t;

struct conn_t {
    conn_t *next, *prev;
    net_t *net;
    int from, to;
    struct line_t *line; /* the sender's end; NULL: closed */
    int receiver;        /* 0: not reached yet, 1: open, -1: reset */
    pipe_t forth, back;
    apr_time_t orphan_until;
    int busy;
};

typedef struct dgram_t {
    struct dgram_t *next, *prev;
    net_t *net;
    int from, to;
    int held;
    blob_t *blob;
    sc_timer_t timer;
} dgram_t;

/* ---- blobs ----------------------------------------------------------------------------------- */

blob_t *blob_new(const void *bytes, apr_size_t len, apr_uint32_t options)
{
    blob_t *b = malloc(sizeof(*b) + len);

    b->refs = 1;
    b->options = options;
    b->len = len;
    if (len > 0) {
        memcpy(b->bytes, bytes, len);
    }
    return b;
}

blob_t *blob_hold(blob_t *b)
{
    b->refs++;
    return b;
}

void blob_drop(blob_t *b)
{
    if (b != NULL && --b->refs == 0) {
        free(b);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

net_t *net_create(world_t *w)
{
    net_t *net = calloc(1, sizeof(*net));

    net->w = w;
    net->conns_tail = &net->conns;
    net_weather(net, 150, 400, 0, 0, 0, 0);
    return net;
}

static void pipe_clear(conn_t *c, pipe_t *p)
{
    while (p->head != NULL) {
        seg_t *s = p->head;

        p->head = s->next;
        blob_drop(s->blob);
        free(s);
    }
    p->tail = &p->head;
    p->held = 0;
    world_cancel(c->net->w, &p->timer);
}

static void conn_free(conn_t *c)
{
    net_t *net = c->net;

    pipe_clear(c, &c->forth);
    pipe_clear(c, &c->back);
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        net->conns = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    } else {
        net->conns_tail = c->prev != NULL ? &c->prev->next : &net->conns;
    }
    free(c);
}

/** Gone, when neither end has anything to expect. */
static void conn_reap(conn_t *c)
{
    if (!c->busy && c->line == NULL && c->forth.head == NULL) {
        conn_free(c);
    }
}

static void dgram_free(dgram_t *d)
{
    if (d->prev != NULL) {
        d->prev->next = d->next;
    } else {
        d->net->dgrams = d->next;
    }
    if (d->next != NULL) {
        d->next->prev = d->prev;
    }
    world_cancel(d->net->w, &d->timer);
    blob_drop(d->blob);
    free(d);
}

void net_destroy(net_t *net)
{
    while (net->conns != NULL) {
        conn_free(net->conns);
    }
    while (net->dgrams != NULL) {
        dgram_free(net->dgrams);
    }
    free(net);
}

/* ---- delays ---------------------------------------------------------------------------------- */

static apr_interval_time_t latency(net_t *net, int from, int to)
{
    const link_t *l = &net->link[from][to];

    return l->latency + rng_below(&net->w->rng_net, l->jitter + 1);
}

static void forth_due(void *baton, apr_time_t now);
static void back_due(void *baton, apr_time_t now);

static void pipe_arm(conn_t *c, pipe_t *p)
{
    if (p->head != NULL && !p->held && p->timer.index == 0) {
        apr_time_t due = p->head->due > c->net->w->now ? p->head->due : c->net->w->now;

        world_at(c->net->w, &p->timer, due, p == &c->forth ? forth_due : back_due, c);
    }
}

static seg_t *pipe_push(conn_t *c, pipe_t *p, apr_interval_time_t delay)
{
    seg_t *s = calloc(1, sizeof(*s));

    s->sent = c->net->w->now;
    s->due = s->sent + delay;
    if (s->due < p->last) {
        s->due = p->last;
    }
    p->last = s->due;
    *p->tail = s;
    p->tail = &s->next;
    return s;
}

static void pipe_pop(pipe_t *p)
{
    seg_t *s = p->head;

    p->head = s->next;
    if (p->head == NULL) {
        p->tail = &p->head;
    }
    p->rto = 0;
    blob_drop(s->blob);
    free(s);
}

/** It did not pass: the kernel tries again. */
static void pipe_retry(conn_t *c, pipe_t *p, apr_interval_time_t first)
{
    p->rto = p->rto == 0 ? first : p->rto * 2;
    if (p->rto > RTO_MAX) {
        p->rto = RTO_MAX;
    }
    p->head->due = c->net->w->now + p->rto;
    p->last = p->last > p->head->due ? p->last : p->head->due;
    pipe_arm(c, p);
}

static void signal_back(conn_t *c, signal_t what)
{
    seg_t *s;

    if (c->line == NULL) {
        return;
    }
    s = pipe_push(c, &c->back, latency(c->net, c->to, c->from));
    s->signal = what;
    pipe_arm(c, &c->back);
}

/* ---- arriving -------------------------------------------------------------------------------- */

static int passes(const net_t *net, int from, int to)
{
    const node_t *n = net->w->node[to];

    return !net->link[from][to].cut && n->power != POWER_OFF && n->frost != FROST_MACHINE;
}

static void reset_by_receiver(conn_t *c, signal_t how)
{
    c->receiver = -1;
    pipe_clear(c, &c->forth);
    signal_back(c, how);
}

/** @return 0: the frame must wait for the process */
static int frame_arrived(conn_t *c)
{
    node_t *n = c->net->w->node[c->to];
    seg_t *s = c->forth.head;
    int ack;

    if (!node_runs(n)) {
        c->forth.held = 1;
        return 0;
    }
    if (s->fate == FATE_RESET_BEFORE) {
        reset_by_receiver(c, SIG_RESET);
        return 1;
    }
    trace_mix(c->net->w, (apr_uint64_t)(c->from * 64 + c->to), s->blob->len);
    if (c->net->w->now - s->sent > LATE_TIME) {
        trace(c->net->w, "%s reads %lu bytes that %s sent at %.6f", n->route,
              (unsigned long)s->blob->len, c->net->w->node[c->from]->route, (double)s->sent / 1e6);
    }
    ack = engine_frame(n->engine, s->blob);
    if (s->fate == FATE_RESET_AFTER) {
        reset_by_receiver(c, SIG_RESET);
        return 1;
    }
    pipe_pop(&c->forth);
    if (ack >= 0) {
        signal_back(c, ack ? SIG_FAIL_ACK : SIG_ACK);
    }
    return 1;
}

static void forth_due(void *baton, apr_time_t now)
{
    conn_t *c = baton;
    node_t *n = c->net->w->node[c->to];
    int connect = c->forth.head->blob == NULL;

    if (!passes(c->net, c->from, c->to)) {
        if (c->line == NULL && now > c->orphan_until) {
            pipe_clear(c, &c->forth);
            conn_reap(c);
        } else {
            pipe_retry(c, &c->forth, connect ? RTO_CONNECT : RTO);
        }
        return;
    }
    c->busy = 1;
    if (n->power != POWER_ON) {
        reset_by_receiver(c, connect ? SIG_REFUSED : SIG_RESET);
    } else if (c->receiver < 0) {
        reset_by_receiver(c, SIG_RESET);
    } else if (connect) {
        c->receiver = 1;
        pipe_pop(&c->forth);
        signal_back(c, SIG_CONNECTED);
    } else {
        (void)frame_arrived(c);
    }
    c->busy = 0;
    pipe_arm(c, &c->forth);
    conn_reap(c);
}

static void back_due(void *baton, apr_time_t now)
{
    conn_t *c = baton;
    signal_t what = c->back.head->signal;

    (void)now;
    if (!passes(c->net, c->to, c->from)) {
        pipe_retry(c, &c->back, RTO);
        return;
    }
    if (!node_runs(c->net->w->node[c->from])) {
        c->back.held = 1;
        return;
    }
    pipe_pop(&c->back);
    c->busy = 1;
    if (c->line != NULL) {
        line_signal(c->line, what);
    }
    c->busy = 0;
    if (c->line == NULL) {
        pipe_clear(c, &c->back);
    }
    pipe_arm(c, &c->back);
    conn_reap(c);
}

/* ---- what a sender does ---------------------------------------------------------------------- */

conn_t *conn_open(net_t *net, int from, int to, struct line_t *line)
{
    conn_t *c = calloc(1, sizeof(*c));

    c->net = net;
    c->from = from;
    c->to = to;
    c->line = line;
    c->forth.tail = &c->forth.head;
    c->back.tail = &c->back.head;
    if (net->conns == NULL) {
        net->conns = c;
    } else {
        *net->conns_tail = c;
        c->prev = (conn_t *)((char *)net->conns_tail - offsetof(conn_t, next));
    }
    net->conns_tail = &c->next;
    (void)pipe_push(c, &c->forth, latency(net, from, to));
    pipe_arm(c, &c->forth);
    return c;
}

void conn_send(conn_t *c, blob_t *b)
{
    const link_t *l = &c->net->link[c->from][c->to];
    rng_t *r = &c->net->w->rng_net;
    apr_interval_time_t delay = latency(c->net, c->from, c->to);
    seg_t *s;

    if (rng_chance(r, l->stall_ppm)) {
        delay += rng_between(r, RTO, RTO_MAX);
    }
    s = pipe_push(c, &c->forth, delay);
    s->blob = blob_hold(b);
    if (rng_chance(r, l->reset_ppm)) {
        s->fate = rng_below(r, 2) ? FATE_RESET_BEFORE : FATE_RESET_AFTER;
    }
    pipe_arm(c, &c->forth);
}

void conn_close(conn_t *c)
{
    c->line = NULL;
    c->orphan_until = c->net->w->now + ORPHAN_TIME;
    if (c->receiver == 0) {
        pipe_clear(c, &c->forth); /* a connect that nobody waits for */
    }
    if (!c->busy) {
        pipe_clear(c, &c->back);
    }
    conn_reap(c);
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static int held_for(const net_t *net, int to)
{
    const dgram_t *d;
    int n = 0;

    for (d = net->dgrams; d != NULL; d = d->next) {
        n += d->to == to && d->held;
    }
    return n;
}

static void dgram_due(void *baton, apr_time_t now)
{
    dgram_t *d = baton;
    node_t *n = d->net->w->node[d->to];

    (void)now;
    if (node_runs(n) && passes(d->net, d->from, d->to)) {
        trace_mix(d->net->w, (apr_uint64_t)(0x10000 + d->from * 64 + d->to), d->blob->len);
        engine_datagram(n->engine, d->blob->bytes, d->blob->len);
    } else if (n->power == POWER_ON && passes(d->net, d->from, d->to) &&
               held_for(d->net, d->to) < DGRAMS_HELD) {
        d->held = 1;
        return;
    }
    dgram_free(d);
}

static void dgram_send(net_t *net, int from, int to, blob_t *b)
{
    const link_t *l = &net->link[from][to];
    rng_t *r = &net->w->rng_net;
    dgram_t *d;

    if (rng_chance(r, l->loss_ppm)) {
        return;
    }
    d = calloc(1, sizeof(*d));
    d->net = net;
    d->from = from;
    d->to = to;
    d->blob = blob_hold(b);
    d->next = net->dgrams;
    if (d->next != NULL) {
        d->next->prev = d;
    }
    net->dgrams = d;
    world_at(net->w, &d->timer, net->w->now + latency(net, from, to), dgram_due, d);
}

void net_group_send(net_t *net, int from, const void *bytes, apr_size_t len)
{
    blob_t *b = blob_new(bytes, len, 0);
    int to;

    for (to = 0; to < net->w->nmembers; to++) {
        dgram_send(net, from, to, b);
        if (rng_chance(&net->w->rng_net, net->link[from][to].dup_ppm)) {
            dgram_send(net, from, to, b);
        }
    }
    blob_drop(b);
}

/* ---- what happens to the ends ---------------------------------------------------------------- */

/** @param told whether its kernel lives to tell the others */
static void receiver_gone(net_t *net, int node, int told)
{
    conn_t *c, *next;

    for (c = net->conns; c != NULL; c = next) {
        next = c->next;
        if (c->to == node && c->receiver == 1) {
            c->receiver = -1;
            if (c->forth.held) {
                pipe_clear(c, &c->forth);
            }
            if (told) {
                signal_back(c, SIG_RESET);
            }
            conn_reap(c);
        }
    }
}

static void sender_gone(net_t *net, int node, apr_uint32_t lost_ppm)
{
    conn_t *c, *next;

    for (c = net->conns; c != NULL; c = next) {
        next = c->next;
        if (c->from == node && c->line == NULL && rng_chance(&net->w->rng_net, lost_ppm)) {
            pipe_clear(c, &c->forth);
            conn_reap(c);
        }
    }
}

void net_engine_gone(net_t *net, int node)
{
    receiver_gone(net, node, 1);
    sender_gone(net, node, 500000);
}

void net_node_gone(net_t *net, int node, int silent)
{
    dgram_t *d, *next;

    receiver_gone(net, node, !silent);
    sender_gone(net, node, 1000000);
    for (d = net->dgrams; d != NULL; d = next) {
        next = d->next;
        if (d->to == node && d->held) {
            dgram_free(d);
        }
    }
}

void net_awake(net_t *net, int node, apr_time_t when)
{
    conn_t *c;
    dgram_t *d;

    for (c = net->conns; c != NULL; c = c->next) {
        if (c->to == node && c->forth.held) {
            c->forth.held = 0;
            c->forth.head->due = when;
            pipe_arm(c, &c->forth);
        }
        if (c->from == node && c->back.held) {
            c->back.held = 0;
            c->back.head->due = when;
            pipe_arm(c, &c->back);
        }
    }
    for (d = net->dgrams; d != NULL; d = d->next) {
        if (d->to == node && d->held) {
            d->held = 0;
            world_at(net->w, &d->timer, when, dgram_due, d);
        }
    }
}

/* ---- weather --------------------------------------------------------------------------------- */

void net_cut(net_t *net, int from, int to, int cut)
{
    link_t *l = &net->link[from][to];

    l->cut = cut;
    l->bad_at = net->w->now;
}

int net_apart(const net_t *net, int a, int b)
{
    return net->link[a][b].cut || net->link[b][a].cut;
}

void net_weather(net_t *net, apr_uint32_t least, apr_uint32_t jitter, apr_uint32_t reset_ppm,
                 apr_uint32_t stall_ppm, apr_uint32_t loss_ppm, apr_uint32_t dup_ppm)
{
    int a, b;

    for (a = 0; a < SC_MEMBERS_MAX; a++) {
        for (b = 0; b < SC_MEMBERS_MAX; b++) {
            link_t *l = &net->link[a][b];

            l->latency = least;
            l->jitter = jitter;
            l->reset_ppm = a == b ? 0 : reset_ppm;
            l->stall_ppm = a == b ? 0 : stall_ppm;
            l->loss_ppm = a == b ? 0 : loss_ppm;
            l->dup_ppm = a == b ? 0 : dup_ppm;
        }
    }
}
