/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * SessionClusterDeployer.
 *
 * Its directories are checked when httpd starts, as the user who will write there sees them: an
 * engine that finds out later could only say so in a log. The graceful restart after a batch is the
 * parent's: the engine has no right to signal it, so it raises a number on the noticeboard.
 */

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deployer.h"
#include "options.h"

#include "mpm_common.h"
#include "unixd.h"
#include "sc_deployer.h"

APLOG_USE_MODULE(session_cluster);

#define GROUPS_MAX 256

/* ---- arguments ------------------------------------------------------------------------------- */

static const char *check_path(const char *value)
{
    return value[0] == '/' ? NULL : "the absolute path of a directory";
}

static const char *check_command(const char *value)
{
    apr_pool_t *p = NULL;
    char **argv;
    const char *right = NULL;

    if (apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return NULL;
    }
    if (sc_deploy_command(&argv, value, p) != APR_SUCCESS) {
        right = "the absolute path of a program, and its arguments; there is no shell";
    }
    apr_pool_destroy(p);
    return right;
}

#define AT(member) offsetof(sc_server_conf_t, engine.deployer.member)
#define SIZE(member) ((apr_int64_t)sizeof(((sc_server_conf_t *)0)->engine.deployer.member))

static const option_t deployer_options[] = {
    {"deployDir", OPTION_TEXT, AT(deploy_dir), 0, SIZE(deploy_dir), NULL, check_path},
    {"tempDir", OPTION_TEXT, AT(temp_dir), 0, SIZE(temp_dir), NULL, check_path},
    {"watchDir", OPTION_TEXT, AT(watch_dir), 0, SIZE(watch_dir), NULL, check_path},
    {"watchEnabled", OPTION_BOOL, AT(watch), 0, 1, NULL, NULL},
    {"processDeployFrequency", OPTION_NUMBER, AT(scan_ms), 100, 3600000, "milliseconds", NULL},
    {"maxFiles", OPTION_NUMBER, AT(max_files), 1, 100000, "a number of files", NULL},
    {"maxFileSize", OPTION_BYTES, AT(max_file), 1, 4095 * SC_MIB, NULL, NULL},
    {"maxTotalSize", OPTION_BYTES, AT(max_total), 1, 4095 * SC_MIB, NULL, NULL},
    {"blockSize", OPTION_BYTES, AT(block_bytes), 4 * SC_KIB, SC_DEPLOY_BLOCK_MAX, NULL, NULL},
    {"maxRate", OPTION_BYTES, AT(max_rate), 0, 4095 * SC_MIB, NULL, NULL},
    {"afterDeploy", OPTION_CHOICE, AT(after), 0, 0, "nothing|graceful", NULL},
    {"command", OPTION_TEXT, AT(command), 0, SIZE(command), NULL, check_command},
    {"commandTimeout", OPTION_SECONDS, AT(command_ms), 1, 3600, "seconds", NULL},
    {"maxValidTime", OPTION_REFUSED, 0, 0, 0,
     "a file that was begun is gone on with whenever a member has it", NULL},
    {NULL, OPTION_REFUSED, 0, 0, 0, NULL, NULL}};

const char *sc_set_deployer(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    sc_server_conf_t *conf = sc_httpd()->conf;

    (void)dir;
    if (err) {
        return err;
    }
    conf->used = 1;
    if (conf->engine.deployer.on) {
        return apr_psprintf(cmd->pool, "%s is given twice", cmd->cmd->name);
    }
    conf->engine.deployer.on = 1;
    return sc_options_parse(cmd, conf, deployer_options, NULL, argc, argv);
}

/* ---- directories ----------------------------------------------------------------------------- */

typedef struct place_t {
    const char *what;
    const char *path;
    int written; /* by the engine */
    struct stat st;
    char real[PATH_MAX];
} place_t;

/* Whether the user that the engine runs as may use a directory so. */
static int may(const struct stat *st, mode_t wanted)
{
    gid_t groups[GROUPS_MAX];
    int n = GROUPS_MAX;
    uid_t uid = geteuid() == 0 ? ap_unixd_config.user_id : geteuid();
    gid_t gid = geteuid() == 0 ? ap_unixd_config.group_id : getegid();
    const struct passwd *pw = getpwuid(uid);

    if (uid == 0) {
        return 1;
    }
    if (st->st_uid == uid) {
        return (st->st_mode >> 6 & wanted) == wanted;
    }
    if (pw == NULL || getgrouplist(pw->pw_name, gid, groups, &n) < 0) {
        groups[0] = gid;
        n = 1;
    }
    for (int i = 0; i < n; i++) {
        if (groups[i] == st->st_gid) {
            return (st->st_mode >> 3 & wanted) == wanted;
        }
    }
    return (st->st_mode & wanted) == wanted;
}

/** @return NULL or what is wrong */
static const char *check_place(place_t *d, apr_pool_t *p)
{
    if (stat(d->path, &d->st) != 0 || !realpath(d->path, d->real)) {
        apr_status_t rv = errno;

        return apr_psprintf(p, "SC0930: SessionClusterDeployer %s=%s: %pm; make that directory",
                            d->what, d->path, &rv);
    }
    if (!S_ISDIR(d->st.st_mode)) {
        return apr_psprintf(p, "SC0931: SessionClusterDeployer %s=%s is no directory", d->what,
                            d->path);
    }
    if (!may(&d->st, d->written ? 7 : 5)) {
        return apr_psprintf(p,
                            "SC0932: SessionClusterDeployer %s=%s: the user that httpd serves as "
                            "cannot %s it; change its owner or its mode",
                            d->what, d->path, d->written ? "write to" : "read");
    }
    if (d->written && d->st.st_mode & S_IWOTH) {
        return apr_psprintf(p,
                            "SC0933: SessionClusterDeployer %s=%s: everybody can write there, so "
                            "what is deployed could be anybody's; chmod o-w",
                            d->what, d->path);
    }
    return NULL;
}

/* Whether b is a, or lies in it. */
static int contains(const place_t *a, const place_t *b)
{
    size_t len = strlen(a->real);

    return strncmp(a->real, b->real, len) == 0 &&
           (b->real[len] == '\0' || b->real[len] == '/' || a->real[len - 1] == '/');
}

static const char *check_places(const sc_config_deployer_t *c, apr_pool_t *p)
{
    place_t *d = apr_pcalloc(p, 3 * sizeof(*d));
    int n = c->watch ? 3 : 2; /* the same line may stand on nodes that do not watch */

    d[0].what = "deployDir";
    d[0].path = c->deploy_dir;
    d[1].what = "tempDir";
    d[1].path = c->temp_dir;
    d[2].what = "watchDir";
    d[2].path = c->watch_dir;
    d[0].written = d[1].written = 1;
    for (int i = 0; i < n; i++) {
        const char *err = check_place(&d[i], p);

        if (err) {
            return err;
        }
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n; k++) {
            if (i != k && contains(&d[i], &d[k])) {
                return apr_psprintf(p,
                                    "SC0934: SessionClusterDeployer %s=%s lies in %s=%s; none of "
                                    "its directories may be in another one",
                                    d[k].what, d[k].path, d[i].what, d[i].path);
            }
        }
    }
    if (d[0].st.st_dev != d[1].st.st_dev) {
        return apr_psprintf(p,
                            "SC0935: SessionClusterDeployer tempDir=%s is on another file system "
                            "than deployDir=%s; files could not be put there as a whole",
                            c->temp_dir, c->deploy_dir);
    }
    return NULL;
}

const char *sc_deployer_wrong(const sc_server_conf_t *conf, apr_pool_t *p)
{
    const sc_config_t *e = &conf->engine;
    const sc_config_deployer_t *c = &e->deployer;

    if (!c->on) {
        return NULL;
    }
    if (e->membership == SC_MEMBERSHIP_NONE) {
        return "SC0936: SessionClusterDeployer without SessionClusterMembership: a node alone has "
               "nobody to deploy to; take it out";
    }
    if (e->secret.count == 0) {
        return "SC0937: SessionClusterDeployer needs a SessionClusterSecret: without one, whoever "
               "reaches the receiver could put files into deployDir";
    }
    if (!c->deploy_dir[0] || !c->temp_dir[0]) {
        return "SC0938: SessionClusterDeployer needs deployDir= and tempDir=, two directories on "
               "one file system that the user httpd serves as can write to";
    }
    if (c->watch && !c->watch_dir[0]) {
        return "SC0939: SessionClusterDeployer watchEnabled=true needs watchDir=, the directory "
               "whose files are deployed";
    }
    if (c->max_file > c->max_total) {
        return apr_psprintf(p,
                            "SC0940: SessionClusterDeployer maxFileSize=%u must not be larger than "
                            "maxTotalSize=%u",
                            c->max_file, c->max_total);
    }
    if (e->receiver.max_frame / 2 < c->block_bytes) {
        return apr_psprintf(p,
                            "SC0941: SessionClusterReceiver maxFrame=%u must be at least twice "
                            "SessionClusterDeployer blockSize=%u",
                            e->receiver.max_frame, c->block_bytes);
    }
    return check_places(c, p);
}

/* ---- after a batch --------------------------------------------------------------------------- */

void sc_deployer_monitor(sc_retained_t *kept, const sc_board_t *board, server_rec *s)
{
    apr_uint32_t restarts = sc_board_get(board->deploy.restarts);

    if (kept->deploy_restarts == restarts) {
        return;
    }
    kept->deploy_restarts = restarts;
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                 "SC0942: files were deployed; httpd is restarted gracefully (afterDeploy)");
    if (kill(getpid(), AP_SIG_GRACEFUL) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, s, "SC0943: the restart could not be asked for");
    }
}
