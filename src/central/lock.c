/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Locks of this node's changes to one session, so that parallel requests of a browser do not
 * overwrite each other between read and write.
 *
 * A lock is a word of shared memory that holds the time until which it is held. Who dies with it,
 * or hangs in the store for longer, loses it then; who does not get it in time goes on without it.
 * So it can neither be left locked nor make a request wait for ever. It need not be perfect: a
 * change that was overwritten nevertheless is found by the second look (look.c).
 */
#include <string.h>

#include "central.h"

/** A lock is held so long at most, by somebody who waits for the store. */
#define HOLD apr_time_from_sec(2)
#define PAUSE apr_time_from_msec(1)

static apr_uint64_t *lock_of(const sc_central_t *c, const sc_central_key_t *key)
{
    return &c->memory->lock[key->b[SC_CENTRAL_KEY - 1] % SC_CENTRAL_LOCKS];
}

apr_uint64_t sc_central_lock(const sc_central_t *c, const sc_central_key_t *key)
{
    apr_uint64_t *lock = lock_of(c, key);
    apr_time_t begin = sc_mono(c->clock);
    apr_time_t now = begin;

    do {
        apr_uint64_t held = __atomic_load_n(lock, __ATOMIC_ACQUIRE);
        apr_uint64_t mine = (apr_uint64_t)(now + HOLD);

        /* two locks of the same microsecond are two, too */
        mine += mine == held;
        if ((held == 0 || held <= (apr_uint64_t)now) &&
            __atomic_compare_exchange_n(lock, &held, mine, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return mine;
        }
        apr_sleep(PAUSE);
        now = sc_mono(c->clock);
    } while (now < begin + c->lock_wait);
    return 0;
}

void sc_central_unlock(const sc_central_t *c, const sc_central_key_t *key, apr_uint64_t mine)
{
    if (mine != 0) {
        /* not when it has gone to somebody else meanwhile */
        (void)__atomic_compare_exchange_n(lock_of(c, key), &mine, 0, 0, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED);
    }
}
