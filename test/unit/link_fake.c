/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The link's client against engines that misbehave: their answers are garbage, late, cut off, or of
 * another release.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/engine/link_wire.h"
#include "link_rig.h"

static link_rig_t rig;
static sc_buf_t answer;

static void set_up(void)
{
    link_rig_start(&rig);
    sc_buf_init(&answer, RIG_MAX_MESSAGE);
    CU_ASSERT_EQUAL_FATAL(fcntl(rig.listen_fd, F_SETFL, 0), 0); /* blocking */
}

static void tear_down(void)
{
    sc_buf_free(&answer);
    link_rig_end(&rig);
}

/* A thread that accepts, reads one packet, sends one or two and closes or waits for the end. */
typedef struct fake_t {
    pthread_t thread;
    int listen_fd;
    int accepts; /* connections to serve, one after the other */
    int silent;  /* of these, closed without an answer */
    sc_link_head_t answer[2];
    apr_size_t bytes[2]; /* 0: not sent; otherwise at most the length of a packet */
    int wait;            /* wait for the client to close */
    unsigned int again;  /* requests that came with SC_LINK_AGAIN */
} fake_t;

static void *fake_engine(void *baton)
{
    fake_t *f = baton;
    int i;

    for (i = 0; i < f->accepts; i++) {
        unsigned char packet[SC_LINK_PACKET];
        sc_link_head_t head;
        int fd = accept(f->listen_fd, NULL, NULL);
        int k;

        if (fd < 0 || recv(fd, packet, sizeof(packet), 0) < SC_LINK_HEAD) {
            return NULL;
        }
        memcpy(&head, packet, sizeof(head));
        f->again += (head.flags & SC_LINK_AGAIN) != 0;
        memset(packet, 'x', sizeof(packet));
        for (k = 0; k < 2 && i >= f->silent && f->bytes[k] > 0; k++) {
            sc_link_head_t out = f->answer[k];

            out.serial += head.serial;
            memcpy(packet, &out, sizeof(out));
            if (send(fd, packet, f->bytes[k], MSG_NOSIGNAL) < 0) {
                break;
            }
        }
        while (f->wait && recv(fd, packet, sizeof(packet), 0) > 0) {
        }
        close(fd);
    }
    return NULL;
}

/* An answer's head as it should be; the serial is added to the request's. */
static sc_link_head_t head_of(apr_uint32_t total, apr_uint32_t offset)
{
    sc_link_head_t head;

    sc_wire_head(&head, 0, SC_LINK_CHANGE | SC_LINK_ANSWER, 0, total);
    head.offset = offset;
    return head;
}

static apr_status_t call_fake(fake_t *f, apr_size_t n, apr_interval_time_t timeout)
{
    unsigned char *bytes = calloc(1, n + 1);
    apr_status_t rv;

    f->listen_fd = rig.listen_fd;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&f->thread, NULL, fake_engine, f), 0);
    rv = link_rig_call(&rig, RIG_ECHO, bytes, n, timeout, &answer);
    /* a fake that waits for the client's close gets it when the stock goes */
    apr_pool_clear(rig.pool);
    pthread_join(f->thread, NULL);
    CU_ASSERT_EQUAL(sc_link_client_create(&rig.client, rig.path, 4, rig.pool), APR_SUCCESS);
    free(bytes);
    return rv;
}

static void test_bad_answers(void)
{
    fake_t f;
    int i;

    set_up();
    for (i = 0; i < 12; i++) {
        apr_status_t want = APR_EINVAL;
        apr_status_t rv;

        memset(&f, 0, sizeof(f));
        f.accepts = 1;
        f.answer[0] = head_of(1, 0);
        f.bytes[0] = SC_LINK_HEAD + 1;
        switch (i) {
        case 0: /* all is well */
            want = APR_SUCCESS;
            break;
        case 1:
            f.answer[0].magic++;
            break;
        case 2:
            f.answer[0].abi++;
            want = APR_EMISMATCH;
            break;
        case 3:
            f.bytes[0] = SC_LINK_HEAD - 1;
            break;
        case 4: /* even shorter than what all releases have in common */
            f.bytes[0] = 1;
            break;
        case 5:
            f.answer[0].op = SC_LINK_CHANGE;
            break;
        case 6:
            f.answer[0].op = SC_LINK_FETCH | SC_LINK_ANSWER;
            break;
        case 7:
            f.answer[0].offset = 1;
            f.answer[0].total = 2;
            break;
        case 8: /* piece longer than the message */
            f.bytes[0]++;
            break;
        case 9:
            f.answer[0].total = 0xFFFFFFFFu;
            want = APR_ENOSPC;
            break;
        case 10: /* a gap */
            f.answer[0].total = 3;
            f.answer[1] = head_of(3, 2);
            f.bytes[1] = SC_LINK_HEAD + 1;
            break;
        default: /* the total changes */
            f.answer[0].total = 3;
            f.answer[1] = head_of(2, 1);
            f.bytes[1] = SC_LINK_HEAD + 1;
            break;
        }
        rv = call_fake(&f, 10, RIG_LONG);
        CU_ASSERT_EQUAL(rv, want);
        if (rv != want) {
            fprintf(stderr, "bad answer %d: %d instead of %d\n", i, rv, want);
        }
    }
    tear_down();
}

static void test_late_answer_first(void)
{
    fake_t f;

    set_up();
    memset(&f, 0, sizeof(f));
    f.accepts = 1;
    f.wait = 1;
    f.answer[0] = head_of(5, 0);
    f.answer[0].serial = (apr_uint32_t)-1; /* of the request before */
    f.bytes[0] = SC_LINK_HEAD + 5;
    f.answer[1] = head_of(3, 0);
    f.bytes[1] = SC_LINK_HEAD + 3;
    CU_ASSERT_EQUAL(call_fake(&f, 0, RIG_LONG), APR_SUCCESS);
    CU_ASSERT_EQUAL(answer.len, 3);
    tear_down();
}

/* The engine closes while the request is still being sent; its answer counts nevertheless. */
static void test_answer_before_reset(void)
{
    fake_t f;

    set_up();
    memset(&f, 0, sizeof(f));
    f.accepts = 1;
    f.answer[0] = head_of(0, 0);
    f.answer[0].abi++;
    f.bytes[0] = SC_LINK_HEAD;
    CU_ASSERT_EQUAL(call_fake(&f, 1000000, RIG_LONG), APR_EMISMATCH);
    CU_ASSERT_EQUAL(f.again, 0);
    tear_down();
}

/* The same when all was sent: the connection is reset because the engine did not read everything,
 * and the kernel reports that before the answer. The client is held until both are there. */
static void test_answer_behind_reset(void)
{
    unsigned char *bytes = calloc(1, 3 * SC_LINK_PIECE);
    apr_time_t until = sc_mono(&sc_clock_system) + RIG_LONG;
    sc_link_head_t head;
    int queued = 0;
    pid_t pid;
    int fd;

    set_up();
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        apr_status_t rv =
            link_rig_call(&rig, RIG_ECHO, bytes, 2 * SC_LINK_PIECE, RIG_LONG, &answer);

        _exit(rv == APR_SUCCESS && answer.len == 0 ? 0 : 1);
    }
    fd = accept(rig.listen_fd, NULL, NULL);
    CU_ASSERT_FATAL(fd >= 0);
    while (queued < 2 * SC_LINK_PIECE + 1 + 3 * SC_LINK_HEAD && sc_mono(&sc_clock_system) < until) {
        CU_ASSERT_EQUAL(ioctl(fd, FIONREAD, &queued), 0);
    }
    kill(pid, SIGSTOP);
    CU_ASSERT(link_rig_wait_stopped(pid, RIG_LONG));
    CU_ASSERT_EQUAL(recv(fd, bytes, SC_LINK_PACKET, 0), SC_LINK_PACKET);
    memcpy(&head, bytes, sizeof(head));
    sc_wire_head(&head, head.serial, SC_LINK_CHANGE | SC_LINK_ANSWER, 0, 0);
    CU_ASSERT_EQUAL(send(fd, &head, sizeof(head), MSG_NOSIGNAL), (ssize_t)sizeof(head));
    close(fd);
    kill(pid, SIGCONT);
    CU_ASSERT_EQUAL(link_rig_wait(pid, RIG_LONG), 0);
    free(bytes);
    tear_down();
}

static void test_closed_without_answer(void)
{
    fake_t f;

    set_up();
    memset(&f, 0, sizeof(f));
    f.accepts = 4;
    f.silent = 3;
    f.answer[0] = head_of(1, 0);
    f.bytes[0] = SC_LINK_HEAD + 1;
    CU_ASSERT_EQUAL(call_fake(&f, 100, RIG_LONG), APR_SUCCESS);
    CU_ASSERT_EQUAL(f.again, 3);
    tear_down();
}

void link_rig_add_fake_tests(CU_pSuite suite)
{
    CU_ADD_TEST(suite, test_bad_answers);
    CU_ADD_TEST(suite, test_late_answer_first);
    CU_ADD_TEST(suite, test_answer_before_reset);
    CU_ADD_TEST(suite, test_answer_behind_reset);
    CU_ADD_TEST(suite, test_closed_without_answer);
}
