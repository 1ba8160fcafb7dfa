/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The real clock.
 *
 * CLOCK_BOOTTIME rather than CLOCK_MONOTONIC: it goes on while the machine sleeps, so the lease of
 * a suspended node has run out when it wakes up (DESIGN I6). Kernels that refuse it (some
 * sandboxes) get CLOCK_MONOTONIC, where only sleep goes unnoticed.
 */
#include <time.h>

#include "sc_base.h"

static apr_time_t system_mono(void *ctx)
{
    struct timespec ts;

    (void)ctx;
    if (clock_gettime(CLOCK_BOOTTIME, &ts) != 0 && clock_gettime(CLOCK_MONOTONIC, &ts) != 0) {
        return 0;
    }
    return apr_time_from_sec((apr_time_t)ts.tv_sec) + ts.tv_nsec / 1000;
}

static apr_time_t system_wall(void *ctx)
{
    (void)ctx;
    return apr_time_now();
}

const sc_clock_t sc_clock_system = {NULL, system_mono, system_wall};
