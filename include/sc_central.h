/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_central.h
 * @brief Room "central": sessions in a store that all nodes share (SessionClusterManager store).
 *
 * The store is one that knows get and put of whole values by key, and forgets values after a time:
 * no more is asked of it, since httpd's socache providers can no more. What a session store must
 * promise beyond that is made here:
 *
 *   - three answers: found, surely not there, and not known. A client of Redis or memcached says
 *     "not found" also when its server is dead, so absence is only believed while another key, the
 *     sentinel, can be seen before and behind it;
 *   - changes merge per attribute, by stamps (sc_session.h). The store has no compare-and-swap:
 *     a change is read, merged, written under a lock of this node, and looked at again later;
 *     what another node has overwritten meanwhile is merged in once more;
 *   - the end of a session is a value, too, which late changes find;
 *   - a value is bound to its key and checked, so what somebody else has put there, or an answer
 *     that belongs to another question, is no session;
 *   - idle time is counted by the store, from the last write: clocks of nodes are not compared. An
 *     access without a change is written once per interval;
 *   - a store that failed is asked again by one process at a time (the gate).
 *
 * Neither httpd nor sockets here. Everything is called from any thread of any child; what they have
 * in common is in sc_central_memory_t, shared memory.
 */
#ifndef SC_CENTRAL_H
#define SC_CENTRAL_H

#include "sc_base.h"
#include "sc_board.h"
#include "sc_buf.h"
#include "sc_link.h"
#include "sc_session.h"

/* ---- values ---------------------------------------------------------------------------------- */

#define SC_CENTRAL_KEY 32 /**< bytes of a key */
/** Bytes of a value around the session's body. */
#define SC_CENTRAL_FRAME 49

typedef struct sc_central_key_t {
    unsigned char b[SC_CENTRAL_KEY];
} sc_central_key_t;

typedef enum sc_central_kind_t {
    SC_CENTRAL_LIVE = 0,
    SC_CENTRAL_ENDED,   /**< logged out: stays until late changes cannot come any more */
    SC_CENTRAL_RENAMED, /**< has a new id since a moment ago */
    SC_CENTRAL_SENTINEL /**< no session: is there as long as the store is and forgets nothing */
} sc_central_kind_t;

/**
 * One session as it lies in the store:
 *
 *   magic "SCV" u8*3 | version u8 | kind u8 | writer u32 | created u64 | accessed u64
 *   | max idle u32 | stamp.hlc u64 | stamp.node u32 | body (sc_session.h) | digest u64
 *
 * The digest is over the key and everything before it. It tells damage and mix-ups, not forgery:
 * who can write to the store can make sessions.
 */
typedef struct sc_central_value_t {
    sc_central_kind_t kind;
    apr_uint32_t writer;      /**< tag of the node that wrote it */
    apr_uint64_t created_ms;  /**< wall; for the renewal of cookies only */
    apr_uint64_t accessed_ms; /**< wall; the last write */
    apr_uint32_t max_idle_s;  /**< 0: for ever */
    sc_stamp_t stamp;         /**< none in the body is newer */
    const unsigned char *body;
    apr_size_t body_len;
} sc_central_value_t;

/** Key of a session: a hash, so that who may list keys learns no session ids.
 *  @param prefix of the cluster: several may share one store */
apr_status_t sc_central_key(sc_central_key_t *key, const char *prefix, const char *context,
                            apr_size_t context_len, const sc_id_t *id);
/** Key of the sentinel. */
apr_status_t sc_central_sentinel(sc_central_key_t *key, const char *prefix);

void sc_central_value_put(sc_buf_t *b, const sc_central_key_t *key, const sc_central_value_t *v);
/**
 * Decode and check; the body points into the input.
 * @return APR_SUCCESS; APR_EMISMATCH: a later version of this module wrote it; APR_EINVAL: no value
 *         of this module, or of another key, or damaged
 */
apr_status_t sc_central_value_get(sc_central_value_t *v, const sc_central_key_t *key,
                                  const void *bytes, apr_size_t len);

/* ---- what the children share ----------------------------------------------------------------- */

#define SC_CENTRAL_LOCKS 256
#define SC_CENTRAL_RECENT 16384

/** The state of the store as the children see it: times are mono; see gate.c. */
typedef struct sc_central_gate_t {
    apr_time_t shut_since; /**< 0: open */
    apr_time_t next_try;   /**< when the next one may ask the store */
    apr_uint64_t hung;     /**< tries that were given up, since it was shut */
} sc_central_gate_t;

typedef struct sc_central_memory_t {
    apr_uint64_t hlc;        /**< last stamp issued on this node */
    apr_time_t sentinel_put; /**< mono; 0: never by this node */
    apr_uint32_t node;       /**< this node's tag, never 0 */
    apr_uint32_t reserved;
    sc_central_gate_t gate;
    apr_interval_time_t takes; /**< how long the store takes to answer: a running average of its
                                    last answers; 0: none yet */
    sc_central_counters_t count;
    apr_uint64_t lock[SC_CENTRAL_LOCKS];    /**< see lock.c */
    apr_uint64_t recent[SC_CENTRAL_RECENT]; /**< see recent.c */
} sc_central_memory_t;

/** Set up zeroed memory. @return APR_SUCCESS or the error of the random generator */
apr_status_t sc_central_memory_init(sc_central_memory_t *m);

/** Add to a counter. */
#define sc_central_count(memory, name, n)                                                          \
    ((void)__atomic_fetch_add(&(memory)->count.name, (n), __ATOMIC_RELAXED))

/* ---- the gate -------------------------------------------------------------------------------- */

typedef enum sc_central_pass_t {
    SC_PASS_OPEN, /**< ask */
    SC_PASS_TRY,  /**< ask, others wait for what comes of it */
    SC_PASS_SHUT  /**< do not ask: the store has just failed */
} sc_central_pass_t;

/** Whether the store may be asked. */
sc_central_pass_t sc_gate_enter(sc_central_gate_t *gate, apr_time_t now, apr_interval_time_t retry);
/** The store has failed. @param hung it has not said so: it was waited for in vain
 *  @return 1: just now, for the first one of all children */
int sc_gate_failed(sc_central_gate_t *gate, apr_time_t now, apr_interval_time_t retry, int hung);
/** The store has answered. @return for how long it had not, when this is the first answer; 0 */
apr_interval_time_t sc_gate_answered(sc_central_gate_t *gate, apr_time_t now);

/* ---- the store ------------------------------------------------------------------------------- */

/** How the store is asked; all block, none longer than it takes. */
typedef struct sc_central_store_t {
    void *baton;
    /** @param len in: room; out: length. @return APR_SUCCESS; APR_NOTFOUND: there is none, or
     * nobody is there; APR_ENOSPC: larger than the room; other: an error */
    apr_status_t (*get)(void *baton, const sc_central_key_t *key, unsigned char *out,
                        apr_size_t *len);
    /** @return APR_SUCCESS; APR_ENOSPC: larger than the store takes; other: an error */
    apr_status_t (*put)(void *baton, const sc_central_key_t *key, const unsigned char *data,
                        apr_size_t len, apr_uint32_t ttl_s);
    /** Forget a value. NULL: cannot. @return APR_SUCCESS or an error */
    apr_status_t (*remove)(void *baton, const sc_central_key_t *key);
    /** Begin anew, with new connections: what is known of the server's state is out of date. NULL:
     *  cannot */
    void (*renew)(void *baton);
    /** 0: nobody waits for the outcome any more, so nothing shall be written. NULL: always 1 */
    int (*wanted)(void *baton);
} sc_central_store_t;

typedef struct sc_central_t {
    sc_central_memory_t *memory;
    const sc_clock_t *clock;
    const char *prefix; /**< of this cluster */
    sc_central_key_t sentinel;
    int local; /**< the store is this node's own: absent is absent, nobody else writes */
    apr_interval_time_t lock_wait; /**< how long a change waits for another one of its session */
    apr_size_t max_value;          /**< bytes of a value at most */
    apr_uint32_t max_session;      /**< SessionClusterMaxSessionSize */
    apr_uint32_t max_ttl_s;        /**< longest time that the store remembers */
    apr_uint32_t touch_s;          /**< touches of a session are written so often at most */
    apr_uint32_t tombstone_s;      /**< how long an ended session stays ended */
} sc_central_t;

/** How long a renamed session's old id says so, seconds. */
#define SC_CENTRAL_RENAMED_S 70
/** Longest text that an old id keeps of the new one. */
#define SC_CENTRAL_HEIR_MAX 64

/* All outcomes are those of the engine's link: SC_UNKNOWN means that the store could not be asked,
 * or has not answered; SC_FULL that it answers but does not take the value. Each takes a buffer
 * `value`, whose limit is at least max_value; values point into it. */

/** SC_FOUND, SC_ABSENT (v->kind says why when there is something), SC_UNKNOWN. */
sc_outcome_t sc_central_find(const sc_central_t *c, const sc_central_store_t *store,
                             const sc_central_key_t *key, sc_buf_t *value, sc_central_value_t *v);

/**
 * SC_LINK_CHANGE: create (SC_CHANGE_NEW) or change.
 * @param delta receives what was changed, for sc_central_look
 */
sc_outcome_t sc_central_change(const sc_central_t *c, const sc_central_store_t *store,
                               const sc_central_key_t *key, const sc_change_t *change,
                               sc_buf_t *value, sc_buf_t *delta);
/** SC_LINK_CHANGE_ID: the session gets another key, then a change; the old key says that it did.
 *  @param heir what the old key says of the new one, see sc_central_heir; SC_CENTRAL_HEIR_MAX */
sc_outcome_t sc_central_rename(const sc_central_t *c, const sc_central_store_t *store,
                               const sc_central_key_t *key, const sc_central_key_t *new_key,
                               const sc_change_t *change, const char *heir, sc_buf_t *value,
                               sc_buf_t *delta);
/** The text that a renamed session's old id keeps. @param out SC_CENTRAL_HEIR_MAX + 1 bytes
 *  @return 1: there is one */
int sc_central_heir_text(const sc_central_value_t *v, char *out);
/** SC_LINK_REMOVE: end a session. One that is renamed stays so: SC_ABSENT. */
sc_outcome_t sc_central_end(const sc_central_t *c, const sc_central_store_t *store,
                            const sc_central_key_t *key, sc_buf_t *value);

/** Whether an access to a session is to be written: this node has not written it for the interval.
 *  Marks it as written. */
int sc_central_touch_due(const sc_central_t *c, const sc_central_key_t *key,
                         apr_uint32_t max_idle_s);
/** A touch that was due has not been made: the next access shall try. */
void sc_central_touch_undo(const sc_central_t *c, const sc_central_key_t *key);
/** Write an access. */
sc_outcome_t sc_central_touch(const sc_central_t *c, const sc_central_store_t *store,
                              const sc_central_key_t *key, sc_buf_t *value);

/**
 * Look again at what was changed, or ended (delta empty): if another node has overwritten it
 * meanwhile, bring it in again.
 * @return SC_DONE: it is there, or the session has ended; SC_DEGRADED: it had to be written again,
 *         so look again; SC_UNKNOWN
 */
sc_outcome_t sc_central_look(const sc_central_t *c, const sc_central_store_t *store,
                             const sc_central_key_t *key, const sc_buf_t *delta, sc_buf_t *value);

/** Ask for the sentinel; put it there if it is missing. @return APR_SUCCESS: the store answers */
apr_status_t sc_central_check(const sc_central_t *c, const sc_central_store_t *store);

#endif
