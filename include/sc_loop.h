/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_loop.h
 * @brief Room "engine": the single-threaded event loop: descriptors (apr_pollset), timers, a stop.
 *
 * All callbacks run on the loop's thread, none may block. A watch is a struct inside its owner; it
 * may be removed from within any callback, also its own, and is not called after that even when an
 * event for it was already fetched.
 */
#ifndef SC_LOOP_H
#define SC_LOOP_H

#include <apr_network_io.h>
#include <apr_poll.h>

#include "sc_base.h"
#include "sc_timer.h"

typedef struct sc_loop_t sc_loop_t;
typedef struct sc_watch_t sc_watch_t;

/** @param events APR_POLLIN | APR_POLLOUT | APR_POLLERR | APR_POLLHUP as they came */
typedef void sc_watch_fn_t(void *baton, apr_int16_t events);

struct sc_watch_t {
    apr_pollfd_t pfd;
    sc_watch_fn_t *fn;
    void *baton;
    int active;          /**< 0: not in the loop, so a zeroed watch is idle */
    unsigned int serial; /**< private to the loop */
    unsigned int slot;   /**< private to the loop */
};

/** @param max descriptors watched at once; later additions fail with APR_ENOMEM */
apr_status_t sc_loop_create(sc_loop_t **loop, apr_uint32_t max, const sc_clock_t *clock,
                            apr_pool_t *pool);

sc_timers_t *sc_loop_timers(sc_loop_t *loop);
const sc_clock_t *sc_loop_clock(const sc_loop_t *loop);
/** Mono time at which the current round of callbacks began: cheap, good enough for timeouts. */
apr_time_t sc_loop_now(const sc_loop_t *loop);

/** Watch a socket. An active watch is changed to the new events (0: kept but silent). */
apr_status_t sc_loop_watch(sc_loop_t *loop, sc_watch_t *w, apr_socket_t *sock, apr_int16_t events,
                           sc_watch_fn_t *fn, void *baton);
/** Stop watching; harmless when not active. Must come before the socket is closed. */
void sc_loop_unwatch(sc_loop_t *loop, sc_watch_t *w);

/** One round: wait until something is ready, a timer is due or max_wait (us; <0: no bound) has
 *  passed; then run the callbacks. */
apr_status_t sc_loop_once(sc_loop_t *loop, apr_interval_time_t max_wait);
/** Rounds until sc_loop_stop. */
apr_status_t sc_loop_run(sc_loop_t *loop);
/** May be called from a signal handler. */
void sc_loop_stop(sc_loop_t *loop);
int sc_loop_stopped(const sc_loop_t *loop);

#endif
