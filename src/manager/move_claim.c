/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of location: the number of a new one is claimed before anything else
 * (docs/consistency.md, "Changes of location").
 *
 * Two nodes may take themselves for the owner, because their views differ. Each asks all peers to
 * promise its number to nobody else, and to accept no location with a lower one. Who knows a
 * location that is newer than the one the claimer begins from, or has promised as high a number
 * already, refuses and says so. So a number belongs to one node at most; and when enough have
 * promised it, no lower one can be decided any more that the claimer has not heard of.
 *
 * A promise is kept in the record, over the end of the engine. To whom it was made is only
 * remembered for a while, so that a claim that comes twice is not refused the second time.
 */
#include <stdlib.h>
#include <string.h>

#include "move.h"

/** After so long whoever was promised a number will hardly come back to it. */
#define STALE apr_time_from_sec(2)
/** Nor to a location that others act upon already. */
#define STALE_OPEN apr_time_from_sec(1)

/* ---- promises -------------------------------------------------------------------------------- */

static sc_promise_t *slot_of(const sc_manager_t *m, const sc_id_t *id)
{
    return &m->moves->promise[(id->b[1] | id->b[2] << 8) % SC_PROMISES];
}

static sc_promise_t *promise_of(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    sc_promise_t *p = slot_of(m, id);

    return p->number != 0 && p->context == context && memcmp(&p->id, id, sizeof(*id)) == 0 ? p
                                                                                           : NULL;
}

/* @param p what is remembered of it, or NULL */
static apr_uint32_t number_of(const sc_promise_t *p, const sc_record_t *rec)
{
    return p != NULL && p->number > rec->promised && p->number > rec->epoch ? p->number
                                                                            : rec->promised;
}

apr_uint32_t sc_promise_number(const sc_manager_t *m, const sc_record_t *rec)
{
    return number_of(m->moves != NULL ? promise_of(m, rec->context, &rec->id) : NULL, rec);
}

int sc_promise_free(const sc_manager_t *m, const sc_record_t *rec, apr_uint32_t number,
                    apr_uint64_t store_id)
{
    const sc_promise_t *p = promise_of(m, rec->context, &rec->id);
    apr_uint32_t promised = number_of(p, rec);

    return promised < number ||
           (promised == number && p != NULL && p->number == number && p->store_id == store_id);
}

static int is_slot_of(const sc_promise_t *p, const sc_record_t *rec)
{
    return p->context == rec->context && memcmp(&p->id, &rec->id, sizeof(p->id)) == 0;
}

static sc_promise_t *take_slot(sc_manager_t *m, const sc_record_t *rec)
{
    sc_promise_t *p = slot_of(m, &rec->id);

    if (!is_slot_of(p, rec)) {
        memset(p, 0, sizeof(*p));
        p->context = rec->context;
        p->id = rec->id;
    }
    return p;
}

void sc_promise_make(sc_manager_t *m, const sc_record_t *rec, apr_uint32_t number,
                     apr_uint64_t store_id)
{
    sc_promise_t *p = take_slot(m, rec);

    p->number = number;
    p->store_id = store_id;
    p->at = sc_mgr_now(m);
    if (number > rec->epoch && number - rec->epoch > SC_PROMISE_MAX) {
        number = rec->epoch + SC_PROMISE_MAX; /* there is no room for more */
    }
    (void)sc_store_promise(m->store, rec->context, &rec->id, number);
}

/* ---- locations that are open ----------------------------------------------------------------- */

void sc_promise_open(sc_manager_t *m, const sc_record_t *in, apr_uint64_t store_id)
{
    sc_promise_t *p = take_slot(m, in);

    p->open = in->epoch;
    p->opener = store_id;
    p->opened = sc_mgr_now(m);
}

int sc_promise_is_open(const sc_manager_t *m, const sc_record_t *rec)
{
    const sc_promise_t *p = m->moves != NULL ? slot_of(m, &rec->id) : NULL;

    return p != NULL && p->open != 0 && p->open == rec->epoch && is_slot_of(p, rec);
}

int sc_promise_open_to(const sc_manager_t *m, const sc_record_t *rec, apr_uint64_t store_id)
{
    return sc_promise_is_open(m, rec) && slot_of(m, &rec->id)->opener != store_id &&
           !sc_promise_to(m, rec, store_id);
}

void sc_promise_decided(sc_manager_t *m, const sc_record_t *in)
{
    sc_record_t rec;

    if (sc_store_get(m->store, in->context, &in->id, &rec, NULL) == APR_SUCCESS &&
        !(rec.flags & SC_REC_TOMBSTONE) && sc_layout_cmp(m, in, &rec) == 0 &&
        sc_promise_is_open(m, &rec)) {
        slot_of(m, &in->id)->open = 0;
        sc_move_go_on(m, in->context, &in->id);
    }
}

/* Whoever has asked for it is gone, or has not come to an end. */
static int is_left_open(const sc_manager_t *m, const sc_record_t *rec)
{
    const sc_promise_t *p = slot_of(m, &rec->id);
    apr_uint32_t i;

    if (!sc_promise_is_open(m, rec)) {
        return 0;
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && m->peer[i].member.store_id == p->opener) {
            return sc_mgr_now(m) - p->opened > STALE_OPEN;
        }
    }
    return 1;
}

/* ---- promises that lead to nothing ------------------------------------------------------------
 */

int sc_promise_stale(const sc_manager_t *m, const sc_record_t *rec)
{
    const sc_promise_t *p;

    if (m->moves != NULL && is_left_open(m, rec)) {
        return 1;
    }
    if (m->moves == NULL || rec->promised <= rec->epoch) {
        return 0;
    }
    p = promise_of(m, rec->context, &rec->id);
    return p == NULL || sc_mgr_now(m) - p->at > STALE ||
           (sc_promise_to(m, rec, sc_store_id(m->store)) &&
            sc_move_find(m, rec->context, &rec->id) == NULL); /* it has given up */
}

int sc_promise_to(const sc_manager_t *m, const sc_record_t *rec, apr_uint64_t store_id)
{
    const sc_promise_t *p = m->moves != NULL ? promise_of(m, rec->context, &rec->id) : NULL;

    return p != NULL && p->number >= rec->promised && p->store_id == store_id;
}

int sc_promise_binds(const sc_manager_t *m, const sc_record_t *rec)
{
    return rec->promised > rec->epoch && !sc_promise_to(m, rec, sc_store_id(m->store));
}

/* ---- claiming -------------------------------------------------------------------------------- */

static int by_number(const sc_move_t *move, const sc_record_t *rec, apr_uint32_t *number)
{
    apr_uint32_t promised = sc_promise_number(move->m, rec);

    *number = rec->epoch > move->base.epoch ? rec->epoch : move->base.epoch;
    *number = promised > *number ? promised : *number;
    *number = move->heard > *number ? move->heard : *number;
    ++*number;
    return *number <= SC_EPOCH_MAX;
}

int sc_move_number(sc_move_t *move, const sc_record_t *rec)
{
    sc_manager_t *m = move->m;
    apr_uint32_t number;

    if (!move->asked) {
        move->base = *rec;
    }
    if (!by_number(move, rec, &number)) {
        return 0;
    }
    move->want.epoch = number;
    sc_promise_make(m, rec, number, sc_store_id(m->store));
    return 1;
}

void sc_move_claim(sc_moving_t *b)
{
    sc_move_t *move;

    b->serial = ++b->m->moves->serial;
    b->copies = 0;
    b->accepted = 0;
    b->broken = 0;
    for (move = b->items; move != NULL; move = move->sibling) {
        move->refused = move->known_better = 0;
    }
    sc_move_ask(b, SC_MOVE_CLAIM);
}

/* Whether it may go on: it is still this node's, and nobody has claimed a higher number since. */
static int is_claimed(const sc_move_t *move)
{
    sc_manager_t *m = move->m;
    sc_record_t rec;

    return !move->refused &&
           sc_store_get(m->store, move->context, &move->id, &rec, NULL) == APR_SUCCESS &&
           sc_move_mine(m, &rec) && sc_promise_number(m, &rec) <= move->want.epoch;
}

void sc_move_claimed(sc_moving_t *b)
{
    sc_move_t *claimed = NULL, *refused = NULL, *over = NULL, *move, *next;

    for (move = b->items; move != NULL; move = next) {
        sc_move_t **list = move->known_better ? &over : is_claimed(move) ? &claimed : &refused;

        next = move->sibling;
        move->sibling = *list;
        *list = move;
    }
    if (sc_move_part(b, claimed, refused)) {
        sc_move_copy(b);
    }
    sc_move_end_all(over);
}
