/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the deployer's process does when: members come and go, what is to be done next, the ends of
 * batches, and the beginning and end of it all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "internal.h"

/** A change is announced when the batch is complete, or after this. */
#define ANNOUNCE_TIME apr_time_from_sec(5)
/** deployDir did not change for so long: the batch is over. */
#define BATCH_TIME apr_time_from_sec(1)
#define SAVE_TIME apr_time_from_sec(1)
#define VERIFY_INTERVAL apr_time_from_sec(60)
/** Temporary files that nobody went on with are removed. */
#define SWEEP_TIME apr_time_from_sec(120)
/** What members have is heard before own files are taken. */
#define SETTLE_TIME apr_time_from_sec(2)
#define COMMAND_POLL apr_time_from_msec(100)
#define LOG_INTERVAL apr_time_from_sec(10)
/** A member that has not asked for more after that does not fetch any more. */
#define GIVING_TIME apr_time_from_sec(2)

/* ---- small things --------------------------------------------------------------------------- */

sc_farm_peer_t *sc_farm_peer(sc_farm_t *f, apr_uint32_t ref)
{
    unsigned int i;

    for (i = 0; i < SC_FARM_PEERS && ref != 0; i++) {
        if (f->peer[i].ref == ref) {
            return &f->peer[i];
        }
    }
    return NULL;
}

sc_stamp_t sc_farm_stamp(sc_farm_t *f)
{
    apr_uint64_t now = sc_farm_wall_ms(f) << 16;
    sc_stamp_t stamp;

    memset(&stamp, 0, sizeof(stamp));
    f->control.hlc = f->control.hlc + 1 > now ? f->control.hlc + 1 : now;
    stamp.hlc = f->control.hlc;
    stamp.node = f->control.tag;
    return stamp;
}

void sc_farm_noted(sc_farm_t *f)
{
    apr_time_t now = sc_farm_now(f);

    if (!f->dirty) {
        f->dirty = 1;
        f->save_due = now + SAVE_TIME;
    }
    if (!f->announce) {
        f->announce = 1;
        f->announce_due = now + ANNOUNCE_TIME;
    }
}

void sc_farm_changed(sc_farm_t *f)
{
    sc_farm_noted(f);
    f->control.batch = 1;
    f->batch_due = sc_farm_now(f) + BATCH_TIME;
}

const char *sc_farm_limit(const sc_farm_t *f, const sc_deploy_entry_t *e, apr_uint64_t size)
{
    const sc_config_deployer_t *c = f->env.config;
    apr_uint64_t others = f->cat.bytes;
    apr_size_t files = f->cat.files;
    apr_size_t i;
    int counted = e != NULL && (e->have.kind == SC_DEPLOY_FILE || e->want.kind == SC_DEPLOY_FILE);

    if (size > c->max_file) {
        return "it is larger than maxFileSize";
    }
    if (e != NULL && e->want.kind == SC_DEPLOY_FILE) {
        others -= e->want.size;
    } else if (e != NULL && e->have.kind == SC_DEPLOY_FILE) {
        others -= e->have.size;
    }
    if (others > c->max_total || size > c->max_total - others) {
        return "all files together would be larger than maxTotalSize";
    }
    /* files that are wanted and not there yet count, too */
    for (i = 0; i < f->cat.n && f->cat.files + f->cat.wanted >= c->max_files; i++) {
        files +=
            f->cat.at[i]->want.kind == SC_DEPLOY_FILE && f->cat.at[i]->have.kind != SC_DEPLOY_FILE;
    }
    return files >= c->max_files && !counted ? "there are more than maxFiles" : NULL;
}

int sc_farm_listening(const sc_farm_t *f)
{
    unsigned int i;

    for (i = 0; i < SC_FARM_PEERS; i++) {
        if (f->peer[i].ref != 0 && f->peer[i].asked) {
            return 1;
        }
    }
    return 0;
}

/* ---- members -------------------------------------------------------------------------------- */

void sc_farm_joined(sc_farm_t *f, apr_uint32_t ref, const char *name)
{
    unsigned int i;

    for (i = 0; i < SC_FARM_PEERS; i++) {
        sc_farm_peer_t *p = &f->peer[i];

        if (p->ref == 0) {
            memset(p, 0, sizeof(*p));
            p->ref = ref;
            apr_cpystrn(p->name, name, sizeof(p->name));
            sc_compare_say(f, ref, 1);
            return;
        }
    }
}

void sc_farm_left(sc_farm_t *f, apr_uint32_t ref)
{
    sc_farm_peer_t *p = sc_farm_peer(f, ref);
    unsigned int i;
    int any;

    if (p == NULL) {
        return;
    }
    f->serving -= p->serving;
    memset(p, 0, sizeof(*p));
    any = sc_fetch_left(f, ref);
    for (i = 0; any && i < SC_FARM_PEERS; i++) {
        if (f->peer[i].ref != 0) {
            sc_compare_ask(f, &f->peer[i]); /* who else has what it had? */
        }
    }
}

void sc_farm_sent(sc_farm_t *f, apr_uint32_t ref)
{
    sc_farm_peer_t *p = sc_farm_peer(f, ref);

    if (p != NULL && p->serving > 0) {
        p->serving--;
        f->serving--;
        f->give_due = sc_pace_next(f, f->given_at, sc_farm_now(f), f->given);
    }
}

/* ---- looking after what is there ------------------------------------------------------------ */

static int is_placed(const sc_farm_t *f, const sc_deploy_entry_t *e)
{
    sc_file_id_t id;
    struct stat st;
    const char *base;
    int dir;
    int found;

    if (sc_deploy_parent(f->deploy_root, e->name, 0, &base, &dir) != APR_SUCCESS) {
        return 0;
    }
    found = fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) == 0;
    close(dir);
    if (!found) {
        return 0;
    }
    sc_file_id(&id, &st);
    return memcmp(&id, &e->placed, sizeof(id)) == 0;
}

/** A file in deployDir that somebody else changed or removed is not what the catalogue says. */
static void verify(sc_farm_t *f)
{
    static const sc_version_t none;
    apr_size_t i;

    for (i = 0; i < f->cat.n; i++) {
        sc_deploy_entry_t *e = f->cat.at[i];
        sc_version_t want = e->want;
        apr_uint32_t source = e->source;

        if (e->have.kind != SC_DEPLOY_FILE || is_placed(f, e)) {
            continue;
        }
        if (sc_farm_may_log(f)) {
            sc_log(f->env.log, SC_LOG_NOTICE, 0,
                   "SC0915: %s was changed in deployDir by somebody else; it is brought here again",
                   e->name);
        }
        sc_serve_forget(f, e);
        sc_catalogue_have(&f->cat, e, &none);
        if (want.kind != SC_DEPLOY_NONE) {
            sc_catalogue_want(&f->cat, e, &want, source);
        }
        sc_farm_noted(f);
    }
}

static void save(sc_farm_t *f, apr_time_t now)
{
    apr_status_t rv;

    if (f->fetching == NULL && f->taking == NULL) {
        sc_serve_forget(f, f->serve_entry);
        sc_catalogue_tidy(&f->cat);
    }
    rv = sc_control_save(f->temp_root, &f->control, &f->cat);
    f->dirty = rv != APR_SUCCESS;
    f->save_due = now + (rv != APR_SUCCESS ? LOG_INTERVAL : SAVE_TIME);
    if (rv != APR_SUCCESS) {
        sc_log(f->env.log, SC_LOG_WARNING, rv,
               "SC0916: the catalogue could not be written to tempDir %s; it is tried again",
               f->env.config->temp_dir);
    }
}

static void batch_ended(sc_farm_t *f, apr_time_t now)
{
    f->control.batch = 0;
    f->count.batches++;
    f->count.batch_at = now;
    sc_log(f->env.log, SC_LOG_NOTICE, 0,
           "SC0917: a batch is complete: %" APR_SIZE_T_FMT " files are in deployDir", f->cat.files);
    sc_command_run(f, now);
    f->dirty = 1;
    f->save_due = now;
    if (f->env.config->after == SC_DEPLOY_GRACEFUL) {
        f->env.restart(f->env.ctx);
    }
}

/* ---- step by step --------------------------------------------------------------------------- */

static int gives(const sc_farm_t *f)
{
    return f->serving > 0 || f->nasks > 0;
}

static void measure_ways(sc_farm_t *f, apr_time_t now)
{
    sc_board_way_t *in = &f->count.in;

    memset(in, 0, sizeof(*in));
    if (f->fetching != NULL) {
        const sc_farm_peer_t *peer = sc_farm_peer(f, f->fetch_from);

        apr_cpystrn(in->file, f->fetching->name, sizeof(in->file));
        apr_cpystrn(in->who, peer != NULL ? peer->name : "", sizeof(in->who));
        in->size = f->fetch_version.size;
        in->done = f->fetch.size;
    }
    if (!gives(f) && now >= f->served_at + GIVING_TIME) {
        memset(&f->count.out, 0, sizeof(f->count.out));
    }
}

static void measure(sc_farm_t *f, apr_time_t now)
{
    apr_uint64_t version = 0;
    unsigned int i;

    f->count.files = f->cat.files;
    f->count.total_bytes = f->cat.bytes;
    f->count.waiting = f->cat.wanted;
    f->count.blind = f->watch_lost != 0;
    measure_ways(f, now);
    if (f->cat.sum_known) { /* else it will be, before members are told of it */
        for (i = 0; i < sizeof(version); i++) {
            version = version << 8 | f->cat.sum[i];
        }
        f->count.version = version != 0 ? version : 1;
    }
}

static apr_time_t earlier(apr_time_t a, apr_time_t b)
{
    return a < b ? a : b;
}

static apr_time_t later(apr_time_t a, apr_time_t b)
{
    return a > b ? a : b;
}

/** @param now when it was last looked what there is to do */
static apr_time_t next_due(const sc_farm_t *f, apr_time_t now)
{
    apr_time_t due = earlier(f->repeat_due, f->verify_due);
    unsigned int i;

    due = f->dirty ? earlier(due, f->save_due) : due;
    due = f->announce ? earlier(due, f->announce_due) : due;
    due = f->control.batch ? earlier(due, f->batch_due) : due;
    due = f->sweep_due != 0 ? earlier(due, f->sweep_due) : due;
    if (f->count.out.file[0] && !gives(f)) {
        due = earlier(due, f->served_at + GIVING_TIME);
    }
    due = f->command_pid != 0 ? earlier(due, sc_farm_now(f) + COMMAND_POLL) : due;
    if (f->env.config->watch) {
        due = earlier(due, f->scan_due);
        due = f->taking != NULL || (f->to_take > 0 && !sc_farm_listening(f))
                  ? earlier(due, later(f->take_due, f->take_rest))
                  : due;
    }
    /* after that it is a member's turn to be ready for more */
    due = f->nasks > 0 && f->give_due > now ? earlier(due, f->give_due) : due;
    due = earlier(due, sc_fetch_due(f));
    for (i = 0; i < SC_FARM_PEERS; i++) {
        if (f->peer[i].ref != 0 && f->peer[i].asked) {
            due = earlier(due, f->peer[i].deadline);
        }
    }
    return due;
}

/** What is done when nothing more urgent is. */
static void look_after(sc_farm_t *f, apr_time_t now)
{
    int idle = sc_watch_idle(f) && sc_fetch_idle(f) && !sc_farm_listening(f);
    int say = f->announce && (idle || now >= f->announce_due);

    sc_compare_deadlines(f, now);
    if (now >= f->verify_due) {
        verify(f);
        f->verify_due = sc_farm_now(f) + VERIFY_INTERVAL;
    }
    /* what others have heard of must not be forgotten: a watcher that did would take its files for
     * new ones, and overrule what was decided meanwhile */
    if (f->dirty && (now >= f->save_due || say)) {
        save(f, now);
    }
    if (say || now >= f->repeat_due) {
        sc_compare_say_all(f, now);
    }
    if (f->control.batch && now >= f->batch_due) {
        if (idle && f->command_pid == 0) {
            batch_ended(f, now);
        } else {
            f->batch_due = now + BATCH_TIME;
        }
    }
    if (f->sweep_due != 0 && now >= f->sweep_due) {
        /* a landing that is under way has its file open: only what is left over is in the way */
        if (idle) {
            sc_landing_sweep(f->temp_root);
        }
        f->sweep_due = idle ? 0 : now + SWEEP_TIME;
    }
}

apr_time_t sc_farm_step(sc_farm_t *f)
{
    apr_time_t now = sc_farm_now(f);
    int more;

    if (f->fetching != NULL && f->sweep_due == 0) {
        f->sweep_due = now + SWEEP_TIME;
    }
    more = sc_serve_step(f, now);
    more |= sc_fetch_step(f, now);
    more |= sc_watch_step(f, now);
    sc_command_step(f, now);
    look_after(f, now);
    measure(f, now);
    return more ? now : next_due(f, now);
}

/* ---- life ----------------------------------------------------------------------------------- */

static apr_status_t open_root(const sc_farm_t *f, const char *what, const char *path, int *fd)
{
    apr_status_t rv = APR_SUCCESS;

    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        rv = errno;
        sc_log(f->env.log, SC_LOG_ERROR, rv, "SC0918: %s %s cannot be opened; nothing is deployed",
               what, path);
    }
    return rv;
}

/** One life at a time in a tempDir: that of an engine that makes room ends in a moment. */
static apr_status_t lock(sc_farm_t *f)
{
    struct flock l;
    int fd = openat(f->temp_root, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    int tries;

    if (fd < 0) {
        return errno;
    }
    memset(&l, 0, sizeof(l));
    l.l_type = F_WRLCK;
    l.l_whence = SEEK_SET;
    for (tries = 0; fcntl(fd, F_SETLK, &l) != 0; tries++) {
        if ((errno != EAGAIN && errno != EACCES) || tries == 50) {
            apr_status_t rv = errno;

            close(fd);
            return rv;
        }
        apr_sleep(apr_time_from_msec(100));
    }
    f->lock_fd = fd;
    return APR_SUCCESS;
}

static apr_status_t load(sc_farm_t *f)
{
    apr_status_t rv = lock(f);

    if (rv != APR_SUCCESS) {
        sc_log(f->env.log, SC_LOG_ERROR, rv,
               "SC0919: tempDir %s is used by another server, or cannot be written to; nothing is "
               "deployed",
               f->env.config->temp_dir);
        return rv;
    }
    rv = sc_control_load(f->temp_root, &f->control, &f->cat);
    if (rv == APR_EINVAL) {
        sc_log(f->env.log, SC_LOG_ERROR, 0,
               "SC0920: the catalogue in tempDir %s is damaged; it was set aside as catalogue.bad, "
               "and files are compared anew",
               f->env.config->temp_dir);
    } else if (rv != APR_SUCCESS && rv != ENOENT) {
        sc_log(f->env.log, SC_LOG_ERROR, rv,
               "SC0921: the catalogue in tempDir %s cannot be read; nothing is deployed",
               f->env.config->temp_dir);
        return rv;
    }
    while (f->control.tag == 0) {
        rv = sc_random(&f->control.tag, sizeof(f->control.tag));
        if (rv != APR_SUCCESS) {
            return rv;
        }
        f->dirty = 1;
    }
    return APR_SUCCESS;
}

apr_status_t sc_farm_create(sc_farm_t **out, const sc_farm_env_t *env, apr_pool_t *pool)
{
    sc_farm_t *f = apr_pcalloc(pool, sizeof(*f));
    const sc_config_deployer_t *c = env->config;
    apr_time_t now = sc_mono(env->clock);
    apr_status_t rv;

    f->env = *env;
    f->pool = pool;
    f->watch_root = f->deploy_root = f->temp_root = f->lock_fd = -1;
    f->taking_fd = f->serve_fd = f->intake.fd = f->fetch.fd = -1;
    sc_catalogue_init(&f->cat, c->max_files);
    sc_buf_init(&f->out, SC_DEPLOY_PACKET_MAX);
    rv = open_root(f, "deployDir", c->deploy_dir, &f->deploy_root);
    if (rv == APR_SUCCESS) {
        rv = open_root(f, "tempDir", c->temp_dir, &f->temp_root);
    }
    if (rv == APR_SUCCESS) {
        rv = load(f);
    }
    if (rv == APR_SUCCESS && c->command[0]) {
        rv = sc_deploy_command(&f->command, c->command, pool);
    }
    if (rv != APR_SUCCESS) {
        sc_farm_close(f);
        return rv;
    }
    f->verify_due = f->scan_due = now;
    f->save_due = now;
    f->batch_due = now + BATCH_TIME; /* one that a former life could not end */
    f->repeat_due = now + SC_FARM_REPEAT;
    f->take_due = now + SETTLE_TIME;
    f->sweep_due = now + SWEEP_TIME;
    *out = f;
    return APR_SUCCESS;
}

void sc_farm_close(sc_farm_t *f)
{
    sc_watch_close(f);
    sc_fetch_close(f);
    if (f->dirty && f->temp_root >= 0) {
        (void)sc_control_save(f->temp_root, &f->control, &f->cat);
    }
    if (f->deploy_root >= 0) {
        close(f->deploy_root);
    }
    if (f->temp_root >= 0) {
        close(f->temp_root);
    }
    if (f->lock_fd >= 0) {
        close(f->lock_fd);
    }
    sc_catalogue_free(&f->cat);
    sc_buf_free(&f->out);
}
