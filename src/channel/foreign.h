/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file foreign.h
 * @brief Private to room "channel": members without this cluster's mark (Tomcats), where they are
 *        accepted.
 *
 * They are seen and can exchange byte messages. They have no outbox and no stream, and the layer
 * above is never told of them: so they get no session message and count for nothing.
 */
#ifndef SC_FOREIGN_H
#define SC_FOREIGN_H

#include "sc_interceptor.h"

#define SC_FOREIGN_MAX 16

typedef struct sc_foreign_member_t {
    sc_member_t member;
    int suspect;
    apr_time_t since; /**< of its last change of state */
    apr_time_t heard; /**< its last message; heartbeats are membership's */
} sc_foreign_member_t;

typedef struct sc_foreign_t {
    const sc_chain_env_t *env;
    sc_foreign_member_t *at[SC_FOREIGN_MAX];
    apr_size_t n;
} sc_foreign_t;

/** @return NULL when it is not known */
sc_foreign_member_t *sc_foreign_find(const sc_foreign_t *f, const sc_member_t *m);
/** @return 0: there is no room for it */
int sc_foreign_added(sc_foreign_t *f, const sc_member_t *m);
void sc_foreign_changed(sc_foreign_t *f, const sc_member_t *m);
void sc_foreign_suspected(sc_foreign_t *f, const sc_member_t *m, int suspect);
void sc_foreign_gone(sc_foreign_t *f, const sc_member_t *m, int goodbye);
void sc_foreign_clear(sc_foreign_t *f);

/* ---- remote procedure calls of Tribes (tribes-protocol 6) ----------------------------------- */

/** A longer name of a channel is none that a Tomcat gives. */
#define SC_RPC_ID_MAX 900

typedef struct sc_rpc_t {
    int reply;
    const unsigned char *uuid; /**< 16 bytes */
    const unsigned char *id;   /**< name of the channel of calls */
    apr_size_t id_len;
} sc_rpc_t;

/** Read what a Java object says of itself when it is an RpcMessage; what it carries is not looked
 *  at. @return APR_SUCCESS, or APR_EINVAL when it is anything else */
apr_status_t sc_rpc_get(sc_rpc_t *rpc, const void *bytes, apr_size_t len);
/** Append the object that says that nobody here answers such calls. */
void sc_rpc_put_no_channel(sc_buf_t *b, const sc_rpc_t *request);

#endif
