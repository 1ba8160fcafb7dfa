/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Placement: values that must never change, balance, little movement, independence of the order in
 * which the routes are listed. The golden values come from another implementation (SipHash written
 * out in Python), so they check the documented function and not this code against itself.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include <apr_strings.h>

#include "sc_placement.h"

void sc_suite_placement(void);

enum { NODES = 8, SESSIONS = 8000 };

static const char *const nodes[NODES] = {"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"};

/* The n-th session id of a fixed sequence, as text. */
static const char *session(char out[SC_ID_HEX + 1], unsigned n)
{
    apr_snprintf(out, SC_ID_HEX + 1, "%08X%08X%08X%08X", n * 2654435761u, n, ~n, n ^ 0x5A5A5A5Au);
    return out;
}

static apr_size_t first_of(const char *id, const char *const *routes, apr_size_t n)
{
    apr_size_t order[SC_PLACEMENT_MAX];

    CU_ASSERT_EQUAL_FATAL(sc_placement_rank(id, strlen(id), routes, n, order), APR_SUCCESS);
    return order[0];
}

/* ---- the function itself -------------------------------------------------------------------- */

typedef struct golden_t {
    const char *id;
    apr_size_t len;
    apr_uint64_t seed;
    apr_uint64_t weight[5];
    apr_size_t order[5];
} golden_t;

static void test_golden(void)
{
    static const char longest[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    static const golden_t golden[] = {
        {"0123456789ABCDEF00FF10EFDEADBEEF",
         32,
         0x038da78b4d5373f5ull,
         {0x91360d1859505058ull, 0x70b0e86f4f89dd92ull, 0xd1af0574f75e9713ull,
          0x8870b03661404ae7ull, 0xf6130bc833e553e6ull},
         {4, 2, 0, 3, 1}},
        {"9F3A0000000000000000000000000001",
         32,
         0xea2c41c064a5608full,
         {0x1726f072f2915475ull, 0x0adcee5d6c797b8eull, 0x443beb9b7b3644b1ull,
          0xb001d1de095c2d27ull, 0xe1706e553dc50a79ull},
         {4, 3, 2, 0, 1}},
        {"",
         0,
         0xc41e323eedc25a64ull,
         {0x80168089b93fc7c4ull, 0x96dc42d3589d94cfull, 0x08767f5462ed044cull,
          0xf008e63cafe63f51ull, 0xe8c59882f1246c73ull},
         {3, 4, 1, 0, 2}},
        {"a\0b",
         3,
         0xbf1cb8d1dba560d9ull,
         {0xc18fe497d702a6a3ull, 0xe0e6a654f51f4afbull, 0x7a960140ee7e5600ull,
          0x2ac20e7225da3604ull, 0xa8024aa646170cb8ull},
         {1, 0, 4, 2, 3}},
    };
    const char *routes[5] = {"n1", "n2", "n3", "node-4.example", longest};

    CU_ASSERT_EQUAL(strlen(longest), SC_ROUTE_MAX);
    for (apr_size_t g = 0; g < sizeof(golden) / sizeof(golden[0]); g++) {
        const golden_t *want = &golden[g];
        apr_uint64_t seed = sc_placement_seed(want->id, want->len);
        apr_size_t order[5];

        CU_ASSERT_EQUAL(seed, want->seed);
        for (apr_size_t i = 0; i < 5; i++) {
            CU_ASSERT_EQUAL(sc_placement_weight(seed, routes[i]), want->weight[i]);
        }
        CU_ASSERT_EQUAL(sc_placement_rank(want->id, want->len, routes, 5, order), APR_SUCCESS);
        CU_ASSERT(memcmp(order, want->order, sizeof(order)) == 0);
    }
}

/* Every byte of the id and of the route counts. */
static void test_sensitive(void)
{
    char id[SC_ID_HEX + 1], route[SC_ROUTE_MAX + 1];
    apr_uint64_t seed = sc_placement_seed(session(id, 7), SC_ID_HEX);
    apr_uint64_t weight;

    for (apr_size_t i = 0; i < SC_ID_HEX; i++) {
        char was = id[i];
        id[i] = was == 'F' ? '0' : 'F';
        CU_ASSERT_NOT_EQUAL(sc_placement_seed(id, SC_ID_HEX), seed);
        id[i] = was;
    }
    CU_ASSERT_NOT_EQUAL(sc_placement_seed(id, SC_ID_HEX - 1), seed);
    memset(route, 'r', SC_ROUTE_MAX);
    route[SC_ROUTE_MAX] = '\0';
    weight = sc_placement_weight(seed, route);
    for (apr_size_t i = 0; i < SC_ROUTE_MAX; i++) {
        route[i] = 's';
        CU_ASSERT_NOT_EQUAL(sc_placement_weight(seed, route), weight);
        route[i] = 'r';
    }
    CU_ASSERT_EQUAL(sc_placement_weight(seed, route), weight);
}

/* A route that is longer than any may be is cut, and what is behind the bound is not even read. */
static void test_long_route(void)
{
    char longer[4 * SC_ROUTE_MAX];
    char cut[SC_ROUTE_MAX + 1];
    char *open_end = malloc(SC_ROUTE_MAX);

    CU_ASSERT_PTR_NOT_NULL_FATAL(open_end);
    memset(open_end, 'z', SC_ROUTE_MAX);
    memset(longer, 'z', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    memset(cut, 'z', SC_ROUTE_MAX);
    cut[SC_ROUTE_MAX] = '\0';
    CU_ASSERT_EQUAL(sc_placement_weight(42, longer), sc_placement_weight(42, cut));
    CU_ASSERT_EQUAL(sc_placement_weight(42, open_end), sc_placement_weight(42, cut));
    CU_ASSERT_FALSE(sc_placement_before(1, longer, 1, cut));
    CU_ASSERT_FALSE(sc_placement_before(1, cut, 1, open_end));
    free(open_end);
}

static void test_before(void)
{
    CU_ASSERT_TRUE(sc_placement_before(2, "b", 1, "a"));
    CU_ASSERT_FALSE(sc_placement_before(1, "a", 2, "b"));
    CU_ASSERT_TRUE(sc_placement_before(0x8000000000000000ull, "b", 1, "a")); /* unsigned */
    CU_ASSERT_TRUE(sc_placement_before(1, "a", 1, "b"));
    CU_ASSERT_FALSE(sc_placement_before(1, "b", 1, "a"));
    CU_ASSERT_FALSE(sc_placement_before(1, "a", 1, "a"));
    CU_ASSERT_TRUE(sc_placement_before(1, "a", 1, "\xc3")); /* bytes, whatever the sign of char */
}

/* ---- the order ------------------------------------------------------------------------------ */

static void test_bounds(void)
{
    const char *many[SC_PLACEMENT_MAX + 1];
    char names[SC_PLACEMENT_MAX + 1][8];
    apr_size_t order[SC_PLACEMENT_MAX + 1];
    unsigned char seen[SC_PLACEMENT_MAX] = {0};

    for (int i = 0; i <= SC_PLACEMENT_MAX; i++) {
        apr_snprintf(names[i], sizeof(names[i]), "r%d", i);
        many[i] = names[i];
    }
    order[0] = 4711;
    CU_ASSERT_EQUAL(sc_placement_rank("id", 2, many, SC_PLACEMENT_MAX + 1, order), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_placement_rank("id", 2, many, 0, order), APR_SUCCESS);
    CU_ASSERT_EQUAL(order[0], 4711);
    CU_ASSERT_EQUAL(sc_placement_rank("id", 2, many, 1, order), APR_SUCCESS);
    CU_ASSERT_EQUAL(order[0], 0);

    /* the longest list: each index once, weights fall */
    CU_ASSERT_EQUAL(sc_placement_rank("id", 2, many, SC_PLACEMENT_MAX, order), APR_SUCCESS);
    for (int i = 0; i < SC_PLACEMENT_MAX; i++) {
        CU_ASSERT_FATAL(order[i] < SC_PLACEMENT_MAX);
        CU_ASSERT_EQUAL(seen[order[i]], 0);
        seen[order[i]] = 1;
        if (i > 0) {
            apr_uint64_t seed = sc_placement_seed("id", 2);
            CU_ASSERT(sc_placement_weight(seed, many[order[i - 1]]) >
                      sc_placement_weight(seed, many[order[i]]));
        }
    }
}

/* Nodes list the members in different orders, and sometimes one twice. */
static void test_any_listing(void)
{
    char id[SC_ID_HEX + 1];

    for (unsigned s = 0; s < 200; s++) {
        const char *listed[NODES];
        apr_size_t a[NODES], b[NODES];

        session(id, s);
        for (unsigned i = 0; i < NODES; i++) {
            listed[i] = nodes[(i * 3 + s) % NODES];
        }
        CU_ASSERT_EQUAL(sc_placement_rank(id, SC_ID_HEX, nodes, NODES, a), APR_SUCCESS);
        CU_ASSERT_EQUAL(sc_placement_rank(id, SC_ID_HEX, listed, NODES, b), APR_SUCCESS);
        for (int i = 0; i < NODES; i++) {
            CU_ASSERT_STRING_EQUAL(nodes[a[i]], listed[b[i]]);
        }
    }
}

static void test_twins(void)
{
    static const char *const twins[] = {"n1", "n2", "n1", "n1"};
    apr_size_t order[4], last = 0;
    int met = 0;

    CU_ASSERT_EQUAL(sc_placement_rank("abc", 3, twins, 4, order), APR_SUCCESS);
    for (int i = 0; i < 4; i++) {
        if (order[i] != 1) { /* the three of n1 in the order in which they were listed */
            CU_ASSERT(met == 0 || order[i] > last);
            last = order[i];
            met++;
        }
    }
    CU_ASSERT_EQUAL(met, 3);
}

/* First and second choices are spread evenly. Deterministic, so no tolerance for luck is needed: a
 * fair function stays within 4 standard deviations (31 of 1000 each). */
static void test_balance(void)
{
    enum { EACH = SESSIONS / NODES, MOST_OFF = 120 };
    int first[NODES] = {0}, second[NODES] = {0};
    char id[SC_ID_HEX + 1];
    apr_size_t order[NODES];

    for (unsigned s = 0; s < SESSIONS; s++) {
        session(id, s);
        CU_ASSERT_EQUAL_FATAL(sc_placement_rank(id, SC_ID_HEX, nodes, NODES, order), APR_SUCCESS);
        first[order[0]]++;
        second[order[1]]++;
    }
    for (int i = 0; i < NODES; i++) {
        CU_ASSERT(abs(first[i] - EACH) < MOST_OFF);
        CU_ASSERT(abs(second[i] - EACH) < MOST_OFF);
    }
}

/* When a node dies only its sessions move, to their second choice, and spread over all others. */
static void test_minimal_movement(void)
{
    enum { DEAD = 2 };
    const char *left[NODES - 1];
    int heirs[NODES - 1] = {0};
    int moved = 0;
    char id[SC_ID_HEX + 1];

    for (int i = 0, n = 0; i < NODES; i++) {
        if (i != DEAD) {
            left[n++] = nodes[i];
        }
    }
    for (unsigned s = 0; s < SESSIONS; s++) {
        apr_size_t order[NODES], now;

        session(id, s);
        CU_ASSERT_EQUAL_FATAL(sc_placement_rank(id, SC_ID_HEX, nodes, NODES, order), APR_SUCCESS);
        now = first_of(id, left, NODES - 1);
        if (order[0] == DEAD) {
            CU_ASSERT_STRING_EQUAL(left[now], nodes[order[1]]);
            heirs[now]++;
            moved++;
        } else {
            CU_ASSERT_STRING_EQUAL(left[now], nodes[order[0]]);
        }
    }
    CU_ASSERT(moved > 0);
    for (int i = 0; i < NODES - 1; i++) {
        CU_ASSERT(heirs[i] > moved / (NODES - 1) / 2);
        CU_ASSERT(heirs[i] < moved / (NODES - 1) * 2);
    }
}

void sc_suite_placement(void)
{
    CU_pSuite s = CU_add_suite("placement", NULL, NULL);

    CU_ADD_TEST(s, test_golden);
    CU_ADD_TEST(s, test_sensitive);
    CU_ADD_TEST(s, test_long_route);
    CU_ADD_TEST(s, test_before);
    CU_ADD_TEST(s, test_bounds);
    CU_ADD_TEST(s, test_any_listing);
    CU_ADD_TEST(s, test_twins);
    CU_ADD_TEST(s, test_balance);
    CU_ADD_TEST(s, test_minimal_movement);
}
