/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file snapshot.h
 * @brief Private to room "manager": what writing (snapshot.c) and reading (restore.c) of a snapshot
 *        share. The file itself is in include/sc_snapshot.h.
 */
#ifndef SC_MANAGER_SNAPSHOT_H
#define SC_MANAGER_SNAPSHOT_H

#include "internal.h"
#include "sc_snapshot.h"

/** Flags of the first block: who wrote it left while other members went on. */
#define SC_SNAP_OTHERS_STAYED 1u

/** The first block of a file. */
typedef struct sc_snap_meta_t {
    apr_uint64_t wall_ms;
    apr_uint64_t clock_ms; /**< the cluster's */
    apr_uint64_t forgot;   /**< as on the noticeboard */
    apr_uint64_t flags;
    char route[SC_ROUTE_MAX + 1];
    apr_uint32_t nothers;
    apr_uint32_t nlater; /**< the first so many of them had not said good-bye when this node did */
    char other[SC_MEMBERS_MAX][SC_ROUTE_MAX + 1]; /**< members that left with it, or stayed */
} sc_snap_meta_t;

/** Fields of later versions may follow. @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_snap_meta_get(sc_snap_meta_t *meta, const unsigned char *bytes, apr_size_t len);

/** Whether this node keeps one. */
int sc_snapshot_on(const sc_manager_t *m);
/** Whether there is a member that has all that there is, and goes on. */
int sc_snapshot_others(const sc_manager_t *m);

#endif
