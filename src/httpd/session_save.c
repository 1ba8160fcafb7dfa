/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a request has changed goes to the engine, and the request waits for its answer.
 *
 * A session that did not change costs nothing here. A new one gets its id now, not earlier: until
 * something is put into it there is none. An empty one that had something is a logout.
 */

#include "provider.h"

APLOG_USE_MODULE(session_cluster);

#define DEFAULT_IDLE_S 1800
/** On top of the engine's own bound, in case it dies meanwhile and a successor has to start. */
#define RESPAWN_TIME apr_time_from_sec(3)
/** Names, lengths and removals that a change may have on top of SessionClusterMaxSessionSize. */
#define LINK_ROOM (48 * 1024)
/** A flood of new sessions into a full store is one line per interval and child. */
#define FULL_INTERVAL apr_time_from_sec(10)

static apr_uint32_t max_idle_s(const session_t *s)
{
    if (s->z.maxage > 0) {
        return s->z.maxage < (long)APR_INT32_MAX ? (apr_uint32_t)s->z.maxage : APR_INT32_MAX;
    }
    return s->dir->max_inactive_s == SC_UNSET ? DEFAULT_IDLE_S
                                              : (apr_uint32_t)s->dir->max_inactive_s;
}

static apr_status_t ask(request_rec *r, session_t *s, sc_link_op_t op, sc_change_t *change,
                        const session_diff_t *diff, sc_outcome_t *outcome)
{
    const sc_config_t *config = &sc_httpd()->conf->engine;
    apr_interval_time_t longest = apr_time_from_msec(config->ack_wait_ms) + RESPAWN_TIME;

    if (config->membership != SC_MEMBERSHIP_NONE) {
        /* a session that is not here is looked for first, and may be somewhere else by the time the
         * others get the change: then they get it twice */
        longest += apr_time_from_msec(config->delta.fetch_ms + config->ack_wait_ms);
    }
    change->context = s->context;
    change->context_len = strlen(s->context);
    change->id = s->id;
    change->hint = "";
    if (diff) {
        change->max_idle_s = max_idle_s(s);
        change->attrs = diff->attrs.data;
        change->attrs_len = diff->attrs.len;
        change->nattrs = diff->nattrs;
    }
    return sc_ask(r, op, change, longest, outcome, &s->wait);
}

/* One thread of the child gets to write the line; what the others would have said is not counted
 * exactly, which does not matter. */
static void complain_full(request_rec *r)
{
    sc_log_limit_t *limit = &sc_httpd()->conf->full;
    apr_time_t now = sc_mono(&sc_clock_system);
    apr_time_t next = __atomic_load_n(&limit->next, __ATOMIC_RELAXED);
    apr_uint64_t before;

    if (now < next || !__atomic_compare_exchange_n(&limit->next, &next, now + FULL_INTERVAL, 0,
                                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&limit->suppressed, 1, __ATOMIC_RELAXED);
        return;
    }
    before = __atomic_exchange_n(&limit->suppressed, 0, __ATOMIC_RELAXED);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "SC0211: the store is full: no new session (and %" APR_UINT64_T_FMT
                  " since the last line like this); raise %s",
                  before,
                  sc_httpd()->central ? "the memory of the central store" : "SessionClusterMemory");
}

/* The engine is not there, or too busy. What was asked may have been done or not. */
static apr_status_t unanswered(request_rec *r, chain_t *chain, session_t *s, apr_status_t rv)
{
    const char *who = sc_httpd()->central ? "central store" : "engine";
    char masked[SC_ID_MASKED];

    ap_log_rerror(APLOG_MARK, APLOG_WARNING, rv, r,
                  "SC0212: session %s: no answer from the %s, the change may be lost",
                  sc_id_mask(&s->id, masked), who);
    if (sc_must_refuse()) {
        sc_refuse(chain, r, apr_psprintf(r->pool, "the %s did not answer", who));
    }
    return rv;
}

/**
 * Everything that means the same whatever was asked for.
 * @param done set when it was done, here at least
 * @return what the hook returns
 */
static apr_status_t settle(request_rec *r, chain_t *chain, session_t *s, sc_outcome_t outcome,
                           int *done)
{
    char masked[SC_ID_MASKED];

    *done = 0;
    switch (outcome) {
    case SC_DEGRADED:
        apr_table_setn(r->subprocess_env, "SESSION_CLUSTER_DEGRADED", "1");
        *done = 1;
        return APR_SUCCESS;
    case SC_DONE:
        *done = 1;
        return APR_SUCCESS;
    case SC_NOT_REPLICATED:
        sc_refuse(chain, r, "not every member has acknowledged the change in time");
        return APR_SUCCESS;
    case SC_NO_QUORUM:
        sc_refuse(chain, r, "fewer nodes are alive than SessionClusterQuorum asks for");
        return APR_SUCCESS;
    case SC_FULL: /* no error status: mod_session would log each of them */
        complain_full(r);
        return APR_SUCCESS;
    case SC_TOO_LARGE:
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SC0213: session %s not saved: it would be larger than "
                      "SessionClusterMaxSessionSize %u",
                      sc_id_mask(&s->id, masked), sc_httpd()->conf->engine.max_session);
        return APR_ENOSPC;
    case SC_UNKNOWN:
        if (sc_must_refuse()) {
            sc_refuse(chain, r, "the members that have the session could not be asked in time");
        }
        /* fall through */
    default:
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "SC0214: session %s not saved: %s",
                      sc_id_mask(&s->id, masked), sc_outcome_name(outcome));
        return APR_EGENERAL;
    }
}

static apr_status_t create(request_rec *r, chain_t *chain, session_t *s, const session_diff_t *diff)
{
    sc_change_t change = {0};
    sc_outcome_t outcome;
    apr_status_t rv = sc_id_generate(&s->id);
    int done;

    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "SC0215: no random numbers for a session id");
        return rv;
    }
    change.flags = SC_CHANGE_NEW;
    rv = ask(r, s, SC_LINK_CHANGE, &change, diff, &outcome);
    if (rv != APR_SUCCESS) {
        return unanswered(r, chain, s, rv);
    }
    rv = settle(r, chain, s, outcome, &done);
    if (done) {
        s->due = COOKIE_SET;
    }
    return rv;
}

static apr_status_t change(request_rec *r, chain_t *chain, session_t *s, const session_diff_t *diff)
{
    int rotate = s->dir->rotate != 0 &&
                 sc_session_login_changed(s->z.entries, s->loaded, s->dir->rotate_attr);
    sc_change_t change = {0};
    char masked[SC_ID_MASKED];
    sc_outcome_t outcome;
    apr_status_t rv = rotate ? sc_id_generate(&change.new_id) : APR_SUCCESS;
    int done;

    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "SC0215: no random numbers for a session id");
        return rv;
    }
    rv = ask(r, s, rotate ? SC_LINK_CHANGE_ID : SC_LINK_CHANGE, &change, diff, &outcome);
    if (rv != APR_SUCCESS) {
        return unanswered(r, chain, s, rv);
    }
    if (outcome == SC_ABSENT) {
        /* not when a login beside this request has given the browser a new one */
        s->due = sc_session_renamed(s, r->pool) ? COOKIE_KEEP : COOKIE_CLEAR;
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "SC0216: session %s was ended by another request, the change is dropped",
                      sc_id_mask(&s->id, masked));
        return APR_SUCCESS;
    }
    rv = settle(r, chain, s, outcome, &done);
    if (done && rotate) {
        s->id = change.new_id;
    }
    if (done && (rotate || s->z.maxage > 0)) {
        s->due = COOKIE_SET;
    }
    return rv;
}

static apr_status_t end(request_rec *r, chain_t *chain, session_t *s)
{
    sc_change_t change = {0};
    sc_outcome_t outcome;
    apr_status_t rv = ask(r, s, SC_LINK_REMOVE, &change, NULL, &outcome);
    int done;

    if (rv != APR_SUCCESS) {
        s->due = COOKIE_CLEAR; /* this browser is logged out at least */
        return unanswered(r, chain, s, rv);
    }
    if (outcome == SC_ABSENT) {
        outcome = SC_DONE;
    }
    rv = settle(r, chain, s, outcome, &done);
    if (done || outcome == SC_FULL) { /* a central store that refuses even this: as above */
        s->due = COOKIE_CLEAR;
    }
    return rv;
}

static apr_status_t save(request_rec *r, chain_t *chain, session_t *s)
{
    const sc_config_t *config = &sc_httpd()->conf->engine;
    char masked[SC_ID_MASKED];
    session_diff_t diff;
    apr_status_t rv;
    int done;

    /* whether a session is too large is the engine's to say, and to count: it knows what other
     * requests have put in; only what the link would not carry is refused here */
    rv = sc_session_diff(s->z.entries, s->loaded, config->max_session + LINK_ROOM, chain->top->pool,
                         &diff);
    if (diff.too_long) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "SC0217: session %s not saved: the name of an attribute (%.40s...) is longer "
                      "than %d bytes",
                      s->state == SESSION_LOADED ? sc_id_mask(&s->id, masked) : "(new)",
                      ap_escape_logitem(r->pool, diff.too_long), SC_NAME_MAX);
        rv = APR_EINVAL;
    } else if (rv == APR_ENOSPC) {
        rv = settle(r, chain, s, SC_TOO_LARGE, &done);
    } else if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "SC0218: session not saved");
    } else if (s->state == SESSION_NEW) {
        rv = diff.live > 0 ? create(r, chain, s, &diff) : APR_SUCCESS;
    } else if (diff.live == 0 && (s->loaded->nelts > 0 || s->z.dirty)) {
        rv = end(r, chain, s);
    } else if (diff.nattrs > 0) {
        rv = change(r, chain, s, &diff);
    } else if (s->z.maxage > 0) {
        s->due = COOKIE_SET; /* nothing to store, but the browser's time begins anew */
    }
    sc_buf_free(&diff.attrs);
    return rv;
}

int sc_session_save(request_rec *r, session_rec *z)
{
    const sc_dir_conf_t *dir = sc_config_dir(r);
    chain_t *chain = sc_chain(r, 0);
    session_t *s = chain ? chain->sessions : NULL;

    while (s && &s->z != z) {
        s = s->next;
    }
    if (!s || s->state == SESSION_UNKNOWN) {
        return DECLINED; /* not one of ours */
    }
    if (!s->saved) {
        if (dir->cookie_name && strcmp(dir->cookie_name, s->name) == 0) {
            sc_session_place(chain, s, dir);
        }
        s->save_rv = save(r, chain, s);
        s->saved = 1;
        sc_session_env(r, s);
    }
    return s->save_rv;
}
