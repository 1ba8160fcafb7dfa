/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Lists of members, sorted, for the interceptors that keep a view of their own.
 */
#include <string.h>

#include "members.h"

const sc_member_t *sc_members_find(const sc_members_t *l, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < l->n; i++) {
        if (sc_member_same(&l->m[i], m)) {
            return &l->m[i];
        }
    }
    return NULL;
}

const sc_member_t *sc_members_at(const sc_members_t *l, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < l->n; i++) {
        if (sc_member_same_address(&l->m[i], m)) {
            return &l->m[i];
        }
    }
    return NULL;
}

int sc_members_put(sc_members_t *l, const sc_member_t *m)
{
    const sc_member_t *known = sc_members_find(l, m);
    apr_size_t i;

    if (known != NULL) {
        l->m[known - l->m] = *m;
        return 1;
    }
    if (l->n == SC_MEMBERS_MAX) {
        return 0;
    }
    for (i = l->n; i > 0 && sc_member_order(m, &l->m[i - 1]) < 0; i--) {
        l->m[i] = l->m[i - 1];
    }
    l->m[i] = *m;
    l->n++;
    return 1;
}

int sc_members_remove(sc_members_t *l, const sc_member_t *m)
{
    const sc_member_t *known = sc_members_find(l, m);
    apr_size_t i;

    if (known == NULL) {
        return 0;
    }
    i = (apr_size_t)(known - l->m);
    l->n--;
    memmove(&l->m[i], &l->m[i + 1], (l->n - i) * sizeof(l->m[0]));
    return 1;
}

int sc_members_same(const sc_members_t *a, const sc_members_t *b)
{
    apr_size_t i;

    if (a->n != b->n) {
        return 0;
    }
    for (i = 0; i < a->n; i++) {
        if (!sc_member_same(&a->m[i], &b->m[i])) {
            return 0;
        }
    }
    return 1;
}

const sc_member_t *sc_members_next(const sc_members_t *l, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < l->n; i++) {
        if (sc_member_order(&l->m[i], m) > 0) {
            return &l->m[i];
        }
    }
    return l->n > 0 ? &l->m[0] : NULL;
}
