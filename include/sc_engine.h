/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_engine.h
 * @brief Room "engine": one node's engine put together: loop, link, manager, channel, transport.
 *
 * Out: link -> manager -> channel -> interceptors -> sender. In: the same way back. This file only
 * ties the layers' function structs to each other; it knows nothing of httpd.
 */
#ifndef SC_ENGINE_H
#define SC_ENGINE_H

#include "sc_channel.h"
#include "sc_events.h"
#include "sc_manager.h"

typedef struct sc_engine_t sc_engine_t;

typedef struct sc_engine_setup_t {
    const sc_config_t *config; /**< as long as the engine */
    const sc_clock_t *clock;
    const sc_log_t *log;
    sc_store_t *store;
    const sc_secrets_t *secrets; /**< as in sc_net_config_t */
    int link_fd;                 /**< listening UNIX socket */
    int listen_fd;               /**< listening TCP socket; -1 stand-alone */
    int group_fd;                /**< -1 without multicast */
    int control_fd;              /**< SEQPACKET to the parent; -1: none (tests) */
    /** A message of the parent; fds are the callee's. */
    void (*control)(void *baton, const unsigned char *msg, apr_size_t len, int fd);
    sc_tell_fn_t *tell; /**< what happens; with baton; NULL: nobody listens */
    void *baton;
} sc_engine_setup_t;

/** Recover the store and build all layers. Nothing is sent yet. */
apr_status_t sc_engine_create(sc_engine_t **e, const sc_engine_setup_t *setup, apr_pool_t *pool);
/** Serve until sc_engine_stop; then leave the group if asked to. */
apr_status_t sc_engine_run(sc_engine_t *e);
/** End the loop. May be called from a signal handler.
 *  @param leave 1: good-bye to the members; 0: a successor takes over at once, say nothing */
void sc_engine_stop(sc_engine_t *e, int leave);
/** This node is about to be stopped and serves what is under way: see sc_manager_leave. */
void sc_engine_leave(sc_engine_t *e);
/** The loop, for watches of the process around it. */
sc_loop_t *sc_engine_loop(sc_engine_t *e);

#endif
