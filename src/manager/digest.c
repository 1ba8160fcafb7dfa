/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Comparing what two members hold, and exchanging what differs. */
#include "internal.h"

void sc_digest_start(sc_manager_t *m)
{
    (void)m;
}

void sc_digest_stop(sc_manager_t *m)
{
    (void)m;
}

void sc_digest_soon(sc_manager_t *m, sc_peer_t *peer)
{
    (void)m;
    (void)peer;
}

void sc_digest_gone(sc_manager_t *m, sc_peer_t *peer)
{
    (void)m;
    (void)peer;
}

apr_status_t sc_digest_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    (void)m;
    (void)from;
    (void)r;
    return APR_SUCCESS;
}

apr_status_t sc_digest_listed(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    (void)m;
    (void)from;
    (void)r;
    return APR_SUCCESS;
}
