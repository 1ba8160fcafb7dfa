/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Messages in datagrams, for applications that ask for it (tribes-protocol 3: options UDP and
 * MULTICAST). Session messages never come here.
 *
 * A message that wants an acknowledgement gets a socket of its own, connected to the member's UDP
 * port, so that only the member can answer and the answer can only be for this message. It is sent
 * once more when the member's machine says that nobody listens; when nobody says anything it has
 * timed out, as on a connection. All others have ended when they are out.
 *
 * The receiver takes whole frames, one or several in a datagram. What is none is counted.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net.h"

#define DATAGRAM_MAX 65535
#define BURST 64
/* Messages that wait for an acknowledgement. */
#define WAITING_MAX 64
/* Messages whose end has not been told. */
#define OPEN_MAX 1024
#define RETRY_PAUSE apr_time_from_msec(100)
#define LOG_INTERVAL apr_time_from_sec(10)

typedef struct sent_t {
    struct sent_t *next;
    struct sent_t **link;
    sc_udp_t *u;
    sc_member_t to;
    sc_sock_t sock; /* while it waits for an acknowledgement */
    sc_buf_t bytes;
    apr_uint32_t retries;
    apr_time_t deadline;
    sc_timer_t timer; /* the deadline, a retry, or the telling of its end */
    int ended;
    apr_status_t rv;
    sc_sent_fn_t *done;
    void *baton;
} sent_t;

struct sc_udp_t {
    const sc_net_env_t *env;
    sc_group_t *group;
    sc_sock_t receiver;
    apr_uint32_t port;
    sent_t *open;
    apr_uint32_t nopen;
    apr_uint32_t nwaiting;
    sc_log_limit_t garbage_log;
    unsigned char in[DATAGRAM_MAX + 1];
};

static sc_timers_t *timers_of(const sc_udp_t *u)
{
    return sc_loop_timers(u->env->loop);
}

static apr_time_t now_of(const sc_udp_t *u)
{
    return sc_mono(sc_loop_clock(u->env->loop));
}

/** Where a member receives datagrams. @return length, 0: nowhere */
static socklen_t address_of(const sc_member_t *m, struct sockaddr_storage *out)
{
    sc_member_t at = *m;

    at.port = m->udp_port;
    return sc_sock_address(&at, out);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void close_sock(sent_t *s)
{
    if (s->sock.fd >= 0) {
        sc_sock_close(&s->sock, 1);
        s->u->nwaiting--;
    }
}

static void sent_free(sent_t *s)
{
    sc_timer_cancel(timers_of(s->u), &s->timer);
    close_sock(s);
    sc_buf_free(&s->bytes);
    *s->link = s->next;
    if (s->next != NULL) {
        s->next->link = s->link;
    }
    s->u->nopen--;
    free(s);
}

static void tell(sent_t *s)
{
    sc_sent_fn_t *done = s->done;
    void *baton = s->baton;
    apr_status_t rv = s->rv;

    sent_free(s);
    done(baton, rv);
}

static void tell_due(void *baton, apr_time_t now)
{
    (void)now;
    tell(baton);
}

/** It has ended; that is told by a timer. */
static void end_sent(sent_t *s, apr_status_t rv)
{
    if (!s->ended) {
        s->ended = 1;
        s->rv = rv;
        (void)sc_timer_set(timers_of(s->u), &s->timer, now_of(s->u), tell_due, s);
    }
}

static void timeout_due(void *baton, apr_time_t now)
{
    (void)now;
    end_sent(baton, APR_TIMEUP);
}

/** Once to a socket that is connected. */
static apr_status_t transmit(sent_t *s)
{
    ssize_t n;

    do {
        n = send(s->sock.fd, s->bytes.data, s->bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno;
    }
    SC_NET_COUNT(s->u->env, frames_out, 1);
    SC_NET_COUNT(s->u->env, bytes_out, s->bytes.len);
    return APR_SUCCESS;
}

static void try_again(sent_t *s, apr_status_t rv);

static void again_due(void *baton, apr_time_t now)
{
    sent_t *s = baton;
    apr_status_t rv = transmit(s);

    (void)now;
    if (rv == APR_SUCCESS) {
        (void)sc_timer_set(timers_of(s->u), &s->timer, s->deadline, timeout_due, s);
    } else {
        try_again(s, rv);
    }
}

/** After an error or a FAIL_ACK: the identical frame once more, as on a connection. */
static void try_again(sent_t *s, apr_status_t rv)
{
    if (s->retries == 0) {
        end_sent(s, rv);
        return;
    }
    s->retries--;
    (void)sc_timer_set(timers_of(s->u), &s->timer, now_of(s->u) + RETRY_PAUSE, again_due, s);
}

static void answer_event(void *baton, apr_int16_t events)
{
    sent_t *s = baton;
    unsigned char in[SC_ACK_FRAME + 1];
    ssize_t n = recv(s->sock.fd, in, sizeof(in), MSG_DONTWAIT);

    (void)events;
    if (s->ended || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))) {
        return;
    }
    if (n < 0) {
        try_again(s, errno);
    } else if (n == SC_ACK_FRAME && memcmp(in, sc_frame_ack(0), SC_ACK_FRAME) == 0) {
        end_sent(s, APR_SUCCESS);
    } else if (n == SC_ACK_FRAME && memcmp(in, sc_frame_ack(1), SC_ACK_FRAME) == 0) {
        try_again(s, APR_EGENERAL);
    } /* else: not what was asked for; the right one may still come */
}

/** A socket for one message, connected to the member. */
static apr_status_t connect_to(sent_t *s)
{
    const sc_net_env_t *env = s->u->env;
    struct sockaddr_storage a;
    socklen_t len = address_of(&s->to, &a);
    apr_status_t rv;
    int fd;

    if (len == 0) {
        return APR_EINVAL; /* it has no UDP receiver */
    }
    fd = socket(a.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    sc_sock_tune_udp(fd, &env->cfg.config->sender.sock);
    rv = connect(fd, (struct sockaddr *)&a, len) != 0 ? errno : APR_SUCCESS;
    if (rv == APR_SUCCESS) {
        rv = sc_sock_open(&s->sock, fd, env->loop, env->pool);
    }
    if (rv != APR_SUCCESS) {
        s->sock.fd = -1;
        close(fd);
        return rv;
    }
    s->u->nwaiting++;
    return sc_sock_watch(&s->sock, APR_POLLIN, answer_event, s);
}

static void send_unicast(sent_t *s, int wants_ack)
{
    apr_status_t rv = s->u->nwaiting < WAITING_MAX ? connect_to(s) : APR_ENOSPC;

    if (rv == APR_SUCCESS) {
        rv = transmit(s);
    }
    if (rv != APR_SUCCESS || !wants_ack) {
        close_sock(s);
        end_sent(s, rv);
        return;
    }
    (void)sc_timer_set(timers_of(s->u), &s->timer, s->deadline, timeout_due, s);
}

static void send_group(sent_t *s)
{
    apr_status_t rv = sc_group_send(s->u->group, s->bytes.data, s->bytes.len);

    sc_group_sent(s->u->group, rv);

    if (rv == APR_SUCCESS) {
        SC_NET_COUNT(s->u->env, frames_out, 1);
        SC_NET_COUNT(s->u->env, bytes_out, s->bytes.len);
    }
    end_sent(s, rv);
}

void sc_udp_send(sc_udp_t *u, const sc_member_t *to, const sc_packet_t *packet, sc_sent_fn_t *done,
                 void *baton)
{
    const sc_config_t *c = u->env->cfg.config;
    sent_t *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        abort(); /* not even the end of this send could be told */
    }
    s->u = u;
    s->to = *to;
    s->sock.fd = -1;
    s->done = done;
    s->baton = baton;
    s->retries = c->sender.max_retries;
    s->deadline = now_of(u) + apr_time_from_msec(c->sender.timeout_ms);
    s->next = u->open;
    s->link = &u->open;
    if (s->next != NULL) {
        s->next->link = &s->next;
    }
    u->open = s;
    sc_buf_init(&s->bytes, DATAGRAM_MAX);
    if (u->nopen++ >= OPEN_MAX) {
        end_sent(s, APR_ENOSPC);
        return;
    }
    if (u->env->ring->count > 0) {
        end_sent(s, APR_ENOTIMPL); /* nothing leaves this node that anybody could read */
        return;
    }
    sc_frame_put(&s->bytes, packet);
    if (s->bytes.err != APR_SUCCESS) {
        end_sent(s, s->bytes.err == APR_ENOSPC ? EMSGSIZE : s->bytes.err);
    } else if (packet->options & SC_OPT_MULTICAST) {
        send_group(s);
    } else {
        send_unicast(s, (packet->options & SC_OPT_USE_ACK) != 0);
    }
}

void sc_udp_forget(sc_udp_t *u, const sc_member_t *m)
{
    sent_t *s;

    for (s = u->open; s != NULL; s = s->next) {
        if (sc_member_same(&s->to, m)) {
            end_sent(s, APR_ECONNABORTED);
        }
    }
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void garbage(sc_udp_t *u, const struct sockaddr_storage *peer)
{
    char name[SC_HOST_MAX + 8];
    apr_uint64_t more = 0;

    SC_NET_COUNT(u->env, datagrams_refused, 1);
    if (sc_log_allowed(&u->garbage_log, now_of(u), LOG_INTERVAL, &more)) {
        sc_log(u->env->cfg.log, SC_LOG_WARNING, 0,
               "SC0439: a datagram from %s to the UDP receiver is no frame (%" APR_UINT64_T_FMT
               " more before)",
               sc_sock_name(peer, name), more);
    }
}

static void answer(const sc_udp_t *u, const struct sockaddr_storage *peer, socklen_t len, int fail)
{
    /* one that is lost is a timeout for the other side */
    (void)sendto(u->receiver.fd, sc_frame_ack(fail), SC_ACK_FRAME, MSG_DONTWAIT | MSG_NOSIGNAL,
                 (const struct sockaddr *)peer, len);
}

/** Hand a message up and acknowledge it. Without SYNCHRONIZED_ACK only what was taken is: an answer
 *  to a stranger goes to whomever he names as the sender. */
static void handle(sc_udp_t *u, sc_packet_t *p, const struct sockaddr_storage *peer, socklen_t len)
{
    apr_status_t rv;

    SC_NET_COUNT(u->env, frames_in, 1);
    p->options |= SC_OPT_UDP; /* whatever it says: it came so */
    rv = u->env->up.packet(u->env->up.baton, p);
    if (!(p->options & SC_OPT_USE_ACK)) {
        return;
    }
    if (rv == APR_SUCCESS || (p->options & SC_OPT_SYNCHRONIZED_ACK)) {
        answer(u, peer, len, rv != APR_SUCCESS);
    }
}

static void datagram(sc_udp_t *u, apr_size_t len, const struct sockaddr_storage *peer,
                     socklen_t peer_len)
{
    apr_status_t rv = APR_EINVAL;
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_packet_t packet;
    sc_parser_t parser;
    apr_size_t n;

    SC_NET_COUNT(u->env, bytes_in, len);
    sc_parser_init(&parser, len);
    sc_put(&parser.in, u->in, len);
    while (len > 0) {
        rv = sc_parser_next(&parser, &kind, &data, &n);
        if (rv == APR_SUCCESS) {
            rv = kind == SC_FRAME_DATA ? sc_packet_get(&packet, data, n) : APR_EINVAL;
        }
        if (rv != APR_SUCCESS) {
            break;
        }
        handle(u, &packet, peer, peer_len);
        sc_parser_done(&parser);
    }
    if (rv != APR_EAGAIN || sc_parser_partial(&parser) > 0) {
        garbage(u, peer);
    }
    sc_parser_free(&parser);
}

static void receiver_event(void *baton, apr_int16_t events)
{
    sc_udp_t *u = baton;
    int i;

    (void)events;
    for (i = 0; i < BURST; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof(peer);
        ssize_t n;

        memset(&peer, 0, sizeof(peer));
        n = recvfrom(u->receiver.fd, u->in, sizeof(u->in), MSG_DONTWAIT, (struct sockaddr *)&peer,
                     &len);
        if (n >= 0) {
            datagram(u, (apr_size_t)n, &peer, len);
        } else if (errno != EINTR) {
            return;
        }
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static apr_status_t bind_receiver(const sc_config_t *c, int *out, apr_uint32_t *port)
{
    apr_uint32_t tries = c->receiver.udp_tries > 0 ? c->receiver.udp_tries : 1;
    apr_status_t rv = APR_EINVAL;
    apr_uint32_t i;

    for (i = 0; i < tries && c->receiver.udp_port + i <= 65535; i++) {
        struct sockaddr_storage a;
        socklen_t len = sc_sock_numeric(c->receiver.address, c->receiver.udp_port + i, &a);
        int fd;

        if (len == 0) {
            return APR_EINVAL;
        }
        fd = socket(a.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            return errno;
        }
        if (bind(fd, (struct sockaddr *)&a, len) == 0) {
            *out = fd;
            *port = c->receiver.udp_port + i;
            return APR_SUCCESS;
        }
        rv = errno;
        close(fd);
        if (rv != EADDRINUSE) {
            break;
        }
    }
    return rv;
}

static void open_receiver(sc_udp_t *u)
{
    const sc_config_t *c = u->env->cfg.config;
    apr_status_t rv;
    int fd = -1;

    rv = bind_receiver(c, &fd, &u->port);
    if (rv == APR_SUCCESS) {
        sc_sock_tune_udp(fd, &c->receiver.sock);
        rv = sc_sock_open(&u->receiver, fd, u->env->loop, u->env->pool);
        if (rv != APR_SUCCESS) {
            u->receiver.fd = -1;
            close(fd);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sock_watch(&u->receiver, APR_POLLIN, receiver_event, u);
    }
    if (rv != APR_SUCCESS) {
        u->port = 0;
        sc_log(u->env->cfg.log, SC_LOG_ERROR, rv,
               "SC0438: no UDP receiver on %s, ports from %u on (SessionClusterReceiver udpPort=); "
               "this node announces none",
               c->receiver.address, c->receiver.udp_port);
    }
}

sc_udp_t *sc_udp_create(const sc_net_env_t *env, sc_group_t *group)
{
    sc_udp_t *u = apr_pcalloc(env->pool, sizeof(*u));

    u->env = env;
    u->group = group;
    u->receiver.fd = -1;
    if (env->cfg.config->receiver.udp_port != 0) {
        open_receiver(u);
    }
    return u;
}

apr_uint32_t sc_udp_port(const sc_udp_t *u)
{
    return u->port;
}

void sc_udp_close(sc_udp_t *u)
{
    sc_sock_close(&u->receiver, 1);
    while (u->open != NULL) {
        if (!u->open->ended) {
            u->open->rv = APR_ECONNABORTED;
        }
        tell(u->open);
    }
}
