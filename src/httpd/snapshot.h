/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file snapshot.h
 * @brief Room "httpd": the directive SessionClusterSnapshot.
 */
#ifndef SC_HTTPD_SNAPSHOT_H
#define SC_HTTPD_SNAPSHOT_H

#include "sc_httpd.h"

/** How long httpd's end waits for an engine that writes its snapshot. */
#define SC_SNAPSHOT_TIME apr_time_from_sec(60)

/** SessionClusterSnapshot file [wait=seconds] */
const char *sc_set_snapshot(cmd_parms *cmd, void *dir, int argc, char *const argv[]);

/** What only the whole configuration, and the directory, can tell. @return what is wrong and what
 *  would be right, NULL when nothing is */
const char *sc_snapshot_wrong(const sc_server_conf_t *conf, apr_pool_t *p);

#endif
