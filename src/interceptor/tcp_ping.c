/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * TcpPing: is everybody still there? Asked each interval, not only when somebody is missed
 * (tribes-protocol 4.10).
 *
 * With a TcpFailureDetector below, that one is told to verify all members, so one that hangs is
 * found out without waiting for dropTime. Without one, every member gets a message of 64 bytes; it
 * keeps connections open and shows those that are broken, and nobody answers it.
 *
 * Tomcat pings from its heartbeat of 5 s unless useThread is set; here the interval always counts.
 */
#include <stdlib.h>
#include <string.h>

#include "members.h"
#include "sc_interceptor.h"

#define FAILED_LOG_INTERVAL apr_time_from_sec(10)

enum { OPTION_FLAG, INTERVAL, STATIC_ONLY, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"interval", 0, 1000, 50, 600000, "milliseconds"},
    {"staticOnly", 1, 0, 0, 1, NULL},
};

static const sc_attr_refused_t refused[] = {
    {"useThread", "the interval always counts, there is no thread to choose"},
};

static const unsigned char ping_text[64] = {
    0x4F, 0xA7, 0x73, 0x48, 0x79, 0xDF, 0x43, 0xC9, 0x9F, 0x6F, 0x89, 0x80, 0xA1, 0x5B, 0x07, 0x14,
    0x7D, 0xD9, 0x52, 0x5B, 0xEB, 0xDF, 0x43, 0x9A, 0xB7, 0x7E, 0xBE, 0x8F, 0x81, 0x67, 0x1E, 0xB6,
    0x37, 0x15, 0xBE, 0x87, 0x45, 0x21, 0x4C, 0xA8, 0xBF, 0x0A, 0x4D, 0x13, 0x53, 0x38, 0x15, 0x32,
    0x55, 0xF6, 0x94, 0xB7, 0x3A, 0xDF, 0x21, 0x78, 0x91, 0x04, 0x7D, 0xD7, 0x72, 0x84, 0xC0, 0xD5};

typedef struct ping_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    sc_timer_t tick;
    sc_members_t members;
    sc_members_t pending; /* whose last ping has not ended: none is queued behind it */
    sc_log_limit_t failed_log;
} ping_t;

/** A ping on its way. */
typedef struct message_t {
    ping_t *p;
    sc_member_t to;
} message_t;

static const char *ping_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];
    const char *message =
        sc_interceptor_refused(c, refused, sizeof(refused) / sizeof(refused[0]), pool);

    return message != NULL ? message : sc_interceptor_attrs(c, rules, NATTRS, values, pool);
}

static apr_status_t ping_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                apr_pool_t *pool)
{
    ping_t *p = apr_pcalloc(pool, sizeof(*p));

    if (sc_interceptor_attrs(c, rules, NATTRS, p->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    p->self = self;
    self->state = p;
    return APR_SUCCESS;
}

/* ---- asking --------------------------------------------------------------------------------- */

static void ping_ended(void *baton, apr_status_t rv)
{
    message_t *m = baton;
    ping_t *p = m->p;
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    sc_members_remove(&p->pending, &m->to);
    if (rv != APR_SUCCESS && rv != APR_ECONNABORTED &&
        sc_log_allowed(&p->failed_log, sc_mono(p->self->env->clock), FAILED_LOG_INTERVAL, &more)) {
        sc_log(p->self->env->log, SC_LOG_WARNING, rv,
               "SC0483: member %s could not be pinged (%" APR_UINT64_T_FMT " others before)",
               sc_member_name(&m->to, name), more);
    }
    free(m);
}

static void ping(ping_t *p, const sc_member_t *to)
{
    sc_outgoing_t out;
    message_t *m;

    if (sc_members_find(&p->pending, to) != NULL) {
        return;
    }
    m = malloc(sizeof(*m));
    if (m == NULL || !sc_members_put(&p->pending, to)) {
        free(m);
        return;
    }
    m->p = p;
    m->to = *to;
    memset(&out, 0, sizeof(out));
    out.packet.options = (apr_uint32_t)p->attr[OPTION_FLAG];
    sc_packet_stamp(p->self->env, &out.packet);
    out.packet.body = ping_text;
    out.packet.body_len = sizeof(ping_text);
    out.to = &m->to;
    out.lane = SC_LANE_CONTROL;
    out.done = ping_ended;
    out.baton = m;
    sc_pass_send(p->self, &out);
}

static void tick_due(void *baton, apr_time_t now)
{
    ping_t *p = baton;
    apr_size_t i;

    (void)sc_timer_set(p->self->env->timers, &p->tick, now + apr_time_from_msec(p->attr[INTERVAL]),
                       tick_due, p);
    if (sc_pass_verify(p->self)) {
        return;
    }
    for (i = 0; i < p->members.n; i++) {
        if (!p->attr[STATIC_ONLY] || sc_ask_static(p->self, &p->members.m[i])) {
            ping(p, &p->members.m[i]);
        }
    }
}

static void ping_start(sc_interceptor_t *self)
{
    ping_t *p = self->state;
    apr_time_t now = sc_mono(self->env->clock);

    (void)sc_timer_set(self->env->timers, &p->tick, now + apr_time_from_msec(p->attr[INTERVAL]),
                       tick_due, p);
}

static void ping_stop(sc_interceptor_t *self)
{
    ping_t *p = self->state;

    sc_timer_cancel(self->env->timers, &p->tick);
}

/* ---- hearing -------------------------------------------------------------------------------- */

static apr_status_t ping_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    if (packet->body_len == sizeof(ping_text) &&
        memcmp(packet->body, ping_text, sizeof(ping_text)) == 0) {
        return APR_SUCCESS;
    }
    return sc_pass_received(self, packet);
}

static void ping_added(sc_interceptor_t *self, const sc_member_t *m)
{
    ping_t *p = self->state;

    sc_members_put(&p->members, m);
    sc_pass_member_added(self, m);
}

static void ping_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    ping_t *p = self->state;

    sc_members_remove(&p->members, m);
    sc_pass_member_gone(self, m, goodbye);
}

const sc_interceptor_class_t sc_tcp_ping_class = {
    .name = "TcpPing",
    .check = ping_check,
    .create = ping_create,
    .start = ping_start,
    .stop = ping_stop,
    .received = ping_received,
    .member_added = ping_added,
    .member_gone = ping_gone,
};
