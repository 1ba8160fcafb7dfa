/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Posting to peers, and the ends of posts.
 *
 * A "wait" is a post whose end somebody wants to know. It outlives whoever that was, since the
 * channel reports the end of each post, however late.
 */
#include <stdlib.h>
#include <string.h>

#include "replicate.h"

/* Posts whose end is awaited, at most; beyond that requests are answered without waiting. */
#define WAITS_MAX 65536

/* ---- waits ---------------------------------------------------------------------------------- */

static sc_wait_t *wait_create(sc_manager_t *m, const sc_peer_t *peer)
{
    sc_wait_t *w = m->nwaits < WAITS_MAX ? calloc(1, sizeof(*w)) : NULL;

    if (w == NULL) {
        return NULL;
    }
    w->m = m;
    w->place = (apr_uint32_t)(peer - m->peer);
    w->serial = peer->serial;
    w->posted = sc_mgr_now(m);
    w->next = m->waits;
    w->link = &m->waits;
    if (w->next != NULL) {
        w->next->link = &w->next;
    }
    m->waits = w;
    m->nwaits++;
    return w;
}

void sc_wait_free(sc_wait_t *w)
{
    *w->link = w->next;
    if (w->next != NULL) {
        w->next->link = w->link;
    }
    w->m->nwaits--;
    free(w);
}

void sc_wait_detach(sc_wait_t *w)
{
    sc_wait_t **link = &w->pending->waits;

    while (*link != w) {
        link = &(*link)->sibling;
    }
    *link = w->sibling;
    w->pending = NULL;
}

/* ---- ends of posts -------------------------------------------------------------------------- */

void sc_post_failed(sc_manager_t *m, const sc_peer_t *peer, apr_status_t rv)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    sc_count(m->board, failed, 1);
    if (sc_log_allowed(&m->limit.failed, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, rv,
               "SC0513: a change could not be delivered to member %s (%" APR_UINT64_T_FMT
               " more failed before)",
               sc_member_name(&peer->member, name), more);
    }
}

static void posted(void *baton, apr_status_t rv)
{
    sc_wait_t *w = baton;
    sc_manager_t *m = w->m;
    sc_peer_t *peer = sc_mgr_peer_at(m, w->place, w->serial);
    sc_told_fn_t *told = w->told;
    apr_uint64_t tag = w->tag;

    if (w->ended != NULL) {
        w->ended(w, peer, rv);
        return;
    }
    sc_wait_free(w);
    if (told != NULL) {
        told(m, peer, tag, rv);
    }
}

/* ---- posting -------------------------------------------------------------------------------- */

/* @return what the channel said; the wait is freed when it will not hear of an end */
static apr_status_t post(sc_manager_t *m, sc_peer_t *peer, apr_uint32_t options, sc_wait_t *w)
{
    apr_status_t rv = m->msg.err;

    peer->told_lsn = sc_mgr_lsn(m); /* each envelope carries it */

    if (rv == APR_SUCCESS) {
        rv = m->cfg.down.post(m->cfg.down.ctx, &peer->member, m->msg.data, m->msg.len, options,
                              w != NULL ? posted : NULL, w);
    }
    if (rv != APR_SUCCESS && w != NULL) {
        if (w->pending != NULL) {
            sc_wait_detach(w);
        }
        sc_wait_free(w);
    }
    return rv;
}

apr_status_t sc_wait_repost(sc_wait_t *w, const sc_peer_t *peer)
{
    sc_manager_t *m = w->m;

    return m->cfg.down.post(m->cfg.down.ctx, &peer->member, m->msg.data, m->msg.len, SC_OPT_QUIET,
                            posted, w);
}

void sc_mgr_spread(sc_manager_t *m, apr_uint32_t options)
{
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            (void)post(m, &m->peer[i], options, NULL);
        }
    }
}

/*
 * Changes of others that were applied here count in this store's change number, too. Without a word
 * now and then, a peer would know an old number of a node that only listens, and ask for all those
 * changes when one of the two comes back.
 */
void sc_mgr_tell_progress(sc_manager_t *m)
{
    apr_uint64_t lsn = sc_mgr_lsn(m);
    apr_uint32_t i;

    sc_buf_clear(&m->msg);
    sc_msg_groups_put(&m->msg, SC_EVT_SESSION_ACCESSED, 0);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && m->peer[i].told_lsn != lsn) {
            (void)post(m, &m->peer[i], SC_OPT_ASYNCHRONOUS, NULL);
        }
    }
}

apr_status_t sc_mgr_post(sc_manager_t *m, sc_peer_t *peer, sc_told_fn_t *told, apr_uint64_t tag)
{
    sc_wait_t *w = wait_create(m, peer);

    if (w == NULL) {
        return APR_ENOMEM;
    }
    w->told = told;
    w->tag = tag;
    return post(m, peer, SC_OPT_QUIET, w);
}

void sc_mgr_send(sc_manager_t *m, sc_peer_t *peer)
{
    (void)post(m, peer, SC_OPT_ASYNCHRONOUS, NULL);
}

void sc_mgr_reply(sc_manager_t *m, const sc_member_t *to)
{
    if (m->msg.err == APR_SUCCESS) {
        (void)m->cfg.down.post(m->cfg.down.ctx, to, m->msg.data, m->msg.len, SC_OPT_QUIET, NULL,
                               NULL);
    }
}

/* ---- changes -------------------------------------------------------------------------------- */

void sc_parcel_address(sc_parcel_t *parcel, sc_manager_t *m, apr_uint32_t options,
                       apr_uint16_t context, const sc_id_t *id, sc_ended_fn_t *ended)
{
    unsigned int event = m->msg.len > 0 ? m->msg.data[0] : 0;
    int change =
        event == SC_EVT_BACKUP || event == SC_EVT_BACKUP_DIFF || event == SC_EVT_CHANGE_SESSION_ID;

    memset(parcel, 0, sizeof(*parcel));
    parcel->options = options;
    parcel->context = context;
    parcel->id = id;
    parcel->ended = ended;
    if (sc_mgr_is_backup(m) && change &&
        sc_store_get(m->store, context, id, &parcel->rec, NULL) == APR_SUCCESS) {
        parcel->redo = 1;
        parcel->holders = event != SC_EVT_CHANGE_SESSION_ID;
    }
}

/* One target of a change. */
static void post_change(sc_manager_t *m, sc_peer_t *peer, sc_pending_t *p,
                        const sc_parcel_t *parcel)
{
    sc_wait_t *w = NULL;
    int awaited = 0;
    apr_status_t rv;

    if (!(parcel->options & SC_OPT_ASYNCHRONOUS)) {
        w = wait_create(m, peer);
    }
    if (w != NULL) {
        w->ended = parcel->ended;
        w->context = parcel->context;
        w->id = *parcel->id;
        w->redo = parcel->redo && sc_layout_at(m, &parcel->rec, peer);
        w->takes =
            w->redo || (parcel->redo && sc_move_target(m, parcel->context, parcel->id, peer));
        w->epoch = parcel->rec.epoch;
        /* who has been found to hang is not waited for once more, also if nothing was sent since */
        if (p != NULL && !peer->lagging && !sc_lease_hung(m, peer)) {
            w->pending = p;
            w->sibling = p->waits;
            p->waits = w;
            awaited = 1;
        }
    }
    rv = post(m, peer, parcel->options, w);
    if (rv == APR_NOTFOUND) {
        return; /* it went this moment: we shall be told */
    }
    sc_count(m->board, replicated, 1);
    if (rv != APR_SUCCESS) {
        sc_post_failed(m, peer, rv);
        awaited = 0;
    }
    if (p != NULL && !awaited) {
        p->unacked++;
        if (peer->lease.granted > p->hold) {
            p->hold = peer->lease.granted;
        }
    }
    if (rv != APR_SUCCESS || (p != NULL && !awaited)) {
        sc_lease_lost(m, peer);
    }
}

void sc_parcel_post(sc_manager_t *m, sc_pending_t *p, const sc_parcel_t *parcel)
{
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && (!parcel->holders || sc_layout_at(m, &parcel->rec, peer) ||
                                  sc_move_target(m, parcel->context, parcel->id, peer))) {
            post_change(m, peer, p, parcel);
        }
    }
}
