/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Keys, seals, handshakes and datagrams, without sockets: published vectors, and everything that
 * somebody between two members could do to the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "sc_frame.h"
#include "sc_secret.h"

void sc_suite_secret(void);
void sc_suite_secret_net(CU_pSuite s);

static const char old_secret[] = "the old secret of the cluster";
static const char new_secret[] = "the new secret of the cluster";

static apr_size_t hex(const char *text, unsigned char *out)
{
    apr_size_t n = 0;

    for (; text[0] != '\0' && text[1] != '\0'; text += 2) {
        char digits[3] = {text[0], text[1], '\0'};

        out[n++] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return n;
}

static int is_hex(const unsigned char *bytes, const char *text)
{
    unsigned char want[256];
    apr_size_t n = hex(text, want);

    return memcmp(bytes, want, n) == 0;
}

/* ---- vectors -------------------------------------------------------------------------------- */

/** RFC 5869, appendix A.1 to A.3. */
static void test_hkdf(void)
{
    static const struct {
        const char *key, *salt, *info, *root, *out;
    } v[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
         "f0f1f2f3f4f5f6f7f8f9", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
         "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
         "404142434445464748494a4b4c4d4e4f",
         "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
         "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
         "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
         "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
         "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
         "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
         "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
         "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
         "cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    apr_size_t i;

    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        unsigned char key[128], salt[128], info[128], root[SC_KEY], out[128];
        apr_size_t key_len = hex(v[i].key, key);
        apr_size_t salt_len = hex(v[i].salt, salt);
        apr_size_t info_len = hex(v[i].info, info);

        CU_ASSERT_EQUAL(sc_hkdf_extract(salt, salt_len, key, key_len, root), APR_SUCCESS);
        CU_ASSERT_TRUE(is_hex(root, v[i].root));
        CU_ASSERT_EQUAL(sc_hkdf_expand(root, info, info_len, out, strlen(v[i].out) / 2),
                        APR_SUCCESS);
        CU_ASSERT_TRUE(is_hex(out, v[i].out));
    }
}

/** The GCM specification's test cases 13, 14 and 16 (AES-256). */
static void test_gcm(void)
{
    static const struct {
        const char *key, *iv, *head, *plain, *sealed;
    } v[] = {
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "00000000000000000000000000000000",
         "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
        {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
         "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
         "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
         "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
         "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
         "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
         "76fc6ece0f4e1768cddf8853bb2d551b"},
    };
    apr_size_t i;

    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        unsigned char material[SC_KEY + SC_SEAL_IV], head[64], plain[128], out[128];
        apr_size_t head_len = hex(v[i].head, head);
        apr_size_t n = hex(v[i].plain, plain);
        sc_seal_t seal, open;

        hex(v[i].key, material);
        hex(v[i].iv, material + SC_KEY);
        CU_ASSERT_EQUAL_FATAL(sc_seal_init(&seal, material, 1), APR_SUCCESS);
        CU_ASSERT_EQUAL_FATAL(sc_seal_init(&open, material, 0), APR_SUCCESS);
        CU_ASSERT_EQUAL(sc_seal(&seal, head, head_len, plain, n, out), APR_SUCCESS);
        CU_ASSERT_TRUE(is_hex(out, v[i].sealed));
        CU_ASSERT_EQUAL(sc_open(&open, head, head_len, out, n), APR_SUCCESS);
        CU_ASSERT_EQUAL(memcmp(out, plain, n), 0);
        sc_seal_free(&seal);
        sc_seal_free(&open);
    }
}

/** The nonce counts: the same text is never sealed alike, and 2^40 frames on it still differs. */
static void test_nonces(void)
{
    unsigned char material[SC_KEY + SC_SEAL_IV];
    unsigned char a[20], b[20], c[20];
    sc_seal_t seal;

    memset(material, 7, sizeof(material));
    CU_ASSERT_EQUAL_FATAL(sc_seal_init(&seal, material, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_seal(&seal, "h", 1, "text", 4, a), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_seal(&seal, "h", 1, "text", 4, b), APR_SUCCESS);
    seal.count = APR_UINT64_C(1) << 40;
    CU_ASSERT_EQUAL(sc_seal(&seal, "h", 1, "text", 4, c), APR_SUCCESS);
    CU_ASSERT(memcmp(a, b, 20) != 0 && memcmp(a, c, 20) != 0 && memcmp(b, c, 20) != 0);
    seal.count = APR_UINT64_MAX; /* it ends before a nonce could come again */
    CU_ASSERT_NOT_EQUAL(sc_seal(&seal, "h", 1, "text", 4, c), APR_SUCCESS);
    sc_seal_free(&seal);
}

static void test_secrets(void)
{
    unsigned char long_one[SC_SECRET_LEN_MAX + 1];
    sc_secrets_t s, other;
    sc_keyring_t ring;

    memset(&s, 0, sizeof(s));
    memset(&other, 0, sizeof(other));
    memset(long_one, 'x', sizeof(long_one));
    CU_ASSERT_EQUAL(sc_secrets_add(&s, "fifteen bytes..", 15), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_secrets_add(&s, long_one, sizeof(long_one)), APR_EINVAL);
    CU_ASSERT_EQUAL(s.count, 0);
    CU_ASSERT_EQUAL(sc_secrets_add(&s, "sixteen bytes...", 16), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_secrets_add(&s, "sixteen bytes...", 16), APR_EEXIST);
    CU_ASSERT_EQUAL(sc_secrets_add(&s, long_one, sizeof(long_one) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_secrets_add(&s, new_secret, sizeof(new_secret)), APR_ENOSPC);
    CU_ASSERT_EQUAL(s.count, 2);
    /* an id names a secret wherever it stands */
    CU_ASSERT_EQUAL(sc_secrets_add(&other, long_one, sizeof(long_one) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(memcmp(other.id[0], s.id[1], SC_KEY_ID), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(s.id[0], s.id[1], SC_KEY_ID), 0);
    /* all keys differ */
    CU_ASSERT_EQUAL(sc_keyring_make(&ring, &s), APR_SUCCESS);
    CU_ASSERT_EQUAL(ring.count, 2);
    CU_ASSERT(memcmp(ring.keys[0].join, ring.keys[0].datagram, SC_KEY) != 0);
    CU_ASSERT(memcmp(ring.keys[0].join, ring.keys[0].root, SC_KEY) != 0);
    CU_ASSERT(memcmp(ring.keys[0].join, ring.keys[1].join, SC_KEY) != 0);
    CU_ASSERT_PTR_EQUAL(sc_keyring_find(&ring, s.id[1]), &ring.keys[1]);
    CU_ASSERT_PTR_NULL(sc_keyring_find(&ring, ring.keys[0].join));
    CU_ASSERT_EQUAL(sc_keyring_make(&ring, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(ring.count, 0);
}

/* ---- handshakes ----------------------------------------------------------------------------- */

static sc_keyring_t ring_of(const char *first, const char *second)
{
    sc_secrets_t s;
    sc_keyring_t ring;

    memset(&s, 0, sizeof(s));
    CU_ASSERT_EQUAL_FATAL(sc_secrets_add(&s, first, strlen(first)), APR_SUCCESS);
    if (second != NULL) {
        CU_ASSERT_EQUAL_FATAL(sc_secrets_add(&s, second, strlen(second)), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL_FATAL(sc_keyring_make(&ring, &s), APR_SUCCESS);
    return ring;
}

static sc_uid_t uid_of(int n)
{
    sc_uid_t uid;

    memset(&uid, 0, sizeof(uid));
    uid.b[3] = (unsigned char)n;
    return uid;
}

/** A message on its way. */
typedef struct letter_t {
    unsigned char b[SC_SHAKE_MAX];
    apr_size_t n;
} letter_t;

/** One connection between two sides, and the three messages as they went. */
typedef struct pair_t {
    sc_keyring_t a_ring;
    sc_keyring_t b_ring;
    sc_shake_t a;
    sc_shake_t b;
    letter_t hello;
    letter_t reply;
    letter_t proof;
} pair_t;

/** Give a side bytes, as much at a time as it has room for. */
static apr_status_t give(sc_shake_t *s, const letter_t *in, letter_t *out)
{
    apr_status_t rv = APR_EAGAIN;
    apr_size_t at = 0;

    while (at < in->n && rv == APR_EAGAIN) {
        apr_size_t room;
        unsigned char *p = sc_shake_room(s, &room);

        room = room < in->n - at ? room : in->n - at;
        room = room > 7 ? 7 : room; /* in pieces, as TCP may */
        memcpy(p, in->b + at, room);
        at += room;
        rv = sc_shake_heard(s, room, out->b, &out->n);
        if (out->n > 0) {
            break;
        }
    }
    return rv;
}

static void begin_pair(pair_t *p, const char *a1, const char *a2, const char *b1, const char *b2)
{
    sc_uid_t a = uid_of(1);
    sc_uid_t b = uid_of(2);

    memset(p, 0, sizeof(*p));
    p->a_ring = ring_of(a1, a2);
    p->b_ring = ring_of(b1, b2);
    CU_ASSERT_EQUAL_FATAL(sc_shake_call(&p->a, &p->a_ring, &a, &b, p->hello.b, &p->hello.n),
                          APR_SUCCESS);
    sc_shake_answer(&p->b, &p->b_ring, &b);
}

/** All the way. @return how it ended for the receiver, or for the initiator if that failed */
static apr_status_t shake(pair_t *p)
{
    apr_status_t rv = give(&p->b, &p->hello, &p->reply);
    letter_t none;

    if (rv == APR_EAGAIN) {
        rv = give(&p->a, &p->reply, &p->proof);
    }
    return rv == APR_SUCCESS ? give(&p->b, &p->proof, &none) : rv;
}

static void test_handshake(void)
{
    static const char text[] = "FLT2002\0\0\0\5helloTLF2003";
    unsigned char frame[64];
    sc_seal_t a_out, a_in, b_out, b_in;
    sc_uid_t uid = uid_of(2);
    sc_uid_t self = uid_of(1);
    apr_size_t len;
    sc_buf_t wire;
    pair_t p;
    int fail;

    begin_pair(&p, old_secret, NULL, old_secret, NULL);
    CU_ASSERT_EQUAL(sc_shake_seals(&p.a, &a_out, &a_in), APR_EACCES); /* not yet */
    CU_ASSERT_EQUAL(shake(&p), APR_SUCCESS);
    CU_ASSERT(p.hello.n <= SC_SHAKE_MAX && p.reply.n <= SC_SHAKE_MAX);
    CU_ASSERT_EQUAL(memcmp(&p.a.peer, &uid, sizeof(uid)), 0);
    uid = uid_of(1);
    CU_ASSERT_EQUAL(memcmp(&p.b.peer, &uid, sizeof(uid)), 0);
    CU_ASSERT_EQUAL_FATAL(sc_shake_seals(&p.a, &a_out, &a_in), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_shake_seals(&p.b, &b_out, &b_in), APR_SUCCESS);
    /* a frame there, an acknowledgement back */
    sc_buf_init(&wire, 1000);
    CU_ASSERT_EQUAL(sc_sealed_put(&wire, &a_out, text, sizeof(text) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(wire.len, sizeof(text) - 1 + SC_SEAL_TAG);
    CU_ASSERT_EQUAL(memcmp(wire.data, "FLT2002\0\0\0\x15", 11), 0);
    CU_ASSERT_EQUAL(memcmp(wire.data + wire.len - 7, "TLF2003", 7), 0);
    CU_ASSERT_PTR_NULL(memmem(wire.data, wire.len, "hello", 5));
    len = 5 + SC_SEAL_TAG;
    CU_ASSERT_EQUAL(sc_sealed_open(&b_in, wire.data + 11, &len), APR_SUCCESS);
    CU_ASSERT(len == 5 && memcmp(wire.data + 11, "hello", 5) == 0);
    for (fail = 0; fail <= 1; fail++) {
        int got = -1;

        CU_ASSERT_EQUAL(sc_sealed_ack(&b_out, fail, frame), APR_SUCCESS);
        CU_ASSERT_EQUAL(sc_sealed_answer(&a_in, frame, 20, &got), APR_EAGAIN);
        CU_ASSERT_EQUAL(sc_sealed_answer(&a_in, frame, SC_SEALED_ACK, &got), APR_SUCCESS);
        CU_ASSERT_EQUAL(got, fail);
    }
    sc_buf_free(&wire);
    sc_seal_free(&a_out);
    sc_seal_free(&a_in);
    sc_seal_free(&b_out);
    sc_seal_free(&b_in);
    /* somebody whose unique id is not known yet says who he is */
    uid = uid_of(0);
    CU_ASSERT_EQUAL(sc_shake_call(&p.a, &p.a_ring, &self, &uid, p.hello.b, &p.hello.n),
                    APR_SUCCESS);
    self = uid_of(2);
    sc_shake_answer(&p.b, &p.b_ring, &self);
    CU_ASSERT_EQUAL(shake(&p), APR_SUCCESS);
    CU_ASSERT_EQUAL(p.a.peer.b[3], 2);
}

static void test_who(void)
{
    sc_uid_t other = uid_of(3);
    pair_t p;

    /* another secret; a secret of the same id cannot be had */
    begin_pair(&p, old_secret, NULL, new_secret, NULL);
    CU_ASSERT_EQUAL(shake(&p), APR_EACCES);
    CU_ASSERT(strstr(p.b.why, "another secret") != NULL && p.reply.n == 0);
    /* a former life, or somebody else */
    begin_pair(&p, old_secret, NULL, old_secret, NULL);
    sc_shake_answer(&p.b, &p.b_ring, &other);
    CU_ASSERT_EQUAL(shake(&p), APR_EACCES);
    CU_ASSERT(p.b.stale && p.reply.n == 0);
    /* nobody */
    begin_pair(&p, old_secret, NULL, old_secret, NULL);
    other = uid_of(0);
    CU_ASSERT_EQUAL(sc_shake_call(&p.a, &p.a_ring, &other, &p.b.self, p.hello.b, &p.hello.n),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(shake(&p), APR_EACCES);
    CU_ASSERT_FALSE(p.b.stale);
    /* who answers for another one: with the secret, but not called */
    begin_pair(&p, old_secret, NULL, old_secret, NULL);
    CU_ASSERT_EQUAL(give(&p.b, &p.hello, &p.reply), APR_EAGAIN);
    p.a.peer = uid_of(4);
    CU_ASSERT_EQUAL(give(&p.a, &p.reply, &p.proof), APR_EACCES);
    CU_ASSERT_EQUAL(p.proof.n, 0);
}

/** Every bit of every message. */
static void test_flips(void)
{
    int which;
    apr_size_t bit;

    for (which = 0; which < 3; which++) {
        for (bit = 0; bit < 8 * SC_SHAKE_MAX; bit++) {
            letter_t none;
            letter_t *hurt;
            apr_status_t rv;
            pair_t p;

            begin_pair(&p, old_secret, new_secret, old_secret, new_secret);
            hurt = which == 0 ? &p.hello : which == 1 ? &p.reply : &p.proof;
            if (which > 0) {
                CU_ASSERT_EQUAL(give(&p.b, &p.hello, &p.reply), APR_EAGAIN);
            }
            if (which > 1) {
                CU_ASSERT_EQUAL(give(&p.a, &p.reply, &p.proof), APR_SUCCESS);
            }
            if (bit / 8 >= hurt->n) {
                break;
            }
            hurt->b[bit / 8] ^= (unsigned char)(1u << (bit % 8));
            rv = which == 0   ? give(&p.b, &p.hello, &p.reply)
                 : which == 1 ? give(&p.a, &p.reply, &p.proof)
                              : give(&p.b, &p.proof, &none);
            CU_ASSERT_EQUAL(rv, APR_EACCES);
            CU_ASSERT_EQUAL(which == 1 ? p.proof.n : which == 0 ? p.reply.n : 0, 0);
            CU_ASSERT_EQUAL(which == 1 ? p.a.step : p.b.step, SC_SHAKE_FAILED);
        }
    }
}

/** Cut anywhere: more is waited for, nothing is believed, and nothing more is read than the message
 *  has. */
static void test_cuts(void)
{
    sc_uid_t self = uid_of(2);
    letter_t part;
    letter_t out;
    apr_size_t n;
    pair_t p;

    begin_pair(&p, old_secret, NULL, old_secret, NULL);
    for (n = 0; n < p.hello.n; n++) {
        apr_size_t room;

        sc_shake_answer(&p.b, &p.b_ring, &self);
        part = p.hello;
        part.n = n;
        out.n = 0;
        CU_ASSERT_EQUAL(give(&p.b, &part, &out), APR_EAGAIN);
        CU_ASSERT_EQUAL(out.n, 0);
        (void)sc_shake_room(&p.b, &room);
        CU_ASSERT_EQUAL(room, p.hello.n - n);
    }
    /* what is said before it is asked for */
    CU_ASSERT_EQUAL(sc_shake_heard(&p.b, 1000, out.b, &out.n), APR_EACCES);
}

/** Own words, old words, and words of another connection. */
static void test_replays(void)
{
    letter_t out;
    sc_uid_t a = uid_of(1);
    sc_uid_t nobody = uid_of(0);
    pair_t one;
    pair_t two;

    begin_pair(&one, old_secret, NULL, old_secret, NULL);
    CU_ASSERT_EQUAL(shake(&one), APR_SUCCESS);
    /* the initiator hears its own hello, at its receiver and as an answer */
    sc_shake_answer(&two.b, &one.a_ring, &a);
    out.n = 0;
    CU_ASSERT_EQUAL(give(&two.b, &one.hello, &out), APR_EACCES);
    begin_pair(&two, old_secret, NULL, old_secret, NULL);
    CU_ASSERT_EQUAL(give(&two.a, &two.hello, &out), APR_EACCES);
    /* also when it does not know whom it calls, and somebody leads it to itself */
    CU_ASSERT_EQUAL(sc_shake_call(&two.a, &two.a_ring, &a, &nobody, two.hello.b, &two.hello.n),
                    APR_SUCCESS);
    sc_shake_answer(&two.b, &one.a_ring, &a);
    CU_ASSERT_EQUAL(give(&two.b, &two.hello, &out), APR_EACCES);
    CU_ASSERT_EQUAL(out.n, 0);
    /* all that an initiator has said, once more */
    begin_pair(&two, old_secret, NULL, old_secret, NULL);
    two.hello = one.hello;
    CU_ASSERT_EQUAL(give(&two.b, &one.hello, &two.reply), APR_EAGAIN);
    CU_ASSERT_NOT_EQUAL(memcmp(two.reply.b, one.reply.b, two.reply.n), 0);
    CU_ASSERT_EQUAL(give(&two.b, &one.proof, &out), APR_EACCES);
    CU_ASSERT_PTR_NOT_NULL(strstr(two.b.why, "before"));
    /* all that a receiver has said, once more */
    begin_pair(&two, old_secret, NULL, old_secret, NULL);
    CU_ASSERT_EQUAL(give(&two.a, &one.reply, &out), APR_EACCES);
    /* two connections at once, their ends exchanged */
    begin_pair(&one, old_secret, NULL, old_secret, NULL);
    begin_pair(&two, old_secret, NULL, old_secret, NULL);
    CU_ASSERT_EQUAL(give(&one.b, &one.hello, &one.reply), APR_EAGAIN);
    CU_ASSERT_EQUAL(give(&two.b, &two.hello, &two.reply), APR_EAGAIN);
    CU_ASSERT_EQUAL(give(&one.a, &one.reply, &one.proof), APR_SUCCESS);
    CU_ASSERT_EQUAL(give(&two.a, &one.reply, &out), APR_EACCES);
    CU_ASSERT_EQUAL(give(&two.b, &one.proof, &out), APR_EACCES);
}

/** Two secrets at once: a node at a time gets the new one. */
static void test_rotation(void)
{
    static const struct {
        const char *a1, *a2, *b1, *b2;
        int good;
    } v[] = {
        {old_secret, NULL, old_secret, new_secret, 1},
        {old_secret, new_secret, old_secret, NULL, 1},
        {new_secret, old_secret, old_secret, new_secret, 1},
        {old_secret, new_secret, new_secret, old_secret, 1},
        {new_secret, NULL, new_secret, old_secret, 1},
        {new_secret, old_secret, new_secret, NULL, 1},
        {new_secret, old_secret, old_secret, NULL, 0},
        {new_secret, NULL, old_secret, NULL, 0},
    };
    apr_size_t i;

    for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        pair_t p;

        begin_pair(&p, v[i].a1, v[i].a2, v[i].b1, v[i].b2);
        CU_ASSERT_EQUAL(shake(&p), v[i].good ? APR_SUCCESS : APR_EACCES);
    }
}

/* ---- sealed frames -------------------------------------------------------------------------- */

typedef struct seals_t {
    sc_seal_t a_out, a_in, b_out, b_in;
} seals_t;

static void make_seals(seals_t *s)
{
    pair_t p;

    begin_pair(&p, old_secret, NULL, old_secret, NULL);
    CU_ASSERT_EQUAL_FATAL(shake(&p), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_shake_seals(&p.a, &s->a_out, &s->a_in), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_shake_seals(&p.b, &s->b_out, &s->b_in), APR_SUCCESS);
}

static void free_seals(seals_t *s)
{
    sc_seal_free(&s->a_out);
    sc_seal_free(&s->a_in);
    sc_seal_free(&s->b_out);
    sc_seal_free(&s->b_in);
}

static apr_status_t open_frame(sc_seal_t *seal, const sc_buf_t *wire)
{
    unsigned char copy[256];
    apr_size_t len = wire->len - SC_FRAME_OVERHEAD;

    memcpy(copy, wire->data + 11, len);
    return sc_sealed_open(seal, copy, &len);
}

static void test_frames(void)
{
    static const char text[] = "FLT2002\0\0\0\5helloTLF2003";
    sc_buf_t one, two;
    apr_size_t len;
    apr_size_t bit;
    seals_t s, other;

    make_seals(&s);
    make_seals(&other);
    sc_buf_init(&one, 1000);
    sc_buf_init(&two, 1000);
    CU_ASSERT_EQUAL(sc_sealed_put(&one, &s.a_out, text, sizeof(text) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_sealed_put(&two, &s.a_out, text, sizeof(text) - 1), APR_SUCCESS);
    for (bit = 8 * 11; bit < 8 * (one.len - 7); bit++) { /* the rest is compared by the parser */
        one.data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        s.b_in.count = 0;
        CU_ASSERT_EQUAL(open_frame(&s.b_in, &one), APR_EACCES);
        one.data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
    }
    /* the second one first, the first one twice, another connection's, its own back */
    s.b_in.count = 0;
    CU_ASSERT_EQUAL(open_frame(&s.b_in, &two), APR_EACCES);
    s.b_in.count = 0;
    CU_ASSERT_EQUAL(open_frame(&s.b_in, &one), APR_SUCCESS);
    CU_ASSERT_EQUAL(open_frame(&s.b_in, &one), APR_EACCES);
    CU_ASSERT_EQUAL(open_frame(&other.b_in, &one), APR_EACCES);
    CU_ASSERT_EQUAL(open_frame(&s.a_in, &one), APR_EACCES);
    /* its length is part of what is sealed: cut, or longer */
    s.b_in.count = 1;
    two.len--;
    CU_ASSERT_EQUAL(open_frame(&s.b_in, &two), APR_EACCES);
    for (len = 0; len < SC_SEAL_TAG; len++) {
        unsigned char bytes[SC_SEAL_TAG] = {0};
        apr_size_t n = len;

        CU_ASSERT_EQUAL(sc_sealed_open(&s.b_in, bytes, &n), APR_EACCES);
    }
    sc_buf_free(&one);
    sc_buf_free(&two);
    free_seals(&s);
    free_seals(&other);
}

static void test_acks(void)
{
    unsigned char ack[SC_SEALED_ACK], next[SC_SEALED_ACK], copy[SC_SEALED_ACK];
    seals_t s, other;
    apr_size_t bit;
    int fail;

    make_seals(&s);
    make_seals(&other);
    CU_ASSERT_EQUAL(sc_sealed_ack(&s.b_out, 0, ack), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_sealed_ack(&s.b_out, 0, next), APR_SUCCESS);
    for (bit = 0; bit < 8 * SC_SEALED_ACK; bit++) {
        memcpy(copy, ack, sizeof(copy));
        copy[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        s.a_in.count = 0;
        CU_ASSERT_EQUAL(sc_sealed_answer(&s.a_in, copy, sizeof(copy), &fail), APR_EACCES);
    }
    /* the plain one; one of another connection; one that was there before */
    memcpy(copy, sc_frame_ack(0), SC_ACK_FRAME);
    CU_ASSERT_EQUAL(sc_sealed_answer(&s.a_in, copy, SC_ACK_FRAME, &fail), APR_EACCES);
    memcpy(copy, ack, sizeof(copy));
    CU_ASSERT_EQUAL(sc_sealed_answer(&other.a_in, copy, sizeof(copy), &fail), APR_EACCES);
    s.a_in.count = 0;
    memcpy(copy, ack, sizeof(copy));
    CU_ASSERT_EQUAL(sc_sealed_answer(&s.a_in, copy, sizeof(copy), &fail), APR_SUCCESS);
    memcpy(copy, ack, sizeof(copy));
    CU_ASSERT_EQUAL(sc_sealed_answer(&s.a_in, copy, sizeof(copy), &fail), APR_EACCES);
    s.a_in.count = 1;
    CU_ASSERT_EQUAL(sc_sealed_answer(&s.a_in, next, sizeof(next), &fail), APR_SUCCESS);
    /* what the other side has sealed but is neither */
    CU_ASSERT_EQUAL(sc_seal(&s.b_out, "FLT2002\0\0\0\x13", 11, "\1\2\3", 3, copy + 11),
                    APR_SUCCESS);
    memcpy(copy, "FLT2002\0\0\0\x13", 11);
    memcpy(copy + SC_SEALED_ACK - 7, "TLF2003", 7);
    CU_ASSERT_EQUAL(sc_sealed_answer(&s.a_in, copy, sizeof(copy), &fail), APR_EACCES);
    free_seals(&s);
    free_seals(&other);
}

/* ---- datagrams ------------------------------------------------------------------------------ */

static apr_status_t datagram_in(sc_guard_t *g, const sc_keyring_t *ring, const sc_buf_t *b)
{
    apr_size_t len = b->len;
    apr_status_t rv = sc_datagram_open(g, ring, b->data, &len);

    if (rv == APR_SUCCESS) {
        CU_ASSERT(len == 6 && memcmp(b->data, "member", 6) == 0);
    }
    return rv;
}

static void say(sc_buf_t *b, const sc_keyring_t *ring, int who, apr_uint64_t count)
{
    sc_uid_t uid = uid_of(who);

    sc_buf_init(b, 1000);
    sc_put(b, "member", 6);
    CU_ASSERT_EQUAL_FATAL(sc_datagram_seal(ring, &uid, count, b), APR_SUCCESS);
}

static void test_datagrams(void)
{
    sc_keyring_t ring = ring_of(old_secret, NULL);
    sc_keyring_t both = ring_of(new_secret, old_secret);
    sc_keyring_t other = ring_of(new_secret, NULL);
    sc_guard_t *g = calloc(1, sizeof(*g));
    sc_buf_t one, three, foreign;
    apr_size_t bit;
    apr_size_t len;
    int i;

    say(&one, &ring, 1, 1);
    say(&three, &ring, 1, 3);
    say(&foreign, &other, 1, 9);
    CU_ASSERT_EQUAL(one.len, 6 + SC_DATAGRAM_TAIL);
    for (bit = 0; bit < 8 * one.len; bit++) {
        apr_status_t rv;

        one.data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        rv = datagram_in(g, &ring, &one);
        CU_ASSERT(rv == APR_EACCES || rv == APR_EINVAL);
        one.data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
    }
    for (len = 0; len < one.len; len++) {
        apr_size_t n = len;

        CU_ASSERT_NOT_EQUAL(sc_datagram_open(g, &ring, one.data, &n), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(datagram_in(g, &ring, &foreign), APR_EACCES);
    CU_ASSERT_EQUAL(datagram_in(g, &ring, &one), APR_SUCCESS); /* none of that was remembered */
    CU_ASSERT_EQUAL(datagram_in(g, &ring, &one), APR_EEXIST);
    CU_ASSERT_EQUAL(datagram_in(g, &ring, &three), APR_SUCCESS);
    CU_ASSERT_EQUAL(datagram_in(g, &ring, &one), APR_EEXIST);
    CU_ASSERT_EQUAL(datagram_in(g, &ring, &three), APR_EEXIST);
    /* rotation: both secrets are heard, and the numbers go on */
    CU_ASSERT_EQUAL(datagram_in(g, &both, &three), APR_EEXIST);
    CU_ASSERT_EQUAL(datagram_in(g, &both, &foreign), APR_SUCCESS);
    sc_buf_free(&one);
    /* the table is bounded; who speaks keeps its place */
    for (i = 2; i < 2 * SC_DATAGRAM_SENDERS; i++) {
        sc_uid_t uid = uid_of(1);

        sc_buf_init(&one, 1000);
        sc_put(&one, "member", 6);
        uid.b[8] = (unsigned char)(i >> 8);
        uid.b[9] = (unsigned char)i;
        CU_ASSERT_EQUAL(sc_datagram_seal(&ring, &uid, 1, &one), APR_SUCCESS);
        CU_ASSERT_EQUAL(datagram_in(g, &ring, &one), APR_SUCCESS);
        CU_ASSERT_EQUAL(datagram_in(g, &ring, &one), APR_EEXIST);
        sc_buf_free(&one);
        say(&one, &ring, 1, 10 + (apr_uint64_t)i);
        CU_ASSERT_EQUAL(datagram_in(g, &ring, &one), APR_SUCCESS);
        CU_ASSERT_EQUAL(datagram_in(g, &ring, &three), APR_EEXIST);
        sc_buf_free(&one);
    }
    CU_ASSERT_TRUE(sc_datagram_is_sealed(three.data, three.len));
    CU_ASSERT_FALSE(sc_datagram_is_sealed("member", 6));
    sc_buf_free(&three);
    sc_buf_free(&foreign);
    free(g);
}

void sc_suite_secret(void)
{
    CU_pSuite s = CU_add_suite("secret", NULL, NULL);

    CU_add_test(s, "HKDF, RFC 5869", test_hkdf);
    CU_add_test(s, "AES-256-GCM, published cases", test_gcm);
    CU_add_test(s, "nonces", test_nonces);
    CU_add_test(s, "secrets and keys", test_secrets);
    CU_add_test(s, "handshake", test_handshake);
    CU_add_test(s, "handshake: who is who", test_who);
    CU_add_test(s, "handshake: each bit of each message", test_flips);
    CU_add_test(s, "handshake: cut anywhere", test_cuts);
    CU_add_test(s, "handshake: reflected, replayed, spliced", test_replays);
    CU_add_test(s, "handshake: two secrets at once", test_rotation);
    CU_add_test(s, "sealed frames", test_frames);
    CU_add_test(s, "sealed acknowledgements", test_acks);
    CU_add_test(s, "datagrams", test_datagrams);
    sc_suite_secret_net(s);
}
