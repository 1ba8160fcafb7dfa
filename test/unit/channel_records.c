/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Part of the channel's tests: what becomes of records when envelopes get lost, come twice, or
 * cannot be delivered, and of messages that are none of ours.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"

void sc_suite_channel_records(CU_pSuite s);

#define SYNC (SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK)

/* ---- records -------------------------------------------------------------------------------- */

static void test_post(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_end_t end = {0, APR_EGENERAL};

    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "a", SYNC, rig_ended, &end), APR_SUCCESS);
    CU_ASSERT_EQUAL(end.calls, 0);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(end.calls, 1);
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(rig->node[1].seen.all, "a ");
    CU_ASSERT_EQUAL(rig->node[1].seen.lsn, 1);
    CU_ASSERT_EQUAL(rig->node[1].seen.gaps, 0);
    /* to nobody */
    CU_ASSERT_EQUAL(sc_channel_post(rig->node[0].channel, sc_channel_local(rig->node[0].channel),
                                    "x", 1, SYNC, rig_ended, &end),
                    APR_NOTFOUND);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(end.calls, 1);
    /* an empty record is one */
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "", SYNC, NULL, NULL), APR_SUCCESS);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig->node[1].seen.records, 2);
    rig_destroy(rig);
}

/** What waits for a member goes in one frame, in order. */
static void test_group_commit(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_end_t end[100];
    char text[16];
    int i;

    memset(end, 0, sizeof(end));
    for (i = 0; i < 50; i++) { /* in one round of the loop */
        snprintf(text, sizeof(text), "%d", i);
        CU_ASSERT_EQUAL(rig_post(rig, 0, 1, text, SYNC, rig_ended, &end[i]), APR_SUCCESS);
    }
    rig_run(rig, RIG_MS(1)); /* in flight */
    CU_ASSERT_EQUAL(rig->node[0].data_frames, 1);
    for (i = 50; i < 100; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CU_ASSERT_EQUAL(rig_post(rig, 0, 1, text, SYNC, rig_ended, &end[i]), APR_SUCCESS);
    }
    rig_run(rig, RIG_MS(20));
    CU_ASSERT_EQUAL(rig->node[0].data_frames, 2);
    CU_ASSERT_EQUAL(rig->node[1].seen.records, 100);
    CU_ASSERT_EQUAL(strncmp(rig->node[1].seen.all, "0 1 2 3 4 5 6 7 8 9 10 ", 23), 0);
    CU_ASSERT_STRING_EQUAL(rig->node[1].seen.last, "99");
    for (i = 0; i < 100; i++) {
        CU_ASSERT(end[i].calls == 1 && end[i].rv == APR_SUCCESS);
    }
    rig_destroy(rig);
}

/** What the most demanding record of an envelope wants, the envelope asks for. */
static void test_options(void)
{
    static const struct {
        apr_uint32_t a;
        apr_uint32_t b;
        apr_uint32_t wire;
    } cases[] = {
        {4, 4, 4 | 1}, {6, 6, 6 | 1},    {8, 8, 8 | 1},  {10, 10, 10 | 1}, {8, 10, 10 | 1},
        {6, 8, 6 | 1}, {8, 6, 6 | 1},    {2, 4, 6 | 1},  {10, 6, 6 | 1},   {8, 4, 4 | 1},
        {2, 2, 2 | 1}, {0x62, 2, 2 | 1}, {10, 2, 2 | 1},
    };
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rig_end_t a = {0, APR_EGENERAL};
        rig_end_t b = {0, APR_EGENERAL};

        rig_post(rig, 0, 1, "a", cases[i].a, rig_ended, &a);
        rig_post(rig, 0, 1, "b", cases[i].b, rig_ended, &b);
        CU_ASSERT_EQUAL(a.calls, 0);
        rig_run(rig, 0);
        /* asynchronous: done when queued; the others when the frame's end is known */
        CU_ASSERT_EQUAL(a.calls, (cases[i].a & 8) != 0);
        CU_ASSERT_EQUAL(b.calls, (cases[i].b & 8) != 0);
        rig_run(rig, RIG_MS(20));
        CU_ASSERT_EQUAL(rig->node[0].last_options, cases[i].wire);
        CU_ASSERT(a.calls == 1 && a.rv == APR_SUCCESS && b.calls == 1 && b.rv == APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(rig->node[1].seen.records, 2 * (int)i);
    rig_destroy(rig);
}

static void test_lost_envelope(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *a = &rig->node[0];
    rig_node_t *b = &rig->node[1];
    rig_end_t end = {0, APR_SUCCESS};

    rig_post(rig, 0, 1, "one", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(b->seen.lsn, 1);
    a->lose = 1;
    rig_post(rig, 0, 1, "lost", SYNC, rig_ended, &end);
    rig_run(rig, RIG_MS(3100));
    CU_ASSERT_EQUAL(end.calls, 1);
    CU_ASSERT(APR_STATUS_IS_TIMEUP(end.rv));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1); /* it answered the probe */
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 0);
    rig_post(rig, 0, 1, "three", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(b->seen.gaps, 1);
    CU_ASSERT_STRING_EQUAL(b->seen.last, "three"); /* processed all the same */
    CU_ASSERT_EQUAL(b->seen.lsn, 1);               /* but not everything before it has come */
    rig_post(rig, 0, 1, "four", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(b->seen.gaps, 1);
    CU_ASSERT_EQUAL(b->seen.lsn, 1);
    sc_channel_resynced(b->channel, rig_member(rig, 1, 0));
    rig_post(rig, 0, 1, "five", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(b->seen.gaps, 1);
    CU_ASSERT_EQUAL(b->seen.lsn, 5);
    CU_ASSERT_EQUAL(b->board.count.gaps, 1);
    rig_destroy(rig);
}

/** The last envelope of an evening gets lost: the member must not wait for the next morning. */
static void test_loss_is_revealed(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *b = &rig->node[1];

    rig_post(rig, 0, 1, "one", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    rig->node[0].lose = 3; /* and the first two attempts to tell get lost as well */
    rig_post(rig, 0, 1, "lost", SC_OPT_ASYNCHRONOUS | SC_OPT_USE_ACK, NULL, NULL);
    rig_run(rig, apr_time_from_sec(15));
    CU_ASSERT_EQUAL(b->seen.gaps, 1);
    CU_ASSERT_EQUAL(b->seen.records, 1);
    CU_ASSERT_EQUAL(rig->node[0].data_frames, 1 + 1 + 3);
    /* which is then at rest */
    rig_run(rig, apr_time_from_sec(60));
    CU_ASSERT_EQUAL(rig->node[0].data_frames, 5);
    sc_channel_resynced(b->channel, rig_member(rig, 1, 0));
    rig_post(rig, 0, 1, "two", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(b->seen.gaps, 1);
    CU_ASSERT_EQUAL(b->seen.lsn, 3);
    rig_destroy(rig);
}

static void test_repeated_envelope(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *b = &rig->node[1];

    rig->node[0].repeat = 1;
    rig_post(rig, 0, 1, "a", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    rig_post(rig, 0, 1, "b", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_STRING_EQUAL(b->seen.all, "a a b b ");
    CU_ASSERT_EQUAL(b->seen.gaps, 0);
    CU_ASSERT_EQUAL(b->seen.lsn, 2);
    rig_destroy(rig);
}

/** A record that cannot be applied: FAIL_ACK, the identical frame once more, then a gap. */
static void test_record_refused(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *b = &rig->node[1];
    rig_end_t end = {0, APR_SUCCESS};

    b->record_rv = APR_ENOSPC;
    rig_post(rig, 0, 1, "a", SYNC, rig_ended, &end);
    rig_run(rig, RIG_MS(200));
    CU_ASSERT_EQUAL(end.rv, APR_EGENERAL);
    CU_ASSERT_STRING_EQUAL(b->seen.all, "a a ");
    CU_ASSERT_EQUAL(b->seen.lsn, 0);
    CU_ASSERT_EQUAL(b->seen.gaps, 0);
    CU_ASSERT_EQUAL(rig->node[0].probes,
                    1); /* only the one of its joining: FAIL_ACK is an answer */
    b->record_rv = APR_SUCCESS;
    rig_post(rig, 0, 1, "b", SYNC, rig_ended, &end);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->seen.gaps, 1);
    CU_ASSERT_EQUAL(b->seen.lsn, 0);

    /* refused once only: the repetition makes it good, and nothing is missing */
    sc_channel_resynced(b->channel, rig_member(rig, 1, 0));
    b->record_rv = APR_ENOSPC;
    rig_post(rig, 0, 1, "c", SYNC, rig_ended, &end);
    rig_run(rig, RIG_MS(50));
    b->record_rv = APR_SUCCESS;
    rig_run(rig, RIG_MS(200));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(b->seen.gaps, 1);
    CU_ASSERT_EQUAL(b->seen.lsn, 3);
    rig_destroy(rig);
}

static void test_overflow(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *b = &rig->node[1];
    rig_end_t first = {0, APR_EGENERAL};
    rig_end_t dropped = {0, APR_SUCCESS};
    rig_end_t refused = {0, APR_SUCCESS};
    char text[1001];

    memset(text, 'x', 1000);
    text[1000] = '\0';
    rig->node[0].config.sender.max_queue = 2500;
    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(2500));
    rig_post(rig, 0, 1, text, SYNC, rig_ended, &first);
    rig_run(rig, RIG_MS(1));
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, text, SYNC, rig_ended, &dropped), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, text, SYNC, rig_ended, &refused), APR_ENOSPC);
    CU_ASSERT_EQUAL(dropped.calls, 0); /* not from within the post of another */
    rig_run(rig, RIG_MS(10));
    CU_ASSERT(first.calls == 1 && first.rv == APR_SUCCESS);
    CU_ASSERT(dropped.calls == 1 && dropped.rv == APR_ENOSPC);
    CU_ASSERT_EQUAL(refused.calls, 0);
    CU_ASSERT_EQUAL(b->seen.records, 1);
    CU_ASSERT_EQUAL(b->seen.gaps, 0);
    rig_run(rig, RIG_MS(1100));
    CU_ASSERT_EQUAL(b->seen.gaps, 1); /* told without anything else to say */
    CU_ASSERT_EQUAL(b->seen.lsn, 1);
    sc_channel_resynced(b->channel, rig_member(rig, 1, 0));
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "small", SYNC, NULL, NULL), APR_SUCCESS);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(b->seen.lsn, 4);
    CU_ASSERT_EQUAL(b->seen.gaps, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0410"));
    rig_destroy(rig);
}

#define ASYNC (SC_OPT_ASYNCHRONOUS | SC_OPT_USE_ACK)

/** Three nodes, the first of which bounds its asynchronous messages. */
static rig_t *bounded(const char *bytes, const char *always_send)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 3);
    sc_config_t *c = &rig->node[0].config;

    c->ninterceptors = 2;
    memset(c->interceptor, 0, 2 * sizeof(c->interceptor[0]));
    strcpy(c->interceptor[0].name, "MessageDispatch");
    strcpy(c->interceptor[0].attr[0].name, "maxQueueSize");
    strcpy(c->interceptor[0].attr[0].value, bytes);
    strcpy(c->interceptor[0].attr[1].name, "alwaysSend");
    strcpy(c->interceptor[0].attr[1].value, always_send);
    c->interceptor[0].nattrs = 2;
    strcpy(c->interceptor[1].name, "TcpFailureDetector");
    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(2500));
    CU_ASSERT_EQUAL_FATAL(rig_members(rig, 0), 2);
    memset(&rig->node[1].seen, 0, sizeof(rig->node[1].seen));
    memset(&rig->node[2].seen, 0, sizeof(rig->node[2].seen));
    return rig;
}

static const char *thousand(void)
{
    static char text[1001];

    memset(text, 'x', 1000);
    return text;
}

/** MessageDispatch maxQueueSize alwaysSend=false: it bounds what is posted asynchronously to all
 *  members, and who hangs pays for it. */
static void test_async_bound(void)
{
    rig_t *rig = bounded("2500", "false");
    const sc_counters_t *count = &rig->node[0].board.count;
    rig_end_t end = {0, APR_EGENERAL};
    int i;

    rig_freeze(rig, 1);
    for (i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), ASYNC, rig_ended, &end), APR_SUCCESS);
        rig_run(rig, RIG_MS(1));
    }
    CU_ASSERT(end.calls == 5 && end.rv == APR_SUCCESS);
    CU_ASSERT(count->async_over == 3 && count->async_lost == 3);
    CU_ASSERT_PTR_NOT_NULL_FATAL(strstr(rig->node[0].log, "SC0541"));
    CU_ASSERT_PTR_NULL(strstr(strstr(rig->node[0].log, "SC0541") + 1, "SC0541"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0410"));
    /* the other one gets everything, and what others wait for is not bounded by it */
    CU_ASSERT_EQUAL(rig_post(rig, 0, 2, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig_post(rig, 0, 2, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 2, "a", SYNC, NULL, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), SYNC, NULL, NULL), APR_SUCCESS);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT(count->async_over == 4 && count->async_lost == 4);
    CU_ASSERT(rig->node[2].seen.records == 3 && rig->node[2].seen.gaps == 0);
    /* and the one that hung knows that it has missed something */
    rig_thaw(rig, 1);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT(rig->node[1].seen.records == 2 && rig->node[1].seen.gaps == 1);
    /* what has ended takes no room */
    for (i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
        rig_run(rig, RIG_MS(10));
    }
    CU_ASSERT(count->async_over == 4 && rig->node[1].seen.records == 12);
    /* nor has what goes away with its member */
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    rig_run(rig, 0);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    rig_leave(rig, 1);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 2, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 2, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(count->async_over, 4);
    rig_destroy(rig);
}

/** Nothing waits that could make room: the record itself is refused, and its member is told. */
static void test_async_refused(void)
{
    rig_t *rig = bounded("1500", "false");
    rig_node_t *b = &rig->node[1];

    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    rig_run(rig, 0);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), ASYNC, NULL, NULL), APR_ENOSPC);
    CU_ASSERT_EQUAL(rig->node[0].board.count.async_over, 1);
    CU_ASSERT_EQUAL(rig->node[0].board.count.async_lost, 1);
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT(b->seen.records == 1 && b->seen.gaps == 1);
    rig_destroy(rig);

    /* alwaysSend: it is counted and said, and the member gets it */
    rig = bounded("1500", "true");
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    rig_run(rig, 0);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, thousand(), ASYNC, NULL, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig->node[0].board.count.async_over, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "sent all the same"));
    rig_run(rig, RIG_MS(1500));
    CU_ASSERT(rig->node[1].seen.records == 2 && rig->node[1].seen.gaps == 0);
    CU_ASSERT_EQUAL(rig->node[0].board.count.async_lost, 0);
    rig_destroy(rig);
}

/** Who sends asynchronously is not told that it failed; the administrator is. */
static void test_async_lost(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);

    rig->node[0].lose = 1;
    rig_post(rig, 0, 1, "a", ASYNC, NULL, NULL);
    rig_post(rig, 0, 1, "b", ASYNC, NULL, NULL);
    rig_post(rig, 0, 1, "c", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(3500));
    CU_ASSERT_EQUAL(rig->node[0].board.count.async_lost, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0542: 2 asynchronous"));
    rig_destroy(rig);
}

/** Envelopes have a size; a record over it travels alone, one over the largest frame not at all. */
static void test_sizes(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    char *big = malloc(16 * 1024 * 1024 + 1);
    rig_end_t end[8];
    int i;

    memset(end, 0, sizeof(end));
    memset(big, 'x', 16 * 1024 * 1024);
    big[16 * 1024 * 1024] = '\0';
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, big, SYNC, rig_ended, &end[0]), APR_EINVAL);
    big[15 * 1024 * 1024] = '\0';
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "small", SYNC, rig_ended, &end[1]), APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, big, SYNC, rig_ended, &end[2]), APR_SUCCESS);
    big[600 * 1024] = '\0';
    for (i = 3; i < 7; i++) {
        CU_ASSERT_EQUAL(rig_post(rig, 0, 1, big, SYNC, rig_ended, &end[i]), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(rig_post(rig, 0, 1, "last", SYNC, rig_ended, &end[7]), APR_SUCCESS);
    rig_run(rig, RIG_MS(50));
    CU_ASSERT_EQUAL(end[0].calls, 0);
    for (i = 1; i < 8; i++) {
        CU_ASSERT(end[i].calls == 1 && end[i].rv == APR_SUCCESS);
    }
    /* small | big | 4 x 600K | with the last of them: last */
    CU_ASSERT_EQUAL(rig->node[0].data_frames, 6);
    CU_ASSERT_STRING_EQUAL(rig->node[1].seen.last, "last");
    CU_ASSERT_EQUAL(rig->node[1].seen.gaps, 0);
    CU_ASSERT_EQUAL(rig->node[1].seen.lsn, rig->node[0].lsn);
    free(big);
    rig_destroy(rig);
}

/** Two nodes that have had a message of each other. */
static rig_t *acquainted(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);

    rig_post(rig, 0, 1, "1", SYNC, NULL, NULL);
    rig_post(rig, 1, 0, "1", SYNC, NULL, NULL);
    rig_run(rig, RIG_MS(10));
    return rig;
}

/** A member that is dropped and comes back with its old view: both sides learn that they do not
 * know what happened between. */
static void test_partition(void)
{
    rig_t *rig = acquainted();
    rig_node_t *a = &rig->node[0];
    rig_node_t *b = &rig->node[1];
    rig_end_t end = {0, APR_SUCCESS};

    rig_cut(rig, 0, 1, 1);
    rig_post(rig, 0, 1, "lost", SYNC, rig_ended, &end);
    rig_run(rig, apr_time_from_sec(10));
    CU_ASSERT_EQUAL(end.calls, 1);
    CU_ASSERT_NOT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(rig_members(rig, 1), 0);
    rig_cut(rig, 0, 1, 0);
    rig_run(rig, apr_time_from_sec(2));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(a->seen.added, 2);
    rig_post(rig, 0, 1, "new", SYNC, rig_ended, &end);
    rig_run(rig, RIG_MS(20));
    CU_ASSERT_EQUAL(end.rv, APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(b->seen.last, "new");
    CU_ASSERT_EQUAL(b->seen.gaps, 0); /* member_added has said it: everything is to be asked for */
    rig_destroy(rig);
}

/** Only one side dropped the other. Either way the receiver of what follows learns of the gap. */
static void test_one_sided_drop(void)
{
    rig_t *rig = acquainted();
    rig_node_t *a = &rig->node[0];
    rig_node_t *b = &rig->node[1];
    rig_end_t end = {0, APR_SUCCESS};

    rig_freeze(rig, 1);
    rig_run(rig, apr_time_from_sec(8));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    rig_thaw(rig, 1);
    CU_ASSERT_EQUAL(rig_members(rig, 1), 1);
    /* it does not know yet that it was dropped: it is told so, and what it says is not processed */
    rig_post(rig, 1, 0, "2", SYNC, rig_ended, &end);
    rig_run(rig, RIG_MS(3));
    CU_ASSERT_STRING_EQUAL(a->seen.last, "1");
    CU_ASSERT(a->board.count.ignored > 0);
    rig_run(rig, apr_time_from_sec(2));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_post(rig, 1, 0, "3", SYNC, rig_ended, &end);
    rig_post(rig, 0, 1, "2", SYNC, rig_ended, &end);
    rig_run(rig, RIG_MS(20));
    CU_ASSERT_EQUAL(a->seen.gaps, 1); /* goes on in the middle of a stream */
    CU_ASSERT_EQUAL(b->seen.gaps, 1); /* gets another stream than the one it knew */
    CU_ASSERT_STRING_EQUAL(a->seen.last, "3");
    CU_ASSERT_STRING_EQUAL(b->seen.last, "2");
    rig_destroy(rig);
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void test_member_goes_with_posts_open(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_end_t flying = {0, APR_SUCCESS};
    rig_end_t waiting = {0, APR_SUCCESS};

    rig_freeze(rig, 1);
    rig_post(rig, 0, 1, "a", SYNC, rig_ended, &flying);
    rig_run(rig, RIG_MS(5));
    rig_post(rig, 0, 1, "b", SYNC, rig_ended, &waiting);
    rig_run(rig, apr_time_from_sec(20));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT(flying.calls == 1 && flying.rv != APR_SUCCESS);
    CU_ASSERT(waiting.calls == 1 && waiting.rv != APR_SUCCESS);
    rig_destroy(rig);
}

static void test_stop_ends_posts(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_end_t flying = {0, APR_SUCCESS};
    rig_end_t waiting = {0, APR_SUCCESS};

    rig_post(rig, 0, 1, "a", SYNC, rig_ended, &flying);
    rig_run(rig, 0);
    rig_post(rig, 0, 1, "b", SYNC, rig_ended, &waiting);
    sc_channel_stop(rig->node[0].channel);
    CU_ASSERT(flying.calls == 1 && flying.rv == APR_ECONNABORTED);
    CU_ASSERT(waiting.calls == 1 && waiting.rv == APR_ECONNABORTED);
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    sc_channel_stop(rig->node[0].channel); /* twice does no harm */
    rig_run(rig, RIG_MS(100));
    CU_ASSERT(flying.calls == 1 && waiting.calls == 1);
    rig_destroy(rig);
}

/** For an engine that leaves: all that was posted arrives before the good-bye. */
static void test_flush_before_leaving(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);

    rig_post(rig, 0, 1, "a", SYNC, NULL, NULL);
    rig_run(rig, 0);
    rig_post(rig, 0, 1, "b", SYNC, NULL, NULL);
    sc_channel_flush(rig->node[0].channel);
    rig_run(rig, RIG_MS(5)); /* as sc_net_drain */
    rig_leave(rig, 0);
    CU_ASSERT_STRING_EQUAL(rig->node[1].seen.all, "a b ");
    CU_ASSERT_EQUAL(rig->node[1].seen.gaps, 0);
    CU_ASSERT_EQUAL(rig->node[1].seen.goodbye, 1);
    rig_destroy(rig);
}

typedef struct again_t {
    rig_t *rig;
    int left;
} again_t;

static void post_again(void *baton, apr_status_t rv)
{
    again_t *again = baton;

    (void)rv;
    if (again->left-- > 0) {
        rig_post(again->rig, 0, 1, "again", SYNC, post_again, again);
    }
}

static void test_post_from_callback(void)
{
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    again_t again = {rig, 10};

    rig_post(rig, 0, 1, "again", SYNC, post_again, &again);
    rig_run(rig, RIG_MS(100));
    CU_ASSERT_EQUAL(again.left, -1);
    CU_ASSERT_EQUAL(rig->node[1].seen.records, 11);
    rig_destroy(rig);
}

/* ---- what else may come --------------------------------------------------------------------- */

static apr_status_t receive(rig_node_t *n, const sc_member_t *from, apr_uint32_t options,
                            const void *body, apr_size_t len)
{
    sc_packet_t p;

    memset(&p, 0, sizeof(p));
    p.options = options;
    p.from = *from;
    p.body = body;
    p.body_len = len;
    return n->transport_up.packet(n->transport_up.baton, &p);
}

/** stream 8 bytes, seq 1, store id of node 2's first life (2001), lsn 5 */
#define HEAD                                                                                       \
    "SCE1\1"                                                                                       \
    "STREAM-1"                                                                                     \
    "\1"                                                                                           \
    "\0\0\0\0\0\0\x07\xd1"                                                                         \
    "\5"

static void test_hostile_envelopes(void)
{
    static const char good[] = HEAD "\3abc\2de";
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *n = &rig->node[0];
    sc_member_t from = *rig_member(rig, 0, 1);
    apr_size_t i;
    int before;

    for (i = 0; i < sizeof(good) - 1; i++) {
        char *copy = malloc(sizeof(good));
        apr_status_t rv;

        memcpy(copy, good, sizeof(good));
        rv = receive(n, &from, 7, copy, i);
        /* three cuts leave whole records */
        CU_ASSERT_EQUAL(rv == APR_SUCCESS, i < 4 || i == 23 || i == 27);
        copy[i] ^= (char)0xff;
        (void)receive(n, &from, 7, copy, sizeof(good) - 1);
        free(copy);
    }
    CU_ASSERT(n->board.count.records_refused > 20);
    CU_ASSERT_EQUAL(n->seen.messages, 4 + 4);
    before = n->seen.records;
    CU_ASSERT_EQUAL(receive(n, &from, 7, good, sizeof(good) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.records, before + 2);
    CU_ASSERT_STRING_EQUAL(n->seen.last, "de");
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    rig_destroy(rig);
}

static void test_strangers(void)
{
    static const char envelope[] = HEAD "\3abc";
    static const char elsewhere[] = "SCE1\1STREAM-1\2\0\0\0\0\0\0\x07\xd2\5\3abc";
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *n = &rig->node[0];
    sc_member_t from = *rig_member(rig, 0, 1);
    apr_uint64_t refused = n->board.count.frames_refused;
    apr_uint64_t ignored = n->board.count.ignored;

    from.uid.b[5] ^= 1; /* ours, but not in the view */
    CU_ASSERT_EQUAL(receive(n, &from, 7, envelope, sizeof(envelope) - 1), APR_EGENERAL);
    CU_ASSERT_EQUAL(n->board.count.ignored, ignored + 1);
    from.uid.b[5] ^= 1;
    from.ours = 0; /* a Tomcat that uses a member's address */
    CU_ASSERT_EQUAL(receive(n, &from, 7, envelope, sizeof(envelope) - 1), APR_EGENERAL);
    CU_ASSERT_EQUAL(n->board.count.frames_refused, refused + 1);
    from.ours = 1;
    from.store_id++; /* in the view with another store: the view's is believed */
    CU_ASSERT_EQUAL(receive(n, &from, 7, envelope, sizeof(envelope) - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.records, 1);
    /* and an envelope with changes of another store than the member's is none of its */
    CU_ASSERT_EQUAL(receive(n, &from, 7, elsewhere, sizeof(elsewhere) - 1), APR_EINVAL);
    CU_ASSERT_EQUAL(n->seen.records, 1);
    /* Java objects are ignored, byte messages are somebody else's */
    CU_ASSERT_EQUAL(receive(n, &from, 6, "\xAC\xED\0\5whatever", 12), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.messages, 0);
    CU_ASSERT_EQUAL(receive(n, &from, 7, "hello", 5), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.messages, 1);
    CU_ASSERT_EQUAL(receive(n, &from, 7, "", 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.messages, 2);
    /* but only of those that are in the view */
    ignored = n->board.count.ignored;
    from.uid.b[5] ^= 1;
    CU_ASSERT_EQUAL(receive(n, &from, 7, "hello", 5), APR_EGENERAL);
    CU_ASSERT_EQUAL(receive(n, &from, 3, "hello", 5), APR_EGENERAL);
    from.uid.b[5] ^= 1;
    CU_ASSERT_EQUAL(n->seen.messages, 2);
    CU_ASSERT_EQUAL(n->board.count.messages_in, 2);
    CU_ASSERT_EQUAL(n->board.count.ignored, ignored + 2);
    /* ourselves */
    CU_ASSERT_EQUAL(receive(n, sc_channel_local(n->channel), 7, envelope, sizeof(envelope) - 1),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(n->seen.records, 1);
    rig_destroy(rig);
}

/** Two streams at once: what comes late of the former one is processed and proves nothing. */
static void test_late_stream(void)
{
    static const char old1[] = "SCE1\1"
                               "STREAM-1"
                               "\1"
                               "\0\0\0\0\0\0\x07\xd1"
                               "\1"
                               "\1a";
    static const char old2[] = "SCE1\1"
                               "STREAM-1"
                               "\2"
                               "\0\0\0\0\0\0\x07\xd1"
                               "\2"
                               "\1b";
    static const char new1[] = "SCE1\1"
                               "STREAM-2"
                               "\1"
                               "\0\0\0\0\0\0\x07\xd1"
                               "\3"
                               "\1c";
    static const char new2[] = "SCE1\1"
                               "STREAM-2"
                               "\2"
                               "\0\0\0\0\0\0\x07\xd1"
                               "\4"
                               "\1d";
    rig_t *rig = rig_cluster(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *n = &rig->node[0];
    sc_member_t from = *rig_member(rig, 0, 1);

    receive(n, &from, 7, old1, sizeof(old1) - 1);
    CU_ASSERT(n->seen.gaps == 0 && n->seen.lsn == 1);
    receive(n, &from, 7, new1, sizeof(new1) - 1);
    CU_ASSERT(n->seen.gaps == 1 && n->seen.lsn == 1);
    receive(n, &from, 7, old2, sizeof(old2) - 1);
    CU_ASSERT(n->seen.gaps == 1 && n->seen.lsn == 1);
    sc_channel_resynced(n->channel, &from);
    receive(n, &from, 7, old2, sizeof(old2) - 1);
    CU_ASSERT(n->seen.gaps == 1 && n->seen.lsn == 1);
    receive(n, &from, 7, new2, sizeof(new2) - 1);
    CU_ASSERT(n->seen.gaps == 1 && n->seen.lsn == 4);
    CU_ASSERT_STRING_EQUAL(n->seen.all, "a c b b d ");
    rig_destroy(rig);
}

void sc_suite_channel_records(CU_pSuite s)
{
    CU_add_test(s, "a record", test_post);
    CU_add_test(s, "group commit", test_group_commit);
    CU_add_test(s, "options of an envelope", test_options);
    CU_add_test(s, "a lost envelope is a gap until resynced", test_lost_envelope);
    CU_add_test(s, "a loss is revealed without further traffic", test_loss_is_revealed);
    CU_add_test(s, "a repeated envelope is no gap", test_repeated_envelope);
    CU_add_test(s, "a record that is refused", test_record_refused);
    CU_add_test(s, "overflow breaks the stream", test_overflow);
    CU_add_test(s, "asynchronous: the bound", test_async_bound);
    CU_add_test(s, "asynchronous: refused, or not", test_async_refused);
    CU_add_test(s, "asynchronous: lost", test_async_lost);
    CU_add_test(s, "sizes of envelopes and records", test_sizes);
    CU_add_test(s, "a partition heals", test_partition);
    CU_add_test(s, "dropped by one side only", test_one_sided_drop);
    CU_add_test(s, "a member goes with posts open", test_member_goes_with_posts_open);
    CU_add_test(s, "stop ends all posts", test_stop_ends_posts);
    CU_add_test(s, "flush before leaving", test_flush_before_leaving);
    CU_add_test(s, "post from the end of a post", test_post_from_callback);
    CU_add_test(s, "hostile envelopes", test_hostile_envelopes);
    CU_add_test(s, "strangers and other messages", test_strangers);
    CU_add_test(s, "the end of a former stream", test_late_stream);
}
