/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The engine's side of the link, with real sockets: children that connect, send whole packets or
 * anything, read or do not read their answers, and go at any time. What the server answers is
 * always a well-formed message, and its connections and memory stay within their bounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../src/engine/link_wire.h"
#include "fuzz.h"

#define CHILDREN 5
#define CONNS_MAX 3
#define MESSAGE_MAX (100 * 1024)
#define CALLS 16

typedef struct child_t {
    int fd; /* -1: none */
    sc_link_join_t sending;
    apr_size_t sent;
    sc_link_join_t join;
    sc_buf_t answer;
} child_t;

typedef struct scene_t {
    apr_time_t now;
    sc_clock_t clock;
    sc_loop_t *loop;
    sc_link_server_t *server;
    struct sockaddr_un addr;
    socklen_t addr_len;
    child_t child[CHILDREN];
    sc_link_call_t call[CALLS];
    unsigned int ncalls;
    int at_once; /* requests are answered from within the handler */
} scene_t;

static unsigned char zeros[MESSAGE_MAX * 3];

static apr_time_t scene_clock(void *ctx)
{
    return ((scene_t *)ctx)->now;
}

static void on_request(void *baton, const sc_link_call_t *call, sc_link_op_t op, int again,
                       const unsigned char *body, apr_size_t len)
{
    scene_t *s = baton;

    (void)again;
    FUZZ_CHECK(op >= SC_LINK_CHANGE && op <= SC_LINK_LAST && len <= MESSAGE_MAX);
    free(fuzz_copy(body, len));
    if (s->at_once || s->ncalls == CALLS) {
        FUZZ_CHECK(sc_link_answer(s->server, call, zeros, 1 + len % 100) == APR_SUCCESS);
    } else {
        s->call[s->ncalls++] = *call;
    }
}

static void on_refused(void *baton, const char *why)
{
    (void)baton;
    FUZZ_CHECK(why != NULL && *why != '\0');
}

/* ---- children ---------------------------------------------------------------------------------
 */

static void child_close(child_t *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->join.open = c->sending.open = 0;
    c->sent = 0;
    sc_buf_free(&c->answer);
}

static void child_connect(scene_t *s, child_t *c)
{
    if (c->fd >= 0) {
        return;
    }
    c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(c->fd >= 0);
    sc_buf_init(&c->answer, sizeof(zeros));
    if (connect(c->fd, (struct sockaddr *)&s->addr, s->addr_len) != 0) {
        child_close(c);
    }
}

static void build(fuzz_in_t *in, child_t *c, sc_buf_t *b)
{
    unsigned int how = fuzz_u8(in);
    sc_link_head_t head;
    apr_size_t n;

    if (c->sending.open && how < 0xe0) {
        head = c->sending.first; /* the next piece */
        head.offset = (apr_uint32_t)c->sent;
    } else {
        apr_size_t total = fuzz_u16(in);

        sc_wire_head(&head, fuzz_below(in, 6), fuzz_below(in, 9), how == 0xff ? 2 : how & 1,
                     how & 2 ? total * 2 : total % 300);
        c->sent = 0;
    }
    n = head.total - head.offset;
    if (n > SC_LINK_PIECE) {
        n = SC_LINK_PIECE;
    }
    if ((how & 0x0c) == 0x0c && n > 1) {
        n = 1 + fuzz_u16(in) % n;
    }
    c->sending.first = head;
    c->sent += n;
    c->sending.open = c->sent < head.total;
    sc_put(b, &head, sizeof(head));
    sc_put(b, zeros, n);
    fuzz_damage(in, b);
}

static void child_send(fuzz_in_t *in, child_t *c)
{
    sc_buf_t b;

    if (c->fd < 0) {
        return;
    }
    sc_buf_init(&b, SC_LINK_PACKET + 1024);
    if (fuzz_below(in, 8) == 0) {
        size_t n;
        const unsigned char *p = fuzz_text(in, 4096, &n);

        sc_put(&b, p, n);
    } else {
        build(in, c, &b);
    }
    (void)send(c->fd, b.data != NULL ? b.data : zeros, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    sc_buf_free(&b);
}

/** What comes from the server is a message; its end closes the child's side. */
static void child_read(child_t *c)
{
    static unsigned char packet[SC_LINK_PACKET + 1];
    const char *why = NULL;
    sc_link_head_t head;
    int whole = 0;
    ssize_t n;

    if (c->fd < 0) {
        return;
    }
    n = recv(c->fd, packet, sizeof(packet), MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
            child_close(c);
        }
        return;
    }
    FUZZ_CHECK(sc_wire_check(&head, packet, (apr_size_t)n, &why) == APR_SUCCESS);
    FUZZ_CHECK(head.op & SC_LINK_ANSWER);
    FUZZ_CHECK(sc_wire_join(&c->join, &head, packet + SC_LINK_HEAD, (apr_size_t)n - SC_LINK_HEAD,
                            &c->answer, &whole, &why) == APR_SUCCESS);
    if (whole) {
        sc_buf_clear(&c->answer);
    }
}

/* ---- the engine -------------------------------------------------------------------------------
 */

static void answer_one(scene_t *s, fuzz_in_t *in)
{
    unsigned int which = fuzz_u8(in);
    apr_size_t len = fuzz_below(in, 4) == 0 ? (apr_size_t)fuzz_u16(in) * 4 : fuzz_u8(in);
    sc_link_call_t call;

    if (s->ncalls == 0) {
        return;
    }
    which %= s->ncalls;
    call = s->call[which];
    s->call[which] = s->call[--s->ncalls];
    (void)sc_link_answer(s->server, &call, zeros, len);
    if (len % 7 == 0) {
        (void)sc_link_answer(s->server, &call, zeros, 1); /* a second answer does nothing */
    }
}

static void start(scene_t *s, apr_pool_t *pool)
{
    static const sc_link_handler_t handler = {NULL, on_request, on_refused};
    static int listen_fd = -1;
    static struct sockaddr_un addr;
    static socklen_t len;
    sc_link_handler_t h = handler;
    int i;

    if (listen_fd < 0) { /* the kernel chooses a name; no file is made */
        addr.sun_family = AF_UNIX;
        listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        FUZZ_CHECK(listen_fd >= 0);
        FUZZ_CHECK(bind(listen_fd, (struct sockaddr *)&addr, sizeof(addr.sun_family)) == 0);
        FUZZ_CHECK(listen(listen_fd, CHILDREN) == 0);
        len = sizeof(addr);
        FUZZ_CHECK(getsockname(listen_fd, (struct sockaddr *)&addr, &len) == 0);
    }
    for (;;) { /* whoever was left in the queue by the input before */
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0) {
            break;
        }
        close(fd);
    }
    s->addr = addr;
    s->addr_len = len;
    s->now = apr_time_from_sec(1000);
    s->clock.ctx = s;
    s->clock.mono = s->clock.wall = scene_clock;
    for (i = 0; i < CHILDREN; i++) {
        s->child[i].fd = -1;
        sc_buf_init(&s->child[i].answer, 0);
    }
    h.baton = s;
    FUZZ_CHECK(sc_loop_create(&s->loop, 16, &s->clock, pool) == APR_SUCCESS);
    FUZZ_CHECK(sc_link_server_create(&s->server, s->loop, listen_fd, MESSAGE_MAX, CONNS_MAX, &h,
                                     pool) == APR_SUCCESS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static scene_t s;
    apr_pool_t *pool;
    fuzz_in_t in = {data, size};
    int i;

    memset(&s, 0, sizeof(s));
    apr_pool_create(&pool, fuzz_start());
    start(&s, pool);
    s.at_once = (int)fuzz_below(&in, 2);
    while (in.left > 0) {
        unsigned int how = fuzz_u8(&in);
        child_t *c = &s.child[(how >> 4) % CHILDREN];

        switch (how & 15) {
        case 0:
        case 1:
        case 2:
            child_connect(&s, c);
            break;
        case 3:
        case 4:
        case 5:
        case 6:
        case 7:
            child_send(&in, c);
            break;
        case 8:
            child_read(c);
            break;
        case 9:
            child_close(c);
            break;
        case 10:
            answer_one(&s, &in);
            break;
        case 11:
            s.now += apr_time_from_msec((apr_time_t)(how >> 4) * 50);
            break;
        default:
            FUZZ_CHECK(sc_loop_once(s.loop, 0) == APR_SUCCESS);
            break;
        }
        FUZZ_CHECK(sc_link_server_conns(s.server) <= CONNS_MAX);
    }
    for (i = 0; i < CHILDREN; i++) {
        child_close(&s.child[i]);
    }
    (void)sc_loop_once(s.loop, 0);
    apr_pool_destroy(pool); /* closes the server */
    return 0;
}
