/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where chance comes from: one seed, a few streams.
 *
 * Network, faults, clients, nodes and ids draw from streams of their own, so that a change of the
 * protocol, which draws other numbers for its frames, does not change the faults of a seed.
 *
 * sc_id_generate and sc_uid_generate are replaced by the linker (--wrap): ids of sessions, members
 * and stores and the stores' hash keys come from the seed too. That needs a pointer that they can
 * find, the only variable of the simulator outside a world.
 */
#include <string.h>

#include "sim.h"

static rng_t *ids;

static apr_uint64_t splitmix(apr_uint64_t *x)
{
    apr_uint64_t z = (*x += 0x9E3779B97F4A7C15ull);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

void rng_seed(rng_t *r, apr_uint64_t seed, apr_uint64_t stream)
{
    apr_uint64_t x = seed * 0x100000001B3ull + stream * 0x51ED270B0A1Full + 1;
    int i;

    for (i = 0; i < 4; i++) {
        r->s[i] = splitmix(&x);
    }
}

static apr_uint64_t rotl(apr_uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

apr_uint64_t rng_next(rng_t *r)
{
    apr_uint64_t *s = r->s;
    apr_uint64_t result = rotl(s[1] * 5, 7) * 9;
    apr_uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

apr_uint32_t rng_below(rng_t *r, apr_uint32_t n)
{
    return n > 1 ? (apr_uint32_t)(((rng_next(r) >> 32) * n) >> 32) : 0;
}

int rng_chance(rng_t *r, apr_uint32_t ppm)
{
    return ppm > 0 && rng_below(r, 1000000) < ppm;
}

apr_int64_t rng_between(rng_t *r, apr_int64_t lo, apr_int64_t hi)
{
    return lo + (apr_int64_t)(rng_next(r) % (apr_uint64_t)(hi - lo + 1));
}

void rng_ids_from(rng_t *r)
{
    ids = r;
}

/* ---- instead of src/base/id.c ---------------------------------------------------------------- */

apr_status_t __real_sc_id_generate(sc_id_t *id);
apr_status_t __real_sc_uid_generate(sc_uid_t *uid);
apr_status_t __wrap_sc_id_generate(sc_id_t *id);
apr_status_t __wrap_sc_uid_generate(sc_uid_t *uid);

static void draw(unsigned char *out)
{
    apr_uint64_t a = rng_next(ids), b = rng_next(ids);

    memcpy(out, &a, 8);
    memcpy(out + 8, &b, 8);
}

apr_status_t __wrap_sc_id_generate(sc_id_t *id)
{
    if (ids == NULL) {
        return __real_sc_id_generate(id);
    }
    draw(id->b);
    return APR_SUCCESS;
}

apr_status_t __wrap_sc_uid_generate(sc_uid_t *uid)
{
    if (ids == NULL) {
        return __real_sc_uid_generate(uid);
    }
    draw(uid->b);
    return APR_SUCCESS;
}
