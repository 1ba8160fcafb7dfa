/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What deployers say to each other: byte messages of the channel that are no envelopes of sessions.
 *
 *   "SCD1" | version u8 | event u8 | fields
 *
 *   SUM, HELLO sum 32
 *   ASK        name                      ""  from the beginning
 *   LIST       name (the one asked behind) | more u8 | entries to the end:
 *                name | kind u8 | [executable u8 | size varint | checksum 32] | hlc u64 | node u32
 *   ASK_BLOCK  name | checksum 32 | offset varint | length varint
 *   BLOCK      checksum 32 | offset varint | bytes (varint length)
 *   NO_BLOCK   checksum 32
 *
 * Names have a varint length in front of them. A node that does not know the magic takes the
 * message for one of another application, and a deployer that does not know the version ignores it;
 * so releases can run side by side, and only those that understand each other deploy.
 */
#include <string.h>

#include "internal.h"

#define VERSION 1
#define EXECUTABLE 1

static const unsigned char magic[4] = {'S', 'C', 'D', '1'};

int sc_deploy_is(const void *bytes, apr_size_t len)
{
    return len >= sizeof(magic) && memcmp(bytes, magic, sizeof(magic)) == 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

/** @param empty 1: there may be no name */
static void get_name(sc_rd_t *r, char name[SC_DEPLOY_NAME_MAX + 1], int empty)
{
    apr_size_t n = 0;
    const unsigned char *p = sc_get_str(r, SC_DEPLOY_NAME_MAX, &n);

    name[0] = '\0';
    if (r->bad || (n == 0 && empty)) {
        return;
    }
    if (!sc_deploy_name((const char *)p, n)) {
        r->bad = 1;
        return;
    }
    memcpy(name, p, n);
    name[n] = '\0';
}

static void get_sha(sc_rd_t *r, unsigned char sha[SC_SHA_BYTES])
{
    const unsigned char *p = sc_get(r, SC_SHA_BYTES);

    if (p != NULL) {
        memcpy(sha, p, SC_SHA_BYTES);
    }
}

static void get_ask_block(sc_rd_t *r, sc_deploy_msg_t *m)
{
    get_name(r, m->name, 0);
    get_sha(r, m->sum);
    m->offset = sc_get_varint(r);
    m->len = sc_get_varint(r);
    if (m->len == 0 || m->len > SC_DEPLOY_BLOCK_MAX) {
        r->bad = 1;
    }
}

static void get_block(sc_rd_t *r, sc_deploy_msg_t *m)
{
    apr_size_t n = 0;

    get_sha(r, m->sum);
    m->offset = sc_get_varint(r);
    m->bytes = sc_get_str(r, SC_DEPLOY_BLOCK_MAX, &n);
    m->len = n;
}

apr_status_t sc_deploy_msg_get(sc_deploy_msg_t *m, const void *bytes, apr_size_t len)
{
    unsigned int version;
    sc_rd_t r;

    memset(m, 0, sizeof(*m));
    if (!sc_deploy_is(bytes, len)) {
        return APR_EINVAL;
    }
    sc_rd_init(&r, bytes, len);
    sc_get(&r, sizeof(magic));
    version = sc_get_u8(&r);
    m->event = sc_get_u8(&r);
    if (!r.bad && version != VERSION) {
        return APR_ENOTIMPL;
    }
    switch (m->event) {
    case SC_DEPLOY_SUM:
    case SC_DEPLOY_HELLO:
    case SC_DEPLOY_NO_BLOCK:
        get_sha(&r, m->sum);
        break;
    case SC_DEPLOY_ASK:
        get_name(&r, m->name, 1);
        break;
    case SC_DEPLOY_LIST:
        get_name(&r, m->name, 1);
        m->more = sc_get_u8(&r);
        m->entries = r;
        return r.bad || m->more > 1 ? APR_EINVAL : APR_SUCCESS;
    case SC_DEPLOY_ASK_BLOCK:
        get_ask_block(&r, m);
        break;
    case SC_DEPLOY_BLOCK:
        get_block(&r, m);
        break;
    default:
        return r.bad ? APR_EINVAL : APR_ENOTIMPL;
    }
    return r.bad || sc_rd_left(&r) > 0 ? APR_EINVAL : APR_SUCCESS;
}

apr_status_t sc_deploy_entry_get(sc_rd_t *r, char name[SC_DEPLOY_NAME_MAX + 1], sc_version_t *v)
{
    memset(v, 0, sizeof(*v));
    if (sc_rd_left(r) == 0) {
        return r->bad ? APR_EINVAL : APR_EOF;
    }
    get_name(r, name, 0);
    v->kind = sc_get_u8(r);
    if (v->kind == SC_DEPLOY_FILE) {
        v->executable = sc_get_u8(r);
        v->size = sc_get_varint(r);
        get_sha(r, v->sha);
    }
    v->stamp.hlc = sc_get_u64(r);
    v->stamp.node = sc_get_u32(r);
    return r->bad || (v->kind != SC_DEPLOY_FILE && v->kind != SC_DEPLOY_REMOVED) ||
                   v->executable > EXECUTABLE || v->stamp.hlc == 0
               ? APR_EINVAL
               : APR_SUCCESS;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void begin(sc_buf_t *b, unsigned int event)
{
    sc_buf_clear(b);
    sc_put(b, magic, sizeof(magic));
    sc_put_u8(b, VERSION);
    sc_put_u8(b, event);
}

void sc_deploy_put_sum(sc_buf_t *b, const unsigned char *sum, int hello)
{
    begin(b, hello ? SC_DEPLOY_HELLO : SC_DEPLOY_SUM);
    sc_put(b, sum, SC_SHA_BYTES);
}

void sc_deploy_put_ask(sc_buf_t *b, const char *after)
{
    begin(b, SC_DEPLOY_ASK);
    sc_put_str(b, after, strlen(after));
}

static void put_entry(sc_buf_t *b, const sc_deploy_entry_t *e)
{
    const sc_version_t *v = &e->have;

    sc_put_str(b, e->name, strlen(e->name));
    sc_put_u8(b, v->kind);
    if (v->kind == SC_DEPLOY_FILE) {
        sc_put_u8(b, v->executable);
        sc_put_varint(b, v->size);
        sc_put(b, v->sha, sizeof(v->sha));
    }
    sc_put_u64(b, v->stamp.hlc);
    sc_put_u32(b, v->stamp.node);
}

void sc_deploy_put_list(sc_buf_t *b, const sc_catalogue_t *c, const char *after, apr_size_t max)
{
    apr_size_t i = sc_catalogue_after(c, after);
    apr_size_t more;

    begin(b, SC_DEPLOY_LIST);
    sc_put_str(b, after, strlen(after));
    more = b->len;
    sc_put_u8(b, 0);
    for (; i < c->n; i++) {
        if (c->at[i]->have.kind == SC_DEPLOY_NONE) {
            continue;
        }
        if (b->len >= max) {
            if (b->err == APR_SUCCESS) {
                b->data[more] = 1;
            }
            return;
        }
        put_entry(b, c->at[i]);
    }
}

void sc_deploy_put_ask_block(sc_buf_t *b, const char *name, const unsigned char *sha,
                             apr_uint64_t offset, apr_uint64_t len)
{
    begin(b, SC_DEPLOY_ASK_BLOCK);
    sc_put_str(b, name, strlen(name));
    sc_put(b, sha, SC_SHA_BYTES);
    sc_put_varint(b, offset);
    sc_put_varint(b, len);
}

void sc_deploy_put_block(sc_buf_t *b, const unsigned char *sha, apr_uint64_t offset,
                         const void *bytes, apr_size_t len)
{
    begin(b, SC_DEPLOY_BLOCK);
    sc_put(b, sha, SC_SHA_BYTES);
    sc_put_varint(b, offset);
    sc_put_str(b, bytes, len);
}

void sc_deploy_put_no_block(sc_buf_t *b, const unsigned char *sha)
{
    begin(b, SC_DEPLOY_NO_BLOCK);
    sc_put(b, sha, SC_SHA_BYTES);
}
