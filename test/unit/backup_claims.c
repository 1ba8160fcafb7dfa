/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Numbers of new locations: claimed, promised, refused; and what a node that has promised one does
 * until the location comes. In some tests one node says what the test wants it to say.
 */
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

static sc_record_t record(net_t *net, int node)
{
    sc_record_t rec;

    memset(&rec, 0, sizeof(rec));
    CU_ASSERT_EQUAL(net_look(net, node, 1, &rec), NET_LIVE);
    return rec;
}

static apr_uint32_t epoch(net_t *net, int node)
{
    return record(net, node).epoch;
}

static apr_uint32_t promised(net_t *net, int node)
{
    return record(net, node).promised;
}

static apr_uint64_t digest(net_t *net, int node)
{
    apr_uint64_t d = 0;
    sc_id_t id = net_id(1);
    sc_record_t rec;
    sc_buf_t body;

    sc_buf_init(&body, 64 * 1024);
    if (sc_store_get(net->node[node].store, 0, &id, &rec, &body) == APR_SUCCESS) {
        d = sc_body_digest(body.data, body.len);
    }
    sc_buf_free(&body);
    return d;
}

/* A newer value than all have, in the copy of one node only. */
static void plant(net_t *net, int node, const char *value)
{
    sc_record_t rec = record(net, node);
    sc_attr_t a;
    sc_buf_t body;

    memset(&a, 0, sizeof(a));
    a.name = "a";
    a.name_len = 1;
    a.value = value;
    a.value_len = strlen(value);
    a.stamp = rec.stamp;
    a.stamp.hlc += (apr_uint64_t)1 << 16;
    rec.stamp = a.stamp;
    sc_buf_init(&body, 4096);
    sc_attr_put(&body, &a);
    CU_ASSERT_EQUAL(sc_store_put(net->node[node].store, &rec, body.data, body.len), APR_SUCCESS);
    sc_buf_free(&body);
}

/* ---- a node that says what the test wants -----------------------------------------------------
 */

/* What a node has answered to a claim, or to a location. */
typedef struct reply_t {
    int from, to;
    int came;
    int wholes; /* sessions that came before it */
    int refused;
    sc_place_t place; /* what it says then */
    unsigned int flags;
} reply_t;

static void overhear(net_t *net, int from, int to, const unsigned char *bytes, apr_size_t len)
{
    reply_t *reply = net->tapped;
    sc_msg_places_t list;
    sc_group_t g;
    sc_rd_t r, items;

    if (from != reply->from || to != reply->to || len == 0) {
        return;
    }
    reply->wholes += bytes[0] == SC_EVT_BACKUP && !reply->came;
    if (bytes[0] != SC_EVT_NOTIFY_REPLY) {
        return;
    }
    reply->came++;
    sc_rd_init(&r, bytes + 1, len - 1);
    CU_ASSERT_EQUAL_FATAL(sc_msg_places_get(&r, &list), APR_SUCCESS);
    reply->flags = list.flags;
    if (list.ngroups > 0) {
        CU_ASSERT_EQUAL(sc_places_group_get(&r, &g), APR_SUCCESS);
        sc_rd_init(&items, g.items, g.items_len);
        CU_ASSERT_EQUAL(sc_place_get(&items, &reply->place), APR_SUCCESS);
        reply->refused = 1;
    }
}

/* @param number 0: it is a location that is to be accepted */
static reply_t say(net_t *net, int from, int to, const sc_record_t *rec, apr_uint64_t has,
                   apr_uint32_t number)
{
    reply_t reply = {to, from, 0, 0, 0, {{{0}}, 0, 0, 0, {0}, 0, 0}, 0};
    sc_places_t *list = sc_places_create();
    sc_store_t *store = net->node[from].store;
    sc_buf_t b;

    CU_ASSERT_EQUAL(sc_places_number(list, store, rec, has, number), APR_SUCCESS);
    sc_buf_init(&b, 4096);
    sc_places_put(&b, SC_EVT_NOTIFY, (apr_uint64_t)1 << 40, number != 0 ? SC_PLACES_CLAIM : 0, list,
                  store);
    net->tap = overhear;
    net->tapped = &reply;
    CU_ASSERT_EQUAL(sc_manager_record(net->node[to].m, &net->node[from].self, b.data, b.len),
                    APR_SUCCESS);
    net->tap = NULL;
    sc_buf_free(&b);
    sc_places_free(list);
    CU_ASSERT_EQUAL(reply.came, 1);
    return reply;
}

/* Claim a number for the location that the claimer knows. */
static reply_t claim(net_t *net, int from, int to, apr_uint32_t number)
{
    sc_record_t base = record(net, from);

    return say(net, from, to, &base, digest(net, to), number);
}

/* Whether a node promises a number, and is then bound to it. */
static int promises(net_t *net, int from, int to, apr_uint32_t number)
{
    return !claim(net, from, to, number).refused && promised(net, to) == number;
}

/* Ask a node to accept what the one that asks is to hold, with another one. */
static reply_t notify(net_t *net, int from, int to, int with, apr_uint32_t number)
{
    sc_record_t want = record(net, from);

    want.primary = backup_route(net, from, from);
    memset(want.backups, 0, sizeof(want.backups));
    want.backups[0] = backup_route(net, from, with);
    want.epoch = number;
    return say(net, from, to, &want, digest(net, to), 0);
}

/* ---- promises -------------------------------------------------------------------------------- */

static void test_promised_once(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    reply_t r;

    CU_ASSERT(promises(net, c.primary, c.third, 5));
    /* it comes twice: it may have been answered, and the answer lost */
    CU_ASSERT(promises(net, c.primary, c.third, 5));
    r = claim(net, c.backup, c.third, 5); /* but to nobody else */
    CU_ASSERT(r.refused && r.place.number == 5);
    r = claim(net, c.backup, c.third, 4);
    CU_ASSERT(r.refused && r.place.number == 5);
    CU_ASSERT_EQUAL(promised(net, c.third), 5);
    CU_ASSERT(promises(net, c.backup, c.third, 6));
    /* the first one is over */
    r = claim(net, c.primary, c.third, 5);
    CU_ASSERT(r.refused && r.place.number == 6);
    r = notify(net, c.primary, c.third, c.backup, 5);
    CU_ASSERT(r.refused && r.place.number == 6);
    CU_ASSERT_EQUAL(epoch(net, c.third), 1);
    r = notify(net, c.backup, c.third, c.primary, 6);
    CU_ASSERT_FALSE(r.refused);
    CU_ASSERT_EQUAL(epoch(net, c.third), 6);
    CU_ASSERT_EQUAL(promised(net, c.third), 0);
    net_destroy(net);
}

/* Without a quorum two may be asked for with one number. The names say which counts, whichever
 * comes first. */
static void test_same_number(void)
{
    int i;

    for (i = 0; i < 2; i++) {
        backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
        net_t *net = c.net;
        int greater = c.backup > c.primary ? c.backup : c.primary;
        int lesser = greater == c.backup ? c.primary : c.backup;

        CU_ASSERT_FALSE(
            notify(net, i ? greater : lesser, c.third, i ? lesser : greater, 7).refused);
        CU_ASSERT_EQUAL(notify(net, i ? lesser : greater, c.third, i ? greater : lesser, 7).refused,
                        i);
        CU_ASSERT_EQUAL(record(net, c.third).primary, backup_route(net, c.third, greater));
        net_destroy(net);
    }
}

/* Of a session that is not known here a promise is remembered, too; a claimer that is no holder is
 * not believed to know where it is. */
static void test_promised_unknown(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    sc_id_t id = net_id(1);
    reply_t r;

    CU_ASSERT_EQUAL(sc_store_remove(net->node[c.third].store, 0, &id), APR_SUCCESS);
    CU_ASSERT_FALSE(claim(net, c.fourth, c.third, 5).refused);
    CU_ASSERT_EQUAL(net_look(net, c.third, 1, NULL), NET_NOTHING);
    r = claim(net, c.backup, c.third, 5);
    CU_ASSERT(r.refused && r.place.number == 5);
    r = notify(net, c.backup, c.third, c.primary, 4);
    CU_ASSERT(r.refused && r.place.number == 5);
    CU_ASSERT_EQUAL(net_look(net, c.third, 1, NULL), NET_NOTHING);
    CU_ASSERT(promises(net, c.primary, c.third, 6));
    net_destroy(net);
}

/* Who knows a location that is newer than the one the claimer begins from says where it is. */
static void test_claim_of_the_past(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    sc_record_t old = record(net, c.primary);
    reply_t r = notify(net, c.backup, c.third, c.primary, 4);

    CU_ASSERT_FALSE(r.refused);
    r = say(net, c.primary, c.third, &old, digest(net, c.primary), 9);
    CU_ASSERT(r.refused && r.place.epoch == 4 && r.place.number == 0);
    CU_ASSERT_EQUAL(promised(net, c.third), 0);
    net_destroy(net);
}

/* A number that is not above the location from which it begins is none. */
static void test_claim_of_nothing(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    apr_uint64_t before = net->node[c.third].board->count.records_refused;

    CU_ASSERT(claim(net, c.primary, c.third, 1).refused);
    CU_ASSERT_EQUAL(net->node[c.third].board->count.records_refused, before + 1);
    CU_ASSERT_EQUAL(promised(net, c.third), 0);
    net_destroy(net);
}

static void test_promise_outlives_engine(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    reply_t r;

    CU_ASSERT(promises(net, c.primary, c.third, 5));
    net_crash(net, c.third, 1);
    net_join(net, c.third, 0);
    CU_ASSERT(net_wait_ready(net, 5000));
    CU_ASSERT_EQUAL(epoch(net, c.third), 1);
    r = notify(net, c.backup, c.third, c.primary, 4);
    CU_ASSERT(r.refused && r.place.number == 5);
    CU_ASSERT_EQUAL(epoch(net, c.third), 1);
    CU_ASSERT(claim(net, c.backup, c.third, 4).refused);
    CU_ASSERT(claim(net, c.backup, c.third, 5).refused); /* to whom it was is forgotten */
    CU_ASSERT(promises(net, c.backup, c.third, 6));
    net_destroy(net);
}

/* ---- who has promised -------------------------------------------------------------------------
 */

/* Changes by the old number are refused, of the whole session as of parts of it, but not those of
 * the claimer. */
static void test_fence(void)
{
    static const sc_event_t events[] = {SC_EVT_BACKUP_DIFF, SC_EVT_BACKUP};
    int i;

    for (i = 0; i < 2; i++) {
        net_t *net = backup_ready(4, 1);
        backup_cast_t c = backup_cast(net, 0);
        backup_kept_t k = {events[i], c.primary, c.backup, {0}, 0};
        apr_uint32_t call;
        sc_member_t *maker = &net->node[c.primary].self, *claimer = &net->node[c.third].self;

        net->tap = backup_keep;
        net->tapped = &k;
        if (i == 0) {
            call = net_change(net, c.primary, 0, 0, 1, "a", "2", (char *)NULL);
        } else { /* which the backup lacks: it gets the whole of it */
            sc_id_t id = net_id(1);

            CU_ASSERT_EQUAL(sc_store_remove(net->node[c.backup].store, 0, &id), APR_SUCCESS);
            call = net_change(net, c.primary, 0, 0, 1, "a", "2", (char *)NULL);
        }
        CU_ASSERT(net_wait(net, call, 5000));
        net->tap = NULL;
        CU_ASSERT_FATAL(k.len > 0);
        CU_ASSERT_EQUAL(sc_manager_record(net->node[c.backup].m, maker, k.bytes, k.len),
                        APR_SUCCESS);
        CU_ASSERT(promises(net, c.third, c.backup, 5));
        CU_ASSERT_EQUAL(sc_manager_record(net->node[c.backup].m, maker, k.bytes, k.len),
                        APR_EGENERAL);
        CU_ASSERT_EQUAL(sc_manager_record(net->node[c.backup].m, claimer, k.bytes, k.len),
                        APR_SUCCESS);
        net_destroy(net);
    }
}

/* The claimer does not come back to it: the owner goes past the promise, and changes count again.
 * @param backup it was the backup that promised: the owner does not even know that */
static void stale_on(net_t *net, int backup)
{
    backup_cast_t c = backup_cast(net, 0);
    int i, waited = 0;

    CU_ASSERT(promises(net, c.third, backup ? c.backup : c.primary, 5));
    CU_ASSERT(promises(net, c.third, c.fourth, 5));
    net_run(net, 2500);
    for (; net_set(net, c.primary, 0, 1, "a", "3") != SC_DONE && waited < 5000; waited += 500) {
        net_run(net, 500);
    }
    CU_ASSERT(waited < 5000);
    CU_ASSERT(backup_settled(net, 5000));
    for (i = 0; i < 4; i++) {
        CU_ASSERT(epoch(net, i) > 5);
        CU_ASSERT_EQUAL(promised(net, i), 0);
    }
    CU_ASSERT_TRUE(net_is(backup_value(net, 1, "a"), "3"));
    net_destroy(net);
}

static void test_stale(void)
{
    stale_on(backup_ready(4, 1), 1);
    stale_on(backup_ready(4, 1), 0);
    stale_on(backup_quorum(4, 1, 2), 1);
    stale_on(backup_quorum(4, 1, 2), 0);
}

/* With a quorum: whoever was promised a number need not hear of a change by a lower one, so as long
 * as not all holders have it, it counts only by a higher one. */
static void test_bound_owner(void)
{
    net_t *net = backup_quorum(3, 2, 2);
    sc_record_t base;
    apr_uint32_t call;
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT(backup_settled(net, 3000));
    base = record(net, 2);
    net_hold(net, 2, 1);
    CU_ASSERT_FALSE(say(net, 2, 0, &base, digest(net, 0), base.epoch + 4).refused);
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    for (i = 0; i < 10000 && net->answer[call].times == 0; i++) {
        net_run(net, 1);
    }
    CU_ASSERT_EQUAL(net->answer[call].times, 1);
    if (net->answer[call].outcome == SC_DONE || net->answer[call].outcome == SC_DEGRADED) {
        CU_ASSERT(epoch(net, 0) > base.epoch + 4);
    }
    net_hold(net, 2, 0);
    CU_ASSERT(backup_settled(net, 20000));
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "3"), SC_DONE);
    CU_ASSERT_TRUE(net_is(backup_value(net, 1, "a"), "3"));
    net_destroy(net);
}

/* ---- what the claimer gets ---------------------------------------------------------------------
 */

static void test_brought_up(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    sc_record_t base = record(net, c.primary);
    reply_t r;

    r = say(net, c.primary, c.backup, &base, digest(net, c.backup), 4);
    CU_ASSERT(!r.refused && r.wholes == 0); /* it is the same */
    r = say(net, c.primary, c.backup, &base, 1, 5);
    CU_ASSERT(!r.refused && r.wholes == 1); /* before the answer */
    r = say(net, c.primary, c.third, &base, 1, 5);
    CU_ASSERT(!r.refused && r.wholes == 0); /* it has none */
    net_destroy(net);
}

typedef struct watch_t {
    int node;
    int copies, old; /* that it has posted, and those of them without the change */
} watch_t;

static void watch_copies(net_t *net, int from, int to, const unsigned char *bytes, apr_size_t len)
{
    watch_t *w = net->tapped;

    (void)to;
    if (from == w->node && len > 0 && bytes[0] == SC_EVT_COPY) {
        const char *value = net_value(net, from, 1, "a");

        w->copies++;
        w->old += value == NULL || strcmp(value, "new") != 0;
    }
}

/* A change that the others have acknowledged, and the owner has not got: what moves has it. */
static void test_moves_the_latest(void)
{
    net_t *net = backup_quorum(4, 2, 3);
    watch_t w = {0, 0, 0};
    int i, other = -1, holders = 0;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT(backup_settled(net, 3000));
    net_run(net, 300);
    for (i = 1; i < 4; i++) {
        if (backup_has(net, i, 1, NULL) == HAS_COPY) {
            plant(net, i, "new");
            holders++;
        } else {
            other = i;
        }
    }
    CU_ASSERT_FATAL(holders == 2 && other > 0);
    CU_ASSERT_TRUE(net_is(net_value(net, 0, 1, "a"), "1"));
    net->tap = watch_copies;
    net->tapped = &w;
    (void)net_takeover(net, other, 1);
    net_run(net, 1000);
    net->tap = NULL;
    CU_ASSERT_STRING_EQUAL(net_primary(net, other, 1), net->node[other].config.route);
    CU_ASSERT(w.copies > 0);
    CU_ASSERT_EQUAL(w.old, 0);
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT_TRUE(net_is(backup_value(net, 1, "a"), "new"));
    net_destroy(net);
}

/* Who has lost its memory does not know what it has promised: its promise does not make a quorum.
 */
static void test_blank_promise(void)
{
    backup_cast_t c = backup_cast(backup_quorum(4, 1, 3), 0);
    net_t *net = c.net;
    apr_uint32_t call;

    net_crash(net, c.fourth, 1);
    net_start(net, c.fourth, 1);
    net_meet(net, c.fourth, 0);
    net_meet(net, c.fourth, c.third);
    CU_ASSERT_EQUAL(claim(net, 0, c.fourth, 2).flags, SC_PLACES_BLANK);
    CU_ASSERT_EQUAL(claim(net, 0, c.third, 2).flags, 0);
    net_run(net, 100);
    net_crash(net, c.backup, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    net_run(net, 3000); /* what the backup was granted has run out long since */
    CU_ASSERT_NOT_EQUAL(net->node[c.fourth].board->node_state, SC_NODE_READY);
    CU_ASSERT_EQUAL(epoch(net, c.third), 1);
    CU_ASSERT_TRUE(net->answer[call].times == 0 || net->answer[call].outcome == SC_NO_QUORUM);
    sc_manager_settled(net->node[c.fourth].m);
    CU_ASSERT_TRUE(net_wait_ready(net, 5000));
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "3"), SC_DONE);
    CU_ASSERT_TRUE(epoch(net, c.third) > 1);
    net_destroy(net);
}

/* The same as the claimer sees it: three of four have promised that know what they promised before.
 */
static void test_blank_counted(void)
{
    backup_cast_t c = backup_cast(backup_quorum(5, 1, 4), 0);
    net_t *net = c.net;
    int i;

    net_crash(net, c.fourth, 1);
    net_start(net, c.fourth, 1);
    for (i = 0; i < 5; i++) {
        if (i != c.fourth) {
            net_meet(net, c.fourth, i);
        }
    }
    net_run(net, 100);
    net->link[c.fifth][0].hold = 1;
    backup_take(net, c.third, 0);
    net_run(net, 100);
    CU_ASSERT_NOT_EQUAL(net->node[c.fourth].board->node_state, SC_NODE_READY);
    CU_ASSERT_NOT_EQUAL(epoch(net, c.third), 2);
    net->link[c.fifth][0].hold = 0;
    net_run(net, 2000);
    CU_ASSERT_TRUE(epoch(net, c.third) > 1);
    net_destroy(net);
}

/* ---- who decides ------------------------------------------------------------------------------
 */

/* Somebody has asked for a location, and dies, or never comes to an end: its primary decides. */
static backup_cast_t open_at(int which)
{
    backup_cast_t c = backup_cast(backup_quorum(5, 1, 3), 0);
    int backups[3] = {0, c.backup, c.fourth};
    net_t *net = c.net;
    sc_record_t want;

    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "")), SC_FOUND);
    want = record(net, 0);
    want.epoch++;
    want.primary = backup_route(net, c.fifth, c.third);
    want.backups[0] = backup_route(net, c.fifth, backups[which]);
    CU_ASSERT_FALSE(say(net, c.fifth, c.third, &want, digest(net, 0), 0).refused);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_COPY);
    CU_ASSERT_EQUAL(epoch(net, c.third), 2);
    return c;
}

static void left_open(int which, int dies)
{
    backup_cast_t c = open_at(which);
    net_t *net = c.net;
    apr_uint32_t call;

    if (dies) {
        net_crash(net, c.fifth, 1);
    } else {
        net_run(net, 2100);
    }
    call = net_change(net, c.third, 0, 0, 1, "a", "2", (char *)NULL);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
    CU_ASSERT_TRUE(epoch(net, c.third) > 2);
    CU_ASSERT_EQUAL(epoch(net, 0), epoch(net, c.third));
    net_destroy(net);
}

/* The same when it is only looked at, and it is not known whether all have what is here. */
static void left_open_shown(int which)
{
    backup_cast_t c = open_at(which);
    net_t *net = c.net;
    sc_store_t *store = net->node[c.third].store;
    sc_id_t id = net_id(1);
    sc_record_t rec;
    sc_buf_t body;

    sc_buf_init(&body, 4096);
    CU_ASSERT_EQUAL(sc_store_get(store, 0, &id, &rec, &body), APR_SUCCESS);
    rec.flags |= SC_REC_DOUBT;
    CU_ASSERT_EQUAL(sc_store_put(store, &rec, body.data, body.len), APR_SUCCESS);
    net_run(net, 1100);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "")), SC_FOUND);
    CU_ASSERT_TRUE(epoch(net, c.third) > 2);
    sc_buf_free(&body);
    net_destroy(net);
}

static void test_left_open(void)
{
    int i;

    for (i = 0; i < 3; i++) { /* one of these backups is as it should be, and nothing has to move */
        left_open(i, 1);
        left_open(i, 0);
        left_open_shown(i);
    }
}

/* ---- two owners --------------------------------------------------------------------------------
 */

/* How many pairs of nodes know different locations with one number. */
static int conflicts(net_t *net)
{
    int i, k, n = 0;

    for (i = 0; i < net->n; i++) {
        for (k = 0; k < i; k++) {
            sc_record_t a, b;

            n += net_look(net, i, 1, &a) == NET_LIVE && net_look(net, k, 1, &b) == NET_LIVE &&
                 a.epoch == b.epoch &&
                 strcmp(backup_where(net, i, 1), backup_where(net, k, 1)) != 0;
        }
    }
    return n;
}

/* Primary and backup have lost each other, each is nearer to one of the others, and is asked by
 * that one for the session. */
static void test_two_owners(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    int i, bad = 0;

    net->link[c.primary][c.fourth].delay = 30000;
    net->link[c.backup][c.third].delay = 30000;
    net_part(net, c.primary, c.backup);
    backup_take(net, c.third, c.primary);
    backup_take(net, c.fourth, c.backup);
    CU_ASSERT(promised(net, c.primary) == 2 && promised(net, c.backup) == 2);
    for (i = 0; i < 8000; i++) {
        net_run(net, 1);
        bad += conflicts(net);
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT(epoch(net, c.third) > 1); /* one of them has moved it */
    CU_ASSERT_STRING_EQUAL(backup_where(net, c.third, 1), backup_where(net, c.fourth, 1));
    net_meet(net, c.primary, c.backup);
    for (i = 0; i < 3000; i++) {
        net_run(net, 1);
        bad += conflicts(net);
    }
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT_TRUE(net_is(backup_value(net, 1, "a"), "1"));
    net_destroy(net);
}

/* Who was refused because of a higher number goes past it at once. */
static void test_next_number(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;

    CU_ASSERT(promises(net, c.backup, c.third, 200));
    backup_take(net, c.fourth, c.primary);
    CU_ASSERT_EQUAL(promised(net, c.primary), 2);
    net_run(net, 1500);
    CU_ASSERT_EQUAL(epoch(net, c.primary), 201);
    CU_ASSERT(net_is(net_primary(net, c.third, 1), net->node[c.fourth].config.route));
    CU_ASSERT(backup_settled(net, 5000));
    net_destroy(net);
}

/* Whose number is lower gives way to the other one. */
static void test_gives_way(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    apr_uint64_t asked;

    net->link[c.third][c.primary].hold = 1;
    backup_take(net, c.fourth, c.primary);
    net_run(net, 100);
    CU_ASSERT_EQUAL(promised(net, c.primary), 2);
    CU_ASSERT(claim(net, c.backup, c.primary, 2).refused); /* it has promised that to itself */
    CU_ASSERT(promises(net, c.backup, c.primary, 3));
    asked = net->node[c.primary].posted[SC_EVT_NOTIFY];
    net->link[c.third][c.primary].hold = 0;
    net_run(net, 1500);
    CU_ASSERT_EQUAL(net->node[c.primary].posted[SC_EVT_NOTIFY], asked);
    CU_ASSERT_EQUAL(epoch(net, c.primary), 1);
    net_destroy(net);
}

/* The same with a cut between them: who has no quorum decides nothing, whatever his name, and takes
 * what the others have decided. */
static void test_owner_without_quorum(void)
{
    net_t *net = backup_quorum(5, 1, 3);
    backup_cast_t c = backup_cast(net, 4);
    char before[64];
    apr_uint32_t call;
    int i, k;

    snprintf(before, sizeof(before), "%.60s", backup_where(net, 4, 1));
    backup_take(net, c.third, c.primary);
    for (i = 0; i < 5; i++) {
        for (k = 0; k < i; k++) {
            int left = i == c.primary || i == c.third, too = k == c.primary || k == c.third;

            if (left != too) {
                net_part(net, i, k);
            }
        }
    }
    net_run(net, 6000);
    CU_ASSERT_STRING_EQUAL(backup_where(net, c.primary, 1), before);
    CU_ASSERT_STRING_EQUAL(backup_where(net, c.third, 1), before);
    CU_ASSERT(epoch(net, c.backup) > 1);
    CU_ASSERT_STRING_EQUAL(net_primary(net, c.backup, 1), net->node[c.backup].config.route);
    CU_ASSERT_EQUAL(net_set(net, c.backup, 0, 1, "a", "new"), SC_DONE);
    call = net_change(net, c.primary, 0, 0, 1, "b", "lost", (char *)NULL);
    CU_ASSERT(net_wait(net, call, 10000));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_NO_QUORUM);
    for (i = 0; i < 5; i++) {
        for (k = 0; k < i; k++) {
            net_meet(net, i, k);
        }
    }
    CU_ASSERT(backup_settled(net, 20000));
    for (i = 0; i < 5; i++) {
        CU_ASSERT(epoch(net, i) > 1);
    }
    CU_ASSERT_TRUE(net_is(backup_value(net, 1, "a"), "new"));
    for (i = 0; i < 5; i++) { /* and so all read it */
        call = net_fetch(net, i, 1, "n5");
        CU_ASSERT(net_wait(net, call, 5000));
        CU_ASSERT_EQUAL(net->answer[call].outcome, SC_FOUND);
        CU_ASSERT_TRUE(net_is(net_value(net, i, 1, "a"), "new"));
    }
    net_destroy(net);
}

/* A location that it asks others to accept counts for a node, as far as others claim something. */
static void test_claim_while_asking(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    sc_record_t base = record(net, c.backup);
    apr_uint64_t *asked = &net->node[c.primary].posted[SC_EVT_NOTIFY];
    int waited = 0;
    reply_t r;

    backup_take(net, c.fourth, c.primary);
    CU_ASSERT_EQUAL(*asked, 3); /* for promises */
    while (*asked == 3 && waited++ < 1000) {
        net_run(net, 1);
    }
    net->link[c.third][c.primary].hold = 1;
    net_run(net, 20);
    CU_ASSERT_EQUAL(epoch(net, c.primary), 1);
    CU_ASSERT_EQUAL(epoch(net, c.backup), 2);
    r = say(net, c.backup, c.primary, &base, digest(net, c.primary), 9);
    CU_ASSERT(r.refused && r.place.epoch == 2 && r.place.number == 0);
    net->link[c.third][c.primary].hold = 0;
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT_EQUAL(epoch(net, c.third), 2);
    net_destroy(net);
}

/* A number that is as far ahead as a promise can be kept, or farther, stops nobody for good. */
static void far_ahead(apr_uint32_t number)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    int waited = 0;

    (void)claim(net, c.third, c.backup, number);
    net_run(net, 2500);
    for (; net_set(net, c.primary, 0, 1, "a", "3") != SC_DONE && waited < 5000; waited += 500) {
        net_run(net, 500);
    }
    CU_ASSERT(waited < 5000); /* it can be changed, */
    backup_take(net, c.fourth, backup_primary(net, 1));
    net_run(net, 5000);
    CU_ASSERT(
        net_is(net_primary(net, c.third, 1), net->node[c.fourth].config.route)); /* and moved */
    CU_ASSERT(backup_settled(net, 5000));
    net_destroy(net);
}

static void test_far_ahead(void)
{
    far_ahead(SC_PROMISE_MAX); /* the last one with which it works */
    far_ahead(1 + SC_PROMISE_MAX);
    far_ahead(2 + SC_PROMISE_MAX);
    far_ahead(SC_EPOCH_MAX);
}

/* Claims of some hundred sessions come twice, to one node. */
static void test_many_twice(void)
{
    enum { N = 400 };
    net_t *net = backup_ready(4, 1);
    int n, round, refused = 0;

    for (round = 0; round < 2; round++) {
        for (n = 0; n < N; n++) {
            sc_record_t rec;

            memset(&rec, 0, sizeof(rec));
            rec.id = net_id(1000 + (apr_uint32_t)n);
            rec.epoch = 1;
            rec.primary = backup_route(net, 0, 0);
            refused += say(net, 0, 3, &rec, 0, 2).refused;
        }
    }
    CU_ASSERT(refused <= N / 4);
    net_destroy(net);
}

void backup_claims_tests(void)
{
    CU_pSuite s = CU_get_suite("backup");

    CU_add_test(s, "a number is promised once", test_promised_once);
    CU_add_test(s, "two locations asked for with one number", test_same_number);
    CU_add_test(s, "a number is promised for what is not known", test_promised_unknown);
    CU_add_test(s, "a claim that begins from an old location", test_claim_of_the_past);
    CU_add_test(s, "a claim of what has been", test_claim_of_nothing);
    CU_add_test(s, "a promise outlives the engine", test_promise_outlives_engine);
    CU_add_test(s, "who has promised refuses what is old", test_fence);
    CU_add_test(s, "a promise that came to nothing", test_stale);
    CU_add_test(s, "an owner that has promised", test_bound_owner);
    CU_add_test(s, "a claimer gets what it lacks", test_brought_up);
    CU_add_test(s, "what is moved is the latest", test_moves_the_latest);
    CU_add_test(s, "a promise that is far ahead", test_far_ahead);
    CU_add_test(s, "many claims that come twice", test_many_twice);
    CU_add_test(s, "two owners", test_two_owners);
    CU_add_test(s, "the next number after a refusal", test_next_number);
    CU_add_test(s, "a claim gives way to a higher one", test_gives_way);
    CU_add_test(s, "two owners, one without a quorum", test_owner_without_quorum);
    CU_add_test(s, "a claim against what is asked for", test_claim_while_asking);
    CU_add_test(s, "a promise without memory", test_blank_promise);
    CU_add_test(s, "a promise without memory is not counted", test_blank_counted);
    CU_add_test(s, "a location that nobody decides", test_left_open);
}
