/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The engine put together. Each layer gets the functions of its neighbours here and nowhere else,
 * so this file is the map of the whole: link -> manager -> channel -> transport and back; and,
 * beside them, on a balancer in front of Tomcats what follows those, and the deployer of files.
 *
 * The view on the noticeboard is kept from an earlier engine of the same mapping until this one's
 * membership has settled: an engine that has just begun and knows nobody yet must not make every
 * balancer child believe that all members are gone.
 */

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_portable.h>
#include <apr_strings.h>

#include "sc_deployer.h"
#include "notices.h"
#include "sc_engine.h"
#include "sc_secret.h"
#include "sc_store.h"
#include "sc_tomcat.h"

/** How often queue lengths and ages on the noticeboard are brought up to date. */
#define REFRESH_INTERVAL apr_time_from_sec(1)
/** What the last messages of a leaving engine may take. */
#define DRAIN_TIME apr_time_from_sec(1)
/** Connections of children at once: threads of all children of a large httpd. */
#define LINK_CONNS 4096
/** A request may carry a whole session, with names and lengths around it. */
#define LINK_SLACK (64 * 1024)
#define CONTROL_MAX 64
/** What listeners may take at the end. */
#define TELL_TIME apr_time_from_msec(500)

struct sc_engine_t {
    const sc_engine_setup_t *setup;
    sc_engine_setup_t setup_copy;
    sc_loop_t *loop;
    sc_link_server_t *link;
    sc_manager_t *manager;
    sc_channel_t *channel;
    sc_net_t *net;
    sc_keyring_t *ring;      /* of the snapshot */
    sc_tomcat_t *tomcat;     /* NULL: none is followed */
    sc_events_t *events;     /* NULL: nobody listens */
    sc_deployer_t *deployer; /* NULL: nothing is deployed */
    sc_board_t *board;
    sc_timer_t refresh;
    sc_watch_t control;
    int settled;
    volatile int leave;
    sc_log_limit_t refused_log;
    sc_uid_t goodbye; /* of the member that leaves just now */
    sc_samples_t samples;
    sc_view_t view; /* scratch of publish(): too large for the stack */
    sc_view_t old;
};

/* ---- noticeboard ---------------------------------------------------------------------------- */

static int same_place(const sc_board_member_t *a, const sc_board_member_t *b)
{
    if (a->route[0] || b->route[0]) {
        return strcmp(a->route, b->route) == 0;
    }
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static int in_view(const sc_view_t *view, const sc_board_member_t *m)
{
    for (apr_uint32_t i = 0; i < view->count; i++) {
        if (same_place(&view->member[i], m)) {
            return 1;
        }
    }
    return 0;
}

/* Whether a member that was there and is not heard now has gone, or just not been heard yet. */
static int is_settled(const sc_engine_t *e, const sc_board_member_t *was)
{
    return was->foreign ? sc_tomcat_settled(e->tomcat) : e->settled;
}

/* Members of the last view that the channel does not have any more stay on the board: as they were
 * until membership has settled, as gone ones after that, since the balancer must know which routes
 * are dead. Members without a route are of no use to it and go, and so do Tomcats when they are not
 * followed any more. */
static void keep_gone(sc_engine_t *e, apr_time_t now)
{
    for (apr_uint32_t i = 0; i < e->old.count && e->view.count < SC_MEMBERS_MAX; i++) {
        const sc_board_member_t *was = &e->old.member[i];
        sc_board_member_t *is = &e->view.member[e->view.count];
        if (was->self || !was->route[0] || in_view(&e->view, was) ||
            (was->foreign && e->tomcat == NULL)) {
            continue;
        }
        *is = *was;
        if (is_settled(e, was) && was->state != SC_MEMBER_GONE) {
            is->state = SC_MEMBER_GONE;
            is->since = now;
        }
        is->queued = 0;
        is->queued_bytes = 0;
        is->owes = 0;
        is->lagging = is->leased = 0;
        e->view.count++;
    }
}

/* Whether anything but ages and queue lengths differs. */
static int view_changed(const sc_view_t *a, const sc_view_t *b)
{
    if (a->count != b->count) {
        return 1;
    }
    for (apr_uint32_t i = 0; i < a->count; i++) {
        const sc_board_member_t *x = &a->member[i], *y = &b->member[i];

        if (memcmp(&x->uid, &y->uid, sizeof(x->uid)) != 0 || x->state != y->state ||
            x->node_state != y->node_state || x->flags != y->flags || x->weight != y->weight ||
            x->lbset != y->lbset || strcmp(x->domain, y->domain) != 0 ||
            strcmp(x->url, y->url) != 0 || strcmp(x->route, y->route) != 0) {
            return 1;
        }
    }
    return 0;
}

static void publish(sc_engine_t *e)
{
    apr_time_t now = sc_mono(e->setup->clock);

    if (sc_board_view(e->board, &e->old) != APR_SUCCESS) {
        e->old.count = 0;
    }
    memset(&e->view, 0, sizeof(e->view));
    sc_channel_view(e->channel, &e->view);
    if (e->tomcat != NULL) {
        sc_tomcat_view(e->tomcat, &e->view);
    }
    sc_manager_view(e->manager, &e->view);
    keep_gone(e, now);
    sc_notices_of_views(&e->board->notices, sc_wall(e->setup->clock), &e->old, &e->view,
                        &e->goodbye);
    e->view.changes = e->old.changes + (apr_uint32_t)view_changed(&e->old, &e->view);
    sc_board_publish(e->board, &e->view);
}

static void refresh_due(void *baton, apr_time_t now)
{
    sc_engine_t *e = baton;

    publish(e);
    sc_samples_take(&e->samples, e->board, now);
    (void)sc_timer_set(sc_loop_timers(e->loop), &e->refresh, now + REFRESH_INTERVAL, refresh_due,
                       e);
}

/* ---- link <-> manager ------------------------------------------------------------------------ */

static void link_request(void *baton, const sc_link_call_t *call, sc_link_op_t op, int again,
                         const unsigned char *body, apr_size_t len)
{
    sc_engine_t *e = baton;

    sc_count(e->board, link_requests, 1);
    if (op == SC_LINK_PING) {
        unsigned char ok[2] = {SC_DONE, 0};
        (void)sc_link_answer(e->link, call, ok, sizeof(ok));
        return;
    }
    sc_manager_request(e->manager, call, op, again, body, len);
}

static void link_refused(void *baton, const char *why)
{
    sc_engine_t *e = baton;
    apr_uint64_t before = 0;

    sc_count(e->board, link_refused, 1);
    if (sc_log_allowed(&e->refused_log, sc_loop_now(e->loop), apr_time_from_sec(10), &before)) {
        sc_log(e->setup->log, SC_LOG_WARNING, 0,
               "SC0301: a child's connection was closed: %s (%" APR_UINT64_T_FMT
               " more before it); the child will connect again",
               why, before);
    }
}

static void manager_answer(void *ctx, const sc_link_call_t *call, sc_outcome_t outcome,
                           apr_interval_time_t wait_us)
{
    sc_engine_t *e = ctx;
    unsigned char bytes[16];
    apr_size_t n = 0;
    apr_uint64_t v = wait_us > 0 ? (apr_uint64_t)wait_us : 0;

    bytes[n++] = (unsigned char)outcome;
    while (v >= 0x80) {
        bytes[n++] = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    bytes[n++] = (unsigned char)v;
    (void)sc_link_answer(e->link, call, bytes, n);
}

static void manager_event(void *ctx, const sc_session_event_t *event)
{
    sc_engine_t *e = ctx;

    sc_events_session(e->events, event);
}

static void tell_member(sc_engine_t *e, sc_happened_t happened, const sc_member_t *m, int goodbye)
{
    if (e->events != NULL) {
        sc_events_member(e->events, happened, m, goodbye);
    }
}

/* ---- manager <-> channel --------------------------------------------------------------------- */

static apr_status_t down_post(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                              apr_uint32_t options, void (*done)(void *baton, apr_status_t rv),
                              void *baton)
{
    sc_engine_t *e = ctx;
    return sc_channel_post(e->channel, to, bytes, len, options, done, baton);
}

static void down_resynced(void *ctx, const sc_member_t *from)
{
    sc_engine_t *e = ctx;
    sc_channel_resynced(e->channel, from);
}

static apr_size_t down_members(void *ctx, const sc_member_t **members, apr_size_t max)
{
    sc_engine_t *e = ctx;
    return sc_channel_members(e->channel, members, max);
}

static void down_announce(void *ctx, sc_node_state_t state)
{
    sc_engine_t *e = ctx;

    sc_channel_announce(e->channel, state);
    publish(e);
}

static apr_status_t up_record(void *baton, const sc_member_t *from, const void *bytes,
                              apr_size_t len)
{
    sc_engine_t *e = baton;
    return sc_manager_record(e->manager, from, bytes, len);
}

static void up_gap(void *baton, const sc_member_t *from)
{
    sc_engine_t *e = baton;
    sc_manager_gap(e->manager, from);
}

static void up_progress(void *baton, const sc_member_t *from, apr_uint64_t lsn)
{
    sc_engine_t *e = baton;
    sc_manager_progress(e->manager, from, lsn);
}

static void up_member_added(void *baton, const sc_member_t *m)
{
    sc_engine_t *e = baton;

    publish(e);
    sc_manager_member_added(e->manager, m);
    tell_member(e, SC_HAPPENED_JOINED, m, 0);
    if (e->deployer != NULL) {
        sc_deployer_member_added(e->deployer, m);
    }
}

static void up_member_changed(void *baton, const sc_member_t *m)
{
    sc_engine_t *e = baton;

    publish(e);
    sc_manager_member_changed(e->manager, m);
}

static void up_member_gone(void *baton, const sc_member_t *m, int goodbye)
{
    sc_engine_t *e = baton;

    if (goodbye) {
        e->goodbye = m->uid;
    }
    publish(e);
    memset(&e->goodbye, 0, sizeof(e->goodbye));
    sc_manager_member_gone(e->manager, m, goodbye);
    tell_member(e, SC_HAPPENED_LEFT, m, goodbye);
    if (e->deployer != NULL) {
        sc_deployer_member_gone(e->deployer, m);
    }
}

static apr_uint64_t up_lsn(void *baton)
{
    sc_engine_t *e = baton;
    sc_store_stats_t stats;

    sc_store_stats(e->setup->store, &stats);
    return stats.lsn;
}

static void up_settled(void *baton)
{
    sc_engine_t *e = baton;

    e->settled = 1;
    publish(e);
    sc_manager_settled(e->manager);
}

static void up_message(void *baton, const sc_packet_t *packet)
{
    sc_engine_t *e = baton;

    if (e->deployer != NULL && sc_deploy_is(packet->body, packet->body_len)) {
        sc_deployer_message(e->deployer, &packet->from, packet->body, packet->body_len);
        return;
    }
    sc_log(e->setup->log, SC_LOG_DEBUG, 0,
           "SC0302: a message of another application on this channel (%" APR_SIZE_T_FMT
           " bytes) was ignored",
           packet->body_len);
}

/* ---- Tomcats --------------------------------------------------------------------------------- */

static void tomcat_changed(void *baton)
{
    publish(baton);
}

static apr_status_t create_tomcat(sc_engine_t *e, apr_pool_t *pool)
{
    const sc_engine_setup_t *s = e->setup;
    sc_tomcat_env_t env = {s->config, e->loop, s->clock, s->log, s->store, tomcat_changed, e};

    return s->config->tomcat.on ? sc_tomcat_create(&e->tomcat, &env, pool) : APR_SUCCESS;
}

/* ---- deployer -------------------------------------------------------------------------------- */

static apr_status_t deployer_send(void *ctx, const sc_member_t *to, const void *bytes,
                                  apr_size_t len, sc_sent_fn_t *done, void *baton)
{
    sc_engine_t *e = ctx;
    return sc_channel_send_bulk(e->channel, to, bytes, len, done, baton);
}

static apr_status_t create_deployer(sc_engine_t *e, apr_pool_t *pool)
{
    const sc_engine_setup_t *s = e->setup;
    sc_deployer_env_t env = {s->config, e->loop, s->log, e->board, e, deployer_send};

    /* but not the number of restarts, which the parent compares */
    sc_board_set(e->board->deploy.on, 0);
    sc_board_set(e->board->deploy.files, 0);
    sc_board_set(e->board->deploy.waiting, 0);
    sc_board_set(e->board->deploy.bytes, 0);
    sc_board_set(e->board->deploy.done_bytes, 0);
    sc_board_set(e->board->deploy.version, 0);
    return s->config->deployer.on ? sc_deployer_create(&e->deployer, &env, pool) : APR_SUCCESS;
}

/* ---- control socket -------------------------------------------------------------------------- */

static void control_ready(void *baton, apr_int16_t events)
{
    sc_engine_t *e = baton;
    unsigned char msg[CONTROL_MAX];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } aux;
    struct iovec iov = {msg, sizeof(msg)};
    struct msghdr mh;
    ssize_t n;
    int fd = -1;

    (void)events;
    memset(&mh, 0, sizeof(mh));
    mh.msg_iov = &iov;
    mh.msg_iovlen = 1;
    mh.msg_control = &aux;
    mh.msg_controllen = sizeof(aux);
    n = recvmsg(e->setup->control_fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n == 0) { /* the parent is gone, and httpd with it */
        sc_loop_unwatch(e->loop, &e->control);
        sc_engine_stop(e, 1);
        return;
    }
    if (n < 0) {
        return;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            memcpy(&fd, CMSG_DATA(c), sizeof(fd));
        }
    }
    e->setup->control(e->setup->baton, msg, (apr_size_t)n, fd);
}

static apr_status_t watch_control(sc_engine_t *e, apr_pool_t *pool)
{
    apr_socket_t *sock = NULL;
    apr_os_sock_t fd = e->setup->control_fd;
    apr_status_t rv;

    if (fd < 0) {
        return APR_SUCCESS;
    }
    rv = apr_os_sock_put(&sock, &fd, pool);
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(e->loop, &e->control, sock, APR_POLLIN, control_ready, e);
    }
    return rv;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* What the store and the board must know before the layers begin. */
static apr_status_t prepare_store(sc_engine_t *e, sc_uid_t *uid)
{
    const sc_config_t *c = e->setup->config;
    sc_store_recovery_t found;
    apr_uint16_t index;
    apr_status_t rv = sc_store_recover(e->setup->store, &found);

    if (rv == APR_SUCCESS) {
        rv = sc_uid_generate(uid);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (found.kept || found.dropped) {
        sc_log(e->setup->log, found.dropped ? SC_LOG_WARNING : SC_LOG_NOTICE, 0,
               "SC0303: engine starts with %" APR_UINT64_T_FMT
               " sessions of its predecessor, %" APR_UINT64_T_FMT " damaged ones dropped",
               found.kept, found.dropped);
    }
    if (c->route[0]) {
        rv = sc_store_route(e->setup->store, c->route, strlen(c->route), 1, &index);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        sc_store_set_own_route(e->setup->store, index);
    }
    for (apr_uint32_t i = 0; i < c->ncontexts; i++) {
        rv = sc_store_context(e->setup->store, c->context[i], strlen(c->context[i]), 1, &index);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    memcpy(e->board->route, c->route, sizeof(e->board->route));
    e->board->uid = *uid;
    memset(e->board->receiver, 0, sizeof(e->board->receiver));
    if (c->membership != SC_MEMBERSHIP_NONE) {
        int v6 = strchr(c->receiver.address, ':') != NULL;

        apr_snprintf(e->board->receiver, sizeof(e->board->receiver), "%s%s%s:%u", v6 ? "[" : "",
                     c->receiver.address, v6 ? "]" : "", c->receiver.port);
    }
    sc_board_set(e->board->transfer_total, 0);
    sc_board_set(e->board->engine_starts, e->board->engine_starts + 1);
    sc_board_set(e->board->engine_started, sc_mono(e->setup->clock));
    sc_board_set(e->board->engine_pid, (apr_uint32_t)getpid());
    sc_notice_add(&e->board->notices, sc_wall(e->setup->clock), SC_NOTICE_engine_started, NULL,
                  found.kept);
    return APR_SUCCESS;
}

static apr_status_t create_channel(sc_engine_t *e, const sc_uid_t *uid, apr_pool_t *pool)
{
    const sc_engine_setup_t *s = e->setup;
    sc_channel_config_t cfg = {0};
    sc_channel_up_t up = {e,
                          up_record,
                          up_gap,
                          up_progress,
                          up_message,
                          up_member_added,
                          up_member_changed,
                          up_member_gone,
                          up_lsn,
                          up_settled};
    sc_net_config_t net = {s->config, s->listen_fd, s->group_fd, e->board,
                           s->log,    s->secrets,   *uid};
    sc_transport_up_t transport_up;
    apr_status_t rv;

    cfg.config = s->config;
    cfg.clock = s->clock;
    cfg.timers = sc_loop_timers(e->loop);
    cfg.log = s->log;
    cfg.board = e->board;
    cfg.store_id = sc_store_id(s->store);
    cfg.uid = *uid;
    rv = sc_channel_create(&e->channel, &cfg, &up, pool);
    if (rv == APR_SUCCESS) {
        transport_up = sc_channel_transport_up(e->channel);
        rv = sc_net_create(&e->net, e->loop, &net, &transport_up, pool);
    }
    if (rv == APR_SUCCESS) {
        sc_channel_set_udp_port(e->channel, sc_net_udp_port(e->net));
    }
    return rv;
}

apr_status_t sc_engine_create(sc_engine_t **engine, const sc_engine_setup_t *setup,
                              apr_pool_t *pool)
{
    sc_engine_t *e = apr_pcalloc(pool, sizeof(*e));
    sc_link_handler_t handler = {e, link_request, link_refused};
    sc_manager_config_t mc = {0};
    sc_uid_t uid;
    apr_status_t rv;

    e->setup_copy = *setup;
    e->setup = &e->setup_copy;
    e->board = sc_store_board(setup->store);
    sc_board_set(e->board->node_state, SC_NODE_STARTING);

    rv = sc_loop_create(&e->loop, LINK_CONNS + 1024, setup->clock, pool);
    if (rv == APR_SUCCESS && setup->tell != NULL) {
        rv = sc_events_create(&e->events, e->loop, setup->log, e->board, setup->tell, setup->baton,
                              pool);
    }
    if (rv == APR_SUCCESS) {
        rv = prepare_store(e, &uid);
    }
    if (rv == APR_SUCCESS) {
        rv = create_channel(e, &uid, pool);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_keyring_create(&e->ring, setup->secrets);
    }
    if (rv == APR_SUCCESS) {
        mc.ring = e->ring;
        mc.config = setup->config;
        mc.clock = setup->clock;
        mc.timers = sc_loop_timers(e->loop);
        mc.log = setup->log;
        mc.store = setup->store;
        mc.down.ctx = e;
        mc.down.post = down_post;
        mc.down.resynced = down_resynced;
        mc.down.members = down_members;
        mc.down.announce = down_announce;
        mc.up.ctx = e;
        mc.up.answer = manager_answer;
        mc.up.event = e->events != NULL ? manager_event : NULL;
        rv = sc_manager_create(&e->manager, &mc, pool);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_link_server_create(&e->link, e->loop, setup->link_fd,
                                   setup->config->max_session + LINK_SLACK, LINK_CONNS, &handler,
                                   pool);
    }
    if (rv == APR_SUCCESS) {
        rv = create_tomcat(e, pool);
    }
    if (rv == APR_SUCCESS) {
        rv = create_deployer(e, pool);
    }
    if (rv == APR_SUCCESS) {
        rv = watch_control(e, pool);
    }
    *engine = e;
    return rv;
}

static int is_queued(sc_engine_t *e)
{
    apr_uint64_t queued = 0;

    memset(&e->view, 0, sizeof(e->view));
    sc_channel_view(e->channel, &e->view);
    for (apr_uint32_t i = 0; i < e->view.count; i++) {
        queued += e->view.member[i].queued;
    }
    return queued > 0;
}

/* What this node holds goes to others, as long as that takes or may take. What the manager has
 * posted last waits in the outboxes behind frames that are under way: go on until all is
 * acknowledged, or the time is over. */
static void hand_over(sc_engine_t *e)
{
    apr_time_t until;

    while (sc_manager_busy(e->manager)) {
        (void)sc_loop_once(e->loop, apr_time_from_msec(10));
    }
    until = sc_mono(e->setup->clock) + DRAIN_TIME;
    do {
        (void)sc_loop_once(e->loop, apr_time_from_msec(10));
    } while (is_queued(e) && sc_mono(e->setup->clock) < until);
}

apr_status_t sc_engine_run(sc_engine_t *e)
{
    apr_status_t rv;

    sc_manager_start(e->manager);
    rv = sc_channel_start(e->channel, sc_net_transport(e->net));
    if (rv != APR_SUCCESS) {
        sc_log(e->setup->log, SC_LOG_ERROR, rv,
               "SC0304: membership could not be started; this node stays alone");
        up_settled(e);
    }
    if (e->tomcat != NULL) {
        sc_tomcat_start(e->tomcat);
    }
    if (e->deployer != NULL) {
        sc_deployer_start(e->deployer);
    }
    refresh_due(e, sc_mono(e->setup->clock));
    rv = sc_loop_run(e->loop);
    if (e->tomcat != NULL) {
        sc_tomcat_close(e->tomcat);
    }
    if (e->deployer != NULL) {
        sc_deployer_stop(e->deployer);
    }

    if (e->leave) {
        sc_manager_stop(e->manager);
        hand_over(e);
        sc_manager_last_look(e->manager);
        sc_channel_stop(e->channel);
        sc_net_drain(e->net, DRAIN_TIME);
        sc_manager_save(e->manager);
        sc_board_set(e->board->node_state, SC_NODE_DOWN);
    }
    if (e->events != NULL) {
        sc_events_flush(e->events, TELL_TIME);
    }
    sc_link_server_close(e->link);
    sc_net_close(e->net);
    sc_keyring_destroy(e->ring);
    e->ring = NULL;
    return rv;
}

void sc_engine_stop(sc_engine_t *e, int leave)
{
    e->leave = leave;
    sc_loop_stop(e->loop);
}

void sc_engine_leave(sc_engine_t *e)
{
    sc_manager_leave(e->manager);
}

sc_loop_t *sc_engine_loop(sc_engine_t *e)
{
    return e->loop;
}
