/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where the members of a list can be reached (sites.h).
 *
 * The transport looks up one name at a time, and membership by dns uses it, too. That one comes
 * first: between two look-ups a pause is made here, and it asks again within that pause.
 */
#include <string.h>

#include "sites.h"

/* A name that is not known, or could not be looked up. */
#define RETRY apr_time_from_sec(5)
/* A name that is known, while nobody has been heard there. */
#define AGAIN apr_time_from_sec(30)
/* At most so often because of strangers. */
#define HURRY apr_time_from_sec(1)
#define PAUSE apr_time_from_msec(100)

/* ---- addresses ------------------------------------------------------------------------------ */

int sc_address_same(const sc_address_t *a, const sc_address_t *b)
{
    return a->len == b->len && memcmp(a->host, b->host, a->len) == 0;
}

void sc_site_member(const sc_site_t *p, const sc_address_t *at, sc_member_t *m)
{
    memset(m, 0, sizeof(*m));
    m->host_len = at->len;
    memcpy(m->host, at->host, at->len);
    m->port = (apr_int32_t)p->port;
    m->secure_port = -1;
    m->udp_port = -1;
    m->uid = p->uid;
}

static const sc_address_t *find(const sc_address_t *list, apr_size_t n, const sc_address_t *a)
{
    apr_size_t i;

    for (i = 0; i < n; i++) {
        if (sc_address_same(&list[i], a)) {
            return &list[i];
        }
    }
    return NULL;
}

const sc_address_t *sc_site_of(const sc_site_t *p, const sc_member_t *m)
{
    sc_address_t a;

    if (m->port != (apr_int32_t)p->port || m->host_len > sizeof(a.host)) {
        return NULL;
    }
    a.len = m->host_len;
    memcpy(a.host, m->host, a.len);
    return find(p->at, p->n, &a);
}

static void forget(const sc_sites_t *l, const sc_site_t *p, const sc_address_t *at)
{
    sc_member_t m;

    sc_site_member(p, at, &m);
    l->env->transport->forget(l->env->transport->ctx, &m);
}

/** @return 1: they are others than before */
static int take(sc_sites_t *l, sc_site_t *p, const sc_address_t *found, apr_size_t n)
{
    sc_site_t old = *p;
    int added = 0;
    sc_member_t m;
    apr_size_t i;

    p->n = 0;
    for (i = 0; i < n && p->n < SC_SITE_ADDRESSES; i++) {
        if (found[i].len != 4 && found[i].len != 16) {
            continue;
        }
        sc_site_member(p, &found[i], &m);
        if (sc_member_usable(&m) && find(p->at, p->n, &found[i]) == NULL) {
            p->at[p->n++] = found[i];
            added |= find(old.at, old.n, &found[i]) == NULL;
        }
    }
    if (p->n == 0 || (!added && p->n == old.n)) {
        *p = old; /* in their old order; and no answer is better than none */
        return 0;
    }
    p->self = 0;
    p->current = 0;
    for (i = 0; i < p->n; i++) {
        sc_site_member(p, &p->at[i], &m);
        p->self |= sc_member_same_address(&m, l->env->local);
        if (old.n > 0 && sc_address_same(&p->at[i], &old.at[old.current])) {
            p->current = i;
        }
    }
    for (i = 0; i < old.n; i++) {
        if (find(p->at, p->n, &old.at[i]) == NULL) {
            forget(l, p, &old.at[i]);
        }
    }
    return 1;
}

/* ---- names ---------------------------------------------------------------------------------- */

static void log_found(const sc_sites_t *l, const sc_site_t *p)
{
    char name[SC_MEMBER_NAME];
    sc_member_t m;

    sc_site_member(p, &p->at[0], &m);
    sc_log(l->env->log, SC_LOG_INFO, 0,
           "SC0521: member %s:%u of StaticMembership has the address %s (%" APR_SIZE_T_FMT " more)",
           p->host, p->port, sc_member_name(&m, name), p->n - 1);
}

static void answered(void *baton, apr_status_t rv, const sc_address_t *found, apr_size_t n)
{
    sc_sites_t *l = baton;
    sc_site_t *p = l->asking;
    apr_time_t now = sc_mono(l->env->clock);

    l->asking = NULL;
    l->answered = now;
    if (l->stopped || p == NULL) {
        return;
    }
    p->looked_up = 1;
    p->due = now + (rv == APR_SUCCESS && n > 0 ? AGAIN : RETRY);
    if (rv == APR_SUCCESS && take(l, p, found, n)) {
        log_found(l, p);
        l->moved(l->baton, p);
    } else if (p->n == 0 && !p->unknown_said) {
        p->unknown_said = 1;
        sc_log(l->env->log, SC_LOG_ERROR, rv,
               "SC0489: member %s:%u of StaticMembership has no address yet; it is looked up again "
               "until it has one",
               p->host, p->port);
    }
}

static sc_site_t *next_due(const sc_sites_t *l, apr_time_t now)
{
    sc_site_t *next = NULL;
    apr_size_t i;

    for (i = 0; i < l->n; i++) {
        sc_site_t *p = l->site[i];

        if (p->is_name && !p->heard && !p->self && p->due <= now &&
            (next == NULL || p->due < next->due)) {
            next = p;
        }
    }
    return next;
}

void sc_sites_look(sc_sites_t *l, apr_time_t now)
{
    const sc_transport_t *t = l->env->transport;
    sc_site_t *p;
    apr_status_t rv;

    if (l->stopped || l->asking != NULL || now - l->answered < PAUSE) {
        return;
    }
    p = next_due(l, now);
    if (p == NULL) {
        return;
    }
    rv = t->resolve(t->ctx, p->host, answered, l);
    if (rv == APR_EBUSY) {
        return;
    }
    p->asked = now;
    l->asking = p;
    if (rv != APR_SUCCESS) {
        answered(l, rv, NULL, 0);
    }
}

void sc_sites_hurry(sc_sites_t *l)
{
    apr_size_t i;

    for (i = 0; i < l->n; i++) {
        sc_site_t *p = l->site[i];

        if (p->due > p->asked + HURRY) {
            p->due = p->asked + HURRY;
        }
    }
}

int sc_sites_unknown(const sc_sites_t *l)
{
    apr_size_t i;

    for (i = 0; i < l->n; i++) {
        if (l->site[i]->is_name && !l->site[i]->looked_up) {
            return 1;
        }
    }
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

void sc_sites_start(sc_sites_t *l)
{
    apr_size_t i;

    l->answered = sc_mono(l->env->clock); /* membership by dns asks first */
    for (i = 0; i < l->n; i++) {
        sc_site_t *p = l->site[i];
        sc_address_t a;
        sc_member_t m;

        if (sc_member_set_host(&m, p->host) == APR_SUCCESS) {
            a.len = m.host_len;
            memcpy(a.host, m.host, m.host_len);
            (void)take(l, p, &a, 1);
        } else if (l->env->transport->resolve != NULL) {
            p->is_name = 1;
        }
        if (p->n == 0 && !p->is_name) {
            sc_log(l->env->log, SC_LOG_ERROR, 0,
                   "SC0526: member %s:%u of StaticMembership is left out: it is no address of a "
                   "member, and names are not looked up here",
                   p->host, p->port);
        }
    }
}

void sc_sites_stop(sc_sites_t *l)
{
    l->stopped = 1;
}
