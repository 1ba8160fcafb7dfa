/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Java objects: any bytes; or, with 0xff in front, one that this module writes with something
 * changed in it. What is read is written, and is the same when it is read again.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define LIMIT (64 * 1024)

static int same(const void *a, apr_size_t a_len, const void *b, apr_size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static void round_trip(const sc_java_t *j)
{
    sc_java_t again;
    sc_buf_t b;

    FUZZ_CHECK(j->id_len <= SC_JAVA_ID_MAX && j->membership_len <= SC_JAVA_ID_MAX);
    FUZZ_CHECK(j->kind != SC_JAVA_PLAIN || j->say != SC_JAVA_NOTHING);
    sc_buf_init(&b, LIMIT);
    sc_java_put(&b, j);
    FUZZ_CHECK(b.err == APR_SUCCESS);
    FUZZ_CHECK(sc_java_get(&again, b.data, b.len) == APR_SUCCESS);
    FUZZ_CHECK(again.kind == j->kind && again.say == j->say);
    FUZZ_CHECK(memcmp(&again.call, &j->call, sizeof(j->call)) == 0);
    FUZZ_CHECK(same(again.id, again.id_len, j->id, j->id_len));
    if (j->say != SC_JAVA_NOTHING) {
        FUZZ_CHECK(sc_member_same(&again.member, &j->member));
        FUZZ_CHECK(same(again.membership, again.membership_len, j->membership, j->membership_len));
    }
    sc_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    unsigned char *bytes;
    sc_java_t j;
    sc_buf_t b;

    sc_buf_init(&b, LIMIT);
    if (size > 1 && data[0] == 0xff) {
        sc_member_t m;

        (void)fuzz_u8(&in);
        fuzz_member(&in, &m);
        fuzz_java(&in, &j, &m);
        sc_java_put(&b, &j);
        fuzz_damage(&in, &b);
    } else {
        sc_put(&b, data, size < LIMIT ? size : LIMIT);
    }
    bytes = fuzz_copy(b.data, b.len);
    if (sc_java_get(&j, bytes, b.len) == APR_SUCCESS) {
        round_trip(&j);
    }
    free(bytes);
    sc_buf_free(&b);
    return 0;
}
