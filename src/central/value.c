/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Keys and values of the central store.
 *
 * What comes out of the store may have been put there by anybody. So a value is taken for a session
 * only when its digest fits to its content and to the key that was asked for: some clients, after
 * an error, take the answer to one question for that to the next one, which would hand a session to
 * somebody else.
 */
#include <string.h>

#include <openssl/evp.h>

#include "sc_central.h"

#define VERSION 1
#define DIGEST 8
#define HEAD (SC_CENTRAL_FRAME - DIGEST)
/** Stamps beyond this would not leave room for newer ones. */
#define HLC_MAX ((apr_uint64_t)1 << 62)

static const unsigned char magic[3] = {'S', 'C', 'V'};

/* ---- keys ------------------------------------------------------------------------------------ */

static apr_status_t hash(sc_central_key_t *key, const char *prefix, const char *what, const void *a,
                         apr_size_t alen, const void *b, apr_size_t blen)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned int len = 0;
    int ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) &&
             EVP_DigestUpdate(ctx, prefix, strlen(prefix) + 1) &&
             EVP_DigestUpdate(ctx, what, strlen(what) + 1) && EVP_DigestUpdate(ctx, a, alen) &&
             EVP_DigestUpdate(ctx, "", 1) && EVP_DigestUpdate(ctx, b, blen) &&
             EVP_DigestFinal_ex(ctx, key->b, &len) && len == SC_CENTRAL_KEY;

    EVP_MD_CTX_free(ctx);
    return ok ? APR_SUCCESS : APR_EGENERAL;
}

apr_status_t sc_central_key(sc_central_key_t *key, const char *prefix, const char *context,
                            apr_size_t context_len, const sc_id_t *id)
{
    return hash(key, prefix, "session", context, context_len, id->b, sizeof(id->b));
}

apr_status_t sc_central_sentinel(sc_central_key_t *key, const char *prefix)
{
    return hash(key, prefix, "sentinel", "", 0, "", 0);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* FNV-1a, finished so that its last bytes count as much as the first ones: it is to tell damage,
 * not to resist who computes it. */
static apr_uint64_t digest(const sc_central_key_t *key, const unsigned char *bytes, apr_size_t len)
{
    apr_uint64_t h = sc_body_digest(key->b, sizeof(key->b));

    for (apr_size_t i = 0; i < len; i++) {
        h = (h ^ bytes[i]) * 1099511628211ull;
    }
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdull;
    return h ^ h >> 33;
}

void sc_central_value_put(sc_buf_t *b, const sc_central_key_t *key, const sc_central_value_t *v)
{
    sc_buf_clear(b);
    sc_put(b, magic, sizeof(magic));
    sc_put_u8(b, VERSION);
    sc_put_u8(b, (unsigned int)v->kind);
    sc_put_u32(b, v->writer);
    sc_put_u64(b, v->created_ms);
    sc_put_u64(b, v->accessed_ms);
    sc_put_u32(b, v->max_idle_s);
    sc_put_u64(b, v->stamp.hlc);
    sc_put_u32(b, v->stamp.node);
    sc_put(b, v->body, v->body_len);
    if (b->err == APR_SUCCESS) {
        sc_put_u64(b, digest(key, b->data, b->len));
    }
}

/* Whether no attribute is newer than the session as a whole says: otherwise a change that goes by
 * the latter would lose against it for ever. */
static int in_order(const sc_central_value_t *v)
{
    sc_attr_t a;
    sc_rd_t r;

    sc_rd_init(&r, v->body, v->body_len);
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        if (sc_stamp_cmp(&a.stamp, &v->stamp) > 0) {
            return 0;
        }
    }
    return 1;
}

apr_status_t sc_central_value_get(sc_central_value_t *v, const sc_central_key_t *key,
                                  const void *bytes, apr_size_t len)
{
    const unsigned char *p = bytes;
    sc_rd_t r;

    memset(v, 0, sizeof(*v));
    if (len < sizeof(magic) + 1 || memcmp(p, magic, sizeof(magic)) != 0) {
        return APR_EINVAL;
    }
    if (p[sizeof(magic)] > VERSION) {
        return APR_EMISMATCH;
    }
    if (p[sizeof(magic)] != VERSION || len < SC_CENTRAL_FRAME) {
        return APR_EINVAL;
    }
    sc_rd_init(&r, p + len - DIGEST, DIGEST);
    if (sc_get_u64(&r) != digest(key, p, len - DIGEST)) {
        return APR_EINVAL;
    }
    sc_rd_init(&r, p + sizeof(magic) + 1, HEAD - sizeof(magic) - 1);
    v->kind = (sc_central_kind_t)sc_get_u8(&r);
    v->writer = sc_get_u32(&r);
    v->created_ms = sc_get_u64(&r);
    v->accessed_ms = sc_get_u64(&r);
    v->max_idle_s = sc_get_u32(&r);
    v->stamp.hlc = sc_get_u64(&r);
    v->stamp.node = sc_get_u32(&r);
    v->body = p + HEAD;
    v->body_len = len - SC_CENTRAL_FRAME;
    if (r.bad || v->kind > SC_CENTRAL_SENTINEL || v->stamp.hlc >= HLC_MAX ||
        sc_body_check(v->body, v->body_len) != APR_SUCCESS || !in_order(v)) {
        memset(v, 0, sizeof(*v));
        return APR_EINVAL;
    }
    return APR_SUCCESS;
}
