/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The catalogue on the disk, so that a restarted node knows what it has and what it has seen:
 * tempDir/catalogue.
 *
 *   "SCF1" | hlc u64 | tag u32 | batch u8 | entries: a record of varint length each | SHA-256 of
 * all before it
 *
 * It is only read by the node that wrote it, and written anew as a whole. What it says is not
 * trusted further than that: a file that is not as it says is fetched again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#define FILE_NAME "catalogue"
#define NEW_NAME "catalogue.new"
#define BAD_NAME "catalogue.bad"
#define FILE_MAX (256 * 1024 * 1024)
#define RECORD_MAX 1024

static const unsigned char magic[4] = {'S', 'C', 'F', '1'};

static void put_id(sc_buf_t *b, const sc_file_id_t *id)
{
    sc_put_u64(b, id->ino);
    sc_put_u64(b, id->size);
    sc_put_u64(b, (apr_uint64_t)id->mtime_ns);
    sc_put_u64(b, (apr_uint64_t)id->ctime_ns);
}

static void get_id(sc_rd_t *r, sc_file_id_t *id)
{
    id->ino = sc_get_u64(r);
    id->size = sc_get_u64(r);
    id->mtime_ns = (apr_int64_t)sc_get_u64(r);
    id->ctime_ns = (apr_int64_t)sc_get_u64(r);
}

/* ---- writing -------------------------------------------------------------------------------- */

static void put_entry(sc_buf_t *b, sc_buf_t *record, const sc_deploy_entry_t *e)
{
    const sc_version_t *v = &e->have;

    sc_buf_clear(record);
    sc_put_str(record, e->name, strlen(e->name));
    sc_put_u8(record, v->kind);
    sc_put_u8(record, v->executable);
    sc_put_varint(record, v->size);
    sc_put_u64(record, v->stamp.hlc);
    sc_put_u32(record, v->stamp.node);
    sc_put(record, v->sha, sizeof(v->sha));
    put_id(record, &e->placed);
    sc_put_u8(record, e->watched);
    if (e->watched) {
        put_id(record, &e->seen);
        sc_put(record, e->seen_sha, sizeof(e->seen_sha));
        sc_put_u8(record, e->seen_executable);
    }
    sc_put_str(b, record->data, record->len);
}

static apr_status_t seal(sc_buf_t *b)
{
    unsigned char sum[SC_SHA_BYTES];

    if (b->err == APR_SUCCESS && EVP_Digest(b->data, b->len, sum, NULL, EVP_sha256(), NULL)) {
        sc_put(b, sum, sizeof(sum));
        return b->err;
    }
    return b->err != APR_SUCCESS ? b->err : APR_ENOMEM;
}

static apr_status_t write_file(int temp_root, const sc_buf_t *b)
{
    int fd =
        openat(temp_root, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    apr_status_t rv = APR_SUCCESS;
    apr_size_t done = 0;

    if (fd < 0) {
        return errno;
    }
    while (rv == APR_SUCCESS && done < b->len) {
        ssize_t n = write(fd, b->data + done, b->len - done);

        if (n > 0) {
            done += (apr_size_t)n;
        } else if (n == 0 || errno != EINTR) {
            rv = n == 0 ? ENOSPC : errno;
        }
    }
    if (rv == APR_SUCCESS && fsync(fd) != 0) {
        rv = errno;
    }
    close(fd);
    if (rv == APR_SUCCESS && renameat(temp_root, NEW_NAME, temp_root, FILE_NAME) != 0) {
        rv = errno;
    }
    if (rv == APR_SUCCESS && fsync(temp_root) != 0) {
        rv = errno;
    }
    return rv;
}

apr_status_t sc_control_save(int temp_root, const sc_control_t *k, const sc_catalogue_t *c)
{
    sc_buf_t b, record;
    apr_status_t rv;
    apr_size_t i;

    sc_buf_init(&b, FILE_MAX);
    sc_buf_init(&record, RECORD_MAX);
    sc_put(&b, magic, sizeof(magic));
    sc_put_u64(&b, k->hlc);
    sc_put_u32(&b, k->tag);
    sc_put_u8(&b, k->batch);
    for (i = 0; i < c->n; i++) {
        if (c->at[i]->have.kind != SC_DEPLOY_NONE || c->at[i]->watched) {
            put_entry(&b, &record, c->at[i]);
        }
    }
    rv = record.err != APR_SUCCESS ? record.err : seal(&b);
    if (rv == APR_SUCCESS) {
        rv = write_file(temp_root, &b);
    }
    sc_buf_free(&b);
    sc_buf_free(&record);
    return rv;
}

/* ---- reading -------------------------------------------------------------------------------- */

static apr_status_t read_file(int temp_root, sc_buf_t *b)
{
    int fd = openat(temp_root, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    apr_status_t rv = APR_SUCCESS;
    struct stat st;

    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &st) != 0) {
        rv = errno;
    } else if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        rv = APR_EINVAL;
    }
    while (rv == APR_SUCCESS) {
        unsigned char *room = sc_buf_reserve(b, 64 * 1024);
        ssize_t n = room != NULL ? read(fd, room, 64 * 1024) : -1;

        if (room == NULL) {
            rv = b->err;
        } else if (n > 0) {
            b->len += (apr_size_t)n;
        } else if (n == 0) {
            break;
        } else if (errno != EINTR) {
            rv = errno;
        }
    }
    close(fd);
    return rv;
}

static int get_entry(sc_catalogue_t *c, const unsigned char *bytes, apr_size_t len)
{
    char name[SC_DEPLOY_NAME_MAX + 1];
    sc_deploy_entry_t *e;
    const unsigned char *p;
    sc_version_t v;
    apr_size_t n = 0;
    sc_rd_t r;

    memset(&v, 0, sizeof(v));
    sc_rd_init(&r, bytes, len);
    p = sc_get_str(&r, SC_DEPLOY_NAME_MAX, &n);
    if (p == NULL || !sc_deploy_name((const char *)p, n)) {
        return 0;
    }
    memcpy(name, p, n);
    name[n] = '\0';
    v.kind = sc_get_u8(&r);
    v.executable = sc_get_u8(&r);
    v.size = sc_get_varint(&r);
    v.stamp.hlc = sc_get_u64(&r);
    v.stamp.node = sc_get_u32(&r);
    p = sc_get(&r, SC_SHA_BYTES);
    e = sc_catalogue_get(c, name);
    if (p == NULL || e == NULL || v.kind > SC_DEPLOY_REMOVED || v.executable > 1) {
        return 0;
    }
    memcpy(v.sha, p, SC_SHA_BYTES);
    sc_catalogue_have(c, e, &v);
    get_id(&r, &e->placed);
    e->watched = sc_get_u8(&r) != 0;
    if (e->watched) {
        get_id(&r, &e->seen);
        p = sc_get(&r, SC_SHA_BYTES);
        if (p != NULL) {
            memcpy(e->seen_sha, p, SC_SHA_BYTES);
        }
        e->seen_executable = sc_get_u8(&r) != 0;
    }
    return !r.bad && sc_rd_left(&r) == 0;
}

static int get_all(sc_control_t *k, sc_catalogue_t *c, const sc_buf_t *b)
{
    unsigned char sum[SC_SHA_BYTES];
    apr_size_t len = b->len - SC_SHA_BYTES;
    const unsigned char *p;
    sc_rd_t r;

    if (b->len < sizeof(magic) + SC_SHA_BYTES || memcmp(b->data, magic, sizeof(magic)) != 0 ||
        !EVP_Digest(b->data, len, sum, NULL, EVP_sha256(), NULL) ||
        memcmp(sum, b->data + len, sizeof(sum)) != 0) {
        return 0;
    }
    sc_rd_init(&r, b->data, len);
    sc_get(&r, sizeof(magic));
    k->hlc = sc_get_u64(&r);
    k->tag = sc_get_u32(&r);
    k->batch = sc_get_u8(&r) != 0;
    while (!r.bad && sc_rd_left(&r) > 0) {
        apr_size_t n = 0;

        p = sc_get_str(&r, RECORD_MAX, &n);
        if (p == NULL || !get_entry(c, p, n)) {
            return 0;
        }
    }
    return !r.bad;
}

apr_status_t sc_control_load(int temp_root, sc_control_t *k, sc_catalogue_t *c)
{
    apr_status_t rv;
    sc_buf_t b;

    memset(k, 0, sizeof(*k));
    sc_buf_init(&b, FILE_MAX + 64 * 1024);
    rv = read_file(temp_root, &b);
    if (rv == APR_SUCCESS && !get_all(k, c, &b)) {
        rv = APR_EINVAL;
    }
    sc_buf_free(&b);
    if (rv == APR_EINVAL) {
        memset(k, 0, sizeof(*k));
        sc_catalogue_free(c);
        (void)renameat(temp_root, FILE_NAME, temp_root, BAD_NAME);
    }
    return rv;
}
