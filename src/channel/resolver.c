/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Names are looked up by a process of their own: getaddrinfo may take as long as it likes there,
 * and can be ended at any moment, which a thread in it cannot.
 *
 * The process is forked when the first name is asked for and answers one question after the other
 * over a SEQPACKET pair; further questions wait here for their turn, each with its own deadline. It
 * ends with the engine: its end of the pair is closed then, and the kernel kills it when its parent
 * dies. One that does not answer in time is killed, and the next question makes another. Of the
 * engine's descriptors it keeps its end of the pair and stderr.
 *
 * What it answers is read as if a stranger had sent it: it has spoken with one.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"

/* Two tries of the usual resolver with its usual timeout, and a little. */
#define ANSWER_TIME apr_time_from_sec(12)
/* Whoever may ask has one question at a time, and there are few of them. */
#define WAITING_MAX 8
/* Killed ones that have not ended yet. */
#define DYING_MAX 4

enum { FOUND = 0, NO_SUCH_NAME = 1, FAILED = 2 };

/** What comes back: these many of them are valid. */
typedef struct answer_t {
    apr_uint32_t result;
    apr_uint32_t n;
    sc_address_t address[SC_ADDRESSES_MAX];
} answer_t;

#define ANSWER_HEAD (sizeof(answer_t) - sizeof(sc_address_t[SC_ADDRESSES_MAX]))

typedef struct question_t {
    char name[SC_DNS_NAME_MAX + 1];
    sc_resolved_fn_t *done;
    void *baton;
} question_t;

struct sc_resolver_t {
    const sc_net_env_t *env;
    sc_sock_t sock;
    pid_t pid; /* 0: no process */
    pid_t dying[DYING_MAX];
    sc_timer_t deadline;
    question_t waiting[WAITING_MAX]; /* the first one is being looked up */
    apr_size_t n;
    answer_t in;
};

/* ---- in its process ------------------------------------------------------------------------- */

static void take_address(answer_t *a, const struct sockaddr *sa)
{
    sc_address_t *out = &a->address[a->n];
    apr_uint32_t i;

    if (sa->sa_family == AF_INET) {
        out->len = 4;
        memcpy(out->host, &((const struct sockaddr_in *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6 && ((const struct sockaddr_in6 *)sa)->sin6_scope_id == 0) {
        out->len = 16;
        memcpy(out->host, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
    } else {
        return;
    }
    for (i = 0; i < a->n; i++) {
        if (a->address[i].len == out->len && memcmp(a->address[i].host, out->host, out->len) == 0) {
            return;
        }
    }
    a->n++;
}

static void look_up(const char *name, answer_t *a)
{
    struct addrinfo hints;
    struct addrinfo *list = NULL;
    struct addrinfo *i;
    int rv;

    memset(a, 0, sizeof(*a));
    memset(&hints, 0, sizeof(hints));
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    rv = getaddrinfo(name, NULL, &hints, &list);
    if (rv != 0) {
        int none = rv == EAI_NONAME;
#ifdef EAI_NODATA
        none |= rv == EAI_NODATA;
#endif
        a->result = none ? NO_SUCH_NAME : FAILED;
        return;
    }
    for (i = list; i != NULL && a->n < SC_ADDRESSES_MAX; i = i->ai_next) {
        take_address(a, i->ai_addr);
    }
    freeaddrinfo(list);
}

static void serve(int fd, pid_t engine)
{
    char name[SC_DNS_NAME_MAX + 1];
    static answer_t answer;
    sigset_t none;

    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "session-resolve");
    if (getppid() != engine) {
        _exit(0);
    }
    fd = sc_close_others(fd);
    for (;;) {
        ssize_t n = recv(fd, name, sizeof(name) - 1, 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(0);
        }
        name[n] = '\0';
        look_up(name, &answer);
        if (send(fd, &answer, ANSWER_HEAD + answer.n * sizeof(sc_address_t), MSG_NOSIGNAL) < 0) {
            _exit(1);
        }
    }
}

/* ---- in the engine -------------------------------------------------------------------------- */

/** Take leave of those that have ended. */
static void reap(sc_resolver_t *r)
{
    int i;

    for (i = 0; i < DYING_MAX; i++) {
        if (r->dying[i] != 0 && waitpid(r->dying[i], NULL, WNOHANG) != 0) {
            r->dying[i] = 0;
        }
    }
}

static void end_process(sc_resolver_t *r)
{
    pid_t pid = r->pid;
    int i;

    sc_sock_close(&r->sock, 1);
    r->pid = 0;
    if (pid == 0) {
        return;
    }
    kill(pid, SIGKILL);
    reap(r);
    for (i = 0; i < DYING_MAX; i++) {
        if (r->dying[i] == 0) {
            r->dying[i] = pid;
            reap(r);
            return;
        }
    }
    /* four that a SIGKILL does not end at once: the kernel is in trouble, and waits for something
     */
    (void)waitpid(pid, NULL, 0);
}

static void ask_next(sc_resolver_t *r);

static void tell(sc_resolver_t *r, apr_status_t rv, const sc_address_t *found, apr_size_t n)
{
    question_t q;

    sc_timer_cancel(sc_loop_timers(r->env->loop), &r->deadline);
    if (r->n == 0) {
        return;
    }
    q = r->waiting[0];
    memmove(r->waiting, r->waiting + 1, --r->n * sizeof(r->waiting[0]));
    if (r->n > 0) {
        ask_next(r); /* first: whoever is told may ask something else */
    }
    q.done(q.baton, rv, found, n);
}

static void deadline_due(void *baton, apr_time_t now)
{
    sc_resolver_t *r = baton;

    (void)now;
    end_process(r);
    tell(r, APR_TIMEUP, NULL, 0);
}

/** Whether what was received is an answer. */
static int is_answer(const answer_t *a, apr_size_t len)
{
    apr_uint32_t i;

    if (len < ANSWER_HEAD || a->n > SC_ADDRESSES_MAX || a->result > FAILED ||
        len != ANSWER_HEAD + a->n * sizeof(sc_address_t)) {
        return 0;
    }
    for (i = 0; i < a->n; i++) {
        if (a->address[i].len != 4 && a->address[i].len != 16) {
            return 0;
        }
    }
    return 1;
}

static void answer_event(void *baton, apr_int16_t events)
{
    sc_resolver_t *r = baton;
    ssize_t n = recv(r->sock.fd, &r->in, sizeof(r->in), MSG_DONTWAIT);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    if (n <= 0 || r->n == 0 || !is_answer(&r->in, (apr_size_t)n)) {
        end_process(r); /* it has died, or says what nobody asked */
        tell(r, APR_EGENERAL, NULL, 0);
        return;
    }
    tell(r,
         r->in.result == FOUND          ? APR_SUCCESS
         : r->in.result == NO_SUCH_NAME ? APR_NOTFOUND
                                        : APR_EGENERAL,
         r->in.address, r->in.n);
}

static apr_status_t begin_process(sc_resolver_t *r)
{
    pid_t engine = getpid();
    apr_status_t rv;
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return errno;
    }
    pid = fork();
    if (pid < 0) {
        rv = errno;
        close(pair[0]);
        close(pair[1]);
        return rv;
    }
    if (pid == 0) {
        serve(pair[1], engine);
    }
    close(pair[1]);
    r->pid = pid;
    rv = sc_sock_open(&r->sock, pair[0], r->env->loop, r->env->pool);
    if (rv != APR_SUCCESS) {
        close(pair[0]);
    } else {
        rv = sc_sock_watch(&r->sock, APR_POLLIN, answer_event, r);
    }
    if (rv != APR_SUCCESS) {
        end_process(r);
    }
    return rv;
}

static void failed_due(void *baton, apr_time_t now)
{
    (void)now;
    tell(baton, APR_EGENERAL, NULL, 0);
}

/** Hand the first question to the process. */
static apr_status_t ask_first(sc_resolver_t *r)
{
    const char *name = r->waiting[0].name;
    apr_status_t rv = r->pid == 0 ? begin_process(r) : APR_SUCCESS;

    if (rv == APR_SUCCESS &&
        send(r->sock.fd, name, strlen(name), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        rv = errno;
        end_process(r);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_timer_set(sc_loop_timers(r->env->loop), &r->deadline,
                          sc_loop_now(r->env->loop) + ANSWER_TIME, deadline_due, r);
        if (rv != APR_SUCCESS) {
            end_process(r);
        }
    }
    return rv;
}

/** The same for one that has waited: that it cannot be asked is its answer, told by a timer. */
static void ask_next(sc_resolver_t *r)
{
    if (ask_first(r) != APR_SUCCESS) {
        (void)sc_timer_set(sc_loop_timers(r->env->loop), &r->deadline, sc_loop_now(r->env->loop),
                           failed_due, r);
    }
}

apr_status_t sc_resolver_ask(sc_resolver_t *r, const char *name, sc_resolved_fn_t *done,
                             void *baton)
{
    apr_size_t len = strlen(name);
    apr_status_t rv = APR_SUCCESS;
    question_t *q;

    reap(r);
    if (len == 0 || len > SC_DNS_NAME_MAX) {
        return APR_EINVAL;
    }
    if (r->n == WAITING_MAX) {
        return APR_EBUSY;
    }
    q = &r->waiting[r->n++];
    memcpy(q->name, name, len + 1);
    q->done = done;
    q->baton = baton;
    if (r->n == 1) {
        rv = ask_first(r);
        r->n = rv == APR_SUCCESS ? 1 : 0;
    }
    return rv;
}

sc_resolver_t *sc_resolver_create(const sc_net_env_t *env)
{
    sc_resolver_t *r = apr_pcalloc(env->pool, sizeof(*r));

    r->env = env;
    r->sock.fd = -1;
    return r;
}

void sc_resolver_close(sc_resolver_t *r)
{
    sc_timer_cancel(sc_loop_timers(r->env->loop), &r->deadline);
    r->n = 0;
    end_process(r);
    reap(r);
}
