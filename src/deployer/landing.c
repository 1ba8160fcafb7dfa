/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A file on its way into deployDir. It grows in tempDir, where nobody looks, and is hashed as it
 * grows; then it gets its mode, is written to the disk and renamed, and the directory is written to
 * the disk, too. So a name in deployDir stands for a whole file at every moment, also after a loss
 * of power.
 *
 * Temporary files end in ".part"; everything of that name in tempDir is ours.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "internal.h"

#define PART ".part"
/** So much is gathered in memory before the disk is told to begin with it: what fsync is left with
 * at the end is little, and does not come as one burst. */
#define GATHERED (4 * 1024 * 1024)

void sc_file_id(sc_file_id_t *id, const struct stat *st)
{
    id->ino = (apr_uint64_t)st->st_ino;
    id->size = (apr_uint64_t)st->st_size;
    id->mtime_ns = (apr_int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    id->ctime_ns = (apr_int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

/** Hash what is in the file already. */
static apr_status_t hash_rest(EVP_MD_CTX *hash, int fd, apr_uint64_t *size)
{
    unsigned char bytes[64 * 1024];
    ssize_t n;

    for (;;) {
        n = read(fd, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : APR_SUCCESS;
        }
        if (!EVP_DigestUpdate(hash, bytes, (size_t)n)) {
            return APR_ENOMEM;
        }
        *size += (apr_uint64_t)n;
    }
}

apr_status_t sc_landing_open(sc_landing_t *l, int temp_root, const char *name, int resume,
                             apr_uint64_t max)
{
    int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (resume ? 0 : O_TRUNC);
    apr_status_t rv = APR_SUCCESS;
    struct stat st;

    memset(l, 0, sizeof(*l));
    l->temp_root = temp_root;
    apr_snprintf(l->name, sizeof(l->name), "%s" PART, name);
    l->fd = openat(temp_root, l->name, flags, 0600);
    if (l->fd < 0) {
        return errno;
    }
    l->hash = EVP_MD_CTX_new();
    if (l->hash == NULL || !EVP_DigestInit_ex(l->hash, EVP_sha256(), NULL)) {
        rv = APR_ENOMEM;
    } else if (fstat(l->fd, &st) != 0) {
        rv = errno;
    } else if (!S_ISREG(st.st_mode)) {
        rv = EINVAL;
    } else if ((apr_uint64_t)st.st_size > max && ftruncate(l->fd, 0) != 0) {
        rv = errno;
    } else {
        rv = hash_rest(l->hash, l->fd, &l->size);
    }
    if (rv != APR_SUCCESS) {
        sc_landing_drop(l, 0);
    }
    return rv;
}

apr_status_t sc_landing_append(sc_landing_t *l, const void *bytes, apr_size_t len)
{
    const unsigned char *p = bytes;

    if (!EVP_DigestUpdate(l->hash, bytes, len)) {
        return APR_ENOMEM;
    }
    while (len > 0) {
        ssize_t n = write(l->fd, p, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : ENOSPC;
        }
        p += n;
        len -= (apr_size_t)n;
        l->size += (apr_uint64_t)n;
    }
    if (l->size - l->begun >= GATHERED) { /* only a hint: whether it is there fsync says */
        (void)sync_file_range(l->fd, (off_t)l->begun, (off_t)(l->size - l->begun),
                              SYNC_FILE_RANGE_WRITE);
        l->begun = l->size;
    }
    return APR_SUCCESS;
}

apr_status_t sc_landing_sum(sc_landing_t *l, unsigned char sha[SC_SHA_BYTES])
{
    return EVP_DigestFinal_ex(l->hash, sha, NULL) ? APR_SUCCESS : APR_ENOMEM;
}

apr_status_t sc_landing_place(sc_landing_t *l, int deploy_root, const char *name, int executable,
                              sc_file_id_t *id)
{
    const char *base = NULL;
    struct stat st;
    apr_status_t rv = APR_SUCCESS;
    int dir = -1;

    if (fchmod(l->fd, executable ? 0755 : 0644) != 0 || fsync(l->fd) != 0) {
        rv = errno;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_deploy_parent(deploy_root, name, 1, &base, &dir);
    }
    if (rv == APR_SUCCESS && renameat(l->temp_root, l->name, dir, base) != 0) {
        rv = errno;
    }
    /* after the rename, which changes the time of the last change */
    if (rv == APR_SUCCESS && (fsync(dir) != 0 || fstat(l->fd, &st) != 0)) {
        rv = errno;
    }
    if (rv == APR_SUCCESS) {
        sc_file_id(id, &st);
    }
    if (dir >= 0) {
        close(dir);
    }
    sc_landing_drop(l, 0);
    return rv;
}

void sc_landing_drop(sc_landing_t *l, int keep)
{
    if (l->fd < 0) {
        return;
    }
    close(l->fd);
    l->fd = -1;
    EVP_MD_CTX_free(l->hash);
    l->hash = NULL;
    if (!keep) {
        (void)unlinkat(l->temp_root, l->name, 0); /* gone already when it was placed */
    }
}

void sc_landing_sweep(int temp_root)
{
    int fd = openat(temp_root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *d;

    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    while ((d = readdir(dir)) != NULL) {
        size_t len = strlen(d->d_name);

        if (len > sizeof(PART) - 1 && strcmp(d->d_name + len - (sizeof(PART) - 1), PART) == 0) {
            (void)unlinkat(temp_root, d->d_name, 0);
        }
    }
    closedir(dir);
}

apr_status_t sc_landing_check(int deploy_root, const char *name, const sc_version_t *v,
                              sc_file_id_t *id)
{
    unsigned char sha[SC_SHA_BYTES];
    EVP_MD_CTX *hash;
    apr_uint64_t size = 0;
    struct stat st;
    apr_status_t rv;
    int fd;

    rv = sc_deploy_open(deploy_root, name, &fd, &st);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    hash = EVP_MD_CTX_new();
    if ((apr_uint64_t)st.st_size != v->size ||
        (st.st_mode & 07777) != (v->executable ? 0755u : 0644u)) {
        rv = EINVAL;
    } else if (hash == NULL || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)) {
        rv = APR_ENOMEM;
    } else {
        rv = hash_rest(hash, fd, &size);
    }
    if (rv == APR_SUCCESS &&
        (!EVP_DigestFinal_ex(hash, sha, NULL) || memcmp(sha, v->sha, sizeof(sha)) != 0)) {
        rv = EINVAL;
    }
    EVP_MD_CTX_free(hash);
    close(fd);
    sc_file_id(id, &st);
    return rv;
}
