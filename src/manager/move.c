/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of location: what the owner of a session does (docs/consistency.md).
 *
 *   claim   all peers promise the number of the new location to this node (move_claim.c)
 *   copy    the session goes to those who are to hold it and do not; from now on they get its
 *           changes too, and changes of others are refused (move_copy.c)
 *   ask     all peers: NOTIFY with the new location. Who accepts knows it at once, and acts upon it
 *   decide  when all have accepted that may read without asking: the record is changed here. Those
 *           that were granted nothing learn of it before they are granted anything
 *
 * Somebody refuses: if he knows a newer location, it is taken. Otherwise (the number was promised
 * to another owner, because their views differ; no copy) it is tried again, with a number higher
 * than all that was heard of, after a pause that is different for each of those who may be in each
 * other's way.
 *
 * Once others have been asked the move cannot be forgotten: some act upon the new location. It is
 * tried until it is decided, the session has died, or somebody else owns it.
 *
 * The owner is always among the new holders. So whoever makes a change under the new location needs
 * this node for it, which refuses as long as there may be holders that do not know it yet. A node
 * that is to give up its copy becomes a backup, and the new primary moves it away.
 */
#include <stdlib.h>
#include <string.h>

#include "move.h"

#define PAUSE_MS 30
/** So often the copies are made anew because others have changed the session meanwhile. */
#define TRIES_DIRTY 20

static void step_due(void *baton, apr_time_t now);

/* ---- the table ------------------------------------------------------------------------------ */

static sc_move_t **slot_of(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_move_t **link = &m->moves->bucket[id->b[0] % SC_MOVES_BUCKETS];

    while (*link != NULL &&
           ((*link)->context != context || memcmp(&(*link)->id, id, sizeof(*id)) != 0)) {
        link = &(*link)->next;
    }
    return link;
}

sc_move_t *sc_move_find(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    return m->moves != NULL && m->moves->n > 0 ? *slot_of(m, context, id) : NULL;
}

int sc_move_pending(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    return sc_move_find(m, context, id) != NULL || sc_lost_pending(m, context, id);
}

int sc_move_has_news(const sc_manager_t *m, const sc_record_t *rec)
{
    return sc_move_pending(m, rec->context, &rec->id) ||
           sc_mgr_now(m) - m->started < 2 * SC_GUEST_STAY;
}

int sc_move_target(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                   const sc_peer_t *peer)
{
    const sc_move_t *move = sc_move_find(m, context, id);

    return move != NULL && ((move->told >> (peer - m->peer) & 1) ||
                            sc_record_holder(&move->want, peer->route) != SC_HOLDER_NONE);
}

void sc_move_dirty(const sc_manager_t *m, const sc_record_t *rec, const sc_incoming_t *in)
{
    sc_move_t *move = sc_move_find(m, rec->context, &rec->id);

    /* who changes it under the location that is asked for tells the new holders himself; to copy it
     * once more would only put off the decision, and meanwhile the new primary goes on */
    if (move != NULL && (in->located || !move->asked || in->epoch < move->want.epoch)) {
        move->dirty = 1;
    }
}

void sc_move_told(const sc_manager_t *m, sc_record_t *rec)
{
    const sc_move_t *move = sc_move_find(m, rec->context, &rec->id);

    if (move != NULL && move->asked && move->base.epoch > rec->epoch) {
        rec->primary = move->base.primary;
        rec->epoch = move->base.epoch;
        memcpy(rec->backups, move->base.backups, sizeof(rec->backups));
    }
}

sc_move_t *sc_move_add(sc_manager_t *m, const sc_record_t *rec, const sc_record_t *want, int urgent)
{
    sc_moves_t *all = m->moves;
    sc_move_t **link = slot_of(m, rec->context, &rec->id);
    sc_move_t *move = NULL;

    if (*link == NULL && all->n < SC_MOVES_MAX &&
        (urgent || all->background < SC_MOVES_BACKGROUND)) {
        move = calloc(1, sizeof(*move));
    }
    if (move == NULL) {
        return NULL;
    }
    move->m = m;
    move->context = rec->context;
    move->id = rec->id;
    move->want = *want;
    move->urgent = urgent;
    move->tail = &move->waits;
    *link = move;
    all->n++;
    all->background += !urgent;
    return move;
}

/* It is off its batch already. */
void sc_move_end(sc_move_t *move, int decided)
{
    sc_manager_t *m = move->m;
    sc_move_wait_t *w = sc_move_take_waits(move);

    *slot_of(m, move->context, &move->id) = move->next;
    m->moves->n--;
    m->moves->background -= !move->urgent;
    free(move);
    sc_move_let_go(m, w);
    sc_review_kick(m, decided);
}

void sc_move_end_all(sc_move_t *items)
{
    sc_move_t *move;

    while (items != NULL) {
        move = items;
        items = move->sibling;
        sc_move_end(move, 0);
    }
}

static void batch_free(sc_moving_t *b)
{
    sc_moving_t **link = &b->m->moves->batches;

    while (*link != b) {
        link = &(*link)->next;
    }
    *link = b->next;
    sc_timer_cancel(b->m->cfg.timers, &b->timer);
    free(b);
}

void sc_move_drop(sc_move_t *move)
{
    sc_moving_t *b;

    for (b = move->m->moves->batches; b != NULL; b = b->next) {
        sc_move_t **link = &b->items;

        while (*link != NULL && *link != move) {
            link = &(*link)->sibling;
        }
        if (*link == move) {
            *link = move->sibling;
            break;
        }
    }
    /* an empty batch ends at its next step */
    sc_move_end(move, 0);
}

/* ---- where to ------------------------------------------------------------------------------- */

int sc_move_mine(sc_manager_t *m, const sc_record_t *rec)
{
    return !(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) && sc_layout_here(m, rec) &&
           sc_layout_owner(m, rec) == m->own_route;
}

/* This node stays among the holders. */
static void keep_own(const sc_manager_t *m, sc_record_t *want)
{
    int i = 0;

    if (sc_record_holder(want, m->own_route) != SC_HOLDER_NONE) {
        return;
    }
    while (i < SC_BACKUPS_MAX - 1 && want->backups[i] != SC_ROUTE_NONE) {
        i++;
    }
    want->backups[i] = m->own_route;
}

static int same_place(const sc_record_t *a, const sc_record_t *b)
{
    return a->primary == b->primary && memcmp(a->backups, b->backups, sizeof(a->backups)) == 0;
}

/* Bits of the places of members that give away sessions themselves. */
static apr_uint64_t going(const sc_manager_t *m)
{
    apr_uint64_t places = 0;
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && sc_node_going(m->peer[i].member.node_state)) {
            places |= (apr_uint64_t)1 << i;
        }
    }
    return places;
}

static int is_in(sc_manager_t *m, apr_uint16_t route, apr_uint64_t places)
{
    const sc_peer_t *peer = sc_layout_peer(m, route);

    return peer != NULL && (places >> (peer - m->peer) & 1);
}

/* The node leaves or drains: to the first of the backups that stays, or to whoever is next.
 * @return SC_ROUTE_NONE: there is nobody */
static apr_uint16_t successor(sc_manager_t *m, const sc_record_t *rec)
{
    apr_uint16_t others[SC_BACKUPS_MAX];
    apr_uint64_t without = going(m);
    sc_record_t one = *rec, want;
    int i;

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        memset(one.backups, 0, sizeof(one.backups));
        one.backups[0] = rec->backups[i];
        if (rec->backups[i] != m->own_route && sc_layout_live(m, &one) == 1 &&
            !is_in(m, rec->backups[i], without)) {
            return rec->backups[i];
        }
    }
    memset(one.backups, 0, sizeof(one.backups));
    one.primary = m->own_route;
    (void)sc_layout_want(m, &one, without, &want);
    if (want.backups[0] != SC_ROUTE_NONE || !m->stopped) {
        return want.backups[0];
    }
    return sc_layout_choose(m, rec->context, &rec->id, m->own_route, others) > 0 ? others[0]
                                                                                 : SC_ROUTE_NONE;
}

/* This node drains, and would be the primary. */
static int gives_away(sc_manager_t *m, const sc_record_t *rec)
{
    return sc_mgr_drains(m) && (rec->primary == m->own_route || !sc_layout_usable(m, rec->primary));
}

int sc_move_want(sc_manager_t *m, const sc_record_t *rec, apr_uint16_t taker, apr_uint64_t without,
                 sc_record_t *want)
{
    apr_uint16_t primary = taker;

    /* while a request waits for a change of holders it is not given away, too: later */
    if (primary == SC_ROUTE_NONE && (m->stopped || (without == 0 && gives_away(m, rec)))) {
        primary = successor(m, rec);
        if (primary == SC_ROUTE_NONE && m->stopped) {
            return 0;
        }
    }
    if (primary != SC_ROUTE_NONE) {
        *want = *rec;
        want->primary = primary;
        (void)sc_layout_choose(m, rec->context, &rec->id, primary, want->backups);
        want->epoch = rec->epoch + 1;
    } else {
        (void)sc_layout_want(m, rec, without, want);
    }
    keep_own(m, want);
    return !same_place(want, rec) || sc_promise_stale(m, rec);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* The list of what is asked for. @return NULL: out of memory, or nothing is left */
static sc_places_t *list_of(sc_moving_t *b)
{
    sc_manager_t *m = b->m;
    sc_places_t *list = sc_places_create();
    sc_move_t *move;

    for (move = b->items; move != NULL && list != NULL; move = move->sibling) {
        sc_record_t rec;
        apr_uint64_t digest = 0;

        if (sc_store_get(m->store, move->context, &move->id, &rec, &m->old) == APR_SUCCESS) {
            digest = sc_body_digest(m->old.data, m->old.len);
        }
        if ((b->phase == SC_MOVE_CLAIM
                 ? sc_places_number(list, m->store, &move->base, digest, move->want.epoch)
                 : sc_places_add(list, m->store, &move->want, digest)) != APR_SUCCESS) {
            sc_places_free(list);
            return NULL;
        }
    }
    return list;
}

/* Ask those that have not answered. */
static void ask_peers(sc_moving_t *b)
{
    sc_manager_t *m = b->m;
    sc_places_t *list = list_of(b);
    apr_uint32_t i;

    if (list == NULL) {
        return; /* the timer tries again */
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_peer_t *peer = &m->peer[i];

        if (peer->serial == 0 || (b->asked[i] == peer->serial && (b->replied >> i & 1))) {
            continue;
        }
        sc_buf_clear(&m->msg);
        sc_places_put(&m->msg, SC_EVT_NOTIFY, b->serial,
                      b->phase == SC_MOVE_CLAIM ? SC_PLACES_CLAIM : 0, list, m->store);
        b->asked[i] = peer->serial;
        b->replied &= ~((apr_uint64_t)1 << i);
        (void)sc_mgr_post(m, peer, NULL, 0); /* one that got lost is sent again */
    }
    sc_places_free(list);
}

static apr_interval_time_t resend_time(const sc_manager_t *m)
{
    return apr_time_from_msec(m->config->ack_wait_ms > 400 ? m->config->ack_wait_ms / 4 : 100);
}

void sc_move_look_again(sc_moving_t *b)
{
    sc_manager_t *m = b->m;

    (void)sc_timer_set(m->cfg.timers, &b->timer, sc_mgr_now(m) + resend_time(m), step_due, b);
}

/* Who accepts acts upon it at once. */
static void note_asked(sc_move_t *move)
{
    sc_manager_t *m = move->m;
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 &&
            sc_record_holder(&move->want, m->peer[i].route) != SC_HOLDER_NONE) {
            move->told |= (apr_uint64_t)1 << i;
        }
    }
    move->asked = 1;
    move->base = move->want;
    move->refused = move->known_better = 0;
    move->lack = 0;
}

void sc_move_ask(sc_moving_t *b, sc_move_phase_t phase)
{
    sc_manager_t *m = b->m;
    sc_move_t *move;

    if (b->items == NULL) {
        batch_free(b);
        return;
    }
    b->phase = phase;
    b->asked_at = sc_mgr_now(m);
    b->replied = b->overdue = 0;
    memset(b->asked, 0, sizeof(b->asked));
    for (move = b->items; move != NULL && phase == SC_MOVE_ASK; move = move->sibling) {
        note_asked(move);
    }
    ask_peers(b);
    sc_move_look_again(b);
    sc_move_decide(b);
}

/* ---- beginning ------------------------------------------------------------------------------ */

/* What one member gets of each session, in all. */
static apr_uint32_t count_copies(const sc_move_t *move)
{
    apr_uint64_t copy = move->copy;
    apr_uint32_t n = 0;

    for (; copy != 0; copy &= copy - 1) {
        n++;
    }
    return n;
}

apr_uint32_t sc_move_begin(sc_manager_t *m, sc_move_t *items)
{
    sc_moving_t *b = calloc(1, sizeof(*b));
    sc_move_t *move, *next, *over = NULL;
    apr_uint32_t n = 0;
    sc_record_t rec;

    if (b == NULL) {
        sc_move_end_all(items);
        return 0;
    }
    b->m = m;
    b->next = m->moves->batches;
    m->moves->batches = b;
    for (move = items; move != NULL; move = next) {
        int known = sc_store_get(m->store, move->context, &move->id, &rec, NULL) == APR_SUCCESS &&
                    sc_move_number(move, &rec);
        sc_move_t **list = known ? &b->items : &over;

        next = move->sibling;
        if (known) {
            sc_move_plan_copies(move, &rec);
            n += count_copies(move);
        }
        move->sibling = *list;
        *list = move;
    }
    sc_move_claim(b);
    sc_move_end_all(over);
    return n;
}

/* ---- again ---------------------------------------------------------------------------------- */

/* Whether somebody who is to get a copy has no room for it. */
int sc_move_no_room(sc_manager_t *m, apr_uint64_t places, int urgent)
{
    apr_time_t until = sc_mgr_now(m) + (urgent ? SC_MOVE_FULL - SC_MOVE_FULL_URGENT : 0);
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if ((places >> i & 1) && m->moves->full[i] > until) {
            return 1;
        }
    }
    return 0;
}

/* Somebody else owns the session now. What this node has asked for it has accepted like those that
 * did: they may have dropped their copies for the one that is here. */
static void accept_own(const sc_move_t *move, const sc_record_t *rec)
{
    if (move->asked && !(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) &&
        sc_layout_cmp(move->m, &move->base, rec) > 0) {
        (void)sc_layout_set(move->m, &move->base);
    }
}

/* Another attempt. @return 0: there is no need of one any more */
static int plan_again(sc_move_t *move, int unasked)
{
    sc_manager_t *m = move->m;
    apr_uint32_t epoch = move->want.epoch;
    apr_uint64_t lack = move->lack;
    sc_record_t rec, nowhere = {0};

    if (sc_store_get(m->store, move->context, &move->id, &rec, NULL) != APR_SUCCESS) {
        return 0;
    }
    if (!sc_move_mine(m, &rec)) {
        accept_own(move, &rec);
        return 0;
    }
    if (!sc_layout_usable(m, move->taker)) {
        move->taker = SC_ROUTE_NONE;
    }
    if (!sc_move_want(m, &rec, move->taker, move->without, &move->want) ||
        sc_move_no_room(m, sc_move_newcomers(m, &rec, &move->want), move->urgent)) {
        if (!move->asked) {
            return 0;
        }
        move->want = rec; /* as it is, so that all know that nothing has changed */
    }
    move->want.epoch = epoch;
    if (!unasked && !sc_move_number(move, &rec)) {
        return 0;
    }
    sc_move_plan_copies(move, &rec);
    move->copy |= lack & sc_move_newcomers(m, &nowhere, &move->want);
    move->tries++;
    return 1;
}

/* One that was copied and never asked for keeps its number: it has been claimed, and the others
 * have not heard of what it was claimed for. */
static void begin_again(sc_moving_t *b)
{
    sc_move_t **link = &b->items;
    sc_move_t *over = NULL;
    int unasked = b->phase == SC_MOVE_COPY && !b->accepted;

    while (*link != NULL) {
        sc_move_t *move = *link;

        if (plan_again(move, unasked)) {
            link = &move->sibling;
        } else {
            *link = move->sibling;
            move->sibling = over;
            over = move;
        }
    }
    if (b->items == NULL) {
        batch_free(b);
    } else if (unasked) {
        sc_move_copy(b);
    } else {
        sc_move_claim(b);
    }
    sc_move_end_all(over);
}

/* Different for each node and each attempt, and the same in each run of a test. */
static apr_interval_time_t pause_of(const sc_manager_t *m, const sc_move_t *move)
{
    const char *route = m->config->route;
    apr_uint64_t h = sc_body_digest(route, strlen(route)) + move->want.epoch;
    apr_uint32_t most = PAUSE_MS << (move->tries < 5 ? move->tries : 5);

    h = (h ^ h >> 31) * 0x9E3779B97F4A7C15ull;
    return apr_time_from_msec((apr_time_t)(PAUSE_MS / 3 + (h >> 33) % most));
}

/* ---- deciding ------------------------------------------------------------------------------- */

/* The record is changed; its requests go on. */
static void commit(sc_move_t *move)
{
    sc_manager_t *m = move->m;
    sc_record_t rec;
    int made = 0;

    if (sc_store_get(m->store, move->context, &move->id, &rec, &m->old) == APR_SUCCESS &&
        !(rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) && rec.epoch < move->want.epoch) {
        made = sc_layout_set(m, &move->want) == APR_SUCCESS;
    }
    if (made) {
        int moved = !same_place(&rec, &move->want);

        rec.primary = move->want.primary;
        rec.epoch = move->want.epoch;
        memcpy(rec.backups, move->want.backups, sizeof(rec.backups));
        (void)sc_store_touch(m->store, rec.context, &rec.id, rec.accessed, sc_mgr_due(m, &rec));
        sc_count(m->board, moves, moved);
        m->moves->review.moved += (apr_uint64_t)moved;
        sc_place_note(m, &rec, sc_body_digest(m->old.data, m->old.len));
        sc_move_look(m, &rec); /* with those that could not hold it when this began */
    }
    sc_move_end(move, made);
}

/* Those that hold them by these locations may go by them from now on. Does one not hear of it, the
 * session gets another location after a while (sc_promise_stale). */
static void tell_decided(sc_manager_t *m, const sc_move_t *items)
{
    sc_places_t *list = sc_places_create();
    apr_uint64_t places = 0;
    const sc_move_t *move;
    apr_uint32_t i;

    for (move = items; move != NULL && list != NULL; move = move->sibling) {
        places |= move->told;
        (void)sc_places_add(list, m->store, &move->want, 0);
    }
    for (i = 0; i < SC_MEMBERS_MAX && list != NULL; i++) {
        if ((places >> i & 1) && m->peer[i].serial != 0) {
            sc_buf_clear(&m->msg);
            sc_places_put(&m->msg, SC_EVT_NOTIFY, 0, SC_PLACES_DECIDED, list, m->store);
            (void)sc_mgr_post(m, &m->peer[i], NULL, 0);
        }
    }
    sc_places_free(list);
}

/* Whether all have answered who may read from what they have, and those who are there: somebody may
 * ask them where the session is. */
static int all_answered(sc_moving_t *b)
{
    sc_manager_t *m = b->m;
    apr_uint32_t i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];
        int answered = b->asked[i] == peer->serial && (b->replied >> i & 1);

        if (peer->serial != 0 && !answered &&
            (sc_lease_may_read(m, peer) || !((b->overdue >> i & 1) || sc_lease_mute(m, peer)))) {
            return 0;
        }
    }
    return 1;
}

/* Members that know of it, this one included. That others hear this node is not enough: those that
 * have not got it may go on from the location that they know. */
static apr_uint32_t count_answers(const sc_moving_t *b)
{
    apr_uint32_t n = !b->m->stopped || b->m->config->quorum < 2, i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &b->m->peer[i];

        n += peer->serial != 0 && b->asked[i] == peer->serial && (b->replied >> i & 1) &&
             sc_lease_stays(peer);
    }
    return n;
}

/* After a pause, as long as the longest one that one of them needs. */
static void rest(sc_moving_t *b, sc_move_t *items)
{
    apr_interval_time_t most = 0;
    const sc_move_t *move;

    b->items = items;
    b->accepted = 0;
    if (items == NULL) {
        batch_free(b);
        return;
    }
    for (move = items; move != NULL; move = move->sibling) {
        if (pause_of(b->m, move) > most) {
            most = pause_of(b->m, move);
        }
    }
    b->phase = SC_MOVE_PAUSE;
    (void)sc_timer_set(b->m->cfg.timers, &b->timer, sc_mgr_now(b->m) + most, step_due, b);
}

int sc_move_part(sc_moving_t *b, sc_move_t *good, sc_move_t *refused)
{
    sc_manager_t *m = b->m;
    sc_moving_t *other;

    if (good == NULL) {
        rest(b, refused);
        return 0;
    }
    b->items = good;
    if (refused != NULL) {
        other = calloc(1, sizeof(*other));
        if (other == NULL) {
            sc_move_end_all(refused);
        } else {
            other->m = m;
            other->next = m->moves->batches;
            m->moves->batches = other;
            rest(other, refused);
        }
    }
    return 1;
}

/* Who hears fewer than he does not hear is probably the one that is cut off: the others go on
 * without him. A number is claimed when a quorum has promised it, whatever the others would say. */
static int is_answered(sc_moving_t *b)
{
    apr_uint32_t quorum = b->m->config->quorum;

    if (sc_lease_cut_off(b->m) || count_answers(b) < quorum) {
        return 0;
    }
    if (b->phase == SC_MOVE_CLAIM && quorum > 1) {
        return 1;
    }
    return all_answered(b) && (b->phase == SC_MOVE_CLAIM || sc_lease_departed(b->m) == 0);
}

void sc_move_decide(sc_moving_t *b)
{
    sc_manager_t *m = b->m;
    sc_move_t *accepted = NULL, *refused = NULL, *over = NULL, *stale = NULL, *move = b->items;
    sc_moving_t *again = NULL;

    if (move != NULL && !is_answered(b)) {
        return; /* its timer looks again */
    }
    if (b->phase == SC_MOVE_CLAIM) {
        sc_move_claimed(b);
        return;
    }
    while (move != NULL) {
        sc_move_t *next = move->sibling;
        sc_move_t **list = &accepted;

        sc_move_judge_copies(b, move);
        if (move->known_better || move->refused) {
            list = move->known_better ? &over : &refused;
        } else if (move->dirty && move->copy != 0 && move->tries < TRIES_DIRTY) {
            again = again != NULL ? again : malloc(sizeof(*again));
            list = again != NULL ? &stale : &refused;
        }
        move->sibling = *list;
        *list = move;
        move = next;
    }
    if (again != NULL) {
        *again = *b;
    }
    rest(b, refused);
    if (again != NULL) {
        sc_move_copy_again(again, stale);
    }
    tell_decided(m, accepted);
    for (; accepted != NULL; accepted = move) {
        move = accepted->sibling;
        commit(accepted);
    }
    sc_move_end_all(over);
}

/* Who has had his time gets nothing more granted; then it can be decided without him. */
static void note_overdue(sc_moving_t *b, apr_time_t now)
{
    sc_manager_t *m = b->m;
    apr_uint32_t i;

    if (now - b->asked_at < apr_time_from_msec(m->config->ack_wait_ms)) {
        return;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        apr_uint64_t bit = (apr_uint64_t)1 << i;
        sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && b->asked[i] == peer->serial &&
            !((b->replied | b->overdue) & bit)) {
            b->overdue |= bit;
            sc_lease_lost(m, peer);
        }
    }
}

/* Whether somebody who is to get a copy hangs. The copy may be on its way to him for much longer
 * than any request waits, and all that time changes would be refused. */
static int is_stuck(const sc_moving_t *b)
{
    const sc_manager_t *m = b->m;
    const sc_move_t *move;
    apr_uint64_t copy = 0;
    apr_uint32_t i;

    for (move = b->items; move != NULL; move = move->sibling) {
        copy |= move->copy;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if ((copy >> i & 1) && m->peer[i].serial != 0 && sc_lease_mute(m, &m->peer[i])) {
            return 1;
        }
    }
    return 0;
}

static void step_due(void *baton, apr_time_t now)
{
    sc_moving_t *b = baton;
    sc_manager_t *m = b->m;

    if (b->items == NULL) {
        batch_free(b);
    } else if (b->phase == SC_MOVE_PAUSE || (b->phase == SC_MOVE_COPY && is_stuck(b))) {
        begin_again(b);
    } else if (b->phase == SC_MOVE_COPY) {
        (void)sc_timer_set(m->cfg.timers, &b->timer, now + resend_time(m), step_due, b);
    } else {
        apr_time_t end = sc_lease_departed(m);
        apr_time_t due = now + resend_time(m);

        (void)sc_timer_set(m->cfg.timers, &b->timer, end > now && end < due ? end : due, step_due,
                           b);
        note_overdue(b, now);
        ask_peers(b);
        sc_move_decide(b);
    }
}

/* ---- members, life -------------------------------------------------------------------------- */

void sc_move_gone(sc_manager_t *m, const sc_peer_t *peer, apr_uint32_t serial)
{
    sc_moving_t *b;

    (void)serial;
    if (m->moves == NULL) {
        return;
    }
    m->moves->full[peer - m->peer] = 0;
    for (b = m->moves->batches; b != NULL; b = b->next) {
        if (b->phase == SC_MOVE_ASK ||
            b->phase == SC_MOVE_CLAIM) { /* not from here: deciding changes the list */
            (void)sc_timer_set(m->cfg.timers, &b->timer, sc_mgr_now(m), step_due, b);
        }
    }
    sc_move_review(m);
}

void sc_move_stop(sc_manager_t *m)
{
    sc_moves_t *all = m->moves;
    int i;

    if (all == NULL) {
        return;
    }
    sc_lost_stop(m);
    sc_move_await_stop(m);
    sc_timer_cancel(m->cfg.timers, &all->review.timer);
    sc_timer_cancel(m->cfg.timers, &all->review.tick);
    while (all->batches != NULL) {
        batch_free(all->batches);
    }
    for (i = 0; i < SC_MOVES_BUCKETS; i++) {
        while (all->bucket[i] != NULL) {
            sc_move_t *move = all->bucket[i];

            all->bucket[i] = move->next;
            sc_move_forget_waits(sc_move_take_waits(move));
            free(move);
        }
    }
    m->moves = NULL;
    free(all);
}
