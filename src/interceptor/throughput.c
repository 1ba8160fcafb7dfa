/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Throughput: counts messages and bytes in both directions, and says so in the log after each
 * interval of messages (tribes-protocol 4.3). No effect on what is sent.
 *
 * Where it stands in the chain decides what it counts: above a link that compresses it sees
 * messages before that, below it after. Bytes "on the wire" are those of the frames that a message
 * would fill as it passes here.
 *
 * Sending does not block, so the time of a send runs from here to its end, and several overlap.
 * What is measured is how long at least one of them was on its way.
 */
#include <stdlib.h>

#include "sc_interceptor.h"

enum { OPTION_FLAG, INTERVAL, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"interval", 0, 10000, 1, 1000000000, "messages"},
};

typedef struct direction_t {
    apr_uint64_t messages;
    apr_uint64_t bytes;  /* of messages */
    apr_uint64_t framed; /* of the frames around them */
} direction_t;

typedef struct throughput_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    direction_t out;
    direction_t in;
    apr_uint64_t failed;
    apr_uint32_t outstanding;  /* sends that have not ended */
    apr_time_t busy_since;     /* meaningful while outstanding */
    apr_interval_time_t busy;  /* before that */
    apr_time_t first_received; /* 0: none yet */
    sc_buf_t scratch;
} throughput_t;

/** A send whose end is waited for. */
typedef struct sent_t {
    throughput_t *t;
    sc_sent_fn_t *done;
    void *baton;
} sent_t;

static const char *throughput_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];

    return sc_interceptor_attrs(c, rules, NATTRS, values, pool);
}

static apr_status_t throughput_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                      apr_pool_t *pool)
{
    throughput_t *t = apr_pcalloc(pool, sizeof(*t));

    if (sc_interceptor_attrs(c, rules, NATTRS, t->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    t->self = self;
    sc_buf_init(&t->scratch, 65536);
    self->state = t;
    return APR_SUCCESS;
}

static apr_time_t now_of(const throughput_t *t)
{
    return sc_mono(t->self->env->clock);
}

/** Bytes of the frame around a message: header, numbers, the sender's address, footer. */
static apr_size_t frame_head(throughput_t *t, const sc_packet_t *p)
{
    sc_buf_clear(&t->scratch);
    sc_member_put(&t->scratch, &p->from);
    return SC_FRAME_OVERHEAD + 4 + 8 + 4 + sizeof(p->id) + 4 + t->scratch.len + 4;
}

static void count(throughput_t *t, direction_t *d, const sc_packet_t *p)
{
    d->messages++;
    d->bytes += p->body_len;
    d->framed += p->body_len + frame_head(t, p);
}

static double megabytes(apr_uint64_t bytes)
{
    return (double)bytes / (1024.0 * 1024.0);
}

static double per_second(apr_uint64_t bytes, apr_interval_time_t time)
{
    return time > 0 ? megabytes(bytes) * APR_USEC_PER_SEC / (double)time : 0.0;
}

static void report(const throughput_t *t)
{
    apr_time_t now = now_of(t);
    apr_interval_time_t busy = t->busy + (t->outstanding > 0 ? now - t->busy_since : 0);
    apr_interval_time_t receiving = t->first_received != 0 ? now - t->first_received : 0;

    sc_log(
        t->self->env->log, SC_LOG_NOTICE, 0,
        "SC0481: throughput: sent %" APR_UINT64_T_FMT " messages, %.2f MB on the wire, %.2f MB "
        "of messages, in %.2f s, %.2f MB/s on the wire, %.2f MB/s of messages, %" APR_UINT64_T_FMT
        " failed; received %" APR_UINT64_T_FMT " messages, %.2f MB on the wire, %.2f MB of "
        "messages, %.2f MB/s since the first",
        t->out.messages, megabytes(t->out.framed), megabytes(t->out.bytes),
        (double)busy / APR_USEC_PER_SEC, per_second(t->out.framed, busy),
        per_second(t->out.bytes, busy), t->failed, t->in.messages, megabytes(t->in.framed),
        megabytes(t->in.bytes), per_second(t->in.framed, receiving));
}

static void throughput_ended(void *baton, apr_status_t rv)
{
    sent_t *s = baton;
    throughput_t *t = s->t;

    t->failed += rv != APR_SUCCESS;
    if (--t->outstanding == 0) {
        t->busy += now_of(t) - t->busy_since;
    }
    s->done(s->baton, rv);
    free(s);
}

static void throughput_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    throughput_t *t = self->state;
    sc_outgoing_t below = *out;
    sent_t *s = NULL;

    if (sc_option_applies(t->attr[OPTION_FLAG], out->packet.options)) {
        s = malloc(sizeof(*s));
    }
    if (s == NULL) {
        sc_pass_send(self, out);
        return;
    }
    s->t = t;
    s->done = out->done;
    s->baton = out->baton;
    below.done = throughput_ended;
    below.baton = s;
    if (t->outstanding++ == 0) {
        t->busy_since = now_of(t);
    }
    count(t, &t->out, &out->packet);
    sc_pass_send(self, &below);
    if (t->out.messages % (apr_uint64_t)t->attr[INTERVAL] == 0) {
        report(t);
    }
}

static apr_status_t throughput_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    throughput_t *t = self->state;

    if (sc_option_applies(t->attr[OPTION_FLAG], packet->options)) {
        if (t->in.messages == 0) {
            t->first_received = now_of(t);
        }
        count(t, &t->in, packet);
        if (t->in.messages % (apr_uint64_t)t->attr[INTERVAL] == 0) {
            report(t);
        }
    }
    return sc_pass_received(self, packet);
}

static void throughput_stop(sc_interceptor_t *self)
{
    throughput_t *t = self->state;

    sc_buf_free(&t->scratch);
}

const sc_interceptor_class_t sc_throughput_class = {
    .name = "Throughput",
    .check = throughput_check,
    .create = throughput_create,
    .stop = throughput_stop,
    .send = throughput_send,
    .received = throughput_received,
};
