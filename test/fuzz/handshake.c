/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Handshakes with somebody in the middle: two callers and two answerers, with secrets as the input
 * says, and every message of theirs that was ever sent may arrive anywhere, whole, damaged, cut,
 * twice, in pieces. Whoever succeeds has heard, byte for byte, what one single other side with a
 * common secret has said, knows its name, and can open what it seals.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_secret.h"

#define SIDES 4 /* 0 and 1 call, 2 and 3 answer */
#define MESSAGES 24

typedef struct side_t {
    sc_shake_t shake;
    const sc_keyring_t *ring;
    unsigned int keys; /* bits of the secrets that it has */
    sc_uid_t self;
    sc_buf_t said;
    sc_buf_t heard;
    int ended;
    int done;
} side_t;

typedef struct message_t {
    unsigned char bytes[SC_SHAKE_MAX];
    apr_size_t len;
} message_t;

typedef struct scene_t {
    side_t side[SIDES];
    message_t message[MESSAGES];
    unsigned int n;
} scene_t;

/* ---- secrets ----------------------------------------------------------------------------------
 */

static const unsigned int ring_keys[] = {1, 2, 3, 3, 4, 0};

static const sc_keyring_t *ring_of(unsigned int which)
{
    static const char *const secrets[] = {"the first of all secrets", "the second of all secrets",
                                          "a stranger's own secret"};
    static const int order[][2] = {{0, -1}, {1, -1}, {0, 1}, {1, 0}, {2, -1}, {-1, -1}};
    static sc_keyring_t ring[6];
    static int made;
    int i, k;

    for (i = 0; !made && i < 6; i++) {
        sc_secrets_t s;

        memset(&s, 0, sizeof(s));
        for (k = 0; k < 2 && order[i][k] >= 0; k++) {
            const char *text = secrets[order[i][k]];

            FUZZ_CHECK(sc_secrets_add(&s, text, strlen(text)) == APR_SUCCESS);
        }
        FUZZ_CHECK(sc_keyring_make(&ring[i], &s) == APR_SUCCESS);
    }
    made = 1;
    return &ring[which];
}

/* ---- the sides --------------------------------------------------------------------------------
 */

static void record(scene_t *s, side_t *side, const unsigned char *bytes, apr_size_t len)
{
    sc_put(&side->said, bytes, len);
    if (len > 0 && s->n < MESSAGES) {
        memcpy(s->message[s->n].bytes, bytes, len);
        s->message[s->n++].len = len;
    }
}

static void start_side(scene_t *s, fuzz_in_t *in, int i)
{
    side_t *side = &s->side[i];
    unsigned int which = fuzz_below(in, 6);
    unsigned char out[SC_SHAKE_MAX];
    apr_size_t len = 0;
    sc_uid_t wanted;

    memset(&side->self, 0x10 + i, sizeof(side->self));
    memset(&wanted, 0, sizeof(wanted));
    side->ring = ring_of(which);
    side->keys = ring_keys[which];
    sc_buf_init(&side->said, 4096);
    sc_buf_init(&side->heard, 65536);
    if (i >= 2) {
        sc_shake_answer(&side->shake, side->ring, &side->self);
        return;
    }
    if (side->ring->count == 0) {
        side->ended = 1; /* without a secret nobody calls like this */
        return;
    }
    which = fuzz_below(in, 4);
    if (which != 0) {
        memset(&wanted, 0x10 + (int)which, sizeof(wanted));
    }
    FUZZ_CHECK(sc_shake_call(&side->shake, side->ring, &side->self, &wanted, out, &len) ==
               APR_SUCCESS);
    record(s, side, out, len);
}

static side_t *partner_of(scene_t *s, const side_t *side)
{
    int first = side->shake.initiator ? 2 : 0;
    int i;

    for (i = first; i < first + 2; i++) {
        side_t *other = &s->side[i];

        /* an answerer that has succeeded has heard all that the other one has said */
        if (other->said.len == side->heard.len &&
            memcmp(other->said.data, side->heard.data, side->heard.len) == 0) {
            return other;
        }
    }
    return NULL;
}

static void check_seals(const side_t *a, const side_t *b)
{
    unsigned char text[5 + SC_SEAL_TAG] = "hello";
    sc_seal_t a_sends, a_hears, b_sends, b_hears;

    FUZZ_CHECK(sc_shake_seals(&a->shake, &a_sends, &a_hears) == APR_SUCCESS);
    FUZZ_CHECK(sc_shake_seals(&b->shake, &b_sends, &b_hears) == APR_SUCCESS);
    FUZZ_CHECK(sc_seal(&a_sends, "head", 4, text, 5, text) == APR_SUCCESS);
    FUZZ_CHECK(sc_open(&b_hears, "head", 4, text, 5) == APR_SUCCESS);
    FUZZ_CHECK(memcmp(text, "hello", 5) == 0);
    FUZZ_CHECK(sc_seal(&b_sends, "head", 4, text, 5, text) == APR_SUCCESS);
    FUZZ_CHECK(sc_open(&a_hears, "heaD", 4, text, 5) == APR_EACCES);
    sc_seal_free(&a_sends);
    sc_seal_free(&a_hears);
    sc_seal_free(&b_sends);
    sc_seal_free(&b_hears);
}

static void check_success(scene_t *s, side_t *side)
{
    side_t *partner = partner_of(s, side);

    FUZZ_CHECK(partner != NULL && (partner->keys & side->keys) != 0);
    FUZZ_CHECK(memcmp(&side->shake.peer, &partner->self, sizeof(partner->self)) == 0);
    side->done = 1;
    if (partner->done) {
        check_seals(side, partner);
    }
}

/** Bytes arrive at a side, in pieces of at most so many. */
static void arrive(scene_t *s, side_t *side, const unsigned char *bytes, apr_size_t len,
                   apr_size_t piece)
{
    while (len > 0 && !side->ended) {
        unsigned char out[SC_SHAKE_MAX];
        apr_size_t room = 0, out_len = 0, n;
        unsigned char *to = sc_shake_room(&side->shake, &room);
        apr_status_t rv;

        FUZZ_CHECK(to != NULL && room > 0 && room <= SC_SHAKE_MAX);
        n = room < len ? room : len;
        n = n < piece ? n : piece;
        memcpy(to, bytes, n);
        sc_put(&side->heard, bytes, n);
        bytes += n;
        len -= n;
        rv = sc_shake_heard(&side->shake, n, out, &out_len);
        FUZZ_CHECK(out_len <= SC_SHAKE_MAX);
        record(s, side, out, out_len);
        if (rv == APR_SUCCESS) {
            side->ended = 1;
            check_success(s, side);
        } else if (rv != APR_EAGAIN) {
            FUZZ_CHECK(rv == APR_EACCES && side->shake.why != NULL);
            side->ended = 1;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static scene_t s;
    fuzz_in_t in = {data, size};
    int i;

    (void)fuzz_start();
    memset(&s, 0, sizeof(s));
    for (i = 0; i < SIDES; i++) {
        start_side(&s, &in, i);
    }
    while (in.left > 0) {
        unsigned int how = fuzz_u8(&in);
        side_t *side = &s.side[how % SIDES];
        apr_size_t piece = how & 0x40 ? 1 + fuzz_u8(&in) : SC_SHAKE_MAX;
        sc_buf_t b;

        sc_buf_init(&b, 4096);
        if (how & 0x80) {
            size_t n;
            const unsigned char *p = fuzz_text(&in, 300, &n);

            sc_put(&b, p, n);
        } else if (s.n > 0) {
            const message_t *m = &s.message[s.n - 1 - fuzz_below(&in, MESSAGES) % s.n];

            sc_put(&b, m->bytes, m->len);
            if (how & 0x20) {
                fuzz_damage(&in, &b);
            }
        }
        arrive(&s, side, b.data, b.len, piece);
        sc_buf_free(&b);
    }
    for (i = 0; i < SIDES; i++) {
        sc_buf_free(&s.side[i].said);
        sc_buf_free(&s.side[i].heard);
    }
    return 0;
}
