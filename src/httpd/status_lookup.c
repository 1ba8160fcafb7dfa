/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One session, as the store of this node knows it: where it lives, how large and how old it is. Not
 * what is in it, nor what its attributes are called.
 */

#include "status.h"

static const char *role_of(const sc_status_t *s, const sc_record_t *rec)
{
    apr_uint16_t route;

    if (rec->flags & SC_REC_PROXY) {
        return "proxy";
    }
    if (!s->route[0]) {
        return "primary"; /* stand-alone */
    }
    if (sc_store_route(s->store, s->route, strlen(s->route), 0, &route) != APR_SUCCESS) {
        return "none";
    }
    switch (sc_record_holder(rec, route)) {
    case SC_HOLDER_PRIMARY:
        return "primary";
    case SC_HOLDER_BACKUP:
        return "backup";
    default:
        return "replica"; /* delta manager: every node has it */
    }
}

static void places(const sc_status_t *s, const sc_record_t *rec, sc_found_t *f)
{
    apr_pool_t *p = s->r->pool;

    f->primary = apr_pstrdup(p, sc_store_route_name(s->store, rec->primary));
    f->backups = apr_array_make(p, SC_BACKUPS_MAX, sizeof(const char *));
    for (int i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        APR_ARRAY_PUSH(f->backups, const char *) =
            apr_pstrdup(p, sc_store_route_name(s->store, rec->backups[i]));
    }
}

static void describe(const sc_status_t *s, const sc_stored_t *stored, sc_found_t *f)
{
    const sc_record_t *rec = &stored->rec;
    apr_time_t last;

    f->epoch = rec->epoch;
    f->age = f->idle = f->left = -1;
    f->role = "none";
    f->primary = "";
    f->backups = apr_array_make(s->r->pool, 1, sizeof(const char *));
    f->state = "ended";
    if (rec->flags & SC_REC_TOMBSTONE) {
        return;
    }
    f->state = rec->flags & SC_REC_PROXY ? "elsewhere" : "live";
    f->role = role_of(s, rec);
    places(s, rec, f);
    if (rec->flags & SC_REC_PROXY) {
        return;
    }
    f->bytes = rec->body_len;
    f->age = s->now > rec->created ? s->now - rec->created : 0;
    last = sc_store_last_access(s->store, stored);
    f->idle = s->now > last ? s->now - last : 0;
    if (rec->max_idle_s) {
        f->left = apr_time_from_sec((apr_time_t)rec->max_idle_s) - f->idle;
        f->left = f->left > 0 ? f->left : 0;
    }
}

apr_array_header_t *sc_lookup(const sc_status_t *s, const sc_id_t *id, const char *context)
{
    apr_pool_t *p = s->r->pool;
    apr_array_header_t *all = apr_array_make(p, 2, sizeof(sc_found_t));
    char masked[SC_ID_MASKED];

    for (int i = 0; i < s->contexts->nelts; i++) {
        const char *name = APR_ARRAY_IDX(s->contexts, i, sc_context_stats_t).name;
        sc_stored_t stored;
        sc_found_t *f;

        if ((context && strcmp(context, name) != 0) ||
            sc_store_read(s->store, (apr_uint16_t)i, id, p, &stored) != APR_SUCCESS) {
            continue;
        }
        f = apr_array_push(all);
        memset(f, 0, sizeof(*f));
        f->context = name;
        f->id = apr_pstrdup(p, sc_id_mask(id, masked));
        describe(s, &stored, f);
    }
    return all;
}
