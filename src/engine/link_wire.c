/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Packets of the link, and what both of its sides need besides.
 *
 * Bytes from the other side are checked here once: a packet by itself (sc_wire_check), then its
 * place in a message (sc_wire_join). Memory for a message grows with the bytes that have come, not
 * with the total that a head promises.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "link_wire.h"

/* Packets that the send buffer should take, so that long messages flow without a wait each. */
#define TUNE_PACKETS 4

void sc_wire_head(sc_link_head_t *head, apr_uint32_t serial, unsigned int op, unsigned int flags,
                  apr_size_t total)
{
    head->magic = SC_LINK_MAGIC;
    head->abi = SC_LINK_ABI;
    head->serial = serial;
    head->op = (apr_uint16_t)op;
    head->flags = (apr_uint16_t)flags;
    head->total = (apr_uint32_t)total;
    head->offset = 0;
}

apr_status_t sc_wire_check(sc_link_head_t *head, const unsigned char *packet, apr_size_t n,
                           const char **why)
{
    apr_size_t piece;

    memset(head, 0, sizeof(*head));
    memcpy(head, packet, n < sizeof(*head) ? n : sizeof(*head));
    /* Magic and abi are all that can be relied on between releases. */
    if (n < 8 || head->magic != SC_LINK_MAGIC) {
        *why = "not a packet of this link";
        return APR_EINVAL;
    }
    if (head->abi != SC_LINK_ABI) {
        *why = "packet of another release (abi)";
        return APR_EMISMATCH;
    }
    if (n < SC_LINK_HEAD || n > SC_LINK_PACKET) {
        *why = "packet too short or too long";
        return APR_EINVAL;
    }
    piece = n - SC_LINK_HEAD;
    if (head->offset > head->total || piece > head->total - head->offset) {
        *why = "piece exceeds its message";
        return APR_EINVAL;
    }
    if (piece == 0 && head->total != 0) {
        *why = "empty piece";
        return APR_EINVAL;
    }
    return APR_SUCCESS;
}

apr_status_t sc_wire_join(sc_link_join_t *join, const sc_link_head_t *head,
                          const unsigned char *piece, apr_size_t n, sc_buf_t *body, int *whole,
                          const char **why)
{
    *whole = 0;
    if (!join->open) {
        if (head->offset != 0) {
            *why = "message without its beginning";
            return APR_EINVAL;
        }
        if (head->total > body->limit) {
            *why = "message too large";
            return APR_ENOSPC;
        }
        join->first = *head;
        join->open = 1;
    } else if (head->serial != join->first.serial || head->op != join->first.op ||
               head->flags != join->first.flags || head->total != join->first.total) {
        *why = "message inside another";
        return APR_EINVAL;
    } else if (head->offset != body->len) {
        *why = "gap or repetition in a message";
        return APR_EINVAL;
    }
    sc_put(body, piece, n);
    if (body->err != APR_SUCCESS) {
        *why = "no memory for a message";
        return body->err;
    }
    if (body->len == head->total) {
        join->open = 0;
        *whole = 1;
    }
    return APR_SUCCESS;
}

apr_status_t sc_wire_send(int fd, sc_link_head_t *head, const unsigned char *body)
{
    do {
        apr_size_t n = head->total - head->offset;
        struct iovec iov[2];
        struct msghdr msg;

        if (n > SC_LINK_PIECE) {
            n = SC_LINK_PIECE;
        }
        memset(&msg, 0, sizeof(msg));
        iov[0].iov_base = head;
        iov[0].iov_len = SC_LINK_HEAD;
        msg.msg_iov = iov;
        msg.msg_iovlen = 1;
        if (n > 0) {
            iov[1].iov_base = (void *)(body + head->offset);
            iov[1].iov_len = n;
            msg.msg_iovlen = 2;
        }
        /* A packet is taken whole or not at all. */
        while (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                return APR_EAGAIN;
            }
            if (errno != EINTR) {
                return errno;
            }
        }
        head->offset += (apr_uint32_t)n;
    } while (head->offset < head->total);
    return APR_SUCCESS;
}

void sc_wire_tune(int fd)
{
    int size = 0;
    socklen_t len = sizeof(size);

    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0 &&
        size < TUNE_PACKETS * SC_LINK_PACKET) {
        size = TUNE_PACKETS * SC_LINK_PACKET;
        /* Where the system's bound is lower, sends wait more often; nothing else changes. */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
}

apr_status_t sc_wire_addr(struct sockaddr_un *addr, const char *path)
{
    apr_size_t len = strlen(path);

    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    if (len == 0) {
        return APR_EINVAL;
    }
    if (len >= sizeof(addr->sun_path)) {
        return APR_ENAMETOOLONG;
    }
    memcpy(addr->sun_path, path, len);
    return APR_SUCCESS;
}

const char *sc_outcome_name(sc_outcome_t outcome)
{
    switch (outcome) {
    case SC_DONE:
        return "done";
    case SC_DEGRADED:
        return "degraded";
    case SC_NOT_REPLICATED:
        return "not-replicated";
    case SC_FOUND:
        return "found";
    case SC_ABSENT:
        return "absent";
    case SC_UNKNOWN:
        return "unknown";
    case SC_TOO_LARGE:
        return "too-large";
    case SC_FULL:
        return "full";
    case SC_NO_QUORUM:
        return "no-quorum";
    case SC_REFUSED:
        return "refused";
    }
    return "invalid";
}
