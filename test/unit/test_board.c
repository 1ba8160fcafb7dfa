/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The noticeboard: views that are whole whoever looks, peers, names.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <apr_strings.h>

#include <CUnit/CUnit.h>

#include "store_rig.h"

void sc_suite_board(void);

static sc_board_member_t member(const char *route, apr_uint32_t role, apr_uint32_t state)
{
    sc_board_member_t m;

    memset(&m, 0, sizeof(m));
    apr_cpystrn(m.route, route, sizeof(m.route));
    apr_cpystrn(m.host, "127.0.0.1", sizeof(m.host));
    apr_cpystrn(m.url, "http://127.0.0.1:8080", sizeof(m.url));
    m.port = 4000;
    m.role = role;
    m.state = state;
    m.node_state = SC_NODE_READY;
    m.queued_bytes = 0x123456789abcull;
    m.since = 5;
    m.heard = 6;
    return m;
}

/* Set field by field, on whatever the memory held before. */
static void set_all_fields(sc_view_t *v, apr_uint32_t x)
{
    apr_uint32_t i;
    apr_size_t k;

    CU_ASSERT(sizeof(v->member[0].route) == sizeof(v->member[0].host) &&
              sizeof(v->member[0].route) == sizeof(v->member[0].domain));

    v->count = SC_MEMBERS_MAX;
    v->gen = x;
    v->changes = x + 1;
    v->reserved = 0;
    for (k = 0; k < sizeof(v->coordinator); k++) {
        v->coordinator[k] = 'c';
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        sc_board_member_t *m = &v->member[i];

        for (k = 0; k < sizeof(m->route); k++) {
            m->route[k] = m->host[k] = m->domain[k] = 'r';
            m->uid.b[k % sizeof(m->uid)] = 'i';
        }
        for (k = 0; k < sizeof(m->url); k++) {
            m->url[k] = 'u';
        }
        m->port = x + 2;
        m->role = x + 3;
        m->state = x + 4;
        m->node_state = x + 5;
        m->self = x + 6;
        m->flags = x + 7;
        m->lagging = x + 8;
        m->leased = x + 9;
        m->queued = x + 10;
        m->foreign = x + 14;
        m->weight = x + 15;
        m->lbset = x + 16;
        m->queued_bytes = x + 11;
        m->since = x + 12;
        m->heard = x + 13;
        m->owes = x + 17;
    }
}

/* Equal views are equal bytes: there is nothing in one that is no field. */
static void test_no_padding(void)
{
    static sc_view_t a, b;

    memset(&a, 0x55, sizeof(a));
    memset(&b, 0xAA, sizeof(b));
    set_all_fields(&a, 7);
    set_all_fields(&b, 7);
    CU_ASSERT(memcmp(&a, &b, sizeof(a)) == 0);
    b.member[SC_MEMBERS_MAX - 1].leased++;
    CU_ASSERT(memcmp(&a, &b, sizeof(a)) != 0);
}

/* Every word of the board that is read with sc_board_get lies on its own border in the mapping. */
static void test_alignment(void)
{
    apr_pool_t *pool;
    sc_store_t *store;
    sc_board_t *b;

    apr_pool_create(&pool, NULL);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&store, SC_STORE_MIN, pool), APR_SUCCESS);
    b = sc_store_board(store);
#define ON_BORDER(word) CU_ASSERT_EQUAL((apr_uintptr_t) & (word) % sizeof(word), 0)
    ON_BORDER(b->engine_pid);
    ON_BORDER(b->engine_started);
    ON_BORDER(b->node_state);
    ON_BORDER(b->quorum_lost);
    ON_BORDER(b->lease_until);
    ON_BORDER(b->hlc);
    ON_BORDER(b->hlc_at);
    ON_BORDER(b->restarts);
    ON_BORDER(b->transfer_total);
    ON_BORDER(b->short_copies);
    ON_BORDER(b->moving);
    ON_BORDER(b->view_gen);
    ON_BORDER(b->peer[1].lsn);
    ON_BORDER(b->view[1].member[1].queued_bytes);
    ON_BORDER(b->view[1].member[1].heard);
#define SC_X(name) ON_BORDER(b->count.name);
    SC_COUNTERS(SC_X)
#undef SC_X
#undef ON_BORDER
    apr_pool_destroy(pool);
}

static void test_view(void)
{
    sc_board_t *board = calloc(1, sizeof(*board));
    sc_view_t *in = calloc(1, sizeof(*in)), *out = malloc(sizeof(*out));
    apr_uint32_t i;

    memset(out, 0xAA, sizeof(*out));
    CU_ASSERT_EQUAL(sc_board_view(board, out), APR_SUCCESS);
    CU_ASSERT(out->count == 0 && out->gen == 0 && out->member[5].route[0] == '\0');
    for (i = 1; i <= 5; i++) {
        in->count = i;
        in->gen = 1000;
        in->member[i - 1] = member(i % 2 ? "odd" : "even", SC_ROLE_NODE, SC_MEMBER_ALIVE);
        sc_board_publish(board, in);
        CU_ASSERT_EQUAL(sc_board_view_gen(board), i);
        memset(out, 0xAA, sizeof(*out));
        CU_ASSERT_EQUAL(sc_board_view(board, out), APR_SUCCESS);
        CU_ASSERT_EQUAL(out->count, i);
        CU_ASSERT_EQUAL(out->gen, i);
        CU_ASSERT(memcmp(out->member, in->member, i * sizeof(in->member[0])) == 0);
        CU_ASSERT(out->member[i].port == 0 && out->member[SC_MEMBERS_MAX - 1].heard == 0);
    }
    /* fewer members than before: nothing of the old ones shines through */
    in->count = 1;
    sc_board_publish(board, in);
    CU_ASSERT_EQUAL(sc_board_view(board, out), APR_SUCCESS);
    CU_ASSERT(out->count == 1 && out->member[1].port == 0);
    /* a full one */
    in->count = SC_MEMBERS_MAX;
    sc_board_publish(board, in);
    CU_ASSERT_EQUAL(sc_board_view(board, out), APR_SUCCESS);
    CU_ASSERT_EQUAL(out->count, SC_MEMBERS_MAX);
    /* more than fits: cut off */
    in->count = SC_MEMBERS_MAX + 1;
    sc_board_publish(board, in);
    CU_ASSERT_EQUAL(sc_board_view(board, out), APR_SUCCESS);
    CU_ASSERT_EQUAL(out->count, SC_MEMBERS_MAX);
    /* the generation may run over */
    board->view_gen = 0xffffffffu;
    in->count = 2;
    sc_board_publish(board, in);
    CU_ASSERT_EQUAL(sc_board_view_gen(board), 0);
    CU_ASSERT_EQUAL(sc_board_view(board, out), APR_SUCCESS);
    CU_ASSERT_EQUAL(out->count, 2);
    free(board);
    free(in);
    free(out);
}

static void test_route_alive(void)
{
    sc_board_t *board = calloc(1, sizeof(*board));
    sc_view_t *v = calloc(1, sizeof(*v));
    char longest[SC_ROUTE_MAX + 2];
    apr_uint32_t i;

    memset(longest, 'x', sizeof(longest));
    longest[SC_ROUTE_MAX] = '\0';
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n1", 2), 0);
    v->member[0] = member("n1", SC_ROLE_NODE, SC_MEMBER_ALIVE);
    v->member[1] = member("n2", SC_ROLE_NODE, SC_MEMBER_SUSPECT);
    v->member[2] = member("n3", SC_ROLE_NODE, SC_MEMBER_GONE);
    v->member[3] = member("lb", SC_ROLE_BALANCER, SC_MEMBER_ALIVE);
    v->member[4] = member("", SC_ROLE_NODE, SC_MEMBER_ALIVE);
    v->member[5] = member(longest, SC_ROLE_NODE, SC_MEMBER_ALIVE);
    v->member[6] = member("back", SC_ROLE_NODE, SC_MEMBER_GONE); /* its former life */
    v->member[7] = member("back", SC_ROLE_NODE, SC_MEMBER_ALIVE);
    v->member[8] = member("cut", SC_ROLE_NODE, SC_MEMBER_ALIVE);
    v->member[8].node_state = SC_NODE_MINORITY;
    for (i = SC_NODE_DOWN; i <= SC_NODE_LEAVING; i++) { /* none of these make a difference */
        v->member[9 + i] = member("state", SC_ROLE_NODE, SC_MEMBER_ALIVE);
        v->member[9 + i].route[5] = (char)('0' + i);
        v->member[9 + i].node_state = i;
    }
    v->count = 9 + i;
    sc_board_publish(board, v);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "cut", 3), 0);
    for (i = SC_NODE_DOWN; i <= SC_NODE_LEAVING; i++) {
        char name[7] = "state?";

        name[5] = (char)('0' + i);
        CU_ASSERT_EQUAL(sc_board_route_alive(board, name, 6), 1);
    }
    v->member[8].node_state = SC_NODE_READY;
    sc_board_publish(board, v);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "cut", 3), 1);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n1", 2), 1);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n1.and more", 2), 1);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n", 1), 0);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n12", 3), 0);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n2", 2), 0);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n3", 2), 0);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "lb", 2), 0);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "", 0), 0);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n1\0", 3), 0);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, longest, SC_ROUTE_MAX), 1);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, longest, SC_ROUTE_MAX + 1), 0);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "back", 4), 1);
    v->count = 0;
    sc_board_publish(board, v);
    CU_ASSERT_EQUAL(sc_board_route_alive(board, "n1", 2), 0);
    free(board);
    free(v);
}

static void test_route_state(void)
{
    sc_board_t *board = calloc(1, sizeof(*board));
    sc_view_t *v = calloc(1, sizeof(*v));

    CU_ASSERT_EQUAL(sc_board_route_state(board, "n1", 2), SC_NODE_DOWN);
    CU_ASSERT(!sc_board_any_passing(board));
    CU_ASSERT(!sc_board_any_node(board));
    v->member[0] = member("n1", SC_ROLE_NODE, SC_MEMBER_ALIVE);
    v->member[0].node_state = SC_NODE_READY;
    v->member[0].self = 1;
    v->member[1] = member("lb", SC_ROLE_BALANCER, SC_MEMBER_ALIVE);
    v->member[1].node_state = SC_NODE_JOINING;
    v->member[2] = member("n2", SC_ROLE_NODE, SC_MEMBER_GONE);
    v->member[2].node_state = SC_NODE_LEAVING;
    v->count = 3;
    sc_board_publish(board, v);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "n1", 2), SC_NODE_READY);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "n2", 2), SC_NODE_DOWN);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "lb", 2), SC_NODE_DOWN);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "", 0), SC_NODE_DOWN);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "n1\0", 3), SC_NODE_DOWN);
    CU_ASSERT(!sc_board_any_passing(board)); /* neither balancers nor the dead count */
    CU_ASSERT(!sc_board_any_node(board));    /* nor does this node itself */
    v->member[2].state = SC_MEMBER_SUSPECT;
    sc_board_publish(board, v);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "n2", 2), SC_NODE_LEAVING);
    CU_ASSERT(sc_board_any_passing(board));
    CU_ASSERT(!sc_board_any_node(board));
    v->member[3] = member("n2", SC_ROLE_NODE, SC_MEMBER_ALIVE); /* its next life */
    v->member[3].node_state = SC_NODE_JOINING;
    v->member[2].since = v->member[3].since + 1; /* suspect since */
    v->count = 4;
    sc_board_publish(board, v);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "n2", 2), SC_NODE_JOINING);
    CU_ASSERT(sc_board_any_node(board));
    v->member[2].state = SC_MEMBER_ALIVE;
    sc_board_publish(board, v);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "n2", 2), SC_NODE_LEAVING);
    v->member[2].node_state = v->member[3].node_state = SC_NODE_READY;
    sc_board_publish(board, v);
    CU_ASSERT(!sc_board_any_passing(board));
    v->member[0].node_state = SC_NODE_DRAINING;
    sc_board_publish(board, v);
    CU_ASSERT_EQUAL(sc_board_route_state(board, "n1", 2), SC_NODE_DRAINING);
    CU_ASSERT(sc_board_any_passing(board));
    CU_ASSERT(sc_board_route_alive(board, "n1", 2)); /* it still answers */
    free(board);
    free(v);
}

static void test_ways(void)
{
    sc_board_t *board = calloc(1, sizeof(*board));
    sc_board_way_t in, out, got_in, got_out;

    memset(&in, 'i', sizeof(in)); /* texts without an end */
    memset(&out, 'o', sizeof(out));
    CU_ASSERT_EQUAL(sc_board_ways(board, &got_in, &got_out), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(got_in.file, "");
    sc_board_set_ways(board, &in, &out);
    CU_ASSERT_EQUAL(sc_board_ways(board, &got_in, &got_out), APR_SUCCESS);
    CU_ASSERT_EQUAL(strlen(got_in.file), sizeof(in.file) - 1);
    CU_ASSERT_EQUAL(strlen(got_in.who), sizeof(in.who) - 1);
    CU_ASSERT_EQUAL(strlen(got_out.file), sizeof(in.file) - 1);
    CU_ASSERT_EQUAL(strlen(got_out.who), sizeof(in.who) - 1);
    CU_ASSERT(got_in.file[0] == 'i' && got_out.who[0] == 'o' && got_out.size == out.size);
    board->deploy.way_gen |= 1; /* an engine was killed there */
    CU_ASSERT_EQUAL(sc_board_ways(board, &got_in, &got_out), APR_EAGAIN);
    CU_ASSERT(got_in.file[0] == '\0' && got_out.file[0] == '\0' && got_out.size == 0);
    sc_board_set_ways(board, NULL, &out);
    CU_ASSERT_EQUAL(sc_board_ways(board, &got_in, &got_out), APR_SUCCESS);
    CU_ASSERT(got_in.file[0] == '\0' && got_out.file[0] == 'o');
    free(board);
}

static void test_peers(void)
{
    sc_board_t *board = calloc(1, sizeof(*board));
    apr_uint64_t i;

    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 0), 0);
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 77), 0);
    sc_board_peer_set(board, 0, 5, 1);
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 0), 0);
    sc_board_peer_set(board, 77, 10, 100);
    sc_board_peer_set(board, 77, 9, 101); /* never lowered */
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 77), 10);
    sc_board_peer_set(board, 77, 11, 102);
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 77), 11);
    for (i = 1; i < SC_PEERS_MAX; i++) {
        sc_board_peer_set(board, 1000 + i, i, (apr_time_t)(200 + i));
    }
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 77), 11);
    sc_board_peer_set(board, 1001, 0, 5000); /* a sign of life alone keeps the entry, too */
    sc_board_peer_set(board, 9999, 3, 6000); /* takes the place of 77, the oldest */
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 9999), 3);
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 77), 0);
    sc_board_peer_set(board, 9998, 3, 6001); /* 1002 now, for 1001 was used */
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 1002), 0);
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 1001), 1);
    CU_ASSERT_EQUAL(sc_board_peer_lsn(board, 1003), 3);
    free(board);
}

static void test_counters_and_names(void)
{
    sc_board_t *board = calloc(1, sizeof(*board));

    sc_count(board, created, 2);
    sc_count(board, created, 3);
    sc_count(board, link_refused, 1);
    CU_ASSERT_EQUAL(sc_board_get(board->count.created), 5);
    CU_ASSERT_EQUAL(sc_board_get(board->count.link_refused), 1);
    CU_ASSERT_EQUAL(sc_board_get(board->count.changed), 0);
    CU_ASSERT_STRING_EQUAL(sc_node_state_name(SC_NODE_DOWN), "down");
    CU_ASSERT_STRING_EQUAL(sc_node_state_name(SC_NODE_READY), "ready");
    CU_ASSERT_STRING_EQUAL(sc_node_state_name(SC_NODE_LEAVING), "leaving");
    CU_ASSERT_STRING_EQUAL(sc_node_state_name(SC_NODE_MINORITY), "minority");
    CU_ASSERT_STRING_EQUAL(sc_node_state_name(SC_NODE_DRAINING), "draining");
    CU_ASSERT_STRING_EQUAL(sc_node_state_name(SC_NODE_DRAINING + 1), "unknown");
    CU_ASSERT_STRING_EQUAL(sc_node_state_name(99), "unknown");
    CU_ASSERT_STRING_EQUAL(sc_member_state_name(SC_MEMBER_ALIVE), "alive");
    CU_ASSERT_STRING_EQUAL(sc_member_state_name(SC_MEMBER_GONE), "gone");
    CU_ASSERT_STRING_EQUAL(sc_member_state_name(3), "unknown");
    free(board);
}

/* ---- one publisher, many readers, kills ------------------------------------------------------ */

enum { VIEWS = 20000, CHILDREN = 2, LIVES = 20 };

/* A view all of whose parts follow from one number. */
static void compose(sc_view_t *v, apr_uint32_t x)
{
    apr_uint32_t i;

    v->count = 1 + x % SC_MEMBERS_MAX;
    for (i = 0; i < v->count; i++) {
        v->member[i] = member("node", SC_ROLE_NODE, x % 3);
        v->member[i].port = x;
        v->member[i].heard = (apr_time_t)x << 20;
        apr_snprintf(v->member[i].route, sizeof(v->member[i].route), "node%u", x);
    }
}

/* Returns the number a view was composed of, 0 when its parts do not fit together. */
static apr_uint32_t decompose(const sc_view_t *v)
{
    apr_uint32_t x = v->member[0].port, i;
    char route[SC_ROUTE_MAX + 1];

    if (x == 0 || v->count != 1 + x % SC_MEMBERS_MAX) {
        return 0;
    }
    apr_snprintf(route, sizeof(route), "node%u", x);
    for (i = 0; i < v->count; i++) {
        const sc_board_member_t *m = &v->member[i];
        if (m->port != x || m->heard != (apr_time_t)x << 20 || m->state != x % 3 ||
            strcmp(m->route, route) != 0) {
            return 0;
        }
    }
    return x;
}

static void publish_until_killed(sc_board_t *board, apr_uint32_t x)
{
    static sc_view_t v;

    alarm(120);
    for (;;) {
        compose(&v, ++x);
        sc_board_publish(board, &v);
    }
}

static void read_views(const sc_board_t *board)
{
    static sc_view_t v;
    apr_uint32_t last = 0;
    int i, again = 0;

    alarm(120);
    for (i = 0; i < VIEWS; i++) {
        apr_status_t rv = sc_board_view(board, &v);

        if (i % 16 == 0) {
            sched_yield();
        }
        if (rv == APR_EAGAIN) {
            again++;
            continue;
        }
        if (rv != APR_SUCCESS || decompose(&v) == 0) {
            _exit(1);
        }
        if ((apr_int32_t)(v.gen - last) < 0) {
            _exit(2); /* back in time */
        }
        last = v.gen;
        (void)sc_board_route_alive(board, "node7", 5);
    }
    _exit(again < VIEWS / 2 ? 0 : 3);
}

static void test_view_is_whole(void)
{
    sc_board_t *board =
        mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static sc_view_t v;
    pid_t reader[CHILDREN], publisher;
    unsigned int seed = 3;
    int i;

    CU_ASSERT_FATAL(board != MAP_FAILED);
    compose(&v, 1);
    sc_board_publish(board, &v);
    for (i = 0; i < CHILDREN; i++) {
        reader[i] = fork();
        if (reader[i] == 0) {
            read_views(board);
        }
    }
    /* publishers are killed in the middle again and again; the view on the board stays whole */
    for (i = 0; i < LIVES; i++) {
        apr_uint32_t target = sc_board_view_gen(board) + 1 + (apr_uint32_t)rand_r(&seed) % 500;
        apr_time_t deadline = apr_time_now() + apr_time_from_sec(60);

        publisher = fork();
        if (publisher == 0) {
            publish_until_killed(board, (apr_uint32_t)i * 1000000u + 1);
        }
        while ((apr_int32_t)(sc_board_view_gen(board) - target) < 0 && apr_time_now() < deadline) {
            sched_yield();
        }
        kill(publisher, SIGKILL);
        CU_ASSERT_EQUAL(rig_wait(publisher), 128 + SIGKILL);
        CU_ASSERT_EQUAL(sc_board_view(board, &v), APR_SUCCESS);
        CU_ASSERT_NOT_EQUAL(decompose(&v), 0);
        CU_ASSERT_EQUAL(v.gen, sc_board_view_gen(board));
    }
    for (i = 0; i < CHILDREN; i++) {
        CU_ASSERT_EQUAL(rig_wait(reader[i]), 0);
    }
    munmap(board, sizeof(*board));
}

void sc_suite_board(void)
{
    CU_pSuite s = CU_add_suite("board", NULL, NULL);

    CU_add_test(s, "view: no padding", test_no_padding);
    CU_add_test(s, "board: words on their borders", test_alignment);
    CU_add_test(s, "view: published and copied", test_view);
    CU_add_test(s, "route alive", test_route_alive);
    CU_add_test(s, "state of a route", test_route_state);
    CU_add_test(s, "deployed files on their way", test_ways);
    CU_add_test(s, "peers", test_peers);
    CU_add_test(s, "counters and names", test_counters_and_names);
    CU_add_test(s, "view: whole under publication and kills", test_view_is_whole);
}
