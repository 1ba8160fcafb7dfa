/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a request has changed goes to the engine, and the request waits for its answer.
 *
 * A session that did not change costs nothing here. A new one gets its id now, not earlier: until
 * something is put into it there is none. An empty one that had something is a logout.
 */

#include "listeners.h"
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

apr_status_t sc_session_ask(request_rec *r, session_t *s, sc_link_op_t op, sc_change_t *change,
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

static const char *primary_of(const session_t *s, const sc_id_t *id)
{
    session_t other = *s;
    sc_record_t rec;

    other.id = *id;
    return sc_session_where(&other, &rec) == APR_SUCCESS
               ? sc_store_route_name(sc_httpd()->store, rec.primary)
               : sc_httpd()->conf->engine.route;
}

/* Listeners are told what this request did. */
static void did(request_rec *r, const session_t *s, sc_session_what_t what, const sc_id_t *id)
{
    if (sc_listeners_any()) {
        sc_listeners_did(r, what, what == SC_SESSION_DESTROYED ? SC_GONE_INVALIDATED : SC_GONE_NOT,
                         s->context, id, NULL, primary_of(s, id));
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
    change.id = s->id;
    change.flags = SC_CHANGE_NEW;
    rv = sc_session_ask(r, s, SC_LINK_CHANGE, &change, diff, &outcome);
    if (rv != APR_SUCCESS) {
        return unanswered(r, chain, s, rv);
    }
    rv = settle(r, chain, s, outcome, &done);
    if (done) {
        s->due = COOKIE_SET;
        s->rotated = 1; /* it is as new as an id can be */
        did(r, s, SC_SESSION_CREATED, &s->id);
    }
    return rv;
}

/* A session for a login that came too late for the one that it was meant for: that has a new id,
 * and may be somebody else's by now. */
static apr_status_t begin_anew(request_rec *r, chain_t *chain, session_t *s)
{
    char masked[SC_ID_MASKED];
    session_diff_t whole;
    apr_status_t rv =
        sc_session_diff(s->z.entries, NULL, sc_httpd()->conf->engine.max_session + LINK_ROOM,
                        chain->top->pool, &whole);

    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "SC1053: session %s had been given a new id when this request logged in; it "
                  "begins another session",
                  sc_id_mask(&s->id, masked));
    s->route = sc_httpd()->conf->engine.route;
    s->hint = "";
    if (rv == APR_SUCCESS) {
        rv = create(r, chain, s, &whole);
    } else {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "SC0218: session not saved");
    }
    sc_buf_free(&whole.attrs);
    return rv;
}

/* The session is not there under the id that this request knows: it was ended, or the id was
 * changed by another request. Whatever it is, the browser may have a new cookie by now, which
 * stays. */
static apr_status_t overtaken(request_rec *r, chain_t *chain, session_t *s, rotation_t rotation,
                              const session_diff_t *diff)
{
    char masked[SC_ID_MASKED];
    sc_outcome_t outcome;
    apr_status_t rv;
    sc_id_t heir;
    int done;

    if (!sc_session_heir(s, &s->id, &heir)) {
        s->due = COOKIE_CLEAR;
    } else {
        s->due = COOKIE_KEEP;
        if (rotation == ROTATE_LOGIN) {
            return begin_anew(r, chain, s);
        }
        if (diff->nattrs == 0) {
            return APR_SUCCESS;
        }
        if (sc_rotation_follow(r, chain, s, SC_LINK_CHANGE, diff, &heir, &outcome)) {
            rv = settle(r, chain, s, outcome, &done);
            if (done) {
                did(r, s, SC_SESSION_CHANGED, &heir);
            }
            return rv;
        }
        if (outcome == SC_REFUSED) {
            return APR_SUCCESS;
        }
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "SC0216: session %s was ended by another request, the change is dropped",
                  sc_id_mask(&s->id, masked));
    return APR_SUCCESS;
}

/* Whether the new id is in use, whatever the engine has said, or whether it has said anything. */
static int has_become(const session_t *s, const sc_id_t *id)
{
    sc_id_t heir;

    return sc_session_heir(s, &s->id, &heir) && memcmp(&heir, id, sizeof(heir)) == 0;
}

static void take_new_id(request_rec *r, session_t *s, rotation_t rotation, const sc_id_t *id)
{
    char masked[SC_ID_MASKED], masked_new[SC_ID_MASKED];

    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "SC1054: session %s goes on as %s: %s",
                  sc_id_mask(&s->id, masked), sc_id_mask(id, masked_new),
                  rotation == ROTATE_LOGIN ? "its login has changed" : "a new id was asked for");
    did(r, s, SC_SESSION_CREATED, id);
    if (sc_listeners_any()) {
        sc_listeners_did(r, SC_SESSION_DESTROYED, SC_GONE_RENAMED, s->context, &s->id, id,
                         primary_of(s, id));
    }
    s->id = *id;
    s->rotated = 1;
    s->due = COOKIE_SET;
}

static apr_status_t change_id(request_rec *r, chain_t *chain, session_t *s, rotation_t rotation,
                              session_diff_t *diff)
{
    sc_change_t change = {0};
    apr_uint32_t nattrs = diff->nattrs;
    apr_size_t len = diff->attrs.len;
    sc_outcome_t outcome;
    apr_status_t rv = sc_id_generate(&change.new_id);
    int done;

    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "SC0215: no random numbers for a session id");
        return rv;
    }
    sc_rotation_mark(r, chain, s, rotation, diff);
    change.id = s->id;
    rv = sc_session_ask(r, s, SC_LINK_CHANGE_ID, &change, diff, &outcome);
    if (rv == APR_SUCCESS && outcome == SC_ABSENT) {
        diff->nattrs = nattrs; /* the mark is of this change of id only */
        diff->attrs.len = len;
        return overtaken(r, chain, s, rotation, diff);
    }
    if (rv != APR_SUCCESS) {
        rv = unanswered(r, chain, s, rv);
        done = 0;
    } else {
        rv = settle(r, chain, s, outcome, &done);
    }
    if (done || has_become(s, &change.new_id)) {
        take_new_id(r, s, rotation, &change.new_id);
    }
    return rv;
}

static apr_status_t change(request_rec *r, chain_t *chain, session_t *s, session_diff_t *diff)
{
    rotation_t rotation = sc_rotation_wanted(r, chain, s);
    sc_change_t change = {0};
    sc_outcome_t outcome;
    apr_status_t rv;
    int done;

    if (rotation != ROTATE_NOT) {
        return change_id(r, chain, s, rotation, diff);
    }
    change.id = s->id;
    rv = sc_session_ask(r, s, SC_LINK_CHANGE, &change, diff, &outcome);
    if (rv != APR_SUCCESS) {
        return unanswered(r, chain, s, rv);
    }
    if (outcome == SC_ABSENT) {
        return overtaken(r, chain, s, ROTATE_NOT, diff);
    }
    rv = settle(r, chain, s, outcome, &done);
    if (done && s->z.maxage > 0) {
        s->due = COOKIE_SET;
    }
    if (done) {
        did(r, s, SC_SESSION_CHANGED, &s->id);
    }
    return rv;
}

static apr_status_t end(request_rec *r, chain_t *chain, session_t *s)
{
    sc_change_t change = {0};
    sc_outcome_t outcome;
    apr_status_t rv;
    sc_id_t heir;
    int done;

    change.id = s->id;
    rv = sc_session_ask(r, s, SC_LINK_REMOVE, &change, NULL, &outcome);
    if (rv != APR_SUCCESS) {
        s->due = COOKIE_CLEAR; /* this browser is logged out at least */
        return unanswered(r, chain, s, rv);
    }
    /* an id that was changed had nothing to end any more */
    heir = s->id;
    if (sc_session_heir(s, &s->id, &heir) &&
        !sc_rotation_follow(r, chain, s, SC_LINK_REMOVE, NULL, &heir, &outcome)) {
        s->due = COOKIE_KEEP;
        return APR_SUCCESS;
    }
    if (outcome == SC_ABSENT) {
        outcome = SC_DONE;
    }
    rv = settle(r, chain, s, outcome, &done);
    if (done || outcome == SC_FULL) { /* a central store that refuses even this: as above */
        s->due = COOKIE_CLEAR;
        did(r, s, SC_SESSION_DESTROYED, &heir);
    }
    return rv;
}

/* What a request wants stored that has no session. */
static apr_status_t begin(request_rec *r, chain_t *chain, session_t *s, const session_diff_t *diff)
{
    char masked[SC_ID_MASKED];

    if (!s->stale) {
        return create(r, chain, s, diff);
    }
    if (sc_rotation_wanted(r, chain, s) == ROTATE_LOGIN) {
        return begin_anew(r, chain, s);
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "SC1055: session %s has been given a new id a moment ago, this request came with "
                  "the old one: what it wants stored is dropped",
                  sc_id_mask(&s->id, masked));
    return APR_SUCCESS;
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
        rv = diff.live > 0 ? begin(r, chain, s, &diff) : APR_SUCCESS;
    } else if (diff.live == 0 && (s->loaded->nelts > 0 || s->z.dirty)) {
        rv = end(r, chain, s);
    } else if (diff.nattrs > 0 || sc_rotation_wanted(r, chain, s) != ROTATE_NOT) {
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

apr_status_t sc_session_end_now(request_rec *r, session_t *s)
{
    if (s->saved) {
        return APR_EGENERAL;
    }
    apr_table_clear(s->z.entries);
    s->saved = 1; /* what is put into it from now on is for nobody */
    s->save_rv = end(r, sc_chain(r, 0), s);
    sc_session_env(r, s);
    return s->save_rv;
}

void sc_session_rotate_unsaved(request_rec *r, chain_t *chain)
{
    for (session_t *s = chain->sessions; s; s = s->next) {
        session_diff_t none;

        if (chain->asked == ROTATE_NOT || s->rotated || s->state != SESSION_LOADED ||
            s->due == COOKIE_CLEAR) {
            continue;
        }
        memset(&none, 0, sizeof(none));
        sc_buf_init(&none.attrs, LINK_ROOM);
        (void)change_id(r, chain, s, chain->asked, &none);
        sc_buf_free(&none.attrs);
        sc_session_env(r, s);
    }
    chain->asked = ROTATE_NOT;
}
