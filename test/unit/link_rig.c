/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Engines for the tests of the link, see link_rig.h.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link_rig.h"

typedef struct engine_t {
    sc_loop_t *loop;
    sc_link_server_t *server;
    apr_uint32_t refused;
} engine_t;

/* An answer that is given later. */
typedef struct delayed_t {
    sc_timer_t timer;
    engine_t *engine;
    sc_link_call_t call;
    apr_size_t len;
    unsigned char body[];
} delayed_t;

/* For the signal handler of the engine's process. */
static sc_loop_t *engine_loop;

void link_rig_fill(unsigned char *p, apr_size_t n, unsigned int seed)
{
    apr_uint32_t x = seed * 2654435761u + 1;
    apr_size_t i;

    for (i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (unsigned char)(x >> 24);
    }
}

int link_rig_count_fds(void)
{
    int n = 0;
    int fd;

    for (fd = 0; fd < 1024; fd++) {
        n += fcntl(fd, F_GETFD) != -1;
    }
    return n;
}

static int wait_for(pid_t pid, int options, int *status, apr_interval_time_t timeout)
{
    apr_time_t until = sc_mono(&sc_clock_system) + timeout;
    pid_t got;

    while ((got = waitpid(pid, status, WNOHANG | options)) == 0 &&
           sc_mono(&sc_clock_system) < until) {
        apr_sleep(500);
    }
    return got == pid;
}

int link_rig_wait(pid_t pid, apr_interval_time_t timeout)
{
    int status = 0;

    if (!wait_for(pid, 0, &status, timeout)) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int link_rig_wait_stopped(pid_t pid, apr_interval_time_t timeout)
{
    int status = 0;

    return wait_for(pid, WUNTRACED, &status, timeout) && WIFSTOPPED(status);
}

/* ---- the engine's process ----------------------------------------------------------------- */

static void answer_later(void *baton, apr_time_t now)
{
    delayed_t *d = baton;

    (void)now;
    (void)sc_link_answer(d->engine->server, &d->call, d->body, d->len);
    free(d);
}

static void delay(engine_t *e, const sc_link_call_t *call, const unsigned char *body,
                  apr_size_t len, apr_uint32_t ms)
{
    delayed_t *d = calloc(1, sizeof(*d) + len);

    if (d != NULL) {
        d->engine = e;
        d->call = *call;
        d->len = len;
        memcpy(d->body, body, len);
        (void)sc_timer_set(sc_loop_timers(e->loop), &d->timer,
                           sc_loop_now(e->loop) + apr_time_from_msec(ms), answer_later, d);
    }
}

static void answer_info(engine_t *e, const sc_link_call_t *call, sc_link_op_t op, int again)
{
    sc_buf_t b;

    sc_buf_init(&b, 64);
    sc_put_u8(&b, again != 0);
    sc_put_u32(&b, (apr_uint32_t)op);
    sc_put_u32(&b, (apr_uint32_t)getpid());
    sc_put_u32(&b, sc_link_server_conns(e->server));
    sc_put_u32(&b, e->refused);
    (void)sc_link_answer(e->server, call, b.data, b.len);
    sc_buf_free(&b);
}

static void on_request(void *baton, const sc_link_call_t *call, sc_link_op_t op, int again,
                       const unsigned char *body, apr_size_t len)
{
    engine_t *e = baton;
    sc_rd_t rd;
    unsigned int command;
    apr_uint32_t v;
    unsigned char *p;

    sc_rd_init(&rd, body, len);
    command = len > 0 ? sc_get_u8(&rd) : RIG_ECHO;
    v = sc_rd_left(&rd) >= 4 ? sc_get_u32(&rd) : 0;
    switch (command) {
    case RIG_SIZED:
        p = malloc((apr_size_t)v + 1);
        link_rig_fill(p, v, v);
        (void)sc_link_answer(e->server, call, p, v);
        free(p);
        return;
    case RIG_DELAY:
        delay(e, call, body, len, v);
        return;
    case RIG_NEVER:
        return;
    case RIG_FREEZE:
        raise(SIGSTOP);
        break;
    case RIG_DIE:
        if (!again) {
            raise(SIGKILL);
        }
        answer_info(e, call, op, again);
        return;
    case RIG_INFO:
        answer_info(e, call, op, again);
        return;
    default:
        break;
    }
    (void)sc_link_answer(e->server, call, body, len);
}

static void on_refused(void *baton, const char *why)
{
    engine_t *e = baton;

    (void)why;
    e->refused++;
}

static void on_term(int sig)
{
    (void)sig;
    sc_loop_stop(engine_loop);
}

static int engine_main(link_rig_t *r)
{
    engine_t e = {0};
    sc_link_handler_t handler = {&e, on_request, on_refused};
    struct sigaction sa;
    int fds = link_rig_count_fds();
    apr_pool_t *pool;

    if (apr_pool_create(&pool, NULL) != APR_SUCCESS ||
        sc_loop_create(&e.loop, 256, &sc_clock_system, pool) != APR_SUCCESS ||
        sc_link_server_create(&e.server, e.loop, r->listen_fd, RIG_MAX_MESSAGE, r->max_conns,
                              &handler, pool) != APR_SUCCESS) {
        return 2;
    }
    engine_loop = e.loop;
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_term;
    sigaction(SIGTERM, &sa, NULL);
    if (sc_loop_run(e.loop) != APR_SUCCESS) {
        return 3;
    }
    sc_link_server_close(e.server);
    if (sc_link_server_conns(e.server) != 0) {
        return 4;
    }
    apr_pool_destroy(pool);
    return link_rig_count_fds() == fds ? 0 : 5;
}

void link_rig_spawn(link_rig_t *r)
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves no engine behind */
        _exit(engine_main(r));
    }
    CU_ASSERT_FATAL(pid > 0);
    r->engine = pid;
}

/* ---- the test's process ------------------------------------------------------------------- */

void link_rig_start(link_rig_t *r)
{
    memset(r, 0, sizeof(*r));
    r->fds = link_rig_count_fds();
    r->max_conns = 64;
    snprintf(r->dir, sizeof(r->dir), "/tmp/sc-link-XXXXXX");
    CU_ASSERT_FATAL(mkdtemp(r->dir) != NULL);
    snprintf(r->path, sizeof(r->path), "%s/engine", r->dir);
    CU_ASSERT_EQUAL_FATAL(apr_pool_create(&r->pool, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_link_listen(r->path, 128, (apr_uid_t)-1, (apr_gid_t)-1, &r->listen_fd),
                          APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_link_client_create(&r->client, r->path, 4, r->pool), APR_SUCCESS);
}

void link_rig_kill(link_rig_t *r)
{
    kill(r->engine, SIGKILL);
    CU_ASSERT_EQUAL(link_rig_wait(r->engine, RIG_LONG), 128 + SIGKILL);
    r->engine = 0;
}

void link_rig_end(link_rig_t *r)
{
    if (r->engine != 0) {
        int code;

        /* It answers, so it is past its start and hears signals. */
        (void)link_rig_call(r, RIG_ECHO, NULL, 0, RIG_LONG, NULL);
        kill(r->engine, SIGTERM);
        code = link_rig_wait(r->engine, RIG_LONG);
        CU_ASSERT_EQUAL(code, 0);
        if (code == -1) {
            link_rig_kill(r);
        }
    }
    apr_pool_destroy(r->pool);
    if (r->listen_fd >= 0) {
        close(r->listen_fd);
    }
    unlink(r->path);
    CU_ASSERT_EQUAL(rmdir(r->dir), 0);
    CU_ASSERT_EQUAL(link_rig_count_fds(), r->fds);
}

apr_status_t link_rig_call(link_rig_t *r, int command, const void *bytes, apr_size_t n,
                           apr_interval_time_t timeout, sc_buf_t *answer)
{
    sc_buf_t request;
    sc_buf_t own;
    apr_status_t rv;

    sc_buf_init(&request, n + 1);
    sc_buf_init(&own, RIG_MAX_MESSAGE);
    sc_put_u8(&request, (unsigned int)command);
    sc_put(&request, bytes, n);
    rv = sc_link_call(r->client, SC_LINK_CHANGE, &request, timeout, answer != NULL ? answer : &own);
    sc_buf_free(&request);
    sc_buf_free(&own);
    return rv;
}

apr_status_t link_rig_call_u32(link_rig_t *r, int command, apr_uint32_t v,
                               apr_interval_time_t timeout, sc_buf_t *answer)
{
    unsigned char b[4];

    b[0] = (unsigned char)(v >> 24);
    b[1] = (unsigned char)(v >> 16);
    b[2] = (unsigned char)(v >> 8);
    b[3] = (unsigned char)v;
    return link_rig_call(r, command, b, sizeof(b), timeout, answer);
}

int link_rig_info(const sc_buf_t *answer, link_rig_info_t *info)
{
    sc_rd_t rd;

    sc_rd_init(&rd, answer->data, answer->len);
    info->again = sc_get_u8(&rd);
    info->op = sc_get_u32(&rd);
    info->pid = sc_get_u32(&rd);
    info->conns = sc_get_u32(&rd);
    info->refused = sc_get_u32(&rd);
    return !rd.bad && sc_rd_left(&rd) == 0;
}
