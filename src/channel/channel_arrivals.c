/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The way in: what the transport has received goes to membership or up the chain, and what has
 * passed the interceptors, to the layer above. Session messages count only in their order, and from
 * members of the table.
 */
#include <string.h>

#include "group_channel.h"

/* ---- top of the chain: messages ------------------------------------------------------------- */

/** Apply all records. @return the first error */
static apr_status_t apply_records(sc_channel_t *ch, const sc_channel_peer_t *peer,
                                  const sc_envelope_t *e)
{
    apr_status_t result = APR_SUCCESS;
    sc_rd_t r;

    sc_rd_init(&r, e->records, e->records_len);
    while (sc_rd_left(&r) > 0) {
        apr_size_t n;
        const unsigned char *p = sc_get_str(&r, sc_rd_left(&r), &n);
        apr_status_t rv = ch->up.record(ch->up.baton, &peer->member, p, n);

        if (result == APR_SUCCESS) {
            result = rv;
        }
    }
    return result;
}

static apr_status_t envelope_received(sc_channel_t *ch, sc_channel_peer_t *peer,
                                      const sc_envelope_t *e)
{
    sc_arrival_t arrival = sc_stream_arrived(&peer->stream, e);
    apr_status_t rv;

    peer->heard = sc_channel_now(ch);
    if (arrival == SC_ARRIVAL_GAP) {
        SC_CHANNEL_COUNT(ch, gaps);
        ch->up.gap(ch->up.baton, &peer->member);
    }
    rv = apply_records(ch, peer, e);
    if (rv != APR_SUCCESS || arrival == SC_ARRIVAL_LATE) {
        return rv;
    }
    sc_stream_processed(&peer->stream, e);
    if (!peer->stream.behind) {
        ch->up.progress(ch->up.baton, &peer->member, e->lsn);
    }
    return APR_SUCCESS;
}

/** An envelope that cannot be read, or whose sender is not in the view. */
static apr_status_t refuse(sc_channel_t *ch, const sc_packet_t *packet,
                           const sc_channel_peer_t *peer)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    if (packet->from.ours && peer == NULL) {
        /* not heard yet, or dropped: it will be told apart from a loss by FAIL_ACK and the gap */
        SC_CHANNEL_COUNT(ch, ignored);
        return APR_EGENERAL;
    }
    if (peer == NULL) {
        SC_CHANNEL_COUNT(ch, frames_refused);
        if (sc_log_allowed(&ch->stranger_log, sc_channel_now(ch), SC_CHANNEL_LOG_INTERVAL, &more)) {
            sc_log(ch->cfg.log, SC_LOG_WARNING, 0,
                   "SC0405: session messages of a member without this cluster's mark, %s, were "
                   "refused (%" APR_UINT64_T_FMT " more before)",
                   sc_member_name(&packet->from, name), more);
        }
        return APR_EGENERAL;
    }
    SC_CHANNEL_COUNT(ch, records_refused);
    if (sc_log_allowed(&ch->record_log, sc_channel_now(ch), SC_CHANNEL_LOG_INTERVAL, &more)) {
        sc_log(ch->cfg.log, SC_LOG_WARNING, 0,
               "SC0406: session messages of member %s could not be read (%" APR_UINT64_T_FMT
               " more before); does it run another version?",
               sc_member_name(&packet->from, name), more);
    }
    return APR_EINVAL;
}

/** From a member without our mark. @return APR_SUCCESS; it is none that is accepted: APR_EGENERAL
 */
static apr_status_t foreign_received(sc_channel_t *ch, const sc_packet_t *packet)
{
    sc_foreign_member_t *from;

    if (!(packet->options & SC_OPT_BYTE_MESSAGE)) {
        return sc_foreign_object(&ch->foreign, packet);
    }
    from = sc_foreign_find(&ch->foreign, &packet->from);
    if (from == NULL) {
        SC_CHANNEL_COUNT(ch, ignored);
        return APR_EGENERAL;
    }
    from->heard = sc_channel_now(ch);
    SC_CHANNEL_COUNT(ch, messages_in);
    ch->up.message(ch->up.baton, packet);
    return APR_SUCCESS;
}

/** A byte message with our mark. @return APR_SUCCESS; APR_EGENERAL: of nobody in the table */
static apr_status_t member_message(sc_channel_t *ch, const sc_packet_t *packet)
{
    if (sc_channel_peer(ch, &packet->from) == NULL) {
        SC_CHANNEL_COUNT(ch, ignored);
        return APR_EGENERAL;
    }
    SC_CHANNEL_COUNT(ch, messages_in);
    ch->up.message(ch->up.baton, packet);
    return APR_SUCCESS;
}

apr_status_t sc_top_received(sc_interceptor_t *self, const sc_packet_t *packet)
{
    sc_channel_t *ch = self->state;
    int envelope = (packet->options & SC_OPT_BYTE_MESSAGE) != 0 &&
                   sc_envelope_is(packet->body, packet->body_len);
    sc_envelope_t e;
    sc_channel_peer_t *peer;

    if (!packet->from.ours && !envelope) {
        return foreign_received(ch, packet);
    }
    if (!(packet->options & SC_OPT_BYTE_MESSAGE)) {
        return APR_SUCCESS; /* a Java object: nothing that this node understands */
    }
    if (!envelope) {
        return member_message(ch, packet);
    }
    if (packet->options & (SC_OPT_UDP | SC_OPT_MULTICAST)) {
        SC_CHANNEL_COUNT(ch, frames_refused); /* no session travels in a datagram */
        return APR_EGENERAL;
    }
    peer = packet->from.ours ? sc_channel_peer(ch, &packet->from) : NULL;
    if (peer == NULL || sc_envelope_get(&e, packet->body, packet->body_len) != APR_SUCCESS ||
        e.store_id != peer->member.store_id) {
        return refuse(ch, packet, peer);
    }
    return envelope_received(ch, peer, &e);
}

/* ---- from the transport ---------------------------------------------------------------------- */

/** A message in a datagram: only from somebody who is known, and never membership's. */
static apr_status_t datagram_packet(sc_channel_t *ch, const sc_packet_t *packet)
{
    if (sc_channel_peer(ch, &packet->from) == NULL &&
        sc_foreign_find(&ch->foreign, &packet->from) == NULL) {
        SC_CHANNEL_COUNT(ch, ignored);
        return APR_EGENERAL;
    }
    return sc_pass_received(sc_channel_bottom(ch), packet);
}

static apr_status_t transport_packet(void *baton, const sc_packet_t *packet)
{
    sc_channel_t *ch = baton;

    if (!ch->started || sc_member_same(&packet->from, &ch->local)) {
        return ch->started ? APR_SUCCESS : APR_EGENERAL;
    }
    if (packet->options & (SC_OPT_UDP | SC_OPT_MULTICAST)) {
        return datagram_packet(ch, packet);
    }
    if (ch->membership.cls->packet(&ch->membership, packet)) {
        return APR_SUCCESS;
    }
    return sc_pass_received(sc_channel_bottom(ch), packet);
}

/** Messages to the whole group: whole frames, one behind the other (tribes-protocol 1.7). */
static void group_frames(sc_channel_t *ch, const void *bytes, apr_size_t len)
{
    const unsigned char *data;
    sc_frame_kind_t kind;
    sc_packet_t packet;
    sc_parser_t parser;
    apr_size_t n;

    sc_parser_init(&parser, len);
    sc_put(&parser.in, bytes, len);
    while (sc_parser_next(&parser, &kind, &data, &n) == APR_SUCCESS && kind == SC_FRAME_DATA &&
           sc_packet_get(&packet, data, n) == APR_SUCCESS) {
        packet.options |= SC_OPT_MULTICAST; /* whatever it says: it came so */
        (void)transport_packet(ch, &packet);
        sc_parser_done(&parser);
    }
    sc_parser_free(&parser);
}

static void transport_datagram(void *baton, const void *bytes, apr_size_t len)
{
    sc_channel_t *ch = baton;

    if (!ch->started) {
        return;
    }
    ch->membership.cls->datagram(&ch->membership, bytes, len);
    if (sc_frame_is(bytes, len)) {
        group_frames(ch, bytes, len);
    }
}

sc_transport_up_t sc_channel_transport_up(sc_channel_t *ch)
{
    sc_transport_up_t up = {ch, transport_packet, transport_datagram};

    return up;
}
