/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Session messages: each event there and back, and neighbours of another version. Locations and
 * leases are in message_places.c, hostile bytes in message_hostile.c.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "message_rig.h"

void sc_suite_message(void);

/* ---- there and back -------------------------------------------------------------------------- */

static void begin(sc_rd_t *r, const sc_buf_t *b, unsigned int event)
{
    sc_rd_init(r, b->data, b->len);
    CU_ASSERT_EQUAL(sc_get_u8(r), event);
}

static void check_backups(const sc_wire_session_t *s)
{
    CU_ASSERT_EQUAL(s->nbackups, 2);
    CU_ASSERT(wire_is_text(s->backup[0].s, s->backup[0].len, "n2"));
    CU_ASSERT(wire_is_text(s->backup[1].s, s->backup[1].len, "node3"));
}

static void test_sessions(void)
{
    static const unsigned int whole[] = {SC_EVT_SESSION_CREATED, SC_EVT_BACKUP};
    static const unsigned int blocks[] = {SC_EVT_ALL_SESSION_DATA, SC_EVT_COPY};
    sc_wire_session_t s;
    sc_msg_data_t data;
    sc_buf_t b;
    sc_rd_t r;
    int i;

    sc_buf_init(&b, WIRE_LIMIT);
    for (i = 0; i < 2; i++) {
        wire_sample(i, &b);
        begin(&r, &b, whole[i]);
        CU_ASSERT_EQUAL(sc_msg_created_get(&r, &s), APR_SUCCESS);
        wire_check_session(&s);
        check_backups(&s);
        CU_ASSERT_EQUAL(sc_rd_left(&r), 0);

        wire_sample(10 + i, &b);
        begin(&r, &b, blocks[i]);
        CU_ASSERT_EQUAL(sc_msg_data_get(&r, (sc_event_t)blocks[i], &data), APR_SUCCESS);
        CU_ASSERT(data.serial == 12 && data.total == 99 && data.count == 2);
        CU_ASSERT_EQUAL(sc_wire_session_get(&r, &s), APR_SUCCESS);
        check_backups(&s);
        CU_ASSERT_EQUAL(sc_wire_session_get(&r, &s), APR_SUCCESS);
        wire_check_session(&s);
        check_backups(&s);
        CU_ASSERT_EQUAL(sc_wire_session_get(&r, &s), APR_EINVAL);
    }
    begin(&r, &b, SC_EVT_COPY);
    CU_ASSERT_EQUAL(sc_msg_data_get(&r, SC_EVT_BACKUP, &data), APR_EINVAL); /* no block */
    sc_buf_free(&b);
}

static void test_retrieve(void)
{
    sc_msg_retrieve_t m;
    apr_uint32_t i;
    sc_buf_t b;
    sc_rd_t r;

    sc_buf_init(&b, WIRE_LIMIT);
    wire_sample(14, &b);
    begin(&r, &b, SC_EVT_RETRIEVE);
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE, &m), APR_SUCCESS);
    CU_ASSERT(wire_is_text(m.context.s, m.context.len, "shop"));
    CU_ASSERT(m.id.b[0] == 0xC3 && m.found == 0 && m.sure == 0);
    wire_sample(15, &b);
    begin(&r, &b, SC_EVT_RETRIEVE_REPLY);
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
    CU_ASSERT(m.found == 1 && m.sure == 1);
    wire_check_session(&m.session);
    check_backups(&m.session);
    wire_sample(16, &b);
    begin(&r, &b, SC_EVT_RETRIEVE_REPLY);
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
    CU_ASSERT(m.found == 0 && m.sure == 1 && m.away == 0);
    for (i = 0; i < 4; i++) {
        m.away = i & 1;
        m.blank = i >> 1;
        sc_buf_clear(&b);
        sc_msg_retrieve_put(&b, SC_EVT_RETRIEVE_REPLY, &m);
        begin(&r, &b, SC_EVT_RETRIEVE_REPLY);
        CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
        CU_ASSERT(m.found == 0 && m.sure == 1 && m.away == (i & 1) && m.blank == i >> 1);
    }
    wire_sample(17, &b);
    begin(&r, &b, SC_EVT_RETRIEVE_REPLY);
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
    CU_ASSERT(m.found == 1 && m.session.flags == SC_REC_TOMBSTONE && m.session.nbackups == 0);
    wire_sample(18, &b);
    begin(&r, &b, SC_EVT_RETRIEVE_REPLY);
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
    CU_ASSERT(m.found == 1 && m.session.flags == SC_REC_PROXY && m.session.body_len == 0);
    CU_ASSERT(wire_is_text(m.session.primary, m.session.primary_len, "n1"));
    CU_ASSERT_EQUAL(m.session.epoch, 7);
    check_backups(&m.session);
    sc_buf_free(&b);
}

/* An answer about another session than it says. */
static void test_wrong_answer(void)
{
    sc_msg_retrieve_t m;
    sc_buf_t b, body;

    wire_body(&body);
    memset(&m, 0, sizeof(m));
    wire_session(&m.session, &body);
    m.context = wire_text("shop");
    m.found = 1;
    sc_buf_init(&b, WIRE_LIMIT);
    m.id = m.session.id;
    sc_msg_retrieve_put(&b, SC_EVT_RETRIEVE_REPLY, &m);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_SUCCESS);
    m.id.b[7]++;
    sc_buf_clear(&b);
    sc_msg_retrieve_put(&b, SC_EVT_RETRIEVE_REPLY, &m);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_EINVAL);
    m.id = m.session.id;
    m.context = wire_text("shoq");
    sc_buf_clear(&b);
    sc_msg_retrieve_put(&b, SC_EVT_RETRIEVE_REPLY, &m);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_EINVAL);
    sc_buf_free(&b);
    sc_buf_free(&body);
}

static void test_changes(void)
{
    static const sc_event_t events[] = {SC_EVT_SESSION_DELTA, SC_EVT_CHANGE_SESSION_ID,
                                        SC_EVT_BACKUP_DIFF};
    sc_msg_delta_t d;
    sc_buf_t b, same;
    sc_rd_t r;
    int i;

    sc_buf_init(&b, WIRE_LIMIT);
    sc_buf_init(&same, WIRE_LIMIT);
    for (i = 0; i < 3; i++) {
        int new_id = events[i] == SC_EVT_CHANGE_SESSION_ID;

        wire_sample(2 + i, &b);
        begin(&r, &b, events[i]);
        CU_ASSERT_EQUAL(sc_msg_delta_get(&r, events[i], &d), APR_SUCCESS);
        CU_ASSERT(wire_is_text(d.context.s, d.context.len, "shop"));
        CU_ASSERT_EQUAL(d.id.b[0], 0xC3);
        CU_ASSERT_EQUAL(d.new_id.b[0], new_id ? 0xD4 : 0);
        CU_ASSERT_EQUAL(d.digest, new_id ? 0x0807060504030201ull : 0);
        CU_ASSERT_EQUAL(d.flags, SC_MSG_PRIMARY);
        CU_ASSERT_EQUAL(d.stamp.node, 0x99aabbccu);
        CU_ASSERT(d.max_idle_s == 60 && d.idle_ms == 3 && d.epoch == 2);
        CU_ASSERT_EQUAL(sc_body_payload(d.body, d.body_len), 7);

        d.epoch = SC_EPOCH_MAX;
        memset(d.new_id.b, 1, sizeof(d.new_id.b));
        sc_buf_clear(&same);
        sc_msg_delta_put(&same, events[i], &d);
        CU_ASSERT_EQUAL(wire_read(same.data, same.len), APR_SUCCESS);
        d.epoch++;
        sc_buf_clear(&same);
        sc_msg_delta_put(&same, events[i], &d);
        CU_ASSERT_EQUAL(wire_read(same.data, same.len), APR_EINVAL);
        d.epoch = 2;
    }
    /* an id that is changed to itself */
    d.new_id = d.id;
    sc_buf_clear(&same);
    sc_msg_delta_put(&same, SC_EVT_CHANGE_SESSION_ID, &d);
    CU_ASSERT_EQUAL(wire_read(same.data, same.len), APR_EINVAL);
    sc_buf_free(&same);
    sc_buf_free(&b);
}

static void test_lists(void)
{
    static const sc_event_t accessed[] = {SC_EVT_SESSION_ACCESSED, SC_EVT_ACCESS};
    static const sc_event_t expired[] = {SC_EVT_SESSION_EXPIRED, SC_EVT_REMOVE};
    apr_uint64_t n, idle;
    sc_stamp_t stamp;
    sc_group_t g;
    sc_rd_t r, items;
    sc_buf_t b, liar;
    sc_id_t id;
    int i;

    sc_buf_init(&b, WIRE_LIMIT);
    sc_buf_init(&liar, WIRE_LIMIT);
    for (i = 0; i < 2; i++) {
        wire_sample(5 + i, &b);
        begin(&r, &b, accessed[i]);
        CU_ASSERT_EQUAL(sc_msg_groups_get(&r, accessed[i], &n), APR_SUCCESS);
        CU_ASSERT_EQUAL(n, 2);
        CU_ASSERT_EQUAL(sc_group_get(&r, &g), APR_SUCCESS);
        CU_ASSERT_EQUAL(g.n, 2);
        sc_rd_init(&items, g.items, g.items_len);
        CU_ASSERT_EQUAL(sc_item_accessed_get(&items, &id, &idle), APR_SUCCESS);
        CU_ASSERT_EQUAL(sc_item_accessed_get(&items, &id, &idle), APR_SUCCESS);
        CU_ASSERT(idle == 1000000 && id.b[3] == 0xC3);
        CU_ASSERT_EQUAL(sc_item_accessed_get(&items, &id, &idle), APR_EINVAL);

        wire_sample(7 + i, &b);
        begin(&r, &b, expired[i]);
        CU_ASSERT_EQUAL(sc_msg_groups_get(&r, expired[i], &n), APR_SUCCESS);
        CU_ASSERT_EQUAL(sc_group_get(&r, &g), APR_SUCCESS);
        CU_ASSERT(wire_is_text(g.context.s, g.context.len, "shop"));
        CU_ASSERT_EQUAL(g.reason, SC_DEAD_IDLE);
        sc_rd_init(&items, g.items, g.items_len);
        CU_ASSERT_EQUAL(sc_item_expired_get(&items, &id, &stamp), APR_SUCCESS);
        CU_ASSERT_EQUAL(stamp.hlc, 0x1122334455667788ull);

        /* a group that claims more items than it has spoils the whole list */
        g.n = 1ull << 62;
        sc_buf_clear(&liar);
        sc_msg_groups_put(&liar, expired[i], 1);
        sc_group_put(&liar, &g);
        CU_ASSERT_EQUAL(wire_read(liar.data, liar.len), APR_EINVAL);
        /* an id that was changed cannot end without its new one */
        g.n = 1;
        g.reason = SC_DEAD_RENAMED;
        sc_buf_clear(&liar);
        sc_msg_groups_put(&liar, expired[i], 1);
        sc_group_put(&liar, &g);
        CU_ASSERT_EQUAL(wire_read(liar.data, liar.len), APR_EINVAL);
    }
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

    sc_buf_init(&b, WIRE_LIMIT);
    wire_sample(9, &b);
    begin(&r, &b, SC_EVT_GET_ALL_SESSIONS);
    CU_ASSERT_EQUAL(sc_msg_get_all_get(&r, &g), APR_SUCCESS);
    CU_ASSERT(g.serial == 12 && g.since == 1ull << 60 && g.recent_ms == 60000);
    CU_ASSERT(wire_is_text(g.primary.s, g.primary.len, "n3"));
    CU_ASSERT_EQUAL(g.ncontexts, 2);
    CU_ASSERT(wire_is_text(g.context[1].s, g.context[1].len, "blog"));
    CU_ASSERT(g.held == 1 && g.knows == 1 && g.maker == 0xFFFFFFFFu);
    wire_sample(12, &b);
    begin(&r, &b, SC_EVT_ALL_SESSION_TRANSFERCOMPLETE);
    CU_ASSERT_EQUAL(sc_msg_complete_get(&r, &c), APR_SUCCESS);
    CU_ASSERT(c.serial == 12 && c.lsn == 1ull << 50 && c.ready == 1 && c.sent == 2);
    CU_ASSERT_EQUAL(c.loss, 300);
    wire_sample(13, &b);
    begin(&r, &b, SC_EVT_ALL_SESSION_NOCONTEXTMANAGER);
    CU_ASSERT_EQUAL(sc_msg_nocontext_get(&r, &name), APR_SUCCESS);
    CU_ASSERT(wire_is_text(name.s, name.len, "shop"));

    /* more contexts than a node can have */
    memset(&g, 0, sizeof(g));
    g.ncontexts = SC_CONTEXTS_MAX;
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        g.context[i] = wire_text("x");
    }
    sc_buf_clear(&b);
    sc_msg_get_all_put(&b, &g);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_SUCCESS);
    sc_buf_clear(&b);
    sc_put_u8(&b, SC_EVT_GET_ALL_SESSIONS);
    for (i = 0; i < 4; i++) {
        sc_put_varint(&b, 0);
    }
    sc_put_varint(&b, SC_CONTEXTS_MAX + 1);
    for (i = 0; i <= SC_CONTEXTS_MAX; i++) {
        sc_put_str(&b, "x", 1);
    }
    sc_put_varint(&b, 0);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_EINVAL);
    sc_buf_free(&b);
}

/* ---- what a whole session may be -------------------------------------------------------------
 */

/* A session as bytes, with nothing checked and nothing left out. */
static void raw_session(sc_buf_t *b, const sc_wire_session_t *s, apr_uint64_t nbackups)
{
    sc_buf_t in;
    apr_uint64_t i;

    sc_buf_init(&in, WIRE_LIMIT);
    sc_put_str(&in, s->context, s->context_len);
    sc_put(&in, s->id.b, sizeof(s->id.b));
    sc_put_varint(&in, s->flags);
    sc_put_varint(&in, s->max_idle_s);
    sc_put_varint(&in, s->age_ms);
    sc_put_varint(&in, s->idle_ms);
    sc_put_u64(&in, s->stamp.hlc);
    sc_put_u32(&in, s->stamp.node);
    sc_put_str(&in, s->primary, s->primary_len);
    sc_put_varint(&in, s->epoch);
    sc_put_str(&in, s->body, s->body_len);
    sc_put_varint(&in, nbackups);
    for (i = 0; i < nbackups && i < SC_BACKUPS_MAX + 1; i++) {
        const sc_text_t *t = &s->backup[i < SC_BACKUPS_MAX ? i : 0];

        /* the fifth has a name of its own, so that only their number is wrong */
        sc_put_str(&in, i < SC_BACKUPS_MAX ? t->s : "fifth", i < SC_BACKUPS_MAX ? t->len : 5);
    }
    sc_put_str(b, in.data, in.len);
    sc_buf_free(&in);
}

/* Whether a raw session is taken as a new one, in a block, and as an answer. */
static void expect(const sc_wire_session_t *s, apr_uint64_t nbackups, apr_status_t live,
                   apr_status_t answer)
{
    sc_buf_t b;

    sc_buf_init(&b, WIRE_LIMIT);
    sc_put_u8(&b, SC_EVT_BACKUP);
    raw_session(&b, s, nbackups);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), live);
    sc_buf_clear(&b);
    sc_put_u8(&b, SC_EVT_COPY);
    sc_put_varint(&b, 1);
    sc_put_varint(&b, 1);
    sc_put_varint(&b, 1);
    raw_session(&b, s, nbackups);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), live);
    sc_buf_clear(&b);
    sc_put_u8(&b, SC_EVT_RETRIEVE_REPLY);
    sc_put_str(&b, s->context, s->context_len);
    sc_put(&b, s->id.b, sizeof(s->id.b));
    sc_put_varint(&b, 1);
    raw_session(&b, s, nbackups);
    sc_put_varint(&b, 1);
    CU_ASSERT_EQUAL(wire_read(b.data, b.len), answer);
    sc_buf_free(&b);
}

/* Read back what is written into b, or not. */
static apr_status_t there_and_back(sc_buf_t *b, const sc_wire_session_t *s, sc_wire_session_t *got)
{
    apr_status_t rv;
    sc_rd_t r;

    sc_buf_clear(b);
    sc_wire_session_put(b, s);
    CU_ASSERT_EQUAL(b->err, APR_SUCCESS);
    sc_rd_init(&r, b->data, b->len);
    rv = sc_wire_session_get(&r, got);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 0); /* its length is that of its fields */
    return rv;
}

static void test_backups(void)
{
    static const char *const names[] = {"b1", "b2", "b3", "b4"};
    char longest[SC_ROUTE_MAX + 1];
    sc_wire_session_t s, got;
    apr_uint32_t n, i;
    sc_buf_t body, b;

    sc_buf_init(&b, WIRE_LIMIT);
    wire_body(&body);
    wire_session(&s, &body);
    for (i = 0; i < SC_BACKUPS_MAX; i++) {
        s.backup[i] = wire_text(names[i]);
    }
    for (n = 0; n <= SC_BACKUPS_MAX; n++) {
        s.nbackups = n;
        CU_ASSERT_EQUAL(there_and_back(&b, &s, &got), APR_SUCCESS);
        CU_ASSERT_EQUAL(got.nbackups, n);
        for (i = 0; i < n; i++) {
            CU_ASSERT(wire_is_text(got.backup[i].s, got.backup[i].len, names[i]));
        }
        expect(&s, n, APR_SUCCESS, APR_SUCCESS);
    }
    expect(&s, SC_BACKUPS_MAX + 1, APR_EINVAL, APR_EINVAL);
    expect(&s, 1ull << 40, APR_EINVAL, APR_EINVAL);
    s.backup[2] = wire_text("b1"); /* twice */
    expect(&s, 3, APR_EINVAL, APR_EINVAL);
    s.backup[2] = wire_text("n1"); /* the primary */
    expect(&s, 3, APR_EINVAL, APR_EINVAL);
    s.backup[2] = wire_text(""); /* nobody */
    expect(&s, 3, APR_EINVAL, APR_EINVAL);
    s.backup[2].s = "b\0";
    s.backup[2].len = 2;
    expect(&s, 3, APR_EINVAL, APR_EINVAL);
    memset(longest, 'r', sizeof(longest));
    s.backup[2].s = longest;
    s.backup[2].len = SC_ROUTE_MAX;
    expect(&s, 3, APR_SUCCESS, APR_SUCCESS);
    s.backup[2].len = SC_ROUTE_MAX + 1;
    expect(&s, 3, APR_EINVAL, APR_EINVAL);
    s.primary_len = 0; /* a node may have run out of routes; its backups are no secret */
    expect(&s, 2, APR_SUCCESS, APR_SUCCESS);
    sc_buf_free(&b);
    sc_buf_free(&body);
}

static void test_epochs(void)
{
    sc_wire_session_t s;
    sc_buf_t body;

    wire_body(&body);
    wire_session(&s, &body);
    s.epoch = SC_EPOCH_MAX;
    expect(&s, 2, APR_SUCCESS, APR_SUCCESS);
    s.epoch = SC_EPOCH_MAX + 1;
    expect(&s, 2, APR_EINVAL, APR_EINVAL);
    expect(&s, 0, APR_EINVAL, APR_EINVAL);
    s.epoch = APR_UINT32_MAX;
    expect(&s, 0, APR_EINVAL, APR_EINVAL);
    s.epoch = 0; /* only without a location */
    expect(&s, 0, APR_SUCCESS, APR_SUCCESS);
    expect(&s, 2, APR_EINVAL, APR_EINVAL);
    sc_buf_free(&body);
}

/* A location alone is an answer, and nothing else. */
static void test_proxies(void)
{
    sc_buf_t body, b, raw;
    sc_wire_session_t s;

    wire_body(&body);
    wire_session(&s, &body);
    s.flags = SC_REC_PROXY;
    expect(&s, 2, APR_EINVAL, APR_EINVAL); /* it has a body */
    sc_buf_init(&b, WIRE_LIMIT);
    sc_buf_init(&raw, WIRE_LIMIT);
    sc_wire_session_put(&b, &s); /* which is not written */
    s.body_len = 0;
    raw_session(&raw, &s, 2);
    CU_ASSERT(b.len == raw.len && memcmp(b.data, raw.data, b.len) == 0);
    expect(&s, 2, APR_EINVAL, APR_SUCCESS);
    expect(&s, 0, APR_EINVAL, APR_SUCCESS);
    expect(&s, SC_BACKUPS_MAX + 1, APR_EINVAL, APR_EINVAL);
    s.epoch = 0;
    expect(&s, 0, APR_EINVAL, APR_EINVAL);
    s.epoch = SC_EPOCH_MAX;
    expect(&s, 2, APR_EINVAL, APR_SUCCESS);
    s.epoch++;
    expect(&s, 2, APR_EINVAL, APR_EINVAL);
    s.epoch = 1;
    s.primary_len = 0; /* where, then? */
    expect(&s, 2, APR_EINVAL, APR_EINVAL);
    s.primary_len = 2;
    s.flags |= SC_REC_TOMBSTONE; /* dead, or elsewhere? */
    s.max_idle_s = SC_DEAD_INVALIDATED;
    expect(&s, 0, APR_EINVAL, APR_EINVAL);
    sc_buf_free(&raw);
    sc_buf_free(&b);
    sc_buf_free(&body);
}

static void test_tombstones(void)
{
    sc_wire_session_t s, got;
    sc_buf_t body, b;

    sc_buf_init(&b, WIRE_LIMIT);
    wire_body(&body);
    wire_session(&s, &body);
    s.flags = SC_REC_TOMBSTONE;
    s.max_idle_s = SC_DEAD_IDLE;
    CU_ASSERT_EQUAL(there_and_back(&b, &s, &got), APR_EINVAL); /* the dead have no body */
    s.body_len = 0;
    CU_ASSERT_EQUAL(there_and_back(&b, &s, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.max_idle_s, SC_DEAD_IDLE);
    CU_ASSERT_EQUAL(got.nbackups, 0); /* nor holders; they are not written */
    expect(&s, 0, APR_SUCCESS, APR_SUCCESS);
    expect(&s, 1, APR_EINVAL, APR_EINVAL);
    s.max_idle_s = 77; /* a reason of a later version */
    CU_ASSERT_EQUAL(there_and_back(&b, &s, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.max_idle_s, SC_DEAD_INVALIDATED);
    s.max_idle_s = SC_DEAD_RENAMED;
    memset(s.heir.b, 0xE5, sizeof(s.heir.b));
    CU_ASSERT_EQUAL(there_and_back(&b, &s, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.max_idle_s, SC_DEAD_RENAMED);
    CU_ASSERT(memcmp(&got.heir, &s.heir, sizeof(s.heir)) == 0);
    CU_ASSERT_EQUAL(got.body_len, 0);
    sc_buf_free(&b);
    sc_buf_free(&body);
}

static void test_event_names(void)
{
    static const unsigned int events[] = {WIRE_EVENTS};
    enum { EVENTS = sizeof(events) / sizeof(events[0]) };
    unsigned int e;
    int i, k, named = 0;

    for (i = 0; i < EVENTS; i++) {
        CU_ASSERT_STRING_NOT_EQUAL(sc_event_name(events[i]), "unknown");
        for (k = 0; k < i; k++) {
            CU_ASSERT_STRING_NOT_EQUAL(sc_event_name(events[i]), sc_event_name(events[k]));
        }
    }
    for (e = 0; e < 300; e++) {
        named += strcmp(sc_event_name(e), "unknown") != 0;
    }
    CU_ASSERT_EQUAL(named, EVENTS);
    CU_ASSERT_STRING_EQUAL(sc_event_name(SC_EVT_SESSION_DELTA), "SESSION_DELTA");
    CU_ASSERT_STRING_EQUAL(sc_event_name(SC_EVT_BACKUP_DIFF), "BACKUP_DIFF");
    CU_ASSERT_STRING_EQUAL(sc_event_name(SC_EVT_RETRIEVE_REPLY), "RETRIEVE_REPLY");
    CU_ASSERT_STRING_EQUAL(sc_event_name(0), "unknown");
    CU_ASSERT_STRING_EQUAL(sc_event_name(999), "unknown");
}

/* ---- other versions -------------------------------------------------------------------------- */

/* Fields that a later version appends are skipped, in messages and inside whole sessions. */
static void test_later_versions(void)
{
    sc_wire_session_t s, got;
    sc_buf_t b, body, longer;
    apr_size_t head;
    sc_rd_t r;
    int which;

    sc_buf_init(&b, WIRE_LIMIT);
    for (which = 0; which < WIRE_SAMPLES; which++) {
        wire_sample(which, &b);
        sc_put(&b, "new field", 9);
        CU_ASSERT_EQUAL(wire_read(b.data, b.len), APR_SUCCESS);
    }
    wire_body(&body);
    wire_session(&s, &body);
    sc_buf_clear(&b);
    sc_wire_session_put(&b, &s);
    head = sc_varint_size(b.len - 1) == 1 ? 1 : 2;
    sc_buf_init(&longer, WIRE_LIMIT);
    sc_put_varint(&longer, b.len - head + 5);
    sc_put(&longer, b.data + head, b.len - head);
    sc_put(&longer, "extra", 5);
    sc_wire_session_put(&longer, &s);
    sc_rd_init(&r, longer.data, longer.len);
    CU_ASSERT_EQUAL(sc_wire_session_get(&r, &got), APR_SUCCESS);
    wire_check_session(&got);
    check_backups(&got);
    CU_ASSERT_EQUAL(sc_wire_session_get(&r, &got), APR_SUCCESS);
    wire_check_session(&got);
    check_backups(&got);
    sc_buf_free(&longer);
    sc_buf_free(&body);
    sc_buf_free(&b);
}

/* Messages as the version before locations wrote them, byte for byte. */
#define ID_HEX "c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3"
#define SESSION_HEX                                                                                \
    "450473686f70" ID_HEX "00880e959aef3ae724112233445566778899aabbcc026e3107"                     \
    "1600000000000000003700000005047573657203616e6e"
static const char created_hex[] = "01" SESSION_HEX;
static const char data_hex[] = "0c0c6302" SESSION_HEX SESSION_HEX;
static const char get_all_hex[] = "040c808080808080808010e0d403026e33020473686f7004626c6f67";
static const char complete_hex[] = "0e0c80808080808080020102";
static const char found_hex[] = "820473686f70" ID_HEX "01" SESSION_HEX;
static const char absent_hex[] = "820473686f70" ID_HEX "00";
static const char renamed_hex[] =
    "013b0473686f70" ID_HEX "010100e724112233445566778899aabbcc026e3100"
    "10e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5";

static unsigned char *from_hex(const char *hex, apr_size_t *len, sc_rd_t *r)
{
    unsigned char *bytes = malloc(strlen(hex) / 2);
    apr_size_t i;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    *len = strlen(hex) / 2;
    for (i = 0; i < *len; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        bytes[i] = (unsigned char)strtoul(two, NULL, 16);
    }
    CU_ASSERT_EQUAL(wire_read(bytes, *len), APR_SUCCESS);
    sc_rd_init(r, bytes, *len);
    (void)sc_get_u8(r);
    return bytes;
}

/* What is not in them is 0. */
static void test_earlier_versions(void)
{
    static sc_msg_get_all_t g;
    sc_msg_complete_t c;
    sc_msg_retrieve_t m;
    sc_wire_session_t s;
    sc_msg_data_t data;
    unsigned char *bytes;
    apr_size_t len;
    sc_rd_t r;
    int i;

    bytes = from_hex(created_hex, &len, &r);
    CU_ASSERT_EQUAL(sc_msg_created_get(&r, &s), APR_SUCCESS);
    wire_check_session(&s);
    CU_ASSERT_EQUAL(s.nbackups, 0);
    free(bytes);
    bytes = from_hex(data_hex, &len, &r);
    CU_ASSERT_EQUAL(sc_msg_data_get(&r, SC_EVT_ALL_SESSION_DATA, &data), APR_SUCCESS);
    for (i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(sc_wire_session_get(&r, &s), APR_SUCCESS);
        wire_check_session(&s);
        CU_ASSERT_EQUAL(s.nbackups, 0);
    }
    CU_ASSERT_EQUAL(sc_rd_left(&r), 0);
    free(bytes);
    bytes = from_hex(get_all_hex, &len, &r);
    memset(&g, 0xff, sizeof(g));
    CU_ASSERT_EQUAL(sc_msg_get_all_get(&r, &g), APR_SUCCESS);
    CU_ASSERT(g.serial == 12 && g.ncontexts == 2 && g.held == 0);
    free(bytes);
    bytes = from_hex(complete_hex, &len, &r);
    memset(&c, 0xff, sizeof(c));
    CU_ASSERT_EQUAL(sc_msg_complete_get(&r, &c), APR_SUCCESS);
    CU_ASSERT(c.serial == 12 && c.sent == 2 && c.loss == 0);
    free(bytes);
    bytes = from_hex(found_hex, &len, &r);
    memset(&m, 0xff, sizeof(m));
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
    CU_ASSERT(m.found == 1 && m.sure == 0 && m.session.nbackups == 0);
    wire_check_session(&m.session);
    free(bytes);
    bytes = from_hex(absent_hex, &len, &r);
    memset(&m, 0xff, sizeof(m));
    CU_ASSERT_EQUAL(sc_msg_retrieve_get(&r, SC_EVT_RETRIEVE_REPLY, &m), APR_SUCCESS);
    CU_ASSERT(m.found == 0 && m.sure == 0);
    free(bytes);
    bytes = from_hex(renamed_hex, &len, &r);
    CU_ASSERT_EQUAL(sc_msg_created_get(&r, &s), APR_SUCCESS);
    CU_ASSERT(s.flags == SC_REC_TOMBSTONE && s.heir.b[9] == 0xE5 && s.nbackups == 0);
    free(bytes);
}

/* Of a whole session: everything but its length, the backups left out. */
static void check_earlier_session(sc_rd_t *r, const unsigned char *want, apr_size_t want_len)
{
    apr_size_t len = 0;
    const unsigned char *p = sc_get_str(r, sc_rd_left(r), &len);

    CU_ASSERT_FATAL(p != NULL && len >= want_len);
    CU_ASSERT(memcmp(p, want, want_len) == 0);
}

/* The other way round: the earlier version finds in today's messages what it knows, byte for byte,
 * and what it skips comes behind that: behind a session's last known field, within its length. */
static void test_for_earlier_versions(void)
{
    static const struct {
        const char *hex;
        int which;
    } same[] = {{get_all_hex, 9}, {complete_hex, 12}};
    unsigned char *session, *bytes;
    apr_size_t session_len, len, i;
    sc_buf_t b;
    sc_rd_t r;

    sc_buf_init(&b, WIRE_LIMIT);
    for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        bytes = from_hex(same[i].hex, &len, &r);
        wire_sample(same[i].which, &b);
        CU_ASSERT(b.len > len && memcmp(b.data, bytes, len) == 0);
        free(bytes);
    }
    session = from_hex(created_hex, &session_len, &r);
    session_len -= 2; /* event and length */
    wire_sample(0, &b);
    begin(&r, &b, SC_EVT_SESSION_CREATED);
    check_earlier_session(&r, session + 2, session_len);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 0);
    wire_sample(10, &b);
    begin(&r, &b, SC_EVT_ALL_SESSION_DATA);
    (void)sc_get(&r, 3);
    check_earlier_session(&r, session + 2, session_len);
    check_earlier_session(&r, session + 2, session_len);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 0);
    wire_sample(15, &b);
    begin(&r, &b, SC_EVT_RETRIEVE_REPLY);
    (void)sc_get(&r, 5 + SC_ID_LEN + 1);
    check_earlier_session(&r, session + 2, session_len);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 1); /* sure */
    free(session);
    bytes = from_hex(absent_hex, &len, &r);
    wire_sample(16, &b);
    CU_ASSERT(b.len == len + 1 && memcmp(b.data, bytes, len) == 0);
    free(bytes);
    sc_buf_free(&b);
}

void sc_suite_message(void)
{
    CU_pSuite s = CU_add_suite("message", NULL, NULL);

    CU_add_test(s, "whole sessions there and back", test_sessions);
    CU_add_test(s, "fetches there and back", test_retrieve);
    CU_add_test(s, "an answer about another session", test_wrong_answer);
    CU_add_test(s, "changes there and back", test_changes);
    CU_add_test(s, "lists there and back", test_lists);
    CU_add_test(s, "state transfer there and back", test_transfer);
    CU_add_test(s, "backups of a session", test_backups);
    CU_add_test(s, "epochs", test_epochs);
    CU_add_test(s, "locations as answers", test_proxies);
    CU_add_test(s, "tombstones", test_tombstones);
    CU_add_test(s, "names of events", test_event_names);
    CU_add_test(s, "fields of later versions are skipped", test_later_versions);
    CU_add_test(s, "messages of the earlier version", test_earlier_versions);
    CU_add_test(s, "messages for the earlier version", test_for_earlier_versions);
    wire_add_places(s);
    wire_add_hostile(s);
}
