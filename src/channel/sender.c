/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The sender: one line per member and lane, and one of its own for each probe.
 *
 * A line is a TCP connection that is made when there is something to send, and the queue of frames
 * behind it (line.h).
 */
#include <poll.h>

#include "line.h"

/* How often a drain looks at the clock and at lines that wait for their retry. */
#define DRAIN_STEP apr_time_from_msec(20)

/* ---- sending -------------------------------------------------------------------------------- */

static sc_line_t *line_to(const sc_sender_t *s, const sc_member_t *to, sc_lane_t lane)
{
    sc_line_t *line;

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
static apr_status_t refusal(const sc_sender_t *s, const sc_member_t *to, const sc_queued_t *f,
                            const sc_line_t *line)
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

/** Put a frame into a line that there is, or (NULL) into a new one.
 *  @return NULL: it has ended instead */
static sc_line_t *line_for(sc_sender_t *s, sc_line_t *line, const sc_member_t *to, sc_lane_t lane,
                           sc_queued_t *f)
{
    apr_status_t rv = refusal(s, to, f, line);

    if (rv == APR_SUCCESS && line == NULL) {
        line = sc_line_create(s, to, lane);
        rv = line != NULL ? APR_SUCCESS : APR_ENOMEM;
    }
    if (rv != APR_SUCCESS) {
        sc_sender_ended(s, f, rv);
        return NULL;
    }
    return line;
}

void sc_sender_send(sc_sender_t *s, const sc_member_t *to, sc_lane_t lane,
                    const sc_packet_t *packet, sc_sent_fn_t *done, void *baton)
{
    sc_queued_t *f = sc_queued_create(packet, done, baton);
    sc_line_t *line = line_for(s, line_to(s, to, lane), to, lane, f);

    if (line == NULL) {
        return;
    }
    f->retries = s->env->cfg.config->sender.max_retries;
    sc_line_enqueue(line, f);
    if (line->head == f) {
        sc_line_begin(line);
    }
}

void sc_sender_probe(sc_sender_t *s, const sc_member_t *to, const sc_packet_t *packet,
                     apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton)
{
    sc_queued_t *f = sc_queued_create(packet, done, baton);
    sc_line_t *line = line_for(s, NULL, to, SC_LANE_CONTROL, f);

    if (line == NULL) {
        return;
    }
    line->probe = 1;
    line->timeout = timeout;
    sc_line_enqueue(line, f);
    sc_line_begin(line);
}

void sc_sender_queued(const sc_sender_t *s, const sc_member_t *m, apr_uint64_t *bytes,
                      apr_uint32_t *frames)
{
    const sc_line_t *line;

    *bytes = 0;
    *frames = 0;
    for (line = s->lines; line != NULL; line = line->next) {
        if (!line->probe && sc_member_same(&line->to, m)) {
            *bytes += line->bytes;
            *frames += line->frames;
        }
    }
}

/* ---- draining ------------------------------------------------------------------------------- */

/** One look at all lines that have something to send. @return how many there are */
static nfds_t drain_collect(sc_sender_t *s, struct pollfd *fds, sc_line_t **lines, nfds_t max)
{
    sc_line_t *line;
    nfds_t n = 0;

    for (line = s->lines; line != NULL && n < max; line = line->next) {
        if (line->head != NULL && !line->probe) {
            lines[n] = line;
            fds[n].fd = line->sock.fd; /* -1 is passed over by poll */
            fds[n].events = POLLIN;
            if (line->state == SC_LINE_CONNECTING || sc_line_has_output(line)) {
                fds[n].events |= POLLOUT;
            }
            fds[n].revents = 0;
            n++;
        }
    }
    return n;
}

static apr_int16_t events_of(const struct pollfd *fd)
{
    apr_int16_t events = 0;

    events |= fd->revents & POLLIN ? APR_POLLIN : 0;
    events |= fd->revents & POLLOUT ? APR_POLLOUT : 0;
    events |= fd->revents & POLLERR ? APR_POLLERR : 0;
    events |= fd->revents & POLLHUP ? APR_POLLHUP : 0;
    return events;
}

void sc_sender_drain(sc_sender_t *s, apr_interval_time_t timeout)
{
    apr_time_t end = sc_sender_now(s) + timeout;

    for (;;) {
        struct pollfd fds[SC_LANES * SC_MEMBERS_MAX];
        sc_line_t *lines[SC_LANES * SC_MEMBERS_MAX];
        apr_time_t now = sc_sender_now(s);
        nfds_t n = drain_collect(s, fds, lines, SC_LANES * SC_MEMBERS_MAX);
        nfds_t i;

        if (n == 0 || now >= end) {
            break;
        }
        now = end - now < DRAIN_STEP ? end - now : DRAIN_STEP;
        (void)poll(fds, n, (int)((now + 999) / 1000));
        now = sc_sender_now(s);
        /* a line that is dealt with may free itself, but no other one */
        for (i = 0; i < n; i++) {
            sc_line_look(lines[i], now, events_of(&fds[i]));
        }
        sc_sender_tell(s);
    }
    sc_sender_tell(s);
}

/* ---- life ----------------------------------------------------------------------------------- */

sc_sender_t *sc_sender_create(const sc_net_env_t *env)
{
    sc_sender_t *s = apr_pcalloc(env->pool, sizeof(*s));

    if (s != NULL) {
        s->env = env;
        s->ended_tail = &s->ended;
    }
    return s;
}

void sc_sender_forget(sc_sender_t *s, const sc_member_t *m)
{
    sc_line_t *line = s->lines;

    while (line != NULL) {
        sc_line_t *next = line->next;

        if (!line->probe && sc_member_same(&line->to, m)) {
            sc_line_abandon(line);
        }
        line = next;
    }
}

void sc_sender_close(sc_sender_t *s)
{
    while (s->lines != NULL) {
        sc_line_abandon(s->lines);
        sc_sender_tell(s); /* these may send again; that ends here as well */
    }
    sc_sender_tell(s);
    sc_timer_cancel(sc_sender_timers(s), &s->timer);
}
