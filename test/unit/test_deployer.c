/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The parts of the deployer: names and how they are resolved, catalogues, messages, the catalogue
 * on the disk, files on their way. What farms do with each other: deployer_farms.c,
 * deployer_abuse.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "deployer_rig.h"

void sc_suite_deployer(void);

/* ---- names ---------------------------------------------------------------------------------- */

static void test_names(void)
{
    static const char *const good[] = {
        "a",    "index.html", "app/lib/a.js", "a b",
        "a..b", "x/y.z/w-",   "\xc3\xa4",     "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q"};
    static const char *const bad[] = {
        "",     "/",    "/a",   "a/",     "a//b",  ".",
        "..",   "../a", "a/..", "a/../b", "a/./b", ".htaccess",
        "a/.b", "a\\b", "a\nb", "a\x7f",  "\x01",  "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r"};
    char longest[SC_DEPLOY_NAME_MAX + 2];
    size_t i;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CU_ASSERT(sc_deploy_name(good[i], strlen(good[i])));
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CU_ASSERT(!sc_deploy_name(bad[i], strlen(bad[i])));
    }
    CU_ASSERT(!sc_deploy_name("a\0b", 3));
    memset(longest, 'x', sizeof(longest));
    CU_ASSERT(sc_deploy_name(longest, SC_DEPLOY_NAME_MAX));
    CU_ASSERT(!sc_deploy_name(longest, SC_DEPLOY_NAME_MAX + 1));
}

static void test_no_link_is_followed(void)
{
    rig_t rig;
    const char *base;
    int root, fd;

    farms_begin(&rig, 0, 0);
    farms_write(&rig, 0, "outside", "secret", 3, 1);
    root = open(farms_path(&rig, 0, "deploy", ""), O_RDONLY | O_DIRECTORY);
    CU_ASSERT_FATAL(root >= 0);
    CU_ASSERT_EQUAL(symlink("../outside", farms_path(&rig, 0, "deploy", "d")), 0);
    CU_ASSERT_EQUAL(symlink("../outside/secret", farms_path(&rig, 0, "deploy", "f")), 0);
    CU_ASSERT_EQUAL(mkfifo(farms_path(&rig, 0, "deploy", "p"), 0644), 0);

    CU_ASSERT_NOT_EQUAL(sc_deploy_parent(root, "d/x", 1, &base, &fd), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(sc_deploy_open(root, "d/secret", &fd, NULL), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(sc_deploy_open(root, "f", &fd, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_deploy_open(root, "p", &fd, NULL), EINVAL); /* and does not wait for it */
    CU_ASSERT_EQUAL(sc_deploy_open(root, "../outside/secret", &fd, NULL), EINVAL);
    CU_ASSERT_NOT_EQUAL(sc_deploy_unlink(root, "d/secret"), EINVAL);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "outside", "secret"), 3);

    CU_ASSERT_EQUAL(sc_deploy_parent(root, "a/b/c", 1, &base, &fd), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(base, "c");
    close(fd);
    farms_write(&rig, 0, "deploy", "a/b/c", 1, 1);
    farms_write(&rig, 0, "deploy", "a/d", 1, 1);
    CU_ASSERT_EQUAL(sc_deploy_unlink(root, "a/b/c"), APR_SUCCESS);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "deploy", "a/b"), -1);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "deploy", "a/d"), 1);
    CU_ASSERT_EQUAL(sc_deploy_unlink(root, "a/b/c"), APR_SUCCESS);
    close(root);
    farms_end(&rig);
}

/* ---- catalogues ----------------------------------------------------------------------------- */

static sc_version_t version(unsigned int kind, apr_uint64_t hlc, apr_uint64_t size, int seed)
{
    sc_version_t v;

    memset(&v, 0, sizeof(v));
    v.kind = kind;
    v.stamp.hlc = hlc;
    v.stamp.node = 1;
    v.size = size;
    memset(v.sha, seed, kind == SC_DEPLOY_FILE ? sizeof(v.sha) : 0);
    return v;
}

static void have(sc_catalogue_t *c, const char *name, sc_version_t v)
{
    sc_catalogue_have(c, sc_catalogue_get(c, name), &v);
}

static void test_catalogue(void)
{
    sc_catalogue_t c, d;
    sc_deploy_entry_t *e;
    sc_version_t v = version(SC_DEPLOY_FILE, 9, 50, 2);
    char name[32];
    int i;

    sc_catalogue_init(&c, 10);
    sc_catalogue_init(&d, 10);
    for (i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "f%03d", (i * 77) % 200);
        have(&c, name, version(SC_DEPLOY_FILE, 5, 10, 1));
        snprintf(name, sizeof(name), "f%03d", (i * 13) % 200);
        have(&d, name, version(SC_DEPLOY_FILE, 5, 10, 1));
    }
    CU_ASSERT_EQUAL(c.n, 200);
    CU_ASSERT_EQUAL(c.files, 200);
    CU_ASSERT_EQUAL(c.bytes, 2000);
    CU_ASSERT(memcmp(sc_catalogue_sum(&c), sc_catalogue_sum(&d), SC_SHA_BYTES) == 0);
    CU_ASSERT_EQUAL(sc_catalogue_after(&c, ""), 0);
    CU_ASSERT_EQUAL(sc_catalogue_after(&c, "f099"), 100);
    CU_ASSERT_EQUAL(sc_catalogue_after(&c, "f0995"), 100);
    CU_ASSERT_EQUAL(sc_catalogue_after(&c, "z"), 200);

    e = sc_catalogue_find(&c, "f007");
    CU_ASSERT_PTR_NOT_NULL_FATAL(e);
    sc_catalogue_want(&c, e, &v, 3);
    CU_ASSERT_EQUAL(c.wanted, 1);
    CU_ASSERT_EQUAL(c.bytes, 2040);
    CU_ASSERT(memcmp(sc_catalogue_sum(&c), sc_catalogue_sum(&d), SC_SHA_BYTES) == 0);
    have(&c, "f007", version(SC_DEPLOY_FILE, 7, 20, 3)); /* older than what is wanted */
    CU_ASSERT_EQUAL(c.wanted, 1);
    have(&c, "f007", v);
    CU_ASSERT_EQUAL(c.wanted, 0);
    CU_ASSERT_EQUAL(e->source, 0);
    CU_ASSERT_EQUAL(c.bytes, 2040);
    CU_ASSERT(memcmp(sc_catalogue_sum(&c), sc_catalogue_sum(&d), SC_SHA_BYTES) != 0);

    for (i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "f%03d", i);
        have(&c, name, version(SC_DEPLOY_REMOVED, 100 + (apr_uint64_t)i, 0, 0));
    }
    CU_ASSERT_EQUAL(c.removed, 200);
    CU_ASSERT_EQUAL(c.bytes, 0);
    sc_catalogue_tidy(&c); /* the newest ones stay */
    CU_ASSERT_EQUAL(c.n, 10);
    CU_ASSERT_EQUAL(c.removed, 10);
    CU_ASSERT_PTR_NOT_NULL(sc_catalogue_find(&c, "f199"));
    CU_ASSERT_PTR_NULL(sc_catalogue_find(&c, "f189"));
    sc_catalogue_free(&c);
    sc_catalogue_free(&d);
}

/* ---- messages ------------------------------------------------------------------------------- */

static void test_messages(void)
{
    unsigned char sha[SC_SHA_BYTES];
    char name[SC_DEPLOY_NAME_MAX + 1];
    sc_catalogue_t c;
    sc_deploy_msg_t m;
    sc_version_t v;
    sc_buf_t b;

    memset(sha, 7, sizeof(sha));
    sc_buf_init(&b, SC_DEPLOY_PACKET_MAX);
    sc_deploy_put_sum(&b, sha, 0);
    CU_ASSERT(sc_deploy_is(b.data, b.len));
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_SUCCESS);
    CU_ASSERT(m.event == SC_DEPLOY_SUM && memcmp(m.sum, sha, sizeof(sha)) == 0);

    sc_deploy_put_ask(&b, "");
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_SUCCESS);
    CU_ASSERT(m.event == SC_DEPLOY_ASK && m.name[0] == '\0');

    sc_deploy_put_ask_block(&b, "a/b", sha, 4096, 100);
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_SUCCESS);
    CU_ASSERT(strcmp(m.name, "a/b") == 0 && m.offset == 4096 && m.len == 100);
    sc_deploy_put_ask_block(&b, "a/b", sha, 0, SC_DEPLOY_BLOCK_MAX + 1);
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_EINVAL);
    sc_deploy_put_ask_block(&b, "a/../b", sha, 0, 1);
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_EINVAL);

    sc_deploy_put_block(&b, sha, 5, "hello", 5);
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_SUCCESS);
    CU_ASSERT(m.offset == 5 && m.len == 5 && memcmp(m.bytes, "hello", 5) == 0);

    sc_catalogue_init(&c, 10);
    have(&c, "a", version(SC_DEPLOY_FILE, 5, 10, 1));
    have(&c, "b", version(SC_DEPLOY_REMOVED, 6, 0, 0));
    sc_catalogue_get(&c, "c"); /* of which nothing is told */
    sc_deploy_put_list(&b, &c, "", 32 * 1024);
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_SUCCESS);
    CU_ASSERT_EQUAL(m.more, 0);
    CU_ASSERT_EQUAL(sc_deploy_entry_get(&m.entries, name, &v), APR_SUCCESS);
    CU_ASSERT(strcmp(name, "a") == 0 && sc_version_same(&v, &c.at[0]->have));
    CU_ASSERT_EQUAL(sc_stamp_cmp(&v.stamp, &c.at[0]->have.stamp), 0);
    CU_ASSERT_EQUAL(sc_deploy_entry_get(&m.entries, name, &v), APR_SUCCESS);
    CU_ASSERT(strcmp(name, "b") == 0 && v.kind == SC_DEPLOY_REMOVED);
    CU_ASSERT_EQUAL(sc_deploy_entry_get(&m.entries, name, &v), APR_EOF);
    sc_deploy_put_list(&b, &c, "a", 1);
    CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_SUCCESS);
    CU_ASSERT(m.more == 1 && strcmp(m.name, "a") == 0);
    sc_catalogue_free(&c);
    sc_buf_free(&b);
}

/** Every message cut anywhere, and with other versions, is refused. */
static void test_cut_messages(void)
{
    unsigned char sha[SC_SHA_BYTES] = {1};
    sc_deploy_msg_t m;
    sc_buf_t b;
    apr_size_t i;
    int kind;

    sc_buf_init(&b, SC_DEPLOY_PACKET_MAX);
    for (kind = 0; kind < 5; kind++) {
        if (kind == 0) {
            sc_deploy_put_sum(&b, sha, 0);
        } else if (kind == 1) {
            sc_deploy_put_ask(&b, "name");
        } else if (kind == 2) {
            sc_deploy_put_ask_block(&b, "name", sha, 1000, 1000);
        } else if (kind == 3) {
            sc_deploy_put_block(&b, sha, 1000, "bytes", 5);
        } else {
            sc_deploy_put_no_block(&b, sha);
        }
        for (i = 0; i < b.len; i++) {
            unsigned char *copy = malloc(i + 1);

            memcpy(copy, b.data, i);
            CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, copy, i), APR_EINVAL);
            free(copy);
        }
        sc_put_u8(&b, 0); /* and something behind it */
        CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_EINVAL);
        b.data[4]++;
        CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_ENOTIMPL);
        b.data[4]--;
        b.data[5] = 200;
        CU_ASSERT_EQUAL(sc_deploy_msg_get(&m, b.data, b.len), APR_ENOTIMPL);
    }
    sc_buf_free(&b);
}

/* ---- on the disk ---------------------------------------------------------------------------- */

static void test_control(void)
{
    sc_control_t k = {77, 12345, 1}, read;
    sc_deploy_entry_t *e;
    sc_catalogue_t c, d;
    rig_t rig;
    long size;
    int root, at;

    farms_begin(&rig, 0, 0);
    root = open(farms_path(&rig, 0, "temp", ""), O_RDONLY | O_DIRECTORY);
    sc_catalogue_init(&c, 10);
    sc_catalogue_init(&d, 10);
    CU_ASSERT_EQUAL(sc_control_load(root, &read, &d), ENOENT);
    have(&c, "a/b", version(SC_DEPLOY_FILE, 5, 10, 1));
    have(&c, "gone", version(SC_DEPLOY_REMOVED, 6, 0, 0));
    e = sc_catalogue_find(&c, "a/b");
    e->watched = 1;
    e->seen.ino = 4711;
    e->placed.mtime_ns = -5;
    memset(e->seen_sha, 9, sizeof(e->seen_sha));
    CU_ASSERT_EQUAL(sc_control_save(root, &k, &c), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_control_load(root, &read, &d), APR_SUCCESS);
    CU_ASSERT(read.hlc == 77 && read.tag == 12345 && read.batch == 1);
    CU_ASSERT(memcmp(sc_catalogue_sum(&c), sc_catalogue_sum(&d), SC_SHA_BYTES) == 0);
    e = sc_catalogue_find(&d, "a/b");
    CU_ASSERT_PTR_NOT_NULL_FATAL(e);
    CU_ASSERT(e->watched && e->seen.ino == 4711 && e->placed.mtime_ns == -5 && e->seen_sha[3] == 9);

    size = farms_size(&rig, 0, "temp", "catalogue");
    for (at = 0; at < size; at += 3) {
        int fd;
        char byte;

        CU_ASSERT_EQUAL(sc_control_save(root, &k, &c), APR_SUCCESS);
        fd = openat(root, "catalogue", O_RDWR);
        CU_ASSERT_EQUAL(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        sc_catalogue_free(&d);
        CU_ASSERT_EQUAL(sc_control_load(root, &read, &d), APR_EINVAL);
        CU_ASSERT(d.n == 0 && read.tag == 0);
        CU_ASSERT_EQUAL(farms_size(&rig, 0, "temp", "catalogue"), -1);
        CU_ASSERT_EQUAL(farms_size(&rig, 0, "temp", "catalogue.bad"), size);
    }
    CU_ASSERT_EQUAL(sc_control_save(root, &k, &c), APR_SUCCESS);
    CU_ASSERT_EQUAL(truncate(farms_path(&rig, 0, "temp", "catalogue"), 3), 0);
    CU_ASSERT_EQUAL(sc_control_load(root, &read, &d), APR_EINVAL);
    close(root);
    sc_catalogue_free(&c);
    sc_catalogue_free(&d);
    farms_end(&rig);
}

static void test_landing(void)
{
    static const unsigned char abc[] = {0xba, 0x78, 0x16, 0xbf}; /* SHA-256 of "abc" begins so */
    unsigned char sha[SC_SHA_BYTES];
    sc_file_id_t id;
    sc_landing_t l;
    struct stat st;
    rig_t rig;
    int temp, deploy;

    farms_begin(&rig, 0, 0);
    temp = open(farms_path(&rig, 0, "temp", ""), O_RDONLY | O_DIRECTORY);
    deploy = open(farms_path(&rig, 0, "deploy", ""), O_RDONLY | O_DIRECTORY);
    CU_ASSERT_EQUAL(sc_landing_open(&l, temp, "x", 1, 100), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_landing_append(&l, "ab", 2), APR_SUCCESS);
    sc_landing_drop(&l, 1);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "temp", "x.part"), 2);
    CU_ASSERT_EQUAL(sc_landing_open(&l, temp, "x", 1, 100), APR_SUCCESS); /* goes on */
    CU_ASSERT_EQUAL(l.size, 2);
    CU_ASSERT_EQUAL(sc_landing_append(&l, "c", 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_landing_sum(&l, sha), APR_SUCCESS);
    CU_ASSERT(memcmp(sha, abc, sizeof(abc)) == 0);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "deploy", "d/x"), -1);
    CU_ASSERT_EQUAL(sc_landing_place(&l, deploy, "d/x", 1, &id), APR_SUCCESS);
    CU_ASSERT_EQUAL(stat(farms_path(&rig, 0, "deploy", "d/x"), &st), 0);
    CU_ASSERT(st.st_size == 3 && (st.st_mode & 07777) == 0755 && id.ino == st.st_ino);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "temp", "x.part"), -1);

    /* more than there may be: from the beginning */
    farms_write(&rig, 0, "temp", "y.part", 50, 1);
    CU_ASSERT_EQUAL(sc_landing_open(&l, temp, "y", 1, 10), APR_SUCCESS);
    CU_ASSERT_EQUAL(l.size, 0);
    sc_landing_drop(&l, 0);
    /* a directory is in the way: nothing is lost, nothing is left */
    CU_ASSERT_EQUAL(sc_landing_open(&l, temp, "z", 0, 10), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(sc_landing_place(&l, deploy, "d", 0, &id), APR_SUCCESS);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "deploy", "d/x"), 3);
    CU_ASSERT_EQUAL(farms_parts(&rig, 0), 0);
    /* a link in the place of a temporary file is not followed */
    CU_ASSERT_EQUAL(symlink("../deploy/d/x", farms_path(&rig, 0, "temp", "w.part")), 0);
    CU_ASSERT_NOT_EQUAL(sc_landing_open(&l, temp, "w", 0, 10), APR_SUCCESS);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "deploy", "d/x"), 3);
    farms_write(&rig, 0, "temp", "keep", 1, 1);
    sc_landing_sweep(temp);
    CU_ASSERT_EQUAL(farms_parts(&rig, 0), 0);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "temp", "keep"), 1);
    close(temp);
    close(deploy);
    farms_end(&rig);
}

static void test_command_text(void)
{
    apr_pool_t *p;
    char **argv;

    apr_pool_create(&p, NULL);
    CU_ASSERT_EQUAL(sc_deploy_command(&argv, "/bin/echo 'a b' c;d", p), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(argv[0], "/bin/echo");
    CU_ASSERT_STRING_EQUAL(argv[1], "a b");
    CU_ASSERT_STRING_EQUAL(argv[2], "c;d");
    CU_ASSERT_PTR_NULL(argv[3]);
    CU_ASSERT_EQUAL(sc_deploy_command(&argv, "echo x", p), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_deploy_command(&argv, "", p), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_deploy_command(&argv, "  ", p), APR_EINVAL);
    apr_pool_destroy(p);
}

void sc_suite_deployer(void)
{
    CU_pSuite s = CU_add_suite("deployer", NULL, NULL);

    CU_add_test(s, "names", test_names);
    CU_add_test(s, "no link is followed", test_no_link_is_followed);
    CU_add_test(s, "catalogue", test_catalogue);
    CU_add_test(s, "messages", test_messages);
    CU_add_test(s, "cut messages", test_cut_messages);
    CU_add_test(s, "the catalogue on the disk", test_control);
    CU_add_test(s, "a file on its way", test_landing);
    CU_add_test(s, "text of a command", test_command_text);
    deployer_add_farms();
    deployer_add_pace();
    deployer_add_abuse();
    deployer_add_pair();
}
