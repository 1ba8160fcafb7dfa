/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file delta_net.h
 * @brief Several managers in one process: a fake clock and a fake channel between them.
 *
 * Each node has a small store of its own, clocks of its own (monotonic and civil ones differ), and
 * timers. Between two nodes runs a link that behaves as sc_channel.h promises: one envelope in
 * flight, records that wait travel together, streams are numbered, the receiver notices gaps,
 * failures are repeated once, and an empty envelope shows what was lost. What a link does can be
 * set: delay, loss, duplication, holding back.
 */
#ifndef DELTA_NET_H
#define DELTA_NET_H

#include "sc_manager.h"
#include "sc_message.h"

#define NET_MAX 5
#define NET_CALLS 20000
#define NET_CODES 100 /* log lines are counted by code, from SC0500 on */

typedef struct net_t net_t;

/** Hears what one node posts to another one; must not call a manager. */
typedef void net_tap_t(net_t *net, int from, int to, const unsigned char *bytes, apr_size_t len);

/** Hears what a node tells its listeners; must not call a manager. */
typedef void net_heard_t(net_t *net, int node, const sc_session_event_t *event);

typedef struct net_answer_t {
    int times;
    sc_outcome_t outcome;
    apr_interval_time_t wait_us;
} net_answer_t;

typedef struct net_node_t {
    net_t *net;
    int index;
    int alive;         /**< its engine runs */
    int sees[NET_MAX]; /**< members that it was told of */
    sc_member_t self;
    sc_config_t config;
    sc_clock_t clock;
    apr_interval_time_t mono_offset;
    apr_interval_time_t wall_offset;
    sc_log_t log;
    int logged[NET_CODES];
    char last_log[1024];
    apr_pool_t *store_pool;
    apr_pool_t *engine_pool;
    sc_store_t *store;
    sc_board_t *board;
    sc_timers_t *timers;
    sc_manager_t *m;
    apr_uint64_t posted[256]; /**< records by event */
    apr_uint64_t gaps;
    apr_uint64_t resynced;
    int data_in_flight; /**< ALL_SESSION_DATA records posted and not ended */
    int data_in_flight_max;
} net_node_t;

typedef struct net_link_t {
    apr_interval_time_t delay; /**< one way */
    apr_uint32_t loss;         /**< envelopes lost, per thousand; acknowledgements too */
    apr_uint32_t dup;          /**< envelopes that come twice, the second one late, per thousand */
    int hold;                  /**< nothing arrives as long as this is set */
    int full;                  /**< posts end with APR_ENOSPC */
    struct net_line_t *line;   /**< internals */
} net_link_t;

struct net_t {
    apr_pool_t *pool;
    apr_time_t now;
    sc_timers_t *timers; /**< of the network itself */
    int n;
    net_node_t node[NET_MAX];
    net_link_t link[NET_MAX][NET_MAX]; /**< from, to */
    net_answer_t answer[NET_CALLS];
    apr_uint32_t ncalls;
    apr_uint64_t random;
    apr_uint32_t store_bytes; /**< 0: 2 MB */
    net_tap_t *tap;           /**< called for each record that is posted; NULL: nobody listens */
    void *tapped;
    net_heard_t *heard; /**< before the nodes start; NULL: nobody listens */
};

/** Settings of a node before it starts: called for each node. May be NULL. */
typedef void net_tweak_t(sc_config_t *c, int index);

/** n nodes with stores, none of them started. */
net_t *net_create(int n, net_tweak_t *tweak);
void net_destroy(net_t *net);
/** net_create, all started, settled and READY. */
net_t *net_ready(int n, net_tweak_t *tweak);

/** Let time pass. */
void net_run(net_t *net, int ms);
/** Let time pass until a call is answered, at most so long. @return 1 if it was */
int net_wait(net_t *net, apr_uint32_t call, int ms);
/** Until all nodes that are alive are READY. @return 1 if they were in time */
int net_wait_ready(net_t *net, int ms);
apr_uint32_t net_random(net_t *net, apr_uint32_t n);

/** Start the engine of a node. fresh: with a new store. Nobody is told of it yet. */
void net_start(net_t *net, int node, int fresh);
/** Tell one node of another one. */
void net_see(net_t *net, int who, int whom);
/** Tell two nodes of each other. */
void net_meet(net_t *net, int a, int b);
/** Start and meet all that are alive; settled after a moment. */
void net_join(net_t *net, int node, int fresh);
/** The engine is killed. Others are told after a while if told is set. */
void net_crash(net_t *net, int node, int told);
/** Two nodes lose sight of each other, or one of another. */
void net_part(net_t *net, int a, int b);
void net_forget(net_t *net, int who, int whom, int goodbye);
/** Set delay, loss and duplication of all links. */
void net_weather(net_t *net, apr_interval_time_t delay, apr_uint32_t loss, apr_uint32_t dup);
/** Hold all that goes to a node and comes from it, or let it go on. */
void net_hold(net_t *net, int node, int on);
/** A node has a session no longer, as if its memory were lost. */
void net_lose(net_t *net, int node, apr_uint32_t id);

/* ---- requests ---------------------------------------------------------------------------------
 */

/** An id that is easy to recognise. */
sc_id_t net_id(apr_uint32_t number);

/** A request; attrs: name, value, name, value, ..., NULL; a value "-" removes. @return its number
 */
apr_uint32_t net_change(net_t *net, int node, unsigned int flags, int again, apr_uint32_t id, ...);
apr_uint32_t net_remove(net_t *net, int node, apr_uint32_t id);
apr_uint32_t net_fetch(net_t *net, int node, apr_uint32_t id, const char *hint);
apr_uint32_t net_takeover(net_t *net, int node, apr_uint32_t id);
apr_uint32_t net_change_id(net_t *net, int node, apr_uint32_t id, apr_uint32_t new_id, int again,
                           const char *name, const char *value);
/** Any request; context of the request is net_context. */
apr_uint32_t net_request(net_t *net, int node, sc_link_op_t op, int again, const sc_change_t *c);

/** Request and wait for the answer, at most 10 s. @return the outcome, -1 for none */
int net_set(net_t *net, int node, unsigned int flags, apr_uint32_t id, const char *name,
            const char *value);
/** What becomes of a request, which is waited for, at most 10 s. */
sc_outcome_t net_outcome(net_t *net, apr_uint32_t call);
/** So many sessions, numbered from there, with an attribute "a" that is "1". */
void net_make(net_t *net, int node, apr_uint32_t from, apr_uint32_t n);
/** One without attributes that lives so many seconds without an access; 0: for ever. */
void net_make_idle(net_t *net, int node, apr_uint32_t id, apr_uint32_t idle_s);

/* ---- looking ----------------------------------------------------------------------------------
 */

typedef enum net_state_t { NET_NOTHING, NET_LIVE, NET_DEAD } net_state_t;

net_state_t net_look(net_t *net, int node, apr_uint32_t id, sc_record_t *rec);
/** Value of an attribute: NULL when there is none. Valid until the next call. */
const char *net_value(net_t *net, int node, apr_uint32_t id, const char *name);
/** Whether there is a value, and it is that one. */
int net_is(const char *value, const char *want);
/** Route of the primary. */
const char *net_primary(net_t *net, int node, apr_uint32_t id);
/** A child reads the session and notes the access. */
void net_access(net_t *net, int node, apr_uint32_t id);
/** Number of live sessions. */
apr_uint64_t net_sessions(net_t *net, int node);
/** Whether all nodes that are alive hold the same live sessions, to the byte, and none holds what
 *  another one has buried for good. @return a description of the first difference, NULL if none */
const char *net_difference(net_t *net);

#define NET_CONTEXT "shop"

/** Parts of the suite, in files of their own: each adds its tests. */
void delta_changes_tests(void);
void delta_ids_tests(void);
void delta_expiry_tests(void);
void delta_transfer_tests(void);
void delta_fetch_tests(void);
void delta_lease_tests(void);
void delta_digest_tests(void);
void delta_random_tests(void);

#endif
