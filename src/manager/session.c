/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Bodies of sessions: reading, checking, merging; and the requests of the children.
 *
 * A body is sorted by name, so merging two is one pass over both, like the merge step of a merge
 * sort, and two nodes that have seen the same changes hold the same bytes. For that the order of
 * two versions of one attribute must be total: where even the stamps are equal (which only a broken
 * or hostile peer can bring about) the content decides, so that the outcome never depends on who
 * came first.
 */
#include <stdlib.h>
#include <string.h>

#include "sc_session.h"
#include "sc_store.h"

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

/* A name as mod_session's table can hold it. */
static int good_name(const unsigned char *name, apr_size_t len)
{
    return name != NULL && len > 0 && memchr(name, 0, len) == NULL;
}

static int good_value(const unsigned char *value, apr_size_t len)
{
    return value != NULL && (len == 0 || memchr(value, 0, len) == NULL);
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
    if (r->bad || (a->flags & ~(unsigned int)SC_ATTR_REMOVED) || !good_name(p, a->name_len)) {
        return APR_EINVAL;
    }
    a->name = (const char *)p;
    if (!(a->flags & SC_ATTR_REMOVED)) {
        p = sc_get_str(r, sc_rd_left(r), &a->value_len);
        if (r->bad || !good_value(p, a->value_len)) {
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

/* One attribute of the result, or of what is left out of it. */
static void keep(const sc_attr_t *a, const sc_stamp_t *drop_before, sc_buf_t *out,
                 sc_merge_t *result)
{
    if (sc_stamp_cmp(&a->stamp, &result->newest) > 0) {
        result->newest = a->stamp;
    }
    if (!(a->flags & SC_ATTR_REMOVED)) {
        result->live++;
    } else if (sc_stamp_cmp(&a->stamp, drop_before) < 0) {
        return;
    }
    sc_attr_put(out, a);
}

/* The delta's version of an attribute that the old body does not have. */
static void keep_new(const sc_attr_t *a, const sc_stamp_t *drop_before, sc_buf_t *out,
                     sc_merge_t *result)
{
    if (!(a->flags & SC_ATTR_REMOVED) || sc_stamp_cmp(&a->stamp, drop_before) >= 0) {
        result->changed = 1;
    }
    keep(a, drop_before, out, result);
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
    while (ra == APR_SUCCESS || rb == APR_SUCCESS) {
        int c;

        if ((ra != APR_SUCCESS && ra != APR_EOF) || (rb != APR_SUCCESS && rb != APR_EOF)) {
            return APR_EINVAL;
        }
        if (ra == APR_SUCCESS && rb == APR_SUCCESS) {
            c = sc_attr_name_cmp(a.name, a.name_len, b.name, b.name_len);
        } else {
            c = ra == APR_SUCCESS ? -1 : 1;
        }
        if (c < 0) {
            keep(&a, drop_before, out, result);
        } else if (c > 0) {
            keep_new(&b, drop_before, out, result);
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

/* ---- what a child asks for ------------------------------------------------------------------ */

/* Attribute of a change: name | removed u8 | value unless removed. No stamp yet: the engine's. */
void sc_change_attr_put(sc_buf_t *attrs, const char *name, apr_size_t name_len, const char *value,
                        apr_size_t value_len)
{
    sc_put_str(attrs, name, name_len);
    sc_put_u8(attrs, value == NULL ? SC_ATTR_REMOVED : 0);
    if (value != NULL) {
        sc_put_str(attrs, value, value_len);
    }
}

static apr_status_t change_attr_get(sc_rd_t *r, sc_attr_t *a)
{
    const unsigned char *p;

    memset(a, 0, sizeof(*a));
    p = sc_get_str(r, SC_NAME_MAX, &a->name_len);
    a->flags = sc_get_u8(r);
    if (r->bad || (a->flags & ~(unsigned int)SC_ATTR_REMOVED) || !good_name(p, a->name_len)) {
        return APR_EINVAL;
    }
    a->name = (const char *)p;
    if (!(a->flags & SC_ATTR_REMOVED)) {
        p = sc_get_str(r, sc_rd_left(r), &a->value_len);
        if (r->bad || !good_value(p, a->value_len)) {
            return APR_EINVAL;
        }
        a->value = (const char *)p;
    }
    return APR_SUCCESS;
}

void sc_change_put(sc_buf_t *b, const sc_change_t *c)
{
    sc_put_str(b, c->context, c->context_len);
    sc_put(b, c->id.b, sizeof(c->id.b));
    sc_put(b, c->new_id.b, sizeof(c->new_id.b));
    sc_put_varint(b, c->flags);
    sc_put_varint(b, c->max_idle_s);
    sc_put_varint(b, c->nattrs);
    sc_put_str(b, c->attrs, c->attrs_len);
    sc_put_str(b, c->hint, c->hint_len);
}

static void get_id(sc_rd_t *r, sc_id_t *id)
{
    const unsigned char *p = sc_get(r, sizeof(id->b));

    if (p != NULL) {
        memcpy(id->b, p, sizeof(id->b));
    }
}

apr_status_t sc_change_get(sc_change_t *c, const void *body, apr_size_t len)
{
    apr_uint64_t flags, max_idle, nattrs;
    apr_uint32_t i;
    sc_attr_t a;
    sc_rd_t r, attrs;

    memset(c, 0, sizeof(*c));
    sc_rd_init(&r, body, len);
    c->context = (const char *)sc_get_str(&r, SC_CONTEXT_MAX, &c->context_len);
    get_id(&r, &c->id);
    get_id(&r, &c->new_id);
    flags = sc_get_varint(&r);
    max_idle = sc_get_varint(&r);
    nattrs = sc_get_varint(&r);
    c->attrs = sc_get_str(&r, sc_rd_left(&r), &c->attrs_len);
    c->hint = (const char *)sc_get_str(&r, SC_ROUTE_MAX, &c->hint_len);
    if (r.bad || sc_rd_left(&r) != 0 || (flags & ~(apr_uint64_t)SC_CHANGE_NEW) ||
        max_idle > APR_UINT32_MAX || nattrs > c->attrs_len ||
        !good_name((const unsigned char *)c->context, c->context_len) ||
        !good_value((const unsigned char *)c->hint, c->hint_len)) {
        return APR_EINVAL;
    }
    c->flags = (unsigned int)flags;
    c->max_idle_s = (apr_uint32_t)max_idle;
    c->nattrs = (apr_uint32_t)nattrs;
    sc_rd_init(&attrs, c->attrs, c->attrs_len);
    for (i = 0; i < c->nattrs; i++) {
        if (change_attr_get(&attrs, &a) != APR_SUCCESS) {
            return APR_EINVAL;
        }
    }
    return sc_rd_left(&attrs) == 0 ? APR_SUCCESS : APR_EINVAL;
}

typedef struct given_t {
    sc_attr_t a;
    apr_uint32_t at; /* place in the child's list: of two with one name the later one counts */
} given_t;

static int given_cmp(const void *va, const void *vb)
{
    const given_t *a = va;
    const given_t *b = vb;
    int c = sc_attr_name_cmp(a->a.name, a->a.name_len, b->a.name, b->a.name_len);

    if (c == 0) {
        c = a->at < b->at ? -1 : 1;
    }
    return c;
}

apr_status_t sc_change_to_delta(const sc_change_t *c, const sc_stamp_t *stamp, sc_buf_t *out,
                                apr_pool_t *scratch)
{
    given_t *given;
    apr_uint32_t i;
    sc_rd_t r;

    sc_buf_clear(out);
    if (c->nattrs > c->attrs_len) {
        return APR_EINVAL;
    }
    if (c->nattrs == 0) {
        return c->attrs_len == 0 ? APR_SUCCESS : APR_EINVAL;
    }
    given = apr_palloc(scratch, c->nattrs * sizeof(*given));
    sc_rd_init(&r, c->attrs, c->attrs_len);
    for (i = 0; i < c->nattrs; i++) {
        if (change_attr_get(&r, &given[i].a) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        given[i].a.stamp = *stamp;
        given[i].at = i;
    }
    if (sc_rd_left(&r) != 0) {
        return APR_EINVAL;
    }
    qsort(given, c->nattrs, sizeof(*given), given_cmp);
    for (i = 0; i < c->nattrs; i++) {
        const sc_attr_t *a = &given[i].a;

        if (i + 1 == c->nattrs || sc_attr_name_cmp(a->name, a->name_len, given[i + 1].a.name,
                                                   given[i + 1].a.name_len) != 0) {
            sc_attr_put(out, a);
        }
    }
    return out->err;
}
