/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Membership by multicast, as Tribes does it (tribes-protocol 1): a datagram with the member data
 * each frequency, expiry after dropTime, a last datagram with the SHUTDOWN command.
 *
 * Start: listen for two frequencies, then announce; settled after two more. Members heard while
 * listening are reported when it ends, because before its first announcement nobody knows this node
 * and nothing it sent would be accepted.
 *
 * A heartbeat says what its sender's clock shows. Of two lives of one node the one that spoke last
 * by that clock is the present one. With a secret, moreover, nobody makes place for a member that
 * does not answer, whatever is played again from a recording.
 *
 * A Tomcat takes every member on its group for a Tomcat and may ask it for sessions, so a node of
 * ours never announces itself where a foreign member was heard first: it stays alone until it is
 * restarted, and says so. A foreign member that comes to a group on which we are established
 * already is reported, but a running cluster does not end because of it. With foreign=accept
 * foreign members are as welcome as others; the channel keeps sessions from them.
 */
#include <string.h>

#include "roster.h"

#define BLOCKED_LOG_INTERVAL apr_time_from_sec(600)
#define FOREIGN_INTERVAL apr_time_from_sec(60)
#define MALFORMED_LOG_INTERVAL apr_time_from_sec(10)

typedef enum phase_t {
    STOPPED,
    LISTENING,  /* not a word yet */
    ANNOUNCING, /* said who we are, waiting for those who answer late */
    ESTABLISHED,
    BLOCKED /* foreign members were here first */
} phase_t;

typedef struct multicast_t {
    sc_roster_t *roster;
    phase_t phase;
    apr_time_t started;
    sc_timer_t beat;
    sc_timer_t step; /* end of the phase; in BLOCKED: next complaint */
    sc_member_t foreigner;
    sc_log_limit_t foreign_log;
    sc_log_limit_t malformed_log;
    sc_log_limit_t send_log;
} multicast_t;

static apr_time_t now_of(const sc_membership_t *self)
{
    return sc_mono(self->env->clock);
}

static apr_interval_time_t frequency(const sc_membership_t *self)
{
    return apr_time_from_msec(self->env->config->mcast.frequency_ms);
}

/* ---- saying --------------------------------------------------------------------------------- */

static void say(sc_membership_t *self, const sc_member_t *m)
{
    const sc_transport_t *t = self->env->transport;
    multicast_t *mc = self->state;
    apr_status_t rv;
    sc_buf_t b;

    sc_buf_init(&b, SC_FRAME_HEAD_MAX);
    sc_member_put(&b, m);
    rv = b.err != APR_SUCCESS ? b.err : t->group_send(t->ctx, b.data, b.len);
    if (rv != APR_SUCCESS && sc_log_allowed(&mc->send_log, now_of(self), FOREIGN_INTERVAL, NULL)) {
        sc_log(self->env->log, SC_LOG_ERROR, rv,
               "SC0431: this node's heartbeat could not be sent to the group %s:%u",
               self->env->config->mcast.address, self->env->config->mcast.port);
    }
    sc_buf_free(&b);
}

static void say_alive(sc_membership_t *self)
{
    multicast_t *mc = self->state;
    sc_member_t now;

    sc_roster_set_alive(self, mc->started);
    now = *self->local;
    now.said_ms = (apr_uint64_t)apr_time_as_msec(sc_wall(self->env->clock));
    say(self, &now);
}

static void beat_due(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;
    multicast_t *mc = self->state;

    /* armed first: what is reported below may stop the service */
    (void)sc_timer_set(self->env->timers, &mc->beat, now + frequency(self), beat_due, self);
    if (mc->phase == ANNOUNCING || mc->phase == ESTABLISHED) {
        say_alive(self);
    }
    sc_roster_expire(mc->roster);
}

/* ---- foreign members ------------------------------------------------------------------------ */

static void complain_blocked(sc_membership_t *self)
{
    const sc_config_t *c = self->env->config;
    multicast_t *mc = self->state;
    char name[SC_MEMBER_NAME];

    sc_log(
        self->env->log, SC_LOG_ERROR, 0,
        "SC0432: foreign member %s (a Tomcat?) is on the group %s:%u: this node does not announce "
        "itself there and stays alone until it is restarted; give this cluster another port "
        "(SessionClusterMembership multicast port=), or accept it (foreign=accept)",
        sc_member_name(&mc->foreigner, name), c->mcast.address, c->mcast.port);
}

static void blocked_due(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;
    multicast_t *mc = self->state;

    complain_blocked(self);
    (void)sc_timer_set(self->env->timers, &mc->step, now + BLOCKED_LOG_INTERVAL, blocked_due, self);
}

static void block_now(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;

    blocked_due(self, now);
    self->up.settled(self->up.baton);
}

static void heard_foreign(sc_membership_t *self, const sc_member_t *m)
{
    multicast_t *mc = self->state;
    char name[SC_MEMBER_NAME];

    if (self->env->config->mcast.accept_foreign) {
        sc_roster_heard(mc->roster, m, 0);
        return;
    }
    SC_CHAIN_COUNT(self->env, datagrams_refused);
    if (sc_member_leaving(m)) {
        return;
    }
    if (mc->phase == LISTENING) {
        mc->phase = BLOCKED;
        mc->foreigner = *m;
        sc_roster_clear(mc->roster);
        sc_timer_cancel(self->env->timers, &mc->beat);
        /* as soon as possible, but not from within the transport's call: settled may do anything */
        (void)sc_timer_set(self->env->timers, &mc->step, now_of(self), block_now, self);
        self->up.foreign(self->up.baton, m);
        return;
    }
    if (mc->phase == BLOCKED) {
        return;
    }
    if (sc_log_allowed(&mc->foreign_log, now_of(self), FOREIGN_INTERVAL, NULL)) {
        sc_log(
            self->env->log, SC_LOG_ERROR, 0,
            "SC0433: foreign member %s (a Tomcat?) has come to this cluster's group %s:%u and may "
            "take its nodes for its own: give one of the two another port",
            sc_member_name(m, name), self->env->config->mcast.address,
            self->env->config->mcast.port);
        self->up.foreign(self->up.baton, m);
    }
}

/* ---- hearing -------------------------------------------------------------------------------- */

static void malformed(sc_membership_t *self, apr_size_t len)
{
    multicast_t *mc = self->state;
    apr_uint64_t more = 0;

    SC_CHAIN_COUNT(self->env, datagrams_refused);
    if (sc_log_allowed(&mc->malformed_log, now_of(self), MALFORMED_LOG_INTERVAL, &more)) {
        sc_log(self->env->log, SC_LOG_WARNING, 0,
               "SC0434: a datagram of %" APR_SIZE_T_FMT " bytes on the group is no member's "
               "(%" APR_UINT64_T_FMT " more before)",
               len, more);
    }
}

/** A message broadcast by datagram (tribes-protocol 1.7). Ours do not do that; whoever does is
 *  heard by it all the same. */
static int broadcast_sender(const void *bytes, apr_size_t len, sc_member_t *m)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_packet_t packet;
    sc_parser_t parser;
    apr_size_t data_len;
    int ok;

    sc_parser_init(&parser, len);
    sc_put(&parser.in, bytes, len);
    ok = sc_parser_next(&parser, &kind, &data, &data_len) == APR_SUCCESS &&
         sc_packet_get(&packet, data, data_len) == APR_SUCCESS;
    if (ok) {
        *m = packet.from;
    }
    sc_parser_free(&parser);
    return ok;
}

static void multicast_datagram(sc_membership_t *self, const void *bytes, apr_size_t len)
{
    multicast_t *mc = self->state;
    apr_status_t rv;
    apr_size_t used;
    sc_member_t m;

    if (mc->phase == STOPPED) {
        return;
    }
    rv = sc_member_get(&m, bytes, len, &used);
    if (rv == APR_EINVAL && broadcast_sender(bytes, len, &m)) {
        if (!m.ours) {
            heard_foreign(self, &m);
        }
        return;
    }
    if (rv == APR_EINVAL || (m.ours && !sc_member_usable(&m))) {
        malformed(self, len);
    } else if (!m.ours) {
        heard_foreign(self, &m);
    } else if (mc->phase != BLOCKED) {
        sc_roster_heard(mc->roster, &m, m.said_ms);
    }
}

/* ---- phases --------------------------------------------------------------------------------- */

static void step_due(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;
    multicast_t *mc = self->state;

    if (mc->phase == LISTENING) {
        mc->phase = ANNOUNCING;
        (void)sc_timer_set(self->env->timers, &mc->step, now + 2 * frequency(self), step_due, self);
        (void)sc_timer_set(self->env->timers, &mc->beat, now, beat_due, self);
        sc_roster_release(mc->roster);
    } else if (mc->phase == ANNOUNCING) {
        mc->phase = ESTABLISHED;
        self->up.settled(self->up.baton);
    }
}

static apr_status_t multicast_create(sc_membership_t *self, apr_pool_t *pool)
{
    multicast_t *mc = apr_pcalloc(pool, sizeof(*mc));

    mc->roster = sc_roster_create(self, pool);
    self->state = mc;
    return self->env->config->secret.count > 0 ? sc_roster_doubt(mc->roster, pool) : APR_SUCCESS;
}

static apr_status_t multicast_start(sc_membership_t *self)
{
    multicast_t *mc = self->state;
    apr_time_t now = now_of(self);

    mc->phase = LISTENING;
    mc->started = now;
    sc_roster_hold(mc->roster);
    return sc_timer_set(self->env->timers, &mc->step, now + 2 * frequency(self), step_due, self);
}

static void multicast_stop(sc_membership_t *self)
{
    multicast_t *mc = self->state;

    if (mc->phase == ANNOUNCING || mc->phase == ESTABLISHED) {
        sc_member_t leaving = *self->local;

        memcpy(leaving.command, SC_COMMAND_SHUTDOWN, sizeof(SC_COMMAND_SHUTDOWN) - 1);
        leaving.command_len = sizeof(SC_COMMAND_SHUTDOWN) - 1;
        say(self, &leaving);
    }
    mc->phase = STOPPED;
    sc_timer_cancel(self->env->timers, &mc->beat);
    sc_timer_cancel(self->env->timers, &mc->step);
    sc_roster_clear(mc->roster);
}

static void multicast_announce(sc_membership_t *self)
{
    multicast_t *mc = self->state;

    if (mc->phase == ANNOUNCING || mc->phase == ESTABLISHED) {
        say_alive(self);
    }
}

static int multicast_packet(sc_membership_t *self, const sc_packet_t *packet)
{
    (void)self;
    (void)packet;
    return 0;
}

static void multicast_dropped(sc_membership_t *self, const sc_member_t *m)
{
    multicast_t *mc = self->state;

    sc_roster_drop(mc->roster, m);
}

static apr_time_t multicast_heard(const sc_membership_t *self, const sc_member_t *m)
{
    const multicast_t *mc = self->state;

    return sc_roster_last_heard(mc->roster, m);
}

const sc_membership_class_t sc_membership_multicast_class = {
    .name = "multicast",
    .create = multicast_create,
    .start = multicast_start,
    .stop = multicast_stop,
    .announce = multicast_announce,
    .datagram = multicast_datagram,
    .packet = multicast_packet,
    .dropped = multicast_dropped,
    .heard = multicast_heard,
};
