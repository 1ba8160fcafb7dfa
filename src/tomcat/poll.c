/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Asking for the state of session maps: one question at a time, to one member after the other.
 *
 * A member that came or went changes many locations, so all are asked soon, and once more when the
 * Tomcats have surely noticed, too. Otherwise one is asked each interval, the next one each time:
 * each of them knows where all sessions are. Writing that down costs a Tomcat time, so the
 * intervals get longer when answers take long.
 *
 * An answer is read twice, in slices between which the engine does other things: the first time to
 * see whether all of it is good, the second time to take it over.
 */
#include <string.h>

#include "internal.h"

/* All are asked so often at most, however quickly members come and go. */
#define ALL_PAUSE apr_time_from_sec(1)
/* Asking takes this part of the time at most. */
#define SHARE 10
#define SLICE 1000
/* A member whose answer is too large, or who has no such map, is left alone for so long. */
#define REST apr_time_from_sec(60)

typedef enum phase_t {
    IDLE,
    ASKING,  /* the question is on its way */
    WAITING, /* it was acknowledged */
    CHECKING,
    TAKING
} phase_t;

struct sc_tc_poll_t {
    const sc_tomcat_env_t *env;
    sc_tc_members_t *members;
    sc_tc_table_t *table;
    apr_pool_t *pool;
    sc_tc_answers_t *answers;
    sc_uid_t self; /* of this life, so that no Tomcat takes a former one's connections for its */
    apr_time_t began;

    apr_uint64_t todo[SC_TOMCAT_MAPS_MAX]; /* members to be asked, by their place */
    int last[SC_TOMCAT_MAPS_MAX];          /* who was asked last */
    sc_timer_t next, all, again, regular;

    phase_t phase;
    apr_uint32_t map;
    sc_tc_member_t *member;
    sc_uid_t call;
    sc_tc_link_t link;
    sc_timer_t deadline, slice;
    sc_buf_t frame; /* the answer */
    sc_packet_t answer;
    sc_state_t state;
    int open;
    apr_uint32_t entries;      /* in it */
    apr_time_t asked, arrived; /* question and answer */
    apr_time_t all_at;         /* not all of them earlier */
    sc_log_limit_t failed_log;
};

static const sc_config_tomcat_t *conf(const sc_tc_poll_t *p)
{
    return &p->env->config->tomcat;
}

static void set_timer(sc_tc_poll_t *p, sc_timer_t *t, apr_interval_time_t in, sc_timer_fn_t *fn)
{
    (void)sc_timer_set(sc_loop_timers(p->env->loop), t, sc_loop_now(p->env->loop) + in, fn, p);
}

static void next_due(void *baton, apr_time_t now);

/* ---- the end of a question ------------------------------------------------------------------- */

/* The link stays for its acknowledgement: a Tomcat that cannot give it complains. */
static void settle(sc_tc_poll_t *p)
{
    sc_timer_cancel(sc_loop_timers(p->env->loop), &p->deadline);
    sc_timer_cancel(sc_loop_timers(p->env->loop), &p->slice);
    if (p->open) {
        sc_state_close(&p->state);
        p->open = 0;
    }
    sc_buf_free(&p->frame);
    p->phase = IDLE;
    (void)sc_tc_answers_forget(p->answers);
    set_timer(p, &p->next, 0, next_due);
}

/* @param answered whether an answer has come */
static void failed(sc_tc_poll_t *p, apr_status_t rv, int answered, const char *why)
{
    apr_uint64_t more = 0;

    if (answered) {
        sc_count(sc_store_board(p->env->store), tomcat_refused, 1);
    }
    if (sc_log_allowed(&p->failed_log, sc_loop_now(p->env->loop), SC_TC_COMPLAIN, &more)) {
        sc_log(p->env->log, SC_LOG_WARNING, rv,
               "SC0808: Tomcat %s:%d did not tell where the sessions of map %s are: %s "
               "(%" APR_UINT64_T_FMT " more before)",
               p->member->host, p->member->key.port, conf(p)->map[p->map], why, more);
    }
    settle(p);
}

static void deadline_due(void *baton, apr_time_t now)
{
    sc_tc_poll_t *p = baton;
    int some = sc_tc_answers_forget(p->answers);

    (void)now;
    failed(p, 0, some, some ? "its answer did not come to its end" : "no answer in time");
}

/* ---- the answer ------------------------------------------------------------------------------ */

static apr_status_t open_state(sc_tc_poll_t *p)
{
    apr_status_t rv = sc_state_open(&p->state, p->answer.body, p->answer.body_len, &p->call,
                                    conf(p)->map[p->map]);

    p->open = rv == APR_SUCCESS;
    return rv;
}

/* How long answers take now says how often there may be one. */
static void adapt(sc_tc_poll_t *p)
{
    apr_interval_time_t pause = apr_time_from_msec(conf(p)->interval_ms);
    apr_interval_time_t took = p->arrived - p->asked;

    p->table->pause = pause > SHARE * took ? pause : SHARE * took;
}

static void taken(sc_tc_poll_t *p)
{
    adapt(p);
    sc_count(sc_store_board(p->env->store), tomcat_answers, 1);
    sc_log(p->env->log, SC_LOG_DEBUG, 0,
           "SC0809: Tomcat %s:%d told where %u sessions of map %s are (%" APR_SIZE_T_FMT
           " bytes; %" APR_TIME_T_FMT " ms until they were here, %" APR_TIME_T_FMT
           " ms to take them over)",
           p->member->host, p->member->key.port, p->entries, conf(p)->map[p->map], p->frame.len,
           apr_time_as_msec(p->arrived - p->asked),
           apr_time_as_msec(sc_mono(p->env->clock) - p->arrived));
    settle(p);
}

static void slice_due(void *baton, apr_time_t now)
{
    sc_tc_poll_t *p = baton;
    sc_location_t location;
    apr_status_t rv = APR_SUCCESS;

    (void)now;
    for (int i = 0; i < SLICE && rv == APR_SUCCESS; i++) {
        rv = sc_state_next(&p->state, &location);
        if (rv == APR_SUCCESS && p->phase == TAKING) {
            sc_tc_table_enter(p->table, p->map, p->members, p->member, &p->state, &location);
        }
    }
    if (rv == APR_EOF && p->phase == CHECKING) {
        sc_state_close(&p->state);
        rv = open_state(p);
        p->phase = TAKING;
    }
    if (rv == APR_SUCCESS) {
        set_timer(p, &p->slice, 0, slice_due);
    } else if (rv == APR_EOF) {
        taken(p);
    } else {
        failed(p, 0, 1, "its answer is malformed");
    }
}

static const sc_uid_t *wanted(void *baton)
{
    const sc_tc_poll_t *p = baton;

    return p->phase == ASKING || p->phase == WAITING ? &p->call : NULL;
}

static void answer_frame(void *baton, sc_buf_t *frame)
{
    sc_tc_poll_t *p = baton;
    apr_status_t rv = sc_packet_get(&p->answer, frame->data + 11, frame->len - SC_FRAME_OVERHEAD);

    if (rv == APR_SUCCESS) {
        sc_tc_members_answered(p->members, p->member, &p->answer.from);
        rv = p->answer.options & SC_OPT_BYTE_MESSAGE ? APR_EINVAL : open_state(p);
    }
    if (rv == APR_NOTFOUND) {
        p->member->rest_to[p->map] = sc_loop_now(p->env->loop) + REST;
        failed(p, 0, 0, "it has no map of that name (map=)");
    } else if (rv != APR_SUCCESS) {
        failed(p, 0, 1, "its answer is malformed");
    } else {
        sc_timer_cancel(sc_loop_timers(p->env->loop), &p->deadline);
        sc_buf_swap(&p->frame, frame); /* the bytes stay where they are */
        p->phase = CHECKING;
        p->entries = p->state.left;
        p->arrived = sc_mono(p->env->clock);
        set_timer(p, &p->slice, 0, slice_due);
    }
}

static void answer_failed(void *baton, apr_status_t why)
{
    sc_tc_poll_t *p = baton;

    if (p->phase != ASKING && p->phase != WAITING) {
        return;
    }
    if (why == APR_ENOSPC) {
        p->member->rest_to[p->map] = sc_loop_now(p->env->loop) + REST;
        failed(p, 0, 1, "its answer is larger than maxAnswer=");
    } else {
        failed(p, 0, 1, "its answer was cut off");
    }
}

/* ---- the question ---------------------------------------------------------------------------- */

static void write_question(void *baton, sc_buf_t *b, sc_member_t *from)
{
    sc_tc_poll_t *p = baton;
    char address[SC_HOST_MAX + 1];
    apr_uint32_t port = 0;
    sc_packet_t packet;

    sc_member_host(from, address);
    if (conf(p)->reply_address[0]) {
        memcpy(address, conf(p)->reply_address, sizeof(address));
        b->err = sc_member_set_host(from, address);
    }
    if (b->err == APR_SUCCESS) {
        b->err = sc_tc_answers_at(p->answers, address, &port);
    }
    if (b->err == APR_SUCCESS) {
        b->err = sc_uid_generate(&p->call);
    }
    from->port = (apr_int32_t)port;
    from->uid = p->self;
    from->alive_ms = (apr_uint64_t)apr_time_as_msec(sc_loop_now(p->env->loop) - p->began);
    if (b->err == APR_SUCCESS) {
        b->err = sc_tc_packet(p->env, &packet, from, SC_OPT_USE_ACK);
    }
    if (b->err == APR_SUCCESS) {
        sc_state_request(b, &packet, &p->call, conf(p)->map[p->map]);
    }
}

static void question_done(void *baton, apr_status_t rv)
{
    sc_tc_poll_t *p = baton;

    if (p->phase == IDLE) {
        set_timer(p, &p->next, 0, next_due); /* it waits for the link */
    } else if (p->phase != ASKING) {
        return; /* the answer was quicker */
    } else if (rv == APR_SUCCESS) {
        p->phase = WAITING;
    } else {
        failed(p, rv, 0, "it could not be asked");
    }
}

static void ask(sc_tc_poll_t *p, apr_uint32_t map, int place)
{
    apr_interval_time_t timeout = apr_time_from_msec(conf(p)->timeout_ms);
    apr_status_t rv;

    p->map = map;
    p->member = &p->members->at[place];
    p->last[map] = place;
    p->phase = ASKING;
    p->asked = sc_mono(p->env->clock);
    memset(&p->call, 0, sizeof(p->call));
    (void)sc_random(&p->call, sizeof(p->call)); /* until the question is written */
    sc_count(sc_store_board(p->env->store), tomcat_asked, 1);
    set_timer(p, &p->deadline, timeout, deadline_due);
    rv = sc_tc_link_begin(&p->link, p->env, p->pool, p->member->host, p->member->key.port, timeout,
                          write_question, question_done, p);
    if (rv != APR_SUCCESS) {
        failed(p, rv, 0, "it could not be asked");
    }
}

/* ---- whom to ask, and when ------------------------------------------------------------------- */

static int can_answer(const sc_tc_poll_t *p, apr_uint32_t map, int place)
{
    const sc_tc_member_t *m = &p->members->at[place];

    return m->standing == SC_TC_ALIVE && m->rest_to[map] <= sc_loop_now(p->env->loop);
}

static int after(const sc_tc_poll_t *p, apr_uint32_t map, int i)
{
    return (p->last[map] + 1 + i) % SC_MEMBERS_MAX;
}

static void next_due(void *baton, apr_time_t now)
{
    sc_tc_poll_t *p = baton;

    (void)now;
    if (p->link.pool != NULL) {
        return;
    }
    for (apr_uint32_t map = 0; p->phase == IDLE && map < conf(p)->nmaps; map++) {
        for (int i = 0; p->phase == IDLE && i < SC_MEMBERS_MAX; i++) {
            int place = after(p, map, i);
            apr_uint64_t bit = (apr_uint64_t)1 << place;

            if (p->todo[map] & bit) {
                p->todo[map] &= ~bit;
                if (can_answer(p, map, place)) {
                    ask(p, map, place);
                }
            }
        }
    }
}

static void ask_next(sc_tc_poll_t *p)
{
    if (p->phase == IDLE) {
        set_timer(p, &p->next, 0, next_due);
    }
}

static void all_due(void *baton, apr_time_t now)
{
    sc_tc_poll_t *p = baton;

    p->all_at = now + ALL_PAUSE;
    for (apr_uint32_t map = 0; map < conf(p)->nmaps; map++) {
        p->todo[map] = ~(apr_uint64_t)0;
    }
    ask_next(p);
}

static void regular_due(void *baton, apr_time_t now)
{
    sc_tc_poll_t *p = baton;

    (void)now;
    for (apr_uint32_t map = 0; map < conf(p)->nmaps; map++) {
        for (int i = 0; p->todo[map] == 0 && i < SC_MEMBERS_MAX; i++) {
            if (can_answer(p, map, after(p, map, i))) {
                p->todo[map] = (apr_uint64_t)1 << after(p, map, i);
            }
        }
    }
    ask_next(p);
    set_timer(p, &p->regular, p->table->pause, regular_due);
}

void sc_tc_poll_all(sc_tc_poll_t *p)
{
    if (conf(p)->nmaps == 0) {
        return;
    }
    p->table->era++;
    if ((p->phase == ASKING || p->phase == WAITING) && p->member->standing != SC_TC_ALIVE) {
        sc_tc_link_close(&p->link);
        failed(p, 0, 0, "it is gone");
    }
    if (p->all.index == 0) {
        apr_time_t now = sc_loop_now(p->env->loop);

        set_timer(p, &p->all, p->all_at > now ? p->all_at - now : 0, all_due);
    }
    set_timer(p, &p->again, apr_time_from_msec(conf(p)->drop_ms) + apr_time_from_sec(1), all_due);
}

/* ---- life ------------------------------------------------------------------------------------ */

sc_tc_poll_t *sc_tc_poll_create(const sc_tomcat_env_t *env, sc_tc_members_t *members,
                                sc_tc_table_t *table, apr_pool_t *pool)
{
    sc_tc_poll_t *p = apr_pcalloc(pool, sizeof(*p));
    sc_tc_answers_up_t up = {p, wanted, answer_frame, answer_failed};

    p->env = env;
    p->members = members;
    p->table = table;
    p->pool = pool;
    p->began = sc_loop_now(env->loop);
    sc_buf_init(&p->frame, env->config->tomcat.max_answer + (apr_size_t)SC_FRAME_HEAD_MAX);
    p->answers = sc_tc_answers_create(env, &up, pool);
    return sc_uid_generate(&p->self) == APR_SUCCESS ? p : NULL;
}

void sc_tc_poll_start(sc_tc_poll_t *p)
{
    if (conf(p)->nmaps > 0) {
        set_timer(p, &p->regular, apr_time_from_msec(conf(p)->interval_ms), regular_due);
    }
}

void sc_tc_poll_close(sc_tc_poll_t *p)
{
    sc_timers_t *timers = sc_loop_timers(p->env->loop);

    settle(p);
    sc_tc_link_close(&p->link);
    sc_timer_cancel(timers, &p->next);
    sc_timer_cancel(timers, &p->all);
    sc_timer_cancel(timers, &p->again);
    sc_timer_cancel(timers, &p->regular);
    sc_tc_answers_close(p->answers);
}
