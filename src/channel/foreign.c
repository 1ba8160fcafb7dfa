/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Foreign members, and the one thing that they expect of every member: whoever calls a procedure is
 * told when there is none, because otherwise he waits for an answer for seconds, each time
 * (tribes-protocol 6).
 */
#include <stdlib.h>
#include <string.h>

#include "foreign.h"

/* ---- the table ------------------------------------------------------------------------------ */

sc_foreign_member_t *sc_foreign_find(const sc_foreign_t *f, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < f->n; i++) {
        if (sc_member_same(&f->at[i]->member, m)) {
            return f->at[i];
        }
    }
    return NULL;
}

int sc_foreign_added(sc_foreign_t *f, const sc_member_t *m)
{
    char name[SC_MEMBER_NAME];
    sc_foreign_member_t *e;

    if (sc_foreign_find(f, m) != NULL) {
        return 1;
    }
    e = f->n < SC_FOREIGN_MAX ? calloc(1, sizeof(*e)) : NULL;
    if (e == NULL) {
        return 0;
    }
    e->member = *m;
    e->since = e->heard = sc_mono(f->env->clock);
    f->at[f->n++] = e;
    sc_log(f->env->log, SC_LOG_NOTICE, 0,
           "SC0412: member %s joined; it has not this cluster's mark (a Tomcat?) and gets no "
           "sessions",
           sc_member_name(m, name));
    return 1;
}

void sc_foreign_changed(sc_foreign_t *f, const sc_member_t *m)
{
    sc_foreign_member_t *e = sc_foreign_find(f, m);

    if (e != NULL) {
        e->member = *m;
    }
}

void sc_foreign_suspected(sc_foreign_t *f, const sc_member_t *m, int suspect)
{
    sc_foreign_member_t *e = sc_foreign_find(f, m);

    if (e != NULL && e->suspect != suspect) {
        e->suspect = suspect;
        e->since = sc_mono(f->env->clock);
    }
}

void sc_foreign_gone(sc_foreign_t *f, const sc_member_t *m, int goodbye)
{
    const sc_transport_t *t = f->env->transport;
    char name[SC_MEMBER_NAME];
    apr_size_t i;

    for (i = 0; i < f->n && !sc_member_same(&f->at[i]->member, m); i++) {
    }
    if (i == f->n) {
        return;
    }
    t->forget(t->ctx, &f->at[i]->member);
    sc_log(f->env->log, SC_LOG_NOTICE, 0, "SC0413: member %s without this cluster's mark %s",
           sc_member_name(m, name), goodbye ? "left" : "is gone");
    free(f->at[i]);
    f->at[i] = f->at[--f->n];
}

void sc_foreign_clear(sc_foreign_t *f)
{
    while (f->n > 0) {
        free(f->at[--f->n]);
    }
}

/* ---- calls ---------------------------------------------------------------------------------- */

/* Of Java's serialization only these are needed (tribes-protocol 12). */
#define STREAM_MAGIC 0xACED0005u
#define OBJECT 0x73
#define CLASS 0x72
#define NOTHING 0x70
#define BLOCK 0x77
#define LONG_BLOCK 0x7A
#define END_OF_BLOCKS 0x78
#define EXTERNAL 0x0C /* flags: externalizable, in blocks */

#define MESSAGE_SERIAL APR_UINT64_C(0x712A750FF274E509)
#define NO_CHANNEL_SERIAL APR_UINT64_C(0x7BAB8FB36A4B5BA6)

static const char message_class[] = "org.apache.catalina.tribes.group.RpcMessage";
static const char no_channel_class[] =
    "org.apache.catalina.tribes.group.RpcMessage$NoRpcChannelReply";

static int class_is(sc_rd_t *r, const char *name, apr_uint64_t serial)
{
    apr_size_t len = strlen(name);
    const unsigned char *p;
    apr_size_t n;

    if (sc_get_u8(r) != CLASS) {
        return 0;
    }
    n = sc_get_u8(r) << 8;
    n |= sc_get_u8(r);
    p = sc_get(r, n);
    return p != NULL && n == len && memcmp(p, name, len) == 0 && sc_get_u64(r) == serial &&
           sc_get_u8(r) == EXTERNAL && sc_get_u8(r) == 0 && sc_get_u8(r) == 0 &&
           sc_get_u8(r) == END_OF_BLOCKS;
}

/** The first block of an object's own data. */
static int block_get(sc_rd_t *r, sc_rd_t *block)
{
    apr_uint32_t kind = sc_get_u8(r);
    apr_size_t n = kind == LONG_BLOCK ? sc_get_u32(r) : sc_get_u8(r);
    const unsigned char *p;

    if (kind != BLOCK && kind != LONG_BLOCK) {
        return 0;
    }
    p = sc_get(r, n);
    if (p == NULL) {
        return 0;
    }
    sc_rd_init(block, p, n);
    return 1;
}

apr_status_t sc_rpc_get(sc_rpc_t *rpc, const void *bytes, apr_size_t len)
{
    sc_rd_t block;
    sc_rd_t r;

    memset(rpc, 0, sizeof(*rpc));
    sc_rd_init(&r, bytes, len);
    if (sc_get_u32(&r) != STREAM_MAGIC || sc_get_u8(&r) != OBJECT ||
        !class_is(&r, message_class, MESSAGE_SERIAL) || sc_get_u8(&r) != NOTHING ||
        !block_get(&r, &block)) {
        return APR_EINVAL;
    }
    rpc->reply = sc_get_u8(&block) != 0;
    if (sc_get_u32(&block) != 16) {
        return APR_EINVAL;
    }
    rpc->uuid = sc_get(&block, 16);
    rpc->id_len = sc_get_u32(&block);
    if (rpc->id_len > SC_RPC_ID_MAX) {
        return APR_EINVAL;
    }
    rpc->id = sc_get(&block, rpc->id_len);
    return block.bad || r.bad || rpc->uuid == NULL || rpc->id == NULL ? APR_EINVAL : APR_SUCCESS;
}

static void class_put(sc_buf_t *b, const char *name, apr_uint64_t serial)
{
    apr_size_t len = strlen(name);

    sc_put_u8(b, CLASS);
    sc_put_u8(b, (unsigned int)(len >> 8));
    sc_put_u8(b, (unsigned int)(len & 0xff));
    sc_put(b, name, len);
    sc_put_u64(b, serial);
    sc_put_u8(b, EXTERNAL);
    sc_put_u8(b, 0);
    sc_put_u8(b, 0);
    sc_put_u8(b, END_OF_BLOCKS);
}

void sc_rpc_put_no_channel(sc_buf_t *b, const sc_rpc_t *request)
{
    apr_size_t size = 4 + 16 + 4 + request->id_len;

    sc_put_u32(b, STREAM_MAGIC);
    sc_put_u8(b, OBJECT);
    class_put(b, no_channel_class, NO_CHANNEL_SERIAL);
    class_put(b, message_class, MESSAGE_SERIAL);
    sc_put_u8(b, NOTHING);
    if (size < 256) {
        sc_put_u8(b, BLOCK);
        sc_put_u8(b, (unsigned int)size);
    } else {
        sc_put_u8(b, LONG_BLOCK);
        sc_put_u32(b, (apr_uint32_t)size);
    }
    sc_put_u32(b, 16);
    sc_put(b, request->uuid, 16);
    sc_put_u32(b, (apr_uint32_t)request->id_len);
    sc_put(b, request->id, request->id_len);
    sc_put_u8(b, END_OF_BLOCKS);
}
