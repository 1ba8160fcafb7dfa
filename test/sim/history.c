/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What clients asked, when, and what they were told: and whether they may be told that.
 *
 * An attribute is a register with one writer, whose values are the numbers 1, 2, 3... An operation
 * may take effect between its start and the moment at which nothing of it is left anywhere, its
 * "close": a request that a client gave up may be done much later by a node that thaws. So of two
 * versions one is surely older only when it was closed before the other began. A request must not
 * see a version that is surely older than one which was acknowledged or shown to anybody before
 * that request began.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/** Operations shown of a session, the last ones; with -v all. */
#define HISTORY_MAX 30
/** A list of accesses is on its way for no longer, when all is well. */
#define TOLD apr_time_from_msec(500)
/** What a request may take besides waiting for an acknowledgement. */
#define STALL_SLACK apr_time_from_msec(100)

const char *kind_name(kind_t k)
{
    static const char *const names[] = {"create", "set",    "del",  "read",
                                        "logout", "rename", "ghost"};

    return names[k];
}

/* ---- sessions -------------------------------------------------------------------------------- */

static version_t *add_version(attr_t *a, apr_time_t start, int removed)
{
    version_t *v;

    if (a->n == a->cap) {
        a->cap = a->cap > 0 ? 2 * a->cap : 16;
        a->v = realloc(a->v, a->cap * sizeof(*a->v));
    }
    v = &a->v[a->n++];
    v->start = start;
    v->closed = v->acked = v->shown = -1;
    v->removed = removed;
    return v;
}

session_t *session_begin(world_t *w, const sc_id_t *id, apr_uint32_t max_idle_s)
{
    session_t *s = calloc(1, sizeof(*s));
    int i;

    s->w = w;
    s->number = (int)++w->nsessions;
    s->id = *id;
    s->max_idle_s = max_idle_s;
    s->ops_tail = &s->ops;
    s->dying = s->dead = -1;
    s->tainted = -1;
    for (i = 0; i < SIM_ATTRS; i++) {
        version_t *none = add_version(&s->attr[i], 0, 1);

        none->closed = 0;
    }
    *w->sessions_tail = s;
    w->sessions_tail = &s->next;
    return s;
}

static void add_old(session_t *s, const sc_id_t *id)
{
    s->old = realloc(s->old, (s->nold + 1) * sizeof(*s->old));
    s->old[s->nold++] = *id;
}

int session_owns(const session_t *s, const sc_id_t *id)
{
    apr_uint32_t i;

    for (i = 0; i < s->nold; i++) {
        if (memcmp(&s->old[i], id, sizeof(*id)) == 0) {
            return 1;
        }
    }
    return memcmp(&s->id, id, sizeof(*id)) == 0;
}

/* ---- operations ------------------------------------------------------------------------------ */

op_t *op_begin(session_t *s, kind_t kind, int attr, const char *route)
{
    op_t *op = calloc(1, sizeof(*op));

    op->s = s;
    op->serial = (int)++s->w->noperations;
    op->kind = kind;
    op->attr = attr;
    op->id = s->id;
    apr_cpystrn(op->route, route, sizeof(op->route));
    op->start = s->w->now;
    op->end = op->closed = -1;
    op->on = -1;
    if (attr >= 0) {
        add_version(&s->attr[attr], op->start, kind == OP_DEL);
        op->version = s->attr[attr].n - 1;
        s->attr[attr].busy = 1;
    }
    if (kind == OP_LOGOUT && s->dying < 0) {
        s->dying = op->start;
    }
    *s->ops_tail = op;
    s->ops_tail = &op->next;
    op_hold(op);
    return op;
}

void op_hold(op_t *op)
{
    op->open++;
}

void op_release(op_t *op)
{
    if (--op->open == 0) {
        op->closed = op->s->w->now;
        if (op->attr >= 0) {
            op->s->attr[op->attr].v[op->version].closed = op->closed;
        }
    }
}

/* ---- C1 -------------------------------------------------------------------------------------- */

/** When somebody knew of it first; -1: nobody does. */
static apr_time_t known(const version_t *v)
{
    if (v->acked < 0 || (v->shown >= 0 && v->shown < v->acked)) {
        return v->shown;
    }
    return v->acked;
}

/** @return a version that makes this one too old for a request that began then, 0: none does */
static apr_uint32_t outdated(const attr_t *a, apr_uint32_t seen, apr_time_t start,
                             apr_interval_time_t slack)
{
    const version_t *v = &a->v[seen];
    apr_uint32_t i;

    for (i = a->n - 1; i > 0 && v->closed >= 0; i--) {
        apr_time_t since = known(&a->v[i]);

        if (since >= 0 && since < start && v->closed + slack <= a->v[i].start) {
            return i;
        }
    }
    return 0;
}

const char *attr_judge(const session_t *s, int attr, apr_uint32_t seen, apr_time_t start,
                       apr_interval_time_t slack, char *why, apr_size_t len)
{
    const attr_t *a = &s->attr[attr];
    apr_uint32_t newer = 0, i;

    if (seen >= a->n || (seen > 0 && a->v[seen].removed)) {
        snprintf(why, len, "a%d is %u, which was never written", attr, seen);
        return why;
    }
    for (i = 0; i < a->n; i++) {
        if (seen > 0 ? i == seen : a->v[i].removed) {
            apr_uint32_t by = outdated(a, i, start, slack);

            if (by == 0) {
                return NULL;
            }
            newer = by > newer ? by : newer;
        }
    }
    snprintf(why, len, "a%d is %u, but %u was %s at %.6f", attr, seen, newer,
             a->v[newer].acked >= 0 && a->v[newer].acked == known(&a->v[newer]) ? "acknowledged"
                                                                                : "shown",
             (double)known(&a->v[newer]) / 1e6);
    return why;
}

static int excused(const op_t *op)
{
    const session_t *s = op->s;

    return s->w->profile == PROFILE_LOSS || (s->tainted >= 0 && op->end >= s->tainted);
}

static void judge_values(const op_t *op, const job_t *job)
{
    session_t *s = op->s;
    /* the other side of a cut cannot know yet */
    int apart =
        (s->tainted >= 0 && faults_parted(s->w, op->start)) || s->w->profile == PROFILE_LOSS;
    char why[160];
    int i;

    if (s->dead >= 0 && s->dead < op->start && !apart) {
        violated(s->w, "C3 logout", s, "op %d on %s sees session %d, which was logged out at %.6f",
                 op->serial, job->node->route, s->number, (double)s->dead / 1e6);
    }
    if (op->kind == OP_GHOST && memcmp(&op->id, &s->id, sizeof(op->id)) != 0 && !s->doubtful &&
        !apart) {
        violated(s->w, "C3 renamed", s, "op %d on %s sees session %d under an id that was changed",
                 op->serial, job->node->route, s->number);
    }
    for (i = 0; i < SIM_ATTRS && !excused(op); i++) {
        if (attr_judge(s, i, job->seen[i], op->start, 0, why, sizeof(why)) != NULL) {
            violated(s->w, strstr(why, "shown") != NULL ? "C1 shown" : "C1 acknowledged", s,
                     "op %d on %s: %s", op->serial, job->node->route, why);
        }
    }
    for (i = 0; i < SIM_ATTRS; i++) {
        attr_t *a = &s->attr[i];

        /* a change that is still under way may yet be refused (docs/consistency.md) */
        if (job->seen[i] > 0 && job->seen[i] < a->n && a->v[job->seen[i]].shown < 0 &&
            a->v[job->seen[i]].closed >= 0) {
            a->v[job->seen[i]].shown = s->w->now;
        }
    }
}

int session_may_idle(const session_t *s, apr_time_t start)
{
    apr_interval_time_t told = apr_time_from_msec((apr_time_t)s->w->config.delta.touch_ms) + TOLD;
    apr_time_t used = s->used;

    /* a read that ended later may have been shown what was idle already, and until it is told only
     * its node knows of it */
    if (s->read > used && s->read + told <= start && s->reader->bad_at < s->read) {
        used = s->read;
    }
    return s->max_idle_s != 0 &&
           s->w->now - used >= apr_time_from_sec((apr_time_t)s->max_idle_s - 1);
}

static void judge_gone(const op_t *op, const job_t *job)
{
    session_t *s = op->s;

    if (op->kind == OP_GHOST || s->dying >= 0 || s->doubtful || session_may_idle(s, op->start) ||
        excused(op)) {
        return;
    }
    violated(s->w, "C1 absent", s, "op %d on %s: session %d is said not to exist", op->serial,
             job->node->route, s->number);
}

/* ---- the end of an operation ----------------------------------------------------------------- */

static void acknowledged(op_t *op, const job_t *job)
{
    session_t *s = op->s;

    if (op->kind == OP_READ || op->kind == OP_GHOST) {
        s->read = s->w->now;
        s->reader = job->node;
    } else {
        s->used = op->start > s->used ? op->start : s->used;
    }
    if (op->attr >= 0) {
        s->attr[op->attr].v[op->version].acked = s->w->now;
    }
    switch (op->kind) {
    case OP_CREATE:
        s->created = 1;
        s->created_at = s->w->now;
        break;
    case OP_LOGOUT:
        s->dead = s->w->now;
        break;
    case OP_RENAME:
        add_old(s, &op->id);
        s->id = op->new_id;
        break;
    default:
        break;
    }
}

/** One frozen node makes each other one wait once: for what is under way when it notices (C5). */
static void judge_stall(const op_t *op, const job_t *job)
{
    faults_t *f = op->s->w->faults;
    apr_interval_time_t wait = apr_time_from_msec(job->node->config.ack_wait_ms);
    /* with the backup manager a session may have to get another holder meanwhile */
    apr_interval_time_t most = op->s->w->config.manager == SC_MANAGER_DELTA ? wait / 5 : wait / 2;
    apr_time_t *first = &f->stall[job->node->index];

    if (f->freeze_began < 0 || job->node->index == f->freeze_node || op->attempts != 1 ||
        job->waited <= most || op->start < f->freeze_began) {
        return;
    }
    if (*first < 0) {
        *first = op->end - job->waited;
    } else if (op->start > *first + wait + STALL_SLACK) {
        violated(op->s->w, "C5 stall", op->s,
                 "op %d on %s waited %" APR_TIME_T_FMT " ms for n%d, frozen at %.6f, again",
                 op->serial, job->node->route, apr_time_as_msec(job->waited), f->freeze_node + 1,
                 (double)f->freeze_began / 1e6);
    }
}

/** With a quorum nodes wonder for a while whether a session that nobody has lives where they do not
 * look; in this profile it may have been lost. */
static int may_be_lost(const world_t *w)
{
    return w->profile == PROFILE_LOSS && w->config.quorum > 1;
}

void op_end(op_t *op, int result, const job_t *job)
{
    session_t *s = op->s;
    world_t *w = s->w;

    op->end = w->now;
    op->result = result;
    if (op->attr >= 0) {
        s->attr[op->attr].busy = 0;
    }
    if (job != NULL) {
        memcpy(op->seen, job->seen, sizeof(op->seen));
        op->has_seen = job->found;
        op->waited = job->waited;
    }
    trace(w, "op %d %s a%d=%u of session %d: %s by %s, waited %" APR_TIME_T_FMT " ms", op->serial,
          kind_name(op->kind), op->attr, op->version, s->number, answer_name((answer_t)result),
          op->path, apr_time_as_msec(op->waited));
    if (job != NULL && w->faults != NULL) {
        judge_stall(op, job);
    }
    if (op->kind == OP_RENAME && (result != ANSWER_OK || op->attempts > 1)) {
        s->doubtful = 1; /* an attempt without an answer may have done it */
        add_old(s, &op->new_id);
    }
    if (result == ANSWER_OK || result == ANSWER_GONE) {
        w->answered++;
        if (result == ANSWER_GONE) {
            judge_gone(op, job);
        } else {
            if (job->found) {
                judge_values(op, job);
            }
            acknowledged(op, job);
        }
    } else {
        w->noanswer++;
        if (faults_calm(w, op->start) && op->kind != OP_GHOST && !may_be_lost(w)) {
            violated(w, "A1 available", s, "op %d: %s, although nothing has gone wrong since %.6f",
                     op->serial, answer_name((answer_t)result),
                     (double)w->faults->calm_since / 1e6);
        }
    }
    op_release(op);
}

/* ---- showing it ------------------------------------------------------------------------------ */

void history_print(const session_t *s, FILE *out)
{
    int skip = -HISTORY_MAX, i;
    char id[SC_ID_HEX + 1];
    const op_t *op;

    for (op = s->ops; op != NULL && !s->w->plan->verbose; op = op->next) {
        skip++;
    }

    fprintf(out, "session %d, now %s, max idle %u s%s%s\n", s->number, sc_id_format(&s->id, id),
            s->max_idle_s, s->doubtful ? ", doubtful" : "", s->tainted >= 0 ? ", parted" : "");
    fprintf(out, "%6s %11s %11s %11s %-7s %-7s %-10s %s\n", "op", "start", "end", "closed", "what",
            "value", "result", "nodes, values seen");
    for (op = s->ops; op != NULL; op = op->next) {
        char value[24] = "";

        if (skip-- > 0) {
            continue;
        }
        if (op->attr >= 0) {
            snprintf(value, sizeof(value), "a%d=%u", op->attr, op->version);
        }
        fprintf(out, "%6d %11.6f %11.6f %11.6f %-7s %-7s %-10s %s", op->serial,
                (double)op->start / 1e6, op->end < 0 ? -1.0 : (double)op->end / 1e6,
                op->closed < 0 ? -1.0 : (double)op->closed / 1e6, kind_name(op->kind), value,
                op->end < 0 ? "open" : answer_name((answer_t)op->result), op->path);
        for (i = 0; i < SIM_ATTRS && op->has_seen; i++) {
            fprintf(out, " %u", op->seen[i]);
        }
        fprintf(out, "\n");
    }
}

void history_free(world_t *w)
{
    while (w->sessions != NULL) {
        session_t *s = w->sessions;
        int i;

        w->sessions = s->next;
        while (s->ops != NULL) {
            op_t *op = s->ops;

            s->ops = op->next;
            free(op);
        }
        for (i = 0; i < SIM_ATTRS; i++) {
            free(s->attr[i].v);
        }
        free(s->old);
        free(s);
    }
}
