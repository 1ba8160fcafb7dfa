/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Rendezvous hashing of sessions to routes: one order for those who choose a node, and for those
 * who place copies.
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

/* Insertion: few routes, no allocation, and equal routes keep their order. */
static void rank(apr_uint64_t seed, const char *const *routes, apr_size_t n, apr_size_t *order)
{
    apr_uint64_t weight[SC_PLACEMENT_MAX];

    for (apr_size_t i = 0; i < n; i++) {
        apr_size_t at = i;

        weight[i] = sc_placement_weight(seed, routes[i]);
        while (at > 0 && sc_placement_before(weight[i], routes[i], weight[order[at - 1]],
                                             routes[order[at - 1]])) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

apr_status_t sc_placement_rank(const void *id, apr_size_t len, const char *const *routes,
                               apr_size_t n, apr_size_t *order)
{
    if (n > SC_PLACEMENT_MAX) {
        return APR_EINVAL;
    }
    rank(sc_placement_seed(id, len), routes, n, order);
    return APR_SUCCESS;
}

/* ---- backups -------------------------------------------------------------------------------- */

#define TAKEN 0x1   /* chosen, the primary, or a route that stands there already */
#define CROWDED 0x2 /* in a domain that holds the session already */

/* A holder: it cannot be chosen again, and those in its domain only if there are no others. */
static void mark(const sc_candidate_t *holder, const sc_candidate_t *c, apr_size_t n,
                 unsigned char *marks)
{
    for (apr_size_t i = 0; i < n; i++) {
        if (strncmp(c[i].route, holder->route, SC_ROUTE_MAX) == 0) {
            marks[i] |= TAKEN;
        }
        if (holder->domain[0] != '\0' && strcmp(c[i].domain, holder->domain) == 0) {
            marks[i] |= CROWDED;
        }
    }
}

/* The first in the order that is neither taken nor crowded, or at least not taken; n for none. */
static apr_size_t next(const apr_size_t *order, apr_size_t n, const unsigned char *marks)
{
    apr_size_t second = n;

    for (apr_size_t i = 0; i < n; i++) {
        if (marks[order[i]] == 0) {
            return order[i];
        }
        if (second == n && !(marks[order[i]] & TAKEN)) {
            second = order[i];
        }
    }
    return second;
}

apr_size_t sc_placement_backups(apr_uint64_t seed, const sc_candidate_t *primary,
                                const sc_candidate_t *c, apr_size_t n, apr_size_t want,
                                apr_size_t *chosen)
{
    const char *routes[SC_PLACEMENT_MAX];
    apr_size_t order[SC_PLACEMENT_MAX];
    unsigned char marks[SC_PLACEMENT_MAX];
    apr_size_t count, best;

    if (n == 0 || n > SC_PLACEMENT_MAX || want == 0) {
        return 0;
    }
    for (apr_size_t i = 0; i < n; i++) {
        routes[i] = c[i].route;
        marks[i] = 0;
    }
    rank(seed, routes, n, order);
    for (apr_size_t i = 1; i < n; i++) { /* entries of one route stand side by side */
        if (strncmp(routes[order[i]], routes[order[i - 1]], SC_ROUTE_MAX) == 0) {
            marks[order[i]] = TAKEN;
        }
    }
    mark(primary, c, n, marks);
    for (count = 0; count < want; count++) {
        best = next(order, n, marks);
        if (best == n) {
            break;
        }
        chosen[count] = best;
        mark(&c[best], c, n, marks);
    }
    return count;
}
