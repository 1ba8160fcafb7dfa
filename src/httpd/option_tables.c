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
#define NO_BUFFERS "buffers grow with the messages, up to maxFrame and maxQueueSize"
#define NO_SOCKET "the sockets' options are chosen by the module"
#define NO_UDP SC_NO_UDP

const option_t sc_multicast_options[] = {
    {"address", OPTION_TEXT, AT(engine.mcast.address), 0, SIZE(engine.mcast.address), NULL,
     sc_check_group},
    {"port", OPTION_NUMBER, AT(engine.mcast.port), 1, 65535, "a number", NULL},
    {"frequency", OPTION_NUMBER, AT(engine.mcast.frequency_ms), 50, 60000, "milliseconds", NULL},
    {"dropTime", OPTION_NUMBER, AT(engine.mcast.drop_ms), 100, 600000, "milliseconds", NULL},
    {"bind", OPTION_TEXT, AT(engine.mcast.bind), 0, SIZE(engine.mcast.bind), NULL, sc_check_ipv4},
    {"ttl", OPTION_SIGNED, AT(engine.mcast.ttl), -1, 255, "a number (-1: the system's)", NULL},
    {"domain", OPTION_TEXT, AT(engine.mcast.domain), 0, SIZE(engine.mcast.domain), NULL,
     sc_check_domain},
    REFUSED("soTimeout", NO_BLOCKING),
    REFUSED("recoveryEnabled", "the group is always joined again"),
    REFUSED("recoveryCounter", "the group is always joined again"),
    REFUSED("recoverySleepTime", "the group is always joined again"),
    REFUSED("localLoopbackDisabled",
            "nodes of one host have to hear each other; a node knows its own voice"),
    END_OF_TABLE};

#define BY_MEMBER "static members are named by SessionClusterMember host:port"

const option_t sc_static_options[] = {
    {"frequency", OPTION_NUMBER, AT(engine.mcast.frequency_ms), 50, 60000, "milliseconds", NULL},
    {"dropTime", OPTION_NUMBER, AT(engine.mcast.drop_ms), 100, 600000, "milliseconds", NULL},
    {"domain", OPTION_TEXT, AT(engine.mcast.domain), 0, SIZE(engine.mcast.domain), NULL,
     sc_check_domain},
    REFUSED("address", BY_MEMBER),
    REFUSED("port", BY_MEMBER),
    REFUSED("bind", "it has no group; see SessionClusterReceiver address="),
    REFUSED("ttl", "it sends no multicast"),
    END_OF_TABLE};

const option_t sc_receiver_options[] = {
    {"address", OPTION_TEXT, AT(receiver_address), 0, SIZE(receiver_address), NULL,
     sc_check_receiver},
    {"port", OPTION_NUMBER, AT(receiver_port), 1, 65535, "a number", NULL},
    {"autoBind", OPTION_NUMBER, AT(receiver_auto_bind), 1, 1000, "a number of ports", NULL},
    {"maxConnections", OPTION_NUMBER, AT(engine.receiver.max_connections), 4, 65535, "a number",
     NULL},
    {"maxFrame", OPTION_BYTES, AT(engine.receiver.max_frame), 64 * KIB, 1024 * MIB, NULL, NULL},
    REFUSED("securePort", "it has no effect in Tomcat, and none here"),
    REFUSED("udpPort", NO_UDP),
    REFUSED("selectorTimeout", NO_BLOCKING),
    REFUSED("timeout", NO_BLOCKING),
    REFUSED("maxThreads", NO_THREADS),
    REFUSED("minThreads", NO_THREADS),
    REFUSED("maxIdleTime", NO_THREADS),
    REFUSED("rxBufSize", NO_BUFFERS),
    REFUSED("txBufSize", NO_BUFFERS),
    REFUSED("udpRxBufSize", NO_UDP),
    REFUSED("udpTxBufSize", NO_UDP),
    REFUSED("direct", "there are no Java buffers"),
    REFUSED("useBufferPool", "there are no Java buffers"),
    REFUSED("tcpNoDelay", NO_SOCKET),
    REFUSED("soKeepAlive", NO_SOCKET),
    REFUSED("ooBInline", NO_SOCKET),
    REFUSED("soReuseAddress", NO_SOCKET),
    REFUSED("soLingerOn", NO_SOCKET),
    REFUSED("soLingerTime", NO_SOCKET),
    REFUSED("soTrafficClass", NO_SOCKET),
    END_OF_TABLE};

#define NO_POOL "one connection per member carries everything, in order"

const option_t sc_sender_options[] = {
    {"timeout", OPTION_NUMBER, AT(engine.sender.timeout_ms), 10, 600000, "milliseconds", NULL},
    {"maxRetryAttempts", OPTION_NUMBER, AT(engine.sender.max_retries), 0, 100, "a number", NULL},
    {"maxQueueSize", OPTION_BYTES, AT(engine.sender.max_queue), 64 * KIB, 2047 * MIB, NULL, NULL},
    REFUSED("poolSize", NO_POOL),
    REFUSED("maxWait", NO_POOL),
    REFUSED("keepAliveCount", NO_POOL),
    REFUSED("keepAliveTime", NO_POOL),
    {"throwOnFailedAck", OPTION_REFUSED, 0, 0, 0,
     "a refused message always counts as not delivered; see SessionClusterSendOptions onTimeout=",
     NULL},
    REFUSED("rxBufSize", NO_BUFFERS),
    REFUSED("txBufSize", NO_BUFFERS),
    REFUSED("udpRxBufSize", NO_UDP),
    REFUSED("udpTxBufSize", NO_UDP),
    REFUSED("directBuffer", "there are no Java buffers"),
    REFUSED("tcpNoDelay", NO_SOCKET),
    REFUSED("soKeepAlive", NO_SOCKET),
    REFUSED("ooBInline", NO_SOCKET),
    REFUSED("soReuseAddress", NO_SOCKET),
    REFUSED("soLingerOn", NO_SOCKET),
    REFUSED("soLingerTime", NO_SOCKET),
    REFUSED("soTrafficClass", NO_SOCKET),
    END_OF_TABLE};

const option_t sc_send_options[] = {
    {"timeout", OPTION_NUMBER, AT(engine.ack_wait_ms), 10, 60000, "milliseconds", NULL},
    END_OF_TABLE};

/* ---- managers -------------------------------------------------------------------------------- */

#define NO_LISTENERS "sessions here have no listeners"
#define NO_OBJECTS "values are strings, there are no classes to choose from"
#define BY_BLOCK "a state transfer goes in blocks, sized by blockSize= in bytes, without pauses"
#define BY_SYSTEM "ids are 128 random bits from the operating system"

/** What both managers have, from Tomcat or of our own. */
const option_t sc_manager_options[] = {
    {"expireSessionsOnShutdown", OPTION_BOOL, AT(engine.delta.expire_on_shutdown), 0, 1, NULL,
     NULL},
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
    REFUSED("notifyListenersOnReplication", NO_LISTENERS),
    REFUSED("notifySessionListenersOnReplication", NO_LISTENERS),
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
