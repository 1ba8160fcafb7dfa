/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Names of deployed files, and the way from the root to them.
 *
 * A name comes from members or from a directory listing. It is checked as text, and then walked one
 * component at a time from a descriptor of the root, so that whatever lies in deployDir (a link
 * that somebody put there, too) the walk stays below it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "internal.h"

#define DIRECTORY_MODE 0755

int sc_deploy_name(const char *name, apr_size_t len)
{
    apr_size_t i;
    unsigned int slashes = 0;

    if (len == 0 || len > SC_DEPLOY_NAME_MAX || name[len - 1] == '/') {
        return 0;
    }
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c < 0x20 || c == 0x7f || c == '\\') {
            return 0;
        }
        /* a component that begins with a dot: hidden, or a way out */
        if ((i == 0 || name[i - 1] == '/') && (c == '.' || c == '/')) {
            return 0;
        }
        slashes += c == '/';
    }
    return slashes <= SC_DEPLOY_DEPTH_MAX;
}

/** Open a directory below this one, which is closed. */
static apr_status_t descend(int *fd, const char *component, int make)
{
    int next = openat(*fd, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    apr_status_t rv = APR_SUCCESS;

    if (next < 0 && errno == ENOENT && make) {
        if (mkdirat(*fd, component, DIRECTORY_MODE) == 0) {
            (void)fsync(*fd); /* a file in it is worth nothing without it */
        } else if (errno != EEXIST) {
            rv = errno;
        }
        if (rv == APR_SUCCESS) {
            next = openat(*fd, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
    }
    if (rv == APR_SUCCESS && next < 0) {
        rv = errno;
    }
    close(*fd);
    *fd = next;
    return rv;
}

apr_status_t sc_deploy_parent(int root, const char *name, int make, const char **base, int *fd)
{
    char component[SC_DEPLOY_NAME_MAX + 1];
    const char *slash;
    apr_status_t rv = APR_SUCCESS;

    *fd = -1;
    if (!sc_deploy_name(name, strlen(name))) {
        return EINVAL;
    }
    *fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
    if (*fd < 0) {
        return errno;
    }
    while (rv == APR_SUCCESS && (slash = strchr(name, '/')) != NULL) {
        memcpy(component, name, (size_t)(slash - name));
        component[slash - name] = '\0';
        rv = descend(fd, component, make);
        name = slash + 1;
    }
    *base = name;
    return rv;
}

apr_status_t sc_deploy_open(int root, const char *name, int *fd, struct stat *st)
{
    struct stat own;
    const char *base;
    apr_status_t rv;
    int dir;

    *fd = -1;
    rv = sc_deploy_parent(root, name, 0, &base, &dir);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* O_NONBLOCK: opening a pipe that somebody put there must not wait */
    *fd = openat(dir, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    rv = *fd < 0 ? errno : APR_SUCCESS;
    close(dir);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    st = st != NULL ? st : &own;
    if (fstat(*fd, st) != 0) {
        rv = errno;
    } else if (!S_ISREG(st->st_mode)) {
        rv = EINVAL;
    }
    if (rv != APR_SUCCESS) {
        close(*fd);
        *fd = -1;
    }
    return rv;
}

/** Remove the directory that a file lay in, if it is empty now; and so on upwards. */
static void prune(int root, const char *name)
{
    char path[SC_DEPLOY_NAME_MAX + 1];
    char *slash;

    apr_cpystrn(path, name, sizeof(path));
    while ((slash = strrchr(path, '/')) != NULL) {
        const char *base;
        int dir;
        int gone;

        *slash = '\0';
        if (sc_deploy_parent(root, path, 0, &base, &dir) != APR_SUCCESS) {
            return;
        }
        gone = unlinkat(dir, base, AT_REMOVEDIR) == 0;
        close(dir);
        if (!gone) {
            return;
        }
    }
}

apr_status_t sc_deploy_unlink(int root, const char *name)
{
    const char *base;
    apr_status_t rv;
    int dir;

    rv = sc_deploy_parent(root, name, 0, &base, &dir);
    if (rv == ENOENT || rv == ENOTDIR) {
        return APR_SUCCESS; /* not even its directory is there */
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (unlinkat(dir, base, 0) == 0) {
        (void)fsync(dir);
    } else if (errno != ENOENT) {
        rv = errno;
    }
    close(dir);
    if (rv == APR_SUCCESS) {
        prune(root, name);
    }
    return rv;
}
