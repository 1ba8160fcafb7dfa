/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_notice.h
 * @brief Room "store": the last things that happened to this node, for the status page.
 *
 * A ring of fixed size on the noticeboard, so it outlives the engine. The engine writes, children
 * read without a lock: each entry has a number, which is 0 while the entry is being written, and is
 * the same before and after a copy that is whole. An engine killed in the middle leaves an entry
 * that nobody shows, and its successor writes over it.
 *
 * What repeats itself (a lease that comes and goes on a busy machine) does not push out everything
 * else: an entry of the same kind about the same member that is among the last few, and not a
 * minute old, is counted up instead.
 */
#ifndef SC_NOTICE_H
#define SC_NOTICE_H

#include "sc_base.h"

#define SC_NOTICES_MAX 64
/** Bytes of the name of whom it is about, the final NUL included; a longer one is cut off. */
#define SC_NOTICE_WHO 64

/** Kinds; names are those of the status page, numbers are in shared memory: new ones at the end. */
#define SC_NOTICES(X)                                                                              \
    X(engine_started)    /* number: sessions found in the store */                                 \
    X(joined)            /* a member came */                                                       \
    X(left)              /* it said good-bye */                                                    \
    X(gone)              /* it is not there any more, and has not said so */                       \
    X(suspected)         /* it is silent and being asked */                                        \
    X(recovered)         /* it was suspected, and has answered */                                  \
    X(joining)           /* it, or this node, takes over sessions */                               \
    X(ready)             /* it, or this node, has all sessions */                                  \
    X(leaving)           /* it, or this node, is about to leave */                                 \
    X(minority)          /* it, or this node, refuses sessions: fewer members than the quorum */   \
    X(draining)          /* it, or this node, takes no new sessions and gives away its own */      \
    X(lagging)           /* it does not acknowledge in time; nobody waits for it */                \
    X(caught_up)         /* it acknowledges again */                                               \
    X(lease_lost)        /* this node asks the others before it answers */                         \
    X(lease_back)        /* it answers from its own copies again */                                \
    X(quorum_lost)       /* number: members that hear this node */                                 \
    X(quorum_met)        /* the same */                                                            \
    X(transfer_began)    /* sessions are being taken over from that member */                      \
    X(transfer_finished) /* number: sessions received in all transfers that ran together */        \
    X(transfer_failed)

typedef enum sc_notice_kind_t {
    SC_NOTICE_NONE = 0,
#define SC_X(name) SC_NOTICE_##name,
    SC_NOTICES(SC_X)
#undef SC_X
        SC_NOTICE_KINDS
} sc_notice_kind_t;

typedef struct sc_notice_t {
    apr_uint64_t seq; /**< from 1 on, rising; 0: none */
    apr_time_t first; /**< wall time */
    apr_time_t last;  /**< the same, unless times is more than 1 */
    apr_uint32_t kind;
    apr_uint32_t times;
    apr_uint64_t number;     /**< what it is depends on the kind */
    char who[SC_NOTICE_WHO]; /**< route, or address and port; "": this node */
} sc_notice_t;

typedef struct sc_notices_t {
    apr_uint64_t last; /**< number of the last one */
    sc_notice_t entry[SC_NOTICES_MAX];
} sc_notices_t;

/**
 * Engine only: put one on the ring.
 * @param wall of now
 * @param who copied; NULL or "": this node
 */
void sc_notice_add(sc_notices_t *ring, apr_time_t wall, sc_notice_kind_t kind, const char *who,
                   apr_uint64_t number);

/**
 * For anybody, at any time: copies of the entries, the newest one first. Entries that are being
 * written are left out.
 * @return how many there are in out
 */
int sc_notices_read(const sc_notices_t *ring, sc_notice_t out[SC_NOTICES_MAX]);

/** @return its name, "unknown" for what is no kind */
const char *sc_notice_name(apr_uint32_t kind);

#endif
