/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Session messages: each event there and back, fields of later versions skipped, and hostile bytes.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "sc_message.h"

void sc_suite_message(void);

#define LIMIT (1024 * 1024)

static apr_uint64_t rnd_state;

static apr_uint32_t rnd(apr_uint32_t n)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    rnd_state ^= rnd_state << 17;
    return (apr_uint32_t)((rnd_state >> 11) % n);
}

static int is_text(const char *s, apr_size_t len, const char *want)
{
    return len == strlen(want) && memcmp(s, want, len) == 0;
}

static sc_text_t text(const char *s)
{
    sc_text_t t = {s, strlen(s)};

    return t;
}

/* ---- samples of every message ---------------------------------------------------------------- */

static void sample_body(sc_buf_t *b)
{
    sc_attr_t a;

    sc_buf_init(b, LIMIT);
    memset(&a, 0, sizeof(a));
    a.name = "user";
    a.name_len = 4;
    a.value = "ann";
    a.value_len = 3;
    a.stamp.hlc = 55;
    a.stamp.node = 5;
    sc_attr_put(b, &a);
}

static void sample_session(sc_wire_session_t *s, const sc_buf_t *body)
{
    memset(s, 0, sizeof(*s));
    s->context = "shop";
    s->context_len = 4;
    memset(s->id.b, 0xC3, sizeof(s->id.b));
    s->max_idle_s = 1800;
    s->age_ms = 123456789;
    s->idle_ms = 4711;
    s->stamp.hlc = 0x1122334455667788ull;
    s->stamp.node = 0x99aabbccu;
    s->primary = "n1";
    s->primary_len = 2;
    s->epoch = 7;
    s->body = body->data;
    s->body_len = body->len;
}

/* All messages, one at a time; which counts from 0. Returns 0 when there is none of that number. */
static int sample_message(int which, sc_buf_t *b)
{
    sc_msg_get_all_t g;
    sc_msg_retrieve_t m;
    sc_wire_session_t s;
    sc_msg_delta_t d;
    sc_buf_t body, items;
    sc_group_t group;
    sc_text_t name = text("shop");
    int ok = 1;

    sample_body(&body);
    sample_session(&s, &body);
    sc_buf_init(&items, LIMIT);
    memset(&group, 0, sizeof(group));
    memset(&m, 0, sizeof(m));
    memset(&d, 0, sizeof(d));
    memset(&g, 0, sizeof(g));
    group.context = m.context = d.context = name;
    m.id = d.id = s.id;
    sc_buf_clear(b);
    switch (which) {
    case 0:
        sc_msg_created_put(b, SC_EVT_SESSION_CREATED, &s);
        break;
    case 1:
    case 2:
        memset(d.new_id.b, 0xD4, sizeof(d.new_id.b));
        d.flags = SC_MSG_PRIMARY;
        d.stamp = s.stamp;
        d.max_idle_s = 60;
        d.idle_ms = 3;
        d.epoch = 2;
        d.body = body.data;
        d.body_len = body.len;
        sc_msg_delta_put(b, which == 1 ? SC_EVT_SESSION_DELTA : SC_EVT_CHANGE_SESSION_ID, &d);
        break;
    case 3:
        sc_item_accessed_put(&items, &s.id, 1);
        sc_item_accessed_put(&items, &s.id, 1000000);
        group.n = 2;
        group.items = items.data;
        group.items_len = items.len;
        sc_msg_groups_put(b, SC_EVT_SESSION_ACCESSED, 2);
        sc_group_put(b, &group);
        sc_group_put(b, &group);
        break;
    case 4:
        sc_item_expired_put(&items, &s.id, &s.stamp);
        group.n = 1;
        group.reason = SC_DEAD_IDLE;
        group.items = items.data;
        group.items_len = items.len;
        sc_msg_groups_put(b, SC_EVT_SESSION_EXPIRED, 1);
        sc_group_put(b, &group);
        break;
    case 5:
        g.serial = 12;
        g.since = 1ull << 60;
        g.recent_ms = 60000;
        g.primary = text("n3");
        g.ncontexts = 2;
        g.context[0] = name;
        g.context[1] = text("blog");
        sc_msg_get_all_put(b, &g);
        break;
    case 6: {
        sc_msg_data_t data = {12, 99, 2};

        sc_msg_data_put(b, SC_EVT_ALL_SESSION_DATA, &data);
        sc_wire_session_put(b, &s);
        sc_wire_session_put(b, &s);
        break;
    }
    case 7: {
        sc_msg_complete_t c = {12, 1ull << 50, 1, 2, 0};

        sc_msg_complete_put(b, &c);
        break;
    }
    case 8:
        sc_msg_nocontext_put(b, &name);
        break;
    case 9:
        sc_msg_retrieve_put(b, SC_EVT_RETRIEVE, &m);
        break;
    case 10:
        m.found = 1;
        m.session = s;
        sc_msg_retrieve_put(b, SC_EVT_RETRIEVE_REPLY, &m);
        break;
    case 11:
        sc_msg_retrieve_put(b, SC_EVT_RETRIEVE_REPLY, &m);
        break;
    default:
        ok = 0;
        break;
    }
    sc_buf_free(&items);
    sc_buf_free(&body);
    return ok;
}

#define SAMPLES 12

/* Read a message completely, as the manager does. */
static apr_status_t read_all(const void *bytes, apr_size_t len)
{
    static sc_msg_get_all_t g;
    apr_uint64_t ngroups, i, k, idle;
    sc_msg_retrieve_t m;
    sc_msg_complete_t c;
    sc_wire_session_t s;
    sc_msg_delta_t d;
    sc_msg_data_t data;
    sc_stamp_t stamp;
    sc_group_t group;
    unsigned int event;
    sc_text_t name;
    sc_rd_t r, items;
    sc_id_t id;

    sc_rd_init(&r, bytes, len);
    event = sc_get_u8(&r);
    switch (event) {
    case SC_EVT_SESSION_CREATED:
        return sc_msg_created_get(&r, &s);
    case SC_EVT_SESSION_DELTA:
    case SC_EVT_CHANGE_SESSION_ID:
        return sc_msg_delta_get(&r, (sc_event_t)event, &d);
    case SC_EVT_SESSION_ACCESSED:
    case SC_EVT_SESSION_EXPIRED:
        if (sc_msg_groups_get(&r, (sc_event_t)event, &ngroups) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        for (i = 0; i < ngroups; i++) {
            CU_ASSERT_EQUAL_FATAL(sc_group_get(&r, &group), APR_SUCCESS);
            sc_rd_init(&items, group.items, group.items_len);
            for (k = 0; k < group.n; k++) {
                CU_ASSERT_EQUAL_FATAL(event == SC_EVT_SESSION_ACCESSED
                                          ? sc_item_accessed_get(&items, &id, &idle)
                                          : sc_item_expired_get(&items, &id, &stamp),
                                      APR_SUCCESS); /* promised by sc_msg_groups_get */
            }
        }
        return APR_SUCCESS;
    case SC_EVT_GET_ALL_SESSIONS:
        return sc_msg_get_all_get(&r, &g);
    case SC_EVT_ALL_SESSION_DATA:
        if (sc_msg_data_get(&r, SC_EVT_ALL_SESSION_DATA, &data) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        for (i = 0; i < data.count; i++) {
            if (sc_wire_session_get(&r, &s) != APR_SUCCESS) {
                return APR_EINVAL;
            }
        }
        return APR_SUCCESS;
    case SC_EVT_ALL_SESSION_TRANSFERCOMPLETE:
        return sc_msg_complete_get(&r, &c);
    case SC_EVT_ALL_SESSION_NOCONTEXTMANAGER:
        return sc_msg_nocontext_get(&r, &name);
    case SC_EVT_RETRIEVE:
    case SC_EVT_RETRIEVE_REPLY:
        return sc_msg_retrieve_get(&r, (sc_event_t)event, &m);
    default:
        return APR_EINVAL;
    }
}

/* ---- there and back -------------------------------------------------------------------------- */

static void begin(sc_rd_t *r, const sc_buf_t *b, unsigned int event)
{
    sc_rd_init(r, b->data, b->len);
    CU_ASSERT_EQUAL(sc_get_u8(r), event);
}

static void check_session(const sc_wire_session_t *s)
{
    CU_ASSERT(is_text(s->context, s->context_len, "shop"));
    CU_ASSERT_EQUAL(s->id.b[15], 0xC3);
    CU_ASSERT_EQUAL(s->max_idle_s, 1800);
    CU_ASSERT_EQUAL(s->age_ms, 123456789);
    CU_ASSERT_EQUAL(s->idle_ms, 4711);
    CU_ASSERT_EQUAL(s->stamp.hlc, 0x1122334455667788ull);
    CU_ASSERT_EQUAL(s->stamp.node, 0x99aabbccu);
    CU_ASSERT(is_text(s->primary, s->primary_len, "n1"));
    CU_ASSERT_EQUAL(s->epoch, 7);
    CU_ASSERT_EQUAL(sc_body_payload(s->body, s->body_len), 7);
}

static void test_sessions(void)
{
    sc_msg_retrieve_t m;
    sc_wire_session_t s;
    sc_msg_data_t data;
    sc_buf_t b;
    sc_rd_t r;

    sc_buf_init(&b, LIMIT);
    sample_message(0, &b);
    begin(&r, &b, SC_EVT_SESSION_CREATED);
    CU_ASSERT_EQUAL(sc_msg_created_get(&r, &s), APR_SUCCESS);
    check_session(&s);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 0);

    sample_message(6, &b);
    begin(&r, &b, SC_EVT_ALL_SESSION_DATA);
    CU_ASSERT_EQUAL(sc_msg_data_get(&r, SC_EVT_ALL_SESSION_DATA, &data), APR_SUCCESS);
    CU_ASSERT(data.serial == 12 && data.total == 99 && data.count == 2);
    CU_ASSERT_EQUAL(sc_wire_session_get(&r, &s), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_wire_session_get(&r, &s), APR_SUCCESS);
    check_session(&s);
    CU_ASSERT_EQUAL(sc_wire_session_get(&r, &s), APR_EINVAL);

    sample_message(10, &b);
    begin(&r, &b, SC_EVT_RETRIEVE_REPLY);
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
    CU_ASSERT_EQUAL(m.found, 1);
    check_session(&m.session);
    sample_message(11, &b);
    begin(&r, &b, SC_EVT_RETRIEVE_REPLY);
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
    CU_ASSERT_EQUAL(m.found, 0);
    sc_buf_free(&b);
}

static void test_changes(void)
{
    sc_msg_delta_t d;
    sc_buf_t b, same;
    sc_rd_t r;
    int which;

    sc_buf_init(&b, LIMIT);
    for (which = 1; which <= 2; which++) {
        sc_event_t event = which == 1 ? SC_EVT_SESSION_DELTA : SC_EVT_CHANGE_SESSION_ID;

        sample_message(which, &b);
        begin(&r, &b, event);
        CU_ASSERT_EQUAL(sc_msg_delta_get(&r, event, &d), APR_SUCCESS);
        CU_ASSERT(is_text(d.context.s, d.context.len, "shop"));
        CU_ASSERT_EQUAL(d.id.b[0], 0xC3);
        CU_ASSERT_EQUAL(d.new_id.b[0], which == 1 ? 0 : 0xD4);
        CU_ASSERT_EQUAL(d.flags, SC_MSG_PRIMARY);
        CU_ASSERT_EQUAL(d.stamp.node, 0x99aabbccu);
        CU_ASSERT(d.max_idle_s == 60 && d.idle_ms == 3 && d.epoch == 2);
        CU_ASSERT_EQUAL(sc_body_payload(d.body, d.body_len), 7);
    }
    /* an id that is changed to itself */
    d.new_id = d.id;
    sc_buf_init(&same, LIMIT);
    sc_msg_delta_put(&same, SC_EVT_CHANGE_SESSION_ID, &d);
    CU_ASSERT_EQUAL(read_all(same.data, same.len), APR_EINVAL);
    sc_buf_free(&same);
    sc_buf_free(&b);
}

static void test_lists(void)
{
    apr_uint64_t n, idle;
    sc_stamp_t stamp;
    sc_group_t g;
    sc_rd_t r, items;
    sc_buf_t b, liar;
    sc_id_t id;

    sc_buf_init(&b, LIMIT);
    sample_message(3, &b);
    begin(&r, &b, SC_EVT_SESSION_ACCESSED);
    CU_ASSERT_EQUAL(sc_msg_groups_get(&r, SC_EVT_SESSION_ACCESSED, &n), APR_SUCCESS);
    CU_ASSERT_EQUAL(n, 2);
    CU_ASSERT_EQUAL(sc_group_get(&r, &g), APR_SUCCESS);
    CU_ASSERT_EQUAL(g.n, 2);
    sc_rd_init(&items, g.items, g.items_len);
    CU_ASSERT_EQUAL(sc_item_accessed_get(&items, &id, &idle), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_item_accessed_get(&items, &id, &idle), APR_SUCCESS);
    CU_ASSERT(idle == 1000000 && id.b[3] == 0xC3);
    CU_ASSERT_EQUAL(sc_item_accessed_get(&items, &id, &idle), APR_EINVAL);

    sample_message(4, &b);
    begin(&r, &b, SC_EVT_SESSION_EXPIRED);
    CU_ASSERT_EQUAL(sc_msg_groups_get(&r, SC_EVT_SESSION_EXPIRED, &n), APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_group_get(&r, &g), APR_SUCCESS);
    CU_ASSERT(is_text(g.context.s, g.context.len, "shop"));
    CU_ASSERT_EQUAL(g.reason, SC_DEAD_IDLE);
    sc_rd_init(&items, g.items, g.items_len);
    CU_ASSERT_EQUAL(sc_item_expired_get(&items, &id, &stamp), APR_SUCCESS);
    CU_ASSERT_EQUAL(stamp.hlc, 0x1122334455667788ull);

    /* a group that claims more items than it has spoils the whole list */
    g.n = 1ull << 62;
    sc_buf_init(&liar, LIMIT);
    sc_msg_groups_put(&liar, SC_EVT_SESSION_EXPIRED, 1);
    sc_group_put(&liar, &g);
    CU_ASSERT_EQUAL(read_all(liar.data, liar.len), APR_EINVAL);
    /* an id that was changed cannot end without its new one */
    g.n = 1;
    g.reason = SC_DEAD_RENAMED;
    sc_buf_clear(&liar);
    sc_msg_groups_put(&liar, SC_EVT_SESSION_EXPIRED, 1);
    sc_group_put(&liar, &g);
    CU_ASSERT_EQUAL(read_all(liar.data, liar.len), APR_EINVAL);
    sc_buf_free(&liar);
    sc_buf_free(&b);
}

static void test_transfer(void)
{
    static sc_msg_get_all_t g;
    sc_msg_complete_t c;
    sc_text_t name;
    sc_buf_t b;
    sc_rd_t r;
    int i;

    sc_buf_init(&b, LIMIT);
    sample_message(5, &b);
    begin(&r, &b, SC_EVT_GET_ALL_SESSIONS);
    CU_ASSERT_EQUAL(sc_msg_get_all_get(&r, &g), APR_SUCCESS);
    CU_ASSERT(g.serial == 12 && g.since == 1ull << 60 && g.recent_ms == 60000);
    CU_ASSERT(is_text(g.primary.s, g.primary.len, "n3"));
    CU_ASSERT_EQUAL(g.ncontexts, 2);
    CU_ASSERT(is_text(g.context[1].s, g.context[1].len, "blog"));
    sample_message(7, &b);
    begin(&r, &b, SC_EVT_ALL_SESSION_TRANSFERCOMPLETE);
    CU_ASSERT_EQUAL(sc_msg_complete_get(&r, &c), APR_SUCCESS);
    CU_ASSERT(c.serial == 12 && c.lsn == 1ull << 50 && c.ready == 1 && c.sent == 2);
    sample_message(8, &b);
    begin(&r, &b, SC_EVT_ALL_SESSION_NOCONTEXTMANAGER);
    CU_ASSERT_EQUAL(sc_msg_nocontext_get(&r, &name), APR_SUCCESS);
    CU_ASSERT(is_text(name.s, name.len, "shop"));

    /* more contexts than a node can have */
    memset(&g, 0, sizeof(g));
    g.ncontexts = SC_CONTEXTS_MAX;
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        g.context[i] = text("x");
    }
    sc_buf_clear(&b);
    sc_msg_get_all_put(&b, &g);
    CU_ASSERT_EQUAL(read_all(b.data, b.len), APR_SUCCESS);
    sc_buf_clear(&b);
    sc_put_u8(&b, SC_EVT_GET_ALL_SESSIONS);
    for (i = 0; i < 4; i++) {
        sc_put_varint(&b, 0);
    }
    sc_put_varint(&b, SC_CONTEXTS_MAX + 1);
    for (i = 0; i <= SC_CONTEXTS_MAX; i++) {
        sc_put_str(&b, "x", 1);
    }
    CU_ASSERT_EQUAL(read_all(b.data, b.len), APR_EINVAL);
    sc_buf_free(&b);
}

/* ---- tombstones, names, versions --------------------------------------------------------------
 */

/* Read back what is written, or not. */
static apr_status_t there_and_back(const sc_wire_session_t *s, sc_wire_session_t *got)
{
    apr_status_t rv;
    sc_buf_t b;
    sc_rd_t r;

    sc_buf_init(&b, LIMIT);
    sc_wire_session_put(&b, s);
    CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
    sc_rd_init(&r, b.data, b.len);
    rv = sc_wire_session_get(&r, got);
    sc_buf_free(&b);
    return rv;
}

static void test_tombstones(void)
{
    sc_wire_session_t s, got;
    sc_buf_t body;

    sample_body(&body);
    sample_session(&s, &body);
    s.flags = SC_REC_TOMBSTONE;
    s.max_idle_s = SC_DEAD_IDLE;
    CU_ASSERT_EQUAL(there_and_back(&s, &got), APR_EINVAL); /* the dead have no body */
    s.body_len = 0;
    CU_ASSERT_EQUAL(there_and_back(&s, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.max_idle_s, SC_DEAD_IDLE);
    s.max_idle_s = 77; /* a reason of a later version */
    CU_ASSERT_EQUAL(there_and_back(&s, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.max_idle_s, SC_DEAD_INVALIDATED);
    s.max_idle_s = SC_DEAD_RENAMED;
    memset(s.heir.b, 0xE5, sizeof(s.heir.b));
    CU_ASSERT_EQUAL(there_and_back(&s, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.max_idle_s, SC_DEAD_RENAMED);
    CU_ASSERT(memcmp(&got.heir, &s.heir, sizeof(s.heir)) == 0);
    CU_ASSERT_EQUAL(got.body_len, 0);
    sc_buf_free(&body);
}

static void test_event_names(void)
{
    CU_ASSERT_STRING_EQUAL(sc_event_name(SC_EVT_SESSION_DELTA), "SESSION_DELTA");
    CU_ASSERT_STRING_EQUAL(sc_event_name(SC_EVT_RETRIEVE_REPLY), "RETRIEVE_REPLY");
    CU_ASSERT_STRING_EQUAL(sc_event_name(0), "unknown");
    CU_ASSERT_STRING_EQUAL(sc_event_name(999), "unknown");
}

/* Fields that a later version appends are skipped, in messages and inside whole sessions. */
static void test_later_versions(void)
{
    sc_wire_session_t s, got;
    sc_buf_t b, body, longer;
    apr_size_t head;
    sc_rd_t r;
    int which;

    sc_buf_init(&b, LIMIT);
    for (which = 0; which < SAMPLES; which++) {
        CU_ASSERT_FATAL(sample_message(which, &b));
        sc_put(&b, "new field", 9);
        CU_ASSERT_EQUAL(read_all(b.data, b.len), APR_SUCCESS);
    }
    sample_body(&body);
    sample_session(&s, &body);
    sc_buf_clear(&b);
    sc_wire_session_put(&b, &s);
    head = sc_varint_size(b.len - 1) == 1 ? 1 : 2;
    sc_buf_init(&longer, LIMIT);
    sc_put_varint(&longer, b.len - head + 5);
    sc_put(&longer, b.data + head, b.len - head);
    sc_put(&longer, "extra", 5);
    sc_wire_session_put(&longer, &s);
    sc_rd_init(&r, longer.data, longer.len);
    CU_ASSERT_EQUAL(sc_wire_session_get(&r, &got), APR_SUCCESS);
    check_session(&got);
    CU_ASSERT_EQUAL(sc_wire_session_get(&r, &got), APR_SUCCESS);
    check_session(&got);
    sc_buf_free(&longer);
    sc_buf_free(&body);
    sc_buf_free(&b);
}

/* ---- hostile --------------------------------------------------------------------------------- */

/* Samples whose last byte is a field that was added later. */
static int has_later_field(int which)
{
    return which == 5 || which == 7 || which == 10 || which == 11;
}

static void test_truncated(void)
{
    sc_buf_t b;
    apr_size_t n;
    int which;

    sc_buf_init(&b, LIMIT);
    for (which = 0; which < SAMPLES; which++) {
        sample_message(which, &b);
        CU_ASSERT_EQUAL(read_all(b.data, b.len), APR_SUCCESS);
        for (n = 0; n < b.len; n++) {
            unsigned char *cut = malloc(n + 1);

            memcpy(cut, b.data, n);
            /* without the last field some are messages of an earlier version */
            CU_ASSERT_EQUAL(read_all(cut, n),
                            n == b.len - 1 && has_later_field(which) ? APR_SUCCESS : APR_EINVAL);
            free(cut);
        }
    }
    sc_buf_free(&b);
}

static void test_random(void)
{
    sc_buf_t b;
    int round;

    rnd_state = 4242;
    sc_buf_init(&b, LIMIT);
    for (round = 0; round < 40000; round++) {
        unsigned char *copy;
        apr_size_t len;
        apr_uint32_t k;

        sample_message((int)rnd(SAMPLES), &b);
        len = rnd(4) == 0 ? rnd((apr_uint32_t)b.len + 1) : b.len;
        copy = malloc(len + 1);
        memcpy(copy, b.data, len);
        for (k = rnd(6); k > 0 && len > 1; k--) {
            copy[1 + rnd((apr_uint32_t)len - 1)] = (unsigned char)rnd(256);
        }
        (void)read_all(copy, len); /* what counts is that nothing outside of copy was touched */
        free(copy);
    }
    sc_buf_free(&b);
    CU_PASS("survived");
}

void sc_suite_message(void)
{
    CU_pSuite s = CU_add_suite("message", NULL, NULL);

    CU_add_test(s, "whole sessions there and back", test_sessions);
    CU_add_test(s, "changes there and back", test_changes);
    CU_add_test(s, "lists there and back", test_lists);
    CU_add_test(s, "state transfer there and back", test_transfer);
    CU_add_test(s, "tombstones", test_tombstones);
    CU_add_test(s, "names of events", test_event_names);
    CU_add_test(s, "fields of later versions are skipped", test_later_versions);
    CU_add_test(s, "truncated", test_truncated);
    CU_add_test(s, "random bytes", test_random);
}
