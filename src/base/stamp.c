/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Order of stamps: time first, then the node's tag, so that two nodes that stamped at the same tick
 * still agree on who won.
 */
#include "sc_base.h"

int sc_stamp_cmp(const sc_stamp_t *a, const sc_stamp_t *b)
{
    if (a->hlc != b->hlc) {
        return a->hlc < b->hlc ? -1 : 1;
    }
    if (a->node != b->node) {
        return a->node < b->node ? -1 : 1;
    }
    return 0;
}
