/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The codecs of state.h.
 */
#include <string.h>

#include "state.h"

#define MAP_PROXY 3
#define MAP_STATE 5

/* ---- asking ---------------------------------------------------------------------------------- */

static void put_u16(sc_buf_t *b, apr_size_t v)
{
    sc_put_u8(b, (unsigned int)(v >> 8));
    sc_put_u8(b, (unsigned int)(v & 0xff));
}

static void put_utf(sc_buf_t *b, const char *text)
{
    put_u16(b, strlen(text));
    sc_put(b, text, strlen(text));
}

/* @param what follows behind the version: flags, fields */
static void put_class(sc_buf_t *b, const char *name, apr_uint64_t serial, unsigned int flags,
                      apr_size_t nfields)
{
    sc_put_u8(b, 0x72);
    put_utf(b, name);
    sc_put_u64(b, serial);
    sc_put_u8(b, flags);
    put_u16(b, nfields);
}

static void put_class_end(sc_buf_t *b)
{
    sc_put_u8(b, 0x78);
    sc_put_u8(b, 0x70);
}

static void put_field(sc_buf_t *b, char type, const char *name)
{
    sc_put_u8(b, (unsigned char)type);
    put_utf(b, name);
}

static void put_type(sc_buf_t *b, const char *name)
{
    sc_put_u8(b, 0x74);
    put_utf(b, name);
}

/* the string "[B", which is the fourth thing in the stream */
static void put_bytes_again(sc_buf_t *b)
{
    sc_put_u8(b, 0x71);
    sc_put_u32(b, 0x7E0003);
}

static void put_counted(sc_buf_t *b, const void *bytes, apr_size_t n)
{
    sc_put_u32(b, (apr_uint32_t)n);
    sc_put(b, bytes, n);
}

static void put_map_message_class(sc_buf_t *b)
{
    put_class(b, "org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage", 1, 0x02, 8);
    put_field(b, 'Z', "diff");
    put_field(b, 'I', "msgtype");
    put_field(b, '[', "diffvalue");
    put_type(b, "[B");
    put_field(b, '[', "keydata");
    put_bytes_again(b);
    put_field(b, '[', "mapId");
    put_bytes_again(b);
    put_field(b, '[', "nodes");
    put_type(b, "[Lorg/apache/catalina/tribes/Member;");
    put_field(b, 'L', "primary");
    put_type(b, "Lorg/apache/catalina/tribes/Member;");
    put_field(b, '[', "valuedata");
    put_bytes_again(b);
    put_class_end(b);
}

static void put_map_message(sc_buf_t *b, const char *map)
{
    sc_put_u8(b, 0x73);
    put_map_message_class(b);
    sc_put_u8(b, 0); /* diff */
    sc_put_u32(b, MAP_STATE);
    sc_put_u8(b, 0x70); /* diffvalue */
    sc_put_u8(b, 0x70); /* keydata */
    sc_put_u8(b, 0x75); /* mapId */
    put_class(b, "[B", APR_UINT64_C(0xACF317F8060854E0), 0x02, 0);
    put_class_end(b);
    put_counted(b, map, strlen(map));
    sc_put_u8(b, 0x70); /* nodes */
    sc_put_u8(b, 0x70); /* primary */
    sc_put_u8(b, 0x70); /* valuedata */
}

void sc_state_request(sc_buf_t *b, const sc_packet_t *packet, const sc_uid_t *call, const char *map)
{
    sc_packet_t p = *packet;
    sc_buf_t body;

    sc_buf_init(&body, SC_FRAME_HEAD_MAX + 2 * SC_CONTEXT_MAX);
    sc_put_u32(&body, 0xACED0005u);
    sc_put_u8(&body, 0x73);
    put_class(&body, "org.apache.catalina.tribes.group.RpcMessage",
              APR_UINT64_C(0x712A750FF274E509), 0x0C, 0);
    put_class_end(&body);
    sc_put_u8(&body, 0x77);
    sc_put_u8(&body, (unsigned int)(1 + 4 + sizeof(call->b) + 4 + strlen(map)));
    sc_put_u8(&body, 0); /* no reply */
    put_counted(&body, call->b, sizeof(call->b));
    put_counted(&body, map, strlen(map));
    put_map_message(&body, map);
    sc_put_u8(&body, 0x78);
    p.body = body.data;
    p.body_len = body.len;
    if (body.err == APR_SUCCESS) {
        sc_frame_put(b, &p);
    } else {
        b->err = body.err;
    }
    sc_buf_free(&body);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int is_bytes(const sc_jvalue_t *v, const char *text)
{
    return v->kind == SC_J_BYTES && v->len == strlen(text) && memcmp(v->p, text, v->len) == 0;
}

/* The call around the list. @param list receives where that lies */
static apr_status_t open_call(const void *body, apr_size_t len, const sc_uid_t *call,
                              const char *map, sc_jvalue_t *list)
{
    apr_status_t rv = APR_SUCCESS;
    sc_jstream_t s;
    sc_jcall_t head;
    sc_jmessage_t m;

    sc_jstream_open(&s, body, len);
    sc_jstream_call(&s, &head);
    if (s.r.bad) {
        rv = APR_EINVAL;
    } else if (!head.reply || memcmp(&head.call, call, sizeof(*call)) != 0) {
        rv = APR_EMISMATCH;
    } else if (head.no_channel) {
        rv = APR_NOTFOUND;
    } else {
        sc_jstream_message(&s, &m);
        sc_jstream_end(&s);
        rv = s.r.bad || m.type != MAP_STATE || !is_bytes(&m.map, map) || m.value.kind != SC_J_BYTES
                 ? APR_EINVAL
                 : APR_SUCCESS;
        *list = m.value;
    }
    sc_jstream_close(&s);
    return rv;
}

apr_status_t sc_state_open(sc_state_t *state, const void *body, apr_size_t len,
                           const sc_uid_t *call, const char *map)
{
    sc_jvalue_t list;
    apr_status_t rv = open_call(body, len, call, map, &list);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    sc_jstream_open(&state->s, list.p, list.len);
    state->left = sc_jstream_list(&state->s);
    if (state->s.r.bad) {
        sc_jstream_close(&state->s);
        return APR_EINVAL;
    }
    return APR_SUCCESS;
}

static void get_id(const sc_jvalue_t *key, sc_location_t *location)
{
    const unsigned char *text, *dot;
    apr_size_t len;

    text = key->kind == SC_J_BYTES ? sc_jstream_text(key->p, key->len, &len) : NULL;
    if (text != NULL) {
        dot = memchr(text, '.', len);
        location->id = text;
        location->id_len = dot != NULL ? (apr_size_t)(dot - text) : len;
    }
}

apr_status_t sc_state_next(sc_state_t *state, sc_location_t *location)
{
    sc_jmessage_t m;

    memset(location, 0, sizeof(*location));
    location->primary = SC_JNOBODY;
    if (state->left == 0) {
        sc_jstream_end(&state->s);
        return !state->s.r.bad && sc_rd_left(&state->s.r) == 0 ? APR_EOF : APR_EINVAL;
    }
    sc_jstream_message(&state->s, &m);
    if (state->s.r.bad || m.type != MAP_PROXY) {
        state->s.r.bad = 1;
        return APR_EINVAL;
    }
    state->left--;
    get_id(&m.key, location);
    if (m.primary.kind == SC_J_MEMBER) {
        location->primary = m.primary.node[0];
    }
    if (m.nodes.kind == SC_J_MEMBERS) {
        location->nbackups = m.nodes.nnodes;
        memcpy(location->backup, m.nodes.node, m.nodes.nnodes);
    }
    return APR_SUCCESS;
}

void sc_state_close(sc_state_t *state)
{
    sc_jstream_close(&state->s);
}
