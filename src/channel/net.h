/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file net.h
 * @brief Private to room "channel": the parts that the real transport is made of.
 *
 * Sockets are plain descriptors here: what APR lacks (sends without SIGPIPE, accepting in bursts
 * with close-on-exec, the pending error of a socket) is needed at every corner. APR's socket object
 * is only the handle by which the event loop watches a descriptor; it lives in a small pool of its
 * own, because connections come and go as long as the engine lives.
 */
#ifndef SC_NET_H
#define SC_NET_H

#include <sys/socket.h>

#include "sc_transport.h"

/** What the parts share. */
typedef struct sc_net_env_t {
    sc_loop_t *loop;
    sc_net_config_t cfg;
    sc_transport_up_t up;
    apr_pool_t *pool;
    sc_keyring_t *ring; /**< without keys: everything is plain */
} sc_net_env_t;

#define SC_NET_COUNT(env, name, n)                                                                 \
    do {                                                                                           \
        if ((env)->cfg.board != NULL) {                                                            \
            sc_count((env)->cfg.board, name, n);                                                   \
        }                                                                                          \
    } while (0)

/* ---- sock.c: a descriptor in the event loop ------------------------------------------------- */

typedef struct sc_sock_t {
    int fd; /**< -1: none */
    sc_loop_t *loop;
    apr_pool_t *pool;
    apr_socket_t *handle;
    sc_watch_t watch;
    apr_int16_t events; /**< asked for now */
} sc_sock_t;

/** Take over a descriptor. On failure it is left to the caller. */
apr_status_t sc_sock_open(sc_sock_t *s, int fd, sc_loop_t *loop, apr_pool_t *parent);
/** Ask for other events. Costs nothing when they are the same. */
apr_status_t sc_sock_watch(sc_sock_t *s, apr_int16_t events, sc_watch_fn_t *fn, void *baton);
/** Out of the loop; the descriptor is closed if close_fd. */
void sc_sock_close(sc_sock_t *s, int close_fd);

/** What the configuration asks for: no delay, keepalive, traffic class, buffers. */
void sc_sock_tune(int fd, const sc_config_sock_t *c);
void sc_sock_tune_udp(int fd, const sc_config_sock_t *c);
/** @return length of the address, 0 when the member has none */
socklen_t sc_sock_address(const sc_member_t *m, struct sockaddr_storage *out);
/** A numeric address and a port. @return length, 0: it is none */
socklen_t sc_sock_numeric(const char *address, apr_uint32_t port, struct sockaddr_storage *out);
/** "127.0.0.1:4000" for logs. @return out */
char *sc_sock_name(const struct sockaddr_storage *a, char out[SC_HOST_MAX + 8]);

/* ---- sender.c ------------------------------------------------------------------------------- */

typedef struct sc_sender_t sc_sender_t;

sc_sender_t *sc_sender_create(const sc_net_env_t *env);
void sc_sender_send(sc_sender_t *s, const sc_member_t *to, sc_lane_t lane,
                    const sc_packet_t *packet, sc_sent_fn_t *done, void *baton);
void sc_sender_probe(sc_sender_t *s, const sc_member_t *to, const sc_packet_t *packet,
                     apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton);
void sc_sender_forget(sc_sender_t *s, const sc_member_t *m);
void sc_sender_queued(const sc_sender_t *s, const sc_member_t *m, apr_uint64_t *bytes,
                      apr_uint32_t *frames);
void sc_sender_drain(sc_sender_t *s, apr_interval_time_t timeout);
void sc_sender_close(sc_sender_t *s);

/* ---- receiver.c ----------------------------------------------------------------------------- */

typedef struct sc_receiver_t sc_receiver_t;

apr_status_t sc_receiver_create(sc_receiver_t **r, const sc_net_env_t *env);
void sc_receiver_close(sc_receiver_t *r);

/* ---- udp.c: messages in datagrams (send options UDP and MULTICAST) ----------------------------
 */

typedef struct sc_udp_t sc_udp_t;
typedef struct sc_group_t sc_group_t;

sc_udp_t *sc_udp_create(const sc_net_env_t *env, sc_group_t *group);
/** Port of the receiver, 0: none. */
apr_uint32_t sc_udp_port(const sc_udp_t *u);
/** As sc_transport_t.send, for a packet whose options say UDP or MULTICAST. */
void sc_udp_send(sc_udp_t *u, const sc_member_t *to, const sc_packet_t *packet, sc_sent_fn_t *done,
                 void *baton);
void sc_udp_forget(sc_udp_t *u, const sc_member_t *m);
void sc_udp_close(sc_udp_t *u);

/* ---- resolver.c ----------------------------------------------------------------------------- */

typedef struct sc_resolver_t sc_resolver_t;

sc_resolver_t *sc_resolver_create(const sc_net_env_t *env);
/** As sc_transport_t.resolve. */
apr_status_t sc_resolver_ask(sc_resolver_t *r, const char *name, sc_resolved_fn_t *done,
                             void *baton);
void sc_resolver_close(sc_resolver_t *r);

/* ---- group.c -------------------------------------------------------------------------------- */

apr_status_t sc_group_create(sc_group_t **g, const sc_net_env_t *env);
apr_status_t sc_group_send(sc_group_t *g, const void *bytes, apr_size_t len);
/** How a send has ended: after too many failures the group is joined again. Not when there is none.
 */
void sc_group_sent(sc_group_t *g, apr_status_t rv);
void sc_group_close(sc_group_t *g);

#endif
