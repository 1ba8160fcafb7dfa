/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * NonBlockingCoordinator: all members agree on a view and on its first member, the coordinator, by
 * a token that travels round (tribes-protocol 4.12).
 *
 * Who is first among those it knows starts: a token with all of them goes to the next one, each
 * adds and removes what it knows better, and when it has come round unchanged its source confirms
 * the view to all. What one knows and the token does not, or the other way round, is settled by
 * connecting to that member: memberships differ for a while, facts do not.
 *
 * What differs from Tomcat, and why:
 * - Nothing waits in a thread: a token whose members are being connected to is kept aside. How many
 *   there may be, and how many connections may be tried for them, is bounded for each kind of them
 *   (kind_t): what others send never takes the place of an own election, nor what strangers send
 *   that of a member's.
 * - A token that is still here when its source has long begun anew is dropped: members that accept
 *   it and never acknowledge it would hold its place for as long as the ring has members.
 * - Only a member is told a view that it has missed, and only so many at once: it is told at the
 *   address that a token names.
 * - Members that only the token knows stay in it; this node does not take them for members.
 * - A token that its next member does not take goes to the one behind, without that member in it;
 *   with it the token of a source that died would travel on until everybody knew.
 * - A token that goes on and on is dropped, and the election begins anew at the next heartbeat.
 * - A node that learns from a token that it is first starts an election at once; or tells its
 * source the view, if that one has only missed it.
 */
#include <stdlib.h>
#include <string.h>

#include "election.h"
#include "sc_interceptor.h"

#define HEARTBEAT apr_time_from_sec(5)
/* Members come and go in groups: one election for all of them. */
#define GATHER apr_time_from_msec(100)
#define PROBE_TIMEOUT apr_time_from_sec(1)
#define BAD_LOG_INTERVAL apr_time_from_sec(10)
#define VIEW_LOG_INTERVAL apr_time_from_sec(4)
#define SEEN_MAX 16
/* Views on their way: a new one for all while an old one for all still is. */
#define TOLD_MAX (2 * SC_MEMBERS_MAX)
/* How often one token may pass here: a quiet one does once, one that learns on its way twice. */
#define ROUNDS_MAX 8

enum { OPTION_FLAG, WAIT, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"waitForCoordMsgTimeout", 0, 15000, 100, 600000, "milliseconds"},
};

/* A sign of life that Tomcat knows and swallows; nothing that was captured has sent it. */
static const unsigned char alive_text[64] = {
    0x4F, 0x87, 0xE7, 0xF1, 0xC5, 0x05, 0x40, 0x5E, 0xB3, 0x71, 0x89, 0xA8, 0x34, 0x72, 0xC8, 0xD2,
    0xEE, 0x66, 0x0A, 0x22, 0x81, 0xF7, 0x47, 0x73, 0xBA, 0x48, 0x9B, 0x58, 0x48, 0x84, 0x7F, 0x6F,
    0x4A, 0x4C, 0x8C, 0x32, 0x6F, 0x67, 0x41, 0x03, 0xB3, 0x33, 0xDD, 0x00, 0x77, 0x75, 0x09, 0xE6,
    0x77, 0x32, 0xB5, 0x97, 0x9A, 0x24, 0x4F, 0x25, 0xBC, 0xAC, 0x85, 0x0F, 0xEA, 0x93, 0x6A, 0xC9};

/** Whose a token is, as far as a head of a frame can say; with a secret it is true. */
typedef enum kind_t {
    BEGUN,    /* own, from its beginning until the next member has it */
    RETURNED, /* own, of the election that is under way */
    MEMBERS,
    STRANGERS, /* a member of others that membership has not told of yet, or anybody */
    KINDS
} kind_t;

static const int tokens_max[KINDS] = {8, 4, 16, 4};

/** What of the view is not in the log yet. */
typedef enum unlogged_t { LOGGED = 0, RESIZED, MOVED } unlogged_t;

typedef struct seen_t {
    sc_uid_t id;
    int rounds;
} seen_t;

typedef struct coordinator_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    sc_members_t others; /* as membership has it, without this node */
    sc_members_t view;   /* agreed on; n = 0: none yet */
    sc_uid_t view_id;
    int electing; /* an own token is on its way */
    sc_uid_t election_id;
    sc_timer_t begin;
    sc_timer_t wait; /* for a token or a view to come */
    sc_timer_t beat;
    sc_election_t arrived; /* the message that is being read */
    seen_t seen[SEEN_MAX];
    apr_size_t next_seen;
    int tokens[KINDS]; /* token_t that exist */
    int doubts[KINDS]; /* doubt_t that exist */
    int told;          /* told_t that exist */
    sc_log_limit_t bad_log;
    sc_log_limit_t view_log;
    unlogged_t unlogged;
    int stopped;
} coordinator_t;

/** A token while it is here: being compared, then being passed on. */
typedef struct token_t {
    coordinator_t *c;
    kind_t kind;
    apr_time_t since;
    sc_election_t e;
    sc_members_t came; /* its members as it came */
    sc_member_t to;    /* whom it is being sent to */
    int probes;        /* that have not ended */
} token_t;

/** One member that is being connected to. */
typedef struct doubt_t {
    token_t *t;
    sc_member_t m;
} doubt_t;

/** A confirmed view on its way to one member. */
typedef struct told_t {
    coordinator_t *c;
    sc_member_t to;
} told_t;

static int same_id(const sc_uid_t *a, const sc_uid_t *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static apr_time_t now_of(const coordinator_t *c)
{
    return sc_mono(c->self->env->clock);
}

/* ---- attributes ----------------------------------------------------------------------------- */

static const char *coordinator_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];

    return sc_interceptor_attrs(c, rules, NATTRS, values, pool);
}

static apr_status_t coordinator_create(sc_interceptor_t *self, const sc_config_interceptor_t *conf,
                                       apr_pool_t *pool)
{
    coordinator_t *c = apr_pcalloc(pool, sizeof(*c));

    if (sc_interceptor_attrs(conf, rules, NATTRS, c->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    c->self = self;
    self->state = c;
    return APR_SUCCESS;
}

/* ---- the view ------------------------------------------------------------------------------- */

/** Whether the view is what membership says. */
static int view_holds(const coordinator_t *c)
{
    apr_size_t i;

    if (c->view.n != c->others.n + 1) {
        return 0;
    }
    for (i = 0; i < c->others.n; i++) {
        if (sc_members_find(&c->view, &c->others.m[i]) == NULL) {
            return 0;
        }
    }
    return 1;
}

/** What has to be said of the view. Anybody can confirm one if there is no secret, so there is a
 *  pause between two lines; the heartbeat writes the one that was due in it. */
static void log_view(coordinator_t *c)
{
    char name[SC_MEMBER_NAME];

    if (sc_log_allowed(&c->view_log, now_of(c), VIEW_LOG_INTERVAL, NULL)) {
        sc_log(c->self->env->log, c->unlogged == MOVED ? SC_LOG_NOTICE : SC_LOG_INFO, 0,
               "SC0485: the coordinator is %s, first of %u members",
               sc_member_name(&c->view.m[0], name), (unsigned)c->view.n);
        c->unlogged = LOGGED;
    }
}

static void install(coordinator_t *c, const sc_members_t *members, const sc_uid_t *id)
{
    int moved = c->view.n == 0 || !sc_member_same(&c->view.m[0], &members->m[0]);

    c->unlogged = moved || c->unlogged == MOVED ? MOVED : RESIZED;
    c->view = *members;
    c->view_id = *id;
    log_view(c);
}

static int is_first(const coordinator_t *c)
{
    return c->others.n == 0 || sc_member_order(c->self->env->local, &c->others.m[0]) < 0;
}

/* ---- sending -------------------------------------------------------------------------------- */

static void token_arrived(token_t *t);

static token_t *token_create(coordinator_t *c, kind_t kind)
{
    token_t *t = c->tokens[kind] < tokens_max[kind] ? calloc(1, sizeof(*t)) : NULL;

    if (t != NULL) {
        t->c = c;
        t->kind = kind;
        t->since = now_of(c);
        c->tokens[kind]++;
    }
    return t;
}

static void token_free(token_t *t)
{
    t->c->tokens[t->kind]--;
    free(t);
}

/** Whether nobody waits for it any more: there is a later election of its source. */
static int outlived(const token_t *t)
{
    const coordinator_t *c = t->c;

    if (t->kind == BEGUN || t->kind == RETURNED) {
        return !c->electing || !same_id(&t->e.id, &c->election_id);
    }
    return now_of(c) - t->since >= apr_time_from_msec(c->attr[WAIT]);
}

/** A member that only tokens know has no other business with the transport. */
static void forget_stranger(coordinator_t *c, const sc_member_t *m)
{
    const sc_transport_t *transport = c->self->env->transport;

    if (sc_members_find(&c->others, m) == NULL) {
        transport->forget(transport->ctx, m);
    }
}

static void send_to(coordinator_t *c, const sc_election_t *e, const sc_member_t *to,
                    sc_sent_fn_t *done, void *baton)
{
    sc_outgoing_t out;
    sc_buf_t b;

    memset(&out, 0, sizeof(out));
    out.packet.options = (apr_uint32_t)c->attr[OPTION_FLAG] | SC_OPT_USE_ACK;
    sc_packet_stamp(c->self->env, &out.packet);
    sc_buf_init(&b, SC_ELECTION_MAX);
    sc_election_put(&b, e);
    out.packet.body = b.data;
    out.packet.body_len = b.err == APR_SUCCESS ? b.len : 0;
    out.to = to;
    out.lane = SC_LANE_CONTROL;
    out.done = done;
    out.baton = baton;
    sc_pass_send(c->self, &out);
    sc_buf_free(&b);
}

static void pass_on(token_t *t);

static void passed_on(void *baton, apr_status_t rv)
{
    token_t *t = baton;
    coordinator_t *c = t->c;

    if (!c->stopped) {
        forget_stranger(c, &t->to);
    }
    if (c->stopped || rv == APR_SUCCESS || rv == APR_EGENERAL || outlived(t)) {
        token_free(t);
        return;
    }
    sc_log(c->self->env->log, SC_LOG_DEBUG, rv, "SC0486: an election goes on without a member");
    sc_members_remove(&t->e.members, &t->to);
    pass_on(t);
}

/** Give it to the next member, self being in the list. */
static void pass_on(token_t *t)
{
    const sc_chain_env_t *env = t->c->self->env;
    const sc_member_t *next = sc_members_next(&t->e.members, env->local);

    if (next == NULL || sc_member_same(next, env->local)) {
        token_free(t); /* nobody is left; what membership knows of that it will say */
        return;
    }
    t->to = *next;
    t->e.leader = t->e.members.m[0];
    send_to(t->c, &t->e, &t->to, passed_on, t);
}

static void confirmed(void *baton, apr_status_t rv)
{
    told_t *told = baton;

    (void)rv;
    if (!told->c->stopped) {
        forget_stranger(told->c, &told->to);
    }
    told->c->told--;
    free(told);
}

static void tell(coordinator_t *c, const sc_election_t *e, const sc_member_t *to)
{
    told_t *told = c->told < TOLD_MAX ? malloc(sizeof(*told)) : NULL;

    if (told != NULL) { /* else it asks again when it has waited long enough */
        told->c = c;
        told->to = *to;
        c->told++;
        send_to(c, e, &told->to, confirmed, told);
    }
}

/** The token has come round as it was. */
static void confirm(coordinator_t *c, sc_election_t *e)
{
    const sc_member_t *local = c->self->env->local;
    apr_size_t i;

    e->conf = 1;
    for (i = 0; i < e->members.n; i++) {
        if (!sc_member_same(&e->members.m[i], local)) {
            tell(c, e, &e->members.m[i]);
        }
    }
    c->electing = 0;
    sc_timer_cancel(c->self->env->timers, &c->wait);
    install(c, &e->members, &e->id);
}

/* ---- starting ------------------------------------------------------------------------------- */

static void wait_due(void *baton, apr_time_t now);

static void wait_for_token(coordinator_t *c)
{
    (void)sc_timer_set(c->self->env->timers, &c->wait,
                       now_of(c) + apr_time_from_msec(c->attr[WAIT]), wait_due, c);
}

/** @param force 1: though somebody else would be first, but he does not */
static void start_election(coordinator_t *c, int force)
{
    const sc_member_t *local = c->self->env->local;
    token_t *t;

    if (view_holds(c)) {
        sc_timer_cancel(c->self->env->timers, &c->wait);
        c->electing = 0;
        return;
    }
    if (c->others.n > 0 && !is_first(c) && !force) {
        c->electing = 0;
        if (c->wait.index == 0) {
            wait_for_token(c);
        }
        return;
    }
    t = token_create(c, BEGUN);
    if (t == NULL || sc_uid_generate(&t->e.id) != APR_SUCCESS) {
        if (t != NULL) {
            token_free(t);
        }
        return; /* the next heartbeat tries again */
    }
    t->e.members = c->others;
    sc_members_put(&t->e.members, local);
    t->e.leader = t->e.members.m[0];
    t->e.source = *local;
    if (c->others.n == 0) {
        sc_timer_cancel(c->self->env->timers, &c->wait);
        c->electing = 0;
        install(c, &t->e.members, &t->e.id);
        token_free(t);
        return;
    }
    c->electing = 1;
    c->election_id = t->e.id;
    wait_for_token(c);
    pass_on(t);
}

static void begin_due(void *baton, apr_time_t now)
{
    (void)now;
    start_election(baton, 0);
}

static void wait_due(void *baton, apr_time_t now)
{
    (void)now;
    start_election(baton, 1);
}

static void begin_soon(coordinator_t *c)
{
    if (c->begin.index == 0 && !c->stopped) {
        (void)sc_timer_set(c->self->env->timers, &c->begin, now_of(c) + GATHER, begin_due, c);
    }
}

static void beat_due(void *baton, apr_time_t now)
{
    coordinator_t *c = baton;

    (void)sc_timer_set(c->self->env->timers, &c->beat, now + HEARTBEAT, beat_due, c);
    if (c->unlogged != LOGGED) {
        log_view(c);
    }
    if (!c->electing && !view_holds(c)) {
        start_election(c, 0);
    }
}

static void coordinator_start(sc_interceptor_t *self)
{
    coordinator_t *c = self->state;

    (void)sc_timer_set(self->env->timers, &c->beat, now_of(c) + HEARTBEAT, beat_due, c);
}

/* tokens and doubts end with their sends and probes, which the transport ends */
static void coordinator_stop(sc_interceptor_t *self)
{
    coordinator_t *c = self->state;

    c->stopped = 1;
    sc_timer_cancel(self->env->timers, &c->begin);
    sc_timer_cancel(self->env->timers, &c->wait);
    sc_timer_cancel(self->env->timers, &c->beat);
}

/* ---- a token is here ------------------------------------------------------------------------ */

/** @param who it is said to be of */
static apr_status_t refuse(coordinator_t *c, const sc_member_t *who, const char *why)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    SC_CHAIN_COUNT(c->self->env, frames_refused);
    if (sc_log_allowed(&c->bad_log, now_of(c), BAD_LOG_INTERVAL, &more)) {
        sc_log(c->self->env->log, SC_LOG_WARNING, 0,
               "SC0487: an election message of %s was refused: %s (%" APR_UINT64_T_FMT
               " more before)",
               sc_member_name(who, name), why, more);
    }
    return APR_EINVAL;
}

/** @return 0: it has passed too often */
static int may_pass(coordinator_t *c, const sc_uid_t *id)
{
    apr_size_t i;

    for (i = 0; i < SEEN_MAX; i++) {
        if (same_id(&c->seen[i].id, id) && c->seen[i].rounds > 0) {
            return ++c->seen[i].rounds <= ROUNDS_MAX;
        }
    }
    i = c->next_seen++ % SEEN_MAX;
    c->seen[i].id = *id;
    c->seen[i].rounds = 1;
    return 1;
}

static void own_token(token_t *t)
{
    coordinator_t *c = t->c;

    if (outlived(t)) {
        token_free(t);
        return;
    }
    if (sc_member_same(&t->e.leader, c->self->env->local) &&
        sc_members_same(&t->came, &t->e.members)) {
        confirm(c, &t->e);
        token_free(t);
        return;
    }
    wait_for_token(c);
    pass_on(t);
}

static void other_token(token_t *t)
{
    coordinator_t *c = t->c;

    if (!sc_member_same(&t->e.leader, c->self->env->local)) {
        if (t->kind == MEMBERS || c->wait.index == 0) {
            wait_for_token(c); /* the view is to follow; a stranger does not put that off */
        }
        pass_on(t);
        return;
    }
    if (!sc_members_same(&t->e.members, &c->view)) {
        if (!c->electing) {
            begin_soon(c);
        }
    } else if (sc_members_find(&c->others, &t->e.source) == NULL) {
        (void)refuse(c, &t->e.source, "no member wants to know the view");
    } else if (c->told >= TOLD_MAX / 2) {
        (void)refuse(c, &t->e.source, "too many want to know the view at once");
    } else {
        /* all is as it was agreed on, but its source has not heard of that */
        t->e.conf = 1;
        t->e.id = c->view_id;
        tell(c, &t->e, &t->e.source);
    }
    token_free(t);
}

/** All members that it had and this node did not, and the other way round, have been tried. */
static void token_arrived(token_t *t)
{
    coordinator_t *c = t->c;

    if (c->stopped || !may_pass(c, &t->e.id)) {
        if (!c->stopped && same_id(&t->e.id, &c->election_id)) {
            c->electing = 0;
        }
        token_free(t);
    } else if (sc_member_same(&t->e.source, c->self->env->local)) {
        own_token(t);
    } else {
        other_token(t);
    }
}

static void doubt_ended(void *baton, apr_status_t rv)
{
    doubt_t *d = baton;
    token_t *t = d->t;

    if (rv == APR_SUCCESS) {
        sc_members_put(&t->e.members, &d->m);
    } else {
        sc_members_remove(&t->e.members, &d->m);
    }
    free(d);
    t->c->doubts[t->kind]--;
    if (--t->probes == 0) {
        token_arrived(t);
    }
}

static void doubt(token_t *t, const sc_member_t *m)
{
    const sc_transport_t *transport = t->c->self->env->transport;
    doubt_t *d = malloc(sizeof(*d));

    if (d != NULL) {
        d->t = t;
        d->m = *m;
        t->probes++;
        t->c->doubts[t->kind]++;
        transport->probe(transport->ctx, &d->m, NULL, PROBE_TIMEOUT, doubt_ended, d);
    }
}

/** Compare with what membership says; whoever is in one of the two only is tried. */
static void compare(token_t *t)
{
    coordinator_t *c = t->c;
    const sc_member_t *local = c->self->env->local;
    apr_size_t i = 0;

    t->came = t->e.members;
    while (i < t->e.members.n) {
        if (sc_member_same_address(&t->e.members.m[i], local)) {
            sc_members_remove(&t->e.members, &t->e.members.m[i]); /* a former life; or this one */
        } else {
            i++;
        }
    }
    sc_members_put(&t->e.members, local);
    t->probes = 1; /* not to arrive before all have been begun */
    for (i = 0; i < t->came.n; i++) {
        const sc_member_t *m = &t->came.m[i];

        /* two lives of one member answer to one address: who passed the token knows which */
        if (!sc_member_same_address(m, local) && sc_members_at(&c->others, m) == NULL) {
            doubt(t, m);
        }
    }
    for (i = 0; i < c->others.n; i++) {
        if (sc_members_at(&t->came, &c->others.m[i]) == NULL) {
            doubt(t, &c->others.m[i]);
        }
    }
    if (--t->probes == 0) {
        token_arrived(t);
    }
}

static void view_confirmed(coordinator_t *c, const sc_election_t *e)
{
    if (sc_members_find(&e->members, c->self->env->local) == NULL) {
        if (!c->electing) {
            begin_soon(c); /* they have forgotten this node */
        }
        return;
    }
    if (c->view.n > 0 && same_id(&e->id, &c->view_id)) {
        return;
    }
    install(c, &e->members, &e->id);
    if (view_holds(c)) {
        sc_timer_cancel(c->self->env->timers, &c->wait);
        c->electing = 0;
    }
}

static apr_status_t election_received(coordinator_t *c, const sc_packet_t *packet)
{
    sc_election_t *e = &c->arrived;
    kind_t kind = sc_members_find(&c->others, &packet->from) != NULL ? MEMBERS : STRANGERS;
    token_t *t;

    if (sc_election_get(e, packet->body, packet->body_len) != APR_SUCCESS) {
        return refuse(c, &packet->from, "it could not be read");
    }
    if (e->conf) {
        view_confirmed(c, e);
        return APR_SUCCESS;
    }
    if (sc_member_same(&e->source, c->self->env->local)) {
        if (!c->electing || !same_id(&e->id, &c->election_id)) {
            return APR_SUCCESS; /* of an election that another one has replaced */
        }
        kind = RETURNED;
    }
    t = c->doubts[kind] < SC_MEMBERS_MAX ? token_create(c, kind) : NULL;
    if (t == NULL) {
        return refuse(c, &packet->from, "there are too many at once");
    }
    t->e = *e;
    compare(t);
    return APR_SUCCESS;
}

static apr_status_t coordinator_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    coordinator_t *c = self->state;

    if (packet->body_len == sizeof(alive_text) &&
        memcmp(packet->body, alive_text, sizeof(alive_text)) == 0) {
        return APR_SUCCESS;
    }
    if (!sc_election_is(packet->body, packet->body_len)) {
        return sc_pass_received(self, packet);
    }
    if (c->stopped) {
        return APR_EGENERAL;
    }
    return election_received(c, packet);
}

/* ---- membership ----------------------------------------------------------------------------- */

static void coordinator_added(sc_interceptor_t *self, const sc_member_t *m)
{
    coordinator_t *c = self->state;

    sc_members_put(&c->others, m);
    begin_soon(c);
    sc_pass_member_added(self, m);
}

static void coordinator_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    coordinator_t *c = self->state;

    if (sc_members_find(&c->others, m) != NULL) {
        sc_members_put(&c->others, m);
    }
    sc_pass_member_changed(self, m);
}

static void coordinator_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    coordinator_t *c = self->state;

    sc_members_remove(&c->others, m);
    begin_soon(c);
    sc_pass_member_gone(self, m, goodbye);
}

static void coordinator_settled(sc_interceptor_t *self)
{
    begin_soon(self->state); /* alone, too, there is a coordinator */
    sc_pass_settled(self);
}

static const sc_member_t *coordinator_is(const sc_interceptor_t *self)
{
    const coordinator_t *c = self->state;

    return c->view.n > 0 ? &c->view.m[0] : NULL;
}

const sc_interceptor_class_t sc_non_blocking_coordinator_class = {
    .name = "NonBlockingCoordinator",
    .check = coordinator_check,
    .create = coordinator_create,
    .start = coordinator_start,
    .stop = coordinator_stop,
    .received = coordinator_received,
    .member_added = coordinator_added,
    .member_changed = coordinator_changed,
    .member_gone = coordinator_gone,
    .settled = coordinator_settled,
    .coordinator = coordinator_is,
};
