/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Locations as bytes: lists of them, and the messages that ask for one or for all.
 *
 *   event u8 | serial | flags | routes: number, names | groups: number, groups
 *   group:   context | number of items | items, as one string
 *   item:    id 16 bytes | epoch | primary | backups * 4 + number told * 2 + digest told | backups
 *            | number | digest u64
 *
 * All numbers but the digest are varints. Names of routes stand once in a message, items name them
 * by their place; so a location takes some 20 bytes, and a proxy can be told of many in one frame.
 *
 * A list is put together over many changes before it is written. It has a bound of its own, well
 * below the smallest frame that may be configured, so whoever collects never has to cut one up.
 */
#include <stdlib.h>
#include <string.h>

#include "message_parts.h"

#define ITEM_MIN (SC_ID_LEN + 3) /* epoch, primary, number of backups: a byte each */
#define ITEM_MAX (SC_ID_LEN + 5 + 2 + 1 + SC_BACKUPS_MAX * 2 + 5 + 8)
#define HEAD_MAX (1 + 10 + 5 + 2 + 2) /* event, serial, flags, numbers of routes and of groups */
#define GROUP_MAX (3 + 3)             /* numbers of items and of their bytes */

typedef struct context_items_t {
    apr_uint64_t n;
    sc_buf_t items;
} context_items_t;

struct sc_places_t {
    apr_size_t count;
    apr_size_t bytes;
    apr_uint32_t nroutes;              /* places of the table, "no route" included */
    apr_uint16_t route[SC_ROUTES_MAX]; /* by place: the store's index */
    apr_uint16_t place[SC_ROUTES_MAX]; /* the other way round; 0: not in the table */
    context_items_t context[SC_CONTEXTS_MAX];
};

/* ---- items ---------------------------------------------------------------------------------- */

static void place_put(sc_buf_t *items, const sc_place_t *p)
{
    apr_uint32_t i;

    sc_part_put_id(items, &p->id);
    sc_put_varint(items, p->epoch);
    sc_put_varint(items, p->primary);
    sc_put_varint(items, p->nbackups << 2 | (p->number != 0) << 1 | (p->digest != 0));
    for (i = 0; i < p->nbackups; i++) {
        sc_put_varint(items, p->backup[i]);
    }
    if (p->number != 0) {
        sc_put_varint(items, p->number);
    }
    if (p->digest != 0) {
        sc_put_u64(items, p->digest);
    }
}

static int names(const sc_place_t *p, apr_uint32_t nbackups, apr_uint32_t route)
{
    apr_uint32_t i;

    for (i = 0; i < nbackups; i++) {
        if (p->backup[i] == route) {
            return 1;
        }
    }
    return p->primary == route;
}

apr_status_t sc_place_get(sc_rd_t *items, sc_place_t *p)
{
    apr_uint32_t n, i;

    memset(p, 0, sizeof(*p));
    sc_part_get_id(items, &p->id);
    p->epoch = sc_part_epoch(items, 1);
    p->primary = sc_part_number(items);
    n = sc_part_number(items);
    /* what is nowhere has neither copies nor content */
    if (p->primary >= SC_ROUTES_MAX || n >> 2 > SC_BACKUPS_MAX || (p->primary == 0 && n != 0)) {
        items->bad = 1;
        return APR_EINVAL;
    }
    for (i = 0; i < n >> 2; i++) {
        apr_uint32_t route = sc_part_number(items);

        items->bad |= route == 0 || route >= SC_ROUTES_MAX || names(p, i, route);
        p->backup[i] = route;
    }
    p->nbackups = n >> 2;
    if (n & 2) {
        p->number = sc_part_epoch(items, 1);
    }
    if (n & 1) {
        p->digest = sc_get_u64(items);
        items->bad |= p->digest == 0;
    }
    return sc_part_verdict(items);
}

/* ---- putting a list together ----------------------------------------------------------------- */

sc_places_t *sc_places_create(void)
{
    sc_places_t *p = calloc(1, sizeof(*p));
    int i;

    if (p != NULL) {
        for (i = 0; i < SC_CONTEXTS_MAX; i++) {
            sc_buf_init(&p->context[i].items, SC_PLACES_BYTES);
        }
        sc_places_clear(p);
    }
    return p;
}

void sc_places_free(sc_places_t *p)
{
    if (p != NULL) {
        sc_places_clear(p);
        free(p);
    }
}

/* The memory goes too: which contexts are busy changes, and they are many. */
void sc_places_clear(sc_places_t *p)
{
    int i;

    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        sc_buf_free(&p->context[i].items);
        p->context[i].n = 0;
    }
    memset(p->place, 0, sizeof(p->place));
    p->count = 0;
    p->bytes = HEAD_MAX;
    p->nroutes = 1;
}

/* Where its epoch was, a part of the new id is kept (death.c). */
static int is_renamed(const sc_record_t *rec)
{
    return (rec->flags & SC_REC_TOMBSTONE) && rec->max_idle_s == SC_DEAD_RENAMED;
}

static int has_name(const sc_store_t *store, apr_uint16_t route)
{
    return route < SC_ROUTES_MAX && *sc_store_route_name(store, route) != '\0';
}

/* The location of a record, with the store's indices: no backup that is the primary or is there
 * twice, since all of a list with such a one would be refused. */
static void location_of(const sc_store_t *store, const sc_record_t *rec, apr_uint64_t digest,
                        sc_place_t *p)
{
    int i;

    memset(p, 0, sizeof(*p));
    p->id = rec->id;
    p->epoch = rec->epoch;
    if ((rec->flags & SC_REC_TOMBSTONE) || !has_name(store, rec->primary)) {
        return;
    }
    p->primary = rec->primary;
    p->digest = digest;
    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        if (has_name(store, rec->backups[i]) && !names(p, p->nbackups, rec->backups[i])) {
            p->backup[p->nbackups++] = rec->backups[i];
        }
    }
}

/* Bytes that the name of a route costs: nothing when it is in the table. */
static apr_size_t route_cost(const sc_places_t *p, const sc_store_t *store, apr_uint32_t route)
{
    if (route == SC_ROUTE_NONE || p->place[route] != 0) {
        return 0;
    }
    return sc_part_str_size(strlen(sc_store_route_name(store, (apr_uint16_t)route)));
}

/* Its place in the table, entered if it has none. There are no more routes than places. */
static apr_uint32_t place_of(sc_places_t *p, apr_uint32_t route)
{
    if (route != SC_ROUTE_NONE && p->place[route] == 0) {
        p->place[route] = (apr_uint16_t)p->nroutes;
        p->route[p->nroutes++] = (apr_uint16_t)route;
    }
    return p->place[route];
}

apr_status_t sc_places_add(sc_places_t *p, const sc_store_t *store, const sc_record_t *rec,
                           apr_uint64_t digest)
{
    return sc_places_number(p, store, rec, digest, 0);
}

apr_status_t sc_places_number(sc_places_t *p, const sc_store_t *store, const sc_record_t *rec,
                              apr_uint64_t digest, apr_uint32_t number)
{
    const char *context = sc_store_context_name(store, rec->context);
    context_items_t *c;
    apr_size_t cost, before;
    sc_place_t place;
    apr_uint32_t i;

    location_of(store, rec, digest, &place);
    place.number = place.primary != 0 ? number : 0;
    if (*context == '\0' || place.epoch < 1 || place.epoch > SC_EPOCH_MAX || is_renamed(rec)) {
        return APR_EINVAL;
    }
    c = &p->context[rec->context];
    cost = route_cost(p, store, place.primary);
    for (i = 0; i < place.nbackups; i++) {
        cost += route_cost(p, store, place.backup[i]);
    }
    if (c->n == 0) {
        cost += sc_part_str_size(strlen(context)) + GROUP_MAX;
    }
    if (p->bytes + cost + ITEM_MAX > SC_PLACES_BYTES) {
        return APR_ENOSPC;
    }
    if (sc_buf_reserve(&c->items, ITEM_MAX) == NULL) {
        c->items.err = APR_SUCCESS; /* the buffer is as it was, and there may be memory later */
        return APR_ENOMEM;
    }
    place.primary = place_of(p, place.primary);
    for (i = 0; i < place.nbackups; i++) {
        place.backup[i] = place_of(p, place.backup[i]);
    }
    before = c->items.len;
    place_put(&c->items, &place);
    c->n++;
    p->count++;
    p->bytes += cost + c->items.len - before;
    return APR_SUCCESS;
}

apr_size_t sc_places_count(const sc_places_t *p)
{
    return p->count;
}

apr_size_t sc_places_bytes(const sc_places_t *p)
{
    return p->bytes;
}

void sc_places_put(sc_buf_t *b, sc_event_t event, apr_uint64_t serial, unsigned int flags,
                   const sc_places_t *p, const sc_store_t *store)
{
    apr_uint32_t i, ngroups = 0;

    sc_put_u8(b, event);
    sc_put_varint(b, serial);
    sc_put_varint(b, flags);
    sc_put_varint(b, p->nroutes - 1);
    for (i = 1; i < p->nroutes; i++) {
        const char *name = sc_store_route_name(store, p->route[i]);

        sc_put_str(b, name, strlen(name));
    }
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        ngroups += p->context[i].n > 0;
    }
    sc_put_varint(b, ngroups);
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        const context_items_t *c = &p->context[i];
        const char *name = sc_store_context_name(store, (apr_uint16_t)i);

        if (c->n > 0) {
            sc_put_str(b, name, strlen(name));
            sc_put_varint(b, c->n);
            sc_put_str(b, c->items.data, c->items.len);
        }
    }
}

/* ---- reading a list -------------------------------------------------------------------------- */

/* The table of names: each once, or one node would have two places. */
static void get_routes(sc_rd_t *r, sc_msg_places_t *m)
{
    apr_uint32_t n = sc_part_number(r);
    apr_uint32_t i, k;

    m->nroutes = 1;
    m->route[0].s = "";
    if (n >= SC_ROUTES_MAX) {
        r->bad = 1;
        return;
    }
    for (i = 1; i <= n && !r->bad; i++) {
        m->route[i] = sc_part_text(r, SC_ROUTE_MAX, 0);
        for (k = 1; k < i && !r->bad; k++) {
            r->bad = sc_part_same(&m->route[i], &m->route[k]);
        }
        m->nroutes = i + 1;
    }
}

apr_status_t sc_places_group_get(sc_rd_t *r, sc_group_t *g)
{
    memset(g, 0, sizeof(*g));
    g->context = sc_part_text(r, SC_CONTEXT_MAX, 0);
    g->n = sc_get_varint(r);
    g->items = sc_get_str(r, sc_rd_left(r), &g->items_len);
    if (g->n > g->items_len / ITEM_MIN) {
        r->bad = 1;
    }
    return sc_part_verdict(r);
}

/* All items of a group: as many as it says, and no place that the table does not have. */
static int check_group(const sc_group_t *g, apr_uint32_t nroutes)
{
    apr_uint64_t i;
    apr_uint32_t k;
    sc_place_t p;
    sc_rd_t items;

    sc_rd_init(&items, g->items, g->items_len);
    for (i = 0; i < g->n; i++) {
        if (sc_place_get(&items, &p) != APR_SUCCESS || p.primary >= nroutes) {
            return 0;
        }
        for (k = 0; k < p.nbackups; k++) {
            if (p.backup[k] >= nroutes) {
                return 0;
            }
        }
    }
    return sc_rd_left(&items) == 0;
}

apr_status_t sc_msg_places_get(sc_rd_t *r, sc_msg_places_t *m)
{
    apr_uint64_t i;
    sc_group_t g;
    sc_rd_t ahead;

    memset(m, 0, sizeof(*m));
    m->serial = sc_get_varint(r);
    m->flags = sc_part_number(r);
    get_routes(r, m);
    m->ngroups = sc_get_varint(r);
    ahead = *r;
    for (i = 0; i < m->ngroups && !ahead.bad; i++) {
        if (sc_places_group_get(&ahead, &g) == APR_SUCCESS && !check_group(&g, m->nroutes)) {
            ahead.bad = 1;
        }
    }
    if (ahead.bad) {
        r->bad = 1;
        m->ngroups = 0;
    }
    return sc_part_verdict(r);
}

/* ---- asking ---------------------------------------------------------------------------------- */

void sc_msg_state_put(sc_buf_t *b, apr_uint64_t serial)
{
    sc_put_u8(b, SC_EVT_STATE);
    sc_put_varint(b, serial);
}

apr_status_t sc_msg_state_get(sc_rd_t *r, apr_uint64_t *serial)
{
    *serial = sc_get_varint(r);
    return sc_part_verdict(r);
}

void sc_msg_take_put(sc_buf_t *b, const sc_msg_take_t *t)
{
    sc_put_u8(b, SC_EVT_TAKE);
    sc_put_str(b, t->context.s, t->context.len);
    sc_part_put_id(b, &t->id);
    sc_put_varint(b, t->epoch);
}

apr_status_t sc_msg_take_get(sc_rd_t *r, sc_msg_take_t *t)
{
    memset(t, 0, sizeof(*t));
    t->context = sc_part_text(r, SC_CONTEXT_MAX, 0);
    sc_part_get_id(r, &t->id);
    t->epoch = sc_part_epoch(r, 1);
    return sc_part_verdict(r);
}
