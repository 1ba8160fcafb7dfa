/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The child's side of the link: calls from many threads over a stock of connections.
 *
 * A thread takes a connection out of the stock (or makes one), owns it for one call, and puts it
 * back; the mutex is held for a few instructions only. The stock is a stack, so that the
 * connections in use stay few and warm.
 *
 * The usual call is one send and one receive. The receive blocks for a short, fixed time that was
 * set when the connection was made; only a call that takes longer pays for a poll with its exact
 * deadline. (The kernel's receive timeout alone would be too coarse: it may last an eighth longer.)
 *
 * When the engine dies, its connections end, and what was sent may or may not have been done. The
 * request is then sent once more, marked SC_LINK_AGAIN, over a new connection: that waits in the
 * queue of the listening socket, which the parent holds, until a successor serves it. A connection
 * from the stock whose engine died meanwhile fails at its first packet; nothing was done then, and
 * the new attempt is not marked.
 *
 * A call that runs out of time leaves its connection with an answer to come. That is no danger to
 * the next call, since answers carry the number of their request, so the connection goes back to
 * the stock, but only while few answers are outstanding and if the request was sent completely.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "link_wire.h"

/* How long a receive blocks before the call turns to poll; also set as SO_RCVTIMEO. Calls with a
 * timeout shorter than two of these poll at once. */
#define SLICE apr_time_from_msec(20)
/* Pauses between attempts to reach an engine that is not there, or ends each connection. */
#define PAUSE_MIN apr_time_from_msec(1)
#define PAUSE_MAX apr_time_from_msec(50)
/* A timeout beyond this is as good as this, and cannot overflow. */
#define TIMEOUT_MAX apr_time_from_sec(24 * 3600)

typedef struct conn_t {
    struct conn_t *next;
    apr_uint64_t number; /* order in which connections came back to the stock; 0: never was there */
    int fd;
    apr_uint32_t serial;      /* of the last request */
    apr_uint32_t outstanding; /* requests sent whose answers have not come completely */
    unsigned char packet[SC_LINK_PACKET];
} conn_t;

struct sc_link_client_t {
    struct sockaddr_un addr;
    apr_thread_mutex_t *mutex; /* for all that follows */
    conn_t *stock;
    apr_uint32_t kept;
    apr_uint32_t keep;
    apr_uint64_t returns; /* of connections to the stock */
    pid_t owner;          /* process that made the connections in stock */
};

/* One sc_link_call under way. */
typedef struct call_t {
    sc_link_client_t *client;
    sc_link_op_t op;
    unsigned int flags;
    const unsigned char *body;
    apr_size_t len;
    sc_buf_t *answer;
    apr_time_t deadline;
    int patient;      /* the next receive may block for a slice */
    apr_time_t pause; /* before the next attempt to connect */
} call_t;

static void conn_close(conn_t *conn)
{
    close(conn->fd);
    free(conn);
}

/** Close the connections of a list. */
static void close_all(conn_t *list)
{
    while (list != NULL) {
        conn_t *next = list->next;

        conn_close(list);
        list = next;
    }
}

/* ---- the stock ---------------------------------------------------------------------------- */

static apr_status_t client_cleanup(void *data)
{
    sc_link_client_t *client = data;
    conn_t *list;

    apr_thread_mutex_lock(client->mutex);
    list = client->stock;
    client->stock = NULL;
    client->kept = client->keep = 0;
    apr_thread_mutex_unlock(client->mutex);
    close_all(list);
    return APR_SUCCESS;
}

apr_status_t sc_link_client_create(sc_link_client_t **client_out, const char *path,
                                   apr_uint32_t keep, apr_pool_t *pool)
{
    sc_link_client_t *client = apr_pcalloc(pool, sizeof(*client));
    apr_status_t rv;

    *client_out = NULL;
    rv = sc_wire_addr(&client->addr, path);
    if (rv == APR_SUCCESS) {
        rv = apr_thread_mutex_create(&client->mutex, APR_THREAD_MUTEX_DEFAULT, pool);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    client->keep = keep;
    client->owner = getpid();
    apr_pool_cleanup_register(pool, client, client_cleanup, apr_pool_cleanup_null);
    *client_out = client;
    return APR_SUCCESS;
}

/**
 * Take an idle connection. After a fork the stock is the parent's, and two processes on one
 * connection would read each other's answers: it is closed here, which does not end it there.
 */
static conn_t *take(sc_link_client_t *client)
{
    pid_t self = getpid();
    conn_t *foreign = NULL;
    conn_t *conn;

    apr_thread_mutex_lock(client->mutex);
    if (client->owner != self) {
        foreign = client->stock;
        client->stock = NULL;
        client->kept = 0;
        client->owner = self;
    }
    conn = client->stock;
    if (conn != NULL) {
        client->stock = conn->next;
        client->kept--;
    }
    apr_thread_mutex_unlock(client->mutex);
    close_all(foreign);
    return conn;
}

static void give_back(sc_link_client_t *client, conn_t *conn)
{
    int room = 0;

    if (conn->outstanding <= SC_LINK_LATE_MAX) {
        apr_thread_mutex_lock(client->mutex);
        room = client->kept < client->keep;
        if (room) {
            conn->number = ++client->returns;
            conn->next = client->stock;
            client->stock = conn;
            client->kept++;
        }
        apr_thread_mutex_unlock(client->mutex);
    }
    if (!room) {
        conn_close(conn);
    }
}

/**
 * The engine closed a connection that lay in the stock, the one that came back as number n. Those
 * that came back before it were used even earlier, so they are closed as well, whether the engine
 * died or makes room; those that came later may belong to its successor.
 */
static void drop_older(sc_link_client_t *client, apr_uint64_t n)
{
    conn_t *dead = NULL;
    conn_t **at;

    apr_thread_mutex_lock(client->mutex);
    at = &client->stock;
    while (*at != NULL) {
        conn_t *conn = *at;

        if (conn->number < n) {
            *at = conn->next;
            conn->next = dead;
            dead = conn;
            client->kept--;
        } else {
            at = &conn->next;
        }
    }
    apr_thread_mutex_unlock(client->mutex);
    close_all(dead);
}

/* ---- waiting and connecting --------------------------------------------------------------- */

/** Wait until fd is ready (fd < 0: just wait) or until is reached, whatever signals come. */
static apr_status_t wait_ready(int fd, short events, apr_time_t until)
{
    for (;;) {
        apr_time_t left = until - sc_mono(&sc_clock_system);
        struct pollfd pfd = {fd, events, 0};
        struct timespec ts;

        if (left <= 0) {
            return APR_TIMEUP;
        }
        ts.tv_sec = (time_t)apr_time_sec(left);
        ts.tv_nsec = (long)apr_time_usec(left) * 1000;
        if (ppoll(&pfd, 1, &ts, NULL) > 0) {
            return APR_SUCCESS;
        }
    }
}

/** Pause before another attempt, longer each time. */
static void pause_call(call_t *c)
{
    apr_time_t until = sc_mono(&sc_clock_system) + c->pause;

    (void)wait_ready(-1, 0, until < c->deadline ? until : c->deadline);
    c->pause = c->pause * 2 < PAUSE_MAX ? c->pause * 2 : PAUSE_MAX;
}

static void set_timeout(int fd, int option, apr_interval_time_t t)
{
    struct timeval tv;

    tv.tv_sec = (time_t)apr_time_sec(t);
    tv.tv_usec = (suseconds_t)apr_time_usec(t);
    (void)setsockopt(fd, SOL_SOCKET, option, &tv, sizeof(tv));
}

/**
 * One attempt to connect. With a full queue connect() waits until the send timeout; that is coarse
 * as well and may last an eighth longer, so it gets less than the time that is left.
 */
static apr_status_t connect_once(call_t *c, int *fd_out, apr_time_t left)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    apr_status_t rv = APR_SUCCESS;

    if (fd < 0) {
        return errno;
    }
    set_timeout(fd, SO_SNDTIMEO, left - left / 4 > 1000 ? left - left / 4 : 1000);
    if (connect(fd, (struct sockaddr *)&c->client->addr, sizeof(c->client->addr)) != 0) {
        rv = errno;
        close(fd);
        return rv;
    }
    set_timeout(fd, SO_RCVTIMEO, SLICE);
    sc_wire_tune(fd);
    *fd_out = fd;
    return APR_SUCCESS;
}

/** Connect, again and again while there is hope that an engine comes back. */
static apr_status_t connect_engine(call_t *c, conn_t **conn_out)
{
    conn_t *conn;
    apr_status_t rv;
    int fd = -1;

    for (;;) {
        apr_time_t left = c->deadline - sc_mono(&sc_clock_system);

        if (left <= 0) {
            return APR_TIMEUP;
        }
        rv = connect_once(c, &fd, left);
        if (rv == APR_SUCCESS) {
            break;
        }
        if (!APR_STATUS_IS_EINTR(rv)) {
            if (!APR_STATUS_IS_ECONNREFUSED(rv) && !APR_STATUS_IS_ENOENT(rv) &&
                !APR_STATUS_IS_EAGAIN(rv)) {
                return rv;
            }
            pause_call(c);
        }
    }
    conn = malloc(sizeof(*conn));
    if (conn == NULL) {
        close(fd);
        return APR_ENOMEM;
    }
    conn->next = NULL;
    conn->fd = fd;
    conn->serial = 0;
    conn->number = 0;
    conn->outstanding = 0;
    *conn_out = conn;
    return APR_SUCCESS;
}

/* ---- one exchange ------------------------------------------------------------------------- */

/** Whether a status says that the other end of the connection is no more. */
static int is_gone(apr_status_t rv)
{
    return rv == APR_EOF || rv == EPIPE || rv == ENOTCONN || APR_STATUS_IS_ECONNRESET(rv) ||
           APR_STATUS_IS_ECONNREFUSED(rv);
}

static apr_status_t send_request(call_t *c, conn_t *conn)
{
    sc_link_head_t head;
    apr_status_t rv;

    sc_wire_head(&head, ++conn->serial, c->op, c->flags, c->len);
    while (APR_STATUS_IS_EAGAIN(rv = sc_wire_send(conn->fd, &head, c->body))) {
        c->patient = 0;
        rv = wait_ready(conn->fd, POLLOUT, c->deadline);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return rv;
}

/**
 * Receive one packet into the connection's buffer.
 * @param gone the other end has closed: take what is still there, do not wait. Set when found out.
 * @return APR_SUCCESS; APR_EOF: nothing more will come; APR_TIMEUP; errors of recv
 */
static apr_status_t receive_packet(call_t *c, conn_t *conn, int *gone, apr_size_t *n_out)
{
    int reset = 0;

    for (;;) {
        int wait = c->patient && !*gone;
        ssize_t n = recv(conn->fd, conn->packet, sizeof(conn->packet),
                         MSG_TRUNC | (wait ? 0 : MSG_DONTWAIT));
        int err = errno;

        c->patient = 0;
        if (n > 0) {
            *n_out = (apr_size_t)n;
            return APR_SUCCESS;
        }
        if (n == 0) {
            return APR_EOF;
        }
        if (err == EAGAIN || err == EWOULDBLOCK) {
            apr_status_t rv;

            if (*gone) {
                return APR_EOF;
            }
            rv = wait_ready(conn->fd, POLLIN, c->deadline);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        } else if (err == ECONNRESET && !reset) {
            /* It closed without reading all that we sent. The kernel says so once, before it hands
             * out what is there nevertheless, and that may be an answer. */
            *gone = reset = 1;
        } else if (err != EINTR) {
            return err;
        }
    }
}

/** Receive the answer to the connection's last request, dropping the late ones of others. */
static apr_status_t receive_answer(call_t *c, conn_t *conn, int gone)
{
    sc_link_join_t join = {{0}, 0};

    sc_buf_clear(c->answer);
    for (;;) {
        const char *why = NULL;
        sc_link_head_t head;
        apr_size_t n = 0;
        apr_status_t rv = receive_packet(c, conn, &gone, &n);
        int whole = 0;

        if (rv != APR_SUCCESS) {
            return rv;
        }
        rv = sc_wire_check(&head, conn->packet, n, &why);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        n -= SC_LINK_HEAD;
        if (head.op != (c->op | SC_LINK_ANSWER) && head.serial == conn->serial) {
            return APR_EINVAL;
        }
        if (head.serial == conn->serial) {
            rv =
                sc_wire_join(&join, &head, conn->packet + SC_LINK_HEAD, n, c->answer, &whole, &why);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        /* An answer ends with its last piece, its own or a late one's. */
        if (head.offset + n == head.total && conn->outstanding > 0) {
            conn->outstanding--;
        }
        if (whole) {
            return APR_SUCCESS;
        }
    }
}

/**
 * Send the request and receive the answer over one connection.
 * @param sent receives whether all of the request was handed over
 */
static apr_status_t exchange(call_t *c, conn_t *conn, int *sent)
{
    apr_status_t rv = send_request(c, conn);
    apr_status_t last;

    *sent = rv == APR_SUCCESS;
    if (*sent) {
        conn->outstanding++;
        return receive_answer(c, conn, 0);
    }
    if (!is_gone(rv)) {
        return rv;
    }
    /* An engine of another release answers the first packet and closes. */
    last = receive_answer(c, conn, 1);
    return last == APR_EMISMATCH ? last : rv;
}

/** One attempt: exchange over a connection, which is then kept or closed. */
static apr_status_t attempt(call_t *c, conn_t *conn, int *sent)
{
    apr_status_t rv = exchange(c, conn, sent);

    if (rv == APR_SUCCESS || (*sent && APR_STATUS_IS_TIMEUP(rv))) {
        give_back(c->client, conn);
    } else {
        conn_close(conn);
    }
    return rv;
}

apr_status_t sc_link_call(sc_link_client_t *client, sc_link_op_t op, const sc_buf_t *request,
                          apr_interval_time_t timeout, sc_buf_t *answer)
{
    apr_time_t now = sc_mono(&sc_clock_system);
    call_t c = {0};
    conn_t *conn;
    int failures = 0;

    sc_buf_clear(answer);
    if (timeout <= 0) {
        return APR_TIMEUP;
    }
    if (request != NULL && request->err != APR_SUCCESS) {
        return request->err;
    }
    c.client = client;
    c.op = op;
    c.body = request != NULL ? request->data : NULL;
    c.len = request != NULL ? request->len : 0;
    c.answer = answer;
    c.deadline = now + (timeout < TIMEOUT_MAX ? timeout : TIMEOUT_MAX);
    c.pause = PAUSE_MIN;
    if (c.len > APR_UINT32_MAX) {
        return APR_ENOSPC;
    }
    conn = take(client);
    for (;;) {
        int pooled = conn != NULL;
        apr_uint64_t number;
        apr_status_t rv;
        int sent = 0;

        if (!pooled) {
            rv = connect_engine(&c, &conn);
            if (rv != APR_SUCCESS) {
                return rv;
            }
            now = sc_mono(&sc_clock_system);
        }
        c.patient = c.deadline - now >= 2 * SLICE;
        number = conn->number;
        rv = attempt(&c, conn, &sent);
        if (!is_gone(rv)) {
            return rv;
        }
        conn = NULL;
        if (sent) {
            c.flags = SC_LINK_AGAIN;
        } else {
            drop_older(client, number);
        }
        /* The first failure is the engine's death; one that goes on failing needs room to breathe,
         * and so does the machine. */
        if (!pooled && ++failures > 1) {
            pause_call(&c);
        }
    }
}
