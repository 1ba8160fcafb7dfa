/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Bodies of sessions and the requests of the children: codecs, hostile input, and the algebra of
 * merging (commutative, associative, idempotent), which is what makes nodes converge.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "sc_session.h"

void sc_suite_session(void);

#define LIMIT (1024 * 1024)

static const sc_stamp_t keep_all = {0, 0};

/* ---- a small deterministic source of randomness ---------------------------------------------- */

static apr_uint64_t rnd_state;

static apr_uint32_t rnd(apr_uint32_t n)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    rnd_state ^= rnd_state << 17;
    return (apr_uint32_t)((rnd_state >> 11) % n);
}

/* ---- helpers --------------------------------------------------------------------------------- */

static void add(sc_buf_t *b, const char *name, const char *value, apr_uint64_t hlc,
                apr_uint32_t node)
{
    sc_attr_t a;

    memset(&a, 0, sizeof(a));
    a.name = name;
    a.name_len = strlen(name);
    a.value = value;
    a.value_len = value != NULL ? strlen(value) : 0;
    a.flags = value == NULL ? SC_ATTR_REMOVED : 0;
    a.stamp.hlc = hlc;
    a.stamp.node = node;
    sc_attr_put(b, &a);
}

static const char *value_of(const sc_buf_t *b, const char *name, char *out)
{
    sc_attr_t a;
    sc_rd_t r;

    sc_rd_init(&r, b->data, b->len);
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        if (sc_attr_name_cmp(a.name, a.name_len, name, strlen(name)) == 0) {
            if (a.flags & SC_ATTR_REMOVED) {
                return "(removed)";
            }
            memcpy(out, a.value, a.value_len);
            out[a.value_len] = '\0';
            return out;
        }
    }
    return NULL;
}

static apr_status_t merge(const sc_buf_t *old, const sc_buf_t *delta, sc_buf_t *out,
                          sc_merge_t *result)
{
    return sc_body_merge(old->data, old->len, delta->data, delta->len, &keep_all, out, result);
}

static int same(const sc_buf_t *a, const sc_buf_t *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* ---- attributes ------------------------------------------------------------------------------ */

static void test_names(void)
{
    CU_ASSERT_EQUAL(sc_attr_name_cmp("Name", 4, "nAME", 4), 0);
    CU_ASSERT(sc_attr_name_cmp("a", 1, "B", 1) < 0);
    CU_ASSERT(sc_attr_name_cmp("B", 1, "a", 1) > 0);
    CU_ASSERT(sc_attr_name_cmp("a", 1, "ab", 2) < 0);
    CU_ASSERT(sc_attr_name_cmp("[", 1, "a", 1) < 0); /* only letters are folded */
    CU_ASSERT(sc_attr_name_cmp("\xc4", 1, "\xe4", 1) != 0);
    CU_ASSERT_EQUAL(sc_attr_name_cmp("", 0, "", 0), 0);
}

static void test_attr_round_trip(void)
{
    sc_attr_t a;
    sc_buf_t b;
    sc_rd_t r;

    sc_buf_init(&b, LIMIT);
    add(&b, "empty", "", 1, 2);
    add(&b, "gone", NULL, 0xfffffffffffffffeull, 0xffffffffu);
    add(&b, "text", "x=y&z", 3, 4);
    CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_body_check(b.data, b.len), APR_SUCCESS);
    sc_rd_init(&r, b.data, b.len);
    CU_ASSERT_EQUAL_FATAL(sc_attr_get(&r, &a), APR_SUCCESS);
    CU_ASSERT(a.value != NULL && a.value_len == 0);
    CU_ASSERT_EQUAL_FATAL(sc_attr_get(&r, &a), APR_SUCCESS);
    CU_ASSERT(a.value == NULL && a.flags == SC_ATTR_REMOVED);
    CU_ASSERT(a.stamp.hlc == 0xfffffffffffffffeull && a.stamp.node == 0xffffffffu);
    CU_ASSERT_EQUAL_FATAL(sc_attr_get(&r, &a), APR_SUCCESS);
    CU_ASSERT(a.value_len == 5 && memcmp(a.value, "x=y&z", 5) == 0);
    CU_ASSERT_EQUAL(sc_attr_get(&r, &a), APR_EOF);
    CU_ASSERT_EQUAL(sc_body_payload(b.data, b.len), 5 + 4 + 5);
    sc_buf_free(&b);
}

static void check_refused(const sc_buf_t *b)
{
    CU_ASSERT_EQUAL(sc_body_check(b->data, b->len), APR_EINVAL);
}

static void test_body_check(void)
{
    char name[SC_NAME_MAX + 2];
    sc_attr_t a;
    sc_buf_t b;
    apr_size_t n;

    sc_buf_init(&b, LIMIT);
    CU_ASSERT_EQUAL(sc_body_check(NULL, 0), APR_SUCCESS);

    add(&b, "b", "1", 1, 1);
    add(&b, "a", "1", 1, 1);
    check_refused(&b); /* not ascending */
    sc_buf_clear(&b);
    add(&b, "a", "1", 1, 1);
    add(&b, "A", "1", 1, 1);
    check_refused(&b); /* one name twice */
    sc_buf_clear(&b);
    add(&b, "", "1", 1, 1);
    check_refused(&b); /* no name */

    memset(name, 'n', sizeof(name));
    memset(&a, 0, sizeof(a));
    a.name = name;
    a.value = "";
    for (n = SC_NAME_MAX; n <= SC_NAME_MAX + 1; n++) {
        sc_buf_clear(&b);
        a.name_len = n;
        sc_attr_put(&b, &a);
        CU_ASSERT_EQUAL(sc_body_check(b.data, b.len), n <= SC_NAME_MAX ? APR_SUCCESS : APR_EINVAL);
    }
    sc_buf_clear(&b);
    a.name = "a\0b";
    a.name_len = 3;
    sc_attr_put(&b, &a);
    check_refused(&b); /* NUL in the name */
    sc_buf_clear(&b);
    a.name_len = 1;
    a.value = "x\0y";
    a.value_len = 3;
    sc_attr_put(&b, &a);
    check_refused(&b); /* NUL in the value */
    sc_buf_clear(&b);
    a.flags = 2;
    sc_attr_put(&b, &a);
    check_refused(&b); /* a flag nobody knows */
    sc_buf_free(&b);
}

/* Every truncation of a good body is refused, except at the borders of attributes. */
static void test_truncated(void)
{
    apr_size_t border[3];
    sc_buf_t b;
    apr_size_t n;

    sc_buf_init(&b, LIMIT);
    border[0] = 0;
    add(&b, "alpha", "one", 1, 1);
    border[1] = b.len;
    add(&b, "beta", NULL, 2, 1);
    border[2] = b.len;
    add(&b, "gamma", "three", 3, 1);
    for (n = 0; n < b.len; n++) {
        unsigned char *cut = malloc(n + 1); /* so that a reader that runs over is seen */
        int fits = n == border[0] || n == border[1] || n == border[2];

        memcpy(cut, b.data, n);
        CU_ASSERT_EQUAL(sc_body_check(cut, n), fits ? APR_SUCCESS : APR_EINVAL);
        free(cut);
    }
    sc_buf_free(&b);
}

/* ---- merging --------------------------------------------------------------------------------- */

static void test_merge_rules(void)
{
    sc_buf_t a, b, out;
    sc_merge_t result;
    char v[64];

    sc_buf_init(&a, LIMIT);
    sc_buf_init(&b, LIMIT);
    sc_buf_init(&out, LIMIT);
    add(&a, "kept", "a", 5, 1);
    add(&a, "lost", "a", 5, 1);
    add(&a, "removed", "a", 5, 1);
    add(&a, "revived", NULL, 5, 1);
    add(&a, "tie", "a", 5, 1);
    add(&b, "Kept", "b", 4, 9);
    add(&b, "Lost", "b", 6, 0);
    add(&b, "new", "b", 1, 1);
    add(&b, "removed", NULL, 6, 1);
    add(&b, "revived", "b", 6, 1);
    add(&b, "tie", "b", 5, 2);
    CU_ASSERT_EQUAL(merge(&a, &b, &out, &result), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(value_of(&out, "kept", v), "a");
    CU_ASSERT_STRING_EQUAL(value_of(&out, "lost", v), "b");
    CU_ASSERT_STRING_EQUAL(value_of(&out, "new", v), "b");
    CU_ASSERT_STRING_EQUAL(value_of(&out, "removed", v), "(removed)");
    CU_ASSERT_STRING_EQUAL(value_of(&out, "revived", v), "b");
    CU_ASSERT_STRING_EQUAL(value_of(&out, "tie", v), "b"); /* the node breaks the tie */
    CU_ASSERT_EQUAL(result.changed, 1);
    CU_ASSERT_EQUAL(result.live, 5);
    CU_ASSERT_EQUAL(result.newest.hlc, 6);
    CU_ASSERT_EQUAL(sc_body_check(out.data, out.len), APR_SUCCESS);

    /* nothing new */
    CU_ASSERT_EQUAL(merge(&out, &b, &a, &result), APR_SUCCESS);
    CU_ASSERT_EQUAL(result.changed, 0);
    CU_ASSERT(same(&a, &out));
    sc_buf_free(&a);
    sc_buf_free(&b);
    sc_buf_free(&out);
}

static void test_merge_drops(void)
{
    const sc_stamp_t ten = {10, 0};
    sc_buf_t a, b, out;
    sc_merge_t result;
    char v[64];

    sc_buf_init(&a, LIMIT);
    sc_buf_init(&b, LIMIT);
    sc_buf_init(&out, LIMIT);
    add(&a, "live", "old", 1, 1);
    add(&a, "old", NULL, 9, 1);
    add(&a, "young", NULL, 10, 1);
    add(&b, "never", NULL, 2, 1);
    CU_ASSERT_EQUAL(sc_body_merge(a.data, a.len, b.data, b.len, &ten, &out, &result), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(value_of(&out, "live", v), "old"); /* values are kept at any age */
    CU_ASSERT_PTR_NULL(value_of(&out, "old", v));
    CU_ASSERT_STRING_EQUAL(value_of(&out, "young", v), "(removed)");
    CU_ASSERT_PTR_NULL(value_of(&out, "never", v));
    CU_ASSERT_EQUAL(result.changed, 0); /* forgetting is no change */
    CU_ASSERT_EQUAL(result.live, 1);
    sc_buf_free(&a);
    sc_buf_free(&b);
    sc_buf_free(&out);
}

static void test_merge_bounds(void)
{
    sc_buf_t a, b, out;
    sc_merge_t result;

    sc_buf_init(&a, LIMIT);
    sc_buf_init(&b, LIMIT);
    add(&a, "a", "12345", 1, 1);
    add(&b, "b", "12345", 1, 1);
    sc_buf_init(&out, a.len + b.len);
    CU_ASSERT_EQUAL(merge(&a, &b, &out, &result), APR_SUCCESS);
    CU_ASSERT_EQUAL(out.len, a.len + b.len);
    sc_buf_free(&out);
    sc_buf_init(&out, a.len + b.len - 1);
    CU_ASSERT_EQUAL(merge(&a, &b, &out, &result), APR_ENOSPC);
    CU_ASSERT_EQUAL(sc_body_merge(a.data, a.len - 1, b.data, b.len, &keep_all, &out, &result),
                    APR_EINVAL);
    CU_ASSERT_EQUAL(sc_body_merge(a.data, a.len, b.data, b.len - 1, &keep_all, &out, &result),
                    APR_EINVAL);
    sc_buf_free(&a);
    sc_buf_free(&b);
    sc_buf_free(&out);
}

/* A random body over few names and stamps, so that names, stamps and even contents collide. */
static void random_body(sc_buf_t *b)
{
    static const char *const names[] = {"a", "B", "bb", "c", "D"};
    static const char *const folded[] = {"A", "b", "BB", "C", "d"};
    static const char *const values[] = {"", "1", "2", NULL};
    apr_uint32_t i;

    sc_buf_clear(b);
    for (i = 0; i < 5; i++) {
        if (rnd(3) > 0) {
            add(b, rnd(2) ? names[i] : folded[i], values[rnd(4)], rnd(3), rnd(3));
        }
    }
}

static void test_merge_algebra(void)
{
    sc_buf_t x, y, z, xy, yx, xy_z, yz, x_yz, xx;
    sc_buf_t *all[] = {&x, &y, &z, &xy, &yx, &xy_z, &yz, &x_yz, &xx};
    sc_merge_t r;
    int round, bad = 0;
    apr_size_t i;

    rnd_state = 0x1234567;
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sc_buf_init(all[i], LIMIT);
    }
    for (round = 0; round < 20000; round++) {
        random_body(&x);
        random_body(&y);
        random_body(&z);
        bad += merge(&x, &y, &xy, &r) != APR_SUCCESS;
        bad += r.changed != !same(&x, &xy); /* "changed" tells the truth */
        bad += merge(&y, &x, &yx, &r) != APR_SUCCESS;
        bad += !same(&xy, &yx); /* commutative */
        bad += merge(&xy, &z, &xy_z, &r) != APR_SUCCESS;
        bad += merge(&y, &z, &yz, &r) != APR_SUCCESS;
        bad += merge(&x, &yz, &x_yz, &r) != APR_SUCCESS;
        bad += !same(&xy_z, &x_yz); /* associative */
        bad += merge(&xy, &y, &xx, &r) != APR_SUCCESS;
        bad += !same(&xx, &xy) || r.changed; /* idempotent */
        bad += sc_body_check(x_yz.data, x_yz.len) != APR_SUCCESS;
    }
    CU_ASSERT_EQUAL(bad, 0);
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sc_buf_free(all[i]);
    }
}

/* ---- requests of the children ---------------------------------------------------------------- */

static void sample_change(sc_change_t *c, sc_buf_t *attrs)
{
    memset(c, 0, sizeof(*c));
    sc_buf_init(attrs, LIMIT);
    c->context = "shop";
    c->context_len = 4;
    memset(c->id.b, 0xA1, sizeof(c->id.b));
    memset(c->new_id.b, 0xB2, sizeof(c->new_id.b));
    c->flags = SC_CHANGE_NEW;
    c->max_idle_s = 0xffffffffu;
    c->hint = "n2";
    c->hint_len = 2;
    sc_change_attr_put(attrs, "user", 4, "ann", 3);
    sc_change_attr_put(attrs, "Cart", 4, "1", 1);
    sc_change_attr_put(attrs, "old", 3, NULL, 0);
    sc_change_attr_put(attrs, "cart", 4, "2", 1);
    sc_change_attr_put(attrs, "empty", 5, "", 0);
    c->nattrs = 5;
    c->attrs = attrs->data;
    c->attrs_len = attrs->len;
}

static void test_change_round_trip(void)
{
    sc_buf_t attrs, b;
    sc_change_t c, d;

    sample_change(&c, &attrs);
    sc_buf_init(&b, LIMIT);
    sc_change_put(&b, &c);
    CU_ASSERT_EQUAL_FATAL(sc_change_get(&d, b.data, b.len), APR_SUCCESS);
    CU_ASSERT(d.context_len == 4 && memcmp(d.context, "shop", 4) == 0);
    CU_ASSERT(memcmp(&d.id, &c.id, sizeof(c.id)) == 0);
    CU_ASSERT(memcmp(&d.new_id, &c.new_id, sizeof(c.id)) == 0);
    CU_ASSERT_EQUAL(d.flags, SC_CHANGE_NEW);
    CU_ASSERT_EQUAL(d.max_idle_s, 0xffffffffu);
    CU_ASSERT_EQUAL(d.nattrs, 5);
    CU_ASSERT(d.attrs_len == c.attrs_len && memcmp(d.attrs, c.attrs, c.attrs_len) == 0);
    CU_ASSERT(d.hint_len == 2 && memcmp(d.hint, "n2", 2) == 0);
    sc_buf_free(&attrs);
    sc_buf_free(&b);
}

static void test_change_to_delta(void)
{
    const sc_stamp_t stamp = {77, 8};
    apr_pool_t *pool;
    sc_buf_t attrs, out;
    sc_change_t c;
    char v[64];

    apr_pool_create(&pool, NULL);
    sample_change(&c, &attrs);
    sc_buf_init(&out, LIMIT);
    CU_ASSERT_EQUAL(sc_change_to_delta(&c, &stamp, &out, pool), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_body_check(out.data, out.len), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(value_of(&out, "cart", v), "2"); /* the later one counts */
    CU_ASSERT_STRING_EQUAL(value_of(&out, "user", v), "ann");
    CU_ASSERT_STRING_EQUAL(value_of(&out, "old", v), "(removed)");
    CU_ASSERT_STRING_EQUAL(value_of(&out, "empty", v), "");

    c.nattrs = 4; /* a number that is not that of the entries */
    CU_ASSERT_EQUAL(sc_change_to_delta(&c, &stamp, &out, pool), APR_EINVAL);
    c.nattrs = 6;
    CU_ASSERT_EQUAL(sc_change_to_delta(&c, &stamp, &out, pool), APR_EINVAL);
    c.nattrs = 0xffffffffu;
    CU_ASSERT_EQUAL(sc_change_to_delta(&c, &stamp, &out, pool), APR_EINVAL);
    c.nattrs = 5;
    sc_buf_free(&out);
    sc_buf_init(&out, 20);
    CU_ASSERT_EQUAL(sc_change_to_delta(&c, &stamp, &out, pool), APR_ENOSPC);
    c.nattrs = 0;
    c.attrs_len = 0;
    CU_ASSERT_EQUAL(sc_change_to_delta(&c, &stamp, &out, pool), APR_SUCCESS);
    CU_ASSERT_EQUAL(out.len, 0);
    sc_buf_free(&attrs);
    sc_buf_free(&out);
    apr_pool_destroy(pool);
}

static void refuse_change(const sc_change_t *c)
{
    sc_change_t d;
    sc_buf_t b;

    sc_buf_init(&b, LIMIT);
    sc_change_put(&b, c);
    CU_ASSERT_EQUAL(sc_change_get(&d, b.data, b.len), APR_EINVAL);
    sc_buf_free(&b);
}

static void test_change_refused(void)
{
    char text[SC_CONTEXT_MAX + 2];
    sc_buf_t attrs, bad;
    sc_change_t c, d;

    memset(text, 'x', sizeof(text));
    sample_change(&c, &attrs);
    d = c;
    d.context_len = 0;
    refuse_change(&d);
    d = c;
    d.context = text;
    d.context_len = SC_CONTEXT_MAX + 1;
    refuse_change(&d);
    d = c;
    d.context = "a\0b";
    d.context_len = 3;
    refuse_change(&d);
    d = c;
    d.hint = text;
    d.hint_len = SC_ROUTE_MAX + 1;
    refuse_change(&d);
    d = c;
    d.flags = 2;
    refuse_change(&d);
    d = c;
    d.nattrs = 4;
    refuse_change(&d);
    d.nattrs = 0x40000000u;
    refuse_change(&d);
    sc_buf_init(&bad, LIMIT);
    sc_change_attr_put(&bad, "", 0, "x", 1);
    d = c;
    d.nattrs = 1;
    d.attrs = bad.data;
    d.attrs_len = bad.len;
    refuse_change(&d);
    sc_buf_clear(&bad);
    sc_change_attr_put(&bad, "x", 1, "a\0b", 3);
    d.attrs = bad.data;
    d.attrs_len = bad.len;
    refuse_change(&d);
    sc_buf_free(&bad);
    sc_buf_free(&attrs);
}

/* Truncations and random bytes: refused or read, never more than that. */
static void test_change_hostile(void)
{
    sc_buf_t attrs, b;
    sc_change_t c, d;
    apr_size_t n;
    int round;

    rnd_state = 99;
    sample_change(&c, &attrs);
    sc_buf_init(&b, LIMIT);
    sc_change_put(&b, &c);
    for (n = 0; n < b.len; n++) {
        unsigned char *cut = malloc(n + 1);

        memcpy(cut, b.data, n);
        CU_ASSERT_EQUAL(sc_change_get(&d, cut, n), APR_EINVAL);
        free(cut);
    }
    sc_put_u8(&b, 0);
    CU_ASSERT_EQUAL(sc_change_get(&d, b.data, b.len), APR_EINVAL); /* bytes too many */
    b.len--;
    for (round = 0; round < 20000; round++) {
        unsigned char *copy = malloc(b.len);
        int k;

        memcpy(copy, b.data, b.len);
        for (k = 0; k < 3; k++) {
            copy[rnd((apr_uint32_t)b.len)] = (unsigned char)rnd(256);
        }
        if (sc_change_get(&d, copy, b.len) == APR_SUCCESS) {
            CU_ASSERT(d.context_len <= SC_CONTEXT_MAX && d.hint_len <= SC_ROUTE_MAX);
        }
        free(copy);
    }
    sc_buf_free(&attrs);
    sc_buf_free(&b);
}

void sc_suite_session(void)
{
    CU_pSuite s = CU_add_suite("session", NULL, NULL);

    CU_add_test(s, "names are compared without case", test_names);
    CU_add_test(s, "attributes there and back", test_attr_round_trip);
    CU_add_test(s, "bodies that are none", test_body_check);
    CU_add_test(s, "truncated bodies", test_truncated);
    CU_add_test(s, "merge: who wins", test_merge_rules);
    CU_add_test(s, "merge: old removals are forgotten", test_merge_drops);
    CU_add_test(s, "merge: bounds", test_merge_bounds);
    CU_add_test(s, "merge: commutative, associative, idempotent", test_merge_algebra);
    CU_add_test(s, "requests there and back", test_change_round_trip);
    CU_add_test(s, "requests to deltas", test_change_to_delta);
    CU_add_test(s, "requests refused", test_change_refused);
    CU_add_test(s, "requests: truncated and random", test_change_hostile);
}
