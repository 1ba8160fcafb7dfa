/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The lease on reading: a node that stood still must not answer from its old copy. */

#include <CUnit/CUnit.h>

#include "../../src/manager/internal.h" /* who is lagging, which nobody else can see */
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
    /* alone it is the one that knows best, unless somebody is there whom it has not heard yet */
    net_part(net, 0, 1);
    net_run(net, 1000);
    CU_ASSERT_FALSE(may_read(&net->node[1]));
    net_run(net, 4000);
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

/* Nothing is acknowledged without a silent node as long as that may read its old copy; after that
 * nobody waits for it any more. */
static void test_one_stall(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call[20], i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    net_hold(net, 2, 1);
    for (i = 0; i < 20; i++) {
        call[i] = net_change(net, (int)(i % 2), 0, 0, 1, "a", "new", (char *)NULL);
        net_run(net, 20);
    }
    while (net->answer[call[0]].times == 0) {
        net_run(net, 1);
    }
    CU_ASSERT_FALSE(may_read(&net->node[2]));
    CU_ASSERT(net->answer[call[0]].wait_us <= apr_time_from_msec(net->node[0].config.ack_wait_ms));
    net_run(net, 100); /* the others end with it, whenever they began */
    for (i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(net->answer[call[i]].outcome, SC_DEGRADED);
        CU_ASSERT_EQUAL(net->answer[call[i]].times, 1);
    }
    for (i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "newer"), SC_DEGRADED);
        CU_ASSERT(net->answer[net->ncalls - 1].wait_us < apr_time_from_msec(100));
    }
    /* it comes back, and reads nothing before it has caught up */
    net_hold(net, 2, 0);
    for (i = 0; i < 3000 && !may_read(&net->node[2]); i++) {
        net_run(net, 1);
    }
    CU_ASSERT_TRUE(may_read(&net->node[2]));
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "newer");
    net_destroy(net);
}

/* Who hears nobody of several is the one that is cut off, and does not answer from its copies. */
static void test_cut_off(void)
{
    net_t *net = net_ready(3, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    net_hold(net, 2, 1);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DEGRADED);
    CU_ASSERT_FALSE(may_read(&net->node[2]));
    CU_ASSERT_EQUAL(net_fetch(net, 2, 1, "n1"), net->ncalls - 1);
    CU_ASSERT_TRUE(net_wait(net, net->ncalls - 1, 5000));
    CU_ASSERT_EQUAL(net->answer[net->ncalls - 1].outcome, SC_UNKNOWN);
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 1, "a", "lost"), SC_UNKNOWN); /* and changes nothing */
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "old");
    net_hold(net, 2, 0);
    net_run(net, 3000);
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "new");
    CU_ASSERT_TRUE(may_read(&net->node[2]));
    net_destroy(net);
}

/* Two of four hear each other, and not the other two, which hear each other. Only those go on that
 * have the first name among them, until the others are dropped. */
static void test_halves(void)
{
    net_t *net = net_ready(4, NULL);
    apr_uint32_t call;
    int i, k;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    for (i = 0; i < 2; i++) {
        for (k = 2; k < 4; k++) {
            net->link[i][k].hold = net->link[k][i].hold = 1;
        }
    }
    call = net_change(net, 3, 0, 0, 1, "a", "lost", (char *)NULL);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "new"), SC_DEGRADED);
    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
    call = net_fetch(net, 2, 1, "n1");
    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
    call = net_fetch(net, 1, 1, "n1");
    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_FOUND);
    for (i = 0; i < 2; i++) {
        for (k = 2; k < 4; k++) {
            net_part(net, i, k);
        }
    }
    net_run(net, 3000);
    CU_ASSERT_EQUAL(net_set(net, 3, 0, 1, "a", "newer"), SC_DONE);
    net_destroy(net);
}

/* Two that cannot talk, and one that hears both: nobody reads what the other has replaced. */
static void test_one_pair_cut(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    net->link[0][1].hold = net->link[1][0].hold = 1;
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DEGRADED);
    CU_ASSERT_FALSE(may_read(&net->node[1]));
    call = net_fetch(net, 1, 1, "n1");
    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_FOUND);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "new"); /* by way of n3 */
    /* they drop each other, n3 keeps both: still nobody may read by himself */
    net_part(net, 0, 1);
    net_run(net, 3000);
    CU_ASSERT_FALSE(may_read(&net->node[0]));
    CU_ASSERT_FALSE(may_read(&net->node[1]));
    CU_ASSERT_TRUE(may_read(&net->node[2]));
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "newer"), SC_DONE);
    call = net_fetch(net, 0, 1, "n1");
    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "newer");
    net_destroy(net);
}

/* Only one direction is cut: who does not hear the others is not heard of, either. */
static void test_one_way(void)
{
    net_t *net = net_ready(3, NULL);
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    net->link[0][2].hold = net->link[1][2].hold = 1;
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(net_set(net, i % 2, 0, 1, "a", "new"), SC_DEGRADED);
        CU_ASSERT_FALSE(may_read(&net->node[2]));
    }
    net_destroy(net);
}

/* A member that this node has only seen joining, and not heard since, is one that others count on:
 * so it has to grant this node its lease, too. */
static void test_counted_by_others(void)
{
    net_t *net = net_ready(3, NULL);

    CU_ASSERT_TRUE(may_read(&net->node[0]));
    net_forget(net, 0, 2, 0);
    net->link[0][2].hold = net->link[2][0].hold = 1;
    net->node[2].self.node_state = SC_NODE_JOINING;
    net_see(net, 0, 2);
    net->node[2].self.node_state = SC_NODE_READY;
    net_run(net, 5000);
    CU_ASSERT_FALSE(may_read(&net->node[0]));
    net_destroy(net);
}

/* A new member is granted nothing before those know of it that read on the same word. */
static void test_introduced(void)
{
    net_t *net = net_ready(3, NULL);
    int i, both = 0;

    net_crash(net, 2, 1);
    net_run(net, 3000);
    CU_ASSERT_TRUE(may_read(&net->node[1]));
    net->link[0][1].hold = 1;
    net_start(net, 2, 0);
    net_meet(net, 2, 0);
    net_meet(net, 2, 1);
    sc_manager_settled(net->node[2].m);
    for (i = 0; i < 100; i++) {
        net_run(net, 10);
        both |= may_read(&net->node[1]) && may_read(&net->node[2]);
    }
    CU_ASSERT_FALSE(both);
    net->link[0][1].hold = 0;
    net_run(net, 5000);
    CU_ASSERT_TRUE(may_read(&net->node[1]) && may_read(&net->node[2]));
    net_destroy(net);
}

/* A member that went without a word may still read for a moment; one that said good-bye may not. */
static void test_departed(void)
{
    net_t *net = net_ready(3, NULL);
    apr_time_t until;
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    until = net->node[2].board->lease_until - net->node[2].mono_offset;
    net_crash(net, 2, 0);
    net_forget(net, 0, 2, 0);
    net_forget(net, 1, 2, 0);
    call = net_change(net, 0, 0, 0, 1, "a", "new", (char *)NULL);
    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT_TRUE(net->now >= until);
    net_forget(net, 0, 1, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "newer", (char *)NULL);
    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT(net->answer[call].wait_us < apr_time_from_msec(100));
    net_destroy(net);
}

static void majority(sc_config_t *c, int index)
{
    (void)index;
    c->quorum = 2;
}

/* Who is about to leave forgets what it has acknowledged: it is none of those that have to have it.
 */
static void test_leaver(void)
{
    net_t *net = net_ready(3, majority);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    net_hold(net, 2, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "new", (char *)NULL);
    net_run(net, 50);
    CU_ASSERT_TRUE(net_is(net_value(net, 1, 1, "a"), "new"));
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    net->node[1].self.node_state = SC_NODE_LEAVING;
    sc_manager_member_changed(net->node[0].m, &net->node[1].self);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_NO_QUORUM);
    net_hold(net, 2, 0);
    net_destroy(net);
}

/* One of the two that have acknowledged a change has forgotten it. The one that lacks it does not
 * form a quorum with that one; as soon as the other one can be asked it can. */
static void test_blank(void)
{
    net_t *net = net_ready(3, majority);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    net->link[0][2].full = 1;
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DEGRADED);
    net_crash(net, 1, 1);
    net_start(net, 1, 1);
    net_hold(net, 0, 1);
    net->link[0][2].full = 0;
    net_meet(net, 1, 2);
    net_run(net, 3000);
    CU_ASSERT_NOT_EQUAL(net->node[1].board->node_state, SC_NODE_READY);
    CU_ASSERT_TRUE(net_is(net_value(net, 2, 1, "a"), "old"));
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_NO_QUORUM);
    net_hold(net, 0, 0);
    net_run(net, 1000);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_FOUND);
    CU_ASSERT_TRUE(net_is(net_value(net, 2, 1, "a"), "new"));
    net_destroy(net);
}

static int is_leased(net_t *net, int node)
{
    return sc_board_get(net->node[node].board->lease_until) > sc_mono(&net->node[node].clock);
}

/* Who has lost sight of all others has nobody whose grant he could wait for, and is no quorum. */
static void test_alone(void)
{
    net_t *net = net_ready(3, majority);
    int ms;

    net_run(net, 500);
    CU_ASSERT_TRUE(is_leased(net, 0));
    net_part(net, 0, 1);
    net_part(net, 0, 2);
    net_run(net, 1500); /* what it had from them has run out */
    for (ms = 0; ms < 10000; ms += 20) {
        net_run(net, 20);
        CU_ASSERT_FALSE_FATAL(is_leased(net, 0));
    }
    net_destroy(net);
}

/* One that has not acknowledged in time is not waited for again, even if it would this time. */
static void test_lagging(void)
{
    net_t *net = net_ready(2, NULL);
    sc_manager_t *m = net->node[0].m;
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        m->peer[i].lagging = m->peer[i].serial != 0;
    }
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DEGRADED);
    net_run(net, 1000);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "newer"), SC_DONE);
    net_destroy(net);
}

/* A member has gone without a word. What it told only others is not known before these have said.
 */
static void test_legacy_awaited(void)
{
    net_t *net = net_ready(3, NULL);

    net_run(net, 500);
    CU_ASSERT_TRUE(is_leased(net, 0));
    net_crash(net, 2, 0);
    net_forget(net, 1, 2, 0);
    net_run(net, 400); /* node 1 has told since that it does not count on it any more */
    net->link[1][0].hold = 1;
    net_forget(net, 0, 2, 0);
    net_run(net, 20);
    CU_ASSERT_FALSE(is_leased(net, 0));
    net->link[1][0].hold = 0;
    net_run(net, 1500);
    CU_ASSERT_TRUE(is_leased(net, 0));
    net_destroy(net);
}

/* Nothing is acknowledged by, or read from, the side that is too small. */
static void test_minority(void)
{
    net_t *net = net_ready(3, majority);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 2, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    net_hold(net, 2, 1);
    call = net_change(net, 2, 0, 0, 1, "a", "lost", (char *)NULL);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DEGRADED);
    CU_ASSERT_TRUE(net_wait(net, call, 10000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_NO_QUORUM);
    call = net_fetch(net, 2, 1, "n1");
    CU_ASSERT_TRUE(net_wait(net, call, 5000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_NO_QUORUM);
    CU_ASSERT_EQUAL(net->node[2].board->quorum_lost, 1);
    CU_ASSERT_EQUAL(net->node[0].board->quorum_lost, 0);
    CU_ASSERT(net->node[2].board->count.refused_quorum > 0);
    net_hold(net, 2, 0);
    net_run(net, 3000);
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_EQUAL(net->node[2].board->quorum_lost, 0);
    net_destroy(net);
}

/* The clocks are an hour apart: what is changed later counts, also after the halves of a cluster
 * could not talk for a while. */
static void test_clocks_apart(void)
{
    net_t *net = net_ready(2, NULL);
    int i;

    net->node[0].wall_offset = net->node[1].wall_offset + apr_time_from_sec(3600);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "0"), SC_DONE);
    for (i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(net_set(net, i % 2, 0, 1, "a", i % 2 ? "slow" : "fast"), SC_DONE);
        CU_ASSERT_STRING_EQUAL(net_value(net, (i + 1) % 2, 1, "a"), i % 2 ? "slow" : "fast");
    }
    net_part(net, 0, 1);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "fast, first"), SC_DONE);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "slow, later"), SC_DONE);
    net_meet(net, 0, 1);
    net_run(net, 5000);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "slow, later");
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "slow, later");
    net_destroy(net);
}

static void rare_digests(sc_config_t *c, int index)
{
    (void)index;
    c->delta.digest_ms = 3600 * 1000;
}

/* Who has made up what it missed is compared with at once, not at the slow pace: what no pull could
 * know of is found. */
static void test_compared_when_healed(void)
{
    net_t *net = net_ready(2, rare_digests);
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 2, "a", "1"), SC_DONE);
    net_run(net, 10000);
    CU_ASSERT_EQUAL(sc_store_remove(net->node[1].store, 0, &id), APR_SUCCESS);
    net_run(net, 10000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_NOTHING);
    net_part(net, 0, 1);
    net_run(net, 2000);
    net_meet(net, 0, 1);
    net_run(net, 10000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_LIVE);
    net_destroy(net);
}

/* ---- who hears too few, or nobody -------------------------------------------------------------
 */

/* Nobody of several has got a change: whoever made it was cut off then, though it hears them again
 * when it is to be answered. */
static void test_nobody_got_it(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    net_hold(net, 0, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "lost", (char *)NULL);
    net_run(net, (int)net->node[0].config.ack_wait_ms + 10);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    net_hold(net, 0, 0);
    CU_ASSERT_TRUE(net_wait(net, call, 10000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
    net_destroy(net);
}

/* Three of five are silent: the others do not answer from what they have, nor acknowledge anything,
 * until these are dropped. */
static void test_few_heard(void)
{
    net_t *net = net_ready(5, NULL);
    apr_uint32_t call;
    int i, k;

    CU_ASSERT_EQUAL(net_set(net, 4, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
    net_run(net, 500);
    for (i = 0; i < 2; i++) {
        for (k = 2; k < 5; k++) {
            net->link[i][k].hold = net->link[k][i].hold = 1;
        }
    }
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net_set(net, 4, 0, 1, "a", "new"), SC_DEGRADED); /* the three go on */
    for (i = 0; i < 2; i++) {
        call = net_fetch(net, i, 1, "n5");
        CU_ASSERT_TRUE(net_wait(net, call, 10000));
        CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
        call = net_fetch(net, i, 2, "n5");
        CU_ASSERT_TRUE(net_wait(net, call, 10000));
        CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
        CU_ASSERT_EQUAL(net_set(net, i, 0, 1, "b", "lost"), SC_UNKNOWN);
        for (k = 2; k < 5; k++) {
            net_part(net, i, k);
        }
    }
    net_run(net, 3000);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "b", "kept"), SC_DONE);
    net_destroy(net);
}

/* Who says good-bye before the request is answered forgets what it has acknowledged. */
static void test_acknowledged_and_left(void)
{
    int leaving;

    for (leaving = 0; leaving < 2; leaving++) {
        net_t *net = net_ready(4, majority);
        apr_uint32_t call;

        net->node[0].config.quorum = 3;
        CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
        net_run(net, 500);
        net_hold(net, 2, 1);
        call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
        net_run(net, 50);
        CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "2");
        CU_ASSERT_EQUAL(net->answer[call].times, 0);
        if (leaving) {
            net->node[1].self.node_state = SC_NODE_LEAVING;
            sc_manager_member_changed(net->node[0].m, &net->node[1].self);
        } else {
            net_forget(net, 0, 1, 1);
        }
        CU_ASSERT_TRUE(net_wait(net, call, 10000));
        CU_ASSERT_EQUAL(net->answer[call].outcome, SC_NO_QUORUM);
        net_destroy(net);
    }
}

/* After it stood still, all leave its view unheard: they may be there, in another life of theirs,
 * until they had time to say so. Those that say good-bye are not. */
static void test_all_leave(void)
{
    int goodbye, i;

    for (goodbye = 0; goodbye < 2; goodbye++) {
        net_t *net = net_ready(3, NULL);
        apr_uint32_t call;

        CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "old"), SC_DONE);
        net_run(net, 500);
        net_hold(net, 2, 1);
        CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DEGRADED);
        net->node[2].mono_offset += apr_time_from_sec(10);
        net_run(net, 50);
        for (i = 0; i < 2; i++) {
            net_forget(net, 2, i, goodbye);
        }
        net_run(net, 1000);
        CU_ASSERT_EQUAL(may_read(&net->node[2]), goodbye);
        call = net_fetch(net, 2, 1, "n1");
        CU_ASSERT_TRUE(net_wait(net, call, 2000));
        CU_ASSERT_EQUAL(net->answer[call].outcome, goodbye ? SC_FOUND : SC_UNKNOWN);
        net_run(net, (int)net->node[2].config.mcast.drop_ms);
        CU_ASSERT_TRUE(may_read(&net->node[2])); /* nobody has come */
        net_hold(net, 2, 0);
        net_destroy(net);
    }
}

/* Two that were apart meet again, and agree on what was set last. Ends the net. */
static void reunite(net_t *net, const char *want)
{
    int i;

    net_meet(net, 0, 1);
    net_run(net, 5000);
    for (i = 0; i < 2; i++) {
        CU_ASSERT_STRING_EQUAL(net_value(net, i, 1, "a"), want);
    }
    net_destroy(net);
}

/* One clock is an hour behind, and nobody has changed anything yet when they lose each other: what
 * is changed there later is later. */
static void test_clock_before_the_first_change(void)
{
    net_t *net = net_create(2, NULL);
    int i;

    net->node[1].wall_offset = net->node[0].wall_offset - apr_time_from_sec(3600);
    for (i = 0; i < 2; i++) {
        net_join(net, i, 0);
    }
    CU_ASSERT_TRUE(net_wait_ready(net, 5000));
    net_run(net, 2000);
    net_part(net, 0, 1);
    net_run(net, 3000);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "first"), SC_DONE);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net_set(net, 1, SC_CHANGE_NEW, 1, "a", "later"), SC_DONE);
    reunite(net, "later");
}

/* While they cannot hear each other, the clock of one is set an hour ahead: what the other one
 * changes after that is later all the same. */
static void test_clock_set_while_apart(void)
{
    net_t *net = net_ready(2, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "first"), SC_DONE);
    net_run(net, 1000);
    net_part(net, 0, 1);
    net_run(net, 3000);
    net->node[1].wall_offset += apr_time_from_sec(3600);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "before"), SC_DONE);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "after"), SC_DONE);
    reunite(net, "after");
}

/* Two that cannot hear each other come to a third one in one instant: neither may read on its word,
 * since it has been told of the other one. */
static void test_two_at_once(void)
{
    net_t *net = net_ready(3, majority);
    int i;

    net_run(net, 500);
    net_part(net, 1, 2);
    net_crash(net, 0, 1);
    net_run(net, 2000);
    net_start(net, 0, 0);
    net_meet(net, 0, 2);
    net_meet(net, 0, 1);
    for (i = 0; i < 1000; i++) {
        net_run(net, 1);
        CU_ASSERT_FALSE(may_read(&net->node[1]) || may_read(&net->node[2]));
    }
    net_meet(net, 1, 2);
    net_run(net, 2000);
    CU_ASSERT(may_read(&net->node[1]) && may_read(&net->node[2]));
    net_destroy(net);
}

/* A node whose wall clock is far ahead comes with nothing: the others' time stays as it is, and it
 * takes that. */
static void test_newcomer_ahead(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint64_t before;
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_run(net, 1000);
    net_crash(net, 2, 1);
    before = net->node[0].board->hlc >> 16;
    net->node[2].wall_offset += apr_time_from_sec(8 * 3600);
    net_join(net, 2, 1);
    CU_ASSERT(net_wait_ready(net, 5000));
    net_run(net, 1000);
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 1, "a", "2"), SC_DONE);
    for (i = 0; i < 3; i++) {
        CU_ASSERT_STRING_EQUAL(net_value(net, i, 1, "a"), "2");
        CU_ASSERT(net->node[i].board->hlc >> 16 < before + 3600 * 1000);
    }
    net_destroy(net);
}

/* A member has been found to hang by its PINGs: the first change after that does not wait for it
 * any more. */
static void test_known_to_hang(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_run(net, 500);
    net_hold(net, 2, 1);
    net_run(net, 2000);
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    net_run(net, 50);
    CU_ASSERT_EQUAL(net->answer[call].times, 1);
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DEGRADED);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "2");
    net_hold(net, 2, 0);
    net_run(net, 3000);
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "2");
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
    CU_add_test(suite, "lease: one stall", test_one_stall);
    CU_add_test(suite, "lease: known to hang", test_known_to_hang);
    CU_add_test(suite, "lease: cut off", test_cut_off);
    CU_add_test(suite, "lease: two halves", test_halves);
    CU_add_test(suite, "lease: a member that others count on", test_counted_by_others);
    CU_add_test(suite, "lease: a member that others do not know", test_introduced);
    CU_add_test(suite, "lease: two members in one instant", test_two_at_once);
    CU_add_test(suite, "quorum: a member that has lost its memory", test_blank);
    CU_add_test(suite, "who lags is not waited for", test_lagging);
    CU_add_test(suite, "quorum: alone", test_alone);
    CU_add_test(suite, "a lease waits for what the dead has told others", test_legacy_awaited);
    CU_add_test(suite, "quorum: a member that is leaving", test_leaver);
    CU_add_test(suite, "lease: one pair cut", test_one_pair_cut);
    CU_add_test(suite, "lease: one way cut", test_one_way);
    CU_add_test(suite, "lease: departed", test_departed);
    CU_add_test(suite, "lease: minority", test_minority);
    CU_add_test(suite, "lease: clocks apart", test_clocks_apart);
    CU_add_test(suite, "lease: a newcomer's clock is ahead", test_newcomer_ahead);
    CU_add_test(suite, "lease: compared when healed", test_compared_when_healed);
    CU_add_test(suite, "lease: nobody got a change", test_nobody_got_it);
    CU_add_test(suite, "lease: two of five", test_few_heard);
    CU_add_test(suite, "lease: acknowledged and left", test_acknowledged_and_left);
    CU_add_test(suite, "lease: all leave after a standstill", test_all_leave);
    CU_add_test(suite, "lease: clock set while apart", test_clock_set_while_apart);
    CU_add_test(suite, "lease: clock before the first change", test_clock_before_the_first_change);
}
