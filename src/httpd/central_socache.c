/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The provider's instances in a child.
 *
 * The clients behind the redis and memcache providers take a server that failed for dead, for five
 * seconds and without a way to tell them otherwise. But that is remembered in the instance. So
 * after an error another instance is made, with connections of its own, and the old one is
 * destroyed when the last call in it has returned. Instances are in pools of their own, which
 * nothing destroys while a thread may be in them, at the end of the child neither.
 *
 * Other providers have one instance only, the parent's.
 */

#include <pthread.h>

#include "central.h"

#include "apr_allocator.h"
#include "apr_thread_mutex.h"

APLOG_USE_MODULE(session_cluster);

/** Free memory that an instance keeps. */
#define POOL_KEEP (1024 * 1024)

typedef struct instance_t {
    ap_socache_instance_t *socache;
    apr_pool_t *pool; /**< NULL: the parent's */
    int users;
    int old;
} instance_t;

struct sc_instances_t {
    pthread_mutex_t mutex;
    instance_t *current; /**< NULL: the next one makes it */
    instance_t parents;
};

apr_status_t sc_instances_create(sc_central_host_t *host, apr_pool_t *pchild)
{
    sc_instances_t *all = apr_pcalloc(pchild, sizeof(*all));

    host->instances = all;
    if (!(host->traits & SC_SOCACHE_REOPEN)) {
        all->parents.socache = host->first;
        all->current = &all->parents;
    }
    return pthread_mutex_init(&all->mutex, NULL);
}

/* ---- instances ------------------------------------------------------------------------------- */

/* A pool whose children are used by several threads at a time: connections have pools of their own,
 * which share its allocator. */
static apr_pool_t *instance_pool(void)
{
    apr_pool_t *pool = sc_shared_pool(NULL);

    if (pool) {
        apr_allocator_max_free_set(apr_pool_allocator_get(pool), POOL_KEEP);
    }
    return pool;
}

static instance_t *make(const sc_central_host_t *host)
{
    const char *err = NULL;
    instance_t *one;
    apr_pool_t *pool = instance_pool();

    if (!pool) {
        return NULL;
    }
    one = apr_pcalloc(pool, sizeof(*one));
    one->pool = pool;
    err = host->provider->create(&one->socache, host->args, pool, pool);
    if (err || host->provider->init(one->socache, host->rules.prefix, NULL, host->server, pool) !=
                   APR_SUCCESS) {
        apr_pool_destroy(pool);
        return NULL;
    }
    return one;
}

/* With the mutex held. @return the pool to be destroyed when it is not held any more, or NULL */
static apr_pool_t *unused(instance_t *one)
{
    return one->old && one->users == 0 ? one->pool : NULL;
}

static apr_status_t acquire(sc_socache_use_t *use)
{
    sc_instances_t *all = use->host->instances;

    if (use->instance) {
        return APR_SUCCESS;
    }
    (void)pthread_mutex_lock(&all->mutex);
    if (!all->current) {
        all->current = make(use->host);
    }
    if (all->current) {
        use->instance = all->current;
        use->instance->users++;
    }
    (void)pthread_mutex_unlock(&all->mutex);
    return use->instance ? APR_SUCCESS : APR_ENOMEM;
}

void sc_socache_release(sc_socache_use_t *use)
{
    sc_instances_t *all = use->host->instances;
    apr_pool_t *gone;

    if (use->instance) {
        (void)pthread_mutex_lock(&all->mutex);
        use->instance->users--;
        gone = unused(use->instance);
        (void)pthread_mutex_unlock(&all->mutex);
        use->instance = NULL;
        if (gone) {
            apr_pool_destroy(gone);
        }
    }
}

/* @param which the one that failed; another one has been made already if it is not the current one
 */
static void retire(sc_central_host_t *host, const instance_t *which)
{
    sc_instances_t *all = host->instances;
    apr_pool_t *gone = NULL;

    (void)pthread_mutex_lock(&all->mutex);
    if (all->current && all->current->pool && (!which || all->current == which)) {
        all->current->old = 1;
        gone = unused(all->current);
        all->current = NULL;
    }
    (void)pthread_mutex_unlock(&all->mutex);
    if (gone) {
        apr_pool_destroy(gone);
    }
}

void sc_instances_renew(sc_central_host_t *host)
{
    retire(host, NULL);
}

/* ---- the functions --------------------------------------------------------------------------- */

static void lock(const sc_central_host_t *host)
{
    if (host->mutex) {
        (void)apr_global_mutex_lock(host->mutex);
    }
}

static void unlock(const sc_central_host_t *host)
{
    if (host->mutex) {
        (void)apr_global_mutex_unlock(host->mutex);
    }
}

/* One that is larger than the room is told in two ways. */
static apr_status_t outcome_of(sc_socache_use_t *use, apr_status_t rv)
{
    apr_pool_clear(use->pool);
    if (rv == APR_ENOMEM) {
        rv = APR_ENOSPC;
    }
    use->last = rv;
    return rv;
}

static apr_status_t get(void *baton, const sc_central_key_t *key, unsigned char *out,
                        apr_size_t *len)
{
    sc_socache_use_t *use = baton;
    const sc_central_host_t *host = use->host;
    unsigned int n = (unsigned int)*len;
    apr_status_t rv = acquire(use);

    if (rv == APR_SUCCESS) {
        lock(host);
        rv = host->provider->retrieve(use->instance->socache, host->server, key->b, sizeof(key->b),
                                      out, &n, use->pool);
        unlock(host);
    }
    if (rv == APR_SUCCESS && n > *len) {
        rv = APR_EGENERAL;
    }
    if (rv == APR_EGENERAL && (host->traits & SC_SOCACHE_VAGUE)) {
        rv = APR_NOTFOUND; /* a file that cannot be read has an error of its own */
    }
    *len = n;
    return outcome_of(use, rv);
}

static apr_status_t put(void *baton, const sc_central_key_t *key, const unsigned char *data,
                        apr_size_t len, apr_uint32_t ttl_s)
{
    sc_socache_use_t *use = baton;
    const sc_central_host_t *host = use->host;
    apr_status_t rv = acquire(use);

    if (rv == APR_SUCCESS) {
        /* providers count in whole seconds and leave out what is over */
        apr_time_t expiry =
            apr_time_now() + apr_time_from_sec((apr_time_t)ttl_s) + apr_time_from_msec(900);

        lock(host);
        /* none of them writes to the data, whatever the type says */
        rv = host->provider->store(use->instance->socache, host->server, key->b, sizeof(key->b),
                                   expiry, (unsigned char *)(apr_uintptr_t)data, (unsigned int)len,
                                   use->pool);
        unlock(host);
    }
    return outcome_of(use, rv);
}

static apr_status_t forget(void *baton, const sc_central_key_t *key)
{
    sc_socache_use_t *use = baton;
    const sc_central_host_t *host = use->host;
    apr_status_t rv = acquire(use);

    if (rv == APR_SUCCESS) {
        lock(host);
        rv = host->provider->remove(use->instance->socache, host->server, key->b, sizeof(key->b),
                                    use->pool);
        unlock(host);
    }
    return outcome_of(use, rv);
}

static void renew(void *baton)
{
    sc_socache_use_t *use = baton;

    retire(use->host, use->instance);
    sc_socache_release(use);
}

static int wanted(void *baton)
{
    const sc_socache_use_t *use = baton;

    return !use->given_up || !__atomic_load_n(use->given_up, __ATOMIC_ACQUIRE);
}

void sc_socache_functions(sc_socache_use_t *use, sc_central_store_t *out)
{
    out->baton = use;
    out->get = get;
    out->put = put;
    out->remove = forget;
    out->renew = (use->host->traits & SC_SOCACHE_REOPEN) ? renew : NULL;
    out->wanted = wanted;
}
