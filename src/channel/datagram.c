/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Datagrams of a group whose members have a secret: a tail with a MAC behind the member data.
 *
 * The unique id in the tail is made anew by each engine, and the number rises with each datagram,
 * so a receiver needs no clock to know what it has heard before. What a receiver that has just
 * started has not heard can be played to it: it then believes that a member spoke that did so once,
 * and asks it over TCP, where only the living answer, before it is a member and before anybody
 * makes place for it (roster.c).
 */
#include <string.h>

#include "sc_secret.h"

static const unsigned char magic[4] = {'S', 'C', 'D', '1'};

/* where things are in the tail */
#define AT_KEY_ID 4
#define AT_UID (AT_KEY_ID + SC_KEY_ID)
#define AT_COUNT (AT_UID + 16)
#define AT_MAC (AT_COUNT + 8)

apr_status_t sc_datagram_seal(const sc_keyring_t *ring, const sc_uid_t *self, apr_uint64_t count,
                              sc_buf_t *b)
{
    unsigned char mac[SC_MAC];
    apr_status_t rv;

    sc_put(b, magic, sizeof(magic));
    sc_put(b, ring->keys[0].id, SC_KEY_ID);
    sc_put(b, self->b, sizeof(self->b));
    sc_put_u64(b, count);
    if (b->err != APR_SUCCESS) {
        return b->err;
    }
    rv = sc_mac(ring->keys[0].datagram, b->data, b->len, mac);
    sc_put(b, mac, sizeof(mac));
    return rv != APR_SUCCESS ? rv : b->err;
}

int sc_datagram_is_sealed(const void *bytes, apr_size_t len)
{
    const unsigned char *p = bytes;

    return len >= SC_DATAGRAM_TAIL && memcmp(p + len - SC_DATAGRAM_TAIL, magic, sizeof(magic)) == 0;
}

/** Where a sender's number is kept: its own place, a free one, or the one not used for longest. */
static apr_size_t place_of(const sc_guard_t *g, const unsigned char *uid)
{
    apr_size_t oldest = 0;
    apr_size_t i;

    for (i = 0; i < SC_DATAGRAM_SENDERS; i++) {
        if (g->sender[i].used != 0 && memcmp(g->sender[i].uid.b, uid, 16) == 0) {
            return i;
        }
        if (g->sender[i].used < g->sender[oldest].used) {
            oldest = i;
        }
    }
    return oldest;
}

/** @return 1: it is news */
static int advance(sc_guard_t *g, const unsigned char *uid, apr_uint64_t count)
{
    apr_size_t i = place_of(g, uid);
    int known = g->sender[i].used != 0 && memcmp(g->sender[i].uid.b, uid, 16) == 0;

    if (known && count <= g->sender[i].count) {
        return 0;
    }
    memcpy(g->sender[i].uid.b, uid, 16);
    g->sender[i].count = count;
    g->sender[i].used = ++g->uses;
    return 1;
}

apr_status_t sc_datagram_open(sc_guard_t *g, const sc_keyring_t *ring, const void *bytes,
                              apr_size_t *len)
{
    const unsigned char *tail;
    const sc_keys_t *keys;
    unsigned char want[SC_MAC];
    sc_rd_t r;

    if (!sc_datagram_is_sealed(bytes, *len)) {
        return APR_EINVAL;
    }
    tail = (const unsigned char *)bytes + *len - SC_DATAGRAM_TAIL;
    keys = sc_keyring_find(ring, tail + AT_KEY_ID);
    if (keys == NULL || sc_mac(keys->datagram, bytes, *len - SC_MAC, want) != APR_SUCCESS ||
        !sc_mac_same(want, tail + AT_MAC)) {
        return APR_EACCES;
    }
    sc_rd_init(&r, tail + AT_COUNT, 8);
    *len -= SC_DATAGRAM_TAIL;
    return advance(g, tail + AT_UID, sc_get_u64(&r)) ? APR_SUCCESS : APR_EEXIST;
}
