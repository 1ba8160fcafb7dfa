/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Placement: values that must never change, balance, little movement, independence of the order in
 * which the routes are listed; and backups, compared with a plain reading of their rule. The golden
 * values come from another implementation (SipHash written out in Python), so they check the
 * documented function and not this code against itself.
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

/* ---- backups --------------------------------------------------------------------------------- */

enum { IDS = 10000 };

static const char *const racks[] = {"", "a", "b", "c"};

static apr_uint64_t rnd_state;

static unsigned rnd(unsigned n)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    rnd_state ^= rnd_state << 17;
    return (unsigned)((rnd_state >> 11) % n);
}

static apr_uint64_t seed_of(unsigned n)
{
    char id[SC_ID_HEX + 1];

    return sc_placement_seed(session(id, n), SC_ID_HEX);
}

/* Whether a candidate may not be chosen any more: it is the primary, or chosen, or another entry of
 * one of these. */
static int is_out(const sc_candidate_t *primary, const sc_candidate_t *c, const apr_size_t *chosen,
                  apr_size_t count, apr_size_t i)
{
    int out = strcmp(c[i].route, primary->route) == 0;

    for (apr_size_t k = 0; k < count; k++) {
        out |= strcmp(c[i].route, c[chosen[k]].route) == 0;
    }
    return out;
}

static int shares(const sc_candidate_t *primary, const sc_candidate_t *c, const apr_size_t *chosen,
                  apr_size_t count, apr_size_t i)
{
    int crowded = strcmp(c[i].domain, primary->domain) == 0;

    for (apr_size_t k = 0; k < count; k++) {
        crowded |= strcmp(c[i].domain, c[chosen[k]].domain) == 0;
    }
    return crowded && c[i].domain[0] != '\0';
}

/* The rule as it stands in the header, word by word: each time the best of all that are left, those
 * of a domain of their own before the others. No sorting, nothing kept between two choices. */
static apr_size_t by_the_rule(apr_uint64_t seed, const sc_candidate_t *primary,
                              const sc_candidate_t *c, apr_size_t n, apr_size_t want,
                              apr_size_t *chosen)
{
    apr_size_t count = 0;

    while (count < want) {
        apr_size_t best = n;

        for (int crowded = 0; crowded < 2 && best == n; crowded++) {
            for (apr_size_t i = 0; i < n; i++) {
                apr_uint64_t weight = sc_placement_weight(seed, c[i].route);

                if (is_out(primary, c, chosen, count, i) ||
                    (!crowded && shares(primary, c, chosen, count, i))) {
                    continue;
                }
                if (best == n || weight > sc_placement_weight(seed, c[best].route)) {
                    best = i;
                }
            }
        }
        if (best == n) {
            break;
        }
        chosen[count++] = best;
    }
    return count;
}

/* Any number of candidates, domains and copies; the primary among the candidates or not. */
static void test_backups_by_the_rule(void)
{
    enum { MOST = 2 * NODES };
    char names[MOST][8];

    rnd_state = 99;
    for (int i = 0; i < MOST; i++) {
        apr_snprintf(names[i], sizeof(names[i]), "n%d", i);
    }
    for (unsigned round = 0; round < 20000; round++) {
        apr_size_t n = rnd(MOST + 1), want = rnd(6), got, expected;
        apr_size_t chosen[6], right[6];
        sc_candidate_t c[MOST], primary;
        unsigned start = rnd(MOST), nracks = 1 + rnd(4);
        apr_uint64_t seed = seed_of(round);

        for (apr_size_t i = 0; i < n; i++) {
            c[i].route = names[(start + i * 5) % MOST]; /* 5 and MOST: no common factor */
            c[i].domain = racks[rnd(nracks)];
        }
        primary.route = names[rnd(MOST)];
        primary.domain = racks[rnd(nracks)];
        for (apr_size_t i = 0; i < n; i++) {
            if (c[i].route == primary.route) {
                primary.domain = c[i].domain;
            }
        }
        memset(chosen, 0xff, sizeof(chosen));
        got = sc_placement_backups(seed, &primary, c, n, want, chosen);
        expected = by_the_rule(seed, &primary, c, n, want, right);
        CU_ASSERT_EQUAL(got, expected);
        CU_ASSERT(memcmp(chosen, right, expected * sizeof(right[0])) == 0);
        for (apr_size_t i = got; i < 6; i++) {
            CU_ASSERT_EQUAL(chosen[i], (apr_size_t)-1); /* nothing is written behind */
        }
    }
}

/* Without domains the backups are the first ones of the order, the primary left out. */
static void test_backups_order(void)
{
    for (unsigned s = 0; s < 500; s++) {
        sc_candidate_t c[NODES], primary = {nodes[s % NODES], ""};
        apr_size_t order[NODES], chosen[NODES], k = 0;
        char id[SC_ID_HEX + 1];

        session(id, s);
        for (int i = 0; i < NODES; i++) {
            c[i].route = nodes[i];
            c[i].domain = "";
        }
        CU_ASSERT_EQUAL(sc_placement_rank(id, SC_ID_HEX, nodes, NODES, order), APR_SUCCESS);
        CU_ASSERT_EQUAL_FATAL(sc_placement_backups(seed_of(s), &primary, c, NODES, NODES, chosen),
                              NODES - 1);
        for (int i = 0; i < NODES; i++) {
            if (order[i] != s % NODES) {
                CU_ASSERT_EQUAL(chosen[k], order[i]);
                k++;
            }
        }
    }
}

/* One domain for all is as none at all. */
static void test_backups_one_domain(void)
{
    for (unsigned s = 0; s < 500; s++) {
        sc_candidate_t one[NODES], none[NODES];
        sc_candidate_t primary_one = {"n3", "a"}, primary_none = {"n3", ""};
        apr_size_t a[4], b[4];

        for (int i = 0; i < NODES; i++) {
            one[i].route = none[i].route = nodes[i];
            one[i].domain = "a";
            none[i].domain = "";
        }
        CU_ASSERT_EQUAL(sc_placement_backups(seed_of(s), &primary_one, one, NODES, 4, a), 4);
        CU_ASSERT_EQUAL(sc_placement_backups(seed_of(s), &primary_none, none, NODES, 4, b), 4);
        CU_ASSERT(memcmp(a, b, sizeof(a)) == 0);
    }
}

/* Two racks of which one is nearly empty, three racks, and one that is shared. */
static void test_backups_domains(void)
{
    static const sc_candidate_t two[] = {{"n1", "a"}, {"n2", "a"}, {"n3", "a"}, {"n4", "b"}};
    static const sc_candidate_t three[] = {{"n1", "a"}, {"n2", "a"}, {"n3", "b"},
                                           {"n4", "b"}, {"n5", "c"}, {"n6", "c"}};
    static const sc_candidate_t mixed[] = {{"n1", "a"}, {"n2", "a"}, {"n3", ""}, {"n4", ""}};

    for (unsigned s = 0; s < 1000; s++) {
        apr_size_t chosen[4];

        /* never in the own rack as long as there is another */
        CU_ASSERT_EQUAL(sc_placement_backups(seed_of(s), &two[0], two, 4, 1, chosen), 1);
        CU_ASSERT_EQUAL(chosen[0], 3);
        /* the second has to go to one of the two racks that are full */
        CU_ASSERT_EQUAL(sc_placement_backups(seed_of(s), &two[0], two, 4, 2, chosen), 2);
        CU_ASSERT(chosen[0] == 3 && (chosen[1] == 1 || chosen[1] == 2));
        CU_ASSERT_EQUAL(sc_placement_backups(seed_of(s), &three[2], three, 6, 2, chosen), 2);
        CU_ASSERT_STRING_NOT_EQUAL(three[chosen[0]].domain, "b");
        CU_ASSERT_STRING_NOT_EQUAL(three[chosen[1]].domain, "b");
        CU_ASSERT_STRING_NOT_EQUAL(three[chosen[0]].domain, three[chosen[1]].domain);
        /* without a domain one shares it with nobody, not even with others without */
        CU_ASSERT_EQUAL(sc_placement_backups(seed_of(s), &mixed[0], mixed, 4, 2, chosen), 2);
        CU_ASSERT_EQUAL(chosen[0] + chosen[1], 5);
        CU_ASSERT(chosen[0] != 1 && chosen[1] != 1);
    }
}

static void test_backups_bounds(void)
{
    char names[SC_PLACEMENT_MAX + 1][8];
    sc_candidate_t c[SC_PLACEMENT_MAX + 1], primary = {"r7", ""};
    apr_size_t chosen[SC_PLACEMENT_MAX + 1];

    for (int i = 0; i <= SC_PLACEMENT_MAX; i++) {
        apr_snprintf(names[i], sizeof(names[i]), "r%d", i);
        c[i].route = names[i];
        c[i].domain = racks[i % 4];
    }
    chosen[0] = 4711;
    CU_ASSERT_EQUAL(sc_placement_backups(1, &primary, c, 0, 4, chosen), 0);
    CU_ASSERT_EQUAL(sc_placement_backups(1, &primary, c, 5, 0, chosen), 0);
    CU_ASSERT_EQUAL(sc_placement_backups(1, &primary, c, SC_PLACEMENT_MAX + 1, 4, chosen), 0);
    CU_ASSERT_EQUAL(sc_placement_backups(1, &primary, &c[7], 1, 4, chosen), 0); /* itself only */
    CU_ASSERT_EQUAL(chosen[0], 4711);
    CU_ASSERT_EQUAL(sc_placement_backups(1, &primary, &c[8], 1, 4, chosen), 1);
    CU_ASSERT_EQUAL(chosen[0], 0);
    CU_ASSERT_EQUAL(sc_placement_backups(1, &primary, c, 8, 100, chosen), 7);
    CU_ASSERT_EQUAL(sc_placement_backups(1, &primary, c, SC_MEMBERS_MAX, SC_MEMBERS_MAX, chosen),
                    SC_MEMBERS_MAX - 1);
    CU_ASSERT_EQUAL(
        sc_placement_backups(1, &primary, c, SC_PLACEMENT_MAX, SC_PLACEMENT_MAX, chosen),
        SC_PLACEMENT_MAX - 1);
}

/* A member that is listed twice is no second copy, nor is the primary under any listing. */
static void test_backups_twins(void)
{
    static const sc_candidate_t twins[] = {{"n1", ""},  {"n2", ""}, {"n1", ""},
                                           {"n2", "a"}, {"n3", ""}, {"n1", "b"}};
    static const sc_candidate_t crowded[] = {{"n1", "a"}, {"n1", ""}, {"n3", "a"}, {"n2", "b"}};
    static const sc_candidate_t primary = {"n3", ""};

    for (unsigned s = 0; s < 200; s++) {
        apr_size_t chosen[6];

        CU_ASSERT_EQUAL_FATAL(sc_placement_backups(seed_of(s), &primary, twins, 6, 6, chosen), 2);
        CU_ASSERT_EQUAL(chosen[0] + chosen[1], 1); /* the first entry of both */
        /* nor is the second entry taken for the sake of its domain */
        CU_ASSERT_EQUAL_FATAL(sc_placement_backups(seed_of(s), &crowded[2], crowded, 4, 1, chosen),
                              1);
        CU_ASSERT_EQUAL(chosen[0], 3);
        CU_ASSERT_EQUAL_FATAL(sc_placement_backups(seed_of(s), &crowded[2], crowded, 4, 4, chosen),
                              2);
        CU_ASSERT(chosen[0] == 3 && chosen[1] == 0);
    }
}

/* All members list each other in their own order and agree. */
static void test_backups_any_listing(void)
{
    for (unsigned s = 0; s < 500; s++) {
        sc_candidate_t a[NODES], b[NODES], primary = {nodes[s % NODES], racks[s % NODES % 4]};
        apr_size_t x[3], y[3];

        for (unsigned i = 0; i < NODES; i++) {
            unsigned k = (i * 3 + s) % NODES;

            a[i].route = nodes[i];
            a[i].domain = racks[i % 4];
            b[i].route = nodes[k];
            b[i].domain = racks[k % 4];
        }
        CU_ASSERT_EQUAL(sc_placement_backups(seed_of(s), &primary, a, NODES, 3, x), 3);
        CU_ASSERT_EQUAL(sc_placement_backups(seed_of(s), &primary, b, NODES, 3, y), 3);
        for (int i = 0; i < 3; i++) {
            CU_ASSERT_STRING_EQUAL(a[x[i]].route, b[y[i]].route);
        }
    }
}

/* Backups of 10,000 sessions, whose primaries are whoever served them first: each node holds its
 * share, and each node's sessions spread over all others. Deterministic; 4 standard deviations. */
static void test_backups_balance(void)
{
    enum { EACH = IDS / NODES, MOST_OFF = 132, PAIR = EACH / (NODES - 1), PAIR_OFF = 54 };
    int held[NODES] = {0}, of[NODES][NODES] = {{0}};
    sc_candidate_t c[NODES];

    for (int i = 0; i < NODES; i++) {
        c[i].route = nodes[i];
        c[i].domain = "";
    }
    for (unsigned s = 0; s < IDS; s++) {
        apr_size_t chosen[1];

        CU_ASSERT_EQUAL_FATAL(sc_placement_backups(seed_of(s), &c[s % NODES], c, NODES, 1, chosen),
                              1);
        held[chosen[0]]++;
        of[s % NODES][chosen[0]]++;
    }
    for (int i = 0; i < NODES; i++) {
        CU_ASSERT(abs(held[i] - EACH) < MOST_OFF);
        CU_ASSERT_EQUAL(of[i][i], 0);
        for (int k = 0; k < NODES; k++) {
            CU_ASSERT(i == k || abs(of[i][k] - PAIR) < PAIR_OFF);
        }
    }
}

/* One of the nodes leaves: only sessions that had a copy there move, and only that copy does. */
static void move_one(int dead, int want)
{
    int moved = 0;

    for (unsigned s = 0; s < IDS; s++) {
        sc_candidate_t all[NODES], left[NODES - 1], primary;
        apr_size_t before[4], after[4];
        int n = 0, had = 0, kept = 0;

        for (int i = 0; i < NODES; i++) {
            all[i].route = nodes[i];
            all[i].domain = "";
            if (i != dead) {
                left[n++] = all[i];
            }
        }
        primary = left[s % (NODES - 1)];
        CU_ASSERT_EQUAL_FATAL(
            sc_placement_backups(seed_of(s), &primary, all, NODES, (apr_size_t)want, before),
            (apr_size_t)want);
        CU_ASSERT_EQUAL_FATAL(
            sc_placement_backups(seed_of(s), &primary, left, NODES - 1, (apr_size_t)want, after),
            (apr_size_t)want);
        for (int i = 0; i < want; i++) {
            had |= before[i] == (apr_size_t)dead;
            for (int k = 0; k < want; k++) {
                kept += strcmp(all[before[i]].route, left[after[k]].route) == 0;
            }
        }
        CU_ASSERT_EQUAL(kept, want - had);
        moved += had;
    }
    /* of 7 others each holds its share */
    CU_ASSERT(abs(moved - IDS * want / (NODES - 1)) < IDS / 50);
}

static void test_backups_movement(void)
{
    move_one(2, 1);
    move_one(0, 2);
    move_one(7, 3);
}

/* With domains: whoever did not have a copy at the dead node keeps all of them where they are. */
static void test_backups_movement_domains(void)
{
    enum { DEAD = 4, WANT = 2 };
    int moved = 0;

    for (unsigned s = 0; s < IDS; s++) {
        sc_candidate_t all[NODES], left[NODES - 1], primary;
        apr_size_t before[WANT], after[WANT];
        int n = 0;

        for (int i = 0; i < NODES; i++) {
            all[i].route = nodes[i];
            all[i].domain = racks[i % 4];
            if (i != DEAD) {
                left[n++] = all[i];
            }
        }
        primary = left[s % (NODES - 1)];
        CU_ASSERT_EQUAL_FATAL(sc_placement_backups(seed_of(s), &primary, all, NODES, WANT, before),
                              WANT);
        CU_ASSERT_EQUAL_FATAL(
            sc_placement_backups(seed_of(s), &primary, left, NODES - 1, WANT, after), WANT);
        if (before[0] == DEAD || before[1] == DEAD) {
            moved++;
        } else {
            CU_ASSERT_STRING_EQUAL(all[before[0]].route, left[after[0]].route);
            CU_ASSERT_STRING_EQUAL(all[before[1]].route, left[after[1]].route);
        }
    }
    CU_ASSERT(moved > 0 && moved < IDS / 2);
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
    CU_ADD_TEST(s, test_backups_by_the_rule);
    CU_ADD_TEST(s, test_backups_order);
    CU_ADD_TEST(s, test_backups_one_domain);
    CU_ADD_TEST(s, test_backups_domains);
    CU_ADD_TEST(s, test_backups_bounds);
    CU_ADD_TEST(s, test_backups_twins);
    CU_ADD_TEST(s, test_backups_any_listing);
    CU_ADD_TEST(s, test_backups_balance);
    CU_ADD_TEST(s, test_backups_movement);
    CU_ADD_TEST(s, test_backups_movement_domains);
}
