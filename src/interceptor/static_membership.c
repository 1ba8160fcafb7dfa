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
 *   good-bye. A loss that either of them notices (a node of ours is silent for 15 s) goes up, so
 *   that a TcpFailureDetector above asks it; one that membership has lost stays by the list.
 * - A name may have several addresses, of both families: a member is known by any of them, and what
 *   is said goes to one after the other until one takes it. See sites.h for how they are found.
 */
#include <string.h>

#include "members.h"
#include "sc_interceptor.h"
#include "sites.h"
#include "static_list.h"

#define AGAIN apr_time_from_sec(5)
/* Three texts did not come. */
#define SILENT_MAX (3 * AGAIN)
#define LOOK apr_time_from_msec(100)
/* How long names keep membership from settling at most: as long as dns itself. */
#define PATIENCE apr_time_from_sec(15)
#define LOG_INTERVAL apr_time_from_sec(60)

static const char start_text[] = "Local StaticMember Notification Data";
static const char stop_text[] = "Local StaticMember Shutdown Data";

typedef struct fixed_t fixed_t;

typedef struct target_t {
    fixed_t *f;
    const sc_listed_t *listed;
    sc_site_t site;
    sc_member_t m; /* while up: as it was heard, or as listed */
    int up;
    apr_time_t heard;        /* mono time when it spoke last */
    apr_uint64_t said;       /* and its wall clock then, milliseconds; 0: never */
    sc_uid_t left;           /* who has said good-bye last */
    apr_uint64_t left_said;  /* and when */
    int pending;             /* a text is on its way */
    int again;               /* and another one is wanted after it */
    sc_address_t to;         /* where it goes */
    apr_size_t tried;        /* addresses in a row that have not taken it */
    apr_status_t failed;     /* what the last one said when all of them had been tried */
    apr_time_t missed_since; /* mono time since when it could have been heard */
    int missed_said;
    sc_log_limit_t missed_log;
} target_t;

struct fixed_t {
    sc_interceptor_t *self;
    sc_static_list_t list;
    target_t target[SC_ATTRS_MAX];
    apr_size_t n;
    sc_sites_t sites;
    sc_members_t heard; /* by membership below */
    int running;
    apr_time_t started;
    int waits;               /* names had to be looked up */
    apr_time_t known;        /* mono time when the first look-up of each had ended; 0: not yet */
    int settling;            /* membership has settled, this list has not */
    apr_uint32_t told_state; /* what the members were told of this node last */
    apr_time_t told;
    sc_timer_t beat;
    sc_log_limit_t refused_log;
    sc_log_limit_t stranger_log;
};

/* ---- its making ------------------------------------------------------------------------------ */

static apr_status_t fixed_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                 apr_pool_t *pool)
{
    fixed_t *f = apr_pcalloc(pool, sizeof(*f));
    apr_size_t i;

    if (sc_static_list_get(&f->list, c, pool) != NULL) {
        return APR_EINVAL;
    }
    f->n = f->list.n;
    for (i = 0; i < f->n; i++) {
        target_t *t = &f->target[i];

        t->f = f;
        t->listed = &f->list.member[i];
        memcpy(t->site.host, t->listed->host, sizeof(t->site.host));
        t->site.port = t->listed->port;
        t->site.uid = t->listed->uid;
        f->sites.site[i] = &t->site;
    }
    f->sites.n = f->n;
    f->self = self;
    self->state = f;
    return APR_SUCCESS;
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
    t->missed_since = sc_mono(f->self->env->clock);
    t->missed_said = goodbye;
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

/** One that is in the list with its unique id and has not spoken yet is announced at the address
 *  that is used now. */
static void list_here(target_t *t)
{
    sc_member_t m;

    if (!t->listed->has_uid || t->said != 0 || t->site.n == 0 || t->site.self) {
        return;
    }
    sc_site_member(&t->site, &t->site.at[t->site.current], &m);
    if (t->up && sc_member_same_address(&t->m, &m)) {
        return;
    }
    m.domain_len = (apr_uint16_t)strlen(t->listed->domain);
    memcpy(m.domain, t->listed->domain, m.domain_len);
    take_down(t, 0);
    take_up(t, &m);
}

static void say_start(target_t *t);

/** Its name stands for other addresses now. */
static void moved(void *baton, sc_site_t *p)
{
    fixed_t *f = baton;
    apr_size_t i;

    for (i = 0; i < f->n && f->running; i++) {
        target_t *t = &f->target[i];

        if (&t->site != p) {
            continue;
        }
        t->tried = 0;
        t->failed = APR_SUCCESS;
        t->missed_since = sc_mono(f->self->env->clock);
        if (!t->up || sc_site_of(p, &t->m) == NULL) {
            t->said = 0; /* by whoever is there now */
            take_down(t, 0);
        }
        list_here(t);
        say_start(t);
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

/* ---- saying --------------------------------------------------------------------------------- */

static void say(target_t *t, const char *text, sc_sent_fn_t *done)
{
    sc_interceptor_t *self = t->f->self;
    sc_outgoing_t out;
    sc_member_t to;

    t->to = t->site.at[t->site.current];
    sc_site_member(&t->site, &t->to, &to);
    memset(&out, 0, sizeof(out));
    out.packet.options = (apr_uint32_t)t->f->list.option_flag;
    sc_packet_stamp(self->env, &out.packet);
    out.packet.body = (const unsigned char *)text;
    out.packet.body_len = strlen(text);
    out.to = &to;
    out.lane = SC_LANE_CONTROL;
    out.done = done;
    out.baton = t;
    sc_pass_send(self, &out);
}

/** A Tomcat that is up has heard it, and would announce this node a second time. */
static int wants_start(const target_t *t)
{
    return t->site.n > 0 && !t->site.self && (!t->up || t->m.ours || t->said == 0);
}

static void start_said(void *baton, apr_status_t rv)
{
    target_t *t = baton;
    sc_site_t *p = &t->site;

    t->pending = 0;
    if (!t->f->running) {
        return;
    }
    if (rv == APR_SUCCESS) {
        t->tried = 0;
        t->failed = APR_SUCCESS;
        list_here(t);
    } else if (p->n > 0 && sc_address_same(&p->at[p->current], &t->to)) {
        p->current = (p->current + 1) % p->n;
        t->again |= ++t->tried < p->n;
        if (t->tried >= p->n) {
            t->tried = 0;
            t->failed = rv;
        }
    }
    if (t->again && t->f->running) {
        say_start(t);
    }
}

static void say_start(target_t *t)
{
    if (!wants_start(t)) {
        t->again = 0;
    } else if (t->pending) {
        t->again = 1;
    } else {
        t->pending = 1;
        t->again = 0;
        say(t, start_text, start_said);
    }
}

static void stop_said(void *baton, apr_status_t rv)
{
    target_t *t = baton;

    if (rv != APR_SUCCESS) {
        sc_log(t->f->self->env->log, SC_LOG_NOTICE, rv,
               "SC0525: member %s:%u of StaticMembership could not be told that this node leaves",
               t->listed->host, t->listed->port);
    }
}

/** Nobody has been heard where somebody is expected: say so, once until it has been there again. */
static void say_missed(target_t *t, apr_time_t now)
{
    const sc_chain_env_t *env = t->f->self->env;
    int seconds = (int)apr_time_sec(SILENT_MAX);
    char name[SC_MEMBER_NAME];
    sc_member_t m;

    if (t->missed_said || t->site.n == 0 || t->site.self || now - t->missed_since < SILENT_MAX ||
        (t->failed == APR_SUCCESS ? t->up || t->listed->has_uid : t->up && t->said != 0)) {
        return;
    }
    sc_site_member(&t->site, &t->site.at[t->site.current], &m);
    if (sc_members_at(&t->f->heard, &m) != NULL ||
        !sc_log_allowed(&t->missed_log, now, LOG_INTERVAL, NULL)) {
        return;
    }
    t->missed_said = 1;
    if (t->failed != APR_SUCCESS) {
        sc_log(env->log, SC_LOG_WARNING, t->failed,
               "SC0523: member %s:%u of StaticMembership cannot be told that this node is there, "
               "and was not heard for %d s; it is tried again",
               t->listed->host, t->listed->port, seconds);
    } else {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0524: member %s:%u of StaticMembership takes what it is told but was not heard "
               "for %d s; is there a node, and is %s in its list?",
               t->listed->host, t->listed->port, seconds, sc_member_name(env->local, name));
    }
}

static void say_to_all(fixed_t *f)
{
    apr_time_t now = sc_mono(f->self->env->clock);
    apr_size_t i;

    f->told = now;
    f->told_state = f->self->env->local->node_state;
    for (i = 0; i < f->n; i++) {
        say_start(&f->target[i]);
        say_missed(&f->target[i], now);
    }
}

/* ---- time passes ---------------------------------------------------------------------------- */

/** Membership settles when names have been looked up and who is there has had time to answer, as
 *  it would have without the look-ups. */
static void settle_if_known(fixed_t *f, apr_time_t now)
{
    apr_interval_time_t round = apr_time_from_msec(2 * f->self->env->config->mcast.frequency_ms);

    if (f->settling &&
        (!f->waits || (f->known != 0 && now - f->known >= round) || now - f->started > PATIENCE)) {
        f->settling = 0;
        sc_pass_settled(f->self);
    }
}

static void fixed_settled(sc_interceptor_t *self)
{
    fixed_t *f = self->state;

    f->settling = 1;
    settle_if_known(f, sc_mono(self->env->clock));
}

static void beat_due(void *baton, apr_time_t now)
{
    fixed_t *f = baton;
    apr_size_t i;

    (void)sc_timer_set(f->self->env->timers, &f->beat, now + LOOK, beat_due, f);
    for (i = 0; i < f->n; i++) {
        target_t *t = &f->target[i];

        if (t->up && t->m.ours && now - t->heard > SILENT_MAX) {
            take_down(t, 0);
        }
        t->site.heard = t->up && t->m.ours;
    }
    if (!f->running) {
        return; /* stopped by who was told */
    }
    sc_sites_look(&f->sites, now);
    if (f->known == 0 && !sc_sites_unknown(&f->sites)) {
        f->known = now;
    }
    if (now - f->told >= AGAIN || f->told_state != f->self->env->local->node_state) {
        say_to_all(f);
    }
    settle_if_known(f, now);
}

/* ---- hearing -------------------------------------------------------------------------------- */

static target_t *target_of(fixed_t *f, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < f->n; i++) {
        if (!f->target[i].site.self && sc_site_of(&f->target[i].site, m) != NULL) {
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

    if (t->listed->has_uid && memcmp(&t->listed->uid, &m->uid, sizeof(m->uid)) != 0) {
        return "it has another uniqueId than is listed";
    }
    if (t->listed->has_domain && strcmp(sc_member_domain(m, domain), t->listed->domain) != 0) {
        return "it has another domain than is listed";
    }
    if (!m->ours) {
        return t->listed->has_uid ? NULL
                                  : "it is no node of this kind (a Tomcat?) and its uniqueId "
                                    "is not listed";
    }
    return route_conflict(t->f, m);
}

/** It is there, at this address. */
static void spoke(target_t *t, const sc_packet_t *packet)
{
    const sc_address_t *at = sc_site_of(&t->site, &packet->from);

    if (at != NULL) {
        t->site.current = (apr_size_t)(at - t->site.at);
    }
    t->said = packet->timestamp_ms;
    t->heard = sc_mono(t->f->self->env->clock);
    t->missed_said = 0;
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
        spoke(t, packet);
        refresh(t, m);
        return;
    }
    /* its clock may have been set back between two lives; then the old one is not heard any more */
    if (t->up && t->m.ours && packet->timestamp_ms < t->said && now - t->heard < 2 * AGAIN) {
        return; /* of a former life */
    }
    take_down(t, 0);
    spoke(t, packet);
    take_up(t, m);
    say_start(t);
}

/** It says that it is there, but the list has no such address, or not yet. */
static void strange(fixed_t *f, const sc_member_t *m)
{
    char name[SC_MEMBER_NAME];

    if (sc_members_find(&f->heard, m) != NULL) {
        return; /* it is one already */
    }
    sc_sites_hurry(&f->sites);
    if (sc_log_allowed(&f->stranger_log, sc_mono(f->self->env->clock), LOG_INTERVAL, NULL)) {
        sc_log(f->self->env->log, SC_LOG_INFO, 0,
               "SC0522: %s wants to be a member but its address is not in the list of "
               "StaticMembership",
               sc_member_name(m, name));
    }
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
    } else if (t == NULL && start && f->running) {
        strange(f, &packet->from);
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
    target_t *stays = NULL;
    apr_size_t i;

    sc_members_remove(&f->heard, m);
    for (i = 0; i < f->n; i++) {
        target_t *t = &f->target[i];

        if (t->up && sc_member_same(&t->m, m)) {
            if (goodbye) {
                t->up = 0;
                t->missed_said = 1;
            } else {
                stays = t;
            }
        }
    }
    sc_pass_member_gone(self, m, goodbye);
    /* by the list; but who stands above has been told of the loss, and asks whether it is true */
    if (stays != NULL && stays->up && sc_members_find(&f->heard, m) == NULL) {
        sc_pass_member_added(self, &stays->m);
    }
}

static int fixed_is_static(const sc_interceptor_t *self, const sc_member_t *m)
{
    fixed_t *f = self->state;

    return target_of(f, m) != NULL;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void fixed_start(sc_interceptor_t *self)
{
    fixed_t *f = self->state;
    apr_size_t i;

    f->started = sc_mono(self->env->clock);
    f->sites.env = self->env;
    f->sites.moved = moved;
    f->sites.baton = f;
    sc_sites_start(&f->sites);
    f->running = 1;
    for (i = 0; i < f->n; i++) {
        f->target[i].missed_since = f->started;
        list_here(&f->target[i]);
    }
    f->waits = sc_sites_unknown(&f->sites);
    say_to_all(f);
    (void)sc_timer_set(self->env->timers, &f->beat, f->told + LOOK, beat_due, f);
}

static void fixed_stop(sc_interceptor_t *self)
{
    fixed_t *f = self->state;
    int running = f->running;
    apr_size_t i;

    f->running = 0;
    f->settling = 0;
    sc_sites_stop(&f->sites);
    sc_timer_cancel(self->env->timers, &f->beat);
    for (i = 0; running && i < f->n; i++) {
        target_t *t = &f->target[i];

        if (t->up && t->site.n > 0 && !t->site.self) {
            say(t, stop_text, stop_said);
        }
    }
}

const sc_interceptor_class_t sc_static_membership_class = {
    .name = "StaticMembership",
    .check = sc_static_list_check,
    .fits = sc_static_list_fits,
    .create = fixed_create,
    .start = fixed_start,
    .stop = fixed_stop,
    .received = fixed_received,
    .member_added = fixed_added,
    .member_changed = fixed_changed,
    .member_gone = fixed_gone,
    .settled = fixed_settled,
    .is_static = fixed_is_static,
};
