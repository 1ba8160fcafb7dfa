/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Order: byte for byte what Tomcat sends; what is acknowledged has been applied; numbers that wrap,
 * repeat, begin anew or never come.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "ic_rig.h"

void sc_suite_order(void);

#define NAME "Order"
#define ASYNC (SC_OPT_BYTE_MESSAGE | SC_OPT_ASYNCHRONOUS)

static ic_t *ordering(const char *attr, const char *value)
{
    sc_config_interceptor_t c = ic_conf(NAME, attr, value, NULL);

    return ic_open(&c, 1, 1);
}

/** A message of a Tomcat, member 5, that is its own text and has this number. */
static sc_packet_t numbered(apr_uint32_t number, apr_uint32_t options, unsigned char bytes[16])
{
    sc_buf_t b = {bytes, 0, 16, 16, APR_SUCCESS};
    sc_packet_t p;
    char text[12];

    snprintf(text, sizeof(text), "%u", number);
    sc_put(&b, text, strlen(text));
    sc_put_u32(&b, number);
    p = ic_packet(5, bytes, b.len, options);
    p.from.ours = 0;
    return p;
}

static apr_status_t receive(ic_t *ic, apr_uint32_t number, apr_uint32_t options)
{
    unsigned char bytes[16];
    sc_packet_t p = numbered(number, options, bytes);

    return ic_receive(ic, &p);
}

/** Whether this came up since the last look, in this order. */
static int came(ic_t *ic, const char *expected)
{
    static int seen;
    char all[4096] = "";
    int ok;
    int i;

    seen = expected[0] == '=' ? 0 : seen;
    for (i = seen; i < ic->nup; i++) {
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%.*s", i > seen ? " " : "",
                 (int)ic->up[i]->p.body_len, (const char *)ic->up[i]->p.body);
    }
    seen = ic->nup;
    expected += expected[0] == '=';
    ok = strcmp(all, expected) == 0;
    if (!ok) {
        printf("\n    expected \"%s\", got \"%s\"\n", expected, all);
    }
    return ok;
}

static void test_check(void)
{
    sc_config_interceptor_t c[2];
    apr_pool_t *pool;

    apr_pool_create(&pool, NULL);
    c[0] = ic_conf(NAME, "expire", "1000", "forwardExpired", "false", "maxQueue", "2147483647",
                   "optionFlag", "6", NULL);
    c[1] = ic_conf("TcpFailureDetector", NULL);
    CU_ASSERT_PTR_NULL(ic_check(c, 2, pool));
    c[1] = c[0];
    c[0] = ic_conf("TcpFailureDetector", NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(ic_check(c, 2, pool));
    CU_ASSERT_PTR_NOT_NULL(strstr(ic_check(c, 2, pool), "above (before) Order"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "expire", "0", NULL), "milliseconds from 1"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "maxQueue", "0", NULL), "messages from 1"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "forwardExpired", "1", NULL), "true or false"));
    apr_pool_destroy(pool);
}

static void test_vector(void)
{
    static const char name[] = "interceptor-order.bin";
    ic_t *ic = ordering(NULL, NULL);
    rig_end_t end = {0, APR_EGENERAL};
    unsigned char *frame;
    sc_packet_t p = ic_vector(name, &frame);

    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 0, IC_TEXT));
    ic_send(ic, IC_TEXT, strlen(IC_TEXT), p.options, &end);
    p.body = ic->sent[0]->p.body;
    p.body_len = ic->sent[0]->p.body_len;
    CU_ASSERT_TRUE(ic_same_frame(&p, name));
    free(frame);
    ic_close(ic);
}

/** Numbers of a destination: one after the other, anew when it has gone. */
static void test_sending(void)
{
    sc_config_interceptor_t c = ic_conf(NAME, "optionFlag", "512", NULL);
    ic_t *ic = ic_open(&c, 1, 1);
    sc_member_t m = ic_member(2);
    rig_end_t end = {0, APR_EGENERAL};
    int i;

    sc_pass_member_added(&ic->link[ic->nlinks - 1], &m);
    for (i = 0; i < 3; i++) {
        ic_send(ic, "x", 1, IC_SYNC | 512, &end);
        CU_ASSERT_EQUAL(ic->sent[i]->p.body_len, 5);
        CU_ASSERT_EQUAL(ic->sent[i]->p.body[4], i + 1);
    }
    ic_send(ic, "x", 1, IC_SYNC, &end);
    CU_ASSERT_EQUAL(ic->sent[3]->p.body_len, 1);
    sc_pass_member_gone(&ic->link[ic->nlinks - 1], &m, 0);
    sc_pass_member_added(&ic->link[ic->nlinks - 1], &m);
    ic_send(ic, "x", 1, IC_SYNC | 512, &end);
    CU_ASSERT_EQUAL(ic->sent[4]->p.body[4], 1);
    ic_end(ic, 4, APR_TIMEUP);
    CU_ASSERT(end.calls == 1 && end.rv == APR_TIMEUP);
    ic_close(ic);
}

/* ---- the order of messages that do not ask to be acknowledged ---------------------------------
 */

static void test_order(void)
{
    ic_t *ic = ordering(NULL, NULL);

    CU_ASSERT_EQUAL(receive(ic, 1, ASYNC), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, "=1"));
    CU_ASSERT_EQUAL(receive(ic, 4, ASYNC), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive(ic, 3, ASYNC), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive(ic, 6, ASYNC), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, ""));
    CU_ASSERT_EQUAL(receive(ic, 2, ASYNC), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, "2 3 4"));
    CU_ASSERT_EQUAL(receive(ic, 5, ASYNC), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, "5 6"));
    ic_close(ic);
}

static void test_wrap(void)
{
    ic_t *ic = ordering(NULL, NULL);
    apr_uint32_t n = 0x7ffffffe;

    receive(ic, n, ASYNC);
    CU_ASSERT_TRUE(came(ic, "=2147483646"));
    receive(ic, n + 2, ASYNC); /* 0x80000000: negative in Java */
    receive(ic, n + 1, ASYNC);
    CU_ASSERT_TRUE(came(ic, "2147483647 2147483648"));
    ic_close(ic);
    ic = ordering(NULL, NULL);
    receive(ic, 0xfffffffe, ASYNC);
    receive(ic, 1, ASYNC);
    receive(ic, 0, ASYNC);
    CU_ASSERT_TRUE(came(ic, "=4294967294"));
    receive(ic, 0xffffffff, ASYNC);
    CU_ASSERT_TRUE(came(ic, "4294967295 0 1"));
    receive(ic, 2, ASYNC);
    CU_ASSERT_TRUE(came(ic, "2"));
    ic_close(ic);
}

static void test_expire(void)
{
    ic_t *ic = ordering("expire", "1000");

    receive(ic, 1, ASYNC);
    receive(ic, 3, ASYNC);
    ic_run(ic, RIG_MS(600));
    receive(ic, 4, ASYNC);
    receive(ic, 7, ASYNC);
    ic_run(ic, RIG_MS(399));
    CU_ASSERT_TRUE(came(ic, "=1"));
    ic_run(ic, RIG_MS(1)); /* no message comes: the timer does it */
    CU_ASSERT_TRUE(came(ic, "3 4"));
    ic_run(ic, RIG_MS(600));
    CU_ASSERT_TRUE(came(ic, "7"));
    CU_ASSERT_EQUAL(ic->board.count.held_expired, 2); /* 4 had its turn behind 3 */
    receive(ic, 2, ASYNC);                            /* late, but not lost */
    receive(ic, 8, ASYNC);
    CU_ASSERT_TRUE(came(ic, "2 8"));
    CU_ASSERT_EQUAL(sc_timers_next(ic->timers), -1);
    ic_close(ic);

    ic = ordering("forwardExpired", "false");
    receive(ic, 1, ASYNC);
    receive(ic, 3, ASYNC);
    receive(ic, 5, ASYNC);
    ic_run(ic, RIG_MS(3000));
    CU_ASSERT_TRUE(came(ic, "=1"));
    receive(ic, 6, ASYNC);
    CU_ASSERT_TRUE(came(ic, "6"));
    CU_ASSERT_EQUAL(ic->board.count.held_expired, 2);
    ic_close(ic);
}

static void test_max_queue(void)
{
    ic_t *ic = ordering("maxQueue", "3");
    int i;

    receive(ic, 1, ASYNC);
    for (i = 0; i < 3; i++) {
        receive(ic, (apr_uint32_t)(3 + 2 * i), ASYNC);
    }
    CU_ASSERT_TRUE(came(ic, "=1"));
    receive(ic, 6, ASYNC); /* the fourth: nothing waits longer for what is before it */
    CU_ASSERT_TRUE(came(ic, "3 5 6 7"));
    receive(ic, 8, ASYNC);
    CU_ASSERT_TRUE(came(ic, "8"));
    ic_close(ic);
}

static void test_gone(void)
{
    ic_t *ic = ordering(NULL, NULL);
    sc_member_t m = ic_member(5);

    sc_pass_member_added(&ic->link[ic->nlinks - 1], &m);
    receive(ic, 41, ASYNC); /* it may have counted before we knew it */
    receive(ic, 43, ASYNC);
    CU_ASSERT_TRUE(came(ic, "=41"));
    sc_pass_member_gone(&ic->link[ic->nlinks - 1], &m, 0);
    CU_ASSERT_TRUE(came(ic, "43"));
    CU_ASSERT(ic->gone == 1 && ic->up_at_gone == 2); /* while it was still there */
    CU_ASSERT_EQUAL(sc_timers_next(ic->timers) < 0, 0);
    ic_run(ic, RIG_MS(3000));
    sc_pass_member_added(&ic->link[ic->nlinks - 1], &m);
    receive(ic, 1, ASYNC);
    receive(ic, 2, ASYNC);
    CU_ASSERT_TRUE(came(ic, "1 2"));
    /* only it has lost sight of us: it counts anew, we do not know */
    receive(ic, 1, ASYNC);
    receive(ic, 2, ASYNC);
    receive(ic, 3, ASYNC);
    CU_ASSERT_TRUE(came(ic, "1 2 3"));
    receive(ic, 5, ASYNC);
    receive(ic, 1, ASYNC); /* and again, with something held */
    CU_ASSERT_TRUE(came(ic, "5 1"));
    /* the other way round, from far ahead */
    receive(ic, 100000, ASYNC);
    ic_run(ic, RIG_MS(3000));
    receive(ic, 2, ASYNC);
    receive(ic, 4, ASYNC);
    receive(ic, 3, ASYNC);
    CU_ASSERT_TRUE(came(ic, "100000 2 3 4"));
    ic_close(ic);
}

/* ---- acknowledged = applied ------------------------------------------------------------------ */

/** A sender with several connections: what waits is not acknowledged, and its repetition is. */
static void test_answers(void)
{
    ic_t *ic = ordering(NULL, NULL);
    unsigned char bytes[16];
    unsigned char other[16];
    sc_packet_t p;

    receive(ic, 1, IC_SYNC);
    p = numbered(3, IC_SYNC, bytes);
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS); /* still */
    CU_ASSERT_TRUE(came(ic, "=1"));
    CU_ASSERT_EQUAL(receive(ic, 2, IC_SYNC), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, "2 3"));
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS); /* applied meanwhile, and not twice */
    CU_ASSERT_TRUE(came(ic, ""));
    /* what could not be applied is delivered again */
    ic->up_rv = APR_EINVAL;
    p = numbered(4, IC_SYNC, bytes);
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_EINVAL);
    ic->up_rv = APR_SUCCESS;
    CU_ASSERT_EQUAL(receive(ic, 5, IC_SYNC), APR_SUCCESS); /* nobody waits for it */
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, "4 5 4"));
    /* a repeated one that is not acknowledged either */
    p = numbered(8, ASYNC, other);
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    ic_run(ic, RIG_MS(3000));
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, "8"));
    ic_close(ic);
}

/** Messages of a member of ours come in order on each of its connections: what is missing before
 * one was lost, or comes later on another lane. */
static void test_ours(void)
{
    ic_t *ic = ordering(NULL, NULL);
    unsigned char bytes[16];
    sc_packet_t p;

    receive(ic, 1, ASYNC);
    receive(ic, 3, ASYNC);
    receive(ic, 5, ASYNC);
    CU_ASSERT_TRUE(came(ic, "=1"));
    p = numbered(4, IC_SYNC, bytes);
    p.from.ours = 1;
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, "3 4 5"));
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    p = numbered(9, IC_SYNC, bytes);
    p.from.ours = 1;
    ic->up_rv = APR_EINVAL;
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_EINVAL); /* the answer is that of the processing */
    ic->up_rv = APR_SUCCESS;
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_TRUE(came(ic, "9 9"));
    ic_close(ic);
}

/** A file's message hangs; sessions' messages that were sent after it wait no more for it than they
 *  do below, and none comes twice because it is late. */
static void test_overtaken(void)
{
    ic_t *ic = ordering(NULL, NULL);
    unsigned char bytes[16];
    unsigned char late[16];
    apr_uint32_t n;
    sc_packet_t file;
    sc_packet_t p;

    file = numbered(2, IC_SYNC, late);
    file.from.ours = 1;
    for (n = 1; n <= 300; n++) {
        if (n == 2) {
            continue;
        }
        p = numbered(n, ASYNC, bytes);
        p.from.ours = 1;
        CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
        CU_ASSERT_EQUAL(ic->nup, n > 2 ? (int)n - 1 : 1);
    }
    CU_ASSERT_EQUAL(ic_receive(ic, &file), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 299, "2"));
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS); /* 300, repeated */
    CU_ASSERT_EQUAL(ic_receive(ic, &file), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 300);
    /* a datagram has no place in a line: it waits, and nothing waits for it */
    p = numbered(302, ASYNC | SC_OPT_UDP, bytes);
    p.from.ours = 1;
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 300);
    p = numbered(304, ASYNC, late);
    p.from.ours = 1;
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 300, "302") && ic_up_is(ic, 301, "304"));
    CU_ASSERT_EQUAL(ic->board.count.held_expired, 0);
    ic_run(ic, RIG_MS(3000));
    ic_close(ic);
}

/* ---- strangers ------------------------------------------------------------------------------- */

static void test_short(void)
{
    ic_t *ic = ordering(NULL, NULL);
    int i;

    for (i = 0; i < 4; i++) {
        sc_packet_t p = ic_packet(2, "abcd", (apr_size_t)i, IC_SYNC);

        CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(ic->nup, 0);
    CU_ASSERT_EQUAL(ic->board.count.held_refused, 4);
    CU_ASSERT_PTR_NULL(strstr(strstr(ic->log, "SC0496") + 1, "SC0496"));
    ic_close(ic);
}

/** Numbers that wait for nothing, from many: what is held stays bounded, a member is not disturbed.
 */
static void test_flood(void)
{
    ic_t *ic = ordering(NULL, NULL);
    sc_member_t member = ic_member(5);
    unsigned char *body = calloc(1, 20000);
    int i;

    sc_pass_member_added(&ic->link[ic->nlinks - 1], &member);
    receive(ic, 1, ASYNC);
    receive(ic, 3, ASYNC);
    CU_ASSERT_TRUE(came(ic, "=1"));
    for (i = 0; i < 3500; i++) {
        sc_packet_t p = ic_packet(i % 3 ? 9 : 100 + i, body, 20000, ASYNC);

        body[19996] = (unsigned char)(i >> 8);
        body[19998] = (unsigned char)i;
        (void)ic_receive(ic, &p);
        if (ic->nup > 3800) {
            break;
        }
    }
    i = ic->nup;
    receive(ic, 2, ASYNC);
    CU_ASSERT_EQUAL(ic->nup, i + 2);
    CU_ASSERT_TRUE(ic_up_is(ic, i, "2") && ic_up_is(ic, i + 1, "3"));
    ic_run(ic, RIG_MS(3000));
    CU_ASSERT_EQUAL(sc_timers_next(ic->timers), -1);
    free(body);
    ic_close(ic);
}

/** All orders of a few numbers, some repeated: each comes up once, in order. */
static void test_random(void)
{
    apr_uint32_t x = 7;
    int round;

    for (round = 0; round < 300; round++) {
        ic_t *ic = ordering(NULL, NULL);
        unsigned char bytes[9][16];
        sc_packet_t p[9];
        int left[16];
        int n = 0;
        int i;

        for (i = 0; i < 9; i++) {
            p[i] = numbered(0xfffffffcu + (apr_uint32_t)i, ASYNC, bytes[i]);
        }
        CU_ASSERT_EQUAL(ic_receive(ic, &p[0]), APR_SUCCESS);
        for (i = 1; i < 9; i++) {
            left[n++] = i;
        }
        for (i = 0; i < 5; i++) {
            x = x * 1103515245u + 12345u;
            left[n++] = (int)(1 + (x >> 16) % 8);
        }
        while (n > 0) {
            x = x * 1103515245u + 12345u;
            i = (int)((x >> 16) % (apr_uint32_t)n);
            CU_ASSERT_EQUAL(ic_receive(ic, &p[left[i]]), APR_SUCCESS);
            left[i] = left[--n];
        }
        CU_ASSERT_TRUE(came(ic, "=4294967292 4294967293 4294967294 4294967295 0 1 2 3 4"));
        ic_close(ic);
    }
}

void sc_suite_order(void)
{
    CU_pSuite s = CU_add_suite("order", NULL, NULL);

    CU_add_test(s, "what a configuration may say", test_check);
    CU_add_test(s, "captured frame", test_vector);
    CU_add_test(s, "numbers of a destination", test_sending);
    CU_add_test(s, "in order", test_order);
    CU_add_test(s, "numbers that wrap around", test_wrap);
    CU_add_test(s, "expiry", test_expire);
    CU_add_test(s, "maxQueue", test_max_queue);
    CU_add_test(s, "gone and back, counting anew", test_gone);
    CU_add_test(s, "answers", test_answers);
    CU_add_test(s, "a member of ours", test_ours);
    CU_add_test(s, "overtaken on another lane", test_overtaken);
    CU_add_test(s, "too short", test_short);
    CU_add_test(s, "numbers that wait for nothing", test_flood);
    CU_add_test(s, "random orders", test_random);
}
