/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The codecs of all session messages: what is accepted keeps the promises of sc_message.h (whole
 * managers: manager_delta.c, manager_backup.c, front.c).
 *
 *   An input is a message; or, with 0xff in front, one of the unit tests' samples and what is
 *   changed in it; or, with 0xfe, one that is built field by field.
 */
#include <stdlib.h>

#include "../unit/message_rig.h"
#include "manager.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    unsigned char *bytes;
    sc_buf_t b;

    sc_buf_init(&b, WIRE_LIMIT);
    if (size > 1 && data[0] == 0xff) {
        (void)fuzz_u8(&in);
        wire_sample((int)fuzz_below(&in, WIRE_SAMPLES), &b);
        while (in.left > 0 && b.len > 0) {
            apr_size_t at = fuzz_u8(&in) % b.len;

            b.data[at] = (unsigned char)fuzz_u8(&in);
        }
    } else if (size > 1 && data[0] == 0xfe) {
        (void)fuzz_u8(&in);
        fuzz_record(&in, &b, 0);
        fuzz_damage(&in, &b);
    } else {
        sc_put(&b, data, size);
    }
    bytes = fuzz_copy(b.data, b.len);
    (void)fuzz_read(bytes, b.len);
    (void)sc_event_name(b.len > 0 ? bytes[0] : 0);
    free(bytes);
    sc_buf_free(&b);
    return 0;
}
