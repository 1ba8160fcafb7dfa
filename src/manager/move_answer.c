/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of location: what the others have answered (NOTIFY_REPLY).
 */
#include <string.h>

#include "move.h"

/** So often a member that has no copy is given another chance. */
#define TRIES_LACK 4

static void note_full(sc_manager_t *m, const sc_member_t *from, apr_uint32_t place)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    m->moves->full[place] = sc_mgr_now(m) + SC_MOVE_FULL;
    if (sc_log_allowed(&m->moves->full_log, sc_mgr_now(m), SC_COMPLAIN, &more)) {
        sc_log(m->cfg.log, SC_LOG_WARNING, 0,
               "SC0595: member %s did not take the copy of a session (%" APR_UINT64_T_FMT
               " more before); it stays where it is",
               sc_member_name(from, name), more);
    }
}

/* A peer has no copy, or does not know what is spoken of. It cannot read, then; if another copy
 * does not help it can be decided without it. @return whether it is to be tried again */
static int judge_lack(sc_moving_t *b, const sc_member_t *from, const sc_peer_t *peer,
                      sc_move_t *move)
{
    apr_uint32_t place = (apr_uint32_t)(peer - b->m->peer);
    apr_uint64_t bit = (apr_uint64_t)1 << place;

    if (sc_record_holder(&move->want, peer->route) == SC_HOLDER_NONE) {
        return 1;
    }
    if (!(move->copy & bit) || (b->broken & bit)) {
        move->lack |= bit; /* it gets one, or another one */
    } else {
        note_full(b->m, from, place);
    }
    return move->tries < TRIES_LACK;
}

/* What a peer says of one session that it did not accept, or promise.
 * @param promised a number that it has promised to somebody else; 0: that is not the reason */
static void judge(sc_moving_t *b, const sc_member_t *from, const sc_peer_t *peer, sc_move_t *move,
                  const sc_record_t *known, int readable, apr_uint32_t promised)
{
    sc_manager_t *m = b->m;

    sc_count(m->board, moves_refused, 1);
    if (!readable || known->primary == SC_ROUTE_NONE) {
        move->refused |= b->phase == SC_MOVE_CLAIM || judge_lack(b, from, peer, move);
        return;
    }
    move->refused = 1;
    if (!sc_place_possible(m, from, move->base.epoch,
                           promised > known->epoch ? promised : known->epoch)) {
        return;
    }
    if (known->epoch > move->heard) {
        move->heard = known->epoch;
    }
    if (promised > move->heard) {
        move->heard = promised;
    }
    if (promised == 0 && known->epoch > move->base.epoch) {
        apr_status_t rv = sc_place_merge(m, from, known, 0, 0);

        move->known_better |= rv == APR_SUCCESS || rv == APR_EEXIST;
    }
}

static sc_move_t *item_of(const sc_moving_t *b, apr_uint16_t context, const sc_id_t *id)
{
    sc_move_t *move = b->items;

    while (move != NULL && (move->context != context || memcmp(&move->id, id, sizeof(*id)) != 0)) {
        move = move->sibling;
    }
    return move;
}

static void judge_group(sc_moving_t *b, const sc_member_t *from, const sc_peer_t *peer,
                        const sc_msg_places_t *list, const sc_group_t *g)
{
    sc_manager_t *m = b->m;
    apr_uint16_t context;
    sc_place_t item;
    sc_record_t rec;
    apr_uint64_t i;
    sc_rd_t items;

    if (sc_store_context(m->store, g->context.s, g->context.len, 0, &context) != APR_SUCCESS) {
        return;
    }
    sc_rd_init(&items, g->items, g->items_len);
    for (i = 0; i < g->n && sc_place_get(&items, &item) == APR_SUCCESS; i++) {
        sc_move_t *move = item_of(b, context, &item.id);

        if (move != NULL) {
            int readable = sc_place_record(m, list, &item, context, &rec) == APR_SUCCESS;

            judge(b, from, peer, move, &rec, readable, item.number);
        }
    }
}

apr_status_t sc_move_answered(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_peer_t *peer = sc_mgr_peer(m, from);
    sc_moving_t *b = m->moves != NULL ? m->moves->batches : NULL;
    sc_msg_places_t list;
    sc_group_t g;
    apr_uint64_t i;
    apr_uint32_t place;

    if (sc_msg_places_get(r, &list) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    while (b != NULL && b->serial != list.serial) {
        b = b->next;
    }
    if (b == NULL || peer == NULL || (b->phase != SC_MOVE_ASK && b->phase != SC_MOVE_CLAIM)) {
        return APR_SUCCESS;
    }
    place = (apr_uint32_t)(peer - m->peer);
    if (b->asked[place] != peer->serial || (b->replied >> place & 1)) {
        return APR_SUCCESS;
    }
    /* who has forgotten what he promised makes no quorum of promises; he is asked again */
    if (b->phase != SC_MOVE_CLAIM || m->config->quorum < 2 || !(list.flags & SC_PLACES_BLANK)) {
        b->replied |= (apr_uint64_t)1 << place;
    }
    for (i = 0; i < list.ngroups && sc_places_group_get(r, &g) == APR_SUCCESS; i++) {
        judge_group(b, from, peer, &list, &g);
    }
    sc_move_decide(b);
    return APR_SUCCESS;
}
