/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a child asks for: written by the child, read by the engine of the same machine.
 *
 * A child is trusted less than a function call: it may be any process that got hold of the link. So
 * everything is checked here, once, and the rest of the engine may rely on it.
 *
 * Attributes come without stamps, as the child collected them; the engine stamps them when it
 * applies the change, because the order in which changes arrive there is the order that counts.
 */
#include <stdlib.h>
#include <string.h>

#include "sc_session.h"

/* An entry takes so many bytes at least; a claimed number is held against it before it is used. */
#define ENTRY_MIN 3

void sc_change_attr_put(sc_buf_t *attrs, const char *name, apr_size_t name_len, const char *value,
                        apr_size_t value_len)
{
    sc_put_str(attrs, name, name_len);
    sc_put_u8(attrs, value == NULL ? SC_ATTR_REMOVED : 0);
    if (value != NULL) {
        sc_put_str(attrs, value, value_len);
    }
}

static int whole(const char *text, apr_size_t len)
{
    return text != NULL && (len == 0 || memchr(text, 0, len) == NULL);
}

static apr_status_t entry_get(sc_rd_t *r, sc_attr_t *a)
{
    memset(a, 0, sizeof(*a));
    a->name = (const char *)sc_get_str(r, SC_NAME_MAX, &a->name_len);
    a->flags = sc_get_u8(r);
    if (r->bad || (a->flags & ~(unsigned int)SC_ATTR_REMOVED) || a->name_len == 0 ||
        !whole(a->name, a->name_len)) {
        return APR_EINVAL;
    }
    if (!(a->flags & SC_ATTR_REMOVED)) {
        a->value = (const char *)sc_get_str(r, sc_rd_left(r), &a->value_len);
        if (r->bad || !whole(a->value, a->value_len)) {
            return APR_EINVAL;
        }
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

static apr_status_t check_entries(const sc_change_t *c)
{
    apr_uint32_t i;
    sc_attr_t a;
    sc_rd_t r;

    sc_rd_init(&r, c->attrs, c->attrs_len);
    for (i = 0; i < c->nattrs; i++) {
        if (entry_get(&r, &a) != APR_SUCCESS) {
            return APR_EINVAL;
        }
    }
    return sc_rd_left(&r) == 0 ? APR_SUCCESS : APR_EINVAL;
}

apr_status_t sc_change_get(sc_change_t *c, const void *body, apr_size_t len)
{
    apr_uint64_t flags, max_idle, nattrs;
    sc_rd_t r;

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
    /* child and engine are of one build (the link compares ABIs), so nothing unknown is tolerated
     */
    if (r.bad || sc_rd_left(&r) != 0 || (flags & ~(apr_uint64_t)SC_CHANGE_NEW) != 0 ||
        max_idle > APR_UINT32_MAX || nattrs > c->attrs_len / ENTRY_MIN || c->context_len == 0 ||
        !whole(c->context, c->context_len) || !whole(c->hint, c->hint_len)) {
        return APR_EINVAL;
    }
    c->flags = (unsigned int)flags;
    c->max_idle_s = (apr_uint32_t)max_idle;
    c->nattrs = (apr_uint32_t)nattrs;
    return check_entries(c);
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
    if (c->nattrs > c->attrs_len / ENTRY_MIN) {
        return APR_EINVAL;
    }
    if (c->nattrs == 0) {
        return c->attrs_len == 0 ? APR_SUCCESS : APR_EINVAL;
    }
    given = apr_palloc(scratch, c->nattrs * sizeof(*given));
    sc_rd_init(&r, c->attrs, c->attrs_len);
    for (i = 0; i < c->nattrs; i++) {
        if (entry_get(&r, &given[i].a) != APR_SUCCESS) {
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
        const sc_attr_t *next = i + 1 < c->nattrs ? &given[i + 1].a : NULL;

        if (next == NULL ||
            sc_attr_name_cmp(a->name, a->name_len, next->name, next->name_len) != 0) {
            sc_attr_put(out, a);
        }
    }
    return out->err;
}
