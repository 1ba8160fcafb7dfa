/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Copies that are not to be here any more. One that differs from that of the new primary may have
 * something that nobody else has: it goes to the holders first, and is dropped when they have it.
 */
#include <stdlib.h>
#include <string.h>

#include "move.h"

#define LOST_MAX 4096
#define RETRY apr_time_from_msec(500)
#define TRIES_MAX 120

struct sc_lost_t {
    sc_lost_t *next;
    apr_uint64_t serial; /* of its posts */
    apr_uint16_t context;
    sc_id_t id;
    sc_stamp_t stamp; /* of the session when it was sent */
    apr_uint32_t posts;
    int failed;
    apr_uint32_t tries;
    apr_time_t due; /* to be sent again; 0: it is on its way */
};

static sc_lost_t **find(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_lost_t **link = &m->moves->lost;

    while (*link != NULL &&
           ((*link)->context != context || memcmp(&(*link)->id, id, sizeof(*id)) != 0)) {
        link = &(*link)->next;
    }
    return link;
}

int sc_lost_pending(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    return m->moves != NULL && m->moves->nlost > 0 && *find(m, context, id) != NULL;
}

static void forget(sc_manager_t *m, sc_lost_t *l)
{
    *find(m, l->context, &l->id) = l->next;
    m->moves->nlost--;
    free(l);
}

static void lost_due(void *baton, apr_time_t now);

static void again(sc_manager_t *m, sc_lost_t *l)
{
    l->due = sc_mgr_now(m) + RETRY;
    if (m->moves->lost_timer.index == 0) {
        (void)sc_timer_set(m->cfg.timers, &m->moves->lost_timer, l->due, lost_due, m);
    }
}

/* Whether a holder cannot be reached. */
static int some_away(sc_manager_t *m, const sc_record_t *rec)
{
    int i, away = sc_layout_peer(m, rec->primary) == NULL;

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        away |= sc_layout_peer(m, rec->backups[i]) == NULL;
    }
    return away;
}

/* All posts of one attempt have ended. */
static void ended(sc_manager_t *m, sc_lost_t *l)
{
    sc_record_t rec;

    if (sc_store_get(m->store, l->context, &l->id, &rec, NULL) != APR_SUCCESS ||
        (rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) || sc_layout_here(m, &rec)) {
        forget(m, l);
    } else if (l->failed || sc_stamp_cmp(&rec.stamp, &l->stamp) != 0) {
        again(m, l);
    } else {
        forget(m, l);
        (void)sc_place_only(m, &rec);
    }
}

static void body_ended(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t serial, apr_status_t rv)
{
    sc_lost_t *l = m->moves != NULL ? m->moves->lost : NULL;

    (void)peer;
    while (l != NULL && l->serial != serial) {
        l = l->next;
    }
    if (l != NULL && l->due == 0) {
        l->failed |= rv != APR_SUCCESS;
        l->posts -= l->posts > 0;
        if (l->posts == 0) {
            ended(m, l);
        }
    }
}

/* To those that hold it. @return APR_SUCCESS; APR_NOTFOUND: there is nothing to be sent any more */
static apr_status_t send_body(sc_manager_t *m, sc_lost_t *l)
{
    sc_record_t rec;
    apr_uint32_t i;

    if (sc_store_get(m->store, l->context, &l->id, &rec, &m->old) != APR_SUCCESS ||
        (rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) || sc_layout_here(m, &rec)) {
        return APR_NOTFOUND;
    }
    l->serial = ++m->moves->serial;
    l->stamp = rec.stamp;
    l->posts = 0;
    l->failed = some_away(m, &rec);
    l->due = 0;
    sc_mgr_msg_whole(m, &rec, &m->old);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && sc_layout_at(m, &rec, peer)) {
            if (sc_mgr_post(m, peer, body_ended, l->serial) == APR_SUCCESS) {
                l->posts++;
            } else {
                l->failed = 1;
            }
        }
    }
    if (l->posts == 0) {
        again(m, l);
    }
    return APR_SUCCESS;
}

static void lost_due(void *baton, apr_time_t now)
{
    sc_manager_t *m = baton;
    sc_lost_t *l, *next;

    for (l = m->moves->lost; l != NULL; l = next) {
        next = l->next;
        if (l->due != 0 && l->due <= now &&
            (++l->tries > TRIES_MAX || send_body(m, l) != APR_SUCCESS)) {
            forget(m, l);
        }
    }
    for (l = m->moves->lost; l != NULL; l = l->next) {
        if (l->due != 0 && m->moves->lost_timer.index == 0) {
            (void)sc_timer_set(m->cfg.timers, &m->moves->lost_timer, l->due, lost_due, m);
        }
    }
}

void sc_move_lost(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t digest)
{
    sc_lost_t *l;

    /* what a request here has just changed the primary may have, but not all the others */
    if (m->moves == NULL || (sc_body_digest(m->old.data, m->old.len) == digest &&
                             !sc_mgr_awaited(m, rec->context, &rec->id))) {
        (void)sc_place_only(m, rec);
        return;
    }
    /* if this engine ends before it has gone, the next one is to come across it */
    (void)sc_store_touch(m->store, rec->context, &rec->id, rec->accessed, sc_mgr_due(m, rec));
    if (sc_lost_pending(m, rec->context, &rec->id)) {
        return; /* it goes to the new ones when what is on its way has arrived, or has not */
    }
    l = m->moves->nlost < LOST_MAX ? calloc(1, sizeof(*l)) : NULL;
    if (l == NULL) {
        return; /* digests will find it, as long as it stays */
    }
    l->context = rec->context;
    l->id = rec->id;
    l->next = m->moves->lost;
    m->moves->lost = l;
    m->moves->nlost++;
    if (send_body(m, l) != APR_SUCCESS) {
        forget(m, l);
    }
}

void sc_lost_stop(sc_manager_t *m)
{
    sc_timer_cancel(m->cfg.timers, &m->moves->lost_timer);
    while (m->moves->lost != NULL) {
        sc_lost_t *l = m->moves->lost;

        m->moves->lost = l->next;
        free(l);
    }
}
