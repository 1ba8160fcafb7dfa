/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions of requests in the central store: what session_load.c and session_save.c otherwise ask
 * the store in shared memory and the engine. Outcomes mean the same.
 *
 * Any node can serve any session, so there is nothing to be taken over: when the node of the cookie
 * is gone, the cookie just gets the name of this one.
 */

#include "central.h"
#include "provider.h"

APLOG_USE_MODULE(session_cluster);

static apr_status_t key_of(sc_central_key_t *key, const char *context, const sc_id_t *id)
{
    const sc_central_host_t *host = sc_httpd()->central;

    return sc_central_key(key, host->rules.prefix, context, strlen(context), id);
}

/** @return the job that has found out, to be freed; NULL: not known */
static sc_job_t *look_up(const session_t *s, const sc_id_t *id, sc_central_key_t *key)
{
    if (key_of(key, s->context, id) != APR_SUCCESS) {
        return NULL;
    }
    return sc_jobs_run(sc_httpd()->central, sc_job_make(SC_JOB_FIND, key));
}

/* ---- ids that were changed ------------------------------------------------------------------- */

/* Whoever reads the store shall not learn from an old id which one is in use now. So it is covered
 * with what only follows from the old one itself, which is not in the store. */
static apr_status_t cover(const char *context, const sc_id_t *old, sc_id_t *id)
{
    sc_central_key_t pad;
    char text[SC_CONTEXT_MAX + 8];
    apr_status_t rv;

    apr_snprintf(text, sizeof(text), "heir:%s", context);
    rv = key_of(&pad, text, old);
    for (int i = 0; i < SC_ID_LEN; i++) {
        id->b[i] ^= pad.b[i];
    }
    return rv;
}

int sc_central_heir(const session_t *s, const sc_id_t *id, sc_id_t *heir)
{
    char text[SC_CENTRAL_HEIR_MAX + 1];
    sc_central_key_t key;
    sc_job_t *job = look_up(s, id, &key);
    int known = job && job->outcome == SC_ABSENT && sc_central_heir_text(&job->v, text) &&
                sc_id_parse(heir, text, strlen(text)) == APR_SUCCESS &&
                cover(s->context, id, heir) == APR_SUCCESS;

    sc_job_free(job);
    return known;
}

int sc_central_other(const session_t *s, const sc_id_t *id, sc_stored_t *stored)
{
    sc_central_key_t key;
    sc_job_t *job = look_up(s, id, &key);
    int found = !job ? -1 : job->outcome == SC_FOUND;

    memset(stored, 0, sizeof(*stored));
    if (found == 1) {
        stored->body = apr_pmemdup(s->z.pool, job->v.body, job->v.body_len);
        stored->rec.body_len = (apr_uint32_t)job->v.body_len;
    }
    sc_job_free(job);
    return found;
}

/* ---- changes --------------------------------------------------------------------------------- */

static sc_job_t *job_of(sc_link_op_t op, const sc_change_t *change, const sc_central_key_t *key)
{
    const char *context = change->context;
    sc_job_t *job = sc_job_make(op == SC_LINK_CHANGE      ? SC_JOB_CHANGE
                                : op == SC_LINK_CHANGE_ID ? SC_JOB_RENAME
                                                          : SC_JOB_END,
                                key);

    sc_change_put(&job->change, change);
    if (job->change.err != APR_SUCCESS ||
        (op == SC_LINK_CHANGE_ID &&
         key_of(&job->new_key, context, &change->new_id) != APR_SUCCESS)) {
        sc_job_free(job);
        return NULL;
    }
    if (op == SC_LINK_CHANGE_ID) {
        sc_id_t heir = change->new_id;

        if (cover(context, &change->id, &heir) == APR_SUCCESS) {
            (void)sc_id_format(&heir, job->heir);
        }
    }
    return job;
}

apr_status_t sc_central_ask(sc_link_op_t op, const sc_change_t *change, sc_outcome_t *outcome)
{
    sc_central_key_t key;
    sc_job_t *job;
    apr_status_t rv;

    if (op != SC_LINK_CHANGE && op != SC_LINK_CHANGE_ID && op != SC_LINK_REMOVE) {
        return APR_ENOTIMPL;
    }
    rv = key_of(&key, change->context, &change->id);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    job = job_of(op, change, &key);
    if (!job) {
        return APR_ENOMEM;
    }
    job = sc_jobs_run(sc_httpd()->central, job);
    if (!job) {
        return APR_TIMEUP;
    }
    *outcome = job->outcome;
    sc_job_free(job);
    return APR_SUCCESS;
}

/* ---- finding --------------------------------------------------------------------------------- */

/* While the cookie's node is alive the request is only a guest here, and the cookie stays as it is.
 */
static void bind_route(session_t *s, const char *route)
{
    const sc_httpd_t *h = sc_httpd();
    const char *own = h->conf->engine.route;

    s->role = "store";
    s->route = own;
    if (strcmp(route, own) == 0) {
        return;
    }
    if (*own && *route && h->board && sc_board_route_alive(h->board, route, strlen(route)) &&
        sc_board_route_state(h->board, route, strlen(route)) != SC_NODE_LEAVING) {
        s->route = route;
        return;
    }
    s->due = COOKIE_SET;
    s->old_route = *own && *route ? route : NULL;
}

static void touch(const sc_central_key_t *key, apr_uint32_t max_idle_s, int cookie)
{
    sc_central_host_t *host = sc_httpd()->central;

    /* when the cookie is sent again this is written, so that the next request does not do it, too
     */
    if (sc_central_touch_due(&host->rules, key, max_idle_s) || cookie) {
        sc_jobs_leave(host, sc_job_make(SC_JOB_TOUCH, key));
    }
}

static int found(request_rec *r, session_t *s, const sc_job_t *job, const sc_central_key_t *key,
                 const char *route, int filtered)
{
    apr_pool_t *pool = s->z.pool;
    const sc_central_value_t *v = &job->v;
    apr_time_t wall = apr_time_now();
    int cookie;

    if (sc_session_take(s, apr_pmemdup(pool, v->body, v->body_len), v->body_len) != APR_SUCCESS) {
        return 0;
    }
    s->state = SESSION_LOADED;
    cookie = sc_session_arm(r, s, apr_time_from_msec((apr_time_t)v->created_ms),
                            apr_time_from_msec((apr_time_t)v->accessed_ms), wall);
    if (!filtered) {
        touch(key, v->max_idle_s, cookie);
    }
    bind_route(s, route);
    return 1;
}

int sc_central_take(request_rec *r, session_t *s, const sc_stored_t *stored, const char *route)
{
    if (sc_session_take(s, stored->body, stored->rec.body_len) != APR_SUCCESS) {
        apr_table_clear(s->z.entries);
        return 0;
    }
    s->state = SESSION_LOADED;
    bind_route(s, route);
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache, private");
    return 1;
}

/* Whether the id was changed within the time for which old ones are worth something. A clock of
 * another node that is ahead makes it longer, but for no longer than the store remembers it. */
static int is_recent(const session_t *s, const sc_central_value_t *v)
{
    apr_time_t changed = apr_time_from_msec((apr_time_t)v->accessed_ms);

    return v->kind == SC_CENTRAL_RENAMED && changed + sc_rotation_grace(s->dir) > apr_time_now();
}

central_found_t sc_central_load(request_rec *r, session_t *s, const char *route, int filtered)
{
    central_found_t result = CENTRAL_UNKNOWN;
    sc_central_key_t key;
    sc_job_t *job = look_up(s, &s->id, &key);

    if (job && job->outcome == SC_FOUND) {
        result = found(r, s, job, &key, route, filtered) ? CENTRAL_FOUND : CENTRAL_UNKNOWN;
    } else if (job && job->outcome == SC_ABSENT) {
        result = is_recent(s, &job->v) ? CENTRAL_RENAMED : CENTRAL_GONE;
    }
    sc_job_free(job);
    return result;
}
