/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Answers in the bytes of one connection.
 *
 * Whoever connects can make this node keep SC_TC_HEAD_BYTES of what he sends, and no more: the rest
 * of a frame is kept only if the 128 random bits of the question that is open now are in its
 * beginning. The rest of a frame that nobody waits for, or that is too large, is read and dropped,
 * since the Tomcat would take a closed connection for a failure of this node.
 */
#include <string.h>

#include "internal.h"

/* Mark, length and options of a frame. */
#define BEGIN_BYTES 15

static int contains(const sc_buf_t *b, const sc_uid_t *what)
{
    apr_size_t i;

    for (i = BEGIN_BYTES; i + sizeof(what->b) <= b->len; i++) {
        if (b->data[i] == what->b[0] && memcmp(b->data + i, what->b, sizeof(what->b)) == 0) {
            return 1;
        }
    }
    return 0;
}

static int is_wanted(const sc_tc_intake_t *i)
{
    const sc_uid_t *wanted = i->up->wanted(i->up->baton);

    return wanted != NULL && contains(&i->in, wanted);
}

static void between_frames(sc_tc_intake_t *i)
{
    i->acks += (i->options & SC_OPT_USE_ACK) != 0;
    sc_buf_free(&i->in);
    i->total = i->skip = 0;
    i->judged = 0;
}

static void drop_rest(sc_tc_intake_t *i)
{
    i->skip = i->total - i->in.len;
    sc_buf_free(&i->in);
    i->judged = 0;
}

/* @return 0: this is no frame */
static int begin_frame(sc_tc_intake_t *i)
{
    apr_size_t n;
    sc_rd_t r;

    if (!sc_frame_is(i->in.data, i->in.len)) {
        return 0;
    }
    sc_rd_init(&r, i->in.data + 7, 8);
    n = sc_get_u32(&r);
    i->options = sc_get_u32(&r);
    i->total = n + SC_FRAME_OVERHEAD;
    return n >= 4 && n <= APR_INT32_MAX;
}

/* The beginning of a frame is here: is it what is waited for, and can it be kept? */
static void judge(sc_tc_intake_t *i)
{
    if (!is_wanted(i)) {
        drop_rest(i);
    } else if (i->total > i->max) {
        i->proven = 1;
        drop_rest(i);
        i->up->failed(i->up->baton, APR_ENOSPC);
    } else {
        i->judged = 1;
    }
}

static void whole_frame(sc_tc_intake_t *i)
{
    i->judged = 0;
    if (is_wanted(i)) {
        i->proven = 1;
        i->up->frame(i->up->baton, &i->in);
    }
    between_frames(i);
}

/* How many of n bytes can be taken before something has to be decided. */
static apr_size_t step(const sc_tc_intake_t *i, apr_size_t n)
{
    apr_size_t want = i->total;

    if (i->skip > 0) {
        return n < i->skip ? n : i->skip;
    }
    if (want == 0) {
        want = BEGIN_BYTES;
    } else if (!i->judged && want > SC_TC_HEAD_BYTES) {
        want = SC_TC_HEAD_BYTES;
    }
    want -= i->in.len;
    return n < want ? n : want;
}

static void skip(sc_tc_intake_t *i, apr_size_t n)
{
    i->skip -= n;
    if (i->skip == 0) {
        between_frames(i);
    }
}

/* @return 0: the stream cannot be understood */
static int take(sc_tc_intake_t *i, const unsigned char *bytes, apr_size_t n)
{
    sc_put(&i->in, bytes, n);
    if (i->in.err != APR_SUCCESS) {
        return 0;
    }
    if (i->total == 0 && i->in.len == BEGIN_BYTES && !begin_frame(i)) {
        return 0;
    }
    if (i->total > 0 && i->in.len == i->total) {
        whole_frame(i);
    } else if (i->total > SC_TC_HEAD_BYTES && i->in.len == SC_TC_HEAD_BYTES && !i->judged) {
        judge(i);
    }
    return 1;
}

int sc_tc_intake_feed(sc_tc_intake_t *i, const unsigned char *bytes, apr_size_t n)
{
    while (n > 0) {
        apr_size_t some = step(i, n);

        if (i->skip > 0) {
            skip(i, some);
        } else if (!take(i, bytes, some)) {
            return 0;
        }
        bytes += some;
        n -= some;
    }
    return 1;
}

void sc_tc_intake_open(sc_tc_intake_t *i, const sc_tc_answers_up_t *up, apr_size_t max)
{
    memset(i, 0, sizeof(*i));
    i->up = up;
    i->max = max;
    sc_buf_init(&i->in, max + SC_TC_HEAD_BYTES);
}

void sc_tc_intake_forget(sc_tc_intake_t *i)
{
    if (i->judged) {
        drop_rest(i);
    }
}

void sc_tc_intake_close(sc_tc_intake_t *i)
{
    sc_buf_free(&i->in);
    i->total = i->skip = 0;
    i->judged = 0;
}
