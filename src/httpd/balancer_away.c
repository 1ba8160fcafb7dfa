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
 */

#include "balancer.h"

APLOG_USE_MODULE(session_cluster);

/* The member of a route does not know all sessions yet, or not for long any more. One that is still
 * taking over sessions has those that the nodes say it has. */
static int is_passing(const ticket_t *t)
{
    const sc_httpd_t *h = sc_httpd();
    apr_uint16_t route;
    apr_uint32_t state;
    sc_record_t rec;

    if (!sc_any_passing()) {
        return 0;
    }
    state = sc_board_route_state(h->board, t->route, strlen(t->route));
    if (state != SC_NODE_JOINING || sc_locate(t, &rec) != LOCATED_LIVE) {
        return state == SC_NODE_JOINING || sc_node_going(state);
    }
    return sc_store_route(h->store, t->route, strlen(t->route), 0, &route) != APR_SUCCESS ||
           sc_record_holder(&rec, route) == SC_HOLDER_NONE;
}

static away_t away(const proxy_balancer *b, const proxy_worker *worker, const ticket_t *t)
{
    if (sc_fate(t) == LOCATED_DEAD) {
        return AWAY_GONE;
    }
    if (!b->s->sticky_force && (PROXY_WORKER_IS_DRAINING(worker) || is_passing(t))) {
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

void sc_away_begin(attempts_t *a, char **url)
{
    proxy_balancer *b = (proxy_balancer *)a->balancer;
    const ticket_t *t = sc_attempts_ticket(a, b->s);
    proxy_worker *usual;

    if (t && t->id_len && t->route && t->route[0]) {
        a->likely = usual = sc_route_worker_unlocked(b, t->route);
        if (usual) {
            a->away = away(b, usual, t);
        }
    }
    if (a->away != AWAY_NOT) {
        hide(a, b, url);
    } else if (t ? t->route && t->route[0] : a->ticket.foul) {
        sc_choose(a, CHOICE_ROUTE); /* so it stays unless the finder is asked */
    }
}

void sc_away_over(attempts_t *a)
{
    if (a->headers) {
        show(a);
    }
}
