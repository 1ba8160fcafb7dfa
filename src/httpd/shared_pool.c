/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Pools that several threads use, each at its time: those of objects that one thread makes and
 * another one destroys, and whose owners make pools of their own below.
 */

#include "apr_allocator.h"
#include "apr_thread_mutex.h"

#include "sc_httpd.h"

apr_pool_t *sc_shared_pool(apr_pool_t *parent)
{
    apr_allocator_t *allocator;
    apr_thread_mutex_t *mutex;
    apr_pool_t *pool;
    apr_status_t rv;

    if (apr_allocator_create(&allocator) != APR_SUCCESS) {
        return NULL;
    }
    rv = parent ? apr_pool_create_ex(&pool, parent, NULL, allocator)
                : apr_pool_create_unmanaged_ex(&pool, NULL, allocator);
    if (rv != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, pool);
    if (apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, pool) != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return NULL;
    }
    apr_allocator_mutex_set(allocator, mutex);
    return pool;
}
