/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_placement.h
 * @brief Room "base": which nodes come first for a session, as a pure function of its id and their
 *        routes.
 *
 * Rendezvous hashing (highest random weight): every route gets a weight for the session, the routes
 * in falling order of weight are the session's order. Whoever knows the same routes gets the same
 * order, so front ends and nodes agree without a word between them; a route that comes or goes
 * moves only the sessions whose first choice it is or was.
 *
 * The function, to be the same in every release, on every architecture, and in other languages:
 *
 *   key       the 16 bytes of the text "SessionCluster/1"
 *   seed      SipHash-2-4(key, bytes of the session id)
 *   weight    SipHash-2-4(key, seed as 8 bytes, least significant first | bytes of the route)
 *   order     falling weight as unsigned 64 bit number; then rising route, byte by byte
 *
 * The id is what stands in the cookie before the route: 32 hex digits with ours, any text with
 * others' (Tomcat's). The key is no secret: whoever chooses ids can choose nodes, as he can by
 * writing a route into the cookie.
 */
#ifndef SC_PLACEMENT_H
#define SC_PLACEMENT_H

#include "sc_base.h"

/** Most routes that sc_placement_rank orders. */
#define SC_PLACEMENT_MAX 256

/** Seed of a session: hashed once, used for all routes. */
apr_uint64_t sc_placement_seed(const void *id, apr_size_t len);

/** Weight of a route for a session. @param route of any length; what is behind SC_ROUTE_MAX bytes
 *  does not count, no route is longer */
apr_uint64_t sc_placement_weight(apr_uint64_t seed, const char *route);

/** Whether a route of weight wa stands before another of weight wb. A route does not stand before
 *  itself. */
int sc_placement_before(apr_uint64_t wa, const char *a, apr_uint64_t wb, const char *b);

/**
 * Order of routes for a session.
 * @param order receives the indices of routes, first choice first; equal routes keep their order
 * @return APR_SUCCESS; APR_EINVAL for more than SC_PLACEMENT_MAX routes: order is untouched
 */
apr_status_t sc_placement_rank(const void *id, apr_size_t len, const char *const *routes,
                               apr_size_t n, apr_size_t *order);

/** A node that may hold a backup. */
typedef struct sc_candidate_t {
    const char *route;
    const char *domain; /**< its rack; "" when it has none */
} sc_candidate_t;

/**
 * Who holds the backups of a session, as a pure function of its id, its primary and the candidates.
 *
 * The candidates other than the primary in the order above; each time the first one whose domain is
 * that of nobody chosen so far, the primary included; when there is none left, the first one. A
 * candidate without a domain shares it with nobody. So without domains these are the first ones of
 * the order. A route that is listed more than once is one candidate, with the domain that is listed
 * first.
 *
 * @param seed of the session
 * @param primary its route and domain
 * @param c candidates in any order; the primary may be among them
 * @param want how many
 * @param chosen receives their indices in c
 * @return how many were chosen: want, or less when there are fewer candidates; 0 for more than
 *         SC_PLACEMENT_MAX of them
 */
apr_size_t sc_placement_backups(apr_uint64_t seed, const sc_candidate_t *primary,
                                const sc_candidate_t *c, apr_size_t n, apr_size_t want,
                                apr_size_t *chosen);

#endif
