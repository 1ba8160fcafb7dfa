/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The session cookie: taken out of requests (how it is read: sc_cookie.h), put into responses.
 */

#include "options.h"

APLOG_USE_MODULE(session_cluster);

#define DEFAULT_ATTRIBUTES "Path=/; HttpOnly; SameSite=Lax"
#define KEEP_AWAY "no-cache, private"

/* ---- taking ---------------------------------------------------------------------------------- */

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
    out->route = out->hint = "";
    for (int i = 0; i < headers->nelts; i++) {
        const char *rest;

        if (!e[i].key || ap_cstr_casecmp(e[i].key, "Cookie") != 0) {
            continue;
        }
        rest = e[i].val;
        taken += sc_cookie_take_from(p, e[i].val, name, out, &rest);
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

void sc_cookie_set(request_rec *r, const sc_dir_conf_t *dir, const sc_id_t *id, const char *hint,
                   const char *route, long max_age)
{
    char text[SC_ID_HEX + 1];
    int hinted = *hint && *route;
    const char *age = max_age > 0 ? apr_psprintf(r->pool, "Max-Age=%ld; ", max_age) : "";

    put(r, dir->cookie_name,
        apr_pstrcat(r->pool, dir->cookie_name, "=", sc_id_format(id, text), hinted ? "-" : "",
                    hinted ? hint : "", *route ? "." : "", route, "; ", age, attributes(r, dir),
                    NULL));
}

void sc_cookie_clear(request_rec *r, const sc_dir_conf_t *dir)
{
    put(r, dir->cookie_name,
        apr_pstrcat(r->pool, dir->cookie_name,
                    "=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ", attributes(r, dir),
                    NULL));
}
