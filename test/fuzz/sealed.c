/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sealed frames and acknowledgements on one connection, and datagrams with a tail. Whatever is
 * changed, left out, repeated or exchanged, nothing is opened but what was sealed, in its turn; and
 * of datagrams none twice and none that is older than one that was taken.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_frame.h"
#include "sc_secret.h"

#define KEPT 8

typedef struct kept_t {
    sc_buf_t bytes;
    unsigned int who;
    apr_uint64_t count;
} kept_t;

static const sc_keyring_t *ring(void)
{
    static sc_keyring_t made;
    sc_secrets_t s;

    if (made.count == 0) {
        memset(&s, 0, sizeof(s));
        FUZZ_CHECK(sc_secrets_add(&s, "the first of all secrets", 24) == APR_SUCCESS);
        FUZZ_CHECK(sc_keyring_make(&made, &s) == APR_SUCCESS);
    }
    return &made;
}

/* ---- frames -----------------------------------------------------------------------------------
 */

static void put_frame(fuzz_in_t *in, sc_seal_t *seal, sc_buf_t *b)
{
    sc_packet_t packet;
    sc_buf_t frame;
    size_t n;

    memset(&packet, 0, sizeof(packet));
    sc_buf_init(&frame, 65536);
    fuzz_peer(&packet.from, 0);
    packet.body = fuzz_text(in, 4000, &n);
    packet.body_len = n;
    sc_frame_put(&frame, &packet);
    FUZZ_CHECK(sc_sealed_put(b, seal, frame.data, frame.len) == APR_SUCCESS);
    sc_buf_free(&frame);
}

/** @return whether it was opened */
static int open_frame(sc_seal_t *seal, const sc_buf_t *b)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_packet_t packet;
    sc_parser_t parser;
    apr_size_t len;
    int opened = 0;

    sc_parser_init(&parser, 65536);
    sc_put(&parser.in, b->data, b->len);
    if (sc_parser_next(&parser, &kind, &data, &len) == APR_SUCCESS) {
        unsigned char *copy = fuzz_copy(data, len);

        if (sc_sealed_open(seal, copy, &len) == APR_SUCCESS) {
            opened = 1;
            FUZZ_CHECK(sc_packet_get(&packet, copy, len) == APR_SUCCESS);
        }
        free(copy);
    }
    sc_parser_free(&parser);
    return opened;
}

static int same(const sc_buf_t *a, const sc_buf_t *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void frames(fuzz_in_t *in)
{
    unsigned char material[SC_KEY + SC_SEAL_IV];
    sc_seal_t sending, receiving;
    int alive = 1;

    memset(material, 7, sizeof(material));
    FUZZ_CHECK(sc_seal_init(&sending, material, 1) == APR_SUCCESS);
    FUZZ_CHECK(sc_seal_init(&receiving, material, 0) == APR_SUCCESS);
    while (in->left > 0 && alive) {
        unsigned int how = fuzz_below(in, 4);
        sc_buf_t b, whole;

        sc_buf_init(&b, 65536);
        sc_buf_init(&whole, 65536);
        if (how == 0) {
            unsigned char ack[SC_SEALED_ACK];
            apr_size_t n;
            int fail = (int)fuzz_below(in, 2), heard = -1;
            apr_status_t rv;

            FUZZ_CHECK(sc_sealed_ack(&sending, fail, ack) == APR_SUCCESS);
            sc_put(&b, ack, sizeof(ack));
            sc_put(&whole, ack, sizeof(ack));
            fuzz_damage(in, &b);
            n = b.len < SC_SEALED_ACK ? b.len : SC_SEALED_ACK;
            rv = sc_sealed_answer(&receiving, b.data, n, &heard);
            FUZZ_CHECK(rv != APR_EAGAIN || n < SC_SEALED_ACK);
            alive = rv == APR_SUCCESS;
            if (alive) { /* b was overwritten */
                FUZZ_CHECK(n == SC_SEALED_ACK && heard == fail);
            }
        } else {
            int lost = how == 1 && fuzz_below(in, 4) == 0;

            if (lost) {
                put_frame(in, &sending, &b);
                sc_buf_clear(&b);
            }
            put_frame(in, &sending, &b);
            sc_put(&whole, b.data, b.len);
            fuzz_damage(in, &b);
            alive = open_frame(&receiving, &b);
            if (alive) { /* what is behind the frame does not belong to it */
                FUZZ_CHECK(!lost && b.len >= whole.len);
                FUZZ_CHECK(memcmp(b.data, whole.data, whole.len) == 0);
            } else {
                FUZZ_CHECK(lost || !same(&b, &whole));
            }
        }
        sc_buf_free(&whole);
        sc_buf_free(&b);
    }
    sc_seal_free(&sending);
    sc_seal_free(&receiving);
}

/* ---- datagrams --------------------------------------------------------------------------------
 */

static void datagrams(fuzz_in_t *in)
{
    static sc_guard_t guard;
    static kept_t kept[KEPT];
    apr_uint64_t count[4] = {0}, taken[4] = {0};
    unsigned int n = 0, i;

    memset(&guard, 0, sizeof(guard));
    memset(kept, 0, sizeof(kept));
    while (in->left > 0) {
        unsigned int how = fuzz_u8(in);
        unsigned char *copy;
        apr_status_t rv;
        apr_size_t len;
        kept_t *k;
        sc_buf_t b;

        if (n < KEPT && how < 0x80) {
            sc_member_t m;

            k = &kept[n++];
            k->who = how % 4;
            k->count = count[k->who] += 1 + how / 4 % 4;
            sc_buf_init(&k->bytes, SC_DATAGRAM_MAX);
            fuzz_peer(&m, k->who);
            sc_member_put(&k->bytes, &m);
            FUZZ_CHECK(sc_datagram_seal(ring(), &m.uid, k->count, &k->bytes) == APR_SUCCESS);
        }
        if (n == 0) {
            continue;
        }
        k = &kept[fuzz_below(in, KEPT) % n];
        sc_buf_init(&b, 2 * SC_DATAGRAM_MAX);
        sc_put(&b, k->bytes.data, k->bytes.len);
        fuzz_damage(in, &b);
        copy = fuzz_copy(b.data, b.len);
        len = b.len;
        (void)sc_datagram_is_sealed(copy, len);
        rv = sc_datagram_open(&guard, ring(), copy, &len);
        free(copy);
        if (rv == APR_SUCCESS) {
            FUZZ_CHECK(same(&b, &k->bytes) && len == b.len - SC_DATAGRAM_TAIL);
            FUZZ_CHECK(k->count > taken[k->who]);
            taken[k->who] = k->count;
        } else if (same(&b, &k->bytes)) {
            FUZZ_CHECK(rv == APR_EEXIST && k->count <= taken[k->who]);
        }
        sc_buf_free(&b);
    }
    for (i = 0; i < n; i++) {
        sc_buf_free(&kept[i].bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};

    (void)fuzz_start();
    if (fuzz_below(&in, 2) == 0) {
        frames(&in);
    } else {
        datagrams(&in);
    }
    return 0;
}
