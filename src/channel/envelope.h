/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file envelope.h
 * @brief Private to room "channel": the envelope around records, and what a receiver concludes from
 *        the numbers on it (layout: sc_channel.h).
 */
#ifndef SC_ENVELOPE_H
#define SC_ENVELOPE_H

#include "sc_buf.h"

/** Bytes of the longest head: magic, version, stream, seq, store id, lsn. */
#define SC_ENVELOPE_HEAD_MAX (4 + 1 + 8 + 10 + 8 + 10)

typedef struct sc_envelope_t {
    apr_uint64_t stream;
    apr_uint64_t seq;
    apr_uint64_t store_id;
    apr_uint64_t lsn;
    const unsigned char *records; /**< as read: all of them, lengths checked */
    apr_size_t records_len;
} sc_envelope_t;

/** Append the head. */
void sc_envelope_put_head(sc_buf_t *b, const sc_envelope_t *e);

/** Whether bytes begin like an envelope. */
int sc_envelope_is(const void *bytes, apr_size_t len);

/**
 * Decode, including the lengths of all records, so that none is applied of an envelope that is cut.
 * @return APR_SUCCESS; APR_EINVAL malformed; APR_ENOTIMPL another version
 */
apr_status_t sc_envelope_get(sc_envelope_t *e, const void *bytes, apr_size_t len);

/** What has been received of one member's stream. All-zero: nothing yet. */
typedef struct sc_stream_t {
    int known;
    apr_uint64_t id;
    apr_uint64_t previous; /**< the stream before: what comes late of it means nothing */
    apr_uint64_t last;     /**< highest number processed without error */
    int behind;            /**< a gap has not been made up: lsn proves nothing */
} sc_stream_t;

typedef enum sc_arrival_t {
    SC_ARRIVAL_NEXT, /**< in order */
    SC_ARRIVAL_LATE, /**< a repetition, or of a stream that has ended: process, conclude nothing */
    SC_ARRIVAL_GAP   /**< in order again after a loss: tell the layer above first */
} sc_arrival_t;

/**
 * Note that an envelope has come. After SC_ARRIVAL_GAP the stream is behind, and the envelope is
 * the next one expected, so that its repetition after a failure is no second gap.
 */
sc_arrival_t sc_stream_arrived(sc_stream_t *s, const sc_envelope_t *e);
/** Note that it has been processed: failed ones are not, so that the next one shows a gap. */
void sc_stream_processed(sc_stream_t *s, const sc_envelope_t *e);

#endif
