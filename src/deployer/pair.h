/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file pair.h
 * @brief Private to room "deployer": the engine's end of the pair, and the process behind it.
 */
#ifndef SC_DEPLOYER_PAIR_H
#define SC_DEPLOYER_PAIR_H

#include "internal.h"

/** Bytes before what a packet carries: what it is, and the member. */
#define SC_PAIR_HEAD (1 + sizeof(apr_uint32_t))

typedef struct sc_pair_packet_t sc_pair_packet_t;

/** Who uses it. */
typedef struct sc_pair_up_t {
    void *baton;
    /** There is a process, and it knows nothing. */
    void (*begun)(void *baton);
    /** It has ended; another one will come. May be called from within sc_pair_tell. */
    void (*ended)(void *baton);
    /** It has said something; bytes are valid during the call. */
    void (*packet)(void *baton, unsigned int what, const unsigned char *bytes, apr_size_t len);
} sc_pair_up_t;

typedef struct sc_pair_t {
    sc_deployer_env_t env;
    sc_pair_up_t up;
    apr_pool_t *pool;
    int fd; /**< -1: no process */
    pid_t pid;
    apr_time_t born;
    apr_pool_t *sock_pool;
    apr_socket_t *sock;
    sc_watch_t watch;
    sc_timer_t again;
    sc_pair_packet_t *queue;
    sc_pair_packet_t **tail;
    apr_size_t queued;
    sc_log_limit_t death_log;
    unsigned char in[SC_DEPLOY_PACKET_MAX];
} sc_pair_t;

/** @param pool as long as the engine */
void sc_pair_init(sc_pair_t *p, const sc_deployer_env_t *env, const sc_pair_up_t *up,
                  apr_pool_t *pool);
/** Make the process. */
void sc_pair_start(sc_pair_t *p);
/** End it, and make no other. */
void sc_pair_stop(sc_pair_t *p);
/** Tell it something about a member; nothing happens while there is no process. @param bytes copied
 */
void sc_pair_tell(sc_pair_t *p, unsigned int what, apr_uint32_t ref, const void *bytes,
                  apr_size_t len);

#endif
