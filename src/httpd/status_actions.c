/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a POST to the status page may do:
 *
 *   action=lookup id= [context=]    say what this node knows of one session. A POST, since an id in
 * an URL would stand in logs and histories action=drain, action=undrain    this node gives away its
 * sessions, or serves as before action=expire id= [context=]    end a session, on all nodes
 *
 * All but lookup need SessionClusterStatusActions On. Who may send any of this is what the
 * administrator says with Require; what is checked here is that it was he who wanted it, and not a
 * page of somebody else that his browser has loaded: the nonce, which is random, in every form, and
 * the same from one start of httpd to its end; that a browser does not say the request came from
 * elsewhere; a form's content type. Bodies are small. Whatever else comes is refused, counted and
 * logged.
 *
 * Children cannot write the store: the engine does what is asked for.
 */

#include "listeners.h"
#include "sc_form.h"
#include "status.h"

#include "apr_lib.h"
#include "apr_shm.h"
#include "http_log.h"

#include <openssl/crypto.h>

APLOG_USE_MODULE(session_cluster);

#define RETAINED_KEY "mod_session_cluster:status"
/** Another layout is another memory, after an upgrade of the module. */
#define LAYOUT 1
#define NONCE_BYTES 16
#define FORM_TYPE "application/x-www-form-urlencoded"
/** The engine may have to be made anew, and a session to be looked for. */
#define ENGINE_TIME apr_time_from_sec(8)
#define COMPLAIN_TIME apr_time_from_sec(10)

/** In memory that all children share. */
typedef struct memory_t {
    sc_status_counts_t count;
} memory_t;

typedef struct kept_t {
    apr_uint64_t layout;
    memory_t *memory;
    char nonce[2 * NONCE_BYTES + 1];
} kept_t;

static kept_t *kept;
static sc_log_limit_t refusals; /* each child's own */

/* ---- made once ------------------------------------------------------------------------------- */

static apr_status_t make(kept_t *k, apr_pool_t *process)
{
    unsigned char random[NONCE_BYTES];
    apr_shm_t *shm;
    apr_status_t rv = sc_random(random, sizeof(random));

    if (rv == APR_SUCCESS) {
        rv = apr_shm_create(&shm, sizeof(*k->memory), NULL, process);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (int i = 0; i < NONCE_BYTES; i++) {
        (void)apr_snprintf(k->nonce + 2 * i, 3, "%02x", random[i]);
    }
    k->memory = apr_shm_baseaddr_get(shm);
    memset(k->memory, 0, sizeof(*k->memory));
    k->layout = ((apr_uint64_t)LAYOUT << 32) | sizeof(*k->memory);
    return APR_SUCCESS;
}

int sc_status_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    apr_uint64_t layout = ((apr_uint64_t)LAYOUT << 32) | sizeof(memory_t);
    apr_status_t rv = APR_SUCCESS;

    (void)pconf;
    (void)plog;
    (void)ptemp;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    kept = ap_retained_data_get(RETAINED_KEY);
    if (!kept) {
        kept = ap_retained_data_create(RETAINED_KEY, sizeof(*kept));
    }
    if (kept->layout != layout) {
        rv = make(kept, s->process->pool);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC1102: no random numbers or no memory for the status page");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

const char *sc_status_nonce(void)
{
    return kept ? kept->nonce : "";
}

void sc_status_counts(sc_status_counts_t *out)
{
    memset(out, 0, sizeof(*out));
    if (kept && kept->memory) {
        const sc_status_counts_t *c = &kept->memory->count;

        out->status_actions = __atomic_load_n(&c->status_actions, __ATOMIC_RELAXED);
        out->status_refused = __atomic_load_n(&c->status_refused, __ATOMIC_RELAXED);
    }
}

const char *sc_set_status_actions(cmd_parms *cmd, void *vdir, int on)
{
    sc_dir_conf_t *dir = vdir;

    (void)cmd;
    dir->status_actions = on;
    return NULL;
}

/* ---- refusing -------------------------------------------------------------------------------- */

/* One thread of the child writes the line. */
static int may_complain(apr_uint64_t *before)
{
    apr_time_t now = sc_mono(&sc_clock_system);
    apr_time_t next = __atomic_load_n(&refusals.next, __ATOMIC_RELAXED);

    if (now < next || !__atomic_compare_exchange_n(&refusals.next, &next, now + COMPLAIN_TIME, 0,
                                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&refusals.suppressed, 1, __ATOMIC_RELAXED);
        return 0;
    }
    *before = __atomic_exchange_n(&refusals.suppressed, 0, __ATOMIC_RELAXED);
    return 1;
}

static int refuse(request_rec *r, int status, const char *why)
{
    apr_uint64_t before = 0;

    if (kept && kept->memory) {
        __atomic_fetch_add(&kept->memory->count.status_refused, 1, __ATOMIC_RELAXED);
    }
    if (may_complain(&before)) {
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, 0, r,
            "SC1103: a POST to the status page was refused with %d: %s (%" APR_UINT64_T_FMT
            " more before)",
            status, why, before);
    }
    return status;
}

/* ---- where it comes from --------------------------------------------------------------------- */

/* Host and port of an URL's beginning, or of a Host header, without the port when it is the usual
 * one. @param scheme of it, "" when it has none @return NULL: it has no host */
static const char *authority(apr_pool_t *p, const char *text, const char **scheme)
{
    const char *sep = strstr(text, "://");
    const char *port;
    char *host;

    *scheme = "";
    if (sep) {
        *scheme = apr_pstrmemdup(p, text, (apr_size_t)(sep - text));
        text = sep + 3;
    }
    host = apr_pstrmemdup(p, text, strcspn(text, "/?#"));
    port = strrchr(host, ':');
    if (port && !strchr(port, ']') && (strcmp(port, ":80") == 0 || strcmp(port, ":443") == 0)) {
        host[port - host] = '\0';
    }
    return host[0] ? host : NULL;
}

/* Whether an URL that a browser has sent is of this site. The scheme may be another one, in front
 * of a proxy that speaks TLS for this server. */
static int is_here(request_rec *r, const char *url)
{
    const char *host = apr_table_get(r->headers_in, "Host");
    const char *scheme, *theirs = authority(r->pool, url, &scheme);

    if (!theirs ||
        (ap_cstr_casecmp(scheme, "http") != 0 && ap_cstr_casecmp(scheme, "https") != 0)) {
        return 0;
    }
    host = host ? authority(r->pool, host, &scheme) : NULL;
    return host && ap_cstr_casecmp(host, theirs) == 0;
}

/* What browsers say of it, if it is one. A page of somebody else can leave Referer out, but not
 * Origin or Sec-Fetch-Site. */
static int is_foreign(request_rec *r)
{
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    const char *origin = apr_table_get(r->headers_in, "Origin");
    const char *referer = apr_table_get(r->headers_in, "Referer");

    return (site && ap_cstr_casecmp(site, "same-origin") != 0) || (origin && !is_here(r, origin)) ||
           (referer && !is_here(r, referer));
}

static int is_form(request_rec *r)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    apr_size_t len = sizeof(FORM_TYPE) - 1;

    return type && ap_cstr_casecmpn(type, FORM_TYPE, len) == 0 &&
           (!type[len] || type[len] == ';' || apr_isspace(type[len]));
}

/* ---- the body -------------------------------------------------------------------------------- */

/** Fields of the page's forms. */
enum { FIELD_ACTION, FIELD_NONCE, FIELD_ID, FIELD_CONTEXT, FIELDS };

static const char *const fields[FIELDS] = {"action", "nonce", "id", "context"};

static int read_body(request_rec *r, char **out, apr_size_t *out_len)
{
    char *body = apr_palloc(r->pool, SC_STATUS_BODY_MAX + 2);
    apr_size_t len = 0;
    long n = 0;
    int rv = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK);

    if (rv != OK) {
        return rv;
    }
    if (r->remaining > SC_STATUS_BODY_MAX) {
        return HTTP_REQUEST_ENTITY_TOO_LARGE;
    }
    if (ap_should_client_block(r)) {
        while ((n = ap_get_client_block(r, body + len, SC_STATUS_BODY_MAX + 1 - len)) > 0) {
            len += (apr_size_t)n;
            if (len > SC_STATUS_BODY_MAX) {
                return HTTP_REQUEST_ENTITY_TOO_LARGE;
            }
        }
    }
    if (n < 0) {
        return HTTP_BAD_REQUEST;
    }
    *out = body;
    *out_len = len;
    return OK;
}

static int is_nonce(const char *text)
{
    const char *nonce = sc_status_nonce();
    apr_size_t len = strlen(nonce);

    return len > 0 && text && strlen(text) == len && CRYPTO_memcmp(text, nonce, len) == 0;
}

/* ---- doing it -------------------------------------------------------------------------------- */

static apr_status_t ask_engine(sc_link_op_t op, const sc_change_t *change, sc_outcome_t *outcome)
{
    sc_httpd_t *h = sc_httpd();
    sc_buf_t request, answer;
    apr_status_t rv = APR_ENOSOCKET;

    sc_buf_init(&request, 4 * SC_CONTEXT_MAX + 256);
    sc_buf_init(&answer, 256);
    if (change) {
        sc_change_put(&request, change);
    }
    if (request.err != APR_SUCCESS) {
        rv = request.err;
    } else if (h->link) {
        rv = sc_link_call(h->link, op, &request, ENGINE_TIME, &answer);
    }
    if (rv == APR_SUCCESS && (answer.len < 1 || answer.data[0] > SC_REFUSED)) {
        rv = APR_EGENERAL;
    }
    *outcome = rv == APR_SUCCESS ? (sc_outcome_t)answer.data[0] : SC_REFUSED;
    sc_buf_free(&request);
    sc_buf_free(&answer);
    return rv;
}

static void log_action(request_rec *r, const char *what, const char *on, const sc_action_t *a)
{
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r,
                  "SC1104: %s%s%s, as %s wanted on the status page: %s", what, *on ? " " : "", on,
                  r->user ? r->user : "somebody without a name", a->message);
    if (a->done && kept && kept->memory) {
        __atomic_fetch_add(&kept->memory->count.status_actions, 1, __ATOMIC_RELAXED);
    }
}

static void drain(sc_status_t *s, int on)
{
    sc_action_t *a = &s->action;
    sc_outcome_t outcome;
    apr_status_t rv = ask_engine(on ? SC_LINK_DRAIN : SC_LINK_UNDRAIN, NULL, &outcome);

    a->done = rv == APR_SUCCESS && outcome == SC_DONE;
    a->message = a->done && on ? "This node drains: it gets no new sessions, and its own move to "
                                 "other nodes."
                 : a->done     ? "This node takes new sessions again."
                 : rv != APR_SUCCESS
                     ? "The engine did not answer; look again in a moment."
                     : "Not possible: only a node that is a member of a cluster can drain.";
    log_action(s->r, on ? "drain" : "undrain", "", a);
}

/* Ask for one session of one space. */
static sc_outcome_t ask_for(sc_link_op_t op, const sc_id_t *id, const char *context)
{
    sc_change_t change;
    sc_outcome_t outcome;

    memset(&change, 0, sizeof(change));
    change.context = context;
    change.context_len = strlen(context);
    change.id = *id;
    change.hint = "";
    return ask_engine(op, &change, &outcome) == APR_SUCCESS ? outcome : SC_UNKNOWN;
}

typedef enum ending_t { END_ABSENT, END_BEFORE, END_NOW, END_FAILED } ending_t;

/* One session space. Of what is not here the engine asks the other members. */
static ending_t end_session(const sc_status_t *s, const sc_id_t *id, const char *context)
{
    const apr_array_header_t *here = sc_lookup(s, id, context);
    sc_outcome_t outcome;

    if (here->nelts && strcmp(APR_ARRAY_IDX(here, 0, sc_found_t).state, "ended") == 0) {
        return END_BEFORE;
    }
    if (!here->nelts) {
        outcome = ask_for(SC_LINK_FETCH, id, context);
        if (outcome != SC_FOUND) {
            return outcome == SC_ABSENT ? END_ABSENT : END_FAILED;
        }
    }
    outcome = ask_for(SC_LINK_REMOVE, id, context);
    if (outcome == SC_DONE || outcome == SC_DEGRADED) {
        /* what a child has asked for it tells itself, see sc_manager.h */
        sc_listeners_did(s->r, SC_SESSION_DESTROYED, SC_GONE_INVALIDATED, context, id, NULL,
                         here->nelts ? APR_ARRAY_IDX(here, 0, sc_found_t).primary : "");
    }
    return outcome == SC_DONE || outcome == SC_DEGRADED || outcome == SC_ABSENT ? END_NOW
                                                                                : END_FAILED;
}

static void expire(sc_status_t *s, const sc_id_t *id, const char *context)
{
    sc_action_t *a = &s->action;
    char masked[SC_ID_MASKED];
    ending_t worst = END_ABSENT;

    /* an engine that does not answer is not asked again for each space */
    for (int i = 0; i < s->contexts->nelts && worst != END_FAILED; i++) {
        const char *name = APR_ARRAY_IDX(s->contexts, i, sc_context_stats_t).name;

        if (!context || strcmp(context, name) == 0) {
            ending_t how = end_session(s, id, name);

            worst = how > worst ? how : worst;
        }
    }
    a->done = worst == END_NOW;
    a->message = worst == END_NOW      ? "The session is ended, on all nodes."
                 : worst == END_FAILED ? "The session could not be ended just now; try again."
                 : worst == END_BEFORE ? "The session had ended before."
                                       : "There is no such session.";
    log_action(s->r, "session",
               apr_pstrcat(s->r->pool, sc_id_mask(id, masked), " to be ended", NULL), a);
}

static void look_up(sc_status_t *s, const sc_id_t *id, const char *context)
{
    s->action.found = sc_lookup(s, id, context);
    s->action.done = s->action.found->nelts > 0;
    s->action.message = s->action.done ? "This is what this node knows of the session."
                                       : "This node knows no such session.";
}

/* @return OK, or why not */
static int act(sc_status_t *s, const char *const *f)
{
    static const char *const names[] = {"lookup", "expire", "drain", "undrain"};
    const char *context = f[FIELD_CONTEXT] && f[FIELD_CONTEXT][0] ? f[FIELD_CONTEXT] : NULL;
    int which = 0, of_session;
    sc_id_t id;

    while (which < 4 && (!f[FIELD_ACTION] || strcmp(f[FIELD_ACTION], names[which]) != 0)) {
        which++;
    }
    of_session = which < 2;
    if (which == 4 || of_session != (f[FIELD_ID] != NULL) || (!of_session && f[FIELD_CONTEXT])) {
        return refuse(s->r, HTTP_BAD_REQUEST, "there is no such action");
    }
    if (which > 0 && !s->may_act) {
        return refuse(s->r, HTTP_FORBIDDEN, "SessionClusterStatusActions is not On here");
    }
    s->action.name = names[which];
    if (!s->store) {
        s->action.message = "There is no engine.";
    } else if (of_session && s->has_central) {
        s->action.message = "Sessions are in the central store: this page does not look there.";
    } else if (!of_session) {
        drain(s, which == 2);
    } else if (sc_form_id(&id, f[FIELD_ID]) != APR_SUCCESS) {
        s->action.message = "That is no session id: 32 digits of 0-9 and A-F, or a whole cookie.";
    } else if (which == 0) {
        look_up(s, &id, context);
    } else {
        expire(s, &id, context);
    }
    return OK;
}

int sc_status_post(sc_status_t *s)
{
    request_rec *r = s->r;
    const char *form[FIELDS];
    char *body = NULL;
    apr_size_t len = 0;
    int rv;

    if (is_foreign(r)) {
        return refuse(r, HTTP_FORBIDDEN, "it comes from another site");
    }
    if (!is_form(r)) {
        return refuse(r, HTTP_UNSUPPORTED_MEDIA_TYPE, "it is no form");
    }
    rv = read_body(r, &body, &len);
    if (rv != OK) {
        return refuse(
            r, rv, rv == HTTP_REQUEST_ENTITY_TOO_LARGE ? "it is too large" : "it cannot be read");
    }
    if (sc_form_read(body, len, fields, form, FIELDS) != APR_SUCCESS) {
        return refuse(r, HTTP_BAD_REQUEST, "it is not what the page's forms send");
    }
    if (!is_nonce(form[FIELD_NONCE])) {
        return refuse(r, HTTP_FORBIDDEN, "it has not this server's nonce");
    }
    return act(s, form);
}
