/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_channel.h
 * @brief Room "channel": the group channel: membership, the interceptor chain, group commit.
 *
 * The manager posts records (session messages) for members. Records that wait for one member are
 * sent in one frame: one frame in flight, the next one filling. The frame's body is an envelope:
 *
 *   "SCE1" | version u8 | stream u64 | seq varint | store id u64 | lsn varint
 *   | records: varint length, bytes ... to the end
 *
 * stream is a random number chosen when a member is added (again); seq counts the envelopes of a
 * stream from 1. So a receiver notices when an envelope was lost, whatever the reason: it gets a
 * gap() call and asks for what it missed. lsn is the sender's store change number at the time the
 * last record of the envelope was posted; once an envelope has been processed without a gap,
 * everything up to it has arrived. An envelope without records only shows where the stream is: it
 * is sent after a failure, so that the member learns of the gap although nothing else is to be
 * said.
 *
 * Messages that are no envelopes (other applications on the channel) go to message().
 */
#ifndef SC_CHANNEL_H
#define SC_CHANNEL_H

#include "sc_interceptor.h"

typedef struct sc_channel_t sc_channel_t;

/** What the channel tells the layer above. All members passed are valid during the call. */
typedef struct sc_channel_up_t {
    void *baton;
    /** One record from a member of ours. @return not APR_SUCCESS: could not be applied (FAIL_ACK)
     */
    apr_status_t (*record)(void *baton, const sc_member_t *from, const void *bytes, apr_size_t len);
    /** Something from this member was lost (or it began a new stream unexpectedly). Called for each
     *  loss, also when an earlier one has not been made up yet: what was asked for before this call
     *  need not contain what is missing now. */
    void (*gap)(void *baton, const sc_member_t *from);
    /** Everything of that store up to lsn has arrived. Not called between a gap and resynced. */
    void (*progress)(void *baton, const sc_member_t *from, apr_uint64_t lsn);
    /** A byte message that is no envelope, from a member or an accepted foreign one. */
    void (*message)(void *baton, const sc_packet_t *packet);
    void (*member_added)(void *baton, const sc_member_t *m);
    /** its announced state changed (joining, ready, leaving), or it became suspect or unsuspected
     *  (sc_channel_view) */
    void (*member_changed)(void *baton, const sc_member_t *m);
    void (*member_gone)(void *baton, const sc_member_t *m, int goodbye);
    /** Change number of the own store now, for the envelope. */
    apr_uint64_t (*lsn)(void *baton);
    /** Announcement is over: the members heard until now are all that answered in time. */
    void (*settled)(void *baton);
} sc_channel_up_t;

typedef struct sc_channel_config_t {
    const sc_config_t *config;
    const sc_clock_t *clock;
    sc_timers_t *timers;
    const sc_log_t *log;
    sc_board_t *board;
    apr_uint64_t store_id;
    sc_uid_t uid; /**< of the local member */
} sc_channel_config_t;

/**
 * @param transport below; its upcalls must be led to sc_channel_transport_up
 * @param pool as long as the engine
 * @return APR_SUCCESS; APR_EINVAL for a configuration that check functions would have refused
 */
apr_status_t sc_channel_create(sc_channel_t **ch, const sc_channel_config_t *cfg,
                               const sc_channel_up_t *up, apr_pool_t *pool);
/** The functions that the transport calls with what comes in. */
sc_transport_up_t sc_channel_transport_up(sc_channel_t *ch);

/** Begin: membership, chain, announcement. On a group with foreign members nothing is announced,
 *  an error is logged, and the node stays alone (settled is called). */
apr_status_t sc_channel_start(sc_channel_t *ch, const sc_transport_t *transport);
/** Hand everything that was posted to the transport now, without waiting for the envelope in
 * flight: for an engine that leaves, followed by sc_net_drain and only then by sc_channel_stop,
 * since nobody listens to a member that has said good-bye. */
void sc_channel_flush(sc_channel_t *ch);
/** Leave the group (good-bye to all) and end all posts, within the call. */
void sc_channel_stop(sc_channel_t *ch);

/** The local member as announced; node_state may be changed with sc_channel_announce. */
const sc_member_t *sc_channel_local(const sc_channel_t *ch);
/** Announce another state at once. */
void sc_channel_announce(sc_channel_t *ch, sc_node_state_t state);

/** End of a post for one member: as sc_sent_fn_t; for ASYNCHRONOUS APR_SUCCESS when queued,
 * whatever interceptors there are. */
typedef sc_sent_fn_t sc_posted_fn_t;
/**
 * Post a record to a member that was announced by member_added.
 * @param bytes copied
 * @param options SC_OPT_*: acknowledgement asked for, asynchronous or not
 * @param done may be NULL; never called from within this call
 * @return APR_SUCCESS; done is not called for all others: APR_NOTFOUND: no such member; APR_EINVAL:
 *         larger than a frame may be, nothing happens; APR_ENOSPC: its queue is full, or the
 *         record is asynchronous and MessageDispatch refuses it, APR_ENOMEM: the queue is dropped
 *         (done of what was queued gets APR_ENOSPC) and the stream breaks here, so the member will
 *         notice a gap and ask
 */
apr_status_t sc_channel_post(sc_channel_t *ch, const sc_member_t *to, const void *bytes,
                             apr_size_t len, apr_uint32_t options, sc_posted_fn_t *done,
                             void *baton);
/**
 * Send a byte message that is none of the sessions', to a member or to a foreign one.
 * @param bytes copied
 * @param options SC_OPT_*, with Tribes' meaning (tribes-protocol 3). USE_ACK: done waits for an
 *        acknowledgement, with SYNCHRONIZED_ACK for one that says that it was processed; that one
 *        alone waits for nothing. ASYNCHRONOUS: with MessageDispatch in the chain done comes at
 *        once, unless its queue is full; without it, as if the option were not there, which is
 *        when the message was written (or acknowledged). UDP: one datagram to the
 *        member's UDP port. MULTICAST: one datagram to the group, which all of its members get;
 *        there is no acknowledgement. With a secret neither is possible: done gets APR_ENOTIMPL.
 *        BYTE_MESSAGE is set here.
 * @param done may be NULL; never called from within this call
 * @return APR_SUCCESS; done is not called for all others: APR_NOTFOUND: no such member; APR_EINVAL:
 *         larger than a frame may be
 */
apr_status_t sc_channel_send(sc_channel_t *ch, const sc_member_t *to, const void *bytes,
                             apr_size_t len, apr_uint32_t options, sc_sent_fn_t *done, void *baton);
/**
 * As sc_channel_send, to a member of ours, past everything that is queued for it, on a connection
 * that only such messages use: sessions do not wait behind them. done comes with the
 * acknowledgement. Who sends sees to it that not too many are under way.
 */
apr_status_t sc_channel_send_bulk(sc_channel_t *ch, const sc_member_t *to, const void *bytes,
                                  apr_size_t len, sc_sent_fn_t *done, void *baton);
/** Foreign members seen now; valid until the next event. @return their number */
apr_size_t sc_channel_foreign(const sc_channel_t *ch, const sc_member_t **members, apr_size_t max);
/** The port of the UDP receiver, to be announced; before sc_channel_start. */
void sc_channel_set_udp_port(sc_channel_t *ch, apr_uint32_t port);
/** What was missed because of a gap has been made up: progress is reported again. */
void sc_channel_resynced(sc_channel_t *ch, const sc_member_t *from);

/** Members in the view now, ours only, self not included, oldest first; valid until the next
 *  member_added or member_gone. @return their number (members beyond max are left out) */
apr_size_t sc_channel_members(const sc_channel_t *ch, const sc_member_t **members, apr_size_t max);
/** Fill in state, queue and age of every member for the board, self first. */
void sc_channel_view(const sc_channel_t *ch, sc_view_t *view);

#endif
