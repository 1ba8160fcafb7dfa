/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Locations: told to those who hold no copy, and to front ends, in few messages; and what becomes
 * of those that cannot be true.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

#define SOME 1000

static apr_uint64_t proxies(net_t *net, int node)
{
    sc_store_stats_t stats;

    sc_store_stats(net->node[node].store, &stats);
    return stats.proxies;
}

/* How many of so many sessions a node has in this way. */
static apr_uint32_t count(net_t *net, int node, apr_uint32_t from, apr_uint32_t n, backup_has_t has)
{
    apr_uint32_t i, found = 0;

    for (i = 0; i < n; i++) {
        found += backup_has(net, node, from + i, NULL) == has;
    }
    return found;
}

/* ---- nodes ------------------------------------------------------------------------------------
 */

static void test_batches(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint64_t received = 0;
    apr_uint32_t i, n = 0;

    net_make(net, 0, 1, SOME);
    net_run(net, 500);
    for (i = 1; i < 4; i++) {
        n += count(net, (int)i, 1, SOME, HAS_PROXY);
        CU_ASSERT_EQUAL(
            count(net, (int)i, 1, SOME, HAS_PROXY) + count(net, (int)i, 1, SOME, HAS_COPY), SOME);
        received += net->node[i].board->count.places_received;
    }
    CU_ASSERT_EQUAL(n, 2 * SOME);
    CU_ASSERT_EQUAL(net->node[0].board->count.places_sent, 2 * SOME);
    CU_ASSERT_EQUAL(received, 2 * SOME); /* holders are not told what they know */
    CU_ASSERT(net->node[0].posted[SC_EVT_PROXY] > 0 && net->node[0].posted[SC_EVT_PROXY] <= 12);
    CU_ASSERT_EQUAL(net->node[1].posted[SC_EVT_PROXY], 0);
    for (i = 1; i <= 100; i++) {
        CU_ASSERT_STRING_EQUAL(backup_where(net, 3, i), backup_where(net, 0, i));
    }
    /* changes do not move anything, so nobody is told again */
    for (i = 1; i <= 100; i++) {
        CU_ASSERT_EQUAL(net_set(net, 0, 0, i, "a", "2"), SC_DONE);
    }
    net_run(net, 500);
    CU_ASSERT_EQUAL(net->node[0].board->count.places_sent, 2 * SOME);
    net_destroy(net);
}

/* A list that is lost is pulled like anything else that is lost. */
static void test_lost_list(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint32_t i;

    net_make(net, 0, 1, 20);
    for (i = 1; i < 4; i++) {
        net->link[0][i].full = 1; /* from now on, what is posted falls by the way */
    }
    net_run(net, 150);
    for (i = 1; i < 4; i++) {
        net->link[0][i].full = 0;
    }
    net_run(net, 4000);
    for (i = 1; i < 4; i++) {
        CU_ASSERT_EQUAL(count(net, (int)i, 1, 20, HAS_PROXY) + count(net, (int)i, 1, 20, HAS_COPY),
                        20);
    }
    net_destroy(net);
}

/* ---- front ends -------------------------------------------------------------------------------
 */

static void last_is_front(sc_config_t *c, int index)
{
    if (index == 3) {
        c->role = SC_ROLE_BALANCER;
        c->route[0] = '\0';
        c->ncontexts = 0; /* nor has it a manager configured */
    } else {
        backup_tweak(c, index);
    }
}

static net_t *with_front(void)
{
    net_t *net;

    backup_copies = 1;
    net = net_ready(4, last_is_front);
    net_run(net, 3000);
    return net;
}

static int knows(net_t *net, apr_uint32_t id, sc_record_t *rec)
{
    sc_id_t key = net_id(id);
    apr_uint16_t context;

    return sc_store_context(net->node[3].store, NET_CONTEXT, strlen(NET_CONTEXT), 0, &context) ==
               APR_SUCCESS &&
           sc_store_locate(net->node[3].store, context, &key, rec) == APR_SUCCESS;
}

static apr_uint32_t known(net_t *net, apr_uint32_t from, apr_uint32_t n)
{
    apr_uint32_t i, found = 0;
    sc_record_t rec;

    for (i = 0; i < n; i++) {
        found += knows(net, from + i, &rec) && (rec.flags & SC_REC_PROXY);
    }
    return found;
}

static void test_front(void)
{
    net_t *net = with_front();
    apr_uint32_t call, i;
    sc_record_t rec;

    net_make(net, 0, 1, 500);
    net_make(net, 1, 501, 500);
    net_run(net, 300);
    CU_ASSERT_EQUAL(known(net, 1, SOME), SOME);
    CU_ASSERT_EQUAL(net_sessions(net, 3), 0); /* and nothing else */
    CU_ASSERT_FATAL(knows(net, 1, &rec));
    CU_ASSERT_STRING_EQUAL(sc_store_route_name(net->node[3].store, rec.primary), "n1");
    CU_ASSERT_FATAL(knows(net, 501, &rec));
    CU_ASSERT_STRING_EQUAL(sc_store_route_name(net->node[3].store, rec.primary), "n2");
    CU_ASSERT_STRING_NOT_EQUAL(sc_store_route_name(net->node[3].store, rec.backups[0]), "");
    CU_ASSERT(net->node[0].posted[SC_EVT_PROXY] + net->node[1].posted[SC_EVT_PROXY] < 30);
    /* the end of many: few messages, too */
    for (i = 1; i <= 300; i++) {
        call = net_remove(net, (int)i % 3, i);
    }
    CU_ASSERT(net_wait(net, call, 5000));
    net_run(net, 300);
    CU_ASSERT_EQUAL(known(net, 1, 300), 0);
    CU_ASSERT_EQUAL(known(net, 301, 700), 700);
    net_run(net, 70000);
    CU_ASSERT_FALSE(knows(net, 1, &rec)); /* not even that it is dead */
    CU_ASSERT_EQUAL(known(net, 301, 700), 700);
    net_destroy(net);
}

static void test_front_renamed(void)
{
    net_t *net = with_front();
    apr_uint32_t call;
    sc_record_t rec;

    net_make(net, 0, 1, 1);
    call = net_change_id(net, 0, 1, 2, 0, "b", "2");
    CU_ASSERT(net_wait(net, call, 5000));
    net_run(net, 300);
    CU_ASSERT_EQUAL(known(net, 1, 1), 0);
    CU_ASSERT_EQUAL(known(net, 2, 1), 1);
    CU_ASSERT_FATAL(knows(net, 2, &rec));
    CU_ASSERT_STRING_EQUAL(sc_store_route_name(net->node[3].store, rec.primary), "n1");
    net_destroy(net);
}

static void test_front_late(void)
{
    net_t *net = with_front();
    apr_uint64_t before;

    net_crash(net, 3, 1);
    net_make(net, 0, 1, 1500);
    net_make(net, 1, 1501, 1500);
    net_run(net, 500);
    before = net->node[0].posted[SC_EVT_PROXY];
    net_join(net, 3, 1);
    net_run(net, 2000);
    CU_ASSERT_EQUAL(known(net, 1, 3000), 3000);
    CU_ASSERT_EQUAL(net->node[3].posted[SC_EVT_STATE], 3 + 3); /* each node once, in each life */
    CU_ASSERT(net->node[0].posted[SC_EVT_PROXY] - before >= 2);
    CU_ASSERT(net->node[0].posted[SC_EVT_PROXY] - before <= 8);
    net_destroy(net);
}

/* A node that joins is asked when it is READY. */
static void test_front_late_node(void)
{
    net_t *net = with_front();
    apr_uint64_t before = net->node[3].posted[SC_EVT_STATE];

    net_crash(net, 1, 1);
    net_join(net, 1, 1);
    CU_ASSERT(net_wait_ready(net, 5000));
    net_run(net, 1500);
    CU_ASSERT_EQUAL(net->node[3].posted[SC_EVT_STATE] - before, 1);
    net_destroy(net);
}

static void test_front_gap(void)
{
    net_t *net = with_front();
    apr_uint64_t before = net->node[3].posted[SC_EVT_STATE];

    net->link[0][3].full = 1;
    net_make(net, 0, 1, 50);
    net_run(net, 300);
    CU_ASSERT_EQUAL(known(net, 1, 50), 0);
    net->link[0][3].full = 0;
    net_run(net, 3000);
    CU_ASSERT_EQUAL(known(net, 1, 50), 50);
    CU_ASSERT(net->node[3].posted[SC_EVT_STATE] > before);
    net_destroy(net);
}

/* What nobody confirms goes, what somebody does stays. */
static void test_front_ages(void)
{
    net_t *net = with_front();
    int i;

    net_make(net, 0, 1, 50);
    net_run(net, 300);
    net_run(net, 17 * 60 * 1000);
    CU_ASSERT_EQUAL(known(net, 1, 50), 50);
    CU_ASSERT(net->node[3].posted[SC_EVT_STATE] >= 9);
    CU_ASSERT(net->node[3].posted[SC_EVT_STATE] <= 20);
    for (i = 0; i < 3; i++) {
        net_crash(net, i, 1);
    }
    net_run(net, 9 * 60 * 1000);
    CU_ASSERT_EQUAL(known(net, 1, 50), 50);
    net_run(net, 7 * 60 * 1000);
    CU_ASSERT_EQUAL(known(net, 1, 50), 0);
    CU_ASSERT_EQUAL(proxies(net, 3), 0);
    net_destroy(net);
}

/* ---- what cannot be true ----------------------------------------------------------------------
 */

/* A list as node n2 would write it. */
static void put_list(net_t *net, sc_buf_t *b, const sc_record_t *rec, apr_size_t n)
{
    sc_places_t *list = sc_places_create();
    apr_size_t i;

    for (i = 0; i < n; i++) {
        CU_ASSERT_EQUAL(sc_places_add(list, net->node[1].store, &rec[i], 0), APR_SUCCESS);
    }
    sc_buf_init(b, 1024 * 1024);
    sc_places_put(b, SC_EVT_PROXY, 0, 0, list, net->node[1].store);
    sc_places_free(list);
}

static apr_status_t hear(net_t *net, int node, const sc_record_t *rec, apr_size_t n)
{
    apr_status_t rv;
    sc_buf_t b;

    put_list(net, &b, rec, n);
    rv = sc_manager_record(net->node[node].m, &net->node[1].self, b.data, b.len);
    sc_buf_free(&b);
    return rv;
}

static apr_uint16_t route(net_t *net, int node, const char *name, int create_it)
{
    apr_uint16_t index = SC_ROUTE_NONE;

    (void)sc_store_route(net->node[node].store, name, strlen(name), create_it, &index);
    return index;
}

static sc_record_t place(net_t *net, apr_uint32_t id, apr_uint32_t epoch, const char *primary,
                         const char *backup)
{
    sc_record_t rec;

    memset(&rec, 0, sizeof(rec));
    rec.id = net_id(id);
    rec.epoch = epoch;
    rec.primary = route(net, 1, primary, 1);
    rec.backups[0] = *backup != '\0' ? route(net, 1, backup, 1) : SC_ROUTE_NONE;
    return rec;
}

static void test_unknown_members(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint64_t before = net->node[3].board->count.records_refused;
    sc_record_t rec = place(net, 77, 1, "ghost", "n1");

    CU_ASSERT_EQUAL(hear(net, 3, &rec, 1), APR_SUCCESS);
    rec = place(net, 78, 1, "n1", "specter");
    CU_ASSERT_EQUAL(hear(net, 3, &rec, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(net->node[3].board->count.records_refused, before + 2);
    CU_ASSERT_EQUAL(backup_has(net, 3, 77, NULL), HAS_NOTHING);
    CU_ASSERT_EQUAL(backup_has(net, 3, 78, NULL), HAS_NOTHING);
    CU_ASSERT_EQUAL(route(net, 3, "ghost", 0), SC_ROUTE_NONE); /* nor is the name entered */
    CU_ASSERT_EQUAL(route(net, 3, "specter", 0), SC_ROUTE_NONE);
    rec = place(net, 79, 1, "n1", "n2");
    CU_ASSERT_EQUAL(hear(net, 3, &rec, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(backup_has(net, 3, 79, NULL), HAS_PROXY);
    net_destroy(net);
}

static void test_absurd_epochs(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint64_t before;
    const char *where;
    sc_record_t rec;
    int node;

    net_make(net, 0, 1, 1);
    net_run(net, 300);
    for (node = 0; node < 4; node++) {
        where = backup_where(net, node, 1);
        before = net->node[node].board->count.records_refused;
        rec = place(net, 1, SC_EPOCH_MAX, "n2", "n3");
        CU_ASSERT_EQUAL(hear(net, node, &rec, 1), APR_SUCCESS);
        rec = place(net, 2, (1 << 20) + 1, "n2", "n3");
        CU_ASSERT_EQUAL(hear(net, node, &rec, 1), APR_SUCCESS);
        CU_ASSERT_EQUAL(net->node[node].board->count.records_refused, before + 2);
        CU_ASSERT_STRING_EQUAL(backup_where(net, node, 1), where);
        CU_ASSERT_EQUAL(backup_has(net, node, 2, NULL), HAS_NOTHING);
    }
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_DONE);
    net_destroy(net);
}

/* The higher epoch counts, and of one epoch the larger names, in whatever order they are heard. */
static void test_order(void)
{
    net_t *net = backup_ready(4, 1);
    sc_record_t low, high, tie;

    low = place(net, 7, 3, "n1", "n2");
    tie = place(net, 7, 3, "n2", "n3");
    high = place(net, 7, 4, "n1", "n2");
    CU_ASSERT_EQUAL(hear(net, 3, &low, 1), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(backup_where(net, 3, 7), "n1 n2 #3");
    CU_ASSERT_EQUAL(hear(net, 3, &tie, 1), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(backup_where(net, 3, 7), "n2 n3 #3");
    CU_ASSERT_EQUAL(hear(net, 3, &low, 1), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(backup_where(net, 3, 7), "n2 n3 #3");
    CU_ASSERT_EQUAL(hear(net, 3, &high, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(hear(net, 3, &tie, 1), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(backup_where(net, 3, 7), "n1 n2 #4");
    net_destroy(net);
}

static void test_unknown_contexts(void)
{
    net_t *net = with_front();
    sc_record_t rec[3];
    apr_uint16_t index;
    apr_uint32_t i;

    for (i = 0; i < 3; i++) {
        char name[8] = "other0";

        name[5] = (char)('0' + i);
        rec[i] = place(net, 10 + i, 1, "n1", "n2");
        CU_ASSERT_EQUAL(
            sc_store_context(net->node[1].store, name, strlen(name), 1, &rec[i].context),
            APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(hear(net, 2, rec, 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_context(net->node[2].store, "other0", 6, 0, &index), APR_NOTFOUND);
    CU_ASSERT_EQUAL(proxies(net, 2), 0);
    /* a front end takes what there is, as far as it has room */
    CU_ASSERT_EQUAL(hear(net, 3, rec, 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_context(net->node[3].store, "other0", 6, 0, &index), APR_SUCCESS);
    CU_ASSERT_EQUAL(proxies(net, 3), 3);
    for (i = 0; i < SC_CONTEXTS_MAX + 10; i++) {
        char name[16] = "flood00";
        sc_buf_t b;

        name[5] = (char)('0' + i / 10);
        name[6] = (char)('0' + i % 10);
        sc_buf_init(&b, 1024);
        sc_put_u8(&b, SC_EVT_PROXY);
        sc_put_varint(&b, 0); /* serial */
        sc_put_varint(&b, 0); /* flags */
        sc_put_varint(&b, 1); /* names */
        sc_put_str(&b, "n2", 2);
        sc_put_varint(&b, 1); /* groups */
        sc_put_str(&b, name, strlen(name));
        sc_put_varint(&b, 1); /* items */
        sc_put_varint(&b, SC_ID_LEN + 3);
        sc_put(&b, net_id(1000 + i).b, SC_ID_LEN);
        sc_put_varint(&b, 1); /* epoch */
        sc_put_varint(&b, 1); /* primary */
        sc_put_varint(&b, 0); /* backups */
        CU_ASSERT_EQUAL(sc_manager_record(net->node[3].m, &net->node[1].self, b.data, b.len),
                        APR_SUCCESS);
        sc_buf_free(&b);
    }
    CU_ASSERT(proxies(net, 3) > 3);
    CU_ASSERT(proxies(net, 3) <= SC_CONTEXTS_MAX);
    net_destroy(net);
}

/* One node cannot be primary and backup. */
static void test_same_twice(void)
{
    net_t *net = backup_ready(4, 1);
    apr_uint64_t before = net->node[3].board->count.records_refused;
    sc_buf_t b;

    sc_buf_init(&b, 1024);
    sc_put_u8(&b, SC_EVT_PROXY);
    sc_put_varint(&b, 0);
    sc_put_varint(&b, 0);
    sc_put_varint(&b, 1);
    sc_put_str(&b, "n1", 2);
    sc_put_varint(&b, 1);
    sc_put_str(&b, NET_CONTEXT, strlen(NET_CONTEXT));
    sc_put_varint(&b, 1);
    sc_put_varint(&b, SC_ID_LEN + 4);
    sc_put(&b, net_id(5).b, SC_ID_LEN);
    sc_put_varint(&b, 1);
    sc_put_varint(&b, 1);
    sc_put_varint(&b, 1 << 2);
    sc_put_varint(&b, 1);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[3].m, &net->node[1].self, b.data, b.len),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(net->node[3].board->count.records_refused, before + 1);
    CU_ASSERT_EQUAL(backup_has(net, 3, 5, NULL), HAS_NOTHING);
    sc_buf_free(&b);
    net_destroy(net);
}

/* A location does not bring back what is dead. */
static void test_dead(void)
{
    net_t *net = with_front();
    apr_uint32_t call;
    sc_record_t rec;
    int node;

    net_make(net, 0, 1, 1);
    net_run(net, 300);
    call = net_remove(net, 0, 1);
    CU_ASSERT(net_wait(net, call, 5000));
    net_run(net, 300);
    for (node = 0; node < 4; node++) {
        rec = place(net, 1, 9, "n2", "n3");
        CU_ASSERT_EQUAL(hear(net, node, &rec, 1), APR_SUCCESS);
    }
    net_run(net, 1000);
    for (node = 0; node < 3; node++) {
        CU_ASSERT_EQUAL(backup_has(net, node, 1, NULL), HAS_DEAD);
    }
    CU_ASSERT_EQUAL(known(net, 1, 1), 0);
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 1, "a", "2"), SC_ABSENT);
    net_destroy(net);
}

/* Who is said to hold what it has not got looks for it, and says so if there is nothing. */
static void test_no_copy(void)
{
    net_t *net = backup_ready(4, 1);
    sc_record_t rec = place(net, 6, 1, "n1", "n3");

    /* who does not hold it is not believed */
    CU_ASSERT_EQUAL(hear(net, 3, &rec, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(backup_has(net, 3, 6, NULL), HAS_NOTHING);
    rec = place(net, 5, 1, "n1", "n2");
    CU_ASSERT_EQUAL(hear(net, 3, &rec, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(backup_has(net, 3, 5, NULL), HAS_PROXY);
    CU_ASSERT_EQUAL(hear(net, 0, &rec, 1), APR_SUCCESS);
    net_run(net, 1000);
    CU_ASSERT_EQUAL(backup_has(net, 0, 5, NULL), HAS_NOTHING);
    CU_ASSERT_EQUAL(net_set(net, 3, 0, 5, "a", "2"), SC_ABSENT);
    CU_ASSERT_EQUAL(backup_has(net, 3, 5, NULL), HAS_NOTHING);
    net_destroy(net);
}

/* Locations without end: memory is bounded, and sessions come first. */
static void test_flood(void)
{
    net_t *net = backup_ready(4, 1);
    sc_record_t *rec = calloc(1000, sizeof(*rec));
    sc_store_stats_t stats;
    apr_uint32_t i, k;

    net_make(net, 3, 1, 50);
    for (i = 0; i < 100; i++) {
        for (k = 0; k < 1000; k++) {
            rec[k] = place(net, 100000 + i * 1000 + k, 1, "n1", "n2");
        }
        CU_ASSERT_EQUAL(hear(net, 3, rec, 1000), APR_SUCCESS);
    }
    sc_store_stats(net->node[3].store, &stats);
    CU_ASSERT(stats.proxies > 1000 && stats.proxies < stats.cells);
    CU_ASSERT(stats.cells_free >= stats.cells / 16);
    for (i = 1; i <= 50; i++) {
        CU_ASSERT_EQUAL(net_set(net, 3, 0, i, "a", "2"), SC_DONE);
    }
    CU_ASSERT_EQUAL(net_set(net, 3, SC_CHANGE_NEW, 60, "a", "1"), SC_DONE);
    free(rec);
    net_destroy(net);
}

/* The same for a front end: what it knows it keeps, what it has no room for it does without. */
static void test_front_flood(void)
{
    net_t *net = with_front();
    sc_record_t *rec = calloc(1000, sizeof(*rec));
    sc_store_stats_t stats;
    apr_uint32_t i, k;

    net_make(net, 0, 1, 50);
    net_run(net, 300);
    for (i = 0; i < 100; i++) {
        for (k = 0; k < 1000; k++) {
            rec[k] = place(net, 100000 + i * 1000 + k, 1, "n1", "n2");
        }
        CU_ASSERT_EQUAL(hear(net, 3, rec, 1000), APR_SUCCESS);
    }
    sc_store_stats(net->node[3].store, &stats);
    CU_ASSERT(stats.proxies > 1000 && stats.proxies < stats.cells);
    CU_ASSERT_EQUAL(known(net, 1, 50), 50);
    CU_ASSERT(net->node[3].logged[46] >= 1 && net->node[3].logged[46] <= 2);
    net_run(net, 16 * 60 * 1000);
    CU_ASSERT_EQUAL(proxies(net, 3), 50); /* nobody has confirmed the others */
    free(rec);
    net_destroy(net);
}

/* STATE from anybody, as often as it likes: one walk at a time. */
static void test_state_flood(void)
{
    net_t *net = with_front();
    apr_uint64_t before;
    sc_buf_t b;
    int i;

    net_make(net, 0, 1, 500);
    net_run(net, 500);
    before = net->node[0].posted[SC_EVT_PROXY];
    sc_buf_init(&b, 64);
    for (i = 1; i <= 1000; i++) {
        sc_buf_clear(&b);
        sc_msg_state_put(&b, (apr_uint64_t)i);
        CU_ASSERT_EQUAL(sc_manager_record(net->node[0].m, &net->node[3].self, b.data, b.len),
                        APR_SUCCESS);
    }
    net_run(net, 1000);
    CU_ASSERT(net->node[0].posted[SC_EVT_PROXY] > before);
    CU_ASSERT(net->node[0].posted[SC_EVT_PROXY] - before < 20);
    /* a front end answers nobody */
    before = net->node[3].posted[SC_EVT_PROXY];
    CU_ASSERT_EQUAL(sc_manager_record(net->node[3].m, &net->node[0].self, b.data, b.len),
                    APR_SUCCESS);
    net_run(net, 1000);
    CU_ASSERT_EQUAL(net->node[3].posted[SC_EVT_PROXY], before);
    sc_buf_free(&b);
    net_destroy(net);
}

/* With the delta manager nobody is told of locations, and nobody listens. */
static void test_delta(void)
{
    net_t *net = net_ready(3, NULL);
    apr_uint64_t before = net->node[2].board->count.ignored;
    sc_record_t rec = place(net, 50, 1, "n1", "n2");
    int i;

    net_make(net, 0, 1, 10);
    net_run(net, 1000);
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(net->node[i].posted[SC_EVT_PROXY] + net->node[i].posted[SC_EVT_STATE], 0);
    }
    CU_ASSERT_EQUAL(hear(net, 2, &rec, 1), APR_SUCCESS);
    CU_ASSERT(net->node[2].board->count.ignored > before);
    CU_ASSERT_EQUAL(net_look(net, 2, 50, NULL), NET_NOTHING);
    net_destroy(net);
}

void backup_places_tests(void)
{
    CU_pSuite s = CU_get_suite("backup");

    CU_add_test(s, "locations go out in batches", test_batches);
    CU_add_test(s, "locations that were lost are pulled", test_lost_list);
    CU_add_test(s, "a front end knows where sessions are", test_front);
    CU_add_test(s, "a front end follows a change of id", test_front_renamed);
    CU_add_test(s, "a front end that starts late learns all", test_front_late);
    CU_add_test(s, "a front end asks a node that starts late", test_front_late_node);
    CU_add_test(s, "a front end makes up for a gap", test_front_gap);
    CU_add_test(s, "a front end forgets what nobody confirms", test_front_ages);
    CU_add_test(s, "locations with unknown members", test_unknown_members);
    CU_add_test(s, "locations with absurd epochs", test_absurd_epochs);
    CU_add_test(s, "locations have an order", test_order);
    CU_add_test(s, "locations of unknown contexts", test_unknown_contexts);
    CU_add_test(s, "locations that name a member twice", test_same_twice);
    CU_add_test(s, "locations of the dead", test_dead);
    CU_add_test(s, "locations of what is nowhere", test_no_copy);
    CU_add_test(s, "locations without end", test_flood);
    CU_add_test(s, "a front end and locations without end", test_front_flood);
    CU_add_test(s, "questions for all locations without end", test_state_flood);
    CU_add_test(s, "locations and the delta manager", test_delta);
}
