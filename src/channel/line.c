/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One line: its connection, and what becomes of it.
 *
 * A connection is made when there is something to send. The time a frame may take includes
 * connecting and all its retries. After an error or a FAIL_ACK the identical frame goes out again
 * on a new connection, as in Tribes; after a timeout it does not.
 *
 * A FAIL_ACK is followed by a short pause: it comes from a member that has only just joined and
 * does not know us yet. Of a node of ours that has acknowledged something before it is the last
 * word: it has read the frame and will not have it, and whoever sent it knows what to do about
 * that.
 *
 * With a secret a connection begins with a handshake (secured.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "line.h"

#define FAIL_ACK_PAUSE apr_time_from_msec(100)

static void kick_due(void *baton, apr_time_t now);
static void line_event(void *baton, apr_int16_t events);

/* ---- closing -------------------------------------------------------------------------------- */

static void line_close(sc_line_t *line)
{
    sc_timer_cancel(sc_sender_timers(line->s), &line->worn);
    sc_sock_close(&line->sock, 1);
    line->state = SC_LINE_CLOSED;
    line->written = 0;
    line->answered = 0;
    sc_secured_free(line->secured);
    line->secured = NULL;
}

/** A line that has neither a connection nor anything to send is no use. */
static void line_reap(sc_line_t *line)
{
    if (line->head != NULL || line->state != SC_LINE_CLOSED) {
        return;
    }
    sc_timer_cancel(sc_sender_timers(line->s), &line->deadline);
    sc_timer_cancel(sc_sender_timers(line->s), &line->kick);
    *line->link = line->next;
    if (line->next != NULL) {
        line->next->link = line->link;
    }
    free(line);
}

static void kick(sc_line_t *line, apr_status_t error, apr_interval_time_t pause)
{
    line->error = error;
    (void)sc_timer_set(sc_sender_timers(line->s), &line->kick, sc_sender_now(line->s) + pause,
                       kick_due, line);
}

/** Its connection is over, and that is no error: what waits goes out on another one. May free the
 *  line. */
static void line_renew(sc_line_t *line)
{
    line_close(line);
    if (line->head != NULL) {
        kick(line, APR_SUCCESS, 0);
    }
    line_reap(line);
}

/** The connection is no good, or its frame was refused. May free the line. */
static void line_broken(sc_line_t *line, apr_status_t rv)
{
    sc_queued_t *f = line->head;

    line_close(line);
    if (f != NULL) {
        if (f->retries > 0) {
            f->retries--;
            f->sent = 0;
            kick(line, APR_SUCCESS, rv == APR_EGENERAL ? FAIL_ACK_PAUSE : 0);
        } else {
            sc_line_head_ended(line, rv);
            if (line->head != NULL) {
                kick(line, APR_SUCCESS, 0);
            }
        }
    }
    line_reap(line);
}

/** The first frame has had its time. May free the line. */
static void line_late(sc_line_t *line)
{
    line->head->retries = 0;
    line_broken(line, APR_TIMEUP);
}

static void deadline_due(void *baton, apr_time_t now)
{
    sc_line_t *line = baton;
    sc_sender_t *s = line->s;

    (void)now;
    if (line->head != NULL) {
        line_late(line);
    }
    sc_sender_tell(s);
}

/* ---- connecting ----------------------------------------------------------------------------- */

static void line_connect(sc_line_t *line)
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
    line->state = SC_LINE_CONNECTING;
    rv = sc_sock_watch(&line->sock, APR_POLLOUT, line_event, line);
    if (rv != APR_SUCCESS) {
        line_close(line);
        kick(line, rv, 0);
    }
}

/** Do what is to be done next: act on an error, or connect for what waits. */
static void kicked(sc_line_t *line)
{
    apr_status_t rv = line->error;

    line->error = APR_SUCCESS;
    if (rv != APR_SUCCESS) {
        line_broken(line, rv);
    } else if (line->state == SC_LINE_CLOSED && line->head != NULL) {
        line_connect(line);
    }
}

static void kick_due(void *baton, apr_time_t now)
{
    sc_line_t *line = baton;
    sc_sender_t *s = line->s;

    (void)now;
    kicked(line);
    sc_sender_tell(s);
}

/* ---- events --------------------------------------------------------------------------------- */

/** Whether its connection has served its time (keepAliveCount, keepAliveTime), and no frame is on
 *  its way. */
static int is_worn(const sc_line_t *line)
{
    const sc_config_t *c = line->s->env->cfg.config;
    apr_int64_t age = apr_time_as_msec(sc_sender_now(line->s) - line->opened);

    if (line->written == 0 || (line->head != NULL && line->head->sent > 0)) {
        return 0;
    }
    return (c->sender.keep_count >= 0 && line->written > (apr_uint32_t)c->sender.keep_count) ||
           (c->sender.keep_ms >= 0 && age >= c->sender.keep_ms);
}

static void worn_due(void *baton, apr_time_t now)
{
    sc_line_t *line = baton;

    (void)now;
    if (line->head == NULL) { /* else it is closed when that is done */
        line_renew(line);
    }
}

/** Write what may go and watch for what comes next. May free the line. */
static void line_go(sc_line_t *line)
{
    apr_int16_t events = APR_POLLIN;
    apr_status_t rv;

    if (is_worn(line)) {
        line_renew(line);
        return;
    }
    rv = sc_line_write(line);
    if (rv == APR_EAGAIN) {
        events |= APR_POLLOUT;
        rv = APR_SUCCESS;
    }
    if (rv == APR_SUCCESS && line->probe && line->head == NULL) {
        line_renew(line);
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
static void opened(sc_line_t *line)
{
    apr_int32_t keep_ms = line->s->env->cfg.config->sender.keep_ms;

    line->state = SC_LINE_OPEN;
    line->opened = sc_sender_now(line->s);
    if (keep_ms >= 0) {
        (void)sc_timer_set(sc_sender_timers(line->s), &line->worn,
                           line->opened + apr_time_from_msec(keep_ms), worn_due, line);
    }
    if (line->head != NULL && line->head->bytes.len == 0) {
        sc_line_head_ended(line, APR_SUCCESS); /* a probe without a packet: that is all it wanted */
    }
    line_go(line);
}

static void connected(sc_line_t *line)
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
        line->state = SC_LINE_SHAKING;
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

static void line_shaking(sc_line_t *line)
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
static int untouched(const sc_line_t *line)
{
    return (line->head == NULL || line->head->sent == 0) &&
           (line->secured == NULL || !sc_secured_waits(line->secured));
}

static void line_ready(sc_line_t *line, apr_int16_t events)
{
    apr_status_t rv;

    if (line->state == SC_LINE_CONNECTING) {
        connected(line);
        return;
    }
    if (line->state == SC_LINE_SHAKING) {
        line_shaking(line);
        return;
    }
    if (events & (APR_POLLIN | APR_POLLERR | APR_POLLHUP)) {
        rv = sc_line_read(line);
        if (rv == APR_EOF && untouched(line)) {
            line_renew(line); /* closed by the other side while idle: no error */
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
    sc_line_t *line = baton;
    sc_sender_t *s = line->s;

    line_ready(line, events);
    sc_sender_tell(s);
}

/* ---- for the sender ------------------------------------------------------------------------- */

sc_line_t *sc_line_create(sc_sender_t *s, const sc_member_t *to, sc_lane_t lane)
{
    sc_line_t *line = calloc(1, sizeof(*line));

    if (line == NULL) {
        return NULL;
    }
    line->s = s;
    line->to = *to;
    line->lane = lane;
    line->sock.fd = -1;
    line->tail = &line->head;
    line->timeout = apr_time_from_msec(s->env->cfg.config->sender.timeout_ms);
    line->late = deadline_due;
    line->next = s->lines;
    line->link = &s->lines;
    if (line->next != NULL) {
        line->next->link = &line->next;
    }
    s->lines = line;
    return line;
}

void sc_line_begin(sc_line_t *line)
{
    if (line->state == SC_LINE_CLOSED && line->kick.index == 0) {
        line_connect(line);
    } else if (line->state == SC_LINE_OPEN) {
        line_go(line);
    }
}

void sc_line_look(sc_line_t *line, apr_time_t now, apr_int16_t events)
{
    if (line->deadline.index != 0 && line->deadline.due <= now) {
        line_late(line);
    } else if (line->kick.index != 0 && line->kick.due <= now) {
        sc_timer_cancel(sc_sender_timers(line->s), &line->kick);
        kicked(line);
    } else if (events != 0) {
        line_ready(line, events);
    }
}

void sc_line_abandon(sc_line_t *line)
{
    line_close(line);
    while (line->head != NULL) {
        sc_line_head_ended(line, APR_ECONNABORTED);
    }
    line_reap(line);
}
