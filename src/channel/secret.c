/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Keys out of secrets, MACs and seals: what OpenSSL's EVP has, in the few forms that are used here.
 *
 * A seal keeps its cipher context with the expanded key; a frame costs one call with a new nonce.
 * The nonce is the start value with the frame's number added in its last 8 bytes by exclusive or,
 * as TLS 1.3 does it: it never comes twice under one key, and nobody has to send it.
 */
#include <errno.h>
#include <string.h>

#include <sys/mman.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "sc_secret.h"

static const char salt[] = "mod_session_cluster secret 1";
static const char label_id[] = "sc1 key id";
static const char label_join[] = "sc1 join";
static const char label_datagram[] = "sc1 datagram";

void sc_cleanse(void *p, apr_size_t n)
{
    OPENSSL_cleanse(p, n);
}

/* ---- HKDF and HMAC -------------------------------------------------------------------------- */

static apr_status_t hkdf(OSSL_PARAM *params, void *out, apr_size_t n)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    int ok = ctx != NULL && EVP_KDF_derive(ctx, out, n, params) == 1;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok ? APR_SUCCESS : EIO;
}

/* The library takes what it only reads as void *, without const. */
static void *unconst(const void *p)
{
    union {
        const void *in;
        void *out;
    } u = {p};

    return u.out;
}

apr_status_t sc_hkdf_extract(const void *salt_bytes, apr_size_t salt_len, const void *key,
                             apr_size_t key_len, unsigned char out[SC_KEY])
{
    char digest[] = "SHA256";
    int mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, unconst(key), key_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, unconst(salt_bytes), salt_len),
        OSSL_PARAM_construct_end()};

    return hkdf(params, out, SC_KEY);
}

apr_status_t sc_hkdf_expand(const unsigned char root[SC_KEY], const void *info, apr_size_t info_len,
                            void *out, apr_size_t n)
{
    char digest[] = "SHA256";
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, unconst(root), SC_KEY),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, unconst(info), info_len),
        OSSL_PARAM_construct_end()};

    return hkdf(params, out, n);
}

apr_status_t sc_mac(const unsigned char key[SC_KEY], const void *bytes, apr_size_t n,
                    unsigned char out[SC_MAC])
{
    unsigned int len = 0;

    if (HMAC(EVP_sha256(), key, SC_KEY, bytes, n, out, &len) == NULL || len != SC_MAC) {
        return EIO;
    }
    return APR_SUCCESS;
}

int sc_mac_same(const unsigned char a[SC_MAC], const unsigned char b[SC_MAC])
{
    return CRYPTO_memcmp(a, b, SC_MAC) == 0;
}

/* ---- secrets and keys ----------------------------------------------------------------------- */

apr_status_t sc_secrets_add(sc_secrets_t *s, const void *secret, apr_size_t len)
{
    unsigned char root[SC_KEY];
    unsigned char id[SC_KEY_ID];
    apr_status_t rv;
    apr_uint32_t i;

    if (len < SC_SECRET_MIN || len > SC_SECRET_LEN_MAX) {
        return APR_EINVAL;
    }
    rv = sc_hkdf_extract(salt, sizeof(salt) - 1, secret, len, root);
    if (rv == APR_SUCCESS) {
        rv = sc_hkdf_expand(root, label_id, sizeof(label_id) - 1, id, sizeof(id));
    }
    for (i = 0; rv == APR_SUCCESS && i < s->count; i++) {
        if (memcmp(s->id[i], id, sizeof(id)) == 0) {
            rv = APR_EEXIST;
        }
    }
    if (rv == APR_SUCCESS && s->count == SC_SECRETS_MAX) {
        rv = APR_ENOSPC;
    }
    if (rv == APR_SUCCESS) {
        memcpy(s->root[s->count], root, sizeof(root));
        memcpy(s->id[s->count], id, sizeof(id));
        s->count++;
    }
    sc_cleanse(root, sizeof(root));
    return rv;
}

apr_status_t sc_keyring_make(sc_keyring_t *ring, const sc_secrets_t *s)
{
    apr_status_t rv = APR_SUCCESS;
    apr_uint32_t i;

    memset(ring, 0, sizeof(*ring));
    for (i = 0; s != NULL && i < s->count && rv == APR_SUCCESS; i++) {
        sc_keys_t *k = &ring->keys[i];

        memcpy(k->id, s->id[i], sizeof(k->id));
        memcpy(k->root, s->root[i], sizeof(k->root));
        rv = sc_hkdf_expand(k->root, label_join, sizeof(label_join) - 1, k->join, sizeof(k->join));
        if (rv == APR_SUCCESS) {
            rv = sc_hkdf_expand(k->root, label_datagram, sizeof(label_datagram) - 1, k->datagram,
                                sizeof(k->datagram));
        }
        ring->count++;
    }
    return rv;
}

apr_status_t sc_keyring_create(sc_keyring_t **out, const sc_secrets_t *s)
{
    sc_keyring_t *ring =
        mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    apr_status_t rv;

    *out = NULL;
    if (ring == MAP_FAILED) {
        return errno;
    }
    (void)mlock(ring, sizeof(*ring));
    (void)madvise(ring, sizeof(*ring), MADV_DONTDUMP);
    (void)madvise(ring, sizeof(*ring), MADV_WIPEONFORK);
    rv = sc_keyring_make(ring, s);
    if (rv != APR_SUCCESS) {
        sc_keyring_destroy(ring);
        return rv;
    }
    *out = ring;
    return APR_SUCCESS;
}

void sc_keyring_destroy(sc_keyring_t *ring)
{
    if (ring != NULL) {
        sc_cleanse(ring, sizeof(*ring));
        (void)munmap(ring, sizeof(*ring));
    }
}

const sc_keys_t *sc_keyring_find(const sc_keyring_t *ring, const unsigned char id[SC_KEY_ID])
{
    apr_uint32_t i;

    for (i = 0; i < ring->count; i++) {
        if (memcmp(ring->keys[i].id, id, SC_KEY_ID) == 0) {
            return &ring->keys[i];
        }
    }
    return NULL;
}

/* ---- seals ---------------------------------------------------------------------------------- */

apr_status_t sc_seal_init(sc_seal_t *s, const unsigned char material[SC_KEY + SC_SEAL_IV],
                          int sealing)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    memset(s, 0, sizeof(*s));
    if (ctx == NULL) {
        return APR_ENOMEM;
    }
    if (EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, material, NULL, sealing) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return EIO;
    }
    s->cipher = ctx;
    s->sealing = sealing;
    memcpy(s->iv, material + SC_KEY, SC_SEAL_IV);
    return APR_SUCCESS;
}

void sc_seal_free(sc_seal_t *s)
{
    EVP_CIPHER_CTX_free(s->cipher);
    sc_cleanse(s, sizeof(*s));
}

/** The nonce of the next frame, and the head of it. */
static int begin(sc_seal_t *s, const void *head, apr_size_t head_len)
{
    unsigned char nonce[SC_SEAL_IV];
    apr_uint64_t n = s->count++;
    int len;
    int i;

    if (s->cipher == NULL || n == APR_UINT64_MAX || head_len > APR_INT32_MAX) {
        return 0;
    }
    memcpy(nonce, s->iv, sizeof(nonce));
    for (i = SC_SEAL_IV - 1; n > 0; i--, n >>= 8) {
        nonce[i] ^= (unsigned char)n;
    }
    return EVP_CipherInit_ex(s->cipher, NULL, NULL, NULL, nonce, s->sealing) == 1 &&
           EVP_CipherUpdate(s->cipher, NULL, &len, head, (int)head_len) == 1;
}

apr_status_t sc_seal(sc_seal_t *s, const void *head, apr_size_t head_len, const void *in,
                     apr_size_t n, unsigned char *out)
{
    int len = 0;
    int rest = 0;

    if (n > APR_INT32_MAX - SC_SEAL_TAG || !s->sealing || !begin(s, head, head_len) ||
        EVP_EncryptUpdate(s->cipher, out, &len, in, (int)n) != 1 ||
        EVP_EncryptFinal_ex(s->cipher, out + len, &rest) != 1 ||
        EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_AEAD_GET_TAG, SC_SEAL_TAG, out + n) != 1) {
        return EIO;
    }
    return (apr_size_t)(len + rest) == n ? APR_SUCCESS : EIO;
}

apr_status_t sc_open(sc_seal_t *s, const void *head, apr_size_t head_len, unsigned char *bytes,
                     apr_size_t n)
{
    int len = 0;
    int rest = 0;

    if (n > APR_INT32_MAX - SC_SEAL_TAG || s->sealing || !begin(s, head, head_len) ||
        EVP_DecryptUpdate(s->cipher, bytes, &len, bytes, (int)n) != 1 ||
        EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_AEAD_SET_TAG, SC_SEAL_TAG, bytes + n) != 1 ||
        EVP_DecryptFinal_ex(s->cipher, bytes + len, &rest) != 1) {
        return APR_EACCES;
    }
    return APR_SUCCESS;
}
