/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The captured vectors (test/vectors): which there are, and how each is taken to pieces and put
 * together again.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include <CUnit/CUnit.h>

#include "java_walk.h"
#include "sc_frame.h"

/** So many there are: a file that gets lost is missed. */
#define VECTORS 66

#define RPC_MESSAGE "org.apache.catalina.tribes.group.RpcMessage"
#define NO_CHANNEL RPC_MESSAGE "$NoRpcChannelReply"
#define MAP_MESSAGE "org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage"
#define MEMBER_IMPL "org.apache.catalina.tribes.membership.MemberImpl"
#define STATIC_MEMBER "org.apache.catalina.tribes.membership.StaticMember"
#define SESSION_MESSAGE "org.apache.catalina.ha.session.SessionMessageImpl"
#define ARRAY_LIST "java.util.ArrayList"

typedef enum vector_kind_t {
    VECTOR_MEMBER, /* the data of a member */
    VECTOR_ACK,    /* the frame of an acknowledgement */
    VECTOR_RAW,    /* a frame around bytes that are not Java's */
    VECTOR_JAVA    /* a frame around a stream of objects */
} vector_kind_t;

typedef struct vector_t {
    const char *name;
    vector_kind_t kind;
} vector_t;

extern const vector_t vectors[VECTORS];

/** A text of a stream, which is not terminated. */
typedef struct vector_text_t {
    const unsigned char *p;
    apr_size_t len;
} vector_text_t;

/** The message of a frame that has a stream in it. */
typedef struct vector_java_t {
    apr_pool_t *pool;
    unsigned char *body;
    sc_packet_t packet;
    java_list_t *stream;
    java_node_t *top; /* its one object */
} vector_java_t;

void vector_open(vector_java_t *v, const char *name);
void vector_close(vector_java_t *v);

/** The head of a remote call. */
typedef struct vector_call_t {
    int no_channel;
    int reply;
    sc_uid_t call;
    vector_text_t id;
} vector_call_t;

/** @return 1: it is one */
int vector_call(java_node_t *n, vector_call_t *call);
/** @return 1: it is a member */
int vector_member(java_node_t *n, sc_member_t *m);

#define VECTOR_ACTIONS_MAX 8

/** What a DeltaRequest is (tribes-protocol 7.4). */
typedef struct vector_delta_t {
    vector_text_t id;
    unsigned int record_all;
    unsigned int n;
    struct {
        apr_uint32_t type;
        apr_uint32_t action;
        vector_text_t name;
        java_node_t *value; /* NULL: none */
    } action[VECTOR_ACTIONS_MAX];
} vector_delta_t;

/** @return 1: it is one */
int vector_delta(const java_list_t *stream, vector_delta_t *d);

/**
 * Write anew what the classes of a stream have written themselves, from what it means: members,
 * heads of calls, sizes of lists, requests of changes, new ids.
 * @return 1; 0: something of it means nothing
 */
int vector_rewrite(apr_pool_t *pool, java_list_t *stream);

/** Take a whole file to pieces, down to numbers and texts, and append what is put together of them.
 *  @return APR_SUCCESS; APR_EMISMATCH: a stream was read, but is written in another way, which must
 *  never be; others: something was not understood */
apr_status_t vector_again(const vector_t *v, const void *bytes, apr_size_t len, sc_buf_t *out);

/** Whether two texts are the same; prints them if not. */
int vector_says(const vector_text_t *text, const char *want);

/* Parts of the suite, in files of their own. */
void vectors_add_meaning(CU_pSuite suite);
void vectors_add_product(CU_pSuite suite);

#endif
