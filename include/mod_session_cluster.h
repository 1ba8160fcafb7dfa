/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mod_session_cluster.h
 * @brief For other modules: what happens to sessions and members, and functions for sessions.
 *
 * Everything here is optional: a module that uses it loads and works without mod_session_cluster,
 * in any order of LoadModule lines. Hooks are added with APR_OPTIONAL_HOOK in register_hooks,
 *
 *   APR_OPTIONAL_HOOK(session_cluster, session_cluster_session, on_session, NULL, NULL,
 *                     APR_HOOK_MIDDLE);
 *
 * and functions are looked up with APR_RETRIEVE_OPTIONAL_FN in a hook of optional_fn_retrieve;
 * NULL: mod_session_cluster is not there. test/e2e/mod_sc_listener is a whole module.
 *
 * Where listeners run
 *
 *   what a request of this node did        in its child, in its thread, r is the request, after the
 *   (created, changed, invalidated, new    change has been acknowledged and before the response
 *   id)                                    leaves
 *   all else (idled out, shutdown, moved,  in the engine, r is NULL
 *   became primary, members, replicas)
 *
 * The engine is one process for all children and its only thread is what replication waits for. It
 * tells events between other work, a few at a time, but while a listener runs it does nothing else:
 * a listener must not wait for anything there (network, locks, the engine itself by way of a
 * request to this server). Every call that takes longer than 50 ms is logged (SC1060), with the
 * listener's module; at 131072 events that wait further ones are not told any more (SC1061,
 * counter events_lost). A listener that crashes there takes the engine with it, which is started
 * anew and keeps the sessions.
 *
 * The engine is forked after post_config, without open descriptors other than its own and the error
 * log, as the user that children run as. It is kept over restarts of httpd, unless the
 * configuration of the cluster or the files of listeners' modules change; so what a listener wants
 * to keep up to date there it must not take from its own configuration.
 *
 * What an event does not give: names and values of attributes. In a request they are in its session
 * (mod_session's ap_session_load). Elsewhere session_cluster_attributes reads what this node holds
 * of the session at that moment, without waiting for anybody; that is what the event is about, or
 * newer. Of a session that has ended nothing is left: who needs its values then keeps a copy of
 * them since it was created or changed. Which attributes a change was about is seen in the same
 * way, by comparing.
 *
 * Events are told once, in order, on each node for itself. What was in an engine that was killed is
 * not told.
 */
#ifndef MOD_SESSION_CLUSTER_H
#define MOD_SESSION_CLUSTER_H

#include "httpd.h"
#include "apr_hooks.h"
#include "apr_optional.h"
#include "apr_optional_hooks.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SESSION_CLUSTER_DECLARE(type) type

/** What has happened to a session. More may come: ignore those that are not known. */
typedef enum session_cluster_what_t {
    SESSION_CLUSTER_CREATED = 1,
    SESSION_CLUSTER_CHANGED,   /**< attributes, idle time; a replica perhaps only its primary */
    SESSION_CLUSTER_DESTROYED, /**< with a reason */
    SESSION_CLUSTER_PRIMARY    /**< this node has become its primary; one that was made here is not
                                    told for that */
} session_cluster_what_t;

typedef enum session_cluster_reason_t {
    SESSION_CLUSTER_INVALIDATED = 1, /**< logged out */
    SESSION_CLUSTER_IDLE,
    SESSION_CLUSTER_SHUTDOWN, /**< expireSessionsOnShutdown; other nodes are told INVALIDATED */
    SESSION_CLUSTER_MOVED,  /**< it goes on elsewhere: this node is not its primary any more, though
                                 it may keep a copy; replicated: that copy is not held here now */
    SESSION_CLUSTER_RENAMED /**< it goes on under new_id, for which CREATED has been told */
} session_cluster_reason_t;

typedef struct session_cluster_session_t {
    apr_size_t size; /**< of this struct, as mod_session_cluster knows it: it may grow at its end */
    session_cluster_what_t what;
    session_cluster_reason_t reason; /**< DESTROYED; else 0 */
    const char *context;
    const char *id;      /**< 32 hex digits, as in the cookie: do not show it to anybody */
    const char *new_id;  /**< RENAMED; else NULL */
    const char *primary; /**< route of its primary (DESTROYED: before that); "": none has a name */
    int replicated;      /**< 1: another node did it. Told only with notifyListenersOnReplication */
} session_cluster_session_t;

typedef struct session_cluster_member_t {
    apr_size_t size;     /**< as above */
    int joined;          /**< 1: it joined; 0: it left */
    const char *route;   /**< "": a balancer */
    const char *address; /**< numeric, of its receiver */
    apr_port_t port;
    int balancer; /**< 1: of role balancer */
    int goodbye;  /**< left: 1: it said so; 0: it was not heard any more */
} session_cluster_member_t;

/**
 * Something has happened to a session.
 * @param event valid during the call, with all it points to
 * @param r the request that did it; NULL in the engine
 * @param s for logging; the main server in the engine
 * @param pool cleared after the call
 */
APR_DECLARE_EXTERNAL_HOOK(session_cluster, SESSION_CLUSTER, void, session_cluster_session,
                          (const session_cluster_session_t *event, request_rec *r, server_rec *s,
                           apr_pool_t *pool))

/** A member joined or left the view of this node, balancers included; in the engine. */
APR_DECLARE_EXTERNAL_HOOK(session_cluster, SESSION_CLUSTER, void, session_cluster_member,
                          (const session_cluster_member_t *event, server_rec *s, apr_pool_t *pool))

/** Where a session is; in the request's pool. */
typedef struct session_cluster_place_t {
    apr_size_t size;            /**< to be set by the caller: sizeof(session_cluster_place_t) */
    const char *primary;        /**< route; "": none has a name */
    const char *const *backups; /**< routes, ended by NULL; delta manager: all other live nodes */
    const char *role;           /**< of this node: "primary", "backup", "proxy" */
} session_cluster_place_t;

/*
 * All but the last of these mean the session of a request: that of its place in the configuration,
 * loaded if it is not yet. They are for children, and for the time before the response begins.
 * APR_ENOTIMPL: there are no sessions of this module here. APR_NOTFOUND: the request has none that
 * is stored.
 */

/** Give it a new id when the request ends, as the header Session-Cluster-Rotate does.
 *  @param refresh 1: rights stay as they are; 0: they may have changed
 *  @return APR_SUCCESS, APR_ENOTIMPL, APR_NOTFOUND */
APR_DECLARE_OPTIONAL_FN(apr_status_t, session_cluster_change_id, (request_rec * r, int refresh));

/** End it now, everywhere; what the request puts into it from now on is lost.
 *  @return APR_SUCCESS; APR_ENOTIMPL; APR_NOTFOUND; APR_EGENERAL: it has been saved already; errors
 *          of asking the engine */
APR_DECLARE_OPTIONAL_FN(apr_status_t, session_cluster_invalidate, (request_rec * r));

/** @return 1: this node is its primary; 0: it is not, or there is none */
APR_DECLARE_OPTIONAL_FN(int, session_cluster_is_primary, (request_rec * r));

/** Where it is. @return APR_SUCCESS, APR_ENOTIMPL, APR_NOTFOUND; APR_EINVAL: size is not set */
APR_DECLARE_OPTIONAL_FN(apr_status_t, session_cluster_locate,
                        (request_rec * r, session_cluster_place_t *place));

/**
 * What this node holds of any session, now: for listeners, in the engine and in children, from any
 * thread. The engine is forked before the hook optional_fn_retrieve is run, so a listener there
 * looks this function up when it needs it. It asks nobody: what another node has changed a moment
 * ago may be missing, as may, with the backup manager, sessions of which this node is neither
 * primary nor backup.
 * @param context, id as an event has them
 * @param attributes receives names and values, in pool
 * @return APR_SUCCESS; APR_NOTFOUND: it is not held here, or has ended; APR_EAGAIN: it is being
 *         changed all the time, and could not be read as a whole; APR_ENOTIMPL: there are no
 *         sessions in this node's memory (SessionClusterManager store)
 */
APR_DECLARE_OPTIONAL_FN(apr_status_t, session_cluster_attributes,
                        (const char *context, const char *id, apr_pool_t *pool,
                         apr_table_t **attributes));

#ifdef __cplusplus
}
#endif

#endif
