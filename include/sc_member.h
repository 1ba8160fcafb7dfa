/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_member.h
 * @brief Room "channel": members as Tribes writes them, and our mark in their payload.
 *
 * The block of bytes of tribes-protocol 1.1: whole membership datagram, and sender address inside
 * each frame. Identity of a member is host + port + unique id, nothing else.
 *
 * Our members carry a mark in the payload, so that they know each other and Tomcats are told apart:
 *
 *   "SCM1" | version u8 | role u8 | node state u8 | store id u64 | route (varint length, bytes)
 *   | url (varint length, bytes) | flags varint | said varint | weight varint | lbset varint
 *   | further fields of later versions, skipped
 *
 * A mark that ends before one of the flags and what follows is that of an earlier version, or there
 * is nothing to tell: they are 0. An URL, weight or lbset that no balancer may use does not make a
 * member worse in anything else: they are left out (bad_url).
 * Said is the node's wall clock in heartbeats by multicast. The flags are
 * SC_MEMBER_*, and 0x40 or 0x80, which makes a node of state READY one of state MINORITY or
 * DRAINING; those states themselves are not written, because earlier versions refuse a mark with
 * them.
 */
#ifndef SC_MEMBER_H
#define SC_MEMBER_H

#include "sc_base.h"
#include "sc_board.h"
#include "sc_buf.h"

#define SC_MEMBER_MIN 73          /**< bytes of the shortest member data (tribes-protocol 1.1) */
#define SC_MEMBER_PAYLOAD_MAX 512 /**< longer payloads are refused: ours never need more */
#define SC_MEMBER_DOMAIN_MAX 64
#define SC_MEMBER_COMMAND_MAX 32
#ifndef SC_PROTOCOL_VERSION /* tests of upgrades build another one */
#define SC_PROTOCOL_VERSION 1
#endif
#define SC_WEIGHT_MAX 100 /**< mod_proxy_balancer's own bounds */
#define SC_LBSET_MAX 99

/** The nine bytes that say good-bye (tribes-protocol 1.2). */
#define SC_COMMAND_SHUTDOWN "BABY-ALEX"

typedef struct sc_member_t {
    apr_uint64_t alive_ms; /**< since its membership service started */
    apr_int32_t port;
    apr_int32_t secure_port; /**< -1: none */
    apr_int32_t udp_port;    /**< -1: none */
    apr_byte_t host_len;     /**< 0, 4 or 16 */
    unsigned char host[16];  /**< network order */
    sc_uid_t uid;
    apr_uint16_t command_len;
    apr_uint16_t domain_len;
    apr_uint16_t payload_len;
    unsigned char command[SC_MEMBER_COMMAND_MAX];
    unsigned char domain[SC_MEMBER_DOMAIN_MAX];
    unsigned char payload[SC_MEMBER_PAYLOAD_MAX];

    /* read from the payload by sc_member_get */
    int ours;                /**< 1: carries our mark */
    apr_uint32_t version;    /**< protocol version of the mark */
    apr_uint32_t role;       /**< SC_ROLE_* */
    apr_uint32_t node_state; /**< sc_node_state_t */
    apr_uint64_t store_id;
    apr_uint32_t flags;   /**< SC_MEMBER_* */
    apr_uint64_t said_ms; /**< its wall clock when it said so; 0: not told */
    apr_uint32_t weight;  /**< share of requests that it wants, 1 to SC_WEIGHT_MAX; 0: not told */
    apr_uint32_t lbset;   /**< balancers use lower sets first; to SC_LBSET_MAX */
    int bad_url;          /**< 1: announced something that balancers must not use, left out here */
    char route[SC_ROUTE_MAX + 1];
    char url[SC_URL_MAX + 1]; /**< where it serves; "": it does not tell */
} sc_member_t;

/** Append the member data. A member of ours (ours = 1) gets its payload written from its fields. */
void sc_member_put(sc_buf_t *b, const sc_member_t *m);

/**
 * Read member data at the front of bytes.
 * @param used receives its length; bytes behind it are the caller's business
 * @return APR_SUCCESS; APR_EINVAL malformed (markers, lengths that do not add up, a mark of ours
 * that cannot be read); APR_ENOSPC well-formed, but its command, domain or payload is over our
 *         limits: a foreign member, of which only address, port and unique id have been read
 */
apr_status_t sc_member_get(sc_member_t *m, const void *bytes, apr_size_t len, apr_size_t *used);

/** Same host, port and unique id. */
int sc_member_same(const sc_member_t *a, const sc_member_t *b);
/** Same host and port: one of them may be a former life of the other. */
int sc_member_same_address(const sc_member_t *a, const sc_member_t *b);
/** Whether its receiver can be connected to: a unicast address that is not 0 and a port. */
int sc_member_usable(const sc_member_t *m);
/** Whether its command is SHUTDOWN. */
int sc_member_leaving(const sc_member_t *m);

/** Tribes' absolute order (tribes-protocol 4.13). @return <0, 0, >0 */
int sc_member_order(const sc_member_t *a, const sc_member_t *b);

#define SC_MEMBER_NAME (SC_ROUTE_MAX + 64)
/** For logs: "n1 (127.0.0.1:4000)". @return out */
char *sc_member_name(const sc_member_t *m, char out[SC_MEMBER_NAME]);
/** Its rack (Tribes' domain) as text, "" when it has none or it is no printable text of at most
 *  SC_DOMAIN_MAX bytes. @return out */
char *sc_member_domain(const sc_member_t *m, char out[SC_DOMAIN_MAX + 1]);
/** Numeric address without port. @return out */
char *sc_member_host(const sc_member_t *m, char out[SC_HOST_MAX + 1]);
/** Set the host bytes from a numeric IPv4 or IPv6 address. @return APR_EINVAL if it is none */
apr_status_t sc_member_set_host(sc_member_t *m, const char *address);

/* ---- worker_url.c --------------------------------------------------------------------------- */

typedef enum sc_url_kind_t {
    SC_URL_BAD = 0,  /**< none that a balancer may use */
    SC_URL_LOOPBACK, /**< means the machine of who uses it */
    SC_URL_GOOD
} sc_url_kind_t;

/** What an announced URL is: "scheme://host[:port][/path]" in lower case (but for the path), with
 *  the schemes http, https, ajp, h2, h2c. */
sc_url_kind_t sc_worker_url_kind(const char *url);
/** Whether a balancer may use this member's URL: one of loopback only when it receives there. */
int sc_worker_url_usable(const char *url, const sc_member_t *m);
/** The port that an URL's scheme has without being told. @return 0: no scheme that is known */
apr_uint32_t sc_worker_url_port(const char *url);

#endif
