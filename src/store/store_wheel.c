/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The timing wheel: when which record is due.
 *
 * WHEEL_SLOTS lists of one second each, linked through the records' heads. A due time further away
 * than one turn stands in the slot it would have anyway and is passed over until its turn comes; so
 * a sweep costs the records of the seconds that went by, and setting a due time costs nothing.
 *
 * What a sweep finds due goes to one more list (WHEEL_DUE) and is worked off from there, oldest
 * first, in portions of the caller's choice. A record is put back into the wheel, at once due
 * again, before the caller's function sees it: so whatever that function does, with this record or
 * another one, it does with a record that is properly linked, and no record can get lost.
 *
 * Readers never look at these links; an engine killed here leaves them to the recovery.
 */
#include "store_layout.h"

static apr_uint32_t *prev_of(sc_store_t *s, apr_uint32_t cell)
{
    return &s->cell[cell].rec.wheel_prev;
}

static apr_uint32_t *next_of(sc_store_t *s, apr_uint32_t cell)
{
    return &s->cell[cell].rec.wheel_next;
}

static void push_front(sc_store_t *s, apr_uint32_t cell, apr_uint32_t slot)
{
    apr_uint32_t first = s->wheel[slot];

    st32(prev_of(s, cell), 0);
    st32(next_of(s, cell), first);
    st32(&s->cell[cell].rec.wheel_slot, slot);
    if (first != 0) {
        st32(prev_of(s, first - 1), cell + 1);
    }
    s->wheel[slot] = cell + 1;
}

static void push_due(sc_store_t *s, apr_uint32_t cell)
{
    apr_uint32_t last = s->head->due_tail;

    if (s->wheel[WHEEL_DUE] == 0) {
        last = 0;
    }
    st32(prev_of(s, cell), last);
    st32(next_of(s, cell), 0);
    st32(&s->cell[cell].rec.wheel_slot, WHEEL_DUE);
    if (last != 0) {
        st32(next_of(s, last - 1), cell + 1);
    } else {
        s->wheel[WHEEL_DUE] = cell + 1;
    }
    s->head->due_tail = cell + 1;
}

void sc_wheel_add(sc_store_t *s, apr_uint32_t cell, apr_time_t due)
{
    apr_uint64_t tick = due > 0 ? (apr_uint64_t)(due / APR_USEC_PER_SEC) : 0;

    if (tick < s->head->wheel_tick) {
        tick = s->head->wheel_tick; /* overdue: its own slot has gone by already */
    }
    st64(&s->cell[cell].rec.due, (apr_uint64_t)due);
    push_front(s, cell, (apr_uint32_t)(tick % WHEEL_SLOTS));
}

void sc_wheel_drop(sc_store_t *s, apr_uint32_t cell)
{
    apr_uint32_t prev = ld32(prev_of(s, cell));
    apr_uint32_t next = ld32(next_of(s, cell));
    apr_uint32_t slot = ld32(&s->cell[cell].rec.wheel_slot);

    if (prev > s->ncells || next > s->ncells || slot > WHEEL_DUE) {
        return; /* stray writes; do not spread them */
    }
    if (next != 0) {
        st32(prev_of(s, next - 1), prev);
    } else if (slot == WHEEL_DUE) {
        s->head->due_tail = prev;
    }
    if (prev != 0) {
        st32(next_of(s, prev - 1), next);
    } else {
        s->wheel[slot] = next;
    }
}

void sc_wheel_reset(sc_store_t *s)
{
    memset(s->wheel, 0, (WHEEL_SLOTS + 1) * sizeof(s->wheel[0]));
    s->head->wheel_tick = 0;
    s->head->due_tail = 0;
}

/* Move what is due in one slot to the list of what is due. */
static void sweep_slot(sc_store_t *s, apr_uint32_t slot, apr_time_t now)
{
    apr_uint32_t ref = s->wheel[slot];

    while (ref != 0 && ref <= s->ncells) {
        apr_uint32_t cell = ref - 1;

        ref = ld32(next_of(s, cell));
        if ((apr_time_t)ld64(&s->cell[cell].rec.due) <= now) {
            sc_wheel_drop(s, cell);
            push_due(s, cell);
        }
    }
}

/* The slots of all seconds since the last sweep, the running one included (it stays open). */
static void sweep(sc_store_t *s, apr_time_t now)
{
    apr_uint64_t from = s->head->wheel_tick;
    apr_uint64_t to = now > 0 ? (apr_uint64_t)(now / APR_USEC_PER_SEC) : 0;
    apr_uint64_t tick;

    if (to < from) {
        to = from;
    }
    if (to - from >= WHEEL_SLOTS) {
        from = to - WHEEL_SLOTS + 1;
    }
    for (tick = from; tick <= to; tick++) {
        sweep_slot(s, (apr_uint32_t)(tick % WHEEL_SLOTS), now);
    }
    s->head->wheel_tick = to;
}

apr_size_t sc_store_run_due(sc_store_t *store, apr_time_t now, apr_size_t max,
                            sc_store_due_fn_t *fn, void *baton)
{
    apr_size_t done = 0;

    sweep(store, now);
    while (done < max && store->wheel[WHEEL_DUE] != 0 && store->wheel[WHEEL_DUE] <= store->ncells) {
        apr_uint32_t cell = store->wheel[WHEEL_DUE] - 1;
        apr_uint32_t gen = ld32(&store->gen[cell]);
        apr_time_t next;
        snap_t snap;

        done++;
        sc_wheel_drop(store, cell);
        sc_wheel_add(store, cell, (apr_time_t)ld64(&store->cell[cell].rec.due));
        if (!sc_snap_head(store, cell, gen, &snap)) {
            continue;
        }
        next = fn(baton, &snap.rec);
        if (next != 0 && ld32(&store->gen[cell]) == gen) {
            sc_wheel_drop(store, cell);
            sc_wheel_add(store, cell, next);
        }
    }
    return done;
}
