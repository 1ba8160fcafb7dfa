/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Locations told and heard. */
#include "internal.h"

apr_status_t sc_place_heard(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    (void)m;
    (void)from;
    (void)r;
    return APR_SUCCESS;
}

apr_status_t sc_place_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    return sc_place_heard(m, from, r);
}
