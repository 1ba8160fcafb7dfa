/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Values of the central store: raw bytes, and what somebody who knows how to compute digests can
 * put there. What is taken for a session can be written again as it is; a change of it wins and
 * leaves a session; nothing that is none makes one.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_central.h"

#define VALUE_MAX 8192

typedef struct content_t {
    sc_central_key_t key;
    unsigned char *data; /* of the exact size; NULL: nothing there */
    apr_size_t len;
    int puts;
} content_t;

static apr_status_t get(void *baton, const sc_central_key_t *key, unsigned char *out,
                        apr_size_t *len)
{
    const content_t *c = baton;

    if (!c->data || memcmp(&c->key, key, sizeof(*key)) != 0) {
        return APR_NOTFOUND;
    }
    if (c->len > *len) {
        return APR_ENOSPC;
    }
    if (c->len > 0) {
        memcpy(out, c->data, c->len);
    }
    *len = c->len;
    return APR_SUCCESS;
}

static apr_status_t put(void *baton, const sc_central_key_t *key, const unsigned char *data,
                        apr_size_t len, apr_uint32_t ttl_s)
{
    content_t *c = baton;

    FUZZ_CHECK(len <= VALUE_MAX && ttl_s > 0);
    c->puts++;
    if (memcmp(&c->key, key, sizeof(*key)) == 0) {
        free(c->data);
        c->data = fuzz_copy(data, len);
        c->len = len;
    }
    return APR_SUCCESS;
}

static apr_time_t fixed(void *ctx)
{
    (void)ctx;
    return apr_time_from_sec(1700000000);
}

static const sc_clock_t clock_fixed = {NULL, fixed, fixed};

/* ---- content --------------------------------------------------------------------------------- */

static void put_body(fuzz_in_t *in, sc_buf_t *body)
{
    static const char *const names[] = {"a", "B", "user", "z"};

    for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsigned int c = fuzz_u8(in);
        sc_attr_t a;
        size_t n;

        if (c & 1) {
            continue;
        }
        memset(&a, 0, sizeof(a));
        a.name = names[i];
        a.name_len = strlen(names[i]);
        a.flags = c >> 1 & 1;
        a.stamp.hlc = fuzz_number(in);
        a.stamp.node = fuzz_u8(in);
        a.value = (const char *)fuzz_text(in, 200, &n);
        a.value_len = n;
        if (a.flags & SC_ATTR_REMOVED) {
            a.value = NULL;
            a.value_len = 0;
        }
        sc_attr_put(body, &a);
    }
    fuzz_damage(in, body);
}

/* A digest that fits, whatever the rest is. */
static void forge(fuzz_in_t *in, const sc_central_key_t *key, sc_buf_t *out)
{
    sc_central_value_t v;
    sc_buf_t body;

    memset(&v, 0, sizeof(v));
    sc_buf_init(&body, VALUE_MAX / 2);
    v.kind = (sc_central_kind_t)fuzz_u8(in);
    v.writer = fuzz_u32(in);
    v.created_ms = fuzz_number(in);
    v.accessed_ms = fuzz_number(in);
    v.max_idle_s = (apr_uint32_t)fuzz_number(in);
    v.stamp.hlc = fuzz_number(in);
    v.stamp.node = fuzz_u8(in);
    put_body(in, &body);
    v.body = body.data;
    v.body_len = body.len;
    sc_central_value_put(out, key, &v);
    sc_buf_free(&body);
}

static void check_decoded(const content_t *c)
{
    sc_central_value_t v;
    sc_buf_t again;

    if (sc_central_value_get(&v, &c->key, c->data, c->len) != APR_SUCCESS) {
        return;
    }
    FUZZ_CHECK(sc_body_check(v.body, v.body_len) == APR_SUCCESS);
    sc_buf_init(&again, VALUE_MAX);
    sc_central_value_put(&again, &c->key, &v);
    FUZZ_CHECK(again.len == c->len && memcmp(again.data, c->data, c->len) == 0);
    sc_buf_free(&again);
}

/* ---- what is done with it -------------------------------------------------------------------- */

static void check_changed(const content_t *c)
{
    sc_central_value_t v;
    sc_attr_t a;
    sc_rd_t r;

    FUZZ_CHECK(sc_central_value_get(&v, &c->key, c->data, c->len) == APR_SUCCESS);
    FUZZ_CHECK(v.kind == SC_CENTRAL_LIVE);
    sc_rd_init(&r, v.body, v.body_len);
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        if (sc_attr_name_cmp(a.name, a.name_len, "user", 4) == 0) {
            FUZZ_CHECK(a.value_len == 3 && memcmp(a.value, "new", 3) == 0);
            return;
        }
    }
    FUZZ_CHECK(!"the change is there");
}

static void work(const sc_central_t *rules, content_t *c)
{
    sc_central_store_t store = {c, get, put, NULL, NULL, NULL};
    sc_buf_t value, attrs, delta;
    sc_central_value_t v;
    sc_change_t change;
    sc_outcome_t found, changed, ended;

    sc_buf_init(&value, VALUE_MAX);
    sc_buf_init(&attrs, 100);
    sc_buf_init(&delta, VALUE_MAX);
    memset(&change, 0, sizeof(change));
    sc_change_attr_put(&attrs, "user", 4, "new", 3);
    change.context = change.hint = "";
    change.attrs = attrs.data;
    change.attrs_len = attrs.len;
    change.nattrs = 1;
    change.max_idle_s = 100;
    found = sc_central_find(rules, &store, &c->key, &value, &v);
    changed = sc_central_change(rules, &store, &c->key, &change, &value, &delta);
    FUZZ_CHECK((found == SC_FOUND) == (changed == SC_DONE || changed == SC_TOO_LARGE));
    if (changed == SC_DONE) {
        check_changed(c);
        FUZZ_CHECK(sc_central_look(rules, &store, &c->key, &delta, &value) == SC_DONE);
    }
    (void)sc_central_touch(rules, &store, &c->key, &value);
    ended = sc_central_end(rules, &store, &c->key, &value);
    /* one that goes on under another id does not end here */
    FUZZ_CHECK(ended == SC_DONE || (ended == SC_ABSENT && found == SC_ABSENT));
    FUZZ_CHECK(sc_central_find(rules, &store, &c->key, &value, &v) == SC_ABSENT);
    sc_buf_free(&delta);
    sc_buf_free(&attrs);
    sc_buf_free(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sc_central_memory_t memory;
    fuzz_in_t in = {data, size};
    sc_central_t rules;
    content_t c;
    sc_buf_t bytes;
    sc_id_t id = {{7}};

    (void)fuzz_start();
    memset(&memory, 0, sizeof(memory));
    memset(&rules, 0, sizeof(rules));
    memset(&c, 0, sizeof(c));
    memory.node = 77;
    rules.memory = &memory;
    rules.clock = &clock_fixed;
    rules.prefix = "fuzz";
    rules.local = 1;
    rules.max_value = VALUE_MAX;
    rules.max_session = 2000;
    rules.max_ttl_s = 100000;
    rules.touch_s = 30;
    rules.tombstone_s = 600;
    FUZZ_CHECK(sc_central_key(&c.key, rules.prefix, "app", 3, &id) == APR_SUCCESS);
    sc_buf_init(&bytes, VALUE_MAX);
    if (fuzz_u8(&in) & 1) {
        size_t n;
        const unsigned char *p = fuzz_text(&in, VALUE_MAX, &n);

        sc_put(&bytes, p, n);
    } else {
        forge(&in, &c.key, &bytes);
    }
    c.data = fuzz_copy(bytes.data, bytes.len);
    c.len = bytes.len;
    sc_buf_free(&bytes);
    check_decoded(&c);
    work(&rules, &c);
    free(c.data);
    return 0;
}
