/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the tests of the room "tomcat" share: the room on a real loop, and Tomcats that are played.
 */
#ifndef TOMCAT_RIG_H
#define TOMCAT_RIG_H

#include "../../src/tomcat/internal.h"

#define MAP "localhost#/app-map"
#define TOMCATS 3
#define PATIENCE 20 /* seconds for what must happen; only a failing test waits so long */
#define DROP_MS 1000

/* One that is played. */
typedef struct tc_fake_t {
    int listen_fd, conn, back; /* back: to where it answers */
    apr_uint32_t port;
    int hangs; /* accepts, as the kernel does, and says nothing */
    int mute;  /* acknowledges only */
    unsigned char in[8192];
    apr_size_t got;
    int probes, questions;
    apr_uint32_t answer_to; /* port in the last question */
} tc_fake_t;

typedef struct tc_room_t {
    apr_pool_t *pool;
    sc_loop_t *loop;
    sc_store_t *store;
    sc_board_t *board;
    sc_config_t config;
    sc_tomcat_env_t env;
    sc_tomcat_t *tomcat;
    tc_fake_t fake[TOMCATS];
    int changes;
    apr_time_t skew;
    sc_clock_t clock;
    sc_log_t log;
    char said[16384];
    /* what is done with an answer before it is sent; NULL: nothing */
    void (*damage)(struct tc_room_t *room, sc_buf_t *frame);
    apr_size_t cut; /* bytes of the answer that are sent before the end; 0: all */
} tc_room_t;

apr_time_t tc_mono(void *ctx);
/** For sc_tomcat_env_t.changed: counts. */
void tc_changed(void *baton);

/** A socket that listens on loopback. @param port 0: any; receives which */
int tc_listening(apr_uint32_t *port);
/** A connection to loopback. */
int tc_connected(apr_uint32_t port);
/** All its sockets are closed. */
void tc_dies(tc_fake_t *f);

/** A room that follows three played ones by list, and a map unless its name is empty. */
tc_room_t *tc_room_open(const char *map);
void tc_room_start(tc_room_t *room);
void tc_room_close(tc_room_t *room);
/** One round of the loop and of the played ones. */
void tc_turn(tc_room_t *room);
void tc_turns(tc_room_t *room, int ms);

#define UNTIL(room, condition)                                                                     \
    do {                                                                                           \
        apr_time_t end_ = apr_time_now() + apr_time_from_sec(PATIENCE);                            \
        while (!(condition) && apr_time_now() < end_) {                                            \
            tc_turn(room);                                                                         \
        }                                                                                          \
        CU_ASSERT(condition);                                                                      \
    } while (0)

/** Locations in the store. */
apr_uint64_t tc_proxies(const tc_room_t *room);
/** @return its state in the view, -1: it is not there */
int tc_state_of(tc_room_t *room, const char *route);

/* The tests of the whole room with sockets, and of its parts with time (tomcat_room.c). */
void tomcat_add_room(void *suite);

#endif
