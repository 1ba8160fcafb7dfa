/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * See tomcat_rig.h. The played ones acknowledge, and answer with a captured answer in which the
 * call, the ports and whatever a test wants were changed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"
#include "tomcat_rig.h"

apr_time_t tc_mono(void *ctx)
{
    return sc_mono(&sc_clock_system) + ((tc_room_t *)ctx)->skew;
}

static apr_time_t wall(void *ctx)
{
    (void)ctx;
    return sc_wall(&sc_clock_system);
}

static void write_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    tc_room_t *room = ctx;
    apr_size_t used = strlen(room->said);

    (void)level;
    (void)rv;
    snprintf(room->said + used, sizeof(room->said) - used, "%s\n", line);
}

void tc_changed(void *baton)
{
    ((tc_room_t *)baton)->changes++;
}

/* ---- Tomcats that are played ----------------------------------------------------------------- */

int tc_listening(apr_uint32_t *port)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

    memset(&a, 0, sizeof(a));
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((apr_uint16_t)*port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&a, len), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 16), 0);
    CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

int tc_connected(apr_uint32_t port)
{
    struct sockaddr_in a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&a, 0, sizeof(a));
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((apr_uint16_t)port);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

/* In each member data of a frame the captured ports become those of this test. */
static void change_ports(const tc_room_t *room, unsigned char *bytes, apr_size_t len)
{
    for (apr_size_t i = 0; i + 26 < len; i++) {
        if (memcmp(bytes + i, "TRIBES-B", 8) == 0) {
            unsigned int port = (unsigned int)bytes[i + 24] << 8 | bytes[i + 25];

            if (port >= 4120 && port < 4120 + TOMCATS) {
                bytes[i + 24] = (unsigned char)(room->fake[port - 4120].port >> 8);
                bytes[i + 25] = (unsigned char)room->fake[port - 4120].port;
            }
        }
    }
}

static void change_call(unsigned char *bytes, apr_size_t len, const unsigned char *call)
{
    static const unsigned char captured[] = {0x44, 0x6c, 0x2c, 0xaa, 0xf2, 0x12, 0x40, 0x2b};

    for (apr_size_t i = 0; i + 16 <= len; i++) {
        if (memcmp(bytes + i, captured, sizeof(captured)) == 0) {
            memcpy(bytes + i, call, 16);
        }
    }
}

/* The answer to a question, as the one asked gives it. */
static void answer(tc_room_t *room, tc_fake_t *f, const sc_packet_t *asked)
{
    sc_jstream_t s;
    sc_jcall_t call;
    apr_size_t len = 0;
    unsigned char *frame = rig_vector("map-rpc-state-reply-many.bin", &len);
    sc_buf_t b;

    sc_jstream_open(&s, asked->body, asked->body_len);
    sc_jstream_call(&s, &call);
    CU_ASSERT_FALSE(s.r.bad);
    sc_jstream_close(&s);
    change_ports(room, frame, len);
    change_call(frame, len, call.call.b);
    sc_buf_init(&b, 1 << 20);
    sc_put(&b, frame, len);
    free(frame);
    if (room->damage != NULL) {
        room->damage(room, &b);
    }
    if (f->back < 0) {
        f->back = tc_connected((apr_uint32_t)asked->from.port);
    }
    len = room->cut > 0 ? room->cut : b.len;
    CU_ASSERT_EQUAL(send(f->back, b.data, len, MSG_NOSIGNAL), (ssize_t)len);
    if (room->cut > 0) {
        close(f->back);
        f->back = -1;
    }
    sc_buf_free(&b);
}

static void heard(tc_room_t *room, tc_fake_t *f)
{
    sc_packet_t p;

    while (f->got > 11) {
        apr_size_t total = ((apr_size_t)f->in[9] << 8 | f->in[10]) + SC_FRAME_OVERHEAD;

        if (f->got < total) {
            return;
        }
        CU_ASSERT_EQUAL_FATAL(sc_packet_get(&p, f->in + 11, total - SC_FRAME_OVERHEAD),
                              APR_SUCCESS);
        CU_ASSERT(p.options & SC_OPT_USE_ACK);
        CU_ASSERT_EQUAL(send(f->conn, sc_frame_ack(0), SC_ACK_FRAME, MSG_NOSIGNAL), SC_ACK_FRAME);
        if (p.options & SC_OPT_BYTE_MESSAGE) {
            CU_ASSERT_EQUAL(p.body_len, 64);
            f->probes++;
        } else {
            f->questions++;
            f->answer_to = (apr_uint32_t)p.from.port;
            if (!f->mute) {
                answer(room, f, &p);
            }
        }
        f->got -= total;
        memmove(f->in, f->in + total, f->got);
    }
}

static void serve(tc_room_t *room, tc_fake_t *f)
{
    ssize_t n;

    if (f->listen_fd < 0 || f->hangs) {
        return;
    }
    if (f->conn < 0) {
        f->conn = accept(f->listen_fd, NULL, NULL);
        if (f->conn < 0) {
            return;
        }
        fcntl(f->conn, F_SETFL, O_NONBLOCK);
        f->got = 0;
    }
    n = recv(f->conn, f->in + f->got, sizeof(f->in) - f->got, 0);
    if (n > 0) {
        f->got += (apr_size_t)n;
        heard(room, f);
    } else if (n == 0 || errno != EAGAIN) {
        close(f->conn);
        f->conn = -1;
    }
}

void tc_dies(tc_fake_t *f)
{
    int *fds[] = {&f->listen_fd, &f->conn, &f->back};

    for (int i = 0; i < 3; i++) {
        if (*fds[i] >= 0) {
            close(*fds[i]);
        }
        *fds[i] = -1;
    }
}

/* ---- the room -------------------------------------------------------------------------------- */

void tc_turn(tc_room_t *room)
{
    (void)sc_loop_once(room->loop, apr_time_from_msec(2));
    for (int i = 0; i < TOMCATS; i++) {
        serve(room, &room->fake[i]);
    }
}

void tc_turns(tc_room_t *room, int ms)
{
    apr_time_t end = apr_time_now() + apr_time_from_msec(ms);

    while (apr_time_now() < end) {
        tc_turn(room);
    }
}

tc_room_t *tc_room_open(const char *map)
{
    tc_room_t *room = calloc(1, sizeof(*room));
    sc_config_tomcat_t *t = &room->config.tomcat;

    apr_pool_create(&room->pool, NULL);
    room->clock.ctx = room;
    room->clock.mono = tc_mono;
    room->clock.wall = wall;
    room->log.ctx = room;
    room->log.level = SC_LOG_DEBUG;
    room->log.write = write_log;
    sc_config_defaults(&room->config);
    t->on = 1;
    t->drop_ms = DROP_MS;
    t->frequency_ms = 100;
    t->interval_ms = 50;
    t->timeout_ms = 300;
    t->nmaps = map[0] != '\0';
    strcpy(t->map[0], map);
    for (int i = 0; i < TOMCATS; i++) {
        tc_fake_t *f = &room->fake[i];

        f->conn = f->back = -1;
        f->listen_fd = tc_listening(&f->port);
        strcpy(t->member[i].host, "127.0.0.1");
        t->member[i].port = f->port;
        snprintf(t->member[i].route, sizeof(t->member[i].route), "r%d", i + 1);
    }
    t->nmembers = TOMCATS;
    CU_ASSERT_EQUAL_FATAL(sc_loop_create(&room->loop, 600, &room->clock, room->pool), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&room->store, 2 << 20, room->pool), APR_SUCCESS);
    room->board = sc_store_board(room->store);
    room->env.config = &room->config;
    room->env.loop = room->loop;
    room->env.clock = &room->clock;
    room->env.log = &room->log;
    room->env.store = room->store;
    room->env.changed = tc_changed;
    room->env.baton = room;
    return room;
}

void tc_room_start(tc_room_t *room)
{
    CU_ASSERT_EQUAL_FATAL(sc_tomcat_create(&room->tomcat, &room->env, room->pool), APR_SUCCESS);
    sc_tomcat_start(room->tomcat);
}

void tc_room_close(tc_room_t *room)
{
    sc_tomcat_close(room->tomcat);
    for (int i = 0; i < TOMCATS; i++) {
        tc_dies(&room->fake[i]);
    }
    apr_pool_destroy(room->pool);
    free(room);
}

apr_uint64_t tc_proxies(const tc_room_t *room)
{
    sc_store_stats_t stats;

    sc_store_stats(room->store, &stats);
    return stats.proxies;
}

static sc_view_t *view_of(tc_room_t *room)
{
    static sc_view_t view;

    memset(&view, 0, sizeof(view));
    sc_tomcat_view(room->tomcat, &view);
    return &view;
}

/* @return its state in the view, -1: it is not there */
int tc_state_of(tc_room_t *room, const char *route)
{
    const sc_view_t *view = view_of(room);

    for (apr_uint32_t i = 0; i < view->count; i++) {
        if (strcmp(view->member[i].route, route) == 0) {
            CU_ASSERT(view->member[i].foreign && view->member[i].role == SC_ROLE_NODE);
            return (int)view->member[i].state;
        }
    }
    return -1;
}
