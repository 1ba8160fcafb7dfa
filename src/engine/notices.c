/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the status page tells of the past: notices about members, told by what differs between a
 * view and the one before it, and rates, by what the counters were some seconds ago.
 *
 * Views are compared and not the layers below asked, because all kinds of members end in them:
 * those of the channel, foreign ones, Tomcats that are only followed; and because the last view of
 * an engine that died is still there for its successor to be compared with.
 */
#include <string.h>

#include <apr_strings.h>

#include "notices.h"

static int is_zero(const sc_uid_t *uid)
{
    static const sc_uid_t zero;

    return memcmp(uid, &zero, sizeof(zero)) == 0;
}

/* One life of a member. Tomcats that are on a list and have not been heard have no unique id. */
static int is_same(const sc_board_member_t *a, const sc_board_member_t *b)
{
    if (is_zero(&a->uid) || is_zero(&b->uid)) {
        return a->port == b->port && strcmp(a->host, b->host) == 0 &&
               strcmp(a->route, b->route) == 0;
    }
    return memcmp(&a->uid, &b->uid, sizeof(a->uid)) == 0;
}

static const sc_board_member_t *find(const sc_view_t *view, const sc_board_member_t *m)
{
    apr_uint32_t i;

    for (i = 0; i < view->count; i++) {
        if (is_same(&view->member[i], m)) {
            return &view->member[i];
        }
    }
    return NULL;
}

/* Its route, or its address when it has none. */
static const char *name_of(const sc_board_member_t *m, char out[SC_HOST_MAX + 8])
{
    int v6 = strchr(m->host, ':') != NULL;

    if (m->self) {
        return NULL;
    }
    if (m->route[0] != '\0') {
        return m->route;
    }
    apr_snprintf(out, SC_HOST_MAX + 8, "%s%s%s:%u", v6 ? "[" : "", m->host, v6 ? "]" : "", m->port);
    return out;
}

static sc_notice_kind_t kind_of_state(apr_uint32_t node_state)
{
    switch (node_state) {
    case SC_NODE_JOINING:
        return SC_NOTICE_joining;
    case SC_NODE_READY:
        return SC_NOTICE_ready;
    case SC_NODE_LEAVING:
        return SC_NOTICE_leaving;
    case SC_NODE_MINORITY:
        return SC_NOTICE_minority;
    case SC_NODE_DRAINING:
        return SC_NOTICE_draining;
    default:
        return SC_NOTICE_NONE;
    }
}

/* @param was NULL: it is new */
static sc_notice_kind_t judge(const sc_board_member_t *was, const sc_board_member_t *is)
{
    if (is->state == SC_MEMBER_GONE) {
        return was != NULL && was->state != SC_MEMBER_GONE ? SC_NOTICE_gone : SC_NOTICE_NONE;
    }
    if (was == NULL || was->state == SC_MEMBER_GONE) {
        return is->self ? SC_NOTICE_NONE : SC_NOTICE_joined;
    }
    if (was->state != is->state) {
        return is->state == SC_MEMBER_SUSPECT ? SC_NOTICE_suspected : SC_NOTICE_recovered;
    }
    return SC_NOTICE_NONE;
}

static void look_at(sc_notices_t *ring, apr_time_t wall, const sc_board_member_t *was,
                    const sc_board_member_t *is, const sc_uid_t *goodbye)
{
    char name[SC_HOST_MAX + 8];
    sc_notice_kind_t kind = judge(was, is);

    if (kind == SC_NOTICE_gone && memcmp(&is->uid, goodbye, sizeof(is->uid)) == 0 &&
        !is_zero(goodbye)) {
        kind = SC_NOTICE_left;
    }
    if (kind != SC_NOTICE_NONE) {
        sc_notice_add(ring, wall, kind, name_of(is, name), 0);
    }
    if (is->state == SC_MEMBER_GONE || is->foreign || is->role != SC_ROLE_NODE ||
        (was != NULL && was->node_state == is->node_state)) {
        return;
    }
    kind = kind_of_state(is->node_state);
    if (kind != SC_NOTICE_NONE) {
        sc_notice_add(ring, wall, kind, name_of(is, name), 0);
    }
}

/* One that is not in the new view at all: it had no route, or another life of it is there. */
static void look_at_missing(sc_notices_t *ring, apr_time_t wall, const sc_board_member_t *was,
                            const sc_uid_t *goodbye)
{
    sc_board_member_t is = *was;

    if (!was->self) {
        is.state = SC_MEMBER_GONE;
        look_at(ring, wall, was, &is, goodbye);
    }
}

void sc_notices_of_views(sc_notices_t *ring, apr_time_t wall, const sc_view_t *before,
                         const sc_view_t *after, const sc_uid_t *goodbye)
{
    apr_uint32_t i;

    for (i = 0; i < before->count; i++) {
        if (find(after, &before->member[i]) == NULL) {
            look_at_missing(ring, wall, &before->member[i], goodbye);
        }
    }
    for (i = 0; i < after->count; i++) {
        look_at(ring, wall, find(before, &after->member[i]), &after->member[i], goodbye);
    }
}

/* ---- rates ----------------------------------------------------------------------------------- */

void sc_samples_take(sc_samples_t *s, sc_board_t *board, apr_time_t now)
{
    sc_rates_t *last = &s->at[s->taken % (SC_SAMPLES + 1)];
    const sc_rates_t *first;

    last->span = (apr_uint64_t)now;
#define SC_X(name) last->name = sc_board_get(board->count.name);
    SC_RATES(SC_X)
#undef SC_X
    s->taken++;
    /* the place that is written next is that of the oldest one */
    first = s->taken > SC_SAMPLES ? &s->at[s->taken % (SC_SAMPLES + 1)] : &s->at[0];
#define SC_X(name) sc_board_set(board->rates.name, last->name - first->name);
    SC_RATES(SC_X)
#undef SC_X
    sc_board_set(board->rates.span, last->span - first->span);
}
