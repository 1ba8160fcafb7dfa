/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Member data: any bytes; or bytes whose frame and lengths are right and whose content is not.
 * What is read is written and read again, and must be the same.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define LIMIT (64 * 1024)

static void ask(const sc_member_t *m)
{
    char name[SC_MEMBER_NAME];
    char domain[SC_DOMAIN_MAX + 1];
    char host[SC_HOST_MAX + 1];
    sc_member_t copy = *m;
    size_t i;

    FUZZ_CHECK(strlen(sc_member_name(m, name)) < sizeof(name));
    FUZZ_CHECK(strlen(sc_member_host(m, host)) < sizeof(host));
    sc_member_domain(m, domain);
    for (i = 0; domain[i] != '\0'; i++) {
        FUZZ_CHECK(domain[i] >= 0x20 && domain[i] < 0x7f);
    }
    FUZZ_CHECK(sc_member_same(m, &copy) && sc_member_order(m, &copy) == 0);
    (void)sc_member_leaving(m);
    FUZZ_CHECK(m->url[0] == '\0' ? m->weight == 0 && m->lbset == 0
                                 : m->ours && m->role == SC_ROLE_NODE && !m->bad_url &&
                                       sc_worker_url_usable(m->url, m));
    FUZZ_CHECK(m->weight <= SC_WEIGHT_MAX && m->lbset <= SC_LBSET_MAX);
    if (m->host_len != 0) {
        FUZZ_CHECK(sc_member_set_host(&copy, host) == APR_SUCCESS);
        FUZZ_CHECK(sc_member_same_address(m, &copy));
    } else {
        FUZZ_CHECK(!sc_member_usable(m));
    }
}

static void write_and_read(const sc_member_t *m, const unsigned char *bytes, apr_size_t len)
{
    sc_member_t again;
    apr_size_t used;
    sc_buf_t b;

    sc_buf_init(&b, LIMIT);
    sc_member_put(&b, m);
    FUZZ_CHECK(b.err == APR_SUCCESS);
    FUZZ_CHECK(sc_member_get(&again, b.data, b.len, &used) == APR_SUCCESS && used == b.len);
    if (m->ours) {
        /* fields of later versions are not kept */
        memcpy(again.payload, m->payload, sizeof(again.payload));
        again.payload_len = m->payload_len;
        again.bad_url = m->bad_url; /* nor is an URL that no balancer may use */
    } else {
        FUZZ_CHECK(b.len == len && memcmp(b.data, bytes, len) == 0);
    }
    FUZZ_CHECK(memcmp(&again, m, sizeof(again)) == 0);
    sc_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    unsigned char *bytes;
    apr_size_t used;
    apr_status_t rv;
    sc_member_t m;
    sc_buf_t b;

    sc_buf_init(&b, LIMIT);
    if (size > 0 && data[0] == 0) {
        (void)fuzz_u8(&in);
        fuzz_member_bytes(&in, &b);
    } else {
        sc_put(&b, data, size < LIMIT ? size : LIMIT);
    }
    bytes = fuzz_copy(b.data, b.len);
    rv = sc_member_get(&m, bytes, b.len, &used);
    FUZZ_CHECK(rv == APR_SUCCESS || rv == APR_ENOSPC || rv == APR_EINVAL);
    if (rv != APR_EINVAL) {
        FUZZ_CHECK(used >= SC_MEMBER_MIN && used <= b.len);
        ask(&m);
    }
    if (rv == APR_SUCCESS) {
        write_and_read(&m, bytes, used);
    }
    free(bytes);
    sc_buf_free(&b);
    return 0;
}
