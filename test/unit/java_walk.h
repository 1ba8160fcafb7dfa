/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A reader and a writer of Java's object streams (tribes-protocol 12) that belong to the tests
 * alone: the product's own codecs are judged by them, and share nothing with them.
 *
 * What is read becomes a tree of what the stream says: nothing in it is a length, an offset or a
 * number of a handle. The writer computes all of these again. A reference points to the node that
 * it means, so a writer that gives handles in another order than Java writes other bytes.
 *
 * The reader takes only what Java would write itself: the short form of whatever has one, blocks
 * cut at 1024 bytes and nowhere else. So what it reads the writer writes again byte for byte,
 * whatever it was, and no byte of a stream goes unnoticed.
 *
 * Known: null, references, classes, objects, enum constants, strings, arrays, blocks of data,
 * resets. Streams in arrays of bytes are read, too. Unknown, as no vector has them: exceptions,
 * classes as values, proxies.
 */
#ifndef JAVA_WALK_H
#define JAVA_WALK_H

#include <apr_pools.h>

#include "sc_buf.h"

typedef enum java_kind_t {
    JAVA_NULL,
    JAVA_REFERENCE, /* to */
    JAVA_CLASS,     /* p, len: name; serial, flags, field, notes; above: the class above it */
    JAVA_OBJECT,    /* cls, part */
    JAVA_ENUM,      /* cls, constant */
    JAVA_STRING,    /* p, len */
    JAVA_ARRAY,     /* cls, and one of: p, len (of primitives); list */
    JAVA_BLOCK,     /* p, len */
    JAVA_NUMBER,    /* type, number: a primitive in a field */
    JAVA_RESET
} java_kind_t;

typedef struct java_node_t java_node_t;

typedef struct java_list_t {
    java_node_t *first;
    java_node_t *last;
} java_list_t;

typedef struct java_field_t {
    char type;
    const unsigned char *name;
    apr_size_t name_len;
    java_node_t *class_name; /* of '[' and 'L': a string, or a reference to one */
} java_field_t;

/** What one of an object's classes has written. */
typedef struct java_part_t java_part_t;
struct java_part_t {
    java_part_t *next; /* of the class below */
    java_node_t *cls;  /* the class itself, never a reference */
    java_list_t field; /* a value for each of the class' fields */
    java_list_t notes; /* what it wrote itself, with flags 03 and 0C */
};

struct java_node_t {
    java_kind_t kind;
    java_node_t *next; /* in its list */
    java_node_t *cls;  /* a class or a reference to one */
    java_node_t *above;
    java_node_t *to; /* never a reference itself */
    java_node_t *constant;
    const unsigned char *p; /* in the input */
    apr_size_t len;
    apr_uint64_t serial;
    unsigned int flags;
    java_field_t *field;
    apr_uint32_t nfields;
    java_part_t *part; /* the topmost class' first */
    java_list_t notes;
    java_list_t list;
    java_list_t *inner; /* the stream that an array of bytes is; NULL: it is none */
    char type;
    apr_uint64_t number;
    int whole;           /* of a class: read to its end */
    apr_uint32_t handle; /* the writer's */
    apr_uint32_t life;   /* which table that handle is in */
};

/** Read a stream. @param bytes must stay as long as the tree. @return NULL: it is none */
java_list_t *java_read(apr_pool_t *pool, const void *bytes, apr_size_t len);
/** Append a stream. Sets the buffer's error when something is referred to before it is written. */
void java_write(sc_buf_t *b, const java_list_t *stream);

/* ---- looking at it --------------------------------------------------------------------------- */

/** The node, or what it refers to; NULL for NULL. */
java_node_t *java_value(java_node_t *n);
/** Whether it is of this class. */
int java_is(java_node_t *n, const char *class_name);
/** The value of a field of an object in any of its classes, NULL when there is none. */
java_node_t *java_field(java_node_t *object, const char *name);
/** A primitive field, or the value of a Long, Integer or Boolean. */
apr_uint64_t java_number(java_node_t *n);
/** Whether a string, a block or an array of bytes is this text. */
int java_says(java_node_t *n, const char *text);
/** The n-th in a list, NULL when it is shorter. */
java_node_t *java_nth(const java_list_t *list, unsigned int n);
unsigned int java_count(const java_list_t *list);
/** The one value of the stream in an array of bytes, NULL when it is not just one. */
java_node_t *java_inner(java_node_t *array);
/** What an object of an external class has written. */
const java_list_t *java_notes(java_node_t *object);
/** Whether two streams say the same, with or without references. */
int java_same(const java_list_t *a, const java_list_t *b);
/** Call for each object, array and enum constant, from the inside out, streams within included. */
void java_each(const java_list_t *list, void (*fn)(java_node_t *n, void *baton), void *baton);

/* ---- making ---------------------------------------------------------------------------------- */

java_node_t *java_new(apr_pool_t *pool, java_kind_t kind);
/** Put at the end of a list; it leaves the one that it was in. */
void java_append(java_list_t *list, java_node_t *n);

#endif
