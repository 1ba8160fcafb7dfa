/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Members that join: with nothing, with what they had; and sessions that end.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

static apr_uint32_t count(net_t *net, int node, apr_uint32_t from, apr_uint32_t n, backup_has_t has)
{
    apr_uint32_t i, found = 0;

    for (i = 0; i < n; i++) {
        found += backup_has(net, node, from + i, NULL) == has;
    }
    return found;
}

/* Sessions that a node is to hold according to another one. */
static apr_uint32_t listed(net_t *net, int by, int node, apr_uint32_t from, apr_uint32_t n)
{
    apr_uint16_t route = SC_ROUTE_NONE;
    apr_uint32_t i, found = 0;
    sc_record_t rec;

    (void)sc_store_route(net->node[by].store, net->node[node].config.route,
                         strlen(net->node[node].config.route), 0, &route);
    for (i = 0; i < n; i++) {
        found += net_look(net, by, from + i, &rec) == NET_LIVE &&
                 sc_record_holder(&rec, route) != SC_HOLDER_NONE;
    }
    return found;
}

static void run_until_ready(net_t *net, int node)
{
    int i;

    for (i = 0; i < 5000 && net->node[node].board->node_state != SC_NODE_READY; i++) {
        net_run(net, 1);
    }
    CU_ASSERT_EQUAL(net->node[node].board->node_state, SC_NODE_READY);
}

/* ---- joining ----------------------------------------------------------------------------------
 */

/* It comes back with an empty store before anybody has noticed: others count on its copies, and it
 * has them before it is READY. */
static void test_empty(void)
{
    net_t *net = backup_ready(3, 1);
    apr_uint32_t before, i;
    sc_record_t rec;

    net_make(net, 0, 1, 200);
    net_make(net, 1, 201, 200);
    net_make(net, 2, 401, 200);
    net_run(net, 500);
    before = count(net, 1, 1, 600, HAS_COPY);
    CU_ASSERT(before > 300);
    net_crash(net, 1, 0);
    net_join(net, 1, 1);
    run_until_ready(net, 1);
    CU_ASSERT_EQUAL(count(net, 1, 1, 600, HAS_HOLE), 0);
    for (i = 1; i <= 600; i++) {
        backup_has_t has = backup_has(net, 1, i, &rec);

        /* those that were to be there by then; where others have moved since is known at least */
        if (listed(net, 0, 1, i, 1) && listed(net, 2, 1, i, 1)) {
            CU_ASSERT_EQUAL(has, HAS_COPY);
        }
        CU_ASSERT(has == HAS_COPY || has == HAS_PROXY || has == HAS_GUEST);
    }
    CU_ASSERT(backup_settled(net, 20000));
    CU_ASSERT(count(net, 1, 1, 600, HAS_COPY) > 300);
    net_destroy(net);
}

/* One that is new learns where everything is. */
static void test_new(void)
{
    net_t *net;
    int i;

    backup_copies = 1;
    net = net_create(4, backup_tweak);
    for (i = 0; i < 3; i++) {
        net_join(net, i, 0);
        CU_ASSERT(net_wait_ready(net, 5000));
    }
    net_run(net, 2000);
    net_make(net, 0, 1, 500);
    net_run(net, 500);
    net_join(net, 3, 0);
    run_until_ready(net, 3);
    CU_ASSERT_EQUAL(count(net, 3, 1, 500, HAS_NOTHING), 0);
    CU_ASSERT_EQUAL(count(net, 3, 1, 500, HAS_HOLE), 0);
    CU_ASSERT(net->node[3].board->count.places_received >= 500);
    CU_ASSERT(backup_settled(net, 20000));
    net_destroy(net);
}

/* What it had it keeps; it gets what it has missed, and no more. */
static void test_memory(void)
{
    net_t *net = backup_ready(3, 2); /* everybody holds everything, so nothing is moved */
    apr_uint64_t before;
    apr_uint32_t i;

    net_make(net, 0, 1, 300);
    net_run(net, 7000);
    net_crash(net, 2, 1);
    net_run(net, 3000);
    for (i = 1; i <= 10; i++) {
        CU_ASSERT_EQUAL(net_set(net, 0, 0, i, "a", "2"), SC_DONE);
    }
    net_make(net, 1, 301, 10);
    net_run(net, 2000);
    before = net->node[2].board->count.transferred;
    net_join(net, 2, 0);
    run_until_ready(net, 2);
    for (i = 1; i <= 10; i++) {
        CU_ASSERT_EQUAL(net_set(net, 2, 0, i, "b", "3"), SC_DONE);
    }
    CU_ASSERT(backup_settled(net, 20000));
    for (i = 1; i <= 10; i++) {
        CU_ASSERT_STRING_EQUAL(net_value(net, 2, i, "a"), "2");
    }
    CU_ASSERT_EQUAL(count(net, 2, 1, 310, HAS_COPY), 310);
    (void)before;
    net_destroy(net);
}

/* The same when it was away for so short a time that nobody has moved anything. */
static void test_memory_count(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint64_t before;
    apr_uint32_t i, held;

    net_make(net, 0, 1, 300);
    net_run(net, 7000);
    held = count(net, 2, 1, 300, HAS_COPY);
    CU_ASSERT(held > 50);
    before = net->node[2].board->count.transferred;
    net_crash(net, 2, 0);
    for (i = 0; i < 4; i++) {
        if (i != 2) {
            net_forget(net, (int)i, 2, 0);
        }
    }
    net_join(net, 2, 0);
    run_until_ready(net, 2);
    CU_ASSERT_EQUAL(count(net, 2, 1, 300, HAS_HOLE), 0);
    CU_ASSERT(net->node[2].board->count.transferred - before < held / 2);
    CU_ASSERT(backup_settled(net, 20000));
    net_destroy(net);
}

/* What was lost on the way comes by a pull, sessions and locations. */
static void test_gap(void)
{
    net_t *net = backup_ready(4, 1);
    int i;

    net_make(net, 0, 1, 100);
    for (i = 1; i < 4; i++) {
        net->link[0][i].full = 1;
    }
    for (i = 101; i <= 150; i++) {
        (void)net_change(net, 0, SC_CHANGE_NEW, 0, (apr_uint32_t)i, "a", "1", (char *)NULL);
    }
    net_run(net, 300);
    for (i = 1; i < 4; i++) {
        net->link[0][i].full = 0;
    }
    net_run(net, 5000);
    CU_ASSERT(backup_settled(net, 20000));
    for (i = 1; i < 4; i++) {
        CU_ASSERT_EQUAL(count(net, i, 1, 150, HAS_NOTHING), 0);
    }
    net_destroy(net);
}

/* Locations that a node has lost come back when it compares. */
static void test_compared(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint32_t i, n;

    net_make(net, 0, 1, 100);
    net_run(net, 1000);
    n = count(net, 3, 1, 100, HAS_PROXY);
    CU_ASSERT(n > 10);
    for (i = 1; i <= 100; i++) {
        sc_id_t id = net_id(i);

        if (backup_has(net, 3, i, NULL) == HAS_PROXY) {
            (void)sc_store_remove(net->node[3].store, 0, &id);
        }
    }
    net_run(net, 180000);
    CU_ASSERT_EQUAL(count(net, 3, 1, 100, HAS_NOTHING), 0);
    CU_ASSERT_EQUAL(count(net, 3, 1, 100, HAS_PROXY), n);
    CU_ASSERT(backup_settled(net, 1000));
    net_destroy(net);
}

/* ---- accesses ---------------------------------------------------------------------------------
 */

static apr_time_t accessed(net_t *net, int node, apr_uint32_t id)
{
    sc_record_t rec;

    CU_ASSERT_EQUAL_FATAL(net_look(net, node, id, &rec), NET_LIVE);
    return rec.accessed - net->node[node].mono_offset;
}

static void test_accesses(void)
{
    net_t *net = backup_ready(5, 1);
    apr_time_t then;
    int i, backup = 0;

    net_make(net, 0, 1, 1);
    net_run(net, 20000);
    for (i = 1; i < 5; i++) {
        backup = backup_has(net, i, 1, NULL) == HAS_COPY ? i : backup;
    }
    then = net->now;
    net_access(net, 0, 1);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_ACCESS], 1);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_SESSION_ACCESSED], 0);
    CU_ASSERT(accessed(net, backup, 1) >= then);
    /* the other way round */
    net_run(net, 20000);
    then = net->now;
    net_access(net, backup, 1);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net->node[backup].posted[SC_EVT_ACCESS], 1);
    CU_ASSERT(accessed(net, 0, 1) >= then);
    for (i = 1; i < 5; i++) {
        CU_ASSERT(i == backup || net->node[i].posted[SC_EVT_ACCESS] == 0);
    }
    net_destroy(net);
}

/* An access through a copy that is not held keeps the session alive, too. */
static void test_guest_access(void)
{
    net_t *net = backup_ready(5, 1);
    int i, k, other = 0;

    net_make_idle(net, 0, 1, 60);
    net_run(net, 300);
    for (i = 1; i < 5; i++) {
        other = backup_has(net, i, 1, NULL) == HAS_PROXY ? i : other;
    }
    for (k = 0; k < 6; k++) {
        apr_uint32_t call = net_fetch(net, other, 1, "n1");

        CU_ASSERT(net_wait(net, call, 5000));
        CU_ASSERT_EQUAL(net->answer[call].outcome, SC_FOUND);
        net_run(net, 2000);
        net_access(net, other, 1);
        net_run(net, 38000);
    }
    CU_ASSERT_EQUAL(backup_has(net, 0, 1, NULL), HAS_COPY);
    net_destroy(net);
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void test_idle(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint64_t expired = 0;
    int i;

    for (i = 1; i <= 50; i++) {
        net_make_idle(net, i % 4, (apr_uint32_t)i, 10);
    }
    net_run(net, 5000);
    for (i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(count(net, i, 1, 50, HAS_COPY) + count(net, i, 1, 50, HAS_PROXY), 50);
    }
    net_run(net, 10000);
    for (i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(count(net, i, 1, 50, HAS_DEAD), 50); /* those who only knew of them, too */
        expired += net->node[i].board->count.expired;
        CU_ASSERT(net->node[i].posted[SC_EVT_REMOVE] <= 30); /* many in one */
    }
    CU_ASSERT_EQUAL(expired, 50);
    net_run(net, 70000);
    for (i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(count(net, i, 1, 50, HAS_NOTHING), 50);
    }
    net_destroy(net);
}

/* The primary is gone: who stands in for it says so. */
static void test_idle_orphans(void)
{
    net_t *net = backup_ready(4, 1);
    int i;

    for (i = 1; i <= 50; i++) {
        net_make_idle(net, 0, (apr_uint32_t)i, 20);
    }
    net_run(net, 500);
    net_crash(net, 0, 1);
    net_run(net, 40000);
    for (i = 1; i < 4; i++) {
        CU_ASSERT_EQUAL(count(net, i, 1, 50, HAS_COPY) + count(net, i, 1, 50, HAS_PROXY) +
                            count(net, i, 1, 50, HAS_GUEST) + count(net, i, 1, 50, HAS_HOLE),
                        0);
    }
    net_destroy(net);
}

/* It has idled out where nobody was heard, and lives where it was used. */
static void test_idle_elsewhere(void)
{
    net_t *net = backup_ready(5, 1);
    int i, other = 0;
    sc_id_t id = net_id(1);
    sc_record_t rec;

    net_make_idle(net, 0, 1, 60);
    net_run(net, 300);
    for (i = 1; i < 5; i++) {
        other = backup_has(net, i, 1, NULL) == HAS_PROXY ? i : other;
    }
    CU_ASSERT_EQUAL_FATAL(sc_store_get(net->node[other].store, 0, &id, &rec, NULL), APR_SUCCESS);
    rec.flags = SC_REC_TOMBSTONE;
    rec.max_idle_s = SC_DEAD_IDLE;
    rec.due = sc_mono(&net->node[other].clock) + apr_time_from_sec(60);
    CU_ASSERT_EQUAL(sc_store_put(net->node[other].store, &rec, NULL, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(backup_has(net, other, 1, NULL), HAS_DEAD);
    CU_ASSERT_EQUAL(net_set(net, other, 0, 1, "a", "2"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(backup_value(net, 1, "a"), "2");
    net_destroy(net);
}

/* A location whose holders are gone for good goes, too; one whose holders are there stays. */
static void test_proxies(void)
{
    net_t *net = backup_ready(5, 1);
    sc_record_t rec;
    sc_id_t id = net_id(100);
    apr_uint32_t i;

    net_make(net, 0, 1, 50);
    net_run(net, 300);
    memset(&rec, 0, sizeof(rec));
    rec.id = id;
    rec.flags = SC_REC_PROXY;
    rec.epoch = 1;
    CU_ASSERT_EQUAL(sc_store_route(net->node[3].store, "gone", 4, 1, &rec.primary), APR_SUCCESS);
    rec.created = rec.accessed = sc_mono(&net->node[3].clock);
    rec.due = rec.created + apr_time_from_sec(5);
    CU_ASSERT_EQUAL(sc_store_put(net->node[3].store, &rec, NULL, 0), APR_SUCCESS);
    i = count(net, 3, 1, 50, HAS_PROXY);
    CU_ASSERT(i > 0);
    net_run(net, 7000);
    CU_ASSERT_EQUAL(backup_has(net, 3, 100, NULL), HAS_NOTHING);
    net_run(net, 25 * 60 * 1000);
    CU_ASSERT_EQUAL(count(net, 3, 1, 50, HAS_PROXY), i);
    net_destroy(net);
}

/* Whatever was said, no location stays of what nobody has. */
static void test_stale_proxies(void)
{
    net_t *net = backup_ready(4, 1);
    sc_id_t id = net_id(1);
    int i;

    net_make(net, 0, 1, 1);
    net_run(net, 300);
    for (i = 0; i < 4; i++) { /* gone where it was held, silently */
        if (backup_has(net, i, 1, NULL) == HAS_COPY) {
            CU_ASSERT_EQUAL(sc_store_remove(net->node[i].store, 0, &id), APR_SUCCESS);
        }
    }
    net_run(net, 200000);
    for (i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(backup_has(net, i, 1, NULL), HAS_NOTHING);
    }
    net_destroy(net);
}

static void last_lacks_context(sc_config_t *c, int index)
{
    backup_tweak(c, index);
    if (index == 2) {
        c->ncontexts = 0;
    }
}

/* A node without the application holds none of its sessions, until it has it. */
static void test_without_the_context(void)
{
    net_t *net;
    int i;

    backup_copies = 1;
    net = net_ready(3, last_lacks_context);
    for (i = 1; i <= 20; i++) {
        net_make_idle(net, 0, (apr_uint32_t)i, 1800);
    }
    net_run(net, 2000);
    CU_ASSERT_EQUAL(count(net, 1, 1, 20, HAS_COPY), 20);
    CU_ASSERT_EQUAL(listed(net, 0, 1, 1, 20), 20);
    CU_ASSERT_EQUAL(listed(net, 0, 2, 1, 20), 0);

    net_make_idle(net, 2, 21, 1800);
    CU_ASSERT(backup_settled(net, 20000));
    CU_ASSERT(count(net, 2, 1, 20, HAS_COPY) > 0);
    CU_ASSERT_EQUAL(listed(net, 0, 2, 1, 20), count(net, 2, 1, 20, HAS_COPY));
    CU_ASSERT_EQUAL(count(net, 1, 1, 20, HAS_COPY) + count(net, 2, 1, 20, HAS_COPY), 20);
    net_destroy(net);
}

void backup_joins_tests(void)
{
    CU_pSuite s = CU_get_suite("backup");

    CU_add_test(s, "a node without the context", test_without_the_context);
    CU_add_test(s, "a holder that lost everything gets it", test_empty);
    CU_add_test(s, "a new node learns where everything is", test_new);
    CU_add_test(s, "a node that was away gets what it missed", test_memory);
    CU_add_test(s, "a node that was away gets no more than that", test_memory_count);
    CU_add_test(s, "a node makes up for a gap", test_gap);
    CU_add_test(s, "locations that were lost are found", test_compared);
    CU_add_test(s, "accesses go to holders", test_accesses);
    CU_add_test(s, "accesses through a guest copy count", test_guest_access);
    CU_add_test(s, "sessions idle out everywhere", test_idle);
    CU_add_test(s, "orphans idle out", test_idle_orphans);
    CU_add_test(s, "sessions that idle out in one place", test_idle_elsewhere);
    CU_add_test(s, "locations whose holders are gone", test_proxies);
    CU_add_test(s, "locations of what nobody has", test_stale_proxies);
}
