/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Several channels in one process under a clock that only moves when a test says so, on a network
 * that a test can cut, freeze, make lossy or make repeat itself. What travels is real bytes: frames
 * and datagrams are encoded and decoded as on a wire.
 *
 * Node i has the address 10.0.0.<i+1>, port 4000, and the route n<i+1>.
 */
#ifndef NET_RIG_H
#define NET_RIG_H

#include "sc_channel.h"

#define RIG_NODES 8
#define RIG_MS(n) apr_time_from_msec(n)
/** Time a packet takes. */
#define RIG_LATENCY RIG_MS(1)
/** What a send waits for an acknowledgement at most. */
#define RIG_TIMEOUT RIG_MS(3000)

typedef struct rig_t rig_t;

/** What one node has been told by its channel. */
typedef struct rig_seen_t {
    int added;
    int changed;
    int gone;
    int goodbye; /**< of these */
    int gaps;
    int records;
    int messages;
    int settled;
    int added_before_settled;
    apr_uint64_t lsn;
    char last[64];  /**< last record */
    char all[4096]; /**< all records, each with a blank behind it */
    sc_member_t last_added;
    sc_member_t last_gone;
} rig_seen_t;

typedef struct rig_node_t {
    rig_t *rig;
    int index;
    int lives; /**< how often it was started */
    int up;    /**< its process exists */
    int frozen;
    int deaf; /**< datagrams do not reach it */
    int mute; /**< its datagrams reach nobody */
    sc_config_t config;
    sc_timers_t *timers;
    sc_channel_t *channel;
    sc_transport_up_t transport_up;
    sc_transport_t transport;
    apr_pool_t *pool;
    sc_board_t board;
    apr_uint64_t store_id;
    apr_uint64_t lsn;
    apr_status_t record_rv; /**< what record() answers */
    int lose;               /**< so many data frames of this node get lost next */
    int lose_control;       /**< and so many control frames */
    int repeat;             /**< data frames of this node arrive twice */
    int data_frames;        /**< sent on the data lane */
    int control_frames;
    int datagrams;
    int probes;
    int forgets;
    int lookups;                   /**< names that were looked up */
    apr_status_t lookup_rv;        /**< what asking says; not APR_SUCCESS: it cannot be asked */
    sc_resolved_fn_t *lookup_done; /**< whom to tell; NULL: nothing is being looked up */
    void *lookup_baton;
    char lookup_name[64];
    apr_size_t data_bytes;
    apr_uint32_t last_options; /**< of the last data frame */
    int log_levels;            /**< lines in the log begin with the letter of their level */
    char log[8192];            /**< what it has logged, a line each */
    rig_seen_t seen;
} rig_node_t;

typedef struct rig_event_t rig_event_t;

struct rig_t {
    apr_time_t now;
    sc_clock_t clock;
    apr_pool_t *pool;
    sc_timers_t *timers; /* of the network */
    rig_node_t node[RIG_NODES];
    rig_event_t *events;
    int cut[RIG_NODES][RIG_NODES]; /**< no packet passes from one to the other */
};

/** @param membership of all nodes; with static all RIG_NODES addresses are in everybody's list */
rig_t *rig_create(sc_membership_kind_t membership, int nodes);
/** The same with all nodes started, settled, and known to each other. */
rig_t *rig_cluster(sc_membership_kind_t membership, int nodes);
void rig_destroy(rig_t *rig);

/** A new life of a node: same address and route, new unique id, and a new store unless told so. */
void rig_start(rig_t *rig, int i, int keep_store);
/** Its process ends without a word. */
void rig_kill(rig_t *rig, int i);
/** It leaves. */
void rig_leave(rig_t *rig, int i);
void rig_freeze(rig_t *rig, int i);
void rig_thaw(rig_t *rig, int i);
void rig_cut(rig_t *rig, int a, int b, int on);

/** Answer what a node has asked its resolver: 10.0.0.<n> for each number up to a 0. */
void rig_found(rig_t *rig, int i, const int *numbers);
/** The same with any addresses. */
void rig_found_these(rig_t *rig, int i, const sc_address_t *found, apr_size_t count);
/** Its look-up fails. */
void rig_not_found(rig_t *rig, int i, apr_status_t rv);

/** Let time pass. */
void rig_run(rig_t *rig, apr_interval_time_t time);
/** The same for timers that are no rig's. @param now what their clock says */
void rig_run_timers(sc_timers_t *timers, apr_time_t *now, apr_interval_time_t time);
/** A datagram from elsewhere. */
void rig_inject(rig_t *rig, const void *bytes, apr_size_t len);

/** The other node as a member of this one's view, NULL if it is not in it. */
const sc_member_t *rig_member(rig_t *rig, int at, int other);
/** How many others are in its view. */
int rig_members(rig_t *rig, int at);
/** How many of them are suspect. */
int rig_suspects(rig_t *rig, int at);
/** Post a text from one node to another. */
apr_status_t rig_post(rig_t *rig, int from, int to, const char *text, apr_uint32_t options,
                      sc_posted_fn_t *done, void *baton);

/** Bytes of a member as a Tomcat would announce it. */
void rig_foreign(sc_buf_t *b, const char *host, int port);

/** For end-of-send callbacks: the baton is one of these. */
typedef struct rig_end_t {
    int calls;
    apr_status_t rv;
} rig_end_t;
void rig_ended(void *baton, apr_status_t rv);

/** A file of test/vectors (or of the folder in SC_VECTORS). @return its bytes, malloc'ed; NULL if
 * it cannot be read */
unsigned char *rig_vector(const char *name, apr_size_t *len);
/** The message in a captured frame. @return its body, malloc'ed, which packet->body points to */
unsigned char *rig_captured(const char *name, sc_packet_t *packet);

#endif
