/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The session cookie as text: from a header to an id and a route; see sc_cookie.h.
 */
#include <string.h>

#include <apr_strings.h>

#include "sc_cookie.h"

int sc_route_valid(const char *text, apr_size_t len)
{
    apr_size_t i;

    if (len < 1 || len > SC_ROUTE_MAX) {
        return 0;
    }
    for (i = 0; i < len; i++) {
        char c = text[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_')) {
            return 0;
        }
    }
    return 1;
}

/** Parse a value. @return whether it is one of ours */
static int parse_value(apr_pool_t *p, const char *value, apr_size_t len, sc_cookie_t *out)
{
    const char *end = value + len;
    const char *hint;

    if (len >= 2 && value[0] == '"' && end[-1] == '"') { /* RFC 6265 allows quotes around it */
        value++;
        end--;
    }
    if (end - value < SC_ID_HEX || sc_id_parse(&out->id, value, SC_ID_HEX) != APR_SUCCESS) {
        return 0;
    }
    value += SC_ID_HEX;
    out->route = out->hint = "";
    if (value < end && *value == '-') {
        hint = ++value;
        while (value < end && *value != '.') {
            value++;
        }
        if (sc_route_valid(hint, (apr_size_t)(value - hint))) {
            out->hint = apr_pstrmemdup(p, hint, (apr_size_t)(value - hint));
        }
    }
    if (value == end) {
        return 1;
    }
    if (*value++ != '.') {
        return 0;
    }
    if (sc_route_valid(value, (apr_size_t)(end - value))) {
        out->route = apr_pstrmemdup(p, value, (apr_size_t)(end - value));
    }
    return 1;
}

int sc_cookie_take_from(apr_pool_t *p, const char *header, const char *name, sc_cookie_t *out,
                        const char **rest)
{
    apr_size_t name_len = strlen(name);
    char *left = NULL, *to = NULL;
    int taken = 0;

    for (const char *at = header; *at;) {
        const char *end = at + strcspn(at, ";");
        const char *from = at + strspn(at, " \t");
        const char *last = end;

        while (last > from && (last[-1] == ' ' || last[-1] == '\t')) {
            last--;
        }
        if (from < last && (apr_size_t)(last - from) > name_len && from[name_len] == '=' &&
            strncmp(from, name, name_len) == 0) {
            if (taken++ == 0) {
                /* what stays is copied as it is, so it cannot become longer */
                left = apr_palloc(p, strlen(header) + 1);
                memcpy(left, header, (apr_size_t)(at - header));
                to = left + (at - header);
                while (to > left && (to[-1] == ';' || to[-1] == ' ')) {
                    to--;
                }
            }
            if (out->kind != SC_COOKIE_OURS) {
                const char *value = from + name_len + 1;

                out->kind = parse_value(p, value, (apr_size_t)(last - value), out)
                                ? SC_COOKIE_OURS
                                : SC_COOKIE_FOREIGN;
            }
        } else if (taken && from < last) {
            const char *raw = to > left ? at : from;

            if (to > left) {
                *to++ = ';';
            }
            memcpy(to, raw, (apr_size_t)(last - raw));
            to += last - raw;
        }
        at = *end ? end + 1 : end;
    }
    if (taken) {
        *to = '\0';
        *rest = *left ? left : NULL;
    }
    return taken;
}
