/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The key=value arguments of the engine's directives: their places in the configuration, their
 * ranges, and the attributes of Tomcat that have no place here, each with the reason.
 *
 * The two managers have most attributes in common; what belongs to one of them only is refused by
 * the other with a word about where it belongs, so that a line changed from one to the other does
 * not lose something in silence.
 */

#include <stddef.h>

#include "options.h"

#define AT(member) offsetof(sc_server_conf_t, member)
#define SIZE(member) ((apr_int64_t)sizeof(((sc_server_conf_t *)0)->member))
#define REFUSED(name, why)                                                                         \
    {                                                                                              \
        name, OPTION_REFUSED, 0, 0, 0, why, NULL                                                   \
    }
#define END_OF_TABLE REFUSED(NULL, NULL)
#define KIB SC_KIB
#define MIB SC_MIB

#define NO_BLOCKING "the engine is one event loop that never blocks"
#define NO_THREADS "the engine is one event loop, it has no threads to count"
#define NO_LINGER "what is still to be sent when a connection is closed is the kernel's business"
#define NO_URGENT "there is no urgent data in this protocol"
#define OWN_NAME(name) "it is called " name " here"
#define REUSED "it is always set: a restart must not wait for old connections"

/* What both ends of a connection have. */
#define SOCKET_OPTIONS(sock)                                                                       \
    {"tcpNoDelay", OPTION_NOT, AT(sock.delay), 0, 1, NULL, NULL},                                  \
        {"soKeepAlive", OPTION_NOT, AT(sock.no_keepalive), 0, 1, NULL, NULL},                      \
        {"soTrafficClass", OPTION_NUMBER, AT(sock.traffic_class), 0, 255, "a number", NULL},       \
        {"rxBufSize", OPTION_BYTES, AT(sock.rx_buf), 2 * KIB, 64 * MIB, NULL, NULL},               \
        {"txBufSize", OPTION_BYTES, AT(sock.tx_buf), 2 * KIB, 64 * MIB, NULL, NULL},               \
        {"udpRxBufSize", OPTION_BYTES, AT(sock.udp_rx_buf), 2 * KIB, 64 * MIB, NULL, NULL},        \
        {"udpTxBufSize", OPTION_BYTES, AT(sock.udp_tx_buf), 2 * KIB, 64 * MIB, NULL, NULL},        \
        REFUSED("ooBInline", NO_URGENT), REFUSED("soReuseAddress", REUSED),                        \
        REFUSED("soLingerOn", NO_LINGER), REFUSED("soLingerTime", NO_LINGER)

/* What every kind of membership has. */
#define MEMBERSHIP_OPTIONS                                                                         \
    {"frequency", OPTION_NUMBER, AT(engine.mcast.frequency_ms), 50, 60000, "milliseconds", NULL},  \
        {"dropTime", OPTION_NUMBER, AT(engine.mcast.drop_ms), 100, 600000, "milliseconds", NULL},  \
        {"domain", OPTION_TEXT,    AT(engine.mcast.domain), 0, SIZE(engine.mcast.domain),          \
         NULL,     sc_check_domain},                                                               \
        REFUSED("mcastDropTime", OWN_NAME("dropTime")),                                            \
        REFUSED("mcastFrequency", OWN_NAME("frequency")),                                          \
        REFUSED("payload", "it is made of SessionClusterRoute, SessionClusterAnnounce and more"),  \
        REFUSED("soTimeout", NO_BLOCKING),                                                         \
    {                                                                                              \
        "foreign", OPTION_CHOICE, AT(engine.mcast.accept_foreign), 0, 0, "refuse|accept", NULL     \
    }

#define NO_GROUP "it has no group to join"
/* What only a group needs. */
#define GROUP_REFUSED                                                                              \
    REFUSED("bind", "it has no group; see SessionClusterReceiver address="),                       \
        REFUSED("ttl", "it sends no multicast"),                                                   \
        REFUSED("localLoopbackDisabled", "it sends no multicast"),                                 \
        REFUSED("recoveryEnabled", NO_GROUP), REFUSED("recoveryCounter", NO_GROUP),                \
        REFUSED("recoverySleepTime", NO_GROUP)

#define OF_DNS "see SessionClusterMembership dns"
#define BY_FREQUENCY "frequency= and dropTime= say when a silent member is given up"

const option_t sc_multicast_options[] = {
    {"address", OPTION_TEXT, AT(engine.mcast.address), 0, SIZE(engine.mcast.address), NULL,
     sc_check_group},
    {"port", OPTION_NUMBER, AT(engine.mcast.port), 1, 65535, "a number", NULL},
    MEMBERSHIP_OPTIONS,
    {"bind", OPTION_TEXT, AT(engine.mcast.bind), 0, SIZE(engine.mcast.bind), NULL, sc_check_bind},
    {"ttl", OPTION_SIGNED, AT(engine.mcast.ttl), -1, 255, "a number (-1: the system's)", NULL},
    {"localLoopbackDisabled", OPTION_BOOL, AT(engine.mcast.no_loopback), 0, 1, NULL, NULL},
    {"recoveryEnabled", OPTION_NOT, AT(engine.mcast.no_recovery), 0, 1, NULL, NULL},
    {"recoveryCounter", OPTION_NUMBER, AT(engine.mcast.recovery_errors), 1, 10000, "a number",
     NULL},
    {"recoverySleepTime", OPTION_NUMBER, AT(engine.mcast.recovery_ms), 100, 600000, "milliseconds",
     NULL},
    REFUSED("mcastAddr", OWN_NAME("address")),
    REFUSED("mcastPort", OWN_NAME("port")),
    REFUSED("mcastBindAddress", OWN_NAME("bind")),
    REFUSED("mcastTTL", OWN_NAME("ttl")),
    REFUSED("name", OF_DNS),
    REFUSED("refresh", OF_DNS),
    REFUSED("expirationTime", BY_FREQUENCY),
    REFUSED("pingInterval", BY_FREQUENCY),
    END_OF_TABLE};

#define BY_MEMBER "static members are named by SessionClusterMember host:port"
#define NO_RPC "members are greeted with messages that need no answer"

const option_t sc_static_options[] = {
    MEMBERSHIP_OPTIONS,
    REFUSED("address", BY_MEMBER),
    REFUSED("port", BY_MEMBER),
    GROUP_REFUSED,
    REFUSED("name", OF_DNS),
    REFUSED("refresh", OF_DNS),
    REFUSED("expirationTime", BY_FREQUENCY),
    REFUSED("pingInterval", BY_FREQUENCY),
    REFUSED("connectTimeout", "SessionClusterSender timeout= bounds it"),
    REFUSED("rpcTimeout", NO_RPC),
    REFUSED("useThread", NO_THREADS),
    END_OF_TABLE};

const option_t sc_dns_options[] = {
    MEMBERSHIP_OPTIONS,
    {"name", OPTION_TEXT, AT(engine.dns.name), 0, SIZE(engine.dns.name), NULL, sc_check_dns_name},
    {"port", OPTION_NUMBER, AT(engine.dns.port), 1, 65535, "a number", NULL},
    {"refresh", OPTION_NUMBER, AT(engine.dns.refresh_ms), 100, 3600000, "milliseconds", NULL},
    REFUSED("address", "its members are the addresses of name="),
    GROUP_REFUSED,
    REFUSED("membershipProviderClassName", "the word dns says it"),
    REFUSED("namespace", "name= is the whole name"),
    REFUSED("expirationTime", BY_FREQUENCY),
    REFUSED("pingInterval", BY_FREQUENCY),
    REFUSED("rpcTimeout", NO_RPC),
    REFUSED("useThread", NO_THREADS),
    REFUSED("connectTimeout", "SessionClusterSender timeout= bounds it"),
    REFUSED("readTimeout", "a look-up that does not end is given up, and asked again"),
    END_OF_TABLE};

const option_t sc_receiver_options[] = {
    {"address", OPTION_TEXT, AT(receiver_address), 0, SIZE(receiver_address), NULL,
     sc_check_receiver},
    {"port", OPTION_NUMBER, AT(receiver_port), 1, 65535, "a number", NULL},
    {"autoBind", OPTION_NUMBER, AT(receiver_auto_bind), 1, 1000, "a number of ports", NULL},
    {"maxConnections", OPTION_NUMBER, AT(engine.receiver.max_connections), 4, SC_CONNECTIONS_MAX,
     "a number", NULL},
    {"maxFrame", OPTION_BYTES, AT(engine.receiver.max_frame), 64 * KIB, 1024 * MIB, NULL, NULL},
    {"advertiseAddress", OPTION_TEXT, AT(engine.receiver.advertise_address), 0,
     SIZE(engine.receiver.advertise_address), NULL, sc_check_advertised},
    {"advertisePort", OPTION_NUMBER, AT(engine.receiver.advertise_port), 1, 65535, "a number",
     NULL},
    {"udpPort", OPTION_NUMBER, AT(engine.receiver.udp_port), 1024, 65535, "a number", NULL},
    SOCKET_OPTIONS(engine.receiver.sock),
    REFUSED("securePort", "it has no effect in Tomcat, and none here"),
    REFUSED("selectorTimeout", NO_BLOCKING),
    REFUSED("timeout", NO_BLOCKING),
    REFUSED("maxThreads", NO_THREADS),
    REFUSED("minThreads", NO_THREADS),
    REFUSED("maxTasks", NO_THREADS),
    REFUSED("minTasks", NO_THREADS),
    REFUSED("daemon", NO_THREADS),
    REFUSED("bind", "address= is what it is bound to"),
    REFUSED("host", "advertiseAddress= is what the others are told"),
    REFUSED("tcpListenAddress", OWN_NAME("address")),
    REFUSED("tcpListenPort", OWN_NAME("port")),
    REFUSED("maxIdleTime", NO_THREADS),
    REFUSED("direct", "there are no Java buffers"),
    REFUSED("useBufferPool", "there are no Java buffers"),
    END_OF_TABLE};

#define NO_POOL "one connection per member carries everything, in order"

const option_t sc_sender_options[] = {
    {"timeout", OPTION_NUMBER, AT(engine.sender.timeout_ms), 10, 600000, "milliseconds", NULL},
    {"maxRetryAttempts", OPTION_NUMBER, AT(engine.sender.max_retries), 0, 100, "a number", NULL},
    {"maxQueueSize", OPTION_BYTES, AT(engine.sender.max_queue), 64 * KIB, 2047 * MIB, NULL, NULL},
    REFUSED("poolSize", NO_POOL),
    REFUSED("maxWait", NO_POOL),
    REFUSED("limit", NO_POOL),
    {"keepAliveCount", OPTION_SIGNED, AT(engine.sender.keep_count), -1, 1000000000,
     "a number of frames (-1: any)", NULL},
    {"keepAliveTime", OPTION_SIGNED, AT(engine.sender.keep_ms), -1, 86400000,
     "milliseconds (-1: any)", NULL},
    SOCKET_OPTIONS(engine.sender.sock),
    {"throwOnFailedAck", OPTION_REFUSED, 0, 0, 0,
     "a refused message always counts as not delivered; see SessionClusterSendOptions onTimeout=",
     NULL},
    REFUSED("directBuffer", "there are no Java buffers"),
    END_OF_TABLE};

/* SessionClusterMember: besides route=, which has no place of its own (directives.c). */
const option_t sc_member_options[] = {
    REFUSED("domain", "a member says itself what its SessionClusterMembership domain= is"),
    REFUSED("uniqueId", "a node of this module has a new one in each life; for a Tomcat see "
                        "SessionClusterInterceptor StaticMembership"),
    REFUSED("securePort", "it has no effect in Tomcat, and none here"),
    REFUSED("udpPort", "a member says itself what its SessionClusterReceiver udpPort= is"),
    REFUSED("payload", "a member says itself what is in it"),
    REFUSED("host", "it is written host:port, without a name"),
    REFUSED("port", "it is written host:port, without a name"),
    END_OF_TABLE};

const option_t sc_send_options[] = {
    {"timeout", OPTION_NUMBER, AT(engine.ack_wait_ms), 10, 60000, "milliseconds", NULL},
    END_OF_TABLE};

/* ---- managers -------------------------------------------------------------------------------- */

#define NO_LISTENERS                                                                               \
    "there is no container with listeners of its own; see notifyListenersOnReplication"
#define NO_OBJECTS "values are strings, there are no classes to choose from"
#define BY_BLOCK "a state transfer goes in blocks, sized by blockSize= in bytes, without pauses"
#define BY_SYSTEM "ids are 128 random bits from the operating system"

/** What both managers have, from Tomcat or of our own. */
const option_t sc_manager_options[] = {
    {"expireSessionsOnShutdown", OPTION_BOOL, AT(engine.delta.expire_on_shutdown), 0, 1, NULL,
     NULL},
    {"notifyListenersOnReplication", OPTION_BOOL, AT(engine.delta.notify_replicated), 0, 1, NULL,
     NULL},
    {"notifySessionListenersOnReplication", OPTION_BOOL, AT(engine.delta.notify_replicated), 0, 1,
     NULL, NULL},
    {"stateTransferTimeout", OPTION_SECONDS, AT(engine.delta.state_ms), 1, 3600, "seconds", NULL},
    {"blockSize", OPTION_BYTES, AT(engine.delta.block_bytes), 4 * KIB, 8 * MIB, NULL, NULL},
    {"touchInterval", OPTION_NUMBER, AT(engine.delta.touch_ms), 100, 60000, "milliseconds", NULL},
    {"fetchTimeout", OPTION_NUMBER, AT(engine.delta.fetch_ms), 10, 60000, "milliseconds", NULL},
    {"tombstoneTime", OPTION_NUMBER, AT(engine.delta.tombstone_s), 10, 86400, "seconds", NULL},
    {"digestInterval", OPTION_SECONDS, AT(engine.delta.digest_ms), 0, 3600, "seconds (0: never)",
     NULL},
    REFUSED("sendAllSessions", BY_BLOCK),
    REFUSED("sendAllSessionsSize", BY_BLOCK),
    REFUSED("sendAllSessionsWaitTime", BY_BLOCK),
    REFUSED("stateTimestampDrop",
            "every change carries a stamp, so order does not depend on arrival"),
    REFUSED("maxActiveSessions", "SessionClusterMemory bounds the store"),
    REFUSED("processExpiresFrequency", "sessions expire on time"),
    REFUSED("notifyContainerListenersOnReplication", NO_LISTENERS),
    REFUSED("enableStatistics", "counting is always on and costs nothing"),
    REFUSED("recordAllActions", "a change is what differs at the end of the request"),
    REFUSED("sessionAttributeNameFilter",
            "what an application puts into a session is kept, all of it"),
    REFUSED("sessionAttributeValueClassNameFilter", NO_OBJECTS),
    REFUSED("warnOnSessionAttributeFilterFailure", NO_OBJECTS),
    REFUSED("sessionIdLength", BY_SYSTEM),
    REFUSED("secureRandomClass", BY_SYSTEM),
    REFUSED("secureRandomProvider", BY_SYSTEM),
    REFUSED("secureRandomAlgorithm", BY_SYSTEM),
    REFUSED("name", "see SessionClusterContext"),
    END_OF_TABLE};

#define OF_BACKUP "with delta every node holds every session; see SessionClusterManager backup"

const option_t sc_delta_options[] = {REFUSED("backups", OF_BACKUP),
                                     REFUSED("select", OF_BACKUP),
                                     REFUSED("holdBackups", OF_BACKUP),
                                     REFUSED("copyRate", OF_BACKUP),
                                     REFUSED("placeInterval", OF_BACKUP),
                                     REFUSED("leaveTime", OF_BACKUP),
                                     END_OF_TABLE};

const option_t sc_backup_options[] = {
    {"backups", OPTION_NUMBER, AT(engine.backup.backups), 1, SC_BACKUPS_MAX, "a number", NULL},
    {"select", OPTION_CHOICE, AT(engine.backup.select), 0, 0, "rendezvous|roundrobin", NULL},
    {"holdBackups", OPTION_NOT, AT(engine.backup.no_hold), 0, 1, NULL, NULL},
    {"copyRate", OPTION_NUMBER, AT(engine.backup.copy_rate), 0, 10000000,
     "sessions per second (0: as fast as it goes)", NULL},
    {"placeInterval", OPTION_NUMBER, AT(engine.backup.place_ms), 10, 10000, "milliseconds", NULL},
    {"leaveTime", OPTION_SECONDS, AT(engine.backup.leave_ms), 0, 600, "seconds", NULL},
    REFUSED("mapSendOptions", "the backups get changes as SessionClusterSendOptions says"),
    REFUSED("rpcTimeout", "fetchTimeout= (milliseconds) bounds how long a session is asked for, "
                          "stateTransferTimeout= (seconds) a state transfer"),
    REFUSED("accessTimeout", "SessionClusterMembership dropTime= says when a silent member is "
                             "given up"),
    REFUSED("terminateOnStartFailure",
            "a node that finds no other one serves alone, and joins whom it hears later; see "
            "SessionClusterQuorum"),
    END_OF_TABLE};

/* ---- Tomcats --------------------------------------------------------------------------------- */

/** Besides member= and map=, which may be repeated (tomcat.c). */
#define NO_COPIES "sessions are in the store, no node holds copies"

const option_t sc_store_options[] = {
    {"provider", OPTION_TEXT, AT(central.provider), 0, SIZE(central.provider), NULL,
     sc_check_socache},
    {"prefix", OPTION_TEXT, AT(central.prefix), 0, SIZE(central.prefix), NULL, sc_check_prefix},
    {"timeout", OPTION_NUMBER, AT(central.timeout_ms), 50, 60000, "milliseconds", NULL},
    {"retryInterval", OPTION_NUMBER, AT(central.retry_ms), 50, 10000, "milliseconds", NULL},
    {"onUnreachable", OPTION_CHOICE, AT(central.empty), 0, 0, "503|empty", NULL},
    {"touchInterval", OPTION_NUMBER, AT(central.touch_s), 1, 3600, "seconds", NULL},
    {"lookAgain", OPTION_NUMBER, AT(central.look_ms), 0, 10000, "milliseconds (0: never)", NULL},
    {"tombstoneTime", OPTION_NUMBER, AT(engine.delta.tombstone_s), 10, 86400, "seconds", NULL},
    REFUSED("backups", NO_COPIES),
    REFUSED("holdBackups", NO_COPIES),
    REFUSED("stateTransferTimeout", NO_COPIES),
    REFUSED("expireSessionsOnShutdown", "the store does not belong to one node"),
    END_OF_TABLE};

const option_t sc_tomcat_options[] = {
    {"address", OPTION_TEXT, AT(engine.tomcat.address), 0, SIZE(engine.tomcat.address), NULL,
     sc_check_group},
    {"port", OPTION_NUMBER, AT(engine.tomcat.port), 1, 65535, "a number", NULL},
    {"bind", OPTION_TEXT, AT(engine.tomcat.bind), 0, SIZE(engine.tomcat.bind), NULL, sc_check_bind},
    {"frequency", OPTION_NUMBER, AT(engine.tomcat.frequency_ms), 50, 60000, "milliseconds", NULL},
    {"dropTime", OPTION_NUMBER, AT(engine.tomcat.drop_ms), 100, 600000, "milliseconds", NULL},
    {"domain", OPTION_TEXT, AT(engine.tomcat.domain), 0, SIZE(engine.tomcat.domain), NULL,
     sc_check_domain},
    {"interval", OPTION_NUMBER, AT(engine.tomcat.interval_ms), 100, 3600000, "milliseconds", NULL},
    {"timeout", OPTION_NUMBER, AT(engine.tomcat.timeout_ms), 100, 600000, "milliseconds", NULL},
    {"maxAnswer", OPTION_BYTES, AT(engine.tomcat.max_answer), 64 * KIB, 1024 * MIB, NULL, NULL},
    {"replyAddress", OPTION_TEXT, AT(engine.tomcat.reply_address), 0,
     SIZE(engine.tomcat.reply_address), NULL, sc_check_advertised},
    {"replyPort", OPTION_NUMBER, AT(engine.tomcat.reply_port), 1024, 65535, "a number", NULL},
    REFUSED("ttl", "nothing is sent to the group"),
    REFUSED("localLoopbackDisabled", "nothing is sent to the group"),
    REFUSED("mapSendOptions", "nothing is put into the map"),
    REFUSED("rpcTimeout", "timeout= (milliseconds) bounds the answer to a question"),
    END_OF_TABLE};

/* ---- balancer -------------------------------------------------------------------------------- */

const option_t sc_balancer_options[] = {
    {"rankedDelimiter", OPTION_TEXT, AT(ranked_delimiter), 0, SIZE(ranked_delimiter), NULL,
     sc_check_delimiter},
    {"maxFailures", OPTION_NUMBER, AT(max_failures), 0, 16, "a number of nodes (0: any)", NULL},
    {"failureTime", OPTION_SECONDS, AT(failure_ms), 1, 3600, "seconds", NULL},
    {"abandonGone", OPTION_NOT, AT(keep_waiting), 0, 1, NULL, NULL},
    END_OF_TABLE};
