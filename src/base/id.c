/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Session ids and unique member ids.
 *
 * Random bytes come from getrandom(2): it needs no descriptor and no /dev (so it works in a chroot
 * and right after a fork), and it blocks only until the system's generator has been seeded once.
 * A session id is a bearer token, so there is no fallback to a weaker source: no random, no id.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "sc_base.h"

static const char hex_digits[] = "0123456789ABCDEF";

apr_status_t sc_random(void *bytes, apr_size_t n)
{
    unsigned char *out = bytes;

    while (n > 0) {
        ssize_t got = getrandom(out, n, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno;
        }
        out += got;
        n -= (apr_size_t)got;
    }
    return APR_SUCCESS;
}

/* Values of upper-case hex digits plus one, 0 for everything else; independent of the locale. */
static const unsigned char hex_values[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static int hex_value(char c)
{
    return hex_values[(unsigned char)c] - 1;
}

/* Ids are parsed for each request, so eight digits at a time: each byte of a word is one of them,
 * the first one the lowest. No sum below carries into the next byte, as none begins above 0x7f. */
#define EACH(byte) (0x0101010101010101 * (apr_uint64_t)(byte))
#define AT_LEAST(w, c) ((w) + EACH(0x80 - (c))) /* the highest bit of each byte tells */

#if APR_IS_BIGENDIAN
#define LITTLE(bits, word) __builtin_bswap##bits(word)
#else
#define LITTLE(bits, word) (word)
#endif

/* @return those bytes' highest bits that are no digit */
static inline apr_uint64_t hex_word(unsigned char out[4], const char *text)
{
    apr_uint64_t in, w, digit, letter, v;
    apr_uint32_t four;

    memcpy(&in, text, sizeof(in));
    in = LITTLE(64, in);
    w = in & EACH(0x7f);
    digit = AT_LEAST(w, '0') & ~AT_LEAST(w, '9' + 1);
    letter = AT_LEAST(w, 'A') & ~AT_LEAST(w, 'F' + 1) & EACH(0x80);
    v = (w & EACH(0x0f)) + (letter >> 7) * 9;
    v = (v << 4 | v >> 8) & 0x00ff00ff00ff00ff;
    v = (v | v >> 8) & 0x0000ffff0000ffff;
    four = LITTLE(32, (apr_uint32_t)(v | v >> 16));
    memcpy(out, &four, sizeof(four));
    return (in | ~(digit | letter)) & EACH(0x80);
}

apr_status_t sc_id_parse(sc_id_t *id, const char *text, apr_size_t len)
{
    apr_uint64_t bad = 0;
    sc_id_t parsed;

    if (len != SC_ID_HEX) {
        return APR_EINVAL;
    }
    for (apr_size_t i = 0; i < SC_ID_LEN; i += 4) {
        bad |= hex_word(&parsed.b[i], &text[2 * i]);
    }
    if (bad) {
        return APR_EINVAL;
    }
    *id = parsed;
    return APR_SUCCESS;
}

int sc_hex_get(unsigned char *out, apr_size_t n, const char *text)
{
    apr_size_t i;

    for (i = 0; i < 2 * n; i++) {
        char c = text[i];
        int value = hex_value(c >= 'a' && c <= 'f' ? (char)(c - 'a' + 'A') : c);

        if (value < 0) {
            return 0;
        }
        out[i / 2] = (unsigned char)(out[i / 2] << 4 | value);
    }
    return 1;
}

char *sc_id_format(const sc_id_t *id, char out[SC_ID_HEX + 1])
{
    apr_size_t i;

    for (i = 0; i < SC_ID_LEN; i++) {
        out[2 * i] = hex_digits[id->b[i] >> 4];
        out[2 * i + 1] = hex_digits[id->b[i] & 0x0f];
    }
    out[SC_ID_HEX] = '\0';
    return out;
}

char *sc_id_mask(const sc_id_t *id, char out[SC_ID_MASKED])
{
    out[0] = hex_digits[id->b[0] >> 4];
    out[1] = hex_digits[id->b[0] & 0x0f];
    out[2] = hex_digits[id->b[1] >> 4];
    out[3] = hex_digits[id->b[1] & 0x0f];
    memcpy(out + 4, "...", 4);
    return out;
}

apr_status_t sc_id_generate(sc_id_t *id)
{
    return sc_random(id->b, sizeof(id->b));
}

apr_status_t sc_uid_generate(sc_uid_t *uid)
{
    apr_status_t rv = sc_random(uid->b, sizeof(uid->b));

    if (rv == APR_SUCCESS) {
        uid->b[6] = (unsigned char)(0x40 | (uid->b[6] & 0x0f)); /* version 4 */
        uid->b[8] = (unsigned char)(0x80 | (uid->b[8] & 0x3f)); /* RFC 4122 variant */
    }
    return rv;
}
