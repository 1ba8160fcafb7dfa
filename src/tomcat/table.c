/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is made of locations: records in the store that have a place and nothing else.
 *
 * A record remembers in its stamp, which such a record has no other use for, since which change of
 * the members it stands and who told it: nobody in the cluster orders what several Tomcats say of
 * one session, but its primary knows best, then its backup.
 */
#include <string.h>

#include "internal.h"

enum { TOLD_BY_OTHER = 1, TOLD_BY_BACKUP, TOLD_BY_PRIMARY };

/* Intervals that a location stays without being confirmed. */
#define STAY 3

static apr_time_t stay_until(const sc_tc_table_t *t)
{
    const sc_config_tomcat_t *c = &t->env->config->tomcat;

    return sc_mono(t->env->clock) + STAY * t->pause + apr_time_from_msec(c->timeout_ms);
}

/* Place of a member's route in the store's table; SC_ROUTE_NONE: it has none. */
static apr_uint16_t route_of(const sc_tc_table_t *t, const sc_tc_member_t *m)
{
    apr_uint16_t route = SC_ROUTE_NONE;

    if (m == NULL || !m->route[0] ||
        sc_store_route(t->env->store, m->route, strlen(m->route), 1, &route) != APR_SUCCESS) {
        return SC_ROUTE_NONE;
    }
    return route;
}

static const sc_tc_member_t *member_at(const sc_tc_members_t *members, const sc_state_t *answer,
                                       apr_byte_t index)
{
    return index == SC_JNOBODY ? NULL : sc_tc_members_find(members, &answer->s.member[index]);
}

/* @return who of the holders told it; 0: nobody who holds it is known here */
static apr_uint32_t fill(const sc_tc_table_t *t, const sc_tc_members_t *members,
                         const sc_tc_member_t *teller, const sc_state_t *answer,
                         const sc_location_t *location, sc_record_t *rec)
{
    const sc_tc_member_t *m = member_at(members, answer, location->primary);
    apr_uint32_t told = m != NULL && m == teller ? TOLD_BY_PRIMARY : TOLD_BY_OTHER;
    int n = 0;

    rec->primary = route_of(t, m);
    for (int i = 0; i < location->nbackups; i++) {
        apr_uint16_t route;

        m = member_at(members, answer, location->backup[i]);
        route = route_of(t, m);
        if (route != SC_ROUTE_NONE && n < SC_BACKUPS_MAX) {
            rec->backups[n++] = route;
        }
        if (m != NULL && m == teller && told == TOLD_BY_OTHER) {
            told = TOLD_BY_BACKUP;
        }
    }
    return rec->primary != SC_ROUTE_NONE || n > 0 ? told : 0;
}

static int same_place(const sc_record_t *a, const sc_record_t *b)
{
    return a->primary == b->primary && memcmp(a->backups, b->backups, sizeof(a->backups)) == 0;
}

static void put(sc_tc_table_t *t, sc_record_t *rec)
{
    apr_uint64_t more = 0;

    if (sc_store_put(t->env->store, rec, NULL, 0) == APR_ENOSPC &&
        sc_log_allowed(&t->full_log, sc_loop_now(t->env->loop), SC_TC_COMPLAIN, &more)) {
        sc_log(
            t->env->log, SC_LOG_WARNING, 0,
            "SC0807: the store is full, so it is not known where all sessions of the Tomcats are "
            "(SessionClusterMemory; %" APR_UINT64_T_FMT " more before)",
            more);
    }
}

void sc_tc_table_enter(sc_tc_table_t *t, apr_uint32_t map, const sc_tc_members_t *members,
                       const sc_tc_member_t *teller, const sc_state_t *answer,
                       const sc_location_t *location)
{
    sc_record_t rec, before;

    memset(&rec, 0, sizeof(rec));
    rec.context = t->context[map];
    rec.flags = SC_REC_PROXY;
    rec.created = rec.accessed = sc_mono(t->env->clock);
    rec.due = stay_until(t);
    rec.stamp.hlc = t->era;
    rec.stamp.node = fill(t, members, teller, answer, location, &rec);
    if (rec.stamp.node == 0 || location->id == NULL ||
        sc_id_parse(&rec.id, (const char *)location->id, location->id_len) != APR_SUCCESS) {
        sc_count(sc_store_board(t->env->store), tomcat_ignored, 1);
        return;
    }
    if (sc_store_get(t->env->store, rec.context, &rec.id, &before, NULL) != APR_SUCCESS ||
        before.stamp.hlc != rec.stamp.hlc || before.stamp.node < rec.stamp.node ||
        (before.stamp.node == rec.stamp.node && !same_place(&before, &rec))) {
        put(t, &rec);
    } else if (same_place(&before, &rec)) {
        (void)sc_store_touch(t->env->store, rec.context, &rec.id, rec.accessed, rec.due);
    }
}

apr_status_t sc_tc_table_init(sc_tc_table_t *t, const sc_tomcat_env_t *env)
{
    const sc_config_tomcat_t *c = &env->config->tomcat;
    apr_status_t rv = APR_SUCCESS;

    t->env = env;
    t->pause = apr_time_from_msec(c->interval_ms);
    /* so that what an earlier engine of this store has entered is of another time */
    t->era = (apr_uint32_t)apr_time_sec(sc_mono(env->clock));
    for (apr_uint32_t i = 0; i < c->nmaps && rv == APR_SUCCESS; i++) {
        char name[SC_CONTEXT_MAX + 1] = SC_TOMCAT_CONTEXT;

        memcpy(name + strlen(name), c->map[i], strlen(c->map[i]) + 1);
        rv = sc_store_context(env->store, name, strlen(name), 1, &t->context[i]);
    }
    return rv;
}
