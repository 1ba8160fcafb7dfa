/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A reader stopped between any two of its loads, while the writer works.
 *
 * The readers' source is compiled here once more under other names, with a hook in front of every
 * load from the mapping. The hook counts; at the load in question it runs a little program of the
 * writer, in this very process, and lets the reader go on. So every interleaving of a read with one
 * program, and with two programs at two places, is tried: exactly, and the same each time. (What a
 * machine's memory order may add to that is argued in store_layout.h and left to the tests with
 * real processes.)
 *
 * The ids are chosen so that the session that is read stands at the end of a chain of three, and
 * the others in a chain beside it: the worst place to be led astray.
 */
#define sc_store_read probed_read
#define sc_store_locate probed_locate
#define sc_store_ended probed_ended
#define sc_store_get probed_get
#define sc_store_note_access probed_note_access
#define sc_store_last_access probed_last_access
#define sc_store_scan probed_scan
#define sc_snap_location probed_snap_location
#define sc_snap_copy probed_snap_copy
#define sc_snap_head probed_snap_head
#define sc_snap_body probed_snap_body
#define sc_snap_sum probed_snap_sum

#include "../../src/store/store_layout.h"

#include <CUnit/CUnit.h>

#include "store_rig.h"

static void probe(void);

#define ld16(p) (probe(), ld16(p))
#define ld32(p) (probe(), ld32(p))
#define ld64(p) (probe(), ld64(p))
#define ld32_acquire(p) (probe(), ld32_acquire(p))
#define unchanged(s, cell, gen) (probe(), unchanged(s, cell, gen))

#include "../../src/store/store_read.c"

#undef ld16
#undef ld32
#undef ld64
#undef ld32_acquire
#undef unchanged

enum { ROUTES = 4, LONG = 700, SHORT = 300, RING = 4096 };

/* What the programs wrote under a version of x: what a record that claims to be it must say. */
typedef struct made_t {
    unsigned int version;
    apr_uint16_t flags;
    apr_uint32_t body_len;
} made_t;

typedef struct world_t {
    sc_store_t *store;
    unsigned int x;      /* the session that is read: the last one of its chain */
    unsigned int p1, p2; /* in front of it */
    unsigned int q, r;   /* in another chain */
    unsigned int version;
    unsigned int oldest; /* version of x when the read began */
    int gone;            /* x has been away meanwhile */
    int dead;            /* x has been a tombstone meanwhile */
    int away;            /* x has been a proxy meanwhile */
    int probes;          /* loads since the read began */
    int at[2];           /* loads at which to strike; -1: never */
    int program[2];
    int every; /* strike again and again; 0: not */
    int working;
    made_t made[RING];         /* by version */
    apr_uint32_t epochs[RING]; /* the epoch that came with a change number */
} world_t;

/* Reads x and judges what it gets; returns the number of loads. */
typedef int reader_t(apr_pool_t *pool);

/* The hook has no argument to carry it. */
static world_t world;

/* ---- the writer's programs ------------------------------------------------------------------- */

static void location_of(apr_uint32_t epoch, apr_uint16_t *primary, apr_uint16_t *backups)
{
    apr_uint32_t i;

    *primary = (apr_uint16_t)(1 + epoch % ROUTES);
    for (i = 0; i < SC_BACKUPS_MAX; i++) {
        backups[i] = (apr_uint16_t)(1 + (epoch * (i + 2) + i) % ROUTES);
    }
}

/* Called before a change: readers may see it the moment it is made. */
static void promise(unsigned int v, apr_uint16_t flags, apr_size_t len)
{
    made_t *made = &world.made[v % RING];

    made->version = v;
    made->flags = flags;
    made->body_len = (apr_uint32_t)len;
    world.epochs[(world.store->head->lsn + 1) % RING] = v;
}

static void write_as(unsigned int n, apr_uint16_t flags, apr_size_t len)
{
    unsigned int v = ++world.version;
    sc_record_t rec = rig_record(0, n, v);
    unsigned char body[LONG];

    rec.flags = flags;
    rec.epoch = v;
    location_of(v, &rec.primary, rec.backups);
    rig_fill(body, len > 0 ? len : LONG, n, v);
    promise(v, flags, len);
    CU_ASSERT_EQUAL(sc_store_put(world.store, &rec, body, len), APR_SUCCESS);
}

static void rewrite(unsigned int n, apr_size_t len)
{
    write_as(n, 0, len);
}

static void forget(unsigned int n)
{
    sc_id_t id = rig_id(n);

    CU_ASSERT_EQUAL(sc_store_remove(world.store, 0, &id), APR_SUCCESS);
}

static void relocate(unsigned int n)
{
    unsigned int v = ++world.version;
    sc_id_t id = rig_id(n);
    apr_uint16_t primary, backups[SC_BACKUPS_MAX];

    location_of(v, &primary, backups);
    promise(v, 0, 0);
    CU_ASSERT_EQUAL(sc_store_set_location(world.store, 0, &id, primary, backups, SC_BACKUPS_MAX, v),
                    APR_SUCCESS);
}

/* A session whose body looks like the head of x, in any cell it may come to lie in. */
static void forge(unsigned int n)
{
    sc_record_t rec = rig_record(0, n, ++world.version);
    apr_uint32_t cell, i;
    sc_id_t x = rig_id(world.x);
    unsigned char body[6 * BODY_BYTES];

    for (cell = 0; cell < world.store->ncells; cell++) {
        if ((world.store->gen[cell] & 1) != 0 &&
            memcmp(world.store->cell[cell].rec.id, &x, sizeof(x)) == 0) {
            break;
        }
    }
    for (i = 0; cell < world.store->ncells && i < sizeof(body) / BODY_BYTES; i++) {
        memcpy(body + i * BODY_BYTES, &world.store->cell[cell], BODY_BYTES);
    }
    if (cell < world.store->ncells) {
        CU_ASSERT_EQUAL(sc_store_put(world.store, &rec, body, sizeof(body)), APR_SUCCESS);
    }
}

enum { PROGRAMS = 16 };

/* Programs that change who stands where; one more starts over. */
static void work_on_the_way(int program)
{
    switch (program) {
    case 0: /* the one in front of x moves, its old head goes to another chain */
        rewrite(world.p1, SHORT);
        rewrite(world.q, SHORT);
        break;
    case 1: /* likewise the first one */
        rewrite(world.p2, LONG);
        rewrite(world.r, SHORT);
        break;
    case 2: /* both in front leave, others come, they come back */
        forget(world.p1);
        forget(world.p2);
        rewrite(world.q, LONG);
        rewrite(world.r, SHORT);
        rewrite(world.p1, SHORT);
        rewrite(world.p2, SHORT);
        break;
    case 3: /* a head in front of x becomes a body that looks like x */
        rewrite(world.p1, SHORT);
        forget(world.r);
        forge(world.r);
        forge(world.q);
        break;
    default: /* a new engine */
        CU_ASSERT_EQUAL(sc_store_recover(world.store, NULL), APR_SUCCESS);
    }
}

/* x dies and is put back by a merge. */
static void die_and_return(void)
{
    write_as(world.x, SC_REC_TOMBSTONE, 0);
    world.dead = 1;
    rewrite(world.r, LONG);
    rewrite(world.x, SHORT);
}

/* x goes to another node, moves on from there and comes back. */
static void go_away_and_return(void)
{
    write_as(world.x, SC_REC_PROXY, 0);
    world.away = 1;
    rewrite(world.r, LONG);
    relocate(world.x);
    rewrite(world.x, SHORT);
}

static void work(int program)
{
    sc_id_t x = rig_id(world.x);
    int i;

    switch (program) {
    case 0: /* x moves */
        rewrite(world.x, SHORT);
        break;
    case 1: /* x moves, its old head becomes another session's */
        rewrite(world.x, LONG);
        rewrite(world.q, SHORT);
        break;
    case 2: /* x moves, everything it lay in becomes somebody else's body */
        rewrite(world.x, SHORT);
        rewrite(world.q, LONG);
        rewrite(world.r, LONG);
        break;
    case 3: /* x moves, its old head becomes a body that looks like x */
        rewrite(world.x, SHORT);
        forget(world.r);
        forge(world.r);
        forge(world.q);
        break;
    case 4: /* another place, twice: both copies of the location are written */
        relocate(world.x);
        relocate(world.x);
        break;
    case 5: /* x goes and comes back, to the front of the chain now */
        forget(world.x);
        world.gone = 1;
        rewrite(world.q, SHORT);
        rewrite(world.x, SHORT);
        break;
    case 6:
        die_and_return();
        break;
    case 7: /* an access */
        CU_ASSERT_EQUAL(sc_store_touch(world.store, 0, &x, SECONDS(5000) + world.version, 1),
                        APR_SUCCESS);
        break;
    case 8: /* everything moves, in a circle */
        for (i = 0; i < 3; i++) {
            rewrite(world.p2, SHORT);
            rewrite(world.x, LONG);
            rewrite(world.q, SHORT);
            rewrite(world.p1, LONG);
            rewrite(world.r, SHORT);
        }
        break;
    case 9:
        go_away_and_return();
        break;
    case 10: /* x leaves for another node and stays there */
        write_as(world.x, SC_REC_PROXY, 0);
        world.away = 1;
        relocate(world.x);
        rewrite(world.q, LONG);
        break;
    default:
        work_on_the_way(program - 11);
    }
}

static void probe(void)
{
    int i;

    if (world.working) {
        return;
    }
    world.working = 1;
    for (i = 0; i < 2; i++) {
        if (world.at[i] == world.probes) {
            work(world.program[i]);
        }
    }
    if (world.every > 0 && world.probes % world.every == 0) {
        work(8);
    }
    world.probes++;
    world.working = 0;
}

/* ---- the reader ------------------------------------------------------------------------------ */

/* Chain of x: p2 -> p1 -> x. */
static void line_up(void)
{
    unsigned int n[5] = {world.x, world.p1, world.p2, world.r, world.q};
    int i;

    world.working = 1;
    for (i = 0; i < 5; i++) {
        sc_id_t id = rig_id(n[i]);

        sc_store_remove(world.store, 0, &id);
    }
    for (i = 0; i < 5; i++) {
        rewrite(n[i], SHORT);
    }
    world.oldest = world.version - 4;
    world.gone = world.dead = world.away = world.probes = 0;
    world.working = 0;
}

/* Whether all parts of a record belong together: the body's version, the location, its number. */
static void judge_record(const sc_record_t *rec)
{
    unsigned int v = (unsigned int)(rec->stamp.hlc & 0xffffffffu) - 0x05060000u;
    const made_t *made = &world.made[v % RING];
    sc_record_t whole = rig_record(0, world.x, v);
    apr_uint16_t primary, backups[SC_BACKUPS_MAX];

    CU_ASSERT(v >= world.oldest && v <= world.version && made->version == v);
    CU_ASSERT(rec->flags == made->flags && rec->body_len == made->body_len);
    CU_ASSERT(!(rec->flags & SC_REC_TOMBSTONE) || world.dead);
    CU_ASSERT(!(rec->flags & SC_REC_PROXY) || world.away);
    CU_ASSERT(memcmp(&rec->id, &whole.id, sizeof(rec->id)) == 0 && rec->context == 0);
    CU_ASSERT(rec->created == whole.created && rec->max_idle_s == whole.max_idle_s);
    CU_ASSERT(rec->stamp.node == whole.stamp.node);
    CU_ASSERT(rec->accessed == whole.accessed || rec->accessed >= SECONDS(5000) + v);
    CU_ASSERT(rec->due == whole.due || rec->due == 1);
    location_of(rec->epoch, &primary, backups);
    CU_ASSERT(rec->epoch >= v && rec->epoch <= world.version && rec->primary == primary);
    CU_ASSERT(memcmp(rec->backups, backups, sizeof(backups)) == 0);
    CU_ASSERT(rec->lsn <= world.store->head->lsn && world.epochs[rec->lsn % RING] == rec->epoch);
}

/* Only look where x is. */
static int locate_x(apr_pool_t *pool)
{
    sc_id_t id = rig_id(world.x);
    sc_record_t rec;
    apr_status_t rv;

    (void)pool;
    line_up();
    rv = probed_locate(world.store, 0, &id, &rec);
    world.working = 1;
    if (rv == APR_NOTFOUND) {
        CU_ASSERT(world.gone);
        return world.probes;
    }
    CU_ASSERT_EQUAL(rv, APR_SUCCESS);
    if (rv == APR_SUCCESS) {
        judge_record(&rec);
    }
    return world.probes;
}

/* Read x with the programs striking as told; returns the number of loads. */
static int read_x(apr_pool_t *pool)
{
    sc_id_t id = rig_id(world.x);
    unsigned int who = 0, v = 0;
    sc_stored_t got;
    apr_status_t rv;

    line_up();
    rv = probed_read(world.store, 0, &id, pool, &got);
    world.working = 1;
    if (rv == APR_NOTFOUND) {
        CU_ASSERT(world.gone);
        return world.probes;
    }
    CU_ASSERT_EQUAL(rv, APR_SUCCESS); /* two disturbances are no reason to give up */
    if (rv != APR_SUCCESS) {
        return world.probes;
    }
    judge_record(&got.rec);
    if (got.rec.flags == 0) {
        CU_ASSERT(rig_check(got.body, got.rec.body_len, &who, &v));
        CU_ASSERT(who == world.x && (got.rec.stamp.hlc & 0xffffffffu) == 0x05060000u + v);
    }
    return world.probes;
}

/* Ids in one bucket, and others in another one. */
static void choose_ids(void)
{
    sc_id_t id = rig_id(0);
    apr_uint32_t home = sc_store_bucket(world.store, 0, &id), other = NO_CELL;
    unsigned int *mine[] = {&world.p1, &world.p2}, *others[] = {&world.q, &world.r};
    unsigned int n, i = 0, k = 0;

    world.x = 0;
    for (n = 1; (i < 2 || k < 2) && n < 10000000; n++) {
        apr_uint32_t b;

        id = rig_id(n);
        b = sc_store_bucket(world.store, 0, &id);
        if (b == home && i < 2) {
            *mine[i++] = n;
        } else if (b != home && k < 2 && (other == NO_CELL || b == other)) {
            other = b;
            *others[k++] = n;
        }
    }
    CU_ASSERT_FATAL(i == 2 && k == 2);
}

static apr_pool_t *open_world(void)
{
    apr_pool_t *pool;
    apr_uint16_t k;
    int i;

    memset(&world, 0, sizeof(world));
    world.working = 1;
    world.version = 100;
    world.at[0] = world.at[1] = -1;
    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&world.store, SC_STORE_MIN, pool), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_context(world.store, "app", 3, 1, &k), APR_SUCCESS);
    for (i = 1; i <= ROUTES; i++) {
        char name = (char)('a' + i);

        CU_ASSERT_EQUAL_FATAL(sc_store_route(world.store, &name, 1, 1, &k), APR_SUCCESS);
    }
    choose_ids();
    return pool;
}

static void disturb_once(reader_t *reader)
{
    apr_pool_t *pool = open_world(), *scratch;
    int program, at, loads;

    apr_pool_create(&scratch, pool);
    loads = reader(scratch);
    CU_ASSERT(loads > 30 && loads < 1000);
    for (program = 0; program < PROGRAMS; program++) {
        world.program[0] = program;
        for (at = 0; at < loads; at++) {
            world.at[0] = at;
            reader(scratch);
            apr_pool_clear(scratch);
        }
    }
    CU_ASSERT_EQUAL(rig_audit(world.store, 0).failures, 0);
    apr_pool_destroy(pool);
}

static void disturb_twice(reader_t *reader)
{
    apr_pool_t *pool = open_world(), *scratch;
    int first, second, at, then, loads;

    apr_pool_create(&scratch, pool);
    loads = reader(scratch);
    for (first = 0; first < PROGRAMS; first++) {
        second = (first * 5 + 3) % PROGRAMS;
        world.program[0] = first;
        world.program[1] = second;
        for (at = 0; at < loads; at++) {
            /* close together all of them, further apart some */
            for (then = at + 1; then < 2 * loads; then += then < at + 12 ? 1 : 7) {
                world.at[0] = at;
                world.at[1] = then;
                reader(scratch);
                apr_pool_clear(scratch);
            }
        }
    }
    CU_ASSERT_EQUAL(rig_audit(world.store, 0).failures, 0);
    apr_pool_destroy(pool);
}

static void test_one_disturbance(void)
{
    disturb_once(read_x);
}

static void test_two_disturbances(void)
{
    disturb_twice(read_x);
}

static void test_locate_disturbed(void)
{
    disturb_once(locate_x);
    disturb_twice(locate_x);
}

/* A writer that never rests: the reader gives up after a bounded number of loads. */
static void test_endless_disturbance(void)
{
    apr_pool_t *pool = open_world();
    sc_id_t id = rig_id(world.x);
    int period, gave_up = 0, no_place = 0;

    for (period = 1; period < 200; period++) {
        sc_stored_t got;
        apr_status_t rv;

        line_up();
        world.every = period;
        rv = probed_read(world.store, 0, &id, pool, &got);
        world.every = 0;
        CU_ASSERT(rv == APR_SUCCESS || rv == APR_EAGAIN);
        gave_up += rv == APR_EAGAIN;
        CU_ASSERT(world.probes < MAX_TRIES * 200);
        CU_ASSERT_EQUAL(probed_read(world.store, 0, &id, pool, &got), APR_SUCCESS);
        line_up();
        world.every = period;
        rv = probed_locate(world.store, 0, &id, &got.rec);
        world.every = 0;
        CU_ASSERT(rv == APR_SUCCESS || rv == APR_EAGAIN);
        no_place += rv == APR_EAGAIN;
        CU_ASSERT(world.probes < MAX_TRIES * 200);
        world.working = 1;
    }
    CU_ASSERT(gave_up > 5 && gave_up < 150);
    CU_ASSERT(no_place > 5 && no_place < gave_up); /* it takes fewer loads */
    apr_pool_destroy(pool);
}

void rig_add_interleave(void *suite)
{
    CU_pSuite s = suite;

    CU_add_test(s, "a read disturbed at any load", test_one_disturbance);
    CU_add_test(s, "a read disturbed at any two loads", test_two_disturbances);
    CU_add_test(s, "a look for the place disturbed at any one and two loads",
                test_locate_disturbed);
    CU_add_test(s, "a read disturbed without end", test_endless_disturbance);
}
