/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Membership from a list, where there is no multicast (membership_fixed.h).
 *
 * Members that are listed by their address are greeted at once. Names are looked up by the
 * transport, which does not block: one after the other at the start, then again and again, because
 * a name may be entered later than its member starts, and a member may come back elsewhere. A
 * member that speaks is looked up now and then, one that does not, often; and when somebody greets
 * whose address is not known, those that are silent are looked up at once: it may be one of them.
 *
 * As with dns, a look-up that fails changes nothing.
 */
#include <string.h>

#include "membership_fixed.h"

/* When a name is looked up again: its member speaks; it is silent, or nobody knows where it is;
 * somebody unknown is there. */
#define REFRESH apr_time_from_sec(60)
#define RETRY apr_time_from_sec(5)
#define HURRY apr_time_from_sec(1)
/* How often to see whose turn it is. */
#define TICK apr_time_from_sec(1)
/* For the first answers; longer than one look-up takes at most. */
#define PATIENCE apr_time_from_sec(15)
#define LOG_INTERVAL apr_time_from_sec(60)

/** A member that is listed by its name. */
typedef struct name_t {
    const sc_config_member_t *listed;
    sc_fixed_target_t *target;
    apr_time_t asked; /* when it was looked up last; 0: never, or as if */
    int answered;     /* in one way or the other */
    sc_log_limit_t failed_log;
} name_t;

typedef struct names_t {
    name_t name[SC_MEMBERS_MAX];
    apr_size_t n;
    apr_size_t unanswered;
    name_t *asking; /* NULL: nothing is being looked up */
    apr_time_t asked;
    int stopped;
    sc_timer_t next;
    sc_log_limit_t stranger_log;
} names_t;

static apr_time_t now_of(const sc_membership_t *self)
{
    return sc_mono(self->env->clock);
}

static int is_numeric(const sc_config_member_t *c)
{
    sc_member_t m;

    return sc_member_set_host(&m, c->host) == APR_SUCCESS;
}

/* ---- looking up ----------------------------------------------------------------------------- */

static void look_due(void *baton, apr_time_t now);

static void look_at(sc_membership_t *self, apr_time_t when)
{
    names_t *n = sc_fixed_more(self);

    (void)sc_timer_set(self->env->timers, &n->next, when, look_due, self);
}

static int is_due(const name_t *name, apr_time_t now)
{
    return name->asked == 0 ||
           now - name->asked >= (sc_fixed_silent(name->target) ? RETRY : REFRESH);
}

/** Of those whose turn it is, the one that has waited for longest. @return NULL: none */
static name_t *next_name(names_t *n, apr_time_t now)
{
    name_t *first = NULL;
    apr_size_t i;

    for (i = 0; i < n->n; i++) {
        name_t *name = &n->name[i];

        if (is_due(name, now) && (first == NULL || name->asked < first->asked)) {
            first = name;
        }
    }
    return first;
}

static void failed(const sc_membership_t *self, name_t *name, apr_status_t rv)
{
    const sc_config_member_t *c = name->listed;

    if (!sc_fixed_known_at(name->target)) {
        sc_fixed_nowhere(name->target);
    }
    if (sc_log_allowed(&name->failed_log, now_of(self), LOG_INTERVAL, NULL)) {
        sc_log(
            self->env->log, SC_LOG_ERROR, rv,
            sc_fixed_known_at(name->target)
                ? "SC0443: member %s:%u could not be looked up; it stays where it was, and it is "
                  "tried again"
                : "SC0443: member %s:%u has no address yet; it is looked up again and again",
            c->host, c->port);
    }
}

static void looked_up(void *baton, apr_status_t rv, const sc_address_t *found, apr_size_t k)
{
    sc_membership_t *self = baton;
    names_t *n = sc_fixed_more(self);
    name_t *name = n->asking;

    n->asking = NULL;
    if (n->stopped) {
        return;
    }
    name->asked = now_of(self); /* the pause begins now, however long it took */
    look_at(self, next_name(n, now_of(self)) != NULL ? now_of(self) : now_of(self) + TICK);
    if (rv == APR_SUCCESS) {
        sc_fixed_found(name->target, name->listed->host, name->listed->port, found, k);
    }
    if (rv != APR_SUCCESS || !sc_fixed_known_at(name->target)) {
        failed(self, name, rv);
    }
    if (!name->answered) {
        name->answered = 1;
        if (--n->unanswered == 0 && !n->stopped) {
            sc_fixed_known(self);
        }
    }
}

static void look_due(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;
    const sc_transport_t *t = self->env->transport;
    names_t *n = sc_fixed_more(self);
    name_t *name = next_name(n, now);
    apr_status_t rv = APR_ENOTIMPL;

    if (n->asking != NULL) {
        return; /* its answer goes on */
    }
    if (name == NULL) {
        look_at(self, now + TICK);
        return;
    }
    if (t->resolve != NULL) {
        n->asking = name;
        rv = t->resolve(t->ctx, name->listed->host, looked_up, self);
    }
    if (APR_STATUS_IS_EBUSY(rv)) {
        n->asking = NULL;
        look_at(self, now + TICK);
        return;
    }
    name->asked = n->asked = now;
    if (rv != APR_SUCCESS) {
        n->asking = name;
        looked_up(self, rv, NULL, 0);
    }
}

/* ---- strangers ------------------------------------------------------------------------------ */

/** Those that are silent may be where it is. */
static void hurry(sc_membership_t *self, names_t *n)
{
    apr_time_t now = now_of(self);
    apr_size_t i;

    for (i = 0; i < n->n; i++) {
        if (now - n->name[i].asked >= HURRY && sc_fixed_silent(n->name[i].target)) {
            n->name[i].asked = 0;
        }
    }
    if (n->asking == NULL && next_name(n, now) != NULL) {
        look_at(self, now > n->asked + HURRY ? now : n->asked + HURRY);
    }
}

static void static_stranger(sc_membership_t *self, const sc_member_t *m)
{
    names_t *n = sc_fixed_more(self);
    apr_interval_time_t since = sc_fixed_knocking(self, m);
    char name[SC_MEMBER_NAME];

    if (n->n > 0) {
        hurry(self, n);
        if (since <= RETRY) {
            return; /* it may just have moved */
        }
    }
    if (sc_log_allowed(&n->stranger_log, now_of(self), LOG_INTERVAL, NULL)) {
        sc_log(self->env->log, SC_LOG_WARNING, 0,
               "SC0441: %s wants to be a member but its address is in no SessionClusterMember line "
               "here%s",
               sc_member_name(m, name), n->n > 0 ? ", nor one of a name there" : "");
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static apr_status_t static_create(sc_membership_t *self, apr_pool_t *pool)
{
    const sc_config_t *c = self->env->config;
    sc_fixed_kind_t kind = {apr_pcalloc(pool, sizeof(names_t)), 0, static_stranger};
    apr_size_t i;

    for (i = 0; i < c->nmembers && i < SC_MEMBERS_MAX; i++) {
        kind.expecting |= !is_numeric(&c->member[i]);
    }
    return sc_fixed_create(self, &kind, pool);
}

static void list_numeric(sc_membership_t *self, const sc_config_member_t *c)
{
    sc_member_t at;

    memset(&at, 0, sizeof(at));
    (void)sc_member_set_host(&at, c->host);
    at.port = (apr_int32_t)c->port;
    (void)sc_fixed_add(self, &at); /* there is room for more than can be listed */
}

static void list_name(sc_membership_t *self, const sc_config_member_t *c)
{
    names_t *n = sc_fixed_more(self);
    sc_fixed_target_t *target = sc_fixed_target(self);

    if (target != NULL) {
        n->name[n->n].listed = c;
        n->name[n->n++].target = target;
        n->unanswered++;
    }
}

static apr_status_t static_start(sc_membership_t *self)
{
    const sc_config_t *c = self->env->config;
    names_t *n = sc_fixed_more(self);
    apr_status_t rv;
    apr_size_t i;

    for (i = 0; i < c->nmembers && i < SC_MEMBERS_MAX; i++) {
        if (is_numeric(&c->member[i])) {
            list_numeric(self, &c->member[i]);
        } else {
            list_name(self, &c->member[i]);
        }
    }
    rv = sc_fixed_start(self, n->n > 0 ? PATIENCE : 2 * apr_time_from_msec(c->mcast.frequency_ms));
    if (rv == APR_SUCCESS && n->n > 0) {
        look_at(self, now_of(self));
    }
    return rv;
}

static void static_stop(sc_membership_t *self)
{
    names_t *n = sc_fixed_more(self);

    n->stopped = 1;
    sc_timer_cancel(self->env->timers, &n->next);
    sc_fixed_stop(self);
}

const sc_membership_class_t sc_membership_static_class = {
    .name = "static",
    .create = static_create,
    .start = static_start,
    .stop = static_stop,
    .announce = sc_fixed_announce,
    .datagram = sc_fixed_datagram,
    .packet = sc_fixed_packet,
    .dropped = sc_fixed_dropped,
    .heard = sc_fixed_heard,
};
