/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * SessionClusterTomcat. A Tomcat says at which address it receives replication, a worker at which
 * it serves; where each host has one Tomcat that is enough to tell whose route is whose. Names are
 * looked up here, by the parent, because the engine must not wait for a name server.
 */

#include "options.h"
#include "tomcat.h"

#include "apr_optional.h"
#include "apr_lib.h"
#include "mod_proxy.h"

APLOG_USE_MODULE(session_cluster);

#define METHOD "bysession"

/* ---- arguments ------------------------------------------------------------------------------- */

/* host:port[:route], an IPv6 address in brackets. @return NULL or what is right */
static const char *parse_member(apr_pool_t *p, const char *text, sc_config_member_t *m)
{
    const char *port = text[0] == '[' ? strchr(text, ']') : text;
    const char *route;

    port = port ? strchr(port, ':') : NULL;
    route = port ? strchr(port + 1, ':') : NULL;
    if (route) {
        const char *right = sc_check_route(route + 1);

        if (right) {
            return apr_pstrcat(p, "host:port:route, the route being ", right, NULL);
        }
        sc_config_text(m->route, sizeof(m->route), route + 1);
        text = apr_pstrmemdup(p, text, (apr_size_t)(route - text));
    }
    return sc_parse_host_port(p, text, m->host, &m->port);
}

static const char *add_member(cmd_parms *cmd, sc_config_tomcat_t *t, const char *value)
{
    sc_config_member_t m;
    const char *right;

    memset(&m, 0, sizeof(m));
    right = parse_member(cmd->pool, value, &m);
    if (right) {
        return apr_psprintf(cmd->pool, "%s: member wants %s; not \"%s\"", cmd->cmd->name, right,
                            value);
    }
    for (apr_uint32_t i = 0; i < t->nmembers; i++) {
        if (t->member[i].port == m.port && ap_cstr_casecmp(t->member[i].host, m.host) == 0) {
            return apr_psprintf(cmd->pool, "%s: member %s:%u is given twice", cmd->cmd->name,
                                m.host, m.port);
        }
        if (m.route[0] && strcmp(t->member[i].route, m.route) == 0) {
            return apr_psprintf(cmd->pool,
                                "%s: route %s belongs to %s:%u already; each Tomcat has "
                                "a jvmRoute of its own",
                                cmd->cmd->name, m.route, t->member[i].host, t->member[i].port);
        }
    }
    if (t->nmembers == SC_MEMBERS_MAX) {
        return apr_psprintf(cmd->pool, "%s: at most %d members", cmd->cmd->name, SC_MEMBERS_MAX);
    }
    t->member[t->nmembers++] = m;
    return NULL;
}

static const char *add_map(cmd_parms *cmd, sc_config_tomcat_t *t, const char *value)
{
    apr_size_t len = strlen(value);

    if (len < 1 || len > SC_TOMCAT_MAP_MAX || sc_check_visible(value)) {
        return apr_psprintf(cmd->pool,
                            "%s: map wants 1 to %d visible characters, as in localhost#/app-map; "
                            "not \"%s\"",
                            cmd->cmd->name, SC_TOMCAT_MAP_MAX, value);
    }
    for (apr_uint32_t i = 0; i < t->nmaps; i++) {
        if (strcmp(t->map[i], value) == 0) {
            return apr_psprintf(cmd->pool, "%s: map %s is given twice", cmd->cmd->name, value);
        }
    }
    if (t->nmaps == SC_TOMCAT_MAPS_MAX) {
        return apr_psprintf(cmd->pool, "%s: at most %d maps", cmd->cmd->name, SC_TOMCAT_MAPS_MAX);
    }
    sc_config_text(t->map[t->nmaps++], SC_TOMCAT_MAP_MAX + 1, value);
    return NULL;
}

const char *sc_tomcat_parse(cmd_parms *cmd, sc_server_conf_t *conf, int argc, char *const argv[])
{
    sc_config_tomcat_t *t = &conf->engine.tomcat;
    char **rest = apr_pcalloc(cmd->pool, ((apr_size_t)argc + 1) * sizeof(char *));
    int nrest = 0;

    t->on = 1;
    for (int i = 0; i < argc; i++) {
        const char *key, *value;
        const char *err = sc_option_split(cmd, argv[i], &key, &value);

        if (!err && ap_cstr_casecmp(key, "member") == 0) {
            err = add_member(cmd, t, value);
        } else if (!err && ap_cstr_casecmp(key, "map") == 0) {
            err = add_map(cmd, t, value);
        } else if (!err) {
            t->group |= ap_cstr_casecmp(key, "address") == 0 || ap_cstr_casecmp(key, "port") == 0 ||
                        ap_cstr_casecmp(key, "bind") == 0;
            rest[nrest++] = argv[i];
        }
        if (err) {
            return err;
        }
    }
    return sc_options_parse(cmd, conf, sc_tomcat_options, NULL, nrest, rest);
}

/* ---- names and workers ----------------------------------------------------------------------- */

/* The first address of a name. @return NULL, or the addresses, as text in host */
static apr_sockaddr_t *look_up(const char *name, apr_uint32_t port, apr_pool_t *p, server_rec *s)
{
    apr_sockaddr_t *sa = NULL;
    apr_status_t rv = apr_sockaddr_info_get(&sa, name, APR_UNSPEC, (apr_port_t)port, 0, p);

    if (rv != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, rv, s,
            "SC0641: %s could not be looked up, so the Tomcat there is not known until the "
            "next restart",
            name);
        return NULL;
    }
    return sa;
}

static void resolve_members(sc_config_tomcat_t *t, server_rec *s, apr_pool_t *p)
{
    apr_uint32_t n = 0;

    for (apr_uint32_t i = 0; i < t->nmembers; i++) {
        sc_config_member_t m = t->member[i];
        apr_sockaddr_t *sa = look_up(m.host, m.port, p, s);
        char host[SC_HOST_MAX + 1];

        if (sa && apr_sockaddr_ip_getbuf(host, sizeof(host), sa) == APR_SUCCESS) {
            sc_config_text(m.host, sizeof(m.host), host);
            t->member[n++] = m;
        }
    }
    memset(&t->member[n], 0, (t->nmembers - n) * sizeof(t->member[0]));
    t->nmembers = n;
}

static void add_worker(sc_config_tomcat_t *t, apr_sockaddr_t *sa, const char *route)
{
    sc_config_worker_t w;
    char host[SC_HOST_MAX + 1];

    if (t->nworkers == SC_MEMBERS_MAX || strlen(route) > SC_ROUTE_MAX ||
        apr_sockaddr_ip_getbuf(host, sizeof(host), sa) != APR_SUCCESS) {
        return;
    }
    memset(&w, 0, sizeof(w));
    sc_config_text(w.host, sizeof(w.host), host);
    sc_config_text(w.route, sizeof(w.route), route);
    for (apr_uint32_t i = 0; i < t->nworkers; i++) {
        if (memcmp(&t->worker[i], &w, sizeof(w)) == 0) {
            return;
        }
    }
    t->worker[t->nworkers++] = w;
}

static void add_balancer(sc_config_tomcat_t *t, const proxy_balancer *b, server_rec *s,
                         apr_pool_t *p)
{
    for (int i = 0; i < b->workers->nelts; i++) {
        const proxy_worker *w = APR_ARRAY_IDX(b->workers, i, const proxy_worker *);
        apr_sockaddr_t *sa;

        if (!w->s->route[0] || !w->s->hostname_ex[0]) {
            continue;
        }
        for (sa = look_up(w->s->hostname_ex, w->s->port, p, s); sa; sa = sa->next) {
            add_worker(t, sa, w->s->route);
        }
    }
}

static int by_content(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(sc_config_worker_t));
}

void sc_tomcat_prepare(sc_server_conf_t *conf, server_rec *main_server, apr_pool_t *p)
{
    sc_config_tomcat_t *t = &conf->engine.tomcat;
    const module *proxy = ap_find_linked_module("mod_proxy.c");

    if (!t->on) {
        return;
    }
    t->group |= t->nmembers == 0;
    resolve_members(t, main_server, p);
    for (server_rec *s = main_server; s && proxy; s = s->next) {
        proxy_server_conf *c = ap_get_module_config(s->module_config, proxy);

        for (int i = 0; c && i < c->balancers->nelts; i++) {
            const proxy_balancer *b = &APR_ARRAY_IDX(c->balancers, i, const proxy_balancer);

            if (b->lbmethod && strcmp(b->lbmethod->name, METHOD) == 0) {
                add_balancer(t, b, s, p);
            }
        }
    }
    /* in an order that does not depend on a name server, or the engine would be replaced for it */
    qsort(t->worker, t->nworkers, sizeof(t->worker[0]), by_content);
}
