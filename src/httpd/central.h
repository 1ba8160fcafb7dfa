/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file central.h
 * @brief SessionClusterManager store: a socache provider of httpd as the room "central" sees it.
 *
 * central.c: configuration, what the children share. central_socache.c: the provider's instances.
 * central_jobs.c: threads that ask it, so that no request waits longer than configured.
 * central_work.c: what they do.
 * central_session.c: what the session provider asks.
 */
#ifndef SC_HTTPD_CENTRAL_H
#define SC_HTTPD_CENTRAL_H

#include "sc_central.h"
#include "sc_httpd.h"

#include <pthread.h>

#include "ap_socache.h"
#include "apr_global_mutex.h"

/** For providers that are not safe to be used by several at a time; directive Mutex. */
#define SC_CENTRAL_MUTEX "session-cluster-store"

/** What is known of a provider. */
#define SC_SOCACHE_LOCAL 0x1  /**< in this machine: answers at once, nobody else writes to it */
#define SC_SOCACHE_REOPEN 0x2 /**< a further instance is another set of connections, no more */
#define SC_SOCACHE_VAGUE 0x8  /**< what is not there is an error, too */
#define SC_SOCACHE_MONTH 0x4  /**< remembers for 30 days at most: more would be taken for a date */

typedef struct sc_instances_t sc_instances_t;
typedef struct sc_jobs_t sc_jobs_t;

/** All about the central store; in pconf, the rest of it in each child. */
typedef struct sc_central_host_t {
    const ap_socache_provider_t *provider;
    const char *args;
    unsigned int traits; /**< SC_SOCACHE_* */
    server_rec *server;
    ap_socache_instance_t *first; /**< made by the parent */
    apr_global_mutex_t *mutex;    /**< NULL: the provider needs none */
    sc_central_t rules;
    const sc_central_conf_t *conf;
    sc_instances_t *instances; /**< children only, as below */
    sc_jobs_t *jobs;           /**< NULL: local, asked by requests themselves */
    apr_time_t tell_lost;      /**< mono: no line about that before */
    apr_time_t tell_refused;
} sc_central_host_t;

/* ---- central.c ------------------------------------------------------------------------------- */
void sc_central_defaults(sc_central_conf_t *conf);
/** Check of the whole configuration: makes the provider's instance. @return what is wrong, or NULL
 */
const char *sc_central_wrong(sc_server_conf_t *conf, server_rec *s, apr_pool_t *pconf,
                             apr_pool_t *ptemp);
/** post_config, parent. What went wrong has been logged. */
apr_status_t sc_central_prepare(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp);
void sc_central_child_init(apr_pool_t *pchild, server_rec *s);

/* ---- central_socache.c ----------------------------------------------------------------------- */

/** One operation's view of the provider. */
typedef struct sc_socache_use_t {
    sc_central_host_t *host;
    struct instance_t *instance; /**< in use; NULL: none yet */
    apr_pool_t *pool;            /**< for the provider's temporary allocations; cleared each time */
    const int *given_up;         /**< set when nobody waits any more; NULL: somebody does */
    apr_status_t last;           /**< of the last call */
} sc_socache_use_t;

apr_status_t sc_instances_create(sc_central_host_t *host, apr_pool_t *pchild);
/** The functions over one use. */
void sc_socache_functions(sc_socache_use_t *use, sc_central_store_t *out);
/** Let go of the instance. */
void sc_socache_release(sc_socache_use_t *use);
/** Whoever asks next shall do so over new connections: those of now hang. */
void sc_instances_renew(sc_central_host_t *host);

/* ---- jobs ------------------------------------------------------------------------------------ */

typedef enum sc_job_op_t {
    SC_JOB_FIND,
    SC_JOB_CHANGE,
    SC_JOB_RENAME,
    SC_JOB_END,
    SC_JOB_TOUCH,
    SC_JOB_LOOK
} sc_job_op_t;

typedef struct sc_job_t sc_job_t;

struct sc_job_t {
    sc_job_op_t op;
    sc_central_key_t key;
    sc_central_key_t new_key;
    char heir[SC_CENTRAL_HEIR_MAX + 1]; /**< RENAME */
    sc_buf_t change; /**< encoded, sc_change_put; of LOOK: what has been changed */
    /* answered */
    sc_outcome_t outcome;
    sc_central_value_t v; /**< FIND; its body is in `body` */
    sc_buf_t body;
    /* kept by central_jobs.c */
    sc_job_t *next;
    pthread_cond_t *done; /**< of who waits */
    apr_time_t due;       /**< LOOK: mono; of those that nobody waits for, later: when they began */
    int tries;
    int state;
    int is_try;   /**< at a store that does not answer */
    int given_up; /**< nobody waits for it */
};

/* ---- central_work.c -------------------------------------------------------------------------- */

/** What whoever does jobs has for itself. */
typedef struct sc_worker_t {
    sc_central_host_t *host;
    apr_pool_t *pool; /**< for the provider */
    sc_buf_t value;
} sc_worker_t;

apr_status_t sc_worker_init(sc_worker_t *w, sc_central_host_t *host);
/** Also after an init that failed. */
void sc_worker_free(sc_worker_t *w);
/** Do it, now and here. */
void sc_worker_do(sc_worker_t *w, sc_job_t *job);

/* ---- central_jobs.c -------------------------------------------------------------------------- */

sc_job_t *sc_job_make(sc_job_op_t op, const sc_central_key_t *key);
void sc_job_free(sc_job_t *job);

apr_status_t sc_jobs_create(sc_central_host_t *host, apr_pool_t *pchild);
/**
 * Do a job and wait for its end, as long as configured.
 * @return the job, with its outcome, to be freed; NULL: the store has not answered, or was not
 * asked
 */
sc_job_t *sc_jobs_run(sc_central_host_t *host, sc_job_t *job);
/** Do a job that nobody waits for; it frees itself. */
void sc_jobs_leave(sc_central_host_t *host, sc_job_t *job);

#endif
