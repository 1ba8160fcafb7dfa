/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who has been heard.
 *
 * Tribes knows a member by host, port and unique id, and its table holds a restarted process twice
 * until the old entry expires. Our members carry more in their payload, so here a member that comes
 * with the address or the store of a known one is that one's next life and takes its place at once;
 * what is still on its way from the former life is recognised by its unique id and dropped. It may
 * also come from a life that this node has never heard of, or long before that one: frames that
 * were sent into a connection before the network was cut arrive when it heals. So a member does not
 * take the place of one that speaks now, if by their common clock it spoke before.
 *
 * Two nodes with one route would answer for each other's sessions. Of two such members only the
 * older is taken, by everybody: members agree on it because all of them compare the ages that the
 * two announce. A node that finds its own route with somebody else does not take the other, and is
 * not taken by it; both say so in their logs until an administrator has read it.
 *
 * With a secret nobody makes place for a member that was only heard in a datagram, which may be a
 * recording of somebody dead: it is asked over TCP first (newcomers.h), and so is a member of its
 * route, so that of two only those that live are compared.
 *
 * A domain is a label, as in Tribes: it says in which rack a member stands, and keeps nobody out.
 */
#include <string.h>

#include "foreign.h"
#include "newcomers.h"
#include "roster.h"

#define ENTRIES_MAX (SC_MEMBERS_MAX - 1)
#define DEPARTED_MAX 16
#define LOG_INTERVAL apr_time_from_sec(60)
/* Two ages differ by the delay of a datagram; only more than this means older. */
#define AGE_MARGIN apr_time_from_sec(1)
#define ALIVE_MAX_MS (APR_INT64_C(0x7fffffff) * 1000)

typedef struct entry_t {
    sc_member_t m;
    apr_time_t heard;
    apr_uint64_t said; /* its wall clock when it was heard last; 0: not known */
    sc_uid_t former;   /* unique id of its former life */
    int has_former;
    int reported;
} entry_t;

typedef struct departed_t {
    sc_uid_t uid;
    apr_time_t until;
} departed_t;

struct sc_roster_t {
    sc_membership_t *self;
    sc_newcomers_t *newcomers;
    entry_t entry[ENTRIES_MAX];
    apr_size_t n;
    int held;
    apr_time_t created;
    apr_time_t checked;   /* when expiry was last looked at */
    apr_time_t forgiving; /* nobody expires before */
    departed_t departed[DEPARTED_MAX];
    apr_size_t next_departed;
    sc_log_limit_t address_log;
    sc_log_limit_t route_log;
    sc_log_limit_t full_log;
    sc_log_limit_t foreign_log;
    sc_log_limit_t silent_log;
};

static apr_time_t now_of(const sc_roster_t *r)
{
    return sc_mono(r->self->env->clock);
}

static apr_interval_time_t drop_time(const sc_roster_t *r)
{
    return apr_time_from_msec(r->self->env->config->mcast.drop_ms);
}

static apr_interval_time_t frequency(const sc_roster_t *r)
{
    return apr_time_from_msec(r->self->env->config->mcast.frequency_ms);
}

static int same_uid(const sc_uid_t *a, const sc_uid_t *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/** One process or its restart: the same address, or the same store in memory. */
static int same_node(const sc_member_t *a, const sc_member_t *b)
{
    return sc_member_same_address(a, b) || (a->store_id != 0 && a->store_id == b->store_id);
}

static int same_route(const sc_member_t *a, const sc_member_t *b)
{
    return a->ours && b->ours && a->role == SC_ROLE_NODE && b->role == SC_ROLE_NODE &&
           strcmp(a->route, b->route) == 0;
}

static entry_t *find(sc_roster_t *r, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < r->n; i++) {
        if (sc_member_same(&r->entry[i].m, m)) {
            return &r->entry[i];
        }
    }
    return NULL;
}

/** When its engine started, on our clock. */
static apr_time_t started(const sc_member_t *m, apr_time_t heard)
{
    apr_uint64_t alive = m->alive_ms < ALIVE_MAX_MS ? m->alive_ms : ALIVE_MAX_MS;

    return heard - apr_time_from_msec(alive);
}

/* ---- changes of the table. Each ends with the report, since that may call back. -------------- */

static void report_added(sc_roster_t *r, entry_t *e)
{
    sc_member_t m = e->m;

    if (!r->held && !e->reported) {
        e->reported = 1;
        r->self->up.added(r->self->up.baton, &m);
    }
}

/** Take an entry out and report it. The last entry moves to its place. */
static void take_out(sc_roster_t *r, entry_t *e, int goodbye)
{
    entry_t old = *e;

    *e = r->entry[--r->n];
    if (old.reported) {
        r->self->up.gone(r->self->up.baton, &old.m, goodbye);
    }
}

static apr_size_t count_foreign(const sc_roster_t *r)
{
    apr_size_t n = 0;
    apr_size_t i;

    for (i = 0; i < r->n; i++) {
        n += !r->entry[i].m.ours;
    }
    return n;
}

static entry_t *put_in(sc_roster_t *r, const sc_member_t *m)
{
    char name[SC_MEMBER_NAME];
    entry_t *e;

    if (!m->ours && count_foreign(r) >= SC_FOREIGN_MAX) {
        if (sc_log_allowed(&r->foreign_log, now_of(r), LOG_INTERVAL, NULL)) {
            sc_log(r->self->env->log, SC_LOG_WARNING, 0,
                   "SC0425: member %s is left out: there are %d without this cluster's mark "
                   "already",
                   sc_member_name(m, name), SC_FOREIGN_MAX);
        }
        return NULL;
    }
    if (r->n == ENTRIES_MAX) {
        if (sc_log_allowed(&r->full_log, now_of(r), LOG_INTERVAL, NULL)) {
            sc_log(r->self->env->log, SC_LOG_ERROR, 0,
                   "SC0421: member %s is left out: there are %d members already, this one "
                   "included",
                   sc_member_name(m, name), SC_MEMBERS_MAX);
        }
        return NULL;
    }
    e = &r->entry[r->n++];
    memset(e, 0, sizeof(*e));
    e->m = *m;
    e->heard = now_of(r);
    return e;
}

/* ---- conflicts ------------------------------------------------------------------------------ */

static void log_two(sc_roster_t *r, sc_log_limit_t *limit, const char *what, const sc_member_t *a,
                    const sc_member_t *b, const char *advice)
{
    char one[SC_MEMBER_NAME];
    char two[SC_MEMBER_NAME];

    if (sc_log_allowed(limit, now_of(r), LOG_INTERVAL, NULL)) {
        sc_log(r->self->env->log, SC_LOG_ERROR, 0, "%s: %s and %s; %s", what,
               sc_member_name(a, one), sc_member_name(b, two), advice);
    }
}

/** Whether the member is, or claims to be, this node. */
static int is_self(sc_roster_t *r, const sc_member_t *m)
{
    const sc_member_t *local = r->self->local;

    if (same_uid(&m->uid, &local->uid)) {
        return 1;
    }
    if (!same_node(m, local)) {
        return 0;
    }
    /* another engine of this node is on its way out, which is soon over, or another node is
     * misconfigured */
    if (m->store_id != local->store_id && now_of(r) - r->created > drop_time(r)) {
        log_two(r, &r->address_log, "SC0422: two nodes announce the same address", local, m,
                "give each a receiver address that the others can reach "
                "(SessionClusterReceiver address=)");
    }
    return 1;
}

static int conflicts_with_self(sc_roster_t *r, const sc_member_t *m)
{
    if (!same_route(m, r->self->local)) {
        return 0;
    }
    log_two(r, &r->route_log, "SC0423: two nodes have the same route", r->self->local, m,
            "they do not take each other for members; give each its own SessionClusterRoute");
    return 1;
}

/**
 * Two other members have one route.
 * @return 1: the known one stays, the new one is left out
 */
static int loses_against(sc_roster_t *r, const sc_member_t *m, entry_t *known)
{
    apr_time_t now = now_of(r);

    /* a node that moved to another port: the old entry will expire, no reason to alarm anybody */
    if (now - known->heard > 2 * frequency(r)) {
        return 1;
    }
    log_two(r, &r->route_log, "SC0424: two nodes have the same route", &known->m, m,
            "only the older is taken for a member; give each its own SessionClusterRoute");
    return started(m, now) + AGE_MARGIN >= started(&known->m, known->heard);
}

/* ---- hearing -------------------------------------------------------------------------------- */

static int has_departed(const sc_roster_t *r, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < DEPARTED_MAX; i++) {
        if (r->departed[i].until > now_of(r) && same_uid(&r->departed[i].uid, &m->uid)) {
            return 1;
        }
    }
    return 0;
}

static int same_domain(const sc_member_t *a, const sc_member_t *b)
{
    return a->domain_len == b->domain_len && memcmp(a->domain, b->domain, a->domain_len) == 0;
}

/** A known member speaks again. @return 0: it is not what it was, take it as new */
static int heard_again(sc_roster_t *r, entry_t *e, const sc_member_t *m, apr_uint64_t said)
{
    int changed;

    if (m->alive_ms <= e->m.alive_ms) {
        if (r->newcomers == NULL) {
            e->heard = now_of(r);
        }
        return 1; /* said before what we know already: with a secret perhaps a recording */
    }
    e->heard = now_of(r);
    if (m->role != e->m.role || m->store_id != e->m.store_id || strcmp(m->route, e->m.route) != 0) {
        return 0;
    }
    changed = m->node_state != e->m.node_state || m->version != e->m.version ||
              m->flags != e->m.flags || !same_domain(m, &e->m) || strcmp(m->url, e->m.url) != 0 ||
              m->weight != e->m.weight || m->lbset != e->m.lbset || m->bad_url != e->m.bad_url;
    e->m = *m;
    e->said = said;
    if (changed && e->reported) {
        r->self->up.changed(r->self->up.baton, m);
    }
    return 1;
}

/* The clock may have been set back between the two lives; then the old one will not be heard. */
static int spoke_before(const sc_roster_t *r, apr_uint64_t said, const entry_t *known)
{
    return said != 0 && said < known->said && now_of(r) - known->heard <= 2 * frequency(r);
}

/** Whether it is what is left of a former life of a known member. */
static int is_remnant(const sc_roster_t *r, const sc_member_t *m, apr_uint64_t said)
{
    apr_size_t i;

    for (i = 0; i < r->n; i++) {
        const entry_t *e = &r->entry[i];

        if (same_node(&e->m, m) &&
            ((e->has_former && same_uid(&e->former, &m->uid)) || spoke_before(r, said, e))) {
            return 1;
        }
    }
    return 0;
}

/** Make room for a member that was not known: its former lives go.
 *  @param former receives the unique id of one of them @return 1: there was one */
static int replace_former(sc_roster_t *r, const sc_member_t *m, sc_uid_t *former)
{
    int found = 0;
    apr_size_t i = 0;

    while (i < r->n) {
        if (same_node(&r->entry[i].m, m)) {
            *former = r->entry[i].m.uid;
            found = 1;
            take_out(r, &r->entry[i], 0);
            i = 0; /* whoever was told may have changed the table */
        } else {
            i++;
        }
    }
    return found;
}

static entry_t *find_route(sc_roster_t *r, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < r->n; i++) {
        if (same_route(&r->entry[i].m, m)) {
            return &r->entry[i];
        }
    }
    return NULL;
}

/** It is there, as far as can be known: whoever is in its way goes, or it is left out. */
static void admit(sc_roster_t *r, const sc_member_t *m, apr_uint64_t said)
{
    sc_uid_t former;
    int has_former = replace_former(r, m, &former);
    entry_t *e = find_route(r, m);

    if (e != NULL) {
        if (loses_against(r, m, e)) {
            return;
        }
        take_out(r, e, 0);
    }
    e = put_in(r, m);
    if (e != NULL) {
        e->said = said;
        e->has_former = has_former;
        if (has_former) {
            e->former = former;
        }
        report_added(r, e);
    }
}

/** Who would have to make place for it, or keeps it out. */
static entry_t *rival_of(sc_roster_t *r, const sc_member_t *m, int *same)
{
    apr_size_t i;

    for (i = 0; i < r->n; i++) {
        if (same_node(&r->entry[i].m, m)) {
            *same = 1;
            return &r->entry[i];
        }
    }
    *same = 0;
    return find_route(r, m);
}

static void newcomer_answered(void *baton, const sc_newcomer_t *n, int lives, int rival_lives)
{
    char name[SC_MEMBER_NAME];
    char rival[SC_MEMBER_NAME];
    sc_roster_t *r = baton;
    entry_t *e;

    if (!lives) {
        SC_CHAIN_COUNT(r->self->env, newcomers_refused);
        if (sc_log_allowed(&r->silent_log, now_of(r), LOG_INTERVAL, NULL)) {
            sc_log(r->self->env->log, SC_LOG_WARNING, 0,
                   "SC0426: member %s, which would take the place of %s, was heard but does not "
                   "answer: it is left out (somebody plays what it said before, or only its "
                   "datagrams come through)",
                   sc_member_name(&n->m, name), sc_member_name(&n->rival, rival));
        }
        return;
    }
    if (find(r, &n->m) != NULL || is_remnant(r, &n->m, n->said)) {
        return; /* things have changed meanwhile */
    }
    e = rival_lives ? NULL : find(r, &n->rival);
    if (e != NULL) {
        take_out(r, e, 0);
    }
    admit(r, &n->m, n->said);
}

static void heard_first(sc_roster_t *r, const sc_member_t *m, apr_uint64_t said)
{
    sc_newcomer_t newcomer;
    entry_t *rival;
    int same;

    if (conflicts_with_self(r, m) || is_remnant(r, m, said)) {
        return;
    }
    rival = r->newcomers != NULL ? rival_of(r, m, &same) : NULL;
    if (rival == NULL) {
        admit(r, m, said);
        return;
    }
    newcomer.m = *m;
    newcomer.said = said;
    newcomer.rival = rival->m;
    /* of two lives at one address only one can answer */
    sc_newcomers_ask(r->newcomers, &newcomer, !same);
}

void sc_roster_heard(sc_roster_t *r, const sc_member_t *m, apr_uint64_t said)
{
    entry_t *e;

    if (is_self(r, m) || !sc_member_usable(m)) {
        return;
    }
    if (sc_member_leaving(m)) {
        sc_roster_goodbye(r, m);
        return;
    }
    if (has_departed(r, m)) {
        return;
    }
    e = find(r, m);
    if (e != NULL) {
        if (heard_again(r, e, m, said)) {
            return;
        }
        take_out(r, e, 0);
    }
    heard_first(r, m, said);
}

/* What was sent before the good-bye may come after it; for a while it raises nobody from the dead.
 * Not for ever, because anybody can say good-bye in another's name. */
void sc_roster_goodbye(sc_roster_t *r, const sc_member_t *m)
{
    entry_t *e = find(r, m);

    if (e != NULL) {
        departed_t *d = &r->departed[r->next_departed++ % DEPARTED_MAX];

        d->uid = m->uid;
        d->until = now_of(r) + 2 * drop_time(r);
        take_out(r, e, 1);
    }
}

void sc_roster_vacate(sc_roster_t *r, const sc_member_t *at)
{
    apr_size_t i = 0;

    while (i < r->n) {
        if (sc_member_same_address(&r->entry[i].m, at)) {
            take_out(r, &r->entry[i], 0);
            i = 0;
        } else {
            i++;
        }
    }
}

void sc_roster_expire(sc_roster_t *r)
{
    apr_time_t now = now_of(r);
    apr_size_t i = 0;

    /* This process was stopped, not the others: what they said meanwhile is still to be read. */
    if (r->checked != 0 && now - r->checked > 2 * frequency(r) + drop_time(r) / 2) {
        r->forgiving = now + 2 * frequency(r);
    }
    r->checked = now;
    if (now < r->forgiving) {
        return;
    }
    while (i < r->n) {
        if (now - r->entry[i].heard > drop_time(r)) {
            take_out(r, &r->entry[i], 0);
            i = 0;
        } else {
            i++;
        }
    }
}

/* ---- the rest ------------------------------------------------------------------------------- */

sc_roster_t *sc_roster_create(sc_membership_t *self, apr_pool_t *pool)
{
    sc_roster_t *r = apr_pcalloc(pool, sizeof(*r));

    if (r != NULL) {
        r->self = self;
        r->created = now_of(r);
    }
    return r;
}

void sc_roster_hold(sc_roster_t *r)
{
    r->held = 1;
}

void sc_roster_release(sc_roster_t *r)
{
    apr_size_t i;

    r->held = 0;
    sc_roster_expire(r);
    for (i = 0; i < r->n; i++) {
        if (!r->entry[i].reported) {
            report_added(r, &r->entry[i]);
            i = (apr_size_t)-1; /* from the start again: the table may have changed */
        }
    }
}

void sc_roster_clear(sc_roster_t *r)
{
    r->n = 0;
    if (r->newcomers != NULL) {
        sc_newcomers_clear(r->newcomers);
    }
}

apr_status_t sc_roster_doubt(sc_roster_t *r, apr_pool_t *pool)
{
    r->newcomers = sc_newcomers_create(r->self->env, newcomer_answered, r, pool);
    return r->newcomers != NULL ? APR_SUCCESS : APR_ENOMEM;
}

void sc_roster_drop(sc_roster_t *r, const sc_member_t *m)
{
    entry_t *e = find(r, m);

    if (e != NULL) {
        *e = r->entry[--r->n];
    }
}

apr_time_t sc_roster_last_heard(const sc_roster_t *r, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < r->n; i++) {
        if (sc_member_same(&r->entry[i].m, m)) {
            return r->entry[i].heard;
        }
    }
    return 0;
}

void sc_roster_set_alive(sc_membership_t *self, apr_time_t since)
{
    apr_time_t ms = apr_time_as_msec(sc_mono(self->env->clock) - since);
    apr_uint64_t next = self->local->alive_ms + 1;

    self->local->alive_ms = ms > 0 && (apr_uint64_t)ms > next ? (apr_uint64_t)ms : next;
}
