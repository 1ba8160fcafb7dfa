/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Helpers of the store's tests, see store_rig.h. They use no CUnit, so forked children may use
 * them.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_rig.h"

#define CELL_DATA 124

static apr_uint64_t scramble(apr_uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

sc_id_t rig_id(unsigned int n)
{
    apr_uint64_t word[2];
    sc_id_t id;

    word[0] = scramble(n + 1);
    word[1] = scramble(word[0] + n);
    memcpy(id.b, word, sizeof(id.b));
    return id;
}

sc_record_t rig_record(apr_uint16_t context, unsigned int n, unsigned int version)
{
    sc_record_t rec;

    memset(&rec, 0, sizeof(rec));
    rec.context = context;
    rec.id = rig_id(n);
    rec.max_idle_s = 1800 + n;
    rec.created = SECONDS(1000) - (apr_time_t)n * 1000000; /* negative for some: older than boot */
    rec.accessed = SECONDS(2000) + version;
    rec.due = SECONDS(4000) + version;
    rec.stamp.hlc = 0x0102030405060000ull + version;
    rec.stamp.node = 0xA0000000u + n;
    rec.epoch = 0x80000000u + version;
    return rec;
}

/* The bytes behind the head: a stream of words, so that filling and checking are about as fast as
 * the copying under test. */
static apr_uint64_t stream(apr_uint64_t x)
{
    return x * 6364136223846793005ull + 1442695040888963407ull;
}

void rig_fill(unsigned char *body, apr_size_t len, unsigned int n, unsigned int v)
{
    apr_uint64_t x = scramble(((apr_uint64_t)n << 32) + v);
    apr_uint32_t head[4];
    apr_size_t i;

    head[0] = n;
    head[1] = v;
    head[2] = (apr_uint32_t)len;
    head[3] = (apr_uint32_t)x;
    memcpy(body, head, sizeof(head));
    for (i = sizeof(head); i < len; i += sizeof(x)) {
        x = stream(x);
        memcpy(body + i, &x, len - i < sizeof(x) ? len - i : sizeof(x));
    }
}

int rig_check(const unsigned char *body, apr_size_t len, unsigned int *n, unsigned int *v)
{
    apr_uint32_t head[4];
    apr_uint64_t x;
    apr_size_t i;

    if (len < sizeof(head)) {
        return 0;
    }
    memcpy(head, body, sizeof(head));
    x = scramble(((apr_uint64_t)head[0] << 32) + head[1]);
    if (head[2] != len || head[3] != (apr_uint32_t)x) {
        return 0;
    }
    for (i = sizeof(head); i < len; i += sizeof(x)) {
        x = stream(x);
        if (memcmp(body + i, &x, len - i < sizeof(x) ? len - i : sizeof(x)) != 0) {
            return 0;
        }
    }
    *n = head[0];
    *v = head[1];
    return 1;
}

apr_size_t rig_len(unsigned int n, unsigned int v)
{
    static const apr_size_t sizes[] = {16, 123, 124, 125, 247, 248, 249, 1024, 3000, 20};

    return sizes[(n * 7 + v) % (sizeof(sizes) / sizeof(sizes[0]))];
}

apr_status_t rig_put(sc_store_t *store, apr_uint16_t context, unsigned int n, unsigned int v,
                     apr_size_t len)
{
    sc_record_t rec = rig_record(context, n, v);
    unsigned char body[8192];

    if (len > sizeof(body)) {
        return APR_EINVAL;
    }
    rig_fill(body, len, n, v);
    return sc_store_put(store, &rec, body, len);
}

int rig_same(const sc_record_t *a, const sc_record_t *b)
{
    return memcmp(&a->id, &b->id, sizeof(a->id)) == 0 && a->context == b->context &&
           a->flags == b->flags && a->max_idle_s == b->max_idle_s && a->created == b->created &&
           a->accessed == b->accessed && a->due == b->due &&
           sc_stamp_cmp(&a->stamp, &b->stamp) == 0 && a->lsn == b->lsn && a->epoch == b->epoch &&
           a->primary == b->primary && memcmp(a->backups, b->backups, sizeof(a->backups)) == 0 &&
           a->body_len == b->body_len;
}

/* ---- audit ---------------------------------------------------------------------------------- */

typedef struct audit_t {
    rig_audit_t sum;
    apr_uint16_t own_route;
    apr_uint64_t lsn; /* highest seen */
    sc_context_stats_t context[SC_CONTEXTS_MAX];
} audit_t;

/* Counted here without the store's own ideas of who is what. */
static void audit_places(const sc_record_t *rec, apr_uint16_t own, sc_context_stats_t *c)
{
    int i;

    if (own == SC_ROUTE_NONE) {
        return;
    }
    c->primaries += rec->primary == own;
    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        if (rec->backups[i] == own) {
            c->backups++;
            return;
        }
    }
}

static int audit_record(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    audit_t *a = baton;
    sc_context_stats_t *c;

    (void)body;
    if (rec->context >= SC_CONTEXTS_MAX) {
        a->sum.failures++;
        return 1;
    }
    if (rec->lsn > a->lsn) {
        a->lsn = rec->lsn;
    }
    c = &a->context[rec->context];
    a->sum.cells += 1 + (rec->body_len + CELL_DATA - 1) / CELL_DATA;
    if (rec->flags & SC_REC_TOMBSTONE) {
        a->sum.tombstones++;
        c->tombstones++;
        a->sum.failures += rec->body_len != 0 || (rec->flags & SC_REC_PROXY) != 0;
        return 1;
    }
    if (rec->flags & SC_REC_PROXY) {
        a->sum.proxies++;
        c->proxies++;
        a->sum.failures += rec->body_len != 0;
        return 1;
    }
    a->sum.sessions++;
    a->sum.body_bytes += rec->body_len;
    c->sessions++;
    c->body_bytes += rec->body_len;
    audit_places(rec, a->own_route, c);
    return 1;
}

rig_audit_t rig_audit(sc_store_t *store, apr_uint16_t own_route)
{
    static audit_t a;
    sc_store_stats_t stats;
    apr_uint32_t cursor = 0;
    apr_status_t rv;
    apr_uint16_t i;

    memset(&a, 0, sizeof(a));
    a.own_route = own_route;
    while ((rv = sc_store_scan(store, &cursor, 0, 100, audit_record, &a)) == APR_SUCCESS) {
    }
    sc_store_stats(store, &stats);
    a.sum.failures += rv != APR_EOF;
    a.sum.failures += stats.lsn < a.lsn;
    a.sum.failures += stats.sessions != a.sum.sessions;
    a.sum.failures += stats.tombstones != a.sum.tombstones;
    a.sum.failures += stats.proxies != a.sum.proxies;
    a.sum.failures += stats.cells != stats.cells_free + a.sum.cells;
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        sc_context_stats_t c;

        if (sc_store_context_stats(store, i, &c) != APR_SUCCESS) {
            a.sum.failures +=
                a.context[i].sessions + a.context[i].tombstones + a.context[i].proxies != 0;
            continue;
        }
        a.sum.failures += c.sessions != a.context[i].sessions;
        a.sum.failures += c.tombstones != a.context[i].tombstones;
        a.sum.failures += c.proxies != a.context[i].proxies;
        a.sum.failures += c.primaries != a.context[i].primaries;
        a.sum.failures += c.backups != a.context[i].backups;
        a.sum.failures += c.body_bytes != a.context[i].body_bytes;
    }
    return a.sum;
}

/* ---- copies and children -------------------------------------------------------------------- */

typedef struct mapping_t {
    unsigned char *base; /* of the guard page in front */
    apr_size_t bytes;    /* all, guards included */
} mapping_t;

static apr_status_t unmap(void *data)
{
    mapping_t *m = data;

    munmap(m->base, m->bytes);
    return APR_SUCCESS;
}

sc_store_t *rig_copy(const sc_store_t *store, apr_pool_t *pool)
{
    apr_size_t page = (apr_size_t)sysconf(_SC_PAGESIZE);
    apr_size_t bytes = sc_store_bytes(store);
    apr_size_t whole = (bytes + page - 1) / page * page;
    mapping_t *m = apr_palloc(pool, sizeof(*m));
    sc_store_t *copy = NULL;

    m->bytes = whole + 2 * page;
    m->base = mmap(NULL, m->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->base == MAP_FAILED) {
        return NULL;
    }
    apr_pool_cleanup_register(pool, m, unmap, apr_pool_cleanup_null);
    if (mprotect(m->base + page, whole, PROT_READ | PROT_WRITE) != 0) {
        return NULL;
    }
    memcpy(m->base + page, sc_store_base(store), bytes);
    return sc_store_attach(&copy, m->base + page, bytes, pool) == APR_SUCCESS ? copy : NULL;
}

void *rig_shared(apr_size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

int rig_wait(int pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
