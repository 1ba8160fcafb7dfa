/* Licensed under the Apache License, Version 2.0; see LICENSE. */
#include "backup_net.h"
void backup_fetch_tests(void)
{
}
