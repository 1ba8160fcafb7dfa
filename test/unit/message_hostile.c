/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Session messages that are cut, changed or made up: nothing outside of them is touched, and what
 * is accepted keeps the promises that message_rig.c checks. Copies are as long as the message, so
 * that a sanitizer or valgrind sees the end.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "message_rig.h"

static apr_uint64_t rnd_state;

static apr_uint32_t rnd(apr_uint32_t n)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    rnd_state ^= rnd_state << 17;
    return (apr_uint32_t)((rnd_state >> 11) % n);
}

static unsigned char *copy_of(const void *bytes, apr_size_t len)
{
    unsigned char *copy = malloc(len > 0 ? len : 1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, bytes, len);
    return copy;
}

/* Every message cut anywhere. Where only what came later is missing it is one of the earlier
 * version. */
static void test_truncated(void)
{
    sc_buf_t b;
    apr_size_t n;
    int which;

    sc_buf_init(&b, WIRE_LIMIT);
    for (which = 0; which < WIRE_SAMPLES; which++) {
        apr_size_t later = wire_later(which);

        wire_sample(which, &b);
        CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_SUCCESS);
        for (n = 0; n < b.len; n++) {
            unsigned char *cut = copy_of(b.data, n);

            CU_ASSERT_EQUAL(wire_read(cut, n),
                            later != 0 && n == b.len - later ? APR_SUCCESS : APR_EINVAL);
            free(cut);
        }
    }
    sc_buf_free(&b);
}

/* A whole session cut anywhere, with a length that says so: the length is right, what is in it is
 * not, except where the backups are missing. */
static void test_truncated_inside(void)
{
    sc_buf_t b, body, cut;
    sc_wire_session_t s;
    apr_size_t head, later, n;
    sc_rd_t r;

    wire_body(&body);
    wire_session(&s, &body);
    sc_buf_init(&b, WIRE_LIMIT);
    sc_buf_init(&cut, WIRE_LIMIT);
    sc_wire_session_put(&b, &s);
    sc_rd_init(&r, b.data, b.len);
    (void)sc_get_varint(&r);
    head = b.len - sc_rd_left(&r);
    later = 1 + 3 + 6; /* number of backups, n2, node3 */
    for (n = 0; n < b.len - head; n++) {
        sc_buf_clear(&cut);
        sc_put_u8(&cut, SC_EVT_SESSION_CREATED);
        sc_put_str(&cut, b.data + head, n);
        CU_ASSERT_EQUAL(wire_read(cut.data, cut.len),
                        n == b.len - head - later ? APR_SUCCESS : APR_EINVAL);
        sc_put(&cut, b.data, b.len); /* another session behind it is not taken for the rest */
        CU_ASSERT_EQUAL(wire_read(cut.data, cut.len),
                        n == b.len - head - later ? APR_SUCCESS : APR_EINVAL);
    }
    sc_buf_free(&cut);
    sc_buf_free(&b);
    sc_buf_free(&body);
}

/* Every byte of every message, changed into every other value. */
static void test_changed(void)
{
    int which, change, refused = 0, accepted = 0;
    apr_size_t i;
    sc_buf_t b;

    sc_buf_init(&b, WIRE_LIMIT);
    for (which = 0; which < WIRE_SAMPLES; which++) {
        unsigned char *copy;

        wire_sample(which, &b);
        copy = copy_of(b.data, b.len);
        for (i = 0; i < b.len; i++) {
            for (change = 1; change < 256; change++) {
                copy[i] = (unsigned char)(b.data[i] ^ change);
                if (wire_read(copy, b.len) == APR_SUCCESS) {
                    accepted++;
                } else {
                    refused++;
                }
            }
            copy[i] = b.data[i];
        }
        free(copy);
    }
    CU_ASSERT(accepted > 0 && refused > 0); /* or this tests nothing */
    sc_buf_free(&b);
}

static void test_random(void)
{
    sc_buf_t b;
    int round;

    rnd_state = 4242;
    sc_buf_init(&b, WIRE_LIMIT);
    for (round = 0; round < 40000; round++) {
        unsigned char *copy;
        apr_size_t len;
        apr_uint32_t k;

        wire_sample((int)rnd(WIRE_SAMPLES), &b);
        len = rnd(4) == 0 ? rnd((apr_uint32_t)b.len + 1) : b.len;
        copy = copy_of(b.data, len);
        for (k = rnd(6); k > 0 && len > 1; k--) {
            copy[1 + rnd((apr_uint32_t)len - 1)] = (unsigned char)rnd(256);
        }
        (void)wire_read(copy, len);
        free(copy);
    }
    sc_buf_free(&b);
}

/* Small messages that claim to be huge: refused at once, with no memory taken for the claim. */
static void test_claims(void)
{
    static const sc_event_t lists[] = {SC_EVT_SESSION_ACCESSED, SC_EVT_ACCESS,
                                       SC_EVT_SESSION_EXPIRED,  SC_EVT_REMOVE,
                                       SC_EVT_ALL_SESSION_DATA, SC_EVT_COPY};
    apr_size_t i;
    sc_buf_t b;

    sc_buf_init(&b, WIRE_LIMIT);
    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        sc_buf_clear(&b);
        sc_put_u8(&b, lists[i]);
        sc_put_varint(&b, 1ull << 62); /* groups; or the serial, the total and sessions */
        sc_put_varint(&b, 1ull << 62);
        sc_put_varint(&b, 1ull << 62);
        CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_EINVAL);
    }
    sc_buf_free(&b);
}

void wire_add_hostile(void *suite)
{
    CU_pSuite s = suite;

    CU_add_test(s, "truncated", test_truncated);
    CU_add_test(s, "a session that is truncated inside", test_truncated_inside);
    CU_add_test(s, "every changed byte", test_changed);
    CU_add_test(s, "random bytes", test_random);
    CU_add_test(s, "claims", test_claims);
}
