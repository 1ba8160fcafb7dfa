/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Comparing what nodes hold. The nodes are made different behind their managers' backs, as if any
 * number of messages had been lost without anybody noticing; then no request and no restart is to
 * be needed for them to become equal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "../../src/manager/internal.h" /* sc_digest_soon, which the manager itself calls */
#include "delta_digest.h"

/* ---- differences ----------------------------------------------------------------------------- */

void digest_often(sc_config_t *c, int index)
{
    (void)index;
    c->delta.digest_ms = 200; /* which is once a second: more digest_often is too digest_often */
}

static void second_asks(sc_config_t *c, int index)
{
    c->delta.digest_ms = index == 0 ? 0 : 200;
}

apr_uint16_t digest_context(net_node_t *node, const char *name)
{
    apr_uint16_t index = 0;

    CU_ASSERT_EQUAL_FATAL(sc_store_context(node->store, name, strlen(name), 0, &index),
                          APR_SUCCESS);
    return index;
}

/* A stamp of so many milliseconds after the beginning of the test, or before. */
static sc_stamp_t stamp_at(int ms)
{
    sc_stamp_t s = {0, 1};

    s.hlc = (apr_uint64_t)((apr_int64_t)(1700000000 + 100000) * 1000 + ms) << 16;
    return s;
}

void digest_record(net_t *net, int index, const sc_id_t *id, int ms, sc_record_t *rec)
{
    net_node_t *node = &net->node[index];

    memset(rec, 0, sizeof(*rec));
    rec->id = *id;
    rec->context = digest_context(node, NET_CONTEXT);
    rec->max_idle_s = 1800;
    rec->created = rec->accessed = sc_mono(&node->clock);
    rec->due = rec->accessed + apr_time_from_sec(1800);
    rec->stamp = stamp_at(ms);
    rec->epoch = 1;
    CU_ASSERT_EQUAL(sc_store_route(node->store, "n1", 2, 1, &rec->primary), APR_SUCCESS);
}

static void put_attr(sc_buf_t *b, const char *name, const char *value, int ms)
{
    sc_attr_t a;

    memset(&a, 0, sizeof(a));
    a.name = name;
    a.name_len = strlen(name);
    a.value = value;
    a.value_len = value != NULL ? strlen(value) : 0;
    a.flags = value == NULL ? SC_ATTR_REMOVED : 0;
    a.stamp = stamp_at(ms);
    sc_attr_put(b, &a);
}

/* Write a session with one attribute to one node's store. */
static void plant_id(net_t *net, int index, const sc_id_t *id, const char *value, int ms)
{
    sc_record_t rec;
    sc_buf_t body;

    sc_buf_init(&body, 4096);
    put_attr(&body, "a", value, ms);
    digest_record(net, index, id, ms, &rec);
    CU_ASSERT_EQUAL(sc_store_put(net->node[index].store, &rec, body.data, body.len), APR_SUCCESS);
    sc_buf_free(&body);
}

void digest_plant(net_t *net, int index, apr_uint32_t number, const char *value, int ms)
{
    sc_id_t id = net_id(number);

    plant_id(net, index, &id, value, ms);
}

static void plant_dead(net_t *net, int index, apr_uint32_t number, unsigned int reason, int ms)
{
    sc_id_t id = net_id(number);
    sc_record_t rec;

    digest_record(net, index, &id, ms, &rec);
    rec.flags = SC_REC_TOMBSTONE;
    rec.max_idle_s = reason;
    CU_ASSERT_EQUAL(sc_store_put(net->node[index].store, &rec, NULL, 0), APR_SUCCESS);
}

static void uproot(net_t *net, int index, apr_uint32_t number)
{
    net_node_t *node = &net->node[index];
    sc_id_t id = net_id(number);

    CU_ASSERT_EQUAL(sc_store_remove(node->store, digest_context(node, NET_CONTEXT), &id),
                    APR_SUCCESS);
}

/* Let time pass until nothing differs. @return 1 if that came in time */
int digest_agree(net_t *net, int ms)
{
    const char *what;

    for (; ms > 0; ms -= 100) {
        net_run(net, 100);
        if (net_difference(net) == NULL) {
            return 1;
        }
    }
    what = net_difference(net);
    printf("%s\n", what != NULL ? what : "");
    return what == NULL;
}

/* ---- what was exchanged ---------------------------------------------------------------------- */

static const sc_event_t exchanging[] = {
    SC_EVT_SESSION_CREATED,  SC_EVT_SESSION_EXPIRED,
    SC_EVT_SESSION_DELTA,    SC_EVT_RETRIEVE,
    SC_EVT_RETRIEVE_REPLY,   SC_EVT_GET_ALL_SESSIONS,
    SC_EVT_ALL_SESSION_DATA, SC_EVT_ALL_SESSION_NOCONTEXTMANAGER};

/* Records posted by all nodes that carry sessions, or ask for them. */
apr_uint64_t digest_exchanged(const net_t *net)
{
    apr_uint64_t n = 0;
    apr_size_t k;
    int i;

    for (i = 0; i < net->n; i++) {
        for (k = 0; k < sizeof(exchanging) / sizeof(exchanging[0]); k++) {
            n += net->node[i].posted[exchanging[k]];
        }
    }
    return n;
}

apr_uint64_t digest_posted(const net_t *net, sc_event_t event)
{
    apr_uint64_t n = 0;
    int i;

    for (i = 0; i < net->n; i++) {
        n += net->node[i].posted[event];
    }
    return n;
}

static apr_uint64_t differences(const net_t *net)
{
    apr_uint64_t n = 0;
    int i;

    for (i = 0; i < net->n; i++) {
        n += net->node[i].board->count.differences;
    }
    return n;
}

/* ---- converging ------------------------------------------------------------------------------ */

static void test_two(void)
{
    net_t *net = net_ready(2, digest_often);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 2, "a", "2"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 3, "a", "3"), SC_DONE);
    uproot(net, 0, 1);                         /* lost here */
    uproot(net, 1, 2);                         /* lost there */
    digest_plant(net, 0, 3, "newer", 3600000); /* a change that was lost */
    digest_plant(net, 0, 4, "here", 0);
    digest_plant(net, 1, 5, "there", 0);
    digest_plant(net, 0, 6, "old", 100);
    digest_plant(net, 1, 6, "new", 200);
    CU_ASSERT(digest_agree(net, 5000));
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "1");
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "a"), "2");
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 3, "a"), "newer");
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 4, "a"), "here");
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 5, "a"), "there");
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 6, "a"), "new");
    CU_ASSERT(net->node[0].logged[90] + net->node[1].logged[90] > 0);
    CU_ASSERT(differences(net) >= 6 && differences(net) <= 12);
    CU_ASSERT_EQUAL(net->node[0].gaps + net->node[1].gaps, 0);
    net_destroy(net);
}

/* Attributes of both sides are kept, and removals count. */
static void test_attributes(void)
{
    net_t *net = net_ready(2, digest_often);
    sc_id_t id = net_id(1);
    sc_record_t rec;
    sc_buf_t body;

    sc_buf_init(&body, 4096);
    put_attr(&body, "a", "1", 100);
    put_attr(&body, "b", NULL, 300);
    digest_record(net, 0, &id, 300, &rec);
    CU_ASSERT_EQUAL(sc_store_put(net->node[0].store, &rec, body.data, body.len), APR_SUCCESS);
    sc_buf_clear(&body);
    put_attr(&body, "b", "2", 200);
    put_attr(&body, "c", "3", 300);
    digest_record(net, 1, &id, 300, &rec);
    CU_ASSERT_EQUAL(sc_store_put(net->node[1].store, &rec, body.data, body.len), APR_SUCCESS);
    sc_buf_free(&body);
    CU_ASSERT(digest_agree(net, 5000));
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "a"), "1");
    CU_ASSERT_STRING_EQUAL(net_value(net, 0, 1, "c"), "3");
    CU_ASSERT_PTR_NULL(net_value(net, 0, 1, "b"));
    CU_ASSERT_PTR_NULL(net_value(net, 1, 1, "b"));
    net_destroy(net);
}

/* One node lacks nothing but a fresh removal, an old value, or a newer stamp of the whole. */
static void test_small_differences(void)
{
    net_t *net = net_ready(2, second_asks);
    sc_record_t rec;
    sc_buf_t body;
    apr_uint32_t number;
    int i;

    sc_buf_init(&body, 4096);
    for (i = 0; i < 2; i++) {
        for (number = 1; number <= 3; number++) {
            sc_id_t id = net_id(number);

            sc_buf_clear(&body);
            put_attr(&body, "a", "1", 100);
            if (number < 3 && i == 0) {
                put_attr(&body, "b", number == 1 ? NULL : "2", number == 1 ? 200 : -100 * 1000);
            }
            digest_record(net, i, &id, number == 3 ? 300 + i : 300, &rec);
            CU_ASSERT_EQUAL(sc_store_put(net->node[i].store, &rec, body.data, body.len),
                            APR_SUCCESS);
        }
    }
    sc_buf_free(&body);
    CU_ASSERT(digest_agree(net, 5000));
    net_destroy(net);
}

static void test_three(void)
{
    net_t *net = net_ready(3, digest_often);
    int i;

    for (i = 0; i < 3; i++) {
        digest_plant(net, i, (apr_uint32_t)i, "only one has it", i);
        digest_plant(net, i, 10, i == 1 ? "newest" : "old", i == 1 ? 100 : i);
    }
    digest_plant(net, 0, 20, "two have it", 0);
    digest_plant(net, 2, 20, "two have it", 0);
    CU_ASSERT(digest_agree(net, 20000));
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(net_sessions(net, i), 5);
        CU_ASSERT_STRING_EQUAL(net_value(net, i, 10, "a"), "newest");
    }
    net_destroy(net);
}

/* What one node has buried does not live on elsewhere, whoever asks first. */
static void test_tombstones(void)
{
    net_t *net = net_ready(2, digest_often);
    apr_uint32_t i;

    for (i = 0; i < 10; i++) {
        digest_plant(net, 0, i, "x", 100);
        digest_plant(net, 1, i, "x", 100);
        plant_dead(net, (int)(i % 2), i, SC_DEAD_INVALIDATED, i < 5 ? 50 : 150);
    }
    net_run(net, 8000);
    for (i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(net_look(net, 0, i, NULL), NET_DEAD);
        CU_ASSERT_EQUAL(net_look(net, 1, i, NULL), NET_DEAD);
    }
    net_destroy(net);
}

static void first_asks_late(sc_config_t *c, int index)
{
    c->delta.digest_ms = index == 0 ? 300 * 1000 : 200;
}

/* Only its own question brings to light what a node has buried; so it asks soon when it is asked.
 */
static void test_tombstones_asked_for(void)
{
    net_t *net = net_ready(2, first_asks_late);

    digest_plant(net, 1, 1, "x", 100);
    plant_dead(net, 0, 1, SC_DEAD_INVALIDATED, 50);
    net_run(net, 8000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_DEAD);
    net_destroy(net);
}

/* One that idled out according to one node comes back from the other one, at once. */
static void test_idled_out(void)
{
    net_t *net = net_ready(2, second_asks);

    plant_dead(net, 1, 1, SC_DEAD_IDLE, 50);
    digest_plant(net, 0, 1, "changed later", 100);
    CU_ASSERT(digest_agree(net, 5000));
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 1, "a"), "changed later");
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_LIVE);
    net_destroy(net);
}

/* The other one knows of no later access: it has missed that its primary has ended the session. */
static void test_idled_out_missed(void)
{
    net_t *net = net_ready(2, second_asks);
    net_node_t *node = &net->node[0];
    sc_id_t id = net_id(1);
    sc_record_t rec;

    plant_dead(net, 1, 1, SC_DEAD_IDLE, 100);
    digest_record(net, 0, &id, 100, &rec);
    rec.accessed -= apr_time_from_sec(1801);
    CU_ASSERT_EQUAL(sc_store_route(node->store, "n2", 2, 1, &rec.primary), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_put(node->store, &rec, NULL, 0), APR_SUCCESS);
    net_run(net, 5000);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, NULL), NET_DEAD);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_DEAD);
    net_destroy(net);
}

/* Who asks gives and takes; one comparison is enough. */
static void test_one_asks(void)
{
    net_t *net = net_ready(2, second_asks);
    apr_uint32_t i;

    for (i = 0; i < 1500; i++) {
        sc_id_t id = digest_id(i);

        plant_id(net, 0, &id, "x", 100);
    }
    for (i = 0; i < 20; i++) {
        sc_id_t id = digest_id(100000 + i);

        plant_id(net, (int)(i % 2), &id, "newer", 300);
        plant_id(net, (int)(1 - i % 2), &id, "older", 200);
        id = digest_id(200000 + i);
        plant_id(net, 1, &id, "mine", 200);
    }
    CU_ASSERT(digest_agree(net, 5000));
    CU_ASSERT_EQUAL(net_sessions(net, 0), 1540);
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_DIGEST], 0);
    CU_ASSERT_EQUAL(net->node[1].logged[90], 1);
    CU_ASSERT_EQUAL(net->node[1].board->count.differences, 1540);
    net_destroy(net);
}

/* A node that missed a change of id. */
static void test_changed_id(void)
{
    net_t *net = net_ready(2, digest_often);
    apr_uint32_t call;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    call = net_change_id(net, 0, 1, 2, 0, "b", "2");
    CU_ASSERT(net_wait(net, call, 3000));
    uproot(net, 1, 1);
    uproot(net, 1, 2);
    digest_plant(net, 1, 1, "1", 0);
    net_run(net, 8000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_DEAD);
    CU_ASSERT_EQUAL(net_look(net, 1, 2, NULL), NET_LIVE);
    CU_ASSERT_STRING_EQUAL(net_value(net, 1, 2, "b"), "2");
    CU_ASSERT_PTR_NULL(net_difference(net));
    net_destroy(net);
}

/* ---- only what differs ----------------------------------------------------------------------- */

static void test_equal(void)
{
    net_t *net = net_ready(3, digest_often);
    apr_uint64_t before, asked, told;
    apr_uint32_t i;

    for (i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(net_set(net, (int)(i % 3), SC_CHANGE_NEW, i, "a", "1"), SC_DONE);
    }
    net_wait(net, net_remove(net, 0, 7), 3000);
    plant_dead(net, 1, 1000, SC_DEAD_INVALIDATED, 0); /* ends at different times */
    net_run(net, 3000);
    before = digest_exchanged(net);
    asked = digest_posted(net, SC_EVT_DIGEST);
    told = digest_posted(net, SC_EVT_DIGEST_LIST);
    net_access(net, 1, 3); /* what is read is not different */
    net_run(net, 60000);
    CU_ASSERT_EQUAL(digest_exchanged(net), before);
    CU_ASSERT_EQUAL(differences(net), 0);
    CU_ASSERT_EQUAL(net->node[0].logged[90], 0);
    CU_ASSERT(net->node[0].board->count.digests > 20);
    CU_ASSERT(net->node[0].board->count.digests <= 2 * 70); /* with each peer once a second */
    /* one word each way */
    asked = digest_posted(net, SC_EVT_DIGEST) - asked;
    told = digest_posted(net, SC_EVT_DIGEST_LIST) - told;
    CU_ASSERT(asked <= told + 3 && told <= asked + 3);
    CU_ASSERT_EQUAL(net_look(net, 0, 1000, NULL), NET_NOTHING);
    net_destroy(net);
}

/* A removal that one node has forgotten already is no difference. */
static void test_forgotten_removals(void)
{
    net_t *net = net_ready(2, digest_often);
    apr_uint64_t before = digest_exchanged(net);
    sc_id_t id = net_id(1);
    sc_record_t rec;
    sc_buf_t body;
    int i;

    sc_buf_init(&body, 4096);
    for (i = 0; i < 2; i++) {
        sc_buf_clear(&body);
        put_attr(&body, "a", "1", 100);
        if (i == 0) {
            put_attr(&body, "b", NULL, -100 * 1000);
        }
        digest_record(net, i, &id, 100, &rec);
        CU_ASSERT_EQUAL(sc_store_put(net->node[i].store, &rec, body.data, body.len), APR_SUCCESS);
    }
    sc_buf_free(&body);
    net_run(net, 10000);
    CU_ASSERT(net->node[0].board->count.digests > 5);
    CU_ASSERT_EQUAL(digest_exchanged(net), before);
    CU_ASSERT_EQUAL(differences(net), 0);
    net_destroy(net);
}

static net_t *net_with(net_tweak_t *tweak, apr_uint32_t bytes)
{
    net_t *net = net_create(2, tweak);
    int i;

    net->store_bytes = bytes;
    for (i = 0; i < 2; i++) {
        net_start(net, i, 1);
    }
    net_meet(net, 0, 1);
    net_run(net, 200);
    for (i = 0; i < 2; i++) {
        sc_manager_settled(net->node[i].m);
    }
    CU_ASSERT(net_wait_ready(net, 5000));
    return net;
}

static void test_few_of_many(void)
{
    net_t *net = net_with(digest_often, 4 * 1024 * 1024);
    apr_uint64_t before = digest_exchanged(net);
    apr_uint32_t i;

    for (i = 0; i < 2000; i++) {
        digest_plant(net, 0, i, i == 17 ? "newer" : "x", i == 17 ? 200 : 100);
        if (i != 1999) {
            digest_plant(net, 1, i, "x", 100);
        }
    }
    digest_plant(net, 1, 5000, "x", 100);
    CU_ASSERT(digest_agree(net, 5000));
    net_run(net, 10000);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 2001);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 2001);
    CU_ASSERT(digest_exchanged(net) - before <= 3 * 3 * 2); /* a version, a question, an answer */
    CU_ASSERT(differences(net) >= 3 && differences(net) <= 6);
    net_destroy(net);
}

static void rarely(sc_config_t *c, int index)
{
    (void)index;
    c->delta.digest_ms = 30000;
}

/* ---- large ones ------------------------------------------------------------------------------ */

#define LARGE (2 * SC_DIGEST_ITEMS + 500)

sc_id_t digest_id(apr_uint32_t n)
{
    sc_id_t id;

    memset(&id, 0, sizeof(id));
    id.b[0] = 0xFF;
    id.b[1] = (unsigned char)(n >> 16);
    id.b[2] = (unsigned char)(n >> 8);
    id.b[3] = (unsigned char)n;
    return id;
}

/* One range does not go into one list. Every 200th is in one store only, and so is the last id that
 * there can be. */
static void test_large_range(void)
{
    net_t *net = net_with(digest_often, 16 * 1024 * 1024);
    sc_id_t last;
    apr_uint32_t i;

    for (i = 0; i < LARGE; i++) {
        sc_id_t id = digest_id(i);

        if (i % 200 != 0 || i % 400 == 0) {
            plant_id(net, 0, &id, "x", 100);
        }
        if (i % 200 != 0 || i % 400 != 0) {
            plant_id(net, 1, &id, "x", 100);
        }
    }
    memset(&last, 0xFF, sizeof(last));
    plant_id(net, 0, &last, "x", 100);
    CU_ASSERT(digest_agree(net, 5000));
    CU_ASSERT_EQUAL(net_sessions(net, 0), LARGE + 1);
    CU_ASSERT_EQUAL(net_sessions(net, 1), LARGE + 1);
    CU_ASSERT_EQUAL(net->node[0].logged[91] + net->node[1].logged[91], 0);
    /* nothing but what differed */
    CU_ASSERT(differences(net) >= LARGE / 200 && differences(net) <= 2 * (LARGE / 200 + 2));
    net_destroy(net);
}

/* What only the asker has, between the end of one list and the beginning of the next. */
static void test_between_lists(void)
{
    net_t *net = net_with(second_asks, 16 * 1024 * 1024);
    apr_uint32_t i;

    for (i = 0; i < LARGE; i++) {
        sc_id_t id = digest_id(2 * i);

        plant_id(net, 0, &id, "x", 100);
        plant_id(net, 1, &id, "x", 100);
        id = digest_id(2 * i + 1);
        if (i % 10 == 9) {
            plant_id(net, 1, &id, "x", 100);
        }
    }
    CU_ASSERT(digest_agree(net, 8000));
    CU_ASSERT_EQUAL(net->node[1].logged[90], 1); /* all of it found at once */
    net_destroy(net);
}

/* The answer is lost, and nobody notices: it is asked for again. */
static void test_lost_answer(void)
{
    net_t *net = net_ready(2, second_asks);
    apr_uint64_t before;

    net_run(net, 3000);
    net->link[0][1].full = 1;
    net_run(net, 3000);
    net->link[0][1].full = 0;
    before = net->node[1].posted[SC_EVT_DIGEST];
    net_run(net, 25000);
    CU_ASSERT(net->node[1].posted[SC_EVT_DIGEST] >= before + 3);
    net_destroy(net);
}

/* More than is exchanged in one comparison, in all ranges: once it is found, it is not left lying.
 */
static void test_backlog(void)
{
    net_t *net = net_with(rarely, 16 * 1024 * 1024);
    apr_uint32_t i;

    for (i = 0; i < 6000; i++) {
        digest_plant(net, (int)(i % 2), i, "x", 100);
    }
    CU_ASSERT(digest_agree(net, 65000));
    CU_ASSERT_EQUAL(net_sessions(net, 0), 6000);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 6000);
    CU_ASSERT_EQUAL(net->node[0].gaps + net->node[1].gaps, 0);
    net_destroy(net);
}

static void plant_large(net_t *net, int index, apr_uint32_t from, apr_uint32_t upto)
{
    char *value = malloc(20001);
    sc_record_t rec;
    sc_buf_t body;

    memset(value, 'v', 20000);
    value[20000] = '\0';
    sc_buf_init(&body, 30000);
    put_attr(&body, "a", value, 100);
    for (; from < upto; from++) {
        sc_id_t id = digest_id(from);

        digest_record(net, index, &id, 100, &rec);
        CU_ASSERT_EQUAL(sc_store_put(net->node[index].store, &rec, body.data, body.len),
                        APR_SUCCESS);
    }
    sc_buf_free(&body);
    free(value);
}

/* Lists, versions and questions leave as fast as they arrive, a few at a time. */
static void test_flow(void)
{
    net_t *net = net_with(second_asks, 32 * 1024 * 1024);
    apr_uint64_t lists = 0, versions = 0, questions = 0;
    int i;

    for (i = 0; i < 3 * SC_DIGEST_ITEMS; i++) {
        sc_id_t id = digest_id((apr_uint32_t)i);

        plant_id(net, 0, &id, "x", 100);
        plant_id(net, 1, &id, i == 0 ? "y" : "x", 100);
    }
    plant_large(net, 0, 100000, 100200);
    plant_large(net, 1, 200000, 200060);
    net_weather(net, apr_time_from_msec(100), 0, 0);
    for (i = 0; i < 100; i++) {
        /* there and back takes longer than a step */
        apr_uint64_t l = net->node[0].posted[SC_EVT_DIGEST_LIST];
        apr_uint64_t v = net->node[1].posted[SC_EVT_SESSION_CREATED];
        apr_uint64_t q = net->node[1].posted[SC_EVT_RETRIEVE];

        net_run(net, 190);
        l = net->node[0].posted[SC_EVT_DIGEST_LIST] - l;
        v = net->node[1].posted[SC_EVT_SESSION_CREATED] - v;
        q = net->node[1].posted[SC_EVT_RETRIEVE] - q;
        lists = l > lists ? l : lists;
        versions = v > versions ? v : versions;
        questions = q > questions ? q : questions;
    }
    CU_ASSERT(lists >= 1 && lists <= 2);
    CU_ASSERT(versions >= 3 && versions <= 2 * 4);
    CU_ASSERT(questions >= 16 && questions <= 96);
    CU_ASSERT(digest_agree(net, 60000));
    net_destroy(net);
}

/* ---- in bad times ---------------------------------------------------------------------------- */

static void test_changes_meanwhile(void)
{
    net_t *net = net_ready(2, digest_often);
    apr_uint32_t i, k;

    for (i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, i, "a", "0"), SC_DONE);
    }
    net_weather(net, apr_time_from_msec(20), 0, 0);
    digest_plant(net, 0, 500, "behind", 0);
    for (k = 0; k < 40; k++) {
        for (i = 0; i < 50; i++) {
            char value[16];

            sprintf(value, "%u", k);
            (void)net_change(net, (int)(i % 2), 0, 0, net_random(net, 100), "a", value,
                             (char *)NULL);
            net_run(net, 2);
        }
    }
    CU_ASSERT_EQUAL(net_look(net, 1, 500, NULL), NET_LIVE); /* found all the same */
    /* what is on its way is not taken for a difference */
    CU_ASSERT(differences(net) <= 5);
    CU_ASSERT(digest_agree(net, 5000));
    net_destroy(net);
}

static void test_loss(void)
{
    net_t *net = net_ready(3, digest_often);
    apr_uint32_t i;

    net_weather(net, apr_time_from_msec(5), 100, 100);
    for (i = 0; i < 60; i++) {
        digest_plant(net, (int)(i % 3), i, "x", (int)i);
        digest_plant(net, (int)(i % 3), 100, "y", (int)i);
    }
    CU_ASSERT(digest_agree(net, 120000));
    CU_ASSERT_EQUAL(net_sessions(net, 0), 61);
    net_destroy(net);
}

/* The peer goes at any moment of a comparison, and comes back. */
static void test_gone_meanwhile(void)
{
    net_t *net = net_ready(2, digest_often);
    apr_uint32_t i;
    int k;

    for (i = 0; i < 300; i++) {
        digest_plant(net, (int)(i % 2), i, "x", 100);
    }
    net_weather(net, apr_time_from_msec(30), 0, 0);
    for (k = 0; k < 30; k++) {
        net_run(net, 900 + 17 * k);
        net_part(net, 0, 1);
        net_run(net, 50);
        net_meet(net, 0, 1);
        if (k % 10 == 9) {
            net_crash(net, 1, 1);
            net_join(net, 1, 0);
        }
    }
    CU_ASSERT(digest_agree(net, 20000));
    CU_ASSERT_EQUAL(net_sessions(net, 0), 300);
    net_destroy(net);
}

/* A peer that does not answer costs its time only; the others are asked meanwhile. */
static void test_mute_peer(void)
{
    net_t *net = net_ready(3, digest_often);

    net->link[0][2].hold = net->link[2][0].hold = 1;
    net->link[1][2].hold = net->link[2][1].hold = 1;
    net_run(net, 2000);
    digest_plant(net, 0, 1, "x", 100);
    net_run(net, 60000);
    CU_ASSERT_EQUAL(net_look(net, 1, 1, NULL), NET_LIVE);
    net->link[0][2].hold = net->link[2][0].hold = 0;
    net->link[1][2].hold = net->link[2][1].hold = 0;
    CU_ASSERT(digest_agree(net, 60000));
    net_destroy(net);
}

/* What cannot be made equal does not keep the nodes busy: the intervals grow. */
static void test_endless(void)
{
    net_t *net = net_ready(2, rarely);
    sc_id_t id = net_id(1);
    apr_uint64_t first;
    sc_record_t rec;
    int i;

    for (i = 0; i < 2; i++) { /* two versions with one stamp: only a broken node makes such ones */
        digest_record(net, i, &id, 100, &rec);
        rec.max_idle_s = 1800 + (apr_uint32_t)i;
        CU_ASSERT_EQUAL(sc_store_put(net->node[i].store, &rec, NULL, 0), APR_SUCCESS);
    }
    net_run(net, 40000); /* the first one, and some soon after it */
    first = digest_posted(net, SC_EVT_DIGEST);
    CU_ASSERT(first >= 5 && first <= 12);
    net_run(net, 60000);
    first = digest_posted(net, SC_EVT_DIGEST);
    net_run(net, 600 * 1000);
    CU_ASSERT(digest_posted(net, SC_EVT_DIGEST) - first >= 30);
    CU_ASSERT(digest_posted(net, SC_EVT_DIGEST) - first <= 50);
    net_destroy(net);
}

/* Ranges that cannot be made equal do not keep the others from it. */
static void test_starving(void)
{
    net_t *net = net_ready(2, digest_often);
    sc_record_t rec;
    sc_id_t id;
    int i, k;

    for (k = 0; k < 2 * 60; k++) {
        memset(&id, 7, sizeof(id));
        id.b[0] = (unsigned char)(k / 2);
        digest_record(net, k % 2, &id, 100, &rec);
        rec.max_idle_s = 1800 + (apr_uint32_t)(k % 2);
        CU_ASSERT_EQUAL(sc_store_put(net->node[k % 2].store, &rec, NULL, 0), APR_SUCCESS);
    }
    id.b[0] = 200;
    plant_id(net, 0, &id, "x", 100);
    for (i = 0; i < 200 && net_sessions(net, 1) < 61; i++) {
        net_run(net, 100);
    }
    CU_ASSERT_EQUAL(net_sessions(net, 1), 61);
    net_destroy(net);
}

/* Somebody says that it should be soon: once, however often he says it. */
static void test_soon(void)
{
    net_t *net = net_ready(2, rarely);
    sc_manager_t *m = net->node[0].m;
    apr_uint64_t before;
    int i;

    net_run(net, 5000);
    digest_plant(net, 1, 1, "x", 100);
    before = net->node[0].posted[SC_EVT_DIGEST];
    sc_digest_soon(m, sc_mgr_peer(m, &net->node[1].self));
    CU_ASSERT(digest_agree(net, 1000));
    net_run(net, 5000);
    before = net->node[0].posted[SC_EVT_DIGEST];
    for (i = 0; i < 500; i++) {
        sc_digest_soon(m, sc_mgr_peer(m, &net->node[1].self));
        net_run(net, 10);
    }
    CU_ASSERT(net->node[0].posted[SC_EVT_DIGEST] - before >= 4);
    CU_ASSERT(net->node[0].posted[SC_EVT_DIGEST] - before <= 6); /* in 5 s */
    net_destroy(net);
}

/* A node that asks nobody answers. */
static void test_never(void)
{
    net_t *net = net_ready(2, second_asks);

    digest_plant(net, 0, 1, "x", 100);
    digest_plant(net, 1, 2, "x", 100);
    CU_ASSERT(digest_agree(net, 5000));
    CU_ASSERT_EQUAL(net->node[0].posted[SC_EVT_DIGEST], 0);
    CU_ASSERT_EQUAL(net->node[0].board->count.digests, 0);
    CU_ASSERT(net->node[1].board->count.digests > 0);
    net_destroy(net);
}

void delta_digest_tests(void)
{
    CU_pSuite s = CU_get_suite("delta");

    CU_add_test(s, "digests: two nodes", test_two);
    CU_add_test(s, "digests: attributes of both", test_attributes);
    CU_add_test(s, "digests: small differences", test_small_differences);
    CU_add_test(s, "digests: three nodes", test_three);
    CU_add_test(s, "digests: tombstones", test_tombstones);
    CU_add_test(s, "digests: tombstones of a node that is asked", test_tombstones_asked_for);
    CU_add_test(s, "digests: idled out on one node", test_idled_out);
    CU_add_test(s, "digests: idled out, and not heard of", test_idled_out_missed);
    CU_add_test(s, "digests: one node asks", test_one_asks);
    CU_add_test(s, "digests: a changed id", test_changed_id);
    CU_add_test(s, "digests: nothing differs", test_equal);
    CU_add_test(s, "digests: removals that one has forgotten", test_forgotten_removals);
    CU_add_test(s, "digests: three of two thousand", test_few_of_many);
    CU_add_test(s, "digests: a large range", test_large_range);
    CU_add_test(s, "digests: between lists", test_between_lists);
    CU_add_test(s, "digests: a lost answer", test_lost_answer);
    CU_add_test(s, "digests: a backlog", test_backlog);
    CU_add_test(s, "digests: large sessions", test_flow);
    CU_add_test(s, "digests: changes meanwhile", test_changes_meanwhile);
    CU_add_test(s, "digests: loss", test_loss);
    CU_add_test(s, "digests: a peer that goes", test_gone_meanwhile);
    CU_add_test(s, "digests: a peer that is mute", test_mute_peer);
    CU_add_test(s, "digests: what cannot be made equal", test_endless);
    CU_add_test(s, "digests: more of that", test_starving);
    CU_add_test(s, "digests: soon", test_soon);
    CU_add_test(s, "digests: never", test_never);
    delta_digest_abuse_tests();
}
