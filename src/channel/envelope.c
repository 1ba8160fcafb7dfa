/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Envelopes: one frame carries all records that waited for a member, with a number that shows the
 * receiver whether it has got everything.
 *
 * The number lives in the envelope and not in the connection, because connections come and go, and
 * an envelope can be lost although every connection ended well: when its sender gave it up.
 */
#include <string.h>

#include "envelope.h"

#define VERSION 1

static const unsigned char magic[4] = {'S', 'C', 'E', '1'};

void sc_envelope_put_head(sc_buf_t *b, const sc_envelope_t *e)
{
    sc_put(b, magic, sizeof(magic));
    sc_put_u8(b, VERSION);
    sc_put_u64(b, e->stream);
    sc_put_varint(b, e->seq);
    sc_put_u64(b, e->store_id);
    sc_put_varint(b, e->lsn);
}

int sc_envelope_is(const void *bytes, apr_size_t len)
{
    return len >= sizeof(magic) && memcmp(bytes, magic, sizeof(magic)) == 0;
}

apr_status_t sc_envelope_get(sc_envelope_t *e, const void *bytes, apr_size_t len)
{
    sc_rd_t r;
    unsigned int version;

    memset(e, 0, sizeof(*e));
    if (!sc_envelope_is(bytes, len)) {
        return APR_EINVAL;
    }
    sc_rd_init(&r, bytes, len);
    sc_get(&r, sizeof(magic));
    version = sc_get_u8(&r);
    if (!r.bad && version != VERSION) {
        return APR_ENOTIMPL;
    }
    e->stream = sc_get_u64(&r);
    e->seq = sc_get_varint(&r);
    e->store_id = sc_get_u64(&r);
    e->lsn = sc_get_varint(&r);
    e->records = r.p;
    e->records_len = sc_rd_left(&r);
    while (sc_rd_left(&r) > 0) {
        apr_size_t n;

        sc_get_str(&r, sc_rd_left(&r), &n);
    }
    return r.bad || e->seq == 0 ? APR_EINVAL : APR_SUCCESS;
}

sc_arrival_t sc_stream_arrived(sc_stream_t *s, const sc_envelope_t *e)
{
    int fresh = !s->known;

    if (s->known && e->stream != s->id && e->stream == s->previous) {
        return SC_ARRIVAL_LATE;
    }
    if (s->known && e->stream == s->id) {
        if (e->seq <= s->last) {
            return SC_ARRIVAL_LATE;
        }
        if (e->seq == s->last + 1) {
            return SC_ARRIVAL_NEXT;
        }
    } else {
        s->previous = s->known ? s->id : 0;
        s->known = 1;
        s->id = e->stream;
    }
    s->last = e->seq - 1;
    if (fresh && e->seq == 1) {
        return SC_ARRIVAL_NEXT;
    }
    s->behind = 1;
    return SC_ARRIVAL_GAP;
}

void sc_stream_processed(sc_stream_t *s, const sc_envelope_t *e)
{
    if (e->stream == s->id && e->seq == s->last + 1) {
        s->last = e->seq;
    }
}
