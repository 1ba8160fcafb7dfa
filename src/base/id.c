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

/* Values of upper-case hex digits plus one, 0 for everything else; independent of the locale. Ids
 * are parsed for each request. */
static const unsigned char hex_values[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static int hex_value(char c)
{
    return hex_values[(unsigned char)c] - 1;
}

apr_status_t sc_id_parse(sc_id_t *id, const char *text, apr_size_t len)
{
    sc_id_t parsed;
    apr_size_t i;

    if (len != SC_ID_HEX) {
        return APR_EINVAL;
    }
    for (i = 0; i < SC_ID_LEN; i++) {
        int hi = hex_value(text[2 * i]);
        int lo = hex_value(text[2 * i + 1]);
        if (hi < 0 || lo < 0) {
            return APR_EINVAL;
        }
        parsed.b[i] = (unsigned char)(hi << 4 | lo);
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
