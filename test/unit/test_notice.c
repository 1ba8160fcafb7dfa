/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The ring of notices, what the engine puts there, and rates.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <apr_strings.h>

#include <CUnit/CUnit.h>

#include "../../src/engine/notices.h"
#include "store_rig.h"

void sc_suite_notice(void);

static sc_notice_t got[SC_NOTICES_MAX];

#define SECOND APR_USEC_PER_SEC

static void test_order(void)
{
    sc_notices_t *ring = calloc(1, sizeof(*ring));
    char name[16];
    int i;

    CU_ASSERT_EQUAL(sc_notices_read(ring, got), 0);
    sc_notice_add(ring, 7 * SECOND, SC_NOTICE_joined, "n2", 5);
    CU_ASSERT_EQUAL_FATAL(sc_notices_read(ring, got), 1);
    CU_ASSERT_EQUAL(got[0].seq, 1);
    CU_ASSERT_EQUAL(got[0].kind, SC_NOTICE_joined);
    CU_ASSERT_EQUAL(got[0].first, 7 * SECOND);
    CU_ASSERT_EQUAL(got[0].last, 7 * SECOND);
    CU_ASSERT_EQUAL(got[0].number, 5);
    CU_ASSERT_EQUAL(got[0].times, 1);
    CU_ASSERT_STRING_EQUAL(got[0].who, "n2");
    for (i = 2; i <= 3 * SC_NOTICES_MAX; i++) {
        apr_snprintf(name, sizeof(name), "n%d", i);
        sc_notice_add(ring, i * SECOND, SC_NOTICE_gone, name, 0);
    }
    /* the newest ones, in order */
    CU_ASSERT_EQUAL(sc_notices_read(ring, got), SC_NOTICES_MAX);
    for (i = 0; i < SC_NOTICES_MAX; i++) {
        CU_ASSERT_EQUAL(got[i].seq, (apr_uint64_t)(3 * SC_NOTICES_MAX - i));
    }
    free(ring);
}

static void test_alike(void)
{
    sc_notices_t *ring = calloc(1, sizeof(*ring));
    int i;

    for (i = 1; i <= 100; i++) {
        sc_notice_add(ring, i * SECOND, SC_NOTICE_lease_lost, NULL, (apr_uint64_t)i);
        sc_notice_add(ring, i * SECOND, SC_NOTICE_lease_back, NULL, 0);
    }
    CU_ASSERT_EQUAL_FATAL(sc_notices_read(ring, got), 2);
    CU_ASSERT_EQUAL(got[1].kind, SC_NOTICE_lease_lost);
    CU_ASSERT_EQUAL(got[1].times, 100);
    CU_ASSERT_EQUAL(got[1].first, SECOND);
    CU_ASSERT_EQUAL(got[1].last, 100 * SECOND);
    CU_ASSERT_EQUAL(got[1].number, 100);
    /* another member, another kind, and a minute later are something else */
    sc_notice_add(ring, 100 * SECOND, SC_NOTICE_lease_lost, "n1", 0);
    sc_notice_add(ring, 100 * SECOND, SC_NOTICE_gone, NULL, 0);
    sc_notice_add(ring, 160 * SECOND, SC_NOTICE_lease_back, NULL, 0);
    CU_ASSERT_EQUAL(sc_notices_read(ring, got), 5);
    /* and so is what a clock that was set back says */
    sc_notice_add(ring, 10 * SECOND, SC_NOTICE_lease_back, NULL, 0);
    CU_ASSERT_EQUAL(sc_notices_read(ring, got), 6);
    free(ring);
}

static void test_long_name(void)
{
    sc_notices_t *ring = calloc(1, sizeof(*ring));
    char name[200];

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    sc_notice_add(ring, SECOND, SC_NOTICE_joined, name, 0);
    CU_ASSERT_EQUAL_FATAL(sc_notices_read(ring, got), 1);
    CU_ASSERT_EQUAL(strlen(got[0].who), SC_NOTICE_WHO - 1);
    /* whatever stands in the memory, what is read ends */
    memset(ring->entry[1].who, 'y', sizeof(ring->entry[1].who));
    CU_ASSERT_EQUAL_FATAL(sc_notices_read(ring, got), 1);
    CU_ASSERT_EQUAL(strlen(got[0].who), SC_NOTICE_WHO - 1);
    free(ring);
}

static void test_names(void)
{
    CU_ASSERT_STRING_EQUAL(sc_notice_name(SC_NOTICE_NONE), "unknown");
    CU_ASSERT_STRING_EQUAL(sc_notice_name(SC_NOTICE_engine_started), "engine_started");
    CU_ASSERT_STRING_EQUAL(sc_notice_name(SC_NOTICE_transfer_failed), "transfer_failed");
    CU_ASSERT_STRING_EQUAL(sc_notice_name(SC_NOTICE_KINDS), "unknown");
    CU_ASSERT_STRING_EQUAL(sc_notice_name(99999), "unknown");
}

/* ---- read while it is written ---------------------------------------------------------------- */

/* Everything in an entry follows from its number. */
static void write_for_ever(sc_notices_t *ring)
{
    char name[SC_NOTICE_WHO];

    for (;;) {
        apr_uint64_t n = ring->last + 1;

        memset(name, 'a' + (int)(n % 26), sizeof(name) - 1);
        name[n % (sizeof(name) - 1)] = '\0';
        sc_notice_add(ring, (apr_time_t)n, 1 + n % 7, name, n);
    }
}

static int is_torn(const sc_notice_t *n)
{
    apr_uint64_t seq = n->number;
    apr_size_t len = seq % (SC_NOTICE_WHO - 1), i;

    for (i = 0; i < len; i++) {
        if (n->who[i] != (char)('a' + (int)(seq % 26))) {
            return 1;
        }
    }
    return n->seq != seq || n->last != (apr_time_t)seq || n->kind != 1 + seq % 7 ||
           strlen(n->who) != len;
}

static void test_whole(void)
{
    sc_notices_t *ring =
        mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int life, i, k, n, torn = 0, read = 0;

    CU_ASSERT_FATAL(ring != MAP_FAILED);
    /* writers are killed in the middle again and again; what can be read is whole */
    for (life = 0; life < 20; life++) {
        apr_uint64_t target = __atomic_load_n(&ring->last, __ATOMIC_RELAXED) + 200;
        apr_time_t deadline = apr_time_now() + apr_time_from_sec(30);
        pid_t writer = fork();

        if (writer == 0) {
            write_for_ever(ring);
        }
        for (i = 0; (i < 200 || __atomic_load_n(&ring->last, __ATOMIC_RELAXED) < target) &&
                    apr_time_now() < deadline;
             i++) {
            n = sc_notices_read(ring, got);
            read += n;
            for (k = 0; k < n; k++) {
                torn += is_torn(&got[k]);
            }
        }
        kill(writer, SIGKILL);
        CU_ASSERT_EQUAL(rig_wait(writer), 128 + SIGKILL);
    }
    CU_ASSERT_EQUAL(torn, 0);
    CU_ASSERT(read > 0);
    CU_ASSERT(sc_notices_read(ring, got) >= SC_NOTICES_MAX - 2);
    munmap(ring, sizeof(*ring));
}

/* ---- views ----------------------------------------------------------------------------------- */

static sc_view_t before, after;
static sc_notices_t ring_of_views;

static sc_board_member_t *add(sc_view_t *view, const char *route, unsigned char uid)
{
    sc_board_member_t *m = &view->member[view->count++];

    memset(m, 0, sizeof(*m));
    apr_cpystrn(m->route, route, sizeof(m->route));
    apr_cpystrn(m->host, "10.0.0.1", sizeof(m->host));
    m->port = 4000u + uid;
    memset(m->uid.b, uid, sizeof(m->uid.b));
    m->role = *route ? SC_ROLE_NODE : SC_ROLE_BALANCER;
    m->node_state = SC_NODE_READY;
    return m;
}

/* @return "kind who, kind who", the oldest first */
static const char *compare(const sc_uid_t *goodbye)
{
    static char text[512];
    static const sc_uid_t nobody;
    int n;

    memset(&ring_of_views, 0, sizeof(ring_of_views));
    sc_notices_of_views(&ring_of_views, SECOND, &before, &after, goodbye ? goodbye : &nobody);
    n = sc_notices_read(&ring_of_views, got);
    text[0] = '\0';
    while (n-- > 0) {
        apr_size_t at = strlen(text);

        apr_snprintf(text + at, sizeof(text) - at, "%s%s %s", at ? ", " : "",
                     sc_notice_name(got[n].kind), got[n].who);
    }
    return text;
}

static void reset(void)
{
    memset(&before, 0, sizeof(before));
    memset(&after, 0, sizeof(after));
    add(&before, "n1", 1)->self = 1;
    add(&after, "n1", 1)->self = 1;
}

static void test_views(void)
{
    sc_board_member_t *m;

    reset();
    CU_ASSERT_STRING_EQUAL(compare(NULL), "");
    m = add(&after, "n2", 2);
    m->node_state = SC_NODE_JOINING;
    CU_ASSERT_STRING_EQUAL(compare(NULL), "joined n2, joining n2");
    before = after;
    m->node_state = SC_NODE_READY;
    CU_ASSERT_STRING_EQUAL(compare(NULL), "ready n2");
    before = after;
    m->state = SC_MEMBER_SUSPECT;
    CU_ASSERT_STRING_EQUAL(compare(NULL), "suspected n2");
    before = after;
    m->state = SC_MEMBER_ALIVE;
    m->node_state = SC_NODE_DRAINING;
    CU_ASSERT_STRING_EQUAL(compare(NULL), "recovered n2, draining n2");
    before = after;
    m->state = SC_MEMBER_GONE;
    CU_ASSERT_STRING_EQUAL(compare(NULL), "gone n2");
    CU_ASSERT_STRING_EQUAL(compare(&m->uid), "left n2");
    before = after;
    CU_ASSERT_STRING_EQUAL(compare(NULL), ""); /* told once */
    m->state = SC_MEMBER_ALIVE;
    CU_ASSERT_STRING_EQUAL(compare(NULL), "joined n2");
    /* another life in its place */
    reset();
    (void)add(&before, "n2", 2);
    (void)add(&after, "n2", 3);
    CU_ASSERT_STRING_EQUAL(compare(NULL), "gone n2, joined n2, ready n2");
    /* this node itself does not join, but its state is told */
    reset();
    before.count = 0;
    CU_ASSERT_STRING_EQUAL(compare(NULL), "ready ");
    /* a balancer has no route, and is not kept when it is gone */
    reset();
    (void)add(&before, "", 9);
    CU_ASSERT_STRING_EQUAL(compare(NULL), "gone 10.0.0.1:4009");
    /* Tomcats that have not been heard are told apart by their place */
    reset();
    m = add(&before, "t1", 0);
    m->foreign = 1;
    m = add(&after, "t1", 0);
    m->foreign = 1;
    m->state = SC_MEMBER_GONE;
    CU_ASSERT_STRING_EQUAL(compare(NULL), "gone t1");
}

/* ---- rates ----------------------------------------------------------------------------------- */

static void test_rates(void)
{
    sc_board_t *board = calloc(1, sizeof(*board));
    sc_samples_t *s = calloc(1, sizeof(*s));
    int i;

    sc_samples_take(s, board, 1000 * SECOND);
    CU_ASSERT_EQUAL(board->rates.span, 0);
    for (i = 1; i <= 5; i++) {
        sc_count(board, changed, 3);
        sc_samples_take(s, board, (1000 + i) * SECOND);
    }
    CU_ASSERT_EQUAL(board->rates.span, 5 * SECOND);
    CU_ASSERT_EQUAL(board->rates.changed, 15);
    for (i = 6; i <= 200; i++) {
        sc_count(board, changed, 3);
        sc_count(board, bytes_in, 100);
        sc_samples_take(s, board, (1000 + i) * SECOND);
    }
    CU_ASSERT_EQUAL(board->rates.span, SC_SAMPLES * SECOND);
    CU_ASSERT_EQUAL(board->rates.changed, 3 * SC_SAMPLES);
    CU_ASSERT_EQUAL(board->rates.bytes_in, 100 * SC_SAMPLES);
    CU_ASSERT_EQUAL(board->rates.created, 0);
    free(s);
    free(board);
}

void sc_suite_notice(void)
{
    CU_pSuite s = CU_add_suite("notice", NULL, NULL);

    CU_add_test(s, "order", test_order);
    CU_add_test(s, "what repeats itself", test_alike);
    CU_add_test(s, "long names", test_long_name);
    CU_add_test(s, "names of kinds", test_names);
    CU_add_test(s, "whole under writers that are killed", test_whole);
    CU_add_test(s, "what differs between views", test_views);
    CU_add_test(s, "rates", test_rates);
}
