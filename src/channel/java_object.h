/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file java_object.h
 * @brief Private to room "channel": the few Java objects that members of Tomcat's expect an answer
 *        to (tribes-protocol 5.2, 6, 12).
 *
 * Tribes' static membership asks "are you there" by a Java object inside a remote call, and whoever
 * asks anything waits until all that were asked have answered or said that they know no such call.
 * Nothing else of Java is understood here: an object of another class is skipped unread.
 */
#ifndef SC_JAVA_OBJECT_H
#define SC_JAVA_OBJECT_H

#include "sc_buf.h"
#include "sc_member.h"

/** Longest id of a remote call, or name of a static membership, in bytes. */
#define SC_JAVA_ID_MAX 900

typedef enum sc_java_kind_t {
    SC_JAVA_REQUEST,    /**< a remote call */
    SC_JAVA_REPLY,      /**< its answer */
    SC_JAVA_NO_CHANNEL, /**< the answer of who knows no such call */
    SC_JAVA_PLAIN       /**< no call: a message of static membership on its own */
} sc_java_kind_t;

/** What a message of static membership says. */
typedef enum sc_java_say_t {
    SC_JAVA_NOTHING = 0, /**< it is none */
    SC_JAVA_START,
    SC_JAVA_STOP,
    SC_JAVA_PING
} sc_java_say_t;

/** As read, all pointers point into the message; as written, to bytes of the caller's. */
typedef struct sc_java_t {
    sc_java_kind_t kind;
    sc_uid_t call;           /**< of this one call; unused in SC_JAVA_PLAIN */
    const unsigned char *id; /**< of the kind of call */
    apr_size_t id_len;
    sc_java_say_t say;
    sc_member_t member; /**< whom it says it of; this and the following: not for SC_JAVA_NOTHING */
    const unsigned char *membership; /**< name of the membership */
    apr_size_t membership_len;
    apr_uint64_t
        member_serial; /**< versions of the sender's classes, which it expects in what it */
    apr_uint64_t static_serial; /**< reads; 0: those of Tomcat 10.1 */
} sc_java_t;

/**
 * Read the object of a message without BYTE_MESSAGE.
 * @return APR_SUCCESS; APR_ENOTIMPL an object of another class; APR_EINVAL malformed
 */
apr_status_t sc_java_get(sc_java_t *j, const void *bytes, apr_size_t len);

/** Append the object. Its ids may be SC_JAVA_ID_MAX bytes long. */
void sc_java_put(sc_buf_t *b, const sc_java_t *j);

#endif
