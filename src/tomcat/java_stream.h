/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file java_stream.h
 * @brief Private to room "tomcat": a reader of Java's object streams (tribes-protocol 12), for the
 *        classes that a Tomcat's answer about its sessions is made of.
 *
 * RpcMessage and NoRpcChannelReply, MapMessage, ArrayList, MemberImpl and StaticMember of any
 * version, arrays of bytes and of members, strings. An object of any other class ends the reading:
 * where it would end cannot be known. With the table of handles, since these objects refer to what
 * came before. Nothing nests deeper than a member in an array in a message in a list.
 *
 * What is claimed costs nothing: strings and arrays stay where they are in the input, and the table
 * grows with the objects that have really come.
 */
#ifndef SC_JAVA_STREAM_H
#define SC_JAVA_STREAM_H

#include "sc_buf.h"
#include "sc_member.h"

#define SC_JCLASSES_MAX 16
#define SC_JFIELDS_MAX 12
/** Different members in one stream; those that come after so many are nobody. */
#define SC_JMEMBERS_MAX 64
#define SC_JNOBODY 0xff
/** Of the members in one array so many are kept. */
#define SC_JNODES_MAX 4

/** What the text of a member is needed for here. */
typedef struct sc_jmember_t {
    apr_byte_t host_len;
    unsigned char host[16];
    apr_int32_t port;
    sc_uid_t uid;
} sc_jmember_t;

typedef enum sc_jkind_t {
    SC_J_NULL = 0,
    SC_J_CLASS,
    SC_J_STRING,  /**< p, len */
    SC_J_BYTES,   /**< p, len */
    SC_J_MEMBER,  /**< node[0] */
    SC_J_MEMBERS, /**< node, nnodes */
    SC_J_OTHER    /**< an object that is read where it stands, and nowhere else */
} sc_jkind_t;

typedef struct sc_jvalue_t {
    sc_jkind_t kind;
    const unsigned char *p; /**< in the input */
    apr_size_t len;
    apr_byte_t nnodes;
    apr_byte_t node[SC_JNODES_MAX]; /**< index in the stream's members, or SC_JNOBODY */
} sc_jvalue_t;

typedef struct sc_jfield_t {
    char type;
    const unsigned char *name;
    apr_size_t name_len;
} sc_jfield_t;

typedef struct sc_jclass_t {
    const unsigned char *name;
    apr_size_t name_len;
    unsigned int flags;
    apr_uint32_t nfields;
    sc_jfield_t field[SC_JFIELDS_MAX];
    int above; /**< index of the class above it, -1: none */
} sc_jclass_t;

typedef struct sc_jhandle_t sc_jhandle_t;

typedef struct sc_jstream_t {
    sc_rd_t r; /**< bad is the stream's error */
    const unsigned char *start;
    sc_jhandle_t *handle;
    apr_size_t nhandles, room;
    apr_uint32_t nclasses;
    sc_jclass_t cls[SC_JCLASSES_MAX];
    apr_uint32_t nmembers;
    sc_jmember_t member[SC_JMEMBERS_MAX];
} sc_jstream_t;

/** A MapMessage (tribes-protocol 8.2); fields that are not told are SC_J_NULL. */
typedef struct sc_jmessage_t {
    apr_uint32_t type;
    sc_jvalue_t key, map, nodes, primary, value;
} sc_jmessage_t;

/** The head of a remote call. */
typedef struct sc_jcall_t {
    int no_channel; /**< 1: who answers knows no such call */
    int reply;
    sc_uid_t call;
    const unsigned char *id;
    apr_size_t id_len;
} sc_jcall_t;

/** Begin with a stream of at most 4 GB, and read its head. To be closed also after an error. */
void sc_jstream_open(sc_jstream_t *s, const void *bytes, apr_size_t len);
void sc_jstream_close(sc_jstream_t *s);

/** Read a string, which a stream of its own consists of. @return NULL when it is something else */
const unsigned char *sc_jstream_text(const void *bytes, apr_size_t len, apr_size_t *text_len);

/* Each of these reads one thing that must come next; s->r.bad says whether it did. */
void sc_jstream_call(sc_jstream_t *s, sc_jcall_t *call);
void sc_jstream_message(sc_jstream_t *s, sc_jmessage_t *m);
/** The head of an ArrayList. @return how many elements it claims */
apr_uint32_t sc_jstream_list(sc_jstream_t *s);
/** The end of an ArrayList, or of what a call carries. */
void sc_jstream_end(sc_jstream_t *s);

#endif
