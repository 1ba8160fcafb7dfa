/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The frames that wait in a line, and how their end is told.
 *
 * The time a frame may take counts from when it is its turn.
 *
 * Ends are told from a list, after the line has been dealt with, so that whoever is told may send,
 * forget and probe at will.
 */
#include <stdlib.h>

#include "line.h"

/* ---- ends ----------------------------------------------------------------------------------- */

void sc_sender_tell(sc_sender_t *s)
{
    while (s->ended != NULL) {
        sc_queued_t *f = s->ended;

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
    sc_sender_tell(baton);
}

void sc_sender_ended(sc_sender_t *s, sc_queued_t *f, apr_status_t rv)
{
    sc_buf_free(&f->bytes);
    f->rv = rv;
    f->next = NULL;
    *s->ended_tail = f;
    s->ended_tail = &f->next;
    if (s->timer.index == 0) {
        (void)sc_timer_set(sc_sender_timers(s), &s->timer, sc_sender_now(s), ends_due, s);
    }
}

/* ---- frames --------------------------------------------------------------------------------- */

sc_queued_t *sc_queued_create(const sc_packet_t *packet, sc_sent_fn_t *done, void *baton)
{
    sc_queued_t *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        abort(); /* not even the end of this send could be told */
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

static void head_begins(sc_line_t *line)
{
    (void)sc_timer_set(sc_sender_timers(line->s), &line->deadline,
                       sc_sender_now(line->s) + line->timeout, line->late, line);
}

void sc_line_enqueue(sc_line_t *line, sc_queued_t *f)
{
    *line->tail = f;
    line->tail = &f->next;
    line->bytes += f->bytes.len;
    line->frames++;
    if (line->head == f) {
        head_begins(line);
    }
}

void sc_line_head_ended(sc_line_t *line, apr_status_t rv)
{
    sc_queued_t *f = line->head;

    line->head = f->next;
    if (line->head == NULL) {
        line->tail = &line->head;
    }
    line->bytes -= f->bytes.len;
    line->frames--;
    line->written++;
    sc_sender_ended(line->s, f, rv);
    if (line->head != NULL) {
        head_begins(line);
    } else {
        sc_timer_cancel(sc_sender_timers(line->s), &line->deadline);
    }
}
