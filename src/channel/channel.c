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

#include "envelope.h"
#include "foreign.h"
#include "outbox.h"
#include "sc_channel.h"
#include "sc_membership.h"

/* One place of a view is this node's own. */
#define PEERS_MAX (SC_MEMBERS_MAX - 1)
#define REFUSED_LOG_INTERVAL apr_time_from_sec(10)
/* Alive times come from the network; more than this (68 years) is as old as anything can be. */
#define ALIVE_MAX_MS (APR_INT64_C(0x7fffffff) * 1000)

typedef struct peer_t {
    sc_member_t member;
    sc_outbox_t *outbox;
    sc_stream_t stream;
    int suspect;
    apr_time_t since;   /* of its last change of state */
    apr_time_t heard;   /* its last message; heartbeats are membership's */
    apr_time_t started; /* of its engine, on our clock */
} peer_t;

struct sc_channel_t {
    sc_channel_up_t up;
    sc_channel_config_t cfg;
    sc_chain_env_t env;
    apr_uint64_t serial;
    sc_member_t local;
    sc_membership_t membership;
    sc_interceptor_t links[SC_INTERCEPTORS_MAX + 2]; /* first: top, last: bottom */
    apr_size_t nlinks;
    sc_post_office_t office;
    peer_t *peers[PEERS_MAX]; /* oldest first */
    apr_size_t npeers;
    sc_foreign_t foreign;
    int started;
    apr_time_t since;
    sc_log_limit_t stranger_log;
    sc_log_limit_t record_log;
    sc_log_limit_t full_log;
    sc_log_limit_t url_log;
};

#define COUNT(ch, name) SC_CHAIN_COUNT(&(ch)->env, name)

static sc_interceptor_t *bottom_of(sc_channel_t *ch)
{
    return &ch->links[ch->nlinks - 1];
}

static apr_time_t now_of(const sc_channel_t *ch)
{
    return sc_mono(ch->cfg.clock);
}

/* ---- the table of members ------------------------------------------------------------------- */

static peer_t *find_peer(const sc_channel_t *ch, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < ch->npeers; i++) {
        if (sc_member_same(&ch->peers[i]->member, m)) {
            return ch->peers[i];
        }
    }
    return NULL;
}

static int older(const peer_t *a, const peer_t *b)
{
    if (a->started != b->started) {
        return a->started < b->started;
    }
    return sc_member_order(&a->member, &b->member) < 0;
}

static peer_t *insert_peer(sc_channel_t *ch, const sc_member_t *m)
{
    apr_time_t now = now_of(ch);
    apr_uint64_t alive = m->alive_ms < ALIVE_MAX_MS ? m->alive_ms : ALIVE_MAX_MS;
    peer_t *peer = calloc(1, sizeof(*peer));
    apr_size_t i;

    if (peer == NULL) {
        return NULL;
    }
    peer->outbox = sc_outbox_create(&ch->office, m);
    if (peer->outbox == NULL) {
        free(peer);
        return NULL;
    }
    peer->member = *m;
    peer->since = peer->heard = now;
    peer->started = now - apr_time_from_msec(alive);
    for (i = ch->npeers; i > 0 && older(peer, ch->peers[i - 1]); i--) {
        ch->peers[i] = ch->peers[i - 1];
    }
    ch->peers[i] = peer;
    ch->npeers++;
    return peer;
}

/** Out of the table, and nothing more is sent to it; the caller frees it. */
static void detach_peer(sc_channel_t *ch, peer_t *peer)
{
    apr_size_t i = 0;

    while (ch->peers[i] != peer) {
        i++;
    }
    ch->npeers--;
    memmove(&ch->peers[i], &ch->peers[i + 1], (ch->npeers - i) * sizeof(ch->peers[0]));
    sc_outbox_destroy(peer->outbox);
}

/* ---- top of the chain: membership ----------------------------------------------------------- */

static void top_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye);

/** One that is known with our mark comes without it, or the other way round: a link below, which
 *  does not care for marks, has kept it. What it was is gone. @return 1: so it was */
static int was_other_kind(sc_interceptor_t *self, const sc_member_t *m)
{
    sc_channel_t *ch = self->state;

    if (m->ours ? sc_foreign_find(&ch->foreign, m) == NULL : find_peer(ch, m) == NULL) {
        return 0;
    }
    top_member_gone(self, m, 0);
    return 1;
}

/** What a member announces to balancers, and none of them may use, is noticed once. */
static void note_bad_url(sc_channel_t *ch, const sc_member_t *m, int noted)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t before = 0;

    if (!m->bad_url || noted) {
        return;
    }
    COUNT(ch, urls_refused);
    if (sc_log_allowed(&ch->url_log, now_of(ch), REFUSED_LOG_INTERVAL, &before)) {
        sc_log(ch->cfg.log, SC_LOG_WARNING, 0,
               "SC0414: member %s announces an URL that no balancer may send requests to; it is "
               "left out (%" APR_UINT64_T_FMT " more before it)",
               sc_member_name(m, name), before);
    }
}

static void top_member_added(sc_interceptor_t *self, const sc_member_t *m)
{
    sc_channel_t *ch = self->state;
    char name[SC_MEMBER_NAME];
    peer_t *peer;

    (void)was_other_kind(self, m);
    if (!m->ours) {
        /* one that is not accepted comes up here when an interceptor knows it */
        if (ch->cfg.config->mcast.accept_foreign && !sc_foreign_added(&ch->foreign, m)) {
            ch->membership.cls->dropped(&ch->membership, m);
        }
        return;
    }
    if (find_peer(ch, m) != NULL) {
        return;
    }
    peer = ch->npeers < PEERS_MAX ? insert_peer(ch, m) : NULL;
    if (peer == NULL) {
        if (sc_log_allowed(&ch->full_log, now_of(ch), REFUSED_LOG_INTERVAL, NULL)) {
            sc_log(ch->cfg.log, SC_LOG_ERROR, 0,
                   "SC0401: member %s is left out: there are %d members already, this one included",
                   sc_member_name(m, name), SC_MEMBERS_MAX);
        }
        ch->membership.cls->dropped(&ch->membership, m);
        return;
    }
    sc_log(ch->cfg.log, SC_LOG_NOTICE, 0, "SC0402: member %s joined", sc_member_name(m, name));
    note_bad_url(ch, m, 0);
    ch->up.member_added(ch->up.baton, &peer->member);
}

static void top_member_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    sc_channel_t *ch = self->state;
    peer_t *peer = find_peer(ch, m);

    if (was_other_kind(self, m)) {
        top_member_added(self, m);
    } else if (peer != NULL) {
        note_bad_url(ch, m, peer->member.bad_url);
        peer->member = *m;
        ch->up.member_changed(ch->up.baton, &peer->member);
    } else {
        sc_foreign_changed(&ch->foreign, m);
    }
}

static void top_member_suspected(sc_interceptor_t *self, const sc_member_t *m, int suspect)
{
    sc_channel_t *ch = self->state;
    char name[SC_MEMBER_NAME];
    peer_t *peer = find_peer(ch, m);

    if (peer == NULL || peer->suspect == suspect) {
        sc_foreign_suspected(&ch->foreign, m, suspect);
        return;
    }
    peer->suspect = suspect;
    peer->since = now_of(ch);
    sc_log(ch->cfg.log, suspect ? SC_LOG_WARNING : SC_LOG_NOTICE, 0, "SC0403: member %s is %s",
           sc_member_name(m, name), suspect ? "suspect" : "no longer suspect");
    ch->up.member_changed(ch->up.baton, &peer->member);
}

static void top_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    sc_channel_t *ch = self->state;
    char name[SC_MEMBER_NAME];
    peer_t *peer = find_peer(ch, m);

    if (peer == NULL) {
        sc_foreign_gone(&ch->foreign, m, goodbye);
        return;
    }
    detach_peer(ch, peer);
    ch->env.transport->forget(ch->env.transport->ctx, &peer->member);
    sc_log(ch->cfg.log, goodbye ? SC_LOG_NOTICE : SC_LOG_WARNING, 0, "SC0404: member %s %s",
           sc_member_name(&peer->member, name), goodbye ? "left" : "is gone");
    ch->up.member_gone(ch->up.baton, &peer->member, goodbye);
    free(peer);
}

static void top_settled(sc_interceptor_t *self)
{
    sc_channel_t *ch = self->state;

    ch->up.settled(ch->up.baton);
}

/* ---- top of the chain: messages ------------------------------------------------------------- */

/** Apply all records. @return the first error */
static apr_status_t apply_records(sc_channel_t *ch, const peer_t *peer, const sc_envelope_t *e)
{
    apr_status_t result = APR_SUCCESS;
    sc_rd_t r;

    sc_rd_init(&r, e->records, e->records_len);
    while (sc_rd_left(&r) > 0) {
        apr_size_t n;
        const unsigned char *p = sc_get_str(&r, sc_rd_left(&r), &n);
        apr_status_t rv = ch->up.record(ch->up.baton, &peer->member, p, n);

        if (result == APR_SUCCESS) {
            result = rv;
        }
    }
    return result;
}

static apr_status_t envelope_received(sc_channel_t *ch, peer_t *peer, const sc_envelope_t *e)
{
    sc_arrival_t arrival = sc_stream_arrived(&peer->stream, e);
    apr_status_t rv;

    peer->heard = now_of(ch);
    if (arrival == SC_ARRIVAL_GAP) {
        COUNT(ch, gaps);
        ch->up.gap(ch->up.baton, &peer->member);
    }
    rv = apply_records(ch, peer, e);
    if (rv != APR_SUCCESS || arrival == SC_ARRIVAL_LATE) {
        return rv;
    }
    sc_stream_processed(&peer->stream, e);
    if (!peer->stream.behind) {
        ch->up.progress(ch->up.baton, &peer->member, e->lsn);
    }
    return APR_SUCCESS;
}

/** An envelope that cannot be read, or whose sender is not in the view. */
static apr_status_t refuse(sc_channel_t *ch, const sc_packet_t *packet, const peer_t *peer)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    if (packet->from.ours && peer == NULL) {
        /* not heard yet, or dropped: it will be told apart from a loss by FAIL_ACK and the gap */
        COUNT(ch, ignored);
        return APR_EGENERAL;
    }
    if (peer == NULL) {
        COUNT(ch, frames_refused);
        if (sc_log_allowed(&ch->stranger_log, now_of(ch), REFUSED_LOG_INTERVAL, &more)) {
            sc_log(ch->cfg.log, SC_LOG_WARNING, 0,
                   "SC0405: session messages of a member without this cluster's mark, %s, were "
                   "refused (%" APR_UINT64_T_FMT " more before)",
                   sc_member_name(&packet->from, name), more);
        }
        return APR_EGENERAL;
    }
    COUNT(ch, records_refused);
    if (sc_log_allowed(&ch->record_log, now_of(ch), REFUSED_LOG_INTERVAL, &more)) {
        sc_log(ch->cfg.log, SC_LOG_WARNING, 0,
               "SC0406: session messages of member %s could not be read (%" APR_UINT64_T_FMT
               " more before); does it run another version?",
               sc_member_name(&packet->from, name), more);
    }
    return APR_EINVAL;
}

static void message_sent(void *baton, apr_status_t rv)
{
    (void)baton;
    (void)rv;
}

/** A message that is no envelope, down the chain. */
static void send_message(sc_channel_t *ch, const sc_member_t *to, const void *bytes, apr_size_t len,
                         apr_uint32_t options, sc_sent_fn_t *done, void *baton)
{
    sc_outgoing_t out;

    memset(&out, 0, sizeof(out));
    out.packet.options = options;
    sc_packet_stamp(&ch->env, &out.packet);
    out.packet.body = bytes;
    out.packet.body_len = len;
    out.to = to;
    out.lane = SC_LANE_DATA;
    out.done = done != NULL ? done : message_sent;
    out.baton = baton;
    COUNT(ch, messages_out);
    sc_pass_send(&ch->links[0], &out);
}

static void foreign_send(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                         apr_uint32_t options)
{
    send_message(ctx, to, bytes, len, options, NULL, NULL);
}

/** From a member without our mark. @return APR_SUCCESS; it is none that is accepted: APR_EGENERAL
 */
static apr_status_t foreign_received(sc_channel_t *ch, const sc_packet_t *packet)
{
    sc_foreign_member_t *from;

    if (!(packet->options & SC_OPT_BYTE_MESSAGE)) {
        return sc_foreign_object(&ch->foreign, packet);
    }
    from = sc_foreign_find(&ch->foreign, &packet->from);
    if (from == NULL) {
        COUNT(ch, ignored);
        return APR_EGENERAL;
    }
    from->heard = now_of(ch);
    COUNT(ch, messages_in);
    ch->up.message(ch->up.baton, packet);
    return APR_SUCCESS;
}

static apr_status_t top_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    sc_channel_t *ch = self->state;
    int envelope = (packet->options & SC_OPT_BYTE_MESSAGE) != 0 &&
                   sc_envelope_is(packet->body, packet->body_len);
    sc_envelope_t e;
    peer_t *peer;

    if (!packet->from.ours && !envelope) {
        return foreign_received(ch, packet);
    }
    if (!(packet->options & SC_OPT_BYTE_MESSAGE)) {
        return APR_SUCCESS; /* a Java object: nothing that this node understands */
    }
    if (!envelope) {
        COUNT(ch, messages_in);
        ch->up.message(ch->up.baton, packet);
        return APR_SUCCESS;
    }
    if (packet->options & (SC_OPT_UDP | SC_OPT_MULTICAST)) {
        COUNT(ch, frames_refused); /* no session travels in a datagram */
        return APR_EGENERAL;
    }
    peer = packet->from.ours ? find_peer(ch, &packet->from) : NULL;
    if (peer == NULL || sc_envelope_get(&e, packet->body, packet->body_len) != APR_SUCCESS ||
        e.store_id != peer->member.store_id) {
        return refuse(ch, packet, peer);
    }
    return envelope_received(ch, peer, &e);
}

static const sc_interceptor_class_t top_class = {
    .name = "top",
    .received = top_received,
    .member_added = top_member_added,
    .member_changed = top_member_changed,
    .member_gone = top_member_gone,
    .member_suspected = top_member_suspected,
    .settled = top_settled,
};

/* ---- bottom of the chain -------------------------------------------------------------------- */

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
    sc_pass_member_added(bottom_of(baton), m);
}

static void membership_changed(void *baton, const sc_member_t *m)
{
    sc_pass_member_changed(bottom_of(baton), m);
}

static void membership_gone(void *baton, const sc_member_t *m, int goodbye)
{
    sc_pass_member_gone(bottom_of(baton), m, goodbye);
}

static void membership_foreign(void *baton, const sc_member_t *m)
{
    /* membership has counted and logged it, and keeps it out */
    (void)baton;
    (void)m;
}

static void membership_settled(void *baton)
{
    sc_pass_settled(bottom_of(baton));
}

/** A message in a datagram: only from somebody who is known, and never membership's. */
static apr_status_t datagram_packet(sc_channel_t *ch, const sc_packet_t *packet)
{
    if (find_peer(ch, &packet->from) == NULL &&
        sc_foreign_find(&ch->foreign, &packet->from) == NULL) {
        COUNT(ch, ignored);
        return APR_EGENERAL;
    }
    return sc_pass_received(bottom_of(ch), packet);
}

static apr_status_t transport_packet(void *baton, const sc_packet_t *packet)
{
    sc_channel_t *ch = baton;

    if (!ch->started || sc_member_same(&packet->from, &ch->local)) {
        return ch->started ? APR_SUCCESS : APR_EGENERAL;
    }
    if (packet->options & (SC_OPT_UDP | SC_OPT_MULTICAST)) {
        return datagram_packet(ch, packet);
    }
    if (ch->membership.cls->packet(&ch->membership, packet)) {
        return APR_SUCCESS;
    }
    return sc_pass_received(bottom_of(ch), packet);
}

/** Messages to the whole group: whole frames, one behind the other (tribes-protocol 1.7). */
static void group_frames(sc_channel_t *ch, const void *bytes, apr_size_t len)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_packet_t packet;
    sc_parser_t parser;
    apr_size_t n;

    sc_parser_init(&parser, len);
    sc_put(&parser.in, bytes, len);
    while (sc_parser_next(&parser, &kind, &data, &n) == APR_SUCCESS && kind == SC_FRAME_DATA &&
           sc_packet_get(&packet, data, n) == APR_SUCCESS) {
        packet.options |= SC_OPT_MULTICAST; /* whatever it says: it came so */
        (void)transport_packet(ch, &packet);
        sc_parser_done(&parser);
    }
    sc_parser_free(&parser);
}

static void transport_datagram(void *baton, const void *bytes, apr_size_t len)
{
    sc_channel_t *ch = baton;

    if (!ch->started) {
        return;
    }
    ch->membership.cls->datagram(&ch->membership, bytes, len);
    if (sc_frame_is(bytes, len)) {
        group_frames(ch, bytes, len);
    }
}

sc_transport_up_t sc_channel_transport_up(sc_channel_t *ch)
{
    sc_transport_up_t up = {ch, transport_packet, transport_datagram};

    return up;
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
    ch->since = now_of(ch);
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
        peer_t *peer = ch->peers[ch->npeers - 1];

        detach_peer(ch, peer);
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
    peer_t *peer = find_peer(ch, to);

    if (peer == NULL) {
        return APR_NOTFOUND;
    }
    return sc_outbox_post(peer->outbox, bytes, len, options, ch->up.lsn(ch->up.baton), done, baton);
}

apr_status_t sc_channel_send(sc_channel_t *ch, const sc_member_t *to, const void *bytes,
                             apr_size_t len, apr_uint32_t options, sc_sent_fn_t *done, void *baton)
{
    const peer_t *peer = find_peer(ch, to);
    const sc_foreign_member_t *foreign = sc_foreign_find(&ch->foreign, to);

    if (peer == NULL && foreign == NULL) {
        return APR_NOTFOUND;
    }
    if (len > ch->office.max_record) {
        return APR_EINVAL;
    }
    send_message(ch, peer != NULL ? &peer->member : &foreign->member, bytes, len,
                 options | SC_OPT_BYTE_MESSAGE, done, baton);
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
    peer_t *peer = find_peer(ch, from);

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
    view->member[0].heard = now_of(ch);
    view->count = 1;
    for (i = 0; i < ch->npeers; i++) {
        const peer_t *peer = ch->peers[i];
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
