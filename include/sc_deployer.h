/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_deployer.h
 * @brief Room "deployer": the same files in deployDir on all nodes (farm deployment).
 *
 * A node with watchEnabled=true takes what is added, changed or removed in its watchDir. Every node
 * keeps a catalogue of what is in its deployDir, and members compare catalogues and fetch what
 * differs, from whoever has it:
 *
 *   watchDir ─▶ watcher ─▶ deployDir, catalogue          members say sums of their catalogues,
 *                             ▲            ▲             ask for those that differ, and then for
 *   members ◀─ messages ─▶ exchange ─▶ fetch             blocks of files, a few at a time
 *
 * Of two versions of a file the one with the higher stamp counts (a hybrid logical clock, then the
 * tag of the node that made it); a removal is a version without content. So nodes with the same
 * versions are equal, whatever came in which order.
 *
 * A file appears in deployDir by a rename in the same file system, when it is whole, its checksum
 * is right and it is on the disk. What a name may be is narrow (sc_deploy_name), and it is resolved
 * from deployDir downwards without following a link.
 *
 * Files are read, written and hashed by a process of its own, which the engine forks and which ends
 * with it; the engine only carries messages between that process and the channel. The room promises
 * that no message of a member, whatever is in it, makes it write outside of deployDir and tempDir,
 * or use more memory and disk than its limits say.
 */
#ifndef SC_DEPLOYER_H
#define SC_DEPLOYER_H

#include "sc_channel.h"
#include "sc_config.h"

/** Longest name of a file, below deployDir, with its directories, in bytes. */
#define SC_DEPLOY_NAME_MAX 255
/** Most directories in it. */
#define SC_DEPLOY_DEPTH_MAX 16
/** Most bytes of a file in one message: it has to fit into a packet between two processes. */
#define SC_DEPLOY_BLOCK_MAX (128 * 1024)

/** Whether this may be the name of a deployed file: components joined by single slashes, none empty
 *  and none that begins with a dot, no control characters and no backslash. */
int sc_deploy_name(const char *name, apr_size_t len);

/** Whether a byte message of the channel is one of deployers. */
int sc_deploy_is(const void *bytes, apr_size_t len);

/** Cut a command into a program and its arguments, as a shell would that knows nothing but quotes
 *  and backslashes. @return APR_SUCCESS; APR_EINVAL: there is none, or it is no absolute path */
apr_status_t sc_deploy_command(char ***argv, const char *command, apr_pool_t *p);

typedef struct sc_deployer_t sc_deployer_t;

typedef struct sc_deployer_env_t {
    const sc_config_t *config;
    sc_loop_t *loop;
    const sc_log_t *log;
    sc_board_t *board;
    void *ctx;
    /** As sc_channel_send_bulk. */
    apr_status_t (*send)(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                         sc_sent_fn_t *done, void *baton);
} sc_deployer_env_t;

/** @param pool as long as the engine */
apr_status_t sc_deployer_create(sc_deployer_t **d, const sc_deployer_env_t *env, apr_pool_t *pool);
/** Begin: makes the process, and makes it again when it ends. */
void sc_deployer_start(sc_deployer_t *d);
/** End it; nothing is sent any more. */
void sc_deployer_stop(sc_deployer_t *d);

/* what the channel says; members are those of sc_channel_up_t */
void sc_deployer_member_added(sc_deployer_t *d, const sc_member_t *m);
void sc_deployer_member_gone(sc_deployer_t *d, const sc_member_t *m);
/** A message that sc_deploy_is says is one. Of who is no member it is ignored. */
void sc_deployer_message(sc_deployer_t *d, const sc_member_t *from, const void *bytes,
                         apr_size_t len);

#endif
