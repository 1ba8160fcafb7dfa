/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Frames: byte for byte what Tomcat sends, in whatever pieces they come, and garbage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"
#include "vectors.h"

void sc_suite_frame(void);

#define MAX_DATA 65536

static const char *const data_vectors[] = {"tcp-data-bytemessage-use-ack.bin",
                                           "tcp-data-bytemessage-sync-ack.bin",
                                           "tcp-data-bytemessage-no-ack.bin",
                                           "tcp-data-bytemessage-async.bin",
                                           "tcp-data-string-use-ack.bin",
                                           "tcp-failure-detector-probe.bin",
                                           "interceptor-tcpping.bin",
                                           "interceptor-staticmembership-start.bin",
                                           "interceptor-staticmembership-stop.bin"};

#define NDATA (sizeof(data_vectors) / sizeof(data_vectors[0]))

/** Parse one frame that must be whole. @return a status; the packet points into the parser */
static apr_status_t parse(sc_parser_t *p, const unsigned char *bytes, apr_size_t len,
                          sc_packet_t *packet)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    apr_size_t n;
    apr_status_t rv;

    sc_parser_init(p, MAX_DATA);
    sc_put(&p->in, bytes, len);
    rv = sc_parser_next(p, &kind, &data, &n);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    return kind == SC_FRAME_DATA ? sc_packet_get(packet, data, n) : APR_EGENERAL;
}

static void test_reencode(void)
{
    apr_size_t i;

    for (i = 0; i < NDATA; i++) {
        apr_size_t len = 0;
        unsigned char *bytes = rig_vector(data_vectors[i], &len);
        sc_parser_t parser;
        sc_packet_t p;
        sc_buf_t b;

        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        CU_ASSERT_EQUAL_FATAL(parse(&parser, bytes, len, &p), APR_SUCCESS);
        sc_buf_init(&b, 65536);
        sc_frame_put(&b, &p);
        CU_ASSERT_EQUAL_FATAL(b.len, len);
        CU_ASSERT_EQUAL(memcmp(b.data, bytes, len), 0);
        sc_buf_free(&b);
        sc_parser_free(&parser);
        free(bytes);
    }
}

static void test_fields(void)
{
    apr_size_t len = 0;
    unsigned char *bytes = rig_vector("tcp-data-bytemessage-use-ack.bin", &len);
    sc_parser_t parser;
    sc_packet_t p;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL_FATAL(parse(&parser, bytes, len, &p), APR_SUCCESS);
    CU_ASSERT_EQUAL(p.options, SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK);
    CU_ASSERT_EQUAL(p.timestamp_ms, APR_UINT64_C(0x000001A203FD3C75));
    CU_ASSERT_EQUAL(p.id.b[0], 0x36);
    CU_ASSERT_EQUAL(p.id.b[15], 0x73);
    CU_ASSERT_EQUAL(p.from.port, 4100);
    CU_ASSERT_EQUAL(p.from.alive_ms, 5524);
    CU_ASSERT_EQUAL(p.body_len, 12);
    CU_ASSERT_EQUAL(memcmp(p.body, "hello tribes", 12), 0);
    sc_parser_free(&parser);
    free(bytes);
}

static void test_acks(void)
{
    static const char *const names[] = {"tcp-ack.bin", "tcp-fail-ack.bin"};
    int fail;

    for (fail = 0; fail <= 1; fail++) {
        apr_size_t len = 0;
        unsigned char *bytes = rig_vector(names[fail], &len);
        const unsigned char *data;
        sc_frame_kind_t kind;
        sc_parser_t p;
        apr_size_t n;

        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        CU_ASSERT_EQUAL_FATAL(len, SC_ACK_FRAME);
        CU_ASSERT_EQUAL(memcmp(bytes, sc_frame_ack(fail), len), 0);
        sc_parser_init(&p, MAX_DATA);
        sc_put(&p.in, bytes, len);
        CU_ASSERT_EQUAL_FATAL(sc_parser_next(&p, &kind, &data, &n), APR_SUCCESS);
        CU_ASSERT_EQUAL(kind, fail ? SC_FRAME_FAIL_ACK : SC_FRAME_ACK);
        sc_parser_done(&p);
        /* three other bytes are data, and no ChannelData */
        bytes[11] ^= 0x40;
        sc_put(&p.in, bytes, len);
        CU_ASSERT_EQUAL_FATAL(sc_parser_next(&p, &kind, &data, &n), APR_SUCCESS);
        CU_ASSERT_EQUAL(kind, SC_FRAME_DATA);
        sc_parser_free(&p);
        free(bytes);
    }
}

/** All frames that were captured from Tomcat, whatever they carry; what they carry: suite vectors,
 *  which also knows whether these are all. */
static void test_all_vectors(void)
{
    int frames = 0;
    apr_size_t i;

    for (i = 0; i < VECTORS; i++) {
        apr_size_t len = 0;
        unsigned char *bytes;
        sc_parser_t parser;
        sc_packet_t p;
        sc_buf_t b;

        if (vectors[i].kind != VECTOR_RAW && vectors[i].kind != VECTOR_JAVA) {
            continue;
        }
        bytes = rig_vector(vectors[i].name, &len);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        CU_ASSERT_EQUAL_FATAL(parse(&parser, bytes, len, &p), APR_SUCCESS);
        sc_buf_init(&b, 65536);
        sc_frame_put(&b, &p);
        CU_ASSERT(b.len == len && memcmp(b.data, bytes, len) == 0);
        sc_buf_free(&b);
        sc_parser_free(&parser);
        free(bytes);
        frames++;
    }
    CU_ASSERT_EQUAL(frames, VECTORS - 4); /* two of them are members, two acknowledgements */
}

/** Feed bytes in pieces of one size through sc_parser_room. @return frames found, -1 when refused
 */
static int feed(const unsigned char *bytes, apr_size_t len, apr_size_t piece)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t p;
    apr_size_t n;
    int frames = 0;

    sc_parser_init(&p, MAX_DATA);
    while (len > 0) {
        apr_size_t room;
        unsigned char *to = sc_parser_room(&p, &room);
        apr_status_t rv;

        CU_ASSERT_PTR_NOT_NULL_FATAL(to);
        CU_ASSERT_FATAL(room > 0);
        n = piece < room ? piece : room;
        n = n < len ? n : len;
        memcpy(to, bytes, n);
        p.in.len += n;
        bytes += n;
        len -= n;
        while ((rv = sc_parser_next(&p, &kind, &data, &n)) == APR_SUCCESS) {
            frames++;
            sc_parser_done(&p);
        }
        if (rv != APR_EAGAIN) {
            frames = -1;
            break;
        }
    }
    if (frames >= 0) {
        CU_ASSERT_EQUAL(sc_parser_partial(&p), 0);
    }
    sc_parser_free(&p);
    return frames;
}

static void test_pieces(void)
{
    sc_buf_t all;
    apr_size_t i;
    apr_size_t piece;

    sc_buf_init(&all, 1024 * 1024);
    for (i = 0; i < NDATA; i++) {
        apr_size_t len = 0;
        unsigned char *bytes = rig_vector(data_vectors[i], &len);

        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        sc_put(&all, bytes, len);
        sc_put(&all, sc_frame_ack(0), SC_ACK_FRAME);
        free(bytes);
    }
    for (piece = 1; piece <= all.len; piece += piece < 200 ? 1 : 97) {
        CU_ASSERT_EQUAL(feed(all.data, all.len, piece), (int)(2 * NDATA));
    }
    sc_buf_free(&all);
}

static void big_packet(sc_packet_t *p, const unsigned char *body, apr_size_t len)
{
    memset(p, 0, sizeof(*p));
    p->from.port = 1;
    p->body = body;
    p->body_len = len;
}

/** A frame of just the largest size, and one byte more. */
static void test_largest(void)
{
    unsigned char *body = calloc(1, MAX_DATA + 1);
    sc_packet_t p;
    sc_buf_t b;
    apr_size_t head;

    sc_buf_init(&b, 10 * MAX_DATA);
    big_packet(&p, body, 0);
    sc_frame_put(&b, &p);
    head = b.len - SC_FRAME_OVERHEAD;
    sc_buf_clear(&b);
    big_packet(&p, body, MAX_DATA - head);
    sc_frame_put(&b, &p);
    sc_frame_put(&b, &p);
    CU_ASSERT_EQUAL(feed(b.data, b.len, 1000), 2);
    CU_ASSERT_EQUAL(feed(b.data, b.len, 1000000), 2);
    sc_buf_clear(&b);
    big_packet(&p, body, MAX_DATA - head + 1);
    sc_frame_put(&b, &p);
    CU_ASSERT_EQUAL(feed(b.data, b.len, 1000), -1);
    sc_buf_free(&b);
    free(body);
}

/** Memory follows what has come, not what is announced. */
static void test_memory(void)
{
    static const unsigned char head[] = {'F', 'L', 'T', '2', '0', '0', '2', 0, 0xff, 0xff, 0xff};
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t p;
    apr_size_t room;
    apr_size_t n;

    sc_parser_init(&p, 16 * 1024 * 1024);
    sc_put(&p.in, head, sizeof(head));
    CU_ASSERT_EQUAL(sc_parser_next(&p, &kind, &data, &n), APR_EAGAIN);
    CU_ASSERT_PTR_NOT_NULL(sc_parser_room(&p, &room));
    CU_ASSERT(p.in.cap <= 65536);
    CU_ASSERT_EQUAL(sc_parser_partial(&p), sizeof(head));
    sc_parser_free(&p);
}

static apr_status_t first_bytes(const void *bytes, apr_size_t len)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t p;
    apr_size_t n;
    apr_status_t rv;

    sc_parser_init(&p, MAX_DATA);
    sc_put(&p.in, bytes, len);
    rv = sc_parser_next(&p, &kind, &data, &n);
    sc_parser_free(&p);
    return rv;
}

static void test_garbage(void)
{
    CU_ASSERT_EQUAL(first_bytes("", 0), APR_EAGAIN);
    CU_ASSERT_EQUAL(first_bytes("F", 1), APR_EAGAIN);
    CU_ASSERT_EQUAL(first_bytes("G", 1), APR_EINVAL);
    CU_ASSERT_EQUAL(first_bytes("FLT2001", 7), APR_EINVAL);
    CU_ASSERT_EQUAL(first_bytes("GET / HTTP/1.1\r\n", 16), APR_EINVAL);
    CU_ASSERT_EQUAL(first_bytes("FLT2002\0\0\0", 10), APR_EAGAIN);
    /* lengths: 0 with a wrong end, over the limit, 1 GiB, all ones */
    CU_ASSERT_EQUAL(first_bytes("FLT2002\0\0\0\0TLF2004", 18), APR_EINVAL);
    CU_ASSERT_EQUAL(first_bytes("FLT2002\0\0\0\0TLF2003", 18), APR_SUCCESS);
    CU_ASSERT_EQUAL(first_bytes("FLT2002\0\1\0\0", 11), APR_EAGAIN);
    CU_ASSERT_EQUAL(first_bytes("FLT2002\0\1\0\1", 11), APR_EINVAL);
    CU_ASSERT_EQUAL(first_bytes("FLT2002\x40\0\0\0", 11), APR_EINVAL);
    CU_ASSERT_EQUAL(first_bytes("FLT2002\xff\xff\xff\xff", 11), APR_EINVAL);
}

/** Every vector cut at every length and with every byte flipped: refused or understood, no crash.
 */
static void test_hostile(void)
{
    apr_size_t i;

    for (i = 0; i < NDATA; i++) {
        apr_size_t len = 0;
        unsigned char *bytes = rig_vector(data_vectors[i], &len);
        apr_size_t n;
        sc_packet_t p;

        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        for (n = 0; n < len; n++) {
            sc_parser_t parser;
            unsigned char *copy;

            CU_ASSERT_EQUAL(parse(&parser, bytes, n, &p), APR_EAGAIN);
            sc_parser_free(&parser);
            bytes[n] ^= 0xff;
            (void)parse(&parser, bytes, len, &p);
            sc_parser_free(&parser);
            /* and the same without a frame around it, in memory that ends with it */
            if (n > 11 + 7) {
                copy = malloc(n - 11);
                memcpy(copy, bytes + 11, n - 11);
                (void)sc_packet_get(&p, copy, n - 11);
                free(copy);
            }
            bytes[n] ^= 0xff;
        }
        free(bytes);
    }
}

/** Lengths inside ChannelData that lie. */
static void test_inner_lengths(void)
{
    static const apr_size_t at[] = {23, 43, 124}; /* id, address, message: tribes-protocol 11.3 */
    static const apr_uint32_t values[] = {0, 1, 15, 17, 78, 0x7fffffff, 0xfffffff0u, 0xffffffffu};
    apr_size_t len = 0;
    unsigned char *bytes = rig_vector("tcp-data-bytemessage-use-ack.bin", &len);
    apr_size_t i;
    apr_size_t k;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (i = 0; i < 3; i++) {
        for (k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            sc_buf_t b = {bytes, len, len, len, APR_SUCCESS};
            unsigned char old[4];
            sc_parser_t parser;
            sc_packet_t p;
            apr_status_t rv;

            memcpy(old, bytes + at[i], 4);
            sc_buf_patch_u32(&b, at[i], values[k]);
            rv = parse(&parser, bytes, len, &p);
            /* a shorter message is legal: Tribes ignores what follows */
            CU_ASSERT_EQUAL(rv, i == 2 && values[k] < 12 ? APR_SUCCESS : APR_EINVAL);
            sc_parser_free(&parser);
            memcpy(bytes + at[i], old, 4);
        }
    }
    free(bytes);
}

/** A foreign member that says more of itself than any of ours: taken, without what does not fit. */
static void test_talkative_sender(void)
{
    static const apr_size_t lens[][3] = {{0, 0, 600}, {33, 0, 0}, {0, 65, 0}, {40, 80, 2000}};
    apr_size_t i;

    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        static const unsigned char uid[16] = "a foreign member";
        sc_parser_t parser;
        sc_packet_t p;
        apr_size_t k;
        sc_buf_t b;

        sc_buf_init(&b, MAX_DATA);
        sc_put(&b, "FLT2002\0\0\0\0\0\0\0\3", 15);
        sc_put_u64(&b, 1);
        sc_put_u32(&b, 16);
        sc_put(&b, uid, 16);
        sc_put_u32(&b, 0);
        sc_put(&b, "TRIBES-B\1\0\0\0\0\0", 14);
        sc_put_u64(&b, 7);
        sc_put_u32(&b, 4000);
        sc_put(&b, "\377\377\377\377\377\377\377\377\4\12\0\0\62", 13);
        for (k = 0; k < 3; k++) {
            if (k == 2) {
                sc_put(&b, uid, 16);
            }
            sc_put_u32(&b, (apr_uint32_t)lens[i][k]);
            memset(sc_buf_reserve(&b, lens[i][k] + 1), 'x', lens[i][k]);
            b.len += lens[i][k];
        }
        sc_buf_patch_u32(&b, 43 + 4 + 10, (apr_uint32_t)(b.len - 43 - 4 - 14));
        sc_put(&b, "TRIBES-E\1\0", 10);
        sc_buf_patch_u32(&b, 43, (apr_uint32_t)(b.len - 43 - 4));
        sc_put_u32(&b, 5);
        sc_put(&b, "hello", 5);
        sc_buf_patch_u32(&b, 7, (apr_uint32_t)(b.len - 11));
        sc_put(&b, "TLF2003", 7);
        CU_ASSERT_EQUAL(parse(&parser, b.data, b.len, &p), APR_SUCCESS);
        CU_ASSERT_EQUAL(p.from.ours, 0);
        CU_ASSERT_EQUAL(p.from.port, 4000);
        CU_ASSERT_EQUAL(p.from.host[3], 50);
        CU_ASSERT_EQUAL(memcmp(p.from.uid.b, uid, 16), 0);
        CU_ASSERT(p.from.command_len <= SC_MEMBER_COMMAND_MAX);
        CU_ASSERT(p.from.domain_len <= SC_MEMBER_DOMAIN_MAX);
        CU_ASSERT_EQUAL(p.from.payload_len, 0);
        CU_ASSERT_EQUAL_FATAL(p.body_len, 5);
        CU_ASSERT_EQUAL(memcmp(p.body, "hello", 5), 0);
        sc_parser_free(&parser);
        sc_buf_free(&b);
    }
}

void sc_suite_frame(void)
{
    CU_pSuite s = CU_add_suite("frame", NULL, NULL);

    CU_add_test(s, "frames of Tomcat, byte for byte", test_reencode);
    CU_add_test(s, "the fields of one", test_fields);
    CU_add_test(s, "acknowledgements", test_acks);
    CU_add_test(s, "all captured frames", test_all_vectors);
    CU_add_test(s, "frames in pieces", test_pieces);
    CU_add_test(s, "the largest frame", test_largest);
    CU_add_test(s, "memory follows what has come", test_memory);
    CU_add_test(s, "garbage is refused at its first byte", test_garbage);
    CU_add_test(s, "every length and every flipped byte", test_hostile);
    CU_add_test(s, "lengths inside that lie", test_inner_lengths);
    CU_add_test(s, "a sender that says too much", test_talkative_sender);
}
