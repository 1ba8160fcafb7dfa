/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes for the peers, and waiting until they have applied them.
 *
 * A request that changed a session becomes a "pending" with one "wait" for each peer. It is
 * answered when no wait is left, and nobody else can read an older copy: a peer acknowledged, or
 * what it was granted has surely run out (lease.c), or it has said good-bye.
 *
 * A peer that lets a quarter of the time pass is granted nothing more. When the whole time has
 * passed it is lagging: all requests that wait for it end together, and later ones do not wait for
 * it. So one hanging node costs each running request one timeout and not each request one. It still
 * gets everything; the first acknowledgement ends that (lag.c), and what it missed it has to make
 * up before it is granted anything again. What could not be delivered is treated alike.
 *
 * A peer that refuses a change gets the whole session, once: usually it lacked the session that a
 * delta was for. Since the acknowledgement is that of an envelope with everybody's changes, some of
 * those copies are not needed; merging makes them harmless.
 *
 * With the backup manager a change goes to the session's holders only. Refused is what was made
 * under a location that is not the holders' any more, or is about to change. It is repeated a
 * moment later: the session as it is then, to those who hold it by the record as it is then, who
 * are waited for like the first ones.
 *
 * How they are posted, and to whom, is in post.c.
 */
#include <stdlib.h>
#include <string.h>

#include "replicate.h"

/** How often a proof that a quorum hears this node is waited for. */
#define PROOFS_MAX 6
/** A change that was refused because of its location is repeated so often, */
#define REDOS_MAX 10
/** after so long at first, and then twice as long each time, up to a limit. */
#define REDO_PAUSE apr_time_from_msec(20)
#define REDO_DOUBLED 4

_Static_assert(SC_MEMBERS_MAX <= 64, "a bit for each place");

static void pending_due(void *baton, apr_time_t now);
static void redo_due(void *baton, apr_time_t now);

/* ---- small things --------------------------------------------------------------------------- */

static void pending_free(sc_pending_t *p)
{
    *p->link = p->next;
    if (p->next != NULL) {
        p->next->link = p->link;
    }
    sc_timer_cancel(p->m->cfg.timers, &p->timer);
    sc_timer_cancel(p->m->cfg.timers, &p->redo);
    free(p);
}

/* Whether nothing is under way any more for which it waits. */
static int is_idle(const sc_pending_t *p)
{
    return p->waits == NULL && p->redo.index == 0;
}

static void degraded(sc_manager_t *m)
{
    apr_uint64_t more = 0;

    sc_count(m->board, degraded, 1);
    if (sc_log_allowed(&m->limit.degraded, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0512: a change was not acknowledged by all live members (%" APR_UINT64_T_FMT
               " more before)",
               more);
    }
}

static sc_outcome_t outcome_of(sc_manager_t *m, apr_uint32_t unacked)
{
    if (unacked == 0) {
        return SC_DONE;
    }
    degraded(m);
    return m->config->refuse_unacked ? SC_NOT_REPLICATED : SC_DEGRADED;
}

/* What was shown to be known to enough may have left this node while that was asked for, and an
 * older copy come: one that is no holder hands over what it has. */
static int is_overtaken(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                        const sc_stamp_t *stamp)
{
    sc_record_t rec;

    return sc_store_get(m->store, context, id, &rec, NULL) == APR_SUCCESS &&
           !(rec.flags & SC_REC_TOMBSTONE) &&
           ((rec.flags & SC_REC_PROXY) || sc_stamp_cmp(&rec.stamp, stamp) < 0);
}

/* The others are asked once more for what is to be shown, if there is time for that. */
static void show_again(sc_manager_t *m, const sc_link_call_t *call, apr_time_t since,
                       apr_uint16_t context, const sc_id_t *id)
{
    sc_change_t c;

    memset(&c, 0, sizeof(c));
    c.id = *id;
    if (sc_mgr_now(m) - since > apr_time_from_msec(m->config->ack_wait_ms) / 4 * 3 ||
        sc_fetch_for(m, context, &c, call, SC_LINK_FETCH, 0, NULL, 0, since) != APR_SUCCESS) {
        sc_mgr_answer(m, call, SC_UNKNOWN, since);
    }
}

/* Answer and forget. The waits that are left go on alone. */
static void finish(sc_pending_t *p, sc_outcome_t outcome)
{
    sc_manager_t *m = p->m;
    sc_link_call_t call = p->call;
    apr_time_t since = p->since;
    int doubt = outcome == SC_NO_QUORUM || outcome == SC_UNKNOWN;
    apr_uint16_t context = p->context;
    sc_id_t id = p->id;
    int overtaken;

    while (p->waits != NULL) {
        sc_wait_detach(p->waits);
    }
    sc_pending_leave(p, outcome);
    if (p->shown && !doubt) {
        outcome = SC_FOUND; /* enough have it */
    }
    overtaken = outcome == SC_FOUND && is_overtaken(m, context, &id, &p->stamp);
    pending_free(p);
    if (overtaken) {
        show_again(m, &call, since, context, &id);
    } else {
        sc_mgr_answer(m, &call, outcome, since);
    }
}

/* The session has got other holders since, and not all are known to have the change.
 * @return 1: they are asked */
static int repeats(sc_pending_t *p)
{
    sc_manager_t *m = p->m;
    sc_record_t rec;

    if (!sc_pending_live(p, &rec) || rec.epoch == p->epoch || sc_pending_all_have(p, &rec) ||
        sc_timer_set(m->cfg.timers, &p->timer,
                     sc_mgr_now(m) + apr_time_from_msec(m->config->ack_wait_ms) / 4, pending_due,
                     p) != APR_SUCCESS) {
        return 0;
    }
    p->settled = 0;
    p->unacked = 0;
    redo_due(p, sc_mgr_now(m));
    return 1;
}

/* Nobody is waited for any more: answer as soon as that is safe. */
static void settle(sc_pending_t *p)
{
    sc_manager_t *m = p->m;
    apr_time_t now = sc_mgr_now(m);
    apr_time_t departed = sc_lease_departed(m);
    apr_time_t due = p->hold > departed ? p->hold : departed;
    int strict = m->config->quorum > 1;
    int late = sc_pending_late(p);

    if (!strict && late && sc_pending_lacking(p)) {
        finish(p, SC_UNKNOWN); /* whoever lacks it may go on without it */
        return;
    }
    if (due <= now && !late && (sc_pending_open(p) || sc_pending_moving(p))) {
        due = now + REDO_PAUSE;
    } else if (due <= now && !late && repeats(p)) {
        return;
    }
    if (due <= now && !sc_pending_supported(p)) {
        if (p->asked++ >= PROOFS_MAX || late) {
            sc_count(m->board, refused_quorum, m->config->quorum > 0);
            finish(p, m->config->quorum > 0 ? SC_NO_QUORUM : SC_UNKNOWN);
            return;
        }
        due = now + m->lease_time / 4;
    }
    if (due <= now && !strict && p->stuck) {
        finish(p, SC_UNKNOWN); /* somebody may go on with a copy that lacks it */
        return;
    }
    if (due > now && sc_timer_set(m->cfg.timers, &p->timer, due, pending_due, p) == APR_SUCCESS) {
        return;
    }
    finish(p, outcome_of(m, p->unacked + (p->guest && sc_pending_held(p) == 0)));
}

/* Those that wait for nobody any more. An answer may bring the next request, which changes the
 * list: begin again each time. */
static void settle_all(sc_manager_t *m)
{
    sc_pending_t *p;

    do {
        for (p = m->pendings; p != NULL && (!is_idle(p) || p->settled); p = p->next) {
        }
        if (p != NULL) {
            p->settled = 1;
            settle(p);
        }
    } while (p != NULL);
}

/* The wait has ended without an acknowledgement: the change is acknowledged without this peer, but
 * not before that one's lease has run out. */
static void leave_out(sc_wait_t *w, sc_peer_t *peer)
{
    sc_pending_t *p = w->pending;

    if (peer != NULL) {
        sc_lease_lost(w->m, peer);
    }
    if (p != NULL) {
        p->unacked++;
        if (peer != NULL && peer->lease.granted > p->hold) {
            p->hold = peer->lease.granted;
        }
        sc_wait_detach(w);
    }
}

/* The peer has had its time: nobody waits for it any more. */
static void give_up(sc_manager_t *m, sc_peer_t *peer)
{
    apr_uint32_t place = (apr_uint32_t)(peer - m->peer);
    sc_wait_t *w;

    sc_lag_begins(m, peer);
    for (w = m->waits; w != NULL; w = w->next) {
        if (w->place == place && w->serial == peer->serial && w->pending != NULL) {
            leave_out(w, peer);
        }
    }
}

/* Nobody knows which of the holders there are now have got the change: those that refused it may
 * have merged it, others may have become holders since. All are left without it. */
static void give_up_redo(sc_pending_t *p)
{
    sc_manager_t *m = p->m;
    sc_record_t rec;
    apr_uint32_t i;
    int known;

    if (p->redo.index == 0) {
        return;
    }
    sc_timer_cancel(m->cfg.timers, &p->redo);
    p->unacked++;
    known = sc_store_get(m->store, p->context, &p->id, &rec, NULL) == APR_SUCCESS &&
            !(rec.flags & SC_REC_TOMBSTONE);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 &&
            ((p->refused >> i & 1) || (known && sc_layout_at(m, &rec, peer)))) {
            sc_lease_lost(m, peer);
            p->hold = peer->lease.granted > p->hold ? peer->lease.granted : p->hold;
        }
    }
}

/* A quarter of the time has passed. Who may not read anyway is not waited for any longer: a member
 * that hangs makes each other one wait once, and not long if it has hung for some time. */
static void warn(sc_pending_t *p)
{
    sc_manager_t *m = p->m;
    sc_wait_t *w = p->waits;

    while (w != NULL) {
        sc_peer_t *peer = sc_mgr_peer_at(m, w->place, w->serial);

        if (peer != NULL && !sc_lease_may_read(m, peer)) {
            give_up(m, peer);
            w = p->waits; /* which has become shorter */
            continue;
        }
        if (peer != NULL) {
            peer->lease.overdue = 1;
        }
        w = w->sibling;
    }
    settle_all(m);
}

static void pending_due(void *baton, apr_time_t now)
{
    sc_pending_t *p = baton;
    sc_manager_t *m = p->m;
    int warned = p->warned;

    p->warned = 1;
    if (is_idle(p)) {
        settle(p);
        return;
    }
    if (!warned && sc_timer_set(m->cfg.timers, &p->timer,
                                p->began + apr_time_from_msec(m->config->ack_wait_ms), pending_due,
                                p) == APR_SUCCESS) {
        warn(p);
        return;
    }
    (void)now;
    while (p->waits != NULL) {
        sc_peer_t *peer = sc_mgr_peer_at(m, p->waits->place, p->waits->serial);

        if (peer != NULL) {
            give_up(m, peer);
        } else {
            leave_out(p->waits, NULL);
        }
    }
    give_up_redo(p);
    settle_all(m);
}

/* ---- ends of posts -------------------------------------------------------------------------- */

/* Whether the session has got other holders since this was posted. */
static int is_outdated(const sc_wait_t *w)
{
    sc_record_t rec;

    return w->redo && (sc_store_get(w->m->store, w->context, &w->id, &rec, NULL) != APR_SUCCESS ||
                       (rec.flags & SC_REC_TOMBSTONE) || rec.epoch != w->epoch);
}

/* Refused because of where the session is: it will be repeated. */
static int will_redo(const sc_wait_t *w)
{
    sc_pending_t *p = w->pending;

    if (!w->redo || p == NULL) {
        return 0;
    }
    if (p->redo.index == 0) {
        apr_uint32_t n = p->redos < REDO_DOUBLED ? p->redos : REDO_DOUBLED;

        if (p->redos++ >= REDOS_MAX ||
            sc_timer_set(w->m->cfg.timers, &p->redo, sc_mgr_now(w->m) + (REDO_PAUSE << n), redo_due,
                         p) != APR_SUCCESS) {
            return 0;
        }
        p->refused = 0;
    }
    p->refused |= (apr_uint64_t)1 << w->place;
    return 1;
}

/* Send the whole session instead of the change that was refused. Returns 1 if that is on its way.
 */
static int send_whole(sc_wait_t *w, const sc_peer_t *peer)
{
    sc_manager_t *m = w->m;

    if (w->whole || is_outdated(w) || sc_mgr_msg_current(m, w->context, &w->id) != APR_SUCCESS) {
        return 0;
    }
    w->whole = 1;
    return sc_wait_repost(w, peer) == APR_SUCCESS;
}

/* It could not take even the whole session, and so it has no copy of it any more that it could read
 * from (merge.c). */
static void refused(sc_pending_t *p)
{
    if (p != NULL) {
        p->unacked++;
    }
}

static void change_ended(sc_wait_t *w, sc_peer_t *peer, apr_status_t rv)
{
    sc_manager_t *m = w->m;
    sc_pending_t *p = w->pending;

    if (peer != NULL) {
        peer->lease.overdue = 0; /* it has answered, or there is a loss that it has to make up */
    }
    if (rv == APR_SUCCESS) {
        sc_count(m->board, acked, 1);
        if (peer != NULL) {
            sc_lag_acked(m, peer, w->posted);
        }
        if (p != NULL) {
            p->has |= (apr_uint64_t)w->takes << w->place;
            if (peer != NULL) {
                p->acks |= (apr_uint64_t)(p->repeated == 0) << w->place;
                p->holds |= (apr_uint64_t)(w->redo != 0) << w->place;
            }
        }
    } else if (peer != NULL) {
        if (rv == APR_EGENERAL && send_whole(w, peer)) {
            return;
        }
        if (rv != APR_EGENERAL || !will_redo(w)) {
            sc_post_failed(m, peer, rv);
            sc_lag_failed(m, peer, w->posted);
            if (rv == APR_EGENERAL && !w->redo) {
                refused(p);
            } else {
                leave_out(w, peer);
            }
        }
    }
    if (w->pending != NULL) {
        sc_wait_detach(w);
    }
    sc_wait_free(w);
    if (p != NULL && is_idle(p)) {
        p->settled = 1;
        settle(p);
    }
}

/* ---- posting -------------------------------------------------------------------------------- */

/* Whether m->msg is the whole session, and as of when. */
static void note_whole(sc_pending_t *p)
{
    sc_manager_t *m = p->m;
    unsigned int event = m->msg.len > 0 ? m->msg.data[0] : 0;
    sc_record_t rec;

    p->whole = (event == SC_EVT_SESSION_CREATED || event == SC_EVT_BACKUP) &&
               sc_store_get(m->store, p->context, &p->id, &rec, NULL) == APR_SUCCESS;
    if (p->whole) {
        p->stamp = rec.stamp;
    }
}

/* The moment has passed: the session as it is now, to its holders as they are now. */
static void redo_due(void *baton, apr_time_t now)
{
    sc_pending_t *p = baton;
    sc_manager_t *m = p->m;
    sc_stamp_t shown = p->stamp;
    sc_parcel_t parcel;
    sc_record_t rec;

    (void)now;
    /* a session that has died meanwhile, or gone to its primary with all that was new in it, needs
     * no more */
    if (sc_mgr_get_heir(m, p->context, &p->id, &rec) == APR_SUCCESS &&
        !(rec.flags & SC_REC_TOMBSTONE) &&
        sc_mgr_msg_current(m, p->context, &p->id) == APR_SUCCESS) {
        sc_parcel_address(&parcel, m, SC_OPT_QUIET, p->context, &p->id, change_ended);
        note_whole(p);
        if (p->shown && sc_stamp_cmp(&p->stamp, &shown) < 0) {
            p->stamp = shown; /* it is that version that is vouched for */
        }
        p->repeated = 1;
        p->has = 0; /* all of them are asked once more */
        p->holds = 0;
        p->held = 0;
        p->epoch = rec.epoch;
        p->guest = !sc_layout_here(m, &rec);
        sc_parcel_post(m, p, &parcel);
    }
    if (is_idle(p)) {
        p->settled = 1;
        settle(p);
    }
}

static void replicate(sc_manager_t *m, const sc_link_call_t *call, apr_time_t since,
                      apr_uint16_t context, const sc_id_t *id, int shown)
{
    apr_uint32_t options = m->config->send_options;
    sc_parcel_t parcel;
    sc_pending_t *p;

    sc_parcel_address(&parcel, m, options, context, id, change_ended);
    if ((m->npeers == 0 && sc_lease_departed(m) == 0 && m->config->quorum < 2) ||
        (options & SC_OPT_ASYNCHRONOUS)) {
        sc_parcel_post(m, NULL, &parcel);
        sc_mgr_answer(m, call, shown ? SC_FOUND : SC_DONE, since);
        return;
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        sc_parcel_post(m, NULL, &parcel);
        sc_mgr_answer(m, call, SC_UNKNOWN, since); /* nobody would know when it is safe */
        return;
    }
    p->m = m;
    p->call = *call;
    p->since = since;
    p->began = sc_mgr_now(m);
    p->context = context;
    p->id = *id;
    p->shown = shown;
    note_whole(p);
    p->next = m->pendings;
    p->link = &m->pendings;
    if (p->next != NULL) {
        p->next->link = &p->next;
    }
    m->pendings = p;
    p->lives = parcel.redo;
    p->renamed = parcel.redo && !parcel.holders;
    p->guest = parcel.redo && !sc_layout_here(m, &parcel.rec);
    p->epoch = parcel.rec.epoch;
    sc_parcel_post(m, p, &parcel);
    if (p->waits == NULL) {
        p->settled = 1;
        settle(p);
    } else if (sc_timer_set(m->cfg.timers, &p->timer,
                            p->began + apr_time_from_msec(m->config->ack_wait_ms) / 4, pending_due,
                            p) != APR_SUCCESS) {
        finish(p, SC_UNKNOWN); /* no memory for a timer: waiting could last for ever */
    }
}

void sc_mgr_replicate(sc_manager_t *m, const sc_link_call_t *call, apr_time_t since,
                      apr_uint16_t context, const sc_id_t *id)
{
    replicate(m, call, since, context, id, 0);
}

void sc_mgr_repair(sc_manager_t *m, const sc_link_call_t *call, apr_time_t since,
                   apr_uint16_t context, const sc_id_t *id)
{
    apr_status_t rv = sc_mgr_msg_current(m, context, id);

    if (rv == APR_SUCCESS) {
        replicate(m, call, since, context, id, 1);
    } else {
        sc_mgr_answer(m, call, SC_UNKNOWN, since);
    }
}

int sc_mgr_awaited(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    const sc_pending_t *p;

    for (p = m->pendings; p != NULL; p = p->next) {
        if (p->context == context && memcmp(&p->id, id, sizeof(*id)) == 0) {
            return 1;
        }
    }
    return 0;
}

void sc_mgr_broadcast(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_parcel_t parcel;

    sc_parcel_address(&parcel, m, SC_OPT_QUIET, context, id, change_ended);
    sc_parcel_post(m, NULL, &parcel);
}

/* ---- ends ----------------------------------------------------------------------------------- */

void sc_mgr_replicate_gone(sc_manager_t *m, const sc_peer_t *peer, apr_uint32_t serial, int goodbye)
{
    apr_uint32_t place = (apr_uint32_t)(peer - m->peer);
    sc_pending_t *p;
    sc_wait_t *w;

    for (p = m->pendings; p != NULL; p = p->next) {
        apr_uint64_t bit = (apr_uint64_t)1 << place;

        p->acked += (p->acks & bit) != 0 && !goodbye;
        p->held += (p->holds & bit) != 0 && !goodbye;
        p->acks &= ~bit;
        p->holds &= ~bit;
        p->has &= ~bit;
    }
    for (w = m->waits; w != NULL; w = w->next) {
        if (w->place == place && w->serial == serial && w->pending != NULL) {
            sc_wait_detach(w); /* what it may still read is known to sc_lease_departed */
        }
    }
    settle_all(m);
}

void sc_mgr_replicate_end(sc_manager_t *m)
{
    while (m->pendings != NULL) {
        pending_free(m->pendings);
    }
    while (m->waits != NULL) {
        sc_wait_free(m->waits);
    }
}
