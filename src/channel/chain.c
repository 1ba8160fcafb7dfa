/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The chain of interceptors: who is next, which classes exist, and how attributes are read. How a
 * configured chain is checked is in chain_rules.c.
 *
 * A class that does not care for a kind of event leaves the function NULL; the event then goes to
 * the next one that does. The channel puts a link of its own at either end, so there always is one.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "sc_interceptor.h"

static const sc_interceptor_class_t *const classes[] = {
    &sc_tcp_failure_detector_class,
    &sc_message_dispatch_class,
    &sc_encrypt_class,
    &sc_gzip_class,
    &sc_fragmentation_class,
    &sc_order_class,
    &sc_two_phase_commit_class,
    &sc_throughput_class,
    &sc_domain_filter_class,
    &sc_static_membership_class,
    &sc_tcp_ping_class,
    &sc_non_blocking_coordinator_class,
    &sc_simple_coordinator_class,
};

#define NCLASSES (sizeof(classes) / sizeof(classes[0]))

/* ---- passing on ----------------------------------------------------------------------------- */

void sc_pass_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    sc_interceptor_t *i;

    for (i = self->down; i != NULL; i = i->down) {
        if (i->cls->send != NULL) {
            i->cls->send(i, out);
            return;
        }
    }
}

apr_status_t sc_pass_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    sc_interceptor_t *i;

    for (i = self->up; i != NULL; i = i->up) {
        if (i->cls->received != NULL) {
            return i->cls->received(i, packet);
        }
    }
    return APR_SUCCESS;
}

void sc_pass_member_added(sc_interceptor_t *self, const sc_member_t *m)
{
    sc_interceptor_t *i;

    for (i = self->up; i != NULL; i = i->up) {
        if (i->cls->member_added != NULL) {
            i->cls->member_added(i, m);
            return;
        }
    }
}

void sc_pass_member_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    sc_interceptor_t *i;

    for (i = self->up; i != NULL; i = i->up) {
        if (i->cls->member_changed != NULL) {
            i->cls->member_changed(i, m);
            return;
        }
    }
}

void sc_pass_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    sc_interceptor_t *i;

    for (i = self->up; i != NULL; i = i->up) {
        if (i->cls->member_gone != NULL) {
            i->cls->member_gone(i, m, goodbye);
            return;
        }
    }
}

void sc_pass_member_suspected(sc_interceptor_t *self, const sc_member_t *m, int suspect)
{
    sc_interceptor_t *i;

    for (i = self->up; i != NULL; i = i->up) {
        if (i->cls->member_suspected != NULL) {
            i->cls->member_suspected(i, m, suspect);
            return;
        }
    }
}

void sc_pass_settled(sc_interceptor_t *self)
{
    sc_interceptor_t *i;

    for (i = self->up; i != NULL; i = i->up) {
        if (i->cls->settled != NULL) {
            i->cls->settled(i);
            return;
        }
    }
}

int sc_pass_verify(sc_interceptor_t *self)
{
    sc_interceptor_t *i;

    for (i = self->down; i != NULL; i = i->down) {
        if (i->cls->verify != NULL) {
            i->cls->verify(i);
            return 1;
        }
    }
    return 0;
}

int sc_ask_static(const sc_interceptor_t *self, const sc_member_t *m)
{
    const sc_interceptor_t *i;

    if (self->env->config->membership == SC_MEMBERSHIP_STATIC) {
        return 1;
    }
    for (i = self->down; i != NULL; i = i->down) {
        if (i->cls->is_static != NULL && i->cls->is_static(i, m)) {
            return 1;
        }
    }
    return 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

/*
 * A message's id is the member's unique id with a counter in its last bytes: as unique as Tribes'
 * random one, without a system call per message, and the same in each run of a simulation.
 */
void sc_packet_stamp(const sc_chain_env_t *env, sc_packet_t *packet)
{
    apr_uint64_t n = ++*env->serial;
    apr_size_t i;

    packet->from = *env->local;
    packet->timestamp_ms = (apr_uint64_t)apr_time_as_msec(sc_wall(env->clock));
    packet->id = env->local->uid;
    for (i = sizeof(packet->id.b); n != 0; n >>= 8) {
        packet->id.b[--i] ^= (unsigned char)n;
    }
}

/* ---- classes -------------------------------------------------------------------------------- */

const sc_interceptor_class_t *sc_interceptor_find(const char *name)
{
    apr_size_t i;

    for (i = 0; i < NCLASSES; i++) {
        if (strcmp(classes[i]->name, name) == 0) {
            return classes[i];
        }
    }
    return NULL;
}

const char *sc_interceptor_names(apr_pool_t *pool)
{
    const char *names = classes[0]->name;
    apr_size_t i;

    for (i = 1; i < NCLASSES; i++) {
        names = apr_pstrcat(pool, names, ", ", classes[i]->name, NULL);
    }
    return names;
}

/* ---- attributes ----------------------------------------------------------------------------- */

static const sc_attr_rule_t *rule_of(const sc_attr_rule_t *rules, apr_size_t n, const char *name)
{
    apr_size_t i;

    for (i = 0; i < n; i++) {
        if (strcmp(rules[i].name, name) == 0) {
            return &rules[i];
        }
    }
    return NULL;
}

static const char *rule_names(const sc_attr_rule_t *rules, apr_size_t n, apr_pool_t *pool)
{
    const char *names = rules[0].name;
    apr_size_t i;

    for (i = 1; i < n; i++) {
        names = apr_pstrcat(pool, names, ", ", rules[i].name, NULL);
    }
    return names;
}

static int value_get(const sc_attr_rule_t *rule, const char *text, apr_int64_t *value)
{
    char *end;

    if (rule->is_bool == SC_ATTR_TEXT) {
        return 1; /* checked by who asks for it */
    }
    if (rule->is_bool) {
        *value = strcasecmp(text, "true") == 0;
        return *value || strcasecmp(text, "false") == 0;
    }
    if (strcmp(text, "-1") == 0 && rule->min < 0) {
        *value = -1;
        return 1;
    }
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 18) {
        return 0;
    }
    *value = apr_strtoi64(text, &end, 10);
    return *end == '\0' && *value >= rule->min && *value <= rule->max;
}

const char *sc_interceptor_attrs(const sc_config_interceptor_t *c, const sc_attr_rule_t *rules,
                                 apr_size_t n, apr_int64_t *values, apr_pool_t *pool)
{
    apr_size_t i;

    for (i = 0; i < n; i++) {
        values[i] = rules[i].dflt;
    }
    for (i = 0; i < c->nattrs && i < SC_ATTRS_MAX; i++) {
        const sc_config_attr_t *attr = &c->attr[i];
        const sc_attr_rule_t *rule = rule_of(rules, n, attr->name);

        if (rule == NULL) {
            return apr_psprintf(pool, "interceptor %s has no attribute \"%s\"; it has %s", c->name,
                                attr->name, rule_names(rules, n, pool));
        }
        if (value_get(rule, attr->value, &values[rule - rules])) {
            continue;
        }
        if (rule->is_bool) {
            return apr_psprintf(pool, "interceptor %s: %s must be true or false, not \"%s\"",
                                c->name, rule->name, attr->value);
        }
        return apr_psprintf(pool,
                            "interceptor %s: %s must be a number of %s from %" APR_INT64_T_FMT
                            " to %" APR_INT64_T_FMT ", not \"%s\"",
                            c->name, rule->name, rule->unit, rule->min, rule->max, attr->value);
    }
    return NULL;
}

const char *sc_interceptor_refused(const sc_config_interceptor_t *c, const sc_attr_refused_t *table,
                                   apr_size_t n, apr_pool_t *pool)
{
    apr_size_t i;
    apr_size_t k;

    for (i = 0; i < c->nattrs && i < SC_ATTRS_MAX; i++) {
        for (k = 0; k < n; k++) {
            if (strcmp(c->attr[i].name, table[k].name) == 0) {
                return apr_psprintf(pool, "interceptor %s has no %s: %s", c->name, table[k].name,
                                    table[k].why);
            }
        }
    }
    return NULL;
}

const char *sc_interceptor_text(const sc_config_interceptor_t *c, const char *name,
                                const char *dflt)
{
    apr_size_t i;

    for (i = 0; i < c->nattrs && i < SC_ATTRS_MAX; i++) {
        if (strcmp(c->attr[i].name, name) == 0) {
            dflt = c->attr[i].value;
        }
    }
    return dflt;
}
