/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The socket in Tomcat's group. Nothing is ever sent on it.
 *
 * An interface that goes away takes the membership in the group with it, and who only listens does
 * not notice. So a group on which nothing is heard for a while is joined anew.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_portable.h>

#include "internal.h"
#include "sc_transport.h"

#define BURST 64
#define LOOK apr_time_from_sec(5)
#define SILENCE apr_time_from_sec(30)

static void group_event(void *baton, apr_int16_t events)
{
    sc_tc_group_t *g = baton;
    apr_os_sock_t fd;
    int i;

    (void)events;
    if (apr_os_sock_get(&fd, g->sock) != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < BURST; i++) {
        ssize_t n = recv(fd, g->in, sizeof(g->in), MSG_DONTWAIT);

        if (n < 0 && errno != EINTR) {
            return;
        }
        if (n > 0) {
            g->heard = sc_loop_now(g->env->loop);
            sc_tc_members_datagram(g->members, g->in, (apr_size_t)n);
        }
    }
}

static void leave(sc_tc_group_t *g)
{
    if (g->pool != NULL) {
        sc_loop_unwatch(g->env->loop, &g->watch);
        apr_pool_destroy(g->pool);
        g->pool = NULL;
        g->sock = NULL;
    }
}

/* The channel knows how to open one, by its own part of the configuration. */
static apr_status_t open_socket(const sc_tc_group_t *g, apr_os_sock_t *fd, const char **what)
{
    const sc_config_tomcat_t *t = &g->env->config->tomcat;
    sc_config_t *c = apr_pcalloc(g->pool, sizeof(*c));

    memcpy(c->mcast.address, t->address, sizeof(c->mcast.address));
    memcpy(c->mcast.bind, t->bind, sizeof(c->mcast.bind));
    c->mcast.port = t->port;
    c->mcast.ttl = -1;
    return sc_group_open(c, fd, what);
}

static void join(sc_tc_group_t *g)
{
    const sc_config_tomcat_t *t = &g->env->config->tomcat;
    const char *what = "a pool";
    apr_os_sock_t fd = -1;
    apr_status_t rv = apr_pool_create(&g->pool, g->parent);

    if (rv != APR_SUCCESS) {
        g->pool = NULL;
        return;
    }
    rv = open_socket(g, &fd, &what);
    if (rv == APR_SUCCESS) {
        int type = SOCK_DGRAM;
        apr_os_sock_info_t info = {&fd, NULL, NULL, AF_UNSPEC, type, 0};
        socklen_t len = sizeof(info.family);

        (void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &info.family, &len);
        /* made, not put: so it ends with its pool */
        rv = apr_os_sock_make(&g->sock, &info, g->pool);
        if (rv != APR_SUCCESS) {
            close(fd);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(g->env->loop, &g->watch, g->sock, APR_POLLIN, group_event, g);
    }
    if (rv != APR_SUCCESS) {
        leave(g);
        if (sc_log_allowed(&g->failed_log, sc_loop_now(g->env->loop), SC_TC_COMPLAIN, NULL)) {
            sc_log(g->env->log, SC_LOG_ERROR, rv,
                   "SC0806: the Tomcats' group %s:%u cannot be joined (%s), so they are not heard; "
                   "it is tried again (SessionClusterTomcat address= port= bind=)",
                   t->address, t->port, what);
        }
    }
}

static void look_due(void *baton, apr_time_t now)
{
    sc_tc_group_t *g = baton;

    (void)sc_timer_set(sc_loop_timers(g->env->loop), &g->look, now + LOOK, look_due, g);
    if (g->pool != NULL && now - g->heard >= SILENCE) {
        g->heard = now;
        leave(g);
    }
    if (g->pool == NULL) {
        join(g);
    }
}

void sc_tc_group_start(sc_tc_group_t *g, const sc_tomcat_env_t *env, sc_tc_members_t *members,
                       apr_pool_t *pool)
{
    g->env = env;
    g->members = members;
    g->parent = pool;
    g->heard = sc_loop_now(env->loop);
    look_due(g, g->heard);
}

void sc_tc_group_close(sc_tc_group_t *g)
{
    if (g->env != NULL) {
        sc_timer_cancel(sc_loop_timers(g->env->loop), &g->look);
        leave(g);
    }
}
