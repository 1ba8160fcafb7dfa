/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Slots of mod_proxy's shared memory that are filled and given up here, and what one process has of
 * them; the rules are in balancer_members.c.
 */

#include "balancer_members.h"

APLOG_USE_MODULE(session_cluster);

/** Pause between two lines about one lasting trouble. */
#define LOG_PAUSE apr_time_from_sec(600)

/* ---- slots ------------------------------------------------------------------------------------
 */

proxy_worker_shared *sc_slot_at(const managed_t *m, int i)
{
    void *at = NULL;

    return m->b->storage->dptr(m->b->wslot, (unsigned int)i, &at) == APR_SUCCESS ? at : NULL;
}

/* The hash of a slot that is being filled is written last, def after fnv. */
int sc_slot_taken(const proxy_worker_shared *shm)
{
    return shm && __atomic_load_n(&shm->hash.def, __ATOMIC_ACQUIRE) && shm->hash.fnv;
}

int sc_slot_ours(const proxy_worker_shared *shm)
{
    return sc_slot_taken(shm) && shm->context == SC_SLOT_MARK;
}

static int same_hash(const proxy_hashes *a, const proxy_hashes *b)
{
    return a->def == b->def && a->fnv == b->fnv;
}

int sc_members_may_log(apr_time_t *next, apr_time_t mono)
{
    apr_time_t due = __atomic_load_n(next, __ATOMIC_RELAXED);

    return mono >= due && __atomic_compare_exchange_n(next, &due, mono + LOG_PAUSE, 0,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* ---- this process's workers -------------------------------------------------------------------
 */

void sc_workers_lock(const managed_t *m)
{
    for (int i = 0; i < m->sharers->nelts; i++) {
        (void)PROXY_THREAD_LOCK(APR_ARRAY_IDX(m->sharers, i, proxy_balancer *));
    }
}

void sc_workers_unlock(const managed_t *m)
{
    for (int i = m->sharers->nelts; i > 0; i--) {
        (void)PROXY_THREAD_UNLOCK(APR_ARRAY_IDX(m->sharers, i - 1, proxy_balancer *));
    }
}

/* A pool below the configuration's, so that it ends before mod_proxy is unloaded, but with memory
 * of its own: it comes and goes while requests are served. */
static local_t *make_local(const managed_t *m)
{
    apr_pool_t *pool = sc_shared_pool(m->conf->pool);
    local_t *l;

    if (!pool) {
        return NULL;
    }
    apr_pool_tag(pool, "session_cluster_worker");
    l = apr_pcalloc(pool, sizeof(*l));
    l->pool = pool;
    return l;
}

/* mod_proxy allocates the worker, since later releases may make it larger than it is known here. */
local_t *sc_worker_define(const managed_t *m, const char *url)
{
    local_t *l = make_local(m);
    const char *err;

    if (!l) {
        return NULL;
    }
    l->own = 1;
    err = ap_proxy_define_worker(l->pool, &l->worker, NULL, NULL, url, 0);
    if (err || strcmp(SC_WORKER_NAME(l->worker->s), url) != 0) {
        if (sc_members_may_log(&m->shared->next_odd, sc_mono(&sc_clock_system))) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, m->server, "SC0707: %s: %s is no worker: %s",
                         m->b->s->name, url, err ? err : SC_WORKER_NAME(l->worker->s));
        }
        apr_pool_destroy(l->pool);
        return NULL;
    }
    l->worker->balancer = m->b;
    l->worker->section_config = m->b->section_config;
    return l;
}

void sc_worker_enter(managed_t *m, local_t *l)
{
    APR_ARRAY_PUSH(m->b->workers, proxy_worker *) = l->worker;
    l->next = m->here;
    m->here = l;
}

/* Connections of a worker that is used no more; its slot may be another's by now. */
static int in_use(const proxy_worker *w)
{
    return w->cp && w->cp->res && apr_reslist_acquired_count(w->cp->res) > 0;
}

static void destroy(local_t *l)
{
    proxy_conn_pool *cp = l->worker->cp;

    if (!l->own && cp) {
        l->worker->cp = NULL; /* tells mod_proxy that the connections go with their pool */
        apr_pool_destroy(cp->pool);
    }
    apr_pool_destroy(l->pool);
}

void sc_workers_reap(managed_t *m, apr_time_t mono)
{
    local_t **at = &m->leaving;

    while (*at) {
        local_t *l = *at;

        if (mono - l->left > SC_SLOT_REST && !in_use(l->worker)) {
            *at = l->next;
            destroy(l);
        } else {
            at = &l->next;
        }
    }
}

static local_t *take_out(managed_t *m, proxy_worker *w)
{
    for (local_t **at = &m->here; *at; at = &(*at)->next) {
        local_t *l = *at;

        if (l->worker == w) {
            *at = l->next;
            return l;
        }
    }
    return NULL;
}

/* Workers whose slot is not theirs any more leave the list. */
static void drop_stale(managed_t *m, apr_time_t mono)
{
    apr_array_header_t *workers = m->b->workers;
    int kept = 0;

    for (int i = 0; i < workers->nelts; i++) {
        proxy_worker *w = APR_ARRAY_IDX(workers, i, proxy_worker *);
        local_t *l;

        if (i < m->nstatic || same_hash(&w->hash, &w->s->hash)) {
            APR_ARRAY_IDX(workers, kept++, proxy_worker *) = w;
            continue;
        }
        l = take_out(m, w);
        if (!l) {
            l = make_local(m);
        }
        if (l) {
            l->worker = w;
            l->left = mono;
            l->next = m->leaving;
            m->leaving = l;
        }
    }
    workers->nelts = kept;
}

static proxy_worker *worker_with(const managed_t *m, const proxy_hashes *hash)
{
    for (int i = 0; i < m->b->workers->nelts; i++) {
        proxy_worker *w = APR_ARRAY_IDX(m->b->workers, i, proxy_worker *);

        if (same_hash(&w->hash, hash)) {
            return w;
        }
    }
    return NULL;
}

/* A slot that another process has filled. */
static void adopt(managed_t *m, proxy_worker_shared *shm)
{
    local_t *l = sc_worker_define(m, SC_WORKER_NAME(shm));
    apr_status_t rv;

    if (!l) {
        return;
    }
    l->worker->s = shm;
    rv = ap_proxy_initialize_worker(l->worker, m->server, l->pool);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, m->server, "SC0708: %s: worker %s cannot be used",
                     m->b->s->name, SC_WORKER_NAME(shm));
        apr_pool_destroy(l->pool);
        return;
    }
    sc_worker_enter(m, l);
}

void sc_workers_follow(managed_t *m)
{
    apr_time_t stamped = __atomic_load_n(&m->b->s->wupdated, __ATOMIC_ACQUIRE);

    drop_stale(m, sc_mono(&sc_clock_system));
    for (int i = 0; i < m->b->max_workers; i++) {
        proxy_worker_shared *shm = sc_slot_at(m, i);

        if (sc_slot_ours(shm) && !worker_with(m, &shm->hash)) {
            adopt(m, shm);
        }
    }
    __atomic_store_n(&m->synced, stamped, __ATOMIC_RELEASE);
}
