/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Every captured vector decoded down to numbers and texts and encoded again, byte for byte; here is
 * also the reader of Java's streams itself that this is done with. What the vectors mean is in
 * vectors_meaning.c, what the product makes of it in vectors_product.c.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net_rig.h"
#include "vectors.h"

void sc_suite_vectors(void);

/* ---- which there are ------------------------------------------------------------------------- */

static int is_listed(const char *name)
{
    apr_size_t i;

    for (i = 0; i < VECTORS; i++) {
        if (strcmp(vectors[i].name, name) == 0) {
            return 1;
        }
    }
    printf("\n    %s is not listed in vectors.c\n", name);
    return 0;
}

/** The folder has the files of the list and no others. */
static void test_folder(void)
{
    const char *folder = getenv("SC_VECTORS") != NULL ? getenv("SC_VECTORS") : "test/vectors";
    DIR *dir = opendir(folder);
    struct dirent *entry;
    apr_size_t len, i;
    int n = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while ((entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');

        if (dot != NULL && strcmp(dot, ".bin") == 0) {
            CU_ASSERT_TRUE(is_listed(entry->d_name));
            n++;
        }
    }
    closedir(dir);
    CU_ASSERT_EQUAL(n, VECTORS);
    for (i = 0; i < VECTORS; i++) {
        unsigned char *bytes = rig_vector(vectors[i].name, &len);

        CU_ASSERT_PTR_NOT_NULL(bytes);
        free(bytes);
        CU_ASSERT(i == 0 || strcmp(vectors[i - 1].name, vectors[i].name) < 0);
    }
}

/** The table beside them has a line for each. */
static void test_table(void)
{
    apr_size_t len = 0, i;
    unsigned char *bytes = rig_vector("README.md", &len);
    char *text = malloc(len + 1);
    const char *p;
    int lines = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    memcpy(text, bytes, len);
    text[len] = '\0';
    for (p = text; (p = strstr(p, "\n| `")) != NULL; p++) {
        lines++;
    }
    CU_ASSERT_EQUAL(lines, VECTORS);
    for (i = 0; i < VECTORS; i++) {
        char cell[128];

        snprintf(cell, sizeof(cell), "\n| `%s` |", vectors[i].name);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, cell));
    }
    free(text);
    free(bytes);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void test_again(void)
{
    int n = 0;
    apr_size_t i;

    for (i = 0; i < VECTORS; i++) {
        apr_size_t len = 0;
        unsigned char *bytes = rig_vector(vectors[i].name, &len);
        int same;
        sc_buf_t b;

        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        sc_buf_init(&b, 1 << 20);
        CU_ASSERT_EQUAL(vector_again(&vectors[i], bytes, len, &b), APR_SUCCESS);
        same = b.len == len && memcmp(b.data, bytes, len) == 0;
        CU_ASSERT_TRUE(same);
        if (!same) {
            printf("\n    %s is another one\n", vectors[i].name);
        }
        n += same;
        sc_buf_free(&b);
        free(bytes);
    }
    CU_ASSERT_EQUAL(n, VECTORS);
}

/** Nothing in a vector goes unnoticed: with any byte changed it is refused, or becomes something
 *  else. */
static void test_damaged(void)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    int refused = 0, other = 0;
    apr_size_t i, k, n;

    for (i = 0; i < VECTORS; i++) {
        apr_size_t len = 0;
        unsigned char *bytes = rig_vector(vectors[i].name, &len);
        unsigned char *copy;
        int unnoticed = 0, unlike = 0;
        apr_status_t rv;
        sc_buf_t b;

        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        copy = malloc(len);
        memcpy(copy, bytes, len);
        sc_buf_init(&b, 1 << 20);
        for (n = 0; n < len; n++) {
            for (k = 0; k < sizeof(flips); k++) {
                copy[n] ^= flips[k];
                sc_buf_clear(&b);
                rv = vector_again(&vectors[i], copy, len, &b);
                if (rv == APR_EMISMATCH) {
                    unlike++;
                } else if (rv != APR_SUCCESS) {
                    refused++;
                } else if (b.len == len && memcmp(b.data, bytes, len) == 0) {
                    unnoticed++;
                } else {
                    other++;
                }
                copy[n] = bytes[n];
            }
        }
        CU_ASSERT_EQUAL(unnoticed, 0);
        CU_ASSERT_EQUAL(unlike, 0);
        if (unnoticed > 0 || unlike > 0) {
            printf("\n    %s: %d changes unnoticed, %d written in another way\n", vectors[i].name,
                   unnoticed, unlike);
        }
        sc_buf_free(&b);
        free(copy);
        free(bytes);
    }
    CU_ASSERT(refused > 10000 && other > 10000);
}

/** A stream that ends anywhere before its end is none. */
static void test_cut(void)
{
    apr_size_t i, n;

    for (i = 0; i < VECTORS; i++) {
        vector_java_t v;
        int taken = 0;

        if (vectors[i].kind != VECTOR_JAVA) {
            continue;
        }
        vector_open(&v, vectors[i].name);
        for (n = 0; n < v.packet.body_len; n++) {
            unsigned char *copy = malloc(n + (n == 0));
            apr_pool_t *pool;

            memcpy(copy, v.body, n);
            apr_pool_create(&pool, v.pool);
            taken += java_read(pool, copy, n) != NULL;
            apr_pool_destroy(pool);
            free(copy);
        }
        CU_ASSERT_EQUAL(taken, 0);
        vector_close(&v);
    }
}

/* ---- the reader and the writer themselves ---------------------------------------------------- */

static void put_hex(sc_buf_t *b, const char *hex)
{
    for (; hex[0] != '\0'; hex += hex[0] == ' ' ? 1 : 2) {
        unsigned char c = 0;

        if (hex[0] != ' ') {
            CU_ASSERT_TRUE_FATAL(sc_hex_get(&c, 1, hex));
            sc_put_u8(b, c);
        }
    }
}

/* Read a stream and write it again. @return 1: the same bytes, 0: refused, -1: other bytes */
static int again(const sc_buf_t *b)
{
    unsigned char *copy = malloc(b->len);
    java_list_t *stream;
    apr_pool_t *pool;
    sc_buf_t out;
    int rv = 0;

    memcpy(copy, b->data, b->len);
    apr_pool_create(&pool, NULL);
    sc_buf_init(&out, 1 << 22);
    stream = java_read(pool, copy, b->len);
    if (stream != NULL) {
        java_write(&out, stream);
        rv = out.err == APR_SUCCESS && out.len == b->len && memcmp(out.data, copy, b->len) == 0
                 ? 1
                 : -1;
    }
    sc_buf_free(&out);
    apr_pool_destroy(pool);
    free(copy);
    return rv;
}

static int again_hex(const char *hex)
{
    sc_buf_t b;
    int rv;

    sc_buf_init(&b, 1 << 20);
    put_hex(&b, "aced0005");
    put_hex(&b, hex);
    rv = again(&b);
    sc_buf_free(&b);
    return rv;
}

#define CLASS_A "72 0001 41 0000000000000007" /* version 7; flags, fields are to follow */

static void test_items(void)
{
    CU_ASSERT_EQUAL(again_hex("70"), 1);
    CU_ASSERT_EQUAL(again_hex("74 0001 61 71 007e0000"), 1);
    CU_ASSERT_EQUAL(again_hex("74 0001 61 71 007e0001"), 0); /* to what has not come */
    CU_ASSERT_EQUAL(again_hex("74 0001 61 71 007dffff"), 0);
    CU_ASSERT_EQUAL(again_hex("74 0001 61 79 74 0001 62 71 007e0000"), 1);
    CU_ASSERT_EQUAL(again_hex("74 0001 61 79 71 007e0000"), 0); /* reset: nothing has come */
    CU_ASSERT_EQUAL(again_hex(""), 0);
    CU_ASSERT_EQUAL(again_hex("78"), 0);
    CU_ASSERT_EQUAL(again_hex("76"), 0);
    CU_ASSERT_EQUAL(again_hex("7b"), 0);
    /* an object: its own data, an external one's, one with a writer of its own */
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "02 0001 42 0001 62 78 70 ff"), 1);
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "0c 0000 78 70 7701ff 70 7702ffff 78"), 1);
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "03 0001 42 0001 62 78 70 ff 7701ee 78"), 1);
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "04 0000 78 70 78"), 0);
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "02 0001 51 0001 62 78 70 ff"), 0); /* type 'Q' */
    CU_ASSERT_EQUAL(again_hex("73 70"), 0);
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "0c 0000 78 70 79 78"), 0); /* a reset inside */
    /* each primitive */
    CU_ASSERT_EQUAL(
        again_hex("73" CLASS_A "02 0008 42 0001 62 43 0001 63 44 0001 64 46 0001 66"
                  "49 0001 69 4a 0001 6a 53 0001 73 5a 0001 7a 78 70"
                  "01 0203 0405060708090a0b 0c0d0e0f 10111213 1415161718191a1b 1c1d 1e"),
        1);
    /* the data of the class above comes first */
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "02 0001 42 0001 62 78" CLASS_A
                              "03 0001 53 0001 73 78 70 1111 7701aa 78 22"),
                    1);
    /* the second object of a class; a class above itself */
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "02 0000 78 70 73 71 007e0000"), 1);
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "02 0000 78 71 007e0000"), 0);
    CU_ASSERT_EQUAL(again_hex("73 71 007e0000"), 0);
    CU_ASSERT_EQUAL(again_hex("74 0001 61 73 71 007e0000"), 0); /* a string is no class */
    /* an object that refers to itself */
    CU_ASSERT_EQUAL(again_hex("73" CLASS_A "02 0001 4c 0001 61 74 0001 41 78 70 71 007e0002"), 1);
    CU_ASSERT_EQUAL(again_hex("7e" CLASS_A "12 0000 78 70 74 0001 61 71 007e0001"), 1);
    CU_ASSERT_EQUAL(again_hex("7e" CLASS_A "02 0000 78 70 74 0001 61"), 0); /* no enum */
    /* arrays: of numbers, of objects, of streams, and with too much claimed */
    CU_ASSERT_EQUAL(again_hex("75 72 0002 5b49 0000000000000001 02 0000 78 70"
                              "00000002 0000000100000002"),
                    1);
    CU_ASSERT_EQUAL(again_hex("75 72 0002 5b4c 0000000000000001 02 0000 78 70"
                              "00000002 70 74 0000"),
                    1);
    CU_ASSERT_EQUAL(again_hex("75 72 0002 5b42 0000000000000001 02 0000 78 70"
                              "00000008 aced0005 74 0001 61"),
                    1);
    CU_ASSERT_EQUAL(again_hex("75 72 0002 5b42 0000000000000001 02 0000 78 70"
                              "00000008 aced0005 74 0002 61"),
                    1); /* bytes, and no stream */
    CU_ASSERT_EQUAL(again_hex("75 72 0002 5b4a 0000000000000001 02 0000 78 70 ffffffff"), 0);
    CU_ASSERT_EQUAL(again_hex("75 72 0002 5b4c 0000000000000001 02 0000 78 70 ffffffff"), 0);
    CU_ASSERT_EQUAL(again_hex("75" CLASS_A "02 0000 78 70 00000000"), 0); /* no array */
    /* forms that Java would not write */
    CU_ASSERT_EQUAL(again_hex("77 00"), 0);
    CU_ASSERT_EQUAL(again_hex("7a 00000001 ff"), 0);
    CU_ASSERT_EQUAL(again_hex("77 01 ff 77 01 ff"), 0);
    CU_ASSERT_EQUAL(again_hex("7c 0000000000000001 61"), 0);
}

/** A block of so many bytes, cut as Java does. @return whether it is read and written so */
static int long_block(apr_size_t len, const char *behind)
{
    unsigned char bytes[1024];
    sc_buf_t b;
    int rv;

    memset(bytes, 'x', sizeof(bytes));
    sc_buf_init(&b, 1 << 20);
    put_hex(&b, "aced0005");
    for (; len > 0; len -= len < 1024 ? len : 1024) {
        apr_size_t n = len < 1024 ? len : 1024;

        if (n > 255) {
            sc_put_u8(&b, 0x7a);
            sc_put_u32(&b, (apr_uint32_t)n);
        } else {
            sc_put_u8(&b, 0x77);
            sc_put_u8(&b, (unsigned int)n);
        }
        sc_put(&b, bytes, n);
    }
    put_hex(&b, behind);
    rv = again(&b);
    sc_buf_free(&b);
    return rv;
}

static void test_long(void)
{
    sc_buf_t b;
    apr_size_t i;

    CU_ASSERT_EQUAL(long_block(255, ""), 1);
    CU_ASSERT_EQUAL(long_block(256, ""), 1);
    CU_ASSERT_EQUAL(long_block(1024, "70"), 1);
    CU_ASSERT_EQUAL(long_block(1025, "70"), 1);
    CU_ASSERT_EQUAL(long_block(5000, "74 0001 61"), 1);
    CU_ASSERT_EQUAL(long_block(5000, "77 01 ff"), 0); /* behind one that was not full */
    CU_ASSERT_EQUAL(long_block(2048, "77 01 ff"), 1);
    sc_buf_init(&b, 1 << 20);
    put_hex(&b, "aced0005 7c 0000000000010000");
    memset(sc_buf_reserve(&b, 65536), 'x', 65536);
    b.len += 65536;
    CU_ASSERT_EQUAL(again(&b), 1);
    b.len--;
    CU_ASSERT_EQUAL(again(&b), 0);
    /* deeper than anything is, and as deep as the input is long */
    sc_buf_clear(&b);
    put_hex(&b, "aced0005 75 72 0002 5b4c 0000000000000001 02 0000 78 70");
    for (i = 0; i < 50000; i++) {
        put_hex(&b, "00000001 75 71 007e0000");
    }
    put_hex(&b, "00000000");
    CU_ASSERT_EQUAL(again(&b), 0);
    sc_buf_free(&b);
}

/** The writer counts for itself: what is put in front moves every handle behind it. */
static void test_handles(void)
{
    static const char *const names[] = {"map-rpc-state-reply-many.bin", "map-proxy.bin",
                                        "repmap-copy.bin"};
    apr_size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        java_list_t with = {0}, *read, *rest;
        java_node_t *extra;
        vector_java_t v;
        sc_buf_t b;

        vector_open(&v, names[i]);
        extra = java_new(v.pool, JAVA_STRING);
        extra->p = (const unsigned char *)"in front";
        extra->len = 8;
        java_append(&with, extra);
        java_append(&with, v.top);
        sc_buf_init(&b, 1 << 20);
        java_write(&b, &with);
        CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
        CU_ASSERT_EQUAL(b.len, v.packet.body_len + 11);
        CU_ASSERT_NOT_EQUAL(memcmp(b.data + 15, v.body + 4, v.packet.body_len - 4), 0);
        read = java_read(v.pool, b.data, b.len);
        CU_ASSERT_PTR_NOT_NULL_FATAL(read);
        CU_ASSERT_FALSE(java_same(read, v.stream));
        rest = apr_pcalloc(v.pool, sizeof(*rest));
        java_append(rest, java_nth(read, 1));
        CU_ASSERT_TRUE(java_same(rest, v.stream));
        /* what is referred to must have been written */
        with.first = with.last = NULL;
        extra->kind = JAVA_REFERENCE;
        extra->to = java_new(v.pool, JAVA_STRING);
        java_append(&with, extra);
        sc_buf_clear(&b);
        java_write(&b, &with);
        CU_ASSERT_NOT_EQUAL(b.err, APR_SUCCESS);
        sc_buf_free(&b);
        vector_close(&v);
    }
}

void sc_suite_vectors(void)
{
    CU_pSuite s = CU_add_suite("vectors", NULL, NULL);

    CU_add_test(s, "the folder and the list", test_folder);
    CU_add_test(s, "the table beside them", test_table);
    CU_add_test(s, "decoded and encoded, byte for byte", test_again);
    CU_add_test(s, "no changed byte goes unnoticed", test_damaged);
    CU_add_test(s, "cut off at every byte", test_cut);
    CU_add_test(s, "the items of a stream", test_items);
    CU_add_test(s, "long and deep ones", test_long);
    CU_add_test(s, "handles are counted anew", test_handles);
    vectors_add_meaning(s);
    vectors_add_product(s);
}
