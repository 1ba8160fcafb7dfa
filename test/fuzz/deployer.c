/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A farm with directories of its own, spoken to by three members: what they say of sums, names,
 * versions and blocks, damaged or not, while time passes and members come and go. Whatever they
 * say, a deployed file is what its version says, no more blocks are under way than may be, the
 * counts of the catalogue add up, and nothing appears beside the three directories.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "fuzz.h"
#include "../../src/deployer/internal.h"

#define PEERS 3
#define BLOCK 64
#define CONTENTS 4
#define CONTENT_MAX (3 * BLOCK)

static char root[64];
static apr_time_t now;
static unsigned int under_way[PEERS + 1];

static const struct {
    apr_size_t size;
} contents[CONTENTS] = {{0}, {BLOCK}, {BLOCK + 1}, {CONTENT_MAX}};

static void content(unsigned char *out, unsigned int which)
{
    memset(out, (int)('a' + which), CONTENT_MAX);
}

static apr_time_t clock_now(void *ctx)
{
    (void)ctx;
    return now;
}

static void farm_send(void *ctx, apr_uint32_t peer, int bulk, const void *bytes, apr_size_t len)
{
    unsigned int all = 0;

    (void)ctx;
    FUZZ_CHECK(peer >= 1 && peer <= PEERS && len <= SC_DEPLOY_PACKET_MAX && len > 0);
    free(fuzz_copy(bytes, len)); /* all of it can be read */
    under_way[peer] += bulk != 0;
    for (peer = 1; peer <= PEERS; peer++) {
        FUZZ_CHECK(under_way[peer] <= SC_FARM_SERVED_EACH);
        all += under_way[peer];
    }
    FUZZ_CHECK(all <= SC_FARM_SERVED_ALL);
}

static void farm_restart(void *ctx)
{
    (void)ctx;
}

/* ---- directories ---------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    return ftw->level < 2 ? 0 : remove(path);
}

static void make_folders(sc_config_deployer_t *c)
{
    if (root[0] == '\0') {
        strcpy(root, "/dev/shm/sc-fuzz-XXXXXX");
        if (mkdtemp(root) == NULL) {
            strcpy(root, "/tmp/sc-fuzz-XXXXXX");
            FUZZ_CHECK(mkdtemp(root) != NULL);
        }
    }
    apr_snprintf(c->watch_dir, sizeof(c->watch_dir), "%s/watch", root);
    apr_snprintf(c->deploy_dir, sizeof(c->deploy_dir), "%s/deploy", root);
    apr_snprintf(c->temp_dir, sizeof(c->temp_dir), "%s/temp", root);
    (void)mkdir(c->watch_dir, 0755);
    (void)mkdir(c->deploy_dir, 0755);
    (void)mkdir(c->temp_dir, 0755);
}

static void remove_folders(void)
{
    if (root[0] != '\0') {
        (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        (void)rmdir(apr_psprintf(fuzz_start(), "%s/watch", root));
        (void)rmdir(apr_psprintf(fuzz_start(), "%s/deploy", root));
        (void)rmdir(apr_psprintf(fuzz_start(), "%s/temp", root));
        (void)rmdir(root);
    }
}

static void check_beside(void)
{
    DIR *dir = opendir(root);
    unsigned int n = 0;

    FUZZ_CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    FUZZ_CHECK(n == 5);
}

/* ---- what members say ----------------------------------------------------------------------- */

static void say(sc_farm_t *f, apr_uint32_t peer, const sc_buf_t *b)
{
    unsigned char *copy = fuzz_copy(b->data, b->len);

    sc_farm_message(f, peer, copy, b->len);
    free(copy);
}

static void put_name(fuzz_in_t *in, sc_buf_t *b)
{
    static const char *const names[] = {"a", "b", "d/e", "d", "d/e/f", "x", "../x", ".y", "/etc/x"};
    size_t n;
    const unsigned char *p;

    if (fuzz_below(in, 4) == 0) {
        p = fuzz_text(in, 300, &n);
        sc_put_str(b, p, n);
    } else {
        const char *name = names[fuzz_below(in, 9)];

        sc_put_str(b, name, strlen(name));
    }
}

static void put_sha(fuzz_in_t *in, sc_buf_t *b, unsigned int which)
{
    unsigned char bytes[CONTENT_MAX], sha[SC_SHA_BYTES];

    content(bytes, which);
    FUZZ_CHECK(EVP_Digest(bytes, contents[which].size, sha, NULL, EVP_sha256(), NULL));
    sha[0] ^= fuzz_below(in, 16) == 0;
    sc_put(b, sha, sizeof(sha));
}

static void begin(sc_buf_t *b, unsigned int event)
{
    static const unsigned char head[] = {'S', 'C', 'D', '1', 1};

    sc_buf_clear(b);
    sc_put(b, head, sizeof(head));
    sc_put_u8(b, event);
}

static void put_list(fuzz_in_t *in, sc_buf_t *b, const char *after)
{
    unsigned int n = fuzz_below(in, 6);

    begin(b, SC_DEPLOY_LIST);
    sc_put_str(b, after, strlen(after));
    sc_put_u8(b, fuzz_below(in, 4) == 0);
    while (n-- > 0) {
        unsigned int which = fuzz_below(in, CONTENTS);

        put_name(in, b);
        if (fuzz_below(in, 4) == 0) {
            sc_put_u8(b, SC_DEPLOY_REMOVED);
        } else {
            sc_put_u8(b, SC_DEPLOY_FILE);
            sc_put_u8(b, fuzz_below(in, 2));
            sc_put_varint(b, fuzz_below(in, 16) == 0 ? fuzz_number(in) : contents[which].size);
            put_sha(in, b, which);
        }
        sc_put_u64(b, fuzz_below(in, 32) == 0 ? fuzz_u64(in) : 1 + fuzz_below(in, 8));
        sc_put_u32(b, fuzz_below(in, 3));
    }
}

static void put_block(fuzz_in_t *in, sc_buf_t *b, const sc_farm_t *f)
{
    unsigned char bytes[CONTENT_MAX];
    unsigned int which = fuzz_below(in, CONTENTS);
    apr_uint64_t at = f->fetching != NULL ? f->fetch.size : fuzz_number(in);
    apr_size_t left = at < contents[which].size ? contents[which].size - (apr_size_t)at : 0;

    content(bytes, which);
    begin(b, SC_DEPLOY_BLOCK);
    put_sha(in, b, which);
    sc_put_varint(b, fuzz_below(in, 8) == 0 ? fuzz_number(in) : at);
    sc_put_str(b, bytes,
               fuzz_below(in, 8) == 0 ? fuzz_below(in, CONTENT_MAX)
               : left < BLOCK         ? left
                                      : BLOCK);
}

static void message(fuzz_in_t *in, sc_farm_t *f, sc_buf_t *b, apr_uint32_t peer)
{
    const sc_farm_peer_t *p = sc_farm_peer(f, peer);
    size_t n;
    const unsigned char *bytes;

    switch (fuzz_below(in, 6)) {
    case 0:
        begin(b, fuzz_below(in, 9));
        bytes = fuzz_text(in, 512, &n);
        sc_put(b, bytes, n);
        break;
    case 1:
        begin(b, fuzz_below(in, 2) ? SC_DEPLOY_SUM : SC_DEPLOY_HELLO);
        put_sha(in, b, 0);
        break;
    case 2:
        put_list(in, b, p != NULL ? p->after : "");
        break;
    case 3:
        begin(b, SC_DEPLOY_ASK_BLOCK);
        put_name(in, b);
        put_sha(in, b, fuzz_below(in, CONTENTS));
        sc_put_varint(b, fuzz_number(in));
        sc_put_varint(b, 1 + fuzz_below(in, BLOCK));
        break;
    case 4:
        put_block(in, b, f);
        break;
    default:
        begin(b, fuzz_below(in, 2) ? SC_DEPLOY_ASK : SC_DEPLOY_NO_BLOCK);
        if (b->data[5] == SC_DEPLOY_ASK) {
            put_name(in, b);
        } else {
            put_sha(in, b, fuzz_below(in, CONTENTS));
        }
    }
    if (fuzz_below(in, 8) == 0) {
        fuzz_damage(in, b);
    }
    say(f, peer, b);
}

/* ---- what must hold ------------------------------------------------------------------------- */

static void check(const sc_farm_t *f)
{
    apr_size_t files = 0, removed = 0, wanted = 0, i;
    apr_uint64_t bytes = 0;

    for (i = 0; i < f->cat.n; i++) {
        const sc_deploy_entry_t *e = f->cat.at[i];
        sc_file_id_t id;

        FUZZ_CHECK(sc_deploy_name(e->name, strlen(e->name)));
        FUZZ_CHECK(i == 0 || strcmp(f->cat.at[i - 1]->name, e->name) < 0);
        files += e->have.kind == SC_DEPLOY_FILE;
        removed += e->have.kind == SC_DEPLOY_REMOVED;
        wanted += e->want.kind != SC_DEPLOY_NONE;
        bytes += e->want.kind == SC_DEPLOY_FILE   ? e->want.size
                 : e->have.kind == SC_DEPLOY_FILE ? e->have.size
                                                  : 0;
        if (e->have.kind == SC_DEPLOY_FILE) {
            FUZZ_CHECK(sc_landing_check(f->deploy_root, e->name, &e->have, &id) == APR_SUCCESS);
        }
    }
    FUZZ_CHECK(files == f->cat.files && removed == f->cat.removed && wanted == f->cat.wanted &&
               bytes == f->cat.bytes);
    FUZZ_CHECK(files <= f->env.config->max_files && bytes <= f->env.config->max_total);
    check_beside();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const sc_clock_t clock = {NULL, clock_now, clock_now};
    static int made;
    fuzz_in_t in = {data, size};
    apr_pool_t *pool = fuzz_start();
    sc_config_deployer_t *c = apr_pcalloc(pool, sizeof(*c));
    sc_farm_env_t env = {c, &clock, &fuzz_log, NULL, farm_send, farm_restart};
    sc_farm_t *f;
    sc_buf_t b;
    unsigned int i;

    make_folders(c);
    if (!made) {
        made = 1;
        (void)atexit(remove_folders);
    }
    (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    c->max_files = 4;
    c->max_file = 1000;
    c->max_total = 3 * CONTENT_MAX;
    c->block_bytes = BLOCK;
    c->scan_ms = 1000;
    now = apr_time_from_sec(100);
    memset(under_way, 0, sizeof(under_way));
    sc_buf_init(&b, SC_DEPLOY_PACKET_MAX);
    FUZZ_CHECK(sc_farm_create(&f, &env, pool) == APR_SUCCESS);
    for (i = 1; i <= PEERS; i++) {
        sc_farm_joined(f, i, "peer");
    }
    while (in.left > 0) {
        apr_uint32_t peer = 1 + fuzz_below(&in, PEERS);

        switch (fuzz_below(&in, 8)) {
        case 0:
            now += (apr_time_t)fuzz_u16(&in) * 1000;
            (void)sc_farm_step(f);
            break;
        case 1:
            if (under_way[peer] > 0) {
                under_way[peer]--;
                sc_farm_sent(f, peer);
            }
            break;
        case 2:
            under_way[peer] = 0;
            sc_farm_left(f, peer);
            sc_farm_joined(f, peer, "peer");
            break;
        default:
            message(&in, f, &b, peer);
        }
        for (i = 0; i < 3; i++) {
            (void)sc_farm_step(f);
        }
    }
    check(f);
    sc_farm_close(f);
    sc_buf_free(&b);
    return 0;
}
