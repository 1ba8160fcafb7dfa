/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The reader of java_stream.h. Each item gets its handle where Java gives it one: a class behind
 * its name and version, an object or array behind its class and before its content, a string before
 * its text.
 */
#include <stdlib.h>
#include <string.h>

#include "java_stream.h"

#define STREAM_HEAD 0xACED0005u
#define FIRST_HANDLE 0x7E0000u
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
#define WITH_WRITER 0x03
#define EXTERNALIZABLE 0x0C

#define RPC_MESSAGE "org.apache.catalina.tribes.group.RpcMessage"
#define NO_CHANNEL RPC_MESSAGE "$NoRpcChannelReply"
#define MAP_MESSAGE "org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage"
#define MEMBER_IMPL "org.apache.catalina.tribes.membership.MemberImpl"
#define STATIC_MEMBER "org.apache.catalina.tribes.membership.StaticMember"
#define MEMBERS "[Lorg.apache.catalina.tribes.Member;"
#define BYTES "[B"
#define ARRAY_LIST "java.util.ArrayList"

/* Classes above one another: ours have one above them. */
#define ABOVE_MAX 4
/* Members in one array: a session has one backup, or as many copies as there are members. */
#define ARRAY_MAX 256
/* Data of one member: Java cuts what is longer than 1024 bytes into several blocks. */
#define MEMBER_DATA_MAX 4096
#define ROOM_MIN 64

struct sc_jhandle_t {
    apr_uint32_t at, len; /* of a string or array of bytes, from the start of the stream */
    apr_byte_t kind;      /* sc_jkind_t */
    apr_byte_t nnodes;    /* of a class its index */
    apr_byte_t node[SC_JNODES_MAX];
};

/* ---- small things ---------------------------------------------------------------------------- */

static void expect(sc_jstream_t *s, unsigned int byte)
{
    if (sc_get_u8(&s->r) != byte) {
        s->r.bad = 1;
    }
}

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

static int is_text(const unsigned char *p, apr_size_t len, const char *text)
{
    return p != NULL && len == strlen(text) && memcmp(p, text, len) == 0;
}

static int is_class(const sc_jstream_t *s, int index, const char *name)
{
    return index >= 0 && is_text(s->cls[index].name, s->cls[index].name_len, name);
}

/* ---- handles --------------------------------------------------------------------------------- */

/* @return the place of a new handle, which stays where it is until the next one; NULL: no memory */
static sc_jhandle_t *new_handle(sc_jstream_t *s, sc_jkind_t kind, apr_size_t *index)
{
    sc_jhandle_t *h;

    if (s->r.bad) {
        return NULL;
    }
    if (s->nhandles == s->room) {
        apr_size_t room = s->room > 0 ? 2 * s->room : ROOM_MIN;

        h = realloc(s->handle, room * sizeof(*h));
        if (h == NULL) {
            s->r.bad = 1;
            return NULL;
        }
        s->handle = h;
        s->room = room;
    }
    *index = s->nhandles;
    h = &s->handle[s->nhandles++];
    memset(h, 0, sizeof(*h));
    h->kind = (apr_byte_t)kind;
    return h;
}

static const sc_jhandle_t *get_reference(sc_jstream_t *s)
{
    apr_uint32_t n = sc_get_u32(&s->r);

    if (s->r.bad || n < FIRST_HANDLE || n - FIRST_HANDLE >= s->nhandles) {
        s->r.bad = 1;
        return NULL;
    }
    return &s->handle[n - FIRST_HANDLE];
}

static void value_of(const sc_jstream_t *s, const sc_jhandle_t *h, sc_jvalue_t *v)
{
    memset(v, 0, sizeof(*v));
    v->kind = (sc_jkind_t)h->kind;
    if (v->kind == SC_J_STRING || v->kind == SC_J_BYTES) {
        v->p = s->start + h->at;
        v->len = h->len;
    } else if (v->kind == SC_J_MEMBER || v->kind == SC_J_MEMBERS) {
        v->nnodes = h->nnodes;
        memcpy(v->node, h->node, sizeof(v->node));
    }
}

static void remember(sc_jstream_t *s, apr_size_t index, const unsigned char *p, apr_size_t len)
{
    if (p != NULL && !s->r.bad) {
        s->handle[index].at = (apr_uint32_t)(p - s->start);
        s->handle[index].len = (apr_uint32_t)len;
    }
}

/* ---- strings and classes --------------------------------------------------------------------- */

static void get_string(sc_jstream_t *s, sc_jvalue_t *v)
{
    const unsigned char *p;
    apr_size_t index, len;

    if (new_handle(s, SC_J_STRING, &index) != NULL) {
        p = get_utf(&s->r, &len);
        remember(s, index, p, len);
        value_of(s, &s->handle[index], v);
    }
}

static void get_field(sc_jstream_t *s, sc_jfield_t *f)
{
    unsigned int type = sc_get_u8(&s->r);
    sc_jvalue_t of;

    f->type = (char)type;
    f->name = get_utf(&s->r, &f->name_len);
    if (type != '[' && type != 'L') {
        return;
    }
    type = sc_get_u8(&s->r);
    if (type == TC_STRING) {
        get_string(s, &of);
    } else if (type == TC_REFERENCE) {
        const sc_jhandle_t *h = get_reference(s);

        s->r.bad |= h == NULL || h->kind != SC_J_STRING;
    } else {
        s->r.bad = 1;
    }
}

/* A class that has not been met yet; what it is derived from is to follow. @return its index */
static int new_class(sc_jstream_t *s)
{
    sc_jhandle_t *h;
    sc_jclass_t *c;
    apr_size_t handle;
    apr_uint32_t i;

    if (s->nclasses == SC_JCLASSES_MAX) {
        s->r.bad = 1;
        return -1;
    }
    c = &s->cls[s->nclasses];
    memset(c, 0, sizeof(*c));
    c->above = -1;
    c->name = get_utf(&s->r, &c->name_len);
    (void)sc_get_u64(&s->r); /* of MemberImpl each release has another one */
    h = new_handle(s, SC_J_CLASS, &handle);
    if (h == NULL) {
        return -1;
    }
    h->nnodes = (apr_byte_t)s->nclasses;
    c->flags = sc_get_u8(&s->r);
    c->nfields = get_u16(&s->r);
    if (c->nfields > SC_JFIELDS_MAX) {
        s->r.bad = 1;
        return -1;
    }
    for (i = 0; i < c->nfields && !s->r.bad; i++) {
        get_field(s, &c->field[i]);
    }
    expect(s, TC_END);
    return s->r.bad ? -1 : (int)s->nclasses++;
}

/* A class and those above it. @return its index, -1: none */
static int get_class(sc_jstream_t *s)
{
    int first = -1, below = -1, depth;

    for (depth = 0; depth < ABOVE_MAX && !s->r.bad; depth++) {
        unsigned int what = sc_get_u8(&s->r);
        int index = -1;

        if (what == TC_CLASSDESC) {
            index = new_class(s);
        } else if (what == TC_REFERENCE) {
            const sc_jhandle_t *h = get_reference(s);

            s->r.bad |= h == NULL || h->kind != SC_J_CLASS;
            index = s->r.bad ? -1 : h->nnodes;
        } else if (what != TC_NULL) {
            s->r.bad = 1;
        }
        if (depth == 0) {
            first = index;
        } else if (below >= 0) {
            s->cls[below].above = index;
        }
        if (what != TC_CLASSDESC || s->r.bad) {
            return s->r.bad ? -1 : first;
        }
        below = index;
    }
    s->r.bad = 1;
    return -1;
}

/* ---- members --------------------------------------------------------------------------------- */

/* The data of an external object up to its end, or up to the next object in it.
 * @param copy for data that comes in several pieces */
static const unsigned char *get_blocks(sc_jstream_t *s, unsigned char copy[MEMBER_DATA_MAX],
                                       apr_size_t *len)
{
    const unsigned char *first = NULL;
    int pieces = 0;

    *len = 0;
    while (!s->r.bad && sc_rd_left(&s->r) > 0 &&
           (*s->r.p == TC_BLOCKDATA || *s->r.p == TC_BLOCKDATALONG)) {
        apr_size_t n = sc_get_u8(&s->r) == TC_BLOCKDATA ? sc_get_u8(&s->r) : sc_get_u32(&s->r);
        const unsigned char *p = sc_get(&s->r, n);

        if (p == NULL || n > MEMBER_DATA_MAX - *len) {
            s->r.bad = 1;
            break;
        }
        memcpy(copy + *len, p, n);
        *len += n;
        first = pieces++ == 0 ? p : copy;
    }
    s->r.bad |= pieces == 0;
    return s->r.bad ? NULL : first;
}

static apr_byte_t index_of(sc_jstream_t *s, const sc_jmember_t *m)
{
    apr_uint32_t i;

    for (i = 0; i < s->nmembers; i++) {
        if (memcmp(&s->member[i], m, sizeof(*m)) == 0) {
            return (apr_byte_t)i;
        }
    }
    if (s->nmembers == SC_JMEMBERS_MAX) {
        return SC_JNOBODY;
    }
    s->member[s->nmembers] = *m;
    return (apr_byte_t)s->nmembers++;
}

static apr_byte_t get_member(sc_jstream_t *s)
{
    unsigned char copy[MEMBER_DATA_MAX];
    const unsigned char *p, *data;
    apr_size_t len, n, used;
    sc_jmember_t key;
    sc_member_t m;
    apr_status_t rv;
    sc_rd_t r;

    p = get_blocks(s, copy, &len);
    sc_rd_init(&r, p, p != NULL ? len : 0);
    n = sc_get_u32(&r);
    data = sc_get(&r, n);
    rv = data != NULL ? sc_member_get(&m, data, n, &used) : APR_EINVAL;
    expect(s, TC_END);
    if (rv != APR_SUCCESS && rv != APR_ENOSPC) {
        s->r.bad = 1;
    }
    if (s->r.bad) {
        return SC_JNOBODY;
    }
    memset(&key, 0, sizeof(key));
    key.host_len = m.host_len;
    memcpy(key.host, m.host, m.host_len);
    key.port = m.port;
    key.uid = m.uid;
    return index_of(s, &key);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void get_value(sc_jstream_t *s, sc_jvalue_t *v);

static void get_members(sc_jstream_t *s, apr_size_t index)
{
    apr_uint32_t n = sc_get_u32(&s->r);
    apr_byte_t kept[SC_JNODES_MAX], nkept = 0;
    sc_jvalue_t one;

    if (n > ARRAY_MAX) {
        s->r.bad = 1;
    }
    for (; n > 0 && !s->r.bad; n--) {
        unsigned int what = sc_rd_left(&s->r) > 0 ? *s->r.p : TC_END;

        if (what != TC_NULL && what != TC_REFERENCE && what != TC_OBJECT) {
            s->r.bad = 1;
            return;
        }
        get_value(s, &one);
        if (one.kind == SC_J_MEMBER && nkept < SC_JNODES_MAX) {
            kept[nkept++] = one.node[0];
        } else if (one.kind != SC_J_MEMBER && one.kind != SC_J_NULL) {
            s->r.bad = 1;
        }
    }
    if (!s->r.bad) {
        s->handle[index].nnodes = nkept;
        memcpy(s->handle[index].node, kept, nkept);
    }
}

static void get_array(sc_jstream_t *s, sc_jvalue_t *v)
{
    int cls = get_class(s);
    int bytes = is_class(s, cls, BYTES);
    apr_size_t index;

    if ((!bytes && !is_class(s, cls, MEMBERS)) ||
        new_handle(s, bytes ? SC_J_BYTES : SC_J_MEMBERS, &index) == NULL) {
        s->r.bad = 1;
        return;
    }
    if (bytes) {
        apr_size_t n = sc_get_u32(&s->r);
        const unsigned char *p = sc_get(&s->r, n);

        remember(s, index, p, n);
    } else {
        get_members(s, index);
    }
    if (!s->r.bad) {
        value_of(s, &s->handle[index], v);
    }
}

static void get_member_object(sc_jstream_t *s, sc_jvalue_t *v)
{
    int cls = get_class(s);
    apr_size_t index;
    apr_byte_t node;

    if ((!is_class(s, cls, MEMBER_IMPL) && !is_class(s, cls, STATIC_MEMBER)) ||
        s->cls[cls].flags != EXTERNALIZABLE || new_handle(s, SC_J_MEMBER, &index) == NULL) {
        s->r.bad = 1;
        return;
    }
    node = get_member(s);
    if (!s->r.bad) {
        s->handle[index].nnodes = 1;
        s->handle[index].node[0] = node;
        value_of(s, &s->handle[index], v);
    }
}

/* Whatever may stand in a field of a message, or in an array. */
static void get_value(sc_jstream_t *s, sc_jvalue_t *v)
{
    const sc_jhandle_t *h;

    memset(v, 0, sizeof(*v));
    switch (sc_get_u8(&s->r)) {
    case TC_NULL:
        break;
    case TC_REFERENCE:
        h = get_reference(s);
        if (h != NULL) {
            value_of(s, h, v);
        }
        break;
    case TC_STRING:
        get_string(s, v);
        break;
    case TC_ARRAY:
        get_array(s, v);
        break;
    case TC_OBJECT:
        get_member_object(s, v);
        break;
    default:
        s->r.bad = 1;
    }
}

/* ---- objects that come where they are expected ----------------------------------------------- */

/* Behind the class of an object. @return its class, -1: something else is there */
static int begin_object(sc_jstream_t *s, const char *name, unsigned int flags)
{
    apr_size_t index;
    int cls;

    expect(s, TC_OBJECT);
    cls = s->r.bad ? -1 : get_class(s);
    if (!is_class(s, cls, name) || s->cls[cls].flags != flags ||
        (flags != EXTERNALIZABLE && s->cls[cls].above >= 0) ||
        new_handle(s, SC_J_OTHER, &index) == NULL) {
        s->r.bad = 1;
        return -1;
    }
    return cls;
}

static apr_uint64_t get_primitive(sc_jstream_t *s, char type)
{
    switch (type) {
    case 'Z':
    case 'B':
        return sc_get_u8(&s->r);
    case 'C':
    case 'S':
        return get_u16(&s->r);
    case 'I':
    case 'F':
        return sc_get_u32(&s->r);
    case 'J':
    case 'D':
        return sc_get_u64(&s->r);
    default:
        s->r.bad = 1;
        return 0;
    }
}

static sc_jvalue_t *place_of(sc_jmessage_t *m, const sc_jfield_t *f)
{
    return is_text(f->name, f->name_len, "keydata")     ? &m->key
           : is_text(f->name, f->name_len, "mapId")     ? &m->map
           : is_text(f->name, f->name_len, "nodes")     ? &m->nodes
           : is_text(f->name, f->name_len, "primary")   ? &m->primary
           : is_text(f->name, f->name_len, "valuedata") ? &m->value
                                                        : NULL;
}

void sc_jstream_message(sc_jstream_t *s, sc_jmessage_t *m)
{
    int cls = begin_object(s, MAP_MESSAGE, SERIALIZABLE);
    apr_uint32_t i;

    memset(m, 0, sizeof(*m));
    for (i = 0; cls >= 0 && i < s->cls[cls].nfields && !s->r.bad; i++) {
        const sc_jfield_t *f = &s->cls[cls].field[i];

        if (f->type == '[' || f->type == 'L') {
            sc_jvalue_t ignored, *to = place_of(m, f);

            get_value(s, to != NULL ? to : &ignored);
        } else if (is_text(f->name, f->name_len, "msgtype") && f->type == 'I') {
            m->type = (apr_uint32_t)get_primitive(s, f->type);
        } else {
            (void)get_primitive(s, f->type);
        }
    }
}

apr_uint32_t sc_jstream_list(sc_jstream_t *s)
{
    int cls = begin_object(s, ARRAY_LIST, WITH_WRITER);
    apr_uint32_t n;

    if (cls < 0 || s->cls[cls].nfields != 1 || s->cls[cls].field[0].type != 'I') {
        s->r.bad = 1;
        return 0;
    }
    n = sc_get_u32(&s->r);
    expect(s, TC_BLOCKDATA);
    expect(s, 4);
    (void)sc_get_u32(&s->r); /* its size again, or its room */
    return n;
}

void sc_jstream_end(sc_jstream_t *s)
{
    expect(s, TC_END);
}

void sc_jstream_call(sc_jstream_t *s, sc_jcall_t *call)
{
    unsigned char copy[MEMBER_DATA_MAX];
    const unsigned char *p, *id;
    apr_size_t len, n, handle;
    sc_rd_t r;
    int cls;

    memset(call, 0, sizeof(*call));
    expect(s, TC_OBJECT);
    cls = s->r.bad ? -1 : get_class(s);
    call->no_channel = is_class(s, cls, NO_CHANNEL);
    if ((!call->no_channel && !is_class(s, cls, RPC_MESSAGE)) ||
        s->cls[cls].flags != EXTERNALIZABLE || new_handle(s, SC_J_OTHER, &handle) == NULL) {
        s->r.bad = 1;
        return;
    }
    p = get_blocks(s, copy, &len);
    if (p == copy) { /* ours are short, so this is nobody's whom we asked */
        s->r.bad = 1;
        return;
    }
    sc_rd_init(&r, p, p != NULL ? len : 0);
    call->reply = call->no_channel || sc_get_u8(&r) != 0;
    n = sc_get_u32(&r);
    id = sc_get(&r, n);
    call->id_len = sc_get_u32(&r);
    call->id = sc_get(&r, call->id_len);
    if (r.bad || n != sizeof(call->call) || id == NULL) {
        s->r.bad = 1;
        return;
    }
    memcpy(&call->call, id, n);
}

/* ---- life ------------------------------------------------------------------------------------ */

void sc_jstream_open(sc_jstream_t *s, const void *bytes, apr_size_t len)
{
    memset(s, 0, sizeof(*s));
    sc_rd_init(&s->r, bytes, len);
    s->start = bytes;
    if (sc_get_u32(&s->r) != STREAM_HEAD || len > APR_UINT32_MAX) {
        s->r.bad = 1;
    }
}

void sc_jstream_close(sc_jstream_t *s)
{
    free(s->handle);
    s->handle = NULL;
    s->nhandles = s->room = 0;
}

const unsigned char *sc_jstream_text(const void *bytes, apr_size_t len, apr_size_t *text_len)
{
    const unsigned char *p;
    sc_rd_t r;

    sc_rd_init(&r, bytes, len);
    if (sc_get_u32(&r) != STREAM_HEAD || sc_get_u8(&r) != TC_STRING) {
        return NULL;
    }
    p = get_utf(&r, text_len);
    return sc_rd_left(&r) == 0 ? p : NULL;
}
