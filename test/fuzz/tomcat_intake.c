/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What comes on a connection for answers: any bytes, and parts of a captured answer, in pieces,
 * while a question is open or not. However it is cut, the same answers are found; of what is none
 * little is kept.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tomcat.h"
#include "../../src/tomcat/internal.h"

#define LIMIT (64 * 1024)

typedef struct seen_t {
    int open; /* a question is */
    unsigned int frames, failures;
    apr_size_t bytes;
    apr_size_t max;
} seen_t;

static const sc_uid_t *wanted(void *baton)
{
    return ((seen_t *)baton)->open ? &fuzz_tomcat_call : NULL;
}

static void frame(void *baton, sc_buf_t *b)
{
    seen_t *seen = baton;

    FUZZ_CHECK(seen->open && sc_frame_is(b->data, b->len));
    FUZZ_CHECK(b->len <= seen->max || b->len <= SC_TC_HEAD_BYTES);
    FUZZ_CHECK(memmem(b->data, b->len, &fuzz_tomcat_call, sizeof(fuzz_tomcat_call)) != NULL);
    seen->frames++;
    seen->bytes += b->len;
}

static void failed(void *baton, apr_status_t why)
{
    FUZZ_CHECK(why == APR_ENOSPC);
    ((seen_t *)baton)->failures++;
}

/* @param piece bytes at once */
static int feed(seen_t *seen, const sc_buf_t *b, apr_size_t piece)
{
    sc_tc_answers_up_t up = {seen, wanted, frame, failed};
    sc_tc_intake_t intake;
    apr_size_t at;
    int ok = 1;

    sc_tc_intake_open(&intake, &up, seen->max);
    for (at = 0; at < b->len && ok; at += piece) {
        apr_size_t n = b->len - at < piece ? b->len - at : piece;
        unsigned char *copy = fuzz_copy(b->data + at, n);

        ok = sc_tc_intake_feed(&intake, copy, n);
        free(copy);
        FUZZ_CHECK(intake.judged || intake.in.len <= SC_TC_HEAD_BYTES);
        FUZZ_CHECK(!intake.judged || seen->open);
        FUZZ_CHECK(intake.in.len <= seen->max + SC_TC_HEAD_BYTES);
    }
    sc_tc_intake_forget(&intake);
    FUZZ_CHECK(!intake.judged);
    sc_tc_intake_close(&intake);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    apr_size_t len, piece;
    const unsigned char *answer = fuzz_tomcat_answer(&len);
    seen_t whole = {0}, pieces = {0};
    sc_buf_t b;
    unsigned int how = fuzz_u8(&in);
    int ok;

    sc_buf_init(&b, LIMIT);
    whole.open = pieces.open = how & 1;
    whole.max = pieces.max = how & 2 ? 2500 : 65536;
    piece = 1 + fuzz_u8(&in) * 8u;
    while (in.left > 0 && b.len < LIMIT / 2) {
        size_t n;
        const unsigned char *p;

        switch (fuzz_below(&in, 4)) {
        case 0:
            p = fuzz_text(&in, 256, &n);
            sc_put(&b, p, n);
            break;
        case 1:
            sc_put(&b, answer, fuzz_u16(&in) % (len + 1));
            break;
        case 2: { /* whole, with something changed */
            sc_buf_t changed;

            sc_buf_init(&changed, LIMIT);
            sc_put(&changed, answer, len);
            fuzz_damage(&in, &changed);
            sc_put(&b, changed.data, changed.len);
            sc_buf_free(&changed);
            break;
        }
        default:
            sc_put(&b, answer, len);
        }
    }
    ok = feed(&whole, &b, b.len > 0 ? b.len : 1);
    FUZZ_CHECK(ok == feed(&pieces, &b, piece));
    FUZZ_CHECK(whole.frames == pieces.frames && whole.bytes == pieces.bytes &&
               whole.failures == pieces.failures);
    sc_buf_free(&b);
    return 0;
}
