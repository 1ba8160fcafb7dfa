/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Gzip: messages travel as gzip streams (RFC 1952; tribes-protocol 4.7).
 *
 * The option bit says which ones: only those are expanded. What compression would make larger by
 * more than a header (it is compressed or encrypted already) travels as it is, without the bit.
 *
 * Nobody knows how large a stream gets before it has been expanded, so that ends at what the
 * receiver takes in one frame: a message that would get larger is refused, counted and logged, like
 * one that is no stream, ends early or has something behind its end.
 *
 * Memory is bounded so; time is bounded by an allowance. Expanding is done on the engine's only
 * thread, at a few hundred MB/s, and zeros travel a thousand to one: a stranger with 0.4 MB/s could
 * keep it busy with nothing else. So what expands beyond RATIO to one is charged to an allowance,
 * which fills up again with time, and a message that finds it used up is refused. There is one for
 * all members, which is more than a member can compress in that time, and a smaller one for
 * everybody else; not one for each sender, because who the sender is a stranger only has to say.
 * What expands by less is never charged, so members' usual traffic goes on while strangers use an
 * allowance up. With a secret no stranger gets here, and nothing is charged.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "members.h"
#include "train.h"

/* Window bits, and 16 for gzip's header and trailer. */
#define WINDOW_BITS (15 + 16)
#define MEM_LEVEL 8
/* "Unknown", as Java writes it. */
#define OS_UNKNOWN 255
#define GROWS 64
/* The send options of Tribes. */
#define OPTIONS_TAKEN 0x7F
#define STEP 16384
/* Sessions get smaller by 3 to 10 to one, many of one kind in one message by more. */
#define RATIO 20
/* What may be expanded beyond that: of the largest messages, at once; and bytes in a second. */
#define ALLOWED_FRAMES 2
#define MEMBERS_RATE (128 * 1024 * 1024)
#define STRANGERS_RATE (32 * 1024 * 1024)
#define LOG_INTERVAL apr_time_from_sec(10)

enum { OPTION_FLAG, COMPRESSION_MIN_SIZE, STATS_ENABLED, INTERVAL, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    {"optionFlag", 0, 0x100, 1, 0x7fffffff, "option bits"},
    {"compressionMinSize", 0, 0, 0, 1 << 30, "bytes"},
    {"statsEnabled", 1, 0, 0, 1, NULL},
    {"interval", 0, 0, 0, 0x7fffffff, "messages"},
};

typedef struct allowance_t {
    apr_uint64_t used; /* bytes, */
    apr_time_t since;  /* at that time */
} allowance_t;

typedef struct gzip_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    z_stream deflate;
    z_stream inflate;
    gz_header header;
    sc_trains_t trains; /* only to tell ends */
    sc_log_limit_t limit;
    sc_members_t members;
    allowance_t of_members;
    allowance_t of_strangers;
    struct {
        apr_uint64_t messages;
        apr_uint64_t plain;  /* bytes of them as they are */
        apr_uint64_t packed; /* bytes of them as they travel */
    } sent, received;
} gzip_t;

static const char *gzip_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];
    const char *message = sc_interceptor_attrs(c, rules, NATTRS, values, pool);

    if (message == NULL && (values[OPTION_FLAG] & OPTIONS_TAKEN)) {
        return "interceptor Gzip: optionFlag must be a bit that has no other meaning, 128 or "
               "higher";
    }
    return message;
}

static apr_status_t gzip_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                apr_pool_t *pool)
{
    gzip_t *g = apr_pcalloc(pool, sizeof(*g));

    if (sc_interceptor_attrs(c, rules, NATTRS, g->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    g->self = self;
    sc_trains_init(&g->trains, self, 0, 0, NULL);
    g->header.os = OS_UNKNOWN;
    if (deflateInit2(&g->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        return APR_ENOMEM;
    }
    if (inflateInit2(&g->inflate, WINDOW_BITS) != Z_OK) {
        deflateEnd(&g->deflate);
        return APR_ENOMEM;
    }
    self->state = g;
    return APR_SUCCESS;
}

/* ---- statistics ------------------------------------------------------------------------------ */

static void log_stats(const gzip_t *g)
{
    sc_log(g->self->env->log, SC_LOG_INFO, 0,
           "SC0493: Gzip: %" APR_UINT64_T_FMT " messages sent, %" APR_UINT64_T_FMT
           " bytes made %" APR_UINT64_T_FMT "; %" APR_UINT64_T_FMT
           " messages received, %" APR_UINT64_T_FMT " bytes made %" APR_UINT64_T_FMT,
           g->sent.messages, g->sent.plain, g->sent.packed, g->received.messages,
           g->received.packed, g->received.plain);
}

static void count_sent(gzip_t *g, apr_size_t plain, apr_size_t packed)
{
    g->sent.messages++;
    g->sent.plain += plain;
    g->sent.packed += packed;
    if (g->attr[STATS_ENABLED] && g->attr[INTERVAL] > 0 &&
        g->sent.messages % (apr_uint64_t)g->attr[INTERVAL] == 0) {
        log_stats(g);
    }
}

static void count_received(gzip_t *g, apr_size_t plain, apr_size_t packed)
{
    g->received.messages++;
    g->received.plain += plain;
    g->received.packed += packed;
    if (g->attr[STATS_ENABLED] && g->attr[INTERVAL] > 0 &&
        g->received.messages % (apr_uint64_t)g->attr[INTERVAL] == 0) {
        log_stats(g);
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

/** @return APR_SUCCESS; APR_ENOSPC: it does not get smaller; else an error */
static apr_status_t squeeze(gzip_t *g, const sc_packet_t *p, sc_buf_t *b)
{
    z_stream *z = &g->deflate;
    int rv;

    if (p->body_len > UINT_MAX - GROWS) {
        return APR_ENOSPC;
    }
    if (sc_buf_reserve(b, p->body_len + GROWS) == NULL) {
        return b->err;
    }
    if (deflateReset(z) != Z_OK || deflateSetHeader(z, &g->header) != Z_OK) {
        return APR_EGENERAL;
    }
    z->next_in = (Bytef *)(apr_uintptr_t)p->body; /* zlib only reads it */
    z->avail_in = (uInt)p->body_len;
    z->next_out = b->data;
    z->avail_out = (uInt)(p->body_len + GROWS);
    rv = deflate(z, Z_FINISH);
    z->next_in = NULL;
    if (rv != Z_STREAM_END) {
        return rv == Z_OK || rv == Z_BUF_ERROR ? APR_ENOSPC : APR_EGENERAL;
    }
    b->len = p->body_len + GROWS - z->avail_out;
    return APR_SUCCESS;
}

static void gzip_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    gzip_t *g = self->state;
    sc_outgoing_t below = *out;
    apr_status_t rv;
    sc_buf_t b;

    below.packet.options &= ~(apr_uint32_t)g->attr[OPTION_FLAG];
    if (out->packet.body_len <= (apr_uint64_t)g->attr[COMPRESSION_MIN_SIZE]) {
        sc_pass_send(self, &below);
        return;
    }
    sc_buf_init(&b, out->packet.body_len + GROWS);
    rv = squeeze(g, &out->packet, &b);
    if (rv == APR_SUCCESS) {
        below.packet.options |= (apr_uint32_t)g->attr[OPTION_FLAG];
        below.packet.body = b.data;
        below.packet.body_len = b.len;
    }
    if (rv == APR_SUCCESS || rv == APR_ENOSPC) {
        count_sent(g, out->packet.body_len, below.packet.body_len);
        sc_pass_send(self, &below);
    } else {
        sc_trains_refuse(&g->trains, out, rv);
    }
    sc_buf_free(&b);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/** Whose allowance it is, up to date. */
static allowance_t *allowance_of(gzip_t *g, const sc_packet_t *p)
{
    int member = sc_members_find(&g->members, &p->from) != NULL;
    allowance_t *a = member ? &g->of_members : &g->of_strangers;
    apr_uint64_t rate = (member ? MEMBERS_RATE : STRANGERS_RATE) / 1000;
    apr_time_t now = sc_mono(g->self->env->clock);
    apr_uint64_t gained = rate * (apr_uint64_t)apr_time_as_msec(now - a->since);

    if (gained > 0) { /* less than a millisecond counts next time */
        a->used -= gained < a->used ? gained : a->used;
        a->since = now;
    }
    return a;
}

/** Bytes that a message may expand to. */
static apr_size_t expands_to(gzip_t *g, const sc_packet_t *p, const allowance_t *a)
{
    const sc_config_t *config = g->self->env->config;
    apr_size_t max = config->receiver.max_frame;
    apr_uint64_t limit = (apr_uint64_t)RATIO * p->body_len;

    if (a->used < (apr_uint64_t)ALLOWED_FRAMES * max) {
        limit += (apr_uint64_t)ALLOWED_FRAMES * max - a->used;
    }
    return config->secret.count == 0 && limit < max ? (apr_size_t)limit : max;
}

/** Pay for what was done, whatever came of it. */
static void charge(allowance_t *a, const sc_packet_t *p, apr_size_t plain)
{
    apr_uint64_t free_of_charge = (apr_uint64_t)RATIO * p->body_len;

    a->used += plain > free_of_charge ? plain - free_of_charge : 0;
}

/** @return APR_SUCCESS; APR_ENOSPC: too large; APR_ENOMEM; APR_EINVAL: not one whole stream */
static apr_status_t expand(gzip_t *g, const sc_packet_t *p, sc_buf_t *b)
{
    z_stream *z = &g->inflate;
    int rv = Z_OK;

    if (p->body_len > UINT_MAX || inflateReset(z) != Z_OK) {
        return APR_EINVAL;
    }
    z->next_in = (Bytef *)(apr_uintptr_t)p->body;
    z->avail_in = (uInt)p->body_len;
    while (rv == Z_OK) {
        apr_size_t room = b->limit - b->len < STEP ? b->limit - b->len : STEP;

        if (room == 0) {
            return APR_ENOSPC;
        }
        z->next_out = sc_buf_reserve(b, room);
        if (z->next_out == NULL) {
            return b->err;
        }
        z->avail_out = (uInt)room;
        rv = inflate(z, Z_NO_FLUSH);
        b->len += room - z->avail_out;
    }
    return rv == Z_STREAM_END && z->avail_in == 0 ? APR_SUCCESS : APR_EINVAL;
}

/** @param limit what it was allowed to expand to */
static void complain(gzip_t *g, const sc_packet_t *packet, apr_status_t rv, apr_size_t limit)
{
    const sc_chain_env_t *env = g->self->env;
    const char *why = "it cannot be expanded";
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    if (rv == APR_ENOSPC) {
        why = limit == env->config->receiver.max_frame
                  ? "it expands to more than SessionClusterReceiver maxFrame="
                  : "it and others before it expand to too much at once, far more than messages of "
                    "members do";
    }
    SC_CHAIN_COUNT(env, inflate_refused);
    if (sc_log_allowed(&g->limit, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0494: a compressed message of member %s was refused: %s (%" APR_UINT64_T_FMT
               " more before)",
               sc_member_name(&packet->from, name), why, more);
    }
}

static apr_status_t gzip_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    gzip_t *g = self->state;
    sc_packet_t p = *packet;
    allowance_t *a;
    apr_status_t rv;
    sc_buf_t b;

    if (!(packet->options & (apr_uint32_t)g->attr[OPTION_FLAG])) {
        return sc_pass_received(self, packet);
    }
    a = allowance_of(g, packet);
    sc_buf_init(&b, expands_to(g, packet, a));
    rv = expand(g, packet, &b);
    charge(a, packet, b.len);
    if (rv == APR_SUCCESS) {
        count_received(g, b.len, packet->body_len);
        p.body = b.data;
        p.body_len = b.len;
        rv = sc_pass_received(self, &p);
    } else {
        complain(g, packet, rv, b.limit);
    }
    sc_buf_free(&b);
    return rv;
}

/* ---- members --------------------------------------------------------------------------------- */

static void gzip_member_added(sc_interceptor_t *self, const sc_member_t *m)
{
    gzip_t *g = self->state;

    sc_members_put(&g->members, m);
    sc_pass_member_added(self, m);
}

static void gzip_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    gzip_t *g = self->state;

    sc_members_remove(&g->members, m);
    sc_pass_member_gone(self, m, goodbye);
}

static void gzip_stop(sc_interceptor_t *self)
{
    gzip_t *g = self->state;

    sc_trains_stop(&g->trains);
    deflateEnd(&g->deflate);
    inflateEnd(&g->inflate);
}

const sc_interceptor_class_t sc_gzip_class = {
    .name = "Gzip",
    .check = gzip_check,
    .create = gzip_create,
    .stop = gzip_stop,
    .send = gzip_send,
    .received = gzip_received,
    .member_added = gzip_member_added,
    .member_gone = gzip_member_gone,
    .grows = GROWS,
};
