/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Members of a balancer without a BalancerMember line: what a node says about itself
 * (SessionClusterAnnounce), and which balancers take such nodes (SessionClusterMembers). The
 * directives and their checks; balancer_members.c does the rest.
 */

#include <stddef.h>

#include "announce.h"
#include "options.h"
#include "sc_member.h"

#include "apr_lib.h"

APLOG_USE_MODULE(session_cluster);

#define AT(member) offsetof(sc_server_conf_t, member)
#define SIZE(member) ((apr_int64_t)sizeof(((sc_server_conf_t *)0)->member))
#define BALANCER "balancer://"
#define KEEP_MS 300000
#define CONNECT_MS 2000

static const char url_right[] =
    "scheme://host[:port][/path] as in BalancerMember, with http, https, ajp, h2 or h2c; host may "
    "be *, the address of the receiver";

/* ---- SessionClusterAnnounce ------------------------------------------------------------------ */

static const option_t announce_options[] = {
    {"weight", OPTION_NUMBER, AT(engine.weight), 1, SC_WEIGHT_MAX, "a number", NULL},
    {"lbset", OPTION_NUMBER, AT(engine.lbset), 0, SC_LBSET_MAX, "a number", NULL},
    {"route", OPTION_REFUSED, 0, 0, 0, "SessionClusterRoute is announced", NULL},
    {"loadfactor", OPTION_REFUSED, 0, 0, 0, "it is called weight here", NULL},
    {NULL, OPTION_REFUSED, 0, 0, 0, NULL, NULL}};

/* One spelling for one worker, the one that mod_proxy gives it: small letters up to the path, and
 * no port where the scheme says it. */
static char *one_spelling(apr_pool_t *p, const char *text)
{
    char *url = apr_pstrdup(p, text);
    char *at = strstr(url, "://");
    char *path, *colon;

    at = at ? at + 3 : url;
    path = at + strcspn(at, "/");
    for (char *c = url; c < path; c++) {
        *c = apr_tolower(*c);
    }
    colon = *at == '[' ? strchr(at, ']') : at;
    colon = colon ? strchr(colon, ':') : NULL;
    if (colon && colon < path && sc_worker_url_port(url) &&
        strcmp(apr_pstrmemdup(p, colon + 1, (apr_size_t)(path - colon - 1)),
               apr_psprintf(p, "%u", sc_worker_url_port(url))) == 0) {
        memmove(colon, path, strlen(path) + 1);
    }
    return url;
}

/** @return the '*' that stands for a host; NULL: none does */
static const char *host_to_fill(const char *url)
{
    const char *at = strstr(url, "://*");

    return at && strchr(":/", at[4]) ? at + 3 : NULL;
}

static char *fill_host(apr_pool_t *p, const char *url, const char *host)
{
    const char *at = host_to_fill(url);
    int v6 = strchr(host, ':') != NULL;

    return at ? apr_pstrcat(p, apr_pstrmemdup(p, url, (apr_size_t)(at - url)), v6 ? "[" : "", host,
                            v6 ? "]" : "", at + 1, NULL)
              : apr_pstrdup(p, url);
}

const char *sc_set_announce(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf = sc_httpd()->conf;
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    const char *url;

    (void)dir;
    if (err) {
        return err;
    }
    conf->used = 1;
    if (conf->engine.url[0]) {
        return apr_psprintf(cmd->pool, "%s is given twice; a node announces one URL",
                            cmd->cmd->name);
    }
    url = one_spelling(cmd->pool, argc > 0 ? argv[0] : "");
    if (strlen(url) > SC_URL_MAX) {
        return apr_psprintf(cmd->pool, "%s: an URL of at most %d bytes", cmd->cmd->name,
                            SC_URL_MAX);
    }
    if (sc_worker_url_kind(fill_host(cmd->pool, url, "192.0.2.1")) == SC_URL_BAD) {
        return apr_psprintf(cmd->pool, "%s wants %s, not \"%s\"", cmd->cmd->name, url_right,
                            argc > 0 ? argv[0] : "");
    }
    sc_config_text(conf->engine.url, sizeof(conf->engine.url), url);
    return sc_options_parse(cmd, conf, announce_options, NULL, argc - 1, argv + 1);
}

apr_status_t sc_announce_resolve(sc_config_t *c, server_rec *s, apr_pool_t *ptemp)
{
    const char *host =
        c->receiver.advertise_address[0] ? c->receiver.advertise_address : c->receiver.address;
    const char *url = fill_host(ptemp, c->url, host);

    if (strlen(url) > SC_URL_MAX || (url[0] && sc_worker_url_kind(url) == SC_URL_BAD)) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "SC0620: SessionClusterAnnounce %s with the receiver's address %s is no URL "
                     "that balancers could use; name the host",
                     c->url, host);
        return APR_EINVAL;
    }
    if (url[0] && sc_worker_url_kind(url) == SC_URL_LOOPBACK && !sc_is_loopback(host)) {
        ap_log_error(
            APLOG_MARK, APLOG_CRIT, 0, s,
            "SC0621: SessionClusterAnnounce %s would mean each balancer's own machine, and "
            "is believed only from members that receive on loopback; name an address that "
            "balancers can connect to, or *",
            url);
        return APR_EINVAL;
    }
    sc_config_text(c->url, sizeof(c->url), url);
    return APR_SUCCESS;
}

/* ---- SessionClusterMembers ------------------------------------------------------------------- */

static const option_t members_options[] = {
    {"route", OPTION_TEXT, AT(members_line.route), 0, SIZE(members_line.route), NULL, NULL},
    {"url", OPTION_TEXT, AT(members_line.url), 0, SIZE(members_line.url), NULL, NULL},
    {"keep", OPTION_SECONDS, AT(members_line.keep_ms), 1, 86400, "seconds", NULL},
    {"connectiontimeout", OPTION_SECONDS, AT(members_line.connect_ms), 1, 3600, "seconds", NULL},
    {"timeout", OPTION_SECONDS, AT(members_line.timeout_ms), 1, 86400, "seconds", NULL},
    {"retry", OPTION_SECONDS, AT(members_line.retry_ms), 1, 86400, "seconds", NULL},
    {"ping", OPTION_SECONDS, AT(members_line.ping_ms), 1, 3600, "seconds", NULL},
    {"disablereuse", OPTION_BOOL, AT(members_line.disable_reuse), 0, 1, NULL, NULL},
    {"loadfactor", OPTION_REFUSED, 0, 0, 0,
     "nodes announce it: SessionClusterAnnounce weight=", NULL},
    {"growth", OPTION_REFUSED, 0, 0, 0, "ProxySet growth= says how many members there may be",
     NULL},
    {NULL, OPTION_REFUSED, 0, 0, 0, NULL, NULL}};

const char *sc_add_members(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf = sc_httpd()->conf;
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    sc_members_line_t *line = &conf->members_line;
    const char *name = argc > 0 ? argv[0] : "";
    apr_size_t len = strlen(name);

    (void)dir;
    if (err) {
        return err;
    }
    conf->used = 1;
    memset(line, 0, sizeof(*line));
    line->keep_ms = KEEP_MS;
    line->connect_ms = CONNECT_MS;
    if (ap_cstr_casecmpn(name, BALANCER, sizeof(BALANCER) - 1) != 0 ||
        len == sizeof(BALANCER) - 1 || len >= sizeof(line->balancer) ||
        strchr(name + sizeof(BALANCER) - 1, '/')) {
        return apr_psprintf(cmd->pool,
                            "%s wants balancer://name, as in <Proxy balancer://name>, not \"%s\"",
                            cmd->cmd->name, name);
    }
    sc_config_text(line->balancer, sizeof(line->balancer), name);
    ap_str_tolower(line->balancer); /* as mod_proxy does */
    for (int i = 0; i < conf->members->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(conf->members, i, sc_members_line_t *)->balancer,
                   line->balancer) == 0) {
            return apr_psprintf(cmd->pool, "%s: %s is given twice", cmd->cmd->name, name);
        }
    }
    err = sc_options_parse(cmd, conf, members_options, NULL, argc - 1, argv + 1);
    if (!err) {
        APR_ARRAY_PUSH(conf->members, sc_members_line_t *) =
            apr_pmemdup(cmd->pool, line, sizeof(*line));
    }
    return err;
}

/* ---- the whole ------------------------------------------------------------------------------- */

const char *sc_announce_wrong(const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;

    if (e->url[0] && e->role == SC_ROLE_BALANCER) {
        return "SC0134: SessionClusterAnnounce on a balancer: only nodes serve sessions; take it "
               "out";
    }
    if (e->url[0] && e->membership == SC_MEMBERSHIP_NONE) {
        return "SC0135: SessionClusterAnnounce without SessionClusterMembership: a node alone has "
               "nobody to tell; take it out";
    }
    if (conf->members->nelts > 0 && e->membership == SC_MEMBERSHIP_NONE) {
        return "SC0136: SessionClusterMembers without SessionClusterMembership would know no node; "
               "give it the membership that the nodes have";
    }
    return NULL;
}
