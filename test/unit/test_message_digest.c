/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The messages of a comparison: there and back, at their bounds, and hostile. */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "sc_message.h"

void sc_suite_message_digest(void);

#define LIMIT (1024 * 1024)
#define ITEM (SC_ID_LEN + 8)

static apr_uint64_t rnd_state;

static apr_uint32_t rnd(apr_uint32_t n)
{
    rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
    return (apr_uint32_t)(rnd_state >> 33) % n;
}

static sc_text_t text(const char *s)
{
    sc_text_t t = {s, strlen(s)};

    return t;
}

static int is_text(const sc_text_t *t, const char *want)
{
    return t->len == strlen(want) && memcmp(t->s, want, t->len) == 0;
}

/* An id of range 7 that is the n-th in order. */
static sc_id_t id_of(apr_uint32_t n)
{
    sc_id_t id;

    memset(&id, 0, sizeof(id));
    id.b[0] = 7;
    id.b[1] = (unsigned char)(n >> 8);
    id.b[2] = (unsigned char)n;
    return id;
}

static void sample_digest(sc_msg_digest_t *d)
{
    apr_uint32_t i;

    memset(d, 0, sizeof(*d));
    d->serial = 4711;
    d->ncontexts = 2;
    d->context[0] = text("shop");
    d->context[1] = text("www.example.com");
    for (i = 0; i < SC_DIGEST_RANGES; i++) {
        d->sum[i] = 0x0102030405060708ull * i;
    }
}

/* A list of n items; they stand in items. */
static void sample_list(sc_msg_digest_list_t *l, sc_buf_t *items, apr_uint32_t n)
{
    apr_uint32_t i;

    memset(l, 0, sizeof(*l));
    sc_buf_clear(items);
    for (i = 0; i < n; i++) {
        sc_id_t id = id_of(i + 1);

        sc_item_digest_put(items, &id, 1000 + i);
    }
    l->serial = 12;
    l->context = text("shop");
    l->range = 7;
    l->from = id_of(0);
    l->upto = id_of(0xFFFF);
    l->n = n;
    l->items = items->data;
    l->items_len = items->len;
}

static void sample_end(sc_msg_digest_list_t *l, sc_buf_t *names)
{
    memset(l, 0, sizeof(*l));
    sc_buf_clear(names);
    sc_put_str(names, "shop", 4);
    sc_put_str(names, "www", 3);
    l->serial = 12;
    l->range = 256;
    l->n = 2;
    l->items = names->data;
    l->items_len = names->len;
}

static apr_status_t read_any(const void *bytes, apr_size_t len)
{
    sc_msg_digest_list_t l;
    sc_msg_digest_t d;
    unsigned int event;
    sc_rd_t r;

    sc_rd_init(&r, bytes, len);
    event = sc_get_u8(&r);
    if (event == SC_EVT_DIGEST) {
        return sc_msg_digest_get(&r, &d);
    }
    return event == SC_EVT_DIGEST_LIST ? sc_msg_digest_list_get(&r, &l) : APR_EINVAL;
}

/* As the bytes of a list are read. */
static apr_status_t read_list(const sc_msg_digest_list_t *l)
{
    apr_status_t rv;
    sc_buf_t b;

    sc_buf_init(&b, LIMIT);
    sc_msg_digest_list_put(&b, l);
    rv = read_any(b.data, b.len);
    sc_buf_free(&b);
    return rv;
}

/* ---- there and back -------------------------------------------------------------------------- */

static void test_digest(void)
{
    sc_msg_digest_t d, got;
    sc_buf_t b;
    sc_rd_t r;

    sample_digest(&d);
    sc_buf_init(&b, LIMIT);
    sc_msg_digest_put(&b, &d);
    sc_rd_init(&r, b.data, b.len);
    CU_ASSERT_EQUAL(sc_get_u8(&r), SC_EVT_DIGEST);
    CU_ASSERT_EQUAL(sc_msg_digest_get(&r, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 0);
    CU_ASSERT_EQUAL(got.serial, 4711);
    CU_ASSERT_EQUAL(got.ncontexts, 2);
    CU_ASSERT(is_text(&got.context[0], "shop"));
    CU_ASSERT(is_text(&got.context[1], "www.example.com"));
    CU_ASSERT_EQUAL(memcmp(got.sum, d.sum, sizeof(d.sum)), 0);
    sc_buf_free(&b);
}

static void test_list(void)
{
    sc_msg_digest_list_t l, got;
    sc_buf_t b, items;
    apr_uint64_t sum;
    sc_rd_t r, in;
    sc_id_t id, want;
    apr_uint32_t i;

    sc_buf_init(&b, LIMIT);
    sc_buf_init(&items, LIMIT);
    sample_list(&l, &items, 3);
    sc_msg_digest_list_put(&b, &l);
    sc_rd_init(&r, b.data, b.len);
    CU_ASSERT_EQUAL(sc_get_u8(&r), SC_EVT_DIGEST_LIST);
    CU_ASSERT_EQUAL(sc_msg_digest_list_get(&r, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 0);
    CU_ASSERT_EQUAL(got.serial, 12);
    CU_ASSERT(is_text(&got.context, "shop"));
    CU_ASSERT_EQUAL(got.range, 7);
    CU_ASSERT_EQUAL(memcmp(&got.from, &l.from, sizeof(l.from)), 0);
    CU_ASSERT_EQUAL(memcmp(&got.upto, &l.upto, sizeof(l.upto)), 0);
    CU_ASSERT_EQUAL(got.n, 3);
    sc_rd_init(&in, got.items, got.items_len);
    for (i = 0; i < 3; i++) {
        want = id_of(i + 1);
        CU_ASSERT_EQUAL(sc_item_digest_get(&in, &id, &sum), APR_SUCCESS);
        CU_ASSERT_EQUAL(memcmp(&id, &want, sizeof(id)), 0);
        CU_ASSERT_EQUAL(sum, 1000 + i);
    }
    CU_ASSERT_EQUAL(sc_item_digest_get(&in, &id, &sum), APR_EINVAL);
    sc_buf_free(&items);
    sc_buf_free(&b);
}

static void test_end(void)
{
    sc_msg_digest_list_t l, got;
    sc_buf_t b, names;
    apr_size_t len;
    sc_rd_t r, in;

    sc_buf_init(&b, LIMIT);
    sc_buf_init(&names, LIMIT);
    sample_end(&l, &names);
    sc_msg_digest_list_put(&b, &l);
    sc_rd_init(&r, b.data, b.len);
    CU_ASSERT_EQUAL(sc_get_u8(&r), SC_EVT_DIGEST_LIST);
    CU_ASSERT_EQUAL(sc_msg_digest_list_get(&r, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.context.len, 0);
    CU_ASSERT_EQUAL(got.range, 256);
    CU_ASSERT_EQUAL(got.n, 2);
    sc_rd_init(&in, got.items, got.items_len);
    CU_ASSERT_EQUAL(memcmp(sc_get_str(&in, 10, &len), "shop", 4), 0);
    CU_ASSERT_EQUAL(memcmp(sc_get_str(&in, 10, &len), "www", 3), 0);
    /* without names */
    l.n = 0;
    l.items_len = 0;
    l.items = NULL;
    CU_ASSERT_EQUAL(read_list(&l), APR_SUCCESS);
    l.range = 257;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    sc_buf_free(&names);
    sc_buf_free(&b);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void test_digest_bounds(void)
{
    static const apr_uint64_t ranges[] = {0, 255, 257, ~(apr_uint64_t)0};
    char name[SC_CONTEXT_MAX + 1];
    sc_msg_digest_t d, got;
    sc_buf_t b;
    apr_uint32_t i, k;

    sc_buf_init(&b, LIMIT);
    memset(name, 'x', sizeof(name));
    memset(&d, 0, sizeof(d));
    d.ncontexts = SC_CONTEXTS_MAX;
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        d.context[i].s = name;
        d.context[i].len = SC_CONTEXT_MAX;
    }
    sc_msg_digest_put(&b, &d);
    CU_ASSERT_EQUAL(read_any(b.data, b.len), APR_SUCCESS);
    d.context[5].len = SC_CONTEXT_MAX + 1;
    sc_buf_clear(&b);
    sc_msg_digest_put(&b, &d);
    CU_ASSERT_EQUAL(read_any(b.data, b.len), APR_EINVAL);
    d.context[5].len = 0;
    sc_buf_clear(&b);
    sc_msg_digest_put(&b, &d);
    CU_ASSERT_EQUAL(read_any(b.data, b.len), APR_EINVAL);
    d.context[5] = text("a\0b");
    d.context[5].len = 3;
    sc_buf_clear(&b);
    sc_msg_digest_put(&b, &d);
    CU_ASSERT_EQUAL(read_any(b.data, b.len), APR_EINVAL);
    /* one context too many, and any other number of ranges */
    for (k = 0; k <= sizeof(ranges) / sizeof(ranges[0]); k++) {
        apr_uint32_t n = k == 0 ? SC_CONTEXTS_MAX + 1 : 1;
        sc_rd_t r;

        sc_buf_clear(&b);
        sc_put_varint(&b, 1);
        sc_put_varint(&b, n);
        for (i = 0; i < n; i++) {
            sc_put_str(&b, "shop", 4);
        }
        sc_put_varint(&b, k == 0 ? SC_DIGEST_RANGES : ranges[k - 1]);
        for (i = 0; i < 300; i++) {
            sc_put_u64(&b, i);
        }
        sc_rd_init(&r, b.data, b.len);
        CU_ASSERT_EQUAL(sc_msg_digest_get(&r, &got), APR_EINVAL);
    }
    sc_buf_free(&b);
}

static void test_list_bounds(void)
{
    sc_msg_digest_list_t l;
    sc_buf_t items;
    sc_id_t id;

    sc_buf_init(&items, LIMIT);
    sample_list(&l, &items, SC_DIGEST_ITEMS);
    CU_ASSERT_EQUAL(read_list(&l), APR_SUCCESS);
    sample_list(&l, &items, SC_DIGEST_ITEMS + 1);
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    sample_list(&l, &items, 0);
    CU_ASSERT_EQUAL(read_list(&l), APR_SUCCESS);
    l.upto = l.from;
    CU_ASSERT_EQUAL(read_list(&l), APR_SUCCESS);
    /* the interval upside down, or not of the range */
    sample_list(&l, &items, 0);
    l.from = id_of(6);
    l.upto = id_of(5);
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    sample_list(&l, &items, 3);
    l.from.b[0] = 6;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    sample_list(&l, &items, 3);
    l.upto.b[0] = 8;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    l.upto.b[0] = 7;
    l.range = 256;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    /* items at and beyond the ends of the interval */
    sample_list(&l, &items, 3);
    l.from = id_of(1);
    l.upto = id_of(3);
    CU_ASSERT_EQUAL(read_list(&l), APR_SUCCESS);
    l.from = id_of(2);
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    l.from = id_of(0);
    l.upto = id_of(2);
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    /* order */
    sample_list(&l, &items, 3);
    id = id_of(1);
    memcpy(items.data + ITEM, id.b, SC_ID_LEN);
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    id = id_of(4);
    memcpy(items.data + ITEM, id.b, SC_ID_LEN);
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    /* a number that is not that of the items */
    sample_list(&l, &items, 3);
    l.n = 2;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    l.n = 4;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    l.n = 3 + ((apr_uint64_t)1 << 61); /* times 24 it wraps around */
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    sc_buf_free(&items);
}

static void test_end_bounds(void)
{
    sc_msg_digest_list_t l;
    sc_buf_t names;
    int i;

    sc_buf_init(&names, LIMIT);
    sample_end(&l, &names);
    l.n = 3;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    sc_buf_clear(&names);
    for (i = 0; i < SC_CONTEXTS_MAX + 1; i++) {
        sc_put_str(&names, "x", 1);
    }
    l.items = names.data;
    l.items_len = names.len;
    l.n = SC_CONTEXTS_MAX;
    CU_ASSERT_EQUAL(read_list(&l), APR_SUCCESS);
    l.n = SC_CONTEXTS_MAX + 1;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    sc_buf_clear(&names);
    sc_put_str(&names, "", 0);
    l.n = 1;
    l.items_len = names.len;
    CU_ASSERT_EQUAL(read_list(&l), APR_EINVAL);
    sc_buf_free(&names);
}

/* ---- hostile --------------------------------------------------------------------------------- */

#define SAMPLES 3

static void sample_message(int which, sc_buf_t *b)
{
    sc_msg_digest_list_t l;
    sc_msg_digest_t d;
    sc_buf_t items;

    sc_buf_clear(b);
    sc_buf_init(&items, LIMIT);
    if (which == 0) {
        sample_digest(&d);
        sc_msg_digest_put(b, &d);
    } else {
        if (which == 1) {
            sample_list(&l, &items, 5);
        } else {
            sample_end(&l, &items);
        }
        sc_msg_digest_list_put(b, &l);
    }
    sc_buf_free(&items);
}

static void test_truncated(void)
{
    apr_size_t n;
    sc_buf_t b;
    int which;

    sc_buf_init(&b, LIMIT);
    for (which = 0; which < SAMPLES; which++) {
        sample_message(which, &b);
        CU_ASSERT_EQUAL(read_any(b.data, b.len), APR_SUCCESS);
        for (n = 0; n < b.len; n++) {
            unsigned char *cut = malloc(n + 1);

            memcpy(cut, b.data, n);
            CU_ASSERT_EQUAL(read_any(cut, n), APR_EINVAL);
            free(cut);
        }
        sc_put(&b, "of a later version", 18);
        CU_ASSERT_EQUAL(read_any(b.data, b.len), APR_SUCCESS);
    }
    sc_buf_free(&b);
}

static void test_random(void)
{
    sc_buf_t b;
    int round;

    rnd_state = 77;
    sc_buf_init(&b, LIMIT);
    for (round = 0; round < 20000; round++) {
        unsigned char *copy;
        apr_uint32_t k;

        sample_message((int)rnd(SAMPLES), &b);
        copy = malloc(b.len);
        memcpy(copy, b.data, b.len);
        for (k = 1 + rnd(5); k > 0; k--) {
            copy[1 + rnd((apr_uint32_t)b.len - 1)] = (unsigned char)rnd(256);
        }
        (void)read_any(copy, b.len); /* nothing outside of copy is touched */
        free(copy);
    }
    sc_buf_free(&b);
    CU_PASS("survived");
}

void sc_suite_message_digest(void)
{
    CU_pSuite s = CU_add_suite("message_digest", NULL, NULL);

    CU_add_test(s, "sums there and back", test_digest);
    CU_add_test(s, "lists there and back", test_list);
    CU_add_test(s, "the end there and back", test_end);
    CU_add_test(s, "bounds of sums", test_digest_bounds);
    CU_add_test(s, "bounds of lists", test_list_bounds);
    CU_add_test(s, "bounds of the end", test_end_bounds);
    CU_add_test(s, "truncated", test_truncated);
    CU_add_test(s, "random bytes", test_random);
}
