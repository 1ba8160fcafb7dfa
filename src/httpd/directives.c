/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The directives. What stands in one line is checked here, when it is read; what only several
 * lines together can tell is checked in config.c.
 *
 * Directives of the engine are global and are only ever read at start. Those per directory may
 * also come from .htaccess files, that is at request time and on any thread, and so must not touch
 * the configuration of the process; the two that decide what the engine has to know (cookie name
 * and context) are therefore refused there.
 */

#include "announce.h"
#include "deployer.h"
#include "options.h"
#include "provider.h"
#include "secret.h"
#include "snapshot.h"
#include "tomcat.h"

#include "apr_lib.h"

APLOG_USE_MODULE(session_cluster);

/* ---- the engine's directives ----------------------------------------------------------------- */

/** @return what is wrong with the place; else NULL and the process's configuration */
static const char *global(cmd_parms *cmd, sc_server_conf_t **conf)
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (!err) {
        *conf = sc_httpd()->conf;
        (*conf)->used = 1;
    }
    return err;
}

static const char *wrong(cmd_parms *cmd, const char *right, const char *value)
{
    return apr_psprintf(cmd->pool, "%s wants %s, not \"%s\"", cmd->cmd->name, right, value);
}

static const char *set_route(cmd_parms *cmd, void *dir, const char *arg)
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);
    const char *right = sc_check_route(arg);

    (void)dir;
    if (err) {
        return err;
    }
    if (right) {
        return wrong(cmd, right, arg);
    }
    sc_config_text(conf->engine.route, sizeof(conf->engine.route), arg);
    return NULL;
}

static const char *set_role(cmd_parms *cmd, void *dir, const char *arg)
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);

    (void)dir;
    if (err) {
        return err;
    }
    if (ap_cstr_casecmp(arg, "node") == 0) {
        conf->engine.role = SC_ROLE_NODE;
    } else if (ap_cstr_casecmp(arg, "balancer") == 0) {
        conf->engine.role = SC_ROLE_BALANCER;
    } else {
        return wrong(cmd, "node or balancer", arg);
    }
    return NULL;
}

static const char *set_membership(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    static const char right[] = "multicast, static or dns, then key=value";
    static const char cloud[] = "multicast, static or dns (name= of a headless service with "
                                "publishNotReadyAddresses: true), then key=value";
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);

    (void)dir;
    if (err) {
        return err;
    }
    if (argc < 1) {
        return wrong(cmd, right, "");
    }
    if (conf->engine.membership != SC_MEMBERSHIP_NONE) {
        return apr_psprintf(cmd->pool, "%s is given twice; a node has one membership",
                            cmd->cmd->name);
    }
    if (ap_cstr_casecmp(argv[0], "multicast") == 0) {
        conf->engine.membership = SC_MEMBERSHIP_MULTICAST;
        return sc_options_parse(cmd, conf, sc_multicast_options, NULL, argc - 1, argv + 1);
    }
    if (ap_cstr_casecmp(argv[0], "static") == 0) {
        conf->engine.membership = SC_MEMBERSHIP_STATIC;
        return sc_options_parse(cmd, conf, sc_static_options, NULL, argc - 1, argv + 1);
    }
    if (ap_cstr_casecmp(argv[0], "dns") == 0) {
        conf->engine.membership = SC_MEMBERSHIP_DNS;
        return sc_options_parse(cmd, conf, sc_dns_options, NULL, argc - 1, argv + 1);
    }
    if (ap_cstr_casecmp(argv[0], "kubernetes") == 0 || ap_cstr_casecmp(argv[0], "cloud") == 0) {
        return wrong(cmd, cloud, argv[0]);
    }
    return wrong(cmd, right, argv[0]);
}

static const char *add_member(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf;
    sc_config_member_t member;
    const char *err = global(cmd, &conf);
    const char *right;

    (void)dir;
    if (err) {
        return err;
    }
    memset(&member, 0, sizeof(member));
    right = sc_parse_host_port(cmd->pool, argc > 0 ? argv[0] : "", member.host, &member.port);
    if (right) {
        return wrong(cmd, right, argc > 0 ? argv[0] : "");
    }
    for (int i = 1; i < argc; i++) {
        const char *key, *value;

        err = sc_option_split(cmd, argv[i], &key, &value);
        if (err) {
            return err;
        }
        if (ap_cstr_casecmp(key, "route") != 0) {
            err = sc_option_refused(cmd, sc_member_options, key);
            return err ? err
                       : apr_psprintf(cmd->pool, "%s knows route=; not \"%s\"", cmd->cmd->name,
                                      key);
        }
        right = sc_check_route(value);
        if (right) {
            return apr_psprintf(cmd->pool, "%s: route wants %s, not \"%s\"", cmd->cmd->name, right,
                                value);
        }
        sc_config_text(member.route, sizeof(member.route), value);
    }
    for (apr_uint32_t i = 0; i < conf->engine.nmembers; i++) {
        const sc_config_member_t *m = &conf->engine.member[i];

        if (m->port == member.port && ap_cstr_casecmp(m->host, member.host) == 0) {
            return apr_psprintf(cmd->pool, "%s: %s is given twice", cmd->cmd->name, argv[0]);
        }
        if (member.route[0] && strcmp(m->route, member.route) == 0) {
            return apr_psprintf(cmd->pool,
                                "%s: route %s belongs to %s:%u already; routes are "
                                "unique in a cluster",
                                cmd->cmd->name, m->route, m->host, m->port);
        }
    }
    if (conf->engine.nmembers == SC_MEMBERS_MAX) {
        return apr_psprintf(cmd->pool, "%s: at most %d members", cmd->cmd->name, SC_MEMBERS_MAX);
    }
    conf->engine.member[conf->engine.nmembers++] = member;
    return NULL;
}

static const char *set_receiver(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);

    (void)dir;
    if (err) {
        return err;
    }
    conf->receiver_set = 1;
    return sc_options_parse(cmd, conf, sc_receiver_options, NULL, argc, argv);
}

static const char *set_sender(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);

    (void)dir;
    return err ? err : sc_options_parse(cmd, conf, sc_sender_options, NULL, argc, argv);
}

/** Tribes' number of a send option, as its own configuration spells it. */
static apr_int64_t send_option(const char *word)
{
    static const struct {
        const char *word;
        int value;
    } words[] = {{"sync", SC_OPT_SYNCHRONIZED_ACK},
                 {"synchronized_ack", SC_OPT_SYNCHRONIZED_ACK},
                 {"use_ack", SC_OPT_USE_ACK},
                 {"async", SC_OPT_ASYNCHRONOUS},
                 {"asynchronous", SC_OPT_ASYNCHRONOUS},
                 {"byte", SC_OPT_BYTE_MESSAGE},
                 {"byte_message", SC_OPT_BYTE_MESSAGE},
                 {"secure", SC_OPT_SECURE},
                 {"udp", SC_OPT_UDP},
                 {"multicast", SC_OPT_MULTICAST}};

    for (apr_size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ap_cstr_casecmp(word, words[i].word) == 0) {
            return words[i].value;
        }
    }
    return -1;
}

/** Why a number is no good, or NULL. */
static const char *bad_send_options(apr_int64_t n)
{
    const apr_int64_t known = SC_OPT_USE_ACK | SC_OPT_SYNCHRONIZED_ACK | SC_OPT_ASYNCHRONOUS;

    if (n > 0 && n & (SC_OPT_UDP | SC_OPT_MULTICAST)) {
        return SC_NO_UDP;
    }
    if (n > 0 && n & SC_OPT_SECURE) {
        return "Tribes reserves this bit and does nothing with it";
    }
    if (n < 0 || n & ~known) {
        return "there are no other bits for session messages";
    }
    if (!(n & known)) {
        return "nobody would wait until the other members have the change; 8 says so openly";
    }
    return NULL;
}

static const char *set_send_options(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    static const char right[] = "2, 4, 6, 8, 10, 12 or 14, or words of synchronized_ack, use_ack, "
                                "asynchronous with commas between";
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);
    const char *why;
    apr_int64_t n = 0;

    (void)dir;
    if (err) {
        return err;
    }
    if (argc < 1) {
        return wrong(cmd, right, "");
    }
    if (sc_parse_number(argv[0], &n) != APR_SUCCESS) {
        char *last;

        for (char *word = apr_strtok(apr_pstrdup(cmd->pool, argv[0]), ",", &last); word;
             word = apr_strtok(NULL, ",", &last)) {
            apr_int64_t bit = send_option(word);

            if (bit < 0) {
                return wrong(cmd, right, argv[0]);
            }
            n |= bit;
        }
    }
    /* session messages are byte messages, whoever says so */
    n &= ~(apr_int64_t)SC_OPT_BYTE_MESSAGE;
    why = bad_send_options(n);
    if (why) {
        return apr_psprintf(cmd->pool, "%s; %s", wrong(cmd, right, argv[0]), why);
    }
    conf->engine.send_options = (apr_uint32_t)n;
    for (int i = 1; i < argc; i++) {
        const char *key, *value;

        err = sc_option_split(cmd, argv[i], &key, &value);
        if (!err && ap_cstr_casecmp(key, "onTimeout") == 0) {
            if (ap_cstr_casecmp(value, "serve") != 0 && ap_cstr_casecmp(value, "fail") != 0) {
                return apr_psprintf(cmd->pool, "%s: onTimeout wants serve or fail, not \"%s\"",
                                    cmd->cmd->name, value);
            }
            conf->engine.refuse_unacked = ap_cstr_casecmp(value, "fail") == 0;
        } else if (!err && ap_cstr_casecmp(key, "timeout") != 0) {
            err = apr_psprintf(cmd->pool, "%s knows timeout and onTimeout; not \"%s\"",
                               cmd->cmd->name, key);
        } else if (!err) {
            err = sc_options_parse(cmd, conf, sc_send_options, NULL, 1, argv + i);
        }
        if (err) {
            return err;
        }
    }
    return NULL;
}

static const char *set_manager(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);

    (void)dir;
    if (err) {
        return err;
    }
    if (argc > 0 && ap_cstr_casecmp(argv[0], "delta") == 0) {
        conf->engine.manager = SC_MANAGER_DELTA;
        return sc_options_parse(cmd, conf, sc_delta_options, sc_manager_options, argc - 1,
                                argv + 1);
    }
    if (argc > 0 && ap_cstr_casecmp(argv[0], "backup") == 0) {
        conf->engine.manager = SC_MANAGER_BACKUP;
        return sc_options_parse(cmd, conf, sc_backup_options, sc_manager_options, argc - 1,
                                argv + 1);
    }
    if (argc > 0 && ap_cstr_casecmp(argv[0], "store") == 0) {
        conf->engine.manager = SC_MANAGER_STORE;
        return sc_options_parse(cmd, conf, sc_store_options, NULL, argc - 1, argv + 1);
    }
    return wrong(cmd, "delta, backup or store, then key=value", argc > 0 ? argv[0] : "");
}

static int has_option_flag(int argc, char *const argv[])
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "optionFlag=", 11) == 0) {
            return 1;
        }
    }
    return 0;
}

static const char *add_interceptor(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf;
    sc_config_interceptor_t *c;
    const char *err = global(cmd, &conf);

    (void)dir;
    if (err) {
        return err;
    }
    if (argc < 1) {
        return wrong(cmd, "a name, then key=value", "");
    }
    if (conf->engine.ninterceptors == SC_INTERCEPTORS_MAX) {
        return apr_psprintf(cmd->pool, "%s: at most %d interceptors", cmd->cmd->name,
                            SC_INTERCEPTORS_MAX);
    }
    c = &conf->engine.interceptor[conf->engine.ninterceptors];
    if (strlen(argv[0]) >= sizeof(c->name)) {
        return apr_psprintf(cmd->pool, "%s: no interceptor has a name as long as \"%s\"",
                            cmd->cmd->name, argv[0]);
    }
    if (argc - 1 > (has_option_flag(argc, argv) ? SC_ATTRS_MAX : SC_ATTRS_MAX - 1)) {
        return apr_psprintf(cmd->pool, "%s: at most %d attributes and optionFlag", cmd->cmd->name,
                            SC_ATTRS_MAX - 1);
    }
    sc_config_text(c->name, sizeof(c->name), argv[0]);
    for (int i = 1; i < argc; i++) {
        sc_config_attr_t *a = &c->attr[i - 1];
        const char *key, *value;

        err = sc_option_split(cmd, argv[i], &key, &value);
        if (err) {
            return err;
        }
        if (strlen(key) >= sizeof(a->name) || strlen(value) >= sizeof(a->value)) {
            /* the value may be a key: it is not repeated */
            return apr_psprintf(cmd->pool, "%s: \"%s\" is too long (name %d, value %d bytes)",
                                cmd->cmd->name, key, (int)sizeof(a->name) - 1,
                                (int)sizeof(a->value) - 1);
        }
        sc_config_text(a->name, sizeof(a->name), key);
        sc_config_text(a->value, sizeof(a->value), value);
    }
    c->nattrs = (apr_uint32_t)argc - 1;
    conf->engine.ninterceptors++;
    return NULL;
}

static const char *set_secret(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);

    (void)dir;
    if (err) {
        return err;
    }
    if (conf->secret_none || conf->engine.secret.count > 0) {
        return apr_psprintf(cmd->pool, "%s is given twice; one line may name two files",
                            cmd->cmd->name);
    }
    if (argc == 1 && ap_cstr_casecmp(argv[0], "none") == 0) {
        conf->secret_none = 1;
        return NULL;
    }
    return sc_secret_read(cmd, conf, argc, argv);
}

static const char *set_tomcat(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);

    (void)dir;
    return err ? err : sc_tomcat_parse(cmd, conf, argc, argv);
}

static const char *set_quorum(cmd_parms *cmd, void *dir, const char *arg)
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);
    apr_int64_t n;

    (void)dir;
    if (err) {
        return err;
    }
    if (ap_cstr_casecmp(arg, "on") == 0) {
        conf->engine.quorum = SC_QUORUM_MAJORITY;
    } else if (ap_cstr_casecmp(arg, "off") == 0) {
        conf->engine.quorum = 0;
    } else if (sc_parse_number(arg, &n) == APR_SUCCESS && n >= 1 && n <= SC_MEMBERS_MAX) {
        conf->engine.quorum = (apr_uint32_t)n;
    } else {
        return wrong(cmd, "On, Off or a number of nodes from 1 to " APR_STRINGIFY(SC_MEMBERS_MAX),
                     arg);
    }
    return NULL;
}

static const char *set_memory(cmd_parms *cmd, void *dir, const char *arg)
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);
    apr_int64_t n;

    (void)dir;
    if (err) {
        return err;
    }
    if (sc_parse_bytes(arg, &n) != APR_SUCCESS || n < SC_STORE_MIN || n > 256 * 1024 * SC_MIB) {
        return wrong(cmd, "bytes from 1M to 256G", arg);
    }
    conf->memory = (apr_size_t)n;
    return NULL;
}

static const char *set_max_session(cmd_parms *cmd, void *dir, const char *arg)
{
    sc_server_conf_t *conf;
    const char *err = global(cmd, &conf);
    apr_int64_t n;

    (void)dir;
    if (err) {
        return err;
    }
    if (sc_parse_bytes(arg, &n) != APR_SUCCESS || n < 256 || n > 16 * SC_MIB) {
        return wrong(cmd, "bytes from 256 to 16M", arg);
    }
    conf->engine.max_session = (apr_uint32_t)n;
    return NULL;
}

static const char *set_inner_method(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    static const char right[] =
        "the method for requests without a session, such as byrequests, then key=value";
    sc_server_conf_t *conf = sc_httpd()->conf;
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)dir; /* the balancer works without an engine, so this does not ask for one */
    if (err) {
        return err;
    }
    if (argc < 1 || strchr(argv[0], '=') || ap_cstr_casecmp(argv[0], "bysession") == 0) {
        return wrong(cmd, right, argc > 0 ? argv[0] : "");
    }
    conf->inner_method = apr_pstrdup(cmd->pool, argv[0]);
    return sc_options_parse(cmd, conf, sc_balancer_options, NULL, argc - 1, argv + 1);
}

/* ---- per directory --------------------------------------------------------------------------- */

/* Attributes go out as written, so a misspelt one would be noticed by nobody but browsers. */
static const char *bad_cookie_attribute(apr_pool_t *p, const char *piece)
{
    const char *eq = strchr(piece, '=');
    const char *name = eq ? apr_pstrmemdup(p, piece, (apr_size_t)(eq - piece)) : piece;
    const char *value = eq ? eq + 1 : NULL;

    if (!*piece) {
        return "one ';' between two of them";
    }
    for (const char *c = piece; *c; c++) {
        if (apr_iscntrl(*c) || *c == '"') {
            return "no quotes and no control characters";
        }
    }
    if (ap_cstr_casecmp(name, "Max-Age") == 0 || ap_cstr_casecmp(name, "Expires") == 0) {
        return "no Max-Age and Expires: SessionMaxAge decides on them";
    }
    if (ap_cstr_casecmp(name, "Path") == 0 && (!value || *value != '/')) {
        return "a Path that begins with '/'";
    }
    if (ap_cstr_casecmp(name, "SameSite") == 0 &&
        (!value || (ap_cstr_casecmp(value, "Strict") != 0 && ap_cstr_casecmp(value, "Lax") != 0 &&
                    ap_cstr_casecmp(value, "None") != 0))) {
        return "SameSite=Strict, SameSite=Lax or SameSite=None";
    }
    if ((ap_cstr_casecmp(name, "Secure") == 0 || ap_cstr_casecmp(name, "HttpOnly") == 0) && value) {
        return "Secure and HttpOnly without a value";
    }
    return NULL;
}

static const char *check_cookie_attributes(cmd_parms *cmd, const char *name, const char *attrs)
{
    int secure = 0, same_site_none = 0, prefixed = ap_cstr_casecmpn(name, "__Secure-", 9) == 0;
    int host = ap_cstr_casecmpn(name, "__Host-", 7) == 0, root = 0, domain = 0;
    const char *right = NULL;
    const char *rest = attrs;

    while (!right && rest) {
        const char *semi = strchr(rest, ';');
        char *piece = semi ? apr_pstrmemdup(cmd->pool, rest, (apr_size_t)(semi - rest))
                           : apr_pstrdup(cmd->pool, rest);

        apr_collapse_spaces(piece, piece);
        right = bad_cookie_attribute(cmd->pool, piece);
        secure |= ap_cstr_casecmp(piece, "Secure") == 0;
        same_site_none |= ap_cstr_casecmp(piece, "SameSite=None") == 0;
        root |= ap_cstr_casecmp(piece, "Path=/") == 0;
        domain |= ap_cstr_casecmpn(piece, "Domain=", 7) == 0;
        rest = semi ? semi + 1 : NULL;
    }
    if (!right && same_site_none && !secure) {
        right = "Secure together with SameSite=None, without which browsers refuse it";
    }
    if (!right && ((prefixed && !secure) || (host && (!secure || !root || domain)))) {
        right = host ? "Path=/ and Secure, and no Domain, for a __Host- cookie"
                     : "Secure for a __Secure- cookie";
    }
    return right ? apr_psprintf(cmd->pool, "%s wants as attributes %s; not \"%s\"", cmd->cmd->name,
                                right, attrs)
                 : NULL;
}

/* The rest of the line, in quotes or not. */
static const char *cookie_attributes(cmd_parms *cmd, const char *name, const char *args,
                                     const char **attrs)
{
    const char *text = args;
    apr_size_t len;

    *attrs = NULL;
    if (*args == '"' || *args == '\'') {
        text = ap_getword_conf(cmd->pool, &args);
        if (*args) {
            return wrong(cmd, "a name, then attributes in one pair of quotes or in none", args);
        }
    }
    len = strlen(text);
    while (len > 0 && apr_isspace(text[len - 1])) {
        len--;
    }
    if (len > 0 && text[len - 1] == ';') { /* usual, and harmless */
        len--;
    }
    if (len > 0) {
        *attrs = apr_pstrmemdup(cmd->pool, text, len);
        return check_cookie_attributes(cmd, name, *attrs);
    }
    return NULL;
}

static const char *set_cookie_name(cmd_parms *cmd, void *vdir, const char *args)
{
    sc_server_conf_t *conf = sc_httpd()->conf;
    sc_dir_conf_t *dir = vdir;
    const char *name = ap_getword_conf(cmd->pool, &args);
    const char *missing = sc_provider_missing();
    const char *attrs, *err;
    int known = 0;

    if (missing) {
        return apr_psprintf(cmd->pool, "%s needs mod_session: %s", cmd->cmd->name, missing);
    }
    if (!*name || strlen(name) > 128 ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                     "!#$%&'*+-.^_`|~") != strlen(name)) {
        return wrong(cmd, "a cookie's name (letters, digits and !#$%&'*+-.^_`|~), then attributes",
                     name);
    }
    dir->cookie_name = name;
    dir->cookie_set = 1;
    err = cookie_attributes(cmd, name, args, &attrs);
    if (err) {
        return err;
    }
    dir->cookie_attrs = attrs;
    conf->used = 1;
    for (int i = 0; i < conf->provider_servers->nelts; i++) {
        known |= APR_ARRAY_IDX(conf->provider_servers, i, server_rec *) == cmd->server;
    }
    if (!known) {
        APR_ARRAY_PUSH(conf->provider_servers, server_rec *) = cmd->server;
    }
    return NULL;
}

static const char *set_context(cmd_parms *cmd, void *vdir, const char *arg)
{
    sc_server_conf_t *conf = sc_httpd()->conf;
    sc_dir_conf_t *dir = vdir;
    apr_size_t len = strlen(arg);

    if (len < 1 || len > SC_CONTEXT_MAX || sc_check_visible(arg)) {
        return wrong(cmd, "1 to " APR_STRINGIFY(SC_CONTEXT_MAX) " visible characters", arg);
    }
    dir->context = apr_pstrdup(cmd->pool, arg);
    conf->used = 1;
    apr_hash_set(conf->contexts, dir->context, (apr_ssize_t)len, dir->context);
    return NULL;
}

static const char *set_max_inactive(cmd_parms *cmd, void *vdir, const char *arg)
{
    sc_dir_conf_t *dir = vdir;
    apr_int64_t n;

    if (sc_parse_number(arg, &n) != APR_SUCCESS || n < 1 || n > 366 * 86400) {
        return wrong(cmd, "seconds from 1 to 31622400", arg);
    }
    dir->max_inactive_s = (int)n;
    return NULL;
}

static const char *add_filter(cmd_parms *cmd, void *vdir, const char *arg)
{
    sc_dir_conf_t *dir = vdir;
    ap_regex_t *regex;

    if (!dir->filter) {
        dir->filter = apr_array_make(cmd->pool, 4, sizeof(ap_regex_t *));
    }
    if (ap_cstr_casecmp(arg, "none") == 0) {
        return NULL; /* an empty list, which hides what is inherited */
    }
    regex = ap_pregcomp(cmd->pool, arg, AP_REG_EXTENDED | AP_REG_NOSUB);
    if (!regex) {
        return wrong(cmd, "regular expressions for URIs (or none)", arg);
    }
    APR_ARRAY_PUSH(dir->filter, ap_regex_t *) = regex;
    return NULL;
}

static const char *set_backup_hint(cmd_parms *cmd, void *vdir, int on)
{
    sc_dir_conf_t *dir = vdir;

    (void)cmd;
    dir->backup_hint = on;
    return NULL;
}

/* ---- the list -------------------------------------------------------------------------------- */

#define FILES (RSRC_CONF | ACCESS_CONF) /* configuration files only, no .htaccess */
#define PER_DIR (RSRC_CONF | OR_AUTHCFG)

const command_rec sc_directives[] = {
    AP_INIT_TAKE1("SessionClusterRoute", set_route, NULL, RSRC_CONF,
                  "this node's route, which stands behind the id in the cookie"),
    AP_INIT_TAKE1("SessionClusterRole", set_role, NULL, RSRC_CONF, "node (default) or balancer"),
    AP_INIT_TAKE_ARGV("SessionClusterMembership", set_membership, NULL, RSRC_CONF,
                      "multicast, static or dns, then key=value; none given: stand-alone"),
    AP_INIT_TAKE_ARGV("SessionClusterMember", add_member, NULL, RSRC_CONF,
                      "a static member: host:port [route=name]; repeatable"),
    AP_INIT_TAKE_ARGV("SessionClusterReceiver", set_receiver, NULL, RSRC_CONF,
                      "where replication is received: address= port= autoBind= maxConnections= "
                      "maxFrame="),
    AP_INIT_TAKE_ARGV("SessionClusterSender", set_sender, NULL, RSRC_CONF,
                      "how it is sent: timeout= maxRetryAttempts= maxQueueSize="),
    AP_INIT_TAKE_ARGV("SessionClusterSendOptions", set_send_options, NULL, RSRC_CONF,
                      "2, 4, 6 (default), 8 or 10, or words; timeout=ms onTimeout=serve|fail"),
    AP_INIT_TAKE_ARGV("SessionClusterManager", set_manager, NULL, RSRC_CONF,
                      "delta (default) or backup, then key=value"),
    AP_INIT_TAKE_ARGV("SessionClusterInterceptor", add_interceptor, NULL, RSRC_CONF,
                      "an interceptor of the channel, then key=value; the first one given is "
                      "nearest to the application"),
    AP_INIT_TAKE_ARGV("SessionClusterSecret", set_secret, NULL, RSRC_CONF,
                      "the cluster's secret: file:path, and a second one that is accepted too; "
                      "exec:program and arguments; none: only trusted hosts reach the receiver"),
    AP_INIT_TAKE_ARGV("SessionClusterTomcat", set_tomcat, NULL, RSRC_CONF,
                      "role balancer: follow a cluster of Tomcats: address= port= bind= "
                      "member=host:port[:route] map=name"),
    AP_INIT_TAKE_ARGV("SessionClusterDeployer", sc_set_deployer, NULL, RSRC_CONF,
                      "the same files on all nodes: deployDir= tempDir= watchDir= watchEnabled= "
                      "processDeployFrequency= maxFiles= maxFileSize= maxTotalSize= blockSize= "
                      "maxRate= afterDeploy= command= commandTimeout="),
    AP_INIT_TAKE1("SessionClusterQuorum", set_quorum, NULL, RSRC_CONF,
                  "On, Off (default) or a number: with fewer live nodes answer 503"),
    AP_INIT_TAKE1("SessionClusterMemory", set_memory, NULL, RSRC_CONF,
                  "size of the store, default 64M"),
    AP_INIT_TAKE1("SessionClusterMaxSessionSize", set_max_session, NULL, RSRC_CONF,
                  "names and values of one session at most, default 64K"),
    AP_INIT_TAKE_ARGV("SessionClusterSnapshot", sc_set_snapshot, NULL, RSRC_CONF,
                      "file that keeps sessions over a planned stop of all nodes; wait=seconds"),
    AP_INIT_TAKE_ARGV("SessionClusterAnnounce", sc_set_announce, NULL, RSRC_CONF,
                      "this node's URL as a worker of balancers; weight= lbset="),
    AP_INIT_TAKE_ARGV("SessionClusterMembers", sc_add_members, NULL, RSRC_CONF,
                      "balancer://name, whose workers are the nodes that announce themselves; "
                      "route= url= keep= and parameters of workers"),
    AP_INIT_TAKE_ARGV("SessionClusterBalancerMethod", set_inner_method, NULL, RSRC_CONF,
                      "method of lbmethod=bysession for requests without a session, default "
                      "byrequests, then key=value: rankedDelimiter= maxFailures= failureTime= "
                      "abandonGone="),
    AP_INIT_RAW_ARGS("SessionClusterCookieName", set_cookie_name, NULL, FILES,
                     "name and attributes of the session cookie; switches sessions on here"),
    AP_INIT_TAKE1("SessionClusterContext", set_context, NULL, FILES,
                  "session space, default the server's name"),
    AP_INIT_TAKE1("SessionClusterMaxInactive", set_max_inactive, NULL, PER_DIR,
                  "seconds without a request after which a session expires, default 1800"),
    AP_INIT_ITERATE("SessionClusterFilter", add_filter, NULL, PER_DIR,
                    "regular expressions: a request for a matching URI does not count as an "
                    "access; none: no such"),
    AP_INIT_TAKE_ARGV("SessionClusterRotateId", sc_rotate_directive, NULL, PER_DIR,
                      "On (default), Off or attributes: new id when the login changes; "
                      "grace=seconds"),
    AP_INIT_FLAG("SessionClusterBackupHint", set_backup_hint, NULL, PER_DIR,
                 "On: the cookie also names the backup, for balancers that are no members; default "
                 "Off"),
    AP_INIT_FLAG("SessionClusterStatusActions", sc_set_status_actions, NULL, FILES,
                 "On: who may POST to session-cluster-status can drain this node and end sessions; "
                 "default Off"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}};
