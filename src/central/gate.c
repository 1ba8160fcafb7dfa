/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The gate: what all children of a node know about whether the store answers.
 *
 * Who waits for a store that hangs holds a thread of the server. So after the first one has waited
 * in vain the others do not begin to: the gate is shut, and one request at a time, the one that
 * finds the next try due, asks again. Whoever gets an answer, however late, opens the gate for all.
 *
 * The pause between two tries grows a little while they hang, since each try at a frozen server
 * leaves a connection and a thread waiting there; these are answered when the server goes on, so
 * the pause does not delay the recovery.
 */
#include "sc_central.h"

/** The pause never grows beyond this. */
#define PAUSE_MAX apr_time_from_sec(1)

static apr_interval_time_t pause_of(const sc_central_gate_t *gate, apr_interval_time_t retry)
{
    apr_uint64_t hung = __atomic_load_n(&gate->hung, __ATOMIC_RELAXED);
    apr_interval_time_t pause = retry;

    while (hung-- > 0 && pause < PAUSE_MAX) {
        pause *= 2;
    }
    return pause < PAUSE_MAX || pause == retry ? pause : PAUSE_MAX;
}

sc_central_pass_t sc_gate_enter(sc_central_gate_t *gate, apr_time_t now, apr_interval_time_t retry)
{
    apr_time_t due;

    if (__atomic_load_n(&gate->shut_since, __ATOMIC_ACQUIRE) == 0) {
        return SC_PASS_OPEN;
    }
    due = __atomic_load_n(&gate->next_try, __ATOMIC_RELAXED);
    if (now >= due &&
        __atomic_compare_exchange_n(&gate->next_try, &due, now + pause_of(gate, retry), 0,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        return SC_PASS_TRY;
    }
    return SC_PASS_SHUT;
}

int sc_gate_failed(sc_central_gate_t *gate, apr_time_t now, apr_interval_time_t retry, int hung)
{
    apr_time_t open = 0;

    if (__atomic_load_n(&gate->shut_since, __ATOMIC_ACQUIRE) != 0) {
        (void)__atomic_fetch_add(&gate->hung, hung != 0, __ATOMIC_RELAXED);
        return 0;
    }
    __atomic_store_n(&gate->next_try, now + retry, __ATOMIC_RELAXED);
    __atomic_store_n(&gate->hung, 0, __ATOMIC_RELAXED);
    return __atomic_compare_exchange_n(&gate->shut_since, &open, now ? now : 1, 0, __ATOMIC_RELEASE,
                                       __ATOMIC_RELAXED);
}

apr_interval_time_t sc_gate_answered(sc_central_gate_t *gate, apr_time_t now)
{
    apr_time_t since = __atomic_load_n(&gate->shut_since, __ATOMIC_ACQUIRE);

    if (since == 0 || !__atomic_compare_exchange_n(&gate->shut_since, &since, 0, 0,
                                                   __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
        return 0;
    }
    return now > since ? now - since : 1;
}
