/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The table of members that the layer above sees, and the chain's top as far as it keeps it: what
 * arrives here has passed all interceptors. Those without our mark are kept in foreign.c.
 */
#include <stdlib.h>
#include <string.h>

#include "group_channel.h"

/* Alive times come from the network; more than this (68 years) is as old as anything can be. */
#define ALIVE_MAX_MS (APR_INT64_C(0x7fffffff) * 1000)

/* ---- the table of members ------------------------------------------------------------------- */

sc_channel_peer_t *sc_channel_peer(const sc_channel_t *ch, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < ch->npeers; i++) {
        if (sc_member_same(&ch->peers[i]->member, m)) {
            return ch->peers[i];
        }
    }
    return NULL;
}

static int older(const sc_channel_peer_t *a, const sc_channel_peer_t *b)
{
    if (a->started != b->started) {
        return a->started < b->started;
    }
    return sc_member_order(&a->member, &b->member) < 0;
}

static sc_channel_peer_t *insert_peer(sc_channel_t *ch, const sc_member_t *m)
{
    apr_time_t now = sc_channel_now(ch);
    apr_uint64_t alive = m->alive_ms < ALIVE_MAX_MS ? m->alive_ms : ALIVE_MAX_MS;
    sc_channel_peer_t *peer = calloc(1, sizeof(*peer));
    apr_size_t i;

    if (peer == NULL) {
        return NULL;
    }
    peer->outbox = sc_outbox_create(&ch->office, m);
    if (peer->outbox == NULL) {
        free(peer);
        return NULL;
    }
    peer->member = *m;
    peer->since = peer->heard = now;
    peer->started = now - apr_time_from_msec(alive);
    for (i = ch->npeers; i > 0 && older(peer, ch->peers[i - 1]); i--) {
        ch->peers[i] = ch->peers[i - 1];
    }
    ch->peers[i] = peer;
    ch->npeers++;
    return peer;
}

void sc_channel_detach(sc_channel_t *ch, sc_channel_peer_t *peer)
{
    apr_size_t i = 0;

    while (ch->peers[i] != peer) {
        i++;
    }
    ch->npeers--;
    memmove(&ch->peers[i], &ch->peers[i + 1], (ch->npeers - i) * sizeof(ch->peers[0]));
    sc_outbox_destroy(peer->outbox);
}

/* ---- top of the chain: membership ----------------------------------------------------------- */

/** One that is known with our mark comes without it, or the other way round: a link below, which
 *  does not care for marks, has kept it. What it was is gone. @return 1: so it was */
static int was_other_kind(sc_interceptor_t *self, const sc_member_t *m)
{
    sc_channel_t *ch = self->state;

    if (m->ours ? sc_foreign_find(&ch->foreign, m) == NULL : sc_channel_peer(ch, m) == NULL) {
        return 0;
    }
    sc_top_member_gone(self, m, 0);
    return 1;
}

/** What a member announces to balancers, and none of them may use, is noticed once. */
static void note_bad_url(sc_channel_t *ch, const sc_member_t *m, int noted)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t before = 0;

    if (!m->bad_url || noted) {
        return;
    }
    SC_CHANNEL_COUNT(ch, urls_refused);
    if (sc_log_allowed(&ch->url_log, sc_channel_now(ch), SC_CHANNEL_LOG_INTERVAL, &before)) {
        sc_log(ch->cfg.log, SC_LOG_WARNING, 0,
               "SC0414: member %s announces an URL that no balancer may send requests to; it is "
               "left out (%" APR_UINT64_T_FMT " more before it)",
               sc_member_name(m, name), before);
    }
}

void sc_top_member_added(sc_interceptor_t *self, const sc_member_t *m)
{
    sc_channel_t *ch = self->state;
    char name[SC_MEMBER_NAME];
    sc_channel_peer_t *peer;

    (void)was_other_kind(self, m);
    if (!m->ours) {
        /* one that is not accepted comes up here when an interceptor knows it */
        if (ch->cfg.config->mcast.accept_foreign && !sc_foreign_added(&ch->foreign, m)) {
            ch->membership.cls->dropped(&ch->membership, m);
        }
        return;
    }
    if (sc_channel_peer(ch, m) != NULL) {
        return;
    }
    peer = ch->npeers < SC_CHANNEL_PEERS_MAX ? insert_peer(ch, m) : NULL;
    if (peer == NULL) {
        if (sc_log_allowed(&ch->full_log, sc_channel_now(ch), SC_CHANNEL_LOG_INTERVAL, NULL)) {
            sc_log(ch->cfg.log, SC_LOG_ERROR, 0,
                   "SC0401: member %s is left out: there are %d members already, this one included",
                   sc_member_name(m, name), SC_MEMBERS_MAX);
        }
        ch->membership.cls->dropped(&ch->membership, m);
        return;
    }
    sc_log(ch->cfg.log, SC_LOG_NOTICE, 0, "SC0402: member %s joined", sc_member_name(m, name));
    note_bad_url(ch, m, 0);
    ch->up.member_added(ch->up.baton, &peer->member);
}

void sc_top_member_changed(sc_interceptor_t *self, const sc_member_t *m)
{
    sc_channel_t *ch = self->state;
    sc_channel_peer_t *peer = sc_channel_peer(ch, m);

    if (was_other_kind(self, m)) {
        sc_top_member_added(self, m);
    } else if (peer != NULL) {
        note_bad_url(ch, m, peer->member.bad_url);
        peer->member = *m;
        ch->up.member_changed(ch->up.baton, &peer->member);
    } else {
        sc_foreign_changed(&ch->foreign, m);
    }
}

void sc_top_member_suspected(sc_interceptor_t *self, const sc_member_t *m, int suspect)
{
    sc_channel_t *ch = self->state;
    char name[SC_MEMBER_NAME];
    sc_channel_peer_t *peer = sc_channel_peer(ch, m);

    if (peer == NULL || peer->suspect == suspect) {
        sc_foreign_suspected(&ch->foreign, m, suspect);
        return;
    }
    peer->suspect = suspect;
    peer->since = sc_channel_now(ch);
    sc_log(ch->cfg.log, suspect ? SC_LOG_WARNING : SC_LOG_NOTICE, 0, "SC0403: member %s is %s",
           sc_member_name(m, name), suspect ? "suspect" : "no longer suspect");
    ch->up.member_changed(ch->up.baton, &peer->member);
}

void sc_top_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye)
{
    sc_channel_t *ch = self->state;
    char name[SC_MEMBER_NAME];
    sc_channel_peer_t *peer = sc_channel_peer(ch, m);

    if (peer == NULL) {
        sc_foreign_gone(&ch->foreign, m, goodbye);
        return;
    }
    sc_channel_detach(ch, peer);
    ch->env.transport->forget(ch->env.transport->ctx, &peer->member);
    sc_log(ch->cfg.log, goodbye ? SC_LOG_NOTICE : SC_LOG_WARNING, 0, "SC0404: member %s %s",
           sc_member_name(&peer->member, name), goodbye ? "left" : "is gone");
    ch->up.member_gone(ch->up.baton, &peer->member, goodbye);
    free(peer);
}

void sc_top_settled(sc_interceptor_t *self)
{
    sc_channel_t *ch = self->state;

    ch->up.settled(ch->up.baton);
}
