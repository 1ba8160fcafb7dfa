/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The encryption of Tribes' EncryptInterceptor (tribes-protocol 4.4), bytes to bytes:
 *
 *   IV | encrypted (timestamp i8 | message)      and a tag of 16 bytes with GCM
 */
#ifndef CIPHER_H
#define CIPHER_H

#include "sc_buf.h"

#define SC_CIPHER_IV_MAX 16
/* IV, timestamp, tag or padding. */
#define SC_CIPHER_GROWS (SC_CIPHER_IV_MAX + 8 + 16)

typedef struct sc_cipher_t sc_cipher_t;

/** Whether there is such an algorithm. @return NULL, or what would be right */
const char *sc_cipher_check(const char *algorithm);
/** Whether nobody without the key can make a message of it. */
int sc_cipher_authentic(const char *algorithm);
/**
 * @param algorithm as in Java: "AES/GCM/NoPadding"
 * @param key copied
 * @param key_len 16, 24 or 32
 * @return APR_EINVAL: no such algorithm or length; APR_EGENERAL: libcrypto has refused
 */
apr_status_t sc_cipher_create(sc_cipher_t **cipher, const char *algorithm, const void *key,
                              apr_size_t key_len);
/** Forget the key. */
void sc_cipher_destroy(sc_cipher_t *cipher);

/** Bytes of the IV: 12 or 16. */
apr_size_t sc_cipher_iv_len(const sc_cipher_t *cipher);
/** Append a sealed message. @param iv never twice with one key; sc_cipher_iv_len bytes */
apr_status_t sc_cipher_seal(sc_cipher_t *cipher, const unsigned char *iv, apr_uint64_t timestamp,
                            const void *body, apr_size_t len, sc_buf_t *out);
/** Open one: the message behind a timestamp of 8 bytes is put into out.
 *  @return APR_EINVAL: no such message */
apr_status_t sc_cipher_open(sc_cipher_t *cipher, const void *bytes, apr_size_t len,
                            apr_uint64_t *timestamp, sc_buf_t *out);

#endif
