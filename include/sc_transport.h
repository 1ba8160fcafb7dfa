/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_transport.h
 * @brief Room "channel": what lies below the interceptors: frames to members, datagrams to a group.
 *
 * A small struct of functions, so that the simulator can put its own network here. The real one is
 * made of sender.c, receiver.c and group.c (sockets on the engine's event loop).
 */
#ifndef SC_TRANSPORT_H
#define SC_TRANSPORT_H

#include "sc_frame.h"
#include "sc_loop.h"
#include "sc_secret.h"

/**
 * End of a send. APR_SUCCESS: written (without USE_ACK) or acknowledged; APR_EGENERAL: FAIL_ACK;
 * APR_TIMEUP; APR_ECONNABORTED: the member was forgotten meanwhile; APR_ENOSPC: its queue is full;
 * else the socket's error. Called exactly once per send, never from within the send call itself.
 */
typedef void sc_sent_fn_t(void *baton, apr_status_t rv);

/** Data frames, small control frames (heartbeats of static membership) and bulk go on connections
 * of their own, so that a long queue does not look like a dead member, and sessions do not wait
 * behind files. */
typedef enum sc_lane_t { SC_LANE_DATA = 0, SC_LANE_CONTROL = 1, SC_LANE_BULK = 2 } sc_lane_t;
#define SC_LANES 3

/** An address that a name stands for. */
typedef struct sc_address_t {
    apr_byte_t len; /**< 4 or 16 */
    unsigned char host[16];
} sc_address_t;

/** End of a look-up. @param rv APR_SUCCESS; APR_NOTFOUND: no such name; APR_TIMEUP; APR_EGENERAL:
 *  could not be looked up now
 *  @param found valid during the call, at most SC_ADDRESSES_MAX */
typedef void sc_resolved_fn_t(void *baton, apr_status_t rv, const sc_address_t *found,
                              apr_size_t n);

/** More addresses of one name than this are left out. It is one more than all members can have with
 *  both families, so that whoever is told so many knows that there may be more. */
#define SC_ADDRESSES_MAX (2 * SC_MEMBERS_MAX + 1)

typedef struct sc_transport_t {
    void *ctx;
    /** Queue one packet for a member; it is copied. On each lane one frame waits for its
     * acknowledgement, the others wait behind it, in order (Tribes' acks carry no id:
     * tribes-protocol 2.3). A packet whose options say UDP or MULTICAST goes past all of that in a
     * datagram, to the member's UDP port or to the group. */
    void (*send)(void *ctx, const sc_member_t *to, sc_lane_t lane, const sc_packet_t *packet,
                 sc_sent_fn_t *done, void *baton);
    /** Ask a member for a sign of life on a fresh connection, past everything that is queued.
     *  @param packet NULL: a connection that is accepted is sign enough
     *  @param timeout microseconds for connect, write and (when options ask for one) the ack */
    void (*probe)(void *ctx, const sc_member_t *to, const sc_packet_t *packet,
                  apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton);
    /** Close the connections to a member, end everything queued with APR_ECONNABORTED. */
    void (*forget)(void *ctx, const sc_member_t *member);
    /** Bytes and frames waiting for a member, unacknowledged ones included. */
    void (*queued)(void *ctx, const sc_member_t *member, apr_uint64_t *bytes, apr_uint32_t *frames);
    /** One datagram to the group. */
    apr_status_t (*group_send)(void *ctx, const void *bytes, apr_size_t len);
    /** All IPv4 and IPv6 addresses of a name, without blocking. One name is looked up at a time;
     * who asks meanwhile waits, and is answered in turn. Each asker has one question at a time.
     * done is called once, never from within the call, and not any more when the transport is
     * closed. NULL: this transport has no resolver. @return APR_SUCCESS; APR_EBUSY: too many wait
     * (the transports of tests have no queue at all), ask again later; else why it cannot be begun.
     * If it is not APR_SUCCESS done is not called */
    apr_status_t (*resolve)(void *ctx, const char *name, sc_resolved_fn_t *done, void *baton);
} sc_transport_t;

/** Who gets what comes in. */
typedef struct sc_transport_up_t {
    void *baton;
    /** A frame; valid during the call. What came in a datagram has the option UDP. @return
     * APR_SUCCESS: acknowledged if asked for; else, for SYNCHRONIZED_ACK, FAIL_ACK */
    apr_status_t (*packet)(void *baton, const sc_packet_t *packet);
    /** A datagram of the group, unchecked. */
    void (*datagram)(void *baton, const void *bytes, apr_size_t len);
} sc_transport_up_t;

typedef struct sc_net_t sc_net_t;

typedef struct sc_net_config_t {
    const sc_config_t *config;
    int listen_fd; /**< listening TCP socket of the receiver, made by the parent; -1: none */
    int group_fd;  /**< UDP socket in the group, made by sc_group_open; -1: none */
    sc_board_t *board;
    const sc_log_t *log;
    const sc_secrets_t *secrets; /**< NULL or none in it: nothing is sealed; copied */
    sc_uid_t uid;                /**< of this node, which it proves with a secret */
} sc_net_config_t;

/** The real transport on an event loop. @param pool as long as the engine */
apr_status_t sc_net_create(sc_net_t **net, sc_loop_t *loop, const sc_net_config_t *cfg,
                           const sc_transport_up_t *up, apr_pool_t *pool);
const sc_transport_t *sc_net_transport(sc_net_t *net);
/** Port of the UDP receiver; 0: there is none. */
apr_uint32_t sc_net_udp_port(const sc_net_t *net);
/** Stop receiving, close everything. Open sends end with APR_ECONNABORTED, within the call. Not to
 * be called from within one of the transport's own callbacks. The descriptors stay open: they are
 * the parent's. */
void sc_net_close(sc_net_t *net);
/** Send as much of what is queued as goes within the time (for the last messages of an engine that
 *  leaves), including the wait for acknowledgements; blocks, runs no other callbacks than those of
 *  the sends that end. @param timeout microseconds */
void sc_net_drain(sc_net_t *net, apr_interval_time_t timeout);

/* ---- for the parent ------------------------------------------------------------------------- */

/** Connections that the kernel accepts for the receiver in advance. */
#define SC_RECEIVER_BACKLOG 511

/**
 * Create, bind and listen: address:port, or the next free port up to port + auto_bind - 1.
 * @param port in: first to try; out: bound
 * @return APR_SUCCESS; the error of the last bind
 */
apr_status_t sc_receiver_listen(const char *address, apr_uint32_t *port, apr_uint32_t auto_bind,
                                int *fd);
/** The address "auto" stands for: that of the interface towards the group (or the first static
 *  member), loopback only when that is loopback. Numeric text into out. @return APR_SUCCESS;
 *  APR_INCOMPLETE: the name of dns has no address now, this is the one towards the world; error */
apr_status_t sc_receiver_auto(const sc_config_t *c, char out[SC_HOST_MAX + 1], apr_pool_t *scratch);
/** UDP socket bound to the group's port, joined, ready to send (tribes-protocol 1.3, 1.5).
 *  @return APR_SUCCESS; the error of the call that failed, its name in *what */
apr_status_t sc_group_open(const sc_config_t *c, int *fd, const char **what);

#endif
