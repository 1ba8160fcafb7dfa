/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Part of the membership's tests: members that are listed by a name.
 *
 * Node 0 has names in its list, which the test answers for; the others list everybody by address.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"

#define START "Local StaticMember Notification Data"

void sc_suite_membership_names(CU_pSuite s);

/** Node 0 with a list of itself, and so many others by name: "m2.example" and so on. */
static rig_t *named(int others)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_STATIC, RIG_NODES);
    sc_config_t *c = &rig->node[0].config;
    int i;

    c->nmembers = (apr_uint32_t)others + 1;
    for (i = 1; i <= others; i++) {
        snprintf(c->member[i].host, sizeof(c->member[i].host), "m%d.example", i + 1);
    }
    return rig;
}

static int count(const char *text, const char *what)
{
    int n = 0;

    while ((text = strstr(text, what)) != NULL) {
        n++;
        text++;
    }
    return n;
}

/** Answer with one address, 10.0.0.<number>. */
static void found(rig_t *rig, int number)
{
    int numbers[2] = {0, 0};

    numbers[0] = number;
    rig_found(rig, 0, numbers);
    rig_run(rig, 0);
}

/** A greeting from a node of ours that the rig does not have. */
static void greeting(rig_t *rig, int number)
{
    rig_node_t *n = &rig->node[0];
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    p.options = SC_OPT_BYTE_MESSAGE;
    p.body = (const unsigned char *)START;
    p.body_len = sizeof(START) - 1;
    p.from.port = 4000;
    p.from.secure_port = p.from.udp_port = -1;
    p.from.host_len = 4;
    p.from.host[0] = 10;
    p.from.host[3] = (unsigned char)number;
    p.from.uid.b[0] = (unsigned char)number;
    p.from.ours = 1;
    p.from.version = SC_PROTOCOL_VERSION;
    p.from.store_id = (apr_uint64_t)number;
    snprintf(p.from.route, sizeof(p.from.route), "r%d", number);
    CU_ASSERT_EQUAL(n->transport_up.packet(n->transport_up.baton, &p), APR_SUCCESS);
    rig_run(rig, 0);
}

/** Addresses need nobody to look them up, and do not wait for those that do. */
static void test_numeric(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_STATIC, 3);

    rig_run(rig, apr_time_from_sec(200));
    CU_ASSERT_EQUAL(rig->node[0].lookups, 0);
    rig_destroy(rig);

    rig = named(2);
    strcpy(rig->node[0].config.member[1].host, "10.0.0.2");
    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(10));
    rig_start(rig, 0, 0);
    CU_ASSERT_EQUAL(rig->node[0].control_frames, 1); /* from within its start */
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_STRING_EQUAL(rig->node[0].lookup_name, "m3.example");
    rig_destroy(rig);
}

/** Looked up one after the other; settled when all are known, and one of them is not there. */
static void test_found(void)
{
    rig_t *rig = named(2);
    rig_node_t *n = &rig->node[0];

    rig_start(rig, 1, 0);
    rig_start(rig, 0, 0);
    CU_ASSERT_EQUAL(n->control_frames, 0);
    rig_run(rig, RIG_MS(2500));
    CU_ASSERT_EQUAL(n->seen.settled, 0); /* it may have company */
    CU_ASSERT_EQUAL(n->lookups, 1);
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "m2.example");
    found(rig, 2);
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "m3.example");
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(n->seen.settled, 0);
    found(rig, 3);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    CU_ASSERT_EQUAL(n->seen.added_before_settled, 1);
    CU_ASSERT_EQUAL(count(n->log, "SC0564"), 2);
    CU_ASSERT_EQUAL(count(n->log, "SC0443"), 0);
    rig_destroy(rig);
}

/** A name that nobody has entered yet: soon it is. */
static void test_entered_late(void)
{
    rig_t *rig = named(1);
    rig_node_t *n = &rig->node[0];
    int i;

    rig_start(rig, 0, 0);
    rig_run(rig, 0);
    rig_not_found(rig, 0, APR_NOTFOUND);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    CU_ASSERT_EQUAL(count(n->log, "SC0443"), 1);
    for (i = 0; i < 5; i++) {
        rig_run(rig, RIG_MS(3900));
        CU_ASSERT_EQUAL(n->lookups, i + 1);
        rig_run(rig, RIG_MS(2100));
        CU_ASSERT_EQUAL(n->lookups, i + 2);
        rig_not_found(rig, 0, i % 2 ? APR_NOTFOUND : APR_TIMEUP);
    }
    CU_ASSERT_EQUAL(count(n->log, "SC0443"), 1); /* once a minute */
    rig_run(rig, RIG_MS(6000));
    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    found(rig, 2);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

/** It is there before its name is: its greeting makes us look, and is no reason to complain. */
static void test_newcomer(void)
{
    rig_t *rig = named(1);
    rig_node_t *n = &rig->node[0];
    int before;

    rig_start(rig, 0, 0);
    rig_run(rig, 0);
    rig_not_found(rig, 0, APR_NOTFOUND);
    rig_run(rig, RIG_MS(2000));
    CU_ASSERT_EQUAL(n->lookups, 1);
    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(5));
    CU_ASSERT_EQUAL(n->lookups, 2);
    found(rig, 2);
    rig_run(rig, RIG_MS(600));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(count(n->log, "SC0441"), 0);
    /* whose address is none of the name's: looked up once a second at most, and told */
    rig_kill(rig, 1);
    rig_run(rig, RIG_MS(5000));
    if (n->lookup_done != NULL) {
        found(rig, 2);
    }
    before = n->lookups;
    while (rig->now % apr_time_from_sec(1000) < apr_time_from_sec(20)) {
        greeting(rig, 77);
        rig_run(rig, RIG_MS(100));
        if (n->lookup_done != NULL) {
            found(rig, 2);
        }
    }
    CU_ASSERT(n->lookups - before >= 6 && n->lookups - before <= 13);
    CU_ASSERT_EQUAL(count(n->log, "SC0441"), 1);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    rig_destroy(rig);
}

/** A member that comes back at another address. */
static void test_moved(void)
{
    rig_t *rig = named(1);
    rig_node_t *n = &rig->node[0];
    int i;

    rig_start(rig, 1, 0);
    rig_start(rig, 0, 0);
    rig_run(rig, 0);
    found(rig, 2);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_run(rig, apr_time_from_sec(50));
    CU_ASSERT_EQUAL(n->lookups, 1); /* it speaks */
    rig_kill(rig, 1);
    for (i = 0; i < 12 && n->lookup_done == NULL; i++) {
        rig_run(rig, apr_time_from_sec(1));
    }
    CU_ASSERT(i <= 6); /* it does not */
    rig_start(rig, 3, 0);
    found(rig, 4);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 3));
    CU_ASSERT_EQUAL(count(n->log, "SC0565"), 0); /* it may have two addresses */
    rig_run(rig, apr_time_from_sec(61));
    found(rig, 4);
    CU_ASSERT_EQUAL(count(n->log, "SC0565: member m2.example has no longer the address 10.0.0.2"),
                    1);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(n->seen.gone, 1);
    rig_destroy(rig);
}

/** What a name server says does not end a member that speaks, nor does its silence. */
static void test_doubtful_answers(void)
{
    static const int all[] = {2, 5, 0};
    static const int turned[] = {5, 2, 0};
    static const int many[] = {6, 7, 8, 9, 10, 11, 0};
    rig_t *rig = named(1);
    rig_node_t *n = &rig->node[0];
    int i;

    rig_start(rig, 1, 0);
    rig_start(rig, 0, 0);
    rig_run(rig, 0);
    rig_found(rig, 0, all);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    for (i = 0; i < 7; i++) {
        rig_run(rig, apr_time_from_sec(61));
        CU_ASSERT_PTR_NOT_NULL_FATAL(n->lookup_done);
        if (i == 0) {
            rig_found(rig, 0, turned);
            CU_ASSERT_EQUAL(count(n->log, "SC0564"), 2);
        } else if (i < 3) {
            rig_not_found(rig, 0, APR_NOTFOUND);
            CU_ASSERT_EQUAL(count(n->log, "it stays where it was"), i);
        } else {
            rig_found(rig, 0, many);
        }
    }
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(n->seen.gone, 0);
    CU_ASSERT_EQUAL(n->seen.added, 1);
    CU_ASSERT_PTR_NULL(strstr(n->log, "no longer the address 10.0.0.2"));
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "no longer the address 10.0.0.5"));
    rig_destroy(rig);
}

/** A name server that does not answer holds nothing up but the look-ups. */
static void test_hangs(void)
{
    rig_t *rig = named(2);
    rig_node_t *n = &rig->node[0];

    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(14900));
    CU_ASSERT_EQUAL(n->lookups, 1);
    CU_ASSERT_EQUAL(n->seen.settled, 0);
    rig_run(rig, RIG_MS(200));
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    rig_not_found(rig, 0, APR_TIMEUP);
    rig_run(rig, 0);
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "m3.example");
    rig_not_found(rig, 0, APR_TIMEUP);
    rig_run(rig, RIG_MS(5000));
    CU_ASSERT_STRING_EQUAL(n->lookup_name, "m2.example");
    /* stopped meanwhile */
    sc_channel_stop(n->channel);
    found(rig, 2);
    rig_run(rig, apr_time_from_sec(10));
    CU_ASSERT_EQUAL(n->control_frames, 0);
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    rig_destroy(rig);
}

/** Others ask, too; or nobody can be asked. */
static void test_busy(void)
{
    rig_t *rig = named(1);
    rig_node_t *n = &rig->node[0];

    n->lookup_rv = APR_EBUSY;
    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(2500));
    CU_ASSERT_EQUAL(n->seen.settled, 0);
    CU_ASSERT_EQUAL(count(n->log, "SC0443"), 0);
    n->lookup_rv = APR_SUCCESS;
    rig_run(rig, RIG_MS(1000));
    CU_ASSERT_EQUAL(n->lookups, 1);
    rig_destroy(rig);

    rig = named(1);
    n = &rig->node[0];
    n->lookup_rv = APR_ENOTIMPL;
    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    CU_ASSERT_EQUAL(count(n->log, "SC0443"), 1);
    rig_run(rig, apr_time_from_sec(20));
    n->lookup_rv = APR_SUCCESS;
    rig_run(rig, apr_time_from_sec(6));
    CU_ASSERT_EQUAL(n->lookups, 1);
    rig_destroy(rig);
}

/** A name of this node's own. */
static void test_self(void)
{
    rig_t *rig = named(1);
    rig_node_t *n = &rig->node[0];

    rig_start(rig, 0, 0);
    rig_run(rig, 0);
    found(rig, 1);
    CU_ASSERT_EQUAL(n->seen.settled, 1);
    rig_run(rig, apr_time_from_sec(50));
    CU_ASSERT_EQUAL(n->control_frames, 0);
    CU_ASSERT_EQUAL(n->lookups, 1);
    rig_destroy(rig);
}

void sc_suite_membership_names(CU_pSuite s)
{
    CU_add_test(s, "static: addresses need no resolver", test_numeric);
    CU_add_test(s, "static: names are found", test_found);
    CU_add_test(s, "static: a name that is entered late", test_entered_late);
    CU_add_test(s, "static: a newcomer with a name", test_newcomer);
    CU_add_test(s, "static: a member that moved", test_moved);
    CU_add_test(s, "static: doubtful answers", test_doubtful_answers);
    CU_add_test(s, "static: a name server that hangs", test_hangs);
    CU_add_test(s, "static: others ask, too", test_busy);
    CU_add_test(s, "static: this node's own name", test_self);
}
