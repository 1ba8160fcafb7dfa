/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Throughput, DomainFilter, TcpPing and StaticMembership in whole channels on the simulated
 * network. Each of them alone, and what a configuration may say, is tested in links_*.c.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "links_rig.h"

void sc_suite_links(void);

static apr_pool_t *pool;

static int suite_cleanup(void)
{
    apr_pool_destroy(pool);
    return 0;
}

void links_add(sc_config_t *c, const char *name, ...)
{
    sc_config_interceptor_t *i = &c->interceptor[c->ninterceptors++];
    const char *arg;
    va_list args;

    memset(i, 0, sizeof(*i));
    apr_cpystrn(i->name, name, sizeof(i->name));
    va_start(args, name);
    while ((arg = va_arg(args, const char *)) != NULL) {
        sc_config_attr_t *a = &i->attr[i->nattrs++];
        apr_size_t n = strcspn(arg, "=");

        memcpy(a->name, arg, n);
        apr_cpystrn(a->value, arg + n + 1, sizeof(a->value));
    }
    va_end(args);
}

static const char *said(rig_t *rig, int i, const char *what)
{
    return strstr(rig->node[i].log, what);
}

static int times_said(rig_t *rig, int i, const char *what)
{
    const char *p = rig->node[i].log;
    int n = 0;

    while ((p = strstr(p, what)) != NULL) {
        n++;
        p++;
    }
    return n;
}

/* ---- Throughput ----------------------------------------------------------------------------- */

static void test_throughput(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 2);
    rig_end_t end = {0, APR_SUCCESS};
    int i;

    for (i = 0; i < 2; i++) {
        links_add(&rig->node[i].config, "Throughput", "interval=4", NULL);
        links_add(&rig->node[i].config, "TcpFailureDetector", NULL);
        rig_start(rig, i, 0);
    }
    rig_run(rig, SECONDS(3));
    CU_ASSERT_PTR_NULL(said(rig, 0, "SC0481"));
    for (i = 0; i < 9; i++) {
        CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "x", 6, rig_ended, &end), APR_SUCCESS);
        rig_run(rig, SECONDS(1));
    }
    CU_ASSERT_EQUAL(end.calls, 9);
    CU_ASSERT_PTR_NOT_NULL(said(rig, 0, "SC0481: throughput: sent 4 messages, 0.00 MB"));
    CU_ASSERT_PTR_NOT_NULL(said(rig, 0, "SC0481: throughput: sent 8 messages"));
    CU_ASSERT_PTR_NOT_NULL(said(rig, 0, " 0 failed; received 0 messages"));
    CU_ASSERT_PTR_NOT_NULL(said(rig, 1, "sent 0 messages"));
    CU_ASSERT_PTR_NOT_NULL(said(rig, 1, "received 4 messages"));
    rig_destroy(rig);
}

/* ---- DomainFilter --------------------------------------------------------------------------- */

/** Two groups on one address. */
static void test_domains(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 4);
    int i;
    int k;

    for (i = 0; i < 4; i++) {
        sc_config_t *c = &rig->node[i].config;

        strcpy(c->mcast.domain, i < 2 ? "left" : "right");
        links_add(c, "MessageDispatch", NULL);
        links_add(c, "DomainFilter", i < 2 ? "domain=left" : "domain=right", "logInterval=3", NULL);
        links_add(c, "TcpFailureDetector", NULL);
        rig_start(rig, i, 0);
    }
    rig_run(rig, SECONDS(4));
    for (i = 0; i < 4; i++) {
        for (k = 0; k < 4; k++) {
            CU_ASSERT_EQUAL(rig_member(rig, i, k) != NULL, i != k && (i < 2) == (k < 2));
        }
        CU_ASSERT_EQUAL(rig->node[i].seen.settled, 1);
        CU_ASSERT_EQUAL(rig->node[i].board.count.members_hidden, 2);
        CU_ASSERT_EQUAL(times_said(rig, i, "SC0504"), 1);
    }
    CU_ASSERT_PTR_NOT_NULL(said(rig, 0, "is in domain \"right\", not in \"left\": DomainFilter"));
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "in", 6, NULL, NULL), APR_SUCCESS);
    rig_run(rig, SECONDS(1));
    CU_ASSERT_STRING_EQUAL(rig->node[1].seen.all, "in ");
    rig_kill(rig, 1);
    rig_run(rig, SECONDS(6));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(rig_members(rig, 2), 1);
    /* what the others send all the same */
    {
        sc_packet_t p;
        rig_node_t *n = &rig->node[0];
        apr_uint64_t ignored;

        memset(&p, 0, sizeof(p));
        p.from = *sc_channel_local(rig->node[2].channel);
        p.options = 6 | SC_OPT_BYTE_MESSAGE;
        p.body = (const unsigned char *)"hello";
        p.body_len = 5;
        for (i = 0; i < 7; i++) {
            CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &p), APR_EGENERAL);
        }
        CU_ASSERT_EQUAL(n->seen.messages, 0);
        CU_ASSERT_EQUAL(n->board.count.frames_refused, 7);
        CU_ASSERT_EQUAL(times_said(rig, 0, "SC0482"), 1);
        CU_ASSERT_PTR_NOT_NULL(said(rig, 0,
                                    "SC0482: 1 messages of members outside domain "
                                    "\"left\" were refused, the last one of n3"));
        rig_run(rig, SECONDS(10)); /* the next line has been due since the 4th one */
        CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &p), APR_EGENERAL);
        CU_ASSERT_EQUAL(times_said(rig, 0, "SC0482"), 2);
        CU_ASSERT_PTR_NOT_NULL(said(rig, 0, "SC0482: 8 messages"));
        p.from.domain_len = 4;
        memcpy(p.from.domain, "left", 4);
        ignored = n->board.count.ignored; /* it passes, but the channel has no such member */
        CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &p), APR_EGENERAL);
        CU_ASSERT_EQUAL(n->board.count.frames_refused, 8);
        CU_ASSERT_EQUAL(n->board.count.ignored, ignored + 1);
        CU_ASSERT_EQUAL(n->seen.messages, 0);
    }
    rig_destroy(rig);
}

/** One without a filter hears both; a member that changes its domain comes or goes. */
static void test_domain_changes(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 2);

    links_add(&rig->node[0].config, "DomainFilter", NULL);
    links_add(&rig->node[0].config, "TcpFailureDetector", NULL);
    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, SECONDS(4));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    strcpy(rig->node[1].config.mcast.domain, "elsewhere");
    rig_start(rig, 1, 1); /* a new life, with a domain */
    rig_run(rig, SECONDS(8));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(rig_members(rig, 1), 1);
    rig->node[1].config.mcast.domain[0] = '\0';
    rig_start(rig, 1, 1);
    rig_run(rig, SECONDS(8));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

/* ---- TcpPing -------------------------------------------------------------------------------- */

/** One that hangs: how long until it is gone, in milliseconds. */
static int time_to_find(int with_ping)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 2);
    int ms;
    int i;

    for (i = 0; i < 2; i++) {
        if (with_ping) {
            links_add(&rig->node[i].config, "TcpPing", "interval=200", NULL);
        }
        links_add(&rig->node[i].config, "TcpFailureDetector", NULL);
        rig->node[i].config.mcast.drop_ms = 10000;
        rig_start(rig, i, 0);
    }
    rig_run(rig, SECONDS(4));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 0); /* the detector asks, not the ping */
    rig_freeze(rig, 1);
    for (ms = 0; rig_members(rig, 0) > 0 && ms < 60000; ms += 100) {
        rig_run(rig, RIG_MS(100));
    }
    rig_thaw(rig, 1);
    rig_run(rig, SECONDS(4));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1); /* and it is welcome again */
    rig_destroy(rig);
    return ms;
}

static void test_ping_detector(void)
{
    CU_ASSERT(time_to_find(1) < 4000); /* the simulated network's answer takes 3 s to fail */
    CU_ASSERT(time_to_find(0) > 10000);
}

static void test_ping_message(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 2);
    sc_packet_t p;
    unsigned char *body = rig_captured("interceptor-tcpping.bin", &p);
    rig_node_t *n = &rig->node[0];
    apr_uint64_t ignored;
    int i;

    links_add(&n->config, "TcpPing", "interval=1000", NULL);
    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(4500));
    i = n->control_frames;
    CU_ASSERT(i >= 2);
    rig_run(rig, SECONDS(10));
    CU_ASSERT_EQUAL(n->control_frames, i + 10);
    CU_ASSERT_EQUAL(rig->node[1].seen.messages, 0); /* it is no byte message for anybody */
    rig_freeze(rig, 1);
    rig_run(rig, SECONDS(2));
    rig_kill(rig, 1);
    i = n->control_frames;
    rig_run(rig, SECONDS(2)); /* still in the list */
    CU_ASSERT(n->control_frames > i);
    CU_ASSERT_EQUAL(times_said(rig, 0, "SC0483: member n2 (10.0.0.2:4000) could not be pinged"), 1);
    rig_run(rig, SECONDS(8));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    i = n->control_frames;
    rig_run(rig, SECONDS(5));
    CU_ASSERT_EQUAL(n->control_frames, i); /* nobody is left */
    /* Tomcat's is swallowed, whatever its options say; a longer one and a shorter one are not */
    p.options = SC_OPT_BYTE_MESSAGE;
    CU_ASSERT_EQUAL(p.body_len, 64);
    p.from.ours = 1;
    ignored = n->board.count.ignored;
    CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &p), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->board.count.ignored, ignored);
    p.body_len = 63; /* comes up, and is of nobody who is a member */
    CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &p), APR_EGENERAL);
    CU_ASSERT_EQUAL(n->board.count.ignored, ignored + 1);
    free(body);
    rig_destroy(rig);
}

static rig_t *apart(int nodes)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, nodes);
    int i;

    for (i = 0; i < nodes; i++) {
        sc_config_t *c = &rig->node[i].config;

        links_add(c, "TcpPing", "interval=500", NULL);
        links_add(c, "MessageDispatch", NULL);
        links_add(c, "TcpFailureDetector", NULL);
        links_add(c, PLACE, "member=10.0.0.1:4000", "member=10.0.0.2:4000", "member=10.0.0.3:4000",
                  NULL);
        rig->node[i].deaf = 1; /* multicast does not reach */
    }
    return rig;
}

/** Members that no multicast reaches. */
static void test_static_cluster(void)
{
    rig_t *rig = apart(3);
    int i;

    for (i = 0; i < 3; i++) {
        rig_start(rig, i, 0);
        rig_run(rig, RIG_MS(300));
    }
    rig_run(rig, SECONDS(3));
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(rig_members(rig, i), 2);
        CU_ASSERT_EQUAL(rig->node[i].seen.settled, 1);
    }
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "x", 6, NULL, NULL), APR_SUCCESS);
    sc_channel_announce(rig->node[1].channel, SC_NODE_READY);
    rig_run(rig, SECONDS(1));
    CU_ASSERT_STRING_EQUAL(rig->node[1].seen.all, "x ");
    CU_ASSERT_EQUAL_FATAL(rig_members(rig, 0), 2);
    CU_ASSERT_EQUAL(rig_member(rig, 0, 1)->node_state, SC_NODE_READY);
    rig_leave(rig, 1);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig->node[0].seen.goodbye, 1);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_kill(rig, 2);
    rig_run(rig, SECONDS(4)); /* asked by TcpPing */
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    rig_start(rig, 2, 1);
    rig_start(rig, 1, 0);
    rig_run(rig, SECONDS(8));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
    CU_ASSERT_EQUAL(rig_members(rig, 1), 2);
    CU_ASSERT_EQUAL(rig_members(rig, 2), 2);
    rig_destroy(rig);
}

void sc_suite_links(void)
{
    CU_pSuite s = CU_add_suite("links", NULL, suite_cleanup);

    (void)apr_pool_create(&pool, NULL);
    links_config_tests(s, pool);
    links_one_tests(s, pool);
    CU_add_test(s, "Throughput: in a channel", test_throughput);
    CU_add_test(s, "DomainFilter: two groups", test_domains);
    CU_add_test(s, "DomainFilter: a member that moves", test_domain_changes);
    CU_add_test(s, "TcpPing: a detector below", test_ping_detector);
    CU_add_test(s, "TcpPing: its own message", test_ping_message);
    CU_add_test(s, "StaticMembership: where multicast does not reach", test_static_cluster);
    links_static_tests(s);
}
