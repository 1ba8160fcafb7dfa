/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include <apr_strings.h>

#include "deployer_rig.h"

#define STEP apr_time_from_msec(50)

/* ---- clock, log, mail ----------------------------------------------------------------------- */

static apr_time_t clock_now(void *ctx)
{
    return ((rig_t *)ctx)->now;
}

static apr_time_t clock_wall(void *ctx)
{
    return ((rig_t *)ctx)->now + APR_INT64_C(1700000000) * APR_USEC_PER_SEC;
}

static void log_line(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    (void)ctx;
    if (getenv("SC_VERBOSE") != NULL) {
        fprintf(stderr, "    %d %s (%d)\n", (int)level, line, (int)rv);
    }
}

typedef struct sender_t {
    rig_t *rig;
    unsigned int i;
} sender_t;

static void post(rig_t *rig, unsigned int from, unsigned int to, int bulk, const void *bytes,
                 apr_size_t len)
{
    rig_letter_t *l = malloc(sizeof(*l) + len);

    l->next = NULL;
    l->from = from;
    l->to = to;
    l->bulk = bulk;
    l->len = len;
    memcpy(l->bytes, bytes, len);
    *rig->mail_tail = l;
    rig->mail_tail = &l->next;
}

static void farm_send(void *ctx, apr_uint32_t peer, int bulk, const void *bytes, apr_size_t len)
{
    sender_t *s = ctx;
    rig_farm_t *me = &s->rig->at[s->i];
    unsigned int to = peer - 1;

    CU_ASSERT_FATAL(to < RIG_FARMS);
    CU_ASSERT(len <= SC_DEPLOY_PACKET_MAX);
    if (bulk) {
        me->under_way[to]++;
        if (me->under_way[to] > s->rig->most) {
            s->rig->most = me->under_way[to];
        }
    }
    post(s->rig, s->i, to, bulk, bytes, len);
}

static void farm_restart(void *ctx)
{
    sender_t *s = ctx;

    s->rig->at[s->i].restarts++;
}

void farms_say(rig_t *rig, unsigned int from, unsigned int to, const sc_buf_t *b)
{
    CU_ASSERT_EQUAL(b->err, APR_SUCCESS);
    post(rig, from, to, 0, b->data, b->len);
}

static void deliver(rig_t *rig, rig_letter_t *l)
{
    rig_farm_t *from = &rig->at[l->from], *to = &rig->at[l->to];
    int lost = rig->cut[l->from][l->to] || to->farm == NULL;

    if (l->bulk && from->under_way[l->to] > 0) {
        from->under_way[l->to]--;
        if (from->farm != NULL) {
            sc_farm_sent(from->farm, l->to + 1);
        }
    }
    if (l->bulk && rig->lose_blocks > 0) {
        rig->lose_blocks--;
        lost = 1;
    }
    if (!lost) {
        rig->blocks += l->bulk != 0;
        /* of the exact size, so that reading behind its end is noticed */
        unsigned char *copy = malloc(l->len > 0 ? l->len : 1);

        memcpy(copy, l->bytes, l->len);
        sc_farm_message(to->farm, l->from + 1, copy, l->len);
        free(copy);
        if (l->bulk && rig->on_block != NULL) {
            rig->on_block(rig, l->from, l->to);
        }
    }
    free(l);
}

static int deliver_all(rig_t *rig)
{
    int any = 0;

    while (rig->mail != NULL) {
        rig_letter_t *l = rig->mail;

        rig->mail = l->next;
        if (rig->mail == NULL) {
            rig->mail_tail = &rig->mail;
        }
        deliver(rig, l);
        any = 1;
    }
    return any;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void make_folders(rig_farm_t *f)
{
    static const char *const names[] = {"", "/watch", "/deploy", "/temp"};
    char path[300];
    unsigned int i;

    for (i = 0; i < 4; i++) {
        apr_snprintf(path, sizeof(path), "%s%s", f->root, names[i]);
        CU_ASSERT_FATAL(mkdir(path, 0755) == 0 || errno == EEXIST);
    }
}

void farms_begin(rig_t *rig, unsigned int farms, unsigned int watchers)
{
    unsigned int i;

    memset(rig, 0, sizeof(*rig));
    apr_pool_create(&rig->pool, NULL);
    rig->now = apr_time_from_sec(1000);
    rig->clock.ctx = rig;
    rig->clock.mono = clock_now;
    rig->clock.wall = clock_wall;
    rig->log.level = SC_LOG_INFO;
    rig->log.write = log_line;
    rig->mail_tail = &rig->mail;
    apr_snprintf(rig->root, sizeof(rig->root), "%s/sc-unit-XXXXXX",
                 getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(rig->root));
    for (i = 0; i < RIG_FARMS; i++) {
        rig_farm_t *f = &rig->at[i];
        sc_config_deployer_t *c = &f->config;

        apr_snprintf(f->root, sizeof(f->root), "%s/%u", rig->root, i);
        make_folders(f);
        c->on = 1;
        c->watch = i < watchers;
        apr_snprintf(c->watch_dir, sizeof(c->watch_dir), "%s/watch", f->root);
        apr_snprintf(c->deploy_dir, sizeof(c->deploy_dir), "%s/deploy", f->root);
        apr_snprintf(c->temp_dir, sizeof(c->temp_dir), "%s/temp", f->root);
        c->scan_ms = 200;
        c->max_files = 100;
        c->max_file = 1024 * 1024;
        c->max_total = 4 * 1024 * 1024;
        c->block_bytes = RIG_BLOCK;
        c->command_ms = 5000;
    }
    for (i = 0; i < farms; i++) {
        farms_up(rig, i);
    }
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void farms_end(rig_t *rig)
{
    unsigned int i;

    for (i = 0; i < RIG_FARMS; i++) {
        if (rig->at[i].farm != NULL) {
            farms_down(rig, i);
        }
    }
    while (rig->mail != NULL) {
        rig_letter_t *l = rig->mail;

        rig->mail = l->next;
        free(l);
    }
    (void)nftw(rig->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    apr_pool_destroy(rig->pool);
}

void farms_up(rig_t *rig, unsigned int i)
{
    rig_farm_t *f = &rig->at[i];
    sc_farm_env_t env = {&f->config, &rig->clock, &rig->log, NULL, farm_send, farm_restart};
    char name[16];
    sender_t *s;
    unsigned int k;

    apr_pool_create(&f->pool, rig->pool);
    s = apr_palloc(f->pool, sizeof(*s));
    s->rig = rig;
    s->i = i;
    env.ctx = s;
    memset(f->under_way, 0, sizeof(f->under_way));
    CU_ASSERT_EQUAL_FATAL(sc_farm_create(&f->farm, &env, f->pool), APR_SUCCESS);
    for (k = 0; k < RIG_FARMS; k++) {
        if (k != i && rig->at[k].farm != NULL && !rig->cut[i][k]) {
            apr_snprintf(name, sizeof(name), "n%u", k);
            sc_farm_joined(f->farm, k + 1, name);
            apr_snprintf(name, sizeof(name), "n%u", i);
            sc_farm_joined(rig->at[k].farm, i + 1, name);
        }
    }
}

void farms_down(rig_t *rig, unsigned int i)
{
    rig_farm_t *f = &rig->at[i];
    unsigned int k;

    f->last = f->farm->count;
    f->farm->dirty = 0; /* a signal does not ask */
    sc_farm_close(f->farm);
    f->farm = NULL;
    apr_pool_destroy(f->pool);
    for (k = 0; k < RIG_FARMS; k++) {
        if (rig->at[k].farm != NULL) {
            rig->at[k].under_way[i] = 0;
            sc_farm_left(rig->at[k].farm, i + 1);
        }
    }
}

void farms_cut(rig_t *rig, unsigned int a, unsigned int b, int cut)
{
    char name[16];

    rig->cut[a][b] = rig->cut[b][a] = cut;
    if (cut) {
        sc_farm_left(rig->at[a].farm, b + 1);
        sc_farm_left(rig->at[b].farm, a + 1);
    } else {
        apr_snprintf(name, sizeof(name), "n%u", b);
        sc_farm_joined(rig->at[a].farm, b + 1, name);
        apr_snprintf(name, sizeof(name), "n%u", a);
        sc_farm_joined(rig->at[b].farm, a + 1, name);
    }
}

void farms_run(rig_t *rig, apr_interval_time_t time)
{
    apr_time_t until = rig->now + time;

    while (rig->now < until) {
        int busy = 0;
        unsigned int i;

        for (i = 0; i < RIG_FARMS; i++) {
            if (rig->at[i].farm != NULL) {
                busy |= sc_farm_step(rig->at[i].farm) <= rig->now;
            }
        }
        busy |= deliver_all(rig);
        rig->now += busy ? 1000 : STEP;
    }
}

static int is_idle(rig_t *rig)
{
    unsigned int i;

    for (i = 0; i < RIG_FARMS; i++) {
        const sc_farm_t *f = rig->at[i].farm;

        if (f != NULL && (f->cat.wanted > 0 || f->to_take > 0 || f->announce || f->control.batch ||
                          f->command_pid != 0 || sc_farm_listening(f))) {
            return 0;
        }
    }
    return rig->mail == NULL;
}

void farms_settle(rig_t *rig)
{
    int tries;

    farms_run(rig, apr_time_from_sec(3));
    for (tries = 0; tries < 300 && !is_idle(rig); tries++) {
        farms_run(rig, apr_time_from_msec(500));
    }
    CU_ASSERT(is_idle(rig));
}

/* ---- files ---------------------------------------------------------------------------------- */

const char *farms_path(rig_t *rig, unsigned int i, const char *dir, const char *name)
{
    return apr_psprintf(rig->pool, "%s/%s/%s", rig->at[i].root, dir, name);
}

static unsigned char byte_of(apr_size_t at, unsigned int seed)
{
    return (unsigned char)((at * 2654435761u) >> 13 ^ seed * 31 ^ at);
}

static void make_parents(char *path)
{
    char *slash;

    for (slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
}

void farms_write(rig_t *rig, unsigned int i, const char *dir, const char *name, apr_size_t size,
                 unsigned int seed)
{
    char *path = apr_pstrdup(rig->pool, farms_path(rig, i, dir, name));
    FILE *file;
    apr_size_t at;

    make_parents(path);
    (void)unlink(path);
    file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    for (at = 0; at < size; at++) {
        fputc(byte_of(at, seed), file);
    }
    fclose(file);
}

void farms_put(rig_t *rig, unsigned int i, const char *name, apr_size_t size, unsigned int seed)
{
    farms_write(rig, i, "watch", name, size, seed);
}

void farms_remove(rig_t *rig, unsigned int i, const char *name)
{
    CU_ASSERT_EQUAL(unlink(farms_path(rig, i, "watch", name)), 0);
}

int farms_has(rig_t *rig, unsigned int i, const char *name, apr_size_t size, unsigned int seed)
{
    FILE *file = fopen(farms_path(rig, i, "deploy", name), "rb");
    apr_size_t at = 0;
    int c;

    if (file == NULL) {
        return 0;
    }
    while ((c = fgetc(file)) != EOF && at < size && c == byte_of(at, seed)) {
        at++;
    }
    fclose(file);
    return c == EOF && at == size;
}

long farms_size(rig_t *rig, unsigned int i, const char *dir, const char *name)
{
    struct stat st;

    return lstat(farms_path(rig, i, dir, name), &st) == 0 ? (long)st.st_size : -1;
}

unsigned int farms_parts(rig_t *rig, unsigned int i)
{
    DIR *dir = opendir(farms_path(rig, i, "temp", ""));
    const struct dirent *d;
    unsigned int n = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while ((d = readdir(dir)) != NULL) {
        n += strstr(d->d_name, ".part") != NULL;
    }
    closedir(dir);
    return n;
}
