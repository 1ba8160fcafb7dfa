/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One session asked of peers on demand.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"

/* A node that has the session no longer, as if it had missed it. */
static void test_found(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_FOUND); /* is here */
    CU_ASSERT_EQUAL(net->node[2].board->count.fetches, 0);
    net_lose(net, 2, 1);
    call = net_fetch(net, 2, 1, "n1");
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_FOUND);
    CU_ASSERT_EQUAL(net->answer[call].wait_us, 2000); /* one round trip */
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "1");
    CU_ASSERT_EQUAL(net->node[2].board->count.fetches, 1);
    CU_ASSERT_EQUAL(net->node[2].board->count.fetched, 1);
    CU_ASSERT_EQUAL(net->node[2].posted[SC_EVT_RETRIEVE], 2);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

static void test_absent(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t i;

    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_ABSENT);
    CU_ASSERT_EQUAL(net->node[2].posted[SC_EVT_RETRIEVE], 2);
    /* a flood of one id stays on this node, for a moment */
    for (i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_ABSENT);
    }
    CU_ASSERT_EQUAL(net->node[2].posted[SC_EVT_RETRIEVE], 2);
    net_run(net, 1100);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_ABSENT);
    CU_ASSERT_EQUAL(net->node[2].posted[SC_EVT_RETRIEVE], 4);
    /* what is made meanwhile is found */
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_FOUND);
    net_destroy(net);
}

static void test_unknown(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    net_run(net, 500);
    net->link[0][2].hold = net->link[1][2].hold = 1;
    call = net_fetch(net, 2, 1, "n2");
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_UNKNOWN);
    CU_ASSERT_EQUAL(net->answer[call].wait_us, apr_time_from_msec(1000));
    /* one that has a lease is enough */
    net_run(net, 2000);
    call = net_fetch(net, 2, 1, "n2");
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    net->link[0][2].hold = 0;
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_UNKNOWN); /* it had none itself just now */
    net_run(net, 500);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n2")), SC_ABSENT);
    net_destroy(net);
}

static void test_tombstone(void)
{
    net_t *net = net_ready(3, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 1)), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_ABSENT);
    net_lose(net, 2, 1);
    net->link[1][2].hold = 1; /* one answer is enough */
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_ABSENT);
    CU_ASSERT_EQUAL(net_look(net, 2, 1, NULL), NET_DEAD); /* and is remembered */
    net_destroy(net);
}

/* The first answer need not be the latest state: all are waited for if nobody has a lease. */
static void test_latest(void)
{
    net_t *net = net_ready(3, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net->link[0][1].hold = 1;
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DEGRADED); /* n2 is behind */
    net_lose(net, 2, 1);
    net->link[0][2].delay = apr_time_from_msec(30); /* and answers first */
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "")), SC_FOUND);
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "new");
    /* but nobody is waited for longer than a lease */
    net_lose(net, 2, 1);
    net->link[0][2].delay = apr_time_from_msec(900);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "")), SC_FOUND);
    net_run(net, 3000);
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "new"); /* late answers count, too */
    net_destroy(net);
}

/* The primary has answered: the slow ones are not waited for. */
static void test_primary_decides(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_lose(net, 2, 1);
    net->link[1][2].delay = apr_time_from_msec(30);
    call = net_fetch(net, 2, 1, "");
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_FOUND);
    CU_ASSERT_EQUAL(net->answer[call].wait_us, 2000);
    net_destroy(net);
}

/* Who comes may have what nobody had a moment ago. */
static void test_newcomer(void)
{
    net_t *net = net_ready(3, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_part(net, 0, 1);
    net_part(net, 0, 2);
    net_run(net, 100);
    net_lose(net, 1, 1);
    net_lose(net, 2, 1);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "")), SC_ABSENT);
    net_meet(net, 0, 2);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "")), SC_FOUND);
    net_destroy(net);
}

static void test_shared(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint32_t call[50];
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_lose(net, 1, 1);
    for (i = 0; i < 50; i++) {
        call[i] = i % 10 == 9 ? net_change(net, 1, 0, 0, 1, "b", "2", (char *)NULL)
                              : net_fetch(net, 1, 1, "n1");
    }
    for (i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(net_outcome(net, call[i]), i % 10 == 9 ? SC_DONE : SC_FOUND);
    }
    CU_ASSERT_EQUAL(net->node[1].posted[SC_EVT_RETRIEVE], 1);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "b"), "2");
    net_destroy(net);
}

static void test_bounded(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint32_t i, unknown = 0, open = 0;

    net->link[1][0].hold = 1;
    for (i = 0; i < 3000; i++) {
        apr_uint32_t call = net_fetch(net, 1, 100000 + i, "n1");

        open += net->answer[call].times == 0;
        unknown += net->answer[call].times == 1 && net->answer[call].outcome == SC_UNKNOWN;
    }
    CU_ASSERT_EQUAL(open, 1024);
    CU_ASSERT_EQUAL(unknown, 3000 - 1024);
    CU_ASSERT_EQUAL(net->node[1].logged[40], 1);
    for (i = 0; i < 10000; i++) { /* and not so many requests wait for one of them */
        (void)net_fetch(net, 1, 100000, "n1");
    }
    open = 0;
    for (i = 0; i < net->ncalls; i++) {
        open += net->answer[i].times == 0;
    }
    CU_ASSERT_EQUAL(open, 4096);
    net_run(net, 2000);
    for (i = 0; i < net->ncalls; i++) {
        CU_ASSERT_EQUAL(net->answer[i].times, 1);
    }
    net->link[1][0].hold = 0;
    net_run(net, 5000);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 1, 5, "n1")), SC_ABSENT);
    net_destroy(net);
}

/* A node that has not got its state yet serves what it can find. */
static void test_joining(void)
{
    net_t *net = net_create(3, NULL);
    apr_uint32_t call, absent;

    net_join(net, 0, 0);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 2, "a", "2"), SC_DONE);
    net_start(net, 1, 0);
    /* before it knows anybody: it waits for members */
    call = net_fetch(net, 1, 1, "n1");
    absent = net_fetch(net, 1, 77, "n1");
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    net_meet(net, 0, 1);
    net_run(net, 100);
    CU_ASSERT_EQUAL(net->answer[call].times, 1);
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_FOUND);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "1");
    CU_ASSERT_EQUAL(net->node[1].board->node_state, SC_NODE_JOINING);
    CU_ASSERT_EQUAL(net->answer[absent].outcome, SC_ABSENT); /* n1 has a lease, so it would know */
    sc_manager_settled(net->node[1].m);
    CU_ASSERT(net_wait_ready(net, 2000));
    /* alone and unsettled: nobody knows */
    net_start(net, 2, 0);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_UNKNOWN);
    absent = net_fetch(net, 2, 1, "n1");
    sc_manager_settled(net->node[2].m);
    CU_ASSERT_EQUAL(net->answer[absent].outcome, SC_ABSENT);
    net_destroy(net);
}

/* A doubtful session is shown when the other node has it. Meanwhile its place is taken by an older
 * copy of it: that one is not shown. */
static void test_overtaken(void)
{
    net_t *net = net_ready(2, NULL);
    sc_id_t id = net_id(1);
    sc_record_t before, rec;
    sc_buf_t old, body;
    apr_uint32_t call;

    sc_buf_init(&old, 4096);
    sc_buf_init(&body, 4096);
    net_make(net, 0, 1, 1);
    CU_ASSERT_EQUAL(sc_store_get(net->node[0].store, 0, &id, &before, &old), APR_SUCCESS);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_DONE);
    CU_ASSERT_EQUAL(sc_store_get(net->node[0].store, 0, &id, &rec, &body), APR_SUCCESS);
    rec.flags |= SC_REC_DOUBT;
    CU_ASSERT_EQUAL(sc_store_put(net->node[0].store, &rec, body.data, body.len), APR_SUCCESS);
    net->link[0][1].hold = 1;
    call = net_fetch(net, 0, 1, "n1");
    net_run(net, 50);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    CU_ASSERT_EQUAL(sc_store_put(net->node[0].store, &before, old.data, old.len), APR_SUCCESS);
    CU_ASSERT(net_is(net_value(net, 0, 1, "a"), "1"));
    net->link[0][1].hold = 0;
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_FOUND);
    CU_ASSERT(net_is(net_value(net, 0, 1, "a"), "2"));
    sc_buf_free(&old);
    sc_buf_free(&body);
    net_destroy(net);
}

static void add(const char *name, void (*fn)(void))
{
    CU_add_test(CU_get_suite("delta"), name, fn);
}

void delta_fetch_tests(void)
{
    add("fetch: found", test_found);
    add("fetch: absent", test_absent);
    add("fetch: unknown", test_unknown);
    add("fetch: tombstone", test_tombstone);
    add("fetch: the latest state", test_latest);
    add("fetch: the primary decides", test_primary_decides);
    add("fetch: a newcomer", test_newcomer);
    add("fetch: shared", test_shared);
    add("fetch: bounded", test_bounded);
    add("fetch: while joining", test_joining);
    add("fetch: an older copy comes meanwhile", test_overtaken);
}
