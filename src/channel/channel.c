/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The group channel: puts membership, the chain of interceptors, the outboxes and the streams
 * together, and keeps the table of members that the layer above sees.
 *
 * The channel's own two links close the chain: "bottom" hands messages to the transport and lets in
 * what transport and membership report; "top" is where everything arrives that has passed the
 * interceptors. So a member is in the table only when every interceptor agreed.
 *
 * Callbacks into the layer above may post, announce and look members up. They cannot remove a
 * member, so pointers into the table hold during a callback.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "group_channel.h"

/* ---- the chain's ends ------------------------------------------------------------------------ */

static const sc_interceptor_class_t top_class = {
    .name = "top",
    .received = sc_top_received,
    .member_added = sc_top_member_added,
    .member_changed = sc_top_member_changed,
    .member_gone = sc_top_member_gone,
    .member_suspected = sc_top_member_suspected,
    .settled = sc_top_settled,
};

static void bottom_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    const sc_transport_t *t = self->env->transport;

    t->send(t->ctx, out->to, out->lane, &out->packet, out->done, out->baton);
}

static const sc_interceptor_class_t bottom_class = {
    .name = "bottom",
    .send = bottom_send,
};

static void membership_added(void *baton, const sc_member_t *m)
{
    sc_pass_member_added(sc_channel_bottom(baton), m);
}

static void membership_changed(void *baton, const sc_member_t *m)
{
    sc_pass_member_changed(sc_channel_bottom(baton), m);
}

static void membership_gone(void *baton, const sc_member_t *m, int goodbye)
{
    sc_pass_member_gone(sc_channel_bottom(baton), m, goodbye);
}

static void membership_foreign(void *baton, const sc_member_t *m)
{
    /* membership has counted and logged it, and keeps it out */
    (void)baton;
    (void)m;
}

static void membership_settled(void *baton)
{
    sc_pass_settled(sc_channel_bottom(baton));
}

/* ---- sending --------------------------------------------------------------------------------- */

static void message_sent(void *baton, apr_status_t rv)
{
    (void)baton;
    (void)rv;
}

/** A message that is no envelope, down the chain. */
static void send_message(sc_channel_t *ch, const sc_member_t *to, sc_lane_t lane, const void *bytes,
                         apr_size_t len, apr_uint32_t options, sc_sent_fn_t *done, void *baton)
{
    sc_outgoing_t out;

    memset(&out, 0, sizeof(out));
    out.packet.options = options;
    sc_packet_stamp(&ch->env, &out.packet);
    out.packet.body = bytes;
    out.packet.body_len = len;
    out.to = to;
    out.lane = lane;
    out.done = done != NULL ? done : message_sent;
    out.baton = baton;
    SC_CHANNEL_COUNT(ch, messages_out);
    sc_pass_send(&ch->links[0], &out);
}

static void foreign_send(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                         apr_uint32_t options)
{
    send_message(ctx, to, SC_LANE_DATA, bytes, len, options, NULL, NULL);
}

/* ---- making a channel ----------------------------------------------------------------------- */

static apr_status_t make_local(sc_channel_t *ch)
{
    const sc_config_t *c = ch->cfg.config;
    sc_member_t *m = &ch->local;
    apr_size_t domain = strlen(c->mcast.domain);
    apr_status_t rv = APR_SUCCESS;
    /* behind an address translation others know this node by another address than it has */
    const char *address = c->receiver.advertise_address[0] != '\0' ? c->receiver.advertise_address
                                                                   : c->receiver.address;

    m->port = (apr_int32_t)(c->receiver.advertise_port != 0 ? c->receiver.advertise_port
                                                            : c->receiver.port);
    m->secure_port = -1;
    m->udp_port = -1;
    m->uid = ch->cfg.uid;
    m->domain_len = (apr_uint16_t)(domain < SC_MEMBER_DOMAIN_MAX ? domain : SC_MEMBER_DOMAIN_MAX);
    memcpy(m->domain, c->mcast.domain, m->domain_len);
    m->ours = 1;
    m->version = SC_PROTOCOL_VERSION;
    m->role = c->role;
    m->node_state = SC_NODE_STARTING;
    m->store_id = ch->cfg.store_id;
    m->flags = c->backup.no_hold ? SC_MEMBER_NO_BACKUPS : 0;
    apr_cpystrn(m->route, c->route, sizeof(m->route));
    apr_cpystrn(m->url, c->url, sizeof(m->url));
    m->weight = c->weight;
    m->lbset = c->lbset;
    if (address[0] != '\0') {
        rv = sc_member_set_host(m, address);
    }
    if (c->membership == SC_MEMBERSHIP_NONE) {
        return APR_SUCCESS; /* stand-alone: nobody will ever read it */
    }
    if (rv != APR_SUCCESS || !sc_member_usable(m)) {
        sc_log(ch->cfg.log, SC_LOG_ERROR, 0,
               "SC0407: the receiver's address %s:%u is none that others could connect to", address,
               (apr_uint32_t)m->port);
        return APR_EINVAL;
    }
    if (c->mcast.frequency_ms == 0) {
        sc_log(ch->cfg.log, SC_LOG_ERROR, 0,
               "SC0411: the frequency of membership must be at least 1 ms");
        return APR_EINVAL;
    }
    if (m->role == SC_ROLE_NODE && m->route[0] == '\0') {
        sc_log(ch->cfg.log, SC_LOG_ERROR, 0, "SC0408: a node in a cluster needs a route");
        return APR_EINVAL;
    }
    return APR_SUCCESS;
}

static apr_status_t add_link(sc_channel_t *ch, const sc_interceptor_class_t *cls,
                             const sc_config_interceptor_t *conf, apr_pool_t *pool)
{
    sc_interceptor_t *link = &ch->links[ch->nlinks];

    link->cls = cls;
    link->env = &ch->env;
    link->state = ch;
    if (ch->nlinks > 0) {
        link->up = link - 1;
        link->up->down = link;
    }
    ch->nlinks++;
    return cls->create != NULL ? cls->create(link, conf, pool) : APR_SUCCESS;
}

static apr_status_t make_chain(sc_channel_t *ch, apr_pool_t *pool)
{
    static const sc_config_interceptor_t standard[] = {
        {.name = "MessageDispatch"},
        {.name = "TcpFailureDetector"},
    };
    const sc_config_interceptor_t *conf = ch->cfg.config->interceptor;
    apr_uint32_t n = ch->cfg.config->ninterceptors;
    apr_status_t rv = add_link(ch, &top_class, NULL, pool);
    apr_uint32_t i;

    if (n == 0) {
        conf = standard;
        n = sizeof(standard) / sizeof(standard[0]);
    }
    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        rv = add_link(ch, sc_interceptor_find(conf[i].name), &conf[i], pool);
    }
    return rv == APR_SUCCESS ? add_link(ch, &bottom_class, NULL, pool) : rv;
}

static void office_send(void *ctx, const sc_outgoing_t *out)
{
    sc_channel_t *ch = ctx;

    sc_pass_send(&ch->links[0], out);
}

static int office_reserve(void *ctx, apr_uint64_t bytes)
{
    sc_channel_t *ch = ctx;
    apr_size_t i;

    for (i = 0; i < ch->nlinks; i++) {
        if (ch->links[i].cls->reserve != NULL) {
            return ch->links[i].cls->reserve(&ch->links[i], bytes);
        }
    }
    return 1;
}

static void office_release(void *ctx, apr_uint64_t bytes)
{
    sc_channel_t *ch = ctx;
    apr_size_t i;

    for (i = 0; i < ch->nlinks; i++) {
        if (ch->links[i].cls->release != NULL) {
            ch->links[i].cls->release(&ch->links[i], bytes);
            return;
        }
    }
}

static void make_office(sc_channel_t *ch)
{
    const sc_config_t *c = ch->cfg.config;
    apr_size_t head = SC_FRAME_OVERHEAD + SC_FRAME_HEAD_MAX + SC_ENVELOPE_HEAD_MAX + 10;
    apr_size_t i;

    for (i = 0; i < ch->nlinks; i++) {
        head += ch->links[i].cls->grows;
    }
    ch->office.env = &ch->env;
    ch->office.ctx = ch;
    ch->office.send = office_send;
    ch->office.reserve = office_reserve;
    ch->office.release = office_release;
    ch->office.max_record = c->receiver.max_frame > head ? c->receiver.max_frame - head : 0;
    ch->office.max_queue = c->sender.max_queue;
    sc_post_office_init(&ch->office);
}

apr_status_t sc_channel_create(sc_channel_t **out, const sc_channel_config_t *cfg,
                               const sc_channel_up_t *up, apr_pool_t *pool)
{
    sc_channel_t *ch = apr_pcalloc(pool, sizeof(*ch));
    const sc_membership_class_t *kind = sc_membership_find(cfg->config->membership);
    const char *message = sc_interceptor_check(cfg->config, pool);
    apr_status_t rv;

    *out = NULL;
    if (message != NULL || kind == NULL) {
        sc_log(cfg->log, SC_LOG_ERROR, 0, "SC0409: %s",
               message != NULL ? message : "there is no such membership");
        return APR_EINVAL;
    }
    ch->up = *up;
    ch->cfg = *cfg;
    ch->env.timers = cfg->timers;
    ch->env.clock = cfg->clock;
    ch->env.log = cfg->log;
    ch->env.board = cfg->board;
    ch->env.local = &ch->local;
    ch->env.config = cfg->config;
    ch->env.serial = &ch->serial;
    ch->foreign.env = &ch->env;
    ch->foreign.membership = &ch->membership;
    ch->foreign.send = foreign_send;
    ch->foreign.ctx = ch;
    ch->since = sc_channel_now(ch);
    ch->membership.cls = kind;
    ch->membership.env = &ch->env;
    ch->membership.local = &ch->local;
    ch->membership.up.baton = ch;
    ch->membership.up.added = membership_added;
    ch->membership.up.changed = membership_changed;
    ch->membership.up.gone = membership_gone;
    ch->membership.up.foreign = membership_foreign;
    ch->membership.up.settled = membership_settled;
    rv = make_local(ch);
    if (rv == APR_SUCCESS) {
        rv = make_chain(ch, pool);
    }
    if (rv == APR_SUCCESS) {
        make_office(ch);
        rv = kind->create(&ch->membership, pool);
    }
    if (rv == APR_SUCCESS) {
        *out = ch;
    }
    return rv;
}

/* ---- life ----------------------------------------------------------------------------------- */

apr_status_t sc_channel_start(sc_channel_t *ch, const sc_transport_t *transport)
{
    apr_status_t rv;
    apr_size_t i;

    ch->env.transport = transport;
    ch->started = 1;
    for (i = 0; i < ch->nlinks; i++) {
        if (ch->links[i].cls->start != NULL) {
            ch->links[i].cls->start(&ch->links[i]);
        }
    }
    rv = ch->membership.cls->start(&ch->membership);
    if (rv != APR_SUCCESS) {
        ch->started = 0;
    }
    return rv;
}

void sc_channel_flush(sc_channel_t *ch)
{
    sc_post_office_flush(&ch->office);
}

void sc_channel_stop(sc_channel_t *ch)
{
    apr_size_t i;

    if (ch->started) {
        sc_post_office_flush(&ch->office);
        sc_foreign_goodbye(&ch->foreign);
        ch->membership.cls->stop(&ch->membership);
        ch->started = 0;
    }
    while (ch->npeers > 0) {
        sc_channel_peer_t *peer = ch->peers[ch->npeers - 1];

        sc_channel_detach(ch, peer);
        free(peer);
    }
    sc_foreign_clear(&ch->foreign);
    for (i = 0; i < ch->nlinks; i++) {
        if (ch->links[i].cls->stop != NULL) {
            ch->links[i].cls->stop(&ch->links[i]);
        }
    }
    sc_post_office_settle(&ch->office);
    sc_timer_cancel(ch->cfg.timers, &ch->office.timer);
}

const sc_member_t *sc_channel_local(const sc_channel_t *ch)
{
    return &ch->local;
}

void sc_channel_announce(sc_channel_t *ch, sc_node_state_t state)
{
    ch->local.node_state = state;
    if (ch->started) {
        ch->membership.cls->announce(&ch->membership);
    }
}

/* ---- what the layer above asks -------------------------------------------------------------- */

apr_status_t sc_channel_post(sc_channel_t *ch, const sc_member_t *to, const void *bytes,
                             apr_size_t len, apr_uint32_t options, sc_posted_fn_t *done,
                             void *baton)
{
    sc_channel_peer_t *peer = sc_channel_peer(ch, to);

    if (peer == NULL) {
        return APR_NOTFOUND;
    }
    return sc_outbox_post(peer->outbox, bytes, len, options, ch->up.lsn(ch->up.baton), done, baton);
}

apr_status_t sc_channel_send(sc_channel_t *ch, const sc_member_t *to, const void *bytes,
                             apr_size_t len, apr_uint32_t options, sc_sent_fn_t *done, void *baton)
{
    const sc_channel_peer_t *peer = sc_channel_peer(ch, to);
    const sc_foreign_member_t *foreign = sc_foreign_find(&ch->foreign, to);

    if (peer == NULL && foreign == NULL) {
        return APR_NOTFOUND;
    }
    if (len > ch->office.max_record) {
        return APR_EINVAL;
    }
    send_message(ch, peer != NULL ? &peer->member : &foreign->member, SC_LANE_DATA, bytes, len,
                 options | SC_OPT_BYTE_MESSAGE, done, baton);
    return APR_SUCCESS;
}

apr_status_t sc_channel_send_bulk(sc_channel_t *ch, const sc_member_t *to, const void *bytes,
                                  apr_size_t len, sc_sent_fn_t *done, void *baton)
{
    const sc_channel_peer_t *peer = sc_channel_peer(ch, to);

    if (peer == NULL) {
        return APR_NOTFOUND;
    }
    if (len > ch->office.max_record) {
        return APR_EINVAL;
    }
    send_message(ch, &peer->member, SC_LANE_BULK, bytes, len,
                 SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK, done, baton);
    return APR_SUCCESS;
}

apr_size_t sc_channel_foreign(const sc_channel_t *ch, const sc_member_t **members, apr_size_t max)
{
    apr_size_t i;

    for (i = 0; i < ch->foreign.n && i < max; i++) {
        members[i] = &ch->foreign.at[i]->member;
    }
    return i;
}

void sc_channel_set_udp_port(sc_channel_t *ch, apr_uint32_t port)
{
    ch->local.udp_port = port != 0 ? (apr_int32_t)port : -1;
}

void sc_channel_resynced(sc_channel_t *ch, const sc_member_t *from)
{
    sc_channel_peer_t *peer = sc_channel_peer(ch, from);

    if (peer != NULL) {
        peer->stream.behind = 0;
    }
}

apr_size_t sc_channel_members(const sc_channel_t *ch, const sc_member_t **members, apr_size_t max)
{
    apr_size_t i;

    for (i = 0; i < ch->npeers && i < max; i++) {
        members[i] = &ch->peers[i]->member;
    }
    return i;
}

static void view_member(const sc_member_t *m, sc_board_member_t *b)
{
    memset(b, 0, sizeof(*b));
    memcpy(b->route, m->route, sizeof(b->route));
    memcpy(b->url, m->url, sizeof(b->url));
    b->weight = m->weight;
    b->lbset = m->lbset;
    sc_member_host(m, b->host);
    sc_member_domain(m, b->domain);
    b->uid = m->uid;
    b->port = (apr_uint32_t)m->port;
    b->role = m->ours ? m->role : SC_ROLE_FOREIGN;
    b->foreign = !m->ours;
    b->node_state = m->node_state;
    b->flags = m->flags;
}

/** Its route, or its address when it has none. */
static void view_coordinator(const sc_channel_t *ch, sc_view_t *view)
{
    char name[SC_MEMBER_NAME];
    apr_size_t i;

    memset(view->coordinator, 0, sizeof(view->coordinator));
    for (i = 0; i < ch->nlinks; i++) {
        const sc_interceptor_t *link = &ch->links[i];
        const sc_member_t *m = link->cls->coordinator != NULL ? link->cls->coordinator(link) : NULL;

        if (m != NULL) {
            apr_cpystrn(view->coordinator, m->route[0] != '\0' ? m->route : sc_member_name(m, name),
                        sizeof(view->coordinator));
        }
    }
}

void sc_channel_view(const sc_channel_t *ch, sc_view_t *view)
{
    const sc_transport_t *t = ch->env.transport;
    apr_size_t i;

    view_coordinator(ch, view);

    view_member(&ch->local, &view->member[0]);
    view->member[0].self = 1;
    view->member[0].since = ch->since;
    view->member[0].heard = sc_channel_now(ch);
    view->count = 1;
    for (i = 0; i < ch->npeers; i++) {
        const sc_channel_peer_t *peer = ch->peers[i];
        sc_board_member_t *b = &view->member[view->count++];
        apr_uint64_t bytes = 0;
        apr_uint32_t frames = 0;
        apr_time_t heard = ch->membership.cls->heard(&ch->membership, &peer->member);

        view_member(&peer->member, b);
        b->state = peer->suspect ? SC_MEMBER_SUSPECT : SC_MEMBER_ALIVE;
        b->since = peer->since;
        b->heard = heard > peer->heard ? heard : peer->heard;
        t->queued(t->ctx, &peer->member, &bytes, &frames);
        sc_outbox_queued(peer->outbox, &b->queued_bytes, &b->queued);
        b->owes = sc_outbox_since(peer->outbox);
        b->queued_bytes += bytes;
        b->queued += frames;
    }
    for (i = 0; i < ch->foreign.n && view->count < SC_MEMBERS_MAX; i++) {
        const sc_foreign_member_t *f = ch->foreign.at[i];
        sc_board_member_t *b = &view->member[view->count++];
        apr_time_t heard = ch->membership.cls->heard(&ch->membership, &f->member);

        view_member(&f->member, b);
        b->state = f->suspect ? SC_MEMBER_SUSPECT : SC_MEMBER_ALIVE;
        b->since = f->since;
        b->heard = heard > f->heard ? heard : f->heard;
        t->queued(t->ctx, &f->member, &b->queued_bytes, &b->queued);
    }
}
