/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The receiver's listening socket and address, for the parent, which makes the one and has to find
 * out the other before it starts an engine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include <apr_network_io.h>
#include <apr_strings.h>

#include "net.h"

/* ---- listening ------------------------------------------------------------------------------ */

static apr_status_t listen_at(const sc_member_t *at, apr_uint32_t port, int *fd,
                              apr_uint32_t *bound)
{
    struct sockaddr_storage a;
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;
    socklen_t len = sizeof(*v4);
    apr_status_t rv = APR_SUCCESS;
    int on = 1;
    int s;

    memset(&a, 0, sizeof(a));
    if (at->host_len == 4) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((apr_uint16_t)port);
        memcpy(&v4->sin_addr, at->host, 4);
    } else {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((apr_uint16_t)port);
        memcpy(&v6->sin6_addr, at->host, 16);
        len = sizeof(*v6);
    }
    s = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0) {
        return errno;
    }
    /* two sockets may share a port until one of them listens, so that is part of the attempt */
    if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(s, (struct sockaddr *)&a, len) != 0 || listen(s, SC_RECEIVER_BACKLOG) != 0 ||
        getsockname(s, (struct sockaddr *)&a, &len) != 0) {
        rv = errno;
        close(s);
        return rv;
    }
    *bound = ntohs(a.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    *fd = s;
    return APR_SUCCESS;
}

apr_status_t sc_receiver_listen(const char *address, apr_uint32_t *port, apr_uint32_t auto_bind,
                                int *fd)
{
    apr_uint32_t first = *port;
    apr_uint32_t tries = auto_bind > 0 && first != 0 ? auto_bind : 1;
    apr_status_t rv = APR_EINVAL;
    sc_member_t at;
    apr_uint32_t i;

    *fd = -1;
    memset(&at, 0, sizeof(at));
    if (sc_member_set_host(&at, address) != APR_SUCCESS || first > 65535) {
        return APR_EINVAL;
    }
    for (i = 0; i < tries && first + i <= 65535; i++) {
        rv = listen_at(&at, first + i, fd, port);
        if (rv != EADDRINUSE) {
            break; /* done, or no other port would do either */
        }
    }
    return rv;
}

/* ---- "auto" --------------------------------------------------------------------------------- */

static int is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

/** The local address that packets to this destination would carry. Nothing is sent: connecting a
 *  UDP socket only asks the routing table. */
static apr_status_t address_towards(apr_sockaddr_t *to, char out[SC_HOST_MAX + 1],
                                    apr_pool_t *scratch)
{
    apr_socket_t *s = NULL;
    apr_sockaddr_t *local = NULL;
    apr_status_t rv;

    rv = apr_socket_create(&s, to->family, SOCK_DGRAM, APR_PROTO_UDP, scratch);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = apr_socket_connect(s, to);
    if (rv == APR_SUCCESS) {
        rv = apr_socket_addr_get(&local, APR_LOCAL, s);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_sockaddr_ip_getbuf(out, SC_HOST_MAX + 1, local);
    }
    apr_socket_close(s);
    if (rv == APR_SUCCESS && (strcmp(out, "0.0.0.0") == 0 || strcmp(out, "::") == 0)) {
        rv = APR_EGENERAL;
    }
    return rv;
}

/** Towards some of the name's addresses; when nobody has entered it yet, towards the world. */
static apr_status_t auto_dns(const sc_config_t *c, char out[SC_HOST_MAX + 1], apr_pool_t *scratch)
{
    apr_sockaddr_t *sa = NULL;
    apr_status_t rv;

    rv = apr_sockaddr_info_get(&sa, c->dns.name, APR_UNSPEC, (apr_port_t)c->dns.port, 0, scratch);
    for (; rv == APR_SUCCESS && sa != NULL; sa = sa->next) {
        if (address_towards(sa, out, scratch) == APR_SUCCESS) {
            return APR_SUCCESS;
        }
    }
    /* an address that nobody has, and nothing is sent to it */
    rv = apr_sockaddr_info_get(&sa, "192.0.2.1", APR_UNSPEC, (apr_port_t)c->dns.port, 0, scratch);
    if (rv == APR_SUCCESS) {
        rv = address_towards(sa, out, scratch);
    }
    return rv == APR_SUCCESS ? APR_INCOMPLETE : rv;
}

/** Towards the first static member that is not reached by loopback, else loopback. */
static apr_status_t auto_static(const sc_config_t *c, char out[SC_HOST_MAX + 1],
                                apr_pool_t *scratch)
{
    char loopback[SC_HOST_MAX + 1] = "";
    apr_status_t rv = APR_EINVAL;
    apr_uint32_t i;

    for (i = 0; i < c->nmembers && i < SC_MEMBERS_MAX; i++) {
        apr_sockaddr_t *sa = NULL;
        apr_status_t err = apr_sockaddr_info_get(&sa, c->member[i].host, APR_UNSPEC,
                                                 (apr_port_t)c->member[i].port, 0, scratch);

        if (err == APR_SUCCESS) {
            err = address_towards(sa, out, scratch);
        }
        if (err == APR_SUCCESS && !is_loopback(out)) {
            return APR_SUCCESS;
        }
        if (err == APR_SUCCESS && loopback[0] == '\0') {
            apr_cpystrn(loopback, out, sizeof(loopback));
        }
        rv = err;
    }
    if (loopback[0] != '\0') {
        apr_cpystrn(out, loopback, SC_HOST_MAX + 1);
        return APR_SUCCESS;
    }
    return rv;
}

apr_status_t sc_receiver_auto(const sc_config_t *c, char out[SC_HOST_MAX + 1], apr_pool_t *scratch)
{
    apr_sockaddr_t *sa = NULL;
    apr_status_t rv;

    out[0] = '\0';
    switch (c->membership) {
    case SC_MEMBERSHIP_MULTICAST:
        if (c->mcast.bind[0] != '\0') {
            apr_cpystrn(out, c->mcast.bind, SC_HOST_MAX + 1);
            return APR_SUCCESS;
        }
        rv = apr_sockaddr_info_get(&sa, c->mcast.address, APR_UNSPEC, (apr_port_t)c->mcast.port, 0,
                                   scratch);
        return rv == APR_SUCCESS ? address_towards(sa, out, scratch) : rv;
    case SC_MEMBERSHIP_STATIC:
        return auto_static(c, out, scratch);
    case SC_MEMBERSHIP_DNS:
        return auto_dns(c, out, scratch);
    default:
        apr_cpystrn(out, "127.0.0.1", SC_HOST_MAX + 1);
        return APR_SUCCESS;
    }
}
