/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Accesses and idling out: what is told to whom, and how little of it.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"

#define IDLE 1800 /* seconds, as net_change sets it: the step is 18 */

static apr_time_t accessed(net_t *net, int node, apr_uint32_t id)
{
    sc_record_t rec;

    CU_ASSERT_EQUAL_FATAL(net_look(net, node, id, &rec), NET_LIVE);
    return rec.accessed - net->node[node].mono_offset;
}

/* ---- accesses -------------------------------------------------------------------------------- */

static void test_touches(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint64_t *posted = net->node[0].posted;
    apr_time_t then;
    apr_uint32_t i;
    int round;

    net_make(net, 0, 1, 200);
    then = net->now;
    /* many accesses within the step: collected, and told to nobody */
    for (round = 0; round < 30; round++) {
        for (i = 1; i <= 200; i++) {
            net_access(net, 0, i);
        }
        net_run(net, 500);
    }
    CU_ASSERT(net->node[0].board->count.touches >= 200 * 10);
    CU_ASSERT_EQUAL(posted[SC_EVT_SESSION_ACCESSED], 0);
    CU_ASSERT(accessed(net, 1, 7) <= then);
    /* past the step: one message for all, to each of two */
    net_run(net, 10000);
    for (i = 1; i <= 200; i++) {
        net_access(net, 0, i);
    }
    then = net->now;
    net_run(net, 1500);
    CU_ASSERT_EQUAL(posted[SC_EVT_SESSION_ACCESSED], 2);
    for (i = 1; i <= 200; i++) {
        CU_ASSERT(accessed(net, 2, i) >= then && accessed(net, 2, i) < then + 100000);
    }
    /* an hour under load: a message each 18 seconds or so, no more */
    for (round = 0; round < 3600; round++) {
        net_access(net, 0, 1 + net_random(net, 200));
        net_run(net, 1000);
    }
    CU_ASSERT(posted[SC_EVT_SESSION_ACCESSED] < 2 + 2 * 3600);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_SESSION_DELTA], 0);
    net_destroy(net);
}

/* More accesses at once than go into one record. */
static void test_touches_split(void)
{
    net_t *net = net_create(2, NULL);
    apr_uint32_t i;

    net->store_bytes = 8 * 1024 * 1024;
    net_join(net, 0, 1);
    net_join(net, 1, 1);
    CU_ASSERT(net_wait_ready(net, 2000));
    net_make(net, 0, 1, 8000);
    net_run(net, 30000);
    for (i = 1; i <= 8000; i++) {
        net_access(net, 0, i);
    }
    net_run(net, 2000);
    CU_ASSERT(net->node[0].posted[SC_EVT_SESSION_ACCESSED] >= 2);
    CU_ASSERT(net->node[0].posted[SC_EVT_SESSION_ACCESSED] <= 4);
    for (i = 1; i <= 8000; i += 97) {
        CU_ASSERT(net->now - accessed(net, 1, i) < apr_time_from_sec(3));
    }
    net_destroy(net);
}

/* Accesses merge by maximum, in whatever order they come. */
static void test_touches_merge(void)
{
    net_t *net = net_ready(2, NULL);
    sc_id_t id = net_id(1);
    sc_buf_t items, b;
    sc_group_t g;
    apr_time_t before;

    net_make(net, 0, 1, 1);
    net_run(net, 60000);
    before = accessed(net, 1, 1);
    sc_buf_init(&items, 4096);
    sc_buf_init(&b, 4096);
    sc_item_accessed_put(&items, &id, 20000);
    sc_item_accessed_put(&items, &id, 30000);
    sc_item_accessed_put(&items, &id, ~(apr_uint64_t)0);
    memset(&g, 0, sizeof(g));
    g.context.s = NET_CONTEXT;
    g.context.len = strlen(NET_CONTEXT);
    g.n = 3;
    g.items = items.data;
    g.items_len = items.len;
    sc_msg_groups_put(&b, SC_EVT_SESSION_ACCESSED, 1);
    sc_group_put(&b, &g);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[1].m, &net->node[0].self, b.data, b.len),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(accessed(net, 1, 1), net->now - apr_time_from_sec(20));
    CU_ASSERT(accessed(net, 1, 1) > before);
    sc_buf_free(&items);
    sc_buf_free(&b);
    net_destroy(net);
}

/* ---- idling out ------------------------------------------------------------------------------ */

static void test_idle(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint64_t *posted = net->node[0].posted;
    apr_uint32_t i;
    int n;

    net_make(net, 0, 1, 1000);
    net_run(net, (IDLE - 5) * 1000);
    CU_ASSERT_EQUAL(net_sessions(net, 2), 1000);
    net_run(net, 10000);
    for (n = 0; n < 3; n++) {
        CU_ASSERT_EQUAL(net_sessions(net, n), 0);
    }
    CU_ASSERT_EQUAL(net->node[0].board->count.expired, 1000);
    CU_ASSERT_EQUAL(net->node[1].board->count.expired, 0);
    CU_ASSERT(posted[SC_EVT_SESSION_EXPIRED] <= 2 * 3); /* no storm */
    for (i = 1; i <= 1000; i += 101) {
        CU_ASSERT_EQUAL(net_look(net, 1, i, NULL), NET_DEAD);
        CU_ASSERT_EQUAL(net->answer[net_fetch(net, 1, i, "")].outcome, SC_ABSENT);
    }
    net_run(net, 70000); /* remembered for a minute only */
    for (n = 0; n < 3; n++) {
        CU_ASSERT_EQUAL(net_look(net, n, 1, NULL), NET_NOTHING);
    }
    net_destroy(net);
}

/* An access that was too small a step to be told keeps the session alive all the same. */
static void test_touch_keeps_alive(void)
{
    net_t *net = net_ready(2, NULL);

    net_make(net, 0, 1, 2);
    net_run(net, 15000);
    net_access(net, 0, 1); /* 15 s: less than the step */
    net_run(net, (IDLE - 5) * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_LIVE);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_LIVE);
    CU_ASSERT_EQUAL(net_look(net, 0, 2, NULL), NET_DEAD);
    net_run(net, 10000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_DEAD);
    net_destroy(net);
}

/* An access on a node that is not the primary counts for all. */
static void test_touch_elsewhere(void)
{
    net_t *net = net_ready(2, NULL);
    int i;

    net_make(net, 0, 1, 1);
    for (i = 0; i < 5; i++) {
        net_run(net, (IDLE - 100) * 1000);
        net_access(net, 1, 1);
    }
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_LIVE);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_LIVE);
    net_destroy(net);
}

/* And one that was too small a step to be told. */
static void test_small_touch_elsewhere(void)
{
    net_t *net = net_ready(2, NULL);
    int i;

    net_make(net, 0, 1, 1);
    net_run(net, 15000);
    net_access(net, 1, 1);
    net_run(net, (IDLE - 5) * 1000);
    for (i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(net_look(net, i, 1, NULL), NET_LIVE);
    }
    CU_ASSERT_EQUAL(net->node[0].board->count.expired, 1); /* it was dead for a moment */
    net_run(net, 15000);
    for (i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(net_look(net, i, 1, NULL), NET_DEAD);
    }
    net_destroy(net);
}

/* More than one portion of work: all the same second. */
static void test_idle_many(void)
{
    net_t *net = net_create(1, NULL);

    net->store_bytes = 8 * 1024 * 1024;
    net_join(net, 0, 1);
    net_make(net, 0, 1, 5000);
    net_run(net, (IDLE - 1) * 1000);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 5000);
    net_run(net, 2100);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 0);
    net_destroy(net);
}

/* A change by a node that holds a session which idled out elsewhere. */
static void test_change_after_idle(void)
{
    net_t *net = net_ready(2, NULL);

    net_make(net, 0, 1, 1);
    net_part(net, 0, 1);
    net_run(net, (IDLE - 60) * 1000);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "2"), SC_DONE);
    net_run(net, 70 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    net_meet(net, 0, 1);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "b", "3"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "2"); /* by then: applied, acknowledged */
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "b"), "3");
    net_destroy(net);
}

/* Session 1 as it is on node 0 now. */
static void take(net_t *net, sc_wire_session_t *w, sc_buf_t *body)
{
    sc_id_t id = net_id(1);
    sc_record_t rec;

    CU_ASSERT_EQUAL(sc_store_get(net->node[0].store, 0, &id, &rec, body), APR_SUCCESS);
    memset(w, 0, sizeof(*w));
    w->context = NET_CONTEXT;
    w->context_len = strlen(NET_CONTEXT);
    w->id = rec.id;
    w->max_idle_s = rec.max_idle_s;
    w->stamp = rec.stamp;
    w->primary = "n1";
    w->primary_len = 2;
    w->epoch = rec.epoch;
    w->body = body->data;
    w->body_len = body->len;
}

/* A node is told of it by the other one. */
static void give(net_t *net, int to, const sc_wire_session_t *w)
{
    sc_buf_t b;

    sc_buf_init(&b, 4096);
    sc_msg_created_put(&b, SC_EVT_SESSION_CREATED, w);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[to].m, &net->node[1 - to].self, b.data, b.len),
                    APR_SUCCESS);
    sc_buf_free(&b);
}

/* Of two copies that are the same otherwise the later access counts. */
static void test_copies_merge(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint64_t lsn[2];
    sc_store_stats_t stats;
    sc_wire_session_t w;
    sc_buf_t body;
    int i;

    net_make(net, 0, 1, 1);
    net_run(net, 100000);
    sc_buf_init(&body, 4096);
    take(net, &w, &body);
    for (i = 0; i < 2; i++) {
        w.idle_ms = i == 0 ? 40000 : 70000; /* the second one is older news */
        sc_store_stats(net->node[1].store, &stats);
        lsn[i] = stats.lsn;
        give(net, 1, &w);
        CU_ASSERT_EQUAL(accessed(net, 1, 1), net->now - apr_time_from_sec(40));
    }
    CU_ASSERT_EQUAL(lsn[0], lsn[1]); /* noted in place: no change of the session */
    sc_buf_free(&body);
    net_destroy(net);
}

/* A copy that has missed the last change comes from a node that hung, and looks younger than it is:
 * the session has idled out all the same. One with the last change has been used since. */
static void test_old_copy_looks_young(void)
{
    net_t *net = net_ready(2, NULL);
    sc_wire_session_t before, after;
    sc_buf_t old, body;

    sc_buf_init(&old, 4096);
    sc_buf_init(&body, 4096);
    net_make(net, 0, 1, 1);
    take(net, &before, &old);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_DONE);
    take(net, &after, &body);
    net_run(net, (IDLE + 60) * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    before.idle_ms = after.idle_ms = 1000;
    give(net, 0, &before);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    give(net, 0, &after);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_LIVE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "2");
    sc_buf_free(&old);
    sc_buf_free(&body);
    net_destroy(net);
}

static void test_never(void)
{
    net_t *net = net_ready(2, NULL);

    net_make_idle(net, 0, 1, 0);
    net->now += apr_time_from_sec(100 * 24 * 3600); /* everything that is due comes at once */
    net_run(net, 5000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_LIVE);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_LIVE);
    net_destroy(net);
}

/* Replicas let a session go silently: soon when its primary is gone, late when it is there. */
static void test_silent(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint64_t before;

    net_make(net, 0, 1, 1);
    net_make(net, 1, 2, 1);
    net_crash(net, 0, 1);
    before = net->node[1].posted[SC_EVT_SESSION_EXPIRED];
    net_run(net, (IDLE + 2) * 1000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_LIVE); /* a little longer than its primary */
    CU_ASSERT_EQUAL(net_look(net, 2, 2, NULL), NET_DEAD);
    net_run(net, 60 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_NOTHING);
    CU_ASSERT_EQUAL(net_look(net, 2, 1, NULL), NET_NOTHING);
    CU_ASSERT_EQUAL(net->node[1].board->count.expired, 1); /* its own one */
    CU_ASSERT_EQUAL(net->node[2].board->count.expired, 0);
    CU_ASSERT_EQUAL(net->node[1].posted[SC_EVT_SESSION_EXPIRED], before + 1);
    net_destroy(net);
}

static void test_silent_primary(void)
{
    net_t *net = net_ready(2, NULL);

    net_make(net, 0, 1, 1);
    net->link[0][1].hold = 1; /* it is there and says nothing */
    net_run(net, (2 * IDLE - 10) * 1000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_LIVE);
    net_run(net, 30 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_NOTHING);
    net_destroy(net);
}

/* A session that idled out on one side of a partition was in use on the other one. */
static void test_idle_in_a_partition(void)
{
    net_t *net = net_ready(3, NULL);
    int i;

    net_make(net, 0, 1, 2);
    net_part(net, 0, 1);
    net_part(net, 0, 2);
    net_run(net, (IDLE - 60) * 1000);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "2"), SC_DONE); /* taken over by a change */
    net_access(net, 2, 2);                                     /* only read */
    net_run(net, 70 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    CU_ASSERT_EQUAL(net_look(net, 0, 2, NULL), NET_DEAD);
    net_meet(net, 0, 1);
    net_meet(net, 0, 2);
    net_run(net, 5000);
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(net_look(net, i, 1, NULL), NET_LIVE);
        CU_ASSERT_EQUAL(net_look(net, i, 2, NULL), NET_LIVE);
    }
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* The same, and the news of its end comes to nodes that know better. */
static void test_revived(void)
{
    net_t *net = net_ready(2, NULL);
    sc_id_t id = net_id(1);
    sc_record_t rec;
    sc_buf_t items, b;
    sc_group_t g;

    net_make(net, 0, 1, 1);
    net_run(net, 5000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, &rec), NET_LIVE);
    sc_buf_init(&items, 4096);
    sc_buf_init(&b, 4096);
    sc_item_expired_put(&items, &id, &rec.stamp);
    memset(&g, 0, sizeof(g));
    g.context.s = NET_CONTEXT;
    g.context.len = strlen(NET_CONTEXT);
    g.reason = SC_DEAD_IDLE;
    g.n = 1;
    g.items = items.data;
    g.items_len = items.len;
    sc_msg_groups_put(&b, SC_EVT_SESSION_EXPIRED, 1);
    sc_group_put(&b, &g);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[0].m, &net->node[1].self, b.data, b.len),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_LIVE);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_SESSION_CREATED], 2); /* says so to who erred */
    sc_buf_free(&items);
    sc_buf_free(&b);
    net_destroy(net);
}

static void on_shutdown(sc_config_t *c, int index)
{
    c->delta.expire_on_shutdown = index == 0;
}

static void test_expire_on_shutdown(void)
{
    net_t *net = net_ready(2, on_shutdown);

    net_make(net, 0, 1, 300);
    net_make(net, 1, 1001, 10);
    sc_manager_stop(net->node[0].m);
    net_run(net, 500);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 10);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 10); /* only its own ones */
    CU_ASSERT(net->node[0].posted[SC_EVT_SESSION_EXPIRED] <= 2);
    sc_manager_stop(net->node[1].m);
    net_run(net, 500);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 10);
    net_destroy(net);
}

static void add(const char *name, void (*fn)(void))
{
    CU_add_test(CU_get_suite("delta"), name, fn);
}

void delta_expiry_tests(void)
{
    add("accesses are told together and seldom", test_touches);
    add("accesses: long lists are split", test_touches_split);
    add("accesses merge by maximum", test_touches_merge);
    add("idling out", test_idle);
    add("a small access keeps alive", test_touch_keeps_alive);
    add("an access elsewhere keeps alive", test_touch_elsewhere);
    add("a small access elsewhere keeps alive", test_small_touch_elsewhere);
    add("idling out: many at once", test_idle_many);
    add("a change of what idled out elsewhere", test_change_after_idle);
    add("copies with different accesses", test_copies_merge);
    add("an old copy that looks young", test_old_copy_looks_young);
    add("sessions that never idle out", test_never);
    add("replicas whose primary is gone", test_silent);
    add("replicas whose primary is silent", test_silent_primary);
    add("idled out in a partition", test_idle_in_a_partition);
    add("idled out by mistake", test_revived);
    add("expireSessionsOnShutdown", test_expire_on_shutdown);
}
