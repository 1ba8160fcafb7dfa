/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * MessageDispatch: whoever sends with the option ASYNCHRONOUS does not wait (tribes-protocol 4.2).
 *
 * Tomcat copies such a message into a queue and lets threads send it. Here sending never blocks:
 * the transport copies the message into the queue of its destination at once. So this link passes
 * it on at once too, which keeps the order of all messages for a destination, and only changes who
 * is told what: the caller hears "done" at the end of the current round, the real end stays here.
 * What remains of the queue is its bound: the bytes of asynchronous messages that have not ended
 * yet. Over it a message is sent as if it were not asynchronous (alwaysSend), or refused.
 *
 * Session messages wait above the chain, in the outboxes, which put them together. There they are
 * part of the queue, too: an outbox reserves the bytes of a record that is asynchronous when it is
 * posted, and releases them at its end. Nobody waits for such a record, so alwaysSend can only mean
 * that it is queued all the same; a refused one breaks its stream, and the member asks for what it
 * missed.
 */
#include <stdlib.h>

#include "sc_interceptor.h"

enum { MAX_QUEUE_SIZE, ALWAYS_SEND, OPTION_FLAG, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    {"maxQueueSize", 0, 64 * 1024 * 1024, 1, APR_INT64_C(1) << 40, "bytes"},
    {"alwaysSend", 1, 1, 0, 1, NULL},
    {"optionFlag", 0, SC_OPT_ASYNCHRONOUS, 0, 0x7fffffff, "option bits"},
};

#define LOG_INTERVAL apr_time_from_sec(10)

#define NO_THREADS "sending never blocks, there are no threads to count"

static const sc_attr_refused_t refused[] = {
    {"useDeepClone", "a message is always copied into its member's queue"},
    {"maxThreads", NO_THREADS},
    {"maxSpareThreads", NO_THREADS},
    {"keepAliveTime", NO_THREADS},
};

/** The caller's callback, until it has been called. */
typedef struct notice_t {
    struct notice_t *next;
    sc_sent_fn_t *done;
    void *baton;
    apr_status_t rv;
} notice_t;

typedef struct dispatch_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    apr_uint64_t outstanding; /* bytes */
    notice_t *notices;
    notice_t **tail;
    sc_timer_t timer;
    sc_log_limit_t full_log;
    sc_log_limit_t lost_log;
} dispatch_t;

/** One asynchronous message on its way. */
typedef struct message_t {
    dispatch_t *d;
    apr_size_t bytes;
} message_t;

static const char *dispatch_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];
    const char *message =
        sc_interceptor_refused(c, refused, sizeof(refused) / sizeof(refused[0]), pool);

    if (message == NULL) {
        message = sc_interceptor_attrs(c, rules, NATTRS, values, pool);
    }
    if (message == NULL && values[OPTION_FLAG] != SC_OPT_ASYNCHRONOUS) {
        return "interceptor MessageDispatch: optionFlag must be 8: that is the send option "
               "asynchronous, and who sends without it waits for an answer";
    }
    return message;
}

static apr_status_t dispatch_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                    apr_pool_t *pool)
{
    dispatch_t *d = apr_pcalloc(pool, sizeof(*d));

    if (sc_interceptor_attrs(c, rules, NATTRS, d->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    d->self = self;
    d->tail = &d->notices;
    self->state = d;
    return APR_SUCCESS;
}

static void tell(dispatch_t *d)
{
    while (d->notices != NULL) {
        notice_t *n = d->notices;

        d->notices = n->next;
        if (d->notices == NULL) {
            d->tail = &d->notices;
        }
        n->done(n->baton, n->rv);
        free(n);
    }
}

static void tell_due(void *baton, apr_time_t now)
{
    (void)now;
    tell(baton);
}

static void tell_later(dispatch_t *d, notice_t *n, const sc_outgoing_t *out, apr_status_t rv)
{
    const sc_chain_env_t *env = d->self->env;

    n->next = NULL;
    n->done = out->done;
    n->baton = out->baton;
    n->rv = rv;
    *d->tail = n;
    d->tail = &n->next;
    if (d->timer.index == 0) {
        (void)sc_timer_set(env->timers, &d->timer, sc_mono(env->clock), tell_due, d);
    }
}

static void lost(dispatch_t *d, apr_status_t rv)
{
    const sc_chain_env_t *env = d->self->env;
    apr_uint64_t more = 0;

    SC_CHAIN_COUNT(env, async_lost);
    if (sc_log_allowed(&d->lost_log, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, rv,
               "SC0471: an asynchronous message was lost (%" APR_UINT64_T_FMT " more before)",
               more);
    }
}

static void message_ended(void *baton, apr_status_t rv)
{
    message_t *m = baton;

    if (rv != APR_SUCCESS) {
        lost(m->d, rv);
    }
    m->d->outstanding -= m->bytes;
    free(m);
}

/** Whether so many bytes more are within the bound; if not, that is counted and said. */
static int fits(dispatch_t *d, apr_uint64_t bytes)
{
    const sc_chain_env_t *env = d->self->env;
    apr_uint64_t max = (apr_uint64_t)d->attr[MAX_QUEUE_SIZE];
    apr_uint64_t more = 0;

    if (bytes <= max && d->outstanding <= max - bytes) {
        return 1;
    }
    SC_CHAIN_COUNT(env, async_over);
    if (sc_log_allowed(&d->full_log, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0541: MessageDispatch: more than %" APR_INT64_T_FMT
               " bytes of asynchronous messages (maxQueueSize) have not come to their end; what is "
               "more is %s (%" APR_UINT64_T_FMT " more before)",
               d->attr[MAX_QUEUE_SIZE],
               d->attr[ALWAYS_SEND] ? "sent all the same" : "refused (alwaysSend=false)", more);
    }
    return 0;
}

static int dispatch_reserve(sc_interceptor_t *self, apr_uint64_t bytes)
{
    dispatch_t *d = self->state;

    if (!fits(d, bytes) && !d->attr[ALWAYS_SEND]) {
        return 0;
    }
    d->outstanding += bytes;
    return 1;
}

static void dispatch_release(sc_interceptor_t *self, apr_uint64_t bytes)
{
    dispatch_t *d = self->state;

    d->outstanding -= bytes;
}

static void dispatch_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    dispatch_t *d = self->state;
    apr_size_t bytes = out->packet.body_len;
    sc_outgoing_t below = *out;
    message_t *m;
    notice_t *n;

    if (!(out->packet.options & SC_OPT_ASYNCHRONOUS) || out->dispatched) {
        sc_pass_send(self, out);
        return;
    }
    m = malloc(sizeof(*m));
    n = malloc(sizeof(*n));
    if (m != NULL && n != NULL && fits(d, bytes)) {
        m->d = d;
        m->bytes = bytes;
        d->outstanding += bytes;
        below.dispatched = 1;
        below.done = message_ended;
        below.baton = m;
        tell_later(d, n, out, APR_SUCCESS);
        sc_pass_send(self, &below);
        return;
    }
    free(m);
    if (n != NULL && !d->attr[ALWAYS_SEND]) {
        tell_later(d, n, out, APR_ENOSPC);
        return;
    }
    free(n);
    below.dispatched = 1;
    sc_pass_send(self, &below);
}

static void dispatch_stop(sc_interceptor_t *self)
{
    dispatch_t *d = self->state;

    sc_timer_cancel(self->env->timers, &d->timer);
    tell(d);
}

const sc_interceptor_class_t sc_message_dispatch_class = {
    .name = "MessageDispatch",
    .check = dispatch_check,
    .create = dispatch_create,
    .stop = dispatch_stop,
    .send = dispatch_send,
    .reserve = dispatch_reserve,
    .release = dispatch_release,
};
