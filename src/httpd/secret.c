/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where the cluster's secrets come from: files, or the output of a program. See secret.h for where
 * what is derived from them stays.
 *
 * The bytes themselves are read past all buffers of libraries into memory of this file's functions,
 * which is overwritten before they return.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret.h"

#include "apr_lib.h"
#include "apr_thread_proc.h"

APLOG_USE_MODULE(session_cluster);

#define VAULT_KEY "mod_session_cluster vault"
/** Bytes of a file or of a program's output. */
#define TEXT_MAX 4096
/** How long a program may take for the next part of its output. */
#define EXEC_TIME apr_time_from_sec(30)
#define STACK_USED 16384

/** Characters of a secret that differ: random hexadecimal digits have more, nearly always. */
#define DIFFERENT_MIN 8

#define HOW_TO "make one with: openssl rand -hex 32"

/* ---- the vault ------------------------------------------------------------------------------- */

static sc_secrets_t *vault_find(void)
{
    sc_secrets_t **kept = ap_retained_data_get(VAULT_KEY);

    return kept ? *kept : NULL;
}

sc_secrets_t *sc_vault(void)
{
    sc_secrets_t *vault = vault_find();
    apr_size_t size = (apr_size_t)sysconf(_SC_PAGESIZE);

    if (vault) {
        return vault;
    }
    vault = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (vault == MAP_FAILED) {
        return NULL;
    }
    /* each of them helps by itself; none is worth a server that does not start */
    (void)mlock(vault, size);
    (void)madvise(vault, size, MADV_DONTDUMP);
    *(sc_secrets_t **)ap_retained_data_create(VAULT_KEY, sizeof(vault)) = vault;
    sc_vault_inherit(0);
    return vault;
}

int sc_vault_lock(void)
{
    sc_secrets_t *vault = vault_find();

    return vault && mlock(vault, (apr_size_t)sysconf(_SC_PAGESIZE)) == 0;
}

void sc_vault_empty(void)
{
    sc_secrets_t *vault = vault_find();

    if (vault) {
        sc_cleanse(vault, sizeof(*vault));
    }
}

void sc_vault_inherit(int on)
{
    sc_secrets_t *vault = vault_find();

    if (vault) {
        /* where the kernel cannot (before 4.14), child_init empties it */
        (void)madvise(vault, (apr_size_t)sysconf(_SC_PAGESIZE),
                      on ? MADV_KEEPONFORK : MADV_WIPEONFORK);
    }
}

/* ---- text into secrets ----------------------------------------------------------------------- */

/** What derivations have left on the stack below this call. */
static __attribute__((noinline)) void wipe_stack(void)
{
    unsigned char junk[STACK_USED];

    sc_cleanse(junk, sizeof(junk));
}

/** A secret that a person has typed to be done with it. */
static int is_monotonous(const char *line, apr_size_t len)
{
    unsigned char seen[256] = {0};
    int different = 0;

    for (apr_size_t i = 0; i < len; i++) {
        different += !seen[(unsigned char)line[i]];
        seen[(unsigned char)line[i]] = 1;
    }
    sc_cleanse(seen, sizeof(seen));
    return different < DIFFERENT_MIN;
}

static const char *add_line(apr_pool_t *p, const char *from, const char *line, apr_size_t len)
{
    apr_status_t rv;

    if (len >= SC_SECRET_MIN && len <= SC_SECRET_LEN_MAX && is_monotonous(line, len)) {
        return apr_psprintf(p,
                            "a secret in %s has fewer than %d different characters: it could be "
                            "guessed; " HOW_TO,
                            from, DIFFERENT_MIN);
    }
    rv = sc_secrets_add(sc_vault(), line, len);
    wipe_stack();
    switch (rv) {
    case APR_SUCCESS:
        return NULL;
    case APR_EINVAL:
        return apr_psprintf(
            p, "a secret in %s has %" APR_SIZE_T_FMT " bytes, %d to %d are right; " HOW_TO, from,
            len, SC_SECRET_MIN, SC_SECRET_LEN_MAX);
    case APR_EEXIST:
        return apr_psprintf(p,
                            "the secret in %s is there twice; a second one is for the time while "
                            "all nodes go over to another, " HOW_TO,
                            from);
    case APR_ENOSPC:
        return apr_psprintf(p,
                            "%s makes more than %d secrets; the first is used, the second one "
                            "accepted too",
                            from, SC_SECRETS_MAX);
    default:
        return "OpenSSL cannot derive keys (HKDF, SHA-256)";
    }
}

/** Each line is a secret; blanks around it and empty lines do not count. */
static const char *add_lines(apr_pool_t *p, const char *from, const char *text, apr_size_t len)
{
    const char *err = NULL;
    apr_size_t at = 0;
    int found = 0;

    if (memchr(text, '\0', len)) {
        return apr_psprintf(p, "%s holds bytes that are no text; " HOW_TO, from);
    }
    while (!err && at < len) {
        const char *line = text + at;
        const char *end = memchr(line, '\n', len - at);
        apr_size_t n = end ? (apr_size_t)(end - line) : len - at;

        at += n + 1;
        while (n > 0 && apr_isspace(line[n - 1])) {
            n--;
        }
        while (n > 0 && apr_isspace(*line)) {
            line++;
            n--;
        }
        if (n > 0) {
            found = 1;
            err = add_line(p, from, line, n);
        }
    }
    if (!err && !found) {
        err = apr_psprintf(p, "%s holds no secret; " HOW_TO, from);
    }
    return err;
}

/* ---- file: ----------------------------------------------------------------------------------- */

/** Only who starts the server may have a hand in it. */
static const char *bad_file(apr_pool_t *p, const char *path, int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return apr_psprintf(p, "%s is no file", path);
    }
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        return apr_psprintf(p,
                            "%s belongs to user %ld; it must be root's, or that of who starts the "
                            "server (chown root %s)",
                            path, (long)st.st_uid, path);
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        return apr_psprintf(p, "%s can be used by others (mode %03o); chmod 600 %s", path,
                            (unsigned int)st.st_mode & 0777, path);
    }
    if (st.st_size > TEXT_MAX) {
        return apr_psprintf(p, "%s is longer than %d bytes; " HOW_TO, path, TEXT_MAX);
    }
    return NULL;
}

static const char *read_file(cmd_parms *cmd, const char *name)
{
    const char *path = ap_server_root_relative(cmd->temp_pool, name);
    char text[TEXT_MAX];
    apr_size_t len = 0;
    const char *err;
    ssize_t n = 1;
    int fd;

    fd = path && *name ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    if (fd < 0) {
        apr_status_t rv = path && *name ? errno : APR_EINVAL;

        return apr_psprintf(cmd->pool, "%s cannot be read: %pm", *name ? name : "file:", &rv);
    }
    err = bad_file(cmd->pool, path, fd);
    while (!err && n > 0 && len < sizeof(text)) {
        n = read(fd, text + len, sizeof(text) - len);
        len += n > 0 ? (apr_size_t)n : 0;
    }
    if (!err && n < 0) {
        apr_status_t rv = errno;

        err = apr_psprintf(cmd->pool, "%s cannot be read: %pm", path, &rv);
    }
    close(fd);
    if (!err) {
        err = add_lines(cmd->pool, path, text, len);
    }
    sc_cleanse(text, sizeof(text));
    return err;
}

/* ---- exec: ----------------------------------------------------------------------------------- */

static const char *bad_program(apr_pool_t *p, const char *path)
{
    struct stat st;

    if (*path != '/') {
        return apr_psprintf(p, "exec: wants the whole path of a program, not \"%s\"", path);
    }
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || access(path, X_OK) != 0) {
        return apr_psprintf(p, "%s is no program", path);
    }
    if (st.st_mode & (S_IWGRP | S_IWOTH) || (st.st_uid != 0 && st.st_uid != geteuid())) {
        return apr_psprintf(p,
                            "%s can be changed by others than who starts the server; chown root, "
                            "chmod go-w",
                            path);
    }
    return NULL;
}

static apr_status_t start_program(apr_proc_t *proc, const char *const *args, apr_pool_t *p)
{
    apr_procattr_t *attr;
    apr_status_t rv = apr_procattr_create(&attr, p);

    if (rv == APR_SUCCESS) {
        rv = apr_procattr_io_set(attr, APR_NO_FILE, APR_FULL_BLOCK, APR_NO_PIPE);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_procattr_cmdtype_set(attr, APR_PROGRAM_ENV); /* no shell */
    }
    if (rv == APR_SUCCESS) {
        rv = apr_procattr_error_check_set(attr, 1);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_proc_create(proc, args[0], args, NULL, attr, p);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_file_pipe_timeout_set(proc->out, EXEC_TIME);
    }
    return rv;
}

/** All it says, up to TEXT_MAX bytes. @return what went wrong, NULL when nothing did */
static const char *program_output(apr_pool_t *p, const char *path, apr_proc_t *proc, char *text,
                                  apr_size_t *len)
{
    apr_status_t rv = APR_SUCCESS;
    apr_exit_why_e why = APR_PROC_EXIT;
    int code = 0;

    *len = 0;
    while (rv == APR_SUCCESS && *len < TEXT_MAX) {
        apr_size_t n = TEXT_MAX - *len;

        rv = apr_file_read(proc->out, text + *len, &n);
        *len += rv == APR_SUCCESS ? n : 0;
    }
    apr_file_close(proc->out);
    if (!APR_STATUS_IS_EOF(rv)) {
        (void)apr_proc_kill(proc, SIGKILL);
    }
    (void)apr_proc_wait(proc, &code, &why, APR_WAIT);
    if (rv == APR_SUCCESS) {
        return apr_psprintf(p, "%s says more than %d bytes", path, TEXT_MAX);
    }
    if (!APR_STATUS_IS_EOF(rv)) {
        return apr_psprintf(p, "%s says nothing for %d seconds, or its output cannot be read: %pm",
                            path, (int)apr_time_sec(EXEC_TIME), &rv);
    }
    if (!APR_PROC_CHECK_EXIT(why) || code != 0) {
        return apr_psprintf(p, "%s failed (%s %d)", path,
                            APR_PROC_CHECK_EXIT(why) ? "exit code" : "signal", code);
    }
    return NULL;
}

static const char *read_program(cmd_parms *cmd, const char *path, int argc, char *const argv[])
{
    const char **args = apr_pcalloc(cmd->temp_pool, ((apr_size_t)argc + 2) * sizeof(*args));
    const char *err = bad_program(cmd->pool, path);
    char text[TEXT_MAX];
    apr_size_t len = 0;
    apr_proc_t proc;
    apr_status_t rv;

    if (err) {
        return err;
    }
    args[0] = path;
    for (int i = 0; i < argc; i++) {
        args[i + 1] = argv[i];
    }
    rv = start_program(&proc, args, cmd->temp_pool);
    if (rv != APR_SUCCESS) {
        return apr_psprintf(cmd->pool, "%s cannot be started: %pm", path, &rv);
    }
    err = program_output(cmd->pool, path, &proc, text, &len);
    if (!err) {
        err = add_lines(cmd->pool, path, text, len);
    }
    sc_cleanse(text, sizeof(text));
    return err;
}

/* ---- the directive --------------------------------------------------------------------------- */

static int is_file(const char *arg)
{
    return ap_cstr_casecmpn(arg, "file:", 5) == 0;
}

const char *sc_secret_read(cmd_parms *cmd, sc_server_conf_t *conf, int argc, char *const argv[])
{
    static const char right[] = "file:path and perhaps a second one, exec:/path/of/program and its "
                                "arguments, or none";
    const char *err = NULL;
    const sc_secrets_t *vault = sc_vault();

    if (argc < 1 || (!is_file(argv[0]) && ap_cstr_casecmpn(argv[0], "exec:", 5) != 0)) {
        return apr_psprintf(cmd->pool, "%s wants %s", cmd->cmd->name, right);
    }
    if (!vault) {
        return apr_psprintf(cmd->pool, "%s: no memory", cmd->cmd->name);
    }
    if (is_file(argv[0])) {
        for (int i = 0; !err && i < argc; i++) {
            err = is_file(argv[i]) ? read_file(cmd, argv[i] + 5)
                                   : apr_psprintf(cmd->pool, "\"%s\" is not file:path", argv[i]);
        }
    } else {
        err = read_program(cmd, argv[0] + 5, argc - 1, argv + 1);
    }
    if (err) {
        sc_vault_empty();
        return apr_psprintf(cmd->pool, "%s: %s", cmd->cmd->name, err);
    }
    if (!sc_vault_lock()) {
        ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, errno, cmd->server,
                     "SC0645: the keys of %s could be swapped to disk: their memory cannot be "
                     "locked (ulimit -l)",
                     cmd->cmd->name);
    }
    conf->engine.secret.count = vault->count;
    memcpy(conf->engine.secret.id, vault->id, sizeof(vault->id));
    return NULL;
}
