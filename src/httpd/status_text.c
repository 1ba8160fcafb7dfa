/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Numbers and names of the status page as text.
 *
 * Names come from the configuration and from other members, so any byte may be in them. Where a
 * form has to be UTF-8, what is not becomes U+FFFD.
 */

#include "status.h"

/* Length of the UTF-8 sequence at s (no overlong forms, no surrogates), 0 when it is none. */
static int utf8_length(const unsigned char *s)
{
    unsigned int low = 0x80, high = 0xbf;
    int n;

    if (s[0] < 0x80) {
        return 1;
    }
    n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] <= 0xf4 ? 4 : 0;
    if (n == 0 || s[0] < 0xc2) {
        return 0;
    }
    switch (s[0]) {
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    default:
        break;
    }
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (int i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

const char *sc_text_json(apr_pool_t *p, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    char *out = apr_palloc(p, 6 * strlen(text) + 3);
    char *o = out;

    *o++ = '"';
    while (*s) {
        int n = utf8_length(s);
        if (*s == '"' || *s == '\\') {
            *o++ = '\\';
            *o++ = (char)*s++;
        } else if (*s < 0x20 || *s == 0x7f || n == 0) {
            o += apr_snprintf(o, 7, "\\u%04x", n == 0 ? 0xfffd : *s);
            s++;
        } else {
            memcpy(o, s, (apr_size_t)n);
            o += n;
            s += n;
        }
    }
    *o++ = '"';
    *o = '\0';
    return out;
}

const char *sc_text_label(apr_pool_t *p, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    char *out = apr_palloc(p, 3 * strlen(text) + 1);
    char *o = out;

    while (*s) {
        int n = utf8_length(s);
        if (*s == '"' || *s == '\\' || *s == '\n') {
            *o++ = '\\';
            *o++ = *s == '\n' ? 'n' : (char)*s;
            s++;
        } else if (n == 0) {
            memcpy(o, "\xef\xbf\xbd", 3);
            o += 3;
            s++;
        } else {
            memcpy(o, s, (apr_size_t)n);
            o += n;
            s += n;
        }
    }
    *o = '\0';
    return out;
}

const char *sc_text_bytes(apr_pool_t *p, apr_uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes / 1024;
    apr_size_t i = 0;

    if (bytes < 1024) {
        return apr_psprintf(p, "%" APR_UINT64_T_FMT " B", bytes);
    }
    while (v >= 1023.95 && i + 1 < sizeof(units) / sizeof(units[0])) {
        v /= 1024;
        i++;
    }
    return apr_psprintf(p, "%.1f %s", v, units[i]);
}

const char *sc_text_number(apr_pool_t *p, apr_uint64_t n)
{
    const char *plain = apr_psprintf(p, "%" APR_UINT64_T_FMT, n);
    apr_size_t len = strlen(plain);
    char *out = apr_palloc(p, len + len / 3 + 1);
    char *o = out;

    for (apr_size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            *o++ = ',';
        }
        *o++ = plain[i];
    }
    *o = '\0';
    return out;
}

static const char *two(apr_pool_t *p, apr_int64_t n, const char *unit, apr_int64_t rest,
                       const char *small)
{
    return rest ? apr_psprintf(p, "%" APR_INT64_T_FMT " %s %" APR_INT64_T_FMT " %s", n, unit, rest,
                               small)
                : apr_psprintf(p, "%" APR_INT64_T_FMT " %s", n, unit);
}

const char *sc_text_duration(apr_pool_t *p, apr_time_t t)
{
    apr_int64_t s = apr_time_sec(t);

    if (t < 0) {
        return "0 ms";
    }
    if (s < 1) {
        return apr_psprintf(p, "%d ms", (int)apr_time_as_msec(t));
    }
    if (s < 10) {
        return apr_psprintf(p, "%.1f s", (double)t / APR_USEC_PER_SEC);
    }
    if (s < 120) {
        return two(p, s, "s", 0, "");
    }
    if (s < 3600) {
        return two(p, s / 60, "min", 0, "");
    }
    if (s < 86400) {
        return two(p, s / 3600, "h", s % 3600 / 60, "min");
    }
    return two(p, s / 86400, s < 2 * 86400 ? "day" : "days", s % 86400 / 3600, "h");
}

const char *sc_text_rate(apr_pool_t *p, apr_uint64_t sum, apr_uint64_t span)
{
    return apr_psprintf(p, "%.1f", span ? (double)sum * APR_USEC_PER_SEC / (double)span : 0.0);
}

const char *sc_text_command(apr_pool_t *p, apr_uint32_t how, apr_uint32_t code)
{
    switch (how) {
    case SC_COMMAND_NONE:
        return "none";
    case SC_COMMAND_RUNS:
        return "runs";
    case SC_COMMAND_DONE:
        return "good";
    case SC_COMMAND_EXIT:
        return apr_psprintf(p, "exit code %u", code);
    case SC_COMMAND_SIGNAL:
        return apr_psprintf(p, "signal %u", code);
    default:
        return "could not be run";
    }
}

const char *sc_text_role(apr_uint32_t role)
{
    return role == SC_ROLE_BALANCER ? "balancer" : role == SC_ROLE_FOREIGN ? "foreign" : "node";
}

const char *sc_text_member(apr_pool_t *p, const sc_board_member_t *m)
{
    int v6 = strchr(m->host, ':') != NULL;

    return m->route[0]
               ? m->route
               : apr_psprintf(p, "%s%s%s:%u", v6 ? "[" : "", m->host, v6 ? "]" : "", m->port);
}
