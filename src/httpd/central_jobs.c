/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Threads that ask the central store for the requests of a child.
 *
 * The clients behind the providers wait for a server for ever (memcache), or as good as (redis: its
 * timeout is multiplied by a million once too often). A request must not. So it hands its question
 * to a thread of these and waits as long as configured. A thread that is given up is lost until the
 * server answers it or its connection breaks; meanwhile another takes its place. That cannot go on
 * for long, since the first one that was given up shuts the gate (sc_central.h): from then on there
 * is one try at a time, and a child with too many that hang makes none but rarely.
 *
 * The same threads do what nobody waits for: writing accesses, and looking again at changes.
 *
 * They block all signals, which belong to the server's own threads. The child that ends waits a
 * moment for them; if some hang in the store then, it ends without the clean-up of its memory,
 * which these would still use.
 */

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "central.h"

#include "ap_mpm.h"

APLOG_USE_MODULE(session_cluster);

/** A thread without work ends after so long. */
#define IDLE_TIME apr_time_from_sec(30)
/** Tries at a store that hangs, of one child: beyond that it makes one in a while only. (At one
 * that cannot be reached they end by themselves, after a second.) */
#define TRIES_MAX 16
#define TRIES_PAUSE apr_time_from_sec(60)
/** What nobody waits for: jobs at most; the rest is dropped. */
#define LEFT_MAX 4096
/** Threads that may be at these at a time: the others are for requests. */
#define LEFT_THREADS 4
/** When they are all taken, others look for a free place so often. */
#define FULL_PAUSE apr_time_from_msec(50)
/** How often a change is looked at when it always was overwritten, or the store does not answer. */
#define LOOKS 20
/** How long the end of a child waits for its threads. */
#define END_TIME apr_time_from_sec(2)

enum { JOB_WAITING, JOB_RUNNING, JOB_DONE };

typedef struct list_t {
    sc_job_t *first, *last;
    int n;
} list_t;

struct sc_jobs_t {
    sc_central_host_t *host;
    pthread_mutex_t mutex;
    pthread_cond_t work;  /**< for the threads: something to do, or the end */
    pthread_cond_t ended; /**< for the end: a thread has ended */
    pthread_condattr_t attr;
    list_t queue;
    list_t touches;
    list_t looks;                    /**< in order of their due times */
    int left;                        /**< jobs that nobody waits for */
    sc_job_t *running[LEFT_THREADS]; /**< of these */
    int threads;
    int idle;
    int most;
    int lost;       /**< given up */
    int lost_tries; /**< of these, tries at a store that did not answer */
    int ending;
    apr_time_t beyond; /**< mono: when a try was made beyond TRIES_MAX */
};

/* ---- jobs ------------------------------------------------------------------------------------ */

sc_job_t *sc_job_make(sc_job_op_t op, const sc_central_key_t *key)
{
    sc_job_t *job = ap_calloc(1, sizeof(*job));

    job->op = op;
    job->key = *key;
    sc_buf_init(&job->change, 64 * 1024 * 1024);
    sc_buf_init(&job->body, 64 * 1024 * 1024);
    return job;
}

void sc_job_free(sc_job_t *job)
{
    if (job) {
        sc_buf_free(&job->change);
        sc_buf_free(&job->body);
        free(job);
    }
}

static void push(list_t *list, sc_job_t *job)
{
    job->next = NULL;
    if (list->last) {
        list->last->next = job;
    } else {
        list->first = job;
    }
    list->last = job;
    list->n++;
}

static sc_job_t *pop(list_t *list)
{
    sc_job_t *job = list->first;

    if (job) {
        list->first = job->next;
        if (!list->first) {
            list->last = NULL;
        }
        list->n--;
    }
    return job;
}

static void take_out(list_t *list, const sc_job_t *job)
{
    list_t rest = {NULL, NULL, 0};
    sc_job_t *one;

    while ((one = pop(list)) != NULL) {
        if (one != job) {
            push(&rest, one);
        }
    }
    *list = rest;
}

/* ---- threads --------------------------------------------------------------------------------- */

static void wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, apr_time_t mono)
{
    /* the condition variables count in CLOCK_MONOTONIC, which differs from sc_mono by what the
     * machine has slept */
    apr_interval_time_t left = mono - sc_mono(&sc_clock_system);
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    left = left > 0 ? left : 0;
    until.tv_sec += (time_t)(left / APR_USEC_PER_SEC);
    until.tv_nsec += (long)(left % APR_USEC_PER_SEC) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(cond, mutex, &until);
}

/* With the mutex held. A place for a job that nobody waits for; those that hang give theirs up.
 * @return NULL: there is none */
static sc_job_t **place_for_left(sc_jobs_t *jobs, apr_time_t now)
{
    apr_interval_time_t timeout = apr_time_from_msec((apr_time_t)jobs->host->conf->timeout_ms);

    for (int i = 0; i < LEFT_THREADS; i++) {
        sc_job_t *one = jobs->running[i];

        if (one && now - one->due > timeout) {
            __atomic_store_n(&one->given_up, 1, __ATOMIC_RELEASE);
            jobs->lost++;
            jobs->running[i] = NULL;
        }
        if (!jobs->running[i]) {
            return &jobs->running[i];
        }
    }
    return NULL;
}

/* With the mutex held. At the end what was to be looked at later is looked at now. */
static sc_job_t *next_job(sc_jobs_t *jobs, apr_time_t now)
{
    sc_job_t **place;
    sc_job_t *job;

    if (jobs->queue.first) {
        return pop(&jobs->queue);
    }
    place = place_for_left(jobs, now);
    if (!place) {
        return NULL;
    }
    job = pop(&jobs->touches);
    if (!job && jobs->looks.first && (jobs->looks.first->due <= now || jobs->ending)) {
        job = pop(&jobs->looks);
    }
    if (job) {
        job->due = now;
        *place = job;
    }
    return job;
}

/* With the mutex held. @return 1: it stays for another look */
static int look_again(sc_jobs_t *jobs, sc_job_t *job)
{
    if (job->op != SC_JOB_LOOK || job->outcome == SC_DONE) {
        return 0;
    }
    if (jobs->ending || ++job->tries >= LOOKS) {
        sc_central_count(jobs->host->rules.memory, central_dropped, 1);
        return 0;
    }
    job->state = JOB_WAITING;
    job->given_up = 0;
    job->due =
        sc_mono(&sc_clock_system) + apr_time_from_msec((apr_time_t)jobs->host->conf->look_ms);
    push(&jobs->looks, job);
    return 1;
}

static int is_left(const sc_job_t *job)
{
    return job->op == SC_JOB_TOUCH || job->op == SC_JOB_LOOK;
}

/* With the mutex held. */
static void finish(sc_jobs_t *jobs, sc_job_t *job)
{
    for (int i = 0; i < LEFT_THREADS; i++) {
        if (jobs->running[i] == job) {
            jobs->running[i] = NULL;
        }
    }
    if (job->given_up) {
        jobs->lost--;
        jobs->lost_tries -= job->is_try;
    }
    if (is_left(job)) {
        if (!look_again(jobs, job)) {
            jobs->left--;
            sc_job_free(job);
        }
    } else if (job->given_up) {
        sc_job_free(job);
    } else {
        job->state = JOB_DONE;
        (void)pthread_cond_signal(job->done);
    }
}

static void drop_touch(sc_central_host_t *host, const sc_job_t *job)
{
    if (job->op == SC_JOB_TOUCH) {
        sc_central_touch_undo(&host->rules, &job->key);
        sc_central_count(host->rules.memory, central_dropped, 1);
    }
}

/* What nobody waits for does not ask a store that does not answer. */
static int may_ask(const sc_jobs_t *jobs, sc_job_t *job)
{
    if (is_left(job) &&
        __atomic_load_n(&jobs->host->rules.memory->gate.shut_since, __ATOMIC_ACQUIRE) != 0) {
        drop_touch(jobs->host, job);
        job->outcome = SC_UNKNOWN;
        return 0;
    }
    return 1;
}

/* With the mutex held. When a thread without work should look for some by itself. */
static apr_time_t wake_time(const sc_jobs_t *jobs, apr_time_t now)
{
    apr_time_t due = jobs->looks.first ? jobs->looks.first->due : now + IDLE_TIME;

    /* it was not given what is due: all places are taken, and perhaps hang */
    return due > now ? due : now + FULL_PAUSE;
}

static void *thread_main(void *data)
{
    sc_jobs_t *jobs = data;
    sc_worker_t w;
    apr_time_t begin = sc_mono(&sc_clock_system);
    int able = sc_worker_init(&w, jobs->host) == APR_SUCCESS;

    (void)pthread_mutex_lock(&jobs->mutex);
    while (able) {
        apr_time_t now = sc_mono(&sc_clock_system);
        sc_job_t *job = next_job(jobs, now);

        if (job) {
            job->state = JOB_RUNNING;
            (void)pthread_mutex_unlock(&jobs->mutex);
            if (may_ask(jobs, job)) {
                sc_worker_do(&w, job);
            }
            (void)pthread_mutex_lock(&jobs->mutex);
            finish(jobs, job);
            begin = sc_mono(&sc_clock_system);
            continue;
        }
        if (jobs->ending || now > begin + IDLE_TIME) {
            break;
        }
        jobs->idle++;
        wait_until(&jobs->work, &jobs->mutex, wake_time(jobs, now));
        jobs->idle--;
    }
    jobs->threads--;
    (void)pthread_cond_broadcast(&jobs->ended);
    (void)pthread_mutex_unlock(&jobs->mutex);
    sc_worker_free(&w);
    return NULL;
}

/* With the mutex held. */
static void spawn(sc_jobs_t *jobs)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;

    if (jobs->threads - jobs->lost >= jobs->most || pthread_attr_init(&attr) != 0) {
        return;
    }
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, &attr, thread_main, jobs) == 0) {
        jobs->threads++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
}

/* With the mutex held: somebody has to do what has been entered. */
static void call_worker(sc_jobs_t *jobs)
{
    if (jobs->idle < jobs->queue.n + (jobs->touches.n + jobs->looks.n > 0)) {
        spawn(jobs);
    }
    (void)pthread_cond_signal(&jobs->work);
}

/* ---- for requests ---------------------------------------------------------------------------- */

/* A local store is asked by the request itself: it cannot hang. */
static sc_job_t *run_here(sc_central_host_t *host, sc_job_t *job)
{
    sc_worker_t w;

    if (sc_worker_init(&w, host) != APR_SUCCESS) {
        sc_job_free(job);
        return NULL;
    }
    sc_worker_do(&w, job);
    sc_worker_free(&w);
    return job;
}

/* With the mutex held. Whether the store may be asked; notes whether this is a try. */
static int pass(sc_jobs_t *jobs, sc_job_t *job, apr_time_t now)
{
    const sc_central_host_t *host = jobs->host;
    sc_central_gate_t *gate = &host->rules.memory->gate;

    if (jobs->lost_tries >= TRIES_MAX &&
        __atomic_load_n(&gate->shut_since, __ATOMIC_ACQUIRE) != 0) {
        if (now < jobs->beyond + TRIES_PAUSE) {
            return 0;
        }
        jobs->beyond = now;
    }
    switch (sc_gate_enter(gate, now, apr_time_from_msec((apr_time_t)host->conf->retry_ms))) {
    case SC_PASS_OPEN:
        return 1;
    case SC_PASS_TRY:
        job->is_try = 1;
        return 1;
    default:
        return 0;
    }
}

/* With the mutex held; it is the request's time that has run out.
 * @return 1: it is the first one of all children whose has */
static int give_up(sc_jobs_t *jobs, sc_job_t *job)
{
    sc_central_host_t *host = jobs->host;

    if (job->state == JOB_WAITING) {
        take_out(&jobs->queue, job);
        sc_job_free(job);
        return 0;
    }
    __atomic_store_n(&job->given_up, 1, __ATOMIC_RELEASE);
    jobs->lost++;
    jobs->lost_tries += job->is_try;
    sc_instances_renew(host);
    return sc_gate_failed(&host->rules.memory->gate, sc_mono(&sc_clock_system),
                          apr_time_from_msec((apr_time_t)host->conf->retry_ms), job->is_try);
}

static void tell_hung(const sc_central_host_t *host)
{
    sc_central_count(host->rules.memory, central_outages, 1);
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, host->server,
                 "SC1014: the central store (%s) has not answered within %u ms; cookies stay, "
                 "requests with a session get %s until it does",
                 host->provider->name, host->conf->timeout_ms, host->conf->empty ? "none" : "503");
}

sc_job_t *sc_jobs_run(sc_central_host_t *host, sc_job_t *job)
{
    sc_central_memory_t *memory = host->rules.memory;
    sc_jobs_t *jobs = host->jobs;
    apr_time_t now = sc_mono(&sc_clock_system);
    apr_time_t until = now + apr_time_from_msec((apr_time_t)host->conf->timeout_ms);
    pthread_cond_t done;
    int first = 0;

    if (!jobs) {
        return run_here(host, job);
    }
    if (pthread_cond_init(&done, &jobs->attr) != 0) {
        sc_job_free(job);
        return NULL;
    }
    (void)pthread_mutex_lock(&jobs->mutex);
    if (!pass(jobs, job, now)) {
        sc_job_free(job);
        job = NULL;
    } else {
        job->done = &done;
        push(&jobs->queue, job);
        call_worker(jobs);
        while (job->state != JOB_DONE && (now = sc_mono(&sc_clock_system)) < until) {
            wait_until(&done, &jobs->mutex, until);
        }
        if (job->state != JOB_DONE) {
            first = give_up(jobs, job);
            job = NULL;
        }
    }
    (void)pthread_mutex_unlock(&jobs->mutex);
    if (first) {
        tell_hung(host);
    }
    (void)pthread_cond_destroy(&done);
    if (job && job->outcome == SC_UNKNOWN) {
        sc_job_free(job);
        job = NULL;
    }
    if (!job) {
        sc_central_count(memory, central_unreachable, 1);
    }
    return job;
}

void sc_jobs_leave(sc_central_host_t *host, sc_job_t *job)
{
    sc_jobs_t *jobs = host->jobs;

    if (!jobs) {
        sc_job_free(run_here(host, job));
        return;
    }
    (void)pthread_mutex_lock(&jobs->mutex);
    if (jobs->left >= LEFT_MAX) {
        if (job->op == SC_JOB_LOOK) {
            sc_central_count(host->rules.memory, central_dropped, 1);
        }
        drop_touch(host, job);
        sc_job_free(job);
    } else {
        jobs->left++;
        if (job->op == SC_JOB_LOOK) {
            job->due =
                sc_mono(&sc_clock_system) + apr_time_from_msec((apr_time_t)host->conf->look_ms);
            push(&jobs->looks, job);
        } else {
            push(&jobs->touches, job);
        }
        call_worker(jobs);
    }
    (void)pthread_mutex_unlock(&jobs->mutex);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* A child ends: let the threads end, those that can. */
static apr_status_t end_threads(void *data)
{
    sc_jobs_t *jobs = data;
    apr_time_t until = sc_mono(&sc_clock_system) + END_TIME;

    (void)pthread_mutex_lock(&jobs->mutex);
    jobs->ending = 1;
    (void)pthread_cond_broadcast(&jobs->work);
    while (jobs->threads > jobs->lost && sc_mono(&sc_clock_system) < until) {
        wait_until(&jobs->ended, &jobs->mutex, until);
    }
    (void)pthread_mutex_unlock(&jobs->mutex);
    return APR_SUCCESS;
}

/* After the child's pool is gone, and before everything else is. */
static void end_process(void)
{
    const sc_central_host_t *host = sc_httpd()->central;

    if (host && host->jobs && __atomic_load_n(&host->jobs->threads, __ATOMIC_ACQUIRE) > 0) {
        _exit(0);
    }
}

apr_status_t sc_jobs_create(sc_central_host_t *host, apr_pool_t *pchild)
{
    sc_jobs_t *jobs = ap_calloc(1, sizeof(*jobs)); /* lost threads may outlive every pool */
    int most = 0;
    int rv;

    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &most) != APR_SUCCESS || most < 1) {
        most = 1;
    }
    jobs->host = host;
    jobs->most = 2 * most + 4; /* mod_http2 has threads of its own */
    rv = pthread_mutex_init(&jobs->mutex, NULL);
    rv = rv ? rv : pthread_condattr_init(&jobs->attr);
    rv = rv ? rv : pthread_condattr_setclock(&jobs->attr, CLOCK_MONOTONIC);
    rv = rv ? rv : pthread_cond_init(&jobs->work, &jobs->attr);
    rv = rv ? rv : pthread_cond_init(&jobs->ended, &jobs->attr);
    rv = rv ? rv : atexit(end_process);
    if (rv == 0) {
        host->jobs = jobs;
        apr_pool_pre_cleanup_register(pchild, jobs, end_threads);
    }
    return rv;
}
