/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Comparing nodes that have different contexts, and peers that send nonsense; see delta_digest.c.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_digest.h"

/* ---- contexts -------------------------------------------------------------------------------- */

static void other_contexts(sc_config_t *c, int index)
{
    digest_often(c, index);
    c->ncontexts = index == 2 ? 1 : 3;
    strcpy(c->context[1], index == 0 ? "zoo" : "blog");
    strcpy(c->context[2], index == 0 ? "mail" : "zoo");
}

static void plant_in(net_t *net, int index, const char *context, apr_uint32_t number)
{
    sc_id_t id = net_id(number);
    sc_record_t rec;

    digest_record(net, index, &id, 100, &rec);
    rec.context = digest_context(&net->node[index], context);
    CU_ASSERT_EQUAL(sc_store_put(net->node[index].store, &rec, NULL, 0), APR_SUCCESS);
}

static void bury_in(net_t *net, int index, const char *context, apr_uint32_t number)
{
    sc_id_t id = net_id(number);
    sc_record_t rec;

    digest_record(net, index, &id, 50, &rec);
    rec.context = digest_context(&net->node[index], context);
    rec.flags = SC_REC_TOMBSTONE;
    rec.max_idle_s = SC_DEAD_INVALIDATED;
    CU_ASSERT_EQUAL(sc_store_put(net->node[index].store, &rec, NULL, 0), APR_SUCCESS);
}

static int is_dead_in(net_t *net, int index, const char *context, apr_uint32_t number)
{
    sc_id_t id = net_id(number);
    sc_record_t rec;

    return sc_store_get(net->node[index].store, digest_context(&net->node[index], context), &id,
                        &rec, NULL) == APR_SUCCESS &&
           (rec.flags & SC_REC_TOMBSTONE);
}

static int is_in(net_t *net, int index, const char *context, apr_uint32_t number)
{
    sc_id_t id = net_id(number);
    sc_record_t rec;

    return sc_store_get(net->node[index].store, digest_context(&net->node[index], context), &id,
                        &rec, NULL) == APR_SUCCESS;
}

static void test_contexts(void)
{
    net_t *net = net_ready(3, other_contexts);
    apr_uint64_t before, asked, complaints;
    apr_uint32_t i;

    for (i = 0; i < 20; i++) {
        plant_in(net, 0, "mail", i);
        plant_in(net, 1, "blog", i);
        plant_in(net, (int)(i % 2), "zoo", i);
        plant_in(net, (int)(i % 3), NET_CONTEXT, i);
    }
    net_run(net, 20000);
    for (i = 0; i < 20; i++) {
        CU_ASSERT(is_in(net, 0, "zoo", i) && is_in(net, 1, "zoo", i));
        CU_ASSERT(is_in(net, 0, NET_CONTEXT, i) && is_in(net, 1, NET_CONTEXT, i) &&
                  is_in(net, 2, NET_CONTEXT, i));
    }
    CU_ASSERT_EQUAL(net_sessions(net, 0), 60);
    CU_ASSERT_EQUAL(net_sessions(net, 1), 60);
    CU_ASSERT_EQUAL(net_sessions(net, 2), 20);
    /* from now on one word each way, and not one line in a log */
    before = digest_exchanged(net);
    asked = digest_posted(net, SC_EVT_DIGEST) - digest_posted(net, SC_EVT_DIGEST_LIST);
    complaints = (apr_uint64_t)(net->node[0].logged[30] + net->node[0].logged[31]);
    net_run(net, 60000);
    CU_ASSERT_EQUAL(digest_exchanged(net), before);
    CU_ASSERT(digest_posted(net, SC_EVT_DIGEST) - digest_posted(net, SC_EVT_DIGEST_LIST) <=
              asked + 3);
    CU_ASSERT_EQUAL((apr_uint64_t)(net->node[0].logged[30] + net->node[0].logged[31]), complaints);
    net_destroy(net);
}

/* A context that a node has learned meanwhile is compared from then on, by both. */
static void test_context_learned(void)
{
    net_t *net = net_ready(2, other_contexts);
    apr_uint16_t context;
    sc_change_t c;
    apr_uint32_t call;

    net_run(net, 5000);
    memset(&c, 0, sizeof(c));
    c.context = "mail";
    c.context_len = 4;
    c.id = net_id(1);
    c.flags = SC_CHANGE_NEW;
    call = net_request(net, 1, SC_LINK_CHANGE, 0, &c);
    CU_ASSERT(net_wait(net, call, 3000));
    CU_ASSERT_EQUAL(sc_store_context(net->node[1].store, "mail", 4, 0, &context), APR_SUCCESS);
    net_run(net, 3000);
    plant_in(net, 0, "mail", 50);
    plant_in(net, 1, "mail", 51);
    plant_in(net, 1, "mail", 52);
    bury_in(net, 0, "mail", 52); /* which only node 0 can find out, by asking */
    net_run(net, 8000);
    CU_ASSERT(is_dead_in(net, 1, "mail", 52));
    CU_ASSERT(is_in(net, 1, "mail", 50));
    CU_ASSERT(is_in(net, 0, "mail", 51));
    net_destroy(net);
}

/* ---- hostile --------------------------------------------------------------------------------- */

static void inject(net_t *net, int to, int from, const sc_buf_t *b)
{
    unsigned char *copy = malloc(b->len + 1);

    memcpy(copy, b->data, b->len);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[to].m, &net->node[from].self, copy, b->len),
                    APR_SUCCESS);
    free(copy);
}

static void put_list(sc_buf_t *b, apr_uint64_t serial, const char *context, apr_uint32_t range,
                     apr_uint32_t first, apr_uint32_t n)
{
    sc_msg_digest_list_t l;
    sc_buf_t items;
    apr_uint32_t i;

    memset(&l, 0, sizeof(l));
    sc_buf_init(&items, 1024 * 1024);
    for (i = 0; i < n; i++) {
        sc_id_t id = digest_id(first + i);

        id.b[0] = (unsigned char)range;
        sc_item_digest_put(&items, &id, i);
    }
    l.serial = serial;
    l.context.s = context;
    l.context.len = strlen(context);
    l.range = range;
    l.from = digest_id(first);
    l.upto = digest_id(first + (n > 0 ? n - 1 : 0));
    l.from.b[0] = l.upto.b[0] = (unsigned char)range;
    l.n = n;
    l.items = items.data;
    l.items_len = items.len;
    sc_buf_clear(b);
    sc_msg_digest_list_put(b, &l);
    sc_buf_free(&items);
}

static void put_end(sc_buf_t *b, apr_uint64_t serial, apr_uint32_t ranges, const char *name)
{
    sc_msg_digest_list_t l;
    sc_buf_t names;

    memset(&l, 0, sizeof(l));
    sc_buf_init(&names, 1024);
    l.serial = serial;
    l.range = ranges;
    if (name != NULL) {
        sc_put_str(&names, name, strlen(name));
        l.n = 1;
        l.items = names.data;
        l.items_len = names.len;
    }
    sc_buf_clear(b);
    sc_msg_digest_list_put(b, &l);
    sc_buf_free(&names);
}

/* Node 0 has asked, and node 1 does not get to answer. @return the serial: they count from 1 */
static apr_uint64_t net_waiting(net_t *net)
{
    apr_uint64_t before;

    net_run(net, 3000);
    net->link[1][0].hold = 1;
    before = net->node[0].posted[SC_EVT_DIGEST];
    while (net->node[0].posted[SC_EVT_DIGEST] == before) {
        net_run(net, 10);
    }
    return before + 1;
}

/* What nobody has asked for is ignored; what is malformed is refused. */
static void test_unasked(void)
{
    net_t *net = net_ready(2, digest_often);
    sc_counters_t *count = &net->node[0].board->count;
    apr_uint64_t before, serial;
    sc_buf_t b;

    sc_buf_init(&b, 1024 * 1024);
    serial = net_waiting(net);
    before = count->ignored;
    put_list(&b, serial + 1, NET_CONTEXT, 3, 0, 10);
    inject(net, 0, 1, &b);
    put_list(&b, serial - 1, NET_CONTEXT, 3, 0, 10);
    inject(net, 0, 1, &b);
    put_end(&b, serial + 7, 3, NULL);
    inject(net, 0, 1, &b);
    CU_ASSERT_EQUAL(count->ignored, before + 3);
    CU_ASSERT_EQUAL(count->records_refused, 0);
    before = digest_exchanged(net);
    sc_buf_clear(&b);
    sc_put_u8(&b, SC_EVT_DIGEST);
    sc_put(&b, "\1\1\4shop\3", 8);
    inject(net, 0, 1, &b);
    put_list(&b, serial, NET_CONTEXT, 3, 0, 2);
    memset(b.data + b.len - 2 * (SC_ID_LEN + 8), 0xEE, SC_ID_LEN); /* out of range, and of order */
    inject(net, 0, 1, &b);
    CU_ASSERT_EQUAL(count->records_refused, 2);
    net->link[1][0].hold = 0;
    net_run(net, 30000);
    CU_ASSERT_EQUAL(digest_exchanged(net), before);
    sc_buf_free(&b);
    net_destroy(net);
}

/* Lists that overlap, of contexts that were not asked for, too many of them, of sessions that do
 * not exist: bounded, logged once, and over soon. */
static void test_absurd_lists(void)
{
    net_t *net = net_ready(2, digest_often);
    net_node_t *node = &net->node[0];
    apr_uint64_t serial = net_waiting(net);
    apr_uint64_t asked = node->posted[SC_EVT_RETRIEVE];
    apr_uint64_t ignored;
    apr_uint32_t i;
    sc_buf_t b;

    sc_buf_init(&b, 1024 * 1024);
    put_list(&b, serial, "unknown", 3, 0, 10);
    inject(net, 0, 1, &b);
    put_list(&b, serial, NET_CONTEXT, 3, 0, 10);
    inject(net, 0, 1, &b);
    put_list(&b, serial, NET_CONTEXT, 3, 5, 10);
    inject(net, 0, 1, &b);
    for (i = 0; i < 200; i++) { /* 8 MB are taken, of 20 */
        put_list(&b, serial, NET_CONTEXT, 4, i * SC_DIGEST_ITEMS, SC_DIGEST_ITEMS);
        inject(net, 0, 1, &b);
    }
    ignored = node->board->count.ignored;
    for (i = 0; i < 6000; i++) {
        put_list(&b, serial, NET_CONTEXT, 5, i, 0);
        inject(net, 0, 1, &b);
    }
    CU_ASSERT(node->board->count.ignored > ignored + 1000);
    ignored = node->board->count.ignored;
    put_end(&b, serial, 256, NULL);
    inject(net, 0, 1, &b);
    CU_ASSERT_EQUAL(node->board->count.ignored, ignored + 1); /* one of the two that overlap */
    CU_ASSERT(node->logged[91] >= 1 && node->logged[91] <= 2);
    net->link[1][0].hold = 0;
    net_run(net, 900);
    CU_ASSERT(node->posted[SC_EVT_RETRIEVE] - asked > 100);
    CU_ASSERT(node->posted[SC_EVT_RETRIEVE] - asked <= 2000);
    net_run(net, 30000);
    /* the peer's true answers end it; some questions were repeated while the link was held */
    CU_ASSERT(node->posted[SC_EVT_RETRIEVE] - asked <= 2500);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 0);
    digest_plant(net, 1, 1, "x", 100);
    CU_ASSERT(digest_agree(net, 5000));
    sc_buf_free(&b);
    net_destroy(net);
}

/* A peer that names contexts as unknown which were not asked about, again and again. */
static void test_absurd_contexts(void)
{
    net_t *net = net_ready(2, digest_often);
    apr_uint64_t serial, before;
    sc_buf_t b;
    int i;

    sc_buf_init(&b, 1024);
    serial = net_waiting(net);
    before = serial;
    for (i = 0; i < 20; i++) {
        put_end(&b, net->node[0].posted[SC_EVT_DIGEST], 0, i % 2 ? "nonsense" : "zoo");
        inject(net, 0, 1, &b);
        net_run(net, 500);
    }
    CU_ASSERT(net->node[0].posted[SC_EVT_DIGEST] - before < 10); /* 10 s */
    net->link[1][0].hold = 0;
    digest_plant(net, 0, 1, "x", 100);
    CU_ASSERT(digest_agree(net, 30000));
    sc_buf_free(&b);
    net_destroy(net);
}

/* Questions as fast as they come: the last one is answered, now and then. */
static void test_flood(void)
{
    net_t *net = net_ready(2, digest_often);
    sc_msg_digest_t d;
    apr_uint64_t lists;
    sc_buf_t b;
    int i;

    sc_buf_init(&b, 64 * 1024);
    memset(&d, 0, sizeof(d));
    d.ncontexts = 1;
    d.context[0].s = NET_CONTEXT;
    d.context[0].len = strlen(NET_CONTEXT);
    lists = net->node[0].posted[SC_EVT_DIGEST_LIST];
    for (i = 0; i < 3000; i++) {
        d.serial = 1000000 + (apr_uint64_t)i;
        memset(d.sum, i + 1, sizeof(d.sum));
        sc_buf_clear(&b);
        sc_msg_digest_put(&b, &d);
        inject(net, 0, 1, &b);
        net_run(net, 1);
    }
    CU_ASSERT(net->node[0].posted[SC_EVT_DIGEST_LIST] - lists <= 10 * 17);
    net_run(net, 3000);
    digest_plant(net, 0, 1, "x", 100);
    CU_ASSERT(digest_agree(net, 10000));
    sc_buf_free(&b);
    net_destroy(net);
}

static void test_random_records(void)
{
    net_t *net = net_ready(2, digest_often);
    apr_uint32_t i, k;
    sc_buf_t b;

    sc_buf_init(&b, 64 * 1024);
    for (i = 0; i < 4000; i++) {
        apr_uint64_t serial = net->node[0].posted[SC_EVT_DIGEST];

        if (net_random(net, 4) == 0) {
            put_end(&b, serial, net_random(net, 256), net_random(net, 2) ? NET_CONTEXT : NULL);
        } else {
            put_list(&b, serial, NET_CONTEXT, net_random(net, 256), net_random(net, 70000),
                     net_random(net, 30));
        }
        for (k = net_random(net, 3); k > 0; k--) {
            b.data[1 + net_random(net, (apr_uint32_t)b.len - 1)] =
                (unsigned char)net_random(net, 256);
        }
        inject(net, 0, 1, &b);
        if (i % 4 == 0) {
            net_run(net, 5);
        }
    }
    digest_plant(net, 0, 1, "x", 100);
    CU_ASSERT(digest_agree(net, 60000));
    CU_ASSERT_EQUAL(net_sessions(net, 0), 1);
    sc_buf_free(&b);
    net_destroy(net);
}

void delta_digest_abuse_tests(void)
{
    CU_pSuite s = CU_get_suite("delta");

    CU_add_test(s, "digests: contexts", test_contexts);
    CU_add_test(s, "digests: a context learned", test_context_learned);
    CU_add_test(s, "digests: unasked", test_unasked);
    CU_add_test(s, "digests: absurd lists", test_absurd_lists);
    CU_add_test(s, "digests: absurd contexts", test_absurd_contexts);
    CU_add_test(s, "digests: a flood", test_flood);
    CU_add_test(s, "digests: random records", test_random_records);
}
