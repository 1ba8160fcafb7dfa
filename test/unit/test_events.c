/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What listeners are told: by the store, by both managers on a network, by the queue of the engine.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"
#include "sc_events.h"
#include "store_rig.h"

void sc_suite_events(void);

/* ---- the store ------------------------------------------------------------------------------- */

typedef struct seen_t {
    int n;
    int had, has; /* of the last call */
    sc_record_t before, after;
} seen_t;

static void watch(void *baton, const sc_record_t *before, const sc_record_t *after)
{
    seen_t *seen = baton;

    seen->n++;
    seen->had = before != NULL;
    seen->has = after != NULL;
    if (before != NULL) {
        seen->before = *before;
    }
    if (after != NULL) {
        seen->after = *after;
    }
}

static void test_watch(void)
{
    net_t *net = net_create(1, NULL);
    sc_store_t *store;
    sc_record_t rec;
    sc_id_t id = net_id(7);
    apr_uint16_t context, route;
    seen_t seen = {0};

    net_join(net, 0, 0);
    store = net->node[0].store;
    CU_ASSERT_EQUAL_FATAL(sc_store_context(store, "shop", 4, 1, &context), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_route(store, "other", 5, 1, &route), APR_SUCCESS);
    sc_store_watch(store, watch, &seen);
    memset(&rec, 0, sizeof(rec));
    rec.id = id;
    rec.context = context;
    CU_ASSERT_EQUAL(sc_store_put(store, &rec, "", 0), APR_SUCCESS);
    CU_ASSERT(seen.n == 1 && !seen.had && seen.has && seen.after.flags == 0);
    CU_ASSERT(memcmp(&seen.after.id, &id, sizeof(id)) == 0);
    rec.epoch = 5;
    CU_ASSERT_EQUAL(sc_store_put(store, &rec, "", 0), APR_SUCCESS);
    CU_ASSERT(seen.n == 2 && seen.had && seen.has && seen.before.epoch == 0);
    CU_ASSERT_EQUAL(seen.after.epoch, 5);
    CU_ASSERT_EQUAL(sc_store_set_location(store, context, &id, route, NULL, 0, 6), APR_SUCCESS);
    CU_ASSERT(seen.n == 3 && seen.before.primary != route && seen.after.primary == route);
    /* what changes nothing that anybody would want to know */
    CU_ASSERT_EQUAL(sc_store_touch(store, context, &id, 1, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_store_promise(store, context, &id, 7), APR_SUCCESS);
    rec.context = 999;
    CU_ASSERT_EQUAL(sc_store_put(store, &rec, "", 0), APR_EINVAL);
    CU_ASSERT_EQUAL(seen.n, 3);
    CU_ASSERT_EQUAL(sc_store_remove(store, context, &id), APR_SUCCESS);
    CU_ASSERT(seen.n == 4 && seen.had && !seen.has);
    CU_ASSERT_EQUAL(sc_store_remove(store, context, &id), APR_NOTFOUND);
    CU_ASSERT_EQUAL(seen.n, 4);
    sc_store_watch(store, NULL, NULL);
    rec.context = context;
    CU_ASSERT_EQUAL(sc_store_put(store, &rec, "", 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(seen.n, 4);
    net_destroy(net);
}

/* ---- managers -------------------------------------------------------------------------------- */

#define HEARD_MAX 64

static struct {
    int n;
    int node[HEARD_MAX];
    sc_session_event_t event[HEARD_MAX];
} heard;

static void hear(net_t *net, int node, const sc_session_event_t *event)
{
    (void)net;
    if (heard.n < HEARD_MAX) {
        heard.node[heard.n] = node;
        heard.event[heard.n++] = *event;
    }
}

static int times(int node, sc_session_what_t what, sc_session_reason_t reason, apr_uint32_t number)
{
    sc_id_t id = net_id(number);
    int i, n = 0;

    for (i = 0; i < heard.n; i++) {
        const sc_session_event_t *e = &heard.event[i];

        n += heard.node[i] == node && e->what == what && e->reason == reason &&
             memcmp(&e->id, &id, sizeof(id)) == 0 && strcmp(e->context, NET_CONTEXT) == 0;
    }
    return n;
}

static int told(int node)
{
    int i, n = 0;

    for (i = 0; i < heard.n; i++) {
        n += heard.node[i] == node;
    }
    return n;
}

static void notify_tweak(sc_config_t *c, int index)
{
    c->delta.notify_replicated = index == 1;
    c->delta.expire_on_shutdown = 1;
}

static void notify_backup(sc_config_t *c, int index)
{
    backup_tweak(c, index);
    notify_tweak(c, index);
}

/* Of three nodes the first makes the sessions; only the second one wants to hear of others'. */
static net_t *listening(int backup)
{
    net_t *net;
    int i;

    memset(&heard, 0, sizeof(heard));
    backup_copies = 2;
    net = net_create(3, backup ? notify_backup : notify_tweak);
    net->heard = hear;
    for (i = 0; i < 3; i++) {
        net_join(net, i, 0);
        CU_ASSERT(net_wait_ready(net, 5000));
    }
    net_run(net, 3000);
    CU_ASSERT_EQUAL(heard.n, 0);
    return net;
}

static void check_events(int backup)
{
    net_t *net = listening(backup);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_run(net, 100);
    CU_ASSERT_EQUAL(times(1, SC_SESSION_CREATED, SC_GONE_NOT, 1), 1);
    CU_ASSERT_STRING_EQUAL(heard.event[0].primary, "n1");
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 1, "a", "2"), SC_DONE);
    net_run(net, 100);
    CU_ASSERT_EQUAL(times(1, SC_SESSION_CHANGED, SC_GONE_NOT, 1), 1);
    CU_ASSERT_EQUAL(net_outcome(net, net_change_id(net, 0, 1, 2, 0, "b", "1")), SC_DONE);
    net_run(net, 100);
    CU_ASSERT_EQUAL(times(1, SC_SESSION_CREATED, SC_GONE_NOT, 2), 1);
    CU_ASSERT_EQUAL(times(1, SC_SESSION_DESTROYED, SC_GONE_RENAMED, 1), 1);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 2)), SC_DONE);
    net_run(net, 100);
    CU_ASSERT_EQUAL(times(1, SC_SESSION_DESTROYED, SC_GONE_INVALIDATED, 2), 1);
    /* children tell what they did themselves; the third node does not want to know of others */
    CU_ASSERT_EQUAL(told(0), 0);
    CU_ASSERT_EQUAL(told(2), 0);

    net_make_idle(net, 0, 3, 2);
    net_run(net, 10000);
    CU_ASSERT_EQUAL(times(0, SC_SESSION_DESTROYED, SC_GONE_IDLE, 3), 1);
    CU_ASSERT_EQUAL(times(1, SC_SESSION_DESTROYED, SC_GONE_IDLE, 3), 1);
    CU_ASSERT_EQUAL(told(2), 0);

    CU_ASSERT_EQUAL(net_set(net, 2, SC_CHANGE_NEW, 4, "a", "1"), SC_DONE);
    net_run(net, 100);
    sc_manager_stop(net->node[2].m);
    net_run(net, 1000);
    CU_ASSERT_EQUAL(times(2, SC_SESSION_DESTROYED, SC_GONE_SHUTDOWN, 4), 1);
    CU_ASSERT_EQUAL(times(1, SC_SESSION_DESTROYED, SC_GONE_INVALIDATED, 4), 1);
    net_destroy(net);
}

static void test_delta(void)
{
    check_events(0);
}

static void test_backup(void)
{
    check_events(1);
}

static void check_primary(int backup)
{
    net_t *net = listening(backup);
    int i;

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_crash(net, 0, 1);
    net_run(net, 5000);
    (void)net_outcome(net, net_takeover(net, 1, 1));
    net_run(net, 5000);
    for (i = heard.n - 1; i >= 0 && heard.event[i].what != SC_SESSION_PRIMARY; i--) {
    }
    CU_ASSERT_FATAL(i >= 0); /* the last one, if it has changed twice */
    i = heard.node[i];
    CU_ASSERT_EQUAL(times(i, SC_SESSION_PRIMARY, SC_GONE_NOT, 1), 1);
    CU_ASSERT_STRING_EQUAL(net_primary(net, i, 1), net->node[i].config.route);
    net_destroy(net);
}

static void test_primary(void)
{
    check_primary(0);
    check_primary(1);
}

/* Whoever loses that role hears of it; with the delta manager whoever changed it last has it. */
static void test_moved(void)
{
    net_t *net = listening(0);

    CU_ASSERT_EQUAL(net_set(net, 0, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 2, 0, 1, "a", "2"), SC_DONE);
    net_run(net, 100);
    CU_ASSERT_EQUAL(times(0, SC_SESSION_DESTROYED, SC_GONE_MOVED, 1), 1);
    CU_ASSERT_EQUAL(times(2, SC_SESSION_PRIMARY, SC_GONE_NOT, 1), 1);
    CU_ASSERT_EQUAL(told(0) + told(2), 2);
    net_destroy(net);
}

/* ---- the queue ------------------------------------------------------------------------------- */

typedef struct listener_t {
    sc_loop_t *loop;
    apr_uint32_t n;
    apr_uint32_t wrong;             /* not in their order */
    apr_time_t sleep;               /* of each call */
    apr_uint32_t turns, most, turn; /* of the loop; events in one */
    sc_board_t board;
} listener_t;

static void tell(void *baton, const sc_told_t *what)
{
    listener_t *l = baton;
    sc_id_t id = net_id(l->n + 1);

    l->wrong +=
        what->happened != SC_HAPPENED_SESSION || memcmp(&what->session->id, &id, sizeof(id)) != 0 ||
        strcmp(what->session->context, "shop") != 0 || strcmp(what->session->primary, "n1") != 0;
    l->n++;
    l->turn++;
    apr_sleep(l->sleep);
}

static void fill(sc_events_t *q, apr_uint32_t from, apr_uint32_t n)
{
    char context[] = "shop", primary[] = "n1";
    sc_session_event_t e = {0};
    apr_uint32_t i;

    e.context = context;
    e.primary = primary;
    for (i = from; i < from + n; i++) {
        e.id = net_id(i);
        sc_events_session(q, &e);
    }
    memset(context, 'x', 4); /* they have been copied */
    memset(primary, 'x', 2);
}

static void silent(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    int *n = ctx;

    (void)level;
    (void)rv;
    *n += strstr(line, "SC1061") != NULL;
}

static void test_queue(void)
{
    listener_t l = {0};
    int logged = 0;
    sc_log_t log = {&logged, SC_LOG_NOTICE, silent};
    apr_pool_t *pool;
    sc_events_t *q;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_loop_create(&l.loop, 8, &sc_clock_system, pool), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_events_create(&q, l.loop, &log, &l.board, tell, &l, pool),
                          APR_SUCCESS);
    fill(q, 1, 40);
    CU_ASSERT_EQUAL(l.n, 0); /* not before there is time */
    l.sleep = apr_time_from_msec(1);
    while (l.n < 40 && l.turns < 1000) {
        l.turn = 0;
        (void)sc_loop_once(l.loop, apr_time_from_msec(100));
        l.turns++;
        l.most = l.turn > l.most ? l.turn : l.most;
    }
    CU_ASSERT_EQUAL(l.n, 40);
    CU_ASSERT(l.most <= 3); /* others have their turn in between */
    l.sleep = 0;
    fill(q, 41, SC_EVENTS_MAX + 10);
    CU_ASSERT_EQUAL(l.board.count.events_lost, 10);
    CU_ASSERT_EQUAL(logged, 1);
    sc_events_flush(q, apr_time_from_sec(10));
    CU_ASSERT_EQUAL(l.n, 40 + SC_EVENTS_MAX);
    CU_ASSERT_EQUAL(l.board.count.events_told, 40 + SC_EVENTS_MAX);
    CU_ASSERT_EQUAL(l.wrong, 0);
    (void)sc_loop_once(l.loop, 0);
    CU_ASSERT_EQUAL(l.n, 40 + SC_EVENTS_MAX);
    apr_pool_destroy(pool);
}

void sc_suite_events(void)
{
    CU_pSuite s = CU_add_suite("events", NULL, NULL);

    CU_add_test(s, "the store tells who watches", test_watch);
    CU_add_test(s, "delta manager", test_delta);
    CU_add_test(s, "backup manager", test_backup);
    CU_add_test(s, "a new primary", test_primary);
    CU_add_test(s, "a former primary", test_moved);
    CU_add_test(s, "the queue", test_queue);
}
