/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The link's server, driven packet by packet within one process: what a hostile or broken child
 * may send, what a slow or dead one does to answers, and the bound on connections. Nothing here
 * waits: packets are there when they are sent, so a few rounds of the loop do all there is to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../src/engine/link_wire.h"
#include "link_rig.h"

enum { MAX_MESSAGE = 200000, SEEN = 64 };

typedef struct seen_t {
    sc_link_call_t call;
    sc_link_op_t op;
    int again;
    apr_size_t len;
    int right; /* the body is link_rig_fill(len, len) */
} seen_t;

static apr_pool_t *pool;
static sc_loop_t *loop;
static sc_link_server_t *server;
static int listen_fd;
static char path[64];
static struct sockaddr_un addr;
static seen_t seen[SEEN];
static unsigned int nseen;
static unsigned int nrefused;
static const char *why;
static int at_once; /* answer with one byte, from within the callback */
static int closing; /* close the server from within the callback */
static int fds_before;
static unsigned char packet[SC_LINK_PACKET + 16];

static void on_request(void *baton, const sc_link_call_t *call, sc_link_op_t op, int again,
                       const unsigned char *body, apr_size_t len)
{
    unsigned char *want = malloc(len + 1);

    CU_ASSERT_PTR_EQUAL(baton, &seen);
    CU_ASSERT_FATAL(nseen < SEEN && want != NULL);
    link_rig_fill(want, len, (unsigned int)len);
    seen[nseen].call = *call;
    seen[nseen].op = op;
    seen[nseen].again = again;
    seen[nseen].len = len;
    seen[nseen].right = len == 0 || memcmp(want, body, len) == 0;
    nseen++;
    free(want);
    if (at_once) {
        CU_ASSERT_EQUAL(sc_link_answer(server, call, "!", 1), APR_SUCCESS);
    }
    if (closing) {
        sc_link_server_close(server);
    }
}

static void on_refused(void *baton, const char *reason)
{
    CU_ASSERT_PTR_EQUAL(baton, &seen);
    nrefused++;
    why = reason;
}

static void settle(void)
{
    int i;

    for (i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(sc_loop_once(loop, 0), APR_SUCCESS);
    }
}

static void set_up(apr_uint32_t max_conns)
{
    sc_link_handler_t handler = {&seen, on_request, on_refused};

    fds_before = link_rig_count_fds();
    nseen = nrefused = 0;
    why = NULL;
    at_once = closing = 0;
    snprintf(path, sizeof(path), "/tmp/sc-link-raw-%d", (int)getpid());
    CU_ASSERT_EQUAL_FATAL(apr_pool_create(&pool, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_loop_create(&loop, 32, &sc_clock_system, pool), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_link_listen(path, 64, (apr_uid_t)-1, (apr_gid_t)-1, &listen_fd),
                          APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_wire_addr(&addr, path), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(
        sc_link_server_create(&server, loop, listen_fd, MAX_MESSAGE, max_conns, &handler, pool),
        APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(pool);
    close(listen_fd);
    unlink(path);
    CU_ASSERT_EQUAL(link_rig_count_fds(), fds_before);
}

/* A child's connection; it waits in the queue until the next settle(). */
static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);

    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

/* Whether the server closed this connection: nothing more to read. */
static int is_closed(int fd)
{
    ssize_t n;

    do {
        n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);
    } while (n > 0 || (n < 0 && errno == ECONNRESET));
    return n == 0;
}

static sc_link_head_t head_of(apr_uint32_t serial, apr_uint32_t total, apr_uint32_t offset)
{
    sc_link_head_t head;

    sc_wire_head(&head, serial, SC_LINK_CHANGE, 0, total);
    head.offset = offset;
    return head;
}

/* Send one packet: a head and n bytes of the message that link_rig_fill makes of its total. */
static void send_piece(int fd, const sc_link_head_t *head, apr_size_t n)
{
    unsigned char *bytes = calloc(1, (apr_size_t)MAX_MESSAGE + SC_LINK_PACKET);

    CU_ASSERT_FATAL(bytes != NULL && n <= sizeof(packet) - sizeof(*head));
    if (head->total <= MAX_MESSAGE) {
        link_rig_fill(bytes, head->total, head->total);
    }
    memcpy(packet, head, sizeof(*head));
    memcpy(packet + sizeof(*head), bytes + (head->offset <= MAX_MESSAGE ? head->offset : 0), n);
    CU_ASSERT_EQUAL(send(fd, packet, sizeof(*head) + n, MSG_NOSIGNAL),
                    (ssize_t)(sizeof(*head) + n));
    free(bytes);
}

/* A whole request of one packet. */
static void request(int fd, apr_uint32_t serial, apr_uint32_t n)
{
    sc_link_head_t head = head_of(serial, n, 0);

    send_piece(fd, &head, n);
}

/* ---- requests ----------------------------------------------------------------------------- */

static void test_pieces(void)
{
    apr_uint32_t n = 2 * SC_LINK_PIECE + 5;
    sc_link_head_t head;
    apr_uint32_t i;
    int fd;

    set_up(4);
    fd = dial();
    /* byte by byte, more of them than are read at once */
    for (i = 0; i < 100; i++) {
        head = head_of(1, 100, i);
        head.flags = SC_LINK_AGAIN;
        head.op = SC_LINK_FETCH;
        send_piece(fd, &head, 1);
    }
    settle();
    CU_ASSERT_EQUAL(nseen, 1);
    CU_ASSERT(seen[0].len == 100 && seen[0].right);
    CU_ASSERT(seen[0].again && seen[0].op == SC_LINK_FETCH);
    CU_ASSERT_EQUAL(seen[0].call.serial, 1);
    /* full packets, and nothing happens before the last */
    for (i = 0; i < n; i += SC_LINK_PIECE) {
        head = head_of(2, n, i);
        settle();
        CU_ASSERT_EQUAL(nseen, 1);
        send_piece(fd, &head, n - i < SC_LINK_PIECE ? n - i : SC_LINK_PIECE);
    }
    settle();
    CU_ASSERT_EQUAL(nseen, 2);
    CU_ASSERT(seen[1].len == n && seen[1].right);
    CU_ASSERT(!seen[1].again && seen[1].op == SC_LINK_CHANGE);
    /* the largest there may be, and an empty one */
    for (i = 0; i < MAX_MESSAGE; i += SC_LINK_PIECE) {
        head = head_of(3, MAX_MESSAGE, i);
        send_piece(fd, &head, MAX_MESSAGE - i < SC_LINK_PIECE ? MAX_MESSAGE - i : SC_LINK_PIECE);
        settle();
    }
    request(fd, 4, 0);
    settle();
    CU_ASSERT_EQUAL(nseen, 4);
    CU_ASSERT(seen[2].len == MAX_MESSAGE && seen[2].right);
    CU_ASSERT_EQUAL(seen[3].len, 0);
    CU_ASSERT_EQUAL(nrefused, 0);
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 1);
    close(fd);
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    CU_ASSERT_EQUAL(nrefused, 0);
    tear_down();
}

/* One packet each that must end its connection. */
typedef struct hostile_t {
    const char *why; /* part of the reason */
    sc_link_head_t head;
    apr_size_t n;
} hostile_t;

#define H(magic, abi, op, flags, total, offset)                                                    \
    {                                                                                              \
        magic, abi, 1, op, flags, total, offset                                                    \
    }
#define M SC_LINK_MAGIC
#define A SC_LINK_ABI

static const hostile_t hostile[] = {
    {"not a packet", H(M + 1, A, 1, 0, 0, 0), 0},
    {"not a packet", H(0, 0, 0, 0, 0, 0), 0},
    {"abi", H(M, A + 1, 1, 0, 0, 0), 0},
    {"abi", H(M, 0, 1, 0, 5, 0), 5},
    {"too long", H(M, A, 1, 0, SC_LINK_PACKET, 0), SC_LINK_PIECE + 1},
    {"too large", H(M, A, 1, 0, MAX_MESSAGE + 1, 0), 100},
    {"too large", H(M, A, 1, 0, 0xFFFFFFFFu, 0), 100},
    {"exceeds", H(M, A, 1, 0, 10, 0), 11},
    {"exceeds", H(M, A, 1, 0, 10, 5), 6},
    {"exceeds", H(M, A, 1, 0, 10, 11), 1},
    {"exceeds", H(M, A, 1, 0, 0, 0), 1},
    {"exceeds", H(M, A, 1, 0, 100, 0xFFFFFFFFu), 1}, /* offset + n wraps around */
    {"exceeds", H(M, A, 1, 0, 100, 0xFFFFFFF0u), 100},
    {"empty piece", H(M, A, 1, 0, 10, 0), 0},
    {"empty piece", H(M, A, 1, 0, 10, 10), 0},
    {"beginning", H(M, A, 1, 0, 10, 4), 6},
    {"operation", H(M, A, 0, 0, 10, 0), 10},
    {"operation", H(M, A, SC_LINK_LAST + 1, 0, 10, 0), 10},
    {"operation", H(M, A, SC_LINK_CHANGE | SC_LINK_ANSWER, 0, 10, 0), 10},
    {"operation", H(M, A, 0xFFFF, 0, 10, 0), 10},
    {"flag", H(M, A, 1, 2, 10, 0), 10},
    {"flag", H(M, A, 1, 0xFFFF, 10, 0), 10},
};

static void assert_refused(int fd, const char *reason)
{
    settle();
    CU_ASSERT_EQUAL(nrefused, 1);
    CU_ASSERT(why != NULL && strstr(why, reason) != NULL);
    if (why != NULL && strstr(why, reason) == NULL) {
        fprintf(stderr, "refused for \"%s\", not \"%s\"\n", why, reason);
    }
    CU_ASSERT(is_closed(fd));
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 1); /* the bystander */
    close(fd);
    nrefused = 0;
    why = NULL;
}

static void test_hostile(void)
{
    unsigned int served;
    int bystander;
    apr_size_t i;
    int fd;

    set_up(4);
    bystander = dial();
    for (i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        served = nseen;
        fd = dial();
        send_piece(fd, &hostile[i].head, hostile[i].n);
        assert_refused(fd, hostile[i].why);
        CU_ASSERT_EQUAL(nseen, served);
        request(bystander, (apr_uint32_t)i, 20);
        settle();
        CU_ASSERT_EQUAL(nseen, served + 1);
        CU_ASSERT(seen[served].right);
        CU_ASSERT_EQUAL(sc_link_answer(server, &seen[served].call, "ok", 2), APR_SUCCESS);
    }
    /* shorter than a head, and than what all releases share */
    for (i = 1; i < SC_LINK_HEAD; i++) {
        sc_link_head_t head = head_of(1, 0, 0);

        fd = dial();
        CU_ASSERT_EQUAL(send(fd, &head, i, 0), (ssize_t)i);
        assert_refused(fd, i < 8 ? "not a packet" : "too short");
    }
    close(bystander);
    tear_down();
}

/* Pieces that are fine by themselves but do not fit what came before. */
static void test_hostile_sequences(void)
{
    sc_link_head_t first = head_of(1, 100, 0);
    sc_link_head_t second;
    int bystander;
    int i;

    set_up(4);
    bystander = dial();
    for (i = 0; i < 8; i++) {
        static const char *const reasons[] = {"gap",     "gap",     "gap",     "another",
                                              "another", "another", "another", "another"};
        int fd = dial();

        second = head_of(1, 100, 50);
        switch (i) {
        case 0: /* a gap */
            second.offset = 51;
            break;
        case 1: /* a repetition */
            second.offset = 0;
            break;
        case 2: /* an overlap */
            second.offset = 49;
            break;
        case 3:
            second.serial = 2;
            break;
        case 4:
            second.total = 101;
            break;
        case 5:
            second.op = SC_LINK_FETCH;
            break;
        case 6:
            second.flags = SC_LINK_AGAIN;
            break;
        default: /* a whole message inside another */
            second = head_of(2, 10, 0);
            break;
        }
        send_piece(fd, &first, 50);
        settle();
        CU_ASSERT_EQUAL(sc_link_server_conns(server), 2);
        send_piece(fd, &second, 10);
        assert_refused(fd, reasons[i]);
    }
    CU_ASSERT_EQUAL(nseen, 0);
    close(bystander);
    tear_down();
}

static void test_too_many_open(void)
{
    sc_link_head_t head = head_of(1, 0, 0);
    int bystander;
    apr_uint32_t i;
    int fd;

    set_up(4);
    bystander = dial();
    fd = dial();
    for (i = 0; i < SC_LINK_OPEN_MAX; i++) {
        request(fd, i, 10);
        settle();
    }
    CU_ASSERT_EQUAL(nseen, SC_LINK_OPEN_MAX);
    CU_ASSERT_EQUAL(nrefused, 0);
    /* room again after an answer, in whatever order */
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[1].call, "x", 1), APR_SUCCESS);
    request(fd, i, 10);
    settle();
    CU_ASSERT_EQUAL(nseen, SC_LINK_OPEN_MAX + 1);
    request(fd, i + 1, 10);
    assert_refused(fd, "too many");
    CU_ASSERT_EQUAL(nseen, SC_LINK_OPEN_MAX + 1);
    /* answers to those that were open go nowhere */
    for (i = 0; i < nseen; i++) {
        CU_ASSERT_EQUAL(sc_link_answer(server, &seen[i].call, "x", 1), APR_SUCCESS);
    }
    /* one number twice */
    fd = dial();
    send_piece(fd, &head, 0);
    send_piece(fd, &head, 0);
    assert_refused(fd, "repeated");
    close(bystander);
    tear_down();
}

static void test_abi(void)
{
    sc_link_head_t head = head_of(77, 500000, 0);
    sc_link_head_t got;
    int fd;

    set_up(4);
    head.abi = SC_LINK_ABI + 1;
    fd = dial();
    send_piece(fd, &head, 1000);
    settle();
    CU_ASSERT_EQUAL(recv(fd, &got, sizeof(got), 0), (ssize_t)sizeof(got));
    CU_ASSERT_EQUAL(got.magic, SC_LINK_MAGIC);
    CU_ASSERT_EQUAL(got.abi, SC_LINK_ABI);
    CU_ASSERT_EQUAL(got.serial, 77);
    CU_ASSERT_EQUAL(got.op, SC_LINK_CHANGE | SC_LINK_ANSWER);
    CU_ASSERT(is_closed(fd));
    CU_ASSERT_EQUAL(nrefused, 1);
    CU_ASSERT_EQUAL(nseen, 0);
    close(fd);
    tear_down();
}

/* ---- answers ------------------------------------------------------------------------------ */

/* Read one whole answer; the loop runs when there is nothing yet. @return its length, or -1 */
static long read_answer(int fd, apr_uint32_t *serial, int *right)
{
    sc_buf_t body;
    sc_link_join_t join = {{0}, 0};
    int whole = 0;
    int idle = 0;
    long len = -1;

    sc_buf_init(&body, 4u << 20);
    *right = 0;
    while (!whole && idle < 3) {
        ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);
        sc_link_head_t head;
        const char *reason;

        if (n <= 0) {
            idle++;
            settle();
            continue;
        }
        idle = 0;
        if (sc_wire_check(&head, packet, (apr_size_t)n, &reason) != APR_SUCCESS ||
            sc_wire_join(&join, &head, packet + SC_LINK_HEAD, (apr_size_t)n - SC_LINK_HEAD, &body,
                         &whole, &reason) != APR_SUCCESS) {
            break;
        }
        *serial = head.serial;
    }
    if (whole) {
        unsigned char *want = malloc(body.len + 1);

        link_rig_fill(want, body.len, (unsigned int)body.len);
        *right = body.len == 0 || memcmp(want, body.data, body.len) == 0;
        len = (long)body.len;
        free(want);
    }
    sc_buf_free(&body);
    return len;
}

/* A reader that is slower than its answers: they wait in order, complete, and bounded. */
static void test_slow_reader(void)
{
    static const apr_size_t sizes[] = {3000000, 0, 70000, 1};
    apr_uint32_t serial = 0;
    unsigned char *bytes = malloc(3000000);
    int right;
    int fd;
    apr_uint32_t i;

    set_up(4);
    CU_ASSERT_FATAL(bytes != NULL);
    fd = dial();
    for (i = 0; i < 4; i++) {
        request(fd, 10 + i, 5);
        settle();
    }
    for (i = 0; i < 4; i++) {
        link_rig_fill(bytes, sizes[i], (unsigned int)sizes[i]);
        CU_ASSERT_EQUAL(sc_link_answer(server, &seen[i].call, bytes, sizes[i]), APR_SUCCESS);
    }
    memset(bytes, 0, 3000000); /* the server has copies */
    for (i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(read_answer(fd, &serial, &right), (long)sizes[i]);
        CU_ASSERT_EQUAL(serial, 10 + i);
        CU_ASSERT(right);
    }
    /* the connection is as good as new */
    at_once = 1;
    request(fd, 20, 5);
    CU_ASSERT_EQUAL(read_answer(fd, &serial, &right), 1);
    CU_ASSERT_EQUAL(serial, 20);
    at_once = 0;

    /* answers that nobody reads count: four of them wait, one more request is too many */
    for (i = 0; i < 4; i++) {
        request(fd, 30 + i, 5);
        settle();
        CU_ASSERT_EQUAL(sc_link_answer(server, &seen[nseen - 1].call, bytes, 3000000), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(nrefused, 0);
    request(fd, 40, 5);
    settle();
    CU_ASSERT_EQUAL(nrefused, 1);
    CU_ASSERT(is_closed(fd));
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    close(fd);
    free(bytes);
    tear_down();
}

/* An answer must not overtake the rest of another, though the socket has room for it now. */
static void test_no_overtaking(void)
{
    unsigned char *bytes = calloc(1, 3000000);
    sc_link_head_t head;
    apr_size_t got = 0;
    int i;
    int fd;

    set_up(4);
    CU_ASSERT_FATAL(bytes != NULL);
    fd = dial();
    request(fd, 1, 5);
    request(fd, 2, 5);
    settle();
    CU_ASSERT_EQUAL(nseen, 2);
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[0].call, bytes, 3000000), APR_SUCCESS);
    while (recv(fd, packet, sizeof(packet), MSG_DONTWAIT) > 0) {
        got += SC_LINK_PIECE;
    }
    CU_ASSERT(got > 0 && got < 3000000);
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[1].call, bytes, 1), APR_SUCCESS);
    for (i = 0; i < 1000 && got < 3000000; i++) {
        ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

        if (n <= 0) {
            settle();
            continue;
        }
        memcpy(&head, packet, sizeof(head));
        CU_ASSERT_EQUAL(head.serial, 1);
        CU_ASSERT_EQUAL(head.offset, got);
        got += (apr_size_t)n - SC_LINK_HEAD;
    }
    settle();
    CU_ASSERT_EQUAL(recv(fd, packet, sizeof(packet), MSG_DONTWAIT), SC_LINK_HEAD + 1);
    close(fd);
    free(bytes);
    tear_down();
}

static void test_answer_twice(void)
{
    apr_uint32_t serial = 0;
    int right;
    int fd;

    set_up(4);
    fd = dial();
    request(fd, 5, 1);
    settle();
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[0].call, "", 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[0].call, "", 0), APR_EINVAL);
    CU_ASSERT_EQUAL(read_answer(fd, &serial, &right), 0);
    CU_ASSERT_EQUAL(read_answer(fd, &serial, &right), -1);
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 1);
    close(fd);
    tear_down();
}

/* The handle of a request whose connection died must not reach the connection's next life, even
 * if that has an open request of the same number. */
static void test_answer_to_the_dead(void)
{
    unsigned char *bytes = calloc(1, 3000000);
    apr_uint32_t serial = 0;
    int right;
    int fd;

    set_up(1);
    fd = dial();
    request(fd, 5, 1);
    request(fd, 6, 1);
    settle();
    CU_ASSERT_EQUAL(nseen, 2);
    close(fd);
    /* the server does not know yet */
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[0].call, bytes, 3000000), APR_SUCCESS);
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    fd = dial();
    request(fd, 6, 1);
    settle();
    CU_ASSERT_EQUAL(nseen, 3);
    CU_ASSERT_PTR_EQUAL(seen[2].call.conn, seen[1].call.conn); /* or this test shows nothing */
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[1].call, "dead", 4), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[0].call, "dead", 4), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_answer(fd, &serial, &right), -1);
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[2].call, "ok", 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_answer(fd, &serial, &right), 2);
    CU_ASSERT_EQUAL(serial, 6);
    /* dies while an answer is on its way */
    request(fd, 7, 1);
    settle();
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[3].call, bytes, 3000000), APR_SUCCESS);
    close(fd);
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    free(bytes);
    tear_down();
}

/* ---- connections -------------------------------------------------------------------------- */

static void test_max_conns(void)
{
    apr_uint32_t serial = 0;
    int right;
    int fd[5];
    int i;

    set_up(2);
    for (i = 0; i < 4; i++) {
        fd[i] = dial();
        request(fd[i], (apr_uint32_t)i, 1);
    }
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 2);
    CU_ASSERT_EQUAL(nseen, 2);
    /* one ends: the next is served */
    close(fd[0]);
    settle();
    CU_ASSERT_EQUAL(nseen, 3);
    CU_ASSERT_EQUAL(seen[2].call.serial, 2);
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 2);
    /* one becomes idle: it makes room, after its answer */
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[1].call, "", 0), APR_SUCCESS);
    settle();
    CU_ASSERT_EQUAL(nseen, 4);
    CU_ASSERT_EQUAL(seen[3].call.serial, 3);
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 2);
    CU_ASSERT_EQUAL(read_answer(fd[1], &serial, &right), 0);
    CU_ASSERT(is_closed(fd[1]));
    /* idle ones are left alone while nobody waits; then the longest unused goes */
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[3].call, "", 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[2].call, "", 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_answer(fd[2], &serial, &right), 0);
    CU_ASSERT_EQUAL(read_answer(fd[3], &serial, &right), 0);
    request(fd[2], 9, 1);
    settle();
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[4].call, "", 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(read_answer(fd[2], &serial, &right), 0);
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 2);
    fd[4] = dial();
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 2);
    CU_ASSERT(is_closed(fd[3]));
    CU_ASSERT(!is_closed(fd[2]));
    CU_ASSERT(!is_closed(fd[4]));
    for (i = 1; i < 5; i++) {
        close(fd[i]);
    }
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    tear_down();
}

/* An idle connection whose next request is in the socket already is not idle. */
static void test_evict_spares_requests(void)
{
    int fd[2];

    set_up(1);
    at_once = 1;
    fd[0] = dial();
    request(fd[0], 1, 1);
    settle();
    CU_ASSERT_EQUAL(nseen, 1);
    fd[1] = dial(); /* this is what the server sees first */
    request(fd[1], 7, 1);
    request(fd[0], 2, 1);
    settle();
    CU_ASSERT_EQUAL(nseen, 3);
    CU_ASSERT_EQUAL(seen[1].call.serial, 2);
    CU_ASSERT_EQUAL(seen[2].call.serial, 7);
    CU_ASSERT(is_closed(fd[0])); /* now it was */
    close(fd[0]);
    close(fd[1]);
    tear_down();
}

/* One that never asks for anything keeps his place for a moment only. */
static void test_silent_conn(void)
{
    apr_time_t until = sc_mono(&sc_clock_system) + RIG_LONG;
    int fd[2];

    set_up(1);
    fd[0] = dial();
    settle();
    fd[1] = dial();
    request(fd[1], 1, 1);
    settle();
    CU_ASSERT(!is_closed(fd[0]));
    CU_ASSERT_EQUAL(nseen, 0);
    while (nseen == 0 && sc_mono(&sc_clock_system) < until) {
        CU_ASSERT_EQUAL(sc_loop_once(loop, apr_time_from_msec(50)), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(nseen, 1);
    CU_ASSERT(is_closed(fd[0]));
    close(fd[0]);
    close(fd[1]);
    tear_down();
}

/* More callers than are accepted in one go. */
static void test_crowd(void)
{
    enum { CROWD = 60 };
    int fd[CROWD];
    int i;

    set_up(20);
    at_once = 1;
    for (i = 0; i < CROWD; i++) {
        fd[i] = dial();
        request(fd[i], 1, 1);
    }
    for (i = 0; i < 20 && nseen < CROWD; i++) {
        settle();
    }
    CU_ASSERT_EQUAL(nseen, CROWD);
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 20);
    for (i = 0; i < CROWD; i++) {
        ssize_t n = recv(fd[i], packet, sizeof(packet), MSG_DONTWAIT);

        CU_ASSERT_EQUAL(n, SC_LINK_HEAD + 1); /* nobody lost his answer */
        close(fd[i]);
    }
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    CU_ASSERT_EQUAL(nrefused, 0);
    tear_down();
}

/* No descriptors: the loop must neither spin nor forget who waits. (Several wait, because under
 * valgrind an accept for which there is no descriptor loses the caller.) */
static void test_accept_fails(void)
{
    apr_time_t until = sc_mono(&sc_clock_system) + RIG_LONG;
    struct rlimit limit;
    struct rlimit none;
    int fast = 0;
    int fd[8];
    int i;

    set_up(16);
    for (i = 0; i < 8; i++) {
        fd[i] = dial();
    }
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (i = 0; i < 8; i++) {
        apr_time_t begun = sc_mono(&sc_clock_system);

        CU_ASSERT_EQUAL(sc_loop_once(loop, apr_time_from_msec(20)), APR_SUCCESS);
        fast += sc_mono(&sc_clock_system) - begun < apr_time_from_msec(10);
    }
    CU_ASSERT(fast <= 4); /* two attempts and a timer; the others waited */
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (sc_link_server_conns(server) == 0 && sc_mono(&sc_clock_system) < until) {
        CU_ASSERT_EQUAL(sc_loop_once(loop, apr_time_from_msec(20)), APR_SUCCESS);
    }
    CU_ASSERT(sc_link_server_conns(server) > 0);
    for (i = 0; i < 8; i++) {
        close(fd[i]);
    }
    tear_down();
}

static void test_close(void)
{
    int fd[3];
    int i;

    set_up(4);
    for (i = 0; i < 3; i++) {
        fd[i] = dial();
    }
    settle();
    closing = 1;
    for (i = 0; i < 3; i++) {
        request(fd[i], 1, 10);
    }
    settle();
    CU_ASSERT_EQUAL(nseen, 1);
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    CU_ASSERT_EQUAL(sc_link_answer(server, &seen[0].call, "x", 1), APR_SUCCESS);
    for (i = 0; i < 3; i++) {
        CU_ASSERT(is_closed(fd[i]));
        close(fd[i]);
    }
    /* who comes now waits for the successor */
    fd[0] = dial();
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    CU_ASSERT(!is_closed(fd[0]));
    close(fd[0]);
    sc_link_server_close(server);
    tear_down();

    /* also when it had stopped accepting before */
    set_up(1);
    for (i = 0; i < 2; i++) {
        fd[i] = dial();
        request(fd[i], 1, 10);
    }
    settle();
    CU_ASSERT_EQUAL(nseen, 1);
    sc_link_server_close(server);
    settle();
    CU_ASSERT_EQUAL(sc_link_server_conns(server), 0);
    CU_ASSERT_EQUAL(nseen, 1);
    close(fd[0]);
    close(fd[1]);
    tear_down();
}

static void test_create(void)
{
    sc_link_handler_t handler = {&seen, on_request, NULL};
    sc_link_server_t *s = NULL;
    int fd;

    set_up(4);
    CU_ASSERT_EQUAL(sc_link_server_create(&s, loop, listen_fd, 1, 0, &handler, pool), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_link_server_create(&s, loop, -1, 1, 1, &handler, pool), EBADF);
    handler.request = NULL;
    CU_ASSERT_EQUAL(sc_link_server_create(&s, loop, listen_fd, 1, 1, &handler, pool), APR_EINVAL);
    CU_ASSERT_PTR_NULL(s);
    /* nobody wants to hear of refusals */
    sc_link_server_close(server);
    handler.request = on_request;
    CU_ASSERT_EQUAL(sc_link_server_create(&s, loop, listen_fd, 1, 1, &handler, pool), APR_SUCCESS);
    fd = dial();
    CU_ASSERT_EQUAL(send(fd, "x", 1, 0), 1);
    settle();
    CU_ASSERT(is_closed(fd));
    close(fd);
    tear_down();
}

void link_rig_add_server_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, test_pieces);
    CU_ADD_TEST(suite, test_hostile);
    CU_ADD_TEST(suite, test_hostile_sequences);
    CU_ADD_TEST(suite, test_too_many_open);
    CU_ADD_TEST(suite, test_abi);
    CU_ADD_TEST(suite, test_slow_reader);
    CU_ADD_TEST(suite, test_no_overtaking);
    CU_ADD_TEST(suite, test_answer_twice);
    CU_ADD_TEST(suite, test_answer_to_the_dead);
    CU_ADD_TEST(suite, test_max_conns);
    CU_ADD_TEST(suite, test_evict_spares_requests);
    CU_ADD_TEST(suite, test_silent_conn);
    CU_ADD_TEST(suite, test_crowd);
    CU_ADD_TEST(suite, test_accept_fails);
    CU_ADD_TEST(suite, test_close);
    CU_ADD_TEST(suite, test_create);
}
