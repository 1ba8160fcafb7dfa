/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The event loop.
 *
 * Why stale events cannot hurt. One wait fetches many events, and the callback of the first may end
 * the owner of the second, free its memory, or even put a new watch where the old one was. So the
 * pollset never points at a watch, only at a slot of a table that lives as long as the loop. A slot
 * knows its watch (none after removal) and the round in which it was given out. An event is
 * delivered only if the slot has a watch, if that watch was there before this round, and if it
 * still asks for the event. What is held back by these rules and true nevertheless comes again in
 * the next round, since readiness is reported by level.
 *
 * The stop is a flag plus a byte in a pipe, because a flag alone would be seen too late when the
 * signal arrives between the look at it and the wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <apr_portable.h>

#include "sc_loop.h"

/* More descriptors than any engine has; keeps the sizes below from overflowing. */
#define WATCHES_MAX (1u << 20)
/* The longest single wait. The pollset counts in milliseconds and in an int. */
#define WAIT_MAX apr_time_from_sec(3600)
#define NO_SLOT APR_UINT32_MAX

typedef struct slot_t {
    apr_pollfd_t pfd;       /* what the pollset has; never moves */
    sc_watch_t *watch;      /* NULL: free */
    unsigned int serial;    /* round in which it was given out, or got another socket */
    int polled;             /* whether it is in the pollset */
    apr_uint32_t next_free; /* chain of free slots */
} slot_t;

struct sc_loop_t {
    apr_pollset_t *pollset;
    sc_timers_t *timers;
    const sc_clock_t *clock;
    slot_t *slots;
    apr_uint32_t max;
    apr_uint32_t free;
    apr_time_t now;
    unsigned int round;
    int stop;
    int wake[2];
    apr_pollfd_t wake_pfd;
};

static apr_status_t loop_cleanup(void *data)
{
    sc_loop_t *loop = data;

    close(loop->wake[0]);
    close(loop->wake[1]);
    return APR_SUCCESS;
}

static apr_status_t add_wake_pipe(sc_loop_t *loop, apr_pool_t *pool)
{
    apr_file_t *file = NULL;
    apr_status_t rv;

    if (pipe2(loop->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        return errno;
    }
    apr_pool_cleanup_register(pool, loop, loop_cleanup, apr_pool_cleanup_null);
    rv = apr_os_file_put(&file, &loop->wake[0], APR_FOPEN_READ, pool);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    loop->wake_pfd.p = pool;
    loop->wake_pfd.desc_type = APR_POLL_FILE;
    loop->wake_pfd.desc.f = file;
    loop->wake_pfd.reqevents = APR_POLLIN;
    return apr_pollset_add(loop->pollset, &loop->wake_pfd);
}

apr_status_t sc_loop_create(sc_loop_t **loop_out, apr_uint32_t max, const sc_clock_t *clock,
                            apr_pool_t *pool)
{
    sc_loop_t *loop;
    apr_status_t rv;
    apr_uint32_t i;

    *loop_out = NULL;
    if (max == 0 || max > WATCHES_MAX) {
        return APR_EINVAL;
    }
    loop = apr_pcalloc(pool, sizeof(*loop));
    loop->slots = apr_pcalloc(pool, max * sizeof(*loop->slots));
    loop->timers = sc_timers_create(pool);
    if (loop->timers == NULL) {
        return APR_ENOMEM;
    }
    loop->max = max;
    loop->clock = clock;
    loop->now = sc_mono(clock);
    loop->free = 0;
    for (i = 0; i < max; i++) {
        loop->slots[i].next_free = i + 1 < max ? i + 1 : NO_SLOT;
    }
    rv =
        apr_pollset_create_ex(&loop->pollset, max + 1, pool, APR_POLLSET_NOCOPY, APR_POLLSET_EPOLL);
    if (rv == APR_SUCCESS) {
        rv = add_wake_pipe(loop, pool);
    }
    if (rv == APR_SUCCESS) {
        *loop_out = loop;
    }
    return rv;
}

sc_timers_t *sc_loop_timers(sc_loop_t *loop)
{
    return loop->timers;
}

const sc_clock_t *sc_loop_clock(const sc_loop_t *loop)
{
    return loop->clock;
}

apr_time_t sc_loop_now(const sc_loop_t *loop)
{
    return loop->now;
}

/** The watch's slot, or NULL when the watch is not in this loop, whatever its fields claim. */
static slot_t *slot_of(sc_loop_t *loop, const sc_watch_t *w)
{
    slot_t *slot;

    if (!w->active || w->slot >= loop->max) {
        return NULL;
    }
    slot = &loop->slots[w->slot];
    return slot->watch == w && slot->serial == w->serial ? slot : NULL;
}

static void unpoll(sc_loop_t *loop, slot_t *slot)
{
    if (slot->polled) {
        apr_pollset_remove(loop->pollset, &slot->pfd);
        slot->polled = 0;
    }
}

/** Put the slot into the pollset; there is no way to change an entry but to make a new one. A
 *  silent watch stays out, or it would be told of every hangup for ever. */
static apr_status_t poll_slot(sc_loop_t *loop, slot_t *slot, apr_int16_t events)
{
    apr_status_t rv = APR_SUCCESS;

    unpoll(loop, slot);
    slot->pfd.reqevents = events;
    slot->pfd.rtnevents = 0;
    if (events != 0) {
        rv = apr_pollset_add(loop->pollset, &slot->pfd);
        slot->polled = rv == APR_SUCCESS;
    }
    return rv;
}

apr_status_t sc_loop_watch(sc_loop_t *loop, sc_watch_t *w, apr_socket_t *sock, apr_int16_t events,
                           sc_watch_fn_t *fn, void *baton)
{
    slot_t *slot = slot_of(loop, w);
    apr_status_t rv;

    events &= APR_POLLIN | APR_POLLOUT;
    if (slot != NULL && slot->pfd.desc.s != sock) {
        sc_loop_unwatch(loop, w);
        slot = NULL;
    }
    if (slot == NULL) {
        if (loop->free == NO_SLOT) {
            return APR_ENOMEM;
        }
        w->slot = loop->free;
        slot = &loop->slots[w->slot];
        loop->free = slot->next_free;
        slot->watch = w;
        slot->serial = w->serial = loop->round;
        slot->pfd.desc_type = APR_POLL_SOCKET;
        slot->pfd.desc.s = sock;
        slot->pfd.client_data = slot;
        slot->pfd.reqevents = 0;
        w->active = 1;
    }
    w->fn = fn;
    w->baton = baton;
    if (slot->pfd.reqevents != events) {
        rv = poll_slot(loop, slot, events);
        if (rv != APR_SUCCESS) {
            sc_loop_unwatch(loop, w);
            return rv;
        }
    }
    w->pfd = slot->pfd;
    return APR_SUCCESS;
}

void sc_loop_unwatch(sc_loop_t *loop, sc_watch_t *w)
{
    slot_t *slot = slot_of(loop, w);

    if (slot != NULL) {
        unpoll(loop, slot);
        slot->watch = NULL;
        slot->next_free = loop->free;
        loop->free = w->slot;
    }
    w->active = 0;
}

/** How long the next wait may last: whole milliseconds, rounded up, because the pollset cuts off
 *  what is less and the loop would spin through the last part of every timer. */
static apr_interval_time_t wait_time(sc_loop_t *loop, apr_interval_time_t max_wait)
{
    apr_time_t due = sc_timers_next(loop->timers);
    apr_interval_time_t wait = max_wait < 0 || max_wait > WAIT_MAX ? WAIT_MAX : max_wait;

    if (sc_loop_stopped(loop)) {
        return 0;
    }
    if (due >= 0) {
        apr_interval_time_t left = due - sc_mono(loop->clock);

        if (left < 0) {
            left = 0;
        }
        if (left < wait) {
            wait = left;
        }
    }
    return (wait + 999) / 1000 * 1000;
}

static void deliver(sc_loop_t *loop, const apr_pollfd_t *ready)
{
    slot_t *slot = ready->client_data;
    apr_int16_t events;

    if (slot == NULL) {
        char bytes[64];

        while (read(loop->wake[0], bytes, sizeof(bytes)) > 0) {
        }
        return;
    }
    if (slot->watch == NULL || slot->serial == loop->round || !slot->polled) {
        return;
    }
    events = ready->rtnevents & (slot->pfd.reqevents | APR_POLLERR | APR_POLLHUP);
    if (events != 0) {
        slot->watch->fn(slot->watch->baton, events);
    }
}

apr_status_t sc_loop_once(sc_loop_t *loop, apr_interval_time_t max_wait)
{
    const apr_pollfd_t *ready = NULL;
    apr_int32_t n = 0;
    apr_int32_t i;
    apr_status_t rv;

    rv = apr_pollset_poll(loop->pollset, wait_time(loop, max_wait), &n, &ready);
    loop->round++;
    loop->now = sc_mono(loop->clock);
    if (rv != APR_SUCCESS) {
        n = 0;
        if (!APR_STATUS_IS_TIMEUP(rv) && !APR_STATUS_IS_EINTR(rv)) {
            return rv;
        }
    }
    /* Events before timers: what arrived in time must be able to cancel its timeout. */
    for (i = 0; i < n; i++) {
        deliver(loop, &ready[i]);
    }
    sc_timers_run(loop->timers, loop->now);
    return APR_SUCCESS;
}

apr_status_t sc_loop_run(sc_loop_t *loop)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && !sc_loop_stopped(loop)) {
        rv = sc_loop_once(loop, -1);
    }
    return rv;
}

void sc_loop_stop(sc_loop_t *loop)
{
    int saved = errno;

    __atomic_store_n(&loop->stop, 1, __ATOMIC_RELEASE);
    /* A full pipe wakes the loop as well, so the result does not matter. */
    if (write(loop->wake[1], "", 1) < 0) {
        errno = saved;
    }
}

int sc_loop_stopped(const sc_loop_t *loop)
{
    return __atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE);
}
