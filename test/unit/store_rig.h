/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the tests of the store share: sessions whose bodies can be checked by anybody who reads
 * them, and an audit that compares the store's counts with what a scan finds.
 */
#ifndef STORE_RIG_H
#define STORE_RIG_H

#include "sc_board.h"
#include "sc_store.h"

#define SECONDS(n) apr_time_from_sec((apr_time_t)(n))

/* The n-th test id: distinct, spread over all bytes. */
sc_id_t rig_id(unsigned int n);

/* A record with context, id and distinguishable values in all other fields. */
sc_record_t rig_record(apr_uint16_t context, unsigned int n, unsigned int version);

/* Smallest body rig_fill makes. */
#define RIG_BODY_MIN 16

/* Fill a body of len >= RIG_BODY_MIN bytes that belongs to session n, version v. */
void rig_fill(unsigned char *body, apr_size_t len, unsigned int n, unsigned int v);

/* Whether bytes are a whole body made by rig_fill; tells whose. Returns 1 when they are. */
int rig_check(const unsigned char *body, apr_size_t len, unsigned int *n, unsigned int *v);

/* Body length used for a version: small, around the cell borders, large, all deterministic. */
apr_size_t rig_len(unsigned int n, unsigned int v);

/* Put session n in version v with its body. */
apr_status_t rig_put(sc_store_t *store, apr_uint16_t context, unsigned int n, unsigned int v,
                     apr_size_t len);

/* Whether two records say the same in all fields. */
int rig_same(const sc_record_t *a, const sc_record_t *b);

typedef struct rig_audit_t {
    apr_uint64_t sessions, tombstones, proxies, cells, body_bytes;
    int failures; /* what did not add up */
} rig_audit_t;

/* Scan everything and compare: counts in total and by context, primaries and backups of the own
 * route, free cells plus reachable cells. The caller looks at failures. */
rig_audit_t rig_audit(sc_store_t *store, apr_uint16_t own_route);

/* A private mapping of the same bytes between two pages that nobody may touch, and a handle on it;
 * released with the pool. */
sc_store_t *rig_copy(const sc_store_t *store, apr_pool_t *pool);

/* Memory that forked children share, zeroed; NULL when there is none. To be unmapped. */
void *rig_shared(apr_size_t bytes);

static inline apr_uint32_t rig_get32(const apr_uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void rig_set32(apr_uint32_t *p, apr_uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* Wait for a child; returns its exit code, or 128 + signal. */
int rig_wait(int pid);

/* The tests of a full store, of time, of scans, and the comparison with a model (store_flow.c). */
void rig_add_flow(void *suite);

/* The tests of proxies, locations and change numbers (store_place.c). */
void rig_add_place(void *suite);

/* The tests that kill engines (store_kills.c). */
void rig_add_kills(void *suite);

/* The tests that stop a reader between any two loads (store_interleave.c). */
void rig_add_interleave(void *suite);

/* The tests with other processes and with damaged memory (store_abuse.c). */
void rig_add_abuse(void *suite);

#endif
