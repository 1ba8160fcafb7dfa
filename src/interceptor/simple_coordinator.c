/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * SimpleCoordinator: once membership has been the same for a while, everybody sorts it and takes
 * the first member for the coordinator (tribes-protocol 4.13). Nothing is sent; members agree as
 * far as their memberships do.
 */
#include "members.h"
#include "sc_interceptor.h"

/* ten quarters of a second without a change */
#define STABLE apr_time_from_msec(10 * 250)

enum { OPTION_FLAG, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {SC_OPTION_FLAG};

typedef struct simple_t {
    sc_interceptor_t *self;
    sc_members_t members; /* without this node */
    sc_member_t coordinator;
    int known;
    sc_timer_t stable;
} simple_t;

static const char *simple_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];

    return sc_interceptor_attrs(c, rules, NATTRS, values, pool);
}

static apr_status_t simple_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                  apr_pool_t *pool)
{
    simple_t *s = apr_pcalloc(pool, sizeof(*s));
    apr_int64_t values[NATTRS];

    if (sc_interceptor_attrs(c, rules, NATTRS, values, pool) != NULL) {
        return APR_EINVAL;
    }
    s->self = self;
    self->state = s;
    return APR_SUCCESS;
}

static void stable_due(void *baton, apr_time_t now)
{
    simple_t *s = baton;
    const sc_member_t *local = s->self->env->local;
    const sc_member_t *first = local;
    char name[SC_MEMBER_NAME];

    (void)now;
    if (s->members.n > 0 && sc_member_order(&s->members.m[0], local) < 0) {
        first = &s->members.m[0];
    }
    if (!s->known || !sc_member_same(first, &s->coordinator)) {
        sc_log(s->self->env->log, SC_LOG_NOTICE, 0,
               "SC0484: the coordinator is %s, first of %u members", sc_member_name(first, name),
               (unsigned)s->members.n + 1);
    }
    s->coordinator = *first;
    s->known = 1;
}

static void wait_again(simple_t *s)
{
    const sc_chain_env_t *env = s->self->env;

    (void)sc_timer_set(env->timers, &s->stable, sc_mono(env->clock) + STABLE, stable_due, s);
}

static void simple_start(sc_interceptor_t *self)
{
    wait_again(self->state);
}

static void simple_stop(sc_interceptor_t *self)
{
    simple_t *s = self->state;

    sc_timer_cancel(self->env->timers, &s->stable);
}

static void simple_added(sc_interceptor_t *self, const sc_member_t *m)
{
    simple_t *s = self->state;

    sc_members_put(&s->members, m);
    wait_again(s);
    sc_pass_member_added(self, m);
}

static void simple_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    simple_t *s = self->state;

    sc_members_remove(&s->members, m);
    wait_again(s);
    sc_pass_member_gone(self, m, goodbye);
}

static const sc_member_t *simple_coordinator(const sc_interceptor_t *self)
{
    const simple_t *s = self->state;

    return s->known ? &s->coordinator : NULL;
}

const sc_interceptor_class_t sc_simple_coordinator_class = {
    .name = "SimpleCoordinator",
    .check = simple_check,
    .create = simple_create,
    .start = simple_start,
    .stop = simple_stop,
    .member_added = simple_added,
    .member_gone = simple_gone,
    .coordinator = simple_coordinator,
};
