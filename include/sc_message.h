/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_message.h
 * @brief Room "manager": session messages, the records of the channel's envelopes.
 *
 *   event u8 | fields by event, varints and length-prefixed strings | further fields of later
 *   versions, skipped
 *
 * Event numbers are Tomcat's (tribes-protocol 7.3); those of the replicated map (8.2) stand 0x40
 * higher, answers to them another 0x40 higher. The map's INIT, START and STOP have no messages of
 * their own: a member's state in its mark says the same (sc_member.h, sc_node_state_t). Times
 * travel as ages: milliseconds before now, so that clocks need not agree (DESIGN I7).
 *
 * Pure codecs. What a reader returns points into the input and has been checked: lengths, names,
 * bodies (sc_body_check). Whether a message makes sense here is the manager's business.
 */
#ifndef SC_MESSAGE_H
#define SC_MESSAGE_H

#include "sc_board.h"
#include "sc_session.h"
#include "sc_store.h"

typedef enum sc_event_t {
    SC_EVT_SESSION_CREATED = 1,
    SC_EVT_SESSION_EXPIRED = 2,
    SC_EVT_SESSION_ACCESSED = 3,
    SC_EVT_GET_ALL_SESSIONS = 4,
    SC_EVT_ALL_SESSION_DATA = 12,
    SC_EVT_SESSION_DELTA = 13,
    SC_EVT_ALL_SESSION_TRANSFERCOMPLETE = 14,
    SC_EVT_CHANGE_SESSION_ID = 15,
    SC_EVT_ALL_SESSION_NOCONTEXTMANAGER = 16,
    SC_EVT_BACKUP = 0x41,      /**< to a holder: a whole session, as SESSION_CREATED */
    SC_EVT_RETRIEVE = 0x42,    /**< RETRIEVE_BACKUP: fetch one session */
    SC_EVT_PROXY = 0x43,       /**< locations, to those who only know them */
    SC_EVT_REMOVE = 0x44,      /**< as SESSION_EXPIRED */
    SC_EVT_STATE = 0x45,       /**< asks for all locations; answered by PROXY */
    SC_EVT_COPY = 0x49,        /**< a block of sessions for a new holder */
    SC_EVT_ACCESS = 0x4b,      /**< as SESSION_ACCESSED */
    SC_EVT_NOTIFY = 0x4c,      /**< NOTIFY_MAPMEMBER: locations that the sender wants to change */
    SC_EVT_PING = 0x4d,        /**< asks for a lease */
    SC_EVT_BACKUP_DIFF = 0x51, /**< BACKUP with diff: what one request changed, as SESSION_DELTA */
    SC_EVT_DIGEST = 0x52,      /**< sums over ranges of ids */
    SC_EVT_DIGEST_LIST = 0x53, /**< the sessions of one range that differed */
    SC_EVT_TAKE = 0x54,        /**< asks the owner of a session to give it to the sender */
    SC_EVT_RETRIEVE_REPLY = 0x82, /**< answer to RETRIEVE */
    SC_EVT_NOTIFY_REPLY = 0x8c,   /**< answer to NOTIFY: locations known better */
    SC_EVT_PING_REPLY = 0x8d      /**< answer to PING */
} sc_event_t;

/** "SESSION_DELTA" and so on, "unknown" for a number that is none. */
const char *sc_event_name(unsigned int event);

/** A stretch of text in the input; not NUL-terminated. */
typedef struct sc_text_t {
    const char *s;
    apr_size_t len;
} sc_text_t;

/* ---- tombstones ----------------------------------------------------------------------------- */

/**
 * Why a session is dead, in the place of max_idle_s of its tombstone (records and wire alike).
 * A lower number wins where two nodes buried one session for different reasons. The first two are
 * final. A session that idled out is only gone: who knows of a later change or access brings it
 * back, because idling out is judged by a node that may have been cut off from its user.
 */
#define SC_DEAD_INVALIDATED 0u
#define SC_DEAD_RENAMED 1u
#define SC_DEAD_IDLE 2u

/** The new id of a session whose tombstone says SC_DEAD_RENAMED. @return 0: it says something else
 */
int sc_record_heir(const sc_record_t *rec, sc_id_t *heir);

/* ---- whole sessions ------------------------------------------------------------------------- */

/** Highest epoch that a message may carry: it rises by one with each change of location. */
#define SC_EPOCH_MAX 0x80000000u

/** One session as it travels whole (CREATED, ALL_SESSION_DATA, RETRIEVE_REPLY, BACKUP, COPY). */
typedef struct sc_wire_session_t {
    const char *context;
    apr_size_t context_len;
    sc_id_t id;
    unsigned int flags; /**< SC_REC_TOMBSTONE; or SC_REC_DOUBT; RETRIEVE_REPLY: or SC_REC_PROXY */
    apr_uint32_t max_idle_s; /**< of a tombstone: SC_DEAD_* */
    apr_uint64_t age_ms;     /**< since creation */
    apr_uint64_t idle_ms;    /**< since the last access */
    sc_stamp_t stamp;
    const char *primary; /**< route */
    apr_size_t primary_len;
    apr_uint32_t epoch;
    const unsigned char *body; /**< a tombstone and a proxy have none */
    apr_size_t body_len;
    sc_id_t heir;          /**< SC_DEAD_RENAMED: the session's new id */
    apr_uint32_t nbackups; /**< holders besides the primary, each once; 0: a tombstone, or it comes
                                from an earlier version */
    sc_text_t backup[SC_BACKUPS_MAX];
} sc_wire_session_t;

/** Append: length of all that follows, then the fields. What the flags rule out (body, backups) is
 *  left out. */
void sc_wire_session_put(sc_buf_t *b, const sc_wire_session_t *s);
/** Pointers go into the input; the body has passed sc_body_check. SC_REC_PROXY is refused.
 *  @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_wire_session_get(sc_rd_t *r, sc_wire_session_t *s);

/** SESSION_CREATED, BACKUP: event | session */
void sc_msg_created_put(sc_buf_t *b, sc_event_t event, const sc_wire_session_t *s);
apr_status_t sc_msg_created_get(sc_rd_t *r, sc_wire_session_t *s);

/* ---- changes -------------------------------------------------------------------------------- */

#define SC_MSG_PRIMARY 0x1 /**< the sender is primary of the session from this change on */

/** SESSION_DELTA, BACKUP_DIFF and CHANGE_SESSION_ID (the only one with new_id): what one request
 *  changed. */
typedef struct sc_msg_delta_t {
    sc_text_t context;
    sc_id_t id;
    sc_id_t new_id;
    unsigned int flags; /**< SC_MSG_* */
    sc_stamp_t stamp;
    apr_uint32_t max_idle_s;
    apr_uint64_t idle_ms; /**< since the last access, which a change is */
    apr_uint32_t epoch;
    const unsigned char *body; /**< attributes set and removed, with stamps */
    apr_size_t body_len;
    apr_uint64_t digest; /**< CHANGE_SESSION_ID: of the whole body under the new id */
} sc_msg_delta_t;

void sc_msg_delta_put(sc_buf_t *b, sc_event_t event, const sc_msg_delta_t *d);
apr_status_t sc_msg_delta_get(sc_rd_t *r, sc_event_t event, sc_msg_delta_t *d);

/* ---- lists: SESSION_ACCESSED and ACCESS, SESSION_EXPIRED and REMOVE -------------------------- */

/** Sessions of one context, and for EXPIRED of one reason. */
typedef struct sc_group_t {
    sc_text_t context;
    unsigned int reason; /**< EXPIRED: SC_DEAD_INVALIDATED or _IDLE; ACCESSED: 0 */
    apr_uint64_t n;      /**< items */
    const unsigned char *items;
    apr_size_t items_len;
} sc_group_t;

/** ACCESSED: id, milliseconds since the access. */
void sc_item_accessed_put(sc_buf_t *items, const sc_id_t *id, apr_uint64_t idle_ms);
apr_status_t sc_item_accessed_get(sc_rd_t *items, sc_id_t *id, apr_uint64_t *idle_ms);
/** EXPIRED: id, stamp of the invalidation, or newest stamp of the session that idled out. */
void sc_item_expired_put(sc_buf_t *items, const sc_id_t *id, const sc_stamp_t *stamp);
apr_status_t sc_item_expired_get(sc_rd_t *items, sc_id_t *id, sc_stamp_t *stamp);

/** Event and number of groups; sc_group_put for each group must follow. */
void sc_msg_groups_put(sc_buf_t *b, sc_event_t event, apr_uint32_t ngroups);
void sc_group_put(sc_buf_t *b, const sc_group_t *g);
/** Check the whole list, items included, so that none of a broken one is applied.
 *  @param ngroups receives their number; r stands at the first */
apr_status_t sc_msg_groups_get(sc_rd_t *r, sc_event_t event, apr_uint64_t *ngroups);
apr_status_t sc_group_get(sc_rd_t *r, sc_group_t *g);

/* ---- state transfer ------------------------------------------------------------------------- */

/** GET_ALL_SESSIONS. */
typedef struct sc_msg_get_all_t {
    apr_uint64_t serial;    /**< of the request; repeated in what answers it */
    apr_uint64_t since;     /**< only what the donor's store changed after this number */
    apr_uint64_t recent_ms; /**< not 0: what changed in this time, instead of since */
    sc_text_t primary;      /**< not empty: only sessions that have it as primary or backup, or
                                 something in them that this node has stamped: */
    apr_uint32_t maker;     /**< sc_stamp_t's node; 0: none */
    apr_uint32_t ncontexts; /**< contexts that the requester knows */
    sc_text_t context[SC_CONTEXTS_MAX];
    apr_uint32_t held; /**< 1: besides, all sessions that the requester holds according to the
                          donor, however old, if the donor is their primary or stands in for it */
    apr_uint32_t
        knows; /**< 1: the requester has all that the donor can have been given by others */
} sc_msg_get_all_t;

void sc_msg_get_all_put(sc_buf_t *b, const sc_msg_get_all_t *g);
apr_status_t sc_msg_get_all_get(sc_rd_t *r, sc_msg_get_all_t *g);

/** ALL_SESSION_DATA, COPY: so many sessions follow, written by sc_wire_session_put. */
typedef struct sc_msg_data_t {
    apr_uint64_t serial;
    apr_uint64_t total; /**< sessions the donor expects to send; for progress only */
    apr_uint64_t count; /**< in this block */
} sc_msg_data_t;

void sc_msg_data_put(sc_buf_t *b, sc_event_t event, const sc_msg_data_t *d);
/** r stands at the first session then. APR_EINVAL for any other event, too. */
apr_status_t sc_msg_data_get(sc_rd_t *r, sc_event_t event, sc_msg_data_t *d);

/** ALL_SESSION_TRANSFERCOMPLETE. */
typedef struct sc_msg_complete_t {
    apr_uint64_t serial;
    apr_uint64_t lsn;    /**< the donor's state up to this change has been sent */
    apr_uint32_t ready;  /**< 1: the donor was READY and leased, so this was all it should know */
    apr_uint64_t sent;   /**< sessions sent */
    apr_uint64_t loss;   /**< the donor's number of losses of the requester (SC_EVT_PING), when its
                              scan began: they have been made up now */
    apr_uint64_t forgot; /**< the newest stamp (hlc) of an ended session that the donor, or whoever
                              it has learned from, has forgotten; 0: none */
} sc_msg_complete_t;

void sc_msg_complete_put(sc_buf_t *b, const sc_msg_complete_t *c);
apr_status_t sc_msg_complete_get(sc_rd_t *r, sc_msg_complete_t *c);

/** ALL_SESSION_NOCONTEXTMANAGER: the sender does not have this context. */
void sc_msg_nocontext_put(sc_buf_t *b, const sc_text_t *context);
apr_status_t sc_msg_nocontext_get(sc_rd_t *r, sc_text_t *context);

/* ---- fetch on demand ------------------------------------------------------------------------ */

/** RETRIEVE; RETRIEVE_REPLY with found and session. */
typedef struct sc_msg_retrieve_t {
    sc_text_t context;
    sc_id_t id;
    apr_uint64_t serial; /**< of the question; comes back in the reply, so that a late answer is not
                              taken for one to a later question. 0: an earlier version */
    apr_uint32_t found;  /**< reply: 1: session (or its tombstone, or its location) follows */
    apr_uint32_t sure;   /**< reply: 1: the sender had a valid lease, so this is the latest of
                              what it holds */
    apr_uint32_t away;   /**< reply: 1: so many members have gone without a word lately that all
                              holders of a session may be among them (backup manager) */
    apr_uint32_t blank; /**< reply: 1: the sender has begun with nothing, and is not READY yet. What
                             it was told before it has forgotten, so it does not count among those
                             whom a quorum asks */
    sc_wire_session_t session; /**< reply: its context and id equal those above; with SC_REC_PROXY
                                    in flags only the location is known: no body, and a primary
                                    and an epoch that are not 0 */
} sc_msg_retrieve_t;

void sc_msg_retrieve_put(sc_buf_t *b, sc_event_t event, const sc_msg_retrieve_t *m);
apr_status_t sc_msg_retrieve_get(sc_rd_t *r, sc_event_t event, sc_msg_retrieve_t *m);

/* ---- leases --------------------------------------------------------------------------------- */

/**
 * PING: asks a peer for a lease, and says which members the sender counts on.
 *
 * A peer that grants it promises not to acknowledge a change without the sender, for the length of
 * the lease from the arrival of the PING on. The sender counts from when it wrote the PING, in its
 * own clock, so no clocks are compared. See src/manager/lease.c.
 */
typedef struct sc_msg_ping_t {
    apr_uint64_t sent;   /**< in the sender's own clock; comes back in the reply */
    apr_uint64_t healed; /**< the peer's number of losses that the sender has made up */
    apr_uint64_t clock;  /**< the cluster's time as the sender knows it, ms; 0: it does not */
    apr_uint32_t nmembers;
    apr_uint64_t member[SC_MEMBERS_MAX]; /**< store ids of the members it counts on, not its own */
    apr_uint64_t hung; /**< bits of those that do not answer it, and that it has granted nothing */
} sc_msg_ping_t;

void sc_msg_ping_put(sc_buf_t *b, const sc_msg_ping_t *p);
apr_status_t sc_msg_ping_get(sc_rd_t *r, sc_msg_ping_t *p);

typedef struct sc_msg_ping_reply_t {
    apr_uint64_t sent;       /**< of the PING */
    apr_uint64_t loss;       /**< how many times something for the asking member was lost */
    apr_uint32_t granted;    /**< 1: the lease is granted */
    apr_uint64_t transfer;   /**< serial of the GET_ALL_SESSIONS that is being answered; 0: none */
    apr_uint32_t introduced; /**< 1: all who read on the sender's word know of the asker */
} sc_msg_ping_reply_t;

void sc_msg_ping_reply_put(sc_buf_t *b, const sc_msg_ping_reply_t *p);
apr_status_t sc_msg_ping_reply_get(sc_rd_t *r, sc_msg_ping_reply_t *p);

/* ---- locations: PROXY, NOTIFY, NOTIFY_REPLY -------------------------------------------------- */

#define SC_PLACES_LAST 0x1    /**< PROXY: the last one that answers a STATE */
#define SC_PLACES_CLAIM 0x2   /**< NOTIFY: the locations are known; each item's number is claimed */
#define SC_PLACES_DECIDED 0x4 /**< NOTIFY: all have accepted these locations. There is no reply */
#define SC_PLACES_BLANK 0x8   /**< NOTIFY_REPLY: as in sc_msg_retrieve_t */
/** Bytes of a list at most, names included: less than the smallest maxFrame. */
#define SC_PLACES_BYTES (48 * 1024)

/** Head of a list of locations. Then the names of routes, then groups by context, as written by
 *  sc_places_put_*. */
typedef struct sc_msg_places_t {
    apr_uint64_t
        serial;         /**< NOTIFY and its reply: of the NOTIFY; PROXY: of the STATE it answers, or
                             0 */
    unsigned int flags; /**< SC_PLACES_* */
    apr_uint32_t nroutes; /**< places in route[], 0 included: so all indices are less than this */
    sc_text_t route[SC_ROUTES_MAX]; /**< place 0 is "no route" and not written; each name once */
    apr_uint64_t ngroups;           /**< r stands at the first group */
} sc_msg_places_t;

/** One location. Routes are indices in the list's table. */
typedef struct sc_place_t {
    sc_id_t id;
    apr_uint32_t epoch;   /**< 1 to SC_EPOCH_MAX */
    apr_uint32_t primary; /**< 0: the session is not there any more, as far as its location goes;
                               no backups and no digest then */
    apr_uint32_t nbackups;
    apr_uint32_t backup[SC_BACKUPS_MAX];
    apr_uint64_t digest; /**< sc_body_digest of the session at its primary; 0: not told */
    apr_uint32_t number; /**< CLAIM: the epoch that is asked for, or in the reply was promised to
                              somebody already; 0: none */
} sc_place_t;

/**
 * A list of locations being put together: a growing table of route names and one buffer of items
 * per context, so that it can be written in one go.
 */
typedef struct sc_places_t sc_places_t;

/** @return NULL when out of memory */
sc_places_t *sc_places_create(void);
void sc_places_free(sc_places_t *p);
void sc_places_clear(sc_places_t *p);
/**
 * Add the location of a record, with the store's names. A tombstone, like a record without primary,
 * gets primary 0.
 * @param digest see sc_place_t
 * @return APR_SUCCESS; APR_ENOSPC: full: write it, clear it, and add again; APR_ENOMEM; APR_EINVAL:
 *         unknown context, an epoch that readers would refuse, or the tombstone of a changed id,
 *         which has no epoch: nothing was added
 */
apr_status_t sc_places_add(sc_places_t *p, const sc_store_t *store, const sc_record_t *rec,
                           apr_uint64_t digest);
/** The same, with a number. */
apr_status_t sc_places_number(sc_places_t *p, const sc_store_t *store, const sc_record_t *rec,
                              apr_uint64_t digest, apr_uint32_t number);
apr_size_t sc_places_count(const sc_places_t *p);
/** Bytes that it would take in a message, roughly. */
apr_size_t sc_places_bytes(const sc_places_t *p);
/** Append the message: event PROXY, NOTIFY or NOTIFY_REPLY. The list stays as it is. */
void sc_places_put(sc_buf_t *b, sc_event_t event, apr_uint64_t serial, unsigned int flags,
                   const sc_places_t *p, const sc_store_t *store);

/** Check the whole list, items included: counts, indices, names, no route twice in one location.
 *  Bounded by the input. */
apr_status_t sc_msg_places_get(sc_rd_t *r, sc_msg_places_t *m);
/** The next group: items and n as in sc_group_t, to be read with sc_place_get. */
apr_status_t sc_places_group_get(sc_rd_t *r, sc_group_t *g);
apr_status_t sc_place_get(sc_rd_t *items, sc_place_t *p);

/** STATE: serial of the request. */
void sc_msg_state_put(sc_buf_t *b, apr_uint64_t serial);
apr_status_t sc_msg_state_get(sc_rd_t *r, apr_uint64_t *serial);

/** TAKE: the sender wants to become primary of a session of which it knows this epoch. */
typedef struct sc_msg_take_t {
    sc_text_t context;
    sc_id_t id;
    apr_uint32_t epoch; /**< 1 to SC_EPOCH_MAX */
} sc_msg_take_t;

void sc_msg_take_put(sc_buf_t *b, const sc_msg_take_t *t);
apr_status_t sc_msg_take_get(sc_rd_t *r, sc_msg_take_t *t);

/* ---- digests -------------------------------------------------------------------------------- */

/** Ranges of ids: by their first byte. */
#define SC_DIGEST_RANGES 256
/** Sessions in one DIGEST_LIST at most. */
#define SC_DIGEST_ITEMS 4096

/** DIGEST: per range the sum of what each session has to say (src/manager/digest.c). Only contexts
 *  that both know count; so their names are part of it. */
typedef struct sc_msg_digest_t {
    apr_uint64_t serial;
    apr_uint32_t ncontexts;
    sc_text_t context[SC_CONTEXTS_MAX];
    apr_uint64_t sum[SC_DIGEST_RANGES];
} sc_msg_digest_t;

void sc_msg_digest_put(sc_buf_t *b, const sc_msg_digest_t *d);
apr_status_t sc_msg_digest_get(sc_rd_t *r, sc_msg_digest_t *d);

/** DIGEST_LIST: what the sender has in part of one range of one context.
 *  With an empty context it is the last one that answers a DIGEST: range says how many ranges
 *  differed, listed or not; items are the names (varint length, bytes) of those contexts of the
 *  DIGEST that the sender does not have: then nothing was compared. */
typedef struct sc_msg_digest_list_t {
    apr_uint64_t serial;
    sc_text_t context;
    apr_uint32_t range;
    sc_id_t from, upto; /**< this list is complete for ids from <= id <= upto */
    apr_uint64_t n;
    const unsigned char *items;
    apr_size_t items_len;
} sc_msg_digest_list_t;

void sc_msg_digest_list_put(sc_buf_t *b, const sc_msg_digest_list_t *d);
apr_status_t sc_msg_digest_list_get(sc_rd_t *r, sc_msg_digest_list_t *d);
/** An item: id and what it says; ids strictly ascending, which sc_msg_digest_list_get has checked.
 */
void sc_item_digest_put(sc_buf_t *items, const sc_id_t *id, apr_uint64_t sum);
apr_status_t sc_item_digest_get(sc_rd_t *items, sc_id_t *id, apr_uint64_t *sum);

#endif
