/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is run after a batch: a program with arguments, no shell, as the user that httpd serves as,
 * in deployDir, with nothing on its standard input, and with the error log for what it says. One at
 * a time: a batch that ends while it runs is followed by another run.
 *
 * It is not ended with the deployer: it may be what restarts httpd.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_strings.h>

#include "internal.h"

/** One that was killed has ended after that, or the kernel waits for something. */
#define AGAIN_TIME apr_time_from_sec(10)

apr_status_t sc_deploy_command(char ***argv, const char *command, apr_pool_t *p)
{
    apr_status_t rv = apr_tokenize_to_argv(command, argv, p);

    if (rv == APR_SUCCESS && ((*argv)[0] == NULL || (*argv)[0][0] != '/')) {
        rv = APR_EINVAL;
    }
    return rv;
}

static void run(const sc_farm_t *f)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char *env[] = {path, NULL};
    static const struct sched_param any;
    sigset_t none;
    int null;
    int i;

    (void)setsid(); /* a group of its own, to be ended as a whole */
    for (i = 1; i < SIGRTMIN; i++) {
        signal(i, SIG_DFL); /* what the engine ignores, or who started httpd, is inherited */
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    (void)sched_setscheduler(0, SCHED_OTHER, &any);
    (void)umask(022);
    if (fchdir(f->deploy_root) != 0) {
        _exit(126);
    }
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    }
    execve(f->command[0], f->command, env);
    _exit(errno == ENOENT ? 127 : 126);
}

/** What the status page says of it. */
static void note(sc_farm_t *f, apr_time_t now, sc_command_end_t how, int code)
{
    f->count.command = how;
    f->count.command_code = (apr_uint32_t)code;
    f->count.command_at = now;
}

void sc_command_run(sc_farm_t *f, apr_time_t now)
{
    pid_t pid;

    if (f->command == NULL) {
        return;
    }
    pid = fork();
    if (pid == 0) {
        run(f);
    }
    f->count.commands++;
    if (pid < 0) {
        int why = errno;

        f->count.commands_failed++;
        note(f, now, SC_COMMAND_NOT_RUN, why);
        sc_log(f->env.log, SC_LOG_ERROR, why,
               "SC0907: no process for the command %s; it is run "
               "after the next batch",
               f->command[0]);
        return;
    }
    note(f, now, SC_COMMAND_RUNS, 0);
    f->command_pid = pid;
    f->command_due = now + apr_time_from_msec(f->env.config->command_ms);
}

void sc_command_step(sc_farm_t *f, apr_time_t now)
{
    int status = 0;
    pid_t pid;

    if (f->command_pid == 0) {
        return;
    }
    pid = waitpid(f->command_pid, &status, WNOHANG);
    if (pid == 0 && now >= f->command_due) {
        if (kill(-f->command_pid, SIGKILL) != 0) {
            (void)kill(f->command_pid, SIGKILL); /* it is no group yet */
        }
        f->command_due = now + AGAIN_TIME;
        sc_log(f->env.log, SC_LOG_ERROR, 0,
               "SC0908: the command %s did not end within %u s and was killed", f->command[0],
               f->env.config->command_ms / 1000);
    }
    if (pid == 0) {
        return;
    }
    f->command_pid = 0;
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        note(f, now, SC_COMMAND_DONE, 0);
        sc_log(f->env.log, SC_LOG_NOTICE, 0, "SC0909: the command %s was run", f->command[0]);
        return;
    }
    f->count.commands_failed++;
    note(f, now, WIFSIGNALED(status) ? SC_COMMAND_SIGNAL : SC_COMMAND_EXIT,
         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    sc_log(f->env.log, SC_LOG_ERROR, 0,
           "SC0910: the command %s failed (%s %d); it is run again after the next batch",
           f->command[0], WIFSIGNALED(status) ? "signal" : "exit code",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}
