/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Real sockets on loopback for the transport's tests: several sc_net_t on one event loop, and raw
 * peers that do what no member would. The loop's clock is the real one plus a skew, so that a test
 * of a timeout of 30 seconds does not take 30 seconds.
 */
#ifndef NET_PEER_H
#define NET_PEER_H

#include "net_rig.h"
#include "sc_transport.h"

#define PEER_NODES 4

typedef struct peer_env_t peer_env_t;

/** One sc_net_t and what it has received. */
typedef struct peer_node_t {
    peer_env_t *env;
    sc_config_t config;
    sc_secrets_t secrets; /* none, unless a test adds some before peer_start */
    sc_board_t board;
    sc_net_t *net;
    const sc_transport_t *t;
    const char *listens; /* where, 127.0.0.1 unless a test says else */
    int listen_fd;
    int group_fd;
    sc_member_t member; /* as others would address it */
    apr_status_t rv;    /* what packet() answers ... */
    int refusals;       /* ... so many times; -1: always */
    int packets;
    int datagrams;
    sc_uid_t last_id;
    apr_uint32_t last_options;
    apr_size_t last_len;
    char last[64];
    char log[4096];
    sc_log_t log_to;
} peer_node_t;

struct peer_env_t {
    apr_pool_t *pool;
    sc_loop_t *loop;
    sc_clock_t clock;
    apr_interval_time_t skew;
    peer_node_t node[PEER_NODES];
};

peer_env_t *peer_env(void);
void peer_env_end(peer_env_t *env);
/** Make node i: listens on a free port of 127.0.0.1; change its config before. */
void peer_start(peer_env_t *env, int i);
void peer_stop(peer_env_t *env, int i);

/** Run the loop until *value >= at_least. @return 0 when that did not happen within 10 s */
int peer_wait(peer_env_t *env, const int *value, int at_least);
/** Run the loop for a number of rounds without waiting, and a little while in between. */
void peer_spin(peer_env_t *env, int rounds);

/** Send a text. */
void peer_send(peer_node_t *from, const sc_member_t *to, const char *text, apr_uint32_t options,
               rig_end_t *end);
void peer_send_bytes(peer_node_t *from, const sc_member_t *to, const void *bytes, apr_size_t len,
                     apr_uint32_t options, rig_end_t *end);
void peer_probe(peer_node_t *from, const sc_member_t *to, apr_uint32_t options, int ms,
                rig_end_t *end);

/** A raw listener. @param m becomes a member with its address */
int peer_listen(sc_member_t *m);
/** Accept with the loop running. @return descriptor, -1 after 10 s */
int peer_accept(peer_env_t *env, int listener);
/** Read exactly len bytes with the loop running. @return 0 when they did not come */
int peer_read(peer_env_t *env, int fd, void *bytes, apr_size_t len);
/** Whether the other side has closed it, with the loop running, within 10 s. */
int peer_closed(peer_env_t *env, int fd);
/** A raw connection to a node's receiver; non-blocking. */
int peer_connect(const peer_node_t *to);
/** The same from another address of this machine. @param number of 127.<hi>.<lo>.1 */
int peer_connect_from(const peer_node_t *to, apr_uint32_t number);
/** The bytes of a frame with a text. */
void peer_frame(sc_buf_t *b, const char *text, apr_uint32_t options);

#endif
