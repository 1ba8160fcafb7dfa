/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_session.h
 * @brief Room "manager": what a session's body looks like and how two versions of it merge.
 *
 * A body is a sequence of attributes in ascending order of their names (ASCII case folded, as
 * mod_session's table compares them):
 *
 *   flags u8 (1 = removed) | stamp.hlc u64 | stamp.node u32 | name (varint length, bytes)
 *   | value (varint length, bytes; absent when removed)
 *
 * Merging is per attribute, the higher stamp wins, a removal is an attribute without value that
 * keeps its stamp. So it is commutative, associative and idempotent: repeated, reordered and
 * crossing messages come to the same session everywhere (DESIGN I4, I5).
 *
 * Pure functions over memory; used by the engine and, for decoding, by the children.
 */
#ifndef SC_SESSION_H
#define SC_SESSION_H

#include <apr_tables.h>

#include "sc_base.h"
#include "sc_buf.h"

#define SC_ATTR_REMOVED 0x1
/** Longest attribute name, bytes. */
#define SC_NAME_MAX 1024

typedef struct sc_attr_t {
    const char *name; /**< not NUL-terminated */
    apr_size_t name_len;
    const char *value; /**< not NUL-terminated; NULL when removed */
    apr_size_t value_len;
    unsigned int flags;
    sc_stamp_t stamp;
} sc_attr_t;

/** Compare names as mod_session's table does: ASCII case ignored. */
int sc_attr_name_cmp(const char *a, apr_size_t alen, const char *b, apr_size_t blen);

/** Append one attribute in body form. */
void sc_attr_put(sc_buf_t *b, const sc_attr_t *a);

/** Read the next attribute; its name and value point into the input.
 *  @return APR_SUCCESS, APR_EOF at the end, APR_EINVAL for a malformed body */
apr_status_t sc_attr_get(sc_rd_t *r, sc_attr_t *a);

/** Whether bytes are a well-formed body: order strictly ascending, names not empty, no NUL in names
 *  and values. @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_body_check(const void *body, apr_size_t len);

typedef struct sc_merge_t {
    int changed;       /**< the delta brought something newer; dropping old removals is no change */
    apr_uint32_t live; /**< attributes with a value in the result */
    sc_stamp_t newest; /**< highest stamp seen in either */
} sc_merge_t;

/**
 * Merge a body or delta into a body.
 * @param old_body, delta both well-formed (sc_body_check)
 * @param drop_before removed attributes older than this stamp are left out of the result
 *        (all-zero: keep all)
 * @param out receives the result (cleared first); its limit bounds the size
 * @return APR_SUCCESS; APR_ENOSPC over out's limit; APR_EINVAL
 */
apr_status_t sc_body_merge(const void *old_body, apr_size_t old_len, const void *delta,
                           apr_size_t delta_len, const sc_stamp_t *drop_before, sc_buf_t *out,
                           sc_merge_t *result);

/** Bytes that live names and values take: what SessionClusterMaxSessionSize bounds. */
apr_size_t sc_body_payload(const void *body, apr_size_t len);

/** A number that differs when two bodies do, but for a chance of 1 in 2^64. */
apr_uint64_t sc_body_digest(const void *body, apr_size_t len);

/* ---- what a child asks for ------------------------------------------------------------------ */

#define SC_CHANGE_NEW 0x1 /**< the session is new: create it */

/** Body of SC_LINK_CHANGE, REMOVE, CHANGE_ID, FETCH, TAKEOVER. */
typedef struct sc_change_t {
    const char *context;
    apr_size_t context_len;
    sc_id_t id;
    sc_id_t new_id;     /**< CHANGE_ID only */
    unsigned int flags; /**< SC_CHANGE_* */
    apr_uint32_t max_idle_s;
    apr_uint32_t nattrs;
    const unsigned char *attrs; /**< encoded: name, removed flag, value; see sc_change_attr_* */
    apr_size_t attrs_len;
    const char *hint; /**< FETCH: route of the cookie, asked first; may be empty */
    apr_size_t hint_len;
} sc_change_t;

/** Append one attribute to the attribute list of a change. value NULL: removed. */
void sc_change_attr_put(sc_buf_t *attrs, const char *name, apr_size_t name_len, const char *value,
                        apr_size_t value_len);
/** Encode a change; attrs as collected by sc_change_attr_put. */
void sc_change_put(sc_buf_t *b, const sc_change_t *c);
/** Decode and check; pointers go into the input. @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_change_get(sc_change_t *c, const void *body, apr_size_t len);
/** Turn a change's attribute list into a delta body: sorted, one entry per name (the last one
 *  given), every entry with the stamp. @return APR_SUCCESS, APR_EINVAL, APR_ENOSPC (out's limit) */
apr_status_t sc_change_to_delta(const sc_change_t *c, const sc_stamp_t *stamp, sc_buf_t *out,
                                apr_pool_t *scratch);

#endif
