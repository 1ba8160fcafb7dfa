/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The session cookie: taken out of requests, put into responses.
 *
 * The value is ID, ID.route or ID-backup.route; the part behind the dash is a hint for balancers
 * and means nothing here. The route is a hint as well and no part of the key, so one that cannot be
 * a route is as good as none; but what does not begin with an id is no cookie of ours.
 *
 * A request may carry the name more than once (cookies of different paths, or an attacker on a
 * neighbouring subdomain); all of them are taken out, the first that can be ours is tried. Only
 * ';' separates cookies, as browsers write and RFC 6265 reads them.
 */

#include "options.h"

APLOG_USE_MODULE(session_cluster);

#define DEFAULT_ATTRIBUTES "Path=/; HttpOnly; SameSite=Lax"
#define KEEP_AWAY "no-cache, private"

/* ---- taking ---------------------------------------------------------------------------------- */

/** Parse a value. @return whether it is one of ours */
static int parse_value(apr_pool_t *p, const char *value, apr_size_t len, sc_cookie_t *out)
{
    const char *end = value + len;
    char *route;

    if (len >= 2 && value[0] == '"' && end[-1] == '"') { /* RFC 6265 allows quotes around it */
        value++;
        end--;
    }
    if (end - value < SC_ID_HEX || sc_id_parse(&out->id, value, SC_ID_HEX) != APR_SUCCESS) {
        return 0;
    }
    value += SC_ID_HEX;
    if (value < end && *value == '-') {
        while (value < end && *value != '.') {
            value++;
        }
    }
    out->route = "";
    if (value == end) {
        return 1;
    }
    if (*value++ != '.') {
        return 0;
    }
    if (end - value <= SC_ROUTE_MAX) {
        route = apr_pstrmemdup(p, value, (apr_size_t)(end - value));
        if (!sc_check_route(route)) {
            out->route = route;
        }
    }
    return 1;
}

/**
 * Look through one Cookie header.
 * @param rest receives what is left of it, NULL when nothing is; unchanged when none was taken
 * @return how many cookies of the name were in it
 */
static int take_from(apr_pool_t *p, const char *header, const char *name, sc_cookie_t *out,
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

void sc_cookie_take(request_rec *r, const char *name, sc_cookie_t *out)
{
    const apr_array_header_t *headers = apr_table_elts(r->headers_in);
    const apr_table_entry_t *e = (const apr_table_entry_t *)(const void *)headers->elts;
    /* the table may belong to an outer request that lives longer than this one */
    apr_pool_t *p = headers->pool;
    apr_array_header_t *left = NULL;
    int taken = 0;

    memset(out, 0, sizeof(*out));
    out->kind = SC_COOKIE_NONE;
    out->route = "";
    for (int i = 0; i < headers->nelts; i++) {
        const char *rest;

        if (!e[i].key || ap_cstr_casecmp(e[i].key, "Cookie") != 0) {
            continue;
        }
        rest = e[i].val;
        taken += take_from(p, e[i].val, name, out, &rest);
        if (rest) {
            if (!left) {
                left = apr_array_make(p, 2, sizeof(const char *));
            }
            APR_ARRAY_PUSH(left, const char *) = rest;
        }
    }
    if (!taken) {
        return;
    }
    apr_table_unset(r->headers_in, "Cookie");
    for (int i = 0; left && i < left->nelts; i++) {
        apr_table_addn(r->headers_in, apr_pstrdup(p, "Cookie"),
                       APR_ARRAY_IDX(left, i, const char *));
    }
}

/* ---- putting --------------------------------------------------------------------------------- */

/** Take cookies of a name out of a table of response headers. */
static void drop_set_cookies(apr_table_t *t, const char *name)
{
    const apr_array_header_t *headers = apr_table_elts(t);
    const apr_table_entry_t *e = (const apr_table_entry_t *)(const void *)headers->elts;
    apr_size_t len = strlen(name);
    apr_array_header_t *keep = apr_array_make(headers->pool, 4, sizeof(const char *));
    int dropped = 0;

    for (int i = 0; i < headers->nelts; i++) {
        if (!e[i].key || ap_cstr_casecmp(e[i].key, "Set-Cookie") != 0) {
            continue;
        }
        if (strncmp(e[i].val, name, len) == 0 && e[i].val[len] == '=') {
            dropped = 1;
        } else {
            APR_ARRAY_PUSH(keep, const char *) = e[i].val;
        }
    }
    if (!dropped) {
        return;
    }
    apr_table_unset(t, "Set-Cookie");
    for (int i = 0; i < keep->nelts; i++) {
        apr_table_addn(t, "Set-Cookie", APR_ARRAY_IDX(keep, i, const char *));
    }
}

/** Whether a response header keeps shared caches away already. */
static int keeps_away(request_rec *r, const apr_table_t *t)
{
    const char *value = apr_table_getm(r->pool, t, "Cache-Control");

    return value && ap_find_token(r->pool, value, "private") &&
           ap_find_token(r->pool, value, "no-cache");
}

/* Into err_headers_out: the other table is replaced when a response comes from a backend, and does
 * not go out with errors and redirects at all. */
static void put(request_rec *r, const char *name, const char *cookie)
{
    drop_set_cookies(r->err_headers_out, name);
    drop_set_cookies(r->headers_out, name);
    apr_table_addn(r->err_headers_out, "Set-Cookie", cookie);
    if (!keeps_away(r, r->err_headers_out) && !keeps_away(r, r->headers_out)) {
        apr_table_mergen(r->err_headers_out, "Cache-Control", KEEP_AWAY);
    }
}

static const char *attributes(request_rec *r, const sc_dir_conf_t *dir)
{
    if (dir->cookie_attrs) {
        return dir->cookie_attrs;
    }
    /* asks mod_ssl, and the scheme that ServerName claims for a TLS front end */
    if (strcmp(ap_http_scheme(r), "https") == 0 ||
        ap_cstr_casecmpn(dir->cookie_name, "__Secure-", 9) == 0 ||
        ap_cstr_casecmpn(dir->cookie_name, "__Host-", 7) == 0) {
        return DEFAULT_ATTRIBUTES "; Secure";
    }
    return DEFAULT_ATTRIBUTES;
}

void sc_cookie_set(request_rec *r, const sc_dir_conf_t *dir, const sc_id_t *id, const char *route,
                   long max_age)
{
    char text[SC_ID_HEX + 1];
    const char *age = max_age > 0 ? apr_psprintf(r->pool, "Max-Age=%ld; ", max_age) : "";

    put(r, dir->cookie_name,
        apr_pstrcat(r->pool, dir->cookie_name, "=", sc_id_format(id, text), *route ? "." : "",
                    route, "; ", age, attributes(r, dir), NULL));
}

void sc_cookie_clear(request_rec *r, const sc_dir_conf_t *dir)
{
    put(r, dir->cookie_name,
        apr_pstrcat(r->pool, dir->cookie_name,
                    "=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ", attributes(r, dir),
                    NULL));
}
