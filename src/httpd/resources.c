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

/* The listening socket of another build, which nobody here remembers anything about: it stays if it
 * is what is wanted. Its port could not be taken again as long as some child still has it. */
static void adopt_receiver(sc_retained_t *kept, const sc_server_conf_t *conf)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t len = sizeof(at);
    char text[SC_HOST_MAX + 1];
    apr_uint32_t port, tries = conf->receiver_auto_bind ? conf->receiver_auto_bind : 1;

    if (kept->listen_fd < 0 || kept->own->receiver.address[0] ||
        getsockname(kept->listen_fd, &at.sa, &len) != 0) {
        return;
    }
    port = ntohs(at.sa.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
    if (!inet_ntop(at.sa.sa_family,
                   at.sa.sa_family == AF_INET6 ? (void *)&at.v6.sin6_addr : (void *)&at.v4.sin_addr,
                   text, sizeof(text)) ||
        strcmp(text, conf->engine.receiver.address) != 0 ||
        (conf->receiver_port != 0 &&
         (port < conf->receiver_port || port - conf->receiver_port >= tries))) {
        return;
    }
    apr_cpystrn(kept->own->receiver.address, text, sizeof(kept->own->receiver.address));
    kept->own->receiver.first_port = conf->receiver_port;
    kept->own->receiver.auto_bind = conf->receiver_auto_bind;
    kept->own->receiver.port = port;
}

static apr_status_t make_receiver(sc_retained_t *kept, sc_server_conf_t *conf, server_rec *s)
{
    sc_config_t *c = &conf->engine;
    apr_uint32_t port = conf->receiver_port;
    apr_status_t rv;

    c->receiver.udp_tries = conf->receiver_auto_bind;
    adopt_receiver(kept, conf);
    if (kept->listen_fd >= 0 && strcmp(kept->own->receiver.address, c->receiver.address) == 0 &&
        kept->own->receiver.first_port == conf->receiver_port &&
        kept->own->receiver.auto_bind == conf->receiver_auto_bind) {
        c->receiver.port = kept->own->receiver.port;
        return APR_SUCCESS;
    }
    if (kept->listen_fd >= 0) {
        close(kept->listen_fd);
        kept->listen_fd = -1;
    }
    rv = sc_receiver_listen(c->receiver.address, &port, conf->receiver_auto_bind, &kept->listen_fd);
    if (rv != APR_SUCCESS) {
        kept->listen_fd = -1;
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC0610: the receiver cannot listen on %s, ports %u to %u "
                     "(SessionClusterReceiver address= port= autoBind=)",
                     c->receiver.address, conf->receiver_port,
                     conf->receiver_port +
                         (conf->receiver_auto_bind ? conf->receiver_auto_bind - 1 : 0));
        return rv;
    }
    apr_cpystrn(kept->own->receiver.address, c->receiver.address,
                sizeof(kept->own->receiver.address));
    kept->own->receiver.first_port = conf->receiver_port;
    kept->own->receiver.auto_bind = conf->receiver_auto_bind;
    kept->own->receiver.port = port;
    c->receiver.port = port;
    return APR_SUCCESS;
}

static apr_status_t make_group(sc_retained_t *kept, const sc_config_t *c, server_rec *s)
{
    const char *what = "";
    apr_status_t rv;

    if (kept->group_fd >= 0 && strcmp(kept->own->group.address, c->mcast.address) == 0 &&
        strcmp(kept->own->group.bind, c->mcast.bind) == 0 &&
        kept->own->group.port == c->mcast.port && kept->own->group.ttl == c->mcast.ttl &&
        kept->own->group.no_loopback == c->mcast.no_loopback) {
        return APR_SUCCESS;
    }
    if (kept->group_fd >= 0) {
        close(kept->group_fd);
        kept->group_fd = -1;
    }
    rv = sc_group_open(c, &kept->group_fd, &what);
    if (rv != APR_SUCCESS) {
        kept->group_fd = -1;
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC0611: the multicast group %s:%u cannot be joined (%s); is there an "
                     "interface with multicast (SessionClusterMembership bind=), or should "
                     "membership be static?",
                     c->mcast.address, c->mcast.port, what);
        return rv;
    }
    apr_cpystrn(kept->own->group.address, c->mcast.address, sizeof(kept->own->group.address));
    apr_cpystrn(kept->own->group.bind, c->mcast.bind, sizeof(kept->own->group.bind));
    kept->own->group.port = c->mcast.port;
    kept->own->group.ttl = c->mcast.ttl;
    kept->own->group.no_loopback = c->mcast.no_loopback;
    return APR_SUCCESS;
}

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

static apr_status_t resolve_receiver(sc_server_conf_t *conf, server_rec *s, apr_pool_t *ptemp)
{
    apr_status_t rv = APR_SUCCESS;

    if (strcmp(conf->receiver_address, "auto") != 0) {
        apr_cpystrn(conf->engine.receiver.address, conf->receiver_address,
                    sizeof(conf->engine.receiver.address));
    } else {
        rv = sc_receiver_auto(&conf->engine, conf->engine.receiver.address, ptemp);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC0614: no address found for the receiver; name one with "
                     "SessionClusterReceiver address=");
    } else if (!conf->secret_none && conf->engine.secret.count == 0 &&
               strncmp(conf->engine.receiver.address, "127.", 4) != 0 &&
               strcmp(conf->engine.receiver.address, "::1") != 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "SC0615: the receiver would listen on %s without protection; give all nodes "
                     "one SessionClusterSecret, or say SessionClusterSecret none if only trusted "
                     "hosts reach it, or "
                     "SessionClusterReceiver address=127.0.0.1",
                     conf->engine.receiver.address);
        return APR_EACCES;
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
        rv = sc_announce_resolve(&conf->engine, s, ptemp);
    }
    if (rv == APR_SUCCESS) {
        rv = make_receiver(kept, conf, s);
    }
    if (rv == APR_SUCCESS && conf->engine.membership == SC_MEMBERSHIP_MULTICAST) {
        rv = make_group(kept, &conf->engine, s);
    }
    return rv;
}
