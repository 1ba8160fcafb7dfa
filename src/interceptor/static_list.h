/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file static_list.h
 * @brief Private to room "interceptor": the list of StaticMembership as it is configured.
 */
#ifndef SC_STATIC_LIST_H
#define SC_STATIC_LIST_H

#include "sc_interceptor.h"

/** One line of the list. */
typedef struct sc_listed_t {
    char host[SC_HOST_MAX + 1];
    apr_uint32_t port;
    int has_uid;
    sc_uid_t uid;
    int has_domain;
    char domain[SC_DOMAIN_MAX + 1];
} sc_listed_t;

typedef struct sc_static_list_t {
    apr_uint32_t option_flag;
    apr_size_t n;
    sc_listed_t member[SC_ATTRS_MAX];
} sc_static_list_t;

/** Read the attributes. @return NULL, or a message (in pool) that says what would be right */
const char *sc_static_list_get(sc_static_list_t *list, const sc_config_interceptor_t *c,
                               apr_pool_t *pool);
/** The class' check and fits. */
const char *sc_static_list_check(const sc_config_interceptor_t *c, apr_pool_t *pool);
const char *sc_static_list_fits(const sc_config_t *config, const sc_config_interceptor_t *c,
                                apr_pool_t *pool);

#endif
