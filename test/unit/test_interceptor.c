/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The chain, and each interceptor between two links that the test plays: one above that notes what
 * comes up, one below that holds every send until the test ends it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"

void sc_suite_interceptor(void);

#define OPEN_MAX 32

typedef struct open_t {
    sc_sent_fn_t *done;
    void *baton;
    char text[16];
    int dispatched;
} open_t;

typedef struct bench_t {
    apr_pool_t *pool;
    apr_time_t now;
    sc_clock_t clock;
    sc_timers_t *timers;
    sc_config_t config;
    sc_member_t local;
    apr_uint64_t serial;
    sc_transport_t transport;
    sc_chain_env_t env;
    sc_interceptor_t link[3]; /* above, the one under test, below */
    open_t sent[OPEN_MAX];
    int nsent;
    open_t probe[OPEN_MAX];
    int nprobes;
    int probe_packet; /* the last one had a packet */
    apr_uint32_t probe_options;
    apr_interval_time_t probe_timeout;
    char seen[256]; /* what came up: +a -a !a ?a .a ~a =S m */
} bench_t;

/* ---- the links around ----------------------------------------------------------------------- */

static void note(bench_t *b, const char *what, const char *name)
{
    snprintf(b->seen + strlen(b->seen), sizeof(b->seen) - strlen(b->seen), "%s%s ", what, name);
}

static apr_status_t above_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    (void)packet;
    note(self->state, "m", "");
    return APR_ENOTIMPL;
}

static void above_added(sc_interceptor_t *self, const sc_member_t *m)
{
    note(self->state, "+", m->route);
}

static void above_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    note(self->state, "~", m->route);
}

static void above_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    note(self->state, goodbye ? "!" : "-", m->route);
}

static void above_suspected(sc_interceptor_t *self, const sc_member_t *m, int suspect)
{
    note(self->state, suspect ? "?" : ".", m->route);
}

static void above_settled(sc_interceptor_t *self)
{
    note(self->state, "=S", "");
}

static const sc_interceptor_class_t above_class = {
    .name = "above",
    .received = above_received,
    .member_added = above_added,
    .member_changed = above_changed,
    .member_gone = above_gone,
    .member_suspected = above_suspected,
    .settled = above_settled,
};

static void keep(open_t *o, sc_sent_fn_t *done, void *baton, const sc_packet_t *p)
{
    memset(o, 0, sizeof(*o));
    o->done = done;
    o->baton = baton;
    if (p != NULL) {
        snprintf(o->text, sizeof(o->text), "%.*s", (int)p->body_len, (const char *)p->body);
    }
}

static void below_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    bench_t *b = self->state;

    CU_ASSERT_FATAL(b->nsent < OPEN_MAX);
    keep(&b->sent[b->nsent], out->done, out->baton, &out->packet);
    b->sent[b->nsent++].dispatched = out->dispatched;
}

static const sc_interceptor_class_t below_class = {.name = "below", .send = below_send};

static void bench_probe(void *ctx, const sc_member_t *to, const sc_packet_t *packet,
                        apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton)
{
    bench_t *b = ctx;

    CU_ASSERT_FATAL(b->nprobes < OPEN_MAX);
    keep(&b->probe[b->nprobes], done, baton, NULL);
    snprintf(b->probe[b->nprobes++].text, 16, "%.15s", to->route);
    b->probe_packet = packet != NULL;
    b->probe_options = packet != NULL ? packet->options : 0;
    b->probe_timeout = timeout;
}

static apr_time_t bench_now(void *ctx)
{
    return ((bench_t *)ctx)->now;
}

static bench_t *bench(const sc_config_interceptor_t *conf)
{
    bench_t *b = calloc(1, sizeof(*b));
    const sc_interceptor_class_t *cls = sc_interceptor_find(conf->name);
    int i;

    CU_ASSERT_PTR_NOT_NULL_FATAL(cls);
    apr_pool_create(&b->pool, NULL);
    b->now = apr_time_from_sec(100);
    b->clock.ctx = b;
    b->clock.mono = b->clock.wall = bench_now;
    b->timers = sc_timers_create(b->pool);
    b->transport.ctx = b;
    b->transport.probe = bench_probe;
    b->env.timers = b->timers;
    b->env.clock = &b->clock;
    b->env.transport = &b->transport;
    b->env.local = &b->local;
    b->env.config = &b->config;
    b->env.serial = &b->serial;
    for (i = 0; i < 3; i++) {
        b->link[i].env = &b->env;
        b->link[i].state = b;
        b->link[i].up = i > 0 ? &b->link[i - 1] : NULL;
        b->link[i].down = i < 2 ? &b->link[i + 1] : NULL;
    }
    b->link[0].cls = &above_class;
    b->link[1].cls = cls;
    b->link[2].cls = &below_class;
    CU_ASSERT_EQUAL_FATAL(cls->create(&b->link[1], conf, b->pool), APR_SUCCESS);
    return b;
}

static void bench_end(bench_t *b)
{
    int i;

    b->link[1].cls->stop(&b->link[1]);
    for (i = 0; i < b->nsent; i++) {
        if (b->sent[i].done != NULL) {
            b->sent[i].done(b->sent[i].baton, APR_ECONNABORTED);
        }
    }
    for (i = 0; i < b->nprobes; i++) {
        if (b->probe[i].done != NULL) {
            b->probe[i].done(b->probe[i].baton, APR_ECONNABORTED);
        }
    }
    CU_ASSERT_EQUAL(sc_timers_next(b->timers), -1);
    apr_pool_destroy(b->pool);
    free(b);
}

static void bench_run(bench_t *b, apr_interval_time_t time)
{
    rig_run_timers(b->timers, &b->now, time);
}

static void end_open(open_t *o, apr_status_t rv)
{
    sc_sent_fn_t *done = o->done;

    CU_ASSERT_PTR_NOT_NULL_FATAL(done);
    o->done = NULL;
    done(o->baton, rv);
}

/** What came up since the last look. */
static void expect_at(bench_t *b, const char *what, int line)
{
    if (strcmp(b->seen, what) != 0) {
        printf("\n    line %d: expected \"%s\", got \"%s\"\n", line, what, b->seen);
    }
    CU_ASSERT_STRING_EQUAL(b->seen, what);
    b->seen[0] = '\0';
}

#define expect(b, what) expect_at(b, what, __LINE__)

static sc_member_t member(const char *route, int n)
{
    sc_member_t m;

    memset(&m, 0, sizeof(m));
    m.ours = 1;
    m.port = 4000;
    m.host_len = 4;
    m.host[0] = 10;
    m.host[3] = (unsigned char)n;
    m.uid.b[0] = (unsigned char)n;
    m.store_id = (apr_uint64_t)n;
    strcpy(m.route, route);
    return m;
}

static void send_text(bench_t *b, const char *text, apr_uint32_t options, rig_end_t *end)
{
    static sc_member_t to;
    sc_outgoing_t out;

    to = member("a", 1);
    memset(&out, 0, sizeof(out));
    out.packet.options = options;
    out.packet.body = (const unsigned char *)text;
    out.packet.body_len = strlen(text);
    out.to = &to;
    out.done = rig_ended;
    out.baton = end;
    sc_pass_send(&b->link[0], &out);
}

static sc_config_interceptor_t conf(const char *name, const char *attr, const char *value)
{
    sc_config_interceptor_t c;

    memset(&c, 0, sizeof(c));
    strcpy(c.name, name);
    if (attr != NULL) {
        strcpy(c.attr[0].name, attr);
        strcpy(c.attr[0].value, value);
        c.nattrs = 1;
    }
    return c;
}

/* ---- the chain ------------------------------------------------------------------------------ */

static apr_pool_t *pool;

static int suite_init(void)
{
    return apr_pool_create(&pool, NULL) != APR_SUCCESS;
}

static int suite_cleanup(void)
{
    apr_pool_destroy(pool);
    return 0;
}

static const char *check(const char *name, const char *attr, const char *value)
{
    static sc_config_t c;

    memset(&c, 0, sizeof(c));
    c.ninterceptors = 1;
    c.interceptor[0] = conf(name, attr, value);
    return sc_interceptor_check(&c, pool);
}

static int refused(const char *name, const char *attr, const char *value, const char *because)
{
    const char *message = check(name, attr, value);

    if (message == NULL || strstr(message, because) == NULL) {
        printf("\n    %s %s=%s: \"%s\"\n", name, attr, value, message != NULL ? message : "right");
        return 0;
    }
    return 1;
}

#define DETECTOR "TcpFailureDetector"
#define DISPATCH "MessageDispatch"

static void test_check(void)
{
    sc_config_t c;

    CU_ASSERT_PTR_NOT_NULL(
        strstr(sc_interceptor_names(pool), "TcpFailureDetector, MessageDispatch"));
    CU_ASSERT_PTR_NULL(check(DETECTOR, NULL, NULL));
    CU_ASSERT_PTR_NULL(check(DISPATCH, NULL, NULL));
    CU_ASSERT_TRUE(
        refused("Nonsense", NULL, NULL, "there are TcpFailureDetector, MessageDispatch"));
    CU_ASSERT_TRUE(refused("TcpFailureDetectorInterceptor", NULL, NULL, "there are"));
    CU_ASSERT_TRUE(refused("", NULL, NULL, "there are"));
    CU_ASSERT_PTR_NULL(check(DETECTOR, "connectTimeout", "500"));
    CU_ASSERT_PTR_NULL(check(DETECTOR, "performReadTest", "False"));
    CU_ASSERT_PTR_NULL(check(DETECTOR, "readTestTimeout", "1"));
    CU_ASSERT_PTR_NULL(check(DETECTOR, "removeSuspectsTimeout", "600"));
    CU_ASSERT_PTR_NULL(check(DISPATCH, "maxQueueSize", "1000000000"));
    CU_ASSERT_PTR_NULL(check(DISPATCH, "alwaysSend", "false"));
    CU_ASSERT_TRUE(refused(DETECTOR, "connecttimeout", "500", "connectTimeout, performSendTest"));
    CU_ASSERT_TRUE(refused(DISPATCH, "color", "red", "it has maxQueueSize, alwaysSend"));
    CU_ASSERT_TRUE(refused(DISPATCH, "maxThreads", "10", "no threads to count"));
    CU_ASSERT_TRUE(refused(DISPATCH, "useDeepClone", "true", "always copied"));
    CU_ASSERT_TRUE(refused(DISPATCH, "optionFlag", "16", "must be 8"));
    CU_ASSERT_PTR_NULL(check(DISPATCH, "optionFlag", "8"));
    CU_ASSERT_PTR_NULL(check(DETECTOR, "optionFlag", "512"));
    CU_ASSERT_TRUE(refused(DETECTOR, "optionFlag", "4294967295", "option bits from 0"));
    CU_ASSERT_TRUE(refused(DETECTOR, "connectTimeout", "0", "from 1 to 600000"));
    CU_ASSERT_TRUE(refused(DETECTOR, "connectTimeout", "600001", "milliseconds"));
    CU_ASSERT_TRUE(refused(DETECTOR, "connectTimeout", "-5", "from 1"));
    CU_ASSERT_TRUE(refused(DETECTOR, "connectTimeout", "", "from 1"));
    CU_ASSERT_TRUE(refused(DETECTOR, "connectTimeout", "1s", "from 1"));
    CU_ASSERT_TRUE(refused(DETECTOR, "connectTimeout", "99999999999999999999", "from 1"));
    CU_ASSERT_TRUE(refused(DETECTOR, "performReadTest", "yes", "true or false"));
    CU_ASSERT_TRUE(refused(DETECTOR, "performSendTest", "false", "performReadTest=false"));

    memset(&c, 0, sizeof(c));
    CU_ASSERT_PTR_NULL(sc_interceptor_check(&c, pool));
    c.ninterceptors = 2;
    c.interceptor[0] = conf(DISPATCH, NULL, NULL);
    c.interceptor[1] = conf(DETECTOR, NULL, NULL);
    CU_ASSERT_PTR_NULL(sc_interceptor_check(&c, pool));
    c.interceptor[1] = conf(DISPATCH, NULL, NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(sc_interceptor_check(&c, pool), "twice"));
    c.ninterceptors = SC_INTERCEPTORS_MAX + 1;
    CU_ASSERT_PTR_NOT_NULL(strstr(sc_interceptor_check(&c, pool), "at most"));
}

/** Links that do not care are passed over, in both directions. */
static void test_passing(void)
{
    static const sc_interceptor_class_t nothing = {.name = "nothing"};
    sc_config_interceptor_t c = conf(DISPATCH, NULL, NULL);
    bench_t *b = bench(&c);
    sc_member_t m = member("a", 1);
    rig_end_t end = {0, APR_SUCCESS};
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    b->link[1].cls = &nothing;
    sc_pass_member_added(&b->link[2], &m);
    sc_pass_member_changed(&b->link[2], &m);
    sc_pass_member_suspected(&b->link[2], &m, 1);
    sc_pass_member_suspected(&b->link[2], &m, 0);
    sc_pass_member_gone(&b->link[2], &m, 0);
    sc_pass_member_gone(&b->link[2], &m, 1);
    sc_pass_settled(&b->link[2]);
    CU_ASSERT_EQUAL(sc_pass_received(&b->link[2], &p), APR_ENOTIMPL);
    expect(b, "+a ~a ?a .a -a !a =S m ");
    send_text(b, "x", 0, &end);
    CU_ASSERT_EQUAL(b->nsent, 1);
    end_open(&b->sent[0], APR_SUCCESS);
    b->link[1].cls = &sc_message_dispatch_class;
    bench_end(b);
}

static void test_stamp(void)
{
    sc_config_interceptor_t c = conf(DISPATCH, NULL, NULL);
    bench_t *b = bench(&c);
    sc_packet_t p;
    sc_packet_t q;

    memset(b->local.uid.b, 0x5A, sizeof(b->local.uid.b));
    b->serial = APR_UINT64_C(0xffffffff);
    memset(&p, 0, sizeof(p));
    q = p;
    sc_packet_stamp(&b->env, &p);
    sc_packet_stamp(&b->env, &q);
    CU_ASSERT_NOT_EQUAL(memcmp(&p.id, &q.id, sizeof(p.id)), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(&p.id, &b->local.uid, sizeof(p.id)), 0);
    CU_ASSERT_EQUAL(memcmp(&p.from.uid, &b->local.uid, sizeof(p.id)), 0);
    CU_ASSERT_EQUAL(p.timestamp_ms, 100000);
    bench_end(b);
}

/* ---- MessageDispatch ------------------------------------------------------------------------ */

static void test_dispatch(void)
{
    sc_config_interceptor_t c = conf(DISPATCH, NULL, NULL);
    bench_t *b = bench(&c);
    rig_end_t async = {0, APR_EGENERAL};
    rig_end_t sync = {0, APR_EGENERAL};

    send_text(b, "async", 8, &async);
    send_text(b, "sync", 6, &sync);
    CU_ASSERT_EQUAL(async.calls, 0); /* not from within the send */
    CU_ASSERT_EQUAL_FATAL(b->nsent, 2);
    CU_ASSERT_STRING_EQUAL(b->sent[0].text, "async"); /* order is kept */
    CU_ASSERT_STRING_EQUAL(b->sent[1].text, "sync");
    bench_run(b, 0);
    CU_ASSERT(async.calls == 1 && async.rv == APR_SUCCESS);
    CU_ASSERT_EQUAL(sync.calls, 0);
    end_open(&b->sent[0], APR_TIMEUP); /* the caller is told no second time */
    end_open(&b->sent[1], APR_TIMEUP);
    CU_ASSERT_EQUAL(async.calls, 1);
    CU_ASSERT(sync.calls == 1 && sync.rv == APR_TIMEUP);
    bench_end(b);
}

static void test_dispatch_bound(void)
{
    sc_config_interceptor_t c = conf(DISPATCH, "maxQueueSize", "10");
    bench_t *b = bench(&c);
    rig_end_t end[4];

    memset(end, 0, sizeof(end));
    send_text(b, "12345", 8, &end[0]);
    send_text(b, "12345", 8, &end[1]);
    send_text(b, "6", 8, &end[2]); /* alwaysSend: as if it were not asynchronous */
    bench_run(b, 0);
    CU_ASSERT(end[0].calls == 1 && end[1].calls == 1 && end[2].calls == 0);
    end_open(&b->sent[2], APR_EGENERAL);
    CU_ASSERT(end[2].calls == 1 && end[2].rv == APR_EGENERAL);
    end_open(&b->sent[0], APR_SUCCESS); /* room again */
    send_text(b, "6", 8, &end[3]);
    bench_run(b, 0);
    CU_ASSERT(end[3].calls == 1 && end[3].rv == APR_SUCCESS);
    bench_end(b);

    memset(end, 0, sizeof(end));
    strcpy(c.attr[1].name, "alwaysSend");
    strcpy(c.attr[1].value, "false");
    c.nattrs = 2;
    b = bench(&c);
    send_text(b, "1234567890", 8, &end[0]);
    send_text(b, "6", 8, &end[1]);
    CU_ASSERT_EQUAL(b->nsent, 1);
    CU_ASSERT_EQUAL(end[1].calls, 0);
    bench_run(b, 0);
    CU_ASSERT(end[1].calls == 1 && end[1].rv == APR_ENOSPC);
    send_text(b, "sync", 6, &end[2]); /* has nothing to do with it */
    CU_ASSERT_EQUAL(b->nsent, 2);
    bench_end(b);
}

static void test_dispatch_stop(void)
{
    sc_config_interceptor_t c = conf(DISPATCH, NULL, NULL);
    bench_t *b = bench(&c);
    rig_end_t end = {0, APR_EGENERAL};

    send_text(b, "async", 8, &end);
    bench_end(b);
    CU_ASSERT(end.calls == 1 && end.rv == APR_SUCCESS);
}

/* ---- TcpFailureDetector --------------------------------------------------------------------- */

static bench_t *detector(void)
{
    sc_config_interceptor_t c = conf(DETECTOR, NULL, NULL);

    return bench(&c);
}

static void joined(bench_t *b, const sc_member_t *m)
{
    sc_pass_member_added(&b->link[2], m);
    end_open(&b->probe[b->nprobes - 1], APR_SUCCESS);
    b->seen[0] = '\0';
}

static void test_detector_added(void)
{
    bench_t *b = detector();
    sc_member_t a = member("a", 1);
    sc_member_t c = member("c", 3);

    sc_pass_member_added(&b->link[2], &a);
    expect(b, "");
    CU_ASSERT_EQUAL(b->nprobes, 1);
    CU_ASSERT_TRUE(b->probe_packet);
    CU_ASSERT_EQUAL(b->probe_options, SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK); /* an answer */
    CU_ASSERT_EQUAL(b->probe_timeout, apr_time_from_sec(1));
    end_open(&b->probe[0], APR_SUCCESS);
    expect(b, "+a ");
    /* one that does not answer is asked each second, and welcome when it does */
    sc_pass_member_added(&b->link[2], &c);
    end_open(&b->probe[1], APR_TIMEUP);
    expect(b, "");
    sc_pass_member_changed(&b->link[2], &c); /* no business of anybody yet */
    expect(b, "");
    bench_run(b, apr_time_from_msec(1001));
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 3);
    bench_run(b, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(b->nprobes, 3);       /* no second one while one is on its way */
    end_open(&b->probe[2], APR_EGENERAL); /* a FAIL_ACK is an answer */
    expect(b, "+c ");
    sc_pass_member_changed(&b->link[2], &c);
    expect(b, "~c ");
    bench_run(b, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(b->nprobes, 3);
    /* gone before the probe has ended */
    c = member("d", 4);
    sc_pass_member_added(&b->link[2], &c);
    sc_pass_member_gone(&b->link[2], &c, 0);
    end_open(&b->probe[3], APR_SUCCESS);
    expect(b, "");
    bench_end(b);
}

static void test_detector_settled(void)
{
    bench_t *b = detector();
    sc_member_t a = member("a", 1);
    sc_member_t c = member("c", 3);

    sc_pass_settled(&b->link[2]);
    expect(b, "=S "); /* nobody to wait for */
    sc_pass_member_added(&b->link[2], &a);
    sc_pass_member_added(&b->link[2], &c);
    sc_pass_settled(&b->link[2]);
    expect(b, "");
    end_open(&b->probe[1], APR_TIMEUP);
    expect(b, "");
    end_open(&b->probe[0], APR_SUCCESS);
    expect(b, "+a =S ");
    bench_run(b, apr_time_from_sec(2));
    end_open(&b->probe[2], APR_SUCCESS);
    expect(b, "+c "); /* once is enough */
    /* the one that is waited for goes */
    a = member("e", 5);
    sc_pass_member_added(&b->link[2], &a);
    sc_pass_settled(&b->link[2]);
    sc_pass_member_gone(&b->link[2], &a, 1);
    expect(b, "=S ");
    bench_end(b);
}

static void test_detector_gone(void)
{
    bench_t *b = detector();
    sc_member_t a = member("a", 1);
    sc_member_t c = member("c", 3);

    joined(b, &a);
    joined(b, &c);
    sc_pass_member_gone(&b->link[2], &a, 1);
    expect(b, "!a "); /* it said so: nothing to verify */
    CU_ASSERT_EQUAL(b->nprobes, 2);
    sc_pass_member_gone(&b->link[2], &c, 0);
    expect(b, "?c ");
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 3);
    end_open(&b->probe[2], ECONNREFUSED);
    expect(b, "-c ");
    bench_run(b, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(b->nprobes, 3);
    sc_pass_member_gone(&b->link[2], &c, 0); /* unknown by now */
    expect(b, "");
    bench_end(b);
}

static void test_detector_suspect(void)
{
    bench_t *b = detector();
    sc_member_t a = member("a", 1);
    int i;

    joined(b, &a);
    sc_pass_member_gone(&b->link[2], &a, 0);
    end_open(&b->probe[1], APR_SUCCESS);
    expect(b, "?a "); /* kept */
    for (i = 2; i < 6; i++) {
        bench_run(b, apr_time_from_msec(1001));
        CU_ASSERT_EQUAL_FATAL(b->nprobes, i + 1);
        end_open(&b->probe[i], APR_SUCCESS);
    }
    expect(b, "");
    sc_pass_member_added(&b->link[2], &a); /* heard again */
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 7);
    b->seen[0] = '\0';
    end_open(&b->probe[6], APR_SUCCESS);
    expect(b, ".a ");
    bench_run(b, apr_time_from_sec(3));
    CU_ASSERT_EQUAL(b->nprobes, 7);
    /* and stops answering */
    sc_pass_member_gone(&b->link[2], &a, 0);
    end_open(&b->probe[7], APR_SUCCESS);
    expect(b, "?a ");
    bench_run(b, apr_time_from_msec(1001));
    end_open(&b->probe[8], APR_TIMEUP);
    expect(b, "-a ");
    bench_run(b, apr_time_from_sec(3));
    CU_ASSERT_EQUAL(b->nprobes, 9);
    bench_end(b);
}

static void test_detector_remove_suspects(void)
{
    sc_config_interceptor_t c = conf(DETECTOR, "removeSuspectsTimeout", "3");
    bench_t *b = bench(&c);
    sc_member_t a = member("a", 1);
    int i;

    joined(b, &a);
    sc_pass_member_gone(&b->link[2], &a, 0);
    for (i = 1; b->nprobes == i + 1; i++) {
        end_open(&b->probe[i], APR_SUCCESS);
        bench_run(b, apr_time_from_msec(1001));
    }
    CU_ASSERT_EQUAL(i, 5); /* asked at once, after 1, 2 and 3 seconds */
    expect(b, "?a -a ");
    bench_end(b);
}

/** Errors of our own say nothing about the other side. */
static void test_detector_own_fault(void)
{
    bench_t *b = detector();
    sc_member_t a = member("a", 1);

    joined(b, &a);
    sc_pass_member_gone(&b->link[2], &a, 0);
    end_open(&b->probe[1], EMFILE);
    expect(b, "?a ");
    bench_run(b, apr_time_from_msec(1001));
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 3);
    end_open(&b->probe[2], ECONNREFUSED);
    expect(b, "-a ");
    bench_end(b);
}

static void test_detector_send_failure(void)
{
    static const apr_status_t harmless[] = {APR_SUCCESS, APR_EGENERAL, APR_ECONNABORTED,
                                            APR_ENOSPC};
    bench_t *b = detector();
    sc_member_t a = member("a", 1);
    rig_end_t end = {0, APR_SUCCESS};
    apr_size_t i;

    joined(b, &a);
    for (i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        send_text(b, "x", 6, &end);
        end_open(&b->sent[b->nsent - 1], harmless[i]);
        CU_ASSERT_EQUAL(end.rv, harmless[i]);
    }
    CU_ASSERT_EQUAL(end.calls, 4);
    CU_ASSERT_EQUAL(b->nprobes, 1);
    expect(b, "");
    send_text(b, "x", 6, &end);
    send_text(b, "x", 6, &end);
    end_open(&b->sent[b->nsent - 2], APR_TIMEUP);
    end_open(&b->sent[b->nsent - 1], APR_TIMEUP);
    CU_ASSERT_EQUAL(end.rv, APR_TIMEUP);
    expect(b, "?a ");
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 2); /* one for both */
    end_open(&b->probe[1], APR_SUCCESS);
    expect(b, ".a ");
    send_text(b, "x", 6, &end);
    end_open(&b->sent[b->nsent - 1], ECONNRESET);
    end_open(&b->probe[2], APR_TIMEUP);
    expect(b, "?a -a ");
    /* membership still hears it: it is asked again, and comes back */
    bench_run(b, apr_time_from_msec(1001));
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 4);
    end_open(&b->probe[3], APR_SUCCESS);
    expect(b, "+a ");
    bench_end(b);
}

/** A probe got lost while the member stood still; it has acknowledged something since. */
static void test_detector_acknowledged(void)
{
    bench_t *b = detector();
    sc_member_t a = member("a", 1);
    rig_end_t end = {0, APR_SUCCESS};
    int i;

    joined(b, &a);
    for (i = 0; i < 4; i++) {
        send_text(b, "x", 6, &end);
    }
    send_text(b, "x", SC_OPT_ASYNCHRONOUS, &end);
    end_open(&b->sent[0], APR_SUCCESS); /* before the probe begins: proves nothing */
    bench_run(b, apr_time_from_msec(1));
    end_open(&b->sent[1], APR_TIMEUP);
    expect(b, "?a ");
    bench_run(b, apr_time_from_msec(10));
    end_open(&b->sent[2], APR_SUCCESS);
    bench_run(b, apr_time_from_msec(10));
    end_open(&b->probe[1], APR_TIMEUP);
    expect(b, "");
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 3); /* once more, at once */
    bench_run(b, apr_time_from_msec(10));
    end_open(&b->sent[4], APR_SUCCESS); /* it has left, and that is all that is known of it */
    end_open(&b->probe[2], APR_TIMEUP);
    expect(b, "-a ");
    bench_run(b, apr_time_from_msec(1001));
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 4);
    end_open(&b->probe[3], APR_SUCCESS);
    expect(b, "+a ");
    /* who refuses is gone, whatever he acknowledged */
    end_open(&b->sent[3], ECONNRESET);
    send_text(b, "x", 6, &end);
    bench_run(b, apr_time_from_msec(10));
    end_open(&b->sent[5], APR_SUCCESS);
    end_open(&b->probe[4], ECONNREFUSED);
    expect(b, "?a -a ");
    bench_end(b);
}

/** The next life of a member: its probe would be answered by the new one. */
static void test_detector_replaced(void)
{
    bench_t *b = detector();
    sc_member_t old = member("a", 1);
    sc_member_t same_address = member("b", 1);
    sc_member_t same_store = member("c", 9);
    sc_member_t same_route = member("c", 12);

    joined(b, &old);
    same_address.uid.b[3] = 1;
    sc_pass_member_gone(&b->link[2], &old, 0);
    sc_pass_member_added(&b->link[2], &same_address);
    expect(b, "?a ");
    end_open(&b->probe[1], APR_SUCCESS); /* of the old one: the new one has answered */
    expect(b, "");
    end_open(&b->probe[2], APR_SUCCESS);
    expect(b, "-a +b ");
    same_store.store_id = same_address.store_id;
    sc_pass_member_gone(&b->link[2], &same_address, 0);
    sc_pass_member_added(&b->link[2], &same_store);
    expect(b, "?b ");
    end_open(&b->probe[4], APR_SUCCESS);
    expect(b, "-b +c ");
    sc_pass_member_gone(&b->link[2], &same_store, 0);
    sc_pass_member_added(&b->link[2], &same_route);
    expect(b, "?c ");
    /* one that does not answer takes nobody's place */
    end_open(&b->probe[6], ECONNREFUSED);
    end_open(&b->probe[5], APR_SUCCESS);
    expect(b, "");
    bench_end(b);
}

static void test_detector_probe_kinds(void)
{
    sc_config_interceptor_t c = conf(DETECTOR, "performReadTest", "false");
    bench_t *b;
    sc_member_t a = member("a", 1);

    b = bench(&c);
    sc_pass_member_added(&b->link[2], &a);
    CU_ASSERT_TRUE(b->probe_packet);
    CU_ASSERT_EQUAL(b->probe_options, SC_OPT_BYTE_MESSAGE);
    CU_ASSERT_EQUAL(b->probe_timeout, apr_time_from_sec(1));
    bench_end(b);
    strcpy(c.attr[1].name, "performSendTest");
    strcpy(c.attr[1].value, "false");
    c.nattrs = 2;
    CU_ASSERT_PTR_NULL(sc_tcp_failure_detector_class.check(&c, pool));
    b = bench(&c);
    sc_pass_member_added(&b->link[2], &a);
    CU_ASSERT_FALSE(b->probe_packet);
    bench_end(b);
}

/** Asked from above, by TcpPing. */
static void test_detector_verify(void)
{
    sc_config_interceptor_t c = conf(DETECTOR, "optionFlag", "512");
    bench_t *b = bench(&c);
    sc_member_t a = member("a", 1);
    sc_member_t d = member("d", 4);

    joined(b, &a);
    sc_pass_member_added(&b->link[2], &d); /* its first probe has not ended */
    CU_ASSERT_EQUAL(b->probe_options, 512 | SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK);
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 2);
    CU_ASSERT_EQUAL(sc_pass_verify(&b->link[0]), 1);
    CU_ASSERT_EQUAL_FATAL(b->nprobes, 3);
    CU_ASSERT_STRING_EQUAL(b->probe[2].text, "a");
    CU_ASSERT_EQUAL(sc_pass_verify(&b->link[0]), 1);
    CU_ASSERT_EQUAL(b->nprobes, 3); /* one at a time */
    expect(b, "");
    end_open(&b->probe[2], APR_SUCCESS);
    expect(b, "");
    sc_pass_verify(&b->link[0]);
    end_open(&b->probe[3], APR_TIMEUP);
    expect(b, "-a ");
    CU_ASSERT_EQUAL(sc_pass_verify(&b->link[1]), 0); /* nobody below */
    bench_end(b);
}

/** The probe of Tomcat and of ours is swallowed, nothing else is. */
static void test_detector_received(void)
{
    bench_t *b = detector();
    apr_size_t len = 0;
    unsigned char *frame = rig_vector("tcp-failure-detector-probe.bin", &len);
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_parser_t parser;
    sc_packet_t p;
    apr_size_t n;

    CU_ASSERT_PTR_NOT_NULL_FATAL(frame);
    sc_parser_init(&parser, 65536);
    sc_put(&parser.in, frame, len);
    CU_ASSERT_EQUAL_FATAL(sc_parser_next(&parser, &kind, &data, &n), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_packet_get(&p, data, n), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_pass_received(&b->link[2], &p), APR_SUCCESS);
    expect(b, "");
    p.body_len--;
    CU_ASSERT_EQUAL(sc_pass_received(&b->link[2], &p), APR_ENOTIMPL);
    p.body++;
    CU_ASSERT_EQUAL(sc_pass_received(&b->link[2], &p), APR_ENOTIMPL);
    expect(b, "m m ");
    sc_parser_free(&parser);
    free(frame);
    bench_end(b);
}

void sc_suite_interceptor(void)
{
    CU_pSuite s = CU_add_suite("interceptor", suite_init, suite_cleanup);

    CU_add_test(s, "what a configuration may say", test_check);
    CU_add_test(s, "links that do not care are passed over", test_passing);
    CU_add_test(s, "every message has an id of its own", test_stamp);
    CU_add_test(s, "MessageDispatch: done at once, order kept", test_dispatch);
    CU_add_test(s, "MessageDispatch: the bound", test_dispatch_bound);
    CU_add_test(s, "MessageDispatch: stop", test_dispatch_stop);
    CU_add_test(s, "TcpFailureDetector: added", test_detector_added);
    CU_add_test(s, "TcpFailureDetector: settled waits for probes", test_detector_settled);
    CU_add_test(s, "TcpFailureDetector: gone", test_detector_gone);
    CU_add_test(s, "TcpFailureDetector: a suspect", test_detector_suspect);
    CU_add_test(s, "TcpFailureDetector: a suspect for too long", test_detector_remove_suspects);
    CU_add_test(s, "TcpFailureDetector: errors of our own", test_detector_own_fault);
    CU_add_test(s, "TcpFailureDetector: a send fails", test_detector_send_failure);
    CU_add_test(s, "TcpFailureDetector: something is acknowledged", test_detector_acknowledged);
    CU_add_test(s, "TcpFailureDetector: the next life", test_detector_replaced);
    CU_add_test(s, "TcpFailureDetector: kinds of probes", test_detector_probe_kinds);
    CU_add_test(s, "TcpFailureDetector: asked from above", test_detector_verify);
    CU_add_test(s, "TcpFailureDetector: probes of others", test_detector_received);
}
