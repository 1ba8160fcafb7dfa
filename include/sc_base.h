/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_base.h
 * @brief Room "base": the words every other room is written in.
 *
 * Session ids, stamps (hybrid logical clock), the clock and log interfaces. Nothing here knows
 * httpd, sockets or shared memory; nothing here keeps state of its own, so the whole core can run
 * under a simulated clock.
 *
 * Times are apr_time_t (microseconds) unless a name ends in _ms or _s. "mono" times come from a
 * clock that never steps and goes on while the machine sleeps (CLOCK_BOOTTIME); "wall" times are
 * civil time and are only used inside stamps, logs and Tribes' own fields.
 */
#ifndef SC_BASE_H
#define SC_BASE_H

#include <stdarg.h>

#include <apr.h>
#include <apr_errno.h>
#include <apr_pools.h>
#include <apr_time.h>

#ifndef SC_VERSION /* tests of upgrades build another one */
#define SC_VERSION "0.1.0"
#endif

/** Longest route name in bytes, without the final NUL (mod_proxy's own limit is 63). */
#define SC_ROUTE_MAX 63
/** Longest context name in bytes, without the final NUL. */
#define SC_CONTEXT_MAX 127
/** Most members a view can hold, this node included. */
#define SC_MEMBERS_MAX 64
/** Most session spaces on one node. */
#define SC_CONTEXTS_MAX 64

/* ---- ids ---------------------------------------------------------------------------------- */

#define SC_ID_LEN 16              /**< bytes of a session id: 128 random bits */
#define SC_ID_HEX (2 * SC_ID_LEN) /**< its text form: 32 uppercase hex digits */
#define SC_ID_MASKED (4 + 3 + 1)  /**< a masked id for logs: "9F3A..." and NUL */

typedef struct sc_id_t {
    unsigned char b[SC_ID_LEN];
} sc_id_t;

/** 16 random bytes naming a member for one life of its engine (Tribes: uniqueId). */
typedef struct sc_uid_t {
    unsigned char b[16];
} sc_uid_t;

/**
 * Parse the text form of an id.
 * @return APR_SUCCESS, or APR_EINVAL when text is not exactly 32 digits of [0-9A-F]: lower case is
 *         refused too, so that one session has one spelling.
 */
apr_status_t sc_id_parse(sc_id_t *id, const char *text, apr_size_t len);

/** Read 2 * n hex digits of either case. @return 0: there is something else, or too little */
int sc_hex_get(unsigned char *out, apr_size_t n, const char *text);

/** Write the text form (32 digits and NUL) into out. @return out */
char *sc_id_format(const sc_id_t *id, char out[SC_ID_HEX + 1]);

/** Write the form that may appear in logs and status pages into out. @return out */
char *sc_id_mask(const sc_id_t *id, char out[SC_ID_MASKED]);

/** Random bytes from the operating system's generator. @return APR_SUCCESS or its error. */
apr_status_t sc_random(void *bytes, apr_size_t n);

/** A new random id from the operating system's generator. @return APR_SUCCESS or its error. */
apr_status_t sc_id_generate(sc_id_t *id);

/** Random UUID version 4 layout, as Tribes makes its unique ids (tribes-protocol 1.1). */
apr_status_t sc_uid_generate(sc_uid_t *uid);

/* ---- stamps ------------------------------------------------------------------------------- */

/**
 * Order of changes across nodes whose clocks need not agree: a hybrid logical clock (upper 48 bits
 * milliseconds of wall time or more, lower 16 bits a counter) and a tag of the node that stamped,
 * which breaks ties. All-zero is older than every stamp that was ever issued.
 */
typedef struct sc_stamp_t {
    apr_uint64_t hlc;
    apr_uint32_t node;
} sc_stamp_t;

/** @return <0, 0, >0 as a is older than, equal to, newer than b. */
int sc_stamp_cmp(const sc_stamp_t *a, const sc_stamp_t *b);

/* ---- clock -------------------------------------------------------------------------------- */

/** Where the core gets the time from; the simulator brings its own. */
typedef struct sc_clock_t {
    void *ctx;
    apr_time_t (*mono)(void *ctx); /**< microseconds, CLOCK_BOOTTIME */
    apr_time_t (*wall)(void *ctx); /**< microseconds since 1970 */
} sc_clock_t;

/** The real clock. */
extern const sc_clock_t sc_clock_system;

static inline apr_time_t sc_mono(const sc_clock_t *c)
{
    return c->mono(c->ctx);
}

static inline apr_time_t sc_wall(const sc_clock_t *c)
{
    return c->wall(c->ctx);
}

/* ---- processes ---------------------------------------------------------------------------- */

/** In a process that was forked: close all descriptors but stdin, stdout, stderr and this one,
 *  which programs that it runs do not get. @return its number now */
int sc_close_others(int fd);

/* ---- log ---------------------------------------------------------------------------------- */

typedef enum sc_log_level_t {
    SC_LOG_ERROR,   /**< an administrator must act */
    SC_LOG_WARNING, /**< service is degraded */
    SC_LOG_NOTICE,  /**< a change of state: member joined, left */
    SC_LOG_INFO,    /**< a rare event */
    SC_LOG_DEBUG,   /**< one operation */
    SC_LOG_TRACE    /**< wire data */
} sc_log_level_t;

/** Where the core's log lines go; src/httpd leads it to the error log. */
typedef struct sc_log_t {
    void *ctx;
    sc_log_level_t level; /**< lines above this level are not formatted at all */
    void (*write)(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line);
} sc_log_t;

/** Format and write one line (at most 1023 bytes); rv of 0 means no error text. log may be NULL. */
void sc_log(const sc_log_t *log, sc_log_level_t level, apr_status_t rv, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/**
 * Remembers when a repeated complaint was last logged, so that a flood of one event writes one line
 * per interval.
 */
typedef struct sc_log_limit_t {
    apr_time_t next;         /**< mono time at which the next line may be written */
    apr_uint64_t suppressed; /**< lines swallowed since the last one */
} sc_log_limit_t;

/**
 * Whether a line may be written now (at most one per interval).
 * @param suppressed receives how many were swallowed before it; may be NULL.
 */
int sc_log_allowed(sc_log_limit_t *limit, apr_time_t now, apr_interval_time_t interval,
                   apr_uint64_t *suppressed);

#endif
