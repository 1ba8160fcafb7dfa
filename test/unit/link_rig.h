/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file link_rig.h
 * @brief What the tests of the link share: a listening socket in a folder of its own and engines,
 * each a process of its own, that do what the first byte of a request says.
 */
#ifndef LINK_RIG_H
#define LINK_RIG_H

#include <sys/types.h>

#include <CUnit/CUnit.h>

#include "sc_link.h"

/** Longer than any call may take, shorter than patience. */
#define RIG_LONG apr_time_from_sec(10)
/** Requests above this are refused by the engine. */
#define RIG_MAX_MESSAGE (2u << 20)

/** First byte of a request; what the engine does with it. */
enum {
    RIG_ECHO = 'E',   /**< answer with the request */
    RIG_SIZED = 'S',  /**< u32 n: answer with n bytes of link_rig_fill */
    RIG_DELAY = 'D',  /**< u32 ms: answer with the request after that time */
    RIG_NEVER = 'N',  /**< no answer */
    RIG_DIE = 'K',    /**< first time: the engine kills itself; again: as RIG_INFO */
    RIG_FREEZE = 'P', /**< the engine stops itself, and echoes when it is continued */
    RIG_INFO = 'I'    /**< answer with: u8 again, u32 op, u32 pid, u32 connections, u32 refused */
};

typedef struct link_rig_t {
    apr_pool_t *pool;
    char dir[64];
    char path[80];
    int listen_fd;
    pid_t engine; /**< 0: none */
    apr_uint32_t max_conns;
    sc_link_client_t *client;
    int fds; /**< descriptors open before the rig */
} link_rig_t;

/** Listening socket and client (keeps 4 connections); no engine yet. */
void link_rig_start(link_rig_t *r);
/** Fork an engine. */
void link_rig_spawn(link_rig_t *r);
/** Kill the engine as a crash would. */
void link_rig_kill(link_rig_t *r);
/** End the engine, which must have leaked nothing, and clean up, which must leave no descriptor. */
void link_rig_end(link_rig_t *r);

/** One call with a command and n more bytes. */
apr_status_t link_rig_call(link_rig_t *r, int command, const void *bytes, apr_size_t n,
                           apr_interval_time_t timeout, sc_buf_t *answer);
/** One call with a command and a number. */
apr_status_t link_rig_call_u32(link_rig_t *r, int command, apr_uint32_t v,
                               apr_interval_time_t timeout, sc_buf_t *answer);

typedef struct link_rig_info_t {
    unsigned int again;
    apr_uint32_t op;
    apr_uint32_t pid;
    apr_uint32_t conns;
    apr_uint32_t refused;
} link_rig_info_t;

/** Decode the answer to RIG_INFO. @return whether it is one */
int link_rig_info(const sc_buf_t *answer, link_rig_info_t *info);

/** A pattern of n bytes that differs for each seed and does not repeat with the packets. */
void link_rig_fill(unsigned char *p, apr_size_t n, unsigned int seed);

/** Descriptors open in this process. */
int link_rig_count_fds(void);
/** Wait for a process. @return its exit code, 128 + signal, or -1 when the time ran out */
int link_rig_wait(pid_t pid, apr_interval_time_t timeout);
/** Wait until a process is stopped. */
int link_rig_wait_stopped(pid_t pid, apr_interval_time_t timeout);

/** Tests of the client against engines that misbehave (link_fake.c). */
void link_rig_add_fake_tests(CU_pSuite suite);
/** Tests of the server alone, driven packet by packet (link_raw.c). */
void link_rig_add_server_tests(CU_pSuite suite);

#endif
