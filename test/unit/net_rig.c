/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The simulated network of the channel's tests; see net_rig.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"

typedef enum kind_t { ARRIVE, ANSWER, DATAGRAM } kind_t;

/** Something that will happen: a packet arrives, or the end of a send is told. */
struct rig_event_t {
    rig_event_t *next;
    rig_t *rig;
    kind_t kind;
    sc_timer_t timer;
    int from;
    int from_life;
    int to; /* -1: nobody has that address */
    int to_life;
    sc_member_t member;
    sc_buf_t bytes;
    apr_uint32_t options;
    int retries; /* left, after FAIL_ACK */
    int waits;   /* rounds that it has waited for a frozen process */
    int lost;
    int proof; /* the other side has to be whom it is for */
    sc_sent_fn_t *done;
    void *baton;
    apr_status_t rv;
};

/* ---- time ----------------------------------------------------------------------------------- */

static apr_time_t rig_clock(void *ctx)
{
    return ((rig_t *)ctx)->now;
}

static int awake(const rig_node_t *n)
{
    return n->up && !n->frozen;
}

static apr_time_t earliest(rig_t *rig)
{
    apr_time_t best = sc_timers_next(rig->timers);
    int i;

    for (i = 0; i < RIG_NODES; i++) {
        rig_node_t *n = &rig->node[i];
        apr_time_t t = awake(n) ? sc_timers_next(n->timers) : -1;

        if (t >= 0 && (best < 0 || t < best)) {
            best = t;
        }
    }
    return best;
}

void rig_run(rig_t *rig, apr_interval_time_t time)
{
    apr_time_t end = rig->now + time;

    for (;;) {
        apr_time_t next = earliest(rig);
        int i;

        if (next < 0 || next > end) {
            break;
        }
        if (next > rig->now) {
            rig->now = next;
        }
        sc_timers_run(rig->timers, rig->now);
        for (i = 0; i < RIG_NODES; i++) {
            if (awake(&rig->node[i])) {
                sc_timers_run(rig->node[i].timers, rig->now);
            }
        }
    }
    rig->now = end;
}

void rig_run_timers(sc_timers_t *timers, apr_time_t *now, apr_interval_time_t time)
{
    apr_time_t end = *now + time;

    while (sc_timers_next(timers) >= 0 && sc_timers_next(timers) <= end) {
        if (sc_timers_next(timers) > *now) {
            *now = sc_timers_next(timers);
        }
        sc_timers_run(timers, *now);
    }
    *now = end;
}

/* ---- events --------------------------------------------------------------------------------- */

static void event_due(void *baton, apr_time_t now);

static void event_at(rig_event_t *e, apr_interval_time_t delay)
{
    sc_timer_set(e->rig->timers, &e->timer, e->rig->now + delay, event_due, e);
}

static rig_event_t *event_new(rig_t *rig, kind_t kind, int from)
{
    rig_event_t *e = calloc(1, sizeof(*e));

    e->rig = rig;
    e->kind = kind;
    e->from = from;
    e->from_life = from >= 0 ? rig->node[from].lives : 0;
    e->to = -1;
    e->next = rig->events;
    rig->events = e;
    sc_buf_init(&e->bytes, 64 * 1024 * 1024);
    return e;
}

static void event_free(rig_event_t *e)
{
    rig_event_t **link = &e->rig->events;

    while (*link != e) {
        link = &(*link)->next;
    }
    *link = e->next;
    sc_timer_cancel(e->rig->timers, &e->timer);
    sc_buf_free(&e->bytes);
    free(e);
}

static void answer(rig_event_t *e, apr_status_t rv, apr_interval_time_t delay)
{
    e->kind = ANSWER;
    e->rv = rv;
    event_at(e, delay);
}

static apr_status_t deliver(rig_node_t *n, const rig_event_t *e)
{
    sc_frame_kind_t kind = SC_FRAME_ACK;
    const unsigned char *data = NULL;
    sc_parser_t parser;
    sc_packet_t packet;
    apr_size_t len = 0;
    apr_status_t rv;

    sc_parser_init(&parser, 32 * 1024 * 1024);
    sc_put(&parser.in, e->bytes.data, e->bytes.len);
    CU_ASSERT_EQUAL_FATAL(sc_parser_next(&parser, &kind, &data, &len), APR_SUCCESS);
    CU_ASSERT_EQUAL(kind, SC_FRAME_DATA);
    CU_ASSERT_EQUAL_FATAL(sc_packet_get(&packet, data, len), APR_SUCCESS);
    rv = n->transport_up.packet(n->transport_up.baton, &packet);
    sc_parser_free(&parser);
    return rv;
}

static void arrive(rig_event_t *e)
{
    rig_t *rig = e->rig;
    rig_node_t *n = e->to >= 0 ? &rig->node[e->to] : NULL;
    int ack = (e->options & SC_OPT_USE_ACK) != 0;
    int sync = ack && (e->options & SC_OPT_SYNCHRONIZED_ACK);
    apr_status_t rv;

    if (n != NULL && (rig->cut[e->from][e->to] || e->lost)) {
        answer(e, APR_TIMEUP, RIG_TIMEOUT);
        return;
    }
    if (n == NULL || !n->up) {
        answer(e, ECONNREFUSED, 0);
        return;
    }
    if (n->frozen) {
        /* its kernel takes it; it is read when the process goes on */
        if (!ack && e->done != NULL) {
            e->done(e->baton, APR_SUCCESS);
            e->done = NULL;
        }
        e->waits++;
        if (e->done != NULL && e->waits > RIG_TIMEOUT / RIG_MS(10)) {
            e->done(e->baton, APR_TIMEUP);
            e->done = NULL;
        }
        event_at(e, RIG_MS(10));
        return;
    }
    if (e->proof && memcmp(&e->member.uid, &sc_channel_local(n->channel)->uid, 16) != 0) {
        answer(e, APR_EACCES, RIG_LATENCY);
        return;
    }
    rv = deliver(n, e);
    if (rig->node[e->from].repeat) {
        (void)deliver(n, e);
    }
    if (sync && rv != APR_SUCCESS && e->retries-- > 0) {
        event_at(e, RIG_MS(100));
        return;
    }
    answer(e, sync && rv != APR_SUCCESS ? APR_EGENERAL : APR_SUCCESS, RIG_LATENCY);
}

static void event_due(void *baton, apr_time_t now)
{
    rig_event_t *e = baton;
    rig_node_t *from = e->from >= 0 ? &e->rig->node[e->from] : NULL;

    (void)now;
    if (e->kind == ARRIVE) {
        arrive(e);
        return;
    }
    if (e->kind == DATAGRAM) {
        rig_node_t *to = &e->rig->node[e->to];

        if (to->up && to->frozen) {
            event_at(e, RIG_MS(10));
            return;
        }
        if (to->up && !to->deaf && (from == NULL || !e->rig->cut[e->from][e->to])) {
            to->transport_up.datagram(to->transport_up.baton, e->bytes.data, e->bytes.len);
        }
    } else if (e->done != NULL && from->frozen) {
        event_at(e, RIG_MS(10));
        return;
    } else if (e->done != NULL) {
        e->done(e->baton, e->rv);
    }
    event_free(e);
}

/* ---- the transport of a node ---------------------------------------------------------------- */

static int node_at(const rig_t *rig, const sc_member_t *m)
{
    int i = m->host_len == 4 ? m->host[3] - 1 : -1;

    return i >= 0 && i < RIG_NODES && m->port == 4000 && rig->node[i].lives > 0 ? i : -1;
}

static rig_event_t *post_packet(rig_node_t *n, const sc_member_t *to, const sc_packet_t *packet,
                                sc_sent_fn_t *done, void *baton)
{
    rig_event_t *e = event_new(n->rig, ARRIVE, n->index);

    e->to = node_at(n->rig, to);
    e->member = *to;
    e->options = packet->options;
    e->retries = 1;
    e->done = done;
    e->baton = baton;
    sc_frame_put(&e->bytes, packet);
    event_at(e, RIG_LATENCY);
    return e;
}

static void net_send(void *ctx, const sc_member_t *to, sc_lane_t lane, const sc_packet_t *packet,
                     sc_sent_fn_t *done, void *baton)
{
    rig_node_t *n = ctx;
    rig_event_t *e = post_packet(n, to, packet, done, baton);

    if (lane == SC_LANE_CONTROL) {
        n->control_frames++;
        if (n->lose_control > 0) {
            n->lose_control--;
            e->lost = 1;
        }
        return;
    }
    n->data_frames++;
    n->data_bytes += e->bytes.len;
    n->last_options = packet->options;
    if (n->lose > 0) {
        n->lose--;
        e->lost = 1;
    }
}

static void net_probe(void *ctx, const sc_member_t *to, const sc_packet_t *packet,
                      apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton)
{
    rig_node_t *n = ctx;
    sc_packet_t none = {0};
    rig_event_t *e;

    (void)timeout;
    n->probes++;
    none.from = *sc_channel_local(n->channel);
    e = post_packet(n, to, packet != NULL ? packet : &none, done, baton);
    e->retries = 0;
    /* with a secret only who is meant can prove to be it */
    e->proof = n->config.secret.count > 0;
}

static void net_forget(void *ctx, const sc_member_t *member)
{
    rig_node_t *n = ctx;
    rig_event_t *e;

    n->forgets++;
    for (e = n->rig->events; e != NULL; e = e->next) {
        if (e->from == n->index && e->done != NULL && sc_member_same(&e->member, member)) {
            answer(e, APR_ECONNABORTED, 0);
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

static void spread(rig_t *rig, int from, const void *bytes, apr_size_t len)
{
    int i;

    for (i = 0; i < RIG_NODES; i++) {
        if (rig->node[i].up) {
            rig_event_t *e = event_new(rig, DATAGRAM, from);

            e->to = i;
            sc_put(&e->bytes, bytes, len);
            event_at(e, RIG_LATENCY);
        }
    }
}

static apr_status_t net_group_send(void *ctx, const void *bytes, apr_size_t len)
{
    rig_node_t *n = ctx;

    n->datagrams++;
    if (!n->mute) {
        spread(n->rig, n->index, bytes, len);
    }
    return APR_SUCCESS;
}

static apr_status_t net_resolve(void *ctx, const char *name, sc_resolved_fn_t *done, void *baton)
{
    rig_node_t *n = ctx;

    if (n->lookup_done != NULL) {
        return APR_EBUSY;
    }
    if (n->lookup_rv == APR_SUCCESS) {
        n->lookups++;
        n->lookup_done = done;
        n->lookup_baton = baton;
        snprintf(n->lookup_name, sizeof(n->lookup_name), "%s", name);
    }
    return n->lookup_rv;
}

void rig_found(rig_t *rig, int i, const int *numbers)
{
    sc_address_t found[RIG_NODES];
    apr_size_t k;

    memset(found, 0, sizeof(found));
    for (k = 0; numbers[k] != 0; k++) {
        found[k].len = 4;
        found[k].host[0] = 10;
        found[k].host[3] = (unsigned char)numbers[k];
    }
    rig_found_these(rig, i, found, k);
}

void rig_found_these(rig_t *rig, int i, const sc_address_t *found, apr_size_t count)
{
    rig_node_t *n = &rig->node[i];
    sc_resolved_fn_t *done = n->lookup_done;

    CU_ASSERT_PTR_NOT_NULL_FATAL(done);
    n->lookup_done = NULL;
    done(n->lookup_baton, APR_SUCCESS, found, count);
}

void rig_not_found(rig_t *rig, int i, apr_status_t rv)
{
    rig_node_t *n = &rig->node[i];
    sc_resolved_fn_t *done = n->lookup_done;

    CU_ASSERT_PTR_NOT_NULL_FATAL(done);
    n->lookup_done = NULL;
    done(n->lookup_baton, rv, NULL, 0);
}

void rig_inject(rig_t *rig, const void *bytes, apr_size_t len)
{
    spread(rig, -1, bytes, len);
}

/* ---- what the channel tells ----------------------------------------------------------------- */

static apr_status_t up_record(void *baton, const sc_member_t *from, const void *bytes,
                              apr_size_t len)
{
    rig_node_t *n = baton;
    rig_seen_t *s = &n->seen;
    apr_size_t used = strlen(s->all);

    (void)from;
    s->records++;
    snprintf(s->last, sizeof(s->last), "%.*s", (int)(len < 60 ? len : 60), (const char *)bytes);
    snprintf(s->all + used, sizeof(s->all) - used, "%s ", s->last);
    return n->record_rv;
}

static void up_gap(void *baton, const sc_member_t *from)
{
    (void)from;
    ((rig_node_t *)baton)->seen.gaps++;
}

static void up_progress(void *baton, const sc_member_t *from, apr_uint64_t lsn)
{
    (void)from;
    ((rig_node_t *)baton)->seen.lsn = lsn;
}

static void up_message(void *baton, const sc_packet_t *packet)
{
    (void)packet;
    ((rig_node_t *)baton)->seen.messages++;
}

static void up_added(void *baton, const sc_member_t *m)
{
    rig_node_t *n = baton;

    n->seen.added++;
    n->seen.last_added = *m;
    if (n->seen.settled == 0) {
        n->seen.added_before_settled++;
    }
}

static void up_changed(void *baton, const sc_member_t *m)
{
    (void)m;
    ((rig_node_t *)baton)->seen.changed++;
}

static void up_gone(void *baton, const sc_member_t *m, int goodbye)
{
    rig_node_t *n = baton;

    n->seen.gone++;
    n->seen.goodbye += goodbye;
    n->seen.last_gone = *m;
}

static apr_uint64_t up_lsn(void *baton)
{
    return ((rig_node_t *)baton)->lsn;
}

static void up_settled(void *baton)
{
    ((rig_node_t *)baton)->seen.settled++;
}

static void write_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    rig_node_t *n = ctx;
    apr_size_t used = strlen(n->log);

    (void)rv;
    if (n->log_levels) {
        used += (apr_size_t)snprintf(n->log + used, sizeof(n->log) - used, "%c ",
                                     "EWNID"[level <= SC_LOG_DEBUG ? level : SC_LOG_DEBUG]);
    }
    if (getenv("RIG_LOG") != NULL) {
        fprintf(stderr, "%8.3f n%d %s\n", (double)n->rig->now / 1e6, n->index + 1, line);
    }
    snprintf(n->log + used, sizeof(n->log) - used, "%s\n", line);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

rig_t *rig_create(sc_membership_kind_t membership, int nodes)
{
    rig_t *rig = calloc(1, sizeof(*rig));
    int i;
    int k;

    apr_pool_create(&rig->pool, NULL);
    rig->now = apr_time_from_sec(1000);
    rig->clock.ctx = rig;
    rig->clock.mono = rig_clock;
    rig->clock.wall = rig_clock;
    rig->timers = sc_timers_create(rig->pool);
    for (i = 0; i < RIG_NODES; i++) {
        rig_node_t *n = &rig->node[i];
        sc_config_t *c = &n->config;

        n->rig = rig;
        n->index = i;
        sc_config_defaults(c);
        c->membership = membership;
        snprintf(c->route, sizeof(c->route), "n%d", i + 1);
        snprintf(c->receiver.address, sizeof(c->receiver.address), "10.0.0.%d", i + 1);
        c->nmembers = (apr_uint32_t)nodes;
        for (k = 0; k < nodes; k++) {
            snprintf(c->member[k].host, sizeof(c->member[k].host), "10.0.0.%d", k + 1);
            c->member[k].port = 4000;
        }
        if (membership == SC_MEMBERSHIP_DNS) {
            strcpy(c->dns.name, "members.example");
            c->dns.port = 4000;
        }
    }
    return rig;
}

/** Its open sends end with it, as in sc_net_close. */
static void end_sends(rig_t *rig, int i)
{
    rig_event_t *e = rig->events;

    while (e != NULL) {
        if (e->from == i && e->done != NULL) {
            sc_sent_fn_t *done = e->done;

            e->done = NULL;
            done(e->baton, APR_ECONNABORTED);
            e = rig->events; /* there may be new ones */
        } else {
            e = e->next;
        }
    }
}

static void stop_process(rig_t *rig, int i)
{
    rig_node_t *n = &rig->node[i];

    end_sends(rig, i);
    n->up = 0;
    n->frozen = 0;
    apr_pool_destroy(n->pool);
    n->pool = NULL;
    n->channel = NULL;
}

void rig_start(rig_t *rig, int i, int keep_store)
{
    static const sc_log_t no_log = {NULL, SC_LOG_DEBUG, write_log};
    rig_node_t *n = &rig->node[i];
    sc_channel_up_t up = {n,        up_record,  up_gap,  up_progress, up_message,
                          up_added, up_changed, up_gone, up_lsn,      up_settled};
    sc_channel_config_t cfg = {0};
    sc_log_t *log;

    if (n->up) {
        rig_kill(rig, i);
    }
    n->lives++;
    n->up = 1;
    apr_pool_create(&n->pool, NULL);
    n->timers = sc_timers_create(n->pool);
    log = apr_palloc(n->pool, sizeof(*log));
    *log = no_log;
    log->ctx = n;
    if (!keep_store) {
        n->store_id = (apr_uint64_t)(i + 1) * 1000 + (apr_uint64_t)n->lives;
    }
    n->transport.ctx = n;
    n->transport.send = net_send;
    n->transport.probe = net_probe;
    n->transport.forget = net_forget;
    n->transport.queued = net_queued;
    n->transport.group_send = net_group_send;
    n->transport.resolve = net_resolve;
    n->lookup_done = NULL;
    memset(&n->seen, 0, sizeof(n->seen));
    memset(cfg.uid.b, 0, sizeof(cfg.uid.b));
    cfg.uid.b[0] = (unsigned char)(i + 1);
    cfg.uid.b[1] = (unsigned char)n->lives;
    cfg.config = &n->config;
    cfg.clock = &rig->clock;
    cfg.timers = n->timers;
    cfg.log = log;
    cfg.board = &n->board;
    cfg.store_id = n->store_id;
    CU_ASSERT_EQUAL_FATAL(sc_channel_create(&n->channel, &cfg, &up, n->pool), APR_SUCCESS);
    n->transport_up = sc_channel_transport_up(n->channel);
    CU_ASSERT_EQUAL_FATAL(sc_channel_start(n->channel, &n->transport), APR_SUCCESS);
}

/* The channel is stopped to give its memory back; nothing of that may reach the others. */
void rig_kill(rig_t *rig, int i)
{
    rig_node_t *n = &rig->node[i];
    rig_event_t *sent = rig->events;

    n->mute = 1;
    sc_channel_stop(n->channel);
    stop_process(rig, i);
    while (rig->events != sent) {
        event_free(rig->events);
    }
    n->mute = 0;
}

void rig_leave(rig_t *rig, int i)
{
    rig_node_t *n = &rig->node[i];

    sc_channel_stop(n->channel);
    rig_run(rig, RIG_MS(5)); /* as sc_net_drain */
    stop_process(rig, i);
}

void rig_freeze(rig_t *rig, int i)
{
    rig->node[i].frozen = 1;
}

void rig_thaw(rig_t *rig, int i)
{
    rig->node[i].frozen = 0;
}

void rig_cut(rig_t *rig, int a, int b, int on)
{
    rig->cut[a][b] = on;
    rig->cut[b][a] = on;
}

void rig_destroy(rig_t *rig)
{
    int i;

    for (i = 0; i < RIG_NODES; i++) {
        if (rig->node[i].up) {
            rig_kill(rig, i);
        }
    }
    while (rig->events != NULL) {
        event_free(rig->events);
    }
    apr_pool_destroy(rig->pool);
    free(rig);
}

rig_t *rig_cluster(sc_membership_kind_t membership, int nodes)
{
    rig_t *rig = rig_create(membership, nodes);
    int i;

    for (i = 0; i < nodes; i++) {
        rig_start(rig, i, 0);
    }
    rig_run(rig, RIG_MS(2500));
    for (i = 0; i < nodes; i++) {
        CU_ASSERT_EQUAL(rig_members(rig, i), nodes - 1);
        CU_ASSERT_EQUAL(rig->node[i].seen.settled, 1);
        CU_ASSERT_EQUAL(rig->node[i].seen.added_before_settled, nodes - 1);
    }
    return rig;
}

/* ---- questions ------------------------------------------------------------------------------ */

const sc_member_t *rig_member(rig_t *rig, int at, int other)
{
    const sc_member_t *members[SC_MEMBERS_MAX];
    apr_size_t n = sc_channel_members(rig->node[at].channel, members, SC_MEMBERS_MAX);
    apr_size_t i;

    for (i = 0; i < n; i++) {
        if (members[i]->host[3] == other + 1) {
            return members[i];
        }
    }
    return NULL;
}

int rig_members(rig_t *rig, int at)
{
    const sc_member_t *members[SC_MEMBERS_MAX];

    return (int)sc_channel_members(rig->node[at].channel, members, SC_MEMBERS_MAX);
}

int rig_suspects(rig_t *rig, int at)
{
    sc_view_t view;
    apr_uint32_t i;
    int n = 0;

    sc_channel_view(rig->node[at].channel, &view);
    for (i = 0; i < view.count; i++) {
        n += view.member[i].state == SC_MEMBER_SUSPECT;
    }
    return n;
}

apr_status_t rig_post(rig_t *rig, int from, int to, const char *text, apr_uint32_t options,
                      sc_posted_fn_t *done, void *baton)
{
    const sc_member_t *m = rig_member(rig, from, to);

    if (m == NULL) {
        return APR_NOTFOUND;
    }
    rig->node[from].lsn++;
    return sc_channel_post(rig->node[from].channel, m, text, strlen(text), options, done, baton);
}

void rig_ended(void *baton, apr_status_t rv)
{
    rig_end_t *end = baton;

    end->calls++;
    end->rv = rv;
}

void rig_foreign(sc_buf_t *b, const char *host, int port)
{
    sc_member_t m;

    memset(&m, 0, sizeof(m));
    m.port = port;
    m.secure_port = -1;
    m.udp_port = -1;
    m.alive_ms = 1019;
    memset(m.uid.b, 0x77, sizeof(m.uid.b));
    CU_ASSERT_EQUAL_FATAL(sc_member_set_host(&m, host), APR_SUCCESS);
    sc_member_put(b, &m);
}

unsigned char *rig_vector(const char *name, apr_size_t *len)
{
    const char *folder = getenv("SC_VECTORS");
    unsigned char *bytes;
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder != NULL ? folder : "test/vectors", name);
    f = fopen(path, "rb");
    if (f == NULL) {
        return NULL;
    }
    bytes = malloc(65536);
    *len = fread(bytes, 1, 65536, f);
    fclose(f);
    return bytes;
}

unsigned char *rig_captured(const char *name, sc_packet_t *packet)
{
    apr_size_t n = 0;
    unsigned char *frame = rig_vector(name, &n);
    unsigned char *body;
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t parser;

    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    sc_parser_init(&parser, 65536);
    sc_put(&parser.in, frame, n);
    CU_ASSERT_EQUAL_FATAL(sc_parser_next(&parser, &kind, &data, &n), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_packet_get(packet, data, n), APR_SUCCESS);
    body = malloc(packet->body_len > 0 ? packet->body_len : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(body);
    memcpy(body, packet->body, packet->body_len);
    packet->body = body;
    sc_parser_free(&parser);
    free(frame);
    return body;
}
