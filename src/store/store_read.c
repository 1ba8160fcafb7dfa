/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Readers: find a record and copy it while the writer goes on.
 *
 * Why the copies are right is argued in store_layout.h (R1 to R3). Independently of that argument
 * every index is checked against the handle's geometry, every walk is bounded and every copy is
 * verified against the record's check sum; so even a mapping full of garbage costs a reader no more
 * than MAX_TRIES bounded walks and then an APR_EAGAIN.
 */
#include "store_layout.h"

/* ---- one record ----------------------------------------------------------------------------- */

void sc_snap_location(const loc_t *loc, sc_record_t *rec)
{
    int i;

    rec->lsn = loc->lsn & LSN_MASK;
    rec->epoch = loc->epoch;
    rec->promised = (apr_uint32_t)(loc->lsn >> PROMISE_SHIFT & 0xff);
    rec->promised += rec->promised != 0 ? rec->epoch : 0;
    rec->primary = (apr_uint16_t)(loc->routes & 0xff);
    for (i = 0; i < SC_BACKUPS_MAX - 1; i++) {
        rec->backups[i] = (apr_uint16_t)(loc->routes >> (8 * (i + 1)) & 0xff);
    }
    rec->backups[i] = (apr_uint16_t)(loc->lsn >> BACKUP3_SHIFT);
}

/* Returns 0 when it changed meanwhile; *whole: whether its check is right. */
static int copy_location(const record_cell_t *r, const apr_uint64_t id[2], sc_record_t *rec,
                         int *whole)
{
    int tries;

    for (tries = 0; tries < 4; tries++) {
        apr_uint32_t sel = ld32_acquire(&r->loc_sel);
        const loc_t *from = &r->loc[sel & 1];
        apr_uint16_t check = ld16(&r->loc_check[sel & 1]);
        loc_t loc;

        loc.lsn = ld64(&from->lsn);
        loc.epoch = ld32(&from->epoch);
        loc.routes = ld32(&from->routes);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (ld32(&r->loc_sel) == sel) {
            sc_snap_location(&loc, rec);
            *whole = check == loc_sum(id, &loc);
            return 1;
        }
    }
    return 0;
}

int sc_snap_copy(const sc_store_t *s, apr_uint32_t cell, apr_uint32_t gen, snap_t *snap)
{
    const record_cell_t *r = &s->cell[cell].rec;
    sc_record_t *rec = &snap->rec;
    apr_uint64_t id[2];
    apr_uint32_t kind;

    if ((gen & 1) == 0) {
        return 0; /* no record */
    }
    memset(snap, 0, sizeof(*snap));
    snap->cell = cell;
    snap->gen = gen;
    id[0] = ld64(&r->id[0]);
    id[1] = ld64(&r->id[1]);
    memcpy(rec->id.b, id, sizeof(id));
    rec->created = (apr_time_t)ld64(&r->created);
    rec->accessed = (apr_time_t)ld64(&r->accessed);
    rec->due = (apr_time_t)ld64(&r->due);
    rec->stamp.hlc = ld64(&r->hlc);
    rec->stamp.node = ld32(&r->node);
    rec->max_idle_s = ld32(&r->max_idle_s);
    rec->body_len = ld32(&r->body_len);
    kind = ld32(&r->kind);
    rec->context = (apr_uint16_t)(kind & 0xffff);
    rec->flags = (apr_uint16_t)(kind >> 16);
    snap->next = ld32(&r->next);
    snap->body = ld32(&r->body);
    snap->check = ld32(&r->check);
    return copy_location(r, id, rec, &snap->whole) && unchanged(s, cell, gen);
}

int sc_snap_head(const sc_store_t *s, apr_uint32_t cell, apr_uint32_t gen, snap_t *snap)
{
    return sc_snap_copy(s, cell, gen, snap) && snap->whole && snap->rec.body_len <= body_max(s);
}

apr_uint64_t sc_snap_sum(const sc_record_t *rec)
{
    apr_uint64_t word[2];
    apr_uint64_t sum = STORE_MAGIC;

    memcpy(word, rec->id.b, sizeof(word));
    sum = mix(sum, word[0]);
    sum = mix(sum, word[1]);
    sum = mix(sum, (apr_uint64_t)rec->created);
    sum = mix(sum, rec->stamp.hlc);
    sum = mix(sum, (apr_uint64_t)rec->stamp.node << 32 | rec->max_idle_s);
    return mix(sum, (apr_uint64_t)kind_of(rec->context, rec->flags) << 32 | rec->body_len);
}

int sc_snap_body(const sc_store_t *s, const snap_t *snap, unsigned char *out)
{
    apr_uint64_t sum = sc_snap_sum(&snap->rec);
    apr_size_t left = snap->rec.body_len;
    apr_uint32_t ref = snap->body;

    while (left > 0) {
        apr_size_t n = left < BODY_BYTES ? left : BODY_BYTES;
        const body_cell_t *b;
        body_cell_t copy;
        int i;

        if (ref == 0 || ref > s->ncells) {
            return 0;
        }
        b = &s->cell[ref - 1].body;
        for (i = 0; i < BODY_WORDS; i++) {
            copy.word[i] = ld64(&b->word[i]);
            sum = mix(sum, copy.word[i]);
        }
        copy.tail = ld32(&b->tail);
        sum = mix(sum, copy.tail);
        ref = ld32(&b->next);
        if (out != NULL) {
            memcpy(out, &copy, n);
            out += n;
        }
        left -= n;
    }
    return ref == 0 && unchanged(s, snap->cell, snap->gen) &&
           (apr_uint32_t)(sum ^ sum >> 32) == snap->check;
}

/* ---- lookup --------------------------------------------------------------------------------- */

static int is_key(const record_cell_t *r, const apr_uint64_t id[2], apr_uint16_t context)
{
    return ld64(&r->id[0]) == id[0] && ld64(&r->id[1]) == id[1] &&
           (ld32(&r->kind) & 0xffff) == context;
}

/*
 * Find a record: its cell, and the generation under which it was found there. APR_EAGAIN: something
 * changed under the walk.
 */
static inline apr_status_t find(const sc_store_t *s, apr_uint16_t context, const sc_id_t *id,
                                apr_uint32_t *cell, apr_uint32_t *found_gen)
{
    const apr_uint32_t *link = &s->bucket[sc_store_bucket(s, context, id)];
    apr_uint32_t holder = NO_CELL, holder_gen = 0; /* the record that holds the link, if one does */
    apr_uint64_t word[2];
    int hops;

    memcpy(word, id->b, sizeof(word));
    for (hops = 0; hops < MAX_HOPS; hops++) {
        apr_uint32_t ref = ld32_acquire(link);
        apr_uint32_t gen = 0;

        if (ref > s->ncells) {
            return APR_EAGAIN;
        }
        if (ref != 0) {
            gen = ld32_acquire(&s->gen[ref - 1]);
            if ((gen & 1) == 0 || ld32(link) != ref) {
                return APR_EAGAIN;
            }
        }
        if (holder != NO_CELL && !unchanged(s, holder, holder_gen)) {
            return APR_EAGAIN;
        }
        if (ref == 0) {
            return APR_NOTFOUND;
        }
        if (is_key(&s->cell[ref - 1].rec, word, context)) {
            *cell = ref - 1;
            *found_gen = gen;
            return APR_SUCCESS;
        }
        holder = ref - 1;
        holder_gen = gen;
        link = &s->cell[holder].rec.next;
    }
    return APR_EAGAIN;
}

/* The same, and copy its head. */
static apr_status_t lookup(const sc_store_t *s, apr_uint16_t context, const sc_id_t *id,
                           snap_t *snap)
{
    apr_uint32_t cell, gen;
    apr_status_t rv = find(s, context, id, &cell, &gen);

    /* the copy is checked against the generation noted before, so the words of the key are, too */
    return rv != APR_SUCCESS || sc_snap_head(s, cell, gen, snap) ? rv : APR_EAGAIN;
}

apr_status_t sc_store_read(const sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                           apr_pool_t *pool, sc_stored_t *out)
{
    unsigned char *body = NULL;
    apr_size_t room = 0;
    int tries;

    memset(out, 0, sizeof(*out));
    for (tries = 0; tries < MAX_TRIES; tries++) {
        snap_t snap;
        apr_status_t rv = lookup(store, context, id, &snap);

        if (rv == APR_NOTFOUND) {
            return rv;
        }
        if (rv != APR_SUCCESS) {
            continue;
        }
        if (body == NULL || snap.rec.body_len > room) {
            room = snap.rec.body_len;
            body = apr_palloc(pool, room + 1);
            if (body == NULL) {
                return APR_ENOMEM;
            }
        }
        if (sc_snap_body(store, &snap, body)) {
            body[snap.rec.body_len] = '\0'; /* not part of it; kind to debuggers and C strings */
            out->rec = snap.rec;
            out->body = body;
            out->cell = snap.cell;
            out->gen = snap.gen;
            return APR_SUCCESS;
        }
    }
    return APR_EAGAIN;
}

/*
 * The same protocol without the body. The location has a check of its own; the rest of a head can
 * only be verified together with its body, so it is as good as the memory is.
 */
apr_status_t sc_store_locate(const sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                             sc_record_t *out)
{
    int tries;

    memset(out, 0, sizeof(*out));
    for (tries = 0; tries < MAX_TRIES; tries++) {
        snap_t snap;
        apr_status_t rv = lookup(store, context, id, &snap);

        if (rv == APR_NOTFOUND) {
            return rv;
        }
        if (rv == APR_SUCCESS) {
            *out = snap.rec;
            return APR_SUCCESS;
        }
    }
    return APR_EAGAIN;
}

static inline apr_status_t ended_in(const sc_store_t *store, apr_uint16_t context,
                                    const sc_id_t *id, int *ended)
{
    for (int tries = 0; tries < MAX_TRIES; tries++) {
        apr_uint32_t cell, gen, kind;
        apr_status_t rv = find(store, context, id, &cell, &gen);

        if (rv == APR_NOTFOUND) {
            return rv;
        }
        if (rv == APR_SUCCESS) {
            kind = ld32(&store->cell[cell].rec.kind);
            if (unchanged(store, cell, gen)) {
                *ended = (kind >> 16 & SC_REC_TOMBSTONE) != 0;
                return APR_SUCCESS;
            }
        }
    }
    return APR_EAGAIN;
}

apr_status_t sc_store_ended(const sc_store_t *store, const sc_id_t *id, int *ended)
{
    apr_uint32_t n = ld32_acquire(&store->head->ncontexts);
    apr_status_t rv = APR_NOTFOUND;

    n = n < SC_CONTEXTS_MAX ? n : SC_CONTEXTS_MAX;
    for (apr_uint32_t i = 0; i < n; i++) {
        int over;

        if (ended_in(store, (apr_uint16_t)i, id, &over) == APR_SUCCESS) {
            rv = APR_SUCCESS;
            *ended = over;
            if (!over) {
                break;
            }
        }
    }
    return rv;
}

apr_status_t sc_store_get(const sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                          sc_record_t *rec, sc_buf_t *body)
{
    snap_t snap;
    apr_status_t rv = lookup(store, context, id, &snap);
    unsigned char *out = NULL;

    if (body != NULL) {
        sc_buf_clear(body);
    }
    if (rv != APR_SUCCESS) {
        /* nothing changes under the writer itself: what cannot be walked is broken, and a broken
         * session is as good as none */
        return APR_NOTFOUND;
    }
    if (body != NULL && (out = sc_buf_reserve(body, snap.rec.body_len)) == NULL) {
        return body->err;
    }
    if (out != NULL) {
        if (!sc_snap_body(store, &snap, out)) {
            return APR_NOTFOUND;
        }
        body->len = snap.rec.body_len;
    }
    *rec = snap.rec;
    return APR_SUCCESS;
}

/* ---- touches -------------------------------------------------------------------------------- */

/*
 * A touch is one 64-bit word, so two children that note the same session at the same time leave one
 * of the two times, never a mixture. The bit that announces it is set after it (release).
 */
void sc_store_note_access(sc_store_t *store, apr_uint32_t cell, apr_uint32_t gen, apr_time_t now)
{
    apr_uint64_t ms = now > 0 ? (apr_uint64_t)now / 1000 : 0;
    apr_uint64_t old, word;

    if (cell >= store->ncells || (gen & 1) == 0 || ld32(&store->gen[cell]) != gen) {
        return;
    }
    if (ms > TOUCH_MS_MAX) {
        ms = TOUCH_MS_MAX;
    }
    word = ms << TOUCH_GEN_BITS | (gen & TOUCH_GEN_MASK);
    old = ld64(&store->touch[cell]);
    if ((old & TOUCH_GEN_MASK) == (word & TOUCH_GEN_MASK) && old >= word) {
        return; /* noted already, and announced by whoever noted it */
    }
    st64(&store->touch[cell], word);
    __atomic_fetch_or(&store->touched[cell / 64], (apr_uint64_t)1 << (cell % 64), __ATOMIC_RELEASE);
}

apr_time_t sc_store_last_access(const sc_store_t *store, const sc_stored_t *stored)
{
    apr_time_t latest = stored->rec.accessed;
    apr_uint64_t word;
    apr_time_t t;

    if (stored->cell >= store->ncells || (stored->gen & 1) == 0) {
        return latest;
    }
    t = (apr_time_t)ld64(&store->cell[stored->cell].rec.accessed);
    if (unchanged(store, stored->cell, stored->gen) && t > latest) {
        latest = t; /* collected since the copy was made */
    }
    word = ld64(&store->touch[stored->cell]);
    if ((word & TOUCH_GEN_MASK) == (stored->gen & TOUCH_GEN_MASK)) {
        t = (apr_time_t)(word >> TOUCH_GEN_BITS) * 1000;
        if (t > latest) {
            latest = t;
        }
    }
    return latest;
}

/* ---- scan ----------------------------------------------------------------------------------- */

/*
 * Visit one bucket. The chain is noted first, so that fn may change the store: a record that fn
 * rewrote or removed before its turn is known to fn and is not visited again.
 */
static apr_status_t scan_bucket(const sc_store_t *s, apr_uint32_t b, apr_uint64_t since,
                                sc_buf_t *body, sc_store_scan_fn_t *fn, void *baton)
{
    apr_uint32_t cell[MAX_HOPS], gen[MAX_HOPS];
    apr_uint32_t ref = ld32_acquire(&s->bucket[b]);
    int n, i;

    for (n = 0; n < MAX_HOPS && ref != 0 && ref <= s->ncells; n++) {
        cell[n] = ref - 1;
        gen[n] = ld32_acquire(&s->gen[ref - 1]);
        if ((gen[n] & 1) == 0) {
            break;
        }
        ref = ld32_acquire(&s->cell[ref - 1].rec.next);
    }
    for (i = 0; i < n; i++) {
        unsigned char *out;
        snap_t snap;

        if (!sc_snap_head(s, cell[i], gen[i], &snap) || snap.rec.lsn <= since) {
            continue;
        }
        sc_buf_clear(body);
        if ((out = sc_buf_reserve(body, snap.rec.body_len)) == NULL) {
            return APR_ENOMEM;
        }
        if (sc_snap_body(s, &snap, out) && !fn(baton, &snap.rec, out)) {
            return APR_EINTR;
        }
    }
    return APR_SUCCESS;
}

apr_status_t sc_store_scan(const sc_store_t *store, apr_uint32_t *cursor, apr_uint64_t since,
                           apr_uint32_t max_buckets, sc_store_scan_fn_t *fn, void *baton)
{
    apr_status_t rv = APR_SUCCESS;
    sc_buf_t body;

    sc_buf_init(&body, (apr_size_t)body_max(store));
    for (; max_buckets > 0 && *cursor < store->nbuckets; max_buckets--) {
        rv = scan_bucket(store, *cursor, since, &body, fn, baton);
        if (rv != APR_SUCCESS) {
            break;
        }
        (*cursor)++;
    }
    sc_buf_free(&body);
    if (rv == APR_SUCCESS && *cursor >= store->nbuckets) {
        return APR_EOF;
    }
    return rv;
}
