/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file notices.h
 * @brief Private to room "engine": what the status page tells of the past.
 */
#ifndef SC_ENGINE_NOTICES_H
#define SC_ENGINE_NOTICES_H

#include "sc_board.h"

/**
 * Put a notice on the ring for each member that came, went or changed its state between two views.
 * @param goodbye unique id of the member that has just said good-bye, zero: nobody has
 */
void sc_notices_of_views(sc_notices_t *ring, apr_time_t wall, const sc_view_t *before,
                         const sc_view_t *after, const sc_uid_t *goodbye);

/** Seconds over which rates are taken. */
#define SC_SAMPLES 10

/** What the counters of SC_RATES were in the last seconds. */
typedef struct sc_samples_t {
    apr_uint64_t taken;
    sc_rates_t at[SC_SAMPLES + 1]; /**< span: mono time of the sample */
} sc_samples_t;

/** Take a sample, about once a second, and bring the board's rates up to date. */
void sc_samples_take(sc_samples_t *s, sc_board_t *board, apr_time_t now);

#endif
