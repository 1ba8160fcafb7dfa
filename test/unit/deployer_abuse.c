/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Members with the secret that are broken, or in wrong hands: what they say, and how much of it.
 * Farm 0 is the one that is spoken to; number 3 says what the test lets it say.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include <apr_strings.h>

#include "deployer_rig.h"

enum { VICTIM = 0, FOE = 3 };

static const unsigned char magic[] = {'S', 'C', 'D', '1', 1};

static void begin(sc_buf_t *b, unsigned int event)
{
    sc_buf_clear(b);
    sc_put(b, magic, sizeof(magic));
    sc_put_u8(b, event);
}

static void put_file(sc_buf_t *b, const char *name, apr_size_t len, apr_uint64_t size,
                     apr_uint64_t hlc, int seed)
{
    unsigned char sha[SC_SHA_BYTES];

    memset(sha, seed, sizeof(sha));
    sc_put_str(b, name, len);
    sc_put_u8(b, SC_DEPLOY_FILE);
    sc_put_u8(b, 0);
    sc_put_varint(b, size);
    sc_put(b, sha, sizeof(sha));
    sc_put_u64(b, hlc);
    sc_put_u32(b, 7);
}

/** Farm 0 hears a sum unlike its own, and asks. */
static void make_it_ask(rig_t *rig, sc_buf_t *b)
{
    unsigned char sum[SC_SHA_BYTES] = {9};

    farms_run(rig, apr_time_from_sec(25)); /* what was asked before is given up */
    sc_deploy_put_sum(b, sum, 0);
    farms_say(rig, FOE, VICTIM, b);
    farms_run(rig, apr_time_from_msec(100));
    CU_ASSERT(sc_farm_listening(rig->at[VICTIM].farm));
}

static void begin_abuse(rig_t *rig, sc_buf_t *b)
{
    farms_begin(rig, 1, 0);
    sc_farm_joined(rig->at[VICTIM].farm, FOE + 1, "foe");
    sc_buf_init(b, SC_DEPLOY_PACKET_MAX);
    farms_write(rig, VICTIM, "outside", "x", 5, 1);
}

/** Nothing outside of deployDir and tempDir has changed. */
static void end_abuse(rig_t *rig, sc_buf_t *b)
{
    static const char *const names[] = {"x", "a", "passwd", "watch/a"};
    size_t i;

    CU_ASSERT_EQUAL(farms_size(rig, VICTIM, "outside", "x"), 5);
    for (i = 1; i < sizeof(names) / sizeof(names[0]); i++) {
        CU_ASSERT_EQUAL(farms_size(rig, VICTIM, "outside", names[i]), -1);
        CU_ASSERT_EQUAL(farms_size(rig, VICTIM, ".", names[i]), -1);
    }
    sc_buf_free(b);
    farms_end(rig);
}

static void test_names(void)
{
    static const char *const bad[] = {"../outside/x",
                                      "/etc/passwd",
                                      "a/../../outside/x",
                                      ".htaccess",
                                      "a/.b",
                                      "a//b",
                                      "a/",
                                      "",
                                      "a\nb",
                                      "..",
                                      "."};
    apr_uint64_t hlc;
    rig_t rig;
    sc_buf_t b;
    size_t i;

    begin_abuse(&rig, &b);
    hlc = sc_farm_wall_ms(rig.at[VICTIM].farm) << 16;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_it_ask(&rig, &b);
        begin(&b, SC_DEPLOY_LIST);
        sc_put_str(&b, "", 0);
        sc_put_u8(&b, 0);
        put_file(&b, bad[i], strlen(bad[i]), 10, hlc, 1);
        farms_say(&rig, FOE, VICTIM, &b);
        farms_run(&rig, apr_time_from_msec(100));
        CU_ASSERT_EQUAL(rig.at[VICTIM].farm->count.refused, i + 1);
        CU_ASSERT(!sc_farm_listening(rig.at[VICTIM].farm));
    }
    /* out of order, and so the same twice */
    make_it_ask(&rig, &b);
    begin(&b, SC_DEPLOY_LIST);
    sc_put_str(&b, "", 0);
    sc_put_u8(&b, 0);
    put_file(&b, "b", 1, 10, hlc, 1);
    put_file(&b, "a", 1, 10, hlc, 1);
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT_EQUAL(rig.at[VICTIM].farm->count.refused, i + 1);
    CU_ASSERT_EQUAL(rig.at[VICTIM].farm->cat.wanted, 1);
    end_abuse(&rig, &b);
}

static void test_limits(void)
{
    apr_uint64_t hlc;
    char name[16];
    rig_t rig;
    sc_buf_t b;
    int i;

    begin_abuse(&rig, &b);
    hlc = sc_farm_wall_ms(rig.at[VICTIM].farm) << 16;
    make_it_ask(&rig, &b);
    begin(&b, SC_DEPLOY_LIST);
    sc_put_str(&b, "", 0);
    sc_put_u8(&b, 0);
    put_file(&b, "a1", 2, 1024 * 1024 + 1, hlc, 1); /* maxFileSize */
    put_file(&b, "a2", 2, APR_UINT64_MAX, hlc, 1);  /* and more than fits a sum */
    put_file(&b, "a3", 2, 10, hlc + ((apr_uint64_t)25 * 3600 * 1000 << 16), 1);
    put_file(&b, "a4", 2, 10, APR_UINT64_MAX, 1);
    for (i = 0; i < 5; i++) { /* maxTotalSize is four of these */
        apr_snprintf(name, sizeof(name), "b%d", i);
        put_file(&b, name, 2, 1024 * 1024, hlc, 1);
    }
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT_EQUAL(rig.at[VICTIM].farm->cat.wanted, 4);
    CU_ASSERT_EQUAL(rig.at[VICTIM].farm->count.refused, 5);
    farms_run(&rig, apr_time_from_sec(100)); /* nobody gives these */

    make_it_ask(&rig, &b);
    begin(&b, SC_DEPLOY_LIST);
    sc_put_str(&b, "", 0);
    sc_put_u8(&b, 0);
    for (i = 0; i < 200; i++) { /* maxFiles is 100 */
        apr_snprintf(name, sizeof(name), "c%03d", i);
        put_file(&b, name, 4, 10, hlc, i);
    }
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT_EQUAL(rig.at[VICTIM].farm->cat.wanted, 100);
    CU_ASSERT_EQUAL(rig.at[VICTIM].farm->count.refused, 5 + 100);
    make_it_ask(&rig, &b); /* the same again is not counted again */
    CU_ASSERT_EQUAL(rig.at[VICTIM].farm->count.refused, 5 + 100);
    end_abuse(&rig, &b);
}

static void test_removals(void)
{
    apr_uint64_t hlc;
    char name[16], last[16] = "";
    rig_t rig;
    sc_buf_t b;
    int i, k;

    begin_abuse(&rig, &b);
    farms_write(&rig, VICTIM, "deploy", "own", 10, 1);
    hlc = sc_farm_wall_ms(rig.at[VICTIM].farm) << 16;
    make_it_ask(&rig, &b);
    for (k = 0; k < 20; k++) { /* parts without an end */
        begin(&b, SC_DEPLOY_LIST);
        sc_put_str(&b, last, strlen(last));
        sc_put_u8(&b, 1);
        for (i = 0; i < 100; i++) {
            apr_snprintf(name, sizeof(name), "r%05d", k * 100 + i);
            sc_put_str(&b, name, strlen(name));
            sc_put_u8(&b, SC_DEPLOY_REMOVED);
            sc_put_u64(&b, hlc + (apr_uint64_t)(k * 100 + i));
            sc_put_u32(&b, 7);
            memcpy(last, name, sizeof(last));
        }
        if (k == 0) {
            sc_put_str(&b, "z", 0);
            b.len--;
        }
        farms_say(&rig, FOE, VICTIM, &b);
        farms_run(&rig, apr_time_from_msec(20));
        CU_ASSERT(rig.at[VICTIM].farm->cat.n <= 300);
    }
    farms_run(&rig, apr_time_from_sec(30));
    CU_ASSERT(rig.at[VICTIM].farm->cat.n <= 100);
    CU_ASSERT(rig.at[VICTIM].farm->count.refused > 0);
    /* a removal of what was never deployed touches nothing */
    make_it_ask(&rig, &b);
    begin(&b, SC_DEPLOY_LIST);
    sc_put_str(&b, "", 0);
    sc_put_u8(&b, 0);
    sc_put_str(&b, "own", 3);
    sc_put_u8(&b, SC_DEPLOY_REMOVED);
    sc_put_u64(&b, hlc + 5000);
    sc_put_u32(&b, 7);
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_sec(1));
    CU_ASSERT(farms_has(&rig, VICTIM, "own", 10, 1));
    end_abuse(&rig, &b);
}

static void test_blocks(void)
{
    unsigned char bytes[RIG_BLOCK + 1];
    const sc_farm_t *f;
    apr_uint64_t hlc;
    rig_t rig;
    sc_buf_t b;
    int i;

    memset(bytes, 1, sizeof(bytes));
    begin_abuse(&rig, &b);
    f = rig.at[VICTIM].farm;
    hlc = sc_farm_wall_ms(f) << 16;
    sc_deploy_put_block(&b, bytes, 0, bytes, 100); /* that nobody asked for */
    farms_say(&rig, FOE, VICTIM, &b);
    make_it_ask(&rig, &b);
    begin(&b, SC_DEPLOY_LIST);
    sc_put_str(&b, "", 0);
    sc_put_u8(&b, 0);
    put_file(&b, "a", 1, 3 * RIG_BLOCK, hlc, 1);
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->fetching);
    sc_deploy_put_block(&b, bytes, RIG_BLOCK, bytes, RIG_BLOCK); /* not its turn */
    farms_say(&rig, FOE, VICTIM, &b);
    sc_deploy_put_block(&b, bytes, APR_UINT64_MAX, bytes, RIG_BLOCK);
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT_EQUAL(f->fetch.size, 0);
    sc_deploy_put_block(&b, bytes, 0, bytes, RIG_BLOCK + 1); /* more than asked for */
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT_PTR_NULL(f->fetching);
    CU_ASSERT_EQUAL(f->count.refused, 1);
    CU_ASSERT_EQUAL(farms_parts(&rig, VICTIM), 0);

    make_it_ask(&rig, &b); /* bytes that are not what they should be */
    begin(&b, SC_DEPLOY_LIST);
    sc_put_str(&b, "", 0);
    sc_put_u8(&b, 0);
    put_file(&b, "a", 1, 3 * RIG_BLOCK, hlc, 1);
    farms_say(&rig, FOE, VICTIM, &b);
    for (i = 0; i < 3; i++) {
        farms_run(&rig, apr_time_from_msec(100));
        sc_deploy_put_block(&b, bytes, (apr_uint64_t)i * RIG_BLOCK, bytes, RIG_BLOCK);
        farms_say(&rig, FOE, VICTIM, &b);
    }
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT_EQUAL(farms_size(&rig, VICTIM, "deploy", "a"), -1);
    CU_ASSERT_EQUAL(f->count.failed, 2);
    end_abuse(&rig, &b);
}

static void test_questions(void)
{
    unsigned char sha[SC_SHA_BYTES];
    const sc_farm_t *f;
    rig_t rig;
    sc_buf_t b;
    int i;

    farms_begin(&rig, 1, 1);
    sc_buf_init(&b, SC_DEPLOY_PACKET_MAX);
    farms_put(&rig, VICTIM, "a", 100000, 1);
    farms_settle(&rig);
    f = rig.at[VICTIM].farm;
    sc_farm_joined(rig.at[VICTIM].farm, FOE + 1, "foe");
    memcpy(sha, f->cat.at[0]->have.sha, sizeof(sha));
    sc_deploy_put_ask_block(&b, "a", sha, 99999, 2); /* behind its end */
    farms_say(&rig, FOE, VICTIM, &b);
    sc_deploy_put_ask_block(&b, "a", sha, APR_UINT64_MAX, 2);
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_msec(100));
    sha[0] ^= 1;
    sc_deploy_put_ask_block(&b, "a", sha, 0, 2); /* another version */
    farms_say(&rig, FOE, VICTIM, &b);
    sc_deploy_put_ask_block(&b, "b", sha, 0, 2);
    farms_say(&rig, FOE, VICTIM, &b);
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT_EQUAL(f->count.bytes_out, 0);
    sha[0] ^= 1;
    for (i = 0; i < 1000; i++) { /* more than it may */
        sc_deploy_put_ask_block(&b, "a", sha, (apr_uint64_t)i, 50);
        farms_say(&rig, FOE, VICTIM, &b);
    }
    farms_run(&rig, apr_time_from_msec(100));
    CU_ASSERT(f->count.bytes_out <= 2 * SC_FARM_SERVED_EACH * 50);
    CU_ASSERT(f->count.refused >= 1000 - 2 * SC_FARM_SERVED_EACH);
    CU_ASSERT(rig.most <= SC_FARM_SERVED_EACH);
    sc_buf_free(&b);
    farms_end(&rig);
}

static void test_garbage(void)
{
    unsigned int state = 12345;
    unsigned char bytes[200];
    const sc_farm_t *f;
    rig_t rig;
    sc_buf_t b;
    int i, k;

    begin_abuse(&rig, &b);
    f = rig.at[VICTIM].farm;
    for (i = 0; i < 20000; i++) {
        state = state * 1103515245 + 12345;
        sc_buf_clear(&b);
        sc_put(&b, magic, sizeof(magic));
        sc_put_u8(&b, state >> 16 & 7);
        for (k = 0; k < (int)(state >> 20 & 127); k++) {
            state = state * 1103515245 + 12345;
            bytes[k] = (unsigned char)(state >> 16 & (state >> 28 & 1 ? 0xff : 0x0f));
        }
        sc_put(&b, bytes, (apr_size_t)k);
        farms_say(&rig, FOE, VICTIM, &b);
        if (i % 500 == 0) {
            farms_run(&rig, apr_time_from_sec(2));
        }
    }
    farms_run(&rig, apr_time_from_sec(60));
    CU_ASSERT(f->count.refused > 5000);
    CU_ASSERT(f->cat.n <= 300);
    end_abuse(&rig, &b);
}

void deployer_add_abuse(void)
{
    CU_pSuite s = CU_add_suite("deployer: abuse", NULL, NULL);

    CU_add_test(s, "names", test_names);
    CU_add_test(s, "limits", test_limits);
    CU_add_test(s, "removals", test_removals);
    CU_add_test(s, "blocks", test_blocks);
    CU_add_test(s, "questions", test_questions);
    CU_add_test(s, "garbage", test_garbage);
}
