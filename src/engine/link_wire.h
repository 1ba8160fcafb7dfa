/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file link_wire.h
 * @brief Private to the link: packets, shared by the child's and the engine's side.
 *
 * A message is sent as one packet or more. The head of each packet says how long the whole message
 * is and where the packet's piece begins in it; a socket of packets keeps their order, so the
 * pieces must come without gap, one message after the other.
 */
#ifndef SC_LINK_WIRE_H
#define SC_LINK_WIRE_H

#include "sc_link.h"

/** Bytes of a message in one packet at most. */
#define SC_LINK_PIECE (SC_LINK_PACKET - SC_LINK_HEAD)

/**
 * Requests that may be open on one connection. A child has one, plus those it gave up and whose
 * answers are still to come (at most SC_LINK_LATE_MAX, with more it takes another connection).
 */
#define SC_LINK_LATE_MAX 2
#define SC_LINK_OPEN_MAX (SC_LINK_LATE_MAX + 2)

/** The head as it is on the wire: host byte order, no padding. */
typedef struct sc_link_head_t {
    apr_uint32_t magic;
    apr_uint32_t abi;
    apr_uint32_t serial;
    apr_uint16_t op;
    apr_uint16_t flags;
    apr_uint32_t total;  /**< bytes of the message */
    apr_uint32_t offset; /**< of this packet's piece; when sending: of the next one */
} sc_link_head_t;

_Static_assert(sizeof(sc_link_head_t) == SC_LINK_HEAD, "the head is the wire format");

/** A message of which the first pieces have come. */
typedef struct sc_link_join_t {
    sc_link_head_t first;
    int open; /**< 0: no piece yet, so a zeroed one is idle */
} sc_link_join_t;

/** Head of a message's first packet. */
void sc_wire_head(sc_link_head_t *head, apr_uint32_t serial, unsigned int op, unsigned int flags,
                  apr_size_t total);

/**
 * Check one packet by itself.
 * @param why receives the reason of a refusal
 * @return APR_SUCCESS; APR_EMISMATCH: of another abi (head holds as much as came); APR_EINVAL
 */
apr_status_t sc_wire_check(sc_link_head_t *head, const unsigned char *packet, apr_size_t n,
                           const char **why);

/**
 * Append one checked packet's piece to the message it belongs to.
 * @param body empty for a message's first piece; its limit bounds the memory
 * @param whole receives whether the message is complete (join is idle again then)
 * @return APR_SUCCESS; APR_EINVAL with the reason in why; APR_ENOSPC; APR_ENOMEM
 */
apr_status_t sc_wire_join(sc_link_join_t *join, const sc_link_head_t *head,
                          const unsigned char *piece, apr_size_t n, sc_buf_t *body, int *whole,
                          const char **why);

/**
 * Send the packets of a message from head->offset on; never waits, head->offset goes on.
 * @return APR_SUCCESS: all sent; APR_EAGAIN: the rest later; errors of sendmsg
 */
apr_status_t sc_wire_send(int fd, sc_link_head_t *head, const unsigned char *body);

/** Make the send buffer take several full packets, however small the system's default is. */
void sc_wire_tune(int fd);

/** Fill the address of a UNIX socket. @return APR_ENAMETOOLONG; APR_EINVAL: empty */
struct sockaddr_un;
apr_status_t sc_wire_addr(struct sockaddr_un *addr, const char *path);

#endif
