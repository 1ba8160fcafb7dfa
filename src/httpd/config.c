/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Life of the configuration: made, merged, checked as a whole, asked.
 *
 * The check runs at every start and in a configtest. It reports everything that is wrong at once,
 * each with what would be right, so that an administrator needs one round and not five.
 */

#include "announce.h"
#include "central.h"
#include "deployer.h"
#include "options.h"
#include "snapshot.h"
#include "provider.h"
#include "retained.h"
#include "secret.h"

#include "ap_provider.h"
#include "util_mutex.h"
#include "apr_lib.h"
#include "sc_interceptor.h"

APLOG_USE_MODULE(session_cluster);

#define DEFAULT_MEMORY ((apr_size_t)64 * 1024 * 1024)
/** The store should hold a few sessions of the largest size at least. */
#define SESSIONS_MIN 4

/* ---- life ------------------------------------------------------------------------------------ */

int sc_config_reset(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    sc_server_conf_t *conf = apr_pcalloc(pconf, sizeof(*conf));

    (void)plog;
    (void)ptemp;
    sc_vault_empty();
    sc_config_defaults(&conf->engine);
    conf->memory = DEFAULT_MEMORY;
    sc_config_text(conf->receiver_address, sizeof(conf->receiver_address), "auto");
    conf->receiver_port = conf->engine.receiver.port;
    conf->receiver_auto_bind = 100;
    conf->inner_method = "byrequests";
    sc_config_text(conf->ranked_delimiter, sizeof(conf->ranked_delimiter), "off");
    conf->max_failures = 3;
    conf->failure_ms = 60000;
    conf->provider_servers = apr_array_make(pconf, 4, sizeof(server_rec *));
    conf->contexts = apr_hash_make(pconf);
    sc_central_defaults(&conf->central);
    conf->members = apr_array_make(pconf, 2, sizeof(sc_members_line_t *));
    sc_httpd()->conf = conf;
    sc_httpd()->central = NULL;
    (void)ap_mutex_register(pconf, SC_CENTRAL_MUTEX, NULL, APR_LOCK_DEFAULT, 0);
    return OK;
}

void *sc_config_create_dir(apr_pool_t *p, char *path)
{
    sc_dir_conf_t *dir = apr_pcalloc(p, sizeof(*dir));

    (void)path;
    dir->max_inactive_s = SC_UNSET;
    dir->rotate = SC_UNSET;
    dir->rotate_grace_s = SC_UNSET;
    dir->backup_hint = SC_UNSET;
    dir->status_actions = SC_UNSET;
    return dir;
}

void *sc_config_merge_dir(apr_pool_t *p, void *vbase, void *vadd)
{
    const sc_dir_conf_t *base = vbase;
    const sc_dir_conf_t *add = vadd;
    sc_dir_conf_t *dir = apr_pcalloc(p, sizeof(*dir));
    const sc_dir_conf_t *cookie = add->cookie_set ? add : base;
    const sc_dir_conf_t *rotate = add->rotate != SC_UNSET ? add : base;

    /* a name comes with its attributes: those of another name would be for another place */
    dir->cookie_name = cookie->cookie_name;
    dir->cookie_attrs = cookie->cookie_attrs;
    dir->cookie_set = add->cookie_set || base->cookie_set;
    dir->context = add->context ? add->context : base->context;
    dir->max_inactive_s =
        add->max_inactive_s != SC_UNSET ? add->max_inactive_s : base->max_inactive_s;
    dir->filter = add->filter ? add->filter : base->filter;
    dir->rotate = rotate->rotate;
    dir->rotate_attrs = rotate->rotate_attrs;
    dir->rotate_grace_s = rotate->rotate_grace_s;
    dir->backup_hint = add->backup_hint != SC_UNSET ? add->backup_hint : base->backup_hint;
    dir->status_actions =
        add->status_actions != SC_UNSET ? add->status_actions : base->status_actions;
    return dir;
}

/* ---- asked by requests ----------------------------------------------------------------------- */

sc_dir_conf_t *sc_config_dir(request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &session_cluster_module);
}

/** A server's name as a context: names of hosts are the same in any case. */
static const char *server_context(const server_rec *s, apr_pool_t *p)
{
    const char *name = s->server_hostname ? s->server_hostname : "localhost";

    for (const char *c = name; *c; c++) {
        if (apr_isupper(*c)) {
            char *lower = apr_pstrdup(p, name);

            ap_str_tolower(lower);
            return lower;
        }
    }
    return name;
}

const char *sc_config_context(request_rec *r, const sc_dir_conf_t *dir)
{
    return dir->context ? dir->context : server_context(r->server, r->pool);
}

/* ---- contexts -------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of all contexts that requests may ask for: those given, and the name of each server on
 * which sessions may be on without a context. What is configured for the main server holds for all
 * virtual hosts. In order of their names, so that the same configuration yields the same list. */
static apr_array_header_t *all_contexts(sc_server_conf_t *conf, server_rec *main_server,
                                        apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 8, sizeof(const char *));
    apr_hash_t *seen = apr_hash_copy(p, conf->contexts);
    int everywhere = 0;

    for (int i = 0; i < conf->provider_servers->nelts; i++) {
        everywhere |= APR_ARRAY_IDX(conf->provider_servers, i, server_rec *) == main_server;
    }
    for (server_rec *s = main_server; s; s = s->next) {
        const sc_dir_conf_t *dir =
            ap_get_module_config(s->lookup_defaults, &session_cluster_module);
        int on = everywhere;

        for (int i = 0; !on && i < conf->provider_servers->nelts; i++) {
            on = APR_ARRAY_IDX(conf->provider_servers, i, server_rec *) == s;
        }
        if (on && !dir->context) {
            const char *name = server_context(s, p);

            apr_hash_set(seen, name, APR_HASH_KEY_STRING, name);
        }
    }
    for (apr_hash_index_t *hi = apr_hash_first(p, seen); hi; hi = apr_hash_next(hi)) {
        APR_ARRAY_PUSH(names, const char *) = apr_hash_this_val(hi);
    }
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    return names;
}

void sc_config_collect_contexts(sc_server_conf_t *conf, server_rec *s, apr_pool_t *p)
{
    apr_array_header_t *names = all_contexts(conf, s, p);
    apr_uint32_t n = 0;

    memset(conf->engine.context, 0, sizeof(conf->engine.context));
    for (int i = 0; i < names->nelts && n < SC_CONTEXTS_MAX; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);

        if (strlen(name) <= SC_CONTEXT_MAX) { /* sc_config_check has refused the others */
            sc_config_text(conf->engine.context[n++], SC_CONTEXT_MAX + 1, name);
        }
    }
    conf->engine.ncontexts = n;
}

/* ---- the whole ------------------------------------------------------------------------------- */

typedef struct check_t {
    server_rec *s;
    apr_pool_t *p;
    int errors;
} check_t;

static void complain(check_t *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void complain(check_t *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, c->s, "%s",
                 apr_pvsprintf(c->p, fmt, ap));
    va_end(ap);
    c->errors++;
}

static void check_membership(check_t *c, const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;

    if (e->membership == SC_MEMBERSHIP_NONE) {
        if (e->nmembers > 0) {
            complain(c, "SC0101: SessionClusterMember names members of a static membership; add "
                        "SessionClusterMembership static");
        }
        if (e->role == SC_ROLE_BALANCER && !e->tomcat.on) {
            complain(c, "SC0102: SessionClusterRole balancer without SessionClusterMembership "
                        "would know no node; give it the membership that the nodes have, or "
                        "SessionClusterTomcat for Tomcats");
        }
        return;
    }
    if (e->role == SC_ROLE_NODE && !e->route[0]) {
        complain(c, "SC0103: a node with SessionClusterMembership needs a SessionClusterRoute, "
                    "unlike those of the other nodes");
    }
    if (e->membership == SC_MEMBERSHIP_STATIC && e->nmembers == 0) {
        complain(c, "SC0104: SessionClusterMembership static needs the other nodes: "
                    "SessionClusterMember host:port, once for each");
    }
    if (e->membership == SC_MEMBERSHIP_MULTICAST && e->nmembers > 0) {
        complain(c, "SC0105: SessionClusterMember is for SessionClusterMembership static; with "
                    "multicast members find each other");
    }
    if (e->membership == SC_MEMBERSHIP_DNS && e->nmembers > 0) {
        complain(c, "SC0105: SessionClusterMember is for SessionClusterMembership static; with "
                    "dns members are the addresses of the name");
    }
    if (e->membership == SC_MEMBERSHIP_DNS && (!e->dns.name[0] || e->dns.port == 0)) {
        complain(c, "SC0131: SessionClusterMembership dns needs name= and port=: the name that has "
                    "the addresses of all members, and the port of their receivers");
    }
    if (e->membership == SC_MEMBERSHIP_MULTICAST && e->mcast.bind[0] &&
        !strchr(e->mcast.bind, ':') != !strchr(e->mcast.address, ':')) {
        complain(c,
                 "SC0132: SessionClusterMembership multicast: bind=%s and address=%s must both "
                 "be IPv4 or both IPv6",
                 e->mcast.bind, e->mcast.address);
    }
    if (e->mcast.drop_ms < 2 * e->mcast.frequency_ms) {
        complain(c,
                 "SC0106: SessionClusterMembership dropTime=%u would lose members that miss "
                 "one heartbeat; it must be at least twice frequency=%u",
                 e->mcast.drop_ms, e->mcast.frequency_ms);
    }
}

/* Members of dns are found at one port: whoever receives elsewhere stays alone. */
static void check_dns_port(check_t *c, const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;
    apr_uint32_t port = e->receiver.advertise_port;

    if (e->membership != SC_MEMBERSHIP_DNS || e->dns.port == 0) {
        return;
    }
    if (port != 0 && port != e->dns.port) {
        complain(c,
                 "SC0144: SessionClusterMembership dns port=%u, but SessionClusterReceiver "
                 "advertisePort=%u: the other members look for this node at port %u; say the same "
                 "port in both",
                 e->dns.port, port, e->dns.port);
    } else if (port == 0 && conf->receiver_port != e->dns.port) {
        complain(
            c,
            "SC0144: SessionClusterMembership dns port=%u, but SessionClusterReceiver port=%u: "
            "the other members look for this node at port %u; say the same port in both, or "
            "advertisePort=%u if that is translated",
            e->dns.port, conf->receiver_port, e->dns.port, e->dns.port);
    }
}

static void check_receiver(check_t *c, const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;
    char address[SC_HOST_MAX + 1];

    if (e->membership == SC_MEMBERSHIP_NONE) {
        return;
    }
    if (sc_is_any(conf->receiver_address) && !e->receiver.advertise_address[0]) {
        complain(c,
                 "SC0133: SessionClusterReceiver address=%s is none that the other members can "
                 "connect to; add advertiseAddress=, or name one address",
                 conf->receiver_address);
    }
    if (conf->receiver_port + conf->receiver_auto_bind - 1 > 65535) {
        complain(c, "SC0107: SessionClusterReceiver port=%u autoBind=%u goes beyond port 65535",
                 conf->receiver_port, conf->receiver_auto_bind);
    }
    if (e->secret.count > 0 || (e->membership == SC_MEMBERSHIP_STATIC && e->nmembers == 0)) {
        return; /* without members there is nobody whose direction "auto" could mean */
    }
    apr_cpystrn(address, conf->receiver_address, sizeof(address));
    if (strcmp(address, "auto") == 0) {
        apr_status_t why, rv = sc_resources_auto(conf, address, &why, c->p);

        if (rv != APR_SUCCESS) {
            complain(c,
                     "SC0108: no address found for the receiver (%pm); name one with "
                     "SessionClusterReceiver address=",
                     &rv);
            return;
        }
    }
    if (e->membership == SC_MEMBERSHIP_MULTICAST && e->mcast.bind[0] && sc_is_loopback(address)) {
        apr_cpystrn(address, e->mcast.bind, sizeof(address)); /* the group is joined there */
    }
    if (sc_is_loopback(address)) {
        return;
    }
    if (!conf->secret_none) {
        complain(c,
                 "SC0109: this node would be a member on %s without protection: whoever reaches "
                 "it can read and change sessions; give all nodes one SessionClusterSecret "
                 "file:path, or say SessionClusterSecret none if only trusted hosts reach it, or "
                 "SessionClusterReceiver address=127.0.0.1",
                 address);
        return;
    }
    if (conf->members->nelts > 0) {
        complain(c,
                 "SC0137: SessionClusterMembers with SessionClusterSecret none: whoever reaches %s "
                 "could make itself a worker of this balancer and be sent cookies and passwords; "
                 "give all nodes one SessionClusterSecret file:path, or name the workers with "
                 "BalancerMember",
                 address);
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, c->s,
                 "SC0125: SessionClusterSecret none: whoever reaches %s can read and change "
                 "sessions; it should be reached by members only",
                 address);
}

static void check_tomcat(check_t *c, const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;

    if (!e->tomcat.on) {
        return;
    }
    if (e->role != SC_ROLE_BALANCER) {
        complain(c,
                 "SC0141: SessionClusterTomcat is for balancers: say SessionClusterRole balancer");
    }
    if (e->tomcat.drop_ms < 2 * e->tomcat.frequency_ms) {
        complain(c,
                 "SC0142: SessionClusterTomcat dropTime=%u must be at least twice frequency=%u, at "
                 "which members are asked that are not heard",
                 e->tomcat.drop_ms, e->tomcat.frequency_ms);
    }
    if (e->tomcat.bind[0] && !strchr(e->tomcat.bind, ':') != !strchr(e->tomcat.address, ':')) {
        complain(c,
                 "SC0143: SessionClusterTomcat: bind=%s and address=%s must both be IPv4 or both "
                 "IPv6",
                 e->tomcat.bind, e->tomcat.address);
    }
}

static int has_interceptor(const sc_config_t *e, const char *name)
{
    for (apr_uint32_t i = 0; i < e->ninterceptors; i++) {
        if (strcmp(e->interceptor[i].name, name) == 0) {
            return 1;
        }
    }
    return e->ninterceptors == 0; /* the default chain has it */
}

static void check_secret(check_t *c, const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;

    if (e->secret.count > 0 && e->membership == SC_MEMBERSHIP_NONE && !e->snapshot.path[0]) {
        complain(c, "SC0126: SessionClusterSecret without SessionClusterMembership: a node alone "
                    "has nobody to share it with; take it out");
    }
    if (e->secret.count > 0 && e->membership == SC_MEMBERSHIP_MULTICAST &&
        !has_interceptor(e, "TcpFailureDetector")) {
        complain(c, "SC0127: SessionClusterSecret with multicast needs SessionClusterInterceptor "
                    "TcpFailureDetector, which asks each member for the secret; without it "
                    "recorded datagrams would make members");
    }
    if (e->secret.count > 0 && e->mcast.accept_foreign) {
        complain(c, "SC0128: SessionClusterSecret with SessionClusterMembership foreign=accept: a "
                    "foreign member has no secret, so nothing it says is accepted; take one of "
                    "them out");
    }
    if (e->secret.count > 0 && e->receiver.udp_port != 0) {
        complain(c, "SC0129: SessionClusterSecret with SessionClusterReceiver udpPort=: messages "
                    "in datagrams to one member are not sealed; take one of them out");
    }
}

static void check_sizes(check_t *c, const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;

    if (conf->memory / SESSIONS_MIN < e->max_session) {
        complain(c,
                 "SC0110: SessionClusterMemory of %" APR_SIZE_T_FMT " bytes is too small for "
                 "SessionClusterMaxSessionSize %u; it must be at least %d times that",
                 conf->memory, e->max_session, SESSIONS_MIN);
    }
    if (e->receiver.max_frame / 2 < e->max_session) {
        complain(c,
                 "SC0111: SessionClusterReceiver maxFrame=%u must be at least twice "
                 "SessionClusterMaxSessionSize %u",
                 e->receiver.max_frame, e->max_session);
    }
    if (e->receiver.max_frame / 2 < e->delta.block_bytes) {
        complain(c,
                 "SC0112: SessionClusterReceiver maxFrame=%u must be at least twice "
                 "SessionClusterManager blockSize=%u",
                 e->receiver.max_frame, e->delta.block_bytes);
    }
    if (e->sender.max_queue / 2 < e->max_session) {
        complain(c,
                 "SC0113: SessionClusterSender maxQueueSize=%u must be at least twice "
                 "SessionClusterMaxSessionSize %u",
                 e->sender.max_queue, e->max_session);
    }
}

typedef enum self_t { SELF_NO, SELF_YES, SELF_PERHAPS } self_t;

/** Whether a numeric address is where this node receives. */
static int is_own_address(const sc_server_conf_t *conf, const char *host)
{
    /* "auto" is one of them; which one may be another one at the next start */
    return strcmp(conf->receiver_address, "auto") == 0 || sc_is_any(conf->receiver_address)
               ? sc_is_local(host)
               : strcmp(host, conf->receiver_address) == 0;
}

/** Whether a static member is this node itself: all nodes may share one list. Of a name nobody
 *  knows without a name server. */
static self_t is_self(const sc_server_conf_t *conf, const sc_config_member_t *m)
{
    const sc_config_t *e = &conf->engine;
    apr_uint32_t advertised =
        e->receiver.advertise_port ? e->receiver.advertise_port : conf->receiver_port;

    if (m->route[0] && strcmp(m->route, e->route) == 0) {
        return SELF_YES;
    }
    if (m->port != conf->receiver_port && m->port != advertised) {
        return SELF_NO;
    }
    if (!sc_is_numeric(m->host)) {
        return m->route[0] ? SELF_NO : SELF_PERHAPS;
    }
    return (m->port == conf->receiver_port && is_own_address(conf, m->host)) ||
                   (m->port == advertised && strcmp(m->host, e->receiver.advertise_address) == 0)
               ? SELF_YES
               : SELF_NO;
}

/** What a static list says. */
typedef struct census_t {
    apr_uint32_t nodes;               /* this one included */
    apr_uint32_t balancers;           /* members that were taken for such */
    const sc_config_member_t *unsure; /* counted as another node, and may be this one */
} census_t;

/* When others are listed with their routes, a member without one is a balancer, which has none. */
static census_t count_nodes(const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;
    apr_uint32_t others = 0, routed = 0;
    census_t census = {0};
    int found = 0;

    for (apr_uint32_t i = 0; i < e->nmembers; i++) {
        self_t self = is_self(conf, &e->member[i]);

        if (self == SELF_YES && found++ && !e->member[i].route[0]) {
            self = SELF_PERHAPS; /* two of them are on this machine */
        }
        if (self != SELF_YES) {
            others++;
            routed += e->member[i].route[0] != '\0';
        }
        if (self == SELF_PERHAPS && !census.unsure) {
            census.unsure = &e->member[i];
        }
    }
    if (found == 1 || routed || e->role != SC_ROLE_NODE) {
        census.unsure = NULL; /* it is another one, or a balancer: neither counts twice */
    }
    census.balancers = routed ? others - routed : 0;
    census.nodes = (routed ? routed : others) + (e->role == SC_ROLE_NODE);
    return census;
}

static void check_quorum(check_t *c, sc_server_conf_t *conf)
{
    sc_config_t *e = &conf->engine;
    census_t census = count_nodes(conf);

    if (e->quorum == 0) {
        return;
    }
    if (e->membership == SC_MEMBERSHIP_NONE) {
        complain(c, "SC0114: SessionClusterQuorum without SessionClusterMembership: a node alone "
                    "has nobody to agree with; take it out");
        return;
    }
    if (e->membership != SC_MEMBERSHIP_STATIC) {
        if (e->quorum == SC_QUORUM_MAJORITY) {
            complain(c, "SC0115: SessionClusterQuorum On does not know how many nodes a multicast "
                        "group or a DNS name should have; give the number that must be alive, for "
                        "instance 2 of 3");
        }
    } else if (e->quorum == SC_QUORUM_MAJORITY && census.unsure) {
        complain(c,
                 "SC0140: SessionClusterQuorum On cannot count the nodes: SessionClusterMember "
                 "%s:%u may be this node or another one; say route= with each member that is a "
                 "node, or give the number that must be alive",
                 census.unsure->host, census.unsure->port);
    } else if (e->quorum == SC_QUORUM_MAJORITY) {
        e->quorum = census.nodes / 2 + 1;
        if (census.balancers) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE | APLOG_STARTUP, 0, c->s,
                         "SC0124: SessionClusterQuorum On: %u of %u nodes; members without route= "
                         "(%u) are taken for balancers",
                         e->quorum, census.nodes, census.balancers);
        }
    } else if (e->quorum > census.nodes) {
        complain(c, "SC0116: SessionClusterQuorum %u can never be reached: there are %u nodes",
                 e->quorum, census.nodes);
    }
}

/* No error: the list may be of today, and the rest of the configuration of tomorrow. */
static void check_backups(const check_t *c, const sc_server_conf_t *conf)
{
    const sc_config_t *e = &conf->engine;
    census_t census = count_nodes(conf);
    apr_uint32_t others = census.nodes - 1 - (census.unsure != NULL);

    if (e->manager == SC_MANAGER_BACKUP && e->role == SC_ROLE_NODE &&
        e->membership == SC_MEMBERSHIP_STATIC && e->nmembers > 0 && e->backup.backups > others) {
        ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, c->s,
                     "SC0123: SessionClusterManager backups=%u cannot be reached: besides this "
                     "node the list of members has %u%s; there will be that many backups",
                     e->backup.backups, others,
                     census.unsure ? apr_psprintf(c->p, " (if %s:%u is this one; route= would say)",
                                                  census.unsure->host, census.unsure->port)
                                   : "");
    }
}

static void check_provider(check_t *c, sc_server_conf_t *conf)
{
    apr_array_header_t *names = all_contexts(conf, c->s, c->p);

    if (conf->engine.role == SC_ROLE_BALANCER && conf->provider_servers->nelts > 0) {
        complain(c, "SC0117: SessionClusterRole balancer holds no sessions, so "
                    "SessionClusterCookieName can do nothing here; take one of them out");
    }
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);

        if (strlen(name) > SC_CONTEXT_MAX) {
            complain(c,
                     "SC0118: the server's name %s is too long for a session space; give it a "
                     "SessionClusterContext of at most %d characters",
                     name, SC_CONTEXT_MAX);
        }
    }
    if (names->nelts > SC_CONTEXTS_MAX) {
        complain(c,
                 "SC0119: there are %d session spaces (each server's name is one unless "
                 "SessionClusterContext names another), at most %d are possible; share some "
                 "through SessionClusterContext",
                 names->nelts, SC_CONTEXTS_MAX);
    }
}

/* The balancer works without an engine, so this is wrong without one, too. */
static void check_inner_method(check_t *c, const sc_server_conf_t *conf)
{
    if (strcmp(conf->inner_method, "byrequests") != 0 &&
        !ap_lookup_provider("proxylbmethod", conf->inner_method, "0")) {
        complain(c,
                 "SC0122: SessionClusterBalancerMethod %s is not loaded: LoadModule "
                 "lbmethod_%s_module first, or use byrequests",
                 conf->inner_method, conf->inner_method);
    }
}

int sc_config_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    sc_server_conf_t *conf = sc_httpd()->conf;
    check_t c = {s, ptemp, 0};
    const char *err;

    (void)plog;
    if (!conf) {
        return OK;
    }
    check_inner_method(&c, conf);
    if (!conf->used) {
        return c.errors == 0 ? OK : HTTP_INTERNAL_SERVER_ERROR;
    }
    check_membership(&c, conf);
    check_receiver(&c, conf);
    check_dns_port(&c, conf);
    check_secret(&c, conf);
    check_tomcat(&c, conf);
    check_sizes(&c, conf);
    check_quorum(&c, conf);
    check_backups(&c, conf);
    check_provider(&c, conf);
    err = sc_announce_wrong(conf);
    if (err) {
        complain(&c, "%s", err);
    }
    err = sc_deployer_wrong(conf, ptemp);
    if (err) {
        complain(&c, "%s", err);
    }
    err = sc_central_wrong(conf, s, pconf, ptemp);
    if (err) {
        complain(&c, "%s", err);
    }
    err = sc_snapshot_wrong(conf, ptemp);
    if (err) {
        complain(&c, "%s", err);
    }
    err = sc_interceptor_check(&conf->engine, ptemp);
    if (err) {
        complain(&c, "SC0120: SessionClusterInterceptor: %s", err);
    }
    if (conf->engine.refuse_unacked && conf->engine.send_options & SC_OPT_ASYNCHRONOUS) {
        complain(&c,
                 "SC0121: SessionClusterSendOptions %u does not wait for the other members, "
                 "so onTimeout=fail cannot happen; use 6, or take it out",
                 conf->engine.send_options);
    }
    return c.errors == 0 ? OK : HTTP_INTERNAL_SERVER_ERROR;
}
