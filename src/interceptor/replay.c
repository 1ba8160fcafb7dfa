/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The replay window; see replay.h.
 *
 * Entries lie in one array, which is also a heap by timestamp, the lowest first: an entry leaves
 * from the top and the last one takes its place. A hash table finds an IV's entry; it is seeded,
 * since with modes that do not authenticate a stranger can choose IVs.
 */
#include <stdlib.h>
#include <string.h>

#include "replay.h"

#define FIRST_CAP 64
#define NOBODY 0xffffffffu

typedef struct entry_t {
    unsigned char iv[SC_REPLAY_IV];
    apr_uint64_t ts;
    apr_uint32_t next; /* in its bucket */
    apr_uint32_t done;
} entry_t;

struct sc_replay_t {
    apr_uint64_t window;
    apr_uint64_t seed;
    apr_uint64_t floor; /* highest timestamp that was forgotten */
    apr_uint32_t max;
    apr_uint32_t n;
    apr_uint32_t cap; /* a power of two, as many buckets */
    entry_t *entry;
    apr_uint32_t *bucket;
};

sc_replay_t *sc_replay_create(apr_uint64_t window_ms, apr_uint32_t max, apr_uint64_t seed,
                              apr_uint64_t now_ms)
{
    sc_replay_t *r = calloc(1, sizeof(*r));

    if (r != NULL) {
        r->window = window_ms;
        r->max = max;
        r->seed = seed;
        r->floor = now_ms > window_ms ? now_ms - window_ms : 0;
    }
    return r;
}

void sc_replay_destroy(sc_replay_t *r)
{
    if (r != NULL) {
        free(r->entry);
        free(r->bucket);
        free(r);
    }
}

apr_uint32_t sc_replay_count(const sc_replay_t *r)
{
    return r->n;
}

/* ---- the hash table ------------------------------------------------------------------------- */

static apr_uint32_t *bucket_of(const sc_replay_t *r, const unsigned char *iv)
{
    apr_uint64_t x = r->seed;
    apr_uint64_t part;
    int i;

    for (i = 0; i < SC_REPLAY_IV; i += 8) {
        memcpy(&part, iv + i, sizeof(part));
        x = (x ^ part) * APR_UINT64_C(0x9E3779B97F4A7C15);
        x ^= x >> 32;
    }
    return &r->bucket[x & (r->cap - 1)];
}

static apr_uint32_t find(const sc_replay_t *r, const unsigned char *iv)
{
    apr_uint32_t i = r->n > 0 ? *bucket_of(r, iv) : NOBODY;

    while (i != NOBODY && memcmp(r->entry[i].iv, iv, SC_REPLAY_IV) != 0) {
        i = r->entry[i].next;
    }
    return i;
}

/** The word that says where entry i is. */
static apr_uint32_t *word_of(sc_replay_t *r, apr_uint32_t i)
{
    apr_uint32_t *at = bucket_of(r, r->entry[i].iv);

    while (*at != i) {
        at = &r->entry[*at].next;
    }
    return at;
}

static void exchange(sc_replay_t *r, apr_uint32_t a, apr_uint32_t b)
{
    apr_uint32_t *to_a = word_of(r, a);
    apr_uint32_t *to_b = word_of(r, b);
    entry_t e;

    /* the words may lie in the entries themselves: they move along with them */
    *to_a = b;
    *to_b = a;
    e = r->entry[a];
    r->entry[a] = r->entry[b];
    r->entry[b] = e;
}

static int grow(sc_replay_t *r)
{
    apr_uint32_t cap = r->cap > 0 ? r->cap * 2 : FIRST_CAP;
    entry_t *entry = realloc(r->entry, cap * sizeof(*entry));
    apr_uint32_t *bucket;
    apr_uint32_t i;

    if (entry == NULL) {
        return 0;
    }
    r->entry = entry;
    bucket = realloc(r->bucket, cap * sizeof(*bucket));
    if (bucket == NULL) {
        return 0;
    }
    r->bucket = bucket;
    r->cap = cap;
    memset(bucket, 0xff, cap * sizeof(*bucket));
    for (i = 0; i < r->n; i++) {
        apr_uint32_t *at = bucket_of(r, entry[i].iv);

        entry[i].next = *at;
        *at = i;
    }
    return 1;
}

/* ---- the heap -------------------------------------------------------------------------------- */

static void rise(sc_replay_t *r, apr_uint32_t i)
{
    while (i > 0 && r->entry[i].ts < r->entry[(i - 1) / 2].ts) {
        exchange(r, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

static void sink(sc_replay_t *r)
{
    apr_uint32_t i = 0;

    for (;;) {
        apr_uint32_t least = i;
        apr_uint32_t k;

        for (k = 2 * i + 1; k <= 2 * i + 2; k++) {
            if (k < r->n && r->entry[k].ts < r->entry[least].ts) {
                least = k;
            }
        }
        if (least == i) {
            return;
        }
        exchange(r, i, least);
        i = least;
    }
}

/** Forget the entry with the lowest timestamp. */
static void forget(sc_replay_t *r)
{
    apr_uint32_t last = r->n - 1;
    apr_uint32_t *at;

    if (r->entry[0].ts > r->floor) {
        r->floor = r->entry[0].ts;
    }
    if (last > 0) {
        exchange(r, 0, last);
    }
    at = word_of(r, last);
    *at = r->entry[last].next;
    r->n--;
    sink(r);
}

/* ---- looking --------------------------------------------------------------------------------- */

sc_replay_verdict_t sc_replay_look(sc_replay_t *r, const unsigned char *iv, apr_uint64_t ts,
                                   apr_uint64_t now_ms, int *crowded)
{
    apr_uint64_t oldest = now_ms > r->window ? now_ms - r->window : 0;
    apr_uint32_t i = find(r, iv);
    entry_t *e;

    *crowded = 0;
    if (i != NOBODY) {
        return r->entry[i].done ? SC_REPLAY_DONE : SC_REPLAY_AGAIN;
    }
    if (ts < oldest || ts <= r->floor) {
        return SC_REPLAY_OLD;
    }
    if (ts > now_ms + r->window) {
        return SC_REPLAY_AHEAD;
    }
    while (r->n > 0 && r->entry[0].ts < oldest) {
        forget(r);
    }
    if (r->n >= r->max) {
        forget(r);
        *crowded = 1;
    }
    if (r->n == r->cap && !grow(r)) {
        return SC_REPLAY_FULL;
    }
    e = &r->entry[r->n];
    memset(e, 0, sizeof(*e));
    memcpy(e->iv, iv, SC_REPLAY_IV);
    e->ts = ts;
    e->next = *bucket_of(r, iv);
    *bucket_of(r, iv) = r->n;
    rise(r, r->n++);
    return SC_REPLAY_NEW;
}

void sc_replay_done(sc_replay_t *r, const unsigned char *iv)
{
    apr_uint32_t i = find(r, iv);

    if (i != NOBODY) {
        r->entry[i].done = 1;
    }
}
