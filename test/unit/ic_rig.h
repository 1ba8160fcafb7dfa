/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A chain of interceptors between two links that the test plays: one above that keeps what comes up
 * and answers as the test wants, one below that keeps every packet until the test ends its send or
 * carries it to another chain.
 */
#ifndef IC_RIG_H
#define IC_RIG_H

#include "net_rig.h"

#define IC_LINKS 8
#define IC_MAX 4096
#define IC_TEXT "the quick brown fox jumps over the lazy dog"
#define IC_KEY "000102030405060708090a0b0c0d0e0f"
#define IC_SYNC (SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK)

/** A packet that came up, or was sent down. */
typedef struct ic_packet_t {
    sc_packet_t p; /**< body is a copy of its own */
    sc_member_t to;
    sc_lane_t lane;
    sc_sent_fn_t *done; /**< NULL: ended */
    void *baton;
} ic_packet_t;

typedef struct ic_t {
    apr_pool_t *pool;
    apr_time_t now;
    sc_clock_t clock;
    sc_log_t log_to;
    sc_timers_t *timers;
    sc_config_t config;
    sc_board_t board;
    sc_member_t local;
    apr_uint64_t serial;
    sc_transport_t transport;
    sc_chain_env_t env;
    sc_interceptor_t link[IC_LINKS + 2];
    int nlinks;
    ic_packet_t *up[IC_MAX];
    int nup;
    ic_packet_t *sent[IC_MAX];
    int nsent;
    int carried;        /**< of these, by ic_carry */
    apr_status_t up_rv; /**< what the link above answers */
    int gone;           /**< members that went, as the link above has heard */
    int up_at_gone;     /**< nup when the last one went */
    char log[16384];
} ic_t;

/** A configuration: the name, then names and values in pairs, then NULL. */
sc_config_interceptor_t ic_conf(const char *name, ...);
/** What sc_interceptor_check says about a chain, NULL when it is right. */
const char *ic_check(const sc_config_interceptor_t *conf, int n, apr_pool_t *pool);
/** Whether a lone interceptor is refused with a message that contains this; prints the message if
 *  not. */
int ic_refused(sc_config_interceptor_t conf, const char *because);

/** A chain, the first one on top. @param node the local member is member node */
ic_t *ic_open(const sc_config_interceptor_t *conf, int n, int node);
/** Stop it, end what is open, and check that nothing is left. */
void ic_close(ic_t *ic);

/** Member number n: ours, 10.0.0.n. */
sc_member_t ic_member(int n);
void ic_run(ic_t *ic, apr_interval_time_t time);

/** Send from the top to member 2. */
void ic_send(ic_t *ic, const void *bytes, apr_size_t len, apr_uint32_t options, rig_end_t *end);
/** The same on another lane than that of the sessions. */
void ic_send_on(ic_t *ic, sc_lane_t lane, const void *bytes, apr_size_t len, apr_uint32_t options,
                rig_end_t *end);
/** Tell the end of a send. */
void ic_end(ic_t *ic, int i, apr_status_t rv);
/** Let a packet come in from below. */
apr_status_t ic_receive(ic_t *ic, const sc_packet_t *packet);
/** A packet with the next id of member number `from`. */
sc_packet_t ic_packet(int from, const void *bytes, apr_size_t len, apr_uint32_t options);
/** Carry what one chain has sent to another one until there is no more, ends included. */
void ic_carry(ic_t *from, ic_t *to);
/** Whether the i-th message that came up has this text. */
int ic_up_is(const ic_t *ic, int i, const char *text);

/** The packet of a captured frame; free *body when it is not needed any more. */
sc_packet_t ic_vector(const char *name, unsigned char **body);
/** Whether a packet, put into a frame, is that captured frame byte for byte. */
int ic_same_frame(const sc_packet_t *packet, const char *name);

#endif
