/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * State from peers: joining, gaps, partitions, deaths.
 */
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"

static void create(net_t *net, int node, apr_uint32_t from, apr_uint32_t n)
{
    char value[600];
    apr_uint32_t i, call = 0;

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (i = 0; i < n; i++) {
        call = net_change(net, node, SC_CHANGE_NEW, 0, from + i, "a", value, (char *)NULL);
    }
    CU_ASSERT(net_wait(net, call, 5000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DONE);
}

static void small_blocks(sc_config_t *c, int index)
{
    (void)index;
    c->delta.block_bytes = 4096;
}

/* ---- joining --------------------------------------------------------------------------------- */

static void test_join(void)
{
    net_t *net = net_create(3, small_blocks);
    sc_board_t *board = net->node[2].board;
    apr_uint32_t seen_total = 0, i;

    net_join(net, 0, 0);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    create(net, 0, 1, 500);
    CU_ASSERT_EQUAL(net->answer[net_remove(net, 1, 3)].times, 0);
    net_run(net, 100);
    net_join(net, 2, 0);
    CU_ASSERT_EQUAL(board->node_state, SC_NODE_JOINING);
    for (i = 0; i < 2000 && board->node_state != SC_NODE_READY; i++) {
        apr_uint32_t n = 5 + i % 400;

        /* life goes on meanwhile, on both: changes, new ones, ends */
        (void)net_change(net, (int)(i % 2), 0, 0, n, "live", "1", (char *)NULL);
        if (i % 10 == 0) {
            (void)net_change(net, 0, SC_CHANGE_NEW, 0, 1000 + i, "a", "new", (char *)NULL);
        }
        if (i == 20) {
            (void)net_remove(net, 1, 499);
        }
        net_run(net, 3);
        seen_total = seen_total > board->transfer_total ? seen_total : board->transfer_total;
    }
    CU_ASSERT_EQUAL(board->node_state, SC_NODE_READY);
    CU_ASSERT(i > 20);
    net_run(net, 3000);
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_EQUAL(net_look(net, 2, 3, NULL), NET_DEAD);
    CU_ASSERT_EQUAL(net_look(net, 2, 499, NULL), NET_DEAD);
    /* one block at a time, none larger than asked for by much, all of them seen on the board */
    CU_ASSERT_EQUAL(net->node[0].data_in_flight_max, 1);
    CU_ASSERT(net->node[0].posted[SC_EVT_ALL_SESSION_DATA] >= 500 * 620 / 4096);
    CU_ASSERT(seen_total >= 500);
    CU_ASSERT_EQUAL(board->transfer_total, 0);
    CU_ASSERT(board->count.transferred >= 500);
    CU_ASSERT(board->count.transfers >= 2); /* the donor's, and what the other had to add */
    CU_ASSERT(net->node[1].posted[SC_EVT_ALL_SESSION_TRANSFERCOMPLETE] >= 2);
    net_destroy(net);
}

/* A session larger than a block travels alone in one. */
static void test_large_sessions(void)
{
    net_t *net = net_create(2, small_blocks);
    static char value[30000];
    apr_uint32_t i;

    memset(value, 'v', sizeof(value) - 1);
    net_join(net, 0, 0);
    for (i = 1; i <= 20; i++) {
        CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, i, "a", value), SC_DONE);
    }
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 5000));
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_ALL_SESSION_DATA], 20);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

static void test_donor_dies(void)
{
    net_t *net = net_create(3, small_blocks);

    net_join(net, 0, 0);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    create(net, 0, 1, 500);
    net_join(net, 2, 0);
    net_run(net, 50);
    CU_ASSERT(net->node[0].posted[SC_EVT_ALL_SESSION_DATA] > 5);
    CU_ASSERT(net_sessions(net, 2) < 400);
    net_crash(net, 0, 1);
    CU_ASSERT(net_wait_ready(net, 5000));
    CU_ASSERT(net->node[1].posted[SC_EVT_ALL_SESSION_DATA] > 5);
    CU_ASSERT_EQUAL(net_sessions(net, 2), 500);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* The donor is there and says nothing more. */
static void test_donor_hangs(void)
{
    net_t *net = net_create(3, small_blocks);

    net_join(net, 0, 0);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    create(net, 0, 1, 300);
    net_join(net, 2, 0);
    net_run(net, 30);
    CU_ASSERT(net_sessions(net, 2) < 300);
    net_hold(net, 0, 1);
    CU_ASSERT(net_wait_ready(net, 20000));
    CU_ASSERT_EQUAL(net_sessions(net, 2), 300);
    CU_ASSERT(net->node[2].logged[50] >= 1);
    net_hold(net, 0, 0);
    net_run(net, 30000);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* Blocks that do not arrive are sent again. */
static void test_lost_blocks(void)
{
    net_t *net = net_create(2, small_blocks);

    net_join(net, 0, 0);
    create(net, 0, 1, 500);
    net_join(net, 1, 0);
    net_run(net, 20);
    CU_ASSERT(net_sessions(net, 1) > 0 && net_sessions(net, 1) < 400);
    net->link[0][1].loss = 1000;
    net_run(net, 2200);
    net->link[0][1].loss = 0;
    CU_ASSERT(net_wait_ready(net, 20000));
    CU_ASSERT_EQUAL(net_sessions(net, 1), 500);
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT(net->node[1].board->count.transferred < 520); /* from there on, not from the start */
    net_destroy(net);
}

/* A transfer may take longer than the patience with a silent donor. */
static void test_slow_donor(void)
{
    net_t *net = net_create(2, small_blocks);

    net_join(net, 0, 0);
    create(net, 0, 1, 300);
    net_weather(net, apr_time_from_msec(150), 0, 0);
    net_join(net, 1, 0);
    net_run(net, 8000);
    CU_ASSERT_EQUAL(net->node[1].board->node_state, SC_NODE_JOINING);
    CU_ASSERT(net_wait_ready(net, 60000));
    CU_ASSERT_EQUAL(net->node[1].logged[50], 0);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 300);
    net_destroy(net);
}

/* A READY donor is better than an older one that is joining itself. */
static void test_ready_donor(void)
{
    net_t *net = net_create(3, NULL);

    net_join(net, 1, 0);
    create(net, 1, 1, 50);
    net_start(net, 0, 0);
    net_meet(net, 0, 1);
    CU_ASSERT_EQUAL(net->node[0].board->node_state, SC_NODE_JOINING);
    net->link[0][2].hold = 1; /* the older one would not even answer */
    net_join(net, 2, 0);
    net_run(net, 1000);
    CU_ASSERT_EQUAL(net_sessions(net, 2), 50);
    net_destroy(net);
}

/* The donor does not know the joiner yet, and refuses: it is asked again soon. */
static void test_asked_too_early(void)
{
    net_t *net = net_create(2, NULL);

    net_join(net, 0, 0);
    create(net, 0, 1, 50);
    net_start(net, 1, 0);
    net_see(net, 1, 0);
    sc_manager_settled(net->node[1].m);
    net_run(net, 700);
    CU_ASSERT_EQUAL(net->node[1].board->node_state, SC_NODE_JOINING);
    net_see(net, 0, 1);
    CU_ASSERT(net_wait_ready(net, 2000));
    CU_ASSERT_EQUAL(net_sessions(net, 1), 50);
    net_destroy(net);
}

/* One gives everything, the others only what is recent. */
static void test_others_add_the_recent(void)
{
    net_t *net = net_create(3, NULL);
    apr_uint32_t i;

    net_join(net, 0, 0);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    create(net, 0, 1, 400);
    net_run(net, 100000);
    for (i = 1; i <= 5; i++) {
        CU_ASSERT_EQUAL(net_set(net, 0, 0, i, "b", "1"), SC_DONE);
    }
    net_join(net, 2, 0);
    CU_ASSERT(net_wait_ready(net, 3000));
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT(net->node[2].board->count.transferred < 450);
    net_destroy(net);
}

/* Nobody gives anything: the node serves all the same, and goes on asking. */
static void test_nobody_gives(void)
{
    net_t *net = net_create(3, NULL);

    net_join(net, 0, 0);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    create(net, 0, 1, 10);
    net->link[2][0].hold = net->link[2][1].hold = 1; /* its requests do not get through */
    net_join(net, 2, 0);
    CU_ASSERT_EQUAL(net->node[2].board->node_state, SC_NODE_JOINING);
    net_run(net, 4000);
    CU_ASSERT_EQUAL(net->node[2].board->node_state, SC_NODE_JOINING);
    CU_ASSERT(net_wait_ready(net, 20000));
    CU_ASSERT_EQUAL(net->node[2].logged[51], 1);
    net->link[2][0].hold = net->link[2][1].hold = 0;
    net_run(net, 90000);
    CU_ASSERT_EQUAL(net_sessions(net, 2), 10);
    net_destroy(net);
}

static void do_not_wait(sc_config_t *c, int index)
{
    (void)index;
    c->delta.state_ms = 0;
}

static void test_not_waiting_for_state(void)
{
    net_t *net = net_create(2, do_not_wait);

    net_join(net, 0, 0);
    create(net, 0, 1, 10);
    net_join(net, 1, 0);
    CU_ASSERT_EQUAL(net->node[1].board->node_state, SC_NODE_READY);
    net_run(net, 1000);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 10);
    net_destroy(net);
}

/* Two fresh nodes join at once, beside one that has everything. */
static void test_two_joiners(void)
{
    net_t *net = net_create(3, small_blocks);
    int i;

    net_join(net, 0, 0);
    create(net, 0, 1, 300);
    net_start(net, 1, 0);
    net_start(net, 2, 0);
    for (i = 0; i < 2; i++) {
        net_meet(net, i, 2);
    }
    net_meet(net, 0, 1);
    net_run(net, 100);
    sc_manager_settled(net->node[1].m);
    sc_manager_settled(net->node[2].m);
    CU_ASSERT_EQUAL(net_set(net, 1, SC_CHANGE_NEW, 1000, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 2, SC_CHANGE_NEW, 1001, "a", "1"), SC_DONE);
    CU_ASSERT(net_wait_ready(net, 5000));
    net_run(net, 2000);
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_EQUAL(net_sessions(net, 2), 302);
    /* what a joiner was given it does not give back, nor to the other joiner */
    CU_ASSERT(net->node[1].board->count.transferred < 2 * 300);
    CU_ASSERT(net->node[0].board->count.transferred < 10);
    net_destroy(net);
}

/* A cluster that starts as a whole, fresh or with what is left in the stores of each. */
static void start_together(net_t *net, int n)
{
    int i, k;

    for (i = 0; i < n; i++) {
        net_start(net, i, 0);
    }
    for (i = 0; i < n; i++) {
        for (k = 0; k < i; k++) {
            net_meet(net, i, k);
        }
    }
    net_run(net, 100);
    for (i = 0; i < n; i++) {
        sc_manager_settled(net->node[i].m);
    }
}

static void test_start_together(void)
{
    net_t *net = net_create(3, NULL);
    int i;

    start_together(net, 3);
    CU_ASSERT(net_wait_ready(net, 1000)); /* quickly */
    create(net, 0, 1, 20);
    create(net, 1, 101, 20);
    /* each loses sight of the others, makes sessions of its own, and dies */
    net_part(net, 0, 1);
    net_part(net, 0, 2);
    net_part(net, 1, 2);
    create(net, 0, 201, 20);
    create(net, 1, 301, 20);
    create(net, 2, 401, 20);
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 1, "b", "2"), SC_DONE);
    for (i = 0; i < 3; i++) {
        net_crash(net, i, 0);
    }
    start_together(net, 3);
    CU_ASSERT(net_wait_ready(net, 2000));
    CU_ASSERT_PTR_NULL(net_difference(net));
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(net_sessions(net, i), 100);
        CU_ASSERT_STRING_EQUAL(net_value(net, i, 1, "b"), "2");
    }
    net_destroy(net);
}

/* An engine that is replaced asks only for what it missed. */
static void test_restart(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint64_t before;

    create(net, 0, 1, 400);
    net_run(net, 6000);
    net_crash(net, 1, 1);
    create(net, 0, 1001, 5);
    before = net->node[1].board->count.transferred;
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 3000));
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_EQUAL(net_sessions(net, 1), 405);
    CU_ASSERT(net->node[1].board->count.transferred - before < 20);
    CU_ASSERT(net->node[0].board->count.transferred < 20); /* nor does the other one */
    net_destroy(net);
}

static int is_doubtful(net_t *net, int node, apr_uint32_t id)
{
    sc_record_t rec;

    CU_ASSERT_EQUAL(net_look(net, node, id, &rec), NET_LIVE);
    return (rec.flags & SC_REC_DOUBT) != 0;
}

/* An engine is killed while a change is under way: its successor shows it when the other node has
 * it, and not before. What was changed long ago it shows at once. */
static void test_successor(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint32_t call;

    net_make(net, 0, 1, 2);
    net_run(net, 10000);
    net->link[0][1].hold = 1;
    call = net_change(net, 0, 0, 0, 1, "a", "2", NULL);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    net_crash(net, 0, 1);
    net->link[0][1].hold = 0;
    net_join(net, 0, 0);
    CU_ASSERT(is_doubtful(net, 0, 1));
    CU_ASSERT_FALSE(is_doubtful(net, 0, 2));
    CU_ASSERT(net_wait_ready(net, 3000));
    net->link[0][1].hold = 1;
    call = net_fetch(net, 0, 1, "n1");
    net_run(net, 50);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    net->link[0][1].hold = 0;
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_FOUND);
    CU_ASSERT_FALSE(is_doubtful(net, 0, 1));
    CU_ASSERT(net_is(net_value(net, 1, 1, "a"), "2"));
    net_destroy(net);
}

/* A change that a third node makes before it knows the joiner, and that reaches the donor after
 * its state was given: the joiner gets it from the third. */
static void test_late_acquaintance(void)
{
    net_t *net = net_create(3, NULL);

    net_join(net, 0, 0);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    create(net, 0, 1, 10);
    net_start(net, 2, 0);
    net_meet(net, 0, 2);
    net_run(net, 100);
    sc_manager_settled(net->node[2].m);
    CU_ASSERT(net_wait_ready(net, 2000));
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "late", "1"), SC_DONE);
    CU_ASSERT_PTR_NULL(net_value(net, 2, 1, "late"));
    net_meet(net, 1, 2);
    net_run(net, 1000);
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "late"), "1");
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* ---- gaps ------------------------------------------------------------------------------------ */

static void test_gap(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint64_t before, resynced;
    apr_uint32_t i;

    create(net, 0, 1, 300);
    net_run(net, 6000); /* that it has all is believed some time later */
    before = net->node[1].board->count.transferred;
    resynced = net->node[1].resynced;
    net->link[0][1].loss = 1000;
    for (i = 1; i <= 10; i++) {
        (void)net_change(net, 0, 0, 0, i, "lost", "1", (char *)NULL);
        net_run(net, 1500);
    }
    CU_ASSERT_PTR_NULL(net_value(net, 1, 5, "lost"));
    net->link[0][1].loss = 0;
    net_run(net, 5000); /* without another change */
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 5, "lost"), "1");
    CU_ASSERT(net->node[1].gaps > 0);
    CU_ASSERT(net->node[1].resynced > resynced);
    CU_ASSERT(net->node[1].board->count.transferred - before <= 12); /* not everything again */
    net_destroy(net);
}

/* Gaps that keep coming do not keep a donor scanning. */
static void test_many_gaps(void)
{
    net_t *net = net_ready(2, NULL);
    int i;

    create(net, 0, 1, 10);
    for (i = 0; i < 1000; i++) {
        sc_manager_gap(net->node[1].m, &net->node[0].self);
        net_run(net, 10);
    }
    CU_ASSERT(net->node[1].posted[SC_EVT_GET_ALL_SESSIONS] < 20);
    net_run(net, 3000);
    CU_ASSERT(net->node[1].resynced > 1);
    net_destroy(net);
}

/* What was missed is made up only when nothing has been missed since. */
static void test_gap_in_a_gap(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint64_t before;

    net_run(net, 3000);
    before = net->node[1].resynced;
    sc_manager_gap(net->node[1].m, &net->node[0].self);
    sc_manager_gap(net->node[1].m, &net->node[0].self);
    net_run(net, 500);
    CU_ASSERT_EQUAL(net->node[1].resynced, before);
    net_run(net, 1500);
    CU_ASSERT_EQUAL(net->node[1].resynced, before + 1);
    net_destroy(net);
}

/* Reports of progress of a node whose state has not been taken over yet prove nothing. */
static void test_progress(void)
{
    net_t *net = net_create(2, NULL);
    sc_board_t *board = net->node[1].board;
    apr_uint64_t id;

    net_join(net, 0, 0);
    create(net, 0, 1, 50);
    net->link[1][0].hold = 1;
    net_start(net, 1, 0);
    net_meet(net, 0, 1);
    id = net->node[0].self.store_id;
    CU_ASSERT(net_change(net, 0, SC_CHANGE_NEW, 0, 99, "a", "1", (char *)NULL) > 0);
    net_run(net, 500);
    CU_ASSERT_EQUAL(net_look(net, 1, 99, NULL), NET_LIVE);
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, id), 0);
    net->link[1][0].hold = 0;
    sc_manager_settled(net->node[1].m);
    CU_ASSERT(net_wait_ready(net, 5000));
    CU_ASSERT(sc_board_peer_lsn(board, id) >= 51);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 51);
    net_destroy(net);
}

/* ---- partitions and deaths ------------------------------------------------------------------- */

static void test_partition(void)
{
    net_t *net = net_ready(4, NULL);
    int i, k;

    create(net, 0, 1, 50);
    for (i = 0; i < 2; i++) {
        for (k = 2; k < 4; k++) {
            net_part(net, i, k);
        }
    }
    for (i = 0; i < 4; i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%d", i);
        CU_ASSERT_EQUAL(net_set(net, i, 0, 1, name, "1"), SC_DONE);
        CU_ASSERT_EQUAL(net_set(net, i, 0, 2, "same", name), SC_DONE);
        create(net, i, (apr_uint32_t)(1000 * (i + 1)), 20);
    }
    CU_ASSERT(net_wait(net, net_remove(net, 0, 10), 2000));     /* dead on one side, */
    CU_ASSERT_EQUAL(net_set(net, 3, 0, 10, "a", "2"), SC_DONE); /* in use on the other */
    CU_ASSERT(net_wait(net, net_change_id(net, 3, 11, 5000, 0, "user", "ann"), 2000));
    net_run(net, 120000);
    CU_ASSERT_PTR_NOT_NULL(net_difference(net));
    for (i = 0; i < 2; i++) {
        for (k = 2; k < 4; k++) {
            net_meet(net, i, k);
        }
    }
    net_run(net, 5000); /* without a request */
    CU_ASSERT_PTR_NULL(net_difference(net));
    for (i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(net_sessions(net, i), 50 + 80 - 1);
        CU_ASSERT_STRING_EQUAL(net_value(net, i, 1, "n0"), "1");
        CU_ASSERT_STRING_EQUAL(net_value(net, i, 1, "n3"), "1");
        CU_ASSERT_EQUAL(net_look(net, i, 10, NULL), NET_DEAD);
        CU_ASSERT_EQUAL(net_look(net, i, 11, NULL), NET_DEAD);
        CU_ASSERT_STRING_EQUAL(net_value(net, i, 5000, "user"), "ann");
    }
    net_destroy(net);
}

/* A node dies after it has told some, not all. */
static void test_legacy(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t i;

    create(net, 1, 1, 100);
    net_run(net, 30000);
    net->link[0][2].hold = 1;
    for (i = 1001; i <= 1005; i++) {
        (void)net_change(net, 0, SC_CHANGE_NEW, 0, i, "a", "1", (char *)NULL);
    }
    (void)net_change(net, 0, 0, 0, 1, "b", "2", (char *)NULL);
    (void)net_remove(net, 0, 2);
    (void)net_change(net, 0, 0, 0, 3, "b", "2", (char *)NULL);
    net_run(net, 100);
    /* of this one somebody else is the primary since, and all know his change */
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 3, "c", "3"), SC_DONE);
    CU_ASSERT_PTR_NULL(net_value(net, 2, 3, "b"));
    net_crash(net, 0, 1);
    net->link[0][2].hold = 0;
    CU_ASSERT_EQUAL(net_look(net, 2, 1003, NULL), NET_NOTHING);
    net_run(net, 1000);
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_EQUAL(net_look(net, 2, 1003, NULL), NET_LIVE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "b"), "2");
    CU_ASSERT_TRUE(net_is(net_value(net, 2, 3, "b"), "2"));
    CU_ASSERT_EQUAL(net_look(net, 2, 2, NULL), NET_DEAD);
    CU_ASSERT(net->node[2].board->count.transferred < 120); /* only the dead node's, no good-byes */
    net_destroy(net);
}

/* Which sessions a donor has given to another node. */
typedef struct given_t {
    int from, to;
    int times[10]; /* by number of the session */
} given_t;

static void see_given(net_t *net, int from, int to, const unsigned char *bytes, apr_size_t len)
{
    given_t *given = net->tapped;
    sc_wire_session_t w;
    sc_msg_data_t d;
    sc_rd_t r;
    int i;

    if (from != given->from || to != given->to || len == 0 || bytes[0] != SC_EVT_ALL_SESSION_DATA) {
        return;
    }
    sc_rd_init(&r, bytes + 1, len - 1);
    CU_ASSERT_EQUAL_FATAL(sc_msg_data_get(&r, SC_EVT_ALL_SESSION_DATA, &d), APR_SUCCESS);
    while (sc_rd_left(&r) > 0 && sc_wire_session_get(&r, &w) == APR_SUCCESS) {
        for (i = 0; i < 10; i++) {
            sc_id_t id = net_id((apr_uint32_t)i);

            given->times[i] += memcmp(&w.id, &id, sizeof(id)) == 0;
        }
    }
}

/* What is given of a dead node's: what it owned, and that in which there is something of its doing,
 * though another one is the primary since and has changed it, too. The rest is not. */
static void test_legacy_of_the_maker(void)
{
    net_t *net = net_ready(3, NULL);
    given_t given = {1, 2, {0}};
    sc_msg_get_all_t g;
    sc_record_t rec;
    sc_buf_t b;

    net_make(net, 0, 1, 1);
    net_make(net, 1, 2, 3);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 3, "b", "2"), SC_DONE);
    CU_ASSERT_EQUAL(net_look(net, 1, 3, &rec), NET_LIVE);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 3, "c", "3"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_primary(net, 1, 3), "n2");
    net_crash(net, 0, 1);
    net_run(net, 2000); /* what it asks for by itself has come */
    memset(&g, 0, sizeof(g));
    g.serial = (apr_uint64_t)1 << 40;
    g.knows = 1;
    g.recent_ms = 60000;
    g.primary.s = "n1";
    g.primary.len = 2;
    g.maker = rec.stamp.node;
    g.context[0].s = NET_CONTEXT;
    g.context[0].len = strlen(NET_CONTEXT);
    g.ncontexts = 1;
    sc_buf_init(&b, 4096);
    sc_msg_get_all_put(&b, &g);
    net->tap = see_given;
    net->tapped = &given;
    CU_ASSERT_EQUAL(sc_manager_record(net->node[1].m, &net->node[2].self, b.data, b.len),
                    APR_SUCCESS);
    net_run(net, 500);
    net->tap = NULL;
    CU_ASSERT_EQUAL(given.times[1], 1);
    CU_ASSERT_EQUAL(given.times[2], 0);
    CU_ASSERT_EQUAL(given.times[3], 1);
    CU_ASSERT_EQUAL(given.times[4], 0);
    sc_buf_free(&b);
    net_destroy(net);
}

static void add(const char *name, void (*fn)(void))
{
    CU_add_test(CU_get_suite("delta"), name, fn);
}

void delta_transfer_tests(void)
{
    add("joining while life goes on", test_join);
    add("sessions larger than a block", test_large_sessions);
    add("the donor dies", test_donor_dies);
    add("the donor hangs", test_donor_hangs);
    add("blocks are lost", test_lost_blocks);
    add("a slow donor", test_slow_donor);
    add("a READY donor is preferred", test_ready_donor);
    add("a donor that is asked too early", test_asked_too_early);
    add("the others add what is recent", test_others_add_the_recent);
    add("no donor", test_nobody_gives);
    add("stateTransferTimeout=0", test_not_waiting_for_state);
    add("two join at once", test_two_joiners);
    add("all start at once", test_start_together);
    add("restart of an engine", test_restart);
    add("successor of a killed engine", test_successor);
    add("a node that is met late", test_late_acquaintance);
    add("a gap is made up", test_gap);
    add("many gaps", test_many_gaps);
    add("a gap while one is made up", test_gap_in_a_gap);
    add("progress is believed later", test_progress);
    add("partition of two and two", test_partition);
    add("what a dead node told only some", test_legacy);
    add("what a dead node has changed in others' sessions", test_legacy_of_the_maker);
}
