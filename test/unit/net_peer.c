/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Real sockets for the transport's tests; see net_peer.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "net_peer.h"

#define PATIENCE apr_time_from_sec(10)

static apr_time_t skewed(void *ctx)
{
    return sc_mono(&sc_clock_system) + ((peer_env_t *)ctx)->skew;
}

static apr_time_t wall(void *ctx)
{
    (void)ctx;
    return sc_wall(&sc_clock_system);
}

static apr_status_t up_packet(void *baton, const sc_packet_t *p)
{
    peer_node_t *n = baton;

    n->packets++;
    n->last_id = p->id;
    n->last_options = p->options;
    n->last_len = p->body_len;
    snprintf(n->last, sizeof(n->last), "%.*s", (int)(p->body_len < 60 ? p->body_len : 60),
             (const char *)p->body);
    if (n->refusals != 0) {
        n->refusals -= n->refusals > 0;
        return n->rv;
    }
    return APR_SUCCESS;
}

static void up_datagram(void *baton, const void *bytes, apr_size_t len)
{
    peer_node_t *n = baton;

    n->datagrams++;
    n->last_len = len;
    snprintf(n->last, sizeof(n->last), "%.*s", (int)(len < 60 ? len : 60), (const char *)bytes);
}

static void write_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    peer_node_t *n = ctx;
    apr_size_t used = strlen(n->log);

    (void)level;
    (void)rv;
    snprintf(n->log + used, sizeof(n->log) - used, "%s\n", line);
}

peer_env_t *peer_env(void)
{
    peer_env_t *env = calloc(1, sizeof(*env));
    int i;

    apr_pool_create(&env->pool, NULL);
    env->clock.ctx = env;
    env->clock.mono = skewed;
    env->clock.wall = wall;
    CU_ASSERT_EQUAL_FATAL(sc_loop_create(&env->loop, 600, &env->clock, env->pool), APR_SUCCESS);
    for (i = 0; i < PEER_NODES; i++) {
        peer_node_t *n = &env->node[i];

        n->env = env;
        sc_config_defaults(&n->config);
        n->config.sender.timeout_ms = 5000;
        n->listens = "127.0.0.1";
        n->listen_fd = n->group_fd = -1;
        n->rv = APR_EGENERAL;
        n->log_to.ctx = n;
        n->log_to.level = SC_LOG_DEBUG;
        n->log_to.write = write_log;
    }
    return env;
}

void peer_start(peer_env_t *env, int i)
{
    peer_node_t *n = &env->node[i];
    sc_transport_up_t up = {n, up_packet, up_datagram};
    sc_net_config_t cfg = {0};
    apr_uint32_t port = 0;

    CU_ASSERT_EQUAL_FATAL(sc_receiver_listen(n->listens, &port, 1, &n->listen_fd), APR_SUCCESS);
    n->config.receiver.port = port;
    strcpy(n->config.receiver.address, "127.0.0.1");
    memset(&n->member, 0, sizeof(n->member));
    sc_member_set_host(&n->member, "127.0.0.1");
    n->member.port = (apr_int32_t)port;
    n->member.secure_port = n->member.udp_port = -1;
    n->member.uid.b[0] = (unsigned char)(i + 1);
    cfg.config = &n->config;
    cfg.listen_fd = n->listen_fd;
    cfg.group_fd = n->group_fd;
    cfg.secrets = &n->secrets;
    cfg.uid = n->member.uid;
    cfg.board = &n->board;
    cfg.log = &n->log_to;
    CU_ASSERT_EQUAL_FATAL(sc_net_create(&n->net, env->loop, &cfg, &up, env->pool), APR_SUCCESS);
    n->t = sc_net_transport(n->net);
    n->member.udp_port = sc_net_udp_port(n->net) != 0 ? (apr_int32_t)sc_net_udp_port(n->net) : -1;
}

void peer_stop(peer_env_t *env, int i)
{
    peer_node_t *n = &env->node[i];

    if (n->net != NULL) {
        sc_net_close(n->net);
        n->net = NULL;
    }
    if (n->listen_fd >= 0) {
        close(n->listen_fd);
        n->listen_fd = -1;
    }
    if (n->group_fd >= 0) {
        close(n->group_fd);
        n->group_fd = -1;
    }
}

void peer_env_end(peer_env_t *env)
{
    int i;

    for (i = 0; i < PEER_NODES; i++) {
        peer_stop(env, i);
    }
    apr_pool_destroy(env->pool);
    free(env);
}

int peer_wait(peer_env_t *env, const int *value, int at_least)
{
    apr_time_t end = sc_mono(&sc_clock_system) + PATIENCE;

    while (*value < at_least && sc_mono(&sc_clock_system) < end) {
        CU_ASSERT_EQUAL_FATAL(sc_loop_once(env->loop, RIG_MS(20)), APR_SUCCESS);
    }
    return *value >= at_least;
}

void peer_spin(peer_env_t *env, int rounds)
{
    while (rounds-- > 0) {
        CU_ASSERT_EQUAL_FATAL(sc_loop_once(env->loop, RIG_MS(1)), APR_SUCCESS);
    }
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static void packet_from(peer_node_t *from, sc_packet_t *p, const void *bytes, apr_size_t len,
                        apr_uint32_t options)
{
    static unsigned int serial;

    memset(p, 0, sizeof(*p));
    p->options = options | SC_OPT_BYTE_MESSAGE;
    p->from = from->member;
    serial++;
    memcpy(p->id.b, &serial, sizeof(serial));
    p->body = bytes;
    p->body_len = len;
}

void peer_send_bytes(peer_node_t *from, const sc_member_t *to, const void *bytes, apr_size_t len,
                     apr_uint32_t options, rig_end_t *end)
{
    sc_packet_t p;
    int calls = end->calls;

    packet_from(from, &p, bytes, len, options);
    from->t->send(from->t->ctx, to, SC_LANE_DATA, &p, rig_ended, end);
    CU_ASSERT_EQUAL(end->calls, calls); /* never from within the send */
}

void peer_send(peer_node_t *from, const sc_member_t *to, const char *text, apr_uint32_t options,
               rig_end_t *end)
{
    peer_send_bytes(from, to, text, strlen(text), options, end);
}

void peer_probe(peer_node_t *from, const sc_member_t *to, apr_uint32_t options, int ms,
                rig_end_t *end)
{
    sc_packet_t p;
    int calls = end->calls;

    packet_from(from, &p, "probe", 5, options);
    from->t->probe(from->t->ctx, to, options != 0 ? &p : NULL, RIG_MS(ms), rig_ended, end);
    CU_ASSERT_EQUAL(end->calls, calls);
}

/* ---- raw peers ------------------------------------------------------------------------------ */

int peer_listen(sc_member_t *m)
{
    apr_uint32_t port = 0;
    int fd = -1;

    CU_ASSERT_EQUAL_FATAL(sc_receiver_listen("127.0.0.1", &port, 1, &fd), APR_SUCCESS);
    memset(m, 0, sizeof(*m));
    sc_member_set_host(m, "127.0.0.1");
    m->port = (apr_int32_t)port;
    m->uid.b[0] = 0x99;
    return fd;
}

int peer_accept(peer_env_t *env, int listener)
{
    apr_time_t end = sc_mono(&sc_clock_system) + PATIENCE;
    int fd;

    do {
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        CU_ASSERT_EQUAL_FATAL(sc_loop_once(env->loop, RIG_MS(1)), APR_SUCCESS);
    } while (fd < 0 && sc_mono(&sc_clock_system) < end);
    return fd;
}

int peer_read(peer_env_t *env, int fd, void *bytes, apr_size_t len)
{
    apr_time_t end = sc_mono(&sc_clock_system) + PATIENCE;
    apr_size_t got = 0;

    while (got < len && sc_mono(&sc_clock_system) < end) {
        ssize_t n = recv(fd, (char *)bytes + got, len - got, MSG_DONTWAIT);

        if (n == 0) {
            return 0;
        }
        if (n > 0) {
            got += (apr_size_t)n;
        } else {
            CU_ASSERT_EQUAL_FATAL(sc_loop_once(env->loop, RIG_MS(1)), APR_SUCCESS);
        }
    }
    return got == len;
}

int peer_closed(peer_env_t *env, int fd)
{
    apr_time_t end = sc_mono(&sc_clock_system) + PATIENCE;

    while (sc_mono(&sc_clock_system) < end) {
        char bytes[4096];
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) {
            return 1;
        }
        CU_ASSERT_EQUAL_FATAL(sc_loop_once(env->loop, RIG_MS(1)), APR_SUCCESS);
    }
    return 0;
}

int peer_connect(const peer_node_t *to)
{
    return peer_connect_from(to, 0);
}

int peer_connect_from(const peer_node_t *to, apr_uint32_t number)
{
    struct sockaddr_in a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memset(&a, 0, sizeof(a));
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (number << 8));
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    a.sin_port = htons((apr_uint16_t)to->member.port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    CU_ASSERT_EQUAL_FATAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void peer_frame(sc_buf_t *b, const char *text, apr_uint32_t options)
{
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    p.options = options | SC_OPT_BYTE_MESSAGE;
    p.body = (const unsigned char *)text;
    p.body_len = strlen(text);
    sc_buf_init(b, p.body_len + 1024);
    sc_frame_put(b, &p);
}
