/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file balancer_members.h
 * @brief What the two files about members that announce themselves share.
 *
 * balancer_members.c: who is a worker, and the rules. balancer_slots.c: slots and this process's
 * objects of them. With "locked" a function wants the locks of sc_workers_lock.
 */
#ifndef SC_BALANCER_MEMBERS_H
#define SC_BALANCER_MEMBERS_H

#include "balancer.h"

#pragma weak ap_proxy_define_worker
#pragma weak ap_proxy_initialize_worker

/** In a slot's context: filled here. Outlives restarts with BalancerPersist, as all of the slot. */
#define SC_SLOT_MARK ((void *)(apr_uintptr_t)0x53434d31)
/** How long a slot that was given up stays unused. */
#define SC_SLOT_REST apr_time_from_sec(5)

#ifdef PROXY_WORKER_EXT_NAME_SIZE
#define SC_WORKER_NAME(shm) ((shm)->name_ex)
#else
#define SC_WORKER_NAME(shm) ((shm)->name)
#endif

/** What all processes of one generation know of a slot besides what mod_proxy keeps in it. */
typedef struct note_t {
    apr_uint32_t announced; /**< weight and lbset that were taken over last; 0: none */
    apr_time_t absent;      /**< mono time since which nobody announces it; 0: somebody does */
    apr_time_t rests;       /**< given up; may be used again then; 0: not given up */
} note_t;

typedef struct shared_t {
    apr_time_t next_full; /**< mono time from which a line about missing slots may be written */
    apr_time_t next_scheme;
    apr_time_t next_twice;
    apr_time_t next_odd;
    apr_uint64_t added;
    apr_uint64_t removed;
    note_t note[];
} shared_t;

/** One process's object of a slot. */
typedef struct local_t {
    struct local_t *next;
    proxy_worker *worker;
    apr_pool_t *pool; /**< this and the worker; destroyed with it */
    int own;          /**< 1: the worker is in that pool; 0: mod_proxy has made it elsewhere */
    apr_time_t left;  /**< mono time when it was taken out of the list */
} local_t;

typedef struct managed_t {
    const sc_members_line_t *line;
    proxy_balancer *b;
    proxy_server_conf *conf;
    server_rec *server;
    apr_array_header_t *sharers; /**< proxy_balancer *: b, and copies of it in virtual hosts that
                                      inherited it and have its list of workers in common */
    int nstatic;                 /**< workers of the configuration */
    int attempts_fixed;          /**< maxattempts= was given */
    shared_t *shared;
    apr_time_t synced; /**< the balancer's time stamp that this process has followed */
    local_t *here;     /**< in the list of workers */
    local_t *leaving;  /**< no longer, but perhaps in use */
} managed_t;

struct sc_members_t {
    module *proxy;
    apr_array_header_t *managed; /**< managed_t */
};

/** @return NULL: there is no such slot */
proxy_worker_shared *sc_slot_at(const managed_t *m, int i);
/** Whether there is a worker in it. NULL: no */
int sc_slot_taken(const proxy_worker_shared *shm);
/** Whether it is one that was filled here. */
int sc_slot_ours(const proxy_worker_shared *shm);

/** Whether a line may be written: one in ten minutes, whichever process notices. */
int sc_members_may_log(apr_time_t *next, apr_time_t mono);

/** Keep this process's requests from the list of workers. */
void sc_workers_lock(const managed_t *m);
void sc_workers_unlock(const managed_t *m);

/** A worker that is in no list and no slot yet. @return NULL: there can be none; it was logged why
 */
local_t *sc_worker_define(const managed_t *m, const char *url);
/** Locked: put it into the list. */
void sc_worker_enter(managed_t *m, local_t *l);
/** Locked: bring the list in line with the slots. */
void sc_workers_follow(managed_t *m);
/** Locked: destroy what has left the list and is not in use. Not during a sub-request: a child with
 *  one thread may be using the connection around it. */
void sc_workers_reap(managed_t *m, apr_time_t mono);

#endif
