/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Random histories of the delta manager: two to four nodes, which must all hold the same sessions
 * in the end.
 */
#include <CUnit/CUnit.h>

#include "random_net.h"

static net_t *create(apr_uint64_t seed)
{
    return net_create(2 + (int)(seed % 3), NULL);
}

static int buries(net_t *net, int node)
{
    (void)net;
    (void)node;
    return 1;
}

static void settle(net_t *net)
{
    net_run(net, 20000);
}

static int lives(net_t *net, int node, apr_uint32_t id)
{
    return net_look(net, node, id, NULL) == NET_LIVE;
}

static int kept(net_t *net, apr_uint32_t id, const char *name)
{
    int n;

    for (n = 0; n < net->n; n++) {
        if (!lives(net, n, id) || net_value(net, n, id, name) == NULL) {
            return 0;
        }
    }
    return 1;
}

static const random_kind_t kind = {"SC_DELTA_SEED", "SC_DELTA_SEEDS", 1,     create, buries,
                                   settle,          net_difference,   lives, kept};

static void test_histories(void)
{
    random_histories(&kind, 300);
}

/* Rare ones, that once found something. */
static void test_rare_histories(void)
{
    static const apr_uint64_t seeds[] = {443, 602, 958, 1903, 2963, 4648, 5381, 5903, 6824, 7036};
    int bad = 0, live = 0;
    apr_size_t i;

    for (i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        bad += random_judge(&kind, seeds[i], &live);
    }
    CU_ASSERT_EQUAL(bad, 0);
}

void delta_random_tests(void)
{
    CU_add_test(CU_get_suite("delta"), "random histories converge", test_histories);
    CU_add_test(CU_get_suite("delta"), "rare histories converge", test_rare_histories);
}
