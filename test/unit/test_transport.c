/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The real transport on loopback: sender and receiver against each other and against peers that
 * refuse, hang, lie and flood; the group; whole channels on top.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "net_peer.h"

void sc_suite_transport(void);

#define ACK SC_OPT_USE_ACK
#define SYNC (SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK)

static peer_env_t *two_nodes(void)
{
    peer_env_t *env = peer_env();

    peer_start(env, 0);
    peer_start(env, 1);
    return env;
}

/* ---- sender and receiver -------------------------------------------------------------------- */

static void test_options(void)
{
    static const apr_uint32_t options[] = {4, 6, 8, 10, 2, 0};
    peer_env_t *env = two_nodes();
    peer_node_t *b = &env->node[1];
    apr_size_t i;

    for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        rig_end_t end = {0, APR_EGENERAL};

        peer_send(&env->node[0], &b->member, "hello tribes", options[i], &end);
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
        CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &b->packets, (int)i + 1));
        CU_ASSERT_EQUAL(b->last_options, options[i] | SC_OPT_BYTE_MESSAGE);
        CU_ASSERT_STRING_EQUAL(b->last, "hello tribes");
    }
    CU_ASSERT_EQUAL(env->node[0].board.count.frames_out, i);
    CU_ASSERT_EQUAL(b->board.count.frames_in, i);
    CU_ASSERT_EQUAL(env->node[0].board.count.bytes_out, b->board.count.bytes_in);
    CU_ASSERT_EQUAL(b->board.count.bytes_in, i * (135 + 12)); /* tribes-protocol 2.2 */
    peer_env_end(env);
}

/** What FAIL_ACK means depends on the options: only a synchronized sender hears of an error. */
static void test_fail_ack(void)
{
    peer_env_t *env = two_nodes();
    peer_node_t *a = &env->node[0];
    peer_node_t *b = &env->node[1];
    rig_end_t end = {0, APR_SUCCESS};
    sc_uid_t id;

    b->member.ours = 1;
    b->refusals = -1;
    peer_send(a, &b->member, "y", SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_EGENERAL);
    CU_ASSERT_EQUAL(b->packets, 2); /* maxRetryAttempts is 1 */
    /* once only: the identical frame is accepted at the second attempt */
    b->refusals = 1;
    peer_send(a, &b->member, "z", SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &b->packets, 3));
    id = b->last_id;
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->packets, 4);
    CU_ASSERT_EQUAL(memcmp(&id, &b->last_id, sizeof(id)), 0);
    /* now it knows this node, and means what it says */
    b->refusals = -1;
    peer_send(a, &b->member, "w", SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 3));
    CU_ASSERT_EQUAL(end.rv, APR_EGENERAL);
    CU_ASSERT_EQUAL(b->packets, 5);
    peer_send(a, &b->member, "x", ACK, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 4));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    peer_env_end(env);
}

#define MANY 2000

static void test_many_in_order(void)
{
    static rig_end_t end[MANY];
    peer_env_t *env = two_nodes();
    peer_node_t *b = &env->node[1];
    apr_uint64_t bytes;
    apr_uint32_t frames;
    char text[16];
    int i;

    memset(end, 0, sizeof(end));
    for (i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "%d", i);
        peer_send(&env->node[0], &b->member, text, i % 7 == 0 ? SYNC : 0, &end[i]);
    }
    env->node[0].t->queued(env->node[0].t->ctx, &b->member, &bytes, &frames);
    CU_ASSERT_EQUAL(frames, MANY);
    CU_ASSERT(bytes > MANY * 135);
    for (i = 0; i < MANY; i++) {
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &b->packets, i + 1));
        if (b->packets == i + 1) { /* when one came alone, it must have been that one */
            snprintf(text, sizeof(text), "%d", i);
            CU_ASSERT_STRING_EQUAL(b->last, text);
        }
    }
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end[MANY - 1].calls, 1));
    for (i = 0; i < MANY; i++) {
        CU_ASSERT(end[i].calls == 1 && end[i].rv == APR_SUCCESS);
    }
    snprintf(text, sizeof(text), "%d", MANY - 1);
    CU_ASSERT_STRING_EQUAL(b->last, text);
    env->node[0].t->queued(env->node[0].t->ctx, &b->member, &bytes, &frames);
    CU_ASSERT(bytes == 0 && frames == 0);
    peer_env_end(env);
}

/** Bytes that the process has allocated. */
static apr_size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void test_big_frame(void)
{
    peer_env_t *env = peer_env();
    apr_size_t max = 8 * 1024 * 1024;
    unsigned char *body = malloc(max);
    rig_end_t end = {0, APR_EGENERAL};
    peer_node_t *b = &env->node[1];
    apr_size_t before = in_use();

    memset(body, 'b', max);
    b->config.receiver.max_frame = 8 * 1024 * 1024;
    peer_start(env, 0);
    peer_start(env, 1);
    peer_send_bytes(&env->node[0], &b->member, body, max - 117, SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->last_len, max - 117);
    peer_spin(env, 3);
    CU_ASSERT(in_use() < before + max / 2); /* an idle connection keeps no big buffer */
    /* one byte more is more than the receiver takes: it closes, twice */
    peer_send_bytes(&env->node[0], &b->member, body, max - 116, SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    CU_ASSERT_NOT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->packets, 1);
    CU_ASSERT_EQUAL(b->board.count.frames_refused, 2);
    free(body);
    peer_env_end(env);
}

/* ---- peers that do not do what they should --------------------------------------------------- */

static void test_nobody_there(void)
{
    peer_env_t *env = two_nodes();
    rig_end_t end = {0, APR_SUCCESS};
    sc_member_t m;

    close(peer_listen(&m));
    peer_send(&env->node[0], &m, "x", SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT(APR_STATUS_IS_ECONNREFUSED(end.rv));
    peer_probe(&env->node[0], &m, ACK, 1000, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    CU_ASSERT(APR_STATUS_IS_ECONNREFUSED(end.rv));
    /* addresses that are none */
    sc_member_set_host(&m, "0.0.0.0");
    peer_send(&env->node[0], &m, "x", SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 3));
    CU_ASSERT_EQUAL(end.rv, APR_EINVAL);
    m.host_len = 0;
    peer_probe(&env->node[0], &m, 0, 1000, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 4));
    CU_ASSERT_EQUAL(end.rv, APR_EINVAL);
    peer_env_end(env);
}

/** A process that is stopped: its kernel accepts, and nothing answers. */
static void test_hanging_peer(void)
{
    peer_env_t *env = peer_env();
    rig_end_t send_end = {0, APR_SUCCESS};
    rig_end_t behind = {0, APR_SUCCESS};
    rig_end_t probe = {0, APR_SUCCESS};
    rig_end_t connect_only = {0, APR_EGENERAL};
    rig_end_t no_read = {0, APR_EGENERAL};
    sc_member_t m;
    int listener = peer_listen(&m);

    env->node[0].config.sender.timeout_ms = 100;
    env->node[0].config.sender.max_retries = 5;
    peer_start(env, 0);
    peer_send(&env->node[0], &m, "x", SYNC, &send_end);
    peer_send(&env->node[0], &m, "y", 0, &behind);
    peer_probe(&env->node[0], &m, ACK, 100, &probe);
    peer_probe(&env->node[0], &m, 0, 5000, &connect_only); /* Tomcat's default asks no more */
    peer_probe(&env->node[0], &m, 8, 5000, &no_read);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &probe.calls, 1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &send_end.calls, 1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &behind.calls, 1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &connect_only.calls, 1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &no_read.calls, 1));
    CU_ASSERT(APR_STATUS_IS_TIMEUP(send_end.rv)); /* and not repeated: that would be 600 ms */
    CU_ASSERT(APR_STATUS_IS_TIMEUP(probe.rv));
    CU_ASSERT_EQUAL(behind.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(connect_only.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(no_read.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(send_end.calls, 1);
    close(listener);
    peer_env_end(env);
}

/** What goes in bulk waits for its acknowledgement, and nothing else waits behind it. */
static void test_bulk_passes_nobody(void)
{
    peer_env_t *env = peer_env();
    peer_node_t *a = &env->node[0];
    rig_end_t bulk = {0, APR_SUCCESS};
    rig_end_t data = {0, APR_EGENERAL};
    sc_packet_t p = {0};
    sc_member_t m;
    int listener = peer_listen(&m);

    peer_start(env, 0);
    p.options = SYNC | SC_OPT_BYTE_MESSAGE;
    p.from = a->member;
    p.body = (const unsigned char *)"file";
    p.body_len = 4;
    a->t->send(a->t->ctx, &m, SC_LANE_BULK, &p, rig_ended, &bulk);
    a->t->send(a->t->ctx, &m, SC_LANE_BULK, &p, rig_ended, &bulk);
    peer_spin(env, 3);
    peer_send(a, &m, "session", 0, &data);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &data.calls, 1));
    CU_ASSERT_EQUAL(data.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(bulk.calls, 0);
    a->t->forget(a->t->ctx, &m); /* of all lanes */
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &bulk.calls, 2));
    CU_ASSERT_EQUAL(bulk.rv, APR_ECONNABORTED);
    close(listener);
    peer_env_end(env);
}

static void test_probe_passes_queue(void)
{
    peer_env_t *env = peer_env();
    rig_end_t stuck = {0, APR_SUCCESS};
    rig_end_t probe = {0, APR_EGENERAL};
    peer_node_t *b = &env->node[1];

    peer_start(env, 0);
    peer_start(env, 1);
    peer_probe(&env->node[0], &b->member, ACK, 5000, &probe);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &probe.calls, 1));
    CU_ASSERT_EQUAL(probe.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->packets, 1);
    CU_ASSERT_EQUAL(stuck.calls, 0);
    /* a FAIL_ACK is told as such, and a probe is not repeated */
    b->refusals = -1;
    peer_probe(&env->node[0], &b->member, SYNC, 5000, &probe);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &probe.calls, 2));
    CU_ASSERT_EQUAL(probe.rv, APR_EGENERAL);
    CU_ASSERT_EQUAL(b->packets, 2);
    peer_env_end(env);
}

/** The other side dies in the middle of a frame: the identical one goes out again. */
static void test_killed_in_the_middle(void)
{
    peer_env_t *env = peer_env();
    rig_end_t end = {0, APR_EGENERAL};
    struct linger hard = {1, 0};
    char first[50];
    char again[50];
    char rest[128];
    sc_member_t m;
    int listener = peer_listen(&m);
    int fd;

    peer_start(env, 0);
    peer_send(&env->node[0], &m, "x", SYNC, &end);
    fd = peer_accept(env, listener);
    CU_ASSERT_TRUE_FATAL(peer_read(env, fd, first, sizeof(first)));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd); /* a reset */
    fd = peer_accept(env, listener);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_TRUE_FATAL(peer_read(env, fd, again, sizeof(again)));
    CU_ASSERT_EQUAL(memcmp(first, again, sizeof(first)), 0);
    CU_ASSERT_TRUE_FATAL(peer_read(env, fd, rest, 135 + 1 - sizeof(first)));
    /* half an acknowledgement, a while, the other half */
    CU_ASSERT_EQUAL(send(fd, sc_frame_ack(0), 10, 0), 10);
    peer_spin(env, 20);
    CU_ASSERT_EQUAL(end.calls, 0);
    CU_ASSERT_EQUAL(send(fd, sc_frame_ack(0) + 10, 11, 0), 11);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    close(fd);
    close(listener);
    peer_env_end(env);
}

/** Answers that are none end the connection. */
static void test_wrong_answers(void)
{
    static const struct {
        const char *bytes;
        size_t len;
    } answers[] = {
        {"HTTP/1.1 400", 12},
        {"FLT2002\0\0\0\3\6\2\4TLF2003", 21},
        {"FLT2002\0\0\0\3\6\2\3TLF2003F", 22}, /* one byte too many */
        {"FLT2002\x7f\xff\xff\xff", 11},
    };
    peer_env_t *env = peer_env();
    char frame[136];
    sc_member_t m;
    int listener = peer_listen(&m);
    apr_size_t i;

    env->node[0].config.sender.max_retries = 0;
    peer_start(env, 0);
    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        rig_end_t end = {0, APR_SUCCESS};
        int fd;

        peer_send(&env->node[0], &m, "x", SYNC, &end);
        fd = peer_accept(env, listener);
        CU_ASSERT_TRUE_FATAL(peer_read(env, fd, frame, sizeof(frame)));
        CU_ASSERT_EQUAL(send(fd, answers[i].bytes, answers[i].len, 0), (ssize_t)answers[i].len);
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
        CU_ASSERT(end.rv != APR_SUCCESS && end.rv != APR_EGENERAL);
        CU_ASSERT_TRUE(peer_closed(env, fd));
        close(fd);
    }
    close(listener);
    peer_env_end(env);
}

/** A connection that the other side closed while idle is no error, not even without retries. */
static void test_idle_close(void)
{
    peer_env_t *env = peer_env();
    rig_end_t end = {0, APR_EGENERAL};
    char frame[136];
    sc_member_t m;
    int listener = peer_listen(&m);
    int fd;
    int i;

    env->node[0].config.sender.max_retries = 0;
    peer_start(env, 0);
    peer_send(&env->node[0], &m, "x", 0, &end);
    fd = peer_accept(env, listener);
    CU_ASSERT_TRUE_FATAL(peer_read(env, fd, frame, sizeof(frame)));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    close(fd);
    peer_spin(env, 5);
    peer_send(&env->node[0], &m, "x", 0, &end);
    fd = peer_accept(env, listener);
    CU_ASSERT_TRUE_FATAL(peer_read(env, fd, frame, sizeof(frame)));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    /* closed, and written to before that could be noticed: an error, but no signal */
    close(fd);
    for (i = 0; i < 4; i++) {
        peer_send(&env->node[0], &m, "x", 0, &end);
        poll(NULL, 0, 5);
    }
    fd = peer_accept(env, listener);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 6));
    CU_ASSERT_TRUE_FATAL(peer_read(env, fd, frame, sizeof(frame)));
    /* bytes that nobody asked for */
    CU_ASSERT_EQUAL(send(fd, sc_frame_ack(0), SC_ACK_FRAME, 0), SC_ACK_FRAME);
    CU_ASSERT_TRUE(peer_closed(env, fd));
    close(fd);
    close(listener);
    peer_env_end(env);
}

/** Acknowledged and closed in one breath: what waits behind has not even been tried yet. */
static void test_ack_and_close(void)
{
    peer_env_t *env = peer_env();
    rig_end_t first = {0, APR_EGENERAL};
    rig_end_t second = {0, APR_EGENERAL};
    char frame[136];
    sc_member_t m;
    int listener = peer_listen(&m);
    int fd;

    env->node[0].config.sender.max_retries = 0;
    peer_start(env, 0);
    peer_send(&env->node[0], &m, "x", SYNC, &first);
    peer_send(&env->node[0], &m, "y", SYNC, &second);
    fd = peer_accept(env, listener);
    CU_ASSERT_TRUE_FATAL(peer_read(env, fd, frame, sizeof(frame)));
    CU_ASSERT_EQUAL(send(fd, sc_frame_ack(0), SC_ACK_FRAME, 0), SC_ACK_FRAME);
    close(fd);
    fd = peer_accept(env, listener);
    CU_ASSERT_TRUE_FATAL(peer_read(env, fd, frame, sizeof(frame)));
    CU_ASSERT_EQUAL(frame[128], 'y');
    CU_ASSERT_EQUAL(send(fd, sc_frame_ack(0), SC_ACK_FRAME, 0), SC_ACK_FRAME);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &second.calls, 1));
    CU_ASSERT(first.rv == APR_SUCCESS && second.rv == APR_SUCCESS);
    close(fd);
    close(listener);
    peer_env_end(env);
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void test_forget(void)
{
    peer_env_t *env = two_nodes();
    peer_node_t *a = &env->node[0];
    rig_end_t end[3];
    rig_end_t good = {0, APR_EGENERAL};
    sc_member_t m;
    int listener = peer_listen(&m);
    int i;

    memset(end, 0, sizeof(end));
    for (i = 0; i < 3; i++) {
        peer_send(a, &m, "x", SYNC, &end[i]);
    }
    peer_send(a, &env->node[1].member, "good", SYNC, &good);
    peer_spin(env, 3);
    a->t->forget(a->t->ctx, &m);
    CU_ASSERT_EQUAL(end[0].calls, 0);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end[2].calls, 1));
    for (i = 0; i < 3; i++) {
        CU_ASSERT(end[i].calls == 1 && end[i].rv == APR_ECONNABORTED);
    }
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &good.calls, 1));
    CU_ASSERT_EQUAL(good.rv, APR_SUCCESS);
    /* and it can be sent to again */
    peer_send(a, &m, "x", 0, &end[0]);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end[0].calls, 2));
    CU_ASSERT_EQUAL(end[0].rv, APR_SUCCESS);
    close(listener);
    peer_env_end(env);
}

static void test_close(void)
{
    peer_env_t *env = two_nodes();
    rig_end_t end = {0, APR_SUCCESS};
    rig_end_t probe = {0, APR_SUCCESS};
    sc_member_t m;
    int listener = peer_listen(&m);

    peer_send(&env->node[0], &m, "x", SYNC, &end);
    peer_probe(&env->node[0], &m, ACK, 5000, &probe);
    peer_spin(env, 2);
    sc_net_close(env->node[0].net);
    env->node[0].net = NULL;
    CU_ASSERT(end.calls == 1 && end.rv == APR_ECONNABORTED);
    CU_ASSERT(probe.calls == 1 && probe.rv == APR_ECONNABORTED);
    close(listener);
    peer_env_end(env);
}

static void test_queue_bound(void)
{
    peer_env_t *env = peer_env();
    rig_end_t first = {0, APR_SUCCESS};
    rig_end_t second = {0, APR_SUCCESS};
    char text[4001];
    sc_member_t m;
    int listener = peer_listen(&m);

    memset(text, 'x', 4000);
    text[4000] = '\0';
    env->node[0].config.sender.max_queue = 3000; /* twice that is the line's own bound */
    peer_start(env, 0);
    peer_send(&env->node[0], &m, text, SYNC, &first);
    peer_send(&env->node[0], &m, text, SYNC, &second);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &second.calls, 1));
    CU_ASSERT_EQUAL(second.rv, APR_ENOSPC);
    CU_ASSERT_EQUAL(first.calls, 0);
    close(listener);
    peer_env_end(env);
}

/** Reads frames and acknowledges them until the other side closes; for a sender that blocks. */
static void *acker(void *arg)
{
    int listener = *(int *)arg;
    struct pollfd pfd = {listener, POLLIN, 0};
    sc_parser_t parser;
    int fd;

    if (poll(&pfd, 1, 10000) != 1) {
        return NULL;
    }
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    sc_parser_init(&parser, 1024 * 1024);
    for (;;) {
        const unsigned char *data;
        sc_frame_kind_t kind;
        apr_size_t room;
        unsigned char *p = sc_parser_room(&parser, &room);
        ssize_t n = recv(fd, p, room, 0);

        if (n <= 0) {
            break;
        }
        parser.in.len += (apr_size_t)n;
        while (sc_parser_next(&parser, &kind, &data, &room) == APR_SUCCESS) {
            sc_parser_done(&parser);
            (void)send(fd, sc_frame_ack(0), SC_ACK_FRAME, MSG_NOSIGNAL);
        }
    }
    sc_parser_free(&parser);
    close(fd);
    return NULL;
}

static void test_drain(void)
{
    peer_env_t *env = peer_env();
    rig_end_t end[50];
    rig_end_t hanging = {0, APR_SUCCESS};
    apr_time_t begin;
    pthread_t thread;
    sc_member_t m;
    sc_member_t h;
    int listener = peer_listen(&m);
    int hang = peer_listen(&h);
    int i;

    memset(end, 0, sizeof(end));
    peer_start(env, 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, acker, &listener), 0);
    for (i = 0; i < 50; i++) {
        peer_send(&env->node[0], &m, "last words", SYNC, &end[i]);
    }
    sc_net_drain(env->node[0].net, apr_time_from_sec(10)); /* the loop does not run */
    for (i = 0; i < 50; i++) {
        CU_ASSERT(end[i].calls == 1 && end[i].rv == APR_SUCCESS);
    }
    /* somebody who does not answer cannot hold it up for longer than agreed */
    peer_send(&env->node[0], &h, "x", SYNC, &hanging);
    begin = sc_mono(&sc_clock_system);
    sc_net_drain(env->node[0].net, RIG_MS(100));
    CU_ASSERT(sc_mono(&sc_clock_system) - begin >= RIG_MS(100));
    CU_ASSERT_EQUAL(hanging.calls, 0);
    sc_net_close(env->node[0].net);
    env->node[0].net = NULL;
    CU_ASSERT_EQUAL(hanging.calls, 1);
    pthread_join(thread, NULL);
    close(listener);
    close(hang);
    peer_env_end(env);
}

/* ---- hostile senders ------------------------------------------------------------------------ */

static void good_goes_on(peer_env_t *env)
{
    rig_end_t end = {0, APR_EGENERAL};
    int before = env->node[1].packets;

    peer_send(&env->node[0], &env->node[1].member, "good", SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT(env->node[1].packets > before); /* on a slow machine it may have been sent again */
}

static void test_garbage(void)
{
    static const struct {
        const char *bytes;
        size_t len;
    } garbage[] = {
        {"G", 1},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
        {"FLT2002\x40\0\0\0", 11},                    /* a frame of 1 GiB */
        {"FLT2002\xff\xff\xff\xff", 11},              /* of 4 GiB */
        {"FLT2002\0\0\0\4abcdTLF2004", 22},           /* a wrong end */
        {"FLT2002\0\0\0\4abcdTLF2003", 22},           /* no ChannelData */
        {"FLT2002\0\0\0\3\6\2\3TLF2003", 21},         /* an ACK, which nobody waits for */
        {"\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03", 11}, /* TLS */
    };
    peer_env_t *env = two_nodes();
    apr_size_t i;

    for (i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        int fd = peer_connect(&env->node[1]);

        good_goes_on(env);
        CU_ASSERT_EQUAL(send(fd, garbage[i].bytes, garbage[i].len, MSG_NOSIGNAL),
                        (ssize_t)garbage[i].len);
        CU_ASSERT_TRUE(peer_closed(env, fd));
        good_goes_on(env);
        close(fd);
        CU_ASSERT_EQUAL(env->node[1].board.count.frames_refused, i + 1);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(env->node[1].log, "SC0451"));
    CU_ASSERT_PTR_NOT_NULL(strstr(env->node[1].log, "from 127.0.0.1:"));
    CU_ASSERT_PTR_NULL(strstr(strstr(env->node[1].log, "SC0451") + 1, "SC0451"));
    peer_env_end(env);
}

static void test_ends_in_the_middle(void)
{
    peer_env_t *env = two_nodes();
    int fd = peer_connect(&env->node[1]);
    sc_buf_t b;
    int refused;

    peer_frame(&b, "whole", 0);
    CU_ASSERT_EQUAL(send(fd, b.data, b.len, 0), (ssize_t)b.len);
    CU_ASSERT_EQUAL(send(fd, b.data, b.len - 1, 0), (ssize_t)b.len - 1);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &env->node[1].packets, 1));
    close(fd);
    for (refused = 0; refused < 1000 && env->node[1].board.count.frames_refused == 0; refused++) {
        peer_spin(env, 1);
    }
    CU_ASSERT_EQUAL(env->node[1].board.count.frames_refused, 1);
    CU_ASSERT_EQUAL(env->node[1].packets, 1);
    /* a connection that says nothing at all is no offence */
    close(peer_connect(&env->node[1]));
    peer_spin(env, 10);
    CU_ASSERT_EQUAL(env->node[1].board.count.frames_refused, 1);
    sc_buf_free(&b);
    peer_env_end(env);
}

/** Who sends slowly is waited for, but not for ever; who is silent between frames may be. */
static void test_slow_sender(void)
{
    peer_env_t *env = two_nodes();
    int silent = peer_connect(&env->node[1]);
    int head = peer_connect(&env->node[1]);
    int body = peer_connect(&env->node[1]);
    sc_buf_t b;
    apr_size_t i;
    char byte;

    peer_frame(&b, "slow", ACK);
    for (i = 0; i < b.len; i++) { /* byte by byte, 100 ms between them */
        CU_ASSERT_EQUAL(send(silent, b.data + i, 1, 0), 1);
        peer_spin(env, 1);
        env->skew += RIG_MS(i > 11 ? 100 : 10);
    }
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &env->node[1].packets, 1));
    CU_ASSERT_EQUAL(send(head, b.data, 5, 0), 5);
    CU_ASSERT_EQUAL(send(body, b.data, 50, 0), 50);
    peer_spin(env, 20);
    env->skew += apr_time_from_sec(9);
    peer_spin(env, 20);
    CU_ASSERT_EQUAL(recv(head, &byte, 1, MSG_DONTWAIT), -1);
    CU_ASSERT_EQUAL(env->node[1].board.count.frames_refused, 0);
    env->skew += apr_time_from_sec(2);
    CU_ASSERT_TRUE(peer_closed(env, head));
    CU_ASSERT_EQUAL(env->node[1].board.count.frames_refused, 1);
    CU_ASSERT_EQUAL(recv(body, &byte, 1, MSG_DONTWAIT), -1);
    env->skew += apr_time_from_sec(20);
    CU_ASSERT_TRUE(peer_closed(env, body));
    CU_ASSERT_EQUAL(env->node[1].board.count.frames_refused, 2);
    env->skew += apr_time_from_sec(100000);
    peer_spin(env, 20);
    CU_ASSERT_EQUAL(send(silent, b.data, b.len, 0), (ssize_t)b.len);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &env->node[1].packets, 2));
    close(silent);
    close(head);
    close(body);
    sc_buf_free(&b);
    peer_env_end(env);
}

static void test_too_many_connections(void)
{
    peer_env_t *env = peer_env();
    int fd[4];
    int i;

    env->node[1].config.receiver.max_connections = 3;
    peer_start(env, 0);
    peer_start(env, 1);
    good_goes_on(env); /* has one, and keeps it */
    for (i = 0; i < 4; i++) {
        fd[i] = peer_connect(&env->node[1]);
        peer_spin(env, 5);
    }
    CU_ASSERT_TRUE(peer_closed(env, fd[2]));
    CU_ASSERT_TRUE(peer_closed(env, fd[3]));
    CU_ASSERT_EQUAL(env->node[1].board.count.frames_refused, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(env->node[1].log, "SC0452"));
    good_goes_on(env);
    close(fd[0]); /* room again */
    peer_spin(env, 5);
    close(fd[2]);
    fd[2] = peer_connect(&env->node[1]);
    peer_spin(env, 5);
    CU_ASSERT_EQUAL(send(fd[2], "F", 1, MSG_NOSIGNAL), 1);
    peer_spin(env, 5);
    CU_ASSERT_EQUAL(env->node[1].board.count.frames_refused, 2);
    for (i = 1; i < 4; i++) {
        close(fd[i]);
    }
    peer_env_end(env);
}

#define HOGS 24

/** Each gets up to 1 MiB less a bit, as far as it is read. */
static void hog(peer_env_t *env, const int *fd, int n, const char *bytes)
{
    int round;
    int i;

    for (round = 0; round < 100; round++) {
        for (i = 0; i < n; i++) {
            (void)send(fd[i], bytes, 10000, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        peer_spin(env, 1);
    }
}

/** Many half frames of the largest size: their memory is bounded, and small frames still pass. */
static void test_memory_bound(void)
{
    peer_env_t *env = peer_env();
    apr_uint32_t max = 1024 * 1024;
    char *bytes = calloc(1, max);
    peer_node_t *b = &env->node[1];
    int fd[HOGS];
    int i;

    b->config.receiver.max_frame = max;
    peer_start(env, 0);
    peer_start(env, 1);
    memcpy(bytes, "FLT2002\0\x10\0\0", 11); /* exactly max */
    for (i = 0; i < HOGS; i++) {
        fd[i] = peer_connect(b);
        CU_ASSERT_EQUAL(send(fd[i], bytes, 11, 0), 11);
    }
    hog(env, fd, HOGS, bytes + 11);
    /* 8 frames of the largest size, a step of growth, and what everybody may have */
    CU_ASSERT(b->board.count.bytes_in < (8 + 2) * (apr_uint64_t)max + HOGS * 65536);
    CU_ASSERT(b->board.count.bytes_in > 4 * (apr_uint64_t)max);
    good_goes_on(env);
    /* they cannot keep it */
    env->skew += apr_time_from_sec(31);
    for (i = 0; i < HOGS; i++) {
        CU_ASSERT_TRUE(peer_closed(env, fd[i]));
        close(fd[i]);
    }
    good_goes_on(env);
    free(bytes);
    peer_env_end(env);
}

/* 300 KB each lie in buffers of 512 KB: nearly the 8 MiB that there are, none has to wait */
#define FEW 15

/** A big frame that waits for memory goes on when others give theirs back. */
static void test_memory_given_back(void)
{
    peer_env_t *env = peer_env();
    apr_uint32_t max = 1024 * 1024;
    char *bytes = calloc(1, max);
    peer_node_t *b = &env->node[1];
    rig_end_t end = {0, APR_EGENERAL};
    int fd[FEW];
    int i;

    b->config.receiver.max_frame = max;
    peer_start(env, 0);
    peer_start(env, 1);
    memcpy(bytes, "FLT2002\0\x10\0\0", 11);
    for (i = 0; i < FEW; i++) {
        fd[i] = peer_connect(b);
        CU_ASSERT_EQUAL(send(fd[i], bytes, 11, 0), 11);
    }
    for (i = 0; i < 30; i++) {
        int k;

        for (k = 0; k < FEW; k++) {
            CU_ASSERT_EQUAL(send(fd[k], bytes, 10000, MSG_NOSIGNAL), 10000);
        }
        peer_spin(env, 2);
    }
    peer_send_bytes(&env->node[0], &b->member, bytes, 900 * 1024, SYNC, &end);
    peer_spin(env, 50);
    CU_ASSERT_EQUAL(end.calls, 0);
    for (i = 0; i < FEW; i++) {
        close(fd[i]);
    }
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    free(bytes);
    peer_env_end(env);
}

/** Somebody who asks for acknowledgements and does not read them is not read either. */
static void test_unread_acks(void)
{
    peer_env_t *env = two_nodes();
    peer_node_t *b = &env->node[1];
    int small = 16384;
    sc_buf_t many;
    sc_buf_t one;
    apr_size_t sent = 0;
    apr_uint64_t acks = 0;
    int idle = 0;
    int fd;
    int i;

    /* connections inherit it, so that few acknowledgements fill what the kernel holds */
    setsockopt(b->listen_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(b->listen_fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    fd = peer_connect(b);
    peer_frame(&one, "", ACK);
    sc_buf_init(&many, one.len * 500);
    for (i = 0; i < 500; i++) {
        sc_put(&many, one.data, one.len);
    }
    while (idle < 50 && sent < 200 * 1024 * 1024) {
        apr_size_t at = sent % many.len;
        ssize_t n = send(fd, many.data + at, many.len - at, MSG_NOSIGNAL | MSG_DONTWAIT);

        sent += n > 0 ? (apr_size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        peer_spin(env, 1);
    }
    CU_ASSERT_EQUAL(idle, 50);
    CU_ASSERT((apr_size_t)b->packets < sent / one.len); /* the rest waits */
    good_goes_on(env);
    /* it comes to its senses: not one acknowledgement is missing */
    while (acks < sent / one.len * SC_ACK_FRAME) {
        char bytes[65536];
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        CU_ASSERT_FATAL(n > 0 || (n < 0 && errno == EAGAIN));
        acks += n > 0 ? (apr_uint64_t)n : 0;
        CU_ASSERT_EQUAL_FATAL(sc_loop_once(env->loop, 0), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(acks, sent / one.len * SC_ACK_FRAME);
    close(fd);
    sc_buf_free(&one);
    sc_buf_free(&many);
    peer_env_end(env);
}

void sc_suite_transport_group(CU_pSuite s);
void sc_suite_transport_udp(CU_pSuite s);

void sc_suite_transport(void)
{
    CU_pSuite s = CU_add_suite("transport", NULL, NULL);

    CU_add_test(s, "options 4, 6, 8, 10", test_options);
    CU_add_test(s, "FAIL_ACK", test_fail_ack);
    CU_add_test(s, "many frames in order", test_many_in_order);
    CU_add_test(s, "the largest frame", test_big_frame);
    CU_add_test(s, "nobody there", test_nobody_there);
    CU_add_test(s, "a peer that accepts and hangs", test_hanging_peer);
    CU_add_test(s, "bulk", test_bulk_passes_nobody);
    CU_add_test(s, "probes", test_probe_passes_queue);
    CU_add_test(s, "a peer killed in the middle of a frame", test_killed_in_the_middle);
    CU_add_test(s, "wrong answers", test_wrong_answers);
    CU_add_test(s, "a connection closed while idle", test_idle_close);
    CU_add_test(s, "acknowledged and closed at once", test_ack_and_close);
    CU_add_test(s, "forget", test_forget);
    CU_add_test(s, "close", test_close);
    CU_add_test(s, "the bound of a line", test_queue_bound);
    CU_add_test(s, "drain", test_drain);
    CU_add_test(s, "garbage", test_garbage);
    CU_add_test(s, "a frame that ends in the middle", test_ends_in_the_middle);
    CU_add_test(s, "slow senders", test_slow_sender);
    CU_add_test(s, "too many connections", test_too_many_connections);
    CU_add_test(s, "memory of half frames", test_memory_bound);
    CU_add_test(s, "memory that is given back", test_memory_given_back);
    CU_add_test(s, "acknowledgements that nobody reads", test_unread_acks);
    sc_suite_transport_group(s);
    sc_suite_transport_udp(s);
}
