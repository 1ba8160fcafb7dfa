/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The deployer while sessions are written: it rests after each piece of work.
 */
#include <string.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "deployer_rig.h"

static apr_uint64_t most_asked; /* bytes that a farm waited for after a block had come */

static void look_at_asked(rig_t *rig, unsigned int from, unsigned int to)
{
    const sc_farm_t *f = rig->at[to].farm;

    (void)from;
    if (f->fetching != NULL && f->asked - f->fetch.size > most_asked) {
        most_asked = f->asked - f->fetch.size;
    }
}

/** Bring a file of 16 blocks to farms 1 and 2. @return how long that took */
static apr_interval_time_t bring(rig_t *rig, int giver_busy, int fetchers_busy, unsigned int seed)
{
    const apr_size_t size = 16 * SC_FARM_SMALL_SLICE;
    apr_time_t begin;
    unsigned int i;
    int tries;

    farms_down(rig, 1);
    farms_down(rig, 2);
    farms_put(rig, 0, "a", size, seed);
    farms_settle(rig);
    most_asked = 0;
    sc_farm_busy(rig->at[0].farm, giver_busy);
    for (i = 1; i <= 2; i++) {
        farms_up(rig, i);
        sc_farm_busy(rig->at[i].farm, fetchers_busy);
    }
    begin = rig->now;
    for (tries = 0; tries < 5000 &&
                    (!farms_has(rig, 1, "a", size, seed) || !farms_has(rig, 2, "a", size, seed));
         tries++) {
        farms_run(rig, apr_time_from_msec(10));
    }
    CU_ASSERT(farms_has(rig, 1, "a", size, seed) && farms_has(rig, 2, "a", size, seed));
    return rig->now - begin;
}

static void test_sessions_first(void)
{
    const apr_uint64_t size = 16 * SC_FARM_SMALL_SLICE;
    const apr_interval_time_t least = (apr_time_t)(size * APR_USEC_PER_SEC / SC_PACE_MOST);
    apr_interval_time_t idle, busy;
    rig_t rig;
    unsigned int i;

    farms_begin(&rig, 0, 1);
    for (i = 0; i < 3; i++) {
        rig.at[i].config.block_bytes = SC_FARM_SMALL_SLICE;
        farms_up(&rig, i);
    }
    rig.on_block = look_at_asked;

    idle = bring(&rig, 0, 0, 1);
    CU_ASSERT_EQUAL(most_asked, SC_FARM_WINDOW * SC_FARM_SMALL_SLICE);

    busy = bring(&rig, 1, 0, 2);
    CU_ASSERT(busy > idle);
    CU_ASSERT(busy >= 2 * least); /* what it gives to both together */

    busy = bring(&rig, 0, 1, 3);
    CU_ASSERT(busy > idle);
    CU_ASSERT(busy >= least);
    CU_ASSERT_EQUAL(most_asked, 0); /* the next one only after a rest */
    farms_end(&rig);
}

/** A member that never says that it has got a block holds up no other one. */
static void test_stuck_member(void)
{
    rig_t rig;
    sc_farm_t *f;
    sc_buf_t b;
    apr_uint64_t out;
    int tries;

    farms_begin(&rig, 1, 1);
    f = rig.at[0].farm;
    farms_put(&rig, 0, "a", 2 * RIG_BLOCK, 1);
    farms_settle(&rig);
    sc_farm_joined(f, 2, "stuck");
    sc_farm_joined(f, 3, "good");
    rig.cut[0][1] = rig.cut[0][2] = 1; /* nobody is there: the test says what they say */
    farms_run(&rig, apr_time_from_msec(100));
    sc_farm_busy(f, 1);
    sc_buf_init(&b, SC_DEPLOY_PACKET_MAX);
    sc_deploy_put_ask_block(&b, "a", sc_catalogue_find(&f->cat, "a")->have.sha, 0, RIG_BLOCK);
    out = f->count.bytes_out;
    sc_farm_message(f, 2, b.data, b.len);
    (void)sc_farm_step(f);
    sc_farm_sent(f, 2); /* at once: the rest after it is short */
    sc_farm_message(f, 2, b.data, b.len);
    (void)sc_farm_step(f);
    CU_ASSERT_EQUAL(f->count.bytes_out, out + RIG_BLOCK);
    rig.now += 250; /* at 16 MiB a second */
    (void)sc_farm_step(f);
    CU_ASSERT_EQUAL(f->count.bytes_out, out + 2 * RIG_BLOCK);
    sc_farm_sent(f, 2);
    rig.now += apr_time_from_msec(1);
    out = f->count.bytes_out;
    sc_farm_message(f, 2, b.data, b.len);
    sc_farm_message(f, 2, b.data, b.len);
    sc_farm_message(f, 3, b.data, b.len);
    (void)sc_farm_step(f);
    (void)sc_farm_step(f);
    CU_ASSERT_EQUAL(f->count.bytes_out, out + RIG_BLOCK); /* one at a time */
    for (tries = 0; tries < 10; tries++) {
        rig.now += apr_time_from_msec(1);
        (void)sc_farm_step(f);
    }
    CU_ASSERT_EQUAL(f->count.bytes_out, out + 2 * RIG_BLOCK); /* and none more to the first one */
    CU_ASSERT(sc_farm_step(f) > rig.now);
    farms_run(&rig, apr_time_from_msec(100)); /* all of them leave */
    CU_ASSERT_EQUAL(f->count.bytes_out, out + 3 * RIG_BLOCK);
    sc_buf_free(&b);
    farms_end(&rig);
}

/** What is taken from watchDir, too, and it goes on at once when nobody writes any more. */
static void test_taking_rests(void)
{
    const apr_size_t size = 16 * SC_FARM_SMALL_SLICE;
    apr_uint64_t before;
    rig_t rig;
    sc_farm_t *f;
    int tries;

    farms_begin(&rig, 1, 1);
    f = rig.at[0].farm;
    sc_farm_busy(f, 1);
    farms_put(&rig, 0, "a", size, 1);
    for (tries = 0; tries < 1000 && f->taking == NULL; tries++) {
        farms_run(&rig, apr_time_from_msec(10));
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->taking);
    while (f->intake.size == 0) {
        (void)sc_farm_step(f);
    }
    rig.now += apr_time_from_msec(4);
    before = f->intake.size;
    (void)sc_farm_step(f);
    CU_ASSERT_EQUAL(f->intake.size, before + SC_FARM_SMALL_SLICE);
    CU_ASSERT(sc_farm_step(f) > rig.now); /* not again at once */
    CU_ASSERT_EQUAL(f->intake.size, before + SC_FARM_SMALL_SLICE);
    sc_farm_busy(f, 0);
    (void)sc_farm_step(f);
    CU_ASSERT(f->taking == NULL || f->intake.size == size);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", size, 1));
    farms_end(&rig);
}

static void test_rests(void)
{
    static sc_farm_t f;
    const apr_uint64_t n = 64 * 1024;

    CU_ASSERT_EQUAL(sc_pace_next(&f, 100, 5000, n), 0);
    sc_farm_busy(&f, 1);
    CU_ASSERT_EQUAL(sc_pace_next(&f, 5000, 5000, n), 5000 + 3906); /* 16 MiB a second */
    CU_ASSERT_EQUAL(sc_pace_next(&f, 5000, 7000, n), 7000 + 8000);
    CU_ASSERT_EQUAL(sc_pace_next(&f, 5000, 5000 + APR_USEC_PER_SEC, n),
                    5000 + APR_USEC_PER_SEC + 15625); /* 4 MiB a second */
    CU_ASSERT_EQUAL(sc_pace_next(&f, 5000, 5000, 0), 5000);
    CU_ASSERT_EQUAL(sc_pace_latest(&f, 5000, n), 5000 + 15625);
}

/** Who waits for a block waits, whatever may be asked for by now. */
static void test_waits_quietly(void)
{
    rig_t rig;
    sc_farm_t *f;
    int tries;

    farms_begin(&rig, 1, 1);
    rig.at[1].config.max_rate = 100 * RIG_BLOCK;
    farms_put(&rig, 0, "a", 50 * RIG_BLOCK, 1);
    farms_settle(&rig);
    farms_up(&rig, 1);
    f = rig.at[1].farm;
    for (tries = 0; tries < 5000 && f->fetching == NULL; tries++) {
        farms_run(&rig, 1000);
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->fetching);
    rig.lose_blocks = 2 * SC_FARM_WINDOW;
    farms_run(&rig, apr_time_from_sec(1));
    CU_ASSERT_PTR_NOT_NULL(f->fetching);
    CU_ASSERT(sc_farm_step(f) > rig.now);
    farms_run(&rig, apr_time_from_sec(40)); /* given up, and begun again */
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 1, "a", 50 * RIG_BLOCK, 1));
    farms_end(&rig);
}

void deployer_add_pace(void)
{
    CU_pSuite s = CU_add_suite("deployer: pace", NULL, NULL);

    CU_add_test(s, "rests", test_rests);
    CU_add_test(s, "sessions first", test_sessions_first);
    CU_add_test(s, "a stuck member", test_stuck_member);
    CU_add_test(s, "taking rests", test_taking_rests);
    CU_add_test(s, "waits quietly", test_waits_quietly);
}
