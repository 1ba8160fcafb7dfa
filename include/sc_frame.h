/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_frame.h
 * @brief Room "channel": Tribes' frames and what is in them (tribes-protocol 2.1 to 2.3).
 *
 * Pure codecs: bytes in, structs out. The parser takes bytes as they come, keeps at most one
 * incomplete frame, and never more than its limit.
 */
#ifndef SC_FRAME_H
#define SC_FRAME_H

#include "sc_buf.h"
#include "sc_config.h"
#include "sc_member.h"

#define SC_FRAME_OVERHEAD 18 /**< header, length, footer */
/** Bytes of a frame besides its body at most, the longest sender's address included. */
#define SC_FRAME_HEAD_MAX 1024
#define SC_ACK_FRAME 21 /**< bytes of an ACK or FAIL_ACK frame */

/** A ChannelData. As read, body points into the frame; as sent, into a buffer of the sender. */
typedef struct sc_packet_t {
    apr_uint32_t options;      /**< SC_OPT_* and interceptors' flags */
    apr_uint64_t timestamp_ms; /**< sender's wall clock */
    sc_uid_t id;               /**< of the message */
    sc_member_t from;
    const unsigned char *body;
    apr_size_t body_len;
} sc_packet_t;

typedef enum sc_frame_kind_t { SC_FRAME_DATA, SC_FRAME_ACK, SC_FRAME_FAIL_ACK } sc_frame_kind_t;

/** Append a whole frame with this packet. */
void sc_frame_put(sc_buf_t *b, const sc_packet_t *p);
/** The 21 bytes of an acknowledgement. */
const unsigned char *sc_frame_ack(int fail);

/** Whether bytes begin like a frame. */
int sc_frame_is(const void *bytes, apr_size_t len);

/** How an answer of n bytes, at most SC_ACK_FRAME, is judged. @return APR_EAGAIN: so far it may
 * become an acknowledgement; APR_SUCCESS: it is one, *fail says which; APR_EINVAL: it is none */
apr_status_t sc_frame_answer(const void *bytes, apr_size_t n, int *fail);

typedef struct sc_parser_t {
    sc_buf_t in;
    apr_size_t max_data; /**< a longer frame is refused before it is read */
    apr_size_t pos;      /**< private: start of what has not been released yet */
    apr_size_t held;     /**< private: length of the frame returned last */
} sc_parser_t;

void sc_parser_init(sc_parser_t *p, apr_size_t max_data);
void sc_parser_free(sc_parser_t *p);
/** How many bytes sc_parser_room will make room for: grows with what has come, not with what a
 *  length field claims. */
apr_size_t sc_parser_room_wanted(const sc_parser_t *p);
/**
 * Where to read the next bytes to; add what came to p->in.len.
 * @param room receives how many bytes fit, at least 1
 * @return NULL when there is no memory
 */
unsigned char *sc_parser_room(sc_parser_t *p, apr_size_t *room);
/** Bytes of an incomplete frame that wait for the rest; 0 between frames. */
apr_size_t sc_parser_partial(const sc_parser_t *p);
/**
 * Take the next whole frame from what has been added to p->in (sc_parser_room, or sc_put).
 * @param data, len receive its data, valid until sc_parser_done
 * @return APR_SUCCESS; APR_EAGAIN: not complete yet; APR_EINVAL: not a frame, or too long: the
 *         connection must be closed. Unlike Tribes, garbage is not skipped: it cannot be trusted.
 */
apr_status_t sc_parser_next(sc_parser_t *p, sc_frame_kind_t *kind, const unsigned char **data,
                            apr_size_t *len);
/** Release the frame returned last. */
void sc_parser_done(sc_parser_t *p);

/** Decode ChannelData; body points into data. Of a foreign sender that says more of itself than a
 *  member's limits allow, only address, port and unique id are read.
 *  @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_packet_get(sc_packet_t *p, const void *data, apr_size_t len);

#endif
