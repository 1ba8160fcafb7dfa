/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The balancer's side: lbmethod "bysession" for mod_proxy_balancer, and the states of its workers.
 *
 * mod_proxy_balancer sends a session to the worker of its route by itself. It asks an lbmethod only
 * when that worker cannot be used, or when there is no route, also on the second attempt of one
 * request. So the method has one thing to decide, which member takes over a session, and every
 * front end must decide alike: see balancer_place.c. A request without a session goes to an
 * ordinary method (SessionClusterBalancerMethod), which is shown no member that is about to leave
 * or has only just come, as long as there are others. Which sessions mod_proxy_balancer is kept
 * from sending to the worker of their route: balancer_away.c.
 *
 * The finder runs with the balancer's mutex held: it reads memory, never waits, never does I/O.
 *
 * Workers of members that are gone, or that refuse sessions because they are too few for
 * SessionClusterQuorum, are marked down (health check failed, "C" in balancer-manager:
 * the only state that mod_proxy never lifts by itself), and up again when the member is back. Every
 * child does this when the view on the noticeboard has changed, because the workers' shared memory
 * is made anew at each restart and the engine, which outlives restarts, does not see it. The marks
 * are single atomic operations and say the same whoever sets them, so children need not agree on
 * who does it; what mod_proxy's own unlocked updates overwrite is repaired by the next walk.
 * When a balancer would be left without any member that serves, nothing is marked: then it is more
 * likely that this httpd lost the cluster's network than that all nodes died at once, and if they
 * did, trying them costs no more than refusing.
 *
 * No symbol of mod_proxy is needed to load this module: its structures are reached through httpd's
 * list of modules, its functions are optional ones or weak references (balancer_members.c).
 */

#include "balancer.h"

#include "ap_provider.h"

APLOG_USE_MODULE(session_cluster);

#pragma weak proxy_hook_pre_request

#define METHOD BYSESSION
#define BALANCER_URL "proxy:" BALANCER_PREFIX
/** The states of workers are looked over at least this often, whatever the view says. */
#define WALK_INTERVAL apr_time_from_sec(10)
/** The engine writes the view once a second; one that has not for so long is not believed. */
#define VIEW_AGE_MAX apr_time_from_sec(15)

#define STATES_BY_ADMIN (PROXY_WORKER_IN_SHUTDOWN | PROXY_WORKER_DISABLED | PROXY_WORKER_STOPPED)

/** One of these per configuration; each child works on its own copy. */
typedef struct balancer_side_t {
    proxy_balancer_method method; /**< what mod_proxy knows; its context is this object */
    proxy_balancer_method *inner; /**< for requests without a session */
    module *proxy;                /**< mod_proxy; NULL: not loaded */
    server_rec *server;           /**< main server */
    retry_worker_t *retry;
    APR_OPTIONAL_FN_TYPE(proxy_balancer_get_best_worker) * best;
    sc_members_t *members;   /**< balancers of SessionClusterMembers; NULL: none */
    apr_uint32_t walked_gen; /**< the view that workers' states were set from */
    apr_time_t next_walk;    /**< look again then; 0: not yet done in this child */
    apr_uint32_t walking;    /**< 1: a thread does it now */
} balancer_side_t;

/* ---- the method -------------------------------------------------------------------------------
 */

/* A worker chosen here counts for the inner method as one that it has chosen itself. */
static void account(const proxy_balancer_method *inner, proxy_balancer *balancer,
                    proxy_worker *chosen, server_rec *s)
{
    int sum = 0;

    if (inner && inner->updatelbstatus) {
        (void)inner->updatelbstatus(balancer, chosen, s);
        return;
    }
    for (int i = 0; i < balancer->workers->nelts; i++) {
        proxy_worker *w = APR_ARRAY_IDX(balancer->workers, i, proxy_worker *);
        if (PROXY_WORKER_IS_USABLE(w)) {
            w->s->lbstatus += w->s->lbfactor;
            sum += w->s->lbfactor;
        }
    }
    chosen->s->lbstatus -= sum;
}

/* Stands in for the inner method when it is not there: least busy for its share. */
static int less_busy(proxy_worker *current, proxy_worker *best, void *baton)
{
    (void)baton;
    return !best || current->s->busy * (apr_size_t)best->s->lbfactor <
                        best->s->busy * (apr_size_t)current->s->lbfactor;
}

static proxy_worker *ask_inner(balancer_side_t *side, proxy_balancer *balancer, request_rec *r)
{
    if (side->inner) {
        return side->inner->finder(balancer, r);
    }
    return side->best ? side->best(balancer, r, less_busy, NULL) : NULL;
}

static int is_passing(apr_uint32_t state)
{
    return state == SC_NODE_JOINING || sc_node_going(state);
}

/* The same balancer with some of its workers only: those whose members do not announce a state of
 * some kind. */
static proxy_worker *ask_without(balancer_side_t *side, proxy_balancer *balancer, request_rec *r,
                                 int (*is_kind)(apr_uint32_t state))
{
    const sc_board_t *board = sc_httpd()->board;
    proxy_balancer some = *balancer;

    some.lbmethod = side->inner ? side->inner : some.lbmethod;
    some.workers = apr_array_make(r->pool, balancer->workers->nelts, sizeof(proxy_worker *));
    for (int i = 0; i < balancer->workers->nelts; i++) {
        proxy_worker *w = APR_ARRAY_IDX(balancer->workers, i, proxy_worker *);
        apr_uint32_t state = sc_board_route_state(board, w->s->route, strlen(w->s->route));

        if (!is_kind(state)) {
            APR_ARRAY_PUSH(some.workers, proxy_worker *) = w;
        }
    }
    return some.workers->nelts ? ask_inner(side, &some, r) : NULL;
}

static proxy_worker *by_inner(balancer_side_t *side, proxy_balancer *balancer, request_rec *r)
{
    proxy_worker *chosen = NULL;

    if (sc_any_passing()) {
        chosen = ask_without(side, balancer, r, is_passing);
        chosen = chosen ? chosen : ask_without(side, balancer, r, sc_node_going);
    }
    return chosen ? chosen : ask_inner(side, balancer, r);
}

static void note_failover(request_rec *r, const ticket_t *t, const proxy_worker *w, choice_t how)
{
    const char *from = t->nranked > 0 ? t->ranked[0] : t->route;

    if (!from || !from[0] || strcmp(from, w->s->route) == 0 || how == CHOICE_GONE) {
        return; /* what has ended moves nowhere */
    }
    from = sc_printable(r->pool, from);
    apr_table_setn(r->subprocess_env, "SESSION_CLUSTER_FAILOVER",
                   apr_pstrcat(r->pool, from, ">", w->s->route, NULL));
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "SC0701: session %s of route %s goes to %s (%s)",
                  sc_ticket_masked(t, r->pool), from, w->s->route, sc_choice_name(how));
}

/* mod_proxy_balancer notes the route that it has found; this is for the one that it did not see. */
static void note_route(request_rec *r, const proxy_balancer *balancer, const ticket_t *t)
{
    apr_table_setn(r->notes, "session-sticky", balancer->s->sticky);
    apr_table_setn(r->notes, "session-route", t->route);
    apr_table_setn(r->subprocess_env, "BALANCER_SESSION_STICKY", balancer->s->sticky);
    apr_table_setn(r->subprocess_env, "BALANCER_SESSION_ROUTE", t->route);
}

/* The worker of a route, when it can be used: after its time of punishment is over, too.
 * @param redirect receives where the configuration sends the route's sessions otherwise, "":
 * nowhere
 * @param member receives whether there is one at all; both may be NULL */
static proxy_worker *by_route(const balancer_side_t *side, const proxy_balancer *balancer,
                              const char *route, request_rec *r, const char **redirect, int *member)
{
    for (int i = 0; i < balancer->workers->nelts; i++) {
        proxy_worker *w = APR_ARRAY_IDX(balancer->workers, i, proxy_worker *);

        if (!w->s->route[0] || strcmp(w->s->route, route) != 0) {
            continue;
        }
        if (member) {
            *member = 1;
        }
        if (redirect && w->s->redirect[0]) {
            *redirect = w->s->redirect;
        }
        if (!PROXY_WORKER_IS_USABLE(w) && side->retry) {
            (void)side->retry("BALANCER", w, r->server);
        }
    }
    return sc_route_worker(balancer, route);
}

static int is_new(const char *route)
{
    const sc_board_t *board = sc_httpd()->board;

    return board && sc_board_route_state(board, route, strlen(route)) == SC_NODE_JOINING;
}

/* @param forced set when nobody else may be chosen: nofailover=On. For a route that it knows
 *        mod_proxy_balancer sees to that itself, but a ranked one it does not know */
static proxy_worker *for_session(balancer_side_t *side, proxy_balancer *balancer, attempts_t *a,
                                 const ticket_t *t, choice_t *how, int *forced)
{
    const char *route = t->nranked > 0 ? t->ranked[0] : t->route;
    proxy_worker *chosen, *own = NULL;
    const char *redirect = "";
    int member = 0;

    *how = CHOICE_ROUTE;
    if (a->away == AWAY_LEAVING || t->nranked > 0) {
        /* what mod_proxy_balancer does with a route that it sees and knows */
        own = by_route(side, balancer, route, a->r, &redirect, &member);
        if (own && PROXY_WORKER_IS_DRAINING(own) && !balancer->s->sticky_force) {
            a->away = AWAY_LEAVING;
        }
        own = sc_was_tried(a, own) ? NULL : own;
        if (own && a->away == AWAY_NOT) {
            return own;
        }
        chosen = *redirect && !is_new(route) ? by_route(side, balancer, redirect, a->r, NULL, NULL)
                                             : NULL;
        if (chosen && !sc_was_tried(a, chosen)) {
            return chosen;
        }
    }
    if (member && !own && balancer->s->sticky_force) {
        *forced = 1;
        return NULL;
    }
    chosen = sc_place(balancer, a, t, side->retry, how);
    if (!chosen && own) {
        *how = CHOICE_ROUTE;
        chosen = own;
    }
    return chosen;
}

/* Another attempt of a request. */
static void begin(attempts_t *a)
{
    a->sent = 0;
    a->away = AWAY_NOT;
    a->likely = NULL;
    a->ticket_of = NULL;
}

static proxy_worker *finder(proxy_balancer *balancer, request_rec *r)
{
    balancer_side_t *side = balancer->lbmethod->context;
    attempts_t *a = sc_attempts(r);
    proxy_worker *chosen = NULL;
    int hidden = a->headers != NULL, forced = 0;
    choice_t how = CHOICE_INNER;
    const ticket_t *t;

    sc_away_end(a);
    if (!proxy_hook_pre_request || !a->balancer) {
        begin(a);
    }
    if (!a->url) {
        a->url = strncmp(r->filename, "proxy:", 6) == 0 ? r->filename + 6 : r->filename;
    }
    t = sc_attempts_ticket(a, balancer->s);
    /* An empty id (".n1": the usual recipe for backends without sessions of their own) says
     * nothing about the session: all of them would move to one node. */
    if (t && sc_ticket_counts(t, balancer, a)) {
        if (hidden) {
            note_route(r, balancer, t);
        }
        if (a->away == AWAY_GONE || sc_fate(t) == LOCATED_DEAD) {
            how = CHOICE_GONE;
        } else {
            chosen = for_session(side, balancer, a, t, &how, &forced);
        }
        if (chosen) {
            account(side->inner, balancer, chosen, r->server);
        } else if (how != CHOICE_GONE) {
            how = CHOICE_INNER;
        }
    }
    if (!chosen && !forced) {
        chosen = by_inner(side, balancer, r);
    }
    sc_choose(a, how);
    a->likely = chosen;
    if (chosen) {
        sc_attempts_note(a, chosen);
        if (t) {
            note_failover(r, t, chosen, how);
        }
    }
    return chosen;
}

/* ---- the states of workers --------------------------------------------------------------------
 */

/* Whether the engine is one to believe now. A frozen one, or one that has only just begun, must not
 * take workers out of service. */
static int engine_works(const sc_board_t *board)
{
    apr_uint32_t state = sc_board_get(board->node_state);

    return state == SC_NODE_JOINING || state == SC_NODE_READY || state == SC_NODE_MINORITY;
}

static int view_fresh(const sc_view_t *view, apr_time_t mono)
{
    apr_time_t newest = 0;

    for (apr_uint32_t i = 0; i < view->count; i++) {
        const sc_board_member_t *m = &view->member[i];
        if (m->state == SC_MEMBER_ALIVE && m->heard > newest) {
            newest = m->heard;
        }
    }
    return newest == 0 || mono - newest < VIEW_AGE_MAX;
}

/* Only workers whose state nobody else rules over: mod_proxy_hcheck has a mind of its own. */
static int ours_to_mark(const proxy_worker *w)
{
    return w->s->route[0] && w->s->method == NONE && PROXY_WORKER_IS_INITIALIZED(w);
}

static void mark_down(balancer_side_t *side, const proxy_balancer *b, proxy_worker *w,
                      standing_t is)
{
    unsigned int old = __atomic_fetch_or(&w->s->status, PROXY_WORKER_HC_FAIL, __ATOMIC_ACQ_REL);

    if (!(old & PROXY_WORKER_HC_FAIL)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, side->server,
                     is == STANDING_MINORITY
                         ? "SC0702: %s: member %s sees too few others (SessionClusterQuorum), its "
                           "worker gets no requests"
                         : "SC0702: %s: member %s is gone, its worker gets no requests",
                     b->s->name, w->s->route);
    }
}

/* An error that mod_proxy noted before the member came to life says nothing about it now; a later
 * one does, and is left to mod_proxy. */
static int error_is_older(const proxy_worker *w, const sc_board_member_t *m, apr_time_t mono)
{
    return m->state == SC_MEMBER_ALIVE && m->since &&
           apr_time_now() - w->s->error_time > mono - m->since;
}

static void mark_up(balancer_side_t *side, const proxy_balancer *b, proxy_worker *w,
                    const sc_board_member_t *m, apr_time_t mono)
{
    unsigned int status = __atomic_load_n(&w->s->status, __ATOMIC_ACQUIRE);
    unsigned int clear = status & PROXY_WORKER_HC_FAIL;

    if ((status & PROXY_WORKER_IN_ERROR) && m && (clear || error_is_older(w, m, mono))) {
        clear |= PROXY_WORKER_IN_ERROR;
    }
    if (!clear) {
        return;
    }
    status = __atomic_fetch_and(&w->s->status, ~clear, __ATOMIC_ACQ_REL);
    if (status & clear) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, side->server,
                     m ? "SC0703: %s: member %s is there, its worker gets requests again"
                       : "SC0704: %s: the view has no member left that serves; the worker of %s "
                         "is tried nevertheless",
                     b->s->name, w->s->route);
    }
}

/* Whether any member that serves this balancer is alive and takes sessions. */
static int any_alive(const balancer_side_t *side, const proxy_balancer *b, const sc_view_t *view)
{
    for (int i = 0; i < b->workers->nelts; i++) {
        const proxy_worker *w = APR_ARRAY_IDX(b->workers, i, const proxy_worker *);
        const sc_board_member_t *alive = NULL;

        if (w->s->route[0] && !(w->s->status & STATES_BY_ADMIN) &&
            sc_members_standing(side->members, b, w, view, &alive) >= STANDING_PASSING) {
            return 1;
        }
    }
    return 0;
}

static void mark_balancer(balancer_side_t *side, proxy_balancer *b, const sc_view_t *view,
                          apr_time_t mono)
{
    int some_alive;

    if (!b->s || PROXY_THREAD_LOCK(b) != APR_SUCCESS) {
        return; /* the next walk will do it */
    }
    some_alive = any_alive(side, b, view);
    for (int i = 0; i < b->workers->nelts; i++) {
        proxy_worker *w = APR_ARRAY_IDX(b->workers, i, proxy_worker *);
        const sc_board_member_t *alive = NULL;
        standing_t is;

        if (!ours_to_mark(w)) {
            continue;
        }
        is = sc_members_standing(side->members, b, w, view, &alive);
        switch (is) {
        case STANDING_UNKNOWN:
            break;
        case STANDING_GONE:
        case STANDING_MINORITY:
            if (some_alive) {
                mark_down(side, b, w, is);
            } else {
                mark_up(side, b, w, NULL, mono);
            }
            break;
        default:
            mark_up(side, b, w, alive, mono);
            break;
        }
    }
    (void)PROXY_THREAD_UNLOCK(b);
}

static void walk(balancer_side_t *side, const sc_view_t *view, apr_time_t mono)
{
    for (server_rec *s = side->server; s; s = s->next) {
        proxy_server_conf *conf = ap_get_module_config(s->module_config, side->proxy);

        for (int i = 0; conf && i < conf->balancers->nelts; i++) {
            mark_balancer(side, &APR_ARRAY_IDX(conf->balancers, i, proxy_balancer), view, mono);
        }
    }
}

/* Costs a request two loads as long as nothing has changed. */
static void refresh(balancer_side_t *side, request_rec *r)
{
    const sc_board_t *board = sc_httpd()->board;
    apr_uint32_t gen;
    apr_time_t mono;
    sc_view_t *view;

    if (!board || !side->proxy) {
        return;
    }
    gen = sc_board_view_gen(board);
    if (gen == __atomic_load_n(&side->walked_gen, __ATOMIC_RELAXED) &&
        r->request_time < __atomic_load_n(&side->next_walk, __ATOMIC_RELAXED)) {
        return;
    }
    if (!engine_works(board) || __atomic_exchange_n(&side->walking, 1, __ATOMIC_ACQUIRE)) {
        return;
    }
    view = apr_palloc(r->pool, sizeof(*view));
    if (sc_board_view(board, view) == APR_SUCCESS) {
        mono = sc_mono(&sc_clock_system);
        if (view_fresh(view, mono)) {
            sc_members_walk(side->members, view, mono, !r->main);
            walk(side, view, mono);
        }
        __atomic_store_n(&side->walked_gen, gen, __ATOMIC_RELAXED);
        __atomic_store_n(&side->next_walk, r->request_time + WALK_INTERVAL, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&side->walking, 0, __ATOMIC_RELEASE);
}

/* ---- hooks ------------------------------------------------------------------------------------
 */

/* mod_proxy compares without regard to case; almost always that makes no difference. */
static int begins_with(const char *text, const char *with, apr_size_t len)
{
    return strncmp(text, with, len) == 0 || ap_cstr_casecmpn(text, with, len) == 0;
}

/* Where mod_proxy will send the request, when that is a balancer: the URL that its handler will put
 * together. */
static const char *balancer_url(request_rec *r)
{
    const char *url = NULL;

    if (!r->filename) {
        return NULL;
    }
    if (!r->proxyreq && r->handler &&
        begins_with(r->handler, BALANCER_URL, sizeof(BALANCER_URL) - 1)) {
        url = apr_pstrcat(r->pool, r->handler + 6, r->filename, NULL);
    } else if (r->proxyreq && begins_with(r->filename, BALANCER_URL, sizeof(BALANCER_URL) - 1)) {
        url = r->filename + 6;
    }
    /* some releases of mod_proxy add the query here already, others later */
    if (url && r->args && !strchr(url, '?')) {
        url = apr_pstrcat(r->pool, url, "?", r->args, NULL);
    }
    return url;
}

static const proxy_balancer *bysession(const balancer_side_t *side, request_rec *r, const char *url)
{
    proxy_server_conf *conf = ap_get_module_config(r->server->module_config, side->proxy);

    for (int i = 0; conf && i < conf->balancers->nelts; i++) {
        const proxy_balancer *b = &APR_ARRAY_IDX(conf->balancers, i, const proxy_balancer);
        apr_size_t len = strlen(b->s->name);

        if (begins_with(url, b->s->name, len) &&
            (url[len] == '/' || url[len] == '?' || url[len] == '\0')) {
            return b->lbmethod == &side->method ? b : NULL;
        }
    }
    return NULL;
}

/* Before every handler, so also before mod_proxy's: states of workers are up to date when it looks
 * for one, and the URL is still as mod_proxy_balancer will search it in every attempt. */
static int before_handler(request_rec *r)
{
    balancer_side_t *side = ap_get_module_config(r->server->module_config, &session_cluster_module);
    const proxy_balancer *balancer;
    const char *url;
    attempts_t *a;

    if (!side || !side->proxy) {
        return DECLINED;
    }
    sc_members_sync(side->members);
    refresh(side, r);
    url = balancer_url(r);
    balancer = url ? bysession(side, r, url) : NULL;
    if (balancer) {
        a = sc_attempts(r);
        a->url = url;
        a->balancer = balancer;
        if (proxy_hook_pre_request) {
            a->choice = CHOICE_ROUTE;
        } else {
            sc_choose(a, CHOICE_ROUTE); /* so it stays unless the finder is asked */
        }
        if (sc_failure_any() && sc_outcome_refuse(a)) {
            return HTTP_BAD_GATEWAY;
        }
    }
    return DECLINED;
}

static balancer_side_t *side_get(void)
{
    proxy_balancer_method *method = ap_lookup_provider(PROXY_LBMETHOD, METHOD, "0");
    return method ? method->context : NULL;
}

static const char *inner_name(void)
{
    const sc_server_conf_t *conf = sc_httpd()->conf;
    return conf && conf->inner_method ? conf->inner_method : "byrequests";
}

static int anybody_uses(const balancer_side_t *side, server_rec *s, const module *proxy)
{
    for (; s; s = s->next) {
        proxy_server_conf *conf = ap_get_module_config(s->module_config, proxy);

        for (int i = 0; conf && i < conf->balancers->nelts; i++) {
            if (APR_ARRAY_IDX(conf->balancers, i, proxy_balancer).lbmethod == &side->method) {
                return 1;
            }
        }
    }
    return 0;
}

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    balancer_side_t *side = side_get();
    module *proxy = ap_find_linked_module("mod_proxy.c");
    const char *name = inner_name();

    (void)plog;
    (void)ptemp;
    if (strcmp(name, METHOD) == 0) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "SC0705: SessionClusterBalancerMethod names the method for requests without a "
                     "session and cannot be " METHOD " itself; byrequests, bytraffic or bybusyness "
                     "can");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (side && proxy && anybody_uses(side, s, proxy) &&
        !ap_lookup_provider(PROXY_LBMETHOD, name, "0")) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "SC0706: SessionClusterBalancerMethod %s: there is no such lbmethod; load "
                     "mod_lbmethod_%s or name one that is loaded",
                     name, name);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (side && proxy && anybody_uses(side, s, proxy) && !proxy_hook_pre_request) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, s,
            "SC0724: mod_proxy is loaded after this module: sessions stay with the node of "
            "their cookie, ended or not, until it is gone; move the LoadModule line of "
            "proxy_module before that of session_cluster_module");
    }
    return side ? sc_members_check(&side->members, proxy, s, pconf) : OK;
}

int sc_balancer_info(int i, const sc_view_t *view, sc_members_info_t *out)
{
    const balancer_side_t *side = side_get();

    return side ? sc_members_info(side->members, i, view, out) : 0;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    const balancer_side_t *side = side_get();

    if (side && side->proxy && anybody_uses(side, s, side->proxy)) {
        sc_wait_child_init(pchild, s);
    }
}

/* All modules are loaded now: find what is there of mod_proxy. */
static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    balancer_side_t *side = side_get();
    const sc_board_t *board;
    sc_view_t *view = NULL;

    (void)plog;
    if (!side) {
        return OK;
    }
    side->server = s;
    side->proxy = ap_find_linked_module("mod_proxy.c");
    side->retry = APR_RETRIEVE_OPTIONAL_FN(ap_proxy_retry_worker);
    if (side->proxy && anybody_uses(side, s, side->proxy) &&
        sc_balancer_memory_make(s) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "SC0723: no shared memory for counters and failures of this balancer");
    }
    side->best = APR_RETRIEVE_OPTIONAL_FN(proxy_balancer_get_best_worker);
    side->inner = ap_lookup_provider(PROXY_LBMETHOD, inner_name(), "0");
    if (side->inner) { /* NULL has a meaning for mod_proxy, so these are handed through as they are
                        */
        side->method.reset = side->inner->reset;
        side->method.age = side->inner->age;
        side->method.updatelbstatus = side->inner->updatelbstatus;
    }
    board = sc_httpd()->board;
    if (board && side->members) {
        view = apr_palloc(ptemp, sizeof(*view));
        view = sc_board_view(board, view) == APR_SUCCESS ? view : NULL;
    }
    sc_members_ready(side->members, view, pconf);
    /* where the hook finds it without a look-up; this module has no other use for the slot */
    for (; s; s = s->next) {
        ap_set_module_config(s->module_config, &session_cluster_module, side);
    }
    return OK;
}

/* By the shared name: a change of the method may be under way. */
static int is_shared_method(const proxy_balancer *b)
{
    _Static_assert(sizeof(METHOD) <= sizeof(b->s->lbpname), "a name is as long as it can be");
    return memcmp(b->s->lbpname, METHOD, sizeof(METHOD)) == 0;
}

/* Before each attempt of a request, first of all: that is later than before the handler when one
 * has failed. */
static int before_attempt(proxy_worker **worker, proxy_balancer **balancer, request_rec *r,
                          proxy_server_conf *conf, char **url)
{
    balancer_side_t *side = ap_get_module_config(r->server->module_config, &session_cluster_module);
    attempts_t *a = sc_attempts_made(r);
    const proxy_balancer *b = a ? a->balancer : NULL;

    (void)worker;
    (void)conf;
    if (side) {
        sc_members_sync(side->members);
    }
    if (b) {
        begin(a);
        if ((!*balancer || *balancer == b) && is_shared_method(b)) {
            sc_away_begin(a, url);
        } else {
            sc_choose(a, CHOICE_ROUTE);
        }
    }
    return DECLINED;
}

void sc_balancer_register(apr_pool_t *p)
{
    static const char *const before[] = {"mod_proxy_balancer.c", NULL};
    balancer_side_t *side = apr_pcalloc(p, sizeof(*side));

    side->method.name = METHOD;
    side->method.finder = finder;
    side->method.context = side;
    ap_register_provider(p, PROXY_LBMETHOD, METHOD, "0", &side->method);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_LAST);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_LAST);
    ap_hook_handler(before_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    if (proxy_hook_pre_request) {
        proxy_hook_pre_request(before_attempt, NULL, before, APR_HOOK_REALLY_FIRST);
    }
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_LAST); /* the board is there then */
    sc_outcome_register();
    sc_wait_register();
}
