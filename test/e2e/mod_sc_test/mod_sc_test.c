/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The application of the end-to-end tests: handler "sc-test". It does what the query says, step by
 * step from left to right, through mod_session's own functions, and answers with JSON that tells
 * what it saw. Being C it costs microseconds, so hundreds of requests a second are the module's
 * load and not the test's.
 *
 *   set=name:value  del=name  inc=name  big=name:bytes  clear     change the session
 *   sleep=ms                                                      between two steps; answers tell
 *                                                                 how many requests do so now
 *   body                                                          read the request's body
 *   header=Name:value  note=name:value                            set a response header, a note
 *   touch=file      until=file                                    make a file; wait for one
 *   redirect=/uri   status=404                                    leave in another way
 *   flush                                                         send a part of the answer now
 *   interim                                                       say that the answer will take
 * long crash           exit                                          the child dies
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"
#include "apr_atomic.h"
#include "apr_lib.h"
#include "apr_optional.h"
#include "apr_shm.h"
#include "apr_strings.h"
#include "mod_session.h"

module AP_MODULE_DECLARE_DATA sc_test_module;

static APR_OPTIONAL_FN_TYPE(ap_session_load) * load_session;
static APR_OPTIONAL_FN_TYPE(ap_session_get) * get_value;
static APR_OPTIONAL_FN_TYPE(ap_session_set) * set_value;

/* Requests that sleep now, in all children; one that dies in its sleep stays counted. */
static volatile apr_uint32_t *asleep;

typedef struct steps_t {
    request_rec *r;
    session_rec *z;     /* NULL: no session here */
    apr_off_t body_len; /* -1: not read */
    int status;         /* what the handler returns */
    const char *redirect;
} steps_t;

static char *split(char *text, char at)
{
    char *p = strchr(text, at);

    if (p == NULL) {
        return text + strlen(text);
    }
    *p = '\0';
    return p + 1;
}

static apr_off_t read_body(request_rec *r)
{
    char buffer[8192];
    apr_off_t sum = 0;
    long n;

    if (ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK) != OK) {
        return -2;
    }
    if (!ap_should_client_block(r)) {
        return 0;
    }
    while ((n = ap_get_client_block(r, buffer, sizeof(buffer))) > 0) {
        sum += n;
    }
    return n < 0 ? -2 : sum;
}

static void increment(steps_t *s, const char *name)
{
    const char *old = NULL;

    get_value(s->r, s->z, name, &old);
    set_value(s->r, s->z, name, apr_psprintf(s->r->pool, "%d", (old ? atoi(old) : 0) + 1));
}

static void clear_session(steps_t *s)
{
    const apr_array_header_t *head = apr_table_elts(s->z->entries);
    const apr_table_entry_t *e = (const apr_table_entry_t *)head->elts;
    apr_array_header_t *names = apr_array_make(s->r->pool, head->nelts + 1, sizeof(char *));
    int i;

    for (i = 0; i < head->nelts; i++) {
        APR_ARRAY_PUSH(names, char *) = apr_pstrdup(s->r->pool, e[i].key);
    }
    for (i = 0; i < names->nelts; i++) {
        set_value(s->r, s->z, APR_ARRAY_IDX(names, i, char *), NULL);
    }
}

static void change_session(steps_t *s, const char *what, char *arg)
{
    char *value;

    if (s->z == NULL) {
        return;
    }
    if (strcmp(what, "clear") == 0) {
        clear_session(s);
    } else if (strcmp(what, "inc") == 0) {
        increment(s, arg);
    } else if (strcmp(what, "del") == 0) {
        set_value(s->r, s->z, arg, NULL);
    } else if (strcmp(what, "set") == 0) {
        value = split(arg, ':');
        set_value(s->r, s->z, arg, value);
    } else if (strcmp(what, "big") == 0) {
        apr_size_t len;
        char *fill;

        value = split(arg, ':');
        len = (apr_size_t)atol(value);
        fill = apr_palloc(s->r->pool, len + 1);
        memset(fill, 'x', len);
        fill[len] = '\0';
        set_value(s->r, s->z, arg, fill);
    }
}

/* To the end, whatever signals come: prefork's children get them when httpd stops gracefully. */
static void sleep_for(apr_interval_time_t time)
{
    apr_time_t end = apr_time_now() + time;

    apr_atomic_inc32(asleep);
    while ((time = end - apr_time_now()) > 0) {
        apr_sleep(time);
    }
    apr_atomic_dec32(asleep);
}

/* Two requests of a test that wait for each other do so by files. */
static void touch_file(request_rec *r, const char *name)
{
    apr_file_t *file;

    if (apr_file_open(&file, name, APR_FOPEN_WRITE | APR_FOPEN_CREATE, APR_FPROT_OS_DEFAULT,
                      r->pool) == APR_SUCCESS) {
        apr_file_close(file);
    }
}

static void await_file(request_rec *r, const char *name)
{
    apr_time_t end = apr_time_now() + apr_time_from_sec(30);
    apr_finfo_t info;

    while (apr_stat(&info, name, APR_FINFO_TYPE, r->pool) != APR_SUCCESS && apr_time_now() < end) {
        apr_sleep(apr_time_from_msec(10));
    }
}

static void step(steps_t *s, const char *what, char *arg)
{
    if (strcmp(what, "sleep") == 0) {
        sleep_for(apr_time_from_msec(atoi(arg)));
    } else if (strcmp(what, "body") == 0) {
        s->body_len = read_body(s->r);
    } else if (strcmp(what, "status") == 0) {
        s->status = atoi(arg);
    } else if (strcmp(what, "redirect") == 0) {
        s->redirect = arg;
    } else if (strcmp(what, "header") == 0) {
        char *value = split(arg, ':');

        apr_table_set(s->r->headers_out, arg, value);
    } else if (strcmp(what, "note") == 0) {
        char *value = split(arg, ':');

        apr_table_set(s->r->notes, arg, value);
    } else if (strcmp(what, "touch") == 0) {
        touch_file(s->r, arg);
    } else if (strcmp(what, "until") == 0) {
        await_file(s->r, arg);
    } else if (strcmp(what, "flush") == 0) {
        ap_rputs(" ", s->r);
        ap_rflush(s->r);
    } else if (strcmp(what, "interim") == 0) {
        s->r->status = HTTP_PROCESSING;
        ap_send_interim_response(s->r, 0);
        s->r->status = HTTP_OK;
        s->r->status_line = NULL;
    } else if (strcmp(what, "crash") == 0) {
        kill(getpid(), SIGKILL);
    } else if (strcmp(what, "exit") == 0) {
        _exit(0);
    } else {
        change_session(s, what, arg);
    }
}

static void put_string(request_rec *r, const char *text)
{
    if (text == NULL) {
        ap_rputs("null", r);
        return;
    }
    ap_rputc('"', r);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\') {
            ap_rprintf(r, "\\%c", c);
        } else if (c < 0x20 || c >= 0x7f) {
            ap_rprintf(r, "\\u%04x", c);
        } else {
            ap_rputc(c, r);
        }
    }
    ap_rputc('"', r);
}

static void put_member(request_rec *r, const char *name, const char *text)
{
    ap_rprintf(r, ", \"%s\": ", name);
    put_string(r, text);
}

/* Long values are told by their length: the answer stays small. */
static void put_values(steps_t *s)
{
    const apr_array_header_t *head;
    const apr_table_entry_t *e;
    const char *comma = "";
    int i;

    if (s->z == NULL) {
        ap_rputs("null", s->r);
        return;
    }
    head = apr_table_elts(s->z->entries);
    e = (const apr_table_entry_t *)head->elts;
    ap_rputc('{', s->r);
    for (i = 0; i < head->nelts; i++) {
        if (strcmp(e[i].key, "expiry") == 0) {
            continue;
        }
        ap_rputs(comma, s->r);
        put_string(s->r, e[i].key);
        ap_rputs(": ", s->r);
        if (strlen(e[i].val) > 1024) {
            ap_rprintf(s->r, "\"#%" APR_SIZE_T_FMT "\"", strlen(e[i].val));
        } else {
            put_string(s->r, e[i].val);
        }
        comma = ", ";
    }
    ap_rputc('}', s->r);
}

static void answer(steps_t *s)
{
    request_rec *r = s->r;

    ap_set_content_type(r, "application/json");
    ap_rprintf(r, "{\"pid\": %ld, \"asleep\": %u", (long)getpid(), apr_atomic_read32(asleep));
    put_member(r, "uri", r->uri);
    put_member(r, "method", r->method);
    put_member(r, "user", r->user);
    put_member(r, "cookie", apr_table_get(r->headers_in, "Cookie"));
    put_member(r, "session_header", apr_table_get(r->headers_in, "Session"));
    put_member(r, "http_session", apr_table_get(r->subprocess_env, "HTTP_SESSION"));
    put_member(r, "route", apr_table_get(r->subprocess_env, "SESSION_CLUSTER_ROUTE"));
    put_member(r, "role", apr_table_get(r->subprocess_env, "SESSION_CLUSTER_ROLE"));
    put_member(r, "failover", apr_table_get(r->subprocess_env, "SESSION_CLUSTER_FAILOVER"));
    ap_rprintf(r, ", \"body\": %" APR_OFF_T_FMT ", \"values\": ", s->body_len);
    put_values(s);
    ap_rputs("}\n", r);
}

static int test_handler(request_rec *r)
{
    steps_t s = {0};
    char *args, *next;

    if (r->handler == NULL || strcmp(r->handler, "sc-test") != 0) {
        return DECLINED;
    }
    s.r = r;
    s.body_len = -1;
    s.status = OK;
    if (load_session != NULL) {
        load_session(r, &s.z);
    }
    for (args = apr_pstrdup(r->pool, r->args ? r->args : ""); *args != '\0'; args = next) {
        char *arg;

        next = split(args, '&');
        arg = split(args, '=');
        ap_unescape_urlencoded(arg);
        step(&s, args, arg);
    }
    if (s.redirect != NULL) {
        ap_internal_redirect(s.redirect, r);
        return OK;
    }
    if (s.status == OK) {
        answer(&s);
    }
    return s.status;
}

static void find_functions(void)
{
    load_session = APR_RETRIEVE_OPTIONAL_FN(ap_session_load);
    get_value = APR_RETRIEVE_OPTIONAL_FN(ap_session_get);
    set_value = APR_RETRIEVE_OPTIONAL_FN(ap_session_set);
}

static int share_memory(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    apr_shm_t *shm;

    (void)plog;
    (void)ptemp;
    (void)s;
    if (apr_shm_create(&shm, sizeof(*asleep), NULL, pconf) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    asleep = apr_shm_baseaddr_get(shm);
    apr_atomic_set32(asleep, 0);
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_post_config(share_memory, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_optional_fn_retrieve(find_functions, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(test_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(sc_test) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL,
                              register_hooks};
