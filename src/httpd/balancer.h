/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file balancer.h
 * @brief What the files of the balancer's side share.
 *
 * balancer.c: lbmethod, states of workers, hooks. balancer_place.c: which worker takes a session
 * over. balancer_members.c, balancer_slots.c: workers of nodes that announce themselves.
 */
#ifndef SC_BALANCER_H
#define SC_BALANCER_H

#include "sc_httpd.h"

#include "apr_optional.h"
#include "mod_proxy.h"

/** What one request has tried; lives as long as its pool. */
typedef struct attempts_t {
    request_rec *r;  /**< an internal redirect has the same pool, but is another request */
    const char *url; /**< balancer://..., as mod_proxy_balancer looks for the session in */
    apr_array_header_t *tried; /**< proxy_worker *: chosen before, so they failed */
    sc_view_t *view;           /**< of the first choice in this request */
    int have_view;
} attempts_t;

/** The session that a request belongs to. */
typedef struct ticket_t {
    const char *id;
    apr_size_t id_len;
    const char *route; /**< NULL or "": none */
} ticket_t;

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
 *  @return 1 when the request names one, 0 when not */
int sc_ticket_take(ticket_t *t, const proxy_balancer_shared *s, request_rec *r, const char *url);

/** What this request has tried, made on demand. */
attempts_t *sc_attempts(request_rec *r);

typedef APR_OPTIONAL_FN_TYPE(ap_proxy_retry_worker) retry_worker_t;

/**
 * The worker that takes over a session: the same on every front end that sees the same members.
 * @param retry may be NULL
 * @param how receives why it was chosen: primary, backup or placement
 * @return NULL when no worker is fit
 */
proxy_worker *sc_place(proxy_balancer *balancer, attempts_t *a, const ticket_t *t,
                       retry_worker_t *retry, const char **how);

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
