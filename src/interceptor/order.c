/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Order: messages of one sender are passed on in the order in which it sent them (tribes-protocol
 * 4.5). Each carries a number at its end, counted per destination.
 *
 * A number that is too high waits for those before it, for `expire` at most: a timer sees to that,
 * not the next message that happens to come. Numbers may wrap around; they are compared by their
 * distance.
 *
 * What differs from Tomcat, and why:
 * - The first number heard of a sender is the right one, whatever it is. Two nodes do not lose
 * sight of each other at the same moment, so one may count on while the other begins anew.
 * - Of the last numbers the message ids are remembered. The same number with the same id is a
 *   repetition (the acknowledgement got lost): acknowledged, not delivered again. The same number
 *   with another id is a sender that counts anew.
 * - The default of maxQueue is no bound; here 4096 messages and the bytes of two frames are one.
 *
 * Acknowledgements. A message that waits has not been applied, so one that is to be acknowledged
 * after processing is refused (FAIL_ACK) while it waits, and is delivered all the same when its
 * turn comes: "not acknowledged" never meant "not applied". Its sender sends it again, and when the
 * gap has closed meanwhile, the repetition is acknowledged.
 *
 * That is for senders whose messages overtake each other on several connections. Those of a member
 * of ours come in order on each lane, so what is missing before one of them was lost, or travels on
 * another lane: no file's message may hold up a session's, which it would if they waited for each
 * other here. So they are not held (datagrams are): waiting would only turn one lost message into
 * three seconds of late or refused ones, and the gap is found by the numbers of the envelopes. What
 * comes from behind on the slower lane is delivered, however many have overtaken it.
 */
#include <stdlib.h>
#include <string.h>

#include "hold.h"
#include "train.h"

#define WINDOW 128
#define NUMBER_LEN 4
/* Messages of one sender that wait at most, whatever maxQueue says. */
#define QUEUE_MAX 4096
#define LOG_INTERVAL apr_time_from_sec(10)

enum { OPTION_FLAG, EXPIRE, FORWARD_EXPIRED, MAX_QUEUE, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"expire", 0, 3000, 1, 3600000, "milliseconds"},
    {"forwardExpired", 1, 1, 0, 1, NULL},
    {"maxQueue", 0, 0x7fffffff, 1, 0x7fffffff, "messages"},
};

/** A number that has been delivered. */
typedef struct seen_t {
    int valid;
    apr_uint32_t number;
    sc_uid_t id;
} seen_t;

typedef struct sender_t {
    sc_party_t party;
    apr_uint32_t sent; /* last number sent to it */
    int known;         /* expected has a meaning */
    apr_uint32_t expected;
    sc_held_t *queue; /* by number, all behind expected */
    apr_uint32_t queued;
    seen_t seen[WINDOW];
} sender_t;

typedef struct order_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    sc_parties_t parties;
    sc_trains_t trains; /* only to tell ends */
    sc_timer_t timer;
    sc_log_limit_t limit;
} order_t;

static void expire_due(void *baton, apr_time_t now);

static const char *order_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];

    return sc_interceptor_attrs(c, rules, NATTRS, values, pool);
}

static void drop_sender(sc_parties_t *ps, sc_party_t *p)
{
    sender_t *s = (sender_t *)p;

    while (s->queue != NULL) {
        sc_held_t *h = s->queue;

        s->queue = h->next;
        sc_held_free(ps, p, h);
    }
}

static apr_status_t order_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                 apr_pool_t *pool)
{
    order_t *o = apr_pcalloc(pool, sizeof(*o));

    if (sc_interceptor_attrs(c, rules, NATTRS, o->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    o->self = self;
    sc_parties_init(&o->parties, self, sizeof(sender_t), drop_sender);
    sc_trains_init(&o->trains, self, 0, 0, NULL);
    self->state = o;
    return APR_SUCCESS;
}

/* ---- delivering ----------------------------------------------------------------------------- */

static apr_status_t deliver(order_t *o, sender_t *s, const sc_packet_t *packet, apr_uint32_t n)
{
    apr_status_t rv = sc_pass_received(o->self, packet);

    if (rv == APR_SUCCESS) {
        seen_t *seen = &s->seen[n % WINDOW];

        seen->valid = 1;
        seen->number = n;
        seen->id = packet->id;
    }
    return rv;
}

/** Take the first message out of the queue; it is delivered or dropped. */
static void take_first(order_t *o, sender_t *s, int forward)
{
    sc_held_t *h = s->queue;

    s->queue = h->next;
    s->queued--;
    s->expected = h->number + 1;
    if (forward) {
        (void)deliver(o, s, &h->packet, h->number);
    }
    sc_held_free(&o->parties, &s->party, h);
}

/** Whether number a comes before b. */
static int before(apr_uint32_t a, apr_uint32_t b)
{
    return (apr_int32_t)(a - b) < 0;
}

/** Wait no longer for anything before number n. @param expired the queued ones are late */
static void jump(order_t *o, sender_t *s, apr_uint32_t n, int expired)
{
    while (s->queue != NULL && before(s->queue->number, n)) {
        if (expired) {
            SC_CHAIN_COUNT(o->self->env, held_expired);
        }
        take_first(o, s, !expired || o->attr[FORWARD_EXPIRED]);
    }
    s->expected = n;
}

/** Deliver what has its turn now. */
static void drain(order_t *o, sender_t *s)
{
    while (s->queue != NULL && s->queue->number == s->expected) {
        take_first(o, s, 1);
    }
}

/* ---- expiry --------------------------------------------------------------------------------- */

static void wait_for_expiry(order_t *o, apr_time_t since)
{
    apr_time_t due = since + apr_time_from_msec(o->attr[EXPIRE]);

    if (o->timer.index == 0 || due < o->timer.due) {
        (void)sc_timer_set(o->self->env->timers, &o->timer, due, expire_due, o);
    }
}

/** Give up the wait of one sender's messages that came before this time.
 *  @return 0: nothing is held any more; else when the oldest one left came */
static apr_time_t expire_sender(order_t *o, sender_t *s, apr_time_t limit)
{
    const sc_held_t *last = NULL;
    const sc_held_t *h;
    apr_time_t oldest = 0;

    for (h = s->queue; h != NULL; h = h->next) {
        if (h->since <= limit) {
            last = h;
        }
    }
    if (last != NULL) {
        jump(o, s, last->number + 1, 1);
        drain(o, s);
    }
    for (h = s->queue; h != NULL; h = h->next) {
        if (oldest == 0 || h->since < oldest) {
            oldest = h->since;
        }
    }
    return oldest;
}

static void expire_due(void *baton, apr_time_t now)
{
    order_t *o = baton;
    apr_time_t limit = now - apr_time_from_msec(o->attr[EXPIRE]);
    sc_party_t *p;

    for (p = o->parties.first; p != NULL; p = p->next) {
        apr_time_t oldest = expire_sender(o, (sender_t *)p, limit);

        if (oldest != 0) {
            wait_for_expiry(o, oldest);
        }
    }
}

/* ---- receiving ------------------------------------------------------------------------------ */

/** The sender counts anew, from here: what was held is older than this. */
static apr_status_t start_anew(order_t *o, sender_t *s, const sc_packet_t *packet, apr_uint32_t n)
{
    while (s->queue != NULL) {
        take_first(o, s, 1);
    }
    memset(s->seen, 0, sizeof(s->seen));
    s->known = 1;
    s->expected = n + 1;
    return deliver(o, s, packet, n);
}

/** Whether a message is in its place among all others of its lane: a member of ours sends them on
 * one connection. */
static int in_line(const sc_packet_t *packet)
{
    return packet->from.ours && !(packet->options & SC_OPT_UDP);
}

/** A number whose turn has been: repeated, late, or of a sender that counts anew. */
static apr_status_t behind(order_t *o, sender_t *s, const sc_packet_t *packet, apr_uint32_t n)
{
    const seen_t *seen = &s->seen[n % WINDOW];

    if (seen->valid && seen->number == n) {
        if (memcmp(&seen->id, &packet->id, sizeof(packet->id)) == 0) {
            return APR_SUCCESS;
        }
        return start_anew(o, s, packet, n);
    }
    if (s->expected - n > WINDOW && !in_line(packet)) {
        return start_anew(o, s, packet, n);
    }
    return deliver(o, s, packet, n);
}

static apr_status_t in_turn(order_t *o, sender_t *s, const sc_packet_t *packet, apr_uint32_t n)
{
    apr_status_t rv;

    s->expected = n + 1;
    rv = deliver(o, s, packet, n);
    drain(o, s);
    return rv;
}

/** Keep a message until those before it have come, or have been waited for long enough. */
static apr_status_t hold(order_t *o, sender_t *s, const sc_packet_t *packet, apr_uint32_t n)
{
    int asks = (packet->options & SC_OPT_USE_ACK) && (packet->options & SC_OPT_SYNCHRONIZED_ACK);
    sc_held_t **link = &s->queue;
    sc_held_t *h = NULL;

    while (*link != NULL && before((*link)->number, n)) {
        link = &(*link)->next;
    }
    if (*link != NULL && (*link)->number == n) {
        if (memcmp(&(*link)->packet.id, &packet->id, sizeof(packet->id)) != 0) {
            return start_anew(o, s, packet, n);
        }
        return asks ? APR_EAGAIN : APR_SUCCESS;
    }
    if (s->queued < o->attr[MAX_QUEUE] && s->queued < QUEUE_MAX) {
        h = sc_hold(&o->parties, &s->party, packet);
    }
    if (h == NULL) {
        jump(o, s, n, 1);
        return in_turn(o, s, packet, n);
    }
    h->number = n;
    h->next = *link;
    *link = h;
    s->queued++;
    wait_for_expiry(o, h->since);
    return asks ? APR_EAGAIN : APR_SUCCESS;
}

static apr_status_t malformed(order_t *o, const sc_packet_t *packet)
{
    const sc_chain_env_t *env = o->self->env;
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    SC_CHAIN_COUNT(env, held_refused);
    if (sc_log_allowed(&o->limit, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0496: a message of member %s carries no number for Order (%" APR_UINT64_T_FMT
               " more before); do all members have the same interceptors?",
               sc_member_name(&packet->from, name), more);
    }
    return APR_EINVAL;
}

static apr_status_t order_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    order_t *o = self->state;
    sc_packet_t p = *packet;
    apr_uint32_t n;
    sender_t *s;
    sc_rd_t r;

    if (!sc_option_applies(o->attr[OPTION_FLAG], packet->options)) {
        return sc_pass_received(self, packet);
    }
    if (p.body_len < NUMBER_LEN) {
        return malformed(o, packet);
    }
    p.body_len -= NUMBER_LEN;
    sc_rd_init(&r, p.body + p.body_len, NUMBER_LEN);
    n = sc_get_u32(&r);
    s = (sender_t *)sc_parties_get(&o->parties, &packet->from);
    if (s == NULL) {
        return sc_pass_received(self, &p); /* no memory to know its place in */
    }
    if (!s->known) {
        s->known = 1;
        s->expected = n;
    }
    if (before(n, s->expected)) {
        return behind(o, s, &p, n);
    }
    if (n != s->expected) {
        if (!in_line(packet)) {
            return hold(o, s, &p, n);
        }
        jump(o, s, n, 0);
        if (s->queue != NULL && s->queue->number == n) {
            drain(o, s);
            return behind(o, s, &p, n);
        }
    }
    return in_turn(o, s, &p, n);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void order_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    order_t *o = self->state;
    sc_outgoing_t below = *out;
    sender_t *s;
    sc_buf_t b;

    if (!sc_option_applies(o->attr[OPTION_FLAG], out->packet.options)) {
        sc_pass_send(self, out);
        return;
    }
    sc_buf_init(&b, out->packet.body_len + NUMBER_LEN);
    sc_buf_reserve(&b, out->packet.body_len + NUMBER_LEN);
    sc_put(&b, out->packet.body, out->packet.body_len);
    s = (sender_t *)sc_parties_get(&o->parties, out->to);
    if (s != NULL) {
        sc_put_u32(&b, s->sent + 1);
    }
    if (s == NULL || b.err != APR_SUCCESS) {
        sc_trains_refuse(&o->trains, out, APR_ENOMEM);
    } else {
        s->sent++;
        below.packet.body = b.data;
        below.packet.body_len = b.len;
        sc_pass_send(self, &below);
    }
    sc_buf_free(&b);
}

/* ---- members -------------------------------------------------------------------------------- */

static void order_member_added(sc_interceptor_t *self, const sc_member_t *m)
{
    order_t *o = self->state;

    sc_parties_added(&o->parties, m);
    sc_pass_member_added(self, m);
}

/** What is held of it is passed on while it is still there; should it come back, both count anew.
 */
static void order_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    order_t *o = self->state;
    sender_t *s = (sender_t *)sc_parties_find(&o->parties, m);

    while (s != NULL && s->queue != NULL) {
        jump(o, s, s->queue->number + 1, 1);
    }
    sc_parties_gone(&o->parties, m);
    sc_pass_member_gone(self, m, goodbye);
}

static void order_stop(sc_interceptor_t *self)
{
    order_t *o = self->state;

    sc_timer_cancel(self->env->timers, &o->timer);
    sc_trains_stop(&o->trains);
    sc_parties_free(&o->parties);
}

const sc_interceptor_class_t sc_order_class = {
    .name = "Order",
    .check = order_check,
    .create = order_create,
    .stop = order_stop,
    .send = order_send,
    .received = order_received,
    .member_added = order_member_added,
    .member_gone = order_member_gone,
    .grows = NUMBER_LEN,
};
