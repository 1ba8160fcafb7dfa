/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of location: members that die, join, leave, hang, and engines that die in the middle.
 */
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "../../src/manager/move.h" /* sc_lease_mute and who is full, which nobody else can see */
#include "backup_net.h"

#define SESSIONS 30

/* Sessions 1 to SESSIONS, made in turn on the nodes. */
static void make_sessions(net_t *net)
{
    apr_uint32_t id;

    for (id = 1; id <= SESSIONS; id++) {
        CU_ASSERT_EQUAL(net_set(net, (int)id % net->n, SC_CHANGE_NEW, id, "user", "ann"), SC_DONE);
    }
}

/* All are there, with this value. */
static int all_have(net_t *net, const char *name, const char *value)
{
    apr_uint32_t id;

    for (id = 1; id <= SESSIONS; id++) {
        const char *v = backup_value(net, id, name);

        if (v == NULL || strcmp(v, value) != 0) {
            fprintf(stderr, "\n  session %u: %s\n", id, v != NULL ? v : "(none, or different)");
            return 0;
        }
    }
    return 1;
}

/* ---- deaths ------------------------------------------------------------------------------------
 */

static void test_primary_dies(void)
{
    net_t *net = backup_ready(3, 1);
    apr_uint32_t id;

    make_sessions(net);
    net_crash(net, 0, 1);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    for (id = 1; id <= SESSIONS; id++) {
        CU_ASSERT_EQUAL(backup_holders(net, id), 2);
        CU_ASSERT_NOT_EQUAL(backup_primary(net, id), 0);
        CU_ASSERT_EQUAL(net_set(net, 1 + (int)id % 2, 0, id, "user", "bob"), SC_DONE);
    }
    CU_ASSERT(all_have(net, "user", "bob"));
    net_destroy(net);
}

static void test_both_die(void)
{
    net_t *net = backup_ready(5, 1);

    make_sessions(net);
    net_crash(net, 1, 1);
    CU_ASSERT(backup_settled(net, 10000));
    net_crash(net, 3, 1);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_crash(net, 0, 1);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_crash(net, 2, 1);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_destroy(net);
}

/* A request at once after the death waits until there are two copies again. */
static void test_first_change(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint32_t id, call;

    make_sessions(net);
    for (id = 1; id <= 4; id++) {
        int i, holders = 0, primary = backup_primary(net, id), other = (primary + 1) % 4;

        net_crash(net, primary, 1);
        other = net->node[other].alive ? other : (other + 1) % 4;
        call = net_change(net, other, 0, 0, id, "user", "bob", (char *)NULL);
        CU_ASSERT(net_wait(net, call, 10000));
        CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DONE);
        for (i = 0; i < 4; i++) {
            holders += net->node[i].alive && backup_has(net, i, id, NULL) == HAS_COPY &&
                       strcmp(net_value(net, i, id, "user"), "bob") == 0;
        }
        CU_ASSERT_EQUAL(holders, 2);
        /* and both of them know it: the next death costs nothing */
        primary = backup_primary(net, id);
        CU_ASSERT_FATAL(net->node[primary].alive);
        net_crash(net, primary, 1);
        net_run(net, 5000);
        CU_ASSERT_STRING_EQUAL(backup_value(net, id, "user"), "bob");
        for (i = 0; i < 4; i++) {
            if (!net->node[i].alive) {
                net_join(net, i, 1);
                CU_ASSERT(net_wait_ready(net, 5000));
            }
        }
        CU_ASSERT(backup_settled(net, 10000));
        CU_ASSERT_STRING_EQUAL(backup_value(net, id, "user"), "bob");
    }
    net_destroy(net);
}

/* ---- joins, leaves -----------------------------------------------------------------------------
 */

static void test_join(void)
{
    net_t *net = net_create(5, backup_tweak);
    char before[SESSIONS + 1][64];
    int i, moved = 0, to_new = 0;
    apr_uint32_t id;

    backup_copies = 1;
    for (i = 0; i < 4; i++) {
        net_join(net, i, 0);
        CU_ASSERT(net_wait_ready(net, 5000));
    }
    net_run(net, 3000);
    for (id = 1; id <= SESSIONS; id++) {
        CU_ASSERT_EQUAL(net_set(net, (int)id % 4, SC_CHANGE_NEW, id, "user", "ann"), SC_DONE);
    }
    CU_ASSERT(backup_settled(net, 5000));
    for (id = 1; id <= SESSIONS; id++) {
        snprintf(before[id], sizeof(before[id]), "%.60s", backup_where(net, 0, id));
    }
    net_join(net, 4, 1);
    CU_ASSERT(net_wait_ready(net, 5000));
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT(all_have(net, "user", "ann"));
    for (id = 1; id <= SESSIONS; id++) {
        const char *now = backup_where(net, 0, id);

        CU_ASSERT_EQUAL(strncmp(now, before[id], 2), 0); /* no primary changes */
        moved += strcmp(now, before[id]) != 0;
        to_new += strstr(now, "n5") != NULL;
    }
    CU_ASSERT_EQUAL(moved, to_new); /* nothing but what the new one is to hold */
    CU_ASSERT(moved > 0 && moved < SESSIONS / 2);
    net_destroy(net);
}

static void leave_of(int nodes, int copies)
{
    net_t *net = backup_ready(nodes, copies);
    int i, waited = 0;

    make_sessions(net);
    sc_manager_stop(net->node[0].m);
    for (; sc_manager_busy(net->node[0].m) && waited < 9000; waited += 20) {
        net_run(net, 20);
    }
    CU_ASSERT(waited < 9000);
    CU_ASSERT_EQUAL(backup_has(net, 0, 1, NULL), HAS_PROXY);
    net->node[0].alive = 0;
    for (i = 1; i < nodes; i++) {
        net_forget(net, i, 0, 1);
    }
    net->node[0].alive = 1;
    net_crash(net, 0, 0);
    CU_ASSERT(all_have(net, "user", "ann")); /* at once */
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_destroy(net);
}

static void test_leave(void)
{
    leave_of(2, 1);
    leave_of(3, 1);
    leave_of(4, 2);
    leave_of(5, 3);
}

/* Who is about to leave gets nothing new, and what it has it serves to its end. */
static void test_about_to_leave(void)
{
    net_t *net = backup_ready(3, 1);
    apr_uint32_t id;

    make_sessions(net);
    sc_manager_leave(net->node[0].m);
    CU_ASSERT_EQUAL(net->node[0].self.node_state, SC_NODE_LEAVING);
    CU_ASSERT_EQUAL(net->node[0].board->node_state, SC_NODE_READY);
    for (id = 1; id <= SESSIONS; id++) {
        CU_ASSERT_EQUAL(net_set(net, (int)id % 3, 0, id, "user", "bob"), SC_DONE);
        CU_ASSERT_EQUAL(net_set(net, 1 + (int)id % 2, SC_CHANGE_NEW, SESSIONS + id, "user", "eve"),
                        SC_DONE);
        CU_ASSERT_NOT_EQUAL(backup_has(net, 0, SESSIONS + id, NULL), HAS_COPY);
    }
    net_run(net, 3000);
    CU_ASSERT(all_have(net, "user", "bob"));
    for (id = 1; id <= SESSIONS; id++) { /* those that nobody has taken over meanwhile stay */
        CU_ASSERT_EQUAL(net_set(net, (int)id % 3, 0, id, "user", "ann"), SC_DONE);
        CU_ASSERT(id % 3 != 0 || backup_primary(net, id) == 0);
    }
    CU_ASSERT_EQUAL(net->node[0].self.node_state, SC_NODE_LEAVING);
    sc_manager_stop(net->node[0].m);
    CU_ASSERT_EQUAL(net->node[0].board->node_state, SC_NODE_LEAVING);
    net_destroy(net);
}

static sc_outcome_t wish(net_t *net, int node, sc_link_op_t op)
{
    sc_change_t c;
    apr_uint32_t call;

    memset(&c, 0, sizeof(c));
    call = net_request(net, node, op, 0, &c);
    CU_ASSERT(net_wait(net, call, 1000));
    return net_outcome(net, call);
}

/* It gives away what it is the primary of, stays a holder, and serves whoever comes. */
static void drain_of(int nodes, int copies)
{
    net_t *net = backup_ready(nodes, copies);
    apr_uint32_t id;
    int given = 0;

    make_sessions(net);
    CU_ASSERT_EQUAL(wish(net, 0, SC_LINK_DRAIN), SC_DONE);
    CU_ASSERT(backup_settled(net, 9000));
    for (id = 1; id <= SESSIONS; id++) {
        CU_ASSERT_NOT_EQUAL(backup_primary(net, id), 0);
        given += backup_has(net, 0, id, NULL) == HAS_COPY;
    }
    CU_ASSERT(given > 0);
    CU_ASSERT(all_have(net, "user", "ann"));
    /* one that is made here all the same does not stay */
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, SESSIONS + 1, "user", "bob"), SC_DONE);
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT_NOT_EQUAL(backup_primary(net, SESSIONS + 1), 0);
    /* an engine that is replaced goes on with it; the wish ends with another one */
    net_crash(net, 0, 0);
    net_join(net, 0, 0);
    CU_ASSERT(net_wait_ready(net, 5000));
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, SESSIONS + 3, "user", "joe"), SC_DONE);
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT_NOT_EQUAL(backup_primary(net, SESSIONS + 3), 0);
    CU_ASSERT_EQUAL(wish(net, 0, SC_LINK_UNDRAIN), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, SESSIONS + 2, "user", "eve"), SC_DONE);
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT_EQUAL(backup_primary(net, SESSIONS + 2), 0);
    CU_ASSERT(all_have(net, "user", "ann"));
    net_destroy(net);
}

static void test_drain(void)
{
    drain_of(2, 1);
    drain_of(3, 1);
    drain_of(4, 2);
}

/* Two that drain do not give each other what a third one can take; without a third one, what they
 * have stays with them. */
static void test_all_drain(void)
{
    net_t *net = backup_ready(3, 1);
    apr_uint32_t id;

    make_sessions(net);
    CU_ASSERT_EQUAL(wish(net, 0, SC_LINK_DRAIN), SC_DONE);
    CU_ASSERT_EQUAL(wish(net, 1, SC_LINK_DRAIN), SC_DONE);
    CU_ASSERT(backup_settled(net, 9000));
    for (id = 1; id <= SESSIONS; id++) {
        CU_ASSERT_EQUAL(backup_primary(net, id), 2);
    }
    CU_ASSERT_EQUAL(wish(net, 2, SC_LINK_DRAIN), SC_DONE);
    CU_ASSERT(backup_settled(net, 9000));
    CU_ASSERT_EQUAL(backup_primary(net, 1), 2);
    CU_ASSERT(all_have(net, "user", "ann"));
    net_destroy(net);
}

static void test_last_leaves(void)
{
    net_t *net = backup_ready(1, 1);

    make_sessions(net);
    sc_manager_stop(net->node[0].m);
    CU_ASSERT_FALSE(sc_manager_busy(net->node[0].m)); /* there is nobody to hand over to */
    net_destroy(net);
}

/* ---- a member that stands still -----------------------------------------------------------------
 */

static void test_frozen_primary(void)
{
    net_t *net = backup_ready(3, 1);
    int primary, other, i;
    apr_uint32_t call;
    sc_outcome_t outcome;

    make_sessions(net);
    net_run(net, 1000);
    primary = backup_primary(net, 1);
    other = (primary + 1) % 3;
    net_hold(net, primary, 1);
    net_run(net, 12000); /* it is still in the view, and the others do without it */
    call = net_change(net, other, 0, 0, 1, "user", "bob", (char *)NULL);
    CU_ASSERT(net_wait(net, call, 10000));
    outcome = net->answer[call].outcome;
    CU_ASSERT(outcome == SC_DONE || outcome == SC_DEGRADED);
    CU_ASSERT_NOT_EQUAL(backup_node(net, net_primary(net, other, 1)), primary);
    /* it wakes up: its clock jumps, and it has heard nothing yet */
    net->node[primary].mono_offset += apr_time_from_sec(12);
    CU_ASSERT_STRING_EQUAL(net_value(net, primary, 1, "user"), "ann");
    call = net_change(net, primary, 0, 0, 1, "cart", "2", (char *)NULL);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    CU_ASSERT(sc_board_get(net->node[primary].board->lease_until) <=
              sc_mono(&net->node[primary].clock));
    net_hold(net, primary, 0);
    CU_ASSERT(net_wait(net, call, 10000));
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT_STRING_EQUAL(backup_value(net, 1, "user"), "bob");
    outcome = net->answer[call].outcome;
    if (outcome == SC_DONE || outcome == SC_DEGRADED) {
        CU_ASSERT_STRING_EQUAL(backup_value(net, 1, "cart"), "2");
    }
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(net_set(net, i, 0, 1, "user", "eve"), SC_DONE);
    }
    net_destroy(net);
}

/* ---- engines that die in the middle
 * -------------------------------------------------------------- */

/* Member 3 dies; so many microseconds later member "who" does. */
static void crash_at(int who, int us, int again)
{
    net_t *net = backup_ready(4, 2);
    apr_uint32_t id;
    int left, bad = 0;

    make_sessions(net);
    net_crash(net, 3, 1);
    for (left = us / 1000; left > 0; left--) {
        net_run(net, 1);
    }
    net_crash(net, who, 1);
    if (again) {
        net_run(net, 30);
        net_join(net, who, 0); /* the same store: only its engine died */
        bad += !net_wait_ready(net, 10000);
    }
    bad += !backup_settled(net, 20000);
    bad += !all_have(net, "user", "ann");
    for (id = 1; id <= SESSIONS && bad == 0; id++) {
        bad += net_set(net, (who + 1) % 3, 0, id, "user", "bob") != SC_DONE;
    }
    bad += !all_have(net, "user", "bob");
    CU_ASSERT_EQUAL(bad, 0);
    if (bad > 0) {
        fprintf(stderr, "\n  n%d dies after %d us, %s\n", who + 1, us,
                again ? "restarted" : "gone");
    }
    net_destroy(net);
}

static void test_crash_in_move(void)
{
    int ms;

    for (ms = 0; ms <= 60; ms++) {
        crash_at(0, ms * 1000, 1);
        crash_at(1, ms * 1000, 0);
    }
    for (ms = 65; ms < 3000; ms += 60) {
        crash_at(0, ms * 1000, ms % 120 < 60);
    }
}

/* ---- partitions
 * ---------------------------------------------------------------------------------- */

static void test_partition(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint32_t id, call;
    int i, k;

    make_sessions(net);
    net_run(net, 500);
    for (i = 0; i < 2; i++) {
        for (k = 2; k < 4; k++) {
            net_part(net, i, k);
        }
    }
    net_run(net, 8000);
    for (id = 1; id <= SESSIONS; id++) {
        call = net_change(net, 0, 0, 0, id, "left", "1", (char *)NULL);
        (void)net_wait(net, call, 10000);
        call = net_change(net, 2, 0, 0, id, "right", "1", (char *)NULL);
        (void)net_wait(net, call, 10000);
    }
    net_run(net, 2000);
    for (i = 0; i < 2; i++) {
        for (k = 2; k < 4; k++) {
            net_meet(net, i, k);
        }
    }
    CU_ASSERT(backup_settled(net, 60000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_destroy(net);
}

/* ---- at request, and not at all
 * ------------------------------------------------------------------ */

static void test_take(void)
{
    net_t *net = backup_ready(4, 1);
    int primary, taker;

    make_sessions(net);
    CU_ASSERT(backup_settled(net, 3000));
    primary = backup_primary(net, 1);
    for (taker = 0; taker == primary || backup_has(net, taker, 1, NULL) == HAS_COPY; taker++) {
    }
    (void)net_takeover(net, taker, 1);
    CU_ASSERT(backup_settled(net, 3000));
    CU_ASSERT_EQUAL(backup_primary(net, 1), taker);
    CU_ASSERT(all_have(net, "user", "ann"));
    net_destroy(net);
}

/* A holder that has not heard of the new location may read: until it has, or surely may not any
 * more, nothing is decided. */
static void test_unheard(void)
{
    net_t *net = backup_ready(4, 1);
    int primary, backup = 0, taker, waited = 0;

    make_sessions(net);
    CU_ASSERT(backup_settled(net, 3000));
    primary = backup_primary(net, 1);
    while (backup == primary || backup_has(net, backup, 1, NULL) != HAS_COPY) {
        backup++;
    }
    for (taker = 0; taker == primary || taker == backup; taker++) {
    }
    net->link[primary][backup].hold = 1;
    net->link[taker][backup].hold = 1; /* which would go on from there, and tell it */
    (void)net_takeover(net, taker, 1);
    net_run(net, 300);
    CU_ASSERT_STRING_EQUAL(net_primary(net, primary, 1), net->node[primary].config.route);
    while (strcmp(net_primary(net, primary, 1), net->node[primary].config.route) == 0 &&
           waited < 20000) {
        net_run(net, 20);
        waited += 20;
    }
    CU_ASSERT(waited < 20000);
    CU_ASSERT(sc_board_get(net->node[backup].board->lease_until) <=
              sc_mono(&net->node[backup].clock));
    net->link[primary][backup].hold = net->link[taker][backup].hold = 0;
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_destroy(net);
}

static void slow(sc_config_t *c, int index)
{
    backup_tweak(c, index);
    c->backup.copy_rate = 10;
}

/* Copies are made no faster than configured. */
static void test_rate(void)
{
    net_t *net;
    apr_uint64_t copies = 0;
    int i, k;

    backup_copies = 1;
    net = net_create(3, slow);
    for (i = 0; i < 3; i++) {
        net_join(net, i, 0);
        CU_ASSERT(net_wait_ready(net, 5000));
    }
    net_run(net, 3000);
    for (k = 0; k < 4; k++) { /* more than one batch for a node */
        apr_uint32_t id;

        for (id = 1; id <= 60; id++) {
            (void)net_set(net, 0, SC_CHANGE_NEW, (apr_uint32_t)k * 60 + id, "user", "ann");
        }
    }
    net_crash(net, 1, 1);
    net_run(net, 4000);
    copies = net->node[0].board->count.copies_sent + net->node[2].board->count.copies_sent;
    CU_ASSERT(net->node[0].board->moving > 0);
    net_run(net, 4000);
    CU_ASSERT(net->node[0].board->count.copies_sent + net->node[2].board->count.copies_sent <
              copies + 130);
    CU_ASSERT(backup_settled(net, 60000));
    net_destroy(net);
}

#define BIG 20000

/* 120 sessions on node 0; the last of so many nodes has room for some of them only. */
static net_t *last_is_small(int n)
{
    net_t *net;
    apr_uint32_t id;
    char big[BIG];
    int i;

    backup_copies = 1;
    net = net_create(n, backup_tweak);
    net->store_bytes = 4 * 1024 * 1024;
    for (i = 0; i < n; i++) {
        if (i == n - 1) {
            net->store_bytes = SC_STORE_MIN;
        }
        net_start(net, i, 1);
    }
    for (i = 0; i < n; i++) {
        int k;

        for (k = 0; k < i; k++) {
            net_meet(net, i, k);
        }
        sc_manager_settled(net->node[i].m);
    }
    CU_ASSERT(net_wait_ready(net, 5000));
    net_run(net, 3000);
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    for (id = 1; id <= 120; id++) {
        int outcome = net_set(net, 0, SC_CHANGE_NEW, id, "big", big);

        CU_ASSERT(outcome == SC_DONE || outcome == SC_DEGRADED);
    }
    return net;
}

static void test_no_room(void)
{
    net_t *net = last_is_small(3);
    apr_uint32_t id;

    net_crash(net, 1, 1);
    net_run(net, 15000);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 120); /* nothing is lost for that */
    CU_ASSERT(net->node[0].board->short_copies > 0 || net->node[0].board->moving > 0);
    for (id = 1; id <= 120; id++) {
        const char *v = net_value(net, 0, id, "big");

        CU_ASSERT(v != NULL && strlen(v) == BIG - 1);
    }
    net_destroy(net);
}

/* There is another one that has. */
static void test_room_elsewhere(void)
{
    net_t *net = last_is_small(4);

    net_crash(net, 1, 1);
    net_run(net, 15000);
    CU_ASSERT(net->node[0].logged[95] > 0);
    CU_ASSERT_EQUAL(net->node[0].board->short_copies, 0);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 120);
    CU_ASSERT_EQUAL(net_sessions(net, 2) + net_sessions(net, 3), 120);
    net_destroy(net);
}

/* The backup does not answer, and nobody has room to take its place: a change that it lacks counts
 * only by a location without it. */
static void test_no_room_for_another(void)
{
    net_t *net = last_is_small(3);
    int made = 0;
    apr_uint32_t id;

    net_hold(net, 1, 1);
    for (id = 1; id <= 60; id++) {
        if (backup_has(net, 1, id, NULL) == HAS_COPY && backup_has(net, 2, id, NULL) != HAS_COPY) {
            sc_outcome_t outcome =
                net_outcome(net, net_change(net, 0, 0, 0, id, "a", "2", (char *)NULL));

            if (outcome == SC_DONE || outcome == SC_DEGRADED) {
                made++;
                CU_ASSERT_PTR_NULL(strstr(backup_where(net, 0, id), "n2"));
            }
        }
    }
    CU_ASSERT(made > 0);
    net_hold(net, 1, 0);
    net_destroy(net);
}

/* A member had no room some seconds ago. For a request that waits it is asked all the same. */
static void test_room_for_urgent(void)
{
    backup_cast_t c = backup_cast(backup_quorum(3, 1, 2), 0);
    net_t *net = c.net;
    sc_manager_t *m = net->node[0].m;
    int i;

    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        if (m->peer[i].serial != 0 && m->peer[i].member.port == net->node[c.third].self.port) {
            m->moves->full[i] = sc_mono(&net->node[0].clock) + SC_MOVE_FULL - apr_time_from_sec(2);
        }
    }
    net_crash(net, c.backup, 1);
    CU_ASSERT_EQUAL(net_outcome(net, net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL)), SC_DONE);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_COPY);
    net_destroy(net);
}

/* Node 1 answers the oldest question of node 0 whether it is there. */
static void be_there(net_t *net, const sc_peer_t *peer)
{
    sc_msg_ping_reply_t reply;
    sc_buf_t b;

    memset(&reply, 0, sizeof(reply));
    reply.sent = (apr_uint64_t)peer->lease.silent;
    reply.loss = peer->lease.healed;
    reply.granted = reply.introduced = 1;
    sc_buf_init(&b, 256);
    sc_msg_ping_reply_put(&b, &reply);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[0].m, &net->node[1].self, b.data, b.len),
                    APR_SUCCESS);
    sc_buf_free(&b);
}

/* A member is silent just when a session is made, for so short a time that no look at the members
 * comes across that. @param phase ms */
static void silent_for_a_moment(int phase)
{
    net_t *net = backup_ready(2, 1);
    const sc_manager_t *m = net->node[0].m;
    const sc_peer_t *peer = &m->peer[m->peer[0].serial == 0];
    apr_time_t soon = apr_time_from_msec(5);
    int i;

    net_run(net, phase);
    net->link[1][0].hold = 1;
    for (i = 0; i < 5000 && (peer->lease.silent == 0 || sc_mono(&net->node[0].clock) + soon <
                                                            peer->lease.silent + m->lease_time);
         i++) {
        net_run(net, 1);
    }
    (void)net_change(net, 0, SC_CHANGE_NEW, 0, 1, "a", "1", (char *)NULL);
    for (i = 0; i < 20 && backup_has(net, 0, 1, NULL) == HAS_NOTHING; i++) {
        net_run(net, 1);
    }
    CU_ASSERT_STRING_EQUAL(backup_where(net, 0, 1), "n1 #1");
    be_there(net, peer);
    net->link[1][0].hold = 0;
    net_run(net, 3000);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT_EQUAL(backup_holders(net, 1), 2);
    net_destroy(net);
}

static void test_silent_for_a_moment(void)
{
    silent_for_a_moment(0);
    silent_for_a_moment(240);
    silent_for_a_moment(480);
}

void backup_moves_tests(void)
{
    CU_pSuite s = CU_get_suite("backup");

    CU_add_test(s, "a member dies", test_primary_dies);
    CU_add_test(s, "one after the other dies", test_both_die);
    CU_add_test(s, "the first change after a death", test_first_change);
    CU_add_test(s, "a member joins", test_join);
    CU_add_test(s, "a member leaves", test_leave);
    CU_add_test(s, "a member is about to leave", test_about_to_leave);
    CU_add_test(s, "a member drains", test_drain);
    CU_add_test(s, "all members drain", test_all_drain);
    CU_add_test(s, "the last member leaves", test_last_leaves);
    CU_add_test(s, "a primary stands still", test_frozen_primary);
    CU_add_test(s, "an engine dies in the middle of moves", test_crash_in_move);
    CU_add_test(s, "both halves change everything", test_partition);
    CU_add_test(s, "a node takes a session over", test_take);
    CU_add_test(s, "a holder that has not heard of a move", test_unheard);
    CU_add_test(s, "copies are made at a rate", test_rate);
    CU_add_test(s, "a member has no room for copies", test_no_room);
    CU_add_test(s, "another member has room for copies", test_room_elsewhere);
    CU_add_test(s, "nobody has room for a backup that hangs", test_no_room_for_another);
    CU_add_test(s, "room for a request that waits", test_room_for_urgent);
    CU_add_test(s, "a member was silent for a moment", test_silent_for_a_moment);
}
