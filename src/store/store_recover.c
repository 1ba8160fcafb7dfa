/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Recovery: a new engine takes over the mapping of one that was killed.
 *
 * Only what the buckets lead to counts. Each record found is checked as far as it can be (place in
 * the right chain, indices, length, check sum over head and body, no cell used twice) and dropped
 * otherwise; free list, wheel and counts are then rebuilt from what remains, whatever state they
 * were in. Readers may go on meanwhile: a link is swung around what is dropped before the cells of
 * it are retired, as in any other change.
 *
 * An engine that was merely killed leaves nothing to drop. The checks are for what should not
 * happen: a stray write, a fault of memory, an error of ours.
 */
#include <stdlib.h>

#include "store_layout.h"

typedef struct recovery_t {
    sc_store_t *store;
    apr_uint64_t *used;  /* one bit a cell */
    apr_uint32_t end;    /* one past the highest cell in use */
    apr_uint32_t ncells; /* cells in use */
    apr_uint64_t lsn;    /* highest seen */
    apr_uint32_t nroutes;
    apr_uint32_t ncontexts;
    apr_uint32_t chain[MAX_HOPS]; /* accepted in the chain at hand */
    int nchain;
    sc_store_recovery_t report;
} recovery_t;

static int is_used(const recovery_t *r, apr_uint32_t cell)
{
    return (r->used[cell / 64] >> (cell % 64) & 1) != 0;
}

static void set_used(recovery_t *r, apr_uint32_t cell, int on)
{
    apr_uint64_t bit = (apr_uint64_t)1 << (cell % 64);

    if (on) {
        r->used[cell / 64] |= bit;
        r->ncells++;
        if (cell >= r->end) {
            r->end = cell + 1;
        }
    } else {
        r->used[cell / 64] &= ~bit;
        r->ncells--;
    }
}

/* Claim the cells of a body; a chain that meets a cell in use, a record or a wrong end gives back
 * what it has claimed. */
static int claim_body(recovery_t *r, apr_uint32_t first, apr_uint32_t cells)
{
    const sc_store_t *s = r->store;
    apr_uint32_t ref = first, n = 0;

    while (n < cells && ref != 0 && ref <= s->ncells && !is_used(r, ref - 1) &&
           (ld32(&s->gen[ref - 1]) & 1) == 0) {
        set_used(r, ref - 1, 1);
        ref = ld32(&s->cell[ref - 1].body.next);
        n++;
    }
    if (n == cells && ref == 0) {
        return 1;
    }
    for (ref = first; n > 0; n--) {
        set_used(r, ref - 1, 0);
        ref = ld32(&s->cell[ref - 1].body.next);
    }
    return 0;
}

static int head_possible(const recovery_t *r, const sc_record_t *rec)
{
    int i;

    if (rec->context >= r->ncontexts || !flags_possible(rec->flags) ||
        ((rec->flags & NO_BODY) && rec->body_len != 0) || rec->primary >= r->nroutes ||
        rec->lsn == 0 || rec->lsn > LSN_MAX) {
        return 0;
    }
    for (i = 0; i < SC_BACKUPS_MAX; i++) {
        if (rec->backups[i] >= r->nroutes) {
            return 0;
        }
    }
    return 1;
}

/* Whether one of the records accepted in this chain has the same key. */
static int is_double(const recovery_t *r, const snap_t *snap)
{
    apr_uint64_t word[2];
    int i;

    memcpy(word, snap->rec.id.b, sizeof(word));
    for (i = 0; i < r->nchain; i++) {
        const record_cell_t *other = &r->store->cell[r->chain[i]].rec;

        if (ld64(&other->id[0]) == word[0] && ld64(&other->id[1]) == word[1] &&
            (ld32(&other->kind) & 0xffff) == snap->rec.context) {
            return 1;
        }
    }
    return 0;
}

/* Check a record and claim its cells. */
static int accept_record(recovery_t *r, const snap_t *snap)
{
    if (!snap->whole || snap->rec.body_len > body_max(r->store) || !head_possible(r, &snap->rec) ||
        is_double(r, snap)) {
        return 0;
    }
    set_used(r, snap->cell, 1);
    if (!claim_body(r, snap->body, body_cells(snap->rec.body_len))) {
        set_used(r, snap->cell, 0);
        return 0;
    }
    if (!sc_snap_body(r->store, snap, NULL)) {
        apr_uint32_t ref = snap->body;

        set_used(r, snap->cell, 0);
        while (ref != 0) { /* claimed a moment ago, so it ends */
            set_used(r, ref - 1, 0);
            ref = ld32(&r->store->cell[ref - 1].body.next);
        }
        return 0;
    }
    return 1;
}

/*
 * One chain. What is broken but stands in the right bucket is skipped and its successor looked at;
 * a link that leads anywhere else is wild, and the chain ends before it.
 */
static void recover_chain(recovery_t *r, apr_uint32_t bucket)
{
    sc_store_t *s = r->store;
    apr_uint32_t *link = &s->bucket[bucket];
    apr_uint32_t ref = ld32(link);
    int hops;

    r->nchain = 0;
    for (hops = 0; hops < MAX_HOPS && ref != 0; hops++) {
        snap_t snap;

        if (ref > s->ncells || is_used(r, ref - 1) ||
            !sc_snap_copy(s, ref - 1, ld32(&s->gen[ref - 1]), &snap) ||
            sc_store_bucket(s, snap.rec.context, &snap.rec.id) != bucket) {
            r->report.dropped++;
            break;
        }
        if (accept_record(r, &snap)) {
            if (ld32(link) != ref) {
                st32_release(link, ref);
            }
            link = &s->cell[snap.cell].rec.next;
            r->chain[r->nchain++] = snap.cell;
            if (snap.rec.lsn > r->lsn) {
                r->lsn = snap.rec.lsn;
            }
            sc_store_account(s, &snap.rec, 1);
            sc_wheel_add(s, snap.cell, snap.rec.due);
            r->report.kept++;
        } else {
            r->report.dropped++;
        }
        ref = snap.next;
    }
    if (ld32(link) != 0) {
        st32_release(link, 0); /* whatever still hangs there was not accepted */
    }
}

/* Names are used up to their NUL and counts as bounds: make both possible. */
static void recover_names(recovery_t *r)
{
    sc_store_t *s = r->store;
    head_t *h = s->head;
    apr_uint32_t i;

    if (h->ncontexts > SC_CONTEXTS_MAX) {
        st32_release(&h->ncontexts, SC_CONTEXTS_MAX);
    }
    if (h->nroutes < 1 || h->nroutes > SC_ROUTES_MAX) {
        st32_release(&h->nroutes, h->nroutes < 1 ? 1 : SC_ROUTES_MAX);
    }
    r->ncontexts = h->ncontexts;
    r->nroutes = h->nroutes;
    if (h->own_route >= h->nroutes) {
        h->own_route = SC_ROUTE_NONE;
    }
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        context_entry_t *c = &s->context[i];

        c->name[SC_CONTEXT_MAX] = '\0';
        st64(&c->sessions, 0);
        st64(&c->primaries, 0);
        st64(&c->backups, 0);
        st64(&c->proxies, 0);
        st64(&c->tombstones, 0);
        st64(&c->body_bytes, 0);
    }
    for (i = 0; i < SC_ROUTES_MAX; i++) {
        s->route[i][SC_ROUTE_MAX] = '\0';
    }
    st64(&h->sessions, 0);
    st64(&h->tombstones, 0);
    st64(&h->proxies, 0);
}

/* The number of the last change is stored before a record with it is linked, so an engine that was
 * killed left it right, gaps included; it must never go back, or a peer would take new changes for
 * old ones. What is found in the records is for a head that was damaged. */
static void recover_lsn(const recovery_t *r)
{
    head_t *h = r->store->head;
    apr_uint64_t lsn = ld64(&h->lsn);

    if (lsn < r->lsn || lsn > LSN_MAX) {
        __atomic_store_n(&h->lsn, r->lsn, __ATOMIC_RELEASE);
    }
}

/* Everything below the highest cell in use that is not in use itself becomes the free list, lowest
 * first, so that the mapping stays dense. */
static void recover_free(recovery_t *r)
{
    sc_store_t *s = r->store;
    apr_uint32_t cell = r->end;

    s->head->free_first = 0;
    s->head->fresh = r->end;
    while (cell-- > 0) {
        apr_uint32_t gen = ld32(&s->gen[cell]);

        if (is_used(r, cell)) {
            continue;
        }
        if (gen & 1) {
            st32(&s->gen[cell], gen + 1);
            __atomic_thread_fence(__ATOMIC_RELEASE);
        }
        st32(&s->cell[cell].body.next, s->head->free_first);
        s->head->free_first = cell + 1;
    }
    st32(&s->head->free_count, s->ncells - r->ncells);
}

apr_status_t sc_store_recover(sc_store_t *store, sc_store_recovery_t *report)
{
    recovery_t r;
    apr_uint32_t i;

    memset(&r, 0, sizeof(r));
    r.store = store;
    r.used = calloc(((apr_size_t)store->ncells + 63) / 64, sizeof(*r.used));
    if (r.used == NULL) {
        return APR_ENOMEM;
    }
    recover_names(&r);
    sc_wheel_reset(store);
    for (i = 0; i < store->nbuckets; i++) {
        if (ld32(&store->bucket[i]) != 0) {
            recover_chain(&r, i);
        }
    }
    recover_free(&r);
    recover_lsn(&r);
    free(r.used);
    if (report != NULL) {
        *report = r.report;
    }
    return APR_SUCCESS;
}
