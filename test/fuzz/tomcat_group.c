/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A balancer that follows a cluster of Tomcats, as a whole: heartbeats of anybody, Tomcats that are
 * asked on real sockets and acknowledge, answer, lie, cut off or say nothing, and a clock that the
 * input plays. Members stay within their bounds, the store adds up, nothing is left at the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/tomcat/tomcat.c"
#include "../unit/store_rig.h"
#include "fuzz.h"
#include "tomcat.h"

#define TOMCATS 3
#define CAPTURED_PORT 4120 /* of the first of the three that were there */
#define ANSWER_MAX (64 * 1024)
#define STRANGERS 16

typedef struct played_t {
    int conn; /* -1: none */
    int back; /* to where it answers, -1: none */
    sc_parser_t parser;
} played_t;

typedef struct stage_t {
    apr_time_t now;
    sc_clock_t clock;
    sc_loop_t *loop;
    sc_config_t config;
    sc_store_t *store;
    sc_tomcat_env_t env;
    sc_tomcat_t *tomcat;
    played_t played[TOMCATS];
    sc_uid_t call; /* of the last question */
    apr_int32_t answer_to;
    int changes;
} stage_t;

/* Made once. */
static int listening[TOMCATS];
static apr_uint32_t port_of[TOMCATS];

static apr_time_t stage_clock(void *ctx)
{
    return ((stage_t *)ctx)->now;
}

static void on_changed(void *baton)
{
    ((stage_t *)baton)->changes++;
}

/* ---- sockets ----------------------------------------------------------------------------------
 */

static void listen_once(void)
{
    int i;

    for (i = 0; i < TOMCATS && port_of[i] == 0; i++) {
        struct sockaddr_in a;
        socklen_t len = sizeof(a);

        memset(&a, 0, sizeof(a));
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listening[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        FUZZ_CHECK(bind(listening[i], (struct sockaddr *)&a, len) == 0);
        FUZZ_CHECK(listen(listening[i], 16) == 0);
        FUZZ_CHECK(getsockname(listening[i], (struct sockaddr *)&a, &len) == 0);
        port_of[i] = ntohs(a.sin_port);
    }
}

/** Closed at once, without a state that lingers. */
static void hang_up(int *fd)
{
    struct linger now = {1, 0};

    if (*fd >= 0) {
        (void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close(*fd);
    }
    *fd = -1;
}

static void say(int fd, const void *bytes, size_t n)
{
    if (fd >= 0 && n > 0) {
        (void)send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

/* ---- the played ones --------------------------------------------------------------------------
 */

/** A question, or only whether it is there. */
static void asked(stage_t *s, const unsigned char *data, apr_size_t len)
{
    sc_jstream_t stream;
    sc_packet_t p;
    sc_jcall_t call;

    FUZZ_CHECK(sc_packet_get(&p, data, len) == APR_SUCCESS);
    FUZZ_CHECK(p.options & SC_OPT_USE_ACK);
    if (!(p.options & SC_OPT_BYTE_MESSAGE)) {
        sc_jstream_open(&stream, p.body, p.body_len);
        sc_jstream_call(&stream, &call);
        FUZZ_CHECK(!stream.r.bad && !call.reply);
        sc_jstream_close(&stream);
        s->call = call.call;
        s->answer_to = p.from.port;
    }
}

/** Read what has come. What the room sends is always whole frames, one after the other. */
static void hear(stage_t *s, int which)
{
    played_t *t = &s->played[which];
    const unsigned char *data;
    sc_frame_kind_t kind;
    unsigned char *p;
    apr_size_t room;
    apr_size_t len;
    ssize_t n;

    if (t->conn < 0) {
        t->conn = accept4(listening[which], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        sc_parser_free(&t->parser);
        sc_parser_init(&t->parser, ANSWER_MAX);
    }
    if (t->conn < 0) {
        return;
    }
    p = sc_parser_room(&t->parser, &room);
    n = recv(t->conn, p, room, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) {
        hang_up(&t->conn);
    }
    if (n <= 0) {
        return;
    }
    t->parser.in.len += (apr_size_t)n;
    while (sc_parser_next(&t->parser, &kind, &data, &len) == APR_SUCCESS) {
        FUZZ_CHECK(kind == SC_FRAME_DATA);
        asked(s, data, len);
        sc_parser_done(&t->parser);
    }
}

static void acknowledge(stage_t *s, fuzz_in_t *in, int which)
{
    unsigned int how = fuzz_u8(in);
    sc_buf_t b;

    sc_buf_init(&b, 1024);
    sc_put(&b, sc_frame_ack((int)(how & 1)), SC_ACK_FRAME);
    fuzz_damage(in, &b);
    say(s->played[which].conn, b.data, b.len);
    sc_buf_free(&b);
}

/** The captured answer with the ports, and the call, of now. */
static void captured(const stage_t *s, sc_buf_t *b, int right_call)
{
    apr_size_t len;
    const unsigned char *frame = fuzz_tomcat_answer(&len);
    apr_size_t i;

    sc_put(b, frame, len);
    for (i = 0; i + 26 < b->len; i++) {
        if (memcmp(b->data + i, "TRIBES-B", 8) == 0) {
            unsigned int port = ((unsigned int)b->data[i + 24] << 8 | b->data[i + 25]);

            if (port >= CAPTURED_PORT && port < CAPTURED_PORT + TOMCATS) {
                b->data[i + 24] = (unsigned char)(port_of[port - CAPTURED_PORT] >> 8);
                b->data[i + 25] = (unsigned char)port_of[port - CAPTURED_PORT];
            }
        }
        if (right_call && memcmp(b->data + i, &fuzz_tomcat_call, sizeof(fuzz_tomcat_call)) == 0) {
            memcpy(b->data + i, &s->call, sizeof(s->call));
        }
    }
}

static void answer(stage_t *s, fuzz_in_t *in, int which)
{
    played_t *t = &s->played[which];
    unsigned int how = fuzz_u8(in);
    struct sockaddr_in a;
    sc_buf_t b;

    if (t->back < 0) {
        if (s->answer_to == 0) {
            return;
        }
        memset(&a, 0, sizeof(a));
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        a.sin_port = htons((apr_uint16_t)s->answer_to);
        t->back = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(t->back, (struct sockaddr *)&a, sizeof(a)) != 0 && errno != EINPROGRESS) {
            hang_up(&t->back);
            return;
        }
    }
    sc_buf_init(&b, ANSWER_MAX);
    if ((how & 7) == 7) {
        size_t n;
        const unsigned char *p = fuzz_text(in, 1024, &n);

        sc_put(&b, p, n);
    } else {
        captured(s, &b, (how & 7) != 6);
        fuzz_damage(in, &b);
        if (how & 0x40) { /* and it goes on with another connection, or never */
            b.len = b.len * fuzz_u8(in) / 256;
        }
    }
    say(t->back, b.data, b.len);
    sc_buf_free(&b);
    if (how & 0x80) {
        hang_up(&t->back);
    }
}

/* ---- heartbeats -------------------------------------------------------------------------------
 */

static void op_datagram(stage_t *s, fuzz_in_t *in)
{
    unsigned int how = fuzz_u8(in);
    unsigned char *copy;
    sc_member_t m;
    sc_buf_t b;

    sc_buf_init(&b, 4096);
    fuzz_member(in, &m);
    m.ours = 0;
    if (how & 1) { /* one of those that are there */
        FUZZ_CHECK(sc_member_set_host(&m, "127.0.0.1") == APR_SUCCESS);
        m.port = (apr_int32_t)port_of[how / 2 % TOMCATS];
    } else if (how & 2) { /* where nobody listens; many of them */
        FUZZ_CHECK(sc_member_set_host(&m, "127.0.0.1") == APR_SUCCESS);
        m.port = (apr_int32_t)(1 + how / 4 % 32);
    }
    sc_member_put(&b, &m);
    fuzz_damage(in, &b);
    copy = fuzz_copy(b.data, b.len);
    sc_tc_members_datagram(&s->tomcat->members, copy, b.len);
    free(copy);
    sc_buf_free(&b);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static sc_store_t *empty_store(void)
{
    static sc_store_t *store;
    static unsigned char *fresh;
    static apr_pool_t *pool;

    if (store == NULL) {
        apr_pool_create(&pool, NULL);
        FUZZ_CHECK(sc_store_create(&store, SC_STORE_MIN, pool) == APR_SUCCESS);
        fresh = fuzz_copy(sc_store_base(store), sc_store_bytes(store));
    }
    memcpy(sc_store_base(store), fresh, sc_store_bytes(store));
    return store;
}

static void configure(sc_config_tomcat_t *t, unsigned int how)
{
    int i;

    t->on = 1;
    t->drop_ms = 3000;
    t->frequency_ms = 500;
    t->interval_ms = how & 1 ? 1000 : 10000;
    t->timeout_ms = 2000;
    t->max_answer = how & 2 ? 2000 : ANSWER_MAX;
    t->nmaps = how & 4 ? 2 : 1;
    strcpy(t->map[0], FUZZ_TOMCAT_MAP);
    strcpy(t->map[1], "localhost#/other-map");
    t->nmembers = how & 8 ? 0 : TOMCATS - 1;
    for (i = 0; i < TOMCATS - 1; i++) {
        strcpy(t->member[i].host, "127.0.0.1");
        t->member[i].port = port_of[i];
        snprintf(t->member[i].route, sizeof(t->member[i].route), "r%d", i + 1);
    }
    t->nworkers = how & 16 ? 1 : 0;
    strcpy(t->worker[0].host, "127.0.0.1");
    strcpy(t->worker[0].route, "r3");
}

static void start(stage_t *s, unsigned int how, apr_pool_t *pool)
{
    int i;

    listen_once();
    for (i = 0; i < TOMCATS; i++) {
        int fd;

        while ((fd = accept4(listening[i], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
            close(fd); /* left by the input before */
        }
        s->played[i].conn = s->played[i].back = -1;
        sc_parser_init(&s->played[i].parser, ANSWER_MAX);
    }
    s->now = apr_time_from_sec(1000);
    s->clock.ctx = s;
    s->clock.mono = s->clock.wall = stage_clock;
    sc_config_defaults(&s->config);
    configure(&s->config.tomcat, how);
    s->store = empty_store();
    FUZZ_CHECK(sc_loop_create(&s->loop, 600, &s->clock, pool) == APR_SUCCESS);
    s->env.config = &s->config;
    s->env.loop = s->loop;
    s->env.clock = &s->clock;
    s->env.log = &fuzz_log;
    s->env.store = s->store;
    s->env.changed = on_changed;
    s->env.baton = s;
    FUZZ_CHECK(sc_tomcat_create(&s->tomcat, &s->env, pool) == APR_SUCCESS);
    sc_tomcat_start(s->tomcat);
}

static void rounds(stage_t *s, unsigned int n)
{
    while (n-- > 0) {
        FUZZ_CHECK(sc_loop_once(s->loop, 0) == APR_SUCCESS);
    }
}

/** All is as it should be, for a while. */
static void honest(stage_t *s, unsigned int steps)
{
    static const unsigned char nothing[2] = {0, 0xff};
    int i;

    for (; steps > 0; steps--) {
        s->now += apr_time_from_msec(100);
        rounds(s, 3);
        for (i = 0; i < TOMCATS; i++) {
            sc_uid_t before = s->call;
            fuzz_in_t well = {nothing, sizeof(nothing)};

            hear(s, i);
            acknowledge(s, &well, i);
            if (memcmp(&before, &s->call, sizeof(before)) != 0) {
                well.p = nothing;
                well.left = sizeof(nothing);
                rounds(s, 1);
                answer(s, &well, i);
            }
        }
        rounds(s, 3);
    }
}

static void check(const stage_t *s)
{
    static sc_view_t view;
    apr_uint32_t strangers = 0;
    int i;

    memset(&view, 0, sizeof(view));
    sc_tomcat_view(s->tomcat, &view);
    FUZZ_CHECK(view.count <= SC_MEMBERS_MAX);
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_tc_member_t *m = &s->tomcat->members.at[i];

        strangers += m->standing != SC_TC_FREE && !m->listed && !m->route[0];
        FUZZ_CHECK(m->standing == SC_TC_FREE || sc_member_usable(&m->key));
    }
    FUZZ_CHECK(strangers <= STRANGERS + 1); /* one may lose its route to another that comes */
    (void)sc_tomcat_settled(s->tomcat);
}

static void finish(stage_t *s, int audit)
{
    int i;

    sc_tomcat_close(s->tomcat);
    FUZZ_CHECK(sc_timers_next(sc_loop_timers(s->loop)) < 0);
    for (i = 0; i < TOMCATS; i++) {
        hang_up(&s->played[i].conn);
        hang_up(&s->played[i].back);
        sc_parser_free(&s->played[i].parser);
    }
    if (audit) { /* slower than all the rest */
        FUZZ_CHECK(rig_audit(s->store, SC_ROUTE_NONE).failures == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const apr_interval_time_t ms[] = {1, 50, 125, 500, 1000, 2100, 10000, 61000};
    static stage_t s;
    fuzz_in_t in = {data, size};
    apr_pool_t *pool;
    unsigned int how;

    memset(&s, 0, sizeof(s));
    apr_pool_create(&pool, fuzz_start());
    how = fuzz_u8(&in);
    start(&s, how, pool);
    honest(&s, fuzz_below(&in, 32));
    while (in.left > 0) {
        unsigned int what = fuzz_u8(&in);
        int which = (int)(what >> 4) % TOMCATS;

        switch (what & 15) {
        case 0:
        case 1:
        case 2:
            op_datagram(&s, &in);
            break;
        case 3:
        case 4:
            hear(&s, which);
            break;
        case 5:
        case 6:
            acknowledge(&s, &in, which);
            break;
        case 7:
        case 8:
        case 9:
            answer(&s, &in, which);
            break;
        case 10:
            hang_up(what & 0x80 ? &s.played[which].conn : &s.played[which].back);
            break;
        case 11:
            honest(&s, 1 + (what >> 4));
            break;
        case 12:
        case 13:
            s.now += apr_time_from_msec(ms[(what >> 4) % 8]);
            rounds(&s, 2);
            break;
        default:
            rounds(&s, 1 + (what >> 4) % 4);
            break;
        }
        check(&s);
    }
    finish(&s, (how & 0xe0) == 0xe0);
    apr_pool_destroy(pool);
    return 0;
}
