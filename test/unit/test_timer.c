/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The timer heap, against a list that is searched linearly.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "sc_timer.h"

void sc_suite_timer(void);

enum { MANY = 300 };

typedef struct item_t {
    sc_timer_t timer;
    struct plan_t *plan;
    int fired;
    int armed;
    apr_time_t due;
    apr_uint64_t order;
} item_t;

typedef struct plan_t {
    sc_timers_t *ts;
    item_t item[MANY];
    int fired;
    int sequence[4 * MANY];
    apr_time_t last;
    /* what the callback does besides counting */
    sc_timer_t *cancel;
    apr_time_t rearm;
} plan_t;

static apr_pool_t *pool;

static int suite_init(void)
{
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : 1;
}

static int suite_clean(void)
{
    apr_pool_destroy(pool);
    return 0;
}

static void on_timer(void *baton, apr_time_t now)
{
    item_t *it = baton;
    plan_t *p = it->plan;

    CU_ASSERT(it->timer.due <= now);
    CU_ASSERT_EQUAL(it->timer.index, 0); /* disarmed already, so it may be armed again */
    it->fired++;
    if (p->fired < 4 * MANY) {
        p->sequence[p->fired] = (int)(it - p->item);
    }
    p->fired++;
    p->last = now;
    if (p->cancel != NULL) {
        sc_timer_cancel(p->ts, p->cancel);
        p->cancel = NULL;
    }
    if (p->rearm >= 0) {
        CU_ASSERT_EQUAL(sc_timer_set(p->ts, &it->timer, p->rearm, on_timer, it), APR_SUCCESS);
    }
}

static plan_t *plan_create(void)
{
    plan_t *p = calloc(1, sizeof(*p));
    int i;

    p->ts = sc_timers_create(pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->ts);
    p->rearm = -1;
    for (i = 0; i < MANY; i++) {
        p->item[i].plan = p;
    }
    return p;
}

static void arm(plan_t *p, int i, apr_time_t due)
{
    CU_ASSERT_EQUAL(sc_timer_set(p->ts, &p->item[i].timer, due, on_timer, &p->item[i]),
                    APR_SUCCESS);
}

static void test_order(void)
{
    plan_t *p = plan_create();
    static const int due[] = {50, 10, 30, 10, 20, 10};
    static const int want[] = {1, 3, 5, 4, 2};
    int i;

    CU_ASSERT_EQUAL(sc_timers_next(p->ts), -1);
    sc_timers_run(p->ts, 1000);
    for (i = 0; i < 6; i++) {
        arm(p, i, due[i]);
    }
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), 10);
    sc_timers_run(p->ts, 9);
    CU_ASSERT_EQUAL(p->fired, 0);
    sc_timers_run(p->ts, 49);
    CU_ASSERT_EQUAL(p->fired, 5);
    CU_ASSERT(memcmp(p->sequence, want, sizeof(want)) == 0); /* by time, equals as armed */
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), 50);
    sc_timers_run(p->ts, 50);
    CU_ASSERT_EQUAL(p->fired, 6);
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), -1);
    free(p);
}

static void test_move_and_cancel(void)
{
    plan_t *p = plan_create();

    sc_timer_cancel(p->ts, &p->item[0].timer); /* never armed */
    arm(p, 0, 10);
    arm(p, 1, 20);
    arm(p, 0, 30); /* moved back */
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), 20);
    arm(p, 0, 5); /* and forth */
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), 5);
    sc_timer_cancel(p->ts, &p->item[0].timer);
    sc_timer_cancel(p->ts, &p->item[0].timer);
    sc_timers_run(p->ts, 100);
    CU_ASSERT_EQUAL(p->item[0].fired, 0);
    CU_ASSERT_EQUAL(p->item[1].fired, 1);
    free(p);
}

/* A callback that cancels another timer that is due in the same run: it must not fire. */
static void test_cancel_from_callback(void)
{
    plan_t *p = plan_create();

    arm(p, 0, 10);
    arm(p, 1, 10);
    arm(p, 2, 10);
    p->cancel = &p->item[1].timer;
    sc_timers_run(p->ts, 10);
    CU_ASSERT_EQUAL(p->item[0].fired, 1);
    CU_ASSERT_EQUAL(p->item[1].fired, 0);
    CU_ASSERT_EQUAL(p->item[2].fired, 1);
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), -1);
    free(p);
}

/* A callback that arms itself for the past: once per run, and it does not hold up the others. */
static void test_rearm_for_now(void)
{
    plan_t *p = plan_create();

    arm(p, 0, 10);
    arm(p, 1, 20);
    arm(p, 2, 99);
    p->rearm = 1;
    sc_timers_run(p->ts, 30);
    CU_ASSERT_EQUAL(p->item[0].fired, 1);
    CU_ASSERT_EQUAL(p->item[1].fired, 1);
    CU_ASSERT_EQUAL(p->item[2].fired, 0);
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), 1);
    sc_timers_run(p->ts, 30); /* the same instant: the next call */
    CU_ASSERT_EQUAL(p->item[0].fired, 2);
    CU_ASSERT_EQUAL(p->item[1].fired, 2);
    /* a late one can be cancelled by another one in the same run */
    p->rearm = -1;
    sc_timers_run(p->ts, 30);
    CU_ASSERT_EQUAL(p->item[0].fired, 3);
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), 99);
    free(p);
}

static void on_cancel_late(void *baton, apr_time_t now)
{
    plan_t *p = baton;

    arm(p, 5, now - 3); /* late */
    arm(p, 6, now);     /* late */
    arm(p, 7, now + 1);
    sc_timer_cancel(p->ts, &p->item[5].timer);
    arm(p, 6, now + 2);              /* late no more */
    sc_timers_run(p->ts, now + 100); /* nested: does nothing */
}

static void test_late_timers_cancelled(void)
{
    plan_t *p = plan_create();
    sc_timer_t t;

    memset(&t, 0, sizeof(t));
    CU_ASSERT_EQUAL(sc_timer_set(p->ts, &t, 10, on_cancel_late, p), APR_SUCCESS);
    sc_timers_run(p->ts, 10);
    CU_ASSERT_EQUAL(p->fired, 0);
    CU_ASSERT_EQUAL(sc_timers_next(p->ts), 11);
    sc_timers_run(p->ts, 50);
    CU_ASSERT_EQUAL(p->item[5].fired, 0);
    CU_ASSERT_EQUAL(p->item[6].fired, 1);
    CU_ASSERT_EQUAL(p->item[7].fired, 1);
    free(p);
}

static void test_model(void)
{
    plan_t *p = plan_create();
    unsigned int seed = 4711;
    apr_uint64_t order = 0;
    apr_time_t now = 0;
    int step, i;

    for (step = 0; step < 20000; step++) {
        item_t *it = &p->item[rand_r(&seed) % MANY];
        int what = rand_r(&seed) % 10;

        if (what < 6) {
            it->due = now + 1 + rand_r(&seed) % 200;
            it->armed = 1;
            it->order = ++order;
            arm(p, (int)(it - p->item), it->due);
        } else if (what < 8) {
            it->armed = 0;
            sc_timer_cancel(p->ts, &it->timer);
        } else {
            int k;

            now += rand_r(&seed) % 20;
            p->fired = 0;
            sc_timers_run(p->ts, now);
            CU_ASSERT_FATAL(p->fired <= MANY);
            for (k = 0; k < p->fired; k++) {
                item_t *f = &p->item[p->sequence[k]];
                CU_ASSERT(f->armed && f->due <= now);
                f->armed = 0;
                if (k > 0) {
                    item_t *prev = &p->item[p->sequence[k - 1]];
                    CU_ASSERT(prev->due < f->due ||
                              (prev->due == f->due && prev->order < f->order));
                }
            }
            for (i = 0; i < MANY; i++) {
                CU_ASSERT(!p->item[i].armed || p->item[i].due > now);
            }
        }
        if (step % 16 == 0) {
            apr_time_t next = -1;

            for (i = 0; i < MANY; i++) {
                if (p->item[i].armed && (next < 0 || p->item[i].due < next)) {
                    next = p->item[i].due;
                }
                CU_ASSERT_EQUAL(p->item[i].armed != 0, p->item[i].timer.index != 0);
            }
            CU_ASSERT_EQUAL(next, sc_timers_next(p->ts));
        }
    }
    free(p);
}

void sc_suite_timer(void)
{
    CU_pSuite s = CU_add_suite("timer", suite_init, suite_clean);

    CU_add_test(s, "order", test_order);
    CU_add_test(s, "move and cancel", test_move_and_cancel);
    CU_add_test(s, "cancel from a callback", test_cancel_from_callback);
    CU_add_test(s, "armed for now from a callback", test_rearm_for_now);
    CU_add_test(s, "late timers moved and cancelled", test_late_timers_cancelled);
    CU_add_test(s, "against a model", test_model);
}
