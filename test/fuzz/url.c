/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * URLs under which nodes announce themselves to balancers. What is taken for good is what another
 * parser, that of the balancer, understands in the same way: the same host and port, no user, no
 * query, nothing left over; and it is no other spelling of an address that would be refused.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <apr_uri.h>

#include "fuzz.h"

static void check_good(const char *url, sc_url_kind_t kind, apr_pool_t *pool)
{
    struct in_addr resolver, strict;
    apr_uri_t u;

    FUZZ_CHECK(apr_uri_parse(pool, url, &u) == APR_SUCCESS);
    FUZZ_CHECK(u.scheme != NULL && u.hostname != NULL && u.hostname[0] != '\0');
    FUZZ_CHECK(u.user == NULL && u.password == NULL && u.query == NULL && u.fragment == NULL);
    FUZZ_CHECK(u.port_str == NULL || (u.port > 0 && u.port != sc_worker_url_port(url)));
    /* put together again it is the same, to the letter */
    FUZZ_CHECK(strcmp(apr_pstrcat(pool, u.scheme, "://", u.hostinfo, u.path, NULL), url) == 0);
    FUZZ_CHECK(u.port_str == NULL || strcmp(u.port_str, apr_itoa(pool, u.port)) == 0);
    /* "127.1" and "0x7f000001" are addresses to some resolvers */
    if (inet_aton(u.hostname, &resolver)) {
        FUZZ_CHECK(inet_pton(AF_INET, u.hostname, &strict) == 1);
        FUZZ_CHECK((ntohl(resolver.s_addr) >> 24 == 127) == (kind == SC_URL_LOOPBACK));
        FUZZ_CHECK(!IN_MULTICAST(ntohl(resolver.s_addr)) && resolver.s_addr != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *pool = fuzz_start();
    sc_member_t near, far;
    sc_url_kind_t kind;
    char *url;

    size = size < 2 * SC_URL_MAX ? size : 2 * SC_URL_MAX;
    if (memchr(data, '\0', size) != NULL) {
        return 0;
    }
    url = malloc(size + 1); /* of that size, and no more */
    FUZZ_CHECK(url != NULL);
    if (size > 0) {
        memcpy(url, data, size);
    }
    url[size] = '\0';
    kind = sc_worker_url_kind(url);
    if (kind != SC_URL_BAD) {
        FUZZ_CHECK(size <= SC_URL_MAX && sc_worker_url_port(url) != 0);
        check_good(url, kind, pool);
    }
    fuzz_peer(&far, 1);
    fuzz_peer(&near, 1);
    FUZZ_CHECK(sc_member_set_host(&near, size % 2 ? "127.0.0.1" : "::1") == APR_SUCCESS);
    FUZZ_CHECK(sc_worker_url_usable(url, &near) == (kind != SC_URL_BAD));
    FUZZ_CHECK(sc_worker_url_usable(url, &far) == (kind == SC_URL_GOOD));
    free(url);
    return 0;
}
