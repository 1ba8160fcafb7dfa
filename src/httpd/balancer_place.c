/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which worker takes a session over when that of its route cannot be used. Every front end must
 * decide alike, so only facts that all of them share count (and the configuration, which is the
 * administrator's to keep alike):
 *
 *  1. the location that the nodes have told: the primary, if another has become it since the cookie
 *     was written, then the backups in their order (backup manager; from shared memory, without a
 *     lock and without asking anybody)
 *  2. what the cookie says: the further routes of a ranked id, the hint. It is the client's, so it
 *     chooses a worker, as the route in it does, and nothing else
 *  3. the order in which the nodes choose backups (sc_placement_backups): over the live members of
 *     the view, with their domains; over nodes or over Tomcats, of which the cookie's is one
 *  4. the order of sc_placement.h over the workers' routes, for those that the view does not know,
 *     and where there is no view at all
 *
 * Before all of these stands what an administrator says: spares and standbys, lbset, draining; and
 * whether the member serves sessions at all.
 */

#include "balancer.h"
#include "sc_placement.h"

#include <stddef.h>

#include "apr_lib.h"

APLOG_USE_MODULE(session_cluster);

/** Longest id of any application that is taken for one. */
#define ID_MAX 256
/** So many entries are looked at from a table's end. */
#define NEWEST 8

/* ---- the session of a request ---------------------------------------------------------------- */

/* The value of a parameter in the URL: "name=value" anywhere. Where the search goes on behind a
 * name without a value is mod_proxy_balancer's way here and below: both must mean the same session.
 */
static const char *path_value(const char *url, const char *name, int semicolon, apr_size_t *len)
{
    const char *delimiters = semicolon ? ";?&" : "?&";
    const char *at = strstr(url, name);

    while (at) {
        at += strlen(name);
        if (at[0] == '=' && at[1]) {
            at++;
            at += strspn(at, delimiters);
            *len = strcspn(at, delimiters);
            return at[0] ? at : NULL;
        }
        at = at[0] ? strstr(at + 1, name) : NULL;
    }
    return NULL;
}

static const char *cookie_value(const char *cookies, const char *name, apr_size_t *len)
{
    const char *at = strstr(cookies, name);

    while (at) {
        if (at == cookies || at[-1] == ';' || at[-1] == ',' || apr_isspace(at[-1])) {
            at += strlen(name);
            while (apr_isspace(at[0])) {
                at++;
            }
            if (at[0] == '=' && at[1]) {
                at++;
                *len = strcspn(at, ";,");
                return at;
            }
            at += at[0] ? 1 : 0;
        }
        at = at[0] ? strstr(at + 1, name) : NULL;
    }
    return NULL;
}

/* Our own cookies may carry a hint behind the id: 32 hex digits, "-", hint. Others' ids stay as
 * they are. */
static void take_hint(ticket_t *t, apr_pool_t *p)
{
    t->hint = "";
    if (t->id_len <= SC_ID_HEX || t->id[SC_ID_HEX] != '-') {
        return;
    }
    for (apr_size_t i = 0; i < SC_ID_HEX; i++) {
        if (!apr_isxdigit(t->id[i])) {
            return;
        }
    }
    t->hint = apr_pstrmemdup(p, t->id + SC_ID_HEX + 1, t->id_len - SC_ID_HEX - 1);
    t->id_len = SC_ID_HEX;
    t->ours = sc_id_parse(&t->key, t->id, t->id_len) == APR_SUCCESS;
}

/* WildFly's ranked ids: "ID.node1.node2.node3", best first. */
static void take_ranked(ticket_t *t, apr_pool_t *p)
{
    const char *delimiter = sc_httpd()->conf->ranked_delimiter;
    const char *at = t->route;

    if (!at || !delimiter[0] || delimiter[1] || !strchr(at, delimiter[0])) {
        return;
    }
    while (at && t->nranked < SC_RANKED_MAX) {
        const char *end = strchr(at, delimiter[0]);
        apr_size_t len = end ? (apr_size_t)(end - at) : strlen(at);

        if (len > 0) {
            t->ranked[t->nranked++] = apr_pstrmemdup(p, at, len);
        }
        at = end ? end + 1 : NULL;
    }
}

static int is_id_char(char c)
{
    char lower = (char)(c | 0x20);

    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z') ||
           strchr("-_.~+/=:!*@$", c) != NULL;
}

/* Ids of all applications are of letters, digits and a few signs, and not long. */
static int is_plausible(const ticket_t *t)
{
    if (t->id_len > ID_MAX) {
        return 0;
    }
    for (apr_size_t i = 0; i < t->id_len; i++) {
        if (!is_id_char(t->id[i])) {
            return 0;
        }
    }
    return 1;
}

int sc_ticket_take(ticket_t *t, const proxy_balancer_shared *s, request_rec *r, const char *url)
{
    const char *cookies, *value = NULL, *dot = NULL;
    apr_size_t len = 0;

    t->id = t->route = t->hint = NULL;
    t->id_len = 0;
    t->ours = t->foul = t->nranked = 0;
    if (!s->sticky[0]) {
        return 0;
    }
    if (s->sticky_path[0]) {
        value = path_value(url, s->sticky_path, s->scolonsep, &len);
    }
    if (!value) {
        cookies = apr_table_get(r->headers_in, "Cookie");
        value = cookies ? cookie_value(cookies, s->sticky, &len) : NULL;
    }
    if (!value) {
        return 0;
    }
    t->id = value;
    t->id_len = len;
    t->route = value;
    if (s->sticky_separator) {
        dot = memchr(value, s->sticky_separator, len);
        t->id_len = dot ? (apr_size_t)(dot - value) : len;
        t->route = dot ? dot + 1 : NULL;
    }
    t->ours = sc_id_parse(&t->key, t->id, t->id_len) == APR_SUCCESS;
    if (!t->ours && !is_plausible(t)) {
        t->id = t->route = NULL;
        t->id_len = 0;
        t->foul = 1;
        return 0;
    }
    if (t->route && value[len]) { /* most browsers have one cookie only, and the route ends it */
        t->route = apr_pstrmemdup(r->pool, t->route, (apr_size_t)(value + len - t->route));
    }
    take_hint(t, r->pool);
    take_ranked(t, r->pool);
    return 1;
}

static int has_route(const proxy_balancer *balancer, const char *route)
{
    for (int i = 0; i < balancer->workers->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(balancer->workers, i, proxy_worker *)->s->route, route) == 0) {
            return 1;
        }
    }
    return 0;
}

int sc_ticket_counts(const ticket_t *t, const proxy_balancer *balancer, attempts_t *a)
{
    const sc_view_t *view;
    int known = t->hint[0] && has_route(balancer, t->hint);

    for (int i = 0; !known && i < t->nranked; i++) {
        known = has_route(balancer, t->ranked[i]);
    }
    if (!known && t->route && t->route[0]) {
        known = has_route(balancer, t->route);
        view = known ? NULL : sc_attempts_view(a);
        known = known || (view && sc_standing(view, t->route, NULL) != STANDING_UNKNOWN);
    }
    return t->id_len && (known || t->ours);
}

/* ---- what a request has tried -----------------------------------------------------------------
 */

attempts_t *sc_attempts_made(const request_rec *r)
{
    return ap_get_module_config(r->request_config, &session_cluster_module);
}

attempts_t *sc_attempts(request_rec *r)
{
    attempts_t *a = sc_attempts_made(r);

    if (!a) {
        a = apr_palloc(r->pool, sizeof(*a));
        memset(a, 0, offsetof(attempts_t, ticket)); /* sc_ticket_take does the rest */
        a->r = r;
        ap_set_module_config(r->request_config, &session_cluster_module, a);
    }
    return a;
}

const ticket_t *sc_attempts_ticket(attempts_t *a, const proxy_balancer_shared *s)
{
    if (a->ticket_of != s) {
        a->ticket_ok = sc_ticket_take(&a->ticket, s, a->r, a->url);
        a->ticket_of = s;
    }
    return a->ticket_ok ? &a->ticket : NULL;
}

void sc_attempts_note(attempts_t *a, const proxy_worker *worker)
{
    if (a->chosen) {
        if (!a->tried) {
            a->tried = apr_array_make(a->r->pool, 4, sizeof(proxy_worker *));
        }
        APR_ARRAY_PUSH(a->tried, const proxy_worker *) = a->chosen;
    }
    a->chosen = worker;
}

int sc_was_tried(const attempts_t *a, const proxy_worker *worker)
{
    if (worker == a->chosen) {
        return 1;
    }
    for (int i = 0; a->tried && i < a->tried->nelts; i++) {
        if (APR_ARRAY_IDX(a->tried, i, const proxy_worker *) == worker) {
            return 1;
        }
    }
    return 0;
}

const sc_view_t *sc_attempts_view(attempts_t *a)
{
    const sc_board_t *board = sc_httpd()->board;

    if (!board) {
        return NULL;
    }
    if (!a->view) {
        a->view = apr_palloc(a->r->pool, sizeof(*a->view));
        a->have_view = sc_board_view(board, a->view) == APR_SUCCESS;
    }
    if (a->have_view) {
        for (apr_uint32_t i = 0; i < a->view->count; i++) {
            const sc_board_member_t *m = &a->view->member[i];
            if (m->role == SC_ROLE_NODE && !m->self && m->route[0]) {
                return a->view;
            }
        }
    }
    return NULL;
}

const char *sc_newest(const apr_table_t *table, const char *key)
{
    const apr_array_header_t *all = apr_table_elts(table);

    for (int i = all->nelts; i > 0 && i > all->nelts - NEWEST; i--) {
        const apr_table_entry_t *e = &APR_ARRAY_IDX(all, i - 1, const apr_table_entry_t);

        if (e->key[0] == key[0] && strcmp(e->key, key) == 0) {
            return e->val;
        }
    }
    return apr_table_get(table, key);
}

int sc_has_newest(const apr_table_t *table, const char *value)
{
    const apr_array_header_t *all = apr_table_elts(table);

    for (int i = all->nelts; i > 0 && i > all->nelts - NEWEST; i--) {
        if (APR_ARRAY_IDX(all, i - 1, const apr_table_entry_t).val == value) {
            return 1;
        }
    }
    return 0;
}

/* ---- the choice -------------------------------------------------------------------------------
 */

int sc_any_passing(void)
{
    static apr_uint64_t known; /* generation of the view, whether this is set, and the answer */
    const sc_board_t *board = sc_httpd()->board;
    apr_uint64_t was, is;

    if (!board) {
        return 0;
    }
    /* what is read of a view that changes meanwhile is kept for its generation, which is over */
    is = (apr_uint64_t)sc_board_view_gen(board) << 32 | 2;
    was = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if ((was & ~(apr_uint64_t)1) != is) {
        was = is | (apr_uint64_t)(sc_board_any_passing(board) != 0);
        __atomic_store_n(&known, was, __ATOMIC_RELAXED);
    }
    return (int)(was & 1);
}

standing_t sc_standing(const sc_view_t *view, const char *route, const sc_board_member_t **alive)
{
    standing_t best = STANDING_UNKNOWN;

    for (apr_uint32_t i = 0; i < view->count; i++) {
        const sc_board_member_t *m = &view->member[i];
        standing_t is;

        if (m->role != SC_ROLE_NODE || strcmp(m->route, route) != 0) {
            continue;
        }
        if (m->state == SC_MEMBER_GONE) {
            is = STANDING_GONE;
        } else {
            is = m->node_state == SC_NODE_READY      ? STANDING_GOOD
                 : m->node_state == SC_NODE_MINORITY ? STANDING_MINORITY
                                                     : STANDING_PASSING;
            if (alive && (!*alive || m->since > (*alive)->since)) {
                *alive = m;
            }
        }
        best = is > best ? is : best;
    }
    return best;
}

/* Which worker takes a session over, from the facts that all front ends share. */
typedef struct place_t {
    const sc_view_t *view; /**< NULL: none */
    const ticket_t *ticket;
    apr_uint64_t seed;
    const char *recorded[1 + SC_BACKUPS_MAX]; /**< routes: primary, backups; "": none */
    const char *order[SC_MEMBERS_MAX];        /**< routes as the nodes choose backups from them */
    apr_size_t norder;
    int stay; /**< only a member that has come to stay will do */
} place_t;

/* One worker's merits; smaller is better, the first difference decides. */
typedef struct merit_t {
    int preference; /**< what the configuration wants, and whether the member has come to stay */
    int ranked;     /**< place among the routes of a ranked id */
    int recorded;   /**< place in the session's location */
    int hinted;     /**< 0: the hint's */
    apr_size_t order;
    apr_uint64_t weight; /**< larger is better, see sc_placement_before */
} merit_t;

#define NOT_RECORDED (1 + SC_BACKUPS_MAX)

located_t sc_locate(const ticket_t *t, sc_record_t *rec)
{
    const sc_httpd_t *h = sc_httpd();
    located_t found = LOCATED_NOWHERE;

    if (!h->store || !t->ours) {
        return LOCATED_NOWHERE;
    }
    /* An id has one session in all but the strangest configurations; in those the first context
     * that knows it decides, everywhere. */
    for (apr_uint16_t i = 0; *sc_store_context_name(h->store, i); i++) {
        if (sc_store_locate(h->store, i, &t->key, rec) != APR_SUCCESS) {
            continue;
        }
        if (!(rec->flags & SC_REC_TOMBSTONE)) {
            return LOCATED_LIVE;
        }
        found = LOCATED_DEAD;
    }
    return found;
}

located_t sc_fate(const ticket_t *t)
{
    const sc_store_t *store = sc_httpd()->store;
    int ended;

    if (!store || !t->ours || sc_store_ended(store, &t->key, &ended) != APR_SUCCESS) {
        return LOCATED_NOWHERE;
    }
    return ended ? LOCATED_DEAD : LOCATED_LIVE;
}

/* Where the session is, as the nodes have told. With the delta manager every node has every session
 * and balancers are told nothing; a node that is also a balancer must not decide by what others
 * cannot know. */
static void find_recorded(place_t *p)
{
    const sc_httpd_t *h = sc_httpd();
    const sc_config_t *config = &h->conf->engine;
    sc_record_t rec;

    for (int i = 0; i < NOT_RECORDED; i++) {
        p->recorded[i] = "";
    }
    if ((config->role == SC_ROLE_NODE && config->manager != SC_MANAGER_BACKUP) ||
        sc_locate(p->ticket, &rec) != LOCATED_LIVE) {
        return;
    }
    p->recorded[0] = sc_store_route_name(h->store, rec.primary);
    for (int i = 0; i < SC_BACKUPS_MAX && rec.backups[i] != SC_ROUTE_NONE; i++) {
        p->recorded[1 + i] = sc_store_route_name(h->store, rec.backups[i]);
    }
}

/* The route of the node that has the session, as the cookie says; "": it says nothing. */
static const char *own_route(const ticket_t *t)
{
    return t->nranked > 0 ? t->ranked[0] : t->route ? t->route : "";
}

/* The member that the cookie names: the newest one of that route, dead or not. */
static const sc_board_member_t *named(const place_t *p, const char *route)
{
    const sc_board_member_t *found = NULL;

    for (apr_uint32_t i = 0; p->view && i < p->view->count; i++) {
        const sc_board_member_t *m = &p->view->member[i];

        if (m->role == SC_ROLE_NODE && m->route[0] && strcmp(m->route, route) == 0 &&
            (!found || m->since > found->since)) {
            found = m;
        }
    }
    return found;
}

/* In which order the nodes would choose backups for the session if the cookie's node was its
 * primary; so the first of these is where the backup is when nothing has been told of it. A
 * balancer may follow nodes and Tomcats: neither know the others, nor have their sessions. */
static void find_order(place_t *p)
{
    const char *route = own_route(p->ticket);
    const sc_board_member_t *own = named(p, route);
    sc_candidate_t primary = {route, own ? own->domain : ""}; /* its rack counts */
    sc_candidate_t c[SC_MEMBERS_MAX];
    apr_size_t chosen[SC_MEMBERS_MAX];
    apr_size_t n = 0;

    for (apr_uint32_t i = 0; p->view && i < p->view->count && i < SC_MEMBERS_MAX; i++) {
        const sc_board_member_t *m = &p->view->member[i];

        if (m->role == SC_ROLE_NODE && m->route[0] && strcmp(m->route, route) != 0 &&
            m->state != SC_MEMBER_GONE && m->node_state == SC_NODE_READY &&
            !(m->flags & SC_MEMBER_NO_BACKUPS) && (!own || m->foreign == own->foreign)) {
            c[n].route = m->route;
            c[n++].domain = m->domain;
        }
    }
    p->norder = sc_placement_backups(p->seed, &primary, c, n, n, chosen);
    for (apr_size_t i = 0; i < p->norder; i++) {
        p->order[i] = c[chosen[i]].route;
    }
}

/* What the configuration and the view prefer, before the session is looked at: workers in service
 * before spares before standbys, a lower lbset, a member that has all sessions and is not about to
 * leave; last a worker that no member of the view belongs to. @return -1: not at all */
static int preference(const proxy_worker *worker, const place_t *p, int recorded)
{
    const sc_board_member_t *alive = NULL;
    standing_t is = p->view ? sc_standing(p->view, worker->s->route, &alive) : STANDING_GOOD;
    int reserve = PROXY_WORKER_IS_STANDBY(worker) ? 2 : PROXY_WORKER_IS_SPARE(worker) ? 1 : 0;
    int passing = is == STANDING_UNKNOWN ? 2 : is != STANDING_GOOD;

    if (is == STANDING_GONE || is == STANDING_MINORITY || PROXY_WORKER_IS_DRAINING(worker)) {
        return -1;
    }
    if (recorded < NOT_RECORDED && alive && alive->node_state == SC_NODE_JOINING) {
        passing = 0; /* this one it has */
    }
    if (p->stay && passing) {
        return -1;
    }
    return reserve << 17 | (worker->s->lbset & 0x7fff) << 2 | passing;
}

static int place_in(const char *const *list, int n, const char *route)
{
    int i = 0;

    while (i < n && strcmp(list[i], route) != 0) {
        i++;
    }
    return i;
}

/* @return 0: not at all */
static int weigh(const place_t *p, const proxy_worker *w, merit_t *m)
{
    const char *route = w->s->route;

    m->ranked = place_in(p->ticket->ranked, p->ticket->nranked, route);
    m->recorded = place_in(p->recorded, NOT_RECORDED, route);
    m->hinted = !p->ticket->hint || strcmp(p->ticket->hint, route) != 0;
    m->preference = preference(w, p, m->recorded);
    m->order = (apr_size_t)place_in(p->order, (int)p->norder, route);
    m->weight = sc_placement_weight(p->seed, route);
    return m->preference >= 0;
}

static int is_better(const merit_t *a, const char *aroute, const merit_t *b, const char *broute)
{
    if (a->preference != b->preference) {
        return a->preference < b->preference;
    }
    if (a->ranked != b->ranked) {
        return a->ranked < b->ranked;
    }
    if (a->recorded != b->recorded) {
        return a->recorded < b->recorded;
    }
    if (a->hinted != b->hinted) {
        return a->hinted < b->hinted;
    }
    if (a->order != b->order) {
        return a->order < b->order;
    }
    return sc_placement_before(a->weight, aroute, b->weight, broute);
}

static choice_t reason(const merit_t *m, const ticket_t *t)
{
    return m->ranked < t->nranked       ? CHOICE_RANKED
           : m->recorded == 0           ? CHOICE_PRIMARY
           : m->recorded < NOT_RECORDED ? CHOICE_BACKUP
           : !m->hinted                 ? CHOICE_HINT
                                        : CHOICE_PLACEMENT;
}

proxy_worker *sc_place(proxy_balancer *balancer, attempts_t *a, const ticket_t *t,
                       retry_worker_t *retry, choice_t *how)
{
    place_t p = {0};
    merit_t best_merit = {0}, m;
    proxy_worker *best = NULL;
    const char *own = own_route(t);

    p.view = sc_attempts_view(a);
    p.ticket = t;
    p.stay = a->away == AWAY_LEAVING;
    p.seed = sc_placement_seed(t->id, t->id_len);
    find_recorded(&p);
    find_order(&p);
    for (int i = 0; i < balancer->workers->nelts; i++) {
        proxy_worker *w = APR_ARRAY_IDX(balancer->workers, i, proxy_worker *);

        if (!w->s->route[0] || strcmp(w->s->route, own) == 0 || sc_was_tried(a, w) ||
            !weigh(&p, w, &m)) {
            continue;
        }
        if (!PROXY_WORKER_IS_USABLE(w) && retry) {
            (void)retry("BALANCER", w, a->r->server); /* its time of punishment may be over */
        }
        if (PROXY_WORKER_IS_USABLE(w) &&
            (!best || is_better(&m, w->s->route, &best_merit, best->s->route))) {
            best = w;
            best_merit = m;
        }
    }
    if (best) {
        *how = reason(&best_merit, t);
    }
    return best;
}

/* @param route not "" */
static proxy_worker *worker_of(proxy_worker *const *workers, int n, const char *route)
{
    for (int standby = 0; standby < 2; standby++) {
        for (int i = 0; i < n; i++) {
            proxy_worker *w = workers[i];

            if (w->s->route[0] == route[0] && !PROXY_WORKER_IS_STANDBY(w) == !standby &&
                strcmp(w->s->route, route) == 0 && PROXY_WORKER_IS_USABLE(w)) {
                return w;
            }
        }
    }
    return NULL;
}

proxy_worker *sc_route_worker(const proxy_balancer *balancer, const char *route)
{
    return worker_of((proxy_worker *const *)(const void *)balancer->workers->elts,
                     route[0] ? balancer->workers->nelts : 0, route);
}

proxy_worker *sc_route_worker_unlocked(proxy_balancer *balancer, const char *route)
{
    const apr_array_header_t *all = balancer->workers;
    int configured = balancer->max_workers - balancer->growth;
    proxy_worker *found = NULL;

    if (__atomic_load_n(&all->nelts, __ATOMIC_ACQUIRE) == configured) {
        const void *workers = __atomic_load_n(&all->elts, __ATOMIC_ACQUIRE);

        return worker_of((proxy_worker *const *)workers, route[0] ? configured : 0, route);
    }
    if (PROXY_THREAD_LOCK(balancer) == APR_SUCCESS) {
        found = sc_route_worker(balancer, route);
        (void)PROXY_THREAD_UNLOCK(balancer);
    }
    return found;
}
