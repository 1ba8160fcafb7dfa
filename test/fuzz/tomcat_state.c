/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A Tomcat's answer about its sessions: any bytes as the list; or, with 0xff in front, a captured
 * one with something changed in it. Reading it twice, as the room does, finds the same.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tomcat.h"
#include "../../src/tomcat/state.h"

#define LIMIT (64 * 1024)

/* The body of the captured answer. @param list receives where the list in it begins, whose length
 * is in front of it */
static const unsigned char *captured(apr_size_t *len, apr_size_t *list)
{
    apr_size_t n;
    const unsigned char *frame = fuzz_tomcat_answer(&n);
    sc_packet_t packet;

    FUZZ_CHECK(sc_packet_get(&packet, frame + 11, n - SC_FRAME_OVERHEAD) == APR_SUCCESS);
    for (*list = 4; memcmp(packet.body + *list, "\xac\xed\0\5", 4) != 0; ++*list) {
    }
    *len = packet.body_len;
    return packet.body;
}

static apr_uint32_t sum_of(const unsigned char *bytes, apr_size_t len, apr_status_t *end)
{
    apr_uint32_t sum = 0;
    sc_location_t l;
    sc_state_t s;

    *end = sc_state_open(&s, bytes, len, &fuzz_tomcat_call, FUZZ_TOMCAT_MAP);
    if (*end != APR_SUCCESS) {
        return 0;
    }
    while ((*end = sc_state_next(&s, &l)) == APR_SUCCESS) {
        int i;

        FUZZ_CHECK(l.nbackups <= SC_JNODES_MAX);
        FUZZ_CHECK(l.primary == SC_JNOBODY || l.primary < s.s.nmembers);
        for (i = 0; i < l.nbackups; i++) {
            FUZZ_CHECK(l.backup[i] == SC_JNOBODY || l.backup[i] < s.s.nmembers);
        }
        FUZZ_CHECK(l.id == NULL || (l.id >= bytes && l.id + l.id_len <= bytes + len));
        sum = sum * 31 + l.primary * 7u + l.nbackups + (apr_uint32_t)l.id_len;
    }
    /* an object takes a byte of input at least, so the table is bounded by it */
    FUZZ_CHECK(s.s.nhandles <= len);
    sc_state_close(&s);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    apr_status_t first, second;
    unsigned char *bytes;
    apr_size_t len, list;
    const unsigned char *body = captured(&len, &list);
    apr_uint32_t sum;
    sc_buf_t b;

    sc_buf_init(&b, LIMIT);
    if (size > 0 && data[0] == 0xff) {
        (void)fuzz_u8(&in);
        sc_put(&b, body, len);
        fuzz_damage(&in, &b);
    } else {
        sc_put(&b, body, list);
        sc_buf_patch_u32(&b, list - 4, (apr_uint32_t)size);
        sc_put(&b, data, size);
        sc_put_u8(&b, 0x78);
    }
    bytes = fuzz_copy(b.data, b.len);
    sum = sum_of(bytes, b.len, &first);
    FUZZ_CHECK(sum == sum_of(bytes, b.len, &second) && first == second);
    free(bytes);
    sc_buf_free(&b);
    return 0;
}
