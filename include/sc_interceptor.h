/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_interceptor.h
 * @brief Room "interceptor": what a link of the channel's chain is.
 *
 * As in Tribes: the first one configured is nearest to the application; messages sent pass down,
 * messages received and membership events pass up. A link sees only its neighbours. A function that
 * a class leaves NULL passes on unchanged. Everything runs on the engine's thread; nothing blocks.
 */
#ifndef SC_INTERCEPTOR_H
#define SC_INTERCEPTOR_H

#include "sc_transport.h"

typedef struct sc_interceptor_t sc_interceptor_t;

/** A message on its way down, for one destination. */
typedef struct sc_outgoing_t {
    sc_packet_t packet;    /**< from, id and timestamp are filled in by the channel */
    const sc_member_t *to; /**< valid during the call */
    sc_lane_t lane;
    int dispatched;     /**< 1: MessageDispatch lets it pass, also when it is asynchronous: whoever
                             sends it wants to know its end, and has reserved its bytes */
    sc_sent_fn_t *done; /**< exactly once, never from within the send */
    void *baton;
} sc_outgoing_t;

/** Services that the channel gives to its interceptors. */
typedef struct sc_chain_env_t {
    sc_timers_t *timers;
    const sc_clock_t *clock;
    const sc_log_t *log;
    sc_board_t *board;
    const sc_transport_t *transport;
    const sc_member_t *local;
    const sc_config_t *config;
    apr_uint64_t *serial; /**< numbers the messages of this member; sc_packet_stamp counts it up */
} sc_chain_env_t;

/** Count on the board, when there is one. @param env sc_chain_env_t */
#define SC_CHAIN_COUNT(env, name)                                                                  \
    do {                                                                                           \
        if ((env)->board != NULL) {                                                                \
            sc_count((env)->board, name, 1);                                                       \
        }                                                                                          \
    } while (0)

/** Fill in what every message carries: sender, time, an id of its own. */
void sc_packet_stamp(const sc_chain_env_t *env, sc_packet_t *packet);

typedef struct sc_interceptor_class_t {
    const char *name; /**< Tomcat's, without "Interceptor" */
    /** Check the attributes. Used at configtest, so no side effects.
     *  @return NULL, or a message (in pool) that says what would be right */
    const char *(*check)(const sc_config_interceptor_t *c, apr_pool_t *pool);
    /** Check whether it fits the rest of the configuration; as check. */
    const char *(*fits)(const sc_config_t *config, const sc_config_interceptor_t *c,
                        apr_pool_t *pool);
    /** Make self->state. @param c checked before */
    apr_status_t (*create)(sc_interceptor_t *self, const sc_config_interceptor_t *c,
                           apr_pool_t *pool);
    /** The channel starts: the transport is there, membership does not run yet. */
    void (*start)(sc_interceptor_t *self);
    void (*stop)(sc_interceptor_t *self);
    void (*send)(sc_interceptor_t *self, const sc_outgoing_t *out);
    /** @return as sc_transport_up_t.packet */
    apr_status_t (*received)(sc_interceptor_t *self, const sc_packet_t *packet);
    void (*member_added)(sc_interceptor_t *self, const sc_member_t *m);
    /** its announced state changed */
    void (*member_changed)(sc_interceptor_t *self, const sc_member_t *m);
    /** @param goodbye 1: it said so; 0: not heard of any more */
    void (*member_gone)(sc_interceptor_t *self, const sc_member_t *m, int goodbye);
    /** it is in doubt (1) or not any more (0), and stays a member until it is gone */
    void (*member_suspected)(sc_interceptor_t *self, const sc_member_t *m, int suspect);
    /** membership's first round is over; held back while members heard in it are being verified */
    void (*settled)(sc_interceptor_t *self);
    /** Bytes that it may add to a message at most; the channel leaves room for them in a frame. */
    apr_size_t grows;
    /** Ask every member that it has announced for a sign of life, now. */
    void (*verify)(sc_interceptor_t *self);
    /** Whether a member is one from its own list. */
    int (*is_static)(const sc_interceptor_t *self, const sc_member_t *m);
    /** Have so many bytes more of asynchronous messages that wait above the chain counted as those
     *  that it sends are. @return 0: there is no room for them */
    int (*reserve)(sc_interceptor_t *self, apr_uint64_t bytes);
    /** They have come to their end, whatever that was. */
    void (*release)(sc_interceptor_t *self, apr_uint64_t bytes);
    /** Who coordinates the group, as far as it knows. @return NULL when it does not, yet */
    const sc_member_t *(*coordinator)(const sc_interceptor_t *self);
} sc_interceptor_class_t;

struct sc_interceptor_t {
    const sc_interceptor_class_t *cls;
    const sc_chain_env_t *env;
    sc_interceptor_t *up;
    sc_interceptor_t *down;
    void *state;
};

/** Pass on to the neighbour that has such a function. */
void sc_pass_send(sc_interceptor_t *self, const sc_outgoing_t *out);
apr_status_t sc_pass_received(sc_interceptor_t *self, const sc_packet_t *packet);
void sc_pass_member_added(sc_interceptor_t *self, const sc_member_t *m);
void sc_pass_member_changed(sc_interceptor_t *self, const sc_member_t *m);
void sc_pass_member_gone(sc_interceptor_t *self, const sc_member_t *m, int goodbye);
void sc_pass_member_suspected(sc_interceptor_t *self, const sc_member_t *m, int suspect);
void sc_pass_settled(sc_interceptor_t *self);
/** Have the members verified by the next link below that can. @return 0: none can */
int sc_pass_verify(sc_interceptor_t *self);
/** Whether a member was configured, in a list of membership or of a link below. */
int sc_ask_static(const sc_interceptor_t *self, const sc_member_t *m);

/** The class of a name. @return NULL when there is none */
const sc_interceptor_class_t *sc_interceptor_find(const char *name);
/** Names of all classes for messages: "TcpFailureDetector, MessageDispatch". */
const char *sc_interceptor_names(apr_pool_t *pool);
/** Check a configured chain: names, attributes, order. @return NULL or a message (in pool) */
const char *sc_interceptor_check(const sc_config_t *c, apr_pool_t *pool);

#define SC_ATTR_TEXT 2

/** One attribute of a class: true/false, a number within bounds, or a text, which
 *  sc_interceptor_text yields. */
typedef struct sc_attr_rule_t {
    const char *name;
    int is_bool; /**< 0, 1, SC_ATTR_TEXT */
    apr_int64_t dflt;
    apr_int64_t min;
    apr_int64_t max;
    const char *unit; /**< for messages: "milliseconds"; NULL for a bool */
} sc_attr_rule_t;

/**
 * Read the attributes of an interceptor by a table of n rules; values[i] belongs to rules[i].
 * @return NULL, or a message (in pool) that says what would be right
 */
const char *sc_interceptor_attrs(const sc_config_interceptor_t *c, const sc_attr_rule_t *rules,
                                 apr_size_t n, apr_int64_t *values, apr_pool_t *pool);

/** An attribute of Tomcat's that has no meaning here. */
typedef struct sc_attr_refused_t {
    const char *name;
    const char *why;
} sc_attr_refused_t;

/** The attribute "optionFlag", which all classes have (tribes-protocol 3). */
#define SC_OPTION_FLAG                                                                             \
    {                                                                                              \
        "optionFlag", 0, 0, 0, 0x7fffffff, "option bits"                                           \
    }
/** The default of Gzip's. */
#define SC_GZIP_FLAG "256"
/** Whether an interceptor with this optionFlag handles a message with these options. */
#define sc_option_applies(flag, options)                                                           \
    (((options) & (apr_uint32_t)(flag)) == (apr_uint32_t)(flag))

/** Look for n attributes that have no meaning here. @return NULL, or a message with the reason */
const char *sc_interceptor_refused(const sc_config_interceptor_t *c, const sc_attr_refused_t *table,
                                   apr_size_t n, apr_pool_t *pool);
/** Value of a text attribute, dflt when it is not given. */
const char *sc_interceptor_text(const sc_config_interceptor_t *c, const char *name,
                                const char *dflt);

extern const sc_interceptor_class_t sc_tcp_failure_detector_class;
extern const sc_interceptor_class_t sc_message_dispatch_class;
extern const sc_interceptor_class_t sc_encrypt_class;
extern const sc_interceptor_class_t sc_gzip_class;
extern const sc_interceptor_class_t sc_fragmentation_class;
extern const sc_interceptor_class_t sc_order_class;
extern const sc_interceptor_class_t sc_two_phase_commit_class;
extern const sc_interceptor_class_t sc_throughput_class;
extern const sc_interceptor_class_t sc_domain_filter_class;
extern const sc_interceptor_class_t sc_static_membership_class;
extern const sc_interceptor_class_t sc_tcp_ping_class;
extern const sc_interceptor_class_t sc_non_blocking_coordinator_class;
extern const sc_interceptor_class_t sc_simple_coordinator_class;

#endif
