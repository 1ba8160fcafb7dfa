/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions that some nodes hold: made, changed, renamed and removed wherever a request arrives.
 */
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

/* ---- making -----------------------------------------------------------------------------------
 */

static void create_on(int nodes, int copies)
{
    net_t *net = backup_ready(nodes, copies);
    int most = nodes < copies + 1 ? nodes : copies + 1;
    apr_uint32_t id;

    for (id = 1; id <= 20; id++) {
        int node = (int)id % nodes;

        CU_ASSERT_EQUAL(net_set(net, node, SC_CHANGE_NEW, id, "user", "ann"), SC_DONE);
        /* at once: the answer has waited for them */
        CU_ASSERT_EQUAL(backup_holders(net, id), most);
        CU_ASSERT_STRING_EQUAL(net_value(net, node, id, "user"), "ann");
        CU_ASSERT_STRING_EQUAL(net_primary(net, node, id), net->node[node].config.route);
    }
    CU_ASSERT(backup_settled(net, 3000));
    net_destroy(net);
}

static void test_create(void)
{
    int nodes, copies;

    for (nodes = 1; nodes <= 5; nodes++) {
        for (copies = 1; copies <= 3; copies++) {
            create_on(nodes, copies);
        }
    }
}

void backup_changes_tests(void)
{
    CU_add_test(CU_get_suite("backup"), "sessions are made with their backups", test_create);
}
