/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_tomcat.h
 * @brief Room "tomcat": a cluster of Tomcats as seen by a balancer that is no member of it.
 *
 * Who is there: the heartbeats of Tomcat's multicast membership are listened to, and members that
 * are not heard there (a list, or a network that swallows multicast) are asked for an
 * acknowledgement, with the message that Tribes' own failure detector sends. Nothing is announced,
 * so no Tomcat takes this node for a member or sends it anything on its own.
 *
 *   heartbeat, or an answer       alive
 *   good-bye, connection refused  gone at once
 *   nothing for dropTime          gone
 *
 * Where sessions are (BackupManager): one Tomcat after the other is asked for the state of the
 * session map (tribes-protocol 8.8 A), all of them when a member came or went, one each interval
 * otherwise (longer when answers take long). The answer comes over a connection that the Tomcat
 * makes to the address in the question: that at which this node reached it, and a port of its own.
 * An answer counts only with the 128 random bits of its question in it.
 *
 * An answer that is cut off, too large or malformed anywhere changes nothing. Otherwise each
 * location goes into the store as SC_REC_PROXY, in the context "tomcat:" followed by the name of
 * the map, where balancers find it by the id. What the session's primary says counts more than what
 * its backup says, and that more than what others say, until a member comes or goes. Locations that
 * are not confirmed for three intervals vanish (sc_store_run_due, as all that a balancer keeps).
 *
 * Which route a member has: as configured with its address, else that of the workers at its
 * address, when these have one route only and no other member is there. Members without a route are
 * shown and otherwise ignored.
 */
#ifndef SC_TOMCAT_H
#define SC_TOMCAT_H

#include "sc_config.h"
#include "sc_loop.h"
#include "sc_store.h"

#define SC_TOMCAT_CONTEXT "tomcat:"

typedef struct sc_tomcat_t sc_tomcat_t;

typedef struct sc_tomcat_env_t {
    const sc_config_t *config; /**< as long as the room */
    sc_loop_t *loop;
    const sc_clock_t *clock;
    const sc_log_t *log;
    sc_store_t *store;
    /** A member came, went or got another route. */
    void (*changed)(void *baton);
    void *baton;
} sc_tomcat_env_t;

/** @return APR_SUCCESS; the store's error when it has no room for a map's name */
apr_status_t sc_tomcat_create(sc_tomcat_t **tomcat, const sc_tomcat_env_t *env, apr_pool_t *pool);
/** Begin to listen and to ask. What cannot be opened now is tried again. */
void sc_tomcat_start(sc_tomcat_t *t);
void sc_tomcat_close(sc_tomcat_t *t);

/** Append the members that are alive or gone, as far as there is room. */
void sc_tomcat_view(const sc_tomcat_t *t, sc_view_t *view);
/** Whether whoever is not known by now is not there. */
int sc_tomcat_settled(const sc_tomcat_t *t);

#endif
