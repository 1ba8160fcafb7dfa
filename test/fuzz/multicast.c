/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Multicast membership under a whole channel: datagrams of members, of Tomcats, of anybody
 * (rig/channel.h).
 */
#include <string.h>

#include "channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    net_setup_t setup;

    memset(&setup, 0, sizeof(setup));
    setup.membership = SC_MEMBERSHIP_MULTICAST;
    fuzz_channels(&in, &setup);
    return 0;
}
