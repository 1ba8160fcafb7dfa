/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One question to one member: a connection, a frame, the 21 bytes that acknowledge it. Each has a
 * connection of its own, so that nothing has to be known of what a former one left behind.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <apr_portable.h>

#include "internal.h"

static void finish(sc_tc_link_t *l, apr_status_t rv)
{
    sc_tc_link_close(l);
    l->done(l->baton, rv);
}

static void deadline_due(void *baton, apr_time_t now)
{
    (void)now;
    finish(baton, APR_TIMEUP);
}

/* Whether connecting has ended, and how. */
static apr_status_t outcome(const sc_tc_link_t *l)
{
    socklen_t len = sizeof(int);
    apr_os_sock_t fd;
    int err = 0;

    if (apr_os_sock_get(&fd, l->sock) != APR_SUCCESS ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
        return errno;
    }
    return err;
}

/* This node as the member reaches it: at the address that the connection has at this end. */
static apr_status_t compose(sc_tc_link_t *l)
{
    char address[SC_HOST_MAX + 1];
    apr_sockaddr_t *local = NULL;
    sc_member_t from;
    apr_status_t rv = apr_socket_addr_get(&local, APR_LOCAL, l->sock);

    if (rv == APR_SUCCESS) {
        rv = apr_sockaddr_ip_getbuf(address, sizeof(address), local);
    }
    memset(&from, 0, sizeof(from));
    from.secure_port = from.udp_port = -1;
    if (rv == APR_SUCCESS) {
        rv = sc_member_set_host(&from, address);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    from.domain_len = (apr_uint16_t)strlen(l->env->config->tomcat.domain);
    memcpy(from.domain, l->env->config->tomcat.domain, from.domain_len);
    l->write(l->baton, &l->out, &from);
    return l->out.err;
}

/* @return APR_EAGAIN: more is to be sent */
static apr_status_t send_on(sc_tc_link_t *l)
{
    while (l->sent < l->out.len) {
        apr_size_t n = l->out.len - l->sent;
        apr_status_t rv = apr_socket_send(l->sock, (char *)l->out.data + l->sent, &n);

        l->sent += n;
        if (rv != APR_SUCCESS || n == 0) {
            return APR_STATUS_IS_EAGAIN(rv) || rv == APR_SUCCESS ? APR_EAGAIN : rv;
        }
    }
    return APR_SUCCESS;
}

/* @return APR_EAGAIN: not whole yet */
static apr_status_t receive_on(sc_tc_link_t *l)
{
    apr_size_t n = sizeof(l->in) - l->got;
    apr_status_t rv = apr_socket_recv(l->sock, (char *)l->in + l->got, &n);
    int fail;

    if (rv != APR_SUCCESS) {
        return APR_STATUS_IS_EAGAIN(rv) ? APR_EAGAIN : rv;
    }
    l->got += n;
    return sc_frame_answer(l->in, l->got, &fail); /* a refusal is a sign of life, too */
}

static void link_event(void *baton, apr_int16_t events)
{
    sc_tc_link_t *l = baton;
    apr_status_t rv = APR_SUCCESS;

    (void)events;
    if (!l->connected) {
        rv = outcome(l);
        l->connected = 1;
        if (rv == APR_SUCCESS) {
            rv = compose(l);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = send_on(l);
        if (rv == APR_EAGAIN) {
            return;
        }
    }
    if (rv == APR_SUCCESS) {
        rv = receive_on(l);
    }
    if (rv == APR_EAGAIN) {
        rv = sc_loop_watch(l->env->loop, &l->watch, l->sock, APR_POLLIN, link_event, l);
        if (rv == APR_SUCCESS) {
            return;
        }
    }
    finish(l, rv);
}

apr_status_t sc_tc_link_begin(sc_tc_link_t *l, const sc_tomcat_env_t *env, apr_pool_t *parent,
                              const char *host, apr_int32_t port, apr_interval_time_t timeout,
                              sc_tc_write_fn_t *write, sc_tc_done_fn_t *done, void *baton)
{
    apr_sockaddr_t *to = NULL;
    apr_status_t rv;

    sc_tc_link_close(l);
    memset(l, 0, sizeof(*l));
    l->env = env;
    l->write = write;
    l->done = done;
    l->baton = baton;
    sc_buf_init(&l->out, 2 * SC_FRAME_HEAD_MAX + 8 * SC_CONTEXT_MAX);
    rv = apr_pool_create(&l->pool, parent);
    if (rv == APR_SUCCESS) { /* a numeric address: nobody is asked for it */
        rv = apr_sockaddr_info_get(&to, host, APR_UNSPEC, (apr_port_t)port, 0, l->pool);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_socket_create(&l->sock, to->family, SOCK_STREAM, APR_PROTO_TCP, l->pool);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_socket_timeout_set(l->sock, 0);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_socket_connect(l->sock, to);
        rv = APR_STATUS_IS_EINPROGRESS(rv) || APR_STATUS_IS_EAGAIN(rv) ? APR_SUCCESS : rv;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(env->loop, &l->watch, l->sock, APR_POLLOUT, link_event, l);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_timer_set(sc_loop_timers(env->loop), &l->deadline, sc_loop_now(env->loop) + timeout,
                          deadline_due, l);
    }
    if (rv != APR_SUCCESS) {
        sc_tc_link_close(l);
    }
    return rv;
}

void sc_tc_link_close(sc_tc_link_t *l)
{
    if (l->pool == NULL) {
        return;
    }
    sc_timer_cancel(sc_loop_timers(l->env->loop), &l->deadline);
    sc_loop_unwatch(l->env->loop, &l->watch);
    sc_buf_free(&l->out);
    apr_pool_destroy(l->pool); /* and the socket with it */
    l->pool = NULL;
    l->sock = NULL;
}

apr_status_t sc_tc_packet(const sc_tomcat_env_t *env, sc_packet_t *p, const sc_member_t *from,
                          apr_uint32_t options)
{
    memset(p, 0, sizeof(*p));
    p->options = options;
    p->timestamp_ms = (apr_uint64_t)apr_time_as_msec(sc_wall(env->clock));
    p->from = *from;
    return sc_uid_generate(&p->id);
}
