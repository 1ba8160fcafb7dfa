/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_manager.h
 * @brief Room "manager": what happens to sessions. The only caller of the store's writing
 * functions.
 *
 * Above it: the link (requests of the children). Below it: the channel. Both are small structs of
 * functions, time comes from a clock and timers, so a simulator can run many managers in one
 * process. The only kind so far is the delta manager: every node of role node holds every session.
 */
#ifndef SC_MANAGER_H
#define SC_MANAGER_H

#include "sc_board.h"
#include "sc_config.h"
#include "sc_link.h"
#include "sc_member.h"
#include "sc_session.h"
#include "sc_store.h"
#include "sc_timer.h"

typedef struct sc_manager_t sc_manager_t;

/** The channel as the manager sees it; contracts as in sc_channel.h. */
typedef struct sc_manager_down_t {
    void *ctx;
    apr_status_t (*post)(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                         apr_uint32_t options, void (*done)(void *baton, apr_status_t rv),
                         void *baton);
    void (*resynced)(void *ctx, const sc_member_t *from);
    apr_size_t (*members)(void *ctx, const sc_member_t **members, apr_size_t max);
    /** tell the others this node's state */
    void (*announce)(void *ctx, sc_node_state_t state);
} sc_manager_down_t;

typedef enum sc_session_what_t {
    SC_SESSION_CREATED,
    SC_SESSION_CHANGED,
    SC_SESSION_DESTROYED,
    SC_SESSION_PRIMARY /**< this node has become its primary */
} sc_session_what_t;

/** Why a session is gone. */
typedef enum sc_session_reason_t {
    SC_GONE_NOT,
    SC_GONE_INVALIDATED,
    SC_GONE_IDLE,
    SC_GONE_SHUTDOWN, /**< expireSessionsOnShutdown */
    SC_GONE_MOVED,    /**< another node is its primary now; replicated: a copy is not held here any
                           more */
    SC_GONE_RENAMED   /**< it goes on under a new id */
} sc_session_reason_t;

typedef struct sc_session_event_t {
    sc_session_what_t what;
    sc_session_reason_t reason; /**< DESTROYED */
    const char *context;
    sc_id_t id;
    sc_id_t heir;        /**< RENAMED: its new id */
    const char *primary; /**< route, before it was gone; "": not known */
    int replicated;      /**< 1: another node did it */
} sc_session_event_t;

/** Answers go up through this. */
typedef struct sc_manager_up_t {
    void *ctx;
    /** End of a request. wait_us: how long it waited for acknowledgements. */
    void (*answer)(void *ctx, const sc_link_call_t *call, sc_outcome_t outcome,
                   apr_interval_time_t wait_us);
    /** Something has happened to a session. Not told: what a child has asked for, but for
     *  SC_SESSION_PRIMARY, and without config->delta.notify_replicated what is replicated. Called
     *  in the middle of it: only take note. NULL: nobody listens. */
    void (*event)(void *ctx, const sc_session_event_t *event);
} sc_manager_up_t;

typedef struct sc_manager_config_t {
    const sc_config_t *config;
    const sc_clock_t *clock;
    sc_timers_t *timers;
    const sc_log_t *log;
    sc_store_t *store; /**< recovered */
    const struct sc_keyring_t
        *ring; /**< keys for the snapshot, as long as the manager; NULL: none */
    sc_manager_down_t down;
    sc_manager_up_t up;
} sc_manager_config_t;

/**
 * @param pool as long as the engine; it must not be cleared before the channel has stopped, which
 *        ends all posts
 */
apr_status_t sc_manager_create(sc_manager_t **m, const sc_manager_config_t *cfg, apr_pool_t *pool);

/** Begin: timers for touches and expiry. With membership the node is JOINING until settled and,
 *  if there are others, until their state has come; stand-alone it is READY at once. */
void sc_manager_start(sc_manager_t *m);
/** This node will leave: from now on it is announced as LEAVING, so that balancers send it nothing
 * new and members choose other backups; what it holds it serves, changes and replicates as before.
 */
void sc_manager_leave(sc_manager_t *m);
/** Before the engine leaves for good: expireSessionsOnShutdown, state LEAVING. */
void sc_manager_stop(sc_manager_t *m);
/** After sc_manager_stop: whether it still hands over what this node holds (backup manager), or
 * waits to hear who else leaves (SessionClusterSnapshot). */
int sc_manager_busy(const sc_manager_t *m);
/** After that, while members are still heard: note who stays, for sc_manager_save. */
void sc_manager_last_look(sc_manager_t *m);
/** When nothing comes in any more: write the snapshot, if one is configured. Blocks, and logs what
 *  came of it. */
void sc_manager_save(sc_manager_t *m);

/**
 * One request of a child; body as sc_change_put wrote it. Ends in exactly one answer(), which may
 * come from within the call. Besides what sc_link.h says:
 *  - a CHANGE or CHANGE_ID of a session that is not here looks for it first, within fetch_ms, and
 *    then waits for acknowledgements, within ack_wait_ms; SC_UNKNOWN: it could not be found out
 *    whether the session exists, nothing was done
 *  - TAKEOVER is a write, too: SC_NO_QUORUM
 *  - REMOVE of what is not here (any more) is SC_DONE
 *  - an id that was changed is SC_ABSENT at once; its tombstone says SC_DEAD_RENAMED (sc_message.h)
 */
void sc_manager_request(sc_manager_t *m, const sc_link_call_t *call, sc_link_op_t op, int again,
                        const unsigned char *body, apr_size_t len);

/** An administrator wants this node to be free, or not any more (drain.c); SC_LINK_DRAIN and
 *  SC_LINK_UNDRAIN do the same. @return APR_ENOTIMPL: a balancer, alone, or about to leave */
apr_status_t sc_manager_drain(sc_manager_t *m, int on);

/** For the board: what the manager knows of the members in a view. */
void sc_manager_view(const sc_manager_t *m, sc_view_t *view);

/* what the channel says: contracts as in sc_channel_up_t */
apr_status_t sc_manager_record(sc_manager_t *m, const sc_member_t *from, const void *bytes,
                               apr_size_t len);
void sc_manager_gap(sc_manager_t *m, const sc_member_t *from);
void sc_manager_progress(sc_manager_t *m, const sc_member_t *from, apr_uint64_t lsn);
void sc_manager_member_added(sc_manager_t *m, const sc_member_t *member);
void sc_manager_member_changed(sc_manager_t *m, const sc_member_t *member);
void sc_manager_member_gone(sc_manager_t *m, const sc_member_t *member, int goodbye);
void sc_manager_settled(sc_manager_t *m);

#endif
