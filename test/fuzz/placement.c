/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Placement: whatever ids, routes and domains there are, the order is one of all routes, does not
 * depend on the order in which they are listed, and backups are other nodes, each once, spread over
 * domains as far as there are any.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_placement.h"

#define ROUTES 24
#define WANT 6

typedef struct cast_t {
    char route[ROUTES][SC_ROUTE_MAX + 20];
    char domain[ROUTES][8];
    const char *routes[ROUTES];
    sc_candidate_t candidate[ROUTES];
    apr_size_t n;
} cast_t;

static void read_cast(fuzz_in_t *in, cast_t *c)
{
    apr_size_t i;
    size_t len;

    memset(c, 0, sizeof(*c));
    c->n = fuzz_below(in, ROUTES + 1);
    for (i = 0; i < c->n; i++) {
        unsigned int how = fuzz_u8(in);

        if (how < 0xc0) {
            c->route[i][0] = 'n';
            c->route[i][1] = (char)('a' + how % 26);
        } else {
            const unsigned char *p = fuzz_text(in, sizeof(c->route[i]) - 1, &len);

            memcpy(c->route[i], p, len);
        }
        c->domain[i][0] = (char)(how & 0x20 ? 'r' : 0);
        c->domain[i][1] = (char)('0' + fuzz_below(in, 4));
        c->routes[i] = c->route[i];
        c->candidate[i].route = c->route[i];
        c->candidate[i].domain = c->domain[i];
    }
}

static void check_rank(const cast_t *c, const unsigned char *id, size_t len)
{
    apr_size_t order[ROUTES], other[ROUTES];
    const char *turned[ROUTES];
    int seen[ROUTES] = {0};
    apr_size_t i;

    FUZZ_CHECK(sc_placement_rank(id, len, c->routes, c->n, order) == APR_SUCCESS);
    for (i = 0; i < c->n; i++) {
        FUZZ_CHECK(order[i] < c->n && !seen[order[i]]);
        seen[order[i]] = 1;
        turned[c->n - 1 - i] = c->routes[i];
    }
    FUZZ_CHECK(sc_placement_rank(id, len, turned, c->n, other) == APR_SUCCESS);
    for (i = 0; i < c->n; i++) {
        FUZZ_CHECK(strncmp(c->routes[order[i]], turned[other[i]], SC_ROUTE_MAX) == 0);
    }
}

static int same_route(const sc_candidate_t *a, const sc_candidate_t *b)
{
    return strncmp(a->route, b->route, SC_ROUTE_MAX) == 0;
}

static void check_backups(const cast_t *c, apr_uint64_t seed, const sc_candidate_t *primary)
{
    apr_size_t chosen[WANT], more[WANT], want, n, i, k;
    apr_size_t others = 0;

    for (i = 0; i < c->n; i++) {
        int first = !same_route(&c->candidate[i], primary);

        for (k = 0; k < i && first; k++) {
            first = !same_route(&c->candidate[i], &c->candidate[k]);
        }
        others += first != 0;
    }
    for (want = 0; want <= WANT; want++) {
        n = sc_placement_backups(seed, primary, c->candidate, c->n, want, chosen);
        FUZZ_CHECK(n == (want < others ? want : others));
        for (i = 0; i < n; i++) {
            FUZZ_CHECK(chosen[i] < c->n && !same_route(&c->candidate[chosen[i]], primary));
            FUZZ_CHECK(want == 0 || i >= want - 1 || chosen[i] == more[i]); /* one more adds one */
            for (k = 0; k < i; k++) {
                FUZZ_CHECK(!same_route(&c->candidate[chosen[i]], &c->candidate[chosen[k]]));
            }
        }
        memcpy(more, chosen, sizeof(more));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    sc_candidate_t primary = {"stranger", ""};
    const unsigned char *id;
    unsigned int who;
    size_t len;
    cast_t c;

    who = fuzz_u8(&in);
    read_cast(&in, &c);
    id = fuzz_text(&in, 1000, &len);
    check_rank(&c, id, len);
    if (c.n > 0 && who < 0xc0) {
        primary = c.candidate[who % c.n];
    }
    check_backups(&c, sc_placement_seed(id, len), &primary);
    return 0;
}
