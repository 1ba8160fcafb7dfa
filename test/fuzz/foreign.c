/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Channels that accept foreign members: what Tomcats say by datagrams, texts and Java objects
 * (rig/channel.h).
 */
#include <string.h>

#include "channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    net_setup_t setup;

    memset(&setup, 0, sizeof(setup));
    setup.membership = fuzz_u8(&in) & 1 ? SC_MEMBERSHIP_STATIC : SC_MEMBERSHIP_MULTICAST;
    setup.accept_foreign = 1;
    fuzz_channels(&in, &setup);
    return 0;
}
