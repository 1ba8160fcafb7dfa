/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What outlives a restart of httpd, shared by engine_process.c (the engine's process) and
 * resources.c (its memory and sockets). Plain data: no function pointers, since the module is
 * unloaded and loaded again.
 */
#ifndef SC_RETAINED_H
#define SC_RETAINED_H

#include "sc_httpd.h"

#include "apr_thread_proc.h"

/** What one build of the module remembers of its last start. */
typedef struct sc_retained_own_t {
    sc_config_t config; /* what the engine runs with */
    char build[96];     /* which file of the module it runs */
    struct {            /* what its socket was made for */
        char address[SC_HOST_MAX + 1];
        char bind[SC_HOST_MAX + 1]; /* of its interface: bind=, else the receiver's address */
        apr_uint32_t port;
        apr_int32_t ttl;
        apr_uint32_t no_loopback;
    } group;
    apr_time_t started;           /* of the last engine, mono */
    int crashes;                  /* in a row */
    apr_time_t not_before;        /* mono: no new engine earlier */
    apr_uint32_t deploy_restarts; /* that the deployer has asked for and that were made */
} sc_retained_own_t;

/** Plain data that survives restarts, also when another build of the module is loaded at one: so
 *  this stays as it is in all of them. APR and httpd point at it, too. */
typedef struct sc_retained_t {
    pid_t parent;
    void *base; /* of the store */
    apr_size_t bytes;
    int link_fd;
    int listen_fd;
    int group_fd;
    int control_fd;  /* the parent's end; -1: no engine */
    apr_proc_t proc; /* of the engine; also noted in the process pool */
    int noted;
    int running;
    int leaving; /* it has been told that httpd stops gracefully */
    apr_uint32_t restarts;
    apr_uint64_t layout;    /* of what is next */
    sc_retained_own_t *own; /* begun anew by a build that lays it out differently */
} sc_retained_t;

/** The record of this process; NULL: there was no start yet, as in a configtest. */
sc_retained_t *sc_process_retained(void);
/** End the running engine, without a good-bye, so that a successor can take its place. */
void sc_process_hand_over(sc_retained_t *kept);
/** End the running engine as at a stop, because nobody can go on with its memory: it leaves, and
 *  writes its snapshot. */
void sc_process_end(sc_retained_t *kept);

/** Make the store, or find the one of before the restart; a handle goes into *store. */
apr_status_t sc_resources_store(sc_retained_t *kept, sc_server_conf_t *conf, server_rec *s,
                                sc_store_t **store, apr_pool_t *pconf);
/** Make the sockets that are not there yet or whose settings changed; completes conf->engine with
 *  the address and port that are really bound. What went wrong has been logged. */
apr_status_t sc_resources_sockets(sc_retained_t *kept, sc_server_conf_t *conf, server_rec *s,
                                  apr_pool_t *ptemp);
/**
 * The address that "auto" stands for; when none is found, that of the listener from before this
 * restart.
 * @param why receives why none was found, APR_SUCCESS when one was
 */
apr_status_t sc_resources_auto(const sc_server_conf_t *conf, char out[SC_HOST_MAX + 1],
                               apr_status_t *why, apr_pool_t *ptemp);
/** Path of the UNIX socket that children call the engine on. */
const char *sc_resources_link_path(apr_pool_t *p);

#endif
