/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Election messages:
 *
 *   header, 16 bytes | leader | source | number of members, 4 bytes | members ...
 *   | id, 16 bytes | type, 16 bytes
 *
 * each member with its length in 4 bytes before it.
 */
#include <string.h>

#include "election.h"

#define MARK 16

static const unsigned char header[MARK] = {0xAA, 0x26, 0xDE, 0xE3, 0x9E, 0x5A, 0x41, 0x3F,
                                           0xAF, 0x86, 0xFA, 0x92, 0x63, 0xCA, 0x0D, 0x3F};
static const unsigned char request[MARK] = {0x68, 0xA1, 0xA4, 0xD6, 0x72, 0xDC, 0x47, 0xED,
                                            0xB1, 0x14, 0x7A, 0x65, 0xFF, 0xD0, 0xCF, 0x1E};
static const unsigned char confirmation[MARK] = {0x43, 0x58, 0x6B, 0xAA, 0x45, 0x17, 0x4C, 0xBA,
                                                 0xA5, 0xE9, 0xA9, 0xE7, 0x83, 0x56, 0x4B, 0x14};

static void member_put(sc_buf_t *b, const sc_member_t *m)
{
    apr_size_t start = b->len;

    sc_put_u32(b, 0);
    sc_member_put(b, m);
    sc_buf_patch_u32(b, start, (apr_uint32_t)(b->len - start - 4));
}

void sc_election_put(sc_buf_t *b, const sc_election_t *e)
{
    apr_size_t i;

    sc_put(b, header, sizeof(header));
    member_put(b, &e->leader);
    member_put(b, &e->source);
    sc_put_u32(b, (apr_uint32_t)e->members.n);
    for (i = 0; i < e->members.n; i++) {
        member_put(b, &e->members.m[i]);
    }
    sc_put(b, e->id.b, sizeof(e->id.b));
    sc_put(b, e->conf ? confirmation : request, MARK);
}

int sc_election_is(const void *bytes, apr_size_t len)
{
    return len >= sizeof(header) && memcmp(bytes, header, sizeof(header)) == 0;
}

/** Whoever could not be connected to cannot take part in a ring. */
static int member_get(sc_rd_t *r, sc_member_t *m)
{
    apr_size_t n = sc_get_u32(r);
    const unsigned char *p = sc_get(r, n);
    apr_size_t used;

    return p != NULL && sc_member_get(m, p, n, &used) == APR_SUCCESS && used == n &&
           sc_member_usable(m);
}

apr_status_t sc_election_get(sc_election_t *e, const void *bytes, apr_size_t len)
{
    sc_member_t m;
    const unsigned char *p;
    apr_uint32_t n;
    sc_rd_t r;

    memset(e, 0, sizeof(*e));
    if (!sc_election_is(bytes, len)) {
        return APR_EINVAL;
    }
    sc_rd_init(&r, bytes, len);
    sc_get(&r, sizeof(header));
    if (!member_get(&r, &e->leader) || !member_get(&r, &e->source)) {
        return APR_EINVAL;
    }
    for (n = sc_get_u32(&r); n > 0; n--) {
        if (!member_get(&r, &m) || !sc_members_put(&e->members, &m)) {
            return APR_EINVAL;
        }
    }
    p = sc_get(&r, sizeof(e->id.b));
    if (p != NULL) {
        memcpy(e->id.b, p, sizeof(e->id.b));
    }
    p = sc_get(&r, MARK);
    if (p == NULL || sc_rd_left(&r) != 0 || e->members.n == 0) {
        return APR_EINVAL;
    }
    e->conf = memcmp(p, confirmation, MARK) == 0;
    return e->conf || memcmp(p, request, MARK) == 0 ? APR_SUCCESS : APR_EINVAL;
}
