/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One job: the store is asked, and what comes of it goes to the gate, the log, and the list of what
 * is to be looked at again.
 */

#include "central.h"

#include "apr_allocator.h"

APLOG_USE_MODULE(session_cluster);

/** Memory for temporary allocations that a thread keeps. */
#define POOL_KEEP (256 * 1024)
/** One line about what is found in the store per interval and child. */
#define COMPLAIN apr_time_from_sec(10)

apr_status_t sc_worker_init(sc_worker_t *w, sc_central_host_t *host)
{
    apr_status_t rv = apr_pool_create_unmanaged_ex(&w->pool, NULL, NULL);

    w->host = host;
    sc_buf_init(&w->value, host->rules.max_value);
    if (rv == APR_SUCCESS) {
        /* what a large value has taken is given back */
        apr_allocator_max_free_set(apr_pool_allocator_get(w->pool), POOL_KEEP);
    } else {
        w->pool = NULL;
    }
    return rv;
}

void sc_worker_free(sc_worker_t *w)
{
    sc_buf_free(&w->value);
    if (w->pool) {
        apr_pool_destroy(w->pool);
    }
}

/* ---- what the store has said ----------------------------------------------------------------- */

/* The gate and what the log says of it. */
static void judge(sc_central_host_t *host, const sc_job_t *job, const sc_socache_use_t *use)
{
    sc_central_gate_t *gate = &host->rules.memory->gate;
    apr_interval_time_t retry = apr_time_from_msec((apr_time_t)host->conf->retry_ms);
    apr_time_t now = sc_mono(&sc_clock_system);
    apr_interval_time_t away;

    if (job->outcome == SC_UNKNOWN && use->last != APR_SUCCESS) {
        if (sc_gate_failed(gate, now, retry, 0)) {
            sc_central_count(host->rules.memory, central_outages, 1);
            ap_log_error(APLOG_MARK, APLOG_ERR, use->last, host->server,
                         "SC1010: the central store (%s) does not answer; cookies stay, requests "
                         "with a session get %s until it does",
                         host->provider->name, host->conf->empty ? "none" : "503");
        }
        return;
    }
    away = sc_gate_answered(gate, now);
    if (away) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, host->server,
                     "SC1011: the central store (%s) answers again, after %" APR_TIME_T_FMT " ms",
                     host->provider->name, apr_time_as_msec(away));
    }
}

/* One thread gets to write the line. */
static int may_tell(apr_time_t *next)
{
    apr_time_t now = sc_mono(&sc_clock_system);
    apr_time_t due = __atomic_load_n(next, __ATOMIC_RELAXED);

    return now >= due && __atomic_compare_exchange_n(next, &due, now + COMPLAIN, 0,
                                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static void tell_lost(sc_central_host_t *host, apr_uint64_t before)
{
    if (__atomic_load_n(&host->rules.memory->count.central_lost, __ATOMIC_RELAXED) != before &&
        may_tell(&host->tell_lost)) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, host->server,
                     "SC1012: the central store (%s) answers, but what was always in it is not "
                     "there: it was emptied, began anew without its data, or drops values to make "
                     "room; sessions that are not in it have ended",
                     host->provider->name);
    }
}

static void tell_refused(sc_central_host_t *host, apr_uint64_t before)
{
    if (__atomic_load_n(&host->rules.memory->count.central_refused, __ATOMIC_RELAXED) != before &&
        may_tell(&host->tell_refused)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, host->server,
                     "SC1013: the central store (%s) had something under the key of a session that "
                     "is none, is damaged, or was written by a later version; it is not used",
                     host->provider->name);
    }
}

/* ---- doing ----------------------------------------------------------------------------------- */

static void answer_body(sc_job_t *job)
{
    if (job->v.body_len > 0) {
        sc_put(&job->body, job->v.body, job->v.body_len);
        if (job->body.err != APR_SUCCESS) {
            job->outcome = SC_UNKNOWN;
        }
    }
    job->v.body = job->body.data;
}

static void operate(sc_worker_t *w, sc_job_t *job, const sc_central_store_t *store, sc_buf_t *delta)
{
    const sc_central_t *rules = &w->host->rules;
    sc_change_t change = {0};

    if ((job->op == SC_JOB_CHANGE || job->op == SC_JOB_RENAME) &&
        sc_change_get(&change, job->change.data, job->change.len) != APR_SUCCESS) {
        job->outcome = SC_REFUSED;
        return;
    }
    switch (job->op) {
    case SC_JOB_FIND:
        job->outcome = sc_central_find(rules, store, &job->key, &w->value, &job->v);
        answer_body(job);
        break;
    case SC_JOB_CHANGE:
        job->outcome = sc_central_change(rules, store, &job->key, &change, &w->value, delta);
        if (change.flags & SC_CHANGE_NEW) {
            sc_buf_clear(delta); /* nobody else knows it yet */
        }
        break;
    case SC_JOB_RENAME:
        job->outcome = sc_central_rename(rules, store, &job->key, &job->new_key, &change, job->heir,
                                         &w->value, delta);
        break;
    case SC_JOB_END:
        job->outcome = sc_central_end(rules, store, &job->key, &w->value);
        break;
    case SC_JOB_TOUCH:
        job->outcome = sc_central_touch(rules, store, &job->key, &w->value);
        break;
    default:
        job->outcome = sc_central_look(rules, store, &job->key, &job->change, &w->value);
        break;
    }
}

static void look_later(sc_central_host_t *host, const sc_central_key_t *key, sc_buf_t *delta)
{
    sc_job_t *job;

    if (host->conf->look_ms == 0 || !host->jobs) {
        return;
    }
    job = sc_job_make(SC_JOB_LOOK, key);
    if (delta) {
        sc_buf_swap(&job->change, delta);
    }
    sc_jobs_leave(host, job);
}

void sc_worker_do(sc_worker_t *w, sc_job_t *job)
{
    sc_central_host_t *host = w->host;
    const sc_central_counters_t *count = &host->rules.memory->count;
    apr_uint64_t lost = __atomic_load_n(&count->central_lost, __ATOMIC_RELAXED);
    apr_uint64_t refused = __atomic_load_n(&count->central_refused, __ATOMIC_RELAXED);
    sc_socache_use_t use = {host, NULL, w->pool, &job->given_up, APR_EGENERAL};
    sc_central_store_t store;
    sc_buf_t delta;

    sc_buf_init(&delta, host->rules.max_value);
    sc_socache_functions(&use, &store);
    operate(w, job, &store, &delta);
    sc_socache_release(&use);
    judge(host, job, &use);
    tell_lost(host, lost);
    tell_refused(host, refused);
    if (job->outcome == SC_DONE && (job->op == SC_JOB_END || job->op == SC_JOB_RENAME)) {
        look_later(host, &job->key, NULL);
    }
    if (job->outcome == SC_DONE && delta.len > 0) {
        look_later(host, job->op == SC_JOB_RENAME ? &job->new_key : &job->key, &delta);
    }
    sc_buf_free(&delta);
}
