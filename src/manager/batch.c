/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Lists of ids put together before they are sent: accesses, deaths.
 */
#include <string.h>

#include "internal.h"

void sc_batch_init(sc_batch_t *b, sc_event_t event, unsigned int reason)
{
    int i;

    memset(b, 0, sizeof(*b));
    b->event = event;
    b->reason = reason;
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        sc_buf_init(&b->items[i], 2 * SC_LIST_BYTES);
    }
}

void sc_batch_free(sc_batch_t *b)
{
    int i;

    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        sc_buf_free(&b->items[i]);
    }
}

/* An item has been added. @return 1: it is time to send the list */
static int added(sc_batch_t *b, apr_uint16_t context, apr_size_t before)
{
    b->n[context]++;
    b->bytes += b->items[context].len - before;
    return b->bytes >= SC_LIST_BYTES;
}

int sc_batch_death(sc_batch_t *b, apr_uint16_t context, const sc_id_t *id, const sc_stamp_t *stamp)
{
    apr_size_t before = b->items[context].len;

    sc_item_expired_put(&b->items[context], id, stamp);
    return added(b, context, before);
}

int sc_batch_access(sc_batch_t *b, apr_uint16_t context, const sc_id_t *id, apr_uint64_t idle_ms)
{
    apr_size_t before = b->items[context].len;

    sc_item_accessed_put(&b->items[context], id, idle_ms);
    return added(b, context, before);
}

apr_uint32_t sc_batch_put(const sc_manager_t *m, sc_batch_t *b, sc_buf_t *out)
{
    apr_uint32_t ngroups = 0;
    apr_uint16_t i;

    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        ngroups += b->n[i] > 0;
    }
    if (ngroups == 0) {
        return 0;
    }
    sc_msg_groups_put(out, b->event, ngroups);
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        sc_group_t g;

        if (b->n[i] == 0) {
            continue;
        }
        g.context.s = sc_store_context_name(m->store, i);
        g.context.len = strlen(g.context.s);
        g.reason = b->reason;
        g.n = b->n[i];
        g.items = b->items[i].data;
        g.items_len = b->items[i].len;
        sc_group_put(out, &g);
        b->n[i] = 0;
        sc_buf_clear(&b->items[i]);
    }
    b->bytes = 0;
    return ngroups;
}
