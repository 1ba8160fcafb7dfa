/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Changes of location: members that die, join, leave, hang, and engines that die in the middle.
 */
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

void backup_moves_tests(void)
{
}
