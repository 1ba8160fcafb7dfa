/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file options.h
 * @brief key=value arguments of directives, described by tables.
 *
 * A table names every attribute that Tomcat has for the same thing: those that mean something here
 * with their place and range, the others with the reason why there is no such thing, so that a
 * configuration brought over from Tomcat is answered line by line.
 */
#ifndef SC_OPTIONS_H
#define SC_OPTIONS_H

#include "sc_httpd.h"

typedef enum option_kind_t {
    OPTION_NUMBER,  /**< apr_uint32_t from min to max */
    OPTION_SIGNED,  /**< apr_int32_t from min to max */
    OPTION_SECONDS, /**< as OPTION_NUMBER; kept as milliseconds */
    OPTION_BYTES,   /**< apr_uint32_t from min to max, K and M allowed */
    OPTION_BOOL,    /**< apr_uint32_t: true, false, on, off */
    OPTION_NOT,     /**< as OPTION_BOOL; kept is the opposite */
    OPTION_CHOICE, /**< apr_uint32_t: which of the words in `what`, "first|second", beginning with 0
                    */
    OPTION_TEXT,   /**< char[max]; `check` decides what may stand there */
    OPTION_REFUSED /**< known from Tomcat, not here; `what` says why */
} option_kind_t;

typedef struct option_t {
    const char *name;
    option_kind_t kind;
    apr_size_t offset;    /**< in sc_server_conf_t */
    apr_int64_t min, max; /**< range; of a text the size of its array */
    const char *what;     /**< what the value is ("milliseconds"); the words; why it is refused */
    /** @return what would be right, NULL when the text is */
    const char *(*check)(const char *value);
} option_t;

#define SC_KIB ((apr_int64_t)1024)
#define SC_MIB (SC_KIB * 1024)
#define SC_NO_UDP                                                                                  \
    "session messages travel over TCP only: in a datagram they would be lost without a word, "     \
    "and large ones do not fit"

/** Most connections of members that a receiver may take: with those of strangers, the lines to
 *  other members and the links of the children they fit into the engine's loop (engine.c). */
#define SC_CONNECTIONS_MAX 400

/* option_tables.c: one for each directive that takes key=value, or for each of its kinds */
extern const option_t sc_multicast_options[];
extern const option_t sc_static_options[];
extern const option_t sc_dns_options[];
extern const option_t sc_receiver_options[];
extern const option_t sc_sender_options[];
extern const option_t sc_member_options[];
extern const option_t sc_send_options[];
extern const option_t sc_manager_options[];
extern const option_t sc_delta_options[];
extern const option_t sc_backup_options[];
extern const option_t sc_store_options[];
extern const option_t sc_tomcat_options[];
extern const option_t sc_balancer_options[];

/**
 * Parse the arguments into the configuration.
 * @param table ends with an entry without a name
 * @param more another one whose attributes may be given, too; NULL: none
 * @return NULL, or what is wrong and what would be right
 */
const char *sc_options_parse(cmd_parms *cmd, sc_server_conf_t *conf, const option_t *table,
                             const option_t *more, int argc, char *const argv[]);

/** Why an attribute of Tomcat is none here. @return NULL: the table does not refuse it */
const char *sc_option_refused(cmd_parms *cmd, const option_t *table, const char *key);

/** Cut "key=value". @return NULL, or what is wrong */
const char *sc_option_split(cmd_parms *cmd, const char *arg, const char **key, const char **value);

/** A number with an optional K, M or G behind it. @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_parse_bytes(const char *text, apr_int64_t *out);
/** Digits only (and a leading minus). @return APR_SUCCESS or APR_EINVAL */
apr_status_t sc_parse_number(const char *text, apr_int64_t *out);

/** host:port or [v6]:port into host (SC_DNS_NAME_MAX + 1 bytes). @return NULL or what is right */
const char *sc_parse_host_port(apr_pool_t *p, const char *text, char *host, apr_uint32_t *port);

/** Replace the content of a char array, the rest of it zeroed (configurations are compared as
 *  memory). The text must fit. */
void sc_config_text(char *out, apr_size_t size, const char *text);

/** One spelling for one numeric address, so that texts can be compared: IPv6 in its shortest form,
 *  IPv4 mapped into it as IPv4. Any other text stays as it is. */
const char *sc_plain_address(apr_pool_t *p, const char *text);

/** Checks for OPTION_TEXT and others. @return NULL or what is right */
const char *sc_check_route(const char *value);
const char *sc_check_group(const char *value);
const char *sc_check_bind(const char *value);
const char *sc_check_dns_name(const char *value);
const char *sc_check_domain(const char *value);
const char *sc_check_visible(const char *value);
const char *sc_check_receiver(const char *value);
const char *sc_check_advertised(const char *value);
const char *sc_check_delimiter(const char *value);
const char *sc_check_socache(const char *value);
const char *sc_check_prefix(const char *value);

/** SessionClusterQuorum On, until the check of the whole configuration counts the members. */
#define SC_QUORUM_MAJORITY APR_UINT32_MAX

/** Whether it is an address and no name. */
int sc_is_numeric(const char *host);
/** Whether a numeric address stands for all of this machine's. */
int sc_is_any(const char *address);
/** Whether a numeric address is one of this machine only. */
int sc_is_loopback(const char *address);
/** Whether this machine has a numeric address now. */
int sc_is_local(const char *address);

#endif
