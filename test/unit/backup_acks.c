/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who has a change when it is acknowledged, while the session is being moved or a holder does not
 * answer, and who hears that it is refused. Session 1 is on node 0, with one backup.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

/* What node 0 posts. */
typedef struct watch_t {
    const backup_cast_t *c;
    void (*at_first)(struct watch_t *w); /* it asks for a location: is about to */
    int asked;                           /* to all others together */
    int claimed_since;                   /* it has asked */
    int silent;                          /* who is held since it has asked; -1: nobody */
    apr_uint32_t diff, whole, reply; /* epochs in the last BACKUP_DIFF, BACKUP, RETRIEVE_REPLY */
} watch_t;

static apr_uint32_t epoch_of(const unsigned char *bytes, apr_size_t len)
{
    sc_msg_retrieve_t reply;
    sc_wire_session_t whole;
    sc_msg_delta_t diff;
    sc_rd_t r;

    sc_rd_init(&r, bytes + 1, len - 1);
    if (bytes[0] == SC_EVT_BACKUP_DIFF) {
        CU_ASSERT_EQUAL_FATAL(sc_msg_delta_get(&r, SC_EVT_SESSION_DELTA, &diff), APR_SUCCESS);
        return diff.epoch;
    }
    if (bytes[0] == SC_EVT_BACKUP) {
        CU_ASSERT_EQUAL_FATAL(sc_msg_created_get(&r, &whole), APR_SUCCESS);
        return whole.epoch;
    }
    CU_ASSERT_EQUAL_FATAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &reply), APR_SUCCESS);
    return reply.session.epoch;
}

static void watch(net_t *net, int from, int to, const unsigned char *bytes, apr_size_t len)
{
    watch_t *w = net->tapped;

    (void)to;
    if (from != 0 || len == 0) {
        return;
    }
    w->claimed_since += w->asked > 0 && backup_claims(bytes, len);
    if (backup_asks(bytes, len) && w->asked++ == 0 && w->at_first != NULL) {
        w->at_first(w);
    }
    if (bytes[0] == SC_EVT_BACKUP_DIFF) {
        w->diff = epoch_of(bytes, len);
    } else if (bytes[0] == SC_EVT_BACKUP) {
        w->whole = epoch_of(bytes, len);
    } else if (bytes[0] == SC_EVT_RETRIEVE_REPLY) {
        w->reply = epoch_of(bytes, len);
    }
}

static watch_t watched(const backup_cast_t *c, void (*at_first)(watch_t *w))
{
    watch_t w = {c, at_first, 0, 0, -1, 0, 0, 0};

    return w;
}

/* The session is to go to the fourth node. Goes on until node 0 has posted something of what it
 * counts. */
static void begin_move(watch_t *w, const int *until)
{
    net_t *net = w->c->net;
    int i;

    net->tap = watch;
    net->tapped = w;
    backup_take(net, w->c->fourth, 0);
    for (i = 0; i < 1000 && *until == 0; i++) {
        net_run(net, 1);
    }
    CU_ASSERT_EQUAL_FATAL(*until, 4);
}

static apr_uint32_t epoch(net_t *net, int node)
{
    sc_record_t rec;

    CU_ASSERT_EQUAL(net_look(net, node, 1, &rec), NET_LIVE);
    return rec.epoch;
}

static int is_doubtful(net_t *net, int node)
{
    sc_record_t rec;

    CU_ASSERT_EQUAL(net_look(net, node, 1, &rec), NET_LIVE);
    return (rec.flags & SC_REC_DOUBT) != 0;
}

static int is_done(const net_t *net, apr_uint32_t call)
{
    return net->answer[call].outcome == SC_DONE || net->answer[call].outcome == SC_DEGRADED;
}

/* ---- a location that is asked for --------------------------------------------------------------
 */

/* One that is to hold nothing does not answer: it is not decided before it has had its time. */
static void silence_one(watch_t *w)
{
    net_t *net = w->c->net;

    w->silent = backup_has(net, w->c->third, 1, NULL) == HAS_PROXY ? w->c->third : w->c->fifth;
    CU_ASSERT_EQUAL(backup_has(net, w->silent, 1, NULL), HAS_PROXY);
    net_hold(net, w->silent, 1);
}

/* The session goes to a node that has accepted that, and acts upon it. A change does not get there:
 * it is not acknowledged because the holders have it that there were before. */
static void asked_holder_lacks(apr_uint32_t quorum)
{
    backup_cast_t c = backup_cast(backup_quorum(5, 1, quorum), 0);
    watch_t w = watched(&c, silence_one);
    net_t *net = c.net;
    apr_uint32_t call;
    int i;

    begin_move(&w, &w.asked);
    net_run(net, 20);
    CU_ASSERT_EQUAL(epoch(net, c.fourth), 2);
    CU_ASSERT_EQUAL(epoch(net, 0), 1);
    net->link[0][c.fourth].full = 1;
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    for (i = 0; i < 5000 && net->answer[call].times == 0; i++) {
        net_run(net, 1);
        net->link[0][c.fourth].full = i < 900;
    }
    CU_ASSERT_EQUAL(net->answer[call].times, 1);
    CU_ASSERT(is_done(net, call));
    CU_ASSERT(net_is(net_value(net, c.fourth, 1, "a"), "2"));
    net->link[0][c.fourth].full = 0;
    net->tap = NULL;
    net_hold(net, w.silent, 0);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(net_is(backup_value(net, 1, "a"), "2"));
    net_destroy(net);
}

static void test_asked_holder_lacks(void)
{
    asked_holder_lacks(0);
    asked_holder_lacks(3);
}

/* Somebody has promised a higher number meanwhile, so it has to be asked for once more, by a number
 * that is claimed first. */
static void promise_higher(watch_t *w)
{
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(sc_store_promise(w->c->net->node[w->c->third].store, 0, &id, 100), APR_SUCCESS);
}

/* Others know the location that was asked for, and nobody yet the one that is planned. */
static void test_told_while_claimed(void)
{
    backup_cast_t c = backup_cast(backup_ready(5, 1), 0);
    watch_t w = watched(&c, promise_higher);
    net_t *net = c.net;
    sc_record_t rec;

    begin_move(&w, &w.claimed_since);
    net_hold(net, c.third, 1);
    net_run(net, 20);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, &rec), NET_LIVE);
    CU_ASSERT_EQUAL(rec.epoch, 1);
    CU_ASSERT_EQUAL(rec.promised, 101);
    CU_ASSERT_EQUAL(epoch(net, c.backup), 2);
    (void)net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    CU_ASSERT_EQUAL(w.diff, 2);
    (void)net_change(net, 0, 0, 1, 1, "a", "3", (char *)NULL);
    CU_ASSERT_EQUAL(w.whole, 2);
    (void)net_fetch(net, c.fifth, 1, "n1");
    net_run(net, 5);
    CU_ASSERT_EQUAL(w.reply, 2);
    CU_ASSERT_EQUAL(epoch(net, 0), 1);
    net->tap = NULL;
    net_hold(net, c.third, 0);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(net_is(backup_value(net, 1, "a"), "3"));
    net_destroy(net);
}

/* ---- numbers that are claimed ------------------------------------------------------------------
 */

/* One of five hangs. */
static void claim_with_one_silent(apr_uint32_t quorum)
{
    backup_cast_t c = backup_cast(backup_quorum(5, 1, quorum), 0);
    net_t *net = c.net;
    const apr_uint64_t *copies = &net->node[0].posted[SC_EVT_COPY];

    net_hold(net, c.third, 1);
    backup_take(net, c.fourth, 0);
    net_run(net, 300);
    CU_ASSERT_EQUAL(*copies > 0, quorum > 1); /* they go off when the number has been claimed */
    net_run(net, 3000);
    CU_ASSERT(*copies > 0);
    CU_ASSERT(net_is(net_primary(net, 0, 1), net->node[c.fourth].config.route));
    net_hold(net, c.third, 0);
    CU_ASSERT(backup_settled(net, 10000));
    net_destroy(net);
}

static void test_claimed_by_quorum(void)
{
    claim_with_one_silent(3);
}

static void test_claimed_by_all(void)
{
    claim_with_one_silent(0);
}

/* ---- changes that are refused ------------------------------------------------------------------
 */

static void impatient(sc_config_t *c, int index)
{
    backup_tweak(c, index);
    c->ack_wait_ms = 400;
    c->delta.fetch_ms = 100;
}

/* Another one claims the number of each new location, again and again. @return 1 if it was answered
 */
static int wait_contended(net_t *net, int contender, apr_uint32_t call)
{
    sc_id_t id = net_id(1);
    sc_record_t own, his;
    int i;

    for (i = 0; i < 5000 && net->answer[call].times == 0; i++) {
        CU_ASSERT_EQUAL(net_look(net, 0, 1, &own), NET_LIVE);
        CU_ASSERT_EQUAL(net_look(net, contender, 1, &his), NET_LIVE);
        if (his.promised < own.promised + 3) {
            CU_ASSERT_EQUAL(sc_store_promise(net->node[contender].store, 0, &id, own.promised + 5),
                            APR_SUCCESS);
        }
        net_run(net, 1);
    }
    return net->answer[call].times == 1;
}

/* The backup hangs, and the session does not get a location without it: the answer is "not known",
 * and comes as long as somebody waits for it. Whoever then wants to see the session waits less
 * long.
 */
static void test_not_too_late(void)
{
    backup_cast_t c;
    net_t *net;
    apr_uint32_t call;
    apr_time_t late;

    backup_copies = 1;
    net = net_ready(4, impatient);
    net_run(net, 3000);
    c = backup_cast(net, 0);
    late = apr_time_from_msec(net->node[0].config.delta.fetch_ms +
                              net->node[0].config.ack_wait_ms / 2);
    net->link[0][c.third].delay = net->link[0][c.fourth].delay = 5000;
    net_hold(net, c.backup, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    CU_ASSERT(wait_contended(net, c.third, call));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
    CU_ASSERT(net->answer[call].wait_us <=
              late + apr_time_from_msec(net->node[0].config.ack_wait_ms + 50));
    CU_ASSERT(is_doubtful(net, 0));
    call = net_fetch(net, 0, 1, "n1");
    CU_ASSERT(wait_contended(net, c.third, call));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_UNKNOWN);
    CU_ASSERT(net->answer[call].wait_us <= late + apr_time_from_msec(50));
    net_hold(net, c.backup, 0);
    CU_ASSERT(backup_settled(net, 20000));
    CU_ASSERT(net_is(backup_value(net, 1, "a"), "2"));
    net_destroy(net);
}

static void delta_of_three(sc_config_t *c, int index)
{
    (void)index;
    c->manager = SC_MANAGER_DELTA;
    c->quorum = 3;
}

/* All three hold it. One hangs, the other one has acknowledged: that is too few. It has heard of
 * the change, and would show it as one that counts. */
static void refused_after_all(net_t *net)
{
    apr_uint32_t call;

    net_make(net, 0, 1, 1);
    net_run(net, 500);
    net_hold(net, 2, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    net_run(net, 50);
    CU_ASSERT(net_is(net_value(net, 1, 1, "a"), "2"));
    CU_ASSERT_FALSE(is_doubtful(net, 1));
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_NO_QUORUM);
    net_run(net, 10);
    CU_ASSERT(is_doubtful(net, 0));
    CU_ASSERT(is_doubtful(net, 1));
    net_hold(net, 2, 0);
    net_destroy(net);
}

static void test_refused_after_all(void)
{
    refused_after_all(backup_quorum(3, 2, 3));
    refused_after_all(net_ready(3, delta_of_three));
}

void backup_acks_tests(void)
{
    CU_pSuite s = CU_get_suite("backup");

    CU_add_test(s, "a change and a location that is asked for", test_asked_holder_lacks);
    CU_add_test(s, "a location that is asked for anew", test_told_while_claimed);
    CU_add_test(s, "a number that a quorum has promised", test_claimed_by_quorum);
    CU_add_test(s, "a number that all have to promise", test_claimed_by_all);
    CU_add_test(s, "a change that holders lack is answered in time", test_not_too_late);
    CU_add_test(s, "who has a change that is refused", test_refused_after_all);
}
