/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The engine's side of the link, and the listening socket, which the parent makes.
 *
 * A connection costs little while it is idle: no buffer belongs to it. Packets are received into
 * one buffer of the server; a request of one packet is handed on from there, only longer ones are
 * put together in memory of the connection. Answers go out at once; what the socket does not take
 * is copied and follows when there is room.
 *
 * Connections are never given back to the system but re-used, each life with a new serial, so the
 * handle of an open request can be checked however long ago its connection ended.
 *
 * All connections are in one list, the longest unused first. When no more are allowed and somebody
 * waits in the kernel's queue, the first idle one is closed in his favour: children keep idle
 * connections for convenience and notice a closed one at no cost, whereas a caller in the queue
 * would wait until a child dies. Only if none is idle does the server stop accepting, until one is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_portable.h>

#include "link_wire.h"

/* Bounds of what one event may do, so that no connection keeps the others waiting. */
#define ACCEPT_BURST 64
#define READ_BURST 32
/* How long the server stops accepting at most before it looks again. */
#define ACCEPT_RETRY apr_time_from_msec(100)
/* A new connection is not taken for idle before this time: its first request is on the way. */
#define FRESH_TIME apr_time_from_msec(500)
/* How long a new parent waits for the engine of a killed one to let go of the socket. */
#define STALE_WAIT apr_time_from_sec(1)
#define STALE_STEP apr_time_from_msec(20)

/* The part of an answer that the socket did not take yet. */
typedef struct pending_t {
    struct pending_t *next;
    sc_link_head_t head;
    unsigned char body[];
} pending_t;

struct sc_link_conn_t {
    sc_link_server_t *server;
    sc_link_conn_t *prev; /* list of the server; of free ones only next */
    sc_link_conn_t *next;
    apr_uint64_t serial; /* 0: free */
    apr_time_t fresh;    /* no request yet: until when that is no idleness; 0 afterwards */
    int fd;
    apr_socket_t *sock;
    sc_watch_t watch;
    apr_uint32_t open[SC_LINK_OPEN_MAX]; /* serials of requests not answered yet */
    apr_uint16_t ops[SC_LINK_OPEN_MAX];
    unsigned int nopen;
    unsigned int npending;
    pending_t *pending;
    sc_link_join_t join;
    sc_buf_t body; /* of the request being put together; no memory otherwise */
};

struct sc_link_server_t {
    sc_loop_t *loop;
    sc_link_handler_t handler;
    apr_pool_t *pool;
    int listen_fd;
    apr_socket_t *listen_sock;
    sc_watch_t watch;
    sc_timer_t retry;
    int paused;
    int closed;
    apr_size_t max_message;
    apr_uint32_t max_conns;
    apr_uint32_t nconns;
    apr_uint64_t serials;
    sc_link_conn_t *first; /* longest unused */
    sc_link_conn_t *last;
    sc_link_conn_t *free;
    unsigned char packet[SC_LINK_PACKET];
};

static sc_watch_fn_t on_listen;
static sc_watch_fn_t on_conn;

/* ---- accepting or not --------------------------------------------------------------------- */

static void on_retry(void *baton, apr_time_t now)
{
    sc_link_server_t *s = baton;
    apr_status_t rv;

    if (s->closed) {
        return;
    }
    rv = sc_loop_watch(s->loop, &s->watch, s->listen_sock, APR_POLLIN, on_listen, s);
    if (rv == APR_SUCCESS) {
        s->paused = 0;
    } else {
        (void)sc_timer_set(sc_loop_timers(s->loop), &s->retry, now + ACCEPT_RETRY, on_retry, s);
    }
}

/** Stop accepting until resume(), or until a short time has passed. */
static void pause_accept(sc_link_server_t *s)
{
    s->paused = 1;
    (void)sc_loop_watch(s->loop, &s->watch, s->listen_sock, 0, on_listen, s);
    (void)sc_timer_set(sc_loop_timers(s->loop), &s->retry, sc_loop_now(s->loop) + ACCEPT_RETRY,
                       on_retry, s);
}

static void resume(sc_link_server_t *s)
{
    if (s->paused) {
        sc_timer_cancel(sc_loop_timers(s->loop), &s->retry);
        on_retry(s, sc_loop_now(s->loop));
    }
}

/* ---- connections -------------------------------------------------------------------------- */

static void list_remove(sc_link_conn_t *c)
{
    sc_link_server_t *s = c->server;

    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        s->first = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    } else {
        s->last = c->prev;
    }
}

static void list_append(sc_link_conn_t *c)
{
    sc_link_server_t *s = c->server;

    c->next = NULL;
    c->prev = s->last;
    if (s->last != NULL) {
        s->last->next = c;
    } else {
        s->first = c;
    }
    s->last = c;
}

static int is_idle(const sc_link_conn_t *c)
{
    return c->nopen == 0 && c->npending == 0 && !c->join.open;
}

static void conn_close(sc_link_conn_t *c)
{
    sc_link_server_t *s = c->server;

    sc_loop_unwatch(s->loop, &c->watch);
    close(c->fd);
    c->fd = -1;
    c->serial = 0;
    while (c->pending != NULL) {
        pending_t *p = c->pending;

        c->pending = p->next;
        free(p);
    }
    c->nopen = c->npending = 0;
    c->join.open = 0;
    sc_buf_free(&c->body);
    list_remove(c);
    c->next = s->free;
    s->free = c;
    s->nconns--;
    resume(s);
}

/** Close a connection for what came over it. */
static void refuse(sc_link_conn_t *c, const char *why)
{
    sc_link_server_t *s = c->server;

    conn_close(c);
    if (s->handler.refused != NULL) {
        s->handler.refused(s->handler.baton, why);
    }
}

static apr_status_t conn_open(sc_link_server_t *s, int fd)
{
    sc_link_conn_t *c = s->free;
    apr_status_t rv;

    if (c != NULL) {
        s->free = c->next;
    } else {
        /* at most max_conns of them in the life of the pool */
        c = apr_pcalloc(s->pool, sizeof(*c));
        c->server = s;
        sc_buf_init(&c->body, s->max_message);
    }
    rv = apr_os_sock_put(&c->sock, &fd, s->pool);
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(s->loop, &c->watch, c->sock, APR_POLLIN, on_conn, c);
    }
    if (rv != APR_SUCCESS) {
        c->next = s->free;
        s->free = c;
        close(fd);
        return rv;
    }
    sc_wire_tune(fd);
    c->fd = fd;
    c->serial = ++s->serials;
    c->fresh = sc_loop_now(s->loop) + FRESH_TIME;
    list_append(c);
    s->nconns++;
    return APR_SUCCESS;
}

/** Whether nobody is hurt when this connection is closed: no request is open, half received, to be
 *  expected, or waiting in the socket to be read in this very round. */
static int is_useless(const sc_link_conn_t *c)
{
    char byte;

    return is_idle(c) && c->fresh <= sc_loop_now(c->server->loop) &&
           recv(c->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) <= 0;
}

static int evict_idle(sc_link_server_t *s)
{
    sc_link_conn_t *c = s->first;

    while (c != NULL && !is_useless(c)) {
        c = c->next;
    }
    if (c == NULL) {
        return 0;
    }
    conn_close(c);
    return 1;
}

static void on_listen(void *baton, apr_int16_t events)
{
    sc_link_server_t *s = baton;
    int i;

    (void)events;
    for (i = 0; i < ACCEPT_BURST; i++) {
        int fd;

        if (s->nconns >= s->max_conns) {
            /* That somebody waits is certain only at first. */
            if (i > 0) {
                return;
            }
            if (!evict_idle(s)) {
                pause_accept(s);
                return;
            }
        }
        fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED) {
                continue;
            }
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                pause_accept(s);
            }
            return;
        }
        if (conn_open(s, fd) != APR_SUCCESS) {
            pause_accept(s);
            return;
        }
    }
}

/* ---- requests ----------------------------------------------------------------------------- */

static int find_open(const sc_link_conn_t *c, apr_uint32_t serial)
{
    unsigned int i;

    for (i = 0; i < c->nopen; i++) {
        if (c->open[i] == serial) {
            return (int)i;
        }
    }
    return -1;
}

/** Why a request must not be served, or NULL. */
static const char *fault_of(const sc_link_conn_t *c, const sc_link_head_t *head)
{
    if (head->op < SC_LINK_CHANGE || head->op > SC_LINK_LAST) {
        return "unknown operation";
    }
    if ((head->flags & ~SC_LINK_AGAIN) != 0) {
        return "unknown flag";
    }
    if (head->total > c->server->max_message) {
        return "message too large";
    }
    /* Answers that nobody reads count as open, which bounds the memory they take. */
    if (c->nopen + c->npending >= SC_LINK_OPEN_MAX) {
        return "too many requests open on one connection";
    }
    if (find_open(c, head->serial) >= 0) {
        return "request repeated while it is open";
    }
    return NULL;
}

static void dispatch(sc_link_conn_t *c, const sc_link_head_t *head, const unsigned char *body)
{
    sc_link_server_t *s = c->server;
    sc_link_call_t call = {c, c->serial, head->serial};

    c->open[c->nopen] = head->serial;
    c->ops[c->nopen] = head->op;
    c->nopen++;
    c->fresh = 0;
    list_remove(c);
    list_append(c);
    s->handler.request(s->handler.baton, &call, (sc_link_op_t)head->op,
                       (head->flags & SC_LINK_AGAIN) != 0, body, head->total);
}

/** Tell a child of another release who we are; it must not wait for an answer that it could not
 *  read. */
static void answer_abi(sc_link_conn_t *c, const sc_link_head_t *head)
{
    sc_link_head_t answer;

    sc_wire_head(&answer, head->serial, head->op | SC_LINK_ANSWER, 0, 0);
    (void)sc_wire_send(c->fd, &answer, NULL);
}

/** @return 1: more pieces of the message are to come; 0: enough for now, or closed */
static int on_packet(sc_link_conn_t *c, const unsigned char *packet, apr_size_t n)
{
    sc_link_server_t *s = c->server;
    const char *why = NULL;
    sc_link_head_t head;
    apr_status_t rv;
    sc_buf_t body;
    int whole = 0;

    rv = sc_wire_check(&head, packet, n, &why);
    if (rv == APR_EMISMATCH) {
        answer_abi(c, &head);
    }
    if (rv == APR_SUCCESS) {
        why = fault_of(c, &head);
    }
    if (why != NULL) {
        refuse(c, why);
        return 0;
    }
    packet += SC_LINK_HEAD;
    n -= SC_LINK_HEAD;
    if (!c->join.open && n == head.total) {
        dispatch(c, &head, packet);
        return 0;
    }
    if (sc_wire_join(&c->join, &head, packet, n, &c->body, &whole, &why) != APR_SUCCESS) {
        refuse(c, why);
        return 0;
    }
    if (!whole) {
        return 1;
    }
    /* The request leaves the connection, which may end while it is served. */
    sc_buf_init(&body, s->max_message);
    sc_buf_swap(&body, &c->body);
    dispatch(c, &head, body.data);
    sc_buf_free(&body);
    return 0;
}

static void conn_read(sc_link_conn_t *c)
{
    sc_link_server_t *s = c->server;
    int i;

    /* A child sends the next request after the answer, so reading ends with a whole request: one
     * more look would only cost. Whatever is there nevertheless is reported again. */
    for (i = 0; i < READ_BURST; i++) {
        ssize_t n = recv(c->fd, s->packet, sizeof(s->packet), MSG_DONTWAIT | MSG_TRUNC);

        if (n > 0) {
            if (!on_packet(c, s->packet, (apr_size_t)n)) {
                return;
            }
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else {
            if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
                conn_close(c);
            }
            return;
        }
    }
}

/* ---- answers ------------------------------------------------------------------------------ */

static apr_status_t watch_conn(sc_link_conn_t *c)
{
    return sc_loop_watch(c->server->loop, &c->watch, c->sock,
                         c->pending != NULL ? APR_POLLIN | APR_POLLOUT : APR_POLLIN, on_conn, c);
}

/** Send what waits. @return 0: the connection is closed */
static int conn_flush(sc_link_conn_t *c)
{
    while (c->pending != NULL) {
        pending_t *p = c->pending;
        apr_status_t rv = sc_wire_send(c->fd, &p->head, p->body);

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return 1;
        }
        if (rv != APR_SUCCESS) {
            conn_close(c);
            return 0;
        }
        c->pending = p->next;
        c->npending--;
        free(p);
    }
    if (watch_conn(c) != APR_SUCCESS) {
        conn_close(c);
        return 0;
    }
    if (is_idle(c)) {
        resume(c->server);
    }
    return 1;
}

static void on_conn(void *baton, apr_int16_t events)
{
    sc_link_conn_t *c = baton;

    if ((events & APR_POLLOUT) != 0 && !conn_flush(c)) {
        return;
    }
    if ((events & ~APR_POLLOUT) != 0) {
        conn_read(c);
    }
}

/** Keep a copy of what is left of an answer; it follows those that wait already. */
static apr_status_t enqueue(sc_link_conn_t *c, const sc_link_head_t *head,
                            const unsigned char *body)
{
    pending_t **at = &c->pending;
    pending_t *p = malloc(sizeof(*p) + head->total);

    if (p == NULL) {
        return APR_ENOMEM;
    }
    p->next = NULL;
    p->head = *head;
    if (head->total > 0) {
        memcpy(p->body, body, head->total);
    }
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = p;
    c->npending++;
    return watch_conn(c);
}

apr_status_t sc_link_answer(sc_link_server_t *server, const sc_link_call_t *call, const void *body,
                            apr_size_t len)
{
    sc_link_conn_t *c = call->conn;
    apr_status_t rv = APR_EAGAIN;
    sc_link_head_t head;
    int i;

    if (c->serial != call->conn_serial) {
        return APR_SUCCESS;
    }
    i = find_open(c, call->serial);
    if (i < 0) {
        return APR_EINVAL;
    }
    sc_wire_head(&head, call->serial, c->ops[i] | SC_LINK_ANSWER, 0, len);
    c->nopen--;
    c->open[i] = c->open[c->nopen];
    c->ops[i] = c->ops[c->nopen];
    if (len > APR_UINT32_MAX) {
        /* Its caller would wait in vain on a living connection. */
        conn_close(c);
        return APR_ENOSPC;
    }
    if (c->pending == NULL) {
        rv = sc_wire_send(c->fd, &head, body);
    }
    if (APR_STATUS_IS_EAGAIN(rv)) {
        rv = enqueue(c, &head, body);
        if (rv != APR_SUCCESS) {
            conn_close(c);
        }
        return rv;
    }
    if (rv != APR_SUCCESS) {
        conn_close(c);
    } else if (is_idle(c)) {
        resume(server);
    }
    return APR_SUCCESS;
}

/* ---- the server --------------------------------------------------------------------------- */

apr_uint32_t sc_link_server_conns(const sc_link_server_t *server)
{
    return server->nconns;
}

void sc_link_server_close(sc_link_server_t *server)
{
    server->closed = 1;
    sc_timer_cancel(sc_loop_timers(server->loop), &server->retry);
    sc_loop_unwatch(server->loop, &server->watch);
    while (server->first != NULL) {
        conn_close(server->first);
    }
}

static apr_status_t server_cleanup(void *data)
{
    sc_link_server_close(data);
    return APR_SUCCESS;
}

apr_status_t sc_link_server_create(sc_link_server_t **server, sc_loop_t *loop, int listen_fd,
                                   apr_size_t max_message, apr_uint32_t max_conns,
                                   const sc_link_handler_t *handler, apr_pool_t *pool)
{
    sc_link_server_t *s;
    apr_status_t rv;
    int flags;

    *server = NULL;
    if (max_conns == 0 || handler->request == NULL) {
        return APR_EINVAL;
    }
    flags = fcntl(listen_fd, F_GETFL);
    if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return errno;
    }
    s = apr_pcalloc(pool, sizeof(*s));
    s->loop = loop;
    s->handler = *handler;
    s->pool = pool;
    s->listen_fd = listen_fd;
    s->max_message = max_message < APR_UINT32_MAX ? max_message : APR_UINT32_MAX;
    s->max_conns = max_conns;
    rv = apr_os_sock_put(&s->listen_sock, &listen_fd, pool);
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(loop, &s->watch, s->listen_sock, APR_POLLIN, on_listen, s);
    }
    if (rv == APR_SUCCESS) {
        apr_pool_cleanup_register(pool, s, server_cleanup, apr_pool_cleanup_null);
        *server = s;
    }
    return rv;
}

/* ---- the parent's listening socket -------------------------------------------------------- */

/** Whether somebody listens at addr. */
static int is_served(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int served;

    if (fd < 0) {
        return 0;
    }
    /* EAGAIN: its queue is full. A socket of another type is somebody else's. */
    served = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN ||
             errno == EPROTOTYPE;
    close(fd);
    return served;
}

/**
 * Make room for the socket. Only a socket is removed, and only when nobody listens any more: two
 * servers with one path would take each other's requests. The engine of a killed parent may need a
 * moment to end, hence the wait.
 */
static apr_status_t remove_stale(const struct sockaddr_un *addr)
{
    apr_time_t until = sc_mono(&sc_clock_system) + STALE_WAIT;
    struct stat st;

    if (lstat(addr->sun_path, &st) != 0) {
        return errno == ENOENT ? APR_SUCCESS : errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return APR_EEXIST;
    }
    while (is_served(addr)) {
        if (sc_mono(&sc_clock_system) >= until) {
            return EADDRINUSE;
        }
        apr_sleep(STALE_STEP);
    }
    return unlink(addr->sun_path) == 0 || errno == ENOENT ? APR_SUCCESS : errno;
}

/** Owner and mode are set before listen(): until then nobody can connect, whatever the umask let
 *  bind() make. */
static apr_status_t prepare(int fd, const struct sockaddr_un *addr, int backlog, apr_uid_t uid,
                            apr_gid_t gid)
{
    if (chmod(addr->sun_path, S_IRUSR | S_IWUSR) != 0 ||
        (uid != (apr_uid_t)-1 && lchown(addr->sun_path, uid, gid) != 0) ||
        listen(fd, backlog) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}

apr_status_t sc_link_listen(const char *path, int backlog, apr_uid_t uid, apr_gid_t gid, int *fd)
{
    struct sockaddr_un addr;
    apr_status_t rv;
    int sock;

    *fd = -1;
    rv = sc_wire_addr(&addr, path);
    if (rv == APR_SUCCESS) {
        rv = remove_stale(&addr);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock < 0) {
        return errno;
    }
    if (bind(sock, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        rv = errno;
        close(sock);
        return rv;
    }
    rv = prepare(sock, &addr, backlog, uid, gid);
    if (rv != APR_SUCCESS) {
        unlink(addr.sun_path);
        close(sock);
        return rv;
    }
    *fd = sock;
    return APR_SUCCESS;
}
