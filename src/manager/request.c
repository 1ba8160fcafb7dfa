/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the children of this node ask for.
 *
 * Each request ends in exactly one answer: at once, when the peers have acknowledged the change
 * (replicate.c), or when a session that is not here has been looked for (fetch.c), which then runs
 * the request again.
 *
 * "Again" requests were sent before, to an engine that died before it answered. It may have done
 * everything, half of it or nothing; so what is found done is not an error then, and is told to the
 * peers once more.
 */
#include <string.h>

#include "internal.h"

/* The session has been brought to enough holders already, as far as that goes: sc_mgr_resume. */
#define MOVED SC_DONE
/* In "again" of a request that waits for a move: it has been looked for, and nobody changes it
 * meanwhile without this node. */
#define WAS_FETCHED 2

typedef struct sc_request_t {
    const sc_link_call_t *call;
    sc_link_op_t op;
    int again;
    int fetched; /* it has been looked for elsewhere already */
    int moved;   /* its location has been seen to */
    apr_time_t since;
    const unsigned char *body;
    apr_size_t len;
    sc_change_t c;
    apr_uint16_t context;
    sc_outcome_t absent; /* what a missing session means now */
} sc_request_t;

void sc_mgr_answer(sc_manager_t *m, const sc_link_call_t *call, sc_outcome_t outcome,
                   apr_time_t since)
{
    apr_time_t now = sc_mgr_now(m);

    m->cfg.up.answer(m->cfg.up.ctx, call, outcome, now > since ? now - since : 0);
}

static void answer(sc_manager_t *m, const sc_request_t *q, sc_outcome_t outcome)
{
    sc_mgr_answer(m, q->call, outcome, q->since);
}

/* Nobody else is there who could know more, and this node need not wonder whether that is so. */
static int is_alone(const sc_manager_t *m)
{
    return m->npeers == 0 && m->state == SC_NODE_READY && m->config->quorum < 2 &&
           !sc_lease_cut_off(m);
}

/* The request is put off until the others have said what they know. */
static void look_for(sc_manager_t *m, const sc_request_t *q)
{
    if (sc_fetch_for(m, q->context, &q->c, q->call, q->op, q->again, q->body, q->len, q->since) !=
        APR_SUCCESS) {
        answer(m, q, SC_UNKNOWN);
    }
}

/* The session is not here: it may be elsewhere. The request is answered or put off. */
static void missing(sc_manager_t *m, const sc_request_t *q)
{
    if (q->fetched) {
        answer(m, q, q->absent);
        return;
    }
    if ((is_alone(m) && !sc_mgr_is_backup(m)) || sc_fetch_known_absent(m, q->context, &q->c.id)) {
        answer(m, q, SC_ABSENT);
        return;
    }
    look_for(m, q);
}

/* A node that may not read may not change either: what it has not seen could be ordered behind what
 * it does now. @return 1: the request was put off or answered */
static int put_off(sc_manager_t *m, const sc_request_t *q)
{
    sc_lease_check(m);
    if (!m->lapsed || q->fetched || is_alone(m)) {
        return 0;
    }
    look_for(m, q);
    return 1;
}

/* Backup manager: a session that has idled out, as far as is known here. Who does not hold it, or
 * is not leased, may be wrong: it has been used elsewhere, where this node was not heard. */
static int is_doubtful(sc_manager_t *m, const sc_request_t *q, const sc_record_t *rec)
{
    return sc_mgr_is_backup(m) && !q->fetched && (rec->flags & SC_REC_TOMBSTONE) &&
           rec->max_idle_s == SC_DEAD_IDLE && (m->lapsed || !sc_layout_here(m, rec));
}

/* Backup manager: whether a live session can be changed here and now. A holder can that is leased,
 * and first sees to it that there are enough others; anybody else looks for the latest version, and
 * then changes the copy that he has got. @return 0: the request was put off or answered */
static int at_hand(sc_manager_t *m, const sc_request_t *q, const sc_record_t *rec)
{
    if ((rec->flags & SC_REC_PROXY) || !sc_layout_here(m, rec)) {
        if (!q->fetched) {
            missing(m, q);
            return 0;
        }
        if (rec->flags & SC_REC_PROXY) {
            answer(m, q, SC_UNKNOWN); /* it went a moment ago */
            return 0;
        }
        return 1;
    }
    if (put_off(m, q)) {
        return 0;
    }
    if (q->moved || sc_mgr_now(m) - q->since > apr_time_from_msec(m->config->ack_wait_ms)) {
        return 1;
    }
    return sc_move_await(m, rec, q->call, q->op, q->again | (q->fetched ? WAS_FETCHED : 0), q->body,
                         q->len, q->since) != APR_SUCCESS &&
           sc_move_for(m, rec, q->call, q->op, q->again | (q->fetched ? WAS_FETCHED : 0), q->body,
                       q->len, q->since) != APR_SUCCESS;
}

/* @return 0: the request was put off or answered */
static int may_change(sc_manager_t *m, const sc_request_t *q, const sc_record_t *rec)
{
    return sc_mgr_is_backup(m) ? at_hand(m, q, rec) : !put_off(m, q);
}

/* ---- CHANGE --------------------------------------------------------------------------------- */

static void too_large(sc_manager_t *m, const sc_request_t *q, apr_size_t size)
{
    char id[SC_ID_MASKED];
    apr_uint64_t more = 0;

    sc_count(m->board, refused_size, 1);
    if (sc_log_allowed(&m->limit.large, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0520: session %s of %.*s was not saved: %" APR_SIZE_T_FMT
               " bytes are more than SessionClusterMaxSessionSize %u (%" APR_UINT64_T_FMT
               " more before); its old state stays",
               sc_id_mask(&q->c.id, id), (int)q->c.context_len, q->c.context, size,
               m->config->max_session, more);
    }
}

/* Merge the request's attributes into the body in m->old, to m->out; the delta stays in m->delta.
 */
static sc_outcome_t merge_change(sc_manager_t *m, const sc_request_t *q, const sc_stamp_t *stamp)
{
    apr_size_t before = sc_body_payload(m->old.data, m->old.len);
    apr_size_t after;
    sc_merge_t result;
    apr_status_t rv;

    rv = sc_change_to_delta(&q->c, stamp, &m->delta, m->scratch);
    apr_pool_clear(m->scratch);
    if (rv == APR_SUCCESS) {
        rv = sc_mgr_merge_body(m, m->old.data, m->old.len, m->delta.data, m->delta.len,
                               m->body_limit, &result);
    }
    if (rv == APR_ENOSPC) {
        too_large(m, q, q->c.attrs_len);
        return SC_TOO_LARGE;
    }
    if (rv != APR_SUCCESS) {
        return SC_REFUSED;
    }
    after = sc_body_payload(m->out.data, m->out.len);
    /* a session that is too large for a limit lowered since may still shrink */
    if (after > m->config->max_session && after >= before) {
        too_large(m, q, after);
        return SC_TOO_LARGE;
    }
    return SC_DONE;
}

/* This node changed it last, so with the delta manager it is its primary from now on. */
static void own(sc_manager_t *m, sc_record_t *rec, const sc_stamp_t *stamp)
{
    rec->stamp = *stamp;
    rec->accessed = sc_mgr_now(m);
    if (rec->primary != m->own_route && !sc_mgr_is_backup(m)) {
        rec->primary = m->own_route;
        rec->epoch++;
    }
}

static void msg_delta(sc_manager_t *m, sc_event_t event, const sc_record_t *rec,
                      const sc_id_t *old_id)
{
    sc_record_t told = *rec;
    sc_msg_delta_t d;

    if (sc_mgr_is_backup(m)) {
        event = event == SC_EVT_SESSION_DELTA ? SC_EVT_BACKUP_DIFF : event;
        sc_move_told(m, &told);
    }
    memset(&d, 0, sizeof(d));
    d.context.s = sc_store_context_name(m->store, rec->context);
    d.context.len = strlen(d.context.s);
    d.id = old_id != NULL ? *old_id : rec->id;
    d.new_id = rec->id;
    d.flags = sc_mgr_is_backup(m) ? 0 : SC_MSG_PRIMARY;
    d.stamp = rec->stamp;
    d.max_idle_s = rec->max_idle_s;
    d.epoch = told.epoch;
    d.body = m->delta.data;
    d.body_len = m->delta.len;
    d.digest = old_id != NULL ? sc_body_digest(m->out.data, m->out.len) : 0;
    sc_buf_clear(&m->msg);
    sc_msg_delta_put(&m->msg, event, &d);
}

/* Those who only know locations are told where it is. */
static void note_place(sc_manager_t *m, const sc_record_t *rec)
{
    if (sc_mgr_is_backup(m)) {
        sc_place_note(m, rec, sc_body_digest(m->out.data, m->out.len));
    }
}

static void do_create(sc_manager_t *m, const sc_request_t *q)
{
    sc_stamp_t stamp = sc_mgr_stamp(m);
    sc_outcome_t outcome;
    sc_record_t rec;

    sc_buf_clear(&m->old);
    outcome = merge_change(m, q, &stamp);
    if (outcome != SC_DONE) {
        answer(m, q, outcome);
        return;
    }
    memset(&rec, 0, sizeof(rec));
    rec.id = q->c.id;
    rec.context = q->context;
    rec.max_idle_s = q->c.max_idle_s;
    rec.created = sc_mgr_now(m);
    rec.primary = m->own_route;
    own(m, &rec, &stamp);
    if (sc_mgr_is_backup(m)) {
        rec.epoch = 1;
        (void)sc_layout_choose(m, rec.context, &rec.id, rec.primary, rec.backups);
    }
    if (sc_mgr_put(m, &rec, m->out.data, m->out.len) != APR_SUCCESS) {
        answer(m, q, SC_FULL);
        return;
    }
    sc_count(m->board, created, 1);
    note_place(m, &rec);
    if (sc_mgr_drains(m)) {
        sc_move_look(m, &rec); /* somebody has come here all the same; it is not to stay */
    }
    sc_mgr_msg_whole(m, &rec, &m->out);
    sc_mgr_replicate(m, q->call, q->since, rec.context, &rec.id);
}

static void do_change(sc_manager_t *m, const sc_request_t *q)
{
    sc_outcome_t outcome;
    sc_record_t rec;
    sc_stamp_t stamp;
    apr_status_t rv = sc_store_get(m->store, q->context, &q->c.id, &rec, &m->old);

    if (rv == APR_NOTFOUND && (q->c.flags & SC_CHANGE_NEW)) {
        if (!put_off(m, q)) {
            do_create(m, q);
        }
        return;
    }
    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && is_doubtful(m, q, &rec))) {
        missing(m, q);
        return;
    }
    if (rv != APR_SUCCESS || (rec.flags & SC_REC_TOMBSTONE)) {
        answer(m, q, rv != APR_SUCCESS ? SC_UNKNOWN : SC_ABSENT);
        return;
    }
    if ((q->c.flags & SC_CHANGE_NEW) && !q->again) {
        answer(m, q, SC_REFUSED);
        return;
    }
    if (!may_change(m, q, &rec)) {
        return;
    }
    if (q->c.nattrs == 0 && q->c.max_idle_s == rec.max_idle_s &&
        (rec.primary == m->own_route || sc_mgr_is_backup(m)) && !q->again) {
        sc_expiry_touch(m, &rec, sc_mgr_now(m)); /* nothing but an access */
        answer(m, q, SC_DONE);
        return;
    }
    stamp = sc_mgr_stamp(m);
    outcome = merge_change(m, q, &stamp);
    if (outcome != SC_DONE) {
        answer(m, q, outcome);
        return;
    }
    rec.max_idle_s = q->c.max_idle_s;
    own(m, &rec, &stamp);
    if (sc_mgr_put(m, &rec, m->out.data, m->out.len) != APR_SUCCESS) {
        answer(m, q, SC_FULL);
        return;
    }
    sc_count(m->board, changed, 1);
    if (q->again || (rec.flags & SC_REC_DOUBT)) {
        sc_mgr_msg_whole(m, &rec, &m->out); /* what of it the peers have is anybody's guess */
    } else {
        msg_delta(m, SC_EVT_SESSION_DELTA, &rec, NULL);
    }
    sc_mgr_replicate(m, q->call, q->since, rec.context, &rec.id);
}

/* ---- REMOVE --------------------------------------------------------------------------------- */

static void do_remove(sc_manager_t *m, const sc_request_t *q)
{
    sc_record_t rec;
    sc_stamp_t stamp;
    apr_status_t rv = sc_store_get(m->store, q->context, &q->c.id, &rec, NULL);
    int dead = rv == APR_SUCCESS && (rec.flags & SC_REC_TOMBSTONE);

    /* with the backup manager it may be where this node does not know */
    if ((rv == APR_NOTFOUND && m->state == SC_NODE_READY &&
         (!sc_mgr_is_backup(m) || m->npeers == 0)) ||
        (dead && rec.max_idle_s == SC_DEAD_INVALIDATED && !q->again) ||
        (dead && rec.max_idle_s == SC_DEAD_RENAMED)) {
        answer(m, q, SC_DONE);
        return;
    }
    /* the end of a session needs no look at it, but a node that does not know the others yet would
     * end it for itself alone */
    if (m->state != SC_NODE_READY && put_off(m, q)) {
        return;
    }
    stamp = sc_mgr_stamp(m);
    if (sc_mgr_bury(m, q->context, &q->c.id, &stamp, SC_DEAD_INVALIDATED, NULL) != APR_SUCCESS) {
        answer(m, q, rv == APR_NOTFOUND ? SC_UNKNOWN : SC_FULL);
        return;
    }
    if (rv == APR_SUCCESS && !dead) {
        sc_count(m->board, invalidated, 1);
    }
    sc_place_dead_here(m, q->context, &q->c.id, &stamp);
    sc_mgr_msg_death(m, q->context, &q->c.id, &stamp, SC_DEAD_INVALIDATED);
    sc_mgr_replicate(m, q->call, q->since, q->context, &q->c.id);
}

/* ---- CHANGE_ID ------------------------------------------------------------------------------ */

/* The state of both ids. Returns 1 if the request can go on: the body to begin with stands in
 * m->old and its record in *rec. */
static int change_id_begin(sc_manager_t *m, const sc_request_t *q, sc_record_t *rec)
{
    sc_record_t heir;
    int heir_lives = 0, lives = 0;
    apr_status_t rv;

    rv = sc_store_get(m->store, q->context, &q->c.new_id, &heir, NULL);
    if (rv == APR_SUCCESS) {
        heir_lives = !(heir.flags & SC_REC_TOMBSTONE);
        if (!heir_lives || !q->again) {
            answer(m, q, SC_REFUSED); /* an id that is taken, or was */
            return 0;
        }
    }
    rv = sc_store_get(m->store, q->context, &q->c.id, rec, &m->old);
    lives = rv == APR_SUCCESS && !(rec->flags & SC_REC_TOMBSTONE);
    if (heir_lives && !lives) {
        /* the first attempt came as far as that: go on with what it made */
        rv = sc_store_get(m->store, q->context, &q->c.new_id, rec, &m->old);
        return rv == APR_SUCCESS;
    }
    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && is_doubtful(m, q, rec))) {
        missing(m, q);
        return 0;
    }
    if (!lives) {
        answer(m, q, SC_ABSENT);
        return 0;
    }
    return may_change(m, q, rec);
}

static void do_change_id(sc_manager_t *m, const sc_request_t *q)
{
    sc_outcome_t outcome;
    sc_record_t rec;
    sc_stamp_t stamp;

    if (memcmp(&q->c.id, &q->c.new_id, sizeof(q->c.id)) == 0) {
        answer(m, q, SC_REFUSED);
        return;
    }
    if (!change_id_begin(m, q, &rec)) {
        return;
    }
    stamp = sc_mgr_stamp(m);
    outcome = merge_change(m, q, &stamp);
    if (outcome != SC_DONE) {
        answer(m, q, outcome);
        return;
    }
    rec.id = q->c.new_id;
    rec.max_idle_s = q->c.max_idle_s;
    own(m, &rec, &stamp);
    /* the new one first: an engine killed in between leaves two, never none */
    if (sc_mgr_put(m, &rec, m->out.data, m->out.len) != APR_SUCCESS) {
        answer(m, q, SC_FULL);
        return;
    }
    (void)sc_mgr_bury(m, q->context, &q->c.id, &stamp, SC_DEAD_RENAMED, &q->c.new_id);
    sc_count(m->board, changed, 1);
    note_place(m, &rec);
    sc_place_dead_here(m, q->context, &q->c.id, &stamp);
    msg_delta(m, SC_EVT_CHANGE_SESSION_ID, &rec, &q->c.id);
    sc_mgr_replicate(m, q->call, q->since, rec.context, &rec.id);
}

/* ---- FETCH, TAKEOVER ------------------------------------------------------------------------ */

/* What was refused here stays here, and may be nowhere else. Who sees it must not see it vanish
 * with this node. */
void sc_mgr_vouch(sc_manager_t *m, const sc_link_call_t *call, apr_time_t since,
                  apr_uint16_t context, const sc_id_t *id)
{
    sc_record_t rec;

    if (sc_store_get(m->store, context, id, &rec, NULL) == APR_SUCCESS &&
        (rec.flags & SC_REC_DOUBT)) {
        sc_mgr_repair(m, call, since, context, id);
    } else {
        sc_mgr_answer(m, call, SC_FOUND, since);
    }
}

/* Whether a session that is here has idled out as far as this node knows, and another one may know
 * of a later access: accesses are told in steps, and its primary hears of them first. */
static int is_perhaps_idle(sc_manager_t *m, const sc_request_t *q, sc_record_t *rec)
{
    if (q->fetched || rec->max_idle_s == 0 || rec->primary == m->own_route || is_alone(m)) {
        return 0;
    }
    sc_expiry_refresh(m, rec);
    return rec->accessed + apr_time_from_sec((apr_time_t)rec->max_idle_s) <= sc_mgr_now(m);
}

static void do_fetch(sc_manager_t *m, const sc_request_t *q)
{
    sc_record_t rec;
    apr_status_t rv = sc_store_get(m->store, q->context, &q->c.id, &rec, NULL);
    int here = rv == APR_SUCCESS && !(rec.flags & SC_REC_TOMBSTONE);

    if (rv == APR_NOTFOUND || (rv == APR_SUCCESS && is_doubtful(m, q, &rec)) ||
        (here && sc_mgr_is_backup(m) && !q->fetched &&
         ((rec.flags & SC_REC_PROXY) || !sc_layout_here(m, &rec)))) {
        missing(m, q);
    } else if (rv != APR_SUCCESS) {
        answer(m, q, SC_UNKNOWN);
    } else if (!here) {
        answer(m, q, SC_ABSENT);
    } else if (is_perhaps_idle(m, q, &rec)) {
        look_for(m, q);
    } else if (!put_off(m, q)) {
        sc_mgr_vouch(m, q->call, q->since, q->context, &q->c.id);
    }
}

static void do_takeover(sc_manager_t *m, const sc_request_t *q)
{
    sc_record_t rec;
    sc_stamp_t stamp;
    apr_status_t rv = sc_store_get(m->store, q->context, &q->c.id, &rec, &m->old);

    if (rv != APR_SUCCESS || (rec.flags & SC_REC_TOMBSTONE)) {
        answer(m, q, SC_ABSENT);
        return;
    }
    if (rec.primary == m->own_route) {
        answer(m, q, SC_DONE);
        return;
    }
    if (sc_mgr_is_backup(m)) {
        int mine = !(rec.flags & SC_REC_PROXY) && sc_layout_owner(m, &rec) == m->own_route;

        sc_move_take(m, &rec);
        answer(m, q, mine ? SC_DONE : SC_UNKNOWN);
        return;
    }
    stamp = sc_mgr_stamp(m);
    own(m, &rec, &stamp);
    rv = sc_mgr_put(m, &rec, m->old.data, m->old.len);
    if (rv != APR_SUCCESS) {
        /* no room for a copy: in place then; without the stamp, but served all the same */
        (void)sc_store_set_location(m->store, q->context, &rec.id, m->own_route, NULL, 0,
                                    rec.epoch);
    }
    sc_buf_clear(&m->delta);
    msg_delta(m, SC_EVT_SESSION_DELTA, &rec, NULL);
    sc_mgr_broadcast(m, q->context, &rec.id);
    answer(m, q, SC_DONE);
}

/* ---- dispatch ------------------------------------------------------------------------------- */

static void run(sc_manager_t *m, const sc_request_t *q)
{
    sc_cause_t before = m->cause;

    m->cause = SC_CAUSE_REQUEST;
    switch (q->op) {
    case SC_LINK_CHANGE:
        do_change(m, q);
        break;
    case SC_LINK_REMOVE:
        do_remove(m, q);
        break;
    case SC_LINK_FETCH:
        do_fetch(m, q);
        break;
    case SC_LINK_CHANGE_ID:
        do_change_id(m, q);
        break;
    case SC_LINK_TAKEOVER:
        do_takeover(m, q);
        break;
    default:
        answer(m, q, SC_REFUSED);
        break;
    }
    m->cause = before;
}

static void start(sc_manager_t *m, sc_request_t *q)
{
    if (q->op == SC_LINK_PING) {
        answer(m, q, SC_DONE);
        return;
    }
    if (q->op == SC_LINK_DRAIN || q->op == SC_LINK_UNDRAIN) {
        answer(m, q,
               sc_manager_drain(m, q->op == SC_LINK_DRAIN) == APR_SUCCESS ? SC_DONE : SC_REFUSED);
        return;
    }
    if (m->config->role != SC_ROLE_NODE) {
        answer(m, q, q->op == SC_LINK_FETCH ? SC_UNKNOWN : SC_REFUSED);
        return;
    }
    if (sc_change_get(&q->c, q->body, q->len) != APR_SUCCESS) {
        answer(m, q, SC_REFUSED);
        return;
    }
    sc_lease_check(m);
    if (sc_board_get(m->board->quorum_lost)) {
        sc_count(m->board, refused_quorum, 1);
        answer(m, q, SC_NO_QUORUM);
        return;
    }
    if (q->fetched && q->absent != SC_ABSENT) { /* found out it could not be */
        answer(m, q, q->absent);
        return;
    }
    if (sc_mgr_learn_context(m, q->c.context, q->c.context_len, &q->context) != APR_SUCCESS) {
        answer(m, q, SC_REFUSED);
        return;
    }
    run(m, q);
}

void sc_manager_request(sc_manager_t *m, const sc_link_call_t *call, sc_link_op_t op, int again,
                        const unsigned char *body, apr_size_t len)
{
    sc_request_t q;

    memset(&q, 0, sizeof(q));
    q.call = call;
    q.op = op;
    q.again = again;
    q.since = sc_mgr_now(m);
    q.body = body;
    q.len = len;
    start(m, &q);
}

void sc_mgr_resume(sc_manager_t *m, const sc_link_call_t *call, sc_link_op_t op, int again,
                   const unsigned char *body, apr_size_t len, apr_time_t since,
                   sc_outcome_t fetched)
{
    sc_request_t q;

    memset(&q, 0, sizeof(q));
    q.call = call;
    q.op = op;
    q.again = again & 1;
    q.moved = fetched == MOVED;
    q.fetched = !q.moved || (again & WAS_FETCHED);
    q.absent = fetched == SC_FOUND || q.moved ? SC_ABSENT : fetched;
    q.since = since;
    q.body = body;
    q.len = len;
    start(m, &q);
}
