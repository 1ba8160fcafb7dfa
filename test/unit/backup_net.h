/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file backup_net.h
 * @brief The network of delta_net.h with backup managers, and what their tests look at.
 */
#ifndef BACKUP_NET_H
#define BACKUP_NET_H

#include "delta_net.h"

/** Of the next backup_create: copies besides the primary's; 0 counts as 1. */
extern _Thread_local int backup_copies;

void backup_tweak(sc_config_t *c, int index);
/** n nodes with so many backups, all READY. */
net_t *backup_ready(int n, int copies);
/** The same with SessionClusterQuorum. */
net_t *backup_quorum(int n, int copies, apr_uint32_t quorum);

/** What a node has of a session. */
typedef enum backup_has_t {
    HAS_NOTHING,
    HAS_PROXY,
    HAS_GUEST, /**< a body, although it is no holder by its own record */
    HAS_COPY,  /**< a body, and it is a holder */
    HAS_HOLE,  /**< a holder without a body */
    HAS_DEAD
} backup_has_t;

backup_has_t backup_has(net_t *net, int node, apr_uint32_t id, sc_record_t *rec);
/** "primary backup backup ... #epoch" as a node knows it. Two results are valid at a time. */
const char *backup_where(net_t *net, int node, apr_uint32_t id);
/** Nodes that hold it with a body. */
int backup_holders(net_t *net, apr_uint32_t id);
/** Value that each holder has of an attribute; NULL if two differ, or there is none. */
const char *backup_value(net_t *net, apr_uint32_t id, const char *name);
/** Node with this route, -1: none. */
int backup_node(net_t *net, const char *route);
/** The node that is primary by the record of somebody alive, -1. */
int backup_primary(net_t *net, apr_uint32_t id);
/**
 * Whether all nodes that are alive agree: on where each session is, holders have equal bodies, the
 * others know the location or nothing, and there are as many copies as there can be.
 * @return a description of the first difference, NULL if none
 */
const char *backup_difference(net_t *net);
/** Whether no node has anything to move. */
int backup_quiet(net_t *net);
/** Let time pass until backup_difference finds nothing and all are quiet. @return 1 if in time */
int backup_settled(net_t *net, int ms);

/** Session 1, "a" is "1", and who is who. */
typedef struct backup_cast_t {
    net_t *net;
    int primary;              /**< where it was made */
    int backup;               /**< the other holder */
    int third, fourth, fifth; /**< hold nothing; -1: the network has not so many */
} backup_cast_t;

/** Make session 1 on a node of a network with one copy for each session. */
backup_cast_t backup_cast(net_t *net, int primary);
/** Index of a node in the table of names of another one. */
apr_uint16_t backup_route(net_t *net, int where, int whose);
/** One node asks another one to be made primary of session 1. */
void backup_take(net_t *net, int who, int of);
/** Whether a record that was posted asks for locations, or claims their numbers. */
int backup_asks(const unsigned char *bytes, apr_size_t len);
int backup_claims(const unsigned char *bytes, apr_size_t len);
/** The last record of a kind that one node has posted to another one. */
typedef struct backup_kept_t {
    sc_event_t event;
    int from, to;
    unsigned char bytes[4096];
    apr_size_t len; /**< 0: none */
} backup_kept_t;

/** A tap that keeps it in the backup_kept_t that is tapped. */
net_tap_t backup_keep;

void backup_changes_tests(void);
void backup_moves_tests(void);
void backup_places_tests(void);
void backup_fetch_tests(void);
void backup_joins_tests(void);
void backup_claims_tests(void);
void backup_latest_tests(void);
void backup_acks_tests(void);
void backup_ids_tests(void);
void backup_random_tests(void);

#endif
