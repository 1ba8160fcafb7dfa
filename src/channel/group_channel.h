/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file group_channel.h
 * @brief Private to room "channel": the channel, for the three files that it is made of.
 *
 * channel.c puts it together and answers the layer above. channel_members.c: the table of members,
 * and what the chain's top hears of membership. channel_arrivals.c: the way in of messages, from
 * the transport through the chain to the layer above.
 */
#ifndef SC_GROUP_CHANNEL_H
#define SC_GROUP_CHANNEL_H

#include "envelope.h"
#include "foreign.h"
#include "outbox.h"
#include "sc_channel.h"
#include "sc_membership.h"

/** One place of a view is this node's own. */
#define SC_CHANNEL_PEERS_MAX (SC_MEMBERS_MAX - 1)
/** Lines about what strangers or broken members do are written at most so often. */
#define SC_CHANNEL_LOG_INTERVAL apr_time_from_sec(10)

/** A member of the table. */
typedef struct sc_channel_peer_t {
    sc_member_t member;
    sc_outbox_t *outbox;
    sc_stream_t stream;
    int suspect;
    apr_time_t since;   /* of its last change of state */
    apr_time_t heard;   /* its last message; heartbeats are membership's */
    apr_time_t started; /* of its engine, on our clock */
} sc_channel_peer_t;

struct sc_channel_t {
    sc_channel_up_t up;
    sc_channel_config_t cfg;
    sc_chain_env_t env;
    apr_uint64_t serial;
    sc_member_t local;
    sc_membership_t membership;
    sc_interceptor_t links[SC_INTERCEPTORS_MAX + 2]; /* first: top, last: bottom */
    apr_size_t nlinks;
    sc_post_office_t office;
    sc_channel_peer_t *peers[SC_CHANNEL_PEERS_MAX]; /* oldest first */
    apr_size_t npeers;
    sc_foreign_t foreign;
    int started;
    apr_time_t since;
    sc_log_limit_t stranger_log;
    sc_log_limit_t record_log;
    sc_log_limit_t full_log;
    sc_log_limit_t url_log;
};

#define SC_CHANNEL_COUNT(ch, name) SC_CHAIN_COUNT(&(ch)->env, name)

static inline sc_interceptor_t *sc_channel_bottom(sc_channel_t *ch)
{
    return &ch->links[ch->nlinks - 1];
}

static inline apr_time_t sc_channel_now(const sc_channel_t *ch)
{
    return sc_mono(ch->cfg.clock);
}

/* ---- channel_members.c ----------------------------------------------------------------------- */

/** @return NULL: it is not in the table */
sc_channel_peer_t *sc_channel_peer(const sc_channel_t *ch, const sc_member_t *m);
/** Out of the table, and nothing more is sent to it; the caller frees it. */
void sc_channel_detach(sc_channel_t *ch, sc_channel_peer_t *peer);

/* the chain's top, as in sc_interceptor_class_t */
void sc_top_member_added(sc_interceptor_t *self, const sc_member_t *m);
void sc_top_member_changed(sc_interceptor_t *self, const sc_member_t *m);
void sc_top_member_suspected(sc_interceptor_t *self, const sc_member_t *m, int suspect);
void sc_top_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye);
void sc_top_settled(sc_interceptor_t *self);

/* ---- channel_arrivals.c ---------------------------------------------------------------------- */

/** The chain's top, as in sc_interceptor_class_t. */
apr_status_t sc_top_received(sc_interceptor_t *self, const sc_packet_t *packet);

#endif
