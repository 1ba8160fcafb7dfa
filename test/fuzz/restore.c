/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A node that starts with a snapshot, whose blocks are whole and sealed and say anything: who wrote
 * it and when, who left with it, and sessions. Then managers go on as ever (rig/manager.h), engines
 * that are killed while they read included; and who leaves writes a snapshot that can be read.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "../../src/manager/snapshot.h"
#include "manager.h"

#define BLOCK_MAX (256 * 1024)

/* In memory: files are brought to disk each time. */
static char folder[] = "/dev/shm/sc-fuzz-XXXXXX";
static char path[64];

static void remove_all(void)
{
    char pattern[80];
    glob_t found;
    size_t i;

    snprintf(pattern, sizeof(pattern), "%s/*", folder);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (i = 0; i < found.gl_pathc; i++) {
            (void)unlink(found.gl_pathv[i]);
        }
        globfree(&found);
    }
}

static void remove_folder(void)
{
    remove_all();
    (void)rmdir(folder);
}

static void put_route(fuzz_in_t *in, sc_buf_t *b)
{
    unsigned int which = fuzz_u8(in);
    const unsigned char *p;
    char route[3] = "n1";
    size_t len;

    if (which < 0x80) {
        route[1] = (char)('1' + which % 4);
        sc_put_str(b, route, 2);
    } else {
        p = fuzz_text(in, SC_ROUTE_MAX + 1, &len);
        sc_put_str(b, p, len);
    }
}

/** A time about now: of the clock that counts milliseconds. */
static apr_uint64_t about(fuzz_in_t *in, apr_uint64_t now)
{
    static const apr_int64_t off[] = {0, -1000, 1000, -1900000, -90000000, 90000000};
    unsigned int how = fuzz_u8(in);

    return how < 0xf0 ? now + (apr_uint64_t)off[how % 6] : fuzz_u64(in);
}

static void put_meta(fuzz_in_t *in, sc_buf_t *b)
{
    apr_uint64_t now = (apr_uint64_t)apr_time_as_msec(FUZZ_MONO + FUZZ_WALL);
    unsigned int how = fuzz_u8(in);
    unsigned int others = how % 8;
    unsigned int i;

    sc_put_u64(b, about(in, now));
    sc_put_u64(b, about(in, now));
    sc_put_u64(b, how & 8 ? about(in, now) << 16 : 0);
    sc_put_varint(b, how & 16 ? SC_SNAP_OTHERS_STAYED : 0);
    if (how & 32) {
        put_route(in, b);
    } else {
        sc_put_str(b, "n1", 2);
    }
    sc_put_varint(b, how & 64 ? fuzz_number(in) : others);
    sc_put_varint(b, how & 128 ? fuzz_number(in) : others / 2);
    for (i = 0; i < others; i++) {
        put_route(in, b);
    }
    fuzz_damage(in, b);
}

static void write_file(fuzz_in_t *in)
{
    apr_uint64_t hlc = (apr_uint64_t)apr_time_as_msec(FUZZ_MONO + FUZZ_WALL) << 16;
    apr_uint64_t records = 0;
    unsigned int blocks = fuzz_below(in, 4);
    sc_snap_writer_t w;
    sc_keyring_t none;
    sc_buf_t b;

    memset(&none, 0, sizeof(none));
    sc_buf_init(&b, BLOCK_MAX);
    FUZZ_CHECK(sc_snap_create(&w, path, &none) == APR_SUCCESS);
    put_meta(in, &b);
    FUZZ_CHECK(sc_snap_put(&w, SC_SNAP_META, b.data, b.len) == APR_SUCCESS);
    for (; blocks > 0; blocks--) {
        unsigned int n = 1 + fuzz_below(in, 4);

        sc_buf_clear(&b);
        for (; n > 0; n--, records++) {
            fuzz_session(in, &b, hlc);
        }
        fuzz_damage(in, &b);
        FUZZ_CHECK(sc_snap_put(&w, SC_SNAP_RECORDS, b.data, b.len) == APR_SUCCESS);
    }
    sc_buf_clear(&b);
    sc_put_u64(&b, records + (fuzz_u8(in) == 0xff));
    fuzz_damage(in, &b);
    FUZZ_CHECK(sc_snap_put(&w, SC_SNAP_END, b.data, b.len) == APR_SUCCESS);
    FUZZ_CHECK(sc_snap_commit(&w) == APR_SUCCESS);
    sc_buf_free(&b);
}

/** What a node has written is whole, and everything in it can be read. */
static void check_file(void)
{
    const unsigned char *bytes;
    sc_wire_session_t session;
    sc_snap_reader_t r;
    sc_snap_kind_t kind;
    sc_snap_meta_t meta;
    sc_keyring_t none;
    apr_status_t rv;
    apr_size_t len;
    int first = 1;
    sc_rd_t rd;

    memset(&none, 0, sizeof(none));
    FUZZ_CHECK(sc_snap_open(&r, path, &none) == APR_SUCCESS);
    while ((rv = sc_snap_next(&r, &kind, &bytes, &len)) == APR_SUCCESS) {
        if (first) {
            FUZZ_CHECK(sc_snap_meta_get(&meta, bytes, len) == APR_SUCCESS);
            FUZZ_CHECK(strcmp(meta.route, "n1") == 0);
            first = 0;
        } else if (kind == SC_SNAP_RECORDS) {
            sc_rd_init(&rd, bytes, len);
            while (sc_rd_left(&rd) > 0) {
                FUZZ_CHECK(sc_wire_session_get(&rd, &session) == APR_SUCCESS);
            }
        }
    }
    FUZZ_CHECK(rv == APR_EOF);
    sc_snap_close(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_in_t in = {data, size};
    sc_manager_kind_t kind = fuzz_below(&in, 2) ? SC_MANAGER_BACKUP : SC_MANAGER_DELTA;
    struct stat before, after;

    if (path[0] == '\0') {
        FUZZ_CHECK(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
        snprintf(path, sizeof(path), "%s/file", folder);
    }
    remove_all();
    (void)fuzz_start();
    write_file(&in);
    FUZZ_CHECK(stat(path, &before) == 0);
    fuzz_managers_from(&in, kind, 0, path);
    if (stat(path, &after) == 0 && after.st_ino != before.st_ino) {
        check_file();
    }
    return 0;
}
