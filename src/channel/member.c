/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Member data: the block of bytes that is a membership datagram and the sender of each frame
 * (tribes-protocol 1.1), and our mark in its payload.
 *
 * Unlike Tribes, which looks at the outer length only, every inner length has to add up to it: a
 * member that two readers could understand in two ways is no member.
 */
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include "sc_member.h"

#define MARK_LEN 10
#define OUTER_LEN (MARK_LEN + 4 + MARK_LEN) /* both markers and the body length */
#define FIXED_LEN 14                        /* begin marker and body length */

static const unsigned char begin_mark[MARK_LEN] = {'T', 'R', 'I', 'B', 'E', 'S', '-', 'B', 1, 0};
static const unsigned char end_mark[MARK_LEN] = {'T', 'R', 'I', 'B', 'E', 'S', '-', 'E', 1, 0};
static const unsigned char our_mark[4] = {'S', 'C', 'M', '1'};

/* ---- our mark ------------------------------------------------------------------------------- */

/*
 * A member in SC_NODE_MINORITY is written as READY with this flag: earlier versions do not know the
 * state and would take the mark for a broken one, and the member for gone. To them it is what they
 * are themselves in its place: ready.
 */
#define MARK_MINORITY 0x40u
/** The same for SC_NODE_DRAINING. */
#define MARK_DRAINING 0x80u

static void mark_put(sc_buf_t *b, const sc_member_t *m)
{
    apr_uint32_t mark = m->node_state == SC_NODE_MINORITY   ? MARK_MINORITY
                        : m->node_state == SC_NODE_DRAINING ? MARK_DRAINING
                                                            : 0;

    sc_put(b, our_mark, sizeof(our_mark));
    sc_put_u8(b, m->version);
    sc_put_u8(b, m->role);
    sc_put_u8(b, mark ? SC_NODE_READY : m->node_state);
    sc_put_u64(b, m->store_id);
    sc_put_str(b, m->route, strlen(m->route));
    sc_put_str(b, m->url, strlen(m->url));
    sc_put_varint(b, m->flags | mark);
    if (m->said_ms != 0 || m->weight != 0 || m->lbset != 0) {
        sc_put_varint(b, m->said_ms);
    }
    if (m->weight != 0 || m->lbset != 0) {
        sc_put_varint(b, m->weight);
        sc_put_varint(b, m->lbset);
    }
}

/** Text that may end up in logs, status pages and cookies: visible ASCII only. */
static int mark_text(sc_rd_t *r, char *out, apr_size_t max)
{
    apr_size_t n;
    apr_size_t i;
    const unsigned char *p = sc_get_str(r, max, &n);

    if (p == NULL) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        if (p[i] <= 0x20 || p[i] >= 0x7f) {
            return 0;
        }
        out[i] = (char)p[i];
    }
    out[n] = '\0';
    return 1;
}

/** Flags, which earlier versions do not have; what the bits of later ones mean is not known here.
 */
static int mark_flags(sc_rd_t *r, apr_uint32_t *flags)
{
    apr_uint64_t v = sc_rd_left(r) > 0 ? sc_get_varint(r) : 0;

    *flags = (apr_uint32_t)v;
    return !r->bad && v <= APR_UINT32_MAX;
}

/** What is there for balancers, if a balancer may believe it. */
static void mark_worker(sc_rd_t *r, sc_member_t *m)
{
    apr_uint64_t weight = sc_rd_left(r) > 0 ? sc_get_varint(r) : 0;
    apr_uint64_t lbset = sc_rd_left(r) > 0 ? sc_get_varint(r) : 0;

    if (m->url[0] != '\0' && m->role == SC_ROLE_NODE && weight <= SC_WEIGHT_MAX &&
        lbset <= SC_LBSET_MAX && sc_worker_url_usable(m->url, m)) {
        m->weight = (apr_uint32_t)weight;
        m->lbset = (apr_uint32_t)lbset;
        return;
    }
    m->bad_url = m->url[0] != '\0';
    memset(m->url, 0, sizeof(m->url));
}

static apr_status_t mark_get(sc_member_t *m)
{
    sc_rd_t r;

    sc_rd_init(&r, m->payload, m->payload_len);
    if (m->payload_len < sizeof(our_mark) ||
        memcmp(sc_get(&r, sizeof(our_mark)), our_mark, sizeof(our_mark)) != 0) {
        return APR_SUCCESS;
    }
    m->version = sc_get_u8(&r);
    m->role = sc_get_u8(&r);
    m->node_state = sc_get_u8(&r);
    m->store_id = sc_get_u64(&r);
    if (!mark_text(&r, m->route, SC_ROUTE_MAX) || !mark_text(&r, m->url, SC_URL_MAX) || r.bad ||
        !mark_flags(&r, &m->flags)) {
        return APR_EINVAL;
    }
    m->said_ms = sc_rd_left(&r) > 0 ? sc_get_varint(&r) : 0;
    mark_worker(&r, m);
    if (r.bad) {
        return APR_EINVAL;
    }
    /* a node without a route could not be told from others by any balancer */
    if (m->version < 1 || m->role > SC_ROLE_BALANCER || m->node_state > SC_NODE_LEAVING ||
        (m->role == SC_ROLE_NODE && m->route[0] == '\0')) {
        return APR_EINVAL;
    }
    if (m->node_state == SC_NODE_READY && (m->flags & (MARK_MINORITY | MARK_DRAINING))) {
        m->node_state = m->flags & MARK_MINORITY ? SC_NODE_MINORITY : SC_NODE_DRAINING;
    }
    m->flags &= ~(MARK_MINORITY | MARK_DRAINING);
    m->ours = 1;
    return APR_SUCCESS;
}

/* ---- the block ------------------------------------------------------------------------------ */

void sc_member_put(sc_buf_t *b, const sc_member_t *m)
{
    apr_size_t start = b->len;
    apr_size_t payload;

    sc_put(b, begin_mark, MARK_LEN);
    sc_put_u32(b, 0);
    sc_put_u64(b, m->alive_ms);
    sc_put_u32(b, (apr_uint32_t)m->port);
    sc_put_u32(b, (apr_uint32_t)m->secure_port);
    sc_put_u32(b, (apr_uint32_t)m->udp_port);
    sc_put_u8(b, m->host_len);
    sc_put(b, m->host, m->host_len);
    sc_put_u32(b, m->command_len);
    sc_put(b, m->command, m->command_len);
    sc_put_u32(b, m->domain_len);
    sc_put(b, m->domain, m->domain_len);
    sc_put(b, m->uid.b, sizeof(m->uid.b));
    payload = b->len;
    sc_put_u32(b, 0);
    if (m->ours) {
        mark_put(b, m);
    } else {
        sc_put(b, m->payload, m->payload_len);
    }
    sc_buf_patch_u32(b, payload, (apr_uint32_t)(b->len - payload - 4));
    sc_put(b, end_mark, MARK_LEN);
    sc_buf_patch_u32(b, start + MARK_LEN, (apr_uint32_t)(b->len - start - OUTER_LEN));
}

/** A length and that many bytes, copied if there is room for them; else only skipped. */
static void field_get(sc_rd_t *r, unsigned char *out, apr_size_t max, apr_uint16_t *out_len,
                      int *over)
{
    apr_size_t n = sc_get_u32(r);
    const unsigned char *p = sc_get(r, n);

    if (p == NULL) {
        return;
    }
    if (n > max) {
        *over = 1;
        return;
    }
    memcpy(out, p, n);
    *out_len = (apr_uint16_t)n;
}

static apr_status_t body_get(sc_member_t *m, sc_rd_t *r)
{
    const unsigned char *p;
    int over = 0;

    m->alive_ms = sc_get_u64(r);
    m->port = (apr_int32_t)sc_get_u32(r);
    m->secure_port = (apr_int32_t)sc_get_u32(r);
    m->udp_port = (apr_int32_t)sc_get_u32(r);
    m->host_len = (apr_byte_t)sc_get_u8(r);
    if (m->host_len != 0 && m->host_len != 4 && m->host_len != 16) {
        return APR_EINVAL;
    }
    p = sc_get(r, m->host_len);
    if (p == NULL) {
        return APR_EINVAL;
    }
    memcpy(m->host, p, m->host_len);
    field_get(r, m->command, sizeof(m->command), &m->command_len, &over);
    field_get(r, m->domain, sizeof(m->domain), &m->domain_len, &over);
    p = sc_get(r, sizeof(m->uid.b));
    if (p != NULL) {
        memcpy(m->uid.b, p, sizeof(m->uid.b));
    }
    field_get(r, m->payload, sizeof(m->payload), &m->payload_len, &over);
    if (r->bad || sc_rd_left(r) != 0) {
        return APR_EINVAL;
    }
    return over ? APR_ENOSPC : mark_get(m);
}

apr_status_t sc_member_get(sc_member_t *m, const void *bytes, apr_size_t len, apr_size_t *used)
{
    const unsigned char *p = bytes;
    apr_status_t rv;
    sc_rd_t r;
    apr_size_t body;

    memset(m, 0, sizeof(*m));
    *used = 0;
    if (len < SC_MEMBER_MIN || memcmp(p, begin_mark, MARK_LEN) != 0) {
        return APR_EINVAL;
    }
    sc_rd_init(&r, p + MARK_LEN, 4);
    body = sc_get_u32(&r);
    if (body > len - OUTER_LEN || memcmp(p + FIXED_LEN + body, end_mark, MARK_LEN) != 0) {
        return APR_EINVAL;
    }
    sc_rd_init(&r, p + FIXED_LEN, body);
    rv = body_get(m, &r);
    *used = body + OUTER_LEN;
    return rv;
}

/* ---- what can be asked of members ----------------------------------------------------------- */

int sc_member_same_address(const sc_member_t *a, const sc_member_t *b)
{
    return a->port == b->port && a->host_len == b->host_len &&
           memcmp(a->host, b->host, a->host_len) == 0;
}

int sc_member_same(const sc_member_t *a, const sc_member_t *b)
{
    return sc_member_same_address(a, b) && memcmp(&a->uid, &b->uid, sizeof(a->uid)) == 0;
}

int sc_member_usable(const sc_member_t *m)
{
    static const unsigned char zero[16];

    if (m->port < 1 || m->port > 65535 || (m->host_len != 4 && m->host_len != 16) ||
        memcmp(m->host, zero, m->host_len) == 0) {
        return 0;
    }
    /* 224.0.0.0/4, 240.0.0.0/4 with the broadcast address, and ff00::/8 */
    return m->host_len == 4 ? m->host[0] < 224 : m->host[0] != 0xff;
}

int sc_member_leaving(const sc_member_t *m)
{
    return m->command_len == sizeof(SC_COMMAND_SHUTDOWN) - 1 &&
           memcmp(m->command, SC_COMMAND_SHUTDOWN, m->command_len) == 0;
}

int sc_member_order(const sc_member_t *a, const sc_member_t *b)
{
    int d;

    if (a->host_len != b->host_len) {
        return a->host_len < b->host_len ? -1 : 1;
    }
    d = memcmp(a->host, b->host, a->host_len);
    if (d == 0 && a->port != b->port) {
        d = a->port < b->port ? -1 : 1;
    }
    return d != 0 ? d : memcmp(&a->uid, &b->uid, sizeof(a->uid));
}

char *sc_member_host(const sc_member_t *m, char out[SC_HOST_MAX + 1])
{
    int family = m->host_len == 16 ? AF_INET6 : AF_INET;

    if (m->host_len == 0 || inet_ntop(family, m->host, out, SC_HOST_MAX + 1) == NULL) {
        out[0] = '-';
        out[1] = '\0';
    }
    return out;
}

char *sc_member_name(const sc_member_t *m, char out[SC_MEMBER_NAME])
{
    char host[SC_HOST_MAX + 1];
    const char *left = m->host_len == 16 ? "[" : "";
    const char *right = m->host_len == 16 ? "]" : "";

    sc_member_host(m, host);
    if (m->route[0] != '\0') {
        snprintf(out, SC_MEMBER_NAME, "%s (%s%.45s%s:%d)", m->route, left, host, right, m->port);
    } else {
        snprintf(out, SC_MEMBER_NAME, "%s%.45s%s:%d", left, host, right, m->port);
    }
    return out;
}

char *sc_member_domain(const sc_member_t *m, char out[SC_DOMAIN_MAX + 1])
{
    apr_size_t i;

    out[0] = '\0';
    if (m->domain_len > SC_DOMAIN_MAX) {
        return out;
    }
    for (i = 0; i < m->domain_len; i++) {
        if (m->domain[i] < 0x20 || m->domain[i] >= 0x7f) {
            return out;
        }
    }
    memcpy(out, m->domain, m->domain_len);
    out[m->domain_len] = '\0';
    return out;
}

apr_status_t sc_member_set_host(sc_member_t *m, const char *address)
{
    unsigned char host[16];

    if (inet_pton(AF_INET, address, host) == 1) {
        m->host_len = 4;
    } else if (inet_pton(AF_INET6, address, host) == 1) {
        m->host_len = 16;
    } else {
        return APR_EINVAL;
    }
    memcpy(m->host, host, m->host_len);
    return APR_SUCCESS;
}
