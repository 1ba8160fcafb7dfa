/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Two channels on a network of decisions; see channel.h.
 *
 * Node 0 is 10.0.0.1, node 1 is 10.0.0.2, as fuzz_peer makes members. What a node sends is encoded
 * at once and kept until the input takes it; a send ends when the input says so, or with the
 * network.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <sanitizer/allocator_interface.h>

#include "../../../src/interceptor/members.h"
#include "channel.h"
#include "hostile.h"
#include "mail.h"

#define NODES 2
#define KEPT 32 /* sends and datagrams that are kept; older ones end */
#define FRAME_MAX (64 * 1024)
/* Bounds of nodes that are to reach them. */
#define SMALL_FRAME 4096
#define SMALL_QUEUE 2048
#define SENDS_MAX 24 /* of one node, that have not ended: an application counts them */

typedef struct net_t net_t;

typedef struct node_t {
    net_t *net;
    int index;
    sc_config_t config;
    sc_channel_t *channel;
    sc_transport_t transport;
    sc_transport_up_t up;
    sc_board_t board;
    apr_uint64_t lsn;
    apr_status_t record_rv;
    int settled;
    int members;
    int posts;               /* accepted, and not ended */
    int sends;               /* the same, of messages that are no records */
    int echo;                /* posts from within callbacks */
    sc_resolved_fn_t *asked; /* a look-up that is under way */
    void *asked_baton;
} node_t;

struct net_t {
    apr_pool_t *pool;
    sc_clock_t clock;
    apr_time_t now;
    sc_timers_t *timers;
    node_t node[NODES];
    fuzz_bag_t bag;
    size_t before; /* memory in use when the nodes had been made */
    size_t bound;  /* what may be held besides; 0: not looked at */
};

/* ---- what is under way ------------------------------------------------------------------------
 */

/** End a send. Its function may send again, so the slot is free for that before. */
static void end_mail(fuzz_mail_t *k, apr_status_t rv)
{
    sc_sent_fn_t *done = k->done;

    k->done = NULL;
    if (done != NULL) {
        done(k->baton, k->forgotten ? APR_ECONNABORTED : rv);
    }
}

/* ---- the transport ----------------------------------------------------------------------------
 */

typedef struct refusal_t {
    net_t *net;
    sc_timer_t timer;
    sc_sent_fn_t *done;
    void *baton;
    struct refusal_t *next;
} refusal_t;

static refusal_t *refusals;

static void refused_due(void *baton, apr_time_t now)
{
    refusal_t *r = baton;
    refusal_t **link = &refusals;

    (void)now;
    while (*link != r) {
        link = &(*link)->next;
    }
    *link = r->next;
    r->done(r->baton, APR_ENOSPC);
    free(r);
}

/** The queue is full: that, too, is told later. */
static void refuse_later(net_t *net, sc_sent_fn_t *done, void *baton)
{
    refusal_t *r = calloc(1, sizeof(*r));

    FUZZ_CHECK(r != NULL);
    r->net = net;
    r->done = done;
    r->baton = baton;
    r->next = refusals;
    refusals = r;
    sc_timer_set(net->timers, &r->timer, net->now, refused_due, r);
}

static void net_send(void *ctx, const sc_member_t *to, sc_lane_t lane, const sc_packet_t *packet,
                     sc_sent_fn_t *done, void *baton)
{
    node_t *n = ctx;
    fuzz_mail_t *k = fuzz_bag_put(&n->net->bag, n->index);

    (void)lane;
    FUZZ_CHECK(done != NULL);
    if (k == NULL) {
        refuse_later(n->net, done, baton);
        return;
    }
    k->member = *to;
    k->done = done;
    k->baton = baton;
    sc_frame_put(&k->bytes, packet);
}

static void net_probe(void *ctx, const sc_member_t *to, const sc_packet_t *packet,
                      apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton)
{
    node_t *n = ctx;
    sc_packet_t none;

    (void)timeout;
    memset(&none, 0, sizeof(none));
    none.from = *sc_channel_local(n->channel);
    net_send(ctx, to, SC_LANE_CONTROL, packet != NULL ? packet : &none, done, baton);
}

static void net_forget(void *ctx, const sc_member_t *member)
{
    node_t *n = ctx;
    int i;

    for (i = 0; i < n->net->bag.n; i++) {
        fuzz_mail_t *k = &n->net->bag.at[i];

        if (k->from == n->index && sc_member_same(&k->member, member)) {
            k->forgotten = 1;
        }
    }
}

static void net_queued(void *ctx, const sc_member_t *member, apr_uint64_t *bytes,
                       apr_uint32_t *frames)
{
    (void)ctx;
    (void)member;
    *bytes = 0;
    *frames = 0;
}

static apr_status_t net_group_send(void *ctx, const void *bytes, apr_size_t len)
{
    node_t *n = ctx;
    fuzz_mail_t *k = fuzz_bag_put(&n->net->bag, n->index);

    if (k == NULL) {
        return ENOBUFS;
    }
    k->datagram = 1;
    sc_put(&k->bytes, bytes, len);
    return APR_SUCCESS;
}

static apr_status_t net_resolve(void *ctx, const char *name, sc_resolved_fn_t *done, void *baton)
{
    node_t *n = ctx;

    FUZZ_CHECK(name[0] != '\0' && n->asked == NULL);
    n->asked = done;
    n->asked_baton = baton;
    return APR_SUCCESS;
}

/* ---- what the channels tell -------------------------------------------------------------------
 */

static void posted(void *baton, apr_status_t rv)
{
    (void)rv;
    ((node_t *)baton)->posts--;
}

static void sent(void *baton, apr_status_t rv)
{
    (void)rv;
    ((node_t *)baton)->sends--;
}

static void post(node_t *n, const sc_member_t *to, const void *bytes, apr_size_t len,
                 apr_uint32_t options)
{
    n->lsn++;
    if (sc_channel_post(n->channel, to, bytes, len, options, posted, n) == APR_SUCCESS) {
        n->posts++;
    }
}

static apr_status_t up_record(void *baton, const sc_member_t *from, const void *bytes,
                              apr_size_t len)
{
    node_t *n = baton;
    unsigned char *copy = fuzz_copy(bytes, len);

    free(copy);
    FUZZ_CHECK(from->ours);
    if (n->echo > 0) {
        n->echo--;
        post(n, from, "echo", 4, SC_OPT_USE_ACK);
    }
    return n->record_rv;
}

static void up_member(void *baton, const sc_member_t *m)
{
    node_t *n = baton;

    if (n->echo > 0) {
        n->echo--;
        post(n, m, "hello", 5, 0);
    }
}

static void up_progress(void *baton, const sc_member_t *from, apr_uint64_t lsn)
{
    (void)lsn;
    up_member(baton, from);
}

static void up_message(void *baton, const sc_packet_t *packet)
{
    (void)baton;
    free(fuzz_copy(packet->body, packet->body_len));
}

static void check_view(node_t *n)
{
    const sc_member_t *m[SC_MEMBERS_MAX];
    apr_size_t count = sc_channel_members(n->channel, m, SC_MEMBERS_MAX);
    const sc_member_t *local = sc_channel_local(n->channel);
    apr_size_t i, k;

    FUZZ_CHECK(count < SC_MEMBERS_MAX && (int)count == n->members);
    for (i = 0; i < count; i++) {
        FUZZ_CHECK(m[i]->ours && sc_member_usable(m[i]) && !sc_member_same(m[i], local));
        for (k = 0; k < i; k++) {
            FUZZ_CHECK(!sc_member_same(m[i], m[k]));
        }
    }
}

static void up_added(void *baton, const sc_member_t *m)
{
    ((node_t *)baton)->members++;
    check_view(baton);
    up_member(baton, m);
}

static void up_gone(void *baton, const sc_member_t *m, int goodbye)
{
    (void)m;
    (void)goodbye;
    ((node_t *)baton)->members--;
    check_view(baton);
}

static apr_uint64_t up_lsn(void *baton)
{
    return ((node_t *)baton)->lsn;
}

static void up_settled(void *baton)
{
    node_t *n = baton;

    FUZZ_CHECK(n->settled++ == 0);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static apr_time_t net_clock(void *ctx)
{
    return ((net_t *)ctx)->now;
}

void fuzz_channel_config(const net_setup_t *setup, int node, sc_config_t *c)
{
    sc_member_t m;
    unsigned int k;

    fuzz_peer(&m, (unsigned int)node);
    sc_config_defaults(c);
    c->membership = setup->membership;
    c->mcast.accept_foreign = (apr_uint32_t)setup->accept_foreign;
    if (setup->domain != NULL) {
        apr_cpystrn(c->mcast.domain, setup->domain, sizeof(c->mcast.domain));
    }
    strcpy(c->dns.name, "nodes.example");
    c->dns.port = 4000;
    c->receiver.port = 4000;
    c->sender.max_queue = 64 * 1024;
    if (setup->small) {
        c->receiver.max_frame = SMALL_FRAME;
        c->sender.max_queue = SMALL_QUEUE;
    }
    strcpy(c->route, m.route);
    sc_member_host(&m, c->receiver.address);
    c->ninterceptors = setup->ninterceptors;
    memcpy(c->interceptor, setup->interceptor, sizeof(setup->interceptor));
    for (k = 0; k < 6 && setup->membership != SC_MEMBERSHIP_DNS; k++) {
        fuzz_peer(&m, k);
        sc_member_host(&m, c->member[k].host);
        c->member[k].port = 4000;
        c->nmembers++;
    }
}

static int start_node(net_t *net, int i, const net_setup_t *setup)
{
    sc_channel_up_t up = {&net->node[i], up_record, up_member, up_progress, up_message,
                          up_added,      up_member, up_gone,   up_lsn,      up_settled};
    node_t *n = &net->node[i];
    sc_channel_config_t cfg;
    sc_member_t self;

    memset(&cfg, 0, sizeof(cfg));
    fuzz_peer(&self, (unsigned int)i);
    n->net = net;
    n->index = i;
    fuzz_channel_config(setup, i, &n->config);
    n->transport.ctx = n;
    n->transport.send = net_send;
    n->transport.probe = net_probe;
    n->transport.forget = net_forget;
    n->transport.queued = net_queued;
    n->transport.group_send = net_group_send;
    n->transport.resolve = net_resolve;
    cfg.config = &n->config;
    cfg.clock = &net->clock;
    cfg.timers = net->timers;
    cfg.log = &fuzz_log;
    cfg.board = &n->board;
    cfg.store_id = self.store_id;
    cfg.uid = self.uid;
    if (sc_channel_create(&n->channel, &cfg, &up, net->pool) != APR_SUCCESS) {
        return 0;
    }
    n->up = sc_channel_transport_up(n->channel);
    return sc_channel_start(n->channel, &n->transport) == APR_SUCCESS;
}

static void run_for(net_t *net, apr_interval_time_t time)
{
    apr_time_t end = net->now + time;
    apr_time_t next;
    int rounds = 0;

    while ((next = sc_timers_next(net->timers)) >= 0 && next <= end && rounds++ < 2000) {
        net->now = next > net->now ? next : net->now;
        sc_timers_run(net->timers, net->now);
    }
    net->now = end;
}

/* ---- operations -------------------------------------------------------------------------------
 */

static void op_time(net_t *net, fuzz_in_t *in)
{
    static const apr_interval_time_t ms[] = {0, 1, 50, 500, 1000, 3100, 10000, 61000};

    run_for(net, apr_time_from_msec(ms[fuzz_below(in, 8)]));
}

static apr_status_t outcome(fuzz_in_t *in)
{
    static const apr_status_t rv[] = {APR_SUCCESS,  APR_SUCCESS, APR_EGENERAL, APR_TIMEUP,
                                      ECONNREFUSED, APR_ENOSPC,  EPIPE,        EMFILE};

    return rv[fuzz_below(in, 8)];
}

/** Take a frame's data out of it, in memory of its size, to be freed. @return NULL: it is none */
static unsigned char *unframe(const sc_buf_t *frame, apr_size_t limit, sc_packet_t *packet)
{
    unsigned char *copy = NULL;
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t parser;
    apr_size_t len;

    sc_parser_init(&parser, limit);
    sc_put(&parser.in, frame->data, frame->len);
    if (sc_parser_next(&parser, &kind, &data, &len) == APR_SUCCESS) {
        copy = fuzz_copy(data, len);
        if (sc_packet_get(packet, copy, len) != APR_SUCCESS) {
            free(copy);
            copy = NULL;
        }
    }
    sc_parser_free(&parser);
    return copy;
}

/** A frame as it came over the wire. @return what the receiver would answer */
static apr_status_t deliver_frame(node_t *n, const sc_buf_t *frame)
{
    apr_size_t limit = n->config.receiver.max_frame;
    apr_status_t rv = APR_EINVAL;
    sc_packet_t packet;
    unsigned char *copy = unframe(frame, limit < FRAME_MAX ? limit : FRAME_MAX, &packet);

    if (copy != NULL) {
        rv = n->up.packet(n->up.baton, &packet);
        free(copy);
    }
    return rv;
}

/** Something arrives at the other node; its sender is told if tell. */
static void arrive(net_t *net, fuzz_mail_t *k, const sc_buf_t *bytes, int tell)
{
    unsigned int serial = k->serial;
    node_t *to = &net->node[1 - k->from];
    apr_status_t rv;

    k->arrived = 1;
    if (k->datagram) {
        unsigned char *copy = fuzz_copy(bytes->data, bytes->len);

        to->up.datagram(to->up.baton, copy, bytes->len);
        free(copy);
        return;
    }
    rv = deliver_frame(to, bytes);
    k = fuzz_bag_find(&net->bag, serial); /* the table may have changed */
    if (tell && k != NULL) {
        end_mail(k, rv == APR_SUCCESS ? APR_SUCCESS : APR_EGENERAL);
    }
}

/** What was sent arrives, damaged or not; its end is told or not. */
static void op_arrive(net_t *net, fuzz_in_t *in)
{
    sc_buf_t bytes;
    int tell;
    fuzz_mail_t *k = fuzz_bag_take(&net->bag, in, &bytes, &tell);

    if (k != NULL) {
        arrive(net, k, &bytes, tell);
        sc_buf_free(&bytes);
    }
}

/** What a name stands for. @param in NULL: the two nodes */
static void answer(node_t *n, fuzz_in_t *in)
{
    sc_resolved_fn_t *done = n->asked;
    unsigned int how = in != NULL ? fuzz_u8(in) : 0;
    apr_size_t count = how % 8 > 0 ? how % 8 : NODES;
    apr_status_t rv = APR_SUCCESS;
    sc_address_t found[8];
    apr_size_t i;

    if (done == NULL) {
        return;
    }
    for (i = 0; i < count; i++) {
        sc_member_t m;

        fuzz_peer(&m, how / 8 % 8 * (unsigned int)(how >= 64) + (unsigned int)i);
        if (how & 0x80) {
            m.host_len = fuzz_u8(in) & 1 ? 16 : 4;
            m.host[3] = (unsigned char)fuzz_u8(in);
        }
        found[i].len = m.host_len;
        memcpy(found[i].host, m.host, sizeof(found[i].host));
    }
    if (in != NULL && (how & 0xf8) == 0x08) {
        rv = fuzz_u8(in) & 1 ? APR_NOTFOUND : APR_TIMEUP;
        count = 0;
    }
    n->asked = NULL;
    done(n->asked_baton, rv, found, count);
}

/** The network as it should be, for a while: everything arrives, once and whole. */
static void honest(net_t *net, int steps)
{
    for (; steps > 0; steps--) {
        fuzz_mail_t *k;
        sc_buf_t bytes;
        int i;

        run_for(net, apr_time_from_msec(100));
        for (i = 0; i < NODES; i++) {
            answer(&net->node[i], NULL);
        }
        while ((k = fuzz_bag_next(&net->bag, &bytes)) != NULL) {
            if (!k->datagram && !sc_member_same_address(
                                    &k->member, sc_channel_local(net->node[1 - k->from].channel))) {
                k->arrived = 1;
                end_mail(k, ECONNREFUSED);
            } else {
                arrive(net, k, &bytes, 1);
            }
            sc_buf_free(&bytes);
        }
    }
}

static void op_end(net_t *net, fuzz_in_t *in)
{
    apr_status_t rv = outcome(in);
    fuzz_mail_t *k;

    if (net->node[0].asked != NULL) {
        answer(&net->node[0], in);
    } else if ((k = fuzz_bag_any(&net->bag, in)) != NULL) {
        end_mail(k, rv);
    }
}

static void op_datagram(net_t *net, fuzz_in_t *in)
{
    node_t *n = &net->node[0];
    unsigned int how = fuzz_below(in, 4);
    unsigned char *copy;
    sc_member_t m;
    sc_buf_t b;
    size_t len;

    sc_buf_init(&b, FRAME_MAX);
    if (how == 3) {
        const unsigned char *p = fuzz_text(in, 4096, &len);

        sc_put(&b, p, len);
    } else {
        sc_packet_t packet;

        memset(&packet, 0, sizeof(packet));
        fuzz_member(in, &m);
        packet.from = m;
        if (how == 2) {
            sc_frame_put(&b, &packet); /* a message broadcast by datagram */
        } else {
            sc_member_put(&b, &m);
        }
        fuzz_damage(in, &b);
    }
    copy = fuzz_copy(b.data, b.len);
    n->up.datagram(n->up.baton, copy, b.len);
    free(copy);
    sc_buf_free(&b);
}

/** A Java object is no byte message; its sender is mostly none of this module. */
static void build_object(fuzz_in_t *in, sc_packet_t *packet, sc_buf_t *b)
{
    sc_java_t j;

    packet->from.ours = fuzz_below(in, 8) == 0;
    packet->options &= ~(apr_uint32_t)SC_OPT_BYTE_MESSAGE;
    fuzz_java(in, &j, &packet->from);
    sc_java_put(b, &j);
    fuzz_damage(in, b);
}

/** The last message that a node has sent, to be freed. @return NULL: there is none */
static unsigned char *latest(const net_t *net, sc_packet_t *packet)
{
    unsigned char *copy = NULL;
    int i;

    for (i = net->bag.n - 1; i >= 0 && copy == NULL; i--) {
        if (!net->bag.at[i].datagram) {
            copy = unframe(&net->bag.at[i].bytes, FRAME_MAX, packet);
        }
    }
    return copy;
}

/** A packet of anybody, that no node has sent. */
static void op_packet(net_t *net, fuzz_in_t *in)
{
    const sc_config_t *c = &net->node[0].config;
    sc_packet_t packet;
    sc_packet_t other;
    unsigned char *mail = latest(net, &other);
    sc_buf_t body;
    sc_buf_t b;

    sc_buf_init(&b, 2 * FRAME_MAX);
    sc_buf_init(&body, FRAME_MAX);
    memset(&packet, 0, sizeof(packet));
    fuzz_member(in, &packet.from);
    packet.options = fuzz_u8(in);
    if (packet.options & 0x80) {
        packet.options = fuzz_u32(in);
    }
    packet.timestamp_ms = fuzz_number(in);
    packet.id.b[0] = (unsigned char)fuzz_u8(in); /* mostly one of a few */
    packet.id.b[0] = packet.id.b[0] < 0xc0 ? packet.id.b[0] % 4 : packet.id.b[0];
    if (c->mcast.accept_foreign && fuzz_below(in, 2) == 0) {
        build_object(in, &packet, &body);
    } else {
        fuzz_body(in, &body, mail != NULL ? &other : NULL);
    }
    if (c->ninterceptors > 0) {
        fuzz_wrap(in, c, net->now, &packet, &body);
    }
    packet.body = body.data;
    packet.body_len = body.len;
    sc_frame_put(&b, &packet);
    (void)deliver_frame(&net->node[0], &b);
    sc_buf_free(&body);
    sc_buf_free(&b);
    free(mail);
}

/** What a node has sent, with something changed by somebody who has the key of Encrypt. */
static void op_reseal(net_t *net, fuzz_in_t *in)
{
    fuzz_mail_t *k = fuzz_bag_any(&net->bag, in);
    node_t *to = k != NULL ? &net->node[1 - k->from] : NULL;
    sc_packet_t packet;
    unsigned char *copy = k != NULL ? unframe(&k->bytes, FRAME_MAX, &packet) : NULL;
    sc_buf_t body;
    sc_buf_t b;

    if (copy == NULL) {
        return;
    }
    sc_buf_init(&b, 2 * FRAME_MAX);
    sc_buf_init(&body, FRAME_MAX);
    if (fuzz_reseal(in, &to->config, net->now, &packet, &body)) {
        packet.body = body.data;
        packet.body_len = body.len;
        sc_frame_put(&b, &packet);
        (void)deliver_frame(to, &b);
    }
    sc_buf_free(&body);
    sc_buf_free(&b);
    free(copy);
}

static void op_post(net_t *net, fuzz_in_t *in)
{
    static unsigned char zeros[4096];
    node_t *n = &net->node[fuzz_below(in, NODES)];
    const sc_member_t *m[SC_MEMBERS_MAX];
    apr_size_t count = sc_channel_members(n->channel, m, SC_MEMBERS_MAX);
    apr_uint32_t options = fuzz_u8(in) & 0x1f;
    unsigned int whom = fuzz_below(in, 8);
    unsigned int how = fuzz_u8(in);
    const unsigned char *p = zeros;
    size_t len = 16 * how;

    if (how & 1) {
        p = fuzz_text(in, 4096, &len);
    }
    if (count > 0) {
        post(n, m[whom % count], p, len, options);
    }
}

/** A message that is no record, with any options, also to members of others. */
static void op_send(net_t *net, fuzz_in_t *in, int bulk)
{
    static unsigned char zeros[16 * 1024];
    node_t *n = &net->node[fuzz_below(in, NODES)];
    const sc_member_t *m[2 * SC_MEMBERS_MAX];
    apr_size_t count = sc_channel_members(n->channel, m, SC_MEMBERS_MAX);
    apr_uint32_t options = fuzz_u8(in);
    unsigned int whom = fuzz_below(in, 16);
    const unsigned char *p = zeros;
    size_t len = 64 * (size_t)fuzz_u8(in);

    if (options & 0x80) {
        options = fuzz_u32(in);
    }
    if (len == 0) {
        p = fuzz_text(in, 4096, &len);
    }
    count += bulk ? 0 : sc_channel_foreign(n->channel, m + count, SC_MEMBERS_MAX);
    if (count == 0 || n->sends == SENDS_MAX) {
        return;
    }
    n->sends++;
    if ((bulk ? sc_channel_send_bulk(n->channel, m[whom % count], p, len, sent, n)
              : sc_channel_send(n->channel, m[whom % count], p, len, options, sent, n)) !=
        APR_SUCCESS) {
        n->sends--;
    }
}

static void op_rest(net_t *net, fuzz_in_t *in)
{
    node_t *n = &net->node[fuzz_below(in, NODES)];
    const sc_member_t *m[SC_MEMBERS_MAX];
    apr_size_t count = sc_channel_members(n->channel, m, SC_MEMBERS_MAX);
    const sc_member_t *foreign[SC_MEMBERS_MAX];
    static sc_view_t view;

    switch (fuzz_below(in, 7)) {
    case 6:
        honest(net, 1 + (int)fuzz_below(in, 12));
        break;
    case 0:
        sc_channel_announce(n->channel, (sc_node_state_t)fuzz_below(in, 7));
        break;
    case 1:
        sc_channel_flush(n->channel);
        break;
    case 2:
        sc_channel_view(n->channel, &view);
        count += sc_channel_foreign(n->channel, foreign, SC_MEMBERS_MAX);
        FUZZ_CHECK(view.count == (count + 1 < SC_MEMBERS_MAX ? count + 1 : SC_MEMBERS_MAX));
        break;
    case 3:
        n->record_rv = fuzz_below(in, 2) ? APR_EGENERAL : APR_SUCCESS;
        break;
    case 4:
        n->echo = (int)fuzz_below(in, 4);
        break;
    default:
        if (count > 0) {
            sc_channel_resynced(n->channel, m[fuzz_below(in, 8) % count]);
        }
        break;
    }
}

static void stop_all(net_t *net)
{
    int i;

    for (i = 0; i < NODES; i++) {
        net->node[i].echo = 0;
        sc_channel_stop(net->node[i].channel);
        FUZZ_CHECK(net->node[i].posts == 0); /* each has ended, once */
    }
    for (i = 0; i < net->bag.n; i++) {
        end_mail(&net->bag.at[i], APR_ECONNABORTED);
    }
    while (refusals != NULL) {
        sc_timer_cancel(net->timers, &refusals->timer);
        refused_due(refusals, net->now);
    }
    for (i = 0; i < NODES; i++) {
        FUZZ_CHECK(net->node[i].sends == 0);
    }
    FUZZ_CHECK(sc_timers_next(net->timers) < 0); /* nothing is left that could fire */
    fuzz_bag_free(&net->bag);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

/** What two nodes with small bounds may hold: for members, queues and sends; in the interceptors
 *  that keep messages; and in tokens of elections. */
static size_t bound_of(const net_setup_t *setup)
{
    size_t node = 224 * 1024;
    apr_uint32_t i;

    for (i = 0; i < setup->ninterceptors; i++) {
        const char *name = setup->interceptor[i].name;

        if (strcmp(name, "Fragmentation") == 0 || strcmp(name, "Order") == 0 ||
            strcmp(name, "TwoPhaseCommit") == 0) {
            node += 8 * (size_t)SMALL_FRAME;
        } else if (strcmp(name, "NonBlockingCoordinator") == 0) {
            node += 16 * 2 * sizeof(sc_members_t);
        }
    }
    return NODES * node;
}

static void check_memory(const net_t *net)
{
    size_t now = __sanitizer_get_current_allocated_bytes();
    int i;

    for (i = 0; i < net->bag.n; i++) {
        now -= net->bag.at[i].bytes.cap;
    }
    FUZZ_CHECK(net->bound == 0 || now <= net->before + net->bound);
}

void fuzz_channels(fuzz_in_t *in, const net_setup_t *setup)
{
    static net_t net;
    unsigned int what;
    int i;

    memset(&net, 0, sizeof(net));
    apr_pool_create(&net.pool, fuzz_start());
    net.now = apr_time_from_sec(1000);
    net.clock.ctx = &net;
    net.clock.mono = net.clock.wall = net_clock;
    net.timers = sc_timers_create(net.pool);
    fuzz_bag_init(&net.bag, KEPT, FRAME_MAX);
    for (i = 0; i < NODES; i++) {
        FUZZ_CHECK(start_node(&net, i, setup));
    }
    net.before = __sanitizer_get_current_allocated_bytes();
    net.bound = setup->small ? bound_of(setup) : 0;
    honest(&net, (int)fuzz_below(in, 64)); /* up to when they know each other, or not */
    while (in->left > 0) {
        what = fuzz_u8(in);
        switch (what < 0xe0 ? what % 16 : what) {
        case 0:
        case 1:
        case 2:
            op_time(&net, in);
            break;
        case 3:
        case 4:
        case 5:
        case 6:
            op_arrive(&net, in);
            break;
        case 7:
            op_end(&net, in);
            break;
        case 8:
        case 9:
            op_datagram(&net, in);
            break;
        case 10:
        case 11:
            op_packet(&net, in);
            break;
        case 12:
        case 13:
            op_post(&net, in);
            break;
        case 14:
        case 15:
            op_rest(&net, in);
            break;
        default:
            if ((what & 3) == 3) {
                op_reseal(&net, in);
            } else {
                op_send(&net, in, (what & 3) == 2);
            }
            break;
        }
        for (i = 0; i < NODES; i++) {
            check_view(&net.node[i]);
        }
        check_memory(&net);
    }
    stop_all(&net);
    apr_pool_destroy(net.pool);
}
