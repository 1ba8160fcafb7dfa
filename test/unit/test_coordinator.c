/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The coordinators: their messages byte for byte, and elections among whole channels on the
 * simulated network.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "../../src/interceptor/election.h"
#include "net_rig.h"

void sc_suite_coordinator(void);

#define SECONDS(n) apr_time_from_sec(n)
#define NON_BLOCKING "NonBlockingCoordinator"
#define SIMPLE "SimpleCoordinator"

/* ---- clusters with a coordinator ------------------------------------------------------------ */

static rig_t *rig_with(const char *name, int nodes)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, nodes);
    int i;

    for (i = 0; i < RIG_NODES; i++) {
        sc_config_t *c = &rig->node[i].config;

        c->ninterceptors = 3;
        strcpy(c->interceptor[0].name, name);
        strcpy(c->interceptor[1].name, "MessageDispatch");
        strcpy(c->interceptor[2].name, "TcpFailureDetector");
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

/* ---- messages ------------------------------------------------------------------------------- */

static sc_election_t election; /* large */

/** Body of a captured frame, copied; freed by the caller. */
static unsigned char *vector_body(const char *name, apr_size_t *len, sc_packet_t *packet)
{
    apr_size_t n = 0;
    unsigned char *frame = rig_vector(name, &n);
    unsigned char *body;
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t parser;

    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    sc_parser_init(&parser, 65536);
    sc_put(&parser.in, frame, n);
    CU_ASSERT_EQUAL_FATAL(sc_parser_next(&parser, &kind, &data, &n), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_packet_get(packet, data, n), APR_SUCCESS);
    body = malloc(packet->body_len);
    memcpy(body, packet->body, packet->body_len);
    *len = packet->body_len;
    packet->body = body;
    sc_parser_free(&parser);
    free(frame);
    return body;
}

static void test_vector(void)
{
    sc_packet_t packet;
    apr_size_t len;
    unsigned char *body =
        vector_body("interceptor-nonblockingcoordinator-election.bin", &len, &packet);
    apr_size_t frame_len = 0;
    unsigned char *frame =
        rig_vector("interceptor-nonblockingcoordinator-election.bin", &frame_len);
    sc_buf_t b;

    CU_ASSERT_EQUAL(packet.options, SC_OPT_USE_ACK);
    CU_ASSERT_TRUE(sc_election_is(body, len));
    CU_ASSERT_EQUAL_FATAL(sc_election_get(&election, body, len), APR_SUCCESS);
    CU_ASSERT_FALSE(election.conf);
    CU_ASSERT_EQUAL(election.members.n, 2);
    CU_ASSERT_EQUAL(election.leader.port, 4100);
    CU_ASSERT_TRUE(sc_member_same(&election.leader, &election.source));
    CU_ASSERT_TRUE(sc_member_same(&election.leader, &election.members.m[0]));
    CU_ASSERT_EQUAL(election.members.m[1].port, 4101);
    sc_buf_init(&b, SC_ELECTION_MAX);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL_FATAL(b.len, len);
    CU_ASSERT_EQUAL(memcmp(b.data, body, len), 0);
    /* and the frame around it */
    packet.body = b.data;
    packet.body_len = b.len;
    {
        sc_buf_t f;

        sc_buf_init(&f, 65536);
        sc_frame_put(&f, &packet);
        CU_ASSERT_EQUAL_FATAL(f.len, frame_len);
        CU_ASSERT_EQUAL(memcmp(f.data, frame, frame_len), 0);
        sc_buf_free(&f);
    }
    /* a confirmation is the same but for its last bytes */
    election.conf = 1;
    sc_buf_clear(&b);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL_FATAL(b.len, len);
    CU_ASSERT_EQUAL(memcmp(b.data, body, len - 16), 0);
    CU_ASSERT_EQUAL(b.data[len - 16], 0x43);
    CU_ASSERT_EQUAL_FATAL(sc_election_get(&election, b.data, b.len), APR_SUCCESS);
    CU_ASSERT_TRUE(election.conf);
    sc_buf_free(&b);
    free(body);
    free(frame);
}

/** Every truncation, and every byte that says how much there is. */
static void test_hostile(void)
{
    sc_packet_t packet;
    apr_size_t len;
    unsigned char *body =
        vector_body("interceptor-nonblockingcoordinator-election.bin", &len, &packet);
    apr_size_t count_at = 16 + 81 + 81;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        unsigned char *cut = malloc(i + 1); /* of its own, so that a read behind it is noticed */

        memcpy(cut, body, i);
        CU_ASSERT_EQUAL(sc_election_get(&election, cut, i), APR_EINVAL);
        cut[i] = body[i];
        free(cut);
    }
    body[len - 1] ^= 1; /* no type */
    CU_ASSERT_EQUAL(sc_election_get(&election, body, len), APR_EINVAL);
    body[len - 1] ^= 1;
    for (i = 0; i < 4; i++) { /* lengths of leader and source, number of members */
        static const unsigned char wrong[] = {0x00, 0x01, 0x03, 0x7f, 0x80, 0xff};
        apr_size_t at[3];
        apr_size_t k;
        apr_size_t w;

        at[0] = 16 + i;
        at[1] = 16 + 81 + i;
        at[2] = count_at + i;
        for (k = 0; k < 3; k++) {
            unsigned char was = body[at[k]];

            for (w = 0; w < sizeof(wrong); w++) {
                if (wrong[w] != was) {
                    body[at[k]] = wrong[w];
                    CU_ASSERT_EQUAL(sc_election_get(&election, body, len), APR_EINVAL);
                }
            }
            body[at[k]] = was;
        }
    }
    CU_ASSERT_EQUAL(sc_election_get(&election, body, len), APR_SUCCESS);
    free(body);
}

static sc_member_t numbered(int n)
{
    sc_member_t m;

    memset(&m, 0, sizeof(m));
    m.port = 4000 + n;
    m.secure_port = m.udp_port = -1;
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "10.0.0.1"), APR_SUCCESS);
    m.uid.b[0] = (unsigned char)n;
    return m;
}

/** As many members as a view can hold, and one more. */
static void test_bounds(void)
{
    apr_size_t count_at = 16 + 81 + 81;
    sc_buf_t b;
    sc_member_t m;
    int i;

    memset(&election, 0, sizeof(election));
    for (i = 1; i <= SC_MEMBERS_MAX; i++) {
        m = numbered(i);
        CU_ASSERT_TRUE(sc_members_put(&election.members, &m));
    }
    m = numbered(i);
    CU_ASSERT_FALSE(sc_members_put(&election.members, &m));
    election.leader = election.source = election.members.m[0];
    sc_buf_init(&b, SC_ELECTION_MAX);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_election_get(&election, b.data, b.len), APR_SUCCESS);
    CU_ASSERT_EQUAL(election.members.n, SC_MEMBERS_MAX);
    /* one more, spliced in behind the number */
    {
        sc_buf_t more;
        sc_buf_t one;

        sc_buf_init(&one, 1000);
        sc_member_put(&one, &m);
        sc_buf_init(&more, SC_ELECTION_MAX);
        sc_put(&more, b.data, count_at);
        sc_put_u32(&more, SC_MEMBERS_MAX + 1);
        sc_put_u32(&more, (apr_uint32_t)one.len);
        sc_put(&more, one.data, one.len);
        sc_put(&more, b.data + count_at + 4, b.len - count_at - 4);
        CU_ASSERT_EQUAL(sc_election_get(&election, more.data, more.len), APR_EINVAL);
        sc_buf_free(&more);
        sc_buf_free(&one);
    }
    sc_buf_free(&b);
    /* nobody, and one that cannot be connected to */
    memset(&election.members, 0, sizeof(election.members));
    election.leader = election.source = numbered(1);
    sc_buf_init(&b, SC_ELECTION_MAX);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL(sc_election_get(&election, b.data, b.len), APR_EINVAL);
    sc_buf_clear(&b);
    m = numbered(2);
    m.host[0] = 228;
    sc_members_put(&election.members, &m);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL(sc_election_get(&election, b.data, b.len), APR_EINVAL);
    sc_buf_free(&b);
}

static void test_members(void)
{
    static sc_members_t a;
    static sc_members_t b;
    sc_member_t m[4];
    int i;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    CU_ASSERT_PTR_NULL(sc_members_next(&a, &m[0]));
    for (i = 0; i < 4; i++) {
        m[i] = numbered(i + 1);
        sc_members_put(&a, &m[i]);
        m[i].alive_ms = 5;
    }
    for (i = 3; i >= 0; i--) {
        sc_members_put(&b, &m[i]);
    }
    CU_ASSERT_TRUE(sc_members_same(&a, &b));
    CU_ASSERT_TRUE(sc_members_put(&a, &m[2]));
    CU_ASSERT_EQUAL(a.n, 4);
    CU_ASSERT_EQUAL(a.m[2].alive_ms, 5);
    CU_ASSERT_TRUE(sc_member_same(sc_members_next(&a, &m[0]), &m[1]));
    CU_ASSERT_TRUE(sc_member_same(sc_members_next(&a, &m[3]), &m[0]));
    CU_ASSERT_TRUE(sc_members_remove(&a, &m[1]));
    CU_ASSERT_FALSE(sc_members_remove(&a, &m[1]));
    CU_ASSERT_FALSE(sc_members_same(&a, &b));
    CU_ASSERT_TRUE(sc_member_same(sc_members_next(&a, &m[1]), &m[2])); /* itself is out */
}

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
    body = vector_body("interceptor-nonblockingcoordinator-election.bin", &len, &packet);
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

    CU_add_test(s, "lists of members", test_members);
    CU_add_test(s, "an election of Tomcat's, byte for byte", test_vector);
    CU_add_test(s, "truncated and absurd messages", test_hostile);
    CU_add_test(s, "the most members, and one more", test_bounds);
    CU_add_test(s, "elections of 1 to 7", test_elect);
    CU_add_test(s, "it comes to rest", test_rest);
    CU_add_test(s, "deaths during elections", test_deaths);
    CU_add_test(s, "frozen members", test_frozen);
    CU_add_test(s, "lost tokens", test_lost);
    CU_add_test(s, "two halves", test_partition);
    CU_add_test(s, "restarts", test_restart);
    CU_add_test(s, "messages that are refused", test_refused);
    CU_add_test(s, "a member that nobody hears", test_not_heard);
    CU_add_test(s, "stopped in the middle", test_stop);
    CU_add_test(s, "SimpleCoordinator", test_simple);
}
