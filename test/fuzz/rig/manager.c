/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Managers over a channel of decisions; see manager.h. Nodes 0 and 1 are real, 2 and 3 are not.
 *
 * Promises that are checked: each request is answered once and not twice, and in the end it is
 * answered; the store adds up; every message that is posted is one that a reader accepts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "../../unit/store_rig.h"
#include "mail.h"
#include "manager.h"

#define REAL 2
#define NODES 4
#define KEPT 64
#define CALLS 256
#define RECORD_MAX (256 * 1024)

typedef struct net_t net_t;

typedef struct node_t {
    net_t *net;
    int index;
    int life;
    sc_config_t config;
    sc_member_t self;
    sc_clock_t clock;
    apr_pool_t *engine_pool;
    sc_store_t *store;
    sc_manager_t *m;
    int sees[NODES];
    apr_uint64_t lsn; /* of a member that is not real */
} node_t;

struct net_t {
    apr_pool_t *pool;
    apr_time_t now;
    sc_timers_t *timers;
    node_t node[NODES];
    fuzz_bag_t bag;
    unsigned int calls;
    unsigned char answers[CALLS];
    unsigned char lost[CALLS]; /* its engine was killed */
    unsigned char asked[CALLS];
};

/* ---- records under way ------------------------------------------------------------------------
 */

static void end_mail(net_t *net, fuzz_mail_t *k, apr_status_t rv)
{
    void (*done)(void *, apr_status_t) = k->done;

    k->done = NULL;
    if (done != NULL && net->node[k->from].life == k->life) {
        done(k->baton, rv);
    }
}

/** Posts between two nodes end: one of them is gone. -1: any node. */
static void abort_posts(net_t *net, int from, int to)
{
    int i = 0;

    while (i < net->bag.n) {
        fuzz_mail_t *k = &net->bag.at[i];

        if (k->done != NULL && (from < 0 || k->from == from) && (to < 0 || k->to == to)) {
            end_mail(net, k, APR_ECONNABORTED);
            i = 0; /* the table may have changed */
        } else {
            i++;
        }
    }
}

static void deliver(net_t *net, int from, int to, const void *bytes, apr_size_t len,
                    apr_status_t *rv)
{
    node_t *n = &net->node[to];

    *rv = APR_EGENERAL;
    if (to < REAL && n->sees[from]) {
        unsigned char *copy = fuzz_copy(bytes, len);

        *rv = sc_manager_record(n->m, &net->node[from].self, copy, len);
        free(copy);
    }
}

static void arrive(net_t *net, fuzz_mail_t *k, const sc_buf_t *bytes, int tell)
{
    unsigned int serial = k->serial;
    apr_status_t rv = APR_SUCCESS;

    k->arrived = 1;
    if (k->to < REAL) {
        deliver(net, k->from, k->to, bytes->data, bytes->len, &rv);
        k = fuzz_bag_find(&net->bag, serial);
    }
    if (tell && k != NULL) {
        end_mail(net, k, rv);
    }
}

/* ---- the channel as a manager sees it ---------------------------------------------------------
 */

static int node_of(const net_t *net, const sc_member_t *m)
{
    int i;

    for (i = 0; i < NODES; i++) {
        if (sc_member_same(&net->node[i].self, m)) {
            return i;
        }
    }
    return -1;
}

static apr_status_t down_post(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                              apr_uint32_t options, void (*done)(void *, apr_status_t), void *baton)
{
    node_t *n = ctx;
    int i = node_of(n->net, to);
    fuzz_mail_t *k;

    (void)options;
    /* what a node says is what another one can read; an empty list only carries a number */
    FUZZ_CHECK(len > 0 && len <= RECORD_MAX);
    FUZZ_CHECK(fuzz_read(bytes, len) == APR_SUCCESS);
    if (i < 0 || !n->sees[i]) {
        return APR_NOTFOUND;
    }
    k = fuzz_bag_put(&n->net->bag, n->index);
    if (k == NULL) {
        return APR_ENOSPC;
    }
    k->life = n->life;
    k->to = i;
    k->done = done;
    k->baton = baton;
    sc_put(&k->bytes, bytes, len);
    return APR_SUCCESS;
}

static void down_resynced(void *ctx, const sc_member_t *from)
{
    (void)ctx;
    (void)from;
}

static apr_size_t down_members(void *ctx, const sc_member_t **members, apr_size_t max)
{
    node_t *n = ctx;
    apr_size_t count = 0;
    int i;

    for (i = 0; i < NODES && count < max; i++) {
        if (n->sees[i]) {
            members[count++] = &n->net->node[i].self;
        }
    }
    return count;
}

static void tell_changed(net_t *net, int whom)
{
    int i;

    for (i = 0; i < REAL; i++) {
        if (net->node[i].m != NULL && net->node[i].sees[whom]) {
            sc_manager_member_changed(net->node[i].m, &net->node[whom].self);
        }
    }
}

static void down_announce(void *ctx, sc_node_state_t state)
{
    node_t *n = ctx;

    n->self.node_state = state;
    tell_changed(n->net, n->index);
}

static void up_answer(void *ctx, const sc_link_call_t *call, sc_outcome_t outcome,
                      apr_interval_time_t wait_us)
{
    node_t *n = ctx;

    FUZZ_CHECK(call->serial < n->net->calls && wait_us >= 0);
    FUZZ_CHECK(n->net->answers[call->serial]++ == 0);
    (void)sc_outcome_name(outcome);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static apr_time_t node_mono(void *ctx)
{
    node_t *n = ctx;

    return n->net->now;
}

static apr_time_t node_wall(void *ctx)
{
    node_t *n = ctx;

    return n->net->now + FUZZ_WALL - apr_time_from_sec(100 * n->index);
}

static apr_uint64_t hlc_now(const net_t *net)
{
    return (apr_uint64_t)apr_time_as_msec(net->now + FUZZ_WALL) << 16;
}

static void start_engine(net_t *net, int i)
{
    node_t *n = &net->node[i];
    sc_store_recovery_t report;
    sc_manager_config_t cfg;

    memset(&cfg, 0, sizeof(cfg));
    apr_pool_create(&n->engine_pool, net->pool);
    if (n->life++ > 0) {
        FUZZ_CHECK(sc_store_recover(n->store, &report) == APR_SUCCESS && report.dropped == 0);
    }
    n->self.store_id = sc_store_id(n->store);
    n->self.uid.b[1] = (unsigned char)n->life;
    cfg.config = &n->config;
    cfg.clock = &n->clock;
    cfg.timers = net->timers;
    cfg.log = &fuzz_log;
    cfg.store = n->store;
    cfg.down.ctx = n;
    cfg.down.post = down_post;
    cfg.down.resynced = down_resynced;
    cfg.down.members = down_members;
    cfg.down.announce = down_announce;
    cfg.up.ctx = n;
    cfg.up.answer = up_answer;
    FUZZ_CHECK(sc_manager_create(&n->m, &cfg, n->engine_pool) == APR_SUCCESS);
    sc_manager_start(n->m);
}

static void see(net_t *net, int who, int whom)
{
    node_t *n = &net->node[who];

    if (n->m != NULL && who != whom && !n->sees[whom]) {
        n->sees[whom] = 1;
        sc_manager_member_added(n->m, &net->node[whom].self);
    }
}

static void forget(net_t *net, int who, int whom, int goodbye)
{
    node_t *n = &net->node[who];

    if (n->sees[whom]) {
        n->sees[whom] = 0;
        abort_posts(net, who, whom);
        sc_manager_member_gone(n->m, &net->node[whom].self, goodbye);
    }
}

static void stop_engine(net_t *net, int i)
{
    node_t *n = &net->node[i];
    unsigned int c;

    for (c = 0; c < net->calls; c++) {
        net->lost[c] |= net->asked[c] == i && net->answers[c] == 0;
    }
    abort_posts(net, i, -1);
    memset(n->sees, 0, sizeof(n->sees));
    apr_pool_destroy(n->engine_pool);
    n->engine_pool = NULL;
    n->m = NULL;
}

/** A new store. A mapping is made once and then only wiped: making one takes longer than all the
 *  rest. */
static sc_store_t *empty_store(int i)
{
    static sc_store_t *store[REAL];
    static unsigned char *fresh[REAL];
    static apr_pool_t *pool;

    if (pool == NULL) {
        apr_pool_create(&pool, NULL);
    }
    if (store[i] == NULL) {
        FUZZ_CHECK(sc_store_create(&store[i], SC_STORE_MIN, pool) == APR_SUCCESS);
        fresh[i] = fuzz_copy(sc_store_base(store[i]), sc_store_bytes(store[i]));
    }
    memcpy(sc_store_base(store[i]), fresh[i], sc_store_bytes(store[i]));
    return store[i];
}

static void init_node(net_t *net, int i, sc_manager_kind_t kind, int front, unsigned int how)
{
    node_t *n = &net->node[i];
    sc_config_t *c = &n->config;

    n->net = net;
    n->index = i;
    fuzz_peer(&n->self, (unsigned int)i);
    sc_config_defaults(c);
    c->membership = SC_MEMBERSHIP_STATIC;
    strcpy(c->route, n->self.route);
    c->manager = kind;
    c->ncontexts = 2;
    strcpy(c->context[0], "shop");
    strcpy(c->context[1], "blog");
    c->delta.state_ms = 5000;
    c->delta.digest_ms = how & 1 ? 2000 : 0;
    c->quorum = how & 2 ? 2 : 0;
    c->backup.backups = how & 4 ? 2 : 1;
    c->backup.select = how & 8 ? SC_SELECT_ROUNDROBIN : SC_SELECT_RENDEZVOUS;
    c->backup.copy_rate = how & 16 ? 100 : 0;
    c->refuse_unacked = how & 32;
    c->delta.expire_on_shutdown = how & 64;
    c->max_session = 4096;
    if (front && i == 0) {
        c->role = n->self.role = SC_ROLE_BALANCER;
        c->route[0] = n->self.route[0] = '\0';
    }
    n->clock.ctx = n;
    n->clock.mono = node_mono;
    n->clock.wall = node_wall;
    n->store = i < REAL ? empty_store(i) : NULL;
}

static void run_for(net_t *net, apr_interval_time_t time)
{
    apr_time_t end = net->now + time;
    apr_time_t next;
    int rounds = 0;

    while ((next = sc_timers_next(net->timers)) >= 0 && next <= end && rounds++ < 400) {
        net->now = next > net->now ? next : net->now;
        sc_timers_run(net->timers, net->now);
    }
    net->now = end;
}

/** Everything arrives once and whole, for a while. */
static void honest(net_t *net, int steps, int ms)
{
    for (; steps > 0; steps--) {
        fuzz_mail_t *k;
        sc_buf_t bytes;

        run_for(net, apr_time_from_msec(ms));
        while ((k = fuzz_bag_next(&net->bag, &bytes)) != NULL) {
            arrive(net, k, &bytes, 1);
            sc_buf_free(&bytes);
        }
    }
}

/* ---- operations -------------------------------------------------------------------------------
 */

static void op_time(net_t *net, fuzz_in_t *in)
{
    static const int ms[] = {0, 1, 10, 100, 500, 1000, 6000, 61000};
    static const int long_ms[] = {1900 * 1000, 4000 * 1000};
    unsigned int how = fuzz_u8(in);

    run_for(net, apr_time_from_msec(how < 0xf8 ? ms[how % 8] : long_ms[how % 2]));
}

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

static void op_end(net_t *net, fuzz_in_t *in)
{
    static const apr_status_t rv[] = {APR_SUCCESS, APR_EGENERAL, APR_TIMEUP, APR_ENOSPC};
    apr_status_t how = rv[fuzz_below(in, 4)];
    fuzz_mail_t *k = fuzz_bag_any(&net->bag, in);

    if (k != NULL) {
        end_mail(net, k, how);
    }
}

static void op_record(net_t *net, fuzz_in_t *in, int built)
{
    int from = 1 + (int)fuzz_below(in, NODES - 1);
    apr_status_t rv;
    sc_buf_t b;

    sc_buf_init(&b, RECORD_MAX);
    if (built) {
        fuzz_record(in, &b, hlc_now(net));
        fuzz_damage(in, &b);
    } else {
        size_t n;
        const unsigned char *p = fuzz_text(in, 8192, &n);

        sc_put(&b, p, n);
    }
    deliver(net, from, 0, b.data, b.len, &rv);
    sc_buf_free(&b);
}

static void op_request(net_t *net, fuzz_in_t *in)
{
    static const sc_link_op_t ops[] = {SC_LINK_CHANGE, SC_LINK_CHANGE,    SC_LINK_REMOVE,
                                       SC_LINK_FETCH,  SC_LINK_CHANGE_ID, SC_LINK_TAKEOVER,
                                       SC_LINK_PING,   SC_LINK_DRAIN,     SC_LINK_UNDRAIN};
    static unsigned char large[5000];
    unsigned int how = fuzz_u8(in);
    node_t *n = &net->node[how & 1];
    sc_link_op_t op = ops[(how >> 1) % 7];
    sc_link_call_t call;
    sc_change_t c;
    sc_buf_t attrs, body;
    unsigned char *copy;
    unsigned int i;
    char hint[3] = "n1";

    if (net->calls >= CALLS || n->m == NULL || n->config.role != SC_ROLE_NODE) {
        return;
    }
    memset(&c, 0, sizeof(c));
    sc_buf_init(&attrs, RECORD_MAX);
    sc_buf_init(&body, RECORD_MAX);
    how = fuzz_u8(in);
    c.context = fuzz_context(fuzz_u8(in));
    c.context_len = strlen(c.context);
    c.id = fuzz_id(fuzz_u8(in));
    c.new_id = fuzz_id(fuzz_u8(in));
    c.flags = how & 1 ? SC_CHANGE_NEW : 0;
    c.max_idle_s = how & 2 ? (apr_uint32_t)fuzz_number(in) : 1800;
    for (i = 0; i < (how >> 2 & 3); i++, c.nattrs++) {
        unsigned int which = fuzz_u8(in);
        const char *value = (const char *)large;
        size_t len = 16 * (which >> 2);

        memset(large, 'x', sizeof(large));
        if (which & 2) {
            len = which == 0xff ? 5000 : which >> 2;
        }
        sc_change_attr_put(&attrs, which & 1 ? "a" : "b", 1, which == 0xfe ? NULL : value, len);
    }
    c.attrs = attrs.data;
    c.attrs_len = attrs.len;
    hint[1] = (char)('1' + (how >> 4 & 3));
    c.hint = hint;
    c.hint_len = how & 0x40 ? 2 : 0;
    sc_change_put(&body, &c);
    if (how & 0x80) {
        fuzz_damage(in, &body);
    }
    memset(&call, 0, sizeof(call));
    call.serial = net->calls;
    net->asked[net->calls++] = (unsigned char)n->index;
    copy = fuzz_copy(body.data, body.len);
    sc_manager_request(n->m, &call, op, how >> 5 & 1, copy, body.len);
    free(copy);
    sc_buf_free(&body);
    sc_buf_free(&attrs);
}

static void op_member(net_t *net, fuzz_in_t *in)
{
    unsigned int how = fuzz_u8(in);
    int who = how & 1;
    int whom = (int)(how >> 1 & 3);
    node_t *w = &net->node[whom];

    switch (how >> 3 & 7) {
    case 0:
    case 1:
        see(net, who, whom);
        break;
    case 2:
        forget(net, who, whom, (int)(how >> 6 & 1));
        break;
    case 3: /* a member that is not real changes its state */
        if (whom >= REAL) {
            w->self.node_state = fuzz_below(in, SC_NODE_DRAINING + 1);
            tell_changed(net, whom);
        }
        break;
    case 4: /* or comes as another one */
        if (whom >= REAL) {
            forget(net, 0, whom, 0);
            forget(net, 1, whom, 0);
            fuzz_member(in, &w->self);
            w->self.ours = 1;
            w->self.host[3] = (unsigned char)(whom + 1);
            see(net, 0, whom);
        }
        break;
    case 5:
        if (net->node[who].sees[whom]) {
            sc_manager_gap(net->node[who].m, &w->self);
        }
        break;
    case 6:
        if (net->node[who].sees[whom]) {
            w->lsn += fuzz_number(in);
            sc_manager_progress(net->node[who].m, &w->self, w->lsn);
        }
        break;
    default: /* its engine is killed; another one takes over */
        forget(net, 1 - who, who, 0);
        stop_engine(net, who);
        start_engine(net, who);
        break;
    }
}

static void op_access(net_t *net, fuzz_in_t *in)
{
    node_t *n = &net->node[fuzz_below(in, REAL)];
    sc_id_t id = fuzz_id(fuzz_u8(in));
    const char *name = fuzz_context(fuzz_u8(in));
    apr_uint16_t context;
    apr_pool_t *pool;
    sc_stored_t got;

    apr_pool_create(&pool, net->pool);
    if (sc_store_context(n->store, name, strlen(name), 0, &context) == APR_SUCCESS &&
        sc_store_read(n->store, context, &id, pool, &got) == APR_SUCCESS) {
        FUZZ_CHECK(sc_body_check(got.body, got.rec.body_len) == APR_SUCCESS);
        sc_store_note_access(n->store, got.cell, got.gen, net->now);
    }
    apr_pool_destroy(pool);
}

static void step(net_t *net, fuzz_in_t *in)
{
    switch (fuzz_below(in, 16)) {
    case 0:
    case 1:
        op_time(net, in);
        break;
    case 2:
    case 3:
    case 4:
        op_arrive(net, in);
        break;
    case 5:
        op_end(net, in);
        break;
    case 6:
    case 7:
    case 8:
        op_record(net, in, 1);
        break;
    case 9:
        op_record(net, in, 0);
        break;
    case 10:
    case 11:
    case 12:
        op_request(net, in);
        break;
    case 13:
        op_member(net, in);
        break;
    case 14:
        op_access(net, in);
        break;
    default:
        honest(net, 1 + (int)fuzz_below(in, 16), 100);
        break;
    }
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static int open_calls(const net_t *net)
{
    unsigned int i;

    for (i = 0; i < net->calls; i++) {
        if (net->answers[i] == 0 && !net->lost[i]) {
            return 1;
        }
    }
    return 0;
}

static void finish(net_t *net, int leave, int audit)
{
    int rounds = 0;
    int i;

    /* a fetch, a wait, and what else is bounded */
    while (open_calls(net) && rounds++ < 60) {
        honest(net, 1, 1000);
    }
    FUZZ_CHECK(!open_calls(net));
    for (i = 0; i < REAL; i++) {
        node_t *n = &net->node[i];

        if (leave) {
            sc_manager_stop(n->m);
            honest(net, 3, 100);
            (void)sc_manager_busy(n->m);
            sc_manager_last_look(n->m);
            sc_manager_save(n->m);
        }
        if (audit) { /* slower than all the rest */
            apr_uint16_t own = SC_ROUTE_NONE;

            (void)sc_store_route(n->store, n->config.route, strlen(n->config.route), 0, &own);
            FUZZ_CHECK(rig_audit(n->store, own).failures == 0);
        }
    }
    for (i = 0; i < REAL; i++) {
        forget(net, 1 - i, i, leave);
        stop_engine(net, i);
    }
    FUZZ_CHECK(sc_timers_next(net->timers) < 0);
    fuzz_bag_free(&net->bag);
    apr_pool_destroy(net->pool);
}

void fuzz_managers(fuzz_in_t *in, sc_manager_kind_t kind, int front)
{
    fuzz_managers_from(in, kind, front, NULL);
}

void fuzz_managers_from(fuzz_in_t *in, sc_manager_kind_t kind, int front, const char *snapshot)
{
    static net_t net;
    unsigned int how = fuzz_u8(in);
    unsigned int start = fuzz_u8(in);
    int i;

    memset(&net, 0, sizeof(net));
    apr_pool_create(&net.pool, fuzz_start());
    net.now = FUZZ_MONO;
    net.timers = sc_timers_create(net.pool);
    fuzz_bag_init(&net.bag, KEPT, 2 * RECORD_MAX);
    for (i = 0; i < NODES; i++) {
        init_node(&net, i, kind, front, how);
    }
    if (snapshot != NULL) {
        apr_cpystrn(net.node[0].config.snapshot.path, snapshot,
                    sizeof(net.node[0].config.snapshot.path));
        net.node[0].config.snapshot.wait_ms = 10000;
    }
    for (i = 0; i < REAL; i++) {
        start_engine(&net, i);
    }
    for (i = 1; i < NODES; i++) {
        if (start >> i & 1) {
            see(&net, 0, i);
        }
    }
    see(&net, 1, 0);
    sc_manager_settled(net.node[1].m);
    sc_manager_settled(net.node[0].m);
    honest(&net, (int)(start >> 4), 100);
    while (in->left > 0) {
        step(&net, in);
    }
    finish(&net, (int)(start & 1), (how & 0x81) == 0x81);
}
