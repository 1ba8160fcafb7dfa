/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The application that is measured: handler "sc-bench". It does as little as possible, so that what
 * is left in a comparison is the cost of the session.
 *
 *   /none    no session
 *   /read    loads the session and looks at its key "data"
 *   /write   the same, and sets "data" to 1 KiB that begins with a counter
 *
 * All of them answer with a body of the same length, with the counter inside: the load generator
 * sees whether a write was lost. Bound to mod_session by optional functions only, so it also runs
 * in an httpd without it.
 */
#include <stdlib.h>
#include <string.h>

#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"
#include "apr_optional.h"
#include "apr_strings.h"
#include "mod_session.h"

#define DATA_BYTES 1024
#define DIGITS 10
#define BODY_BYTES 100
#define KEY "data"

module AP_MODULE_DECLARE_DATA sc_bench_module;

static APR_OPTIONAL_FN_TYPE(ap_session_load) * load_session;
static APR_OPTIONAL_FN_TYPE(ap_session_get) * get_value;
static APR_OPTIONAL_FN_TYPE(ap_session_set) * set_value;

/** The counter that data begins with; 0 without data. */
static unsigned long counter_of(const char *data)
{
    char digits[DIGITS + 1];

    if (!data || strlen(data) < DIGITS) {
        return 0;
    }
    memcpy(digits, data, DIGITS);
    digits[DIGITS] = '\0';
    return strtoul(digits, NULL, 10);
}

static const char *data_with(apr_pool_t *pool, unsigned long counter)
{
    char *data = apr_palloc(pool, DATA_BYTES + 1);

    memset(data, 'a' + (int)(counter % 26), DATA_BYTES);
    apr_snprintf(data, DIGITS + 1, "%010lu", counter);
    data[DIGITS] = '-';
    data[DATA_BYTES] = '\0';
    return data;
}

static int answer(request_rec *r, unsigned long counter)
{
    char body[BODY_BYTES + 1];

    memset(body, '.', BODY_BYTES);
    apr_snprintf(body, sizeof(body), "sc-bench n=%010lu", counter);
    body[strlen(body)] = ' ';
    body[BODY_BYTES - 1] = '\n';
    ap_set_content_type(r, "text/plain");
    ap_set_content_length(r, BODY_BYTES);
    ap_rwrite(body, BODY_BYTES, r);
    return OK;
}

static int bench_handler(request_rec *r)
{
    session_rec *z = NULL;
    const char *what, *data = NULL;
    unsigned long counter;

    if (!r->handler || strcmp(r->handler, "sc-bench") != 0) {
        return DECLINED;
    }
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    what = strrchr(r->uri, '/');
    if (!what) {
        return HTTP_NOT_FOUND;
    }
    if (strcmp(what, "/none") == 0) {
        return answer(r, 0);
    }
    if (strcmp(what, "/read") != 0 && strcmp(what, "/write") != 0) {
        return HTTP_NOT_FOUND;
    }
    if (!load_session || load_session(r, &z) != APR_SUCCESS || !z) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    get_value(r, z, KEY, &data);
    counter = counter_of(data);
    if (what[1] == 'w') {
        counter++;
        set_value(r, z, KEY, data_with(r->pool, counter));
    }
    return answer(r, counter);
}

static void bench_optional(void)
{
    load_session = APR_RETRIEVE_OPTIONAL_FN(ap_session_load);
    get_value = APR_RETRIEVE_OPTIONAL_FN(ap_session_get);
    set_value = APR_RETRIEVE_OPTIONAL_FN(ap_session_set);
}

static void bench_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_optional_fn_retrieve(bench_optional, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(bench_handler, NULL, NULL, APR_HOOK_FIRST);
}

AP_DECLARE_MODULE(sc_bench) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, bench_hooks,
#ifdef AP_MODULE_HAS_FLAGS
    AP_MODULE_FLAG_NONE,
#endif
};
