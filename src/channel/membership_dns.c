/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Membership from a name: each of its addresses is a member's receiver, all on one port, as with
 * Tomcat's DNS provider. What is found is treated as a static member is (membership_fixed.h):
 * greeted, heard, expired. The look-up itself is the transport's; it never blocks.
 *
 * A name server says things that are not so: it fails, it forgets somebody for a moment. A look-up
 * that fails changes nothing, and an address must be missing from two answers, and for dropTime,
 * before it is let go. Its member is then given up as one that has fallen silent; the failure
 * detector asks it first.
 *
 * A node that has just started is known to the name later than to itself. So when somebody greets
 * whose address is not known, the name is looked up at once, and not only when it is due.
 */
#include <string.h>

#include "membership_fixed.h"

#define MISSING_MAX 2
/* After a failure, and at most so often because of strangers. */
#define RETRY apr_time_from_sec(1)
/* While the transport looks up another name (StaticMembership's); that one rests for longer. */
#define BUSY_AGAIN apr_time_from_msec(50)
/* For the first answer; longer than a look-up takes at most. */
#define PATIENCE apr_time_from_sec(15)
#define LOG_INTERVAL apr_time_from_sec(60)

typedef struct found_t {
    sc_member_t at; /* host and port only */
    apr_time_t seen;
    int missing; /* answers without it, in a row */
} found_t;

typedef struct dns_t {
    found_t found[SC_FIXED_MAX];
    apr_size_t n;
    apr_time_t asked; /* when the last look-up began */
    int asking;
    int stopped;
    sc_timer_t next;
    sc_log_limit_t failed_log;
    sc_log_limit_t full_log;
    sc_log_limit_t new_log;
    sc_log_limit_t stranger_log;
} dns_t;

static apr_time_t now_of(const sc_membership_t *self)
{
    return sc_mono(self->env->clock);
}

static void ask_due(void *baton, apr_time_t now);

static void ask_in(sc_membership_t *self, apr_interval_time_t pause)
{
    dns_t *d = sc_fixed_more(self);

    (void)sc_timer_set(self->env->timers, &d->next, now_of(self) + pause, ask_due, self);
}

static apr_interval_time_t refresh(const sc_membership_t *self)
{
    return apr_time_from_msec(self->env->config->dns.refresh_ms);
}

/* ---- answers -------------------------------------------------------------------------------- */

static found_t *find(dns_t *d, const sc_member_t *at)
{
    apr_size_t i;

    for (i = 0; i < d->n; i++) {
        if (sc_member_same_address(&d->found[i].at, at)) {
            return &d->found[i];
        }
    }
    return NULL;
}

/** @return 0: there is no room for it */
static int found_one(sc_membership_t *self, const sc_address_t *a, apr_time_t now)
{
    dns_t *d = sc_fixed_more(self);
    char name[SC_MEMBER_NAME];
    sc_member_t at;
    found_t *f;

    memset(&at, 0, sizeof(at));
    at.port = (apr_int32_t)self->env->config->dns.port;
    at.host_len = a->len;
    memcpy(at.host, a->host, sizeof(at.host));
    if (!sc_member_usable(&at)) {
        return 1;
    }
    f = find(d, &at);
    if (f == NULL) {
        /* no room: it is tried again with the next answer */
        if (d->n == SC_FIXED_MAX || sc_fixed_add(self, &at) != APR_SUCCESS) {
            return 0;
        }
        f = &d->found[d->n++];
        f->at = at;
        sc_log(self->env->log, SC_LOG_INFO, 0, "SC0446: %s has the address %s",
               self->env->config->dns.name, sc_member_name(&at, name));
    }
    f->seen = now;
    f->missing = -1; /* this answer is counted below */
    return 1;
}

static void let_go(sc_membership_t *self, apr_time_t now)
{
    apr_interval_time_t drop = apr_time_from_msec(self->env->config->mcast.drop_ms);
    dns_t *d = sc_fixed_more(self);
    char name[SC_MEMBER_NAME];
    apr_size_t i = 0;

    while (i < d->n) {
        found_t *f = &d->found[i];

        f->missing++;
        if (f->missing < MISSING_MAX || now - f->seen <= drop) {
            i++;
            continue;
        }
        sc_log(self->env->log, SC_LOG_NOTICE, 0, "SC0447: %s has no longer the address %s",
               self->env->config->dns.name, sc_member_name(&f->at, name));
        {
            sc_member_t at = f->at;

            *f = d->found[--d->n];
            sc_fixed_remove(self, &at); /* whoever is told may do anything */
        }
    }
}

static void answered(void *baton, apr_status_t rv, const sc_address_t *found, apr_size_t n)
{
    sc_membership_t *self = baton;
    dns_t *d = sc_fixed_more(self);
    apr_time_t now = now_of(self);
    unsigned int left_out = 0;
    apr_size_t i;

    d->asking = 0;
    if (d->stopped) {
        return;
    }
    ask_in(self, rv == APR_SUCCESS || refresh(self) < RETRY ? refresh(self) : RETRY);
    if (rv != APR_SUCCESS) {
        if (sc_log_allowed(&d->failed_log, now, LOG_INTERVAL, NULL)) {
            sc_log(self->env->log, SC_LOG_ERROR, rv,
                   "SC0444: %s could not be looked up; the members stay as they are, and it is "
                   "tried again",
                   self->env->config->dns.name);
        }
        sc_fixed_known(self);
        return;
    }
    for (i = 0; i < n && i < SC_ADDRESSES_MAX; i++) {
        left_out += !found_one(self, &found[i], now);
    }
    if (left_out > 0 && sc_log_allowed(&d->full_log, now, LOG_INTERVAL, NULL)) {
        sc_log(
            self->env->log, SC_LOG_WARNING, 0,
            "SC0566: %s has more than %d addresses; %u or more of them are left out, and whoever "
            "is there is no member",
            self->env->config->dns.name, SC_FIXED_MAX, left_out);
    }
    let_go(self, now);
    if (!d->stopped) {
        sc_fixed_known(self);
    }
}

/* ---- questions ------------------------------------------------------------------------------ */

static void ask(sc_membership_t *self)
{
    const sc_transport_t *t = self->env->transport;
    dns_t *d = sc_fixed_more(self);
    apr_status_t rv = APR_ENOTIMPL;

    d->asked = now_of(self);
    if (t->resolve != NULL) {
        rv = t->resolve(t->ctx, self->env->config->dns.name, answered, self);
    }
    d->asking = rv == APR_SUCCESS;
    if (rv == APR_EBUSY) {
        ask_in(self, BUSY_AGAIN);
    } else if (rv != APR_SUCCESS) {
        answered(self, rv, NULL, 0);
    }
}

static void ask_due(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;
    dns_t *d = sc_fixed_more(self);

    (void)now;
    if (!d->asking) {
        ask(self);
    }
}

/** Whether the name has its address: then it is the port that is another one. */
static int has_host(const dns_t *d, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < d->n; i++) {
        if (d->found[i].at.host_len == m->host_len &&
            memcmp(d->found[i].at.host, m->host, m->host_len) == 0) {
            return 1;
        }
    }
    return 0;
}

/** One that has just started may be entered soon; else somebody has made a mistake. */
static void dns_stranger(sc_membership_t *self, const sc_member_t *m)
{
    const sc_config_t *c = self->env->config;
    dns_t *d = sc_fixed_more(self);
    apr_time_t now = now_of(self);
    int stays = sc_fixed_knocking(self, m) > refresh(self);
    char name[SC_MEMBER_NAME];

    if (sc_log_allowed(stays ? &d->stranger_log : &d->new_log, now, LOG_INTERVAL, NULL)) {
        sc_log_level_t level = stays ? SC_LOG_WARNING : SC_LOG_INFO;

        if (has_host(d, m)) {
            sc_log(self->env->log, level, 0,
                   "SC0445: %s wants to be a member but its port is not %u, which all have that %s "
                   "stands for (SessionClusterMembership dns port=)",
                   sc_member_name(m, name), c->dns.port, c->dns.name);
        } else {
            sc_log(self->env->log, level, 0,
                   "SC0445: %s wants to be a member but %s has no such address%s",
                   sc_member_name(m, name), c->dns.name, stays ? "" : " yet");
        }
    }
    if (!d->asking && d->next.index != 0 && d->next.due > d->asked + RETRY) {
        (void)sc_timer_set(self->env->timers, &d->next,
                           now > d->asked + RETRY ? now : d->asked + RETRY, ask_due, self);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static apr_status_t dns_create(sc_membership_t *self, apr_pool_t *pool)
{
    sc_fixed_kind_t kind = {apr_pcalloc(pool, sizeof(dns_t)), 1, dns_stranger};

    return sc_fixed_create(self, &kind, pool);
}

static apr_status_t dns_start(sc_membership_t *self)
{
    apr_status_t rv = sc_fixed_start(self, PATIENCE);

    if (rv == APR_SUCCESS) {
        ask_in(self, 0);
    }
    return rv;
}

static void dns_stop(sc_membership_t *self)
{
    dns_t *d = sc_fixed_more(self);

    d->stopped = 1;
    sc_timer_cancel(self->env->timers, &d->next);
    sc_fixed_stop(self);
}

const sc_membership_class_t sc_membership_dns_class = {
    .name = "dns",
    .create = dns_create,
    .start = dns_start,
    .stop = dns_stop,
    .announce = sc_fixed_announce,
    .datagram = sc_fixed_datagram,
    .packet = sc_fixed_packet,
    .dropped = sc_fixed_dropped,
    .heard = sc_fixed_heard,
};
