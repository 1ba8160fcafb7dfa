/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Lists of locations, put together from a store's records and read again; lists that contradict
 * themselves; PING, STATE and TAKE.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include <apr_strings.h>

#include "message_rig.h"
#include "store_rig.h"

/* ---- a store and a list ---------------------------------------------------------------------- */

typedef struct bench_t {
    apr_pool_t *pool;
    sc_store_t *store;
    sc_places_t *list;
    sc_buf_t b;
    apr_uint16_t shop, blog, n1, n2, n3;
} bench_t;

static apr_uint16_t route(bench_t *t, const char *name)
{
    apr_uint16_t index = 0;

    CU_ASSERT_EQUAL_FATAL(sc_store_route(t->store, name, strlen(name), 1, &index), APR_SUCCESS);
    return index;
}

static apr_uint16_t context(bench_t *t, const char *name)
{
    apr_uint16_t index = 0;

    CU_ASSERT_EQUAL_FATAL(sc_store_context(t->store, name, strlen(name), 1, &index), APR_SUCCESS);
    return index;
}

static void set_up(bench_t *t)
{
    memset(t, 0, sizeof(*t));
    CU_ASSERT_EQUAL_FATAL(apr_pool_create(&t->pool, NULL), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_store_create(&t->store, SC_STORE_MIN, t->pool), APR_SUCCESS);
    t->list = sc_places_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(t->list);
    sc_buf_init(&t->b, WIRE_LIMIT);
    t->shop = context(t, "shop");
    t->blog = context(t, "blog");
    t->n1 = route(t, "n1");
    t->n2 = route(t, "n2");
    t->n3 = route(t, "n3");
}

static void tear_down(bench_t *t)
{
    sc_places_free(t->list);
    sc_buf_free(&t->b);
    apr_pool_destroy(t->pool);
}

static sc_record_t record(bench_t *t, unsigned int n)
{
    sc_record_t rec;

    memset(&rec, 0, sizeof(rec));
    rec.id = rig_id(n);
    rec.context = t->shop;
    rec.max_idle_s = 1800;
    rec.epoch = n + 1;
    rec.primary = t->n1;
    rec.backups[0] = t->n2;
    return rec;
}

/* Write the list and read its head. */
static void written(bench_t *t, sc_event_t event, unsigned int flags, sc_msg_places_t *m,
                    sc_rd_t *r)
{
    sc_buf_clear(&t->b);
    sc_places_put(&t->b, event, 77, flags, t->list, t->store);
    CU_ASSERT_EQUAL(t->b.err, APR_SUCCESS);
    CU_ASSERT(t->b.len <= sc_places_bytes(t->list));
    CU_ASSERT_EQUAL(wire_read(t->b.data, t->b.len), APR_SUCCESS);
    sc_rd_init(r, t->b.data, t->b.len);
    CU_ASSERT_EQUAL(sc_get_u8(r), (unsigned int)event);
    CU_ASSERT_EQUAL_FATAL(sc_msg_places_get(r, m), APR_SUCCESS);
    CU_ASSERT_EQUAL(m->serial, 77);
    CU_ASSERT_EQUAL(m->flags, flags);
}

/* The only location of a list. */
static void only_place(bench_t *t, sc_msg_places_t *m, sc_place_t *p)
{
    sc_group_t group;
    sc_rd_t r, items;

    CU_ASSERT_EQUAL_FATAL(sc_places_count(t->list), 1);
    written(t, SC_EVT_NOTIFY, 0, m, &r);
    CU_ASSERT_EQUAL_FATAL(m->ngroups, 1);
    CU_ASSERT_EQUAL_FATAL(sc_places_group_get(&r, &group), APR_SUCCESS);
    CU_ASSERT_EQUAL(group.n, 1);
    sc_rd_init(&items, group.items, group.items_len);
    CU_ASSERT_EQUAL_FATAL(sc_place_get(&items, p), APR_SUCCESS);
    sc_places_clear(t->list);
}

static int names(const sc_msg_places_t *m, apr_uint32_t place, const char *want)
{
    return place < m->nroutes && wire_is_text(m->route[place].s, m->route[place].len, want);
}

/* ---- there and back -------------------------------------------------------------------------- */

/* The bytes, so that a change of the format is noticed. */
static void test_format(void)
{
    sc_record_t rec;
    sc_buf_t want;
    bench_t t;
    int i;

    set_up(&t);
    for (i = 0; i < 2; i++) {
        memset(&rec, 0, sizeof(rec));
        memset(rec.id.b, 0xA1, sizeof(rec.id.b));
        rec.context = i == 0 ? t.shop : t.blog;
        rec.epoch = 300;
        rec.primary = t.n1;
        rec.backups[0] = t.n2;
        rec.backups[1] = t.n3;
        CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 0x0102030405060708ull), APR_SUCCESS);
        memset(&rec, 0, sizeof(rec));
        memset(rec.id.b, 0xB2, sizeof(rec.id.b));
        rec.context = i == 0 ? t.shop : t.blog;
        rec.epoch = 1;
        CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 0), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(sc_places_count(t.list), 4);
    sc_buf_init(&want, WIRE_LIMIT);
    wire_list(&want, SC_EVT_PROXY);
    for (i = 0; i < 2; i++) { /* the list stays as it is */
        sc_buf_clear(&t.b);
        sc_places_put(&t.b, SC_EVT_PROXY, 77, SC_PLACES_LAST, t.list, t.store);
        CU_ASSERT_EQUAL_FATAL(t.b.len, want.len);
        CU_ASSERT(memcmp(t.b.data, want.data, want.len) == 0);
    }
    CU_ASSERT(sc_places_bytes(t.list) >= want.len && sc_places_bytes(t.list) < want.len + 40);
    sc_buf_free(&want);
    tear_down(&t);
}

static void test_empty(void)
{
    sc_msg_places_t m;
    bench_t t;
    sc_rd_t r;

    set_up(&t);
    CU_ASSERT_EQUAL(sc_places_count(t.list), 0);
    written(&t, SC_EVT_PROXY, SC_PLACES_LAST, &m, &r);
    CU_ASSERT(m.nroutes == 1 && m.ngroups == 0);
    sc_places_free(NULL);
    tear_down(&t);
}

/* Records of two contexts with none to four backups. */
static void test_places(void)
{
    enum { N = 500 };
    unsigned char seen[N] = {0};
    sc_msg_places_t m;
    sc_group_t group;
    sc_rd_t r, items;
    sc_place_t p;
    bench_t t;
    unsigned int i, k;
    apr_uint64_t g, total = 0;
    char name[8];

    set_up(&t);
    for (i = 0; i < N; i++) {
        sc_record_t rec = record(&t, i);

        rec.context = i % 3 == 0 ? t.blog : t.shop;
        rec.primary = route(&t, apr_psprintf(t.pool, "p%u", i % 20));
        memset(rec.backups, 0, sizeof(rec.backups));
        for (k = 0; k < i % 5; k++) {
            rec.backups[k] = route(&t, apr_psprintf(t.pool, "b%u", i % 10 + k));
        }
        CU_ASSERT_EQUAL_FATAL(sc_places_add(t.list, t.store, &rec, i % 7), APR_SUCCESS);
        CU_ASSERT_EQUAL(sc_places_count(t.list), i + 1);
    }
    written(&t, SC_EVT_NOTIFY_REPLY, 0, &m, &r);
    CU_ASSERT_EQUAL(m.nroutes, 1 + 20 + 12); /* not those that no record names */
    CU_ASSERT_EQUAL(m.ngroups, 2);
    for (g = 0; g < m.ngroups; g++) {
        int blog;

        CU_ASSERT_EQUAL_FATAL(sc_places_group_get(&r, &group), APR_SUCCESS);
        blog = wire_is_text(group.context.s, group.context.len, "blog");
        CU_ASSERT(blog || wire_is_text(group.context.s, group.context.len, "shop"));
        sc_rd_init(&items, group.items, group.items_len);
        for (; sc_rd_left(&items) > 0; total++) {
            sc_id_t id;

            CU_ASSERT_EQUAL_FATAL(sc_place_get(&items, &p), APR_SUCCESS);
            i = p.epoch - 1;
            CU_ASSERT_FATAL(i < N);
            seen[i]++;
            id = rig_id(i);
            CU_ASSERT(memcmp(&p.id, &id, sizeof(id)) == 0);
            CU_ASSERT_EQUAL(blog, i % 3 == 0);
            CU_ASSERT_EQUAL(p.digest, i % 7);
            apr_snprintf(name, sizeof(name), "p%u", i % 20);
            CU_ASSERT(names(&m, p.primary, name));
            CU_ASSERT_EQUAL_FATAL(p.nbackups, i % 5);
            for (k = 0; k < p.nbackups; k++) {
                apr_snprintf(name, sizeof(name), "b%u", i % 10 + k);
                CU_ASSERT(names(&m, p.backup[k], name));
            }
        }
    }
    CU_ASSERT_EQUAL(total, N);
    for (i = 0; i < N; i++) {
        CU_ASSERT_EQUAL(seen[i], 1);
    }
    tear_down(&t);
}

/* A full list says so, is as it was, fits the smallest frame, and can be used again. */
static void full_of(bench_t *t, apr_uint16_t last_context, const char *one_more_route)
{
    apr_size_t bytes, count;
    sc_msg_places_t m;
    sc_record_t rec;
    apr_status_t rv = APR_SUCCESS;
    unsigned int i;
    sc_rd_t r;

    for (i = 0; rv == APR_SUCCESS && i < SC_PLACES_BYTES; i++) {
        rec = record(t, i);
        rec.context = (apr_uint16_t)(i % (last_context + 1u));
        rv = sc_places_add(t->list, t->store, &rec, ~(apr_uint64_t)i);
    }
    CU_ASSERT_EQUAL(rv, APR_ENOSPC);
    CU_ASSERT_EQUAL(sc_places_count(t->list), i - 1);
    bytes = sc_places_bytes(t->list);
    count = sc_places_count(t->list);
    CU_ASSERT(bytes <= SC_PLACES_BYTES && bytes + 300 > SC_PLACES_BYTES);
    rec.backups[1] = route(t, one_more_route);
    CU_ASSERT_EQUAL(sc_places_add(t->list, t->store, &rec, 1), APR_ENOSPC);
    CU_ASSERT(sc_places_bytes(t->list) == bytes && sc_places_count(t->list) == count);
    written(t, SC_EVT_PROXY, 0, &m, &r);
    CU_ASSERT_EQUAL(m.nroutes, 3); /* the one that did not fit left nothing behind */
    CU_ASSERT(t->b.len <= SC_PLACES_BYTES);
    sc_places_clear(t->list);
    CU_ASSERT_EQUAL(sc_places_count(t->list), 0);
    CU_ASSERT_EQUAL(sc_places_add(t->list, t->store, &rec, 1), APR_SUCCESS);
    written(t, SC_EVT_PROXY, 0, &m, &r);
    CU_ASSERT(m.nroutes == 4 && m.ngroups == 1);
    sc_places_clear(t->list);
}

static void test_full(void)
{
    char longest[SC_ROUTE_MAX + 1], name[SC_CONTEXT_MAX + 1];
    bench_t t;
    int i;

    set_up(&t);
    memset(longest, 'r', SC_ROUTE_MAX);
    longest[SC_ROUTE_MAX] = '\0';
    full_of(&t, 0, "one-more");
    full_of(&t, 1, longest);
    memset(name, 'c', SC_CONTEXT_MAX);
    name[SC_CONTEXT_MAX] = '\0';
    for (i = 2; i < SC_CONTEXTS_MAX; i++) { /* the longest names of all contexts there can be */
        name[0] = (char)('0' + i);
        (void)context(&t, name);
    }
    full_of(&t, SC_CONTEXTS_MAX - 1, "another");
    tear_down(&t);
}

/* All the routes that a store can have, with the longest names. */
static void test_all_routes(void)
{
    char name[SC_ROUTE_MAX + 1];
    sc_msg_places_t m;
    sc_record_t rec;
    bench_t t;
    sc_rd_t r;
    int i;

    set_up(&t);
    memset(name, 'r', SC_ROUTE_MAX);
    name[SC_ROUTE_MAX] = '\0';
    for (i = 1; i < SC_ROUTES_MAX; i++) {
        rec = record(&t, (unsigned int)i);
        rec.primary = (apr_uint16_t)i;
        rec.backups[0] = SC_ROUTE_NONE;
        if (i > t.n3) {
            apr_snprintf(name, sizeof(name), "%03d", i);
            name[3] = 'r';
            CU_ASSERT_EQUAL(route(&t, name), i);
        }
        CU_ASSERT_EQUAL_FATAL(sc_places_add(t.list, t.store, &rec, 0), APR_SUCCESS);
    }
    written(&t, SC_EVT_PROXY, 0, &m, &r);
    CU_ASSERT_EQUAL(m.nroutes, SC_ROUTES_MAX);
    CU_ASSERT(names(&m, SC_ROUTES_MAX - 1, name));
    tear_down(&t);
}

/* Records that cannot stand in a list as they are. */
static void test_odd_records(void)
{
    sc_msg_places_t m;
    sc_record_t rec;
    sc_place_t p;
    bench_t t;

    set_up(&t);
    rec = record(&t, 1);
    rec.flags = SC_REC_TOMBSTONE; /* not there any more */
    rec.max_idle_s = SC_DEAD_IDLE;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 5), APR_SUCCESS);
    only_place(&t, &m, &p);
    CU_ASSERT(p.primary == 0 && p.nbackups == 0 && p.digest == 0 && p.epoch == 2);
    CU_ASSERT_EQUAL(m.nroutes, 1);
    rec.max_idle_s = SC_DEAD_RENAMED; /* a part of an id stands in the place of its epoch */
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 5), APR_EINVAL);

    rec = record(&t, 1);
    rec.primary = SC_ROUTE_NONE;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 5), APR_SUCCESS);
    only_place(&t, &m, &p);
    CU_ASSERT(p.primary == 0 && p.nbackups == 0 && p.digest == 0);

    rec = record(&t, 1);
    rec.backups[1] = t.n1; /* the primary */
    rec.backups[2] = t.n2; /* twice */
    rec.backups[3] = t.n3;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 5), APR_SUCCESS);
    only_place(&t, &m, &p);
    CU_ASSERT_EQUAL(p.nbackups, 2);
    CU_ASSERT(names(&m, p.backup[0], "n2") && names(&m, p.backup[1], "n3"));

    rec = record(&t, 1);
    rec.backups[0] = 200; /* routes that the store does not know */
    rec.backups[1] = 60000;
    rec.backups[2] = t.n3;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 5), APR_SUCCESS);
    only_place(&t, &m, &p);
    CU_ASSERT(p.nbackups == 1 && names(&m, p.backup[0], "n3"));
    rec.primary = 60000;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 5), APR_SUCCESS);
    only_place(&t, &m, &p);
    CU_ASSERT_EQUAL(p.primary, 0);

    rec = record(&t, 1);
    rec.epoch = 0;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 0), APR_EINVAL);
    rec.epoch = SC_EPOCH_MAX + 1;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 0), APR_EINVAL);
    rec.epoch = SC_EPOCH_MAX;
    rec.context = SC_CONTEXTS_MAX - 1;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 0), APR_EINVAL);
    rec.context = 60000;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 0), APR_EINVAL);
    rec.context = t.blog;
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 0), APR_SUCCESS);
    only_place(&t, &m, &p);
    CU_ASSERT_EQUAL(p.epoch, SC_EPOCH_MAX);
    tear_down(&t);
}

/* ---- lists that contradict themselves -------------------------------------------------------- */

/* A list with routes n1 to n3 and one group; n and ngroups as claimed. */
static apr_status_t list_of(const sc_buf_t *items, apr_uint64_t n, apr_uint64_t ngroups)
{
    apr_status_t rv;
    sc_buf_t b;

    sc_buf_init(&b, WIRE_LIMIT);
    sc_put_u8(&b, SC_EVT_PROXY);
    sc_put_varint(&b, 77);
    sc_put_varint(&b, 0);
    sc_put_varint(&b, 3);
    sc_put_str(&b, "n1", 2);
    sc_put_str(&b, "n2", 2);
    sc_put_str(&b, "n3", 2);
    sc_put_varint(&b, ngroups);
    sc_put_str(&b, "shop", 4);
    sc_put_varint(&b, n);
    sc_put_str(&b, items->data, items->len);
    rv = wire_read(b.data, b.len);
    sc_buf_free(&b);
    return rv;
}

/* One place between two that are right. */
static apr_status_t list_with(const sc_place_t *p)
{
    apr_status_t rv;
    sc_place_t good;
    sc_buf_t items;

    wire_place(&good);
    sc_buf_init(&items, WIRE_LIMIT);
    wire_place_put(&items, &good);
    wire_place_put(&items, p);
    wire_place_put(&items, &good);
    rv = list_of(&items, 3, 1);
    sc_buf_free(&items);
    return rv;
}

static apr_status_t with_backups(apr_uint32_t n, apr_uint32_t a, apr_uint32_t b)
{
    sc_place_t p;

    wire_place(&p);
    p.nbackups = n;
    p.backup[0] = a;
    p.backup[1] = b;
    return list_with(&p);
}

static void test_bad_places(void)
{
    sc_place_t p;
    sc_buf_t items;
    sc_rd_t r;

    wire_place(&p);
    CU_ASSERT_EQUAL(list_with(&p), APR_SUCCESS);
    p.epoch = 0;
    CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);
    p.epoch = SC_EPOCH_MAX;
    CU_ASSERT_EQUAL(list_with(&p), APR_SUCCESS);
    p.epoch = SC_EPOCH_MAX + 1;
    CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);
    p.epoch = APR_UINT32_MAX;
    CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);

    CU_ASSERT_EQUAL(with_backups(0, 0, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(with_backups(1, 3, 0), APR_SUCCESS);
    CU_ASSERT_EQUAL(with_backups(2, 3, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(with_backups(1, 4, 0), APR_EINVAL);   /* no such route in the table */
    CU_ASSERT_EQUAL(with_backups(1, 256, 0), APR_EINVAL); /* in none */
    CU_ASSERT_EQUAL(with_backups(2, 3, 3), APR_EINVAL);   /* twice */
    CU_ASSERT_EQUAL(with_backups(2, 3, 1), APR_EINVAL);   /* the primary */
    CU_ASSERT_EQUAL(with_backups(2, 0, 3), APR_EINVAL);   /* nobody */

    wire_place(&p);
    p.primary = 4;
    CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);
    p.primary = APR_UINT32_MAX;
    CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);
    p.primary = 0; /* nowhere, with copies */
    CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);
    p.nbackups = 0; /* nowhere, with content */
    CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);
    p.digest = 0;
    CU_ASSERT_EQUAL(list_with(&p), APR_SUCCESS);

    /* five backups, and a digest that is told to be untold; the bytes made by hand */
    wire_place(&p);
    sc_buf_init(&items, WIRE_LIMIT);
    sc_put(&items, p.id.b, SC_ID_LEN);
    sc_put(&items, "\1\1\24\2\3\4\5\6", 8);
    sc_rd_init(&r, items.data, items.len);
    CU_ASSERT_EQUAL(sc_place_get(&r, &p), APR_EINVAL);
    sc_buf_clear(&items);
    sc_put(&items, p.id.b, SC_ID_LEN);
    sc_put(&items, "\1\1\1\0\0\0\0\0\0\0\0", 11);
    sc_rd_init(&r, items.data, items.len);
    CU_ASSERT_EQUAL(sc_place_get(&r, &p), APR_EINVAL);
    items.data[items.len - 1] = 1;
    sc_rd_init(&r, items.data, items.len);
    CU_ASSERT_EQUAL(sc_place_get(&r, &p), APR_SUCCESS);
    CU_ASSERT_EQUAL(p.digest, 1);
    sc_buf_free(&items);
}

static apr_status_t place_alone(const sc_place_t *p)
{
    apr_status_t rv;
    sc_buf_t items;
    sc_place_t got;
    sc_rd_t r;

    sc_buf_init(&items, WIRE_LIMIT);
    wire_place_put(&items, p);
    sc_rd_init(&r, items.data, items.len);
    rv = sc_place_get(&r, &got);
    sc_buf_free(&items);
    return rv;
}

/* A place that is read without its list: indices are those of a table of some kind at least. */
static void test_place_alone(void)
{
    sc_place_t p;

    wire_place(&p);
    p.primary = SC_ROUTES_MAX - 1;
    CU_ASSERT_EQUAL(place_alone(&p), APR_SUCCESS);
    p.primary++;
    CU_ASSERT_EQUAL(place_alone(&p), APR_EINVAL);
    wire_place(&p);
    p.backup[1] = SC_ROUTES_MAX - 1;
    CU_ASSERT_EQUAL(place_alone(&p), APR_SUCCESS);
    p.backup[1]++;
    CU_ASSERT_EQUAL(place_alone(&p), APR_EINVAL);
}

/* A number beside a location: the bytes, and what becomes of them. */
static void test_number(void)
{
    static const unsigned char with_digest[] = {1, 1, 2 << 2 | 3, 2, 3, 0xAD, 2, 1,
                                                2, 3, 4,          5, 6, 7,    8};
    static const unsigned char without[] = {1, 1, 2 << 2 | 2, 2, 3, 0xAD, 2};
    static const apr_uint32_t numbers[] = {1, 2, 127, 128, 100000, SC_EPOCH_MAX};
    sc_msg_places_t m;
    sc_record_t rec;
    sc_place_t p;
    sc_rd_t r, items;
    sc_group_t g;
    bench_t t;
    int i;

    set_up(&t);
    rec = record(&t, 0);
    rec.backups[1] = t.n3;
    for (i = 0; i < 2; i++) {
        const unsigned char *want = i == 0 ? with_digest : without;
        apr_size_t len = i == 0 ? sizeof(with_digest) : sizeof(without);

        sc_places_clear(t.list);
        CU_ASSERT_EQUAL(
            sc_places_number(t.list, t.store, &rec, i == 0 ? 0x0102030405060708ull : 0, 301),
            APR_SUCCESS);
        written(&t, SC_EVT_NOTIFY, SC_PLACES_CLAIM, &m, &r);
        CU_ASSERT_EQUAL_FATAL(sc_places_group_get(&r, &g), APR_SUCCESS);
        CU_ASSERT_EQUAL_FATAL(g.items_len, SC_ID_LEN + len);
        CU_ASSERT(memcmp(g.items, rec.id.b, SC_ID_LEN) == 0);
        CU_ASSERT(memcmp((const unsigned char *)g.items + SC_ID_LEN, want, len) == 0);
        sc_rd_init(&items, g.items, g.items_len);
        CU_ASSERT_EQUAL(sc_place_get(&items, &p), APR_SUCCESS);
        CU_ASSERT(p.number == 301 && p.epoch == 1 && p.nbackups == 2);
        CU_ASSERT(p.backup[0] == 2 && p.backup[1] == 3);
        CU_ASSERT_EQUAL(p.digest, i == 0 ? 0x0102030405060708ull : 0);
    }
    for (i = 0; i < (int)(sizeof(numbers) / sizeof(numbers[0])); i++) {
        sc_places_clear(t.list);
        CU_ASSERT_EQUAL(sc_places_number(t.list, t.store, &rec, 1, numbers[i]), APR_SUCCESS);
        only_place(&t, &m, &p);
        CU_ASSERT(p.number == numbers[i] && p.digest == 1 && p.epoch == 1);
    }
    /* without one there is none; nor has what is nowhere */
    CU_ASSERT_EQUAL(sc_places_add(t.list, t.store, &rec, 1), APR_SUCCESS);
    only_place(&t, &m, &p);
    CU_ASSERT_EQUAL(p.number, 0);
    rec.primary = SC_ROUTE_NONE;
    CU_ASSERT_EQUAL(sc_places_number(t.list, t.store, &rec, 1, 301), APR_SUCCESS);
    only_place(&t, &m, &p);
    CU_ASSERT(p.primary == 0 && p.number == 0);
    tear_down(&t);
}

/* A list of nothing but the longest items fits as any other. */
static void test_number_takes_room(void)
{
    sc_msg_places_t m;
    apr_status_t rv = APR_SUCCESS;
    sc_record_t rec;
    unsigned int i;
    bench_t t;
    sc_rd_t r;

    set_up(&t);
    for (i = 0; rv == APR_SUCCESS && i < SC_PLACES_BYTES; i++) {
        rec = record(&t, i);
        rec.epoch = SC_EPOCH_MAX - 1;
        rec.backups[1] = t.n3;
        rec.backups[2] = route(&t, "n4");
        rec.backups[3] = route(&t, "n5");
        rv = sc_places_number(t.list, t.store, &rec, ~(apr_uint64_t)i, SC_EPOCH_MAX);
    }
    CU_ASSERT_EQUAL(rv, APR_ENOSPC);
    written(&t, SC_EVT_NOTIFY, SC_PLACES_CLAIM, &m, &r);
    CU_ASSERT(t.b.len <= SC_PLACES_BYTES && t.b.len + 300 > SC_PLACES_BYTES);
    tear_down(&t);
}

static void test_bad_numbers(void)
{
    static const apr_uint32_t bad[] = {SC_EPOCH_MAX + 1, APR_UINT32_MAX};
    sc_buf_t items;
    sc_place_t p;
    sc_rd_t r;
    int i;

    wire_place(&p);
    p.number = SC_EPOCH_MAX;
    CU_ASSERT_EQUAL(list_with(&p), APR_SUCCESS);
    p.number = 1; /* less than the epoch: not for this reader to judge */
    CU_ASSERT_EQUAL(list_with(&p), APR_SUCCESS);
    for (i = 0; i < 2; i++) {
        p.number = bad[i];
        CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);
        CU_ASSERT_EQUAL(place_alone(&p), APR_EINVAL);
    }
    memset(&p, 0, sizeof(p)); /* nowhere, with a number */
    p.epoch = 1;
    CU_ASSERT_EQUAL(list_with(&p), APR_SUCCESS);
    p.number = 2;
    CU_ASSERT_EQUAL(list_with(&p), APR_EINVAL);
    /* told to be told, and none; and cut off before it, or in it */
    wire_place(&p);
    sc_buf_init(&items, WIRE_LIMIT);
    sc_put(&items, p.id.b, SC_ID_LEN);
    sc_put(&items, "\1\1\6\2\0", 5);
    sc_rd_init(&r, items.data, items.len);
    CU_ASSERT_EQUAL(sc_place_get(&r, &p), APR_EINVAL);
    items.data[items.len - 1] = 5;
    sc_rd_init(&r, items.data, items.len);
    CU_ASSERT_EQUAL(sc_place_get(&r, &p), APR_SUCCESS);
    CU_ASSERT(p.number == 5 && p.nbackups == 1 && p.digest == 0);
    sc_rd_init(&r, items.data, items.len - 1);
    CU_ASSERT_EQUAL(sc_place_get(&r, &p), APR_EINVAL);
    items.data[items.len - 1] = 0x85;
    sc_rd_init(&r, items.data, items.len);
    CU_ASSERT_EQUAL(sc_place_get(&r, &p), APR_EINVAL);
    sc_buf_free(&items);
}

/* A group by itself: no more items than there is room for. */
static void test_group_alone(void)
{
    enum { ITEM = SC_ID_LEN + 3 };
    unsigned char zeros[2 * ITEM] = {0};
    apr_uint64_t n;
    sc_group_t g;
    sc_buf_t b;
    sc_rd_t r;

    sc_buf_init(&b, WIRE_LIMIT);
    for (n = 0; n < 4; n++) {
        sc_buf_clear(&b);
        sc_put_str(&b, "shop", 4);
        sc_put_varint(&b, n);
        sc_put_str(&b, zeros, sizeof(zeros));
        sc_rd_init(&r, b.data, b.len);
        CU_ASSERT_EQUAL(sc_places_group_get(&r, &g), n <= 2 ? APR_SUCCESS : APR_EINVAL);
    }
    sc_buf_free(&b);
}

static void test_bad_counts(void)
{
    sc_place_t p;
    sc_buf_t items;

    wire_place(&p);
    sc_buf_init(&items, WIRE_LIMIT);
    wire_place_put(&items, &p);
    wire_place_put(&items, &p);
    CU_ASSERT_EQUAL(list_of(&items, 2, 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(list_of(&items, 1, 1), APR_EINVAL); /* there is one more */
    CU_ASSERT_EQUAL(list_of(&items, 0, 1), APR_EINVAL);
    CU_ASSERT_EQUAL(list_of(&items, 3, 1), APR_EINVAL);
    CU_ASSERT_EQUAL(list_of(&items, 1ull << 63, 1), APR_EINVAL);
    CU_ASSERT_EQUAL(list_of(&items, 2, 2), APR_EINVAL);
    CU_ASSERT_EQUAL(list_of(&items, 2, 1ull << 63), APR_EINVAL);
    CU_ASSERT_EQUAL(list_of(&items, 2, 0), APR_SUCCESS); /* that is of a later version */
    sc_put_u8(&items, 0);
    CU_ASSERT_EQUAL(list_of(&items, 2, 1), APR_EINVAL);
    sc_buf_clear(&items);
    CU_ASSERT_EQUAL(list_of(&items, 0, 1), APR_SUCCESS);
    sc_buf_free(&items);
}

/* Only a table of names. */
static apr_status_t table(const char *const *names_of, const apr_size_t *len, apr_uint64_t claimed,
                          apr_size_t n)
{
    apr_status_t rv;
    sc_buf_t b;
    apr_size_t i;

    sc_buf_init(&b, WIRE_LIMIT);
    sc_put_u8(&b, SC_EVT_NOTIFY);
    sc_put_varint(&b, 77);
    sc_put_varint(&b, 0);
    sc_put_varint(&b, claimed);
    for (i = 0; i < n; i++) {
        sc_put_str(&b, names_of[i], len != NULL ? len[i] : strlen(names_of[i]));
    }
    sc_put_varint(&b, 0);
    rv = wire_read(b.data, b.len);
    sc_buf_free(&b);
    return rv;
}

static void test_bad_tables(void)
{
    static const char longest[] =
        "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr";
    static const char *const twice[] = {"n1", "n2", "n1"};
    static const char *const empty[] = {"n1", ""};
    static const char *const nul[] = {"n\0"};
    static const char *const lengths[] = {longest};
    static const apr_size_t two[] = {2};
    apr_size_t len[] = {SC_ROUTE_MAX};
    char names_of[SC_ROUTES_MAX][8];
    const char *many[SC_ROUTES_MAX];
    int i;

    for (i = 0; i < SC_ROUTES_MAX; i++) {
        apr_snprintf(names_of[i], sizeof(names_of[i]), "r%d", i);
        many[i] = names_of[i];
    }
    CU_ASSERT_EQUAL(table(many, NULL, SC_ROUTES_MAX - 1, SC_ROUTES_MAX - 1), APR_SUCCESS);
    CU_ASSERT_EQUAL(table(many, NULL, SC_ROUTES_MAX, SC_ROUTES_MAX), APR_EINVAL);
    CU_ASSERT_EQUAL(table(many, NULL, 1ull << 40, SC_ROUTES_MAX), APR_EINVAL);
    CU_ASSERT_EQUAL(table(twice, NULL, 2, 2), APR_SUCCESS);
    CU_ASSERT_EQUAL(table(twice, NULL, 3, 3), APR_EINVAL);
    CU_ASSERT_EQUAL(table(empty, NULL, 2, 2), APR_EINVAL);
    CU_ASSERT_EQUAL(table(nul, two, 1, 1), APR_EINVAL);
    CU_ASSERT_EQUAL(table(lengths, len, 1, 1), APR_SUCCESS);
    len[0]++;
    CU_ASSERT_EQUAL(table(lengths, len, 1, 1), APR_EINVAL);
}

/* What comes back is 0, not the last list's, when a list is refused. */
static void test_refused_is_empty(void)
{
    static sc_msg_places_t m;
    sc_buf_t b;
    sc_rd_t r;

    sc_buf_init(&b, WIRE_LIMIT);
    wire_list(&b, SC_EVT_PROXY);
    sc_rd_init(&r, b.data + 1, b.len - 1);
    CU_ASSERT_EQUAL(sc_msg_places_get(&r, &m), APR_SUCCESS);
    CU_ASSERT(m.ngroups == 2 && m.nroutes == 4 && m.flags == SC_PLACES_LAST);
    sc_rd_init(&r, b.data + 1, b.len - 2);
    CU_ASSERT_EQUAL(sc_msg_places_get(&r, &m), APR_EINVAL);
    CU_ASSERT_EQUAL(m.ngroups, 0);
    sc_buf_free(&b);
}

/* ---- leases, questions ----------------------------------------------------------------------- */

static void test_ping(void)
{
    sc_msg_ping_reply_t reply;
    sc_msg_ping_t p, got;
    apr_uint32_t n, i;
    sc_buf_t b;
    sc_rd_t r;

    sc_buf_init(&b, WIRE_LIMIT);
    memset(&p, 0, sizeof(p));
    p.sent = APR_UINT64_MAX;
    p.healed = 1ull << 40;
    p.clock = (apr_uint64_t)1 << 41;
    p.hung = 1ull << 63;
    for (i = 0; i < SC_MEMBERS_MAX; i++) {
        p.member[i] = ~(apr_uint64_t)i;
    }
    for (n = 0; n <= SC_MEMBERS_MAX; n++) {
        p.nmembers = n;
        sc_buf_clear(&b);
        sc_msg_ping_put(&b, &p);
        CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_SUCCESS);
        sc_rd_init(&r, b.data, b.len);
        CU_ASSERT_EQUAL(sc_get_u8(&r), SC_EVT_PING);
        memset(&got, 0xff, sizeof(got));
        CU_ASSERT_EQUAL(sc_msg_ping_get(&r, &got), APR_SUCCESS);
        CU_ASSERT(got.sent == p.sent && got.healed == p.healed && got.clock == p.clock &&
                  got.nmembers == n && got.hung == p.hung);
        CU_ASSERT(memcmp(got.member, p.member, n * sizeof(p.member[0])) == 0);
        CU_ASSERT_EQUAL(sc_rd_left(&r), 0);
    }
    sc_buf_clear(&b);
    sc_put_u8(&b, SC_EVT_PING);
    sc_put_varint(&b, 1);
    sc_put_varint(&b, 1);
    sc_put_varint(&b, 1);
    sc_put_varint(&b, SC_MEMBERS_MAX + 1);
    for (i = 0; i <= SC_MEMBERS_MAX; i++) {
        sc_put_u64(&b, i + 1);
    }
    sc_put_varint(&b, 0);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_EINVAL);

    wire_sample(20, &b);
    sc_rd_init(&r, b.data, b.len);
    CU_ASSERT_EQUAL(sc_get_u8(&r), SC_EVT_PING_REPLY);
    CU_ASSERT_EQUAL(sc_msg_ping_reply_get(&r, &reply), APR_SUCCESS);
    CU_ASSERT(reply.sent == 1ull << 41 && reply.loss == 5 && reply.granted == 1);
    reply.granted = 0;
    sc_buf_clear(&b);
    sc_msg_ping_reply_put(&b, &reply);
    sc_rd_init(&r, b.data + 1, b.len - 1);
    reply.granted = 7;
    CU_ASSERT_EQUAL(sc_msg_ping_reply_get(&r, &reply), APR_SUCCESS);
    CU_ASSERT_EQUAL(reply.granted, 0);
    sc_buf_free(&b);
}

static void test_questions(void)
{
    static const apr_uint32_t epochs[] = {0, 1, SC_EPOCH_MAX, SC_EPOCH_MAX + 1, APR_UINT32_MAX};
    apr_uint64_t serial = 0;
    sc_msg_take_t take, got;
    sc_buf_t b;
    sc_rd_t r;
    int i;

    sc_buf_init(&b, WIRE_LIMIT);
    sc_msg_state_put(&b, APR_UINT64_MAX);
    sc_rd_init(&r, b.data, b.len);
    CU_ASSERT_EQUAL(sc_get_u8(&r), SC_EVT_STATE);
    CU_ASSERT_EQUAL(sc_msg_state_get(&r, &serial), APR_SUCCESS);
    CU_ASSERT_EQUAL(serial, APR_UINT64_MAX);

    take.context = wire_text("shop");
    take.id = rig_id(9);
    for (i = 0; i < 5; i++) {
        take.epoch = epochs[i];
        sc_buf_clear(&b);
        sc_msg_take_put(&b, &take);
        sc_rd_init(&r, b.data, b.len);
        CU_ASSERT_EQUAL(sc_get_u8(&r), SC_EVT_TAKE);
        CU_ASSERT_EQUAL(sc_msg_take_get(&r, &got), i == 1 || i == 2 ? APR_SUCCESS : APR_EINVAL);
        if (i == 1 || i == 2) {
            CU_ASSERT_EQUAL(got.epoch, epochs[i]);
            CU_ASSERT(memcmp(&got.id, &take.id, sizeof(got.id)) == 0);
            CU_ASSERT(wire_is_text(got.context.s, got.context.len, "shop"));
        }
    }
    take.epoch = 1;
    take.context = wire_text("");
    sc_buf_clear(&b);
    sc_msg_take_put(&b, &take);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_EINVAL);
    sc_buf_free(&b);
}

void wire_add_places(void *suite)
{
    CU_pSuite s = suite;

    CU_add_test(s, "a list of locations, byte for byte", test_format);
    CU_add_test(s, "a list of no locations", test_empty);
    CU_add_test(s, "locations there and back", test_places);
    CU_add_test(s, "a full list", test_full);
    CU_add_test(s, "all routes", test_all_routes);
    CU_add_test(s, "records that are no location", test_odd_records);
    CU_add_test(s, "locations that contradict themselves", test_bad_places);
    CU_add_test(s, "a location by itself", test_place_alone);
    CU_add_test(s, "a number beside a location, byte for byte", test_number);
    CU_add_test(s, "a list full of numbers", test_number_takes_room);
    CU_add_test(s, "numbers that cannot be", test_bad_numbers);
    CU_add_test(s, "a group by itself", test_group_alone);
    CU_add_test(s, "counts that contradict themselves", test_bad_counts);
    CU_add_test(s, "tables of routes", test_bad_tables);
    CU_add_test(s, "a list that is refused is empty", test_refused_is_empty);
    CU_add_test(s, "PING and its reply", test_ping);
    CU_add_test(s, "STATE and TAKE", test_questions);
}
