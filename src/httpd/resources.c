/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the parent makes for the engine and keeps over restarts: the store's mapping and the
 * listening sockets (UNIX for the children, TCP for the members, UDP for the group). The store's
 * mapping belongs to a pool that is never destroyed, since no cleanup of ours may run after the
 * module was unloaded; it ends with the last process that has it.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "announce.h"
#include "options.h"
#include "retained.h"
#include "sc_transport.h"

#include "unixd.h"

APLOG_USE_MODULE(session_cluster);

#define SOCKET_NAME "session_cluster.sock"
/** Callers that may wait for an engine that is being made again. */
#define LINK_BACKLOG 4096

static apr_status_t make_store(sc_retained_t *kept, const sc_server_conf_t *conf, server_rec *s)
{
    apr_pool_t *forever;
    sc_store_t *store;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&forever, NULL, NULL);

    if (rv == APR_SUCCESS) {
        rv = sc_store_create(&store, conf->memory, forever);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC0607: no shared memory of %" APR_SIZE_T_FMT
                     " bytes for sessions (SessionClusterMemory)",
                     conf->memory);
        return rv;
    }
    kept->base = sc_store_base(store);
    kept->bytes = sc_store_bytes(store);
    return APR_SUCCESS;
}

/* After a restart the store is there already, perhaps made by another build of the module. */
apr_status_t sc_resources_store(sc_retained_t *kept, sc_server_conf_t *conf, server_rec *s,
                                sc_store_t **store, apr_pool_t *pconf)
{
    apr_status_t rv;

    if (!kept->base) {
        rv = make_store(kept, conf, s);
        return rv != APR_SUCCESS ? rv : sc_store_attach(store, kept->base, kept->bytes, pconf);
    }
    rv = sc_store_attach(store, kept->base, kept->bytes, pconf);
    if (rv == APR_EMISMATCH) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "SC0608: this build of the module lays out its memory differently: a new "
            "store is made; sessions come back from the other members, if there are any, or "
            "from SessionClusterSnapshot");
        if (kept->running) {
            sc_process_end(kept);
        }
        rv = make_store(kept, conf, s);
        return rv != APR_SUCCESS ? rv : sc_store_attach(store, kept->base, kept->bytes, pconf);
    }
    if (rv == APR_SUCCESS && kept->bytes / 4096 != conf->memory / 4096) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "SC0609: SessionClusterMemory has changed; a restart keeps the store at "
                     "%" APR_SIZE_T_FMT " bytes; stop and start httpd for the new size",
                     kept->bytes);
    }
    return rv;
}

/* ---- the receiver's address ------------------------------------------------------------------ */

static int is_unprotected(const sc_server_conf_t *conf, const char *address)
{
    return !conf->secret_none && conf->engine.secret.count == 0 && !sc_is_loopback(address);
}

/** Where the retained listener is bound, whichever build has made it. */
static apr_status_t bound_at(const sc_retained_t *kept, char address[SC_HOST_MAX + 1],
                             apr_uint32_t *port)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t len = sizeof(at);
    int v6;

    if (!kept || kept->listen_fd < 0 || getsockname(kept->listen_fd, &at.sa, &len) != 0) {
        return APR_ENOENT;
    }
    v6 = at.sa.sa_family == AF_INET6;
    *port = ntohs(v6 ? at.v6.sin6_port : at.v4.sin_port);
    memset(address, 0, SC_HOST_MAX + 1);
    return inet_ntop(at.sa.sa_family, v6 ? (void *)&at.v6.sin6_addr : (void *)&at.v4.sin_addr,
                     address, SC_HOST_MAX + 1)
               ? APR_SUCCESS
               : errno;
}

apr_status_t sc_resources_auto(const sc_server_conf_t *conf, char out[SC_HOST_MAX + 1],
                               apr_status_t *why, apr_pool_t *ptemp)
{
    char bound[SC_HOST_MAX + 1];
    apr_uint32_t port;

    /* a name server or a route that is away for a moment must not end a server that runs, nor move
     * its receiver */
    *why = sc_receiver_auto(&conf->engine, out, ptemp);
    if (*why != APR_SUCCESS && bound_at(sc_process_retained(), bound, &port) == APR_SUCCESS &&
        (*why != APR_INCOMPLETE || sc_is_local(bound))) {
        apr_cpystrn(out, bound, SC_HOST_MAX + 1);
        return APR_SUCCESS;
    }
    if (*why == APR_INCOMPLETE) {
        *why = APR_SUCCESS;
    }
    return *why;
}

static apr_status_t resolve_receiver(sc_server_conf_t *conf, server_rec *s, apr_pool_t *ptemp)
{
    sc_config_t *c = &conf->engine;
    char address[SC_HOST_MAX + 1];
    apr_status_t why = APR_SUCCESS;
    apr_status_t rv = APR_SUCCESS;

    if (strcmp(conf->receiver_address, "auto") != 0) {
        apr_cpystrn(address, conf->receiver_address, sizeof(address));
    } else {
        rv = sc_resources_auto(conf, address, &why, ptemp);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC0614: no address found for the receiver; name one with "
                     "SessionClusterReceiver address=");
        return rv;
    }
    sc_config_text(c->receiver.address, sizeof(c->receiver.address), address);
    if (why != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, why, s,
                     "SC0640: no address found for the receiver now; it stays on %s, where it was "
                     "before this restart (SessionClusterReceiver address= would name one)",
                     address);
    }
    return APR_SUCCESS;
}

static apr_status_t check_protection(const sc_server_conf_t *conf, server_rec *s)
{
    if (!is_unprotected(conf, conf->engine.receiver.address)) {
        return APR_SUCCESS;
    }
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                 "SC0615: the receiver would listen on %s without protection; give all nodes "
                 "one SessionClusterSecret, or say SessionClusterSecret none if only trusted "
                 "hosts reach it, or "
                 "SessionClusterReceiver address=127.0.0.1",
                 conf->engine.receiver.address);
    return APR_EACCES;
}

/* ---- the receiver's socket ------------------------------------------------------------------- */

/** How many ports may be tried from the first one on. With dns all members are on one. */
static apr_uint32_t tries_of(const sc_server_conf_t *conf)
{
    if (conf->engine.membership == SC_MEMBERSHIP_DNS && conf->engine.receiver.advertise_port == 0) {
        return 1;
    }
    return conf->receiver_auto_bind ? conf->receiver_auto_bind : 1;
}

static int in_range(const sc_server_conf_t *conf, apr_uint32_t port)
{
    return port >= conf->receiver_port && port - conf->receiver_port < tries_of(conf);
}

/* On a restart the old listener is better than none, if it may be had with this configuration. */
static apr_status_t keep_receiver(const sc_retained_t *kept, sc_server_conf_t *conf,
                                  const char *address, apr_uint32_t port)
{
    sc_config_t *c = &conf->engine;
    const sc_config_t *before = &kept->own->config;

    if (is_unprotected(conf, address)) {
        return APR_EACCES;
    }
    if (sc_is_any(address) && !c->receiver.advertise_address[0]) {
        if (!before->receiver.advertise_address[0]) {
            return APR_EINVAL; /* nobody could be told how to reach it */
        }
        sc_config_text(c->receiver.advertise_address, sizeof(c->receiver.advertise_address),
                       before->receiver.advertise_address);
        c->receiver.advertise_port = before->receiver.advertise_port;
    }
    sc_config_text(c->receiver.address, sizeof(c->receiver.address), address);
    c->receiver.port = port;
    return APR_SUCCESS;
}

/* Whoever else has this listener, engines and what other modules have forked, does not listen any
 * more either from now on; the port is still ours until it is closed. */
static void stop_listening(sc_retained_t *kept)
{
    if (kept->running) {
        sc_process_hand_over(kept);
    }
    (void)shutdown(kept->listen_fd, SHUT_RDWR);
}

static apr_status_t make_receiver(sc_retained_t *kept, sc_server_conf_t *conf, server_rec *s)
{
    sc_config_t *c = &conf->engine;
    apr_uint32_t port = conf->receiver_port, old_port = 0, tries = tries_of(conf);
    char old[SC_HOST_MAX + 1];
    int has_old = bound_at(kept, old, &old_port) == APR_SUCCESS;
    int in_the_way = has_old && in_range(conf, old_port);
    int stopped = 0, fd = -1;
    apr_status_t rv;

    c->receiver.udp_tries = conf->receiver_auto_bind;
    if (in_the_way && strcmp(old, c->receiver.address) == 0) {
        c->receiver.port = old_port;
        return APR_SUCCESS;
    }
    /* not past the old one's port: on the next one the other members would not look for it */
    rv = sc_receiver_listen(c->receiver.address, &port,
                            in_the_way ? old_port - conf->receiver_port + 1 : tries, &fd);
    if (in_the_way && rv == EADDRINUSE) {
        stop_listening(kept);
        stopped = 1;
        port = conf->receiver_port;
        rv = sc_receiver_listen(c->receiver.address, &port, tries, &fd);
    }
    if (rv == APR_SUCCESS) {
        if (kept->listen_fd >= 0) {
            close(kept->listen_fd);
        }
        kept->listen_fd = fd;
        c->receiver.port = port;
        return APR_SUCCESS;
    }
    ap_log_error(APLOG_MARK, has_old ? APLOG_ERR : APLOG_CRIT, rv, s,
                 "SC0610: the receiver cannot listen on %s, ports %u to %u "
                 "(SessionClusterReceiver address= port= autoBind=)",
                 c->receiver.address, conf->receiver_port, conf->receiver_port + tries - 1);
    if (has_old && (!stopped || listen(kept->listen_fd, SC_RECEIVER_BACKLOG) == 0) &&
        keep_receiver(kept, conf, old, old_port) == APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                     "SC0642: the receiver stays on %s, port %u, as before this restart; a start "
                     "with this configuration would fail",
                     old, old_port);
        return APR_SUCCESS;
    }
    if (kept->listen_fd >= 0) {
        close(kept->listen_fd);
        kept->listen_fd = -1;
    }
    return rv;
}

/* ---- the group's socket ---------------------------------------------------------------------- */

/** What says which interface the group is joined on. */
static const char *group_bind(const sc_config_t *c)
{
    return c->mcast.bind[0] ? c->mcast.bind : c->receiver.address;
}

/* As with the receiver: a restart goes on with what there is. */
static void keep_group(const sc_retained_t *kept, sc_config_t *c)
{
    sc_config_text(c->mcast.address, sizeof(c->mcast.address), kept->own->group.address);
    sc_config_text(c->mcast.bind, sizeof(c->mcast.bind), kept->own->group.bind);
    c->mcast.port = kept->own->group.port;
    c->mcast.ttl = kept->own->group.ttl;
    c->mcast.no_loopback = kept->own->group.no_loopback;
}

static apr_status_t make_group(sc_retained_t *kept, sc_config_t *c, server_rec *s)
{
    const char *what = "";
    apr_status_t rv;
    int fd = -1;

    if (kept->group_fd >= 0 && strcmp(kept->own->group.address, c->mcast.address) == 0 &&
        strcmp(kept->own->group.bind, group_bind(c)) == 0 &&
        kept->own->group.port == c->mcast.port && kept->own->group.ttl == c->mcast.ttl &&
        kept->own->group.no_loopback == c->mcast.no_loopback) {
        return APR_SUCCESS;
    }
    rv = sc_group_open(c, &fd, &what);
    if (rv != APR_SUCCESS) {
        int goes_on = kept->group_fd >= 0 && kept->own->group.address[0];

        ap_log_error(APLOG_MARK, goes_on ? APLOG_ERR : APLOG_CRIT, rv, s,
                     "SC0611: the multicast group %s:%u cannot be joined (%s); is there an "
                     "interface with multicast (SessionClusterMembership bind=), or should "
                     "membership be static?%s",
                     c->mcast.address, c->mcast.port, what,
                     goes_on ? " This restart goes on with the group that was joined before" : "");
        if (goes_on) {
            keep_group(kept, c);
            return APR_SUCCESS;
        }
        return rv;
    }
    if (kept->group_fd >= 0) {
        close(kept->group_fd);
    }
    kept->group_fd = fd;
    sc_config_text(kept->own->group.address, sizeof(kept->own->group.address), c->mcast.address);
    sc_config_text(kept->own->group.bind, sizeof(kept->own->group.bind), group_bind(c));
    kept->own->group.port = c->mcast.port;
    kept->own->group.ttl = c->mcast.ttl;
    kept->own->group.no_loopback = c->mcast.no_loopback;
    return APR_SUCCESS;
}

/* ---- the link -------------------------------------------------------------------------------- */

const char *sc_resources_link_path(apr_pool_t *p)
{
    return ap_runtime_dir_relative(p, SOCKET_NAME);
}

/* A socket of that name may be left from an httpd that was killed. If the process that listened on
 * it still lives, two instances share one runtime directory. */
static int other_instance(const char *path)
{
    struct sockaddr_un sa;
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int alive = 0;

    if (fd < 0 || strlen(path) >= sizeof(sa.sun_path)) {
        if (fd >= 0) {
            close(fd);
        }
        return 0;
    }
    memset(&sa, 0, sizeof(sa));
    sa.sun_family = AF_UNIX;
    apr_cpystrn(sa.sun_path, path, sizeof(sa.sun_path));
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0 &&
        peer.pid != getpid()) {
        alive = kill(peer.pid, 0) == 0 || errno == EPERM;
    }
    close(fd);
    return alive;
}

static apr_status_t make_link(sc_retained_t *kept, server_rec *s, apr_pool_t *p)
{
    const char *path = sc_resources_link_path(p);
    int root = geteuid() == 0;
    apr_status_t rv;

    if (kept->link_fd >= 0) {
        return APR_SUCCESS;
    }
    if (other_instance(path)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "SC0612: another httpd uses %s; give each instance its own DefaultRuntimeDir",
                     path);
        return APR_EEXIST;
    }
    rv = sc_link_listen(path, LINK_BACKLOG, root ? ap_unixd_config.user_id : (apr_uid_t)-1,
                        root ? ap_unixd_config.group_id : (apr_gid_t)-1, &kept->link_fd);
    if (rv != APR_SUCCESS) {
        kept->link_fd = -1;
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC0613: no UNIX socket %s for the engine (DefaultRuntimeDir)", path);
    }
    return rv;
}

apr_status_t sc_resources_sockets(sc_retained_t *kept, sc_server_conf_t *conf, server_rec *s,
                                  apr_pool_t *ptemp)
{
    apr_status_t rv = make_link(kept, s, ptemp);

    if (rv != APR_SUCCESS || conf->engine.membership == SC_MEMBERSHIP_NONE) {
        return rv;
    }
    rv = resolve_receiver(conf, s, ptemp);
    if (rv == APR_SUCCESS) {
        rv = check_protection(conf, s);
    }
    if (rv == APR_SUCCESS) {
        rv = make_receiver(kept, conf, s);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_announce_resolve(&conf->engine, s, ptemp);
    }
    if (rv == APR_SUCCESS && conf->engine.membership == SC_MEMBERSHIP_MULTICAST) {
        rv = make_group(kept, &conf->engine, s);
    }
    return rv;
}
