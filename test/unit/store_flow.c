/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The store over time: when it fills up, when sessions become due, while it is scanned, and in long
 * random runs against a model that is too simple to be wrong.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <CUnit/CUnit.h>

#include "store_rig.h"

typedef struct flow_t {
    apr_pool_t *pool;
    sc_store_t *store;
    apr_uint16_t app;
} flow_t;

static flow_t flow_open(apr_size_t bytes)
{
    flow_t f = {NULL, NULL, 0};

    CU_ASSERT_EQUAL_FATAL(apr_pool_create(&f.pool, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&f.store, bytes, f.pool), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_context(f.store, "app", 3, 1, &f.app), APR_SUCCESS);
    return f;
}

static void flow_close(flow_t *f)
{
    CU_ASSERT_EQUAL(rig_audit(f->store, 0).failures, 0);
    apr_pool_destroy(f->pool);
}

static sc_store_stats_t stats_of(const flow_t *f)
{
    sc_store_stats_t s;

    sc_store_stats(f->store, &s);
    return s;
}

static apr_status_t put_tombstone(flow_t *f, unsigned int n)
{
    sc_record_t rec = rig_record(f->app, n, 99);

    rec.flags = SC_REC_TOMBSTONE;
    return sc_store_put(f->store, &rec, NULL, 0);
}

/* ---- full ----------------------------------------------------------------------------------- */

static void test_full(void)
{
    flow_t f = flow_open(SC_STORE_MIN);
    apr_uint32_t reserve = stats_of(&f).cells / 16, left;
    unsigned int n = 0, i, known;
    apr_uint64_t lsn;
    apr_status_t rv;

    while ((rv = rig_put(f.store, f.app, n, 1, 300)) == APR_SUCCESS) { /* 4 cells each */
        n++;
        CU_ASSERT_FATAL(n < 100000);
    }
    CU_ASSERT_EQUAL(rv, APR_ENOSPC);
    CU_ASSERT(stats_of(&f).cells_free >= reserve);
    CU_ASSERT(stats_of(&f).cells_free < reserve + 8);
    CU_ASSERT(n * 4 + reserve + 8 > stats_of(&f).cells);
    while (rig_put(f.store, f.app, n, 1, 16) == APR_SUCCESS) { /* smaller ones may still fit */
        n++;
    }
    CU_ASSERT(stats_of(&f).cells_free >= reserve);
    lsn = stats_of(&f).lsn;
    left = stats_of(&f).cells_free;
    CU_ASSERT_EQUAL(rig_put(f.store, f.app, n, 1, 16), APR_ENOSPC);
    CU_ASSERT_EQUAL(stats_of(&f).lsn, lsn); /* nothing changed */
    CU_ASSERT_EQUAL(stats_of(&f).cells_free, left);
    known = n;

    /* sessions that are here may grow into the reserve, down to its last quarter */
    for (i = 0; (rv = rig_put(f.store, f.app, i, 2, 1000)) == APR_SUCCESS; i++) {
        CU_ASSERT_FATAL(i < known);
    }
    CU_ASSERT_EQUAL(rv, APR_ENOSPC);
    CU_ASSERT(i > 0);
    CU_ASSERT(stats_of(&f).cells_free >= reserve / 4);
    /* by then all may still be changed as long as they do not grow */
    for (i = 0; i < known; i++) {
        CU_ASSERT_EQUAL(rig_put(f.store, f.app, i, 3, 300), APR_SUCCESS);
    }
    /* unknown ids may be buried in half of the reserve, no more */
    for (i = 0; (rv = put_tombstone(&f, known + i)) == APR_SUCCESS; i++) {
        CU_ASSERT_FATAL(i < reserve);
    }
    CU_ASSERT_EQUAL(rv, APR_ENOSPC);
    CU_ASSERT(i > reserve / 4);
    /* the refusals lost nothing */
    for (n = 0; n < known; n++) {
        sc_id_t id = rig_id(n);
        sc_stored_t got;
        unsigned int who, v;

        CU_ASSERT_EQUAL_FATAL(sc_store_read(f.store, f.app, &id, f.pool, &got), APR_SUCCESS);
        CU_ASSERT(rig_check(got.body, got.rec.body_len, &who, &v) && who == n && v == 3);
    }
    flow_close(&f);
}

/* Even with the last cell gone, an invalidation succeeds and gives room back. */
static void test_tombstones_in_a_full_store(void)
{
    flow_t f = flow_open(SC_STORE_MIN);
    unsigned int n = 0, i, tombstones;
    apr_size_t len;
    sc_id_t id;

    /* 1-cell sessions, so that a tombstone frees exactly what it takes */
    for (;;) {
        sc_record_t rec = rig_record(f.app, n, 1);
        if (sc_store_put(f.store, &rec, NULL, 0) != APR_SUCCESS) {
            break;
        }
        n++;
    }
    /* eat up the reserve with a few that grow, down to the last body that fits */
    for (i = 0, len = 8000; len >= RIG_BODY_MIN; len /= 2) {
        while (i < 200 && rig_put(f.store, f.app, i, 1, len) == APR_SUCCESS) {
            i++;
        }
    }
    CU_ASSERT_EQUAL(rig_put(f.store, f.app, 300, 2, 8000), APR_ENOSPC);
    for (i = n, tombstones = 0; i-- > 0; tombstones++) {
        CU_ASSERT_EQUAL_FATAL(put_tombstone(&f, i), APR_SUCCESS);
        if (i % 7 == 0) { /* a tombstone may be renewed as well */
            CU_ASSERT_EQUAL(put_tombstone(&f, i), APR_SUCCESS);
        }
    }
    CU_ASSERT_EQUAL(stats_of(&f).tombstones, n);
    CU_ASSERT_EQUAL(stats_of(&f).sessions, 0);
    /* tombstones are not thrown out for new sessions */
    CU_ASSERT_EQUAL(stats_of(&f).cells - stats_of(&f).cells_free, n);
    CU_ASSERT_EQUAL(rig_put(f.store, f.app, n + 1, 1, 100), APR_ENOSPC);
    id = rig_id(0);
    for (i = 0; i < 10; i++) {
        id = rig_id(i);
        CU_ASSERT_EQUAL(sc_store_remove(f.store, f.app, &id), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(rig_put(f.store, f.app, n + 1, 1, 100), APR_SUCCESS);
    flow_close(&f);
}

/* ---- wheel ---------------------------------------------------------------------------------- */

typedef struct wheel_t {
    flow_t *f;
    apr_time_t now;
    int fired;
    int last; /* id number of the last one fired */
    int count[64];
    apr_time_t next; /* what the callback returns */
    int action;
    sc_id_t ids[64];
} wheel_t;

static int number_of(const wheel_t *w, const sc_id_t *id)
{
    int i;

    for (i = 0; i < 64; i++) {
        if (memcmp(&w->ids[i], id, sizeof(*id)) == 0) {
            return i;
        }
    }
    return -1;
}

static wheel_t wheel_open(flow_t *f)
{
    wheel_t w;
    int i;

    memset(&w, 0, sizeof(w));
    w.f = f;
    w.last = -1;
    for (i = 0; i < 64; i++) {
        w.ids[i] = rig_id((unsigned int)i);
    }
    return w;
}

static void put_due(wheel_t *w, int n, apr_time_t due)
{
    sc_record_t rec = rig_record(w->f->app, (unsigned int)n, 1);

    rec.due = due;
    CU_ASSERT_EQUAL(sc_store_put(w->f->store, &rec, "x", 1), APR_SUCCESS);
}

static apr_time_t on_due(void *baton, const sc_record_t *rec)
{
    wheel_t *w = baton;

    CU_ASSERT(rec->due <= w->now);
    w->last = number_of(w, &rec->id);
    CU_ASSERT_FATAL(w->last >= 0);
    w->count[w->last]++;
    w->fired++;
    if (w->action == 'r') {
        CU_ASSERT_EQUAL(sc_store_remove(w->f->store, rec->context, &rec->id), APR_SUCCESS);
        return 0;
    }
    return w->next;
}

/* Idle times from one second to ten days, with the clock going in steps of odd sizes: each fires in
 * the first call at or after its due time, never before. */
static void test_wheel_idle_times(void)
{
    static const int idle[] = {1, 2, 59, 60, 1800, 4095, 4096, 4097, 8192, 86400, 864000};
    static const apr_time_t step[] = {400000,           1000000,          7300000,
                                      3600 * 1000000ll, 4096 * 1000000ll, 5000 * 1000000ll};
    enum { N = sizeof(idle) / sizeof(idle[0]) };
    apr_size_t k;

    for (k = 0; k < sizeof(step) / sizeof(step[0]); k++) {
        flow_t f = flow_open(SC_STORE_MIN);
        wheel_t w = wheel_open(&f);
        /* small steps would take for ever to ten days; they stop after two turns */
        apr_time_t start = SECONDS(123456) + 777777, end = start + SECONDS(900000), now;
        int i;

        if (step[k] < SECONDS(3600)) {
            end = start + SECONDS(8300);
        }
        w.action = 'r';
        w.now = start;
        CU_ASSERT_EQUAL(sc_store_run_due(f.store, start, 100, on_due, &w), 0);
        for (i = 0; i < N; i++) {
            put_due(&w, i, start + SECONDS(idle[i]));
        }
        for (now = start; now < end;) {
            now += step[k];
            w.now = now;
            sc_store_run_due(f.store, now, 100, on_due, &w);
            for (i = 0; i < N; i++) {
                if (w.count[i] != (start + SECONDS(idle[i]) <= now)) {
                    CU_FAIL("fired too early, too late or twice");
                }
            }
        }
        flow_close(&f);
    }
}

static void test_wheel_portions(void)
{
    flow_t f = flow_open(SC_STORE_MIN);
    wheel_t w = wheel_open(&f);
    apr_time_t t = SECONDS(1000);
    int i;

    for (i = 0; i < 50; i++) {
        put_due(&w, i, t - SECONDS(i));
    }
    put_due(&w, 50, t + 1);
    w.now = t;
    w.next = t + SECONDS(5000);
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t, 0, on_due, &w), 0);
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t, 20, on_due, &w), 20);
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t, 20, on_due, &w), 20);
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t, 20, on_due, &w), 10);
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t, 20, on_due, &w), 0);
    for (i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(w.count[i], 1);
    }
    CU_ASSERT_EQUAL(w.count[50], 0);
    /* within the same second, a moment later */
    w.now = t + 1;
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t + 1, 20, on_due, &w), 1);
    /* overdue from the start, and a due time that is none */
    put_due(&w, 51, 5);
    put_due(&w, 52, 0);
    put_due(&w, 53, -77);
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t + 1, 20, on_due, &w), 3);
    w.now = t + SECONDS(6000);
    w.action = 'r';
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, w.now, 100, on_due, &w), 54);
    CU_ASSERT_EQUAL(stats_of(&f).sessions, 0);
    flow_close(&f);
}

/* A callback that changes the table while its slot is being worked off. */
static apr_time_t on_due_unruly(void *baton, const sc_record_t *rec)
{
    wheel_t *w = baton;
    sc_store_t *s = w->f->store;
    int n = number_of(w, &rec->id);
    sc_record_t put;

    CU_ASSERT_FATAL(n >= 0);
    w->count[n]++;
    w->fired++;
    switch (n % 8) {
    case 0: /* removes itself and the next one of its kind, due or done */
        sc_store_remove(s, rec->context, &rec->id);
        sc_store_remove(s, rec->context, &w->ids[(n + 8) % 64]);
        return 0;
    case 1: /* rewrites itself for later */
        put = rig_record(rec->context, (unsigned int)n, 5);
        put.due = w->now + SECONDS(10);
        CU_ASSERT_EQUAL(sc_store_put(s, &put, "longer", 6), APR_SUCCESS);
        return 0;
    case 2: /* rewrites itself and names a time all the same: what is written counts */
        put = rig_record(rec->context, (unsigned int)n, 5);
        put.due = w->now + SECONDS(10);
        CU_ASSERT_EQUAL(sc_store_put(s, &put, "longer", 6), APR_SUCCESS);
        return w->now + SECONDS(100000);
    case 3: /* touches itself */
        CU_ASSERT_EQUAL(sc_store_touch(s, rec->context, &rec->id, w->now, w->now + SECONDS(10)),
                        APR_SUCCESS);
        return 0;
    case 4: /* touches itself, then names the time */
        CU_ASSERT_EQUAL(sc_store_touch(s, rec->context, &rec->id, w->now, w->now + SECONDS(5)),
                        APR_SUCCESS);
        return w->now + SECONDS(10);
    case 5: /* touches another one, which may be due in this very run */
        sc_store_touch(s, rec->context, &w->ids[(n + 8) % 64], w->now, w->now + SECONDS(10));
        return w->now + SECONDS(10);
    case 6: /* becomes a tombstone that is due at once */
        put = rig_record(rec->context, (unsigned int)n, 6);
        put.flags = SC_REC_TOMBSTONE;
        put.due = w->now - 1;
        CU_ASSERT_EQUAL(sc_store_put(s, &put, NULL, 0), APR_SUCCESS);
        return 0;
    default: /* does nothing at all */
        return 0;
    }
}

static void test_wheel_unruly(void)
{
    flow_t f = flow_open(SC_STORE_MIN);
    wheel_t w = wheel_open(&f);
    apr_time_t t = SECONDS(2000);
    int i, first;

    for (i = 0; i < 64; i++) {
        put_due(&w, i, t - (i % 2) * 100);
    }
    w.now = t;
    first = (int)sc_store_run_due(f.store, t, 1000, on_due_unruly, &w);
    CU_ASSERT_EQUAL(first, w.fired);
    for (i = 0; i < 64; i++) {
        CU_ASSERT(w.count[i] <= 1); /* nobody twice in a run, not even those due again at once */
        if (i % 8 != 0 && i % 8 != 5) {
            CU_ASSERT_EQUAL(w.count[i], 1);
        }
    }
    CU_ASSERT_EQUAL(rig_audit(f.store, 0).failures, 0);
    /* next call: the 8 tombstones and the 8 that did nothing */
    memset(w.count, 0, sizeof(w.count));
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t, 1000, on_due_unruly, &w), 16);
    for (i = 0; i < 64; i++) {
        CU_ASSERT_EQUAL(w.count[i], i % 8 >= 6);
    }
    /* ten seconds later everybody else that is left, exactly once: nothing got lost */
    memset(w.count, 0, sizeof(w.count));
    w.now = t + SECONDS(10);
    sc_store_run_due(f.store, w.now, 1000, on_due, &w);
    for (i = 0; i < 64; i++) {
        if (i % 8 != 0) {
            CU_ASSERT_EQUAL(w.count[i], 1);
        }
    }
    flow_close(&f);
}

/* The wheel does not survive an engine; its content does. */
static void test_wheel_after_recovery(void)
{
    flow_t f = flow_open(SC_STORE_MIN);
    wheel_t w = wheel_open(&f);
    apr_time_t t = SECONDS(5000);
    sc_store_recovery_t report;
    int i;

    for (i = 0; i < 60; i++) {
        put_due(&w, i, t + SECONDS(i * 200));
    }
    w.now = t;
    w.action = 'r';
    CU_ASSERT_EQUAL(sc_store_run_due(f.store, t, 100, on_due, &w), 1);
    CU_ASSERT_EQUAL(sc_store_recover(f.store, &report), APR_SUCCESS);
    CU_ASSERT_EQUAL(report.kept, 59);
    CU_ASSERT_EQUAL(report.dropped, 0);
    for (i = 1; i < 60; i++) {
        w.now = t + SECONDS(i * 200) - 1;
        CU_ASSERT_EQUAL(sc_store_run_due(f.store, w.now, 100, on_due, &w), 0);
        w.now++;
        CU_ASSERT_EQUAL(sc_store_run_due(f.store, w.now, 100, on_due, &w), 1);
        CU_ASSERT_EQUAL(w.last, i);
    }
    flow_close(&f);
}

/* ---- scan ----------------------------------------------------------------------------------- */

enum { SCAN_N = 1000 };

typedef struct scan_t {
    flow_t *f;
    int seen[SCAN_N];
    int visits;
    int stop_at;
    int changing;
} scan_t;

static int on_scan(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    scan_t *s = baton;
    unsigned int n, v;

    s->visits++;
    if (s->visits == s->stop_at) {
        return 0;
    }
    CU_ASSERT_FATAL(rig_check(body, rec->body_len, &n, &v) && n < SCAN_N);
    s->seen[n]++;
    if (s->changing && s->visits % 3 == 0) {
        /* rewrite this one, remove another one with an odd number, add one that is not counted */
        sc_id_t id = rig_id(n | 1);

        CU_ASSERT_EQUAL(rig_put(s->f->store, s->f->app, n, v + 1, rig_len(n, v + 1)), APR_SUCCESS);
        sc_store_remove(s->f->store, s->f->app, &id);
    }
    return 1;
}

static void test_scan(void)
{
    flow_t f = flow_open(4 * SC_STORE_MIN);
    scan_t *s = calloc(1, sizeof(*s));
    apr_uint32_t cursor = 0, before;
    apr_uint64_t middle = 0;
    apr_status_t rv;
    int i, calls = 0;

    s->f = &f;
    CU_ASSERT_EQUAL(sc_store_scan(f.store, &cursor, 0, 0xffffffffu, on_scan, s), APR_EOF);
    CU_ASSERT_EQUAL(s->visits, 0);
    for (i = 0; i < SCAN_N; i++) {
        CU_ASSERT_EQUAL(rig_put(f.store, f.app, (unsigned int)i, 1, rig_len((unsigned int)i, 1)),
                        APR_SUCCESS);
        if (i == SCAN_N / 2 - 1) {
            middle = stats_of(&f).lsn;
        }
    }
    cursor = 0;
    while ((rv = sc_store_scan(f.store, &cursor, 0, 7, on_scan, s)) == APR_SUCCESS) {
        calls++;
    }
    CU_ASSERT_EQUAL(rv, APR_EOF);
    CU_ASSERT(calls > 50);
    CU_ASSERT_EQUAL(s->visits, SCAN_N);
    for (i = 0; i < SCAN_N; i++) {
        CU_ASSERT_EQUAL(s->seen[i], 1);
    }
    CU_ASSERT_EQUAL(sc_store_scan(f.store, &cursor, 0, 7, on_scan, s), APR_EOF); /* stays so */

    /* only what changed since */
    memset(s, 0, sizeof(*s));
    s->f = &f;
    cursor = 0;
    CU_ASSERT_EQUAL(sc_store_scan(f.store, &cursor, middle, 0xffffffffu, on_scan, s), APR_EOF);
    CU_ASSERT_EQUAL(s->visits, SCAN_N / 2);
    for (i = 0; i < SCAN_N; i++) {
        CU_ASSERT_EQUAL(s->seen[i], i >= SCAN_N / 2);
    }

    /* stopped: the cursor stays at the bucket, going on visits the rest */
    memset(s, 0, sizeof(*s));
    s->f = &f;
    s->stop_at = 100;
    cursor = 0;
    CU_ASSERT_EQUAL(sc_store_scan(f.store, &cursor, 0, 0xffffffffu, on_scan, s), APR_EINTR);
    CU_ASSERT_EQUAL(s->visits, 100);
    before = cursor;
    s->stop_at = 0;
    CU_ASSERT_EQUAL(sc_store_scan(f.store, &cursor, 0, 0, on_scan, s), APR_SUCCESS);
    CU_ASSERT_EQUAL(cursor, before);
    CU_ASSERT_EQUAL(sc_store_scan(f.store, &cursor, 0, 0xffffffffu, on_scan, s), APR_EOF);
    for (i = 0; i < SCAN_N; i++) {
        CU_ASSERT(s->seen[i] >= 1);
    }
    free(s);
    flow_close(&f);
}

static void test_scan_while_changing(void)
{
    flow_t f = flow_open(4 * SC_STORE_MIN);
    scan_t *s = calloc(1, sizeof(*s));
    apr_uint32_t cursor = 0;
    int i;

    s->f = &f;
    s->changing = 1;
    for (i = 0; i < SCAN_N; i++) {
        CU_ASSERT_EQUAL(rig_put(f.store, f.app, (unsigned int)i, 1, rig_len((unsigned int)i, 1)),
                        APR_SUCCESS);
    }
    for (i = 0; sc_store_scan(f.store, &cursor, 0, 5, on_scan, s) == APR_SUCCESS; i++) {
        /* between the calls the even ones are rewritten, too */
        unsigned int n = (unsigned int)(i * 2) % SCAN_N;

        CU_ASSERT_EQUAL(rig_put(f.store, f.app, n, 50, rig_len(n, 50)), APR_SUCCESS);
    }
    for (i = 0; i < SCAN_N; i += 2) {
        CU_ASSERT(s->seen[i] >= 1); /* all that were there all the time */
    }
    free(s);
    flow_close(&f);
}

/* ---- model ---------------------------------------------------------------------------------- */

enum { MODEL_IDS = 450, MODEL_CONTEXTS = 3, MODEL_STEPS = 20000, MODEL_ROUTES = 6 };

typedef struct entry_t {
    int there;
    sc_record_t rec;
    unsigned int version;
    int fired;
} entry_t;

typedef struct model_t {
    flow_t f;
    unsigned int seed;
    apr_time_t now;
    apr_uint16_t own;
    apr_uint64_t lsn;
    unsigned int version;
    apr_hash_t *index; /* id -> number */
    sc_id_t ids[MODEL_IDS];
    entry_t entry[MODEL_CONTEXTS][MODEL_IDS];
} model_t;

static unsigned int rnd(model_t *m, unsigned int below)
{
    return (unsigned int)rand_r(&m->seed) % below;
}

static void model_put(model_t *m, apr_uint16_t c, unsigned int n, apr_uint16_t flags)
{
    entry_t *e = &m->entry[c][n];
    unsigned int v = ++m->version;
    apr_size_t len = rig_len(n, v), i, nbackups = rnd(m, SC_BACKUPS_MAX + 1);
    sc_record_t rec = rig_record(c, n, v);
    unsigned char body[4096];
    apr_status_t rv;

    rec.flags = flags;
    rec.accessed = m->now;
    rec.due = m->now + (apr_time_t)rnd(m, 6000) * 1000003;
    rec.primary = (apr_uint16_t)rnd(m, MODEL_ROUTES);
    for (i = 0; i < nbackups; i++) {
        rec.backups[i] = (apr_uint16_t)(1 + rnd(m, MODEL_ROUTES - 1));
    }
    rig_fill(body, len, n, v);
    rv = sc_store_put(m->f.store, &rec, body, len);
    if (rv == APR_SUCCESS) {
        CU_ASSERT_EQUAL(rec.lsn, ++m->lsn);
        e->there = 1;
        e->rec = rec;
        e->version = v;
    } else {
        CU_ASSERT_EQUAL(rv, APR_ENOSPC);
        CU_ASSERT(!(flags != 0 && e->there)); /* never refused */
        CU_ASSERT(stats_of(&m->f).cells_free < stats_of(&m->f).cells / 16 + 30);
    }
}

static void model_compare(model_t *m, apr_uint16_t c, unsigned int n)
{
    const entry_t *e = &m->entry[c][n];
    sc_record_t located;
    sc_stored_t got;
    unsigned int who = 0, v = 0;
    apr_pool_t *pool;
    apr_status_t rv;
    int ended = -1, known = 0, lives = 0;

    apr_pool_create(&pool, m->f.pool);
    rv = sc_store_read(m->f.store, c, &m->ids[n], pool, &got);
    CU_ASSERT_EQUAL_FATAL(rv, e->there ? APR_SUCCESS : APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_store_locate(m->f.store, c, &m->ids[n], &located), rv);
    for (apr_uint16_t i = 0; i < MODEL_CONTEXTS; i++) {
        known |= m->entry[i][n].there;
        lives |= m->entry[i][n].there && !(m->entry[i][n].rec.flags & SC_REC_TOMBSTONE);
    }
    CU_ASSERT_EQUAL(sc_store_ended(m->f.store, &m->ids[n], &ended),
                    known ? APR_SUCCESS : APR_NOTFOUND);
    CU_ASSERT_EQUAL(ended, known ? !lives : -1);
    if (e->there) {
        CU_ASSERT(rig_same(&got.rec, &located));
        CU_ASSERT_EQUAL(got.rec.accessed, e->rec.accessed);
        CU_ASSERT_EQUAL(got.rec.due, e->rec.due);
        CU_ASSERT_EQUAL(got.rec.flags, e->rec.flags);
        CU_ASSERT_EQUAL(got.rec.lsn, e->rec.lsn);
        CU_ASSERT_EQUAL(got.rec.primary, e->rec.primary);
        CU_ASSERT_EQUAL(got.rec.epoch, e->rec.epoch);
        CU_ASSERT(memcmp(got.rec.backups, e->rec.backups, sizeof(got.rec.backups)) == 0);
        CU_ASSERT_EQUAL(got.rec.created, e->rec.created);
        if (e->rec.flags == 0) {
            CU_ASSERT(rig_check(got.body, got.rec.body_len, &who, &v));
            CU_ASSERT(who == n && v == e->version);
        }
    }
    apr_pool_destroy(pool);
}

static apr_time_t model_on_due(void *baton, const sc_record_t *rec)
{
    model_t *m = baton;
    unsigned int *n = apr_hash_get(m->index, &rec->id, sizeof(rec->id));
    entry_t *e;

    CU_ASSERT_FATAL(n != NULL && rec->context < MODEL_CONTEXTS);
    e = &m->entry[rec->context][*n];
    CU_ASSERT(e->there && e->rec.due == rec->due && rec->due <= m->now && !e->fired);
    e->fired = 1;
    if (rnd(m, 3) == 0) {
        e->there = 0;
        CU_ASSERT_EQUAL(sc_store_remove(m->f.store, rec->context, &rec->id), APR_SUCCESS);
        return 0;
    }
    if (rnd(m, 3) == 0) {
        model_put(m, rec->context, *n, (apr_uint16_t)rnd(m, 3));
        if (e->rec.due != rec->due) {
            return 0;
        }
    }
    e->rec.due = m->now + 1 + (apr_time_t)rnd(m, 900000) * 1000000;
    return e->rec.due;
}

static void model_run_due(model_t *m)
{
    int c, n;
    apr_size_t expected = 0;

    m->now += (apr_time_t)rnd(m, 200) * rnd(m, 3000000);
    for (c = 0; c < MODEL_CONTEXTS; c++) {
        for (n = 0; n < MODEL_IDS; n++) {
            entry_t *e = &m->entry[c][n];

            e->fired = 0;
            expected += e->there && e->rec.due <= m->now;
        }
    }
    CU_ASSERT_EQUAL(sc_store_run_due(m->f.store, m->now, 100000, model_on_due, m), expected);
}

static void model_locate(model_t *m, apr_uint16_t c, unsigned int n)
{
    entry_t *e = &m->entry[c][n];
    apr_uint16_t backups[SC_BACKUPS_MAX] = {0};
    apr_uint16_t primary = (apr_uint16_t)rnd(m, MODEL_ROUTES);
    apr_uint32_t epoch = (apr_uint32_t)rand_r(&m->seed);
    apr_size_t nbackups = rnd(m, SC_BACKUPS_MAX + 1), i;

    for (i = 0; i < nbackups; i++) {
        backups[i] = (apr_uint16_t)(1 + rnd(m, MODEL_ROUTES - 1));
    }
    CU_ASSERT_EQUAL(
        sc_store_set_location(m->f.store, c, &m->ids[n], primary, backups, nbackups, epoch),
        e->there ? APR_SUCCESS : APR_NOTFOUND);
    if (e->there) {
        e->rec.lsn = ++m->lsn;
    }
    e->rec.primary = primary;
    e->rec.epoch = epoch;
    memcpy(e->rec.backups, backups, sizeof(backups));
}

static void model_step(model_t *m)
{
    apr_uint16_t c = (apr_uint16_t)rnd(m, MODEL_CONTEXTS);
    unsigned int n = rnd(m, MODEL_IDS), what = rnd(m, 100);
    entry_t *e = &m->entry[c][n];
    apr_time_t t, due;

    if (what < 40) {
        model_put(m, c, n, 0);
    } else if (what < 46) {
        model_put(m, c, n, SC_REC_PROXY);
    } else if (what < 53) {
        model_put(m, c, n, SC_REC_TOMBSTONE);
    } else if (what < 60) {
        CU_ASSERT_EQUAL(sc_store_remove(m->f.store, c, &m->ids[n]),
                        e->there ? APR_SUCCESS : APR_NOTFOUND);
        e->there = 0;
    } else if (what < 70) {
        t = m->now + (apr_time_t)rnd(m, 2000000) - 1000000;
        due = m->now + (apr_time_t)rnd(m, 20000) * 999983;
        CU_ASSERT_EQUAL(sc_store_touch(m->f.store, c, &m->ids[n], t, due),
                        e->there ? APR_SUCCESS : APR_NOTFOUND);
        e->rec.accessed = t > e->rec.accessed ? t : e->rec.accessed;
        e->rec.due = due;
    } else if (what < 78) {
        model_locate(m, c, n);
    } else if (what < 79) {
        m->own = (apr_uint16_t)rnd(m, MODEL_ROUTES);
        sc_store_set_own_route(m->f.store, m->own);
    } else if (what < 84) {
        model_run_due(m);
    } else if (what < 85 && rnd(m, 5) == 0) {
        sc_store_recovery_t report;

        CU_ASSERT_EQUAL(sc_store_recover(m->f.store, &report), APR_SUCCESS);
        CU_ASSERT_EQUAL(report.dropped, 0);
    } else {
        model_compare(m, c, n);
    }
}

static void model_run(unsigned int seed, apr_size_t bytes)
{
    model_t *m = calloc(1, sizeof(*m));
    unsigned int i, c;

    m->f = flow_open(bytes);
    m->seed = seed;
    m->now = SECONDS(seed);
    m->index = apr_hash_make(m->f.pool);
    for (i = 0; i < MODEL_IDS; i++) {
        unsigned int *n = apr_palloc(m->f.pool, sizeof(*n));

        *n = i;
        m->ids[i] = rig_id(i);
        apr_hash_set(m->index, &m->ids[i], sizeof(m->ids[i]), n);
    }
    for (i = 1; i < MODEL_CONTEXTS || i < MODEL_ROUTES; i++) {
        const char *name = apr_psprintf(m->f.pool, "name%u", i);
        apr_uint16_t k;

        if (i < MODEL_CONTEXTS) {
            sc_store_context(m->f.store, name, strlen(name), 1, &k);
        }
        sc_store_route(m->f.store, name, strlen(name), 1, &k);
    }
    for (i = 0; i < MODEL_STEPS; i++) {
        model_step(m);
        if (i % 500 == 0) {
            CU_ASSERT_EQUAL(rig_audit(m->f.store, m->own).failures, 0);
            CU_ASSERT_EQUAL(stats_of(&m->f).lsn, m->lsn);
        }
    }
    for (c = 0; c < MODEL_CONTEXTS; c++) {
        for (i = 0; i < MODEL_IDS; i++) {
            model_compare(m, (apr_uint16_t)c, i);
        }
    }
    CU_ASSERT_EQUAL(rig_audit(m->f.store, m->own).failures, 0);
    apr_pool_destroy(m->f.pool);
    free(m);
}

static void test_model(void)
{
    unsigned int seed;

    for (seed = 1; seed <= 4; seed++) {
        model_run(seed, seed % 2 != 0 ? 3 * SC_STORE_MIN : SC_STORE_MIN);
    }
}

void rig_add_flow(void *suite)
{
    CU_pSuite s = suite;

    CU_add_test(s, "full: who may still write", test_full);
    CU_add_test(s, "full: tombstones always fit", test_tombstones_in_a_full_store);
    CU_add_test(s, "wheel: idle times from 1 s to 10 days", test_wheel_idle_times);
    CU_add_test(s, "wheel: in portions", test_wheel_portions);
    CU_add_test(s, "wheel: callbacks that change the table", test_wheel_unruly);
    CU_add_test(s, "wheel: after a recovery", test_wheel_after_recovery);
    CU_add_test(s, "scan: all, since, stopped", test_scan);
    CU_add_test(s, "scan: while the table changes", test_scan_while_changing);
    CU_add_test(s, "against a model", test_model);
}
