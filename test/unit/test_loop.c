/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The event loop: what is ready is reported, what was removed is not, timers are punctual, and
 * nothing but the deadline or the stop ends a wait. The tests about removal free the memory of what
 * they remove at once, so a sanitizer sees every touch after that.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include <apr_portable.h>

#include "sc_loop.h"

void sc_suite_loop(void);

/* Longer than any test may take, shorter than patience. */
#define LONG apr_time_from_sec(10)

static apr_pool_t *pool;
static sc_loop_t *loop;

/* Every test has its own pool and loop, and must give all descriptors back. */
static int fds_before;

static int count_fds(void)
{
    int n = 0;
    int fd;

    for (fd = 0; fd < 1024; fd++) {
        n += fcntl(fd, F_GETFD) != -1;
    }
    return n;
}

static void set_up(void)
{
    fds_before = count_fds();
    CU_ASSERT_EQUAL_FATAL(apr_pool_create(&pool, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_loop_create(&loop, 64, &sc_clock_system, pool), APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(pool);
    CU_ASSERT_EQUAL(count_fds(), fds_before);
}

/* One end of a socket pair in the loop; the other is written to make it ready. */
typedef struct end_t {
    sc_watch_t watch;
    apr_socket_t *sock;
    int fd;
    int peer;
    int calls;
    apr_int16_t events;
    void (*then)(struct end_t *e);
    struct end_t **other; /* for then: whom to act upon */
} end_t;

static void on_end(void *baton, apr_int16_t events)
{
    end_t *e = baton;

    e->calls++;
    e->events = events;
    if (e->then != NULL) {
        e->then(e);
    }
}

static end_t *end_new(void)
{
    end_t *e = calloc(1, sizeof(*e));
    int fd[2];

    CU_ASSERT_FATAL(e != NULL);
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    e->fd = fd[0];
    e->peer = fd[1];
    CU_ASSERT_EQUAL(apr_os_sock_put(&e->sock, &e->fd, pool), APR_SUCCESS);
    return e;
}

static apr_status_t end_watch(end_t *e, apr_int16_t events)
{
    return sc_loop_watch(loop, &e->watch, e->sock, events, on_end, e);
}

static void end_free(end_t *e)
{
    sc_loop_unwatch(loop, &e->watch);
    close(e->fd);
    close(e->peer);
    memset(e, 0xDB, sizeof(*e));
    free(e);
}

static end_t *end_ready(void)
{
    end_t *e = end_new();

    CU_ASSERT_EQUAL(write(e->peer, "x", 1), 1);
    CU_ASSERT_EQUAL(end_watch(e, APR_POLLIN), APR_SUCCESS);
    return e;
}

/* ---- events ------------------------------------------------------------------------------- */

static void test_events(void)
{
    end_t *e;
    char c;

    set_up();
    e = end_new();
    CU_ASSERT_EQUAL(end_watch(e, APR_POLLIN), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_loop_once(loop, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(e->calls, 0);

    CU_ASSERT_EQUAL(write(e->peer, "x", 1), 1);
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
    CU_ASSERT_EQUAL(e->calls, 1);
    CU_ASSERT_EQUAL(e->events, APR_POLLIN);

    /* both directions, reported by level */
    CU_ASSERT_EQUAL(end_watch(e, APR_POLLIN | APR_POLLOUT), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
    CU_ASSERT_EQUAL(e->calls, 2);
    CU_ASSERT_EQUAL(e->events, APR_POLLIN | APR_POLLOUT);

    /* silent, even for a hangup, but still in the loop */
    CU_ASSERT_EQUAL(end_watch(e, 0), APR_SUCCESS);
    close(e->peer);
    CU_ASSERT_EQUAL(sc_loop_once(loop, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(e->calls, 2);
    CU_ASSERT(e->watch.active);

    CU_ASSERT_EQUAL(end_watch(e, APR_POLLIN), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
    CU_ASSERT_EQUAL(e->calls, 3);
    CU_ASSERT(e->events & APR_POLLIN);
    CU_ASSERT(e->events & APR_POLLHUP);

    /* out, twice is harmless; and nothing more is heard */
    sc_loop_unwatch(loop, &e->watch);
    sc_loop_unwatch(loop, &e->watch);
    CU_ASSERT(!e->watch.active);
    CU_ASSERT_EQUAL(sc_loop_once(loop, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(e->calls, 3);
    CU_ASSERT_EQUAL(read(e->fd, &c, 1), 1);
    e->peer = dup(e->fd);
    end_free(e);
    tear_down();
}

static void test_bad_socket(void)
{
    end_t *e;

    set_up();
    e = end_new();
    close(e->fd);
    CU_ASSERT_NOT_EQUAL(end_watch(e, APR_POLLIN), APR_SUCCESS);
    CU_ASSERT(!e->watch.active);
    e->fd = dup(e->peer);
    end_free(e);
    tear_down();
}

static void test_capacity(void)
{
    sc_loop_t *small;
    end_t *e[3];
    int i;

    set_up();
    CU_ASSERT_EQUAL(sc_loop_create(&small, 0, &sc_clock_system, pool), APR_EINVAL);
    CU_ASSERT_PTR_NULL(small);
    CU_ASSERT_EQUAL_FATAL(sc_loop_create(&small, 2, &sc_clock_system, pool), APR_SUCCESS);
    for (i = 0; i < 3; i++) {
        e[i] = end_new();
        CU_ASSERT_EQUAL(write(e[i]->peer, "x", 1), 1);
        CU_ASSERT_EQUAL(sc_loop_watch(small, &e[i]->watch, e[i]->sock, APR_POLLIN, on_end, e[i]),
                        i < 2 ? APR_SUCCESS : APR_ENOMEM);
    }
    CU_ASSERT(!e[2]->watch.active);
    CU_ASSERT_EQUAL(sc_loop_once(small, LONG), APR_SUCCESS);
    CU_ASSERT(e[0]->calls == 1 && e[1]->calls == 1 && e[2]->calls == 0);
    sc_loop_unwatch(small, &e[0]->watch);
    CU_ASSERT_EQUAL(sc_loop_watch(small, &e[2]->watch, e[2]->sock, APR_POLLIN, on_end, e[2]),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_loop_once(small, LONG), APR_SUCCESS);
    CU_ASSERT(e[0]->calls == 1 && e[1]->calls == 2 && e[2]->calls == 1);
    for (i = 0; i < 3; i++) {
        sc_loop_unwatch(small, &e[i]->watch);
        end_free(e[i]);
    }
    tear_down();
}

/* ---- removal from callbacks --------------------------------------------------------------- */

/* One round of the loop, in which each of two ends that are ready would do this to the other. */
static void meet(end_t **a, end_t **b, void (*then)(end_t *))
{
    (*a)->then = (*b)->then = then;
    (*a)->other = b;
    (*b)->other = a;
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
}

static void kill_other(end_t *e)
{
    if (*e->other != NULL) {
        end_free(*e->other);
        *e->other = NULL;
    }
}

static void test_unwatch_other(void)
{
    end_t *a;
    end_t *b;

    set_up();
    a = end_ready();
    b = end_ready();
    meet(&a, &b, kill_other);
    /* whichever came first survived and was called once */
    CU_ASSERT((a == NULL) != (b == NULL));
    CU_ASSERT_EQUAL((a != NULL ? a : b)->calls, 1);
    end_free(a != NULL ? a : b);
    tear_down();
}

static void kill_self(end_t *e)
{
    *e->other = NULL;
    end_free(e);
}

static void test_unwatch_self(void)
{
    end_t *e;

    set_up();
    e = end_ready();
    e->then = kill_self;
    e->other = &e;
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
    CU_ASSERT_PTR_NULL(e);
    CU_ASSERT_EQUAL(sc_loop_once(loop, 0), APR_SUCCESS);
    tear_down();
}

/* Replaces the other by one that is not ready, in its slot and, most likely, with its number. */
static void replace_other(end_t *e)
{
    end_free(*e->other);
    *e->other = end_new();
    CU_ASSERT_EQUAL(end_watch(*e->other, APR_POLLIN), APR_SUCCESS);
    e->then = NULL;
}

static void test_slot_reuse(void)
{
    end_t *a;
    end_t *b;
    end_t *young;

    set_up();
    a = end_ready();
    b = end_ready();
    meet(&a, &b, replace_other);
    CU_ASSERT_EQUAL(a->calls + b->calls, 1);
    young = a->calls == 0 ? a : b;
    CU_ASSERT_EQUAL(write(young->peer, "x", 1), 1);
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
    CU_ASSERT_EQUAL(young->calls, 1);
    end_free(a);
    end_free(b);
    tear_down();
}

/* An active watch that is given another socket must not hear of the old one. */
static void move_other(end_t *e)
{
    end_t *o = *e->other;
    int fd[2];

    close(o->peer);
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    o->peer = fd[1];
    o->sock = NULL;
    CU_ASSERT_EQUAL(apr_os_sock_put(&o->sock, &fd[0], pool), APR_SUCCESS);
    CU_ASSERT_EQUAL(end_watch(o, APR_POLLIN), APR_SUCCESS);
    close(o->fd);
    o->fd = fd[0];
    e->then = NULL;
}

static void test_move(void)
{
    end_t *a;
    end_t *b;

    set_up();
    a = end_ready();
    b = end_ready();
    meet(&a, &b, move_other);
    CU_ASSERT_EQUAL(a->calls + b->calls, 1);
    end_free(a);
    end_free(b);
    tear_down();
}

static void mute_other(end_t *e)
{
    CU_ASSERT_EQUAL(end_watch(*e->other, APR_POLLIN), APR_SUCCESS);
}

static void test_narrow(void)
{
    end_t *a;
    end_t *b;

    set_up();
    a = end_new();
    b = end_new();
    CU_ASSERT_EQUAL(end_watch(a, APR_POLLOUT), APR_SUCCESS);
    CU_ASSERT_EQUAL(end_watch(b, APR_POLLOUT), APR_SUCCESS);
    meet(&a, &b, mute_other);
    CU_ASSERT_EQUAL(a->calls + b->calls, 1);
    end_free(a);
    end_free(b);
    tear_down();
}

/* Many ends, each callback removing and adding others: nobody may be called who is not ready. */
enum { CROWD = 40 };

static end_t *crowd[CROWD];
static unsigned int dice;
static int churned;

static unsigned int roll(unsigned int n)
{
    dice = dice * 1103515245u + 12345u;
    return (dice >> 16) % n;
}

static void churn(end_t *e)
{
    struct pollfd pfd = {e->fd, POLLIN, 0};
    int i;

    CU_ASSERT_EQUAL(poll(&pfd, 1, 0), 1);
    churned++;
    for (i = 0; i < 3; i++) {
        unsigned int k = roll(CROWD);

        if (crowd[k] != NULL) {
            end_free(crowd[k]);
            crowd[k] = NULL;
        } else {
            crowd[k] = end_new();
            crowd[k]->then = churn;
            if (roll(2)) {
                CU_ASSERT_EQUAL(write(crowd[k]->peer, "x", 1), 1);
            }
            CU_ASSERT_EQUAL(end_watch(crowd[k], APR_POLLIN), APR_SUCCESS);
        }
    }
}

static void test_churn(void)
{
    int rounds;
    int i;

    set_up();
    dice = 4711;
    churned = 0;
    for (i = 0; i < CROWD; i++) {
        crowd[i] = end_ready();
        crowd[i]->then = churn;
    }
    for (rounds = 0; rounds < 300; rounds++) {
        CU_ASSERT_EQUAL(sc_loop_once(loop, 0), APR_SUCCESS);
    }
    CU_ASSERT(churned > 300); /* the crowd did not die out */
    for (i = 0; i < CROWD; i++) {
        if (crowd[i] != NULL) {
            end_free(crowd[i]);
        }
    }
    tear_down();
}

/* ---- time --------------------------------------------------------------------------------- */

typedef struct alarm_t {
    sc_timer_t timer;
    int fired;
    apr_time_t at;
    end_t *e;
} alarm_t;

static void on_alarm(void *baton, apr_time_t now)
{
    alarm_t *a = baton;

    a->fired++;
    a->at = now;
}

static void test_timer(void)
{
    alarm_t a = {0};
    apr_time_t due;
    int rounds = 0;

    set_up();
    due = sc_mono(&sc_clock_system) + apr_time_from_msec(30) + 500;
    CU_ASSERT_EQUAL(sc_timer_set(sc_loop_timers(loop), &a.timer, due, on_alarm, &a), APR_SUCCESS);
    while (!a.fired && rounds < 1000) {
        CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
        rounds++;
    }
    CU_ASSERT_EQUAL(a.fired, 1);
    CU_ASSERT(a.at >= due);
    CU_ASSERT(a.at < due + LONG / 2); /* the timer ended the wait, not its bound */
    CU_ASSERT(rounds <= 3);           /* waited, did not spin through the last millisecond */
    tear_down();
}

static void test_max_wait(void)
{
    apr_time_t begun;

    set_up();
    begun = sc_mono(&sc_clock_system);
    CU_ASSERT_EQUAL(sc_loop_once(loop, apr_time_from_msec(20)), APR_SUCCESS);
    CU_ASSERT(sc_loop_now(loop) - begun >= apr_time_from_msec(20));
    tear_down();
}

/* The timeout of something whose answer came in the same round must not strike. */
static void on_answer(end_t *e)
{
    alarm_t *a = (alarm_t *)(void *)e->other;

    sc_timer_cancel(sc_loop_timers(loop), &a->timer);
}

static void test_event_before_timer(void)
{
    alarm_t a = {0};

    set_up();
    a.e = end_ready();
    a.e->then = on_answer;
    a.e->other = (end_t **)(void *)&a;
    CU_ASSERT_EQUAL(sc_timer_set(sc_loop_timers(loop), &a.timer, sc_loop_now(loop), on_alarm, &a),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
    CU_ASSERT_EQUAL(a.e->calls, 1);
    CU_ASSERT_EQUAL(a.fired, 0);
    end_free(a.e);
    tear_down();
}

static apr_time_t ticking(void *ctx)
{
    apr_time_t *t = ctx;

    return ++*t;
}

static apr_time_t seen[2];
static int nseen;
static sc_loop_t *ticking_loop;

static void note_now(void *baton, apr_int16_t events)
{
    (void)baton;
    (void)events;
    if (nseen < 2) {
        seen[nseen++] = sc_loop_now(ticking_loop);
    }
}

static void test_now_is_kept(void)
{
    apr_time_t t = 1000;
    sc_clock_t clock = {&t, ticking, ticking};
    end_t *a;
    end_t *b;

    set_up();
    nseen = 0;
    CU_ASSERT_EQUAL_FATAL(sc_loop_create(&ticking_loop, 4, &clock, pool), APR_SUCCESS);
    CU_ASSERT_PTR_EQUAL(sc_loop_clock(ticking_loop), &clock);
    CU_ASSERT(sc_loop_now(ticking_loop) > 1000);
    a = end_ready();
    b = end_ready();
    sc_loop_unwatch(loop, &a->watch);
    sc_loop_unwatch(loop, &b->watch);
    sc_loop_watch(ticking_loop, &a->watch, a->sock, APR_POLLIN, note_now, NULL);
    sc_loop_watch(ticking_loop, &b->watch, b->sock, APR_POLLIN, note_now, NULL);
    CU_ASSERT_EQUAL(sc_loop_once(ticking_loop, LONG), APR_SUCCESS);
    CU_ASSERT_EQUAL(nseen, 2);
    CU_ASSERT_EQUAL(seen[0], seen[1]);
    CU_ASSERT(seen[0] <= t);
    sc_loop_unwatch(ticking_loop, &a->watch);
    sc_loop_unwatch(ticking_loop, &b->watch);
    end_free(a);
    end_free(b);
    tear_down();
}

/* ---- signals and the stop ----------------------------------------------------------------- */

static volatile sig_atomic_t signals;
static int stop_on_signal;

static void on_signal(int sig)
{
    (void)sig;
    signals++;
    if (stop_on_signal) {
        sc_loop_stop(loop);
    }
}

static void ring(int first_ms, int every_ms, struct sigaction *old)
{
    struct itimerval it = {{0, every_ms * 1000}, {0, first_ms * 1000}};
    struct sigaction sa;

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_signal;
    signals = 0;
    CU_ASSERT_EQUAL(sigaction(SIGALRM, &sa, old), 0);
    CU_ASSERT_EQUAL(setitimer(ITIMER_REAL, &it, NULL), 0);
}

static void hush(const struct sigaction *old)
{
    struct itimerval it = {{0, 0}, {0, 0}};

    setitimer(ITIMER_REAL, &it, NULL);
    signal(SIGALRM, SIG_IGN); /* one may be pending still; this discards it */
    sigaction(SIGALRM, old, NULL);
}

static void test_eintr(void)
{
    struct sigaction old;
    alarm_t a = {0};
    apr_time_t due;

    set_up();
    stop_on_signal = 0;
    due = sc_mono(&sc_clock_system) + apr_time_from_msec(50);
    CU_ASSERT_EQUAL(sc_timer_set(sc_loop_timers(loop), &a.timer, due, on_alarm, &a), APR_SUCCESS);
    ring(2, 2, &old);
    while (!a.fired && sc_mono(&sc_clock_system) < due + LONG) {
        CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
    }
    hush(&old);
    CU_ASSERT(signals > 0);
    CU_ASSERT_EQUAL(a.fired, 1);
    CU_ASSERT(a.at >= due);
    tear_down();
}

static void test_stop_from_signal(void)
{
    struct sigaction old;

    set_up();
    stop_on_signal = 1;
    CU_ASSERT(!sc_loop_stopped(loop));
    ring(10, 0, &old);
    CU_ASSERT_EQUAL(sc_loop_run(loop), APR_SUCCESS); /* nothing else would ever end it */
    hush(&old);
    CU_ASSERT_EQUAL(signals, 1);
    CU_ASSERT(sc_loop_stopped(loop));
    stop_on_signal = 0;
    tear_down();
}

static void *stop_loop(void *baton)
{
    sc_loop_stop(baton);
    return NULL;
}

static void test_stop_from_thread(void)
{
    pthread_t thread;

    set_up();
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, stop_loop, loop), 0);
    CU_ASSERT_EQUAL(sc_loop_run(loop), APR_SUCCESS);
    pthread_join(thread, NULL);
    CU_ASSERT(sc_loop_stopped(loop));
    tear_down();
}

/* Stopped before the run, more often than the pipe can hold. */
static void test_stop_early(void)
{
    apr_time_t begun = sc_mono(&sc_clock_system);
    int i;

    set_up();
    for (i = 0; i < 70000; i++) {
        sc_loop_stop(loop);
    }
    CU_ASSERT_EQUAL(sc_loop_run(loop), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS); /* does not wait any more */
    CU_ASSERT_EQUAL(sc_loop_once(loop, LONG), APR_SUCCESS);
    CU_ASSERT(sc_mono(&sc_clock_system) - begun < LONG);
    tear_down();
}

void sc_suite_loop(void)
{
    CU_pSuite suite = CU_add_suite("loop", NULL, NULL);

    CU_ADD_TEST(suite, test_events);
    CU_ADD_TEST(suite, test_bad_socket);
    CU_ADD_TEST(suite, test_capacity);
    CU_ADD_TEST(suite, test_unwatch_other);
    CU_ADD_TEST(suite, test_unwatch_self);
    CU_ADD_TEST(suite, test_slot_reuse);
    CU_ADD_TEST(suite, test_move);
    CU_ADD_TEST(suite, test_narrow);
    CU_ADD_TEST(suite, test_churn);
    CU_ADD_TEST(suite, test_timer);
    CU_ADD_TEST(suite, test_max_wait);
    CU_ADD_TEST(suite, test_event_before_timer);
    CU_ADD_TEST(suite, test_now_is_kept);
    CU_ADD_TEST(suite, test_eintr);
    CU_ADD_TEST(suite, test_stop_from_signal);
    CU_ADD_TEST(suite, test_stop_from_thread);
    CU_ADD_TEST(suite, test_stop_early);
}
