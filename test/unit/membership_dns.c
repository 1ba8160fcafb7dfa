/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Part of the membership's tests: addresses that a name has, and members without our mark.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"
#include "../../src/channel/foreign.h"

#define START "Local StaticMember Notification Data"

void sc_suite_membership_dns(CU_pSuite s);

/** Answer everybody who asks. */
static void answer_all(rig_t *rig, int nodes, const int *numbers)
{
    int i;

    for (i = 0; i < nodes; i++) {
        if (rig->node[i].up && rig->node[i].lookup_done != NULL) {
            rig_found(rig, i, numbers);
        }
    }
}

static rig_t *dns_nodes(int nodes)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_DNS, nodes);
    int i;

    for (i = 0; i < nodes; i++) {
        rig_start(rig, i, 0);
    }
    rig_run(rig, 0);
    return rig;
}

/* ---- dns ------------------------------------------------------------------------------------ */

static void test_dns_finds(void)
{
    static const int all[] = {1, 2, 3, 0};
    rig_t *rig = dns_nodes(3);
    int i;

    CU_ASSERT_STRING_EQUAL(rig->node[0].lookup_name, "members.example");
    CU_ASSERT_EQUAL(rig->node[0].lookups, 1);
    rig_run(rig, RIG_MS(2500)); /* nothing is known yet: nobody is alone because of that */
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 0);
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 0);
    CU_ASSERT_EQUAL(rig->node[0].lookups, 1); /* one at a time */
    answer_all(rig, 3, all);
    rig_run(rig, RIG_MS(50));
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(rig_members(rig, i), 2);
        CU_ASSERT_EQUAL(rig->node[i].seen.settled, 1);
        CU_ASSERT_EQUAL(rig->node[i].seen.added_before_settled, 2);
    }
    /* asked again each refresh, counted from the answer */
    rig_run(rig, RIG_MS(4900));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 1);
    rig_run(rig, RIG_MS(100));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 2);
    answer_all(rig, 3, all);
    rig_run(rig, apr_time_from_sec(3));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.added, 2);
    /* a good-bye is as quick as with static members */
    rig_leave(rig, 2);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig->node[0].seen.goodbye, 1);
    rig_destroy(rig);
}

/** The address of nobody but this node: alone, at once. */
static void test_dns_alone(void)
{
    static const int self[] = {1, 0};
    rig_t *rig = dns_nodes(1);

    rig_found(rig, 0, self);
    rig_run(rig, 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1);
    rig_run(rig, apr_time_from_sec(4));
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 0); /* nobody talks to himself */
    rig_destroy(rig);
}

/** A look-up that fails changes nothing; it is tried again soon. */
static void test_dns_fails(void)
{
    static const int two[] = {1, 2, 0};
    rig_t *rig = dns_nodes(2);
    int i;

    rig_not_found(rig, 0, APR_NOTFOUND);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0444"));
    rig_run(rig, RIG_MS(1));
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1); /* alone for now, and it serves */
    rig_run(rig, RIG_MS(1000));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 2);
    answer_all(rig, 2, two);
    rig_run(rig, RIG_MS(100));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    for (i = 0; i < 30; i++) {
        rig_run(rig, apr_time_from_sec(1));
        if (rig->node[0].lookup_done != NULL) {
            rig_not_found(rig, 0, APR_TIMEUP);
        }
        if (rig->node[1].lookup_done != NULL) {
            rig_found(rig, 1, two);
        }
    }
    CU_ASSERT(rig->node[0].lookups > 20);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    /* one that cannot even be asked */
    rig->node[0].lookup_rv = APR_ENOMEM;
    rig_run(rig, apr_time_from_sec(10));
    rig->node[0].lookup_rv = APR_SUCCESS;
    rig_run(rig, apr_time_from_sec(2));
    CU_ASSERT_PTR_NOT_NULL(rig->node[0].lookup_done);
    rig_destroy(rig);
}

/** Missing in one answer is nothing; in two it is, and then the member is given up. */
static void test_dns_forgets(void)
{
    static const int all[] = {1, 2, 3, 0};
    static const int fewer[] = {1, 2, 0};
    rig_t *rig = dns_nodes(3);
    rig_node_t *n = &rig->node[0];
    int before;

    rig_kill(rig, 2); /* and the one with the third address has never been there */
    answer_all(rig, 3, all);
    rig_run(rig, RIG_MS(5100));
    rig_start(rig, 2, 0);
    rig_run(rig, 0);
    answer_all(rig, 3, all);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
    rig_run(rig, RIG_MS(3600));
    answer_all(rig, 3, fewer);
    rig_run(rig, RIG_MS(5050));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
    CU_ASSERT_PTR_NULL(strstr(n->log, "SC0447"));
    answer_all(rig, 3, all); /* it was a mistake */
    rig_run(rig, RIG_MS(5050));
    answer_all(rig, 3, fewer);
    rig_run(rig, RIG_MS(5050));
    CU_ASSERT_PTR_NULL(strstr(n->log, "SC0447"));
    CU_ASSERT_EQUAL(n->seen.gone, 0);
    answer_all(rig, 3, fewer);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0447: members.example has no longer the address "
                                          "10.0.0.3:4000"));
    /* whoever still answers the detector's probe is only suspect */
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 1);
    before = n->control_frames;
    rig_run(rig, RIG_MS(1000)); /* not greeted any more */
    CU_ASSERT_EQUAL(n->control_frames - before, 2);
    rig_kill(rig, 2);
    rig_run(rig, RIG_MS(2500));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(n->seen.gone, 1);
    CU_ASSERT_EQUAL(n->seen.goodbye, 0);
    rig_destroy(rig);
}

/** A new node knows the others before the name knows it: its greeting makes them look. */
static void test_dns_newcomer(void)
{
    static const int two[] = {1, 2, 0};
    static const int three[] = {1, 2, 3, 0};
    rig_t *rig = dns_nodes(2);

    answer_all(rig, 2, two);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 1);
    rig_start(rig, 2, 0);
    rig_run(rig, 0);
    rig_found(rig, 2, three);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0445"));
    rig_found(rig, 0, two); /* not yet */
    rig_run(rig, RIG_MS(990));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 2); /* however often it greets */
    rig_run(rig, RIG_MS(600));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 3);
    answer_all(rig, 2, three);
    rig_run(rig, RIG_MS(600));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
    CU_ASSERT_EQUAL(rig_members(rig, 1), 2);
    CU_ASSERT_EQUAL(rig_members(rig, 2), 2);
    rig_destroy(rig);
}

/** What cannot be a member's address, and more of them than there can be members. */
static void test_dns_strange_answers(void)
{
    rig_t *rig = dns_nodes(2);
    rig_node_t *n = &rig->node[0];
    sc_address_t found[SC_ADDRESSES_MAX];
    sc_resolved_fn_t *done = n->lookup_done;
    int i;

    memset(found, 0, sizeof(found));
    found[0].len = 4; /* 0.0.0.0 */
    found[1].len = 4;
    found[1].host[0] = 224;
    found[2].len = 16;
    found[2].host[0] = 0xff;
    found[3].len = 7;
    found[3].host[0] = 10;
    n->lookup_done = NULL;
    done(n->lookup_baton, APR_SUCCESS, found, 4);
    rig_run(rig, apr_time_from_sec(2));
    CU_ASSERT_EQUAL(n->control_frames, 0);
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    rig_run(rig, RIG_MS(3100));
    memset(found, 0, sizeof(found));
    for (i = 0; i < SC_ADDRESSES_MAX; i++) {
        found[i].len = 4;
        found[i].host[0] = 10;
        found[i].host[2] = 1;
        found[i].host[3] = (unsigned char)(100 + i);
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(n->lookup_done);
    n->lookup_done = NULL;
    done(n->lookup_baton, APR_SUCCESS, found, SC_ADDRESSES_MAX - 1);
    CU_ASSERT_EQUAL(n->control_frames, SC_ADDRESSES_MAX - 1); /* of all members, in both families */
    CU_ASSERT_PTR_NULL(strstr(n->log, "SC0566"));
    rig_run(rig, RIG_MS(5100));
    for (i = 0; i < 2; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(n->lookup_done);
        n->lookup_done = NULL;
        done(n->lookup_baton, APR_SUCCESS, found, SC_ADDRESSES_MAX);
        CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(n->log, "SC0566"));
        CU_ASSERT_PTR_NULL(strstr(strstr(n->log, "SC0566") + 1, "SC0566")); /* once a minute */
        rig_run(rig, RIG_MS(5100));
    }
    rig_destroy(rig);
}

/** Somebody greets all the time from where nobody should be. */
static int knock(rig_t *rig, const sc_member_t *m, int times, const int *numbers)
{
    rig_node_t *n = &rig->node[0];
    int i;

    for (i = 0; i < times && strstr(n->log, "W SC0445") == NULL; i++) {
        sc_packet_t p;

        memset(&p, 0, sizeof(p));
        p.from = *m;
        p.options = SC_OPT_BYTE_MESSAGE;
        p.body = (const unsigned char *)START;
        p.body_len = sizeof(START) - 1;
        CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &p), APR_SUCCESS);
        rig_run(rig, RIG_MS(500));
        if (n->lookup_done != NULL) {
            rig_found(rig, 0, numbers);
        }
    }
    return i;
}

/** One that is at the name's address, but not at its port, will not be entered; nor one that has
 *  waited for longer than a refresh. Then an administrator should know. */
static void test_dns_wrong_port(void)
{
    static const int two[] = {1, 2, 0};
    int i;

    for (i = 0; i < 2; i++) {
        rig_t *rig = dns_nodes(1);
        rig_node_t *n = &rig->node[0];
        sc_member_t m;
        int times;

        n->log_levels = 1;
        memset(&m, 0, sizeof(m));
        m.ours = 1;
        m.version = SC_PROTOCOL_VERSION;
        m.host_len = 4;
        memcpy(m.host, i == 0 ? "\12\0\0\2" : "\12\0\0\7", 4);
        m.port = i == 0 ? 4001 : 4000;
        m.uid.b[3] = 9;
        strcpy(m.route, "r9");
        rig_found(rig, 0, two);
        rig_run(rig, RIG_MS(100));
        times = knock(rig, &m, 5, two);
        CU_ASSERT_EQUAL(times, 5);
        CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "I SC0445"));
        rig_run(rig, apr_time_from_sec(5)); /* it gave up, and comes again */
        CU_ASSERT_EQUAL(knock(rig, &m, 10, two), 10);
        times = knock(rig, &m, 10, two);
        CU_ASSERT(times >= 1 && times <= 3); /* more than 5 s */
        CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "W SC0445"));
        CU_ASSERT_EQUAL(strstr(n->log, "its port is not 4000") != NULL, i == 0);
        rig_destroy(rig);
    }
}

/** Stopped while a look-up is under way. */
static void test_dns_late_answer(void)
{
    static const int two[] = {1, 2, 0};
    rig_t *rig = dns_nodes(1);

    sc_channel_stop(rig->node[0].channel);
    rig_found(rig, 0, two);
    rig_run(rig, apr_time_from_sec(10));
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 0);
    CU_ASSERT_EQUAL(rig->node[0].lookups, 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 0);
    rig_destroy(rig);
}

/* ---- members without our mark --------------------------------------------------------------- */

static void tomcat(sc_member_t *m, int n)
{
    memset(m, 0, sizeof(*m));
    m->port = 4000;
    m->secure_port = m->udp_port = -1;
    m->host_len = 4;
    m->host[0] = 10;
    m->host[3] = (unsigned char)n;
    memset(m->uid.b, n, sizeof(m->uid.b));
}

static void beat(rig_t *rig, sc_member_t *m)
{
    sc_buf_t b;

    m->alive_ms += 500;
    sc_buf_init(&b, 4096);
    sc_member_put(&b, m);
    rig_inject(rig, b.data, b.len);
    sc_buf_free(&b);
    rig_run(rig, RIG_MS(2));
}

static apr_status_t receive(rig_t *rig, const sc_member_t *from, apr_uint32_t options,
                            const void *body, apr_size_t len)
{
    rig_node_t *n = &rig->node[0];
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    p.options = options;
    p.from = *from;
    p.body = body;
    p.body_len = len;
    return n->transport_up.packet(n->transport_up.baton, &p);
}

/** A node of ours that accepts them, and no detector that would ask them. */
static rig_t *open_node(sc_membership_kind_t kind)
{
    rig_t *rig = rig_create(kind, 4);
    sc_config_t *c = &rig->node[0].config;

    c->mcast.accept_foreign = 1;
    c->ninterceptors = 1;
    strcpy(c->interceptor[0].name, "MessageDispatch");
    rig_start(rig, 0, 0);
    return rig;
}

static void test_foreign_seen(void)
{
    rig_t *rig = open_node(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    const sc_member_t *seen[4];
    sc_view_t view;
    sc_member_t m;
    int i;

    tomcat(&m, 50);
    beat(rig, &m); /* before this node has said a word */
    for (i = 0; i < 6; i++) {
        rig_run(rig, RIG_MS(450));
        beat(rig, &m);
    }
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    CU_ASSERT(n->datagrams > 2); /* and it speaks all the same */
    CU_ASSERT_EQUAL(n->board.count.datagrams_refused, 0);
    CU_ASSERT_PTR_NULL(strstr(n->log, "SC0432"));
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0412"));
    CU_ASSERT_EQUAL(n->seen.added, 0); /* sessions never hear of it */
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL_FATAL(sc_channel_foreign(n->channel, seen, 4), 1);
    CU_ASSERT_TRUE(sc_member_same(seen[0], &m));
    sc_channel_view(n->channel, &view);
    CU_ASSERT_EQUAL_FATAL(view.count, 2);
    CU_ASSERT_EQUAL(view.member[0].foreign, 0);
    CU_ASSERT_EQUAL(view.member[1].foreign, 1);
    CU_ASSERT_EQUAL(view.member[1].role, SC_ROLE_FOREIGN);
    CU_ASSERT_STRING_EQUAL(view.member[1].host, "10.0.0.50");
    CU_ASSERT_EQUAL(view.member[1].state, SC_MEMBER_ALIVE);
    /* nothing can be posted to it */
    CU_ASSERT_EQUAL(sc_channel_post(n->channel, &m, "x", 1, 6, NULL, NULL), APR_NOTFOUND);
    /* it falls silent */
    rig_run(rig, RIG_MS(3600));
    CU_ASSERT_EQUAL(sc_channel_foreign(n->channel, seen, 4), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0413"));
    CU_ASSERT_EQUAL(n->seen.gone, 0);
    /* and comes back to say good-bye */
    beat(rig, &m);
    CU_ASSERT_EQUAL(sc_channel_foreign(n->channel, seen, 4), 1);
    memcpy(m.command, SC_COMMAND_SHUTDOWN, 9);
    m.command_len = 9;
    beat(rig, &m);
    CU_ASSERT_EQUAL(sc_channel_foreign(n->channel, seen, 4), 0);
    rig_destroy(rig);
}

/** With the detector: who does not answer its probe is not seen. */
static void test_foreign_probed(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 2);
    const sc_member_t *seen[4];
    sc_member_t m;
    int i;

    for (i = 0; i < 2; i++) {
        rig->node[i].config.mcast.accept_foreign = 1;
        rig_start(rig, i, 0);
    }
    rig_run(rig, RIG_MS(2500));
    tomcat(&m, 50);
    beat(rig, &m);
    rig_run(rig, RIG_MS(50));
    CU_ASSERT_EQUAL(sc_channel_foreign(rig->node[0].channel, seen, 4), 0);
    CU_ASSERT_EQUAL(rig->node[0].probes, 2);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1); /* ours have nothing to do with it */
    rig_destroy(rig);
}

static void test_foreign_messages(void)
{
    static const char envelope[] = "SCE1\1STREAM-1\1\0\0\0\0\0\0\x07\xd1\5\3abc";
    rig_t *rig = open_node(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    rig_end_t end = {0, APR_EGENERAL};
    apr_uint64_t refused;
    sc_member_t m;
    sc_member_t other;

    rig_run(rig, RIG_MS(1500));
    tomcat(&m, 50);
    tomcat(&other, 51);
    beat(rig, &m);
    CU_ASSERT_EQUAL(receive(rig, &m, 3, "hello", 5), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.messages, 1);
    CU_ASSERT_EQUAL(receive(rig, &other, 3, "hello", 5), APR_EGENERAL); /* who is that? */
    CU_ASSERT_EQUAL(n->seen.messages, 1);
    CU_ASSERT_EQUAL(n->board.count.messages_in, 1);
    /* sessions are not taken from it, in whatever wrapping */
    refused = n->board.count.frames_refused;
    CU_ASSERT_EQUAL(receive(rig, &m, 7, envelope, sizeof(envelope) - 1), APR_EGENERAL);
    CU_ASSERT_EQUAL(n->board.count.frames_refused, refused + 1);
    CU_ASSERT_EQUAL(n->seen.records, 0);
    /* and the other way */
    CU_ASSERT_EQUAL(sc_channel_send(n->channel, &other, "to you", 6, 2, NULL, NULL), APR_NOTFOUND);
    CU_ASSERT_EQUAL(sc_channel_send(n->channel, &m, "to you", 6, 2, rig_ended, &end), APR_SUCCESS);
    CU_ASSERT_EQUAL(end.calls, 0);
    CU_ASSERT_EQUAL(n->data_frames, 1);
    CU_ASSERT_EQUAL(n->last_options, SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(end.calls, 1);
    /* asynchronous: it has ended as soon as it is queued, whoever is there */
    end.calls = 0;
    CU_ASSERT_EQUAL(sc_channel_send(n->channel, &m, "x", 1, 8, rig_ended, &end), APR_SUCCESS);
    rig_run(rig, 0);
    CU_ASSERT_EQUAL(end.calls, 1);
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(n->board.count.messages_out, 2);
    rig_destroy(rig);
}

/** Calls are answered, replies and other objects are not; nor is anybody unknown. */
static void test_foreign_calls(void)
{
    static const char *const names[] = {"map-rpc-start-request.bin",    "rpc-request-string.bin",
                                        "static-rpc-start-request.bin", "map-rpc-start-reply.bin",
                                        "rpc-reply-string.bin",         "map-proxy.bin"};
    rig_t *rig = open_node(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    sc_member_t m;
    apr_size_t i;

    rig_run(rig, RIG_MS(1500));
    tomcat(&m, 50);
    beat(rig, &m);
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        apr_uint64_t answered = n->board.count.calls_refused;
        int frames = n->data_frames;
        sc_packet_t p;
        unsigned char *body = rig_captured(names[i], &p);
        apr_size_t cut;

        CU_ASSERT_EQUAL(receive(rig, &m, 2, p.body, p.body_len), APR_SUCCESS);
        rig_run(rig, RIG_MS(1));
        CU_ASSERT_EQUAL(n->board.count.calls_refused - answered, i < 3);
        CU_ASSERT_EQUAL(n->data_frames - frames, i < 3);
        if (i < 3) {
            CU_ASSERT_EQUAL(n->last_options, SC_OPT_ASYNCHRONOUS); /* a Java object */
        }
        /* cut anywhere: whole calls are answered, pieces of them never read beyond their end */
        for (cut = 0; cut < p.body_len; cut++) {
            unsigned char *piece = malloc(cut + 1);

            memcpy(piece, p.body, cut);
            CU_ASSERT_EQUAL(receive(rig, &m, 2, piece, cut), APR_SUCCESS);
            free(piece);
        }
        free(body);
    }
    CU_ASSERT_EQUAL(n->seen.messages, 0);
    rig_destroy(rig);
}

/** Byte for byte what Tomcat answers to that call. */
static void test_rpc_codec(void)
{
    unsigned char *request;
    unsigned char *reply;
    unsigned char id[600];
    sc_packet_t q, a;
    sc_foreign_t foreign = {0};
    sc_java_t call, answer;
    sc_chain_env_t env = {0};
    sc_member_t local = {0};
    sc_buf_t b;

    foreign.env = &env;
    env.local = &local;
    request = rig_captured("rpc-request-string.bin", &q);
    reply = rig_captured("rpc-no-channel-reply.bin", &a);
    CU_ASSERT_EQUAL_FATAL(sc_java_get(&call, q.body, q.body_len), APR_SUCCESS);
    CU_ASSERT_EQUAL(call.kind, SC_JAVA_REQUEST);
    CU_ASSERT_EQUAL(call.id_len, 5);
    CU_ASSERT_EQUAL(memcmp(call.id, "rpc-1", 5), 0);
    sc_buf_init(&b, 4096);
    sc_foreign_answer(&foreign, &b, &call, 0);
    CU_ASSERT_EQUAL_FATAL(b.len, a.body_len);
    CU_ASSERT_EQUAL(memcmp(b.data, a.body, b.len), 0);
    CU_ASSERT_EQUAL(sc_java_get(&answer, a.body, a.body_len), APR_SUCCESS);
    CU_ASSERT_EQUAL(answer.kind, SC_JAVA_NO_CHANNEL); /* no call itself */
    /* a name that needs the long form of a block */
    memset(id, 'i', sizeof(id));
    call.id = id;
    call.id_len = sizeof(id);
    sc_buf_clear(&b);
    sc_foreign_answer(&foreign, &b, &call, 0);
    CU_ASSERT_EQUAL(b.data[b.len - 1 - 600 - 4 - 16 - 4 - 5], 0x7A);
    CU_ASSERT_EQUAL(sc_java_get(&answer, b.data, b.len), APR_SUCCESS);
    CU_ASSERT_EQUAL(answer.id_len, sizeof(id));
    /* and one that no Tomcat has */
    sc_buf_clear(&b);
    sc_put(&b, q.body, 0x40);
    sc_put_u8(&b, 0x7A);
    sc_put_u32(&b, 1 + 4 + 16 + 4 + 2000);
    sc_put_u8(&b, 0);
    sc_put_u32(&b, 16);
    sc_put(&b, id, 16);
    sc_put_u32(&b, 2000);
    memset(sc_buf_reserve(&b, 2000), 'i', 2000);
    b.len += 2000;
    CU_ASSERT_EQUAL(sc_java_get(&answer, b.data, b.len), APR_EINVAL);
    sc_buf_patch_u32(&b, b.len - 2000 - 4, 600);
    CU_ASSERT_EQUAL(sc_java_get(&answer, b.data, b.len), APR_SUCCESS); /* it is only the length */
    CU_ASSERT_EQUAL(answer.id_len, 600);
    sc_buf_free(&b);
    free(request);
    free(reply);
}

/** A message to the whole group, as a Tomcat sends it. */
static void test_group_message(void)
{
    apr_size_t len = 0;
    unsigned char *frame = rig_vector("mcast-broadcast-channeldata.bin", &len);
    rig_t *rig = open_node(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    sc_buf_t b;

    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    rig_run(rig, RIG_MS(1500));
    rig_inject(rig, frame, len); /* it shows who is there, and says something */
    rig_run(rig, RIG_MS(5));
    CU_ASSERT_EQUAL(n->seen.messages, 1);
    CU_ASSERT_EQUAL(n->board.count.messages_in, 1);
    /* two of them in one datagram, and something that is none behind them */
    sc_buf_init(&b, 65536);
    sc_put(&b, frame, len);
    sc_put(&b, frame, len);
    sc_put(&b, "FLT2002", 7);
    rig_inject(rig, b.data, b.len);
    rig_run(rig, RIG_MS(5));
    CU_ASSERT_EQUAL(n->seen.messages, 3);
    sc_buf_free(&b);
    free(frame);
    rig_destroy(rig);
}

/** No session in a datagram, not even a member's own; and a good-bye in one is none. */
static void test_datagram_sessions(void)
{
    static const char envelope[] = "SCE1\1STREAM-1\1\0\0\0\0\0\0\x07\xd1\5\3abc";
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_STATIC, 2);
    rig_node_t *n = &rig->node[0];
    sc_member_t from = *rig_member(rig, 0, 1);
    apr_uint64_t refused = n->board.count.frames_refused;

    CU_ASSERT_EQUAL(receive(rig, &from, 7 | SC_OPT_UDP, envelope, sizeof(envelope) - 1),
                    APR_EGENERAL);
    CU_ASSERT_EQUAL(receive(rig, &from, 7 | SC_OPT_MULTICAST, envelope, sizeof(envelope) - 1),
                    APR_EGENERAL);
    CU_ASSERT_EQUAL(n->board.count.frames_refused, refused + 2);
    CU_ASSERT_EQUAL(n->seen.records, 0);
    CU_ASSERT_EQUAL(receive(rig, &from, 7, envelope, sizeof(envelope) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.records, 1); /* the same on a connection */
    (void)receive(rig, &from, SC_OPT_UDP, "Local StaticMember Shutdown Data", 32);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(receive(rig, &from, 3 | SC_OPT_UDP, "hello", 5), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.messages, 1);
    from.uid.b[3] ^= 1; /* a stranger */
    CU_ASSERT_EQUAL(receive(rig, &from, 3 | SC_OPT_UDP, "hello", 5), APR_EGENERAL);
    CU_ASSERT_EQUAL(n->seen.messages, 1);
    rig_destroy(rig);
}

static void test_foreign_too_many(void)
{
    rig_t *rig = open_node(SC_MEMBERSHIP_MULTICAST);
    rig_node_t *n = &rig->node[0];
    const sc_member_t *seen[SC_MEMBERS_MAX];
    sc_member_t m;
    int i;

    rig_run(rig, RIG_MS(1500));
    for (i = 0; i < 60; i++) {
        tomcat(&m, 100 + i);
        beat(rig, &m);
    }
    CU_ASSERT_EQUAL(sc_channel_foreign(n->channel, seen, SC_MEMBERS_MAX), 16);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "SC0425"));
    /* members of ours find room */
    tomcat(&m, 90);
    m.ours = 1;
    m.version = SC_PROTOCOL_VERSION;
    m.store_id = 9;
    strcpy(m.route, "r90");
    beat(rig, &m);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

/** In a static list: a Tomcat that greets is a member if it is accepted, and only then. */
static void test_foreign_static(void)
{
    const sc_member_t *seen[4];
    rig_t *rig = open_node(SC_MEMBERSHIP_STATIC);
    sc_member_t m;

    tomcat(&m, 3);
    m.alive_ms = 5;
    CU_ASSERT_EQUAL(receive(rig, &m, 0, START, sizeof(START) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_channel_foreign(rig->node[0].channel, seen, 4), 1);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_PTR_NULL(strstr(rig->node[0].log, "SC0442"));
    tomcat(&m, 77); /* not in the list */
    CU_ASSERT_EQUAL(receive(rig, &m, 0, START, sizeof(START) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_channel_foreign(rig->node[0].channel, seen, 4), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0441"));
    rig_destroy(rig);
}

/** What is announced is where others reach this node, not where it listens. */
static void test_advertised(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 1);
    sc_config_t *c = &rig->node[0].config;
    const sc_member_t *local;
    char host[SC_HOST_MAX + 1];

    strcpy(c->receiver.address, "0.0.0.0");
    strcpy(c->receiver.advertise_address, "192.0.2.7");
    rig_start(rig, 0, 0);
    local = sc_channel_local(rig->node[0].channel);
    CU_ASSERT_STRING_EQUAL(sc_member_host(local, host), "192.0.2.7");
    CU_ASSERT_EQUAL(local->port, 4000);
    CU_ASSERT_EQUAL(local->udp_port, -1);
    rig_kill(rig, 0);
    strcpy(c->receiver.address, "10.0.0.1");
    c->receiver.advertise_address[0] = '\0';
    c->receiver.advertise_port = 4999;
    rig_start(rig, 0, 0);
    local = sc_channel_local(rig->node[0].channel);
    CU_ASSERT_STRING_EQUAL(sc_member_host(local, host), "10.0.0.1");
    CU_ASSERT_EQUAL(local->port, 4999);
    rig_destroy(rig);
}

void sc_suite_membership_dns(CU_pSuite s)
{
    CU_add_test(s, "dns: finds, asks again", test_dns_finds);
    CU_add_test(s, "dns: alone", test_dns_alone);
    CU_add_test(s, "dns: a look-up that fails", test_dns_fails);
    CU_add_test(s, "dns: an address that is gone", test_dns_forgets);
    CU_add_test(s, "dns: a newcomer", test_dns_newcomer);
    CU_add_test(s, "dns: strange answers", test_dns_strange_answers);
    CU_add_test(s, "dns: the wrong port", test_dns_wrong_port);
    CU_add_test(s, "dns: an answer that comes too late", test_dns_late_answer);
    CU_add_test(s, "foreign: seen", test_foreign_seen);
    CU_add_test(s, "foreign: probed", test_foreign_probed);
    CU_add_test(s, "foreign: messages", test_foreign_messages);
    CU_add_test(s, "foreign: calls", test_foreign_calls);
    CU_add_test(s, "foreign: calls, byte for byte", test_rpc_codec);
    CU_add_test(s, "foreign: a message to the group", test_group_message);
    CU_add_test(s, "no sessions in datagrams", test_datagram_sessions);
    CU_add_test(s, "foreign: too many", test_foreign_too_many);
    CU_add_test(s, "foreign: in a list", test_foreign_static);
    CU_add_test(s, "an advertised address", test_advertised);
}
