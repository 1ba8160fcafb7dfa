/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The URL under which a node announces itself to balancers. Balancers send requests there, with
 * cookies and passwords, so what may stand in it is what a backend of theirs needs, and nothing
 * more: no user, no query, no escapes, no address that cannot be a host, and none that means the
 * balancer's own machine, or its link, unless the member is there, too.
 */
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "sc_member.h"

#define PORT_DIGITS 5

static const struct {
    const char *name;
    apr_uint32_t port;
} schemes[] = {{"http", 80}, {"https", 443}, {"ajp", 8009}, {"h2", 443}, {"h2c", 80}};

/** One URL taken apart; nothing in it ends with a NUL. */
typedef struct parts_t {
    const char *host; /**< without brackets */
    apr_size_t host_len;
    int v6;
    const char *path;
    apr_size_t path_len;
} parts_t;

static int is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

apr_uint32_t sc_worker_url_port(const char *url)
{
    const char *colon = strchr(url, ':');
    apr_size_t i;

    for (i = 0; colon != NULL && i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strlen(schemes[i].name) == (apr_size_t)(colon - url) &&
            memcmp(schemes[i].name, url, (apr_size_t)(colon - url)) == 0) {
            return schemes[i].port;
        }
    }
    return 0;
}

/** Between "://" and the port or the path. @return what follows; NULL: no host */
static const char *split_host(const char *at, parts_t *u)
{
    const char *end;

    if (*at == '[') {
        end = strchr(at, ']');
        if (end == NULL) {
            return NULL;
        }
        u->v6 = 1;
        u->host = at + 1;
        u->host_len = (apr_size_t)(end - u->host);
        return end + 1;
    }
    u->host = at;
    u->host_len = strcspn(at, ":/");
    return at + u->host_len;
}

/** One port has one spelling, or it would be two workers: none where the scheme says it.
 *  @return what follows the port, if there is one; NULL: it is no port */
static const char *skip_port(const char *at, apr_uint32_t usual)
{
    apr_uint32_t port = 0;
    int digits = 0;

    if (*at != ':') {
        return at;
    }
    for (at++; is_digit(*at) && digits < PORT_DIGITS; at++, digits++) {
        port = port * 10 + (apr_uint32_t)(*at - '0');
        if (port == 0) {
            return NULL;
        }
    }
    return digits > 0 && port <= 65535 && port != usual ? at : NULL;
}

static int split(const char *url, parts_t *u)
{
    const char *at = strstr(url, "://");

    memset(u, 0, sizeof(*u));
    if (sc_worker_url_port(url) == 0 || at == NULL || at != strchr(url, ':')) {
        return 0;
    }
    at = split_host(at + 3, u);
    at = at != NULL ? skip_port(at, sc_worker_url_port(url)) : NULL;
    if (at == NULL || (*at != '\0' && *at != '/')) {
        return 0;
    }
    u->path = at;
    u->path_len = strlen(at);
    return u->host_len > 0 && u->host_len <= SC_HOST_MAX;
}

/** A path that goes in front of what the browser asks for: "" or "/app", no way up or around. */
static int good_path(const parts_t *u)
{
    apr_size_t i;

    for (i = 0; i < u->path_len; i++) {
        char c = u->path[i];

        if (c == '/' || c == '.') {
            /* the next one must be part of a name: no "//", "/.", ".." and no '/' at the end */
            if (i + 1 == u->path_len || u->path[i + 1] == '/' || u->path[i + 1] == '.') {
                return 0;
            }
        } else if (!is_lower(c) && !is_digit(c) && !(c >= 'A' && c <= 'Z') && c != '-' &&
                   c != '_' && c != '~') {
            return 0;
        }
    }
    return 1;
}

/** Names in lower case, so that one host has one spelling. @return 0: no name of a host */
static int good_name(const parts_t *u)
{
    apr_size_t i;

    for (i = 0; i < u->host_len; i++) {
        char c = u->host[i];

        if (!is_lower(c) && !is_digit(c) && c != '-' && c != '_' &&
            !(c == '.' && i > 0 && u->host[i - 1] != '.')) {
            return 0;
        }
    }
    return u->host[0] != '-';
}

/** What resolvers would take for an address, though inet_pton does not: "127.1", "2130706433". */
static int looks_numeric(const parts_t *u)
{
    apr_size_t last = u->host_len;

    if (last > 0 && u->host[last - 1] == '.') {
        last--;
    }
    while (last > 0 && u->host[last - 1] != '.') {
        last--;
    }
    return is_digit(u->host[last]);
}

static int v4_kind(const unsigned char *b)
{
    if (b[0] == 127) {
        return SC_URL_LOOPBACK;
    }
    return b[0] == 0 || b[0] >= 224 || (b[0] == 169 && b[1] == 254) ? SC_URL_BAD : SC_URL_GOOD;
}

static int v6_kind(const unsigned char *b)
{
    static const unsigned char zero[16], mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (memcmp(b, mapped, sizeof(mapped)) == 0) {
        return v4_kind(b + sizeof(mapped));
    }
    if (memcmp(b, zero, 15) == 0) {
        return b[15] == 1 ? SC_URL_LOOPBACK : SC_URL_BAD;
    }
    /* all of ::/96, which are IPv4 addresses to some, ff00::/8 and fe80::/10 */
    return memcmp(b, zero, 12) == 0 || b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80)
               ? SC_URL_BAD
               : SC_URL_GOOD;
}

static int is_localhost(const char *host)
{
    static const char name[] = "localhost";
    apr_size_t len = strlen(host);

    if (len > 0 && host[len - 1] == '.') {
        len--;
    }
    return len >= sizeof(name) - 1 &&
           memcmp(host + len - (sizeof(name) - 1), name, sizeof(name) - 1) == 0 &&
           (len == sizeof(name) - 1 || host[len - sizeof(name)] == '.');
}

sc_url_kind_t sc_worker_url_kind(const char *url)
{
    unsigned char b[16];
    char host[SC_HOST_MAX + 1];
    parts_t u;

    if (strlen(url) > SC_URL_MAX || !split(url, &u) || !good_path(&u)) {
        return SC_URL_BAD;
    }
    memcpy(host, u.host, u.host_len);
    host[u.host_len] = '\0';
    if (u.v6) {
        char text[INET6_ADDRSTRLEN];

        return inet_pton(AF_INET6, host, b) == 1 &&
                       inet_ntop(AF_INET6, b, text, sizeof(text)) != NULL && strcmp(text, host) == 0
                   ? v6_kind(b)
                   : SC_URL_BAD;
    }
    if (inet_pton(AF_INET, host, b) == 1) {
        return v4_kind(b);
    }
    if (!good_name(&u) || looks_numeric(&u)) {
        return SC_URL_BAD;
    }
    return is_localhost(host) ? SC_URL_LOOPBACK : SC_URL_GOOD;
}

int sc_worker_url_usable(const char *url, const sc_member_t *m)
{
    sc_url_kind_t kind = sc_worker_url_kind(url);

    if (kind == SC_URL_LOOPBACK && m->host_len == 4) {
        return v4_kind(m->host) == SC_URL_LOOPBACK;
    }
    if (kind == SC_URL_LOOPBACK && m->host_len == 16) {
        return v6_kind(m->host) == SC_URL_LOOPBACK;
    }
    return kind == SC_URL_GOOD;
}
