/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file members.h
 * @brief Private to room "interceptor": a bounded list of members in Tribes' absolute order.
 */
#ifndef SC_MEMBERS_H
#define SC_MEMBERS_H

#include "sc_member.h"

/** All-zero is an empty list. Large: not for the stack. */
typedef struct sc_members_t {
    apr_size_t n;
    sc_member_t m[SC_MEMBERS_MAX];
} sc_members_t;

/** The entry of a member (host, port, unique id). @return NULL when it is not in the list */
const sc_member_t *sc_members_find(const sc_members_t *l, const sc_member_t *m);
/** The first entry with that host and port. @return NULL when there is none */
const sc_member_t *sc_members_at(const sc_members_t *l, const sc_member_t *m);
/** Put it in, or replace what is known of it. @return 0: the list is full */
int sc_members_put(sc_members_t *l, const sc_member_t *m);
/** Take it out. @return 0: it was not in the list */
int sc_members_remove(sc_members_t *l, const sc_member_t *m);
/** Whether both hold the same members, whatever else they know of them. */
int sc_members_same(const sc_members_t *a, const sc_members_t *b);
/** The one behind m in a ring that begins again after the last, m itself being in the list or not;
 *  NULL when the list is empty. */
const sc_member_t *sc_members_next(const sc_members_t *l, const sc_member_t *m);

#endif
