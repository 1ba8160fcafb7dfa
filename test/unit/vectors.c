/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * See vectors.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "net_rig.h"
#include "vectors.h"

/* as in the list of test/vectors/README.md */
const vector_t vectors[VECTORS] = {
    {"delta-evt01-created.bin", VECTOR_JAVA},
    {"delta-evt02-expired.bin", VECTOR_JAVA},
    {"delta-evt04-get-all-sessions.bin", VECTOR_JAVA},
    {"delta-evt12-all-session-data.bin", VECTOR_JAVA},
    {"delta-evt13-delta.bin", VECTOR_JAVA},
    {"delta-evt14-all-session-transfercomplete.bin", VECTOR_JAVA},
    {"delta-evt15-change-session-id.bin", VECTOR_JAVA},
    {"delta-evt16-nocontextmanager.bin", VECTOR_JAVA},
    {"interceptor-2pc-confirm.bin", VECTOR_RAW},
    {"interceptor-2pc-message.bin", VECTOR_RAW},
    {"interceptor-encrypt-aes-cbc.bin", VECTOR_RAW},
    {"interceptor-encrypt-aes-gcm.bin", VECTOR_RAW},
    {"interceptor-fragment-1-of-3.bin", VECTOR_RAW},
    {"interceptor-fragment-2-of-3.bin", VECTOR_RAW},
    {"interceptor-fragment-3-of-3.bin", VECTOR_RAW},
    {"interceptor-gzip.bin", VECTOR_RAW},
    {"interceptor-nonblockingcoordinator-election.bin", VECTOR_RAW},
    {"interceptor-order.bin", VECTOR_RAW},
    {"interceptor-staticmembership-start.bin", VECTOR_RAW},
    {"interceptor-staticmembership-stop.bin", VECTOR_RAW},
    {"interceptor-tcpping.bin", VECTOR_RAW},
    {"map-backup-diff.bin", VECTOR_JAVA},
    {"map-backup.bin", VECTOR_JAVA},
    {"map-notify-mapmember.bin", VECTOR_JAVA},
    {"map-proxy.bin", VECTOR_JAVA},
    {"map-remove.bin", VECTOR_JAVA},
    {"map-rpc-init-reply.bin", VECTOR_JAVA},
    {"map-rpc-init-request.bin", VECTOR_JAVA},
    {"map-rpc-ping-reply.bin", VECTOR_JAVA},
    {"map-rpc-ping-request.bin", VECTOR_JAVA},
    {"map-rpc-retrieve-backup-reply.bin", VECTOR_JAVA},
    {"map-rpc-retrieve-backup-request.bin", VECTOR_JAVA},
    {"map-rpc-start-reply.bin", VECTOR_JAVA},
    {"map-rpc-start-request.bin", VECTOR_JAVA},
    {"map-rpc-state-reply-many.bin", VECTOR_JAVA},
    {"map-rpc-state-reply.bin", VECTOR_JAVA},
    {"map-rpc-state-request.bin", VECTOR_JAVA},
    {"map-stop.bin", VECTOR_JAVA},
    {"mcast-broadcast-channeldata.bin", VECTOR_RAW},
    {"mcast-member-heartbeat.bin", VECTOR_MEMBER},
    {"mcast-member-shutdown.bin", VECTOR_MEMBER},
    {"nonjava-map-backup-diff.bin", VECTOR_JAVA},
    {"nonjava-map-backup.bin", VECTOR_JAVA},
    {"nonjava-map-rpc-init-request.bin", VECTOR_JAVA},
    {"nonjava-map-rpc-ping-reply.bin", VECTOR_JAVA},
    {"nonjava-map-rpc-retrieve-backup-reply.bin", VECTOR_JAVA},
    {"nonjava-map-rpc-start-request.bin", VECTOR_JAVA},
    {"nonjava-map-rpc-state-request.bin", VECTOR_JAVA},
    {"nonjava-rpc-no-channel-reply.bin", VECTOR_JAVA},
    {"repmap-copy.bin", VECTOR_JAVA},
    {"repmap-rpc-state-copy-reply.bin", VECTOR_JAVA},
    {"repmap-rpc-state-copy-request.bin", VECTOR_JAVA},
    {"rpc-no-channel-reply.bin", VECTOR_JAVA},
    {"rpc-reply-string.bin", VECTOR_JAVA},
    {"rpc-request-string.bin", VECTOR_JAVA},
    {"static-rpc-start-reply.bin", VECTOR_JAVA},
    {"static-rpc-start-request.bin", VECTOR_JAVA},
    {"static-stop.bin", VECTOR_JAVA},
    {"tcp-ack.bin", VECTOR_ACK},
    {"tcp-data-bytemessage-async.bin", VECTOR_RAW},
    {"tcp-data-bytemessage-no-ack.bin", VECTOR_RAW},
    {"tcp-data-bytemessage-sync-ack.bin", VECTOR_RAW},
    {"tcp-data-bytemessage-use-ack.bin", VECTOR_RAW},
    {"tcp-data-string-use-ack.bin", VECTOR_JAVA},
    {"tcp-fail-ack.bin", VECTOR_ACK},
    {"tcp-failure-detector-probe.bin", VECTOR_RAW},
};

/* ---- opening --------------------------------------------------------------------------------- */

void vector_open(vector_java_t *v, const char *name)
{
    apr_pool_create(&v->pool, NULL);
    v->body = rig_captured(name, &v->packet);
    v->stream = java_read(v->pool, v->body, v->packet.body_len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v->stream);
    CU_ASSERT_EQUAL(java_count(v->stream), 1);
    v->top = java_nth(v->stream, 0);
}

void vector_close(vector_java_t *v)
{
    apr_pool_destroy(v->pool);
    free(v->body);
}

int vector_says(const vector_text_t *text, const char *want)
{
    int same =
        text->p != NULL && text->len == strlen(want) && memcmp(text->p, want, text->len) == 0;

    if (!same) {
        printf("\n    expected \"%s\", got \"%.*s\"\n", want, (int)text->len,
               text->p != NULL ? (const char *)text->p : "");
    }
    return same;
}

/* ---- small things ---------------------------------------------------------------------------- */

static void get_counted(sc_rd_t *r, vector_text_t *text)
{
    text->len = sc_get_u32(r);
    text->p = sc_get(r, text->len);
}

static void get_utf(sc_rd_t *r, vector_text_t *text)
{
    text->len = sc_get_u8(r) << 8;
    text->len |= sc_get_u8(r);
    text->p = sc_get(r, text->len);
}

static void put_counted(sc_buf_t *b, const void *bytes, apr_size_t len)
{
    sc_put_u32(b, (apr_uint32_t)len);
    sc_put(b, bytes, len);
}

static void put_utf(sc_buf_t *b, const vector_text_t *text)
{
    sc_put_u8(b, (unsigned int)(text->len >> 8));
    sc_put_u8(b, (unsigned int)(text->len & 0xff));
    sc_put(b, text->p, text->len);
}

/* Boolean as Java writes it. */
static int get_flag(sc_rd_t *r)
{
    unsigned int v = sc_get_u8(r);

    r->bad |= v > 1;
    return v == 1;
}

/* Hand the bytes over to a block, and empty the buffer. */
static void fill(apr_pool_t *pool, java_node_t *block, sc_buf_t *b)
{
    block->p = apr_pmemdup(pool, b->data, b->len);
    block->len = b->len;
    sc_buf_clear(b);
}

/* ---- pieces of what classes write ------------------------------------------------------------ */

/* The block that an external object begins with. */
static java_node_t *block_of(java_node_t *n, sc_rd_t *r)
{
    java_node_t *block = java_notes(n)->first;

    if (block == NULL || block->kind != JAVA_BLOCK) {
        return NULL;
    }
    sc_rd_init(r, block->p, block->len);
    return block;
}

int vector_call(java_node_t *n, vector_call_t *call)
{
    vector_text_t uid;
    sc_rd_t r;

    memset(call, 0, sizeof(*call));
    call->no_channel = java_is(n, NO_CHANNEL);
    if ((!call->no_channel && !java_is(n, RPC_MESSAGE)) || block_of(n, &r) == NULL ||
        java_count(java_notes(n)) != (call->no_channel ? 1 : 2)) {
        return 0;
    }
    call->reply = call->no_channel || get_flag(&r);
    get_counted(&r, &uid);
    get_counted(&r, &call->id);
    if (r.bad || sc_rd_left(&r) > 0 || uid.len != sizeof(call->call)) {
        return 0;
    }
    memcpy(&call->call, uid.p, uid.len);
    return 1;
}

static void put_call(sc_buf_t *b, const vector_call_t *call)
{
    if (!call->no_channel) {
        sc_put_u8(b, (unsigned int)call->reply);
    }
    put_counted(b, call->call.b, sizeof(call->call.b));
    put_counted(b, call->id.p, call->id.len);
}

int vector_member(java_node_t *n, sc_member_t *m)
{
    vector_text_t data;
    apr_size_t used = 0;
    sc_rd_t r;

    if ((!java_is(n, MEMBER_IMPL) && !java_is(n, STATIC_MEMBER)) || block_of(n, &r) == NULL ||
        java_count(java_notes(n)) != 1) {
        return 0;
    }
    get_counted(&r, &data);
    return !r.bad && sc_rd_left(&r) == 0 &&
           sc_member_get(m, data.p, data.len, &used) == APR_SUCCESS && used == data.len;
}

static void put_member(sc_buf_t *b, const sc_member_t *m)
{
    sc_buf_t data;

    sc_buf_init(&data, 4096);
    sc_member_put(&data, m);
    put_counted(b, data.data, data.len);
    sc_buf_free(&data);
}

/* The primitives of a request of changes stand in blocks, which end where a value begins. */
int vector_delta(const java_list_t *stream, vector_delta_t *d)
{
    java_node_t *n = stream->first;
    apr_uint32_t count, i;
    sc_rd_t r;

    memset(d, 0, sizeof(*d));
    if (n == NULL || n->kind != JAVA_BLOCK) {
        return 0;
    }
    sc_rd_init(&r, n->p, n->len);
    get_utf(&r, &d->id);
    d->record_all = (unsigned int)get_flag(&r);
    count = sc_get_u32(&r);
    for (i = 0; i < count && i < VECTOR_ACTIONS_MAX && !r.bad; i++) {
        if (sc_rd_left(&r) == 0) {
            n = n->next;
            if (n == NULL || n->kind != JAVA_BLOCK) {
                return 0;
            }
            sc_rd_init(&r, n->p, n->len);
        }
        d->action[i].type = sc_get_u32(&r);
        d->action[i].action = sc_get_u32(&r);
        get_utf(&r, &d->action[i].name);
        if (get_flag(&r)) {
            n = n->next;
            if (sc_rd_left(&r) > 0 || n == NULL || n->kind == JAVA_BLOCK) {
                return 0;
            }
            d->action[i].value = n;
        }
    }
    d->n = i;
    return !r.bad && i == count && sc_rd_left(&r) == 0 && n->next == NULL;
}

static void put_block(apr_pool_t *pool, java_list_t *stream, sc_buf_t *b)
{
    java_node_t *n;

    if (b->len > 0) {
        n = java_new(pool, JAVA_BLOCK);
        fill(pool, n, b);
        java_append(stream, n);
    }
}

static void put_delta(apr_pool_t *pool, java_list_t *stream, const vector_delta_t *d)
{
    unsigned int i;
    sc_buf_t b;

    memset(stream, 0, sizeof(*stream));
    sc_buf_init(&b, 1 << 20);
    put_utf(&b, &d->id);
    sc_put_u8(&b, d->record_all);
    sc_put_u32(&b, d->n);
    for (i = 0; i < d->n; i++) {
        sc_put_u32(&b, d->action[i].type);
        sc_put_u32(&b, d->action[i].action);
        put_utf(&b, &d->action[i].name);
        sc_put_u8(&b, d->action[i].value != NULL);
        if (d->action[i].value != NULL) {
            put_block(pool, stream, &b);
            java_append(stream, d->action[i].value);
        }
    }
    put_block(pool, stream, &b);
    sc_buf_free(&b);
}

/* ---- the same once more ---------------------------------------------------------------------- */

typedef struct rewrite_t {
    apr_pool_t *pool;
    sc_buf_t b;
    int bad;
} rewrite_t;

static int rewrite_list(rewrite_t *w, java_node_t *n)
{
    java_node_t *size = java_field(n, "size");
    unsigned int count = java_count(java_notes(n)) - 1;
    sc_rd_t r;
    java_node_t *block = block_of(n, &r);

    if (block == NULL || size == NULL || size->number != count || block->len != 4 ||
        sc_get_u32(&r) != count) {
        return 0;
    }
    size->number = count;
    sc_put_u32(&w->b, count);
    fill(w->pool, block, &w->b);
    return 1;
}

static int rewrite_delta(rewrite_t *w, java_node_t *array)
{
    vector_delta_t d;

    if (array == NULL || array->inner == NULL || !vector_delta(array->inner, &d)) {
        return 0;
    }
    put_delta(w->pool, array->inner, &d);
    return 1;
}

static int rewrite_id(rewrite_t *w, java_node_t *array)
{
    java_node_t *block = java_inner(array);
    vector_text_t id;
    sc_rd_t r;

    if (block == NULL || block->kind != JAVA_BLOCK) {
        return 0;
    }
    sc_rd_init(&r, block->p, block->len);
    get_utf(&r, &id);
    if (r.bad || sc_rd_left(&r) > 0) {
        return 0;
    }
    put_utf(&w->b, &id);
    fill(w->pool, block, &w->b);
    return 1;
}

/* A stream is where one must be, and nothing in it is left over. */
static int is_stream(java_node_t *array)
{
    return array == NULL || array->kind == JAVA_NULL || java_inner(array) != NULL;
}

static int rewrite_map_message(rewrite_t *w, java_node_t *n)
{
    int diff = java_number(java_field(n, "diff")) == 1;

    return is_stream(java_field(n, "keydata")) && is_stream(java_field(n, "valuedata")) &&
           (!diff || rewrite_delta(w, java_field(n, "diffvalue")));
}

static int rewrite_session_message(rewrite_t *w, java_node_t *n)
{
    apr_uint64_t event = java_number(java_field(n, "mEvtType"));

    return event == 13   ? rewrite_delta(w, java_field(n, "mSession"))
           : event == 15 ? rewrite_id(w, java_field(n, "mSession"))
                         : 1;
}

static void rewrite(java_node_t *n, void *baton)
{
    rewrite_t *w = baton;
    vector_call_t call;
    sc_member_t m;
    int ok = 1;

    if (java_is(n, RPC_MESSAGE) || java_is(n, NO_CHANNEL)) {
        ok = vector_call(n, &call);
        if (ok) {
            put_call(&w->b, &call);
            fill(w->pool, java_notes(n)->first, &w->b);
        }
    } else if (java_is(n, MEMBER_IMPL) || java_is(n, STATIC_MEMBER)) {
        ok = vector_member(n, &m);
        if (ok) {
            put_member(&w->b, &m);
            fill(w->pool, java_notes(n)->first, &w->b);
        }
    } else if (java_is(n, ARRAY_LIST)) {
        ok = rewrite_list(w, n);
    } else if (java_is(n, MAP_MESSAGE)) {
        ok = rewrite_map_message(w, n);
    } else if (java_is(n, SESSION_MESSAGE)) {
        ok = rewrite_session_message(w, n);
    }
    w->bad |= !ok;
}

int vector_rewrite(apr_pool_t *pool, java_list_t *stream)
{
    rewrite_t w = {.pool = pool};

    sc_buf_init(&w.b, 1 << 20);
    java_each(stream, rewrite, &w);
    sc_buf_free(&w.b);
    return !w.bad;
}

static apr_status_t member_again(const void *bytes, apr_size_t len, sc_buf_t *out)
{
    apr_size_t used = 0;
    sc_member_t m;
    apr_status_t rv = sc_member_get(&m, bytes, len, &used);

    if (rv == APR_SUCCESS && used != len) {
        rv = APR_EINVAL;
    }
    if (rv == APR_SUCCESS) {
        sc_member_put(out, &m);
    }
    return rv;
}

static apr_status_t java_again(sc_packet_t *p, sc_buf_t *out)
{
    /* memory of exactly that size, so that reading behind it is noticed by the sanitizers */
    unsigned char *body = malloc(p->body_len + (p->body_len == 0));
    apr_status_t rv = APR_EINVAL;
    java_list_t *stream;
    apr_pool_t *pool;
    sc_buf_t b;

    memcpy(body, p->body, p->body_len);
    apr_pool_create(&pool, NULL);
    sc_buf_init(&b, 1 << 20);
    stream = java_read(pool, body, p->body_len);
    if (stream != NULL) {
        /* as it was, whatever it is */
        java_write(&b, stream);
        if (b.err != APR_SUCCESS || b.len != p->body_len || memcmp(b.data, body, b.len) != 0) {
            rv = APR_EMISMATCH;
        }
        sc_buf_clear(&b);
        if (rv != APR_EMISMATCH && vector_rewrite(pool, stream)) {
            java_write(&b, stream);
            rv = b.err;
        }
    }
    p->body = b.data;
    p->body_len = b.len;
    if (rv == APR_SUCCESS) {
        sc_frame_put(out, p);
    }
    sc_buf_free(&b);
    apr_pool_destroy(pool);
    free(body);
    return rv;
}

apr_status_t vector_again(const vector_t *v, const void *bytes, apr_size_t len, sc_buf_t *out)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t parser;
    sc_packet_t p;
    apr_size_t n;
    apr_status_t rv;

    if (v->kind == VECTOR_MEMBER) {
        return member_again(bytes, len, out);
    }
    sc_parser_init(&parser, 65536);
    sc_put(&parser.in, bytes, len);
    rv = sc_parser_next(&parser, &kind, &data, &n);
    if (rv == APR_SUCCESS && (v->kind == VECTOR_ACK) != (kind != SC_FRAME_DATA)) {
        rv = APR_EINVAL;
    } else if (rv == APR_SUCCESS && v->kind == VECTOR_ACK) {
        sc_put(out, sc_frame_ack(kind == SC_FRAME_FAIL_ACK), SC_ACK_FRAME);
    } else if (rv == APR_SUCCESS) {
        rv = sc_packet_get(&p, data, n);
        if (rv == APR_SUCCESS && v->kind == VECTOR_JAVA) {
            rv = java_again(&p, out);
        } else if (rv == APR_SUCCESS && p.body_len >= 4 && memcmp(p.body, "\xac\xed\0\5", 4) == 0) {
            rv = APR_EINVAL; /* and it is Java's after all */
        } else if (rv == APR_SUCCESS) {
            sc_frame_put(out, &p);
        }
    }
    sc_parser_free(&parser);
    return rv == APR_SUCCESS ? out->err : rv;
}
