/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file secret.h
 * @brief Room "httpd": the cluster's secrets, from where the administrator keeps them to the
 * engine.
 *
 * What is derived from them lies in one page of memory of its own that survives restarts, is not in
 * core files, is not swapped if the system lets us, and is empty in every process that the parent
 * forks, except the engine.
 */
#ifndef SC_HTTPD_SECRET_H
#define SC_HTTPD_SECRET_H

#include "sc_httpd.h"
#include "sc_secret.h"

/** The page. @return NULL when there is no memory for it */
sc_secrets_t *sc_vault(void);
/** Keep it out of the swap: also in a process that was forked, which does not inherit that.
 *  @return whether it is */
int sc_vault_lock(void);
/** Forget all: a configuration is about to be read; in a child: nothing of it is needed. */
void sc_vault_empty(void);
/** Whether a process that is forked now gets what is in it. */
void sc_vault_inherit(int on);

/**
 * Arguments of SessionClusterSecret: read what they name into the vault and note the ids in the
 * configuration.
 * @return NULL, or what is wrong and what would be right; never a part of a secret
 */
const char *sc_secret_read(cmd_parms *cmd, sc_server_conf_t *conf, int argc, char *const argv[]);

#endif
