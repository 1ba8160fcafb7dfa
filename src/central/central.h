/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the files of the room share. ask.c: the store is asked, and what its answers mean.
 * central.c: what is done to sessions. look.c: the second look. recent.c, lock.c: this node's
 * memory and locks. value.c: what lies in the store. gate.c: whether it is asked at all.
 */
#ifndef SC_CENTRAL_INTERNAL_H
#define SC_CENTRAL_INTERNAL_H

#include "sc_central.h"

typedef enum sc_recent_t {
    SC_RECENT_NOTHING = 0,
    SC_RECENT_WRITTEN,
    SC_RECENT_ENDED,
    SC_RECENT_RENAMED
} sc_recent_t;

void sc_recent_note(const sc_central_t *c, const sc_central_key_t *key, sc_recent_t what);
/** What was noted last, and how long ago. */
sc_recent_t sc_recent_get(const sc_central_t *c, const sc_central_key_t *key,
                          apr_interval_time_t *age);

/** @return what unlock wants; 0: not got in time */
apr_uint64_t sc_central_lock(const sc_central_t *c, const sc_central_key_t *key);
void sc_central_unlock(const sc_central_t *c, const sc_central_key_t *key, apr_uint64_t mine);

/** A stamp newer than every one that this node has issued, and than `than`. */
sc_stamp_t sc_central_stamp(const sc_central_t *c, const sc_stamp_t *than);
apr_uint64_t sc_central_wall_ms(const sc_central_t *c);

/** Milliseconds between two writes of accesses to a session. */
apr_uint64_t sc_central_touch_ms(const sc_central_t *c, apr_uint32_t max_idle_s);

/** As sc_central_find, without regard for what this node remembers. */
sc_outcome_t sc_central_read(const sc_central_t *c, const sc_central_store_t *store,
                             const sc_central_key_t *key, sc_buf_t *value, sc_central_value_t *v);
/** SC_DONE, SC_TOO_LARGE, SC_FULL, SC_UNKNOWN. */
sc_outcome_t sc_central_write(const sc_central_t *c, const sc_central_store_t *store,
                              const sc_central_key_t *key, const sc_central_value_t *v,
                              apr_uint32_t ttl_s);
/** How long the store shall remember a live session. */
apr_uint32_t sc_central_ttl(const sc_central_t *c, apr_uint32_t max_idle_s);

/** Merge a delta into what is there and write it. @param v as read; becomes what was written */
sc_outcome_t sc_central_bring(const sc_central_t *c, const sc_central_store_t *store,
                              const sc_central_key_t *key, const sc_buf_t *delta,
                              sc_central_value_t *v);
/** As sc_central_look, with the lock held. */
sc_outcome_t sc_central_look_again(const sc_central_t *c, const sc_central_store_t *store,
                                   const sc_central_key_t *key, const sc_buf_t *delta,
                                   sc_buf_t *value);
/** Whether this node has ended the session; what the store says may have been written over it.
 *  @param kind receives what to write */
int sc_central_is_dead(const sc_central_t *c, const sc_central_key_t *key, sc_central_kind_t *kind);
/** Write that a session has ended. @param heir of a renamed one; "": not known */
sc_outcome_t sc_central_bury(const sc_central_t *c, const sc_central_store_t *store,
                             const sc_central_key_t *key, sc_central_kind_t kind, const char *heir);

#endif
