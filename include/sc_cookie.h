/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_cookie.h
 * @brief Room "base": the text of the session cookie.
 *
 * The value is ID, ID.route or ID-backup.route; the part behind the dash is a hint for balancers:
 * which node to try when that of the route does not answer. Both are the client's to change, and no
 * part of the key: they choose a node and nothing else, and one that cannot be a route is as good
 * as none. But what does not begin with an id is no cookie of ours.
 *
 * A request may carry the name more than once (cookies of different paths, or an attacker on a
 * neighbouring subdomain); all of them are taken out, the first that can be ours is tried. Only
 * ';' separates cookies, as browsers write and RFC 6265 reads them.
 */
#ifndef SC_COOKIE_H
#define SC_COOKIE_H

#include "sc_base.h"

typedef enum sc_cookie_kind_t {
    SC_COOKIE_NONE,    /**< no cookie of that name */
    SC_COOKIE_FOREIGN, /**< one that is no id of ours: ignored, never adopted */
    SC_COOKIE_OURS
} sc_cookie_kind_t;

typedef struct sc_cookie_t {
    sc_cookie_kind_t kind;
    sc_id_t id;
    const char *route; /**< "" when it carries none */
    const char *hint;  /**< the backup's route; "" when it carries none. Set with SC_COOKIE_OURS */
} sc_cookie_t;

/**
 * Look through one Cookie header. Call it for each header of a request, with the same out.
 * @param out zeroed before the first header; of one that is SC_COOKIE_OURS already nothing changes
 * @param rest receives what is left of the header, in pool; NULL when nothing is; unchanged when no
 *        cookie of the name was in it
 * @return how many cookies of the name were in it
 */
int sc_cookie_take_from(apr_pool_t *pool, const char *header, const char *name, sc_cookie_t *out,
                        const char **rest);

/** Whether text can be the name of a route: 1 to SC_ROUTE_MAX letters, digits, '-' and '_'. The dot
 *  separates id and route in the cookie, and mod_proxy takes what follows the first one. */
int sc_route_valid(const char *text, apr_size_t len);

#endif
