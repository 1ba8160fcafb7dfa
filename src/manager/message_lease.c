/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * PING and its reply as bytes. "sent" is a number of the asker's own clock, that nobody else
 * interprets; store ids name members as in their marks.
 */
#include <string.h>

#include "message_parts.h"

void sc_msg_ping_put(sc_buf_t *b, const sc_msg_ping_t *p)
{
    apr_uint32_t i;

    sc_put_u8(b, SC_EVT_PING);
    sc_put_varint(b, p->sent);
    sc_put_varint(b, p->healed);
    sc_put_varint(b, p->clock);
    sc_put_varint(b, p->nmembers);
    for (i = 0; i < p->nmembers; i++) {
        sc_put_u64(b, p->member[i]);
    }
    sc_put_varint(b, p->hung);
}

apr_status_t sc_msg_ping_get(sc_rd_t *r, sc_msg_ping_t *p)
{
    apr_uint32_t i;

    memset(p, 0, sizeof(*p));
    p->sent = sc_get_varint(r);
    p->healed = sc_get_varint(r);
    p->clock = sc_get_varint(r);
    p->nmembers = sc_part_number(r);
    if (p->nmembers > SC_MEMBERS_MAX) {
        r->bad = 1;
    }
    for (i = 0; i < p->nmembers && !r->bad; i++) {
        p->member[i] = sc_get_u64(r);
    }
    p->hung = sc_get_varint(r);
    if (r->bad) {
        p->nmembers = 0;
    }
    return sc_part_verdict(r);
}

void sc_msg_ping_reply_put(sc_buf_t *b, const sc_msg_ping_reply_t *p)
{
    sc_put_u8(b, SC_EVT_PING_REPLY);
    sc_put_varint(b, p->sent);
    sc_put_varint(b, p->loss);
    sc_put_varint(b, p->granted);
    sc_put_varint(b, p->transfer);
    sc_put_varint(b, p->introduced);
}

apr_status_t sc_msg_ping_reply_get(sc_rd_t *r, sc_msg_ping_reply_t *p)
{
    p->sent = sc_get_varint(r);
    p->loss = sc_get_varint(r);
    p->granted = sc_part_yes(r);
    p->transfer = sc_get_varint(r);
    p->introduced = sc_part_yes(r);
    return sc_part_verdict(r);
}
