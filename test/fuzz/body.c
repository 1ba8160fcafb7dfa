/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Bodies of sessions. Three of them, raw or built from few names and stamps so that they collide,
 * are checked and merged: merging is commutative, associative and idempotent, and its result is
 * well-formed, whatever goes in.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_session.h"

#define LIMIT (64 * 1024)

/* A few names in their order, of which two are one when case is ignored. */
static void build(fuzz_in_t *in, sc_buf_t *b)
{
    static const char *const names[][2] = {{"A", "a"},   {"ab", "aB"}, {"b", "b"},
                                           {"c[", "C["}, {"c{", "c{"}, {"\xc4", "\xe4"}};
    unsigned int i;
    sc_attr_t a;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsigned int c = fuzz_u8(in);
        size_t n;

        if (c & 1) {
            continue;
        }
        memset(&a, 0, sizeof(a));
        a.name = names[i][c >> 1 & 1];
        a.name_len = strlen(a.name);
        a.flags = c >> 2 & 1;
        a.stamp.hlc = c >> 3 & 3;
        a.stamp.node = c >> 5 & 1;
        a.value = (const char *)fuzz_text(in, 300, &n);
        a.value_len = n;
        if (a.flags & SC_ATTR_REMOVED) {
            a.value = NULL;
            a.value_len = 0;
        }
        sc_attr_put(b, &a);
    }
    fuzz_damage(in, b);
}

static void merge(const sc_buf_t *a, const sc_buf_t *b, const sc_stamp_t *drop, sc_buf_t *out,
                  sc_merge_t *result)
{
    sc_buf_init(out, 4 * LIMIT);
    FUZZ_CHECK(sc_body_merge(a->data, a->len, b->data, b->len, drop, out, result) == APR_SUCCESS);
    FUZZ_CHECK(sc_body_check(out->data, out->len) == APR_SUCCESS);
    FUZZ_CHECK(out->len <= a->len + b->len);
}

static int equal(const sc_buf_t *a, const sc_buf_t *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void check_merges(const sc_buf_t body[3])
{
    static const sc_stamp_t keep_all;
    static const sc_stamp_t drop_some = {2, 0};
    sc_buf_t ab, ba, ab_c, bc, a_bc, again;
    sc_merge_t m;

    merge(&body[0], &body[1], &keep_all, &ab, &m);
    FUZZ_CHECK(m.changed || equal(&ab, &body[0]));
    merge(&body[1], &body[0], &keep_all, &ba, &m);
    FUZZ_CHECK(equal(&ab, &ba));
    FUZZ_CHECK(sc_body_digest(ab.data, ab.len) == sc_body_digest(ba.data, ba.len));
    merge(&ab, &body[2], &keep_all, &ab_c, &m);
    merge(&body[1], &body[2], &keep_all, &bc, &m);
    merge(&body[0], &bc, &keep_all, &a_bc, &m);
    FUZZ_CHECK(equal(&ab_c, &a_bc));
    merge(&ab, &body[1], &keep_all, &again, &m);
    FUZZ_CHECK(!m.changed && equal(&again, &ab));
    FUZZ_CHECK(sc_body_payload(ab.data, ab.len) <= ab.len);
    sc_buf_free(&again);
    merge(&ab, &body[2], &drop_some, &again, &m);
    FUZZ_CHECK(again.len <= ab_c.len);
    sc_buf_free(&again);
    sc_buf_free(&a_bc);
    sc_buf_free(&bc);
    sc_buf_free(&ab_c);
    sc_buf_free(&ba);
    sc_buf_free(&ab);
}

/** Broken ones, too: neither a crash nor more bytes than the limit. */
static void merge_anything(const sc_buf_t *a, const sc_buf_t *b)
{
    static const sc_stamp_t keep_all;
    sc_merge_t m;
    sc_buf_t out;

    sc_buf_init(&out, 100);
    (void)sc_body_merge(a->data, a->len, b->data, b->len, &keep_all, &out, &m);
    FUZZ_CHECK(out.len <= 100);
    (void)sc_body_payload(a->data, a->len);
    sc_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    int good = 0;
    sc_buf_t body[3];
    int i;

    for (i = 0; i < 3; i++) {
        unsigned char *exact;

        sc_buf_init(&body[i], LIMIT);
        if (fuzz_u8(&in) & 1) {
            size_t n;
            const unsigned char *p = fuzz_text(&in, LIMIT, &n);

            sc_put(&body[i], p, n);
        } else {
            build(&in, &body[i]);
        }
        exact = fuzz_copy(body[i].data, body[i].len);
        free(body[i].data);
        body[i].data = exact;
        body[i].cap = body[i].len;
        good += sc_body_check(body[i].data, body[i].len) == APR_SUCCESS;
    }
    merge_anything(&body[0], &body[1]);
    if (good == 3) {
        check_merges(body);
    }
    for (i = 0; i < 3; i++) {
        sc_buf_free(&body[i]);
    }
    return 0;
}
