/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Messages built to get far; see hostile.h.
 */
#include <string.h>

#include <apr_strings.h>
#include <apr_time.h>
#include <zlib.h>

#include "../../../src/interceptor/cipher.h"
#include "../../../src/interceptor/election.h"
#include "hostile.h"

#define BODY_MAX (64 * 1024)
#define GZIP_FLAG 0x100

/* ---- texts ------------------------------------------------------------------------------------
 */

/* tribes-protocol 4.1, 4.10, 4.12 */
static const unsigned char probes[][64] = {
    {0x4F, 0xA7, 0x73, 0x48, 0x79, 0x82, 0x43, 0xC9, 0x9F, 0x6F, 0x89, 0x80, 0xA1,
     0x5B, 0x07, 0x14, 0x7D, 0xD9, 0x52, 0x5B, 0xEB, 0xF1, 0x43, 0x9A, 0xB7, 0x7E,
     0xBE, 0x8F, 0x81, 0x67, 0x1E, 0xB6, 0x37, 0x15, 0xBE, 0x87, 0x45, 0x7E, 0x4C,
     0xA8, 0xBF, 0x0A, 0x4D, 0x13, 0x53, 0x38, 0x15, 0x32, 0x55, 0xF6, 0x94, 0xB7,
     0x3A, 0xFA, 0x40, 0x78, 0x91, 0x04, 0x7D, 0xD7, 0x72, 0x84, 0xC0, 0xD5},
    {0x4F, 0xA7, 0x73, 0x48, 0x79, 0xDF, 0x43, 0xC9, 0x9F, 0x6F, 0x89, 0x80, 0xA1,
     0x5B, 0x07, 0x14, 0x7D, 0xD9, 0x52, 0x5B, 0xEB, 0xDF, 0x43, 0x9A, 0xB7, 0x7E,
     0xBE, 0x8F, 0x81, 0x67, 0x1E, 0xB6, 0x37, 0x15, 0xBE, 0x87, 0x45, 0x21, 0x4C,
     0xA8, 0xBF, 0x0A, 0x4D, 0x13, 0x53, 0x38, 0x15, 0x32, 0x55, 0xF6, 0x94, 0xB7,
     0x3A, 0xDF, 0x21, 0x78, 0x91, 0x04, 0x7D, 0xD7, 0x72, 0x84, 0xC0, 0xD5},
    {0x4F, 0x87, 0xE7, 0xF1, 0xC5, 0x05, 0x40, 0x5E, 0xB3, 0x71, 0x89, 0xA8, 0x34,
     0x72, 0xC8, 0xD2, 0xEE, 0x66, 0x0A, 0x22, 0x81, 0xF7, 0x47, 0x73, 0xBA, 0x48,
     0x9B, 0x58, 0x48, 0x84, 0x7F, 0x6F, 0x4A, 0x4C, 0x8C, 0x32, 0x6F, 0x67, 0x41,
     0x03, 0xB3, 0x33, 0xDD, 0x00, 0x77, 0x75, 0x09, 0xE6, 0x77, 0x32, 0xB5, 0x97,
     0x9A, 0x24, 0x4F, 0x25, 0xBC, 0xAC, 0x85, 0x0F, 0xEA, 0x93, 0x6A, 0xC9},
};

/* 4.11 */
static const unsigned char confirm_start[] = {0x71, 0x01, 0xC6, 0x02, 0xDE, 0xC4, 0x4B, 0xB2,
                                              0x9B, 0xF4, 0x20, 0xE3, 0x20, 0x6F, 0xD8, 0x04};
static const unsigned char confirm_end[] = {0x36, 0xF3, 0x5A, 0x6E, 0x2F, 0xE1, 0x4B, 0xE8,
                                            0xAF, 0xE3, 0x24, 0x34, 0xC6, 0x4D, 0x92, 0x38};

/** That of one of the few ids that built messages have, or of the one that is under way. */
static void put_confirmation(fuzz_in_t *in, sc_buf_t *b, const sc_packet_t *mail)
{
    unsigned int which = fuzz_below(in, 8);
    sc_uid_t id;

    memset(&id, 0, sizeof(id));
    id.b[0] = (unsigned char)which;
    if (which >= 4 && mail != NULL) {
        id = mail->id;
    }
    sc_put(b, confirm_start, sizeof(confirm_start));
    sc_put(b, &id, sizeof(id));
    sc_put(b, confirm_end, sizeof(confirm_end));
}

static void put_envelope(fuzz_in_t *in, sc_buf_t *b)
{
    const unsigned char *p;
    size_t len;

    /* "SCE1", version, stream, seq, store, lsn, records */
    sc_put(b, "SCE1\1", 5);
    sc_put_u64(b, fuzz_below(in, 3));
    sc_put_varint(b, fuzz_number(in));
    sc_put_u64(b, 1000 + fuzz_below(in, 8));
    sc_put_varint(b, fuzz_number(in));
    while (in->left > 0 && b->len < 2000 && fuzz_below(in, 2) != 0) {
        p = fuzz_text(in, 200, &len);
        sc_put_str(b, p, len);
    }
}

/* ---- elections --------------------------------------------------------------------------------
 */

static apr_size_t behind_member(const sc_buf_t *b, apr_size_t at)
{
    sc_rd_t r;

    sc_rd_init(&r, b->data + at, b->len - at);
    return at + 4 + sc_get_u32(&r);
}

/** A token or a view: as one that is under way, with something changed, or a new one. */
static void put_election(fuzz_in_t *in, sc_buf_t *b, const sc_packet_t *mail)
{
    static sc_election_t e;
    unsigned int how = fuzz_u8(in);
    unsigned int more = fuzz_below(in, 8);
    apr_size_t at;
    sc_member_t m;

    if (mail == NULL || (how & 1) ||
        sc_election_get(&e, mail->body, mail->body_len) != APR_SUCCESS) {
        memset(&e, 0, sizeof(e));
        e.id.b[0] = (unsigned char)fuzz_below(in, 32);
        fuzz_member(in, &e.leader);
        fuzz_member(in, &e.source);
        more++;
    }
    e.conf = how & 2 ? !e.conf : e.conf;
    if (how & 4) {
        fuzz_member(in, &e.source);
    }
    if (how & 8) {
        fuzz_member(in, &e.leader);
    }
    for (; more > 0; more--) {
        fuzz_member(in, &m);
        if ((how & 16) && sc_members_remove(&e.members, &m)) {
            continue;
        }
        (void)sc_members_put(&e.members, &m);
    }
    at = b->len;
    sc_election_put(b, &e);
    if ((how & 0xe0) == 0xe0) { /* another number of members than there are */
        at = behind_member(b, behind_member(b, at + 16));
        sc_buf_patch_u32(b, at, (apr_uint32_t)fuzz_number(in));
    }
}

void fuzz_body(fuzz_in_t *in, sc_buf_t *b, const sc_packet_t *mail)
{
    static const unsigned char zeros[4096];
    unsigned int how = fuzz_below(in, 12);
    const unsigned char *p;
    size_t len;

    switch (how) {
    case 0:
        sc_put(b, "Local StaticMember Notification Data", 36);
        break;
    case 1:
        sc_put(b, "Local StaticMember Shutdown Data", 32);
        break;
    case 2:
        sc_put(b, probes[fuzz_below(in, 3)], sizeof(probes[0]));
        break;
    case 3:
        put_confirmation(in, b, mail);
        break;
    case 4:
    case 5:
        put_election(in, b, mail);
        break;
    case 6:
    case 7:
    case 8:
        put_envelope(in, b);
        break;
    case 9: /* large, in a short input */
        sc_put(b, zeros, 16 * (apr_size_t)fuzz_u8(in));
        return;
    default:
        p = fuzz_text(in, 8192, &len);
        sc_put(b, p, len);
        return;
    }
    fuzz_damage(in, b);
}

/* ---- what links do ----------------------------------------------------------------------------
 */

static const char *attribute(const sc_config_interceptor_t *c, const char *name, const char *dflt)
{
    apr_uint32_t i;

    for (i = 0; i < c->nattrs; i++) {
        if (strcmp(c->attr[i].name, name) == 0) {
            dflt = c->attr[i].value;
        }
    }
    return dflt;
}

static sc_cipher_t *cipher_of(const sc_config_interceptor_t *c)
{
    const char *text = attribute(c, "encryptionKey", "");
    unsigned char key[32];
    sc_cipher_t *cipher;

    FUZZ_CHECK(strlen(text) <= 2 * sizeof(key) && sc_hex_get(key, strlen(text) / 2, text));
    FUZZ_CHECK(sc_cipher_create(&cipher, attribute(c, "encryptionAlgorithm", "AES/GCM/NoPadding"),
                                key, strlen(text) / 2) == APR_SUCCESS);
    return cipher;
}

static apr_uint64_t stamp(fuzz_in_t *in, apr_time_t now)
{
    static const apr_int64_t off[] = {0, -1, 1, -9999, 9999, -10001, 10001, -60000};
    unsigned int how = fuzz_below(in, 16);

    return how < 8    ? (apr_uint64_t)(apr_time_as_msec(now) + off[how])
           : how == 8 ? fuzz_u64(in)
                      : (apr_uint64_t)apr_time_as_msec(now);
}

static void replace(sc_buf_t *body, const sc_buf_t *with)
{
    sc_buf_clear(body);
    sc_put(body, with->data, with->len);
}

static void seal(fuzz_in_t *in, sc_cipher_t *cipher, apr_time_t now, sc_buf_t *body)
{
    unsigned char iv[SC_CIPHER_IV_MAX];
    sc_buf_t out;

    sc_buf_init(&out, BODY_MAX + SC_CIPHER_GROWS);
    memset(iv, (int)fuzz_u8(in), sizeof(iv)); /* the same one again is a repetition */
    FUZZ_CHECK(sc_cipher_seal(cipher, iv, stamp(in, now), body->data, body->len, &out) ==
               APR_SUCCESS);
    replace(body, &out);
    sc_buf_free(&out);
}

static void encrypt(fuzz_in_t *in, const sc_config_interceptor_t *c, apr_time_t now, sc_buf_t *body)
{
    sc_cipher_t *cipher = cipher_of(c);

    seal(in, cipher, now, body);
    sc_cipher_destroy(cipher);
    fuzz_damage(in, body);
}

/** With zeros behind it that make it grow, or not. */
static void squeeze(fuzz_in_t *in, sc_packet_t *packet, sc_buf_t *body)
{
    static unsigned char out[BODY_MAX];
    static z_stream z; /* kept: it is large */
    static int begun;
    apr_size_t more = 64 * (apr_size_t)fuzz_u8(in);
    apr_size_t i;

    if (!begun) {
        FUZZ_CHECK(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        begun = 1;
    }
    for (i = 0; i < more; i++) {
        sc_put_u8(body, 0);
    }
    deflateReset(&z);
    z.next_in = body->data;
    z.avail_in = (uInt)body->len;
    z.next_out = out;
    z.avail_out = sizeof(out);
    if (deflate(&z, Z_FINISH) == Z_STREAM_END) {
        sc_buf_clear(body);
        sc_put(body, out, sizeof(out) - z.avail_out);
        packet->options |= GZIP_FLAG;
    }
    fuzz_damage(in, body);
}

static void number_piece(fuzz_in_t *in, sc_buf_t *body)
{
    unsigned int how = fuzz_u8(in);

    if (how < 0x80) {
        sc_put_u8(body, 0);
        return;
    }
    sc_put_u32(body, how & 0x40 ? (apr_uint32_t)fuzz_number(in) : how % 4);
    sc_put_u32(body, how & 0x20 ? (apr_uint32_t)fuzz_number(in) : 1 + how / 4 % 4);
    sc_put_u8(body, 1);
}

void fuzz_wrap(fuzz_in_t *in, const sc_config_t *c, apr_time_t now, sc_packet_t *packet,
               sc_buf_t *body)
{
    apr_uint32_t i;

    for (i = fuzz_below(in, c->ninterceptors + 1); i < c->ninterceptors; i++) {
        const sc_config_interceptor_t *link = &c->interceptor[i];

        if (strcmp(link->name, "Encrypt") == 0) {
            encrypt(in, link, now, body);
        } else if (strcmp(link->name, "Gzip") == 0) {
            if (fuzz_below(in, 4) != 0) {
                squeeze(in, packet, body);
            }
        } else if (strcmp(link->name, "Fragmentation") == 0) {
            number_piece(in, body);
        } else if (strcmp(link->name, "Order") == 0) {
            sc_put_u32(body, (apr_uint32_t)fuzz_number(in));
        }
    }
}

int fuzz_reseal(fuzz_in_t *in, const sc_config_t *c, apr_time_t now, const sc_packet_t *packet,
                sc_buf_t *body)
{
    const apr_size_t stamp_len = 8;
    apr_uint64_t timestamp;
    sc_cipher_t *cipher;
    apr_uint32_t i = 0;
    apr_status_t rv;
    sc_buf_t plain;

    while (i < c->ninterceptors && strcmp(c->interceptor[i].name, "Encrypt") != 0) {
        i++;
    }
    if (i == c->ninterceptors) {
        return 0;
    }
    sc_buf_init(&plain, BODY_MAX + SC_CIPHER_GROWS);
    cipher = cipher_of(&c->interceptor[i]);
    rv = sc_cipher_open(cipher, packet->body, packet->body_len, &timestamp, &plain);
    if (rv == APR_SUCCESS) {
        sc_put(body, plain.data + stamp_len, plain.len - stamp_len);
        fuzz_damage(in, body);
        seal(in, cipher, now, body);
    }
    sc_cipher_destroy(cipher);
    sc_buf_free(&plain);
    return rv == APR_SUCCESS;
}
