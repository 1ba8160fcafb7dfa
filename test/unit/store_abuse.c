/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The store among processes that read and write, and in memory that lies. Those that die are in
 * store_kills.c.
 *
 * Children report by their exit code or through a shared page; they never touch CUnit. Work is
 * bounded by counts. alarm() only ends a child that hangs, which is a failure then.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "store_rig.h"

#define DEADLINE 120 /* seconds */

/* ---- readers and a writer ------------------------------------------------------------------- */

enum {
    READERS = 3,
    READS = 20000,
    STEADY = 8,
    CHURN = 24,
    ROUTES = 5,
    BIG = 60000,
    NUMBERS = 1 << 18
};

typedef struct crowd_t {
    apr_uint32_t writing; /* rounds of the writer */
    apr_uint32_t stop;
    struct {
        apr_uint32_t bad, missing, again, changes, read, located, numbered;
    } reader[READERS];
    apr_uint64_t number[NUMBERS]; /* low half of a change number, and the epoch that came with it */
} crowd_t;

/* Locations whose parts belong together, so that a mixture shows. */
static void location_of(apr_uint32_t epoch, apr_uint16_t *primary, apr_uint16_t *backups)
{
    apr_uint32_t i;

    *primary = (apr_uint16_t)(1 + epoch % ROUTES);
    for (i = 0; i < SC_BACKUPS_MAX; i++) {
        backups[i] = (apr_uint16_t)(1 + (epoch * (i + 3) + i) % ROUTES);
    }
}

/* What the next change will be, told before it is made. */
static void announce(sc_store_t *store, crowd_t *crowd, apr_uint32_t epoch)
{
    sc_store_stats_t stats;

    sc_store_stats(store, &stats);
    stats.lsn++;
    __atomic_store_n(&crowd->number[stats.lsn % NUMBERS], stats.lsn << 32 | epoch,
                     __ATOMIC_RELEASE);
}

static void write_for_ever(sc_store_t *store, crowd_t *crowd)
{
    static unsigned char body[BIG];
    unsigned int seed = 99, v = 100;

    while (!rig_get32(&crowd->stop)) {
        unsigned int n = (unsigned int)rand_r(&seed) % (STEADY + CHURN);
        unsigned int what = (unsigned int)rand_r(&seed) % 100;
        sc_record_t rec = rig_record(0, n, ++v);
        apr_size_t len = n == 0 ? BIG : RIG_BODY_MIN + (unsigned int)rand_r(&seed) % 6000;

        rec.epoch = v;
        location_of(v, &rec.primary, rec.backups);
        announce(store, crowd, v);
        if (what < 20) {
            sc_store_set_location(store, 0, &rec.id, rec.primary, rec.backups, SC_BACKUPS_MAX, v);
        } else if (what < 30) {
            sc_store_touch(store, 0, &rec.id, SECONDS(2000) + v, SECONDS(9000));
        } else if (n >= STEADY && what < 50) {
            sc_store_remove(store, 0, &rec.id);
        } else {
            rec.flags = n < STEADY || what >= 60 ? 0 : what < 55 ? SC_REC_TOMBSTONE : SC_REC_PROXY;
            rig_fill(body, len, n, v);
            if (sc_store_put(store, &rec, body, len) != APR_SUCCESS) {
                _exit(3);
            }
        }
        if (v % 512 == 0 && sc_store_recover(store, NULL) != APR_SUCCESS) {
            _exit(4); /* a new engine takes over while children read */
        }
        rig_set32(&crowd->writing, v);
    }
    _exit(0);
}

/* Whether a record is of one piece: its location, the number of the change that wrote it, the
 * version; and no older than one seen before. */
static void judge(crowd_t *crowd, int me, unsigned int n, const sc_record_t *rec,
                  unsigned int *last)
{
    unsigned int v = (unsigned int)(rec->stamp.hlc & 0xffffffffu) - 0x05060000u;
    apr_uint64_t number = __atomic_load_n(&crowd->number[rec->lsn % NUMBERS], __ATOMIC_ACQUIRE);
    sc_record_t whole = rig_record(0, n, v);
    apr_uint16_t primary, backups[SC_BACKUPS_MAX];
    int bad = 0;

    location_of(rec->epoch, &primary, backups);
    bad |= rec->primary != primary || memcmp(rec->backups, backups, sizeof(backups)) != 0;
    bad |= memcmp(&rec->id, &whole.id, sizeof(rec->id)) != 0 || rec->created != whole.created;
    bad |= rec->max_idle_s != whole.max_idle_s || rec->stamp.node != whole.stamp.node;
    bad |= rec->epoch < v || v < last[n];
    bad |= rec->flags != 0 && (n < STEADY || rec->body_len != 0);
    bad |= rec->flags == 0 && rec->body_len == 0;
    if (number >> 32 == (rec->lsn & 0xffffffffu)) { /* it is not overwritten yet */
        bad |= (apr_uint32_t)number != rec->epoch;
        crowd->reader[me].numbered++;
    }
    crowd->reader[me].bad += bad != 0;
    crowd->reader[me].changes += v != last[n];
    last[n] = v;
}

static void read_many(sc_store_t *store, crowd_t *crowd, int me)
{
    unsigned int seed = 1000 + (unsigned int)me, last[STEADY + CHURN] = {0};
    apr_pool_t *pool;
    int i;

    apr_pool_create(&pool, NULL);
    if (sc_store_protect(store) != APR_SUCCESS) {
        _exit(5);
    }
    for (i = 0; i < READS; i++) {
        /* every other time the big one: most of a reader's time is spent copying it */
        unsigned int n = i % 2 ? 0 : (unsigned int)rand_r(&seed) % (STEADY + CHURN);
        int locate = i % 3 == 0;
        unsigned int who = 0, v = 0;
        sc_id_t id = rig_id(n);
        sc_stored_t got;
        apr_status_t rv;

        apr_pool_clear(pool);
        rv = locate ? sc_store_locate(store, 0, &id, &got.rec)
                    : sc_store_read(store, 0, &id, pool, &got);
        if (i % 32 == 0) {
            sched_yield();
        }
        if (rv == APR_EAGAIN) {
            crowd->reader[me].again++;
            continue;
        }
        if (rv == APR_NOTFOUND) {
            crowd->reader[me].missing += n < STEADY;
            continue;
        }
        judge(crowd, me, n, &got.rec, last);
        if (locate) {
            crowd->reader[me].located++;
            continue;
        }
        crowd->reader[me].read++;
        if (got.rec.flags == 0 &&
            (!rig_check(got.body, got.rec.body_len, &who, &v) || who != n || v != last[n])) {
            crowd->reader[me].bad++;
        }
        sc_store_note_access(store, got.cell, got.gen, SECONDS(3000));
    }
    _exit(0);
}

static void test_readers_and_writer(void)
{
    crowd_t *crowd = rig_shared(sizeof(*crowd));
    static unsigned char body[BIG];
    apr_pool_t *pool;
    sc_store_t *store;
    apr_uint16_t k;
    pid_t writer, reader[READERS];
    unsigned int n;
    int i;

    CU_ASSERT_PTR_NOT_NULL_FATAL(crowd);
    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, 2 * SC_STORE_MIN, pool), APR_SUCCESS);
    sc_store_context(store, "app", 3, 1, &k);
    for (i = 1; i <= ROUTES; i++) {
        char name[2] = {(char)('a' + i), '\0'};

        CU_ASSERT_EQUAL(sc_store_route(store, name, 1, 1, &k), APR_SUCCESS);
    }
    for (n = 0; n < STEADY; n++) {
        sc_record_t rec = rig_record(0, n, 1);

        rec.epoch = 1;
        location_of(1, &rec.primary, rec.backups);
        rig_fill(body, 100, n, 1);
        CU_ASSERT_EQUAL(sc_store_put(store, &rec, body, 100), APR_SUCCESS);
    }
    writer = fork();
    if (writer == 0) {
        alarm(DEADLINE);
        write_for_ever(store, crowd);
    }
    for (i = 0; i < READERS; i++) {
        reader[i] = fork();
        if (reader[i] == 0) {
            alarm(DEADLINE);
            read_many(store, crowd, i);
        }
    }
    for (i = 0; i < READERS; i++) {
        CU_ASSERT_EQUAL(rig_wait(reader[i]), 0);
        CU_ASSERT_EQUAL(crowd->reader[i].bad, 0);
        CU_ASSERT_EQUAL(crowd->reader[i].missing, 0);
        CU_ASSERT(crowd->reader[i].changes > 0);
        CU_ASSERT(crowd->reader[i].read > READS / 4);
        CU_ASSERT(crowd->reader[i].located > READS / 6);
        CU_ASSERT(crowd->reader[i].numbered > 0); /* how many depends on who runs when */
        CU_ASSERT(crowd->reader[i].again < READS / 4);
    }
    rig_set32(&crowd->stop, 1);
    CU_ASSERT_EQUAL(rig_wait(writer), 0);
    CU_ASSERT_EQUAL(rig_audit(store, 0).failures, 0);
    munmap(crowd, sizeof(*crowd));
    apr_pool_destroy(pool);
}

/* ---- damaged memory -------------------------------------------------------------------------- */

enum { DAMAGES = 240, DAMAGE_IDS = 400 };

static void damage(sc_store_t *store, unsigned int *seed, int kind)
{
    unsigned char *base = sc_store_base(store);
    apr_size_t bytes = sc_store_bytes(store), i, from, len;
    apr_uint32_t word;

    switch (kind % 6) {
    case 0: /* garbage everywhere */
        for (i = 0; i + 4 <= bytes; i += 4) {
            word = (apr_uint32_t)rand_r(seed) * 2654435761u;
            memcpy(base + i, &word, 4);
        }
        break;
    case 1: /* a window of garbage */
        len = (apr_size_t)rand_r(seed) % 200000;
        from = (apr_size_t)rand_r(seed) % (bytes - len);
        for (i = from; i < from + len; i++) {
            base[i] = (unsigned char)(rand_r(seed) >> 4);
        }
        break;
    case 2: /* plausible indices strewn about: loops, shared tails, wrong chains */
        for (i = 0; i < 4000; i++) {
            word = 1 + (apr_uint32_t)rand_r(seed) % 2000;
            from = (apr_size_t)rand_r(seed) % (bytes / 4);
            memcpy(base + from * 4, &word, 4);
        }
        break;
    case 3: /* all ones */
        len = (apr_size_t)rand_r(seed) % bytes;
        memset(base + bytes - len, 0xff, len);
        break;
    case 4: /* cells copied over others */
        for (i = 0; i < 500; i++) {
            from = (apr_size_t)rand_r(seed) % (bytes / 128 - 1);
            len = (apr_size_t)rand_r(seed) % (bytes / 128 - 1);
            memmove(base + len * 128, base + from * 128, 128);
        }
        break;
    default: /* single bits */
        for (i = 0; i < 3000; i++) {
            base[(apr_size_t)rand_r(seed) % bytes] ^= (unsigned char)(1 << (rand_r(seed) % 8));
        }
    }
}

/* Whether a location is of one piece. */
static int in_place(const sc_record_t *rec)
{
    apr_uint16_t primary, backups[SC_BACKUPS_MAX];

    location_of(rec->epoch, &primary, backups);
    return rec->primary == primary && memcmp(rec->backups, backups, sizeof(backups)) == 0;
}

/* Whatever is read must be whole, or not be there. Returns the number of sessions read, or -1. */
static int read_all(sc_store_t *store, apr_pool_t *pool)
{
    int found = 0;
    unsigned int n;

    for (n = 0; n < DAMAGE_IDS + 50; n++) {
        sc_id_t id = rig_id(n);
        sc_stored_t got;
        unsigned int who = 0, v = 0;
        sc_record_t rec;

        apr_pool_clear(pool);
        if (sc_store_locate(store, 0, &id, &rec) == APR_SUCCESS && n < DAMAGE_IDS &&
            !in_place(&rec)) {
            return -1;
        }
        if (sc_store_read(store, 0, &id, pool, &got) != APR_SUCCESS) {
            continue;
        }
        found++;
        if (got.rec.flags == 0 && (!rig_check(got.body, got.rec.body_len, &who, &v) || who != n)) {
            return -1;
        }
        sc_store_note_access(store, got.cell, got.gen, SECONDS(3000));
        sc_store_last_access(store, &got);
        sc_store_get(store, 0, &id, &rec, NULL);
    }
    return found;
}

static int scan_whole(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    unsigned int n, v;

    if (rec->flags == 0 && !rig_check(body, rec->body_len, &n, &v)) {
        ++*(int *)baton;
    }
    return 1;
}

static void touched_whole(void *baton, const sc_record_t *rec, apr_time_t accessed)
{
    sc_store_touch(baton, rec->context, &rec->id, accessed, accessed + SECONDS(10));
}

static apr_time_t due_whole(void *baton, const sc_record_t *rec)
{
    sc_store_remove(baton, rec->context, &rec->id);
    return 0;
}

/* One damage, in a child. Exit codes tell what went wrong. */
static void damage_child(sc_store_t *copy, unsigned int seed, int kind)
{
    sc_store_recovery_t report;
    sc_board_t *board = sc_store_board(copy);
    static sc_view_t view;
    apr_uint32_t cursor = 0;
    apr_pool_t *pool;
    apr_uint16_t k;
    int bad = 0, before;
    unsigned int n;

    alarm(DEADLINE);
    apr_pool_create(&pool, NULL);
    damage(copy, &seed, kind);
    before = read_all(copy, pool);
    sc_store_scan(copy, &cursor, 0, 0xffffffffu, scan_whole, &bad);
    (void)sc_board_view(board, &view);
    (void)sc_board_route_alive(board, "n1", 2);
    (void)sc_store_context(copy, "nobody", 6, 0, &k);
    (void)sc_store_route(copy, "nobody", 6, 0, &k);
    if (before < 0 || bad != 0 || view.count > SC_MEMBERS_MAX) {
        _exit(10);
    }
    if (sc_store_recover(copy, &report) != APR_SUCCESS || rig_audit(copy, 0).failures != 0) {
        _exit(11);
    }
    if (read_all(copy, pool) < 0) {
        _exit(12);
    }
    /* and life goes on */
    sc_store_collect(copy, SECONDS(4000), touched_whole, copy);
    if (sc_store_context(copy, "app", 3, 1, &k) == APR_SUCCESS) {
        for (n = 0; n < 50; n++) {
            if (rig_put(copy, k, DAMAGE_IDS + n, 9, rig_len(n, 9)) != APR_SUCCESS) {
                _exit(13);
            }
        }
    }
    if (rig_audit(copy, 0).failures != 0) {
        _exit(14);
    }
    for (n = 0; n < 10; n++) {
        sc_store_run_due(copy, SECONDS(100000), 100000, due_whole, copy);
    }
    _exit(rig_audit(copy, 0).failures == 0 ? 0 : 15);
}

/* Sessions, proxies and tombstones, some of them moved after they were written. */
static void fill_to_damage(sc_store_t *store)
{
    apr_uint16_t backups[SC_BACKUPS_MAX], primary, k;
    unsigned char body[4096];
    unsigned int n;

    sc_store_context(store, "app", 3, 1, &k);
    for (n = 1; n <= ROUTES; n++) {
        char name = (char)('a' + n);

        CU_ASSERT_EQUAL(sc_store_route(store, &name, 1, 1, &k), APR_SUCCESS);
    }
    for (n = 0; n < DAMAGE_IDS; n++) {
        sc_record_t rec = rig_record(0, n, n % 20);
        apr_size_t len = rig_len(n, n % 20);

        rec.flags = n % 10 == 3 ? SC_REC_PROXY : n % 10 == 7 ? SC_REC_TOMBSTONE : 0;
        rec.epoch = n;
        location_of(n, &rec.primary, rec.backups);
        rig_fill(body, len, n, n % 20);
        CU_ASSERT_EQUAL(sc_store_put(store, &rec, body, len), APR_SUCCESS);
        if (n % 3 == 0) {
            location_of(n + 7, &primary, backups);
            CU_ASSERT_EQUAL(
                sc_store_set_location(store, 0, &rec.id, primary, backups, SC_BACKUPS_MAX, n + 7),
                APR_SUCCESS);
        }
    }
}

static void test_damaged_memory(void)
{
    apr_pool_t *pool;
    sc_store_t *store;
    int i;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, SC_STORE_MIN, pool), APR_SUCCESS);
    fill_to_damage(store);
    for (i = 0; i < DAMAGES; i++) {
        apr_pool_t *sub;
        sc_store_t *copy;
        pid_t pid;

        apr_pool_create(&sub, pool);
        copy = rig_copy(store, sub);
        CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
        pid = fork();
        if (pid == 0) {
            damage_child(copy, (unsigned int)i + 1, i);
        }
        CU_ASSERT_EQUAL(rig_wait(pid), 0);
        apr_pool_destroy(sub);
    }
    apr_pool_destroy(pool);
}

/* A single broken session costs itself and nothing else. */
static void test_recovery_is_precise(void)
{
    apr_pool_t *pool;
    sc_store_t *store, *copy;
    sc_store_recovery_t report;
    unsigned char needle[24], *base;
    apr_size_t i, bytes;
    unsigned int n;
    apr_uint16_t k;
    sc_id_t id;
    sc_stored_t got;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, SC_STORE_MIN, pool), APR_SUCCESS);
    sc_store_context(store, "app", 3, 1, &k);
    for (n = 0; n < DAMAGE_IDS; n++) {
        CU_ASSERT_EQUAL(rig_put(store, 0, n, 1, 200), APR_SUCCESS);
    }
    copy = rig_copy(store, pool);
    CU_ASSERT_EQUAL(sc_store_recover(copy, &report), APR_SUCCESS);
    CU_ASSERT(report.kept == DAMAGE_IDS && report.dropped == 0);

    /* flip one bit in the body of session 17 */
    rig_fill(needle, sizeof(needle), 17, 1);
    base = sc_store_base(copy);
    bytes = sc_store_bytes(copy);
    for (i = 0; i + 24 <= bytes &&
                (memcmp(base + i, needle, 8) != 0 || memcmp(base + i + 12, needle + 12, 4) != 0);
         i += 8) {
    }
    CU_ASSERT_FATAL(i + 24 <= bytes);
    base[i + 20] ^= 1;
    id = rig_id(17);
    CU_ASSERT_EQUAL(sc_store_read(copy, 0, &id, pool, &got), APR_EAGAIN);
    CU_ASSERT_EQUAL(sc_store_recover(copy, &report), APR_SUCCESS);
    CU_ASSERT(report.kept == DAMAGE_IDS - 1 && report.dropped == 1);
    CU_ASSERT_EQUAL(sc_store_read(copy, 0, &id, pool, &got), APR_NOTFOUND);
    for (n = 0; n < DAMAGE_IDS; n++) {
        id = rig_id(n);
        CU_ASSERT_EQUAL(sc_store_read(copy, 0, &id, pool, &got),
                        n == 17 ? APR_NOTFOUND : APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(rig_audit(copy, 0).failures, 0);
    apr_pool_destroy(pool);
}

/* ---- protection ------------------------------------------------------------------------------ */

static void count_touched(void *baton, const sc_record_t *rec, apr_time_t accessed)
{
    (void)rec;
    *(apr_time_t *)baton = accessed;
}

static void test_protect(void)
{
    static const char what[] = "ntplbr";
    apr_pool_t *pool;
    sc_store_t *store;
    sc_stored_t got;
    sc_id_t id = rig_id(1);
    apr_time_t accessed = 0;
    apr_uint16_t k;
    int i;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, SC_STORE_MIN, pool), APR_SUCCESS);
    sc_store_context(store, "app", 3, 1, &k);
    CU_ASSERT_EQUAL(rig_put(store, 0, 1, 1, 300), APR_SUCCESS);
    for (i = 0; what[i] != '\0'; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            struct rlimit none = {0, 0};

            setrlimit(RLIMIT_CORE, &none);
            signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would make an exit of it */
            if (sc_store_protect(store) != APR_SUCCESS ||
                sc_store_read(store, 0, &id, pool, &got) != APR_SUCCESS) {
                _exit(1);
            }
            sc_store_note_access(store, got.cell, got.gen, SECONDS(3000 + i));
            switch (what[i]) {
            case 'n':
                _exit(77);
            case 't':
                sc_store_touch(store, 0, &id, SECONDS(9000), SECONDS(9000));
                break;
            case 'p':
                rig_put(store, 0, 1, 2, 300);
                break;
            case 'l':
                sc_store_set_location(store, 0, &id, 0, NULL, 0, 5);
                break;
            case 'b':
                sc_count(sc_store_board(store), created, 1);
                break;
            default:
                sc_store_remove(store, 0, &id);
            }
            _exit(2);
        }
        CU_ASSERT_EQUAL(rig_wait(pid), what[i] == 'n' ? 77 : 128 + SIGSEGV);
        /* what the child noted has arrived here all the same */
        sc_store_collect(store, SECONDS(8000), count_touched, &accessed);
        CU_ASSERT_EQUAL(accessed, SECONDS(3000 + i));
    }
    CU_ASSERT_EQUAL(sc_store_read(store, 0, &id, pool, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.rec.accessed, SECONDS(2000) + 1);
    CU_ASSERT_EQUAL(rig_audit(store, 0).failures, 0);
    /* the parent's own view of the mapping stays writable */
    CU_ASSERT_EQUAL(rig_put(store, 0, 1, 2, 300), APR_SUCCESS);
    apr_pool_destroy(pool);
}

void rig_add_abuse(void *suite)
{
    CU_pSuite s = suite;

    CU_add_test(s, "readers while a writer rewrites", test_readers_and_writer);
    CU_add_test(s, "damaged memory", test_damaged_memory);
    CU_add_test(s, "recovery drops no more than is broken", test_recovery_is_precise);
    CU_add_test(s, "protect", test_protect);
}
