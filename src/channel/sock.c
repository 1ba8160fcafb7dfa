/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A descriptor in the event loop, and addresses of members as sockets want them.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <apr_portable.h>

#include "net.h"

apr_status_t sc_sock_open(sc_sock_t *s, int fd, sc_loop_t *loop, apr_pool_t *parent)
{
    apr_os_sock_t os = fd;
    apr_status_t rv;

    memset(s, 0, sizeof(*s));
    s->fd = -1;
    rv = apr_pool_create(&s->pool, parent);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apr_os_sock_put(&s->handle, &os, s->pool);
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(s->pool);
        s->pool = NULL;
        return rv;
    }
    s->fd = fd;
    s->loop = loop;
    return APR_SUCCESS;
}

apr_status_t sc_sock_watch(sc_sock_t *s, apr_int16_t events, sc_watch_fn_t *fn, void *baton)
{
    apr_status_t rv = APR_SUCCESS;

    if (!s->watch.active || s->events != events) {
        rv = sc_loop_watch(s->loop, &s->watch, s->handle, events, fn, baton);
        s->events = events;
    }
    return rv;
}

void sc_sock_close(sc_sock_t *s, int close_fd)
{
    if (s->fd < 0) {
        return;
    }
    sc_loop_unwatch(s->loop, &s->watch);
    if (close_fd) {
        close(s->fd);
    }
    apr_pool_destroy(s->pool);
    s->pool = NULL;
    s->fd = -1;
}

static void set_class(int fd, int traffic_class)
{
    if (traffic_class != 0) { /* one of the two is not for this socket's family */
        (void)setsockopt(fd, IPPROTO_IP, IP_TOS, &traffic_class, sizeof(traffic_class));
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &traffic_class, sizeof(traffic_class));
    }
}

static void set_buffers(int fd, apr_uint32_t rx, apr_uint32_t tx)
{
    int size = (int)rx;

    if (rx != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    size = (int)tx;
    if (tx != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
}

void sc_sock_tune(int fd, const sc_config_sock_t *c)
{
    int no_delay = !c->delay;
    int keepalive = !c->no_keepalive;

    /* none is vital: a connection without them works, only slower or longer */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof(no_delay));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, sizeof(keepalive));
    set_class(fd, (int)c->traffic_class);
    set_buffers(fd, c->rx_buf, c->tx_buf);
}

void sc_sock_tune_udp(int fd, const sc_config_sock_t *c)
{
    set_class(fd, (int)c->traffic_class);
    set_buffers(fd, c->udp_rx_buf, c->udp_tx_buf);
}

socklen_t sc_sock_address(const sc_member_t *m, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof(*out));
    if (!sc_member_usable(m)) {
        return 0;
    }
    if (m->host_len == 4) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((apr_uint16_t)m->port);
        memcpy(&v4->sin_addr, m->host, 4);
        return sizeof(*v4);
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((apr_uint16_t)m->port);
    memcpy(&v6->sin6_addr, m->host, 16);
    return sizeof(*v6);
}

socklen_t sc_sock_numeric(const char *text, apr_uint32_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof(*out));
    if (port > 65535) {
        return 0;
    }
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((apr_uint16_t)port);
        return sizeof(*v4);
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((apr_uint16_t)port);
        return sizeof(*v6);
    }
    return 0;
}

char *sc_sock_name(const struct sockaddr_storage *a, char out[SC_HOST_MAX + 8])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
    char host[INET6_ADDRSTRLEN] = "-";

    if (a->ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(out, SC_HOST_MAX + 8, "%s:%u", host, ntohs(v4->sin_port));
    } else if (a->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(out, SC_HOST_MAX + 8, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(out, SC_HOST_MAX + 8, "unknown");
    }
    return out;
}
