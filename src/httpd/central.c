/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * SessionClusterManager store: its configuration, and what the children share.
 *
 * The provider is looked up in the check of the whole configuration, when all modules are loaded,
 * and in a configtest, too. Its first instance is made by the parent as mod_ssl does it: for
 * providers in shared memory or files it is the only one, for those that connect to a server it
 * shows that their arguments can be understood.
 */

#include <stdlib.h>

#include "central.h"
#include "options.h"

#include "ap_provider.h"
#include "apr_lib.h"
#include "apr_shm.h"
#include "apr_strings.h"
#include "util_mutex.h"

APLOG_USE_MODULE(session_cluster);

#define RETAINED_KEY "mod_session_cluster:central"
#define MONTH_S (30 * 86400u - 60)
#define LONG_S (10 * 365 * 86400u)
#define SESSION_BYTES 1024 /* a hint for providers with an index of fixed size */
/** Another layout is another memory, after an upgrade of the module. */
#define LAYOUT 2

static const struct known_t {
    const char *name;
    unsigned int traits;
} known[] = {{"shmcb", SC_SOCACHE_LOCAL},
             {"default", SC_SOCACHE_LOCAL},
             {"dbm", SC_SOCACHE_LOCAL | SC_SOCACHE_VAGUE},
             {"redis", SC_SOCACHE_REOPEN},
             {"memcache", SC_SOCACHE_REOPEN | SC_SOCACHE_MONTH},
             {NULL, 0}};

/* ---- directives ------------------------------------------------------------------------------ */

void sc_central_defaults(sc_central_conf_t *conf)
{
    memset(conf, 0, sizeof(*conf));
    sc_config_text(conf->prefix, sizeof(conf->prefix), "scsession");
    conf->timeout_ms = 1000;
    conf->retry_ms = 250;
    conf->touch_s = 30;
    conf->look_ms = 100;
}

const char *sc_check_socache(const char *value)
{
    return *value && *value != ':' ? NULL
                                   : "name:arguments of a socache provider, as redis:host:port";
}

const char *sc_check_prefix(const char *value)
{
    for (const char *c = value; *c; c++) {
        if (!apr_isalnum(*c) && *c != '-' && *c != '_') {
            value = "";
            break;
        }
    }
    return *value ? NULL : "letters, digits, - and _, at most 14";
}

/* ---- the check ------------------------------------------------------------------------------- */

static const char *loaded_providers(apr_pool_t *p)
{
    const apr_array_header_t *names =
        ap_list_provider_names(p, AP_SOCACHE_PROVIDER_GROUP, AP_SOCACHE_PROVIDER_VERSION);
    const char *text = "";

    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, ap_list_provider_names_t).provider_name;

        text = apr_pstrcat(p, text, *text ? ", " : "", name, NULL);
    }
    return *text ? text : "none";
}

static sc_central_host_t *make_host(const sc_server_conf_t *conf, server_rec *s, apr_pool_t *pconf)
{
    sc_central_host_t *host = apr_pcalloc(pconf, sizeof(*host));
    const char *colon = strchr(conf->central.provider, ':');
    const char *name = colon ? apr_pstrmemdup(pconf, conf->central.provider,
                                              (apr_size_t)(colon - conf->central.provider))
                             : conf->central.provider;

    host->provider =
        ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP, name, AP_SOCACHE_PROVIDER_VERSION);
    host->args = colon && colon[1] ? colon + 1 : NULL;
    host->server = s;
    host->conf = &conf->central;
    for (const struct known_t *k = known; k->name; k++) {
        if (strcmp(k->name, name) == 0) {
            host->traits = k->traits;
        }
    }
    return host;
}

const char *sc_central_wrong(sc_server_conf_t *conf, server_rec *s, apr_pool_t *pconf,
                             apr_pool_t *ptemp)
{
    sc_central_host_t *host;
    const char *err;

    sc_httpd()->central = NULL;
    if (conf->engine.manager != SC_MANAGER_STORE) {
        return NULL;
    }
    if (!conf->central.provider[0]) {
        return "SC1000: SessionClusterManager store needs provider=: a socache provider and its "
               "arguments, for instance provider=redis:127.0.0.1:6379";
    }
    if (conf->engine.quorum) {
        return "SC1001: SessionClusterQuorum with SessionClusterManager store: sessions are not in "
               "the nodes, so a majority of these means nothing; take it out";
    }
    host = make_host(conf, s, pconf);
    if (!host->provider) {
        return apr_psprintf(ptemp,
                            "SC1002: SessionClusterManager store provider=%s: no such socache "
                            "provider is loaded (loaded: %s); LoadModule socache_NAME_module first",
                            conf->central.provider, loaded_providers(ptemp));
    }
    if ((host->traits & SC_SOCACHE_REOPEN) && host->args && strchr(host->args, ',')) {
        return "SC1003: SessionClusterManager store provider= wants one server: with several, the "
               "client looks for the sessions of one that is down on the others, and would find "
               "that they do not exist; give the address of a proxy or of a failover pair";
    }
    err = host->provider->create(&host->first, host->args, ptemp, pconf);
    if (err) {
        return apr_psprintf(ptemp, "SC1004: SessionClusterManager store provider=%s: %s",
                            conf->central.provider, err);
    }
    sc_httpd()->central = host;
    return NULL;
}

/* ---- the parent ------------------------------------------------------------------------------ */

typedef struct kept_t {
    sc_central_memory_t *memory;
    apr_uint64_t layout;
    char provider[sizeof(((sc_central_conf_t *)NULL)->provider)];
} kept_t;

/* Kept over restarts, so that counters, and what has ended a moment ago, are not forgotten. */
static apr_status_t make_memory(server_rec *s, const char *provider, sc_central_memory_t **out)
{
    apr_uint64_t layout = ((apr_uint64_t)LAYOUT << 32) | sizeof(sc_central_memory_t);
    kept_t *kept = ap_retained_data_get(RETAINED_KEY);
    apr_status_t rv;
    apr_shm_t *shm;

    if (!kept) {
        kept = ap_retained_data_create(RETAINED_KEY, sizeof(*kept));
    }
    if (!kept->memory || kept->layout != layout) {
        rv = apr_shm_create(&shm, sizeof(sc_central_memory_t), NULL, s->process->pool);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        kept->memory = apr_shm_baseaddr_get(shm);
        memset(kept->memory, 0, sizeof(*kept->memory));
        rv = sc_central_memory_init(kept->memory);
        if (rv != APR_SUCCESS) {
            kept->memory = NULL;
            (void)apr_shm_destroy(shm);
            return rv;
        }
        kept->layout = layout;
    }
    /* whatever was known of it, it may have been the reason for the restart */
    memset(&kept->memory->gate, 0, sizeof(kept->memory->gate));
    if (strcmp(kept->provider, provider) != 0) {
        kept->memory->takes = 0;
        kept->memory->sentinel_put = 0; /* another store */
        apr_cpystrn(kept->provider, provider, sizeof(kept->provider));
    }
    *out = kept->memory;
    return APR_SUCCESS;
}

static void set_rules(sc_central_host_t *host, const sc_server_conf_t *conf)
{
    sc_central_t *rules = &host->rules;

    rules->clock = &sc_clock_system;
    rules->prefix = host->conf->prefix;
    rules->local = (host->traits & SC_SOCACHE_LOCAL) != 0;
    rules->lock_wait = apr_time_from_msec((apr_time_t)host->conf->timeout_ms / 2);
    rules->max_session = conf->engine.max_session;
    rules->max_value = 2 * (apr_size_t)conf->engine.max_session + 16 * 1024 + SC_CENTRAL_FRAME;
    rules->max_ttl_s = (host->traits & SC_SOCACHE_MONTH) ? MONTH_S : LONG_S;
    rules->touch_s = host->conf->touch_s;
    rules->tombstone_s = conf->engine.delta.tombstone_s;
}

apr_status_t sc_central_prepare(server_rec *s, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    struct ap_socache_hints hints = {SC_CENTRAL_KEY, SESSION_BYTES, apr_time_from_sec(60)};
    sc_central_host_t *host = sc_httpd()->central;
    apr_status_t rv;

    (void)ptemp;
    if (!host) {
        return APR_SUCCESS;
    }
    set_rules(host, sc_httpd()->conf);
    rv = sc_central_sentinel(&host->rules.sentinel, host->rules.prefix);
    if (rv == APR_SUCCESS) {
        rv = make_memory(s, host->conf->provider, &host->rules.memory);
    }
    if (rv == APR_SUCCESS && (host->provider->flags & AP_SOCACHE_FLAG_NOTMPSAFE)) {
        rv = ap_global_mutex_create(&host->mutex, NULL, SC_CENTRAL_MUTEX, NULL, s, pconf, 0);
    }
    if (rv == APR_SUCCESS) {
        rv = host->provider->init(host->first, host->rules.prefix, &hints, s, pconf);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC1005: SessionClusterManager store provider=%s cannot be used",
                     host->conf->provider);
    }
    return rv;
}

/* ---- children -------------------------------------------------------------------------------- */

void sc_central_child_init(apr_pool_t *pchild, server_rec *s)
{
    sc_central_host_t *host = sc_httpd()->central;
    apr_status_t rv = APR_SUCCESS;

    if (!host) {
        return;
    }
    if (host->mutex) {
        rv = apr_global_mutex_child_init(&host->mutex, apr_global_mutex_lockfile(host->mutex),
                                         pchild);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_instances_create(host, pchild);
    }
    if (rv == APR_SUCCESS && !host->rules.local) {
        rv = sc_jobs_create(host, pchild);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC1006: this child cannot use the central store; it ends");
        exit(APEXIT_CHILDSICK);
    }
}

void sc_central_counters(sc_central_counters_t *out)
{
    const sc_central_host_t *host = sc_httpd()->central;

    memset(out, 0, sizeof(*out));
    if (host && host->rules.memory) {
#define SC_X(name) out->name = __atomic_load_n(&host->rules.memory->count.name, __ATOMIC_RELAXED);
        SC_CENTRAL_COUNTERS(SC_X)
#undef SC_X
    }
}

/* Providers of others may want a password there. */
static const char *without_password(apr_pool_t *p, const char *provider)
{
    const char *colon = strchr(provider, ':');
    const char *at = strrchr(provider, '@');

    return colon && at && at > colon
               ? apr_pstrcat(p, apr_pstrmemdup(p, provider, (apr_size_t)(colon + 1 - provider)),
                             "...", at, NULL)
               : provider;
}

int sc_central_info(sc_central_info_t *out, apr_pool_t *p)
{
    const sc_central_host_t *host = sc_httpd()->central;

    memset(out, 0, sizeof(*out));
    if (!host || !host->rules.memory) {
        return 0;
    }
    out->provider = without_password(p, host->conf->provider);
    out->prefix = host->conf->prefix;
    out->local = host->rules.local;
    out->empty = host->conf->empty != 0;
    out->timeout_ms = host->conf->timeout_ms;
    out->touch_s = host->conf->touch_s;
    out->silent_since = __atomic_load_n(&host->rules.memory->gate.shut_since, __ATOMIC_RELAXED);
    out->takes = __atomic_load_n(&host->rules.memory->takes, __ATOMIC_RELAXED);
    return 1;
}
