/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The delta manager on one to five nodes, with a fake network and a fake clock (delta_net.h). The
 * tests are in delta_*.c by topic; here are those of the frame: states, quorum, roles, contexts,
 * and hostile records.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"

void sc_suite_delta(void);

/* ---- states ---------------------------------------------------------------------------------- */

static void alone(sc_config_t *c, int index)
{
    (void)index;
    c->membership = SC_MEMBERSHIP_NONE;
    c->route[0] = '\0'; /* stand-alone needs none */
}

static void test_alone(void)
{
    net_t *net = net_create(1, alone);
    apr_uint32_t call;

    net_start(net, 0, 0);
    CU_ASSERT_EQUAL(net->node[0].board->node_state, SC_NODE_READY); /* at once */
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "user", "ann"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "User", "bob"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "user"), "bob");
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 2, "user", "eve"), SC_ABSENT); /* never adopted */
    CU_ASSERT_EQUAL(net_look(net, 0, 2, NULL), NET_NOTHING);
    call = net_fetch(net, 0, 2, "n9");
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_ABSENT);
    call = net_remove(net, 0, 1);
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DONE);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    CU_ASSERT_EQUAL(net->node[0].board->count.created, 1);
    CU_ASSERT_EQUAL(net->node[0].board->count.changed, 1);
    CU_ASSERT_EQUAL(net->node[0].board->count.invalidated, 1);
    /* the session's own primary idles out without a route, too */
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 3, NULL, NULL), SC_DONE);
    net_run(net, 1799 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 3, NULL), NET_LIVE);
    net_run(net, 3000);
    CU_ASSERT_EQUAL(net_look(net, 0, 3, NULL), NET_DEAD);
    net_destroy(net);
}

static void test_states(void)
{
    net_t *net = net_create(2, NULL);
    sc_board_t *board = net->node[0].board;

    net_start(net, 0, 0);
    CU_ASSERT_EQUAL(board->node_state, SC_NODE_JOINING);
    CU_ASSERT_EQUAL(net->node[0].self.node_state, SC_NODE_JOINING);
    sc_manager_settled(net->node[0].m);
    CU_ASSERT_EQUAL(board->node_state, SC_NODE_READY);
    CU_ASSERT_EQUAL(net->node[0].self.node_state, SC_NODE_READY); /* the others are told */
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    sc_manager_stop(net->node[0].m);
    CU_ASSERT_EQUAL(board->node_state, SC_NODE_LEAVING);
    CU_ASSERT_EQUAL(net->node[0].self.node_state, SC_NODE_LEAVING);
    net_destroy(net);
}

static void quorum_of_two(sc_config_t *c, int index)
{
    (void)index;
    c->quorum = 2;
}

static void test_quorum(void)
{
    net_t *net = net_ready(3, quorum_of_two);
    sc_board_t *board = net->node[0].board;
    apr_uint32_t call;

    CU_ASSERT_EQUAL(board->quorum_lost, 0);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_part(net, 0, 1);
    CU_ASSERT_EQUAL(board->quorum_lost, 0);
    net_part(net, 0, 2);
    CU_ASSERT_FALSE(sc_mono(&net->node[0].clock) < sc_board_get(board->lease_until));
    net_run(net, 2000);
    CU_ASSERT_EQUAL(board->quorum_lost, 1);
    CU_ASSERT_EQUAL(net->node[0].self.node_state, SC_NODE_MINORITY);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_NO_QUORUM);
    call = net_remove(net, 0, 1);
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_NO_QUORUM);
    call = net_fetch(net, 0, 1, "");
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_NO_QUORUM);
    call = net_change_id(net, 0, 1, 2, 0, NULL, NULL);
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_NO_QUORUM);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "1");
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "3"), SC_DONE); /* the majority goes on */
    net_meet(net, 0, 1);
    net_run(net, 3000);
    CU_ASSERT_EQUAL(board->quorum_lost, 0);
    CU_ASSERT_EQUAL(net->node[0].self.node_state, SC_NODE_READY);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "3");
    net_destroy(net);
}

static void last_is_balancer(sc_config_t *c, int index)
{
    if (index == 1) {
        c->role = SC_ROLE_BALANCER;
    }
}

static void test_balancer(void)
{
    net_t *net = net_ready(2, last_is_balancer);
    apr_uint64_t before = net->node[0].board->count.replicated;
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net->node[1].board->node_state, SC_NODE_READY);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net->node[0].board->count.replicated, before); /* nothing goes there */
    CU_ASSERT_EQUAL(net_set(net, 1, SC_CHANGE_NEW, 2, "a", "1"), SC_REFUSED);
    call = net_fetch(net, 1, 1, "n1");
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 0);
    net_destroy(net);
}

/* ---- contexts -------------------------------------------------------------------------------- */

static void different_names(sc_config_t *c, int index)
{
    if (index == 1) {
        strcpy(c->context[0], "www.shop");
    }
}

static void test_unknown_context(void)
{
    net_t *net = net_ready(2, different_names);
    int i;

    for (i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, (apr_uint32_t)i, "a", "1"), SC_DONE);
        net_run(net, 500);
    }
    CU_ASSERT_EQUAL(net_sessions(net, 1), 0);
    CU_ASSERT_EQUAL(net->node[1].posted[SC_EVT_ALL_SESSION_NOCONTEXTMANAGER], 2); /* state, live */
    /* each side says it, names the context and both routes, and what to do */
    CU_ASSERT(net->node[0].logged[31] >= 1 && net->node[0].logged[31] <= 2);
    CU_ASSERT_EQUAL(net->node[1].logged[30], 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(net->node[0].last_log, "\"shop\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(net->node[1].last_log, "\"shop\""));
    for (i = 0; i < 2; i++) {
        CU_ASSERT_PTR_NOT_NULL(strstr(net->node[i].last_log, "n1"));
        CU_ASSERT_PTR_NOT_NULL(strstr(net->node[i].last_log, "n2"));
        CU_ASSERT_PTR_NOT_NULL(strstr(net->node[i].last_log, "SessionClusterContext"));
    }
    CU_ASSERT_EQUAL(net->node[0].board->count.degraded, 0);
    CU_ASSERT_EQUAL(net->node[1].board->count.records_refused, 0);
    net_destroy(net);
}

static void without_contexts(sc_config_t *c, int index)
{
    c->ncontexts = index == 1 ? 0 : 1;
}

/* A context that a child names for the first time is known from then on, with all its sessions. */
static void test_learned_context(void)
{
    net_t *net = net_ready(2, without_contexts);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 2, "a", "2"), SC_DONE);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 0);
    call = net_fetch(net, 1, 1, "n1");
    CU_ASSERT(net_wait(net, call, 3000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_FOUND);
    net_run(net, 3000);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "a"), "2");
    net_destroy(net);
}

static void test_too_many_contexts(void)
{
    net_t *net = net_ready(1, NULL);
    sc_change_t c;
    char name[32];
    apr_uint32_t call;
    int i;

    memset(&c, 0, sizeof(c));
    c.flags = SC_CHANGE_NEW;
    for (i = 1; i <= SC_CONTEXTS_MAX; i++) {
        c.context = name;
        c.context_len = (apr_size_t)sprintf(name, "context%d", i);
        c.id = net_id((apr_uint32_t)i);
        call = net_request(net, 0, SC_LINK_CHANGE, 0, &c);
        CU_ASSERT_EQUAL(net->answer[call].outcome, i < SC_CONTEXTS_MAX ? SC_DONE : SC_REFUSED);
    }
    CU_ASSERT_EQUAL(net->node[0].logged[75], 1);
    net_destroy(net);
}

/* A restart brought a virtual host that the others have had for long. */
static void test_context_new_after_restart(void)
{
    net_t *net = net_create(2, without_contexts);

    net_join(net, 0, 0);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_run(net, 2000); /* n2 has heard of all of n1's changes */
    net_crash(net, 1, 1);
    net->node[1].config.ncontexts = 1;
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 5000));
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "1");
    net_destroy(net);
}

/* ---- hostile --------------------------------------------------------------------------------- */

static void put_hostile(net_t *net, sc_buf_t *b, apr_uint32_t which)
{
    static const sc_event_t events[] = {SC_EVT_SESSION_CREATED,
                                        SC_EVT_SESSION_EXPIRED,
                                        SC_EVT_SESSION_ACCESSED,
                                        SC_EVT_GET_ALL_SESSIONS,
                                        SC_EVT_ALL_SESSION_DATA,
                                        SC_EVT_SESSION_DELTA,
                                        SC_EVT_ALL_SESSION_TRANSFERCOMPLETE,
                                        SC_EVT_CHANGE_SESSION_ID,
                                        SC_EVT_ALL_SESSION_NOCONTEXTMANAGER,
                                        SC_EVT_RETRIEVE,
                                        SC_EVT_RETRIEVE_REPLY};
    apr_uint32_t n = net_random(net, 60);
    sc_id_t id = net_id(1);

    sc_buf_clear(b);
    sc_put_u8(b, events[which % (sizeof(events) / sizeof(events[0]))]);
    if (net_random(net, 2)) {
        sc_put_str(b, NET_CONTEXT, strlen(NET_CONTEXT));
        sc_put(b, id.b, sizeof(id.b));
    }
    while (n-- > 0) {
        sc_put_u8(b, net_random(net, 3) ? net_random(net, 4) : net_random(net, 256));
    }
}

static void test_hostile_records(void)
{
    net_t *net = net_ready(2, NULL);
    sc_buf_t b;
    apr_uint32_t i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    sc_buf_init(&b, 1024);
    for (i = 0; i < 30000; i++) {
        unsigned char *copy;

        put_hostile(net, &b, i);
        copy = malloc(b.len);
        memcpy(copy, b.data, b.len);
        (void)sc_manager_record(net->node[0].m, &net->node[1].self, copy, b.len);
        free(copy);
        if (i % 1000 == 0) {
            net_run(net, 50);
        }
    }
    CU_ASSERT(net->node[0].board->count.records_refused > 10000);
    CU_ASSERT(net->node[0].logged[73] > 0 && net->node[0].logged[73] < 10); /* not a line each */
    sc_buf_free(&b);
    net_run(net, 3000);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 77, "still", "alive"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 77, "still"), "alive");
    net_destroy(net);
}

/* A malformed record is thrown away and acknowledged; what comes with it is applied. */
static void test_malformed_is_no_poison(void)
{
    net_t *net = net_ready(2, NULL);
    const unsigned char broken[] = {SC_EVT_SESSION_DELTA, 4, 's', 'h'};
    const unsigned char later[] = {0x77, 1, 2, 3};
    const sc_member_t *from = &net->node[1].self;

    CU_ASSERT_EQUAL(sc_manager_record(net->node[0].m, from, broken, sizeof(broken)), APR_SUCCESS);
    CU_ASSERT_EQUAL(net->node[0].board->count.records_refused, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(net->node[0].last_log, "SESSION_DELTA"));
    CU_ASSERT_PTR_NOT_NULL(strstr(net->node[0].last_log, "n2"));
    CU_ASSERT_EQUAL(sc_manager_record(net->node[0].m, from, later, sizeof(later)), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[0].m, from, NULL, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(net->node[0].board->count.records_refused, 2);
    net_destroy(net);
}

static void test_malformed_requests(void)
{
    net_t *net = net_ready(1, NULL);
    sc_link_call_t call;
    unsigned char bytes[64];
    apr_uint32_t i, k, refused = 0;

    memset(&call, 0, sizeof(call));
    for (i = 0; i < 2000; i++) {
        for (k = 0; k < sizeof(bytes); k++) {
            bytes[k] = (unsigned char)net_random(net, 256);
        }
        call.serial = net->ncalls++;
        sc_manager_request(net->node[0].m, &call, (sc_link_op_t)(1 + net_random(net, 5)), 0, bytes,
                           net_random(net, sizeof(bytes)));
        CU_ASSERT_EQUAL(net->answer[call.serial].times, 1);
        refused += net->answer[call.serial].outcome == SC_REFUSED;
    }
    CU_ASSERT(refused > 1900);
    call.serial = net->ncalls++;
    sc_manager_request(net->node[0].m, &call, SC_LINK_PING, 0, NULL, 0);
    CU_ASSERT_EQUAL(net->answer[call.serial].outcome, SC_DONE);
    call.serial = net->ncalls++;
    sc_manager_request(net->node[0].m, &call, (sc_link_op_t)99, 0, NULL, 0);
    CU_ASSERT_EQUAL(net->answer[call.serial].outcome, SC_REFUSED);
    net_destroy(net);
}

void sc_suite_delta(void)
{
    CU_pSuite s = CU_add_suite("delta", NULL, NULL);

    CU_add_test(s, "stand-alone", test_alone);
    CU_add_test(s, "states", test_states);
    CU_add_test(s, "quorum", test_quorum);
    CU_add_test(s, "role balancer", test_balancer);
    CU_add_test(s, "a context the other does not have", test_unknown_context);
    CU_add_test(s, "a context learned from a child", test_learned_context);
    CU_add_test(s, "more contexts than places", test_too_many_contexts);
    CU_add_test(s, "a context new after a restart", test_context_new_after_restart);
    CU_add_test(s, "random records", test_hostile_records);
    CU_add_test(s, "malformed records", test_malformed_is_no_poison);
    CU_add_test(s, "malformed requests", test_malformed_requests);
    delta_changes_tests();
    delta_ids_tests();
    delta_expiry_tests();
    delta_transfer_tests();
    delta_fetch_tests();
    delta_lease_tests();
    delta_digest_tests();
    delta_random_tests();
}
