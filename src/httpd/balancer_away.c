/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Sessions that mod_proxy_balancer is not to send to the worker of their route, although that can
 * be used:
 *
 *  - those that have ended (logout, expiry), as the nodes have told. The cookie that is left pins
 *    its browser to nothing: it is balanced like a new one
 *  - those of a node that is about to leave or drains, or whose worker does, as soon as another
 * node is there to serve them; and those of a node that has only just come and takes over sessions,
 * as long as another one knows better
 *
 * mod_proxy_balancer looks for the route in the URL, its query and the Cookie header, takes its
 * worker, and asks nobody. So for as long as it looks, these requests show it none of them: a hook
 * just before it lays another table of headers and another URL in their places. It finds no route
 * then, and calls the method's finder, whose first act is to put back what was there. Nothing else
 * runs between, so nobody but mod_proxy_balancer sees the difference, least of all the backend: it
 * gets the cookie as the browser sent it.
 *
 * With nofailover=On sessions stay with their node to its end, as the administrator has asked for.
 *
 * The hook is one of mod_proxy's functions, a weak reference here: this module loads without it.
 */

#include "balancer.h"

#include "apr_optional_hooks.h"

APLOG_USE_MODULE(session_cluster);

#pragma weak proxy_hook_pre_request

/* The member of a route does not know all sessions yet, or not for long any more. One that is still
 * taking over sessions has those that the nodes say it has. */
static int is_passing(const ticket_t *t, located_t located, const sc_record_t *rec)
{
    const sc_httpd_t *h = sc_httpd();
    apr_uint16_t route;
    apr_uint32_t state;

    if (!h->board) {
        return 0;
    }
    state = sc_board_route_state(h->board, t->route, strlen(t->route));
    if (state != SC_NODE_JOINING || located != LOCATED_LIVE) {
        return state == SC_NODE_JOINING || sc_node_going(state);
    }
    return sc_store_route(h->store, t->route, strlen(t->route), 0, &route) != APR_SUCCESS ||
           sc_record_holder(rec, route) == SC_HOLDER_NONE;
}

static away_t away(const proxy_balancer *b, const proxy_worker *worker, const ticket_t *t)
{
    sc_record_t rec;
    located_t located = sc_locate(t, &rec);

    if (located == LOCATED_DEAD) {
        return AWAY_GONE;
    }
    if (!b->s->sticky_force && (PROXY_WORKER_IS_DRAINING(worker) || is_passing(t, located, &rec))) {
        return AWAY_LEAVING;
    }
    return AWAY_NOT;
}

static void hide(attempts_t *a, const proxy_balancer *b, char **url)
{
    apr_table_t *bare = apr_table_copy(a->r->pool, a->r->headers_in);

    apr_table_unset(bare, "Cookie");
    a->headers = a->r->headers_in;
    a->r->headers_in = bare;
    a->url_at = url;
    a->url_was = *url;
    a->args_was = a->r->args;
    a->r->args = NULL;
    *url = apr_pstrcat(a->r->pool, b->s->name, "/", NULL);
}

static void show(attempts_t *a)
{
    a->r->headers_in = a->headers;
    a->r->args = a->args_was;
    a->headers = NULL;
}

void sc_away_end(attempts_t *a)
{
    if (a->headers) {
        show(a);
        *a->url_at = a->url_was;
        a->url_at = NULL;
    }
}

/* Each attempt of a request comes through here. */
static int pre_request(proxy_worker **worker, proxy_balancer **balancer, request_rec *r,
                       proxy_server_conf *conf, char **url)
{
    attempts_t *a = sc_attempts(r);
    proxy_balancer *b = (proxy_balancer *)a->balancer;
    proxy_worker *usual;
    ticket_t t;

    (void)worker;
    (void)conf;
    a->sent = 0;
    a->away = AWAY_NOT;
    if (!b || (*balancer && *balancer != b) || strcmp(b->s->lbpname, BYSESSION) != 0 ||
        !sc_ticket_take(&t, b->s, r, a->url) || !t.id_len || !t.route || !t.route[0] ||
        PROXY_THREAD_LOCK(b) != APR_SUCCESS) {
        return DECLINED; /* by its shared name: a change of the method may be under way */
    }
    usual = sc_route_worker(b, t.route);
    (void)PROXY_THREAD_UNLOCK(b);
    if (usual) {
        a->away = away(b, usual, &t);
    }
    if (a->away != AWAY_NOT) {
        hide(a, b, url);
    }
    return DECLINED;
}

/* The finder has not been called after all: a lock could not be had, say. The URL is mod_proxy's
 * and gone by now. */
static int request_status(int *status, request_rec *r)
{
    attempts_t *a = sc_attempts(r);

    (void)status;
    if (a->headers) {
        show(a);
    }
    return OK;
}

int sc_away_works(void)
{
    return proxy_hook_pre_request != NULL;
}

void sc_away_register(void)
{
    static const char *const before[] = {"mod_proxy_balancer.c", NULL};

    if (proxy_hook_pre_request) {
        proxy_hook_pre_request(pre_request, NULL, before, APR_HOOK_REALLY_FIRST);
        APR_OPTIONAL_HOOK(proxy, request_status, request_status, NULL, NULL, APR_HOOK_FIRST);
    }
}
