/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * SessionClusterBackupHint: the cookie names the session's backup beside its node, so that a
 * balancer that is no member of the cluster (in a DMZ, say) knows where to go when the node does
 * not answer.
 *
 * With the backup manager that is the first backup of its location that is alive; a hint that names
 * another living backup is as good and stays. With the delta manager every node has the session, so
 * any living node will do, and one is looked for only when the one that was named is not there any
 * more: the first in the order that members of the cluster would choose by.
 */

#include "provider.h"
#include "sc_placement.h"

APLOG_USE_MODULE(session_cluster);

/* Alive, with all its sessions, and come to stay. */
static int is_fit(const char *route)
{
    return *route && sc_board_route_state(sc_httpd()->board, route, strlen(route)) == SC_NODE_READY;
}

static const char *recorded(const session_t *s, const sc_record_t *rec)
{
    const sc_store_t *store = sc_httpd()->store;
    const char *first = "";

    for (int i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        const char *route = sc_store_route_name(store, rec->backups[i]);

        if (strcmp(route, s->route) == 0 || !is_fit(route)) {
            continue;
        }
        if (strcmp(route, s->hint) == 0) {
            return s->hint;
        }
        first = *first ? first : route;
    }
    return first;
}

static const char *by_placement(const session_t *s)
{
    sc_view_t *view = apr_palloc(s->z.pool, sizeof(*view));
    sc_candidate_t primary = {s->route, ""};
    sc_candidate_t c[SC_MEMBERS_MAX];
    char text[SC_ID_HEX + 1];
    apr_size_t chosen, n = 0;

    if (sc_board_view(sc_httpd()->board, view) != APR_SUCCESS) {
        return "";
    }
    for (apr_uint32_t i = 0; i < view->count; i++) {
        const sc_board_member_t *m = &view->member[i];

        if (m->role != SC_ROLE_NODE || !m->route[0] || m->state == SC_MEMBER_GONE) {
            continue;
        }
        if (strcmp(m->route, s->route) == 0) {
            primary.domain = m->domain;
        } else if (m->node_state == SC_NODE_READY && !(m->flags & SC_MEMBER_NO_BACKUPS)) {
            c[n].route = m->route;
            c[n++].domain = m->domain;
        }
    }
    n = sc_placement_backups(sc_placement_seed(sc_id_format(&s->id, text), SC_ID_HEX), &primary, c,
                             n, 1, &chosen);
    return n ? c[chosen].route : "";
}

const char *sc_session_hint(const session_t *s)
{
    const sc_httpd_t *h = sc_httpd();
    const sc_config_t *config;
    apr_uint16_t context;
    sc_record_t rec;

    if (!h->store || !h->board || !s->route || !*s->route) {
        return "";
    }
    config = &h->conf->engine;
    if (config->membership == SC_MEMBERSHIP_NONE) {
        return "";
    }
    if (config->manager != SC_MANAGER_BACKUP) {
        return is_fit(s->hint) && strcmp(s->hint, s->route) != 0 ? s->hint : by_placement(s);
    }
    if (sc_store_context(h->store, s->context, strlen(s->context), 0, &context) != APR_SUCCESS ||
        sc_store_locate(h->store, context, &s->id, &rec) != APR_SUCCESS ||
        (rec.flags & SC_REC_TOMBSTONE)) {
        return "";
    }
    return recorded(s, &rec);
}
