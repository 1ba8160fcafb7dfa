/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Part of the transport's tests: messages in datagrams, the resolver's process, sockets' options,
 * and connections that end after their time.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "../../src/channel/net.h"
#include "net_peer.h"

void sc_suite_transport_udp(CU_pSuite s);

/* ---- datagrams ------------------------------------------------------------------------------ */

/** Two nodes, the second with a UDP receiver. */
static peer_env_t *pair(void)
{
    peer_env_t *env = peer_env();

    peer_start(env, 0);
    strcpy(env->node[1].config.receiver.address, "127.0.0.1");
    env->node[1].config.receiver.udp_port = 20000 + (apr_uint32_t)getpid() % 30000;
    env->node[1].config.receiver.udp_tries = 1000;
    peer_start(env, 1);
    CU_ASSERT_FATAL(env->node[1].member.udp_port > 0);
    return env;
}

static int udp_socket(struct sockaddr_in *a)
{
    socklen_t len = sizeof(*a);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memset(a, 0, sizeof(*a));
    a->sin_family = AF_INET;
    a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)a, sizeof(*a)), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)a, &len), 0);
    return fd;
}

static void test_udp_options(void)
{
    peer_env_t *env = pair();
    peer_node_t *b = &env->node[1];
    rig_end_t end = {0, APR_EGENERAL};

    peer_send(&env->node[0], &b->member, "plain", SC_OPT_UDP, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &b->packets, 1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(b->last, "plain");
    CU_ASSERT_EQUAL(b->last_options, SC_OPT_UDP | SC_OPT_BYTE_MESSAGE);
    peer_send(&env->node[0], &b->member, "acked", SC_OPT_UDP | 2, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(b->last, "acked");
    /* refused: once more the identical frame, as on a connection */
    b->refusals = 1;
    peer_send(&env->node[0], &b->member, "again", SC_OPT_UDP | 6, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 3));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->packets, 4);
    b->refusals = -1;
    peer_send(&env->node[0], &b->member, "never", SC_OPT_UDP | 6, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 4));
    CU_ASSERT_EQUAL(end.rv, APR_EGENERAL);
    CU_ASSERT_EQUAL(b->packets, 6);
    /* 4 without 2 waits for nothing */
    peer_send(&env->node[0], &b->member, "unasked", SC_OPT_UDP | 4, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 5));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    peer_env_end(env);
}

static void test_udp_failures(void)
{
    peer_env_t *env = pair();
    peer_node_t *a = &env->node[0];
    sc_member_t nobody = env->node[1].member;
    rig_end_t end = {0, APR_SUCCESS};
    struct sockaddr_in at;
    char *big = malloc(70000);
    int fd = udp_socket(&at);

    nobody.udp_port = -1;
    peer_send(a, &nobody, "x", SC_OPT_UDP, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_EINVAL);
    memset(big, 'b', 70000);
    peer_send_bytes(a, &env->node[1].member, big, 70000, SC_OPT_UDP, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    CU_ASSERT_EQUAL(end.rv, EMSGSIZE);
    peer_send_bytes(a, &env->node[1].member, big, 60000, SC_OPT_UDP | 2, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 3));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(env->node[1].last_len, 60000);
    free(big);
    /* somebody who listens and says nothing, or nonsense */
    nobody.udp_port = ntohs(at.sin_port);
    a->config.sender.timeout_ms = 300;
    peer_send(a, &nobody, "hello?", SC_OPT_UDP | 2, &end);
    {
        char in[2048];
        struct sockaddr_in from;
        socklen_t len = sizeof(from);

        CU_ASSERT_FATAL(recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *)&from, &len) > 100);
        CU_ASSERT_EQUAL(sendto(fd, "what?", 5, 0, (struct sockaddr *)&from, len), 5);
        peer_spin(env, 10);
        CU_ASSERT_EQUAL(end.calls, 3);
        /* an acknowledgement from elsewhere is none */
        {
            struct sockaddr_in other;
            int stranger = udp_socket(&other);

            (void)sendto(stranger, sc_frame_ack(0), SC_ACK_FRAME, 0, (struct sockaddr *)&from, len);
            peer_spin(env, 10);
            CU_ASSERT_EQUAL(end.calls, 3);
            close(stranger);
        }
    }
    env->skew += apr_time_from_sec(1);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 4));
    CU_ASSERT_EQUAL(end.rv, APR_TIMEUP);
    /* nobody listens: the machine says so */
    close(fd);
    a->config.sender.timeout_ms = 5000;
    peer_send(a, &nobody, "hello?", SC_OPT_UDP | 2, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 5));
    CU_ASSERT_EQUAL(end.rv, ECONNREFUSED);
    peer_env_end(env);
}

/** What is under way when the member is forgotten, or everything ends. */
static void test_udp_ends(void)
{
    peer_env_t *env = pair();
    peer_node_t *a = &env->node[0];
    sc_member_t silent = env->node[1].member;
    rig_end_t end = {0, APR_SUCCESS};
    struct sockaddr_in at;
    int fd = udp_socket(&at);
    int i;

    silent.udp_port = ntohs(at.sin_port);
    silent.uid.b[7] = 1;
    peer_send(a, &silent, "x", SC_OPT_UDP | 2, &end);
    a->t->forget(a->t->ctx, &env->node[1].member); /* another one */
    peer_spin(env, 3);
    CU_ASSERT_EQUAL(end.calls, 0);
    a->t->forget(a->t->ctx, &silent);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_ECONNABORTED);
    /* more than may wait */
    for (i = 0; i < 80; i++) {
        peer_send(a, &silent, "x", SC_OPT_UDP | 2, &end);
    }
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 17));
    CU_ASSERT_EQUAL(end.rv, APR_ENOSPC);
    peer_spin(env, 3);
    CU_ASSERT_EQUAL(end.calls, 17);
    peer_stop(env, 0);
    CU_ASSERT_EQUAL(end.calls, 81); /* within the call */
    CU_ASSERT_EQUAL(end.rv, APR_ECONNABORTED);
    close(fd);
    peer_env_end(env);
}

static void test_udp_garbage(void)
{
    peer_env_t *env = pair();
    peer_node_t *b = &env->node[1];
    struct sockaddr_in at;
    struct sockaddr_in to;
    int fd = udp_socket(&at);
    sc_buf_t f;
    int seen;

    to = at;
    to.sin_port = htons((apr_uint16_t)b->member.udp_port);
    peer_frame(&f, "good", 0);
    (void)sendto(fd, "garbage", 7, 0, (struct sockaddr *)&to, sizeof(to));
    (void)sendto(fd, "", 0, 0, (struct sockaddr *)&to, sizeof(to));
    (void)sendto(fd, f.data, f.len - 1, 0, (struct sockaddr *)&to, sizeof(to));
    (void)sendto(fd, sc_frame_ack(0), SC_ACK_FRAME, 0, (struct sockaddr *)&to, sizeof(to));
    /* two in one: both are taken */
    sc_buf_reserve(&f, f.len);
    memcpy(f.data + f.len, f.data, f.len);
    (void)sendto(fd, f.data, 2 * f.len, 0, (struct sockaddr *)&to, sizeof(to));
    seen = peer_wait(env, &b->packets, 2);
    CU_ASSERT_TRUE(seen);
    CU_ASSERT_EQUAL(b->packets, 2);
    CU_ASSERT_EQUAL(b->board.count.datagrams_refused, 4);
    CU_ASSERT_PTR_NOT_NULL(strstr(b->log, "SC0439"));
    CU_ASSERT_PTR_NULL(strstr(strstr(b->log, "SC0439") + 1, "SC0439"));
    sc_buf_free(&f);
    close(fd);
    peer_env_end(env);
}

/** autoBind; and a port that cannot be had is said, and announced by nobody. */
static void test_udp_ports(void)
{
    peer_env_t *env = pair();
    peer_node_t *c = &env->node[2];
    apr_uint32_t taken = (apr_uint32_t)env->node[1].member.udp_port;

    strcpy(c->config.receiver.address, "127.0.0.1");
    c->config.receiver.udp_port = taken;
    c->config.receiver.udp_tries = 500;
    peer_start(env, 2);
    CU_ASSERT(c->member.udp_port > (int)taken);
    peer_stop(env, 2);
    c->config.receiver.udp_tries = 1;
    peer_start(env, 2);
    CU_ASSERT_EQUAL(c->member.udp_port, -1);
    CU_ASSERT_PTR_NOT_NULL(strstr(c->log, "SC0438"));
    CU_ASSERT_EQUAL(env->node[0].member.udp_port, -1); /* none was asked for */
    peer_env_end(env);
}

/* ---- the resolver --------------------------------------------------------------------------- */

typedef struct found_t {
    int calls;
    apr_status_t rv;
    apr_size_t n;
    sc_address_t first;
} found_t;

static void resolved(void *baton, apr_status_t rv, const sc_address_t *found, apr_size_t n)
{
    found_t *f = baton;

    f->calls++;
    f->rv = rv;
    f->n = n;
    if (n > 0) {
        f->first = found[0];
    }
}

/** The resolver's process; 0: there is none. */
static pid_t helper(void)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    while ((entry = readdir(dir)) != NULL) {
        char path[300];
        char comm[32] = "";
        int pid = atoi(entry->d_name);
        int parent = 0;
        char state = 'Z';
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        f = pid > 0 ? fopen(path, "r") : NULL;
        if (f == NULL) {
            continue;
        }
        if (fscanf(f, "%*d (%31[^)]) %c %d", comm, &state, &parent) == 3 &&
            strcmp(comm, "session-resolve") == 0 && parent == (int)getpid() && state != 'Z') {
            found = pid;
        }
        fclose(f);
    }
    closedir(dir);
    return found;
}

/** Sockets that a process has open; valgrind opens files of its own. */
static int open_sockets(pid_t pid)
{
    struct dirent *entry;
    char path[64], file[384], what[64];
    DIR *dir;
    int n = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        ssize_t len;

        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        len = readlink(file, what, sizeof(what));
        n += len > 7 && memcmp(what, "socket:", 7) == 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return n;
}

/** Ended, though perhaps not taken leave of yet. */
static int has_ended(pid_t pid)
{
    apr_time_t end = sc_mono(&sc_clock_system) + apr_time_from_sec(10);

    while (helper() == pid && sc_mono(&sc_clock_system) < end) {
        apr_sleep(1000);
    }
    return helper() != pid;
}

static void test_resolver(void)
{
    peer_env_t *env = peer_env();
    peer_node_t *n = &env->node[0];
    found_t found = {0, APR_EGENERAL, 0, {0, {0}}};
    found_t other = {0, APR_EGENERAL, 0, {0, {0}}};
    pid_t first;

    peer_start(env, 0);
    CU_ASSERT_EQUAL(helper(), 0); /* whoever needs none has none */
    CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "", resolved, &found), APR_EINVAL);
    CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "127.0.0.5", resolved, &found), APR_SUCCESS);
    CU_ASSERT_EQUAL(found.calls, 0);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &found.calls, 1));
    CU_ASSERT_EQUAL(found.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(found.n, 1);
    CU_ASSERT_EQUAL(found.first.len, 4);
    CU_ASSERT_EQUAL(memcmp(found.first.host, "\177\0\0\5", 4), 0);
    first = helper();
    CU_ASSERT_FATAL(first > 0);
    CU_ASSERT_EQUAL(open_sockets(first), 1); /* its own end, and none of this process's */
    CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "::1", resolved, &found), APR_SUCCESS);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &found.calls, 2));
    CU_ASSERT_EQUAL(found.first.len, 16);
    CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "localhost", resolved, &found), APR_SUCCESS);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &found.calls, 3));
    CU_ASSERT_EQUAL(found.rv, APR_SUCCESS);
    CU_ASSERT(found.n >= 1);
    CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "no such name", resolved, &found), APR_SUCCESS);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &found.calls, 4));
    CU_ASSERT_NOT_EQUAL(found.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(found.n, 0);
    CU_ASSERT_EQUAL(helper(), first); /* one process for all questions */
    CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "127.0.0.7", resolved, &other), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "127.0.0.8", resolved, &other), APR_SUCCESS);
    peer_stop(env, 0);
    CU_ASSERT_TRUE(has_ended(first));
    CU_ASSERT_EQUAL(other.calls, 0);
    peer_env_end(env);
}

typedef struct asker_t {
    int *order;
    int turn; /* 0: not told yet */
    apr_status_t rv;
    unsigned char last;
    const sc_transport_t *t; /* not NULL: it asks once more when it is told */
} asker_t;

static void asker_told(void *baton, apr_status_t rv, const sc_address_t *found, apr_size_t n)
{
    asker_t *a = baton;

    a->turn = ++*a->order;
    a->rv = rv;
    a->last = n == 1 ? found[0].host[3] : 0;
    if (a->t != NULL) {
        const sc_transport_t *t = a->t;

        a->t = NULL;
        CU_ASSERT_EQUAL(t->resolve(t->ctx, "127.0.0.99", asker_told, a), APR_SUCCESS);
    }
}

/** Several who ask at a time are answered in turn; one whose question is not answered holds the
 *  others up for its time only. */
static void test_resolver_queue(void)
{
    peer_env_t *env = peer_env();
    peer_node_t *n = &env->node[0];
    int order = 0;
    asker_t asker[9];
    int i;

    peer_start(env, 0);
    memset(asker, 0, sizeof(asker));
    for (i = 0; i < 9; i++) {
        char name[20];

        snprintf(name, sizeof(name), "127.0.0.%d", 10 + i);
        asker[i].order = &order;
        CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, name, asker_told, &asker[i]),
                        i < 8 ? APR_SUCCESS : APR_EBUSY);
    }
    asker[0].t = n->t;
    CU_ASSERT_EQUAL(order, 0);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &order, 9));
    CU_ASSERT_EQUAL(asker[0].turn, 9);
    CU_ASSERT_EQUAL(asker[0].last, 99);
    for (i = 1; i < 8; i++) {
        CU_ASSERT_EQUAL(asker[i].turn, i + 1);
        CU_ASSERT_EQUAL(asker[i].rv, APR_SUCCESS);
        CU_ASSERT_EQUAL(asker[i].last, 10 + i);
    }
    CU_ASSERT_EQUAL(asker[8].turn, 0);
    CU_ASSERT_EQUAL(kill(helper(), SIGSTOP), 0);
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "127.0.0.1", asker_told, &asker[i]), APR_SUCCESS);
    }
    peer_spin(env, 5);
    CU_ASSERT_EQUAL(order, 9);
    env->skew += apr_time_from_sec(13);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &order, 12));
    CU_ASSERT_EQUAL(asker[0].rv, APR_TIMEUP);
    CU_ASSERT_EQUAL(asker[1].rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(asker[2].rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(asker[2].turn, 12);
    peer_env_end(env);
}

/** One that hangs is ended, one that dies is missed; the next question makes another. */
static void test_resolver_lost(void)
{
    peer_env_t *env = peer_env();
    peer_node_t *n = &env->node[0];
    found_t found = {0, APR_SUCCESS, 0, {0, {0}}};
    pid_t first;
    int i;

    peer_start(env, 0);
    for (i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL_FATAL(n->t->resolve(n->t->ctx, "127.0.0.1", resolved, &found), APR_SUCCESS);
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &found.calls, 2 * i + 1));
        CU_ASSERT_EQUAL(found.rv, APR_SUCCESS);
        first = helper();
        CU_ASSERT_FATAL(first > 0);
        CU_ASSERT_EQUAL(kill(first, SIGSTOP), 0);
        CU_ASSERT_EQUAL_FATAL(n->t->resolve(n->t->ctx, "127.0.0.1", resolved, &found), APR_SUCCESS);
        if (i % 2 == 0) {
            peer_spin(env, 5);
            CU_ASSERT_EQUAL(found.calls, 2 * i + 1);
            env->skew += apr_time_from_sec(13);
        } else {
            CU_ASSERT_EQUAL(kill(first, SIGKILL), 0);
        }
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &found.calls, 2 * i + 2));
        CU_ASSERT_EQUAL(found.rv, i % 2 == 0 ? APR_TIMEUP : APR_EGENERAL);
        CU_ASSERT_TRUE(has_ended(first));
    }
    /* asked and not told any more */
    CU_ASSERT_EQUAL(n->t->resolve(n->t->ctx, "127.0.0.1", resolved, &found), APR_SUCCESS);
    i = found.calls;
    for (first = 0; first == 0; first = helper()) { /* it gives itself its name */
    }
    peer_stop(env, 0);
    CU_ASSERT_EQUAL(found.calls, i);
    CU_ASSERT_TRUE(has_ended(first));
    peer_env_end(env);
}

/* ---- connections ---------------------------------------------------------------------------- */

static int option(int fd, int level, int name)
{
    socklen_t len = sizeof(int);
    int value = -1;

    CU_ASSERT_EQUAL(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void test_socket_options(void)
{
    sc_config_sock_t c;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int v6 = socket(AF_INET6, SOCK_STREAM, 0);
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    int before = option(fd, SOL_SOCKET, SO_RCVBUF);

    memset(&c, 0, sizeof(c));
    sc_sock_tune(fd, &c);
    CU_ASSERT_EQUAL(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    CU_ASSERT_EQUAL(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    CU_ASSERT_EQUAL(option(fd, IPPROTO_IP, IP_TOS), 0);
    CU_ASSERT_EQUAL(option(fd, SOL_SOCKET, SO_RCVBUF), before);
    c.delay = c.no_keepalive = 1;
    c.traffic_class = 0x1C;
    c.rx_buf = 20000;
    c.tx_buf = 30000;
    c.udp_rx_buf = 40000;
    c.udp_tx_buf = 50000;
    sc_sock_tune(fd, &c);
    CU_ASSERT_EQUAL(option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    CU_ASSERT_EQUAL(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    CU_ASSERT_EQUAL(option(fd, IPPROTO_IP, IP_TOS), 0x1C);
    CU_ASSERT_EQUAL(option(fd, SOL_SOCKET, SO_RCVBUF), 40000); /* the kernel doubles it */
    CU_ASSERT_EQUAL(option(fd, SOL_SOCKET, SO_SNDBUF), 60000);
    sc_sock_tune_udp(udp, &c);
    CU_ASSERT_EQUAL(option(udp, SOL_SOCKET, SO_RCVBUF), 80000);
    CU_ASSERT_EQUAL(option(udp, SOL_SOCKET, SO_SNDBUF), 100000);
    if (v6 >= 0) {
        sc_sock_tune(v6, &c);
        CU_ASSERT_EQUAL(option(v6, IPPROTO_IPV6, IPV6_TCLASS), 0x1C);
        close(v6);
    }
    close(fd);
    close(udp);
}

/** Frames go out in order, each acknowledged, whatever becomes of the connections. */
static void test_keep_alive_count(void)
{
    peer_env_t *env = peer_env();
    rig_end_t end = {0, APR_EGENERAL};
    sc_member_t m;
    int fd = peer_listen(&m);
    int i;

    env->node[0].config.sender.keep_count = 1; /* closed when more than one was sent on it */
    peer_start(env, 0);
    for (i = 0; i < 6; i++) {
        peer_send(&env->node[0], &m, "hello", i % 2 ? 2 : 0, &end);
    }
    for (i = 0; i < 3; i++) {
        int conn = peer_accept(env, fd);
        char *in = malloc(4096);
        apr_size_t size;
        int ends = 0;

        CU_ASSERT_FATAL(conn >= 0);
        /* two frames, each with its end mark */
        for (size = 0; ends < 2; size++) {
            CU_ASSERT_FATAL(size < 4096);
            CU_ASSERT_TRUE_FATAL(peer_read(env, conn, in + size, 1));
            ends += size >= 6 && memcmp(in + size - 6, "TLF2003", 7) == 0;
        }
        CU_ASSERT_EQUAL(send(conn, sc_frame_ack(0), SC_ACK_FRAME, 0), SC_ACK_FRAME);
        CU_ASSERT_TRUE(peer_closed(env, conn));
        close(conn);
        free(in);
    }
    CU_ASSERT_TRUE(peer_wait(env, &end.calls, 6));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    close(fd);
    peer_env_end(env);
}

/** Not while a frame waits for its acknowledgement, though the one before was the last allowed. */
static void test_keep_alive_awaits(void)
{
    peer_env_t *env = peer_env();
    rig_end_t end = {0, APR_EGENERAL};
    char in[4096];
    sc_member_t m;
    int fd = peer_listen(&m);
    apr_size_t size;
    int ends = 0;
    int conn;

    env->node[0].config.sender.keep_count = 0;
    peer_start(env, 0);
    peer_send(&env->node[0], &m, "first", 0, &end);
    peer_send(&env->node[0], &m, "second", 2, &end);
    conn = peer_accept(env, fd);
    CU_ASSERT_FATAL(conn >= 0);
    for (size = 0; ends < 2; size++) {
        CU_ASSERT_FATAL(size < sizeof(in));
        CU_ASSERT_TRUE_FATAL(peer_read(env, conn, in + size, 1));
        ends += size >= 6 && memcmp(in + size - 6, "TLF2003", 7) == 0;
    }
    CU_ASSERT_EQUAL(send(conn, sc_frame_ack(0), 10, 0), 10);
    peer_spin(env, 10);
    CU_ASSERT_EQUAL(end.calls, 1);
    CU_ASSERT_EQUAL(send(conn, sc_frame_ack(0) + 10, SC_ACK_FRAME - 10, MSG_NOSIGNAL),
                    SC_ACK_FRAME - 10);
    CU_ASSERT_TRUE(peer_wait(env, &end.calls, 2));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(accept4(fd, NULL, NULL, SOCK_NONBLOCK), -1); /* nothing was sent again */
    CU_ASSERT_TRUE(peer_closed(env, conn));
    close(conn);
    close(fd);
    peer_env_end(env);
}

static void test_keep_alive_time(void)
{
    peer_env_t *env = peer_env();
    peer_node_t *a = &env->node[0];
    rig_end_t end = {0, APR_EGENERAL};
    sc_member_t m;
    int fd = peer_listen(&m);
    int conn;

    a->config.sender.keep_ms = 60000;
    peer_start(env, 0);
    peer_send(a, &m, "hello", 0, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    conn = peer_accept(env, fd);
    CU_ASSERT_FATAL(conn >= 0);
    env->skew += apr_time_from_sec(50);
    peer_send(a, &m, "hello", 0, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    peer_spin(env, 5);
    CU_ASSERT_EQUAL(accept4(fd, NULL, NULL, SOCK_NONBLOCK), -1); /* still the same one */
    env->skew += apr_time_from_sec(11);
    CU_ASSERT_TRUE(peer_closed(env, conn)); /* idle, and old enough */
    peer_send(a, &m, "hello", 0, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 3));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    close(conn);
    close(fd);
    peer_env_end(env);
}

/** One member does not read: what waits for it is bounded, and the others do not notice. */
static void test_slow_member(void)
{
    peer_env_t *env = peer_env();
    peer_node_t *a = &env->node[0];
    rig_end_t stuck = {0, APR_SUCCESS};
    rig_end_t end = {0, APR_EGENERAL};
    char *block = malloc(64 * 1024);
    apr_uint64_t bytes = 0;
    apr_uint32_t frames = 0;
    sc_member_t m;
    int fd = peer_listen(&m); /* the kernel accepts for it */
    int i;

    memset(block, 'b', 64 * 1024);
    a->config.sender.max_queue = 256 * 1024;
    peer_start(env, 0);
    peer_start(env, 1);
    for (i = 0; i < 400; i++) {
        peer_send_bytes(a, &m, block, 64 * 1024, 0, &stuck);
        peer_send_bytes(a, &env->node[1].member, block, 1024, 6, &end);
        CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, i + 1));
        CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
        a->t->queued(a->t->ctx, &m, &bytes, &frames);
        CU_ASSERT(bytes <= 2 * 256 * 1024 + 64 * 1024 + 1024);
    }
    CU_ASSERT_EQUAL(env->node[1].packets, 400);
    CU_ASSERT(stuck.calls >= 400 - 80); /* some went into the kernel's buffers, the rest is over */
    CU_ASSERT_EQUAL(stuck.rv, APR_ENOSPC);
    free(block);
    close(fd);
    peer_env_end(env);
}

void sc_suite_transport_udp(CU_pSuite s)
{
    CU_add_test(s, "udp: send options", test_udp_options);
    CU_add_test(s, "udp: what fails", test_udp_failures);
    CU_add_test(s, "udp: forget and close", test_udp_ends);
    CU_add_test(s, "udp: garbage", test_udp_garbage);
    CU_add_test(s, "udp: ports", test_udp_ports);
    CU_add_test(s, "resolver", test_resolver);
    CU_add_test(s, "resolver: several who ask", test_resolver_queue);
    CU_add_test(s, "resolver: hangs, dies", test_resolver_lost);
    CU_add_test(s, "options of sockets", test_socket_options);
    CU_add_test(s, "keepAliveCount", test_keep_alive_count);
    CU_add_test(s, "keepAliveCount and an acknowledgement", test_keep_alive_awaits);
    CU_add_test(s, "keepAliveTime", test_keep_alive_time);
    CU_add_test(s, "a member that does not read", test_slow_member);
}
