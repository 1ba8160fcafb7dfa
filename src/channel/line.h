/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file line.h
 * @brief Private to the sender: a line to a member, and the frames that wait in it.
 *
 *   sender.c      all lines: who sends what to whom
 *   line.c        one line: its connection, errors, repetitions, events
 *   line_wire.c   what goes over its connection: frames out, acknowledgements in
 *   line_queue.c  the frames of a line, and how their end is told
 *
 * Calls go down this list.
 */
#ifndef SC_LINE_H
#define SC_LINE_H

#include "secured.h"

/** A frame that is to be sent. */
typedef struct sc_queued_t {
    struct sc_queued_t *next;
    sc_buf_t bytes;
    apr_size_t size; /**< on the wire: of bytes, and of a tag once it is sealed */
    apr_size_t sent;
    int wants_ack;
    apr_uint32_t retries; /**< left */
    sc_sent_fn_t *done;
    void *baton;
    apr_status_t rv;
} sc_queued_t;

typedef enum sc_line_state_t {
    SC_LINE_CLOSED,
    SC_LINE_CONNECTING,
    SC_LINE_SHAKING, /**< a handshake is under way */
    SC_LINE_OPEN
} sc_line_state_t;

typedef struct sc_line_t {
    struct sc_line_t *next;
    struct sc_line_t **link; /**< what points to it */
    sc_sender_t *s;
    sc_member_t to;
    sc_lane_t lane;
    apr_time_t opened;    /**< its connection */
    apr_uint32_t written; /**< frames on it */
    sc_timer_t worn;      /**< its connection has become old */
    int probe;            /**< it ends with its frame */
    sc_line_state_t state;
    sc_sock_t sock;
    sc_queued_t *head;
    sc_queued_t **tail;
    apr_uint64_t bytes;
    apr_uint32_t frames;
    apr_interval_time_t timeout; /**< of a frame */
    sc_timer_t deadline;         /**< of the first one */
    sc_timer_fn_t *late;         /**< it has passed: called with the line */
    sc_timer_t kick;             /**< connect, or deal with `error`, when it is due */
    apr_status_t error;
    int known; /**< a node of ours that has acknowledged something: it knows this one */
    unsigned char answer[SC_SEALED_ACK];
    apr_size_t answered;
    sc_secured_t *secured; /**< NULL: plain, or closed */
} sc_line_t;

struct sc_sender_t {
    const sc_net_env_t *env;
    sc_line_t *lines;
    sc_queued_t *ended; /**< whose end has not been told yet, in order */
    sc_queued_t **ended_tail;
    sc_timer_t timer;
    sc_log_limit_t shake_log;
};

static inline sc_timers_t *sc_sender_timers(const sc_sender_t *s)
{
    return sc_loop_timers(s->env->loop);
}

/** The clock itself, not the loop's cached time: a drain does not run the loop. */
static inline apr_time_t sc_sender_now(const sc_sender_t *s)
{
    return sc_mono(sc_loop_clock(s->env->loop));
}

/* line_queue.c */
/** @param packet NULL: a connection is all that is wanted. Never NULL; an error stands in its rv */
sc_queued_t *sc_queued_create(const sc_packet_t *packet, sc_sent_fn_t *done, void *baton);
/** A frame that is in no line has ended; it will be told, from a timer at the latest. */
void sc_sender_ended(sc_sender_t *s, sc_queued_t *f, apr_status_t rv);
/** Tell all ends. Whoever is told may send, forget and probe: no line may be in use. */
void sc_sender_tell(sc_sender_t *s);
void sc_line_enqueue(sc_line_t *line, sc_queued_t *f);
/** The first frame of the queue has ended, and the time of the next one begins. */
void sc_line_head_ended(sc_line_t *line, apr_status_t rv);

/* line_wire.c */
/** Whether there is something that the socket should take now. */
int sc_line_has_output(const sc_line_t *line);
/** @return APR_SUCCESS: all that may go is out; APR_EAGAIN: the socket is full; else its error */
apr_status_t sc_line_write(sc_line_t *line);
/** @return APR_SUCCESS: nothing more to read; APR_EOF: closed; else why it must be */
apr_status_t sc_line_read(sc_line_t *line);

/* line.c */
/** @return NULL: out of memory */
sc_line_t *sc_line_create(sc_sender_t *s, const sc_member_t *to, sc_lane_t lane);
/** Its first frame is there: connect, or write it if there is a connection. May free the line. */
void sc_line_begin(sc_line_t *line);
/** What the loop would do about it if it ran: what is due, else what poll has found.
 *  @param events APR_POLLIN, ... or 0. May free the line, but no other one */
void sc_line_look(sc_line_t *line, apr_time_t now, apr_int16_t events);
/** End all of its frames, and the line. */
void sc_line_abandon(sc_line_t *line);

#endif
