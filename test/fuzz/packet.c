/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * ChannelData: any bytes; or a whole one with something changed. What is read is put into a frame,
 * which must parse to the same.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_frame.h"

#define LIMIT (64 * 1024)

static void build(fuzz_in_t *in, sc_buf_t *b)
{
    sc_member_t from;
    apr_size_t address;
    int i;

    sc_put_u32(b, fuzz_u16(in));
    sc_put_u64(b, fuzz_number(in));
    sc_put_u32(b, 16);
    for (i = 0; i < 16; i++) {
        sc_put_u8(b, (unsigned int)i);
    }
    address = b->len;
    sc_put_u32(b, 0);
    fuzz_member(in, &from);
    sc_member_put(b, &from);
    sc_buf_patch_u32(b, address, (apr_uint32_t)(b->len - address - 4) + fuzz_u8(in) / 0x80);
    fuzz_damage(in, b);
    sc_put_u32(b, (apr_uint32_t)in->left);
    sc_put(b, in->p, in->left);
    in->left = 0;
}

static void round_trip(const sc_packet_t *p)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t parser;
    sc_packet_t again;
    apr_size_t len;

    sc_parser_init(&parser, 2 * LIMIT);
    sc_frame_put(&parser.in, p);
    FUZZ_CHECK(parser.in.err == APR_SUCCESS);
    FUZZ_CHECK(parser.in.len <= SC_FRAME_OVERHEAD + SC_FRAME_HEAD_MAX + p->body_len);
    FUZZ_CHECK(sc_parser_next(&parser, &kind, &data, &len) == APR_SUCCESS && kind == SC_FRAME_DATA);
    FUZZ_CHECK(sc_packet_get(&again, data, len) == APR_SUCCESS);
    FUZZ_CHECK(again.options == p->options && again.timestamp_ms == p->timestamp_ms);
    FUZZ_CHECK(memcmp(&again.id, &p->id, sizeof(again.id)) == 0);
    FUZZ_CHECK(sc_member_same(&again.from, &p->from) && again.from.ours == p->from.ours);
    FUZZ_CHECK(again.body_len == p->body_len && memcmp(again.body, p->body, p->body_len) == 0);
    sc_parser_done(&parser);
    FUZZ_CHECK(sc_parser_next(&parser, &kind, &data, &len) == APR_EAGAIN);
    sc_parser_free(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    unsigned char *bytes;
    sc_packet_t packet;
    sc_buf_t b;

    sc_buf_init(&b, LIMIT);
    if (size > 0 && data[0] == 0xff) {
        (void)fuzz_u8(&in);
        build(&in, &b);
    } else {
        sc_put(&b, data, size < LIMIT ? size : LIMIT);
    }
    bytes = fuzz_copy(b.data, b.len);
    if (sc_packet_get(&packet, bytes, b.len) == APR_SUCCESS) {
        FUZZ_CHECK(packet.body_len <= b.len);
        round_trip(&packet);
    }
    free(bytes);
    sc_buf_free(&b);
    return 0;
}
