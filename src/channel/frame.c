/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Tribes' frames and the ChannelData in them (tribes-protocol 2.1 to 2.3).
 *
 * The parser judges bytes as early as it can: the first wrong byte of a header and a length over
 * the limit are refused before anything else is read. Frames of one read are taken from their place
 * one after the other; what is left over moves to the front once per read, not once per frame, so
 * that many tiny frames cost no more than their bytes.
 */
#include <string.h>

#include "sc_frame.h"

#define MARK_LEN 7
#define HEAD_LEN (MARK_LEN + 4)
#define ACK_LEN 3
/* What one read may bring besides the frame that is waited for. */
#define CHUNK 16384

static const unsigned char start_mark[MARK_LEN] = {'F', 'L', 'T', '2', '0', '0', '2'};
static const unsigned char end_mark[MARK_LEN] = {'T', 'L', 'F', '2', '0', '0', '3'};

static const unsigned char ack_frame[SC_ACK_FRAME] = {
    'F', 'L', 'T', '2', '0', '0', '2', 0, 0, 0, 3, 6, 2, 3, 'T', 'L', 'F', '2', '0', '0', '3'};
static const unsigned char fail_ack_frame[SC_ACK_FRAME] = {
    'F', 'L', 'T', '2', '0', '0', '2', 0, 0, 0, 3, 11, 0, 5, 'T', 'L', 'F', '2', '0', '0', '3'};

const unsigned char *sc_frame_ack(int fail)
{
    return fail ? fail_ack_frame : ack_frame;
}

int sc_frame_is(const void *bytes, apr_size_t len)
{
    return len >= MARK_LEN && memcmp(bytes, start_mark, MARK_LEN) == 0;
}

apr_status_t sc_frame_answer(const void *bytes, apr_size_t n, int *fail)
{
    for (*fail = 0; *fail <= 1; ++*fail) {
        if (memcmp(bytes, sc_frame_ack(*fail), n) == 0) {
            return n < SC_ACK_FRAME ? APR_EAGAIN : APR_SUCCESS;
        }
    }
    return APR_EINVAL;
}

void sc_frame_put(sc_buf_t *b, const sc_packet_t *p)
{
    apr_size_t length = b->len + MARK_LEN;
    apr_size_t address;

    sc_put(b, start_mark, MARK_LEN);
    sc_put_u32(b, 0);
    sc_put_u32(b, p->options);
    sc_put_u64(b, p->timestamp_ms);
    sc_put_u32(b, sizeof(p->id.b));
    sc_put(b, p->id.b, sizeof(p->id.b));
    address = b->len;
    sc_put_u32(b, 0);
    sc_member_put(b, &p->from);
    sc_buf_patch_u32(b, address, (apr_uint32_t)(b->len - address - 4));
    sc_put_u32(b, (apr_uint32_t)p->body_len);
    sc_put(b, p->body, p->body_len);
    sc_buf_patch_u32(b, length, (apr_uint32_t)(b->len - length - 4));
    sc_put(b, end_mark, MARK_LEN);
}

apr_status_t sc_packet_get(sc_packet_t *p, const void *data, apr_size_t len)
{
    const unsigned char *id;
    const unsigned char *from;
    apr_size_t from_len;
    apr_size_t used;
    apr_status_t rv;
    sc_rd_t r;

    memset(p, 0, sizeof(*p));
    sc_rd_init(&r, data, len);
    p->options = sc_get_u32(&r);
    p->timestamp_ms = sc_get_u64(&r);
    if (sc_get_u32(&r) != sizeof(p->id.b)) {
        return APR_EINVAL;
    }
    id = sc_get(&r, sizeof(p->id.b));
    from_len = sc_get_u32(&r);
    from = sc_get(&r, from_len);
    p->body_len = sc_get_u32(&r);
    p->body = sc_get(&r, p->body_len);
    if (r.bad) {
        memset(p, 0, sizeof(*p));
        return APR_EINVAL;
    }
    memcpy(p->id.b, id, sizeof(p->id.b));
    rv = sc_member_get(&p->from, from, from_len, &used);
    if (rv == APR_ENOSPC) {
        p->from.payload_len = 0; /* a foreign member: taken without what does not fit, as in its */
        rv = APR_SUCCESS;        /* datagrams */
    }
    return rv;
}

/* ---- parser --------------------------------------------------------------------------------- */

void sc_parser_init(sc_parser_t *p, apr_size_t max_data)
{
    memset(p, 0, sizeof(*p));
    p->max_data = max_data;
    sc_buf_init(&p->in, max_data + SC_FRAME_OVERHEAD + CHUNK);
}

void sc_parser_free(sc_parser_t *p)
{
    sc_buf_free(&p->in);
    p->pos = p->held = 0;
}

static apr_size_t frame_size(const unsigned char *frame)
{
    sc_rd_t r;

    sc_rd_init(&r, frame + MARK_LEN, 4);
    return sc_get_u32(&r);
}

static void compact(sc_parser_t *p)
{
    if (p->pos > 0) {
        sc_buf_consume(&p->in, p->pos);
        p->pos = 0;
    }
}

apr_size_t sc_parser_room_wanted(const sc_parser_t *p)
{
    apr_size_t have = p->in.len - p->pos;
    apr_size_t size;
    apr_size_t missing;

    if (have < HEAD_LEN) {
        return CHUNK;
    }
    size = frame_size(p->in.data + p->pos);
    if (size > p->max_data || size + SC_FRAME_OVERHEAD <= have + CHUNK) {
        return CHUNK;
    }
    missing = size + SC_FRAME_OVERHEAD - have;
    if (have < CHUNK) {
        have = CHUNK;
    }
    return missing < have ? missing : have;
}

unsigned char *sc_parser_room(sc_parser_t *p, apr_size_t *room)
{
    *room = sc_parser_room_wanted(p);
    compact(p);
    return sc_buf_reserve(&p->in, *room);
}

apr_size_t sc_parser_partial(const sc_parser_t *p)
{
    return p->in.len - p->pos;
}

apr_status_t sc_parser_next(sc_parser_t *p, sc_frame_kind_t *kind, const unsigned char **data,
                            apr_size_t *len)
{
    apr_size_t have = p->in.len - p->pos;
    const unsigned char *frame;
    apr_size_t size;

    if (have == 0) {
        return APR_EAGAIN;
    }
    frame = p->in.data + p->pos;
    if (memcmp(frame, start_mark, have < MARK_LEN ? have : MARK_LEN) != 0) {
        return APR_EINVAL;
    }
    if (have < HEAD_LEN) {
        return APR_EAGAIN;
    }
    size = frame_size(frame);
    if (size > p->max_data) {
        return APR_EINVAL;
    }
    if (have < size + SC_FRAME_OVERHEAD) {
        return APR_EAGAIN;
    }
    if (memcmp(frame + HEAD_LEN + size, end_mark, MARK_LEN) != 0) {
        return APR_EINVAL;
    }
    *kind = SC_FRAME_DATA;
    if (size == ACK_LEN) {
        if (memcmp(frame, ack_frame, SC_ACK_FRAME) == 0) {
            *kind = SC_FRAME_ACK;
        } else if (memcmp(frame, fail_ack_frame, SC_ACK_FRAME) == 0) {
            *kind = SC_FRAME_FAIL_ACK;
        }
    }
    *data = frame + HEAD_LEN;
    *len = size;
    p->held = size + SC_FRAME_OVERHEAD;
    return APR_SUCCESS;
}

void sc_parser_done(sc_parser_t *p)
{
    p->pos += p->held;
    p->held = 0;
    if (p->pos == p->in.len) {
        compact(p);
    }
}
