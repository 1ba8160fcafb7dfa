/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions first.
 *
 * Files and sessions share processors, memory and disk, and a deployment uses all that it can get.
 * So while sessions are written on a node its deployer works for a fifth of the time at most: after
 * each block that was given, taken or written it rests for several times as long as that took.
 * Where processors are short a block takes longer, and so does the rest after it.
 *
 * What it took is that of one's own work only. A pause of the other side is not part of it: pauses
 * that are multiples of each other's would end at the least rate, always.
 */
#include "internal.h"

/** Rests are so many times as long as the work before them. */
#define RESTS 4

static apr_time_t rest_of(apr_uint64_t bytes, apr_uint64_t rate)
{
    return (apr_time_t)(bytes * APR_USEC_PER_SEC / rate);
}

apr_time_t sc_pace_next(const sc_farm_t *f, apr_time_t begun, apr_time_t now, apr_uint64_t bytes)
{
    apr_time_t least = rest_of(bytes, SC_PACE_MOST);
    apr_time_t most = rest_of(bytes, SC_PACE_LEAST);
    apr_time_t rest = RESTS * (now - begun);

    if (!f->busy) {
        return 0;
    }
    rest = rest > least ? rest : least;
    return now + (rest < most ? rest : most);
}

apr_time_t sc_pace_latest(const sc_farm_t *f, apr_time_t now, apr_uint64_t bytes)
{
    return f->busy ? now + rest_of(bytes, SC_PACE_LEAST) : 0;
}

void sc_farm_busy(sc_farm_t *f, int busy)
{
    f->busy = busy;
    if (!busy) {
        f->give_due = f->fetch_rest = f->take_rest = 0;
    }
}
