/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Messages of a comparison as bytes: sums over ranges of ids, and lists of what is in a range.
 *
 *   DIGEST       serial | contexts: number, names | number of ranges | a sum u64 for each
 *   DIGEST_LIST  serial | context | range | first id, last id | number of items | items
 *   the end      serial | empty context | ranges that differed | number of names | names
 *
 * An item is 24 bytes, always: so a list can be searched where it lies. Everything that the reader
 * of a list relies on for that (order, no id twice, all within the interval, the interval within
 * the range) is checked here.
 */
#include <string.h>

#include "sc_message.h"

#define ITEM_BYTES (SC_ID_LEN + 8)

/* ---- parts ---------------------------------------------------------------------------------- */

static sc_text_t get_name(sc_rd_t *r, int may_be_empty)
{
    sc_text_t t;

    t.s = (const char *)sc_get_str(r, SC_CONTEXT_MAX, &t.len);
    if (t.s == NULL || (t.len == 0 && !may_be_empty) ||
        (t.len > 0 && memchr(t.s, 0, t.len) != NULL)) {
        r->bad = 1;
    }
    return t;
}

/* A number that is no larger than max. */
static apr_uint32_t get_upto(sc_rd_t *r, apr_uint32_t max)
{
    apr_uint64_t v = sc_get_varint(r);

    if (v > max) {
        r->bad = 1;
        return 0;
    }
    return (apr_uint32_t)v;
}

static void get_id(sc_rd_t *r, sc_id_t *id)
{
    const unsigned char *p = sc_get(r, sizeof(id->b));

    if (p != NULL) {
        memcpy(id->b, p, sizeof(id->b));
    } else {
        memset(id->b, 0, sizeof(id->b));
    }
}

static apr_status_t verdict(const sc_rd_t *r)
{
    return r->bad ? APR_EINVAL : APR_SUCCESS;
}

/* ---- DIGEST --------------------------------------------------------------------------------- */

void sc_msg_digest_put(sc_buf_t *b, const sc_msg_digest_t *d)
{
    apr_uint32_t i;

    sc_put_u8(b, SC_EVT_DIGEST);
    sc_put_varint(b, d->serial);
    sc_put_varint(b, d->ncontexts);
    for (i = 0; i < d->ncontexts; i++) {
        sc_put_str(b, d->context[i].s, d->context[i].len);
    }
    sc_put_varint(b, SC_DIGEST_RANGES);
    for (i = 0; i < SC_DIGEST_RANGES; i++) {
        sc_put_u64(b, d->sum[i]);
    }
}

apr_status_t sc_msg_digest_get(sc_rd_t *r, sc_msg_digest_t *d)
{
    apr_uint32_t i;

    memset(d, 0, sizeof(*d));
    d->serial = sc_get_varint(r);
    d->ncontexts = get_upto(r, SC_CONTEXTS_MAX);
    for (i = 0; i < d->ncontexts && !r->bad; i++) {
        d->context[i] = get_name(r, 0);
    }
    if (sc_get_varint(r) != SC_DIGEST_RANGES) {
        r->bad = 1;
    }
    for (i = 0; i < SC_DIGEST_RANGES && !r->bad; i++) {
        d->sum[i] = sc_get_u64(r);
    }
    return verdict(r);
}

/* ---- DIGEST_LIST ---------------------------------------------------------------------------- */

void sc_item_digest_put(sc_buf_t *items, const sc_id_t *id, apr_uint64_t sum)
{
    sc_put(items, id->b, sizeof(id->b));
    sc_put_u64(items, sum);
}

apr_status_t sc_item_digest_get(sc_rd_t *items, sc_id_t *id, apr_uint64_t *sum)
{
    get_id(items, id);
    *sum = sc_get_u64(items);
    return verdict(items);
}

void sc_msg_digest_list_put(sc_buf_t *b, const sc_msg_digest_list_t *d)
{
    sc_put_u8(b, SC_EVT_DIGEST_LIST);
    sc_put_varint(b, d->serial);
    sc_put_str(b, d->context.s, d->context.len);
    sc_put_varint(b, d->range);
    if (d->context.len > 0) {
        sc_put(b, d->from.b, sizeof(d->from.b));
        sc_put(b, d->upto.b, sizeof(d->upto.b));
    }
    sc_put_varint(b, d->n);
    sc_put_str(b, d->items, d->items_len);
}

static int id_cmp(const unsigned char *a, const unsigned char *b)
{
    return memcmp(a, b, SC_ID_LEN);
}

/* Whether the items are as many as they say, in order, and within the interval. */
static int list_ok(const sc_msg_digest_list_t *d)
{
    const unsigned char *p = d->items;
    apr_uint64_t i;

    if (d->from.b[0] != d->range || d->upto.b[0] != d->range || id_cmp(d->from.b, d->upto.b) > 0 ||
        d->n > SC_DIGEST_ITEMS || d->items_len != d->n * ITEM_BYTES) {
        return 0;
    }
    for (i = 1; i < d->n; i++) {
        if (id_cmp(p + (i - 1) * ITEM_BYTES, p + i * ITEM_BYTES) >= 0) {
            return 0;
        }
    }
    return d->n == 0 ||
           (id_cmp(p, d->from.b) >= 0 && id_cmp(p + (d->n - 1) * ITEM_BYTES, d->upto.b) <= 0);
}

static int names_ok(const sc_msg_digest_list_t *d)
{
    apr_uint64_t i;
    sc_rd_t r;

    if (d->n > SC_CONTEXTS_MAX) {
        return 0;
    }
    sc_rd_init(&r, d->items, d->items_len);
    for (i = 0; i < d->n && !r.bad; i++) {
        (void)get_name(&r, 0);
    }
    return !r.bad;
}

apr_status_t sc_msg_digest_list_get(sc_rd_t *r, sc_msg_digest_list_t *d)
{
    memset(d, 0, sizeof(*d));
    d->serial = sc_get_varint(r);
    d->context = get_name(r, 1);
    d->range = get_upto(r, d->context.len > 0 ? SC_DIGEST_RANGES - 1 : SC_DIGEST_RANGES);
    if (d->context.len > 0) {
        get_id(r, &d->from);
        get_id(r, &d->upto);
    }
    d->n = sc_get_varint(r);
    d->items = sc_get_str(r, sc_rd_left(r), &d->items_len);
    if (d->items == NULL || !(d->context.len > 0 ? list_ok(d) : names_ok(d))) {
        r->bad = 1;
    }
    return verdict(r);
}
