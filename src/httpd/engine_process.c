/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The engine's process, seen from httpd's parent: made in the second post_config, kept over
 * restarts, made again when it dies, replaced when its configuration or the module's file changed.
 *
 * What outlives a restart (the module itself is unloaded and loaded again) is plain data in a
 * record that httpd retains: address of the store, descriptors, pid, the configuration that the
 * engine runs with. No function pointer is kept anywhere, and no cleanup of ours hangs on the
 * process pool, since it would run after this code is gone. The store's mapping therefore belongs
 * to a pool that is never destroyed; it ends with the last process that has it.
 *
 * Parent and engine share a SEQPACKET pair. The parent says
 *   L + descriptor   write your log there from now on
 *   R                a restart has begun; end yourself if nobody confirms it
 *   C                the restart is over and still wants you
 *   H                a successor takes over: end without a good-bye
 *   D                httpd has begun to stop gracefully: say that this node is about to leave
 * and its end of file says that the parent is gone.
 *
 * The listening sockets stay with the parent, so while no engine runs callers wait, nobody is
 * refused.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <dirent.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "central.h"
#include "deployer.h"
#include "listeners.h"
#include "retained.h"
#include "secret.h"
#include "snapshot.h"
#include "tomcat.h"
#include "sc_engine.h"

#include "ap_mpm.h"
#include "mpm_common.h"
#include "apr_portable.h"
#include "apr_signal.h"
#include "unixd.h"

APLOG_USE_MODULE(session_cluster);

#define RETAINED_KEY "mod_session_cluster"
/** Idle connections to the engine that a child keeps. */
#define LINK_KEEP 256
/** How long the parent waits for an engine that was asked to make room. */
#define HANDOVER_TIME apr_time_from_sec(2)
/** How long it waits for one that leaves, whatever its build has to do then. */
#define END_TIME (HANDOVER_TIME + apr_time_from_sec(10) + SC_SNAPSHOT_TIME)
/** An engine that dies this soon after its start counts as one that cannot run... */
#define CRASH_TIME apr_time_from_sec(5)
/** ...and after so many of them in a row the next one has to wait CRASH_PAUSE. */
#define CRASH_MAX 5
#define CRASH_PAUSE apr_time_from_sec(10)
/** After a restart has begun the engine waits so long for its confirmation. */
#define CONFIRM_TIME apr_time_from_sec(60)

/** Descriptors of an engine: those of its loop (engine.c), and some files. */
#define FILES_WANTED 6144

/** The one object of this process. */
static sc_httpd_t self;

sc_httpd_t *sc_httpd(void)
{
    return &self;
}

sc_retained_t *sc_process_retained(void)
{
    return ap_retained_data_get(RETAINED_KEY);
}

/* ---- log ------------------------------------------------------------------------------------- */

static int log_level_of(sc_log_level_t level)
{
    switch (level) {
    case SC_LOG_ERROR:
        return APLOG_ERR;
    case SC_LOG_WARNING:
        return APLOG_WARNING;
    case SC_LOG_NOTICE:
        return APLOG_NOTICE;
    case SC_LOG_INFO:
        return APLOG_INFO;
    case SC_LOG_DEBUG:
        return APLOG_DEBUG;
    default:
        return APLOG_TRACE2;
    }
}

static void log_write(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    ap_log_error(APLOG_MARK, log_level_of(level), rv, (server_rec *)ctx, "%s", line);
}

static sc_log_level_t log_level(server_rec *s)
{
    int level = ap_get_server_module_loglevel(s, APLOG_MODULE_INDEX);

    if (level >= APLOG_TRACE2) {
        return SC_LOG_TRACE;
    }
    if (level >= APLOG_DEBUG) {
        return SC_LOG_DEBUG;
    }
    return level >= APLOG_INFO ? SC_LOG_INFO : SC_LOG_NOTICE;
}

/** Descriptor that the main error log is written to, 2 when it has none of its own. */
static int log_fd(server_rec *s)
{
    apr_os_file_t fd;

    if (s->error_log && apr_os_file_get(&fd, s->error_log) == APR_SUCCESS) {
        return fd;
    }
    return STDERR_FILENO;
}

/* ---- inside the engine's process --------------------------------------------------------------
 */

typedef struct engine_process_t {
    sc_engine_t *engine;
    server_rec *server;
    apr_pool_t *listeners; /* cleared after each of them */
    sc_timer_t confirm;
} engine_process_t;

/** For the signal handler only. */
static sc_engine_t *signalled_engine;

static void on_term(int sig)
{
    (void)sig;
    if (signalled_engine) {
        sc_engine_stop(signalled_engine, 1);
    }
}

static void confirm_missing(void *baton, apr_time_t now)
{
    engine_process_t *p = baton;

    (void)now;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, p->server,
                 "SC0601: httpd was restarted without this module; the engine leaves");
    sc_engine_stop(p->engine, 1);
}

static void on_control(void *baton, const unsigned char *msg, apr_size_t len, int fd)
{
    engine_process_t *p = baton;
    sc_timers_t *timers = sc_loop_timers(sc_engine_loop(p->engine));

    switch (len ? msg[0] : 0) {
    case 'L':
        if (fd >= 0) {
            int own = log_fd(p->server);
            (void)dup2(fd, STDERR_FILENO);
            if (own != STDERR_FILENO) {
                (void)dup3(fd, own, O_CLOEXEC);
            }
        }
        break;
    case 'R':
        (void)sc_timer_set(timers, &p->confirm,
                           sc_loop_now(sc_engine_loop(p->engine)) + CONFIRM_TIME, confirm_missing,
                           p);
        break;
    case 'C':
        sc_timer_cancel(timers, &p->confirm);
        break;
    case 'H':
        sc_engine_stop(p->engine, 0);
        break;
    case 'D':
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, p->server,
                     "SC0726: httpd stops gracefully; this node is announced as leaving, so that "
                     "balancers send new requests to others, and serves those under way");
        sc_engine_leave(p->engine);
        break;
    default:
        break;
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void on_event(void *baton, const sc_told_t *told)
{
    engine_process_t *p = baton;

    sc_listeners_tell(p->server, p->listeners, told);
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* As many as the process may have had open when they were: a limit that was lowered since says
 * nothing about them. */
static int highest_open(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    int highest = dir ? STDERR_FILENO : 65535;

    while (dir && (entry = readdir(dir)) != NULL) {
        int fd = atoi(entry->d_name);

        highest = fd > highest ? fd : highest;
    }
    if (dir) {
        closedir(dir);
    }
    return highest;
}

static void close_range_of(int first, int last)
{
    if (first > last || syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0u) == 0) {
        return;
    }
    last = last == INT_MAX ? highest_open() : last; /* a kernel before 5.9 */
    while (first <= last) {
        close(first++);
    }
}

/* Descriptors of other modules (listening sockets, pipes, lock files) would stay open in a process
 * that outlives restarts: a stopped instance could then not bind its ports again. */
static void close_inherited(int *keep, int nkeep)
{
    int first = STDERR_FILENO + 1;

    qsort(keep, (size_t)nkeep, sizeof(*keep), by_number);
    for (int i = 0; i < nkeep; i++) {
        if (keep[i] >= first) {
            close_range_of(first, keep[i] - 1);
            first = keep[i] + 1;
        }
    }
    close_range_of(first, INT_MAX);
}

/* Room for all that its loop may watch: what is not there would be missing for links of children
 * and lines to members, too, when strangers have used it up. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES_WANTED) {
        limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void engine_signals(void)
{
    static const int ignored[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGINT, SIGPIPE};
    sigset_t none;

    for (apr_size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        apr_signal(ignored[i], SIG_IGN);
    }
    apr_signal(SIGCHLD, SIG_DFL);
    apr_signal(SIGSEGV, SIG_DFL);
    apr_signal(SIGBUS, SIG_DFL);
    apr_signal(SIGABRT, SIG_DFL);
    apr_signal(SIGTERM, on_term);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/** Life of the engine's process; does not return. */
static void engine_main(sc_retained_t *kept, int control, server_rec *s)
{
    engine_process_t p = {0};
    sc_engine_setup_t setup = {0};
    sc_log_t log = {s, log_level(s), log_write};
    apr_pool_t *pool;
    apr_status_t rv;
    int keep[] = {kept->link_fd, kept->listen_fd, kept->group_fd, control, log_fd(s)};

    setpgid(0, 0);
    if (kept->own->config.secret.count > 0) {
        (void)sc_vault_lock();
    }
    engine_signals();
    close_inherited(keep, sizeof(keep) / sizeof(keep[0]));
    raise_limit();
    /* a pool of its own: the parent's are copies that nobody clears here */
    apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    if (ap_run_drop_privileges(pool, s) != OK) {
        _exit(APEXIT_CHILDFATAL);
    }
    /* after the change of user, which clears it */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_NAME, "session-cluster");
    if (kept->own->config.secret.count > 0) {
        /* no core file, and no look into it for children, which run as the same user */
        prctl(PR_SET_DUMPABLE, 0);
    }
    if (getppid() != kept->parent) {
        _exit(0);
    }
    if (kept->own->config.secret.count > 0 &&
        (!sc_vault() || sc_vault()->count != kept->own->config.secret.count)) {
        /* without its keys everything would go out as it is */
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     "SC0643: the keys of SessionClusterSecret are not there (%u of %u); the "
                     "engine ends; restart httpd",
                     sc_vault() ? sc_vault()->count : 0, kept->own->config.secret.count);
        _exit(1);
    }

    p.server = s;
    setup.config = &kept->own->config;
    setup.secrets = kept->own->config.secret.count > 0 ? sc_vault() : NULL;
    setup.clock = &sc_clock_system;
    setup.log = &log;
    setup.link_fd = kept->link_fd;
    setup.listen_fd = kept->listen_fd;
    setup.group_fd = kept->group_fd;
    setup.control_fd = control;
    setup.control = on_control;
    setup.baton = &p;
    if (sc_listeners_any() && apr_pool_create(&p.listeners, pool) == APR_SUCCESS) {
        setup.tell = on_event;
    }
    /* what looks names up for the engine speaks with strangers: it does not get the sessions */
    (void)madvise(kept->base, kept->bytes, MADV_DONTFORK);
    rv = sc_store_attach(&setup.store, kept->base, kept->bytes, pool);
    self.store = setup.store; /* listeners may ask what is in it */
    if (rv == APR_SUCCESS) {
        rv = sc_engine_create(&p.engine, &setup, pool);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "SC0602: the engine could not be made");
        _exit(1);
    }
    sc_vault_empty(); /* the engine has made its keys */
    signalled_engine = p.engine;
    rv = sc_engine_run(p.engine);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "SC0603: the engine's event loop failed");
    }
    _exit(rv == APR_SUCCESS ? 0 : 1);
}

/* ---- the parent: say something to the engine --------------------------------------------------
 */

static void tell(sc_retained_t *kept, char what, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } aux;
    struct iovec iov = {&what, 1};
    struct msghdr mh;

    if (kept->control_fd < 0) {
        return;
    }
    memset(&mh, 0, sizeof(mh));
    mh.msg_iov = &iov;
    mh.msg_iovlen = 1;
    if (fd >= 0) {
        struct cmsghdr *c;

        memset(&aux, 0, sizeof(aux));
        mh.msg_control = &aux;
        mh.msg_controllen = sizeof(aux.space);
        c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    /* an engine that died meanwhile is found out by other_child */
    (void)sendmsg(kept->control_fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- the parent: make, watch and replace the engine -------------------------------------------
 */

static void engine_ended(int reason, void *data, int status);

static void watch_engine(sc_retained_t *kept)
{
    apr_proc_other_child_register(&kept->proc, engine_ended, kept, NULL,
                                  self.server->process->pconf);
}

static apr_status_t engine_fork(sc_retained_t *kept, server_rec *s)
{
    int pair[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return errno;
    }
    sc_vault_inherit(1);
    pid = fork();
    if (pid != 0) {
        sc_vault_inherit(0);
    }
    if (pid < 0) {
        apr_status_t rv = errno;
        close(pair[0]);
        close(pair[1]);
        return rv;
    }
    if (pid == 0) {
        if (kept->control_fd >= 0) {
            close(kept->control_fd);
        }
        close(pair[0]);
        engine_main(kept, pair[1], s);
    }
    close(pair[1]);
    if (kept->control_fd >= 0) {
        close(kept->control_fd);
    }
    kept->control_fd = pair[0];
    kept->proc.pid = pid;
    kept->running = 1;
    kept->own->started = sc_mono(&sc_clock_system);
    if (!kept->noted) {
        /* APR ends it with the process: TERM, up to three seconds for its good-bye, KILL */
        apr_pool_note_subprocess(s->process->pool, &kept->proc, APR_KILL_AFTER_TIMEOUT);
        kept->noted = 1;
    }
    watch_engine(kept);
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "SC0604: engine started, pid %" APR_PID_T_FMT,
                 pid);
    return APR_SUCCESS;
}

static int stopping(void)
{
    int state = AP_MPMQ_STARTING;

    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) != APR_SUCCESS || state == AP_MPMQ_STOPPING;
}

/* Called by APR in the parent. DEATH and LOST: the engine has ended by itself. The others come with
 * restarts and mean nothing to a process that survives them. */
static void engine_ended(int reason, void *data, int status)
{
    sc_retained_t *kept = data;
    apr_time_t now = sc_mono(&sc_clock_system);

    if (reason != APR_OC_REASON_DEATH && reason != APR_OC_REASON_LOST) {
        return;
    }
    apr_proc_other_child_unregister(data);
    kept->running = 0;
    kept->own->crashes = now - kept->own->started < CRASH_TIME ? kept->own->crashes + 1 : 0;
    if (kept->own->crashes >= CRASH_MAX) {
        kept->own->not_before = now + CRASH_PAUSE;
    }
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, self.server,
                 "SC0605: engine %" APR_PID_T_FMT " ended unexpectedly (%s %d); %s", kept->proc.pid,
                 WIFSIGNALED(status) ? "signal" : "status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                 kept->own->crashes >= CRASH_MAX
                     ? "it keeps failing, the next one starts in 10 s"
                     : "its successor starts now with the same sessions");
    (void)sc_process_monitor(NULL, self.server);
}

int sc_process_monitor(apr_pool_t *p, server_rec *s)
{
    sc_retained_t *kept = sc_process_retained();
    apr_status_t rv;

    (void)p;
    if (kept && self.board && kept->parent == getpid() && !stopping()) {
        sc_deployer_monitor(kept, self.board, s);
    }
    if (!kept || !self.store || kept->running || kept->parent != getpid() || stopping() ||
        sc_mono(&sc_clock_system) < kept->own->not_before) {
        return DECLINED;
    }
    rv = engine_fork(kept, s);
    if (rv != APR_SUCCESS) {
        kept->own->not_before = sc_mono(&sc_clock_system) + CRASH_PAUSE;
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     "SC0606: no process for the engine; changes of sessions wait and then fail; "
                     "next try in 10 s");
    }
    return DECLINED;
}

/** Wait for the engine's end. @return 1: it has ended */
static int wait_for(const sc_retained_t *kept, apr_interval_time_t timeout)
{
    apr_time_t until = sc_mono(&sc_clock_system) + timeout;
    int status;

    while (waitpid(kept->proc.pid, &status, WNOHANG) == 0) {
        if (sc_mono(&sc_clock_system) > until) {
            return 0;
        }
        apr_sleep(apr_time_from_msec(1));
    }
    return 1;
}

/** Ask the engine to make room for a successor; kill it if it does not in time. */
void sc_process_hand_over(sc_retained_t *kept)
{
    tell(kept, 'H', -1);
    if (!wait_for(kept, HANDOVER_TIME)) {
        kill(kept->proc.pid, SIGKILL);
        waitpid(kept->proc.pid, NULL, 0);
    }
    kept->running = 0;
}

/* httpd's parent runs no hook when a graceful stop begins, and then sleeps until its children have
 * ended. But it says in the log what it has begun, and modules hear that; at that moment the MPM's
 * own record says which kind of end it is. */
void sc_process_log_written(const ap_errorlog_info *info, const char *line)
{
    sc_retained_t *kept = sc_process_retained();
    const ap_unixd_mpm_retained_data *mpm;

    (void)info;
    (void)line;
    if (!kept || !kept->running || kept->leaving || kept->parent != getpid() ||
        kept->own->config.role != SC_ROLE_NODE ||
        kept->own->config.membership == SC_MEMBERSHIP_NONE) {
        return;
    }
    mpm = ap_unixd_mpm_get_retained_data();
    if (mpm && mpm->shutdown_pending && !mpm->is_ungraceful) {
        kept->leaving = 1;
        tell(kept, 'D', -1);
    }
}

/* What the engine may need at the end beyond the three seconds that APR gives it: to hand over its
 * sessions, to write its snapshot. */
static apr_interval_time_t last_words(const sc_config_t *config)
{
    apr_interval_time_t time = 0;

    if (config->role != SC_ROLE_NODE) {
        return 0;
    }
    if (config->manager == SC_MANAGER_BACKUP && config->membership != SC_MEMBERSHIP_NONE) {
        time += apr_time_from_msec(config->backup.leave_ms);
    }
    if (config->snapshot.path[0]) {
        time += SC_SNAPSHOT_TIME;
    }
    return time;
}

void sc_process_end(sc_retained_t *kept)
{
    kill(kept->proc.pid, SIGTERM);
    if (!wait_for(kept, END_TIME)) {
        kill(kept->proc.pid, SIGKILL);
        waitpid(kept->proc.pid, NULL, 0);
    }
    kept->running = 0;
}

/* The configuration goes: a restart, or the end. At the end the engine gets the time that it needs
 * before APR ends it. */
static apr_status_t config_goes(void *data)
{
    sc_retained_t *kept = sc_process_retained();

    (void)data;
    if (!kept || kept->parent != getpid() || !kept->running) {
        return APR_SUCCESS;
    }
    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_EXITING) {
        tell(kept, 'R', -1);
    } else if (last_words(&kept->own->config) > 0) {
        kill(kept->proc.pid, SIGTERM);
        kept->running = !wait_for(kept, last_words(&kept->own->config));
    }
    return APR_SUCCESS;
}

/* Which file this code was loaded from, and those of listeners: a changed one means that an engine
 * made earlier runs older code than the children will. */
static void build_stamp(char *out, apr_size_t size, apr_pool_t *p)
{
    Dl_info info;
    struct stat st;

    memset(out, 0, size);
    if (dladdr((void *)&self, &info) && info.dli_fname && stat(info.dli_fname, &st) == 0) {
        apr_snprintf(out, size, "%s %lx:%lx:%lx.%lx %x", SC_VERSION, (unsigned long)st.st_ino,
                     (unsigned long)st.st_size, (unsigned long)st.st_mtim.tv_sec,
                     (unsigned long)st.st_mtim.tv_nsec, sc_listeners_stamp(p));
    } else {
        apr_cpystrn(out, SC_VERSION, size);
    }
}

/* Every build that may lay out sc_retained_own_t differently has a number of its own. */
static apr_uint64_t own_layout(void)
{
    static const char version[] = SC_VERSION;
    apr_uint64_t h = 14695981039346656037ull ^ sizeof(sc_retained_own_t);

    for (apr_size_t i = 0; i < sizeof(version); i++) {
        h = (h ^ (unsigned char)version[i]) * 1099511628211ull;
    }
    return (h ^ sizeof(sc_config_t)) * 1099511628211ull;
}

/* What another build remembers cannot be read. Its engine gives way before anything else; sessions
 * stay where they are, unless this build cannot read the store either. */
static void make_own(sc_retained_t *kept, server_rec *s, apr_pool_t *ptemp)
{
    sc_store_t *store;

    if (kept->layout == own_layout()) {
        return;
    }
    if (kept->running && sc_store_attach(&store, kept->base, kept->bytes, ptemp) != APR_SUCCESS) {
        sc_process_end(kept); /* and resources.c says why */
    } else if (kept->running) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                     "SC1170: another version of the module was loaded (%s); the engine is "
                     "replaced, sessions stay",
                     SC_VERSION);
        sc_process_hand_over(kept);
    }
    if (kept->group_fd >= 0) {
        close(kept->group_fd);
        kept->group_fd = -1;
    }
    kept->own = ap_retained_data_create(RETAINED_KEY " own", sizeof(*kept->own));
    memset(kept->own, 0, sizeof(*kept->own));
    kept->layout = own_layout();
}

static sc_retained_t *retained_make(void)
{
    sc_retained_t *kept = ap_retained_data_create(RETAINED_KEY, sizeof(*kept));

    memset(kept, 0, sizeof(*kept));
    kept->parent = getpid();
    kept->link_fd = kept->listen_fd = kept->group_fd = kept->control_fd = -1;
    return kept;
}

/* ---- hooks ------------------------------------------------------------------------------------
 */

int sc_process_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    sc_server_conf_t *conf = self.conf;
    sc_retained_t *kept = sc_process_retained();
    char build[sizeof(kept->own->build)];
    apr_status_t rv;
    int ran;

    (void)plog;
    self.server = s;
    self.store = NULL;
    self.board = NULL;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG || !conf) {
        return OK;
    }
    if (!conf->used) {
        if (kept && kept->running) { /* the last directive of ours was taken out */
            kill(kept->proc.pid, SIGTERM);
            kept->running = 0;
        }
        return OK;
    }
    if (!kept) {
        kept = retained_make();
    }
    make_own(kept, s, ptemp);
    sc_config_collect_contexts(conf, s, ptemp);
    sc_tomcat_prepare(conf, s, ptemp);
    if (sc_resources_store(kept, conf, s, &self.store, pconf) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ran = kept->running; /* it may have to give way to a new listener */
    if (sc_resources_sockets(kept, conf, s, ptemp) != APR_SUCCESS ||
        sc_central_prepare(s, pconf, ptemp) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    self.board = sc_store_board(self.store);
    sc_board_set(self.board->restarts, kept->restarts);
    kept->restarts++;

    build_stamp(build, sizeof(build), ptemp);
    if (kept->running && kill(kept->proc.pid, 0) == 0 &&
        memcmp(&kept->own->config, &conf->engine, sizeof(conf->engine)) == 0 &&
        strcmp(kept->own->build, build) == 0) {
        tell(kept, 'C', -1);
        tell(kept, 'L', log_fd(s));
        watch_engine(kept);
    } else {
        if (ran) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                         "SC0616: the %s has changed; the engine is replaced, sessions stay",
                         strcmp(kept->own->build, build) ? "module's file, or a listener's,"
                                                         : "configuration");
        }
        if (kept->running) {
            sc_process_hand_over(kept);
        }
        kept->own->config = conf->engine;
        apr_cpystrn(kept->own->build, build, sizeof(kept->own->build));
        kept->own->not_before = 0;
        rv = engine_fork(kept, s);
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "SC0617: no process for the engine");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    apr_pool_cleanup_register(pconf, kept, config_goes, apr_pool_cleanup_null);
    return OK;
}

void sc_process_child_init(apr_pool_t *pchild, server_rec *s)
{
    sc_retained_t *kept = sc_process_retained();
    apr_status_t rv;

    if (!kept || !self.store) {
        return;
    }
    sc_central_child_init(pchild, s);
    rv = sc_link_client_create(&self.link, sc_resources_link_path(pchild), LINK_KEEP, pchild);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s,
                     "SC0618: this child has no link to the engine; its sessions cannot change");
    }
    if (kept->parent == getpid()) {
        return; /* httpd -X: the sockets are the parent's, too */
    }
    sc_vault_empty();
    rv = sc_store_protect(self.store);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     "SC0619: the store could not be made read-only for this child");
    }
    close(kept->link_fd);
    close(kept->control_fd);
    if (kept->listen_fd >= 0) {
        close(kept->listen_fd);
    }
    if (kept->group_fd >= 0) {
        close(kept->group_fd);
    }
}
