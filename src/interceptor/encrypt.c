/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Encrypt: message bodies are encrypted with a key that all members have (tribes-protocol 4.4).
 *
 * It is here for channels on which Tomcats are. What it leaves open is Tomcat's: heads of frames,
 * acknowledgements, probes and membership are neither encrypted nor authenticated, there is one key
 * for all, and with a mode other than GCM whoever can send may change messages.
 * SessionClusterSecret has none of that.
 *
 * What differs from Tomcat, and why:
 * - What cannot be decrypted, or is refused as a replay, is not acknowledged as processed
 *   (FAIL_ACK), so its sender does not believe that it has arrived. With GCM.
 * - A repeated message that has been processed is acknowledged and not delivered again: its
 *   acknowledgement got lost. One that could not be processed is delivered again.
 * - Timestamps beyond the window and IVs that had to be forgotten early are logged with what to do.
 *
 * With the other modes everything is acknowledged, whatever comes of it. They let anybody make
 * messages out of recorded ones: with a new IV that leaves the timestamp as it is, with blocks from
 * elsewhere. If the answer said whether the padding was right, some hundred such messages would
 * tell a byte of any recorded message. It would not do to answer all failures of decryption alike,
 * or repetitions only when the whole message is repeated: what has been decrypted and cannot be
 * processed above fails, too, or does not, and that is another answer than that of wrong padding.
 * So there an acknowledgement does not mean that a message has been applied. Tomcat acknowledges
 * what it cannot decrypt as well.
 *
 * Here the key is kept by libcrypto until the channel stops. Its digits stay in the configuration,
 * though, in the memory of the parent, the engine and all children, as in httpd.conf; they are in
 * no message.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "cipher.h"
#include "replay.h"
#include "train.h"

#define KEY_MAX 32
#define LOG_INTERVAL apr_time_from_sec(10)
/* Further off than any clock: what was read as a time is none. */
#define DAY_MS APR_INT64_C(86400000)

enum {
    OPTION_FLAG,
    ENCRYPTION_ALGORITHM,
    ENCRYPTION_KEY,
    REPLAY_WINDOW_TIME,
    REPLAY_WINDOW_MESSAGE_COUNT,
    NATTRS
};

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"encryptionAlgorithm", SC_ATTR_TEXT, 0, 0, 0, NULL},
    {"encryptionKey", SC_ATTR_TEXT, 0, 0, 0, NULL},
    {"replayWindowTime", 0, 10000, 1, 3600000, "milliseconds"},
    {"replayWindowMessageCount", 0, 8192, 1, 1 << 20, "messages"},
};

static const sc_attr_refused_t refused[] = {
    {"providerName", "OpenSSL's libcrypto is the only provider"},
};

typedef struct encrypt_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    sc_cipher_t *cipher;
    sc_replay_t *replay;
    sc_trains_t trains; /* only to tell ends */
    int authentic;      /* who has no key can make no message */
    sc_log_limit_t decrypt_log;
    sc_log_limit_t replay_log;
    sc_log_limit_t crowded_log;
} encrypt_t;

/* ---- attributes ------------------------------------------------------------------------------ */

/** @return bytes of the key; 0: it is none */
static apr_size_t key_of(const sc_config_interceptor_t *c, unsigned char key[KEY_MAX])
{
    const char *text = sc_interceptor_text(c, "encryptionKey", "");
    apr_size_t digits = strlen(text);

    if (digits != 32 && digits != 48 && digits != 64) {
        return 0;
    }
    return sc_hex_get(key, digits / 2, text) ? digits / 2 : 0;
}

static const char *algorithm_of(const sc_config_interceptor_t *c)
{
    return sc_interceptor_text(c, "encryptionAlgorithm", "AES/GCM/NoPadding");
}

static const char *encrypt_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    const char *message =
        sc_interceptor_refused(c, refused, sizeof(refused) / sizeof(refused[0]), pool);
    apr_int64_t values[NATTRS];
    unsigned char key[KEY_MAX];
    apr_size_t len = key_of(c, key);

    OPENSSL_cleanse(key, sizeof(key));
    if (message == NULL) {
        message = sc_interceptor_attrs(c, rules, NATTRS, values, pool);
    }
    if (message != NULL) {
        return message;
    }
    if (values[OPTION_FLAG] != 0) {
        return "interceptor Encrypt: optionFlag must be 0: all messages are encrypted, since one "
               "that need not be could be anybody's";
    }
    message = sc_cipher_check(algorithm_of(c));
    if (message != NULL) {
        return apr_psprintf(pool, "interceptor Encrypt: encryptionAlgorithm %s, not \"%s\"",
                            message, algorithm_of(c));
    }
    if (len == 0) {
        return "interceptor Encrypt: encryptionKey must be 32, 48 or 64 hexadecimal digits, the "
               "same on all members";
    }
    return NULL;
}

static apr_uint64_t now_ms(const encrypt_t *e)
{
    return (apr_uint64_t)apr_time_as_msec(sc_wall(e->self->env->clock));
}

static apr_status_t encrypt_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                   apr_pool_t *pool)
{
    encrypt_t *e = apr_pcalloc(pool, sizeof(*e));
    const char *algorithm = algorithm_of(c);
    unsigned char key[KEY_MAX];
    apr_size_t len = key_of(c, key);
    apr_uint64_t seed = 0;
    apr_status_t rv;

    if (sc_interceptor_attrs(c, rules, NATTRS, e->attr, pool) != NULL) {
        OPENSSL_cleanse(key, sizeof(key));
        return APR_EINVAL;
    }
    e->self = self;
    self->state = e;
    sc_trains_init(&e->trains, self, 0, 0, NULL);
    rv = sc_cipher_create(&e->cipher, algorithm, key, len);
    OPENSSL_cleanse(key, sizeof(key));
    if (rv == APR_SUCCESS && RAND_bytes((unsigned char *)&seed, sizeof(seed)) != 1) {
        rv = APR_EGENERAL;
    }
    if (rv != APR_SUCCESS) {
        sc_cipher_destroy(e->cipher);
        return rv;
    }
    e->replay =
        sc_replay_create((apr_uint64_t)e->attr[REPLAY_WINDOW_TIME],
                         (apr_uint32_t)e->attr[REPLAY_WINDOW_MESSAGE_COUNT], seed, now_ms(e));
    if (e->replay == NULL) {
        sc_cipher_destroy(e->cipher);
        return APR_ENOMEM;
    }
    e->authentic = sc_cipher_authentic(algorithm);
    if (!e->authentic) {
        sc_log(self->env->log, SC_LOG_WARNING, 0,
               "SC0491: Encrypt: %s does not authenticate messages: who can reach the receiver may "
               "change them, and an acknowledgement says only that a message has come, not that it "
               "was applied; with AES/GCM/NoPadding neither is so",
               algorithm);
    }
    return APR_SUCCESS;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void encrypt_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    encrypt_t *e = self->state;
    sc_outgoing_t below = *out;
    unsigned char iv[SC_CIPHER_IV_MAX];
    apr_status_t rv = APR_EGENERAL;
    sc_buf_t b;

    sc_buf_init(&b, out->packet.body_len + SC_CIPHER_GROWS);
    /* one message may travel in many packets, for longer than the window is wide */
    below.packet.timestamp_ms = now_ms(e);
    if (e->cipher != NULL && RAND_bytes(iv, (int)sc_cipher_iv_len(e->cipher)) == 1) {
        rv = sc_cipher_seal(e->cipher, iv, below.packet.timestamp_ms, out->packet.body,
                            out->packet.body_len, &b);
    }
    if (rv == APR_SUCCESS) {
        below.packet.body = b.data;
        below.packet.body_len = b.len;
        sc_pass_send(self, &below);
    } else {
        sc_trains_refuse(&e->trains, out, rv);
    }
    sc_buf_free(&b);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static apr_status_t undecryptable(encrypt_t *e, const sc_packet_t *packet)
{
    const sc_chain_env_t *env = e->self->env;
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    SC_CHAIN_COUNT(e->self->env, decrypt_refused);
    if (sc_log_allowed(&e->decrypt_log, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0492: a message that calls itself one of member %s could not be decrypted "
               "(%" APR_UINT64_T_FMT
               " more before): a stranger's, or that member has another encryptionKey or "
               "encryptionAlgorithm",
               sc_member_name(&packet->from, name), more);
    }
    return APR_EINVAL;
}

static apr_status_t replayed(encrypt_t *e, const sc_packet_t *packet, sc_replay_verdict_t verdict)
{
    apr_int64_t off = (apr_int64_t)(packet->timestamp_ms - now_ms(e));
    const sc_chain_env_t *env = e->self->env;
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    SC_CHAIN_COUNT(e->self->env, replays_refused);
    if (sc_log_allowed(&e->replay_log, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0498: an encrypted message that calls itself one of member %s was refused: it "
               "was sent %s (%" APR_UINT64_T_FMT " more before)",
               sc_member_name(&packet->from, name),
               off > DAY_MS || off < -DAY_MS
                   ? "more than a day from now; is it a Tomcat before 10.1.56? Those put no time "
                     "into their messages, and what was read as one is something else"
               : verdict == SC_REPLAY_AHEAD
                   ? "in the future, by more than replayWindowTime; do the clocks agree?"
                   : "long ago: a repetition, or the clocks differ by more than replayWindowTime",
               more);
    }
    return APR_EINVAL;
}

static void crowded(encrypt_t *e)
{
    const sc_chain_env_t *env = e->self->env;

    if (sc_log_allowed(&e->crowded_log, sc_mono(env->clock), LOG_INTERVAL, NULL)) {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0499: Encrypt: more than %" APR_INT64_T_FMT
               " messages came within %" APR_INT64_T_FMT
               " ms; messages of members whose clocks are late may be refused: a higher "
               "replayWindowMessageCount is right",
               e->attr[REPLAY_WINDOW_MESSAGE_COUNT], e->attr[REPLAY_WINDOW_TIME]);
    }
}

/** A message that has been decrypted. @param iv of it, filled up with zeros */
static apr_status_t opened(encrypt_t *e, const sc_packet_t *p, const unsigned char *iv,
                           apr_uint64_t timestamp)
{
    int full = 0;
    sc_replay_verdict_t verdict = sc_replay_look(e->replay, iv, timestamp, now_ms(e), &full);
    apr_status_t rv;

    if (full) {
        crowded(e);
    }
    switch (verdict) {
    case SC_REPLAY_NEW:
    case SC_REPLAY_AGAIN:
        rv = sc_pass_received(e->self, p);
        if (rv == APR_SUCCESS) {
            sc_replay_done(e->replay, iv);
        }
        return rv;
    case SC_REPLAY_DONE:
        SC_CHAIN_COUNT(e->self->env, replays_refused);
        return APR_SUCCESS;
    case SC_REPLAY_FULL:
        return APR_ENOMEM;
    case SC_REPLAY_OLD:
    case SC_REPLAY_AHEAD:
        break;
    }
    return replayed(e, p, verdict);
}

static apr_status_t encrypt_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    encrypt_t *e = self->state;
    unsigned char iv[SC_REPLAY_IV] = {0};
    sc_packet_t p = *packet;
    apr_uint64_t timestamp;
    apr_status_t rv;
    sc_buf_t b;

    sc_buf_init(&b, packet->body_len + SC_CIPHER_GROWS);
    rv = sc_cipher_open(e->cipher, packet->body, packet->body_len, &timestamp, &b);
    if (rv == APR_SUCCESS) {
        memcpy(iv, packet->body, sc_cipher_iv_len(e->cipher));
        p.timestamp_ms = timestamp;
        p.body = b.data + sizeof(timestamp);
        p.body_len = b.len - sizeof(timestamp);
        rv = opened(e, &p, iv, timestamp);
    } else if (rv != APR_ENOMEM) {
        rv = undecryptable(e, packet);
    }
    sc_buf_free(&b);
    return e->authentic ? rv : APR_SUCCESS;
}

static void encrypt_stop(sc_interceptor_t *self)
{
    encrypt_t *e = self->state;

    sc_trains_stop(&e->trains);
    sc_cipher_destroy(e->cipher);
    sc_replay_destroy(e->replay);
    e->cipher = NULL;
    e->replay = NULL;
}

const sc_interceptor_class_t sc_encrypt_class = {
    .name = "Encrypt",
    .check = encrypt_check,
    .create = encrypt_create,
    .stop = encrypt_stop,
    .send = encrypt_send,
    .received = encrypt_received,
    .grows = SC_CIPHER_GROWS,
};
