/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Fragmentation: byte for byte what Tomcat sends; what is acknowledged has been applied; and pieces
 * that are made to cost memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "ic_rig.h"

void sc_suite_fragmentation(void);

#define NAME "Fragmentation"

static ic_t *pieces_of(const char *size)
{
    sc_config_interceptor_t c = ic_conf(NAME, "maxSize", size, NULL);

    return ic_open(&c, 1, 1);
}

/** A piece with its trailer. */
static sc_packet_t piece(sc_packet_t like, const char *text, apr_uint32_t index, apr_uint32_t count,
                         sc_buf_t *b)
{
    sc_buf_init(b, strlen(text) + 9);
    sc_put(b, text, strlen(text));
    sc_put_u32(b, index);
    sc_put_u32(b, count);
    sc_put_u8(b, 1);
    like.body = b->data;
    like.body_len = b->len;
    return like;
}

static apr_status_t receive_piece(ic_t *ic, const sc_packet_t *like, const char *text,
                                  apr_uint32_t index, apr_uint32_t count)
{
    sc_buf_t b;
    sc_packet_t p = piece(*like, text, index, count, &b);
    apr_status_t rv = ic_receive(ic, &p);

    sc_buf_free(&b);
    return rv;
}

static void test_check(void)
{
    sc_config_interceptor_t c[2];
    apr_pool_t *pool;

    apr_pool_create(&pool, NULL);
    c[0] = ic_conf(NAME, "maxSize", "1000", "expire", "1", "optionFlag", "6", NULL);
    c[1] = ic_conf("TcpFailureDetector", NULL);
    CU_ASSERT_PTR_NULL(ic_check(c, 2, pool));
    c[1] = c[0];
    c[0] = ic_conf("TcpFailureDetector", NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(ic_check(c, 2, pool));
    CU_ASSERT_PTR_NOT_NULL(strstr(ic_check(c, 2, pool), "above (before) Fragmentation"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "maxSize", "15", NULL), "bytes from 16"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "expire", "0", NULL), "milliseconds from 1"));
    CU_ASSERT_TRUE(ic_refused(ic_conf(NAME, "size", "1", NULL), "it has optionFlag, maxSize"));
    apr_pool_destroy(pool);
}

static void test_vectors(void)
{
    static const char *const names[] = {"interceptor-fragment-1-of-3.bin",
                                        "interceptor-fragment-2-of-3.bin",
                                        "interceptor-fragment-3-of-3.bin"};
    ic_t *to = pieces_of("16");
    ic_t *from = pieces_of("16");
    rig_end_t end = {0, APR_EGENERAL};
    unsigned char *frame[3];
    sc_packet_t p[3];
    int i;

    for (i = 0; i < 3; i++) {
        p[i] = ic_vector(names[i], &frame[i]);
        CU_ASSERT_EQUAL(to->nup, 0);
        CU_ASSERT_EQUAL(ic_receive(to, &p[i]), APR_SUCCESS);
    }
    CU_ASSERT_TRUE(ic_up_is(to, 0, IC_TEXT));
    CU_ASSERT_EQUAL(memcmp(&to->up[0]->p.id, &p[0].id, sizeof(p[0].id)), 0);
    ic_send(from, IC_TEXT, strlen(IC_TEXT), p[0].options, &end);
    for (i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(from->nsent, i + 1); /* one after the other */
        CU_ASSERT_EQUAL(memcmp(&from->sent[i]->p.id, &from->sent[0]->p.id, sizeof(p[0].id)), 0);
        p[i].body = from->sent[i]->p.body;
        p[i].body_len = from->sent[i]->p.body_len;
        CU_ASSERT_TRUE(ic_same_frame(&p[i], names[i]));
        CU_ASSERT_EQUAL(end.calls, 0);
        ic_end(from, i, APR_SUCCESS);
        free(frame[i]);
    }
    CU_ASSERT(end.calls == 1 && end.rv == APR_SUCCESS);
    ic_close(from);
    ic_close(to);
}

static void test_sizes(void)
{
    static unsigned char body[200000];
    static const apr_size_t sizes[] = {0, 1, 99, 100, 101, 199, 200, 201, 12345, sizeof(body)};
    ic_t *from = pieces_of("100");
    ic_t *to = pieces_of("64"); /* what it sends itself does not matter */
    apr_size_t n;
    apr_size_t i;

    for (n = 0; n < sizeof(body); n++) {
        body[n] = (unsigned char)(n * 13 / 7);
    }
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        rig_end_t end = {0, APR_EGENERAL};
        int before = from->nsent;

        n = sizes[i];
        ic_send(from, body, n, IC_SYNC, &end);
        ic_carry(from, to);
        CU_ASSERT(end.calls == 1 && end.rv == APR_SUCCESS);
        CU_ASSERT_EQUAL(from->nsent - before, n <= 100 ? 1 : (int)((n + 99) / 100));
        CU_ASSERT_EQUAL_FATAL(to->nup, (int)i + 1);
        CU_ASSERT_EQUAL_FATAL(to->up[i]->p.body_len, n);
        CU_ASSERT_EQUAL(memcmp(to->up[i]->p.body, body, n), 0);
    }
    ic_close(from);
    ic_close(to);
}

static void test_flag(void)
{
    sc_config_interceptor_t c = ic_conf(NAME, "maxSize", "16", "optionFlag", "512", NULL);
    ic_t *ic = ic_open(&c, 1, 1);
    rig_end_t end = {0, APR_EGENERAL};

    ic_send(ic, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end);
    CU_ASSERT_EQUAL(ic->nsent, 1);
    CU_ASSERT_EQUAL(ic->sent[0]->p.body_len, strlen(IC_TEXT) + 1); /* never without a last byte */
    ic_end(ic, 0, APR_SUCCESS);
    ic_send(ic, IC_TEXT, strlen(IC_TEXT), IC_SYNC | 512, &end);
    CU_ASSERT_EQUAL(ic->sent[1]->p.body_len, 25);
    ic_close(ic);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/** The first piece that fails ends it, and what waits behind it for the same member goes on. */
static void test_ends(void)
{
    ic_t *ic = pieces_of("16");
    rig_end_t end[4] = {{0, APR_EGENERAL}, {0, APR_EGENERAL}, {0, APR_EGENERAL}, {0, APR_EGENERAL}};

    ic_send(ic, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end[0]);
    ic_send(ic, "small", 5, IC_SYNC, &end[1]); /* does not overtake */
    ic_send(ic, "smaller", 7, IC_SYNC, &end[2]);
    CU_ASSERT_EQUAL(ic->nsent, 1);
    ic_end(ic, 0, APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nsent, 2);
    ic_end(ic, 1, APR_TIMEUP);
    CU_ASSERT(end[0].calls == 1 && end[0].rv == APR_TIMEUP);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 3);
    CU_ASSERT_STRING_EQUAL((const char *)ic->sent[2]->p.body, "small");
    ic_end(ic, 2, APR_SUCCESS);
    CU_ASSERT(end[1].calls == 1 && end[1].rv == APR_SUCCESS && end[2].calls == 0);
    ic_end(ic, 3, APR_EGENERAL);
    CU_ASSERT(end[2].calls == 1 && end[2].rv == APR_EGENERAL);
    ic_send(ic, "x", 1, IC_SYNC, &end[3]);
    CU_ASSERT_EQUAL(ic->nsent, 5);
    ic_close(ic);
    CU_ASSERT_EQUAL(end[3].calls, 1);
}

/** A file whose piece hangs holds no session up, small or in pieces, and fills no bound of theirs.
 */
static void test_lanes(void)
{
    ic_t *ic = pieces_of("1000");
    char *body = calloc(1, 150000);
    rig_end_t bulk[2] = {{0, APR_SUCCESS}, {0, APR_SUCCESS}};
    rig_end_t end[3] = {{0, APR_EGENERAL}, {0, APR_EGENERAL}, {0, APR_EGENERAL}};

    ic_send_on(ic, SC_LANE_BULK, body, 150000, IC_SYNC, &bulk[0]);
    ic_send_on(ic, SC_LANE_BULK, "behind it", 9, IC_SYNC, &bulk[1]);
    ic_send(ic, "session", 7, IC_SYNC, &end[0]);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 2);
    CU_ASSERT(ic->sent[0]->lane == SC_LANE_BULK && ic->sent[1]->lane == SC_LANE_DATA);
    CU_ASSERT_STRING_EQUAL((const char *)ic->sent[1]->p.body, "session");
    ic_end(ic, 1, APR_SUCCESS);
    CU_ASSERT(end[0].calls == 1 && end[0].rv == APR_SUCCESS);
    ic_send(ic, body, 150000, IC_SYNC, &end[1]);
    ic_send(ic, "in turn", 7, IC_SYNC, &end[2]);
    ic_run(ic, 0);
    CU_ASSERT_EQUAL_FATAL(ic->nsent, 3);
    CU_ASSERT_EQUAL(ic->sent[2]->lane, SC_LANE_DATA);
    while (end[2].calls == 0) {
        CU_ASSERT_EQUAL_FATAL(ic->sent[ic->nsent - 1]->lane, SC_LANE_DATA);
        ic_end(ic, ic->nsent - 1, APR_SUCCESS);
    }
    CU_ASSERT(end[1].calls == 1 && end[1].rv == APR_SUCCESS && end[2].rv == APR_SUCCESS);
    CU_ASSERT(bulk[0].calls == 0 && bulk[1].calls == 0);
    /* and on its lane the order is what it was */
    ic_end(ic, 0, APR_TIMEUP);
    CU_ASSERT(bulk[0].calls == 1 && bulk[0].rv == APR_TIMEUP);
    CU_ASSERT_EQUAL(ic->sent[ic->nsent - 1]->lane, SC_LANE_BULK);
    CU_ASSERT_STRING_EQUAL((const char *)ic->sent[ic->nsent - 1]->p.body, "behind it");
    ic_close(ic);
    free(body);
}

/** What waits behind a message has a bound, and is told so later. */
static void test_bound_of_waiting(void)
{
    ic_t *ic = pieces_of("1000");
    char *body = calloc(1, 150000);
    rig_end_t end[3];

    memset(end, 0, sizeof(end));
    ic_send(ic, body, 150000, IC_SYNC, &end[0]);
    ic_send(ic, body, 150000, IC_SYNC, &end[1]);
    ic_send(ic, body, 40000, IC_SYNC, &end[2]);
    ic_run(ic, 0);
    CU_ASSERT(end[0].calls == 0 && end[2].calls == 0);
    CU_ASSERT(end[1].calls == 1 && end[1].rv == APR_ENOSPC);
    CU_ASSERT_EQUAL(ic->nsent, 1);
    ic_end(ic, 0, APR_TIMEUP);
    CU_ASSERT(end[0].calls == 1 && end[0].rv == APR_TIMEUP);
    CU_ASSERT_EQUAL(ic->nsent, 2);
    ic_close(ic);
    CU_ASSERT(end[2].calls == 1 && end[2].rv == APR_ECONNABORTED);
    free(body);
}

/** Stopped, or its member gone, in the middle. */
static void test_stop_and_gone(void)
{
    ic_t *ic = pieces_of("16");
    sc_member_t m = ic_member(2);
    rig_end_t end[3] = {{0, APR_SUCCESS}, {0, APR_SUCCESS}, {0, APR_SUCCESS}};

    sc_pass_member_added(&ic->link[ic->nlinks - 1], &m);
    ic_send(ic, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end[0]);
    ic_send(ic, "waits", 5, IC_SYNC, &end[1]);
    sc_pass_member_gone(&ic->link[ic->nlinks - 1], &m, 0);
    ic_run(ic, 0);
    CU_ASSERT(end[0].calls == 0 && end[1].calls == 1 && end[1].rv == APR_ECONNABORTED);
    ic_end(ic, 0, APR_SUCCESS); /* not more than this piece has arrived */
    CU_ASSERT(end[0].calls == 1 && end[0].rv == APR_ECONNABORTED);
    CU_ASSERT_EQUAL(ic->nsent, 1);
    ic_send(ic, IC_TEXT, strlen(IC_TEXT), IC_SYNC, &end[2]);
    ic_close(ic);
    CU_ASSERT(end[2].calls == 1 && end[2].rv == APR_ECONNABORTED);
}

/* ---- acknowledged = applied ------------------------------------------------------------------ */

static void test_answers(void)
{
    ic_t *ic = pieces_of("16");
    sc_packet_t like = ic_packet(2, NULL, 0, IC_SYNC);

    /* the last one's answer is that of the processing */
    ic->up_rv = APR_EINVAL;
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "one ", 0, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "two", 1, 2), APR_EINVAL);
    /* and its sender's next try finds the whole message again */
    ic->up_rv = APR_SUCCESS;
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "two", 1, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 2);
    CU_ASSERT_TRUE(ic_up_is(ic, 1, "one two"));
    /* once more, because the acknowledgement got lost */
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "two", 1, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 2);
    /* a repeated piece in the middle */
    like = ic_packet(2, NULL, 0, IC_SYNC);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "a", 0, 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "a", 0, 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "b", 1, 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "c", 2, 3), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 2, "abc"));
    ic_close(ic);
}

/** The first pieces have been given up here; their sender must not take the rest for the whole. */
static void test_expired_in_the_middle(void)
{
    sc_config_interceptor_t c = ic_conf(NAME, "expire", "1000", NULL);
    ic_t *ic = ic_open(&c, 1, 1);
    sc_packet_t like = ic_packet(2, NULL, 0, IC_SYNC);

    CU_ASSERT_EQUAL(receive_piece(ic, &like, "a", 0, 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "b", 1, 3), APR_SUCCESS);
    ic_run(ic, RIG_MS(999));
    CU_ASSERT_EQUAL(ic->board.count.held_expired, 0);
    ic_run(ic, RIG_MS(1));
    CU_ASSERT_EQUAL(ic->board.count.held_expired, 1);
    CU_ASSERT_NOT_EQUAL(receive_piece(ic, &like, "c", 2, 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 0);
    /* all of it again */
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "a", 0, 3), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "b", 1, 3), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 0, "abc"));
    ic_run(ic, RIG_MS(5000));
    CU_ASSERT_EQUAL(ic->board.count.held_expired, 1);
    ic_close(ic);
}

/** A Tomcat may process frames in another order than it got them. */
static void test_any_order(void)
{
    static const int orders[][4] = {{3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}, {0, 3, 3, 1}};
    ic_t *ic = pieces_of("16");
    int i;
    int k;

    for (i = 0; i < 4; i++) {
        sc_packet_t like = ic_packet(2, NULL, 0, SC_OPT_BYTE_MESSAGE);

        for (k = 0; k < 4; k++) {
            const char text[2] = {(char)('a' + orders[i][k]), '\0'};

            CU_ASSERT_EQUAL(receive_piece(ic, &like, text, (apr_uint32_t)orders[i][k], 4),
                            APR_SUCCESS);
        }
        if (i == 3) {
            CU_ASSERT_EQUAL(ic->nup, 3);
            CU_ASSERT_EQUAL(receive_piece(ic, &like, "c", 2, 4), APR_SUCCESS);
        }
        CU_ASSERT_TRUE(ic_up_is(ic, i, "abcd"));
    }
    ic_close(ic);
}

/** Pieces of a session's and of a file's message come mixed, each as large as may be; what a sender
 *  has given up makes way before what still goes on. */
static void test_two_lanes_of_a_sender(void)
{
    ic_t *ic = pieces_of("16");
    apr_size_t size = ic->config.receiver.max_frame / 8 - 100;
    char *text = malloc(size + 1);
    sc_packet_t bulk = ic_packet(2, NULL, 0, IC_SYNC);
    sc_packet_t like = ic_packet(2, NULL, 0, IC_SYNC);
    sc_packet_t left;
    apr_uint32_t i;

    memset(text, 'x', size);
    text[size] = '\0';
    for (i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(receive_piece(ic, &bulk, text, i, 8), APR_SUCCESS);
        CU_ASSERT_EQUAL(receive_piece(ic, &like, text, i, 8), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(ic->nup, 2);
    CU_ASSERT_EQUAL(ic->board.count.fragments_refused, 0);
    /* the file's message began first, and goes on */
    bulk = ic_packet(2, NULL, 0, IC_SYNC);
    left = ic_packet(2, NULL, 0, IC_SYNC);
    like = ic_packet(2, NULL, 0, IC_SYNC);
    CU_ASSERT_EQUAL(receive_piece(ic, &bulk, text, 0, 8), APR_SUCCESS);
    for (i = 0; i < 7; i++) {
        CU_ASSERT_EQUAL(receive_piece(ic, &left, text, i, 8), APR_SUCCESS);
    }
    for (i = 1; i < 7; i++) {
        CU_ASSERT_EQUAL(receive_piece(ic, &bulk, text, i, 8), APR_SUCCESS);
    }
    for (i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(receive_piece(ic, &like, text, i, 8), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(receive_piece(ic, &bulk, text, 7, 8), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 4);
    CU_ASSERT_EQUAL(ic->board.count.fragments_refused, 1);
    free(text);
    ic_close(ic);
}

/** Two members may use the same id. */
static void test_senders(void)
{
    ic_t *ic = pieces_of("16");
    sc_packet_t a = ic_packet(2, NULL, 0, IC_SYNC);
    sc_packet_t b = a;

    b.from = ic_member(3);
    CU_ASSERT_EQUAL(receive_piece(ic, &a, "a", 0, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &b, "x", 0, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &b, "y", 1, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &a, "b", 1, 2), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 0, "xy"));
    CU_ASSERT_TRUE(ic_up_is(ic, 1, "ab"));
    /* gone: nothing of it is kept */
    CU_ASSERT_EQUAL(receive_piece(ic, &a, "a", 0, 3), APR_SUCCESS);
    sc_pass_member_gone(&ic->link[ic->nlinks - 1], &a.from, 1);
    CU_ASSERT_EQUAL(ic->gone, 1);
    a = ic_packet(2, NULL, 0, IC_SYNC);
    CU_ASSERT_EQUAL(receive_piece(ic, &a, "a", 0, 2), APR_SUCCESS);
    ic_close(ic);
}

/* ---- strangers ------------------------------------------------------------------------------- */

static void test_malformed(void)
{
    static const struct {
        const char *text;
        apr_uint32_t index;
        apr_uint32_t count;
    } wrong[] = {{"", 0, 1},           {"", 0, 2},           {"x", 0, 0},
                 {"x", 1, 1},          {"x", 5, 2},          {"x", 0xffffffff, 2},
                 {"x", 0, 0xffffffff}, {"x", 0, 0x80000000}, {"x", 0x7fffffff, 0x80000000}};
    static const unsigned char bytes[] = {0, 1, 0, 0, 0, 0, 0, 0, 2, 1};
    ic_t *ic = pieces_of("16");
    sc_packet_t p = ic_packet(2, bytes, 0, IC_SYNC);
    apr_uint64_t refused = 0;
    apr_size_t i;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CU_ASSERT_NOT_EQUAL(receive_piece(ic, &p, wrong[i].text, wrong[i].index, wrong[i].count),
                            APR_SUCCESS);
        refused++;
    }
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS); /* nothing at all */
    for (i = 1; i < 10; i++) {
        p.body = bytes + 10 - i; /* short ones that say they are pieces */
        p.body_len = i;
        CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    }
    p.body = (const unsigned char *)"text\2";
    p.body_len = 5;
    CU_ASSERT_NOT_EQUAL(ic_receive(ic, &p), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->board.count.fragments_refused, refused + 11);
    /* another number of pieces than before: none of it can be trusted */
    CU_ASSERT_EQUAL(receive_piece(ic, &p, "a", 0, 2), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(receive_piece(ic, &p, "b", 1, 3), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(receive_piece(ic, &p, "b", 1, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 0);
    CU_ASSERT_PTR_NULL(strstr(strstr(ic->log, "SC0495") + 1, "SC0495")); /* one line for all */
    ic_close(ic);
}

/** Endless pieces of one message: its size is bounded. */
static void test_endless(void)
{
    ic_t *ic = pieces_of("16");
    sc_packet_t like = ic_packet(9, NULL, 0, IC_SYNC);
    char *text = malloc(1001);
    apr_uint32_t i;

    memset(text, 'x', 1000);
    text[1000] = '\0';
    for (i = 0; i < 5000; i++) {
        if (receive_piece(ic, &like, text, i, 1000000) != APR_SUCCESS) {
            break;
        }
    }
    CU_ASSERT(i >= 1000 && i <= ic->config.receiver.max_frame / 1000);
    CU_ASSERT_EQUAL(ic->board.count.fragments_refused, 1);
    /* in no order, each the first of its kind */
    like = ic_packet(9, NULL, 0, SC_OPT_BYTE_MESSAGE);
    for (i = 0; i < 5000; i++) {
        if (receive_piece(ic, &like, "y", 999999 - i, 1000000) != APR_SUCCESS) {
            break;
        }
    }
    CU_ASSERT(i >= 100 && i <= 1024);
    CU_ASSERT_EQUAL(ic->nup, 0);
    free(text);
    ic_close(ic);
}

/** Endless first pieces, of one stranger and of many: a member's message gets through. */
static void test_flood(void)
{
    ic_t *ic = pieces_of("16");
    sc_member_t member = ic_member(2);
    sc_packet_t like;
    char *text = malloc(200001);
    int i;

    memset(text, 'x', 200000);
    text[200000] = '\0';
    sc_pass_member_added(&ic->link[ic->nlinks - 1], &member);
    like = ic_packet(2, NULL, 0, IC_SYNC);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "begun before, ", 0, 2), APR_SUCCESS);
    for (i = 0; i < 2000; i++) {
        sc_packet_t p = ic_packet(i % 2 ? 9 : 100 + i, NULL, 0, SC_OPT_BYTE_MESSAGE);

        (void)receive_piece(ic, &p, text, 0, 10);
    }
    CU_ASSERT(ic->board.count.fragments_refused > 0 && ic->board.count.held_refused > 0);
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "ended after", 1, 2), APR_SUCCESS);
    CU_ASSERT_TRUE(ic_up_is(ic, 0, "begun before, ended after"));
    /* the member itself leaves unfinished messages behind: the old ones make way */
    for (i = 0; i < 500; i++) {
        like = ic_packet(2, NULL, 0, IC_SYNC);
        CU_ASSERT_EQUAL(receive_piece(ic, &like, text, 0, 2), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(receive_piece(ic, &like, "end", 1, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 2);
    ic_run(ic, apr_time_from_sec(61)); /* all of it goes by itself */
    CU_ASSERT_EQUAL(sc_timers_next(ic->timers), -1);
    free(text);
    ic_close(ic);
}

/** A stranger that becomes a member takes what is held for it along. */
static void test_stranger_becomes_member(void)
{
    ic_t *ic = pieces_of("16");
    sc_member_t m = ic_member(7);
    char *text = malloc(500001);
    sc_packet_t like[4];
    int i;

    memset(text, 'x', 500000);
    text[500000] = '\0';
    for (i = 0; i < 3; i++) { /* all that strangers may have */
        like[i] = ic_packet(7, NULL, 0, IC_SYNC);
        CU_ASSERT_EQUAL(receive_piece(ic, &like[i], text, 0, 2), APR_SUCCESS);
    }
    like[3] = ic_packet(8, NULL, 0, IC_SYNC);
    CU_ASSERT_NOT_EQUAL(receive_piece(ic, &like[3], text, 0, 2), APR_SUCCESS);
    sc_pass_member_added(&ic->link[ic->nlinks - 1], &m);
    CU_ASSERT_EQUAL(receive_piece(ic, &like[3], text, 0, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &like[0], "end", 1, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(receive_piece(ic, &like[3], "end", 1, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(ic->nup, 2);
    sc_pass_member_gone(&ic->link[ic->nlinks - 1], &m, 0); /* and it takes it away again */
    for (i = 0; i < 3; i++) {
        like[i] = ic_packet(8, NULL, 0, IC_SYNC);
        CU_ASSERT_EQUAL(receive_piece(ic, &like[i], text, 0, 2), APR_SUCCESS);
    }
    ic_close(ic);
    free(text);
}

void sc_suite_fragmentation(void)
{
    CU_pSuite s = CU_add_suite("fragmentation", NULL, NULL);

    CU_add_test(s, "what a configuration may say", test_check);
    CU_add_test(s, "captured frames", test_vectors);
    CU_add_test(s, "all sizes", test_sizes);
    CU_add_test(s, "without the flag", test_flag);
    CU_add_test(s, "ends, and order", test_ends);
    CU_add_test(s, "a file that hangs", test_lanes);
    CU_add_test(s, "what may wait", test_bound_of_waiting);
    CU_add_test(s, "stopped, and gone", test_stop_and_gone);
    CU_add_test(s, "answers", test_answers);
    CU_add_test(s, "expired in the middle", test_expired_in_the_middle);
    CU_add_test(s, "any order", test_any_order);
    CU_add_test(s, "two lanes of a sender", test_two_lanes_of_a_sender);
    CU_add_test(s, "several senders", test_senders);
    CU_add_test(s, "malformed pieces", test_malformed);
    CU_add_test(s, "endless pieces", test_endless);
    CU_add_test(s, "endless messages", test_flood);
    CU_add_test(s, "a stranger becomes a member", test_stranger_becomes_member);
}
