/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a write costs on the wire: messages and bytes, for clusters of several sizes, and what the
 * members say when nobody asks for anything. Writes come one by one, so nothing travels together;
 * under load frames carry several changes, and there are fewer of them per write.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define SESSIONS 40
#define VALUE_BYTES 100
#define WRITES 200
#define PAUSE apr_time_from_msec(20)

typedef struct counts_t {
    double frames, bytes, records;
} counts_t;

static counts_t count_all(const world_t *w)
{
    counts_t c = {0, 0, 0};
    int i;

    for (i = 0; i < w->nnodes; i++) {
        c.frames += (double)w->node[i]->frames;
        c.bytes += (double)w->node[i]->frame_bytes;
        c.records += (double)w->node[i]->records;
    }
    return c;
}

static counts_t less(counts_t a, counts_t b)
{
    counts_t c = {a.frames - b.frames, a.bytes - b.bytes, a.records - b.records};

    return c;
}

static void request(world_t *w, int number, const sc_id_t *id, int create, apr_uint32_t serial)
{
    node_t *n = w->node[number % w->nnodes];
    sc_link_call_t call = {NULL, n->engine->gen, serial};
    char value[VALUE_BYTES + 1];
    sc_change_t change = {0};
    sc_buf_t attrs, body;

    sc_buf_init(&attrs, 4096);
    sc_buf_init(&body, 4096);
    snprintf(value, sizeof(value), "%0*u", VALUE_BYTES, serial);
    sc_change_attr_put(&attrs, "a0", 2, value, VALUE_BYTES);
    change.context = SIM_CONTEXT;
    change.context_len = sizeof(SIM_CONTEXT) - 1;
    change.id = *id;
    change.flags = create ? SC_CHANGE_NEW : 0;
    change.max_idle_s = 1800;
    change.nattrs = 1;
    change.attrs = attrs.data;
    change.attrs_len = attrs.len;
    change.hint = "";
    sc_change_put(&body, &change);
    sc_manager_request(n->engine->manager, &call, SC_LINK_CHANGE, 0, body.data, body.len);
    sc_buf_free(&attrs);
    sc_buf_free(&body);
}

static int start(world_t *w, int n, apr_uint32_t manager)
{
    int i;

    w->nnodes = w->nmembers = n;
    sc_config_defaults(&w->config);
    w->config.membership = SC_MEMBERSHIP_MULTICAST;
    w->config.manager = manager;
    w->config.ncontexts = 1;
    memcpy(w->config.context[0], SIM_CONTEXT, sizeof(SIM_CONTEXT));
    w->net = net_create(w);
    faults_create(w);
    clients_create(w);
    for (i = 0; i < n; i++) {
        w->node[i] = node_create(w, i, SC_ROLE_NODE);
        w->node[i]->drift_ppm = 0;
    }
    for (i = 0; i < n; i++) {
        node_start_engine(w->node[i]);
        world_run(w, w->now + apr_time_from_msec(200));
    }
    world_run(w, w->now + apr_time_from_sec(40));
    for (i = 0; i < n && node_healthy(w->node[i]); i++) {
    }
    return i == n;
}

/* What is sent while there are writes, or as long without any. The same seed each time, so all that
 * is sent anyway is the same, too. @return 0: the nodes do not find each other */
static int count(int n, apr_uint32_t manager, int idle, counts_t *sent)
{
    plan_t plan = {.seed = 1, .manager = manager, .traffic = 1};
    world_t *w = world_create(&plan);
    sc_id_t id[SESSIONS];
    counts_t before;
    int i, ok = start(w, n, manager);

    for (i = 0; ok && i < SESSIONS; i++) {
        (void)sc_id_generate(&id[i]);
        request(w, i, &id[i], 1, (apr_uint32_t)i + 1);
        world_run(w, w->now + PAUSE);
    }
    world_run(w, w->now + apr_time_from_sec(40)); /* digests too, of which there are few */
    before = count_all(w);
    for (i = 0; ok && i < WRITES; i++) {
        if (!idle) {
            request(w, i % SESSIONS, &id[i % SESSIONS], 0, (apr_uint32_t)(SESSIONS + i + 1));
        }
        world_run(w, w->now + PAUSE);
    }
    *sent = less(count_all(w), before);
    world_destroy(w);
    return ok;
}

/** One line of the table. */
static int measure(int n, apr_uint32_t manager)
{
    const char *name = manager == SC_MANAGER_BACKUP ? "backup" : "delta";
    double seconds = (double)(PAUSE * WRITES) / 1e6;
    counts_t idle, cost;
    int ok = count(n, manager, 1, &idle) && count(n, manager, 0, &cost);

    if (ok) {
        cost = less(cost, idle);
        printf("%-7s %5d %12.2f %12.2f %12.0f %14.1f %14.0f\n", name, n, cost.records / WRITES,
               cost.frames / WRITES, cost.bytes / WRITES, idle.frames / seconds / n,
               idle.bytes / seconds / n);
    } else {
        printf("%-7s %5d   the nodes do not find each other\n", name, n);
    }
    fflush(stdout);
    return !ok;
}

int traffic_table(int manager)
{
    static const int sizes[] = {2, 3, 5, 10, 20, 50, SC_MEMBERS_MAX};
    apr_size_t i;
    int bad = 0;

    printf("One attribute of %d bytes changed; per write: records posted, frames and bytes sent by "
           "all\nnodes, without what is sent anyway; idle: per node and second.\n\n",
           VALUE_BYTES);
    printf("%-7s %5s %12s %12s %12s %14s %14s\n", "manager", "nodes", "records", "frames", "bytes",
           "idle frames/s", "idle bytes/s");
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bad += measure(sizes[i], (apr_uint32_t)manager);
    }
    return bad != 0;
}
