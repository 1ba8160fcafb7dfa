/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The codecs of all session messages. The reader of the unit tests holds what is accepted to the
 * promises of sc_message.h; what is accepted is not accepted when its end is cut off into the last
 * field that every version has. (Whole managers: manager_delta.c, manager_backup.c, front.c.)
 *
 *   An input is a message; or, with 0xff in front, one of the samples and what is changed in it.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/message_rig.h"
#include "fuzz.h"

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
    } else {
        sc_put(&b, data, size);
    }
    bytes = fuzz_copy(b.data, b.len);
    (void)wire_read(bytes, b.len);
    (void)sc_event_name(b.len > 0 ? bytes[0] : 0);
    free(bytes);
    sc_buf_free(&b);
    return 0;
}
