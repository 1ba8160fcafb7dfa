/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of id: who acknowledges one has all of the session under its new id. Session 1 is on node
 * 0, with one backup, and becomes session 2.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

/* ---- who has not got all of it -----------------------------------------------------------------
 */

/* What a holder has of session 1 loses its body, or what was changed last. */
static void keep_location(net_t *net, int node)
{
    sc_id_t id = net_id(1);
    sc_record_t rec;

    CU_ASSERT_EQUAL_FATAL(net_look(net, node, 1, &rec), NET_LIVE);
    CU_ASSERT_EQUAL(sc_store_remove(net->node[node].store, 0, &id), APR_SUCCESS);
    rec.flags = SC_REC_PROXY;
    CU_ASSERT_EQUAL(sc_store_put(net->node[node].store, &rec, NULL, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(backup_has(net, node, 1, NULL), HAS_HOLE);
}

static void keep_old(net_t *net, int node)
{
    sc_id_t id = net_id(1);
    sc_record_t rec;
    sc_buf_t old;

    sc_buf_init(&old, 4096);
    CU_ASSERT_EQUAL_FATAL(sc_store_get(net->node[node].store, 0, &id, &rec, &old), APR_SUCCESS);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "b", "1"), SC_DONE);
    CU_ASSERT(net_is(net_value(net, node, 1, "b"), "1"));
    CU_ASSERT_EQUAL(sc_store_put(net->node[node].store, &rec, old.data, old.len), APR_SUCCESS);
    CU_ASSERT_PTR_NULL(net_value(net, node, 1, "b"));
    sc_buf_free(&old);
}

static void keep_nothing(net_t *net, int node)
{
    net_lose(net, node, 1);
}

/* It gets the whole session before the change is acknowledged. */
static void completed(void (*lose)(net_t *net, int node), const char *b)
{
    backup_cast_t c = backup_cast(backup_ready(3, 1), 0);
    net_t *net = c.net;
    apr_uint64_t wholes;
    apr_uint32_t call;

    lose(net, c.backup);
    wholes = net->node[0].posted[SC_EVT_BACKUP];
    call = net_change_id(net, 0, 1, 2, 0, "c", "1");
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT_EQUAL(backup_has(net, c.backup, 2, NULL), HAS_COPY);
    CU_ASSERT(net_is(net_value(net, c.backup, 2, "a"), "1"));
    CU_ASSERT(b == NULL || net_is(net_value(net, c.backup, 2, "b"), b));
    CU_ASSERT(net_is(net_value(net, c.backup, 2, "c"), "1"));
    CU_ASSERT(net->node[0].posted[SC_EVT_BACKUP] > wholes);
    CU_ASSERT(backup_settled(net, 3000));
    net_destroy(net);
}

static void test_completed(void)
{
    completed(keep_nothing, NULL);
    completed(keep_location, NULL);
    completed(keep_old, "1");
}

/* Who has all of it needs no more. */
static void test_complete(void)
{
    backup_cast_t c = backup_cast(backup_ready(3, 1), 0);
    net_t *net = c.net;

    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 1, 2, 0, "c", "1")), SC_DONE);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_BACKUP], 1); /* when it was made */
    CU_ASSERT(net_is(backup_value(net, 2, "c"), "1"));
    net_destroy(net);
}

/* ---- who refuses -------------------------------------------------------------------------------
 */

/* One node changes the id of session 1. @return what the other one says to that */
static apr_status_t change_id(net_t *net, int from, int to, apr_uint32_t *call)
{
    backup_kept_t k = {SC_EVT_CHANGE_SESSION_ID, from, to, {0}, 0};

    net->tap = backup_keep;
    net->tapped = &k;
    *call = net_change_id(net, from, 1, 2, 0, "c", "1");
    net->tap = NULL;
    CU_ASSERT_FATAL(k.len > 0);
    return sc_manager_record(net->node[to].m, &net->node[from].self, k.bytes, k.len);
}

/* Who knows a newer location: its maker does not know who the holders are. */
static void test_newer_location(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    apr_uint16_t backup = backup_route(net, c.backup, c.backup);
    sc_id_t id = net_id(1);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(sc_store_set_location(net->node[c.backup].store, 0, &id,
                                          backup_route(net, c.backup, 0), &backup, 1, 4),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(change_id(net, 0, c.backup, &call), APR_EGENERAL);
    net_run(net, 10);
    CU_ASSERT_STRING_EQUAL(backup_where(net, 0, 2),
                           backup_where(net, c.backup, 2)); /* it is told */
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT(net_is(backup_value(net, 2, "c"), "1"));
    net_destroy(net);
}

/* Who is moving it: the new holders would not get the change. */
static void test_moving(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    apr_uint32_t call;

    net->link[c.third][0].hold = 1; /* its number is not claimed yet */
    backup_take(net, c.fourth, 0);
    CU_ASSERT_EQUAL(change_id(net, c.backup, 0, &call), APR_EGENERAL);
    net->link[c.third][0].hold = 0;
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT(net_is(backup_value(net, 2, "c"), "1"));
    net_destroy(net);
}

/* Who holds nothing has nothing to say. */
static void test_no_holder(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(change_id(c.net, 0, c.third, &call), APR_SUCCESS);
    CU_ASSERT_EQUAL(backup_has(c.net, c.third, 2, NULL), HAS_PROXY);
    net_destroy(c.net);
}

/* ---- copies that are left over -----------------------------------------------------------------
 */

/* A node has fetched the session, which has been changed since: its copy is no news to the holders,
 * unless it is one that the engine before has left.
 * @param ms how long ago the engine was started @return sessions that it spreads */
static apr_uint64_t spread_by_guest(int ms)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    apr_uint64_t n;
    apr_uint32_t call;

    net_crash(net, c.third, 1);
    net_join(net, c.third, 0);
    CU_ASSERT(net_wait_ready(net, 5000));
    net_run(net, ms);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "n1")), SC_FOUND);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_DONE);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_GUEST);
    CU_ASSERT(net_is(net_value(net, c.third, 1, "a"), "1"));
    n = net->node[c.third].posted[SC_EVT_BACKUP];
    call = net_change_id(net, 0, 1, 2, 0, "c", "1");
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    net_run(net, 100);
    n = net->node[c.third].posted[SC_EVT_BACKUP] - n;
    CU_ASSERT(net_is(backup_value(net, 2, "a"), "2"));
    net_destroy(net);
    return n;
}

static void test_left_over(void)
{
    CU_ASSERT_EQUAL(spread_by_guest(30000), 0);
    CU_ASSERT_EQUAL(spread_by_guest(100), 2);
}

void backup_ids_tests(void)
{
    CU_pSuite s = CU_get_suite("backup");

    CU_add_test(s, "a change of id and a holder that lacks something", test_completed);
    CU_add_test(s, "a change of id and a holder that has all", test_complete);
    CU_add_test(s, "a change of id by an old location", test_newer_location);
    CU_add_test(s, "a change of id while the session is moved", test_moving);
    CU_add_test(s, "a change of id and who holds nothing", test_no_holder);
    CU_add_test(s, "a change of id and a copy that is left over", test_left_over);
}
