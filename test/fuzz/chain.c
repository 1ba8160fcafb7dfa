/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Chains of interceptors: the input chooses any of the classes that there are, in any order that
 * the check accepts, for two nodes; then packets go both ways through them (rig/channel.h). A class
 * that is added to the table is covered without a change here, unless it has attributes that must
 * be given: those stand below.
 */
#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "channel.h"

/** Attributes that a class cannot do without, or that make it do more. */
static const struct {
    const char *interceptor;
    const char *attribute;
    const char *value;
} needed[] = {
    {"Encrypt", "encryptionKey", "000102030405060708090a0b0c0d0e0f"},
    {"Fragmentation", "maxSize", "64"},
    {"StaticMembership", "member", "10.0.0.2:4000"},
    {"DomainFilter", "domain", "rack"},
    {"TwoPhaseCommit", "expire", "2000"},
};

static void add(net_setup_t *setup, const char *name, int with_attributes)
{
    sc_config_interceptor_t *c = &setup->interceptor[setup->ninterceptors];
    size_t i;

    memset(c, 0, sizeof(*c));
    apr_cpystrn(c->name, name, sizeof(c->name));
    for (i = 0; with_attributes && i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (strcmp(needed[i].interceptor, name) == 0) {
            apr_cpystrn(c->attr[c->nattrs].name, needed[i].attribute, sizeof(c->attr[0].name));
            apr_cpystrn(c->attr[c->nattrs].value, needed[i].value, sizeof(c->attr[0].value));
            c->nattrs++;
        }
    }
    setup->ninterceptors++;
}

static int accepted(const net_setup_t *setup, apr_pool_t *pool)
{
    static sc_config_t c;

    sc_config_defaults(&c);
    strcpy(c.route, "n1");
    c.membership = setup->membership;
    c.ninterceptors = setup->ninterceptors;
    memcpy(c.interceptor, setup->interceptor, sizeof(c.interceptor));
    return sc_interceptor_check(&c, pool) == NULL;
}

/** One more of the classes, where it is accepted: so all that may stand together can. */
static void choose(net_setup_t *setup, unsigned int which, apr_pool_t *pool)
{
    char *names = apr_pstrdup(pool, sc_interceptor_names(pool));
    const char *name[SC_INTERCEPTORS_MAX * 4];
    unsigned int n = 0;
    char *last;
    char *p;

    for (p = apr_strtok(names, ", ", &last); p != NULL && n < sizeof(name) / sizeof(name[0]);
         p = apr_strtok(NULL, ", ", &last)) {
        name[n++] = p;
    }
    add(setup, name[which / 2 % n], (int)(which & 1));
    if (!accepted(setup, pool)) {
        setup->ninterceptors--;
        add(setup, name[which / 2 % n], !(which & 1));
        if (!accepted(setup, pool)) {
            setup->ninterceptors--;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *pool = fuzz_start();
    fuzz_in_t in = {data, size};
    net_setup_t setup;
    unsigned int n;

    memset(&setup, 0, sizeof(setup));
    n = fuzz_u8(&in);
    setup.membership = n & 0x80 ? SC_MEMBERSHIP_STATIC : SC_MEMBERSHIP_MULTICAST;
    for (n %= 8; n > 0 && setup.ninterceptors < SC_INTERCEPTORS_MAX; n--) {
        choose(&setup, fuzz_u8(&in), pool);
    }
    fuzz_channels(&in, &setup);
    return 0;
}
