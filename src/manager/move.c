/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Changes of location. */
#include "internal.h"

apr_status_t sc_move_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    (void)m;
    (void)from;
    (void)r;
    return APR_SUCCESS;
}

apr_status_t sc_move_notified(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    return sc_move_asked(m, from, r);
}

apr_status_t sc_move_answered(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    return sc_move_asked(m, from, r);
}

apr_status_t sc_move_copied(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    return sc_move_asked(m, from, r);
}
