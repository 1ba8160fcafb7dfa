/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One interceptor between two links that the test plays: the bytes it sends, whom it announces,
 * what it counts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "links_rig.h"

static apr_pool_t *pool;

/* ---- one link, tapped above and below ------------------------------------------------------- */

typedef struct tap_t {
    sc_chain_env_t env;
    sc_config_t config;
    sc_clock_t clock;
    sc_log_t log_to;
    sc_transport_t transport; /* without a resolver */
    sc_member_t local;
    apr_uint64_t serial;
    sc_interceptor_t link[3];
    apr_time_t now;
    char log[1024];
    char seen[128]; /* what came up: + - ! ~ m */
    sc_packet_t sent[8];
    unsigned char body[8][128];
    sc_member_t to[8];
    sc_sent_fn_t *done[8];
    void *baton[8];
    int nsent;
} tap_t;

static tap_t tap;

static apr_time_t tap_now(void *ctx)
{
    return ((tap_t *)ctx)->now;
}

static void tap_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    (void)ctx;
    (void)level;
    (void)rv;
    apr_cpystrn(tap.log, line, sizeof(tap.log));
}

static void tap_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    int n = tap.nsent++;

    (void)self;
    CU_ASSERT_FATAL(tap.nsent <= 8);
    tap.sent[n] = out->packet;
    if (out->packet.body_len <= sizeof(tap.body[n])) {
        memcpy(tap.body[n], out->packet.body, out->packet.body_len);
        tap.sent[n].body = tap.body[n];
    }
    tap.to[n] = *out->to;
    tap.done[n] = out->done;
    tap.baton[n] = out->baton;
}

static void tap_end(int n, apr_status_t rv)
{
    sc_sent_fn_t *done = tap.done[n];

    CU_ASSERT_PTR_NOT_NULL_FATAL(done);
    tap.done[n] = NULL;
    done(tap.baton[n], rv);
}

static void tap_note(char what)
{
    apr_size_t n = strlen(tap.seen);

    CU_ASSERT_FATAL(n + 1 < sizeof(tap.seen));
    tap.seen[n] = what;
    tap.seen[n + 1] = '\0';
}

static apr_status_t tap_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    (void)self;
    (void)packet;
    tap_note('m');
    return APR_SUCCESS;
}

static void tap_added(sc_interceptor_t *self, const sc_member_t *m)
{
    (void)self;
    tap_note(m->ours ? '+' : 'f');
}

static void tap_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    (void)self;
    (void)m;
    tap_note('~');
}

static void tap_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    (void)self;
    (void)m;
    tap_note(goodbye ? '!' : '-');
}

/** What came up since the last look. */
static int tap_seen_at(const char *want, int line)
{
    int same = strcmp(tap.seen, want) == 0;

    if (!same) {
        printf("\n    line %d: expected \"%s\", got \"%s\"\n", line, want, tap.seen);
    }
    tap.seen[0] = '\0';
    return same;
}

#define tap_seen(want) CU_ASSERT_TRUE(tap_seen_at(want, __LINE__))

static void tap_make(const sc_config_interceptor_t *conf)
{
    static const sc_interceptor_class_t end_class = {.name = "end",
                                                     .send = tap_send,
                                                     .received = tap_received,
                                                     .member_added = tap_added,
                                                     .member_changed = tap_changed,
                                                     .member_gone = tap_gone};
    int i;

    memset(&tap, 0, sizeof(tap));
    tap.now = SECONDS(1000);
    tap.clock.ctx = &tap;
    tap.clock.mono = tap.clock.wall = tap_now;
    tap.log_to.level = SC_LOG_DEBUG;
    tap.log_to.write = tap_log;
    tap.env.timers = sc_timers_create(pool);
    tap.env.clock = &tap.clock;
    tap.env.log = &tap.log_to;
    tap.env.transport = &tap.transport;
    tap.env.local = &tap.local;
    tap.env.config = &tap.config;
    tap.env.serial = &tap.serial;
    for (i = 0; i < 3; i++) {
        tap.link[i].env = &tap.env;
        tap.link[i].cls = &end_class;
        tap.link[i].up = i > 0 ? &tap.link[i - 1] : NULL;
        tap.link[i].down = i < 2 ? &tap.link[i + 1] : NULL;
    }
    tap.link[1].cls = sc_interceptor_find(conf->name);
    CU_ASSERT_EQUAL_FATAL(tap.link[1].cls->create(&tap.link[1], conf, pool), APR_SUCCESS);
}

static void tap_run(apr_interval_time_t time)
{
    rig_run_timers(tap.env.timers, &tap.now, time);
}

static void tap_stop(void)
{
    int i;

    tap.link[1].cls->stop(&tap.link[1]);
    for (i = 0; i < tap.nsent; i++) {
        if (tap.done[i] != NULL) {
            tap_end(i, APR_ECONNABORTED);
        }
    }
    CU_ASSERT_EQUAL(sc_timers_next(tap.env.timers), -1);
}

/** Numbers that can be checked: 1 MiB in each of two messages, 2 s at the same time. */
static void test_throughput_numbers(void)
{
    static unsigned char body[1024 * 1024];
    static sc_config_t c;
    sc_outgoing_t out;
    sc_packet_t in;
    rig_end_t end = {0, APR_SUCCESS};
    int i;

    memset(&c, 0, sizeof(c));
    links_add(&c, "Throughput", "interval=3", "optionFlag=512", NULL);
    tap_make(&c.interceptor[0]);
    memset(&out, 0, sizeof(out));
    CU_ASSERT_EQUAL(sc_member_set_host(&out.packet.from, "10.0.0.1"), APR_SUCCESS);
    out.packet.body = body;
    out.packet.body_len = sizeof(body);
    out.to = &tap.local;
    out.done = rig_ended;
    out.baton = &end;
    sc_pass_send(&tap.link[0], &out); /* not its flag: not counted */
    out.packet.options = 512 | 1;
    sc_pass_send(&tap.link[0], &out);
    sc_pass_send(&tap.link[0], &out);
    tap.now += SECONDS(1);
    tap_end(1, APR_SUCCESS);
    tap.now += SECONDS(1);
    tap_end(2, APR_TIMEUP);
    tap.now += SECONDS(100); /* nothing is on its way */
    in = out.packet;
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(tap.log[0], '\0');
        CU_ASSERT_EQUAL(sc_pass_received(&tap.link[2], &in), APR_SUCCESS);
        tap.now += SECONDS(1);
    }
    CU_ASSERT_STRING_EQUAL(
        tap.log, "SC0481: throughput: sent 2 messages, 2.00 MB on the wire, 2.00 MB of messages, "
                 "in 2.00 s, 1.00 MB/s on the wire, 1.00 MB/s of messages, 1 failed; received 3 "
                 "messages, 3.00 MB on the wire, 3.00 MB of messages, 1.50 MB/s since the first");
    CU_ASSERT_EQUAL(end.calls, 2);
    tap_end(0, APR_SUCCESS);
    CU_ASSERT_EQUAL(end.calls, 3);
    tap_stop();
}

/* ---- the bytes ------------------------------------------------------------------------------ */

/** Whether a message of ours, with the time, id and sender of the captured one, is its frame. */
static int same_frame(int n, const char *file, const sc_packet_t *theirs)
{
    apr_size_t len = 0;
    unsigned char *frame = rig_vector(file, &len);
    sc_packet_t p = tap.sent[n];
    sc_buf_t b;
    int same;

    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    p.id = theirs->id;
    p.timestamp_ms = theirs->timestamp_ms;
    p.from = theirs->from;
    sc_buf_init(&b, 65536);
    sc_frame_put(&b, &p);
    same = b.len == len && memcmp(b.data, frame, len) == 0;
    sc_buf_free(&b);
    free(frame);
    return same;
}

#define START "interceptor-staticmembership-start.bin"
#define STOP "interceptor-staticmembership-stop.bin"
#define PING "interceptor-tcpping.bin"

static void test_ping_vector(void)
{
    static sc_config_t c;
    sc_packet_t p;
    unsigned char *body = rig_captured(PING, &p);
    sc_member_t other;
    int i;

    memset(&c, 0, sizeof(c));
    links_add(&c, "TcpPing", NULL);
    tap_make(&c.interceptor[0]);
    tap.link[1].cls->start(&tap.link[1]);
    other = p.from;
    other.port++;
    sc_pass_member_added(&tap.link[2], &other);
    tap_run(SECONDS(1));
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 1);
    CU_ASSERT_TRUE(sc_member_same(&tap.to[0], &other));
    CU_ASSERT_TRUE(same_frame(0, PING, &p));
    tap_run(SECONDS(3));
    CU_ASSERT_EQUAL(tap.nsent, 1); /* none is queued behind it */
    tap_end(0, APR_SUCCESS);
    tap_run(SECONDS(1));
    CU_ASSERT_EQUAL(tap.nsent, 2);
    CU_ASSERT_EQUAL(sc_pass_received(&tap.link[2], &p), APR_SUCCESS);
    tap_seen("f");
    for (i = 0; i < 64; i++) { /* nothing else is one */
        body[i] ^= 1;
        (void)sc_pass_received(&tap.link[2], &p);
        body[i] ^= 1;
        tap_seen("m");
        p.body_len = (apr_size_t)i;
        (void)sc_pass_received(&tap.link[2], &p);
        p.body_len = 64;
        tap_seen("m");
    }
    sc_pass_member_gone(&tap.link[2], &other, 0);
    tap_stop();
    free(body);
}

/** Tomcat's two static members, one of which is this node. */
static void test_static_vectors(void)
{
    static sc_config_t c;
    sc_packet_t start;
    sc_packet_t stop;
    unsigned char *start_body = rig_captured(START, &start);
    unsigned char *stop_body = rig_captured(STOP, &stop);
    apr_size_t i;

    memset(&c, 0, sizeof(c));
    c.membership = SC_MEMBERSHIP_MULTICAST;
    c.mcast.accept_foreign = 1;
    links_add(&c, "TcpFailureDetector", NULL);
    links_add(&c, PLACE, "member=127.0.0.1:4101,uniqueId=00000000000000000000000000000002",
              "member=127.0.0.1:4100", NULL);
    CU_ASSERT_PTR_NULL(sc_interceptor_check(&c, pool));
    tap_make(&c.interceptor[1]);
    tap.config.membership = SC_MEMBERSHIP_MULTICAST;
    tap.local = start.from;
    tap.local.port = 4100; /* so the second line is this node itself */
    tap.link[1].cls->start(&tap.link[1]);
    tap_seen("f"); /* announced, to be verified by who stands above */
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 1);
    CU_ASSERT_EQUAL(tap.to[0].port, 4101);
    CU_ASSERT_TRUE(same_frame(0, START, &start));
    CU_ASSERT_TRUE(sc_ask_static(&tap.link[0], &start.from));
    CU_ASSERT_FALSE(sc_ask_static(&tap.link[0], &tap.local));
    tap_end(0, APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_pass_received(&tap.link[2], &start), APR_SUCCESS);
    tap_seen(""); /* known */
    tap_run(SECONDS(20));
    CU_ASSERT_EQUAL(tap.nsent, 1);        /* a Tomcat is told once */
    for (i = 0; i < stop.body_len; i++) { /* a part of it is none */
        sc_packet_t part = stop;

        part.body_len = i;
        (void)sc_pass_received(&tap.link[2], &part);
    }
    CU_ASSERT_PTR_NULL(strchr(tap.seen, '!'));
    tap.seen[0] = '\0';
    CU_ASSERT_EQUAL(sc_pass_received(&tap.link[2], &stop), APR_SUCCESS);
    tap_seen("!");
    CU_ASSERT_EQUAL(sc_pass_received(&tap.link[2], &start), APR_SUCCESS);
    tap_seen(""); /* sent before the good-bye */
    start.timestamp_ms = stop.timestamp_ms + 1;
    CU_ASSERT_EQUAL(sc_pass_received(&tap.link[2], &start), APR_SUCCESS);
    tap_seen("f");
    start.from.uid.b[15] = 3; /* somebody else at its address */
    start.from.alive_ms++;
    CU_ASSERT_EQUAL(sc_pass_received(&tap.link[2], &start), APR_SUCCESS);
    tap_seen("");
    CU_ASSERT_PTR_NOT_NULL(strstr(tap.log, "another uniqueId than is listed"));
    i = (apr_size_t)tap.nsent;
    tap_stop();
    CU_ASSERT_EQUAL_FATAL(tap.nsent, (int)i + 1);
    CU_ASSERT_TRUE(same_frame((int)i, STOP, &stop));
    free(start_body);
    free(stop_body);
}

/* ---- StaticMembership ----------------------------------------------------------------------- */

/** A message of node n of the tap tests, 127.0.0.1:400n. */
static void says(int n, int life, const char *route, const char *text, int seconds)
{
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    CU_ASSERT_EQUAL(sc_member_set_host(&p.from, "127.0.0.1"), APR_SUCCESS);
    p.from.port = 4000 + n;
    p.from.uid.b[0] = (unsigned char)n;
    p.from.uid.b[1] = (unsigned char)life;
    p.from.ours = route[0] != '\0';
    p.from.store_id = (apr_uint64_t)(100 * n + life);
    p.from.node_state = SC_NODE_READY;
    p.from.alive_ms = (apr_uint64_t)seconds * 1000;
    apr_cpystrn(p.from.route, route, sizeof(p.from.route));
    p.timestamp_ms = 1000000 + (apr_uint64_t)seconds * 1000;
    p.body = (const unsigned char *)text;
    p.body_len = strlen(text);
    CU_ASSERT_EQUAL(sc_pass_received(&tap.link[2], &p), APR_SUCCESS);
}

static const char hello[] = "Local StaticMember Notification Data";
static const char bye[] = "Local StaticMember Shutdown Data";

static void test_static_lives(void)
{
    static sc_config_t c;
    sc_member_t m;

    memset(&c, 0, sizeof(c));
    links_add(&c, PLACE, "member=127.0.0.1:4001", "member=127.0.0.1:4002,domain=d", NULL);
    tap_make(&c.interceptor[0]);
    tap.config.membership = SC_MEMBERSHIP_MULTICAST;
    CU_ASSERT_EQUAL(sc_member_set_host(&tap.local, "127.0.0.1"), APR_SUCCESS);
    tap.local.port = 4009;
    apr_cpystrn(tap.local.route, "self", sizeof(tap.local.route));
    tap.link[1].cls->start(&tap.link[1]);
    CU_ASSERT_EQUAL(tap.nsent, 2);
    tap_seen(""); /* nobody knows yet what they are */
    says(3, 1, "c", hello, 1);
    says(1, 1, "", hello, 1); /* a Tomcat that nobody has named */
    CU_ASSERT_PTR_NOT_NULL(strstr(tap.log, "a Tomcat?"));
    says(1, 1, "self", hello, 1);
    says(2, 1, "b", hello, 1); /* another domain */
    says(1, 1, "a", "something", 1);
    tap_seen("m");
    says(1, 1, "a", hello, 2);
    tap_seen("+");
    says(1, 1, "a", hello, 3);
    says(1, 1, "a", "something", 4);
    tap_seen("m");
    says(1, 2, "a", hello, 5); /* restarted */
    tap_seen("-+");
    says(1, 1, "a", hello, 3); /* what is left of the former life */
    says(1, 1, "a", bye, 6);
    tap_seen("");
    says(1, 2, "a", bye, 7);
    tap_seen("!");
    says(1, 2, "a", hello, 6);
    tap_seen("");
    says(1, 3, "a", hello, 8);
    tap_seen("+");
    /* membership hears it, too: one member */
    memset(&m, 0, sizeof(m));
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "127.0.0.1"), APR_SUCCESS);
    m.port = 4001;
    m.uid.b[0] = 1;
    m.uid.b[1] = 3;
    m.ours = 1;
    m.store_id = 103;
    sc_pass_member_added(&tap.link[2], &m);
    sc_pass_member_gone(&tap.link[2], &m, 0);
    tap_seen("~-+"); /* it stays, by the list, but is to be asked */
    sc_pass_member_added(&tap.link[2], &m);
    sc_pass_member_gone(&tap.link[2], &m, 1);
    tap_seen("~!");
    /* the other way round, and its next life is heard by membership first */
    sc_pass_member_added(&tap.link[2], &m);
    says(1, 3, "a", hello, 9);
    tap_seen("+");
    m.uid.b[1] = 4;
    m.store_id = 104;
    sc_pass_member_added(&tap.link[2], &m);
    says(1, 4, "a", hello, 10);
    CU_ASSERT_EQUAL(tap.seen[strlen(tap.seen) - 1], '+');
    tap.seen[0] = '\0';
    tap_stop();
}

/** Each 5 s, and at once when this node's state changes; not while the one before is on its way. */
static void test_static_said(void)
{
    static sc_config_t c;

    memset(&c, 0, sizeof(c));
    links_add(&c, PLACE, "member=127.0.0.1:4001", NULL);
    tap_make(&c.interceptor[0]);
    tap.config.membership = SC_MEMBERSHIP_MULTICAST;
    tap.link[1].cls->start(&tap.link[1]);
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 1);
    tap_end(0, ECONNREFUSED);
    tap_run(RIG_MS(4900));
    CU_ASSERT_EQUAL(tap.nsent, 1);
    tap_run(RIG_MS(200));
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 2);
    tap_end(1, APR_SUCCESS);
    says(1, 1, "a", hello, 1);
    tap_seen("+");
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 3); /* an answer at once */
    tap.local.node_state = SC_NODE_READY;
    tap_run(RIG_MS(200));
    CU_ASSERT_EQUAL(tap.nsent, 3);
    tap_end(2, APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 4);
    CU_ASSERT_EQUAL(tap.sent[3].from.node_state, SC_NODE_READY);
    tap_end(3, APR_SUCCESS);
    tap_run(RIG_MS(400));
    CU_ASSERT_EQUAL(tap.nsent, 4);
    tap.local.node_state = SC_NODE_LEAVING;
    tap_run(RIG_MS(100));
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 5);
    tap_stop(); /* good-bye, though that one is on its way */
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 6);
    CU_ASSERT_EQUAL(memcmp(tap.body[5], bye, sizeof(bye) - 1), 0);
}

static void test_static_untold(void)
{
    static sc_config_t c;

    memset(&c, 0, sizeof(c));
    links_add(&c, PLACE, "member=127.0.0.1:4001", "member=0.0.0.0:4001", NULL);
    tap_make(&c.interceptor[0]);
    tap.config.membership = SC_MEMBERSHIP_MULTICAST;
    tap.link[1].cls->start(&tap.link[1]);
    CU_ASSERT_PTR_NOT_NULL(strstr(tap.log, "SC0526: member 0.0.0.0:4001"));
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 1);
    says(1, 1, "a", hello, 1);
    tap_end(0, APR_SUCCESS);
    tap_seen("+");
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 2);
    tap.log[0] = '\0';
    tap.link[1].cls->stop(&tap.link[1]);
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 3);
    tap_end(1, APR_ECONNABORTED); /* what it was told before is of no interest any more */
    CU_ASSERT_EQUAL(tap.log[0], '\0');
    tap_end(2, ECONNREFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(tap.log, "SC0525: member 127.0.0.1:4001 of StaticMembership"));
    tap_stop();
}

/** A name, on a transport that looks none up. */
static void test_static_no_resolver(void)
{
    static sc_config_t c;

    memset(&c, 0, sizeof(c));
    links_add(&c, PLACE, "member=127.0.0.1:4001", "member=localhost:4002", NULL);
    tap_make(&c.interceptor[0]);
    tap.config.membership = SC_MEMBERSHIP_MULTICAST;
    tap.link[1].cls->start(&tap.link[1]);
    CU_ASSERT_PTR_NOT_NULL(strstr(tap.log, "SC0526: member localhost:4002"));
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 1);
    CU_ASSERT_EQUAL(tap.to[0].port, 4001);
    tap_end(0, APR_SUCCESS);
    tap.log[0] = '\0';
    tap_run(SECONDS(6));
    CU_ASSERT_EQUAL(tap.nsent, 2);
    CU_ASSERT_EQUAL(tap.log[0], '\0');
    tap_stop();
}

/** Membership hears the next life of a member of the list before that has said hello. */
static void test_static_next_life(void)
{
    static sc_config_t c;
    sc_member_t m;

    memset(&c, 0, sizeof(c));
    links_add(&c, PLACE, "member=127.0.0.1:4001", NULL);
    tap_make(&c.interceptor[0]);
    tap.config.membership = SC_MEMBERSHIP_MULTICAST;
    tap.link[1].cls->start(&tap.link[1]);
    says(1, 1, "a", hello, 1);
    tap_seen("+");
    memset(&m, 0, sizeof(m));
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "127.0.0.1"), APR_SUCCESS);
    m.port = 4001;
    m.uid.b[1] = 2;
    m.ours = 1;
    sc_pass_member_added(&tap.link[2], &m);
    tap_seen("-+");
    sc_pass_member_gone(&tap.link[2], &m, 0);
    tap_seen("-"); /* in no list as what it is now */
    tap_stop();
}

/* ---- DomainFilter, TcpPing ------------------------------------------------------------------ */

static void test_domain_moves(void)
{
    static sc_config_t c;
    static sc_board_t board;
    sc_member_t m;

    memset(&c, 0, sizeof(c));
    memset(&board, 0, sizeof(board));
    links_add(&c, "DomainFilter", "domain=in", NULL);
    tap_make(&c.interceptor[0]);
    tap.env.board = &board;
    memset(&m, 0, sizeof(m));
    m.ours = 1;
    sc_pass_member_added(&tap.link[2], &m);
    sc_pass_member_changed(&tap.link[2], &m);
    sc_pass_member_gone(&tap.link[2], &m, 0);
    tap_seen("");
    sc_pass_member_added(&tap.link[2], &m);
    m.domain_len = 2;
    memcpy(m.domain, "in", 2);
    sc_pass_member_changed(&tap.link[2], &m);
    tap_seen("+");
    sc_pass_member_changed(&tap.link[2], &m);
    tap_seen("~");
    m.domain_len = 1;
    sc_pass_member_changed(&tap.link[2], &m);
    tap_seen("-");
    m.domain_len = 2;
    sc_pass_member_added(&tap.link[2], &m);
    sc_pass_member_gone(&tap.link[2], &m, 1);
    tap_seen("+!");
    /* hidden once, and once more when it had been inside or gone */
    CU_ASSERT_EQUAL(board.count.members_hidden, 3);
    m.domain_len = 1;
    sc_pass_member_added(&tap.link[2], &m);
    sc_pass_member_changed(&tap.link[2], &m);
    CU_ASSERT_EQUAL(board.count.members_hidden, 4);
    CU_ASSERT_EQUAL(sc_timers_next(tap.env.timers), -1);
}

static void test_ping_static_only(void)
{
    static sc_config_t c;
    sc_member_t m;

    memset(&c, 0, sizeof(c));
    links_add(&c, "TcpPing", "staticOnly=true", NULL);
    tap_make(&c.interceptor[0]);
    tap.config.membership = SC_MEMBERSHIP_MULTICAST;
    tap.link[1].cls->start(&tap.link[1]);
    memset(&m, 0, sizeof(m));
    sc_pass_member_added(&tap.link[2], &m);
    tap_run(SECONDS(3));
    CU_ASSERT_EQUAL(tap.nsent, 0);
    tap.config.membership = SC_MEMBERSHIP_STATIC;
    tap_run(SECONDS(1));
    CU_ASSERT_EQUAL_FATAL(tap.nsent, 1);
    tap_end(0, APR_SUCCESS);
    sc_pass_member_gone(&tap.link[2], &m, 0);
    tap_run(SECONDS(3));
    CU_ASSERT_EQUAL(tap.nsent, 1);
    tap_stop();
}

void links_one_tests(CU_pSuite s, apr_pool_t *p)
{
    pool = p;
    CU_add_test(s, "Throughput: its numbers", test_throughput_numbers);
    CU_add_test(s, "TcpPing: as Tomcat's", test_ping_vector);
    CU_add_test(s, "StaticMembership: as Tomcat's", test_static_vectors);
    CU_add_test(s, "StaticMembership: lives of a member", test_static_lives);
    CU_add_test(s, "StaticMembership: what is said when", test_static_said);
    CU_add_test(s, "StaticMembership: a good-bye that is not heard", test_static_untold);
    CU_add_test(s, "StaticMembership: no resolver", test_static_no_resolver);
    CU_add_test(s, "StaticMembership: the next life, by multicast", test_static_next_life);
    CU_add_test(s, "DomainFilter: a member that changes", test_domain_moves);
    CU_add_test(s, "TcpPing: staticOnly", test_ping_static_only);
}
