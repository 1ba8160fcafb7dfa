/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Foreign members, and what they expect of every member: whoever calls a procedure is told when
 * there is none, because otherwise he waits for an answer for seconds, each time (tribes-protocol
 * 6). The one call that is answered is that of Tribes' static membership (5.2). What it says is
 * translated into the texts that our static membership knows, so there is one table of members.
 */
#include <stdlib.h>
#include <string.h>

#include "foreign.h"

/* ---- the table ------------------------------------------------------------------------------ */

sc_foreign_member_t *sc_foreign_find(const sc_foreign_t *f, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < f->n; i++) {
        if (sc_member_same(&f->at[i]->member, m)) {
            return f->at[i];
        }
    }
    return NULL;
}

int sc_foreign_added(sc_foreign_t *f, const sc_member_t *m)
{
    char name[SC_MEMBER_NAME];
    sc_foreign_member_t *e;

    if (sc_foreign_find(f, m) != NULL) {
        return 1;
    }
    e = f->n < SC_FOREIGN_MAX ? calloc(1, sizeof(*e)) : NULL;
    if (e == NULL) {
        return 0;
    }
    e->member = *m;
    e->since = e->heard = sc_mono(f->env->clock);
    f->at[f->n++] = e;
    sc_log(f->env->log, SC_LOG_NOTICE, 0,
           "SC0412: member %s joined; it has not this cluster's mark (a Tomcat?) and gets no "
           "sessions",
           sc_member_name(m, name));
    return 1;
}

void sc_foreign_changed(sc_foreign_t *f, const sc_member_t *m)
{
    sc_foreign_member_t *e = sc_foreign_find(f, m);

    if (e != NULL) {
        e->member = *m;
    }
}

void sc_foreign_suspected(sc_foreign_t *f, const sc_member_t *m, int suspect)
{
    sc_foreign_member_t *e = sc_foreign_find(f, m);

    if (e != NULL && e->suspect != suspect) {
        e->suspect = suspect;
        e->since = sc_mono(f->env->clock);
    }
}

static void entry_free(sc_foreign_member_t *e)
{
    free(e->membership);
    free(e);
}

void sc_foreign_gone(sc_foreign_t *f, const sc_member_t *m, int goodbye)
{
    const sc_transport_t *t = f->env->transport;
    char name[SC_MEMBER_NAME];
    apr_size_t i;

    for (i = 0; i < f->n && !sc_member_same(&f->at[i]->member, m); i++) {
    }
    if (i == f->n) {
        return;
    }
    t->forget(t->ctx, &f->at[i]->member);
    sc_log(f->env->log, SC_LOG_NOTICE, 0, "SC0413: member %s without this cluster's mark %s",
           sc_member_name(m, name), goodbye ? "left" : "is gone");
    entry_free(f->at[i]);
    f->at[i] = f->at[--f->n];
}

void sc_foreign_clear(sc_foreign_t *f)
{
    while (f->n > 0) {
        entry_free(f->at[--f->n]);
    }
}

/* ---- Java objects --------------------------------------------------------------------------- */

static int is_heard(const sc_foreign_t *f, const sc_member_t *m)
{
    return f->membership->cls->heard(f->membership, m) != 0;
}

/** Tell membership in its own texts what the sender says of itself. Whether it takes the sender for
 *  a member is to be asked afterwards: it swallows a text either way. */
static void tell_membership(const sc_foreign_t *f, const sc_packet_t *packet, sc_java_say_t say)
{
    sc_packet_t said = *packet;

    sc_membership_text(say == SC_JAVA_STOP ? SC_TEXT_STOP : SC_TEXT_PING, &said.body,
                       &said.body_len);
    (void)f->membership->cls->packet(f->membership, &said);
}

/** Remember by what name it knows this node. */
static void remember(sc_foreign_member_t *e, const sc_java_t *j)
{
    unsigned char *name;

    e->member_serial = j->member_serial;
    e->static_serial = j->static_serial;
    if (e->membership != NULL && e->membership_len == j->membership_len &&
        memcmp(e->membership, j->membership, j->membership_len) == 0) {
        return;
    }
    name = malloc(j->membership_len + 1);
    if (name != NULL) {
        memcpy(name, j->membership, j->membership_len);
        free(e->membership);
        e->membership = name;
        e->membership_len = j->membership_len;
    }
}

static void send_object(const sc_foreign_t *f, const sc_member_t *to, sc_buf_t *b)
{
    if (b->err == APR_SUCCESS) {
        f->send(f->ctx, to, b->data, b->len, SC_OPT_ASYNCHRONOUS);
    }
    sc_buf_free(b);
}

void sc_foreign_answer(const sc_foreign_t *f, sc_buf_t *b, const sc_java_t *call, int known)
{
    sc_java_t answer = *call;

    answer.kind = known ? SC_JAVA_REPLY : SC_JAVA_NO_CHANNEL;
    answer.member = *f->env->local;
    sc_java_put(b, &answer);
}

apr_status_t sc_foreign_object(sc_foreign_t *f, const sc_packet_t *packet)
{
    int was = is_heard(f, &packet->from);
    sc_foreign_member_t *from;
    apr_status_t read;
    sc_java_t j;
    sc_buf_t b;
    int known = 0;

    read = sc_java_get(&j, packet->body, packet->body_len);
    if (read == APR_SUCCESS && j.say != SC_JAVA_NOTHING &&
        sc_member_same(&j.member, &packet->from)) {
        tell_membership(f, packet, j.say);
        known = j.say != SC_JAVA_STOP && is_heard(f, &packet->from);
    }
    from = sc_foreign_find(f, &packet->from);
    if (from != NULL) {
        from->heard = sc_mono(f->env->clock);
        if (known) {
            remember(from, &j);
        }
    } else if (!known) {
        SC_CHAIN_COUNT(f->env, ignored);
        return was ? APR_SUCCESS : APR_EGENERAL; /* it has said good-bye */
    }
    if (read != APR_SUCCESS || j.kind != SC_JAVA_REQUEST) {
        SC_CHAIN_COUNT(f->env, ignored);
        return APR_SUCCESS;
    }
    if (!known) {
        SC_CHAIN_COUNT(f->env, calls_refused);
    }
    sc_buf_init(&b, 4096);
    sc_foreign_answer(f, &b, &j, known);
    /* also to one that is still being verified: its start waits for the answer */
    send_object(f, &packet->from, &b);
    return APR_SUCCESS;
}

static void say_goodbye(const sc_foreign_t *f, const sc_foreign_member_t *e)
{
    sc_java_t stop;
    sc_buf_t b;

    memset(&stop, 0, sizeof(stop));
    stop.kind = SC_JAVA_PLAIN;
    stop.say = SC_JAVA_STOP;
    stop.member = *f->env->local;
    memcpy(stop.member.command, SC_COMMAND_SHUTDOWN, sizeof(SC_COMMAND_SHUTDOWN) - 1);
    stop.member.command_len = sizeof(SC_COMMAND_SHUTDOWN) - 1;
    stop.membership = e->membership;
    stop.membership_len = e->membership_len;
    stop.member_serial = e->member_serial;
    stop.static_serial = e->static_serial;
    sc_buf_init(&b, 4096);
    sc_java_put(&b, &stop);
    send_object(f, &e->member, &b);
}

void sc_foreign_goodbye(const sc_foreign_t *f)
{
    apr_size_t i;

    for (i = 0; i < f->n; i++) {
        if (f->at[i]->membership != NULL) {
            say_goodbye(f, f->at[i]);
        }
    }
}
