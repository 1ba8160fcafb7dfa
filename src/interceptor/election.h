/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file election.h
 * @brief Private to room "interceptor": the messages of NonBlockingCoordinator (tribes-protocol
 *        4.12), as bytes and as a struct.
 */
#ifndef SC_ELECTION_H
#define SC_ELECTION_H

#include "members.h"

/** Bytes of a message at most: 64 members of ours, leader and source. */
#define SC_ELECTION_MAX (256 * 1024)

/** A token that travels round, or the view that came out of it. Large: not for the stack. */
typedef struct sc_election_t {
    int conf; /**< 1: the view is confirmed; 0: a token that asks for it */
    sc_member_t leader;
    sc_member_t source;
    sc_uid_t id;
    sc_members_t members;
} sc_election_t;

/** Append the message. Members are written in their order. */
void sc_election_put(sc_buf_t *b, const sc_election_t *e);
/** Whether bytes begin like such a message. */
int sc_election_is(const void *bytes, apr_size_t len);
/** Decode. @return APR_SUCCESS; APR_EINVAL: malformed, or more members than a view can hold */
apr_status_t sc_election_get(sc_election_t *e, const void *bytes, apr_size_t len);

#endif
