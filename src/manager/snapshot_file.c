/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The snapshot's file: head, sealed blocks, end. See include/sc_snapshot.h.
 *
 * Everything is done relative to the directory's descriptor, so that the new file, its final name
 * and the directory that is synchronized are of one place, whatever is renamed meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "sc_snapshot.h"

#define FLAG_ENCRYPTED 1u
#define BLOCK_HEAD 5

static const char magic[] = "SCSNAP\r\n";
static const char label[] = "sc1 snapshot";
static const char plain_salt[] = "mod_session_cluster snapshot 1";

/* ---- seals ---------------------------------------------------------------------------------- */

static apr_size_t seal_bytes(const sc_snap_seal_t *s)
{
    return s->encrypted ? SC_SEAL_TAG : SC_MAC;
}

/* @param keys NULL: none */
static apr_status_t seal_init(sc_snap_seal_t *s, const unsigned char head[SC_SNAP_HEAD],
                              const sc_keys_t *keys, int writing)
{
    unsigned char info[sizeof(label) - 1 + SC_SNAP_HEAD];
    unsigned char material[SC_KEY + SC_SEAL_IV];
    apr_status_t rv;

    memset(s, 0, sizeof(*s));
    if (keys == NULL) {
        return sc_hkdf_extract(plain_salt, sizeof(plain_salt) - 1, head, SC_SNAP_HEAD, s->key);
    }
    memcpy(info, label, sizeof(label) - 1);
    memcpy(info + sizeof(label) - 1, head, SC_SNAP_HEAD);
    rv = sc_hkdf_expand(keys->root, info, sizeof(info), material, sizeof(material));
    if (rv == APR_SUCCESS) {
        rv = sc_seal_init(&s->gcm, material, writing);
        s->encrypted = rv == APR_SUCCESS;
    }
    sc_cleanse(material, sizeof(material));
    return rv;
}

static void seal_free(sc_snap_seal_t *s)
{
    if (s->encrypted) {
        sc_seal_free(&s->gcm);
    }
    memset(s, 0, sizeof(*s));
}

static void put_be(unsigned char *p, apr_uint64_t v, int n)
{
    while (n-- > 0) {
        p[n] = (unsigned char)v;
        v >>= 8;
    }
}

static apr_uint32_t get_be32(const unsigned char *p)
{
    return (apr_uint32_t)p[0] << 24 | (apr_uint32_t)p[1] << 16 | (apr_uint32_t)p[2] << 8 | p[3];
}

/* Of a block that is not encrypted: over its number, head and bytes. The number goes into the key,
 * so that the bytes need not be copied to stand behind it. */
static apr_status_t plain_mac(sc_snap_seal_t *s, const unsigned char *block, apr_size_t len,
                              unsigned char out[SC_MAC])
{
    unsigned char number[8], key[SC_MAC];
    apr_status_t rv;

    put_be(number, s->count++, 8);
    rv = sc_mac(s->key, number, sizeof(number), key);
    return rv == APR_SUCCESS ? sc_mac(key, block, len, out) : rv;
}

/* ---- writing -------------------------------------------------------------------------------- */

static apr_status_t write_all(sc_snap_writer_t *w, const unsigned char *p, apr_size_t n)
{
    while (n > 0) {
        ssize_t done = write(w->fd, p, n);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? errno : EIO;
        }
        p += done;
        n -= (apr_size_t)done;
        w->bytes += (apr_uint64_t)done;
    }
    return APR_SUCCESS;
}

/* The directory of a path, opened, and the name in it. @return -1 with errno */
static int open_dir(const char *path, char name[256])
{
    const char *slash = strrchr(path, '/');
    char dir[SC_SNAP_PATH_MAX + 1];
    apr_size_t len = slash != NULL ? (apr_size_t)(slash - path) : 0;

    if (slash == NULL || slash[1] == '\0' || len > SC_SNAP_PATH_MAX || strlen(slash + 1) >= 200) {
        errno = EINVAL;
        return -1;
    }
    memcpy(dir, path, len);
    dir[len] = '\0';
    apr_cpystrn(name, slash + 1, 256);
    return open(len > 0 ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static apr_status_t write_head(sc_snap_writer_t *w, const sc_keyring_t *ring)
{
    const sc_keys_t *keys = ring != NULL && ring->count > 0 ? &ring->keys[0] : NULL;
    unsigned char head[SC_SNAP_HEAD];
    apr_status_t rv;

    memset(head, 0, sizeof(head));
    memcpy(head, magic, 8);
    put_be(head + 8, SC_SNAP_VERSION, 4);
    put_be(head + 12, keys != NULL ? FLAG_ENCRYPTED : 0, 4);
    if (keys != NULL) {
        memcpy(head + 16, keys->id, SC_KEY_ID);
    }
    rv = sc_random(head + 16 + SC_KEY_ID, SC_NONCE);
    if (rv == APR_SUCCESS) {
        rv = seal_init(&w->seal, head, keys, 1);
    }
    return rv == APR_SUCCESS ? write_all(w, head, sizeof(head)) : rv;
}

apr_status_t sc_snap_create(sc_snap_writer_t *w, const char *path, const sc_keyring_t *ring)
{
    apr_status_t rv;

    memset(w, 0, sizeof(*w));
    w->fd = -1;
    sc_buf_init(&w->out, SC_SNAP_BLOCK_MAX + BLOCK_HEAD + SC_MAC);
    w->dir = open_dir(path, w->name);
    if (w->dir < 0) {
        return errno;
    }
    apr_snprintf(w->temporary, sizeof(w->temporary), ".%s.new", w->name);
    (void)unlinkat(w->dir, w->temporary, 0); /* of one that was killed */
    w->fd =
        openat(w->dir, w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->fd < 0) {
        rv = errno;
        close(w->dir);
        w->dir = -1;
        return rv;
    }
    rv = fchmod(w->fd, 0600) == 0 ? write_head(w, ring) : errno;
    if (rv != APR_SUCCESS) {
        sc_snap_abandon(w);
    }
    return rv;
}

apr_status_t sc_snap_put(sc_snap_writer_t *w, sc_snap_kind_t kind, const void *bytes,
                         apr_size_t len)
{
    apr_size_t tag = seal_bytes(&w->seal);
    unsigned char *room;
    apr_status_t rv;

    if (len > SC_SNAP_BLOCK_MAX || w->ended || w->fd < 0) {
        return APR_EINVAL;
    }
    sc_buf_clear(&w->out);
    room = sc_buf_reserve(&w->out, BLOCK_HEAD + len + tag);
    if (room == NULL) {
        return w->out.err;
    }
    put_be(room, len, 4);
    room[4] = (unsigned char)kind;
    if (w->seal.encrypted) {
        rv = sc_seal(&w->seal.gcm, room, BLOCK_HEAD, bytes, len, room + BLOCK_HEAD);
    } else {
        if (len > 0) {
            memcpy(room + BLOCK_HEAD, bytes, len);
        }
        rv = plain_mac(&w->seal, room, BLOCK_HEAD + len, room + BLOCK_HEAD + len);
    }
    if (rv == APR_SUCCESS) {
        rv = write_all(w, room, BLOCK_HEAD + len + tag);
    }
    w->ended = kind == SC_SNAP_END;
    return rv;
}

static void release(sc_snap_writer_t *w)
{
    if (w->fd >= 0) {
        close(w->fd);
    }
    if (w->dir >= 0) {
        close(w->dir);
    }
    w->fd = w->dir = -1;
    seal_free(&w->seal);
    sc_buf_free(&w->out);
}

apr_status_t sc_snap_commit(sc_snap_writer_t *w)
{
    apr_status_t rv = w->ended ? APR_SUCCESS : APR_EINVAL;

    if (rv == APR_SUCCESS && fsync(w->fd) != 0) {
        rv = errno;
    }
    if (rv == APR_SUCCESS && renameat(w->dir, w->temporary, w->dir, w->name) != 0) {
        rv = errno;
    }
    if (rv != APR_SUCCESS) {
        sc_snap_abandon(w);
        return rv;
    }
    (void)fsync(w->dir); /* not every file system can; the file itself is on disk */
    release(w);
    return APR_SUCCESS;
}

void sc_snap_abandon(sc_snap_writer_t *w)
{
    if (w->dir >= 0) {
        (void)unlinkat(w->dir, w->temporary, 0);
    }
    release(w);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Exactly so many bytes from where the reader is. */
static apr_status_t read_at(sc_snap_reader_t *r, unsigned char *p, apr_size_t n)
{
    if (r->at > r->size || n > r->size - r->at) {
        return APR_EINVAL;
    }
    while (n > 0) {
        ssize_t got = pread(r->fd, p, n, (off_t)r->at);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : APR_EINVAL; /* it has become shorter */
        }
        p += got;
        n -= (apr_size_t)got;
        r->at += (apr_uint64_t)got;
    }
    return APR_SUCCESS;
}

apr_status_t sc_snap_rewind(sc_snap_reader_t *r)
{
    const sc_keys_t *keys = NULL;

    seal_free(&r->seal);
    r->at = SC_SNAP_HEAD;
    r->begun = r->ended = 0;
    if (get_be32(r->head + 12) & FLAG_ENCRYPTED) {
        keys = r->ring != NULL ? sc_keyring_find(r->ring, r->head + 16) : NULL;
        if (keys == NULL) {
            return SC_SNAP_NO_KEY;
        }
    }
    return seal_init(&r->seal, r->head, keys, 0);
}

apr_status_t sc_snap_open_fd(sc_snap_reader_t *r, int fd, const sc_keyring_t *ring)
{
    struct stat st;
    apr_status_t rv;

    memset(r, 0, sizeof(*r));
    r->fd = fd;
    r->ring = ring;
    sc_buf_init(&r->block, SC_SNAP_BLOCK_MAX + BLOCK_HEAD + SC_MAC);
    rv = fstat(fd, &st) == 0 ? APR_SUCCESS : errno;
    if (rv == APR_SUCCESS) {
        r->size = (apr_uint64_t)st.st_size;
        rv = read_at(r, r->head, sizeof(r->head));
    }
    if (rv == APR_SUCCESS && memcmp(r->head, magic, 8) != 0) {
        rv = APR_EINVAL;
    }
    if (rv == APR_SUCCESS && get_be32(r->head + 8) != SC_SNAP_VERSION) {
        rv = get_be32(r->head + 8) > SC_SNAP_VERSION ? APR_ENOTIMPL : APR_EINVAL;
    }
    if (rv == APR_SUCCESS && get_be32(r->head + 12) > FLAG_ENCRYPTED) {
        rv = APR_EINVAL;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_snap_rewind(r);
    }
    if (rv != APR_SUCCESS) {
        sc_snap_close(r);
    }
    return rv;
}

apr_status_t sc_snap_open(sc_snap_reader_t *r, const char *path, const sc_keyring_t *ring)
{
    struct stat st;
    int fd;

    memset(r, 0, sizeof(*r));
    r->fd = -1;
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ELOOP ? APR_EBADPATH : errno;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
        close(fd);
        return APR_EBADPATH;
    }
    if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 077) != 0) {
        close(fd);
        return APR_EACCES;
    }
    return sc_snap_open_fd(r, fd, ring);
}

/* Room for a block is made as far as its bytes are really there. */
static apr_status_t open_block(sc_snap_reader_t *r, unsigned char *block, apr_size_t len)
{
    unsigned char mac[SC_MAC];

    if (r->seal.encrypted) {
        return sc_open(&r->seal.gcm, block, BLOCK_HEAD, block + BLOCK_HEAD, len) == APR_SUCCESS
                   ? APR_SUCCESS
                   : APR_EINVAL;
    }
    if (plain_mac(&r->seal, block, BLOCK_HEAD + len, mac) != APR_SUCCESS ||
        !sc_mac_same(mac, block + BLOCK_HEAD + len)) {
        return APR_EINVAL;
    }
    return APR_SUCCESS;
}

apr_status_t sc_snap_next(sc_snap_reader_t *r, sc_snap_kind_t *kind, const unsigned char **bytes,
                          apr_size_t *len)
{
    unsigned char head[BLOCK_HEAD];
    apr_size_t n, tag = seal_bytes(&r->seal);
    unsigned char *room;
    apr_status_t rv;

    if (r->ended) {
        return r->at == r->size ? APR_EOF : APR_EINVAL;
    }
    rv = read_at(r, head, sizeof(head));
    n = get_be32(head);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (n > SC_SNAP_BLOCK_MAX || n + tag > r->size - r->at ||
        head[4] < (r->begun ? SC_SNAP_RECORDS : SC_SNAP_META) ||
        head[4] > (r->begun ? SC_SNAP_END : SC_SNAP_META)) {
        return APR_EINVAL;
    }
    sc_buf_clear(&r->block);
    room = sc_buf_reserve(&r->block, BLOCK_HEAD + n + tag);
    if (room == NULL) {
        return r->block.err;
    }
    memcpy(room, head, BLOCK_HEAD);
    rv = read_at(r, room + BLOCK_HEAD, n + tag);
    if (rv == APR_SUCCESS) {
        rv = open_block(r, room, n);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    r->begun = 1;
    r->ended = head[4] == SC_SNAP_END;
    if (r->ended && r->at != r->size) {
        return APR_EINVAL;
    }
    *kind = (sc_snap_kind_t)head[4];
    *bytes = room + BLOCK_HEAD;
    *len = n;
    return APR_SUCCESS;
}

void sc_snap_close(sc_snap_reader_t *r)
{
    if (r->fd >= 0) {
        close(r->fd);
    }
    r->fd = -1;
    seal_free(&r->seal);
    sc_buf_free(&r->block);
}

/* ---- the file as a whole -------------------------------------------------------------------- */

apr_status_t sc_snap_remove(const char *path)
{
    return unlink(path) == 0 ? APR_SUCCESS : errno;
}

apr_status_t sc_snap_set_aside(const char *path, apr_time_t wall, char *aside, apr_size_t size)
{
    apr_snprintf(aside, size, "%s.bad-%" APR_TIME_T_FMT, path, apr_time_sec(wall));
    return rename(path, aside) == 0 ? APR_SUCCESS : errno;
}
