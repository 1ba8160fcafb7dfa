/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_events.h
 * @brief Room "engine": what has happened, kept until there is time to tell it.
 *
 * Sessions and members change in the middle of the engine's work, and whoever listens may take his
 * time. So what happens is only noted then, and told from the event loop, in slices, between other
 * work and in the order in which it happened. Bounded: when listeners are slower than what happens
 * for long, the newest are lost, counted and complained about; nothing else suffers.
 */
#ifndef SC_EVENTS_H
#define SC_EVENTS_H

#include "sc_board.h"
#include "sc_loop.h"
#include "sc_manager.h"
#include "sc_member.h"

/** Events that wait at most, some 25 MB: a node that joins may hear of many sessions at once. */
#define SC_EVENTS_MAX 131072

typedef enum sc_happened_t {
    SC_HAPPENED_SESSION,
    SC_HAPPENED_JOINED,
    SC_HAPPENED_LEFT
} sc_happened_t;

/** Told: pointers are valid during the call only. */
typedef struct sc_told_t {
    sc_happened_t happened;
    const sc_session_event_t *session; /**< SESSION */
    const char *route;                 /**< JOINED, LEFT: of the member, "": it has none */
    const char *host;
    apr_uint16_t port;
    int balancer; /**< 1: of role balancer */
    int goodbye;  /**< LEFT: it said so */
} sc_told_t;

typedef void sc_tell_fn_t(void *baton, const sc_told_t *told);

typedef struct sc_events_t sc_events_t;

/** @param tell called from the loop, for one event at a time @param pool as long as the engine */
apr_status_t sc_events_create(sc_events_t **events, sc_loop_t *loop, const sc_log_t *log,
                              sc_board_t *board, sc_tell_fn_t *tell, void *baton, apr_pool_t *pool);
void sc_events_session(sc_events_t *events, const sc_session_event_t *event);
void sc_events_member(sc_events_t *events, sc_happened_t happened, const sc_member_t *member,
                      int goodbye);
/** Tell what waits, for as long as that may take at most; at the end of the engine. */
void sc_events_flush(sc_events_t *events, apr_interval_time_t longest);

#endif
