/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * StaticMembership in whole channels on the simulated network: names of its list, members that fall
 * silent, and what is logged of those that never come.
 */
#include <string.h>

#include "links_rig.h"

static const int nobody[] = {0};
static const int one[] = {1, 0};
static const int two[] = {2, 0};
static const int three[] = {3, 0};

/** Nodes with a list each, NULL: none, which hear no datagrams of each other. */
static rig_t *listed(sc_membership_kind_t kind, int nodes, const char *const *lists)
{
    rig_t *rig = rig_create(kind, nodes);
    int i;

    for (i = 0; i < nodes; i++) {
        sc_config_t *c = &rig->node[i].config;

        links_add(c, "MessageDispatch", NULL);
        links_add(c, "TcpFailureDetector", NULL);
        if (lists[i] != NULL) {
            links_add(c, PLACE, lists[i], NULL);
        }
        rig->node[i].deaf = 1;
    }
    return rig;
}

static int logged(rig_t *rig, int i, const char *what)
{
    const char *p = rig->node[i].log;
    int n = 0;

    while ((p = strstr(p, what)) != NULL) {
        n++;
        p++;
    }
    return n;
}

/* ---- names ---------------------------------------------------------------------------------- */

/** As among containers: the name is known later than the node starts. Nothing waits for it but what
 *  has to. */
static void test_name_later(void)
{
    static const char *const lists[] = {"member=peer.example:4000", "member=10.0.0.1:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 2, lists);
    rig_node_t *n = &rig->node[0];

    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(200));
    CU_ASSERT_EQUAL(n->lookups, 1);
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "peer.example");
    rig_run(rig, SECONDS(4));
    CU_ASSERT_EQUAL(n->seen.settled, 0); /* who is there, is not known yet */
    rig_not_found(rig, 0, APR_NOTFOUND);
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0489: member peer.example:4000"), 1);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    rig_run(rig, SECONDS(4));
    CU_ASSERT_EQUAL(n->lookups, 2);
    rig_found(rig, 0, nobody); /* a name without an address */
    rig_run(rig, SECONDS(6));
    CU_ASSERT_EQUAL(n->lookups, 3);
    rig_not_found(rig, 0, APR_TIMEUP);
    rig_run(rig, SECONDS(6));
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0489"), 1);
    CU_ASSERT_EQUAL(n->control_frames, 0);
    rig_found(rig, 0, two);
    rig_start(rig, 1, 0);
    rig_run(rig, SECONDS(1));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig_members(rig, 1), 1);
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    rig_run(rig, SECONDS(60));
    CU_ASSERT_EQUAL(n->lookups, 4); /* its member is there */
    rig_destroy(rig);
}

/** A name server that hangs keeps nobody from settling for ever, and no stopped node busy. */
static void test_name_never(void)
{
    static const char *const lists[] = {"member=peer.example:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 1, lists);

    rig_start(rig, 0, 0);
    rig_run(rig, SECONDS(14));
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 0);
    rig_run(rig, SECONDS(2));
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1);
    CU_ASSERT_EQUAL(rig->node[0].lookups, 1);
    sc_channel_stop(rig->node[0].channel);
    rig_found(rig, 0, two);
    rig_run(rig, SECONDS(10));
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 0);
    CU_ASSERT_EQUAL(rig->node[0].lookups, 1);
    rig_destroy(rig);
}

/** Somebody greets whose name had no address: it is asked again at once, not each time. */
static void test_name_newcomer(void)
{
    static const char *const lists[] = {"member=peer.example:4000", "member=10.0.0.1:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 2, lists);
    rig_node_t *n = &rig->node[0];

    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(200));
    rig_not_found(rig, 0, APR_NOTFOUND);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(n->lookups, 1);
    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(200));
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0522: n2 (10.0.0.2:4000)"), 1);
    CU_ASSERT_EQUAL(n->lookups, 2);
    rig_found(rig, 0, two);
    rig_run(rig, RIG_MS(200));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

/** Both families: the one that comes first leads nowhere, and the member speaks from the other. */
static void test_name_dual(void)
{
    static const char *const lists[] = {"member=peer.example:4000", "member=10.0.0.1:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 2, lists);
    sc_address_t found[SC_ADDRESSES_MAX];
    int i;

    memset(found, 0, sizeof(found));
    found[0].len = 4; /* 0.0.0.0 is nobody's */
    found[1].len = 16;
    found[1].host[0] = 0x20;
    found[1].host[15] = 2;
    found[2].len = 4;
    memcpy(found[2].host, "\x0a\0\0\2", 4);
    found[3].len = 7;
    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(200));
    rig_found_these(rig, 0, found, 4);
    CU_ASSERT_EQUAL(logged(rig, 0,
                           "SC0521: member peer.example:4000 of StaticMembership has the "
                           "address [2000::2]:4000 (1 more)"),
                    1);
    rig_run(rig, SECONDS(4));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig_members(rig, 1), 1);
    i = rig->node[0].control_frames;
    rig_run(rig, SECONDS(10)); /* from now on to where it answers */
    CU_ASSERT_EQUAL(rig->node[0].control_frames, i + 2);
    rig_destroy(rig);
}

/** More addresses than one member has, and this node's own among them. */
static void test_name_many(void)
{
    static const char *const lists[] = {"member=peer.example:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 1, lists);
    sc_address_t found[SC_ADDRESSES_MAX];
    int i;

    memset(found, 0, sizeof(found));
    for (i = 0; i < SC_ADDRESSES_MAX; i++) {
        found[i].len = 4;
        memcpy(found[i].host, "\x0a\0\1", 3);
        found[i].host[3] = (unsigned char)(100 + i);
    }
    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(200));
    rig_found_these(rig, 0, found, SC_ADDRESSES_MAX);
    CU_ASSERT_EQUAL(logged(rig, 0, "(7 more)"), 1);
    rig_run(rig, SECONDS(31));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 2); /* nobody has been heard there */
    rig_found(rig, 0, one);
    i = rig->node[0].control_frames;
    rig_run(rig, SECONDS(60));
    CU_ASSERT_EQUAL(rig->node[0].control_frames, i); /* nobody talks to himself */
    rig_destroy(rig);
}

/** Membership by dns looks names up, too; it comes first, and does not take waiting for a failure.
 */
static void test_name_busy(void)
{
    static const char *const lists[] = {"member=peer.example:4000", NULL};
    rig_t *rig = listed(SC_MEMBERSHIP_DNS, 1, lists);
    rig_node_t *n = &rig->node[0];

    links_add(&n->config, "Throughput", NULL);
    rig_start(rig, 0, 0);
    rig_run(rig, SECONDS(1));
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "members.example");
    rig_found(rig, 0, one);
    rig_run(rig, RIG_MS(250));
    CU_ASSERT_EQUAL(n->lookups, 2);
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "peer.example");
    CU_ASSERT_EQUAL(n->seen.settled, 0);
    rig_run(rig, SECONDS(8)); /* the other one is due since 3 s */
    CU_ASSERT_EQUAL(n->lookups, 2);
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0444"), 0);
    rig_not_found(rig, 0, APR_NOTFOUND);
    rig_run(rig, RIG_MS(60));
    CU_ASSERT_EQUAL(n->lookups, 3);
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "members.example");
    rig_run(rig, SECONDS(6)); /* and now this one waits */
    CU_ASSERT_EQUAL(n->lookups, 3);
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0489"), 1);
    rig_found(rig, 0, one);
    rig_run(rig, RIG_MS(250));
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "peer.example");
    /* one that cannot even be asked */
    rig_not_found(rig, 0, APR_NOTFOUND);
    n->lookup_rv = APR_ENOMEM;
    rig_run(rig, SECONDS(6));
    n->lookup_rv = APR_SUCCESS;
    rig_run(rig, SECONDS(6));
    CU_ASSERT_PTR_NOT_NULL(n->lookup_done);
    rig_destroy(rig);
}

/** Its machine died; what has its name now has another address. */
static void test_name_moves(void)
{
    static const char *const lists[] = {"member=peer.example:4000", "member=10.0.0.1:4000",
                                        "member=10.0.0.1:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 3, lists);
    rig_node_t *n = &rig->node[0];

    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(200));
    rig_found(rig, 0, two);
    rig_run(rig, SECONDS(6));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_kill(rig, 1);
    rig_run(rig, SECONDS(30));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    rig_start(rig, 2, 0);
    rig_run(rig, SECONDS(20));
    CU_ASSERT_PTR_NOT_NULL_FATAL(n->lookup_done);
    rig_found(rig, 0, three);
    CU_ASSERT(n->forgets > 0);
    rig_run(rig, SECONDS(1));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 2));
    rig_destroy(rig);
}

/** A Tomcat is announced where what it is told arrives, and where its name leads to. */
static void test_name_foreign(void)
{
    static const char *const lists[] = {
        "member=peer.example:4000,uniqueId=02020202020202020202020202020202", NULL, NULL};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 3, lists);
    rig_node_t *n = &rig->node[0];
    const sc_member_t *seen[4];
    sc_address_t found[2];
    int i;

    n->config.mcast.accept_foreign = 1;
    memset(found, 0, sizeof(found));
    found[0].len = 16;
    found[0].host[0] = 0x20;
    found[1].len = 4;
    memcpy(found[1].host, "\x0a\0\0\2", 4);
    for (i = 0; i < 3; i++) { /* somebody answers probes there */
        rig_start(rig, i, 0);
    }
    rig_run(rig, RIG_MS(200));
    rig_found_these(rig, 0, found, 2);
    rig_run(rig, SECONDS(5));
    CU_ASSERT_EQUAL_FATAL(sc_channel_foreign(n->channel, seen, 4), 1);
    CU_ASSERT_EQUAL(seen[0]->host_len, 4);
    CU_ASSERT_EQUAL(seen[0]->host[3], 2);
    rig_run(rig, SECONDS(26));
    rig_kill(rig, 1);
    rig_found(rig, 0, three);
    rig_run(rig, SECONDS(5));
    CU_ASSERT_EQUAL_FATAL(sc_channel_foreign(n->channel, seen, 4), 1);
    CU_ASSERT_EQUAL(seen[0]->host[3], 3);
    rig_destroy(rig);
}

/* ---- members that die ----------------------------------------------------------------------- */

/** Nobody sends to it, and no TcpPing asks. */
static void test_silent(void)
{
    static const char *const lists[] = {"member=10.0.0.2:4000", "member=10.0.0.1:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 2, lists);

    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, SECONDS(20));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    rig_freeze(rig, 1);
    rig_run(rig, SECONDS(20));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 1);
    rig_thaw(rig, 1);
    rig_run(rig, SECONDS(8));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 0);
    rig_destroy(rig);
}

/** Heard by both; multicast misses it first. A loss that is none leaves no trace. */
static void test_lost_by_membership(void)
{
    static const char *const lists[] = {"member=10.0.0.2:4000", "member=10.0.0.1:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 2, lists);

    rig->node[0].deaf = rig->node[1].deaf = 0;
    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, SECONDS(6));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig->node[0].deaf = 1;
    rig_run(rig, SECONDS(20));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    rig->node[0].deaf = 0;
    rig_run(rig, SECONDS(2));
    rig_kill(rig, 1);
    rig_run(rig, SECONDS(7));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 1);
    rig_destroy(rig);
}

/* ---- members that do not come --------------------------------------------------------------- */

static void test_missed(void)
{
    static const char *const lists[] = {"member=10.0.0.2:4000", "member=10.0.0.1:4000"};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 2, lists);

    rig_start(rig, 0, 0);
    rig_run(rig, SECONDS(12));
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0523"), 0); /* it may start a little later */
    rig_run(rig, SECONDS(12));
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0523: member 10.0.0.2:4000 of StaticMembership cannot"), 1);
    rig_run(rig, SECONDS(200));
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0523"), 1);
    rig_start(rig, 1, 0);
    rig_run(rig, SECONDS(8));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_leave(rig, 1); /* and nobody misses it */
    rig_run(rig, SECONDS(100));
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0523"), 1);
    rig_start(rig, 1, 0);
    rig_run(rig, SECONDS(8));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_kill(rig, 1);
    rig_run(rig, SECONDS(60));
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0523"), 2);
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0524"), 0);
    rig_destroy(rig);
}

/** It is there, and does not know of this node. */
static void test_not_in_its_list(void)
{
    static const char *const lists[] = {"member=10.0.0.2:4000", NULL};
    rig_t *rig = listed(SC_MEMBERSHIP_MULTICAST, 2, lists);

    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, SECONDS(100));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(logged(rig, 0,
                           "SC0524: member 10.0.0.2:4000 of StaticMembership takes what it "
                           "is told but was not heard for 15 s; is there a node, and is n1 "
                           "(10.0.0.1:4000) in its list?"),
                    1);
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0523"), 0);
    rig->node[0].deaf = rig->node[1].deaf = 0; /* by multicast it is a member all the same */
    rig_start(rig, 0, 0);
    rig->node[0].log[0] = '\0';
    rig_run(rig, SECONDS(100));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(logged(rig, 0, "SC0524"), 0);
    rig_destroy(rig);
}

void links_static_tests(CU_pSuite s)
{
    CU_add_test(s, "StaticMembership: a name that is known later", test_name_later);
    CU_add_test(s, "StaticMembership: a name that is never answered", test_name_never);
    CU_add_test(s, "StaticMembership: a newcomer with a name", test_name_newcomer);
    CU_add_test(s, "StaticMembership: a name with both families", test_name_dual);
    CU_add_test(s, "StaticMembership: a name with many addresses", test_name_many);
    CU_add_test(s, "StaticMembership: beside membership by dns", test_name_busy);
    CU_add_test(s, "StaticMembership: a name that moves", test_name_moves);
    CU_add_test(s, "StaticMembership: a Tomcat with a name", test_name_foreign);
    CU_add_test(s, "StaticMembership: silence", test_silent);
    CU_add_test(s, "StaticMembership: lost by membership", test_lost_by_membership);
    CU_add_test(s, "StaticMembership: who does not come", test_missed);
    CU_add_test(s, "StaticMembership: not in its list", test_not_in_its_list);
}
