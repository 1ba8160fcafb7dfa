/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A captured answer of a Tomcat.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tomcat.h"

const sc_uid_t fuzz_tomcat_call = {{0x44, 0x6c, 0x2c, 0xaa, 0xf2, 0x12, 0x40, 0x2b, 0x82, 0x39,
                                    0xcb, 0x19, 0x4d, 0x96, 0xef, 0x66}};

const unsigned char *fuzz_tomcat_answer(apr_size_t *len)
{
    static unsigned char frame[8192];
    static size_t n;

    if (n == 0) {
        const char *folder = getenv("SC_VECTORS");
        char path[512];
        FILE *f;

        snprintf(path, sizeof(path), "%s/map-rpc-state-reply-many.bin",
                 folder != NULL ? folder : "test/vectors");
        f = fopen(path, "rb");
        FUZZ_CHECK(f != NULL);
        n = fread(frame, 1, sizeof(frame), f);
        fclose(f);
        FUZZ_CHECK(n > 1000 && n < sizeof(frame));
    }
    *len = n;
    return frame;
}
