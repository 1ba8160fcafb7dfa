/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * TwoPhaseCommit: a message is held by its receiver until a second one confirms it (tribes-protocol
 * 4.11). There is no vote and no message that takes one back; what is not confirmed is dropped
 * after `expire`.
 *
 * The confirmation is sent when the message itself has ended well. Both are one send for the layer
 * above, which ends with the confirmation.
 *
 * Acknowledgements. That of the message means "held"; that of the confirmation is the result of the
 * processing, and a confirmation of something that is not held (any more) is refused. So the send
 * as a whole has ended well only when the message has been applied. A message that could not be
 * applied is kept for the next try of its confirmation; confirmations that were are remembered by
 * their id, so that a repeated one is acknowledged and nothing is delivered twice.
 *
 * Bounds: the bytes held for one sender, the share of all strangers, the bytes of all (hold.h), the
 * messages of one sender, and time, by a timer.
 */
#include <stdlib.h>
#include <string.h>

#include "hold.h"
#include "train.h"

#define MARK_LEN 16
#define CONFIRM_LEN (MARK_LEN + sizeof(sc_uid_t) + MARK_LEN)
/* Messages of one sender that wait for their confirmation; members send one after the other. */
#define HELD_MAX 256
#define LOG_INTERVAL apr_time_from_sec(10)

enum { OPTION_FLAG, EXPIRE, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"expire", 0, 60000, 1, 3600000, "milliseconds"},
};

static const sc_attr_refused_t refused[] = {
    {"deepclone", "a message that is held is always a copy"},
    {"deepClone", "a message that is held is always a copy"},
};

static const unsigned char start_mark[MARK_LEN] = {0x71, 0x01, 0xC6, 0x02, 0xDE, 0xC4, 0x4B, 0xB2,
                                                   0x9B, 0xF4, 0x20, 0xE3, 0x20, 0x6F, 0xD8, 0x04};
static const unsigned char end_mark[MARK_LEN] = {0x36, 0xF3, 0x5A, 0x6E, 0x2F, 0xE1, 0x4B, 0xE8,
                                                 0xAF, 0xE3, 0x24, 0x34, 0xC6, 0x4D, 0x92, 0x38};

typedef struct sender_t {
    sc_party_t party;
    sc_held_t *held; /* oldest first */
    apr_uint32_t nheld;
} sender_t;

typedef struct commit_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    sc_parties_t parties;
    sc_trains_t trains;
    sc_recent_t recent; /* confirmations */
    sc_timer_t timer;
    sc_log_limit_t limit;
} commit_t;

static void expire_due(void *baton, apr_time_t now);

static const char *commit_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];
    const char *message =
        sc_interceptor_refused(c, refused, sizeof(refused) / sizeof(refused[0]), pool);

    return message != NULL ? message : sc_interceptor_attrs(c, rules, NATTRS, values, pool);
}

/* ---- what is held --------------------------------------------------------------------------- */

/** Where the message of this id is linked; *the result* is NULL when it is not held. */
static sc_held_t **find(sender_t *s, const void *id)
{
    sc_held_t **link = &s->held;

    while (*link != NULL && memcmp(&(*link)->packet.id, id, sizeof(sc_uid_t)) != 0) {
        link = &(*link)->next;
    }
    return link;
}

static void let_go(sc_parties_t *ps, sender_t *s, sc_held_t **link)
{
    sc_held_t *h = *link;

    *link = h->next;
    s->nheld--;
    sc_held_free(ps, &s->party, h);
}

static void drop_sender(sc_parties_t *ps, sc_party_t *p)
{
    sender_t *s = (sender_t *)p;

    while (s->held != NULL) {
        let_go(ps, s, &s->held);
    }
}

static void wait_for_expiry(commit_t *c, apr_time_t since)
{
    apr_time_t due = since + apr_time_from_msec(c->attr[EXPIRE]);

    if (c->timer.index == 0 || due < c->timer.due) {
        (void)sc_timer_set(c->self->env->timers, &c->timer, due, expire_due, c);
    }
}

static void expire_due(void *baton, apr_time_t now)
{
    commit_t *c = baton;
    apr_time_t limit = now - apr_time_from_msec(c->attr[EXPIRE]);
    sc_party_t *p;

    for (p = c->parties.first; p != NULL; p = p->next) {
        sender_t *s = (sender_t *)p;

        while (s->held != NULL && s->held->since <= limit) {
            SC_CHAIN_COUNT(c->self->env, held_expired);
            let_go(&c->parties, s, &s->held);
        }
        if (s->held != NULL) {
            wait_for_expiry(c, s->held->since);
        }
    }
}

/* ---- receiving ------------------------------------------------------------------------------ */

static apr_status_t refuse(commit_t *c, const sc_packet_t *packet, const char *why)
{
    const sc_chain_env_t *env = c->self->env;
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    SC_CHAIN_COUNT(env, held_refused);
    if (sc_log_allowed(&c->limit, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0497: a message of member %s was refused: %s (%" APR_UINT64_T_FMT " more before)",
               sc_member_name(&packet->from, name), why, more);
    }
    return APR_EGENERAL;
}

/** The oldest message of a sender makes way: its sender has given it up, or means no good. */
static void make_way(commit_t *c, sender_t *s)
{
    SC_CHAIN_COUNT(c->self->env, held_refused);
    let_go(&c->parties, s, &s->held);
}

/** Keep a message until it is confirmed. */
static apr_status_t hold(commit_t *c, const sc_packet_t *packet)
{
    sender_t *s = (sender_t *)sc_parties_get(&c->parties, &packet->from);
    sc_held_t **link;
    sc_held_t *h;

    if (s == NULL) {
        return refuse(c, packet, "there is no memory to hold it");
    }
    link = find(s, &packet->id);
    if (*link != NULL) {
        let_go(&c->parties, s, link); /* sent again */
    }
    while (s->nheld >= HELD_MAX) {
        make_way(c, s);
    }
    h = sc_hold(&c->parties, &s->party, packet);
    while (h == NULL && s->held != NULL) {
        make_way(c, s);
        h = sc_hold(&c->parties, &s->party, packet);
    }
    if (h == NULL) {
        return refuse(c, packet, "there is no room to hold it until it is confirmed");
    }
    for (link = &s->held; *link != NULL;) {
        link = &(*link)->next;
    }
    *link = h;
    s->nheld++;
    wait_for_expiry(c, h->since);
    return APR_SUCCESS;
}

static int is_confirmation(const sc_packet_t *p)
{
    return p->body_len == CONFIRM_LEN && memcmp(p->body, start_mark, MARK_LEN) == 0 &&
           memcmp(p->body + CONFIRM_LEN - MARK_LEN, end_mark, MARK_LEN) == 0;
}

static apr_status_t confirm(commit_t *c, const sc_packet_t *packet)
{
    sender_t *s = (sender_t *)sc_parties_find(&c->parties, &packet->from);
    sc_held_t **link = s != NULL ? find(s, packet->body + MARK_LEN) : NULL;
    apr_status_t rv;

    if (link == NULL || *link == NULL) {
        if (sc_recent_has(&c->recent, packet)) {
            return APR_SUCCESS;
        }
        return refuse(c, packet, "it confirms one that is not held");
    }
    rv = sc_pass_received(c->self, &(*link)->packet);
    if (rv == APR_SUCCESS) {
        sc_recent_add(&c->recent, packet);
        let_go(&c->parties, s, link);
    }
    return rv;
}

static apr_status_t commit_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    commit_t *c = self->state;

    if (!sc_option_applies(c->attr[OPTION_FLAG], packet->options)) {
        return sc_pass_received(self, packet);
    }
    return is_confirmation(packet) ? confirm(c, packet) : hold(c, packet);
}

/* ---- sending -------------------------------------------------------------------------------- */

static apr_status_t make_packet(const sc_train_t *train, apr_uint32_t i, sc_outgoing_t *out,
                                sc_buf_t *b)
{
    if (i == 0) {
        return APR_SUCCESS; /* as it is */
    }
    sc_put(b, start_mark, MARK_LEN);
    sc_put(b, &train->out.packet.id, sizeof(train->out.packet.id));
    sc_put(b, end_mark, MARK_LEN);
    sc_packet_stamp(train->trains->self->env, &out->packet);
    out->packet.body = b->data;
    out->packet.body_len = b->len;
    return b->err;
}

static void commit_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    commit_t *c = self->state;

    if (sc_option_applies(c->attr[OPTION_FLAG], out->packet.options)) {
        sc_trains_send(&c->trains, out, 2);
    } else {
        sc_pass_send(self, out);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void commit_member_added(sc_interceptor_t *self, const sc_member_t *m)
{
    commit_t *c = self->state;

    sc_parties_added(&c->parties, m);
    sc_pass_member_added(self, m);
}

static void commit_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    commit_t *c = self->state;

    sc_parties_gone(&c->parties, m);
    sc_trains_forget(&c->trains, m);
    sc_pass_member_gone(self, m, goodbye);
}

static apr_status_t commit_create(sc_interceptor_t *self, const sc_config_interceptor_t *conf,
                                  apr_pool_t *pool)
{
    commit_t *c = apr_pcalloc(pool, sizeof(*c));

    if (sc_interceptor_attrs(conf, rules, NATTRS, c->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    c->self = self;
    sc_parties_init(&c->parties, self, sizeof(sender_t), drop_sender);
    sc_trains_init(&c->trains, self, 2 * (apr_uint64_t)self->env->config->sender.max_queue,
                   CONFIRM_LEN, make_packet);
    self->state = c;
    return APR_SUCCESS;
}

static void commit_stop(sc_interceptor_t *self)
{
    commit_t *c = self->state;

    sc_timer_cancel(self->env->timers, &c->timer);
    sc_trains_stop(&c->trains);
    sc_parties_free(&c->parties);
}

const sc_interceptor_class_t sc_two_phase_commit_class = {
    .name = "TwoPhaseCommit",
    .check = commit_check,
    .create = commit_create,
    .stop = commit_stop,
    .send = commit_send,
    .received = commit_received,
    .member_added = commit_member_added,
    .member_gone = commit_member_gone,
};
