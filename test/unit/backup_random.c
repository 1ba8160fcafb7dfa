/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Random histories of the backup manager.
 */
#include "backup_net.h"

void backup_random_tests(void)
{
}
