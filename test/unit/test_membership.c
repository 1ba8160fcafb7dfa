/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the kinds of membership say and when, and what they make of what they hear. Whole clusters
 * are in test_channel.c; here one node talks to a network that the test plays.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"

void sc_suite_membership(void);
void sc_suite_membership_dns(CU_pSuite s);
void sc_suite_membership_names(CU_pSuite s);
void sc_suite_membership_recordings(CU_pSuite s);

/** A member that only the test knows: 10.0.0.<n>, port 4000. */
static void other(sc_member_t *m, int n)
{
    memset(m, 0, sizeof(*m));
    m->port = 4000;
    m->secure_port = -1;
    m->udp_port = -1;
    m->host_len = 4;
    m->host[0] = 10;
    m->host[3] = (unsigned char)n;
    m->uid.b[0] = (unsigned char)n;
    m->uid.b[15] = 0xEE;
    m->alive_ms = 1;
    m->ours = 1;
    m->version = SC_PROTOCOL_VERSION;
    m->node_state = SC_NODE_READY;
    m->store_id = (apr_uint64_t)n * 7;
    snprintf(m->route, sizeof(m->route), "r%d", n);
}

static void say(rig_t *rig, sc_member_t *m)
{
    sc_buf_t b;

    m->alive_ms++;
    sc_buf_init(&b, 1024);
    sc_member_put(&b, m);
    rig_inject(rig, b.data, b.len);
    sc_buf_free(&b);
    rig_run(rig, RIG_MS(2));
}

/** One node without a failure detector, so that members need not answer. */
static rig_t *alone(sc_membership_kind_t membership)
{
    rig_t *rig = rig_create(membership, 4);

    rig->node[0].config.ninterceptors = 1;
    strcpy(rig->node[0].config.interceptor[0].name, "MessageDispatch");
    rig_start(rig, 0, 0);
    return rig;
}

/** The same with multicast, which has listened for long enough, and a member that it may hear. */
static rig_t *listening(sc_member_t *m)
{
    rig_t *rig = alone(SC_MEMBERSHIP_MULTICAST);

    other(m, 50);
    rig_run(rig, RIG_MS(1500));
    return rig;
}

/* ---- multicast ------------------------------------------------------------------------------ */

static void test_phases(void)
{
    rig_t *rig = alone(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    apr_uint64_t alive;
    sc_member_t m;

    other(&m, 50);
    rig_run(rig, RIG_MS(400));
    say(rig, &m);
    rig_run(rig, RIG_MS(590));
    CU_ASSERT_EQUAL(n->datagrams, 0);  /* listens for two frequencies */
    CU_ASSERT_EQUAL(n->seen.added, 0); /* and nobody knows us yet */
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(n->datagrams, 1);
    CU_ASSERT_EQUAL(n->seen.added, 1);
    CU_ASSERT_EQUAL(n->seen.settled, 0);
    rig_run(rig, RIG_MS(990));
    CU_ASSERT_EQUAL(n->datagrams, 2);
    CU_ASSERT_EQUAL(n->seen.settled, 0);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(n->datagrams, 3);
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    alive = sc_channel_local(n->channel)->alive_ms;
    CU_ASSERT(alive >= 2000 && alive < 2010);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(n->datagrams, 13);
    CU_ASSERT(sc_channel_local(n->channel)->alive_ms >= alive + 5000);
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    rig_destroy(rig);
}

/** A member that went silent while we listened is none when we begin. */
static void test_gone_while_listening(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 1);
    sc_member_t m;

    rig->node[0].config.ninterceptors = 1;
    strcpy(rig->node[0].config.interceptor[0].name, "MessageDispatch");
    rig->node[0].config.mcast.frequency_ms = 2000;
    rig_start(rig, 0, 0);
    other(&m, 50);
    say(rig, &m);
    rig_run(rig, RIG_MS(4100));
    CU_ASSERT_EQUAL(rig->node[0].seen.added, 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    rig_destroy(rig);
}

static void test_malformed(void)
{
    rig_t *rig = alone(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    apr_size_t len = 0;
    unsigned char *frame = rig_vector("mcast-broadcast-channeldata.bin", &len);
    sc_member_t m;
    sc_buf_t b;
    int i;

    rig_run(rig, RIG_MS(1500));
    for (i = 0; i < 100; i++) {
        rig_inject(rig, "garbage", 7);
        rig_inject(rig, "", 0);
        rig_run(rig, RIG_MS(10));
    }
    CU_ASSERT_EQUAL(n->board.count.datagrams_refused, 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0434"));
    CU_ASSERT_PTR_NULL(strstr(strstr(n->log, "SC0434") + 1, "SC0434")); /* once in ten seconds */
    /* ours, but with an address that cannot be */
    other(&m, 50);
    memset(m.host, 0, 4);
    sc_buf_init(&b, 1024);
    sc_member_put(&b, &m);
    rig_inject(rig, b.data, b.len);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(n->board.count.datagrams_refused, 201);
    CU_ASSERT_EQUAL(n->seen.added, 0);
    sc_buf_free(&b);
    /* a Tomcat's broadcast message is no garbage, but its sender is a Tomcat */
    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    rig_inject(rig, frame, len);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(n->board.count.datagrams_refused, 202);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0433"));
    CU_ASSERT_EQUAL(n->datagrams, 4); /* none of it has disturbed the heartbeat */
    free(frame);
    rig_destroy(rig);
}

/** A foreign member is recognised by its broadcast, and even when it says more than we can hold. */
static void test_foreign_in_disguise(void)
{
    apr_size_t len = 0;
    unsigned char *frame = rig_vector("mcast-broadcast-channeldata.bin", &len);
    rig_t *rig = alone(SC_MEMBERSHIP_MULTICAST);
    sc_buf_t b;

    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    rig_inject(rig, frame, len);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(rig->node[0].datagrams, 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1);
    free(frame);
    rig_destroy(rig);

    rig = alone(SC_MEMBERSHIP_MULTICAST);
    sc_buf_init(&b, 4096);
    rig_foreign(&b, "10.0.0.77", 4000);
    b.len -= 10;
    memset(sc_buf_reserve(&b, 600), 'x', 600);
    b.len += 600;
    sc_put(&b, "TRIBES-E\1", 10);
    sc_buf_patch_u32(&b, 10, (apr_uint32_t)(b.len - 24));
    sc_buf_patch_u32(&b, 63, 600);
    rig_inject(rig, b.data, b.len);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(rig->node[0].datagrams, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0432: foreign member 10.0.0.77:4000"));
    sc_buf_free(&b);
    rig_destroy(rig);

    /* one that is just leaving is no reason */
    rig = alone(SC_MEMBERSHIP_MULTICAST);
    frame = rig_vector("mcast-member-shutdown.bin", &len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    rig_inject(rig, frame, len);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT(rig->node[0].datagrams > 0);
    free(frame);
    rig_destroy(rig);
}

/** A domain keeps nobody out; it is shown, and so is whether a member holds backups. */
static void test_domain(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 3);
    const sc_board_member_t *self, *peer;
    sc_view_t view;
    int i;

    strcpy(rig->node[0].config.mcast.domain, "blue");
    strcpy(rig->node[1].config.mcast.domain, "red");
    rig->node[1].config.backup.no_hold = 1;
    for (i = 0; i < 3; i++) {
        rig_start(rig, i, 0);
    }
    rig_run(rig, apr_time_from_sec(3));
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(rig_members(rig, i), 2);
    }
    CU_ASSERT_EQUAL(rig_member(rig, 0, 1)->flags, SC_MEMBER_NO_BACKUPS);
    CU_ASSERT_EQUAL(rig_member(rig, 1, 0)->flags, 0);
    sc_channel_view(rig->node[0].channel, &view);
    CU_ASSERT_EQUAL_FATAL(view.count, 3);
    self = &view.member[0];
    CU_ASSERT_STRING_EQUAL(self->domain, "blue");
    CU_ASSERT_EQUAL(self->flags, 0);
    for (i = 1; i < 3; i++) {
        int second = strcmp(view.member[i].route, "n2") == 0;

        peer = &view.member[i];
        CU_ASSERT_STRING_EQUAL(peer->domain, second ? "red" : "");
        CU_ASSERT_EQUAL(peer->flags, second ? SC_MEMBER_NO_BACKUPS : 0u);
    }
    sc_channel_view(rig->node[1].channel, &view);
    CU_ASSERT_EQUAL(view.member[0].flags, SC_MEMBER_NO_BACKUPS);
    rig_destroy(rig);
}

/** What placement of backups depends on is reported when it changes, and only then. */
static void test_changed_place(void)
{
    sc_member_t m;
    rig_t *rig = listening(&m);
    rig_node_t *n = &rig->node[0];

    say(rig, &m);
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.added, 1);
    CU_ASSERT_EQUAL(n->seen.changed, 0);
    m.flags = SC_MEMBER_NO_BACKUPS;
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.changed, 1);
    CU_ASSERT_EQUAL(rig_member(rig, 0, 49)->flags, SC_MEMBER_NO_BACKUPS);
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.changed, 1);
    memcpy(m.domain, "red", 3);
    m.domain_len = 3;
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.changed, 2);
    memcpy(m.domain, "rot", 3); /* as long, but another */
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.changed, 3);
    m.domain_len = 2;
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.changed, 4);
    CU_ASSERT_EQUAL(rig_member(rig, 0, 49)->domain_len, 2);
    say(rig, &m);
    m.flags = 0;
    m.domain_len = 0;
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.changed, 5);
    CU_ASSERT_EQUAL(n->seen.added, 1); /* the same member all the time */
    CU_ASSERT_EQUAL(n->seen.gone, 0);
    rig_destroy(rig);
}

/** Heartbeats that overtake each other. */
static void test_late_datagrams(void)
{
    sc_member_t m;
    rig_t *rig = listening(&m);
    rig_node_t *n = &rig->node[0];
    sc_member_t old;

    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.added, 1);
    old = m;
    m.alive_ms = 1000;
    m.node_state = SC_NODE_LEAVING;
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.changed, 1);
    CU_ASSERT_EQUAL(rig_member(rig, 0, 49)->node_state, SC_NODE_LEAVING);
    say(rig, &old); /* its state before */
    CU_ASSERT_EQUAL(n->seen.changed, 1);
    CU_ASSERT_EQUAL(rig_member(rig, 0, 49)->node_state, SC_NODE_LEAVING);
    /* good-bye, and then one that was sent before it */
    memcpy(m.command, SC_COMMAND_SHUTDOWN, 9);
    m.command_len = 9;
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.goodbye, 1);
    old.alive_ms = 1500;
    say(rig, &old);
    CU_ASSERT_EQUAL(n->seen.added, 1);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    /* but a good-bye that somebody else has said does not silence it for ever */
    rig_run(rig, RIG_MS(6100));
    say(rig, &old);
    CU_ASSERT_EQUAL(n->seen.added, 2);
    rig_destroy(rig);
}

/** Whoever was stopped itself has not heard the others; that is not their fault. */
static void test_stopped_listener(void)
{
    sc_member_t m;
    rig_t *rig = listening(&m);
    rig_node_t *n = &rig->node[0];
    int i;

    say(rig, &m);
    rig_freeze(rig, 0);
    rig_run(rig, apr_time_from_sec(60));
    rig_thaw(rig, 0);
    rig_run(rig, RIG_MS(400));
    CU_ASSERT_EQUAL(n->seen.gone, 0);
    for (i = 0; i < 6; i++) {
        say(rig, &m);
        rig_run(rig, RIG_MS(500));
    }
    CU_ASSERT_EQUAL(n->seen.gone, 0);
    /* but who stays silent then is dropped soon */
    rig_freeze(rig, 0);
    rig_run(rig, apr_time_from_sec(60));
    rig_thaw(rig, 0);
    rig_run(rig, RIG_MS(1600));
    CU_ASSERT_EQUAL(n->seen.gone, 1);
    rig_destroy(rig);
}

/** A node that comes back elsewhere while its old entry has not expired: no reason for an alarm. */
static void test_moved_node(void)
{
    sc_member_t m;
    rig_t *rig = listening(&m);
    rig_node_t *n = &rig->node[0];
    int i;

    say(rig, &m);
    rig_run(rig, RIG_MS(1500));
    other(&m, 51);
    strcpy(m.route, "r50");
    for (i = 0; i < 5; i++) {
        say(rig, &m);
        rig_run(rig, RIG_MS(500));
    }
    CU_ASSERT_EQUAL(n->seen.added, 2);
    CU_ASSERT_EQUAL(n->seen.gone, 1);
    CU_ASSERT_PTR_NULL(strstr(n->log, "SC0424"));
    rig_destroy(rig);
}

/** The same engine cannot be another node than before. */
static void test_other_identity(void)
{
    sc_member_t m;
    rig_t *rig = listening(&m);
    rig_node_t *n = &rig->node[0];

    say(rig, &m);
    strcpy(m.route, "renamed");
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.added, 2);
    CU_ASSERT_EQUAL(n->seen.gone, 1);
    CU_ASSERT_STRING_EQUAL(rig_member(rig, 0, 49)->route, "renamed");
    /* a store that moved to another port: one member, not two */
    m.port = 4001;
    m.uid.b[7]++;
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.added, 3);
    CU_ASSERT_EQUAL(n->seen.gone, 2);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig_member(rig, 0, 49)->port, 4001);
    rig_destroy(rig);
}

/** Somebody else announces our own receiver: no member, and worth a line when it goes on. */
static void test_own_address(void)
{
    rig_t *rig = alone(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    sc_member_t m;

    rig_run(rig, RIG_MS(1500));
    other(&m, 1);
    say(rig, &m);
    CU_ASSERT_PTR_NULL(strstr(n->log, "SC0422"));
    rig_run(rig, RIG_MS(3000));
    say(rig, &m);
    say(rig, &m);
    CU_ASSERT_EQUAL(n->seen.added, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0422"));
    CU_ASSERT_PTR_NULL(strstr(strstr(n->log, "SC0422") + 1, "SC0422"));
    rig_destroy(rig);
}

static void test_too_many(void)
{
    rig_t *rig = alone(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    sc_view_t view;
    sc_member_t m;
    int i;

    rig_run(rig, RIG_MS(1500));
    for (i = 0; i < 100; i++) {
        other(&m, 100 + i);
        say(rig, &m);
    }
    CU_ASSERT_EQUAL(rig_members(rig, 0), SC_MEMBERS_MAX - 1);
    sc_channel_view(n->channel, &view);
    CU_ASSERT_EQUAL(view.count, SC_MEMBERS_MAX);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0421"));
    rig_run(rig, RIG_MS(4000));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(n->seen.gone, SC_MEMBERS_MAX - 1);
    rig_destroy(rig);
}

/* ---- static --------------------------------------------------------------------------------- */

/** A frame from a member that only the test knows, sent at that time by its clock. */
static void frame_sent(rig_t *rig, sc_member_t *m, apr_uint64_t when, const void *body,
                       apr_size_t len)
{
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    p.timestamp_ms = when;
    m->alive_ms++;
    p.from = *m;
    p.body = body;
    p.body_len = len;
    CU_ASSERT_EQUAL(rig->node[0].transport_up.packet(rig->node[0].transport_up.baton, &p),
                    APR_SUCCESS);
}

static void frame_from(rig_t *rig, sc_member_t *m, const void *body, apr_size_t len)
{
    frame_sent(rig, m, 0, body, len);
}

#define START "Local StaticMember Notification Data"
#define STOP "Local StaticMember Shutdown Data"

static void test_static_talk(void)
{
    rig_t *rig = alone(SC_MEMBERSHIP_STATIC); /* 10.0.0.1 to .4, this one is .1 */
    rig_node_t *n = &rig->node[0];
    unsigned char *ping;
    unsigned char *frame;
    apr_size_t len = 0;
    sc_member_t m;

    frame = rig_vector("interceptor-tcpping.bin", &len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    ping = frame + len - 7 - 64; /* tribes-protocol 4.10: the last 64 bytes of the frame's data */

    CU_ASSERT_EQUAL(n->control_frames, 3); /* at once, and not to itself */
    rig_run(rig, RIG_MS(1));
    CU_ASSERT_EQUAL(n->seen.settled, 1); /* all three machines say that nobody is there */
    rig_run(rig, RIG_MS(1001));
    CU_ASSERT_EQUAL(n->control_frames, 9);

    other(&m, 3);
    frame_from(rig, &m, START, sizeof(START) - 1);
    CU_ASSERT_EQUAL(n->seen.added, 1);
    CU_ASSERT_EQUAL(n->control_frames, 10); /* answered at once */
    frame_from(rig, &m, ping, 64);
    m.node_state = SC_NODE_LEAVING;
    frame_from(rig, &m, ping, 64);
    CU_ASSERT_EQUAL(n->seen.changed, 1);
    CU_ASSERT_EQUAL(n->seen.messages, 0); /* all swallowed */
    frame_from(rig, &m, STOP, sizeof(STOP) - 1);
    CU_ASSERT_EQUAL(n->seen.goodbye, 1);
    /* whose data frames may be late */
    frame_from(rig, &m, "whatever", 8);
    CU_ASSERT_EQUAL(n->seen.added, 1);

    other(&m, 4); /* any frame is a sign of life */
    frame_from(rig, &m, "whatever", 8);
    CU_ASSERT_EQUAL(n->seen.added, 2);
    rig_run(rig, RIG_MS(3600));
    CU_ASSERT_EQUAL(n->seen.gone, 2);
    free(frame);
    rig_destroy(rig);
}

/** Frames of a life before the last arrive when the network heals: they replace nobody. */
static void test_static_old_life(void)
{
    rig_t *rig = alone(SC_MEMBERSHIP_STATIC);
    rig_node_t *n = &rig->node[0];
    sc_member_t old, now;

    other(&old, 3);
    other(&now, 3);
    old.alive_ms = 500000; /* it had lived for longer */
    now.uid.b[7]++;
    frame_sent(rig, &now, 20000, START, sizeof(START) - 1);
    rig_run(rig, RIG_MS(400));
    frame_sent(rig, &now, 20400, "data", 4);
    frame_sent(rig, &old, 10000, "data", 4);
    frame_sent(rig, &old, 10500, "data", 4);
    CU_ASSERT_EQUAL(n->seen.added, 1);
    CU_ASSERT_EQUAL(n->seen.gone, 0);
    /* a restart is believed at once; if the clock was set back, as soon as the old one is silent */
    old.uid.b[7] = 90;
    frame_sent(rig, &old, 20401, START, sizeof(START) - 1);
    CU_ASSERT_EQUAL(n->seen.added, 2);
    CU_ASSERT_EQUAL(n->seen.gone, 1);
    rig_run(rig, RIG_MS(1100));
    now.uid.b[7] = 91;
    frame_sent(rig, &now, 100, START, sizeof(START) - 1);
    CU_ASSERT_EQUAL(n->seen.added, 3);
    CU_ASSERT_EQUAL(n->seen.gone, 2);
    rig_destroy(rig);
}

static void test_static_strangers(void)
{
    rig_t *rig = alone(SC_MEMBERSHIP_STATIC);
    rig_node_t *n = &rig->node[0];
    sc_member_t m;

    other(&m, 77);
    frame_from(rig, &m, START, sizeof(START) - 1);
    CU_ASSERT_EQUAL(n->seen.added, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0441"));
    other(&m, 3);
    m.port = 4001; /* the address alone is not enough */
    frame_from(rig, &m, START, sizeof(START) - 1);
    CU_ASSERT_EQUAL(n->seen.added, 0);
    other(&m, 3);
    m.ours = 0; /* a Tomcat */
    frame_from(rig, &m, START, sizeof(START) - 1);
    frame_from(rig, &m, START, sizeof(START) - 1);
    CU_ASSERT_EQUAL(n->seen.added, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0442"));
    CU_ASSERT_PTR_NULL(strstr(strstr(n->log, "SC0442") + 1, "SC0442"));
    other(&m, 3);
    frame_from(rig, &m, STOP, sizeof(STOP) - 1); /* of somebody who was never here */
    CU_ASSERT_EQUAL(n->seen.gone, 0);
    rig_destroy(rig);
}

/** A member that is configured and silent: not refused, so it might just be slow. */
static void test_static_settles_late(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_STATIC, 2);

    rig_start(rig, 1, 0);
    rig_cut(rig, 0, 1, 1);
    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(990));
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 0);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1);
    rig_destroy(rig);
}

/** Nothing is queued behind a frame that cannot be delivered. */
static void test_static_no_pile(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_STATIC, 2);
    int before;

    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, apr_time_from_sec(2));
    rig_cut(rig, 0, 1, 1);
    rig_run(rig, RIG_MS(600));
    before = rig->node[0].control_frames;
    rig_run(rig, apr_time_from_sec(30));
    CU_ASSERT(rig->node[0].control_frames - before <= 11); /* one per timeout of 3 s */
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    rig_cut(rig, 0, 1, 0);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

static void test_static_names(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_STATIC, 3);
    sc_config_t *c = &rig->node[0].config;

    strcpy(c->member[1].host, "name.that.does.not.exist.invalid");
    c->member[2].port = 4001;
    rig_start(rig, 0, 0);
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 1);
    rig_run(rig, 0);
    rig_not_found(rig, 0, APR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0443"));
    rig_run(rig, RIG_MS(5));
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1);
    rig_destroy(rig);

    /* the only one in the list */
    rig = rig_create(SC_MEMBERSHIP_STATIC, 1);
    rig_start(rig, 0, 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 0);
    rig_run(rig, 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1);
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 0);
    rig_destroy(rig);
}

/** What goes over the wire is what Tomcat's interceptors send, byte for byte after the head. */
static void test_static_texts(void)
{
    static const char *const names[] = {"interceptor-staticmembership-start.bin",
                                        "interceptor-staticmembership-stop.bin"};
    static const char *const texts[] = {START, STOP};
    int i;

    for (i = 0; i < 2; i++) {
        apr_size_t len = 0;
        unsigned char *frame = rig_vector(names[i], &len);
        const unsigned char *data;
        sc_frame_kind_t kind;
        sc_parser_t parser;
        sc_packet_t p;
        apr_size_t n;

        CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
        sc_parser_init(&parser, 65536);
        sc_put(&parser.in, frame, len);
        CU_ASSERT_EQUAL_FATAL(sc_parser_next(&parser, &kind, &data, &n), APR_SUCCESS);
        CU_ASSERT_EQUAL_FATAL(sc_packet_get(&p, data, n), APR_SUCCESS);
        CU_ASSERT_EQUAL(p.options, 0);
        CU_ASSERT_EQUAL_FATAL(p.body_len, strlen(texts[i]));
        CU_ASSERT_EQUAL(memcmp(p.body, texts[i], p.body_len), 0);
        sc_parser_free(&parser);
        free(frame);
    }
}

void sc_suite_membership(void)
{
    CU_pSuite s = CU_add_suite("membership", NULL, NULL);

    CU_add_test(s, "multicast: listen, announce, settle", test_phases);
    CU_add_test(s, "multicast: gone while we listened", test_gone_while_listening);
    CU_add_test(s, "multicast: malformed datagrams", test_malformed);
    CU_add_test(s, "multicast: foreign members in disguise", test_foreign_in_disguise);
    CU_add_test(s, "multicast: domains", test_domain);
    CU_add_test(s, "multicast: a domain or flags that change", test_changed_place);
    CU_add_test(s, "multicast: datagrams that come late", test_late_datagrams);
    CU_add_test(s, "multicast: a listener that was stopped", test_stopped_listener);
    CU_add_test(s, "multicast: a node that moved", test_moved_node);
    CU_add_test(s, "multicast: another identity", test_other_identity);
    CU_add_test(s, "multicast: our own address", test_own_address);
    CU_add_test(s, "multicast: too many", test_too_many);
    CU_add_test(s, "static: who says what", test_static_talk);
    CU_add_test(s, "static: a life before the last", test_static_old_life);
    CU_add_test(s, "static: strangers", test_static_strangers);
    CU_add_test(s, "static: settles in any case", test_static_settles_late);
    CU_add_test(s, "static: nothing piles up", test_static_no_pile);
    CU_add_test(s, "static: names and the list", test_static_names);
    CU_add_test(s, "static: the texts of Tomcat", test_static_texts);
    sc_suite_membership_names(s);
    sc_suite_membership_dns(s);
    sc_suite_membership_recordings(s);
}
