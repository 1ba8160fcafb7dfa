/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The deployer's process: a farm, and its end of the socket pair.
 *
 * It may wait for the disk as long as that takes; messages wait in the engine meanwhile, which
 * keeps a bounded number of them. It writes to the error log through the engine, which knows where
 * that is after a restart, and ends when the pair is closed. The kernel kills it when the engine
 * dies.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

/** Packets that are read before something else is done. */
#define BURST 32
#define COUNTS_INTERVAL apr_time_from_msec(200)
/** Sessions come first where processors are short. */
#define NICENESS 10

typedef struct process_t {
    int fd;
    sc_farm_t *farm;
    sc_farm_counts_t told;
    apr_time_t told_at;
    unsigned char out[SC_DEPLOY_PACKET_MAX];
    unsigned char in[SC_DEPLOY_PACKET_MAX];
} process_t;

static void say(process_t *p, apr_size_t len)
{
    while (send(p->fd, p->out, len, MSG_NOSIGNAL) < 0) {
        if (errno != EINTR) {
            _exit(0); /* the engine has gone */
        }
    }
}

static apr_size_t put_u32(unsigned char *out, apr_uint32_t v)
{
    memcpy(out, &v, sizeof(v)); /* never leaves this machine */
    return sizeof(v);
}

static void farm_send(void *ctx, apr_uint32_t peer, int bulk, const void *bytes, apr_size_t len)
{
    process_t *p = ctx;
    apr_size_t n = 0;

    if (len > sizeof(p->out) - 5) {
        return;
    }
    p->out[n++] = bulk ? SC_DEPLOY_SEND_BULK : SC_DEPLOY_SEND;
    n += put_u32(p->out + n, peer);
    memcpy(p->out + n, bytes, len);
    say(p, n + len);
}

static void farm_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    process_t *p = ctx;
    apr_size_t len = strlen(line);
    apr_size_t n = 0;

    p->out[n++] = SC_DEPLOY_LOG;
    p->out[n++] = (unsigned char)level;
    n += put_u32(p->out + n, (apr_uint32_t)rv);
    len = len < 1023 ? len : 1023;
    memcpy(p->out + n, line, len);
    say(p, n + len);
}

static void farm_restart(void *ctx)
{
    process_t *p = ctx;

    p->out[0] = SC_DEPLOY_RESTART;
    say(p, 1);
}

static void say_counts(process_t *p, apr_time_t now)
{
    if (now - p->told_at < COUNTS_INTERVAL ||
        memcmp(&p->told, &p->farm->count, sizeof(p->told)) == 0) {
        return;
    }
    p->told = p->farm->count;
    p->told_at = now;
    p->out[0] = SC_DEPLOY_COUNTS;
    memcpy(p->out + 1, &p->told, sizeof(p->told));
    say(p, 1 + sizeof(p->told));
}

static void heard(process_t *p, apr_size_t len)
{
    char name[SC_MEMBER_NAME];
    apr_uint32_t peer;

    if (len < 5) {
        return;
    }
    memcpy(&peer, p->in + 1, sizeof(peer));
    switch (p->in[0]) {
    case SC_DEPLOY_JOINED:
        len = len - 5 < sizeof(name) - 1 ? len - 5 : sizeof(name) - 1;
        memcpy(name, p->in + 5, len);
        name[len] = '\0';
        sc_farm_joined(p->farm, peer, name);
        break;
    case SC_DEPLOY_LEFT:
        sc_farm_left(p->farm, peer);
        break;
    case SC_DEPLOY_MESSAGE:
        sc_farm_message(p->farm, peer, p->in + 5, len - 5);
        break;
    case SC_DEPLOY_SENT:
        sc_farm_sent(p->farm, peer);
        break;
    case SC_DEPLOY_BUSY:
        sc_farm_busy(p->farm, peer != 0);
        break;
    default:
        break;
    }
}

/** @return 0: the engine has closed the pair */
static int hear(process_t *p)
{
    int i;

    for (i = 0; i < BURST; i++) {
        ssize_t n = recv(p->fd, p->in, sizeof(p->in), MSG_DONTWAIT);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return 1;
        }
        if (n <= 0) {
            return 0;
        }
        heard(p, (apr_size_t)n);
    }
    return 1;
}

static void live(process_t *p)
{
    for (;;) {
        struct pollfd pfd = {p->fd, POLLIN, 0};
        apr_time_t due = sc_farm_step(p->farm);
        apr_time_t now = sc_farm_now(p->farm);
        apr_time_t wait = due > now ? (due - now + 999) / 1000 : 0;

        say_counts(p, now);
        if (memcmp(&p->told, &p->farm->count, sizeof(p->told)) != 0 &&
            wait > apr_time_as_msec(COUNTS_INTERVAL)) {
            wait = apr_time_as_msec(COUNTS_INTERVAL);
        }
        (void)poll(&pfd, 1, wait < 60000 ? (int)wait : 60000);
        if (!hear(p)) {
            return;
        }
    }
}

static void set_up(pid_t engine)
{
    static const struct sched_param any;
    sigset_t none;

    signal(SIGTERM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is one that could not be written */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "session-deploy");
    if (getppid() != engine) {
        _exit(0);
    }
    (void)umask(0); /* modes are given with each file and directory */
    errno = 0;
    (void)!nice(NICENESS);
    (void)sched_setscheduler(0, SCHED_BATCH,
                             &any); /* it takes nobody's processor when it wakes up */
}

void sc_deploy_process(int fd, pid_t engine, const sc_config_deployer_t *config,
                       sc_log_level_t level)
{
    static process_t p;
    sc_log_t log = {&p, level, farm_log};
    sc_farm_env_t env = {config, &sc_clock_system, &log, &p, farm_send, farm_restart};
    apr_pool_t *pool;

    set_up(engine);
    p.fd = sc_close_others(fd);
    apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    if (pool == NULL || sc_farm_create(&p.farm, &env, pool) != APR_SUCCESS) {
        _exit(1);
    }
    live(&p);
    sc_farm_close(p.farm);
    _exit(0);
}
