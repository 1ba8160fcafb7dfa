/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * DomainFilter: only members of one domain exist (tribes-protocol 4.8). Several groups can share
 * a multicast address that way.
 *
 * A domain is what a member says of itself: this keeps groups apart, not strangers out.
 *
 * A message of another domain is refused, not swallowed: its sender, which has no such filter or it
 * would not send, must not take it for applied.
 */
#include <string.h>

#include <apr_strings.h>

#include "members.h"
#include "sc_interceptor.h"

enum { OPTION_FLAG, DOMAIN_NAME, LOG_INTERVAL, NATTRS };

#define PAUSE apr_time_from_sec(10)

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"domain", SC_ATTR_TEXT, 0, 0, 0, NULL},
    {"logInterval", 0, 100, 0, 1000000000, "messages (0: never)"},
};

typedef struct filter_t {
    apr_int64_t attr[NATTRS];
    const char *domain;
    apr_size_t domain_len;
    apr_uint64_t refused;
    int due; /* a line about them */
    sc_log_limit_t refused_log;
    sc_members_t passed; /* whom the links above know */
    sc_members_t hidden; /* whom they do not */
    sc_log_limit_t hidden_log;
} filter_t;

static const char *filter_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];
    const char *message = sc_interceptor_attrs(c, rules, NATTRS, values, pool);

    if (message == NULL && strlen(sc_interceptor_text(c, "domain", "")) > SC_DOMAIN_MAX) {
        return apr_psprintf(pool, "interceptor DomainFilter: domain can have %d bytes at most",
                            SC_DOMAIN_MAX);
    }
    if (message == NULL && sc_interceptor_text(c, "domain", "")[0] == '{') {
        return "interceptor DomainFilter: domain wants " SC_DOMAIN_TEXT;
    }
    return message;
}

/* A node outside the domain that it lets in would be heard by those that it does not hear. */
static const char *filter_fits(const sc_config_t *config, const sc_config_interceptor_t *c,
                               apr_pool_t *pool)
{
    const char *domain = sc_interceptor_text(c, "domain", "");

    if (config->membership == SC_MEMBERSHIP_NONE || strcmp(domain, config->mcast.domain) == 0) {
        return NULL;
    }
    return apr_psprintf(pool,
                        "interceptor DomainFilter: domain is \"%s\" but this node announces \"%s\" "
                        "(SessionClusterMembership domain=); they must be the same",
                        domain, config->mcast.domain);
}

static apr_status_t filter_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                  apr_pool_t *pool)
{
    filter_t *f = apr_pcalloc(pool, sizeof(*f));

    if (sc_interceptor_attrs(c, rules, NATTRS, f->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    f->domain = apr_pstrdup(pool, sc_interceptor_text(c, "domain", ""));
    f->domain_len = strlen(f->domain);
    self->state = f;
    return APR_SUCCESS;
}

static int inside(const filter_t *f, const sc_member_t *m)
{
    return m->domain_len == f->domain_len && memcmp(m->domain, f->domain, f->domain_len) == 0;
}

/** A member is kept from the links above. That is said once of each: who has mistyped a domain
 *  wonders why nobody is there. */
static void hide(sc_interceptor_t *self, const sc_member_t *m)
{
    filter_t *f = self->state;
    char name[SC_MEMBER_NAME];
    char domain[SC_DOMAIN_MAX + 1];
    apr_uint64_t more = 0;

    if (sc_members_find(&f->hidden, m) != NULL || !sc_members_put(&f->hidden, m)) {
        return;
    }
    SC_CHAIN_COUNT(self->env, members_hidden);
    if (sc_log_allowed(&f->hidden_log, sc_mono(self->env->clock), PAUSE, &more)) {
        sc_log(self->env->log, SC_LOG_NOTICE, 0,
               "SC0504: member %s is in domain \"%s\", not in \"%s\": DomainFilter keeps it out "
               "(%" APR_UINT64_T_FMT " more before)",
               sc_member_name(m, name), sc_member_domain(m, domain), f->domain, more);
    }
}

static void filter_added(sc_interceptor_t *self, const sc_member_t *m)
{
    filter_t *f = self->state;

    if (inside(f, m) && sc_members_put(&f->passed, m)) {
        sc_members_remove(&f->hidden, m);
        sc_pass_member_added(self, m);
        return;
    }
    hide(self, m);
    if (sc_members_remove(&f->passed, m)) {
        sc_pass_member_gone(self, m, 0); /* it comes again, with another domain */
    }
}

static void filter_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    filter_t *f = self->state;

    if (sc_members_find(&f->passed, m) == NULL || !inside(f, m)) {
        filter_added(self, m); /* it may have changed its domain */
    } else {
        sc_members_put(&f->passed, m);
        sc_pass_member_changed(self, m);
    }
}

static void filter_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    filter_t *f = self->state;

    sc_members_remove(&f->hidden, m);
    if (sc_members_remove(&f->passed, m)) {
        sc_pass_member_gone(self, m, goodbye);
    }
}

static void filter_suspected(sc_interceptor_t *self, const sc_member_t *m, int suspect)
{
    filter_t *f = self->state;

    if (sc_members_find(&f->passed, m) != NULL) {
        sc_pass_member_suspected(self, m, suspect);
    }
}

static apr_status_t filter_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    filter_t *f = self->state;
    char name[SC_MEMBER_NAME];

    if (inside(f, &packet->from) || !sc_option_applies(f->attr[OPTION_FLAG], packet->options)) {
        return sc_pass_received(self, packet);
    }
    if (f->attr[LOG_INTERVAL] != 0 && f->refused % (apr_uint64_t)f->attr[LOG_INTERVAL] == 0) {
        f->due = 1; /* the first one, too */
    }
    f->refused++;
    SC_CHAIN_COUNT(self->env, frames_refused);
    if (f->due && sc_log_allowed(&f->refused_log, sc_mono(self->env->clock), PAUSE, NULL)) {
        f->due = 0;
        sc_log(self->env->log, SC_LOG_NOTICE, 0,
               "SC0482: %" APR_UINT64_T_FMT " messages of members outside domain \"%s\" were "
               "refused, the last one of %s",
               f->refused, f->domain, sc_member_name(&packet->from, name));
    }
    return APR_EGENERAL;
}

const sc_interceptor_class_t sc_domain_filter_class = {
    .name = "DomainFilter",
    .check = filter_check,
    .fits = filter_fits,
    .create = filter_create,
    .received = filter_received,
    .member_added = filter_added,
    .member_changed = filter_changed,
    .member_gone = filter_gone,
    .member_suspected = filter_suspected,
};
