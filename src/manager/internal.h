/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file internal.h
 * @brief Private to room "manager": the managers' state, and what its files call each other.
 *
 *   manager.c    life, members, dispatch of what comes in
 *   request.c    what children ask for
 *   replicate.c  changes for members, waiting for acknowledgements
 *   support.c    whether they are enough   post.c  posting to members
 *   apply.c      live changes of peers          merge.c  the rules by which versions merge
 *   fetch.c      one session asked of peers     expiry.c touches, idling out, tombstones
 *   fetch_judge.c  what came of that, ids that nobody had
 *   fetch_asked.c  the same, asked by peers
 *   lease.c      whether the store may be read without asking
 *   pull.c       state wanted from peers        donor.c  state given to peers
 *   digest.c     comparing with peers           layout.c who holds what
 *   place.c      locations heard                front.c  locations told, front ends
 *   move*.c      changes of location            batch.c  lists of ids on their way out
 *   notify.c     what listeners are told
 *   snapshot.c   sessions over a planned stop   restore.c  the same, read again
 *   snapshot_file.c  the file that they are in between
 *
 * Calls go down this list or to merge.c; only peers' records come in at manager.c.
 */
#ifndef SC_MANAGER_INTERNAL_H
#define SC_MANAGER_INTERNAL_H

#include <string.h>

#include "sc_manager.h"
#include "sc_message.h"

/** Acknowledged once applied, in order, but nobody waits for it. */
#define SC_OPT_QUIET (SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK)
/** How often one and the same complaint is logged. */
#define SC_COMPLAIN apr_time_from_sec(10)
/** Stamps further ahead of the own wall clock are refused. */
#define SC_FUTURE_MS ((apr_uint64_t)24 * 3600 * 1000)
/** How long an idled out session's tombstone stops late messages. */
#define SC_IDLE_TOMBSTONE apr_time_from_sec(60)
/** Bytes of one list message, roughly. */
#define SC_LIST_BYTES (60 * 1024)

typedef struct sc_wait_t sc_wait_t;         /* replicate.h */
typedef struct sc_pending_t sc_pending_t;   /* replicate.h */
typedef struct sc_fetch_t sc_fetch_t;       /* fetch.h */
typedef struct sc_waiter_t sc_waiter_t;     /* fetch.h */
typedef struct sc_transfer_t sc_transfer_t; /* donor.c */
typedef struct sc_restore_t sc_restore_t;   /* restore.c */
typedef struct sc_peer_t sc_peer_t;

/* ---- pulls: state wanted from a peer (pull.c) ----------------------------------------------- */

typedef enum sc_job_t {
    SC_JOB_NONE = 0,
    SC_JOB_CONTEXTS, /**< all of some contexts that were not known here before */
    SC_JOB_MISSED,   /**< all that was missed: since the last number known, or everything */
    SC_JOB_LEGACY    /**< what a third member that died may have told it but not us */
} sc_job_t;

typedef struct sc_pull_t {
    sc_job_t job;        /**< running now */
    apr_uint64_t serial; /**< of its request */
    int asked;           /**< 1: the request has been acknowledged, -1: it was not */
    apr_time_t asked_at; /**< when that was known */
    int damaged;         /**< a block could not be read */
    apr_uint64_t asked_contexts;
    char asked_legacy[SC_ROUTE_MAX + 1];
    apr_uint32_t asked_tag;
    apr_uint64_t asked_legacy_ms;
    apr_time_t heard;      /**< last sign of progress */
    apr_uint64_t total;    /**< sessions announced */
    apr_uint32_t failures; /**< in a row */
    apr_time_t rest;       /**< no new request before this time */
    sc_timer_t timer;

    int want_missed;            /**< SC_JOB_MISSED to run (again) */
    apr_uint64_t want_contexts; /**< SC_JOB_CONTEXTS: bits by context index */
    apr_time_t missed_since;    /**< something may be missing since then; 0: nothing is */
    int want_legacy;
    char legacy[SC_ROUTE_MAX + 1]; /**< route of the dead member, "" when there were several */
    apr_uint32_t legacy_tag;       /**< of its stamps */
    apr_uint64_t legacy_ms;        /**< of what time */
} sc_pull_t;

/* ---- leases (lease.c) ------------------------------------------------------------------------ */

#define SC_DEPARTED 16

typedef struct sc_lease_t {
    apr_time_t granted;  /**< what the peer was granted ends then; 0: it never was */
    apr_time_t until;    /**< what it granted ends then; 0: it never did */
    apr_time_t silent;   /**< the first PING since which it has not answered; 0: it has */
    apr_time_t answered; /**< when the newest PING was sent that it granted */
    apr_uint64_t heard;  /**< its newest PING, in its own clock */
    apr_time_t heard_at; /**< when that came */
    apr_time_t added;    /**< when it came into the view */
    apr_time_t told;     /**< the newest PING it has answered was sent then */
    int counts;   /**< it has granted a lease in this life, or somebody else counts on it: its grant
                     is  needed */
    int known;    /**< all who read on its word know of this node */
    int owed;     /**< this node stood still and has not heard of it since */
    int overdue;  /**< an acknowledgement is overdue: it is granted nothing */
    int withheld; /**< it grants nothing although nothing was lost: it waits for this node, or reads
                       its snapshot */
    int strangers;       /**< it counts on members that are not in this node's view */
    apr_time_t strange;  /**< since then */
    apr_uint64_t loss;   /**< times that a change was acknowledged without it, or was lost */
    apr_uint64_t healed; /**< its number of losses of this node that has been made up */
    apr_uint32_t nmembers;
    apr_uint64_t member[SC_MEMBERS_MAX]; /**< store ids of the members it counts on */
    apr_uint64_t hung;                   /**< bits of those that did not answer it then */
} sc_lease_t;

/** How a member has acknowledged (lag.c). */
typedef struct sc_lag_t {
    apr_time_t late;  /**< the last time that an acknowledgement was overdue, or came late */
    apr_time_t ended; /**< when requests began to wait for it again; 0: it has never lagged */
    apr_interval_time_t probation; /**< for so long nothing may be late before that */
} sc_lag_t;

/** A member that went without a word, and may read until then. */
typedef struct sc_departed_t {
    apr_uint64_t store_id;
    apr_time_t until;
} sc_departed_t;

/* ---- peers: the members of role node, self not included -------------------------------------- */

struct sc_peer_t {
    sc_manager_t *m;
    apr_uint32_t serial; /**< of this life in the table; 0: place is free */
    sc_member_t member;
    apr_uint16_t route; /**< of the member, in the store's table; SC_ROUTE_NONE: no room for it */
    char domain[SC_DOMAIN_MAX + 1];
    int lagging; /**< let a request run out of time: later ones do not wait for it */
    sc_lag_t lag;
    apr_uint64_t
        lacks;      /**< bits of the contexts that it does not have, so it holds none of theirs */
    int synced;     /**< all it had when it came has been pulled: progress may be believed */
    int join_tried; /**< as donor, when joining */
    apr_uint64_t progress;  /**< change number of its store that has arrived, not yet believed */
    apr_time_t progress_at; /**< since then; 0: there is none */
    apr_uint64_t told_lsn;  /**< change number of the own store at the last post to it */
    sc_lease_t lease;
    sc_pull_t pull;
    sc_transfer_t *transfer;

    struct sc_digest_t *digest; /**< digest.c: under way with it; NULL: none */
    int digest_soon;            /**< one is wanted */
};

/* ---- lists of ids on their way out (batch.c) ------------------------------------------------- */

typedef struct sc_batch_t {
    sc_event_t event;
    unsigned int reason;
    apr_size_t bytes;
    apr_uint64_t n[SC_CONTEXTS_MAX];
    sc_buf_t items[SC_CONTEXTS_MAX];
} sc_batch_t;

/* ---- the manager ----------------------------------------------------------------------------- */

#define SC_CHECKPOINTS 120
#define SC_FETCH_BUCKETS 256
#define SC_NEGATIVES 256
#define SC_TOLD 64
#define SC_MISSING 16
#define SC_LEFT 16

typedef struct sc_checkpoint_t {
    apr_time_t at;
    apr_uint64_t lsn;
} sc_checkpoint_t;

/** A session that nobody had, a moment ago. */
typedef struct sc_negative_t {
    apr_uint16_t context;
    sc_id_t id;
    apr_time_t until;
} sc_negative_t;

/** On whose behalf the store is being changed. */
typedef enum sc_cause_t {
    SC_CAUSE_PEER,
    SC_CAUSE_REQUEST, /**< of a child */
    SC_CAUSE_IDLE,
    SC_CAUSE_SHUTDOWN
} sc_cause_t;

/** What brings a session of a peer that is merged. */
typedef enum sc_brought_t {
    SC_BROUGHT_BY_CHANGE = 0, /**< it was changed, moved, or differed */
    SC_BROUGHT_BY_TRANSFER,   /**< of state, pull.c */
    SC_BROUGHT_BY_ANSWER      /**< to fetch.c, which asks the others, too */
} sc_brought_t;

/** A member that said good-bye. */
typedef struct sc_left_t {
    char route[SC_ROUTE_MAX + 1];
    apr_time_t at; /**< 0: free */
} sc_left_t;

struct sc_manager_t {
    sc_manager_config_t cfg;
    const sc_config_t *config;
    sc_store_t *store;
    sc_board_t *board;
    apr_pool_t *scratch; /**< cleared after each use */
    apr_uint16_t own_route;
    apr_uint32_t node_tag;
    sc_node_state_t state;
    int settled;
    int leaving; /**< it is announced as LEAVING, whatever state it is in */
    int stopped;
    sc_brought_t brought; /**< what has brought the session that is merged now */
    sc_cause_t cause;

    /* snapshot.c */
    sc_restore_t *restore; /**< one is to be read, or is being read; NULL: none */
    apr_time_t stopped_at;
    int others_stay; /**< when this node left */
    sc_left_t left[SC_LEFT];
    apr_uint32_t nleft;

    /* lease.c */
    int lapsed;                     /**< the store may be behind: children must ask */
    apr_interval_time_t lease_time; /**< what this node counts on; 0: none is needed */
    apr_interval_time_t grant_time; /**< what it grants: longer */
    apr_time_t lease_seen;          /**< the timer was on time until then */
    apr_time_t quorum_short;        /**< since then too few members hear this node; 0: enough do */
    apr_time_t pinged;              /**< when the last PING was sent, as it says */
    apr_time_t lease_hold;          /**< stood still: members may be there that are not heard yet */
    sc_timer_t lease_timer;
    sc_departed_t departed[SC_DEPARTED];

    sc_peer_t peer[SC_MEMBERS_MAX];
    apr_uint32_t npeers;
    apr_uint32_t peer_serial;
    apr_byte_t place_of[SC_ROUTES_MAX]; /**< layout.c: place of a route's peer, plus 1; 0: none */
    apr_uint32_t turn;                  /**< layout.c: of SC_SELECT_ROUNDROBIN */

    sc_buf_t old;   /**< body of the session at hand */
    sc_buf_t out;   /**< merged body */
    sc_buf_t delta; /**< delta made of a child's request */
    sc_buf_t moved; /**< body of a session whose id was changed */
    sc_buf_t msg;   /**< record to be posted */
    apr_size_t body_limit;

    /* replicate.c */
    sc_wait_t *waits;
    sc_pending_t *pendings;
    apr_uint32_t nwaits;

    /* fetch.c */
    sc_fetch_t *fetch[SC_FETCH_BUCKETS];
    apr_uint32_t nfetches;
    apr_uint64_t fetch_serial;
    apr_uint32_t nwaiters;
    sc_negative_t negative[SC_NEGATIVES];

    /* apply.c */
    apr_uint64_t told[SC_TOLD]; /**< who was told about which unknown context: digests */
    apr_uint32_t next_told;

    /* pull.c and donor.c */
    apr_uint64_t pull_serial;
    struct {
        int active;
        apr_time_t began;
        int main_done;     /**< one donor's whole state has come */
        int donor_ready;   /**< and that donor was READY */
        apr_uint32_t main; /**< serial of the donor asked now, 0: none */
    } join;
    apr_uint32_t transfers; /**< running as donor */

    /* expiry.c */
    apr_time_t started; /**< this engine */
    sc_timer_t touch_timer;
    sc_timer_t tick_timer;
    sc_timer_t due_timer;
    struct {
        sc_timer_t timer;
        apr_uint64_t serial;
        apr_uint32_t next;      /**< place of the peer whose turn it is */
    } digest;                   /**< digest.c */
    struct sc_moves_t *moves;   /**< move.c */
    struct sc_fronts_t *fronts; /**< place.c */
    sc_batch_t accessed;
    sc_batch_t *accesses[SC_MEMBERS_MAX]; /**< backup manager: for each peer; NULL: none yet */
    sc_batch_t expired;
    sc_checkpoint_t checkpoint[SC_CHECKPOINTS];
    apr_uint32_t ncheckpoints; /**< made so far; the ring holds the last SC_CHECKPOINTS */
    struct {
        apr_uint64_t store_id;
        char route[SC_ROUTE_MAX + 1];
        apr_time_t since;
    } missing[SC_MISSING]; /**< members that went without a word */

    struct {
        sc_log_limit_t full, large, degraded, malformed, future, context, nocontext, fetches, clock,
            failed;
    } limit;
};

/* notify.c */
void sc_notify_start(sc_manager_t *m);

/* manager.c */
apr_time_t sc_mgr_now(const sc_manager_t *m);
/** Whether this node has begun with nothing, and has not got yet what the others have. */
int sc_mgr_is_blank(const sc_manager_t *m);
void sc_mgr_set_state(sc_manager_t *m, sc_node_state_t state);
/** Tell children and members the state again: it, the quorum or draining has changed. */
void sc_mgr_announce(sc_manager_t *m);
/** Put a notice on the board. @param who NULL: it is about this node */
void sc_mgr_notice(sc_manager_t *m, sc_notice_kind_t kind, const sc_member_t *who,
                   apr_uint64_t number);

/* drain.c */
int sc_mgr_drains(const sc_manager_t *m);

/* manager.c */
sc_peer_t *sc_mgr_peer(sc_manager_t *m, const sc_member_t *member);
/** The peer of a place, if it is still the one with that serial. */
sc_peer_t *sc_mgr_peer_at(sc_manager_t *m, apr_uint32_t place, apr_uint32_t serial);
apr_uint64_t sc_mgr_lsn(const sc_manager_t *m);
/** Whether there are enough members that hear this node, for children and status to see. */
void sc_mgr_judge_quorum(sc_manager_t *m);
/** Index of a context that a child named, entered if it is new. */
apr_status_t sc_mgr_learn_context(sc_manager_t *m, const char *name, apr_size_t len,
                                  apr_uint16_t *index);

/* merge.c */
typedef struct sc_incoming_t {
    sc_stamp_t stamp;
    apr_uint32_t max_idle_s;
    apr_uint16_t primary;
    apr_uint32_t epoch;
    int located; /**< backup manager: 1: primary, backups and epoch are somebody's record of it; 0:
                    they do not count */
    apr_uint16_t backups[SC_BACKUPS_MAX];
    apr_uint16_t doubt; /**< SC_REC_DOUBT or 0 */
    apr_time_t created;
    apr_time_t accessed;
    const unsigned char *body;
    apr_size_t body_len;
} sc_incoming_t;

/** A proxy is looked at so often. */
#define SC_PROXY_LOOK apr_time_from_sec(600)
/** How long a copy stays that is not to be held here. */
#define SC_GUEST_STAY apr_time_from_sec(10)

/** The location of somebody's record. */
static inline void sc_incoming_locate(sc_incoming_t *in, const sc_record_t *rec)
{
    in->located = 1;
    in->primary = rec->primary;
    in->epoch = rec->epoch;
    memcpy(in->backups, rec->backups, sizeof(in->backups));
}

/** What stands in the stamps of the node with that store. */
static inline apr_uint32_t sc_mgr_tag(apr_uint64_t store_id)
{
    return (apr_uint32_t)(store_id ^ store_id >> 32);
}
sc_stamp_t sc_mgr_stamp(sc_manager_t *m);
/** The cluster's time, ms. Told from the beginning: a node that is cut off before its first stamp
 *  must not begin with a time of its own. */
apr_uint64_t sc_mgr_clock(const sc_manager_t *m);
/** The same as it is told to peers; 0: this node does not know it yet. */
apr_uint64_t sc_mgr_clock_told(const sc_manager_t *m);
/** The cluster's time as a peer knows it; not taken over if it is too far ahead. */
void sc_mgr_observe_clock(sc_manager_t *m, const sc_member_t *from, apr_uint64_t ms);
/** APR_SUCCESS, or APR_EBADDATE when the stamp or one in the body is too far ahead; what passes
 *  advances the own clock. */
apr_status_t sc_mgr_observe(sc_manager_t *m, const sc_member_t *from, const sc_stamp_t *stamp,
                            const unsigned char *body, apr_size_t len);
/** Milliseconds since then, 0 for a time that is to come. */
apr_uint64_t sc_mgr_age(apr_time_t now, apr_time_t then);
/** Time so many milliseconds ago. */
apr_time_t sc_mgr_ago(apr_time_t now, apr_uint64_t ms);
/** When a session must be looked at next if nobody uses it. */
apr_time_t sc_mgr_due(const sc_manager_t *m, const sc_record_t *rec);
/** Merge delta into old (both bodies) to m->out, forgetting old removals as far as needed. */
apr_status_t sc_mgr_merge_body(sc_manager_t *m, const void *old_body, apr_size_t old_len,
                               const void *delta, apr_size_t len, apr_size_t limit,
                               sc_merge_t *result);
/** sc_store_put with due time, count and complaint. */
apr_status_t sc_mgr_put(sc_manager_t *m, sc_record_t *rec, const void *body, apr_size_t len);
/** Merge what came about a session that is alive here; its body stands in m->old.
 *  @param changed receives 1 if it brought something */
apr_status_t sc_mgr_merge_live(sc_manager_t *m, sc_record_t *rec, const sc_incoming_t *in,
                               int *changed);
/** Store a whole session where nothing or an idle tombstone is. */
apr_status_t sc_mgr_put_new(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                            const sc_incoming_t *in, int *changed);
/** Whether a session that has been idle so long clearly has time left. */
int sc_mgr_outlives(const sc_manager_t *m, apr_uint32_t max_idle_s, apr_uint64_t idle_ms);
/** Merge a whole session of a peer. */
apr_status_t sc_mgr_merge_whole(sc_manager_t *m, const sc_member_t *from, apr_uint16_t context,
                                const sc_wire_session_t *w, int *changed);
/** As it travels. */
void sc_mgr_wire(const sc_manager_t *m, const sc_record_t *rec, const void *body, apr_size_t len,
                 sc_wire_session_t *w);
/** m->msg = the whole session, for its holders. @param body of it */
void sc_mgr_msg_whole(sc_manager_t *m, const sc_record_t *rec, const sc_buf_t *body);
/** m->msg = what tells a peer about the session as it is now. @return APR_NOTFOUND: nothing is
 *  here, or only its location */
apr_status_t sc_mgr_msg_current(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** m->msg = SESSION_EXPIRED for one session. */
void sc_mgr_msg_death(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                      const sc_stamp_t *stamp, unsigned int reason);

/* death.c */
/** Replace a session, or nothing, by a tombstone. @param heir SC_DEAD_RENAMED: its new id */
apr_status_t sc_mgr_bury(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                         const sc_stamp_t *stamp, unsigned int reason, const sc_id_t *heir);
/** Read a session, its body to m->old. If its id was changed, the one under the new id, which is
 * then in *id. */
apr_status_t sc_mgr_get_heir(sc_manager_t *m, apr_uint16_t context, sc_id_t *id, sc_record_t *rec);
/** Tell all peers about the session as it is here now, under its newest id. Whoever has led a
 * change to an heir does so: others may have led it to another one, if two nodes changed one id at
 * once; then both heirs get it. */
void sc_mgr_tell_heir(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** A peer says that a session is dead.
 *  @param heir SC_DEAD_RENAMED: its new id; else NULL
 *  @param news receives 1 if this node knows better: SC_DEAD_IDLE: the session lives on here;
 *         SC_DEAD_RENAMED: the heir has got something that its other copies may lack */
apr_status_t sc_mgr_merge_death(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                                const sc_stamp_t *stamp, unsigned int reason, const sc_id_t *heir,
                                int *changed, int *news);
/** Fields of a tombstone that mean something else in a session. */
void sc_mgr_wire_tombstone(const sc_record_t *rec, sc_wire_session_t *w);

/* replicate.c */
/** A session that is here is about to be shown, as the latest that there is: the call is answered
 *  with SC_FOUND, if it is doubtful after the others have it, or have refused it again. */
void sc_mgr_vouch(sc_manager_t *m, const sc_link_call_t *call, apr_time_t since,
                  apr_uint16_t context, const sc_id_t *id);

/** Post m->msg to all whom it concerns and answer the call when they have acknowledged, or as
 *  configured. BACKUP and BACKUP_DIFF concern the session's holders, everything else all peers.
 *  @param id of the session as it is now
 *  @param since when the request began to wait */
void sc_mgr_replicate(sc_manager_t *m, const sc_link_call_t *call, apr_time_t since,
                      apr_uint16_t context, const sc_id_t *id);
/** The same with the whole session as it is here, which is not changed by that: the answer is
 *  SC_FOUND instead of SC_DONE or SC_DEGRADED. */
void sc_mgr_repair(sc_manager_t *m, const sc_link_call_t *call, apr_time_t since,
                   apr_uint16_t context, const sc_id_t *id);
/** This engine begins on a store that another one left: what that one changed last it may not have
 *  lived to have acknowledged, so it is as doubtful as what was refused. */
void sc_mgr_doubt_recent(sc_manager_t *m);
/** Whether a change of the session that was made here has not been acknowledged by all yet. */
int sc_mgr_awaited(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** Post m->msg to all whom it concerns; nobody waits. */
void sc_mgr_broadcast(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** @param peer off the table already, @param serial that it had */
void sc_mgr_replicate_gone(sc_manager_t *m, const sc_peer_t *peer, apr_uint32_t serial,
                           int goodbye);
void sc_mgr_replicate_end(sc_manager_t *m);

/* post.c */
/** The end of a post. @param peer NULL: it is not there any more */
typedef void sc_told_fn_t(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t tag, apr_status_t rv);

/** Post m->msg to all peers; whether it arrives is not even looked at. */
void sc_mgr_spread(sc_manager_t *m, apr_uint32_t options);
/** Post m->msg to one peer, which acknowledges it. @param told NULL: nobody wants to know; not
 * called on failure @param tag for whoever is told */
apr_status_t sc_mgr_post(sc_manager_t *m, sc_peer_t *peer, sc_told_fn_t *told, apr_uint64_t tag);
/** Post m->msg to one peer; nobody wants to know what becomes of it. */
void sc_mgr_send(sc_manager_t *m, sc_peer_t *peer);
/** Post m->msg as an answer to whoever it is; failure is not our business. */
void sc_mgr_reply(sc_manager_t *m, const sc_member_t *to);
/** Let peers know how far the own store is that have not been posted anything since it changed. */
void sc_mgr_tell_progress(sc_manager_t *m);

/* request.c */
void sc_mgr_answer(sc_manager_t *m, const sc_link_call_t *call, sc_outcome_t outcome,
                   apr_time_t since);
/** Run a request that waited for a fetch again.
 *  @param fetched what came of it; SC_DONE: it was not a fetch, but move.c is done with it */
void sc_mgr_resume(sc_manager_t *m, const sc_link_call_t *call, sc_link_op_t op, int again,
                   const unsigned char *body, apr_size_t len, apr_time_t since,
                   sc_outcome_t fetched);

/* apply.c: each returns APR_EINVAL for a malformed record; else what the channel is told */
apr_status_t sc_apply_created(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_apply_delta(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_apply_change_id(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_apply_accessed(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_apply_expired(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_apply_nocontext(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
/** Index of a context that a peer named. Unknown: the peer is told. @return APR_NOTFOUND */
apr_status_t sc_apply_context(sc_manager_t *m, const sc_member_t *from, const char *name,
                              apr_size_t len, apr_uint16_t *index);
/* fetch*.c */
/** Ask all peers for a session; the request waits. @return APR_ENOSPC: too many */
apr_status_t sc_fetch_for(sc_manager_t *m, apr_uint16_t context, const sc_change_t *c,
                          const sc_link_call_t *call, sc_link_op_t op, int again,
                          const unsigned char *body, apr_size_t len, apr_time_t since);
/** Ask one peer, which must have it; nobody waits. */
void sc_fetch_from(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                   const sc_member_t *from);
int sc_fetch_known_absent(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
apr_status_t sc_fetch_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_fetch_answered(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
void sc_fetch_added(sc_manager_t *m, sc_peer_t *peer);
/** A body that was here has been dropped. */
void sc_fetch_dropped(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** A peer went, or the membership has settled: some may have their answer now. */
void sc_fetch_review(sc_manager_t *m);
/** Ask again those that have not answered: they may not have known this node before. */
void sc_fetch_repeat(sc_manager_t *m);
/** What was held here under another id is here under this one now: it is no copy that a fetch has
 * brought, which goes when others do not confirm it. */
void sc_fetch_has_come(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** For so long a member that went without a word is expected to come back with what it holds. */
apr_interval_time_t sc_fetch_grace(const sc_manager_t *m);
/** Backup manager: whether so many members went without a word that all holders of a session may be
 * among them. It may have been made when nobody else could hear of that any more, but before they
 * were missed. An engine that has just begun does not know: it relies on what its peers say. */
int sc_fetch_holders_away(const sc_manager_t *m);
void sc_fetch_end(sc_manager_t *m);

/* lease.c */
void sc_lease_start(sc_manager_t *m);
/** This node may not read from now on. */
void sc_lease_stop(sc_manager_t *m);
/** Notice that this node stood still, or that its lease has run out, before the timer does. */
void sc_lease_check(sc_manager_t *m);
/** Something that it may have waited for has come: the lease is worked out anew. */
void sc_lease_review(sc_manager_t *m);
void sc_lease_added(sc_manager_t *m, sc_peer_t *peer);
/** @param peer off the table already */
void sc_lease_gone(sc_manager_t *m, const sc_peer_t *peer, int goodbye);
apr_status_t sc_lease_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_lease_answered(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
/** A change was acknowledged without the peer, or something for it was lost: it is granted nothing
 *  until it has made that up. */
void sc_lease_lost(sc_manager_t *m, sc_peer_t *peer);
/** Whether requests may wait for it again, now that it has made up what it missed (lag.c). */
int sc_lag_may_end(const sc_manager_t *m, const sc_peer_t *peer);
/** They do from now on. */
void sc_lag_ends(sc_manager_t *m, sc_peer_t *peer);
/** State that made up so many losses has come from a peer. */
void sc_lease_healed(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t loss);
/** Whether the peer has not answered for so long that nobody should wait for it. */
int sc_lease_mute(const sc_manager_t *m, const sc_peer_t *peer);
/** Whether it is mute, and may not read: nothing that it has made lately can have been acknowledged
 *  by way of this node. */
int sc_lease_hung(const sc_manager_t *m, const sc_peer_t *peer);
/** Tell a peer that asks for a session who hangs of those that it does not see. Changes m->msg. */
void sc_lease_tell_hung(sc_manager_t *m, const sc_member_t *from);
/** Whether those are the lesser part of the view that are left without some members: fewer than
 * these, this node counted, or as many, but not the one with the first name. Two of two may be
 * either. @param without bits of the places of those */
int sc_lease_minority(const sc_manager_t *m, apr_uint64_t without);
/** Whether it must be this node that is cut off: those that it hears are the lesser part, or it has
 * just been away. */
int sc_lease_cut_off(const sc_manager_t *m);
/** Whether all who read on a peer's word know of this node, as the peers have said. */
int sc_lease_introduced(const sc_manager_t *m);
/** Whether a store is that of this node or of a member in its view. */
int sc_lease_knows(const sc_manager_t *m, apr_uint64_t store_id);
/** Whether a peer may read from its copies without asking, as far as this node has granted it. */
int sc_lease_may_read(const sc_manager_t *m, const sc_peer_t *peer);
/** When the last member that went without a word may surely not read any more. 0: it is so now */
apr_time_t sc_lease_departed(const sc_manager_t *m);
/** Whether what a member has counts for a quorum. Whoever leaves forgets it, and is asked again as
 * soon as he comes back. */
int sc_lease_stays(const sc_peer_t *peer);
/** Members, this one included, that have granted it a lease for a PING sent at that time or later;
 *  0: that still runs. */
apr_uint32_t sc_lease_support(const sc_manager_t *m, apr_time_t since);

/* pull.c */
void sc_pull_join(sc_manager_t *m);
void sc_pull_added(sc_manager_t *m, sc_peer_t *peer);
/** @param serial the peer had, which is off the table already */
void sc_pull_gone(sc_manager_t *m, sc_peer_t *peer, apr_uint32_t serial, int goodbye);
void sc_pull_gap(sc_manager_t *m, sc_peer_t *peer);
/** A peer says that something was lost: it is pulled unless that is under way. */
void sc_pull_lost(sc_manager_t *m, sc_peer_t *peer);
/** Ask one peer for all that it got in so much time, whoever told it. */
void sc_pull_recent(sc_peer_t *peer, apr_uint64_t ms);
/** A snapshot that had to be read first has been read, or cannot be. */
void sc_pull_restored(sc_manager_t *m);
/** The peer says which request of this node it answers now, after a PING that was sent then. If
 * that is not the one under way, it has forgotten it. */
void sc_pull_given(sc_manager_t *m, sc_peer_t *peer, apr_time_t sent, apr_uint64_t serial);
/** Something that joining may have waited for has come. */
void sc_pull_review(sc_manager_t *m);
/** Whether it is still to be learned what a member that died has told others. */
int sc_pull_legacy_wanted(const sc_manager_t *m);
void sc_pull_context(sc_manager_t *m, apr_uint16_t context);
/** Part of what was asked for has come, though not in a block. */
void sc_pull_alive(sc_manager_t *m, const sc_member_t *from, apr_uint64_t serial);
apr_status_t sc_pull_data(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_pull_complete(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);

/* donor.c */
apr_status_t sc_donor_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
/** Serial of the request that the peer is being answered; 0: none. */
apr_uint64_t sc_donor_serial(const sc_peer_t *peer);
void sc_donor_gone(sc_manager_t *m, sc_peer_t *peer);
void sc_donor_end(sc_manager_t *m);

/* digest.c */
typedef struct sc_digest_t sc_digest_t; /* a comparison under way */
void sc_digest_start(sc_manager_t *m);
/** At the end of the manager: timers, memory. */
void sc_digest_stop(sc_manager_t *m);
/** Compare with this peer at the next occasion: it joined, it came back, something was lost. */
void sc_digest_soon(sc_manager_t *m, sc_peer_t *peer);
void sc_digest_gone(sc_manager_t *m, sc_peer_t *peer);
/** DIGEST, DIGEST_LIST. @return APR_EINVAL: malformed */
apr_status_t sc_digest_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_digest_listed(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);

/* layout.c: who holds what. With the delta manager every peer holds every session. */
static inline int sc_mgr_is_backup(const sc_manager_t *m)
{
    return m->config->manager == SC_MANAGER_BACKUP;
}
/** Whether this node, and a peer, hold a session according to its record. */
int sc_layout_here(const sc_manager_t *m, const sc_record_t *rec);
int sc_layout_at(const sc_manager_t *m, const sc_record_t *rec, const sc_peer_t *peer);
/** The peer of a route. @return NULL: it is not in the view (or is this node) */
sc_peer_t *sc_layout_peer(sc_manager_t *m, apr_uint16_t route);
/** Who may change the location: the primary, or when it is not in the view or mute, the first
 * backup that is there. @return its route; SC_ROUTE_NONE: none of the holders is there */
apr_uint16_t sc_layout_owner(sc_manager_t *m, const sc_record_t *rec);
/** Backups for a primary out of the members that may hold some now (READY, not
 * SC_MEMBER_NO_BACKUPS, not mute, and they have the context; this node included if it is not the
 * primary): by sc_placement_backups, or the next ones in turn. @param backups receives
 * SC_BACKUPS_MAX routes, ended by SC_ROUTE_NONE @return how many */
apr_size_t sc_layout_choose(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                            apr_uint16_t primary, apr_uint16_t *backups);
/** Where a session should be that is at rec: its primary and, as long as it is there, and by
 * sc_layout_choose its backups; by turns it keeps those that are there. @param without bits of the
 * places of peers that are not to hold it @param want receives rec with that location, its epoch
 * one higher @return 1 if it differs from rec's */
int sc_layout_want(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t without,
                   sc_record_t *want);
/** Whether a holder can be counted on: it is this node, or in the view and not mute, or mute and
 * still granted something. */
int sc_layout_usable(sc_manager_t *m, apr_uint16_t route);
/** Backups of the record that are usable, and of role and state to be backups. */
apr_size_t sc_layout_live(sc_manager_t *m, const sc_record_t *rec);
/** A member came, went, or changed. */
void sc_layout_review(sc_manager_t *m);
/** Set the location of the session that is in the store to that of the record. */
apr_status_t sc_layout_set(sc_manager_t *m, const sc_record_t *to);
/** How many members could hold backups of a session of this primary now. */
apr_size_t sc_layout_possible(sc_manager_t *m, apr_uint16_t context, apr_uint16_t primary);
/** Order of two locations: the higher epoch, then by the names. @return <0, 0, >0 */
int sc_layout_cmp(const sc_manager_t *m, const sc_record_t *a, const sc_record_t *b);

/* batch.c */
void sc_batch_init(sc_batch_t *b, sc_event_t event, unsigned int reason);
void sc_batch_free(sc_batch_t *b);
/** Add an item. @return 1: the list is full, it has to be sent before the next one is added */
int sc_batch_death(sc_batch_t *b, apr_uint16_t context, const sc_id_t *id, const sc_stamp_t *stamp);
int sc_batch_access(sc_batch_t *b, apr_uint16_t context, const sc_id_t *id, apr_uint64_t idle_ms);
/** Append the message with all that has been collected, and begin anew.
 *  @return groups in it; 0: there was nothing, and nothing was written */
apr_uint32_t sc_batch_put(const sc_manager_t *m, sc_batch_t *b, sc_buf_t *out);

/* place.c, front.c: locations told and heard (PROXY, STATE), and front ends that only know
 * locations. They leave m->msg alone. */
/** The location of a session was set by this node, or the session has died here (rec is its
 * tombstone, or at least id, context, stamp and that flag): proxies and balancers are told of the
 * location, balancers of the death, in the next batch.
 *  @param digest of its body; 0: not known */
void sc_place_note(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t digest);
/** The same of a session that has died here; with the delta manager, too, since front ends ask
 * nobody. */
void sc_place_dead_here(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                        const sc_stamp_t *stamp);
/** Tell one member at once. */
void sc_place_tell(sc_manager_t *m, const sc_member_t *to, const sc_record_t *rec);
/**
 * A location that somebody knows. Taken if it is newer (sc_layout_cmp) than what is here; then a
 * body that is here although this node is no holder any more is handed over and dropped
 * (sc_move_lost).
 * @param rec id, context, epoch, primary, backups
 * @param digest of the body at its primary; 0: not told
 * @param copied 1: whoever says so has brought the session to those who are to hold it
 * @return APR_SUCCESS: it is what is known here now; APR_EEXIST: something newer was known already;
 *         APR_EINVAL: it names members that nobody has heard of, or an impossible epoch: counted;
 *         APR_EGENERAL: it is to be held here, and there is no copy; other errors of the store
 */
apr_status_t sc_place_merge(sc_manager_t *m, const sc_member_t *from, const sc_record_t *rec,
                            apr_uint64_t digest, int copied);
/** A member knows an older location than there is here, or does not know that the session has died
 * (sc_place_merge: APR_EEXIST). It is told. Changes m->old and m->msg. */
void sc_place_behind(sc_manager_t *m, const sc_member_t *from, const sc_record_t *said);
/** A list item with its table as a record of this store. @return APR_EINVAL: unknown members */
apr_status_t sc_place_record(sc_manager_t *m, const sc_msg_places_t *list, const sc_place_t *item,
                             apr_uint16_t context, sc_record_t *rec);
/** The location of a session as it travels; backups that nobody has heard of are left out.
 *  @return 0: its primary is such a one, or there is none */
int sc_place_of(sc_manager_t *m, const sc_wire_session_t *w, apr_uint16_t context,
                sc_record_t *rec);
/** Whether an epoch may follow the one that is known (0: none is). No: it is counted as refused. */
int sc_place_possible(sc_manager_t *m, const sc_member_t *from, apr_uint32_t known,
                      apr_uint32_t epoch);
/** Whether a location is what this node itself is asking the others for: they know it at once, but
 *  here it counts when it is decided. @param rec as it is here */
int sc_place_undecided(const sc_manager_t *m, const sc_record_t *rec, const sc_record_t *in);
/** Drop the body that is here: of the session only the location stays, that of rec. */
apr_status_t sc_place_only(sc_manager_t *m, const sc_record_t *rec);
apr_status_t sc_place_heard(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r); /* PROXY */
/** REMOVE, SESSION_EXPIRED, as a front end hears them. */
apr_status_t sc_place_dead(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);
apr_status_t sc_place_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r); /* STATE */
/** A member, node or front end (role balancer), came or changed its state; went; something of it
 * was lost. */
void sc_place_added(sc_manager_t *m, const sc_member_t *member);
void sc_place_gone(sc_manager_t *m, const sc_member_t *member);
void sc_place_lost(sc_manager_t *m, const sc_member_t *from);
/** Locations that belong to the last so many changes of the store may be on their way still. */
apr_uint64_t sc_place_slack(const sc_manager_t *m);
void sc_place_start(sc_manager_t *m);
void sc_place_stop(sc_manager_t *m);
/** A proxy's due time, or that of a copy that is not to be held here, has come: see expiry.c. */
apr_time_t sc_place_due(sc_manager_t *m, const sc_record_t *rec, apr_time_t now);

/* move.c: changes of location (docs/consistency.md) */
/** The location that goes with a session's content now: while a change of it is being asked for,
 * the new one, because that is what most others know already. */
void sc_move_told(const sc_manager_t *m, sc_record_t *rec);
/** The session is being moved by this node: its new holders get what its old ones get, and changes
 *  of others are refused until it is decided. */
int sc_move_pending(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** A number was promised for the session some time ago, and nothing has come of it: its owner is to
 * go past it, since no change under a lower one counts. */
int sc_promise_stale(const sc_manager_t *m, const sc_record_t *rec);
/** The number that was promised last was promised to the member with that store. */
int sc_promise_to(const sc_manager_t *m, const sc_record_t *rec, apr_uint64_t store_id);
/** A number was promised to somebody else: what is changed here under a lower one he need not hear
 * of. */
int sc_promise_binds(const sc_manager_t *m, const sc_record_t *rec);
/** Whether this node may be a holder only by a location that is not decided: others may hold it by
 * the one before, which it need not know. It acknowledges nothing that goes by such a location. */
int sc_promise_is_open(const sc_manager_t *m, const sc_record_t *rec);
/** Whether it is that, and somebody else than this member asked for it, or was promised the next.
 */
int sc_promise_open_to(const sc_manager_t *m, const sc_record_t *rec, apr_uint64_t store_id);
/** A change of somebody else has come for a session that is held here: whether it is refused,
 * because the session is being moved, or is to be moved first, since this node is its owner and not
 * enough of its holders are there. That begins then. Changes m->old and m->msg. */
int sc_move_refuses(sc_manager_t *m, const sc_record_t *rec);
/**
 * A change of a session cannot be acknowledged by all of its holders: it is to get a location
 * without those that have not got it. Its owner sees to that; another node asks to become the
 * owner.
 * @param has bits of the places of those that have the change
 * @param ask 0: it has been asked for, and that is under way
 * @return 1: it is to be waited for
 */
int sc_move_without(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t has, int ask);
/** All are to know where a session is, even if it stays there. @return 1: it is to be waited for;
 * 0: it is not this node's */
int sc_move_settle(sc_manager_t *m, const sc_record_t *rec);
/** Something of others has been merged into a session: if it is being moved, the copies lack it. */
void sc_move_dirty(const sc_manager_t *m, const sc_record_t *rec, const sc_incoming_t *in);
/** A change of a session was acknowledged, with a quorum, without all of its holders: if it is
 * being moved, the copies lack it. */
void sc_move_behind(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id);
/** Whether a copy that is not held here may have something that holders lack: it is on its way to
 * them, or the engine before this one left it, and nobody knows why. */
int sc_move_has_news(const sc_manager_t *m, const sc_record_t *rec);
int sc_move_target(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                   const sc_peer_t *peer);
/**
 * A request that is to change a session waits until the location that this node has accepted is
 * decided: usually a moment, at most ack_wait_ms. Then it is run again.
 * @return APR_SUCCESS: it waits; APR_ENOTIMPL: there is nothing to wait for; APR_ENOSPC: too many
 * wait
 */
apr_status_t sc_move_await(sc_manager_t *m, const sc_record_t *rec, const sc_link_call_t *call,
                           sc_link_op_t op, int again, const unsigned char *body, apr_size_t len,
                           apr_time_t since);
/**
 * Bring the location of one session in order, now, because a request is waiting: a holder of it is
 * not there or mute, and this node is its owner. The request is run again when that is done, or has
 * failed, or has taken ack_wait_ms.
 * @return APR_SUCCESS: the request waits; APR_ENOTIMPL: there is nothing to do (not the owner, or
 * all is in order, or nobody else could hold it); APR_ENOSPC: too many wait
 */
apr_status_t sc_move_for(sc_manager_t *m, const sc_record_t *rec, const sc_link_call_t *call,
                         sc_link_op_t op, int again, const unsigned char *body, apr_size_t len,
                         apr_time_t since);
/** Make this node the primary, because the route of the cookie is gone: by itself if it is the
 * owner, else by asking the owner (TAKE). Nobody waits. */
void sc_move_take(sc_manager_t *m, const sc_record_t *rec);
apr_status_t sc_move_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);    /* TAKE */
apr_status_t sc_move_notified(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r); /* NOTIFY */
apr_status_t sc_move_answered(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r); /* its reply */
apr_status_t sc_move_copied(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r);   /* COPY */
/** This node holds the session no more, but has its body in m->old: it goes to the primary if that
 *  has another one, and becomes a proxy. */
void sc_move_lost(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t digest);
/** The view has changed, or a member its state: look at all sessions soon. */
void sc_move_review(sc_manager_t *m);
/** A session has got this location by what others know: if it is this node's, it may have to move.
 */
void sc_move_look(sc_manager_t *m, const sc_record_t *rec);
void sc_move_gone(sc_manager_t *m, const sc_peer_t *peer, apr_uint32_t serial);
/** The node is about to leave: hand over what it holds. */
void sc_move_leave(sc_manager_t *m);
/** Whether handing over goes on. */
int sc_move_leaving(const sc_manager_t *m);
void sc_move_start(sc_manager_t *m);
void sc_move_stop(sc_manager_t *m);

/* expiry.c */
void sc_expiry_init(sc_manager_t *m);
void sc_expiry_start(sc_manager_t *m);
void sc_expiry_stop(sc_manager_t *m);
/** expireSessionsOnShutdown */
void sc_expiry_bury_own(sc_manager_t *m);
/** Change number that the store had so long ago; 0 when that is not known. */
apr_uint64_t sc_expiry_lsn_ago(const sc_manager_t *m, apr_uint64_t ms);
/** Steps in which access times are replicated, and grace times derived from it. */
apr_interval_time_t sc_expiry_step(const sc_manager_t *m, apr_uint32_t max_idle_s);
/** An access on this node; told to the peers when it is worth it. */
void sc_expiry_touch(sc_manager_t *m, const sc_record_t *rec, apr_time_t accessed);
/** Raise rec's access time, here and in the store, to what children have noted. */
void sc_expiry_refresh(sc_manager_t *m, sc_record_t *rec);
void sc_expiry_missing(sc_manager_t *m, const sc_member_t *member);
void sc_expiry_found(sc_manager_t *m, const sc_member_t *member);
/** Route of a member that went without a word. @return SC_ROUTE_NONE: it is none */
apr_uint16_t sc_expiry_missing_route(const sc_manager_t *m, apr_uint64_t store_id);
/** Whether a member of this route went without a word less than so long ago, or may have: before
 *  this engine was there. */
int sc_expiry_lately(const sc_manager_t *m, apr_uint16_t route, apr_interval_time_t time);
/** How many members went without a word less than so long ago. */
apr_uint32_t sc_expiry_missing_lately(const sc_manager_t *m, apr_interval_time_t time);

/* snapshot.c and restore.c */
/** Look for a snapshot, if this is the first engine of a new store. */
void sc_restore_start(sc_manager_t *m);
/** Others have to come first; sc_manager_settled is called again. */
int sc_restore_waits(sc_manager_t *m);
/** Something that this node should know is still in a file: it grants nothing, vouches for nothing
 *  and is not READY. */
int sc_restore_pending(const sc_manager_t *m);
/** Begin to read, unless that has begun. @return 1: sc_pull_restored will be called; 0: there is
 * nothing to be read */
int sc_restore_first(sc_manager_t *m);
/** Read to the end, for a node that stands alone and serves nobody yet. */
void sc_restore_now(sc_manager_t *m);
void sc_restore_end(sc_manager_t *m);
/** Leaving, and it may still be heard that the others leave, too. */
int sc_snapshot_listens(const sc_manager_t *m);
/** A member said good-bye. */
void sc_snapshot_left(sc_manager_t *m, const sc_member_t *member);

#endif
