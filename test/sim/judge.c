/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How the nodes must look when all is healed and nothing has happened for a while: the same
 * sessions everywhere, each with all that was acknowledged (C2, C3, C4), and nothing left that
 * should be gone (C6).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

typedef struct entry_t {
    sc_id_t id;
    sc_record_t rec;
    apr_uint64_t digest;
    char primary[SC_ROUTE_MAX + 1];
    char backups[SC_BACKUPS_MAX * 8 + 1]; /* names of routes here are short */
    int holder;
    apr_uint32_t seen[SIM_ATTRS];
} entry_t;

typedef struct table_t {
    node_t *node;
    entry_t *e;
    apr_uint32_t n, cap;
} table_t;

/* ---- what a node has ------------------------------------------------------------------------- */

static void decode(entry_t *e, const unsigned char *body)
{
    sc_attr_t a;
    sc_rd_t rd;

    sc_rd_init(&rd, body, e->rec.body_len);
    while (sc_attr_get(&rd, &a) == APR_SUCCESS) {
        int i = a.name_len == 2 && a.name[0] == 'a' ? a.name[1] - '0' : -1;

        if (i >= 0 && i < SIM_ATTRS && !(a.flags & SC_ATTR_REMOVED)) {
            e->seen[i] = (apr_uint32_t)strtoul(a.value, NULL, 10);
        }
    }
}

static int collect_one(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    table_t *t = baton;
    sc_store_t *store = t->node->store;
    apr_uint16_t own;
    entry_t *e;
    int i;

    if (rec->flags & SC_REC_TOMBSTONE) {
        return 1;
    }
    if (t->n == t->cap) {
        t->cap = t->cap > 0 ? 2 * t->cap : 64;
        t->e = realloc(t->e, t->cap * sizeof(*t->e));
    }
    e = &t->e[t->n++];
    memset(e, 0, sizeof(*e));
    e->id = rec->id;
    e->rec = *rec;
    apr_cpystrn(e->primary, sc_store_route_name(store, rec->primary), sizeof(e->primary));
    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        apr_size_t len = strlen(e->backups);

        snprintf(e->backups + len, sizeof(e->backups) - len, "%s%s", i > 0 ? "," : "",
                 sc_store_route_name(store, rec->backups[i]));
    }
    if (sc_store_route(store, t->node->route, strlen(t->node->route), 0, &own) == APR_SUCCESS) {
        e->holder = sc_record_holder(rec, own) != SC_HOLDER_NONE;
    }
    if (!(rec->flags & SC_REC_PROXY)) {
        e->digest = sc_body_digest(body, rec->body_len);
        decode(e, body);
    }
    return 1;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(&((const entry_t *)a)->id, &((const entry_t *)b)->id, sizeof(sc_id_t));
}

static void collect(table_t *t, node_t *n)
{
    apr_uint32_t cursor = 0, i, k = 0;

    memset(t, 0, sizeof(*t));
    t->node = n;
    while (sc_store_scan(n->store, &cursor, 0, 65536, collect_one, t) == APR_SUCCESS) {
    }
    if (t->n > 0) {
        qsort(t->e, t->n, sizeof(*t->e), by_id);
    }
    for (i = 0; i < t->n; i++) { /* a scan may visit one twice */
        if (k == 0 || by_id(&t->e[k - 1], &t->e[i]) != 0) {
            t->e[k++] = t->e[i];
        }
    }
    t->n = k;
}

static const entry_t *find(const table_t *t, const sc_id_t *id)
{
    entry_t key;

    key.id = *id;
    return t->n > 0 ? bsearch(&key, t->e, t->n, sizeof(*t->e), by_id) : NULL;
}

static session_t *session_of(const world_t *w, const sc_id_t *id)
{
    session_t *s;

    for (s = w->sessions; s != NULL && !session_owns(s, id); s = s->next) {
    }
    return s;
}

/* ---- C4 -------------------------------------------------------------------------------------- */

static void compare_delta(world_t *w, const table_t *a, const table_t *b)
{
    apr_uint32_t i;

    for (i = 0; i < a->n; i++) {
        const entry_t *e = &a->e[i], *o = find(b, &e->id);
        session_t *s = session_of(w, &e->id);

        if (o == NULL) {
            violated(w, "C4 same", s, "session %d is on %s, but not on %s",
                     s != NULL ? s->number : 0, a->node->route, b->node->route);
        } else if (o->digest != e->digest) {
            violated(w, "C4 same", s, "session %d differs between %s and %s",
                     s != NULL ? s->number : 0, a->node->route, b->node->route);
        } else if (strcmp(o->primary, e->primary) != 0) {
            violated(w, "C4 primary", s, "session %d: its primary is %s on %s, but %s on %s",
                     s != NULL ? s->number : 0, e->primary, a->node->route, o->primary,
                     b->node->route);
        }
    }
}

static int count_names(const char *list)
{
    int n = *list != '\0';

    for (; *list != '\0'; list++) {
        n += *list == ',';
    }
    return n;
}

static int route_exists(const world_t *w, const char *route)
{
    int i;

    for (i = 0; i < w->nnodes && strcmp(w->node[i]->route, route) != 0; i++) {
    }
    return i < w->nnodes;
}

/** One session of which a holder or a proxy knows: all must know the same. */
static void judge_location(world_t *w, const table_t *t, const entry_t *e)
{
    session_t *s = session_of(w, &e->id);
    int want = (int)w->config.backup.backups, number = s != NULL ? s->number : 0, i;
    const entry_t *body = NULL;

    want = want < w->nnodes - 1 ? want : w->nnodes - 1;
    if (!route_exists(w, e->primary)) {
        violated(w, "C4 primary", s, "session %d: no primary, says %s", number, t->node->route);
    }
    if (count_names(e->backups) != want) {
        violated(w, "C4 backups", s, "session %d has the backups \"%s\", says %s", number,
                 e->backups, t->node->route);
    }
    for (i = 0; i < w->nnodes; i++) {
        const entry_t *o = find(t + i - t->node->index, &e->id);
        const char *route = w->node[i]->route;

        if (o == NULL) {
            violated(w, "C4 same", s, "session %d: %s knows nothing of it", number, route);
            return;
        }
        if (strcmp(o->primary, e->primary) != 0 || strcmp(o->backups, e->backups) != 0 ||
            o->rec.epoch != e->rec.epoch) {
            violated(w, "C4 location", s, "session %d: %s/%s epoch %u on %s, %s/%s epoch %u on %s",
                     number, e->primary, e->backups, e->rec.epoch, t->node->route, o->primary,
                     o->backups, o->rec.epoch, route);
        }
        if (o->holder != !(o->rec.flags & SC_REC_PROXY)) {
            violated(w, "C4 copies", s, "session %d: %s is %s, and has %s", number, route,
                     o->holder ? "a holder" : "none", o->holder ? "no copy" : "a copy");
        }
        if (o->holder && body != NULL && body->digest != o->digest) {
            violated(w, "C4 same", s, "session %d differs between holders", number);
        }
        body = o->holder ? o : body;
    }
}

/* ---- C2, C3 ---------------------------------------------------------------------------------- */

static int holds(const world_t *w, const entry_t *e)
{
    return w->config.manager == SC_MANAGER_DELTA || e->holder;
}

static int may_be_gone(const session_t *s)
{
    return !s->created || s->dying >= 0 || s->doubtful || session_may_idle(s, s->w->now);
}

static void judge_body(world_t *w, const table_t *t, const entry_t *e, session_t *s)
{
    /* parts that could not talk agree on the time within some drift, unless a clock was set in one
     */
    apr_interval_time_t slack = s->tainted < 0     ? 0
                                : w->faults->steps ? apr_time_from_sec(24 * 3600)
                                                   : apr_time_from_msec(200);
    char why[160];
    int i;

    for (i = 0; i < SIM_ATTRS; i++) {
        if (attr_judge(s, i, e->seen[i], w->now, slack, why, sizeof(why)) != NULL) {
            violated(w, strstr(why, "shown") != NULL ? "C2 shown" : "C2 acknowledged", s,
                     "session %d at the end on %s: %s", s->number, t->node->route, why);
        }
    }
}

static void judge_session(world_t *w, const table_t *tables, session_t *s)
{
    int i, seen = 0;

    for (i = 0; i < w->nnodes; i++) {
        const entry_t *e = find(&tables[i], &s->id);
        apr_uint32_t k;

        seen += e != NULL && holds(w, e);
        if (e != NULL && s->dead >= 0 && w->profile != PROFILE_LOSS) {
            violated(w, "C3 logout", s, "session %d, logged out, is on %s at the end", s->number,
                     w->node[i]->route);
        }
        for (k = 0; k < s->nold && !s->doubtful && w->profile != PROFILE_LOSS; k++) {
            if (find(&tables[i], &s->old[k]) != NULL) {
                violated(w, "C3 renamed", s, "session %d is under an old id on %s", s->number,
                         w->node[i]->route);
            }
        }
        if (e != NULL && holds(w, e) && w->profile != PROFILE_LOSS) {
            judge_body(w, &tables[i], e, s);
        }
    }
    if (seen == 0 && !may_be_gone(s) && w->profile != PROFILE_LOSS) {
        violated(w, "C2 lost", s, "session %d is nowhere at the end", s->number);
    }
}

void judge_end(world_t *w)
{
    table_t *tables = calloc((apr_size_t)w->nnodes, sizeof(*tables));
    session_t *s;
    apr_uint32_t k;
    int i;

    for (i = 0; i < w->nnodes; i++) {
        collect(&tables[i], w->node[i]);
        if (!node_healthy(w->node[i])) {
            violated(w, "C4 ready", NULL, "%s is not ready at the end", w->node[i]->route);
        }
    }
    for (s = w->sessions; s != NULL; s = s->next) {
        judge_session(w, tables, s);
    }
    for (i = 0; i < w->nnodes; i++) {
        if (w->config.manager == SC_MANAGER_BACKUP) {
            for (k = 0; k < tables[i].n; k++) {
                judge_location(w, &tables[i], &tables[i].e[k]);
            }
        } else if (i > 0) {
            compare_delta(w, &tables[0], &tables[i]);
            compare_delta(w, &tables[i], &tables[0]);
        }
    }
    for (i = 0; i < w->nnodes; i++) {
        free(tables[i].e);
    }
    free(tables);
}

int judge_is_ending(world_t *w)
{
    int i, ending = 0;

    for (i = 0; i < w->nnodes; i++) {
        table_t t;
        apr_uint32_t k;

        collect(&t, w->node[i]);
        for (k = 0; k < t.n && !ending; k++) {
            const session_t *s = session_of(w, &t.e[k].id);

            ending = s != NULL && session_may_idle(s, w->now);
        }
        free(t.e);
    }
    return ending;
}

/* ---- C6 -------------------------------------------------------------------------------------- */

void judge_rest(world_t *w)
{
    int i;

    for (i = 0; i < w->nnodes; i++) {
        node_t *n = w->node[i];
        sc_store_stats_t stats;
        sc_view_t view;
        apr_uint32_t k;

        sc_store_stats(n->engine->store, &stats);
        if (w->config.delta.tombstone_s <= 60 && stats.tombstones > 0) {
            violated(w, "C6 tombstones", NULL, "%s still has %lu tombstones", n->route,
                     (unsigned long)stats.tombstones);
        }
        memset(&view, 0, sizeof(view));
        sc_channel_view(n->engine->channel, &view);
        for (k = 0; k < view.count; k++) {
            if (view.member[k].queued > 4) { /* PINGs on their way are fine */
                violated(w, "C6 queue", NULL, "%s has %u records for %s that do not leave",
                         n->route, view.member[k].queued, view.member[k].route);
            }
        }
        if (n->calls != NULL || n->jobs != NULL) {
            violated(w, "C5 answered", n->calls != NULL ? n->calls->op->s : n->jobs->op->s,
                     "%s has not answered a request", n->route);
        }
    }
}
