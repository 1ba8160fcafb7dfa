/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Bodies of sessions: reading, checking, merging.
 *
 * A body is sorted by name, so merging two is one pass over both, like the last step of a merge
 * sort, and two nodes that have seen the same changes hold the same bytes. For that the order of
 * two versions of one attribute must be total: where even the stamps are equal (which only a broken
 * or hostile peer can bring about) the content decides, so that the outcome never depends on who
 * came first.
 */
#include <string.h>

#include "sc_session.h"

static unsigned char fold(char c)
{
    unsigned char u = (unsigned char)c;

    return u >= 'A' && u <= 'Z' ? (unsigned char)(u + ('a' - 'A')) : u;
}

int sc_attr_name_cmp(const char *a, apr_size_t alen, const char *b, apr_size_t blen)
{
    apr_size_t n = alen < blen ? alen : blen;
    apr_size_t i;

    for (i = 0; i < n; i++) {
        unsigned char x = fold(a[i]);
        unsigned char y = fold(b[i]);

        if (x != y) {
            return x < y ? -1 : 1;
        }
    }
    if (alen != blen) {
        return alen < blen ? -1 : 1;
    }
    return 0;
}

static int bytes_cmp(const char *a, apr_size_t alen, const char *b, apr_size_t blen)
{
    apr_size_t n = alen < blen ? alen : blen;
    int c = n > 0 ? memcmp(a, b, n) : 0;

    if (c != 0) {
        return c;
    }
    if (alen != blen) {
        return alen < blen ? -1 : 1;
    }
    return 0;
}

/* Total order of the versions of one attribute. A removal beats a value of the same stamp. */
static int attr_cmp(const sc_attr_t *a, const sc_attr_t *b)
{
    int c = sc_stamp_cmp(&a->stamp, &b->stamp);

    if (c == 0) {
        c = (int)(a->flags & SC_ATTR_REMOVED) - (int)(b->flags & SC_ATTR_REMOVED);
    }
    if (c == 0) {
        c = bytes_cmp(a->value, a->value_len, b->value, b->value_len);
    }
    if (c == 0) {
        c = bytes_cmp(a->name, a->name_len, b->name, b->name_len);
    }
    return c;
}

void sc_attr_put(sc_buf_t *b, const sc_attr_t *a)
{
    sc_put_u8(b, a->flags);
    sc_put_u64(b, a->stamp.hlc);
    sc_put_u32(b, a->stamp.node);
    sc_put_str(b, a->name, a->name_len);
    if (!(a->flags & SC_ATTR_REMOVED)) {
        sc_put_str(b, a->value, a->value_len);
    }
}

/* mod_session's table holds C strings: no NUL anywhere. */
static int whole(const unsigned char *text, apr_size_t len)
{
    return text != NULL && (len == 0 || memchr(text, 0, len) == NULL);
}

apr_status_t sc_attr_get(sc_rd_t *r, sc_attr_t *a)
{
    const unsigned char *p;

    memset(a, 0, sizeof(*a));
    if (r->bad) {
        return APR_EINVAL;
    }
    if (sc_rd_left(r) == 0) {
        return APR_EOF;
    }
    a->flags = sc_get_u8(r);
    a->stamp.hlc = sc_get_u64(r);
    a->stamp.node = sc_get_u32(r);
    p = sc_get_str(r, SC_NAME_MAX, &a->name_len);
    if (r->bad || (a->flags & ~(unsigned int)SC_ATTR_REMOVED) || a->name_len == 0 ||
        !whole(p, a->name_len)) {
        return APR_EINVAL;
    }
    a->name = (const char *)p;
    if (!(a->flags & SC_ATTR_REMOVED)) {
        p = sc_get_str(r, sc_rd_left(r), &a->value_len);
        if (r->bad || !whole(p, a->value_len)) {
            return APR_EINVAL;
        }
        a->value = (const char *)p;
    }
    return APR_SUCCESS;
}

apr_status_t sc_body_check(const void *body, apr_size_t len)
{
    sc_attr_t last, a;
    apr_status_t rv;
    sc_rd_t r;

    sc_rd_init(&r, body, len);
    memset(&last, 0, sizeof(last));
    while ((rv = sc_attr_get(&r, &a)) == APR_SUCCESS) {
        if (last.name != NULL &&
            sc_attr_name_cmp(last.name, last.name_len, a.name, a.name_len) >= 0) {
            return APR_EINVAL;
        }
        last = a;
    }
    return rv == APR_EOF ? APR_SUCCESS : rv;
}

/* A removal too old to be remembered. */
static int stale(const sc_attr_t *a, const sc_stamp_t *drop_before)
{
    return (a->flags & SC_ATTR_REMOVED) && sc_stamp_cmp(&a->stamp, drop_before) < 0;
}

/* One attribute of the result, or of what is left out of it. */
static void keep(const sc_attr_t *a, const sc_stamp_t *drop_before, sc_buf_t *out,
                 sc_merge_t *result)
{
    if (sc_stamp_cmp(&a->stamp, &result->newest) > 0) {
        result->newest = a->stamp;
    }
    if (stale(a, drop_before)) {
        return;
    }
    if (!(a->flags & SC_ATTR_REMOVED)) {
        result->live++;
    }
    sc_attr_put(out, a);
}

/* Order of the fronts of two bodies; one that has come to its end is behind the other. */
static int front_cmp(apr_status_t ra, const sc_attr_t *a, apr_status_t rb, const sc_attr_t *b)
{
    if (ra == APR_SUCCESS && rb == APR_SUCCESS) {
        return sc_attr_name_cmp(a->name, a->name_len, b->name, b->name_len);
    }
    return ra == APR_SUCCESS ? -1 : 1;
}

static int broken(apr_status_t rv)
{
    return rv != APR_SUCCESS && rv != APR_EOF;
}

apr_status_t sc_body_merge(const void *old_body, apr_size_t old_len, const void *delta,
                           apr_size_t delta_len, const sc_stamp_t *drop_before, sc_buf_t *out,
                           sc_merge_t *result)
{
    apr_status_t ra, rb;
    sc_rd_t old_rd, delta_rd;
    sc_attr_t a, b;

    memset(result, 0, sizeof(*result));
    sc_buf_clear(out);
    sc_rd_init(&old_rd, old_body, old_len);
    sc_rd_init(&delta_rd, delta, delta_len);
    ra = sc_attr_get(&old_rd, &a);
    rb = sc_attr_get(&delta_rd, &b);
    while (!broken(ra) && !broken(rb) && (ra == APR_SUCCESS || rb == APR_SUCCESS)) {
        int c = front_cmp(ra, &a, rb, &b);

        if (c < 0) {
            keep(&a, drop_before, out, result);
        } else if (c > 0) {
            /* a removal of what was not there and is not to be remembered is nothing new */
            result->changed |= !stale(&b, drop_before);
            keep(&b, drop_before, out, result);
        } else if (attr_cmp(&b, &a) > 0) {
            result->changed = 1;
            keep(&b, drop_before, out, result);
        } else {
            keep(&a, drop_before, out, result);
        }
        if (c <= 0) {
            ra = sc_attr_get(&old_rd, &a);
        }
        if (c >= 0) {
            rb = sc_attr_get(&delta_rd, &b);
        }
    }
    return ra == APR_EOF && rb == APR_EOF ? out->err : APR_EINVAL;
}

apr_size_t sc_body_payload(const void *body, apr_size_t len)
{
    apr_size_t n = 0;
    sc_attr_t a;
    sc_rd_t r;

    sc_rd_init(&r, body, len);
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        if (!(a.flags & SC_ATTR_REMOVED)) {
            n += a.name_len + a.value_len;
        }
    }
    return n;
}

/* FNV-1a: no adversary gains anything by a collision here. */
apr_uint64_t sc_body_digest(const void *body, apr_size_t len)
{
    const unsigned char *p = body;
    apr_uint64_t h = 14695981039346656037ull;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        h = (h ^ p[i]) * 1099511628211ull;
    }
    return h;
}
