/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * See java_walk.h.
 */
#include <string.h>

#include <apr_strings.h>
#include <apr_tables.h>

#include "java_walk.h"

#define STREAM_HEAD 0xACED0005u
#define FIRST_HANDLE 0x7E0000u
#define BLOCK_MAX 1024

enum {
    TC_NULL = 0x70,
    TC_REFERENCE,
    TC_CLASSDESC,
    TC_OBJECT,
    TC_STRING,
    TC_ARRAY,
    TC_BLOCKDATA = 0x77,
    TC_END,
    TC_RESET,
    TC_BLOCKDATALONG,
    TC_LONGSTRING = 0x7C,
    TC_ENUM = 0x7E
};

#define WITH_WRITER 0x03
#define SERIALIZABLE 0x02
#define EXTERNALIZABLE 0x0C
#define AN_ENUM 0x10

/* Nothing that is captured is nested half as deep; what is must not exhaust the stack. */
#define DEPTH_MAX 48
#define ABOVE_MAX 16

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct reader_t {
    sc_rd_t r;
    apr_pool_t *pool;
    apr_array_header_t *handles; /* of java_node_t * */
    unsigned int depth;
} reader_t;

java_node_t *java_new(apr_pool_t *pool, java_kind_t kind)
{
    java_node_t *n = apr_pcalloc(pool, sizeof(*n));

    n->kind = kind;
    return n;
}

void java_append(java_list_t *list, java_node_t *n)
{
    n->next = NULL;
    if (list->last != NULL) {
        list->last->next = n;
    } else {
        list->first = n;
    }
    list->last = n;
}

static java_list_t *read_stream(apr_pool_t *pool, const void *bytes, apr_size_t len,
                                unsigned int depth);
static java_node_t *read_value(reader_t *rd);

static java_node_t *bad(reader_t *rd)
{
    rd->r.bad = 1;
    return NULL;
}

static void remember(reader_t *rd, java_node_t *n)
{
    APR_ARRAY_PUSH(rd->handles, java_node_t *) = n;
}

static apr_uint32_t get_u16(reader_t *rd)
{
    apr_uint32_t high = sc_get_u8(&rd->r);

    return high << 8 | sc_get_u8(&rd->r);
}

static const unsigned char *get_utf(reader_t *rd, apr_size_t *len)
{
    *len = get_u16(rd);
    return sc_get(&rd->r, *len);
}

/* The byte that says what comes next. @return one that says nothing when there is none */
static unsigned int peek(const reader_t *rd)
{
    return sc_rd_left(&rd->r) > 0 ? *rd->r.p : 0;
}

static java_node_t *read_reference(reader_t *rd)
{
    apr_uint32_t h = sc_get_u32(&rd->r);
    java_node_t *n = java_new(rd->pool, JAVA_REFERENCE);

    if (rd->r.bad || h < FIRST_HANDLE || h - FIRST_HANDLE >= (apr_uint32_t)rd->handles->nelts) {
        return bad(rd);
    }
    n->to = APR_ARRAY_IDX(rd->handles, h - FIRST_HANDLE, java_node_t *);
    return n;
}

static java_node_t *read_string(reader_t *rd, int is_long)
{
    java_node_t *n = java_new(rd->pool, JAVA_STRING);

    remember(rd, n);
    if (is_long) {
        apr_uint64_t len = sc_get_u64(&rd->r);

        if (len <= 0xffff || len > sc_rd_left(&rd->r)) {
            return bad(rd);
        }
        n->len = (apr_size_t)len;
        n->p = sc_get(&rd->r, n->len);
    } else {
        n->p = get_utf(rd, &n->len);
    }
    return n;
}

/* A string where nothing else may stand. */
static java_node_t *read_text(reader_t *rd)
{
    unsigned int what = sc_get_u8(&rd->r);
    java_node_t *n;

    if (what == TC_STRING) {
        return read_string(rd, 0);
    }
    n = what == TC_REFERENCE ? read_reference(rd) : bad(rd);
    return n != NULL && n->to->kind == JAVA_STRING ? n : bad(rd);
}

/* One record of a block; those of a longer one become one. */
static void read_block(reader_t *rd, java_list_t *list, apr_size_t *record)
{
    int is_long = sc_get_u8(&rd->r) == TC_BLOCKDATALONG;
    apr_size_t len = is_long ? sc_get_u32(&rd->r) : sc_get_u8(&rd->r);
    const unsigned char *p = len <= BLOCK_MAX ? sc_get(&rd->r, len) : NULL;
    java_node_t *n = list->last;

    if (p == NULL || len == 0 || is_long != (len > 0xff)) {
        bad(rd);
        return;
    }
    if (n != NULL && n->kind == JAVA_BLOCK) {
        unsigned char *both = apr_palloc(rd->pool, n->len + len);

        if (*record != BLOCK_MAX) {
            bad(rd);
            return;
        }
        memcpy(both, n->p, n->len);
        memcpy(both + n->len, p, len);
        n->p = both;
        n->len += len;
    } else {
        n = java_new(rd->pool, JAVA_BLOCK);
        n->p = p;
        n->len = len;
        java_append(list, n);
    }
    *record = len;
}

/* Values and blocks up to the mark of their end, or, at the top, to the end of the input. */
static void read_contents(reader_t *rd, java_list_t *list, int top)
{
    apr_size_t record = 0;

    while (!rd->r.bad && !(top && sc_rd_left(&rd->r) == 0)) {
        unsigned int what = peek(rd);

        if (what == TC_BLOCKDATA || what == TC_BLOCKDATALONG) {
            read_block(rd, list, &record);
        } else if (what == TC_END && !top) {
            (void)sc_get_u8(&rd->r);
            return;
        } else if (what == TC_RESET && top) {
            (void)sc_get_u8(&rd->r);
            apr_array_clear(rd->handles);
            java_append(list, java_new(rd->pool, JAVA_RESET));
        } else {
            java_node_t *n = read_value(rd);

            if (n != NULL) {
                java_append(list, n);
            }
        }
    }
}

static java_node_t *read_class(reader_t *rd);

static void read_new_class(reader_t *rd, java_node_t *n)
{
    apr_uint32_t i;

    n->p = get_utf(rd, &n->len);
    n->serial = sc_get_u64(&rd->r);
    remember(rd, n);
    n->flags = sc_get_u8(&rd->r);
    n->nfields = get_u16(rd);
    if (rd->r.bad || n->nfields > sc_rd_left(&rd->r)) {
        bad(rd);
        return;
    }
    n->field = apr_pcalloc(rd->pool, (n->nfields + 1) * sizeof(*n->field));
    for (i = 0; i < n->nfields && !rd->r.bad; i++) {
        java_field_t *f = &n->field[i];

        f->type = (char)sc_get_u8(&rd->r);
        f->name = get_utf(rd, &f->name_len);
        if (f->type == '[' || f->type == 'L') {
            f->class_name = read_text(rd);
        } else if (f->type == '\0' || strchr("BCDFIJSZ", f->type) == NULL) {
            bad(rd);
        }
    }
    read_contents(rd, &n->notes, 0);
    n->above = read_class(rd);
    n->whole = 1;
}

/* A class where one must stand, or null where there is none above. */
static java_node_t *read_class(reader_t *rd)
{
    java_node_t *n = NULL;

    if (++rd->depth > DEPTH_MAX) {
        return bad(rd);
    }
    switch (sc_get_u8(&rd->r)) {
    case TC_NULL:
        n = java_new(rd->pool, JAVA_NULL);
        break;
    case TC_CLASSDESC:
        n = java_new(rd->pool, JAVA_CLASS);
        read_new_class(rd, n);
        break;
    case TC_REFERENCE:
        n = read_reference(rd);
        /* one that is not whole is above itself */
        if (n != NULL && (n->to->kind != JAVA_CLASS || !n->to->whole)) {
            n = bad(rd);
        }
        break;
    default:
        n = bad(rd);
    }
    rd->depth--;
    return rd->r.bad ? NULL : n;
}

static apr_size_t size_of(char type)
{
    switch (type) {
    case 'B':
    case 'Z':
        return 1;
    case 'C':
    case 'S':
        return 2;
    case 'I':
    case 'F':
        return 4;
    case 'J':
    case 'D':
        return 8;
    default:
        return 0;
    }
}

static java_node_t *read_field(reader_t *rd, char type)
{
    java_node_t *n;
    apr_size_t i;

    if (size_of(type) == 0) {
        return read_value(rd);
    }
    n = java_new(rd->pool, JAVA_NUMBER);
    n->type = type;
    for (i = 0; i < size_of(type); i++) {
        n->number = n->number << 8 | sc_get_u8(&rd->r);
    }
    return n;
}

static void read_part(reader_t *rd, java_part_t *part)
{
    apr_uint32_t i;

    for (i = 0; part->cls->flags != EXTERNALIZABLE && i < part->cls->nfields && !rd->r.bad; i++) {
        java_node_t *n = read_field(rd, part->cls->field[i].type);

        if (n != NULL) {
            java_append(&part->field, n);
        }
    }
    if (part->cls->flags != SERIALIZABLE) {
        read_contents(rd, &part->notes, 0);
    }
}

/* Which classes write an object's data: an external one alone, others from the top down. */
static java_part_t *parts_of(reader_t *rd, java_node_t *cls)
{
    java_part_t *first = NULL;
    unsigned int n;

    for (n = 0; cls != NULL && cls->kind == JAVA_CLASS; n++, cls = java_value(cls->above)) {
        java_part_t *part = apr_pcalloc(rd->pool, sizeof(*part));
        int external = cls->flags == EXTERNALIZABLE;

        if (n == ABOVE_MAX || (external && n > 0) ||
            (!external && cls->flags != SERIALIZABLE && cls->flags != WITH_WRITER)) {
            bad(rd);
            return NULL;
        }
        part->cls = cls;
        part->next = first;
        first = part;
        if (external) {
            break;
        }
    }
    return first;
}

static java_node_t *read_object(reader_t *rd)
{
    java_node_t *n = java_new(rd->pool, JAVA_OBJECT);
    java_part_t *part;

    n->cls = read_class(rd);
    if (rd->r.bad || n->cls->kind == JAVA_NULL) {
        return bad(rd);
    }
    remember(rd, n);
    n->part = parts_of(rd, java_value(n->cls));
    for (part = n->part; part != NULL && !rd->r.bad; part = part->next) {
        read_part(rd, part);
    }
    return n;
}

static java_node_t *read_enum(reader_t *rd)
{
    java_node_t *n = java_new(rd->pool, JAVA_ENUM);

    n->cls = read_class(rd);
    if (rd->r.bad || n->cls->kind == JAVA_NULL || !(java_value(n->cls)->flags & AN_ENUM)) {
        return bad(rd);
    }
    remember(rd, n);
    n->constant = read_text(rd);
    return n;
}

static java_node_t *read_array(reader_t *rd)
{
    java_node_t *n = java_new(rd->pool, JAVA_ARRAY);
    java_node_t *cls = java_value(n->cls = read_class(rd));
    apr_size_t size;
    apr_uint32_t count;

    if (rd->r.bad || cls->kind == JAVA_NULL || cls->len < 2 || cls->p[0] != '[') {
        return bad(rd);
    }
    remember(rd, n);
    count = sc_get_u32(&rd->r);
    size = size_of((char)cls->p[1]);
    if (size > 0) {
        n->len = count * size;
        n->p = sc_get(&rd->r, n->len);
        if (n->p != NULL && cls->p[1] == 'B') {
            n->inner = read_stream(rd->pool, n->p, n->len, rd->depth);
        }
        return n;
    }
    for (; count > 0 && !rd->r.bad; count--) {
        java_node_t *element = read_value(rd);

        if (element != NULL) {
            java_append(&n->list, element);
        }
    }
    return n;
}

/* @return NULL: malformed */
static java_node_t *read_value(reader_t *rd)
{
    java_node_t *n = NULL;

    if (++rd->depth > DEPTH_MAX) {
        return bad(rd);
    }
    switch (sc_get_u8(&rd->r)) {
    case TC_NULL:
        n = java_new(rd->pool, JAVA_NULL);
        break;
    case TC_REFERENCE:
        n = read_reference(rd);
        break;
    case TC_OBJECT:
        n = read_object(rd);
        break;
    case TC_STRING:
        n = read_string(rd, 0);
        break;
    case TC_LONGSTRING:
        n = read_string(rd, 1);
        break;
    case TC_ARRAY:
        n = read_array(rd);
        break;
    case TC_ENUM:
        n = read_enum(rd);
        break;
    default:
        n = bad(rd);
    }
    rd->depth--;
    return rd->r.bad ? NULL : n;
}

static java_list_t *read_stream(apr_pool_t *pool, const void *bytes, apr_size_t len,
                                unsigned int depth)
{
    java_list_t *list = apr_pcalloc(pool, sizeof(*list));
    reader_t rd = {0};

    sc_rd_init(&rd.r, bytes, len);
    rd.pool = pool;
    rd.handles = apr_array_make(pool, 16, sizeof(java_node_t *));
    rd.depth = depth;
    if (sc_get_u32(&rd.r) != STREAM_HEAD || rd.r.bad) {
        return NULL;
    }
    read_contents(&rd, list, 1);
    return rd.r.bad || list->first == NULL ? NULL : list;
}

java_list_t *java_read(apr_pool_t *pool, const void *bytes, apr_size_t len)
{
    return read_stream(pool, bytes, len, 0);
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct writer_t {
    sc_buf_t *b;
    apr_uint32_t life; /* of the table of handles, no two of which are the same */
    apr_uint32_t next;
} writer_t;

static apr_uint32_t lives;

static void write_node(writer_t *w, java_node_t *n);

static void give_handle(writer_t *w, java_node_t *n)
{
    n->handle = w->next++;
    n->life = w->life;
}

static void new_handles(writer_t *w)
{
    w->life = ++lives;
    w->next = FIRST_HANDLE;
}

static void put_u16(writer_t *w, apr_size_t v)
{
    sc_put_u8(w->b, (unsigned int)(v >> 8 & 0xff));
    sc_put_u8(w->b, (unsigned int)(v & 0xff));
}

static void put_utf(writer_t *w, const unsigned char *text, apr_size_t len)
{
    put_u16(w, len);
    sc_put(w->b, text, len);
}

static void write_number(writer_t *w, const java_node_t *n)
{
    apr_size_t i;

    for (i = size_of(n->type); i > 0; i--) {
        sc_put_u8(w->b, (unsigned int)(n->number >> 8 * (i - 1) & 0xff));
    }
}

static void write_block(writer_t *w, const java_node_t *n)
{
    apr_size_t at, len;

    for (at = 0; at < n->len; at += len) {
        len = n->len - at < BLOCK_MAX ? n->len - at : BLOCK_MAX;
        if (len > 0xff) {
            sc_put_u8(w->b, TC_BLOCKDATALONG);
            sc_put_u32(w->b, (apr_uint32_t)len);
        } else {
            sc_put_u8(w->b, TC_BLOCKDATA);
            sc_put_u8(w->b, (unsigned int)len);
        }
        sc_put(w->b, n->p + at, len);
    }
}

static void write_list(writer_t *w, const java_list_t *list)
{
    java_node_t *n;

    for (n = list->first; n != NULL; n = n->next) {
        write_node(w, n);
    }
}

static void write_class(writer_t *w, java_node_t *n)
{
    apr_uint32_t i;

    sc_put_u8(w->b, TC_CLASSDESC);
    put_utf(w, n->p, n->len);
    sc_put_u64(w->b, n->serial);
    give_handle(w, n);
    sc_put_u8(w->b, n->flags);
    put_u16(w, n->nfields);
    for (i = 0; i < n->nfields; i++) {
        sc_put_u8(w->b, (unsigned char)n->field[i].type);
        put_utf(w, n->field[i].name, n->field[i].name_len);
        if (n->field[i].class_name != NULL) {
            write_node(w, n->field[i].class_name);
        }
    }
    write_list(w, &n->notes);
    sc_put_u8(w->b, TC_END);
    write_node(w, n->above);
}

static void write_object(writer_t *w, java_node_t *n)
{
    const java_part_t *part;

    sc_put_u8(w->b, TC_OBJECT);
    write_node(w, n->cls);
    give_handle(w, n);
    for (part = n->part; part != NULL; part = part->next) {
        write_list(w, &part->field);
        if (part->cls->flags != SERIALIZABLE) {
            write_list(w, &part->notes);
            sc_put_u8(w->b, TC_END);
        }
    }
}

static void write_array(writer_t *w, java_node_t *n)
{
    const unsigned char *type;

    sc_put_u8(w->b, TC_ARRAY);
    write_node(w, n->cls);
    give_handle(w, n);
    type = java_value(n->cls)->p + 1;
    if (n->inner != NULL) {
        sc_buf_t inner;

        sc_buf_init(&inner, w->b->limit);
        java_write(&inner, n->inner);
        sc_put_u32(w->b, (apr_uint32_t)inner.len);
        sc_put(w->b, inner.data, inner.len);
        w->b->err = inner.err != APR_SUCCESS ? inner.err : w->b->err;
        sc_buf_free(&inner);
    } else if (size_of((char)*type) > 0) {
        sc_put_u32(w->b, (apr_uint32_t)(n->len / size_of((char)*type)));
        sc_put(w->b, n->p, n->len);
    } else {
        sc_put_u32(w->b, java_count(&n->list));
        write_list(w, &n->list);
    }
}

static void write_string(writer_t *w, java_node_t *n)
{
    give_handle(w, n);
    if (n->len > 0xffff) {
        sc_put_u8(w->b, TC_LONGSTRING);
        sc_put_u64(w->b, n->len);
        sc_put(w->b, n->p, n->len);
    } else {
        sc_put_u8(w->b, TC_STRING);
        put_utf(w, n->p, n->len);
    }
}

static void write_node(writer_t *w, java_node_t *n)
{
    switch (n->kind) {
    case JAVA_NULL:
        sc_put_u8(w->b, TC_NULL);
        break;
    case JAVA_REFERENCE:
        if (n->to->life != w->life) {
            w->b->err = APR_EGENERAL;
        }
        sc_put_u8(w->b, TC_REFERENCE);
        sc_put_u32(w->b, n->to->handle);
        break;
    case JAVA_CLASS:
        write_class(w, n);
        break;
    case JAVA_OBJECT:
        write_object(w, n);
        break;
    case JAVA_ENUM:
        sc_put_u8(w->b, TC_ENUM);
        write_node(w, n->cls);
        give_handle(w, n);
        write_node(w, n->constant);
        break;
    case JAVA_STRING:
        write_string(w, n);
        break;
    case JAVA_ARRAY:
        write_array(w, n);
        break;
    case JAVA_BLOCK:
        write_block(w, n);
        break;
    case JAVA_NUMBER:
        write_number(w, n);
        break;
    case JAVA_RESET:
        sc_put_u8(w->b, TC_RESET);
        new_handles(w);
        break;
    }
}

void java_write(sc_buf_t *b, const java_list_t *stream)
{
    writer_t w = {b, 0, 0};

    new_handles(&w);
    sc_put_u32(b, STREAM_HEAD);
    write_list(&w, stream);
}

/* ---- looking at it --------------------------------------------------------------------------- */

java_node_t *java_value(java_node_t *n)
{
    return n != NULL && n->kind == JAVA_REFERENCE ? n->to : n;
}

static int is_text(const unsigned char *p, apr_size_t len, const char *text)
{
    return p != NULL && len == strlen(text) && memcmp(p, text, len) == 0;
}

int java_is(java_node_t *n, const char *class_name)
{
    java_node_t *cls = n != NULL ? java_value(java_value(n)->cls) : NULL;

    return cls != NULL && is_text(cls->p, cls->len, class_name);
}

java_node_t *java_field(java_node_t *object, const char *name)
{
    java_node_t *found = NULL;
    java_part_t *part;

    object = java_value(object);
    for (part = object != NULL ? object->part : NULL; part != NULL; part = part->next) {
        java_node_t *n = part->field.first;
        apr_uint32_t i;

        for (i = 0; n != NULL && i < part->cls->nfields; i++, n = n->next) {
            if (is_text(part->cls->field[i].name, part->cls->field[i].name_len, name)) {
                found = java_value(n); /* the lowest class' is the one that is seen */
            }
        }
    }
    return found;
}

apr_uint64_t java_number(java_node_t *n)
{
    n = java_value(n);
    if (n != NULL && n->kind == JAVA_OBJECT) {
        n = java_field(n, "value");
    }
    return n != NULL && n->kind == JAVA_NUMBER ? n->number : APR_UINT64_MAX;
}

int java_says(java_node_t *n, const char *text)
{
    n = java_value(n);
    return n != NULL &&
           (n->kind == JAVA_STRING || n->kind == JAVA_BLOCK || n->kind == JAVA_ARRAY) &&
           is_text(n->p, n->len, text);
}

java_node_t *java_nth(const java_list_t *list, unsigned int n)
{
    java_node_t *node = list->first;

    while (node != NULL && n > 0) {
        node = node->next;
        n--;
    }
    return java_value(node);
}

unsigned int java_count(const java_list_t *list)
{
    const java_node_t *n;
    unsigned int count = 0;

    for (n = list->first; n != NULL; n = n->next) {
        count++;
    }
    return count;
}

java_node_t *java_inner(java_node_t *array)
{
    array = java_value(array);
    return array != NULL && array->inner != NULL && java_count(array->inner) == 1
               ? java_nth(array->inner, 0)
               : NULL;
}

const java_list_t *java_notes(java_node_t *object)
{
    static const java_list_t none;

    object = java_value(object);
    return object != NULL && object->part != NULL ? &object->part->notes : &none;
}

static int same_node(java_node_t *a, java_node_t *b, unsigned int depth);

static int same_list(const java_list_t *a, const java_list_t *b, unsigned int depth)
{
    java_node_t *x = a->first, *y = b->first;

    for (; x != NULL && y != NULL; x = x->next, y = y->next) {
        if (!same_node(x, y, depth)) {
            return 0;
        }
    }
    return x == NULL && y == NULL;
}

static int same_bytes(const unsigned char *a, apr_size_t a_len, const unsigned char *b,
                      apr_size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static int same_fields(const java_node_t *a, const java_node_t *b, unsigned int depth)
{
    apr_uint32_t i;

    for (i = 0; a->nfields == b->nfields && i < a->nfields; i++) {
        const java_field_t *f = &a->field[i], *g = &b->field[i];

        if (f->type != g->type || !same_bytes(f->name, f->name_len, g->name, g->name_len) ||
            !same_node(f->class_name, g->class_name, depth)) {
            return 0;
        }
    }
    return a->nfields == b->nfields;
}

static int same_parts(const java_part_t *a, const java_part_t *b, unsigned int depth)
{
    for (; a != NULL && b != NULL; a = a->next, b = b->next) {
        if (!same_list(&a->field, &b->field, depth) || !same_list(&a->notes, &b->notes, depth)) {
            return 0;
        }
    }
    return a == NULL && b == NULL;
}

static int same_node(java_node_t *a, java_node_t *b, unsigned int depth)
{
    a = java_value(a);
    b = java_value(b);
    if (a == NULL || b == NULL || depth > DEPTH_MAX) {
        return a == b;
    }
    depth++;
    if (a->kind != b->kind || a->serial != b->serial || a->flags != b->flags ||
        a->type != b->type || a->number != b->number || (a->inner != NULL) != (b->inner != NULL)) {
        return 0;
    }
    return same_node(a->cls, b->cls, depth) && same_node(a->above, b->above, depth) &&
           same_node(a->constant, b->constant, depth) && same_fields(a, b, depth) &&
           same_parts(a->part, b->part, depth) && same_list(&a->notes, &b->notes, depth) &&
           same_list(&a->list, &b->list, depth) &&
           (a->inner != NULL ? same_list(a->inner, b->inner, depth)
                             : same_bytes(a->p, a->len, b->p, b->len));
}

int java_same(const java_list_t *a, const java_list_t *b)
{
    return same_list(a, b, 0);
}

void java_each(const java_list_t *list, void (*fn)(java_node_t *n, void *baton), void *baton)
{
    java_node_t *n;

    for (n = list->first; n != NULL; n = n->next) {
        java_part_t *part;

        java_each(&n->list, fn, baton);
        if (n->inner != NULL) {
            java_each(n->inner, fn, baton);
        }
        for (part = n->part; part != NULL; part = part->next) {
            java_each(&part->field, fn, baton);
            java_each(&part->notes, fn, baton);
        }
        if (n->cls != NULL) {
            fn(n, baton);
        }
    }
}
