/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Rendezvous hashing of sessions to routes.
 *
 * Two steps, id first: a seed of fixed size keeps the second message short and bounded however long
 * the id in a cookie is, and the id is read once for all routes. SipHash, because its result is
 * defined by bytes and not by words of the machine, and because it spreads routes that differ in
 * one digit ("node1", "node2") as well as any others.
 */
#include <string.h>

#include <apr_siphash.h>

#include "sc_placement.h"

#define SEED_BYTES 8

static const unsigned char placement_key[APR_SIPHASH_KSIZE] = {
    'S', 'e', 's', 's', 'i', 'o', 'n', 'C', 'l', 'u', 's', 't', 'e', 'r', '/', '1'};

apr_uint64_t sc_placement_seed(const void *id, apr_size_t len)
{
    return apr_siphash24(id, len, placement_key);
}

apr_uint64_t sc_placement_weight(apr_uint64_t seed, const char *route)
{
    unsigned char message[SEED_BYTES + SC_ROUTE_MAX];
    apr_size_t len = strnlen(route, SC_ROUTE_MAX);

    for (int i = 0; i < SEED_BYTES; i++) {
        message[i] = (unsigned char)(seed >> (8 * i));
    }
    memcpy(message + SEED_BYTES, route, len);
    return apr_siphash24(message, SEED_BYTES + len, placement_key);
}

int sc_placement_before(apr_uint64_t wa, const char *a, apr_uint64_t wb, const char *b)
{
    if (wa != wb) {
        return wa > wb;
    }
    return strncmp(a, b, SC_ROUTE_MAX) < 0;
}

apr_status_t sc_placement_rank(const void *id, apr_size_t len, const char *const *routes,
                               apr_size_t n, apr_size_t *order)
{
    apr_uint64_t weight[SC_PLACEMENT_MAX];
    apr_uint64_t seed;

    if (n > SC_PLACEMENT_MAX) {
        return APR_EINVAL;
    }
    seed = sc_placement_seed(id, len);
    for (apr_size_t i = 0; i < n; i++) {
        apr_size_t at = i;

        /* insertion: few routes, no allocation, and equal routes keep their order */
        weight[i] = sc_placement_weight(seed, routes[i]);
        while (at > 0 && sc_placement_before(weight[i], routes[i], weight[order[at - 1]],
                                             routes[order[at - 1]])) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    return APR_SUCCESS;
}
