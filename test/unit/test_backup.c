/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The backup manager on one to five nodes, with the fake network of delta_net.h. The tests are in
 * backup_*.c by topic.
 */
#include <CUnit/CUnit.h>

#include "backup_net.h"

void sc_suite_backup(void);

void sc_suite_backup(void)
{
    (void)CU_add_suite("backup", NULL, NULL);
    backup_changes_tests();
    backup_moves_tests();
    backup_places_tests();
    backup_fetch_tests();
    backup_joins_tests();
    backup_claims_tests();
    backup_latest_tests();
    backup_acks_tests();
    backup_ids_tests();
    backup_random_tests();
}
