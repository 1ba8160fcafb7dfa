/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Load generator of the benchmark: one thread, epoll, HTTP/1.1 with keep-alive, one open request
 * per connection. Each connection is a browser of its own: it keeps what Set-Cookie gives it and
 * sends it back.
 *
 *   load --port N --path /write [--connections N] [--requests N] [--seconds S] [--rate R]
 *        [--prepare PATH] [--warmup N] [--check read|write] [--fresh-cookies] [--gate]
 *   load --rtt N [--size BYTES]     round trips over a TCP connection on loopback, no HTTP
 *
 * It ends after --requests or --seconds, whichever comes first. Without --rate each connection
 * sends its next request when the last one is answered; with it requests are due at fixed times
 * and latency counts from there, so a server that stalls cannot hide it. Before that each
 * connection asks for PATH once, and --warmup requests are made, both unmeasured. With --gate it
 * then says "ready" and waits for a line on its standard input, so that the caller can read clocks.
 *
 * --check: the counter in the body must be the last one (read) or the next one (write) of this
 * connection's session; anything else counts as wrong: a lost write, or a lost session.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define REQUESTS_MAX 10000000L
#define IN_MAX 16384
#define OUT_MAX 16384
#define JAR_MAX 4
#define NAME_MAX_BYTES 64
#define VALUE_MAX_BYTES 6144
/** More failures than that: something is broken, not slow. */
#define ERRORS_MAX 1000
/** So long without any answer: what is open has failed. */
#define STALL_NS 10000000000ULL
#define SECOND_NS 1000000000ULL

typedef struct cookie_t {
    char name[NAME_MAX_BYTES];
    char value[VALUE_MAX_BYTES];
} cookie_t;

typedef struct conn_t {
    int fd; /* -1: to be connected */
    int busy;
    uint64_t since; /* of the open request: sent, or due */
    long counter;   /* of its session; -1: unknown */
    size_t in_len;
    int njar;
    cookie_t jar[JAR_MAX];
    char in[IN_MAX];
} conn_t;

typedef enum check_t { CHECK_NONE, CHECK_READ, CHECK_WRITE } check_t;

typedef struct load_t {
    struct sockaddr_in to;
    int epoll;
    int nconns;
    conn_t *conns;
    int fresh;
    /* of the running phase */
    const char *path;
    check_t check;
    int record;
    double rate;
    long limit;
    uint64_t begin;
    uint64_t end; /* 0: no bound on time */
    long issued;
    int open;
    uint64_t progress;
    int turn; /* index of the connection whose turn it is when requests come at a rate */
    /* results */
    long count;
    long errors;
    long wrong;
    long reconnects;
    char why[160];  /* of the first failure */
    uint32_t *took; /* ns, of the first limit requests */
} load_t;

/** One answer, as far as it matters here. */
typedef struct answer_t {
    int status;
    int close;
    size_t total; /* bytes of head and body */
    const char *body;
    size_t body_len;
} answer_t;

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- connections ----------------------------------------------------------------------------- */

static int open_conn(load_t *l, conn_t *c)
{
    struct epoll_event ev = {0};
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&l->to, sizeof(l->to)) < 0) {
        if (c->fd >= 0) {
            close(c->fd);
        }
        c->fd = -1;
        return -1;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    ev.events = EPOLLIN;
    ev.data.ptr = c;
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0) {
        die("epoll_ctl");
    }
    c->in_len = 0;
    return 0;
}

static void close_conn(conn_t *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->in_len = 0;
}

/** Remember the first failure: when, of which client, and what. */
static void note(load_t *l, const conn_t *c, const char *what, long value)
{
    if (l->why[0] == '\0') {
        uint64_t now = now_ns();

        snprintf(l->why, sizeof(l->why),
                 "after %.1f s, client %d, %.1f ms after its request: %s %ld",
                 (double)(now - l->begin) / 1e9, (int)(c - l->conns),
                 (double)(now - c->since) / 1e6, what, value);
    }
}

/** The open request has failed; what became of its session is not known. */
static void fail_request(load_t *l, conn_t *c)
{
    if (c->busy) {
        note(l, c, "connection ended; bytes of an answer:", (long)c->in_len);
        c->busy = 0;
        l->open--;
        l->errors++;
    }
    c->counter = -1;
    close_conn(c);
}

static int send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {fd, POLLOUT, 0};

            if (poll(&p, 1, 5000) <= 0) {
                return -1;
            }
        } else if (n < 0 && errno != EINTR) {
            return -1;
        } else if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static void send_request(load_t *l, conn_t *c, uint64_t due)
{
    char out[OUT_MAX];
    size_t len;

    l->issued++;
    l->open++;
    c->busy = 1;
    c->since = due ? due : now_ns();
    if (c->fd < 0) {
        l->reconnects++;
        if (open_conn(l, c) < 0) {
            fail_request(l, c);
            return;
        }
    }
    len = (size_t)snprintf(out, sizeof(out), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", l->path);
    for (int i = 0; i < c->njar && len < sizeof(out); i++) {
        len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s=%s",
                                i ? "; " : "Cookie: ", c->jar[i].name, c->jar[i].value);
    }
    if (len < sizeof(out)) {
        len += (size_t)snprintf(out + len, sizeof(out) - len, "%s\r\n", c->njar ? "\r\n" : "");
    }
    if (len >= sizeof(out) || send_all(c->fd, out, len) < 0) {
        fail_request(l, c);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

/** Put "name=value; attributes" into the jar, or take it out when the value is empty. */
static void take_cookie(conn_t *c, const char *text, size_t len)
{
    const char *end = memchr(text, ';', len);
    const char *equals;
    size_t name_len, value_len;
    int i = 0;

    len = end ? (size_t)(end - text) : len;
    equals = memchr(text, '=', len);
    if (!equals) {
        return;
    }
    name_len = (size_t)(equals - text);
    value_len = len - name_len - 1;
    if (name_len >= NAME_MAX_BYTES || value_len >= VALUE_MAX_BYTES) {
        return;
    }
    while (i < c->njar &&
           (strncmp(c->jar[i].name, text, name_len) != 0 || c->jar[i].name[name_len] != '\0')) {
        i++;
    }
    if (value_len == 0) {
        if (i < c->njar) {
            c->jar[i] = c->jar[--c->njar];
        }
        return;
    }
    if (i == c->njar) {
        if (i == JAR_MAX) {
            return;
        }
        c->njar++;
    }
    memcpy(c->jar[i].name, text, name_len);
    c->jar[i].name[name_len] = '\0';
    memcpy(c->jar[i].value, equals + 1, value_len);
    c->jar[i].value[value_len] = '\0';
}

static int header_is(const char *line, size_t len, const char *name, const char **value,
                     size_t *value_len)
{
    size_t n = strlen(name);

    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) {
        return 0;
    }
    for (n++; n < len && line[n] == ' '; n++) {
    }
    *value = line + n;
    *value_len = len - n;
    return 1;
}

/** @return 1: complete, 0: more must come, -1: not usable */
static int parse_answer(conn_t *c, answer_t *a)
{
    const char *head_end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    const char *line, *next, *value;
    size_t value_len;
    long length = -1;

    if (!head_end) {
        return c->in_len < IN_MAX ? 0 : -1;
    }
    if (c->in_len < 12 || memcmp(c->in, "HTTP/1.1 ", 9) != 0) {
        return -1;
    }
    a->status = atoi(c->in + 9);
    a->close = 0;
    for (line = c->in; line < head_end; line = next + 2) {
        next = memmem(line, (size_t)(head_end + 2 - line), "\r\n", 2);
        if (header_is(line, (size_t)(next - line), "Content-Length", &value, &value_len)) {
            length = atol(value);
        } else if (header_is(line, (size_t)(next - line), "Connection", &value, &value_len)) {
            a->close = value_len == 5 && strncasecmp(value, "close", 5) == 0;
        }
    }
    a->body = head_end + 4;
    a->total = (size_t)(a->body - c->in);
    if (length < 0 || (size_t)length > IN_MAX - a->total) {
        return -1;
    }
    a->body_len = (size_t)length;
    a->total += a->body_len;
    if (c->in_len < a->total) {
        return 0;
    }
    for (line = c->in; line < head_end; line = next + 2) {
        next = memmem(line, (size_t)(head_end + 2 - line), "\r\n", 2);
        if (header_is(line, (size_t)(next - line), "Set-Cookie", &value, &value_len)) {
            take_cookie(c, value, value_len);
        }
    }
    return 1;
}

static void check_counter(load_t *l, conn_t *c, const answer_t *a)
{
    const char *mark = memmem(a->body, a->body_len, "n=", 2);
    long got;

    if (l->check == CHECK_NONE) {
        return;
    }
    got = mark && mark + 12 <= a->body + a->body_len ? atol(mark + 2) : -1;
    if (got < 0 || (c->counter >= 0 && got != c->counter + (l->check == CHECK_WRITE ? 1 : 0))) {
        note(l, c, "lost write or session; its counter:", got);
        l->wrong++;
    }
    c->counter = got;
}

static void finish_request(load_t *l, conn_t *c, const answer_t *a)
{
    uint64_t now = now_ns();

    l->progress = now;
    c->busy = 0;
    l->open--;
    if (a->status != 200) {
        note(l, c, "status", a->status);
        l->errors++;
        c->counter = -1;
    } else {
        check_counter(l, c, a);
        if (l->record) {
            uint64_t took = now - c->since;
            l->took[l->count] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
        }
        l->count++;
    }
    if (l->fresh) {
        c->njar = 0;
        c->counter = 0;
    }
    if (a->close) {
        close_conn(c);
    } else {
        c->in_len -= a->total;
        memmove(c->in, c->in + a->total, c->in_len);
    }
}

static int may_send(const load_t *l)
{
    return l->issued < l->limit && l->errors < ERRORS_MAX && (!l->end || now_ns() < l->end);
}

static void on_readable(load_t *l, conn_t *c)
{
    answer_t a = {0};
    ssize_t n;
    int state;

    if (c->fd < 0) {
        return;
    }
    n = recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || !c->busy) {
        /* an idle connection that the server closes is no failure */
        fail_request(l, c);
        return;
    }
    c->in_len += (size_t)n;
    state = parse_answer(c, &a);
    if (state < 0) {
        fail_request(l, c);
    } else if (state > 0) {
        finish_request(l, c, &a);
        if (l->rate <= 0 && may_send(l)) {
            send_request(l, c, 0);
        }
    }
}

/* ---- a phase --------------------------------------------------------------------------------- */

/** The next connection in turn without an open request. @return NULL: all have one */
static conn_t *next_idle(load_t *l)
{
    for (int i = 0; i < l->nconns; i++) {
        conn_t *c = &l->conns[l->turn];

        l->turn = (l->turn + 1) % l->nconns;
        if (!c->busy) {
            return c;
        }
    }
    return NULL;
}

/** Send what is due, from all clients in turn. @return time of the next due request, 0: none */
static uint64_t send_due(load_t *l)
{
    uint64_t now = now_ns();
    uint64_t due = 0;

    while (may_send(l)) {
        conn_t *c;

        due = l->begin + (uint64_t)((double)l->issued * 1e9 / l->rate);
        if (due > now) {
            return due;
        }
        c = next_idle(l);
        if (!c) {
            return 0; /* the next answer frees one; latency counts from due all the same */
        }
        send_request(l, c, due);
    }
    return 0;
}

/** A request that failed at once leaves its connection without anything to wake it. */
static void restart_idle(load_t *l)
{
    for (int i = 0; i < l->nconns; i++) {
        if (!l->conns[i].busy && may_send(l)) {
            send_request(l, &l->conns[i], 0);
        }
    }
}

static void run_phase(load_t *l, const char *path, check_t check, long limit, double seconds)
{
    struct epoll_event ev[64];
    struct pollfd p = {l->epoll, POLLIN, 0};

    l->path = path;
    l->check = check;
    l->limit = limit;
    l->issued = 0;
    l->begin = l->progress = now_ns();
    l->end = seconds > 0 ? l->begin + (uint64_t)(seconds * 1e9) : 0;
    for (;;) {
        uint64_t next = 0;
        struct timespec wait = {1, 0};
        int n;

        if (l->rate > 0) {
            next = send_due(l);
        } else if (l->open < l->nconns) {
            restart_idle(l);
        }
        if (l->open == 0 && !may_send(l)) {
            break;
        }
        if (next) {
            uint64_t now = now_ns();
            uint64_t left = next > now ? next - now : 0;

            wait.tv_sec = (time_t)(left / SECOND_NS);
            wait.tv_nsec = (long)(left % SECOND_NS);
        }
        (void)ppoll(&p, 1, &wait, NULL);
        n = epoll_wait(l->epoll, ev, 64, 0);
        for (int i = 0; i < n; i++) {
            on_readable(l, ev[i].data.ptr);
        }
        if (l->open > 0 && now_ns() - l->progress > STALL_NS) {
            for (int i = 0; i < l->nconns; i++) {
                fail_request(l, &l->conns[i]);
            }
            break;
        }
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void print_times(uint32_t *took, long n)
{
    qsort(took, (size_t)n, sizeof(*took), compare);
    printf("\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           n ? took[n / 2] / 1e3 : 0, n ? took[n * 9 / 10] / 1e3 : 0,
           n ? took[n * 99 / 100] / 1e3 : 0, n ? took[n - 1] / 1e3 : 0);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static int transfer(int fd, char *bytes, size_t len, int sending)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = sending ? send(fd, bytes + done, len - done, MSG_NOSIGNAL)
                            : recv(fd, bytes + done, len - done, 0);
        if (n <= 0) {
            return -1;
        }
        done += (size_t)n;
    }
    return 0;
}

static int round_trips(long n, size_t size)
{
    struct sockaddr_in sa = {0};
    socklen_t len = sizeof(sa);
    char bytes[4096] = {0};
    uint32_t *took = calloc((size_t)n, sizeof(*took));
    int one = 1, fd, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    sa.sin_family = AF_INET;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!took || listener < 0 || bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&sa, &len) < 0) {
        die("listen");
    }
    pid = fork();
    if (pid < 0) {
        die("fork");
    }
    fd = pid == 0 ? accept(listener, NULL, NULL) : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        die("socket");
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (pid == 0) {
        while (transfer(fd, bytes, size, 0) == 0 && transfer(fd, bytes, size, 1) == 0) {
        }
        _exit(0);
    }
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        kill(pid, SIGKILL);
        die("connect");
    }
    for (long i = 0; i < n; i++) {
        uint64_t begin = now_ns();

        if (transfer(fd, bytes, size, 1) < 0 || transfer(fd, bytes, size, 0) < 0) {
            kill(pid, SIGKILL);
            die("round trip");
        }
        took[i] = (uint32_t)(now_ns() - begin);
    }
    close(fd);
    (void)waitpid(pid, NULL, 0);
    printf("{\"count\": %ld, ", n);
    print_times(took, n);
    free(took);
    return 0;
}

/* ---- options --------------------------------------------------------------------------------- */

typedef struct options_t {
    long port, connections, requests, warmup, rtt, size;
    double seconds, rate;
    const char *path, *prepare;
    check_t check;
    int fresh, gate;
} options_t;

static long bounded(const char *text, long low, long high)
{
    char *end;
    long v = strtol(text, &end, 10);

    if (*end || v < low || v > high) {
        fprintf(stderr, "load: %s is not between %ld and %ld\n", text, low, high);
        exit(2);
    }
    return v;
}

static void parse_options(int argc, char **argv, options_t *o)
{
    static const struct option known[] = {
        {"port", 1, NULL, 'p'},          {"path", 1, NULL, 'u'},
        {"connections", 1, NULL, 'c'},   {"requests", 1, NULL, 'n'},
        {"seconds", 1, NULL, 's'},       {"rate", 1, NULL, 'r'},
        {"prepare", 1, NULL, 'P'},       {"warmup", 1, NULL, 'w'},
        {"check", 1, NULL, 'k'},         {"gate", 0, NULL, 'g'},
        {"fresh-cookies", 0, NULL, 'f'}, {"rtt", 1, NULL, 't'},
        {"size", 1, NULL, 'z'},          {NULL, 0, NULL, 0}};
    int opt;

    while ((opt = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (opt) {
        case 'p':
            o->port = bounded(optarg, 1, 65535);
            break;
        case 'u':
            o->path = optarg;
            break;
        case 'c':
            o->connections = bounded(optarg, 1, CONNECTIONS_MAX);
            break;
        case 'n':
            o->requests = bounded(optarg, 1, REQUESTS_MAX);
            break;
        case 's':
            o->seconds = atof(optarg);
            break;
        case 'r':
            o->rate = atof(optarg);
            break;
        case 'P':
            o->prepare = optarg;
            break;
        case 'w':
            o->warmup = bounded(optarg, 0, REQUESTS_MAX);
            break;
        case 'k':
            o->check = strcmp(optarg, "write") == 0 ? CHECK_WRITE : CHECK_READ;
            break;
        case 'g':
            o->gate = 1;
            break;
        case 'f':
            o->fresh = 1;
            break;
        case 't':
            o->rtt = bounded(optarg, 1, REQUESTS_MAX);
            break;
        case 'z':
            o->size = bounded(optarg, 1, 4096);
            break;
        default:
            exit(2);
        }
    }
}

/** Everything before the measured part. */
static void warm_up(load_t *l, const options_t *o)
{
    for (int i = 0; i < l->nconns; i++) {
        l->conns[i].fd = -1;
        l->conns[i].counter = o->fresh ? 0 : -1;
        if (open_conn(l, &l->conns[i]) < 0) {
            die("connect");
        }
    }
    if (o->prepare) {
        /* one by one: each connection exactly once */
        int all = l->nconns;
        conn_t *first = l->conns;

        for (l->nconns = 1; l->conns < first + all; l->conns++) {
            run_phase(l, o->prepare, o->check == CHECK_NONE ? CHECK_NONE : CHECK_WRITE, 1, 0);
        }
        l->conns = first;
        l->nconns = all;
    }
    if (o->warmup > 0) {
        run_phase(l, o->path, o->check, o->warmup, 0);
    }
    if (o->gate) {
        char line[16];

        printf("ready\n");
        fflush(stdout);
        if (!fgets(line, sizeof(line), stdin)) {
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    options_t o = {.connections = 1, .requests = 1000, .size = 64};
    load_t l = {0};
    long early_errors, early_wrong;
    double took;

    parse_options(argc, argv, &o);
    if (o.rtt) {
        return round_trips(o.rtt, (size_t)o.size);
    }
    if (!o.port || !o.path) {
        fprintf(stderr, "load: --port and --path are needed\n");
        return 2;
    }
    l.to.sin_family = AF_INET;
    l.to.sin_port = htons((uint16_t)o.port);
    l.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    l.nconns = (int)o.connections;
    l.fresh = o.fresh;
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.conns = calloc((size_t)l.nconns, sizeof(*l.conns));
    l.took = calloc((size_t)o.requests, sizeof(*l.took));
    if (l.epoll < 0 || !l.conns || !l.took) {
        die("start");
    }
    warm_up(&l, &o);
    early_errors = l.errors;
    early_wrong = l.wrong;
    l.count = l.errors = l.wrong = l.reconnects = 0;
    l.why[0] = '\0';
    l.record = 1;
    l.rate = o.rate;
    run_phase(&l, o.path, o.check, o.requests, o.seconds);
    /* without failures the last answer ends it, else the time that they took counts too */
    took = (double)((l.errors ? now_ns() : l.progress) - l.begin) / 1e9;
    printf("{\"count\": %ld, \"errors\": %ld, \"wrong\": %ld, \"warmup_errors\": %ld, "
           "\"reconnects\": %ld, \"failure\": \"%s\", \"seconds\": %.4f, \"rps\": %.1f, ",
           l.count, l.errors, l.wrong, early_errors + early_wrong, l.reconnects, l.why, took,
           took > 0 ? (double)l.count / took : 0);
    print_times(l.took, l.count);
    free(l.took);
    free(l.conns);
    return 0;
}
