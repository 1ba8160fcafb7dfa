/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A chain of interceptors on a test bench; see ic_rig.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "ic_rig.h"

/* ---- the links around ----------------------------------------------------------------------- */

static ic_packet_t *keep(const sc_packet_t *p)
{
    ic_packet_t *k = calloc(1, sizeof(*k));
    unsigned char *body = malloc(p->body_len + 1);

    k->p = *p;
    if (p->body_len > 0) {
        memcpy(body, p->body, p->body_len);
    }
    body[p->body_len] = '\0';
    k->p.body = body;
    return k;
}

static apr_status_t above_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    ic_t *ic = self->state;

    CU_ASSERT_FATAL(ic->nup < IC_MAX);
    ic->up[ic->nup++] = keep(packet);
    return ic->up_rv;
}

static void above_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    ic_t *ic = self->state;

    (void)m;
    (void)goodbye;
    ic->gone++;
    ic->up_at_gone = ic->nup;
}

static void above_added(sc_interceptor_t *self, const sc_member_t *m)
{
    (void)self;
    (void)m;
}

static const sc_interceptor_class_t above_class = {.name = "above",
                                                   .received = above_received,
                                                   .member_added = above_added,
                                                   .member_gone = above_gone};

static void below_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    ic_t *ic = self->state;
    ic_packet_t *k = keep(&out->packet);

    CU_ASSERT_FATAL(ic->nsent < IC_MAX);
    k->to = *out->to;
    k->lane = out->lane;
    k->done = out->done;
    k->baton = out->baton;
    ic->sent[ic->nsent++] = k;
}

static const sc_interceptor_class_t below_class = {.name = "below", .send = below_send};

/* ---- configuration --------------------------------------------------------------------------- */

sc_config_interceptor_t ic_conf(const char *name, ...)
{
    sc_config_interceptor_t c;
    const char *key;
    va_list args;

    memset(&c, 0, sizeof(c));
    snprintf(c.name, sizeof(c.name), "%s", name);
    va_start(args, name);
    while ((key = va_arg(args, const char *)) != NULL) {
        sc_config_attr_t *a = &c.attr[c.nattrs++];

        snprintf(a->name, sizeof(a->name), "%s", key);
        snprintf(a->value, sizeof(a->value), "%s", va_arg(args, const char *));
    }
    va_end(args);
    return c;
}

const char *ic_check(const sc_config_interceptor_t *conf, int n, apr_pool_t *pool)
{
    static sc_config_t c;
    int i;

    sc_config_defaults(&c);
    c.ninterceptors = (apr_uint32_t)n;
    for (i = 0; i < n; i++) {
        c.interceptor[i] = conf[i];
    }
    return sc_interceptor_check(&c, pool);
}

int ic_refused(sc_config_interceptor_t conf, const char *because)
{
    const char *message;
    apr_pool_t *pool;
    int ok;

    apr_pool_create(&pool, NULL);
    message = ic_check(&conf, 1, pool);
    ok = message != NULL && strstr(message, because) != NULL;
    if (!ok) {
        printf("\n    %s %s=%s: \"%s\"\n", conf.name, conf.attr[0].name, conf.attr[0].value,
               message != NULL ? message : "right");
    }
    apr_pool_destroy(pool);
    return ok;
}

/* ---- a chain --------------------------------------------------------------------------------- */

static apr_time_t bench_now(void *ctx)
{
    return ((ic_t *)ctx)->now;
}

static void write_log(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    ic_t *ic = ctx;
    apr_size_t used = strlen(ic->log);

    (void)level;
    (void)rv;
    snprintf(ic->log + used, sizeof(ic->log) - used, "%s\n", line);
}

ic_t *ic_open(const sc_config_interceptor_t *conf, int n, int node)
{
    ic_t *ic = calloc(1, sizeof(*ic));
    int i;

    apr_pool_create(&ic->pool, NULL);
    ic->now = apr_time_from_sec(1000000);
    ic->clock.ctx = ic;
    ic->clock.mono = ic->clock.wall = bench_now;
    ic->log_to.ctx = ic;
    ic->log_to.level = SC_LOG_DEBUG;
    ic->log_to.write = write_log;
    ic->timers = sc_timers_create(ic->pool);
    sc_config_defaults(&ic->config);
    ic->config.receiver.max_frame = 1024 * 1024;
    ic->config.sender.max_queue = 100000;
    ic->local = ic_member(node);
    ic->env.timers = ic->timers;
    ic->env.clock = &ic->clock;
    ic->env.log = &ic->log_to;
    ic->env.board = &ic->board;
    ic->env.transport = &ic->transport;
    ic->env.local = &ic->local;
    ic->env.config = &ic->config;
    ic->env.serial = &ic->serial;
    ic->nlinks = n + 2;
    for (i = 0; i < ic->nlinks; i++) {
        ic->link[i].env = &ic->env;
        ic->link[i].state = ic;
        ic->link[i].up = i > 0 ? &ic->link[i - 1] : NULL;
        ic->link[i].down = i < n + 1 ? &ic->link[i + 1] : NULL;
    }
    ic->link[0].cls = &above_class;
    ic->link[n + 1].cls = &below_class;
    for (i = 0; i < n; i++) {
        sc_interceptor_t *link = &ic->link[i + 1];

        link->cls = sc_interceptor_find(conf[i].name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(link->cls);
        CU_ASSERT_EQUAL_FATAL(link->cls->create(link, &conf[i], ic->pool), APR_SUCCESS);
    }
    return ic;
}

static void free_packets(ic_packet_t **packets, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        free((void *)(apr_uintptr_t)packets[i]->p.body);
        free(packets[i]);
    }
}

void ic_close(ic_t *ic)
{
    int i;

    for (i = 1; i < ic->nlinks - 1; i++) {
        if (ic->link[i].cls->stop != NULL) {
            ic->link[i].cls->stop(&ic->link[i]);
        }
    }
    for (i = 0; i < ic->nsent; i++) {
        if (ic->sent[i]->done != NULL) {
            ic_end(ic, i, APR_ECONNABORTED);
        }
    }
    CU_ASSERT_EQUAL(sc_timers_next(ic->timers), -1);
    free_packets(ic->up, ic->nup);
    free_packets(ic->sent, ic->nsent);
    apr_pool_destroy(ic->pool);
    free(ic);
}

void ic_run(ic_t *ic, apr_interval_time_t time)
{
    rig_run_timers(ic->timers, &ic->now, time);
}

/* ---- messages -------------------------------------------------------------------------------- */

sc_member_t ic_member(int n)
{
    sc_member_t m;

    memset(&m, 0, sizeof(m));
    m.ours = 1;
    m.port = 4000;
    m.secure_port = m.udp_port = -1;
    m.host_len = 4;
    m.host[0] = 10;
    m.host[3] = (unsigned char)n;
    m.uid.b[0] = (unsigned char)n;
    m.uid.b[1] = (unsigned char)(n >> 8);
    m.store_id = (apr_uint64_t)n;
    snprintf(m.route, sizeof(m.route), "n%d", n);
    return m;
}

void ic_send_on(ic_t *ic, sc_lane_t lane, const void *bytes, apr_size_t len, apr_uint32_t options,
                rig_end_t *end)
{
    sc_member_t to = ic_member(2);
    int calls = end->calls;
    sc_outgoing_t out;

    memset(&out, 0, sizeof(out));
    out.packet.options = options;
    sc_packet_stamp(&ic->env, &out.packet);
    out.packet.body = bytes;
    out.packet.body_len = len;
    out.to = &to;
    out.lane = lane;
    out.done = rig_ended;
    out.baton = end;
    sc_pass_send(&ic->link[0], &out);
    CU_ASSERT_EQUAL(end->calls, calls); /* never from within the send */
}

void ic_send(ic_t *ic, const void *bytes, apr_size_t len, apr_uint32_t options, rig_end_t *end)
{
    ic_send_on(ic, SC_LANE_DATA, bytes, len, options, end);
}

void ic_end(ic_t *ic, int i, apr_status_t rv)
{
    sc_sent_fn_t *done;

    CU_ASSERT_FATAL(i < ic->nsent);
    done = ic->sent[i]->done;
    CU_ASSERT_PTR_NOT_NULL_FATAL(done);
    ic->sent[i]->done = NULL;
    done(ic->sent[i]->baton, rv);
}

apr_status_t ic_receive(ic_t *ic, const sc_packet_t *packet)
{
    return sc_pass_received(&ic->link[ic->nlinks - 1], packet);
}

sc_packet_t ic_packet(int from, const void *bytes, apr_size_t len, apr_uint32_t options)
{
    static apr_uint32_t serial;
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    p.options = options;
    p.from = ic_member(from);
    serial++;
    memcpy(p.id.b, &serial, sizeof(serial));
    p.id.b[15] = (unsigned char)from;
    p.body = bytes;
    p.body_len = len;
    return p;
}

void ic_carry(ic_t *from, ic_t *to)
{
    int asks;

    for (; from->carried < from->nsent; from->carried++) {
        ic_packet_t *k = from->sent[from->carried];
        apr_status_t rv = ic_receive(to, &k->p);

        asks = (k->p.options & IC_SYNC) == IC_SYNC;
        ic_end(from, from->carried, asks && rv != APR_SUCCESS ? APR_EGENERAL : APR_SUCCESS);
    }
}

int ic_up_is(const ic_t *ic, int i, const char *text)
{
    return i < ic->nup && ic->up[i]->p.body_len == strlen(text) &&
           memcmp(ic->up[i]->p.body, text, strlen(text)) == 0;
}

/* ---- captured frames ------------------------------------------------------------------------- */

sc_packet_t ic_vector(const char *name, unsigned char **body)
{
    sc_packet_t p;

    *body = rig_captured(name, &p);
    return p;
}

int ic_same_frame(const sc_packet_t *packet, const char *name)
{
    apr_size_t len = 0;
    unsigned char *frame = rig_vector(name, &len);
    sc_buf_t b;
    int same;

    sc_buf_init(&b, packet->body_len + SC_FRAME_OVERHEAD + SC_FRAME_HEAD_MAX);
    sc_frame_put(&b, packet);
    same = frame != NULL && b.len == len && memcmp(b.data, frame, len) == 0;
    sc_buf_free(&b);
    free(frame);
    return same;
}
