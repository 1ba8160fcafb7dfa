/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_link.h
 * @brief Room "engine": the link between the children and the engine of one node.
 *
 * AF_UNIX SOCK_SEQPACKET. The parent creates and keeps the listening socket, so a dead engine
 * refuses nobody: a child's connect and request wait in the kernel for its successor. One request
 * at a time per connection; a child keeps a small stock of connections for its threads.
 *
 * Request and answer are messages; a message larger than one packet is cut into pieces of at most
 * SC_LINK_PACKET bytes, each with this head (host byte order, one machine):
 *
 *   u32 magic "SCL1" | u32 abi | u32 serial | u16 op | u16 flags | u32 total | u32 offset | bytes
 *
 * serial is the child's number of the request, repeated in the answer, so that the late answer to a
 * request that was given up is recognised and dropped. abi is SC_LINK_ABI: an engine that is
 * older or newer than the child (module upgrade) is noticed at the first message.
 *
 * Bodies are written with sc_buf.h. Every length is checked; a bad packet closes its connection.
 */
#ifndef SC_LINK_H
#define SC_LINK_H

#include "sc_base.h"
#include "sc_buf.h"
#include "sc_loop.h"

#define SC_LINK_ABI 1
#define SC_LINK_MAGIC 0x53434C31u
#define SC_LINK_HEAD 24
#define SC_LINK_PACKET 61440 /**< bytes of one packet at most, head included */

typedef enum sc_link_op_t {
    SC_LINK_CHANGE = 1,    /**< sc_change_t: create or change a session */
    SC_LINK_REMOVE = 2,    /**< sc_change_t without attributes: invalidate */
    SC_LINK_FETCH = 3,     /**< find a session that the store does not have, or not for sure */
    SC_LINK_CHANGE_ID = 4, /**< sc_change_t with new_id: rename and change in one operation */
    SC_LINK_TAKEOVER =
        5,               /**< become primary of a session that is here (route of the cookie died) */
    SC_LINK_PING = 6,    /**< answered at once */
    SC_LINK_DRAIN = 7,   /**< no body: this node is to be free; SC_REFUSED: alone, or a balancer */
    SC_LINK_UNDRAIN = 8, /**< no body: it serves as before */
    SC_LINK_LAST = SC_LINK_UNDRAIN,
    SC_LINK_ANSWER = 0x100
} sc_link_op_t;

/** Outcome of a request, first byte of an answer's body. */
typedef enum sc_outcome_t {
    SC_DONE = 0,       /**< applied; every live target acknowledged (or none had to) */
    SC_DEGRADED,       /**< applied here; the bounded wait ran out before all acknowledged */
    SC_NOT_REPLICATED, /**< as SC_DEGRADED, and SessionClusterSendOptions onTimeout=fail asks to
                          refuse */
    SC_FOUND,          /**< FETCH: it is in the store now */
    SC_ABSENT,         /**< FETCH, CHANGE of an existing one: it surely does not exist (any more) */
    SC_UNKNOWN,        /**< FETCH: could not be found out in time */
    SC_TOO_LARGE,      /**< over SessionClusterMaxSessionSize; the old state stays */
    SC_FULL,           /**< store full, new session refused */
    SC_NO_QUORUM,      /**< fewer live members than SessionClusterQuorum */
    SC_REFUSED         /**< malformed */
} sc_outcome_t;

const char *sc_outcome_name(sc_outcome_t outcome);

/* ---- child's side: called from any thread of a child ---------------------------------------- */

typedef struct sc_link_client_t sc_link_client_t;

/**
 * A stock of connections to the engine, empty at first.
 * @param path of the engine's UNIX socket (shorter than sun_path); copied
 * @param keep idle connections kept at most
 * @param pool as long as the child; its cleanup closes the connections
 */
apr_status_t sc_link_client_create(sc_link_client_t **client, const char *path, apr_uint32_t keep,
                                   apr_pool_t *pool);

/**
 * Send one request and wait for its answer. Thread-safe. When the engine dies meanwhile the request
 * is sent again (flag SC_LINK_AGAIN) to its successor until the deadline.
 * @param timeout microseconds for everything; the call never takes longer
 * @param answer receives the answer's body (cleared first); its limit bounds the size accepted
 * @return APR_SUCCESS; APR_TIMEUP; APR_EMISMATCH: engine of another ABI; errors of the socket calls
 */
apr_status_t sc_link_call(sc_link_client_t *client, sc_link_op_t op, const sc_buf_t *request,
                          apr_interval_time_t timeout, sc_buf_t *answer);

/** Flag of a request that was sent before, to an engine that died before it answered. */
#define SC_LINK_AGAIN 0x1

/* ---- engine's side --------------------------------------------------------------------------- */

typedef struct sc_link_server_t sc_link_server_t;
typedef struct sc_link_conn_t sc_link_conn_t;

/** Names one open request. Stays valid after its connection is gone: answering it is then a no-op.
 */
typedef struct sc_link_call_t {
    sc_link_conn_t *conn;
    apr_uint64_t conn_serial;
    apr_uint32_t serial;
} sc_link_call_t;

typedef struct sc_link_handler_t {
    void *baton;
    /** One whole request. body is valid during the call only. Answer now or later, exactly once. */
    void (*request)(void *baton, const sc_link_call_t *call, sc_link_op_t op, int again,
                    const unsigned char *body, apr_size_t len);
    /** A packet was refused and its connection closed. */
    void (*refused)(void *baton, const char *why);
} sc_link_handler_t;

/**
 * Serve children.
 * @param listen_fd listening SEQPACKET socket, inherited from the parent; not closed by the server
 * @param max_message bytes of a request at most
 * @param max_conns connections at most; further callers wait in the kernel's queue
 */
apr_status_t sc_link_server_create(sc_link_server_t **server, sc_loop_t *loop, int listen_fd,
                                   apr_size_t max_message, apr_uint32_t max_conns,
                                   const sc_link_handler_t *handler, apr_pool_t *pool);

/** Answer a request: outcome byte first, by convention. A caller that is gone is no error. */
apr_status_t sc_link_answer(sc_link_server_t *server, const sc_link_call_t *call, const void *body,
                            apr_size_t len);

/** Connections open now. */
apr_uint32_t sc_link_server_conns(const sc_link_server_t *server);

/** Close all connections (at the end of an engine; callers repeat their requests elsewhere). */
void sc_link_server_close(sc_link_server_t *server);

/**
 * For the parent: create, bind and listen.
 * @param path replaced if it is a stale socket; mode 0600, owned by uid/gid when uid != -1
 * @param fd receives the descriptor, close-on-exec
 */
apr_status_t sc_link_listen(const char *path, int backlog, apr_uid_t uid, apr_gid_t gid, int *fd);

#endif
