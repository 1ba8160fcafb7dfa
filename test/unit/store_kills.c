/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Engines that are killed: at random moments, and after each single instruction of each operation.
 * Whatever was acknowledged is there afterwards, what was in flight is there or not, and a new
 * engine goes on without dropping anything or giving a change number out twice.
 *
 * Children report through a shared page; they never touch CUnit. alarm() only ends a child that
 * hangs, which is a failure then.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "store_rig.h"

#define DEADLINE 120 /* seconds */

/* ---- kills ---------------------------------------------------------------------------------- */

enum { KILLS = 100, KILL_IDS = 48 };
enum { ABSENT, LIVE, DEAD, PROXY };

/* What an id is: everything a client or a peer could tell it by. */
typedef struct fate_t {
    apr_uint32_t kind, version, epoch;
    apr_uint64_t lsn;
} fate_t;

typedef struct log_t {
    apr_uint32_t ops;
    apr_uint32_t version;
    apr_uint64_t lsn;       /* highest one acknowledged */
    apr_uint64_t before;    /* highest one before the operation in flight */
    fate_t acked[KILL_IDS]; /* acknowledged */
    fate_t next[KILL_IDS];  /* in flight while busy; its lsn is not known then */
    apr_uint32_t busy[KILL_IDS];
} log_t;

static void begin(log_t *log, unsigned int n, apr_uint32_t kind, apr_uint32_t version,
                  apr_uint32_t epoch)
{
    log->next[n].kind = kind;
    log->next[n].version = version;
    log->next[n].epoch = epoch;
    log->before = log->lsn;
    rig_set32(&log->busy[n], 1);
}

static apr_uint64_t lsn_of(const sc_store_t *store)
{
    sc_store_stats_t stats;

    sc_store_stats(store, &stats);
    return stats.lsn;
}

static void end(sc_store_t *store, log_t *log, unsigned int n, int done)
{
    log->lsn = lsn_of(store);
    if (done) {
        log->next[n].lsn = log->next[n].kind == ABSENT ? 0 : log->lsn;
        log->acked[n] = log->next[n];
    }
    rig_set32(&log->busy[n], 0);
    rig_set32(&log->ops, log->ops + 1);
}

static int put_without_body(sc_store_t *store, unsigned int n, apr_uint32_t v, apr_uint16_t flags)
{
    sc_record_t rec = rig_record(0, n, v);

    rec.flags = flags;
    return sc_store_put(store, &rec, NULL, 0) == APR_SUCCESS;
}

static int move(sc_store_t *store, unsigned int n, apr_uint32_t epoch)
{
    apr_uint16_t route = (apr_uint16_t)(1 + epoch % 2), backup = (apr_uint16_t)(3 - route);
    sc_id_t id = rig_id(n);

    return sc_store_set_location(store, 0, &id, route, &backup, 1, epoch) == APR_SUCCESS;
}

static void engine_until_killed(sc_store_t *store, log_t *log, unsigned int seed)
{
    for (;;) {
        unsigned int n = (unsigned int)rand_r(&seed) % KILL_IDS;
        unsigned int what = (unsigned int)rand_r(&seed) % 20;
        apr_uint32_t v = ++log->version, epoch = rig_record(0, n, v).epoch;
        const fate_t *now = &log->acked[n];
        sc_id_t id = rig_id(n);

        if (what < 8) {
            begin(log, n, LIVE, v, epoch);
            end(store, log, n, rig_put(store, 0, n, v, rig_len(n, v)) == APR_SUCCESS);
        } else if (what < 10) {
            begin(log, n, DEAD, v, epoch);
            end(store, log, n, put_without_body(store, n, v, SC_REC_TOMBSTONE));
        } else if (what < 12) {
            begin(log, n, PROXY, v, epoch);
            end(store, log, n, put_without_body(store, n, v, SC_REC_PROXY));
        } else if (what < 14) {
            begin(log, n, ABSENT, 0, 0);
            sc_store_remove(store, 0, &id);
            end(store, log, n, 1);
        } else if (what < 16) {
            sc_store_touch(store, 0, &id, SECONDS(2000) + v, SECONDS(v % 9000));
            rig_set32(&log->ops, log->ops + 1);
        } else {
            begin(log, n, now->kind, now->version, now->kind == ABSENT ? 0 : v);
            end(store, log, n, move(store, n, v));
        }
    }
}

/* What the store holds for an id. Returns 0 for something that cannot be. */
static int held(sc_store_t *store, unsigned int n, apr_pool_t *pool, fate_t *fate)
{
    sc_id_t id = rig_id(n);
    sc_record_t located;
    sc_stored_t got;
    unsigned int who, v;
    apr_status_t rv = sc_store_read(store, 0, &id, pool, &got);

    memset(fate, 0, sizeof(*fate));
    if (sc_store_locate(store, 0, &id, &located) != rv) {
        return 0;
    }
    if (rv == APR_NOTFOUND) {
        return 1;
    }
    if (rv != APR_SUCCESS || !rig_same(&got.rec, &located)) {
        return 0;
    }
    fate->version = (apr_uint32_t)(got.rec.stamp.hlc & 0xffffffffu) - 0x05060000u;
    fate->epoch = got.rec.epoch;
    fate->lsn = got.rec.lsn;
    if (got.rec.flags != 0) {
        fate->kind = got.rec.flags == SC_REC_PROXY ? PROXY : DEAD;
        return got.rec.body_len == 0;
    }
    fate->kind = LIVE;
    return rig_check(got.body, got.rec.body_len, &who, &v) && who == n && v == fate->version;
}

static int same_fate(const fate_t *a, const fate_t *b)
{
    return a->kind == b->kind && a->version == b->version && a->epoch == b->epoch;
}

/* After a kill: the acknowledged value with its number, or the one in flight with a number that
 * nobody has seen, for every id. */
static void check_fates(sc_store_t *store, log_t *log)
{
    apr_pool_t *pool;
    unsigned int n;

    apr_pool_create(&pool, NULL);
    for (n = 0; n < KILL_IDS; n++) {
        fate_t fate;

        CU_ASSERT(held(store, n, pool, &fate));
        CU_ASSERT((same_fate(&fate, &log->acked[n]) && fate.lsn == log->acked[n].lsn) ||
                  (log->busy[n] && same_fate(&fate, &log->next[n]) &&
                   (fate.kind == ABSENT || fate.lsn > log->before)));
        CU_ASSERT(fate.lsn <= lsn_of(store));
        log->acked[n] = fate;
        log->busy[n] = 0;
    }
    CU_ASSERT(lsn_of(store) >= log->lsn);
    log->lsn = lsn_of(store);
    apr_pool_destroy(pool);
}

static void test_kills(void)
{
    log_t *log = rig_shared(sizeof(*log));
    unsigned int seed = 7, own = 1;
    apr_pool_t *pool;
    sc_store_t *store;
    apr_uint16_t k;
    int round;

    CU_ASSERT_PTR_NOT_NULL_FATAL(log);
    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, SC_STORE_MIN, pool), APR_SUCCESS);
    sc_store_context(store, "app", 3, 1, &k);
    sc_store_route(store, "a", 1, 1, &k);
    sc_store_route(store, "b", 1, 1, &k);
    sc_store_set_own_route(store, (apr_uint16_t)own);
    for (round = 0; round < KILLS; round++) {
        apr_uint32_t target = rig_get32(&log->ops) + 1 + (apr_uint32_t)rand_r(&seed) % 300;
        apr_time_t deadline = apr_time_now() + SECONDS(DEADLINE);
        unsigned int spin = (unsigned int)rand_r(&seed) % 2000;
        sc_store_recovery_t report;
        sc_store_t *engine = NULL;
        pid_t pid = fork();

        if (pid == 0) {
            alarm(DEADLINE);
            engine_until_killed(store, log, (unsigned int)round);
        }
        while (rig_get32(&log->ops) < target && apr_time_now() < deadline) {
            sched_yield();
        }
        while (spin-- > 0) {
            (void)rig_get32(&log->ops);
        }
        kill(pid, SIGKILL);
        CU_ASSERT_EQUAL(rig_wait(pid), 128 + SIGKILL);
        CU_ASSERT(rig_get32(&log->ops) >= target);

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
    char what; /* n new, c change, t tombstone, p proxy, r remove, l location, a access */
    unsigned int n;
} step_t;

/* Before and after an operation. */
typedef struct step_states_t {
    fate_t fate[2];
    apr_uint64_t lsn;    /* of the store before it */
    apr_uint64_t others; /* records of other ids */
} step_states_t;

static void step_work(sc_store_t *store, const step_t *step)
{
    apr_uint16_t route = 2;
    sc_id_t id = rig_id(step->n);

    switch (step->what) {
    case 'n':
    case 'c':
        rig_put(store, 0, step->n, 2, 300);
        break;
    case 't':
        put_without_body(store, step->n, 2, SC_REC_TOMBSTONE);
        break;
    case 'p':
        put_without_body(store, step->n, 2, SC_REC_PROXY);
        break;
    case 'r':
        sc_store_remove(store, 0, &id);
        break;
    case 'l':
        sc_store_set_location(store, 0, &id, 1, &route, 1, 2);
        break;
    default:
        sc_store_touch(store, 0, &id, SECONDS(3000), SECONDS(3100));
    }
}

/* held, and the place that belongs to the epoch. */
static int state_of(sc_store_t *store, unsigned int n, apr_pool_t *pool, fate_t *fate)
{
    sc_id_t id = rig_id(n);
    sc_record_t rec;

    if (!held(store, n, pool, fate)) {
        return 0;
    }
    if (fate->kind == ABSENT) {
        return 1;
    }
    if (sc_store_get(store, 0, &id, &rec, NULL) != APR_SUCCESS) {
        return 0;
    }
    switch (rec.epoch) {
    case 1:
        return rec.primary == 2 && rec.backups[0] == SC_ROUTE_NONE;
    case 2:
        return rec.primary == 1 && rec.backups[0] == 2;
    default:
        return rec.primary == SC_ROUTE_NONE && rec.backups[0] == SC_ROUTE_NONE;
    }
}

typedef struct since_t {
    sc_id_t id;
    int visits, wrong;
} since_t;

static int on_since(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    since_t *s = baton;

    (void)body;
    s->visits++;
    s->wrong += memcmp(&rec->id, &s->id, sizeof(s->id)) != 0;
    return 1;
}

/* Whether a scan for what is newer than before the operation tells what it should. */
static int told_since(sc_store_t *copy, const step_t *step, const step_states_t *states, int after)
{
    int writes = step->what != 'r' && step->what != 'a';
    since_t s = {rig_id(step->n), 0, 0};
    apr_uint32_t cursor = 0;

    return sc_store_scan(copy, &cursor, states->lsn, 0xffffffffu, on_since, &s) == APR_EOF &&
           s.wrong == 0 && s.visits == (after && writes);
}

/*
 * Look at a snapshot as readers would, then as a new engine would. Both must see the table before
 * the operation or after it. Returns 0 for before, 1 for after, -1 for anything else.
 */
static int judge(sc_store_t *copy, const step_t *step, const step_states_t *states)
{
    apr_uint64_t lsn = lsn_of(copy);
    sc_store_recovery_t report;
    apr_pool_t *pool;
    rig_audit_t audit;
    fate_t fate, again;
    int verdict = -1;

    apr_pool_create(&pool, NULL);
    if (state_of(copy, step->n, pool, &fate) && sc_store_recover(copy, &report) == APR_SUCCESS &&
        report.dropped == 0 && state_of(copy, step->n, pool, &again)) {
        audit = rig_audit(copy, 1);
        if (memcmp(&again, &fate, sizeof(fate)) == 0 && audit.failures == 0 &&
            audit.sessions + audit.tombstones + audit.proxies ==
                states->others + (fate.kind != ABSENT) &&
            lsn >= states->lsn && lsn_of(copy) == lsn && fate.lsn <= lsn) {
            verdict = memcmp(&fate, &states->fate[0], sizeof(fate)) == 0   ? 0
                      : memcmp(&fate, &states->fate[1], sizeof(fate)) == 0 ? 1
                                                                           : -1;
        }
        if (verdict >= 0 && !told_since(copy, step, states, verdict)) {
            verdict = -1;
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
    step_states_t states;
    rig_audit_t audit = rig_audit(store, 1);
    apr_pool_t *pool;
    int status = 0, steps = 0, snapshots = 0, after = 0;
    pid_t pid;

    apr_pool_create(&pool, NULL);
    memcpy(sc_store_base(scratch), base, bytes);
    memcpy(last, base, bytes);
    CU_ASSERT(state_of(scratch, step->n, pool, &states.fate[0]));
    states.lsn = lsn_of(scratch);
    states.others =
        audit.sessions + audit.tombstones + audit.proxies - (states.fate[0].kind != ABSENT);
    step_work(scratch, step);
    CU_ASSERT(state_of(scratch, step->n, pool, &states.fate[1]));

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
        verdict = judge(scratch, step, &states);
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
        {'n', STEP_IDS},
        {'n', STEP_IDS + 1},
        {'p', STEP_IDS + 2},
        {'c', STEP_IDS + 2}, /* a proxy becomes a session */
        {'c', 3},
        {'c', 4},
        {'t', 5},
        {'t', 4},
        {'p', 5},
        {'p', 10},
        {'l', 10},
        {'p', 10},
        {'t', 10}, /* a session becomes a proxy and dies as such */
        {'l', 11},
        {'l', 11},
        {'l', 11}, /* both copies of the location, and again */
        {'l', 4},
        {'r', 6},
        {'r', 7},
        {'r', 5},
        {'a', 9},
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
void rig_add_kills(void *suite)
{
    CU_pSuite s = suite;

    CU_add_test(s, "kills at random moments", test_kills);
    CU_add_test(s, "a kill at every instruction", test_kill_at_every_instruction);
}
