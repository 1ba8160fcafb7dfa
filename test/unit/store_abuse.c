/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The store among processes that read, write and die, and in memory that lies.
 *
 * Children report by their exit code or through a shared page; they never touch CUnit. Work is
 * bounded by counts. alarm() only ends a child that hangs, which is a failure then.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "store_rig.h"

#define DEADLINE 120 /* seconds */

static void *shared_page(apr_size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CU_ASSERT_FATAL(p != MAP_FAILED);
    return p;
}

static apr_uint32_t get32(const apr_uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void set32(apr_uint32_t *p, apr_uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* ---- readers and a writer ------------------------------------------------------------------- */

enum { READERS = 3, READS = 20000, STEADY = 8, CHURN = 24, ROUTES = 5, BIG = 60000 };

typedef struct crowd_t {
    apr_uint32_t writing; /* rounds of the writer */
    apr_uint32_t stop;
    struct {
        apr_uint32_t bad, missing, again, changes, read;
    } reader[READERS];
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

static void write_for_ever(sc_store_t *store, crowd_t *crowd)
{
    static unsigned char body[BIG];
    unsigned int seed = 99, v = 100;

    while (!get32(&crowd->stop)) {
        unsigned int n = (unsigned int)rand_r(&seed) % (STEADY + CHURN);
        unsigned int what = (unsigned int)rand_r(&seed) % 100;
        sc_record_t rec = rig_record(0, n, ++v);
        apr_size_t len = n == 0 ? BIG : RIG_BODY_MIN + (unsigned int)rand_r(&seed) % 6000;

        rec.epoch = v;
        location_of(v, &rec.primary, rec.backups);
        if (what < 20) {
            sc_store_set_location(store, 0, &rec.id, rec.primary, rec.backups, SC_BACKUPS_MAX, v);
        } else if (what < 30) {
            sc_store_touch(store, 0, &rec.id, SECONDS(2000) + v, SECONDS(9000));
        } else if (n >= STEADY && what < 50) {
            sc_store_remove(store, 0, &rec.id);
        } else {
            rec.flags = n >= STEADY && what < 55 ? SC_REC_TOMBSTONE : 0;
            rig_fill(body, len, n, v);
            if (sc_store_put(store, &rec, body, len) != APR_SUCCESS) {
                _exit(3);
            }
        }
        if (v % 512 == 0 && sc_store_recover(store, NULL) != APR_SUCCESS) {
            _exit(4); /* a new engine takes over while children read */
        }
        set32(&crowd->writing, v);
    }
    _exit(0);
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
        unsigned int who = 0, v = 0;
        sc_id_t id = rig_id(n);
        apr_uint16_t primary, backups[SC_BACKUPS_MAX];
        sc_stored_t got;
        apr_status_t rv;

        apr_pool_clear(pool);
        rv = sc_store_read(store, 0, &id, pool, &got);
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
        crowd->reader[me].read++;
        location_of(got.rec.epoch, &primary, backups);
        if (got.rec.primary != primary || memcmp(got.rec.backups, backups, sizeof(backups)) != 0) {
            crowd->reader[me].bad++;
        }
        if (got.rec.flags & SC_REC_TOMBSTONE) {
            crowd->reader[me].bad += n < STEADY || got.rec.body_len != 0;
            continue;
        }
        if (!rig_check(got.body, got.rec.body_len, &who, &v) || who != n || v < last[n] ||
            (got.rec.stamp.hlc & 0xffffffffu) != 0x05060000u + v) {
            crowd->reader[me].bad++;
        }
        crowd->reader[me].changes += v != last[n];
        last[n] = v;
        sc_store_note_access(store, got.cell, got.gen, SECONDS(3000));
    }
    _exit(0);
}

static void test_readers_and_writer(void)
{
    crowd_t *crowd = shared_page(sizeof(*crowd));
    static unsigned char body[BIG];
    apr_pool_t *pool;
    sc_store_t *store;
    apr_uint16_t k;
    pid_t writer, reader[READERS];
    unsigned int n;
    int i;

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
        CU_ASSERT(crowd->reader[i].again < READS / 4);
    }
    set32(&crowd->stop, 1);
    CU_ASSERT_EQUAL(rig_wait(writer), 0);
    CU_ASSERT_EQUAL(rig_audit(store, 0).failures, 0);
    munmap(crowd, sizeof(*crowd));
    apr_pool_destroy(pool);
}

/* ---- kills ---------------------------------------------------------------------------------- */

enum { KILLS = 100, KILL_IDS = 48 };
enum { ABSENT, LIVE, DEAD };

typedef struct fate_t {
    apr_uint32_t kind, version;           /* acknowledged */
    apr_uint32_t next_kind, next_version; /* in flight while busy */
    apr_uint32_t busy;
} fate_t;

typedef struct log_t {
    apr_uint32_t ops;
    apr_uint32_t version;
    fate_t fate[KILL_IDS];
} log_t;

static void begin(log_t *log, unsigned int n, apr_uint32_t kind, apr_uint32_t version)
{
    log->fate[n].next_kind = kind;
    log->fate[n].next_version = version;
    set32(&log->fate[n].busy, 1);
}

static void end(log_t *log, unsigned int n, int done)
{
    if (done) {
        log->fate[n].kind = log->fate[n].next_kind;
        log->fate[n].version = log->fate[n].next_version;
    }
    set32(&log->fate[n].busy, 0);
    set32(&log->ops, log->ops + 1);
}

static void engine_until_killed(sc_store_t *store, log_t *log, unsigned int seed)
{
    for (;;) {
        unsigned int n = (unsigned int)rand_r(&seed) % KILL_IDS;
        unsigned int what = (unsigned int)rand_r(&seed) % 10;
        apr_uint32_t v = ++log->version;
        sc_id_t id = rig_id(n);
        apr_status_t rv;

        if (what < 5) {
            begin(log, n, LIVE, v);
            rv = rig_put(store, 0, n, v, rig_len(n, v));
            end(log, n, rv == APR_SUCCESS);
        } else if (what < 6) {
            sc_record_t rec = rig_record(0, n, v);

            rec.flags = SC_REC_TOMBSTONE;
            begin(log, n, DEAD, v);
            rv = sc_store_put(store, &rec, NULL, 0);
            end(log, n, rv == APR_SUCCESS);
        } else if (what < 7) {
            begin(log, n, ABSENT, 0);
            sc_store_remove(store, 0, &id);
            end(log, n, 1);
        } else if (what < 9) {
            sc_store_touch(store, 0, &id, SECONDS(2000) + v, SECONDS(v % 9000));
            set32(&log->ops, log->ops + 1);
        } else {
            apr_uint16_t route = (apr_uint16_t)(1 + v % 2);

            sc_store_set_location(store, 0, &id, route, &route, 1, v);
            set32(&log->ops, log->ops + 1);
        }
    }
}

/* What the store holds for an id, as kind and version. */
static int held(sc_store_t *store, unsigned int n, apr_pool_t *pool, apr_uint32_t *kind,
                apr_uint32_t *version)
{
    sc_id_t id = rig_id(n);
    sc_stored_t got;
    unsigned int who, v;
    apr_status_t rv = sc_store_read(store, 0, &id, pool, &got);

    *kind = ABSENT;
    *version = 0;
    if (rv == APR_NOTFOUND) {
        return 1;
    }
    if (rv != APR_SUCCESS) {
        return 0;
    }
    *version = (apr_uint32_t)(got.rec.stamp.hlc & 0xffffffffu) - 0x05060000u;
    if (got.rec.flags & SC_REC_TOMBSTONE) {
        *kind = DEAD;
        return 1;
    }
    *kind = LIVE;
    return rig_check(got.body, got.rec.body_len, &who, &v) && who == n && v == *version;
}

/* After a kill: the acknowledged value, or the one in flight, for every id. */
static void check_fates(sc_store_t *store, log_t *log)
{
    apr_pool_t *pool;
    unsigned int n;

    apr_pool_create(&pool, NULL);
    for (n = 0; n < KILL_IDS; n++) {
        fate_t *f = &log->fate[n];
        apr_uint32_t kind, version;

        CU_ASSERT(held(store, n, pool, &kind, &version));
        CU_ASSERT((kind == f->kind && version == f->version) ||
                  (f->busy && kind == f->next_kind && version == f->next_version));
        f->kind = kind;
        f->version = version;
        f->busy = 0;
    }
    apr_pool_destroy(pool);
}

static void test_kills(void)
{
    log_t *log = shared_page(sizeof(*log));
    unsigned int seed = 7, own = 1;
    apr_pool_t *pool;
    sc_store_t *store;
    apr_uint16_t k;
    int round;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, SC_STORE_MIN, pool), APR_SUCCESS);
    sc_store_context(store, "app", 3, 1, &k);
    sc_store_route(store, "a", 1, 1, &k);
    sc_store_route(store, "b", 1, 1, &k);
    sc_store_set_own_route(store, (apr_uint16_t)own);
    for (round = 0; round < KILLS; round++) {
        apr_uint32_t target = get32(&log->ops) + 1 + (apr_uint32_t)rand_r(&seed) % 300;
        apr_time_t deadline = apr_time_now() + SECONDS(DEADLINE);
        unsigned int spin = (unsigned int)rand_r(&seed) % 2000;
        sc_store_recovery_t report;
        sc_store_t *engine = NULL;
        pid_t pid = fork();

        if (pid == 0) {
            alarm(DEADLINE);
            engine_until_killed(store, log, (unsigned int)round);
        }
        while (get32(&log->ops) < target && apr_time_now() < deadline) {
            sched_yield();
        }
        while (spin-- > 0) {
            (void)get32(&log->ops);
        }
        kill(pid, SIGKILL);
        CU_ASSERT_EQUAL(rig_wait(pid), 128 + SIGKILL);
        CU_ASSERT(get32(&log->ops) >= target);

        check_fates(store, log); /* readers need no recovery to see whole sessions */
        CU_ASSERT_EQUAL_FATAL(
            sc_store_attach(&engine, sc_store_base(store), sc_store_bytes(store), pool),
            APR_SUCCESS);
        CU_ASSERT_EQUAL(sc_store_recover(engine, &report), APR_SUCCESS);
        CU_ASSERT_EQUAL(report.dropped, 0);
        check_fates(engine, log);
        CU_ASSERT_EQUAL(rig_audit(engine, (apr_uint16_t)own).failures, 0);
    }
    CU_ASSERT(log->version > KILLS);
    munmap(log, sizeof(*log));
    apr_pool_destroy(pool);
}

/* ---- a kill at every single instruction ------------------------------------------------------ */

enum { STEP_IDS = 300, STEP_MAX = 200000 };

typedef struct step_t {
    char what; /* n new, c change, t tombstone, r remove, l location, a access */
    unsigned int n;
} step_t;

static void step_work(sc_store_t *store, const step_t *step)
{
    sc_record_t rec = rig_record(0, step->n, 2);
    apr_uint16_t route = 2;

    switch (step->what) {
    case 'n':
    case 'c':
        rig_put(store, 0, step->n, 2, 300);
        break;
    case 't':
        rec.flags = SC_REC_TOMBSTONE;
        sc_store_put(store, &rec, NULL, 0);
        break;
    case 'r':
        sc_store_remove(store, 0, &rec.id);
        break;
    case 'l':
        sc_store_set_location(store, 0, &rec.id, 1, &route, 1, 2);
        break;
    default:
        sc_store_touch(store, 0, &rec.id, SECONDS(3000), SECONDS(3100));
    }
}

/* State of the id at work as one number: kind, version and epoch. */
static apr_uint64_t state_of(sc_store_t *store, unsigned int n, apr_pool_t *pool)
{
    apr_uint32_t kind, version;
    sc_id_t id = rig_id(n);
    sc_stored_t got;

    if (!held(store, n, pool, &kind, &version)) {
        return ~0ull;
    }
    if (kind == ABSENT) {
        return 0;
    }
    if (sc_store_read(store, 0, &id, pool, &got) != APR_SUCCESS) {
        return ~0ull;
    }
    if (got.rec.epoch == 2 && (got.rec.primary != 1 || got.rec.backups[0] != 2)) {
        return ~0ull; /* a new epoch with an old place */
    }
    return (apr_uint64_t)kind << 60 | (apr_uint64_t)got.rec.epoch << 16 | version;
}

/*
 * Look at a snapshot as readers would, then as a new engine would. Both must see the table before
 * the operation or after it. Returns 0 for before, 1 for after, -1 for anything else.
 */
static int judge(sc_store_t *copy, const step_t *step, const apr_uint64_t states[2],
                 apr_uint64_t others)
{
    sc_store_recovery_t report;
    apr_uint64_t state, again;
    apr_pool_t *pool;
    rig_audit_t audit;
    int verdict = -1;

    apr_pool_create(&pool, NULL);
    state = state_of(copy, step->n, pool);
    if (sc_store_recover(copy, &report) == APR_SUCCESS && report.dropped == 0) {
        again = state_of(copy, step->n, pool);
        audit = rig_audit(copy, 1);
        if (again == state && audit.failures == 0 &&
            audit.sessions + audit.tombstones == others + (state != 0)) {
            verdict = state == states[0] ? 0 : state == states[1] ? 1 : -1;
        }
    }
    apr_pool_destroy(pool);
    return verdict;
}

/* Step a child through one operation. Returns 0 when this machine does not allow it. */
static int step_through(sc_store_t *store, const step_t *step, sc_store_t *scratch)
{
    apr_size_t bytes = sc_store_bytes(store);
    unsigned char *base = sc_store_base(store), *last = malloc(bytes);
    sc_store_stats_t stats;
    apr_uint64_t states[2], others;
    apr_pool_t *pool;
    int status = 0, steps = 0, snapshots = 0, after = 0;
    pid_t pid;

    apr_pool_create(&pool, NULL);
    memcpy(sc_store_base(scratch), base, bytes);
    memcpy(last, base, bytes);
    sc_store_stats(store, &stats);
    states[0] = state_of(scratch, step->n, pool);
    others = stats.sessions + stats.tombstones - (states[0] != 0);
    step_work(scratch, step);
    states[1] = state_of(scratch, step->n, pool);
    CU_ASSERT(states[0] != ~0ull && states[1] != ~0ull);

    pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(9);
        }
        raise(SIGSTOP);
        step_work(store, step);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    if (!WIFSTOPPED(status)) {
        free(last);
        apr_pool_destroy(pool);
        return 0;
    }
    while (steps++ < STEP_MAX && ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0 &&
           waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP) {
        int verdict;

        if (memcmp(last, base, bytes) == 0) {
            continue;
        }
        memcpy(last, base, bytes);
        memcpy(sc_store_base(scratch), base, bytes);
        verdict = judge(scratch, step, states, others);
        CU_ASSERT(verdict >= after); /* and never back to the old one */
        after = verdict == 1;
        snapshots++;
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    CU_ASSERT(steps < STEP_MAX && snapshots > 0);
    if (step->what != 'a') {
        CU_ASSERT(after == 1);
    }
    CU_ASSERT_EQUAL(sc_store_recover(store, NULL), APR_SUCCESS);
    free(last);
    apr_pool_destroy(pool);
    return 1;
}

static void test_kill_at_every_instruction(void)
{
    static const step_t steps[] = {
        {'n', STEP_IDS}, {'n', STEP_IDS + 1},
        {'c', 3},        {'c', 4},
        {'t', 5},        {'t', 4},
        {'r', 6},        {'r', 7},
        {'l', 8},        {'a', 9},
    };
    apr_pool_t *pool;
    sc_store_t *store, *scratch;
    apr_uint16_t k;
    unsigned int n;
    const char *preload = getenv("LD_PRELOAD");

    if (preload != NULL && strstr(preload, "vgpreload") != NULL) {
        return; /* stepping would go through valgrind's own instructions */
    }
    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, SC_STORE_MIN, pool), APR_SUCCESS);
    sc_store_context(store, "app", 3, 1, &k);
    sc_store_route(store, "a", 1, 1, &k);
    sc_store_route(store, "b", 1, 1, &k);
    sc_store_set_own_route(store, 1);
    for (n = 0; n < STEP_IDS; n++) {
        sc_record_t rec = rig_record(0, n, 1);
        unsigned char body[200];

        rec.epoch = 1;
        rec.primary = 2;
        rig_fill(body, sizeof(body), n, 1);
        CU_ASSERT_EQUAL(sc_store_put(store, &rec, body, sizeof(body)), APR_SUCCESS);
    }
    scratch = rig_copy(store, pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(scratch);
    for (n = 0; n < sizeof(steps) / sizeof(steps[0]); n++) {
        if (!step_through(store, &steps[n], scratch)) {
            break; /* no ptrace here */
        }
    }
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
        if (sc_store_read(store, 0, &id, pool, &got) != APR_SUCCESS) {
            continue;
        }
        found++;
        if (!(got.rec.flags & SC_REC_TOMBSTONE) &&
            (!rig_check(got.body, got.rec.body_len, &who, &v) || who != n)) {
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

    if (!(rec->flags & SC_REC_TOMBSTONE) && !rig_check(body, rec->body_len, &n, &v)) {
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

static void test_damaged_memory(void)
{
    apr_pool_t *pool;
    sc_store_t *store;
    apr_uint16_t k;
    unsigned int n;
    int i;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, SC_STORE_MIN, pool), APR_SUCCESS);
    sc_store_context(store, "app", 3, 1, &k);
    for (n = 0; n < DAMAGE_IDS; n++) {
        CU_ASSERT_EQUAL(rig_put(store, 0, n, n % 20, rig_len(n, n % 20)), APR_SUCCESS);
    }
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
    CU_add_test(s, "kills at random moments", test_kills);
    CU_add_test(s, "a kill at every instruction", test_kill_at_every_instruction);
    CU_add_test(s, "damaged memory", test_damaged_memory);
    CU_add_test(s, "recovery drops no more than is broken", test_recovery_is_precise);
    CU_add_test(s, "protect", test_protect);
}
