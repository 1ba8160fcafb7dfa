/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Part of the transport's tests: listening, the group, and whole channels on real sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "net_peer.h"

void sc_suite_transport_group(CU_pSuite s);

/* ---- listening ------------------------------------------------------------------------------ */

static void test_listen(void)
{
    apr_uint32_t port = 0;
    apr_uint32_t next;
    int first = -1;
    int fd = -1;

    CU_ASSERT_EQUAL_FATAL(sc_receiver_listen("127.0.0.1", &port, 100, &first), APR_SUCCESS);
    CU_ASSERT(port > 0 && port < 65536);
    CU_ASSERT(fcntl(first, F_GETFD) & FD_CLOEXEC);
    CU_ASSERT(fcntl(first, F_GETFL) & O_NONBLOCK);
    next = port;
    CU_ASSERT_EQUAL(sc_receiver_listen("127.0.0.1", &next, 1, &fd), EADDRINUSE);
    CU_ASSERT_EQUAL(fd, -1);
    CU_ASSERT_EQUAL(sc_receiver_listen("127.0.0.1", &next, 0, &fd), EADDRINUSE);
    next = port;
    CU_ASSERT_EQUAL(sc_receiver_listen("127.0.0.1", &next, 100, &fd), APR_SUCCESS);
    CU_ASSERT(next > port && next < port + 100);
    close(fd);
    next = 70000;
    CU_ASSERT_EQUAL(sc_receiver_listen("127.0.0.1", &next, 1, &fd), APR_EINVAL);
    next = port;
    CU_ASSERT_EQUAL(sc_receiver_listen("localhost", &next, 1, &fd), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_receiver_listen("", &next, 1, &fd), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_receiver_listen("192.0.2.77", &next, 100, &fd), EADDRNOTAVAIL);
    CU_ASSERT_EQUAL(fd, -1);
    close(first);
    next = 0;
    if (sc_receiver_listen("::1", &next, 1, &fd) == APR_SUCCESS) {
        CU_ASSERT(next > 0);
        close(fd);
    }
}

static void test_auto(void)
{
    char address[SC_HOST_MAX + 1];
    sc_config_t *c = malloc(sizeof(*c));
    apr_pool_t *pool;
    sc_member_t m;

    apr_pool_create(&pool, NULL);
    sc_config_defaults(c);
    CU_ASSERT_EQUAL(sc_receiver_auto(c, address, pool), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(address, "127.0.0.1");
    c->membership = SC_MEMBERSHIP_MULTICAST;
    strcpy(c->mcast.bind, "127.0.0.1");
    CU_ASSERT_EQUAL(sc_receiver_auto(c, address, pool), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(address, "127.0.0.1");
    c->mcast.bind[0] = '\0';
    if (sc_receiver_auto(c, address, pool) == APR_SUCCESS) { /* needs a route */
        memset(&m, 0, sizeof(m));
        m.port = 1;
        CU_ASSERT_EQUAL(sc_member_set_host(&m, address), APR_SUCCESS);
        CU_ASSERT_TRUE(sc_member_usable(&m));
    }
    c->membership = SC_MEMBERSHIP_STATIC;
    CU_ASSERT_NOT_EQUAL(sc_receiver_auto(c, address, pool), APR_SUCCESS); /* towards nobody */
    c->nmembers = 2;
    strcpy(c->member[0].host, "no.such.name.invalid");
    c->member[0].port = 4000;
    strcpy(c->member[1].host, "127.0.0.1");
    c->member[1].port = 4000;
    CU_ASSERT_EQUAL(sc_receiver_auto(c, address, pool), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(address, "127.0.0.1");
    /* a name without an address: what is found towards the world is marked as a guess */
    c->membership = SC_MEMBERSHIP_DNS;
    strcpy(c->dns.name, "no.such.name.invalid");
    c->dns.port = 4000;
    CU_ASSERT_NOT_EQUAL(sc_receiver_auto(c, address, pool), APR_SUCCESS);
    strcpy(c->dns.name, "127.0.0.1");
    CU_ASSERT_EQUAL(sc_receiver_auto(c, address, pool), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(address, "127.0.0.1");
    apr_pool_destroy(pool);
    free(c);
}

/* ---- the group ------------------------------------------------------------------------------ */

/** A port that no other run uses at the same time. */
static apr_uint32_t group_port(void)
{
    static apr_uint32_t port;

    port = port != 0 ? port + 1 : 40000 + (apr_uint32_t)getpid() % 20000;
    return port;
}

/** Join on loopback. @return 0 after a visible message when this machine cannot */
static int join_group(peer_node_t *n, const char *address, const char *bind_to, apr_uint32_t port)
{
    const char *what = NULL;
    apr_status_t rv;
    char text[120];

    strcpy(n->config.mcast.address, address);
    strcpy(n->config.mcast.bind, bind_to);
    strcpy(n->config.receiver.address, "127.0.0.1");
    n->config.mcast.port = port;
    rv = sc_group_open(&n->config, &n->group_fd, &what);
    if (rv != APR_SUCCESS) {
        printf("\n    SKIPPED: %s on %s: %s: %s ", address, bind_to[0] ? bind_to : "any", what,
               apr_strerror(rv, text, sizeof(text)));
        return 0;
    }
    CU_ASSERT(fcntl(n->group_fd, F_GETFD) & FD_CLOEXEC);
    return 1;
}

/** A datagram to the port, but not to the group: nobody's business. */
static void unicast(apr_uint32_t port, int v6)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((apr_uint16_t)port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((apr_uint16_t)port)};
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    a4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a6.sin6_addr = in6addr_loopback;
    /* refused or lost, as long as it does not arrive */
    (void)sendto(fd, "unicast", 7, 0, v6 ? (void *)&a6 : (void *)&a4, v6 ? sizeof(a6) : sizeof(a4));
    close(fd);
}

static void exchange(const char *address, const char *bind_to)
{
    peer_env_t *env = peer_env();
    apr_uint32_t port = group_port();
    const char *elsewhere = strchr(address, ':') != NULL ? "ff01::4567" : "228.0.0.99";
    apr_status_t rv;
    int i;

    for (i = 0; i < 3; i++) {
        if (!join_group(&env->node[i], i < 2 ? address : elsewhere, bind_to, port)) {
            peer_env_end(env);
            return;
        }
        peer_start(env, i);
    }
    rv = env->node[0].t->group_send(env->node[0].t->ctx, "datagram", 8);
    if (rv == ENETUNREACH) { /* most loopback interfaces have no route for IPv6 groups */
        printf("\n    SKIPPED: %s on %s: no route ", address, bind_to);
        peer_env_end(env);
        return;
    }
    CU_ASSERT_EQUAL(rv, APR_SUCCESS);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &env->node[1].datagrams, 1));
    CU_ASSERT_STRING_EQUAL(env->node[1].last, "datagram");
    CU_ASSERT_TRUE(peer_wait(env, &env->node[0].datagrams, 1)); /* the loop is on, as in Tribes */
    peer_spin(env, 10);
    CU_ASSERT_EQUAL(env->node[2].datagrams, 0); /* another group on the same port */
    CU_ASSERT_EQUAL(env->node[2].t->group_send(env->node[2].t->ctx, "x", 1), APR_SUCCESS);
    CU_ASSERT_TRUE(peer_wait(env, &env->node[2].datagrams, 1));
    unicast(env->node[0].config.mcast.port, strchr(address, ':') != NULL);
    peer_spin(env, 10);
    CU_ASSERT_EQUAL(env->node[0].datagrams, 1);
    CU_ASSERT_EQUAL(env->node[1].datagrams, 1);
    CU_ASSERT_EQUAL(env->node[2].datagrams, 1);
    peer_env_end(env);
}

static const char secret[] = "a secret of the cluster";

/** A datagram from elsewhere to the group that this node is in. */
static void throw_in(const peer_node_t *n, const void *bytes, apr_size_t len)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct in_addr lo = {.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    to.sin_port = htons((apr_uint16_t)n->config.mcast.port);
    CU_ASSERT_EQUAL(inet_pton(AF_INET, n->config.mcast.address, &to.sin_addr), 1);
    CU_ASSERT_EQUAL(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo)), 0);
    CU_ASSERT_EQUAL(sendto(fd, bytes, len, 0, (struct sockaddr *)&to, sizeof(to)), (ssize_t)len);
    close(fd);
}

static int wait_count(peer_env_t *env, const apr_uint64_t *value, apr_uint64_t at_least)
{
    int i;

    for (i = 0; i < 10000 && *value < at_least; i++) {
        peer_spin(env, 1);
    }
    return *value >= at_least;
}

/** Two members with the secret, one node without it, and a stranger who records what he hears. */
static void test_group_secret(void)
{
    peer_env_t *env = peer_env();
    apr_uint32_t port = group_port();
    unsigned char bytes[2000];
    peer_node_t *b = &env->node[1];
    sc_counters_t *count = &b->board.count;
    ssize_t n;
    int i;

    for (i = 0; i < 4; i++) {
        if (!join_group(&env->node[i], "228.0.0.4", "127.0.0.1", port)) {
            peer_env_end(env);
            return;
        }
        if (i < 2) {
            CU_ASSERT_EQUAL(sc_secrets_add(&env->node[i].secrets, secret, sizeof(secret)),
                            APR_SUCCESS);
        }
        if (i < 3) {
            peer_start(env, i);
        }
    }
    CU_ASSERT_EQUAL(env->node[0].t->group_send(env->node[0].t->ctx, "datagram", 8), APR_SUCCESS);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &b->datagrams, 1));
    CU_ASSERT_STRING_EQUAL(b->last, "datagram");
    CU_ASSERT_EQUAL(b->last_len, 8);
    CU_ASSERT_TRUE(wait_count(env, &env->node[2].board.count.datagrams_refused, 1));
    CU_ASSERT_PTR_NOT_NULL(strstr(env->node[2].log, "this node has none"));
    CU_ASSERT_EQUAL(env->node[2].datagrams, 0);
    n = recv(env->node[3].group_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    CU_ASSERT_EQUAL_FATAL(n, 8 + SC_DATAGRAM_TAIL);
    throw_in(b, bytes, (apr_size_t)n); /* the record, the record with another bit, and none */
    CU_ASSERT_TRUE(wait_count(env, &count->datagrams_replayed, 1));
    bytes[3] ^= 1;
    throw_in(b, bytes, (apr_size_t)n);
    CU_ASSERT_TRUE(wait_count(env, &count->datagrams_forged, 1));
    CU_ASSERT_EQUAL(env->node[2].t->group_send(env->node[2].t->ctx, "plain", 5), APR_SUCCESS);
    CU_ASSERT_TRUE(wait_count(env, &count->datagrams_forged, 2));
    memset(bytes, 'x', sizeof(bytes));
    for (i = 0; i < 200; i++) {
        throw_in(b, bytes, i % 2 ? sizeof(bytes) : 0);
    }
    CU_ASSERT_TRUE(wait_count(env, &count->datagrams_forged, 202));
    CU_ASSERT_EQUAL(b->datagrams, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(b->log, "SC0476"));
    CU_ASSERT_EQUAL(env->node[0].t->group_send(env->node[0].t->ctx, "more", 4), APR_SUCCESS);
    CU_ASSERT_TRUE(peer_wait(env, &b->datagrams, 2));
    CU_ASSERT_STRING_EQUAL(b->last, "more");
    peer_env_end(env);
}

static void test_group(void)
{
    exchange("228.0.0.4", "127.0.0.1");
    exchange("228.0.0.4", ""); /* the receiver's interface */
    exchange("ff01::1234", "::1");
}

/** A message with the option MULTICAST: one frame in one datagram to everybody, never a wait. */
static void test_group_message(void)
{
    peer_env_t *env = peer_env();
    rig_end_t end = {0, APR_EGENERAL};
    apr_uint32_t port = group_port();
    char *big = calloc(1, 70000);
    int i;

    for (i = 0; i < 2; i++) {
        if (!join_group(&env->node[i], "228.0.0.5", "127.0.0.1", port)) {
            peer_env_end(env);
            free(big);
            return;
        }
        peer_start(env, i);
    }
    peer_start(env, 2); /* in no group */
    peer_send(&env->node[0], &env->node[1].member, "to all", SC_OPT_MULTICAST | SC_OPT_UDP | 6,
              &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &env->node[1].datagrams, 1));
    CU_ASSERT_EQUAL(env->node[1].packets, 0);
    CU_ASSERT_EQUAL(memcmp(env->node[1].last, "FLT2002", 7), 0);
    CU_ASSERT(env->node[1].last_len > 100 && env->node[1].last_len < 200);
    peer_send_bytes(&env->node[0], &env->node[1].member, big, 70000, SC_OPT_MULTICAST, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 2));
    CU_ASSERT_EQUAL(end.rv, EMSGSIZE);
    peer_send(&env->node[2], &env->node[1].member, "to all", SC_OPT_MULTICAST, &end);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 3));
    CU_ASSERT_EQUAL(end.rv, APR_EBADF);
    free(big);
    peer_env_end(env);
}

/** localLoopbackDisabled. (The loopback interface itself, where tests live, brings everything
 * back.)
 */
static void test_group_loopback(void)
{
    static const char *const groups[] = {"228.0.0.6", "ff15::6"};
    int i;

    for (i = 0; i < 4; i++) {
        peer_env_t *env = peer_env();
        int v6 = i / 2;
        int value = -1;
        socklen_t len = sizeof(value);

        env->node[0].config.mcast.no_loopback = (apr_uint32_t)i % 2;
        if (join_group(&env->node[0], groups[v6], v6 ? "::1" : "127.0.0.1", group_port())) {
            CU_ASSERT_EQUAL(getsockopt(env->node[0].group_fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                                       v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, &value, &len),
                            0);
            CU_ASSERT_EQUAL(value, i % 2 == 0);
        }
        peer_env_end(env);
    }
}

/** Whether a socket is in a group on that interface. */
static int is_in(int fd, const char *address, unsigned int index)
{
    int v6 = strchr(address, ':') != NULL;
    struct group_filter filter;
    socklen_t len = sizeof(filter);

    memset(&filter, 0, sizeof(filter));
    filter.gf_interface = index;
    filter.gf_group.ss_family = v6 ? AF_INET6 : AF_INET;
    CU_ASSERT_EQUAL(inet_pton(filter.gf_group.ss_family, address,
                              v6 ? (void *)&((struct sockaddr_in6 *)&filter.gf_group)->sin6_addr
                                 : (void *)&((struct sockaddr_in *)&filter.gf_group)->sin_addr),
                    1);
    return getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_MSFILTER, &filter, &len) == 0;
}

/** A node is thrown out of the group, as when its interface was replaced: it sends, and hears
 * nothing.
 *  @param other who is not */
static void lose_group(const peer_node_t *n, const peer_node_t *other)
{
    struct ip_mreqn mreq;
    int fd;

    memset(&mreq, 0, sizeof(mreq));
    CU_ASSERT_EQUAL(inet_pton(AF_INET, n->config.mcast.address, &mreq.imr_multiaddr), 1);
    mreq.imr_ifindex = (int)if_nametoindex("lo");
    for (fd = 3; fd < 256; fd++) { /* its own socket, wherever that is */
        struct sockaddr_in a;
        socklen_t len = sizeof(a);

        if (fd != other->group_fd && getsockname(fd, (struct sockaddr *)&a, &len) == 0 &&
            a.sin_family == AF_INET && ntohs(a.sin_port) == n->config.mcast.port) {
            (void)setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &mreq, sizeof(mreq));
        }
    }
}

/** A socket gets nothing any more, of whatever arrives for it. */
static void stop_ears(int fd)
{
    struct sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
    struct sock_fprog program = {1, &nothing};

    CU_ASSERT_EQUAL(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
}

/** A receiver on loopback, wherever there, means the loopback interface and no other one. */
static void test_group_interface(void)
{
    static const char *const receivers[] = {"127.0.0.1", "127.0.0.2", "127.255.3.4", "::1",
                                            "::ffff:127.0.0.9"};
    static const char *const groups[] = {"228.0.0.7", "ff15::7"};
    sc_config_t *c = malloc(sizeof(*c));
    const char *what = NULL;
    apr_status_t rv;
    size_t i;
    int fd;

    sc_config_defaults(c);
    c->mcast.port = group_port();
    for (i = 0; i < 2 * sizeof(receivers) / sizeof(receivers[0]); i++) {
        const char *group = groups[i % 2];
        struct if_nameindex *list = if_nameindex();
        unsigned int lo = if_nametoindex("lo");
        int k;

        strcpy(c->mcast.address, group);
        strcpy(c->receiver.address, receivers[i / 2]);
        rv = sc_group_open(c, &fd, &what);
        if (rv != APR_SUCCESS && i % 2 == 1) {
            printf("\n    SKIPPED: %s: %s ", group, what);
        } else {
            CU_ASSERT_EQUAL_FATAL(rv, APR_SUCCESS);
            for (k = 0; list[k].if_index != 0; k++) {
                CU_ASSERT_EQUAL(is_in(fd, group, list[k].if_index), list[k].if_index == lo);
            }
            close(fd);
        }
        if_freenameindex(list);
    }
    /* one that no interface has now is waited for: the system's choice would be another one */
    strcpy(c->mcast.address, groups[0]);
    strcpy(c->receiver.address, "192.0.2.77");
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), EADDRNOTAVAIL);
    CU_ASSERT_EQUAL(fd, -1);
    strcpy(c->mcast.bind, "127.0.0.3"); /* which also a bind may say */
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), APR_SUCCESS);
    close(fd);
    strcpy(c->mcast.bind, "0.0.0.0");
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), EADDRNOTAVAIL);
    free(c);
}

/** Two members; the first one's socket is a stale one if it is to be lost before it starts. */
static peer_env_t *two_in_group(const char *address, int lost)
{
    peer_env_t *env = peer_env();
    apr_uint32_t port = group_port();
    int i;

    for (i = 0; i < 2; i++) {
        if (!join_group(&env->node[i], address, "127.0.0.1", port)) {
            peer_env_end(env);
            return NULL;
        }
        if (i == 0 && lost) {
            lose_group(&env->node[0], &env->node[1]);
        }
        peer_start(env, i);
    }
    return env;
}

static apr_status_t say(peer_node_t *n)
{
    return n->t->group_send(n->t->ctx, "x", 1);
}

/** So many heartbeats, and the time between them. */
static void beats(peer_env_t *env, int n)
{
    while (n-- > 0) {
        CU_ASSERT_EQUAL(say(&env->node[0]), APR_SUCCESS);
        peer_spin(env, 3);
        env->skew += RIG_MS(500);
    }
}

/** What was thrown out of the group notices, before it would give anybody up. */
static void test_group_deaf(void)
{
    peer_env_t *env = two_in_group("228.0.0.8", 0);
    peer_node_t *n;
    int i;

    if (env == NULL) {
        return;
    }
    n = &env->node[0];
    beats(env, 20); /* it hears itself: all is well */
    CU_ASSERT_EQUAL(n->datagrams, 20);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 0);
    for (i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(say(n), APR_SUCCESS); /* many at a time are not a long time */
    }
    peer_spin(env, 3);
    CU_ASSERT_TRUE(peer_wait(env, &n->datagrams, 40));
    CU_ASSERT_EQUAL(n->board.count.group_joins, 0);
    lose_group(n, &env->node[1]);
    beats(env, 3);
    CU_ASSERT_EQUAL(n->datagrams, 40);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 0);
    beats(env, 2);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0562"));
    CU_ASSERT_PTR_NULL(strstr(n->log, "SC0437"));
    beats(env, 1);
    CU_ASSERT_TRUE(peer_wait(env, &n->datagrams, 41));
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0437"));
    CU_ASSERT_EQUAL(say(&env->node[1]), APR_SUCCESS); /* and the other one */
    CU_ASSERT_TRUE(peer_wait(env, &n->datagrams, 42));
    beats(env, 10);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 1);
    peer_env_end(env);
}

/** Nothing is heard, whatever is done about it: it is tried again, and said once. */
static void test_group_deaf_for_long(void)
{
    peer_env_t *env = two_in_group("228.0.0.10", 0);
    peer_node_t *n;
    int i;

    if (env == NULL) {
        return;
    }
    n = &env->node[0];
    for (i = 0; i < 30; i++) {
        lose_group(n, &env->node[1]);
        beats(env, 1);
    }
    /* after 1.5 s, 3 s and 6 s; on a slow machine once more */
    CU_ASSERT(n->board.count.group_joins >= 3 && n->board.count.group_joins <= 5);
    CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(n->log, "SC0562"));
    CU_ASSERT_PTR_NULL(strstr(strstr(n->log, "SC0562") + 1, "SC0562"));
    CU_ASSERT_PTR_NULL(strstr(n->log, "SC0437"));
    CU_ASSERT_EQUAL(n->datagrams, 0);
    for (i = 0; i < 200 && n->datagrams == 0; i++) {
        beats(env, 1);
    }
    CU_ASSERT(n->datagrams > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0437"));
    peer_env_end(env);

    env = two_in_group("228.0.0.10", 0);
    n = &env->node[0];
    n->config.mcast.no_recovery = 1;
    lose_group(n, &env->node[1]);
    beats(env, 20);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 0);
    peer_env_end(env);
}

/** localLoopbackDisabled: silence says nothing; that it is not in the group does. */
static void test_group_silent(void)
{
    peer_env_t *env = two_in_group("228.0.0.11", 0);
    peer_node_t *n;

    if (env == NULL) {
        return;
    }
    n = &env->node[0];
    n->config.mcast.no_loopback = 1;
    stop_ears(n->group_fd); /* the loopback interface brings everything back all the same */
    beats(env, 30);
    CU_ASSERT_EQUAL(n->datagrams, 0);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 0);
    lose_group(n, &env->node[1]);
    beats(env, 6);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 1);
    CU_ASSERT_EQUAL(say(&env->node[1]), APR_SUCCESS);
    CU_ASSERT_TRUE(peer_wait(env, &n->datagrams, 1));
    peer_env_end(env);
}

/** An engine that gets a socket which is not in the group any more makes its own at once; and if
 *  that is not possible, as soon as it is, on the right interface. */
static void test_group_stale(void)
{
    peer_env_t *env = two_in_group("228.0.0.9", 1);
    peer_node_t *n;

    if (env == NULL) {
        return;
    }
    n = &env->node[0];
    CU_ASSERT_EQUAL(n->board.count.group_joins, 1);
    CU_ASSERT_EQUAL(env->node[1].board.count.group_joins, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0563"));
    CU_ASSERT_EQUAL(say(&env->node[1]), APR_SUCCESS); /* before it has said a word */
    CU_ASSERT_TRUE(peer_wait(env, &n->datagrams, 1));
    peer_stop(env, 0);
    n->log[0] = '\0';
    CU_ASSERT_TRUE(join_group(n, "228.0.0.9", "127.0.0.1", n->config.mcast.port));
    lose_group(n, &env->node[1]);
    n->datagrams = 0;
    n->board.count.group_joins = 0;
    strcpy(n->config.mcast.bind, "192.0.2.77"); /* which is on no interface for now */
    peer_start(env, 0);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0436"));
    env->skew += apr_time_from_sec(6);
    peer_spin(env, 3);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 0);
    strcpy(n->config.mcast.bind, "127.0.0.1");
    env->skew += apr_time_from_sec(6);
    peer_spin(env, 3);
    CU_ASSERT_EQUAL(n->board.count.group_joins, 1);
    CU_ASSERT_EQUAL(say(&env->node[1]), APR_SUCCESS);
    CU_ASSERT_TRUE(peer_wait(env, &n->datagrams, 1));
    peer_env_end(env);
}

static void test_group_errors(void)
{
    sc_config_t *c = malloc(sizeof(*c));
    const char *what = NULL;
    int fd = 0;

    sc_config_defaults(c);
    strcpy(c->mcast.address, "10.0.0.1");
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), APR_EINVAL);
    CU_ASSERT_EQUAL(fd, -1);
    strcpy(c->mcast.address, "group");
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), APR_EINVAL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(what);
    CU_ASSERT_PTR_NOT_NULL(strstr(what, "address"));
    strcpy(c->mcast.address, "228.0.0.4");
    c->mcast.port = 0;
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), APR_EINVAL);
    c->mcast.port = 70000;
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), APR_EINVAL);
    c->mcast.port = group_port();
    strcpy(c->mcast.bind, "192.0.2.77"); /* not of this machine */
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), EADDRNOTAVAIL);
    CU_ASSERT_PTR_NOT_NULL(strstr(what, "interface"));
    strcpy(c->mcast.bind, "nonsense");
    CU_ASSERT_EQUAL(sc_group_open(c, &fd, &what), APR_EINVAL);
    CU_ASSERT_EQUAL(fd, -1);
    free(c);
}

/* ---- channels on real sockets --------------------------------------------------------------- */

typedef struct full_t {
    peer_env_t *env;
    peer_node_t *n;
    sc_channel_t *channel;
    sc_transport_up_t up;
    int added;
    int gone;
    int goodbye;
    int settled;
    int records;
    int gaps;
    sc_member_t peer;
    char last[32];
} full_t;

static apr_status_t full_record(void *baton, const sc_member_t *from, const void *bytes,
                                apr_size_t len)
{
    full_t *f = baton;

    (void)from;
    f->records++;
    snprintf(f->last, sizeof(f->last), "%.*s", (int)(len < 30 ? len : 30), (const char *)bytes);
    return APR_SUCCESS;
}

static void full_gap(void *baton, const sc_member_t *from)
{
    (void)from;
    ((full_t *)baton)->gaps++;
}

static void full_progress(void *baton, const sc_member_t *from, apr_uint64_t lsn)
{
    (void)baton;
    (void)from;
    (void)lsn;
}

static void full_message(void *baton, const sc_packet_t *packet)
{
    (void)baton;
    (void)packet;
}

static void full_added(void *baton, const sc_member_t *m)
{
    full_t *f = baton;

    f->added++;
    f->peer = *m;
}

static void full_changed(void *baton, const sc_member_t *m)
{
    (void)baton;
    (void)m;
}

static void full_gone(void *baton, const sc_member_t *m, int goodbye)
{
    full_t *f = baton;

    (void)m;
    f->gone++;
    f->goodbye += goodbye;
}

static apr_uint64_t full_lsn(void *baton)
{
    (void)baton;
    return 1;
}

static void full_settled(void *baton)
{
    ((full_t *)baton)->settled++;
}

static apr_status_t full_packet(void *baton, const sc_packet_t *p)
{
    full_t *f = baton;
    return f->up.packet(f->up.baton, p);
}

static void full_datagram(void *baton, const void *bytes, apr_size_t len)
{
    full_t *f = baton;
    f->up.datagram(f->up.baton, bytes, len);
}

/** A channel on a net of its own. The receiver listens already. */
static void full_start(full_t *f, peer_env_t *env, int i)
{
    sc_channel_up_t up = {f,          full_record,  full_gap,  full_progress, full_message,
                          full_added, full_changed, full_gone, full_lsn,      full_settled};
    sc_transport_up_t tup = {f, full_packet, full_datagram};
    peer_node_t *n = &env->node[i];
    sc_channel_config_t cc;
    sc_net_config_t nc = {0};

    memset(f, 0, sizeof(*f));
    f->env = env;
    f->n = n;
    snprintf(n->config.route, sizeof(n->config.route), "n%d", i + 1);
    memset(&cc, 0, sizeof(cc));
    cc.config = &n->config;
    cc.clock = &env->clock;
    cc.timers = sc_loop_timers(env->loop);
    cc.log = &n->log_to;
    cc.board = &n->board;
    cc.store_id = (apr_uint64_t)i + 1;
    CU_ASSERT_EQUAL_FATAL(sc_uid_generate(&cc.uid), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_channel_create(&f->channel, &cc, &up, env->pool), APR_SUCCESS);
    f->up = sc_channel_transport_up(f->channel);
    memset(&nc, 0, sizeof(nc));
    nc.config = &n->config;
    nc.listen_fd = n->listen_fd;
    nc.group_fd = n->group_fd;
    nc.board = &n->board;
    nc.log = &n->log_to;
    CU_ASSERT_EQUAL_FATAL(sc_net_create(&n->net, env->loop, &nc, &tup, env->pool), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_channel_start(f->channel, sc_net_transport(n->net)), APR_SUCCESS);
}

static void full_cluster(sc_membership_kind_t membership)
{
    static full_t a;
    static full_t b;
    peer_env_t *env = peer_env();
    apr_uint32_t group = group_port();
    rig_end_t end = {0, APR_EGENERAL};
    int i;

    for (i = 0; i < 2; i++) {
        peer_node_t *n = &env->node[i];
        apr_uint32_t port = 0;

        n->config.membership = membership;
        n->config.mcast.frequency_ms = 50;
        n->config.mcast.drop_ms = 5000;
        CU_ASSERT_EQUAL_FATAL(sc_receiver_listen("127.0.0.1", &port, 1, &n->listen_fd),
                              APR_SUCCESS);
        strcpy(n->config.receiver.address, "127.0.0.1");
        n->config.receiver.port = port;
        if (membership == SC_MEMBERSHIP_MULTICAST &&
            !join_group(n, "228.0.0.4", "127.0.0.1", group)) {
            peer_env_end(env);
            return;
        }
    }
    for (i = 0; i < 4; i++) { /* both lists name both */
        sc_config_t *c = &env->node[i % 2].config;

        strcpy(c->member[i / 2].host, i / 2 == 0 ? "127.0.0.1" : "localhost");
        c->member[i / 2].port = env->node[i / 2].config.receiver.port;
        c->nmembers = 2;
    }
    full_start(&a, env, 0);
    full_start(&b, env, 1);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &a.added, 1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &b.added, 1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &a.settled, 1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &b.settled, 1));
    CU_ASSERT_EQUAL(sc_channel_post(a.channel, &a.peer, "real", 4, 6, rig_ended, &end), 0);
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &end.calls, 1));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(b.last, "real");
    CU_ASSERT_EQUAL(b.gaps, 0);
    /* leaves: what was posted, then the good-bye */
    CU_ASSERT_EQUAL(sc_channel_post(a.channel, &a.peer, "last words", 10, 8, NULL, NULL), 0);
    sc_channel_flush(a.channel);
    sc_net_drain(env->node[0].net, apr_time_from_sec(1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &b.records, 2));
    CU_ASSERT_STRING_EQUAL(b.last, "last words");
    sc_channel_stop(a.channel);
    sc_net_drain(env->node[0].net, apr_time_from_sec(1));
    CU_ASSERT_TRUE_FATAL(peer_wait(env, &b.gone, 1));
    CU_ASSERT_EQUAL(b.goodbye, 1);
    sc_net_close(env->node[0].net);
    env->node[0].net = NULL;
    sc_channel_stop(b.channel);
    peer_env_end(env);
}

static void test_channels_multicast(void)
{
    full_cluster(SC_MEMBERSHIP_MULTICAST);
}

static void test_channels_static(void)
{
    full_cluster(SC_MEMBERSHIP_STATIC);
}

void sc_suite_transport_group(CU_pSuite s)
{
    CU_add_test(s, "listen", test_listen);
    CU_add_test(s, "address=auto", test_auto);
    CU_add_test(s, "group", test_group);
    CU_add_test(s, "the group, with a secret", test_group_secret);
    CU_add_test(s, "group: what cannot be opened", test_group_errors);
    CU_add_test(s, "group: a message", test_group_message);
    CU_add_test(s, "group: on which interface", test_group_interface);
    CU_add_test(s, "group: deaf", test_group_deaf);
    CU_add_test(s, "group: deaf for long", test_group_deaf_for_long);
    CU_add_test(s, "group: silent", test_group_silent);
    CU_add_test(s, "group: a stale socket", test_group_stale);
    CU_add_test(s, "group: not on this host", test_group_loopback);
    CU_add_test(s, "channels, multicast", test_channels_multicast);
    CU_add_test(s, "channels, static", test_channels_static);
}
