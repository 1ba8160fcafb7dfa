/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Random histories of either manager; see random_net.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "random_net.h"

#define STEPS 120
#define LINES_MAX 400
#define CHANGES_MAX 400

/* A session as the test knows it. */
typedef struct line_t {
    apr_uint32_t id;   /* now */
    apr_uint32_t old;  /* before it was changed last */
    int renamed;       /* ever: a change of the old id in a partition may be lost then */
    int maybe_dead;    /* a removal was asked for; it may have found nothing */
    int dead;          /* it was removed where it was */
    apr_uint32_t made; /* call that created it */
} line_t;

typedef struct change_t {
    int line;
    apr_uint32_t call;
    char name[16];
} change_t;

typedef struct history_t {
    const random_kind_t *kind;
    net_t *net;
    line_t line[LINES_MAX];
    int nlines;
    change_t change[CHANGES_MAX];
    int nchanges;
    apr_uint32_t next_id;
    int crashes;
} history_t;

static int made(const history_t *h, apr_uint32_t call)
{
    const net_answer_t *a = &h->net->answer[call];

    return a->times == 1 &&
           (a->outcome == SC_DONE || (h->kind->degraded && a->outcome == SC_DEGRADED));
}

static int some_node(history_t *h)
{
    int i = (int)net_random(h->net, (apr_uint32_t)h->net->n);

    return h->net->node[i].alive ? i : -1;
}

static line_t *some_line(history_t *h)
{
    return h->nlines > 0 ? &h->line[net_random(h->net, (apr_uint32_t)h->nlines)] : NULL;
}

static void do_create(history_t *h, int node)
{
    line_t *l = &h->line[h->nlines];

    if (h->nlines == LINES_MAX) {
        return;
    }
    h->nlines++;
    l->id = h->next_id++;
    l->made = net_change(h->net, node, SC_CHANGE_NEW, 0, l->id, "first", "1", (char *)NULL);
}

static void do_change(history_t *h, int node, line_t *l)
{
    change_t *c = &h->change[h->nchanges];
    apr_uint32_t id = l->renamed && net_random(h->net, 3) == 0 ? l->old : l->id;

    if (h->nchanges == CHANGES_MAX) {
        return;
    }
    h->nchanges++;
    snprintf(c->name, sizeof(c->name), "own%d", h->nchanges);
    c->line = (int)(l - h->line);
    c->call = net_change(h->net, node, 0, 0, id, c->name, "1", "shared", c->name, "gone",
                         net_random(h->net, 2) ? "-" : "2", (char *)NULL);
}

static void do_remove(history_t *h, int node, line_t *l)
{
    int here = net_look(h->net, node, l->id, NULL) == NET_LIVE && h->kind->buries(h->net, node);

    l->maybe_dead = 1;
    (void)net_remove(h->net, node, l->id);
    l->dead |= here; /* buried in this node's store before anything else can happen */
}

static void do_rename(history_t *h, int node, line_t *l)
{
    apr_uint32_t new_id = h->next_id;
    /* a node that has not heard of a change of id may change it once more, to another one */
    apr_uint32_t id = l->renamed && net_random(h->net, 2) ? l->old : l->id;

    if (net_look(h->net, node, id, NULL) == NET_LIVE) {
        h->next_id++;
        l->renamed = 1;
        (void)net_change_id(h->net, node, id, new_id, 0, "renamed", "1");
        l->old = id;
        l->id = new_id;
    }
}

static void disturb(history_t *h)
{
    net_t *net = h->net;
    int a = (int)net_random(net, (apr_uint32_t)net->n);
    int b = (int)net_random(net, (apr_uint32_t)net->n);

    switch (net_random(net, 6)) {
    case 0:
        if (a != b) {
            net_part(net, a, b);
        }
        break;
    case 1:
    case 2:
        if (a != b && net->node[a].alive && net->node[b].alive) {
            net_meet(net, a, b);
        }
        break;
    case 3:
        if (net->node[a].alive && h->crashes < 4) {
            h->crashes++;
            net_crash(net, a, net_random(net, 2) != 0);
        }
        break;
    case 4:
        if (!net->node[a].alive) {
            net_join(net, a, 0); /* on the store that the dead engine left */
        }
        break;
    default:
        net_weather(net, 1000 * (1 + net_random(net, 30)), net_random(net, 120),
                    net_random(net, 300));
        break;
    }
}

static void act(history_t *h)
{
    int node = some_node(h);
    line_t *l = some_line(h);
    apr_uint32_t what = net_random(h->net, 100);

    if (node < 0) {
        return;
    }
    if (what < 20 || l == NULL) {
        do_create(h, node);
    } else if (what < 65) {
        do_change(h, node, l);
    } else if (what < 72) {
        do_remove(h, node, l);
    } else if (what < 78) {
        do_rename(h, node, l);
    } else if (what < 84) {
        (void)net_takeover(h->net, node, l->id);
    } else if (what < 90) {
        net_access(h->net, node, l->id);
    } else if (what < 94) {
        (void)net_fetch(h->net, node, l->id, "n1");
    } else {
        disturb(h);
    }
}

static void calm(history_t *h)
{
    net_t *net = h->net;
    int i, k;

    net_weather(net, 1000, 0, 0);
    for (i = 0; i < net->n; i++) {
        if (!net->node[i].alive) {
            net_start(net, i, 0);
        }
    }
    for (i = 0; i < net->n; i++) {
        for (k = 0; k < i; k++) {
            /* who lost sight of one another only on one side: both begin anew */
            if (net->node[i].sees[k] != net->node[k].sees[i]) {
                net_part(net, i, k);
            }
            net_meet(net, i, k);
        }
    }
    net_run(net, 100);
    for (i = 0; i < net->n; i++) {
        sc_manager_settled(net->node[i].m);
    }
    h->kind->settle(net);
}

/* @return what is wrong, NULL if nothing is */
static const char *judge(history_t *h)
{
    static char what[256];
    net_t *net = h->net;
    const char *difference = h->kind->difference(net);
    int i, n;

    if (difference != NULL) {
        return difference;
    }
    if (!net_wait_ready(net, 0)) {
        return "not all are READY";
    }
    for (i = 0; i < h->nlines; i++) {
        const line_t *l = &h->line[i];

        for (n = 0; n < net->n && !l->renamed && l->dead; n++) {
            if (h->kind->lives(net, n, l->id)) {
                snprintf(what, sizeof(what), "line %d lives on n%d", i, n + 1);
                return what;
            }
        }
        if (!l->renamed && !l->maybe_dead && made(h, l->made) &&
            !h->kind->kept(net, l->id, "first")) {
            snprintf(what, sizeof(what), "line %d is lost", i);
            return what;
        }
    }
    for (i = 0; i < h->nchanges; i++) {
        const change_t *c = &h->change[i];
        const line_t *l = &h->line[c->line];

        if (!l->renamed && !l->maybe_dead && made(h, c->call) &&
            !h->kind->kept(net, l->id, c->name)) {
            snprintf(what, sizeof(what), "change %s of line %d (call %u) is lost", c->name, c->line,
                     c->call);
            return what;
        }
    }
    return NULL;
}

static const char *run_seed(const random_kind_t *kind, apr_uint64_t seed, int *live)
{
    history_t *h = calloc(1, sizeof(*h));
    const char *wrong;
    int i, n;

    h->kind = kind;
    h->net = kind->create(seed);
    h->next_id = 1;
    for (n = 0; n < h->net->n; n++) {
        net_join(h->net, n, 0);
    }
    (void)net_wait_ready(h->net, 5000);
    h->net->random = seed * 0x9E3779B97F4A7C15ull + 1;
    for (i = 0; i < STEPS; i++) {
        act(h);
        if (net_random(h->net, 3) == 0) {
            net_run(h->net, (int)net_random(h->net, 150));
        }
    }
    calm(h);
    wrong = judge(h);
    *live += (int)net_sessions(h->net, 0);
    for (i = 0; i < (int)h->net->ncalls && wrong == NULL; i++) {
        if (h->net->answer[i].times > 1) {
            wrong = "a request was answered twice";
        }
    }
    net_destroy(h->net);
    free(h);
    return wrong;
}

int random_judge(const random_kind_t *kind, apr_uint64_t seed, int *live)
{
    const char *wrong = run_seed(kind, seed, live);

    if (wrong != NULL) {
        fprintf(stderr, "\n  seed %lu: %s\n", (unsigned long)seed, wrong);
    }
    return wrong != NULL;
}

void random_histories(const random_kind_t *kind, apr_uint64_t n)
{
    const char *one = getenv(kind->one);
    const char *many = getenv(kind->many);
    apr_uint64_t seed = one != NULL ? strtoull(one, NULL, 10) : 1;
    apr_uint64_t end;
    int bad = 0, live = 0;

    n = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : n;
    for (end = seed + n; seed < end; seed++) {
        bad += random_judge(kind, seed, &live);
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT(live > 0); /* the histories are about something */
}
