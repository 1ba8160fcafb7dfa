/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who holds a session: with the delta manager everybody, with the backup manager the members that
 * its record names.
 */
#include <string.h>

#include "internal.h"

int sc_layout_here(const sc_manager_t *m, const sc_record_t *rec)
{
    return m->config->manager == SC_MANAGER_DELTA ||
           sc_record_holder(rec, m->own_route) != SC_HOLDER_NONE;
}

int sc_layout_at(const sc_manager_t *m, const sc_record_t *rec, const sc_peer_t *peer)
{
    apr_uint16_t route;

    if (m->config->manager == SC_MANAGER_DELTA) {
        return 1;
    }
    return sc_store_route(m->store, peer->member.route, strlen(peer->member.route), 0, &route) ==
               APR_SUCCESS &&
           sc_record_holder(rec, route) != SC_HOLDER_NONE;
}
