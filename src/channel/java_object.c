/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Java serialization, as much as the objects of java_object.h need (tribes-protocol 12).
 *
 * What is written repeats every class in full and refers to nothing written before, as Tomcat's own
 * objects of these classes do. So there is no table of handles here, and a reference to something
 * before it makes an object one of another class.
 */
#include <string.h>

#include "java_object.h"

#define STREAM_HEAD 0xACED0005u
#define TC_NULL 0x70
#define TC_REFERENCE 0x71
#define TC_CLASSDESC 0x72
#define TC_OBJECT 0x73
#define TC_STRING 0x74
#define TC_ARRAY 0x75
#define TC_BLOCKDATA 0x77
#define TC_END 0x78
#define TC_BLOCKDATALONG 0x7A
#define SERIALIZABLE 0x02
#define EXTERNALIZABLE 0x0C

#define RPC_MESSAGE "org.apache.catalina.tribes.group.RpcMessage"
#define NO_CHANNEL RPC_MESSAGE "$NoRpcChannelReply"
#define MEMBER_MESSAGE                                                                             \
    "org.apache.catalina.tribes.membership.StaticMembershipProvider$MemberMessage"
#define MEMBER_IMPL "org.apache.catalina.tribes.membership.MemberImpl"
#define STATIC_MEMBER "org.apache.catalina.tribes.membership.StaticMember"
#define BYTES "[B"

#define RPC_SERIAL APR_UINT64_C(0x712A750FF274E509)
#define NO_CHANNEL_SERIAL APR_UINT64_C(0x7BAB8FB36A4B5BA6)
#define MEMBER_MESSAGE_SERIAL 1
#define MEMBER_SERIAL APR_UINT64_C(0x8476F37B32953667)
#define STATIC_SERIAL APR_UINT64_C(0xA32603887EB6B8A1)
#define BYTES_SERIAL APR_UINT64_C(0xACF317F8060854E0)

/* Classes above one another, and fields of one, at most: ours have three. */
#define DEPTH_MAX 4
#define FIELDS_MAX 8

/* ---- reading -------------------------------------------------------------------------------- */

static apr_uint32_t get_u16(sc_rd_t *r)
{
    apr_uint32_t high = sc_get_u8(r);

    return high << 8 | sc_get_u8(r);
}

static const unsigned char *get_utf(sc_rd_t *r, apr_size_t *len)
{
    *len = get_u16(r);
    return sc_get(r, *len);
}

/** 4 bytes of length, then so many. */
static const unsigned char *get_bytes(sc_rd_t *r, apr_size_t *len)
{
    *len = sc_get_u32(r);
    return sc_get(r, *len);
}

static void expect(sc_rd_t *r, unsigned int byte)
{
    if (sc_get_u8(r) != byte) {
        r->bad = 1;
    }
}

static void skip_field(sc_rd_t *r)
{
    unsigned int type = sc_get_u8(r);
    unsigned int what;
    apr_size_t n;

    get_utf(r, &n);
    if (type != '[' && type != 'L') {
        return;
    }
    what = sc_get_u8(r);
    if (what == TC_STRING) {
        get_utf(r, &n);
    } else if (what == TC_REFERENCE) {
        sc_get_u32(r);
    } else {
        r->bad = 1;
    }
}

typedef struct class_t {
    const unsigned char *name;
    apr_size_t name_len;
    apr_uint64_t serial;
    apr_uint64_t super_serial; /* of the class above it, 0 when there is none */
} class_t;

static int is_class(const class_t *c, const char *name)
{
    return c->name != NULL && c->name_len == strlen(name) &&
           memcmp(c->name, name, c->name_len) == 0;
}

/** A class descriptor and those above it. */
static void get_class(sc_rd_t *r, class_t *c)
{
    unsigned int depth;

    memset(c, 0, sizeof(*c));
    expect(r, TC_CLASSDESC);
    for (depth = 0; depth < DEPTH_MAX && !r->bad; depth++) {
        apr_size_t n;
        const unsigned char *name = get_utf(r, &n);
        apr_uint64_t serial = sc_get_u64(r);
        apr_uint32_t fields;
        unsigned int above;

        if (depth == 0) {
            c->name = name;
            c->name_len = n;
            c->serial = serial;
        } else if (depth == 1) {
            c->super_serial = serial;
        }
        sc_get_u8(r); /* flags */
        fields = get_u16(r);
        if (fields > FIELDS_MAX) {
            break;
        }
        for (; fields > 0; fields--) {
            skip_field(r);
        }
        expect(r, TC_END);
        above = sc_get_u8(r);
        if (above == TC_NULL) {
            return;
        }
        if (above != TC_CLASSDESC) {
            break;
        }
    }
    r->bad = 1;
}

/** The data of an external object up to the next object in it. */
static sc_rd_t get_block(sc_rd_t *r)
{
    unsigned int what = sc_get_u8(r);
    const unsigned char *p = NULL;
    apr_size_t n = 0;
    sc_rd_t block;

    if (what == TC_BLOCKDATA) {
        n = sc_get_u8(r);
        p = sc_get(r, n);
    } else if (what == TC_BLOCKDATALONG) {
        p = get_bytes(r, &n);
    }
    if (p == NULL) {
        r->bad = 1;
        n = 0;
    }
    sc_rd_init(&block, p, n);
    return block;
}

static void get_member(sc_rd_t *r, sc_java_t *j)
{
    const unsigned char *p;
    apr_size_t used;
    apr_status_t rv;
    class_t cls;
    sc_rd_t block;
    apr_size_t n;

    expect(r, TC_OBJECT);
    get_class(r, &cls);
    if (is_class(&cls, STATIC_MEMBER)) {
        j->static_serial = cls.serial;
        j->member_serial = cls.super_serial;
    } else if (is_class(&cls, MEMBER_IMPL)) {
        j->member_serial = cls.serial;
    } else {
        r->bad = 1;
        return;
    }
    block = get_block(r);
    p = get_bytes(&block, &n);
    rv = p != NULL ? sc_member_get(&j->member, p, n, &used) : APR_EINVAL;
    expect(r, TC_END);
    if (rv != APR_SUCCESS && rv != APR_ENOSPC) {
        r->bad = 1;
    }
}

/** What follows the class descriptor of a MemberMessage. */
static void get_saying(sc_rd_t *r, sc_java_t *j)
{
    apr_uint32_t say = sc_get_u32(r);
    class_t cls;

    get_member(r, j);
    expect(r, TC_ARRAY);
    get_class(r, &cls);
    j->membership = get_bytes(r, &j->membership_len);
    if (r->bad || !is_class(&cls, BYTES) || say < SC_JAVA_START || say > SC_JAVA_PING ||
        j->membership_len > SC_JAVA_ID_MAX) {
        r->bad = 1;
        return;
    }
    j->say = (sc_java_say_t)say;
}

static void get_call(sc_rd_t *r, sc_java_t *j)
{
    sc_rd_t block = get_block(r);
    const unsigned char *call;
    apr_size_t n;

    if (j->kind != SC_JAVA_NO_CHANNEL) {
        j->kind = sc_get_u8(&block) != 0 ? SC_JAVA_REPLY : SC_JAVA_REQUEST;
    }
    call = get_bytes(&block, &n);
    j->id = get_bytes(&block, &j->id_len);
    if (block.bad || n != sizeof(j->call) || j->id_len > SC_JAVA_ID_MAX) {
        r->bad = 1;
        return;
    }
    memcpy(&j->call, call, n);
}

apr_status_t sc_java_get(sc_java_t *j, const void *bytes, apr_size_t len)
{
    class_t cls;
    sc_rd_t r;

    memset(j, 0, sizeof(*j));
    sc_rd_init(&r, bytes, len);
    if (sc_get_u32(&r) != STREAM_HEAD || r.bad) {
        return APR_EINVAL;
    }
    if (sc_get_u8(&r) != TC_OBJECT) {
        return APR_ENOTIMPL;
    }
    get_class(&r, &cls);
    if (is_class(&cls, RPC_MESSAGE) || is_class(&cls, NO_CHANNEL)) {
        j->kind = is_class(&cls, NO_CHANNEL) ? SC_JAVA_NO_CHANNEL : SC_JAVA_REQUEST;
        get_call(&r, j);
        if (r.bad) {
            return APR_EINVAL;
        }
        if (j->kind == SC_JAVA_NO_CHANNEL || sc_get_u8(&r) != TC_OBJECT) {
            return APR_SUCCESS; /* nothing in it */
        }
        get_class(&r, &cls);
        if (!is_class(&cls, MEMBER_MESSAGE)) {
            return APR_SUCCESS; /* something that is not read */
        }
    } else if (is_class(&cls, MEMBER_MESSAGE)) {
        j->kind = SC_JAVA_PLAIN;
    } else {
        return APR_ENOTIMPL;
    }
    get_saying(&r, j);
    return r.bad ? APR_EINVAL : APR_SUCCESS;
}

/* ---- writing -------------------------------------------------------------------------------- */

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

static void put_bytes(sc_buf_t *b, const void *bytes, apr_size_t len)
{
    sc_put_u32(b, (apr_uint32_t)len);
    sc_put(b, bytes, len);
}

/** A class without fields; what it is derived from, or TC_NULL, is to follow. */
static void put_class(sc_buf_t *b, const char *name, apr_uint64_t serial, unsigned int flags)
{
    sc_put_u8(b, TC_CLASSDESC);
    put_utf(b, name);
    sc_put_u64(b, serial);
    sc_put_u8(b, flags);
    put_u16(b, 0);
    sc_put_u8(b, TC_END);
}

static void put_field(sc_buf_t *b, char type, const char *name, const char *class_name)
{
    sc_put_u8(b, (unsigned char)type);
    put_utf(b, name);
    if (class_name != NULL) {
        sc_put_u8(b, TC_STRING);
        put_utf(b, class_name);
    }
}

/** The head of a block of external data; as Java does, a long one only where it must be. */
static void put_block_head(sc_buf_t *b, apr_size_t len)
{
    if (len <= 0xff) {
        sc_put_u8(b, TC_BLOCKDATA);
        sc_put_u8(b, (unsigned int)len);
    } else {
        sc_put_u8(b, TC_BLOCKDATALONG);
        sc_put_u32(b, (apr_uint32_t)len);
    }
}

static void put_member(sc_buf_t *b, const sc_java_t *j)
{
    sc_buf_t data;

    sc_buf_init(&data, SC_MEMBER_MIN + sizeof(sc_member_t));
    sc_member_put(&data, &j->member);
    sc_put_u8(b, TC_OBJECT);
    put_class(b, STATIC_MEMBER, j->static_serial != 0 ? j->static_serial : STATIC_SERIAL,
              EXTERNALIZABLE);
    put_class(b, MEMBER_IMPL, j->member_serial != 0 ? j->member_serial : MEMBER_SERIAL,
              EXTERNALIZABLE);
    sc_put_u8(b, TC_NULL);
    put_block_head(b, 4 + data.len);
    put_bytes(b, data.data, data.len);
    sc_put_u8(b, TC_END);
    if (data.err != APR_SUCCESS) {
        b->err = data.err;
    }
    sc_buf_free(&data);
}

static void put_saying(sc_buf_t *b, const sc_java_t *j)
{
    sc_put_u8(b, TC_OBJECT);
    sc_put_u8(b, TC_CLASSDESC);
    put_utf(b, MEMBER_MESSAGE);
    sc_put_u64(b, MEMBER_MESSAGE_SERIAL);
    sc_put_u8(b, SERIALIZABLE);
    put_u16(b, 3);
    put_field(b, 'I', "msgtype", NULL);
    put_field(b, 'L', "member", "Lorg/apache/catalina/tribes/Member;");
    put_field(b, '[', "membershipId", BYTES);
    sc_put_u8(b, TC_END);
    sc_put_u8(b, TC_NULL);
    sc_put_u32(b, j->say);
    put_member(b, j);
    sc_put_u8(b, TC_ARRAY);
    put_class(b, BYTES, BYTES_SERIAL, SERIALIZABLE);
    sc_put_u8(b, TC_NULL);
    put_bytes(b, j->membership, j->membership_len);
}

void sc_java_put(sc_buf_t *b, const sc_java_t *j)
{
    int marked = j->kind != SC_JAVA_NO_CHANNEL; /* with a byte that says whether it is a reply */

    sc_put_u32(b, STREAM_HEAD);
    if (j->kind == SC_JAVA_PLAIN) {
        put_saying(b, j);
        return;
    }
    sc_put_u8(b, TC_OBJECT);
    if (!marked) {
        put_class(b, NO_CHANNEL, NO_CHANNEL_SERIAL, EXTERNALIZABLE);
    }
    put_class(b, RPC_MESSAGE, RPC_SERIAL, EXTERNALIZABLE);
    sc_put_u8(b, TC_NULL);
    put_block_head(b, (apr_size_t)marked + 4 + sizeof(j->call) + 4 + j->id_len);
    if (marked) {
        sc_put_u8(b, j->kind == SC_JAVA_REPLY);
    }
    put_bytes(b, &j->call, sizeof(j->call));
    put_bytes(b, j->id, j->id_len);
    if (marked && j->say != SC_JAVA_NOTHING) {
        put_saying(b, j);
    } else if (marked) {
        sc_put_u8(b, TC_NULL);
    }
    sc_put_u8(b, TC_END);
}
