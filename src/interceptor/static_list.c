/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The list of StaticMembership: its lines, and what else it needs of the configuration.
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "static_list.h"

enum { OPTION_FLAG, MEMBER, NATTRS };

static const sc_attr_rule_t rules[NATTRS] = {
    SC_OPTION_FLAG,
    {"member", SC_ATTR_TEXT, 0, 0, 0, NULL},
};

static const sc_attr_refused_t refused[] = {
    {"localMember", "this node is its own local member; see SessionClusterReceiver"},
    {"LocalMember", "this node is its own local member; see SessionClusterReceiver"},
};

/* ---- a line --------------------------------------------------------------------------------- */

/** host:port at the front of text. @return what is behind it, NULL when it is none */
static const char *place_get(sc_listed_t *l, const char *text)
{
    const char *end = text + strcspn(text, ",");
    const char *colon = NULL;
    const char *p;
    apr_size_t len;
    char *rest;

    for (p = text; p < end; p++) {
        colon = *p == ':' ? p : colon;
    }
    if (colon == NULL || colon[1] < '0' || colon[1] > '9' || end - colon > 6) {
        return NULL;
    }
    l->port = (apr_uint32_t)strtoul(colon + 1, &rest, 10);
    len = (apr_size_t)(colon - text);
    if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL || memchr(text, '[', len) != NULL) {
        return NULL; /* an IPv6 address needs its brackets */
    }
    if (rest != end || l->port < 1 || l->port > 65535 || len == 0 || len > SC_HOST_MAX) {
        return NULL;
    }
    memcpy(l->host, text, len);
    return end;
}

/** host:port[,uniqueId=32 hex digits][,domain=text] @return NULL, or what would be right */
static const char *listed_get(sc_listed_t *l, const char *text)
{
    memset(l, 0, sizeof(*l));
    text = place_get(l, text);
    if (text == NULL) {
        return "host:port with a port from 1 to 65535, an IPv6 address in brackets";
    }
    while (*text == ',') {
        apr_size_t len = strcspn(++text, ",");

        if (strncmp(text, "uniqueId=", 9) == 0 && !l->has_uid) {
            l->has_uid =
                len == 9 + 2 * sizeof(l->uid.b) && sc_hex_get(l->uid.b, sizeof(l->uid.b), text + 9);
            if (!l->has_uid) {
                return "uniqueId= with 32 hex digits";
            }
        } else if (strncmp(text, "domain={", 8) == 0) {
            return "as domain= " SC_DOMAIN_TEXT;
        } else if (strncmp(text, "domain=", 7) == 0 && !l->has_domain && len >= 7 &&
                   len - 7 <= SC_DOMAIN_MAX) {
            l->has_domain = 1;
            memcpy(l->domain, text + 7, len - 7);
        } else {
            return "only uniqueId= and domain= (at most 63 bytes) behind host:port";
        }
        text += len;
    }
    return NULL;
}

const char *sc_static_list_get(sc_static_list_t *list, const sc_config_interceptor_t *c,
                               apr_pool_t *pool)
{
    apr_int64_t values[NATTRS];
    const char *message = sc_interceptor_attrs(c, rules, NATTRS, values, pool);
    apr_size_t i;
    apr_size_t k;

    list->n = 0;
    for (i = 0; i < c->nattrs && i < SC_ATTRS_MAX && message == NULL; i++) {
        sc_listed_t *l = &list->member[list->n];
        const char *text = c->attr[i].value;

        if (strcmp(c->attr[i].name, "member") != 0) {
            continue;
        }
        message = listed_get(l, text);
        if (message != NULL) {
            return apr_psprintf(pool, "interceptor StaticMembership: member wants %s, not \"%s\"",
                                message, text);
        }
        for (k = 0; k < list->n; k++) {
            if (list->member[k].port == l->port && strcmp(list->member[k].host, l->host) == 0) {
                return apr_psprintf(pool,
                                    "interceptor StaticMembership: member %s:%u is given twice",
                                    l->host, l->port);
            }
        }
        list->n++;
    }
    if (message == NULL && list->n == 0) {
        return "interceptor StaticMembership: member=host:port is missing";
    }
    list->option_flag = (apr_uint32_t)values[OPTION_FLAG];
    return message;
}

const char *sc_static_list_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    const char *message =
        sc_interceptor_refused(c, refused, sizeof(refused) / sizeof(refused[0]), pool);
    sc_static_list_t list;

    return message != NULL ? message : sc_static_list_get(&list, c, pool);
}

/* ---- the rest of the configuration ---------------------------------------------------------- */

/** Whether a member of the list is none of this module: it keeps its unique id for ever. */
static int lists_foreign(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    sc_static_list_t list;
    apr_size_t i;

    if (sc_static_list_get(&list, c, pool) != NULL) {
        return 0;
    }
    for (i = 0; i < list.n; i++) {
        if (list.member[i].has_uid) {
            return 1;
        }
    }
    return 0;
}

static int has_detector(const sc_config_t *config)
{
    apr_uint32_t i;

    for (i = 0; i < config->ninterceptors; i++) {
        if (strcmp(config->interceptor[i].name, "TcpFailureDetector") == 0) {
            return 1; /* that it stands above is a rule of the chain */
        }
    }
    return 0;
}

const char *sc_static_list_fits(const sc_config_t *config, const sc_config_interceptor_t *c,
                                apr_pool_t *pool)
{
    if (config->secret.count > 0 && lists_foreign(c, pool)) {
        return "interceptor StaticMembership: uniqueId= is for a Tomcat, and that has no "
               "SessionClusterSecret: nothing it says would be accepted";
    }
    if (config->membership == SC_MEMBERSHIP_STATIC) {
        return "interceptor StaticMembership: SessionClusterMembership static has a list already; "
               "name its members by SessionClusterMember";
    }
    if (config->membership == SC_MEMBERSHIP_NONE) {
        return "interceptor StaticMembership adds members to a membership, and there is none; see "
               "SessionClusterMembership, static for a list alone";
    }
    if (!config->mcast.accept_foreign && lists_foreign(c, pool)) {
        return "interceptor StaticMembership: uniqueId= is for a Tomcat, and Tomcats are no "
               "members here without foreign=accept in SessionClusterMembership; a node of this "
               "module needs no uniqueId";
    }
    if (!has_detector(config)) {
        return "interceptor StaticMembership needs a TcpFailureDetector above (before) it: without "
               "one a member of the list that dies stays a member for ever";
    }
    return NULL;
}
