/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Who holds a session: with the delta manager everybody, with the backup manager the members that
 * its record names.
 *
 * This is asked for each record of a scan. So the peer of a route stands in a small table, made
 * anew when members come and go.
 */
#include <string.h>

#include "internal.h"
#include "sc_placement.h"

/* ---- routes and peers ------------------------------------------------------------------------ */

/* Of two members with one route, a former life and a new one, the later one counts. */
void sc_layout_review(sc_manager_t *m)
{
    int i;

    memset(m->place_of, 0, sizeof(m->place_of));
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];
        apr_byte_t *place = &m->place_of[peer->route];

        if (peer->serial != 0 && peer->route != SC_ROUTE_NONE &&
            (*place == 0 || m->peer[*place - 1].serial < peer->serial)) {
            *place = (apr_byte_t)(i + 1);
        }
    }
}

sc_peer_t *sc_layout_peer(sc_manager_t *m, apr_uint16_t route)
{
    apr_byte_t place = route < SC_ROUTES_MAX ? m->place_of[route] : 0;

    return place != 0 ? &m->peer[place - 1] : NULL;
}

int sc_layout_here(const sc_manager_t *m, const sc_record_t *rec)
{
    return !sc_mgr_is_backup(m) || sc_record_holder(rec, m->own_route) != SC_HOLDER_NONE;
}

int sc_layout_at(const sc_manager_t *m, const sc_record_t *rec, const sc_peer_t *peer)
{
    return !sc_mgr_is_backup(m) || sc_record_holder(rec, peer->route) != SC_HOLDER_NONE;
}

/* Whether a peer is worth waiting for: it answers, or may still read. */
static int is_there(const sc_manager_t *m, const sc_peer_t *peer)
{
    return !sc_lease_mute(m, peer) || sc_lease_may_read(m, peer);
}

int sc_layout_usable(sc_manager_t *m, apr_uint16_t route)
{
    const sc_peer_t *peer = sc_layout_peer(m, route);

    if (route == m->own_route) {
        return route != SC_ROUTE_NONE;
    }
    return peer != NULL && is_there(m, peer);
}

/* A member that is joining has not got its copies yet: it decides nothing. */
static int may_own(sc_manager_t *m, apr_uint16_t route)
{
    const sc_peer_t *peer = sc_layout_peer(m, route);

    if (route == m->own_route) {
        return m->state >= SC_NODE_READY;
    }
    return peer != NULL && is_there(m, peer) && peer->member.node_state >= SC_NODE_READY;
}

apr_uint16_t sc_layout_owner(sc_manager_t *m, const sc_record_t *rec)
{
    int i;

    if (rec->primary != SC_ROUTE_NONE && may_own(m, rec->primary)) {
        return rec->primary;
    }
    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        if (may_own(m, rec->backups[i])) {
            return rec->backups[i];
        }
    }
    return SC_ROUTE_NONE;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static int may_hold(const sc_manager_t *m, const sc_peer_t *peer, apr_uint16_t context)
{
    return peer->route != SC_ROUTE_NONE && sc_node_complete(peer->member.node_state) &&
           !(peer->member.flags & SC_MEMBER_NO_BACKUPS) && !(peer->lacks >> context & 1) &&
           !sc_lease_mute(m, peer);
}

typedef struct candidates_t {
    apr_size_t n;
    sc_candidate_t c[SC_MEMBERS_MAX + 1];
    apr_uint16_t route[SC_MEMBERS_MAX + 1];
} candidates_t;

static void add(sc_manager_t *m, candidates_t *all, apr_uint16_t route, const char *domain)
{
    all->route[all->n] = route;
    all->c[all->n].route = sc_store_route_name(m->store, route);
    all->c[all->n].domain = domain;
    all->n++;
}

/* Members that may hold backups of a context's sessions now; the primary is none of them.
 * @param without places of those that are left out */
static void find_candidates(sc_manager_t *m, apr_uint16_t context, apr_uint16_t primary,
                            apr_uint64_t without, candidates_t *all)
{
    apr_uint32_t i;

    all->n = 0;
    if (m->own_route != primary && m->own_route != SC_ROUTE_NONE && !m->leaving && !m->stopped &&
        m->state == SC_NODE_READY && !m->config->backup.no_hold) {
        add(m, all, m->own_route, m->config->mcast.domain);
    }
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        const sc_peer_t *peer = &m->peer[i];

        if (peer->serial != 0 && peer->route != primary && m->place_of[peer->route] == i + 1 &&
            !(without >> i & 1) && may_hold(m, peer, context)) {
            add(m, all, peer->route, peer->domain);
        }
    }
}

static const char *domain_of(sc_manager_t *m, apr_uint16_t route)
{
    const sc_peer_t *peer = sc_layout_peer(m, route);

    return route == m->own_route ? m->config->mcast.domain : peer != NULL ? peer->domain : "";
}

static apr_size_t by_rendezvous(sc_manager_t *m, const sc_id_t *id, apr_uint16_t primary,
                                const candidates_t *all, apr_uint16_t *backups)
{
    apr_size_t chosen[SC_BACKUPS_MAX];
    char hex[SC_ID_HEX + 1];
    sc_candidate_t first;
    apr_size_t n, i;

    first.route = sc_store_route_name(m->store, primary);
    first.domain = domain_of(m, primary);
    sc_id_format(id, hex);
    n = sc_placement_backups(sc_placement_seed(hex, SC_ID_HEX), &first, all->c, all->n,
                             m->config->backup.backups, chosen);
    for (i = 0; i < n; i++) {
        backups[i] = all->route[chosen[i]];
    }
    return n;
}

static int holds(const apr_uint16_t *backups, apr_size_t n, apr_uint16_t route)
{
    apr_size_t i;

    for (i = 0; i < n; i++) {
        if (backups[i] == route) {
            return 1;
        }
    }
    return 0;
}

/* Those that are not among the n there are, one after the other. */
static apr_size_t by_turns(sc_manager_t *m, const candidates_t *all, apr_uint16_t *backups,
                           apr_size_t n)
{
    apr_size_t tried;

    for (tried = 0; tried < all->n && n < m->config->backup.backups; tried++) {
        apr_uint16_t route = all->route[m->turn++ % all->n];

        if (!holds(backups, n, route)) {
            backups[n++] = route;
        }
    }
    return n;
}

/* @param keep backups that the session has */
static apr_size_t choose(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                         apr_uint16_t primary, const apr_uint16_t *keep, apr_uint64_t without,
                         apr_uint16_t *backups)
{
    candidates_t all;
    apr_size_t n = 0, i;

    memset(backups, 0, SC_BACKUPS_MAX * sizeof(*backups));
    find_candidates(m, context, primary, without, &all);
    if (m->config->backup.select == SC_SELECT_RENDEZVOUS) {
        return by_rendezvous(m, id, primary, &all, backups);
    }
    for (i = 0; keep != NULL && i < SC_BACKUPS_MAX && n < m->config->backup.backups; i++) {
        if (holds(all.route, all.n, keep[i]) && !holds(backups, n, keep[i])) {
            backups[n++] = keep[i];
        }
    }
    return by_turns(m, &all, backups, n);
}

apr_size_t sc_layout_choose(sc_manager_t *m, apr_uint16_t context, const sc_id_t *id,
                            apr_uint16_t primary, apr_uint16_t *backups)
{
    return choose(m, context, id, primary, NULL, 0, backups);
}

int sc_layout_want(sc_manager_t *m, const sc_record_t *rec, apr_uint64_t without, sc_record_t *want)
{
    const sc_peer_t *primary = sc_layout_peer(m, rec->primary);

    *want = *rec;
    if (!sc_layout_usable(m, rec->primary) ||
        (primary != NULL && (without >> (primary - m->peer) & 1))) {
        want->primary = m->own_route;
    }
    (void)choose(m, rec->context, &rec->id, want->primary, rec->backups, without, want->backups);
    want->epoch = rec->epoch + 1;
    return want->primary != rec->primary ||
           memcmp(want->backups, rec->backups, sizeof(want->backups)) != 0;
}

apr_size_t sc_layout_possible(sc_manager_t *m, apr_uint16_t context, apr_uint16_t primary)
{
    candidates_t all;

    find_candidates(m, context, primary, 0, &all);
    return all.n;
}

apr_size_t sc_layout_live(sc_manager_t *m, const sc_record_t *rec)
{
    apr_size_t n = 0;
    int i;

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        const sc_peer_t *peer = sc_layout_peer(m, rec->backups[i]);

        n += rec->backups[i] == m->own_route || (peer != NULL && may_hold(m, peer, rec->context));
    }
    return n;
}

apr_status_t sc_layout_set(sc_manager_t *m, const sc_record_t *to)
{
    apr_size_t n = 0;

    while (n < SC_BACKUPS_MAX && to->backups[n] != SC_ROUTE_NONE) {
        n++;
    }
    return sc_store_set_location(m->store, to->context, &to->id, to->primary, to->backups, n,
                                 to->epoch);
}

/* ---- order ----------------------------------------------------------------------------------- */

static int name_cmp(const sc_manager_t *m, apr_uint16_t a, apr_uint16_t b)
{
    return a == b ? 0 : strcmp(sc_store_route_name(m->store, a), sc_store_route_name(m->store, b));
}

int sc_layout_cmp(const sc_manager_t *m, const sc_record_t *a, const sc_record_t *b)
{
    int c, i;

    if (a->epoch != b->epoch) {
        return a->epoch < b->epoch ? -1 : 1;
    }
    c = name_cmp(m, a->primary, b->primary);
    for (i = 0; i < SC_BACKUPS_MAX && c == 0; i++) {
        c = name_cmp(m, a->backups[i], b->backups[i]);
        if (a->backups[i] == SC_ROUTE_NONE && b->backups[i] == SC_ROUTE_NONE) {
            break;
        }
    }
    return c;
}
