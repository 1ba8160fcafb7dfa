/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Samples of all session messages, and a reader that holds their codecs to their promises.
 */
#include <string.h>

#include <CUnit/CUnit.h>

#include "message_rig.h"

sc_text_t wire_text(const char *s)
{
    sc_text_t t = {s, strlen(s)};

    return t;
}

int wire_is_text(const char *s, apr_size_t len, const char *want)
{
    return len == strlen(want) && memcmp(s, want, len) == 0;
}

/* ---- samples --------------------------------------------------------------------------------- */

void wire_body(sc_buf_t *b)
{
    sc_attr_t a;

    sc_buf_init(b, WIRE_LIMIT);
    memset(&a, 0, sizeof(a));
    a.name = "user";
    a.name_len = 4;
    a.value = "ann";
    a.value_len = 3;
    a.stamp.hlc = 55;
    a.stamp.node = 5;
    sc_attr_put(b, &a);
}

void wire_session(sc_wire_session_t *s, const sc_buf_t *body)
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
    s->nbackups = 2;
    s->backup[0] = wire_text("n2");
    s->backup[1] = wire_text("node3");
}

void wire_check_session(const sc_wire_session_t *s)
{
    CU_ASSERT(wire_is_text(s->context, s->context_len, "shop"));
    CU_ASSERT_EQUAL(s->id.b[15], 0xC3);
    CU_ASSERT_EQUAL(s->max_idle_s, 1800);
    CU_ASSERT_EQUAL(s->age_ms, 123456789);
    CU_ASSERT_EQUAL(s->idle_ms, 4711);
    CU_ASSERT_EQUAL(s->stamp.hlc, 0x1122334455667788ull);
    CU_ASSERT_EQUAL(s->stamp.node, 0x99aabbccu);
    CU_ASSERT(wire_is_text(s->primary, s->primary_len, "n1"));
    CU_ASSERT_EQUAL(s->epoch, 7);
    CU_ASSERT_EQUAL(sc_body_payload(s->body, s->body_len), 7);
}

void wire_place(sc_place_t *p)
{
    memset(p, 0, sizeof(*p));
    memset(p->id.b, 0xA1, sizeof(p->id.b));
    p->epoch = 300;
    p->primary = 1;
    p->nbackups = 2;
    p->backup[0] = 2;
    p->backup[1] = 3;
    p->digest = 0x0102030405060708ull;
}

void wire_place_put(sc_buf_t *items, const sc_place_t *p)
{
    apr_uint32_t i;

    sc_put(items, p->id.b, sizeof(p->id.b));
    sc_put_varint(items, p->epoch);
    sc_put_varint(items, p->primary);
    sc_put_varint(items, (apr_uint64_t)p->nbackups * 4 + (p->number != 0) * 2u + (p->digest != 0));
    for (i = 0; i < p->nbackups && i < SC_BACKUPS_MAX; i++) {
        sc_put_varint(items, p->backup[i]);
    }
    if (p->number != 0) {
        sc_put_varint(items, p->number);
    }
    if (p->digest != 0) {
        sc_put_u64(items, p->digest);
    }
}

void wire_list(sc_buf_t *b, sc_event_t event)
{
    sc_place_t full, bare;
    sc_buf_t items;

    wire_place(&full);
    memset(&bare, 0, sizeof(bare));
    memset(bare.id.b, 0xB2, sizeof(bare.id.b));
    bare.epoch = 1;
    sc_buf_init(&items, WIRE_LIMIT);
    wire_place_put(&items, &full);
    wire_place_put(&items, &bare);
    sc_put_u8(b, event);
    sc_put_varint(b, 77);
    sc_put_varint(b, SC_PLACES_LAST);
    sc_put_varint(b, 3);
    sc_put_str(b, "n1", 2);
    sc_put_str(b, "n2", 2);
    sc_put_str(b, "n3", 2);
    sc_put_varint(b, 2);
    sc_put_str(b, "shop", 4);
    sc_put_varint(b, 2);
    sc_put_str(b, items.data, items.len);
    sc_put_str(b, "blog", 4);
    sc_put_varint(b, 2);
    sc_put_str(b, items.data, items.len);
    sc_buf_free(&items);
}

static void sample_changes(int which, sc_buf_t *b, const sc_wire_session_t *s)
{
    static const sc_event_t events[] = {SC_EVT_SESSION_DELTA, SC_EVT_CHANGE_SESSION_ID,
                                        SC_EVT_BACKUP_DIFF};
    sc_msg_delta_t d;

    memset(&d, 0, sizeof(d));
    d.context = wire_text("shop");
    d.id = s->id;
    memset(d.new_id.b, 0xD4, sizeof(d.new_id.b));
    d.flags = SC_MSG_PRIMARY;
    d.stamp = s->stamp;
    d.max_idle_s = 60;
    d.idle_ms = 3;
    d.epoch = 2;
    d.body = s->body;
    d.body_len = s->body_len;
    d.digest = 0x0807060504030201ull;
    sc_msg_delta_put(b, events[which], &d);
}

static void sample_lists(int which, sc_buf_t *b, const sc_wire_session_t *s)
{
    static const sc_event_t events[] = {SC_EVT_SESSION_ACCESSED, SC_EVT_ACCESS,
                                        SC_EVT_SESSION_EXPIRED, SC_EVT_REMOVE};
    sc_group_t group;
    sc_buf_t items;
    int i;

    memset(&group, 0, sizeof(group));
    sc_buf_init(&items, WIRE_LIMIT);
    for (i = 0; i < 2; i++) {
        if (which < 2) {
            sc_item_accessed_put(&items, &s->id, i == 0 ? 1 : 1000000);
        } else {
            sc_item_expired_put(&items, &s->id, &s->stamp);
        }
    }
    group.context = wire_text("shop");
    group.reason = which < 2 ? 0 : SC_DEAD_IDLE;
    group.n = 2;
    group.items = items.data;
    group.items_len = items.len;
    sc_msg_groups_put(b, events[which], 2);
    sc_group_put(b, &group);
    sc_group_put(b, &group);
    sc_buf_free(&items);
}

static void sample_transfer(int which, sc_buf_t *b, const sc_wire_session_t *s)
{
    sc_msg_complete_t complete = {12, 1ull << 50, 1, 2, 300, 0};
    sc_msg_data_t data = {12, 99, 2};
    sc_text_t name = wire_text("shop");
    sc_msg_get_all_t g;

    switch (which) {
    case 0:
        memset(&g, 0, sizeof(g));
        g.serial = 12;
        g.since = 1ull << 60;
        g.recent_ms = 60000;
        g.primary = wire_text("n3");
        g.ncontexts = 2;
        g.context[0] = name;
        g.context[1] = wire_text("blog");
        g.held = 1;
        g.knows = 1;
        g.maker = 0xFFFFFFFFu;
        sc_msg_get_all_put(b, &g);
        break;
    case 1:
    case 2:
        sc_msg_data_put(b, which == 1 ? SC_EVT_ALL_SESSION_DATA : SC_EVT_COPY, &data);
        sc_wire_session_put(b, s);
        sc_wire_session_put(b, s);
        break;
    case 3:
        sc_msg_complete_put(b, &complete);
        break;
    default:
        sc_msg_nocontext_put(b, &name);
        break;
    }
}

/* The question, and the answers: found, not found, dead, only its location. */
static void sample_retrieve(int which, sc_buf_t *b, const sc_wire_session_t *s)
{
    sc_msg_retrieve_t m;

    memset(&m, 0, sizeof(m));
    m.context = wire_text("shop");
    m.id = s->id;
    m.found = which != 2;
    m.sure = 1;
    m.session = *s;
    if (which == 3) {
        m.session.flags = SC_REC_TOMBSTONE;
        m.session.max_idle_s = SC_DEAD_RENAMED;
        memset(m.session.heir.b, 0xE5, sizeof(m.session.heir.b));
    } else if (which == 4) {
        m.session.flags = SC_REC_PROXY;
    }
    sc_msg_retrieve_put(b, which == 0 ? SC_EVT_RETRIEVE : SC_EVT_RETRIEVE_REPLY, &m);
}

static void sample_others(int which, sc_buf_t *b, const sc_wire_session_t *s)
{
    static const sc_event_t lists[] = {SC_EVT_PROXY, SC_EVT_NOTIFY, SC_EVT_NOTIFY_REPLY};
    sc_msg_ping_reply_t reply = {1ull << 41, 5, 1, 77, 1};
    sc_msg_take_t take = {{"shop", 4}, s->id, 300};
    sc_msg_ping_t ping;

    switch (which) {
    case 0:
        memset(&ping, 0, sizeof(ping));
        ping.sent = 1ull << 41;
        ping.healed = 5;
        ping.clock = 1ull << 40;
        ping.nmembers = 2;
        ping.member[0] = 0x1111111111111111ull;
        ping.member[1] = APR_UINT64_MAX;
        sc_msg_ping_put(b, &ping);
        break;
    case 1:
        sc_msg_ping_reply_put(b, &reply);
        break;
    case 2:
    case 3:
    case 4:
        wire_list(b, lists[which - 2]);
        break;
    case 5:
        sc_msg_state_put(b, 1234567);
        break;
    default:
        sc_msg_take_put(b, &take);
        break;
    }
}

void wire_sample(int which, sc_buf_t *b)
{
    sc_wire_session_t s;
    sc_buf_t body;

    wire_body(&body);
    wire_session(&s, &body);
    sc_buf_clear(b);
    if (which < 2) {
        sc_msg_created_put(b, which == 0 ? SC_EVT_SESSION_CREATED : SC_EVT_BACKUP, &s);
    } else if (which < 5) {
        sample_changes(which - 2, b, &s);
    } else if (which < 9) {
        sample_lists(which - 5, b, &s);
    } else if (which < 14) {
        sample_transfer(which - 9, b, &s);
    } else if (which < 19) {
        sample_retrieve(which - 14, b, &s);
    } else if (which < 26) {
        sample_others(which - 19, b, &s);
    } else {
        s.flags = SC_REC_TOMBSTONE;
        s.max_idle_s = SC_DEAD_IDLE;
        s.body_len = 0;
        sc_msg_created_put(b, SC_EVT_SESSION_CREATED, &s);
    }
    sc_buf_free(&body);
}

apr_size_t wire_later(int which)
{
    if (which == 12) {
        return 2; /* the losses of TRANSFERCOMPLETE */
    }
    if (which == 9) {
        return 6; /* flags and maker of GET_ALL */
    }
    return which >= 15 && which <= 18; /* replies to RETRIEVE */
}

/* ---- reading --------------------------------------------------------------------------------- */

/* One assertion for all that can be wrong: there are millions of calls. */
#define PROMISED(condition)                                                                        \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            CU_ASSERT(condition);                                                                  \
        }                                                                                          \
    } while (0)

static int name_ok(const char *s, apr_size_t len, apr_size_t max)
{
    return s != NULL && len > 0 && len <= max && memchr(s, 0, len) == NULL;
}

static void check_session(const sc_wire_session_t *s, int may_be_proxy)
{
    int dead = (s->flags & SC_REC_TOMBSTONE) != 0, proxy = (s->flags & SC_REC_PROXY) != 0;
    apr_uint32_t i, k;

    PROMISED(name_ok(s->context, s->context_len, SC_CONTEXT_MAX));
    PROMISED(s->primary_len == 0 || name_ok(s->primary, s->primary_len, SC_ROUTE_MAX));
    PROMISED(s->epoch <= SC_EPOCH_MAX);
    PROMISED(s->nbackups <= SC_BACKUPS_MAX);
    PROMISED(!proxy || (may_be_proxy && !dead && s->primary_len > 0 && s->epoch > 0));
    PROMISED(!(dead || proxy) || s->body_len == 0);
    PROMISED(!dead || (s->nbackups == 0 && s->max_idle_s <= SC_DEAD_IDLE));
    PROMISED(dead || proxy || sc_body_check(s->body, s->body_len) == APR_SUCCESS);
    PROMISED(s->nbackups == 0 || s->epoch > 0);
    for (i = 0; i < s->nbackups && i < SC_BACKUPS_MAX; i++) {
        PROMISED(name_ok(s->backup[i].s, s->backup[i].len, SC_ROUTE_MAX));
        PROMISED(s->backup[i].len != s->primary_len ||
                 memcmp(s->backup[i].s, s->primary, s->primary_len) != 0);
        for (k = 0; k < i; k++) {
            PROMISED(s->backup[i].len != s->backup[k].len ||
                     memcmp(s->backup[i].s, s->backup[k].s, s->backup[k].len) != 0);
        }
    }
}

static apr_status_t read_created(sc_rd_t *r)
{
    sc_wire_session_t s;

    if (sc_msg_created_get(r, &s) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    check_session(&s, 0);
    return APR_SUCCESS;
}

static apr_status_t read_delta(sc_rd_t *r, sc_event_t event)
{
    sc_msg_delta_t d;

    if (sc_msg_delta_get(r, event, &d) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    PROMISED(name_ok(d.context.s, d.context.len, SC_CONTEXT_MAX));
    PROMISED(d.epoch <= SC_EPOCH_MAX);
    PROMISED(sc_body_check(d.body, d.body_len) == APR_SUCCESS);
    PROMISED(event != SC_EVT_CHANGE_SESSION_ID || memcmp(&d.id, &d.new_id, sizeof(d.id)) != 0);
    return APR_SUCCESS;
}

static apr_status_t read_groups(sc_rd_t *r, sc_event_t event)
{
    int accessed = event == SC_EVT_SESSION_ACCESSED || event == SC_EVT_ACCESS;
    apr_uint64_t ngroups, i, k, idle;
    sc_stamp_t stamp;
    sc_group_t group;
    sc_rd_t items;
    sc_id_t id;

    if (sc_msg_groups_get(r, event, &ngroups) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    for (i = 0; i < ngroups; i++) {
        CU_ASSERT_EQUAL_FATAL(sc_group_get(r, &group), APR_SUCCESS);
        PROMISED(name_ok(group.context.s, group.context.len, SC_CONTEXT_MAX));
        PROMISED(group.reason == SC_DEAD_INVALIDATED || group.reason == SC_DEAD_IDLE);
        sc_rd_init(&items, group.items, group.items_len);
        for (k = 0; k < group.n; k++) {
            CU_ASSERT_EQUAL_FATAL(accessed ? sc_item_accessed_get(&items, &id, &idle)
                                           : sc_item_expired_get(&items, &id, &stamp),
                                  APR_SUCCESS); /* promised by sc_msg_groups_get */
        }
    }
    return APR_SUCCESS;
}

static apr_status_t read_get_all(sc_rd_t *r)
{
    static sc_msg_get_all_t g;
    apr_uint32_t i;

    if (sc_msg_get_all_get(r, &g) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    PROMISED(g.ncontexts <= SC_CONTEXTS_MAX && g.held <= 1 && g.knows <= 1);
    PROMISED(g.primary.len == 0 || name_ok(g.primary.s, g.primary.len, SC_ROUTE_MAX));
    for (i = 0; i < g.ncontexts; i++) {
        PROMISED(name_ok(g.context[i].s, g.context[i].len, SC_CONTEXT_MAX));
    }
    return APR_SUCCESS;
}

static apr_status_t read_data(sc_rd_t *r, sc_event_t event)
{
    sc_wire_session_t s;
    sc_msg_data_t data;
    apr_uint64_t i;

    if (sc_msg_data_get(r, event, &data) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    for (i = 0; i < data.count; i++) {
        if (sc_wire_session_get(r, &s) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        check_session(&s, 0);
    }
    return APR_SUCCESS;
}

static apr_status_t read_retrieve(sc_rd_t *r, sc_event_t event)
{
    sc_msg_retrieve_t m;

    if (sc_msg_retrieve_get(r, event, &m) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    PROMISED(name_ok(m.context.s, m.context.len, SC_CONTEXT_MAX));
    PROMISED(m.found <= 1 && m.sure <= 1);
    PROMISED(event == SC_EVT_RETRIEVE_REPLY || (!m.found && !m.sure));
    if (m.found) {
        check_session(&m.session, 1);
        PROMISED(memcmp(&m.id, &m.session.id, sizeof(m.id)) == 0);
        PROMISED(m.context.len == m.session.context_len &&
                 memcmp(m.context.s, m.session.context, m.context.len) == 0);
    }
    return APR_SUCCESS;
}

static void check_place(const sc_place_t *p, apr_uint32_t nroutes)
{
    apr_uint32_t i, k;

    PROMISED(p->epoch >= 1 && p->epoch <= SC_EPOCH_MAX);
    PROMISED(p->primary < nroutes);
    PROMISED(p->nbackups <= SC_BACKUPS_MAX);
    PROMISED(p->primary != 0 || (p->nbackups == 0 && p->digest == 0));
    for (i = 0; i < p->nbackups && i < SC_BACKUPS_MAX; i++) {
        PROMISED(p->backup[i] > 0 && p->backup[i] < nroutes && p->backup[i] != p->primary);
        for (k = 0; k < i; k++) {
            PROMISED(p->backup[i] != p->backup[k]);
        }
    }
}

static apr_status_t read_places(sc_rd_t *r)
{
    static sc_msg_places_t m;
    apr_uint64_t i, n;
    apr_uint32_t k, j;
    sc_group_t group;
    sc_place_t p;
    sc_rd_t items;

    if (sc_msg_places_get(r, &m) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    PROMISED(m.nroutes >= 1 && m.nroutes <= SC_ROUTES_MAX && m.route[0].len == 0);
    for (k = 1; k < m.nroutes && k < SC_ROUTES_MAX; k++) {
        PROMISED(name_ok(m.route[k].s, m.route[k].len, SC_ROUTE_MAX));
        for (j = 1; j < k; j++) {
            PROMISED(m.route[j].len != m.route[k].len ||
                     memcmp(m.route[j].s, m.route[k].s, m.route[k].len) != 0);
        }
    }
    for (i = 0; i < m.ngroups; i++) {
        CU_ASSERT_EQUAL_FATAL(sc_places_group_get(r, &group), APR_SUCCESS);
        PROMISED(name_ok(group.context.s, group.context.len, SC_CONTEXT_MAX));
        sc_rd_init(&items, group.items, group.items_len);
        for (n = 0; n < group.n; n++) {
            CU_ASSERT_EQUAL_FATAL(sc_place_get(&items, &p), APR_SUCCESS); /* promised */
            check_place(&p, m.nroutes);
        }
        PROMISED(sc_rd_left(&items) == 0);
    }
    return APR_SUCCESS;
}

static apr_status_t read_lease(sc_rd_t *r, unsigned int event)
{
    sc_msg_ping_reply_t reply;
    sc_msg_ping_t ping;

    if (event == SC_EVT_PING) {
        if (sc_msg_ping_get(r, &ping) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        PROMISED(ping.nmembers <= SC_MEMBERS_MAX);
        return APR_SUCCESS;
    }
    if (sc_msg_ping_reply_get(r, &reply) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    PROMISED(reply.granted <= 1);
    return APR_SUCCESS;
}

static apr_status_t read_small(sc_rd_t *r, unsigned int event)
{
    sc_msg_complete_t c;
    sc_msg_take_t take;
    apr_uint64_t serial;
    sc_text_t name;

    switch (event) {
    case SC_EVT_ALL_SESSION_TRANSFERCOMPLETE:
        if (sc_msg_complete_get(r, &c) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        PROMISED(c.ready <= 1);
        return APR_SUCCESS;
    case SC_EVT_ALL_SESSION_NOCONTEXTMANAGER:
        if (sc_msg_nocontext_get(r, &name) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        PROMISED(name_ok(name.s, name.len, SC_CONTEXT_MAX));
        return APR_SUCCESS;
    case SC_EVT_STATE:
        return sc_msg_state_get(r, &serial);
    case SC_EVT_TAKE:
        if (sc_msg_take_get(r, &take) != APR_SUCCESS) {
            return APR_EINVAL;
        }
        PROMISED(name_ok(take.context.s, take.context.len, SC_CONTEXT_MAX));
        PROMISED(take.epoch >= 1 && take.epoch <= SC_EPOCH_MAX);
        return APR_SUCCESS;
    default:
        return APR_EINVAL;
    }
}

apr_status_t wire_read(const void *bytes, apr_size_t len)
{
    unsigned int event;
    sc_rd_t r;

    sc_rd_init(&r, bytes, len);
    event = sc_get_u8(&r);
    switch (event) {
    case SC_EVT_SESSION_CREATED:
    case SC_EVT_BACKUP:
        return read_created(&r);
    case SC_EVT_SESSION_DELTA:
    case SC_EVT_BACKUP_DIFF:
    case SC_EVT_CHANGE_SESSION_ID:
        return read_delta(&r, (sc_event_t)event);
    case SC_EVT_SESSION_ACCESSED:
    case SC_EVT_ACCESS:
    case SC_EVT_SESSION_EXPIRED:
    case SC_EVT_REMOVE:
        return read_groups(&r, (sc_event_t)event);
    case SC_EVT_GET_ALL_SESSIONS:
        return read_get_all(&r);
    case SC_EVT_ALL_SESSION_DATA:
    case SC_EVT_COPY:
        return read_data(&r, (sc_event_t)event);
    case SC_EVT_RETRIEVE:
    case SC_EVT_RETRIEVE_REPLY:
        return read_retrieve(&r, (sc_event_t)event);
    case SC_EVT_PROXY:
    case SC_EVT_NOTIFY:
    case SC_EVT_NOTIFY_REPLY:
        return read_places(&r);
    case SC_EVT_PING:
    case SC_EVT_PING_REPLY:
        return read_lease(&r, event);
    default:
        return read_small(&r, event);
    }
}
