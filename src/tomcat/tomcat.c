/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The room put together: group and list -> members -> view, and questions; answers -> table ->
 * store.
 */
#include <string.h>

#include "internal.h"

struct sc_tomcat_t {
    sc_tomcat_env_t env;
    sc_tc_members_t members;
    sc_tc_group_t group;
    sc_tc_table_t table;
    sc_tc_poll_t *poll;
};

static void members_changed(void *baton)
{
    sc_tomcat_t *t = baton;

    sc_tc_poll_all(t->poll);
    t->env.changed(t->env.baton);
}

apr_status_t sc_tomcat_create(sc_tomcat_t **tomcat, const sc_tomcat_env_t *env, apr_pool_t *pool)
{
    sc_tomcat_t *t = apr_pcalloc(pool, sizeof(*t));
    apr_status_t rv;

    t->env = *env;
    sc_tc_members_init(&t->members, &t->env, pool);
    t->members.changed = members_changed;
    t->members.baton = t;
    rv = sc_tc_table_init(&t->table, &t->env);
    if (rv == APR_SUCCESS) {
        t->poll = sc_tc_poll_create(&t->env, &t->members, &t->table, pool);
        rv = t->poll != NULL ? APR_SUCCESS : APR_EGENERAL;
    }
    *tomcat = t;
    return rv;
}

void sc_tomcat_start(sc_tomcat_t *t)
{
    sc_tc_members_start(&t->members);
    sc_tc_poll_start(t->poll);
    if (t->env.config->tomcat.group) {
        sc_tc_group_start(&t->group, &t->env, &t->members, t->members.pool);
    }
}

void sc_tomcat_close(sc_tomcat_t *t)
{
    sc_tc_group_close(&t->group);
    sc_tc_poll_close(t->poll);
    sc_tc_members_close(&t->members);
}

void sc_tomcat_view(const sc_tomcat_t *t, sc_view_t *view)
{
    for (int i = 0; i < SC_MEMBERS_MAX && view->count < SC_MEMBERS_MAX; i++) {
        const sc_tc_member_t *m = &t->members.at[i];
        sc_board_member_t *b = &view->member[view->count];

        if (m->standing != SC_TC_ALIVE && m->standing != SC_TC_GONE) {
            continue;
        }
        view->count++;
        memcpy(b->route, m->route, sizeof(b->route));
        memcpy(b->host, m->host, sizeof(b->host));
        memcpy(b->domain, m->domain, sizeof(b->domain));
        b->uid = m->key.uid;
        b->port = (apr_uint32_t)m->key.port;
        b->role = SC_ROLE_NODE;
        b->state = m->standing == SC_TC_ALIVE ? SC_MEMBER_ALIVE : SC_MEMBER_GONE;
        b->node_state = SC_NODE_READY;
        b->foreign = 1;
        b->since = m->since;
        b->heard = m->heard;
    }
}

int sc_tomcat_settled(const sc_tomcat_t *t)
{
    return t->members.started != 0 && sc_mono(t->env.clock) - t->members.started >=
                                          apr_time_from_msec(t->env.config->tomcat.drop_ms);
}
