/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The second look at what was changed.
 *
 * The store has no compare-and-swap, so two nodes that change one session at the same time may both
 * read before either writes, and the later write loses what the earlier one brought. Whoever made a
 * change looks a moment later whether it is still there: each attribute with its stamp, or a later
 * one. If not, it is merged in once more, which is harmless when it is repeated. Nothing is lost
 * then unless a node takes longer between its read and its write than the second look waits.
 */
#include <string.h>

#include "central.h"

/* Whether the body has this attribute or a newer version of it; the body is in order. What was
 * removed may be not there at all: removals are not remembered for ever. */
static int has(const sc_central_value_t *v, const sc_attr_t *want)
{
    sc_attr_t a;
    sc_rd_t r;

    sc_rd_init(&r, v->body, v->body_len);
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        int cmp = sc_attr_name_cmp(a.name, a.name_len, want->name, want->name_len);

        if (cmp >= 0) {
            if (cmp == 0) {
                return sc_stamp_cmp(&a.stamp, &want->stamp) >= 0;
            }
            break;
        }
    }
    return (want->flags & SC_ATTR_REMOVED) != 0;
}

static int has_all(const sc_central_value_t *v, const sc_buf_t *delta)
{
    sc_attr_t want;
    sc_rd_t r;

    sc_rd_init(&r, delta->data, delta->len);
    while (sc_attr_get(&r, &want) == APR_SUCCESS) {
        if (!has(v, &want)) {
            return 0;
        }
    }
    return 1;
}

sc_outcome_t sc_central_look_again(const sc_central_t *c, const sc_central_store_t *store,
                                   const sc_central_key_t *key, const sc_buf_t *delta,
                                   sc_buf_t *value)
{
    sc_central_kind_t kind = SC_CENTRAL_ENDED;
    sc_central_value_t v;
    sc_outcome_t outcome = sc_central_read(c, store, key, value, &v);
    int dead = sc_central_is_dead(c, key, &kind) || delta->len == 0;

    if (outcome != SC_FOUND) {
        return outcome == SC_ABSENT ? SC_DONE : SC_UNKNOWN;
    }
    if (!dead && has_all(&v, delta)) {
        return SC_DONE;
    }
    sc_central_count(c->memory, central_merges, 1);
    outcome = dead ? sc_central_bury(c, store, key, kind, "")
                   : sc_central_bring(c, store, key, delta, &v);
    return outcome == SC_DONE ? SC_DEGRADED : outcome;
}

sc_outcome_t sc_central_look(const sc_central_t *c, const sc_central_store_t *store,
                             const sc_central_key_t *key, const sc_buf_t *delta, sc_buf_t *value)
{
    apr_uint64_t lock = sc_central_lock(c, key);
    sc_outcome_t outcome = sc_central_look_again(c, store, key, delta, value);

    sc_central_unlock(c, key, lock);
    return outcome;
}
