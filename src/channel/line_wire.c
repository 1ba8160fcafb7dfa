/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What goes over the connection of a line: frames out, acknowledgements in.
 *
 * Frames that want no acknowledgement follow each other; behind one that does, the line waits,
 * because an acknowledgement does not say what it is for.
 *
 * With a secret frames are sealed when it is their turn: a frame that has to go out again on
 * another connection is sealed anew, so it is kept as it is.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "line.h"

/* Frames in one write. */
#define GATHER 16
/* What is sealed ahead of the socket, at least one frame. */
#define SEAL_AHEAD (128 * 1024)

/* ---- writing -------------------------------------------------------------------------------- */

/** Whether the first frame is out and its acknowledgement is awaited. */
static int awaits_ack(const sc_line_t *line)
{
    return line->head != NULL && line->head->wants_ack && line->head->sent == line->head->size;
}

int sc_line_has_output(const sc_line_t *line)
{
    if (line->secured != NULL && sc_secured_waits(line->secured)) {
        return 1;
    }
    return line->state == SC_LINE_OPEN && line->head != NULL && !awaits_ack(line);
}

/** Frames up to the first one that wants an acknowledgement. */
static int gather(const sc_line_t *line, struct iovec *iov)
{
    const sc_queued_t *f;
    int n = 0;

    for (f = line->head; f != NULL && n < GATHER; f = f->next) {
        iov[n].iov_base = f->bytes.data + f->sent;
        iov[n].iov_len = f->size - f->sent;
        n++;
        if (f->wants_ack) {
            break;
        }
    }
    return n;
}

/** The same, sealed: what is left of those that are sealed already, else the next ones. */
static apr_status_t gather_sealed(sc_line_t *line, struct iovec *iov)
{
    sc_secured_t *sec = line->secured;
    sc_queued_t *f = sc_secured_empty(sec) ? line->head : NULL;

    while (f != NULL && sec->out.len < SEAL_AHEAD) {
        apr_status_t rv = sc_sealed_put(&sec->out, &sec->sending, f->bytes.data, f->bytes.len);

        if (rv != APR_SUCCESS) {
            return rv;
        }
        f->size = f->bytes.len + SC_SEAL_TAG;
        f = f->wants_ack ? NULL : f->next;
    }
    iov[0].iov_base = sec->out.data + sec->sent;
    iov[0].iov_len = sec->out.len - sec->sent;
    return APR_SUCCESS;
}

static void written(sc_line_t *line, apr_size_t n)
{
    SC_NET_COUNT(line->s->env, bytes_out, n);
    if (line->secured != NULL) {
        n = sc_secured_wrote(line->secured, n);
    }
    while (n > 0) {
        sc_queued_t *f = line->head;
        apr_size_t rest = f->size - f->sent;
        apr_size_t part = n < rest ? n : rest;

        f->sent += part;
        n -= part;
        if (f->sent < f->size) {
            return;
        }
        SC_NET_COUNT(line->s->env, frames_out, 1);
        if (f->wants_ack) {
            return;
        }
        sc_line_head_ended(line, APR_SUCCESS);
    }
}

apr_status_t sc_line_write(sc_line_t *line)
{
    while (sc_line_has_output(line)) {
        struct iovec iov[GATHER];
        struct msghdr mh;
        ssize_t n;

        memset(&mh, 0, sizeof(mh));
        mh.msg_iov = iov;
        mh.msg_iovlen = 1;
        if (line->secured == NULL) {
            mh.msg_iovlen = (size_t)gather(line, iov);
        } else {
            apr_status_t rv = gather_sealed(line, iov);

            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        n = sendmsg(line->sock.fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno == EWOULDBLOCK ? APR_EAGAIN : errno;
        }
        written(line, (apr_size_t)n);
    }
    return APR_SUCCESS;
}

/* ---- reading acknowledgements --------------------------------------------------------------- */

/** Bytes of the other side: an acknowledgement if one is awaited, and nothing else ever. */
static apr_status_t take_answer(sc_line_t *line, const unsigned char *p, apr_size_t n)
{
    apr_size_t size = line->secured != NULL ? SC_SEALED_ACK : SC_ACK_FRAME;
    apr_status_t rv;
    int fail = 0;

    if (!awaits_ack(line) || n > size - line->answered) {
        return APR_EINVAL;
    }
    memcpy(line->answer + line->answered, p, n);
    line->answered += n;
    if (line->secured == NULL) {
        rv = sc_frame_answer(line->answer, line->answered, &fail);
    } else {
        rv = sc_sealed_answer(&line->secured->receiving, line->answer, line->answered, &fail);
    }
    if (rv == APR_EACCES) { /* it counts only when it is authentic */
        SC_NET_COUNT(line->s->env, frames_forged, 1);
        sc_secured_complain(line->s->env, &line->s->shake_log, &line->to, SC_LOG_WARNING,
                            "an acknowledgement is not authentic");
    }
    if (rv != APR_SUCCESS) {
        return rv == APR_EAGAIN ? APR_SUCCESS : rv;
    }
    line->answered = 0;
    if (fail && !line->known) {
        return APR_EGENERAL;
    }
    line->known = line->to.ours;
    sc_line_head_ended(line, fail ? APR_EGENERAL : APR_SUCCESS);
    return APR_SUCCESS;
}

apr_status_t sc_line_read(sc_line_t *line)
{
    for (;;) {
        unsigned char bytes[4 * SC_ACK_FRAME];
        ssize_t n = recv(line->sock.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        apr_status_t rv;

        if (n == 0) {
            return APR_EOF;
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno == EAGAIN || errno == EWOULDBLOCK ? APR_SUCCESS : errno;
        }
        rv = take_answer(line, bytes, (apr_size_t)n);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
}
