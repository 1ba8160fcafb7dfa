/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The session provider: mod_session's two hooks, and what has to stand around them.
 *
 * mod_session asks for the session of one request many times: at authentication, in fixups, in the
 * output filter, from sub-requests and after internal redirects. All of these have one session in
 * common, which is looked up once and kept with the first request of the chain.
 *
 * Two things a provider cannot do inside the hooks are done here. mod_session goes on without a
 * session when loading failed, and with its response when saving failed; where the configuration
 * wants 503 then, a fixup and an output filter see to it. And mod_session does not save a session
 * that did not change, so a cookie that is due without a change (new route after a failover, an id
 * that is gone) is written by the same filter. It stands right behind mod_session's own one and
 * before that of mod_headers, so "Header edit Set-Cookie" sees the cookie.
 *
 * mod_session's functions are weak references: on a front end without mod_session this module
 * loads as well, and registers nothing of this.
 */

#include "provider.h"

APLOG_USE_MODULE(session_cluster);

#pragma weak ap_hook_session_load
#pragma weak ap_hook_session_save
#pragma weak session_module

#define CHAIN_KEY "mod_session_cluster:chain"
#define FILTER_NAME "SESSION_CLUSTER_OUT"
#define RETRY_AFTER "1"

/* ---- mod_session ----------------------------------------------------------------------------- */

const char *sc_provider_missing(void)
{
    if (!ap_find_linked_module("mod_session.c")) {
        return "LoadModule session_module first";
    }
    if (!ap_hook_session_load || !ap_hook_session_save) {
        return "move the LoadModule line of session_module before that of session_cluster_module";
    }
    return NULL;
}

const session_dir_conf *sc_provider_mod_session(request_rec *r)
{
    return &session_module ? ap_get_module_config(r->per_dir_config, &session_module) : NULL;
}

/* ---- chain ----------------------------------------------------------------------------------- */

chain_t *sc_chain(request_rec *r, int make)
{
    request_rec *top = r;
    void *found = NULL;
    chain_t *chain;

    while (top->main || top->prev) {
        top = top->main ? top->main : top->prev;
    }
    (void)apr_pool_userdata_get(&found, CHAIN_KEY, top->pool);
    if (found || !make) {
        return found;
    }
    chain = apr_pcalloc(top->pool, sizeof(*chain));
    chain->top = top;
    (void)apr_pool_userdata_setn(chain, CHAIN_KEY, NULL, top->pool);
    return chain;
}

request_rec *sc_response_of(request_rec *r)
{
    while (r->main) {
        r = r->main;
    }
    return r;
}

void sc_refuse(chain_t *chain, request_rec *r, const char *why)
{
    if (chain->refuse == REFUSE_NOT) {
        chain->refuse = REFUSE_WANTED;
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "SC0201: answered with 503: %s", why);
    }
}

int sc_must_refuse(void)
{
    const sc_config_t *config = &sc_httpd()->conf->engine;

    if (sc_httpd()->central) {
        return !sc_httpd()->conf->central.empty;
    }
    return config->refuse_unacked || config->quorum > 1;
}

/* ---- engine ---------------------------------------------------------------------------------- */

apr_status_t sc_ask(request_rec *r, sc_link_op_t op, const sc_change_t *change,
                    apr_interval_time_t timeout, sc_outcome_t *outcome, apr_interval_time_t *wait)
{
    sc_httpd_t *h = sc_httpd();
    apr_time_t start = sc_mono(&sc_clock_system);
    char masked[SC_ID_MASKED];
    sc_buf_t request, answer;
    apr_status_t rv = APR_ENOSOCKET;

    *outcome = SC_REFUSED;
    if (h->central) {
        rv = sc_central_ask(op, change, outcome);
        *wait += sc_mono(&sc_clock_system) - start;
        return rv;
    }
    sc_buf_init(&request, change->attrs_len + 4 * SC_CONTEXT_MAX + 256);
    sc_buf_init(&answer, 256);
    sc_change_put(&request, change);
    if (request.err != APR_SUCCESS) {
        rv = request.err;
    } else if (h->link) {
        rv = sc_link_call(h->link, op, &request, timeout, &answer);
    }
    if (rv == APR_SUCCESS && (answer.len < 1 || answer.data[0] > SC_REFUSED)) {
        rv = APR_EGENERAL;
    }
    if (rv == APR_SUCCESS) {
        *outcome = (sc_outcome_t)answer.data[0];
    }
    sc_buf_free(&request);
    sc_buf_free(&answer);
    *wait += sc_mono(&sc_clock_system) - start;
    ap_log_rerror(APLOG_MARK, APLOG_TRACE1, rv, r, "SC0202: session %s, request %d: %s",
                  sc_id_mask(&change->id, masked), (int)op,
                  rv == APR_SUCCESS ? sc_outcome_name(*outcome) : "no answer");
    return rv;
}

/* ---- environment ----------------------------------------------------------------------------- */

static void env_of(request_rec *r, const session_t *s)
{
    const sc_server_conf_t *conf = sc_httpd()->conf;

    if (conf->engine.route[0]) {
        apr_table_setn(r->subprocess_env, "SESSION_CLUSTER_ROUTE", conf->engine.route);
    }
    apr_table_setn(r->subprocess_env, "SESSION_CLUSTER_ROLE", s->role);
    if (s->old_route) {
        apr_table_setn(r->subprocess_env, "SESSION_CLUSTER_FAILOVER",
                       apr_pstrcat(r->pool, s->old_route, ">", conf->engine.route, NULL));
    }
    if (s->saved) {
        const char *wait = apr_psprintf(r->pool, "%" APR_TIME_T_FMT, s->wait);

        apr_table_setn(r->subprocess_env, "SESSION_CLUSTER_WAIT_US", wait);
        apr_table_setn(r->notes, "SESSION_CLUSTER_WAIT_US", wait);
    }
}

void sc_session_env(request_rec *r, const session_t *s)
{
    request_rec *response = sc_response_of(r);

    env_of(r, s);
    if (response != r) {
        env_of(response, s);
    }
}

/* ---- output ---------------------------------------------------------------------------------- */

void sc_settle_cookie(request_rec *r, session_t *s)
{
    request_rec *response = sc_response_of(r);
    const char *hint = "";
    sc_id_t heir;

    /* the response goes out anyway, so this is when a backup that has changed gets into the cookie;
     * the session's own node looks after that, not one whose guest it is */
    if (s->dir->backup_hint == 1 && s->due != COOKIE_CLEAR &&
        (s->due == COOKIE_SET || (s->state == SESSION_LOADED && s->route && *s->route &&
                                  strcmp(s->route, sc_httpd()->conf->engine.route) == 0))) {
        hint = sc_session_hint(s);
        if (*hint && strcmp(hint, s->hint) != 0) {
            s->due = COOKIE_SET;
        }
    }
    /* the id that this request knows may have been changed by another one, whose cookie this one
     * would throw away */
    if (s->due == COOKIE_SET && sc_session_heir(s, &s->id, &heir)) {
        s->due = COOKIE_KEEP;
    }
    switch (s->due) {
    case COOKIE_SET:
        sc_cookie_set(response, s->dir, &s->id, hint, s->route, s->z.maxage);
        break;
    case COOKIE_CLEAR:
        sc_cookie_clear(response, s->dir);
        break;
    default:
        break;
    }
    s->due = COOKIE_KEEP;
}

/* clang objects to how APR's rings find their sentinel, in whatever uses them */
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnull-pointer-subtraction"
#endif

static void append(apr_bucket_brigade *bb, apr_bucket *b)
{
    APR_BRIGADE_INSERT_TAIL(bb, b);
}

/** Whether a brigade has neither a byte nor a message in it. */
static int says_nothing(const apr_bucket_brigade *bb)
{
    const apr_bucket *b;

    for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_METADATA(b) || b->length != 0) {
            return 0;
        }
    }
    return 1;
}

#ifdef __clang__
#pragma clang diagnostic pop
#endif

/* A new id that is there although the request is refused: the old one is dead here, and as good as
 * everywhere. */
static void settle_rotated(request_rec *r, chain_t *chain)
{
    for (session_t *s = chain->sessions; s; s = s->next) {
        if (s->rotated) {
            sc_settle_cookie(r, s);
        }
    }
}

/* On the first brigade, after mod_session has saved. */
static apr_status_t output_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    chain_t *chain = sc_chain(r, 0);
    ap_filter_t *next = f->next;

    if (says_nothing(bb)) {
        /* mod_include may begin so; passed on it would make the headers final, before a page that
         * it includes had a chance to put something into a new session */
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    ap_remove_output_filter(f);
    if (sc_config_dir(r)->cookie_name) {
        chain = sc_chain(r, 1);
        sc_rotation_collect(r, chain);
    }
    if (chain && chain->refuse == REFUSE_NOT) {
        sc_session_rotate_unsaved(r, chain);
    }
    if (chain && chain->refuse == REFUSE_WANTED) {
        chain->refuse = REFUSE_DONE;
        apr_brigade_cleanup(bb);
        append(bb, ap_bucket_error_create(HTTP_SERVICE_UNAVAILABLE, NULL, r->pool,
                                          r->connection->bucket_alloc));
        append(bb, apr_bucket_eos_create(r->connection->bucket_alloc));
    } else if (chain && chain->refuse == REFUSE_DONE) {
        /* this is the answer to it, an ErrorDocument perhaps; set earlier, headers are lost */
        settle_rotated(r, chain);
        if (sc_response_of(r)->status == HTTP_SERVICE_UNAVAILABLE) {
            apr_table_setn(sc_response_of(r)->err_headers_out, "Retry-After", RETRY_AFTER);
        }
    } else if (chain) {
        for (session_t *s = chain->sessions; s; s = s->next) {
            sc_settle_cookie(r, s);
        }
    }
    return ap_pass_brigade(next, bb);
}

static int concerned(request_rec *r)
{
    return sc_config_dir(r)->cookie_name || sc_chain(r, 0);
}

static void insert_filter(request_rec *r)
{
    if (concerned(r)) {
        ap_add_output_filter(FILTER_NAME, NULL, r, r->connection);
    }
}

/* After mod_session's fixup, which has loaded the session if one is wanted here. */
static int fixups(request_rec *r)
{
    chain_t *chain;

    if (!concerned(r)) {
        return DECLINED;
    }
    /* HTTP_SESSION is how a session gets to CGI, so nobody may send a header of that name */
    apr_table_unset(r->headers_in, "Session");
    chain = sc_chain(r, 0);
    if (chain && chain->refuse == REFUSE_WANTED && !r->main) {
        chain->refuse = REFUSE_DONE;
        return HTTP_SERVICE_UNAVAILABLE;
    }
    return DECLINED;
}

/* ---- registration ---------------------------------------------------------------------------- */

void sc_provider_register(apr_pool_t *p)
{
    static const char *const after[] = {"mod_session.c", NULL};

    (void)p;
    if (!ap_hook_session_load || !ap_hook_session_save) {
        return;
    }
    ap_hook_session_load(sc_session_load, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_session_save(sc_session_save, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_fixups(fixups, after, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_filter(insert_filter, after, NULL, APR_HOOK_MIDDLE);
    ap_hook_insert_error_filter(insert_filter, after, NULL, APR_HOOK_MIDDLE);
    ap_register_output_filter(FILTER_NAME, output_filter, NULL, AP_FTYPE_CONTENT_SET);
}
