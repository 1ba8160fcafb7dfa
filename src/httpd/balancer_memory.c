/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the children of a balancer have in common beside the engine's store: how often why a node
 * was chosen, and under whose requests nodes have failed.
 *
 * A request that makes a node crash is lost there, but its browser, or who wants to do harm, sends
 * it again; membership and balancer do their best to find the session another node, and so it goes
 * from node to node. So the failures under each session are remembered for a while, whichever child
 * saw them, and after too many of them the session is answered with 502 for as long.
 *
 * Sessions are known by a keyed hash of their ids. The table is small and never grows: an entry is
 * made only when a node has really failed, and the one that is out of use for the longest time
 * makes room. Failures are noted under a mutex that survives the death of its owner; what a request
 * asks before each choice is one word, as long as nobody is refused.
 *
 * Anonymous memory of the process pool: it stays over restarts, so neither counters nor refusals
 * begin anew with a reload, and it needs no engine.
 */

#include <errno.h>
#include <pthread.h>

#include "balancer.h"

#include "apr_shm.h"
#include "apr_siphash.h"

APLOG_USE_MODULE(session_cluster);

#define RETAINED_KEY "mod_session_cluster:balancer"
/** Another layout is another memory, after an upgrade of the module. */
#define LAYOUT 2
#define SETS 64
#define WAYS 8

typedef struct failure_t {
    apr_uint64_t key; /**< of the session; 0: free */
    apr_time_t until; /**< mono: refused until then */
    apr_uint32_t told;
    apr_uint32_t n;
    apr_time_t at[SC_FAILURES_MAX]; /**< mono: when nodes failed, the last one first */
} failure_t;

/** What all requests write stands apart from what all requests read. */
#define LINE 64

struct sc_balancer_memory_t {
    union {
        sc_tallies_t tallies;
        char lines[(sizeof(sc_tallies_t) + 2 * LINE - 1) / LINE * LINE]; /**< and one to spare */
    };
    apr_uint64_t layout;
    apr_time_t until; /**< mono: nobody at all is refused from then on */
    unsigned char secret[APR_SIPHASH_KSIZE];
    pthread_mutex_t mutex; /**< for changes of what follows */
    failure_t failure[SETS][WAYS];
};

typedef struct kept_t {
    sc_balancer_memory_t *memory;
    apr_uint64_t layout;
} kept_t;

/* ---- life ------------------------------------------------------------------------------------ */

static apr_status_t init_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attr;
    int rv = pthread_mutexattr_init(&attr);

    if (rv == 0) {
        rv = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        rv = rv ? rv : pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        rv = rv ? rv : pthread_mutex_init(mutex, &attr);
        (void)pthread_mutexattr_destroy(&attr);
    }
    return rv;
}

apr_status_t sc_balancer_memory_make(server_rec *s)
{
    apr_uint64_t layout = ((apr_uint64_t)LAYOUT << 32) | sizeof(sc_balancer_memory_t);
    kept_t *kept = ap_retained_data_get(RETAINED_KEY);
    sc_balancer_memory_t *memory;
    apr_shm_t *shm;
    apr_status_t rv;

    if (kept && kept->memory && kept->layout == layout) {
        sc_httpd()->balancer = kept->memory;
        return APR_SUCCESS;
    }
    kept = kept ? kept : ap_retained_data_create(RETAINED_KEY, sizeof(*kept));
    rv = apr_shm_create(&shm, sizeof(*memory), NULL, s->process->pool);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    memory = apr_shm_baseaddr_get(shm);
    memset(memory, 0, sizeof(*memory));
    rv = sc_random(memory->secret, sizeof(memory->secret));
    rv = rv == APR_SUCCESS ? init_mutex(&memory->mutex) : rv;
    if (rv != APR_SUCCESS) {
        (void)apr_shm_destroy(shm);
        return rv;
    }
    kept->memory = memory;
    kept->layout = layout;
    sc_httpd()->balancer = memory;
    return APR_SUCCESS;
}

/* ---- counting -------------------------------------------------------------------------------- */

sc_tallies_t *sc_tallies(void)
{
    sc_balancer_memory_t *memory = sc_httpd()->balancer;

    return memory ? &memory->tallies : NULL;
}

int sc_balancer_tallies(sc_tallies_t *out)
{
    const sc_tallies_t *t = sc_tallies();

    memset(out, 0, sizeof(*out));
    if (t) {
#define COPY(name) out->name = __atomic_load_n(&t->name, __ATOMIC_RELAXED);
        SC_TALLIES(COPY)
#undef COPY
    }
    return t != NULL;
}

/* ---- failures -------------------------------------------------------------------------------- */

static apr_uint64_t key_of(const sc_balancer_memory_t *memory, const ticket_t *t)
{
    apr_uint64_t key = apr_siphash24(t->id, t->id_len, memory->secret);

    return key ? key : 1;
}

static failure_t *find(sc_balancer_memory_t *memory, apr_uint64_t key)
{
    failure_t *set = memory->failure[key % SETS];

    for (int i = 0; i < WAYS; i++) {
        if (__atomic_load_n(&set[i].key, __ATOMIC_ACQUIRE) == key) {
            return &set[i];
        }
    }
    return NULL;
}

/* The entry of a session, or one to be used for it; with the mutex held. */
static failure_t *make_room(sc_balancer_memory_t *memory, apr_uint64_t key)
{
    failure_t *set = memory->failure[key % SETS];
    failure_t *oldest = find(memory, key);

    for (int i = 0; !oldest && i < WAYS; i++) {
        oldest = set[i].key ? NULL : &set[i];
    }
    if (oldest) {
        return oldest;
    }
    oldest = &set[0];
    for (int i = 1; i < WAYS; i++) {
        oldest = set[i].at[0] < oldest->at[0] ? &set[i] : oldest;
    }
    return oldest;
}

/* Who died with the mutex left an entry half written at worst: a session's count is wrong then. */
static int lock(sc_balancer_memory_t *memory)
{
    int rv = pthread_mutex_lock(&memory->mutex);

    if (rv == EOWNERDEAD) {
        rv = pthread_mutex_consistent(&memory->mutex);
    }
    return rv == 0;
}

static int count(const failure_t *f, apr_time_t since)
{
    int n = 0;

    while (n < (int)f->n && f->at[n] > since) {
        n++;
    }
    return n;
}

int sc_failure_note(const ticket_t *t, apr_time_t begun, apr_time_t now, int max,
                    apr_interval_time_t within)
{
    sc_balancer_memory_t *memory = sc_httpd()->balancer;
    apr_uint64_t key;
    failure_t *f;
    int n;

    if (!memory || !t->id_len || !lock(memory)) {
        return 0;
    }
    key = key_of(memory, t);
    f = make_room(memory, key);
    if (f->key != key) {
        __atomic_store_n(&f->key, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&f->until, 0, __ATOMIC_RELAXED);
        f->told = f->n = 0;
        __atomic_store_n(&f->key, key, __ATOMIC_RELEASE);
    }
    /* requests that were under way together when a node died have seen one failure, not many */
    if (f->n == 0 || begun > f->at[0]) {
        memmove(&f->at[1], &f->at[0], sizeof(f->at) - sizeof(f->at[0]));
        f->at[0] = now;
        f->n += f->n < SC_FAILURES_MAX;
    }
    n = count(f, now - within);
    if (max > 0 && n >= max && f->until <= now) {
        f->told = 0;
        __atomic_store_n(&f->until, now + within, __ATOMIC_RELAXED);
        if (memory->until < f->until) {
            __atomic_store_n(&memory->until, f->until, __ATOMIC_RELEASE);
        }
    }
    (void)pthread_mutex_unlock(&memory->mutex);
    return n;
}

int sc_failure_any(void)
{
    const sc_balancer_memory_t *memory = sc_httpd()->balancer;
    apr_time_t until = memory ? __atomic_load_n(&memory->until, __ATOMIC_ACQUIRE) : 0;

    return until != 0 && sc_mono(&sc_clock_system) < until;
}

int sc_failure_refused(const ticket_t *t, apr_time_t now, int *told)
{
    sc_balancer_memory_t *memory = sc_httpd()->balancer;
    failure_t *f;

    if (!memory || !t->id_len) {
        return 0;
    }
    f = find(memory, key_of(memory, t));
    if (!f || now >= __atomic_load_n(&f->until, __ATOMIC_RELAXED)) {
        return 0;
    }
    *told = (int)__atomic_exchange_n(&f->told, 1, __ATOMIC_RELAXED);
    return 1;
}
