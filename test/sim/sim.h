/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sim.h
 * @brief The simulator: real managers, channels, memberships and stores of several nodes in one
 *        process, under simulated time and a simulated network, with clients whose history is
 *        checked. See docs/simulator.md.
 *
 *   random.c  the generators, and ids made of them     heap.c    memory in use
 *   world.c   time, events, the trace
 *   net.c     the transport below sc_channel           wire.c    connections between machines
 *   node.c    one node: clocks, store, engine          child.c   its children
 *   client.c  browsers and balancers                   faults.c  what goes wrong, and when
 *   drains.c  administrators who drain nodes
 *   history.c requests and what they saw               judge.c   how the nodes look at the end
 *   run.c     one seed from beginning to end           traffic.c counting messages
 *
 * All times here are simulated microseconds since the beginning of the world unless a name says
 * whose clock they are of.
 */
#ifndef SC_SIM_H
#define SC_SIM_H

#include <stddef.h>

#include <apr_strings.h>

#include "sc_channel.h"
#include "sc_link.h"
#include "sc_manager.h"

#define SIM_CONTEXT "shop"
#define SIM_ATTRS 6
/** Session spaces, sessions, browsers of one seed, at most. */
#define SIM_BROWSERS 20

typedef struct world_t world_t;
typedef struct node_t node_t;
typedef struct engine_t engine_t;
typedef struct conn_t conn_t;
typedef struct job_t job_t;
typedef struct call_t call_t;
typedef struct op_t op_t;
typedef struct session_t session_t;
typedef struct net_t net_t;
typedef struct faults_t faults_t;
typedef struct clients_t clients_t;

/* ---- random.c ------------------------------------------------------------------------------- */

/** xoshiro256**, seeded by splitmix64. */
typedef struct rng_t {
    apr_uint64_t s[4];
} rng_t;

void rng_seed(rng_t *r, apr_uint64_t seed, apr_uint64_t stream);
apr_uint64_t rng_next(rng_t *r);
/** 0 to n-1. */
apr_uint32_t rng_below(rng_t *r, apr_uint32_t n);
/** True so many times in a million. */
int rng_chance(rng_t *r, apr_uint32_t ppm);
/** lo to hi, both included. */
apr_int64_t rng_between(rng_t *r, apr_int64_t lo, apr_int64_t hi);
/** Whence sc_id_generate and sc_uid_generate take their bytes from now on (NULL: the system). */
void rng_ids_from(rng_t *r);

/* ---- heap.c --------------------------------------------------------------------------------- */

/** Blocks that the core and the simulator have allocated and not freed. */
long heap_blocks(void);

/* ---- what a run is asked for ---------------------------------------------------------------- */

typedef enum profile_t {
    PROFILE_CALM, /**< one fault at a time, long pauses */
    PROFILE_FREEZE,
    PROFILE_PARTITION,
    PROFILE_CRASH,
    PROFILE_ROLLING,
    PROFILE_CLOCKS,
    PROFILE_ALL,
    PROFILE_LOSS, /**< nodes lose their memory at any time: only C4 to C6 */
    PROFILES
} profile_t;

typedef struct plan_t {
    apr_uint64_t seed;
    apr_uint32_t manager; /**< sc_manager_kind_t */
    int nodes;            /**< 0: by seed */
    int quorum;           /**< -1: by seed */
    int profile;          /**< -1: by seed */
    int minutes;
    int verbose;
    int traffic; /**< no faults, no browsers of its own */
    int drains;  /**< nodes are drained and undrained meanwhile */
} plan_t;

/* ---- world.c -------------------------------------------------------------------------------- */

typedef void event_fn_t(void *baton, apr_time_t now);

struct world_t {
    const plan_t *plan;
    apr_allocator_t *allocator;
    apr_pool_t *pool;
    apr_time_t now;
    sc_timers_t *events;
    rng_t rng_ids, rng_net, rng_nodes, rng_faults, rng_clients, rng_drains;
    sc_timer_t drain;
    apr_uint64_t hash; /**< of the trace */
    apr_uint64_t steps;
    apr_uint64_t same_time; /**< rounds since time has moved */

    sc_config_t config; /**< what all nodes have in common */
    profile_t profile;
    int quorum; /**< nodes asked for; 0: off */
    int is_static;
    int nnodes;   /**< nodes of role node */
    int nmembers; /**< with the balancer, if there is a real one */
    node_t *node[SC_MEMBERS_MAX];
    net_t *net;
    faults_t *faults;
    clients_t *clients;
    session_t *sessions;
    session_t **sessions_tail;
    apr_uint32_t nsessions;
    apr_uint32_t noperations;
    apr_uint32_t noanswer; /**< operations that ended without one */
    apr_uint32_t answered;
    job_t *replies; /**< on their way */

    char rule[32]; /**< the first rule that was violated; "" none */
    char what[1024];
    session_t *guilty;
};

world_t *world_create(const plan_t *plan);
void world_destroy(world_t *w);
/** Let time pass. Ends early when a rule is violated. */
void world_run(world_t *w, apr_time_t until);
/** A timer of the world, in simulated time. */
void world_at(world_t *w, sc_timer_t *t, apr_time_t when, event_fn_t *fn, void *baton);
void world_cancel(world_t *w, sc_timer_t *t);
/** One event of the trace: goes into its hash, and is printed with -v. */
void trace(world_t *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** The same for what happens all the time: only hashed. */
void trace_mix(world_t *w, apr_uint64_t a, apr_uint64_t b);
/** A rule is violated; the first time counts. s may be NULL. */
void violated(world_t *w, const char *rule, session_t *s, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- node.c --------------------------------------------------------------------------------- */

typedef enum frost_t {
    FROST_NONE = 0,
    FROST_ENGINE,    /**< the engine is stopped, children run */
    FROST_PROCESSES, /**< all of httpd is stopped, the kernel goes on */
    FROST_MACHINE    /**< everything is */
} frost_t;

typedef enum power_t {
    POWER_ON = 0,
    POWER_STOPPED, /**< no httpd: the kernel refuses connections */
    POWER_OFF      /**< no machine: nothing answers */
} power_t;

struct engine_t {
    node_t *node;
    apr_uint32_t gen;
    apr_pool_t *timer_pool;
    apr_pool_t *pool;        /**< all the rest */
    sc_timers_t *timers;     /**< in the node's mono time */
    sc_timers_t *net_timers; /**< of the sender; run on while the engine leaves */
    sc_store_t *store;
    sc_board_t *board;
    sc_uid_t uid;
    sc_channel_t *channel;
    sc_manager_t *manager;
    struct sender_t *sender;
    sc_transport_t transport;
    sc_transport_up_t up;
    sc_timer_t refresh;
    int settled;
    int dead;     /**< being taken apart: nothing leaves it */
    int draining; /**< has said good-bye, only the sender works */
    sc_timer_t leave_timer;
    apr_time_t leave_until;
    sc_view_t view, old;
};

struct node_t {
    world_t *w;
    int index;
    char route[SC_ROUTE_MAX + 1];
    sc_config_t config;
    sc_clock_t clock;
    sc_log_t log;
    apr_int64_t mono_offset;
    apr_int64_t drift_ppm;
    apr_int64_t wall_offset;

    apr_pool_t *store_pool;
    sc_store_t *store; /**< children's handle; NULL: no memory */
    sc_board_t *board;
    apr_pool_t *scratch;

    power_t power;
    frost_t frost;
    int leaving;
    engine_t *engine;       /**< NULL: none runs */
    apr_uint32_t gen;       /**< engines so far */
    apr_time_t timers_from; /**< thaw: timers run from then on */
    apr_time_t changed;     /**< last time anything about its health changed */
    apr_time_t bad_at;      /**< last time at which it was not in good health */

    sc_timers_t *child_timers; /**< in the node's mono time */
    apr_time_t thawed;         /**< last time; 0 never */
    job_t *jobs;
    call_t *calls, **calls_tail; /**< that are not answered */
    apr_uint32_t call_serial;
    apr_uint64_t frames, frame_bytes, records;
};

node_t *node_create(world_t *w, int index, apr_uint32_t role);
void node_destroy(node_t *n);
apr_time_t node_mono(const node_t *n);
/** When the node's clock shows that time. */
apr_time_t node_when(const node_t *n, apr_time_t mono);
/** A new, empty memory. */
void node_new_store(node_t *n);
void node_start_engine(node_t *n);
/** The engine is killed. */
void node_kill_engine(node_t *n);
/** httpd, or the machine, is gone. @param keep 1: its memory is there again when it comes back */
void node_down(node_t *n, power_t power, int keep);
void node_up(node_t *n);
void node_freeze(node_t *n, frost_t frost);
void node_thaw(node_t *n);
/** Stop in good order; ends in POWER_STOPPED without memory. */
void node_leave(node_t *n);
/** Whether its engine, its children can run now. */
int node_runs(const node_t *n);
int node_children_run(const node_t *n);
/** Whether the kernel answers. */
int node_kernel(const node_t *n);
/** Healthy: runs, READY, leased, nothing cut. */
int node_healthy(const node_t *n);
/** Run what is due. @return 1 if anything was */
int node_run(node_t *n);
/** World time of the next timer, -1: none */
apr_time_t node_next(const node_t *n);

/* ---- wire.c: what lies between the machines ------------------------------------------------- */

typedef struct link_t {
    int cut;
    apr_uint32_t latency; /**< least, microseconds */
    apr_uint32_t jitter;
    apr_uint32_t reset_ppm; /**< a frame's connection is reset */
    apr_uint32_t stall_ppm; /**< it takes long */
    apr_uint32_t loss_ppm;  /**< of a datagram */
    apr_uint32_t dup_ppm;
    apr_time_t bad_at; /**< last time at which it was cut, or lossy; 0: never */
} link_t;

struct net_t {
    world_t *w;
    link_t link[SC_MEMBERS_MAX][SC_MEMBERS_MAX];
    conn_t *conns, **conns_tail;
    struct dgram_t *dgrams; /**< on their way */
    apr_uint64_t serials;
};

/** Bytes of a frame, shared by who may send it again and what is on its way. */
typedef struct blob_t {
    int refs;
    apr_uint32_t options;
    apr_size_t len;
    unsigned char bytes[];
} blob_t;

typedef enum signal_t { SIG_CONNECTED, SIG_REFUSED, SIG_RESET, SIG_ACK, SIG_FAIL_ACK } signal_t;

struct line_t;

net_t *net_create(world_t *w);
void net_destroy(net_t *net);
blob_t *blob_new(const void *bytes, apr_size_t len, apr_uint32_t options);
blob_t *blob_hold(blob_t *b);
void blob_drop(blob_t *b);
/** Connect; line_signal tells how it ends. */
conn_t *conn_open(net_t *net, int from, int to, struct line_t *line);
void conn_send(conn_t *c, blob_t *b);
/** The sender closes; what is on its way arrives nevertheless. */
void conn_close(conn_t *c);
/** A datagram to all. */
void net_group_send(net_t *net, int from, const void *bytes, apr_size_t len);
/** The engine of a node is gone: its connections end. */
void net_engine_gone(net_t *net, int node);
/** All of it is. @param silent the machine too: nobody is told */
void net_node_gone(net_t *net, int node, int silent);
/** The node runs again: what waits in its kernel is delivered from then on. */
void net_awake(net_t *net, int node, apr_time_t when);
void net_cut(net_t *net, int from, int to, int cut);
/** Whether two nodes cannot talk, in one direction at least. */
int net_apart(const net_t *net, int a, int b);
void net_weather(net_t *net, apr_uint32_t latency, apr_uint32_t jitter, apr_uint32_t reset_ppm,
                 apr_uint32_t stall_ppm, apr_uint32_t loss_ppm, apr_uint32_t dup_ppm);

/* ---- net.c: the transport of an engine ------------------------------------------------------ */

void sender_create(engine_t *e);
/** End everything within the call. */
void sender_close(engine_t *e);
/** Frames not acknowledged yet, all lines. */
apr_uint32_t sender_waiting(const engine_t *e);
void line_signal(struct line_t *line, signal_t s);
/** A frame has arrived. @return the acknowledgement asked for, -1: none */
int engine_frame(engine_t *e, const blob_t *b);
void engine_datagram(engine_t *e, const void *bytes, apr_size_t len);

/* ---- child.c -------------------------------------------------------------------------------- */

/** One attempt of a request, on one node. */
struct job_t {
    job_t *next, **link; /**< of the node, or of the replies on their way */
    node_t *node;
    op_t *op;
    int attempt;
    call_t *call;
    void (*go_on)(job_t *job, int outcome); /**< outcome: sc_outcome_t, -1: the time ran out */
    int outcome;
    sc_timer_t timer; /**< of the node's children; then of the reply, in the world */
    int found;
    apr_uint32_t seen[SIM_ATTRS];
    int result;                   /**< answer_t */
    char route[SC_ROUTE_MAX + 1]; /**< of the cookie that is set; "" none */
    apr_interval_time_t waited;   /**< in the engine */
};

typedef enum answer_t {
    ANSWER_OK,
    ANSWER_GONE,     /**< surely no such session (any more) */
    ANSWER_UNKNOWN,  /**< could not be found out */
    ANSWER_REFUSED,  /**< no quorum, not replicated: 503 */
    ANSWER_FAILED,   /**< nothing was done, or nobody knows */
    ANSWER_UNREACHED /**< nobody listens */
} answer_t;

const char *answer_name(answer_t a);

/** A message of a child to the engine. */
struct call_t {
    call_t *next;
    node_t *node;
    job_t *job; /**< NULL: the child does not wait any more */
    op_t *op;
    apr_uint32_t serial;
    sc_link_op_t what;
    int again;
    apr_uint32_t gen;          /**< engine that works on it; 0: none has read it */
    apr_time_t given;          /**< when, in that engine's mono time */
    apr_interval_time_t bound; /**< the child waits so long */
    sc_timer_t timer;          /**< of its way to the engine */
    sc_timer_t deadline;
    apr_size_t len;
    unsigned char body[];
};

/** A request arrives at a node. */
void child_begin(node_t *n, op_t *op, int attempt);
void child_answered(engine_t *e, const sc_link_call_t *call, sc_outcome_t outcome,
                    apr_interval_time_t wait_us);
void child_engine_started(node_t *n);
void child_engine_gone(node_t *n);
/** The children are killed. */
void child_all_gone(node_t *n);
void child_thawed(node_t *n);
/** Free what is on its way back. */
void child_end(world_t *w);

/* ---- drains.c ------------------------------------------------------------------------------- */

void drains_start(world_t *w);
/** All nodes serve again. */
void drains_end(world_t *w);

/* ---- client.c ------------------------------------------------------------------------------- */

void clients_create(world_t *w);
void clients_destroy(world_t *w);
void clients_start(world_t *w);
/** No new requests. */
void clients_stop(world_t *w);
int clients_busy(const world_t *w);
/** A node has answered an attempt of an operation. */
void client_answer(op_t *op, int attempt, node_t *n, answer_t a, const job_t *job);

/* ---- history.c ------------------------------------------------------------------------------ */

typedef enum kind_t { OP_CREATE, OP_SET, OP_DEL, OP_READ, OP_LOGOUT, OP_RENAME, OP_GHOST } kind_t;

/** One version of one attribute, made by one operation. */
typedef struct version_t {
    apr_time_t start;
    apr_time_t closed; /**< it cannot take effect any more after that; -1: it still can */
    apr_time_t acked;  /**< -1: never */
    apr_time_t shown;  /**< when it was first shown to somebody; -1 */
    int removed;
} version_t;

typedef struct attr_t {
    version_t *v; /**< v[0]: not there, from the beginning */
    apr_uint32_t n, cap;
    int busy; /**< an operation writes it now */
} attr_t;

struct session_t {
    session_t *next;
    world_t *w;
    int number;
    sc_id_t id;   /**< as far as the browser knows */
    sc_id_t *old; /**< ids that it had, or tried to get */
    apr_uint32_t nold;
    apr_uint32_t max_idle_s;
    attr_t attr[SIM_ATTRS];
    op_t *ops, **ops_tail;
    int created; /**< the browser has got its cookie */
    apr_time_t created_at;
    apr_time_t used; /**< when a change began that was acknowledged: the last access at least */
    apr_time_t read; /**< end of the last read */
    const node_t *reader; /**< on that node */
    apr_time_t dying;     /**< start of the first logout; -1: none */
    apr_time_t dead;      /**< a logout was acknowledged; -1: no */
    int doubtful;         /**< it may have got lost in good order: a change of id in doubt */
    apr_time_t tainted;   /**< from then on a partition excuses old values; -1 */
};

struct op_t {
    op_t *next;
    session_t *s;
    int serial;
    kind_t kind;
    int attr; /**< -1: none */
    apr_uint32_t version;
    sc_id_t id; /**< that it was sent with */
    sc_id_t new_id;
    char route[SC_ROUTE_MAX + 1];
    apr_time_t start, end; /**< end -1: still open */
    int result;            /**< answer_t of the response */
    int attempts;
    char path[64]; /**< nodes tried */
    apr_uint32_t seen[SIM_ATTRS];
    int has_seen;
    int open;          /**< jobs and calls that may still do something */
    apr_time_t closed; /**< -1 */
    struct browser_t *browser;
    int tried[SC_MEMBERS_MAX];
    int on; /**< node of the attempt that is awaited; -1 */
    sc_timer_t timer;
    apr_interval_time_t waited;
};

session_t *session_begin(world_t *w, const sc_id_t *id, apr_uint32_t max_idle_s);
op_t *op_begin(session_t *s, kind_t kind, int attr, const char *route);
/** The client has its answer; the rules are applied to it. */
void op_end(op_t *op, int result, const job_t *job);
/** One more, one less job or call that may do something. */
void op_hold(op_t *op);
void op_release(op_t *op);
/** A value shown at a time when these requests had started: NULL if it may be, else why not. */
const char *attr_judge(const session_t *s, int attr, apr_uint32_t seen, apr_time_t start,
                       apr_interval_time_t slack, char *why, apr_size_t len);
void history_print(const session_t *s, FILE *out);
void history_free(world_t *w);
/** Whether it may have idled out for a request that began then. A read without a change is told
 * later, and only if its node goes on for so long. */
int session_may_idle(const session_t *s, apr_time_t start);
int session_owns(const session_t *s, const sc_id_t *id);
const char *kind_name(kind_t k);

/* ---- faults.c ------------------------------------------------------------------------------- */

struct faults_t {
    world_t *w;
    int active;
    sc_timer_t next;
    sc_timer_t watch;
    apr_time_t calm_since; /**< end of the last fault; -1: one goes on */
    apr_time_t stop_at;
    int step;                /**< of a rolling restart */
    apr_time_t freeze_began; /**< of the only fault that goes on; -1 */
    int freeze_node;
    apr_time_t stall[SC_MEMBERS_MAX]; /**< start of the first request there that it has stalled */
    int cuts;                         /**< that are there now */
    int steps;                        /**< times a clock was set */
    apr_time_t parted;                /**< -1: not; else when the parts began to run on their own */
    apr_time_t met;                   /**< when the last ones have surely met again */
    struct fault_t *list;
};

void faults_create(world_t *w);
void faults_start(world_t *w, apr_time_t until);
/** End all of them at once: everything runs and talks. */
void faults_end(world_t *w);
void faults_destroy(world_t *w);
/** A node has dropped another one that runs: if the network is to blame, it is a partition. */
void faults_dropped(world_t *w, int by, const sc_member_t *m);
/** Whether parts that run on their own excuse what such a session shows at a request that started
 *  then. */
int faults_parted(const world_t *w, apr_time_t start);
/** Whether every request that starts now must succeed. */
int faults_calm(const world_t *w, apr_time_t start);
const char *profile_name(int profile);

/* ---- judge.c -------------------------------------------------------------------------------- */

/** All nodes, when nothing has happened for a while (C2, C3, C4). */
/** Whether somebody has a session that has idled out. It ends on one node after the other. */
int judge_is_ending(world_t *w);
void judge_end(world_t *w);
/** What must be gone (C6). */
void judge_rest(world_t *w);

/* ---- run.c, traffic.c ----------------------------------------------------------------------- */

typedef struct result_t {
    char rule[32];
    char what[1024];
    apr_uint64_t hash;
    apr_uint32_t operations;
    apr_uint32_t noanswer;
    apr_uint32_t sessions;
    apr_uint64_t steps;
    long heap; /**< blocks of heap that it left behind */
    char setup[160];
} result_t;

void run_seed(const plan_t *plan, result_t *out);
int traffic_table(int manager);

#endif
