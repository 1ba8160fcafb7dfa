/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_message.h
 * @brief Room "manager": session messages, the records of the channel's envelopes.
 *
 *   event u8 | fields by event, varints and length-prefixed strings | further fields of later
 *   versions, skipped
 *
 * Event numbers are Tomcat's (tribes-protocol 7.3); those of the replicated map (8.2) stand 0x40
 * higher. Times travel as ages: milliseconds before now, so that clocks need not agree (DESIGN I7).
 *
 * Pure codecs. What a reader returns points into the input and has been checked: lengths, names,
 * bodies (sc_body_check). Whether a message makes sense here is the manager's business.
 */
#ifndef SC_MESSAGE_H
#define SC_MESSAGE_H

#include "sc_board.h"
#include "sc_session.h"
#include "sc_store.h"

typedef enum sc_event_t {
    SC_EVT_SESSION_CREATED = 1,
    SC_EVT_SESSION_EXPIRED = 2,
    SC_EVT_SESSION_ACCESSED = 3,
    SC_EVT_GET_ALL_SESSIONS = 4,
    SC_EVT_ALL_SESSION_DATA = 12,
    SC_EVT_SESSION_DELTA = 13,
    SC_EVT_ALL_SESSION_TRANSFERCOMPLETE = 14,
    SC_EVT_CHANGE_SESSION_ID = 15,
    SC_EVT_ALL_SESSION_NOCONTEXTMANAGER = 16,
    SC_EVT_RETRIEVE = 0x42,      /**< RETRIEVE_BACKUP: fetch one session */
    SC_EVT_RETRIEVE_REPLY = 0x82 /**< its answer */
} sc_event_t;

/** "SESSION_DELTA" and so on, "unknown" for a number that is none. */
const char *sc_event_name(unsigned int event);

/** A stretch of text in the input; not NUL-terminated. */
typedef struct sc_text_t {
    const char *s;
    apr_size_t len;
} sc_text_t;

/* ---- tombstones ----------------------------------------------------------------------------- */

/**
 * Why a session is dead, in the place of max_idle_s of its tombstone (records and wire alike).
 * A lower number wins where two nodes buried one session for different reasons. The first two are
 * final. A session that idled out is only gone: who knows of a later change or access brings it
 * back, because idling out is judged by a node that may have been cut off from its user.
 */
#define SC_DEAD_INVALIDATED 0u
#define SC_DEAD_RENAMED 1u
#define SC_DEAD_IDLE 2u

/* ---- whole sessions ------------------------------------------------------------------------- */

/** One session as it travels whole (CREATED, ALL_SESSION_DATA, RETRIEVE_REPLY). */
typedef struct sc_wire_session_t {
    const char *context;
    apr_size_t context_len;
    sc_id_t id;
    unsigned int flags;      /**< SC_REC_TOMBSTONE */
    apr_uint32_t max_idle_s; /**< of a tombstone: SC_DEAD_* */
    apr_uint64_t age_ms;     /**< since creation */
    apr_uint64_t idle_ms;    /**< since the last access */
    sc_stamp_t stamp;
    const char *primary; /**< route */
    apr_size_t primary_len;
    apr_uint32_t epoch;
    const unsigned char *body; /**< a tombstone has none */
    apr_size_t body_len;
    sc_id_t heir; /**< SC_DEAD_RENAMED: the session's new id */
} sc_wire_session_t;

/** Append: length of all that follows, then the fields. */
void sc_wire_session_put(sc_buf_t *b, const sc_wire_session_t *s);
/** Pointers go into the input; the body has passed sc_body_check.
 *  @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_wire_session_get(sc_rd_t *r, sc_wire_session_t *s);

/** SESSION_CREATED: event | session */
void sc_msg_created_put(sc_buf_t *b, const sc_wire_session_t *s);
apr_status_t sc_msg_created_get(sc_rd_t *r, sc_wire_session_t *s);

/* ---- changes -------------------------------------------------------------------------------- */

#define SC_MSG_PRIMARY 0x1 /**< the sender is primary of the session from this change on */

/** SESSION_DELTA and CHANGE_SESSION_ID (the only one with new_id): what one request changed. */
typedef struct sc_msg_delta_t {
    sc_text_t context;
    sc_id_t id;
    sc_id_t new_id;
    unsigned int flags; /**< SC_MSG_* */
    sc_stamp_t stamp;
    apr_uint32_t max_idle_s;
    apr_uint64_t idle_ms; /**< since the last access, which a change is */
    apr_uint32_t epoch;
    const unsigned char *body; /**< attributes set and removed, with stamps */
    apr_size_t body_len;
    apr_uint64_t digest; /**< CHANGE_SESSION_ID: of the whole body under the new id */
} sc_msg_delta_t;

void sc_msg_delta_put(sc_buf_t *b, sc_event_t event, const sc_msg_delta_t *d);
apr_status_t sc_msg_delta_get(sc_rd_t *r, sc_event_t event, sc_msg_delta_t *d);

/* ---- lists: SESSION_ACCESSED, SESSION_EXPIRED ------------------------------------------------ */

/** Sessions of one context, and for EXPIRED of one reason. */
typedef struct sc_group_t {
    sc_text_t context;
    unsigned int reason; /**< EXPIRED: SC_DEAD_INVALIDATED or _IDLE; ACCESSED: 0 */
    apr_uint64_t n;      /**< items */
    const unsigned char *items;
    apr_size_t items_len;
} sc_group_t;

/** ACCESSED: id, milliseconds since the access. */
void sc_item_accessed_put(sc_buf_t *items, const sc_id_t *id, apr_uint64_t idle_ms);
apr_status_t sc_item_accessed_get(sc_rd_t *items, sc_id_t *id, apr_uint64_t *idle_ms);
/** EXPIRED: id, stamp of the invalidation, or newest stamp of the session that idled out. */
void sc_item_expired_put(sc_buf_t *items, const sc_id_t *id, const sc_stamp_t *stamp);
apr_status_t sc_item_expired_get(sc_rd_t *items, sc_id_t *id, sc_stamp_t *stamp);

/** Event and number of groups; sc_group_put for each group must follow. */
void sc_msg_groups_put(sc_buf_t *b, sc_event_t event, apr_uint32_t ngroups);
void sc_group_put(sc_buf_t *b, const sc_group_t *g);
/** Check the whole list, items included, so that none of a broken one is applied.
 *  @param ngroups receives their number; r stands at the first */
apr_status_t sc_msg_groups_get(sc_rd_t *r, sc_event_t event, apr_uint64_t *ngroups);
apr_status_t sc_group_get(sc_rd_t *r, sc_group_t *g);

/* ---- state transfer ------------------------------------------------------------------------- */

/** GET_ALL_SESSIONS. */
typedef struct sc_msg_get_all_t {
    apr_uint64_t serial;    /**< of the request; repeated in what answers it */
    apr_uint64_t since;     /**< only what the donor's store changed after this number */
    apr_uint64_t recent_ms; /**< not 0: what changed in this time, instead of since */
    sc_text_t primary;      /**< not empty: only sessions of this primary */
    apr_uint32_t ncontexts; /**< contexts that the requester knows */
    sc_text_t context[SC_CONTEXTS_MAX];
} sc_msg_get_all_t;

void sc_msg_get_all_put(sc_buf_t *b, const sc_msg_get_all_t *g);
apr_status_t sc_msg_get_all_get(sc_rd_t *r, sc_msg_get_all_t *g);

/** ALL_SESSION_DATA: so many sessions follow, written by sc_wire_session_put. */
typedef struct sc_msg_data_t {
    apr_uint64_t serial;
    apr_uint64_t total; /**< sessions the donor expects to send; for progress only */
    apr_uint64_t count; /**< in this block */
} sc_msg_data_t;

void sc_msg_data_put(sc_buf_t *b, const sc_msg_data_t *d);
/** r stands at the first session then. */
apr_status_t sc_msg_data_get(sc_rd_t *r, sc_msg_data_t *d);

/** ALL_SESSION_TRANSFERCOMPLETE. */
typedef struct sc_msg_complete_t {
    apr_uint64_t serial;
    apr_uint64_t lsn;   /**< the donor's state up to this change has been sent */
    apr_uint32_t ready; /**< 1: the donor was READY, so this was all it should know */
    apr_uint64_t sent;  /**< sessions sent */
} sc_msg_complete_t;

void sc_msg_complete_put(sc_buf_t *b, const sc_msg_complete_t *c);
apr_status_t sc_msg_complete_get(sc_rd_t *r, sc_msg_complete_t *c);

/** ALL_SESSION_NOCONTEXTMANAGER: the sender does not have this context. */
void sc_msg_nocontext_put(sc_buf_t *b, const sc_text_t *context);
apr_status_t sc_msg_nocontext_get(sc_rd_t *r, sc_text_t *context);

/* ---- fetch on demand ------------------------------------------------------------------------ */

/** RETRIEVE; RETRIEVE_REPLY with found and session. */
typedef struct sc_msg_retrieve_t {
    sc_text_t context;
    sc_id_t id;
    apr_uint32_t found;        /**< reply: 1: session (or its tombstone) follows */
    sc_wire_session_t session; /**< reply: its context and id equal those above */
} sc_msg_retrieve_t;

void sc_msg_retrieve_put(sc_buf_t *b, sc_event_t event, const sc_msg_retrieve_t *m);
apr_status_t sc_msg_retrieve_get(sc_rd_t *r, sc_event_t event, sc_msg_retrieve_t *m);

#endif
