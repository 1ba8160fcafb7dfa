/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file internal.h
 * @brief Private to room "tomcat": the parts it is made of.
 */
#ifndef SC_TOMCAT_INTERNAL_H
#define SC_TOMCAT_INTERNAL_H

#include "sc_tomcat.h"
#include "state.h"

#define SC_TC_COMPLAIN apr_time_from_sec(60)

/* ---- link.c: one question to one member ------------------------------------------------------ */

/** Append what is to be sent. @param from this node as the member is to see it, port 0 */
typedef void sc_tc_write_fn_t(void *baton, sc_buf_t *b, sc_member_t *from);
/** @param rv APR_SUCCESS: acknowledged; APR_TIMEUP; else why not. The link may be used again. */
typedef void sc_tc_done_fn_t(void *baton, apr_status_t rv);

/** A connection for one frame and its acknowledgement. Zeroed: idle. */
typedef struct sc_tc_link_t {
    const sc_tomcat_env_t *env;
    apr_pool_t *pool; /**< of the connection; NULL: idle */
    apr_socket_t *sock;
    sc_watch_t watch;
    sc_timer_t deadline;
    sc_buf_t out;
    apr_size_t sent;
    unsigned char in[SC_ACK_FRAME];
    apr_size_t got;
    int connected;
    sc_tc_write_fn_t *write;
    sc_tc_done_fn_t *done;
    void *baton;
} sc_tc_link_t;

/** Never calls done from within. @return APR_SUCCESS; else it was not begun */
apr_status_t sc_tc_link_begin(sc_tc_link_t *l, const sc_tomcat_env_t *env, apr_pool_t *parent,
                              const char *host, apr_int32_t port, apr_interval_time_t timeout,
                              sc_tc_write_fn_t *write, sc_tc_done_fn_t *done, void *baton);
/** Close it without a word; harmless when idle. */
void sc_tc_link_close(sc_tc_link_t *l);
/** A packet from this node, with a new id. */
apr_status_t sc_tc_packet(const sc_tomcat_env_t *env, sc_packet_t *p, const sc_member_t *from,
                          apr_uint32_t options);

/* ---- members.c: who is there ----------------------------------------------------------------- */

typedef enum sc_tc_standing_t {
    SC_TC_FREE = 0, /**< no member */
    SC_TC_UNKNOWN,  /**< of the list, never heard */
    SC_TC_ALIVE,
    SC_TC_GONE
} sc_tc_standing_t;

typedef struct sc_tc_members_t sc_tc_members_t;

typedef struct sc_tc_member_t {
    sc_tc_standing_t standing;
    int listed; /**< member= names it */
    char host[SC_HOST_MAX + 1];
    sc_member_t key; /**< its address and, when known, unique id; nothing else */
    int has_uid;
    char route[SC_ROUTE_MAX + 1]; /**< "": none */
    char domain[SC_DOMAIN_MAX + 1];
    apr_time_t since;                       /**< of its standing */
    apr_time_t heard;                       /**< last heartbeat or answer, 0: never */
    apr_time_t beat;                        /**< last heartbeat */
    apr_time_t ask_at;                      /**< not to be asked earlier */
    apr_time_t rest_to[SC_TOMCAT_MAPS_MAX]; /**< not to be asked for that map earlier */
    sc_tc_link_t link;                      /**< the question whether it is there */
    sc_tc_members_t *of;
} sc_tc_member_t;

struct sc_tc_members_t {
    const sc_tomcat_env_t *env;
    apr_pool_t *pool;
    apr_time_t started;
    sc_timer_t tick;
    sc_tc_member_t at[SC_MEMBERS_MAX];
    sc_log_limit_t full_log, malformed_log, route_log;
    /** A member came or went. */
    void (*changed)(void *baton);
    void *baton;
};

void sc_tc_members_init(sc_tc_members_t *t, const sc_tomcat_env_t *env, apr_pool_t *pool);
void sc_tc_members_start(sc_tc_members_t *t);
void sc_tc_members_close(sc_tc_members_t *t);
/** A datagram of the group. */
void sc_tc_members_datagram(sc_tc_members_t *t, const void *bytes, apr_size_t len);
/** A member has answered, and said who it is. */
void sc_tc_members_answered(sc_tc_members_t *t, sc_tc_member_t *m, const sc_member_t *said);
/** Look who is silent, and ask those. */
void sc_tc_members_tick(sc_tc_members_t *t, apr_time_t now);
/** @return NULL: nobody with that address; or who has it now is another life of it */
const sc_tc_member_t *sc_tc_members_find(const sc_tc_members_t *t, const sc_jmember_t *who);

/* ---- group.c: the socket in Tomcat's group --------------------------------------------------- */

typedef struct sc_tc_group_t {
    const sc_tomcat_env_t *env;
    apr_pool_t *parent, *pool;
    apr_socket_t *sock;
    sc_watch_t watch;
    sc_timer_t look;
    apr_time_t heard;
    sc_tc_members_t *members;
    sc_log_limit_t failed_log;
    unsigned char in[65536];
} sc_tc_group_t;

void sc_tc_group_start(sc_tc_group_t *g, const sc_tomcat_env_t *env, sc_tc_members_t *members,
                       apr_pool_t *pool);
void sc_tc_group_close(sc_tc_group_t *g);

/* ---- intake.c: answers in a stream of bytes -------------------------------------------------- */

typedef struct sc_tc_answers_up_t {
    void *baton;
    /** What must be in an answer; NULL: none is waited for. */
    const sc_uid_t *(*wanted)(void *baton);
    /** A whole frame with that in it; may be swapped out of the buffer. */
    void (*frame)(void *baton, sc_buf_t *frame);
    /** An answer that will not come whole: APR_ENOSPC too large, APR_EOF cut off, APR_EINVAL. */
    void (*failed)(void *baton, apr_status_t why);
} sc_tc_answers_up_t;

/** Bytes of one connection at most that are kept of what is no answer. */
#define SC_TC_HEAD_BYTES 2048

typedef struct sc_tc_intake_t {
    const sc_tc_answers_up_t *up;
    apr_size_t max;
    int proven;        /**< it has brought an answer */
    unsigned int acks; /**< frames that wait for their acknowledgement */
    sc_buf_t in;       /**< the frame so far */
    apr_size_t total;  /**< bytes of the frame, 0: not known yet */
    apr_size_t skip;   /**< bytes of a frame that nobody waits for, still to come */
    int judged;        /**< its beginning was looked at: it is an answer */
    apr_uint32_t options;
} sc_tc_intake_t;

/** @param max bytes of an answer at most */
void sc_tc_intake_open(sc_tc_intake_t *i, const sc_tc_answers_up_t *up, apr_size_t max);
/** @return 0: this is no stream of frames, the connection is to be closed */
int sc_tc_intake_feed(sc_tc_intake_t *i, const unsigned char *bytes, apr_size_t n);
/** Nobody waits any more. */
void sc_tc_intake_forget(sc_tc_intake_t *i);
void sc_tc_intake_close(sc_tc_intake_t *i);

/* ---- answers.c: where answers are received --------------------------------------------------- */

typedef struct sc_tc_answers_t sc_tc_answers_t;

sc_tc_answers_t *sc_tc_answers_create(const sc_tomcat_env_t *env, const sc_tc_answers_up_t *up,
                                      apr_pool_t *pool);
/** The port at which answers to a question from this address of ours are received. */
apr_status_t sc_tc_answers_at(sc_tc_answers_t *a, const char *address, apr_uint32_t *port);
/** Nobody waits any more: what has come of an answer is dropped. @return whether some had */
int sc_tc_answers_forget(sc_tc_answers_t *a);
void sc_tc_answers_close(sc_tc_answers_t *a);

/* ---- table.c: what is made of locations ------------------------------------------------------ */

typedef struct sc_tc_table_t {
    const sc_tomcat_env_t *env;
    apr_uint32_t era;          /**< changes with each member that comes or goes */
    apr_interval_time_t pause; /**< between two questions for one map, at least */
    apr_uint16_t context[SC_TOMCAT_MAPS_MAX];
    sc_log_limit_t full_log;
} sc_tc_table_t;

apr_status_t sc_tc_table_init(sc_tc_table_t *t, const sc_tomcat_env_t *env);
/** Enter one location, as teller told it. */
void sc_tc_table_enter(sc_tc_table_t *t, apr_uint32_t map, const sc_tc_members_t *members,
                       const sc_tc_member_t *teller, const sc_state_t *answer,
                       const sc_location_t *location);

/* ---- poll.c: asking for maps ----------------------------------------------------------------- */

typedef struct sc_tc_poll_t sc_tc_poll_t;

sc_tc_poll_t *sc_tc_poll_create(const sc_tomcat_env_t *env, sc_tc_members_t *members,
                                sc_tc_table_t *table, apr_pool_t *pool);
void sc_tc_poll_start(sc_tc_poll_t *p);
/** A member came or went: ask all of them. */
void sc_tc_poll_all(sc_tc_poll_t *p);
void sc_tc_poll_close(sc_tc_poll_t *p);

#endif
