/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The writer: the engine, and nobody else.
 *
 * The order of stores in here is what keeps readers right and what makes a kill at any instruction
 * harmless (store_layout.h, W1 and W2). Only the swing of one link changes what the table holds;
 * free list, wheel and counts may be left half done, a recovery rebuilds them from what is linked.
 *
 * Who may take cells when they run short, in order:
 *   new sessions and       while a reserve of 1/16 of the cells stays free
 *   proxies
 *   tombstones of unknown  while half of the reserve stays free: an invalidation that overtook its
 *   ids                    session is worth more than a new session, less than one that is here
 *   sessions that grow,    while a quarter of the reserve stays free: a proxy that becomes a
 *   out of proxies, too    session is no new one, somebody else has died or given it away
 *   other changes,         whatever is free: they give back at least what they take as soon as the
 *   tombstones and         link has swung. So a session can be changed in a store that others have
 *   proxies of known ids   filled, as long as it does not grow; and the last quarter of the
 *                          reserve, which nothing keeps for good, always has the one cell of a
 *                          tombstone or proxy
 * Tombstones are never thrown out early to make room: that would resurrect a dead id (DESIGN I11).
 */
#include "store_layout.h"

/* ---- cells ---------------------------------------------------------------------------------- */

/* An odd generation means a record is here; the fence ends what readers may still believe (W2). */
static void retire(sc_store_t *s, apr_uint32_t cell)
{
    apr_uint32_t gen = ld32(&s->gen[cell]);

    st32(&s->gen[cell], (gen | 1) + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static apr_uint32_t take_cell(sc_store_t *s)
{
    head_t *h = s->head;
    apr_uint32_t cell = NO_CELL;

    if (h->free_first != 0 && h->free_first <= s->ncells) {
        cell = h->free_first - 1;
        h->free_first = ld32(&s->cell[cell].body.next);
    } else if (h->fresh < s->ncells) {
        cell = h->fresh++;
    } else {
        return NO_CELL;
    }
    st32(&h->free_count, ld32(&h->free_count) - 1);
    if (ld32(&s->gen[cell]) & 1) {
        retire(s, cell); /* a record that was never linked, from the life of a killed engine */
    }
    return cell;
}

static void give_cell(sc_store_t *s, apr_uint32_t cell)
{
    head_t *h = s->head;

    st32(&s->cell[cell].body.next, h->free_first);
    h->free_first = cell + 1;
    st32(&h->free_count, ld32(&h->free_count) + 1);
}

static void give_body(sc_store_t *s, apr_uint32_t ref, apr_uint32_t cells)
{
    for (; cells > 0 && ref != 0 && ref <= s->ncells; cells--) {
        apr_uint32_t next = ld32(&s->cell[ref - 1].body.next);

        give_cell(s, ref - 1);
        ref = next;
    }
}

/* ---- find ----------------------------------------------------------------------------------- */

/* The link that leads to the record of this key, and its cell; without one the bucket's own link,
 * where a new record goes, and NO_CELL. */
static apr_uint32_t *find(sc_store_t *s, apr_uint16_t context, const sc_id_t *id,
                          apr_uint32_t *cell)
{
    apr_uint32_t *bucket = &s->bucket[sc_store_bucket(s, context, id)];
    apr_uint32_t *link = bucket;
    apr_uint64_t word[2];
    apr_uint32_t hops;

    memcpy(word, id->b, sizeof(word));
    for (hops = 0; hops < s->ncells; hops++) {
        apr_uint32_t ref = ld32(link);
        record_cell_t *r;

        if (ref == 0 || ref > s->ncells) {
            break;
        }
        r = &s->cell[ref - 1].rec;
        if (ld64(&r->id[0]) == word[0] && ld64(&r->id[1]) == word[1] &&
            (ld32(&r->kind) & 0xffff) == context) {
            *cell = ref - 1;
            return link;
        }
        link = &r->next;
    }
    *cell = NO_CELL;
    return bucket;
}

/* ---- watch ---------------------------------------------------------------------------------- */

void sc_store_watch(sc_store_t *store, sc_store_watch_fn_t *fn, void *baton)
{
    store->watch = fn;
    store->watch_baton = baton;
}

static void tell_watch(const sc_store_t *s, const sc_record_t *before, const sc_record_t *after)
{
    if (s->watch != NULL) {
        s->watch(s->watch_baton, before, after);
    }
}

/* ---- put ------------------------------------------------------------------------------------ */

/* All but the change number. Routes after the first SC_ROUTE_NONE mean nothing. */
static apr_status_t pack_location(const sc_store_t *s, apr_uint16_t primary,
                                  const apr_uint16_t *backups, apr_size_t nbackups,
                                  apr_uint32_t epoch, apr_uint32_t promised, loc_t *loc)
{
    apr_uint32_t nroutes = ld32(&s->head->nroutes);
    apr_size_t i;

    if (primary >= nroutes || nbackups > SC_BACKUPS_MAX) {
        return APR_EINVAL;
    }
    loc->lsn = promised <= epoch ? 0
               : promised - epoch < SC_PROMISE_MAX
                   ? (apr_uint64_t)(promised - epoch) << PROMISE_SHIFT
                   : (apr_uint64_t)SC_PROMISE_MAX << PROMISE_SHIFT;
    loc->epoch = epoch;
    loc->routes = primary;
    for (i = 0; i < nbackups && backups[i] != SC_ROUTE_NONE; i++) {
        if (backups[i] >= nroutes) {
            return APR_EINVAL;
        }
        if (i < SC_BACKUPS_MAX - 1) {
            loc->routes |= (apr_uint32_t)backups[i] << (8 * (i + 1));
        } else {
            loc->lsn |= (apr_uint64_t)backups[i] << BACKUP3_SHIFT;
        }
    }
    return APR_SUCCESS;
}

static void store_location(record_cell_t *r, apr_uint32_t copy, const loc_t *location,
                           apr_uint64_t lsn)
{
    apr_uint64_t id[2];
    loc_t loc = *location;

    loc.lsn |= lsn & LSN_MASK;
    id[0] = ld64(&r->id[0]);
    id[1] = ld64(&r->id[1]);
    st64(&r->loc[copy].lsn, loc.lsn);
    st32(&r->loc[copy].epoch, loc.epoch);
    st32(&r->loc[copy].routes, loc.routes);
    st16(&r->loc_check[copy], loc_sum(id, &loc));
}

/* The number of the change that is about to be made. It counts as given out before anything with
 * it can be seen; a kill in between leaves a gap, never a number used twice. */
static apr_uint64_t next_lsn(sc_store_t *s)
{
    apr_uint64_t lsn = ld64(&s->head->lsn) + 1;

    __atomic_store_n(&s->head->lsn, lsn, __ATOMIC_RELEASE);
    return lsn;
}

static int has_room(const sc_store_t *s, const sc_record_t *rec, const snap_t *old,
                    apr_uint32_t need)
{
    apr_uint32_t nfree = ld32(&s->head->free_count);
    apr_uint32_t reserve = s->ncells / 16;
    apr_uint32_t keep = 0;

    if (rec->flags & SC_REC_TOMBSTONE) {
        keep = old != NULL ? 0 : reserve / 2;
    } else if (rec->flags & SC_REC_PROXY) {
        keep = old != NULL ? 0 : reserve;
    } else if (old == NULL || (old->rec.flags & SC_REC_TOMBSTONE)) {
        keep = reserve;
    } else if (body_cells(rec->body_len) > body_cells(old->rec.body_len)) {
        keep = reserve / 4;
    }
    return nfree >= keep && nfree - keep >= need;
}

/* Write a body into free cells; sum goes on. Returns its first ref, 0 for an empty one or (with
 * *failed set) when cells ran out. */
static apr_uint32_t write_body(sc_store_t *s, const unsigned char *body, apr_size_t len,
                               apr_uint64_t *sum, int *failed)
{
    apr_uint32_t first = 0, written = 0;
    apr_uint32_t *link = &first;

    while (len > 0) {
        apr_size_t n = len < BODY_BYTES ? len : BODY_BYTES;
        apr_uint32_t cell = take_cell(s);
        body_cell_t *b;
        body_cell_t copy;
        int i;

        if (cell == NO_CELL) {
            give_body(s, first, written);
            *failed = 1;
            return 0;
        }
        b = &s->cell[cell].body;
        memset(&copy, 0, sizeof(copy));
        memcpy(&copy, body, n);
        for (i = 0; i < BODY_WORDS; i++) {
            st64(&b->word[i], copy.word[i]);
            *sum = mix(*sum, copy.word[i]);
        }
        st32(&b->tail, copy.tail);
        *sum = mix(*sum, copy.tail);
        st32(&b->next, 0);
        st32(link, cell + 1);
        link = &b->next;
        written++;
        body += n;
        len -= n;
    }
    return first;
}

/* A complete record, in cells that nothing leads to yet. */
static apr_uint32_t build(sc_store_t *s, const sc_record_t *rec, const loc_t *loc, const void *body,
                          apr_uint32_t next)
{
    apr_uint64_t sum = sc_snap_sum(rec);
    apr_uint64_t word[2];
    apr_uint32_t cell = take_cell(s);
    apr_uint32_t first;
    record_cell_t *r;
    int failed = 0;

    if (cell == NO_CELL) {
        return NO_CELL;
    }
    first = write_body(s, body, rec->body_len, &sum, &failed);
    if (failed) {
        give_cell(s, cell);
        return NO_CELL;
    }
    r = &s->cell[cell].rec;
    memcpy(word, rec->id.b, sizeof(word));
    st64(&r->id[0], word[0]);
    st64(&r->id[1], word[1]);
    st64(&r->created, (apr_uint64_t)rec->created);
    st64(&r->accessed, (apr_uint64_t)rec->accessed);
    st64(&r->due, (apr_uint64_t)rec->due);
    st64(&r->hlc, rec->stamp.hlc);
    st32(&r->node, rec->stamp.node);
    st32(&r->max_idle_s, rec->max_idle_s);
    st32(&r->next, next);
    st32(&r->body, first);
    st32(&r->body_len, rec->body_len);
    st32(&r->kind, kind_of(rec->context, rec->flags));
    st32(&r->check, (apr_uint32_t)(sum ^ sum >> 32));
    st32(&r->loc_sel, 0);
    store_location(r, 0, loc, rec->lsn);
    return cell;
}

/*
 * A touch that was noted on the old record and not collected yet goes on to the new one: not every
 * change is an access (a merge, a new owner), and a session must not idle out because of one.
 */
static void carry_touch(sc_store_t *s, apr_uint32_t from, apr_uint32_t from_gen, apr_uint32_t to)
{
    apr_uint64_t word = ld64(&s->touch[from]);
    apr_uint64_t bit = (apr_uint64_t)1 << (from % 64);

    if ((__atomic_load_n(&s->touched[from / 64], __ATOMIC_ACQUIRE) & bit) == 0 ||
        (word & TOUCH_GEN_MASK) != (from_gen & TOUCH_GEN_MASK)) {
        return;
    }
    word = ld64(&s->touch[from]) & ~TOUCH_GEN_MASK;
    st64(&s->touch[to], word | (ld32(&s->gen[to]) & TOUCH_GEN_MASK));
    __atomic_fetch_or(&s->touched[to / 64], (apr_uint64_t)1 << (to % 64), __ATOMIC_RELEASE);
}

/* What is left to do with a record that no link leads to any more. */
static void discard(sc_store_t *s, const snap_t *old)
{
    sc_store_account(s, &old->rec, -1);
    sc_wheel_drop(s, old->cell);
    retire(s, old->cell);
    give_body(s, old->body, body_cells(old->rec.body_len));
    give_cell(s, old->cell);
}

apr_status_t sc_store_put(sc_store_t *store, sc_record_t *rec, const void *body, apr_size_t len)
{
    apr_uint32_t old_cell, cell, need;
    apr_uint32_t *link;
    sc_record_t put = *rec;
    snap_t old;
    loc_t loc;

    if (put.flags & NO_BODY) {
        len = 0; /* an invalidation must not fail for want of room */
    }
    if (put.context >= store->head->ncontexts || !flags_possible(put.flags) ||
        pack_location(store, put.primary, put.backups, SC_BACKUPS_MAX, put.epoch,
                      put.flags & SC_REC_TOMBSTONE ? 0 : put.promised, &loc) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (len > body_max(store)) {
        return APR_ENOSPC;
    }
    link = find(store, put.context, &put.id, &old_cell);
    if (old_cell != NO_CELL && !sc_snap_head(store, old_cell, ld32(&store->gen[old_cell]), &old)) {
        return APR_EGENERAL; /* only stray writes could do that; the next recovery drops it */
    }
    need = 1 + body_cells(len);
    put.body_len = (apr_uint32_t)len;
    if (!has_room(store, &put, old_cell != NO_CELL ? &old : NULL, need)) {
        return APR_ENOSPC;
    }
    put.lsn = ld64(&store->head->lsn) + 1;
    cell = build(store, &put, &loc, body, old_cell != NO_CELL ? old.next : ld32(link));
    if (cell == NO_CELL) {
        return APR_ENOSPC;
    }
    (void)next_lsn(store); /* it is put.lsn */
    st32_release(&store->gen[cell], ld32(&store->gen[cell]) + 1);
    st32_release(link, cell + 1);

    if (old_cell != NO_CELL) {
        if (!((put.flags | old.rec.flags) & NO_BODY)) {
            carry_touch(store, old_cell, old.gen, cell);
        }
        discard(store, &old);
    }
    sc_store_account(store, &put, 1);
    sc_wheel_add(store, cell, put.due);
    rec->body_len = put.body_len;
    rec->lsn = put.lsn;
    tell_watch(store, old_cell != NO_CELL ? &old.rec : NULL, &put);
    return APR_SUCCESS;
}

/* ---- in place ------------------------------------------------------------------------------- */

apr_status_t sc_store_remove(sc_store_t *store, apr_uint16_t context, const sc_id_t *id)
{
    apr_uint32_t cell;
    apr_uint32_t *link = find(store, context, id, &cell);
    snap_t old;

    if (cell == NO_CELL || !sc_snap_head(store, cell, ld32(&store->gen[cell]), &old)) {
        return APR_NOTFOUND;
    }
    st32_release(link, old.next);
    discard(store, &old);
    tell_watch(store, &old.rec, NULL);
    return APR_SUCCESS;
}

apr_status_t sc_store_touch(sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                            apr_time_t accessed, apr_time_t due)
{
    record_cell_t *r;
    apr_uint32_t cell;

    find(store, context, id, &cell);
    if (cell == NO_CELL) {
        return APR_NOTFOUND;
    }
    r = &store->cell[cell].rec;
    if (accessed > (apr_time_t)ld64(&r->accessed)) {
        st64(&r->accessed, (apr_uint64_t)accessed);
    }
    sc_wheel_drop(store, cell);
    sc_wheel_add(store, cell, due);
    return APR_SUCCESS;
}

/* The other copy of the location is written, and counts from then on. */
static void turn_location(sc_store_t *store, snap_t *snap, const loc_t *loc)
{
    record_cell_t *r = &store->cell[snap->cell].rec;
    apr_uint32_t sel = ld32(&r->loc_sel) + 1;

    __atomic_thread_fence(__ATOMIC_RELEASE); /* the last turn of loc_sel is seen before these */
    store_location(r, sel & 1, loc, next_lsn(store));
    st32_release(&r->loc_sel, sel);
    sc_store_account(store, &snap->rec, -1);
    sc_snap_location(loc, &snap->rec);
    sc_store_account(store, &snap->rec, 1);
}

static int snap_of(sc_store_t *store, apr_uint16_t context, const sc_id_t *id, snap_t *snap)
{
    apr_uint32_t cell;

    find(store, context, id, &cell);
    return cell != NO_CELL && sc_snap_head(store, cell, ld32(&store->gen[cell]), snap);
}

apr_status_t sc_store_set_location(sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                                   apr_uint16_t primary, const apr_uint16_t *backups,
                                   apr_size_t nbackups, apr_uint32_t epoch)
{
    int known;
    snap_t snap;
    sc_record_t before;
    loc_t loc;
    apr_status_t rv;

    memset(&snap, 0, sizeof(snap));
    known = snap_of(store, context, id, &snap);
    rv = pack_location(store, primary, backups, nbackups, epoch, snap.rec.promised, &loc);
    if (rv != APR_SUCCESS || !known) {
        return rv != APR_SUCCESS ? rv : APR_NOTFOUND;
    }
    before = snap.rec;
    turn_location(store, &snap, &loc);
    tell_watch(store, &before, &snap.rec);
    return APR_SUCCESS;
}

apr_status_t sc_store_promise(sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                              apr_uint32_t epoch)
{
    sc_record_t *rec;
    snap_t snap;
    loc_t loc;

    if (!snap_of(store, context, id, &snap)) {
        return APR_NOTFOUND;
    }
    rec = &snap.rec;
    if (epoch <= rec->epoch || epoch - rec->epoch > SC_PROMISE_MAX) {
        return APR_EINVAL;
    }
    if (epoch <= rec->promised) {
        return APR_SUCCESS;
    }
    if (pack_location(store, rec->primary, rec->backups, SC_BACKUPS_MAX, rec->epoch, epoch, &loc) !=
        APR_SUCCESS) {
        return APR_EINVAL;
    }
    turn_location(store, &snap, &loc);
    return APR_SUCCESS;
}

/* ---- collect -------------------------------------------------------------------------------- */

/* One announced touch. Everything here was written by a child: believed only as far as it is
 * possible. */
static void collect_one(sc_store_t *s, apr_uint32_t cell, apr_time_t now, sc_store_touched_fn_t *fn,
                        void *baton)
{
    apr_uint32_t gen = ld32(&s->gen[cell]);
    apr_uint64_t word = ld64(&s->touch[cell]);
    apr_time_t accessed = (apr_time_t)(word >> TOUCH_GEN_BITS) * 1000;
    snap_t snap;

    if (cell >= s->head->fresh || (gen & 1) == 0 ||
        (word & TOUCH_GEN_MASK) != (gen & TOUCH_GEN_MASK)) {
        return;
    }
    if (accessed > now) {
        /* or it would hide all true ones until that time */
        apr_uint64_t ms = now > 0 ? (apr_uint64_t)now / 1000 : 0;
        apr_uint64_t fixed = ms << TOUCH_GEN_BITS | (gen & TOUCH_GEN_MASK);

        __atomic_compare_exchange_n(&s->touch[cell], &word, fixed, 0, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
        accessed = now;
    }
    if (sc_snap_head(s, cell, gen, &snap) && !(snap.rec.flags & NO_BODY) &&
        accessed > snap.rec.accessed) {
        fn(baton, &snap.rec, accessed);
    }
}

void sc_store_collect(sc_store_t *store, apr_time_t now, sc_store_touched_fn_t *fn, void *baton)
{
    apr_uint32_t words = (store->ncells + 63) / 64;
    apr_uint32_t i;

    for (i = 0; i < words; i++) {
        apr_uint64_t bits = ld64(&store->touched[i]);
        apr_uint32_t bit;

        if (bits == 0) {
            continue;
        }
        bits = __atomic_exchange_n(&store->touched[i], 0, __ATOMIC_ACQUIRE);
        for (bit = 0; bits != 0; bit++, bits >>= 1) {
            apr_uint32_t cell = i * 64 + bit;

            if ((bits & 1) && cell < store->ncells) {
                collect_one(store, cell, now, fn, baton);
            }
        }
    }
}
