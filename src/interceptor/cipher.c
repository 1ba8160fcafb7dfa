/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * AES by libcrypto; see cipher.h.
 *
 * One context for each direction keeps the expanded key; a message only sets its IV. CFB and OFB
 * are stream modes, which libcrypto does not pad, but Java does when told so.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "cipher.h"

#define BLOCK 16
#define TAG_LEN 16
#define STAMP_LEN 8

typedef enum cipher_mode_t { GCM, CBC, STREAM } cipher_mode_t;

typedef struct algorithm_t {
    const char *name;
    cipher_mode_t mode;
    const EVP_CIPHER *(*cipher[3])(void); /* for keys of 128, 192, 256 bits */
} algorithm_t;

static const algorithm_t algorithms[] = {
    {"AES/GCM/NoPadding", GCM, {EVP_aes_128_gcm, EVP_aes_192_gcm, EVP_aes_256_gcm}},
    {"AES/CBC/PKCS5Padding", CBC, {EVP_aes_128_cbc, EVP_aes_192_cbc, EVP_aes_256_cbc}},
    {"AES/CFB/PKCS5Padding", STREAM, {EVP_aes_128_cfb128, EVP_aes_192_cfb128, EVP_aes_256_cfb128}},
    {"AES/OFB/PKCS5Padding", STREAM, {EVP_aes_128_ofb, EVP_aes_192_ofb, EVP_aes_256_ofb}},
};

#define NALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

struct sc_cipher_t {
    const algorithm_t *algorithm;
    apr_size_t iv_len;
    EVP_CIPHER_CTX *seal;
    EVP_CIPHER_CTX *open;
};

static const algorithm_t *find(const char *name)
{
    apr_size_t i;

    for (i = 0; i < NALGORITHMS; i++) {
        if (strcasecmp(algorithms[i].name, name) == 0) {
            return &algorithms[i];
        }
    }
    return NULL;
}

const char *sc_cipher_check(const char *algorithm)
{
    if (find(algorithm) != NULL) {
        return NULL;
    }
    return "must be AES/GCM/NoPadding, or, for a channel whose members are configured so, "
           "AES/CBC/PKCS5Padding, AES/CFB/PKCS5Padding or AES/OFB/PKCS5Padding";
}

int sc_cipher_authentic(const char *algorithm)
{
    const algorithm_t *a = find(algorithm);

    return a != NULL && a->mode == GCM;
}

static EVP_CIPHER_CTX *context(const EVP_CIPHER *cipher, const unsigned char *key, int encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (ctx != NULL && EVP_CipherInit_ex(ctx, cipher, NULL, key, NULL, encrypt) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    ERR_clear_error();
    return ctx;
}

apr_status_t sc_cipher_create(sc_cipher_t **cipher, const char *algorithm, const void *key,
                              apr_size_t key_len)
{
    const algorithm_t *a = find(algorithm);
    const EVP_CIPHER *evp;
    sc_cipher_t *c;

    *cipher = NULL;
    if (a == NULL || key_len < 16 || key_len > 32 || key_len % 8 != 0) {
        return APR_EINVAL;
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return APR_ENOMEM;
    }
    evp = a->cipher[key_len / 8 - 2]();
    c->algorithm = a;
    c->iv_len = (apr_size_t)EVP_CIPHER_iv_length(evp);
    c->seal = context(evp, key, 1);
    c->open = context(evp, key, 0);
    if (c->seal == NULL || c->open == NULL || c->iv_len > SC_CIPHER_IV_MAX) {
        sc_cipher_destroy(c);
        return APR_EGENERAL;
    }
    *cipher = c;
    return APR_SUCCESS;
}

void sc_cipher_destroy(sc_cipher_t *cipher)
{
    if (cipher != NULL) {
        /* these overwrite the keys */
        EVP_CIPHER_CTX_free(cipher->seal);
        EVP_CIPHER_CTX_free(cipher->open);
        free(cipher);
    }
}

apr_size_t sc_cipher_iv_len(const sc_cipher_t *cipher)
{
    return cipher->iv_len;
}

/* ---- sealing --------------------------------------------------------------------------------- */

/** Run bytes through the cipher, to where they are told. @return 1: went well */
static int update(EVP_CIPHER_CTX *ctx, unsigned char **to, const void *bytes, apr_size_t len)
{
    int n = 0;

    if (EVP_CipherUpdate(ctx, *to, &n, bytes, (int)len) != 1) {
        return 0;
    }
    *to += n;
    return 1;
}

/** The end of a sealed message: padding or tag. */
static int seal_end(sc_cipher_t *c, unsigned char **to, apr_size_t plain)
{
    unsigned char padding[BLOCK];
    int n = 0;

    if (c->algorithm->mode == STREAM) {
        memset(padding, (int)(BLOCK - plain % BLOCK), BLOCK);
        if (!update(c->seal, to, padding, BLOCK - plain % BLOCK)) {
            return 0;
        }
    }
    if (EVP_CipherFinal_ex(c->seal, *to, &n) != 1) {
        return 0;
    }
    *to += n;
    if (c->algorithm->mode == GCM) {
        if (EVP_CIPHER_CTX_ctrl(c->seal, EVP_CTRL_GCM_GET_TAG, TAG_LEN, *to) != 1) {
            return 0;
        }
        *to += TAG_LEN;
    }
    return 1;
}

apr_status_t sc_cipher_seal(sc_cipher_t *cipher, const unsigned char *iv, apr_uint64_t timestamp,
                            const void *body, apr_size_t len, sc_buf_t *out)
{
    unsigned char stamp[STAMP_LEN];
    sc_buf_t b = {stamp, 0, sizeof(stamp), sizeof(stamp), APR_SUCCESS};
    unsigned char *start;
    unsigned char *to;
    int ok;

    if (len > INT_MAX - SC_CIPHER_GROWS) {
        return APR_EINVAL;
    }
    start = sc_buf_reserve(out, len + SC_CIPHER_GROWS);
    if (start == NULL) {
        return out->err;
    }
    sc_put_u64(&b, timestamp);
    memcpy(start, iv, cipher->iv_len);
    to = start + cipher->iv_len;
    ok = EVP_CipherInit_ex(cipher->seal, NULL, NULL, NULL, iv, 1) == 1 &&
         update(cipher->seal, &to, stamp, sizeof(stamp)) && update(cipher->seal, &to, body, len) &&
         seal_end(cipher, &to, STAMP_LEN + len);
    if (!ok) {
        ERR_clear_error();
        return APR_EGENERAL;
    }
    out->len += (apr_size_t)(to - start);
    return APR_SUCCESS;
}

/* ---- opening --------------------------------------------------------------------------------- */

/** Bytes of the padding of a decrypted stream, 0 when it is none. The time that this takes does not
 *  depend on how much of it is right. */
static apr_size_t padding_of(const unsigned char *p, apr_size_t len)
{
    unsigned int n = len >= BLOCK ? p[len - 1] : 0;
    unsigned int wrong = (n == 0) | (n > BLOCK);
    unsigned int i;

    for (i = 0; i < BLOCK && i < len; i++) {
        wrong |= (i < n) & (p[len - 1 - i] != n);
    }
    return wrong ? 0 : n;
}

static int open_end(sc_cipher_t *c, unsigned char **to, unsigned char *start)
{
    int n = 0;

    if (EVP_CipherFinal_ex(c->open, *to, &n) != 1) {
        return 0;
    }
    *to += n;
    if (c->algorithm->mode == STREAM) {
        apr_size_t padding = padding_of(start, (apr_size_t)(*to - start));

        *to -= padding;
        return padding > 0;
    }
    return 1;
}

apr_status_t sc_cipher_open(sc_cipher_t *cipher, const void *bytes, apr_size_t len,
                            apr_uint64_t *timestamp, sc_buf_t *out)
{
    apr_size_t tail = cipher->algorithm->mode == GCM ? TAG_LEN : 0;
    const unsigned char *in = bytes;
    unsigned char *start;
    unsigned char *to;
    sc_rd_t r;
    int ok;

    if (len < cipher->iv_len + STAMP_LEN + tail || len > INT_MAX - SC_CIPHER_GROWS) {
        return APR_EINVAL;
    }
    len -= cipher->iv_len + tail;
    start = sc_buf_reserve(out, len + BLOCK);
    if (start == NULL) {
        return out->err;
    }
    to = start;
    ok = EVP_CipherInit_ex(cipher->open, NULL, NULL, NULL, in, 0) == 1;
    in += cipher->iv_len;
    if (ok && tail > 0) {
        unsigned char tag[TAG_LEN];

        memcpy(tag, in + len, TAG_LEN);
        ok = EVP_CIPHER_CTX_ctrl(cipher->open, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1;
    }
    ok = ok && update(cipher->open, &to, in, len) && open_end(cipher, &to, start) &&
         to - start >= STAMP_LEN;
    if (!ok) {
        OPENSSL_cleanse(start, len);
        ERR_clear_error();
        return APR_EINVAL;
    }
    out->len += (apr_size_t)(to - start);
    sc_rd_init(&r, start, STAMP_LEN);
    *timestamp = sc_get_u64(&r);
    return APR_SUCCESS;
}
