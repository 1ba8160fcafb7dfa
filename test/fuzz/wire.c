/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The whole transport with real sockets on loopback: callers that write frames, pieces of frames or
 * anything on several connections, prove themselves or not, read their acknowledgements or do not,
 * and go at any time; a member that is called and answers well, badly or never; datagrams; and time
 * that passes. What is accounted for adds up and is 0 in the end, connections stay within their
 * bound, and every send ends once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

/* With what they keep: nothing of it is told to anybody else. */
#include "../../src/channel/net.c"
#include "../../src/channel/receiver.c"

#define CALLERS 6
#define CALLED 4
#define CONNS_MAX 4
#define FRAME_LIMIT 2048
#define QUEUE_LIMIT 4096

/** One end of a connection that the input plays. */
typedef struct caller_t {
    int fd; /* -1: none */
    int shaking;
    sc_shake_t shake;
    sc_seal_t sending;
    sc_seal_t receiving;
} caller_t;

typedef struct stage_t {
    apr_time_t now;
    sc_clock_t clock;
    sc_loop_t *loop;
    sc_config_t config;
    sc_board_t board;
    sc_net_t *net;
    const sc_transport_t *transport;
    sc_secrets_t secrets;
    caller_t caller[CALLERS];
    caller_t called[CALLED]; /* connections of the transport's sender */
    int under_way;
    apr_status_t packet_rv;
} stage_t;

/* Made once: a port in use stays in use for a while. */
static struct sockaddr_in receiver_at, peer_at, group_at, udp_at;
static int receiver_fd = -1, peer_fd = -1, group_fd = -1, udp_fd = -1;
static sc_keyring_t rings[2];

static const unsigned char zeros[8192];

static apr_time_t stage_clock(void *ctx)
{
    return ((stage_t *)ctx)->now;
}

/* ---- what the transport tells -----------------------------------------------------------------
 */

static apr_status_t on_packet(void *baton, const sc_packet_t *packet)
{
    FUZZ_CHECK(packet->body_len <= 65535);
    free(fuzz_copy(packet->body, packet->body_len));
    return ((stage_t *)baton)->packet_rv;
}

static void on_datagram(void *baton, const void *bytes, apr_size_t len)
{
    (void)baton;
    free(fuzz_copy(bytes, len));
}

static void on_sent(void *baton, apr_status_t rv)
{
    (void)rv;
    FUZZ_CHECK(--((stage_t *)baton)->under_way >= 0);
}

/* ---- sockets ----------------------------------------------------------------------------------
 */

static int open_at(int type, struct sockaddr_in *at)
{
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(*at);

    memset(at, 0, sizeof(*at));
    at->sin_family = AF_INET;
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    FUZZ_CHECK(fd >= 0 && bind(fd, (struct sockaddr *)at, len) == 0);
    FUZZ_CHECK(type != SOCK_STREAM || listen(fd, 16) == 0);
    FUZZ_CHECK(getsockname(fd, (struct sockaddr *)at, &len) == 0);
    return fd;
}

static void make_once(void)
{
    static const char *const secret[] = {"the first of all secrets", "the second of all secrets"};
    int i;

    if (receiver_fd >= 0) {
        return;
    }
    receiver_fd = open_at(SOCK_STREAM, &receiver_at);
    peer_fd = open_at(SOCK_STREAM, &peer_at);
    group_fd = open_at(SOCK_DGRAM, &group_at);
    udp_fd = open_at(SOCK_DGRAM, &udp_at);
    for (i = 0; i < 2; i++) {
        sc_secrets_t s;

        memset(&s, 0, sizeof(s));
        FUZZ_CHECK(sc_secrets_add(&s, secret[i], strlen(secret[i])) == APR_SUCCESS);
        FUZZ_CHECK(sc_keyring_make(&rings[i], &s) == APR_SUCCESS);
    }
}

/** Whoever was left in a queue by the input before. */
static void empty(int fd)
{
    char byte;
    int other;

    while ((other = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close(other);
    }
    while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) {
    }
}

/** Closed at once, without a state that lingers: there are many connections in a second. */
static void hang_up(caller_t *c)
{
    struct linger now = {1, 0};

    if (c->fd >= 0) {
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close(c->fd);
    }
    sc_seal_free(&c->sending);
    sc_seal_free(&c->receiving);
    memset(c, 0, sizeof(*c));
    c->fd = -1;
}

static void say(caller_t *c, const void *bytes, size_t n)
{
    if (c->fd >= 0 && n > 0) {
        (void)send(c->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

/* ---- callers ----------------------------------------------------------------------------------
 */

/** @param how which secret, and as whom */
static void call(caller_t *c, unsigned int how)
{
    sc_uid_t none;
    sc_member_t self;
    unsigned char hello[SC_SHAKE_MAX];
    apr_size_t len;

    if (c->fd < 0) {
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        FUZZ_CHECK(c->fd >= 0);
        if (connect(c->fd, (struct sockaddr *)&receiver_at, sizeof(receiver_at)) != 0 &&
            errno != EINPROGRESS) {
            hang_up(c);
        }
    }
    if (c->fd >= 0 && (how & 1) && !c->shaking) {
        memset(&none, how & 4 ? 0x11 : 0, sizeof(none));
        fuzz_peer(&self, 1 + (how >> 4) % 4);
        FUZZ_CHECK(sc_shake_call(&c->shake, &rings[(how & 2) != 0], &self.uid, &none, hello,
                                 &len) == APR_SUCCESS);
        c->shaking = 1;
        say(c, hello, len);
    }
}

/** Read what has come; a handshake goes on. */
static void hear(caller_t *c)
{
    unsigned char out[SC_SHAKE_MAX];
    unsigned char in[512];
    unsigned char *p = in;
    apr_size_t room = sizeof(in);
    apr_status_t rv;
    apr_size_t len;
    ssize_t n;

    if (c->fd < 0) {
        return;
    }
    if (c->shaking && c->shake.step < SC_SHAKE_DONE) {
        p = sc_shake_room(&c->shake, &room);
    }
    n = recv(c->fd, p, room, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) {
        hang_up(c);
    }
    if (n <= 0 || p == in) {
        return;
    }
    rv = sc_shake_heard(&c->shake, (apr_size_t)n, out, &len);
    say(c, out, len);
    if (rv == APR_SUCCESS) {
        FUZZ_CHECK(sc_shake_seals(&c->shake, &c->sending, &c->receiving) == APR_SUCCESS);
    }
}

static void build_frame(fuzz_in_t *in, sc_buf_t *b)
{
    unsigned int how = fuzz_u8(in);
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    if (how & 0x10) {
        fuzz_member(in, &p.from);
    } else {
        fuzz_peer(&p.from, 1 + how % 4);
    }
    p.options = fuzz_u8(in);
    p.id.b[0] = (unsigned char)how;
    p.body = zeros;
    p.body_len = how & 0x20 ? 16 * (apr_size_t)fuzz_u8(in) : how % 16;
    sc_frame_put(b, &p);
}

/** Frames, acknowledgements, a part of them, or anything; sealed where both have proven themselves.
 */
static void speak(fuzz_in_t *in, caller_t *c)
{
    unsigned int how = fuzz_u8(in);
    const unsigned char *p;
    sc_buf_t b;
    sc_buf_t out;
    size_t n;

    sc_buf_init(&b, 64 * 1024);
    sc_buf_init(&out, 64 * 1024);
    switch (how & 7) {
    case 0:
        p = fuzz_text(in, 4096, &n);
        sc_put(&b, p, n);
        break;
    case 1:
        sc_put(&b, sc_frame_ack((how & 8) != 0), SC_ACK_FRAME);
        break;
    case 2: /* a frame that says it is long, and begins */
        sc_put(&b, "FLT2002", 7);
        sc_put_u32(&b, fuzz_u16(in));
        sc_put(&b, zeros, 8 * (apr_size_t)fuzz_u8(in));
        break;
    default:
        build_frame(in, &b);
        break;
    }
    if (c->sending.cipher != NULL && !(how & 0x80)) {
        if (b.len > SC_FRAME_OVERHEAD && sc_frame_is(b.data, b.len)) {
            FUZZ_CHECK(sc_sealed_put(&out, &c->sending, b.data, b.len) == APR_SUCCESS);
        }
    } else {
        sc_put(&out, b.data, b.len);
    }
    fuzz_damage(in, &out);
    say(c, out.data, out.len);
    sc_buf_free(&out);
    sc_buf_free(&b);
}

/* ---- the member that is called ----------------------------------------------------------------
 */

static void take_call(stage_t *s)
{
    sc_member_t self;
    int i;

    for (i = 0; i < CALLED && s->called[i].fd >= 0; i++) {
    }
    if (i == CALLED) {
        return;
    }
    s->called[i].fd = accept4(peer_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (s->called[i].fd >= 0 && s->secrets.count > 0) {
        fuzz_peer(&self, 1);
        sc_shake_answer(&s->called[i].shake, &rings[0], &self.uid);
        s->called[i].shaking = 1;
    }
}

static void answer(fuzz_in_t *in, caller_t *c)
{
    unsigned char ack[SC_SEALED_ACK];
    unsigned int how = fuzz_u8(in);
    sc_buf_t b;

    sc_buf_init(&b, 1024);
    if (c->sending.cipher != NULL && !(how & 0x80)) {
        FUZZ_CHECK(sc_sealed_ack(&c->sending, (int)(how & 1), ack) == APR_SUCCESS);
        sc_put(&b, ack, sizeof(ack));
    } else {
        sc_put(&b, sc_frame_ack((int)(how & 1)), SC_ACK_FRAME);
    }
    fuzz_damage(in, &b);
    say(c, b.data, b.len);
    sc_buf_free(&b);
}

/* ---- the node ---------------------------------------------------------------------------------
 */

/** The member that can be called, one whose port nobody has, or one that cannot be called. */
static void whom(sc_member_t *m, unsigned int how)
{
    fuzz_peer(m, how % 4 == 3 ? 2 : 1);
    FUZZ_CHECK(sc_member_set_host(m, "127.0.0.1") == APR_SUCCESS);
    m->port = how % 4 == 2 ? 1 : ntohs(peer_at.sin_port);
    m->udp_port = how & 4 ? ntohs(udp_at.sin_port) : how & 8 ? 1 : -1;
    if (how % 4 == 3) {
        m->port = how & 16 ? 0 : m->port;
    }
}

static void op_send(stage_t *s, fuzz_in_t *in)
{
    unsigned int how = fuzz_u8(in);
    sc_packet_t p;
    sc_member_t m;

    whom(&m, how);
    memset(&p, 0, sizeof(p));
    fuzz_peer(&p.from, 0);
    p.options = fuzz_u8(in);
    p.body = zeros;
    p.body_len = 32 * (apr_size_t)fuzz_u8(in);
    s->under_way++;
    if (how & 0x80) {
        s->transport->probe(s->transport->ctx, &m, how & 0x40 ? &p : NULL,
                            apr_time_from_msec(1 + 100 * fuzz_below(in, 32)), on_sent, s);
    } else {
        s->transport->send(s->transport->ctx, &m, (sc_lane_t)(how / 32 % SC_LANES), &p, on_sent, s);
    }
}

static void op_datagram(stage_t *s, fuzz_in_t *in)
{
    unsigned int how = fuzz_u8(in);
    struct sockaddr_in to = udp_at;
    sc_member_t m;
    sc_uid_t uid;
    sc_buf_t b;

    sc_buf_init(&b, 64 * 1024);
    to.sin_port = htons((apr_uint16_t)sc_net_udp_port(s->net));
    if (how & 1) {
        to = group_at;
        fuzz_member(in, &m);
        sc_member_put(&b, &m);
        if (how & 2) {
            memset(&uid, 0x11, sizeof(uid));
            FUZZ_CHECK(sc_datagram_seal(&rings[(how & 4) != 0], &uid, fuzz_below(in, 16), &b) ==
                       APR_SUCCESS);
        }
    } else {
        build_frame(in, &b);
        if (how & 2) {
            build_frame(in, &b);
        }
    }
    fuzz_damage(in, &b);
    (void)sendto(udp_fd, b.data != NULL ? b.data : zeros, b.len, MSG_DONTWAIT,
                 (struct sockaddr *)&to, sizeof(to));
    sc_buf_free(&b);
}

static void rounds(stage_t *s, int n);

/** More strangers than there may be, who say nothing. */
static void flood(stage_t *s)
{
    caller_t crowd[STRANGERS_MAX + 8];
    int i;

    for (i = 0; i < STRANGERS_MAX + 8; i++) {
        memset(&crowd[i], 0, sizeof(crowd[i]));
        crowd[i].fd = -1;
        call(&crowd[i], 0);
        if (i % 8 == 7) { /* as many as wait to be accepted */
            rounds(s, 1);
        }
    }
    for (i = 0; i < STRANGERS_MAX + 8; i++) {
        hang_up(&crowd[i]);
    }
    rounds(s, 1);
}

static void op_rest(stage_t *s, fuzz_in_t *in)
{
    unsigned char byte[64];
    apr_uint64_t bytes;
    apr_uint32_t frames;
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    sc_member_t m;

    whom(&m, fuzz_u8(in));
    switch (fuzz_below(in, 6)) {
    case 5:
        flood(s);
        break;
    case 0:
        s->transport->forget(s->transport->ctx, &m);
        break;
    case 1:
        s->transport->queued(s->transport->ctx, &m, &bytes, &frames);
        FUZZ_CHECK(bytes <= SC_LANES * (2 * QUEUE_LIMIT + sizeof(zeros) + 1024));
        break;
    case 2:
        s->packet_rv = fuzz_below(in, 2) ? APR_EGENERAL : APR_SUCCESS;
        break;
    case 3: /* a datagram of the node is answered */
        if (recvfrom(udp_fd, byte, sizeof(byte), MSG_DONTWAIT, (struct sockaddr *)&from, &len) >
            0) {
            (void)sendto(udp_fd, sc_frame_ack((int)fuzz_below(in, 2)), SC_ACK_FRAME, MSG_DONTWAIT,
                         (struct sockaddr *)&from, len);
        }
        break;
    default:
        (void)s->transport->group_send(s->transport->ctx, zeros, fuzz_u8(in));
        break;
    }
}

static void check(const stage_t *s)
{
    const sc_receiver_t *r = s->net->receiver;
    apr_uint64_t memory = 0;
    apr_uint32_t n[2] = {0, 0};
    const conn_t *c;

    for (c = r->conns; c != NULL; c = c->next) {
        FUZZ_CHECK(c->held == c->parser.in.cap);
        memory += c->held;
        n[0]++;
    }
    for (c = r->strangers; c != NULL; c = c->next) {
        FUZZ_CHECK(c->held == 0 && c->parser.in.cap == 0); /* they have their record only */
        n[1]++;
    }
    FUZZ_CHECK(n[0] == r->nconns && n[0] <= CONNS_MAX);
    FUZZ_CHECK(n[1] == r->nstrangers && n[1] <= STRANGERS_MAX);
    FUZZ_CHECK(memory == r->memory && memory <= r->memory_max + CONNS_MAX * ALWAYS_BYTES);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void configure(sc_config_t *c)
{
    sc_config_defaults(c);
    strcpy(c->receiver.address, "127.0.0.1");
    c->receiver.port = ntohs(receiver_at.sin_port);
    c->receiver.max_connections = CONNS_MAX;
    c->receiver.max_frame = FRAME_LIMIT;
    c->receiver.udp_port = 20000 + (apr_uint32_t)getpid() % 10000;
    c->receiver.udp_tries = 1000;
    c->sender.timeout_ms = 3000;
    c->sender.max_queue = QUEUE_LIMIT;
    strcpy(c->mcast.address, "127.0.0.1");
    c->mcast.port = ntohs(group_at.sin_port);
}

static void start(stage_t *s, unsigned int how, apr_pool_t *pool)
{
    static const char secret[] = "the first of all secrets";
    sc_transport_up_t up = {s, on_packet, on_datagram};
    sc_net_config_t cfg;
    sc_member_t self;
    int i;

    make_once();
    empty(receiver_fd);
    empty(peer_fd);
    empty(group_fd);
    empty(udp_fd);
    for (i = 0; i < CALLERS; i++) {
        s->caller[i].fd = -1;
    }
    for (i = 0; i < CALLED; i++) {
        s->called[i].fd = -1;
    }
    s->now = apr_time_from_sec(1000);
    s->clock.ctx = s;
    s->clock.mono = s->clock.wall = stage_clock;
    configure(&s->config);
    s->config.sender.keep_count = how & 2 ? 2 : -1;
    s->config.sender.keep_ms = how & 4 ? 1000 : -1;
    s->config.receiver.udp_port = how & 8 ? 0 : s->config.receiver.udp_port;
    FUZZ_CHECK(sc_loop_create(&s->loop, STRANGERS_MAX + 64, &s->clock, pool) == APR_SUCCESS);
    memset(&cfg, 0, sizeof(cfg));
    cfg.config = &s->config;
    cfg.listen_fd = receiver_fd;
    cfg.group_fd = group_fd;
    cfg.board = &s->board;
    cfg.log = &fuzz_log;
    if (how & 1) {
        FUZZ_CHECK(sc_secrets_add(&s->secrets, secret, strlen(secret)) == APR_SUCCESS);
        cfg.secrets = &s->secrets;
    }
    fuzz_peer(&self, 0);
    cfg.uid = self.uid;
    FUZZ_CHECK(sc_net_create(&s->net, s->loop, &cfg, &up, pool) == APR_SUCCESS);
    s->transport = sc_net_transport(s->net);
}

static void rounds(stage_t *s, int n)
{
    while (n-- > 0) {
        FUZZ_CHECK(sc_loop_once(s->loop, 0) == APR_SUCCESS);
        check(s);
    }
}

/** All callers go: nothing of them is left. Then the transport ends. */
static void finish(stage_t *s)
{
    int i;

    for (i = 0; i < CALLERS; i++) {
        hang_up(&s->caller[i]);
    }
    rounds(s, 4);
    FUZZ_CHECK(s->net->receiver->nconns == 0 && s->net->receiver->nstrangers == 0);
    FUZZ_CHECK(s->net->receiver->memory == 0);
    sc_net_close(s->net);
    FUZZ_CHECK(s->under_way == 0);
    FUZZ_CHECK(sc_timers_next(sc_loop_timers(s->loop)) < 0);
    for (i = 0; i < CALLED; i++) {
        hang_up(&s->called[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const apr_interval_time_t ms[] = {1, 50, 200, 1000, 3100, 5100, 11000, 31000};
    static stage_t s;
    fuzz_in_t in = {data, size};
    apr_pool_t *pool;

    memset(&s, 0, sizeof(s));
    apr_pool_create(&pool, fuzz_start());
    start(&s, fuzz_u8(&in), pool);
    while (in.left > 0) {
        unsigned int how = fuzz_u8(&in);
        caller_t *caller = &s.caller[(how >> 4) % CALLERS];
        caller_t *called = &s.called[(how >> 4) % CALLED];

        switch (how & 15) {
        case 0:
            call(caller, fuzz_u8(&in));
            break;
        case 1:
            hear(caller);
            break;
        case 2:
        case 3:
        case 4:
            speak(&in, caller);
            break;
        case 5:
            if (caller->fd >= 0 && fuzz_below(&in, 2)) {
                (void)shutdown(caller->fd, SHUT_WR);
            } else {
                hang_up(caller);
            }
            break;
        case 6:
        case 7:
            op_send(&s, &in);
            break;
        case 8:
            take_call(&s);
            break;
        case 9:
            hear(called);
            break;
        case 10:
            answer(&in, called);
            break;
        case 11:
            hang_up(called);
            break;
        case 12:
            op_datagram(&s, &in);
            break;
        case 13:
            op_rest(&s, &in);
            break;
        case 14:
            s.now += apr_time_from_msec(ms[(how >> 4) % 8]);
            rounds(&s, 1);
            break;
        default:
            rounds(&s, 1 + (int)(how >> 4) % 4);
            break;
        }
    }
    finish(&s);
    apr_pool_destroy(pool);
    return 0;
}
