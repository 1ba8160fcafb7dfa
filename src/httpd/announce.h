/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file announce.h
 * @brief Members of a balancer that announce themselves: the directives.
 */
#ifndef SC_ANNOUNCE_H
#define SC_ANNOUNCE_H

#include "sc_httpd.h"

/** SessionClusterAnnounce URL [key=value ...] */
const char *sc_set_announce(cmd_parms *cmd, void *dir, int argc, char *const argv[]);
/** SessionClusterMembers balancer://name [key=value ...] */
const char *sc_add_members(cmd_parms *cmd, void *dir, int argc, char *const argv[]);

/** What only the whole configuration can tell. @return what is wrong, NULL when nothing is */
const char *sc_announce_wrong(const sc_server_conf_t *conf);

/** Put the receiver's address, which must be known, in the place of '*' in the URL. Logs what is
 *  wrong. */
apr_status_t sc_announce_resolve(sc_config_t *c, server_rec *s, apr_pool_t *ptemp);

#endif
