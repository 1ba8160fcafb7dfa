/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sites.h
 * @brief Private to room "interceptor": where the members of a list can be reached.
 *
 * A site is host:port, the host a numeric address or a name. Names are looked up by the
 * transport, one after the other, and again while nobody has been heard there: a name may be known
 * later than this node starts, and may stand for another machine when its member comes back.
 *
 * The owner calls sc_sites_look often; everything else follows from timers that it has anyway.
 */
#ifndef SC_SITES_H
#define SC_SITES_H

#include "sc_interceptor.h"

/** Addresses of one name that are kept: one member with several, not a name of many members. */
#define SC_SITE_ADDRESSES 8

typedef struct sc_site_t {
    char host[SC_HOST_MAX + 1];
    apr_uint32_t port;
    sc_uid_t uid; /**< of who is expected there; zero: anybody */
    sc_address_t at[SC_SITE_ADDRESSES];
    apr_size_t n;       /**< 0: not known (yet) */
    apr_size_t current; /**< the one to write to */
    int self;           /**< one of them is this node's */
    int heard;          /**< by the owner: its member is there, so where it is need not be asked */

    int is_name;
    int looked_up;    /**< its first look-up has ended */
    int unknown_said; /**< that it has no address */
    apr_time_t asked; /**< mono time of the last look-up */
    apr_time_t due;   /**< and of the next one */
} sc_site_t;

typedef struct sc_sites_t {
    const sc_chain_env_t *env;
    sc_site_t *site[SC_ATTRS_MAX];
    apr_size_t n;
    /** A site's addresses are others than before. */
    void (*moved)(void *baton, sc_site_t *p);
    void *baton;

    sc_site_t *asking;   /**< whose look-up is under way */
    apr_time_t answered; /**< mono time when the last one ended */
    int stopped;
} sc_sites_t;

/** Begin, with env, sites and moved filled in. Numeric addresses are known when it returns; moved
 *  is not called for these. */
void sc_sites_start(sc_sites_t *l);
/** Look up the next name that is due, if any. */
void sc_sites_look(sc_sites_t *l, apr_time_t now);
/** Somebody is at an address that is not known: perhaps a name knows it by now. */
void sc_sites_hurry(sc_sites_t *l);
/** Whether the first look-up of a name has not ended. */
int sc_sites_unknown(const sc_sites_t *l);
void sc_sites_stop(sc_sites_t *l);

/** The member expected at an address of a site: host, port and unique id. */
void sc_site_member(const sc_site_t *p, const sc_address_t *at, sc_member_t *m);
/** The address of a site that a member has. @return NULL: none of them */
const sc_address_t *sc_site_of(const sc_site_t *p, const sc_member_t *m);
int sc_address_same(const sc_address_t *a, const sc_address_t *b);

#endif
