/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Session messages as bytes: sessions, changes, lists, state transfer, fetches. Locations are in
 * message_places.c, leases in message_lease.c.
 *
 * A reader checks everything it returns and says nothing about what it does not know: bytes behind
 * the last known field belong to a later version. A whole session carries its own length, so later
 * versions can add fields inside a block of sessions too. The other way round, a message of an
 * earlier version ends before the fields that came later: they are 0 then.
 *
 * Readers begin after the event byte, which the caller has looked at to choose one of them.
 */
#include <string.h>

#include "message_parts.h"

static const struct {
    unsigned int event;
    const char *name;
} event_names[] = {
    {SC_EVT_SESSION_CREATED, "SESSION_CREATED"},
    {SC_EVT_SESSION_EXPIRED, "SESSION_EXPIRED"},
    {SC_EVT_SESSION_ACCESSED, "SESSION_ACCESSED"},
    {SC_EVT_GET_ALL_SESSIONS, "GET_ALL_SESSIONS"},
    {SC_EVT_ALL_SESSION_DATA, "ALL_SESSION_DATA"},
    {SC_EVT_SESSION_DELTA, "SESSION_DELTA"},
    {SC_EVT_ALL_SESSION_TRANSFERCOMPLETE, "ALL_SESSION_TRANSFERCOMPLETE"},
    {SC_EVT_CHANGE_SESSION_ID, "CHANGE_SESSION_ID"},
    {SC_EVT_ALL_SESSION_NOCONTEXTMANAGER, "ALL_SESSION_NOCONTEXTMANAGER"},
    {SC_EVT_BACKUP, "BACKUP"},
    {SC_EVT_RETRIEVE, "RETRIEVE"},
    {SC_EVT_PROXY, "PROXY"},
    {SC_EVT_REMOVE, "REMOVE"},
    {SC_EVT_STATE, "STATE"},
    {SC_EVT_COPY, "COPY"},
    {SC_EVT_ACCESS, "ACCESS"},
    {SC_EVT_NOTIFY, "NOTIFY"},
    {SC_EVT_PING, "PING"},
    {SC_EVT_BACKUP_DIFF, "BACKUP_DIFF"},
    {SC_EVT_DIGEST, "DIGEST"},
    {SC_EVT_DIGEST_LIST, "DIGEST_LIST"},
    {SC_EVT_TAKE, "TAKE"},
    {SC_EVT_RETRIEVE_REPLY, "RETRIEVE_REPLY"},
    {SC_EVT_NOTIFY_REPLY, "NOTIFY_REPLY"},
    {SC_EVT_PING_REPLY, "PING_REPLY"},
};

const char *sc_event_name(unsigned int event)
{
    apr_size_t i;

    for (i = 0; i < sizeof(event_names) / sizeof(event_names[0]); i++) {
        if (event_names[i].event == event) {
            return event_names[i].name;
        }
    }
    return "unknown";
}

/* ---- parts ---------------------------------------------------------------------------------- */

sc_text_t sc_part_text(sc_rd_t *r, apr_size_t max, int may_be_empty)
{
    sc_text_t t;

    t.s = (const char *)sc_get_str(r, max, &t.len);
    if (t.s == NULL || (t.len == 0 && !may_be_empty) ||
        (t.len > 0 && memchr(t.s, 0, t.len) != NULL)) {
        r->bad = 1;
    }
    return t;
}

int sc_part_same(const sc_text_t *a, const sc_text_t *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->s, b->s, a->len) == 0);
}

void sc_part_put_id(sc_buf_t *b, const sc_id_t *id)
{
    sc_put(b, id->b, sizeof(id->b));
}

void sc_part_get_id(sc_rd_t *r, sc_id_t *id)
{
    const unsigned char *p = sc_get(r, sizeof(id->b));

    if (p != NULL) {
        memcpy(id->b, p, sizeof(id->b));
    } else {
        memset(id->b, 0, sizeof(id->b));
    }
}

void sc_part_put_stamp(sc_buf_t *b, const sc_stamp_t *s)
{
    sc_put_u64(b, s->hlc);
    sc_put_u32(b, s->node);
}

void sc_part_get_stamp(sc_rd_t *r, sc_stamp_t *s)
{
    s->hlc = sc_get_u64(r);
    s->node = sc_get_u32(r);
}

apr_uint32_t sc_part_number(sc_rd_t *r)
{
    apr_uint64_t v = sc_get_varint(r);

    if (v > APR_UINT32_MAX) {
        r->bad = 1;
        return 0;
    }
    return (apr_uint32_t)v;
}

apr_uint32_t sc_part_yes(sc_rd_t *r)
{
    return sc_part_number(r) != 0;
}

apr_uint32_t sc_part_epoch(sc_rd_t *r, apr_uint32_t least)
{
    apr_uint32_t epoch = sc_part_number(r);

    if (epoch < least || epoch > SC_EPOCH_MAX) {
        r->bad = 1;
        return 0;
    }
    return epoch;
}

apr_size_t sc_part_str_size(apr_size_t n)
{
    return sc_varint_size(n) + n;
}

apr_status_t sc_part_verdict(const sc_rd_t *r)
{
    return r->bad ? APR_EINVAL : APR_SUCCESS;
}

static const unsigned char *get_body(sc_rd_t *r, apr_size_t *len)
{
    const unsigned char *body = sc_get_str(r, sc_rd_left(r), len);

    if (body == NULL || sc_body_check(body, *len) != APR_SUCCESS) {
        r->bad = 1;
    }
    return body;
}

/* ---- whole sessions ------------------------------------------------------------------------- */

static int is_renamed(const sc_wire_session_t *s)
{
    return (s->flags & SC_REC_TOMBSTONE) && s->max_idle_s == SC_DEAD_RENAMED;
}

/* What stands in the place of the body. */
static sc_text_t content(const sc_wire_session_t *s)
{
    sc_text_t t = {(const char *)s->body, s->body_len};

    if (is_renamed(s)) {
        t.s = (const char *)s->heir.b;
        t.len = sizeof(s->heir.b);
    } else if (s->flags & SC_REC_PROXY) {
        t.len = 0;
    }
    return t;
}

/* Nobody holds the dead. */
static apr_uint32_t backups_of(const sc_wire_session_t *s)
{
    return s->flags & SC_REC_TOMBSTONE ? 0 : s->nbackups;
}

static apr_size_t session_size(const sc_wire_session_t *s)
{
    apr_uint32_t nbackups = backups_of(s);
    apr_size_t n;
    apr_uint32_t i;

    n = sc_part_str_size(s->context_len) + sizeof(s->id.b) + sc_varint_size(s->flags) +
        sc_varint_size(s->max_idle_s) + sc_varint_size(s->age_ms) + sc_varint_size(s->idle_ms) + 8 +
        4 + sc_part_str_size(s->primary_len) + sc_varint_size(s->epoch) +
        sc_part_str_size(content(s).len) + sc_varint_size(nbackups);
    for (i = 0; i < nbackups; i++) {
        n += sc_part_str_size(s->backup[i].len);
    }
    return n;
}

void sc_wire_session_put(sc_buf_t *b, const sc_wire_session_t *s)
{
    apr_uint32_t nbackups = backups_of(s);
    sc_text_t body = content(s);
    apr_uint32_t i;

    sc_put_varint(b, session_size(s));
    sc_put_str(b, s->context, s->context_len);
    sc_part_put_id(b, &s->id);
    sc_put_varint(b, s->flags);
    sc_put_varint(b, s->max_idle_s);
    sc_put_varint(b, s->age_ms);
    sc_put_varint(b, s->idle_ms);
    sc_part_put_stamp(b, &s->stamp);
    sc_put_str(b, s->primary, s->primary_len);
    sc_put_varint(b, s->epoch);
    sc_put_str(b, body.s, body.len);
    sc_put_varint(b, nbackups);
    for (i = 0; i < nbackups; i++) {
        sc_put_str(b, s->backup[i].s, s->backup[i].len);
    }
}

/* In the place of a body: the dead carry nothing, or where they went. A reason of a later version
 * counts as the strongest. */
static void get_tombstone(sc_rd_t *r, sc_wire_session_t *s)
{
    apr_size_t len;
    const unsigned char *p = sc_get_str(r, sc_rd_left(r), &len);

    if (s->max_idle_s > SC_DEAD_IDLE) {
        s->max_idle_s = SC_DEAD_INVALIDATED;
    } else if (p != NULL && is_renamed(s) && len == sizeof(s->heir.b)) {
        memcpy(s->heir.b, p, len);
    } else if (is_renamed(s) || len != 0) {
        r->bad = 1;
    }
}

/* Each name once, the primary's included. */
static void get_backups(sc_rd_t *r, sc_wire_session_t *s)
{
    sc_text_t primary = {s->primary, s->primary_len};
    apr_uint32_t n = sc_part_number(r);
    apr_uint32_t i, k;

    if (n > SC_BACKUPS_MAX || (n > 0 && ((s->flags & SC_REC_TOMBSTONE) || s->epoch == 0))) {
        r->bad = 1;
        return;
    }
    for (i = 0; i < n && !r->bad; i++) {
        s->backup[i] = sc_part_text(r, SC_ROUTE_MAX, 0);
        r->bad |= sc_part_same(&s->backup[i], &primary);
        for (k = 0; k < i; k++) {
            r->bad |= sc_part_same(&s->backup[i], &s->backup[k]);
        }
    }
    s->nbackups = r->bad ? 0 : n;
}

/* Only the location is known, so there has to be one, and nothing else. */
static void get_proxy(sc_rd_t *r, sc_wire_session_t *s)
{
    apr_size_t len;

    (void)sc_get_str(r, sc_rd_left(r), &len);
    if (len != 0 || s->primary_len == 0 || s->epoch == 0 || (s->flags & SC_REC_TOMBSTONE)) {
        r->bad = 1;
    }
}

static apr_status_t session_get(sc_rd_t *r, sc_wire_session_t *s, int may_be_proxy)
{
    const unsigned char *all;
    sc_text_t context, primary;
    apr_size_t len;
    sc_rd_t in;

    memset(s, 0, sizeof(*s));
    all = sc_get_str(r, sc_rd_left(r), &len);
    if (all == NULL) {
        return APR_EINVAL;
    }
    sc_rd_init(&in, all, len);
    context = sc_part_text(&in, SC_CONTEXT_MAX, 0);
    sc_part_get_id(&in, &s->id);
    s->flags = sc_part_number(&in);
    s->max_idle_s = sc_part_number(&in);
    s->age_ms = sc_get_varint(&in);
    s->idle_ms = sc_get_varint(&in);
    sc_part_get_stamp(&in, &s->stamp);
    primary = sc_part_text(&in, SC_ROUTE_MAX, 1);
    s->epoch = sc_part_epoch(&in, 0);
    s->context = context.s;
    s->context_len = context.len;
    s->primary = primary.s;
    s->primary_len = primary.len;
    if (s->flags & SC_REC_PROXY) {
        in.bad |= !may_be_proxy;
        get_proxy(&in, s);
    } else if (s->flags & SC_REC_TOMBSTONE) {
        get_tombstone(&in, s);
    } else {
        s->body = get_body(&in, &s->body_len);
    }
    if (sc_rd_left(&in) > 0) { /* an earlier version knew of no backups */
        get_backups(&in, s);
    }
    r->bad |= in.bad;
    return sc_part_verdict(r);
}

apr_status_t sc_wire_session_get(sc_rd_t *r, sc_wire_session_t *s)
{
    return session_get(r, s, 0);
}

void sc_msg_created_put(sc_buf_t *b, sc_event_t event, const sc_wire_session_t *s)
{
    sc_put_u8(b, event);
    sc_wire_session_put(b, s);
}

apr_status_t sc_msg_created_get(sc_rd_t *r, sc_wire_session_t *s)
{
    return sc_wire_session_get(r, s);
}

/* ---- changes -------------------------------------------------------------------------------- */

void sc_msg_delta_put(sc_buf_t *b, sc_event_t event, const sc_msg_delta_t *d)
{
    sc_put_u8(b, event);
    sc_put_str(b, d->context.s, d->context.len);
    sc_part_put_id(b, &d->id);
    if (event == SC_EVT_CHANGE_SESSION_ID) {
        sc_part_put_id(b, &d->new_id);
    }
    sc_put_varint(b, d->flags);
    sc_part_put_stamp(b, &d->stamp);
    sc_put_varint(b, d->max_idle_s);
    sc_put_varint(b, d->idle_ms);
    sc_put_varint(b, d->epoch);
    sc_put_str(b, d->body, d->body_len);
    if (event == SC_EVT_CHANGE_SESSION_ID) {
        sc_put_u64(b, d->digest);
    }
}

apr_status_t sc_msg_delta_get(sc_rd_t *r, sc_event_t event, sc_msg_delta_t *d)
{
    memset(d, 0, sizeof(*d));
    d->context = sc_part_text(r, SC_CONTEXT_MAX, 0);
    sc_part_get_id(r, &d->id);
    if (event == SC_EVT_CHANGE_SESSION_ID) {
        sc_part_get_id(r, &d->new_id);
        r->bad |= memcmp(d->id.b, d->new_id.b, sizeof(d->id.b)) == 0;
    }
    d->flags = sc_part_number(r);
    sc_part_get_stamp(r, &d->stamp);
    d->max_idle_s = sc_part_number(r);
    d->idle_ms = sc_get_varint(r);
    d->epoch = sc_part_epoch(r, 0);
    d->body = get_body(r, &d->body_len);
    if (event == SC_EVT_CHANGE_SESSION_ID) {
        d->digest = sc_get_u64(r);
    }
    return sc_part_verdict(r);
}

/* ---- lists ---------------------------------------------------------------------------------- */

void sc_item_accessed_put(sc_buf_t *items, const sc_id_t *id, apr_uint64_t idle_ms)
{
    sc_part_put_id(items, id);
    sc_put_varint(items, idle_ms);
}

apr_status_t sc_item_accessed_get(sc_rd_t *items, sc_id_t *id, apr_uint64_t *idle_ms)
{
    sc_part_get_id(items, id);
    *idle_ms = sc_get_varint(items);
    return sc_part_verdict(items);
}

void sc_item_expired_put(sc_buf_t *items, const sc_id_t *id, const sc_stamp_t *stamp)
{
    sc_part_put_id(items, id);
    sc_part_put_stamp(items, stamp);
}

apr_status_t sc_item_expired_get(sc_rd_t *items, sc_id_t *id, sc_stamp_t *stamp)
{
    sc_part_get_id(items, id);
    sc_part_get_stamp(items, stamp);
    return sc_part_verdict(items);
}

void sc_msg_groups_put(sc_buf_t *b, sc_event_t event, apr_uint32_t ngroups)
{
    sc_put_u8(b, event);
    sc_put_varint(b, ngroups);
}

void sc_group_put(sc_buf_t *b, const sc_group_t *g)
{
    sc_put_str(b, g->context.s, g->context.len);
    sc_put_varint(b, g->reason);
    sc_put_varint(b, g->n);
    sc_put_str(b, g->items, g->items_len);
}

apr_status_t sc_group_get(sc_rd_t *r, sc_group_t *g)
{
    memset(g, 0, sizeof(*g));
    g->context = sc_part_text(r, SC_CONTEXT_MAX, 0);
    g->reason = sc_part_number(r);
    if (g->reason > SC_DEAD_IDLE) {
        g->reason = SC_DEAD_INVALIDATED;
    }
    if (g->reason == SC_DEAD_RENAMED) {
        r->bad = 1; /* such a one travels whole, with its new id */
    }
    g->n = sc_get_varint(r);
    g->items = sc_get_str(r, sc_rd_left(r), &g->items_len);
    return sc_part_verdict(r);
}

static apr_status_t check_items(sc_event_t event, const sc_group_t *g)
{
    apr_uint64_t i, idle_ms;
    sc_stamp_t stamp;
    sc_rd_t items;
    sc_id_t id;

    /* a claimed number beyond the bytes ends the loop at its first missing item */
    sc_rd_init(&items, g->items, g->items_len);
    for (i = 0; i < g->n && !items.bad; i++) {
        if (event == SC_EVT_SESSION_ACCESSED || event == SC_EVT_ACCESS) {
            (void)sc_item_accessed_get(&items, &id, &idle_ms);
        } else {
            (void)sc_item_expired_get(&items, &id, &stamp);
        }
    }
    return sc_part_verdict(&items);
}

apr_status_t sc_msg_groups_get(sc_rd_t *r, sc_event_t event, apr_uint64_t *ngroups)
{
    apr_uint64_t n = sc_get_varint(r);
    apr_uint64_t i;
    sc_group_t g;
    sc_rd_t ahead = *r;

    for (i = 0; i < n && !ahead.bad; i++) {
        if (sc_group_get(&ahead, &g) == APR_SUCCESS && check_items(event, &g) != APR_SUCCESS) {
            ahead.bad = 1;
        }
    }
    *ngroups = ahead.bad ? 0 : n;
    return sc_part_verdict(&ahead);
}

/* ---- state transfer ------------------------------------------------------------------------- */

void sc_msg_get_all_put(sc_buf_t *b, const sc_msg_get_all_t *g)
{
    apr_uint32_t i;

    sc_put_u8(b, SC_EVT_GET_ALL_SESSIONS);
    sc_put_varint(b, g->serial);
    sc_put_varint(b, g->since);
    sc_put_varint(b, g->recent_ms);
    sc_put_str(b, g->primary.s, g->primary.len);
    sc_put_varint(b, g->ncontexts);
    for (i = 0; i < g->ncontexts; i++) {
        sc_put_str(b, g->context[i].s, g->context[i].len);
    }
    sc_put_varint(b, g->held | g->knows << 1);
    sc_put_varint(b, g->maker);
}

apr_status_t sc_msg_get_all_get(sc_rd_t *r, sc_msg_get_all_t *g)
{
    apr_uint32_t i;

    memset(g, 0, sizeof(*g));
    g->serial = sc_get_varint(r);
    g->since = sc_get_varint(r);
    g->recent_ms = sc_get_varint(r);
    g->primary = sc_part_text(r, SC_ROUTE_MAX, 1);
    g->ncontexts = sc_part_number(r);
    if (g->ncontexts > SC_CONTEXTS_MAX) {
        r->bad = 1;
    }
    for (i = 0; i < g->ncontexts && !r->bad; i++) {
        g->context[i] = sc_part_text(r, SC_CONTEXT_MAX, 0);
    }
    if (sc_rd_left(r) > 0) {
        apr_uint32_t flags = sc_part_number(r);

        g->held = flags & 1;
        g->knows = flags >> 1 & 1;
        r->bad |= flags > 3;
        g->maker = sc_part_number(r);
    }
    return sc_part_verdict(r);
}

void sc_msg_data_put(sc_buf_t *b, sc_event_t event, const sc_msg_data_t *d)
{
    sc_put_u8(b, event);
    sc_put_varint(b, d->serial);
    sc_put_varint(b, d->total);
    sc_put_varint(b, d->count);
}

apr_status_t sc_msg_data_get(sc_rd_t *r, sc_event_t event, sc_msg_data_t *d)
{
    if (event != SC_EVT_ALL_SESSION_DATA && event != SC_EVT_COPY) {
        r->bad = 1;
    }
    d->serial = sc_get_varint(r);
    d->total = sc_get_varint(r);
    d->count = sc_get_varint(r);
    return sc_part_verdict(r);
}

void sc_msg_complete_put(sc_buf_t *b, const sc_msg_complete_t *c)
{
    sc_put_u8(b, SC_EVT_ALL_SESSION_TRANSFERCOMPLETE);
    sc_put_varint(b, c->serial);
    sc_put_varint(b, c->lsn);
    sc_put_varint(b, c->ready);
    sc_put_varint(b, c->sent);
    sc_put_varint(b, c->loss);
    if (c->forgot != 0) {
        sc_put_varint(b, c->forgot);
    }
}

apr_status_t sc_msg_complete_get(sc_rd_t *r, sc_msg_complete_t *c)
{
    c->serial = sc_get_varint(r);
    c->lsn = sc_get_varint(r);
    c->ready = sc_part_yes(r);
    c->sent = sc_get_varint(r);
    c->loss = sc_rd_left(r) > 0 ? sc_get_varint(r) : 0;
    c->forgot = sc_rd_left(r) > 0 ? sc_get_varint(r) : 0;
    return sc_part_verdict(r);
}

void sc_msg_nocontext_put(sc_buf_t *b, const sc_text_t *context)
{
    sc_put_u8(b, SC_EVT_ALL_SESSION_NOCONTEXTMANAGER);
    sc_put_str(b, context->s, context->len);
}

apr_status_t sc_msg_nocontext_get(sc_rd_t *r, sc_text_t *context)
{
    *context = sc_part_text(r, SC_CONTEXT_MAX, 0);
    return sc_part_verdict(r);
}

/* ---- fetch on demand ------------------------------------------------------------------------ */

void sc_msg_retrieve_put(sc_buf_t *b, sc_event_t event, const sc_msg_retrieve_t *m)
{
    sc_put_u8(b, event);
    sc_put_str(b, m->context.s, m->context.len);
    sc_part_put_id(b, &m->id);
    if (event == SC_EVT_RETRIEVE_REPLY) {
        sc_put_varint(b, m->found);
        if (m->found) {
            sc_wire_session_put(b, &m->session);
        }
        sc_put_varint(b, m->sure);
    }
    if (m->serial != 0 || m->away || m->blank) {
        sc_put_varint(b, m->serial);
    }
    if (event == SC_EVT_RETRIEVE_REPLY && (m->away || m->blank)) {
        sc_put_varint(b, m->away);
    }
    if (event == SC_EVT_RETRIEVE_REPLY && m->blank) {
        sc_put_varint(b, 1);
    }
}

apr_status_t sc_msg_retrieve_get(sc_rd_t *r, sc_event_t event, sc_msg_retrieve_t *m)
{
    memset(m, 0, sizeof(*m));
    m->context = sc_part_text(r, SC_CONTEXT_MAX, 0);
    sc_part_get_id(r, &m->id);
    if (event == SC_EVT_RETRIEVE_REPLY) {
        m->found = sc_part_yes(r);
        if (m->found && session_get(r, &m->session, 1) == APR_SUCCESS &&
            (m->session.context_len != m->context.len ||
             memcmp(m->session.context, m->context.s, m->context.len) != 0 ||
             memcmp(m->session.id.b, m->id.b, sizeof(m->id.b)) != 0)) {
            r->bad = 1;
        }
        if (sc_rd_left(r) > 0) {
            m->sure = sc_part_yes(r);
        }
    }
    if (!r->bad && sc_rd_left(r) > 0) {
        m->serial = sc_get_varint(r);
    }
    if (event == SC_EVT_RETRIEVE_REPLY && !r->bad && sc_rd_left(r) > 0) {
        m->away = sc_part_yes(r);
    }
    if (event == SC_EVT_RETRIEVE_REPLY && !r->bad && sc_rd_left(r) > 0) {
        m->blank = sc_part_yes(r);
    }
    return sc_part_verdict(r);
}
