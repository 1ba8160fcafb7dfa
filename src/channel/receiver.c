/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The receiver: accepts connections, cuts what comes into frames, answers as the options ask.
 *
 * Whoever can reach the port can connect, so everything here has a bound: connections, the bytes of
 * one frame, the bytes of all frames that are being received, the time a frame may take. Memory
 * grows with what has really come, never with what a length field announces. What is no frame ends
 * its connection: after garbage nothing on it can be trusted.
 *
 * With a secret a connection is a stranger's until it has proven itself: it has a few bytes inside
 * its own record, a few seconds, and one of STRANGERS_MAX places. When these are all taken,
 * somebody of the address that has most of them loses his: who has got no further for longest. So a
 * flood drives out itself, and whoever has proven himself is never driven out. Acknowledgements are
 * sealed like everything else.
 *
 * A connection is not read while an acknowledgement cannot be written or memory is short; TCP then
 * slows the sender down.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net.h"

#define ACCEPT_BURST 32
#define ACCEPT_PAUSE apr_time_from_sec(1)
#define HEADER_TIME apr_time_from_sec(10)
#define FRAME_TIME apr_time_from_sec(30)
#define LOG_INTERVAL apr_time_from_sec(10)
/* What one connection may read before the others get their turn. */
#define READ_BURST (256 * 1024)
/* An idle connection keeps a buffer of this size at most. */
#define KEEP_BYTES (64 * 1024)
/* Buffers up to this size are granted even when memory is short: a good member's small frames get
 * through while somebody hogs it. They are bounded by the number of connections. */
#define ALWAYS_BYTES (64 * 1024)
/* All buffers together, in frames of the largest size. */
#define FRAMES_AT_ONCE 8
/* Connections that have not proven themselves, and how long they may take. */
#define STRANGERS_MAX 128
#define SHAKE_TIME apr_time_from_sec(5)
/* A member's first words come sooner. */
#define HELLO_TIME apr_time_from_msec(50)

/** What a connection is closed for, other than its end or an error of its socket. */
typedef enum fault_t {
    FAULT_GARBAGE,  /* it did something no member does */
    FAULT_FORGED,   /* a frame of somebody who has the secret was changed on its way */
    FAULT_STRANGER, /* it has not proven that it is a member's */
    FAULTS
} fault_t;

typedef struct conn_t {
    struct conn_t *next;
    struct conn_t **link;
    sc_receiver_t *r;
    sc_sock_t sock;
    struct sockaddr_storage peer;
    sc_parser_t parser;
    apr_size_t held; /* of r->memory */
    int starved;     /* waits for memory */
    unsigned char out[SC_SHAKE_MAX];
    apr_size_t out_len; /* of an acknowledgement that the socket did not take yet */
    apr_time_t
        since; /* when the incomplete frame, the wait to write, or a stranger's visit began */
    sc_timer_t timer;
    sc_shake_t *shake; /* NULL: proven, or there is no secret */
    sc_seal_t sending;
    sc_seal_t receiving;
    apr_uint32_t crowd; /* of a stranger: how many come from where it does, itself included */
    sc_uid_t uid;       /* who it is, once it is proven */
    int other;          /* it began a handshake, and there is no secret here */
} conn_t;

struct sc_receiver_t {
    const sc_net_env_t *env;
    sc_sock_t listener;
    sc_timer_t pause;
    conn_t *conns;
    apr_uint32_t nconns;
    conn_t *strangers; /* who have not proven themselves; who got on last is first */
    apr_uint32_t nstrangers;
    apr_uint64_t memory;
    apr_uint64_t memory_max;
    sc_log_limit_t fault_log[FAULTS];
    sc_log_limit_t full_log;
    sc_log_limit_t accept_log;
};

static void conn_event(void *baton, apr_int16_t events);
static void shake_event(conn_t *c);
static void stranger_came(conn_t *c);
static void stranger_left(conn_t *c);
static void accept_event(void *baton, apr_int16_t events);

static apr_time_t now_of(const sc_receiver_t *r)
{
    return sc_loop_now(r->env->loop);
}

/* ---- memory --------------------------------------------------------------------------------- */

static void account(conn_t *c)
{
    c->r->memory += c->parser.in.cap;
    c->r->memory -= c->held;
    c->held = c->parser.in.cap;
}

/** Whether the buffer may grow by n bytes now. */
static int may_grow(const conn_t *c, apr_size_t n)
{
    apr_size_t need = c->parser.in.len + n;

    return need <= c->held || need <= ALWAYS_BYTES || c->r->memory + n <= c->r->memory_max;
}

/** Memory has become free: whoever waited for it may try again. */
static void feed_starved(sc_receiver_t *r)
{
    conn_t *c;

    for (c = r->conns; c != NULL; c = c->next) {
        if (c->starved) {
            c->starved = 0;
            (void)sc_sock_watch(&c->sock, APR_POLLIN, conn_event, c);
        }
    }
}

/* ---- closing -------------------------------------------------------------------------------- */

static void put_in(conn_t **list, conn_t *c)
{
    c->next = *list;
    c->link = list;
    if (c->next != NULL) {
        c->next->link = &c->next;
    }
    *list = c;
}

static void take_out(conn_t *c)
{
    *c->link = c->next;
    if (c->next != NULL) {
        c->next->link = c->link;
    }
}

static void conn_close(conn_t *c)
{
    sc_receiver_t *r = c->r;
    int freed = c->held > 0;

    sc_timer_cancel(sc_loop_timers(r->env->loop), &c->timer);
    sc_sock_close(&c->sock, 1);
    sc_parser_free(&c->parser);
    account(c);
    take_out(c);
    if (c->shake != NULL) {
        stranger_left(c);
        free(c->shake);
    } else {
        r->nconns--;
    }
    sc_seal_free(&c->sending);
    sc_seal_free(&c->receiving);
    free(c);
    if (freed) {
        feed_starved(r);
    }
}

static void count_fault(const sc_net_env_t *env, fault_t fault)
{
    switch (fault) {
    case FAULT_GARBAGE:
        SC_NET_COUNT(env, frames_refused, 1);
        break;
    case FAULT_FORGED:
        SC_NET_COUNT(env, frames_forged, 1);
        break;
    default:
        SC_NET_COUNT(env, strangers, 1);
        break;
    }
}

/** Close a connection, and say now and then why. */
static void conn_refuse(conn_t *c, fault_t fault, const char *why)
{
    static const char *const code[FAULTS] = {
        [FAULT_GARBAGE] = "SC0451", [FAULT_FORGED] = "SC0474", [FAULT_STRANGER] = "SC0473"};
    sc_receiver_t *r = c->r;
    char name[SC_HOST_MAX + 8];
    apr_uint64_t more = 0;

    count_fault(r->env, fault);
    if (sc_log_allowed(&r->fault_log[fault], now_of(r), LOG_INTERVAL, &more)) {
        sc_log(r->env->cfg.log, SC_LOG_WARNING, 0,
               "%s: the receiver closed a connection from %s%s: %s (%" APR_UINT64_T_FMT
               " more before)",
               code[fault], sc_sock_name(&c->peer, name),
               fault == FAULT_STRANGER ? " that has not proven that it is a member's" : "", why,
               more);
    }
    conn_close(c);
}

/** There are as many connections as there may be. */
static void conn_full(sc_receiver_t *r, const struct sockaddr_storage *peer)
{
    char name[SC_HOST_MAX + 8];
    apr_uint64_t more = 0;

    SC_NET_COUNT(r->env, frames_refused, 1);
    if (sc_log_allowed(&r->full_log, now_of(r), LOG_INTERVAL, &more)) {
        sc_log(r->env->cfg.log, SC_LOG_WARNING, 0,
               "SC0452: the receiver refused a connection from %s: there are %u already "
               "(SessionClusterReceiver maxConnections=; %" APR_UINT64_T_FMT " more before)",
               sc_sock_name(peer, name), r->nconns, more);
    }
}

static void conn_late(void *baton, apr_time_t now)
{
    conn_t *c = baton;

    (void)now;
    conn_refuse(c, FAULT_GARBAGE,
                c->out_len > 0 ? "it does not read its acknowledgements"
                               : "a frame did not come to its end in time");
}

/* ---- acknowledgements ----------------------------------------------------------------------- */

/** @return APR_SUCCESS: all written; APR_EAGAIN: the socket is full; else its error */
static apr_status_t flush_ack(conn_t *c)
{
    while (c->out_len > 0) {
        ssize_t n = send(c->sock.fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno == EWOULDBLOCK ? APR_EAGAIN : errno;
        }
        c->out_len -= (apr_size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
    return APR_SUCCESS;
}

static apr_status_t send_ack(conn_t *c, int fail)
{
    apr_status_t rv = APR_SUCCESS;

    if (c->sending.cipher != NULL) {
        rv = sc_sealed_ack(&c->sending, fail, c->out);
        c->out_len = SC_SEALED_ACK;
    } else {
        memcpy(c->out, sc_frame_ack(fail), SC_ACK_FRAME);
        c->out_len = SC_ACK_FRAME;
    }
    return rv == APR_SUCCESS ? flush_ack(c) : rv;
}

/* ---- frames --------------------------------------------------------------------------------- */

/** Hand one message up and acknowledge it as its options ask: before processing with USE_ACK alone,
 *  after it with SYNCHRONIZED_ACK. @return as flush_ack */
static apr_status_t handle(conn_t *c, const sc_packet_t *p)
{
    const sc_transport_up_t *up = &c->r->env->up;
    int ack = (p->options & SC_OPT_USE_ACK) != 0;
    int after = (p->options & SC_OPT_SYNCHRONIZED_ACK) != 0;
    apr_status_t sent = ack && !after ? send_ack(c, 0) : APR_SUCCESS;
    apr_status_t rv;

    SC_NET_COUNT(c->r->env, frames_in, 1);
    rv = up->packet(up->baton, p);
    return ack && after ? send_ack(c, rv != APR_SUCCESS) : sent;
}

/** A frame's data as it was before it was sealed, and from whom the connection is. */
static apr_status_t take_packet(conn_t *c, const unsigned char *data, apr_size_t len,
                                sc_packet_t *packet)
{
    unsigned char *own = c->parser.in.data + (data - c->parser.in.data); /* the buffer is ours */
    apr_status_t rv;

    if (c->receiving.cipher == NULL) {
        return sc_packet_get(packet, data, len);
    }
    if (sc_sealed_open(&c->receiving, own, &len) != APR_SUCCESS) {
        return APR_EACCES;
    }
    rv = sc_packet_get(packet, own, len);
    if (rv == APR_SUCCESS && memcmp(&packet->from.uid, &c->uid, sizeof(c->uid)) != 0) {
        rv = APR_EACCES; /* a member speaks for itself only */
    }
    return rv;
}

/**
 * Take whole frames out of the buffer until there are none, or an acknowledgement is stuck.
 * @param frames receives how many there were
 * @return APR_SUCCESS; APR_EAGAIN: stuck; APR_EINVAL: no frame; APR_EACCES: not authentic; else the
 *         socket's error
 */
static apr_status_t take_frames(conn_t *c, int *frames)
{
    for (*frames = 0;; ++*frames) {
        const unsigned char *data = NULL;
        sc_frame_kind_t kind;
        sc_packet_t packet;
        apr_size_t len = 0;
        apr_status_t rv = sc_parser_next(&c->parser, &kind, &data, &len);

        if (rv == APR_EAGAIN) {
            return APR_SUCCESS;
        }
        if (rv == APR_SUCCESS) {
            rv = take_packet(c, data, len, &packet);
        }
        /* an acknowledgement is no packet either: nobody owes one to a receiver */
        if (rv != APR_SUCCESS) {
            c->other = sc_shake_is(data, len);
            return rv == APR_EACCES ? rv : APR_EINVAL;
        }
        rv = handle(c, &packet);
        sc_parser_done(&c->parser);
        if (rv != APR_SUCCESS) {
            ++*frames;
            return rv;
        }
    }
}

/** After something was read or written: clocks, memory, what to wait for. May close. */
static void conn_wait(conn_t *c, int progress)
{
    sc_timers_t *timers = sc_loop_timers(c->r->env->loop);
    apr_size_t partial = sc_parser_partial(&c->parser);
    apr_interval_time_t allowed = FRAME_TIME;
    apr_int16_t events = APR_POLLIN;

    if (partial == 0 && c->out_len == 0) {
        sc_timer_cancel(timers, &c->timer);
        c->since = 0;
        if (c->parser.in.cap > KEEP_BYTES) {
            sc_parser_free(&c->parser);
            account(c);
            feed_starved(c->r);
        }
    } else {
        if (progress || c->since == 0) {
            c->since = now_of(c->r);
        }
        if (c->out_len == 0 && partial < SC_FRAME_OVERHEAD - 7) {
            allowed = HEADER_TIME;
        }
        if (c->timer.index == 0 || c->timer.due != c->since + allowed) {
            (void)sc_timer_set(timers, &c->timer, c->since + allowed, conn_late, c);
        }
    }
    if (c->out_len > 0) {
        events = APR_POLLOUT;
    } else if (c->starved) {
        events = 0;
    }
    if (sc_sock_watch(&c->sock, events, conn_event, c) != APR_SUCCESS) {
        conn_close(c);
    }
}

/** Read once. @return APR_SUCCESS: something came; APR_EAGAIN: nothing there, or no memory;
 *  APR_EOF; else an error */
static apr_status_t conn_read(conn_t *c, apr_size_t *got)
{
    apr_size_t room;
    unsigned char *p;
    ssize_t n;

    *got = 0;
    if (!may_grow(c, sc_parser_room_wanted(&c->parser))) {
        c->starved = 1;
        return APR_EAGAIN;
    }
    p = sc_parser_room(&c->parser, &room);
    account(c);
    if (p == NULL) {
        return APR_ENOMEM;
    }
    do {
        n = recv(c->sock.fd, p, room, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? APR_EAGAIN : errno;
    }
    *got = (apr_size_t)n;
    c->parser.in.len += *got;
    SC_NET_COUNT(c->r->env, bytes_in, *got);
    return n == 0 ? APR_EOF : APR_SUCCESS;
}

static void conn_event(void *baton, apr_int16_t events)
{
    conn_t *c = baton;
    apr_size_t budget = READ_BURST;
    apr_status_t rv = APR_SUCCESS;
    int progress = 0;
    int frames = 0;

    (void)events;
    if (c->shake != NULL) {
        shake_event(c);
        return;
    }
    if (c->out_len > 0) {
        rv = flush_ack(c);
        if (rv == APR_SUCCESS) {
            progress = 1;
            rv = take_frames(c, &frames);
        }
    }
    while (rv == APR_SUCCESS && budget > 0) {
        apr_size_t got;

        rv = conn_read(c, &got);
        if (rv == APR_SUCCESS) {
            budget -= got < budget ? got : budget;
            rv = take_frames(c, &frames);
            progress |= frames > 0;
        }
    }
    if (rv == APR_EINVAL) {
        conn_refuse(c, FAULT_GARBAGE,
                    c->other ? "it has a SessionClusterSecret, this node has none"
                             : "what it sent is no frame, or longer than one may be");
    } else if (rv == APR_EACCES) {
        conn_refuse(c, FAULT_FORGED, "a frame is not authentic");
    } else if (rv == APR_EOF && sc_parser_partial(&c->parser) > 0) {
        conn_refuse(c, FAULT_GARBAGE, "it ended in the middle of a frame");
    } else if (rv != APR_SUCCESS && rv != APR_EAGAIN) {
        conn_close(c);
    } else {
        conn_wait(c, progress);
    }
}

/* ---- strangers ------------------------------------------------------------------------------ */

static void shake_late(void *baton, apr_time_t now)
{
    (void)now;
    conn_refuse(baton, FAULT_STRANGER, "it has not done so in time");
}

/** It is a member's from now on. May close. */
static void conn_proven(conn_t *c)
{
    sc_receiver_t *r = c->r;

    if (r->nconns >= r->env->cfg.config->receiver.max_connections) {
        conn_full(r, &c->peer);
        conn_close(c);
        return;
    }
    c->uid = c->shake->peer;
    if (sc_shake_seals(c->shake, &c->sending, &c->receiving) != APR_SUCCESS) {
        conn_close(c);
        return;
    }
    sc_timer_cancel(sc_loop_timers(r->env->loop), &c->timer);
    free(c->shake);
    c->shake = NULL;
    take_out(c);
    stranger_left(c);
    c->since = 0;
    put_in(&r->conns, c);
    r->nconns++;
    SC_NET_COUNT(r->env, proven, 1);
    conn_event(c, APR_POLLIN); /* its first frame comes right behind */
}

/** Read once, and say what is to be said. @return as sc_shake_heard; APR_EAGAIN also when nothing
 * is there (*got is 0 then); APR_EOF; else the socket's error */
static apr_status_t shake_read(conn_t *c, apr_size_t *got)
{
    apr_size_t room;
    unsigned char *p = sc_shake_room(c->shake, &room);
    apr_status_t rv;
    ssize_t n;

    *got = 0;
    do {
        n = recv(c->sock.fd, p, room, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EWOULDBLOCK ? APR_EAGAIN : errno;
    }
    if (n == 0) {
        return APR_EOF;
    }
    *got = (apr_size_t)n;
    rv = sc_shake_heard(c->shake, *got, c->out, &c->out_len);
    if (c->out_len > 0) {
        apr_status_t sent = flush_ack(c);

        /* it fits into the buffer of a new connection, unless somebody plays */
        return sent == APR_SUCCESS ? rv : APR_EOF;
    }
    return rv;
}

static void shake_event(conn_t *c)
{
    sc_shake_step_t step = c->shake->step;
    apr_status_t rv;
    apr_size_t got;

    do {
        rv = shake_read(c, &got);
    } while (rv == APR_EAGAIN && got > 0);
    if (rv == APR_SUCCESS) {
        conn_proven(c);
    } else if (rv == APR_EACCES && c->shake->stale) {
        SC_NET_COUNT(c->r->env, misdirected, 1);
        sc_log(c->r->env->cfg.log, SC_LOG_DEBUG, 0, "SC0475: a member's connection was closed: %s",
               c->shake->why);
        conn_close(c);
    } else if (rv == APR_EACCES) {
        conn_refuse(c, FAULT_STRANGER, c->shake->why);
    } else if (rv != APR_EAGAIN) {
        /* nothing wrong was said: a member that gave up while this node was restarted, or a scan */
        SC_NET_COUNT(c->r->env, unfinished, 1);
        conn_close(c);
    } else if (step != c->shake->step) {
        take_out(c);
        put_in(&c->r->strangers, c);
    }
}

/* One machine may have all addresses of an IPv6 network of 64 bits; IPv4 in IPv6 has all of them in
 * one such network. */
static int same_peer(const conn_t *a, const conn_t *b)
{
    const struct sockaddr_in *a4 = (const struct sockaddr_in *)&a->peer;
    const struct sockaddr_in *b4 = (const struct sockaddr_in *)&b->peer;
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)&a->peer;
    const struct sockaddr_in6 *b6 = (const struct sockaddr_in6 *)&b->peer;

    if (a->peer.ss_family != b->peer.ss_family) {
        return 0;
    }
    if (a->peer.ss_family == AF_INET) {
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    }
    return memcmp(&a6->sin6_addr, &b6->sin6_addr, IN6_IS_ADDR_V4MAPPED(&a6->sin6_addr) ? 16 : 8) ==
           0;
}

/** Into the list, and into the crowd of its address. */
static void stranger_came(conn_t *c)
{
    conn_t *other;

    c->crowd = 1;
    for (other = c->r->strangers; other != NULL; other = other->next) {
        if (same_peer(c, other)) {
            other->crowd++;
            c->crowd++;
        }
    }
    put_in(&c->r->strangers, c);
    c->r->nstrangers++;
}

/** It has been taken out of the list. */
static void stranger_left(conn_t *c)
{
    conn_t *other;

    for (other = c->r->strangers; other != NULL; other = other->next) {
        if (same_peer(c, other)) {
            other->crowd--;
        }
    }
    c->r->nstrangers--;
}

/** How much it deserves to be driven out. A member says hello with its first breath, on several
 *  connections at a time; who has recorded one can do that, too, so it is no more than a hint. */
static apr_uint32_t nuisance(const conn_t *c, apr_time_t now)
{
    int silent = c->shake->step == SC_SHAKE_WAIT_HELLO && now - c->since > HELLO_TIME;

    return silent ? 4 * c->crowd : c->crowd;
}

/** There are more strangers than there may be: the worst has to go, of several the oldest. */
static void drive_out(sc_receiver_t *r)
{
    apr_time_t now = now_of(r);
    apr_uint32_t most = 0;
    conn_t *victim = NULL;
    conn_t *c;

    for (c = r->strangers; c != NULL; c = c->next) {
        if (nuisance(c, now) >= most) {
            most = nuisance(c, now);
            victim = c;
        }
    }
    if (victim != NULL) {
        conn_refuse(victim, FAULT_STRANGER, "there are too many of them");
    }
}

/* ---- accepting ------------------------------------------------------------------------------ */

static void add_conn(sc_receiver_t *r, int fd, const struct sockaddr_storage *peer)
{
    conn_t *c = calloc(1, sizeof(*c));

    if (c != NULL && r->env->ring->count > 0) {
        c->shake = malloc(sizeof(*c->shake));
    }
    if (c == NULL || (r->env->ring->count > 0 && c->shake == NULL) ||
        sc_sock_open(&c->sock, fd, r->env->loop, r->env->pool) != APR_SUCCESS) {
        if (c != NULL) {
            free(c->shake);
        }
        free(c);
        close(fd);
        return;
    }
    c->r = r;
    c->peer = *peer;
    sc_sock_tune(fd, &r->env->cfg.config->receiver.sock);
    sc_parser_init(&c->parser,
                   r->env->cfg.config->receiver.max_frame + (c->shake != NULL ? SC_SEAL_TAG : 0));
    if (c->shake == NULL) {
        put_in(&r->conns, c);
        r->nconns++;
    } else {
        sc_shake_answer(c->shake, r->env->ring, &r->env->cfg.uid);
        c->since = now_of(r);
        stranger_came(c);
        (void)sc_timer_set(sc_loop_timers(r->env->loop), &c->timer, now_of(r) + SHAKE_TIME,
                           shake_late, c);
    }
    if (sc_sock_watch(&c->sock, APR_POLLIN, conn_event, c) != APR_SUCCESS) {
        conn_close(c);
    } else if (c->shake != NULL) {
        shake_event(c); /* its hello may be there already, and speak for it */
    }
}

/** Another connection came. */
static void accepted(sc_receiver_t *r, int fd, const struct sockaddr_storage *peer)
{
    if (r->env->ring->count > 0) {
        add_conn(r, fd, peer);
        if (r->nstrangers > STRANGERS_MAX) {
            drive_out(r);
        }
    } else if (r->nconns < r->env->cfg.config->receiver.max_connections) {
        add_conn(r, fd, peer);
    } else {
        close(fd);
        conn_full(r, peer);
    }
}

static void accept_again(void *baton, apr_time_t now)
{
    sc_receiver_t *r = baton;

    (void)now;
    (void)sc_sock_watch(&r->listener, APR_POLLIN, accept_event, r);
}

static void accept_event(void *baton, apr_int16_t events)
{
    sc_receiver_t *r = baton;
    int i;

    (void)events;
    for (i = 0; i < ACCEPT_BURST; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);
        int fd;

        memset(&peer, 0, sizeof(peer));
        fd = accept4(r->listener.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accepted(r, fd, &peer);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* it would be reported as ready for ever: look away for a while */
            if (sc_log_allowed(&r->accept_log, now_of(r), LOG_INTERVAL, NULL)) {
                sc_log(r->env->cfg.log, SC_LOG_ERROR, errno,
                       "SC0453: the receiver cannot accept connections");
            }
            (void)sc_sock_watch(&r->listener, 0, accept_event, r);
            (void)sc_timer_set(sc_loop_timers(r->env->loop), &r->pause, now_of(r) + ACCEPT_PAUSE,
                               accept_again, r);
            return;
        } /* else: whoever it was has gone again */
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

apr_status_t sc_receiver_create(sc_receiver_t **out, const sc_net_env_t *env)
{
    sc_receiver_t *r = apr_pcalloc(env->pool, sizeof(*r));
    apr_status_t rv;

    r->env = env;
    r->listener.fd = -1;
    r->memory_max = (apr_uint64_t)env->cfg.config->receiver.max_frame * FRAMES_AT_ONCE;
    *out = r;
    if (env->cfg.listen_fd < 0) {
        return APR_SUCCESS;
    }
    /* the last accept of a burst finds nobody */
    if (fcntl(env->cfg.listen_fd, F_SETFL, fcntl(env->cfg.listen_fd, F_GETFL) | O_NONBLOCK) != 0) {
        return errno;
    }
    rv = sc_sock_open(&r->listener, env->cfg.listen_fd, env->loop, env->pool);
    if (rv == APR_SUCCESS) {
        rv = sc_sock_watch(&r->listener, APR_POLLIN, accept_event, r);
    }
    return rv;
}

void sc_receiver_close(sc_receiver_t *r)
{
    sc_timer_cancel(sc_loop_timers(r->env->loop), &r->pause);
    sc_sock_close(&r->listener, 0);
    while (r->conns != NULL) {
        conn_close(r->conns);
    }
    while (r->strangers != NULL) {
        conn_close(r->strangers);
    }
}
