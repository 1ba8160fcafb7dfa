/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Messages of several packets; see train.h.
 *
 * The list has all messages in the order they were given. The first one of a destination's lane is
 * going, those behind it wait. A message whose end cannot be told where it comes about, because
 * that is still within the send, stays in the list until a timer that is due now tells it.
 */
#include <stdlib.h>
#include <string.h>

#include "train.h"

static void car_ended(void *baton, apr_status_t rv);
static void ends_due(void *baton, apr_time_t now);

void sc_trains_init(sc_trains_t *trains, sc_interceptor_t *self, apr_uint64_t max_bytes,
                    apr_size_t grows,
                    apr_status_t (*car)(const sc_train_t *train, apr_uint32_t i, sc_outgoing_t *out,
                                        sc_buf_t *b))
{
    trains->self = self;
    trains->car = car;
    trains->max_bytes = max_bytes;
    trains->grows = grows;
    trains->first = NULL;
    trains->tail = &trains->first;
}

static int goes_to(const sc_train_t *t, const sc_member_t *to, sc_lane_t lane)
{
    return t->out.lane == lane && sc_member_same(&t->to, to);
}

/** The first message on this lane to a member that has not come to its end. */
static sc_train_t *first_to(const sc_trains_t *trains, const sc_member_t *to, sc_lane_t lane)
{
    sc_train_t *t;

    for (t = trains->first; t != NULL; t = t->next) {
        if (!t->ended && goes_to(t, to, lane)) {
            return t;
        }
    }
    return NULL;
}

int sc_trains_busy(const sc_trains_t *trains, const sc_member_t *to, sc_lane_t lane)
{
    return first_to(trains, to, lane) != NULL;
}

static void end_later(sc_train_t *t, apr_status_t rv)
{
    sc_trains_t *trains = t->trains;
    const sc_chain_env_t *env = trains->self->env;

    t->ended = 1;
    t->rv = rv;
    if (trains->timer.index == 0) {
        (void)sc_timer_set(env->timers, &trains->timer, sc_mono(env->clock), ends_due, trains);
    }
}

/** Hand the next packet on, or come to the end. */
static void go(sc_train_t *t)
{
    sc_trains_t *trains = t->trains;
    sc_outgoing_t out = t->out;
    apr_status_t rv;
    sc_buf_t b;

    if (trains->stopped) {
        end_later(t, APR_ECONNABORTED);
        return;
    }
    out.to = &t->to;
    out.done = car_ended;
    out.baton = t;
    sc_buf_init(&b, t->out.packet.body_len + trains->grows);
    rv = trains->car(t, t->sent, &out, &b);
    if (rv == APR_SUCCESS) {
        t->sent++;
        t->running = 1;
        sc_pass_send(trains->self, &out);
    } else {
        end_later(t, rv);
    }
    sc_buf_free(&b);
}

static void unlink_train(sc_train_t *t)
{
    sc_train_t **link = &t->trains->first;

    while (*link != t) {
        link = &(*link)->next;
    }
    *link = t->next;
    if (*link == NULL) {
        t->trains->tail = link;
    }
}

/** Tell the end of a message; the next one on its lane begins. */
static void finish(sc_train_t *t, apr_status_t rv)
{
    sc_train_t *next;

    unlink_train(t);
    next = first_to(t->trains, &t->to, t->out.lane);
    if (next != NULL && next->sent == 0) {
        go(next);
    }
    t->out.done(t->out.baton, rv);
    free(t);
}

static void car_ended(void *baton, apr_status_t rv)
{
    sc_train_t *t = baton;

    t->running = 0;
    if (rv != APR_SUCCESS || t->sent == t->cars || t->trains->stopped || t->forgotten) {
        if (rv == APR_SUCCESS && t->sent < t->cars) {
            rv = APR_ECONNABORTED;
        }
        finish(t, rv);
        return;
    }
    go(t);
}

static void tell_ended(sc_trains_t *trains)
{
    sc_train_t *t;

    do {
        for (t = trains->first; t != NULL && !t->ended; t = t->next) {
        }
        if (t != NULL) {
            finish(t, t->rv);
        }
    } while (t != NULL);
}

static void ends_due(void *baton, apr_time_t now)
{
    (void)now;
    tell_ended(baton);
}

/** What messages to a member take on this lane, small ones and ended ones, too. */
static apr_uint64_t bytes_to(const sc_trains_t *trains, const sc_member_t *to, sc_lane_t lane)
{
    apr_uint64_t bytes = 0;
    const sc_train_t *t;

    for (t = trains->first; t != NULL; t = t->next) {
        if (goes_to(t, to, lane)) {
            bytes += sizeof(*t) + t->out.packet.body_len;
        }
    }
    return bytes;
}

/** Append a message. @param len bytes of its body to copy */
static sc_train_t *append(sc_trains_t *trains, const sc_outgoing_t *out, apr_size_t len)
{
    sc_train_t *t = malloc(sizeof(*t) + len);

    if (t == NULL) {
        return NULL;
    }
    memset(t, 0, sizeof(*t));
    t->trains = trains;
    t->out = *out;
    t->to = *out->to;
    t->out.packet.body = (unsigned char *)(t + 1);
    t->out.packet.body_len = len;
    if (len > 0) {
        memcpy(t + 1, out->packet.body, len);
    }
    *trains->tail = t;
    trains->tail = &t->next;
    return t;
}

void sc_trains_refuse(sc_trains_t *trains, const sc_outgoing_t *out, apr_status_t rv)
{
    sc_train_t *t = append(trains, out, 0);

    if (t == NULL) {
        abort(); /* not even the end of this send could be told */
    }
    end_later(t, rv);
}

void sc_trains_send(sc_trains_t *trains, const sc_outgoing_t *out, apr_uint32_t cars)
{
    sc_train_t *before = first_to(trains, out->to, out->lane);
    apr_uint64_t waiting = bytes_to(trains, out->to, out->lane);
    apr_size_t len = out->packet.body_len;
    sc_train_t *t;

    if (trains->stopped) {
        sc_trains_refuse(trains, out, APR_ECONNABORTED);
        return;
    }
    if (waiting > 0 && waiting + sizeof(*t) + len > trains->max_bytes) {
        sc_trains_refuse(trains, out, APR_ENOSPC);
        return;
    }
    t = append(trains, out, len);
    if (t == NULL) {
        sc_trains_refuse(trains, out, APR_ENOMEM);
        return;
    }
    t->cars = cars;
    if (before == NULL) {
        go(t);
    }
}

void sc_trains_forget(sc_trains_t *trains, const sc_member_t *to)
{
    sc_train_t *t;

    for (t = trains->first; t != NULL; t = t->next) {
        if (sc_member_same(&t->to, to)) {
            t->forgotten = 1;
            if (!t->running && !t->ended) {
                end_later(t, APR_ECONNABORTED);
            }
        }
    }
}

void sc_trains_stop(sc_trains_t *trains)
{
    sc_train_t *t;

    trains->stopped = 1;
    sc_timer_cancel(trains->self->env->timers, &trains->timer);
    for (t = trains->first; t != NULL; t = t->next) {
        if (!t->running && !t->ended) {
            t->ended = 1;
            t->rv = APR_ECONNABORTED;
        }
    }
    tell_ended(trains);
    sc_timer_cancel(trains->self->env->timers, &trains->timer);
}
