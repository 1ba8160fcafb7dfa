/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The coordinators: elections among whole channels on the simulated network. The messages, and
 * one node alone, are tested in coordinator_*.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "coordinator_rig.h"

void sc_suite_coordinator(void);

#define NON_BLOCKING "NonBlockingCoordinator"
#define SIMPLE "SimpleCoordinator"

static sc_election_t election; /* large */

/* ---- clusters with a coordinator ------------------------------------------------------------ */

static void set_name(sc_config_interceptor_t *c, const char *name)
{
    apr_cpystrn(c->name, name, sizeof(c->name));
}

static rig_t *rig_with(const char *name, int nodes)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, nodes);
    int i;

    for (i = 0; i < RIG_NODES; i++) {
        sc_config_t *c = &rig->node[i].config;

        c->ninterceptors = 3;
        set_name(&c->interceptor[0], name);
        set_name(&c->interceptor[1], "MessageDispatch");
        set_name(&c->interceptor[2], "TcpFailureDetector");
    }
    for (i = 0; i < nodes; i++) {
        rig_start(rig, i, 0);
    }
    return rig;
}

static const char *coordinator(rig_t *rig, int i)
{
    static sc_view_t view;

    sc_channel_view(rig->node[i].channel, &view);
    return view.coordinator;
}

/** Whether all that are up and not frozen have this coordinator. */
static int agree_at(rig_t *rig, const char *who, int line)
{
    int i;

    for (i = 0; i < RIG_NODES; i++) {
        if (rig->node[i].up && !rig->node[i].frozen && strcmp(coordinator(rig, i), who) != 0) {
            printf("\n    line %d: n%d has coordinator \"%s\", not \"%s\"\n", line, i + 1,
                   coordinator(rig, i), who);
            return 0;
        }
    }
    return 1;
}

#define agree(rig, who) CU_ASSERT_TRUE(agree_at(rig, who, __LINE__))

/* ---- elections ------------------------------------------------------------------------------ */

/** From one to seven nodes, started in the order that suits an election least. */
static void test_elect(void)
{
    int nodes;

    for (nodes = 1; nodes <= 7; nodes++) {
        rig_t *rig = rig_with(NON_BLOCKING, 0);
        int i;

        for (i = nodes - 1; i >= 0; i--) {
            rig_start(rig, i, 0);
            rig_run(rig, RIG_MS(700));
        }
        rig_run(rig, SECONDS(3));
        agree(rig, "n1");
        for (i = 1; i < nodes; i++) { /* the first one dies or leaves, one after the other */
            char want[8];

            if (i % 2) {
                rig_kill(rig, i - 1);
            } else {
                rig_leave(rig, i - 1);
            }
            rig_run(rig, SECONDS(8));
            snprintf(want, sizeof(want), "n%d", i + 1);
            agree(rig, want);
        }
        rig_destroy(rig);
    }
}

/** All at once, and it comes to rest: with a view that holds nothing is sent. */
static void test_rest(void)
{
    rig_t *rig = rig_with(NON_BLOCKING, 7);
    int before = 0;
    int after = 0;
    int i;

    rig_run(rig, SECONDS(8));
    agree(rig, "n1");
    CU_ASSERT_PTR_NOT_NULL(
        strstr(rig->node[6].log, "SC0485: the coordinator is n1 (10.0.0.1:4000), first of 7"));
    for (i = 0; i < 7; i++) {
        before += rig->node[i].control_frames;
    }
    rig_run(rig, SECONDS(60));
    for (i = 0; i < 7; i++) {
        after += rig->node[i].control_frames;
    }
    CU_ASSERT_EQUAL(before, after);
    CU_ASSERT(before < 200);
    agree(rig, "n1");
    rig_destroy(rig);
}

/** Members die while a token is on its way to them. */
static void test_deaths(void)
{
    int victim;

    for (victim = 1; victim < 5; victim++) {
        rig_t *rig = rig_with(NON_BLOCKING, 5);

        rig_run(rig, SECONDS(4));
        agree(rig, "n1");
        rig_start(rig, 5, 0); /* an election begins */
        rig_run(rig, RIG_MS(1120));
        rig_kill(rig, victim);
        rig_run(rig, SECONDS(12));
        agree(rig, "n1");
        rig_kill(rig, 0); /* and the first one, in the middle of the next */
        rig_start(rig, 6, 0);
        rig_run(rig, SECONDS(20));
        agree(rig, victim == 1 ? "n3" : "n2");
        rig_destroy(rig);
    }
}

/** Frozen ones take a token and do nothing with it. */
static void test_frozen(void)
{
    rig_t *rig = rig_with(NON_BLOCKING, 4);

    rig_run(rig, SECONDS(4));
    rig_freeze(rig, 0);
    rig_run(rig, SECONDS(25));
    agree(rig, "n2");
    rig_thaw(rig, 0);
    rig_run(rig, SECONDS(25));
    agree(rig, "n1");
    rig_destroy(rig);
}

/** Tokens and confirmations get lost: at each place once, then many. */
static void test_lost(void)
{
    int lost;
    int at;

    for (lost = 1; lost <= 3; lost++) {
        for (at = 0; at < 4; at++) {
            rig_t *rig = rig_with(NON_BLOCKING, 4);

            rig->node[at].lose_control = lost;
            rig_run(rig, SECONDS(60));
            agree(rig, "n1");
            rig_destroy(rig);
        }
    }
}

/** Two halves, each with a coordinator; and one again. */
static void test_partition(void)
{
    rig_t *rig = rig_with(NON_BLOCKING, 4);
    int a;
    int b;

    rig_run(rig, SECONDS(4));
    for (a = 0; a < 2; a++) {
        for (b = 2; b < 4; b++) {
            rig_cut(rig, a, b, 1);
        }
    }
    rig_run(rig, SECONDS(30));
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 0), "n1");
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 1), "n1");
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 2), "n3");
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 3), "n3");
    for (a = 0; a < 2; a++) {
        for (b = 2; b < 4; b++) {
            rig_cut(rig, a, b, 0);
        }
    }
    rig_run(rig, SECONDS(30));
    agree(rig, "n1");
    rig_destroy(rig);
}

/** A restart: the same address, another life. */
static void test_restart(void)
{
    rig_t *rig = rig_with(NON_BLOCKING, 3);
    int i;

    rig_run(rig, SECONDS(4));
    for (i = 0; i < 3; i++) {
        rig_start(rig, i, 1);
        rig_run(rig, SECONDS(8));
        agree(rig, "n1");
    }
    rig_destroy(rig);
}

/** Whatever comes in is refused without a trace, and the view stays. */
static void test_refused(void)
{
    rig_t *rig = rig_with(NON_BLOCKING, 2);
    rig_node_t *n = &rig->node[0];
    sc_packet_t packet;
    apr_size_t len;
    unsigned char *body;
    apr_size_t i;

    rig_run(rig, SECONDS(4));
    agree(rig, "n1");
    body = rig_captured(ELECTION_VECTOR, &packet);
    len = packet.body_len;
    packet.from = *sc_channel_local(rig->node[1].channel);
    for (i = 16; i < len; i++) {
        packet.body_len = i;
        CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &packet), APR_EINVAL);
    }
    CU_ASSERT_EQUAL(n->board.count.frames_refused, len - 16);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0487"));
    CU_ASSERT_PTR_NULL(strstr(strstr(n->log, "SC0487") + 1, "SC0487")); /* one line */
    /* whole, of members that nobody has: connected to, in vain, and dropped */
    packet.body_len = len;
    for (i = 0; i < 100; i++) {
        (void)n->transport_up.packet(n->transport_up.baton, &packet);
    }
    CU_ASSERT(n->probes < 100); /* so many at once */
    {
        sc_buf_t b;
        int k;

        memset(&election, 0, sizeof(election));
        for (k = 1; k <= SC_MEMBERS_MAX; k++) {
            sc_member_t m = coordinator_numbered(k);

            sc_members_put(&election.members, &m);
        }
        election.leader = election.source = election.members.m[0];
        sc_buf_init(&b, SC_ELECTION_MAX);
        sc_election_put(&b, &election);
        rig_run(rig, SECONDS(10));
        i = n->probes;
        packet.body = b.data;
        packet.body_len = b.len;
        for (k = 0; k < 100; k++) {
            (void)n->transport_up.packet(n->transport_up.baton, &packet);
        }
        CU_ASSERT(n->probes - (int)i <= 2 * SC_MEMBERS_MAX);
        sc_buf_free(&b);
        packet.body = body;
        packet.body_len = len;
    }
    rig_run(rig, SECONDS(40));
    agree(rig, "n1");
    /* a confirmed view of others is none of ours */
    election.conf = 1;
    CU_ASSERT_EQUAL(sc_election_get(&election, body, len), APR_SUCCESS);
    election.conf = 1;
    {
        sc_buf_t b;

        sc_buf_init(&b, SC_ELECTION_MAX);
        sc_election_put(&b, &election);
        packet.body = b.data;
        packet.body_len = b.len;
        CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &packet), APR_SUCCESS);
        sc_buf_free(&b);
    }
    agree(rig, "n1");
    free(body);
    rig_destroy(rig);
}

/** A token names a member that this node has not heard: it stays in while it can be reached. */
static void test_not_heard(void)
{
    rig_t *rig = rig_with(NON_BLOCKING, 3);

    rig->node[2].mute = 1; /* nobody hears n3, and it hears everybody */
    rig_run(rig, SECONDS(40));
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 0), "n1");
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 1), "n1");
    rig->node[2].mute = 0;
    rig_run(rig, SECONDS(30));
    agree(rig, "n1");
    rig_destroy(rig);
}

/** One takes tokens and knows nothing of them: no view, no storm; and a view when it has learned.
 */
static void test_without(void)
{
    rig_t *rig = rig_with(NON_BLOCKING, 0);
    int frames;
    int i;

    rig->node[1].config.ninterceptors = 0;
    for (i = 0; i < 3; i++) {
        rig_start(rig, i, 0);
    }
    rig_run(rig, SECONDS(60));
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 0), "");
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 1), "");
    frames = rig->node[0].control_frames + rig->node[2].control_frames;
    CU_ASSERT(frames < 60);
    rig->node[1].config.ninterceptors = 3;
    rig_start(rig, 1, 1);
    rig_run(rig, SECONDS(20));
    agree(rig, "n1");
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[2].log, "first of 3"));
    rig_destroy(rig);
}

/** Stopped in the middle of everything: nothing of it stays (sanitizers look). */
static void test_stop(void)
{
    int ms;

    for (ms = 0; ms < 1800; ms += 37) {
        rig_t *rig = rig_with(NON_BLOCKING, 3);

        rig_run(rig, RIG_MS(ms));
        rig_leave(rig, 0);
        rig_run(rig, RIG_MS(3));
        rig_destroy(rig);
    }
}

/* ---- SimpleCoordinator ---------------------------------------------------------------------- */

static void test_simple(void)
{
    rig_t *rig = rig_with(SIMPLE, 3);

    rig_run(rig, RIG_MS(2000));
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 2), ""); /* not stable for long enough */
    rig_run(rig, SECONDS(3));
    agree(rig, "n1");
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 0);
    rig_leave(rig, 0);
    rig_run(rig, RIG_MS(2000));
    CU_ASSERT_STRING_EQUAL(coordinator(rig, 2), "n1"); /* not yet */
    rig_run(rig, RIG_MS(600));
    agree(rig, "n2");
    CU_ASSERT_PTR_NOT_NULL(
        strstr(rig->node[2].log, "SC0484: the coordinator is n2 (10.0.0.2:4000), first of 2"));
    rig_start(rig, 0, 0);
    rig_run(rig, SECONDS(5));
    agree(rig, "n1");
    rig_destroy(rig);
}

void sc_suite_coordinator(void)
{
    CU_pSuite s = CU_add_suite("coordinator", NULL, NULL);

    coordinator_messages_tests(s);
    coordinator_token_tests(s);
    CU_add_test(s, "elections of 1 to 7", test_elect);
    CU_add_test(s, "it comes to rest", test_rest);
    CU_add_test(s, "deaths during elections", test_deaths);
    CU_add_test(s, "frozen members", test_frozen);
    CU_add_test(s, "lost tokens", test_lost);
    CU_add_test(s, "two halves", test_partition);
    CU_add_test(s, "restarts", test_restart);
    CU_add_test(s, "messages that are refused", test_refused);
    CU_add_test(s, "a member that nobody hears", test_not_heard);
    CU_add_test(s, "one that has no coordinator", test_without);
    CU_add_test(s, "stopped in the middle", test_stop);
    CU_add_test(s, "SimpleCoordinator", test_simple);
}
