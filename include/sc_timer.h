/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_timer.h
 * @brief Room "base": timers as a heap, run by whoever owns the time.
 *
 * No system call, no clock of its own: the event loop and the simulator both ask for the next due
 * time and say when it has come. A timer is a struct inside its owner, so arming one allocates
 * nothing once the heap has grown. Single-threaded.
 */
#ifndef SC_TIMER_H
#define SC_TIMER_H

#include "sc_base.h"

typedef struct sc_timers_t sc_timers_t;
typedef struct sc_timer_t sc_timer_t;
typedef void sc_timer_fn_t(void *baton, apr_time_t now);

struct sc_timer_t {
    apr_time_t due; /**< mono time; meaningful while armed */
    int index;      /**< place in the heap plus 1; 0 = not armed, so a zeroed timer is idle */
    sc_timer_fn_t *fn;
    void *baton;
};

/** A heap that lives as long as pool. @return NULL when out of memory. */
sc_timers_t *sc_timers_create(apr_pool_t *pool);

/** Call fn(baton) once at or after mono time due. An armed timer is moved. */
apr_status_t sc_timer_set(sc_timers_t *ts, sc_timer_t *t, apr_time_t due, sc_timer_fn_t *fn,
                          void *baton);
/** Disarm; harmless when not armed. */
void sc_timer_cancel(sc_timers_t *ts, sc_timer_t *t);

/** Mono time of the earliest timer, or -1 when none is armed. */
apr_time_t sc_timers_next(const sc_timers_t *ts);
/** Run all timers due at now, in order of their time; a timer may arm itself or others again (a
 *  timer armed for <= now by a callback runs in the next call, so a loop cannot get stuck). */
void sc_timers_run(sc_timers_t *ts, apr_time_t now);

#endif
