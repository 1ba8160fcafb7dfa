/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * StaticMembership: members from a list, besides those that membership hears, for instance where
 * multicast does not reach (tribes-protocol 4.9).
 *
 * Each is told that this node is there, when it starts and when it leaves, by the two texts of
 * Tribes; what counts is the member data in the head of their frame. What differs from Tomcat:
 *
 * - A node of ours has a new unique id in each life, and what it is (route, store, state) it says
 *   itself. So it needs no unique id in the list, and is a member from when it is first heard, not
 *   before. The text is said again each 5 s, and at once when this node's state changes.
 * - A member with a unique id in the list may be a Tomcat. It is passed up at once, as a foreign
 *   member, unless and until a node of ours speaks with that id.
 * - A member that is heard both here and by membership is one member, and is gone when it has said
 *   good-bye. One that falls silent stays: a TcpFailureDetector above finds out.
 *
 * Names are resolved once, at the start, because the resolver blocks.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_network_io.h>
#include <apr_strings.h>

#include "members.h"
#include "sc_interceptor.h"

#define AGAIN apr_time_from_sec(5)
#define LOOK apr_time_from_msec(100)
#define LOG_INTERVAL apr_time_from_sec(60)

enum { OPTION_FLAG, MEMBER, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"member", SC_ATTR_TEXT, 0, 0, 0, NULL},
};

static const sc_attr_refused_t refused[] = {
    {"localMember", "this node is its own local member; see SessionClusterReceiver"},
    {"LocalMember", "this node is its own local member; see SessionClusterReceiver"},
};

static const char start_text[] = "Local StaticMember Notification Data";
static const char stop_text[] = "Local StaticMember Shutdown Data";

/** One line of the list. */
typedef struct listed_t {
    char host[SC_HOST_MAX + 1];
    apr_uint32_t port;
    int has_uid;
    sc_uid_t uid;
    int has_domain;
    char domain[SC_DOMAIN_MAX + 1];
} listed_t;

typedef struct fixed_t fixed_t;

typedef struct target_t {
    fixed_t *f;
    listed_t listed;
    sc_member_t address; /* host and port, with the unique id and domain that are listed */
    int usable;          /* resolved, and not this node */
    sc_member_t m;       /* while up: as it was heard, or as listed */
    int up;
    apr_time_t heard;       /* mono time when it spoke last */
    apr_uint64_t said;      /* and its wall clock then, milliseconds; 0: never */
    sc_uid_t left;          /* who has said good-bye last */
    apr_uint64_t left_said; /* and when */
    int pending;            /* a text is on its way */
    int again;              /* and another one is wanted after it */
} target_t;

struct fixed_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    target_t target[SC_ATTRS_MAX];
    apr_size_t n;
    sc_members_t heard; /* by membership below */
    int running;
    apr_uint32_t told_state; /* what the members were told of this node last */
    apr_time_t told;
    sc_timer_t beat;
    sc_log_limit_t refused_log;
};

/* ---- attributes ----------------------------------------------------------------------------- */

/** host:port at the front of text. @return what is behind it, NULL when it is none */
static const char *place_get(listed_t *l, const char *text)
{
    const char *end = text + strcspn(text, ",");
    const char *colon = NULL;
    const char *p;
    apr_size_t len;
    char *rest;

    for (p = text; p < end; p++) {
        colon = *p == ':' ? p : colon;
    }
    if (colon == NULL || colon[1] < '0' || colon[1] > '9' || end - colon > 6) {
        return NULL;
    }
    l->port = (apr_uint32_t)strtoul(colon + 1, &rest, 10);
    len = (apr_size_t)(colon - text);
    if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL || memchr(text, '[', len) != NULL) {
        return NULL; /* an IPv6 address needs its brackets */
    }
    if (rest != end || l->port < 1 || l->port > 65535 || len == 0 || len > SC_HOST_MAX) {
        return NULL;
    }
    memcpy(l->host, text, len);
    return end;
}

/** host:port[,uniqueId=32 hex digits][,domain=text] @return NULL, or what is wrong */
static const char *listed_get(listed_t *l, const char *text)
{
    memset(l, 0, sizeof(*l));
    text = place_get(l, text);
    if (text == NULL) {
        return "host:port with a port from 1 to 65535, an IPv6 address in brackets";
    }
    while (*text == ',') {
        apr_size_t len = strcspn(++text, ",");

        if (strncmp(text, "uniqueId=", 9) == 0 && !l->has_uid) {
            l->has_uid =
                len == 9 + 2 * sizeof(l->uid.b) && sc_hex_get(l->uid.b, sizeof(l->uid.b), text + 9);
            if (!l->has_uid) {
                return "uniqueId= with 32 hex digits";
            }
        } else if (strncmp(text, "domain=", 7) == 0 && !l->has_domain && len >= 7 &&
                   len - 7 <= SC_DOMAIN_MAX) {
            l->has_domain = 1;
            memcpy(l->domain, text + 7, len - 7);
        } else {
            return "only uniqueId= and domain= (at most 63 bytes) behind host:port";
        }
        text += len;
    }
    return NULL;
}

static const char *fixed_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];
    const char *message =
        sc_interceptor_refused(c, refused, sizeof(refused) / sizeof(refused[0]), pool);
    listed_t listed[SC_ATTRS_MAX];
    apr_size_t n = 0;
    apr_size_t i;
    apr_size_t k;

    if (message == NULL) {
        message = sc_interceptor_attrs(c, rules, NATTRS, values, pool);
    }
    for (i = 0; i < c->nattrs && i < SC_ATTRS_MAX && message == NULL; i++) {
        const char *text = c->attr[i].value;

        if (strcmp(c->attr[i].name, "member") != 0) {
            continue;
        }
        message = listed_get(&listed[n], text);
        if (message != NULL) {
            return apr_psprintf(pool, "interceptor StaticMembership: member wants %s, not \"%s\"",
                                message, text);
        }
        for (k = 0; k < n; k++) {
            if (listed[k].port == listed[n].port && strcmp(listed[k].host, listed[n].host) == 0) {
                return apr_psprintf(pool,
                                    "interceptor StaticMembership: member %s:%u is given "
                                    "twice",
                                    listed[n].host, listed[n].port);
            }
        }
        n++;
    }
    if (message == NULL && n == 0) {
        return "interceptor StaticMembership: member=host:port is missing";
    }
    return message;
}

/** Whether a member of the list is none of this module: it keeps its unique id for ever. */
static int lists_foreign(const sc_config_interceptor_t *c)
{
    listed_t l;
    apr_size_t i;

    for (i = 0; i < c->nattrs && i < SC_ATTRS_MAX; i++) {
        if (strcmp(c->attr[i].name, "member") == 0 && listed_get(&l, c->attr[i].value) == NULL &&
            l.has_uid) {
            return 1;
        }
    }
    return 0;
}

static const char *fixed_fits(const sc_config_t *config, const sc_config_interceptor_t *c,
                              apr_pool_t *pool)
{
    (void)pool;
    if (config->secret.count > 0 && lists_foreign(c)) {
        return "interceptor StaticMembership: uniqueId= is for a Tomcat, and that has no "
               "SessionClusterSecret: nothing it says would be accepted";
    }
    if (config->membership == SC_MEMBERSHIP_STATIC) {
        return "interceptor StaticMembership: SessionClusterMembership static has a list already; "
               "name its members by SessionClusterMember";
    }
    if (config->membership == SC_MEMBERSHIP_NONE) {
        return "interceptor StaticMembership adds members to a membership, and there is none; see "
               "SessionClusterMembership, static for a list alone";
    }
    return NULL;
}

static apr_status_t fixed_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                 apr_pool_t *pool)
{
    fixed_t *f = apr_pcalloc(pool, sizeof(*f));
    apr_size_t i;

    if (sc_interceptor_attrs(c, rules, NATTRS, f->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    for (i = 0; i < c->nattrs && i < SC_ATTRS_MAX; i++) {
        if (strcmp(c->attr[i].name, "member") == 0) {
            target_t *t = &f->target[f->n++];

            t->f = f;
            if (listed_get(&t->listed, c->attr[i].value) != NULL) {
                return APR_EINVAL;
            }
        }
    }
    f->self = self;
    self->state = f;
    return APR_SUCCESS;
}

/* ---- saying --------------------------------------------------------------------------------- */

static void say(target_t *t, const char *text);

static void said(void *baton, apr_status_t rv)
{
    target_t *t = baton;

    (void)rv; /* it is said again */
    t->pending = 0;
    if (t->f->running && t->again) {
        say(t, start_text);
    }
}

static void say(target_t *t, const char *text)
{
    sc_interceptor_t *self = t->f->self;
    sc_outgoing_t out;

    if (!t->usable) {
        return;
    }
    if (t->pending && t->f->running) {
        t->again = 1;
        return;
    }
    memset(&out, 0, sizeof(out));
    out.packet.options = (apr_uint32_t)t->f->attr[OPTION_FLAG];
    sc_packet_stamp(self->env, &out.packet);
    out.packet.body = (const unsigned char *)text;
    out.packet.body_len = strlen(text);
    out.to = &t->address;
    out.lane = SC_LANE_CONTROL;
    out.done = said;
    out.baton = t;
    t->pending = 1;
    t->again = 0;
    sc_pass_send(self, &out);
}

/** A Tomcat that is up has heard it, and would announce this node a second time. */
static int wants_start(const target_t *t)
{
    return !t->up || t->m.ours || t->said == 0;
}

static void say_to_all(fixed_t *f)
{
    apr_size_t i;

    f->told = sc_mono(f->self->env->clock);
    f->told_state = f->self->env->local->node_state;
    for (i = 0; i < f->n; i++) {
        if (wants_start(&f->target[i])) {
            say(&f->target[i], start_text);
        }
    }
}

static void beat_due(void *baton, apr_time_t now)
{
    fixed_t *f = baton;

    (void)sc_timer_set(f->self->env->timers, &f->beat, now + LOOK, beat_due, f);
    if (now - f->told >= AGAIN || f->told_state != f->self->env->local->node_state) {
        say_to_all(f);
    }
}

/* ---- members that come and go --------------------------------------------------------------- */

/** The same process, or its next life. */
static int same_node(const sc_member_t *a, const sc_member_t *b)
{
    return sc_member_same_address(a, b) || (a->store_id != 0 && a->store_id == b->store_id);
}

/** Of the list: up, and not known by membership as well. */
static int only_here(const fixed_t *f, const target_t *t)
{
    return t->up && sc_members_find(&f->heard, &t->m) == NULL;
}

static void take_down(target_t *t, int goodbye)
{
    fixed_t *f = t->f;
    int known = t->up && !only_here(f, t);
    sc_member_t m = t->m;

    if (!t->up) {
        return;
    }
    t->up = 0;
    if (!known || goodbye) {
        sc_members_remove(&f->heard, &m);
        sc_pass_member_gone(f->self, &m, goodbye);
    }
}

static void take_up(target_t *t, const sc_member_t *m)
{
    fixed_t *f = t->f;
    apr_size_t i;

    for (i = 0; i < f->n; i++) {
        if (f->target[i].up && same_node(&f->target[i].m, m) &&
            !sc_member_same(&f->target[i].m, m)) {
            take_down(&f->target[i], 0);
        }
    }
    t->m = *m;
    t->up = 1;
    if (only_here(f, t)) {
        sc_pass_member_added(f->self, &t->m);
    }
}

static int differs(const sc_member_t *a, const sc_member_t *b)
{
    return a->node_state != b->node_state || a->flags != b->flags || a->version != b->version ||
           strcmp(a->url, b->url) != 0 || a->weight != b->weight || a->lbset != b->lbset ||
           a->bad_url != b->bad_url;
}

static void refresh(target_t *t, const sc_member_t *m)
{
    int changed = differs(&t->m, m);

    if (m->alive_ms < t->m.alive_ms) {
        return; /* said before what is known already */
    }
    t->m = *m;
    if (changed) {
        sc_pass_member_changed(t->f->self, &t->m);
    }
}

/* ---- hearing -------------------------------------------------------------------------------- */

static target_t *target_of(fixed_t *f, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < f->n; i++) {
        if (f->target[i].usable && sc_member_same_address(&f->target[i].address, m)) {
            return &f->target[i];
        }
    }
    return NULL;
}

static const char *route_conflict(const fixed_t *f, const sc_member_t *m)
{
    const sc_member_t *local = f->self->env->local;
    apr_size_t i;

    if (m->role != SC_ROLE_NODE) {
        return NULL;
    }
    if (local->role == SC_ROLE_NODE && strcmp(m->route, local->route) == 0) {
        return "it has this node's route";
    }
    for (i = 0; i < f->heard.n; i++) {
        const sc_member_t *other = &f->heard.m[i];

        if (other->role == SC_ROLE_NODE && strcmp(m->route, other->route) == 0 &&
            !same_node(m, other)) {
            return "another member has its route";
        }
    }
    for (i = 0; i < f->n; i++) {
        const sc_member_t *other = &f->target[i].m;

        if (f->target[i].up && other->role == SC_ROLE_NODE && other->ours &&
            strcmp(m->route, other->route) == 0 && !same_node(m, other)) {
            return "another member has its route";
        }
    }
    return NULL;
}

/** @return NULL: it may be the member of this line; else why not */
static const char *objection(const target_t *t, const sc_member_t *m)
{
    char domain[SC_DOMAIN_MAX + 1];

    if (t->listed.has_uid && memcmp(&t->listed.uid, &m->uid, sizeof(m->uid)) != 0) {
        return "it has another uniqueId than is listed";
    }
    if (t->listed.has_domain && strcmp(sc_member_domain(m, domain), t->listed.domain) != 0) {
        return "it has another domain than is listed";
    }
    if (!m->ours) {
        return t->listed.has_uid ? NULL
                                 : "it is no node of this kind (a Tomcat?) and its uniqueId "
                                   "is not listed";
    }
    return route_conflict(t->f, m);
}

/** A start text of a member in the list, or anything else of one that is up. */
static void heard(target_t *t, const sc_packet_t *packet)
{
    fixed_t *f = t->f;
    const sc_member_t *m = &packet->from;
    const char *why = objection(t, m);
    apr_time_t now = sc_mono(f->self->env->clock);
    char name[SC_MEMBER_NAME];

    if (why != NULL) {
        if (sc_log_allowed(&f->refused_log, now, LOG_INTERVAL, NULL)) {
            sc_log(f->self->env->log, SC_LOG_WARNING, 0,
                   "SC0488: %s is in the list of StaticMembership but is not taken for a member: "
                   "%s",
                   sc_member_name(m, name), why);
        }
        return;
    }
    if (memcmp(&t->left, &m->uid, sizeof(m->uid)) == 0 && packet->timestamp_ms <= t->left_said) {
        return; /* said before its good-bye */
    }
    if (t->up && sc_member_same(&t->m, m) && t->m.ours == m->ours) {
        t->said = packet->timestamp_ms;
        t->heard = now;
        refresh(t, m);
        return;
    }
    /* its clock may have been set back between two lives; then the old one is not heard any more */
    if (t->up && t->m.ours && packet->timestamp_ms < t->said && now - t->heard < 2 * AGAIN) {
        return; /* of a former life */
    }
    take_down(t, 0);
    t->said = packet->timestamp_ms;
    t->heard = now;
    take_up(t, m);
    say(t, start_text);
}

static apr_status_t fixed_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    fixed_t *f = self->state;
    int start = packet->body_len == sizeof(start_text) - 1 &&
                memcmp(packet->body, start_text, sizeof(start_text) - 1) == 0;
    int stop = packet->body_len == sizeof(stop_text) - 1 &&
               memcmp(packet->body, stop_text, sizeof(stop_text) - 1) == 0;
    target_t *t = f->running ? target_of(f, &packet->from) : NULL;

    if (t != NULL && stop && t->up && sc_member_same(&t->m, &packet->from)) {
        t->left = packet->from.uid;
        t->left_said = packet->timestamp_ms;
        take_down(t, 1);
    } else if (t != NULL && !stop && (start || (t->up && sc_member_same(&t->m, &packet->from)))) {
        heard(t, packet);
    }
    return start || stop ? APR_SUCCESS : sc_pass_received(self, packet);
}

/* ---- what membership says ------------------------------------------------------------------- */

static void fixed_added(sc_interceptor_t *self, const sc_member_t *m)
{
    fixed_t *f = self->state;
    int known = 0;
    apr_size_t i;

    for (i = 0; i < f->n; i++) {
        target_t *t = &f->target[i];

        if (t->up && sc_member_same(&t->m, m) && t->m.ours == m->ours) {
            known = 1;
        } else if (t->up && same_node(&t->m, m)) {
            take_down(t, 0);
        }
    }
    sc_members_put(&f->heard, m);
    if (known) {
        sc_pass_member_changed(self, m);
    } else {
        sc_pass_member_added(self, m);
    }
}

static void fixed_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    fixed_t *f = self->state;

    sc_members_put(&f->heard, m);
    sc_pass_member_changed(self, m);
}

static void fixed_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    fixed_t *f = self->state;
    apr_size_t i;

    sc_members_remove(&f->heard, m);
    for (i = 0; i < f->n; i++) {
        target_t *t = &f->target[i];

        if (t->up && sc_member_same(&t->m, m)) {
            if (!goodbye) {
                return; /* it stays, by the list */
            }
            t->up = 0;
        }
    }
    sc_pass_member_gone(self, m, goodbye);
}

static int fixed_is_static(const sc_interceptor_t *self, const sc_member_t *m)
{
    fixed_t *f = self->state;

    return target_of(f, m) != NULL;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void resolve(target_t *t, apr_pool_t *scratch)
{
    sc_interceptor_t *self = t->f->self;
    const listed_t *l = &t->listed;
    apr_sockaddr_t *sa = NULL;
    apr_status_t rv =
        apr_sockaddr_info_get(&sa, l->host, APR_UNSPEC, (apr_port_t)l->port, 0, scratch);

    while (rv == APR_SUCCESS && sa != NULL && sa->ipaddr_len != 4 && sa->ipaddr_len != 16) {
        sa = sa->next;
    }
    if (rv != APR_SUCCESS || sa == NULL) {
        sc_log(self->env->log, SC_LOG_ERROR, rv,
               "SC0489: member %s:%u of StaticMembership has no address; it is left out until the "
               "next start",
               l->host, l->port);
        return;
    }
    t->address.host_len = (apr_byte_t)sa->ipaddr_len;
    memcpy(t->address.host, sa->ipaddr_ptr, t->address.host_len);
    t->address.port = (apr_int32_t)l->port;
    t->address.secure_port = -1;
    t->address.udp_port = -1;
    t->address.uid = l->uid;
    t->address.domain_len = (apr_uint16_t)strlen(l->domain);
    memcpy(t->address.domain, l->domain, t->address.domain_len);
    t->usable = !sc_member_same_address(&t->address, self->env->local);
}

static void fixed_start(sc_interceptor_t *self)
{
    fixed_t *f = self->state;
    apr_pool_t *scratch;
    apr_size_t i;

    if (apr_pool_create(&scratch, NULL) != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < f->n; i++) {
        resolve(&f->target[i], scratch);
    }
    apr_pool_destroy(scratch);
    f->running = 1;
    for (i = 0; i < f->n; i++) {
        if (f->target[i].usable && f->target[i].listed.has_uid) {
            take_up(&f->target[i], &f->target[i].address);
        }
    }
    say_to_all(f);
    (void)sc_timer_set(self->env->timers, &f->beat, f->told + LOOK, beat_due, f);
}

static void fixed_stop(sc_interceptor_t *self)
{
    fixed_t *f = self->state;
    int running = f->running;
    apr_size_t i;

    f->running = 0;
    sc_timer_cancel(self->env->timers, &f->beat);
    for (i = 0; running && i < f->n; i++) {
        if (f->target[i].up) {
            say(&f->target[i], stop_text);
        }
    }
}

const sc_interceptor_class_t sc_static_membership_class = {
    .name = "StaticMembership",
    .check = fixed_check,
    .fits = fixed_fits,
    .create = fixed_create,
    .start = fixed_start,
    .stop = fixed_stop,
    .received = fixed_received,
    .member_added = fixed_added,
    .member_changed = fixed_changed,
    .member_gone = fixed_gone,
    .is_static = fixed_is_static,
};
