/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Creating, changing and removing sessions; waiting for acknowledgements, and what happens when
 * they do not come.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"

/* ---- replication ----------------------------------------------------------------------------- */

static void test_create(void)
{
    net_t *net = net_ready(3, NULL);
    sc_record_t rec;
    apr_uint32_t call;
    int i;

    net_weather(net, apr_time_from_msec(20), 0, 0);
    call = net_change(net, 0, SC_CHANGE_NEW, 0, 1, "user", "ann", "Cart", "3", (char *)NULL);
    CU_ASSERT_EQUAL(net->answer[call].times, 0); /* not before they have it */
    net_run(net, 30);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    /* there and back; the line may have been busy with something else when it began */
    CU_ASSERT(net->answer[call].wait_us >= apr_time_from_msec(40) &&
              net->answer[call].wait_us <= apr_time_from_msec(80));
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(net_look(net, i, 1, &rec), NET_LIVE);
        CU_ASSERT_EQUAL(rec.max_idle_s, 1800);
        CU_ASSERT_STRING_EQUAL(net_value(net, i, 1, "cart"), "3");
        CU_ASSERT_STRING_EQUAL(net_primary(net, i, 1), "n1");
        /* in the time of its own clock */
        CU_ASSERT(llabs(net->now + net->node[i].mono_offset - rec.created) < 100000);
    }
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_SESSION_CREATED], 2);
    CU_ASSERT_EQUAL(net->node[0].board->count.created, 1);
    CU_ASSERT_EQUAL(net->node[0].board->count.replicated, 2);
    CU_ASSERT_EQUAL(net->node[0].board->count.acked, 2);
    CU_ASSERT_EQUAL(net->node[1].board->count.applied, 1);
    CU_ASSERT_EQUAL(net->node[1].board->count.created, 0);
    net_destroy(net);
}

static void test_delta(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint64_t before;
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "user", "ann"), SC_DONE);
    call = net_change(net, 0, 0, 0, 1, "USER", "-", "cart", "1", (char *)NULL);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT_PTR_NULL(net_value(net, 2, 1, "user"));
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "cart"), "1");
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_SESSION_DELTA], 2);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_SESSION_CREATED], 2);
    /* the node that changes it last is its primary */
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "cart", "2"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_primary(net, 0, 1), "n2");
    CU_ASSERT_STRING_EQUAL(net_primary(net, 2, 1), "n2");
    /* a request that changes nothing is answered without a message */
    before = net->node[1].board->count.replicated;
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, NULL, NULL), SC_DONE);
    CU_ASSERT_EQUAL(net->node[1].board->count.replicated, before);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* DESIGN I4: on several nodes at the same moment. */
static void test_concurrent(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call[6];
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "x", "0"), SC_DONE);
    net_weather(net, apr_time_from_msec(50), 0, 0);
    call[0] = net_change(net, 0, 0, 0, 1, "a", "1", "same", "n1", (char *)NULL);
    call[1] = net_change(net, 1, 0, 0, 1, "b", "2", "same", "n2", (char *)NULL);
    call[2] = net_change(net, 2, 0, 0, 1, "c", "3", "x", "-", (char *)NULL);
    call[3] = net_change(net, 0, 0, 0, 1, "d", "4", (char *)NULL);
    call[4] = net_change(net, 1, 0, 0, 1, "e", "5", (char *)NULL);
    call[5] = net_change(net, 2, 0, 0, 1, "f", "6", (char *)NULL);
    for (i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(net_outcome(net, call[i]), SC_DONE);
    }
    CU_ASSERT_PTR_NULL(net_difference(net));
    for (i = 0; i < 6; i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
        const char want[] = {(char)('1' + i), '\0'};

        CU_ASSERT_STRING_EQUAL(net_value(net, i % 3, 1, names[i]), want);
    }
    CU_ASSERT_PTR_NULL(net_value(net, 1, 1, "x"));
    net_destroy(net);
}

/* A node whose clock is behind still overrules what it has seen. */
static void test_stamps(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint64_t hlc;

    net->node[0].wall_offset = apr_time_from_sec(3600);
    net->node[1].wall_offset = -apr_time_from_sec(3600);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "fast"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "slow"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "slow");
    /* and goes on from there after a restart of its engine, on the same noticeboard */
    hlc = net->node[1].board->hlc;
    CU_ASSERT(hlc >> 16 > (apr_uint64_t)apr_time_as_msec(sc_wall(&net->node[1].clock)));
    net_crash(net, 1, 1);
    net_join(net, 1, 0);
    CU_ASSERT(net_wait_ready(net, 2000));
    CU_ASSERT_EQUAL(net_set(net, 1, 0, 1, "a", "slower"), SC_DONE);
    CU_ASSERT(net->node[1].board->hlc > hlc);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "slower");
    net_destroy(net);
}

static void test_future(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint64_t wall = (apr_uint64_t)apr_time_as_msec(sc_wall(&net->node[1].clock));

    net->node[0].wall_offset = net->node[1].wall_offset + apr_time_from_sec(25 * 3600);
    net->node[0].board->hlc = 0; /* a machine that begins like that */
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DEGRADED);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_NOTHING);
    CU_ASSERT(net->node[1].board->count.records_refused > 0);
    /* it has not taken that clock for its own */
    CU_ASSERT(net->node[1].board->hlc >> 16 < wall + 3600 * 1000);
    CU_ASSERT_EQUAL(net->node[1].logged[2], 1);
    /* a little ahead is no harm */
    net->node[0].wall_offset = net->node[1].wall_offset + apr_time_from_sec(23 * 3600);
    net->node[0].board->hlc = 0;
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 2, "a", "1"), SC_DONE);
    /* set back by more than a day: said so */
    net->node[0].wall_offset -= apr_time_from_sec(50 * 3600);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 3, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net->node[0].logged[1], 1);
    net_destroy(net);
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

static void hold(net_t *net, int to, int on)
{
    int i;

    for (i = 0; i < net->n; i++) {
        net->link[i][to].hold = on;
    }
}

static void test_lagging(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call, other;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "0"), SC_DONE);
    hold(net, 2, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "1", (char *)NULL);
    net_run(net, 500);
    other = net_change(net, 0, 0, 0, 1, "b", "1", (char *)NULL);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DEGRADED);
    CU_ASSERT_EQUAL(net->answer[call].wait_us, apr_time_from_msec(1000));
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "1"); /* the other one has it */
    CU_ASSERT_EQUAL(net_outcome(net, other), SC_DEGRADED);
    CU_ASSERT_EQUAL(net->node[0].logged[10], 1);
    /* now it is known to lag: nobody waits for it, only for the other one */
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DEGRADED);
    CU_ASSERT(net->answer[call].wait_us < 50000);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "2");
    CU_ASSERT_EQUAL(net->node[0].board->count.degraded, 3);
    /* it comes back, gets everything, and is waited for again */
    hold(net, 2, 0);
    net_run(net, 5000);
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_STRING_EQUAL(net_value(net, 2, 1, "a"), "2");
    CU_ASSERT_EQUAL(net->node[0].logged[11], 1);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "3"), SC_DONE);
    net_destroy(net);
}

static void refuse(sc_config_t *c, int index)
{
    (void)index;
    c->refuse_unacked = 1;
}

/* Writes at node 0 for so long. @return how many of them waited for all of the time */
static int write_for(net_t *net, int ms, int *degraded)
{
    apr_time_t end = net->now + apr_time_from_msec(ms);
    int late = 0;

    while (net->now < end) {
        apr_time_t began = net->now;
        sc_outcome_t outcome = net_set(net, 0, 0, 1, "a", "x");

        CU_ASSERT(outcome == SC_DONE || outcome == SC_DEGRADED);
        *degraded += outcome == SC_DEGRADED;
        late += net->now - began >= apr_time_from_msec(900);
        net_run(net, 20);
    }
    return late;
}

/* One that hangs again and again, and acknowledges what has piled up in between: nobody waits for
 * it each time anew. When it has done better for a while, it is waited for. */
static void test_lagging_again(void)
{
    net_t *net = net_ready(3, NULL);
    int degraded = 0;
    int late = 0;
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "0"), SC_DONE);
    for (i = 0; i < 20; i++) {
        hold(net, 2, 1);
        late += write_for(net, 1300, &degraded);
        hold(net, 2, 0);
        late += write_for(net, 200, &degraded);
    }
    CU_ASSERT(late >= 1 && late <= 3);
    CU_ASSERT(degraded > 20);
    degraded = 0;
    CU_ASSERT_EQUAL(write_for(net, 1500, &degraded), 0);
    CU_ASSERT(degraded > 10);
    net_run(net, 3000);
    degraded = 0;
    CU_ASSERT_EQUAL(write_for(net, 500, &degraded), 0);
    CU_ASSERT_EQUAL(degraded, 0);
    /* the next time it takes longer, */
    hold(net, 2, 1);
    (void)write_for(net, 1300, &degraded);
    hold(net, 2, 0);
    net_run(net, 3000);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "x"), SC_DEGRADED);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "x"), SC_DONE);
    /* but that is forgotten */
    net_run(net, 70000);
    hold(net, 2, 1);
    (void)write_for(net, 1300, &degraded);
    hold(net, 2, 0);
    net_run(net, 500);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "x"), SC_DONE);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

static void both(sc_config_t *c, int index)
{
    (void)index;
    c->quorum = 2;
}

/* Nor would there be a quorum without it. */
static void test_lagging_quorum(void)
{
    net_t *net = net_ready(2, both);
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "0"), SC_DONE);
    for (i = 0; i < 4; i++) {
        hold(net, 1, 1);
        CU_ASSERT_NOT_EQUAL(net_set(net, 0, 0, 1, "a", "1"), SC_DONE);
        hold(net, 1, 0);
        net_run(net, 1500);
        CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_DONE);
    }
    net_destroy(net);
}

/* Without it nothing would be acknowledged: better late than not at all. */
static void test_lagging_needed(void)
{
    net_t *net = net_ready(2, refuse);
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "0"), SC_DONE);
    for (i = 0; i < 4; i++) {
        hold(net, 1, 1);
        CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "1"), SC_NOT_REPLICATED);
        hold(net, 1, 0);
        net_run(net, 600);
        CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_DONE);
    }
    net_destroy(net);
}

static void test_refused(void)
{
    net_t *net = net_ready(2, refuse);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "0"), SC_DONE);
    hold(net, 1, 1);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "1"), SC_NOT_REPLICATED);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_NOT_REPLICATED);
    CU_ASSERT_EQUAL(net->node[0].board->count.degraded, 2);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "2");
    net_destroy(net);
}

static void asynchronous(sc_config_t *c, int index)
{
    (void)index;
    c->send_options = SC_OPT_ASYNCHRONOUS;
}

static void test_asynchronous(void)
{
    net_t *net = net_ready(2, asynchronous);
    apr_uint32_t call;

    hold(net, 1, 1);
    call = net_change(net, 0, SC_CHANGE_NEW, 0, 1, "a", "1", (char *)NULL);
    CU_ASSERT_EQUAL(net->answer[call].times, 1); /* at once */
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DONE);
    hold(net, 1, 0);
    net_run(net, 1000);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "1");
    net_destroy(net);
}

static void test_gone_while_waiting(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint32_t call;

    hold(net, 2, 1);
    call = net_change(net, 0, SC_CHANGE_NEW, 0, 1, "a", "1", (char *)NULL);
    net_run(net, 300);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    net_forget(net, 0, 2, 0);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT_EQUAL(net->node[0].board->count.degraded, 0);
    CU_ASSERT_EQUAL(net->node[0].board->count.failed, 0);
    /* the other one may go before it answers, too */
    hold(net, 1, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    net_forget(net, 0, 1, 1);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    net_destroy(net);
}

static void test_queue_full(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint32_t call;

    net->link[0][1].full = 1;
    call = net_change(net, 0, SC_CHANGE_NEW, 0, 1, "a", "1", (char *)NULL);
    CU_ASSERT_EQUAL(net->answer[call].times, 1); /* nothing to wait for */
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DEGRADED);
    CU_ASSERT_EQUAL(net->node[0].board->count.failed, 1);
    net->link[0][1].full = 0;
    net_run(net, 5000); /* the gap is noticed and made up */
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "1");
    net_destroy(net);
}

/* ---- sessions that are not there ------------------------------------------------------------- */

/* A replica that lacks the session refuses the delta and gets the whole. */
static void test_delta_without_base(void)
{
    net_t *net = net_ready(2, NULL);
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(sc_store_remove(net->node[1].store, 0, &id), APR_SUCCESS);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "b", "2"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "1");
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "b"), "2");
    CU_ASSERT_EQUAL(net->node[0].board->count.degraded, 0);
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* The same where the sender does not hear of it. */
static void test_delta_without_base_async(void)
{
    net_t *net = net_ready(2, asynchronous);
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_run(net, 100);
    CU_ASSERT_EQUAL(sc_store_remove(net->node[1].store, 0, &id), APR_SUCCESS);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "b", "2"), SC_DONE);
    net_run(net, 500);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "1");
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "b"), "2");
    net_destroy(net);
}

/* A node that lacks a session which its child changes looks for it first. */
static void test_change_fetches(void)
{
    net_t *net = net_ready(3, NULL);
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(sc_store_remove(net->node[2].store, 0, &id), APR_SUCCESS);
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 1, "b", "2"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "b"), "2");
    CU_ASSERT_PTR_NULL(net_difference(net));
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 99, "b", "2"), SC_ABSENT);
    CU_ASSERT_EQUAL(net_look(net, 2, 99, NULL), NET_NOTHING);
    net_destroy(net);
}

static void test_again(void)
{
    net_t *net = net_ready(2, NULL);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "2"), SC_REFUSED); /* an id twice */
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "1");
    /* the engine dies between its change and the answer, and before the other node has it */
    hold(net, 1, 1);
    call = net_change(net, 0, SC_CHANGE_NEW, 0, 2, "a", "1", (char *)NULL);
    net_crash(net, 0, 1);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    hold(net, 1, 0);
    net_join(net, 0, 0);
    call = net_change(net, 0, SC_CHANGE_NEW, 1, 2, "a", "1", (char *)NULL);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "a"), "1");
    /* and when it had not even begun */
    call = net_change(net, 0, SC_CHANGE_NEW, 1, 3, "a", "1", (char *)NULL);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT(net_wait_ready(net, 3000));
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void small_sessions(sc_config_t *c, int index)
{
    (void)index;
    c->max_session = 1000;
}

static void test_too_large(void)
{
    net_t *net = net_ready(2, small_sessions);
    char value[1001];

    memset(value, 'v', sizeof(value));
    value[999] = '\0'; /* with the name: 1000 */
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", value), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "b", ""), SC_TOO_LARGE);
    CU_ASSERT_PTR_NULL(net_value(net, 0, 1, "b")); /* the old state stays */
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), value);
    CU_ASSERT_EQUAL(net->node[0].board->count.refused_size, 1);
    CU_ASSERT_EQUAL(net->node[0].logged[20], 1);
    CU_ASSERT_PTR_NULL(strstr(net->node[0].last_log, "5A5A5A5A5A5A")); /* the id is masked */
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "short"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "b", ""), SC_DONE);
    value[999] = 'v';
    value[1000] = '\0';
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 2, "a", value), SC_TOO_LARGE);
    CU_ASSERT_EQUAL(net_look(net, 0, 2, NULL), NET_NOTHING);
    CU_ASSERT_EQUAL(net->node[0].board->count.refused_size, 2);
    CU_ASSERT_EQUAL(net->node[0].logged[20], 1); /* one line per while */
    /* a limit that was lowered: such a session may shrink, not grow */
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 3, "a", value + 100), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 3, "b", "12345678901234567890"), SC_DONE);
    net->node[0].config.max_session = 500;
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 3, "b", "123456789012345678901"), SC_TOO_LARGE);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 3, "b", "-"), SC_DONE);
    net_destroy(net);
}

/* Names that are set and removed for ever do not fill a session up. */
static void test_removals_do_not_pile_up(void)
{
    net_t *net = net_ready(1, small_sessions);
    sc_record_t rec;
    char name[2][200];
    apr_uint32_t call;
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "kept", "1"), SC_DONE);
    memset(name, 'n', sizeof(name));
    for (i = 0; i < 400; i++) {
        snprintf(name[i % 2], sizeof(name[0]), "flash%0150d", i);
        call = net_change(net, 0, 0, 0, 1, name[i % 2], "x", i > 0 ? name[(i + 1) % 2] : "y", "-",
                          (char *)NULL);
        CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DONE);
        net_run(net, 1000);
    }
    CU_ASSERT_EQUAL(net_look(net, 0, 1, &rec), NET_LIVE);
    CU_ASSERT(rec.body_len < 2 * 1000 + 16 * 1024);
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "kept"), "1");
    net_destroy(net);
}

static const char *large(void)
{
    static char value[8000];

    memset(value, 'v', sizeof(value) - 1);
    return value;
}

/* Fill a node's store. @return number of the first session that did not fit */
static apr_uint32_t fill(net_t *net, int node)
{
    apr_uint32_t id;

    for (id = 1; id < 5000; id++) {
        int got = net_set(net, node, SC_CHANGE_NEW, id, "a", large());

        if (got == SC_FULL) {
            break;
        }
        CU_ASSERT(got == SC_DONE || got == SC_DEGRADED);
    }
    return id;
}

static void test_full(void)
{
    net_t *net = net_ready(1, NULL);
    apr_uint32_t n = fill(net, 0);
    sc_board_t *board = net->node[0].board;

    CU_ASSERT(n > 50);
    CU_ASSERT_EQUAL(net_look(net, 0, n, NULL), NET_NOTHING);
    CU_ASSERT_EQUAL(board->count.refused_full, 1);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, n + 1, "a", large()), SC_FULL);
    CU_ASSERT_EQUAL(board->count.refused_full, 2);
    CU_ASSERT_EQUAL(net->node[0].logged[3], 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(net->node[0].last_log, "SessionClusterMemory"));
    CU_ASSERT_EQUAL(net_sessions(net, 0), n - 1); /* the established ones are all there */
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "b", "2"), SC_DONE);
    CU_ASSERT_EQUAL(net->answer[net_remove(net, 0, 1)].outcome, SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, n + 1, "a", large()), SC_DONE); /* room again */
    net_destroy(net);
}

/* A full replica says so, quickly, and the node that is not full goes on. */
static void test_full_replica(void)
{
    net_t *net = net_create(2, NULL);
    apr_uint32_t i, call = 0;

    net_join(net, 0, 0);
    net->store_bytes = SC_STORE_MIN;
    net_join(net, 1, 1);
    CU_ASSERT(net_wait_ready(net, 2000));
    for (i = 1; i < 5000 && net->node[1].board->count.refused_full == 0; i++) {
        call = net_change(net, 0, SC_CHANGE_NEW, 0, i, "a", large(), (char *)NULL);
        CU_ASSERT(net_wait(net, call, 2000));
    }
    CU_ASSERT(i < 5000);
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DEGRADED);
    CU_ASSERT(net->answer[call].wait_us < 100000);
    CU_ASSERT(net->node[0].board->count.failed > 0);
    CU_ASSERT_EQUAL(net->node[1].logged[3], 1);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "b", "2"), SC_DONE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "b"), "2");
    net_destroy(net);
}

static void add(const char *name, void (*fn)(void))
{
    CU_add_test(CU_get_suite("delta"), name, fn);
}

void delta_changes_tests(void)
{
    add("created everywhere before the answer", test_create);
    add("changed by deltas", test_delta);
    add("concurrent changes all win", test_concurrent);
    add("clocks that disagree", test_stamps);
    add("changes from the far future", test_future);
    add("a member that does not answer", test_lagging);
    add("a member that does not answer again and again", test_lagging_again);
    add("a member that is needed", test_lagging_needed);
    add("a member that the quorum needs", test_lagging_quorum);
    add("onTimeout=fail", test_refused);
    add("asynchronous", test_asynchronous);
    add("a member goes while it is waited for", test_gone_while_waiting);
    add("a member's queue is full", test_queue_full);
    add("a delta without its session", test_delta_without_base);
    add("a delta without its session, asynchronous", test_delta_without_base_async);
    add("a change of a session that is elsewhere", test_change_fetches);
    add("requests repeated after a crash", test_again);
    add("too large", test_too_large);
    add("removed attributes do not pile up", test_removals_do_not_pile_up);
    add("full", test_full);
    add("a replica is full", test_full_replica);
}
