/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * TwoPhaseCommit: byte for byte what Tomcat sends; what is acknowledged has been applied; and
 * messages that nobody will ever confirm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "ic_rig.h"

void sc_suite_two_phase_commit(void);

#define NAME "TwoPhaseCommit"

static ic_t *committing(void)
{
    sc_config_interceptor_t c = ic_conf(NAME, NULL);

    return ic_open(&c, 1, 1);
}

/** The confirmation of a message, with an id of its own. */
static sc_packet_t confirmation(const sc_packet_t *of, unsigned char bytes[48])
{
    static unsigned char *frame;
    sc_packet_t captured = ic_vector("interceptor-2pc-confirm.bin", &frame);
    sc_packet_t c = ic_packet(2, bytes, 48, of->options);

    memcpy(bytes, captured.body, 48);
    memcpy(bytes + 16, &of->id, 16);
    c.from = of->from;
    free(frame);
    return c;
}

static void test_check(void)
{
    sc_config_interceptor_t c[2];
    apr_pool_t *pool;

    apr_pool_create(&pool, NULL);
    c[0] = ic_conf(NAME, "expire", "1000", "optionFlag", "6", NULL);
    c[1] = ic_conf("TcpFailureDetector", NULL);
    CU_ASSERT_PTR_NULL(ic_check(c, 2, pool));
    c[1] = c[0];
    c[0] = ic_conf("TcpFailureDetector", NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(ic_check(c, 2, pool));
    CU_ASSERT_PTR_NOT_NULL(strstr(ic_check(c, 2, pool), "above (before) TwoPhaseCommit"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "deepclone", "true", NULL), "always a copy"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "expire", "0", NULL), "milliseconds from 1"));
    apr_pool_destroy(pool);
}

static void test_vectors(void)
{
    ic_t *ic = committing();
    rig_end_t end = {0, APR_EGENERAL};
    unsigned char *frame[2];
    sc_packet_t m = ic_vector("interceptor-2pc-message.bin", &frame[0]);
    sc_packet_t c = ic_vector("interceptor-2pc-confirm.bin", &frame[1]);

    CU_ASSERT_EQUAL(ic_receive(ic, &m), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 0);
    CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 0, IC_TEXT));
    CU_ASSERT_EQUAL(memcmp(&ic->up[0]->p.id, &m.id, sizeof(m.id)), 0);
    ic_send(ic, IC_TEXT, strlen(IC_TEXT), m.options, &end);
    ic_end(ic, 0, APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 2);
    CU_ASSERT_EQUAL(ic->sent[1]->p.options, c.options);
    CU_ASSERT_NOT_EQUAL(memcmp(&ic->sent[0]->p.id, &ic->sent[1]->p.id, sizeof(m.id)), 0);
    m.body = ic->sent[0]->p.body;
    m.body_len = ic->sent[0]->p.body_len;
    CU_ASSERT_TRUE(ic_same_frame(&m, "interceptor-2pc-message.bin"));
    /* with the id of the captured message in it */
    CU_ASSERT_EQUAL(memcmp(ic->sent[1]->p.body + 16, &ic->sent[0]->p.id, sizeof(m.id)), 0);
    memcpy((unsigned char *)(apr_uintptr_t)ic->sent[1]->p.body + 16, &m.id, sizeof(m.id));
    c.body = ic->sent[1]->p.body;
    c.body_len = ic->sent[1]->p.body_len;
    CU_ASSERT_TRUE(ic_same_frame(&c, "interceptor-2pc-confirm.bin"));
    free(frame[0]);
    free(frame[1]);
    ic_close(ic);
}

/** One end for both, in order, and none before both have ended. */
static void test_ends(void)
{
    ic_t *ic = committing();
    sc_member_t m = ic_member(2);
    rig_end_t end[4];

    memset(end, 0, sizeof(end));
    ic_send(ic, "one", 3, IC_SYNC, &end[0]);
    ic_send(ic, "two", 3, IC_SYNC, &end[1]);
    CU_ASSERT_EQUAL(ic->nsent, 1);
    ic_end(ic, 0, APR_SUCCESS);
    CU_ASSERT(end[0].calls == 0 && ic->nsent == 2);
    ic_end(ic, 1, APR_EGENERAL); /* held, but not applied */
    CU_ASSERT(end[0].calls == 1 && end[0].rv == APR_EGENERAL);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 3);
    CU_ASSERT_STRING_EQUAL((const char *)ic->sent[2]->p.body, "two");
    ic_end(ic, 2, APR_TIMEUP); /* nothing to confirm */
    CU_ASSERT(end[1].calls == 1 && end[1].rv == APR_TIMEUP);
    CU_ASSERT_EQUAL(ic->nsent, 3);
    ic_send(ic, "three", 5, IC_SYNC, &end[2]);
    ic_end(ic, 3, APR_SUCCESS);
    sc_pass_member_gone(&ic->link[ic->nlinks - 1], &m, 0);
    ic_end(ic, 4, APR_SUCCESS); /* its last packet was on its way */
    CU_ASSERT(end[2].calls == 1 && end[2].rv == APR_SUCCESS);
    ic_send(ic, "four", 4, IC_SYNC, &end[3]);
    ic_close(ic);
    CU_ASSERT(end[3].calls == 1 && end[3].rv == APR_ECONNABORTED);
}

/** A file that hangs, as a message or as its confirmation, holds no session up. */
static void test_lanes(void)
{
    ic_t *ic = committing();
    rig_end_t bulk = {0, APR_EGENERAL};
    rig_end_t end[2] = {{0, APR_EGENERAL}, {0, APR_EGENERAL}};

    ic_send_on(ic, SC_LANE_BULK, "file", 4, IC_SYNC, &bulk);
    ic_send(ic, "one", 3, IC_SYNC, &end[0]);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 2);
    CU_ASSERT_EQUAL(ic->sent[1]->lane, SC_LANE_DATA);
    ic_end(ic, 1, APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 3);
    CU_ASSERT_EQUAL(ic->sent[2]->lane, SC_LANE_DATA);
    ic_end(ic, 2, APR_SUCCESS);
    CU_ASSERT(end[0].calls == 1 && end[0].rv == APR_SUCCESS && bulk.calls == 0);
    ic_end(ic, 0, APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 4);
    CU_ASSERT_EQUAL(ic->sent[3]->lane, SC_LANE_BULK);
    ic_send(ic, "two", 3, IC_SYNC, &end[1]);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 5);
    ic_end(ic, 4, APR_SUCCESS);
    ic_end(ic, 5, APR_SUCCESS);
    CU_ASSERT(end[1].calls == 1 && end[1].rv == APR_SUCCESS && bulk.calls == 0);
    ic_end(ic, 3, APR_SUCCESS);
    CU_ASSERT(bulk.calls == 1 && bulk.rv == APR_SUCCESS);
    ic_close(ic);
}

static void test_there(void)
{
    sc_config_interceptor_t c = ic_conf(NAME, "optionFlag", "512", NULL);
    ic_t *from = ic_open(&c, 1, 1);
    ic_t *to = ic_open(&c, 1, 2);
    rig_end_t end[3];

    memset(end, 0, sizeof(end));
    ic_send(from, "one", 3, IC_SYNC | 512, &end[0]);
    ic_send(from, "", 0, IC_SYNC | 512, &end[1]);
    ic_send(from, "flagless", 8, IC_SYNC, &end[2]);
    ic_carry(from, to);
    CU_ASSERT(end[0].calls == 1 && end[1].calls == 1 && end[2].calls == 1);
    CU_ASSERT(end[0].rv == APR_SUCCESS && end[1].rv == APR_SUCCESS && end[2].rv == APR_SUCCESS);
    CU_ASSERT_EQUAL(from->nsent, 5);
    CU_ASSERT_EQUAL(to->nup, 3);
    to->up_rv = APR_EINVAL;
    ic_send(from, "refused", 7, IC_SYNC | 512, &end[0]);
    ic_carry(from, to);
    CU_ASSERT(end[0].calls == 2 && end[0].rv == APR_EGENERAL);
    ic_close(from);
    ic_close(to);
}

/* ---- acknowledged = applied ------------------------------------------------------------------ */

static void test_answers(void)
{
    ic_t *ic = committing();
    sc_packet_t m = ic_packet(2, "text", 4, IC_SYNC);
    unsigned char bytes[48];
    unsigned char other[48];
    sc_packet_t c = confirmation(&m, bytes);
    sc_packet_t again = confirmation(&m, other);

    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &c), APR_SUCCESS); /* of nothing */
    CU_ASSERT_EQUAL(ic_receive(ic, &m), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic_receive(ic, &m), APR_SUCCESS); /* sent again */
    ic->up_rv = APR_EINVAL;
    CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_EINVAL);
    ic->up_rv = APR_SUCCESS;
    CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_SUCCESS); /* the next try */
    CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_SUCCESS); /* its acknowledgement got lost */
    CU_ASSERT_EQUAL(ic->nup, 2);
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &again), APR_SUCCESS); /* that is another one */
    CU_ASSERT_EQUAL(ic->board.count.held_refused, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(ic->log, "SC0497"));
    /* another sender's of the same id confirms nothing */
    m = ic_packet(2, "text", 4, IC_SYNC);
    c = confirmation(&m, bytes);
    c.from = ic_member(3);
    CU_ASSERT_EQUAL(ic_receive(ic, &m), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &c), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 2);
    ic_close(ic);
}

static void test_expire(void)
{
    sc_config_interceptor_t conf = ic_conf(NAME, "expire", "1000", NULL);
    ic_t *ic = ic_open(&conf, 1, 1);
    sc_packet_t a = ic_packet(2, "a", 1, IC_SYNC);
    sc_packet_t b = ic_packet(2, "b", 1, IC_SYNC);
    unsigned char bytes[48];
    sc_packet_t c;

    CU_ASSERT_EQUAL(ic_receive(ic, &a), APR_SUCCESS);
    ic_run(ic, RIG_MS(500));
    CU_ASSERT_EQUAL(ic_receive(ic, &b), APR_SUCCESS);
    ic_run(ic, RIG_MS(500));
    CU_ASSERT_EQUAL(ic->board.count.held_expired, 1);
    c = confirmation(&a, bytes);
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &c), APR_SUCCESS);
    c = confirmation(&b, bytes);
    CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 0, "b"));
    ic_run(ic, RIG_MS(5000));
    CU_ASSERT_EQUAL(ic->board.count.held_expired, 1);
    CU_ASSERT_EQUAL(sc_timers_next(ic->timers), -1);
    ic_close(ic);
}

/** A session's and a file's message come mixed, each as large as may be. */
static void test_two_lanes_of_a_sender(void)
{
    ic_t *ic = committing();
    apr_size_t size = ic->config.receiver.max_frame;
    unsigned char *body = calloc(1, size);
    sc_packet_t m[2] = {ic_packet(2, body, size, IC_SYNC), ic_packet(2, body, size, IC_SYNC)};
    unsigned char bytes[48];
    int i;

    CU_ASSERT_EQUAL(ic_receive(ic, &m[0]), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic_receive(ic, &m[1]), APR_SUCCESS);
    for (i = 1; i >= 0; i--) {
        sc_packet_t c = confirmation(&m[i], bytes);

        CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(ic->nup, 2);
    CU_ASSERT_EQUAL(ic->board.count.held_refused, 0);
    free(body);
    ic_close(ic);
}

/* ---- strangers ------------------------------------------------------------------------------- */

/** Messages that are never confirmed: a member's one gets through, and they go by themselves. */
static void test_flood(void)
{
    ic_t *ic = committing();
    sc_member_t member = ic_member(2);
    sc_packet_t m = ic_packet(2, "text", 4, IC_SYNC);
    unsigned char *body = calloc(1, 100000);
    unsigned char bytes[48];
    sc_packet_t c;
    apr_uint64_t before;
    int refused = 0;
    int i;

    sc_pass_member_added(&ic->link[ic->nlinks - 1], &member);
    CU_ASSERT_EQUAL(ic_receive(ic, &m), APR_SUCCESS);
    for (i = 0; i < 3000; i++) {
        sc_packet_t p = ic_packet(100 + i % 500, body, 100000, IC_SYNC);

        refused += ic_receive(ic, &p) != APR_SUCCESS;
    }
    CU_ASSERT(refused > 0);
    CU_ASSERT(ic->board.count.held_refused >= (apr_uint64_t)refused);
    c = confirmation(&m, bytes);
    CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 0, "text"));
    /* a member that never confirms: its older ones make way */
    for (i = 0; i < 1000; i++) {
        m = ic_packet(2, body, i % 100 * 1000, IC_SYNC);
        CU_ASSERT_EQUAL(ic_receive(ic, &m), APR_SUCCESS);
    }
    c = confirmation(&m, bytes);
    CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_SUCCESS);
    before = ic->board.count.held_refused;
    for (i = 0; i < 1000; i++) { /* small ones have a bound in number */
        m = ic_packet(2, body, 1, IC_SYNC);
        CU_ASSERT_EQUAL(ic_receive(ic, &m), APR_SUCCESS);
    }
    CU_ASSERT(ic->board.count.held_refused - before >= 1000 - 256);
    /* larger than anything that may be held */
    m = ic_packet(2, body, 100000, IC_SYNC);
    free(body);
    body = calloc(1, 3 * ic->config.receiver.max_frame);
    m.body = body;
    m.body_len = 3 * ic->config.receiver.max_frame;
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &m), APR_SUCCESS);
    ic_run(ic, apr_time_from_sec(61));
    CU_ASSERT_EQUAL(sc_timers_next(ic->timers), -1);
    free(body);
    ic_close(ic);
}

/** What only looks like a confirmation is a message. */
static void test_lookalikes(void)
{
    ic_t *ic = committing();
    sc_packet_t m = ic_packet(2, "text", 4, IC_SYNC);
    unsigned char bytes[48];
    sc_packet_t c = confirmation(&m, bytes);
    int i;

    CU_ASSERT_EQUAL(ic_receive(ic, &m), APR_SUCCESS);
    for (i = 0; i < 48; i++) {
        sc_packet_t p = confirmation(&m, bytes);

        bytes[i] ^= 0x80;
        if (i < 16 || i >= 32) {
            CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS); /* held */
        } else {
            CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS); /* of an id that is not */
        }
    }
    CU_ASSERT_EQUAL(ic->nup, 0);
    c = confirmation(&m, bytes);
    c.body_len--;
    CU_ASSERT_EQUAL(ic_receive(ic, &c), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 0);
    ic_close(ic);
}

void sc_suite_two_phase_commit(void)
{
    CU_pSuite s = CU_add_suite("two_phase_commit", NULL, NULL);

    CU_add_test(s, "what a configuration may say", test_check);
    CU_add_test(s, "captured frames", test_vectors);
    CU_add_test(s, "one end for both", test_ends);
    CU_add_test(s, "a file that hangs", test_lanes);
    CU_add_test(s, "from one to the other", test_there);
    CU_add_test(s, "answers", test_answers);
    CU_add_test(s, "expiry", test_expire);
    CU_add_test(s, "two lanes of a sender", test_two_lanes_of_a_sender);
    CU_add_test(s, "never confirmed", test_flood);
    CU_add_test(s, "what looks like a confirmation", test_lookalikes);
}
