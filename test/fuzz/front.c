/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A front end, which only knows where sessions are, over a channel that nobody can trust
 * (rig/manager.h).
 */
#include "manager.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};

    fuzz_managers(&in, SC_MANAGER_BACKUP, 1);
    return 0;
}
