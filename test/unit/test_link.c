/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The link between children and engine, with engines that are real processes: they are killed,
 * frozen and replaced under the calls; and the listening socket. The client against engines that
 * misbehave is in link_fake.c, the server alone in link_raw.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../src/engine/link_wire.h"
#include "link_rig.h"

void sc_suite_link(void);

static link_rig_t rig;
static sc_buf_t answer;

static void set_up(int with_engine)
{
    link_rig_start(&rig);
    sc_buf_init(&answer, RIG_MAX_MESSAGE);
    if (with_engine) {
        link_rig_spawn(&rig);
    }
}

static void tear_down(void)
{
    sc_buf_free(&answer);
    link_rig_end(&rig);
}

static apr_time_t now(void)
{
    return sc_mono(&sc_clock_system);
}

static void assert_info(link_rig_info_t *info)
{
    memset(info, 0, sizeof(*info));
    CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_INFO, NULL, 0, RIG_LONG, &answer), APR_SUCCESS);
    CU_ASSERT(link_rig_info(&answer, info));
}

/* A call whose answer is known: whatever came before, it must get its own. */
static void assert_echo(link_rig_t *r, apr_size_t n, unsigned int seed)
{
    unsigned char *bytes = malloc(n + 1);
    apr_status_t rv;
    sc_buf_t got;

    CU_ASSERT_FATAL(bytes != NULL);
    link_rig_fill(bytes, n, seed);
    sc_buf_init(&got, RIG_MAX_MESSAGE);
    rv = link_rig_call(r, RIG_ECHO, bytes, n, RIG_LONG, &got);
    CU_ASSERT_EQUAL(rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(got.len, n + 1);
    CU_ASSERT(got.len == n + 1 && got.data[0] == RIG_ECHO && memcmp(got.data + 1, bytes, n) == 0);
    sc_buf_free(&got);
    free(bytes);
}

/* ---- round trips -------------------------------------------------------------------------- */

static void test_sizes(void)
{
    static const apr_size_t sizes[] = {0,
                                       1,
                                       1024,
                                       SC_LINK_PIECE - 2,
                                       SC_LINK_PIECE - 1,
                                       SC_LINK_PIECE,
                                       60 * 1024,
                                       2 * SC_LINK_PIECE - 1,
                                       2 * SC_LINK_PIECE,
                                       1024 * 1024,
                                       RIG_MAX_MESSAGE - 1};
    apr_size_t i;

    set_up(1);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned char *want = malloc(sizes[i] + 1);

        assert_echo(&rig, sizes[i], (unsigned int)i);
        CU_ASSERT_EQUAL(
            link_rig_call_u32(&rig, RIG_SIZED, (apr_uint32_t)sizes[i], RIG_LONG, &answer),
            APR_SUCCESS);
        CU_ASSERT_EQUAL(answer.len, sizes[i]);
        link_rig_fill(want, sizes[i], (unsigned int)sizes[i]);
        CU_ASSERT(answer.len == sizes[i] && memcmp(answer.data, want, sizes[i]) == 0);
        free(want);
    }
    tear_down();
}

static void test_ops(void)
{
    link_rig_info_t info;
    sc_buf_t b;
    int op;

    set_up(1);
    sc_buf_init(&b, 16);
    sc_put_u8(&b, RIG_INFO);
    for (op = SC_LINK_CHANGE; op <= SC_LINK_LAST; op++) {
        CU_ASSERT_EQUAL(sc_link_call(rig.client, (sc_link_op_t)op, &b, RIG_LONG, &answer),
                        APR_SUCCESS);
        CU_ASSERT(link_rig_info(&answer, &info));
        CU_ASSERT_EQUAL(info.op, (apr_uint32_t)op);
        CU_ASSERT_EQUAL(info.again, 0);
        CU_ASSERT_EQUAL(info.conns, 1); /* one connection served them all */
        CU_ASSERT_EQUAL(info.refused, 0);
    }
    /* no body at all, and what was in the answer before is gone */
    sc_put(&answer, "old", 3);
    CU_ASSERT_EQUAL(sc_link_call(rig.client, SC_LINK_PING, NULL, RIG_LONG, &answer), APR_SUCCESS);
    CU_ASSERT_EQUAL(answer.len, 0);
    /* a request that could not be written is not sent */
    b.err = APR_ENOSPC;
    CU_ASSERT_EQUAL(sc_link_call(rig.client, SC_LINK_PING, &b, RIG_LONG, &answer), APR_ENOSPC);
    sc_buf_free(&b);
    tear_down();
}

enum { THREADS = 8, CALLS = 2000 };

typedef struct worker_t {
    pthread_t thread;
    link_rig_t *rig;
    unsigned int seed;
    int calls;
    apr_uint32_t delay; /* ms that each call takes; 0: as fast as it can */
    int bad;
} worker_t;

/* No CUnit in threads: it counts without a lock. */
static void *work(void *baton)
{
    worker_t *w = baton;
    unsigned char bytes[3000];
    sc_buf_t got;
    int i;

    sc_buf_init(&got, RIG_MAX_MESSAGE);
    for (i = 0; i < w->calls && w->delay != 0; i++) {
        w->bad += link_rig_call_u32(w->rig, RIG_DELAY, w->delay, RIG_LONG, &got) != APR_SUCCESS;
    }
    for (i = 0; i < w->calls && w->delay == 0; i++) {
        apr_size_t n = (apr_size_t)(w->seed * 31 + (unsigned int)i * 17) % sizeof(bytes);

        link_rig_fill(bytes, n, w->seed * 100000 + (unsigned int)i);
        if (link_rig_call(w->rig, RIG_ECHO, bytes, n, RIG_LONG, &got) != APR_SUCCESS ||
            got.len != n + 1 || memcmp(got.data + 1, bytes, n) != 0) {
            w->bad++;
        }
    }
    sc_buf_free(&got);
    return NULL;
}

/* @return calls that failed */
static int run_threads(int calls, apr_uint32_t delay)
{
    worker_t w[THREADS];
    int bad = 0;
    int i;

    for (i = 0; i < THREADS; i++) {
        w[i].rig = &rig;
        w[i].seed = (unsigned int)i + 1;
        w[i].calls = calls;
        w[i].delay = delay;
        w[i].bad = pthread_create(&w[i].thread, NULL, work, &w[i]) == 0 ? 0 : -1;
    }
    for (i = 0; i < THREADS; i++) {
        if (w[i].bad == -1) {
            bad++;
        } else {
            pthread_join(w[i].thread, NULL);
            bad += w[i].bad;
        }
    }
    return bad;
}

static void test_threads(void)
{
    int fds;

    set_up(1);
    fds = link_rig_count_fds();
    CU_ASSERT_EQUAL(run_threads(CALLS, 0), 0);
    CU_ASSERT(link_rig_count_fds() <= fds + 4); /* what the client may keep */
    tear_down();
}

static void test_keep_none(void)
{
    sc_link_client_t *kept = rig.client;
    link_rig_info_t info;
    int fds;

    set_up(1);
    kept = rig.client;
    CU_ASSERT_EQUAL(sc_link_client_create(&rig.client, rig.path, 0, rig.pool), APR_SUCCESS);
    fds = link_rig_count_fds();
    assert_info(&info);
    CU_ASSERT_EQUAL(link_rig_count_fds(), fds);
    rig.client = kept;
    tear_down();
}

/* A child of a child must not share its parent's connections. */
static void test_fork(void)
{
    link_rig_info_t info;
    pid_t pid;

    set_up(1);
    assert_info(&info);
    CU_ASSERT_EQUAL(info.conns, 1);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        int fds = link_rig_count_fds();
        int bad = link_rig_call(&rig, RIG_INFO, NULL, 0, RIG_LONG, &answer) != APR_SUCCESS ||
                  !link_rig_info(&answer, &info) || info.conns != 2 || link_rig_count_fds() != fds;

        _exit(bad);
    }
    CU_ASSERT_EQUAL(link_rig_wait(pid, RIG_LONG), 0);
    assert_echo(&rig, 100, 1);
    tear_down();
}

/* ---- engines that die --------------------------------------------------------------------- */

/* Runs fn in a process of its own, the "child", while this one plays the parent: it replaces the
 * engine when it dies, and kills it every kill_ms if that is not 0, but only after it has served
 * somebody: under valgrind an engine takes its time to begin. @return exit code of fn */
static int run_child(int (*fn)(void), int kill_ms)
{
    apr_interval_time_t life = apr_time_from_msec(kill_ms);
    apr_time_t until = now() + 6 * RIG_LONG;
    apr_time_t served = 0;
    int code = -1;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        _exit(fn());
    }
    while (code == -1 && now() < until) {
        code = link_rig_wait(pid, apr_time_from_msec(1));
        if (link_rig_wait(rig.engine, 0) != -1) {
            link_rig_spawn(&rig);
        }
        if (kill_ms == 0) {
            continue;
        }
        if (served == 0) {
            CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, NULL, 0, RIG_LONG, &answer), APR_SUCCESS);
            served = now();
        } else if (now() - served >= life) {
            link_rig_kill(&rig);
            link_rig_spawn(&rig);
            served = 0;
        }
    }
    if (code == -1) {
        kill(pid, SIGKILL);
        link_rig_wait(pid, RIG_LONG);
    }
    return code;
}

static int die_once(void)
{
    link_rig_info_t info;
    link_rig_info_t before;
    int i;

    for (i = 0; i < 2; i++) { /* over a fresh connection, then over one from the stock */
        if (i == 1 && (link_rig_call(&rig, RIG_INFO, NULL, 0, RIG_LONG, &answer) != APR_SUCCESS ||
                       !link_rig_info(&answer, &before) || before.again)) {
            return 1;
        }
        if (link_rig_call(&rig, RIG_DIE, NULL, 0, RIG_LONG, &answer) != APR_SUCCESS ||
            !link_rig_info(&answer, &info) || !info.again) {
            return 2;
        }
        if (i == 1 && info.pid == before.pid) {
            return 3;
        }
    }
    return 0;
}

static void test_engine_dies(void)
{
    set_up(1);
    CU_ASSERT_EQUAL(run_child(die_once, 0), 0);
    tear_down();
}

static int work_hard(void)
{
    return run_threads(CALLS / 4, 0) != 0;
}

static void test_engines_killed(void)
{
    set_up(1);
    CU_ASSERT_EQUAL(run_child(work_hard, 10), 0);
    tear_down();
}

/* The engine was replaced while nobody called: nothing was lost, so nothing is repeated. */
static void test_engine_replaced(void)
{
    link_rig_info_t info;
    int fds;

    set_up(1);
    fds = link_rig_count_fds();
    CU_ASSERT_EQUAL(run_threads(1, 100), 0); /* at the same time, over a connection each */
    CU_ASSERT(link_rig_count_fds() > fds + 1);
    link_rig_kill(&rig);
    link_rig_spawn(&rig);
    assert_info(&info);
    CU_ASSERT_EQUAL(info.again, 0);
    CU_ASSERT_EQUAL(info.pid, (apr_uint32_t)rig.engine);
    CU_ASSERT_EQUAL(link_rig_count_fds(), fds + 1); /* the dead ones are gone, all of them */
    assert_info(&info);
    CU_ASSERT_EQUAL(info.again, 0);
    CU_ASSERT_EQUAL(info.conns, 1);
    tear_down();
}

/* ---- engines that are late ---------------------------------------------------------------- */

static void test_frozen(void)
{
    static const int timeouts[] = {20, 150}; /* ms: below and above the first, coarse wait */
    apr_time_t begun;
    int i;

    set_up(1);
    for (i = 0; i < 2; i++) {
        apr_interval_time_t timeout = apr_time_from_msec(timeouts[i]);

        assert_echo(&rig, 10, 1);
        begun = now();
        CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_FREEZE, "old", 3, timeout, &answer), APR_TIMEUP);
        CU_ASSERT(now() - begun >= timeout);
        CU_ASSERT(now() - begun < RIG_LONG);
        CU_ASSERT(link_rig_wait_stopped(rig.engine, RIG_LONG));
        /* others, on other connections and on this one */
        begun = now();
        CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, "older", 5, timeout, &answer), APR_TIMEUP);
        CU_ASSERT(now() - begun >= timeout);
        kill(rig.engine, SIGCONT);
        assert_echo(&rig, 3, 99);
        assert_echo(&rig, 200000, 100);
    }
    tear_down();
}

/* More calls given up in a row than one connection may have open. */
static void test_many_late(void)
{
    link_rig_info_t info;
    int i;

    set_up(1);
    for (i = 0; i < 12; i++) {
        CU_ASSERT_EQUAL(
            link_rig_call_u32(&rig, RIG_DELAY, 40, apr_time_from_msec(2 + i % 3), &answer),
            APR_TIMEUP);
        if (i % 4 == 3) {
            assert_echo(&rig, 5, (unsigned int)i);
        }
    }
    CU_ASSERT_EQUAL(link_rig_call_u32(&rig, RIG_DELAY, 60, RIG_LONG, &answer), APR_SUCCESS);
    assert_info(&info);
    CU_ASSERT_EQUAL(info.refused, 0);
    CU_ASSERT_EQUAL(info.again, 0);
    tear_down();
}

/* A late answer of many packets, given up in its middle. */
static void test_late_and_long(void)
{
    int i;

    set_up(1);
    for (i = 0; i < 30; i++) {
        apr_status_t rv = link_rig_call_u32(&rig, RIG_SIZED, 2000000, 1 + i * 100, &answer);

        CU_ASSERT(rv == APR_SUCCESS || rv == APR_TIMEUP);
        CU_ASSERT(rv == APR_TIMEUP || answer.len == 2000000);
        assert_echo(&rig, 50, (unsigned int)i);
    }
    tear_down();
}

static void test_no_time(void)
{
    set_up(1);
    CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, NULL, 0, 0, &answer), APR_TIMEUP);
    CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, NULL, 0, -1, &answer), APR_TIMEUP);
    CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, NULL, 0, APR_INT64_MAX, &answer), APR_SUCCESS);
    tear_down();
}

static volatile sig_atomic_t signals;

static void on_alarm(int sig)
{
    (void)sig;
    signals++;
}

static void test_signals(void)
{
    struct itimerval it = {{0, 1000}, {0, 1000}};
    struct sigaction sa;
    struct sigaction old;
    apr_time_t begun;

    set_up(1);
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_alarm;
    signals = 0;
    sigaction(SIGALRM, &sa, &old);
    setitimer(ITIMER_REAL, &it, NULL);
    CU_ASSERT_EQUAL(link_rig_call_u32(&rig, RIG_DELAY, 60, RIG_LONG, &answer), APR_SUCCESS);
    begun = now();
    CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_NEVER, NULL, 0, apr_time_from_msec(60), &answer),
                    APR_TIMEUP);
    CU_ASSERT(now() - begun >= apr_time_from_msec(60));
    CU_ASSERT(now() - begun < RIG_LONG);
    memset(&it, 0, sizeof(it));
    setitimer(ITIMER_REAL, &it, NULL);
    signal(SIGALRM, SIG_IGN); /* one may be pending still; this discards it */
    sigaction(SIGALRM, &old, NULL);
    CU_ASSERT(signals > 20);
    tear_down();
}

/* ---- bounds ------------------------------------------------------------------------------- */

static void test_answer_limit(void)
{
    sc_buf_t small;

    set_up(1);
    sc_buf_init(&small, 1000);
    CU_ASSERT_EQUAL(link_rig_call_u32(&rig, RIG_SIZED, 1000, RIG_LONG, &small), APR_SUCCESS);
    CU_ASSERT_EQUAL(small.len, 1000);
    CU_ASSERT_EQUAL(link_rig_call_u32(&rig, RIG_SIZED, 1001, RIG_LONG, &small), APR_ENOSPC);
    CU_ASSERT_EQUAL(link_rig_call_u32(&rig, RIG_SIZED, 200000, RIG_LONG, &small), APR_ENOSPC);
    CU_ASSERT_EQUAL(link_rig_call_u32(&rig, RIG_SIZED, 7, RIG_LONG, &small), APR_SUCCESS);
    CU_ASSERT_EQUAL(small.len, 7);
    sc_buf_free(&small);
    tear_down();
}

/* The engine refuses it each time; the client must neither hang on nor hammer. */
static void test_request_too_large(void)
{
    unsigned char *bytes = calloc(1, RIG_MAX_MESSAGE);
    apr_interval_time_t timeout = apr_time_from_msec(200);
    apr_time_t begun;
    link_rig_info_t info;

    set_up(1);
    begun = now();
    CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, bytes, RIG_MAX_MESSAGE, timeout, &answer),
                    APR_TIMEUP);
    CU_ASSERT(now() - begun >= timeout);
    assert_info(&info);
    CU_ASSERT(info.refused >= 1);
    CU_ASSERT(info.refused < 30);
    free(bytes);
    tear_down();
}

/* ---- nobody there ------------------------------------------------------------------------- */

static void test_absent(void)
{
    apr_interval_time_t timeout = apr_time_from_msec(60);
    apr_time_t begun;
    int i;

    set_up(0);
    close(rig.listen_fd); /* refused, then not even a socket */
    rig.listen_fd = -1;
    for (i = 0; i < 2; i++) {
        begun = now();
        CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, NULL, 0, timeout, &answer), APR_TIMEUP);
        CU_ASSERT(now() - begun >= timeout);
        CU_ASSERT(now() - begun < RIG_LONG);
        unlink(rig.path);
    }
    tear_down();
}

static int call_echo(void)
{
    return link_rig_call(&rig, RIG_ECHO, NULL, 0, RIG_LONG, &answer) != APR_SUCCESS;
}

/* The first call comes before the socket is there. */
static void test_appears(void)
{
    pid_t pid;

    set_up(0);
    close(rig.listen_fd);
    unlink(rig.path);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        _exit(call_echo());
    }
    CU_ASSERT_EQUAL(link_rig_wait(pid, apr_time_from_msec(20)), -1); /* it waits */
    CU_ASSERT_EQUAL(sc_link_listen(rig.path, 16, (apr_uid_t)-1, (apr_gid_t)-1, &rig.listen_fd),
                    APR_SUCCESS);
    link_rig_spawn(&rig);
    CU_ASSERT_EQUAL(link_rig_wait(pid, RIG_LONG), 0);
    tear_down();
}

/* The engine is dead and the queue of the listening socket is full. */
static void test_queue_full(void)
{
    enum { MANY = 16 };
    apr_interval_time_t timeout = apr_time_from_msec(120);
    struct sockaddr_un addr;
    apr_time_t begun;
    int fds[MANY];
    pid_t pid;
    int i;

    set_up(0);
    CU_ASSERT_EQUAL(listen(rig.listen_fd, 2), 0);
    CU_ASSERT_EQUAL(sc_wire_addr(&addr, rig.path), APR_SUCCESS);
    for (i = 0; i < MANY; i++) {
        fds[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
        if (connect(fds[i], (struct sockaddr *)&addr, sizeof(addr)) != 0) {
            CU_ASSERT_EQUAL(errno, EAGAIN);
            close(fds[i]);
            break;
        }
    }
    CU_ASSERT_FATAL(i < MANY);
    begun = now();
    CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, NULL, 0, timeout, &answer), APR_TIMEUP);
    CU_ASSERT(now() - begun >= timeout);
    CU_ASSERT(now() - begun < RIG_LONG);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        _exit(call_echo());
    }
    CU_ASSERT_EQUAL(link_rig_wait(pid, apr_time_from_msec(20)), -1);
    link_rig_spawn(&rig);
    CU_ASSERT_EQUAL(link_rig_wait(pid, RIG_LONG), 0);
    while (i > 0) {
        close(fds[--i]);
    }
    tear_down();
}

/* Not worth waiting for: no descriptors. */
static void test_no_descriptors(void)
{
    struct rlimit limit;
    struct rlimit none;
    apr_time_t begun;

    set_up(1);
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    begun = now();
    CU_ASSERT_EQUAL(link_rig_call(&rig, RIG_ECHO, NULL, 0, RIG_LONG, &answer), EMFILE);
    CU_ASSERT(now() - begun < RIG_LONG);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    tear_down();
}

/* ---- the listening socket ----------------------------------------------------------------- */

static void assert_listen(const char *path, apr_status_t want)
{
    int fd = 0;

    CU_ASSERT_EQUAL(sc_link_listen(path, 8, (apr_uid_t)-1, (apr_gid_t)-1, &fd), want);
    CU_ASSERT((fd >= 0) == (want == APR_SUCCESS));
    if (fd >= 0) {
        close(fd);
    }
}

static void test_listen_mode(void)
{
    mode_t mask = umask(0);
    struct stat st;
    int fd;

    set_up(0);
    CU_ASSERT_EQUAL(lstat(rig.path, &st), 0);
    CU_ASSERT(S_ISSOCK(st.st_mode));
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT_EQUAL(fcntl(rig.listen_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(rig.listen_fd);
    umask(0777);
    CU_ASSERT_EQUAL(sc_link_listen(rig.path, 8, geteuid(), getegid(), &rig.listen_fd), APR_SUCCESS);
    CU_ASSERT_EQUAL(lstat(rig.path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
    CU_ASSERT(st.st_uid == geteuid() && st.st_gid == getegid());
    umask(mask);
    /* an owner that cannot be given leaves nothing behind */
    if (geteuid() != 0) {
        close(rig.listen_fd);
        CU_ASSERT_EQUAL(sc_link_listen(rig.path, 8, 0, 0, &fd), EPERM);
        CU_ASSERT(lstat(rig.path, &st) != 0);
        rig.listen_fd = -1;
    }
    tear_down();
}

static void test_listen_stale(void)
{
    char other[128];
    struct stat st;
    int fd;

    set_up(0);
    assert_listen(rig.path, EADDRINUSE); /* served: not ours to take */
    CU_ASSERT_EQUAL(lstat(rig.path, &st), 0);
    close(rig.listen_fd);
    rig.listen_fd = -1;
    assert_listen(rig.path, APR_SUCCESS); /* stale */
    unlink(rig.path);

    /* a file, a link: left alone, whatever they are */
    fd = open(rig.path, O_CREAT | O_WRONLY, 0600);
    CU_ASSERT(fd >= 0 && write(fd, "data", 4) == 4);
    close(fd);
    assert_listen(rig.path, APR_EEXIST);
    CU_ASSERT(lstat(rig.path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 4);
    snprintf(other, sizeof(other), "%s/link", rig.dir);
    CU_ASSERT_EQUAL(symlink(rig.path, other), 0);
    assert_listen(other, APR_EEXIST);
    CU_ASSERT(lstat(other, &st) == 0 && S_ISLNK(st.st_mode));
    unlink(other);
    unlink(rig.path);
    snprintf(other, sizeof(other), "%s/missing/engine", rig.dir);
    assert_listen(other, APR_ENOENT);
    tear_down();
}

static void test_path_length(void)
{
    struct sockaddr_un addr;
    char path[sizeof(addr.sun_path) + 1];
    sc_link_client_t *client = NULL;
    apr_size_t len;

    set_up(0);
    memset(path, 'p', sizeof(path));
    len = strlen(rig.dir);
    memcpy(path, rig.dir, len);
    path[len] = '/';
    path[sizeof(path) - 1] = '\0'; /* one too long */
    assert_listen(path, APR_ENAMETOOLONG);
    CU_ASSERT_EQUAL(sc_link_client_create(&client, path, 1, rig.pool), APR_ENAMETOOLONG);
    CU_ASSERT_PTR_NULL(client);
    path[sizeof(path) - 2] = '\0'; /* just fits */
    assert_listen(path, APR_SUCCESS);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(sc_link_client_create(&client, path, 1, rig.pool), APR_SUCCESS);
    assert_listen("", APR_EINVAL);
    tear_down();
}

static void test_names(void)
{
    int i;
    int k;

    CU_ASSERT_STRING_EQUAL(sc_outcome_name(SC_DONE), "done");
    for (i = SC_DONE; i <= SC_REFUSED; i++) {
        for (k = SC_DONE; k < i; k++) {
            CU_ASSERT_STRING_NOT_EQUAL(sc_outcome_name((sc_outcome_t)i),
                                       sc_outcome_name((sc_outcome_t)k));
        }
        CU_ASSERT_STRING_NOT_EQUAL(sc_outcome_name((sc_outcome_t)i), "invalid");
    }
    CU_ASSERT_STRING_EQUAL(sc_outcome_name((sc_outcome_t)200), "invalid");
}

/* The runner ignores SIGPIPE; the link must not rely on that. */
static void (*old_sigpipe)(int);

static int init(void)
{
    old_sigpipe = signal(SIGPIPE, SIG_DFL);
    return 0;
}

static int clean(void)
{
    signal(SIGPIPE, old_sigpipe);
    return 0;
}

void sc_suite_link(void)
{
    CU_pSuite suite = CU_add_suite("link", init, clean);

    CU_ADD_TEST(suite, test_names);
    CU_ADD_TEST(suite, test_sizes);
    CU_ADD_TEST(suite, test_ops);
    CU_ADD_TEST(suite, test_threads);
    CU_ADD_TEST(suite, test_keep_none);
    CU_ADD_TEST(suite, test_fork);
    CU_ADD_TEST(suite, test_engine_dies);
    CU_ADD_TEST(suite, test_engines_killed);
    CU_ADD_TEST(suite, test_engine_replaced);
    CU_ADD_TEST(suite, test_frozen);
    CU_ADD_TEST(suite, test_many_late);
    CU_ADD_TEST(suite, test_late_and_long);
    CU_ADD_TEST(suite, test_no_time);
    CU_ADD_TEST(suite, test_signals);
    CU_ADD_TEST(suite, test_answer_limit);
    CU_ADD_TEST(suite, test_request_too_large);
    CU_ADD_TEST(suite, test_absent);
    CU_ADD_TEST(suite, test_appears);
    CU_ADD_TEST(suite, test_queue_full);
    CU_ADD_TEST(suite, test_no_descriptors);
    CU_ADD_TEST(suite, test_listen_mode);
    CU_ADD_TEST(suite, test_listen_stale);
    CU_ADD_TEST(suite, test_path_length);
    link_rig_add_fake_tests(suite);
    link_rig_add_server_tests(suite);
}
