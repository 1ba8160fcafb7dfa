/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The Java objects of foreign members, built from decisions.
 */
#include <string.h>

#include "fuzz.h"

void fuzz_java(fuzz_in_t *in, sc_java_t *j, const sc_member_t *from)
{
    static const unsigned char name[] = "grp-StaticMembership";
    unsigned int how = fuzz_u8(in);

    memset(j, 0, sizeof(*j));
    j->kind = (sc_java_kind_t)(how % 4);
    j->say = (sc_java_say_t)(how / 4 % 4);
    if (j->kind == SC_JAVA_PLAIN && j->say == SC_JAVA_NOTHING) {
        j->say = SC_JAVA_START;
    }
    memset(&j->call, (int)fuzz_below(in, 4), sizeof(j->call));
    j->id = j->membership = name;
    j->id_len = j->membership_len = sizeof(name) - 1;
    j->member = *from;
    if (how & 0x10) {
        j->id = fuzz_text(in, SC_JAVA_ID_MAX, &j->id_len);
    }
    if (how & 0x20) {
        j->membership = fuzz_text(in, SC_JAVA_ID_MAX, &j->membership_len);
    }
    if (how & 0x40) {
        fuzz_member(in, &j->member);
    }
    if (how & 0x80) {
        j->member_serial = fuzz_number(in);
        j->static_serial = fuzz_number(in);
    }
}
