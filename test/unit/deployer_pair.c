/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The engine's side: a real process on the other end of the pair. It is made, told, killed,
 * stopped; what it does not take is bounded, and another one follows. The loop's clock can be moved
 * forward.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include <apr_strings.h>

#include "deployer_rig.h"
#include "../../src/deployer/pair.h"

typedef struct world_t {
    rig_t rig; /* for its folders */
    sc_loop_t *loop;
    sc_clock_t clock;
    apr_interval_time_t skew;
    sc_config_t config;
    sc_board_t board;
    sc_deployer_env_t env;
    int begun, ended;
    int hellos;
    int packets[256];
    int refuse; /* 1: no message can be sent */
    sc_sent_fn_t *done[64];
    void *batons[64];
    int under_way;
    sc_version_t listed; /* the last entry of the last LIST */
} world_t;

static apr_time_t clock_mono(void *ctx)
{
    return sc_mono(&sc_clock_system) + ((world_t *)ctx)->skew;
}

static apr_time_t clock_wall(void *ctx)
{
    (void)ctx;
    return sc_wall(&sc_clock_system);
}

static apr_status_t world_send(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                               sc_sent_fn_t *done, void *baton)
{
    world_t *w = ctx;
    sc_deploy_msg_t m;

    CU_ASSERT_EQUAL(to->port, 4001);
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, bytes, len), APR_SUCCESS);
    w->hellos += m.event == SC_DEPLOY_HELLO;
    w->packets[m.event]++;
    if (m.event == SC_DEPLOY_LIST) {
        char name[SC_DEPLOY_NAME_MAX + 1];
        sc_version_t v;

        while (sc_deploy_entry_get(&m.entries, name, &v) == APR_SUCCESS) {
            w->listed = v;
        }
    }
    if (w->refuse || w->under_way == 64) {
        return APR_NOTFOUND;
    }
    w->done[w->under_way] = done;
    w->batons[w->under_way++] = baton;
    return APR_SUCCESS;
}

static world_t *world_begin(void)
{
    world_t *w = calloc(1, sizeof(*w));

    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    farms_begin(&w->rig, 0, 1);
    w->clock.ctx = w;
    w->clock.mono = clock_mono;
    w->clock.wall = clock_wall;
    CU_ASSERT_EQUAL_FATAL(sc_loop_create(&w->loop, 16, &w->clock, w->rig.pool), APR_SUCCESS);
    w->config.deployer = w->rig.at[0].config;
    w->config.secret.count = 1;
    w->env.config = &w->config;
    w->env.loop = w->loop;
    w->env.log = &w->rig.log;
    w->env.board = &w->board;
    w->env.ctx = w;
    w->env.send = world_send;
    return w;
}

static void world_end(world_t *w)
{
    farms_end(&w->rig);
    free(w);
}

/** Run the loop until it is so. @return 0 when that did not happen within 20 s */
static int until(world_t *w, const int *value, int at_least)
{
    apr_time_t end = apr_time_now() + apr_time_from_sec(20);

    while (*value < at_least && apr_time_now() < end) {
        (void)sc_loop_once(w->loop, apr_time_from_msec(10));
    }
    return *value >= at_least;
}

static void pair_begun(void *baton)
{
    ((world_t *)baton)->begun++;
}

static void pair_ended(void *baton)
{
    ((world_t *)baton)->ended++;
}

static void pair_packet(void *baton, unsigned int what, const unsigned char *bytes, apr_size_t len)
{
    (void)bytes;
    (void)len;
    ((world_t *)baton)->packets[what]++;
}

static void wait_for_end(pid_t pid)
{
    int i;

    for (i = 0; i < 1000 && waitpid(pid, NULL, WNOHANG) == 0; i++) {
        usleep(10000);
    }
    CU_ASSERT(i < 1000);
}

static void test_process(void)
{
    world_t *w = world_begin();
    sc_pair_up_t up = {w, pair_begun, pair_ended, pair_packet};
    sc_pair_t *p = calloc(1, sizeof(*p));
    char bytes[1000] = "";
    pid_t pid;
    int i;

    sc_pair_init(p, &w->env, &up, w->rig.pool);
    sc_pair_tell(p, SC_DEPLOY_LEFT, 1, NULL, 0); /* nobody is there: nothing happens */
    sc_pair_start(p);
    CU_ASSERT_EQUAL(w->begun, 1);
    sc_pair_tell(p, SC_DEPLOY_JOINED, 1, "n1", 2);
    CU_ASSERT(until(w, &w->packets[SC_DEPLOY_SEND], 1)); /* it greets */

    /* killed: followed by another one, not at once since it lived short */
    pid = p->pid;
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    CU_ASSERT(until(w, &w->ended, 1));
    sc_pair_tell(p, SC_DEPLOY_LEFT, 1, NULL, 0);
    CU_ASSERT_EQUAL(w->begun, 1);
    w->skew += apr_time_from_sec(31);
    CU_ASSERT(until(w, &w->begun, 2));
    CU_ASSERT(p->pid != pid && p->fd >= 0);

    /* stopped: what it does not take is bounded */
    pid = p->pid;
    w->skew += apr_time_from_sec(31);
    CU_ASSERT_EQUAL(kill(pid, SIGSTOP), 0);
    for (i = 0; i < 20000; i++) {
        sc_pair_tell(p, SC_DEPLOY_MESSAGE, 1, bytes, sizeof(bytes));
    }
    CU_ASSERT(p->queued > 1024 * 1024 && p->queued < 3 * 1024 * 1024);
    CU_ASSERT_EQUAL(w->ended, 1);
    for (i = 0; i < 20000 && w->ended == 1; i++) { /* news of members is never dropped */
        sc_pair_tell(p, SC_DEPLOY_JOINED, 1, bytes, sizeof(bytes));
    }
    CU_ASSERT_EQUAL(w->ended, 2);
    CU_ASSERT(p->queued == 0 && p->fd < 0);
    w->skew += apr_time_from_sec(31);
    CU_ASSERT(until(w, &w->begun, 3));

    pid = p->pid;
    sc_pair_stop(p);
    CU_ASSERT_EQUAL(w->ended, 3);
    wait_for_end(pid);
    w->skew += apr_time_from_sec(100);
    (void)sc_loop_once(w->loop, 1000);
    CU_ASSERT_EQUAL(w->begun, 3);
    free(p);
    world_end(w);
}

static void test_deployer(void)
{
    world_t *w = world_begin();
    unsigned char message[200] = {'S', 'C', 'D', '1', 1, 99};
    sc_deployer_t *d;
    sc_member_t m, stranger;
    sc_board_way_t in, out;
    int i;

    memset(&m, 0, sizeof(m));
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "127.0.0.1"), APR_SUCCESS);
    m.port = 4001;
    stranger = m;
    stranger.port = 4002;
    w->config.secret.count = 0;
    CU_ASSERT_EQUAL(sc_deployer_create(&d, &w->env, w->rig.pool), APR_EINVAL);
    w->config.secret.count = 1;
    w->board.count.deploy_refused = 40;        /* of engines before */
    w->board.deploy.command = SC_COMMAND_RUNS; /* in one of these: nobody knows its end */
    w->board.deploy.batch_at = 5;
    w->board.deploy.way_gen = 7; /* which was killed there */
    CU_ASSERT_EQUAL_FATAL(sc_deployer_create(&d, &w->env, w->rig.pool), APR_SUCCESS);
    sc_deployer_member_added(d, &m); /* before there is a process */
    sc_deployer_start(d);
    CU_ASSERT(until(w, &w->hellos, 1));
    CU_ASSERT_EQUAL(w->board.deploy.on, 1);

    sc_deployer_message(d, &stranger, message, sizeof(message));
    sc_deployer_message(d, &m, message, sizeof(message)); /* of a later version */
    for (i = 0; i < 500 && w->board.count.deploy_refused != 41; i++) {
        (void)sc_loop_once(w->loop, apr_time_from_msec(20));
    }
    CU_ASSERT_EQUAL(w->board.count.deploy_refused, 41);
    CU_ASSERT_EQUAL(w->board.deploy.command, SC_COMMAND_NONE);
    CU_ASSERT_EQUAL(w->board.deploy.batch_at, 5);
    CU_ASSERT_EQUAL(sc_board_ways(&w->board, &in, &out), APR_SUCCESS);
    CU_ASSERT(in.file[0] == '\0' && out.file[0] == '\0');
    {
        unsigned char *large = calloc(1, SC_DEPLOY_PACKET_MAX);

        sc_deployer_message(d, &m, large, SC_DEPLOY_PACKET_MAX);
        free(large);
    }
    CU_ASSERT_EQUAL(w->board.count.deploy_refused, 42);

    /* it leaves while something is on its way to it, and the end of that comes later */
    sc_deployer_member_gone(d, &m);
    sc_deployer_member_added(d, &m);
    CU_ASSERT(until(w, &w->hellos, 2));
    w->refuse = 1;
    sc_deployer_member_gone(d, &m);
    sc_deployer_member_added(d, &m);
    CU_ASSERT(until(w, &w->hellos, 3));
    sc_deployer_stop(d);
    CU_ASSERT_EQUAL(w->board.deploy.on, 0);
    while (w->under_way > 0) {
        w->under_way--;
        w->done[w->under_way](w->batons[w->under_way], APR_ECONNABORTED);
    }
    (void)waitpid(-1, NULL, 0);
    world_end(w);
}

/** All that was under way has left. */
static void all_sent(world_t *w)
{
    while (w->under_way > 0) {
        w->under_way--;
        w->done[w->under_way](w->batons[w->under_way], APR_SUCCESS);
    }
}

/** Two blocks are asked for. @return how many of them are given before the first one has left */
static int given_at_once(world_t *w, sc_deployer_t *d, const sc_member_t *m)
{
    int before = w->packets[SC_DEPLOY_BLOCK];
    int lists = w->packets[SC_DEPLOY_LIST];
    int given;
    sc_buf_t b;
    int i;

    sc_buf_init(&b, SC_DEPLOY_PACKET_MAX);
    for (i = 0; i < 2; i++) {
        sc_deploy_put_ask_block(&b, "a", w->listed.sha, (apr_uint64_t)i * RIG_BLOCK, RIG_BLOCK);
        sc_deployer_message(d, m, b.data, b.len);
    }
    CU_ASSERT(until(w, &w->packets[SC_DEPLOY_BLOCK], before + 1));
    /* it reads so many messages in a row at most: what it can do has been done when it has answered
     */
    for (i = 0; i < 40; i++) {
        sc_deploy_put_ask(&b, "");
        sc_deployer_message(d, m, b.data, b.len);
        CU_ASSERT(until(w, &w->packets[SC_DEPLOY_LIST], ++lists));
    }
    given = w->packets[SC_DEPLOY_BLOCK] - before;
    all_sent(w);
    CU_ASSERT(until(w, &w->packets[SC_DEPLOY_BLOCK], before + 2));
    all_sent(w);
    sc_buf_free(&b);
    return given;
}

/** In which no session changes. */
static void quiet_seconds(world_t *w)
{
    int i;

    for (i = 0; i < 3; i++) {
        w->skew += apr_time_from_msec(1100);
        (void)sc_loop_once(w->loop, 1000);
    }
}

/** The process hears whether sessions are written, and that they are not any more. */
static void test_busy(void)
{
    world_t *w = world_begin();
    sc_deployer_t *d;
    sc_member_t m;
    apr_time_t end;
    sc_buf_t b;

    memset(&m, 0, sizeof(m));
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "127.0.0.1"), APR_SUCCESS);
    m.port = 4001;
    end = apr_time_now() + apr_time_from_sec(30);
    w->board.count.changed = 1000; /* of engines before */
    farms_put(&w->rig, 0, "a", 2 * RIG_BLOCK, 1);
    CU_ASSERT_EQUAL_FATAL(sc_deployer_create(&d, &w->env, w->rig.pool), APR_SUCCESS);
    sc_deployer_start(d);
    sc_deployer_member_added(d, &m);
    sc_buf_init(&b, SC_DEPLOY_PACKET_MAX);
    while (w->listed.kind != SC_DEPLOY_FILE && apr_time_now() < end) {
        int lists = w->packets[SC_DEPLOY_LIST];

        sc_deploy_put_ask(&b, "");
        sc_deployer_message(d, &m, b.data, b.len);
        CU_ASSERT_FATAL(until(w, &w->packets[SC_DEPLOY_LIST], lists + 1));
        all_sent(w);
        (void)sc_loop_once(w->loop, apr_time_from_msec(100));
    }
    CU_ASSERT_EQUAL_FATAL(w->listed.kind, SC_DEPLOY_FILE);

    CU_ASSERT_EQUAL(given_at_once(w, d, &m), 2);
    w->board.count.changed += 5;
    CU_ASSERT_EQUAL(given_at_once(w, d, &m), 1);
    quiet_seconds(w);
    CU_ASSERT_EQUAL(given_at_once(w, d, &m), 2);
    w->board.count.applied += 5; /* others' changes */
    CU_ASSERT_EQUAL(given_at_once(w, d, &m), 1);
    quiet_seconds(w);
    w->board.count.touches += 5;
    CU_ASSERT_EQUAL(given_at_once(w, d, &m), 2);
    sc_buf_free(&b);
    sc_deployer_stop(d);
    all_sent(w);
    (void)waitpid(-1, NULL, 0);
    world_end(w);
}

void deployer_add_pair(void)
{
    CU_pSuite s = CU_add_suite("deployer: engine", NULL, NULL);

    CU_add_test(s, "the process", test_process);
    CU_add_test(s, "messages", test_deployer);
    CU_add_test(s, "sessions are written", test_busy);
}
