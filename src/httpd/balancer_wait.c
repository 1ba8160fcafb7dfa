/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Requests that wait for the answer of a node which is not there any more.
 *
 * A node whose machine lost its power, or that stands still, closes no connection: who waits for
 * its answer would do so for ProxyTimeout. Membership knows after a few seconds. So each child of a
 * balancer has a thread that looks at the view while requests wait, and ends those connections
 * whose node has left it: to mod_proxy that is a backend that has died, and the browser learns it
 * at once and may try again, on another node.
 *
 * A request waits from when it has been sent until its answer begins to come, and is on the list
 * from then on until its end. What is listed is mod_proxy's own descriptor of the connection, so it
 * must leave the list before that is closed: its number may be another connection's a moment later.
 * mod_proxy closes one by clearing the pool that the connection and its socket are of, in all its
 * paths, also when the child ends. The pool of the record that mod_proxy_http reads the answer into
 * is a part of that pool, so a cleanup of it runs before the socket's, or earlier, when
 * mod_proxy_http gives the connection back. A connection that is not made so is not listed.
 *
 * Nobody tells when the answer begins, since that would cost each request something and almost none
 * has to know. But when mod_proxy_http has read an answer's headers, not those of an interim one,
 * it puts a filter before those that it has read them through, which takes the body apart. So the
 * first of the record's filters says it, to whoever asks. If it did not, answers of nodes that are
 * gone would be cut short; nothing else.
 *
 * Nor does a request look whether its node is in the view at all. What counts is a node that has
 * gone since the request began; those of workers that are no members have not, whatever happens to
 * them, nor has one that serves although it was gone before.
 *
 * And only one that has gone in silence: nothing has come from it for dropTime. One whose receiver
 * is closed lives on as a machine, which closes the connections of processes that have died; if
 * they have not, they will answer. So it is while a graceful restart replaces the engine of a node.
 *
 * The thread believes the view on the terms on which workers are marked down: the engine works, and
 * another node is alive. One that has lost the network itself ends nothing.
 */

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "balancer.h"

#include "apr_optional_hooks.h"
#include "apr_portable.h"
#include "apr_thread_cond.h"
#include "apr_thread_mutex.h"
#include "apr_thread_proc.h"
#include "util_filter.h"

APLOG_USE_MODULE(session_cluster);

#define LOOK_INTERVAL apr_time_from_msec(200)

typedef struct wait_t {
    struct wait_t *next, **from; /**< from: what points to it; NULL: not on the list */
    struct waits_t *list;
    const request_rec *answer; /**< good as long as this is on the list, */
    const ap_filter_t *first;  /**< of its filters before it has begun */
    int fd;                    /**< as good as that */
    apr_time_t begun;          /**< the request, by the clock on the wall */
    apr_size_t len;
    char route[]; /**< of the node; nothing ends it but its length */
} wait_t;

typedef struct waits_t {
    apr_thread_mutex_t *mutex; /**< for all of this */
    apr_thread_cond_t *some;   /**< there is one, or it is time to end */
    apr_thread_t *thread;
    wait_t *first;
    sc_view_t *view; /**< the thread's */
    int idle;        /**< the thread wants to be told of the next one */
    int ending;
} waits_t;

/* ---- the thread ------------------------------------------------------------------------------ */

/* Whether the view can be believed when it says that somebody is gone. */
static int credible(const sc_board_t *board)
{
    apr_uint32_t state = sc_board_get(board->node_state);

    return state == SC_NODE_JOINING || state == SC_NODE_READY || state == SC_NODE_MINORITY;
}

static void leave(wait_t *w)
{
    if (w->from) {
        *w->from = w->next;
        if (w->next) {
            w->next->from = w->from;
        }
        w->from = NULL;
    }
}

static int has_begun(const wait_t *w)
{
    return __atomic_load_n(&w->answer->input_filters, __ATOMIC_RELAXED) != w->first;
}

/* Whether nothing has come from a member for as long as it may be silent. @param mono now */
static int is_silent(const sc_board_member_t *m, apr_time_t mono)
{
    const sc_config_t *c = &sc_httpd()->conf->engine;
    apr_uint32_t drop_ms = m->foreign ? c->tomcat.drop_ms : c->mcast.drop_ms;

    return mono - m->heard >= apr_time_from_msec(drop_ms);
}

/* @param begun, mono when the request began, and now */
static int has_gone(const sc_view_t *view, const wait_t *w, apr_time_t begun, apr_time_t mono)
{
    int gone = 0;

    for (apr_uint32_t i = 0; i < view->count; i++) {
        const sc_board_member_t *m = &view->member[i];

        if (m->role != SC_ROLE_NODE || strncmp(m->route, w->route, w->len) != 0 ||
            m->route[w->len]) {
            continue;
        }
        if (m->state != SC_MEMBER_GONE) {
            return 0;
        }
        gone = gone || (m->since > begun && is_silent(m, mono));
    }
    return gone;
}

static void end_waits(waits_t *list)
{
    apr_time_t mono = sc_mono(&sc_clock_system);
    apr_time_t to_mono = mono - apr_time_now();
    wait_t *next;

    for (wait_t *w = list->first; w; w = next) {
        next = w->next;
        if (!has_begun(w) && has_gone(list->view, w, w->begun + to_mono, mono)) {
            (void)shutdown(w->fd, SHUT_RDWR);
            sc_tally(waits_ended);
            leave(w);
        }
    }
}

static void *APR_THREAD_FUNC look(apr_thread_t *thread, void *baton)
{
    const sc_board_t *board = sc_httpd()->board;
    waits_t *list = baton;
    apr_uint32_t gen = sc_board_view_gen(board);

    (void)apr_thread_mutex_lock(list->mutex);
    while (!list->ending) {
        if (!list->first) {
            list->idle = 1;
            (void)apr_thread_cond_wait(list->some, list->mutex);
            list->idle = 0;
            continue;
        }
        /* requests that come meanwhile do not wake it: it costs a busy server nothing */
        (void)apr_thread_cond_timedwait(list->some, list->mutex, LOOK_INTERVAL);
        if (gen != sc_board_view_gen(board)) {
            gen = sc_board_view_gen(board);
            if (credible(board) && sc_board_any_node(board) &&
                sc_board_view(board, list->view) == APR_SUCCESS) {
                end_waits(list);
            }
        }
    }
    (void)apr_thread_mutex_unlock(list->mutex);
    apr_thread_exit(thread, APR_SUCCESS);
    return NULL;
}

/* ---- requests -------------------------------------------------------------------------------- */

static apr_status_t done(void *baton)
{
    wait_t *w = baton;

    (void)apr_thread_mutex_lock(w->list->mutex);
    leave(w);
    (void)apr_thread_mutex_unlock(w->list->mutex);
    return APR_SUCCESS;
}

static void enlist(waits_t *list, const request_rec *r, const request_rec *answer, int fd,
                   const char *route, apr_size_t len)
{
    wait_t *w = apr_palloc(answer->pool, sizeof(*w) + len);

    w->list = list;
    w->answer = answer;
    w->first = answer->input_filters;
    memcpy(w->route, route, len);
    w->len = len;
    w->begun = r->request_time;
    w->fd = fd;
    (void)apr_thread_mutex_lock(list->mutex);
    w->next = list->first;
    w->from = &list->first;
    if (w->next) {
        w->next->from = &w->next;
    }
    list->first = w;
    if (list->idle) {
        (void)apr_thread_cond_signal(list->some);
    }
    (void)apr_thread_mutex_unlock(list->mutex);
    apr_pool_cleanup_register(answer->pool, w, done, apr_pool_cleanup_null);
}

/* Whether the record of an answer is of a pool that is gone before the connection's socket is. */
static int ends_first(const request_rec *answer, apr_socket_t *sock)
{
    apr_pool_t *pool = answer->connection->pool;

    return apr_socket_pool_get(sock) == pool && apr_pool_parent_get(answer->pool) == pool;
}

/* The route of the worker that mod_proxy_balancer has chosen. It puts the worker's own text into
 * the environment, so that it is the one in question there shows without a look at names. */
static const char *route_of(const attempts_t *a)
{
    const apr_table_t *env = a->r->subprocess_env;
    const char *likely = a->likely ? a->likely->s->route : NULL;

    return likely && sc_has_newest(env, likely) ? likely : sc_newest(env, "BALANCER_WORKER_ROUTE");
}

/* The request has been sent, its answer is about to be read: `answer` is what mod_proxy reads it
 * into, on the connection to the node. */
static int create_req(request_rec *r, request_rec *answer)
{
    const sc_httpd_t *h = sc_httpd();
    attempts_t *a = sc_attempts_made(r);
    const char *route;
    apr_socket_t *sock;
    apr_os_sock_t fd;
    apr_size_t len;

    if (!a || !a->balancer) {
        return DECLINED;
    }
    a->sent = 1;
    a->was_no_cache = r->no_cache;
    if (!h->waits) {
        return OK;
    }
    route = route_of(a);
    len = route ? strlen(route) : 0;
    sock = len > 0 && len <= SC_ROUTE_MAX ? ap_get_conn_socket(answer->connection) : NULL;
    if (sock && ends_first(answer, sock) && apr_os_sock_get(&fd, sock) == APR_SUCCESS) {
        enlist(h->waits, r, answer, fd, route, len);
    }
    return OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static apr_status_t end_thread(void *baton)
{
    waits_t *list = baton;
    apr_status_t rv;

    sc_httpd()->waits = NULL;
    (void)apr_thread_mutex_lock(list->mutex);
    list->ending = 1;
    (void)apr_thread_cond_signal(list->some);
    (void)apr_thread_mutex_unlock(list->mutex);
    (void)apr_thread_join(&rv, list->thread);
    return APR_SUCCESS;
}

void sc_wait_child_init(apr_pool_t *pchild, server_rec *s)
{
    sc_httpd_t *h = sc_httpd();
    apr_pool_t *pool = s->process->pconf; /* requests may end after pchild has */
    sigset_t all, before;
    waits_t *list;
    apr_status_t rv;

    if (!h->board || !h->conf || h->conf->keep_waiting) {
        return;
    }
    list = apr_pcalloc(pool, sizeof(*list));
    list->view = apr_palloc(pool, sizeof(*list->view));
    rv = apr_thread_mutex_create(&list->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    rv = rv == APR_SUCCESS ? apr_thread_cond_create(&list->some, pool) : rv;
    if (rv == APR_SUCCESS) {
        (void)sigfillset(&all); /* signals are for the threads that httpd knows */
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        rv = apr_thread_create(&list->thread, NULL, look, list, pool);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "SC0725: no thread to look after requests that wait for nodes; they wait for "
                     "as long as ProxyTimeout says");
        return;
    }
    h->waits = list;
    apr_pool_pre_cleanup_register(pchild, list, end_thread);
}

void sc_wait_register(void)
{
    APR_OPTIONAL_HOOK(proxy, create_req, create_req, NULL, NULL, APR_HOOK_MIDDLE);
}
