/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions that peers ask for, one at a time: what is here is given, and whether it is sure to be
 * the latest.
 */
#include "internal.h"

/* Backup manager: a copy that is not held here is given to nobody, only where the session is. */
static int only_location(const sc_manager_t *m, sc_record_t *rec)
{
    if (!(rec->flags & SC_REC_TOMBSTONE) && !sc_layout_here(m, rec)) {
        rec->flags |= SC_REC_PROXY;
    }
    return (rec->flags & SC_REC_PROXY) != 0;
}

/* A copy that is not held here, but has something that not all holders have: whoever asks may be
 * one of them. It is not known to be the latest. */
static int has_news(const sc_manager_t *m, const sc_record_t *rec)
{
    return !(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) && !sc_layout_here(m, rec) &&
           sc_move_has_news(m, rec);
}

/* A location that tells nothing is not given: whoever asks would have to refuse the whole answer.
 */
static int says_nothing(const sc_wire_session_t *s)
{
    return (s->flags & SC_REC_PROXY) && (s->primary_len == 0 || s->epoch == 0);
}

apr_status_t sc_fetch_asked(sc_manager_t *m, const sc_member_t *from, sc_rd_t *r)
{
    sc_msg_retrieve_t msg;
    apr_uint16_t context;
    sc_record_t rec;
    int known, news = 0, held = 1;

    if (sc_msg_retrieve_get(r, SC_EVT_RETRIEVE, &msg) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    if (sc_restore_pending(m)) {
        return APR_SUCCESS; /* it is asked again */
    }
    known = sc_apply_context(m, from, msg.context.s, msg.context.len, &context) == APR_SUCCESS;
    if (known && sc_store_get(m->store, context, &msg.id, &rec, &m->old) == APR_SUCCESS) {
        msg.found = 1;
        if (sc_mgr_is_backup(m) && !(rec.flags & SC_REC_TOMBSTONE)) {
            sc_move_told(m, &rec); /* others know it already */
        }
        news = has_news(m, &rec);
        held = news || !only_location(m, &rec);
        /* that it has idled out only who holds it knows */
        held &= !sc_mgr_is_backup(m) || !(rec.flags & SC_REC_TOMBSTONE) ||
                rec.max_idle_s != SC_DEAD_IDLE || sc_layout_here(m, &rec);
        if (rec.flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) {
            sc_buf_clear(&m->old);
        } else {
            sc_expiry_refresh(m, &rec);
        }
        sc_mgr_wire(m, &rec, m->old.data, m->old.len, &msg.session);
        msg.found = !says_nothing(&msg.session);
    }
    sc_lease_check(m);
    sc_lease_tell_hung(m, from);
    msg.sure =
        known && held && !news && !m->lapsed && (msg.found || m->board->count.refused_full == 0);
    msg.away = !msg.found && sc_mgr_is_backup(m) && sc_fetch_holders_away(m);
    msg.blank = sc_mgr_is_blank(m);
    sc_buf_clear(&m->msg);
    sc_msg_retrieve_put(&m->msg, SC_EVT_RETRIEVE_REPLY, &msg);
    sc_mgr_reply(m, from);
    return APR_SUCCESS;
}
