/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where sessions live: proxies, locations that change in place, the numbers of changes, the counts
 * of roles, and what a recovery believes of all that. This file looks into the mapping to damage
 * exactly one word of it.
 */
#include <CUnit/CUnit.h>

#include "../../src/store/store_layout.h"
#include "store_rig.h"

enum { ROUTES = 5, OWN = 2 };

typedef struct place_t {
    apr_pool_t *pool;
    sc_store_t *store;
} place_t;

static place_t place_open(void)
{
    place_t p = {NULL, NULL};
    apr_uint16_t k;
    int i;

    CU_ASSERT_EQUAL_FATAL(apr_pool_create(&p.pool, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&p.store, SC_STORE_MIN, p.pool), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_context(p.store, "app", 3, 1, &k), APR_SUCCESS);
    for (i = 1; i <= ROUTES; i++) {
        char name = (char)('a' + i);

        CU_ASSERT_EQUAL_FATAL(sc_store_route(p.store, &name, 1, 1, &k), APR_SUCCESS);
    }
    sc_store_set_own_route(p.store, OWN);
    return p;
}

static void place_close(place_t *p)
{
    CU_ASSERT_EQUAL(rig_audit(p->store, OWN).failures, 0);
    apr_pool_destroy(p->pool);
}

static sc_store_stats_t stats_of(const place_t *p)
{
    sc_store_stats_t s;

    sc_store_stats(p->store, &s);
    return s;
}

static sc_context_stats_t context_of(const place_t *p)
{
    sc_context_stats_t c;

    CU_ASSERT_EQUAL(sc_store_context_stats(p->store, 0, &c), APR_SUCCESS);
    return c;
}

static sc_stored_t read_n(const place_t *p, unsigned int n)
{
    sc_id_t id = rig_id(n);
    sc_stored_t got;

    CU_ASSERT_EQUAL_FATAL(sc_store_read(p->store, 0, &id, p->pool, &got), APR_SUCCESS);
    return got;
}

static apr_status_t put_flags(const place_t *p, unsigned int n, unsigned int v, apr_uint16_t flags)
{
    sc_record_t rec = rig_record(0, n, v);

    rec.flags = flags;
    return sc_store_put(p->store, &rec, NULL, 0);
}

static apr_status_t move(const place_t *p, unsigned int n, apr_uint16_t primary,
                         apr_uint16_t backup, apr_uint32_t epoch)
{
    sc_id_t id = rig_id(n);

    return sc_store_set_location(p->store, 0, &id, primary, &backup, 1, epoch);
}

/* ---- proxies -------------------------------------------------------------------------------- */

static void test_proxy(void)
{
    place_t p = place_open();
    sc_record_t rec = rig_record(0, 1, 2), back;
    sc_stored_t got;
    sc_buf_t buf;

    rec.flags = SC_REC_PROXY;
    rec.primary = 1;
    rec.backups[0] = OWN;
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, "ignored", (apr_size_t)-1), APR_SUCCESS);
    CU_ASSERT_EQUAL(rec.body_len, 0);
    CU_ASSERT_EQUAL(stats_of(&p).cells - stats_of(&p).cells_free, 1);
    got = read_n(&p, 1);
    CU_ASSERT(rig_same(&rec, &got.rec) && got.rec.flags == SC_REC_PROXY);
    sc_buf_init(&buf, 100);
    CU_ASSERT_EQUAL(sc_store_get(p.store, 0, &rec.id, &back, &buf), APR_SUCCESS);
    CU_ASSERT(rig_same(&rec, &back) && buf.len == 0);
    CU_ASSERT_EQUAL(sc_store_locate(p.store, 0, &rec.id, &back), APR_SUCCESS);
    CU_ASSERT(rig_same(&rec, &back));
    sc_buf_free(&buf);
    CU_ASSERT(stats_of(&p).proxies == 1 && stats_of(&p).sessions == 0);
    CU_ASSERT(context_of(&p).proxies == 1 && context_of(&p).sessions == 0);
    CU_ASSERT(context_of(&p).backups == 0); /* only who has the session holds it */

    /* to a session, back, to a tombstone, and gone */
    CU_ASSERT_EQUAL(rig_put(p.store, 0, 1, 3, 1000), APR_SUCCESS);
    CU_ASSERT(stats_of(&p).proxies == 0 && stats_of(&p).sessions == 1);
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, NULL, 0), APR_SUCCESS);
    CU_ASSERT(stats_of(&p).proxies == 1 && stats_of(&p).sessions == 0);
    CU_ASSERT(context_of(&p).body_bytes == 0);
    CU_ASSERT_EQUAL(put_flags(&p, 1, 4, SC_REC_TOMBSTONE), APR_SUCCESS);
    CU_ASSERT(stats_of(&p).proxies == 0 && stats_of(&p).tombstones == 1);
    CU_ASSERT_EQUAL(put_flags(&p, 1, 4, SC_REC_PROXY), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_remove(p.store, 0, &rec.id), APR_SUCCESS);
    CU_ASSERT(stats_of(&p).proxies == 0 && context_of(&p).proxies == 0);
    CU_ASSERT_EQUAL(stats_of(&p).cells, stats_of(&p).cells_free);

    CU_ASSERT_EQUAL(put_flags(&p, 2, 1, SC_REC_PROXY | SC_REC_TOMBSTONE), APR_EINVAL);
    CU_ASSERT_EQUAL(put_flags(&p, 2, 1, SC_REC_PROXY | 4), APR_EINVAL);
    rec.primary = ROUTES + 1;
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, NULL, 0), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_store_locate(p.store, 0, &rec.id, &back), APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_store_locate(p.store, 0xffff, &rec.id, &back), APR_NOTFOUND);
    place_close(&p);
}

static void test_proxies_in_a_full_store(void)
{
    place_t p = place_open();
    apr_uint32_t reserve = stats_of(&p).cells / 16;
    unsigned int n = 0, i, all;
    apr_uint64_t lsn;

    /* proxies are refused where new sessions are, and leave the reserve alone */
    while (rig_put(p.store, 0, n, 1, 300) == APR_SUCCESS) {
        n++;
    }
    for (all = n; put_flags(&p, all, 1, SC_REC_PROXY) == APR_SUCCESS; all++) {
        CU_ASSERT_FATAL(all < n + 100);
    }
    CU_ASSERT_EQUAL(stats_of(&p).cells_free, reserve);
    lsn = stats_of(&p).lsn;
    CU_ASSERT_EQUAL(put_flags(&p, all, 1, SC_REC_PROXY), APR_ENOSPC);
    CU_ASSERT(stats_of(&p).lsn == lsn && stats_of(&p).cells_free == reserve);
    CU_ASSERT_EQUAL(put_flags(&p, all, 1, SC_REC_TOMBSTONE), APR_SUCCESS); /* these may use it */

    /* proxies that become sessions may use the reserve, too, down to its last quarter */
    for (i = n; i < all; i++) {
        CU_ASSERT_EQUAL(rig_put(p.store, 0, i, 2, 124), APR_SUCCESS);
    }
    for (i = 0; rig_put(p.store, 0, i, 2, 2000) == APR_SUCCESS; i++) {
        CU_ASSERT_FATAL(i < n);
    }
    while (rig_put(p.store, 0, i, 2, 400) == APR_SUCCESS) {
        i++;
    }
    CU_ASSERT(stats_of(&p).cells_free >= reserve / 4);
    CU_ASSERT(stats_of(&p).cells_free < reserve / 4 + 5);
    CU_ASSERT_EQUAL(put_flags(&p, i, 3, SC_REC_PROXY), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_put(p.store, 0, i, 4, 300), APR_SUCCESS); /* into what it gave back */
    CU_ASSERT_EQUAL(put_flags(&p, i, 5, SC_REC_PROXY), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_put(p.store, 0, i, 6, 2000), APR_ENOSPC);
    CU_ASSERT_EQUAL(read_n(&p, i).rec.flags, SC_REC_PROXY); /* and nothing is lost */

    /* even with one cell left everything that is here becomes a proxy, or moves */
    while (p.store->head->free_count > 1) {
        p.store->head->free_count--; /* as if somebody had taken them */
    }
    lsn = stats_of(&p).lsn;
    CU_ASSERT_EQUAL(move(&p, 0, 1, 3, 9), APR_SUCCESS);
    CU_ASSERT_EQUAL(put_flags(&p, i, 7, SC_REC_PROXY), APR_SUCCESS);
    CU_ASSERT_EQUAL(stats_of(&p).cells_free, 1);
    for (i = 0; i < all; i++) {
        CU_ASSERT_EQUAL(put_flags(&p, i, 7, SC_REC_PROXY), APR_SUCCESS);
    }
    CU_ASSERT(stats_of(&p).proxies == all && stats_of(&p).sessions == 0);
    CU_ASSERT_EQUAL(stats_of(&p).lsn, lsn + all + 2);
    CU_ASSERT_EQUAL(sc_store_recover(p.store, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(stats_of(&p).proxies, all);
    place_close(&p);
}

typedef struct seen_t {
    place_t *p;
    int calls;
    apr_uint16_t flags;
    apr_uint32_t body_len;
    sc_id_t id;
} seen_t;

static void on_touched(void *baton, const sc_record_t *rec, apr_time_t accessed)
{
    seen_t *s = baton;

    (void)rec;
    (void)accessed;
    s->calls++;
}

static apr_time_t on_due(void *baton, const sc_record_t *rec)
{
    seen_t *s = baton;

    s->calls++;
    s->flags = rec->flags;
    s->body_len = rec->body_len;
    return rec->due + SECONDS(100);
}

static int on_scan(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    seen_t *s = baton;

    (void)body;
    s->calls++;
    s->flags = rec->flags;
    s->body_len = rec->body_len;
    s->id = rec->id;
    return 1;
}

static int scan_since(const place_t *p, apr_uint64_t since, seen_t *s)
{
    apr_uint32_t cursor = 0;

    memset(s, 0, sizeof(*s));
    CU_ASSERT_EQUAL(sc_store_scan(p->store, &cursor, since, 0xffffffffu, on_scan, s), APR_EOF);
    return s->calls;
}

static void test_proxy_in_time(void)
{
    place_t p = place_open();
    sc_store_recovery_t report;
    seen_t s = {0};
    sc_stored_t got;
    sc_id_t id = rig_id(1);

    CU_ASSERT_EQUAL(put_flags(&p, 1, 0, SC_REC_PROXY), APR_SUCCESS); /* due at 4000 s */
    got = read_n(&p, 1);
    sc_store_note_access(p.store, got.cell, got.gen, SECONDS(3000));
    sc_store_collect(p.store, SECONDS(3500), on_touched, &s);
    CU_ASSERT_EQUAL(s.calls, 0);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.accessed, SECONDS(2000));

    CU_ASSERT_EQUAL(sc_store_run_due(p.store, SECONDS(3999), 10, on_due, &s), 0);
    CU_ASSERT_EQUAL(sc_store_run_due(p.store, SECONDS(4000), 10, on_due, &s), 1);
    CU_ASSERT(s.calls == 1 && s.flags == SC_REC_PROXY && s.body_len == 0);
    CU_ASSERT_EQUAL(sc_store_touch(p.store, 0, &id, SECONDS(4100), SECONDS(5000)), APR_SUCCESS);
    CU_ASSERT(scan_since(&p, 0, &s) == 1 && s.flags == SC_REC_PROXY && s.body_len == 0);
    CU_ASSERT_EQUAL(sc_store_recover(p.store, &report), APR_SUCCESS);
    CU_ASSERT(report.kept == 1 && report.dropped == 0 && stats_of(&p).proxies == 1);
    CU_ASSERT_EQUAL(sc_store_run_due(p.store, SECONDS(5000), 10, on_due, &s), 1);

    /* what was noted on a proxy or a tombstone is no access to the session that comes after it,
     * and what was noted on a session none to the proxy */
    got = read_n(&p, 1);
    sc_store_note_access(p.store, got.cell, got.gen, SECONDS(6000));
    CU_ASSERT_EQUAL(rig_put(p.store, 0, 1, 1, 200), APR_SUCCESS);
    s.calls = 0;
    sc_store_collect(p.store, SECONDS(7000), on_touched, &s);
    CU_ASSERT_EQUAL(s.calls, 0);
    got = read_n(&p, 1);
    sc_store_note_access(p.store, got.cell, got.gen, SECONDS(6000));
    CU_ASSERT_EQUAL(put_flags(&p, 1, 2, SC_REC_PROXY), APR_SUCCESS);
    sc_store_collect(p.store, SECONDS(7000), on_touched, &s);
    CU_ASSERT_EQUAL(s.calls, 0);
    /* a change of location is no change of the record a child has in its hands */
    CU_ASSERT_EQUAL(rig_put(p.store, 0, 1, 3, 200), APR_SUCCESS);
    got = read_n(&p, 1);
    CU_ASSERT_EQUAL(move(&p, 1, 1, 2, 5), APR_SUCCESS);
    sc_store_note_access(p.store, got.cell, got.gen, SECONDS(6000));
    sc_store_collect(p.store, SECONDS(7000), on_touched, &s);
    CU_ASSERT_EQUAL(s.calls, 1);
    place_close(&p);
}

/* ---- numbers -------------------------------------------------------------------------------- */

static void test_location_is_a_change(void)
{
    place_t p = place_open();
    apr_uint64_t lsn;
    unsigned int n;
    seen_t s;

    for (n = 0; n < 100; n++) {
        CU_ASSERT_EQUAL(rig_put(p.store, 0, n, 1, 200), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(put_flags(&p, 50, 2, SC_REC_PROXY), APR_SUCCESS);
    CU_ASSERT_EQUAL(put_flags(&p, 51, 2, SC_REC_TOMBSTONE), APR_SUCCESS);
    for (n = 0; n < 100; n++) {
        sc_stored_t before = read_n(&p, n), after;
        sc_id_t id = rig_id(n);

        lsn = stats_of(&p).lsn;
        CU_ASSERT_EQUAL(scan_since(&p, lsn, &s), 0);
        CU_ASSERT_EQUAL(move(&p, n, 1, 3, 0xffffffffu - n), APR_SUCCESS);
        CU_ASSERT_EQUAL(stats_of(&p).lsn, lsn + 1);
        CU_ASSERT_EQUAL(scan_since(&p, lsn, &s), 1);
        CU_ASSERT(memcmp(&s.id, &id, sizeof(id)) == 0 && s.body_len == before.rec.body_len);
        after = read_n(&p, n);
        CU_ASSERT_EQUAL(after.rec.lsn, lsn + 1);
        CU_ASSERT(after.rec.primary == 1 && after.rec.backups[0] == 3 && after.rec.backups[1] == 0);
        CU_ASSERT_EQUAL(after.rec.epoch, 0xffffffffu - n);
        before.rec.lsn = after.rec.lsn;
        before.rec.epoch = after.rec.epoch;
        before.rec.primary = 1;
        before.rec.backups[0] = 3;
        CU_ASSERT(rig_same(&before.rec, &after.rec)); /* and nothing else */
        CU_ASSERT(memcmp(before.body, after.body, after.rec.body_len) == 0);
    }
    /* what is refused takes no number */
    lsn = stats_of(&p).lsn;
    CU_ASSERT_EQUAL(move(&p, 0, ROUTES + 1, 3, 1), APR_EINVAL);
    CU_ASSERT_EQUAL(move(&p, 0, 1, ROUTES + 1, 1), APR_EINVAL);
    CU_ASSERT_EQUAL(move(&p, 1000, 1, 3, 1), APR_NOTFOUND);
    CU_ASSERT_EQUAL(stats_of(&p).lsn, lsn);
    /* a number that was given out is never given out again, whatever becomes of the record */
    CU_ASSERT_EQUAL(move(&p, 7, 1, 3, 1), APR_SUCCESS);
    for (n = 0; n < 100; n++) {
        sc_id_t id = rig_id(n);

        CU_ASSERT_EQUAL(sc_store_remove(p.store, 0, &id), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(sc_store_recover(p.store, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(stats_of(&p).lsn, lsn + 1);
    CU_ASSERT_EQUAL(rig_put(p.store, 0, 1, 1, 16), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.lsn, lsn + 2);
    place_close(&p);
}

/* The largest numbers there are, beside the largest route in the same word. */
static void test_large_numbers(void)
{
    place_t p = place_open();
    apr_uint16_t backups[SC_BACKUPS_MAX] = {1, 2, 3, 0}, k = 0;
    sc_record_t rec = rig_record(0, 1, 1);
    sc_stored_t got;
    int i;

    for (i = ROUTES + 1; i < SC_ROUTES_MAX; i++) {
        char name[2] = {(char)i, 'x'};

        CU_ASSERT_EQUAL(sc_store_route(p.store, name, 2, 1, &k), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(k, SC_ROUTES_MAX - 1);
    backups[3] = k;
    rec.primary = k;
    memcpy(rec.backups, backups, sizeof(backups));
    p.store->head->lsn = LSN_MAX - 3;
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, "x", 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(rec.lsn, LSN_MAX - 2);
    got = read_n(&p, 1);
    CU_ASSERT(rig_same(&rec, &got.rec));
    CU_ASSERT_EQUAL(sc_store_set_location(p.store, 0, &rec.id, 1, backups, 4, 0xffffffffu),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.lsn, LSN_MAX - 1);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.backups[3], k);
    CU_ASSERT_EQUAL(sc_store_set_location(p.store, 0, &rec.id, 1, backups, 3, 0xffffffffu),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.lsn, LSN_MAX);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.backups[3], 0);
    CU_ASSERT_EQUAL(sc_store_recover(p.store, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(stats_of(&p).lsn, LSN_MAX);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.lsn, LSN_MAX);
    place_close(&p);
}

/* ---- counts --------------------------------------------------------------------------------- */

static void test_counts_of_roles(void)
{
    place_t p = place_open();
    sc_context_stats_t c;
    sc_record_t rec;
    unsigned int n;

    for (n = 0; n < 60; n++) {
        rec = rig_record(0, n, 1);
        rec.flags = n < 40 ? 0 : n < 50 ? SC_REC_PROXY : SC_REC_TOMBSTONE;
        rec.primary = (apr_uint16_t)(1 + n % ROUTES);
        rec.backups[0] = (apr_uint16_t)(1 + (n + 1) % ROUTES);
        rec.backups[1] = n % 2 != 0 ? (apr_uint16_t)(1 + (n + 2) % ROUTES) : SC_ROUTE_NONE;
        rec.backups[2] = OWN; /* behind the end of the list for every other one */
        CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, "x", 1), APR_SUCCESS);
    }
    c = context_of(&p);
    CU_ASSERT(c.sessions == 40 && c.proxies == 10 && c.tombstones == 10 && c.body_bytes == 40);
    CU_ASSERT_EQUAL(c.primaries, 8);
    CU_ASSERT_EQUAL(c.backups, 20 + 4); /* all odd ones, the even ones of one fifth */
    sc_store_set_own_route(p.store, 3);
    c = context_of(&p);
    CU_ASSERT_EQUAL(c.primaries, 8);
    CU_ASSERT_EQUAL(c.backups, 8 + 4);
    CU_ASSERT_EQUAL(rig_audit(p.store, 3).failures, 0);
    sc_store_set_own_route(p.store, SC_ROUTE_NONE);
    c = context_of(&p);
    CU_ASSERT(c.primaries == 0 && c.backups == 0);
    CU_ASSERT_EQUAL(rig_audit(p.store, 0).failures, 0);
    sc_store_set_own_route(p.store, OWN);
    c = context_of(&p);
    CU_ASSERT(c.primaries == 8 && c.backups == 24);

    /* one session through all roles */
    CU_ASSERT_EQUAL(move(&p, 0, 1, 3, 1), APR_SUCCESS);
    c = context_of(&p);
    CU_ASSERT_EQUAL(move(&p, 0, OWN, 3, 2), APR_SUCCESS);
    CU_ASSERT(context_of(&p).primaries == c.primaries + 1 && context_of(&p).backups == c.backups);
    CU_ASSERT_EQUAL(move(&p, 0, 3, OWN, 3), APR_SUCCESS);
    CU_ASSERT(context_of(&p).primaries == c.primaries && context_of(&p).backups == c.backups + 1);
    CU_ASSERT_EQUAL(sc_store_recover(p.store, NULL), APR_SUCCESS);
    CU_ASSERT(context_of(&p).primaries == c.primaries && context_of(&p).backups == c.backups + 1);
    rec = read_n(&p, 0).rec;
    rec.flags = SC_REC_PROXY;
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, NULL, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(context_of(&p).backups, c.backups);
    CU_ASSERT_EQUAL(move(&p, 0, 3, OWN, 4), APR_SUCCESS); /* of a proxy: counts nowhere */
    CU_ASSERT(context_of(&p).primaries == c.primaries && context_of(&p).backups == c.backups);
    rec.flags = 0;
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, "abc", 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(context_of(&p).backups, c.backups + 1);
    CU_ASSERT_EQUAL(sc_store_remove(p.store, 0, &rec.id), APR_SUCCESS);
    CU_ASSERT_EQUAL(context_of(&p).backups, c.backups);
    place_close(&p);
}

/* ---- damage --------------------------------------------------------------------------------- */

static record_cell_t *cell_of(const place_t *p, unsigned int n)
{
    sc_id_t id = rig_id(n);
    snap_t snap;
    apr_uint32_t i;

    for (i = 0; i < p->store->ncells; i++) {
        if (sc_snap_copy(p->store, i, p->store->gen[i], &snap) &&
            memcmp(&snap.rec.id, &id, sizeof(id)) == 0) {
            return &p->store->cell[i].rec;
        }
    }
    CU_FAIL_FATAL("no such record");
    return NULL;
}

enum { RECORDS = 2000 };

/* Long chains, so that a chain that is cut shows. */
static place_t open_crowded(void)
{
    place_t p = place_open();
    unsigned int n;

    for (n = 0; n < RECORDS; n++) {
        CU_ASSERT_EQUAL(rig_put(p.store, 0, n, 1, 16), APR_SUCCESS);
        CU_ASSERT_EQUAL(move(&p, n, 1, OWN, n), APR_SUCCESS);
    }
    return p;
}

/* Any bit of the location that counts costs this record and no other one; none of the other
 * location's matters. */
static void test_damaged_location(void)
{
    place_t p = open_crowded();
    sc_store_recovery_t report;
    apr_uint64_t kept = RECORDS;
    unsigned int bit, n = 0;

    for (bit = 0; bit < sizeof(loc_t) * 8 + 16; bit++, n += 3) {
        record_cell_t *r = cell_of(&p, n);
        unsigned int valid = r->loc_sel & 1;
        sc_id_t id = rig_id(n);
        apr_pool_t *sub;
        sc_store_t *copy;
        unsigned char *at[2];
        sc_record_t rec;
        int i;

        for (i = 0; i < 2; i++) {
            at[i] = bit < sizeof(loc_t) * 8 ? (unsigned char *)&r->loc[i] + bit / 8
                                            : (unsigned char *)&r->loc_check[i] + bit / 8 % 2;
        }
        *at[!valid] ^= (unsigned char)(1 << bit % 8);
        CU_ASSERT_EQUAL(sc_store_locate(p.store, 0, &id, &rec), APR_SUCCESS);
        *at[valid] ^= (unsigned char)(1 << bit % 8);
        CU_ASSERT_EQUAL(sc_store_locate(p.store, 0, &id, &rec), APR_EAGAIN);
        if (bit % 16 == 5) {
            apr_pool_create(&sub, p.pool);
            copy = rig_copy(p.store, sub);
            CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
            CU_ASSERT_EQUAL(sc_store_recover(copy, &report), APR_SUCCESS);
            CU_ASSERT(report.kept == kept - 1 && report.dropped == 1);
            CU_ASSERT_EQUAL(sc_store_locate(copy, 0, &id, &rec), APR_NOTFOUND);
            CU_ASSERT_EQUAL(rig_audit(copy, OWN).failures, 0);
            apr_pool_destroy(sub);
        }
        *at[valid] ^= (unsigned char)(1 << bit % 8);
        CU_ASSERT_EQUAL(sc_store_locate(p.store, 0, &id, &rec), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(sc_store_recover(p.store, &report), APR_SUCCESS);
    CU_ASSERT(report.kept == kept && report.dropped == 0);
    place_close(&p);
}

/* A location that is whole, but another session's. */
static void test_location_of_another(void)
{
    place_t p = open_crowded();
    record_cell_t *mine = cell_of(&p, 10), *other = cell_of(&p, 11);
    unsigned int from = other->loc_sel & 1, to = mine->loc_sel & 1;
    sc_store_recovery_t report;
    sc_id_t id = rig_id(10);
    sc_record_t rec;

    mine->loc[to] = other->loc[from];
    mine->loc_check[to] = other->loc_check[from];
    CU_ASSERT_EQUAL(sc_store_locate(p.store, 0, &id, &rec), APR_EAGAIN);
    CU_ASSERT_EQUAL(sc_store_recover(p.store, &report), APR_SUCCESS);
    CU_ASSERT(report.kept == RECORDS - 1 && report.dropped == 1);
    CU_ASSERT_EQUAL(sc_store_locate(p.store, 0, &id, &rec), APR_NOTFOUND);
    place_close(&p);
}

/* A head that carries a right check and is impossible all the same. */
static void test_impossible_heads(void)
{
    static const struct {
        apr_uint16_t flags;
        apr_uint32_t body_len;
        apr_uint64_t lsn;
        apr_uint32_t routes;
        apr_uint64_t kept;
    } heads[] = {
        {0, 0, 5, 1, 1},
        {SC_REC_PROXY, 0, 5, 1, 1},
        {SC_REC_TOMBSTONE, 0, 5, 1, 1},
        {SC_REC_PROXY | SC_REC_TOMBSTONE, 0, 5, 1, 0},
        {SC_REC_GIVEN, 0, 5, 1, 1},
        {SC_REC_GIVEN | SC_REC_DOUBT, 16, 5, 1, 1},
        {SC_REC_PROXY | SC_REC_DOUBT, 0, 5, 1, 0},
        {SC_REC_TOMBSTONE | SC_REC_GIVEN, 0, 5, 1, 0},
        {0x10, 0, 5, 1, 0},
        {0, 0, LSN_MAX, 1, 1},
        {0, 0, LSN_MAX + 1, 1, 0},
        {0, 0, 0, 1, 0},
        {0, 0, 5, ROUTES, 1},
        {0, 0, 5, ROUTES + 1, 0},
        {0, 0, 5, ROUTES << 16 | 1 << 8, 1},
        {0, 0, 5, (ROUTES + 1) << 16 | 1 << 8, 0},
        {0, 0, 5 | (apr_uint64_t)ROUTES << BACKUP3_SHIFT, 0x01010101, 1},
        {0, 0, 5 | (apr_uint64_t)(ROUTES + 1) << BACKUP3_SHIFT, 0x01010101, 0},
        {SC_REC_PROXY, 16, 5, 1, 0},
        {SC_REC_TOMBSTONE, 16, 5, 1, 0},
        {0, 16, 5, 1, 1},
    };
    apr_size_t i;

    for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        place_t p = place_open();
        sc_store_recovery_t report;
        record_cell_t *r;
        unsigned char body[BODY_BYTES] = {0};
        sc_record_t rec = rig_record(0, 1, 1);
        apr_uint64_t sum;
        int w;

        CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, body, heads[i].body_len), APR_SUCCESS);
        rec.flags = heads[i].flags;
        rec.body_len = heads[i].body_len;
        sum = sc_snap_sum(&rec);
        for (w = 0; w <= BODY_WORDS && rec.body_len > 0; w++) {
            sum = mix(sum, 0);
        }
        r = cell_of(&p, 1);
        r->kind = kind_of(0, rec.flags);
        r->check = (apr_uint32_t)(sum ^ sum >> 32);
        r->loc[0].lsn = heads[i].lsn;
        r->loc[0].routes = heads[i].routes;
        r->loc_check[0] = loc_sum(r->id, &r->loc[0]);
        CU_ASSERT_EQUAL(sc_store_recover(p.store, &report), APR_SUCCESS);
        CU_ASSERT(report.kept == heads[i].kept && report.dropped == 1 - heads[i].kept);
        CU_ASSERT(stats_of(&p).lsn <= LSN_MAX);
        place_close(&p);
    }
}

/* The number of the last change never goes back, and comes back when it was damaged. */
static void test_number_after_recovery(void)
{
    static const apr_uint64_t damaged[] = {0, 1, 4001, LSN_MAX + 1, ~0ull};
    place_t p = open_crowded();
    apr_uint64_t highest = 2 * RECORDS, lsn;
    apr_size_t i;

    CU_ASSERT_EQUAL(stats_of(&p).lsn, highest);
    for (i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        p.store->head->lsn = damaged[i];
        CU_ASSERT_EQUAL(sc_store_recover(p.store, NULL), APR_SUCCESS);
        lsn = stats_of(&p).lsn;
        /* larger than that of any record and possible: nobody can tell it from a right one */
        CU_ASSERT_EQUAL(lsn, damaged[i] == 4001 ? 4001 : highest);
    }
    p.store->head->lsn = 5000; /* numbers given out for changes that are gone again */
    CU_ASSERT_EQUAL(sc_store_recover(p.store, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(move(&p, 1, 3, 1, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.lsn, 5001);
    place_close(&p);
}

/* ---- promises -------------------------------------------------------------------------------- */

static apr_status_t promise(const place_t *p, unsigned int n, apr_uint32_t epoch)
{
    sc_id_t id = rig_id(n);

    return sc_store_promise(p->store, 0, &id, epoch);
}

/* What all readers say was promised for the session; -1: they differ. */
static apr_int64_t promised(const place_t *p, unsigned int n)
{
    sc_stored_t got = read_n(p, n);
    sc_record_t located, rec;
    sc_id_t id = rig_id(n);

    if (sc_store_locate(p->store, 0, &id, &located) != APR_SUCCESS ||
        sc_store_get(p->store, 0, &id, &rec, NULL) != APR_SUCCESS ||
        !rig_same(&located, &got.rec) || !rig_same(&rec, &got.rec) ||
        located.promised != got.rec.promised || rec.promised != got.rec.promised) {
        return -1;
    }
    return got.rec.promised;
}

/* Session 1 with a body, at epoch 10, for which a number was promised. */
static place_t open_promised(apr_uint32_t epoch)
{
    place_t p = place_open();

    CU_ASSERT_EQUAL(rig_put(p.store, 0, 1, 1, 300), APR_SUCCESS);
    CU_ASSERT_EQUAL(move(&p, 1, 1, 3, 10), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 0);
    CU_ASSERT_EQUAL(promise(&p, 1, epoch), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), epoch);
    return p;
}

/* It is a change of the record, in place, and of nothing but the promise. */
static void test_promise(void)
{
    place_t p = open_promised(13);
    sc_stored_t before = read_n(&p, 1), after;
    sc_store_stats_t stats = stats_of(&p);
    seen_t s;

    CU_ASSERT_EQUAL(promise(&p, 1, 17), APR_SUCCESS);
    after = read_n(&p, 1);
    CU_ASSERT_EQUAL(after.rec.promised, 17);
    CU_ASSERT_EQUAL(after.rec.lsn, stats.lsn + 1);
    CU_ASSERT_EQUAL(scan_since(&p, stats.lsn, &s), 1);
    CU_ASSERT_EQUAL(stats_of(&p).cells_free, stats.cells_free);
    before.rec.lsn = after.rec.lsn;
    CU_ASSERT(rig_same(&before.rec, &after.rec));
    CU_ASSERT(memcmp(before.body, after.body, after.rec.body_len) == 0);
    /* a lower one, or the same, changes nothing */
    CU_ASSERT_EQUAL(promise(&p, 1, 16), APR_SUCCESS);
    CU_ASSERT_EQUAL(promise(&p, 1, 17), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 17);
    CU_ASSERT_EQUAL(stats_of(&p).lsn, stats.lsn + 1);
    place_close(&p);
}

static void test_promise_bounds(void)
{
    place_t p = open_promised(10 + SC_PROMISE_MAX);
    apr_uint64_t lsn = stats_of(&p).lsn;

    CU_ASSERT_EQUAL(promise(&p, 1, 9), APR_EINVAL);
    CU_ASSERT_EQUAL(promise(&p, 1, 10), APR_EINVAL);
    CU_ASSERT_EQUAL(promise(&p, 1, 11 + SC_PROMISE_MAX), APR_EINVAL);
    CU_ASSERT_EQUAL(promise(&p, 1, 0xffffffffu), APR_EINVAL);
    CU_ASSERT_EQUAL(promise(&p, 2, 11), APR_NOTFOUND);
    CU_ASSERT_EQUAL(promised(&p, 1), 10 + SC_PROMISE_MAX);
    CU_ASSERT_EQUAL(stats_of(&p).lsn, lsn);
    place_close(&p);
    /* a location that is far below it: as much as there is room for, and nothing else changes */
    p = open_promised(10 + SC_PROMISE_MAX);
    CU_ASSERT_EQUAL(move(&p, 1, 1, 3, 4), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 4 + SC_PROMISE_MAX);
    CU_ASSERT(read_n(&p, 1).rec.epoch == 4 && read_n(&p, 1).rec.backups[3] == 0);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.lsn, stats_of(&p).lsn);
    place_close(&p);
    p = open_promised(11);
    CU_ASSERT_EQUAL(promised(&p, 1), 11);
    place_close(&p);
}

/* Until a location comes that is as high. */
static void test_promise_and_location(void)
{
    place_t p = open_promised(14);

    CU_ASSERT_EQUAL(move(&p, 1, 3, OWN, 12), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.epoch, 12);
    CU_ASSERT_EQUAL(promised(&p, 1), 14);
    CU_ASSERT_EQUAL(move(&p, 1, 3, OWN, 13), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 14);
    CU_ASSERT_EQUAL(move(&p, 1, OWN, 4, 14), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.epoch, 14);
    CU_ASSERT_EQUAL(promised(&p, 1), 0);
    CU_ASSERT_EQUAL(promise(&p, 1, 15), APR_SUCCESS);
    CU_ASSERT_EQUAL(move(&p, 1, OWN, 4, 20), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 0);
    place_close(&p);
}

/* Whoever changes a session puts the record as he has found it. */
static void test_promise_and_put(void)
{
    place_t p = open_promised(14);
    unsigned char body[700];
    sc_record_t rec = read_n(&p, 1).rec;

    rig_fill(body, sizeof(body), 1, 2);
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, body, sizeof(body)), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 14);
    rec.flags = SC_REC_PROXY;
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, NULL, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 14);
    rec.flags = 0;
    rec.epoch = 14;
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, body, sizeof(body)), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 0);
    /* what is dead goes nowhere */
    CU_ASSERT_EQUAL(promise(&p, 1, 16), APR_SUCCESS);
    rec = read_n(&p, 1).rec;
    CU_ASSERT_EQUAL(rec.promised, 16);
    rec.flags = SC_REC_TOMBSTONE;
    CU_ASSERT_EQUAL(sc_store_put(p.store, &rec, NULL, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 0);
    CU_ASSERT_EQUAL(read_n(&p, 1).rec.epoch, 14);
    place_close(&p);
}

/* The next engine is bound by it, too. */
static void test_promise_and_recovery(void)
{
    place_t p = open_promised(10 + SC_PROMISE_MAX);
    sc_store_recovery_t report;
    sc_store_t *attached;

    CU_ASSERT_EQUAL(rig_put(p.store, 0, 2, 1, 300), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_recover(p.store, &report), APR_SUCCESS);
    CU_ASSERT(report.kept == 2 && report.dropped == 0);
    CU_ASSERT_EQUAL(promised(&p, 1), 10 + SC_PROMISE_MAX);
    CU_ASSERT_EQUAL(promised(&p, 2), 0);
    CU_ASSERT_EQUAL(
        sc_store_attach(&attached, sc_store_base(p.store), sc_store_bytes(p.store), p.pool),
        APR_SUCCESS);
    p.store = attached;
    CU_ASSERT_EQUAL(promised(&p, 1), 10 + SC_PROMISE_MAX);
    place_close(&p);
}

/* It stands beside the last backup and the number of the change. */
static void test_promise_and_backups(void)
{
    static const apr_uint16_t backups[] = {5, 4, 3, OWN}, fewer[] = {5, 4, 3};
    place_t p = open_promised(14);
    sc_id_t id = rig_id(1);
    sc_stored_t got;
    apr_uint32_t k;

    CU_ASSERT_EQUAL(sc_store_set_location(p.store, 0, &id, 1, backups, 4, 11), APR_SUCCESS);
    for (k = 14; k <= 11 + SC_PROMISE_MAX; k++) {
        CU_ASSERT_EQUAL(promise(&p, 1, k), APR_SUCCESS);
        CU_ASSERT_EQUAL(promised(&p, 1), k);
        got = read_n(&p, 1);
        CU_ASSERT(got.rec.epoch == 11 && got.rec.primary == 1);
        CU_ASSERT(memcmp(got.rec.backups, backups, sizeof(backups)) == 0);
        CU_ASSERT_EQUAL(got.rec.lsn, stats_of(&p).lsn);
        CU_ASSERT(context_of(&p).backups == 1 && context_of(&p).primaries == 0);
    }
    CU_ASSERT_EQUAL(sc_store_set_location(p.store, 0, &id, 1, fewer, 3, 12), APR_SUCCESS);
    CU_ASSERT_EQUAL(promised(&p, 1), 11 + SC_PROMISE_MAX);
    got = read_n(&p, 1);
    CU_ASSERT(memcmp(got.rec.backups, fewer, sizeof(fewer)) == 0 && got.rec.backups[3] == 0);
    /* a store that has been in use for very long */
    p.store->head->lsn = LSN_MAX + 7;
    CU_ASSERT_EQUAL(sc_store_set_location(p.store, 0, &id, 1, backups, 4, 13), APR_SUCCESS);
    CU_ASSERT_EQUAL(promise(&p, 1, 13 + SC_PROMISE_MAX), APR_SUCCESS);
    got = read_n(&p, 1);
    CU_ASSERT(got.rec.lsn == LSN_MAX + 9 && got.rec.epoch == 13);
    CU_ASSERT(memcmp(got.rec.backups, backups, sizeof(backups)) == 0);
    CU_ASSERT_EQUAL(promised(&p, 1), 13 + SC_PROMISE_MAX);
    place_close(&p);
}

void rig_add_place(void *suite)
{
    CU_pSuite s = suite;

    CU_add_test(s, "proxy", test_proxy);
    CU_add_test(s, "full: proxies", test_proxies_in_a_full_store);
    CU_add_test(s, "proxy: touches, due times, scans", test_proxy_in_time);
    CU_add_test(s, "a new location is a change", test_location_is_a_change);
    CU_add_test(s, "the largest change numbers", test_large_numbers);
    CU_add_test(s, "counts of primaries, backups, proxies", test_counts_of_roles);
    CU_add_test(s, "damaged locations", test_damaged_location);
    CU_add_test(s, "a location of another session", test_location_of_another);
    CU_add_test(s, "impossible heads", test_impossible_heads);
    CU_add_test(s, "change numbers after a recovery", test_number_after_recovery);
    CU_add_test(s, "promise", test_promise);
    CU_add_test(s, "promise: bounds", test_promise_bounds);
    CU_add_test(s, "promise: kept until the location is as high", test_promise_and_location);
    CU_add_test(s, "promise: kept when the record is put", test_promise_and_put);
    CU_add_test(s, "promise: kept over the end of the engine", test_promise_and_recovery);
    CU_add_test(s, "promise: beside all backups", test_promise_and_backups);
}
