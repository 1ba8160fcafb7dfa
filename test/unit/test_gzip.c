/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Gzip: byte for byte what Tomcat sends, and streams that nobody sends in good faith.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>
#include <zlib.h>

#include "ic_rig.h"

void sc_suite_gzip(void);

#define NAME "Gzip"
#define FLAG 0x100

static ic_t *zipping(void)
{
    sc_config_interceptor_t c = ic_conf(NAME, NULL);

    return ic_open(&c, 1, 1);
}

static void test_check(void)
{
    sc_config_interceptor_t c = ic_conf(NAME, "optionFlag", "512", "compressionMinSize", "1000",
                                        "statsEnabled", "true", "interval", "100", NULL);
    apr_pool_t *pool;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_PTR_NULL(ic_check(&c, 1, pool));
    c = ic_conf(NAME, NULL);
    CU_ASSERT_PTR_NULL(ic_check(&c, 1, pool));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "optionFlag", "0", NULL), "from 1"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "optionFlag", "258", NULL), "128 or higher"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "level", "9", NULL), "it has optionFlag"));
    apr_pool_destroy(pool);
}

static void test_vector(void)
{
    static const char name[] = "interceptor-gzip.bin";
    ic_t *ic = zipping();
    rig_end_t end = {0, APR_EGENERAL};
    unsigned char *frame;
    sc_packet_t p = ic_vector(name, &frame);
    sc_packet_t q = p;

    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 0, IC_TEXT));
    ic_send(ic, IC_TEXT, strlen(IC_TEXT), p.options & ~(apr_uint32_t)FLAG, &end);
    q.options = ic->sent[0]->p.options;
    q.body = ic->sent[0]->p.body;
    q.body_len = ic->sent[0]->p.body_len;
    CU_ASSERT_TRUE(ic_same_frame(&q, name));
    free(frame);
    ic_close(ic);
}

static void test_round_trip(void)
{
    static unsigned char body[500000];
    ic_t *from = zipping();
    ic_t *to = zipping();
    unsigned int x = 1;
    apr_size_t n;
    int kind;

    for (kind = 0; kind < 2; kind++) {
        for (n = 0; n < sizeof(body); n++) {
            x = x * 1103515245u + 12345u;
            body[n] = kind == 0 ? "abcdefgh"[n % 8] : (unsigned char)(x >> 23); /* noise */
        }
        for (n = 0; n <= sizeof(body); n = n < 20 ? n + 1 : n * 4) {
            rig_end_t end = {0, APR_EGENERAL};
            int i = from->nsent;

            ic_send(from, body, n, IC_SYNC, &end);
            CU_ASSERT(from->sent[i]->p.body_len <= n + 64);
            if (kind == 0 && n > 1000) {
                CU_ASSERT(from->sent[i]->p.body_len < n / 10);
            }
            if (kind == 1 && n > 100000) { /* would only get larger: as it is, and said so */
                CU_ASSERT_EQUAL(from->sent[i]->p.body_len, n);
                CU_ASSERT_EQUAL(from->sent[i]->p.options, IC_SYNC);
            }
            ic_carry(from, to);
            CU_ASSERT(end.calls == 1 && end.rv == APR_SUCCESS);
            CU_ASSERT_EQUAL_FATAL(to->nup, i + 1);
            CU_ASSERT_EQUAL_FATAL(to->up[i]->p.body_len, n);
            CU_ASSERT_EQUAL(memcmp(to->up[i]->p.body, body, n), 0);
        }
    }
    ic_close(from);
    ic_close(to);
}

static void test_min_size(void)
{
    sc_config_interceptor_t c =
        ic_conf(NAME, "compressionMinSize", "43", "statsEnabled", "true", "interval", "2", NULL);
    ic_t *ic = ic_open(&c, 1, 1);
    rig_end_t end = {0, APR_EGENERAL};

    ic_send(ic, IC_TEXT, 43, IC_SYNC, &end);
    CU_ASSERT_EQUAL(ic->sent[0]->p.options, IC_SYNC);
    CU_ASSERT_EQUAL(ic->sent[0]->p.body_len, 43);
    ic_send(ic, IC_TEXT ".", 44, IC_SYNC, &end);
    CU_ASSERT_EQUAL(ic->sent[1]->p.options, IC_SYNC | FLAG);
    CU_ASSERT_PTR_NULL(strstr(ic->log, "SC0493"));
    ic_send(ic, IC_TEXT ".", 44, IC_SYNC, &end);
    CU_ASSERT_PTR_NOT_NULL(strstr(ic->log, "SC0493: Gzip: 2 messages sent, 88 bytes made"));
    /* without the bit it is none, whatever it looks like */
    ic->sent[1]->p.options = IC_SYNC;
    CU_ASSERT_EQUAL(ic_receive(ic, &ic->sent[1]->p), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->up[0]->p.body_len, ic->sent[1]->p.body_len);
    ic_close(ic);
}

/* ---- strangers ------------------------------------------------------------------------------- */

/** A gzip stream of so many zeros. */
static unsigned char *bomb(apr_size_t zeros, apr_size_t *len)
{
    static unsigned char block[65536];
    unsigned char *out = malloc(zeros / 500 + 1000);
    z_stream z;

    memset(&z, 0, sizeof(z));
    CU_ASSERT_EQUAL_FATAL(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_out = out;
    z.avail_out = (uInt)(zeros / 500 + 1000);
    while (zeros > 0) {
        z.next_in = block;
        z.avail_in = (uInt)(zeros < sizeof(block) ? zeros : sizeof(block));
        zeros -= z.avail_in;
        CU_ASSERT_EQUAL_FATAL(deflate(&z, zeros > 0 ? Z_NO_FLUSH : Z_FINISH),
                              zeros > 0 ? Z_OK : Z_STREAM_END);
    }
    *len = z.total_out;
    deflateEnd(&z);
    return out;
}

static void test_bomb(void)
{
    ic_t *ic = zipping();
    const apr_size_t max = ic->config.receiver.max_frame;
    apr_size_t sizes[] = {max - 1, max + 1, 64 * max};
    int i;

    for (i = 0; i < 3; i++) {
        apr_size_t len;
        unsigned char *bytes = bomb(sizes[i], &len);
        sc_packet_t p = ic_packet(2, bytes, len, IC_SYNC | FLAG);

        CU_ASSERT(len < sizes[i] / 100);
        CU_ASSERT_EQUAL(ic_receive(ic, &p) == APR_SUCCESS, i == 0);
        free(bytes);
    }
    CU_ASSERT_EQUAL(ic->nup, 1);
    CU_ASSERT_EQUAL(ic->board.count.inflate_refused, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(ic->log, "maxFrame="));
    ic_close(ic);
}

/** How many of n messages of member number from, of so many zeros are taken, one each so many
 * milliseconds. */
static int bombs_taken(ic_t *ic, int from, int n, apr_size_t zeros, int ms)
{
    apr_size_t len;
    unsigned char *bytes = bomb(zeros, &len);
    int taken = 0;

    while (n-- > 0) {
        sc_packet_t p = ic_packet(from, bytes, len, IC_SYNC | FLAG);

        taken += ic_receive(ic, &p) == APR_SUCCESS;
        ic->now += RIG_MS(ms);
    }
    free(bytes);
    return taken;
}

/** The time that expanding takes is bounded, too, and what members send is not touched by that. */
static void test_allowance(void)
{
    static unsigned char body[500000];
    ic_t *from = zipping();
    ic_t *ic = zipping();
    const apr_size_t max = ic->config.receiver.max_frame;
    sc_member_t member = ic_member(2);
    rig_end_t end = {0, APR_EGENERAL};
    unsigned int x = 1;
    apr_size_t n;
    int i;

    CU_ASSERT_EQUAL(bombs_taken(ic, 9, 100, max, 0), 2);
    CU_ASSERT_EQUAL(ic->board.count.inflate_refused, 98);
    CU_ASSERT_PTR_NOT_NULL(strstr(ic->log, "too much at once"));
    /* 32 MB in a second, however small the pieces are */
    CU_ASSERT(bombs_taken(ic, 9, 100, max, 31) >= 95);
    CU_ASSERT(bombs_taken(ic, 9, 1000, max, 1) <= 34);
    CU_ASSERT(bombs_taken(ic, 9, 3000, max / 64, 0) <= 64);
    CU_ASSERT_EQUAL(bombs_taken(ic, 9, 1, max + 1, 0), 0); /* refused, and paid for */
    /* a text, compressed 10 to 1 */
    for (n = 0; n < sizeof(body); n++) {
        x = n % 40 < 4 ? x * 1103515245u + 12345u : x;
        body[n] = n % 40 < 4 ? (unsigned char)(x >> 23) : 'a';
    }
    ic_send(from, body, sizeof(body), IC_SYNC, &end);
    CU_ASSERT(from->sent[0]->p.body_len < sizeof(body) / 4);
    CU_ASSERT(from->sent[0]->p.body_len > sizeof(body) / 20);
    for (i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(ic_receive(ic, &from->sent[0]->p), APR_SUCCESS);
    }
    /* a member may do more, and what others have used up is no matter of its */
    sc_pass_member_added(&ic->link[2], &member);
    CU_ASSERT_EQUAL(bombs_taken(ic, 9, 1, max, 0), 0);
    CU_ASSERT_EQUAL(bombs_taken(ic, 2, 100, max, 0), 2);
    CU_ASSERT(bombs_taken(ic, 2, 100, max, 8) >= 95);
    CU_ASSERT(bombs_taken(ic, 2, 100, max, 1) <= 14);
    sc_pass_member_gone(&ic->link[2], &member, 0);
    ic->now += apr_time_from_sec(1);
    CU_ASSERT_EQUAL(bombs_taken(ic, 2, 100, max, 0), 2);
    /* after a long pause all is as in the beginning */
    ic->now += apr_time_from_sec(1000000000);
    CU_ASSERT_EQUAL(bombs_taken(ic, 9, 10, max, 0), 2);
    /* whoever has got here has the secret */
    ic->config.secret.count = 1;
    CU_ASSERT_EQUAL(bombs_taken(ic, 9, 100, max, 0), 100);
    CU_ASSERT_EQUAL(bombs_taken(ic, 9, 1, max + 1, 0), 0);
    ic_close(from);
    ic_close(ic);
}

static void test_garbage(void)
{
    ic_t *ic = zipping();
    rig_end_t end = {0, APR_EGENERAL};
    unsigned char bytes[256];
    apr_uint64_t refused;
    sc_packet_t p;
    apr_size_t len;
    apr_size_t i;

    ic_send(ic, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end);
    len = ic->sent[0]->p.body_len;
    memcpy(bytes, ic->sent[0]->p.body, len);
    p = ic_packet(2, bytes, len, IC_SYNC | FLAG);
    for (i = 0; i < len; i++) {
        unsigned char *cut = malloc(i + 1);

        memcpy(cut, bytes, i);
        p.body = cut;
        p.body_len = i;
        CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
        free(cut);
    }
    CU_ASSERT_EQUAL(ic->board.count.inflate_refused, len);
    CU_ASSERT_EQUAL(ic->nup, 0);
    p.body = bytes;
    p.body_len = len + 1; /* something behind its end */
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    p.body_len = len;
    for (i = 0; i < 8 * len; i++) { /* the check sum finds it, or it does not matter */
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        if (ic_receive(ic, &p) == APR_SUCCESS) {
            CU_ASSERT_TRUE(ic_up_is(ic, ic->nup - 1, IC_TEXT));
        }
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    refused = ic->board.count.inflate_refused;
    CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS); /* no harm done */
    CU_ASSERT_TRUE(ic_up_is(ic, ic->nup - 1, IC_TEXT));
    CU_ASSERT_EQUAL(ic->board.count.inflate_refused, refused);
    ic_close(ic);
}

static void test_answer(void)
{
    ic_t *from = zipping();
    ic_t *to = zipping();
    rig_end_t end = {0, APR_SUCCESS};

    to->up_rv = APR_EINVAL;
    ic_send(from, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end);
    ic_carry(from, to);
    CU_ASSERT(end.calls == 1 && end.rv == APR_EGENERAL);
    CU_ASSERT_EQUAL(to->nup, 1);
    ic_close(from);
    ic_close(to);
}

void sc_suite_gzip(void)
{
    CU_pSuite s = CU_add_suite("gzip", NULL, NULL);

    CU_add_test(s, "what a configuration may say", test_check);
    CU_add_test(s, "captured frame", test_vector);
    CU_add_test(s, "there and back", test_round_trip);
    CU_add_test(s, "what is too small, and the flag", test_min_size);
    CU_add_test(s, "bombs", test_bomb);
    CU_add_test(s, "what may be expanded at once", test_allowance);
    CU_add_test(s, "cut and changed streams", test_garbage);
    CU_add_test(s, "the answer is that of the processing", test_answer);
}
