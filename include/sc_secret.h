/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_secret.h
 * @brief Room "channel": what follows from the cluster's secret. Keys, seals, proofs; no sockets.
 *
 * A secret is turned into one pseudo-random key at once (HKDF-Extract, RFC 5869, SHA-256); the
 * secret itself is kept nowhere. From that key comes one key for each purpose (HKDF-Expand with a
 * label): proofs of a connection, datagrams, and for each connection and each direction a key of
 * its own for frames. A key id, derived too, names a secret on the wire.
 *
 * On a connection (src/channel/handshake.c), everything in Tribes' frames:
 *
 *   initiator                                     receiver
 *     hello: key id, nonce, own uid, wanted uid, MAC  ──▶   whoever has no secret gets no answer
 *     ◀──  reply: key id, nonce, own uid, MAC over both
 *     proof: MAC over all of that  ──▶                      from here on it is a member
 *     frames, sealed  ──▶      ◀── acknowledgements, sealed
 *
 * A sealed frame is AES-256-GCM over the frame's data, bound to the frame's header; its nonce is
 * the number of the frame, which both sides count. Both nonces are fresh for each connection, so
 * nothing that was recorded fits anywhere else, and no clock is needed for that.
 *
 * A datagram carries the sender's unique id, a number that only rises, and a MAC behind the member
 * data (src/channel/datagram.c).
 */
#ifndef SC_SECRET_H
#define SC_SECRET_H

#include "sc_buf.h"

#define SC_SECRETS_MAX 2 /**< the first is used for what is sent, both are accepted */
#define SC_SECRET_MIN 16 /**< bytes of a secret */
#define SC_SECRET_LEN_MAX 1024
#define SC_KEY_ID 8
#define SC_KEY 32
#define SC_MAC 32
#define SC_NONCE 32
#define SC_SEAL_IV 12
#define SC_SEAL_TAG 16 /**< a sealed frame is so many bytes longer */

/** The cluster's secrets. Nobody but the parent and the engine has these bytes. */
typedef struct sc_secrets_t {
    apr_uint32_t count;
    unsigned char id[SC_SECRETS_MAX][SC_KEY_ID]; /**< may be told to anybody */
    unsigned char root[SC_SECRETS_MAX][SC_KEY];
} sc_secrets_t;

/**
 * Add one. It is not kept, only what is derived from it.
 * @return APR_SUCCESS; APR_EINVAL: too short or too long; APR_EEXIST: there already;
 *         APR_ENOSPC: there are SC_SECRETS_MAX; else the library's failure
 */
apr_status_t sc_secrets_add(sc_secrets_t *s, const void *secret, apr_size_t len);

/** One secret's keys, one for each purpose. */
typedef struct sc_keys_t {
    unsigned char id[SC_KEY_ID];
    unsigned char root[SC_KEY];
    unsigned char join[SC_KEY];     /**< MACs of handshakes */
    unsigned char datagram[SC_KEY]; /**< MACs of datagrams */
} sc_keys_t;

typedef struct sc_keyring_t {
    apr_uint32_t count; /**< 0: no secret */
    sc_keys_t keys[SC_SECRETS_MAX];
} sc_keyring_t;

/** @param s NULL: a ring without keys */
apr_status_t sc_keyring_make(sc_keyring_t *ring, const sc_secrets_t *s);
/**
 * A ring in memory of its own that is neither in core files nor in processes that are forked from
 * this one. @param s NULL: a ring without keys. @return APR_SUCCESS; the system's or the library's
 * failure, *ring is NULL then
 */
apr_status_t sc_keyring_create(sc_keyring_t **ring, const sc_secrets_t *s);
/** Overwritten and gone; NULL is fine. */
void sc_keyring_destroy(sc_keyring_t *ring);
/** The keys with this id. @return NULL when there are none */
const sc_keys_t *sc_keyring_find(const sc_keyring_t *ring, const unsigned char id[SC_KEY_ID]);
/** Overwrite, in a way that no compiler leaves out. */
void sc_cleanse(void *p, apr_size_t n);

/* ---- secret.c: the functions under it ---------------------------------------------------------
 */

/** HKDF-Extract with SHA-256. */
apr_status_t sc_hkdf_extract(const void *salt, apr_size_t salt_len, const void *key,
                             apr_size_t key_len, unsigned char out[SC_KEY]);
/** HKDF-Expand with SHA-256. @param n at most 255 * 32 */
apr_status_t sc_hkdf_expand(const unsigned char root[SC_KEY], const void *info, apr_size_t info_len,
                            void *out, apr_size_t n);
/** HMAC-SHA256. */
apr_status_t sc_mac(const unsigned char key[SC_KEY], const void *bytes, apr_size_t n,
                    unsigned char out[SC_MAC]);
/** In a time that does not tell where they differ. */
int sc_mac_same(const unsigned char a[SC_MAC], const unsigned char b[SC_MAC]);

/** One direction of one connection: a key and the number of the next frame. */
typedef struct sc_seal_t {
    void *cipher; /**< of the library, reused for each frame; NULL: none */
    int sealing;
    unsigned char iv[SC_SEAL_IV];
    apr_uint64_t count;
} sc_seal_t;

/** @param material SC_KEY bytes of key, SC_SEAL_IV bytes of start value */
apr_status_t sc_seal_init(sc_seal_t *s, const unsigned char material[SC_KEY + SC_SEAL_IV],
                          int sealing);
void sc_seal_free(sc_seal_t *s);
/** Encrypt n bytes and put the tag behind them. @param out n + SC_SEAL_TAG bytes; may be `in` */
apr_status_t sc_seal(sc_seal_t *s, const void *head, apr_size_t head_len, const void *in,
                     apr_size_t n, unsigned char *out);
/** Decrypt in place what sc_seal wrote. @param n without the tag. @return APR_EACCES: it is not
 *  authentic, and the connection must end: the two sides no longer count alike */
apr_status_t sc_open(sc_seal_t *s, const void *head, apr_size_t head_len, unsigned char *bytes,
                     apr_size_t n);

/* ---- handshake.c ------------------------------------------------------------------------------
 */

#define SC_SHAKE_FRAME 18 /**< of Tribes' frame around each message */
#define SC_SHAKE_HEAD 6   /**< magic, type, version */
#define SC_SHAKE_HELLO (SC_SHAKE_HEAD + SC_KEY_ID + SC_NONCE + 16 + 16 + SC_MAC)
#define SC_SHAKE_REPLY (SC_SHAKE_HEAD + SC_KEY_ID + SC_NONCE + 16 + SC_MAC)
#define SC_SHAKE_PROOF (SC_SHAKE_HEAD + SC_MAC)
/** The longest message as it goes over the wire. */
#define SC_SHAKE_MAX (SC_SHAKE_FRAME + SC_SHAKE_HELLO)

typedef enum sc_shake_step_t {
    SC_SHAKE_WAIT_HELLO,
    SC_SHAKE_WAIT_REPLY,
    SC_SHAKE_WAIT_PROOF,
    SC_SHAKE_DONE,
    SC_SHAKE_FAILED
} sc_shake_step_t;

/** One side of one handshake. */
typedef struct sc_shake_t {
    const sc_keyring_t *ring;
    const sc_keys_t *keys;
    sc_shake_step_t step;
    int initiator;
    int stale;       /**< it failed, but whoever it is has the secret: it wants a former life */
    const char *why; /**< it failed */
    sc_uid_t self;
    sc_uid_t peer; /**< initiator: who is wanted, zero if anybody; then, who it is */
    unsigned char in[SC_SHAKE_MAX];
    apr_size_t have;
    unsigned char said[SC_SHAKE_HELLO + SC_SHAKE_REPLY]; /**< hello and reply as they went */
} sc_shake_t;

/** Begin as the initiator: hello goes into out.
 *  @param wanted unique id of the member that is called; all zero: it is not known yet
 *  @param out_len receives its length. @return the system's or the library's failure */
apr_status_t sc_shake_call(sc_shake_t *s, const sc_keyring_t *ring, const sc_uid_t *self,
                           const sc_uid_t *wanted, unsigned char out[SC_SHAKE_MAX],
                           apr_size_t *out_len);
/** Begin as the receiver. */
void sc_shake_answer(sc_shake_t *s, const sc_keyring_t *ring, const sc_uid_t *self);
/** Where the next bytes go. @param n receives how many may be read at most: never more than the
 *  message that is waited for has */
unsigned char *sc_shake_room(sc_shake_t *s, apr_size_t *n);
/**
 * n bytes have come.
 * @param out receives what is to be sent now, out_len how long it is, perhaps 0
 * @return APR_SUCCESS: both sides have proven themselves, s->peer is the other one; APR_EAGAIN:
 *         more must come; APR_EACCES: it must be closed, s->why says why
 */
apr_status_t sc_shake_heard(sc_shake_t *s, apr_size_t n, unsigned char out[SC_SHAKE_MAX],
                            apr_size_t *out_len);
/** After success: seals for what this side sends and what it receives. */
apr_status_t sc_shake_seals(const sc_shake_t *s, sc_seal_t *sending, sc_seal_t *receiving);
/** Whether a frame's data, without a secret, is the begin of a handshake. */
int sc_shake_is(const void *data, apr_size_t len);

/** Bytes of a sealed acknowledgement. */
#define SC_SEALED_ACK (21 + SC_SEAL_TAG)

/** Append a whole frame, sealed. @param frame as sc_frame_put wrote it */
apr_status_t sc_sealed_put(sc_buf_t *b, sc_seal_t *seal, const void *frame, apr_size_t len);
/** Open a frame's data in place. @param data behind the frame's header, in a buffer of the caller
 *  @param len in: with the tag; out: without. @return APR_SUCCESS or APR_EACCES */
apr_status_t sc_sealed_open(sc_seal_t *seal, unsigned char *data, apr_size_t *len);
/** An acknowledgement, sealed. @return APR_SUCCESS or the library's failure */
apr_status_t sc_sealed_ack(sc_seal_t *seal, int fail, unsigned char out[SC_SEALED_ACK]);
/** How an answer of n bytes is judged. @return APR_EAGAIN: so far it may become an acknowledgement;
 *  APR_SUCCESS: it is one, *fail says which; APR_EACCES: not authentic, or none. n is at most
 *  SC_SEALED_ACK; the bytes are overwritten */
apr_status_t sc_sealed_answer(sc_seal_t *seal, unsigned char *bytes, apr_size_t n, int *fail);

/* ---- datagram.c -------------------------------------------------------------------------------
 */

/** What stands behind the member data: magic, key id, unique id, number, MAC over all before it. */
#define SC_DATAGRAM_TAIL (4 + SC_KEY_ID + 16 + 8 + SC_MAC)
/** A longer datagram is nobody's: it is not even looked at. */
#define SC_DATAGRAM_MAX 4096
/** Senders whose numbers are remembered. */
#define SC_DATAGRAM_SENDERS 256

/** What has been heard of each sender: nothing is taken twice, nothing older after something
 *  newer. */
typedef struct sc_guard_t {
    struct {
        sc_uid_t uid;
        apr_uint64_t count;
        apr_uint64_t used; /**< order of use; 0: free */
    } sender[SC_DATAGRAM_SENDERS];
    apr_uint64_t uses;
} sc_guard_t;

/** Append the tail to the datagram in b. */
apr_status_t sc_datagram_seal(const sc_keyring_t *ring, const sc_uid_t *self, apr_uint64_t count,
                              sc_buf_t *b);
/**
 * Judge a datagram.
 * @param len in: all of it; out: without the tail
 * @return APR_SUCCESS; APR_EINVAL: it carries no tail; APR_EACCES: the tail is wrong; APR_EEXIST:
 *         authentic, but heard already, or something later was
 */
apr_status_t sc_datagram_open(sc_guard_t *g, const sc_keyring_t *ring, const void *bytes,
                              apr_size_t *len);
/** Whether it carries a tail, for a node without a secret. */
int sc_datagram_is_sealed(const void *bytes, apr_size_t len);

#endif
