/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Input, determinism, and members for all fuzz targets; see fuzz.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>
#include <apr_general.h>
#include <apr_network_io.h>

#include "fuzz.h"

apr_status_t __wrap_sc_id_generate(sc_id_t *id);
apr_status_t __wrap_sc_uid_generate(sc_uid_t *uid);
apr_status_t __wrap_sc_random(void *bytes, apr_size_t n);
int __wrap_RAND_bytes(unsigned char *bytes, int n);
apr_status_t __wrap_apr_socket_connect(apr_socket_t *sock, apr_sockaddr_t *to);
apr_status_t __real_apr_socket_connect(apr_socket_t *sock, apr_sockaddr_t *to);

static apr_pool_t *fuzz_pool;
static apr_uint64_t ids;

/* ---- determinism ------------------------------------------------------------------------------
 */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    apr_initialize();
    apr_pool_create(&fuzz_pool, NULL);
    return 0;
}

apr_pool_t *fuzz_start(void)
{
    ids = 0;
    apr_pool_clear(fuzz_pool);
    return fuzz_pool;
}

static void next_id(unsigned char out[16])
{
    apr_uint64_t n = ++ids * 0x9e3779b97f4a7c15ull;
    int i;

    for (i = 0; i < 16; i++) {
        out[i] = (unsigned char)(n >> (8 * (i % 8)));
    }
}

apr_status_t __wrap_sc_id_generate(sc_id_t *id)
{
    next_id(id->b);
    return APR_SUCCESS;
}

apr_status_t __wrap_sc_uid_generate(sc_uid_t *uid)
{
    next_id(uid->b);
    return APR_SUCCESS;
}

/* Whatever else asks for random bytes: OpenSSL's, and the module's own. */
apr_status_t __wrap_sc_random(void *bytes, apr_size_t n)
{
    unsigned char *p = bytes;
    apr_size_t i;

    for (i = 0; i < n; i++) {
        p[i] = (unsigned char)(++ids * 0x9d);
    }
    return APR_SUCCESS;
}

int __wrap_RAND_bytes(unsigned char *bytes, int n)
{
    return __wrap_sc_random(bytes, (apr_size_t)n) == APR_SUCCESS;
}

/* An input may name any address; nobody but this machine hears of it. */
apr_status_t __wrap_apr_socket_connect(apr_socket_t *sock, apr_sockaddr_t *to)
{
    const unsigned char *host = to->ipaddr_ptr;

    return to->ipaddr_len == 4 && host[0] == 127 ? __real_apr_socket_connect(sock, to)
                                                 : ENETUNREACH;
}

/* ---- findings ---------------------------------------------------------------------------------
 */

void fuzz_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
    abort();
}

/* The rigs of the unit tests say it with CUnit, which is not there. */
CU_BOOL CU_assertImplementation(CU_BOOL bValue, unsigned int uiLine, const char *strCondition,
                                const char *strFile, const char *strFunction, CU_BOOL bFatal)
{
    (void)strFunction;
    (void)bFatal;
    if (!bValue) {
        fuzz_failed(strCondition, strFile, (int)uiLine);
    }
    return bValue;
}

static void write_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    static int wanted = -1;

    (void)ctx;
    (void)rv;
    if (wanted < 0) {
        wanted = getenv("FUZZ_LOG") != NULL;
    }
    if (wanted) {
        fprintf(stderr, "%d %s\n", (int)level, line);
    }
}

const sc_log_t fuzz_log = {NULL, SC_LOG_TRACE, write_log};

/* ---- input as decisions -----------------------------------------------------------------------
 */

unsigned int fuzz_u8(fuzz_in_t *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->p++;
}

apr_uint32_t fuzz_u16(fuzz_in_t *in)
{
    apr_uint32_t high = fuzz_u8(in);

    return high << 8 | fuzz_u8(in);
}

apr_uint32_t fuzz_u32(fuzz_in_t *in)
{
    apr_uint32_t high = fuzz_u16(in);

    return high << 16 | fuzz_u16(in);
}

apr_uint64_t fuzz_u64(fuzz_in_t *in)
{
    apr_uint64_t high = fuzz_u32(in);

    return high << 32 | fuzz_u32(in);
}

unsigned int fuzz_below(fuzz_in_t *in, unsigned int n)
{
    return fuzz_u8(in) % n;
}

apr_uint64_t fuzz_number(fuzz_in_t *in)
{
    unsigned int c = fuzz_u8(in);

    switch (c) {
    case 0xfc:
        return fuzz_u16(in);
    case 0xfd:
        return fuzz_u32(in);
    case 0xfe:
        return fuzz_u64(in);
    case 0xff:
        return APR_UINT64_MAX - fuzz_u8(in);
    default:
        return c;
    }
}

const unsigned char *fuzz_text(fuzz_in_t *in, size_t max, size_t *len)
{
    static const unsigned char nothing[1];
    size_t n = fuzz_u8(in);
    const unsigned char *p = in->left > 0 ? in->p : nothing;

    if (n == 0xff) {
        n = fuzz_u16(in);
        p = in->left > 0 ? in->p : nothing;
    }
    n = n < max ? n : max;
    n = n < in->left ? n : in->left;
    in->p += n;
    in->left -= n;
    *len = n;
    return p;
}

unsigned char *fuzz_copy(const void *bytes, size_t len)
{
    unsigned char *copy = malloc(len > 0 ? len : 1);

    FUZZ_CHECK(copy != NULL);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

void fuzz_damage(fuzz_in_t *in, sc_buf_t *b)
{
    unsigned int times = fuzz_u8(in);
    apr_size_t at;

    if (times >= 32) {
        return; /* most of the time it stays whole */
    }
    for (times %= 8; times > 0 && b->len > 0; times--) {
        at = fuzz_u16(in) % b->len;
        switch (fuzz_below(in, 8)) {
        case 0:
            b->len = at;
            break;
        case 1:
            sc_put(b, "\0\377\0\377", 1 + fuzz_below(in, 4));
            break;
        case 2:
            b->data[at] ^= (unsigned char)(1u << fuzz_below(in, 8));
            break;
        case 3:
            b->data[at] = 0xff;
            break;
        default:
            b->data[at] = (unsigned char)fuzz_u8(in);
            break;
        }
    }
}

/* ---- members ----------------------------------------------------------------------------------
 */

void fuzz_peer(sc_member_t *m, unsigned int n)
{
    char address[32];

    memset(m, 0, sizeof(*m));
    snprintf(address, sizeof(address), "10.0.0.%u", n + 1);
    FUZZ_CHECK(sc_member_set_host(m, address) == APR_SUCCESS);
    m->port = 4000;
    m->secure_port = m->udp_port = -1;
    m->alive_ms = 1000;
    memset(m->uid.b, (int)(0x10 + n), sizeof(m->uid.b));
    m->ours = 1;
    m->version = SC_PROTOCOL_VERSION;
    m->role = SC_ROLE_NODE;
    m->node_state = SC_NODE_READY;
    m->store_id = 1000 + n;
    snprintf(m->route, sizeof(m->route), "n%u", n + 1);
}

static void member_change(fuzz_in_t *in, sc_member_t *m)
{
    const unsigned char *p;
    size_t n;

    switch (fuzz_below(in, 14)) {
    case 0:
        m->alive_ms += fuzz_number(in);
        break;
    case 1:
        m->port = (apr_int32_t)fuzz_number(in);
        break;
    case 2:
        m->host_len = (apr_byte_t)(4 * fuzz_below(in, 5));
        m->host_len = m->host_len == 8 || m->host_len == 12 ? 16 : m->host_len;
        m->host[fuzz_below(in, 16)] = (unsigned char)fuzz_u8(in);
        break;
    case 3:
        m->uid.b[fuzz_below(in, 2)] = (unsigned char)fuzz_u8(in);
        break;
    case 4:
        memcpy(m->command, SC_COMMAND_SHUTDOWN, sizeof(SC_COMMAND_SHUTDOWN) - 1);
        m->command_len = sizeof(SC_COMMAND_SHUTDOWN) - 1;
        break;
    case 5:
        p = fuzz_text(in, SC_MEMBER_DOMAIN_MAX, &n);
        memcpy(m->domain, p, n);
        m->domain_len = (apr_uint16_t)n;
        break;
    case 6:
        m->ours = 0;
        break;
    case 7:
        m->role = SC_ROLE_BALANCER;
        break;
    case 8:
        m->node_state = fuzz_below(in, 8);
        break;
    case 9:
        m->store_id = fuzz_number(in);
        break;
    case 10:
        m->flags = (apr_uint32_t)fuzz_number(in);
        break;
    case 11:
        m->route[1] = (char)('1' + fuzz_below(in, 8));
        break;
    case 12:
        p = fuzz_text(in, SC_URL_MAX - 7, &n);
        memcpy(m->url, "http://", 7);
        memcpy(m->url + 7, p, n);
        m->url[7 + n] = '\0';
        m->weight = fuzz_u8(in);
        m->lbset = fuzz_u8(in);
        break;
    default:
        m->version = fuzz_u8(in);
        break;
    }
}

void fuzz_member(fuzz_in_t *in, sc_member_t *m)
{
    unsigned int changes = fuzz_u8(in);

    fuzz_peer(m, changes % 8);
    m->alive_ms += 1 + 16 * (apr_uint64_t)fuzz_u8(in);
    for (changes = changes / 8 % 4; changes > 0; changes--) {
        member_change(in, m);
    }
}

/* Text fields of any length, as a Tomcat or an attacker may send them. */
static void put_field(fuzz_in_t *in, sc_buf_t *b)
{
    size_t n;
    const unsigned char *p = fuzz_text(in, 2048, &n);

    sc_put_u32(b, (apr_uint32_t)n);
    sc_put(b, p, n);
}

void fuzz_member_bytes(fuzz_in_t *in, sc_buf_t *b)
{
    static const unsigned char begin[] = {'T', 'R', 'I', 'B', 'E', 'S', '-', 'B', 1, 0};
    static const unsigned char end[] = {'T', 'R', 'I', 'B', 'E', 'S', '-', 'E', 1, 0};
    apr_size_t start = b->len;
    apr_size_t payload;
    unsigned int i;
    size_t n;

    sc_put(b, begin, sizeof(begin));
    sc_put_u32(b, 0);
    sc_put_u64(b, fuzz_number(in));
    sc_put_u32(b, (apr_uint32_t)fuzz_number(in));
    sc_put_u32(b, (apr_uint32_t)fuzz_number(in));
    sc_put_u32(b, (apr_uint32_t)fuzz_number(in));
    n = fuzz_below(in, 4) == 0 ? 16 : 4;
    sc_put_u8(b, (unsigned int)n);
    for (i = 0; i < n; i++) {
        sc_put_u8(b, fuzz_u8(in));
    }
    put_field(in, b);
    put_field(in, b);
    for (i = 0; i < 16; i++) {
        sc_put_u8(b, fuzz_u8(in));
    }
    payload = b->len;
    sc_put_u32(b, 0);
    if (fuzz_below(in, 4) != 0) {
        const unsigned char *p;

        sc_put(b, "SCM1", 4);
        sc_put_u8(b, 1 + fuzz_below(in, 2));
        sc_put_u8(b, fuzz_below(in, 3));
        sc_put_u8(b, fuzz_below(in, 7));
        sc_put_u64(b, fuzz_number(in));
        p = fuzz_text(in, SC_ROUTE_MAX + 2, &n);
        sc_put_str(b, p, n);
        p = fuzz_text(in, SC_URL_MAX + 2, &n);
        sc_put_str(b, p, n);
    }
    sc_put(b, in->p, in->left < 4096 ? in->left : 4096); /* flags, later fields, or anything */
    in->left = 0;
    sc_buf_patch_u32(b, payload, (apr_uint32_t)(b->len - payload - 4));
    sc_put(b, end, sizeof(end));
    sc_buf_patch_u32(b, start + sizeof(begin), (apr_uint32_t)(b->len - start - 24));
}
