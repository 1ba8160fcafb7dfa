/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file channel.h
 * @brief Two channels with their chains on a network whose every packet the input decides about.
 *
 * The input is a list of operations (channel.c): a datagram or a packet comes from anywhere, made
 * up or built from a member that is known; something that one node sent arrives at the other, whole
 * or damaged, late, twice or not at all; sends end well or badly; time passes; records and other
 * messages are sent.
 */
#ifndef FUZZ_CHANNEL_H
#define FUZZ_CHANNEL_H

#include "fuzz.h"
#include "sc_channel.h"

typedef struct net_setup_t {
    sc_membership_kind_t membership;
    apr_uint32_t ninterceptors; /**< 0: the default chain */
    sc_config_interceptor_t interceptor[SC_INTERCEPTORS_MAX];
    int accept_foreign;
    const char *domain; /**< of both nodes; NULL: none */
    int small;          /**< frames and queues so small that their bounds are met; what is held is
                           checked */
} net_setup_t;

/** What a node is configured with. */
void fuzz_channel_config(const net_setup_t *setup, int node, sc_config_t *c);

/** Run the rest of the input against two nodes with this configuration. */
void fuzz_channels(fuzz_in_t *in, const net_setup_t *setup);

#endif
