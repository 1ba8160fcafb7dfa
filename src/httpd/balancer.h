/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file balancer.h
 * @brief What the files of the balancer's side share.
 *
 * balancer.c: lbmethod, states of workers, hooks. balancer_place.c: which worker takes a session
 * over. balancer_members.c, balancer_slots.c: workers of nodes that announce themselves.
 * balancer_away.c: sessions that are to leave the worker of their route although it serves.
 * balancer_outcome.c: what became of requests. balancer_memory.c: what children count together.
 * balancer_wait.c: requests that wait for a node that is gone.
 */
#ifndef SC_BALANCER_H
#define SC_BALANCER_H

#include "sc_httpd.h"

#include "apr_optional.h"
#include "mod_proxy.h"

/** The name of the method. */
#define BYSESSION "bysession"

/** Why a node was chosen: SESSION_CLUSTER_CHOICE, and counted (SC_TALLIES). */
#define CHOICES(X)                                                                                 \
    X(ROUTE, route)                                                                                \
    X(PRIMARY, primary)                                                                            \
    X(BACKUP, backup)                                                                              \
    X(RANKED, ranked)                                                                              \
    X(HINT, hint)                                                                                  \
    X(PLACEMENT, placement)                                                                        \
    X(GONE, gone)                                                                                  \
    X(INNER, inner)                                                                                \
    X(REFUSED, refused)

typedef enum choice_t {
#define CHOICE_X(upper, lower) CHOICE_##upper,
    CHOICES(CHOICE_X)
#undef CHOICE_X
} choice_t;

/** Why a session is kept away from the worker of its route. */
typedef enum away_t {
    AWAY_NOT,
    AWAY_GONE,   /**< it has ended: its cookie is worth no more than none */
    AWAY_LEAVING /**< its node is about to leave, or has only just come; others can take it */
} away_t;

/** Most routes of a ranked id that are looked at (WildFly's default: 3). */
#define SC_RANKED_MAX 8

/** The session that a request belongs to. All of it comes from the client: it chooses a worker and
 *  nothing else. */
typedef struct ticket_t {
    const char *id; /**< in the header or URL itself: nothing ends it but its length */
    apr_size_t id_len;
    int ours; /**< the id is like this module's: key is its value */
    sc_id_t key;
    const char *route; /**< NULL or "": none. As it stands there, also when it is ranked */
    const char *hint;  /**< the backup's route as the cookie says; "": none */
    int foul;          /**< the request names one, but that can be no id of anybody's */
    int nranked;       /**< routes in the id, SessionClusterBalancerMethod rankedDelimiter=; 0: one
                            at most */
    const char *ranked[SC_RANKED_MAX];
} ticket_t;

/** What one request has tried; the module's part of its configuration. */
typedef struct attempts_t {
    request_rec *r;
    const char *url; /**< balancer://..., as mod_proxy_balancer looks for the session in */
    const proxy_balancer *balancer; /**< of that URL, if its method is bysession; else NULL */
    const proxy_worker *chosen;     /**< by the finder, last; NULL: none yet */
    const proxy_worker *likely;     /**< to get this attempt; NULL: not known */
    apr_array_header_t *tried;      /**< proxy_worker *: chosen before that, so they failed */
    sc_view_t *view;                /**< of the first choice in this request */
    int have_view;
    choice_t choice;  /**< the last one */
    const char *told; /**< the one that the environment tells; NULL: none yet */
    int sent;         /**< a node has got the request, and its answer is waited for */
    int was_no_cache; /**< r->no_cache at that time */
    away_t away;
    apr_table_t *headers; /**< the request's headers while it hides its session; else NULL */
    char **url_at;        /**< where mod_proxy keeps the URL meanwhile, */
    char *url_was;        /**< and what that was */
    char *args_was;       /**< and the query */
    const proxy_balancer_shared *ticket_of; /**< who reads the ticket so; NULL: not taken yet */
    int ticket_ok;                          /**< what sc_ticket_take has said of it */
    ticket_t ticket;                        /**< of this attempt, see sc_attempts_ticket */
} attempts_t;

/** What is known here of a session. */
typedef enum located_t {
    LOCATED_NOWHERE, /**< nothing */
    LOCATED_LIVE,
    LOCATED_DEAD /**< it has ended, in every context that knew it */
} located_t;

/* What the view says about a route. Only members from STANDING_PASSING on serve sessions. */
typedef enum standing_t {
    STANDING_UNKNOWN,  /**< never heard of */
    STANDING_GONE,     /**< known, and no live member has it */
    STANDING_MINORITY, /**< lives, but refuses sessions: too few others (SessionClusterQuorum) */
    STANDING_PASSING,  /**< lives, but has not all sessions yet, or is about to leave */
    STANDING_GOOD
} standing_t;

/** @param alive receives the newest live member of that route; may be NULL */
standing_t sc_standing(const sc_view_t *view, const char *route, const sc_board_member_t **alive);

/** The session of a request. @param url as mod_proxy_balancer searches it
 *  @return 1 when the request names one, 0 when not, or when that can be no id of anybody's */
int sc_ticket_take(ticket_t *t, const proxy_balancer_shared *s, request_rec *r, const char *url);

/** The same for the attempt that is under way, read once. @return NULL: none */
const ticket_t *sc_attempts_ticket(attempts_t *a, const proxy_balancer_shared *s);

/** Whether there is anything in a ticket to choose a worker by: a node that somebody knows, or an
 * id like this module's. What anybody may have made up is no session. */
int sc_ticket_counts(const ticket_t *t, const proxy_balancer *balancer, attempts_t *a);

/** Look a session up in the store. @param rec of LOCATED_LIVE, see sc_store_locate */
located_t sc_locate(const ticket_t *t, sc_record_t *rec);

/** The same when the record is not wanted: cheaper, for each request. */
located_t sc_fate(const ticket_t *t);

/** Whether any node that lives is passing (sc_board_any_passing): one look at the view for all
 *  requests until it changes. 0 without an engine. */
int sc_any_passing(void);

/** What this request has tried, made on demand. */
attempts_t *sc_attempts(request_rec *r);

/** The same, NULL when it has not been made: no concern of this module. */
attempts_t *sc_attempts_made(const request_rec *r);

/** The finder has chosen a worker. */
void sc_attempts_note(attempts_t *a, const proxy_worker *worker);

/** Look up what was put into a table a moment ago: a note, a variable of the environment. As
 *  apr_table_get, but from the end: both have many entries when a request is proxied. */
const char *sc_newest(const apr_table_t *table, const char *key);

/** Whether that very value, not only one that is equal, is among the last that were put there. */
int sc_has_newest(const apr_table_t *table, const char *value);

/** Whether the finder has chosen a worker before in this request, so that it has failed. */
int sc_was_tried(const attempts_t *a, const proxy_worker *worker);

typedef APR_OPTIONAL_FN_TYPE(ap_proxy_retry_worker) retry_worker_t;

/**
 * The worker that takes over a session: the same on every front end that sees the same members.
 * @param a with AWAY_LEAVING only a worker is fit whose member is there to stay
 * @param retry may be NULL
 * @param how receives why it was chosen: primary, backup, ranked, hint or placement
 * @return NULL when no worker is fit
 */
proxy_worker *sc_place(proxy_balancer *balancer, attempts_t *a, const ticket_t *t,
                       retry_worker_t *retry, choice_t *how);

/** The view of this request, the same for all its attempts. NULL when there is no engine, or when
 *  its view names no other node (stand-alone, or it has only just begun). */
const sc_view_t *sc_attempts_view(attempts_t *a);

/** The worker that mod_proxy_balancer takes for a route: the first one that can be used, standbys
 *  last. @return NULL when none can be used */
proxy_worker *sc_route_worker(const proxy_balancer *balancer, const char *route);

/** The same when the balancer's lock is not held; nor is it taken as long as there are none but the
 *  workers of the configuration. mod_proxy puts others behind these, in a longer copy of the list
 *  perhaps, and never takes one of them or a list away. @return also NULL when there is no lock */
proxy_worker *sc_route_worker_unlocked(proxy_balancer *balancer, const char *route);

/* ---- balancer_away.c ------------------------------------------------------------------------- */

/** Before mod_proxy_balancer looks for the session of a request, in each attempt: hide it if need
 *  be. @param a of a request to a balancer with this method */
void sc_away_begin(attempts_t *a, char **url);

/** The finder has been called: the request shows its session again. */
void sc_away_end(attempts_t *a);

/** The request is over, and it shows its session even if the finder has not been called after all:
 *  a lock could not be had, say. The URL is mod_proxy's and gone by now. */
void sc_away_over(attempts_t *a);

/* ---- balancer_outcome.c ---------------------------------------------------------------------- */

/** Register what looks at requests when they have been proxied. */
void sc_outcome_register(void);

/** The word for a choice in environment and logs. */
const char *sc_choice_name(choice_t choice);

/** Note why a node is chosen, also in the environment. */
void sc_choose(attempts_t *a, choice_t choice);

/** A route from a cookie, as it may appear in logs and in the environment of programs. */
const char *sc_printable(apr_pool_t *p, const char *route);

/** A session as it may appear in logs. */
const char *sc_ticket_masked(const ticket_t *t, apr_pool_t *p);

/** Whether a request is to be answered with 502 because too many nodes have failed under its
 *  session, one after the other; said in the log, once, and counted. */
int sc_outcome_refuse(attempts_t *a);

/* ---- balancer_memory.c ----------------------------------------------------------------------- */

/** Most failures that are remembered for one session. */
#define SC_FAILURES_MAX 16

/** Make the memory, or find the one of before the restart: sc_httpd()->balancer. */
apr_status_t sc_balancer_memory_make(server_rec *s);

/** The counters. @return NULL: none */
sc_tallies_t *sc_tallies(void);

/** Count one. */
#define sc_tally(name)                                                                             \
    do {                                                                                           \
        sc_tallies_t *sc_t = sc_tallies();                                                         \
        if (sc_t) {                                                                                \
            __atomic_fetch_add(&sc_t->name, 1, __ATOMIC_RELAXED);                                  \
        }                                                                                          \
    } while (0)

/**
 * A node has failed under a request of a session.
 * @param begun, now mono: when the request began, when the node failed. Failures under requests
 *        that began before the last one are part of that one.
 * @param max from so many failures within that time on the session is refused for as long; 0: never
 * @return how many have been within that time; 0 when nothing can be remembered
 */
int sc_failure_note(const ticket_t *t, apr_time_t begun, apr_time_t now, int max,
                    apr_interval_time_t within);

/** Whether any session at all is refused now: one look at one word. */
int sc_failure_any(void);

/** Whether this one is. @param now mono. @param told receives whether anybody knows it from here
 *  already: the first caller is told that nobody does */
int sc_failure_refused(const ticket_t *t, apr_time_t now, int *told);

/* ---- balancer_wait.c ------------------------------------------------------------------------- */

/** Register what notices requests that wait for a node's answer. */
void sc_wait_register(void);

/** In a child, once: the thread that ends waits in vain. */
void sc_wait_child_init(apr_pool_t *pchild, server_rec *s);

/* ---- balancer_members.c ---------------------------------------------------------------------- */

/** The balancers of SessionClusterMembers. All functions take NULL for none. */
typedef struct sc_members_t sc_members_t;

/** When the configuration has been read. @param members receives NULL when there are none
 *  @return OK, or HTTP_INTERNAL_SERVER_ERROR; what is wrong has been logged then */
int sc_members_check(sc_members_t **members, module *proxy, server_rec *s, apr_pool_t *p);

/** In post_config, after mod_proxy_balancer's. @param view who was there before a restart; may be
 * NULL
 */
void sc_members_ready(sc_members_t *members, const sc_view_t *view, apr_pool_t *p);

/** Follow what other processes have changed: before each look for a worker. Costs one load for each
 *  balancer when there is nothing. Must not be called with a balancer's lock held. */
void sc_members_sync(sc_members_t *members);

/** Make members that announce themselves workers, and give up those that are gone for long. One
 *  thread of a process at a time.
 *  @param main_request 0: this is within a sub-request */
void sc_members_walk(sc_members_t *members, const sc_view_t *view, apr_time_t mono,
                     int main_request);

/** As sc_standing, for one worker: that of a member which announces another URL now, or none, is
 *  gone. @param alive must not be NULL, and point to NULL */
standing_t sc_members_standing(const sc_members_t *members, const proxy_balancer *b,
                               const proxy_worker *w, const sc_view_t *view,
                               const sc_board_member_t **alive);

int sc_members_info(const sc_members_t *members, int i, const sc_view_t *view,
                    sc_members_info_t *out);

#endif
