/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file deployer.h
 * @brief SessionClusterDeployer: its arguments, its check, and the restart after a batch.
 */
#ifndef SC_HTTPD_DEPLOYER_H
#define SC_HTTPD_DEPLOYER_H

#include "retained.h"

/** @return NULL, or what is wrong and what would be right */
const char *sc_set_deployer(cmd_parms *cmd, void *dir, int argc, char *const argv[]);

/** Check what only the whole configuration can tell, and the directories. @return NULL, or what is
 *  wrong and what would be right */
const char *sc_deployer_wrong(const sc_server_conf_t *conf, apr_pool_t *p);

/** In the parent, now and then: restart gracefully when the engine asks for it. */
void sc_deployer_monitor(sc_retained_t *kept, const sc_board_t *board, server_rec *s);

#endif
