/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The room as a whole, with sockets on loopback and Tomcats that are played, and its parts with a
 * clock of the test's own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"
#include "tomcat_rig.h"

/* The first session of the captured answer. */
static apr_status_t first_session(tc_room_t *room, sc_record_t *rec)
{
    apr_uint32_t cursor = 0;
    sc_packet_t packet;
    unsigned char *body = rig_captured("map-rpc-state-reply-many.bin", &packet);
    apr_uint16_t context = 0;
    apr_status_t rv = APR_NOTFOUND;
    sc_id_t id;

    (void)cursor;
    for (apr_size_t i = 0; i + 39 < packet.body_len && rv != APR_SUCCESS; i++) {
        if (memcmp(body + i, "\xac\xed\0\5\x74\0\x23", 7) == 0 &&
            sc_id_parse(&id, (const char *)body + i + 7, SC_ID_HEX) == APR_SUCCESS) {
            rv = sc_store_context(room->store, "tomcat:" MAP, strlen("tomcat:" MAP), 0, &context);
            CU_ASSERT_EQUAL(rv, APR_SUCCESS);
            rv = sc_store_locate(room->store, context, &id, rec);
            break;
        }
    }
    free(body);
    return rv;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void test_takes_over(void)
{
    tc_room_t *room = tc_room_open(MAP);
    sc_record_t rec;

    tc_room_start(room);
    UNTIL(room, tc_proxies(room) == 9 && room->board->count.tomcat_answers >= 6);
    CU_ASSERT_EQUAL(room->board->count.tomcat_refused, 0);
    CU_ASSERT_EQUAL(room->board->count.tomcat_ignored, 0);
    CU_ASSERT_EQUAL_FATAL(first_session(room, &rec), APR_SUCCESS);
    CU_ASSERT(rec.flags == SC_REC_PROXY && rec.primary != SC_ROUTE_NONE);
    CU_ASSERT(rec.backups[0] != SC_ROUTE_NONE && rec.backups[1] == SC_ROUTE_NONE);
    CU_ASSERT_EQUAL(sc_store_route_name(room->store, rec.primary)[0], 'r');
    /* each in turn, over one connection each */
    for (int i = 0; i < TOMCATS; i++) {
        CU_ASSERT(room->fake[i].questions >= 2);
    }
    tc_room_close(room);
}

/* Locations vanish when nobody confirms them; the room leaves that to whoever owns the store. */
static apr_time_t drop(void *baton, const sc_record_t *rec)
{
    (void)sc_store_remove(baton, rec->context, &rec->id);
    return 0;
}

static void test_vanish(void)
{
    tc_room_t *room = tc_room_open(MAP);
    sc_record_t rec, stored;

    tc_room_start(room);
    UNTIL(room, tc_proxies(room) == 9);
    CU_ASSERT_EQUAL_FATAL(first_session(room, &rec), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_get(room->store, rec.context, &rec.id, &stored, NULL), APR_SUCCESS);
    CU_ASSERT(stored.due >= stored.accessed + 3 * apr_time_from_msec(50));
    CU_ASSERT_EQUAL(sc_store_run_due(room->store, tc_mono(room) + apr_time_from_sec(3600), 100,
                                     drop, room->store),
                    9);
    CU_ASSERT_EQUAL(tc_proxies(room), 0);
    UNTIL(room, tc_proxies(room) == 9); /* they are there, after all */
    tc_room_close(room);
}

static void break_last(tc_room_t *room, sc_buf_t *frame)
{
    (void)room;
    frame->data[frame->len - 12] ^= 0x40; /* the end of the list */
}

static void strangers(tc_room_t *room, sc_buf_t *frame)
{
    (void)room;
    for (apr_size_t i = 200; i + 60 < frame->len; i++) { /* not that of who answers */
        if (memcmp(frame->data + i, "TRIBES-B", 8) == 0) {
            frame->data[i + 38] = 99;
        }
    }
}

static void short_ids(tc_room_t *room, sc_buf_t *frame)
{
    (void)room;
    for (apr_size_t i = 0; i + 45 < frame->len; i++) {
        if (memcmp(frame->data + i, "\xac\xed\0\5\x74\0\x23", 7) == 0) {
            frame->data[i + 10] = '.';
        }
    }
}

static void other_call(tc_room_t *room, sc_buf_t *frame)
{
    (void)room;
    frame->data[0xc8] ^= 1;
}

static void garbage(tc_room_t *room, sc_buf_t *frame)
{
    (void)room;
    memset(frame->data, 'x', frame->len);
}

static void test_bad_answers(void)
{
    static const struct {
        void (*damage)(tc_room_t *room, sc_buf_t *frame);
        apr_size_t cut, max;
        int refused, ignored;
    } bad[] = {
        {break_last, 0, 0, 1, 0}, {strangers, 0, 0, 0, 1}, {short_ids, 0, 0, 0, 1},
        {other_call, 0, 0, 0, 0}, {garbage, 0, 0, 0, 0},   {NULL, 2500, 0, 1, 0},
        {NULL, 300, 0, 0, 0},     {NULL, 0, 2600, 1, 0},
    };

    for (apr_size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tc_room_t *room = tc_room_open(MAP);

        room->damage = bad[i].damage;
        room->cut = bad[i].cut;
        room->config.tomcat.timeout_ms = 100;
        if (bad[i].max > 0) {
            room->config.tomcat.max_answer = (apr_uint32_t)bad[i].max;
        }
        tc_room_start(room);
        UNTIL(room, room->board->count.tomcat_asked >= 3 &&
                        (!bad[i].refused || room->board->count.tomcat_refused > 0) &&
                        (!bad[i].ignored || room->board->count.tomcat_ignored >= 9));
        CU_ASSERT_EQUAL(tc_proxies(room), 0);
        if (!bad[i].refused) {
            CU_ASSERT_EQUAL(room->board->count.tomcat_refused, 0);
        }
        /* and afterwards everything is as it should be */
        room->damage = NULL;
        room->cut = 0;
        if (bad[i].max == 0) {
            UNTIL(room, tc_proxies(room) == 9);
        } else { /* it is left alone for a while */
            apr_uint64_t asked = room->board->count.tomcat_asked;

            tc_turns(room, 300);
            CU_ASSERT(room->board->count.tomcat_asked <= asked + 3);
            room->config.tomcat.max_answer = 1 << 20;
            for (int k = 0; k < TOMCATS; k++) { /* what is open has the old bound */
                if (room->fake[k].back >= 0) {
                    close(room->fake[k].back);
                    room->fake[k].back = -1;
                }
            }
            room->skew += apr_time_from_sec(61);
            UNTIL(room, tc_proxies(room) == 9);
        }
        tc_room_close(room);
    }
}

/* Whoever connects to the place where answers come in, and knows nothing. */
static void test_intruders(void)
{
    tc_room_t *room = tc_room_open(MAP);
    apr_size_t len = 0;
    unsigned char *frame = rig_vector("map-rpc-state-reply-many.bin", &len);
    apr_uint32_t port = 0;
    int fd[600];

    room->fake[0].mute = room->fake[1].mute = room->fake[2].mute = 1;
    tc_room_start(room);
    UNTIL(room, room->fake[0].questions > 0);
    port = room->fake[0].answer_to;
    CU_ASSERT_FATAL(port != 0);
    for (int i = 0; i < 600; i++) {
        fd[i] = tc_connected(port);
        (void)send(fd[i], frame, i % 2 ? len : len - 1000, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (i % 16 == 0) {
            tc_turn(room);
        }
    }
    tc_turns(room, 100);
    CU_ASSERT_EQUAL(room->board->count.tomcat_answers, 0);
    CU_ASSERT_EQUAL(room->board->count.tomcat_refused, 0);
    CU_ASSERT_EQUAL(tc_proxies(room), 0);
    /* the Tomcats get through all the same */
    room->fake[0].mute = room->fake[1].mute = room->fake[2].mute = 0;
    UNTIL(room, tc_proxies(room) == 9);
    for (int i = 0; i < 600; i++) {
        close(fd[i]);
    }
    free(frame);
    tc_room_close(room);
}

static void test_no_map(void)
{
    tc_room_t *room = tc_room_open("");

    tc_room_start(room);
    UNTIL(room,
          tc_state_of(room, "r1") == SC_MEMBER_ALIVE && tc_state_of(room, "r3") == SC_MEMBER_ALIVE);
    tc_turns(room, 200);
    CU_ASSERT_EQUAL(room->fake[0].questions, 0);
    CU_ASSERT_EQUAL(room->board->count.tomcat_asked, 0);
    tc_room_close(room);
}

/* One that hangs while it is asked holds up nobody longer than it counts as alive. */
static void test_hangs_while_asked(void)
{
    tc_room_t *room = tc_room_open(MAP);
    apr_uint64_t answers;

    room->config.tomcat.timeout_ms = 60000;
    tc_room_start(room);
    UNTIL(room, room->board->count.tomcat_answers >= 3);
    room->fake[1].hangs = 1;
    UNTIL(room, tc_state_of(room, "r2") == SC_MEMBER_GONE);
    answers = room->board->count.tomcat_answers;
    UNTIL(room, room->board->count.tomcat_answers >= answers + 4);
    tc_room_close(room);
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Route "r2" is 2, none is 0. */
static int number_of(const tc_room_t *room, apr_uint16_t route)
{
    return route != SC_ROUTE_NONE ? sc_store_route_name(room->store, route)[1] - '0' : 0;
}

/* What the primary says stands against what others say, until a member comes or goes. */
static void test_who_knows_best(void)
{
    tc_room_t *room = tc_room_open(MAP);
    sc_tc_members_t *members = calloc(1, sizeof(*members));
    sc_state_t answer;
    sc_location_t l;
    sc_tc_table_t table;
    sc_record_t rec;
    sc_id_t id;

    memset(&answer, 0, sizeof(answer));
    memset(&table, 0, sizeof(table));
    memset(&l, 0, sizeof(l));
    sc_tc_members_init(members, &room->env, room->pool);
    CU_ASSERT_EQUAL_FATAL(sc_tc_table_init(&table, &room->env), APR_SUCCESS);
    answer.s.nmembers = TOMCATS;
    for (int i = 0; i < TOMCATS; i++) {
        answer.s.member[i].host_len = 4;
        memcpy(answer.s.member[i].host, "\x7f\0\0\1", 4);
        answer.s.member[i].port = (apr_int32_t)room->fake[i].port;
    }
    l.id = (const unsigned char *)"0123456789ABCDEF0123456789ABCDEF";
    l.id_len = 32;
    CU_ASSERT_EQUAL(sc_id_parse(&id, (const char *)l.id, 32), APR_SUCCESS);
    l.nbackups = 1;

#define SAYS(teller, is, backed)                                                                   \
    (l.primary = (is), l.backup[0] = (backed),                                                     \
     sc_tc_table_enter(&table, 0, members, &members->at[teller], &answer, &l),                     \
     sc_store_locate(room->store, table.context[0], &id, &rec),                                    \
     number_of(room, rec.primary) * 10 + number_of(room, rec.backups[0]))

    CU_ASSERT_EQUAL(SAYS(2, 0, 1), 12); /* somebody */
    CU_ASSERT_EQUAL(SAYS(2, 1, 0), 21); /* he has tc_changed his mind */
    CU_ASSERT_EQUAL(SAYS(1, 0, 1), 12); /* the backup */
    CU_ASSERT_EQUAL(SAYS(2, 1, 0), 12); /* somebody again */
    CU_ASSERT_EQUAL(SAYS(0, 0, 2), 13); /* the primary itself */
    CU_ASSERT_EQUAL(SAYS(1, 0, 1), 13); /* the backup that it had */
    table.era++;
    CU_ASSERT_EQUAL(SAYS(1, 2, 1), 32);                   /* a member has come or gone */
    CU_ASSERT_EQUAL(SAYS(2, 2, SC_JNOBODY), 30);          /* no backup */
    CU_ASSERT_EQUAL(SAYS(1, SC_JNOBODY, SC_JNOBODY), 30); /* nobody is no place */
    CU_ASSERT_EQUAL(room->board->count.tomcat_ignored, 1);

    /* a former life of a member is not that member */
    members->at[2].has_uid = 1;
    members->at[2].key.uid.b[0] = 1;
    table.era++;
    CU_ASSERT_EQUAL(SAYS(1, 2, 1), 2);
    sc_tc_members_close(members);
    free(members);
    for (int i = 0; i < TOMCATS; i++) {
        tc_dies(&room->fake[i]);
    }
    apr_pool_destroy(room->pool);
    free(room);
}

/* ---- members --------------------------------------------------------------------------------- */

static void test_list(void)
{
    tc_room_t *room = tc_room_open("");

    tc_dies(&room->fake[2]);
    tc_room_start(room);
    CU_ASSERT_EQUAL(tc_state_of(room, "r1"), -1);
    CU_ASSERT_FALSE(sc_tomcat_settled(room->tomcat));
    UNTIL(room,
          tc_state_of(room, "r1") == SC_MEMBER_ALIVE && tc_state_of(room, "r3") == SC_MEMBER_GONE);
    UNTIL(room, sc_tomcat_settled(room->tomcat));
    UNTIL(room, tc_state_of(room, "r2") == SC_MEMBER_ALIVE && room->fake[0].probes >= 5);

    /* one that comes late, one that dies, one that hangs */
    room->fake[2].listen_fd = tc_listening(&room->fake[2].port);
    tc_dies(&room->fake[1]);
    UNTIL(room,
          tc_state_of(room, "r3") == SC_MEMBER_ALIVE && tc_state_of(room, "r2") == SC_MEMBER_GONE);
    room->fake[0].hangs = 1;
    UNTIL(room, tc_state_of(room, "r1") == SC_MEMBER_GONE);
    room->fake[0].hangs = 0;
    UNTIL(room, tc_state_of(room, "r1") == SC_MEMBER_ALIVE);
    tc_room_close(room);
}

static void say(sc_tc_members_t *t, const char *host, apr_uint32_t port, unsigned int life,
                int leaving)
{
    sc_member_t m;
    sc_buf_t b;

    memset(&m, 0, sizeof(m));
    m.port = (apr_int32_t)port;
    m.secure_port = m.udp_port = -1;
    sc_member_set_host(&m, host);
    m.uid.b[0] = (unsigned char)life;
    if (leaving) {
        m.command_len = sizeof(SC_COMMAND_SHUTDOWN) - 1;
        memcpy(m.command, SC_COMMAND_SHUTDOWN, m.command_len);
    }
    sc_buf_init(&b, 4096);
    sc_member_put(&b, &m);
    sc_tc_members_datagram(t, b.data, b.len);
    sc_buf_free(&b);
}

static sc_tc_members_t *only_members(tc_room_t *room)
{
    sc_tc_members_t *t = calloc(1, sizeof(*t));

    room->config.tomcat.nmembers = 0;
    sc_tc_members_init(t, &room->env, room->pool);
    t->changed = tc_changed;
    t->baton = room;
    t->started = tc_mono(room);
    return t;
}

static void only_close(tc_room_t *room, sc_tc_members_t *t)
{
    sc_tc_members_close(t);
    free(t);
    for (int i = 0; i < TOMCATS; i++) {
        tc_dies(&room->fake[i]);
    }
    apr_pool_destroy(room->pool);
    free(room);
}

static void test_heartbeats(void)
{
    tc_room_t *room = tc_room_open("");
    sc_tc_members_t *t = only_members(room);
    sc_tc_member_t *m = &t->at[0];
    apr_uint32_t port = room->fake[0].port;

    say(t, "127.0.0.1", port, 1, 1); /* a good-bye of nobody */
    CU_ASSERT_EQUAL(m->standing, SC_TC_FREE);
    say(t, "127.0.0.1", port, 1, 0);
    CU_ASSERT_EQUAL(m->standing, SC_TC_ALIVE);
    CU_ASSERT_EQUAL(room->changes, 1);
    say(t, "127.0.0.1", port, 2, 0); /* restarted */
    CU_ASSERT_EQUAL(room->changes, 2);
    say(t, "127.0.0.1", port, 1, 1); /* what its former life has said comes late */
    CU_ASSERT_EQUAL(m->standing, SC_TC_ALIVE);
    say(t, "127.0.0.1", port, 2, 1);
    CU_ASSERT_EQUAL(m->standing, SC_TC_GONE);
    sc_tc_members_tick(t, tc_mono(room) + apr_time_from_sec(10));
    CU_ASSERT_PTR_NULL(m->link.pool); /* who has left and is on no list is not asked */
    say(t, "127.0.0.1", port, 3, 0);
    CU_ASSERT_EQUAL(m->standing, SC_TC_ALIVE);

    /* heard: not asked; silent for half of dropTime: asked; for all of it: gone */
    sc_tc_members_tick(t, tc_mono(room));
    CU_ASSERT_PTR_NULL(m->link.pool);
    sc_tc_members_tick(t, tc_mono(room) + apr_time_from_msec(DROP_MS * 6 / 10));
    CU_ASSERT_PTR_NOT_NULL(m->link.pool);
    CU_ASSERT_EQUAL(m->standing, SC_TC_ALIVE);
    sc_tc_members_tick(t, tc_mono(room) + apr_time_from_msec(DROP_MS + 1));
    CU_ASSERT_EQUAL(m->standing, SC_TC_GONE);
    only_close(room, t);
}

/* Whatever else comes on the group. */
static void test_noise(void)
{
    tc_room_t *room = tc_room_open("");
    sc_tc_members_t *t = only_members(room);
    apr_size_t len = 0;
    unsigned char *bytes = rig_vector("mcast-member-heartbeat.bin", &len);
    unsigned char *broadcast;
    int n = 0;

    sc_tc_members_datagram(t, bytes, len);
    CU_ASSERT_EQUAL(t->at[0].standing, SC_TC_ALIVE);
    CU_ASSERT_EQUAL(t->at[0].key.port, 4100);
    for (apr_size_t i = 0; i < len; i++) {
        sc_tc_members_datagram(t, bytes, i);
    }
    CU_ASSERT_EQUAL(room->board->count.datagrams_refused, len);
    free(bytes);
    broadcast = rig_vector("mcast-broadcast-channeldata.bin", &len);
    sc_tc_members_datagram(t, broadcast, len);
    free(broadcast);
    CU_ASSERT_EQUAL(t->at[1].standing, SC_TC_FREE);
    for (int i = 0; i < 200; i++) { /* more members than anybody has */
        char host[32];

        snprintf(host, sizeof(host), "127.1.0.%d", i + 1);
        say(t, host, 4000, 1, 0);
    }
    for (int i = 0; i < SC_MEMBERS_MAX; i++) {
        n += t->at[i].standing != SC_TC_FREE;
    }
    CU_ASSERT_EQUAL(n, 16);
    CU_ASSERT_PTR_NOT_NULL(strstr(room->said, "SC0804"));
    only_close(room, t);
}

static void test_routes(void)
{
    tc_room_t *room = tc_room_open("");
    sc_config_tomcat_t *c = &room->config.tomcat;
    sc_tc_members_t *t = only_members(room);

    strcpy(c->worker[0].host, "127.0.0.2");
    strcpy(c->worker[0].route, "a");
    strcpy(c->worker[1].host, "127.0.0.3");
    strcpy(c->worker[1].route, "b");
    strcpy(c->worker[2].host, "127.0.0.3");
    strcpy(c->worker[2].route, "c");
    c->nworkers = 3;
    say(t, "127.0.0.2", 4000, 1, 0);
    CU_ASSERT_STRING_EQUAL(t->at[0].route, "a");
    say(t, "127.0.0.3", 4000, 1, 0); /* two workers there */
    CU_ASSERT_STRING_EQUAL(t->at[1].route, "");
    CU_ASSERT_PTR_NOT_NULL(strstr(room->said, "member=127.0.0.3:4000:ROUTE"));
    say(t, "127.0.0.2", 4001, 1, 0); /* two Tomcats there */
    CU_ASSERT_STRING_EQUAL(t->at[0].route, "");
    CU_ASSERT_STRING_EQUAL(t->at[2].route, "");
    strcpy(c->member[0].host, "127.0.0.3");
    c->member[0].port = 4002;
    strcpy(c->member[0].route, "c");
    c->nmembers = 1;
    say(t, "127.0.0.3", 4002, 1, 0); /* as the list says */
    CU_ASSERT_STRING_EQUAL(t->at[3].route, "c");
    only_close(room, t);
}

void tomcat_add_room(void *suite)
{
    CU_add_test(suite, "sessions are taken over", test_takes_over);
    CU_add_test(suite, "what nobody confirms vanishes", test_vanish);
    CU_add_test(suite, "bad answers", test_bad_answers);
    CU_add_test(suite, "intruders", test_intruders);
    CU_add_test(suite, "one that hangs while it is asked", test_hangs_while_asked);
    CU_add_test(suite, "without a map nobody is asked for one", test_no_map);
    CU_add_test(suite, "who knows best", test_who_knows_best);
    CU_add_test(suite, "members of a list", test_list);
    CU_add_test(suite, "heartbeats", test_heartbeats);
    CU_add_test(suite, "noise on the group", test_noise);
    CU_add_test(suite, "routes", test_routes);
}
