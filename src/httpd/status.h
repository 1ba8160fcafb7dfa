/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file status.h
 * @brief What the files of the status page share.
 *
 * status.c: the handler, and the facts, looked up once for each answer. status_json.c,
 * status_prometheus.c, status_html.c with status_style.c: the same facts in three forms.
 * status_extras.c: the page's sections on central store and deployer.
 * status_server.c: a few of them for mod_status. status_actions.c: what a POST may do.
 * status_lookup.c: one session. status_text.c: numbers and names as text.
 *
 * Everything here reads shared memory only, and asks nobody; so the page answers also when the
 * engine does not. Only actions go to the engine. Names of routes, contexts, domains and URLs come
 * from other members, who may be anybody without a secret: they are bounded when they are copied,
 * and escaped where they are written. No whole session id and no attribute is ever written.
 */
#ifndef SC_STATUS_H
#define SC_STATUS_H

#include "sc_httpd.h"

/** Bodies of POSTs in bytes. */
#define SC_STATUS_BODY_MAX 4096

/** What POSTs have done, over all children and restarts. */
typedef struct sc_status_counts_t {
    apr_uint64_t status_actions; /**< carried out */
    apr_uint64_t status_refused; /**< POSTs that were refused, whatever they wanted */
} sc_status_counts_t;

/** One session as the store of this node knows it. */
typedef struct sc_found_t {
    const char *context;
    const char *id;    /**< masked */
    const char *state; /**< live, elsewhere (only the location is known), ended */
    const char *role;  /**< of this node for it: primary, backup, replica, proxy, none */
    const char *primary;
    apr_array_header_t *backups; /**< const char * */
    apr_uint64_t bytes;
    apr_time_t age;  /**< since it was created; -1: not known */
    apr_time_t idle; /**< since its last access; -1: not known */
    apr_time_t left; /**< until it ends without another access; -1: not known, or never */
    apr_uint32_t epoch;
} sc_found_t;

/** What a POST has come to. */
typedef struct sc_action_t {
    const char *name;          /**< "": there was none; lookup, drain, undrain, expire */
    int done;                  /**< 0: it could not be done */
    const char *message;       /**< one sentence, no markup, nothing of what was sent */
    apr_array_header_t *found; /**< sc_found_t: lookup; else NULL */
} sc_action_t;

/** The facts. What lies in shared memory has been copied, and strings end within their bounds. */
typedef struct sc_status_t {
    request_rec *r;
    const sc_server_conf_t *conf; /**< may be NULL */
    sc_store_t *store;            /**< NULL: no engine; then only the tallies are there */
    const sc_board_t *board;      /**< the same; single words are read from it */
    apr_time_t now;               /**< mono */
    apr_time_t wall;
    const char *route; /**< this node's, "" without one */
    const char *receiver;
    apr_uint32_t role;
    apr_uint32_t state; /**< sc_node_state_t, as the other members see it */
    sc_view_t *view;
    sc_store_stats_t stats;
    apr_array_header_t *contexts; /**< sc_context_stats_t */
    sc_notice_t *notice;
    int nnotices;
    sc_counters_t count;
    sc_rates_t rates;
    sc_tallies_t tallies;
    int has_tallies; /**< a balancer here uses bysession */
    sc_central_counters_t central;
    int has_central;          /**< sessions are in a central store, which */
    sc_central_info_t shared; /**< is this */
    int deploys;              /**< SessionClusterDeployer is configured */
    sc_board_way_t in, out;   /**< files that it has on their way */
    sc_status_counts_t posts;
    int may_act;       /**< SessionClusterStatusActions On */
    const char *nonce; /**< for forms */
    long refresh;      /**< seconds; 0: not */
    sc_action_t action;
} sc_status_t;

/** Why there is nothing to tell. */
extern const char sc_status_no_engine[];

/* ---- status.c -------------------------------------------------------------------------------- */
/** Look everything up. @return 0: there is no engine, and no balancer that counts either */
int sc_status_look(sc_status_t *s, request_rec *r);
/** Members of role node in the view, and how many of them are alive. */
void sc_status_nodes(const sc_status_t *s, apr_uint32_t *alive, apr_uint32_t *all);
/** Requests and saves that were refused or served without all acknowledgements. */
apr_uint64_t sc_status_refused(const sc_counters_t *c);
/** Share of the store's cells that is taken, in thousandths. */
apr_uint64_t sc_status_used(const sc_store_stats_t *stats);
/** Lag of a member: how long what was sent to it has not been acknowledged. */
apr_time_t sc_status_lag(const sc_status_t *s, const sc_board_member_t *m);

/* ---- the forms ------------------------------------------------------------------------------- */
/** Each writes a whole answer, with its headers; s->store may be NULL. */
void sc_status_json(sc_status_t *s);
void sc_status_prometheus(sc_status_t *s);
void sc_status_html(sc_status_t *s);
/** The style sheet of the page: status_style.c. */
extern const char sc_status_style[];

/* ---- status_actions.c ------------------------------------------------------------------------ */
/** post_config: nonce and counters, made once for each start of httpd. */
int sc_status_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
const char *sc_status_nonce(void);
void sc_status_counts(sc_status_counts_t *out);
/** Check a POST and do what it asks for; the outcome goes into s->action.
 *  @return OK, or the status to answer with; that has been logged and counted */
int sc_status_post(sc_status_t *s);

/* ---- status_lookup.c ------------------------------------------------------------------------- */
/** All sessions of that id. @param context NULL: in all of them. @return sc_found_t */
apr_array_header_t *sc_lookup(const sc_status_t *s, const sc_id_t *id, const char *context);

/* ---- status_text.c --------------------------------------------------------------------------- */
/** As a JSON string, quotes included; what is not UTF-8 becomes U+FFFD. */
const char *sc_text_json(apr_pool_t *p, const char *text);
/** As the value of a Prometheus label, without the quotes; the same. */
const char *sc_text_label(apr_pool_t *p, const char *text);
/** "12.4 MiB" */
const char *sc_text_bytes(apr_pool_t *p, apr_uint64_t bytes);
/** "12,345" */
const char *sc_text_number(apr_pool_t *p, apr_uint64_t n);
/** "3 min", "14 h 5 min", "250 ms" */
const char *sc_text_duration(apr_pool_t *p, apr_time_t t);
/** How much a second: "12.4". */
const char *sc_text_rate(apr_pool_t *p, apr_uint64_t sum, apr_uint64_t span);
/** How the last command after a deployment went. @param how sc_command_end_t */
const char *sc_text_command(apr_pool_t *p, apr_uint32_t how, apr_uint32_t code);
/** node, balancer, foreign */
const char *sc_text_role(apr_uint32_t role);
/** Name of a member: its route, or its address. */
const char *sc_text_member(apr_pool_t *p, const sc_board_member_t *m);

#endif
