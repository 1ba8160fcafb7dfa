/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Growing byte strings with a bound, and bounded readers.
 *
 * Both sides carry a sticky error, so a codec is straight-line code that asks once, at the end,
 * whether all of it worked; nothing it did in between can have left the bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "sc_buf.h"

#define FIRST_CAP 256

void sc_buf_init(sc_buf_t *b, apr_size_t limit)
{
    memset(b, 0, sizeof(*b));
    b->limit = limit;
}

void sc_buf_free(sc_buf_t *b)
{
    free(b->data);
    sc_buf_init(b, b->limit);
}

void sc_buf_clear(sc_buf_t *b)
{
    b->len = 0;
    b->err = APR_SUCCESS;
}

unsigned char *sc_buf_reserve(sc_buf_t *b, apr_size_t n)
{
    if (b->err != APR_SUCCESS) {
        return NULL;
    }
    if (b->len > b->limit || n > b->limit - b->len) {
        b->err = APR_ENOSPC;
        return NULL;
    }
    if (b->data == NULL || n > b->cap - b->len) {
        apr_size_t need = b->len + n;
        apr_size_t cap = b->cap < FIRST_CAP ? FIRST_CAP : b->cap;
        unsigned char *data;

        while (cap < need) {
            cap = cap > b->limit / 2 ? b->limit : cap * 2;
        }
        if (cap > b->limit) {
            cap = b->limit;
        }
        /* a limit of 0 still gets an address to return */
        data = realloc(b->data, cap > 0 ? cap : 1);
        if (data == NULL) {
            b->err = APR_ENOMEM;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void sc_buf_consume(sc_buf_t *b, apr_size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

void sc_buf_swap(sc_buf_t *a, sc_buf_t *b)
{
    sc_buf_t t = *a;
    *a = *b;
    *b = t;
}

void sc_put(sc_buf_t *b, const void *bytes, apr_size_t n)
{
    unsigned char *p = sc_buf_reserve(b, n);

    if (p != NULL && n > 0) {
        memcpy(p, bytes, n);
        b->len += n;
    }
}

void sc_put_u8(sc_buf_t *b, unsigned int v)
{
    unsigned char *p = sc_buf_reserve(b, 1);

    if (p != NULL) {
        p[0] = (unsigned char)v;
        b->len += 1;
    }
}

static void store_be(unsigned char *p, apr_uint64_t v, int bytes)
{
    int i;

    for (i = bytes - 1; i >= 0; i--) {
        p[i] = (unsigned char)v;
        v >>= 8;
    }
}

void sc_put_u32(sc_buf_t *b, apr_uint32_t v)
{
    unsigned char *p = sc_buf_reserve(b, 4);

    if (p != NULL) {
        store_be(p, v, 4);
        b->len += 4;
    }
}

void sc_put_u64(sc_buf_t *b, apr_uint64_t v)
{
    unsigned char *p = sc_buf_reserve(b, 8);

    if (p != NULL) {
        store_be(p, v, 8);
        b->len += 8;
    }
}

apr_size_t sc_varint_size(apr_uint64_t v)
{
    apr_size_t n = 1;

    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

void sc_put_varint(sc_buf_t *b, apr_uint64_t v)
{
    apr_size_t n = sc_varint_size(v);
    unsigned char *p = sc_buf_reserve(b, n);

    if (p != NULL) {
        for (; v >= 0x80; v >>= 7) {
            *p++ = (unsigned char)(v | 0x80);
        }
        *p = (unsigned char)v;
        b->len += n;
    }
}

void sc_put_str(sc_buf_t *b, const void *bytes, apr_size_t n)
{
    apr_size_t head = sc_varint_size(n);

    /* all or nothing: a length without its bytes would be a lie to whoever ignores the error */
    if (n > (apr_size_t)-1 - head) {
        if (b->err == APR_SUCCESS) {
            b->err = APR_ENOSPC;
        }
        return;
    }
    if (sc_buf_reserve(b, head + n) != NULL) {
        sc_put_varint(b, n);
        sc_put(b, bytes, n);
    }
}

void sc_buf_patch_u32(sc_buf_t *b, apr_size_t offset, apr_uint32_t v)
{
    if (b->err != APR_SUCCESS) {
        return;
    }
    if (b->len < 4 || offset > b->len - 4) {
        b->err = APR_EINVAL;
        return;
    }
    store_be(b->data + offset, v, 4);
}

/* ---- readers ------------------------------------------------------------------------------- */

void sc_rd_init(sc_rd_t *r, const void *bytes, apr_size_t n)
{
    /* an empty input may come as NULL; sc_get of 0 bytes must still differ from an error */
    static const unsigned char nothing[1];

    r->p = bytes != NULL ? bytes : nothing;
    r->end = bytes != NULL ? r->p + n : nothing;
    r->bad = bytes == NULL && n > 0;
}

apr_size_t sc_rd_left(const sc_rd_t *r)
{
    return r->bad ? 0 : (apr_size_t)(r->end - r->p);
}

const unsigned char *sc_get(sc_rd_t *r, apr_size_t n)
{
    const unsigned char *p = r->p;

    if (r->bad || n > (apr_size_t)(r->end - r->p)) {
        r->bad = 1;
        return NULL;
    }
    r->p += n;
    return p;
}

static apr_uint64_t load_be(sc_rd_t *r, apr_size_t bytes)
{
    const unsigned char *p = sc_get(r, bytes);
    apr_uint64_t v = 0;
    apr_size_t i;

    for (i = 0; p != NULL && i < bytes; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

unsigned int sc_get_u8(sc_rd_t *r)
{
    return (unsigned int)load_be(r, 1);
}

apr_uint32_t sc_get_u32(sc_rd_t *r)
{
    return (apr_uint32_t)load_be(r, 4);
}

apr_uint64_t sc_get_u64(sc_rd_t *r)
{
    return load_be(r, 8);
}

apr_uint64_t sc_get_varint(sc_rd_t *r)
{
    apr_uint64_t v = 0;
    unsigned int shift;

    for (shift = 0; shift < 64; shift += 7) {
        unsigned int c = sc_get_u8(r);

        if (r->bad) {
            return 0;
        }
        if (shift == 63 && c > 1) {
            break; /* more than 64 bits */
        }
        v |= (apr_uint64_t)(c & 0x7f) << shift;
        if ((c & 0x80) == 0) {
            if (c == 0 && shift > 0) {
                break; /* a padded form: the same number must have one spelling */
            }
            return v;
        }
    }
    r->bad = 1;
    return 0;
}

const unsigned char *sc_get_str(sc_rd_t *r, apr_size_t max, apr_size_t *n)
{
    apr_uint64_t len = sc_get_varint(r);
    const unsigned char *p = NULL;

    if (len > max) {
        r->bad = 1;
    } else {
        p = sc_get(r, (apr_size_t)len);
    }
    *n = p != NULL ? (apr_size_t)len : 0;
    return p;
}
