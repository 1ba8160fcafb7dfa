/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Parsing and checking of directive arguments. Everything here is pure: text in, a value or a
 * sentence out. The sentence says what would be right, since the person who reads it has just
 * failed to guess it.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_lib.h"

#include "options.h"

APLOG_USE_MODULE(session_cluster);

/* ---- values ---------------------------------------------------------------------------------- */

apr_status_t sc_parse_number(const char *text, apr_int64_t *out)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    apr_size_t len = strlen(digits);

    if (len == 0 || len > 18 || strspn(digits, "0123456789") != len) {
        return APR_EINVAL;
    }
    *out = apr_strtoi64(text, NULL, 10);
    return APR_SUCCESS;
}

apr_status_t sc_parse_bytes(const char *text, apr_int64_t *out)
{
    apr_size_t len = strspn(text, "0123456789");
    apr_int64_t factor = 1;

    if (len == 0 || len > 12 || (text[len] != '\0' && text[len + 1] != '\0')) {
        return APR_EINVAL;
    }
    switch (text[len]) {
    case '\0':
        break;
    case 'k':
    case 'K':
        factor = 1024;
        break;
    case 'm':
    case 'M':
        factor = 1024 * 1024;
        break;
    case 'g':
    case 'G':
        factor = 1024 * 1024 * 1024;
        break;
    default:
        return APR_EINVAL;
    }
    *out = apr_strtoi64(text, NULL, 10);
    if (*out > APR_INT64_MAX / factor) {
        return APR_EINVAL;
    }
    *out *= factor;
    return APR_SUCCESS;
}

static apr_status_t parse_bool(const char *text, apr_uint32_t *out)
{
    if (ap_cstr_casecmp(text, "true") == 0 || ap_cstr_casecmp(text, "on") == 0) {
        *out = 1;
    } else if (ap_cstr_casecmp(text, "false") == 0 || ap_cstr_casecmp(text, "off") == 0) {
        *out = 0;
    } else {
        return APR_EINVAL;
    }
    return APR_SUCCESS;
}

/** @param words "first|second|..." @return APR_EINVAL when it is none of them */
static apr_status_t parse_choice(const char *text, const char *words, apr_uint32_t *out)
{
    apr_size_t len = strlen(text);

    for (apr_uint32_t n = 0;; n++) {
        apr_size_t word = strcspn(words, "|");

        if (word == len && ap_cstr_casecmpn(words, text, len) == 0) {
            *out = n;
            return APR_SUCCESS;
        }
        if (!words[word]) {
            return APR_EINVAL;
        }
        words += word + 1;
    }
}

/** The same words for people: "first or second". */
static const char *choices(apr_pool_t *p, const char *words)
{
    const char *out = "";

    while (*words) {
        apr_size_t word = strcspn(words, "|");

        out = apr_pstrcat(p, out, *out ? " or " : "", apr_pstrmemdup(p, words, word), NULL);
        words += word + (words[word] != '\0');
    }
    return out;
}

void sc_config_text(char *out, apr_size_t size, const char *text)
{
    memset(out, 0, size);
    apr_cpystrn(out, text, size);
}

const char *sc_parse_host_port(apr_pool_t *p, const char *text, char *host, apr_uint32_t *port)
{
    static const char right[] = "host:port, with an IPv6 address in brackets: [::1]:4000";
    const char *colon = strrchr(text, ':');
    const char *from = text;
    const char *to = colon;
    apr_int64_t n;

    if (!colon || sc_parse_number(colon + 1, &n) != APR_SUCCESS || n < 1 || n > 65535) {
        return right;
    }
    if (text[0] == '[') {
        struct in6_addr in6;

        from = text + 1;
        to = colon - 1;
        if (to <= from || *to != ']' ||
            inet_pton(AF_INET6, apr_pstrmemdup(p, from, (apr_size_t)(to - from)), &in6) != 1) {
            return right;
        }
    } else if (to == from || memchr(from, ':', (apr_size_t)(to - from))) {
        return right;
    } else {
        for (const char *c = from; c < to; c++) {
            if (!apr_isalnum(*c) && *c != '.' && *c != '-' && *c != '_') {
                return right;
            }
        }
    }
    if (to - from > SC_DNS_NAME_MAX) {
        return apr_psprintf(p, "a host name or address of at most %d bytes", SC_DNS_NAME_MAX);
    }
    sc_config_text(host, SC_DNS_NAME_MAX + 1,
                   sc_plain_address(p, apr_pstrmemdup(p, from, (apr_size_t)(to - from))));
    *port = (apr_uint32_t)n;
    return NULL;
}

/* ---- checks ---------------------------------------------------------------------------------- */

const char *sc_check_route(const char *value)
{
    if (!sc_route_valid(value, strlen(value))) {
        return "1 to " APR_STRINGIFY(SC_ROUTE_MAX) " letters, digits, '-' and '_'";
    }
    return NULL;
}

int sc_is_numeric(const char *host)
{
    struct in6_addr in;

    return inet_pton(AF_INET, host, &in) == 1 || inet_pton(AF_INET6, host, &in) == 1;
}

const char *sc_plain_address(apr_pool_t *p, const char *text)
{
    char plain[INET6_ADDRSTRLEN];
    struct in6_addr in6;
    int mapped;

    if (inet_pton(AF_INET6, text, &in6) != 1) {
        return text;
    }
    mapped = IN6_IS_ADDR_V4MAPPED(&in6);
    return inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? &in6.s6_addr[12] : &in6.s6_addr[0],
                     plain, sizeof(plain))
               ? apr_pstrdup(p, plain)
               : text;
}

static int is_link_local(const char *address)
{
    struct in6_addr in6;

    return inet_pton(AF_INET6, address, &in6) == 1 && IN6_IS_ADDR_LINKLOCAL(&in6);
}

const char *sc_check_bind(const char *value)
{
    if (is_link_local(value)) {
        return "a numeric address of this machine that is not link-local (fe80::...): such a one "
               "means nothing without the name of an interface";
    }
    return sc_is_numeric(value) ? NULL : "a numeric address of this machine";
}

const char *sc_check_group(const char *value)
{
    struct in_addr in;
    struct in6_addr in6;

    if ((inet_pton(AF_INET, value, &in) == 1 && IN_MULTICAST(ntohl(in.s_addr))) ||
        (inet_pton(AF_INET6, value, &in6) == 1 && IN6_IS_ADDR_MULTICAST(&in6))) {
        return NULL;
    }
    return "a multicast address: 224.0.0.0 to 239.255.255.255, or IPv6 (ff..::)";
}

const char *sc_check_dns_name(const char *value)
{
    static const char right[] = "a host name that DNS knows";

    if (!*value || *value == '.' || *value == '-') {
        return right;
    }
    for (const char *c = value; *c; c++) {
        if (!apr_isalnum(*c) && *c != '.' && *c != '-' && *c != '_') {
            return right;
        }
    }
    return NULL;
}

const char *sc_check_domain(const char *value)
{
    return sc_check_visible(value) || value[0] == '{' ? SC_DOMAIN_TEXT : NULL;
}

const char *sc_check_visible(const char *value)
{
    for (const char *c = value; *c; c++) {
        if (!apr_isgraph(*c)) {
            return "visible characters only";
        }
    }
    return NULL;
}

const char *sc_check_delimiter(const char *value)
{
    if (strcmp(value, "off") == 0 ||
        (apr_ispunct(value[0]) && !strchr(";,=\"&%", value[0]) && !value[1])) {
        return NULL;
    }
    return "off, or the one character between the routes: not a letter or digit, nor ; , = \" & %";
}

/** Whether a text is a numeric address that a socket of this module can be bound to. The address
 *  of a link is none: it means nothing without the name of an interface. */
static int is_address(const char *value)
{
    struct in_addr in;
    struct in6_addr in6;

    if (inet_pton(AF_INET, value, &in) == 1) {
        return !IN_MULTICAST(ntohl(in.s_addr));
    }
    return inet_pton(AF_INET6, value, &in6) == 1 && !IN6_IS_ADDR_MULTICAST(&in6) &&
           !is_link_local(value);
}

/* Whether all addresses of the machine will do depends on advertiseAddress; see config.c. */
const char *sc_check_receiver(const char *value)
{
    return strcmp(value, "auto") == 0 || is_address(value)
               ? NULL
               : "\"auto\" or a numeric address of this machine that the other members can "
                 "connect to";
}

const char *sc_check_advertised(const char *value)
{
    return is_address(value) && !sc_is_any(value)
               ? NULL
               : "a numeric address that the other members can connect to";
}

int sc_is_any(const char *address)
{
    struct in_addr in;
    struct in6_addr in6;

    if (inet_pton(AF_INET, address, &in) == 1) {
        return in.s_addr == htonl(INADDR_ANY);
    }
    return inet_pton(AF_INET6, address, &in6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&in6);
}

int sc_is_loopback(const char *address)
{
    struct in_addr in;
    struct in6_addr in6;

    if (inet_pton(AF_INET, address, &in) == 1) {
        return (ntohl(in.s_addr) >> 24) == 127;
    }
    return inet_pton(AF_INET6, address, &in6) == 1 && IN6_IS_ADDR_LOOPBACK(&in6);
}

int sc_is_local(const char *address)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t len = sizeof(at.v4);
    int fd, local;

    memset(&at, 0, sizeof(at));
    if (inet_pton(AF_INET, address, &at.v4.sin_addr) == 1) {
        at.v4.sin_family = AF_INET;
    } else if (inet_pton(AF_INET6, address, &at.v6.sin6_addr) == 1) {
        at.v6.sin6_family = AF_INET6;
        len = sizeof(at.v6);
    } else {
        return 0;
    }
    fd = socket(at.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    local = fd >= 0 && bind(fd, &at.sa, len) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return local;
}

/* ---- tables ---------------------------------------------------------------------------------- */

const char *sc_option_split(cmd_parms *cmd, const char *arg, const char **key, const char **value)
{
    const char *eq = strchr(arg, '=');

    if (!eq || eq == arg) {
        return apr_psprintf(cmd->pool, "%s wants key=value, not \"%s\"", cmd->cmd->name, arg);
    }
    *key = apr_pstrmemdup(cmd->pool, arg, (apr_size_t)(eq - arg));
    *value = eq + 1;
    return NULL;
}

/** The names that these tables have a meaning for. */
static const char *known(apr_pool_t *p, const option_t *table, const option_t *more)
{
    const char *names = "";

    for (; table; table = more, more = NULL) {
        for (; table->name; table++) {
            if (table->kind != OPTION_REFUSED) {
                names = apr_pstrcat(p, names, *names ? ", " : "", table->name, NULL);
            }
        }
    }
    return names;
}

/** @param number receives the option's number among all of both tables
 *  @return NULL when there is none of that name */
static const option_t *look_up(const option_t *table, const option_t *more, const char *name,
                               unsigned int *number)
{
    *number = 0;
    for (; table; table = more, more = NULL) {
        for (; table->name; table++, ++*number) {
            if (ap_cstr_casecmp(table->name, name) == 0) {
                return table;
            }
        }
    }
    return NULL;
}

const char *sc_option_refused(cmd_parms *cmd, const option_t *table, const char *key)
{
    unsigned int n;
    const option_t *o = look_up(table, NULL, key, &n);

    return o && o->kind == OPTION_REFUSED
               ? apr_psprintf(cmd->pool, "%s has no %s: %s", cmd->cmd->name, o->name, o->what)
               : NULL;
}

/* What the value of an option has to be, in words. */
static const char *wanted(apr_pool_t *p, const option_t *o)
{
    switch (o->kind) {
    case OPTION_BOOL:
    case OPTION_NOT:
        return "true or false";
    case OPTION_CHOICE:
        return choices(p, o->what);
    case OPTION_BYTES:
        return apr_psprintf(
            p, "bytes from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT " (K and M may be used)",
            o->min, o->max);
    default:
        return apr_psprintf(p, "%s from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT, o->what, o->min,
                            o->max);
    }
}

/** @return NULL, or what would have been right */
static const char *store_value(apr_pool_t *p, sc_server_conf_t *conf, const option_t *o,
                               const char *value)
{
    char *at = (char *)conf + o->offset;
    const char *right;
    apr_uint32_t flag;
    apr_int64_t n;

    switch (o->kind) {
    case OPTION_TEXT:
        if (o->check == sc_check_bind || o->check == sc_check_receiver ||
            o->check == sc_check_advertised || o->check == sc_check_group) {
            value = sc_plain_address(p, value);
        }
        right = o->check ? o->check(value) : NULL;
        if (!right && strlen(value) >= (apr_size_t)o->max) {
            right = apr_psprintf(p, "at most %d bytes", (int)o->max - 1);
        }
        if (!right) {
            sc_config_text(at, (apr_size_t)o->max, value);
        }
        return right;
    case OPTION_BOOL:
    case OPTION_NOT:
        if (parse_bool(value, &flag) != APR_SUCCESS) {
            return wanted(p, o);
        }
        *(apr_uint32_t *)(void *)at = o->kind == OPTION_NOT ? !flag : flag;
        return NULL;
    case OPTION_CHOICE:
        return parse_choice(value, o->what, (apr_uint32_t *)(void *)at) == APR_SUCCESS
                   ? NULL
                   : wanted(p, o);
    default:
        break;
    }
    if ((o->kind == OPTION_BYTES ? sc_parse_bytes(value, &n) : sc_parse_number(value, &n)) !=
            APR_SUCCESS ||
        n < o->min || n > o->max) {
        return wanted(p, o);
    }
    if (o->kind == OPTION_SECONDS) {
        n *= 1000;
    }
    if (o->kind == OPTION_SIGNED) {
        *(apr_int32_t *)(void *)at = (apr_int32_t)n;
    } else {
        *(apr_uint32_t *)(void *)at = (apr_uint32_t)n;
    }
    return NULL;
}

const char *sc_options_parse(cmd_parms *cmd, sc_server_conf_t *conf, const option_t *table,
                             const option_t *more, int argc, char *const argv[])
{
    const char *directive = cmd->cmd->name;
    apr_uint64_t seen = 0; /* no directive has as many as 64 */

    for (int i = 0; i < argc; i++) {
        const char *key, *value, *right;
        const char *err = sc_option_split(cmd, argv[i], &key, &value);
        const option_t *o;
        unsigned int n;

        if (err) {
            return err;
        }
        o = look_up(table, more, key, &n);
        if (!o) {
            return apr_psprintf(cmd->pool, "%s knows %s; not \"%s\"", directive,
                                known(cmd->pool, table, more), key);
        }
        if (o->kind == OPTION_REFUSED) {
            return apr_psprintf(cmd->pool, "%s has no %s: %s", directive, o->name, o->what);
        }
        if (seen & ((apr_uint64_t)1 << n)) {
            return apr_psprintf(cmd->pool, "%s: %s is given twice", directive, o->name);
        }
        seen |= (apr_uint64_t)1 << n;
        right = store_value(cmd->pool, conf, o, value);
        if (right) {
            return apr_psprintf(cmd->pool, "%s: %s wants %s, not \"%s\"", directive, o->name, right,
                                value);
        }
    }
    return NULL;
}
