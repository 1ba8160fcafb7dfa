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
 */
#ifndef SC_MESSAGE_H
#define SC_MESSAGE_H

#include "sc_session.h"

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

/** One session as it travels whole (CREATED, ALL_SESSION_DATA, RETRIEVE_REPLY). */
typedef struct sc_wire_session_t {
    const char *context;
    apr_size_t context_len;
    sc_id_t id;
    unsigned int flags;         /**< SC_REC_TOMBSTONE */
    apr_uint32_t max_idle_s;
    apr_uint64_t age_ms;        /**< since creation */
    apr_uint64_t idle_ms;       /**< since the last access */
    sc_stamp_t stamp;
    const char *primary;        /**< route */
    apr_size_t primary_len;
    apr_uint32_t epoch;
    const unsigned char *body;
    apr_size_t body_len;
} sc_wire_session_t;

void sc_wire_session_put(sc_buf_t *b, const sc_wire_session_t *s);
/** Pointers go into the input; the body has passed sc_body_check.
 *  @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_wire_session_get(sc_rd_t *r, sc_wire_session_t *s);

#endif
