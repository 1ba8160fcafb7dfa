/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Snapshots: the file with everything that can happen to its bytes, and managers that write and
 * read one while time passes.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"
#include "message_rig.h"
#include "sc_snapshot.h"

void sc_suite_snapshot(void);

#define HOUR apr_time_from_sec(3600)

static char folder[64];
static char path[128];

/* ---- files ---------------------------------------------------------------------------------- */

static void begin(void)
{
    strcpy(folder, "/tmp/sc-snapshot-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/sessions", folder);
}

/* How many files of that kind there are; all are removed if `clear` is set. */
static int files(const char *with, int clear)
{
    char name[512];
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int n = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' && (entry->d_name[1] == '\0' || entry->d_name[1] == '.')) {
            continue;
        }
        n += strstr(entry->d_name, with) != NULL;
        if (clear) {
            snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
            (void)unlink(name);
        }
    }
    closedir(dir);
    return n;
}

static void finish(void)
{
    (void)files("", 1);
    CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static void put_file(const unsigned char *bytes, apr_size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static unsigned char *get_file(apr_size_t *len)
{
    unsigned char *bytes = malloc(65536);
    int fd = open(path, O_RDONLY);
    ssize_t n;

    CU_ASSERT_FATAL(fd >= 0 && bytes != NULL);
    n = read(fd, bytes, 65536);
    CU_ASSERT_FATAL(n > 0 && n < 65536);
    close(fd);
    *len = (apr_size_t)n;
    return bytes;
}

static const sc_keyring_t *ring_of(const char *first, const char *second)
{
    static sc_keyring_t ring[4];
    static int next;
    sc_keyring_t *made = &ring[next++ % 4];
    sc_secrets_t s;

    memset(&s, 0, sizeof(s));
    CU_ASSERT_EQUAL(sc_secrets_add(&s, first, strlen(first)), APR_SUCCESS);
    if (second != NULL) {
        CU_ASSERT_EQUAL(sc_secrets_add(&s, second, strlen(second)), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(sc_keyring_make(made, &s), APR_SUCCESS);
    return made;
}

#define ONE "the first one of all secrets"
#define TWO "the second one of all secrets"

/* A file with three blocks of records. */
static void write_file(const sc_keyring_t *ring)
{
    sc_snap_writer_t w;

    CU_ASSERT_EQUAL_FATAL(sc_snap_create(&w, path, ring), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_snap_put(&w, SC_SNAP_META, "meta", 4), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_snap_put(&w, SC_SNAP_RECORDS, "first", 5), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_snap_put(&w, SC_SNAP_RECORDS, "", 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_snap_put(&w, SC_SNAP_RECORDS, "other", 5), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_snap_put(&w, SC_SNAP_END, "12345678", 8), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_snap_put(&w, SC_SNAP_RECORDS, "late", 4), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_snap_commit(&w), APR_SUCCESS);
}

/* Read it to its end. @return APR_EOF if it is whole */
static apr_status_t read_file(const sc_keyring_t *ring)
{
    static const char *const want[] = {"meta", "first", "", "other", "12345678"};
    const unsigned char *bytes;
    sc_snap_reader_t r;
    sc_snap_kind_t kind;
    apr_size_t len;
    apr_status_t rv = sc_snap_open(&r, path, ring);
    int n = 0;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    while ((rv = sc_snap_next(&r, &kind, &bytes, &len)) == APR_SUCCESS) {
        CU_ASSERT_FATAL(n < 5);
        CU_ASSERT(len == strlen(want[n]) && memcmp(bytes, want[n], len) == 0);
        n++;
    }
    CU_ASSERT(rv != APR_EOF || n == 5);
    sc_snap_close(&r);
    return rv;
}

static void test_round_trip(void)
{
    const sc_keyring_t *one = ring_of(ONE, NULL);
    sc_snap_reader_t r;
    struct stat st;

    begin();
    CU_ASSERT(APR_STATUS_IS_ENOENT(read_file(NULL)));
    write_file(NULL);
    CU_ASSERT_EQUAL(read_file(NULL), APR_EOF);
    CU_ASSERT_EQUAL(read_file(one), APR_EOF); /* a secret that is new since */
    CU_ASSERT(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    write_file(one);
    CU_ASSERT_EQUAL(read_file(one), APR_EOF);
    CU_ASSERT_EQUAL(read_file(ring_of(TWO, ONE)), APR_EOF);
    CU_ASSERT_EQUAL(read_file(ring_of(TWO, NULL)), SC_SNAP_NO_KEY);
    CU_ASSERT_EQUAL(read_file(NULL), SC_SNAP_NO_KEY);
    CU_ASSERT_EQUAL(files("", 0), 1);
    /* twice with one reader */
    CU_ASSERT_EQUAL_FATAL(sc_snap_open(&r, path, one), APR_SUCCESS);
    for (int pass = 0; pass < 2; pass++) {
        const unsigned char *bytes;
        sc_snap_kind_t kind;
        apr_size_t len;

        while (sc_snap_next(&r, &kind, &bytes, &len) == APR_SUCCESS) {
        }
        CU_ASSERT_EQUAL(sc_snap_next(&r, &kind, &bytes, &len), APR_EOF);
        CU_ASSERT_EQUAL(sc_snap_rewind(&r), APR_SUCCESS);
    }
    sc_snap_close(&r);
    finish();
}

static void test_damage(void)
{
    const sc_keyring_t *rings[] = {NULL, ring_of(ONE, NULL)};
    unsigned char *bytes, *more;
    apr_size_t len, i, tag;
    int k, bit;

    begin();
    for (k = 0; k < 2; k++) {
        write_file(rings[k]);
        bytes = get_file(&len);
        tag = k ? SC_SEAL_TAG : SC_MAC;
        for (i = 0; i < len; i++) {
            put_file(bytes, i);
            CU_ASSERT_NOT_EQUAL(read_file(rings[k]), APR_EOF);
            for (bit = 0; bit < 8; bit++) {
                bytes[i] ^= (unsigned char)(1 << bit);
                put_file(bytes, len);
                CU_ASSERT_NOT_EQUAL(read_file(rings[k]), APR_EOF);
                bytes[i] ^= (unsigned char)(1 << bit);
            }
        }
        /* something behind the end; the block of "first" twice, and in the place of "other" */
        more = malloc(len + 100);
        memcpy(more, bytes, len);
        more[len] = 0;
        put_file(more, len + 1);
        CU_ASSERT_EQUAL(read_file(rings[k]), APR_EINVAL);
        i = SC_SNAP_HEAD + 5 + 4 + tag;
        memcpy(more, bytes, i + 10 + tag);
        memcpy(more + i + 10 + tag, bytes + i, len - i);
        put_file(more, len + 10 + tag);
        CU_ASSERT_EQUAL(read_file(rings[k]), APR_EINVAL);
        memcpy(more, bytes, len);
        memcpy(more + i, bytes + i + 10 + tag + 5 + tag, 10 + tag);
        memcpy(more + i + 10 + tag + 5 + tag, bytes + i, 10 + tag);
        put_file(more, len);
        CU_ASSERT_EQUAL(read_file(rings[k]), APR_EINVAL);
        bytes[11]++;
        put_file(bytes, len);
        CU_ASSERT_EQUAL(read_file(rings[k]), APR_ENOTIMPL);
        free(more);
        free(bytes);
    }
    finish();
}

static void test_whose(void)
{
    char other[160];

    begin();
    write_file(NULL);
    CU_ASSERT_EQUAL(chmod(path, 0640), 0);
    CU_ASSERT_EQUAL(read_file(NULL), APR_EACCES);
    CU_ASSERT_EQUAL(chmod(path, 0600), 0);
    snprintf(other, sizeof(other), "%s/other", folder);
    CU_ASSERT_EQUAL(link(path, other), 0);
    CU_ASSERT_EQUAL(read_file(NULL), APR_EBADPATH);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(symlink(other, path), 0);
    CU_ASSERT_EQUAL(read_file(NULL), APR_EBADPATH);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT_EQUAL(read_file(NULL), APR_EBADPATH); /* and nobody waits for a writer */
    CU_ASSERT_EQUAL(unlink(path), 0);
    finish();
}

static void test_unfinished(void)
{
    char aside[256];
    sc_snap_writer_t w;

    begin();
    write_file(NULL);
    /* what was there stays until there is something better */
    CU_ASSERT_EQUAL_FATAL(sc_snap_create(&w, path, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_snap_put(&w, SC_SNAP_META, "x", 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_snap_commit(&w), APR_EINVAL);
    CU_ASSERT_EQUAL(files("", 0), 1);
    CU_ASSERT_EQUAL(read_file(NULL), APR_EOF);
    /* one that was killed is no hindrance */
    CU_ASSERT_EQUAL_FATAL(sc_snap_create(&w, path, NULL), APR_SUCCESS);
    close(w.fd);
    close(w.dir);
    CU_ASSERT_EQUAL(files("", 0), 2);
    write_file(NULL);
    CU_ASSERT_EQUAL(files("", 0), 1);
    CU_ASSERT_EQUAL(sc_snap_set_aside(path, apr_time_from_sec(77), aside, sizeof(aside)),
                    APR_SUCCESS);
    CU_ASSERT_EQUAL(files("sessions.bad-77", 0), 1);
    CU_ASSERT(APR_STATUS_IS_ENOENT(sc_snap_remove(path)));
    CU_ASSERT_NOT_EQUAL(sc_snap_create(&w, "/nowhere/at/all", NULL), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(sc_snap_create(&w, "name", NULL), APR_SUCCESS);
    finish();
}

/* ---- managers -------------------------------------------------------------------------------- */

/* Node 0 stands alone if there is no other; each node has a file of its own. */
static void tweak(sc_config_t *c, int index)
{
    snprintf(c->snapshot.path, sizeof(c->snapshot.path), "%s/sessions%s%d", folder,
             index ? "-" : "", index);
    if (index == 0) {
        strcpy(path, c->snapshot.path);
    }
    c->snapshot.wait_ms = 5000;
}

static net_t *create(int n)
{
    int i;
    net_t *net;

    begin();
    net = net_create(n, tweak);
    for (i = 0; i < n; i++) {
        net_join(net, i, 0);
        CU_ASSERT(net_wait_ready(net, 5000));
    }
    return net;
}

/* As the engine ends. */
static void leave(net_t *net, int node)
{
    sc_manager_t *m = net->node[node].m;
    int i;

    sc_manager_stop(m);
    net->node[node].self.node_state = SC_NODE_LEAVING;
    for (i = 0; i < net->n; i++) {
        if (net->node[i].alive && net->node[i].sees[node]) {
            sc_manager_member_changed(net->node[i].m, &net->node[node].self);
        }
    }
    for (i = 0; i < 200 && sc_manager_busy(m); i++) {
        net_run(net, 10);
    }
    sc_manager_last_look(m);
    for (i = 0; i < net->n; i++) {
        net_forget(net, i, node, 1);
    }
    sc_manager_save(m);
    net_crash(net, node, 0);
}

static void destroy(net_t *net)
{
    net_destroy(net);
    finish();
}

/* A new engine with a new store, until it is READY. */
static void come(net_t *net, int node)
{
    net_join(net, node, 1);
    CU_ASSERT(net_wait_ready(net, 20000));
}

static void test_alone(void)
{
    net_t *net = create(1);
    sc_record_t rec;

    net_make(net, 0, 1, 500);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 7, "a", "seven"), SC_DONE);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 8, "a", "-"), SC_DONE);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 9)), SC_DONE);
    leave(net, 0);
    CU_ASSERT_EQUAL(files("sessions0", 0), 1);
    come(net, 0);
    CU_ASSERT_EQUAL(files("", 0), 0);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 499);
    CU_ASSERT_EQUAL(net->node[0].board->count.restored, 499);
    CU_ASSERT(net_is(net_value(net, 0, 7, "a"), "seven"));
    CU_ASSERT_PTR_NULL(net_value(net, 0, 8, "a"));
    CU_ASSERT_EQUAL(net_look(net, 0, 9, &rec), NET_DEAD);
    /* stamps go on from there, although the clock was set back meanwhile */
    net_crash(net, 0, 0);
    net_join(net, 0, 0);
    leave(net, 0);
    net->node[0].wall_offset -= HOUR;
    come(net, 0);
    CU_ASSERT_EQUAL(net_set(net, 0, 0, 7, "a", "later"), SC_DONE);
    CU_ASSERT(net_is(net_value(net, 0, 7, "a"), "later"));
    destroy(net);
}

static apr_interval_time_t idle_of(net_t *net, apr_uint32_t id)
{
    sc_record_t rec;

    CU_ASSERT_EQUAL_FATAL(net_look(net, 0, id, &rec), NET_LIVE);
    return net->now + net->node[0].mono_offset - rec.accessed;
}

static void test_time(void)
{
    net_t *net = create(1);
    sc_record_t rec;

    net_make_idle(net, 0, 1, 1800);
    net_make_idle(net, 0, 2, 7200);
    net_make_idle(net, 0, 3, 0);
    net_run(net, 600 * 1000);
    net_access(net, 0, 2); /* not collected yet */
    leave(net, 0);
    net->node[0].wall_offset += HOUR / 4;
    net->node[0].mono_offset += HOUR * 50; /* another life of the machine */
    come(net, 0);
    CU_ASSERT(idle_of(net, 1) >= apr_time_from_sec(1500));
    CU_ASSERT(idle_of(net, 1) < apr_time_from_sec(1510));
    CU_ASSERT(idle_of(net, 2) >= apr_time_from_sec(900));
    CU_ASSERT(idle_of(net, 2) < apr_time_from_sec(910));
    leave(net, 0);
    net->node[0].wall_offset -= HOUR; /* it went backwards: as if no time had passed */
    come(net, 0);
    CU_ASSERT(idle_of(net, 1) >= apr_time_from_sec(1500));
    CU_ASSERT(idle_of(net, 1) < apr_time_from_sec(1520));
    leave(net, 0);
    net->node[0].wall_offset += HOUR;
    come(net, 0);
    CU_ASSERT_EQUAL(net_look(net, 0, 1, &rec), NET_NOTHING);
    CU_ASSERT_EQUAL(net_look(net, 0, 2, &rec), NET_LIVE);
    CU_ASSERT_EQUAL(net_look(net, 0, 3, &rec), NET_LIVE);
    /* set back by more than stamps may be ahead */
    leave(net, 0);
    net->node[0].wall_offset -= 30 * HOUR;
    come(net, 0);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 0);
    CU_ASSERT_EQUAL(files(".bad-", 0), 1);
    destroy(net);
}

/* What is sealed need not make sense. */
static void test_nonsense_inside(void)
{
    sc_wire_session_t session;
    sc_snap_writer_t w;
    sc_buf_t b, body;
    net_t *net = create(1);
    apr_size_t good;
    int how;

    sc_buf_init(&b, 100000);
    wire_body(&body);
    wire_session(&session, &body);
    for (how = 0; how < 5; how++) {
        leave(net, 0);
        CU_ASSERT_EQUAL_FATAL(sc_snap_create(&w, path, NULL), APR_SUCCESS);
        sc_buf_clear(&b);
        sc_put_u64(&b, 1);
        sc_put_u64(&b, 1);
        sc_put_u64(&b, 0);
        sc_put_varint(&b, 0);
        sc_put_str(&b, net->node[0].config.route, how == 1 ? 1 : strlen(net->node[0].config.route));
        sc_put_varint(&b, how == 2 ? 65 : 0);
        sc_put_varint(&b, 0);
        (void)sc_snap_put(&w, SC_SNAP_META, b.data, b.len);
        sc_buf_clear(&b);
        sc_wire_session_put(&b, &session);
        good = b.len;
        if (how == 3) {
            sc_put_u8(&b, 200);
        }
        (void)sc_snap_put(&w, SC_SNAP_RECORDS, b.data, good);
        (void)sc_snap_put(&w, SC_SNAP_RECORDS, b.data, b.len);
        sc_buf_clear(&b);
        sc_put_u64(&b, how == 4 ? 3 : 2);
        (void)sc_snap_put(&w, SC_SNAP_END, b.data, b.len);
        CU_ASSERT_EQUAL(sc_snap_commit(&w), APR_SUCCESS);
        come(net, 0);
        CU_ASSERT_EQUAL(net->node[0].board->count.snapshots_bad, how != 0);
        CU_ASSERT_EQUAL(net->node[0].board->count.restored, 0); /* idle since 1970 */
        CU_ASSERT_EQUAL(net_sessions(net, 0), 0);
        CU_ASSERT_EQUAL(files(".bad-", 1), how != 0);
    }
    sc_buf_free(&b);
    sc_buf_free(&body);
    destroy(net);
}

/* All at once; then one after the other, where only the last one has them. */
static void test_three(void)
{
    net_t *net = create(3);
    sc_record_t rec;
    int i, round;

    net_make(net, 0, 1, 200);
    net_make(net, 2, 201, 100);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 1, 250)), SC_DONE);
    for (round = 0; round < 2; round++) {
        for (i = 0; i < 3 && round == 0; i++) { /* all have announced it when the first one goes */
            net->node[i].self.node_state = SC_NODE_LEAVING;
        }
        for (i = 0; i < 9 && round == 0; i++) {
            if (i / 3 != i % 3) {
                sc_manager_member_changed(net->node[i / 3].m, &net->node[i % 3].self);
            }
        }
        for (i = 0; i < 3; i++) {
            leave(net, i);
        }
        CU_ASSERT_EQUAL(files("sessions", 0), 3);
        for (i = 0; i < 3; i++) {
            net_start(net, i, 1);
        }
        for (i = 0; i < 3; i++) {
            net_meet(net, i, (i + 1) % 3);
        }
        net_run(net, 300);
        for (i = 0; i < 3; i++) {
            sc_manager_settled(net->node[i].m);
        }
        CU_ASSERT(net_wait_ready(net, 20000));
        net_run(net, 3000);
        CU_ASSERT_PTR_NULL(net_difference(net));
        for (i = 0; i < 3; i++) {
            CU_ASSERT_EQUAL(net_sessions(net, i), 299);
            CU_ASSERT_EQUAL(net_look(net, i, 250, &rec), NET_DEAD);
        }
        CU_ASSERT_EQUAL(net->node[0].board->count.restored, round == 0 ? 299 : 0);
        CU_ASSERT_EQUAL(files("", 0), 0);
    }
    destroy(net);
}

/* One comes late, when a session that only it has may have ended, and the others remember nothing.
 */
static void test_forgotten(void)
{
    net_t *net = create(2);
    sc_record_t rec;
    int i;

    net_make(net, 0, 1, 20);
    for (i = 0; i < 2; i++) {
        net->node[i].self.node_state = SC_NODE_LEAVING;
        sc_manager_member_changed(net->node[1 - i].m, &net->node[i].self);
    }
    leave(net, 0);
    leave(net, 1);
    come(net, 0);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 20);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 3)), SC_DONE);
    /* as long as its companion may come the end is remembered, if there is room */
    net_run(net, 700 * 1000);
    CU_ASSERT_EQUAL(net_look(net, 0, 3, &rec), NET_DEAD);
    CU_ASSERT_EQUAL(net->node[0].board->forgot, 0);
    /* and if there was none, at least that something was forgotten */
    net_lose(net, 0, 3);
    net->node[0].board->forgot = net->node[0].board->hlc;
    for (i = 5; i <= 20; i++) {
        (void)net_set(net, 0, 0, (apr_uint32_t)i, "b", "1");
    }
    net_lose(net, 0, 4);
    net_join(net, 1, 1);
    CU_ASSERT(net_wait_ready(net, 20000));
    net_run(net, 3000);
    for (i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(net_look(net, i, 3, &rec), NET_NOTHING);
        CU_ASSERT_EQUAL(net_look(net, i, 4, &rec), NET_NOTHING);
        CU_ASSERT_EQUAL(net_sessions(net, i), 18);
        CU_ASSERT(net_is(net_value(net, i, 5, "b"), "1"));
    }
    destroy(net);
}

/* The engine that has a store to go on with looks at no file, whatever lies there. */
static void test_once(void)
{
    net_t *net = create(1);
    unsigned char *bytes;
    apr_size_t len;

    net_make(net, 0, 1, 5);
    leave(net, 0);
    bytes = get_file(&len);
    come(net, 0);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 5);
    CU_ASSERT_EQUAL(net_outcome(net, net_remove(net, 0, 1)), SC_DONE);
    net_crash(net, 0, 0);
    put_file(bytes, len);
    net_join(net, 0, 0);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 4);
    CU_ASSERT_EQUAL(files("", 0), 1);
    /* an engine that ended while it read one is followed by one that begins again */
    net_crash(net, 0, 0);
    net->node[0].board->restore = 1;
    net_join(net, 0, 0);
    CU_ASSERT(net_wait_ready(net, 5000));
    CU_ASSERT_EQUAL(net_sessions(net, 0), 4);
    CU_ASSERT_EQUAL(files("", 0), 0);
    /* when two have, it is not tried any more */
    net_crash(net, 0, 0);
    put_file(bytes, len);
    net->node[0].board->restore = 2;
    net_join(net, 0, 0);
    CU_ASSERT_EQUAL(net_sessions(net, 0), 4);
    CU_ASSERT_EQUAL(files(".bad-", 0), 1);
    free(bytes);
    destroy(net);
}

void sc_suite_snapshot(void)
{
    CU_pSuite s = CU_add_suite("snapshot", NULL, NULL);

    CU_add_test(s, "a file written and read", test_round_trip);
    CU_add_test(s, "a file cut off, changed, longer, out of order", test_damage);
    CU_add_test(s, "somebody else's file, links", test_whose);
    CU_add_test(s, "a file that was not finished", test_unfinished);
    CU_add_test(s, "a node that stands alone", test_alone);
    CU_add_test(s, "the time while it is off", test_time);
    CU_add_test(s, "nonsense in a file that is whole", test_nonsense_inside);
    CU_add_test(s, "three nodes", test_three);
    CU_add_test(s, "a node that comes late", test_forgotten);
    CU_add_test(s, "a snapshot is used once", test_once);
}
