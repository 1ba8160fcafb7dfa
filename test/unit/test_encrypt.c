/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Encrypt: byte for byte what Tomcat sends, and what strangers and the network may do to it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "../../src/interceptor/cipher.h"
#include "../../src/interceptor/replay.h"
#include "ic_rig.h"

void sc_suite_encrypt(void);

#define NAME "Encrypt"
#define KEY48 IC_KEY "1011121314151617"
#define KEY64 KEY48 "18191A1B1C1D1E1F"

static const char *const algorithms[] = {"AES/GCM/NoPadding", "AES/CBC/PKCS5Padding",
                                         "AES/CFB/PKCS5Padding", "AES/OFB/PKCS5Padding"};

static ic_t *encrypting(const char *algorithm, const char *key)
{
    sc_config_interceptor_t c =
        ic_conf(NAME, "encryptionAlgorithm", algorithm, "encryptionKey", key, NULL);

    return ic_open(&c, 1, 1);
}

/* ---- configuration --------------------------------------------------------------------------- */

static void test_check(void)
{
    static const char *const wrong[] = {
        "AES/ECB/PKCS5Padding",
        "AES/PCBC/PKCS5Padding",
        "AES/CTS/NoPadding",
        "AES/KW/NoPadding",
        "AES/KWP/NoPadding",
        "AES/CTR/NoPadding",
        "AES/CBC/NoPadding",
        "AES/CFB/NoPadding",
        "AES/OFB/NoPadding",
        "AES/GCM/PKCS5Padding",
        "AES/CFB8/PKCS5Padding",
        "AES/OFB8/PKCS5Padding",
        "AES",
        "DES/CBC/PKCS5Padding",
        "",
    };
    static const char *const keys[] = {
        "",
        "0001",
        IC_KEY "00",
        IC_KEY "0",
        "g00102030405060708090a0b0c0d0e0f",
        KEY64 "00",
        " 00102030405060708090a0b0c0d0e0f",
    };
    sc_config_interceptor_t c[2];
    apr_pool_t *pool;
    apr_size_t i;

    apr_pool_create(&pool, NULL);
    for (i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
        c[0] = ic_conf(NAME, "encryptionKey", KEY48, "encryptionAlgorithm", algorithms[i], NULL);
        CU_ASSERT_PTR_NULL(ic_check(c, 1, pool));
    }
    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CU_ASSERT_TRUE(ic_refused(
            ic_conf(NAME, "encryptionAlgorithm", wrong[i], "encryptionKey", IC_KEY, NULL),
            "must be AES/GCM/NoPadding"));
    }
    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        c[0] = ic_conf(NAME, "encryptionKey", keys[i], NULL);
        CU_ASSERT_TRUE(ic_refused(c[0], "32, 48 or 64 hexadecimal digits"));
        /* it may be the key but for one letter: it is not repeated */
        CU_ASSERT_TRUE(i == 0 || strstr(ic_check(c, 1, pool), keys[i]) == NULL);
    }
    c[0] = ic_conf(NAME, "encryptionKey", KEY64, "optionFlag", "0", "replayWindowTime", "1",
                   "replayWindowMessageCount", "1048576", NULL);
    CU_ASSERT_PTR_NULL(ic_check(c, 1, pool));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, NULL), "encryptionKey must be"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "providerName", "SunJCE", NULL), "libcrypto"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "optionFlag", "256", "encryptionKey", IC_KEY, NULL),
                              "optionFlag must be 0"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "replayWindowTime", "0", NULL), "milliseconds from 1"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "replayWindowMessageCount", "1048577", NULL),
                              "from 1 to 1048576"));
    c[0] = ic_conf("TcpFailureDetector", NULL);
    c[1] = ic_conf(NAME, "encryptionKey", IC_KEY, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(ic_check(c, 2, pool));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(ic_check(c, 2, pool), "TcpFailureDetector must not stand above (before) Encrypt"));
    c[0] = c[1];
    c[1] = ic_conf("TcpFailureDetector", NULL);
    CU_ASSERT_PTR_NULL(ic_check(c, 2, pool));
    apr_pool_destroy(pool);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/** Captured frames are opened, by the cipher and by the chain, and sealed again with their IVs. */
static void test_vectors(void)
{
    static const char *const names[] = {"interceptor-encrypt-aes-gcm.bin",
                                        "interceptor-encrypt-aes-cbc.bin"};
    unsigned char key[16];
    apr_size_t i;

    for (i = 0; i < sizeof(key); i++) {
        key[i] = (unsigned char)i;
    }
    for (i = 0; i < 2; i++) {
        ic_t *ic = encrypting(algorithms[i], IC_KEY);
        unsigned char *frame;
        sc_packet_t p = ic_vector(names[i], &frame);
        sc_packet_t q = p;
        sc_cipher_t *cipher;
        apr_uint64_t ts = 0;
        sc_buf_t plain;
        sc_buf_t sealed;

        CU_ASSERT_EQUAL_FATAL(sc_cipher_create(&cipher, algorithms[i], key, 16), APR_SUCCESS);
        sc_buf_init(&plain, 1000);
        sc_buf_init(&sealed, 1000);
        CU_ASSERT_EQUAL(sc_cipher_open(cipher, p.body, p.body_len, &ts, &plain), APR_SUCCESS);
        CU_ASSERT_EQUAL(ts, p.timestamp_ms);
        CU_ASSERT_EQUAL_FATAL(plain.len, 8 + strlen(IC_TEXT));
        CU_ASSERT_EQUAL(memcmp(plain.data + 8, IC_TEXT, strlen(IC_TEXT)), 0);
        CU_ASSERT_EQUAL(sc_cipher_seal(cipher, p.body, ts, plain.data + 8, plain.len - 8, &sealed),
                        APR_SUCCESS);
        q.body = sealed.data;
        q.body_len = sealed.len;
        CU_ASSERT_TRUE(ic_same_frame(&q, names[i]));

        ic->now = apr_time_from_msec((apr_time_t)p.timestamp_ms + 5);
        CU_ASSERT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
        CU_ASSERT_TRUE(ic_up_is(ic, 0, IC_TEXT));
        CU_ASSERT_EQUAL(ic->up[0]->p.timestamp_ms, p.timestamp_ms);
        sc_buf_free(&plain);
        sc_buf_free(&sealed);
        sc_cipher_destroy(cipher);
        free(frame);
        ic_close(ic);
    }
}

static void test_round_trip(void)
{
    static const char *const keys[] = {IC_KEY, KEY48, KEY64};
    static unsigned char body[100000];
    apr_size_t a;
    apr_size_t k;
    apr_size_t n;

    for (n = 0; n < sizeof(body); n++) {
        body[n] = (unsigned char)(n * 7);
    }
    for (a = 0; a < 4; a++) {
        for (k = 0; k < 3; k++) {
            ic_t *from = encrypting(algorithms[a], keys[k]);
            ic_t *to = encrypting(algorithms[a], keys[k]);

            for (n = 0; n <= sizeof(body); n = n < 50 ? n + 1 : n * 3 + n / 5) {
                rig_end_t end = {0, APR_EGENERAL};
                int i = from->nsent;

                ic_send(from, body, n, IC_SYNC, &end);
                CU_ASSERT_EQUAL_FATAL(from->nsent, i + 1);
                CU_ASSERT(from->sent[i]->p.body_len > n + 8 + 12);
                CU_ASSERT(from->sent[i]->p.body_len <= n + SC_CIPHER_GROWS);
                CU_ASSERT_TRUE(a > 0 || from->sent[i]->p.body_len == n + 36);
                CU_ASSERT_EQUAL(from->sent[i]->p.options, IC_SYNC);
                ic_carry(from, to);
                CU_ASSERT(end.calls == 1 && end.rv == APR_SUCCESS);
                CU_ASSERT_EQUAL_FATAL(to->nup, i + 1);
                CU_ASSERT_EQUAL(to->up[i]->p.body_len, n);
                CU_ASSERT_EQUAL(memcmp(to->up[i]->p.body, body, n), 0);
            }
            CU_ASSERT_EQUAL(strstr(from->log, "SC0491") != NULL, a > 0); /* the warning */
            CU_ASSERT_PTR_NULL(strstr(from->log, "0a0b0c0d"));
            ic_close(from);
            ic_close(to);
        }
    }
}

/** No two messages have the same IV. */
static void test_ivs(void)
{
    ic_t *ic = encrypting(algorithms[0], IC_KEY);
    rig_end_t end = {0, APR_EGENERAL};
    int i;
    int k;

    for (i = 0; i < 300; i++) {
        ic_send(ic, "same", 4, 0, &end);
        for (k = 0; k < i; k++) {
            CU_ASSERT_NOT_EQUAL(memcmp(ic->sent[k]->p.body, ic->sent[i]->p.body, 12), 0);
        }
    }
    ic_close(ic);
}

/* ---- strangers ------------------------------------------------------------------------------- */

static void test_flips_and_cuts(void)
{
    ic_t *from = encrypting(algorithms[0], IC_KEY);
    ic_t *to = encrypting(algorithms[0], IC_KEY);
    rig_end_t end = {0, APR_EGENERAL};
    unsigned char bytes[256];
    apr_uint64_t refused = 0;
    sc_packet_t p;
    apr_size_t i;

    ic_send(from, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end);
    p = from->sent[0]->p;
    memcpy(bytes, p.body, p.body_len);
    p.body = bytes;
    for (i = 0; i < 8 * from->sent[0]->p.body_len; i++) {
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        CU_ASSERT_NOT_EQUAL(ic_receive(to, &p), APR_SUCCESS);
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        refused++;
    }
    for (i = 0; i < from->sent[0]->p.body_len; i++) {
        unsigned char *cut = malloc(i + 1); /* the sanitizer sees who reads beyond it */

        memcpy(cut, bytes, i);
        p.body = cut;
        p.body_len = i;
        CU_ASSERT_NOT_EQUAL(ic_receive(to, &p), APR_SUCCESS);
        free(cut);
        refused++;
    }
    CU_ASSERT_EQUAL(to->nup, 0);
    CU_ASSERT_EQUAL(to->board.count.decrypt_refused, refused);
    CU_ASSERT_EQUAL(to->board.count.replays_refused, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(to->log, "SC0492"));
    CU_ASSERT_PTR_NULL(strstr(strstr(to->log, "SC0492") + 1, "SC0492")); /* one line */
    p = from->sent[0]->p;
    CU_ASSERT_EQUAL(ic_receive(to, &p), APR_SUCCESS); /* nothing of that was remembered */
    CU_ASSERT_EQUAL(to->nup, 1);
    ic_close(from);
    ic_close(to);
}

/** The other modes cannot tell, but nothing breaks and what comes up is no longer than what came.
 */
static void test_flips_unauthenticated(void)
{
    apr_size_t a;

    for (a = 1; a < 4; a++) {
        ic_t *from = encrypting(algorithms[a], IC_KEY);
        ic_t *to = encrypting(algorithms[a], IC_KEY);
        rig_end_t end = {0, APR_EGENERAL};
        unsigned char bytes[256];
        sc_packet_t p;
        apr_size_t i;
        int k;

        ic_send(from, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end);
        p = from->sent[0]->p;
        memcpy(bytes, p.body, p.body_len);
        p.body = bytes;
        for (i = 0; i < 8 * from->sent[0]->p.body_len; i++) {
            bytes[i / 8] ^= (unsigned char)(1 << i % 8);
            (void)ic_receive(to, &p);
            bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        }
        for (i = 0; i < from->sent[0]->p.body_len; i++) {
            p.body_len = i;
            (void)ic_receive(to, &p);
        }
        for (k = 0; k < to->nup; k++) {
            CU_ASSERT(to->up[k]->p.body_len <= from->sent[0]->p.body_len);
        }
        ic_close(from);
        ic_close(to);
    }
}

/** Without authentication no answer tells what came out of decryption: neither for a recorded
 *  message with another end, nor for one made of it, nor when the links above cannot process it. */
static void test_no_oracle(void)
{
    apr_size_t a;

    for (a = 1; a < 4; a++) {
        ic_t *from = encrypting(algorithms[a], IC_KEY);
        ic_t *to = encrypting(algorithms[a], IC_KEY);
        rig_end_t end = {0, APR_EGENERAL};
        unsigned char bytes[256];
        apr_uint64_t bad = 0;
        sc_packet_t p;
        int i;
        int k;

        ic_send(from, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end);
        p = from->sent[0]->p;
        CU_ASSERT_EQUAL(ic_receive(to, &p), APR_SUCCESS);
        memcpy(bytes, p.body, p.body_len);
        p.body = bytes;
        for (k = 0; k < 3; k++) {
            bytes[8] = (unsigned char)k; /* of the IV, behind what makes the timestamp */
            to->up_rv = k == 2 ? APR_EINVAL : APR_SUCCESS;
            for (i = 0; i < 256; i++) {
                apr_uint64_t before = to->board.count.decrypt_refused;

                bytes[p.body_len - 17] = (unsigned char)i;
                CU_ASSERT_EQUAL(ic_receive(to, &p), APR_SUCCESS);
                bad += to->board.count.decrypt_refused - before;
            }
        }
        CU_ASSERT(a > 1 || (bad > 700 && bad < 3 * 256)); /* both were among them */
        ic_close(from);
        ic_close(to);
    }
}

static void test_other_keys(void)
{
    const char *const keys[] = {"000102030405060708090a0b0c0d0e0e", KEY64};
    int i;

    for (i = 0; i < 2; i++) {
        ic_t *from = encrypting(algorithms[0], IC_KEY);
        ic_t *to = encrypting(algorithms[0], keys[i]);
        rig_end_t end = {0, APR_SUCCESS};

        ic_send(from, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end);
        ic_carry(from, to);
        CU_ASSERT(end.calls == 1 && end.rv == APR_EGENERAL); /* it does not believe it arrived */
        CU_ASSERT_EQUAL(to->nup, 0);
        CU_ASSERT_EQUAL(to->board.count.decrypt_refused, 1);
        ic_close(from);
        ic_close(to);
    }
}

/* ---- replays --------------------------------------------------------------------------------- */

static void test_repeated(void)
{
    ic_t *from = encrypting(algorithms[0], IC_KEY);
    ic_t *to = encrypting(algorithms[0], IC_KEY);
    rig_end_t end = {0, APR_EGENERAL};
    sc_packet_t p;

    /* its acknowledgement got lost: acknowledged, not delivered twice */
    ic_send(from, "one", 3, IC_SYNC, &end);
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[0]->p), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[0]->p), APR_SUCCESS);
    CU_ASSERT_EQUAL(to->nup, 1);
    CU_ASSERT_EQUAL(to->board.count.replays_refused, 1);
    /* the same under another name: what is not authenticated makes no difference */
    p = from->sent[0]->p;
    p.from = ic_member(7);
    p.id.b[3] ^= 1;
    p.timestamp_ms += 60000;
    CU_ASSERT_EQUAL(ic_receive(to, &p), APR_SUCCESS);
    CU_ASSERT_EQUAL(to->nup, 1);
    /* it could not be processed: nothing is lost */
    to->up_rv = APR_EGENERAL;
    ic_send(from, "two", 3, IC_SYNC, &end);
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[1]->p), APR_EGENERAL);
    to->up_rv = APR_SUCCESS;
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[1]->p), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[1]->p), APR_SUCCESS);
    CU_ASSERT_EQUAL(to->nup, 3);
    CU_ASSERT_TRUE(ic_up_is(to, 2, "two"));
    ic_close(from);
    ic_close(to);
}

static void test_window(void)
{
    ic_t *from = encrypting(algorithms[0], IC_KEY);
    ic_t *to = encrypting(algorithms[0], IC_KEY);
    rig_end_t end = {0, APR_EGENERAL};

    ic_send(from, "ahead", 5, IC_SYNC, &end);
    to->now -= RIG_MS(10001);
    CU_ASSERT_NOT_EQUAL(ic_receive(to, &from->sent[0]->p), APR_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(strstr(to->log, "do the clocks agree"));
    to->now += RIG_MS(1);
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[0]->p), APR_SUCCESS);
    ic_send(from, "late", 4, IC_SYNC, &end);
    to->now = from->now + RIG_MS(10000);
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[1]->p), APR_SUCCESS);
    ic_send(from, "too late", 8, IC_SYNC, &end);
    to->now = from->now + RIG_MS(10001);
    CU_ASSERT_NOT_EQUAL(ic_receive(to, &from->sent[2]->p), APR_SUCCESS);
    CU_ASSERT_EQUAL(to->board.count.replays_refused, 2);
    CU_ASSERT_EQUAL(to->nup, 2);
    /* a recording is refused whenever it is played, also when the clock is set back */
    from->now = to->now;
    ic_send(from, "now", 3, IC_SYNC, &end);
    to->now += RIG_MS(30000);
    from->now = to->now;
    ic_send(from, "then", 4, IC_SYNC, &end);
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[4]->p), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(ic_receive(to, &from->sent[3]->p), APR_SUCCESS);
    to->now -= RIG_MS(35000);
    CU_ASSERT_NOT_EQUAL(ic_receive(to, &from->sent[0]->p), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(ic_receive(to, &from->sent[1]->p), APR_SUCCESS);
    CU_ASSERT_EQUAL(to->nup, 3);
    ic_close(from);
    ic_close(to);
}

/** A time that no clock shows: the sender's messages have none. */
static void test_no_time(void)
{
    static const int days[] = {1, -1, 30, -30};
    int i;

    for (i = 0; i < 4; i++) {
        ic_t *from = encrypting(algorithms[0], IC_KEY);
        ic_t *to = encrypting(algorithms[0], IC_KEY);
        rig_end_t end = {0, APR_EGENERAL};

        from->now = to->now + days[i] * apr_time_from_sec(86400);
        ic_send(from, "text", 4, IC_SYNC, &end);
        CU_ASSERT_NOT_EQUAL(ic_receive(to, &from->sent[0]->p), APR_SUCCESS);
        CU_ASSERT_PTR_NOT_NULL(strstr(to->log, "SC0498"));
        CU_ASSERT_EQUAL(strstr(to->log, "before 10.1.56") != NULL, i >= 2);
        CU_ASSERT_EQUAL(strstr(to->log, "clocks") != NULL, i < 2);
        ic_close(from);
        ic_close(to);
    }
}

static void test_count(void)
{
    sc_config_interceptor_t c =
        ic_conf(NAME, "encryptionKey", IC_KEY, "replayWindowMessageCount", "3", NULL);
    ic_t *from = encrypting(algorithms[0], IC_KEY);
    ic_t *to = ic_open(&c, 1, 2);
    rig_end_t end = {0, APR_EGENERAL};
    int i;

    for (i = 0; i < 4; i++) {
        ic_send(from, "x", 1, IC_SYNC, &end);
        from->now += RIG_MS(1);
    }
    for (i = 3; i >= 1; i--) { /* not in their order */
        CU_ASSERT_EQUAL(ic_receive(to, &from->sent[i]->p), APR_SUCCESS);
    }
    CU_ASSERT_PTR_NULL(strstr(to->log, "SC0499"));
    /* number 0 is older than what has to be forgotten for it, and is taken all the same, once */
    CU_ASSERT_EQUAL(ic_receive(to, &from->sent[0]->p), APR_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(strstr(to->log, "a higher replayWindowMessageCount is right"));
    CU_ASSERT_EQUAL(to->nup, 4);
    for (i = 0; i < 4; i++) {
        (void)ic_receive(to, &from->sent[i]->p);
    }
    CU_ASSERT_EQUAL(to->nup, 4);
    ic_close(from);
    ic_close(to);
}

/** Against a list that forgets nothing: nothing is new twice, and what is refused has a reason. */
static void test_random_window(void)
{
    enum { ALL = 4000, MAX = 64, WINDOW = 1000 };
    static unsigned char iv[ALL][SC_REPLAY_IV];
    static apr_uint64_t ts[ALL];
    static int taken[ALL];
    apr_uint64_t now = 1000000;
    apr_uint64_t seed = 12345;
    sc_replay_t *r = sc_replay_create(WINDOW, MAX, 99, now);
    int n = 0;
    int fresh = 0;
    int step;

    memset(taken, 0, sizeof(taken));
    for (step = 0; step < 20000; step++) {
        sc_replay_verdict_t v;
        int i = n;
        int crowded;

        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        if (n < ALL && seed >> 60 < 4) {
            memset(iv[n], 0, SC_REPLAY_IV);
            memcpy(iv[n], &seed, sizeof(seed));
            ts[n] = now - WINDOW / 4 + (seed >> 40) % (WINDOW / 2);
            n++;
        } else if (n > 0) {
            i = (int)((seed >> 33) % (apr_uint64_t)n);
        } else {
            continue;
        }
        now += (seed >> 50) % 3;
        v = sc_replay_look(r, iv[i], ts[i], now, &crowded);
        CU_ASSERT(sc_replay_count(r) <= MAX);
        CU_ASSERT_FALSE(v == SC_REPLAY_NEW && taken[i]);
        CU_ASSERT_FALSE(v == SC_REPLAY_DONE && !taken[i]);
        CU_ASSERT_NOT_EQUAL(v, SC_REPLAY_AGAIN);
        if (v == SC_REPLAY_NEW) {
            taken[i] = 1;
            fresh++;
            sc_replay_done(r, iv[i]);
            CU_ASSERT_EQUAL(sc_replay_look(r, iv[i], ts[i], now, &crowded), SC_REPLAY_DONE);
        }
    }
    CU_ASSERT(fresh > ALL / 4);
    sc_replay_destroy(r);
}

void sc_suite_encrypt(void)
{
    CU_pSuite s = CU_add_suite("encrypt", NULL, NULL);

    CU_add_test(s, "what a configuration may say", test_check);
    CU_add_test(s, "captured frames", test_vectors);
    CU_add_test(s, "all algorithms, keys and lengths", test_round_trip);
    CU_add_test(s, "no IV twice", test_ivs);
    CU_add_test(s, "a bit flipped or a byte cut off anywhere", test_flips_and_cuts);
    CU_add_test(s, "the same without authentication", test_flips_unauthenticated);
    CU_add_test(s, "answers without authentication", test_no_oracle);
    CU_add_test(s, "another key", test_other_keys);
    CU_add_test(s, "a repeated message", test_repeated);
    CU_add_test(s, "too early, too late", test_window);
    CU_add_test(s, "no time at all", test_no_time);
    CU_add_test(s, "more messages than may be remembered", test_count);
    CU_add_test(s, "the window against a list", test_random_window);
}
