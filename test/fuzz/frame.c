/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The parser of frames, fed in pieces as the input says. It must find the same frames, and the same
 * end, as when all comes at once, and must not take more memory than its limit.
 *
 *   first byte: chooses the limit; second: the sizes of the pieces; then frames or anything. An
 *   input that begins with 0xff is a list of frame bodies, of which the frames are made here.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_frame.h"

#define LIMIT (256 * 1024)

typedef struct seen_t {
    apr_uint64_t sum; /* over kind, length and bytes of all frames */
    int frames;
    apr_status_t end; /* of the last call */
} seen_t;

static void note(seen_t *s, sc_frame_kind_t kind, const unsigned char *data, apr_size_t len)
{
    apr_size_t i;

    s->frames++;
    s->sum = (s->sum ^ (apr_uint64_t)kind) * 1099511628211ull + len;
    for (i = 0; i < len; i++) {
        s->sum = (s->sum ^ data[i]) * 1099511628211ull;
    }
}

static void take_all(sc_parser_t *p, seen_t *s)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_packet_t packet;
    apr_size_t len;

    while ((s->end = sc_parser_next(p, &kind, &data, &len)) == APR_SUCCESS) {
        FUZZ_CHECK(len <= p->max_data);
        note(s, kind, data, len);
        if (sc_packet_get(&packet, data, len) == APR_SUCCESS) {
            FUZZ_CHECK(kind == SC_FRAME_DATA);
        }
        sc_parser_done(p);
    }
}

/** Feed it in pieces. size_of: 0: as large as there is room; else so many bytes at most. */
static seen_t feed(const unsigned char *bytes, apr_size_t len, apr_size_t max, unsigned int seed)
{
    seen_t s = {0, 0, APR_EAGAIN};
    sc_parser_t p;

    sc_parser_init(&p, max);
    while (len > 0 && s.end == APR_EAGAIN) {
        apr_size_t have = sc_parser_partial(&p);
        apr_size_t wanted = sc_parser_room_wanted(&p);
        apr_size_t room = 0, n;
        unsigned char *to = sc_parser_room(&p, &room);

        FUZZ_CHECK(to != NULL && room > 0 && room == wanted);
        /* memory grows with what has come, not with what is announced */
        FUZZ_CHECK(room <= 2 * (have + 16384));
        n = room < len ? room : len;
        if (seed != 0) {
            seed = seed * 1103515245u + 12345u;
            n = n < 1 + (seed >> 16) % 700 ? n : 1 + (seed >> 16) % 700;
        }
        memcpy(to, bytes, n);
        p.in.len += n;
        bytes += n;
        len -= n;
        take_all(&p, &s);
        FUZZ_CHECK(p.in.cap <= max + SC_FRAME_OVERHEAD + 16384);
    }
    sc_parser_free(&p);
    return s;
}

static void build(fuzz_in_t *in, sc_buf_t *b)
{
    while (in->left > 0) {
        sc_packet_t packet;
        apr_size_t start = b->len;
        size_t n;

        memset(&packet, 0, sizeof(packet));
        if (fuzz_below(in, 5) == 0) {
            sc_put(b, sc_frame_ack(fuzz_below(in, 2) != 0), SC_ACK_FRAME);
            continue;
        }
        fuzz_member(in, &packet.from);
        packet.body = fuzz_text(in, 40000, &n);
        packet.body_len = n;
        packet.options = fuzz_u8(in);
        sc_frame_put(b, &packet);
        if (fuzz_below(in, 8) == 0 && b->len > start) {
            b->data[start + fuzz_u16(in) % (b->len - start)] = (unsigned char)fuzz_u8(in);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const apr_size_t limits[] = {0, 3, 100, 1000, 65536, 1024 * 1024};
    fuzz_in_t in = {data, size};
    unsigned int seed;
    apr_size_t max;
    seen_t whole, pieces, bytewise;
    unsigned char *bytes;
    sc_buf_t b;

    max = limits[fuzz_below(&in, sizeof(limits) / sizeof(limits[0]))];
    seed = 1 + fuzz_u8(&in);
    sc_buf_init(&b, LIMIT);
    if (size > 0 && data[0] >= 0x80) {
        build(&in, &b);
    } else {
        sc_put(&b, in.p, in.left < LIMIT ? in.left : LIMIT);
    }
    bytes = fuzz_copy(b.data, b.len);
    whole = feed(bytes, b.len, max, 0);
    pieces = feed(bytes, b.len, max, seed);
    FUZZ_CHECK(whole.frames == pieces.frames && whole.sum == pieces.sum);
    FUZZ_CHECK(whole.end == pieces.end);
    bytewise = feed(bytes, b.len < 4096 ? b.len : 4096, max, 0x7fffffff);
    FUZZ_CHECK(b.len > 4096 || bytewise.sum == whole.sum);
    free(bytes);
    sc_buf_free(&b);
    return 0;
}
