/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Members whose addresses are known before they are heard: from a list (membership_static.c) or
 * from a name (membership_dns.c), where there is no multicast.
 *
 * Each frequency every target gets a small one-way frame with the texts of Tribes'
 * StaticMembershipInterceptor and TcpPingInterceptor (tribes-protocol 4.9, 4.10); what counts is
 * the member data in its head, which says the same as a heartbeat. A frame is not acknowledged: the
 * other's own frames show that it lives. The first one that arrives asks for an answer at once, so
 * that a starting node need not wait for the others' next round.
 *
 * Frames travel on the control lane, one at a time per member: while one cannot be delivered no
 * second one is queued behind it.
 *
 * A target may have several addresses; they are tried in turn until one takes a frame.
 */
#include <string.h>

#include "membership_fixed.h"

/* Of one name. More are no one member's. */
#define PLACES_MAX 4
/* A name server forgets somebody for a moment. */
#define MISSING_MAX 2
/* Who is noted of those that knock. */
#define STRANGERS_MAX 4
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
typedef sc_fixed_target_t target_t;

/** An address of a target. */
typedef struct place_t {
    unsigned char host[16];
    apr_byte_t host_len;
    apr_int32_t port;
    apr_time_t heard; /* 0: never */
    int missing;      /* answers without it, in a row */
} place_t;

typedef struct stranger_t {
    place_t at;
    apr_time_t first;
    apr_time_t last; /* 0: nobody */
} stranger_t;

/** One configured member, or an address that dns has found. */
struct sc_fixed_target_t {
    fixed_t *fixed;
    int used;
    place_t place[PLACES_MAX];
    apr_size_t nplaces;
    apr_size_t current; /* the one that is used now */
    int self;
    int greeted;  /* it has taken the start text */
    int answered; /* heard, or known to be down */
    int pending;  /* a frame is on its way */
    int again;    /* and another one is wanted after it */
};

struct fixed_t {
    sc_membership_t *self;
    sc_roster_t *roster;
    sc_fixed_kind_t kind;
    target_t target[SC_FIXED_MAX];
    apr_size_t ntargets; /* those beyond have never been used */
    stranger_t stranger[STRANGERS_MAX];
    int running;
    int settled;
    apr_time_t started;
    sc_timer_t beat;
    sc_timer_t settle;
    sc_log_limit_t foreign_log;
};

static apr_interval_time_t frequency(const sc_membership_t *self)
{
    return apr_time_from_msec(self->env->config->mcast.frequency_ms);
}

static apr_time_t now_of(const sc_membership_t *self)
{
    return sc_mono(self->env->clock);
}

static apr_interval_time_t drop_time(const sc_membership_t *self)
{
    return apr_time_from_msec(self->env->config->mcast.drop_ms);
}

/* ---- places --------------------------------------------------------------------------------- */

static void place_set(place_t *p, const unsigned char *host, apr_byte_t host_len, apr_int32_t port)
{
    memset(p, 0, sizeof(*p));
    memcpy(p->host, host, host_len);
    p->host_len = host_len;
    p->port = port;
}

static int is_at(const place_t *p, const sc_member_t *m)
{
    return p->port == m->port && p->host_len == m->host_len &&
           memcmp(p->host, m->host, p->host_len) == 0;
}

/** As the transport wants it: host and port only. */
static void place_member(const place_t *p, sc_member_t *m)
{
    memset(m, 0, sizeof(*m));
    memcpy(m->host, p->host, p->host_len);
    m->host_len = p->host_len;
    m->port = p->port;
}

static void find_self(target_t *t)
{
    apr_size_t i;

    t->self = 0;
    for (i = 0; i < t->nplaces; i++) {
        t->self |= is_at(&t->place[i], t->fixed->self->local);
    }
}

/** Nothing more goes there, and whoever was heard from there is gone. */
static void vacate(fixed_t *f, const place_t *p)
{
    const sc_transport_t *transport = f->self->env->transport;
    sc_member_t at;

    place_member(p, &at);
    transport->forget(transport->ctx, &at);
    sc_roster_vacate(f->roster, &at);
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
    if (!f->running || !t->used || t->nplaces == 0) {
        return;
    }
    if (rv == APR_SUCCESS) {
        t->greeted = 1;
    } else {
        t->greeted = 0;
        t->current = (t->current + 1) % t->nplaces;
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
    sc_member_t to;

    place_member(&t->place[t->current], &to);
    memset(&packet, 0, sizeof(packet));
    /* Tribes sends these without; but a Tomcat that has not the interceptors that swallow them
     * would take them for Java objects, and complain about each */
    packet.options = SC_OPT_BYTE_MESSAGE;
    sc_packet_stamp(env, &packet);
    packet.body = text;
    packet.body_len = len;
    t->pending = 1;
    t->again = 0;
    env->transport->send(env->transport->ctx, &to, SC_LANE_CONTROL, &packet, said, t);
}

static void greet(target_t *t)
{
    if (!t->fixed->running || !t->used || t->self || t->nplaces == 0) {
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

/** @param place receives which of its addresses it is; may be NULL */
static target_t *target_of(fixed_t *f, const sc_member_t *m, place_t **place)
{
    apr_size_t i;
    apr_size_t k;

    for (i = 0; i < f->ntargets; i++) {
        target_t *t = &f->target[i];

        for (k = 0; t->used && k < t->nplaces; k++) {
            if (is_at(&t->place[k], m)) {
                if (place != NULL) {
                    *place = &t->place[k];
                }
                return t;
            }
        }
    }
    return NULL;
}

apr_interval_time_t sc_fixed_knocking(sc_membership_t *self, const sc_member_t *m)
{
    fixed_t *f = self->state;
    apr_time_t now = now_of(self);
    stranger_t *s = &f->stranger[0];
    apr_size_t i;

    for (i = 0; i < STRANGERS_MAX; i++) {
        if (f->stranger[i].last != 0 && is_at(&f->stranger[i].at, m)) {
            s = &f->stranger[i];
            break;
        }
        if (f->stranger[i].last < s->last) {
            s = &f->stranger[i];
        }
    }
    if (i == STRANGERS_MAX || now - s->last > drop_time(self)) {
        place_set(&s->at, m->host, m->host_len, m->port);
        s->first = now;
    }
    s->last = now;
    return now - s->first;
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
    if (wanted) {
        f->kind.stranger(self, m);
    } else if (sc_log_allowed(&f->foreign_log, now_of(self), LOG_INTERVAL, NULL)) {
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
    place_t *place = NULL;
    target_t *t;

    if (!f->running) {
        return start || stop || ping;
    }
    t = target_of(f, &packet->from, &place);
    if (!accepted(f, &packet->from, t)) {
        return start || stop || ping;
    }
    if (stop) {
        t->greeted = 0;
        sc_roster_goodbye(f->roster, &packet->from);
        return 1;
    }
    t->answered = 1;
    place->heard = now_of(self);
    if (start) {
        greet(t);
    }
    sc_roster_heard(f->roster, &packet->from, packet->timestamp_ms);
    settle_if_all_answered(f);
    return start || ping;
}

/* ---- targets -------------------------------------------------------------------------------- */

sc_fixed_target_t *sc_fixed_target(sc_membership_t *self)
{
    fixed_t *f = self->state;
    apr_size_t i;

    for (i = 0; i < SC_FIXED_MAX; i++) {
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
    target_t *t;

    if (target_of(self->state, at, NULL) != NULL) {
        return APR_SUCCESS;
    }
    t = sc_fixed_target(self);
    if (t == NULL) {
        return APR_ENOSPC;
    }
    place_set(&t->place[0], at->host, at->host_len, at->port);
    t->nplaces = 1;
    find_self(t);
    return APR_SUCCESS;
}

void sc_fixed_remove(sc_membership_t *self, const sc_member_t *at)
{
    place_t *place = NULL;
    target_t *t = target_of(self->state, at, &place);

    if (t != NULL) {
        t->used = 0;
        vacate(self->state, place);
    }
}

/* ---- targets with names --------------------------------------------------------------------- */

int sc_fixed_silent(const sc_fixed_target_t *t)
{
    const sc_membership_t *self = t->fixed->self;
    apr_size_t i;

    for (i = 0; i < t->nplaces; i++) {
        if (t->place[i].heard != 0 && now_of(self) - t->place[i].heard <= drop_time(self)) {
            return 0;
        }
    }
    return !t->self;
}

int sc_fixed_known_at(const sc_fixed_target_t *t)
{
    return t->nplaces > 0;
}

void sc_fixed_nowhere(sc_fixed_target_t *t)
{
    t->answered = 1;
}

static int is_speaking(const target_t *t, const place_t *p)
{
    return p->heard != 0 && now_of(t->fixed->self) - p->heard <= drop_time(t->fixed->self);
}

/** An address is the target's no more. Whoever is told may do anything, but to the targets. */
static void leave(target_t *t, const char *name, const place_t *old)
{
    char text[SC_MEMBER_NAME];
    sc_member_t at;

    place_member(old, &at);
    sc_log(t->fixed->self->env->log, SC_LOG_NOTICE, 0,
           "SC0565: member %s has no longer the address %s", name, sc_member_name(&at, text));
    vacate(t->fixed, old);
}

/** Addresses that the name has lost, and that nobody speaks from. */
static void let_go(target_t *t, const char *name)
{
    apr_size_t i = 0;

    while (i < t->nplaces) {
        place_t old = t->place[i];

        if (old.missing < MISSING_MAX || is_speaking(t, &old)) {
            i++;
            continue;
        }
        t->place[i] = t->place[--t->nplaces];
        if (t->current >= t->nplaces) {
            t->current = 0;
        }
        find_self(t);
        leave(t, name, &old);
    }
}

/** Where to put one more; of those that the name has lost one may have to make room, which must be
 *  vacated when its place is taken. @return NULL: no room */
static place_t *room(target_t *t, place_t *lost)
{
    apr_size_t i;

    lost->host_len = 0;
    if (t->nplaces < PLACES_MAX) {
        return &t->place[t->nplaces++];
    }
    for (i = 0; i < t->nplaces; i++) {
        if (t->place[i].missing > 0 && !is_speaking(t, &t->place[i])) {
            *lost = t->place[i];
            return &t->place[i];
        }
    }
    return NULL;
}

static void found_one(target_t *t, const char *name, const sc_member_t *at)
{
    char text[SC_MEMBER_NAME];
    place_t *place;
    place_t lost;
    apr_size_t i;

    for (i = 0; i < t->nplaces; i++) {
        if (is_at(&t->place[i], at)) {
            t->place[i].missing = 0;
            return;
        }
    }
    place = room(t, &lost);
    if (place == NULL) {
        return;
    }
    place_set(place, at->host, at->host_len, at->port);
    if (sc_fixed_silent(t) && t->nplaces > 1) {
        t->current = (apr_size_t)(place - t->place); /* nobody speaks where it was */
        t->greeted = 0;
    }
    find_self(t);
    sc_log(t->fixed->self->env->log, SC_LOG_INFO, 0, "SC0564: member %s has the address %s", name,
           sc_member_name(at, text));
    if (lost.host_len > 0) {
        leave(t, name, &lost);
    }
}

void sc_fixed_found(sc_fixed_target_t *t, const char *name, apr_uint32_t port,
                    const sc_address_t *found, apr_size_t n)
{
    apr_size_t i;

    for (i = 0; i < t->nplaces; i++) {
        t->place[i].missing++;
    }
    for (i = 0; i < n; i++) {
        sc_member_t at;

        memset(&at, 0, sizeof(at));
        at.port = (apr_int32_t)port;
        at.host_len = found[i].len;
        memcpy(at.host, found[i].host, sizeof(at.host));
        if (sc_member_usable(&at)) {
            found_one(t, name, &at);
        }
    }
    let_go(t, name);
    if (t->nplaces > 0) {
        greet(t);
    } else {
        sc_fixed_nowhere(t);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

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
        if (t->used && !t->self && t->nplaces > 0 && t->greeted) {
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
