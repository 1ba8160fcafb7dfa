/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The deployer in the engine: it carries messages between its process (pair.c) and the channel, and
 * counts what is under way. It waits for neither: what goes out goes beside the sessions
 * (sc_channel_send_bulk), and a member that does not acknowledge gets no more.
 *
 * What the process says is checked as far as memory is concerned: it has spoken with strangers.
 */
#include <stdlib.h>
#include <string.h>

#include "pair.h"

/** Bytes under way to one member. */
#define MEMBER_MAX (1024 * 1024)
#define LOG_INTERVAL apr_time_from_sec(10)
/** Sessions are written when so many changes come within that time. */
#define BUSY_CHANGES 3
#define BUSY_TIME apr_time_from_sec(1)

/** What is counted here and on the noticeboard. */
#define COUNTS(X)                                                                                  \
    X(placed)                                                                                      \
    X(removed)                                                                                     \
    X(bytes_in)                                                                                    \
    X(bytes_out)                                                                                   \
    X(refused)                                                                                     \
    X(failed)                                                                                      \
    X(conflicts)                                                                                   \
    X(batches)                                                                                     \
    X(commands)                                                                                    \
    X(commands_failed)

typedef struct place_t {
    apr_uint32_t ref; /* 0: free */
    sc_member_t member;
    apr_size_t under_way;
} place_t;

/** A message on its way to a member. */
typedef struct sending_t {
    sc_deployer_t *d;
    apr_uint32_t ref;
    int bulk;
    apr_size_t len;
} sending_t;

struct sc_deployer_t {
    sc_deployer_env_t env;
    sc_pair_t pair;
    place_t place[SC_FARM_PEERS];
    apr_uint32_t refs;
    sc_farm_counts_t before; /* counted by processes that have ended, and engines before this one */
    sc_farm_counts_t last;   /* by the one that runs */
    sc_log_limit_t refused_log;
    int busy;                 /* sessions are written, and the process knows */
    apr_uint64_t changes;     /* of sessions, at the begin of this second */
    apr_time_t changes_since; /* which began then */
    sc_timer_t look;
};

/* ---- members -------------------------------------------------------------------------------- */

static place_t *place_of(sc_deployer_t *d, const sc_member_t *m)
{
    unsigned int i;

    for (i = 0; i < SC_FARM_PEERS; i++) {
        if (d->place[i].ref != 0 && sc_member_same(&d->place[i].member, m)) {
            return &d->place[i];
        }
    }
    return NULL;
}

static place_t *place_at(sc_deployer_t *d, apr_uint32_t ref)
{
    unsigned int i;

    for (i = 0; i < SC_FARM_PEERS && ref != 0; i++) {
        if (d->place[i].ref == ref) {
            return &d->place[i];
        }
    }
    return NULL;
}

static void tell_joined(sc_deployer_t *d, const place_t *place)
{
    char name[SC_MEMBER_NAME];

    sc_member_name(&place->member, name);
    sc_pair_tell(&d->pair, SC_DEPLOY_JOINED, place->ref, name, strlen(name));
}

/* ---- sessions first -------------------------------------------------------------------------- */

/** Changes of sessions that this node has made or heard of. */
static apr_uint64_t count_changes(const sc_deployer_t *d)
{
    const sc_board_t *b = d->env.board;

    return sc_board_get(b->count.created) + sc_board_get(b->count.changed) +
           sc_board_get(b->count.invalidated) + sc_board_get(b->count.applied);
}

static void tell_busy(sc_deployer_t *d)
{
    sc_pair_tell(&d->pair, SC_DEPLOY_BUSY, d->busy != 0, NULL, 0);
}

/** Notice that sessions are written, or that they are not any more. It is called for each message,
 *  since a deployment can do much between two looks of a timer. */
static void look_for_changes(sc_deployer_t *d)
{
    apr_time_t now = sc_loop_now(d->env.loop);
    apr_uint64_t changes = count_changes(d);
    int over = now - d->changes_since >= BUSY_TIME;
    int busy = changes - d->changes >= BUSY_CHANGES || (d->busy && !over);

    if (over) {
        d->changes = changes;
        d->changes_since = now;
    }
    if (busy != d->busy) {
        d->busy = busy;
        tell_busy(d);
    }
}

static void look_due(void *baton, apr_time_t now)
{
    sc_deployer_t *d = baton;

    look_for_changes(d);
    (void)sc_timer_set(sc_loop_timers(d->env.loop), &d->look, now + BUSY_TIME, look_due, d);
}

/* ---- from the process to members ------------------------------------------------------------ */

static void sent(void *baton, apr_status_t rv)
{
    sending_t *s = baton;
    place_t *place = place_at(s->d, s->ref);

    (void)rv; /* what was lost is asked for again */
    if (place != NULL) {
        place->under_way -= s->len;
        if (s->bulk) {
            sc_pair_tell(&s->d->pair, SC_DEPLOY_SENT, s->ref, NULL, 0);
        }
    }
    free(s);
}

/** @return 0: it will not be sent */
static int send_to(sc_deployer_t *d, place_t *place, int bulk, const void *bytes, apr_size_t len)
{
    sending_t *s = place->under_way + len <= MEMBER_MAX ? calloc(1, sizeof(*s)) : NULL;

    if (s == NULL) {
        return 0;
    }
    s->d = d;
    s->ref = place->ref;
    s->bulk = bulk;
    s->len = len;
    if (d->env.send(d->env.ctx, &place->member, bytes, len, sent, s) != APR_SUCCESS) {
        free(s);
        return 0;
    }
    place->under_way += len;
    return 1;
}

static void take_message(sc_deployer_t *d, int bulk, const unsigned char *bytes, apr_size_t len)
{
    apr_uint32_t ref;
    place_t *place;

    if (len < sizeof(ref)) {
        return;
    }
    memcpy(&ref, bytes, sizeof(ref));
    place = place_at(d, ref); /* NULL: it left this moment */
    if (place != NULL && !send_to(d, place, bulk, bytes + sizeof(ref), len - sizeof(ref)) && bulk) {
        sc_pair_tell(&d->pair, SC_DEPLOY_SENT, ref, NULL, 0);
    }
}

/* ---- counts --------------------------------------------------------------------------------- */

/** What engines before this one have counted. */
static void read_counts(sc_deployer_t *d)
{
#define READ(name) d->before.name = sc_board_get(d->env.board->count.deploy_##name);
    COUNTS(READ)
#undef READ
}

static void show_command(sc_board_t *b, apr_uint32_t how, apr_uint32_t code, apr_time_t at)
{
    sc_board_set(b->deploy.command, how);
    sc_board_set(b->deploy.command_code, code);
    sc_board_set(b->deploy.command_at, at);
}

/** Nothing is under way without a process, and how a command ended that ran nobody knows. */
static void show_nothing(sc_board_t *b)
{
    sc_board_set(b->deploy.on, 0);
    sc_board_set(b->deploy.waiting, 0);
    sc_board_set(b->deploy.done_bytes, 0);
    sc_board_set(b->deploy.blind, 0);
    sc_board_set_ways(b, NULL, NULL);
    if (sc_board_get(b->deploy.command) == SC_COMMAND_RUNS) {
        show_command(b, SC_COMMAND_NONE, 0, 0);
    }
}

static void show_counts(sc_deployer_t *d)
{
    sc_board_t *b = d->env.board;

#define SHOW(name) sc_board_set(b->count.deploy_##name, d->before.name + d->last.name);
    COUNTS(SHOW)
#undef SHOW
    sc_board_set(b->deploy.files, (apr_uint32_t)d->last.files);
    sc_board_set(b->deploy.waiting, (apr_uint32_t)d->last.waiting);
    sc_board_set(b->deploy.bytes, d->last.total_bytes);
    sc_board_set(b->deploy.done_bytes, d->last.done_bytes);
    sc_board_set(b->deploy.version, d->last.version);
    sc_board_set(b->deploy.blind, d->last.blind != 0);
    sc_board_set_ways(b, &d->last.in, &d->last.out);
    /* what a former process has done stays until this one has done the like */
    if (d->last.batch_at != 0) {
        sc_board_set(b->deploy.batch_at, d->last.batch_at);
    }
    if (d->last.command != SC_COMMAND_NONE && d->last.command < SC_COMMAND_ENDS) {
        show_command(b, d->last.command, d->last.command_code, d->last.command_at);
    }
}

/* ---- what the process does ------------------------------------------------------------------ */

static void process_begun(void *baton)
{
    sc_deployer_t *d = baton;
    unsigned int i;

    sc_board_set(d->env.board->deploy.on, 1);
    tell_busy(d);
    for (i = 0; i < SC_FARM_PEERS; i++) {
        if (d->place[i].ref != 0) {
            tell_joined(d, &d->place[i]);
        }
    }
}

static void process_ended(void *baton)
{
    sc_deployer_t *d = baton;

#define KEEP(name) d->before.name += d->last.name;
    COUNTS(KEEP)
#undef KEEP
    memset(&d->last, 0, sizeof(d->last));
    show_nothing(d->env.board);
}

static void take_log(const sc_deployer_t *d, const unsigned char *bytes, apr_size_t len)
{
    apr_uint32_t rv;

    if (len >= 1 + sizeof(rv) && bytes[0] <= SC_LOG_TRACE) {
        memcpy(&rv, bytes + 1, sizeof(rv));
        sc_log(d->env.log, (sc_log_level_t)bytes[0], (apr_status_t)rv, "%.*s",
               (int)(len - 1 - sizeof(rv)), (const char *)bytes + 1 + sizeof(rv));
    }
}

static void process_said(void *baton, unsigned int what, const unsigned char *bytes, apr_size_t len)
{
    sc_deployer_t *d = baton;
    sc_board_t *b = d->env.board;

    look_for_changes(d);
    switch (what) {
    case SC_DEPLOY_SEND:
    case SC_DEPLOY_SEND_BULK:
        take_message(d, what == SC_DEPLOY_SEND_BULK, bytes, len);
        break;
    case SC_DEPLOY_COUNTS:
        if (len == sizeof(d->last)) {
            memcpy(&d->last, bytes, sizeof(d->last));
            show_counts(d);
        }
        break;
    case SC_DEPLOY_LOG:
        take_log(d, bytes, len);
        break;
    case SC_DEPLOY_RESTART:
        sc_board_set(b->deploy.restarts, b->deploy.restarts + 1);
        break;
    default:
        break;
    }
}

/* ---- called by the engine ------------------------------------------------------------------- */

apr_status_t sc_deployer_create(sc_deployer_t **out, const sc_deployer_env_t *env, apr_pool_t *pool)
{
    sc_deployer_t *d = apr_pcalloc(pool, sizeof(*d));
    sc_pair_up_t up = {d, process_begun, process_ended, process_said};

    if (env->config->secret.count == 0) {
        return APR_EINVAL; /* files only from who has proven to be a member */
    }
    d->env = *env;
    sc_pair_init(&d->pair, env, &up, pool);
    read_counts(d);
    show_nothing(env->board);
    *out = d;
    return APR_SUCCESS;
}

void sc_deployer_start(sc_deployer_t *d)
{
    d->changes = count_changes(d);
    look_due(d, sc_mono(sc_loop_clock(d->env.loop)));
    sc_pair_start(&d->pair);
}

void sc_deployer_stop(sc_deployer_t *d)
{
    sc_timer_cancel(sc_loop_timers(d->env.loop), &d->look);
    sc_pair_stop(&d->pair);
}

void sc_deployer_member_added(sc_deployer_t *d, const sc_member_t *m)
{
    unsigned int i;

    for (i = 0; i < SC_FARM_PEERS; i++) {
        if (d->place[i].ref == 0) {
            d->refs = d->refs + 1 != 0 ? d->refs + 1 : 1;
            d->place[i].ref = d->refs;
            d->place[i].member = *m;
            d->place[i].under_way = 0;
            tell_joined(d, &d->place[i]);
            return;
        }
    }
}

void sc_deployer_member_gone(sc_deployer_t *d, const sc_member_t *m)
{
    place_t *place = place_of(d, m);

    if (place != NULL) {
        sc_pair_tell(&d->pair, SC_DEPLOY_LEFT, place->ref, NULL, 0);
        memset(place, 0, sizeof(*place));
    }
}

void sc_deployer_message(sc_deployer_t *d, const sc_member_t *from, const void *bytes,
                         apr_size_t len)
{
    const place_t *place = place_of(d, from);
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    if (place == NULL) { /* who does not know it yet is told again when it does */
        sc_log(d->env.log, SC_LOG_DEBUG, 0,
               "SC0924: a deployer's message of %s, which is no member here, was ignored",
               sc_member_name(from, name));
        return;
    }
    look_for_changes(d);
    if (len <= SC_DEPLOY_PACKET_MAX - SC_PAIR_HEAD) {
        sc_pair_tell(&d->pair, SC_DEPLOY_MESSAGE, place->ref, bytes, len);
        return;
    }
    d->before.refused++;
    show_counts(d);
    if (sc_log_allowed(&d->refused_log, sc_loop_now(d->env.loop), LOG_INTERVAL, &more)) {
        sc_log(d->env.log, SC_LOG_WARNING, 0,
               "SC0926: a deployer's message of member %s was refused: it is too long "
               "(%" APR_UINT64_T_FMT " more before it)",
               sc_member_name(from, name), more);
    }
}
