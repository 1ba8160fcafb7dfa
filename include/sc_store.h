/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_store.h
 * @brief Room "store": the session table in shared memory. One writer (the engine), any number of
 *        lock-free readers (the children), nothing that a killed process could leave locked or
 * torn.
 *
 * One anonymous shared mapping, made once by the parent. Offsets and indices only, no pointers.
 *
 *   +--------------------------------------------------------------------------------------+
 *   | head: magic, ABI stamp, size, hash key, geometry, store id, last lsn                  |
 *   | board (sc_board.h): engine, lease, view of members, counters, peers                   |
 *   | contexts[SC_CONTEXTS_MAX]: name, counts       routes[SC_ROUTES_MAX]: interned names   |
 *   | wheel[4096 s]: due records of each second; buckets[nbuckets]: first record of a chain |
 *   | gens[ncells]: generation of each cell, odd while it holds a record                    |
 *   | cells[ncells]: 128 bytes each: a record (session head) or 124 bytes of a body + next  |
 *   +------------------------------------ page border -------------------------------------+
 *   | touches[ncells]: generation and time (ms) of the last access; bitmap of what is new   |
 *   +--------------------------------------------------------------------------------------+
 *
 * Children map everything above the page border read-only (sc_store_protect). The touch area below
 * it stays writable for them and is advisory: the engine clamps what it finds there.
 *
 * Copy on write: a change builds a new record and body in free cells and then swings one index (the
 * bucket's, or the predecessor's next) to it: one aligned store, so at every instant the table is
 * whole, and an engine killed anywhere leaves the old or the new session, never half of one. Freed
 * cells first get their generation raised; a reader notes a record's generation, copies with every
 * index and length checked, and starts again when the generation has changed meanwhile. Access
 * time and due time are single aligned words changed in place; the location and the number of the
 * change that wrote it are kept twice, and one word says which of the two counts.
 *
 * Lookup is by SipHash-2-4 of (context, id) under a random key, so collisions cannot be planned.
 *
 * The due time of each record stands in a timing wheel, so expiry looks only at what is due.
 *
 * Bounded: everything is allocated at creation. New sessions are refused (APR_ENOSPC) when less
 * than a reserve of 1/16 of the cells is free, and so are new proxies; changes of sessions that
 * exist may use the reserve, those that do not grow nearly all of it. A tombstone or proxy in place
 * of a record that is here always succeeds. Tombstones are never thrown out before sc_store_remove
 * says so.
 */
#ifndef SC_STORE_H
#define SC_STORE_H

#include "sc_base.h"
#include "sc_buf.h"

#define SC_BACKUPS_MAX 4
#define SC_ROUTES_MAX 256
/** Smallest size sc_store_create accepts, bytes. */
#define SC_STORE_MIN (1024 * 1024)
/** "no route": location unknown */
#define SC_ROUTE_NONE 0

/** Record flags. */
#define SC_REC_TOMBSTONE                                                                           \
    0x1 /**< invalidated or expired: no body, kept so that nothing resurrects it */

/** only the location is known, the session itself is elsewhere: no body, no attributes */
#define SC_REC_PROXY 0x2

/** came whole from another node, and nothing has been changed since: it is not only here */
#define SC_REC_GIVEN 0x4

/** has something that was refused in the end, so it may be nowhere else: nobody is to see it before
 *  it is */
#define SC_REC_DOUBT 0x8

typedef struct sc_store_t sc_store_t;
struct sc_board_t; /* sc_board.h */

/** What the store keeps about a session besides its body. Passed by value, never shared. */
typedef struct sc_record_t {
    sc_id_t id;
    apr_uint16_t context;    /**< index from sc_store_context */
    apr_uint16_t flags;      /**< SC_REC_* */
    apr_uint32_t max_idle_s; /**< seconds without access after which it expires; 0 = never */
    apr_time_t created;      /**< mono time of this node */
    apr_time_t accessed;     /**< mono time of this node */
    apr_time_t due;          /**< mono time at which sc_store_run_due looks at it */
    sc_stamp_t stamp;        /**< newest change of the session */
    apr_uint64_t lsn;        /**< set by the store: number of this node's change that wrote it */
    apr_uint32_t epoch;      /**< ownership epoch */
    apr_uint32_t promised;   /**< an epoch above it that this node has promised to somebody, so that
                                  it accepts none below that one; 0: none */
    apr_uint16_t primary;    /**< route index, SC_ROUTE_NONE when unknown */
    apr_uint16_t backups[SC_BACKUPS_MAX]; /**< route indices, SC_ROUTE_NONE ends */
    apr_uint32_t body_len;                /**< bytes */
} sc_record_t;

/** A record together with a private copy of its body. */
typedef struct sc_stored_t {
    sc_record_t rec;
    const unsigned char *body; /**< in the pool given to sc_store_read */
    apr_uint32_t cell;         /**< for sc_store_note_access */
    apr_uint32_t gen;
} sc_stored_t;

typedef struct sc_store_stats_t {
    apr_uint64_t bytes; /**< size of the mapping */
    apr_uint32_t cells; /**< all */
    apr_uint32_t cells_free;
    apr_uint32_t cell_bytes;
    apr_uint64_t sessions; /**< live ones */
    apr_uint64_t tombstones;
    apr_uint64_t proxies; /**< records of which only the location is known */
    apr_uint64_t lsn;     /**< last change number */
} sc_store_stats_t;

typedef struct sc_context_stats_t {
    char name[SC_CONTEXT_MAX + 1];
    apr_uint64_t sessions;  /**< live ones */
    apr_uint64_t primaries; /**< live ones whose primary is the own route */
    apr_uint64_t backups;   /**< live ones that have the own route among their backups */
    apr_uint64_t proxies;   /**< SC_REC_PROXY; not among the sessions */
    apr_uint64_t tombstones;
    apr_uint64_t body_bytes;
} sc_context_stats_t;

/* ---- life ---------------------------------------------------------------------------------- */

/**
 * Make the mapping (not in core dumps, shared with forked children) and an empty store in it.
 * @param bytes size of the whole mapping, at least SC_STORE_MIN
 * @param pool the mapping is removed when it is cleared; the handle is allocated from it
 * @return APR_SUCCESS; APR_EINVAL for a bad size; the error of mmap
 */
apr_status_t sc_store_create(sc_store_t **store, apr_size_t bytes, apr_pool_t *pool);

/**
 * A handle for a mapping that exists already in this process (after a restart of httpd, in a
 * child).
 * @return APR_SUCCESS, or APR_EMISMATCH when magic, ABI stamp or size are not this code's.
 */
apr_status_t sc_store_attach(sc_store_t **store, void *base, apr_size_t bytes, apr_pool_t *pool);

/** Address and size of the mapping, to be kept over restarts. */
void *sc_store_base(const sc_store_t *store);
apr_size_t sc_store_bytes(const sc_store_t *store);

/** Make everything but the touch area read-only for this process. For children. */
apr_status_t sc_store_protect(sc_store_t *store);

typedef struct sc_store_recovery_t {
    apr_uint64_t kept;    /**< records found whole */
    apr_uint64_t dropped; /**< records dropped because something in them was impossible */
} sc_store_recovery_t;

/**
 * For a new engine on a mapping that an earlier one has used: check every record, drop what is
 * broken, rebuild free list, wheel and counts. Also correct (and cheap) on an empty store.
 */
apr_status_t sc_store_recover(sc_store_t *store, sc_store_recovery_t *report);

/** The noticeboard in the same mapping. */
struct sc_board_t *sc_store_board(const sc_store_t *store);

/** Random number made with the store: a peer that knows it knows which changes it has seen. */
apr_uint64_t sc_store_id(const sc_store_t *store);

/* ---- names (engine writes, anybody reads) --------------------------------------------------- */

/** Index of a context, entered if new (engine only when create). @return APR_NOTFOUND when it is
 *  not there and create is 0; APR_ENOSPC when the table is full; APR_EINVAL for a bad length. */
apr_status_t sc_store_context(sc_store_t *store, const char *name, apr_size_t len, int create,
                              apr_uint16_t *index);
const char *sc_store_context_name(const sc_store_t *store, apr_uint16_t index);

/** The same for routes; index is never SC_ROUTE_NONE. */
apr_status_t sc_store_route(sc_store_t *store, const char *name, apr_size_t len, int create,
                            apr_uint16_t *index);
/** @return the route's name, "" for SC_ROUTE_NONE and unknown indices */
const char *sc_store_route_name(const sc_store_t *store, apr_uint16_t index);

/** Tell the store which route is this node's, for the counts of primaries and backups. Engine
 * only. */
void sc_store_set_own_route(sc_store_t *store, apr_uint16_t route);

/* ---- readers (children and engine) ---------------------------------------------------------- */

/**
 * Copy one session, without a lock.
 * @param pool owns the copy of the body
 * @return APR_SUCCESS (also for a tombstone: see flags); APR_NOTFOUND; APR_EAGAIN when no
 *         consistent copy could be had in a bounded number of tries (ask the engine then)
 */
apr_status_t sc_store_read(const sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                           apr_pool_t *pool, sc_stored_t *out);

/**
 * Only the record of a session, without its body: one look without a lock, for balancers.
 * The location is verified; the other fields are not, as their check needs the body.
 * @return as sc_store_read
 */
apr_status_t sc_store_locate(const sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                             sc_record_t *out);

/**
 * Only whether a session has ended, in all contexts that know it: a look that copies nothing, for
 * each request of a balancer.
 * @param ended receives whether there is nothing but tombstones; not verified, as above
 * @return APR_SUCCESS; APR_NOTFOUND, also of records of which no consistent look could be had
 */
apr_status_t sc_store_ended(const sc_store_t *store, const sc_id_t *id, int *ended);

/**
 * Note an access by a child: writes the advisory touch area only, no lock, no IPC.
 * @param cell, gen from sc_store_read; a record changed meanwhile is not touched (its change was
 *        an access)
 */
void sc_store_note_access(sc_store_t *store, apr_uint32_t cell, apr_uint32_t gen, apr_time_t now);

/** Latest access of a record that is known here, noted or collected: max(rec.accessed, touch). */
apr_time_t sc_store_last_access(const sc_store_t *store, const sc_stored_t *stored);

void sc_store_stats(const sc_store_t *store, sc_store_stats_t *out);
/** @return APR_NOTFOUND when there is no context with that index */
apr_status_t sc_store_context_stats(const sc_store_t *store, apr_uint16_t index,
                                    sc_context_stats_t *out);

/* ---- writer (engine only) ------------------------------------------------------------------- */

/**
 * Copy one session into the writer's buffer.
 * @param body receives the body (cleared first); NULL = only the record
 * @return APR_SUCCESS (also for tombstones), APR_NOTFOUND, APR_ENOMEM
 */
apr_status_t sc_store_get(const sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                          sc_record_t *rec, sc_buf_t *body);

/**
 * Write a session: new or in place of the one with the same context and id. rec.lsn and
 * rec.body_len are set by the store (and written back into *rec). The body of a tombstone or proxy
 * is ignored.
 * @return APR_SUCCESS; APR_ENOSPC when full (nothing changed); APR_EINVAL for an unknown context,
 *         route or flag, and for SC_REC_TOMBSTONE or SC_REC_PROXY with any other
 */
apr_status_t sc_store_put(sc_store_t *store, sc_record_t *rec, const void *body, apr_size_t len);

/** What a record was and what it has become. @param before NULL: there was none @param after NULL:
 *  there is none any more */
typedef void sc_store_watch_fn_t(void *baton, const sc_record_t *before, const sc_record_t *after);
/** Have a function called after each change of a record that can be seen, from within the functions
 *  that make it: put, remove, set_location. It must not write to the store. One at a time; NULL:
 *  none. Touches are no such changes. */
void sc_store_watch(sc_store_t *store, sc_store_watch_fn_t *fn, void *baton);

/** Forget a session or tombstone altogether. @return APR_SUCCESS or APR_NOTFOUND */
apr_status_t sc_store_remove(sc_store_t *store, apr_uint16_t context, const sc_id_t *id);

/** Raise the access time (never lowers it) and set the due time. @return APR_NOTFOUND if unknown */
apr_status_t sc_store_touch(sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                            apr_time_t accessed, apr_time_t due);

/** Called for each access that children noted since the last collection; accessed is clamped to
 *  now and newer than rec->accessed. May call sc_store_touch for it. */
typedef void sc_store_touched_fn_t(void *baton, const sc_record_t *rec, apr_time_t accessed);
void sc_store_collect(sc_store_t *store, apr_time_t now, sc_store_touched_fn_t *fn, void *baton);

/** Decides on a record whose due time has come. May change the store in any way. @return its new
 * due time (mono), or 0 to leave the record alone because fn has removed or rewritten it (a record
 * that is neither removed, rewritten nor given a new due time comes again with the next call). */
typedef apr_time_t sc_store_due_fn_t(void *baton, const sc_record_t *rec);
/** Call fn for at most max due records. @return how many were due */
apr_size_t sc_store_run_due(sc_store_t *store, apr_time_t now, apr_size_t max,
                            sc_store_due_fn_t *fn, void *baton);

/** Called for each record; body as long as the call lasts. May change the store; a record that it
 *  rewrites before that record's turn in the same bucket is not visited again. @return 0 to stop
 * the scan there. */
typedef int sc_store_scan_fn_t(void *baton, const sc_record_t *rec, const unsigned char *body);
/**
 * Visit all records with lsn > since, some buckets at a time, while changes go on.
 * Every record that is there during the whole scan is visited at least once.
 * @param cursor 0 to begin; updated; scan is over when the function returns APR_EOF
 * @param max_buckets bound on the work of this call
 * @return APR_SUCCESS: call again; APR_EOF: done; APR_EINTR: fn stopped (cursor repeats the bucket)
 */
apr_status_t sc_store_scan(const sc_store_t *store, apr_uint32_t *cursor, apr_uint64_t since,
                           apr_uint32_t max_buckets, sc_store_scan_fn_t *fn, void *baton);

/** Change the primary, epoch and backups of a record in place: no new cells, so it succeeds in a
 * full store. The record gets a new lsn together with it, so that scans by lsn see it. @return
 * APR_NOTFOUND; APR_EINVAL for an unknown route */
apr_status_t sc_store_set_location(sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                                   apr_uint16_t primary, const apr_uint16_t *backups,
                                   apr_size_t nbackups, apr_uint32_t epoch);

/** Promised epochs are at most so far above the record's own. */
#define SC_PROMISE_MAX 255

/** Note in place that an epoch has been promised; it is kept until a location of that epoch or a
 * higher one is set. A lower one than was promised already changes nothing.
 * @return APR_NOTFOUND; APR_EINVAL: it is too far above the record's epoch, or not above it */
apr_status_t sc_store_promise(sc_store_t *store, apr_uint16_t context, const sc_id_t *id,
                              apr_uint32_t epoch);

/** What a route is for a session. */
typedef enum sc_holder_t { SC_HOLDER_NONE = 0, SC_HOLDER_PRIMARY, SC_HOLDER_BACKUP } sc_holder_t;

/** What the location in a record says about a route. SC_ROUTE_NONE is never a holder. */
static inline sc_holder_t sc_record_holder(const sc_record_t *rec, apr_uint16_t route)
{
    int i;

    if (route == SC_ROUTE_NONE) {
        return SC_HOLDER_NONE;
    }
    if (rec->primary == route) {
        return SC_HOLDER_PRIMARY;
    }
    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        if (rec->backups[i] == route) {
            return SC_HOLDER_BACKUP;
        }
    }
    return SC_HOLDER_NONE;
}

#endif
