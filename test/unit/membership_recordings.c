/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Multicast with a secret: who has recorded what members said plays it again. A MAC says that a
 * member said it once; that it lives only a connection shows, as in the rig, where a probe of
 * another unique id than that of who is there fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"

void sc_suite_membership_recordings(CU_pSuite s);

static rig_t *secret_rig(int nodes)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, nodes);
    int i;

    for (i = 0; i < nodes; i++) {
        rig->node[i].config.secret.count = 1;
    }
    return rig;
}

static rig_t *secret_cluster(int nodes)
{
    rig_t *rig = secret_rig(nodes);
    int i;

    for (i = 0; i < nodes; i++) {
        rig_start(rig, i, 0);
    }
    rig_run(rig, apr_time_from_sec(10));
    return rig;
}

/** What a life of this node said that is over: an older one, by its age, with another unique id. */
static sc_member_t dead(rig_t *rig, int at, int other)
{
    const sc_member_t *m = rig_member(rig, at, other);
    sc_member_t d;

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    d = *m;
    memset(&d.uid, 0xAB, sizeof(d.uid));
    d.store_id ^= 0x55;
    d.alive_ms += (apr_uint64_t)3600 * 1000;
    d.said_ms = 1000;
    return d;
}

static void play(rig_t *rig, sc_member_t *m)
{
    sc_buf_t b;

    m->alive_ms++;
    sc_buf_init(&b, 4096);
    sc_member_put(&b, m);
    rig_inject(rig, b.data, b.len);
    sc_buf_free(&b);
}

static apr_uint64_t refused(rig_t *rig, int i)
{
    return rig->node[i].board.count.newcomers_refused;
}

/** It stood elsewhere: nobody there answers, and who has its route now does not go. */
static void test_dead_elsewhere(void)
{
    rig_t *rig = secret_cluster(3);
    sc_member_t d = dead(rig, 0, 1);
    int i;

    d.host[3] = 77;
    for (i = 0; i < 20; i++) {
        play(rig, &d);
        rig_run(rig, RIG_MS(400));
        CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
        CU_ASSERT_EQUAL(rig_members(rig, 2), 2);
    }
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    CU_ASSERT_EQUAL(rig->node[2].seen.gone, 0);
    CU_ASSERT_TRUE(refused(rig, 0) >= 3); /* a second is between two questions at least */
    CU_ASSERT_TRUE(refused(rig, 0) <= 9);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0426"));
    CU_ASSERT_PTR_NULL(strstr(rig->node[0].log, "SC0424"));
    rig_destroy(rig);
}

/** It stood where its successor stands, which is not heard for a moment, or for longer. */
static void test_dead_here(void)
{
    int silence;

    for (silence = 1300; silence <= 4300; silence += 1000) {
        rig_t *rig = secret_cluster(3);
        sc_member_t d = dead(rig, 0, 1);
        int i;

        rig->node[1].mute = 1;
        rig_run(rig, RIG_MS(silence));
        for (i = 0; i < 10; i++) {
            play(rig, &d);
            rig_run(rig, RIG_MS(300));
            CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
        }
        rig->node[1].mute = 0;
        for (i = 0; i < 10; i++) {
            play(rig, &d);
            rig_run(rig, RIG_MS(300));
            CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
        }
        CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
        CU_ASSERT_EQUAL(rig_suspects(rig, 0), 0);
        rig_destroy(rig);
    }
}

/** A node starts and hears the dead first. */
static void test_dead_first(void)
{
    int elsewhere;

    for (elsewhere = 0; elsewhere < 2; elsewhere++) {
        rig_t *rig = secret_cluster(3);
        sc_member_t d = dead(rig, 0, 1);
        int i;

        d.host[3] = elsewhere ? 77 : d.host[3];
        rig->node[1].mute = 1;
        rig_run(rig, RIG_MS(5)); /* what was on its way has arrived */
        rig_start(rig, 0, 0);
        for (i = 0; i < 5; i++) {
            play(rig, &d);
            rig_run(rig, RIG_MS(300));
        }
        CU_ASSERT_PTR_NULL(rig_member(rig, 0, 1));
        rig->node[1].mute = 0;
        for (i = 0; i < 20; i++) {
            play(rig, &d);
            rig_run(rig, RIG_MS(100));
        }
        CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 1));
        CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
        CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
        rig_destroy(rig);
    }
}

/** A true next life takes the place of the last one with its first word, while recordings of more
 *  lives are played than can be asked at a time. */
static void test_next_life_among_dead(void)
{
    rig_t *rig = secret_cluster(3);
    sc_member_t d = dead(rig, 0, 1);
    int i;
    int k;

    rig_kill(rig, 1);
    rig_start(rig, 1, 0);
    for (i = 0; i < 16; i++) { /* 1.6 s: it listens for a second before it says a word */
        for (k = 0; k < 2 * SC_MEMBERS_MAX; k++) {
            d.uid.b[0] = (unsigned char)k;
            d.host[3] = (unsigned char)(k % 2 == 0 ? 77 : 2);
            play(rig, &d);
        }
        rig_run(rig, RIG_MS(100));
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(rig_member(rig, 0, 1));
    CU_ASSERT_EQUAL(rig_member(rig, 0, 1)->uid.b[1], rig->node[1].lives);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
    rig_destroy(rig);
}

/** Of two that live the older stays, as without a secret; one that ended makes place at once. */
static void test_two_living(void)
{
    rig_t *rig = secret_rig(3);

    snprintf(rig->node[2].config.route, sizeof(rig->node[2].config.route), "n2");
    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, apr_time_from_sec(5));
    rig_start(rig, 2, 0);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 1));
    CU_ASSERT_PTR_NULL(rig_member(rig, 0, 2));
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0424"));
    CU_ASSERT_EQUAL(refused(rig, 0), 0);
    rig_kill(rig, 1);
    rig_run(rig, RIG_MS(700));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 2));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

/** A channel that stops while somebody is asked. */
static void test_stop_while_asking(void)
{
    rig_t *rig = secret_cluster(2);
    sc_member_t d = dead(rig, 0, 1);

    rig->node[1].frozen = 1;
    d.uid.b[0] = 1;
    play(rig, &d);
    rig_run(rig, RIG_MS(50));
    rig_leave(rig, 0);
    rig_start(rig, 0, 0);
    rig_thaw(rig, 1);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

void sc_suite_membership_recordings(CU_pSuite s)
{
    CU_add_test(s, "recordings: of a life elsewhere", test_dead_elsewhere);
    CU_add_test(s, "recordings: of a life at the same address", test_dead_here);
    CU_add_test(s, "recordings: heard first", test_dead_first);
    CU_add_test(s, "recordings: many, and a true next life", test_next_life_among_dead);
    CU_add_test(s, "recordings: two that live", test_two_living);
    CU_add_test(s, "recordings: a stop while somebody is asked", test_stop_while_asking);
}
