/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file provider.h
 * @brief What the files of the session provider share.
 *
 * provider.c: hooks, one request's state, the output filter. session_load.c: finding a session.
 * session_save.c: what changed goes to the engine. session_diff.c: what has changed.
 * session_hint.c: the backup in the cookie. session_rotate.c: new ids.
 */
#ifndef SC_PROVIDER_H
#define SC_PROVIDER_H

#include "mod_session.h"

#include "sc_httpd.h"

/** A new id: never; the rights stay as they were; they may have changed. In ascending order. */
typedef enum rotation_t { ROTATE_NOT, ROTATE_REFRESH, ROTATE_LOGIN } rotation_t;

/** What the provider knows about a session that a request asked for. */
typedef enum session_state_t {
    SESSION_NEW,    /**< none was there: an empty one, stored when something is put into it */
    SESSION_LOADED, /**< it was in the store */
    SESSION_UNKNOWN /**< could not be found out: no session for this request, cookie untouched */
} session_state_t;

typedef enum cookie_due_t { COOKIE_KEEP, COOKIE_SET, COOKIE_CLEAR } cookie_due_t;

/**
 * One session as one request sees it, redirects and sub-requests included.
 *
 * mod_session gets a pointer to the first member. It may zero that member (never the rest), so
 * nothing that must last is kept there.
 */
typedef struct session_t {
    session_rec z;
    struct session_t *next; /**< of the same chain */
    const char *name;       /**< of the cookie */
    const char *context;
    session_state_t state;
    sc_id_t id;            /**< of the loaded one, later of the new one */
    const char *route;     /**< what the cookie says or shall say behind the id */
    const char *hint;      /**< what it says as backup; "": nothing */
    const char *old_route; /**< the node that the session was taken over from; NULL: none */
    const char *role;      /**< SESSION_CLUSTER_ROLE */
    apr_uint32_t max_idle_s;
    apr_array_header_t *loaded; /**< sc_attr_t in body order: what the request began with */
    cookie_due_t due;           /**< what the response still has to tell the browser */
    const sc_dir_conf_t *dir;   /**< where it was asked for first, later where it was saved */
    int saved;                  /**< the save hook has run; once is enough */
    int rotated;                /**< it has got a new id by this request; once is enough */
    int stale;                  /**< NEW, because the cookie's id was changed a moment ago */
    apr_status_t save_rv;
    apr_interval_time_t wait; /**< time spent waiting for the engine */
} session_t;

/** Answer 503 instead of what the request would answer. */
typedef enum refusal_t { REFUSE_NOT, REFUSE_WANTED, REFUSE_DONE } refusal_t;

/** Cookies are taken out of the headers once, but may be asked for again under another context. */
typedef struct taken_t {
    struct taken_t *next;
    const char *name;
    sc_cookie_t cookie;
} taken_t;

/** What belongs to a request and everything it leads to; lives in the pool of the first one. */
typedef struct chain_t {
    request_rec *top; /**< the request that came over the wire */
    session_t *sessions;
    taken_t *taken;
    refusal_t refuse;
    rotation_t asked; /**< what the application has asked for, by header or note */
} chain_t;

/** What a request has changed in a session. */
typedef struct session_diff_t {
    sc_buf_t attrs;       /**< as sc_change_attr_put writes them; to be freed */
    apr_uint32_t nattrs;  /**< attributes that differ */
    apr_uint32_t live;    /**< attributes that the session has now */
    apr_size_t bytes;     /**< names and values of these */
    const char *too_long; /**< an attribute whose name is over SC_NAME_MAX; NULL: none */
} session_diff_t;

/** NULL when mod_session is there in time, else what to do about it. */
const char *sc_provider_missing(void);

/** SessionMaxAge and SessionExpiryUpdateInterval of a request. @return NULL without mod_session */
const session_dir_conf *sc_provider_mod_session(request_rec *r);

/** The chain of a request, made on demand when make. */
chain_t *sc_chain(request_rec *r, int make);

/** The request whose headers go out: not a sub-request. */
request_rec *sc_response_of(request_rec *r);

/** Let the whole request be answered with 503 and Retry-After. */
void sc_refuse(chain_t *chain, request_rec *r, const char *why);

/** Whether a session that could not be found out about, or saved, is a reason to refuse the
 * request: it is with onTimeout=fail, and with a quorum, which is there to rather say nothing than
 * the wrong thing. */
int sc_must_refuse(void);

/** One call to the engine. wait is added to. @return APR_SUCCESS and the outcome, or an error */
apr_status_t sc_ask(request_rec *r, sc_link_op_t op, const sc_change_t *change,
                    apr_interval_time_t timeout, sc_outcome_t *outcome, apr_interval_time_t *wait);

/** Bring a session's due cookie onto the response. */
void sc_settle_cookie(request_rec *r, session_t *s);

/** Remember a place's configuration: a copy, since that of a sub-request goes with it. */
void sc_session_place(chain_t *chain, session_t *s, const sc_dir_conf_t *dir);
/** Hook session_load. */
int sc_session_load(request_rec *r, session_rec **z);
/** Put what a session's body holds into its table. @param body as long as the session lives
 *  @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_session_take(session_t *s, const unsigned char *body, apr_size_t len);
/** Make mod_session save, so that the cookie is sent again, when it is time to. @param begin when
 * it was created; last access and now on the same clock. @return 1: it is time to */
int sc_session_arm(request_rec *r, session_t *s, apr_time_t begin, apr_time_t last, apr_time_t now);
/** central_session.c, SessionClusterManager store: what the central store says of a session. */
typedef enum central_found_t {
    CENTRAL_FOUND, /**< it has been taken over into s */
    CENTRAL_GONE,
    CENTRAL_RENAMED,
    CENTRAL_UNKNOWN /**< it has not answered */
} central_found_t;

/** Find s->id. @param route as in the cookie; filtered: this is no access */
central_found_t sc_central_load(request_rec *r, session_t *s, const char *route, int filtered);
/** As sc_ask. @return APR_SUCCESS; APR_TIMEUP: no answer */
apr_status_t sc_central_ask(sc_link_op_t op, const sc_change_t *change, sc_outcome_t *outcome);
/** As sc_session_heir. */
int sc_central_heir(const session_t *s, const sc_id_t *id, sc_id_t *heir);
/** As sc_session_find; body, its length and the times are filled in. */
int sc_central_other(const session_t *s, const sc_id_t *id, sc_stored_t *stored);
/** Take over what sc_central_other has found, as s->id. @return 1: done */
int sc_central_take(request_rec *r, session_t *s, const sc_stored_t *stored, const char *route);

/** Whether an id was changed; which one it has become. @return 1: it was */
int sc_session_heir(const session_t *s, const sc_id_t *id, sc_id_t *heir);
/** Look for the session under another id. @return 1: it is there, to *stored; 0: it is not;
 *  -1: that could not be found out */
int sc_session_find(request_rec *r, session_t *s, const sc_id_t *id, const char *route,
                    sc_stored_t *stored);
/** Hook session_save. */
int sc_session_save(request_rec *r, session_rec *z);
/** Let the engine do something to a session. @param change its ids and flags are set
 *  @param diff NULL: no attributes */
apr_status_t sc_session_ask(request_rec *r, session_t *s, sc_link_op_t op, sc_change_t *change,
                            const session_diff_t *diff, sc_outcome_t *outcome);
/** End a session that has not been saved yet, now. @return APR_EGENERAL: it has been */
apr_status_t sc_session_end_now(request_rec *r, session_t *s);
/** Where a session is. @return APR_NOTFOUND */
apr_status_t sc_session_where(const session_t *s, sc_record_t *rec);
/** What this node is for a session. */
sc_holder_t sc_session_role(const sc_record_t *rec);
/** Before the response leaves: new ids for those that were not saved, and so have none yet. */
void sc_session_rotate_unsaved(request_rec *r, chain_t *chain);
/** SESSION_CLUSTER_* of a request. */
void sc_session_env(request_rec *r, const session_t *s);

/**
 * What the cookie of a session shall name as its backup, SessionClusterBackupHint. What it names
 * now stays as long as it is right: s->hint.
 * @return "" for none
 */
const char *sc_session_hint(const session_t *s);

/* ---- session_diff.c -------------------------------------------------------------------------- */

/** mod_session keeps its expiry time among the entries under this name; it is no attribute. */
#define SC_EXPIRY_KEY "expiry"
/** Attributes whose names begin like this are this module's own: no application sees or sets them.
 */
#define SC_OWN_PREFIX '\001'
/** Whose id the session had before, see session_rotate.c. */
#define SC_MARK_NAME "\001origin"

/**
 * Compare a session's table with what was loaded.
 *
 * Names are compared as the table does, ASCII case ignored. Of several entries of one name, which
 * only apr_table_add can make, the last counts, as with the stock providers, whose next load would
 * see that one.
 * @param loaded sc_attr_t in ascending order of names; NULL: nothing was
 * @return APR_SUCCESS, or the sticky error of the buffer
 */
apr_status_t sc_session_diff(const apr_table_t *now, const apr_array_header_t *loaded,
                             apr_size_t limit, apr_pool_t *pool, session_diff_t *out);

/** Whether a login has changed: one of the named attributes (NULL: one whose name ends in "-user")
 *  has a value now that is not empty and was not there when the session was loaded. */
int sc_session_login_changed(const apr_table_t *now, const apr_array_header_t *loaded,
                             const apr_array_header_t *attrs);

/* ---- session_rotate.c ------------------------------------------------------------------------ */

/** Note of a request by which a new id is asked for. */
#define SC_ROTATE_NOTE "session-cluster-rotate"

/** SessionClusterRotateId. */
const char *sc_rotate_directive(cmd_parms *cmd, void *dir, int argc, char *const argv[]);
/** How long an id that was changed is something else than an unknown one. */
apr_interval_time_t sc_rotation_grace(const sc_dir_conf_t *dir);
/** Take what the application says about new ids out of the headers and notes of the request and of
 *  those it belongs to. */
void sc_rotation_collect(request_rec *r, chain_t *chain);
/** What a session of a request needs: after what the application says, or because it is a login. */
rotation_t sc_rotation_wanted(request_rec *r, chain_t *chain, const session_t *s);
/** Add to a change of id what tells later whose id it was. */
void sc_rotation_mark(request_rec *r, const chain_t *chain, const session_t *s, rotation_t rotation,
                      session_diff_t *diff);
/** A request began with an id that was changed a moment ago. @return 1: it may have the session,
 *  which is in *stored; its id is in s->id; 0: it may not; -1: that could not be found out */
int sc_rotation_reach(request_rec *r, chain_t *chain, session_t *s, const char *route,
                      sc_stored_t *stored);
/** The id was changed while the request ran: do what it wants under the new one.
 *  @param newest receives that
 *  @return 1: done, with that outcome; 0: it may not (SC_REFUSED), or there is nothing any more
 *  (SC_ABSENT) */
int sc_rotation_follow(request_rec *r, chain_t *chain, session_t *s, sc_link_op_t op,
                       const session_diff_t *diff, sc_id_t *newest, sc_outcome_t *outcome);

#endif
