/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The lease on reading: a node that stood still must not answer from its old copy. */

#include <CUnit/CUnit.h>

#include "delta_net.h"

static apr_time_t mono(const net_node_t *node)
{
    return sc_mono(&node->clock);
}

static int may_read(const net_node_t *node)
{
    return mono(node) < sc_board_get(node->board->lease_until);
}

static void alone(sc_config_t *c, int index)
{
    (void)index;
    c->membership = SC_MEMBERSHIP_NONE;
}

/* Node 1 misses a change while it stands still; both come back to a moment before it wakes up. */
static net_t *net_missed(void)
{
    net_t *net = net_ready(2, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    CU_ASSERT_TRUE(may_read(&net->node[1]));
    net->link[0][1].hold = net->link[1][0].hold = 1;
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DEGRADED);
    net->node[1].mono_offset += apr_time_from_sec(10);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "old");
    return net;
}

static void test_renewed(void)
{
    net_t *net = net_ready(2, NULL);
    int i;

    net_run(net, 500);
    for (i = 0; i < 100; i++) {
        net_run(net, 37);
        CU_ASSERT_TRUE(may_read(&net->node[0]) && may_read(&net->node[1]));
    }
    /* shorter than the others wait for an acknowledgement */
    CU_ASSERT_TRUE(sc_board_get(net->node[0].board->lease_until) - mono(&net->node[0]) <
                   apr_time_from_msec(net->node[0].config.ack_wait_ms));
    net_destroy(net);
}

static void test_stand_alone_needs_none(void)
{
    net_t *net = net_create(1, alone);

    net_start(net, 0, 1);
    net_run(net, 10);
    CU_ASSERT_EQUAL(sc_board_get(net->node[0].board->lease_until), 0);
    net_destroy(net);
}

static void test_stood_still(void)
{
    net_t *net = net_missed();
    apr_uint32_t call;

    CU_ASSERT_FALSE(may_read(&net->node[1])); /* before its engine has done anything */
    call = net_fetch(net, 1, 1, "n1");
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    net->link[0][1].hold = net->link[1][0].hold = 0;
    CU_ASSERT_TRUE(net_wait(net, call, 1000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_FOUND);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "new");
    net_run(net, 5000);
    CU_ASSERT_TRUE(may_read(&net->node[1]));
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

static void test_nobody_answers(void)
{
    net_t *net = net_missed();
    apr_uint32_t call = net_fetch(net, 1, 1, "n1");

    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
    CU_ASSERT_FALSE(may_read(&net->node[1]));
    /* alone it is the one that knows best */
    net_part(net, 0, 1);
    net_run(net, 1000);
    CU_ASSERT_TRUE(may_read(&net->node[1]));
    net_destroy(net);
}

static void test_a_new_engine_has_none(void)
{
    net_t *net = net_ready(2, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_crash(net, 1, 1);
    net_run(net, 5000);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DONE);
    net_start(net, 1, 0);
    CU_ASSERT_FALSE(may_read(&net->node[1]));
    net_join(net, 1, 0);
    CU_ASSERT_TRUE(net_wait_ready(net, 5000));
    net_run(net, 1000);
    CU_ASSERT_TRUE(may_read(&net->node[1]));
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "new");
    net_destroy(net);
}

void delta_lease_tests(void)
{
    CU_pSuite suite = CU_get_suite("delta");

    CU_add_test(suite, "lease: renewed in time", test_renewed);
    CU_add_test(suite, "lease: none stand-alone", test_stand_alone_needs_none);
    CU_add_test(suite, "lease: stood still", test_stood_still);
    CU_add_test(suite, "lease: nobody answers", test_nobody_answers);
    CU_add_test(suite, "lease: new engine", test_a_new_engine_has_none);
}
