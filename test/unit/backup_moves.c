/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of location: members that die, join, leave, hang, and engines that die in the middle.
 */
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

#define SESSIONS 30

/* Sessions 1 to SESSIONS, made in turn on the nodes. */
static void make_sessions(net_t *net)
{
    apr_uint32_t id;

    for (id = 1; id <= SESSIONS; id++) {
        CU_ASSERT_EQUAL(net_set(net, (int)id % net->n, SC_CHANGE_NEW, id, "user", "ann"), SC_DONE);
    }
}

/* All are there, with this value. */
static int all_have(net_t *net, const char *name, const char *value)
{
    apr_uint32_t id;

    for (id = 1; id <= SESSIONS; id++) {
        const char *v = backup_value(net, id, name);

        if (v == NULL || strcmp(v, value) != 0) {
            fprintf(stderr, "\n  session %u: %s\n", id, v != NULL ? v : "(none, or different)");
            return 0;
        }
    }
    return 1;
}

/* ---- deaths ------------------------------------------------------------------------------------ */

static void test_primary_dies(void)
{
    net_t *net = backup_ready(3, 1);
    apr_uint32_t id;

    make_sessions(net);
    net_crash(net, 0, 1);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    for (id = 1; id <= SESSIONS; id++) {
        CU_ASSERT_EQUAL(backup_holders(net, id), 2);
        CU_ASSERT_NOT_EQUAL(backup_primary(net, id), 0);
        CU_ASSERT_EQUAL(net_set(net, 1 + (int)id % 2, 0, id, "user", "bob"), SC_DONE);
    }
    CU_ASSERT(all_have(net, "user", "bob"));
    net_destroy(net);
}

static void test_both_die(void)
{
    net_t *net = backup_ready(5, 1);

    make_sessions(net);
    net_crash(net, 1, 1);
    CU_ASSERT(backup_settled(net, 10000));
    net_crash(net, 3, 1);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_crash(net, 0, 1);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_crash(net, 2, 1);
    CU_ASSERT(backup_settled(net, 10000));
    CU_ASSERT(all_have(net, "user", "ann"));
    net_destroy(net);
}

void backup_moves_tests(void)
{
    CU_pSuite s = CU_get_suite("backup");

    CU_add_test(s, "a member dies", test_primary_dies);
    CU_add_test(s, "one after the other dies", test_both_die);
}
