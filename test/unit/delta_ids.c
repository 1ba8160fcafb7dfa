/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The ends of sessions and of ids: invalidation that nothing can undo, ids that are changed, and
 * sessions that are taken over.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"

static void check_everywhere(net_t *net, apr_uint32_t id, net_state_t state)
{
    int i;

    for (i = 0; i < net->n; i++) {
        if (net->node[i].alive) {
            CU_ASSERT_EQUAL(net_look(net, i, id, NULL), state);
        }
    }
}

/* ---- invalidation ---------------------------------------------------------------------------- */

static void test_remove(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_weather(net, apr_time_from_msec(20), 0, 0);
    call = net_remove(net, 1, 1); /* not only by its primary */
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    check_everywhere(net, 1, NET_DEAD);
    CU_ASSERT_EQUAL(net->node[1].posted[SC_EVT_SESSION_EXPIRED], 2);
    CU_ASSERT_EQUAL(net->node[1].board->count.invalidated, 1);
    CU_ASSERT_EQUAL(net->node[0].board->count.invalidated, 0);
    /* it stays dead */
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_ABSENT);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "2"), SC_ABSENT);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 2, 1, "n1")), SC_ABSENT);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 2, 1)), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_takeover(net, 2, 1)), SC_ABSENT);
    CU_ASSERT_EQUAL(net->node[2].board->count.invalidated, 0);
    net_destroy(net);
}

static void test_remove_unknown(void)
{
    net_t *net = net_create(2, NULL);
    apr_uint32_t call;

    net_join(net, 0, 0);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 5)), SC_DONE);
    CU_ASSERT_EQUAL(net_look(net, 0, 5, NULL), NET_NOTHING); /* nothing to remember */
    /* a node that is still joining may get the session a moment later */
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 6, "a", "1"), SC_DONE);
    net_start(net, 1, 0);
    call = net_remove(net, 1, 6);
    net_run(net, 50);
    CU_ASSERT_EQUAL(net->answer[call].times, 0); /* nor would it be the end for the others */
    net_meet(net, 0, 1);
    sc_manager_settled(net->node[1].m);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT_EQUAL(net_look(net, 1, 6, NULL), NET_DEAD);
    CU_ASSERT(net_wait_ready(net, 3000));
    net_run(net, 3000);
    check_everywhere(net, 6, NET_DEAD);
    net_destroy(net);
}

/* Every order in which three messages about one session can reach a third node. */
static void test_invalidation_is_final(void)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    int o, k, i;

    for (o = 0; o < 6; o++) {
        net_t *net = net_ready(3, NULL);
        sc_wire_session_t w;
        sc_msg_delta_t d;
        sc_buf_t msg[3], items, body;
        sc_group_t g;
        sc_attr_t a;

        for (i = 0; i < 3; i++) {
            sc_buf_init(&msg[i], 4096);
        }
        sc_buf_init(&items, 4096);
        sc_buf_init(&body, 4096);
        memset(&a, 0, sizeof(a));
        a.name = a.value = "a";
        a.name_len = a.value_len = 1;
        a.stamp.hlc = (net->node[2].board->hlc > 0 ? net->node[2].board->hlc : 1) + 5;
        sc_attr_put(&body, &a);
        memset(&w, 0, sizeof(w));
        w.context = NET_CONTEXT;
        w.context_len = strlen(NET_CONTEXT);
        w.id = net_id(1);
        w.max_idle_s = 1800;
        w.primary = "n1";
        w.primary_len = 2;
        w.body = body.data;
        w.body_len = body.len;
        w.stamp = a.stamp;
        sc_msg_created_put(&msg[0], SC_EVT_SESSION_CREATED, &w);
        /* a later change than the invalidation: it is dead all the same */
        memset(&d, 0, sizeof(d));
        d.context.s = NET_CONTEXT;
        d.context.len = strlen(NET_CONTEXT);
        d.id = w.id;
        d.flags = SC_MSG_PRIMARY;
        d.stamp.hlc = a.stamp.hlc + 100;
        d.max_idle_s = 1800;
        d.body = body.data;
        d.body_len = body.len;
        sc_msg_delta_put(&msg[1], SC_EVT_SESSION_DELTA, &d);
        d.stamp.hlc = a.stamp.hlc + 50;
        sc_item_expired_put(&items, &w.id, &d.stamp);
        memset(&g, 0, sizeof(g));
        g.context = d.context;
        g.reason = SC_DEAD_INVALIDATED;
        g.n = 1;
        g.items = items.data;
        g.items_len = items.len;
        sc_msg_groups_put(&msg[2], SC_EVT_SESSION_EXPIRED, 1);
        sc_group_put(&msg[2], &g);
        for (k = 0; k < 3; k++) {
            const sc_buf_t *b = &msg[orders[o][k]];

            (void)sc_manager_record(net->node[2].m, &net->node[orders[o][k] % 2].self, b->data,
                                    b->len);
            (void)sc_manager_record(net->node[2].m, &net->node[orders[o][k] % 2].self, b->data,
                                    b->len);
            net_run(net, 20);
        }
        CU_ASSERT_EQUAL(net_look(net, 2, 1, NULL), NET_DEAD);
        net_run(net, 2000);
        CU_ASSERT_EQUAL(net_look(net, 2, 1, NULL), NET_DEAD);
        for (i = 0; i < 3; i++) {
            sc_buf_free(&msg[i]);
        }
        sc_buf_free(&items);
        sc_buf_free(&body);
        net_destroy(net);
    }
}

/* Somebody changes what is being removed elsewhere. */
static void test_remove_against_change(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t change, remove;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_weather(net, apr_time_from_msec(50), 0, 0);
    net->link[1][2].delay = apr_time_from_msec(300); /* the change reaches n3 after its end */
    remove = net_remove(net, 0, 1);
    change = net_change(net, 1, 0, 0, 1, "a", "2", (char *)NULL);
    (void)net_outcome(net, remove);
    (void)net_outcome(net, change);
    net_run(net, 3000);
    check_everywhere(net, 1, NET_DEAD);
    net_destroy(net);
}

/* A node that missed the invalidation is told when it goes on using the session. */
static void test_missed_invalidation(void)
{
    net_t *net = net_ready(2, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net->link[0][1].full = 1;
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 1)), SC_DEGRADED);
    net->link[0][1].full = 0;
    (void)net_set(net, 1, 0, 1, "a", "2");
    net_run(net, 50);
    check_everywhere(net, 1, NET_DEAD);
    net_destroy(net);
}

static void test_tombstones_end(void)
{
    net_t *net = net_ready(2, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 1)), SC_DONE);
    net_run(net, 595 * 1000);
    check_everywhere(net, 1, NET_DEAD);
    net_run(net, 10 * 1000);
    check_everywhere(net, 1, NET_NOTHING);
    net_destroy(net);
}

/* The dead are remembered as long as a node is away that may still have them. */
static void test_tombstones_wait_for_the_missing(void)
{
    net_t *net = net_ready(2, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_part(net, 0, 1);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 1)), SC_DONE);
    net_run(net, 1500 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "2"), SC_DONE);
    net_meet(net, 0, 1);
    net_run(net, 3000);
    check_everywhere(net, 1, NET_DEAD);
    net_run(net, 1300 * 1000); /* nobody is missing any more */
    check_everywhere(net, 1, NET_NOTHING);
    net_destroy(net);
}

/* Not of one that comes back without its store. */
static void test_tombstones_of_a_new_store(void)
{
    net_t *net = net_ready(2, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_crash(net, 1, 1);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 1)), SC_DONE);
    net_run(net, 900 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    net_join(net, 1, 1);
    CU_ASSERT(net_wait_ready(net, 3000));
    net_run(net, 620 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_NOTHING);
    net_destroy(net);
}

/* ---- change of id ---------------------------------------------------------------------------- */

static void test_change_id(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "cart", "3"), SC_DONE);
    call = net_change_id(net, 0, 1, 2, 0, "user", "ann");
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_CHANGE_SESSION_ID], 2); /* one record each */
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_SESSION_EXPIRED], 0);
    check_everywhere(net, 1, NET_DEAD);
    check_everywhere(net, 2, NET_LIVE);
    net_run(net, 500);
    CU_ASSERT_EQUAL(net->node[1].board->count.replicated, 0); /* nobody has anything to add */
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 2, "cart"), "3");
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 2, "user"), "ann");
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "cart", "4"), SC_ABSENT);
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 2, "cart", "4"), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 2, 2, 0, NULL, NULL)), SC_REFUSED);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 1, 3, 0, NULL, NULL)), SC_ABSENT);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 9, 3, 0, NULL, NULL)), SC_ABSENT);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 4, "x", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 4, 2, 0, NULL, NULL)), SC_REFUSED);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 4, 1, 0, NULL, NULL)), SC_REFUSED);
    check_everywhere(net, 4, NET_LIVE);
    net_destroy(net);
}

static void test_change_id_without_base(void)
{
    net_t *net = net_ready(2, NULL);
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "cart", "3"), SC_DONE);
    CU_ASSERT_EQUAL(sc_store_remove(net->node[1].store, 0, &id), APR_SUCCESS);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 1, 2, 0, "user", "ann")), SC_DONE);
    check_everywhere(net, 1, NET_DEAD);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "cart"), "3");
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "user"), "ann");
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

static void asynchronous(sc_config_t *c, int index)
{
    (void)index;
    c->send_options = SC_OPT_ASYNCHRONOUS;
}

/* The same where the sender does not hear of it. */
static void test_change_id_without_base_async(void)
{
    net_t *net = net_ready(2, asynchronous);
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "cart", "3"), SC_DONE);
    net_run(net, 100);
    CU_ASSERT_EQUAL(sc_store_remove(net->node[1].store, 0, &id), APR_SUCCESS);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 1, 2, 0, "user", "ann")), SC_DONE);
    net_run(net, 20);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "cart"), "3");
    net_destroy(net);
}

/* Two nodes change one id at once, to two: both sessions live, and nothing is lost in either. */
static void test_change_id_by_two(void)
{
    net_t *net = net_ready(4, NULL);
    static const apr_uint32_t heirs[] = {2, 3};
    apr_uint32_t a, b, c;
    int i, k;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "cart", "3"), SC_DONE);
    net_weather(net, apr_time_from_msec(20), 0, 0);
    a = net_change_id(net, 0, 1, 2, 0, "user", "ann");
    b = net_change_id(net, 1, 1, 3, 0, "user", "ann");
    c = net_change(net, 2, 0, 0, 1, "colour", "red", (char *)NULL);
    CU_ASSERT_EQUAL(net_outcome(net, a), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, b), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, c), SC_DONE);
    net_run(net, 3000);
    check_everywhere(net, 1, NET_DEAD);
    CU_ASSERT_PTR_NULL(net_difference(net));
    for (i = 0; i < 4; i++) {
        for (k = 0; k < 2; k++) {
            CU_ASSERT_EQUAL(net_look(net, i, heirs[k], NULL), NET_LIVE);
        }
    }
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 2, "colour"), "red");
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 3, "cart"), "3");
    net_destroy(net);
}

/* One node is cut off from the one that changes the id, not from the third. */
static void test_change_id_half_seen(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call, other;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "cart", "3"), SC_DONE);
    net_run(net, 500);
    net->link[0][2].hold = 1;
    call = net_change_id(net, 0, 1, 2, 0, "user", "ann");
    net_run(net, 20);
    other = net_change(net, 2, 0, 0, 1, "colour", "red", (char *)NULL);
    net_run(net, 20);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "colour"), "red"); /* led to the new id on n2 */
    CU_ASSERT_EQUAL(net->answer[call].times, 0); /* n3 may still read under the old id */
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DEGRADED);
    CU_ASSERT_EQUAL(net_outcome(net, other), SC_DEGRADED);
    net_part(net, 0, 2);
    net->link[0][2].hold = 0;
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 1, "colour", "blue"), SC_ABSENT); /* n2 has been asked */
    net_run(net, 120000);
    /* an engine that takes over still knows where the id went */
    net_crash(net, 1, 1);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 3000));
    net_meet(net, 0, 2);
    net_run(net, 5000);
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 2, "colour"), "red");
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 2, "colour"), "red");
    check_everywhere(net, 1, NET_DEAD);
    net_destroy(net);
}

static void test_change_id_again(void)
{
    net_t *net = net_ready(2, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "cart", "3"), SC_DONE);
    net->link[0][1].hold = 1;
    (void)net_change_id(net, 0, 1, 2, 0, "user", "ann");
    net_crash(net, 0, 1); /* done here, unheard there, unanswered */
    net->link[0][1].hold = 0;
    net_join(net, 0, 0);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 1, 2, 1, "user", "ann")), SC_DONE);
    CU_ASSERT(net_wait_ready(net, 3000));
    net_run(net, 2000);
    check_everywhere(net, 1, NET_DEAD);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "cart"), "3");
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* The old id is changed elsewhere at the same moment: that is not lost (DESIGN I4). */
static void test_change_id_against_change(void)
{
    apr_interval_time_t slow;

    for (slow = 1000; slow <= 400000; slow *= 20) {
        net_t *net = net_ready(3, NULL);
        apr_uint32_t rename, change;

        CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "cart", "3"), SC_DONE);
        net_weather(net, apr_time_from_msec(20), 0, 0);
        net->link[0][2].delay = slow; /* n3 hears of the change before or after the new id */
        rename = net_change_id(net, 0, 1, 2, 0, "user", "ann");
        change = net_change(net, 1, 0, 0, 1, "colour", "red", (char *)NULL);
        CU_ASSERT_EQUAL(net_outcome(net, rename), SC_DONE);
        CU_ASSERT_EQUAL(net_outcome(net, change), SC_DONE);
        net_run(net, 3000);
        check_everywhere(net, 1, NET_DEAD);
        check_everywhere(net, 2, NET_LIVE);
        CU_ASSERT_STRING_EQUAL(net_value(net, 0, 2, "colour"), "red");
        CU_ASSERT_STRING_EQUAL(net_value(net, 2, 2, "user"), "ann");
        CU_ASSERT_PTR_NULL(net_difference(net));
        net_destroy(net);
    }
}

/* And who logs out at that moment is logged out. */
static void test_change_id_against_remove(void)
{
    apr_interval_time_t slow;

    for (slow = 1000; slow <= 400000; slow *= 20) {
        net_t *net = net_ready(3, NULL);
        apr_uint32_t rename, remove;

        CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "cart", "3"), SC_DONE);
        net_weather(net, apr_time_from_msec(20), 0, 0);
        net->link[1][2].delay = slow;
        rename = net_change_id(net, 0, 1, 2, 0, "user", "ann");
        remove = net_remove(net, 1, 1);
        (void)net_outcome(net, rename);
        (void)net_outcome(net, remove);
        net_run(net, 3000);
        check_everywhere(net, 1, NET_DEAD);
        check_everywhere(net, 2, NET_DEAD);
        net_destroy(net);
    }
}

/* ---- takeover -------------------------------------------------------------------------------- */

static void test_takeover(void)
{
    net_t *net = net_ready(3, NULL);
    sc_record_t before, after;
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_look(net, 1, 1, &before);
    net_crash(net, 0, 1);
    net->link[1][2].hold = 1;
    call = net_takeover(net, 1, 1);
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DONE); /* waits for nobody */
    CU_ASSERT_EQUAL(net_look(net, 1, 1, &after), NET_LIVE);
    CU_ASSERT_EQUAL(after.epoch, before.epoch + 1);
    CU_ASSERT_STRING_EQUAL(net_primary(net, 1, 1), "n2");
    net->link[1][2].hold = 0;
    net_run(net, 500);
    CU_ASSERT_STRING_EQUAL(net_primary(net, 2, 1), "n2");
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "1");
    CU_ASSERT_EQUAL(net_outcome(net, net_takeover(net, 1, 1)), SC_DONE); /* nothing more to do */
    CU_ASSERT_EQUAL(net->node[1].posted[SC_EVT_SESSION_DELTA], 1);
    CU_ASSERT_EQUAL(net_outcome(net, net_takeover(net, 1, 7)), SC_ABSENT);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* Two nodes take one session over at once: all agree on one of them. */
static void test_takeover_race(void)
{
    net_t *net = net_ready(4, NULL);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_weather(net, apr_time_from_msec(50), 0, 0);
    (void)net_takeover(net, 1, 1);
    (void)net_takeover(net, 2, 1);
    net_run(net, 1000);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

static void add(const char *name, void (*fn)(void))
{
    CU_add_test(CU_get_suite("delta"), name, fn);
}

void delta_ids_tests(void)
{
    add("invalidated everywhere", test_remove);
    add("invalidating what is not there", test_remove_unknown);
    add("invalidation is final in all orders", test_invalidation_is_final);
    add("invalidation against a change", test_remove_against_change);
    add("a node that missed an invalidation", test_missed_invalidation);
    add("tombstones end", test_tombstones_end);
    add("tombstones wait for missing nodes", test_tombstones_wait_for_the_missing);
    add("tombstones when a node comes back empty", test_tombstones_of_a_new_store);
    add("change of id", test_change_id);
    add("change of id where the session is missing", test_change_id_without_base);
    add("change of id where it is missing, asynchronous", test_change_id_without_base_async);
    add("change of id by two", test_change_id_by_two);
    add("change of id half seen", test_change_id_half_seen);
    add("change of id repeated after a crash", test_change_id_again);
    add("change of id against a change", test_change_id_against_change);
    add("change of id against an invalidation", test_change_id_against_remove);
    add("takeover", test_takeover);
    add("takeover by two", test_takeover_race);
}
