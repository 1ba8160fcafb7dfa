/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * NonBlockingCoordinator on one node, the others being played by the test: each step of an
 * election.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator_rig.h"

static sc_election_t election; /* large */

/* ---- one node, the others played by the test ------------------------------------------------ */

#define OPEN_MAX 200

/** A message that it has sent, or a member that it is connecting to. */
typedef struct open_t {
    sc_member_t to;
    sc_election_t e;
    sc_sent_fn_t *done;
    void *baton;
} open_t;

typedef struct bench_t {
    apr_pool_t *pool;
    apr_time_t now;
    sc_clock_t clock;
    sc_timers_t *timers;
    sc_config_t config;
    sc_log_t log_to;
    int notices; /* of SC0485 */
    sc_board_t board;
    sc_member_t local;
    int from; /* who the messages received are of; the first member that has joined */
    apr_uint64_t serial;
    sc_transport_t transport;
    sc_chain_env_t env;
    sc_interceptor_t link[2]; /* the coordinator, and below */
    open_t sent[OPEN_MAX];
    int nsent;
    open_t probe[OPEN_MAX];
    int nprobes;
    int forgets;
    apr_uint32_t options;
    unsigned char body[8192]; /* of the last message */
    apr_size_t body_len;
} bench_t;

static bench_t *b; /* one at a time */

static void bench_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    open_t *o = &b->sent[b->nsent++];

    (void)self;
    CU_ASSERT_FATAL(b->nsent < OPEN_MAX && out->packet.body_len < sizeof(b->body));
    o->to = *out->to;
    o->done = out->done;
    o->baton = out->baton;
    b->options = out->packet.options;
    b->body_len = out->packet.body_len;
    memcpy(b->body, out->packet.body, b->body_len);
    CU_ASSERT_EQUAL(sc_election_get(&o->e, b->body, b->body_len), APR_SUCCESS);
}

static void bench_probe(void *ctx, const sc_member_t *to, const sc_packet_t *packet,
                        apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton)
{
    open_t *o = &b->probe[b->nprobes++];

    (void)ctx;
    CU_ASSERT_FATAL(b->nprobes < OPEN_MAX);
    CU_ASSERT_PTR_NULL(packet); /* a connection is enough */
    CU_ASSERT_EQUAL(timeout, SECONDS(1));
    o->to = *to;
    o->done = done;
    o->baton = baton;
}

static void bench_forget(void *ctx, const sc_member_t *m)
{
    (void)ctx;
    (void)m;
    b->forgets++;
}

static apr_time_t bench_now(void *ctx)
{
    return ((bench_t *)ctx)->now;
}

static void bench_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    (void)ctx;
    (void)rv;
    b->notices += level == SC_LOG_NOTICE && strstr(line, "SC0485") != NULL;
}

static void bench_run(apr_interval_time_t time)
{
    rig_run_timers(b->timers, &b->now, time);
}

/** @param n which of coordinator_numbered() it is */
static void bench(int n)
{
    static const sc_interceptor_class_t below = {.name = "below", .send = bench_send};
    sc_config_interceptor_t conf;

    memset(&conf, 0, sizeof(conf));
    strcpy(conf.name, "NonBlockingCoordinator");
    b = calloc(1, sizeof(*b));
    apr_pool_create(&b->pool, NULL);
    b->now = SECONDS(100);
    b->clock.ctx = b;
    b->clock.mono = b->clock.wall = bench_now;
    b->timers = sc_timers_create(b->pool);
    b->transport.probe = bench_probe;
    b->transport.forget = bench_forget;
    b->env.timers = b->timers;
    b->env.clock = &b->clock;
    b->log_to.level = SC_LOG_DEBUG;
    b->log_to.write = bench_log;
    b->env.log = &b->log_to;
    b->env.board = &b->board;
    b->env.transport = &b->transport;
    b->env.local = &b->local;
    b->env.config = &b->config;
    b->env.serial = &b->serial;
    b->local = coordinator_numbered(n);
    b->link[0].env = b->link[1].env = &b->env;
    b->link[0].down = &b->link[1];
    b->link[1].up = &b->link[0];
    b->link[0].cls = &sc_non_blocking_coordinator_class;
    b->link[1].cls = &below;
    CU_ASSERT_EQUAL_FATAL(b->link[0].cls->create(&b->link[0], &conf, b->pool), APR_SUCCESS);
    b->link[0].cls->start(&b->link[0]);
}

static void bench_end(void)
{
    int i;

    b->link[0].cls->stop(&b->link[0]);
    for (i = 0; i < b->nsent; i++) {
        if (b->sent[i].done != NULL) {
            b->sent[i].done(b->sent[i].baton, APR_ECONNABORTED);
        }
    }
    for (i = 0; i < b->nprobes; i++) {
        if (b->probe[i].done != NULL) {
            b->probe[i].done(b->probe[i].baton, APR_ECONNABORTED);
        }
    }
    CU_ASSERT_EQUAL(sc_timers_next(b->timers), -1);
    apr_pool_destroy(b->pool);
    free(b);
}

static void end_open(open_t *o, apr_status_t rv)
{
    sc_sent_fn_t *done = o->done;

    CU_ASSERT_PTR_NOT_NULL_FATAL(done);
    o->done = NULL;
    done(o->baton, rv);
}

static void joined(int n)
{
    sc_member_t m = coordinator_numbered(n);

    b->from = b->from == 0 ? n : b->from;
    sc_pass_member_added(&b->link[1], &m);
}

/** The members as digits. */
static const char *digits(const sc_members_t *l)
{
    static char text[SC_MEMBERS_MAX + 1];
    apr_size_t i;

    for (i = 0; i < l->n; i++) {
        text[i] = (char)('0' + l->m[i].port - 4000);
    }
    text[l->n] = '\0';
    return text;
}

/** Receive what lies in election. */
static apr_status_t offer_election(void)
{
    sc_packet_t packet;
    apr_status_t rv;
    sc_buf_t bytes;

    sc_buf_init(&bytes, SC_ELECTION_MAX);
    sc_election_put(&bytes, &election);
    memset(&packet, 0, sizeof(packet));
    packet.from = coordinator_numbered(b->from);
    packet.body = bytes.data;
    packet.body_len = bytes.len;
    rv = sc_pass_received(&b->link[1], &packet);
    sc_buf_free(&bytes);
    return rv;
}

/** Receive a token or a view. @param id its first byte; 0: that of the last one sent */
static apr_status_t offer(int conf, int leader, int source, const char *members, int id)
{
    memset(&election, 0, sizeof(election));
    election.conf = conf;
    election.leader = coordinator_numbered(leader);
    election.source = coordinator_numbered(source);
    for (; *members != '\0'; members++) {
        sc_member_t m = coordinator_numbered(*members - '0');

        sc_members_put(&election.members, &m);
    }
    if (id == 0) {
        election.id = b->sent[b->nsent - 1].e.id;
    } else {
        memset(election.id.b, id, sizeof(election.id.b));
    }
    return offer_election();
}

static void receive(int conf, int leader, int source, const char *members, int id)
{
    CU_ASSERT_EQUAL(offer(conf, leader, source, members, id), APR_SUCCESS);
}

/** Whether the message number n is this one. */
static int sent_at(int n, int conf, int to, int leader, int source, const char *members, int line)
{
    const open_t *o = &b->sent[n];

    if (b->nsent <= n || o->e.conf != conf || o->to.port != 4000 + to ||
        o->e.leader.port != 4000 + leader || o->e.source.port != 4000 + source ||
        strcmp(digits(&o->e.members), members) != 0) {
        printf("\n    line %d: %d sent; conf %d to %d leader %d source %d members %s\n", line,
               b->nsent, o->e.conf, o->to.port - 4000, o->e.leader.port - 4000,
               o->e.source.port - 4000, digits(&o->e.members));
        return 0;
    }
    return 1;
}

#define sent(n, conf, to, leader, source, members)                                                 \
    CU_ASSERT_TRUE(sent_at(n, conf, to, leader, source, members, __LINE__))

static int coordinates(void)
{
    const sc_member_t *m = b->link[0].cls->coordinator(&b->link[0]);

    return m != NULL ? m->port - 4000 : 0;
}

/** What Tomcat's two channels said to each other, said by this node. */
static void test_same_as_vector(void)
{
    sc_packet_t packet;
    unsigned char *body = rig_captured(ELECTION_VECTOR, &packet);
    apr_size_t len = packet.body_len;

    bench(1);
    CU_ASSERT_EQUAL(sc_election_get(&election, body, len), APR_SUCCESS);
    b->local = election.members.m[0];
    sc_pass_member_added(&b->link[1], &election.members.m[1]);
    bench_run(RIG_MS(100));
    CU_ASSERT_EQUAL_FATAL(b->nsent, 1);
    CU_ASSERT_EQUAL(b->options, packet.options);
    CU_ASSERT_EQUAL_FATAL(b->body_len, len);
    CU_ASSERT_EQUAL(memcmp(b->body, body, len - 32), 0); /* the id is random */
    CU_ASSERT_EQUAL(memcmp(b->body + len - 16, body + len - 16, 16), 0);
    bench_end();
    free(body);
}

static void test_first(void)
{
    bench(1);
    sc_pass_settled(&b->link[1]);
    bench_run(RIG_MS(100));
    CU_ASSERT_EQUAL(b->nsent, 0);
    CU_ASSERT_EQUAL(coordinates(), 1); /* alone */
    joined(3);
    joined(2);
    joined(4);
    bench_run(RIG_MS(100));
    sent(0, 0, 2, 1, 1, "1234");
    CU_ASSERT_EQUAL(b->nsent, 1); /* one for all */
    end_open(&b->sent[0], ECONNREFUSED);
    sent(1, 0, 3, 1, 1, "134"); /* past the one that did not take it */
    end_open(&b->sent[1], APR_SUCCESS);
    bench_run(SECONDS(1));
    receive(0, 1, 1, "134", 0); /* comes round; 2 is tried, since membership has it */
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 1);
    CU_ASSERT_EQUAL(b->probe[0].to.port, 4002);
    end_open(&b->probe[0], ECONNREFUSED);
    sent(2, 1, 3, 1, 1, "134");
    sent(3, 1, 4, 1, 1, "134");
    CU_ASSERT_EQUAL(b->nsent, 4);
    end_open(&b->sent[2], APR_SUCCESS);
    end_open(&b->sent[3], APR_TIMEUP);
    /* the view is not what membership says: tried again at the next heartbeat */
    bench_run(SECONDS(5));
    sent(4, 0, 2, 1, 1, "1234");
    end_open(&b->sent[4], APR_SUCCESS);
    receive(0, 1, 1, "1234", 0);
    sent(5, 1, 2, 1, 1, "1234");
    CU_ASSERT_EQUAL(b->nsent, 8);
    bench_run(SECONDS(60));
    CU_ASSERT_EQUAL(b->nsent, 8);
    bench_end();
}

/** It comes round with another member: once more. And with nobody in between: nothing. */
static void test_round_again(void)
{
    sc_member_t two = coordinator_numbered(2);

    bench(1);
    joined(2);
    bench_run(RIG_MS(100));
    end_open(&b->sent[0], APR_SUCCESS);
    receive(0, 1, 1, "123", 0); /* 3 is not heard here */
    end_open(&b->probe[0], APR_SUCCESS);
    sent(1, 1, 2, 1, 1, "123"); /* as it came */
    sent(2, 1, 3, 1, 1, "123");
    end_open(&b->sent[2], APR_SUCCESS);
    CU_ASSERT_EQUAL(b->forgets, 1); /* no business with 3 but this */
    joined(4);
    bench_run(RIG_MS(100));
    sent(3, 0, 2, 1, 1, "124");
    receive(0, 1, 1, "1235", 0); /* 4 is missing, 5 is gone */
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 4);
    end_open(&b->probe[1], APR_SUCCESS);
    end_open(&b->probe[2], ECONNREFUSED);
    CU_ASSERT_EQUAL(b->nsent, 4);
    end_open(&b->probe[3], APR_SUCCESS);
    sent(4, 0, 2, 1, 1, "1234");
    end_open(&b->sent[4], ECONNREFUSED);
    sent(5, 0, 3, 1, 1, "134");
    end_open(&b->sent[5], ECONNREFUSED);
    sent(6, 0, 4, 1, 1, "14");
    end_open(&b->sent[6], ECONNREFUSED); /* nobody is left */
    CU_ASSERT_EQUAL(b->nsent, 7);
    receive(0, 1, 1, "124", 7); /* an own one that is not the last */
    CU_ASSERT_EQUAL(b->nsent, 7);
    /* it waits in vain, and begins anew */
    sc_pass_member_gone(&b->link[1], &two, 0);
    bench_run(SECONDS(15));
    sent(7, 0, 4, 1, 1, "14");
    bench_end();
}

static void test_not_first(void)
{
    bench(3);
    joined(1);
    joined(2);
    bench_run(SECONDS(14));
    CU_ASSERT_EQUAL(b->nsent, 0); /* 1 is to begin */
    CU_ASSERT_EQUAL(coordinates(), 0);
    receive(0, 1, 1, "123", 5);
    sent(0, 0, 1, 1, 1, "123");
    end_open(&b->sent[0], APR_SUCCESS);
    bench_run(SECONDS(14));
    CU_ASSERT_EQUAL(b->nsent, 1); /* waits from when it has seen the token */
    receive(1, 1, 1, "123", 5);
    CU_ASSERT_EQUAL(coordinates(), 1);
    bench_run(SECONDS(60));
    CU_ASSERT_EQUAL(b->nsent, 1);
    joined(4);
    bench_run(SECONDS(15));
    CU_ASSERT_EQUAL(b->nsent, 1);
    bench_run(RIG_MS(200));
    sent(1, 0, 4, 1, 3, "1234"); /* the others sleep */
    receive(0, 1, 3, "1234", 0); /* comes round: the leader let it pass? once more */
    sent(2, 0, 4, 1, 3, "1234");
    bench_end();
}

/** Somebody's token that says that this node is the first. */
static void test_leader(void)
{
    bench(1);
    joined(2);
    bench_run(RIG_MS(100));
    end_open(&b->sent[0], APR_SUCCESS);
    receive(0, 1, 1, "12", 0);
    CU_ASSERT_EQUAL_FATAL(b->nsent, 2);
    end_open(&b->sent[1], APR_TIMEUP); /* 2 has missed it */
    receive(0, 1, 2, "12", 6);
    sent(2, 1, 2, 1, 2, "12");
    CU_ASSERT_EQUAL(memcmp(&b->sent[2].e.id, &b->sent[1].e.id, 16), 0); /* the same view */
    /* with one more: it is dropped, and an own one made when membership knows, too */
    receive(0, 1, 3, "123", 7);
    end_open(&b->probe[0], APR_SUCCESS);
    CU_ASSERT_EQUAL(b->nsent, 3);
    joined(3);
    bench_run(RIG_MS(100));
    sent(3, 0, 2, 1, 1, "123");
    bench_end();
}

/** Nobody takes a token out: it is not passed on for ever. */
static void test_endless(void)
{
    int i;

    bench(3);
    joined(1);
    joined(2);
    for (i = 0; i < 12; i++) {
        receive(0, 1, 2, "123", 8);
        if (b->sent[b->nsent - 1].done != NULL) {
            end_open(&b->sent[b->nsent - 1], APR_SUCCESS);
        }
    }
    CU_ASSERT_EQUAL(b->nsent, 8);
    bench_end();
}

static void test_former_life(void)
{
    sc_member_t other = coordinator_numbered(2);

    bench(3);
    joined(1);
    other.uid.b[0] = 99; /* 2 as this node knows it: another life */
    sc_pass_member_added(&b->link[1], &other);
    receive(0, 1, 1, "123", 9);
    CU_ASSERT_EQUAL(b->nprobes, 0); /* both would answer */
    sent(0, 0, 1, 1, 1, "123");
    CU_ASSERT_EQUAL(b->sent[0].e.members.m[1].uid.b[0], 2);
    /* and of this node itself */
    b->local.uid.b[0] = 98;
    receive(0, 1, 1, "123", 10);
    sent(1, 0, 1, 1, 1, "123");
    CU_ASSERT_EQUAL(b->sent[1].e.members.m[2].uid.b[0], 98);
    /* a view without this node is none */
    receive(1, 1, 1, "123", 10);
    CU_ASSERT_EQUAL(coordinates(), 0);
    bench_end();
}

static apr_status_t above_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    (void)self;
    (void)packet;
    return APR_ENOTIMPL;
}

/** Only what it is meant for is swallowed: Tomcat's sign of life, and nothing beside it. */
static void test_passed(void)
{
    static const sc_interceptor_class_t above_class = {.name = "above", .received = above_received};
    static unsigned char alive[64] = {
        0x4F, 0x87, 0xE7, 0xF1, 0xC5, 0x05, 0x40, 0x5E, 0xB3, 0x71, 0x89, 0xA8, 0x34,
        0x72, 0xC8, 0xD2, 0xEE, 0x66, 0x0A, 0x22, 0x81, 0xF7, 0x47, 0x73, 0xBA, 0x48,
        0x9B, 0x58, 0x48, 0x84, 0x7F, 0x6F, 0x4A, 0x4C, 0x8C, 0x32, 0x6F, 0x67, 0x41,
        0x03, 0xB3, 0x33, 0xDD, 0x00, 0x77, 0x75, 0x09, 0xE6, 0x77, 0x32, 0xB5, 0x97,
        0x9A, 0x24, 0x4F, 0x25, 0xBC, 0xAC, 0x85, 0x0F, 0xEA, 0x93, 0x6A, 0xC9};
    sc_interceptor_t above;
    sc_packet_t packet;

    bench(1);
    memset(&above, 0, sizeof(above));
    above.cls = &above_class;
    b->link[0].up = &above;
    memset(&packet, 0, sizeof(packet));
    packet.from = coordinator_numbered(2);
    packet.body = alive;
    packet.body_len = sizeof(alive);
    CU_ASSERT_EQUAL(sc_pass_received(&b->link[1], &packet), APR_SUCCESS);
    alive[63] ^= 1;
    CU_ASSERT_EQUAL(sc_pass_received(&b->link[1], &packet), APR_ENOTIMPL);
    alive[63] ^= 1;
    packet.body_len = 63;
    CU_ASSERT_EQUAL(sc_pass_received(&b->link[1], &packet), APR_ENOTIMPL);
    packet.body_len = 0;
    CU_ASSERT_EQUAL(sc_pass_received(&b->link[1], &packet), APR_ENOTIMPL);
    bench_end();
}

/* ---- strangers ------------------------------------------------------------------------------ */

#define STRANGER 9

/** This node is the first of two, and both know the view. */
static void bench_agreed(void)
{
    bench(1);
    joined(2);
    bench_run(RIG_MS(100));
    end_open(&b->sent[0], APR_SUCCESS);
    receive(0, 1, 1, "12", 0);
    end_open(&b->sent[1], APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(b->nsent, 2);
}

/** A view is told to members, not to whatever address a token says that it comes from. */
static void test_told_members_only(void)
{
    int i;

    bench_agreed();
    b->from = STRANGER;
    for (i = 0; i < 100; i++) {
        (void)offer(0, 1, 10 + i, "12", 10 + i);
    }
    CU_ASSERT_EQUAL(b->nsent, 2);
    CU_ASSERT_EQUAL(b->board.count.frames_refused, 100);
    /* and to a member only so often while it does not take it */
    b->from = 2;
    for (i = 0; i < 100; i++) {
        (void)offer(0, 1, 2, "12", 10 + i);
    }
    CU_ASSERT_EQUAL(b->nsent, 2 + SC_MEMBERS_MAX);
    for (i = 2; i < b->nsent; i++) {
        end_open(&b->sent[i], APR_TIMEUP);
    }
    receive(0, 1, 2, "12", 8);
    sent(b->nsent - 1, 1, 2, 1, 2, "12");
    bench_end();
}

/** A stranger confirms one view after the other: the log does not grow with them, and names the
 *  last one in the end. */
static void test_confirmed_by_a_stranger(void)
{
    int i;

    bench_agreed();
    bench_run(SECONDS(30));
    b->notices = 0;
    b->from = STRANGER;
    for (i = 0; i < 100; i++) {
        receive(1, 1, 1, i % 2 ? "12" : "012", 10 + i);
    }
    CU_ASSERT_EQUAL(b->notices, 1); /* 0 is the first */
    CU_ASSERT_EQUAL(coordinates(), 1);
    bench_run(SECONDS(6));
    CU_ASSERT_EQUAL(b->notices, 2); /* and 1 again */
    bench_run(SECONDS(60));
    CU_ASSERT_EQUAL(b->notices, 2);
    bench_end();
}

/** Tokens of strangers whose members take them and never acknowledge: few at once, and neither a
 *  member's nor an own one waits for them. */
static void test_tokens_of_strangers(void)
{
    int taken = 0;
    int i;

    bench(3);
    joined(2);
    joined(4);
    b->from = STRANGER;
    for (i = 0; i < 30; i++) {
        taken += offer(0, 1, 1, "1234567", 10 + i) == APR_SUCCESS;
        while (b->nprobes > 0 && b->probe[b->nprobes - 1].done != NULL) {
            end_open(&b->probe[--b->nprobes], APR_SUCCESS);
        }
    }
    CU_ASSERT_EQUAL(taken, 4);
    CU_ASSERT_EQUAL(b->nsent, 4); /* to 4, which does not acknowledge */
    b->from = 2;
    receive(0, 2, 2, "234", 50);
    sent(4, 0, 4, 2, 2, "234");
    for (i = 0; i < 30; i++) {
        taken += offer(0, 2, 2, "234", 60 + i) == APR_SUCCESS;
    }
    CU_ASSERT_EQUAL(taken, 4 + 15);
    CU_ASSERT_EQUAL(b->nsent, 20);
    /* the first one does not begin, so this one does, whatever strangers say meanwhile */
    b->from = STRANGER;
    for (i = 0; i < 16; i++) {
        (void)offer(0, 1, 1, "1234567", 100 + i);
        bench_run(SECONDS(1));
    }
    CU_ASSERT_EQUAL(b->nsent, 21);
    sent(20, 0, 4, 2, 3, "234");
    /* it comes round, and finds a place */
    end_open(&b->sent[20], APR_SUCCESS);
    receive(0, 2, 3, "234", 0);
    sent(21, 0, 4, 2, 3, "234");
    /* those of others are too old by now: not one goes on to the member behind */
    for (i = 0; i < 20; i++) {
        end_open(&b->sent[i], APR_TIMEUP);
    }
    CU_ASSERT_EQUAL(b->nsent, 22);
    bench_end();
}

/** What a stranger says neither puts an own election off nor replaces one that is under way. */
static void test_not_put_off(void)
{
    int i;

    bench(3);
    joined(2);
    b->from = STRANGER;
    for (i = 0; i < 4; i++) { /* 2 is to begin, and does not */
        receive(0, 2, 2, "23", 10 + i);
        sent(i, 0, 2, 2, 2, "23");
        end_open(&b->sent[i], APR_SUCCESS);
        bench_run(SECONDS(4));
    }
    sent(4, 0, 2, 2, 3, "23");
    receive(1, 2, 2, "2", 20); /* a view without this node */
    bench_run(SECONDS(1));
    CU_ASSERT_EQUAL(b->nsent, 5);
    bench_end();
    bench(1);
    joined(2);
    bench_run(RIG_MS(100));
    b->from = STRANGER;
    for (i = 0; i < 10; i++) {
        receive(1, 2, 2, "2", 10 + i);
        bench_run(RIG_MS(100));
    }
    CU_ASSERT_EQUAL(b->nsent, 1);
    bench_end();
}

/** An election that another one has replaced ends with its next send. */
static void test_replaced(void)
{
    int i;

    bench(1);
    joined(2);
    bench_run(RIG_MS(100));
    for (i = 3; i < 7; i++) {
        joined(i);
        bench_run(RIG_MS(100));
    }
    CU_ASSERT_EQUAL_FATAL(b->nsent, 5);
    for (i = 0; i < 4; i++) {
        end_open(&b->sent[i], APR_TIMEUP);
    }
    CU_ASSERT_EQUAL(b->nsent, 5);
    end_open(&b->sent[4], APR_TIMEUP);
    sent(5, 0, 3, 1, 1, "13456");
    bench_end();
}

/** Members that tokens name are connected to; those that strangers name do not keep members' tokens
 *  out. */
static void test_doubts_of_strangers(void)
{
    int i;

    bench(3);
    joined(2);
    memset(&election, 0, sizeof(election));
    for (i = 10; i < 10 + SC_MEMBERS_MAX; i++) {
        sc_member_t m = coordinator_numbered(i);

        sc_members_put(&election.members, &m);
    }
    election.leader = election.source = election.members.m[0];
    b->from = STRANGER;
    CU_ASSERT_EQUAL(offer_election(), APR_SUCCESS);
    CU_ASSERT_EQUAL(offer_election(), APR_EINVAL);
    CU_ASSERT(b->nprobes >= SC_MEMBERS_MAX);
    b->from = 2;
    receive(0, 2, 2, "23", 11);
    sent(0, 0, 2, 2, 2, "23");
    bench_end();
}

void coordinator_token_tests(CU_pSuite s)
{
    CU_add_test(s, "as Tomcat's first message", test_same_as_vector);
    CU_add_test(s, "the first one", test_first);
    CU_add_test(s, "once more round", test_round_again);
    CU_add_test(s, "not the first one", test_not_first);
    CU_add_test(s, "told by a token to be first", test_leader);
    CU_add_test(s, "a token that nobody takes out", test_endless);
    CU_add_test(s, "former lives", test_former_life);
    CU_add_test(s, "what passes", test_passed);
    CU_add_test(s, "a view is told to members", test_told_members_only);
    CU_add_test(s, "views that a stranger confirms", test_confirmed_by_a_stranger);
    CU_add_test(s, "tokens of strangers", test_tokens_of_strangers);
    CU_add_test(s, "members that strangers name", test_doubts_of_strangers);
    CU_add_test(s, "own elections", test_not_put_off);
    CU_add_test(s, "an election that is replaced", test_replaced);
}
