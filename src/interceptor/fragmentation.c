/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Fragmentation: a message larger than maxSize travels in pieces (tribes-protocol 4.6).
 *
 * Each message has a last byte of 0; each piece has its index, the number of pieces and a last byte
 * of 1 at its end. The pieces of one message carry its id.
 *
 * Pieces that come in order, as on one connection they do, are put together as they come; the few
 * that come early wait in a list. So memory grows with what has come, never with what a number of
 * pieces claims. Bounds: the bytes of one message (what the receiver takes in one frame), the sets
 * and the bytes of one sender, the share of all strangers, the bytes of all (hold.h), and time. A
 * set belongs to a sender and an id; in Tomcat to an id alone.
 *
 * Acknowledgements. The sender is done when all its pieces are acknowledged, so they are only to be
 * acknowledged in a way that adds up to "applied": the piece that completes a message is answered
 * with the result of its processing, the others with "kept". A piece that asks to be acknowledged
 * after processing and finds one before it missing is kept, but refused (FAIL_ACK): with the last
 * piece alone its sender would take a message for applied whose first pieces have been given up
 * here. A completed message that could not be applied is kept for the sender's next try, and one
 * that could is remembered by its id, so that a repeated last piece is acknowledged and no more.
 */
#include <stdlib.h>
#include <string.h>

#include "hold.h"
#include "train.h"

#define TRAILER_LEN 9
/* Pieces of one message that may wait for one before them. */
#define EARLY_MAX 1024
/* Messages of one sender that are being put together; members send one after the other, on each of
 * their connections. */
#define SETS_MAX 16
#define LOG_INTERVAL apr_time_from_sec(10)

enum { OPTION_FLAG, MAX_SIZE, EXPIRE, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"maxSize", 0, 102400, 16, 1 << 30, "bytes"},
    {"expire", 0, 60000, 1, 3600000, "milliseconds"},
};

/** A piece that came before its turn; its bytes lie behind it. */
typedef struct piece_t {
    struct piece_t *next;
    apr_uint32_t index;
    apr_size_t len;
} piece_t;

/** The pieces of one message. */
typedef struct set_t {
    struct set_t *next;
    apr_time_t since;
    sc_packet_t head; /* of its first piece; without body */
    apr_uint32_t count;
    apr_uint32_t got;     /* pieces in body */
    sc_buf_t body;        /* those from the first one on */
    piece_t *early;       /* by index */
    apr_uint32_t nearly;  /* how many */
    apr_uint64_t charged; /* bytes, all of it */
} set_t;

typedef struct sender_t {
    sc_party_t party;
    set_t *sets; /* the one that got a piece last is the first */
    apr_uint32_t nsets;
} sender_t;

typedef struct fragmentation_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    sc_parties_t parties;
    sc_trains_t trains;
    sc_recent_t recent;
    sc_timer_t timer;
    sc_log_limit_t limit;
} fragmentation_t;

static void expire_due(void *baton, apr_time_t now);

static const char *fragmentation_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];

    return sc_interceptor_attrs(c, rules, NATTRS, values, pool);
}

/* ---- sets ------------------------------------------------------------------------------------ */

static void free_early(set_t *set)
{
    while (set->early != NULL) {
        piece_t *piece = set->early;

        set->early = piece->next;
        free(piece);
    }
    set->nearly = 0;
}

static void set_drop(sc_parties_t *ps, sender_t *s, set_t *set)
{
    set_t **link = &s->sets;

    while (*link != set) {
        link = &(*link)->next;
    }
    *link = set->next;
    s->nsets--;
    sc_parties_release(ps, &s->party, set->charged);
    free_early(set);
    sc_buf_free(&set->body);
    free(set);
}

static void drop_sender(sc_parties_t *ps, sc_party_t *p)
{
    sender_t *s = (sender_t *)p;

    while (s->sets != NULL) {
        set_drop(ps, s, s->sets);
    }
}

static void set_first(sender_t *s, set_t *set)
{
    set_t **link = &s->sets;

    while (*link != set) {
        link = &(*link)->next;
    }
    *link = set->next;
    set->next = s->sets;
    s->sets = set;
}

static set_t *set_find(const sender_t *s, const sc_uid_t *id)
{
    set_t *set;

    for (set = s->sets; set != NULL; set = set->next) {
        if (memcmp(&set->head.id, id, sizeof(*id)) == 0) {
            return set;
        }
    }
    return NULL;
}

/** The set that has got no piece for longest; NULL if there is none but this one. Not the one that
 * began first: that may be a file's, which goes on on a connection of its own. */
static set_t *set_idle(const sender_t *s, const set_t *but)
{
    set_t *found = NULL;
    set_t *set;

    for (set = s->sets; set != NULL; set = set->next) {
        found = set != but ? set : found;
    }
    return found;
}

/** The idlest set of a sender makes way: it is left over from a send that was given up. */
static void make_way(fragmentation_t *f, sender_t *s, set_t *set)
{
    SC_CHAIN_COUNT(f->self->env, fragments_refused);
    set_drop(&f->parties, s, set);
}

/** Have room for n more bytes of a set: idle ones of the same sender make way. @return 0: it is not
 * to be had */
static int set_charge(fragmentation_t *f, sender_t *s, set_t *set, apr_uint64_t n)
{
    while (!sc_parties_charge(&f->parties, &s->party, n)) {
        set_t *old = set_idle(s, set);

        if (old == NULL) {
            return 0;
        }
        make_way(f, s, old);
    }
    set->charged += n;
    return 1;
}

static void wait_for_expiry(fragmentation_t *f, apr_time_t since)
{
    apr_time_t due = since + apr_time_from_msec(f->attr[EXPIRE]);

    if (f->timer.index == 0 || due < f->timer.due) {
        (void)sc_timer_set(f->self->env->timers, &f->timer, due, expire_due, f);
    }
}

static set_t *set_create(fragmentation_t *f, sender_t *s, const sc_packet_t *p, apr_uint32_t count)
{
    const sc_chain_env_t *env = f->self->env;
    set_t *set;

    while (s->nsets >= SETS_MAX) {
        make_way(f, s, set_idle(s, NULL));
    }
    set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return NULL;
    }
    if (!set_charge(f, s, set, sizeof(*set))) {
        free(set);
        return NULL;
    }
    set->since = sc_mono(env->clock);
    set->head = *p;
    set->count = count;
    sc_buf_init(&set->body, env->config->receiver.max_frame);
    set->next = s->sets;
    s->sets = set;
    s->nsets++;
    wait_for_expiry(f, set->since);
    return set;
}

static void expire_due(void *baton, apr_time_t now)
{
    fragmentation_t *f = baton;
    apr_time_t limit = now - apr_time_from_msec(f->attr[EXPIRE]);
    sc_party_t *p;

    for (p = f->parties.first; p != NULL; p = p->next) {
        sender_t *s = (sender_t *)p;
        set_t *set = s->sets;

        while (set != NULL) {
            set_t *next = set->next;

            if (set->since <= limit) {
                SC_CHAIN_COUNT(f->self->env, held_expired);
                set_drop(&f->parties, s, set);
            } else {
                wait_for_expiry(f, set->since);
            }
            set = next;
        }
    }
}

/* ---- receiving ------------------------------------------------------------------------------- */

/** What was wrong with a piece; its set is given up. */
static apr_status_t refuse(fragmentation_t *f, const sc_packet_t *packet, const char *why)
{
    const sc_chain_env_t *env = f->self->env;
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    SC_CHAIN_COUNT(env, fragments_refused);
    if (sc_log_allowed(&f->limit, sc_mono(env->clock), LOG_INTERVAL, &more)) {
        sc_log(env->log, SC_LOG_WARNING, 0,
               "SC0495: a piece of a message of member %s was refused: %s (%" APR_UINT64_T_FMT
               " more before)",
               sc_member_name(&packet->from, name), why, more);
    }
    return APR_EINVAL;
}

/** Append the next piece to the body. @return 0: over the bounds */
static int append(fragmentation_t *f, sender_t *s, set_t *set, const void *bytes, apr_size_t len)
{
    apr_size_t cap = set->body.cap;

    sc_put(&set->body, bytes, len);
    set->got++;
    return set->body.err == APR_SUCCESS && set_charge(f, s, set, set->body.cap - cap);
}

/** Append those that were early and have their turn now. */
static int append_early(fragmentation_t *f, sender_t *s, set_t *set)
{
    while (set->early != NULL && set->early->index == set->got) {
        piece_t *piece = set->early;
        int ok = append(f, s, set, piece + 1, piece->len);

        set->early = piece->next;
        set->nearly--;
        set->charged -= sizeof(*piece) + piece->len;
        sc_parties_release(&f->parties, &s->party, sizeof(*piece) + piece->len);
        free(piece);
        if (!ok) {
            return 0;
        }
    }
    return 1;
}

/** Keep a piece whose turn it is not. @return 0: over the bounds */
static int keep_early(fragmentation_t *f, sender_t *s, set_t *set, apr_uint32_t index,
                      const sc_packet_t *p)
{
    piece_t **link = &set->early;
    piece_t *piece;

    while (*link != NULL && (*link)->index < index) {
        link = &(*link)->next;
    }
    if (*link != NULL && (*link)->index == index) {
        return 1; /* repeated */
    }
    if (set->nearly >= EARLY_MAX || !set_charge(f, s, set, sizeof(*piece) + p->body_len)) {
        return 0;
    }
    piece = malloc(sizeof(*piece) + p->body_len);
    if (piece == NULL) {
        return 0;
    }
    piece->index = index;
    piece->len = p->body_len;
    memcpy(piece + 1, p->body, p->body_len);
    piece->next = *link;
    *link = piece;
    set->nearly++;
    return 1;
}

/** All pieces are there. */
static apr_status_t complete(fragmentation_t *f, sender_t *s, set_t *set)
{
    sc_packet_t p = set->head;
    apr_status_t rv;

    p.body = set->body.data;
    p.body_len = set->body.len;
    rv = sc_pass_received(f->self, &p);
    if (rv == APR_SUCCESS) {
        sc_recent_add(&f->recent, &p);
        set_drop(&f->parties, s, set);
    }
    return rv;
}

/** @param p the piece without its trailer */
static apr_status_t piece_received(fragmentation_t *f, const sc_packet_t *p, apr_uint32_t index,
                                   apr_uint32_t count)
{
    int asks = (p->options & SC_OPT_USE_ACK) && (p->options & SC_OPT_SYNCHRONIZED_ACK);
    sender_t *s = (sender_t *)sc_parties_get(&f->parties, &p->from);
    set_t *set = s != NULL ? set_find(s, &p->id) : NULL;
    int ok;

    if (set == NULL && sc_recent_has(&f->recent, p)) {
        return APR_SUCCESS;
    }
    if (set == NULL && s != NULL) {
        set = set_create(f, s, p, count);
    }
    if (set == NULL) {
        return refuse(f, p, "there is no room for it");
    }
    set_first(s, set);
    if (set->count != count) {
        set_drop(&f->parties, s, set);
        return refuse(f, p, "its message had another number of pieces before");
    }
    if (index > set->got) {
        ok = keep_early(f, s, set, index, p);
    } else if (index == set->got) {
        set->head.options = index == 0 ? p->options : set->head.options;
        ok = append(f, s, set, p->body, p->body_len) && append_early(f, s, set);
    } else {
        ok = 1; /* repeated */
    }
    if (!ok) {
        set_drop(&f->parties, s, set);
        return refuse(f, p, "its message is too large, or there is no room for it");
    }
    if (set->got == set->count) {
        return complete(f, s, set);
    }
    return asks && index > set->got ? APR_EAGAIN : APR_SUCCESS;
}

static apr_status_t fragmentation_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    fragmentation_t *f = self->state;
    sc_packet_t p = *packet;
    apr_uint32_t index;
    apr_uint32_t count;
    sc_rd_t r;

    if (p.body_len == 0) {
        return refuse(f, packet, "it has no last byte; do all members have the same interceptors?");
    }
    if (p.body[p.body_len - 1] == 0) {
        p.body_len--;
        return sc_pass_received(self, &p);
    }
    if (p.body[p.body_len - 1] != 1 || p.body_len <= TRAILER_LEN) {
        return refuse(f, packet, "it is none; do all members have the same interceptors?");
    }
    p.body_len -= TRAILER_LEN;
    sc_rd_init(&r, p.body + p.body_len, TRAILER_LEN);
    index = sc_get_u32(&r);
    count = sc_get_u32(&r);
    if (count == 0 || count > self->env->config->receiver.max_frame || index >= count) {
        return refuse(f, packet, "its number makes no sense");
    }
    return piece_received(f, &p, index, count);
}

/* ---- sending --------------------------------------------------------------------------------- */

static apr_status_t make_piece(const sc_train_t *train, apr_uint32_t i, sc_outgoing_t *out,
                               sc_buf_t *b)
{
    const fragmentation_t *f = train->trains->self->state;
    const sc_packet_t *p = &train->out.packet;
    apr_size_t size = (apr_size_t)f->attr[MAX_SIZE];
    apr_size_t offset = i * size;
    apr_size_t len = p->body_len - offset < size ? p->body_len - offset : size;

    if (train->cars == 1) {
        offset = 0;
        len = p->body_len;
    }
    sc_buf_reserve(b, len + TRAILER_LEN);
    sc_put(b, p->body + offset, len);
    if (train->cars > 1) {
        sc_put_u32(b, i);
        sc_put_u32(b, train->cars);
    }
    sc_put_u8(b, train->cars > 1);
    out->packet.body = b->data;
    out->packet.body_len = b->len;
    return b->err;
}

static void send_whole(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    fragmentation_t *f = self->state;
    sc_outgoing_t below = *out;
    sc_buf_t b;

    sc_buf_init(&b, out->packet.body_len + 1);
    sc_buf_reserve(&b, out->packet.body_len + 1);
    sc_put(&b, out->packet.body, out->packet.body_len);
    sc_put_u8(&b, 0);
    if (b.err == APR_SUCCESS) {
        below.packet.body = b.data;
        below.packet.body_len = b.len;
        sc_pass_send(self, &below);
    } else {
        sc_trains_refuse(&f->trains, out, b.err);
    }
    sc_buf_free(&b);
}

static void fragmentation_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    fragmentation_t *f = self->state;
    apr_uint64_t size = (apr_uint64_t)f->attr[MAX_SIZE];
    apr_uint64_t pieces = 1;

    if (sc_option_applies(f->attr[OPTION_FLAG], out->packet.options) &&
        out->packet.body_len > size) {
        pieces = (out->packet.body_len + size - 1) / size;
    }
    if (pieces == 1 && !sc_trains_busy(&f->trains, out->to, out->lane)) {
        send_whole(self, out);
    } else {
        sc_trains_send(&f->trains, out, (apr_uint32_t)pieces);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void fragmentation_member_added(sc_interceptor_t *self, const sc_member_t *m)
{
    fragmentation_t *f = self->state;

    sc_parties_added(&f->parties, m);
    sc_pass_member_added(self, m);
}

static void fragmentation_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    fragmentation_t *f = self->state;

    sc_parties_gone(&f->parties, m);
    sc_trains_forget(&f->trains, m);
    sc_pass_member_gone(self, m, goodbye);
}

static apr_status_t fragmentation_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                         apr_pool_t *pool)
{
    fragmentation_t *f = apr_pcalloc(pool, sizeof(*f));

    if (sc_interceptor_attrs(c, rules, NATTRS, f->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    f->self = self;
    sc_parties_init(&f->parties, self, sizeof(sender_t), drop_sender);
    sc_trains_init(&f->trains, self, 2 * (apr_uint64_t)self->env->config->sender.max_queue,
                   TRAILER_LEN, make_piece);
    self->state = f;
    return APR_SUCCESS;
}

static void fragmentation_stop(sc_interceptor_t *self)
{
    fragmentation_t *f = self->state;

    sc_timer_cancel(self->env->timers, &f->timer);
    sc_trains_stop(&f->trains);
    sc_parties_free(&f->parties);
}

const sc_interceptor_class_t sc_fragmentation_class = {
    .name = "Fragmentation",
    .check = fragmentation_check,
    .create = fragmentation_create,
    .stop = fragmentation_stop,
    .send = fragmentation_send,
    .received = fragmentation_received,
    .member_added = fragmentation_member_added,
    .member_gone = fragmentation_member_gone,
    .grows = TRAILER_LEN,
};
