/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How a configured chain of interceptors is checked: each one by its class, and what they are to
 * each other. What is refused here would be accepted by each class alone, and could not work or
 * would do nothing.
 */
#include <string.h>

#include <apr_strings.h>

#include "sc_interceptor.h"

#define PROBE "the detector's probe is sent past the links below it, and they would change it"
#define STRANGERS                                                                                  \
    "static members have to come up through it, or they are strangers to it, who share the room "  \
    "of one member"

/* Orders in which something cannot work: above stands nearer to the application than below. */
static const struct {
    const char *above;
    const char *below;
    const char *reason;
} order_rules[] = {
    {"TcpFailureDetector", "Encrypt", PROBE},
    {"TcpFailureDetector", "Fragmentation", PROBE},
    {"TcpFailureDetector", "Order", PROBE},
    {"TcpFailureDetector", "TwoPhaseCommit", PROBE},
    {"StaticMembership", "TcpFailureDetector",
     "static members have to come up through the failure detector, or nobody verifies them"},
    {"StaticMembership", "TcpPing",
     "static members have to come up through TcpPing, or it does not know them"},
    {"StaticMembership", "NonBlockingCoordinator",
     "static members have to come up through the coordinator, or it elects without them"},
    {"StaticMembership", "SimpleCoordinator",
     "static members have to come up through the coordinator, or it elects without them"},
    {"StaticMembership", "Gzip", STRANGERS},
    {"StaticMembership", "Order", STRANGERS},
    {"StaticMembership", "Fragmentation", STRANGERS},
    {"StaticMembership", "TwoPhaseCommit", STRANGERS},
    {"TcpFailureDetector", "NonBlockingCoordinator",
     "the coordinator would elect members that nobody has verified"},
    {"TcpFailureDetector", "SimpleCoordinator",
     "the coordinator would elect members that nobody has verified"},
    {"DomainFilter", "NonBlockingCoordinator",
     "the coordinator would elect members that are filtered out above it"},
    {"DomainFilter", "SimpleCoordinator",
     "the coordinator would elect members that are filtered out above it"},
    {"NonBlockingCoordinator", "SimpleCoordinator", "a chain can have one coordinator"},
    {"SimpleCoordinator", "NonBlockingCoordinator", "a chain can have one coordinator"},
};

static int is(const sc_config_interceptor_t *c, const char *name)
{
    return strcmp(c->name, name) == 0;
}

static const char *order_check(const sc_config_interceptor_t *above,
                               const sc_config_interceptor_t *below, apr_pool_t *pool)
{
    apr_size_t r;

    for (r = 0; r < sizeof(order_rules) / sizeof(order_rules[0]); r++) {
        if (is(above, order_rules[r].above) && is(below, order_rules[r].below)) {
            return apr_psprintf(pool, "interceptor %s must not stand above (before) %s: %s",
                                order_rules[r].above, order_rules[r].below, order_rules[r].reason);
        }
    }
    return NULL;
}

/* ---- attributes ----------------------------------------------------------------------------- */

/** The last one would count, and nobody would see that the first one does not. The value is not
 *  repeated: it may be a key. */
static const char *twice_check(const sc_config_interceptor_t *c, apr_pool_t *pool)
{
    apr_uint32_t i;
    apr_uint32_t k;

    for (i = 0; i < c->nattrs && i < SC_ATTRS_MAX; i++) {
        for (k = 0; k < i; k++) {
            if (strcmp(c->attr[k].name, c->attr[i].name) == 0 &&
                strcmp(c->attr[i].name, "member") != 0) {
                return apr_psprintf(pool, "interceptor %s: %s is given twice; once is right",
                                    c->name, c->attr[i].name);
            }
        }
    }
    return NULL;
}

/** Bits of a checked interceptor's optionFlag. */
static apr_uint32_t flag_of(const sc_config_interceptor_t *c)
{
    return (apr_uint32_t)apr_atoi64(
        sc_interceptor_text(c, "optionFlag", is(c, "Gzip") ? SC_GZIP_FLAG : "0"));
}

/** Whether there can be a message with all bits of an optionFlag that selects messages. Bits from
 *  16 on are in none of this module's; Tomcats may send what they like. */
static const char *carried_check(const sc_config_t *config, const sc_config_interceptor_t *c,
                                 apr_pool_t *pool)
{
    const apr_uint32_t carried =
        SC_OPT_BYTE_MESSAGE | SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK | SC_OPT_ASYNCHRONOUS;

    if (config->mcast.accept_foreign || !(flag_of(c) & ~carried) ||
        !(is(c, "Order") || is(c, "TwoPhaseCommit") || is(c, "Fragmentation") ||
          is(c, "Throughput"))) {
        return NULL;
    }
    return apr_psprintf(pool,
                        "interceptor %s: optionFlag=%u selects no message: those of this module "
                        "have none of the bits from 16 on; 0, which means all, is right, or a sum "
                        "of 2, 4 and 8 (see SessionClusterSendOptions)",
                        c->name, flag_of(c));
}

/** Gzip's bits say that a message is compressed; who else uses one of them says so of what is not,
 *  or has taken off at one end what was not put on at the other. */
static const char *mark_check(const sc_config_interceptor_t *a, const sc_config_interceptor_t *b,
                              apr_pool_t *pool)
{
    const sc_config_interceptor_t *other = is(a, "Gzip") ? b : a;

    if ((!is(a, "Gzip") && !is(b, "Gzip")) || !(flag_of(a) & flag_of(b))) {
        return NULL;
    }
    return apr_psprintf(pool,
                        "interceptor %s: optionFlag=%u has a bit of Gzip's, %u, which marks "
                        "compressed messages; other bits are right",
                        other->name, flag_of(other), flag_of(other == a ? b : a));
}

/** The domain in a member= of StaticMembership. @return NULL: none is in it */
static const char *domain_of(const char *member, apr_pool_t *pool)
{
    const char *at = strstr(member, ",domain=");

    return at != NULL ? apr_pstrmemdup(pool, at + 8, strcspn(at + 8, ",")) : NULL;
}

static const char *domain_check(const sc_config_interceptor_t *a, const sc_config_interceptor_t *b,
                                apr_pool_t *pool)
{
    const sc_config_interceptor_t *list = is(a, "StaticMembership") ? a : b;
    const char *right = sc_interceptor_text(list == a ? b : a, "domain", "");
    apr_uint32_t i;

    if (!is(list, "StaticMembership") || !is(list == a ? b : a, "DomainFilter")) {
        return NULL;
    }
    for (i = 0; i < list->nattrs && i < SC_ATTRS_MAX; i++) {
        const char *domain = domain_of(list->attr[i].value, pool);

        if (domain != NULL && strcmp(domain, right) != 0) {
            return apr_psprintf(pool,
                                "interceptor StaticMembership: member %s is in domain \"%s\", and "
                                "DomainFilter keeps out all that are not in \"%s\"",
                                list->attr[i].value, domain, right);
        }
    }
    return NULL;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static const char *one_check(const sc_config_t *c, const sc_config_interceptor_t *conf,
                             apr_pool_t *pool)
{
    const sc_interceptor_class_t *cls = sc_interceptor_find(conf->name);
    const char *message;

    if (cls == NULL) {
        return apr_psprintf(pool, "there is no interceptor \"%s\"; there are %s", conf->name,
                            sc_interceptor_names(pool));
    }
    message = twice_check(conf, pool);
    if (message == NULL && cls->check != NULL) {
        message = cls->check(conf, pool);
    }
    if (message == NULL && cls->fits != NULL) {
        message = cls->fits(c, conf, pool);
    }
    return message != NULL ? message : carried_check(c, conf, pool);
}

static const char *pair_check(const sc_config_interceptor_t *above,
                              const sc_config_interceptor_t *below, apr_pool_t *pool)
{
    const char *message;

    if (strcmp(above->name, below->name) == 0) {
        return apr_psprintf(pool, "interceptor %s stands in the chain twice; once is right",
                            below->name);
    }
    message = order_check(above, below, pool);
    if (message == NULL) {
        message = mark_check(above, below, pool);
    }
    return message != NULL ? message : domain_check(above, below, pool);
}

const char *sc_interceptor_check(const sc_config_t *c, apr_pool_t *pool)
{
    const char *message = NULL;
    apr_uint32_t i;
    apr_uint32_t k;

    if (c->ninterceptors > SC_INTERCEPTORS_MAX) {
        return apr_psprintf(pool, "there can be %d interceptors at most", SC_INTERCEPTORS_MAX);
    }
    for (i = 0; i < c->ninterceptors && message == NULL; i++) {
        message = one_check(c, &c->interceptor[i], pool);
        for (k = 0; k < i && message == NULL; k++) {
            message = pair_check(&c->interceptor[k], &c->interceptor[i], pool);
        }
    }
    return message;
}
