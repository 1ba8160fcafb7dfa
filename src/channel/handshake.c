/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How two members prove to each other that they have the secret, and what frames look like then;
 * see the drawing in sc_secret.h.
 *
 * Each message is a frame of a length that is known before, so a side never reads further than the
 * message it waits for and needs no memory but its own few bytes. Bytes are judged as they come.
 * The MACs cover everything that was said before them; their inputs differ in length and in the
 * type that they end with, so none can stand for another, and a side that hears its own words knows
 * its unique id in them.
 *
 * Addresses are not part of it: they differ for the two sides where there is a translation between
 * them. Who is meant is said by the unique id, which each engine makes anew. A list of static
 * members knows only addresses; whoever answers there then names itself.
 */
#include <string.h>

#include "sc_frame.h"
#include "sc_secret.h"

#define MARK_LEN 7
#define FRAME_HEAD (MARK_LEN + 4)
#define VERSION 1
#define TYPE_HELLO 1
#define TYPE_REPLY 2
#define TYPE_PROOF 3
#define ACK_LEN 3

/* where things are in hello and reply */
#define AT_KEY_ID SC_SHAKE_HEAD
#define AT_NONCE (AT_KEY_ID + SC_KEY_ID)
#define AT_UID (AT_NONCE + SC_NONCE)
#define AT_WANTED (AT_UID + 16)

static const unsigned char start_mark[MARK_LEN] = {'F', 'L', 'T', '2', '0', '0', '2'};
static const unsigned char end_mark[MARK_LEN] = {'T', 'L', 'F', '2', '0', '0', '3'};
static const unsigned char magic[4] = {'S', 'C', 'S', '1'};
static const char label_frames[] = "sc1 frames";

/* ---- messages ------------------------------------------------------------------------------- */

static void put_u32(unsigned char *out, apr_uint32_t v)
{
    out[0] = (unsigned char)(v >> 24);
    out[1] = (unsigned char)(v >> 16);
    out[2] = (unsigned char)(v >> 8);
    out[3] = (unsigned char)v;
}

static void head_put(unsigned char *message, int type)
{
    memcpy(message, magic, sizeof(magic));
    message[4] = (unsigned char)type;
    message[5] = VERSION;
}

/** The frame around a message. @return length of the whole */
static apr_size_t frame_put(unsigned char out[SC_SHAKE_MAX], const unsigned char *message,
                            apr_size_t len)
{
    memcpy(out, start_mark, MARK_LEN);
    put_u32(out + MARK_LEN, (apr_uint32_t)len);
    memcpy(out + FRAME_HEAD, message, len);
    memcpy(out + FRAME_HEAD + len, end_mark, MARK_LEN);
    return len + SC_SHAKE_FRAME;
}

static apr_status_t failed(sc_shake_t *s, const char *why)
{
    s->step = SC_SHAKE_FAILED;
    s->why = why;
    return APR_EACCES;
}

static apr_status_t random_nonce(unsigned char out[SC_NONCE])
{
    return sc_random(out, SC_NONCE);
}

static int no_uid(const unsigned char *uid)
{
    static const unsigned char zero[16];

    return memcmp(uid, zero, sizeof(zero)) == 0;
}

/** MAC over what was said until now and `own` bytes of the message that it ends. */
static apr_status_t mac_over(const sc_shake_t *s, apr_size_t said, const unsigned char *message,
                             apr_size_t own, unsigned char out[SC_MAC])
{
    unsigned char bytes[SC_SHAKE_HELLO + SC_SHAKE_REPLY + SC_SHAKE_HELLO];

    memcpy(bytes, s->said, said);
    memcpy(bytes + said, message, own);
    return sc_mac(s->keys->join, bytes, said + own, out);
}

/** Whether the MAC at the end of a message is right. */
static int mac_right(const sc_shake_t *s, apr_size_t said, const unsigned char *message,
                     apr_size_t len)
{
    unsigned char want[SC_MAC];

    return mac_over(s, said, message, len - SC_MAC, want) == APR_SUCCESS &&
           sc_mac_same(want, message + len - SC_MAC);
}

/* ---- the initiator -------------------------------------------------------------------------- */

apr_status_t sc_shake_call(sc_shake_t *s, const sc_keyring_t *ring, const sc_uid_t *self,
                           const sc_uid_t *wanted, unsigned char out[SC_SHAKE_MAX],
                           apr_size_t *out_len)
{
    unsigned char *hello = s->said;
    apr_status_t rv;

    memset(s, 0, sizeof(*s));
    s->ring = ring;
    s->keys = &ring->keys[0];
    s->step = SC_SHAKE_WAIT_REPLY;
    s->initiator = 1;
    s->self = *self;
    s->peer = *wanted;
    head_put(hello, TYPE_HELLO);
    memcpy(hello + AT_KEY_ID, s->keys->id, SC_KEY_ID);
    memcpy(hello + AT_UID, self->b, sizeof(self->b));
    memcpy(hello + AT_WANTED, wanted->b, sizeof(wanted->b));
    rv = random_nonce(hello + AT_NONCE);
    if (rv == APR_SUCCESS) {
        rv = mac_over(s, 0, hello, SC_SHAKE_HELLO - SC_MAC, hello + SC_SHAKE_HELLO - SC_MAC);
    }
    *out_len = frame_put(out, hello, SC_SHAKE_HELLO);
    return rv;
}

static apr_status_t heard_reply(sc_shake_t *s, const unsigned char *reply,
                                unsigned char out[SC_SHAKE_MAX], apr_size_t *out_len)
{
    unsigned char proof[SC_SHAKE_PROOF];

    /* the key of the hello: whoever answers has understood that one */
    if (memcmp(reply + AT_KEY_ID, s->keys->id, SC_KEY_ID) != 0 ||
        !mac_right(s, SC_SHAKE_HELLO, reply, SC_SHAKE_REPLY)) {
        return failed(s, "its answer does not prove that it has the secret");
    }
    if (memcmp(reply + AT_UID, s->self.b, sizeof(s->self.b)) == 0) {
        return failed(s, "it is this node itself");
    }
    if (!no_uid(s->peer.b) && memcmp(reply + AT_UID, s->peer.b, sizeof(s->peer.b)) != 0) {
        return failed(s, "it is another member than the one that was called");
    }
    memcpy(s->peer.b, reply + AT_UID, sizeof(s->peer.b));
    memcpy(s->said + SC_SHAKE_HELLO, reply, SC_SHAKE_REPLY);
    head_put(proof, TYPE_PROOF);
    if (mac_over(s, sizeof(s->said), proof, SC_SHAKE_HEAD, proof + SC_SHAKE_HEAD) != APR_SUCCESS) {
        return failed(s, "the proof could not be made");
    }
    *out_len = frame_put(out, proof, SC_SHAKE_PROOF);
    s->step = SC_SHAKE_DONE;
    return APR_SUCCESS;
}

/* ---- the receiver --------------------------------------------------------------------------- */

void sc_shake_answer(sc_shake_t *s, const sc_keyring_t *ring, const sc_uid_t *self)
{
    memset(s, 0, sizeof(*s));
    s->ring = ring;
    s->step = SC_SHAKE_WAIT_HELLO;
    s->self = *self;
}

static apr_status_t heard_hello(sc_shake_t *s, const unsigned char *hello,
                                unsigned char out[SC_SHAKE_MAX], apr_size_t *out_len)
{
    unsigned char *reply = s->said + SC_SHAKE_HELLO;

    s->keys = sc_keyring_find(s->ring, hello + AT_KEY_ID);
    if (s->keys == NULL) {
        return failed(s, "it has another secret");
    }
    if (!mac_right(s, 0, hello, SC_SHAKE_HELLO)) {
        return failed(s, "it does not have the secret that it names");
    }
    if (memcmp(hello + AT_UID, s->self.b, sizeof(s->self.b)) == 0 || no_uid(hello + AT_UID)) {
        return failed(s, "it claims to be this node, or nobody");
    }
    if (!no_uid(hello + AT_WANTED) &&
        memcmp(hello + AT_WANTED, s->self.b, sizeof(s->self.b)) != 0) {
        s->stale = 1;
        return failed(s, "it wants another member, or a former life of this one");
    }
    memcpy(s->peer.b, hello + AT_UID, sizeof(s->peer.b));
    memcpy(s->said, hello, SC_SHAKE_HELLO);
    head_put(reply, TYPE_REPLY);
    memcpy(reply + AT_KEY_ID, s->keys->id, SC_KEY_ID);
    memcpy(reply + AT_UID, s->self.b, sizeof(s->self.b));
    if (random_nonce(reply + AT_NONCE) != APR_SUCCESS ||
        mac_over(s, SC_SHAKE_HELLO, reply, SC_SHAKE_REPLY - SC_MAC,
                 reply + SC_SHAKE_REPLY - SC_MAC) != APR_SUCCESS) {
        return failed(s, "the answer could not be made");
    }
    *out_len = frame_put(out, reply, SC_SHAKE_REPLY);
    s->step = SC_SHAKE_WAIT_PROOF;
    return APR_EAGAIN;
}

static apr_status_t heard_proof(sc_shake_t *s, const unsigned char *proof)
{
    if (!mac_right(s, sizeof(s->said), proof, SC_SHAKE_PROOF)) {
        return failed(s, "its proof is wrong: what it said was said before, or changed");
    }
    s->step = SC_SHAKE_DONE;
    return APR_SUCCESS;
}

/* ---- both ----------------------------------------------------------------------------------- */

static apr_size_t expected(const sc_shake_t *s)
{
    switch (s->step) {
    case SC_SHAKE_WAIT_HELLO:
        return SC_SHAKE_HELLO;
    case SC_SHAKE_WAIT_REPLY:
        return SC_SHAKE_REPLY;
    case SC_SHAKE_WAIT_PROOF:
        return SC_SHAKE_PROOF;
    default:
        return 0;
    }
}

static int expected_type(const sc_shake_t *s)
{
    return s->step == SC_SHAKE_WAIT_HELLO   ? TYPE_HELLO
           : s->step == SC_SHAKE_WAIT_REPLY ? TYPE_REPLY
                                            : TYPE_PROOF;
}

unsigned char *sc_shake_room(sc_shake_t *s, apr_size_t *n)
{
    apr_size_t len = expected(s);

    *n = len > 0 ? len + SC_SHAKE_FRAME - s->have : 0;
    return s->in + s->have;
}

/** Whether what has come so far can be the begin of the message that is expected. */
static int begins_well(const sc_shake_t *s, apr_size_t len)
{
    unsigned char head[FRAME_HEAD + SC_SHAKE_HEAD];
    apr_size_t n = s->have < sizeof(head) ? s->have : sizeof(head);

    memcpy(head, start_mark, MARK_LEN);
    put_u32(head + MARK_LEN, (apr_uint32_t)len);
    head_put(head + FRAME_HEAD, expected_type(s));
    return memcmp(s->in, head, n) == 0;
}

apr_status_t sc_shake_heard(sc_shake_t *s, apr_size_t n, unsigned char out[SC_SHAKE_MAX],
                            apr_size_t *out_len)
{
    apr_size_t len = expected(s);
    const unsigned char *message = s->in + FRAME_HEAD;

    *out_len = 0;
    if (len == 0 || n > len + SC_SHAKE_FRAME - s->have) {
        return failed(s, "it said more than it should");
    }
    s->have += n;
    if (!begins_well(s, len)) {
        return failed(s, "what it sent is no handshake; does it have a SessionClusterSecret?");
    }
    if (s->have < len + SC_SHAKE_FRAME) {
        return APR_EAGAIN;
    }
    if (memcmp(message + len, end_mark, MARK_LEN) != 0) {
        return failed(s, "its frame does not end as one");
    }
    s->have = 0;
    switch (s->step) {
    case SC_SHAKE_WAIT_HELLO:
        return heard_hello(s, message, out, out_len);
    case SC_SHAKE_WAIT_REPLY:
        return heard_reply(s, message, out, out_len);
    default:
        return heard_proof(s, message);
    }
}

/* Keys of both directions: of the secret, of everything that was said (both nonces and unique ids),
 * and of who sends. */
static apr_status_t direction(const sc_shake_t *s, int from_initiator, sc_seal_t *seal, int sealing)
{
    unsigned char info[sizeof(label_frames) + sizeof(s->said) + 1];
    unsigned char material[SC_KEY + SC_SEAL_IV];
    apr_status_t rv;

    memcpy(info, label_frames, sizeof(label_frames)); /* with its NUL */
    memcpy(info + sizeof(label_frames), s->said, sizeof(s->said));
    info[sizeof(info) - 1] = from_initiator ? 'i' : 'r';
    rv = sc_hkdf_expand(s->keys->root, info, sizeof(info), material, sizeof(material));
    if (rv == APR_SUCCESS) {
        rv = sc_seal_init(seal, material, sealing);
    }
    sc_cleanse(material, sizeof(material));
    return rv;
}

apr_status_t sc_shake_seals(const sc_shake_t *s, sc_seal_t *sending, sc_seal_t *receiving)
{
    apr_status_t rv;

    memset(sending, 0, sizeof(*sending));
    memset(receiving, 0, sizeof(*receiving));
    if (s->step != SC_SHAKE_DONE) {
        return APR_EACCES;
    }
    rv = direction(s, s->initiator, sending, 1);
    return rv == APR_SUCCESS ? direction(s, !s->initiator, receiving, 0) : rv;
}

int sc_shake_is(const void *data, apr_size_t len)
{
    return len == SC_SHAKE_HELLO && memcmp(data, magic, sizeof(magic)) == 0;
}

/* ---- sealed frames -------------------------------------------------------------------------- */

static void sealed_head(unsigned char head[FRAME_HEAD], apr_size_t len)
{
    memcpy(head, start_mark, MARK_LEN);
    put_u32(head + MARK_LEN, (apr_uint32_t)len);
}

apr_status_t sc_sealed_put(sc_buf_t *b, sc_seal_t *seal, const void *frame, apr_size_t len)
{
    apr_size_t data = len - SC_FRAME_OVERHEAD;
    unsigned char *out = sc_buf_reserve(b, len + SC_SEAL_TAG);
    apr_status_t rv;

    if (out == NULL) {
        return b->err;
    }
    sealed_head(out, data + SC_SEAL_TAG);
    rv = sc_seal(seal, out, FRAME_HEAD, (const unsigned char *)frame + FRAME_HEAD, data,
                 out + FRAME_HEAD);
    memcpy(out + FRAME_HEAD + data + SC_SEAL_TAG, end_mark, MARK_LEN);
    if (rv == APR_SUCCESS) {
        b->len += len + SC_SEAL_TAG;
    }
    return rv;
}

apr_status_t sc_sealed_open(sc_seal_t *seal, unsigned char *data, apr_size_t *len)
{
    unsigned char head[FRAME_HEAD];

    if (*len < SC_SEAL_TAG) {
        return APR_EACCES;
    }
    sealed_head(head, *len);
    *len -= SC_SEAL_TAG;
    return sc_open(seal, head, sizeof(head), data, *len);
}

apr_status_t sc_sealed_ack(sc_seal_t *seal, int fail, unsigned char out[SC_SEALED_ACK])
{
    sealed_head(out, ACK_LEN + SC_SEAL_TAG);
    memcpy(out + FRAME_HEAD + ACK_LEN + SC_SEAL_TAG, end_mark, MARK_LEN);
    return sc_seal(seal, out, FRAME_HEAD, sc_frame_ack(fail) + FRAME_HEAD, ACK_LEN,
                   out + FRAME_HEAD);
}

apr_status_t sc_sealed_answer(sc_seal_t *seal, unsigned char *bytes, apr_size_t n, int *fail)
{
    unsigned char head[FRAME_HEAD];
    unsigned char *data = bytes + FRAME_HEAD;
    apr_size_t len = ACK_LEN + SC_SEAL_TAG;

    sealed_head(head, len);
    if (memcmp(bytes, head, n < sizeof(head) ? n : sizeof(head)) != 0) {
        return APR_EACCES;
    }
    if (n < SC_SEALED_ACK) {
        return APR_EAGAIN;
    }
    if (memcmp(data + len, end_mark, MARK_LEN) != 0 ||
        sc_sealed_open(seal, data, &len) != APR_SUCCESS) {
        return APR_EACCES;
    }
    for (*fail = 0; *fail <= 1; ++*fail) {
        if (memcmp(data, sc_frame_ack(*fail) + FRAME_HEAD, ACK_LEN) == 0) {
            return APR_SUCCESS;
        }
    }
    return APR_EACCES;
}
