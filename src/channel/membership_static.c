/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Membership from a list, where there is no multicast.
 *
 * Each frequency every configured member gets a small one-way frame with the texts of Tribes'
 * StaticMembershipInterceptor and TcpPingInterceptor (tribes-protocol 4.9, 4.10); what counts is
 * the member data in its head, which says the same as a heartbeat. A frame is not acknowledged: the
 * other's own frames show that it lives. The first one that arrives asks for an answer at once, so
 * that a starting node need not wait for the others' next round.
 *
 * Frames travel on the control lane, one at a time per member: while one cannot be delivered no
 * second one is queued behind it.
 *
 * Names are resolved once, at the start, because the resolver blocks. A name may stand for several
 * addresses; they are tried in turn until one takes a frame.
 *
 * Membership by dns does the same with targets that come and go (membership_fixed.h).
 */
#include <string.h>

#include <apr_network_io.h>

#include "membership_fixed.h"

#define ADDRESSES_MAX 4
#define LOG_INTERVAL apr_time_from_sec(60)

static const char start_text[] = "Local StaticMember Notification Data";
static const char stop_text[] = "Local StaticMember Shutdown Data";
static const unsigned char ping_text[64] = {
    0x4F, 0xA7, 0x73, 0x48, 0x79, 0xDF, 0x43, 0xC9, 0x9F, 0x6F, 0x89, 0x80, 0xA1, 0x5B, 0x07, 0x14,
    0x7D, 0xD9, 0x52, 0x5B, 0xEB, 0xDF, 0x43, 0x9A, 0xB7, 0x7E, 0xBE, 0x8F, 0x81, 0x67, 0x1E, 0xB6,
    0x37, 0x15, 0xBE, 0x87, 0x45, 0x21, 0x4C, 0xA8, 0xBF, 0x0A, 0x4D, 0x13, 0x53, 0x38, 0x15, 0x32,
    0x55, 0xF6, 0x94, 0xB7, 0x3A, 0xDF, 0x21, 0x78, 0x91, 0x04, 0x7D, 0xD7, 0x72, 0x84, 0xC0, 0xD5};

void sc_membership_text(sc_membership_text_t which, const unsigned char **text, apr_size_t *len)
{
    *text = which == SC_TEXT_STOP ? (const unsigned char *)stop_text : ping_text;
    *len = which == SC_TEXT_STOP ? sizeof(stop_text) - 1 : sizeof(ping_text);
}

typedef struct fixed_t fixed_t;

/** One configured member, or an address that dns has found. */
typedef struct target_t {
    fixed_t *fixed;
    int used;
    sc_member_t address[ADDRESSES_MAX]; /* host and port only */
    apr_size_t naddresses;
    apr_size_t current; /* the one that is used now */
    int self;
    int greeted;  /* it has taken the start text */
    int answered; /* heard, or known to be down */
    int pending;  /* a frame is on its way */
    int again;    /* and another one is wanted after it */
} target_t;

struct fixed_t {
    sc_membership_t *self;
    sc_roster_t *roster;
    sc_fixed_kind_t kind;
    target_t target[SC_MEMBERS_MAX];
    apr_size_t ntargets; /* those beyond have never been used */
    int running;
    int settled;
    apr_time_t started;
    sc_timer_t beat;
    sc_timer_t settle;
    sc_log_limit_t foreign_log;
    sc_log_limit_t stranger_log;
};

static apr_interval_time_t frequency(const sc_membership_t *self)
{
    return apr_time_from_msec(self->env->config->mcast.frequency_ms);
}

static apr_time_t now_of(const sc_membership_t *self)
{
    return sc_mono(self->env->clock);
}

/* ---- settling ------------------------------------------------------------------------------- */

static void settle_due(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;
    fixed_t *f = self->state;

    (void)now;
    if (f->running && !f->settled) {
        f->settled = 1;
        self->up.settled(self->up.baton);
    }
}

/** Settled as soon as nothing more can come; told by a timer, never from within another call. */
static void settle_if_all_answered(fixed_t *f)
{
    apr_size_t i;

    for (i = 0; i < f->ntargets; i++) {
        if (f->target[i].used && !f->target[i].self && !f->target[i].answered) {
            return;
        }
    }
    if (!f->settled && !f->kind.expecting) {
        (void)sc_timer_set(f->self->env->timers, &f->settle, now_of(f->self), settle_due, f->self);
    }
}

/* ---- saying --------------------------------------------------------------------------------- */

static void greet(target_t *t);

static void said(void *baton, apr_status_t rv)
{
    target_t *t = baton;
    fixed_t *f = t->fixed;

    t->pending = 0;
    if (!f->running || !t->used) {
        return;
    }
    if (rv == APR_SUCCESS) {
        t->greeted = 1;
    } else {
        t->greeted = 0;
        t->current = (t->current + 1) % t->naddresses;
        if (APR_STATUS_IS_ECONNREFUSED(rv) && t->current == 0) {
            t->answered = 1; /* its machine says that nobody is there */
            settle_if_all_answered(f);
        } else if (!t->answered && t->current != 0) {
            t->again = 1;
        }
    }
    if (t->again) {
        greet(t);
    }
}

static void say(target_t *t, const void *text, apr_size_t len)
{
    const sc_chain_env_t *env = t->fixed->self->env;
    sc_packet_t packet;

    memset(&packet, 0, sizeof(packet));
    /* Tribes sends these without; but a Tomcat that has not the interceptors that swallow them
     * would take them for Java objects, and complain about each */
    packet.options = SC_OPT_BYTE_MESSAGE;
    sc_packet_stamp(env, &packet);
    packet.body = text;
    packet.body_len = len;
    t->pending = 1;
    t->again = 0;
    env->transport->send(env->transport->ctx, &t->address[t->current], SC_LANE_CONTROL, &packet,
                         said, t);
}

static void greet(target_t *t)
{
    if (!t->used || t->self || t->naddresses == 0) {
        return;
    }
    if (t->pending) {
        t->again = 1;
    } else if (t->greeted) {
        say(t, ping_text, sizeof(ping_text));
    } else {
        say(t, start_text, sizeof(start_text) - 1);
    }
}

static void greet_all(sc_membership_t *self)
{
    fixed_t *f = self->state;
    apr_size_t i;

    sc_roster_set_alive(self, f->started);
    for (i = 0; i < f->ntargets; i++) {
        greet(&f->target[i]);
    }
}

static void beat_due(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;
    fixed_t *f = self->state;
    apr_size_t i;

    (void)sc_timer_set(self->env->timers, &f->beat, now + frequency(self), beat_due, self);
    for (i = 0; i < f->ntargets; i++) {
        f->target[i].again = 0; /* this round says the same */
    }
    greet_all(self);
    sc_roster_expire(f->roster);
}

/* ---- hearing -------------------------------------------------------------------------------- */

static target_t *target_of(fixed_t *f, const sc_member_t *m)
{
    apr_size_t i;
    apr_size_t k;

    for (i = 0; i < f->ntargets; i++) {
        for (k = 0; f->target[i].used && k < f->target[i].naddresses; k++) {
            if (sc_member_same_address(&f->target[i].address[k], m)) {
                return &f->target[i];
            }
        }
    }
    return NULL;
}

static int is_text(const sc_packet_t *p, const void *text, apr_size_t len)
{
    return p->body_len == len && memcmp(p->body, text, len) == 0;
}

/** Members that are not ours, or not in the list, are none; say so now and then. */
static int accepted(fixed_t *f, const sc_member_t *m, const target_t *t)
{
    sc_membership_t *self = f->self;
    int wanted = m->ours || self->env->config->mcast.accept_foreign;
    char name[SC_MEMBER_NAME];

    if (wanted && t != NULL) {
        return 1;
    }
    if (wanted && f->kind.stranger != NULL) {
        f->kind.stranger(self, m);
    } else if (wanted && sc_log_allowed(&f->stranger_log, now_of(self), LOG_INTERVAL, NULL)) {
        sc_log(self->env->log, SC_LOG_WARNING, 0,
               "SC0441: %s wants to be a member but its address is in no SessionClusterMember line "
               "here",
               sc_member_name(m, name));
    } else if (!wanted && sc_log_allowed(&f->foreign_log, now_of(self), LOG_INTERVAL, NULL)) {
        sc_log(self->env->log, SC_LOG_ERROR, 0,
               "SC0442: %s is no node of this kind (a Tomcat?) and is not taken for a member "
               "(SessionClusterMembership foreign=accept); it should not have this node in its "
               "list, nor this node it",
               sc_member_name(m, name));
        self->up.foreign(self->up.baton, m);
    }
    return 0;
}

int sc_fixed_packet(sc_membership_t *self, const sc_packet_t *packet)
{
    fixed_t *f = self->state;
    int start = is_text(packet, start_text, sizeof(start_text) - 1);
    int stop = is_text(packet, stop_text, sizeof(stop_text) - 1);
    int ping = is_text(packet, ping_text, sizeof(ping_text));
    target_t *t;

    if (!f->running) {
        return start || stop || ping;
    }
    t = target_of(f, &packet->from);
    if (!accepted(f, &packet->from, t)) {
        return start || stop || ping;
    }
    if (stop) {
        t->greeted = 0;
        sc_roster_goodbye(f->roster, &packet->from);
        return 1;
    }
    t->answered = 1;
    if (start) {
        greet(t);
    }
    sc_roster_heard(f->roster, &packet->from, packet->timestamp_ms);
    settle_if_all_answered(f);
    return start || ping;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void add_addresses(target_t *t, const apr_sockaddr_t *sa, apr_uint32_t port)
{
    for (; sa != NULL && t->naddresses < ADDRESSES_MAX; sa = sa->next) {
        sc_member_t *m = &t->address[t->naddresses];

        if (sa->ipaddr_len != 4 && sa->ipaddr_len != 16) {
            continue;
        }
        m->host_len = (apr_byte_t)sa->ipaddr_len;
        memcpy(m->host, sa->ipaddr_ptr, m->host_len);
        m->port = (apr_int32_t)port;
        if (sc_member_same_address(m, t->fixed->self->local)) {
            t->self = 1;
        }
        t->naddresses++;
    }
}

static void resolve(target_t *t, const sc_config_member_t *c, apr_pool_t *scratch)
{
    const sc_log_t *log = t->fixed->self->env->log;
    apr_sockaddr_t *sa = NULL;
    apr_status_t rv;

    rv = apr_sockaddr_info_get(&sa, c->host, APR_UNSPEC, (apr_port_t)c->port, 0, scratch);
    if (rv == APR_SUCCESS) {
        add_addresses(t, sa, c->port);
    }
    if (t->naddresses == 0) {
        sc_log(log, SC_LOG_ERROR, rv,
               "SC0443: member %s:%u has no address; it is left out until the next start", c->host,
               c->port);
        t->answered = 1;
    }
}

static target_t *target_new(fixed_t *f)
{
    apr_size_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        target_t *t = &f->target[i];

        if (!t->used && !t->pending) {
            memset(t, 0, sizeof(*t));
            t->fixed = f;
            t->used = 1;
            f->ntargets = i < f->ntargets ? f->ntargets : i + 1;
            return t;
        }
    }
    return NULL;
}

apr_status_t sc_fixed_create(sc_membership_t *self, const sc_fixed_kind_t *kind, apr_pool_t *pool)
{
    fixed_t *f = apr_pcalloc(pool, sizeof(*f));

    f->self = self;
    f->kind = *kind;
    f->roster = sc_roster_create(self, pool);
    self->state = f;
    return APR_SUCCESS;
}

void *sc_fixed_more(const sc_membership_t *self)
{
    const fixed_t *f = self->state;

    return f->kind.more;
}

apr_status_t sc_fixed_add(sc_membership_t *self, const sc_member_t *at)
{
    fixed_t *f = self->state;
    target_t *t;

    if (target_of(f, at) != NULL) {
        return APR_SUCCESS;
    }
    t = target_new(f);
    if (t == NULL) {
        return APR_ENOSPC;
    }
    t->address[0] = *at;
    t->naddresses = 1;
    t->self = sc_member_same_address(at, self->local);
    return APR_SUCCESS;
}

void sc_fixed_remove(sc_membership_t *self, const sc_member_t *at)
{
    const sc_transport_t *transport = self->env->transport;
    fixed_t *f = self->state;
    target_t *t = target_of(f, at);

    if (t != NULL) {
        t->used = 0;
        transport->forget(transport->ctx, &t->address[t->current]);
        sc_roster_vacate(f->roster, at);
    }
}

void sc_fixed_known(sc_membership_t *self)
{
    fixed_t *f = self->state;

    if (f->kind.expecting && !f->settled) {
        (void)sc_timer_set(self->env->timers, &f->settle, now_of(self) + 2 * frequency(self),
                           settle_due, self);
    }
    f->kind.expecting = 0;
    greet_all(self);
    settle_if_all_answered(f);
}

apr_status_t sc_fixed_start(sc_membership_t *self, apr_interval_time_t patience)
{
    fixed_t *f = self->state;
    apr_time_t now = now_of(self);
    apr_status_t rv;

    f->running = 1;
    f->started = now;
    rv = sc_timer_set(self->env->timers, &f->settle, now + patience, settle_due, self);
    if (rv == APR_SUCCESS) {
        rv = sc_timer_set(self->env->timers, &f->beat, now + frequency(self), beat_due, self);
    }
    if (rv == APR_SUCCESS) {
        greet_all(self);
        settle_if_all_answered(f);
    }
    return rv;
}

void sc_fixed_stop(sc_membership_t *self)
{
    fixed_t *f = self->state;
    apr_size_t i;

    for (i = 0; f->running && i < f->ntargets; i++) {
        target_t *t = &f->target[i];

        /* only where somebody listens: whoever never took a greeting knows nothing to forget */
        if (t->used && !t->self && t->naddresses > 0 && t->greeted) {
            say(t, stop_text, sizeof(stop_text) - 1);
        }
    }
    f->running = 0;
    sc_timer_cancel(self->env->timers, &f->beat);
    sc_timer_cancel(self->env->timers, &f->settle);
    sc_roster_clear(f->roster);
}

void sc_fixed_announce(sc_membership_t *self)
{
    fixed_t *f = self->state;

    if (f->running) {
        greet_all(self);
    }
}

void sc_fixed_datagram(sc_membership_t *self, const void *bytes, apr_size_t len)
{
    (void)self;
    (void)bytes;
    (void)len;
}

void sc_fixed_dropped(sc_membership_t *self, const sc_member_t *m)
{
    fixed_t *f = self->state;

    sc_roster_drop(f->roster, m);
}

apr_time_t sc_fixed_heard(const sc_membership_t *self, const sc_member_t *m)
{
    const fixed_t *f = self->state;

    return sc_roster_last_heard(f->roster, m);
}

/* ---- static --------------------------------------------------------------------------------- */

static apr_status_t static_create(sc_membership_t *self, apr_pool_t *pool)
{
    static const sc_fixed_kind_t plain;

    return sc_fixed_create(self, &plain, pool);
}

static apr_status_t static_start(sc_membership_t *self)
{
    const sc_config_t *c = self->env->config;
    apr_pool_t *scratch;
    apr_status_t rv;
    apr_size_t i;

    rv = apr_pool_create(&scratch, NULL);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 0; i < c->nmembers && i < SC_MEMBERS_MAX; i++) {
        resolve(target_new(self->state), &c->member[i], scratch);
    }
    apr_pool_destroy(scratch);
    return sc_fixed_start(self, 2 * frequency(self));
}

const sc_membership_class_t sc_membership_static_class = {
    .name = "static",
    .create = static_create,
    .start = static_start,
    .stop = sc_fixed_stop,
    .announce = sc_fixed_announce,
    .datagram = sc_fixed_datagram,
    .packet = sc_fixed_packet,
    .dropped = sc_fixed_dropped,
    .heard = sc_fixed_heard,
};
