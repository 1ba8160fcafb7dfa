/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The engine's end of the socket pair to the deployer's process, and that process's birth and
 * death.
 *
 * Nothing here waits. What the process does not take at once is queued: messages of members up to a
 * bound, beyond which they are dropped (who sent them asks again), other news always; a process
 * that lets more than QUEUE_MAX wait is taken for dead. One that ends is followed by another one.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_portable.h>

#include "pair.h"

/** Packets that are read in one round of the loop. */
#define BURST 16
#define MESSAGES_MAX (2 * 1024 * 1024)
#define QUEUE_MAX (8 * 1024 * 1024)
/** A process that lived shorter than this cannot run: the next one has to wait longer. */
#define SHORT_LIFE apr_time_from_sec(6)
#define PAUSE apr_time_from_sec(1)
#define LONG_PAUSE apr_time_from_sec(30)
#define LOG_INTERVAL apr_time_from_sec(10)

struct sc_pair_packet_t {
    struct sc_pair_packet_t *next;
    apr_size_t len;
    unsigned char bytes[];
};

static void spawn_due(void *baton, apr_time_t now);
static void pair_event(void *baton, apr_int16_t events);

/* ---- the end of a process ------------------------------------------------------------------- */

static void drop_queue(sc_pair_t *p)
{
    while (p->queue != NULL) {
        sc_pair_packet_t *packet = p->queue;

        p->queue = packet->next;
        free(packet);
    }
    p->tail = &p->queue;
    p->queued = 0;
}

static void close_pair(sc_pair_t *p)
{
    if (p->fd < 0) {
        return;
    }
    sc_loop_unwatch(p->env.loop, &p->watch);
    close(p->fd);
    p->fd = -1;
    apr_pool_destroy(p->sock_pool);
    p->sock_pool = NULL;
    drop_queue(p);
    p->up.ended(p->up.baton);
}

static void process_ended(sc_pair_t *p, const char *why)
{
    apr_time_t now = sc_loop_now(p->env.loop);
    apr_interval_time_t pause = now - p->born < SHORT_LIFE ? LONG_PAUSE : PAUSE;

    close_pair(p);
    if (p->pid != 0) {
        (void)kill(p->pid, SIGKILL);
    }
    if (sc_log_allowed(&p->death_log, now, LOG_INTERVAL, NULL)) {
        sc_log(p->env.log, SC_LOG_ERROR, 0,
               "SC0922: the deployer's process %s; the next one starts in %d s", why,
               (int)apr_time_sec(pause));
    }
    (void)sc_timer_set(sc_loop_timers(p->env.loop), &p->again, now + pause, spawn_due, p);
}

/* ---- to the process ------------------------------------------------------------------------- */

static int write_packet(sc_pair_t *p, const void *bytes, apr_size_t len)
{
    ssize_t n;

    do {
        n = send(p->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n >= 0;
}

static void write_queue(sc_pair_t *p)
{
    while (p->queue != NULL && write_packet(p, p->queue->bytes, p->queue->len)) {
        sc_pair_packet_t *packet = p->queue;

        p->queue = packet->next;
        p->queued -= packet->len;
        free(packet);
    }
    if (p->queue == NULL) {
        p->tail = &p->queue;
        (void)sc_loop_watch(p->env.loop, &p->watch, p->sock, APR_POLLIN, pair_event, p);
    }
}

static void enqueue(sc_pair_t *p, sc_pair_packet_t *packet)
{
    if (p->queue == NULL) {
        (void)sc_loop_watch(p->env.loop, &p->watch, p->sock, APR_POLLIN | APR_POLLOUT, pair_event,
                            p);
    }
    *p->tail = packet;
    p->tail = &packet->next;
    p->queued += packet->len;
}

void sc_pair_tell(sc_pair_t *p, unsigned int what, apr_uint32_t ref, const void *bytes,
                  apr_size_t len)
{
    sc_pair_packet_t *packet;

    if (p->fd < 0 || (what == SC_DEPLOY_MESSAGE && p->queued > MESSAGES_MAX)) {
        return;
    }
    packet = malloc(sizeof(*packet) + SC_PAIR_HEAD + len);
    if (packet == NULL || p->queued > QUEUE_MAX) {
        free(packet);
        process_ended(p, "does not take what it is told");
        return;
    }
    packet->next = NULL;
    packet->len = SC_PAIR_HEAD + len;
    packet->bytes[0] = (unsigned char)what;
    memcpy(packet->bytes + 1, &ref, sizeof(ref));
    if (len > 0) {
        memcpy(packet->bytes + SC_PAIR_HEAD, bytes, len);
    }
    if (p->queue == NULL && write_packet(p, packet->bytes, packet->len)) {
        free(packet);
    } else {
        enqueue(p, packet);
    }
}

/* ---- from the process ----------------------------------------------------------------------- */

static void pair_event(void *baton, apr_int16_t events)
{
    sc_pair_t *p = baton;
    int i;

    (void)events;
    for (i = 0; i < BURST && p->fd >= 0; i++) {
        ssize_t n = recv(p->fd, p->in, sizeof(p->in), MSG_DONTWAIT);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        }
        if (n <= 0) {
            process_ended(p, "has ended");
            return;
        }
        p->up.packet(p->up.baton, p->in[0], p->in + 1, (apr_size_t)n - 1);
    }
    if (p->fd >= 0 && p->queue != NULL) {
        write_queue(p);
    }
}

/* ---- the beginning of a process ------------------------------------------------------------- */

/** @return 0: the one before has not ended yet */
static int reap(sc_pair_t *p)
{
    if (p->pid != 0 && waitpid(p->pid, NULL, WNOHANG) == 0) {
        return 0;
    }
    p->pid = 0;
    return 1;
}

static apr_status_t watch_pair(sc_pair_t *p)
{
    apr_os_sock_t os = p->fd;
    apr_status_t rv = apr_os_sock_put(&p->sock, &os, p->sock_pool);

    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(p->env.loop, &p->watch, p->sock, APR_POLLIN, pair_event, p);
    }
    return rv;
}

static apr_status_t fork_process(sc_pair_t *p, int *fd)
{
    pid_t engine = getpid();
    apr_status_t rv = APR_SUCCESS;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return errno;
    }
    p->pid = fork();
    if (p->pid == 0) {
        sc_deploy_process(pair[1], engine, &p->env.config->deployer,
                          p->env.log != NULL ? p->env.log->level : SC_LOG_NOTICE);
    }
    if (p->pid < 0) {
        rv = errno;
        p->pid = 0;
        close(pair[0]);
    }
    close(pair[1]);
    *fd = pair[0];
    return rv;
}

static apr_status_t spawn(sc_pair_t *p)
{
    apr_status_t rv = apr_pool_create(&p->sock_pool, p->pool);
    int fd = -1;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = fork_process(p, &fd);
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(p->sock_pool);
        p->sock_pool = NULL;
        return rv;
    }
    p->fd = fd;
    rv = watch_pair(p);
    if (rv != APR_SUCCESS) {
        close_pair(p);
        (void)kill(p->pid, SIGKILL);
        return rv;
    }
    p->up.begun(p->up.baton);
    return APR_SUCCESS;
}

static void spawn_due(void *baton, apr_time_t now)
{
    sc_pair_t *p = baton;
    sc_timers_t *timers = sc_loop_timers(p->env.loop);
    apr_status_t rv;

    if (!reap(p)) {
        (void)sc_timer_set(timers, &p->again, now + PAUSE, spawn_due, p);
        return;
    }
    p->born = now;
    rv = spawn(p);
    if (rv != APR_SUCCESS) {
        sc_log(p->env.log, SC_LOG_ERROR, rv,
               "SC0923: no process for the deployer; it is tried again in %d s",
               (int)apr_time_sec(LONG_PAUSE));
        (void)sc_timer_set(timers, &p->again, now + LONG_PAUSE, spawn_due, p);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

void sc_pair_init(sc_pair_t *p, const sc_deployer_env_t *env, const sc_pair_up_t *up,
                  apr_pool_t *pool)
{
    memset(p, 0, sizeof(*p));
    p->env = *env;
    p->up = *up;
    p->pool = pool;
    p->fd = -1;
    p->tail = &p->queue;
}

void sc_pair_start(sc_pair_t *p)
{
    spawn_due(p, sc_mono(sc_loop_clock(p->env.loop)));
}

void sc_pair_stop(sc_pair_t *p)
{
    sc_timer_cancel(sc_loop_timers(p->env.loop), &p->again);
    close_pair(p); /* by which it ends; the kernel sees to it that it is not left behind */
}
