/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Looking into watchDir.
 *
 * A file is taken when it was the same at two looks in a row (size, times, inode), and still is the
 * same when it has been read: who copies a large file into watchDir slowly gets it deployed when it
 * is complete. One that was taken is remembered and not read again as long as it stays the same,
 * over restarts, too. A file that is missing at two looks in a row was removed; when the directory
 * cannot be read, nothing is missing.
 *
 * What this watcher took last is remembered apart from what is deployed. So a watcher decides only
 * when something changes in its own watchDir, and two watchers with different files do not overrule
 * each other again and again: the last change counts.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "internal.h"

#define LOOKS 2
#define READ_BYTES (64 * 1024)
/** After a full disk and the like. */
#define REST_TIME apr_time_from_sec(30)

static int same_id(const sc_file_id_t *a, const sc_file_id_t *b)
{
    return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

/* ---- what a look finds ---------------------------------------------------------------------- */

static void queue(sc_farm_t *f, sc_deploy_entry_t *e)
{
    const char *limit = sc_farm_limit(f, e, e->found.size);

    if (limit != NULL) {
        e->refused = 1;
        sc_farm_refuse(f, e->name, (apr_uint64_t)e->found.ctime_ns, limit);
        return;
    }
    e->queued = 1;
    f->to_take++;
}

static void found_file(sc_farm_t *f, const char *name, const struct stat *st)
{
    sc_deploy_entry_t *e = sc_catalogue_find(&f->cat, name);
    sc_file_id_t id;

    if (e == NULL) {
        /* names that are refused for their number must not fill the memory, either */
        if (f->cat.n >= f->cat.max_removed + 2 * (apr_size_t)f->env.config->max_files) {
            sc_farm_refuse(f, name, 0, "there are more than maxFiles");
            return;
        }
        e = sc_catalogue_get(&f->cat, name);
        if (e == NULL) {
            return;
        }
    }
    sc_file_id(&id, st);
    e->missing = 0;
    if (!same_id(&id, &e->found)) {
        e->found = id;
        e->looks = 0;
        e->refused = 0;
        e->rest_until = 0;
    }
    e->looks++;
    if (e->watched && same_id(&id, &e->seen) && e->have.kind != SC_DEPLOY_NONE) {
        return;
    }
    if (e->looks >= LOOKS && !e->queued && !e->refused && !(e->watched && e->want.kind) &&
        sc_farm_now(f) >= e->rest_until) {
        queue(f, e);
    }
}

static void found_other(sc_farm_t *f, const char *name, const char *why)
{
    sc_deploy_entry_t *e = sc_catalogue_find(&f->cat, name);

    if (e != NULL) {
        e->missing = 0; /* what was deployed under its name stays */
    }
    sc_farm_refuse(f, name, 0, why);
}

static apr_status_t look_into(sc_farm_t *f, int fd, char *path, apr_size_t len, unsigned int depth);

/** One name in a directory; path has the directory's with a slash behind it, if it has one. */
static apr_status_t look_at(sc_farm_t *f, int fd, char *path, apr_size_t len, unsigned int depth,
                            const char *base)
{
    apr_size_t n = strlen(base);
    struct stat st;
    int next;

    if (len + n > SC_DEPLOY_NAME_MAX) {
        path[len] = '\0';
        sc_farm_refuse(f, path, n, "a name in it is too long");
        return APR_SUCCESS;
    }
    memcpy(path + len, base, n + 1);
    if (!sc_deploy_name(path, len + n)) {
        found_other(f, path,
                    "its name is hidden, or has characters or more directories than a "
                    "name may have");
        return APR_SUCCESS;
    }
    if (fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? APR_SUCCESS : errno; /* it went this moment */
    }
    if (S_ISREG(st.st_mode)) {
        found_file(f, path, &st);
        return APR_SUCCESS;
    }
    if (!S_ISDIR(st.st_mode)) {
        found_other(f, path, "it is a link, a device or something else that is no file");
        return APR_SUCCESS;
    }
    next = openat(fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) {
        return errno == ENOENT ? APR_SUCCESS : errno;
    }
    path[len + n] = '/';
    return look_into(f, next, path, len + n + 1, depth + 1);
}

/** All names in a directory; fd is closed. @return the first error, after which nothing counts as
 *  missing */
static apr_status_t look_into(sc_farm_t *f, int fd, char *path, apr_size_t len, unsigned int depth)
{
    DIR *dir = depth <= SC_DEPLOY_DEPTH_MAX + 1 ? fdopendir(fd) : NULL;
    apr_status_t rv = dir == NULL ? errno : APR_SUCCESS;
    const struct dirent *d;

    if (dir == NULL) {
        close(fd);
        return depth > SC_DEPLOY_DEPTH_MAX + 1 ? APR_SUCCESS : rv;
    }
    for (;;) {
        apr_status_t one;

        errno = 0;
        d = readdir(dir);
        if (d == NULL) {
            rv = rv != APR_SUCCESS ? rv : errno;
            break;
        }
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0) {
            continue;
        }
        one = look_at(f, dirfd(dir), path, len, depth, d->d_name);
        rv = rv != APR_SUCCESS ? rv : one;
    }
    closedir(dir);
    return rv;
}

/* ---- what a look misses --------------------------------------------------------------------- */

static void gone(sc_farm_t *f, sc_deploy_entry_t *e)
{
    static const sc_file_id_t none;
    int ours = e->have.kind == SC_DEPLOY_FILE && e->have.executable == e->seen_executable &&
               memcmp(e->have.sha, e->seen_sha, sizeof(e->seen_sha)) == 0;

    if (e->watched && ours && e->want.kind == SC_DEPLOY_NONE) {
        sc_version_t v = {.kind = SC_DEPLOY_REMOVED};

        v.stamp = sc_farm_stamp(f);
        sc_farm_remove(f, e, &v);
        if (e->have.kind == SC_DEPLOY_FILE) { /* it could not be */
            e->rest_until = sc_farm_now(f) + REST_TIME;
            return;
        }
    }
    e->found = none;
    e->looks = 0;
    if (e->watched) {
        e->watched = 0;
        e->seen = none;
        sc_farm_noted(f);
    }
}

static void look(sc_farm_t *f)
{
    char path[SC_DEPLOY_NAME_MAX + 2];
    apr_status_t rv;
    apr_size_t i;
    int fd;

    if (f->watch_root >= 0) {
        close(f->watch_root);
    }
    f->watch_root = open(f->env.config->watch_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = f->watch_root >= 0 ? openat(f->watch_root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    for (i = 0; i < f->cat.n; i++) {
        f->cat.at[i]->missing += f->cat.at[i]->watched || f->cat.at[i]->found.ino != 0;
    }
    rv = fd >= 0 ? look_into(f, fd, path, 0, 1) : errno;
    if (rv != APR_SUCCESS && !f->watch_lost) {
        sc_log(f->env.log, SC_LOG_WARNING, rv,
               "SC0901: watchDir %s cannot be read as a whole; what is missing in it is not taken "
               "for removed until it can",
               f->env.config->watch_dir);
    }
    f->watch_lost = rv != APR_SUCCESS;
    for (i = 0; i < f->cat.n; i++) {
        sc_deploy_entry_t *e = f->cat.at[i];

        if (rv != APR_SUCCESS) {
            e->missing = 0;
        } else if (e->missing >= LOOKS && !e->queued && (e->watched || e->found.ino != 0) &&
                   sc_farm_now(f) >= e->rest_until) {
            e->missing = 0;
            gone(f, e);
        }
    }
}

/* ---- taking one ----------------------------------------------------------------------------- */

static sc_deploy_entry_t *next_queued(sc_farm_t *f)
{
    apr_size_t i;

    for (i = 0; i < f->cat.n; i++) {
        sc_deploy_entry_t *e = f->cat.at[(f->take_at + i) % f->cat.n];

        if (e->queued) {
            f->take_at = (f->take_at + i) % f->cat.n;
            return e;
        }
    }
    return NULL;
}

/** The file that was being taken is done with, or given up. */
static void end_taking(sc_farm_t *f)
{
    if (f->taking != NULL) {
        f->taking->queued = 0;
        f->to_take--;
        f->taking = NULL;
    }
    if (f->taking_fd >= 0) {
        close(f->taking_fd);
        f->taking_fd = -1;
    }
    sc_landing_drop(&f->intake, 0);
}

/** It could not be taken now: it is looked at anew. */
static void take_later(sc_farm_t *f, apr_status_t rv)
{
    f->taking->looks = 0;
    if (rv == EACCES && f->taking_fd < 0) {
        f->taking->refused = 1; /* until somebody changes that */
        sc_farm_refuse(f, f->taking->name, (apr_uint64_t)f->taking->found.ctime_ns,
                       "the user that httpd serves as may not read it");
    } else if (rv != APR_SUCCESS) {
        f->count.failed++;
        f->taking->rest_until = sc_farm_now(f) + REST_TIME;
        sc_log(f->env.log, SC_LOG_WARNING, rv,
               "SC0902: %s in watchDir could not be taken over; it is tried again in %d s",
               f->taking->name, (int)apr_time_sec(REST_TIME));
    }
    end_taking(f);
}

static void begin_taking(sc_farm_t *f, sc_deploy_entry_t *e)
{
    apr_status_t rv;
    struct stat st;

    f->taking = e;
    rv = sc_deploy_open(f->watch_root, e->name, &f->taking_fd, &st);
    if (rv == ENOENT || rv == EINVAL || rv == ELOOP || rv == ENOTDIR) {
        take_later(f, APR_SUCCESS); /* replaced since the look, which the next one will see */
        return;
    }
    if (rv == APR_SUCCESS) {
        sc_file_id(&f->taking_id, &st);
        rv = sc_landing_open(&f->intake, f->temp_root, "intake", 0, 0);
    }
    if (rv != APR_SUCCESS) {
        take_later(f, rv);
    } else if (!same_id(&f->taking_id, &e->found)) {
        take_later(f, APR_SUCCESS);
    }
}

void sc_watch_overruled(sc_farm_t *f, sc_deploy_entry_t *e)
{
    if (e->disagreed) {
        return;
    }
    e->disagreed = 1;
    f->count.conflicts++;
    sc_log(f->env.log, SC_LOG_WARNING, 0,
           "SC0903: two watchers disagree about %s: the other one's last change counts, and the "
           "file in watchDir here is not deployed until it changes",
           e->name);
}

static void publish(sc_farm_t *f, sc_deploy_entry_t *e, sc_version_t *v)
{
    const char *limit = sc_farm_limit(f, e, v->size);
    apr_status_t rv;

    if (limit != NULL) {
        e->refused = 1;
        sc_farm_refuse(f, e->name, (apr_uint64_t)e->found.ctime_ns, limit);
        end_taking(f);
        return;
    }
    sc_serve_forget(f, e);
    rv = sc_landing_place(&f->intake, f->deploy_root, e->name, (int)v->executable, &e->placed);
    if (rv != APR_SUCCESS) {
        take_later(f, rv);
        return;
    }
    v->stamp = sc_farm_stamp(f);
    sc_catalogue_have(&f->cat, e, v);
    sc_fetch_changed(f, e);
    f->count.placed++;
    sc_log(f->env.log, SC_LOG_INFO, 0,
           "SC0904: %s was taken from watchDir, %" APR_UINT64_T_FMT
           " bytes; the other members get it",
           e->name, v->size);
    sc_farm_changed(f);
}

static void taken(sc_farm_t *f)
{
    sc_deploy_entry_t *e = f->taking;
    sc_version_t v = {.kind = SC_DEPLOY_FILE};
    sc_file_id_t id;
    struct stat st;
    int repeated;
    apr_status_t rv;

    rv = fstat(f->taking_fd, &st) != 0 ? errno : sc_landing_sum(&f->intake, v.sha);
    if (rv != APR_SUCCESS) {
        take_later(f, rv);
        return;
    }
    sc_file_id(&id, &st);
    if (!same_id(&id, &f->taking_id) || f->intake.size != id.size) {
        take_later(f, APR_SUCCESS);
        return;
    }
    v.size = id.size;
    v.executable = (st.st_mode & S_IXUSR) != 0;
    repeated = e->watched && e->seen_executable == v.executable &&
               memcmp(e->seen_sha, v.sha, sizeof(v.sha)) == 0;
    if (sc_version_same(&e->have, &v)) {
        e->disagreed = 0;
    } else if (repeated && e->have.kind != SC_DEPLOY_NONE) {
        sc_watch_overruled(f, e); /* only its time has changed */
    } else {
        e->disagreed = 0;
        publish(f, e, &v);
        if (f->taking == NULL) {
            return; /* refused, or tried again */
        }
    }
    e->watched = 1;
    e->seen = id;
    e->seen_executable = v.executable;
    memcpy(e->seen_sha, v.sha, sizeof(v.sha));
    end_taking(f);
    sc_farm_noted(f);
}

static void take_slice(sc_farm_t *f)
{
    apr_size_t slice = f->busy ? SC_FARM_SMALL_SLICE : SC_FARM_SLICE;
    apr_time_t begun = sc_farm_now(f);
    apr_size_t done = 0;

    while (done < slice) {
        ssize_t n = read(f->taking_fd, f->slice, READ_BYTES);
        apr_status_t rv;

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n == 0) {
            taken(f);
            f->take_rest = sc_pace_next(f, begun, sc_farm_now(f), SC_FARM_SMALL_SLICE);
            return;
        }
        rv = n < 0 ? errno : sc_landing_append(&f->intake, f->slice, (apr_size_t)n);
        if (rv != APR_SUCCESS) {
            take_later(f, rv);
            return;
        }
        if (f->intake.size > f->taking_id.size) { /* it grows: not complete yet */
            take_later(f, APR_SUCCESS);
            return;
        }
        done += (apr_size_t)n;
    }
    f->take_rest = sc_pace_next(f, begun, sc_farm_now(f), done);
}

/* ---- step by step --------------------------------------------------------------------------- */

int sc_watch_idle(const sc_farm_t *f)
{
    return f->taking == NULL && f->to_take == 0;
}

int sc_watch_step(sc_farm_t *f, apr_time_t now)
{
    sc_deploy_entry_t *e;

    if (!f->env.config->watch) {
        return 0;
    }
    if (f->taking != NULL) {
        if (now < f->take_rest) {
            return 0;
        }
        take_slice(f);
        return 1;
    }
    if (now >= f->scan_due) {
        look(f);
        f->scan_due = sc_farm_now(f) + apr_time_from_msec(f->env.config->scan_ms);
    }
    /* what others have decided is heard first */
    if (f->to_take == 0 || now < f->take_due || now < f->take_rest || sc_farm_listening(f)) {
        return 0;
    }
    e = next_queued(f);
    if (e != NULL) {
        begin_taking(f, e);
    }
    return 1;
}

void sc_watch_close(sc_farm_t *f)
{
    end_taking(f);
    if (f->watch_root >= 0) {
        close(f->watch_root);
        f->watch_root = -1;
    }
}
