/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Session messages built from decisions: few ids, contexts, routes and stamps, so that they meet.
 */
#include <string.h>

#include "../../unit/message_rig.h"
#include "manager.h"
#include "sc_message.h"

#define LIMIT (64 * 1024)

static const char *const contexts[] = {"shop", "shop", "shop", "blog", "blog", "new"};
static const char *const routes[] = {"n1", "n2", "n3", "n4", "n9", ""};

const char *fuzz_context(unsigned int n)
{
    return contexts[n % (sizeof(contexts) / sizeof(contexts[0]))];
}

sc_id_t fuzz_id(unsigned int n)
{
    sc_id_t id;

    memset(id.b, (int)(n % 8 * 0x21), sizeof(id.b));
    return id;
}

static sc_text_t text(const char *s)
{
    sc_text_t t = {s, strlen(s)};

    return t;
}

static sc_text_t route(fuzz_in_t *in)
{
    return text(routes[fuzz_below(in, 6)]);
}

static sc_id_t any_id(fuzz_in_t *in)
{
    return fuzz_id(fuzz_u8(in));
}

static sc_stamp_t stamp(fuzz_in_t *in, apr_uint64_t hlc)
{
    sc_stamp_t s;
    unsigned int how = fuzz_u8(in);

    s.hlc = hlc - (apr_uint64_t)(how & 0x3f) * 0x10000 + 8 * 0x10000;
    if (how >= 0xf0) {
        s.hlc = how == 0xff ? fuzz_u64(in) : 0;
    }
    s.node = fuzz_below(in, 4);
    return s;
}

static apr_uint32_t epoch(fuzz_in_t *in)
{
    unsigned int how = fuzz_u8(in);

    return how < 0xfe ? how % 6 : how == 0xfe ? SC_EPOCH_MAX : fuzz_u32(in);
}

static void body(fuzz_in_t *in, sc_buf_t *b, apr_uint64_t hlc)
{
    static const char *const names[] = {"a", "b", "user"};
    unsigned int which = fuzz_u8(in);
    unsigned int i;
    sc_attr_t a;

    for (i = 0; i < 3; i++) {
        size_t n = 0;

        if (!(which >> i & 1)) {
            continue;
        }
        memset(&a, 0, sizeof(a));
        a.name = names[i];
        a.name_len = strlen(a.name);
        a.stamp = stamp(in, hlc);
        if (which >> i & 8) {
            a.flags = SC_ATTR_REMOVED;
        } else {
            a.value = (const char *)fuzz_text(in, 8192, &n);
            a.value_len = n;
        }
        sc_attr_put(b, &a);
    }
}

static void session(fuzz_in_t *in, sc_wire_session_t *s, sc_buf_t *content, apr_uint64_t hlc)
{
    unsigned int how = fuzz_u8(in);
    sc_text_t primary = route(in);
    unsigned int i;

    memset(s, 0, sizeof(*s));
    s->context = fuzz_context(fuzz_u8(in));
    s->context_len = strlen(s->context);
    s->id = any_id(in);
    s->max_idle_s = how & 0x10 ? (apr_uint32_t)fuzz_number(in) : 1800;
    s->age_ms = fuzz_number(in);
    s->idle_ms = fuzz_number(in);
    s->stamp = stamp(in, hlc);
    s->primary = primary.s;
    s->primary_len = primary.len;
    s->epoch = epoch(in);
    if ((how & 7) == 7) {
        s->flags = SC_REC_TOMBSTONE;
        s->max_idle_s = fuzz_below(in, 4);
        s->heir = any_id(in);
    } else if (how & 8) {
        s->flags = fuzz_u8(in);
    }
    sc_buf_clear(content);
    body(in, content, hlc);
    s->body = content->data;
    s->body_len = content->len;
    s->nbackups = how >> 5 & 3;
    for (i = 0; i < s->nbackups; i++) {
        s->backup[i] = route(in);
    }
}

void fuzz_session(fuzz_in_t *in, sc_buf_t *b, apr_uint64_t hlc)
{
    sc_wire_session_t s;
    sc_buf_t content;

    sc_buf_init(&content, LIMIT);
    session(in, &s, &content, hlc);
    sc_wire_session_put(b, &s);
    sc_buf_free(&content);
}

static void created(fuzz_in_t *in, sc_buf_t *b, sc_event_t event, apr_uint64_t hlc)
{
    sc_wire_session_t s;
    sc_buf_t content;

    sc_buf_init(&content, LIMIT);
    session(in, &s, &content, hlc);
    sc_msg_created_put(b, event, &s);
    sc_buf_free(&content);
}

static void delta(fuzz_in_t *in, sc_buf_t *b, sc_event_t event, apr_uint64_t hlc)
{
    sc_buf_t content;
    sc_msg_delta_t d;

    memset(&d, 0, sizeof(d));
    sc_buf_init(&content, LIMIT);
    d.context = text(fuzz_context(fuzz_u8(in)));
    d.id = any_id(in);
    d.new_id = any_id(in);
    d.flags = fuzz_below(in, 2);
    d.stamp = stamp(in, hlc);
    d.max_idle_s = (apr_uint32_t)fuzz_number(in);
    d.idle_ms = fuzz_number(in);
    d.epoch = epoch(in);
    body(in, &content, hlc);
    d.body = content.data;
    d.body_len = content.len;
    d.digest = fuzz_number(in);
    sc_msg_delta_put(b, event, &d);
    sc_buf_free(&content);
}

static void list(fuzz_in_t *in, sc_buf_t *b, sc_event_t event, apr_uint64_t hlc)
{
    unsigned int groups = fuzz_below(in, 3);
    sc_buf_t items;

    sc_buf_init(&items, LIMIT);
    sc_msg_groups_put(b, event, groups);
    while (groups-- > 0) {
        sc_group_t g;
        unsigned int n = fuzz_below(in, 6);

        memset(&g, 0, sizeof(g));
        sc_buf_clear(&items);
        g.context = text(fuzz_context(fuzz_u8(in)));
        g.reason =
            event == SC_EVT_SESSION_EXPIRED || event == SC_EVT_REMOVE ? 2 * fuzz_below(in, 2) : 0;
        for (; g.n < n; g.n++) {
            sc_id_t id = any_id(in);

            if (event == SC_EVT_SESSION_ACCESSED || event == SC_EVT_ACCESS) {
                sc_item_accessed_put(&items, &id, fuzz_number(in));
            } else {
                sc_stamp_t s = stamp(in, hlc);

                sc_item_expired_put(&items, &id, &s);
            }
        }
        g.items = items.data;
        g.items_len = items.len;
        sc_group_put(b, &g);
    }
    sc_buf_free(&items);
}

static void get_all(fuzz_in_t *in, sc_buf_t *b)
{
    sc_msg_get_all_t g;

    memset(&g, 0, sizeof(g));
    g.serial = fuzz_number(in);
    g.since = fuzz_number(in);
    g.recent_ms = fuzz_number(in);
    g.primary = route(in);
    g.maker = fuzz_below(in, 4);
    g.ncontexts = fuzz_below(in, 4);
    g.context[0] = text("shop");
    g.context[1] = text("blog");
    g.context[2] = text("new");
    g.held = fuzz_below(in, 2);
    g.knows = fuzz_below(in, 2);
    sc_msg_get_all_put(b, &g);
}

static void block(fuzz_in_t *in, sc_buf_t *b, sc_event_t event, apr_uint64_t hlc)
{
    sc_msg_data_t d;
    sc_wire_session_t s;
    sc_buf_t content;

    sc_buf_init(&content, LIMIT);
    d.serial = fuzz_number(in);
    d.total = fuzz_number(in);
    d.count = fuzz_below(in, 5);
    sc_msg_data_put(b, event, &d);
    while (d.count-- > 0) {
        session(in, &s, &content, hlc);
        sc_wire_session_put(b, &s);
    }
    sc_buf_free(&content);
}

static void complete(fuzz_in_t *in, sc_buf_t *b)
{
    sc_msg_complete_t c;

    c.serial = fuzz_number(in);
    c.lsn = fuzz_number(in);
    c.ready = fuzz_below(in, 2);
    c.sent = fuzz_number(in);
    c.loss = fuzz_number(in);
    c.forgot = fuzz_number(in);
    sc_msg_complete_put(b, &c);
}

static void retrieve(fuzz_in_t *in, sc_buf_t *b, sc_event_t event, apr_uint64_t hlc)
{
    sc_msg_retrieve_t m;
    sc_buf_t content;

    memset(&m, 0, sizeof(m));
    sc_buf_init(&content, LIMIT);
    session(in, &m.session, &content, hlc);
    m.context.s = m.session.context;
    m.context.len = m.session.context_len;
    m.id = m.session.id;
    m.serial = fuzz_number(in);
    m.found = fuzz_below(in, 2);
    m.sure = fuzz_below(in, 2);
    sc_msg_retrieve_put(b, event, &m);
    sc_buf_free(&content);
}

static void ping(fuzz_in_t *in, sc_buf_t *b)
{
    sc_msg_ping_t p;
    apr_uint32_t i;

    memset(&p, 0, sizeof(p));
    p.sent = fuzz_number(in);
    p.healed = fuzz_number(in);
    p.clock = fuzz_number(in);
    p.nmembers = fuzz_below(in, 6);
    for (i = 0; i < p.nmembers; i++) {
        p.member[i] = 1000 + fuzz_below(in, 6);
    }
    p.hung = fuzz_u8(in);
    sc_msg_ping_put(b, &p);
}

static void ping_reply(fuzz_in_t *in, sc_buf_t *b)
{
    sc_msg_ping_reply_t p;

    p.sent = fuzz_number(in);
    p.loss = fuzz_number(in);
    p.granted = fuzz_below(in, 2);
    p.transfer = fuzz_number(in);
    p.introduced = fuzz_below(in, 2);
    sc_msg_ping_reply_put(b, &p);
}

/* event | serial | flags | names | groups: context, number, items */
static void places(fuzz_in_t *in, sc_buf_t *b, sc_event_t event)
{
    unsigned int nroutes = fuzz_below(in, 6);
    unsigned int groups = fuzz_below(in, 3);
    sc_buf_t items;
    unsigned int i;

    sc_buf_init(&items, LIMIT);
    sc_put_u8(b, event);
    sc_put_varint(b, fuzz_number(in));
    sc_put_varint(b, fuzz_below(in, 2));
    sc_put_varint(b, nroutes);
    for (i = 0; i < nroutes; i++) {
        sc_put_str(b, routes[i], strlen(routes[i]));
    }
    sc_put_varint(b, groups);
    while (groups-- > 0) {
        unsigned int n = fuzz_below(in, 6);
        const char *context = fuzz_context(fuzz_u8(in));

        sc_buf_clear(&items);
        for (i = 0; i < n; i++) {
            unsigned int how = fuzz_u8(in);
            unsigned int backups = how >> 4 & 3;
            sc_id_t id = any_id(in);

            sc_put(&items, id.b, sizeof(id.b));
            sc_put_varint(&items, 1 + epoch(in));
            sc_put_varint(&items, how & 7);
            backups = (how & 7) == 0 ? 0 : backups;
            sc_put_varint(&items, backups * 2 + ((how & 8) && (how & 7)));
            while (backups-- > 0) {
                sc_put_varint(&items, 1 + fuzz_below(in, 5));
            }
            if ((how & 8) && (how & 7)) {
                sc_put_u64(&items, fuzz_number(in));
            }
        }
        sc_put_str(b, context, strlen(context));
        sc_put_varint(b, n);
        sc_put_str(b, items.data, items.len);
    }
    sc_buf_free(&items);
}

static void digest(fuzz_in_t *in, sc_buf_t *b)
{
    static sc_msg_digest_t d;
    unsigned int n;

    memset(&d, 0, sizeof(d));
    d.serial = fuzz_number(in);
    d.ncontexts = fuzz_below(in, 3);
    d.context[0] = text("shop");
    d.context[1] = text("blog");
    for (n = fuzz_below(in, 8); n > 0; n--) {
        d.sum[fuzz_u8(in)] = fuzz_number(in);
    }
    sc_msg_digest_put(b, &d);
}

static void digest_list(fuzz_in_t *in, sc_buf_t *b)
{
    sc_msg_digest_list_t d;
    unsigned int first = fuzz_u8(in);
    sc_buf_t items;

    memset(&d, 0, sizeof(d));
    sc_buf_init(&items, LIMIT);
    d.serial = fuzz_number(in);
    d.context = text(fuzz_below(in, 4) == 0 ? "" : fuzz_context(fuzz_u8(in)));
    d.range = fuzz_u8(in);
    memset(d.from.b, (int)d.range, sizeof(d.from.b));
    memset(d.upto.b, 0xff, sizeof(d.upto.b));
    d.from.b[15] = 0;
    d.upto.b[0] = (unsigned char)d.range;
    for (; first < 8 && d.n < 4; first++, d.n++) {
        sc_id_t id = fuzz_id(first);

        sc_item_digest_put(&items, &id, fuzz_number(in));
    }
    d.items = items.data;
    d.items_len = items.len;
    sc_msg_digest_list_put(b, &d);
    sc_buf_free(&items);
}

static void small(fuzz_in_t *in, sc_buf_t *b, sc_event_t event)
{
    sc_text_t context = text(fuzz_context(fuzz_u8(in)));
    sc_msg_take_t take;

    switch (event) {
    case SC_EVT_ALL_SESSION_NOCONTEXTMANAGER:
        sc_msg_nocontext_put(b, &context);
        break;
    case SC_EVT_STATE:
        sc_msg_state_put(b, fuzz_number(in));
        break;
    default:
        take.context = context;
        take.id = any_id(in);
        take.epoch = 1 + epoch(in);
        sc_msg_take_put(b, &take);
        break;
    }
}

void fuzz_record(fuzz_in_t *in, sc_buf_t *b, apr_uint64_t hlc)
{
    static const unsigned char events[] = {WIRE_EVENTS};
    sc_event_t event = (sc_event_t)events[fuzz_below(in, sizeof(events))];

    switch (event) {
    case SC_EVT_SESSION_CREATED:
    case SC_EVT_BACKUP:
        created(in, b, event, hlc);
        break;
    case SC_EVT_SESSION_DELTA:
    case SC_EVT_BACKUP_DIFF:
    case SC_EVT_CHANGE_SESSION_ID:
        delta(in, b, event, hlc);
        break;
    case SC_EVT_SESSION_ACCESSED:
    case SC_EVT_ACCESS:
    case SC_EVT_SESSION_EXPIRED:
    case SC_EVT_REMOVE:
        list(in, b, event, hlc);
        break;
    case SC_EVT_GET_ALL_SESSIONS:
        get_all(in, b);
        break;
    case SC_EVT_ALL_SESSION_DATA:
    case SC_EVT_COPY:
        block(in, b, event, hlc);
        break;
    case SC_EVT_ALL_SESSION_TRANSFERCOMPLETE:
        complete(in, b);
        break;
    case SC_EVT_RETRIEVE:
    case SC_EVT_RETRIEVE_REPLY:
        retrieve(in, b, event, hlc);
        break;
    case SC_EVT_PROXY:
    case SC_EVT_NOTIFY:
    case SC_EVT_NOTIFY_REPLY:
        places(in, b, event);
        break;
    case SC_EVT_PING:
        ping(in, b);
        break;
    case SC_EVT_PING_REPLY:
        ping_reply(in, b);
        break;
    case SC_EVT_DIGEST:
        digest(in, b);
        break;
    case SC_EVT_DIGEST_LIST:
        digest_list(in, b);
        break;
    default:
        small(in, b, event);
        break;
    }
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static apr_status_t read_digest(sc_rd_t *r)
{
    static sc_msg_digest_t d;
    apr_uint32_t i;

    if (sc_msg_digest_get(r, &d) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    FUZZ_CHECK(d.ncontexts <= SC_CONTEXTS_MAX);
    for (i = 0; i < d.ncontexts; i++) {
        FUZZ_CHECK(d.context[i].len > 0 && d.context[i].len <= SC_CONTEXT_MAX);
    }
    return APR_SUCCESS;
}

static apr_status_t read_digest_list(sc_rd_t *r)
{
    sc_msg_digest_list_t d;
    apr_uint64_t i, sum;
    sc_id_t last, id;
    sc_rd_t items;

    if (sc_msg_digest_list_get(r, &d) != APR_SUCCESS) {
        return APR_EINVAL;
    }
    sc_rd_init(&items, d.items, d.items_len);
    if (d.context.len == 0) {
        return APR_SUCCESS; /* names, not ids */
    }
    FUZZ_CHECK(d.context.len <= SC_CONTEXT_MAX && d.n <= SC_DIGEST_ITEMS);
    for (i = 0; i < d.n; i++) {
        FUZZ_CHECK(sc_item_digest_get(&items, &id, &sum) == APR_SUCCESS);
        FUZZ_CHECK(i == 0 || memcmp(&last, &id, sizeof(id)) < 0);
        last = id;
    }
    return APR_SUCCESS;
}

apr_status_t fuzz_read(const void *bytes, apr_size_t len)
{
    unsigned int event;
    sc_rd_t r;

    sc_rd_init(&r, bytes, len);
    event = sc_get_u8(&r);
    switch (event) {
    case SC_EVT_DIGEST:
        return read_digest(&r);
    case SC_EVT_DIGEST_LIST:
        return read_digest_list(&r);
    default:
        return wire_read(bytes, len);
    }
}
