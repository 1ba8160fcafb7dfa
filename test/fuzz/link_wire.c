/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Packets of the link between children and engine, as both sides check and join them. Memory grows
 * with what has come; a whole message is what its pieces were.
 */
#include <stdlib.h>
#include <string.h>

#include "../../src/engine/link_wire.h"
#include "fuzz.h"

#define MESSAGE_MAX 4096

static void build(fuzz_in_t *in, sc_buf_t *b, const sc_link_join_t *join, apr_size_t have)
{
    unsigned int how = fuzz_u8(in);
    sc_link_head_t head;
    apr_size_t n;
    size_t len;
    const unsigned char *p;

    sc_wire_head(&head, fuzz_below(in, 3), 1 + fuzz_below(in, 7), fuzz_below(in, 2),
                 fuzz_u16(in) % (MESSAGE_MAX + 2));
    if (join->open && how < 0xc0) {
        head = join->first; /* the next piece of it */
        head.offset = (apr_uint32_t)have;
    }
    n = head.total - head.offset;
    p = fuzz_text(in, how & 1 ? n : 2000, &len);
    head.magic ^= how == 0xff;
    head.abi ^= how == 0xfe;
    head.offset += how == 0xfd;
    sc_put(b, &head, sizeof(head));
    sc_put(b, p, len);
    if ((how & 2) && len < n) { /* all that is missing */
        for (; len < n; len++) {
            sc_put_u8(b, (unsigned int)len);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    sc_link_join_t join;
    sc_buf_t body, all, b;

    memset(&join, 0, sizeof(join));
    sc_buf_init(&body, MESSAGE_MAX);
    sc_buf_init(&all, MESSAGE_MAX * 2);
    sc_buf_init(&b, SC_LINK_PACKET + 100);
    while (in.left > 0) {
        const char *why = NULL;
        unsigned char *packet;
        sc_link_head_t head;
        apr_status_t rv;
        int whole = 0;

        sc_buf_clear(&b);
        if (fuzz_below(&in, 4) == 0) {
            size_t n;
            const unsigned char *p = fuzz_text(&in, SC_LINK_PACKET + 1, &n);

            sc_put(&b, p, n);
        } else {
            build(&in, &b, &join, body.len);
        }
        packet = fuzz_copy(b.data, b.len);
        rv = sc_wire_check(&head, packet, b.len, &why);
        if (rv == APR_SUCCESS) {
            apr_size_t n = b.len - SC_LINK_HEAD;

            if (!join.open) {
                sc_buf_clear(&all);
            }
            rv = sc_wire_join(&join, &head, packet + SC_LINK_HEAD, n, &body, &whole, &why);
            sc_put(&all, packet + SC_LINK_HEAD, n);
        }
        free(packet);
        FUZZ_CHECK((rv == APR_SUCCESS) == (why == NULL));
        FUZZ_CHECK(body.len <= MESSAGE_MAX && body.cap <= MESSAGE_MAX);
        if (rv != APR_SUCCESS) {
            break; /* its connection is closed */
        }
        if (whole) {
            FUZZ_CHECK(!join.open && body.len == head.total && body.len == all.len);
            FUZZ_CHECK(body.len == 0 || memcmp(body.data, all.data, body.len) == 0);
            sc_buf_clear(&body);
        }
    }
    sc_buf_free(&b);
    sc_buf_free(&all);
    sc_buf_free(&body);
    return 0;
}
