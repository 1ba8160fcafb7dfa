/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where answers are received. A Tomcat connects to the address in the question, and keeps the
 * connection for the next answer; one that this node closed would make it complain at its next
 * answer. So connections that have brought an answer stay, others have to make room.
 */
#include <string.h>
#include <sys/socket.h>

#include "internal.h"
#include "sc_transport.h"

#include <apr_portable.h>

#define PLACES_MAX 4
#define CONNS_MAX 512
#define ACCEPTS_MAX 32
#define CHUNK 16384
#define READS_MAX 16
#define IDLE_MAX apr_time_from_sec(60)
#define LOOK apr_time_from_sec(10)

typedef struct conn_t {
    sc_tc_answers_t *of;
    struct conn_t *next, **here;
    apr_pool_t *pool;
    apr_socket_t *sock;
    sc_watch_t watch;
    apr_time_t used;
    sc_tc_intake_t in;
} conn_t;

/* An address of this machine, and a port of ours there. */
typedef struct place_t {
    sc_tc_answers_t *of;
    apr_socket_t *sock;
    sc_watch_t watch;
    int fd;
    char address[SC_HOST_MAX + 1];
    apr_uint32_t port;
} place_t;

struct sc_tc_answers_t {
    const sc_tomcat_env_t *env;
    sc_tc_answers_up_t up;
    apr_pool_t *pool;
    place_t place[PLACES_MAX];
    int nplaces;
    conn_t *conns;
    int nconns;
    sc_timer_t look;
};

static void conn_close(conn_t *c)
{
    sc_tc_answers_t *a = c->of;
    int judged = c->in.judged;

    sc_loop_unwatch(a->env->loop, &c->watch);
    sc_tc_intake_close(&c->in);
    *c->here = c->next;
    if (c->next != NULL) {
        c->next->here = c->here;
    }
    a->nconns--;
    apr_pool_destroy(c->pool); /* and c with it */
    if (judged) {
        a->up.failed(a->up.baton, APR_EOF);
    }
}

static void acknowledge(conn_t *c)
{
    for (; c->in.acks > 0; c->in.acks--) {
        apr_size_t n = SC_ACK_FRAME;

        /* answers ask for none; what does not fit is not waited for */
        (void)apr_socket_send(c->sock, (const char *)sc_frame_ack(0), &n);
    }
}

static void conn_event(void *baton, apr_int16_t events)
{
    conn_t *c = baton;
    unsigned char chunk[CHUNK];
    int i;

    (void)events;
    c->used = sc_loop_now(c->of->env->loop);
    for (i = 0; i < READS_MAX; i++) {
        apr_size_t n = sizeof(chunk);
        apr_status_t rv = apr_socket_recv(c->sock, (char *)chunk, &n);

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return;
        }
        if ((rv != APR_SUCCESS && n == 0) || !sc_tc_intake_feed(&c->in, chunk, n)) {
            conn_close(c);
            return;
        }
        acknowledge(c);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static int make_room(sc_tc_answers_t *a)
{
    conn_t *c, *oldest = NULL;

    if (a->nconns < CONNS_MAX) {
        return 1;
    }
    for (c = a->conns; c != NULL; c = c->next) {
        if (!c->in.proven && !c->in.judged && (oldest == NULL || c->used < oldest->used)) {
            oldest = c;
        }
    }
    if (oldest != NULL) {
        conn_close(oldest);
    }
    return oldest != NULL;
}

static apr_status_t add_conn(sc_tc_answers_t *a, apr_pool_t *pool, apr_socket_t *sock)
{
    conn_t *c = apr_pcalloc(pool, sizeof(*c));
    apr_status_t rv = apr_socket_timeout_set(sock, 0);

    c->of = a;
    c->pool = pool;
    c->sock = sock;
    c->used = sc_loop_now(a->env->loop);
    sc_tc_intake_open(&c->in, &a->up, a->env->config->tomcat.max_answer);
    (void)apr_socket_opt_set(sock, APR_SO_KEEPALIVE, 1);
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(a->env->loop, &c->watch, sock, APR_POLLIN, conn_event, c);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c->next = a->conns;
    c->here = &a->conns;
    if (c->next != NULL) {
        c->next->here = &c->next;
    }
    a->conns = c;
    a->nconns++;
    return APR_SUCCESS;
}

static void place_event(void *baton, apr_int16_t events)
{
    place_t *p = baton;
    sc_tc_answers_t *a = p->of;
    int i;

    (void)events;
    for (i = 0; i < ACCEPTS_MAX; i++) {
        apr_socket_t *sock = NULL;
        apr_pool_t *pool;

        if (apr_pool_create(&pool, a->pool) != APR_SUCCESS) {
            return;
        }
        if (apr_socket_accept(&sock, p->sock, pool) != APR_SUCCESS) {
            apr_pool_destroy(pool);
            return;
        }
        if (!make_room(a) || add_conn(a, pool, sock) != APR_SUCCESS) {
            apr_pool_destroy(pool);
        }
    }
}

static void look_due(void *baton, apr_time_t now)
{
    sc_tc_answers_t *a = baton;
    conn_t *c, *next;

    for (c = a->conns; c != NULL; c = next) {
        next = c->next;
        if (!c->in.proven && !c->in.judged && now - c->used > IDLE_MAX) {
            conn_close(c);
        }
    }
    (void)sc_timer_set(sc_loop_timers(a->env->loop), &a->look, now + LOOK, look_due, a);
}

/* ---- places ---------------------------------------------------------------------------------- */

static apr_status_t open_place(sc_tc_answers_t *a, place_t *p, const char *address)
{
    apr_uint32_t port = a->env->config->tomcat.reply_port;
    apr_status_t rv;

    memset(p, 0, sizeof(*p));
    p->of = a;
    memcpy(p->address, address, strlen(address));
    rv = sc_receiver_listen(address, &port, 1, &p->fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    p->port = port;
    {
        apr_os_sock_info_t info = {&p->fd,      NULL,
                                   NULL,        strchr(address, ':') ? AF_INET6 : AF_INET,
                                   SOCK_STREAM, APR_PROTO_TCP};

        rv = apr_os_sock_make(&p->sock, &info, a->pool);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_socket_timeout_set(p->sock, 0);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(a->env->loop, &p->watch, p->sock, APR_POLLIN, place_event, p);
    }
    return rv;
}

apr_status_t sc_tc_answers_at(sc_tc_answers_t *a, const char *address, apr_uint32_t *port)
{
    apr_status_t rv;
    int i;

    for (i = 0; i < a->nplaces; i++) {
        if (strcmp(a->place[i].address, address) == 0) {
            *port = a->place[i].port;
            return APR_SUCCESS;
        }
    }
    if (a->nplaces == PLACES_MAX) {
        return APR_ENOSPC;
    }
    rv = open_place(a, &a->place[a->nplaces], address);
    if (rv == APR_SUCCESS) {
        *port = a->place[a->nplaces++].port;
    }
    return rv;
}

/* ---- life ------------------------------------------------------------------------------------ */

sc_tc_answers_t *sc_tc_answers_create(const sc_tomcat_env_t *env, const sc_tc_answers_up_t *up,
                                      apr_pool_t *pool)
{
    sc_tc_answers_t *a = apr_pcalloc(pool, sizeof(*a));

    a->env = env;
    a->up = *up;
    a->pool = pool;
    look_due(a, sc_loop_now(env->loop));
    return a;
}

int sc_tc_answers_forget(sc_tc_answers_t *a)
{
    int some = 0;
    conn_t *c;

    for (c = a->conns; c != NULL; c = c->next) {
        some |= c->in.judged;
        sc_tc_intake_forget(&c->in);
    }
    return some;
}

void sc_tc_answers_close(sc_tc_answers_t *a)
{
    int i;

    (void)sc_tc_answers_forget(a);
    sc_timer_cancel(sc_loop_timers(a->env->loop), &a->look);
    while (a->conns != NULL) {
        conn_close(a->conns);
    }
    for (i = 0; i < a->nplaces; i++) {
        sc_loop_unwatch(a->env->loop, &a->place[i].watch);
        (void)apr_socket_close(a->place[i].sock);
    }
    a->nplaces = 0;
}
