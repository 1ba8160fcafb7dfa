/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Random histories of the backup manager: two to five nodes with one to three backups. All nodes
 * must agree in the end on where each session is, and its holders must hold the same.
 */
#include <CUnit/CUnit.h>

#include "backup_net.h"
#include "random_net.h"

static net_t *create(apr_uint64_t seed)
{
    backup_copies = 1 + (int)(seed / 4 % 3);
    return net_create(2 + (int)(seed % 4), backup_tweak);
}

/* A node that is still joining asks the others first, and may be told nothing. */
static int buries(net_t *net, int node)
{
    return sc_board_get(net->node[node].board->node_state) == SC_NODE_READY;
}

static void settle(net_t *net)
{
    (void)backup_settled(net, 300000);
}

static int lives(net_t *net, int node, apr_uint32_t id)
{
    backup_has_t has = backup_has(net, node, id, NULL);

    return has != HAS_NOTHING && has != HAS_DEAD;
}

static int kept(net_t *net, apr_uint32_t id, const char *name)
{
    return backup_value(net, id, name) != NULL;
}

static const random_kind_t kind = {"SC_BACKUP_SEED", "SC_BACKUP_SEEDS", 0,     create, buries,
                                   settle,           backup_difference, lives, kept};

static void test_histories(void)
{
    random_histories(&kind, 150);
}

void backup_random_tests(void)
{
    CU_add_test(CU_get_suite("backup"), "random histories end in agreement", test_histories);
}
