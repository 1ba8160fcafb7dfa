/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Interceptors that change messages, all together and in several orders: on the bench with a
 * network that loses, repeats and refuses, and between channels.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "ic_rig.h"

void sc_suite_chain(void);

#define NORDERS 5
#define LINKS 5

/** The five of them, in this order. */
static void chain_of(const char *order, sc_config_interceptor_t conf[LINKS])
{
    int i;

    for (i = 0; i < LINKS; i++) {
        switch (order[i]) {
        case 'G':
            conf[i] = ic_conf("Gzip", NULL);
            break;
        case 'E':
            conf[i] = ic_conf("Encrypt", "encryptionKey", IC_KEY, NULL);
            break;
        case 'F':
            conf[i] = ic_conf("Fragmentation", "maxSize", "1000", NULL);
            break;
        case 'O':
            conf[i] = ic_conf("Order", NULL);
            break;
        default:
            conf[i] = ic_conf("TwoPhaseCommit", NULL);
            break;
        }
    }
}

static const char *const orders[NORDERS] = {"GOTEF", "FEOTG", "TFOGE", "EGTFO", "OTGFE"};

static void test_there_and_back(void)
{
    static unsigned char body[40000];
    unsigned int x = 1;
    apr_size_t n;
    int i;

    for (n = 0; n < sizeof(body); n++) {
        x = x * 1103515245u + 12345u;
        body[n] = (unsigned char)(x >> 23);
    }
    for (i = 0; i < NORDERS; i++) {
        sc_config_interceptor_t conf[LINKS];
        int k = 0;
        ic_t *a;
        ic_t *b;

        chain_of(orders[i], conf);
        a = ic_open(conf, LINKS, 1);
        b = ic_open(conf, LINKS, 2);
        for (n = 0; n <= sizeof(body); n = n == 0 ? 1 : n * 3 + 1) {
            rig_end_t end = {0, APR_EGENERAL};

            ic_send(a, body, n, IC_SYNC, &end);
            ic_carry(a, b);
            CU_ASSERT(end.calls == 1 && end.rv == APR_SUCCESS);
            CU_ASSERT_EQUAL_FATAL(b->nup, ++k);
            CU_ASSERT_EQUAL_FATAL(b->up[k - 1]->p.body_len, n);
            CU_ASSERT_EQUAL(memcmp(b->up[k - 1]->p.body, body, n), 0);
        }
        CU_ASSERT_EQUAL(b->log[0], '\0');
        ic_close(a);
        ic_close(b);
    }
}

/* ---- a bad network --------------------------------------------------------------------------- */

typedef struct bad_t {
    apr_uint32_t x;
    int chance; /* of each fault, in 256 */
} bad_t;

static int happens(bad_t *bad)
{
    bad->x = bad->x * 1103515245u + 12345u;
    return (int)(bad->x >> 16 & 0xff) < bad->chance;
}

/** As ic_carry, but packets get lost, acknowledgements get lost and the packet is sent again, and
 *  what comes up cannot be applied. */
static void carry_badly(ic_t *from, ic_t *to, bad_t *bad, int applied[], int *seen)
{
    for (; from->carried < from->nsent; from->carried++) {
        const sc_packet_t *p = &from->sent[from->carried]->p;
        apr_status_t rv = APR_TIMEUP;
        int tries = happens(bad) ? 2 : 1;

        if (happens(bad)) {
            tries = 0;
        }
        while (tries-- > 0) {
            to->up_rv = happens(bad) ? APR_EINVAL : APR_SUCCESS;
            rv = ic_receive(to, p) == APR_SUCCESS ? APR_SUCCESS : APR_EGENERAL;
            for (; *seen < to->nup; ++*seen) {
                int n = atoi((const char *)to->up[*seen]->p.body);

                applied[n] += to->up_rv == APR_SUCCESS;
            }
        }
        if (happens(bad) && happens(bad)) { /* given up although it arrived */
            rv = APR_TIMEUP;
        }
        ic_end(from, from->carried, rv);
    }
}

/** What is acknowledged has been applied, and nothing is applied twice. */
static void test_bad_network(void)
{
    enum { MESSAGES = 60 };
    char *text = malloc(5001);
    int good = 0;
    int round;

    for (round = 0; round < 200; round++) {
        sc_config_interceptor_t conf[LINKS];
        bad_t bad = {(apr_uint32_t)round * 7919u + 1, 8 << round % 4};
        int applied[MESSAGES] = {0};
        int seen = 0;
        ic_t *a;
        ic_t *b;
        int i;

        chain_of(orders[round % NORDERS], conf);
        a = ic_open(conf, LINKS, 1);
        b = ic_open(conf, LINKS, 2);
        for (i = 0; i < MESSAGES; i++) {
            rig_end_t end = {0, APR_EGENERAL};
            int len = snprintf(text, 5001, "%d ", i);

            for (; len < (i % 4 == 0 ? 5000 : 20); len++) {
                bad.x = bad.x * 1103515245u + 12345u;
                text[len] = (char)(bad.x >> 23);
            }
            ic_send(a, text, (apr_size_t)len, IC_SYNC, &end);
            carry_badly(a, b, &bad, applied, &seen);
            CU_ASSERT_EQUAL(end.calls, 1);
            CU_ASSERT_FALSE(end.rv == APR_SUCCESS && applied[i] == 0);
            good += end.rv == APR_SUCCESS;
            ic_run(a, RIG_MS(happens(&bad) ? 4000 : 10));
            ic_run(b, a->now - b->now);
        }
        for (; seen < b->nup; seen++) {
            applied[atoi((const char *)b->up[seen]->p.body)]++;
        }
        for (i = 0; i < MESSAGES; i++) {
            CU_ASSERT(applied[i] <= 1);
        }
        ic_close(a);
        ic_close(b);
    }
    CU_ASSERT(good > 200 * MESSAGES / 3);
    free(text);
}

/* ---- channels -------------------------------------------------------------------------------- */

static rig_t *cluster_of(const char *order, int nodes)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, nodes);
    int i;

    for (i = 0; i < nodes; i++) {
        sc_config_t *c = &rig->node[i].config;

        chain_of(order, c->interceptor);
        c->interceptor[LINKS] = ic_conf("MessageDispatch", NULL);
        c->interceptor[LINKS + 1] = ic_conf("TcpFailureDetector", NULL);
        c->ninterceptors = LINKS + 2;
        c->receiver.max_frame = 4 * 1024 * 1024;
        rig_start(rig, i, 0);
    }
    rig_run(rig, RIG_MS(2500));
    for (i = 0; i < nodes; i++) {
        CU_ASSERT_EQUAL_FATAL(rig_members(rig, i), nodes - 1);
    }
    return rig;
}

static void test_channels(void)
{
    int o;

    for (o = 0; o < NORDERS; o++) {
        rig_t *rig = cluster_of(orders[o], 3);
        rig_end_t end[40];
        char text[16];
        int i;

        memset(end, 0, sizeof(end));
        for (i = 0; i < 20; i++) {
            snprintf(text, sizeof(text), "%d", i);
            CU_ASSERT_EQUAL(rig_post(rig, 0, 1, text, IC_SYNC, rig_ended, &end[2 * i]),
                            APR_SUCCESS);
            CU_ASSERT_EQUAL(rig_post(rig, 0, 2, text, i % 2 ? SC_OPT_ASYNCHRONOUS : IC_SYNC,
                                     rig_ended, &end[2 * i + 1]),
                            APR_SUCCESS);
            rig_run(rig, RIG_MS(i % 5));
        }
        rig_run(rig, RIG_MS(1000));
        for (i = 0; i < 40; i++) {
            CU_ASSERT(end[i].calls == 1 && end[i].rv == APR_SUCCESS);
        }
        for (i = 1; i < 3; i++) {
            CU_ASSERT_STRING_EQUAL(rig->node[i].seen.all,
                                   "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 ");
            CU_ASSERT_EQUAL(rig->node[i].seen.gaps, 0);
            CU_ASSERT_EQUAL(rig->node[i].board.count.held_refused, 0);
            CU_ASSERT_EQUAL(rig->node[i].board.count.decrypt_refused, 0);
        }
        rig_destroy(rig);
    }
}

/** The largest record that a channel takes arrives, whatever is in the chain; a larger one is
 *  refused where it is posted. */
static void test_largest(void)
{
    int o;

    for (o = 0; o < NORDERS; o++) {
        rig_t *rig = cluster_of(orders[o], 2);
        apr_size_t len = rig->node[0].config.receiver.max_frame;
        unsigned char *body = malloc(len);
        rig_end_t end = {0, APR_EGENERAL};
        apr_status_t rv;
        apr_size_t i;
        unsigned int x = 3;

        for (i = 0; i < len; i++) {
            x = x * 1103515245u + 12345u;
            body[i] = (unsigned char)(x >> 23);
        }
        do {
            len--;
            rv = sc_channel_post(rig->node[0].channel, rig_member(rig, 0, 1), body, len, IC_SYNC,
                                 rig_ended, &end);
        } while (rv == APR_EINVAL);
        CU_ASSERT_EQUAL(rv, APR_SUCCESS);
        rig_run(rig, apr_time_from_sec(20));
        CU_ASSERT(end.calls == 1 && end.rv == APR_SUCCESS);
        CU_ASSERT_EQUAL(rig->node[1].seen.records, 1);
        CU_ASSERT_EQUAL(rig->node[1].seen.gaps, 0);
        CU_ASSERT(rig->node[0].data_frames > 4000); /* in pieces */
        free(body);
        rig_destroy(rig);
    }
}

/** Lost frames show as a gap, and everything goes on; so it does after a death and a return. */
static void test_faults(void)
{
    int o;

    for (o = 0; o < NORDERS; o++) {
        rig_t *rig = cluster_of(orders[o], 2);
        rig_end_t end = {0, APR_SUCCESS};
        int i;

        rig_post(rig, 0, 1, "one", IC_SYNC, NULL, NULL);
        rig_run(rig, RIG_MS(100));
        rig->node[0].lose = 2; /* and what is sent again of it */
        rig_post(rig, 0, 1, "lost", IC_SYNC, rig_ended, &end);
        rig_run(rig, apr_time_from_sec(8));
        CU_ASSERT(end.calls == 1 && end.rv != APR_SUCCESS);
        rig_post(rig, 0, 1, "three", IC_SYNC, rig_ended, &end);
        rig_run(rig, apr_time_from_sec(8));
        CU_ASSERT(end.calls == 2 && end.rv == APR_SUCCESS);
        CU_ASSERT_STRING_EQUAL(rig->node[1].seen.last, "three");
        CU_ASSERT(rig->node[1].seen.gaps >= 1);
        for (i = 0; i < 2; i++) { /* its next life */
            rig_kill(rig, 1);
            rig_run(rig, apr_time_from_sec(10));
            CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
            rig_start(rig, 1, 1);
            rig_run(rig, apr_time_from_sec(5));
            rig_post(rig, 0, 1, "again", IC_SYNC, rig_ended, &end);
            rig_post(rig, 1, 0, "back", IC_SYNC, rig_ended, &end);
            rig_run(rig, apr_time_from_sec(1));
            CU_ASSERT(end.calls == 4 + 2 * i && end.rv == APR_SUCCESS);
            CU_ASSERT_STRING_EQUAL(rig->node[1].seen.last, "again");
            CU_ASSERT_STRING_EQUAL(rig->node[0].seen.last, "back");
        }
        rig_cut(rig, 0, 1, 1); /* the same lives meet again */
        rig_run(rig, apr_time_from_sec(15));
        rig_cut(rig, 0, 1, 0);
        rig_run(rig, apr_time_from_sec(10));
        rig_post(rig, 0, 1, "healed", IC_SYNC, rig_ended, &end);
        rig_run(rig, apr_time_from_sec(1));
        CU_ASSERT_STRING_EQUAL(rig->node[1].seen.last, "healed");
        CU_ASSERT(end.calls == 7 && end.rv == APR_SUCCESS);
        rig_destroy(rig);
    }
}

void sc_suite_chain(void)
{
    CU_pSuite s = CU_add_suite("chain", NULL, NULL);

    CU_add_test(s, "there and back", test_there_and_back);
    CU_add_test(s, "a bad network", test_bad_network);
    CU_add_test(s, "between channels", test_channels);
    CU_add_test(s, "the largest record", test_largest);
    CU_add_test(s, "losses, deaths, a cut", test_faults);
}
