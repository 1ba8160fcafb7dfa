/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * This module's channel at the other end of a pipe: the core's rooms as the engine puts them
 * together, without manager and store, on real sockets. The same commands and events as Peer.java,
 * but one channel per process, opened by the arguments:
 *
 *   peer key=value...                 see keys[] and the functions behind it; "ready", or exit 1
 *   send TAG OPTIONS TO FILE          TO: host:port; "sent TAG ok", or "failed" and why
 *   members                           "members host:port..."
 *   coordinator                       "coordinator route|host:port|none"
 *   counter NAME                      "counter NAME value", of the noticeboard's
 *   close                             a graceful leave; "closed"
 *
 * Events: "added host:port uid", "gone host:port", "message host:port options length sha1"; with
 * show=1 the message's bytes follow in hex. The log goes to stderr. It leaves when stdin ends.
 *
 * With secret= it proves to be a member, so what it is told to send is that of a member.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_portable.h>
#include <apr_sha1.h>
#include <apr_strings.h>

#include "sc_channel.h"
#include "sc_loop.h"

#define LINE_MAX_BYTES 4096
#define DRAIN_TIME apr_time_from_sec(2)
#define LOOK_INTERVAL apr_time_from_msec(10)

typedef struct peer_t {
    sc_config_t config;
    sc_secrets_t secrets;
    apr_uint32_t show;
    sc_member_t foreign[SC_MEMBERS_MAX]; /* those that have been told */
    apr_size_t nforeign;
    sc_timer_t look;
    sc_board_t board;
    sc_loop_t *loop;
    sc_channel_t *channel;
    sc_net_t *net;
    sc_uid_t uid;
    int listen_fd;
    int group_fd;
    sc_watch_t in;
    char line[LINE_MAX_BYTES];
    size_t line_len;
    apr_pool_t *pool;
} peer_t;

typedef struct sending_t {
    char tag[64];
} sending_t;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

static void die(const char *what, apr_status_t rv) __attribute__((noreturn));

static void die(const char *what, apr_status_t rv)
{
    char text[128];

    say("broken %s: %s", what, apr_strerror(rv, text, sizeof(text)));
    exit(1);
}

static void write_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    (void)ctx;
    fprintf(stderr, "%d %s (%d)\n", (int)level, line, (int)rv);
}

static const sc_log_t log_sink = {NULL, SC_LOG_DEBUG, write_log};

static const char *address(const sc_member_t *m, char *out, size_t size)
{
    char host[SC_HOST_MAX + 1];

    snprintf(out, size, m->host_len == 16 ? "[%s]:%d" : "%s:%d", sc_member_host(m, host),
             (int)m->port);
    return out;
}

static void hex(const unsigned char *bytes, size_t len, char *out)
{
    size_t i;

    for (i = 0; i < len; i++) {
        sprintf(out + 2 * i, "%02x", bytes[i]);
    }
}

/* ---- the configuration ---------------------------------------------------------------------- */

static apr_uint32_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0') {
        die(text, APR_EINVAL);
    }
    return (apr_uint32_t)value;
}

/** host:port, the last colon counts. */
static void split_address(const char *text, char host[SC_HOST_MAX + 1], apr_uint32_t *port)
{
    const char *colon = strrchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;

    if (n == 0 || n > SC_HOST_MAX) {
        die(text, APR_EINVAL);
    }
    if (text[0] == '[' && n > 2) {
        text++;
        n -= 2;
    }
    memcpy(host, text, n);
    host[n] = '\0';
    *port = number(colon + 1);
}

static void set_membership(peer_t *p, const char *value)
{
    p->config.membership = strcmp(value, "multicast") == 0 ? SC_MEMBERSHIP_MULTICAST
                           : strcmp(value, "static") == 0  ? SC_MEMBERSHIP_STATIC
                                                           : SC_MEMBERSHIP_NONE;
}

static void set_uid(peer_t *p, const char *value)
{
    unsigned int byte;
    size_t i;

    for (i = 0; i < sizeof(p->uid.b) && sscanf(value + 2 * i, "%2x", &byte) == 1; i++) {
        p->uid.b[i] = (unsigned char)byte;
    }
}

static void set_secret(peer_t *p, const char *value)
{
    apr_status_t rv = sc_secrets_add(&p->secrets, value, strlen(value));

    if (rv != APR_SUCCESS) {
        die("secret", rv);
    }
    p->config.secret.count = p->secrets.count;
    memcpy(p->config.secret.id, p->secrets.id, sizeof(p->secrets.id));
}

static void set_role(peer_t *p, const char *value)
{
    p->config.role = strcmp(value, "balancer") == 0 ? SC_ROLE_BALANCER : SC_ROLE_NODE;
}

static void set_foreign(peer_t *p, const char *value)
{
    p->config.mcast.accept_foreign = strcmp(value, "accept") == 0;
}

static void set_member(peer_t *p, const char *value)
{
    sc_config_member_t *m = &p->config.member[p->config.nmembers++];

    split_address(value, m->host, &m->port);
}

/** Name{attribute=value;...} */
static void set_interceptor(peer_t *p, const char *value)
{
    sc_config_interceptor_t *i = &p->config.interceptor[p->config.ninterceptors++];
    char *copy = apr_pstrdup(p->pool, value);
    char *brace = strchr(copy, '{');
    char *pair, *state;

    if (brace != NULL) {
        *brace = '\0';
        brace[1 + strcspn(brace + 1, "}")] = '\0';
        for (pair = apr_strtok(brace + 1, ";", &state); pair != NULL;
             pair = apr_strtok(NULL, ";", &state)) {
            sc_config_attr_t *a = &i->attr[i->nattrs++];
            char *equals = strchr(pair, '=');

            if (equals == NULL) {
                die(value, APR_EINVAL);
            }
            *equals = '\0';
            apr_cpystrn(a->name, pair, sizeof(a->name));
            apr_cpystrn(a->value, equals + 1, sizeof(a->value));
        }
    }
    apr_cpystrn(i->name, copy, sizeof(i->name));
}

static void set_one(peer_t *p, const char *key, const char *value)
{
    sc_config_t *c = &p->config;
    const struct {
        const char *key;
        void (*set)(peer_t *p, const char *value);
        apr_uint32_t *number;
        char *text;
        size_t size;
    } keys[] = {
        {"membership", set_membership, NULL, NULL, 0},
        {"uid", set_uid, NULL, NULL, 0},
        {"member", set_member, NULL, NULL, 0},
        {"interceptor", set_interceptor, NULL, NULL, 0},
        {"foreign", set_foreign, NULL, NULL, 0},
        {"secret", set_secret, NULL, NULL, 0},
        {"role", set_role, NULL, NULL, 0},
        {"show", NULL, &p->show, NULL, 0},
        {"advertisePort", NULL, &c->receiver.advertise_port, NULL, 0},
        {"udpPort", NULL, &c->receiver.udp_port, NULL, 0},
        {"host", NULL, NULL, c->receiver.address, sizeof(c->receiver.address)},
        {"port", NULL, &c->receiver.port, NULL, 0},
        {"maxFrame", NULL, &c->receiver.max_frame, NULL, 0},
        {"timeout", NULL, &c->sender.timeout_ms, NULL, 0},
        {"maxRetryAttempts", NULL, &c->sender.max_retries, NULL, 0},
        {"route", NULL, NULL, c->route, sizeof(c->route)},
        {"m.address", NULL, NULL, c->mcast.address, sizeof(c->mcast.address)},
        {"m.port", NULL, &c->mcast.port, NULL, 0},
        {"m.bind", NULL, NULL, c->mcast.bind, sizeof(c->mcast.bind)},
        {"m.domain", NULL, NULL, c->mcast.domain, sizeof(c->mcast.domain)},
        {"m.frequency", NULL, &c->mcast.frequency_ms, NULL, 0},
        {"m.dropTime", NULL, &c->mcast.drop_ms, NULL, 0},
    };
    size_t i;

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i].key, key) != 0) {
            continue;
        }
        if (keys[i].set != NULL) {
            keys[i].set(p, value);
        } else if (keys[i].number != NULL) {
            *keys[i].number = number(value);
        } else {
            apr_cpystrn(keys[i].text, value, keys[i].size);
        }
        return;
    }
    die(key, APR_NOTFOUND);
}

static void configure(peer_t *p, int argc, char *const argv[])
{
    int i;

    sc_config_defaults(&p->config);
    apr_cpystrn(p->config.route, "interop", sizeof(p->config.route));
    apr_cpystrn(p->config.receiver.address, "127.0.0.1", sizeof(p->config.receiver.address));
    for (i = 1; i < argc; i++) {
        char *key = apr_pstrdup(p->pool, argv[i]);
        char *equals = strchr(key, '=');

        if (equals == NULL) {
            die(argv[i], APR_EINVAL);
        }
        *equals = '\0';
        set_one(p, key, equals + 1);
    }
}

/* ---- what the channel tells ----------------------------------------------------------------- */

static apr_status_t up_record(void *baton, const sc_member_t *from, const void *bytes,
                              apr_size_t len)
{
    char a[SC_MEMBER_NAME];

    (void)baton;
    (void)bytes;
    say("record %s %" APR_SIZE_T_FMT, address(from, a, sizeof(a)), len);
    return APR_SUCCESS;
}

static void up_gap(void *baton, const sc_member_t *from)
{
    (void)baton;
    (void)from;
}

static void up_progress(void *baton, const sc_member_t *from, apr_uint64_t lsn)
{
    (void)baton;
    (void)from;
    (void)lsn;
}

static void up_message(void *baton, const sc_packet_t *packet)
{
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    char text[2 * APR_SHA1_DIGESTSIZE + 1];
    apr_sha1_ctx_t sha1;
    char a[SC_MEMBER_NAME];
    const peer_t *p = baton;
    char *bytes = calloc(1, p->show ? 2 * packet->body_len + 2 : 1);

    if (bytes == NULL) {
        die("message", APR_ENOMEM);
    }
    if (p->show) {
        bytes[0] = ' ';
        hex(packet->body, packet->body_len, bytes + 1);
    }
    apr_sha1_init(&sha1);
    apr_sha1_update_binary(&sha1, packet->body, (unsigned int)packet->body_len);
    apr_sha1_final(digest, &sha1);
    hex(digest, sizeof(digest), text);
    say("message %s %u %" APR_SIZE_T_FMT " %s%s", address(&packet->from, a, sizeof(a)),
        packet->options, packet->body_len, text, bytes);
    free(bytes);
}

static void say_added(const sc_member_t *m)
{
    char uid[2 * sizeof(m->uid.b) + 1];
    char a[SC_MEMBER_NAME];

    hex(m->uid.b, sizeof(m->uid.b), uid);
    say("added %s %s", address(m, a, sizeof(a)), uid);
}

static void say_gone(const sc_member_t *m)
{
    char a[SC_MEMBER_NAME];

    say("gone %s", address(m, a, sizeof(a)));
}

static void up_member_added(void *baton, const sc_member_t *m)
{
    (void)baton;
    say_added(m);
}

static void up_member_changed(void *baton, const sc_member_t *m)
{
    (void)baton;
    (void)m;
}

static void up_member_gone(void *baton, const sc_member_t *m, int goodbye)
{
    (void)baton;
    (void)goodbye;
    say_gone(m);
}

static int among(const sc_member_t *m, const sc_member_t *const *members, apr_size_t n)
{
    apr_size_t i;

    for (i = 0; i < n; i++) {
        if (sc_member_same(members[i], m)) {
            return 1;
        }
    }
    return 0;
}

/** The layer above the channel is not told of foreign members, so look for changes now and then. */
static void look_due(void *baton, apr_time_t now)
{
    peer_t *p = baton;
    const sc_member_t *is[SC_MEMBERS_MAX];
    const sc_member_t *was[SC_MEMBERS_MAX];
    apr_size_t n = sc_channel_foreign(p->channel, is, SC_MEMBERS_MAX);
    apr_size_t i;

    for (i = 0; i < p->nforeign; i++) {
        was[i] = &p->foreign[i];
        if (!among(was[i], is, n)) {
            say_gone(was[i]);
        }
    }
    for (i = 0; i < n; i++) {
        if (!among(is[i], was, p->nforeign)) {
            say_added(is[i]);
        }
    }
    for (i = 0; i < n; i++) {
        p->foreign[i] = *is[i];
    }
    p->nforeign = n;
    (void)sc_timer_set(sc_loop_timers(p->loop), &p->look, now + LOOK_INTERVAL, look_due, p);
}

static apr_uint64_t up_lsn(void *baton)
{
    (void)baton;
    return 0;
}

static void up_settled(void *baton)
{
    (void)baton;
    say("ready");
}

/* ---- commands ------------------------------------------------------------------------------- */

static void sent(void *baton, apr_status_t rv)
{
    sending_t *s = baton;
    char text[128];

    if (rv == APR_SUCCESS) {
        say("sent %s ok", s->tag);
    } else {
        say("sent %s failed %s", s->tag,
            rv == APR_EGENERAL ? "fail-ack" : apr_strerror(rv, text, sizeof(text)));
    }
    free(s);
}

/** All members, ours first. */
static apr_size_t all_members(const peer_t *p, const sc_member_t **members)
{
    apr_size_t n = sc_channel_members(p->channel, members, SC_MEMBERS_MAX);

    return n + sc_channel_foreign(p->channel, members + n, SC_MEMBERS_MAX - n);
}

/** The member of this address; an unknown one for the channel to refuse. */
static void find_member(const peer_t *p, const char *to, sc_member_t *m)
{
    const sc_member_t *members[SC_MEMBERS_MAX];
    apr_size_t n = all_members(p, members);
    char a[SC_MEMBER_NAME];
    apr_size_t i;

    memset(m, 0, sizeof(*m));
    for (i = 0; i < n; i++) {
        if (strcmp(address(members[i], a, sizeof(a)), to) == 0) {
            *m = *members[i];
        }
    }
}

static void command_send(peer_t *p, const char *tag, const char *options, const char *to,
                         const char *file)
{
    sending_t *s = calloc(1, sizeof(*s));
    FILE *f = fopen(file, "rb");
    unsigned char *bytes = NULL;
    sc_member_t m;
    apr_status_t rv;
    long len;

    if (s == NULL || f == NULL || fseek(f, 0, SEEK_END) != 0 || (len = ftell(f)) < 0) {
        die(file, errno);
    }
    rewind(f);
    bytes = malloc((size_t)len + 1);
    if (bytes == NULL || fread(bytes, 1, (size_t)len, f) != (size_t)len) {
        die(file, errno);
    }
    fclose(f);
    find_member(p, to, &m);
    apr_cpystrn(s->tag, tag, sizeof(s->tag));
    rv = sc_channel_send(p->channel, &m, bytes, (apr_size_t)len, number(options), sent, s);
    if (rv != APR_SUCCESS) {
        sent(s, rv);
    }
    free(bytes);
}

static void command_members(const peer_t *p)
{
    const sc_member_t *members[SC_MEMBERS_MAX];
    apr_size_t n = all_members(p, members);
    char a[SC_MEMBER_NAME];
    apr_size_t i;

    fputs("members", stdout);
    for (i = 0; i < n; i++) {
        printf(" %s", address(members[i], a, sizeof(a)));
    }
    putchar('\n');
    fflush(stdout);
}

static void command_coordinator(const peer_t *p)
{
    static sc_view_t view;

    memset(&view, 0, sizeof(view));
    sc_channel_view(p->channel, &view);
    say("coordinator %s", view.coordinator[0] != '\0' ? view.coordinator : "none");
}

static void command_counter(const peer_t *p, const char *name)
{
#define SC_X(x)                                                                                    \
    if (strcmp(name, #x) == 0) {                                                                   \
        say("counter %s %" APR_UINT64_T_FMT, name, p->board.count.x);                              \
    }
    SC_COUNTERS(SC_X)
#undef SC_X
}

static void obey(peer_t *p, char *line)
{
    char *state;
    char *word[5] = {NULL};
    int n = 0;

    for (word[0] = apr_strtok(line, " ", &state); n < 4 && word[n] != NULL;) {
        word[++n] = apr_strtok(NULL, " ", &state);
    }
    if (word[0] == NULL) {
        return;
    }
    if (strcmp(word[0], "send") == 0 && word[4] != NULL) {
        command_send(p, word[1], word[2], word[3], word[4]);
    } else if (strcmp(word[0], "members") == 0) {
        command_members(p);
    } else if (strcmp(word[0], "coordinator") == 0) {
        command_coordinator(p);
    } else if (strcmp(word[0], "counter") == 0 && word[1] != NULL) {
        command_counter(p, word[1]);
    } else if (strcmp(word[0], "close") == 0) {
        sc_loop_stop(p->loop);
    } else {
        die(word[0], APR_ENOTIMPL);
    }
}

static void read_commands(void *baton, apr_int16_t events)
{
    peer_t *p = baton;
    ssize_t n = read(STDIN_FILENO, p->line + p->line_len, sizeof(p->line) - p->line_len - 1);
    char *end;

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        sc_loop_unwatch(p->loop, &p->in);
        sc_loop_stop(p->loop);
        return;
    }
    p->line_len += (size_t)n;
    p->line[p->line_len] = '\0';
    while ((end = strchr(p->line, '\n')) != NULL) {
        *end++ = '\0';
        obey(p, p->line);
        p->line_len -= (size_t)(end - p->line);
        memmove(p->line, end, p->line_len + 1);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void open_sockets(peer_t *p)
{
    const char *what = "listen";
    apr_status_t rv =
        sc_receiver_listen(p->config.receiver.address, &p->config.receiver.port, 1, &p->listen_fd);

    p->group_fd = -1;
    if (rv == APR_SUCCESS && p->config.membership == SC_MEMBERSHIP_MULTICAST) {
        rv = sc_group_open(&p->config, &p->group_fd, &what);
    }
    if (rv != APR_SUCCESS) {
        die(what, rv);
    }
}

static void open_channel(peer_t *p)
{
    sc_channel_config_t cfg = {0};
    sc_channel_up_t up = {p,
                          up_record,
                          up_gap,
                          up_progress,
                          up_message,
                          up_member_added,
                          up_member_changed,
                          up_member_gone,
                          up_lsn,
                          up_settled};
    sc_net_config_t net;
    sc_transport_up_t transport_up;
    apr_status_t rv = sc_loop_create(&p->loop, 1024, &sc_clock_system, p->pool);

    if (rv != APR_SUCCESS) {
        die("loop", rv);
    }
    memset(&net, 0, sizeof(net));
    net.config = &p->config;
    net.listen_fd = p->listen_fd;
    net.group_fd = p->group_fd;
    net.board = &p->board;
    net.log = &log_sink;
    net.secrets = &p->secrets;
    net.uid = p->uid;
    cfg.config = &p->config;
    cfg.clock = &sc_clock_system;
    cfg.timers = sc_loop_timers(p->loop);
    cfg.log = &log_sink;
    cfg.board = &p->board;
    cfg.store_id = 1 + (apr_uint64_t)getpid();
    cfg.uid = p->uid;
    rv = sc_channel_create(&p->channel, &cfg, &up, p->pool);
    if (rv == APR_SUCCESS) {
        transport_up = sc_channel_transport_up(p->channel);
        rv = sc_net_create(&p->net, p->loop, &net, &transport_up, p->pool);
    }
    if (rv == APR_SUCCESS) {
        sc_channel_set_udp_port(p->channel, sc_net_udp_port(p->net));
        rv = sc_channel_start(p->channel, sc_net_transport(p->net));
    }
    if (rv != APR_SUCCESS) {
        die("channel", rv);
    }
}

static void watch_stdin(peer_t *p)
{
    apr_socket_t *sock = NULL;
    apr_os_sock_t fd = STDIN_FILENO;
    apr_status_t rv = apr_os_sock_put(&sock, &fd, p->pool);

    if (rv == APR_SUCCESS && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
        rv = errno;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(p->loop, &p->in, sock, APR_POLLIN, read_commands, p);
    }
    if (rv != APR_SUCCESS) {
        die("stdin", rv);
    }
}

int main(int argc, char *argv[])
{
    static peer_t peer;
    apr_status_t rv;

    signal(SIGPIPE, SIG_IGN);
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&peer.pool, NULL) != APR_SUCCESS) {
        return 1;
    }
    rv = sc_uid_generate(&peer.uid);
    if (rv != APR_SUCCESS) {
        die("unique id", rv);
    }
    configure(&peer, argc, argv);
    open_sockets(&peer);
    open_channel(&peer);
    watch_stdin(&peer);
    look_due(&peer, sc_mono(&sc_clock_system));
    rv = sc_loop_run(peer.loop);
    sc_channel_stop(peer.channel);
    sc_net_drain(peer.net, DRAIN_TIME);
    sc_net_close(peer.net);
    say("closed");
    apr_terminate();
    return rv != APR_SUCCESS;
}
