/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Chains of interceptors: the input chooses any of the classes that there are, with attributes of
 * the table below, in any order that the check accepts, for two nodes; then packets go both ways
 * through them (rig/channel.h). A link with which the chain would be refused is left out.
 *
 * Inputs are kept, and choose by number: to both tables things may be appended, and nothing else.
 */
#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "channel.h"

/* A class is chosen by five bits. */
static const char *const classes[32] = {
    "TcpFailureDetector",
    "MessageDispatch",
    "Encrypt",
    "Gzip",
    "Fragmentation",
    "Order",
    "TwoPhaseCommit",
    "Throughput",
    "DomainFilter",
    "StaticMembership",
    "TcpPing",
    "NonBlockingCoordinator",
    "SimpleCoordinator",
};

#define KEY "000102030405060708090a0b0c0d0e0f"
#define VALUES 4
#define UID_OF_THIRD "12121212121212121212121212121212"

/* One of the values is given, or none of them, when it is NULL. The first one is what an input gets
 * that does not choose. */
static const struct {
    const char *interceptor;
    const char *attribute;
    const char *value[VALUES];
} attributes[] = {
    {"Encrypt", "encryptionKey", {KEY, KEY "1011121314151617", KEY KEY, KEY}},
    {"Encrypt",
     "encryptionAlgorithm",
     {NULL, "AES/CBC/PKCS5Padding", "AES/CFB/PKCS5Padding", "AES/OFB/PKCS5Padding"}},
    {"Encrypt", "replayWindowMessageCount", {NULL, "4", "1", NULL}},
    {"Gzip", "compressionMinSize", {NULL, "64", NULL, "0"}},
    {"Gzip", "statsEnabled", {NULL, "true", NULL, "true"}},
    {"Gzip", "interval", {NULL, "1", "2", NULL}},
    {"Fragmentation", "maxSize", {"64", "16", NULL, "512"}},
    {"Fragmentation", "expire", {NULL, "2000", "1", NULL}},
    {"Fragmentation", "optionFlag", {NULL, NULL, NULL, "4"}},
    {"Order", "expire", {NULL, "500", "1", NULL}},
    {"Order", "forwardExpired", {NULL, "false", NULL, "true"}},
    {"Order", "maxQueue", {NULL, "2", "1", NULL}},
    {"TwoPhaseCommit", "expire", {NULL, "2000", "1", NULL}},
    {"TwoPhaseCommit", "optionFlag", {NULL, NULL, NULL, "4"}},
    {"Throughput", "interval", {NULL, "1", "2", NULL}},
    {"DomainFilter", "domain", {"rack", "", NULL, "shelf"}},
    {"DomainFilter", "logInterval", {NULL, "1", "0", NULL}},
    {"StaticMembership", "member", {"10.0.0.2:4000", "10.0.0.2:4000,domain=rack", NULL, NULL}},
    {"StaticMembership",
     "member",
     {NULL, "10.0.0.3:4000", "10.0.0.3:4000,uniqueId=" UID_OF_THIRD,
      "10.0.0.3:4000,domain=rack,uniqueId=" UID_OF_THIRD}},
    {"StaticMembership", "member", {NULL, "10.0.0.1:4000", "10.0.0.4:4000", "[::1]:4000"}},
    {"TcpFailureDetector", "performReadTest", {NULL, "false", NULL, NULL}},
    {"TcpFailureDetector", "performSendTest", {NULL, "false", NULL, NULL}},
    {"TcpFailureDetector", "removeSuspectsTimeout", {NULL, "1", "10", NULL}},
    {"TcpPing", "staticOnly", {NULL, "true", NULL, NULL}},
    {"TcpPing", "interval", {NULL, "100", "5000", NULL}},
    {"MessageDispatch", "maxQueueSize", {NULL, "1000", "1", NULL}},
    {"MessageDispatch", "alwaysSend", {NULL, "false", NULL, NULL}},
    {"NonBlockingCoordinator", "waitForCoordMsgTimeout", {NULL, "100", "5000", NULL}},
};

#define NATTRIBUTES (sizeof(attributes) / sizeof(attributes[0]))

/** @param which two bits for each of the attributes that the class has */
static void add(net_setup_t *setup, const char *name, unsigned int which)
{
    sc_config_interceptor_t *c = &setup->interceptor[setup->ninterceptors];
    size_t i;

    memset(c, 0, sizeof(*c));
    apr_cpystrn(c->name, name, sizeof(c->name));
    for (i = 0; i < NATTRIBUTES; i++) {
        const char *value = attributes[i].value[which % VALUES];

        if (strcmp(attributes[i].interceptor, name) != 0) {
            continue;
        }
        which /= VALUES;
        if (value != NULL) {
            sc_config_attr_t *attr = &c->attr[c->nattrs++];

            apr_cpystrn(attr->name, attributes[i].attribute, sizeof(attr->name));
            apr_cpystrn(attr->value, value, sizeof(attr->value));
        }
    }
    setup->ninterceptors++;
}

static int accepted(const net_setup_t *setup, apr_pool_t *pool)
{
    static sc_config_t c;

    fuzz_channel_config(setup, 0, &c);
    return sc_interceptor_check(&c, pool) == NULL;
}

/** Whether all classes that there are can be chosen: whoever adds one adds it here, too. */
static void check_classes(apr_pool_t *pool)
{
    char *names = apr_pstrdup(pool, sc_interceptor_names(pool));
    char *last;
    char *p;
    size_t i;

    for (p = apr_strtok(names, ", ", &last); p != NULL; p = apr_strtok(NULL, ", ", &last)) {
        for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
            if (classes[i] != NULL && strcmp(classes[i], p) == 0) {
                break;
            }
        }
        FUZZ_CHECK(i < sizeof(classes) / sizeof(classes[0]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int checked;
    apr_pool_t *pool = fuzz_start();
    fuzz_in_t in = {data, size};
    net_setup_t setup;
    unsigned int n;

    if (!checked) {
        check_classes(pool);
        checked = 1;
    }
    memset(&setup, 0, sizeof(setup));
    n = fuzz_u8(&in);
    setup.membership = n & 0x80 ? SC_MEMBERSHIP_STATIC : SC_MEMBERSHIP_MULTICAST;
    setup.domain = n & 0x40 ? "rack" : "";
    setup.accept_foreign = n & 0x20 ? 1 : 0;
    setup.small = n & 0x10 ? 1 : 0;
    for (n %= 16; n > 0; n--) {
        const char *name = classes[fuzz_u8(&in) % 32];
        unsigned int which = fuzz_u16(&in);

        if (name == NULL || setup.ninterceptors == SC_INTERCEPTORS_MAX) {
            continue;
        }
        add(&setup, name, which);
        if (!accepted(&setup, pool)) {
            setup.ninterceptors--;
        }
    }
    fuzz_channels(&in, &setup);
    return 0;
}
