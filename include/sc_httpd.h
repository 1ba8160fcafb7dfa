/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_httpd.h
 * @brief Room "httpd": what the files that know httpd share. Never included by another room.
 *
 * config.c: directives -> sc_server_conf_t (one per process) and sc_dir_conf_t (per directory).
 * engine_process.c: the engine's process: fork, keep, respawn, replace. provider.c: sessions for
 * mod_session. cookie.c: the cookie. balancer*.c: lbmethod bysession. status*.c: the status page.
 * listeners.c, api.c: for other modules.
 */
#ifndef SC_HTTPD_H
#define SC_HTTPD_H

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"
#include "apr_strings.h"
#include "apr_tables.h"

#include "sc_board.h"
#include "sc_config.h"
#include "sc_cookie.h"
#include "sc_link.h"
#include "sc_session.h"
#include "sc_store.h"

/** The only symbol that the shared object exports. */
extern module AP_MODULE_DECLARE_DATA session_cluster_module __attribute__((visibility("default")));

/** One SessionClusterMembers: a balancer that takes the nodes that announce themselves. Times are
 *  milliseconds; 0: as mod_proxy has it. */
typedef struct sc_members_line_t {
    char balancer[96];        /**< balancer://name, small letters */
    char route[64];           /**< pattern of routes, "": all */
    char url[SC_URL_MAX + 1]; /**< pattern of URLs, "": all */
    apr_uint32_t keep_ms;     /**< how long the worker of a node that is gone keeps its place */
    apr_uint32_t connect_ms;  /**< what workers get, as BalancerMember's parameters */
    apr_uint32_t timeout_ms;
    apr_uint32_t retry_ms;
    apr_uint32_t ping_ms;
    apr_uint32_t disable_reuse;
} sc_members_line_t;

/** SessionClusterManager store. */
typedef struct sc_central_conf_t {
    char provider[512];      /**< name:arguments of a socache provider; "": not given */
    char prefix[15];         /**< of its keys */
    apr_uint32_t timeout_ms; /**< how long a request waits for the store */
    apr_uint32_t retry_ms;   /**< pause between two tries when it does not answer */
    apr_uint32_t empty;      /**< 1: requests go on without a session then; 0: 503 */
    apr_uint32_t touch_s;    /**< accesses to a session are written so often at most */
    apr_uint32_t look_ms;    /**< when a change is looked at again; 0: never */
} sc_central_conf_t;

/** Global directives, one set per process; lives in pconf. */
typedef struct sc_server_conf_t {
    sc_config_t engine;                     /**< what the engine gets; completed in post_config */
    apr_size_t memory;                      /**< SessionClusterMemory, bytes */
    int receiver_set;                       /**< a SessionClusterReceiver directive was seen */
    char receiver_address[SC_HOST_MAX + 1]; /**< as written, "auto" or an address */
    apr_uint32_t receiver_port;             /**< first port to try */
    apr_uint32_t receiver_auto_bind;
    int secret_none;                      /**< SessionClusterSecret none */
    const char *inner_method;             /**< SessionClusterBalancerMethod, default byrequests */
    char ranked_delimiter[4];             /**< between the routes of a ranked id; "off": none are */
    apr_uint32_t max_failures;            /**< nodes that may fail under one session; 0: any */
    apr_uint32_t failure_ms;              /**< within so many milliseconds */
    apr_uint32_t keep_waiting;            /**< 1: requests go on waiting for nodes that are gone */
    apr_array_header_t *provider_servers; /**< server_rec *: where a cookie name was given */
    apr_array_header_t *members;          /**< sc_members_line_t *: SessionClusterMembers */
    sc_members_line_t members_line;       /**< the one that is being read */
    apr_hash_t *contexts;                 /**< explicit context names */
    sc_central_conf_t central;
    int used;            /**< any directive of ours was seen: an engine is wanted */
    sc_log_limit_t full; /**< complaints about a full store; each child's own copy */
} sc_server_conf_t;

#define SC_UNSET (-1)

/** What the children of a balancer share, see balancer_memory.c. */
typedef struct sc_balancer_memory_t sc_balancer_memory_t;

/** Per directory or virtual host. */
typedef struct sc_dir_conf_t {
    const char *cookie_name;  /**< NULL: provider off here */
    const char *cookie_attrs; /**< NULL: the default ones */
    int cookie_set;
    const char *context;              /**< NULL: the server's name */
    int max_inactive_s;               /**< SC_UNSET: 1800 */
    apr_array_header_t *filter;       /**< ap_regex_t *: no touch for a matching URI; NULL: none */
    int rotate;                       /**< SC_UNSET (On), 0, 1 */
    apr_array_header_t *rotate_attrs; /**< const char *: named attributes; NULL: mod_auth_form's
                                         user */
    int rotate_grace_s;               /**< SC_UNSET: 10 */
    int backup_hint;                  /**< SC_UNSET (Off), 0, 1 */
    int status_actions;               /**< SC_UNSET (Off), 0, 1 */
} sc_dir_conf_t;

/** The one object of this process: set by engine_process.c, read by all. */
typedef struct sc_httpd_t {
    sc_server_conf_t *conf;         /**< never NULL once directives are read */
    server_rec *server;             /**< main server */
    sc_store_t *store;              /**< NULL: no engine wanted, or not started yet */
    sc_board_t *board;              /**< the store's */
    sc_link_client_t *link;         /**< children only */
    sc_balancer_memory_t *balancer; /**< NULL: no balancer uses bysession */
    struct waits_t *waits;          /**< balancer_wait.c; children of a balancer only */
    /** central.c; NULL: sessions are in no central store */
    struct sc_central_host_t *central;
} sc_httpd_t;

/** The object above; its members are NULL until they exist. */
sc_httpd_t *sc_httpd(void);

/* ---- config.c ------------------------------------------------------------------------------- */
extern const command_rec sc_directives[];
void *sc_config_create_dir(apr_pool_t *p, char *path);
void *sc_config_merge_dir(apr_pool_t *p, void *base, void *add);
/** pre_config: a fresh sc_server_conf_t. */
int sc_config_reset(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);
/** check_config: what only the whole configuration can tell; logs what is wrong and what would be
 *  right. @return OK or HTTP_INTERNAL_SERVER_ERROR. Runs in configtest too. */
int sc_config_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
/** Enter the contexts of all servers into conf->engine (called by post_config). */
void sc_config_collect_contexts(sc_server_conf_t *conf, server_rec *s, apr_pool_t *p);
/** Directory configuration of a request. */
sc_dir_conf_t *sc_config_dir(request_rec *r);
/** Context of a request: configured, or the server's name. */
const char *sc_config_context(request_rec *r, const sc_dir_conf_t *dir);

/* ---- engine_process.c ----------------------------------------------------------------------- */
int sc_process_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
void sc_process_child_init(apr_pool_t *pchild, server_rec *s);
int sc_process_monitor(apr_pool_t *p, server_rec *s);
/** A line has been written to an error log, by this process. */
void sc_process_log_written(const ap_errorlog_info *info, const char *line);

/* ---- provider.c ----------------------------------------------------------------------------- */
/** Register everything for mod_session; nothing when mod_session is not loaded. */
void sc_provider_register(apr_pool_t *p);

/* ---- cookie.c ------------------------------------------------------------------------------- */
/** Take the cookie out of this request's headers (every call: sub-requests and redirects have their
 *  own copy of them) and parse it. Of several of the same name the first that is ours counts. */
void sc_cookie_take(request_rec *r, const char *name, sc_cookie_t *out);
/** Set-Cookie with id and route ("": none), and cache headers that keep shared caches away. One of
 *  the same name that was set before is replaced. @param hint the backup's route, "": none; not
 *  without a route. @param max_age seconds; 0: as long as the browser */
void sc_cookie_set(request_rec *r, const sc_dir_conf_t *dir, const sc_id_t *id, const char *hint,
                   const char *route, long max_age);
/** Tell the browser to forget it. */
void sc_cookie_clear(request_rec *r, const sc_dir_conf_t *dir);

/* ---- balancer.c ----------------------------------------------------------------------------- */
void sc_balancer_register(apr_pool_t *p);

/** One balancer of SessionClusterMembers, for the status page. */
typedef struct sc_members_info_t {
    const char *name;
    int places;  /**< for members: ProxySet growth= */
    int members; /**< workers that announced themselves, gone ones with a place included */
    int resting; /**< places that were given up a moment ago */
    int waiting; /**< members without a place */
    apr_uint64_t added;
    apr_uint64_t removed;
} sc_members_info_t;

/** @return 0: there are not so many */
int sc_balancer_info(int i, const sc_view_t *view, sc_members_info_t *out);

/* ---- api.c ---------------------------------------------------------------------------------- */
/** What other modules, expressions and log formats can ask for. */
void sc_api_register(apr_pool_t *p);

/* ---- balancer_memory.c ---------------------------------------------------------------------- */
/** What requests of balancers have counted; a copy. @return 1; 0: no balancer here uses bysession,
 *  all are zero */
int sc_balancer_tallies(sc_tallies_t *out);

/* ---- central.c ------------------------------------------------------------------------------ */
/** What requests have counted of the central store; a copy. Zeroes without one. */
void sc_central_counters(sc_central_counters_t *out);

/** What the status page tells of the central store. */
typedef struct sc_central_info_t {
    const char *provider; /**< as configured, without what stands before an @ in its arguments */
    const char *prefix;
    int local;               /**< it is in this machine */
    int empty;               /**< onUnreachable=empty */
    apr_uint32_t timeout_ms; /**< how long a request waits for it */
    apr_uint32_t touch_s;
    apr_time_t silent_since;   /**< mono; 0: it answers, or nobody has asked */
    apr_interval_time_t takes; /**< average time of its last answers; 0: none yet */
} sc_central_info_t;

/** @return 1; 0: there is none, all is zero */
int sc_central_info(sc_central_info_t *out, apr_pool_t *p);

/* ---- status*.c ------------------------------------------------------------------------------ */
/** Handler "session-cluster-status". */
int sc_status_handler(request_rec *r);
/** That, and the section on mod_status' page. */
void sc_status_register(apr_pool_t *p);
/** SessionClusterStatusActions */
const char *sc_set_status_actions(cmd_parms *cmd, void *vdir, int on);

/** A pool with an allocator of its own, which pools below it share and several threads may use.
 *  @param parent NULL: none; it is to be destroyed then @return NULL: no memory */
apr_pool_t *sc_shared_pool(apr_pool_t *parent);

#endif
