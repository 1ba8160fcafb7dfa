/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The session table in one process: what every function promises. Other processes, kills and
 * damaged memory are in store_abuse.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <apr_hash.h>
#include <apr_strings.h>

#include <CUnit/CUnit.h>

#include "store_rig.h"

void sc_suite_store(void);

enum { STORE_BYTES = 2 * 1024 * 1024 };

/* One store for each test. */
typedef struct rig_t {
    apr_pool_t *pool;
    sc_store_t *store;
    apr_uint16_t app; /* a context */
} rig_t;

static rig_t rig_open_sized(apr_size_t bytes)
{
    rig_t r = {NULL, NULL, 0};

    CU_ASSERT_EQUAL_FATAL(apr_pool_create(&r.pool, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&r.store, bytes, r.pool), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_context(r.store, "app", 3, 1, &r.app), APR_SUCCESS);
    return r;
}

static rig_t rig_open(void)
{
    return rig_open_sized(STORE_BYTES);
}

static void rig_close(rig_t *r, apr_uint16_t own_route)
{
    CU_ASSERT_EQUAL(rig_audit(r->store, own_route).failures, 0);
    apr_pool_destroy(r->pool);
}

static apr_uint16_t route(rig_t *r, const char *name)
{
    apr_uint16_t index = 0;

    CU_ASSERT_EQUAL(sc_store_route(r->store, name, strlen(name), 1, &index), APR_SUCCESS);
    return index;
}

static sc_store_stats_t stats_of(const rig_t *r)
{
    sc_store_stats_t s;

    sc_store_stats(r->store, &s);
    return s;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* Flags of the mapping in /proc/self/smaps. */
static int has_vm_flag(const void *base, const char *flag)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    int here = 0, found = -1;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        unsigned long from, to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            here = from == (unsigned long)base;
        } else if (here && strncmp(line, "VmFlags:", 8) == 0) {
            found = strstr(line, flag) != NULL;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return found;
}

static void test_create(void)
{
    static const apr_size_t sizes[] = {SC_STORE_MIN, SC_STORE_MIN + 1, SC_STORE_MIN + 4095,
                                       3 * 1024 * 1024 + 77, 64 * 1024 * 1024};
    apr_uint64_t last_id = 0;
    apr_size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        rig_t r = rig_open_sized(sizes[i]);
        sc_store_stats_t s = stats_of(&r);
        void *base = sc_store_base(r.store);

        CU_ASSERT_EQUAL(sc_store_bytes(r.store), sizes[i]);
        CU_ASSERT_EQUAL(s.bytes, sizes[i]);
        CU_ASSERT_EQUAL(s.cell_bytes, 128);
        CU_ASSERT_EQUAL(s.cells, s.cells_free);
        CU_ASSERT((apr_uint64_t)s.cells * s.cell_bytes > sizes[i] / 100 * 75);
        CU_ASSERT((apr_uint64_t)s.cells * s.cell_bytes < sizes[i]);
        CU_ASSERT_EQUAL(s.lsn, 0);
        CU_ASSERT(sc_store_id(r.store) != 0 && sc_store_id(r.store) != last_id);
        last_id = sc_store_id(r.store);
        CU_ASSERT(has_vm_flag(base, " dd") != 0); /* not in core files */
        rig_close(&r, 0);
        CU_ASSERT_EQUAL(has_vm_flag(base, ""), -1); /* unmapped with the pool */
    }
}

static void test_create_refused(void)
{
    sc_store_t *s = (sc_store_t *)&s;
    apr_pool_t *pool;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL(sc_store_create(&s, 0, pool), APR_EINVAL);
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_EQUAL(sc_store_create(&s, SC_STORE_MIN - 1, pool), APR_EINVAL);
    CU_ASSERT_NOT_EQUAL(sc_store_create(&s, (apr_size_t)1 << 62, pool), APR_SUCCESS);
    CU_ASSERT_PTR_NULL(s);
    apr_pool_destroy(pool);
}

static void test_attach(void)
{
    rig_t r = rig_open();
    apr_size_t bytes = sc_store_bytes(r.store);
    unsigned char *base = sc_store_base(r.store);
    sc_store_t *again = NULL;
    sc_stored_t got;
    sc_id_t id = rig_id(1);
    apr_size_t i;
    unsigned char *zero;

    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 1, 1, 300), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_attach(&again, base, bytes, r.pool), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_read(again, r.app, &id, r.pool, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_id(again), sc_store_id(r.store));
    CU_ASSERT_PTR_EQUAL(sc_store_board(again), sc_store_board(r.store));

    CU_ASSERT_EQUAL(sc_store_attach(&again, NULL, bytes, r.pool), APR_EMISMATCH);
    CU_ASSERT_PTR_NULL(again);
    CU_ASSERT_EQUAL(sc_store_attach(&again, base + 64, bytes, r.pool), APR_EMISMATCH);
    CU_ASSERT_EQUAL(sc_store_attach(&again, base, bytes - 1, r.pool), APR_EMISMATCH);
    CU_ASSERT_EQUAL(sc_store_attach(&again, base, 100, r.pool), APR_EMISMATCH);
    CU_ASSERT_EQUAL(sc_store_attach(&again, base, 0, r.pool), APR_EMISMATCH);

    /* each of the first words is something an attach needs: magic, stamp, size, id, geometry */
    for (i = 0; i < 8 * 4; i += 8) {
        base[i] ^= 0x40;
        if (i != 24) { /* the store's id is random: only 0 is impossible */
            CU_ASSERT_EQUAL(sc_store_attach(&again, base, bytes, r.pool), APR_EMISMATCH);
        }
        base[i] ^= 0x40;
    }
    for (i = 48; i < 64; i += 4) { /* behind the hash key: cells, buckets, contexts, routes */
        base[i + 3] ^= 0x40;
        CU_ASSERT_EQUAL(sc_store_attach(&again, base, bytes, r.pool), APR_EMISMATCH);
        base[i + 3] ^= 0x40;
    }
    CU_ASSERT_EQUAL(sc_store_attach(&again, base, bytes, r.pool), APR_SUCCESS);

    zero = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_EQUAL(sc_store_attach(&again, zero, bytes, r.pool), APR_EMISMATCH);
    munmap(zero, bytes);
    rig_close(&r, 0);
}

/* ---- names ---------------------------------------------------------------------------------- */

static void test_contexts(void)
{
    rig_t r = rig_open();
    char name[SC_CONTEXT_MAX + 2];
    sc_context_stats_t c;
    apr_uint16_t i, k;

    CU_ASSERT_EQUAL(r.app, 0);
    CU_ASSERT_EQUAL(sc_store_context(r.store, "app", 3, 0, &k), APR_SUCCESS);
    CU_ASSERT_EQUAL(k, 0);
    CU_ASSERT_EQUAL(sc_store_context(r.store, "ap", 2, 0, &k), APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_store_context(r.store, "app2", 4, 0, &k), APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_store_context(r.store, "", 0, 1, &k), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_store_context(r.store, "a\0b", 3, 1, &k), APR_EINVAL);
    memset(name, 'x', sizeof(name));
    CU_ASSERT_EQUAL(sc_store_context(r.store, name, SC_CONTEXT_MAX + 1, 1, &k), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_store_context(r.store, name, SC_CONTEXT_MAX, 1, &k), APR_SUCCESS);
    CU_ASSERT_EQUAL(k, 1);
    CU_ASSERT_EQUAL(strlen(sc_store_context_name(r.store, 1)), SC_CONTEXT_MAX);
    CU_ASSERT_EQUAL(sc_store_context(r.store, name, SC_CONTEXT_MAX - 1, 0, &k), APR_NOTFOUND);
    for (i = 2; i < SC_CONTEXTS_MAX; i++) {
        apr_snprintf(name, sizeof(name), "context-%d", i);
        CU_ASSERT_EQUAL(sc_store_context(r.store, name, strlen(name), 1, &k), APR_SUCCESS);
        CU_ASSERT_EQUAL(k, i);
        CU_ASSERT_STRING_EQUAL(sc_store_context_name(r.store, i), name);
    }
    CU_ASSERT_EQUAL(sc_store_context(r.store, "one more", 8, 1, &k), APR_ENOSPC);
    CU_ASSERT_EQUAL(sc_store_context(r.store, "context-9", 9, 1, &k), APR_SUCCESS);
    CU_ASSERT_EQUAL(k, 9);
    CU_ASSERT_STRING_EQUAL(sc_store_context_name(r.store, SC_CONTEXTS_MAX), "");
    CU_ASSERT_STRING_EQUAL(sc_store_context_name(r.store, 0xffff), "");
    CU_ASSERT_EQUAL(sc_store_context_stats(r.store, 0xffff, &c), APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_store_context_stats(r.store, 9, &c), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(c.name, "context-9");
    rig_close(&r, 0);
}

static void test_routes(void)
{
    rig_t r = rig_open();
    char name[SC_ROUTE_MAX + 2];
    apr_uint16_t i, k = 99;

    CU_ASSERT_EQUAL(sc_store_route(r.store, "n1", 2, 0, &k), APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_store_route(r.store, "", 0, 1, &k), APR_EINVAL);
    memset(name, 'x', sizeof(name));
    CU_ASSERT_EQUAL(sc_store_route(r.store, name, SC_ROUTE_MAX + 1, 1, &k), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_store_route(r.store, name, SC_ROUTE_MAX, 1, &k), APR_SUCCESS);
    CU_ASSERT_EQUAL(k, 1);
    CU_ASSERT_EQUAL(strlen(sc_store_route_name(r.store, 1)), SC_ROUTE_MAX);
    for (i = 2; i < SC_ROUTES_MAX; i++) {
        apr_snprintf(name, sizeof(name), "n%d", i);
        CU_ASSERT_EQUAL(sc_store_route(r.store, name, strlen(name), 1, &k), APR_SUCCESS);
        CU_ASSERT_EQUAL(k, i);
    }
    CU_ASSERT_EQUAL(sc_store_route(r.store, "more", 4, 1, &k), APR_ENOSPC);
    CU_ASSERT_EQUAL(sc_store_route(r.store, "n77", 3, 0, &k), APR_SUCCESS);
    CU_ASSERT_EQUAL(k, 77);
    CU_ASSERT_STRING_EQUAL(sc_store_route_name(r.store, 77), "n77");
    CU_ASSERT_STRING_EQUAL(sc_store_route_name(r.store, SC_ROUTE_NONE), "");
    CU_ASSERT_STRING_EQUAL(sc_store_route_name(r.store, 300), "");
    rig_close(&r, 0);
}

/* ---- records -------------------------------------------------------------------------------- */

static void test_put_and_read(void)
{
    static const apr_size_t sizes[] = {0, 1, 119, 120, 121, 123, 124, 125, 247, 248, 249, 65536};
    rig_t r = rig_open();
    unsigned char *body = malloc(65536);
    apr_size_t i, k;
    sc_buf_t buf;

    sc_buf_init(&buf, 70000);
    for (i = 0; i < 65536; i++) {
        body[i] = (unsigned char)(i * 31 + i / 256 + 1);
    }
    route(&r, "n1");
    for (i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        apr_size_t len = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];
        /* the second time round every size replaces another one */
        sc_record_t rec = rig_record(r.app, (unsigned int)(i % 5), (unsigned int)i), back;
        sc_stored_t got;

        rec.primary = 1;
        rec.backups[0] = 1;
        CU_ASSERT_EQUAL(sc_store_put(r.store, &rec, body, len), APR_SUCCESS);
        CU_ASSERT_EQUAL(rec.body_len, len);
        CU_ASSERT_EQUAL(rec.lsn, i + 1);
        CU_ASSERT_EQUAL(stats_of(&r).lsn, i + 1);
        CU_ASSERT_EQUAL_FATAL(sc_store_read(r.store, r.app, &rec.id, r.pool, &got), APR_SUCCESS);
        CU_ASSERT(rig_same(&rec, &got.rec));
        CU_ASSERT(len == 0 || memcmp(got.body, body, len) == 0);
        CU_ASSERT_EQUAL(sc_store_get(r.store, r.app, &rec.id, &back, &buf), APR_SUCCESS);
        CU_ASSERT(rig_same(&rec, &back));
        CU_ASSERT(buf.len == len && (len == 0 || memcmp(buf.data, body, len) == 0));
        CU_ASSERT_EQUAL(sc_store_get(r.store, r.app, &rec.id, &back, NULL), APR_SUCCESS);
        CU_ASSERT(rig_same(&rec, &back));
    }
    CU_ASSERT_EQUAL(stats_of(&r).sessions, 5);
    for (k = 0; k < 5; k++) {
        sc_id_t id = rig_id((unsigned int)k);
        sc_stored_t got;

        CU_ASSERT_EQUAL(sc_store_remove(r.store, r.app, &id), APR_SUCCESS);
        CU_ASSERT_EQUAL(sc_store_remove(r.store, r.app, &id), APR_NOTFOUND);
        CU_ASSERT_EQUAL(sc_store_read(r.store, r.app, &id, r.pool, &got), APR_NOTFOUND);
        CU_ASSERT_EQUAL(sc_store_get(r.store, r.app, &id, &got.rec, NULL), APR_NOTFOUND);
    }
    CU_ASSERT_EQUAL(stats_of(&r).cells_free, stats_of(&r).cells);
    sc_buf_free(&buf);
    free(body);
    rig_close(&r, 0);
}

static void test_get_into_small_buffer(void)
{
    rig_t r = rig_open();
    sc_id_t id = rig_id(3);
    sc_record_t rec;
    sc_buf_t buf;

    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 3, 1, 500), APR_SUCCESS);
    sc_buf_init(&buf, 499);
    CU_ASSERT_NOT_EQUAL(sc_store_get(r.store, r.app, &id, &rec, &buf), APR_SUCCESS);
    CU_ASSERT_EQUAL(buf.len, 0);
    sc_buf_free(&buf);
    rig_close(&r, 0);
}

static void test_put_refuses(void)
{
    rig_t r = rig_open();
    sc_record_t rec = rig_record(r.app, 1, 1);
    unsigned char body[8] = {0};
    sc_record_t bad;

    bad = rec;
    bad.context = 1; /* no such context */
    CU_ASSERT_EQUAL(sc_store_put(r.store, &bad, body, 8), APR_EINVAL);
    bad = rec;
    bad.flags = 0x8000;
    CU_ASSERT_EQUAL(sc_store_put(r.store, &bad, body, 8), APR_EINVAL);
    bad = rec;
    bad.primary = 1; /* no such route */
    CU_ASSERT_EQUAL(sc_store_put(r.store, &bad, body, 8), APR_EINVAL);
    bad = rec;
    bad.backups[3] = 1; /* behind the end of the list: not looked at */
    CU_ASSERT_EQUAL(sc_store_put(r.store, &bad, body, 8), APR_SUCCESS);
    bad.backups[0] = 300;
    CU_ASSERT_EQUAL(sc_store_put(r.store, &bad, body, 8), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_store_put(r.store, &rec, body, (apr_size_t)-1), APR_ENOSPC);
    CU_ASSERT_EQUAL(stats_of(&r).lsn, 1);
    rig_close(&r, 0);
}

static void test_contexts_are_separate(void)
{
    rig_t r = rig_open();
    sc_id_t id = rig_id(7);
    apr_uint16_t other;
    sc_stored_t got;
    unsigned int n, v;

    CU_ASSERT_EQUAL(sc_store_context(r.store, "other", 5, 1, &other), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 7, 1, 100), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_read(r.store, other, &id, r.pool, &got), APR_NOTFOUND);
    CU_ASSERT_EQUAL(rig_put(r.store, other, 7, 2, 200), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_read(r.store, r.app, &id, r.pool, &got), APR_SUCCESS);
    CU_ASSERT(rig_check(got.body, got.rec.body_len, &n, &v) && v == 1);
    CU_ASSERT_EQUAL(sc_store_remove(r.store, r.app, &id), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_read(r.store, other, &id, r.pool, &got), APR_SUCCESS);
    CU_ASSERT(rig_check(got.body, got.rec.body_len, &n, &v) && v == 2);
    CU_ASSERT_EQUAL(sc_store_read(r.store, 0xffff, &id, r.pool, &got), APR_NOTFOUND);
    rig_close(&r, 0);
}

static void test_tombstone(void)
{
    rig_t r = rig_open();
    sc_record_t rec = rig_record(r.app, 1, 2);
    sc_context_stats_t c;
    sc_stored_t got;

    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 1, 1, 1000), APR_SUCCESS);
    rec.flags = SC_REC_TOMBSTONE;
    CU_ASSERT_EQUAL(sc_store_put(r.store, &rec, "ignored", 7), APR_SUCCESS);
    CU_ASSERT_EQUAL(rec.body_len, 0);
    CU_ASSERT_EQUAL(sc_store_read(r.store, r.app, &rec.id, r.pool, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.rec.flags, SC_REC_TOMBSTONE);
    CU_ASSERT_EQUAL(got.rec.body_len, 0);
    CU_ASSERT(rig_same(&rec, &got.rec));
    CU_ASSERT_EQUAL(stats_of(&r).sessions, 0);
    CU_ASSERT_EQUAL(stats_of(&r).tombstones, 1);
    CU_ASSERT_EQUAL(stats_of(&r).cells - stats_of(&r).cells_free, 1);
    sc_store_context_stats(r.store, r.app, &c);
    CU_ASSERT(c.sessions == 0 && c.tombstones == 1 && c.body_bytes == 0);
    CU_ASSERT_EQUAL(sc_store_remove(r.store, r.app, &rec.id), APR_SUCCESS);
    CU_ASSERT_EQUAL(stats_of(&r).tombstones, 0);
    rig_close(&r, 0);
}

static void test_cost_of_a_session(void)
{
    rig_t r = rig_open_sized(64 * 1024 * 1024);
    sc_store_stats_t s;
    double cost;
    unsigned int i;

    for (i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(rig_put(r.store, r.app, i, 1, 1024), APR_SUCCESS);
    }
    s = stats_of(&r);
    /* all of the mapping is shared out among the cells, tables and touch area included */
    cost = (double)s.bytes / s.cells * (s.cells - s.cells_free) / 100;
    CU_ASSERT(cost <= 1536.0);
    CU_ASSERT(cost > 1024.0);
    rig_close(&r, 0);
}

/* ---- touches -------------------------------------------------------------------------------- */

typedef struct touched_t {
    sc_store_t *store; /* if set, the callback touches */
    int calls;
    sc_record_t rec;
    apr_time_t accessed;
} touched_t;

static void on_touched(void *baton, const sc_record_t *rec, apr_time_t accessed)
{
    touched_t *t = baton;

    t->calls++;
    t->rec = *rec;
    t->accessed = accessed;
    if (t->store != NULL) {
        CU_ASSERT_EQUAL(sc_store_touch(t->store, rec->context, &rec->id, accessed,
                                       accessed + SECONDS(rec->max_idle_s)),
                        APR_SUCCESS);
    }
}

static sc_stored_t read_n(rig_t *r, unsigned int n)
{
    sc_id_t id = rig_id(n);
    sc_stored_t got;

    CU_ASSERT_EQUAL_FATAL(sc_store_read(r->store, r->app, &id, r->pool, &got), APR_SUCCESS);
    return got;
}

static void test_touch(void)
{
    rig_t r = rig_open();
    sc_id_t id = rig_id(1), unknown = rig_id(2);
    apr_time_t t = SECONDS(5000);

    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 1, 1, 100), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_touch(r.store, r.app, &unknown, t, t), APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_store_touch(r.store, r.app, &id, t, t + 100), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&r, 1).rec.accessed, t);
    CU_ASSERT_EQUAL(read_n(&r, 1).rec.due, t + 100);
    CU_ASSERT_EQUAL(sc_store_touch(r.store, r.app, &id, t - 1, t + 50), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&r, 1).rec.accessed, t);
    CU_ASSERT_EQUAL(read_n(&r, 1).rec.due, t + 50);
    CU_ASSERT_EQUAL(read_n(&r, 1).rec.lsn, 1);
    rig_close(&r, 0);
}

static void test_note_and_collect(void)
{
    rig_t r = rig_open();
    touched_t t = {0};
    sc_stored_t got;

    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 1, 0, 100), APR_SUCCESS); /* accessed at 2000 s */
    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 2, 0, 100), APR_SUCCESS);
    got = read_n(&r, 1);
    CU_ASSERT_EQUAL(sc_store_last_access(r.store, &got), SECONDS(2000));
    sc_store_collect(r.store, SECONDS(3000), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 0);

    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(2500) + 1234567);
    CU_ASSERT_EQUAL(sc_store_last_access(r.store, &got), SECONDS(2500) + 1234000);
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(2400)); /* a slower child */
    CU_ASSERT_EQUAL(sc_store_last_access(r.store, &got), SECONDS(2500) + 1234000);
    sc_store_collect(r.store, SECONDS(3000), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 1);
    CU_ASSERT_EQUAL(t.accessed, SECONDS(2500) + 1234000);
    CU_ASSERT(memcmp(&t.rec.id, &got.rec.id, sizeof(sc_id_t)) == 0);
    sc_store_collect(r.store, SECONDS(3000), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 1); /* once */

    t.store = r.store;
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(2600));
    sc_store_collect(r.store, SECONDS(3000), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 2);
    CU_ASSERT_EQUAL(read_n(&r, 1).rec.accessed, SECONDS(2600));
    CU_ASSERT_EQUAL(sc_store_last_access(r.store, &got), SECONDS(2600)); /* through the old copy */
    /* an access that the record knows already is no news */
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(2600));
    sc_store_collect(r.store, SECONDS(3000), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 2);
    CU_ASSERT_EQUAL(read_n(&r, 2).rec.accessed, SECONDS(2000));
    rig_close(&r, 0);
}

/* What children write is advice: none of it may name a wrong session, a time to come or a cell that
 * is not there. */
static void test_note_hostile(void)
{
    rig_t r = rig_open();
    touched_t t = {0};
    sc_stored_t got, old;
    sc_id_t id = rig_id(1);
    sc_record_t rec;
    apr_uint32_t i;

    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 1, 0, 100), APR_SUCCESS);
    got = read_n(&r, 1);
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(999999));
    sc_store_collect(r.store, SECONDS(3000), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 1);
    CU_ASSERT_EQUAL(t.accessed, SECONDS(3000));
    CU_ASSERT_EQUAL(sc_store_last_access(r.store, &got), SECONDS(3000));
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(3100)); /* true ones count again */
    sc_store_collect(r.store, SECONDS(3200), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 2);
    CU_ASSERT_EQUAL(t.accessed, SECONDS(3100));

    sc_store_note_access(r.store, stats_of(&r).cells, got.gen, SECONDS(3150));
    sc_store_note_access(r.store, 0xffffffffu, got.gen, SECONDS(3150));
    sc_store_note_access(r.store, got.cell, got.gen + 1, SECONDS(3150));
    sc_store_note_access(r.store, got.cell, 0, SECONDS(3150));
    sc_store_note_access(r.store, got.cell, got.gen, -5);
    for (i = 0; i < 100; i++) {
        sc_store_note_access(r.store, got.cell + 1 + i, 0, SECONDS(3150));
        sc_store_note_access(r.store, got.cell + 1 + i, 1, SECONDS(3150));
    }
    sc_store_collect(r.store, SECONDS(3200), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 2);

    /* a note for a session that is removed or dead by now */
    old = got;
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(3199));
    CU_ASSERT_EQUAL(sc_store_remove(r.store, r.app, &id), APR_SUCCESS);
    sc_store_note_access(r.store, old.cell, old.gen, SECONDS(3199));
    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 2, 0, 100), APR_SUCCESS);
    sc_store_collect(r.store, SECONDS(3200), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 2);
    CU_ASSERT_EQUAL(sc_store_last_access(r.store, &old), SECONDS(3199)); /* of the old session */
    got = read_n(&r, 2);
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(3199));
    rec = rig_record(r.app, 2, 5);
    rec.flags = SC_REC_TOMBSTONE;
    CU_ASSERT_EQUAL(sc_store_put(r.store, &rec, NULL, 0), APR_SUCCESS);
    got = read_n(&r, 2);
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(3199));
    sc_store_collect(r.store, SECONDS(3200), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 2);
    rig_close(&r, 0);
}

/* A change that is not an access (a merge) must not swallow an access noted just before it. */
static void test_note_survives_change(void)
{
    rig_t r = rig_open();
    touched_t t = {0};
    sc_stored_t got;

    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 1, 0, 100), APR_SUCCESS);
    got = read_n(&r, 1);
    sc_store_note_access(r.store, got.cell, got.gen, SECONDS(2500));
    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 1, 1, 500), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(read_n(&r, 1).gen * 1000003u + read_n(&r, 1).cell,
                        got.gen * 1000003u + got.cell);
    sc_store_collect(r.store, SECONDS(3000), on_touched, &t);
    CU_ASSERT_EQUAL(t.calls, 1);
    CU_ASSERT_EQUAL(t.accessed, SECONDS(2500));
    CU_ASSERT_EQUAL(t.rec.lsn, 2);
    rig_close(&r, 0);
}

/* ---- location ------------------------------------------------------------------------------- */

static void test_location(void)
{
    rig_t r = rig_open();
    apr_uint16_t n[6], none[1] = {0};
    sc_id_t id = rig_id(1), unknown = rig_id(2);
    sc_context_stats_t c;
    sc_stored_t before, got;
    int i;

    for (i = 0; i < 6; i++) {
        n[i] = route(&r, apr_psprintf(r.pool, "n%d", i));
    }
    sc_store_set_own_route(r.store, n[1]);
    CU_ASSERT_EQUAL(rig_put(r.store, r.app, 1, 1, 300), APR_SUCCESS);
    before = read_n(&r, 1);
    CU_ASSERT_EQUAL(sc_store_set_location(r.store, r.app, &id, n[1], n + 2, 4, 0xfffffffeu),
                    APR_SUCCESS);
    got = read_n(&r, 1);
    CU_ASSERT_EQUAL(got.rec.primary, n[1]);
    CU_ASSERT(memcmp(got.rec.backups, n + 2, sizeof(got.rec.backups)) == 0);
    CU_ASSERT_EQUAL(got.rec.epoch, 0xfffffffeu);
    CU_ASSERT_EQUAL(got.rec.lsn, before.rec.lsn + 1);
    CU_ASSERT_EQUAL(stats_of(&r).lsn, before.rec.lsn + 1);
    CU_ASSERT(got.cell == before.cell && got.gen == before.gen); /* in place */
    sc_store_context_stats(r.store, r.app, &c);
    CU_ASSERT_EQUAL(c.primaries, 1);
    CU_ASSERT_EQUAL(sc_store_set_location(r.store, r.app, &id, n[0], none, 1, 7), APR_SUCCESS);
    got = read_n(&r, 1);
    CU_ASSERT(got.rec.primary == n[0] && got.rec.backups[0] == 0 && got.rec.backups[3] == 0);
    sc_store_context_stats(r.store, r.app, &c);
    CU_ASSERT_EQUAL(c.primaries, 0);
    CU_ASSERT_EQUAL(sc_store_set_location(r.store, r.app, &id, SC_ROUTE_NONE, NULL, 0, 8),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(read_n(&r, 1).rec.primary, SC_ROUTE_NONE);
    CU_ASSERT_EQUAL(sc_store_set_location(r.store, r.app, &unknown, n[0], n, 1, 7), APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_store_set_location(r.store, r.app, &id, 200, n, 1, 7), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_store_set_location(r.store, r.app, &id, n[0], n, 5, 7), APR_EINVAL);
    n[3] = 99;
    CU_ASSERT_EQUAL(sc_store_set_location(r.store, r.app, &id, n[0], n, 4, 7), APR_EINVAL);
    CU_ASSERT_EQUAL(read_n(&r, 1).rec.epoch, 8);
    rig_close(&r, n[1]);
}

static void test_own_route(void)
{
    rig_t r = rig_open();
    apr_uint16_t a = route(&r, "a"), b = route(&r, "b");
    sc_context_stats_t c;
    sc_record_t rec;
    unsigned int i;

    for (i = 0; i < 30; i++) {
        rec = rig_record(r.app, i, 1);
        rec.primary = i % 3 == 0 ? a : b;
        rec.flags = i == 29 ? SC_REC_TOMBSTONE : 0;
        CU_ASSERT_EQUAL(sc_store_put(r.store, &rec, NULL, 0), APR_SUCCESS);
    }
    sc_store_context_stats(r.store, r.app, &c);
    CU_ASSERT_EQUAL(c.primaries, 0);
    sc_store_set_own_route(r.store, a);
    sc_store_context_stats(r.store, r.app, &c);
    CU_ASSERT_EQUAL(c.primaries, 10);
    sc_store_set_own_route(r.store, b);
    sc_store_context_stats(r.store, r.app, &c);
    CU_ASSERT_EQUAL(c.primaries, 19);     /* a tombstone has no primary */
    sc_store_set_own_route(r.store, 250); /* unknown: none */
    sc_store_context_stats(r.store, r.app, &c);
    CU_ASSERT_EQUAL(c.primaries, 0);
    sc_store_set_own_route(r.store, b);
    rec = rig_record(r.app, 1, 2);
    rec.primary = a;
    CU_ASSERT_EQUAL(sc_store_put(r.store, &rec, NULL, 0), APR_SUCCESS);
    sc_store_context_stats(r.store, r.app, &c);
    CU_ASSERT_EQUAL(c.primaries, 18);
    rig_close(&r, b);
}

void sc_suite_store(void)
{
    CU_pSuite s = CU_add_suite("store", NULL, NULL);

    CU_add_test(s, "create", test_create);
    CU_add_test(s, "create refuses bad sizes", test_create_refused);
    CU_add_test(s, "attach checks everything", test_attach);
    CU_add_test(s, "contexts", test_contexts);
    CU_add_test(s, "routes", test_routes);
    CU_add_test(s, "put, read, get, remove", test_put_and_read);
    CU_add_test(s, "get into a small buffer", test_get_into_small_buffer);
    CU_add_test(s, "put refuses nonsense", test_put_refuses);
    CU_add_test(s, "contexts are separate", test_contexts_are_separate);
    CU_add_test(s, "tombstone", test_tombstone);
    CU_add_test(s, "what a session of 1 KiB costs", test_cost_of_a_session);
    CU_add_test(s, "touch", test_touch);
    CU_add_test(s, "note and collect", test_note_and_collect);
    CU_add_test(s, "hostile notes", test_note_hostile);
    CU_add_test(s, "a note survives a change", test_note_survives_change);
    CU_add_test(s, "location", test_location);
    CU_add_test(s, "own route", test_own_route);
    rig_add_flow(s);
    rig_add_place(s);
    rig_add_interleave(s);
    rig_add_kills(s);
    rig_add_abuse(s);
}
