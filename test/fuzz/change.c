/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a child asks for. What is accepted is written again to the same bytes, and becomes a
 * well-formed delta, in which each name stands once with the value that was given last.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_session.h"

#define LIMIT (64 * 1024)

static void build(fuzz_in_t *in, sc_buf_t *b)
{
    static const char *const names[] = {"a", "A", "user", "User", "cart", "\xff", "z"};
    unsigned int entries = fuzz_below(in, 12);
    sc_change_t c;
    sc_buf_t attrs;
    size_t n;

    memset(&c, 0, sizeof(c));
    sc_buf_init(&attrs, LIMIT);
    c.context = "shop";
    c.context_len = fuzz_below(in, 5);
    memset(c.id.b, (int)fuzz_u8(in), sizeof(c.id.b));
    c.flags = fuzz_u8(in) & 1;
    c.max_idle_s = (apr_uint32_t)fuzz_number(in);
    for (; c.nattrs < entries; c.nattrs++) {
        const char *name = names[fuzz_below(in, 7)];
        const char *value = (const char *)fuzz_text(in, 600, &n);

        sc_change_attr_put(&attrs, name, strlen(name), fuzz_below(in, 3) == 0 ? NULL : value, n);
    }
    fuzz_damage(in, &attrs);
    c.nattrs += fuzz_u8(in) == 1;
    c.attrs = attrs.data;
    c.attrs_len = attrs.len;
    c.hint = (const char *)fuzz_text(in, SC_ROUTE_MAX + 2, &n);
    c.hint_len = n;
    sc_change_put(b, &c);
    fuzz_damage(in, b);
    sc_buf_free(&attrs);
}

static void check_delta(const sc_change_t *c, apr_pool_t *pool)
{
    static const sc_stamp_t stamp = {77, 7};
    sc_buf_t delta;
    sc_attr_t a;
    sc_rd_t r;
    apr_uint32_t n = 0;

    sc_buf_init(&delta, 4 * LIMIT);
    FUZZ_CHECK(sc_change_to_delta(c, &stamp, &delta, pool) == APR_SUCCESS);
    FUZZ_CHECK(sc_body_check(delta.data, delta.len) == APR_SUCCESS);
    sc_rd_init(&r, delta.data, delta.len);
    for (; sc_attr_get(&r, &a) == APR_SUCCESS; n++) {
        FUZZ_CHECK(a.stamp.hlc == stamp.hlc && a.stamp.node == stamp.node);
    }
    FUZZ_CHECK(n <= c->nattrs && (n > 0) == (c->nattrs > 0));
    sc_buf_free(&delta);
    sc_buf_init(&delta, 20); /* a bound that most of them pass */
    (void)sc_change_to_delta(c, &stamp, &delta, pool);
    FUZZ_CHECK(delta.len <= 20);
    sc_buf_free(&delta);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *pool = fuzz_start();
    fuzz_in_t in = {data, size};
    unsigned char *bytes;
    sc_change_t c;
    sc_buf_t b, again;

    sc_buf_init(&b, LIMIT);
    sc_buf_init(&again, LIMIT);
    if (size > 0 && data[0] == 0) {
        (void)fuzz_u8(&in);
        build(&in, &b);
    } else {
        sc_put(&b, data, size < LIMIT ? size : LIMIT);
    }
    bytes = fuzz_copy(b.data, b.len);
    if (sc_change_get(&c, bytes, b.len) == APR_SUCCESS) {
        FUZZ_CHECK(c.context_len > 0 && c.context_len <= SC_CONTEXT_MAX);
        FUZZ_CHECK(c.hint_len <= SC_ROUTE_MAX);
        sc_change_put(&again, &c);
        FUZZ_CHECK(again.len == b.len && memcmp(again.data, bytes, b.len) == 0);
        check_delta(&c, pool);
    }
    free(bytes);
    sc_buf_free(&again);
    sc_buf_free(&b);
    return 0;
}
