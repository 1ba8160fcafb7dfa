/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The snapshot's file: what comes out of a file is what was put in, up to a block that was changed,
 * and only of an untouched one the end. The input says what is written, with which secret it is
 * written and read, and what is done to the bytes between; or it is the file itself, or what its
 * first block says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/manager/snapshot.h"
#include "fuzz.h"

#define BLOCKS 8

/* In memory: files are brought to disk each time. */
static char folder[] = "/dev/shm/sc-fuzz-XXXXXX";

static void remove_folder(void)
{
    (void)rmdir(folder);
}

static const sc_keyring_t *ring(unsigned int which)
{
    static const char *const secret[] = {"the first of all secrets", "the second of all secrets"};
    static sc_keyring_t made[2];
    unsigned int i;

    for (i = 0; i < 2 && made[1].count == 0; i++) {
        sc_secrets_t s;

        memset(&s, 0, sizeof(s));
        FUZZ_CHECK(sc_secrets_add(&s, secret[i], strlen(secret[i])) == APR_SUCCESS);
        FUZZ_CHECK(sc_keyring_make(&made[i], &s) == APR_SUCCESS);
    }
    return which < 2 ? &made[which] : NULL;
}

typedef struct made_t {
    sc_snap_kind_t kind[BLOCKS + 2];
    sc_buf_t bytes[BLOCKS + 2];
    unsigned int n;
} made_t;

static void put(sc_snap_writer_t *w, made_t *m, sc_snap_kind_t kind, const void *bytes, size_t len)
{
    m->kind[m->n] = kind;
    sc_buf_init(&m->bytes[m->n], 65536);
    sc_put(&m->bytes[m->n++], bytes, len);
    FUZZ_CHECK(sc_snap_put(w, kind, bytes, len) == APR_SUCCESS);
}

/* Write a file and take its bytes. */
static void make(fuzz_in_t *in, const sc_keyring_t *keys, made_t *m, sc_buf_t *file)
{
    static char path[64];
    unsigned int i, blocks = fuzz_below(in, BLOCKS);
    const unsigned char *text;
    sc_snap_writer_t w;
    size_t len;
    FILE *f;

    if (path[0] == '\0') {
        FUZZ_CHECK(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
        snprintf(path, sizeof(path), "%s/file", folder);
    }
    m->n = 0;
    FUZZ_CHECK(sc_snap_create(&w, path, keys) == APR_SUCCESS);
    for (i = 0; i <= blocks; i++) {
        text = fuzz_text(in, 300, &len);
        put(&w, m, i == 0 ? SC_SNAP_META : SC_SNAP_RECORDS, text, len);
    }
    put(&w, m, SC_SNAP_END, "12345678", 8);
    FUZZ_CHECK(sc_snap_commit(&w) == APR_SUCCESS);
    f = fopen(path, "rb");
    FUZZ_CHECK(f != NULL);
    (void)sc_buf_reserve(file, 65536);
    file->len = fread(file->data, 1, 65536, f);
    fclose(f);
    FUZZ_CHECK(unlink(path) == 0);
}

/* @param m NULL: nobody knows what is in it. @return 1: it is whole */
static int read_all(const sc_buf_t *file, const sc_keyring_t *keys, const made_t *m)
{
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    const unsigned char *bytes;
    sc_snap_reader_t r;
    sc_snap_kind_t kind;
    apr_size_t len;
    apr_status_t rv;
    unsigned int n = 0;

    FUZZ_CHECK(fd >= 0 && write(fd, file->data, file->len) == (ssize_t)file->len);
    if (sc_snap_open_fd(&r, fd, keys) != APR_SUCCESS) {
        return 0;
    }
    while ((rv = sc_snap_next(&r, &kind, &bytes, &len)) == APR_SUCCESS) {
        if (m != NULL) {
            FUZZ_CHECK(n < m->n && kind == m->kind[n] && len == m->bytes[n].len);
            FUZZ_CHECK(len == 0 || memcmp(bytes, m->bytes[n].data, len) == 0);
        }
        n++;
    }
    FUZZ_CHECK(rv != APR_EOF || m == NULL || n == m->n);
    sc_snap_close(&r);
    return rv == APR_EOF;
}

static void read_meta(const fuzz_in_t *in)
{
    unsigned char *copy = fuzz_copy(in->p, in->left);
    sc_snap_meta_t meta;
    apr_uint32_t i;

    if (sc_snap_meta_get(&meta, copy, in->left) == APR_SUCCESS) {
        FUZZ_CHECK(meta.nothers <= SC_MEMBERS_MAX && meta.nlater <= meta.nothers);
        FUZZ_CHECK(memchr(meta.route, '\0', sizeof(meta.route)) != NULL);
        for (i = 0; i < meta.nothers; i++) {
            FUZZ_CHECK(memchr(meta.other[i], '\0', sizeof(meta.other[i])) != NULL);
        }
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    unsigned int how, writer, reader;
    sc_buf_t file, before;
    made_t m;

    (void)fuzz_start();
    sc_buf_init(&file, 65536);
    sc_buf_init(&before, 65536);
    how = fuzz_u8(&in);
    writer = how % 3;
    reader = how / 3 % 3;
    if (how >= 240) {
        read_meta(&in);
    } else if (how >= 200) {
        sc_put(&file, in.p, in.left);
        (void)read_all(&file, ring(reader), NULL);
    } else {
        make(&in, ring(writer), &m, &file);
        sc_put(&before, file.data, file.len);
        fuzz_damage(&in, &file);
        FUZZ_CHECK(read_all(&file, ring(reader), &m) ==
                   ((writer == 2 || writer == reader) && file.len == before.len &&
                    memcmp(file.data, before.data, file.len) == 0));
        while (m.n > 0) {
            sc_buf_free(&m.bytes[--m.n]);
        }
    }
    sc_buf_free(&file);
    sc_buf_free(&before);
    return 0;
}
