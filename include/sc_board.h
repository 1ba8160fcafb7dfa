/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_board.h
 * @brief Room "store": the noticeboard, where the engine tells the children and the status page
 *        what they need to know without asking.
 *
 * Lies in the store's mapping; written by the engine only (the parent writes `restarts`). Single
 * words are read with sc_board_get. The view is kept twice: the engine fills the copy that nobody
 * reads and then raises view_gen, whose lowest bit names the current copy; so an engine killed in
 * the middle leaves the old view whole.
 */
#ifndef SC_BOARD_H
#define SC_BOARD_H

#include "sc_base.h"
#include "sc_notice.h"

#define SC_URL_MAX 127
#define SC_HOST_MAX 63
#define SC_PEERS_MAX 128
/** Longest domain (rack) of a member in bytes, without the final NUL. */
#define SC_DOMAIN_MAX 63
/** What a domain= can be. Tomcat takes a text that begins so for a list of bytes. */
#define SC_DOMAIN_TEXT "visible characters only, as text: Tomcat's {97,98} is ab here"

/** Flags of a member. */
#define SC_MEMBER_NO_BACKUPS 0x1 /**< it is not to hold backups */

/** What this node's engine is doing. */
typedef enum sc_node_state_t {
    SC_NODE_DOWN = 0, /**< no engine has run yet, or it left */
    SC_NODE_STARTING, /**< engine runs, membership does not yet */
    SC_NODE_JOINING,  /**< takes over state: a miss in the store is not a sure miss */
    SC_NODE_READY,    /**< knows all sessions it should know */
    SC_NODE_LEAVING,  /**< hands over what it holds, and says good-bye */
    SC_NODE_MINORITY, /**< READY, but with fewer live members than SessionClusterQuorum asks for: it
                           refuses sessions */
    SC_NODE_DRAINING  /**< READY, but an administrator wants it to be free: it gets no new sessions,
                           and gives away those of which it is the primary */
} sc_node_state_t;

/** Whether a node of that state knows all sessions that it should know, and stays. */
static inline int sc_node_complete(apr_uint32_t state)
{
    return state == SC_NODE_READY || state == SC_NODE_MINORITY || state == SC_NODE_DRAINING;
}

/** Whether sessions of a node of that state are better served by another one, which balancers know:
 *  it is about to leave, or is to be free. */
static inline int sc_node_going(apr_uint32_t state)
{
    return state == SC_NODE_LEAVING || state == SC_NODE_DRAINING;
}

typedef enum sc_member_state_t {
    SC_MEMBER_ALIVE = 0,
    SC_MEMBER_SUSPECT, /**< silent, being probed */
    SC_MEMBER_GONE     /**< left or died; kept on the board for the balancer and the status page */
} sc_member_state_t;

#define SC_ROLE_NODE 0
#define SC_ROLE_BALANCER 1
#define SC_ROLE_FOREIGN 2 /**< on the board only: a member without our mark */

typedef struct sc_board_member_t {
    char route[SC_ROUTE_MAX + 1];   /**< "" for a balancer or a foreign member */
    char host[SC_HOST_MAX + 1];     /**< numeric address of its receiver */
    char url[SC_URL_MAX + 1];       /**< where it serves HTTP, "" if it does not tell */
    char domain[SC_DOMAIN_MAX + 1]; /**< its rack, "" when it has none */
    sc_uid_t uid;
    apr_uint32_t port;       /**< of its receiver */
    apr_uint32_t role;       /**< SC_ROLE_* */
    apr_uint32_t state;      /**< sc_member_state_t */
    apr_uint32_t node_state; /**< sc_node_state_t it announces */
    apr_uint32_t self;       /**< 1: this node */
    apr_uint32_t flags;      /**< SC_MEMBER_* */
    apr_uint32_t lagging;    /**< 1: it has not acknowledged in time, nobody waits for it */
    apr_uint32_t leased;     /**< 1: it has heard this node lately (sc_manager.h, leases) */
    apr_uint32_t queued;     /**< frames and records waiting for it */
    apr_uint32_t foreign;    /**< 1: a member without our mark: it has no part in sessions */
    apr_uint32_t weight;     /**< share of requests that it announces; 0: it does not tell */
    apr_uint32_t lbset;      /**< and the set of workers that it wants to be in */
    apr_uint64_t queued_bytes;
    apr_time_t since; /**< mono time of its last change of state */
    apr_time_t heard; /**< mono time of the last sign of life */
    apr_time_t owes;  /**< mono time at which what has been on its way to it for longest was sent,
                         and  is not acknowledged yet; 0: nothing is */
} sc_board_member_t;

typedef struct sc_view_t {
    apr_uint32_t count;
    apr_uint32_t gen;      /**< rises whenever the view is written, once a second at least */
    apr_uint32_t changes;  /**< rises only when a member joined, left or changed its state */
    apr_uint32_t reserved; /**< 0; keeps the members on a word border */
    char coordinator[SC_ROUTE_MAX + 1]; /**< its route or address; "": none is elected */
    sc_board_member_t member[SC_MEMBERS_MAX];
} sc_view_t;

/** Counters since the mapping was made; names are those of the status JSON. */
#define SC_COUNTERS(X)                                                                             \
    X(created)        /* sessions created here */                                                  \
    X(changed)        /* changes of sessions made here */                                          \
    X(invalidated)    /* sessions removed here by the application */                               \
    X(expired)        /* sessions that idled out here as primary */                                \
    X(touches)        /* accesses collected from the children */                                   \
    X(replicated)     /* changes sent, one per target member */                                    \
    X(acked)          /* of these, acknowledged */                                                 \
    X(degraded)       /* requests answered although a target had not acknowledged */               \
    X(failed)         /* changes that could not be delivered to a live target */                   \
    X(refused_full)   /* new sessions refused: store full */                                       \
    X(refused_size)   /* saves refused: session too large */                                       \
    X(fetches)        /* sessions asked of peers on demand */                                      \
    X(fetched)        /* of these, found */                                                        \
    X(applied)        /* session messages of peers applied */                                      \
    X(ignored)        /* session messages of peers that changed nothing */                         \
    X(transfers)      /* state transfers received to their end */                                  \
    X(transferred)    /* sessions received in them */                                              \
    X(restored)       /* sessions read from the snapshot */                                        \
    X(snapshots_bad)  /* snapshots that could not be used and were set aside */                    \
    X(gaps)           /* gaps noticed in a peer's stream */                                        \
    X(lapses)         /* times the lease on reading ran out */                                     \
    X(refused_quorum) /* requests refused: fewer live members than SessionClusterQuorum */         \
    X(moves)          /* sessions whose primary or backups were changed by this node */            \
    X(moves_refused)  /* such changes that another member knew better about */                     \
    X(copies_sent)    /* sessions copied to members that became their backups */                   \
    X(copies_received)                                                                             \
    X(places_sent) /* locations told to proxies and balancers */                                   \
    X(places_received)                                                                             \
    X(digests)       /* comparisons with a peer that were made */                                  \
    X(differences)   /* sessions found different in them */                                        \
    X(messages_in)   /* byte messages of other applications received */                            \
    X(messages_out)  /* sent */                                                                    \
    X(calls_refused) /* remote calls of foreign members answered: nobody here takes them */        \
    X(bytes_in)      /* of frames received */                                                      \
    X(bytes_out)     /* of frames sent */                                                          \
    X(frames_in)                                                                                   \
    X(frames_out)                                                                                  \
    X(frames_refused) /* garbage, oversized, truncated, foreign */                                 \
    X(datagrams_refused)                                                                           \
    X(proven)             /* connections on which both sides proved that they have the secret */   \
    X(strangers)          /* connections closed because they did not */                            \
    X(misdirected)        /* connections of members that wanted another one, or a former life */   \
    X(unfinished)         /* connections whose other side closed them before it proved anything */ \
    X(frames_forged)      /* frames and acknowledgements on proven connections, not authentic */   \
    X(datagrams_forged)   /* datagrams of the group without the secret's MAC */                    \
    X(datagrams_replayed) /* authentic ones that were heard before */                              \
    X(group_joins)        /* times the multicast group was joined again */                         \
    X(newcomers_refused)  /* members that would have taken another's place and did not answer */   \
    X(urls_refused)       /* members that announced an URL that balancers must not use */          \
    X(records_refused)    /* malformed session messages inside good frames */                      \
    X(async_over)         /* asynchronous messages that found MessageDispatch's queue full */      \
    X(async_lost)         /* asynchronous messages that did not reach a member that stayed */      \
    X(decrypt_refused)    /* messages that Encrypt could not decrypt */                            \
    X(replays_refused)    /* messages that Encrypt has seen before, or that are too old or new */  \
    X(inflate_refused)    /* messages that Gzip could not expand, or only to too many bytes */     \
    X(fragments_refused)  /* pieces that fit to nothing, or are too many */                        \
    X(held_refused)       /* messages that could not be held back, or no longer */                 \
    X(held_expired)       /* messages whose pieces, predecessors or confirmation did not come */   \
    X(members_hidden)     /* members that DomainFilter kept from the links above */                \
    X(tomcat_asked)       /* questions for the state of a Tomcat's session map */                  \
    X(tomcat_answers)     /* of these, answered and taken over to the end */                       \
    X(tomcat_refused)     /* answers cut off, too large or malformed */                            \
    X(tomcat_ignored)     /* locations in answers that could not be used */                        \
    X(events_told)        /* told to listeners of other modules by the engine */                   \
    X(events_lost)        /* not told: listeners are too slow */                                   \
    X(deploy_placed)      /* files that the deployer put into deployDir */                         \
    X(deploy_removed)     /* files that it removed from there */                                   \
    X(deploy_bytes_in)    /* bytes of files received */                                            \
    X(deploy_bytes_out)   /* sent */                                                               \
    X(deploy_refused)     /* names, files and messages that it refused */                          \
    X(deploy_failed)      /* files that could not be fetched, placed or removed at once */         \
    X(deploy_conflicts)   /* files about which two watchers disagree */                            \
    X(deploy_batches)     /* batches of files that were completed */                               \
    X(deploy_commands)    /* commands run after them */                                            \
    X(deploy_commands_failed)                                                                      \
    X(link_requests) /* messages from the children */                                              \
    X(link_refused)  /* malformed ones */

typedef struct sc_counters_t {
#define SC_X(name) apr_uint64_t name;
    SC_COUNTERS(SC_X)
#undef SC_X
} sc_counters_t;

/** What the requests of a balancer have counted. All children write these, which may not write to
 *  the board, so they are kept beside it (balancer_memory.c); names are those of the status JSON,
 *  behind the counters above. One for each request by why its node was chosen (the last one, when
 *  several were tried), and what else was decided. */
#define SC_TALLIES(X)                                                                              \
    X(choices_route)     /* the node that the cookie names */                                      \
    X(choices_primary)   /* the node that has become the session's primary */                      \
    X(choices_backup)    /* a node that holds a backup, as the nodes have told */                  \
    X(choices_ranked)    /* a node that the id itself names after the first */                     \
    X(choices_hint)      /* the node that the cookie names as backup */                            \
    X(choices_placement) /* the one that the placement function names */                           \
    X(choices_gone)      /* the inner method: the session has ended */                             \
    X(choices_inner)     /* the inner method: no session, or nobody else was left */               \
    X(choices_refused)   /* nobody: nodes failed under requests of the session, one by one */      \
    X(moved_on)          /* requests kept away from their node, which is about to leave or new */  \
    X(node_failures)     /* requests under which a node died or broke the connection */            \
    X(waits_ended)       /* requests that waited for a node when it left the view */

typedef struct sc_tallies_t {
#define SC_X(name) apr_uint64_t name;
    SC_TALLIES(SC_X)
#undef SC_X
} sc_tallies_t;

/** What the requests of a node with SessionClusterManager store have counted. Written by all
 * children, so kept beside the board, as the above (src/httpd/central.c); names are those of the
 * status JSON. */
#define SC_CENTRAL_COUNTERS(X)                                                                     \
    X(central_reads)       /* sessions asked of the central store */                               \
    X(central_hits)        /* of these, found */                                                   \
    X(central_absent)      /* of these, surely not there, or ended */                              \
    X(central_unreachable) /* requests of sessions that the store did not answer */                \
    X(central_writes)      /* values written */                                                    \
    X(central_touches)     /* of these, accesses without a change */                               \
    X(central_coalesced)   /* accesses that were not written, one just had been */                 \
    X(central_merges)      /* changes brought in again, another node had overwritten them */       \
    X(central_refused)     /* values that are none of this module's, or damaged */                 \
    X(central_lost)        /* times that the store answered but had lost everything */             \
    X(central_outages)     /* times that the store stopped answering */                            \
    X(central_dropped)     /* second looks and touches that were given up */

typedef struct sc_central_counters_t {
#define SC_X(name) apr_uint64_t name;
    SC_CENTRAL_COUNTERS(SC_X)
#undef SC_X
} sc_central_counters_t;

/** What is known of a peer's store, kept so that a new engine asks only for what it missed. */
typedef struct sc_board_peer_t {
    apr_uint64_t store_id; /**< 0: free */
    apr_uint64_t lsn;      /**< all its changes up to this number have arrived */
    apr_time_t used;       /**< mono, to reuse the oldest entry */
} sc_board_peer_t;

/** What went on lately: how much these counters have risen. */
#define SC_RATES(X)                                                                                \
    X(created)                                                                                     \
    X(changed)                                                                                     \
    X(touches)                                                                                     \
    X(replicated)                                                                                  \
    X(applied)                                                                                     \
    X(degraded)                                                                                    \
    X(bytes_in)                                                                                    \
    X(bytes_out)

typedef struct sc_rates_t {
    apr_uint64_t span; /**< within so many microseconds; 0: not known yet */
#define SC_X(name) apr_uint64_t name;
    SC_RATES(SC_X)
#undef SC_X
} sc_rates_t;

/** How the last command after a batch of deployed files went. */
typedef enum sc_command_end_t {
    SC_COMMAND_NONE = 0, /**< none was run */
    SC_COMMAND_RUNS,
    SC_COMMAND_DONE,
    SC_COMMAND_EXIT,    /**< it failed with an exit code */
    SC_COMMAND_SIGNAL,  /**< a signal has ended it */
    SC_COMMAND_NOT_RUN, /**< there was no process for it */
    SC_COMMAND_ENDS
} sc_command_end_t;

/** A deployed file on its way between this node and another one. */
typedef struct sc_board_way_t {
    char file[256]; /**< below deployDir; "": none is on its way */
    char who[128];  /**< the other node */
    apr_uint64_t size;
    apr_uint64_t done; /**< bytes of it that have come, or were given */
} sc_board_way_t;

typedef struct sc_board_t {
    apr_uint32_t engine_pid;      /**< 0: none yet */
    apr_uint32_t engine_starts;   /**< how many engines have used this mapping */
    apr_time_t engine_started;    /**< mono */
    apr_uint32_t node_state;      /**< sc_node_state_t */
    apr_uint32_t quorum_lost;     /**< 1: fewer live members than SessionClusterQuorum asks */
    apr_time_t lease_until;       /**< mono; reads are good until then. 0: no lease needed */
    char route[SC_ROUTE_MAX + 1]; /**< this node's */
    sc_uid_t uid;                 /**< this node's */
    apr_uint64_t hlc;             /**< last stamp issued or seen; a new engine goes on from here */
    apr_time_t hlc_at;            /**< mono time at which it was the cluster's time */
    apr_time_t worked_at; /**< mono; the manager works, said a few times a second; 0: never */
    char receiver[SC_HOST_MAX + 8]; /**< host:port of the receiver, "" stand-alone */
    apr_uint32_t restarts;          /**< restarts of httpd that this mapping has seen */
    apr_uint32_t transfer_done;     /**< sessions received by the running state transfer */
    apr_uint32_t transfer_total;    /**< sessions it announced; 0: none runs */
    apr_uint32_t short_copies;      /**< sessions of this node with fewer backups than asked for and
                                         possible */
    apr_uint32_t moving;            /**< changes of location under way */
    apr_uint32_t draining;          /**< 1: an administrator wants this node to be free; outlives
                                         engines and restarts, not the mapping */
    apr_uint32_t completed; /**< 1: an engine on this mapping has been READY: it had what the
                                 others had then, and has it still */
    sc_rates_t rates;       /**< of the last seconds; words of their own, not one picture */
    sc_notices_t notices;
    apr_uint32_t restore; /**< SessionClusterSnapshot, see restore.c: 0: not looked at yet */
    apr_uint64_t forgot;  /**< newest stamp of an ended session that was forgotten, here or by those
                               whom this node has learned from; 0: none */
    struct {
        apr_uint32_t on;         /**< 1: the deployer's process runs */
        apr_uint32_t files;      /**< in deployDir */
        apr_uint32_t waiting;    /**< files still to come */
        apr_uint32_t restarts;   /**< restarts of httpd asked for by afterDeploy=graceful */
        apr_uint64_t bytes;      /**< of all files, those still to come included */
        apr_uint64_t done_bytes; /**< of the file that is being fetched */
        apr_uint64_t version;    /**< a number of what is in deployDir: the same on nodes that have
                                      the same files; 0: not known yet */
        apr_time_t batch_at;     /**< mono; when a batch was complete last; 0: none yet */
        apr_time_t command_at;   /**< mono; when `command` became what it is */
        apr_uint32_t command;    /**< sc_command_end_t */
        apr_uint32_t command_code; /**< exit code or signal */
        apr_uint32_t blind;        /**< 1: watchDir cannot be read */
        apr_uint32_t way_gen;      /**< odd: they are being written */
        sc_board_way_t way[2];     /**< in, out; see sc_board_ways */
    } deploy;
    sc_counters_t count;
    sc_board_peer_t peer[SC_PEERS_MAX];
    apr_uint32_t view_gen;
    sc_view_t view[2];
} sc_board_t;

/** One word of the board, read atomically (acquire). Works for 32 and 64 bit members. */
#define sc_board_get(lvalue) __atomic_load_n(&(lvalue), __ATOMIC_ACQUIRE)
/** Written atomically (release). */
#define sc_board_set(lvalue, v) __atomic_store_n(&(lvalue), (v), __ATOMIC_RELEASE)
/** Engine only: counters have one writer, so this needs no locked instruction. */
#define sc_count(board, name, n) sc_board_set((board)->count.name, (board)->count.name + (n))

/**
 * Copy the current view.
 * @return APR_SUCCESS, or APR_EAGAIN when it changed under every one of a bounded number of tries
 */
apr_status_t sc_board_view(const sc_board_t *board, sc_view_t *out);

/** The current generation only: one atomic load. */
apr_uint32_t sc_board_view_gen(const sc_board_t *board);

/** Engine only: publish a view (sets its gen). */
void sc_board_publish(sc_board_t *board, const sc_view_t *view);

/** Engine only: what files are on their way. @param in, out may be NULL: none */
void sc_board_set_ways(sc_board_t *board, const sc_board_way_t *in, const sc_board_way_t *out);
/**
 * Copy that; texts end within their bounds.
 * @return APR_SUCCESS, or APR_EAGAIN when it changed under every one of a bounded number of tries:
 *         then none are on their way
 */
apr_status_t sc_board_ways(const sc_board_t *board, sc_board_way_t *in, sc_board_way_t *out);

/** State of the live member with this route: 1 alive, 0 not alive or unknown; a member in
 *  SC_NODE_MINORITY refuses sessions and counts as not alive. For children: walks the current view
 *  in place, tolerates a change meanwhile. role: only members of SC_ROLE_NODE. */
int sc_board_route_alive(const sc_board_t *board, const char *route, apr_size_t len);

/** The state that the live member with this route announces; of several the newest. SC_NODE_DOWN:
 * no live member of role node has it. For children, as above. */
apr_uint32_t sc_board_route_state(const sc_board_t *board, const char *route, apr_size_t len);

/** Whether a live member of role node announces that it takes over state (SC_NODE_JOINING), leaves
 *  or is draining. For children, as above. */
int sc_board_any_passing(const sc_board_t *board);

/** Whether another member of role node is alive. For children, as above. */
int sc_board_any_node(const sc_board_t *board);

/** Last change number known of a peer's store. @return 0 when the peer is unknown */
apr_uint64_t sc_board_peer_lsn(const sc_board_t *board, apr_uint64_t store_id);
/** Engine only: remember it (never lowers it). */
void sc_board_peer_set(sc_board_t *board, apr_uint64_t store_id, apr_uint64_t lsn, apr_time_t now);

/** Names for status pages. */
const char *sc_node_state_name(apr_uint32_t state);
const char *sc_member_state_name(apr_uint32_t state);

#endif
