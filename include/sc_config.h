/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_config.h
 * @brief Room "base": what the engine is configured with. Plain data without pointers.
 *
 * Filled from the directives by src/httpd/config.c, compared with memcmp at each restart to see
 * whether a running engine still has the right one; so it must be zeroed before it is filled.
 * Times here are milliseconds, as in the directives.
 */
#ifndef SC_CONFIG_H
#define SC_CONFIG_H

#include "sc_base.h"
#include "sc_board.h"
#include "sc_secret.h"

#ifndef SC_INTERCEPTORS_MAX /* tests of upgrades build another one */
#define SC_INTERCEPTORS_MAX 16
#endif
/** Of one interceptor: 8 and optionFlag, so that it takes no place of a list of members. */
#define SC_ATTRS_MAX 9

typedef enum sc_membership_kind_t {
    SC_MEMBERSHIP_NONE = 0, /**< stand-alone */
    SC_MEMBERSHIP_MULTICAST,
    SC_MEMBERSHIP_STATIC,
    SC_MEMBERSHIP_DNS
} sc_membership_kind_t;

typedef enum sc_manager_kind_t {
    SC_MANAGER_DELTA = 0, /**< every node holds every session */
    SC_MANAGER_BACKUP,    /**< the primary and some backups do, the others know who */
    SC_MANAGER_STORE      /**< no node does: they lie in a store that all ask, see sc_central.h. The
                               engine is a member of the cluster without sessions then */
} sc_manager_kind_t;

typedef enum sc_select_t {
    SC_SELECT_RENDEZVOUS = 0, /**< by sc_placement_backups: all nodes agree, balancers too */
    SC_SELECT_ROUNDROBIN      /**< each primary takes the next one, as Tomcat does */
} sc_select_t;

/** Tribes' send options (tribes-protocol 3). */
#define SC_OPT_BYTE_MESSAGE 0x01
#define SC_OPT_USE_ACK 0x02
#define SC_OPT_SYNCHRONIZED_ACK 0x04
#define SC_OPT_ASYNCHRONOUS 0x08
#define SC_OPT_SECURE 0x10
#define SC_OPT_UDP 0x20
#define SC_OPT_MULTICAST 0x40

typedef struct sc_config_attr_t {
    char name[32];
    char value[192]; /**< the longest is a member= with all that it can have, 184 */
} sc_config_attr_t;

typedef struct sc_config_interceptor_t {
    char name[32]; /**< Tomcat's class name without "Interceptor" */
    apr_uint32_t nattrs;
    sc_config_attr_t attr[SC_ATTRS_MAX];
} sc_config_interceptor_t;

/** Longest name that DNS knows, without the final NUL. */
#define SC_DNS_NAME_MAX 253

typedef struct sc_config_member_t {
    char host[SC_DNS_NAME_MAX + 1]; /**< name or address */
    apr_uint32_t port;
    char route[SC_ROUTE_MAX + 1]; /**< "" when not given */
} sc_config_member_t;

/** Most session maps of a Tomcat cluster that are followed. */
#define SC_TOMCAT_MAPS_MAX 8
/** Longest name of one, without the final NUL: it becomes the name of a context, see sc_tomcat.h.
 */
#define SC_TOMCAT_MAP_MAX (SC_CONTEXT_MAX - 7)

/** A worker of mod_proxy: what a Tomcat at that address is called. */
typedef struct sc_config_worker_t {
    char host[SC_HOST_MAX + 1]; /**< numeric */
    char route[SC_ROUTE_MAX + 1];
} sc_config_worker_t;

/** The Tomcat cluster that a balancer follows; see sc_tomcat.h. */
typedef struct sc_config_tomcat_t {
    apr_uint32_t on;    /**< 1: SessionClusterTomcat is given */
    apr_uint32_t group; /**< 1: its heartbeats are listened to */
    char address[SC_HOST_MAX + 1];
    apr_uint32_t port;
    char bind[SC_HOST_MAX + 1];
    apr_uint32_t frequency_ms; /**< pause between two questions to a member that is not heard */
    apr_uint32_t drop_ms;
    char domain[64];                     /**< as which its members are asked */
    apr_uint32_t interval_ms;            /**< pause between two questions for the state of a map */
    apr_uint32_t timeout_ms;             /**< bound on the answer to one */
    apr_uint32_t max_answer;             /**< bytes of an answer at most */
    char reply_address[SC_HOST_MAX + 1]; /**< where answers are received; "": see sc_tomcat.h */
    apr_uint32_t reply_port;             /**< 0: any */
    apr_uint32_t nmaps;
    char map[SC_TOMCAT_MAPS_MAX][SC_TOMCAT_MAP_MAX + 1];
    apr_uint32_t nmembers;
    sc_config_member_t member[SC_MEMBERS_MAX]; /**< for the engine with numeric hosts */
    apr_uint32_t nworkers;
    sc_config_worker_t worker[SC_MEMBERS_MAX];
} sc_config_tomcat_t;

/** Longest path of a directory of the deployer, without the final NUL. */
#define SC_DEPLOY_PATH_MAX 255
/** Longest text of its command=. */
#define SC_DEPLOY_COMMAND_MAX 511

/** What a node does after a batch of files has come, besides its command. */
typedef enum sc_deploy_after_t { SC_DEPLOY_NOTHING = 0, SC_DEPLOY_GRACEFUL } sc_deploy_after_t;

/** SessionClusterDeployer; see sc_deployer.h. */
typedef struct sc_config_deployer_t {
    apr_uint32_t on;                         /**< 1: the directive is given */
    apr_uint32_t watch;                      /**< watchEnabled */
    char watch_dir[SC_DEPLOY_PATH_MAX + 1];  /**< "": none */
    char deploy_dir[SC_DEPLOY_PATH_MAX + 1]; /**< all paths are absolute */
    char temp_dir[SC_DEPLOY_PATH_MAX + 1];   /**< on the same file system as deploy_dir */
    apr_uint32_t scan_ms;                    /**< pause between two looks into watch_dir */
    apr_uint32_t max_files;                  /**< in deploy_dir at most */
    apr_uint32_t max_file;                   /**< bytes of one file at most */
    apr_uint32_t max_total;                  /**< bytes of all files at most */
    apr_uint32_t block_bytes;                /**< bytes of a file in one message */
    apr_uint32_t max_rate;                   /**< bytes fetched in a second; 0: any number */
    apr_uint32_t after;                      /**< sc_deploy_after_t */
    char command[SC_DEPLOY_COMMAND_MAX + 1]; /**< "": none */
    apr_uint32_t command_ms;                 /**< bound on its run */
} sc_config_deployer_t;

/** What is asked of the sockets of one direction. */
typedef struct sc_config_sock_t {
    apr_uint32_t delay;         /**< 1: tcpNoDelay=false */
    apr_uint32_t no_keepalive;  /**< 1: soKeepAlive=false */
    apr_uint32_t traffic_class; /**< 0: the system's */
    apr_uint32_t rx_buf;        /**< bytes; 0: the system's, as all below */
    apr_uint32_t tx_buf;
    apr_uint32_t udp_rx_buf;
    apr_uint32_t udp_tx_buf;
} sc_config_sock_t;

typedef struct sc_config_t {
    char route[SC_ROUTE_MAX + 1];
    apr_uint32_t role;        /**< SC_ROLE_* */
    char url[SC_URL_MAX + 1]; /**< announced to balancers as their worker, "" = none */
    apr_uint32_t weight;      /**< announced with it; 0: not told */
    apr_uint32_t lbset;

    apr_uint32_t membership; /**< sc_membership_kind_t */
    struct {
        char address[SC_HOST_MAX + 1];
        apr_uint32_t port;
        apr_uint32_t frequency_ms;
        apr_uint32_t drop_ms; /**< dropTime; also for static membership and dns, as are
                                   frequency, domain and foreign */
        char bind[SC_HOST_MAX + 1];
        apr_int32_t ttl; /**< -1: leave it to the system */
        char domain[64];
        apr_uint32_t accept_foreign;  /**< 1: members without our mark are seen */
        apr_uint32_t no_loopback;     /**< 1: datagrams do not reach this host's other nodes */
        apr_uint32_t no_recovery;     /**< 1: recoveryEnabled=false */
        apr_uint32_t recovery_errors; /**< recoveryCounter */
        apr_uint32_t recovery_ms;     /**< recoverySleepTime */
    } mcast;
    struct {
        char name[SC_DNS_NAME_MAX + 1];
        apr_uint32_t port;       /**< of the receivers at all its addresses */
        apr_uint32_t refresh_ms; /**< pause between two look-ups */
    } dns;
    apr_uint32_t nmembers;
    sc_config_member_t member[SC_MEMBERS_MAX];

    struct {
        char address[SC_HOST_MAX + 1];           /**< numeric, resolved from "auto" already */
        apr_uint32_t port;                       /**< the one really bound */
        char advertise_address[SC_HOST_MAX + 1]; /**< what others are told; "": address */
        apr_uint32_t advertise_port;             /**< 0: port */
        apr_uint32_t udp_port;                   /**< first one to try; 0: no UDP receiver */
        apr_uint32_t udp_tries;                  /**< how many (autoBind) */
        apr_uint32_t max_connections;
        apr_uint32_t max_frame; /**< bytes of one frame's data at most */
        sc_config_sock_t sock;
    } receiver;
    struct {
        apr_uint32_t timeout_ms;
        apr_uint32_t max_retries; /**< maxRetryAttempts */
        apr_uint32_t max_queue;   /**< bytes waiting for one member at most (maxQueueSize) */
        apr_int32_t keep_count;   /**< keepAliveCount: frames on one connection; -1: any number */
        apr_int32_t keep_ms;      /**< keepAliveTime: age of a connection; -1: any */
        sc_config_sock_t sock;
    } sender;

    apr_uint32_t send_options;   /**< SC_OPT_* */
    apr_uint32_t ack_wait_ms;    /**< how long a request waits for acknowledgements */
    apr_uint32_t refuse_unacked; /**< 1: onTimeout=fail */

    apr_uint32_t manager; /**< sc_manager_kind_t */
    struct {
        apr_uint32_t touch_ms;           /**< interval at which accesses are collected and sent */
        apr_uint32_t fetch_ms;           /**< bound on a fetch on demand */
        apr_uint32_t state_ms;           /**< stateTransferTimeout */
        apr_uint32_t block_bytes;        /**< bytes of one block of a state transfer */
        apr_uint32_t tombstone_s;        /**< how long an invalidated id is remembered */
        apr_uint32_t expire_on_shutdown; /**< expireSessionsOnShutdown */
        apr_uint32_t notify_replicated;  /**< notifyListenersOnReplication */
        apr_uint32_t digest_ms;          /**< pause between two comparisons with a peer; 0: none */
    } delta;                             /**< what both managers have */
    struct {
        apr_uint32_t backups;   /**< copies besides the primary's, 1 to SC_BACKUPS_MAX */
        apr_uint32_t select;    /**< sc_select_t */
        apr_uint32_t no_hold;   /**< 1: this node holds no backups of others' sessions */
        apr_uint32_t copy_rate; /**< sessions a second that are copied to make up for a member that
                                     came or went; 0: as fast as it goes */
        apr_uint32_t
            place_ms; /**< locations are told to proxies and balancers in batches, so often */
        apr_uint32_t leave_ms; /**< how long a leaving node goes on handing over */
    } backup;

    apr_uint32_t ninterceptors; /**< 0: the default stack */
    sc_config_interceptor_t
        interceptor[SC_INTERCEPTORS_MAX]; /**< first = nearest the application */

    struct {
        apr_uint32_t count; /**< 0: none, everything is plain */
        unsigned char id[SC_SECRETS_MAX][SC_KEY_ID];
    } secret; /**< which secrets, so that another one is noticed; the keys are not here */

    sc_config_tomcat_t tomcat;
    sc_config_deployer_t deployer;

    struct {
        char path[1024];      /**< "": none is kept */
        apr_uint32_t wait_ms; /**< for nodes that have the rest of it */
    } snapshot;

    apr_uint32_t quorum;      /**< 0: off */
    apr_uint32_t max_session; /**< bytes of a session's body at most */
    apr_uint32_t ncontexts;
    char context[SC_CONTEXTS_MAX][SC_CONTEXT_MAX + 1]; /**< known from the configuration */
} sc_config_t;

/** Tomcat's defaults, ours where DESIGN says so. Zeroes everything else. */
void sc_config_defaults(sc_config_t *c);

#endif
