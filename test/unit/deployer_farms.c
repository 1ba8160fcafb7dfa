/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Farms with each other: what one watches is on all of them, whole or not at all, whoever dies
 * when.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include <apr_strings.h>

#include "deployer_rig.h"

static void test_sizes(void)
{
    static const apr_size_t sizes[] = {
        0,     1,    RIG_BLOCK - 1, RIG_BLOCK, RIG_BLOCK + 1, 2 * RIG_BLOCK, 2 * RIG_BLOCK + 1,
        10240, 40960};
    char name[16];
    rig_t rig;
    size_t i;

    farms_begin(&rig, 2, 1);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        apr_snprintf(name, sizeof(name), "s%d", (int)i);
        farms_put(&rig, 0, name, sizes[i], (unsigned int)i);
    }
    farms_settle(&rig);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        apr_snprintf(name, sizeof(name), "s%d", (int)i);
        CU_ASSERT(farms_has(&rig, 0, name, sizes[i], (unsigned int)i));
        CU_ASSERT(farms_has(&rig, 1, name, sizes[i], (unsigned int)i));
    }
    CU_ASSERT_EQUAL(rig.at[1].farm->count.placed, sizeof(sizes) / sizeof(sizes[0]));
    CU_ASSERT_EQUAL(farms_parts(&rig, 0) + farms_parts(&rig, 1), 0);
    farms_end(&rig);
}

static void test_add_change_remove(void)
{
    rig_t rig;
    unsigned int i;

    farms_begin(&rig, 3, 1);
    farms_put(&rig, 0, "a", 5000, 1);
    farms_put(&rig, 0, "d/e/f", 300, 2);
    farms_put(&rig, 0, "d/g", 0, 3);
    farms_settle(&rig);
    for (i = 0; i < 3; i++) {
        CU_ASSERT(farms_has(&rig, i, "a", 5000, 1) && farms_has(&rig, i, "d/e/f", 300, 2) &&
                  farms_has(&rig, i, "d/g", 0, 3));
        CU_ASSERT_EQUAL(rig.at[i].farm->count.batches, 1);
    }
    farms_put(&rig, 0, "a", 6000, 4);
    farms_remove(&rig, 0, "d/e/f");
    farms_settle(&rig);
    for (i = 0; i < 3; i++) {
        CU_ASSERT(farms_has(&rig, i, "a", 6000, 4));
        CU_ASSERT_EQUAL(farms_size(&rig, i, "deploy", "d/e"), -1);
        CU_ASSERT(farms_has(&rig, i, "d/g", 0, 3));
        CU_ASSERT_EQUAL(rig.at[i].farm->count.batches, 2);
        CU_ASSERT_EQUAL(rig.at[i].farm->count.failed, 0);
        CU_ASSERT_EQUAL(rig.at[i].farm->count.refused, 0);
    }
    /* only the mode, and only the time */
    CU_ASSERT_EQUAL(chmod(farms_path(&rig, 0, "watch", "a"), 0700), 0);
    farms_settle(&rig);
    for (i = 0; i < 3; i++) {
        struct stat st;

        CU_ASSERT_EQUAL(stat(farms_path(&rig, i, "deploy", "a"), &st), 0);
        CU_ASSERT_EQUAL(st.st_mode & 07777, 0755);
    }
    CU_ASSERT_EQUAL(rename(farms_path(&rig, 0, "watch", "a"), farms_path(&rig, 0, "watch", "b")),
                    0);
    CU_ASSERT_EQUAL(rename(farms_path(&rig, 0, "watch", "b"), farms_path(&rig, 0, "watch", "a")),
                    0);
    farms_settle(&rig);
    CU_ASSERT_EQUAL(rig.at[1].farm->count.batches, 3);
    farms_end(&rig);
}

/** A file where a directory was, and the other way round. */
static void test_file_and_directory(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "x/y", 100, 1);
    farms_put(&rig, 0, "z", 100, 2);
    farms_settle(&rig);
    farms_remove(&rig, 0, "x/y");
    CU_ASSERT_EQUAL(rmdir(farms_path(&rig, 0, "watch", "x")), 0);
    farms_put(&rig, 0, "x", 200, 3);
    farms_remove(&rig, 0, "z");
    farms_put(&rig, 0, "z/z", 200, 4);
    farms_settle(&rig);
    farms_run(&rig, apr_time_from_sec(60)); /* the watcher itself may need a second try */
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "x", 200, 3) && farms_has(&rig, 0, "z/z", 200, 4));
    CU_ASSERT(farms_has(&rig, 1, "x", 200, 3) && farms_has(&rig, 1, "z/z", 200, 4));
    farms_end(&rig);
}

static void test_late_joiner_without_the_watcher(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "a", 50000, 1);
    farms_put(&rig, 0, "gone", 10, 1);
    farms_settle(&rig);
    farms_remove(&rig, 0, "gone");
    farms_settle(&rig);
    farms_down(&rig, 0);
    farms_up(&rig, 2);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 2, "a", 50000, 1));
    CU_ASSERT_EQUAL(farms_size(&rig, 2, "deploy", "gone"), -1);
    CU_ASSERT_EQUAL(rig.at[2].farm->count.removed, 0);
    farms_end(&rig);
}

/** Members do not meet at the same moment: what is said to one who does not listen yet is lost, and
 *  still it does not take until the next repetition. */
static void test_meeting(void)
{
    rig_t rig;

    farms_begin(&rig, 1, 1);
    farms_put(&rig, 0, "a", 100, 1);
    farms_settle(&rig);
    farms_up(&rig, 1);
    sc_farm_left(rig.at[1].farm, 1); /* it has not heard of 0 yet */
    farms_run(&rig, apr_time_from_msec(200));
    CU_ASSERT_EQUAL(farms_size(&rig, 1, "deploy", "a"), -1);
    sc_farm_joined(rig.at[1].farm, 1, "n0");
    farms_run(&rig, apr_time_from_sec(1));
    CU_ASSERT(farms_has(&rig, 1, "a", 100, 1));
    farms_end(&rig);
}

/** Who was away learns what was removed and changed meanwhile, and brings nothing back. */
static void test_away(void)
{
    rig_t rig;

    farms_begin(&rig, 3, 1);
    farms_put(&rig, 0, "a", 100, 1);
    farms_put(&rig, 0, "b", 100, 2);
    farms_settle(&rig);
    farms_down(&rig, 2);
    farms_cut(&rig, 0, 1, 1);
    farms_remove(&rig, 0, "a");
    farms_put(&rig, 0, "b", 200, 3);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 1, "a", 100, 1));
    farms_up(&rig, 2);
    farms_cut(&rig, 0, 1, 0);
    farms_settle(&rig);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "deploy", "a"), -1);
    CU_ASSERT_EQUAL(farms_size(&rig, 1, "deploy", "a"), -1);
    CU_ASSERT_EQUAL(farms_size(&rig, 2, "deploy", "a"), -1);
    CU_ASSERT(farms_has(&rig, 1, "b", 200, 3) && farms_has(&rig, 2, "b", 200, 3));
    farms_end(&rig);
}

/* ---- deaths --------------------------------------------------------------------------------- */

static unsigned int blocks_left;
static int seen_half;

/** Old or new or nothing. */
static void watch_for_halves(rig_t *rig, unsigned int from, unsigned int to)
{
    long size = farms_size(rig, to, "deploy", "big");

    (void)from;
    seen_half |= size != -1 && size != 300 && size != 500000;
    if (blocks_left > 0) {
        blocks_left--;
    }
}

static void until_blocks(rig_t *rig, unsigned int n)
{
    int tries;

    blocks_left = n;
    rig->on_block = watch_for_halves;
    for (tries = 0; tries < 20000 && blocks_left > 0; tries++) {
        farms_run(rig, 1000);
    }
    CU_ASSERT_EQUAL(blocks_left, 0);
}

static void test_receiver_dies(void)
{
    rig_t rig;

    seen_half = 0;
    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "big", 300, 1);
    farms_settle(&rig);
    farms_put(&rig, 0, "big", 500000, 2);
    until_blocks(&rig, 60);
    CU_ASSERT_EQUAL(farms_parts(&rig, 1), 1);
    farms_down(&rig, 1);
    CU_ASSERT(farms_has(&rig, 1, "big", 300, 1));
    farms_up(&rig, 1);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 1, "big", 500000, 2));
    CU_ASSERT(!seen_half);
    /* it has gone on where it was */
    CU_ASSERT(rig.at[1].farm->count.bytes_in < 500000 - 40 * RIG_BLOCK);
    CU_ASSERT(rig.at[1].farm->count.bytes_in > 0);
    CU_ASSERT_EQUAL(farms_parts(&rig, 1), 0);
    CU_ASSERT(rig.most <= SC_FARM_WINDOW);
    farms_end(&rig);
}

/** What a former life left is worth its checksum, and goes when nobody wants it. */
static void test_bad_rest(void)
{
    rig_t rig;
    char name[80] = "";
    unsigned int i;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "big", 500000, 2);
    until_blocks(&rig, 10);
    for (i = 0; i < SC_SHA_BYTES; i++) {
        snprintf(name + 2 * i, 3, "%02x", rig.at[1].farm->fetch_version.sha[i]);
    }
    strcat(name, ".part");
    farms_down(&rig, 1);
    farms_write(&rig, 1, "temp", name, 20000, 77);
    farms_write(&rig, 1, "temp", "0000.part", 20000, 77);
    farms_up(&rig, 1);
    farms_settle(&rig);
    farms_run(&rig, apr_time_from_sec(30)); /* the first try ends with a wrong checksum */
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 1, "big", 500000, 2));
    CU_ASSERT_EQUAL(rig.at[1].farm->count.failed, 1);
    farms_run(&rig, apr_time_from_sec(300));
    CU_ASSERT_EQUAL(farms_parts(&rig, 1), 0);
    farms_end(&rig);
}

static void test_sender_dies(void)
{
    rig_t rig;

    seen_half = 0;
    farms_begin(&rig, 3, 1);
    farms_cut(&rig, 0, 2, 1); /* so that 2 gets it later than 1, and from 1 */
    farms_put(&rig, 0, "big", 500000, 2);
    until_blocks(&rig, 60);
    farms_down(&rig, 0);
    farms_run(&rig, apr_time_from_sec(30));
    CU_ASSERT_EQUAL(farms_size(&rig, 1, "deploy", "big"), -1);
    farms_cut(&rig, 1, 2, 1);
    rig.cut[0][2] = rig.cut[2][0] = 0;
    farms_up(&rig, 0);
    until_blocks(&rig, 20);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "big", 500000, 2));
    CU_ASSERT(farms_has(&rig, 1, "big", 500000, 2));
    CU_ASSERT(farms_has(&rig, 2, "big", 500000, 2));
    CU_ASSERT(!seen_half);
    farms_end(&rig);
}

/** Its source leaves in the middle: another one that has it goes on. */
static void test_other_source(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "big", 500000, 2);
    farms_settle(&rig);
    farms_up(&rig, 2);
    until_blocks(&rig, 30);
    farms_down(&rig, rig.at[2].farm->fetch_from - 1);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 2, "big", 500000, 2));
    CU_ASSERT(rig.at[2].farm->count.bytes_in < 500000 + 4 * RIG_BLOCK);
    farms_end(&rig);
}

static void test_lost_blocks(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "big", 500000, 2);
    until_blocks(&rig, 20);
    rig.lose_blocks = 3;
    farms_run(&rig, apr_time_from_sec(60));
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 1, "big", 500000, 2));
    CU_ASSERT(rig.at[1].farm->count.failed >= 1);
    farms_end(&rig);
}

/** What a member gives is not what it says it is. */
static void test_wrong_content(void)
{
    rig_t rig;

    farms_begin(&rig, 1, 1);
    farms_put(&rig, 0, "a", 10000, 1);
    farms_settle(&rig);
    farms_write(&rig, 0, "deploy", "a", 10000, 9); /* same size */
    farms_up(&rig, 1);
    farms_run(&rig, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(farms_size(&rig, 1, "deploy", "a"), -1);
    CU_ASSERT_EQUAL(rig.at[1].farm->count.failed, 1);
    /* and the one who gave it looks after its files */
    farms_run(&rig, apr_time_from_sec(90));
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", 10000, 1));
    CU_ASSERT(farms_has(&rig, 1, "a", 10000, 1));
    farms_end(&rig);
}

static void test_lost_catalogue(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "a", 50000, 1);
    farms_settle(&rig);
    farms_down(&rig, 1);
    CU_ASSERT_EQUAL(truncate(farms_path(&rig, 1, "temp", "catalogue"), 10), 0);
    CU_ASSERT_EQUAL(unlink(farms_path(&rig, 0, "deploy", "a")), 0); /* the watcher's is gone */
    farms_up(&rig, 1);
    farms_run(&rig, apr_time_from_sec(90));
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", 50000, 1));
    CU_ASSERT(farms_has(&rig, 1, "a", 50000, 1));
    CU_ASSERT_EQUAL(rig.at[1].farm->count.bytes_in, 0); /* it was there */
    farms_end(&rig);
}

/* ---- two watchers --------------------------------------------------------------------------- */

static void test_two_watchers(void)
{
    rig_t rig;
    unsigned int i;

    farms_begin(&rig, 3, 2);
    farms_put(&rig, 0, "a", 100, 1);
    farms_put(&rig, 0, "only", 100, 5);
    farms_settle(&rig);
    farms_put(&rig, 1, "a", 200, 2);
    farms_settle(&rig);
    for (i = 0; i < 3; i++) {
        CU_ASSERT(farms_has(&rig, i, "a", 200, 2));
        CU_ASSERT(farms_has(&rig, i, "only", 100, 5)); /* that 1 has not got is not removed by it */
    }
    CU_ASSERT_EQUAL(rig.at[0].farm->count.conflicts, 1);
    CU_ASSERT_EQUAL(rig.at[1].farm->count.conflicts, 0);
    /* nothing goes back and forth, not after a restart and not when a time changes, either */
    farms_down(&rig, 0);
    farms_up(&rig, 0);
    CU_ASSERT_EQUAL(chmod(farms_path(&rig, 0, "watch", "a"), 0640), 0);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", 200, 2) && farms_has(&rig, 2, "a", 200, 2));
    /* what was overruled may be removed without harm */
    farms_remove(&rig, 0, "a");
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", 200, 2) && farms_has(&rig, 2, "a", 200, 2));
    /* and the last change counts again */
    farms_put(&rig, 0, "a", 300, 3);
    farms_settle(&rig);
    for (i = 0; i < 3; i++) {
        CU_ASSERT(farms_has(&rig, i, "a", 300, 3));
    }
    CU_ASSERT_EQUAL(rig.at[1].farm->count.conflicts, 1);
    farms_remove(&rig, 0, "a");
    farms_settle(&rig);
    CU_ASSERT_EQUAL(farms_size(&rig, 1, "deploy", "a"), -1);
    farms_end(&rig);
}

/** A watcher that dies as soon as others have its file does not come back with it as a new one. */
static void test_watcher_forgets_nothing(void)
{
    rig_t rig;
    int tries;

    farms_begin(&rig, 3, 2);
    farms_put(&rig, 0, "a", 100, 1);
    for (tries = 0; tries < 10000 && farms_size(&rig, 2, "deploy", "a") < 0; tries++) {
        farms_run(&rig, 1000);
    }
    farms_down(&rig, 0);
    farms_put(&rig, 1, "a", 200, 2);
    farms_settle(&rig);
    farms_up(&rig, 0);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", 200, 2) && farms_has(&rig, 2, "a", 200, 2));
    farms_end(&rig);
}

static void test_same_on_both(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 2);
    farms_put(&rig, 0, "a", 10000, 1);
    farms_put(&rig, 1, "a", 10000, 1);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", 10000, 1) && farms_has(&rig, 1, "a", 10000, 1));
    CU_ASSERT_EQUAL(rig.at[0].farm->count.conflicts + rig.at[1].farm->count.conflicts, 0);
    farms_end(&rig);
}

/** Both change it while they do not hear each other. */
static void test_apart(void)
{
    rig_t rig;
    int first;

    farms_begin(&rig, 3, 2);
    farms_cut(&rig, 0, 1, 1);
    farms_cut(&rig, 1, 2, 1);
    farms_put(&rig, 0, "a", 100, 1);
    farms_put(&rig, 1, "a", 200, 2);
    farms_settle(&rig);
    farms_cut(&rig, 0, 1, 0);
    farms_cut(&rig, 1, 2, 0);
    farms_settle(&rig);
    first = farms_has(&rig, 0, "a", 100, 1);
    CU_ASSERT(first ? farms_has(&rig, 1, "a", 100, 1) : farms_has(&rig, 1, "a", 200, 2));
    CU_ASSERT(first ? farms_has(&rig, 2, "a", 100, 1) : farms_has(&rig, 2, "a", 200, 2));
    CU_ASSERT_EQUAL(rig.at[0].farm->count.conflicts + rig.at[1].farm->count.conflicts, 1);
    farms_end(&rig);
}

/* ---- watching ------------------------------------------------------------------------------- */

static void test_slow_copy(void)
{
    rig_t rig;
    int i;

    farms_begin(&rig, 1, 1);
    farms_settle(&rig);
    for (i = 1; i <= 10; i++) {
        FILE *file = fopen(farms_path(&rig, 0, "watch", "slow"), "ab");

        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        fputs("some more of it\n", file);
        fclose(file);
        farms_run(&rig, apr_time_from_msec(150));
        CU_ASSERT_EQUAL(farms_size(&rig, 0, "deploy", "slow"), -1);
    }
    farms_settle(&rig);
    CU_ASSERT_EQUAL(farms_size(&rig, 0, "deploy", "slow"), 160);
    farms_end(&rig);
}

static void test_skipped(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_write(&rig, 0, "outside", "secret", 3, 1);
    farms_put(&rig, 0, "good", 10, 1);
    farms_put(&rig, 0, ".hidden", 10, 1);
    farms_put(&rig, 0, ".git/config", 10, 1);
    farms_put(&rig, 0, "back\\slash", 10, 1);
    CU_ASSERT_EQUAL(symlink("../outside/secret", farms_path(&rig, 0, "watch", "link")), 0);
    CU_ASSERT_EQUAL(symlink("../outside", farms_path(&rig, 0, "watch", "dir")), 0);
    CU_ASSERT_EQUAL(mkfifo(farms_path(&rig, 0, "watch", "pipe"), 0644), 0);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 1, "good", 10, 1));
    CU_ASSERT_EQUAL(rig.at[1].farm->count.files, 1);
    CU_ASSERT_EQUAL(rig.at[0].farm->count.refused, 6);
    farms_run(&rig, apr_time_from_sec(30));
    CU_ASSERT_EQUAL(rig.at[0].farm->count.refused, 6); /* each of them once */
    /* a deployed file that becomes a link stays as it was */
    farms_remove(&rig, 0, "good");
    CU_ASSERT_EQUAL(symlink("../outside/secret", farms_path(&rig, 0, "watch", "good")), 0);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 1, "good", 10, 1));
    farms_end(&rig);
}

static void test_watch_dir_goes(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "a", 10, 1);
    farms_settle(&rig);
    CU_ASSERT_EQUAL(rename(farms_path(&rig, 0, "watch", ""), farms_path(&rig, 0, "elsewhere", "")),
                    0);
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", 10, 1) && farms_has(&rig, 1, "a", 10, 1));
    CU_ASSERT_EQUAL(rename(farms_path(&rig, 0, "elsewhere", ""), farms_path(&rig, 0, "watch", "")),
                    0);
    farms_remove(&rig, 0, "a");
    farms_settle(&rig);
    CU_ASSERT_EQUAL(farms_size(&rig, 1, "deploy", "a"), -1);
    farms_end(&rig);
}

/** Removed while its watcher was down. */
static void test_removed_meanwhile(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "a", 10, 1);
    farms_put(&rig, 0, "b", 10, 2);
    farms_settle(&rig);
    farms_run(&rig, apr_time_from_sec(2));
    farms_down(&rig, 0);
    farms_remove(&rig, 0, "a");
    farms_up(&rig, 0);
    farms_settle(&rig);
    CU_ASSERT_EQUAL(farms_size(&rig, 1, "deploy", "a"), -1);
    CU_ASSERT(farms_has(&rig, 1, "b", 10, 2));
    farms_end(&rig);
}

/** Somebody changes deployDir of a node. */
static void test_changed_in_place(void)
{
    rig_t rig;

    farms_begin(&rig, 2, 1);
    farms_put(&rig, 0, "a", 100, 1);
    farms_settle(&rig);
    farms_write(&rig, 1, "deploy", "a", 100, 7);
    farms_write(&rig, 1, "deploy", "own", 100, 7);
    CU_ASSERT_EQUAL(unlink(farms_path(&rig, 0, "deploy", "a")), 0);
    farms_run(&rig, apr_time_from_sec(120));
    farms_settle(&rig);
    CU_ASSERT(farms_has(&rig, 0, "a", 100, 1));
    CU_ASSERT(farms_has(&rig, 1, "a", 100, 1));
    CU_ASSERT(farms_has(&rig, 1, "own", 100, 7)); /* of which the deployer knows nothing */
    farms_end(&rig);
}

/* ---- after a batch -------------------------------------------------------------------------- */

static void test_command(void)
{
    char name[16];
    rig_t rig;
    int i;

    farms_begin(&rig, 1, 1);
    apr_snprintf(rig.at[1].config.command, sizeof(rig.at[1].config.command),
                 "/bin/sh -c \"echo ran >> %s/out\"", rig.at[1].root);
    rig.at[1].config.after = SC_DEPLOY_GRACEFUL;
    farms_up(&rig, 1);
    farms_settle(&rig);
    CU_ASSERT_EQUAL(rig.at[1].farm->count.commands, 0);
    for (i = 0; i < 20; i++) {
        apr_snprintf(name, sizeof(name), "d/f%d", i);
        farms_put(&rig, 0, name, 5000, (unsigned int)i);
    }
    for (i = 0; i < 200 && farms_size(&rig, 1, ".", "out") != 4; i++) {
        farms_run(&rig, apr_time_from_msec(200));
        usleep(10000); /* it is a real process */
    }
    CU_ASSERT_EQUAL(farms_size(&rig, 1, ".", "out"), 4);
    CU_ASSERT_EQUAL(rig.at[1].farm->count.commands, 1);
    CU_ASSERT_EQUAL(rig.at[1].restarts, 1);
    CU_ASSERT_EQUAL(rig.at[0].restarts, 0);
    for (i = 0; i < 500 && rig.at[1].farm->command_pid != 0; i++) {
        usleep(10000);
        (void)sc_farm_step(rig.at[1].farm);
    }
    CU_ASSERT_EQUAL(rig.at[1].farm->count.commands_failed, 0);
    farms_end(&rig);
}

/** Ended before the batch had: the next life ends it. */
static void test_batch_of_a_former_life(void)
{
    rig_t rig;
    int tries;

    farms_begin(&rig, 2, 1);
    rig.at[1].config.after = SC_DEPLOY_GRACEFUL;
    farms_put(&rig, 0, "a", 100, 1);
    for (tries = 0; tries < 10000 && farms_size(&rig, 1, "deploy", "a") < 0; tries++) {
        farms_run(&rig, 1000);
    }
    farms_run(&rig, apr_time_from_msec(500));
    CU_ASSERT_EQUAL(rig.at[1].restarts, 0);
    farms_down(&rig, 1);
    farms_up(&rig, 1);
    farms_settle(&rig);
    CU_ASSERT_EQUAL(rig.at[1].restarts, 1);
    farms_down(&rig, 1);
    farms_up(&rig, 1);
    farms_settle(&rig);
    CU_ASSERT_EQUAL(rig.at[1].restarts, 1);
    farms_end(&rig);
}

static void test_bad_commands(void)
{
    static const char *const commands[] = {"/bin/false", "/nonexistent/program", "/bin/sleep 100"};
    rig_t rig;
    size_t i;

    farms_begin(&rig, 0, 1);
    for (i = 0; i < 3; i++) {
        int tries;

        apr_cpystrn(rig.at[0].config.command, commands[i], sizeof(rig.at[0].config.command));
        rig.at[0].config.command_ms = 1000;
        farms_up(&rig, 0);
        farms_put(&rig, 0, "a", 10 + i, 1);
        farms_run(&rig, apr_time_from_sec(8));
        for (tries = 0; tries < 1000 && rig.at[0].farm->command_pid != 0; tries++) {
            usleep(5000);
            farms_run(&rig, 1000);
        }
        CU_ASSERT_EQUAL(rig.at[0].farm->command_pid, 0);
        CU_ASSERT_EQUAL(rig.at[0].farm->count.commands, 1);
        CU_ASSERT_EQUAL(rig.at[0].farm->count.commands_failed, 1);
        farms_down(&rig, 0);
    }
    farms_end(&rig);
}

static void test_rate(void)
{
    rig_t rig;
    apr_time_t begin;
    int tries;

    farms_begin(&rig, 1, 1);
    rig.at[1].config.max_rate = 20 * RIG_BLOCK; /* a second */
    farms_put(&rig, 0, "a", 200 * RIG_BLOCK, 1);
    farms_settle(&rig);
    farms_up(&rig, 1);
    begin = rig.now;
    for (tries = 0; tries < 1000 && farms_size(&rig, 1, "deploy", "a") < 0; tries++) {
        farms_run(&rig, apr_time_from_msec(100));
    }
    CU_ASSERT(farms_has(&rig, 1, "a", 200 * RIG_BLOCK, 1));
    CU_ASSERT(rig.now - begin > apr_time_from_sec(9));
    CU_ASSERT(rig.now - begin < apr_time_from_sec(20));
    farms_end(&rig);
}

/** What the status page tells of it. */
static void test_what_is_told(void)
{
    const sc_farm_counts_t *giver, *taker;
    rig_t rig;
    int tries;

    farms_begin(&rig, 2, 1);
    rig.at[1].config.max_rate = 20 * RIG_BLOCK; /* a second */
    farms_down(&rig, 1);
    farms_up(&rig, 1);
    giver = &rig.at[0].farm->count;
    taker = &rig.at[1].farm->count;
    CU_ASSERT_EQUAL(taker->batch_at, 0);
    farms_put(&rig, 0, "d/large", 100 * RIG_BLOCK, 1);
    for (tries = 0; tries < 1000 && taker->in.done < 10 * RIG_BLOCK; tries++) {
        farms_run(&rig, apr_time_from_msec(100));
    }
    CU_ASSERT_STRING_EQUAL(taker->in.file, "d/large");
    CU_ASSERT_STRING_EQUAL(giver->out.file, "d/large");
    CU_ASSERT(taker->in.who[0] != '\0' && giver->out.who[0] != '\0');
    CU_ASSERT(taker->in.size == 100 * RIG_BLOCK && giver->out.size == 100 * RIG_BLOCK);
    CU_ASSERT(taker->in.done < taker->in.size && giver->out.done >= taker->in.done);
    CU_ASSERT(taker->out.file[0] == '\0' && giver->in.file[0] == '\0');
    CU_ASSERT(giver->version != taker->version);
    farms_settle(&rig);
    farms_run(&rig, apr_time_from_sec(20));
    CU_ASSERT(farms_has(&rig, 1, "d/large", 100 * RIG_BLOCK, 1));
    CU_ASSERT(taker->in.file[0] == '\0' && taker->in.size == 0);
    CU_ASSERT(giver->out.file[0] == '\0' && giver->out.size == 0);
    CU_ASSERT(giver->version != 0 && giver->version == taker->version);
    CU_ASSERT(taker->batch_at != 0 && taker->batch_at <= rig.now);
    CU_ASSERT_EQUAL(giver->blind, 0);
    farms_end(&rig);
}

static void test_how_commands_end(void)
{
    static const struct {
        const char *command;
        sc_command_end_t end;
        apr_uint32_t code;
    } all[] = {{"/bin/true", SC_COMMAND_DONE, 0},
               {"/bin/sh -c 'exit 3'", SC_COMMAND_EXIT, 3},
               {"/bin/sh -c 'kill -9 $$'", SC_COMMAND_SIGNAL, 9},
               {"/nonexistent", SC_COMMAND_EXIT, 127}};
    size_t k;

    for (k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        const sc_farm_counts_t *count;
        rig_t rig;
        int i;

        farms_begin(&rig, 0, 1);
        apr_cpystrn(rig.at[0].config.command, all[k].command, sizeof(rig.at[0].config.command));
        farms_up(&rig, 0);
        count = &rig.at[0].farm->count;
        CU_ASSERT_EQUAL(count->command, SC_COMMAND_NONE);
        farms_put(&rig, 0, "a", 100, 1);
        for (i = 0; i < 2000 && count->commands == 0; i++) {
            farms_run(&rig, apr_time_from_msec(100));
        }
        for (i = 0; i < 2000 && count->command <= SC_COMMAND_RUNS; i++) {
            usleep(10000); /* it is a real process */
            (void)sc_farm_step(rig.at[0].farm);
        }
        CU_ASSERT_EQUAL(count->command, all[k].end);
        CU_ASSERT_EQUAL(count->command_code, all[k].code);
        CU_ASSERT(count->command_at != 0 && count->command_at <= rig.now);
        farms_end(&rig);
    }
}

void deployer_add_farms(void)
{
    CU_pSuite s = CU_add_suite("deployer: farms", NULL, NULL);

    CU_add_test(s, "sizes", test_sizes);
    CU_add_test(s, "add, change, remove", test_add_change_remove);
    CU_add_test(s, "a file and a directory", test_file_and_directory);
    CU_add_test(s, "late joiner without the watcher", test_late_joiner_without_the_watcher);
    CU_add_test(s, "meeting", test_meeting);
    CU_add_test(s, "away", test_away);
    CU_add_test(s, "the receiver dies", test_receiver_dies);
    CU_add_test(s, "a bad rest", test_bad_rest);
    CU_add_test(s, "the sender dies", test_sender_dies);
    CU_add_test(s, "another source", test_other_source);
    CU_add_test(s, "lost blocks", test_lost_blocks);
    CU_add_test(s, "wrong content", test_wrong_content);
    CU_add_test(s, "a lost catalogue", test_lost_catalogue);
    CU_add_test(s, "two watchers", test_two_watchers);
    CU_add_test(s, "a watcher forgets nothing", test_watcher_forgets_nothing);
    CU_add_test(s, "the same on both", test_same_on_both);
    CU_add_test(s, "apart", test_apart);
    CU_add_test(s, "a slow copy", test_slow_copy);
    CU_add_test(s, "skipped", test_skipped);
    CU_add_test(s, "watchDir goes", test_watch_dir_goes);
    CU_add_test(s, "removed meanwhile", test_removed_meanwhile);
    CU_add_test(s, "changed in place", test_changed_in_place);
    CU_add_test(s, "command", test_command);
    CU_add_test(s, "the batch of a former life", test_batch_of_a_former_life);
    CU_add_test(s, "bad commands", test_bad_commands);
    CU_add_test(s, "rate", test_rate);
    CU_add_test(s, "what is told", test_what_is_told);
    CU_add_test(s, "how commands end", test_how_commands_end);
}
