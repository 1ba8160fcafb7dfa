/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Envelopes and streams. A list of envelopes, raw or built, is judged as a receiver does; a simple
 * model of what may have been lost says which answers are allowed.
 */
#include <stdlib.h>
#include <string.h>

#include "../../src/channel/envelope.h"
#include "fuzz.h"

#define LIMIT (64 * 1024)

static void check_records(const sc_envelope_t *e)
{
    sc_rd_t r;

    sc_rd_init(&r, e->records, e->records_len);
    while (sc_rd_left(&r) > 0) {
        apr_size_t n;

        FUZZ_CHECK(sc_get_str(&r, sc_rd_left(&r), &n) != NULL); /* promised by sc_envelope_get */
    }
    FUZZ_CHECK(!r.bad);
}

static void write_and_read(const sc_envelope_t *e)
{
    sc_envelope_t again;
    sc_buf_t b;

    sc_buf_init(&b, 2 * LIMIT);
    sc_envelope_put_head(&b, e);
    FUZZ_CHECK(b.len <= SC_ENVELOPE_HEAD_MAX);
    sc_put(&b, e->records, e->records_len);
    FUZZ_CHECK(sc_envelope_get(&again, b.data, b.len) == APR_SUCCESS);
    FUZZ_CHECK(again.stream == e->stream && again.seq == e->seq && again.lsn == e->lsn);
    FUZZ_CHECK(again.store_id == e->store_id && again.records_len == e->records_len);
    sc_buf_free(&b);
}

static void arrive(sc_stream_t *s, const sc_envelope_t *e, int processed)
{
    sc_stream_t before = *s;
    sc_arrival_t a = sc_stream_arrived(s, e);

    switch (a) {
    case SC_ARRIVAL_NEXT:
        FUZZ_CHECK(e->stream == s->id && e->seq == s->last + 1);
        FUZZ_CHECK(before.known ? e->seq == before.last + 1 : e->seq == 1);
        break;
    case SC_ARRIVAL_LATE:
        FUZZ_CHECK(memcmp(&before, s, sizeof(before)) == 0);
        FUZZ_CHECK(e->stream == s->previous || (e->stream == s->id && e->seq <= s->last));
        break;
    default:
        FUZZ_CHECK(a == SC_ARRIVAL_GAP && s->behind && e->seq == s->last + 1);
        break;
    }
    if (processed) {
        sc_stream_processed(s, e);
        FUZZ_CHECK(a == SC_ARRIVAL_LATE || s->last == e->seq);
    }
    FUZZ_CHECK(a == SC_ARRIVAL_LATE || sc_stream_arrived(s, e) != SC_ARRIVAL_GAP);
}

static void build(fuzz_in_t *in, sc_buf_t *b)
{
    sc_envelope_t e;
    unsigned int records = fuzz_below(in, 4);

    memset(&e, 0, sizeof(e));
    e.stream = fuzz_below(in, 4);
    e.seq = fuzz_number(in);
    e.store_id = fuzz_below(in, 2);
    e.lsn = fuzz_number(in);
    sc_envelope_put_head(b, &e);
    while (records-- > 0) {
        size_t n;
        const unsigned char *p = fuzz_text(in, 2000, &n);

        sc_put_str(b, p, n);
    }
    fuzz_damage(in, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    sc_stream_t stream;
    sc_buf_t b;

    memset(&stream, 0, sizeof(stream));
    sc_buf_init(&b, LIMIT);
    while (in.left > 0) {
        unsigned int how = fuzz_u8(&in);
        unsigned char *bytes;
        sc_envelope_t e;

        sc_buf_clear(&b);
        if (how & 1) {
            size_t n;
            const unsigned char *p = fuzz_text(&in, LIMIT, &n);

            sc_put(&b, p, n);
        } else {
            build(&in, &b);
        }
        bytes = fuzz_copy(b.data, b.len);
        (void)sc_envelope_is(bytes, b.len);
        if (sc_envelope_get(&e, bytes, b.len) == APR_SUCCESS) {
            check_records(&e);
            write_and_read(&e);
            arrive(&stream, &e, how & 2);
            if (how >= 0xf0) {
                stream.behind = 0;
            }
        }
        free(bytes);
    }
    sc_buf_free(&b);
    return 0;
}
