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

void sc_move_told(const sc_manager_t *m, sc_record_t *rec)
{
    (void)m;
    (void)rec;
}

int sc_move_pending(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id)
{
    (void)m;
    (void)context;
    (void)id;
    return 0;
}

int sc_move_target(const sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                   const sc_peer_t *peer)
{
    (void)peer;
    return sc_move_pending(m, context, id);
}

apr_status_t sc_move_for(sc_manager_t *m, const sc_record_t *rec, const sc_link_call_t *call,
                         sc_link_op_t op, int again, const unsigned char *body, apr_size_t len,
                         apr_time_t since)
{
    (void)m;
    (void)rec;
    (void)call;
    (void)op;
    (void)again;
    (void)body;
    (void)len;
    (void)since;
    return APR_ENOTIMPL;
}

void sc_move_take(sc_manager_t *m, const sc_record_t *rec)
{
    (void)m;
    (void)rec;
}

void sc_move_sent(sc_manager_t *m, sc_peer_t *peer, apr_uint64_t tag, apr_status_t rv)
{
    (void)m;
    (void)peer;
    (void)tag;
    (void)rv;
}

void sc_move_lost(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t digest)
{
    (void)digest;
    (void)sc_place_only(m, rec);
}

void sc_move_review(sc_manager_t *m)
{
    (void)m;
}

void sc_move_gone(sc_manager_t *m, const sc_peer_t *peer, apr_uint32_t serial)
{
    (void)m;
    (void)peer;
    (void)serial;
}

void sc_move_leave(sc_manager_t *m)
{
    (void)m;
}

int sc_move_leaving(const sc_manager_t *m)
{
    (void)m;
    return 0;
}

void sc_move_start(sc_manager_t *m)
{
    (void)m;
}

void sc_move_stop(sc_manager_t *m)
{
    (void)m;
}
