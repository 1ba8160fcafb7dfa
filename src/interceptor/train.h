/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One message that travels as several packets: pieces, or a message and its confirmation.
 *
 * A packet leaves when the one before it has ended well; the first one that fails ends the message,
 * so that a member that hangs costs one timeout and not one for each packet. The end of a message
 * is that of its last packet. Messages on one lane to one destination do not overtake each other;
 * those of different lanes know nothing of each other, as below: a session's message must not wait
 * for the connection on which a file hangs.
 */
#ifndef TRAIN_H
#define TRAIN_H

#include "sc_interceptor.h"

typedef struct sc_train_t sc_train_t;

struct sc_train_t {
    sc_train_t *next;
    struct sc_trains_t *trains;
    sc_outgoing_t out; /* as it was given; packet.body is a copy */
    sc_member_t to;
    apr_uint32_t cars; /* packets that it has */
    apr_uint32_t sent; /* of these, handed on */
    int running;       /* one of them is on its way */
    int ended;         /* only its end has not been told yet */
    int forgotten;     /* its destination is gone: no further packet */
    apr_status_t rv;
};

typedef struct sc_trains_t {
    sc_interceptor_t *self;
    /** Make packet i of a message: change out->packet, whose body may lie in b (empty before).
     *  @return APR_SUCCESS, or why the message fails */
    apr_status_t (*car)(const sc_train_t *train, apr_uint32_t i, sc_outgoing_t *out, sc_buf_t *b);
    apr_uint64_t max_bytes; /* of memory for one lane, the message that is going included */
    apr_size_t grows;       /* bytes that a packet has more than the message at most */
    sc_train_t *first;      /* in the order they were given */
    sc_train_t **tail;
    sc_timer_t timer;
    int stopped;
} sc_trains_t;

/** @param max_bytes of messages that wait on one lane to one destination; more are refused with
 * APR_ENOSPC */
void sc_trains_init(sc_trains_t *trains, sc_interceptor_t *self, apr_uint64_t max_bytes,
                    apr_size_t grows,
                    apr_status_t (*car)(const sc_train_t *train, apr_uint32_t i, sc_outgoing_t *out,
                                        sc_buf_t *b));
/** Send a message as so many packets. @param out copied; out->done as ever */
void sc_trains_send(sc_trains_t *trains, const sc_outgoing_t *out, apr_uint32_t cars);
/** Send nothing and tell the end of this message, later. */
void sc_trains_refuse(sc_trains_t *trains, const sc_outgoing_t *out, apr_status_t rv);
/** Whether messages on this lane to a member are on their way or wait. */
int sc_trains_busy(const sc_trains_t *trains, const sc_member_t *to, sc_lane_t lane);
/** A destination is gone: send it nothing more, on no lane. */
void sc_trains_forget(sc_trains_t *trains, const sc_member_t *to);
/** End what has not begun, within the call. What is on its way ends when its packet does. */
void sc_trains_stop(sc_trains_t *trains);

#endif
