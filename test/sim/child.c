/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The children of a node: what src/httpd/session_load.c and session_save.c do with the store, the
 * noticeboard and the engine, step by step, each step at a time of its own, so that freezes, deaths
 * and other requests come in between.
 *
 * A call to the engine outlives the child that waits for it, as a message in a socket does: an
 * engine that thaws reads it, and does it, although nobody wants the answer any more. What an
 * engine had read and not answered when it died is sent again to its successor, if its child still
 * waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "sc_message.h"

#define RESPAWN_TIME apr_time_from_sec(3)
#define TAKEOVER_TIME apr_time_from_msec(100)

typedef enum lookup_t {
    LOOKUP_HIT,
    LOOKUP_GONE,
    LOOKUP_IDLE,
    LOOKUP_ELSEWHERE,
    LOOKUP_UNSURE
} lookup_t;

const char *answer_name(answer_t a)
{
    static const char *const names[] = {"ok", "gone", "unknown", "refused", "failed", "unreached"};

    return names[a];
}

static rng_t *random_of(const node_t *n)
{
    return &n->w->rng_nodes;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void job_link(job_t *job, job_t **list)
{
    job->next = *list;
    job->link = list;
    if (job->next != NULL) {
        job->next->link = &job->next;
    }
    *list = job;
}

static void job_unlink(job_t *job)
{
    *job->link = job->next;
    if (job->next != NULL) {
        job->next->link = job->link;
    }
}

static void later(job_t *job, apr_interval_time_t delay, sc_timer_fn_t *fn)
{
    (void)sc_timer_set(job->node->child_timers, &job->timer, node_mono(job->node) + delay, fn, job);
}

static void reply_due(void *baton, apr_time_t now)
{
    job_t *job = baton;
    op_t *op = job->op;

    (void)now;
    job_unlink(job);
    client_answer(op, job->attempt, job->node, (answer_t)job->result, job);
    op_release(op);
    free(job);
}

/** The response leaves. The child is free again. */
static void finish(job_t *job, answer_t result)
{
    node_t *n = job->node;

    trace_mix(n->w, (apr_uint64_t)job->op->serial, (apr_uint64_t)result);
    job->result = result;
    sc_timer_cancel(n->child_timers, &job->timer);
    if (job->call != NULL) {
        job->call->job = NULL;
        job->call = NULL;
    }
    job_unlink(job);
    job_link(job, &n->w->replies);
    world_at(n->w, &job->timer, n->w->now + rng_between(random_of(n), 100, 800), reply_due, job);
}

void child_end(world_t *w)
{
    while (w->replies != NULL) {
        job_t *job = w->replies;

        job_unlink(job);
        world_cancel(w, &job->timer);
        free(job);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void call_free(call_t *c)
{
    node_t *n = c->node;
    call_t **link = &n->calls;

    while (*link != c) {
        link = &(*link)->next;
    }
    *link = c->next;
    if (c->next == NULL) {
        n->calls_tail = link;
    }
    world_cancel(n->w, &c->timer);
    sc_timer_cancel(n->child_timers, &c->deadline);
    op_release(c->op);
    free(c);
}

static void go_on_due(void *baton, apr_time_t now)
{
    job_t *job = baton;

    (void)now;
    job->go_on(job, job->outcome);
}

/** The child stops waiting. */
static void call_ended(call_t *c, int outcome)
{
    job_t *job = c->job;

    c->job = NULL;
    sc_timer_cancel(c->node->child_timers, &c->deadline);
    if (job != NULL) {
        job->call = NULL;
        job->outcome = outcome;
        later(job, rng_between(random_of(job->node), 10, 60), go_on_due);
    }
}

static void deadline_due(void *baton, apr_time_t now)
{
    (void)now;
    call_ended(baton, -1);
}

static void call_arrives(void *baton, apr_time_t now)
{
    call_t *c = baton;
    node_t *n = c->node;
    sc_link_call_t call = {NULL, 0, 0};

    (void)now;
    if (!node_runs(n) || n->engine->draining) {
        return; /* it waits in the socket */
    }
    c->gen = n->engine->gen;
    c->given = node_mono(n);
    call.conn_serial = c->gen;
    call.serial = c->serial;
    sc_manager_request(n->engine->manager, &call, c->what, c->again, c->body, c->len);
}

static void call_travels(call_t *c, apr_interval_time_t most)
{
    world_at(c->node->w, &c->timer, c->node->w->now + rng_between(random_of(c->node), 10, most),
             call_arrives, c);
}

/** Ask the engine; go_on is called once. */
static void ask(job_t *job, sc_link_op_t what, sc_change_t *change, apr_interval_time_t bound,
                void (*go_on)(job_t *, int))
{
    node_t *n = job->node;
    sc_buf_t b;
    call_t *c;

    change->context = SIM_CONTEXT;
    change->context_len = sizeof(SIM_CONTEXT) - 1;
    change->id = job->op->id;
    if (change->hint == NULL) {
        change->hint = "";
    }
    sc_buf_init(&b, 1024 * 1024);
    sc_change_put(&b, change);
    c = calloc(1, sizeof(*c) + b.len);
    memcpy(c->body, b.data, b.len);
    c->len = b.len;
    sc_buf_free(&b);
    c->node = n;
    c->job = job;
    c->op = job->op;
    c->serial = ++n->call_serial;
    c->what = what;
    c->bound = bound;
    *n->calls_tail = c;
    n->calls_tail = &c->next;
    op_hold(c->op);
    job->call = c;
    job->go_on = go_on;
    (void)sc_timer_set(n->child_timers, &c->deadline, node_mono(n) + bound, deadline_due, c);
    call_travels(c, 120);
}

/** The bound of C5: what the child would have waited, unless something stood still meanwhile. */
static void check_bound(const engine_t *e, const call_t *c)
{
    const node_t *n = e->node;
    apr_interval_time_t took = node_mono(n) - c->given;

    if (took > c->bound && c->bound > apr_time_from_sec(1) && node_when(n, c->given) > n->thawed) {
        violated(n->w, "C5 bound", c->op->s,
                 "%s answered a request (op %d) after %" APR_TIME_T_FMT
                 " ms, its child waited for %" APR_TIME_T_FMT,
                 n->route, c->op->serial, apr_time_as_msec(took), apr_time_as_msec(c->bound));
    }
}

void child_answered(engine_t *e, const sc_link_call_t *call, sc_outcome_t outcome,
                    apr_interval_time_t wait_us)
{
    node_t *n = e->node;
    call_t *c = n->calls;

    if (e->dead || n->w->plan->traffic) {
        return;
    }
    while (c != NULL && (c->serial != call->serial || c->gen != call->conn_serial)) {
        c = c->next;
    }
    if (c == NULL || call->conn_serial != e->gen) {
        violated(n->w, "C5 answer", NULL, "%s answered request %u of engine %lu twice", n->route,
                 call->serial, (unsigned long)call->conn_serial);
        return;
    }
    check_bound(e, c);
    trace_mix(n->w, (apr_uint64_t)c->op->serial << 8 | (apr_uint64_t)c->what,
              (apr_uint64_t)outcome);
    if (c->job != NULL && wait_us > c->job->waited) {
        c->job->waited = wait_us;
    }
    call_ended(c, (int)outcome);
    call_free(c);
}

void child_engine_started(node_t *n)
{
    call_t *c;

    for (c = n->calls; c != NULL; c = c->next) {
        if (c->gen == 0 && c->timer.index == 0) {
            call_travels(c, 2000);
        }
    }
}

void child_thawed(node_t *n)
{
    if (n->engine != NULL) {
        child_engine_started(n);
    }
}

void child_engine_gone(node_t *n)
{
    call_t *c = n->calls;

    while (c != NULL) {
        call_t *next = c->next;

        if (c->gen != 0 && c->job == NULL) {
            call_free(c);
        } else if (c->gen != 0) {
            c->gen = 0;
            c->again = 1;
        }
        c = next;
    }
}

void child_all_gone(node_t *n)
{
    while (n->jobs != NULL) {
        finish(n->jobs, ANSWER_FAILED);
    }
    while (n->calls != NULL) {
        call_free(n->calls);
    }
}

/* ---- looking a session up: session_load.c ---------------------------------------------------- */

static int is_spread(const node_t *n)
{
    return n->config.manager == SC_MANAGER_BACKUP;
}

static sc_holder_t held_as(const node_t *n, const sc_record_t *rec)
{
    apr_uint16_t route;

    if (sc_store_route(n->store, n->route, strlen(n->route), 0, &route) != APR_SUCCESS) {
        return SC_HOLDER_NONE;
    }
    return sc_record_holder(rec, route);
}

static apr_status_t read_store(const job_t *job, sc_stored_t *out)
{
    node_t *n = job->node;
    apr_uint16_t context;

    if (sc_store_context(n->store, SIM_CONTEXT, sizeof(SIM_CONTEXT) - 1, 0, &context) !=
        APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    return sc_store_read(n->store, context, &job->op->id, n->scratch, out);
}

static lookup_t judge(const node_t *n, const sc_stored_t *stored)
{
    const sc_record_t *rec = &stored->rec;

    if (rec->flags & SC_REC_TOMBSTONE) {
        return rec->max_idle_s == SC_DEAD_IDLE ? LOOKUP_IDLE : LOOKUP_GONE;
    }
    if (rec->flags & SC_REC_PROXY) {
        return LOOKUP_ELSEWHERE;
    }
    if (rec->max_idle_s &&
        sc_store_last_access(n->store, stored) + apr_time_from_sec((apr_time_t)rec->max_idle_s) <=
            node_mono(n)) {
        return LOOKUP_IDLE;
    }
    return LOOKUP_HIT;
}

static void found(job_t *job, const sc_stored_t *stored);

static void decided(job_t *job, lookup_t means, const sc_stored_t *stored)
{
    switch (means) {
    case LOOKUP_HIT:
        found(job, stored);
        break;
    case LOOKUP_GONE:
    case LOOKUP_IDLE:
        finish(job, ANSWER_GONE);
        break;
    default:
        finish(job, ANSWER_UNKNOWN);
        break;
    }
}

static void fetched(job_t *job, int outcome)
{
    sc_stored_t stored;

    switch (outcome) {
    case SC_FOUND:
        apr_pool_clear(job->node->scratch);
        if (read_store(job, &stored) != APR_SUCCESS) {
            finish(job, ANSWER_UNKNOWN);
        } else {
            decided(job, judge(job->node, &stored), &stored);
        }
        break;
    case SC_ABSENT:
        finish(job, ANSWER_GONE);
        break;
    case SC_NO_QUORUM:
        finish(job, ANSWER_REFUSED);
        break;
    default:
        finish(job, ANSWER_UNKNOWN);
        break;
    }
}

static void fetch(job_t *job)
{
    const sc_config_t *c = &job->node->config;
    sc_change_t change = {0};

    change.hint = job->op->route;
    change.hint_len = strlen(job->op->route);
    ask(job, SC_LINK_FETCH, &change,
        apr_time_from_msec((apr_time_t)c->delta.fetch_ms + c->ack_wait_ms) + RESPAWN_TIME, fetched);
}

static int knows_best(const node_t *n, const sc_record_t *rec, const char *route)
{
    if (sc_board_get(n->board->node_state) != SC_NODE_READY) {
        return 0;
    }
    if (is_spread(n)) {
        return rec != NULL && held_as(n, rec) == SC_HOLDER_PRIMARY;
    }
    return !*route || strcmp(route, n->route) == 0;
}

static void look_up(job_t *job)
{
    node_t *n = job->node;
    apr_time_t lease = sc_board_get(n->board->lease_until);
    sc_stored_t stored;
    apr_status_t rv;
    lookup_t means;
    int here;

    apr_pool_clear(n->scratch);
    rv = read_store(job, &stored);
    here = rv == APR_SUCCESS;
    means = here ? judge(n, &stored) : LOOKUP_UNSURE;
    if (here && means == LOOKUP_GONE) {
        decided(job, means, &stored);
    } else if ((lease != 0 && node_mono(n) >= lease) || (!here && rv != APR_NOTFOUND) ||
               means == LOOKUP_ELSEWHERE || (here && (stored.rec.flags & SC_REC_DOUBT))) {
        fetch(job);
    } else if (means == LOOKUP_HIT &&
               (!is_spread(n) || held_as(n, &stored.rec) != SC_HOLDER_NONE)) {
        decided(job, means, &stored);
    } else if (means != LOOKUP_HIT && knows_best(n, here ? &stored.rec : NULL, job->op->route)) {
        finish(job, ANSWER_GONE);
    } else {
        fetch(job);
    }
}

/* ---- what the request does: session_save.c --------------------------------------------------- */

/** The number that a value stands for; 0: no attribute. */
static void decode(job_t *job, const sc_stored_t *stored)
{
    sc_attr_t a;
    sc_rd_t rd;

    memset(job->seen, 0, sizeof(job->seen));
    job->found = 1;
    sc_rd_init(&rd, stored->body, stored->rec.body_len);
    while (sc_attr_get(&rd, &a) == APR_SUCCESS) {
        int i = a.name_len == 2 && a.name[0] == 'a' ? a.name[1] - '0' : -1;

        if (i >= 0 && i < SIM_ATTRS && !(a.flags & SC_ATTR_REMOVED)) {
            job->seen[i] = (apr_uint32_t)strtoul(a.value, NULL, 10);
        }
    }
}

static void saved(job_t *job, int outcome)
{
    const op_t *op = job->op;

    switch (outcome) {
    case SC_DONE:
    case SC_DEGRADED:
        if (op->kind == OP_CREATE) {
            memcpy(job->route, job->node->route, sizeof(job->route));
        }
        finish(job, ANSWER_OK);
        break;
    case SC_ABSENT:
        finish(job, op->kind == OP_LOGOUT ? ANSWER_OK : ANSWER_GONE);
        break;
    case SC_NOT_REPLICATED:
    case SC_NO_QUORUM:
        finish(job, ANSWER_REFUSED);
        break;
    case SC_UNKNOWN:
        finish(job, ANSWER_UNKNOWN);
        break;
    default:
        finish(job, ANSWER_FAILED);
        break;
    }
}

static void save(void *baton, apr_time_t now)
{
    job_t *job = baton;
    const op_t *op = job->op;
    const sc_config_t *c = &job->node->config;
    sc_link_op_t what = SC_LINK_CHANGE;
    sc_change_t change = {0};
    char value[80];
    sc_buf_t attrs;
    int len;

    (void)now;
    sc_buf_init(&attrs, 4096);
    if (op->attr >= 0) {
        char name[3] = {'a', (char)('0' + op->attr), '\0'};

        len = snprintf(value, sizeof(value), "%u %.*s", op->version, (int)(op->version * 7 % 60),
                       "the quick brown fox jumps over the lazy dog and comes back!!");
        sc_change_attr_put(&attrs, name, 2, op->kind == OP_DEL ? NULL : value, (apr_size_t)len);
        change.nattrs = 1;
    }
    change.attrs = attrs.data;
    change.attrs_len = attrs.len;
    change.max_idle_s = op->s->max_idle_s;
    if (op->kind == OP_CREATE) {
        change.flags = SC_CHANGE_NEW;
    } else if (op->kind == OP_LOGOUT) {
        what = SC_LINK_REMOVE;
    } else if (op->kind == OP_RENAME) {
        what = SC_LINK_CHANGE_ID;
        change.new_id = op->new_id;
    }
    ask(job, what, &change,
        apr_time_from_msec((apr_time_t)c->delta.fetch_ms + 2 * (apr_time_t)c->ack_wait_ms) +
            RESPAWN_TIME,
        saved);
    sc_buf_free(&attrs);
}

static void bound(job_t *job)
{
    kind_t kind = job->op->kind;

    if (kind == OP_READ || kind == OP_GHOST) {
        finish(job, ANSWER_OK);
        return;
    }
    later(job, rng_between(random_of(job->node), 20, 3000), save);
}

static void taken_over(job_t *job, int outcome)
{
    if (outcome == SC_DONE || outcome == SC_DEGRADED || !is_spread(job->node)) {
        memcpy(job->route, job->node->route, sizeof(job->route));
    }
    bound(job);
}

static int is_alive(const node_t *n, const char *route)
{
    return *route && sc_board_route_alive(n->board, route, strlen(route));
}

static void found(job_t *job, const sc_stored_t *stored)
{
    node_t *n = job->node;
    const char *primary = sc_store_route_name(n->store, stored->rec.primary);
    const char *route = job->op->route;
    sc_change_t change = {0};
    sc_holder_t role = held_as(n, &stored->rec);

    decode(job, stored);
    sc_store_note_access(n->store, stored->cell, stored->gen, node_mono(n));
    if (strcmp(route, n->route) == 0) {
        if (is_spread(n) && role == SC_HOLDER_NONE && is_alive(n, primary)) {
            apr_cpystrn(job->route, primary, sizeof(job->route));
        }
        bound(job);
    } else if (is_alive(n, route)) {
        bound(job);
    } else if (role == SC_HOLDER_PRIMARY) {
        memcpy(job->route, n->route, sizeof(job->route));
        bound(job);
    } else {
        ask(job, SC_LINK_TAKEOVER, &change, TAKEOVER_TIME, taken_over);
    }
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void begin(void *baton, apr_time_t now)
{
    job_t *job = baton;

    if (sc_board_get(job->node->board->quorum_lost)) {
        finish(job, ANSWER_REFUSED);
    } else if (job->op->kind == OP_CREATE) {
        save(job, now);
    } else {
        look_up(job);
    }
}

void child_begin(node_t *n, op_t *op, int attempt)
{
    job_t *job;

    if (n->power == POWER_OFF) {
        return; /* nobody says so */
    }
    job = calloc(1, sizeof(*job));
    job->node = n;
    job->op = op;
    job->attempt = attempt;
    op_hold(op);
    job_link(job, &n->jobs);
    if (n->power == POWER_STOPPED || n->leaving) {
        finish(job, ANSWER_UNREACHED);
        return;
    }
    /* children that stand still begin when they thaw: then this is done although nobody waits */
    later(job, rng_between(random_of(n), 20, 400), begin);
}
