/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions asked of peers, one at a time, because somebody needs them now. Here is how it goes;
 * what the answers amount to is in fetch_judge.c.
 *
 * All peers are asked at once, the one named by the cookie's route first. A peer that has been
 * silent for as long as a lease lasts is not waited for (lease.c): if it is alive and changes
 * something, a peer that hears both knows of it. All answers are merged, in whatever order they
 * come.
 *
 * As long as the membership has not settled, members may be there that are not known yet, so a
 * fetch stays open for them until its time is up.
 *
 * With the backup manager the holders are asked first, if it is known who they are; the others when
 * that has not brought an answer that is sure to be the latest one. Those who do not hold the
 * session say where it is, and who is named and has not been asked yet is asked. What comes is
 * merged as a guest: a copy that stays for a moment, so that the request can be served.
 *
 * Bounded: so many fetches, so many requests that wait for them.
 */
#include <stdlib.h>
#include <string.h>

#include "fetch.h"

#define FETCHES_MAX 1024
#define WAITERS_MAX 4096
#define ROUNDS_MAX 3

/* ---- the table ------------------------------------------------------------------------------ */

static sc_fetch_t **slot_of(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_fetch_t **link = &m->fetch[id->b[0] % SC_FETCH_BUCKETS];

    while (*link != NULL &&
           ((*link)->context != context || memcmp(&(*link)->id, id, sizeof(*id)) != 0)) {
        link = &(*link)->next;
    }
    return link;
}

static void timed_out(void *baton, apr_time_t now);
static void look_here(sc_fetch_t *f);

static sc_fetch_t *fetch_create(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_fetch_t *f = m->nfetches < FETCHES_MAX ? calloc(1, sizeof(*f)) : NULL;
    sc_fetch_t **link;

    if (f == NULL) {
        if (sc_log_allowed(&m->limit.fetches, sc_mgr_now(m), SC_COMPLAIN, NULL)) {
            sc_log(m->cfg.log, SC_LOG_WARNING, 0,
                   "SC0540: too many sessions are being looked for on other nodes; some requests "
                   "cannot be told whether theirs exists");
        }
        return NULL;
    }
    f->m = m;
    f->context = context;
    f->id = *id;
    f->tail = &f->waiters;
    f->late_tail = &f->late;
    f->serial = ++m->fetch_serial;
    f->began = sc_mgr_now(m);
    if (sc_mgr_is_backup(m)) {
        look_here(f);
    }
    if (sc_timer_set(m->cfg.timers, &f->timer,
                     sc_mgr_now(m) + apr_time_from_msec(m->config->delta.fetch_ms), timed_out,
                     f) != APR_SUCCESS) {
        free(f);
        return NULL;
    }
    link = slot_of(m, context, id);
    f->next = *link;
    *link = f;
    m->nfetches++;
    return f;
}

/* Out of the table; the waiters stay with it. */
static void unlink_fetch(sc_fetch_t *f)
{
    *slot_of(f->m, f->context, &f->id) = f->next;
    f->m->nfetches--;
    sc_timer_cancel(f->m->cfg.timers, &f->timer);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void begin(sc_fetch_t *f);

/* A fetch of its own for those who came too late for this one. @return 0: there is none */
static int begin_late(sc_fetch_t *f)
{
    sc_fetch_t *g = f->late != NULL ? fetch_create(f->m, f->context, &f->id) : NULL;

    if (g == NULL) {
        return 0;
    }
    memcpy(g->hint, f->hint, sizeof(g->hint));
    g->waiters = f->late;
    g->tail = f->late_tail;
    begin(g);
    return 1;
}

static void answer_all(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id, sc_waiter_t *w,
                       sc_outcome_t outcome)
{
    while (w != NULL) {
        sc_waiter_t *next = w->next;

        m->nwaiters--;
        if (w->op == SC_LINK_FETCH && outcome == SC_FOUND) {
            sc_mgr_vouch(m, &w->call, w->since, context, id);
        } else if (w->op == SC_LINK_FETCH) {
            sc_mgr_answer(m, &w->call, outcome, w->since);
        } else {
            sc_mgr_resume(m, &w->call, w->op, w->again, w->body, w->len, w->since, outcome);
        }
        free(w);
        w = next;
    }
}

static void finish(sc_fetch_t *f)
{
    sc_manager_t *m = f->m;
    sc_outcome_t outcome = sc_fetch_outcome(f);
    sc_waiter_t *w = f->waiters;
    apr_uint16_t context = f->context;
    sc_id_t id = f->id;
    sc_waiter_t *late;

    unlink_fetch(f);
    late = begin_late(f) ? NULL : f->late;
    free(f);
    answer_all(m, context, &id, w, outcome);
    answer_all(m, context, &id, late, SC_UNKNOWN);
}

static void timed_out(void *baton, apr_time_t now)
{
    (void)now;
    finish(baton);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void ask(sc_fetch_t *f, sc_peer_t *peer)
{
    sc_manager_t *m = f->m;
    sc_fetch_asked_t *a = &f->asked[peer - m->peer];
    sc_msg_retrieve_t msg;

    if (a->serial == peer->serial) {
        return;
    }
    a->serial = peer->serial;
    a->answered = a->gave = a->none = a->blank = 0;
    a->route = peer->route;
    memset(&msg, 0, sizeof(msg));
    msg.context.s = sc_store_context_name(m->store, f->context);
    msg.context.len = strlen(msg.context.s);
    msg.id = f->id;
    msg.serial = f->serial;
    sc_buf_clear(&m->msg);
    sc_msg_retrieve_put(&m->msg, SC_EVT_RETRIEVE, &msg);
    sc_mgr_reply(m, &peer->member); /* if it does not get there, it does not answer */
}

void sc_fetch_repeat(sc_manager_t *m)
{
    apr_uint32_t i, k;
    sc_fetch_t *f;

    for (i = 0; i < SC_FETCH_BUCKETS; i++) {
        for (f = m->fetch[i]; f != NULL; f = f->next) {
            for (k = 0; k < SC_MEMBERS_MAX; k++) {
                sc_fetch_asked_t *a = &f->asked[k];

                if (a->serial != 0 && a->serial == m->peer[k].serial && !a->answered) {
                    a->serial = 0;
                    ask(f, &m->peer[k]);
                }
            }
        }
    }
}

static void ask_everybody(sc_fetch_t *f)
{
    sc_manager_t *m = f->m;
    apr_uint32_t i;

    f->everybody = 1;
    for (i = 0; i < SC_MEMBERS_MAX && f->hint[0] != '\0'; i++) {
        if (m->peer[i].serial != 0 && strcmp(m->peer[i].member.route, f->hint) == 0) {
            ask(f, &m->peer[i]);
        }
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0) {
            ask(f, &m->peer[i]);
        }
    }
}

/* Ask those who hold the session. @return 0: none of them is there */
static int ask_holders(sc_fetch_t *f)
{
    sc_manager_t *m = f->m;
    int asked = 0, i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && sc_fetch_is_holder(f, m->peer[i].route)) {
            ask(f, &m->peer[i]);
            asked = 1;
        }
    }
    return asked;
}

/* A location that somebody knows; those whom it names are asked. */
static void note_location(sc_fetch_t *f, const sc_record_t *rec)
{
    if (f->best.primary == SC_ROUTE_NONE || sc_layout_cmp(f->m, rec, &f->best) > 0) {
        f->best = *rec;
        if (f->holders) {
            (void)ask_holders(f);
        }
    }
}

/* The session has got other holders meanwhile. If this node was one and its copy had to go, so did
 * what has been merged: it is asked for again. @return 1: it is */
static int catch_up(sc_fetch_t *f)
{
    sc_manager_t *m = f->m;
    sc_record_t rec;
    int i;

    if (!f->holders || sc_store_get(m->store, f->context, &f->id, &rec, NULL) != APR_SUCCESS ||
        (rec.flags & SC_REC_TOMBSTONE)) {
        return 0;
    }
    note_location(f, &rec);
    if (!f->dropped) {
        return 0;
    }
    f->dropped = f->found = f->decided = f->sure_copy = f->own_copy = 0;
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (f->asked[i].gave) {
            f->asked[i].gave = 0;
            f->asked[i].serial = f->rounds < ROUNDS_MAX ? 0 : f->asked[i].serial;
        }
    }
    if (f->rounds++ >= ROUNDS_MAX) {
        return 0;
    }
    (void)ask_holders(f);
    if (f->everybody) {
        ask_everybody(f);
    }
    return 1;
}

/* What comes now may fill the place again, with an old copy. */
void sc_fetch_dropped(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_fetch_t *f = *slot_of(m, context, id);

    if (f != NULL) {
        f->dropped = 1;
    }
}

/* Holders that have answered before they knew that they hold it by the newest location are asked
 * once more: by now they know. @return 1: there are some */
static int ask_again(sc_fetch_t *f)
{
    sc_manager_t *m = f->m;
    int i, again = 0;

    if (f->decided || f->rounds >= ROUNDS_MAX || sc_fetch_counts(f) ||
        f->best.primary == SC_ROUTE_NONE) {
        return 0;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_fetch_asked_t *a = &f->asked[i];

        if (a->gave && a->epoch < f->best.epoch && sc_fetch_is_holder(f, a->route) &&
            a->serial == m->peer[i].serial) {
            a->serial = 0;
            ask(f, &m->peer[i]);
            again = 1;
        }
    }
    f->rounds += again;
    return again;
}

/* Ask further if that is needed. @return 1: the answer is known */
static int go_on(sc_fetch_t *f)
{
    if (catch_up(f) || (f->holders && ask_again(f))) {
        return 0;
    }
    if (f->holders && !f->everybody && !f->decided && sc_fetch_all_answered(f, 0)) {
        ask_everybody(f);
    }
    return sc_fetch_is_complete(f);
}

/* What is known here. */
static void look_here(sc_fetch_t *f)
{
    sc_manager_t *m = f->m;
    sc_record_t rec;

    if (sc_store_get(m->store, f->context, &f->id, &rec, NULL) == APR_SUCCESS &&
        (!(rec.flags & SC_REC_TOMBSTONE) || rec.max_idle_s == SC_DEAD_IDLE)) {
        note_location(f, &rec); /* also of one that has idled out: its holders know better */
        f->had_body = !(rec.flags & (SC_REC_PROXY | SC_REC_TOMBSTONE));
        f->own_copy = f->had_body && sc_layout_here(m, &rec);
    }
}

void sc_fetch_has_come(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_fetch_t *f = *slot_of(m, context, id);

    if (f != NULL && f->holders) {
        look_here(f);
    }
}

static void begin(sc_fetch_t *f)
{
    if (!sc_mgr_is_backup(f->m)) {
        ask_everybody(f);
        return;
    }
    f->holders = 1;
    if (!ask_holders(f)) {
        ask_everybody(f);
    }
}

static sc_waiter_t *waiter_create(sc_manager_t *m, const sc_link_call_t *call, sc_link_op_t op,
                                  int again, const unsigned char *body, apr_size_t len,
                                  apr_time_t since)
{
    sc_waiter_t *w = m->nwaiters < WAITERS_MAX ? malloc(sizeof(*w) + len) : NULL;

    if (w == NULL) {
        return NULL;
    }
    w->next = NULL;
    w->call = *call;
    w->op = op;
    w->again = again;
    w->creates = 0;
    w->since = since;
    w->len = len;
    if (len > 0) {
        memcpy(w->body, body, len);
    }
    m->nwaiters++;
    return w;
}

void sc_fetch_review(sc_manager_t *m)
{
    apr_uint32_t i;

    for (i = 0; i < SC_FETCH_BUCKETS; i++) {
        sc_fetch_t *f = m->fetch[i];

        while (f != NULL) {
            if (go_on(f)) {
                finish(f); /* which may change the chain */
                f = m->fetch[i];
            } else {
                f = f->next;
            }
        }
    }
}

apr_status_t sc_fetch_for(sc_manager_t *m, apr_uint16_t context, const sc_change_t *c,
                          const sc_link_call_t *call, sc_link_op_t op, int again,
                          const unsigned char *body, apr_size_t len, apr_time_t since)
{
    sc_fetch_t *f = *slot_of(m, context, &c->id);
    sc_waiter_t *w = waiter_create(m, call, op, again, body, len, since);

    if (w == NULL) {
        return APR_ENOSPC;
    }
    if (f == NULL) {
        f = fetch_create(m, context, &c->id);
    }
    if (f == NULL) {
        m->nwaiters--;
        free(w);
        return APR_ENOSPC;
    }
    w->creates = op == SC_LINK_CHANGE && (c->flags & SC_CHANGE_NEW);
    if (sc_mgr_is_backup(m) && (f->everybody || f->holders)) {
        *f->late_tail = w;
        f->late_tail = &w->next;
        return APR_SUCCESS;
    }
    *f->tail = w;
    f->tail = &w->next;
    if (!f->everybody && !f->holders) {
        sc_count(m->board, fetches, 1);
        if (c->hint_len > 0) {
            memcpy(f->hint, c->hint, c->hint_len);
        }
        begin(f);
        if (sc_mgr_is_backup(m) && m->npeers == 0 && go_on(f)) {
            finish(f);
        }
    }
    return APR_SUCCESS;
}

void sc_fetch_from(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                   const sc_member_t *from)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_fetch_t *f = *slot_of(m, context, id);

    if (peer == NULL) {
        return;
    }
    if (f == NULL) {
        f = fetch_create(m, context, id);
    }
    if (f != NULL) {
        ask(f, peer);
    }
}

void sc_fetch_added(sc_manager_t *m, sc_peer_t *peer)
{
    apr_uint32_t i;
    sc_fetch_t *f;

    memset(m->negative, 0, sizeof(m->negative)); /* it may have what the others have not */
    for (i = 0; i < SC_FETCH_BUCKETS; i++) {
        for (f = m->fetch[i]; f != NULL; f = f->next) {
            if (f->everybody || (f->holders && sc_fetch_is_holder(f, peer->route))) {
                ask(f, peer);
            }
        }
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

/* @param held_by who holds it, as far as whoever answers knows; NULL: he has not said. If he is
 * none of them his copy has something that others lack, and need not be the latest; even if it
 * turns out that he has become a holder since. */
static void note_answer(sc_fetch_t *f, const sc_member_t *from, const sc_msg_retrieve_t *msg,
                        apr_status_t merged, const sc_record_t *held_by)
{
    sc_peer_t *peer = sc_mgr_peer(f->m, from);
    sc_fetch_asked_t *a = NULL;
    int dead = msg->found && (msg->session.flags & SC_REC_TOMBSTONE);
    int copy = msg->found && !(msg->session.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY));

    if (peer != NULL && f->asked[peer - f->m->peer].serial == peer->serial) {
        a = &f->asked[peer - f->m->peer];
        a->answered = 1;
        a->blank = msg->blank != 0;
        a->none = !msg->found || dead;
        a->gave = copy && merged == APR_SUCCESS && held_by != NULL &&
                  sc_record_holder(held_by, peer->route) != SC_HOLDER_NONE;
        a->epoch = held_by != NULL ? held_by->epoch : 0;
    }
    if (msg->found && !(msg->session.flags & SC_REC_PROXY) && merged == APR_SUCCESS) {
        if (!f->found) {
            f->found = 1;
            sc_count(f->m->board, fetched, f->waiters != NULL);
        }
        f->sure_copy |= copy && msg->sure;
    } else if (msg->found && merged == APR_ENOSPC) {
        f->full = 1;
    } else if (msg->found && (merged == APR_EINVAL || (copy && merged == APR_EGENERAL))) {
        f->unreadable = 1; /* a holder that this node has never heard of; or this node is one, and
                              what there is elsewhere is only a part (merge.c) */
    }
    f->away |= msg->away != 0;
    if (sc_mgr_is_backup(f->m) && !msg->found) {
        /* only who would have it knows that there is none */
        f->sure_absent |= msg->sure && a != NULL && f->best.primary != SC_ROUTE_NONE &&
                          sc_layout_owner(f->m, &f->best) == peer->route &&
                          !sc_fetch_is_one_owed(f);
        f->decided |= f->sure_absent;
    } else if (merged == APR_SUCCESS) {
        /* what has idled out may have been used where that was not heard */
        f->decided |= msg->sure || (dead && msg->session.max_idle_s != SC_DEAD_IDLE);
    }
}

/* What a peer says is taken over. @param located receives 1 if *rec is where the session is */
static apr_status_t take(sc_manager_t *m, const sc_member_t *from, const sc_msg_retrieve_t *msg,
                         apr_uint16_t context, sc_record_t *rec, int *located)
{
    int changed = 0;
    apr_status_t rv;

    *located = 0;
    if (!(msg->session.flags & SC_REC_PROXY)) {
        m->brought = SC_BROUGHT_BY_ANSWER;
        rv = sc_mgr_merge_whole(m, from, context, &msg->session, &changed);
        m->brought = SC_BROUGHT_BY_CHANGE;
        *located = (rv == APR_SUCCESS || rv == APR_EGENERAL) && sc_mgr_is_backup(m) &&
                   !(msg->session.flags & SC_REC_TOMBSTONE) &&
                   sc_place_of(m, &msg->session, context, rec);
        return rv;
    }
    if (!sc_mgr_is_backup(m) || !sc_place_of(m, &msg->session, context, rec)) {
        sc_count(m->board, records_refused, 1);
        return APR_EINVAL;
    }
    rv = sc_place_merge(m, from, rec, 0, 0);
    if (rv == APR_EEXIST) {
        sc_place_behind(m, from, rec);
    }
    *located = rv != APR_EINVAL;
    return rv;
}

apr_status_t sc_fetch_answered(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    apr_status_t rv = APR_SUCCESS;
    sc_msg_retrieve_t msg;
    apr_uint16_t context;
    sc_record_t rec;
    sc_fetch_t *f;
    int located = 0;

    if (sc_msg_retrieve_get(r, SC_EVT_RETRIEVE_REPLY, &msg) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (sc_store_context(m->store, msg.context.s, msg.context.len, 0, &context) != APR_SUCCESS) {
        return APR_SUCCESS; /* an answer to what this node has not asked */
    }
    if (msg.found) {
        rv = take(m, from, &msg, context, &rec, &located);
    }
    f = *slot_of(m, context, &msg.id);
    if (f == NULL || (msg.serial != 0 && msg.serial != f->serial)) {
        return APR_SUCCESS; /* merged, but no answer to what is asked now */
    }
    if (located) {
        note_location(f, &rec);
    }
    note_answer(f, from, &msg, rv, located ? &rec : NULL);
    if (go_on(f)) {
        finish(f);
    }
    return APR_SUCCESS;
}

void sc_fetch_end(sc_manager_t *m)
{
    apr_uint32_t i;

    for (i = 0; i < SC_FETCH_BUCKETS; i++) {
        while (m->fetch[i] != NULL) {
            sc_fetch_t *f = m->fetch[i];

            unlink_fetch(f);
            *f->tail = f->late;
            while (f->waiters != NULL) {
                sc_waiter_t *w = f->waiters;

                f->waiters = w->next;
                free(w);
            }
            free(f);
        }
    }
}
