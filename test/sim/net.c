/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The transport of one engine: what src/channel/sender.c and receiver.c do with sockets, done with
 * the connections of wire.c. Queues, deadlines, retries and their order follow the original:
 *
 * - on each line one frame that wants an acknowledgement is under way, the others wait behind it;
 * - the time of a frame counts from its turn and includes connecting and retries;
 * - after an error or a FAIL_ACK the same bytes go out on a new connection, after a timeout not;
 * - ends are told from a list, never from within send.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define FAIL_ACK_PAUSE apr_time_from_msec(100)

typedef struct frame_t {
    struct frame_t *next;
    blob_t *blob; /* NULL: a probe that only connects */
    int written;
    int wants_ack;
    apr_uint32_t retries;
    sc_sent_fn_t *done;
    void *baton;
    apr_status_t rv;
} frame_t;

typedef enum line_state_t { LINE_CLOSED, LINE_CONNECTING, LINE_OPEN } line_state_t;

typedef struct line_t {
    struct line_t *next, **link;
    struct sender_t *s;
    sc_member_t to;
    int dest;
    sc_lane_t lane;
    int probe;
    line_state_t state;
    conn_t *conn;
    frame_t *head, **tail;
    apr_uint64_t bytes;
    apr_uint32_t frames;
    apr_interval_time_t timeout;
    sc_timer_t deadline;
    sc_timer_t kick;
    apr_status_t error;
    int known;
} line_t;

typedef struct sender_t {
    engine_t *e;
    line_t *lines;
    frame_t *ended, **ended_tail;
    sc_timer_t timer;
    sc_buf_t scratch;
} sender_t;

static void line_connect(line_t *line);

static apr_time_t now_of(const sender_t *s)
{
    return node_mono(s->e->node);
}

static void set_timer(sender_t *s, sc_timer_t *t, apr_interval_time_t delay, sc_timer_fn_t *fn,
                      void *baton)
{
    (void)sc_timer_set(s->e->net_timers, t, now_of(s) + delay, fn, baton);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void tell_ends(sender_t *s)
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

static void end_frame(sender_t *s, frame_t *f, apr_status_t rv)
{
    blob_drop(f->blob);
    f->blob = NULL;
    f->rv = rv;
    f->next = NULL;
    *s->ended_tail = f;
    s->ended_tail = &f->next;
    if (s->timer.index == 0) {
        set_timer(s, &s->timer, 0, ends_due, s);
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void line_close(line_t *line)
{
    conn_t *c = line->conn;

    line->conn = NULL;
    line->state = LINE_CLOSED;
    if (c != NULL) {
        conn_close(c);
    }
}

static void line_reap(line_t *line)
{
    if (line->head != NULL || line->state != LINE_CLOSED) {
        return;
    }
    sc_timer_cancel(line->s->e->net_timers, &line->deadline);
    sc_timer_cancel(line->s->e->net_timers, &line->kick);
    *line->link = line->next;
    if (line->next != NULL) {
        line->next->link = line->link;
    }
    free(line);
}

static void deadline_due(void *baton, apr_time_t now);

static void head_ended(line_t *line, apr_status_t rv)
{
    frame_t *f = line->head;

    line->head = f->next;
    if (line->head == NULL) {
        line->tail = &line->head;
    }
    line->bytes -= f->blob != NULL ? f->blob->len : 0;
    line->frames--;
    end_frame(line->s, f, rv);
    if (line->head != NULL) {
        set_timer(line->s, &line->deadline, line->timeout, deadline_due, line);
    } else {
        sc_timer_cancel(line->s->e->net_timers, &line->deadline);
    }
}

static void kick_due(void *baton, apr_time_t now);

static void kick(line_t *line, apr_status_t error, apr_interval_time_t pause)
{
    line->error = error;
    set_timer(line->s, &line->kick, pause, kick_due, line);
}

static void line_broken(line_t *line, apr_status_t rv)
{
    frame_t *f = line->head;

    line_close(line);
    if (f != NULL) {
        if (f->retries > 0) {
            f->retries--;
            f->written = 0;
            kick(line, APR_SUCCESS, rv == APR_EGENERAL ? FAIL_ACK_PAUSE : 0);
        } else {
            head_ended(line, rv);
            if (line->head != NULL) {
                line->head->written = 0;
                kick(line, APR_SUCCESS, 0);
            }
        }
    }
    line_reap(line);
}

static void kick_due(void *baton, apr_time_t now)
{
    line_t *line = baton;
    sender_t *s = line->s;
    apr_status_t rv = line->error;

    (void)now;
    line->error = APR_SUCCESS;
    if (rv != APR_SUCCESS) {
        line_broken(line, rv);
    } else if (line->state == LINE_CLOSED && line->head != NULL) {
        line_connect(line);
    }
    tell_ends(s);
}

static void deadline_due(void *baton, apr_time_t now)
{
    line_t *line = baton;
    sender_t *s = line->s;

    (void)now;
    if (line->head != NULL) {
        line->head->retries = 0;
        line_broken(line, APR_TIMEUP);
    }
    tell_ends(s);
}

static void line_connect(line_t *line)
{
    if (line->dest < 0 || line->s->e->dead) {
        kick(line, ECONNREFUSED, 0);
        return;
    }
    line->state = LINE_CONNECTING;
    line->conn = conn_open(line->s->e->node->w->net, line->s->e->node->index, line->dest, line);
}

static void line_go(line_t *line)
{
    while (line->head != NULL && !line->head->written) {
        frame_t *f = line->head;
        node_t *n = line->s->e->node;

        f->written = 1;
        n->frames++;
        n->frame_bytes += f->blob->len;
        if (!line->s->e->dead) { /* a killed engine says no good-bye */
            conn_send(line->conn, f->blob);
        }
        if (f->wants_ack) {
            break;
        }
        head_ended(line, APR_SUCCESS);
    }
    if (line->probe && line->head == NULL) {
        line_close(line);
        line_reap(line);
    }
}

void line_signal(line_t *line, signal_t what)
{
    sender_t *s = line->s;

    switch (what) {
    case SIG_CONNECTED:
        line->state = LINE_OPEN;
        if (line->head != NULL && line->head->blob == NULL) {
            head_ended(line, APR_SUCCESS);
        }
        line_go(line);
        break;
    case SIG_REFUSED:
        line_broken(line, ECONNREFUSED);
        break;
    case SIG_RESET:
        if (line->head == NULL || !line->head->written) {
            line_close(line); /* idle: no error */
            if (line->head != NULL) {
                kick(line, APR_SUCCESS, 0);
            }
            line_reap(line);
        } else {
            line_broken(line, ECONNRESET);
        }
        break;
    default:
        if (line->head == NULL || !line->head->written || !line->head->wants_ack) {
            line_broken(line, APR_EINVAL);
        } else if (what == SIG_FAIL_ACK && !line->known) {
            line_broken(line, APR_EGENERAL);
        } else {
            line->known = 1;
            head_ended(line, what == SIG_FAIL_ACK ? APR_EGENERAL : APR_SUCCESS);
            line_go(line);
        }
        break;
    }
    tell_ends(s);
}

/* ---- sending --------------------------------------------------------------------------------- */

static int dest_of(const world_t *w, const sc_member_t *m)
{
    int i = m->host[3] - 1;

    return m->host_len == 4 && m->host[0] == 10 && i >= 0 && i < w->nmembers &&
                   (apr_uint32_t)m->port == w->node[i]->config.receiver.port
               ? i
               : -1;
}

static line_t *line_create(sender_t *s, const sc_member_t *to, sc_lane_t lane)
{
    line_t *line = calloc(1, sizeof(*line));

    line->s = s;
    line->to = *to;
    line->dest = dest_of(s->e->node->w, to);
    line->lane = lane;
    line->tail = &line->head;
    line->timeout = apr_time_from_msec(s->e->node->config.sender.timeout_ms);
    line->next = s->lines;
    line->link = &s->lines;
    if (line->next != NULL) {
        line->next->link = &line->next;
    }
    s->lines = line;
    return line;
}

static line_t *line_to(const sender_t *s, const sc_member_t *to, sc_lane_t lane)
{
    line_t *line;

    for (line = s->lines; line != NULL; line = line->next) {
        if (!line->probe && line->lane == lane && sc_member_same(&line->to, to)) {
            return line;
        }
    }
    return NULL;
}

static frame_t *frame_create(sender_t *s, const sc_packet_t *packet, sc_sent_fn_t *done,
                             void *baton)
{
    frame_t *f = calloc(1, sizeof(*f));

    f->done = done;
    f->baton = baton;
    if (packet != NULL) {
        sc_buf_clear(&s->scratch);
        sc_frame_put(&s->scratch, packet);
        f->rv = s->scratch.err;
        f->wants_ack = (packet->options & SC_OPT_USE_ACK) != 0;
        f->blob = blob_new(s->scratch.data, s->scratch.len, packet->options);
    }
    return f;
}

static void enqueue(line_t *line, frame_t *f)
{
    *line->tail = f;
    line->tail = &f->next;
    line->bytes += f->blob != NULL ? f->blob->len : 0;
    line->frames++;
    if (line->head == f) {
        set_timer(line->s, &line->deadline, line->timeout, deadline_due, line);
    }
}

static apr_status_t refusal(const sender_t *s, const sc_member_t *to, const frame_t *f,
                            const line_t *line)
{
    apr_uint64_t max = 2 * (apr_uint64_t)s->e->node->config.sender.max_queue;

    if (f->rv != APR_SUCCESS) {
        return f->rv;
    }
    if (!sc_member_usable(to)) {
        return APR_EINVAL;
    }
    return line != NULL && line->bytes > 0 && line->bytes + f->blob->len > max ? APR_ENOSPC
                                                                               : APR_SUCCESS;
}

static void transport_send(void *ctx, const sc_member_t *to, sc_lane_t lane,
                           const sc_packet_t *packet, sc_sent_fn_t *done, void *baton)
{
    engine_t *e = ctx;
    sender_t *s = e->sender;
    line_t *line = line_to(s, to, lane);
    frame_t *f = frame_create(s, packet, done, baton);
    apr_status_t rv = refusal(s, to, f, line);

    if (rv != APR_SUCCESS) {
        end_frame(s, f, rv);
        return;
    }
    if (line == NULL) {
        line = line_create(s, to, lane);
    }
    f->retries = e->node->config.sender.max_retries;
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

static void transport_probe(void *ctx, const sc_member_t *to, const sc_packet_t *packet,
                            apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton)
{
    engine_t *e = ctx;
    sender_t *s = e->sender;
    frame_t *f = frame_create(s, packet, done, baton);
    apr_status_t rv = refusal(s, to, f, NULL);
    line_t *line;

    if (rv != APR_SUCCESS) {
        end_frame(s, f, rv);
        return;
    }
    line = line_create(s, to, SC_LANE_CONTROL);
    line->probe = 1;
    line->timeout = timeout;
    enqueue(line, f);
    line_connect(line);
}

static void line_abandon(line_t *line)
{
    line_close(line);
    while (line->head != NULL) {
        head_ended(line, APR_ECONNABORTED);
    }
    line_reap(line);
}

static void transport_forget(void *ctx, const sc_member_t *m)
{
    engine_t *e = ctx;
    line_t *line = e->sender->lines;

    while (line != NULL) {
        line_t *next = line->next;

        if (!line->probe && sc_member_same(&line->to, m)) {
            line_abandon(line);
        }
        line = next;
    }
}

static void transport_queued(void *ctx, const sc_member_t *m, apr_uint64_t *bytes,
                             apr_uint32_t *frames)
{
    engine_t *e = ctx;
    const line_t *line;

    *bytes = 0;
    *frames = 0;
    for (line = e->sender->lines; line != NULL; line = line->next) {
        if (!line->probe && sc_member_same(&line->to, m)) {
            *bytes += line->bytes;
            *frames += line->frames;
        }
    }
}

static apr_status_t transport_group_send(void *ctx, const void *bytes, apr_size_t len)
{
    engine_t *e = ctx;

    if (!e->dead) {
        net_group_send(e->node->w->net, e->node->index, bytes, len);
        e->node->frames++;
        e->node->frame_bytes += len;
    }
    return APR_SUCCESS;
}

/* ---- receiving ------------------------------------------------------------------------------- */

int engine_frame(engine_t *e, const blob_t *b)
{
    int wants = (b->options & SC_OPT_USE_ACK) != 0;
    int after = (b->options & SC_OPT_SYNCHRONIZED_ACK) != 0;
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t parser;
    sc_packet_t packet;
    apr_size_t len;
    apr_status_t rv;

    if (e->draining) {
        return wants ? 1 : -1;
    }
    sc_parser_init(&parser, e->node->config.receiver.max_frame);
    sc_put(&parser.in, b->bytes, b->len);
    rv = sc_parser_next(&parser, &kind, &data, &len);
    if (rv == APR_SUCCESS) {
        rv = sc_packet_get(&packet, data, len);
    }
    if (rv != APR_SUCCESS) {
        violated(e->node->w, "C5 frame", NULL, "a frame of a node cannot be read");
    } else {
        rv = e->up.packet(e->up.baton, &packet);
    }
    sc_parser_free(&parser);
    return !wants ? -1 : after && rv != APR_SUCCESS;
}

void engine_datagram(engine_t *e, const void *bytes, apr_size_t len)
{
    if (!e->draining) {
        e->up.datagram(e->up.baton, bytes, len);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

void sender_create(engine_t *e)
{
    sender_t *s = calloc(1, sizeof(*s));

    s->e = e;
    s->ended_tail = &s->ended;
    sc_buf_init(&s->scratch, 256 * 1024 * 1024);
    e->sender = s;
    e->transport.ctx = e;
    e->transport.send = transport_send;
    e->transport.probe = transport_probe;
    e->transport.forget = transport_forget;
    e->transport.queued = transport_queued;
    e->transport.group_send = transport_group_send;
}

apr_uint32_t sender_waiting(const engine_t *e)
{
    const line_t *line;
    apr_uint32_t n = 0;

    for (line = e->sender->lines; line != NULL; line = line->next) {
        n += line->probe ? 0 : line->frames;
    }
    return n;
}

void sender_close(engine_t *e)
{
    sender_t *s = e->sender;

    while (s->lines != NULL) {
        line_abandon(s->lines);
        tell_ends(s);
    }
    tell_ends(s);
    sc_timer_cancel(e->net_timers, &s->timer);
    sc_buf_free(&s->scratch);
    free(s);
    e->sender = NULL;
}
