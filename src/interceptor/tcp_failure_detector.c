/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * TcpFailureDetector: nobody is believed to be there, or not to be there, without being asked.
 *
 * Membership below says who is heard; a send that fails says that something is wrong. Both are only
 * hints. Before a member is announced upward, and before one is given up that did not say good-bye,
 * it is probed with a message of its own on a fresh connection (tribes-protocol 4.1).
 *
 * What differs from Tomcat, and why:
 * - performReadTest is true and readTestTimeout 1000 ms. Tomcat's default only connects and writes,
 *   but the kernel accepts connections for a process that is stopped or hangs; it would be taken
 * for alive for ever, and everything sent to it would wait for its timeout. An answer is asked for.
 * - A suspect is probed each second, not each five, and one that answers but is not heard by
 *   membership for removeSuspectsTimeout is removed (Tomcat only stops asking): the two directions
 *   between it and us differ, and a member that nobody can hear is none.
 * - A probe to a member that stands still for a moment can get lost, and the next attempt to
 * connect be a second away. If it has acknowledged something since the probe began it is asked once
 * more before it is given up.
 * - A member that failed the probe while membership still hears it is probed each second and comes
 *   back with its first answer.
 *
 * A member with the address, the store or the route of one that membership has let go takes its
 * place when it has answered: the old one goes then, whatever a probe of its address would say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sc_interceptor.h"

#define TICK apr_time_from_sec(1)

enum {
    OPTION_FLAG,
    CONNECT_TIMEOUT,
    PERFORM_SEND_TEST,
    PERFORM_READ_TEST,
    READ_TEST_TIMEOUT,
    REMOVE_SUSPECTS_TIMEOUT,
    NATTRS
};

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"connectTimeout", 0, 1000, 1, 600000, "milliseconds"},
    {"performSendTest", 1, 1, 0, 1, NULL},
    {"performReadTest", 1, 1, 0, 1, NULL},
    {"readTestTimeout", 0, 1000, 1, 600000, "milliseconds"},
    {"removeSuspectsTimeout", 0, 300, 1, 1000000, "seconds"},
};

static const unsigned char probe_text[64] = {
    0x4F, 0xA7, 0x73, 0x48, 0x79, 0x82, 0x43, 0xC9, 0x9F, 0x6F, 0x89, 0x80, 0xA1, 0x5B, 0x07, 0x14,
    0x7D, 0xD9, 0x52, 0x5B, 0xEB, 0xF1, 0x43, 0x9A, 0xB7, 0x7E, 0xBE, 0x8F, 0x81, 0x67, 0x1E, 0xB6,
    0x37, 0x15, 0xBE, 0x87, 0x45, 0x7E, 0x4C, 0xA8, 0xBF, 0x0A, 0x4D, 0x13, 0x53, 0x38, 0x15, 0x32,
    0x55, 0xF6, 0x94, 0xB7, 0x3A, 0xFA, 0x40, 0x78, 0x91, 0x04, 0x7D, 0xD7, 0x72, 0x84, 0xC0, 0xD5};

typedef struct detector_t detector_t;
typedef struct probe_t probe_t;

/** One member, from when it is first heard until it is neither heard nor announced. */
typedef struct entry_t {
    struct entry_t *next;
    sc_member_t m;
    int heard;      /* membership has it */
    int announced;  /* the layer above has it */
    int suspect;    /* as far as the layer above knows */
    int first;      /* never been probed to the end: settled waits for it */
    int complained; /* about it being heard but not answering */
    probe_t *probe;
    apr_time_t silent_since; /* when membership lost it */
    apr_time_t acked;        /* something, when last a probe was under way; 0: never */
} entry_t;

/** A probe on its way; the entry may go before it ends. */
struct probe_t {
    detector_t *d;
    entry_t *entry;
    apr_time_t began;
};

/** A message on its way whose end is watched. */
typedef struct watched_t {
    detector_t *d;
    sc_member_t to;
    int proves; /* its end is an answer of the other side */
    sc_sent_fn_t *done;
    void *baton;
} watched_t;

struct detector_t {
    sc_interceptor_t *self;
    apr_int64_t attr[NATTRS];
    entry_t *entries;
    sc_timer_t tick;
    apr_uint32_t probes; /* on their way */
    int settling;        /* membership has settled, the first probes have not ended */
    int stopped;
};

/* ---- attributes ----------------------------------------------------------------------------- */

static const char *detector_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];
    const char *message = sc_interceptor_attrs(c, rules, NATTRS, values, pool);

    if (message == NULL && values[PERFORM_READ_TEST] && !values[PERFORM_SEND_TEST]) {
        return "interceptor TcpFailureDetector: performSendTest=false needs performReadTest=false: "
               "nobody answers what was not sent";
    }
    return message;
}

static apr_status_t detector_create(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                                    apr_pool_t *pool)
{
    detector_t *d = apr_pcalloc(pool, sizeof(*d));

    if (sc_interceptor_attrs(c, rules, NATTRS, d->attr, pool) != NULL) {
        return APR_EINVAL;
    }
    d->self = self;
    self->state = d;
    return APR_SUCCESS;
}

/* ---- the table ------------------------------------------------------------------------------ */

static entry_t *find(const detector_t *d, const sc_member_t *m)
{
    entry_t *e;

    for (e = d->entries; e != NULL; e = e->next) {
        if (sc_member_same(&e->m, m)) {
            return e;
        }
    }
    return NULL;
}

/** Take an entry out; if the layer above has it, it is told. */
static void remove_entry(detector_t *d, entry_t *e, int goodbye)
{
    entry_t **link = &d->entries;

    while (*link != e) {
        link = &(*link)->next;
    }
    *link = e->next;
    if (e->probe != NULL) {
        e->probe->entry = NULL;
    }
    if (e->announced) {
        sc_pass_member_gone(d->self, &e->m, goodbye);
    }
    free(e);
}

static void set_suspect(detector_t *d, entry_t *e, int suspect)
{
    if (e->announced && e->suspect != suspect) {
        e->suspect = suspect;
        sc_pass_member_suspected(d->self, &e->m, suspect);
    }
}

/** Settled goes up when no member heard until now waits for its first probe. */
static void settle_if_probed(detector_t *d)
{
    const entry_t *e;

    for (e = d->entries; e != NULL; e = e->next) {
        if (e->first) {
            return;
        }
    }
    if (d->settling) {
        d->settling = 0;
        sc_pass_settled(d->self);
    }
}

/* ---- probing -------------------------------------------------------------------------------- */

static void tick_due(void *baton, apr_time_t now);
static void probe(detector_t *d, entry_t *e);

static void need_tick(detector_t *d)
{
    const sc_chain_env_t *env = d->self->env;

    if (d->tick.index == 0 && !d->stopped) {
        (void)sc_timer_set(env->timers, &d->tick, sc_mono(env->clock) + TICK, tick_due, d);
    }
}

/** Whether a new member takes the place of one that membership has let go. */
static int supersedes(const sc_member_t *m, const sc_member_t *old)
{
    if (sc_member_same(m, old)) {
        return 0;
    }
    return sc_member_same_address(m, old) || (m->store_id != 0 && m->store_id == old->store_id) ||
           (m->ours && old->ours && m->role == SC_ROLE_NODE && old->role == SC_ROLE_NODE &&
            strcmp(m->route, old->route) == 0);
}

/** Whose place it takes, they go. */
static void remove_superseded(detector_t *d, const sc_member_t *m)
{
    entry_t *e = d->entries;

    while (e != NULL) {
        entry_t *next = e->next;

        if (!e->heard && supersedes(m, &e->m)) {
            remove_entry(d, e, 0);
            next = d->entries; /* whoever was told may have removed others */
        }
        e = next;
    }
}

/** It answered. */
static void found_alive(detector_t *d, entry_t *e)
{
    e->complained = 0;
    if (!e->announced) {
        if (e->heard) {
            e->announced = 1;
            e->suspect = 0;
            remove_superseded(d, &e->m);
            sc_pass_member_added(d->self, &e->m);
        } else {
            remove_entry(d, e, 0);
        }
        return;
    }
    set_suspect(d, e, !e->heard);
    if (!e->heard) {
        need_tick(d);
    }
}

/** It did not. */
static void found_dead(detector_t *d, entry_t *e)
{
    char name[SC_MEMBER_NAME];

    if (!e->heard) {
        remove_entry(d, e, 0);
        return;
    }
    if (!e->complained) {
        e->complained = 1;
        sc_log(
            d->self->env->log, SC_LOG_WARNING, 0,
            "SC0461: member %s is heard but its receiver does not answer; it is asked again each "
            "second",
            sc_member_name(&e->m, name));
    }
    need_tick(d);
    if (e->announced) {
        e->announced = 0;
        e->suspect = 0;
        sc_pass_member_gone(d->self, &e->m, 0);
    }
}

/** Errors that say nothing about the other side. */
static int is_own_fault(apr_status_t rv)
{
    return APR_STATUS_IS_ENOMEM(rv) || APR_STATUS_IS_EMFILE(rv) || APR_STATUS_IS_ENFILE(rv) ||
           rv == ENOBUFS || rv == EADDRNOTAVAIL || rv == APR_ECONNABORTED;
}

static void probe_ended(void *baton, apr_status_t rv)
{
    probe_t *p = baton;
    detector_t *d = p->d;
    entry_t *e = p->entry;
    apr_time_t began = p->began;

    d->probes--;
    free(p);
    if (e == NULL) {
        return;
    }
    e->probe = NULL;
    e->first = 0;
    /* APR_EGENERAL is FAIL_ACK: a strange answer, but one */
    if (rv == APR_SUCCESS || rv == APR_EGENERAL) {
        found_alive(d, e);
    } else if (is_own_fault(rv)) {
        need_tick(d);
    } else if (APR_STATUS_IS_TIMEUP(rv) && e->heard && e->acked > began) {
        probe(d, e);
    } else {
        found_dead(d, e);
    }
    settle_if_probed(d);
}

static void probe(detector_t *d, entry_t *e)
{
    const sc_chain_env_t *env = d->self->env;
    apr_interval_time_t timeout = apr_time_from_msec(d->attr[CONNECT_TIMEOUT]);
    sc_packet_t packet;

    if (e->probe != NULL) {
        return;
    }
    e->probe = malloc(sizeof(*e->probe));
    if (e->probe == NULL) {
        e->first = 0;
        need_tick(d);
        return;
    }
    e->probe->d = d;
    e->probe->entry = e;
    e->probe->began = sc_mono(env->clock);
    d->probes++;
    memset(&packet, 0, sizeof(packet));
    packet.options = (apr_uint32_t)d->attr[OPTION_FLAG] | SC_OPT_BYTE_MESSAGE;
    if (d->attr[PERFORM_READ_TEST]) {
        /* one bound for both, not their sum: a process that stands still is connected to at once
         * and then silent, and requests hang until it has been found out */
        apr_interval_time_t read_test = apr_time_from_msec(d->attr[READ_TEST_TIMEOUT]);

        packet.options |= SC_OPT_USE_ACK;
        timeout = timeout > read_test ? timeout : read_test;
    }
    sc_packet_stamp(env, &packet);
    packet.body = probe_text;
    packet.body_len = sizeof(probe_text);
    env->transport->probe(env->transport->ctx, &e->m, d->attr[PERFORM_SEND_TEST] ? &packet : NULL,
                          timeout, probe_ended, e->probe);
}

/** Each second while somebody is in doubt: suspects, and members that are heard but did not
 *  answer. */
static void tick_due(void *baton, apr_time_t now)
{
    detector_t *d = baton;
    apr_interval_time_t patience = apr_time_from_sec(d->attr[REMOVE_SUSPECTS_TIMEOUT]);
    entry_t *e = d->entries;

    while (e != NULL) {
        entry_t *next = e->next;

        if (e->heard == e->announced && !e->suspect) {
            e = next;
            continue;
        }
        need_tick(d);
        if (!e->heard && now - e->silent_since > patience) {
            remove_entry(d, e, 0);
        } else {
            probe(d, e);
        }
        e = next;
    }
}

/* ---- what membership says ------------------------------------------------------------------- */

static entry_t *entry_create(detector_t *d, const sc_member_t *m)
{
    entry_t *e = calloc(1, sizeof(*e));

    if (e != NULL) {
        e->m = *m;
        e->first = 1;
        e->next = d->entries;
        d->entries = e;
    }
    return e;
}

static void detector_added(sc_interceptor_t *self, const sc_member_t *m)
{
    detector_t *d = self->state;
    entry_t *e = find(d, m);

    if (e == NULL) {
        e = entry_create(d, m);
    }
    if (e == NULL) {
        return; /* no memory: it will be heard again */
    }
    e->m = *m;
    e->heard = 1;
    if (e->announced) {
        sc_pass_member_changed(self, m);
    }
    probe(d, e);
}

static void detector_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    detector_t *d = self->state;
    entry_t *e = find(d, m);

    if (e != NULL) {
        e->m = *m;
        if (e->announced) {
            sc_pass_member_changed(self, m);
        }
    }
}

static void detector_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    detector_t *d = self->state;
    entry_t *e = find(d, m);

    if (e == NULL) {
        return;
    }
    if (goodbye || !e->announced) {
        remove_entry(d, e, goodbye);
        settle_if_probed(d);
        return;
    }
    e->heard = 0;
    e->silent_since = sc_mono(self->env->clock);
    probe(d, e);
    set_suspect(d, e, 1);
}

static void detector_settled(sc_interceptor_t *self)
{
    detector_t *d = self->state;

    d->settling = 1;
    settle_if_probed(d);
}

/** Somebody above wants to know now, not when something fails (TcpPing). */
static void detector_verify(sc_interceptor_t *self)
{
    detector_t *d = self->state;
    entry_t *e;

    for (e = d->entries; e != NULL; e = e->next) {
        if (e->announced) {
            probe(d, e);
        }
    }
}

/* ---- messages ------------------------------------------------------------------------------- */

/** A send has ended badly: is the member still there? A FAIL_ACK is an answer; a full queue and a
 *  member that was forgotten are no fault of the other side. */
static void send_failed(detector_t *d, const sc_member_t *to)
{
    entry_t *e = find(d, to);

    if (e != NULL && e->announced && e->probe == NULL && !d->stopped) {
        probe(d, e);
        set_suspect(d, e, 1);
    }
}

static void send_ended(void *baton, apr_status_t rv)
{
    watched_t *w = baton;
    detector_t *d = w->d;

    if (rv == APR_SUCCESS && w->proves && d->probes > 0) {
        entry_t *e = find(d, &w->to);

        if (e != NULL) {
            e->acked = sc_mono(d->self->env->clock);
        }
    }
    w->done(w->baton, rv);
    if (rv != APR_SUCCESS && rv != APR_EGENERAL && rv != APR_ECONNABORTED && rv != APR_ENOSPC) {
        send_failed(w->d, &w->to);
    }
    free(w);
}

static void detector_send(sc_interceptor_t *self, const sc_outgoing_t *out)
{
    sc_outgoing_t below = *out;
    watched_t *w = malloc(sizeof(*w));

    if (w != NULL) {
        w->d = self->state;
        w->to = *out->to;
        w->proves = (out->packet.options & SC_OPT_USE_ACK) != 0;
        w->done = out->done;
        w->baton = out->baton;
        below.done = send_ended;
        below.baton = w;
    }
    sc_pass_send(self, &below);
}

static apr_status_t detector_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    if (packet->body_len == sizeof(probe_text) &&
        memcmp(packet->body, probe_text, sizeof(probe_text)) == 0) {
        return APR_SUCCESS;
    }
    return sc_pass_received(self, packet);
}

static void detector_stop(sc_interceptor_t *self)
{
    detector_t *d = self->state;

    d->stopped = 1;
    sc_timer_cancel(self->env->timers, &d->tick);
    while (d->entries != NULL) {
        entry_t *e = d->entries;

        d->entries = e->next;
        if (e->probe != NULL) {
            e->probe->entry = NULL;
        }
        free(e);
    }
}

const sc_interceptor_class_t sc_tcp_failure_detector_class = {
    .name = "TcpFailureDetector",
    .check = detector_check,
    .create = detector_create,
    .stop = detector_stop,
    .send = detector_send,
    .received = detector_received,
    .member_added = detector_added,
    .member_changed = detector_changed,
    .member_gone = detector_gone,
    .member_suspected = NULL,
    .settled = detector_settled,
    .verify = detector_verify,
};
