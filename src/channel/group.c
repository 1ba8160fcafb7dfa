/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The multicast group: one UDP socket for both directions, as in Tribes (tribes-protocol 1.3, 1.5).
 *
 * The socket is bound to the group's own address where the system allows it, so that it gets
 * nothing but the group's datagrams: no unicast to the port and none of another group on it.
 *
 * With a secret each datagram carries a tail, and what carries none, or a wrong one, ends here:
 * whoever is above sees members' datagrams only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net.h"

#define DATAGRAM_MAX 65536
#define BURST 64
/* So that a flood from elsewhere does not leave members without a place. */
#define RECEIVE_BUFFER (1024 * 1024)
#define LOG_INTERVAL apr_time_from_sec(10)

struct sc_group_t {
    const sc_net_env_t *env;
    sc_sock_t sock;
    int own;              /* the socket was made here, not by the parent */
    apr_uint32_t errors;  /* sends in a row that failed */
    int recovered;        /* and nothing has been sent since */
    apr_uint32_t unheard; /* sends since anything was heard */
    apr_time_t unheard_since;
    int failed;        /* and one of them failed */
    unsigned int deaf; /* so often it was joined again because of that, and nothing is heard yet */
    sc_timer_t recovery;
    sc_log_limit_t errors_log;
    sc_log_limit_t recovery_log;
    sc_log_limit_t deaf_log;
    struct sockaddr_storage to;
    socklen_t to_len;
    apr_uint64_t count; /* of datagrams sent with a secret */
    sc_guard_t guard;
    sc_log_limit_t forged_log;
    unsigned char in[DATAGRAM_MAX];
};

/* ---- opening: in the parent ----------------------------------------------------------------- */

static int is_multicast(const struct sockaddr_storage *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;

    return a->ss_family == AF_INET ? IN_MULTICAST(ntohl(v4->sin_addr.s_addr))
                                   : IN6_IS_ADDR_MULTICAST(&v6->sin6_addr);
}

static int same_host(const struct sockaddr *a, const struct sockaddr_storage *b)
{
    if (a == NULL || a->sa_family != b->ss_family) {
        return 0;
    }
    if (a->sa_family == AF_INET) {
        return memcmp(&((const struct sockaddr_in *)a)->sin_addr,
                      &((const struct sockaddr_in *)b)->sin_addr, sizeof(struct in_addr)) == 0;
    }
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                  &((const struct sockaddr_in6 *)b)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static int is_any(const struct sockaddr_storage *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;

    return a->ss_family == AF_INET ? v4->sin_addr.s_addr == htonl(INADDR_ANY)
                                   : IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

static int is_loopback(const struct sockaddr_storage *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;

    return a->ss_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
                                   : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/** An IPv4 address in the clothes of an IPv6 one is on the interface that has the IPv4 one. */
static void unmap(struct sockaddr_storage *a)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in *v4 = (struct sockaddr_in *)a;

    memcpy(&v6, a, sizeof(v6));
    if (a->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        memset(a, 0, sizeof(*a));
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, v6.sin6_addr.s6_addr + 12, sizeof(v4->sin_addr));
    }
}

/**
 * Number of the interface that has an address. All of 127/8 is on the loopback interface, whatever
 * of it is entered there; and a loopback address is never looked for elsewhere, because who
 * receives there may do without a secret.
 * @return 0 if none has
 */
static unsigned int interface_of(const struct sockaddr_storage *address)
{
    int loopback = is_loopback(address);
    struct ifaddrs *list;
    struct ifaddrs *i;
    unsigned int index = 0;

    if (getifaddrs(&list) != 0) {
        return 0;
    }
    for (i = list; i != NULL && index == 0; i = i->ifa_next) {
        if (loopback ? (i->ifa_flags & IFF_LOOPBACK) != 0 : same_host(i->ifa_addr, address)) {
            index = if_nametoindex(i->ifa_name);
        }
    }
    freeifaddrs(list);
    return index;
}

/**
 * The interface to use: that of bind=, else that of the receiver's address, of whichever family, so
 * that the group is joined where the members are. A receiver on all interfaces leaves it to the
 * system (0). An address that no interface has, which may have it later, does not: the system
 * would choose one that others listen on.
 */
static apr_status_t choose_interface(const sc_config_t *c, unsigned int *index)
{
    const char *text = c->mcast.bind[0] != '\0' ? c->mcast.bind : c->receiver.address;
    struct sockaddr_storage a;

    *index = 0;
    if (sc_sock_numeric(text, 0, &a) == 0) {
        return APR_EINVAL;
    }
    unmap(&a);
    if (is_any(&a)) {
        return c->mcast.bind[0] == '\0' ? APR_SUCCESS : EADDRNOTAVAIL;
    }
    *index = interface_of(&a);
    return *index != 0 ? APR_SUCCESS : EADDRNOTAVAIL;
}

static int set_v4(int fd, const struct sockaddr_in *group, unsigned int index, int ttl,
                  int no_loopback, const char **what)
{
    struct ip_mreqn mreq;
    int on = !no_loopback;
    int off = 0;

    memset(&mreq, 0, sizeof(mreq));
    mreq.imr_multiaddr = group->sin_addr;
    mreq.imr_ifindex = (int)index;
    *what = "IP_MULTICAST_ALL";
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof(off)) != 0) {
        return -1;
    }
    *what = "joining the group";
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) != 0) {
        return -1;
    }
    *what = "IP_MULTICAST_IF";
    if (index != 0 && setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &mreq, sizeof(mreq)) != 0) {
        return -1;
    }
    *what = "IP_MULTICAST_LOOP";
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &on, sizeof(on)) != 0) {
        return -1;
    }
    *what = "IP_MULTICAST_TTL";
    return ttl >= 0 ? setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl)) : 0;
}

static int set_v6(int fd, const struct sockaddr_in6 *group, unsigned int index, int ttl,
                  int no_loopback, const char **what)
{
    struct ipv6_mreq mreq;
    int i = (int)index;
    int on = !no_loopback;

    memset(&mreq, 0, sizeof(mreq));
    mreq.ipv6mr_multiaddr = group->sin6_addr;
    mreq.ipv6mr_interface = index;
#ifdef IPV6_MULTICAST_ALL
    {
        int off = 0;

        /* kernels before 4.20 do not know it; the bind to the group does the same */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &off, sizeof(off));
    }
#endif
    *what = "joining the group";
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &mreq, sizeof(mreq)) != 0) {
        return -1;
    }
    *what = "IPV6_MULTICAST_IF";
    if (index != 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &i, sizeof(i)) != 0) {
        return -1;
    }
    *what = "IPV6_MULTICAST_LOOP";
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &on, sizeof(on)) != 0) {
        return -1;
    }
    *what = "IPV6_MULTICAST_HOPS";
    return ttl >= 0 ? setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &ttl, sizeof(ttl)) : 0;
}

/** To the group's own address, or to the port alone where that is not possible. */
static int bind_group(int fd, const struct sockaddr_storage *group, socklen_t len,
                      unsigned int index)
{
    struct sockaddr_storage a = *group;

    if (a.ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)&a)->sin6_scope_id = index;
    }
    if (bind(fd, (struct sockaddr *)&a, len) == 0) {
        return 0;
    }
    if (a.ss_family == AF_INET) {
        ((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(INADDR_ANY);
    } else {
        ((struct sockaddr_in6 *)&a)->sin6_addr = in6addr_any;
        ((struct sockaddr_in6 *)&a)->sin6_scope_id = 0;
    }
    return bind(fd, (struct sockaddr *)&a, len);
}

static apr_status_t setup(int fd, const sc_config_t *c, const struct sockaddr_storage *group,
                          socklen_t len, const char **what)
{
    unsigned int index;
    apr_status_t rv;
    int buffer = RECEIVE_BUFFER;
    int on = 1;

    *what = "the interface to join the group on";
    rv = choose_interface(c, &index);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* without the right to pass the system's limit, less does, too */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    }
    *what = "SO_REUSEADDR";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) {
        return errno;
    }
    *what = "bind";
    if (bind_group(fd, group, len, index) != 0) {
        return errno;
    }
    if (group->ss_family == AF_INET) {
        on = set_v4(fd, (const struct sockaddr_in *)group, index, c->mcast.ttl,
                    (int)c->mcast.no_loopback, what);
    } else {
        on = set_v6(fd, (const struct sockaddr_in6 *)group, index, c->mcast.ttl,
                    (int)c->mcast.no_loopback, what);
    }
    return on != 0 ? errno : APR_SUCCESS;
}

apr_status_t sc_group_open(const sc_config_t *c, int *fd, const char **what)
{
    struct sockaddr_storage group;
    socklen_t len = sc_sock_numeric(c->mcast.address, c->mcast.port, &group);
    apr_status_t rv;
    int s;

    *fd = -1;
    *what = "the address of the group";
    if (len == 0 || c->mcast.port == 0 || !is_multicast(&group)) {
        return APR_EINVAL;
    }
    *what = "socket";
    s = socket(group.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0) {
        return errno;
    }
    rv = setup(s, c, &group, len, what);
    if (rv != APR_SUCCESS) {
        close(s);
        return rv;
    }
    *fd = s;
    return APR_SUCCESS;
}

/* ---- using: in the engine ------------------------------------------------------------------- */

static void joined_again(const sc_group_t *g)
{
    sc_log(g->env->cfg.log, SC_LOG_NOTICE, 0, "SC0437: the group %s:%u was joined again",
           g->env->cfg.config->mcast.address, g->env->cfg.config->mcast.port);
}

static void refused(sc_group_t *g, const char *why)
{
    apr_time_t now = sc_loop_now(g->env->loop);
    apr_uint64_t more = 0;

    if (sc_log_allowed(&g->forged_log, now, LOG_INTERVAL, &more)) {
        sc_log(g->env->cfg.log, SC_LOG_WARNING, 0,
               "SC0476: a datagram of the group %s:%u was ignored: %s (%" APR_UINT64_T_FMT
               " more before)",
               g->env->cfg.config->mcast.address, g->env->cfg.config->mcast.port, why, more);
    }
}

/** Whether a datagram is a member's; its tail is taken off. */
static int admit(sc_group_t *g, apr_size_t *len)
{
    const sc_keyring_t *ring = g->env->ring;
    apr_status_t rv;

    if (ring->count == 0) {
        if (!sc_datagram_is_sealed(g->in, *len)) {
            return 1;
        }
        SC_NET_COUNT(g->env, datagrams_refused, 1);
        refused(g, "it is of a member with a SessionClusterSecret, and this node has none");
        return 0;
    }
    rv = *len <= SC_DATAGRAM_MAX ? sc_datagram_open(&g->guard, ring, g->in, len) : APR_EINVAL;
    if (rv == APR_EEXIST) {
        /* networks repeat datagrams, too */
        SC_NET_COUNT(g->env, datagrams_replayed, 1);
    } else if (rv != APR_SUCCESS) {
        SC_NET_COUNT(g->env, datagrams_forged, 1);
        refused(g, rv == APR_EINVAL ? "it is of nobody with this cluster's secret"
                                    : "it is of another secret, or was changed");
    }
    return rv == APR_SUCCESS;
}

/** Whatever it is, also this node's own: the socket is in the group. */
static void heard(sc_group_t *g)
{
    g->unheard = 0;
    g->failed = 0;
    if (g->deaf > 0) {
        g->deaf = 0;
        joined_again(g);
    }
}

static void group_event(void *baton, apr_int16_t events)
{
    sc_group_t *g = baton;
    /* nothing longer is copied than anybody would look at */
    apr_size_t size = g->env->ring->count > 0 ? SC_DATAGRAM_MAX : sizeof(g->in);
    int i;

    (void)events;
    for (i = 0; i < BURST; i++) {
        ssize_t n = recv(g->sock.fd, g->in, size, MSG_DONTWAIT | MSG_TRUNC);
        apr_size_t len = (apr_size_t)n;

        if (n >= 0) {
            heard(g);
            if (admit(g, &len)) {
                g->env->up.datagram(g->env->up.baton, g->in, len);
            }
        } else if (errno != EINTR) {
            /* nothing left, or an error that an earlier send has caused: both are over now */
            return;
        }
    }
}

static apr_status_t send_bytes(sc_group_t *g, const void *bytes, apr_size_t len)
{
    ssize_t n;

    do {
        n = sendto(g->sock.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&g->to,
                   g->to_len);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? errno : APR_SUCCESS;
}

apr_status_t sc_group_send(sc_group_t *g, const void *bytes, apr_size_t len)
{
    apr_status_t rv;
    sc_buf_t b;

    if (g->sock.fd < 0) {
        return APR_EBADF;
    }
    if (g->env->ring->count == 0) {
        return send_bytes(g, bytes, len);
    }
    sc_buf_init(&b, SC_DATAGRAM_MAX);
    sc_put(&b, bytes, len);
    rv = sc_datagram_seal(g->env->ring, &g->env->cfg.uid, ++g->count, &b);
    if (rv == APR_SUCCESS) {
        rv = send_bytes(g, b.data, b.len);
    }
    sc_buf_free(&b);
    return rv;
}

/* ---- recovery ------------------------------------------------------------------------------- */

#define RECOVERY_LOG_INTERVAL apr_time_from_sec(60)
/* So many sends that nothing was heard of are no accident. */
#define UNHEARD_MIN 3
/* When joining again does not help, the next attempt comes later: twice the time, so often. */
#define DEAF_DOUBLED_MAX 5

/* An interface that goes away takes the membership in the group with it, and when it comes back it
 * is another one to the kernel. So after recoveryCounter sends in a row that failed the socket is
 * made again, each recoverySleepTime until that works (tribes-protocol 1.6; unlike Tribes without a
 * good-bye: nobody has left). Who has been heard stays until dropTime.
 *
 * An interface that is back before so many sends have failed leaves a socket that sends, and hears
 * nothing for ever. A socket in the group hears what it sends itself, so one that has heard nothing
 * for half of dropTime, in which it has sent several times, is deaf. It is made again before this
 * node gives others up that it could hear. With localLoopbackDisabled silence may just mean that
 * there is nobody; then it is made again only if a send has failed meanwhile, or if the interface
 * is not the one that was joined. */

/** Whether a socket is in the group on this interface. The kernel is asked for the sources that it
 *  leaves out there, which it knows only of groups that the socket is in. */
static int is_joined_on(int fd, const struct sockaddr_storage *group, socklen_t len,
                        unsigned int index)
{
    struct group_filter filter;
    socklen_t size = sizeof(filter);

    memset(&filter, 0, sizeof(filter));
    filter.gf_interface = index;
    memcpy(&filter.gf_group, group, len);
    return getsockopt(fd, group->ss_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, MCAST_MSFILTER,
                      &filter, &size) == 0;
}

/** Whether the socket is in the group where it should be; on any interface that there is if the
 *  system has chosen it. */
static int is_joined(const sc_group_t *g)
{
    struct if_nameindex *list;
    unsigned int index;
    int found = 0;
    int i;

    if (choose_interface(g->env->cfg.config, &index) != APR_SUCCESS) {
        return 0;
    }
    if (index != 0) {
        return is_joined_on(g->sock.fd, &g->to, g->to_len, index);
    }
    list = if_nameindex();
    for (i = 0; list != NULL && list[i].if_index != 0 && !found; i++) {
        found = is_joined_on(g->sock.fd, &g->to, g->to_len, list[i].if_index);
    }
    if (list != NULL) {
        if_freenameindex(list);
    }
    return found;
}

static apr_status_t use_socket(sc_group_t *g, int fd)
{
    sc_sock_t made;
    apr_status_t rv = sc_sock_open(&made, fd, g->env->loop, g->env->pool);

    if (rv != APR_SUCCESS) {
        close(fd);
        return rv;
    }
    sc_sock_close(&g->sock, g->own);
    g->sock = made;
    g->own = 1;
    return sc_sock_watch(&g->sock, APR_POLLIN, group_event, g);
}

static apr_status_t join_again(sc_group_t *g, const char **what)
{
    int fd = -1;
    apr_status_t rv = sc_group_open(g->env->cfg.config, &fd, what);

    if (rv == APR_SUCCESS) {
        *what = "watching it";
        rv = use_socket(g, fd);
    }
    if (rv == APR_SUCCESS) {
        g->errors = 0;
        g->unheard = 0;
        g->failed = 0;
        SC_NET_COUNT(g->env, group_joins, 1);
    }
    return rv;
}

static void recovery_due(void *baton, apr_time_t now)
{
    sc_group_t *g = baton;
    const sc_config_t *c = g->env->cfg.config;
    const char *what = "";
    apr_status_t rv = join_again(g, &what);

    if (rv == APR_SUCCESS) {
        g->recovered = g->deaf == 0;
        return;
    }
    if (sc_log_allowed(&g->recovery_log, now, RECOVERY_LOG_INTERVAL, NULL)) {
        sc_log(g->env->cfg.log, SC_LOG_WARNING, rv,
               "SC0436: the group %s:%u cannot be joined again yet (%s)", c->mcast.address,
               c->mcast.port, what);
    }
    if (!c->mcast.no_recovery) {
        (void)sc_timer_set(sc_loop_timers(g->env->loop), &g->recovery,
                           now + apr_time_from_msec(c->mcast.recovery_ms), recovery_due, g);
    }
}

/** As soon as possible, but not from within a send. */
static void recover(sc_group_t *g)
{
    (void)sc_timer_set(sc_loop_timers(g->env->loop), &g->recovery, sc_loop_now(g->env->loop),
                       recovery_due, g);
}

static int can_recover(const sc_group_t *g)
{
    return !g->env->cfg.config->mcast.no_recovery && g->recovery.index == 0;
}

static void send_failed(sc_group_t *g, apr_status_t rv)
{
    const sc_config_t *c = g->env->cfg.config;

    /* a full buffer and a datagram that is too long say nothing about the group */
    if (rv == EAGAIN || rv == EMSGSIZE) {
        return;
    }
    g->failed = 1;
    if (++g->errors < c->mcast.recovery_errors || !can_recover(g)) {
        return;
    }
    if (sc_log_allowed(&g->errors_log, sc_loop_now(g->env->loop), RECOVERY_LOG_INTERVAL, NULL)) {
        sc_log(g->env->cfg.log, SC_LOG_WARNING, rv,
               "SC0435: %u datagrams in a row could not be sent to the group %s:%u; it is joined "
               "again",
               g->errors, c->mcast.address, c->mcast.port);
    }
    recover(g);
}

/** Something was sent: is anything heard? */
static void listen_to_itself(sc_group_t *g)
{
    const sc_config_t *c = g->env->cfg.config;
    apr_time_t now = sc_loop_now(g->env->loop);
    apr_interval_time_t patience = apr_time_from_msec(c->mcast.drop_ms) / 2;

    if (g->unheard++ == 0) {
        g->unheard_since = now;
    }
    if (g->unheard <= UNHEARD_MIN || !can_recover(g) ||
        now - g->unheard_since <=
            patience << (g->deaf < DEAF_DOUBLED_MAX ? g->deaf : DEAF_DOUBLED_MAX)) {
        return;
    }
    if (c->mcast.no_loopback && !g->failed && is_joined(g)) {
        g->unheard = 0;
        return;
    }
    /* once, until something is heard */
    if (g->deaf == 0 && sc_log_allowed(&g->deaf_log, now, RECOVERY_LOG_INTERVAL, NULL)) {
        sc_log(g->env->cfg.log, SC_LOG_WARNING, 0,
               "SC0562: nothing has been heard on the group %s:%u, of %u datagrams that were sent "
               "there; it is joined again",
               c->mcast.address, c->mcast.port, g->unheard);
    }
    g->deaf++;
    recover(g);
}

void sc_group_sent(sc_group_t *g, apr_status_t rv)
{
    if (rv != APR_SUCCESS) {
        send_failed(g, rv);
        return;
    }
    g->errors = 0;
    if (g->recovered) {
        g->recovered = 0;
        joined_again(g);
    }
    listen_to_itself(g);
}

/* ---- life ----------------------------------------------------------------------------------- */

/* The parent's socket is as old as httpd. An engine that follows another one may find it joined on
 * an interface that is gone, or that the receiver has left, and would hear nobody while it listens:
 * then it makes its own. */
static void leave_stale(sc_group_t *g)
{
    const sc_config_t *c = g->env->cfg.config;

    if (!is_joined(g)) {
        sc_log(g->env->cfg.log, SC_LOG_NOTICE, 0,
               "SC0563: the socket that httpd has made for the group %s:%u is not in it where it "
               "should be; it is joined again",
               c->mcast.address, c->mcast.port);
        recovery_due(g, sc_loop_now(g->env->loop));
    }
}

apr_status_t sc_group_create(sc_group_t **out, const sc_net_env_t *env)
{
    sc_group_t *g = apr_pcalloc(env->pool, sizeof(*g));
    const sc_config_t *c = env->cfg.config;
    apr_status_t rv;

    g->env = env;
    g->sock.fd = -1;
    *out = g;
    if (env->cfg.group_fd < 0) {
        return APR_SUCCESS;
    }
    g->to_len = sc_sock_numeric(c->mcast.address, c->mcast.port, &g->to);
    if (g->to_len == 0) {
        return APR_EINVAL;
    }
    rv = sc_sock_open(&g->sock, env->cfg.group_fd, env->loop, env->pool);
    if (rv == APR_SUCCESS) {
        rv = sc_sock_watch(&g->sock, APR_POLLIN, group_event, g);
    }
    if (rv == APR_SUCCESS) {
        leave_stale(g);
    }
    return rv;
}

void sc_group_close(sc_group_t *g)
{
    sc_timer_cancel(sc_loop_timers(g->env->loop), &g->recovery);
    sc_sock_close(&g->sock, g->own);
}
