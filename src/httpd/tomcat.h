/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file tomcat.h
 * @brief SessionClusterTomcat: its arguments, and what the engine needs to know of mod_proxy's
 *        workers to tell which Tomcat has which route.
 */
#ifndef SC_HTTPD_TOMCAT_H
#define SC_HTTPD_TOMCAT_H

#include "sc_httpd.h"

/** @return NULL, or what is wrong and what would be right */
const char *sc_tomcat_parse(cmd_parms *cmd, sc_server_conf_t *conf, int argc, char *const argv[]);

/** Look names up, and enter addresses and routes of the workers of all balancers with
 *  lbmethod=bysession. In the parent, at each start. */
void sc_tomcat_prepare(sc_server_conf_t *conf, server_rec *s, apr_pool_t *p);

#endif
