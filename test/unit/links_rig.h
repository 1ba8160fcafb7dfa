/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file links_rig.h
 * @brief What the tests of single interceptors share.
 */
#ifndef LINKS_RIG_H
#define LINKS_RIG_H

#include <CUnit/CUnit.h>

#include "net_rig.h"

#define SECONDS(n) apr_time_from_sec(n)
#define PLACE "StaticMembership"

/** Append an interceptor to a configuration: its name, then "key=value" ..., then NULL. */
void links_add(sc_config_t *c, const char *name, ...);
/** Tests of one link between two that the test plays. @param pool for all of them */
void links_one_tests(CU_pSuite s, apr_pool_t *pool);
/** StaticMembership in whole channels. */
void links_static_tests(CU_pSuite s);
/** What a configuration may say. */
void links_config_tests(CU_pSuite s, apr_pool_t *pool);

#endif
