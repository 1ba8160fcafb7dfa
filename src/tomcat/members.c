/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who is there. A member is known by its address: a Tomcat that was restarted has another unique
 * id, and is the same one to a balancer.
 *
 * A heartbeat is a sign of life; who is not heard for half of dropTime, and who is only on the
 * list, is asked. What is asked is Tribes' probe with the wish for an acknowledgement, which a
 * process that hangs cannot give, although its kernel accepts connections for it.
 *
 * Datagrams are anybody's, as they are among Tomcats: whoever reaches the group can say that
 * members come and go. What they can do here is bounded: so many members, so many questions.
 */
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define TICKS 4 /* in the shorter one of frequency and dropTime */
#define TICK_MIN_MS 20
#define ASK_MAX apr_time_from_sec(2)
/* Members that nobody configured and no worker stands for. */
#define STRANGERS_MAX 16

static const unsigned char probe_text[64] = {
    0x4F, 0xA7, 0x73, 0x48, 0x79, 0x82, 0x43, 0xC9, 0x9F, 0x6F, 0x89, 0x80, 0xA1, 0x5B, 0x07, 0x14,
    0x7D, 0xD9, 0x52, 0x5B, 0xEB, 0xF1, 0x43, 0x9A, 0xB7, 0x7E, 0xBE, 0x8F, 0x81, 0x67, 0x1E, 0xB6,
    0x37, 0x15, 0xBE, 0x87, 0x45, 0x7E, 0x4C, 0xA8, 0xBF, 0x0A, 0x4D, 0x13, 0x53, 0x38, 0x15, 0x32,
    0x55, 0xF6, 0x94, 0xB7, 0x3A, 0xFA, 0x40, 0x78, 0x91, 0x04, 0x7D, 0xD7, 0x72, 0x84, 0xC0, 0xD5};

static const sc_config_tomcat_t *conf(const sc_tc_members_t *t)
{
    return &t->env->config->tomcat;
}

static apr_interval_time_t frequency(const sc_tc_members_t *t)
{
    return apr_time_from_msec(conf(t)->frequency_ms);
}

static apr_interval_time_t drop_time(const sc_tc_members_t *t)
{
    return apr_time_from_msec(conf(t)->drop_ms);
}

static const char *name_of(const sc_tc_member_t *m, char out[SC_MEMBER_NAME])
{
    sc_member_t named = m->key;

    memcpy(named.route, m->route, sizeof(named.route));
    return sc_member_name(&named, out);
}

/* ---- routes ---------------------------------------------------------------------------------- */

static const char *listed_route(const sc_config_tomcat_t *c, const sc_tc_member_t *m)
{
    for (apr_uint32_t i = 0; i < c->nmembers; i++) {
        if (c->member[i].port == (apr_uint32_t)m->key.port &&
            strcmp(c->member[i].host, m->host) == 0) {
            return c->member[i].route;
        }
    }
    return "";
}

/* The one route that workers at its address have. */
static const char *worker_route(const sc_tc_members_t *t, const sc_tc_member_t *m)
{
    const sc_config_tomcat_t *c = conf(t);
    const char *route = "";

    for (int i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_tc_member_t *other = &t->at[i];

        if (other != m && other->standing != SC_TC_FREE && strcmp(other->host, m->host) == 0) {
            return "";
        }
    }
    for (apr_uint32_t i = 0; i < c->nworkers; i++) {
        if (strcmp(c->worker[i].host, m->host) != 0) {
            continue;
        }
        if (route[0] && strcmp(route, c->worker[i].route) != 0) {
            return "";
        }
        route = c->worker[i].route;
    }
    return route;
}

/* A member that comes may make it unclear which one another is. */
static void find_routes(sc_tc_members_t *t)
{
    for (int i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_tc_member_t *m = &t->at[i];
        const char *route;

        if (m->standing == SC_TC_FREE) {
            continue;
        }
        route = listed_route(conf(t), m);
        route = route[0] ? route : worker_route(t, m);
        memset(m->route, 0, sizeof(m->route));
        memcpy(m->route, route, strlen(route));
    }
}

static void complain_route(sc_tc_members_t *t, const sc_tc_member_t *m)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    if (sc_log_allowed(&t->route_log, sc_loop_now(t->env->loop), SC_TC_COMPLAIN, &more)) {
        sc_log(
            t->env->log, SC_LOG_WARNING, 0,
            "SC0803: Tomcat %s has no route here: there is no worker at its address, or more than "
            "one or another Tomcat; say SessionClusterTomcat member=%s:%d:ROUTE "
            "(%" APR_UINT64_T_FMT " more before)",
            name_of(m, name), m->host, m->key.port, more);
    }
}

/* ---- standing -------------------------------------------------------------------------------- */

static void set_standing(sc_tc_member_t *m, sc_tc_standing_t standing, const char *why)
{
    sc_tc_members_t *t = m->of;
    char name[SC_MEMBER_NAME];

    m->standing = standing;
    m->since = sc_mono(t->env->clock);
    if (standing == SC_TC_ALIVE) {
        sc_log(t->env->log, SC_LOG_NOTICE, 0, "SC0801: Tomcat %s is there", name_of(m, name));
        if (!m->route[0]) {
            complain_route(t, m);
        }
    } else {
        sc_log(t->env->log, SC_LOG_NOTICE, 0, "SC0802: Tomcat %s %s", name_of(m, name), why);
    }
    t->changed(t->baton);
}

static void alive(sc_tc_member_t *m)
{
    m->heard = sc_mono(m->of->env->clock);
    if (m->standing != SC_TC_ALIVE) {
        set_standing(m, SC_TC_ALIVE, NULL);
    }
}

static void gone(sc_tc_member_t *m, const char *why)
{
    sc_tc_link_close(&m->link);
    if (m->standing == SC_TC_ALIVE || m->standing == SC_TC_UNKNOWN) {
        set_standing(m, SC_TC_GONE, why);
    }
}

static void know_uid(sc_tc_member_t *m, const sc_uid_t *uid)
{
    sc_tc_members_t *t = m->of;
    int other = m->has_uid && memcmp(&m->key.uid, uid, sizeof(*uid)) != 0;

    m->key.uid = *uid;
    m->has_uid = 1;
    if (other) { /* restarted; what was its is elsewhere now */
        memset(m->rest_to, 0, sizeof(m->rest_to));
    }
    if (other && m->standing == SC_TC_ALIVE) {
        m->since = sc_mono(t->env->clock);
        t->changed(t->baton);
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

static sc_tc_member_t *find(sc_tc_members_t *t, const sc_member_t *who)
{
    for (int i = 0; i < SC_MEMBERS_MAX; i++) {
        if (t->at[i].standing != SC_TC_FREE && sc_member_same_address(&t->at[i].key, who)) {
            return &t->at[i];
        }
    }
    return NULL;
}

/* @return a free place, that of a stranger who has gone, or NULL */
static sc_tc_member_t *place_for_one(sc_tc_members_t *t)
{
    sc_tc_member_t *unused = NULL, *left = NULL;
    int strangers = 0;

    for (int i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_tc_member_t *m = &t->at[i];

        if (m->standing == SC_TC_FREE) {
            unused = unused != NULL ? unused : m;
            continue;
        }
        strangers += !m->listed && !m->route[0];
        if (m->standing == SC_TC_GONE && !m->listed && (left == NULL || m->since < left->since)) {
            left = m;
        }
    }
    return unused != NULL && strangers < STRANGERS_MAX ? unused : left;
}

static sc_tc_member_t *enter(sc_tc_members_t *t, const sc_member_t *who)
{
    sc_tc_member_t *m = place_for_one(t);

    if (m == NULL) {
        if (sc_log_allowed(&t->full_log, sc_loop_now(t->env->loop), SC_TC_COMPLAIN, NULL)) {
            sc_log(t->env->log, SC_LOG_WARNING, 0,
                   "SC0804: more Tomcats are on the group than can be followed, or more than %d "
                   "without a worker here; the others are ignored",
                   STRANGERS_MAX);
        }
        return NULL;
    }
    sc_tc_link_close(&m->link);
    memset(m, 0, sizeof(*m));
    m->of = t;
    m->standing = SC_TC_UNKNOWN;
    m->key.host_len = who->host_len;
    memcpy(m->key.host, who->host, sizeof(m->key.host));
    m->key.port = who->port;
    sc_member_host(&m->key, m->host);
    find_routes(t);
    return m;
}

const sc_tc_member_t *sc_tc_members_find(const sc_tc_members_t *t, const sc_jmember_t *who)
{
    for (int i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_tc_member_t *m = &t->at[i];

        if (m->standing != SC_TC_FREE && m->key.port == who->port &&
            m->key.host_len == who->host_len &&
            memcmp(m->key.host, who->host, who->host_len) == 0) {
            return !m->has_uid || memcmp(&m->key.uid, &who->uid, sizeof(who->uid)) == 0 ? m : NULL;
        }
    }
    return NULL;
}

/* ---- heard ----------------------------------------------------------------------------------- */

static void malformed(sc_tc_members_t *t, apr_size_t len)
{
    apr_uint64_t more = 0;

    sc_count(sc_store_board(t->env->store), datagrams_refused, 1);
    if (sc_log_allowed(&t->malformed_log, sc_loop_now(t->env->loop), SC_TC_COMPLAIN, &more)) {
        sc_log(t->env->log, SC_LOG_WARNING, 0,
               "SC0805: a datagram of %" APR_SIZE_T_FMT " bytes on the Tomcats' group %s:%u is no "
               "member's (%" APR_UINT64_T_FMT " more before)",
               len, conf(t)->address, conf(t)->port, more);
    }
}

void sc_tc_members_datagram(sc_tc_members_t *t, const void *bytes, apr_size_t len)
{
    sc_tc_member_t *m;
    sc_member_t who;
    apr_size_t used;
    apr_status_t rv;

    if (sc_frame_is(bytes, len)) {
        return; /* a message that they broadcast (tribes-protocol 1.7) */
    }
    rv = sc_member_get(&who, bytes, len, &used);
    if ((rv != APR_SUCCESS && rv != APR_ENOSPC) || !sc_member_usable(&who)) {
        malformed(t, len);
        return;
    }
    if (who.ours) {
        return;
    }
    m = find(t, &who);
    if (sc_member_leaving(&who)) {
        /* not that of a former life, which comes late */
        if (m != NULL && (!m->has_uid || sc_member_same(&m->key, &who))) {
            m->ask_at = sc_mono(t->env->clock) + drop_time(t);
            m->beat = 0;
            gone(m, "left");
        }
        return;
    }
    m = m != NULL ? m : enter(t, &who);
    if (m != NULL) {
        know_uid(m, &who.uid);
        sc_member_domain(&who, m->domain);
        m->beat = sc_mono(t->env->clock);
        m->ask_at = m->standing == SC_TC_ALIVE ? m->ask_at : 0;
        alive(m);
    }
}

void sc_tc_members_answered(sc_tc_members_t *t, sc_tc_member_t *m, const sc_member_t *said)
{
    (void)t;
    if (m->standing != SC_TC_FREE && sc_member_same_address(&m->key, said)) {
        know_uid(m, &said->uid);
        if (m->standing == SC_TC_ALIVE) { /* one that said good-bye may still answer */
            m->heard = sc_mono(m->of->env->clock);
        }
    }
}

/* ---- asked ----------------------------------------------------------------------------------- */

static void write_probe(void *baton, sc_buf_t *b, sc_member_t *from)
{
    const sc_tc_member_t *m = baton;
    sc_packet_t p;

    b->err = sc_tc_packet(m->of->env, &p, from, SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK);
    if (b->err == APR_SUCCESS) {
        p.body = probe_text;
        p.body_len = sizeof(probe_text);
        sc_frame_put(b, &p);
    }
}

static void probe_done(void *baton, apr_status_t rv)
{
    sc_tc_member_t *m = baton;

    if (rv == APR_SUCCESS) {
        alive(m);
    } else if (APR_STATUS_IS_ECONNREFUSED(rv)) {
        gone(m, "is gone: nobody listens where it did");
    }
}

static void ask(sc_tc_member_t *m, apr_time_t now)
{
    sc_tc_members_t *t = m->of;
    apr_interval_time_t bound = drop_time(t) / 2;
    apr_status_t rv;

    m->ask_at = now + frequency(t);
    rv = sc_tc_link_begin(&m->link, t->env, t->pool, m->host, m->key.port,
                          bound < ASK_MAX ? bound : ASK_MAX, write_probe, probe_done, m);
    if (rv != APR_SUCCESS) {
        probe_done(m, rv);
    }
}

/* Who is on the list is asked whether it has come. Who is heard need not be asked. */
static int to_be_asked(const sc_tc_member_t *m, apr_time_t now)
{
    apr_interval_time_t silent = now - m->heard;

    if (m->link.pool != NULL || now < m->ask_at) {
        return 0;
    }
    if (m->standing != SC_TC_ALIVE) {
        return m->listed;
    }
    return now - m->beat < drop_time(m->of) ? silent >= drop_time(m->of) / 2
                                            : silent >= frequency(m->of);
}

void sc_tc_members_tick(sc_tc_members_t *t, apr_time_t now)
{
    for (int i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_tc_member_t *m = &t->at[i];
        apr_time_t since = m->standing == SC_TC_UNKNOWN ? t->started : m->heard;

        if (m->standing == SC_TC_FREE) {
            continue;
        }
        if (m->standing != SC_TC_GONE && now - since >= drop_time(t)) {
            gone(m, m->standing == SC_TC_UNKNOWN ? "is not there" : "is gone: nothing heard of it");
        }
        if (to_be_asked(m, now)) {
            ask(m, now);
        }
    }
}

static void tick_due(void *baton, apr_time_t now)
{
    sc_tc_members_t *t = baton;
    apr_uint32_t ms =
        conf(t)->frequency_ms < conf(t)->drop_ms ? conf(t)->frequency_ms : conf(t)->drop_ms;

    ms = ms / TICKS > TICK_MIN_MS ? ms / TICKS : TICK_MIN_MS;
    (void)sc_timer_set(sc_loop_timers(t->env->loop), &t->tick, now + apr_time_from_msec(ms),
                       tick_due, t);
    sc_tc_members_tick(t, sc_mono(t->env->clock));
}

/* ---- life ------------------------------------------------------------------------------------ */

void sc_tc_members_init(sc_tc_members_t *t, const sc_tomcat_env_t *env, apr_pool_t *pool)
{
    const sc_config_tomcat_t *c = &env->config->tomcat;

    t->env = env;
    t->pool = pool;
    for (apr_uint32_t i = 0; i < c->nmembers && i < SC_MEMBERS_MAX; i++) {
        sc_member_t who;
        sc_tc_member_t *m;

        memset(&who, 0, sizeof(who));
        who.port = (apr_int32_t)c->member[i].port;
        if (sc_member_set_host(&who, c->member[i].host) == APR_SUCCESS && find(t, &who) == NULL &&
            (m = enter(t, &who)) != NULL) {
            m->listed = 1;
        }
    }
}

void sc_tc_members_start(sc_tc_members_t *t)
{
    t->started = sc_mono(t->env->clock);
    tick_due(t, sc_loop_now(t->env->loop));
}

void sc_tc_members_close(sc_tc_members_t *t)
{
    sc_timer_cancel(sc_loop_timers(t->env->loop), &t->tick);
    for (int i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_tc_link_close(&t->at[i].link);
    }
}
