/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file state.h
 * @brief Private to room "tomcat": asking a Tomcat's session map for its state, and reading the
 *        answer (tribes-protocol 8.2, 8.8 A).
 *
 * Pure codecs. The answer is read entry by entry, so that a long one can be worked off in slices.
 */
#ifndef SC_STATE_H
#define SC_STATE_H

#include "sc_frame.h"
#include "java_stream.h"

/** Append the frame that asks; byte for byte what a Tomcat would send.
 *  @param packet with everything but the body */
void sc_state_request(sc_buf_t *b, const sc_packet_t *packet, const sc_uid_t *call,
                      const char *map);

/** Where one session is. */
typedef struct sc_location_t {
    const unsigned char *id; /**< the session's id up to its first dot; NULL: the key is no text */
    apr_size_t id_len;
    apr_byte_t primary; /**< index in the members of the answer, SC_JNOBODY: none */
    apr_byte_t nbackups;
    apr_byte_t backup[SC_JNODES_MAX];
} sc_location_t;

typedef struct sc_state_t {
    sc_jstream_t s;    /**< the list; its members are those that locations point to */
    apr_uint32_t left; /**< entries to come */
} sc_state_t;

/**
 * Begin with the answer.
 * @param body of the frame; must stay as long as the state is open
 * @return APR_SUCCESS: to be closed; APR_EMISMATCH: no answer to this call; APR_NOTFOUND: whoever
 *         was asked has no such map; APR_EINVAL: malformed
 */
apr_status_t sc_state_open(sc_state_t *state, const void *body, apr_size_t len,
                           const sc_uid_t *call, const char *map);
/** @return APR_SUCCESS, APR_EOF: that was all; APR_EINVAL: malformed from here on */
apr_status_t sc_state_next(sc_state_t *state, sc_location_t *location);
void sc_state_close(sc_state_t *state);

#endif
