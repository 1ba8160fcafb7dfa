/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The sender: one line per member and lane.
 *
 * A line is a TCP connection that is made when there is something to send, and the queue of frames
 * behind it. Frames that want no acknowledgement follow each other; behind one that does, the line
 * waits, because an acknowledgement does not say what it is for. The time a frame may take counts
 * from when it is its turn, and includes connecting and all its retries. After an error or a
 * FAIL_ACK the identical frame goes out again on a new connection, as in Tribes; after a timeout it
 * does not.
 *
 * A FAIL_ACK is followed by a short pause: it comes from a member that has only just joined and
 * does not know us yet. Of a node of ours that has acknowledged something before it is the last
 * word: it has read the frame and will not have it, and whoever sent it knows what to do about
 * that.
 *
 * With a secret a connection begins with a handshake, and frames are sealed when it is their turn:
 * a frame that has to go out again on another connection is sealed anew, so it is kept as it is.
 *
 * Ends are told from a list, after the line has been dealt with, so that whoever is told may send,
 * forget and probe at will.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "secured.h"

/* Frames in one write. */
#define GATHER 16
#define FAIL_ACK_PAUSE apr_time_from_msec(100)
/* How often a drain looks at the clock and at lines that wait for their retry. */
#define DRAIN_STEP apr_time_from_msec(20)
/* What is sealed ahead of the socket, at least one frame. */
#define SEAL_AHEAD (128 * 1024)

typedef struct frame_t {
    struct frame_t *next;
    sc_buf_t bytes;
    apr_size_t size; /* on the wire: of bytes, and of a tag once it is sealed */
    apr_size_t sent;
    int wants_ack;
    apr_uint32_t retries; /* left */
    sc_sent_fn_t *done;
    void *baton;
    apr_status_t rv;
} frame_t;

typedef enum line_state_t {
    LINE_CLOSED,
    LINE_CONNECTING,
    LINE_SHAKING, /* a handshake is under way */
    LINE_OPEN
} line_state_t;

typedef struct line_t {
    struct line_t *next;
    struct line_t **link; /* what points to it */
    sc_sender_t *s;
    sc_member_t to;
    sc_lane_t lane;
    apr_time_t opened;    /* its connection */
    apr_uint32_t written; /* frames on it */
    sc_timer_t worn;      /* its connection has become old */
    int probe;
    line_state_t state;
    sc_sock_t sock;
    frame_t *head;
    frame_t **tail;
    apr_uint64_t bytes;
    apr_uint32_t frames;
    apr_interval_time_t timeout; /* of a frame */
    sc_timer_t deadline;         /* of the first one */
    sc_timer_t kick;             /* connect, or deal with `error`, when it is due */
    apr_status_t error;
    int known; /* a node of ours that has acknowledged something: it knows this one */
    unsigned char answer[SC_SEALED_ACK];
    apr_size_t answered;
    sc_secured_t *secured; /* NULL: plain, or closed */
} line_t;

struct sc_sender_t {
    const sc_net_env_t *env;
    line_t *lines;
    frame_t *ended;
    frame_t **ended_tail;
    sc_timer_t timer;
    sc_log_limit_t shake_log;
};

static void line_event(void *baton, apr_int16_t events);
static void line_connect(line_t *line);

static sc_timers_t *timers_of(const sc_sender_t *s)
{
    return sc_loop_timers(s->env->loop);
}

/* The clock itself, not the loop's cached time: a drain does not run the loop. */
static apr_time_t now_of(const sc_sender_t *s)
{
    return sc_mono(sc_loop_clock(s->env->loop));
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void tell_ends(sc_sender_t *s)
{
    while (s->ended != NULL) {
        frame_t *f = s->ended;

        s->ended = f->next;
        if (s->ended == NULL) {
            s->ended_tail = &s->ended;
        }
        f->done(f->baton, f->rv);
        free(f);
    }
}

static void ends_due(void *baton, apr_time_t now)
{
    (void)now;
    tell_ends(baton);
}

static void end_frame(sc_sender_t *s, frame_t *f, apr_status_t rv)
{
    sc_buf_free(&f->bytes);
    f->rv = rv;
    f->next = NULL;
    *s->ended_tail = f;
    s->ended_tail = &f->next;
    if (s->timer.index == 0) {
        (void)sc_timer_set(timers_of(s), &s->timer, now_of(s), ends_due, s);
    }
}

/* ---- lines ---------------------------------------------------------------------------------- */

static line_t *line_create(sc_sender_t *s, const sc_member_t *to, sc_lane_t lane)
{
    line_t *line = calloc(1, sizeof(*line));

    if (line == NULL) {
        return NULL;
    }
    line->s = s;
    line->to = *to;
    line->lane = lane;
    line->sock.fd = -1;
    line->tail = &line->head;
    line->timeout = apr_time_from_msec(s->env->cfg.config->sender.timeout_ms);
    line->next = s->lines;
    line->link = &s->lines;
    if (line->next != NULL) {
        line->next->link = &line->next;
    }
    s->lines = line;
    return line;
}

static void line_close(line_t *line)
{
    sc_timer_cancel(timers_of(line->s), &line->worn);
    sc_sock_close(&line->sock, 1);
    line->state = LINE_CLOSED;
    line->written = 0;
    line->answered = 0;
    sc_secured_free(line->secured);
    line->secured = NULL;
}

/** A line that has neither a connection nor anything to send is no use. */
static void line_reap(line_t *line)
{
    if (line->head != NULL || line->state != LINE_CLOSED) {
        return;
    }
    sc_timer_cancel(timers_of(line->s), &line->deadline);
    sc_timer_cancel(timers_of(line->s), &line->kick);
    *line->link = line->next;
    if (line->next != NULL) {
        line->next->link = line->link;
    }
    free(line);
}

/** Whether its connection has served its time (keepAliveCount, keepAliveTime), and no frame is on
 *  its way. */
static int is_worn(const line_t *line)
{
    const sc_config_t *c = line->s->env->cfg.config;
    apr_int64_t age = apr_time_as_msec(now_of(line->s) - line->opened);

    if (line->written == 0 || (line->head != NULL && line->head->sent > 0)) {
        return 0;
    }
    return (c->sender.keep_count >= 0 && line->written > (apr_uint32_t)c->sender.keep_count) ||
           (c->sender.keep_ms >= 0 && age >= c->sender.keep_ms);
}

static void worn_due(void *baton, apr_time_t now)
{
    line_t *line = baton;

    (void)now;
    if (line->head == NULL) { /* else it is closed when that is done */
        line_close(line);
        line_reap(line);
    }
}

static void deadline_due(void *baton, apr_time_t now);

/** The first frame of the queue has ended. */
static void head_ended(line_t *line, apr_status_t rv)
{
    frame_t *f = line->head;

    line->head = f->next;
    if (line->head == NULL) {
        line->tail = &line->head;
    }
    line->bytes -= f->bytes.len;
    line->frames--;
    line->written++;
    end_frame(line->s, f, rv);
    if (line->head != NULL) {
        (void)sc_timer_set(timers_of(line->s), &line->deadline, now_of(line->s) + line->timeout,
                           deadline_due, line);
    } else {
        sc_timer_cancel(timers_of(line->s), &line->deadline);
    }
}

/** Do what is to be done next: act on an error, or connect for what waits. */
static void kicked(line_t *line);

static void kick_due(void *baton, apr_time_t now)
{
    line_t *line = baton;
    sc_sender_t *s = line->s;

    (void)now;
    kicked(line);
    tell_ends(s);
}

static void kick(line_t *line, apr_status_t error, apr_interval_time_t pause)
{
    line->error = error;
    (void)sc_timer_set(timers_of(line->s), &line->kick, now_of(line->s) + pause, kick_due, line);
}

/** The connection is no good, or its frame was refused. May free the line. */
static void line_broken(line_t *line, apr_status_t rv)
{
    frame_t *f = line->head;

    line_close(line);
    if (f != NULL) {
        if (f->retries > 0) {
            f->retries--;
            f->sent = 0;
            kick(line, APR_SUCCESS, rv == APR_EGENERAL ? FAIL_ACK_PAUSE : 0);
        } else {
            head_ended(line, rv);
            if (line->head != NULL) {
                kick(line, APR_SUCCESS, 0);
            }
        }
    }
    line_reap(line);
}

static void kicked(line_t *line)
{
    apr_status_t rv = line->error;

    line->error = APR_SUCCESS;
    if (rv != APR_SUCCESS) {
        line_broken(line, rv);
    } else if (line->state == LINE_CLOSED && line->head != NULL) {
        line_connect(line);
    }
}

static void deadline_due(void *baton, apr_time_t now)
{
    line_t *line = baton;
    sc_sender_t *s = line->s;

    (void)now;
    if (line->head != NULL) {
        line->head->retries = 0;
        line_broken(line, APR_TIMEUP);
    }
    tell_ends(s);
}

static void line_connect(line_t *line)
{
    struct sockaddr_storage addr;
    socklen_t len = sc_sock_address(&line->to, &addr);
    apr_status_t rv = APR_SUCCESS;
    int fd;

    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        kick(line, errno, 0);
        return;
    }
    sc_sock_tune(fd, &line->s->env->cfg.config->sender.sock);
    if (connect(fd, (struct sockaddr *)&addr, len) != 0 && errno != EINPROGRESS) {
        rv = errno;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sock_open(&line->sock, fd, line->s->env->loop, line->s->env->pool);
    }
    if (rv != APR_SUCCESS) {
        close(fd);
        kick(line, rv, 0);
        return;
    }
    line->state = LINE_CONNECTING;
    rv = sc_sock_watch(&line->sock, APR_POLLOUT, line_event, line);
    if (rv != APR_SUCCESS) {
        line_close(line);
        kick(line, rv, 0);
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

/** Whether the first frame is out and its acknowledgement is awaited. */
static int awaits_ack(const line_t *line)
{
    return line->head != NULL && line->head->wants_ack && line->head->sent == line->head->size;
}

/** Whether there is something that the socket should take now. */
static int has_output(const line_t *line)
{
    if (line->secured != NULL && sc_secured_waits(line->secured)) {
        return 1;
    }
    return line->state == LINE_OPEN && line->head != NULL && !awaits_ack(line);
}

/** Frames up to the first one that wants an acknowledgement. */
static int gather(const line_t *line, struct iovec *iov)
{
    const frame_t *f;
    int n = 0;

    for (f = line->head; f != NULL && n < GATHER; f = f->next) {
        iov[n].iov_base = f->bytes.data + f->sent;
        iov[n].iov_len = f->size - f->sent;
        n++;
        if (f->wants_ack) {
            break;
        }
    }
    return n;
}

/** The same, sealed: what is left of those that are sealed already, else the next ones. */
static apr_status_t gather_sealed(line_t *line, struct iovec *iov)
{
    sc_secured_t *sec = line->secured;
    frame_t *f = sc_secured_empty(sec) ? line->head : NULL;

    while (f != NULL && sec->out.len < SEAL_AHEAD) {
        apr_status_t rv = sc_sealed_put(&sec->out, &sec->sending, f->bytes.data, f->bytes.len);

        if (rv != APR_SUCCESS) {
            return rv;
        }
        f->size = f->bytes.len + SC_SEAL_TAG;
        f = f->wants_ack ? NULL : f->next;
    }
    iov[0].iov_base = sec->out.data + sec->sent;
    iov[0].iov_len = sec->out.len - sec->sent;
    return APR_SUCCESS;
}

static void written(line_t *line, apr_size_t n)
{
    SC_NET_COUNT(line->s->env, bytes_out, n);
    if (line->secured != NULL) {
        n = sc_secured_wrote(line->secured, n);
    }
    while (n > 0) {
        frame_t *f = line->head;
        apr_size_t rest = f->size - f->sent;
        apr_size_t part = n < rest ? n : rest;

        f->sent += part;
        n -= part;
        if (f->sent < f->size) {
            return;
        }
        SC_NET_COUNT(line->s->env, frames_out, 1);
        if (f->wants_ack) {
            return;
        }
        head_ended(line, APR_SUCCESS);
    }
}

/** @return APR_SUCCESS: all that may go is out; APR_EAGAIN: the socket is full; else its error */
static apr_status_t line_write(line_t *line)
{
    while (has_output(line)) {
        struct iovec iov[GATHER];
        struct msghdr mh;
        ssize_t n;

        memset(&mh, 0, sizeof(mh));
        mh.msg_iov = iov;
        mh.msg_iovlen = 1;
        if (line->secured == NULL) {
            mh.msg_iovlen = (size_t)gather(line, iov);
        } else {
            apr_status_t rv = gather_sealed(line, iov);

            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        n = sendmsg(line->sock.fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno == EWOULDBLOCK ? APR_EAGAIN : errno;
        }
        written(line, (apr_size_t)n);
    }
    return APR_SUCCESS;
}

/* ---- reading acknowledgements --------------------------------------------------------------- */

/** Bytes of the other side: an acknowledgement if one is awaited, and nothing else ever. */
static apr_status_t take_answer(line_t *line, const unsigned char *p, apr_size_t n)
{
    apr_size_t size = line->secured != NULL ? SC_SEALED_ACK : SC_ACK_FRAME;
    apr_status_t rv;
    int fail = 0;

    if (!awaits_ack(line) || n > size - line->answered) {
        return APR_EINVAL;
    }
    memcpy(line->answer + line->answered, p, n);
    line->answered += n;
    if (line->secured == NULL) {
        rv = sc_frame_answer(line->answer, line->answered, &fail);
    } else {
        rv = sc_sealed_answer(&line->secured->receiving, line->answer, line->answered, &fail);
    }
    if (rv == APR_EACCES) { /* it counts only when it is authentic */
        SC_NET_COUNT(line->s->env, frames_forged, 1);
        sc_secured_complain(line->s->env, &line->s->shake_log, &line->to, SC_LOG_WARNING,
                            "an acknowledgement is not authentic");
    }
    if (rv != APR_SUCCESS) {
        return rv == APR_EAGAIN ? APR_SUCCESS : rv;
    }
    line->answered = 0;
    if (fail && !line->known) {
        return APR_EGENERAL;
    }
    line->known = line->to.ours;
    head_ended(line, fail ? APR_EGENERAL : APR_SUCCESS);
    return APR_SUCCESS;
}

/** @return APR_SUCCESS: nothing more to read; APR_EOF: closed; else why it must be */
static apr_status_t line_read(line_t *line)
{
    for (;;) {
        unsigned char bytes[4 * SC_ACK_FRAME];
        ssize_t n = recv(line->sock.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        apr_status_t rv;

        if (n == 0) {
            return APR_EOF;
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno == EAGAIN || errno == EWOULDBLOCK ? APR_SUCCESS : errno;
        }
        rv = take_answer(line, bytes, (apr_size_t)n);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
}

/* ---- events --------------------------------------------------------------------------------- */

/** Write what may go and watch for what comes next. May free the line. */
static void line_go(line_t *line)
{
    apr_int16_t events = APR_POLLIN;
    apr_status_t rv;

    if (is_worn(line)) {
        line_close(line);
        if (line->head != NULL) {
            kick(line, APR_SUCCESS, 0);
        }
        line_reap(line);
        return;
    }
    rv = line_write(line);
    if (rv == APR_EAGAIN) {
        events |= APR_POLLOUT;
        rv = APR_SUCCESS;
    }
    if (rv == APR_SUCCESS && line->probe && line->head == NULL) {
        line_close(line);
        line_reap(line);
        return;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sock_watch(&line->sock, events, line_event, line);
    }
    if (rv != APR_SUCCESS) {
        line_broken(line, rv);
    }
}

/** Connected, and with a secret: proven. */
static void opened(line_t *line)
{
    apr_int32_t keep_ms = line->s->env->cfg.config->sender.keep_ms;

    line->state = LINE_OPEN;
    line->opened = now_of(line->s);
    if (keep_ms >= 0) {
        (void)sc_timer_set(timers_of(line->s), &line->worn,
                           line->opened + apr_time_from_msec(keep_ms), worn_due, line);
    }
    if (line->head != NULL && line->head->bytes.len == 0) {
        head_ended(line, APR_SUCCESS); /* a probe without a packet: that is all it wanted */
    }
    line_go(line);
}

static void connected(line_t *line)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(line->sock.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    if (error != 0) {
        line_broken(line, error);
        return;
    }
    if (line->s->env->ring->count > 0) {
        line->state = LINE_SHAKING;
        error = sc_secured_create(&line->secured, line->s->env, &line->to.uid);
        if (error != APR_SUCCESS) {
            line_broken(line, error);
        } else {
            line_go(line);
        }
        return;
    }
    opened(line);
}

static void line_shaking(line_t *line)
{
    sc_sender_t *s = line->s;
    apr_status_t rv = sc_secured_read(line->secured, line->sock.fd);

    if (rv == APR_SUCCESS) {
        opened(line);
    } else if (rv == APR_EAGAIN) {
        line_go(line);
    } else {
        rv = sc_secured_failed(line->secured, rv, s->env, &s->shake_log, &line->to);
        line_broken(line, rv);
    }
}

/** Whether nothing of what is to be sent has been sent on this connection. */
static int untouched(const line_t *line)
{
    return (line->head == NULL || line->head->sent == 0) &&
           (line->secured == NULL || !sc_secured_waits(line->secured));
}

static void line_ready(line_t *line, apr_int16_t events)
{
    apr_status_t rv;

    if (line->state == LINE_CONNECTING) {
        connected(line);
        return;
    }
    if (line->state == LINE_SHAKING) {
        line_shaking(line);
        return;
    }
    if (events & (APR_POLLIN | APR_POLLERR | APR_POLLHUP)) {
        rv = line_read(line);
        if (rv == APR_EOF && untouched(line)) {
            line_close(line); /* closed by the other side while idle: no error */
            if (line->head != NULL) {
                kick(line, APR_SUCCESS, 0);
            }
            line_reap(line);
            return;
        }
        if (rv != APR_SUCCESS) {
            line_broken(line, rv == APR_EOF ? ECONNRESET : rv);
            return;
        }
    }
    line_go(line);
}

static void line_event(void *baton, apr_int16_t events)
{
    line_t *line = baton;
    sc_sender_t *s = line->s;

    line_ready(line, events);
    tell_ends(s);
}

/* ---- sending -------------------------------------------------------------------------------- */

static frame_t *frame_create(const sc_packet_t *packet, sc_sent_fn_t *done, void *baton)
{
    frame_t *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return NULL;
    }
    f->done = done;
    f->baton = baton;
    if (packet != NULL) {
        apr_size_t size = packet->body_len + SC_FRAME_OVERHEAD + SC_FRAME_HEAD_MAX;

        /* of the right size from the start: the body is copied once */
        sc_buf_init(&f->bytes, size);
        sc_buf_reserve(&f->bytes, size);
        sc_frame_put(&f->bytes, packet);
        f->wants_ack = (packet->options & SC_OPT_USE_ACK) != 0;
        f->rv = f->bytes.err;
        f->size = f->bytes.len;
    }
    return f;
}

static void enqueue(line_t *line, frame_t *f)
{
    *line->tail = f;
    line->tail = &f->next;
    line->bytes += f->bytes.len;
    line->frames++;
    if (line->head == f) {
        (void)sc_timer_set(timers_of(line->s), &line->deadline, now_of(line->s) + line->timeout,
                           deadline_due, line);
    }
}

static line_t *line_to(const sc_sender_t *s, const sc_member_t *to, sc_lane_t lane)
{
    line_t *line;

    for (line = s->lines; line != NULL; line = line->next) {
        if (!line->probe && line->lane == lane && sc_member_same(&line->to, to)) {
            return line;
        }
    }
    return NULL;
}

/**
 * Why a frame cannot be queued, APR_SUCCESS if it can.
 * The outboxes have bounded their envelopes by the same number already; this keeps whoever goes
 * round them within bounds.
 */
static apr_status_t refusal(const sc_sender_t *s, const sc_member_t *to, const frame_t *f,
                            const line_t *line)
{
    apr_uint64_t max = 2 * (apr_uint64_t)s->env->cfg.config->sender.max_queue;

    if (f->rv != APR_SUCCESS) {
        return f->rv;
    }
    if (!sc_member_usable(to)) {
        return APR_EINVAL;
    }
    if (line != NULL && line->bytes > 0 && line->bytes + f->bytes.len > max) {
        return APR_ENOSPC;
    }
    return APR_SUCCESS;
}

void sc_sender_send(sc_sender_t *s, const sc_member_t *to, sc_lane_t lane,
                    const sc_packet_t *packet, sc_sent_fn_t *done, void *baton)
{
    line_t *line = line_to(s, to, lane);
    frame_t *f = frame_create(packet, done, baton);
    apr_status_t rv;

    if (f == NULL) {
        abort(); /* not even the end of this send could be told */
    }
    rv = refusal(s, to, f, line);
    if (rv == APR_SUCCESS && line == NULL) {
        line = line_create(s, to, lane);
        rv = line != NULL ? APR_SUCCESS : APR_ENOMEM;
    }
    if (rv != APR_SUCCESS) {
        end_frame(s, f, rv);
        return;
    }
    f->retries = s->env->cfg.config->sender.max_retries;
    enqueue(line, f);
    if (line->head != f) {
        return;
    }
    if (line->state == LINE_CLOSED && line->kick.index == 0) {
        line_connect(line);
    } else if (line->state == LINE_OPEN) {
        line_go(line);
    }
}

void sc_sender_probe(sc_sender_t *s, const sc_member_t *to, const sc_packet_t *packet,
                     apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton)
{
    frame_t *f = frame_create(packet, done, baton);
    line_t *line = NULL;
    apr_status_t rv;

    if (f == NULL) {
        abort();
    }
    rv = refusal(s, to, f, NULL);
    if (rv == APR_SUCCESS) {
        line = line_create(s, to, SC_LANE_CONTROL);
        rv = line != NULL ? APR_SUCCESS : APR_ENOMEM;
    }
    if (rv != APR_SUCCESS) {
        end_frame(s, f, rv);
        return;
    }
    line->probe = 1;
    line->timeout = timeout;
    enqueue(line, f);
    line_connect(line);
}

void sc_sender_queued(const sc_sender_t *s, const sc_member_t *m, apr_uint64_t *bytes,
                      apr_uint32_t *frames)
{
    const line_t *line;

    *bytes = 0;
    *frames = 0;
    for (line = s->lines; line != NULL; line = line->next) {
        if (!line->probe && sc_member_same(&line->to, m)) {
            *bytes += line->bytes;
            *frames += line->frames;
        }
    }
}

/* ---- ending --------------------------------------------------------------------------------- */

static void line_abandon(line_t *line)
{
    line_close(line);
    while (line->head != NULL) {
        head_ended(line, APR_ECONNABORTED);
    }
    line_reap(line);
}

void sc_sender_forget(sc_sender_t *s, const sc_member_t *m)
{
    line_t *line = s->lines;

    while (line != NULL) {
        line_t *next = line->next;

        if (!line->probe && sc_member_same(&line->to, m)) {
            line_abandon(line);
        }
        line = next;
    }
}

/** One look at all lines that have something to send. @return how many there are */
static nfds_t drain_collect(sc_sender_t *s, struct pollfd *fds, line_t **lines, nfds_t max)
{
    line_t *line;
    nfds_t n = 0;

    for (line = s->lines; line != NULL && n < max; line = line->next) {
        if (line->head != NULL && !line->probe) {
            lines[n] = line;
            fds[n].fd = line->sock.fd; /* -1 is passed over by poll */
            fds[n].events = POLLIN;
            if (line->state == LINE_CONNECTING || has_output(line)) {
                fds[n].events |= POLLOUT;
            }
            fds[n].revents = 0;
            n++;
        }
    }
    return n;
}

static void drain_one(line_t *line, const struct pollfd *fd, apr_time_t now)
{
    apr_int16_t events = 0;

    if (line->deadline.index != 0 && line->deadline.due <= now) {
        line->head->retries = 0;
        line_broken(line, APR_TIMEUP);
    } else if (line->kick.index != 0 && line->kick.due <= now) {
        sc_timer_cancel(timers_of(line->s), &line->kick);
        kicked(line);
    } else if (fd->revents != 0) {
        events |= fd->revents & POLLIN ? APR_POLLIN : 0;
        events |= fd->revents & POLLOUT ? APR_POLLOUT : 0;
        events |= fd->revents & POLLERR ? APR_POLLERR : 0;
        events |= fd->revents & POLLHUP ? APR_POLLHUP : 0;
        line_ready(line, events);
    }
}

void sc_sender_drain(sc_sender_t *s, apr_interval_time_t timeout)
{
    apr_time_t end = now_of(s) + timeout;

    for (;;) {
        struct pollfd fds[2 * SC_MEMBERS_MAX];
        line_t *lines[2 * SC_MEMBERS_MAX];
        apr_time_t now = now_of(s);
        nfds_t n = drain_collect(s, fds, lines, 2 * SC_MEMBERS_MAX);
        nfds_t i;

        if (n == 0 || now >= end) {
            break;
        }
        now = end - now < DRAIN_STEP ? end - now : DRAIN_STEP;
        (void)poll(fds, n, (int)((now + 999) / 1000));
        now = now_of(s);
        /* a line that is dealt with may free itself, but no other one */
        for (i = 0; i < n; i++) {
            drain_one(lines[i], &fds[i], now);
        }
        tell_ends(s);
    }
    tell_ends(s);
}

sc_sender_t *sc_sender_create(const sc_net_env_t *env)
{
    sc_sender_t *s = apr_pcalloc(env->pool, sizeof(*s));

    if (s != NULL) {
        s->env = env;
        s->ended_tail = &s->ended;
    }
    return s;
}

void sc_sender_close(sc_sender_t *s)
{
    while (s->lines != NULL) {
        line_abandon(s->lines);
        tell_ends(s); /* these may send again; that ends here as well */
    }
    tell_ends(s);
    sc_timer_cancel(timers_of(s), &s->timer);
}
