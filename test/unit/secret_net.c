/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The transport with a secret, on real sockets: members against each other, against strangers, and
 * through somebody in the middle who changes bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "net_peer.h"

#define SYNC (SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK)
/* src/channel/receiver.c */
#define STRANGERS_MAX 128

void sc_suite_secret_net(CU_pSuite s);

static const char secret[] = "a secret of the cluster";
static const char another[] = "another secret of it";

static void add_secret(peer_node_t *n, const char *text)
{
    CU_ASSERT_EQUAL_FATAL(sc_secrets_add(&n->secrets, text, strlen(text)), APR_SUCCESS);
}

/** Two nodes with these secrets; NULL: none. */
static peer_env_t *nodes(const char *a, const char *b)
{
    peer_env_t *env = peer_env();

    if (a != NULL) {
        add_secret(&env->node[0], a);
    }
    if (b != NULL) {
        add_secret(&env->node[1], b);
    }
    peer_start(env, 0);
    peer_start(env, 1);
    return env;
}

static apr_status_t send_one(peer_env_t *env, const char *text, apr_uint32_t options)
{
    rig_end_t end = {0, APR_EGENERAL};

    peer_send(&env->node[0], &env->node[1].member, text, options, &end);
    CU_ASSERT_TRUE(peer_wait(env, &end.calls, 1));
    return end.rv;
}

static apr_status_t probe_one(peer_env_t *env, const sc_member_t *to, apr_uint32_t options)
{
    rig_end_t end = {0, APR_EGENERAL};

    peer_probe(&env->node[0], to, options, 2000, &end);
    CU_ASSERT_TRUE(peer_wait(env, &end.calls, 1));
    return end.rv;
}

/* ---- members -------------------------------------------------------------------------------- */

static void test_members(void)
{
    static const apr_uint32_t options[] = {4, 6, 8, 10, 2, 0};
    peer_env_t *env = nodes(secret, secret);
    peer_node_t *b = &env->node[1];
    apr_size_t i;

    for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        CU_ASSERT_EQUAL(send_one(env, "hello tribes", options[i]), APR_SUCCESS);
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &b->packets, (int)i + 1));
        CU_ASSERT_EQUAL(b->last_options, options[i] | SC_OPT_BYTE_MESSAGE);
        CU_ASSERT_STRING_EQUAL(b->last, "hello tribes");
    }
    CU_ASSERT_EQUAL(b->board.count.proven, 1); /* one connection for all of them */
    CU_ASSERT_EQUAL(env->node[0].board.count.bytes_out, SC_SHAKE_FRAME * 2 + SC_SHAKE_HELLO +
                                                            SC_SHAKE_PROOF +
                                                            i * (135 + 12 + SC_SEAL_TAG));
    CU_ASSERT_EQUAL(b->board.count.bytes_in, i * (135 + 12 + SC_SEAL_TAG));
    /* FAIL_ACK is sealed, too; the identical message goes out once more, sealed anew */
    b->member.ours = 1;
    b->refusals = 1;
    CU_ASSERT_EQUAL(send_one(env, "again", SYNC), APR_SUCCESS);
    /* probes prove, with a packet and without one */
    CU_ASSERT_EQUAL(probe_one(env, &b->member, SC_OPT_USE_ACK), APR_SUCCESS);
    i = (apr_size_t)b->board.count.proven;
    CU_ASSERT_EQUAL(probe_one(env, &b->member, 0), APR_SUCCESS);
    peer_spin(env, 5);
    CU_ASSERT_EQUAL(b->board.count.proven, i + 1);
    CU_ASSERT_EQUAL(b->board.count.strangers + env->node[0].board.count.strangers, 0);
    CU_ASSERT_EQUAL(b->board.count.frames_forged + b->board.count.frames_refused, 0);
    peer_env_end(env);
}

/** Messages that could be read on their way are not sent at all. */
static void test_datagram_messages(void)
{
    peer_env_t *env = nodes(secret, secret);

    env->node[1].member.udp_port = env->node[1].member.port;
    CU_ASSERT_EQUAL(send_one(env, "to one", SC_OPT_UDP), APR_ENOTIMPL);
    CU_ASSERT_EQUAL(send_one(env, "to all", SC_OPT_MULTICAST), APR_ENOTIMPL);
    CU_ASSERT_EQUAL(env->node[0].board.count.bytes_out, 0);
    peer_env_end(env);
}

#define MANY 3000

static void test_many(void)
{
    static rig_end_t end[MANY];
    peer_env_t *env = nodes(secret, secret);
    peer_node_t *b = &env->node[1];
    char text[16];
    int i;

    memset(end, 0, sizeof(end));
    for (i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "%d", i);
        peer_send(&env->node[0], &b->member, text, i % 7 == 0 ? SYNC : 0, &end[i]);
    }
    for (i = 0; i < MANY; i++) {
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &b->packets, i + 1));
        if (b->packets == i + 1) {
            snprintf(text, sizeof(text), "%d", i);
            CU_ASSERT_STRING_EQUAL(b->last, text);
        }
    }
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end[MANY - 1].calls, 1));
    for (i = 0; i < MANY; i++) {
        CU_ASSERT(end[i].calls == 1 && end[i].rv == APR_SUCCESS);
    }
    peer_env_end(env);
}

/** The largest frame there may be, and one byte more. */
static void test_largest(void)
{
    peer_env_t *env = peer_env();
    apr_uint32_t max = 4 * 1024 * 1024;
    unsigned char *body = malloc(max);
    peer_node_t *b = &env->node[1];
    rig_end_t end = {0, APR_EGENERAL};

    memset(body, 'b', max);
    b->config.receiver.max_frame = max;
    add_secret(&env->node[0], secret);
    add_secret(b, secret);
    peer_start(env, 0);
    peer_start(env, 1);
    peer_send_bytes(&env->node[0], &b->member, body, max - 117, SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->last_len, max - 117);
    peer_send_bytes(&env->node[0], &b->member, body, max - 116, SYNC, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    CU_ASSERT_NOT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->packets, 1);
    free(body);
    peer_env_end(env);
}

static void test_rotation(void)
{
    peer_env_t *env = peer_env();

    add_secret(&env->node[0], another);
    add_secret(&env->node[0], secret);
    add_secret(&env->node[1], secret);
    add_secret(&env->node[1], another);
    peer_start(env, 0);
    peer_start(env, 1);
    CU_ASSERT_EQUAL(send_one(env, "x", SYNC), APR_SUCCESS);
    CU_ASSERT_EQUAL(env->node[1].packets, 1);
    peer_env_end(env);
}

/* ---- not members ---------------------------------------------------------------------------- */

/** Another secret, or one on one side only: nothing gets through, counters and logs tell. */
static void test_not_the_same(void)
{
    static const struct {
        const char *a, *b, *says;
    } v[] = {
        {secret, another, "another secret"},
        {secret, NULL, "this node has none"},
        {NULL, secret, "does it have a SessionClusterSecret"},
    };
    apr_size_t i;

    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        peer_env_t *env = nodes(v[i].a, v[i].b);
        peer_node_t *b = &env->node[1];

        CU_ASSERT_NOT_EQUAL(send_one(env, "x", SYNC), APR_SUCCESS);
        CU_ASSERT_NOT_EQUAL(probe_one(env, &b->member, SYNC), APR_SUCCESS);
        CU_ASSERT_EQUAL(b->packets, 0);
        CU_ASSERT_EQUAL(b->board.count.proven, 0);
        CU_ASSERT(b->board.count.strangers + b->board.count.frames_refused >= 2);
        CU_ASSERT_PTR_NOT_NULL(strstr(b->log, v[i].says));
        peer_env_end(env);
    }
}

/** A member of another unique id than the one that is meant is not the one; and nobody speaks for
 *  another one. */
static void test_identity(void)
{
    peer_env_t *env = nodes(secret, secret);
    peer_node_t *b = &env->node[1];
    sc_member_t m = b->member;

    m.uid.b[0] = 77; /* a former life at the same address */
    CU_ASSERT_NOT_EQUAL(probe_one(env, &m, 0), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(probe_one(env, &m, SYNC), APR_SUCCESS);
    CU_ASSERT_EQUAL(b->board.count.strangers, 0); /* it has the secret */
    CU_ASSERT_EQUAL(b->board.count.misdirected, 2);
    memset(&m.uid, 0, sizeof(m.uid)); /* of a static list */
    CU_ASSERT_EQUAL(probe_one(env, &m, SYNC), APR_SUCCESS);
    CU_ASSERT_EQUAL(b->packets, 1);
    env->node[0].member.uid.b[5] = 1; /* what its packets say from now on */
    CU_ASSERT_NOT_EQUAL(send_one(env, "x", SYNC), APR_SUCCESS);
    CU_ASSERT_EQUAL(b->packets, 1);
    CU_ASSERT_EQUAL(b->board.count.frames_forged, 2); /* maxRetryAttempts is 1 */
    CU_ASSERT_PTR_NOT_NULL(strstr(b->log, "SC0474"));
    peer_env_end(env);
}

static void test_garbage(void)
{
    static const struct {
        const char *bytes;
        size_t len;
    } v[] = {
        {"GET / HTTP/1.0\r\n\r\n", 18}, {"FLT2002\x40\0\0\0", 11}, /* 1 GiB */
        {"FLT2002\0\0\0\x6f", 11},      {"FLT2002\0\0\0\x6eSCS2", 15}, {"\0", 1},
    };
    peer_env_t *env = nodes(secret, secret);
    peer_node_t *b = &env->node[1];
    apr_uint64_t bytes;
    apr_size_t i;
    int fd;

    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        fd = peer_connect(b);
        CU_ASSERT_EQUAL(send(fd, v[i].bytes, v[i].len, MSG_NOSIGNAL), (ssize_t)v[i].len);
        CU_ASSERT_TRUE(peer_closed(env, fd));
        close(fd);
        CU_ASSERT_EQUAL(b->board.count.strangers, i + 1);
    }
    /* a hello that never ends */
    bytes = b->board.count.bytes_in;
    fd = peer_connect(b);
    CU_ASSERT_EQUAL(send(fd, "FLT2002\0\0\0\x6eSCS1", 15, MSG_NOSIGNAL), 15);
    peer_spin(env, 20);
    CU_ASSERT_EQUAL(recv(fd, &i, 1, MSG_DONTWAIT), -1);
    env->skew += apr_time_from_sec(6);
    CU_ASSERT_TRUE(peer_closed(env, fd));
    close(fd);
    CU_ASSERT_EQUAL(b->board.count.strangers, sizeof(v) / sizeof(v[0]) + 1);
    CU_ASSERT_EQUAL(b->board.count.bytes_in, bytes);
    CU_ASSERT_EQUAL(send_one(env, "x", SYNC), APR_SUCCESS);
    peer_env_end(env);
}

/** Connections that prove nothing: their number is bounded, the oldest goes, members stay. */
static void test_half_open(void)
{
    enum { N = STRANGERS_MAX + 60 };
    peer_env_t *env = nodes(secret, secret);
    peer_node_t *b = &env->node[1];
    int fd[N];
    char byte;
    int open = 0;
    int i;

    CU_ASSERT_EQUAL(send_one(env, "x", SYNC), APR_SUCCESS);
    for (i = 0; i < N; i++) {
        fd[i] = peer_connect(b);
        peer_spin(env, 1);
    }
    for (i = 0; i < 1000 && b->board.count.strangers < 60; i++) {
        peer_spin(env, 1);
    }
    CU_ASSERT_EQUAL(b->board.count.strangers, 60);
    for (i = 0; i < N; i++) {
        int alive = recv(fd[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;

        CU_ASSERT_EQUAL(alive, i >= 60);
        open += alive;
    }
    CU_ASSERT_EQUAL(open, STRANGERS_MAX);
    CU_ASSERT_EQUAL(send_one(env, "y", SYNC), APR_SUCCESS);         /* on the connection it has */
    CU_ASSERT_EQUAL(probe_one(env, &b->member, SYNC), APR_SUCCESS); /* on a new one */
    CU_ASSERT_EQUAL(b->packets, 3);
    for (i = 0; i < N; i++) {
        close(fd[i]);
    }
    peer_env_end(env);
}

/** Who goes away without a word has done nothing wrong. */
static void test_unfinished(void)
{
    peer_env_t *env = nodes(secret, secret);
    peer_node_t *b = &env->node[1];
    int i;

    for (i = 0; i < 3; i++) {
        close(peer_connect(b));
    }
    for (i = 0; i < 1000 && b->board.count.unfinished < 3; i++) {
        peer_spin(env, 1);
    }
    CU_ASSERT_EQUAL(b->board.count.unfinished, 3);
    CU_ASSERT_EQUAL(b->board.count.strangers, 0);
    CU_ASSERT_PTR_NULL(strstr(b->log, "SC0473"));
    CU_ASSERT_EQUAL(send_one(env, "x", SYNC), APR_SUCCESS);
    peer_env_end(env);
}

static int is_open(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/** A crowd drives out itself, also where IPv4 comes as IPv6. */
static void test_crowd(void)
{
    static const char *const listens[] = {"127.0.0.1", "0.0.0.0", "::"};
    apr_size_t k;

    for (k = 0; k < sizeof(listens) / sizeof(listens[0]); k++) {
        peer_env_t *env = peer_env();
        peer_node_t *b = &env->node[1];
        int fd[STRANGERS_MAX];
        int alone;
        int i;

        add_secret(&env->node[0], secret);
        add_secret(b, secret);
        b->listens = listens[k];
        peer_start(env, 0);
        peer_start(env, 1);
        alone = peer_connect_from(b, 7);
        for (i = 0; i < STRANGERS_MAX; i++) {
            fd[i] = peer_connect(b);
            peer_spin(env, 1);
        }
        CU_ASSERT_TRUE(peer_closed(env, fd[0]));
        CU_ASSERT_TRUE(is_open(alone));
        CU_ASSERT_EQUAL(b->board.count.strangers, 1);
        close(alone);
        for (i = 0; i < STRANGERS_MAX; i++) {
            CU_ASSERT_EQUAL(is_open(fd[i]), i > 0);
            close(fd[i]);
        }
        peer_env_end(env);
    }
}

/** Silent ones from everywhere: a member, which comes with more than one connection from one
 *  address, but says hello, is not driven out. */
static void test_scattered(void)
{
    peer_env_t *env = nodes(secret, secret);
    peer_node_t *b = &env->node[1];
    rig_end_t end[4];
    int fd[STRANGERS_MAX];
    int i;

    memset(end, 0, sizeof(end));
    for (i = 0; i < STRANGERS_MAX; i++) {
        fd[i] = peer_connect_from(b, (apr_uint32_t)i + 1);
        peer_spin(env, 1);
    }
    env->skew += apr_time_from_msec(100);
    for (i = 0; i < 3; i++) {
        peer_probe(&env->node[0], &b->member, SYNC, 5000, &end[i]);
    }
    peer_send(&env->node[0], &b->member, "x", SYNC, &end[3]);
    for (i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(peer_wait(env, &end[i].calls, 1));
        CU_ASSERT_EQUAL(end[i].rv, APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(b->board.count.proven, 4); /* none needed a second attempt */
    for (i = 0; i < STRANGERS_MAX; i++) {
        close(fd[i]);
    }
    peer_env_end(env);
}

/** maxConnections counts members only. */
static void test_most_members(void)
{
    peer_env_t *env = peer_env();
    rig_end_t end[3];
    int fd[20];
    int i;

    memset(end, 0, sizeof(end));
    env->node[3].config.receiver.max_connections = 2;
    for (i = 0; i < PEER_NODES; i++) {
        add_secret(&env->node[i], secret);
        env->node[i].config.sender.max_retries = 0;
        peer_start(env, i);
    }
    for (i = 0; i < 20; i++) {
        fd[i] = peer_connect(&env->node[3]);
    }
    for (i = 0; i < 3; i++) {
        peer_send(&env->node[i], &env->node[3].member, "x", SYNC, &end[i]);
        CU_ASSERT_TRUE(peer_wait(env, &end[i].calls, 1));
        CU_ASSERT_EQUAL(end[i].rv == APR_SUCCESS, i < 2);
    }
    CU_ASSERT_PTR_NOT_NULL(strstr(env->node[3].log, "SC0452"));
    for (i = 0; i < 20; i++) {
        close(fd[i]);
    }
    peer_env_end(env);
}

/* ---- somebody in the middle ----------------------------------------------------------------- */

typedef struct middle_t {
    int listener;
    int to_a;
    int to_b;
    apr_size_t passed[2]; /* bytes from a to b, from b to a */
    apr_size_t flip[2];   /* the byte that gets a wrong bit; APR_SIZE_MAX: none */
    int saw;              /* the text, in the clear */
} middle_t;

static void pass(middle_t *m, int from, int to, int way)
{
    char bytes[2048];
    ssize_t n = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n == 0) {
        shutdown(to, SHUT_WR);
    }
    if (n <= 0) {
        return;
    }
    m->saw |= memmem(bytes, (size_t)n, "hello tribes", 12) != NULL;
    if (m->flip[way] >= m->passed[way] && m->flip[way] < m->passed[way] + (apr_size_t)n) {
        bytes[m->flip[way] - m->passed[way]] ^= 0x10;
    }
    m->passed[way] += (apr_size_t)n;
    (void)send(to, bytes, (size_t)n, MSG_NOSIGNAL);
}

/** One send through the middle. @return how it ended */
static apr_status_t send_through(peer_env_t *env, middle_t *m, const sc_member_t *to)
{
    peer_node_t *a = &env->node[0];
    rig_end_t end = {0, APR_EGENERAL};
    apr_time_t until = sc_mono(&sc_clock_system) + apr_time_from_sec(20);

    m->passed[0] = m->passed[1] = 0;
    peer_send(a, to, "hello tribes", SYNC, &end);
    m->to_a = peer_accept(env, m->listener);
    m->to_b = peer_connect(&env->node[1]);
    CU_ASSERT_FATAL(m->to_a >= 0);
    while (end.calls == 0 && sc_mono(&sc_clock_system) < until) {
        pass(m, m->to_a, m->to_b, 0);
        pass(m, m->to_b, m->to_a, 1);
        CU_ASSERT_EQUAL_FATAL(sc_loop_once(env->loop, 0), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(end.calls, 1);
    close(m->to_a);
    close(m->to_b);
    a->t->forget(a->t->ctx, to);
    peer_spin(env, 2);
    return end.rv;
}

/** Each byte, both ways: never is something else believed than what was said. */
static void test_middle(void)
{
    peer_env_t *env = nodes(secret, secret);
    peer_node_t *b = &env->node[1];
    middle_t m = {0};
    apr_size_t length[2];
    sc_member_t to;
    int way;

    env->node[0].config.sender.max_retries = 0;
    env->node[0].config.sender.timeout_ms = 1000; /* a changed length is waited for */
    m.listener = peer_listen(&to);
    to.uid = b->member.uid;
    m.flip[0] = m.flip[1] = APR_SIZE_MAX;
    CU_ASSERT_EQUAL(send_through(env, &m, &to), APR_SUCCESS);
    CU_ASSERT_EQUAL(b->packets, 1);
    CU_ASSERT_FALSE(m.saw);
    memcpy(length, m.passed, sizeof(length));
    CU_ASSERT(length[0] > 300 && length[1] > 100);
    for (way = 0; way < 2; way++) {
        apr_size_t at;

        for (at = 0; at < length[way]; at++) {
            int before = b->packets;

            m.flip[0] = m.flip[1] = APR_SIZE_MAX;
            m.flip[way] = at;
            CU_ASSERT_NOT_EQUAL(send_through(env, &m, &to), APR_SUCCESS);
            if (way == 0 || at < length[1] - SC_SEALED_ACK) {
                CU_ASSERT_EQUAL(b->packets, before);
            } else {
                CU_ASSERT_EQUAL(b->packets, before + 1); /* read, but its answer does not count */
            }
            CU_ASSERT_STRING_EQUAL(b->last, "hello tribes");
        }
    }
    CU_ASSERT(b->board.count.frames_forged > 100);
    CU_ASSERT(env->node[0].board.count.frames_forged >= SC_SEALED_ACK);
    CU_ASSERT(b->board.count.strangers > 100);
    m.flip[0] = m.flip[1] = APR_SIZE_MAX;
    CU_ASSERT_EQUAL(send_through(env, &m, &to), APR_SUCCESS);
    close(m.listener);
    peer_env_end(env);
}

void sc_suite_secret_net(CU_pSuite s)
{
    CU_add_test(s, "net: members", test_members);
    CU_add_test(s, "a secret: messages in datagrams", test_datagram_messages);
    CU_add_test(s, "net: many frames in order", test_many);
    CU_add_test(s, "net: the largest frame", test_largest);
    CU_add_test(s, "net: two secrets at once", test_rotation);
    CU_add_test(s, "net: not the same secret", test_not_the_same);
    CU_add_test(s, "net: who is meant, and who speaks", test_identity);
    CU_add_test(s, "net: no handshake", test_garbage);
    CU_add_test(s, "net: connections that prove nothing", test_half_open);
    CU_add_test(s, "net: closed by the other side", test_unfinished);
    CU_add_test(s, "net: many from one address", test_crowd);
    CU_add_test(s, "net: one each from many addresses", test_scattered);
    CU_add_test(s, "net: as many members as may be", test_most_members);
    CU_add_test(s, "net: somebody in the middle", test_middle);
}
