/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A store in memory that lies: bytes of a filled mapping are changed, then children read it as it
 * is, a new engine recovers it, and goes on with it. Nothing outside of the mapping is touched (its
 * neighbours are pages that nobody may), every loop ends, and after the recovery everything adds up
 * again: counts, free cells, and a second recovery that finds nothing more to drop.
 */
#include <stdlib.h>
#include <string.h>

#include "../../src/store/store_layout.h"
#include "../unit/store_rig.h"
#include "fuzz.h"

#define SESSIONS 40
#define BODY_LEN 700

static sc_store_t *pattern(void)
{
    static unsigned char body[BODY_LEN];
    static apr_pool_t *pool;
    static sc_store_t *store;
    apr_uint16_t k;
    unsigned int n;

    if (store != NULL) {
        return store;
    }
    apr_pool_create(&pool, NULL);
    FUZZ_CHECK(sc_store_create(&store, SC_STORE_MIN, pool) == APR_SUCCESS);
    FUZZ_CHECK(sc_store_context(store, "app", 3, 1, &k) == APR_SUCCESS);
    FUZZ_CHECK(sc_store_context(store, "blog", 4, 1, &k) == APR_SUCCESS);
    FUZZ_CHECK(sc_store_route(store, "n1", 2, 1, &k) == APR_SUCCESS);
    sc_store_set_own_route(store, k);
    FUZZ_CHECK(sc_store_route(store, "n2", 2, 1, &k) == APR_SUCCESS);
    for (n = 0; n < SESSIONS; n++) {
        sc_record_t rec = rig_record((apr_uint16_t)(n % 2), n, 1);
        apr_size_t len = RIG_BODY_MIN + (n * 37) % (BODY_LEN - RIG_BODY_MIN);

        rec.primary = (apr_uint16_t)(1 + n % 2);
        memset(rec.backups, 0, sizeof(rec.backups));
        rec.backups[0] = (apr_uint16_t)(2 - n % 2);
        rec.due = SECONDS(1000 + n * 200);
        rec.flags = n % 10 == 7 ? SC_REC_TOMBSTONE : n % 10 == 8 ? SC_REC_PROXY : 0;
        rig_fill(body, len, n, 1);
        FUZZ_CHECK(sc_store_put(store, &rec, body, rec.flags ? 0 : len) == APR_SUCCESS);
    }
    return store;
}

/** Where to write: a known structure and a place in it, or anywhere. */
static apr_size_t place(fuzz_in_t *in, const sc_store_t *s)
{
    unsigned int what = fuzz_below(in, 8);
    apr_uint32_t n = fuzz_u16(in);
    const unsigned char *p = s->base;

    switch (what) {
    case 0:
        p = (const unsigned char *)s->head + n % sizeof(head_t);
        break;
    case 1:
        p = (const unsigned char *)&s->gen[n % 256];
        break;
    case 2:
        p = (const unsigned char *)&s->wheel[n % (WHEEL_SLOTS + 1)];
        break;
    case 3: /* a bucket that is in use, if possible */
        while (n % s->nbuckets != 0 && s->bucket[n % s->nbuckets] == 0) {
            n--;
        }
        p = (const unsigned char *)&s->bucket[n % s->nbuckets];
        break;
    case 4:
        p = (const unsigned char *)&s->context[0] + n % (2 * sizeof(context_entry_t));
        break;
    case 5:
        p += (apr_size_t)(fuzz_u8(in)) << 16 | n;
        break;
    default:
        p = (const unsigned char *)&s->cell[0] + n % (256 * sizeof(cell_t));
        break;
    }
    return (apr_size_t)(p - s->base) % s->bytes;
}

static void damage(fuzz_in_t *in, sc_store_t *s)
{
    unsigned int times = 1 + fuzz_below(in, 12);

    for (; times > 0 && in->left > 0; times--) {
        apr_size_t at = place(in, s);
        unsigned int how = fuzz_u8(in);
        apr_uint32_t word;

        if (how < 0x40) {
            s->base[at] = (unsigned char)fuzz_u8(in);
        } else {
            /* links and counts are words; small ones lead to other cells */
            at &= ~(apr_size_t)3;
            word = how < 0xc0 ? (apr_uint32_t)fuzz_number(in) : 1 + fuzz_u8(in);
            memcpy(s->base + at, &word, sizeof(word));
        }
    }
}

static int count_one(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    FUZZ_CHECK(rec->body_len == 0 || body != NULL);
    ++*(apr_uint64_t *)baton;
    return 1;
}

static void as_child(sc_store_t *s, apr_pool_t *pool)
{
    sc_context_stats_t context;
    sc_store_stats_t stats;
    unsigned int n, v, who;

    for (n = 0; n < SESSIONS; n++) {
        sc_id_t id = rig_id(n);
        sc_record_t rec;
        sc_stored_t got;

        if (sc_store_read(s, (apr_uint16_t)(n % 2), &id, pool, &got) == APR_SUCCESS) {
            /* what is damaged is not given out */
            FUZZ_CHECK(got.rec.flags != 0 || rig_check(got.body, got.rec.body_len, &who, &v));
            (void)sc_store_last_access(s, &got);
            sc_store_note_access(s, got.cell, got.gen, SECONDS(3000));
        }
        (void)sc_store_locate(s, (apr_uint16_t)(n % 2), &id, &rec);
        (void)strlen(sc_store_route_name(s, rec.primary));
    }
    sc_store_stats(s, &stats);
    for (n = 0; n < 4; n++) {
        (void)sc_store_context_stats(s, (apr_uint16_t)n, &context);
    }
}

static apr_time_t due(void *baton, const sc_record_t *rec)
{
    ++*(unsigned int *)baton;
    return rec->due + SECONDS(100000);
}

static void touched(void *baton, const sc_record_t *rec, apr_time_t accessed)
{
    (void)sc_store_touch(baton, rec->context, &rec->id, accessed, accessed + SECONDS(60));
}

static void as_engine(sc_store_t *s)
{
    static unsigned char body[BODY_LEN];
    sc_store_recovery_t first, second;
    apr_uint32_t cursor = 0;
    apr_uint64_t seen = 0;
    apr_status_t rv;
    unsigned int n, calls = 0;
    apr_uint16_t own;

    FUZZ_CHECK(sc_store_recover(s, &first) == APR_SUCCESS);
    own = (apr_uint16_t)s->head->own_route;
    FUZZ_CHECK(rig_audit(s, own).failures == 0);
    while ((rv = sc_store_scan(s, &cursor, 0, 1000, count_one, &seen)) == APR_SUCCESS) {
    }
    FUZZ_CHECK(rv == APR_EOF && seen == first.kept);
    sc_store_collect(s, SECONDS(4000), touched, s);
    (void)sc_store_run_due(s, SECONDS(100000), 1000, due, &calls);
    for (n = 0; n < SESSIONS + 10; n++) {
        sc_record_t rec = rig_record(0, n, 2);

        memset(rec.backups, 0, sizeof(rec.backups));
        rec.primary = 0;
        rig_fill(body, BODY_LEN, n, 2);
        rv = sc_store_put(s, &rec, body, BODY_LEN);
        FUZZ_CHECK(rv == APR_SUCCESS || rv == APR_EINVAL || rv == APR_ENOSPC);
        if (n % 3 == 0) {
            (void)sc_store_remove(s, 0, &rec.id);
        }
    }
    FUZZ_CHECK(rig_audit(s, own).failures == 0);
    FUZZ_CHECK(sc_store_recover(s, &second) == APR_SUCCESS);
    FUZZ_CHECK(second.dropped == 0);
    FUZZ_CHECK(rig_audit(s, own).failures == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sc_store_t *copy;
    apr_pool_t *pool = fuzz_start();
    fuzz_in_t in = {data, size};
    sc_store_t *s = pattern();

    if (copy == NULL) {
        static apr_pool_t *forever;

        apr_pool_create(&forever, NULL);
        copy = rig_copy(s, forever);
        FUZZ_CHECK(copy != NULL);
    }
    memcpy(sc_store_base(copy), sc_store_base(s), sc_store_bytes(s));
    damage(&in, copy);
    if (sc_store_attach(&s, sc_store_base(copy), sc_store_bytes(copy), pool) == APR_SUCCESS) {
        as_child(s, pool);
        as_engine(s);
    }
    return 0;
}
