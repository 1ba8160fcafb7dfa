/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * SessionClusterSnapshot: where the snapshot is, and whether that is a good place.
 *
 * The engine writes it, and has no privileges then; it makes a new file and renames it. So the
 * directory must belong to httpd's user, or be open to its group. A descriptor of a directory that
 * only root may write would not help, since the kernel asks again when a file is made. And nobody
 * else may write there, or he could exchange the file.
 */
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"
#include "snapshot.h"
#include "sc_snapshot.h"

#include "unixd.h"

APLOG_USE_MODULE(session_cluster);

#define WAIT_MAX 3600

static const option_t options[] = {{"wait", OPTION_SECONDS,
                                    offsetof(sc_server_conf_t, engine.snapshot.wait_ms), 0,
                                    WAIT_MAX, "seconds to wait for nodes that have the rest", NULL},
                                   {NULL, OPTION_REFUSED, 0, 0, 0, NULL, NULL}};

const char *sc_set_snapshot(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    sc_server_conf_t *conf = sc_httpd()->conf;
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    const char *path;
    apr_size_t len;

    (void)dir;
    if (err) {
        return err;
    }
    conf->used = 1;
    if (argc < 1 || !*argv[0] || strncmp(argv[0], "wait=", 5) == 0) {
        return apr_psprintf(cmd->pool,
                            "%s wants a file in a directory of its own, then wait=seconds; "
                            "not \"%s\"",
                            cmd->cmd->name, argc > 0 ? argv[0] : "");
    }
    path = ap_server_root_relative(cmd->pool, argv[0]);
    len = path ? strlen(path) : 0;
    if (len < 2 || len > SC_SNAP_PATH_MAX || path[0] != '/' || path[len - 1] == '/' ||
        strlen(strrchr(path, '/') + 1) > 150) {
        return apr_psprintf(cmd->pool,
                            "%s wants a file with at most %d characters before it and 150 in its "
                            "name, absolute or below ServerRoot; not \"%s\"",
                            cmd->cmd->name, SC_SNAP_PATH_MAX - 150, argv[0]);
    }
    sc_config_text(conf->engine.snapshot.path, sizeof(conf->engine.snapshot.path), path);
    return sc_options_parse(cmd, conf, options, NULL, argc - 1, argv + 1);
}

/* Whether httpd's user may make files there. As root: by the bits, since root may always. */
static int may_write(const struct stat *st)
{
    uid_t uid = geteuid() == 0 ? ap_unixd_config.user_id : geteuid();
    gid_t gid = geteuid() == 0 ? ap_unixd_config.group_id : getegid();

    if (uid == 0) {
        return 1;
    }
    if (st->st_uid == uid) {
        return (st->st_mode & 0300) == 0300;
    }
    return st->st_gid == gid && (st->st_mode & 0030) == 0030;
}

/* Whether somebody else may: others, or members of a group that is not httpd's. */
static int others_may_write(const struct stat *st)
{
    gid_t gid = geteuid() == 0 ? ap_unixd_config.group_id : getegid();

    return (st->st_mode & S_IWOTH) || ((st->st_mode & S_IWGRP) && st->st_gid != gid);
}

static int is_ours(const struct stat *st)
{
    return st->st_uid == 0 || st->st_uid == geteuid() ||
           (geteuid() == 0 && st->st_uid == ap_unixd_config.user_id);
}

static const char *wrong_directory(const char *path, apr_pool_t *p)
{
    const char *slash = strrchr(path, '/');
    const char *dir = slash == path ? "/" : apr_pstrmemdup(p, path, (apr_size_t)(slash - path));
    struct stat st;

    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return apr_psprintf(p,
                            "SC1160: SessionClusterSnapshot: there is no directory %s; make it, "
                            "for httpd's user alone",
                            dir);
    }
    if (others_may_write(&st) || !is_ours(&st)) {
        return apr_psprintf(p,
                            "SC1161: SessionClusterSnapshot: others than root and httpd's user can "
                            "write to %s; take a directory of its own, owned by httpd's user, mode "
                            "0700",
                            dir);
    }
    if (!may_write(&st)) {
        return apr_psprintf(p,
                            "SC1162: SessionClusterSnapshot: httpd's user cannot write to %s, and "
                            "it is the engine that writes the file, without privileges: give that "
                            "user the directory",
                            dir);
    }
    return NULL;
}

static const char *wrong_file(const char *path, apr_pool_t *p)
{
    struct stat st;

    if (lstat(path, &st) != 0) {
        return NULL; /* none yet, or the directory does not let us look: the engine says so then */
    }
    if (!S_ISREG(st.st_mode)) {
        return apr_psprintf(p,
                            "SC1163: SessionClusterSnapshot: %s is no regular file; name one that "
                            "nobody else uses",
                            path);
    }
    if ((st.st_mode & 077) || !is_ours(&st)) {
        return apr_psprintf(p,
                            "SC1164: SessionClusterSnapshot: %s was not written by this module, or "
                            "somebody has changed its owner or mode: it must be httpd's user's, "
                            "mode 0600; look at it, and remove it",
                            path);
    }
    return NULL;
}

const char *sc_snapshot_wrong(const sc_server_conf_t *conf, apr_pool_t *p)
{
    const char *path = conf->engine.snapshot.path;
    const char *err;

    if (!*path) {
        return NULL;
    }
    if (conf->engine.role != SC_ROLE_NODE) {
        return "SC1165: SessionClusterSnapshot with SessionClusterRole balancer: a balancer has no "
               "sessions to keep; take it out";
    }
    err = wrong_directory(path, p);
    return err ? err : wrong_file(path, p);
}
