/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which copy is the latest one, and whether enough have it: copies by old locations, copies that
 * make no holder, new sessions with few backups, members that go, nodes that hear too few others.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include <apr_strings.h>

#include "backup_net.h"

static apr_uint32_t epoch(net_t *net, int node)
{
    sc_record_t rec;

    return net_look(net, node, 1, &rec) == NET_LIVE ? rec.epoch : 0;
}

/* A node has heard where session 1 is: on two nodes. */
static void locate(net_t *net, int node, int primary, int backup, apr_uint32_t number)
{
    apr_uint16_t b = backup_route(net, node, backup);
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(sc_store_set_location(net->node[node].store, 0, &id,
                                          backup_route(net, node, primary), &b, 1, number),
                    APR_SUCCESS);
}

/* The same, told by another node; what is there has to go, and differs from what the primary has.
 */
static void hear(net_t *net, int node, int from, int primary, int backup, apr_uint32_t number)
{
    sc_places_t *list = sc_places_create();
    sc_record_t rec;
    sc_buf_t b;

    memset(&rec, 0, sizeof(rec));
    rec.id = net_id(1);
    rec.epoch = number;
    rec.primary = backup_route(net, from, primary);
    rec.backups[0] = backup_route(net, from, backup);
    CU_ASSERT_EQUAL(sc_places_add(list, net->node[from].store, &rec, 1), APR_SUCCESS);
    sc_buf_init(&b, 4096);
    sc_places_put(&b, SC_EVT_PROXY, 0, 0, list, net->node[from].store);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[node].m, &net->node[from].self, b.data, b.len),
                    APR_SUCCESS);
    sc_buf_free(&b);
    sc_places_free(list);
}

/* ---- fetched -----------------------------------------------------------------------------------
 */

/* The session has been elsewhere and come back: its primary does not know that, and hangs on to
 * what it had then. The one that has the latest hangs. */
static backup_cast_t behind(void)
{
    backup_cast_t c = backup_cast(backup_ready(5, 1), 0);
    int i;

    for (i = 0; i < 5; i++) {
        if (i != 0 && i != c.third && i != c.fourth) {
            locate(c.net, i, c.fourth, 0, 3);
        }
    }
    net_hold(c.net, c.fourth, 1);
    net_run(c.net, 3000);
    return c;
}

static void test_old_copy(void)
{
    backup_cast_t c = behind();
    net_t *net = c.net;

    CU_ASSERT_EQUAL(backup_has(net, 0, 1, NULL), HAS_COPY);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "n1")), SC_UNKNOWN);
    CU_ASSERT_NOT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_GUEST);
    CU_ASSERT_NOT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_COPY);
    net_hold(net, c.fourth, 0);
    net_destroy(net);
}

/* It learns of that, and has got the latest, between its answer and that of the one who knows. */
static void test_asked_again(void)
{
    backup_cast_t c = behind();
    net_t *net = c.net;
    apr_uint32_t call;

    net->link[c.backup][c.third].delay = 60000;
    call = net_fetch(net, c.third, 1, "n1");
    net_run(net, 30);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    locate(net, 0, c.fourth, 0, 3);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_FOUND);
    CU_ASSERT_TRUE(net_is(net_value(net, c.third, 1, "a"), "1"));
    net_hold(net, c.fourth, 0);
    net_destroy(net);
}

/* The same for the own copy. Who has told of the newer location is no holder by it, so it was not
 * taken over: what this node has missed has not come with it. */
static void test_own_old_copy(void)
{
    backup_cast_t c = backup_cast(backup_ready(5, 1), 0);
    net_t *net = c.net;

    net_hold(net, c.fourth, 1);
    hear(net, c.backup, c.fifth, c.fourth, 0, 3);
    net_run(net, 3000);
    CU_ASSERT_TRUE(sc_board_get(net->node[0].board->lease_until) <= sc_mono(&net->node[0].clock));
    CU_ASSERT_EQUAL(backup_has(net, c.backup, 1, NULL), HAS_GUEST);
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, 0, 1, "n1")), SC_UNKNOWN);
    net_hold(net, c.fourth, 0);
    net_destroy(net);
}

static void hold_when_asked(net_t *net, int from, int to, const unsigned char *bytes,
                            apr_size_t len)
{
    const backup_cast_t *c = net->tapped;

    (void)to;
    if (from == 0 && backup_asks(bytes, len)) {
        net_hold(net, c->fifth, 1);
        net_hold(net, c->backup, 1);
    }
}

/* A location that is asked for and not decided: others act upon it, and whoever asks by it gets the
 * copy of the one that has asked for it. */
static void test_undecided(void)
{
    backup_cast_t c = backup_cast(backup_ready(5, 1), 0);
    net_t *net = c.net;
    apr_uint32_t call;

    net->tap = hold_when_asked;
    net->tapped = &c;
    backup_take(net, c.fifth, 0);
    net_run(net, 900);
    CU_ASSERT_TRUE(sc_board_get(net->node[0].board->lease_until) <= sc_mono(&net->node[0].clock));
    CU_ASSERT_EQUAL(epoch(net, 0), 1);
    CU_ASSERT_EQUAL(epoch(net, c.third), 2);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_PROXY);
    call = net_fetch(net, c.third, 1, "");
    CU_ASSERT_TRUE(net_wait(net, call, 50));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_FOUND);
    CU_ASSERT_EQUAL(epoch(net, 0), 1);
    net->tap = NULL;
    net_hold(net, c.backup, 0);
    net_hold(net, c.fifth, 0);
    net_destroy(net);
}

static int reads(net_t *net, int node)
{
    return sc_board_get(net->node[node].board->lease_until) > sc_mono(&net->node[node].clock);
}

static void hold_backup_when_asked(net_t *net, int from, int to, const unsigned char *bytes,
                                   apr_size_t len)
{
    const backup_cast_t *c = net->tapped;

    (void)to;
    if (from == 0 && backup_asks(bytes, len)) {
        net_hold(net, c->backup, 1);
    }
}

/* A location has reached its new primary, and not the backup by the one before. Before that one has
 * heard of it, or cannot read any more, nothing is changed by it; also if the new primary goes on
 * to the next one. */
static void open_for(int next)
{
    backup_cast_t c = backup_cast(backup_quorum(5, 1, 3), 0);
    net_t *net = c.net;
    apr_uint32_t call;
    int ms;

    net->tap = hold_backup_when_asked;
    net->tapped = &c;
    backup_take(net, c.third, 0);
    for (ms = 0; ms < 100 && epoch(net, c.third) < 2; ms++) {
        net_run(net, 1);
    }
    CU_ASSERT_EQUAL(epoch(net, c.third), 2);
    CU_ASSERT_EQUAL(epoch(net, c.backup), 1);
    if (next) {
        backup_take(net, c.fourth, c.third);
        net_run(net, 20);
    }
    call = net_change(net, c.third, 0, 0, 1, "a", "2", (char *)NULL);
    for (ms = 0; ms < 5000 && net->answer[call].times == 0; ms++) {
        net_run(net, 1);
    }
    CU_ASSERT_EQUAL(net->answer[call].times, 1);
    CU_ASSERT_TRUE(epoch(net, c.backup) > 1 || !reads(net, c.backup));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DONE);
    net->tap = NULL;
    net_hold(net, c.backup, 0);
    CU_ASSERT_TRUE(backup_settled(net, 10000));
    CU_ASSERT_TRUE(net_is(backup_value(net, 1, "a"), "2"));
    net_destroy(net);
}

static void test_open(void)
{
    open_for(0);
    open_for(1);
}

/* Usually that takes no longer than a few messages. */
static void test_soon_decided(void)
{
    backup_cast_t c = backup_cast(backup_quorum(5, 1, 3), 0);
    net_t *net = c.net;
    apr_uint32_t call;
    int ms;

    backup_take(net, c.third, 0);
    for (ms = 0; ms < 100 && epoch(net, c.third) < 2; ms++) {
        net_run(net, 1);
    }
    call = net_change(net, c.third, 0, 0, 1, "a", "2", (char *)NULL);
    CU_ASSERT_TRUE(net_wait(net, call, 15));
    CU_ASSERT_EQUAL(net->answer[call].outcome, SC_DONE);
    net_destroy(net);
}

/* Somebody names this node as a holder, which has nothing; nor has the other one. */
static void test_names_nobody(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    sc_id_t id = net_id(1);
    int i;

    locate(net, c.fourth, 0, c.third, 2);
    for (i = 0; i < 4; i++) {
        if (i != c.fourth) {
            CU_ASSERT_EQUAL(sc_store_remove(net->node[i].store, 0, &id), APR_SUCCESS);
        }
    }
    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "n1")), SC_ABSENT);
    net_destroy(net);
}

/* A copy came with an answer, did not count, and is held here by now. */
static void test_held_since(void)
{
    backup_cast_t c = backup_cast(backup_ready(5, 1), 0);
    net_t *net = c.net;
    apr_uint32_t call;

    net_hold(net, 0, 1);
    net_run(net, 3000);
    net->link[c.fourth][c.third].delay = net->link[c.fifth][c.third].delay = 300000;
    call = net_fetch(net, c.third, 1, "n1");
    net_run(net, 50);
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_GUEST);
    locate(net, c.third, 0, c.third, 2);
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_UNKNOWN);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_COPY);
    net_hold(net, 0, 0);
    net_destroy(net);
}

/* ---- holders -----------------------------------------------------------------------------------
 */

/* A whole session names the one it goes to as a holder; that it is only if it comes from one. */
static void test_named_by_others(void)
{
    backup_cast_t c = backup_cast(backup_ready(5, 1), 0);
    net_t *net = c.net;
    sc_id_t id = net_id(1);
    sc_wire_session_t w;
    sc_record_t rec;
    sc_buf_t body, b;
    int i;

    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "n1")), SC_FOUND);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_GUEST);
    sc_buf_init(&body, 4096);
    sc_buf_init(&b, 4096);
    CU_ASSERT_EQUAL(sc_store_get(net->node[0].store, 0, &id, &rec, &body), APR_SUCCESS);
    memset(&w, 0, sizeof(w));
    w.context = NET_CONTEXT;
    w.context_len = strlen(NET_CONTEXT);
    w.id = id;
    w.max_idle_s = rec.max_idle_s;
    w.stamp = rec.stamp;
    w.primary = "n1";
    w.primary_len = 2;
    w.nbackups = 1;
    w.backup[0].s = net->node[c.third].config.route;
    w.backup[0].len = strlen(w.backup[0].s);
    w.epoch = 2;
    w.body = body.data;
    w.body_len = body.len;
    sc_msg_created_put(&b, SC_EVT_BACKUP, &w);
    for (i = 0; i < 2; i++) {
        int from = i == 0 ? c.fourth : 0;

        (void)sc_manager_record(net->node[c.third].m, &net->node[from].self, b.data, b.len);
        CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), i == 0 ? HAS_GUEST : HAS_COPY);
        CU_ASSERT_EQUAL(epoch(net, c.third), i == 0 ? 1 : 2);
    }
    sc_buf_free(&body);
    sc_buf_free(&b);
    net_destroy(net);
}

/* ---- copies that do not arrive ------------------------------------------------------------------
 */

typedef struct asks_t {
    int from;
    int copied[NET_MAX]; /* sessions posted to each */
    int asked;           /* for locations */
    int holes;           /* holders that were named, are there, and have no copy */
    int named;
} asks_t;

static void watch_asks(net_t *net, int from, int to, const unsigned char *bytes, apr_size_t len)
{
    asks_t *a = net->tapped;
    sc_msg_places_t list;
    sc_rd_t r, items;
    sc_place_t p;
    sc_group_t g;
    int node;
    apr_uint32_t i;

    if (from != a->from || len == 0) {
        return;
    }
    a->copied[to] += bytes[0] == SC_EVT_COPY;
    if (!backup_asks(bytes, len)) {
        return;
    }
    sc_rd_init(&r, bytes + 1, len - 1);
    CU_ASSERT_EQUAL_FATAL(sc_msg_places_get(&r, &list), APR_SUCCESS);
    a->asked++;
    CU_ASSERT_EQUAL(sc_places_group_get(&r, &g), APR_SUCCESS);
    sc_rd_init(&items, g.items, g.items_len);
    CU_ASSERT_EQUAL(sc_place_get(&items, &p), APR_SUCCESS);
    for (i = 0; i < p.nbackups; i++) {
        node = backup_node(
            net, apr_pstrmemdup(net->pool, list.route[p.backup[i]].s, list.route[p.backup[i]].len));
        if (node >= 0 && net->node[node].alive && net->node[from].sees[node]) {
            backup_has_t has = backup_has(net, node, 1, NULL);

            a->named++;
            a->holes += has != HAS_COPY && has != HAS_GUEST;
        }
    }
}

/* Two are to get copies; one of them goes while they are on their way, and is there again, before
 * the other one has got his. */
static void test_copy_lost(void)
{
    net_t *net = backup_ready(5, 2);
    asks_t a;
    int i, gone[2], n = 0, waited = 0;

    memset(&a, 0, sizeof(a));
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT(backup_settled(net, 3000));
    for (i = 1; i < 5; i++) {
        if (backup_has(net, i, 1, NULL) == HAS_COPY) {
            net_crash(net, i, 1);
        } else if (n < 2) {
            gone[n++] = i;
        }
    }
    CU_ASSERT_EQUAL_FATAL(n, 2);
    net->tap = watch_asks;
    net->tapped = &a;
    while ((a.copied[gone[0]] == 0 || a.copied[gone[1]] == 0) && waited++ < 10000) {
        net_run(net, 1);
    }
    net->link[0][gone[1]].hold = 1;
    net_crash(net, gone[0], 1);
    net_start(net, gone[0], 1);
    for (i = 0; i < 5; i++) {
        net_meet(net, gone[0], i);
    }
    net_run(net, 100);
    net->link[0][gone[1]].hold = 0;
    sc_manager_settled(net->node[gone[0]].m);
    net_run(net, 3000);
    CU_ASSERT(a.named > 0);
    CU_ASSERT_EQUAL(a.holes, 0);
    CU_ASSERT_EQUAL(net->node[0].logged[95], 0); /* nor has it no room */
    net->tap = NULL;
    CU_ASSERT(backup_settled(net, 5000));
    CU_ASSERT_EQUAL(backup_holders(net, 1), 3);
    CU_ASSERT_TRUE(net_is(backup_value(net, 1, "a"), "1"));
    net_destroy(net);
}

/* Who is to get a copy has got it, and does not say that it knows: it is left out. */
static void test_new_holder_hangs(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    asks_t a;
    int i, fresh = -1, waited = 0;

    memset(&a, 0, sizeof(a));
    net_crash(net, c.backup, 1);
    net->tap = watch_asks;
    net->tapped = &a;
    while (a.named == 0 && waited++ < 10000) {
        net_run(net, 1);
    }
    CU_ASSERT(a.named > 0);
    net->tap = NULL;
    for (i = 0; i < 4; i++) {
        fresh = a.copied[i] > 0 ? i : fresh;
    }
    CU_ASSERT_FATAL(fresh > 0);
    net_hold(net, fresh, 1);
    net_run(net, 6000);
    CU_ASSERT(epoch(net, 0) > 1);
    CU_ASSERT_PTR_NULL(strstr(backup_where(net, 0, 1), net->node[fresh].config.route));
    CU_ASSERT_EQUAL(backup_has(net, fresh == c.third ? c.fourth : c.third, 1, NULL), HAS_COPY);
    net_hold(net, fresh, 0);
    CU_ASSERT(backup_settled(net, 10000));
    net_destroy(net);
}

/* What one node sends another one as a holder: the whole session, or with no primary a diff. */
static apr_status_t give(net_t *net, int from, int to, const char *primary, apr_uint32_t number)
{
    sc_text_t context = {NET_CONTEXT, strlen(NET_CONTEXT)};
    sc_wire_session_t s;
    sc_msg_delta_t d;
    apr_status_t rv;
    sc_buf_t b;

    sc_buf_init(&b, 1024);
    memset(&s, 0, sizeof(s));
    memset(&d, 0, sizeof(d));
    if (primary != NULL) {
        s.context = context.s;
        s.context_len = context.len;
        s.id = net_id(1);
        s.max_idle_s = 1800;
        s.stamp.hlc = 1;
        s.primary = primary;
        s.primary_len = strlen(primary);
        s.epoch = number;
        sc_msg_created_put(&b, SC_EVT_BACKUP, &s);
    } else {
        d.context = context;
        d.id = net_id(1);
        d.stamp.hlc = 1;
        d.max_idle_s = 1800;
        d.epoch = number;
        sc_msg_delta_put(&b, SC_EVT_BACKUP_DIFF, &d);
    }
    rv = sc_manager_record(net->node[to].m, &net->node[from].self, b.data, b.len);
    sc_buf_free(&b);
    return rv;
}

/* Without a quorum: of two locations of one number the names say which counts. Who is no holder by
 * that one does not acknowledge what it is sent by the other. */
static void test_lesser_location(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;

    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "")), SC_FOUND);
    locate(net, c.third, c.fourth, c.backup, 7);
    locate(net, c.backup, c.fourth, c.backup, 7);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_GUEST);
    CU_ASSERT_EQUAL(give(net, 0, c.third, "n1", 7), APR_EGENERAL);
    CU_ASSERT_EQUAL(give(net, 0, c.third, NULL, 7), APR_NOTFOUND);
    CU_ASSERT_EQUAL(give(net, 0, c.backup, "n1", 7), APR_EGENERAL);
    CU_ASSERT_EQUAL(give(net, c.fourth, c.backup, NULL, 7), APR_SUCCESS);
    CU_ASSERT_EQUAL(give(net, 0, c.backup, NULL, 3), APR_EGENERAL); /* nor by an older one */
    net_destroy(net);
}

/* A copy that a request brought along is old by now. That somebody says that its node holds the
 * session does not make it one that counts. */
static void test_guest_named(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;

    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "")), SC_FOUND);
    CU_ASSERT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_GUEST);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "new"), SC_DONE);
    CU_ASSERT_FALSE(net_is(net_value(net, c.third, 1, "a"), "new"));
    hear(net, c.third, 0, 0, c.third, 7);
    CU_ASSERT_NOT_EQUAL(backup_has(net, c.third, 1, NULL), HAS_COPY);
    net_destroy(net);
}

/* A holder has come back without its memory. Somebody who holds nothing sends it an older copy
 * before the other holder has sent what it has, and may never do so: that does not count. */
static void test_rest_while_joining(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;
    sc_wire_session_t w;
    sc_record_t rec;
    sc_buf_t body, b;
    sc_id_t id = net_id(1);

    CU_ASSERT_EQUAL(net_outcome(net, net_fetch(net, c.third, 1, "")), SC_FOUND);
    net_crash(net, c.backup, 1);
    net_start(net, c.backup, 1);
    net_see(net, c.backup, 0);
    net_see(net, c.backup, c.third);
    CU_ASSERT_NOT_EQUAL(net->node[c.backup].board->node_state, SC_NODE_READY);
    sc_buf_init(&body, 4096);
    sc_buf_init(&b, 4096);
    CU_ASSERT_EQUAL_FATAL(sc_store_get(net->node[c.third].store, 0, &id, &rec, &body), APR_SUCCESS);
    memset(&w, 0, sizeof(w));
    w.context = NET_CONTEXT;
    w.context_len = strlen(NET_CONTEXT);
    w.id = id;
    w.max_idle_s = 1800;
    w.stamp = rec.stamp;
    w.primary = "n1";
    w.primary_len = 2;
    w.backup[0].s = net->node[c.backup].config.route;
    w.backup[0].len = strlen(w.backup[0].s);
    w.nbackups = 1;
    w.epoch = rec.epoch;
    w.body = body.data;
    w.body_len = body.len;
    sc_msg_created_put(&b, SC_EVT_BACKUP, &w);
    (void)sc_manager_record(net->node[c.backup].m, &net->node[c.third].self, b.data, b.len);
    CU_ASSERT_NOT_EQUAL(backup_has(net, c.backup, 1, NULL), HAS_COPY);
    (void)sc_manager_record(net->node[c.backup].m, &net->node[0].self, b.data, b.len);
    CU_ASSERT_EQUAL(backup_has(net, c.backup, 1, NULL), HAS_COPY);
    sc_buf_free(&b);
    sc_buf_free(&body);
    net_destroy(net);
}

/* A copy that has to go is on its way to the holders, one of which hangs. Its node takes what they
 * send: otherwise each could wait for the other one. */
static void test_on_its_way(void)
{
    backup_cast_t c = backup_cast(backup_ready(4, 1), 0);
    net_t *net = c.net;

    net_hold(net, c.fourth, 1);
    hear(net, c.backup, 0, 0, c.fourth, 7);
    CU_ASSERT_EQUAL(backup_has(net, c.backup, 1, NULL), HAS_GUEST);
    CU_ASSERT_EQUAL(give(net, 0, c.backup, "n1", 8), APR_SUCCESS);
    net_hold(net, c.fourth, 0);
    net_destroy(net);
}

/* ---- quorum ------------------------------------------------------------------------------------
 */

static void cut_at_claim(net_t *net, int from, int to, const unsigned char *bytes, apr_size_t len)
{
    (void)to;
    if (from == 0 && len > 0 && bytes[0] == SC_EVT_NOTIFY) {
        net_hold(net, 0, 1);
    }
}

/* Fewer backups than there should be: others could take the session for absent when these are away,
 * so a quorum is to know where it is. */
static void test_few_backups(void)
{
    net_t *net = backup_quorum(3, 2, 2);
    int i, made;

    net_crash(net, 2, 1);
    net_run(net, 2000);
    made = net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1");
    CU_ASSERT(made == SC_DONE || made == SC_DEGRADED);
    for (i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(backup_has(net, i, 1, NULL), HAS_COPY);
        CU_ASSERT(epoch(net, i) > 1);
    }
    /* or it does not count */
    net->tap = cut_at_claim;
    CU_ASSERT_EQUAL(
        net_outcome(net, net_change(net, 0, SC_CHANGE_NEW, 0, 2, "a", "1", (char *)NULL)),
        SC_NO_QUORUM);
    net->tap = NULL;
    net_hold(net, 0, 0);
    net_destroy(net);
    /* with all of them there is no need */
    net = backup_quorum(3, 2, 2);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(epoch(net, 0), 1);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_NOTIFY], 0);
    net_destroy(net);
}

/* Both who might hold a session are cut off. Who has seen them go wonders about each id that nobody
 * knows; an engine that has just begun has not, and goes by what the others say. */
static void test_new_engine_wonders(void)
{
    net_t *net = backup_quorum(5, 1, 3);
    apr_uint32_t call;
    int i;

    for (i = 0; i < 3; i++) {
        net_part(net, i, 3);
        net_part(net, i, 4);
    }
    net_run(net, 2000);
    net_crash(net, 0, 1);
    net_start(net, 0, 0);
    net_meet(net, 0, 1);
    net_meet(net, 0, 2);
    net_run(net, 200);
    sc_manager_settled(net->node[0].m);
    CU_ASSERT(net_wait_ready(net, 5000));
    net_run(net, 2000);
    call = net_fetch(net, 0, 9, "");
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_UNKNOWN);
    net_run(net, 61000);
    call = net_fetch(net, 0, 9, "");
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_ABSENT);
    net_destroy(net);
}

static void last_holds_nothing(sc_config_t *c, int index)
{
    backup_tweak(c, index);
    c->quorum = 2;
    c->backup.no_hold = index == 3;
}

/* Who says good-bye before the request is answered forgets what it has acknowledged. The other
 * holder hangs, and the member that is left holds nothing. */
static void goodbye_of(int leaving)
{
    net_t *net;
    apr_uint32_t call;
    int i, k;

    backup_copies = 2;
    net = net_create(4, last_holds_nothing);
    for (i = 0; i < 4; i++) {
        net_start(net, i, 0);
        net->node[i].self.flags |= i == 3 ? SC_MEMBER_NO_BACKUPS : 0;
        for (k = 0; k < i; k++) {
            net_meet(net, i, k);
        }
        net_run(net, 200);
        sc_manager_settled(net->node[i].m);
    }
    CU_ASSERT(net_wait_ready(net, 5000));
    net_run(net, 3000);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_run(net, 500);
    net_hold(net, 2, 1);
    call = net_change(net, 0, 0, 0, 1, "a", "2", (char *)NULL);
    net_run(net, 50);
    CU_ASSERT_TRUE(net_is(net_value(net, 1, 1, "a"), "2"));
    CU_ASSERT_EQUAL(net->answer[call].times, 0);
    if (leaving) {
        net->node[1].self.node_state = SC_NODE_LEAVING;
        sc_manager_member_changed(net->node[0].m, &net->node[1].self);
    } else {
        net_forget(net, 0, 1, 1);
    }
    i = (int)net_outcome(net, call);
    if (leaving) { /* enough know that this node is the only holder that is left */
        CU_ASSERT(i == SC_NO_QUORUM || (epoch(net, 0) > 1 && epoch(net, 3) > 1));
    } else {
        CU_ASSERT_EQUAL(i, SC_NO_QUORUM);
    }
    net_hold(net, 2, 0);
    net_destroy(net);
}

static void test_goodbye(void)
{
    goodbye_of(0);
    goodbye_of(1);
}

/* ---- who hears too few
 * --------------------------------------------------------------------------- */

/* Three of five are silent: nothing is moved before they are dropped, even if somebody asks for it.
 */
static void test_hears_few(void)
{
    backup_cast_t c = backup_cast(backup_ready(5, 1), 0);
    net_t *net = c.net;
    int with = c.third, i, silent[3] = {c.backup, c.fourth, c.fifth};

    for (i = 0; i < 3; i++) {
        net->link[0][silent[i]].hold = net->link[silent[i]][0].hold = 1;
        net->link[with][silent[i]].hold = net->link[silent[i]][with].hold = 1;
    }
    net_run(net, 3000);
    CU_ASSERT_NOT_EQUAL(net_outcome(net, net_fetch(net, with, 2, "")), SC_ABSENT);
    i = (int)net_outcome(net, net_change(net, 0, 0, 0, 1, "a", "lost", (char *)NULL));
    CU_ASSERT_EQUAL(i, SC_UNKNOWN);
    backup_take(net, with, 0);
    net_run(net, 10000);
    CU_ASSERT_EQUAL(epoch(net, 0), 1);
    CU_ASSERT_EQUAL(epoch(net, with), 1);
    for (i = 0; i < 3; i++) {
        net_part(net, 0, silent[i]);
        net_part(net, with, silent[i]);
    }
    net_run(net, 5000);
    CU_ASSERT(epoch(net, 0) > 1);
    CU_ASSERT_EQUAL(backup_has(net, with, 1, NULL), HAS_COPY);
    net_destroy(net);
}

/* ---- idle --------------------------------------------------------------------------------------
 */

static void with_delta(sc_config_t *c, int index)
{
    (void)index;
    c->manager = SC_MANAGER_DELTA;
}

/* Who is not leased may not have heard that the session is used elsewhere. */
static void idle_of(net_t *net)
{
    net_make_idle(net, 0, 1, 10);
    net_run(net, 300);
    net_hold(net, 0, 1);
    net_run(net, 15000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_LIVE);
    CU_ASSERT_EQUAL(net->node[0].board->count.expired, 0);
    net_run(net, 20000); /* no lease comes any more */
    CU_ASSERT_NOT_EQUAL(net_look(net, 0, 1, NULL), NET_LIVE);
    net_hold(net, 0, 0);
    net_destroy(net);
}

static void test_idle_without_lease(void)
{
    idle_of(backup_ready(3, 1));
    idle_of(net_ready(3, with_delta));
}

/* Whether a request to see session 1 is answered by a node from what it has, and so at once. */
static int is_shown_at_once(net_t *net, int node)
{
    const net_node_t *n = &net->node[node];
    apr_uint64_t asked = n->board->count.fetches;
    apr_uint32_t call = net_fetch(net, node, 1, "n1");
    int at_once = net->answer[call].times == 1;

    CU_ASSERT_EQUAL(net_outcome(net, call), SC_FOUND);
    CU_ASSERT_EQUAL(n->board->count.fetches == asked, at_once);
    return at_once;
}

/* By the clock of the network. */
static apr_time_t accessed(net_t *net, int node)
{
    sc_record_t rec;

    CU_ASSERT_EQUAL_FATAL(net_look(net, node, 1, &rec), NET_LIVE);
    return rec.accessed - net->node[node].mono_offset;
}

/* Accesses are told in steps: those who are not the primary need not know of the last one, and ask
 * before the session counts as idle. All three hold it. */
static void perhaps_idle_of(net_t *net)
{
    sc_id_t id = net_id(1);
    apr_time_t last, now;

    net_make_idle(net, 0, 1, 20);
    net_run(net, 800);
    net_access(net, 0, 1);
    last = net->now;
    net_run(net, 19000);
    CU_ASSERT_TRUE(is_shown_at_once(net, 1)); /* it cannot be idle yet */
    net_run(net, 600);
    CU_ASSERT(net->now - accessed(net, 1) > apr_time_from_sec(20)); /* as far as it knows */
    CU_ASSERT_FALSE(is_shown_at_once(net, 1));
    CU_ASSERT(accessed(net, 1) >= last && accessed(net, 1) <= last + apr_time_from_msec(10));
    CU_ASSERT_TRUE(is_shown_at_once(net, 1));
    net_access(net, 2, 1); /* nor does one ask who has heard of an access himself */
    CU_ASSERT_TRUE(is_shown_at_once(net, 2));
    /* the primary knows best, even if it is about to end the session: that is put off here */
    now = net->now + net->node[0].mono_offset;
    CU_ASSERT_EQUAL(sc_store_touch(net->node[0].store, 0, &id, now - apr_time_from_sec(20),
                                   now + apr_time_from_sec(60)),
                    APR_SUCCESS);
    net->link[2][0].hold = net->link[2][1].hold = 1; /* what node 2 has to tell */
    net_run(net, 500);
    CU_ASSERT(net->now - last > apr_time_from_sec(20));
    CU_ASSERT_TRUE(is_shown_at_once(net, 0));
    /* who is alone has nobody to ask */
    CU_ASSERT(net->now - accessed(net, 1) > apr_time_from_sec(20));
    net_forget(net, 1, 0, 1);
    net_forget(net, 1, 2, 1);
    CU_ASSERT_TRUE(is_shown_at_once(net, 1));
    net_destroy(net);
}

static void test_perhaps_idle(void)
{
    perhaps_idle_of(backup_ready(3, 2));
    perhaps_idle_of(net_ready(3, with_delta));
}

void backup_latest_tests(void)
{
    CU_pSuite s = CU_get_suite("backup");

    CU_add_test(s, "a copy by an old location", test_old_copy);
    CU_add_test(s, "a holder that has learned of a location is asked again", test_asked_again);
    CU_add_test(s, "the own copy by an old location", test_own_old_copy);
    CU_add_test(s, "a copy by a location that is not decided", test_undecided);
    CU_add_test(s, "a change by a location that is not decided", test_open);
    CU_add_test(s, "what is left over comes to who joins", test_rest_while_joining);
    CU_add_test(s, "a change soon after a location is accepted", test_soon_decided);
    CU_add_test(s, "a location that names who has nothing", test_names_nobody);
    CU_add_test(s, "a copy that is held by now", test_held_since);
    CU_add_test(s, "a holder named by one that is none", test_named_by_others);
    CU_add_test(s, "a copy that does not arrive", test_copy_lost);
    CU_add_test(s, "a new holder that does not answer", test_new_holder_hangs);
    CU_add_test(s, "two locations with one number", test_lesser_location);
    CU_add_test(s, "a copy on its way to the holders", test_on_its_way);
    CU_add_test(s, "a guest that is named as a holder", test_guest_named);
    CU_add_test(s, "quorum: a new session with few backups", test_few_backups);
    CU_add_test(s, "quorum: an engine that begins while members are cut off",
                test_new_engine_wonders);
    CU_add_test(s, "quorum: a member says good-bye", test_goodbye);
    CU_add_test(s, "a node that hears two of five", test_hears_few);
    CU_add_test(s, "idle sessions without a lease", test_idle_without_lease);
    CU_add_test(s, "a session that may have idled out", test_perhaps_idle);
}
