/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Whole channels against each other on a simulated network: who is a member when. What becomes of
 * records is in channel_records.c.
 */
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"

void sc_suite_channel(void);
void sc_suite_channel_records(CU_pSuite s);

#define SYNC (SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK)

/* ---- members -------------------------------------------------------------------------------- */

static void join_and_leave(sc_membership_kind_t membership)
{
    rig_t *rig = rig_cluster(membership, 3);

    rig_start(rig, 3, 0); /* not in anybody's static list */
    rig_run(rig, RIG_MS(2500));
    CU_ASSERT_EQUAL(rig_members(rig, 0), membership == SC_MEMBERSHIP_STATIC ? 2 : 3);
    CU_ASSERT_EQUAL(rig->node[3].seen.settled, 1);

    rig_leave(rig, 1);
    CU_ASSERT_PTR_NULL(rig_member(rig, 0, 1)); /* at once, without waiting for anything */
    CU_ASSERT_PTR_NULL(rig_member(rig, 2, 1));
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.goodbye, 1);
    CU_ASSERT_EQUAL(rig->node[0].forgets, 1); /* its connections go with it */
    rig_run(rig, apr_time_from_sec(10));
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 1);
    rig_destroy(rig);
}

static void test_join_and_leave(void)
{
    join_and_leave(SC_MEMBERSHIP_MULTICAST);
    join_and_leave(SC_MEMBERSHIP_STATIC);
}

static void drop_after_drop_time(sc_membership_kind_t membership)
{
    rig_t *rig = rig_cluster(membership, 3);

    rig_kill(rig, 2);
    rig_run(rig, RIG_MS(2400));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 2));
    rig_run(rig, RIG_MS(1700)); /* dropTime 3000, at most a frequency more, and the probe */
    CU_ASSERT_PTR_NULL(rig_member(rig, 0, 2));
    CU_ASSERT_PTR_NULL(rig_member(rig, 1, 2));
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.goodbye, 0);
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 1));
    /* and it comes back */
    rig_start(rig, 2, 0);
    rig_run(rig, RIG_MS(2500));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 2);
    CU_ASSERT_EQUAL(rig_members(rig, 2), 2);
    rig_destroy(rig);
}

static void test_drop_after_drop_time(void)
{
    drop_after_drop_time(SC_MEMBERSHIP_MULTICAST);
    drop_after_drop_time(SC_MEMBERSHIP_STATIC);
}

static void test_oldest_first(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 4);
    const sc_member_t *m[4];
    int i;

    for (i = 3; i >= 0; i--) {
        rig_start(rig, i, 0);
        rig_run(rig, RIG_MS(5000));
    }
    CU_ASSERT_EQUAL_FATAL(sc_channel_members(rig->node[0].channel, m, 4), 3);
    CU_ASSERT_STRING_EQUAL(m[0]->route, "n4");
    CU_ASSERT_STRING_EQUAL(m[1]->route, "n3");
    CU_ASSERT_STRING_EQUAL(m[2]->route, "n2");
    CU_ASSERT_EQUAL_FATAL(sc_channel_members(rig->node[3].channel, m, 2), 2);
    CU_ASSERT_STRING_EQUAL(m[0]->route, "n3");
    rig_destroy(rig);
}

/** A process that is stopped does not answer, although its kernel takes everything. */
static void freeze(sc_membership_kind_t membership)
{
    rig_t *rig = rig_cluster(membership, 3);

    rig_freeze(rig, 1);
    rig_run(rig, RIG_MS(7500)); /* silence, then the probe's timeouts */
    CU_ASSERT_PTR_NULL(rig_member(rig, 0, 1));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_thaw(rig, 1);
    rig_run(rig, RIG_MS(4000));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 1));
    /* it did not lose the others, because they had not been silent, only it did not listen */
    CU_ASSERT_EQUAL(rig->node[1].seen.gone, 0);
    CU_ASSERT_EQUAL(rig_members(rig, 1), 2);
    rig_destroy(rig);
}

static void test_freeze(void)
{
    freeze(SC_MEMBERSHIP_MULTICAST);
    freeze(SC_MEMBERSHIP_STATIC);
}

static void test_suspect_that_answers(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    int changed = rig->node[0].seen.changed;

    rig->node[1].mute = 1; /* its datagrams get lost, its receiver answers */
    rig_run(rig, RIG_MS(5000));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 0, 1));
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    CU_ASSERT(rig->node[0].seen.changed > changed);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "to a suspect", SYNC, NULL, NULL), APR_SUCCESS);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_STRING_EQUAL(rig->node[1].seen.last, "to a suspect");

    rig->node[1].mute = 0;
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.added, 1);

    /* a suspect that stops answering is gone with the next probe */
    rig->node[1].mute = 1;
    rig_run(rig, RIG_MS(5000));
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 1);
    rig_kill(rig, 1);
    rig_run(rig, RIG_MS(1100));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    rig_destroy(rig);
}

/** removeSuspectsTimeout: who cannot be heard for so long is no member, answer or not. */
static void test_suspect_for_too_long(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);

    rig->node[1].mute = 1;
    rig_run(rig, apr_time_from_sec(290));
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 1);
    rig_run(rig, apr_time_from_sec(20));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    rig->node[1].mute = 0;
    rig_run(rig, apr_time_from_sec(1));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

static void restart(int keep_store, const char *address)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    int life = rig->node[1].lives;

    if (address != NULL) {
        strcpy(rig->node[1].config.receiver.address, address);
    }
    rig_start(rig, 1, keep_store); /* without a word, as after a crash */
    rig_run(rig, RIG_MS(1100));
    /* well before dropTime */
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.goodbye, 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.last_gone.uid.b[1], life);
    CU_ASSERT_EQUAL(rig->node[0].seen.added, 2);
    CU_ASSERT_EQUAL(rig->node[0].seen.last_added.uid.b[1], life + 1);
    rig_run(rig, apr_time_from_sec(10));
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.added, 2);
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 0);
    rig_destroy(rig);
}

static void test_restart(void)
{
    restart(0, NULL);
    restart(1, NULL);
}

/** An engine's next life may come up before the heartbeats of the former one have all arrived. */
static void test_late_heartbeat_of_former_life(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    sc_member_t old = *rig_member(rig, 0, 1);
    sc_buf_t b;

    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(1100));
    CU_ASSERT_EQUAL(rig->node[0].seen.added, 2);
    sc_buf_init(&b, 1024);
    sc_member_put(&b, &old);
    rig_inject(rig, b.data, b.len);
    rig_run(rig, RIG_MS(1100));
    CU_ASSERT_EQUAL(rig->node[0].seen.added, 2);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 1);
    sc_buf_free(&b);
    rig_destroy(rig);
}

/** Two nodes of one route never take each other; a third takes the older. */
static void test_duplicate_route(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 3);

    strcpy(rig->node[1].config.route, "n1");
    rig_start(rig, 0, 0);
    rig_run(rig, apr_time_from_sec(5));
    rig_start(rig, 1, 0);
    rig_start(rig, 2, 0);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_PTR_NULL(rig_member(rig, 0, 1));
    CU_ASSERT_PTR_NULL(rig_member(rig, 1, 0));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 2, 0));
    CU_ASSERT_PTR_NULL(rig_member(rig, 2, 1));
    /* both of them say who the two are */
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "n1 (10.0.0.1:4000) and n1 (10.0.0.2:4000)"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[1].log, "n1 (10.0.0.2:4000) and n1 (10.0.0.1:4000)"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[2].log, "SC0424"));
    /* once a minute is often enough */
    CU_ASSERT_PTR_NULL(strstr(strstr(rig->node[0].log, "SC0423") + 1, "SC0423"));
    /* when the older is gone the other is welcome */
    rig_leave(rig, 0);
    rig_run(rig, RIG_MS(1100));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 2, 1));
    rig_destroy(rig);
}

/** Heard in the wrong order, the older still wins. */
static void test_duplicate_route_older_wins(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 3);

    strcpy(rig->node[1].config.route, "n1");
    rig_start(rig, 0, 0);
    rig_run(rig, apr_time_from_sec(5));
    rig_start(rig, 1, 0);
    rig_cut(rig, 0, 2, 1);
    rig_start(rig, 2, 0);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 2, 1));
    rig_cut(rig, 0, 2, 0);
    rig_run(rig, apr_time_from_sec(2));
    CU_ASSERT_PTR_NULL(rig_member(rig, 2, 1));
    CU_ASSERT_PTR_NOT_NULL(rig_member(rig, 2, 0));
    rig_run(rig, apr_time_from_sec(60));
    CU_ASSERT_EQUAL(rig->node[2].seen.added, 2); /* and it stays at that */
    rig_destroy(rig);
}

static void test_foreign_guard(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 2);
    sc_buf_t b;
    int i;

    sc_buf_init(&b, 1024);
    rig_foreign(&b, "10.0.0.77", 4000);
    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(700));
    rig_inject(rig, b.data, b.len);
    rig_run(rig, RIG_MS(100));
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1); /* no reason to wait any longer */
    rig_run(rig, apr_time_from_sec(30));
    CU_ASSERT_EQUAL(rig->node[0].datagrams, 0);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0432: foreign member 10.0.0.77:4000"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "228.0.0.4:45565"));
    CU_ASSERT_PTR_NULL(strstr(strstr(rig->node[0].log, "SC0432") + 1, "SC0432"));
    /* said again after ten minutes, and not a single datagram at the end either */
    rig_run(rig, apr_time_from_sec(590));
    CU_ASSERT_PTR_NOT_NULL(strstr(strstr(rig->node[0].log, "SC0432") + 1, "SC0432"));
    rig_leave(rig, 0);
    CU_ASSERT_EQUAL(rig->node[0].datagrams, 0);

    /* a cluster that is there already stays */
    rig_start(rig, 0, 0);
    rig_start(rig, 1, 0);
    rig_run(rig, RIG_MS(3000));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    for (i = 0; i < 20; i++) {
        rig_inject(rig, b.data, b.len);
        rig_run(rig, RIG_MS(500));
    }
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.gone, 0);
    CU_ASSERT(rig->node[0].board.count.datagrams_refused >= 20);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0433"));
    CU_ASSERT_PTR_NULL(strstr(strstr(rig->node[0].log, "SC0433") + 1, "SC0433"));
    sc_buf_free(&b);
    rig_destroy(rig);
}

static void test_alone(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_NONE, 1);

    rig_start(rig, 0, 0);
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 0); /* never from within the call */
    rig_run(rig, 1);
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(rig->node[0].datagrams, 0);
    sc_channel_announce(rig->node[0].channel, SC_NODE_READY);
    rig_destroy(rig);
}

static void announce(sc_membership_kind_t membership)
{
    rig_t *rig = rig_cluster(membership, 2);
    int before = rig->node[1].seen.changed;
    sc_view_t view;

    sc_channel_announce(rig->node[0].channel, SC_NODE_JOINING);
    sc_channel_announce(rig->node[0].channel, SC_NODE_READY);
    rig_run(rig, RIG_MS(10)); /* not with the next heartbeat, now */
    CU_ASSERT(rig->node[1].seen.changed > before);
    CU_ASSERT_EQUAL(rig_member(rig, 1, 0)->node_state, SC_NODE_READY);
    memset(&view, 0, sizeof(view));
    sc_channel_view(rig->node[1].channel, &view);
    CU_ASSERT_EQUAL_FATAL(view.count, 2);
    CU_ASSERT_EQUAL(view.member[0].self, 1);
    CU_ASSERT_STRING_EQUAL(view.member[0].route, "n2");
    CU_ASSERT_EQUAL(view.member[1].self, 0);
    CU_ASSERT_STRING_EQUAL(view.member[1].route, "n1");
    CU_ASSERT_STRING_EQUAL(view.member[1].host, "10.0.0.1");
    CU_ASSERT_EQUAL(view.member[1].port, 4000);
    CU_ASSERT_EQUAL(view.member[1].state, SC_MEMBER_ALIVE);
    CU_ASSERT_EQUAL(view.member[1].node_state, SC_NODE_READY);
    CU_ASSERT(view.member[1].heard > rig->now - RIG_MS(600));
    rig_destroy(rig);
}

static void test_announce(void)
{
    announce(SC_MEMBERSHIP_MULTICAST);
    announce(SC_MEMBERSHIP_STATIC);
}

/** What nodes say about their workers is on the board; what no balancer may use is left out, and
 *  counted once, whatever follows it. */
static void announce_worker(sc_membership_kind_t membership)
{
    rig_t *rig = rig_cluster(membership, 3);
    static sc_view_t view;
    int joined = rig_members(rig, 0), i;

    strcpy(rig->node[1].config.url, "http://10.0.0.2:8080/app");
    rig->node[1].config.weight = 3;
    rig->node[1].config.lbset = 2;
    strcpy(rig->node[2].config.url, "http://127.0.0.1:8080");
    rig_start(rig, 1, 1);
    rig_start(rig, 2, 1);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(rig_members(rig, 0), joined);
    memset(&view, 0, sizeof(view));
    sc_channel_view(rig->node[0].channel, &view);
    for (i = 0; i < (int)view.count; i++) {
        const sc_board_member_t *m = &view.member[i];
        int good = strcmp(m->route, "n2") == 0;

        CU_ASSERT_STRING_EQUAL(m->url, good ? "http://10.0.0.2:8080/app" : "");
        CU_ASSERT_EQUAL(m->weight, good ? 3u : 0u);
        CU_ASSERT_EQUAL(m->lbset, good ? 2u : 0u);
    }
    CU_ASSERT_EQUAL(rig->node[0].board.count.urls_refused, 1);
    CU_ASSERT_EQUAL(rig->node[2].board.count.urls_refused, 0);
    rig_destroy(rig);
}

static void test_announce_worker(void)
{
    announce_worker(SC_MEMBERSHIP_MULTICAST);
    announce_worker(SC_MEMBERSHIP_STATIC);
}

/** A member that is heard but whose receiver answers nobody never becomes one. */
static void test_unreachable(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 2);
    sc_member_t m;
    sc_buf_t b;
    int i;

    rig_start(rig, 0, 0);
    memset(&m, 0, sizeof(m));
    m.port = 4000;
    m.ours = 1;
    m.version = 1;
    m.store_id = 99;
    strcpy(m.route, "ghost");
    sc_member_set_host(&m, "10.0.0.99");
    for (i = 0; i < 12; i++) {
        m.alive_ms++;
        sc_buf_init(&b, 1024);
        sc_member_put(&b, &m);
        rig_inject(rig, b.data, b.len);
        sc_buf_free(&b);
        rig_run(rig, RIG_MS(500));
    }
    CU_ASSERT_EQUAL(rig->node[0].seen.added, 0);
    CU_ASSERT(rig->node[0].probes >= 4);
    CU_ASSERT_EQUAL(rig->node[0].seen.settled, 1);
    rig_destroy(rig);
}

static void test_configuration(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 1);
    sc_channel_config_t cfg = {0};
    sc_channel_up_t up = {0};
    sc_config_t *c = &rig->node[0].config;
    sc_channel_t *ch;

    cfg.config = c;
    cfg.clock = &rig->clock;
    cfg.timers = rig->timers;
    strcpy(c->receiver.address, "0.0.0.0");
    CU_ASSERT_EQUAL(sc_channel_create(&ch, &cfg, &up, rig->pool), APR_EINVAL);
    strcpy(c->receiver.address, "localhost");
    CU_ASSERT_EQUAL(sc_channel_create(&ch, &cfg, &up, rig->pool), APR_EINVAL);
    strcpy(c->receiver.address, "10.0.0.1");
    c->route[0] = '\0';
    CU_ASSERT_EQUAL(sc_channel_create(&ch, &cfg, &up, rig->pool), APR_EINVAL);
    c->role = SC_ROLE_BALANCER;
    CU_ASSERT_EQUAL(sc_channel_create(&ch, &cfg, &up, rig->pool), APR_SUCCESS);
    c->mcast.frequency_ms = 0;
    CU_ASSERT_EQUAL(sc_channel_create(&ch, &cfg, &up, rig->pool), APR_EINVAL);
    c->mcast.frequency_ms = 500;
    c->ninterceptors = 1;
    strcpy(c->interceptor[0].name, "Zip");
    CU_ASSERT_EQUAL(sc_channel_create(&ch, &cfg, &up, rig->pool), APR_EINVAL);
    CU_ASSERT_PTR_NULL(ch);
    rig_destroy(rig);
}

void sc_suite_channel(void)
{
    CU_pSuite s = CU_add_suite("channel", NULL, NULL);

    CU_add_test(s, "members join and leave", test_join_and_leave);
    CU_add_test(s, "a silent member is dropped after dropTime", test_drop_after_drop_time);
    CU_add_test(s, "oldest first", test_oldest_first);
    CU_add_test(s, "a stopped process is no member", test_freeze);
    CU_add_test(s, "a suspect that answers stays", test_suspect_that_answers);
    CU_add_test(s, "but not for ever", test_suspect_for_too_long);
    CU_add_test(s, "a restarted engine takes its own place", test_restart);
    CU_add_test(s, "a late heartbeat of its former life", test_late_heartbeat_of_former_life);
    CU_add_test(s, "two nodes with one route", test_duplicate_route);
    CU_add_test(s, "the older of the two wins", test_duplicate_route_older_wins);
    CU_add_test(s, "a group with foreign members is not joined", test_foreign_guard);
    CU_add_test(s, "alone", test_alone);
    CU_add_test(s, "a new state is announced at once", test_announce);
    CU_add_test(s, "URLs of nodes as workers", test_announce_worker);
    CU_add_test(s, "heard but unreachable", test_unreachable);
    CU_add_test(s, "configurations that cannot work", test_configuration);
    sc_suite_channel_records(s);
}
