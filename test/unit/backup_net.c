/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The backup manager's tests: what nodes know of sessions, and whether they agree.
 */
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "backup_net.h"

_Thread_local int backup_copies;

void backup_tweak(sc_config_t *c, int index)
{
    (void)index;
    c->manager = SC_MANAGER_BACKUP;
    c->backup.backups = (apr_uint32_t)(backup_copies > 0 ? backup_copies : 1);
}

net_t *backup_ready(int n, int copies)
{
    net_t *net;

    backup_copies = copies;
    net = net_ready(n, backup_tweak);
    net_run(net, 3000);
    return net;
}

net_t *backup_quorum(int n, int copies, apr_uint32_t quorum)
{
    net_t *net;
    int i;

    backup_copies = copies;
    net = net_create(n, backup_tweak);
    for (i = 0; i < n; i++) {
        net->node[i].config.quorum = quorum;
    }
    for (i = 0; i < n; i++) {
        net_join(net, i, 0);
    }
    CU_ASSERT(net_wait_ready(net, 5000));
    net_run(net, 3000);
    return net;
}

backup_cast_t backup_cast(net_t *net, int primary)
{
    backup_cast_t c = {net, primary, -1, -1, -1, -1};
    int i;

    CU_ASSERT_EQUAL(net_set(net, primary, SC_CHANGE_NEW, 1, "a", "1"), SC_DONE);
    net_run(net, 300);
    for (i = 0; i < net->n; i++) {
        int *slot = backup_has(net, i, 1, NULL) == HAS_COPY ? &c.backup
                    : c.third < 0                           ? &c.third
                    : c.fourth < 0                          ? &c.fourth
                                                            : &c.fifth;

        if (i != primary) {
            CU_ASSERT_FATAL(*slot < 0);
            *slot = i;
        }
    }
    CU_ASSERT_FATAL(c.backup >= 0);
    return c;
}

/* ---- one session ------------------------------------------------------------------------------
 */

static apr_uint16_t own_route(const net_node_t *node)
{
    apr_uint16_t route = SC_ROUTE_NONE;

    (void)sc_store_route(node->store, node->config.route, strlen(node->config.route), 0, &route);
    return route;
}

static backup_has_t judge_record(const net_node_t *node, const sc_record_t *rec)
{
    int holder = sc_record_holder(rec, own_route(node)) != SC_HOLDER_NONE;

    if (rec->flags & SC_REC_TOMBSTONE) {
        return HAS_DEAD;
    }
    if (rec->flags & SC_REC_PROXY) {
        return holder ? HAS_HOLE : HAS_PROXY;
    }
    return holder ? HAS_COPY : HAS_GUEST;
}

backup_has_t backup_has(net_t *net, int index, apr_uint32_t id, sc_record_t *rec)
{
    sc_record_t own;

    rec = rec != NULL ? rec : &own;
    return net_look(net, index, id, rec) == NET_NOTHING ? HAS_NOTHING
                                                        : judge_record(&net->node[index], rec);
}

apr_uint16_t backup_route(net_t *net, int where, int whose)
{
    apr_uint16_t index = SC_ROUTE_NONE;
    const char *name = net->node[whose].config.route;

    CU_ASSERT_EQUAL(sc_store_route(net->node[where].store, name, strlen(name), 0, &index),
                    APR_SUCCESS);
    return index;
}

static void put_where(const net_node_t *node, const sc_record_t *rec, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", sc_store_route_name(node->store, rec->primary));
    int i;

    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        n += (size_t)snprintf(out + n, size - n, " %s",
                              sc_store_route_name(node->store, rec->backups[i]));
    }
    snprintf(out + n, size - n, " #%u", rec->epoch);
}

const char *backup_where(net_t *net, int index, apr_uint32_t id)
{
    static char text[2][512];
    static int turn;
    char *out = text[turn++ % 2];
    sc_record_t rec;
    backup_has_t has = backup_has(net, index, id, &rec);

    strcpy(out, "-");
    if (has != HAS_NOTHING && has != HAS_DEAD) {
        put_where(&net->node[index], &rec, out, sizeof(text[0]));
    }
    return out;
}

int backup_holders(net_t *net, apr_uint32_t id)
{
    int i, n = 0;

    for (i = 0; i < net->n; i++) {
        n += net->node[i].alive && backup_has(net, i, id, NULL) == HAS_COPY;
    }
    return n;
}

const char *backup_value(net_t *net, apr_uint32_t id, const char *name)
{
    static char value[256];
    int i, n = 0;

    for (i = 0; i < net->n; i++) {
        const char *v;

        if (!net->node[i].alive || backup_has(net, i, id, NULL) != HAS_COPY) {
            continue;
        }
        v = net_value(net, i, id, name);
        if (v == NULL || (n > 0 && strcmp(v, value) != 0)) {
            return NULL;
        }
        snprintf(value, sizeof(value), "%s", v);
        n++;
    }
    return n > 0 ? value : NULL;
}

int backup_node(net_t *net, const char *route)
{
    int i;

    for (i = 0; i < net->n; i++) {
        if (strcmp(net->node[i].config.route, route) == 0) {
            return i;
        }
    }
    return -1;
}

int backup_primary(net_t *net, apr_uint32_t id)
{
    sc_record_t rec;
    int i;

    for (i = 0; i < net->n; i++) {
        if (net->node[i].alive && net_look(net, i, id, &rec) == NET_LIVE) {
            return backup_node(net, sc_store_route_name(net->node[i].store, rec.primary));
        }
    }
    return -1;
}

/* ---- locations that change --------------------------------------------------------------------
 */

void backup_take(net_t *net, int who, int of)
{
    sc_msg_take_t t = {{NET_CONTEXT, strlen(NET_CONTEXT)}, net_id(1), 1};
    sc_record_t rec;
    sc_buf_t b;

    CU_ASSERT_EQUAL(net_look(net, of, 1, &rec), NET_LIVE);
    t.epoch = rec.epoch;
    sc_buf_init(&b, 1024);
    sc_msg_take_put(&b, &t);
    CU_ASSERT_EQUAL(sc_manager_record(net->node[of].m, &net->node[who].self, b.data, b.len),
                    APR_SUCCESS);
    sc_buf_free(&b);
}

/* @return -1: it is no NOTIFY */
static int notify_flags(const unsigned char *bytes, apr_size_t len)
{
    sc_msg_places_t list;
    sc_rd_t r;

    if (len == 0 || bytes[0] != SC_EVT_NOTIFY) {
        return -1;
    }
    sc_rd_init(&r, bytes + 1, len - 1);
    CU_ASSERT_EQUAL_FATAL(sc_msg_places_get(&r, &list), APR_SUCCESS);
    return (int)list.flags;
}

int backup_asks(const unsigned char *bytes, apr_size_t len)
{
    int flags = notify_flags(bytes, len);

    return flags >= 0 && !(flags & (SC_PLACES_CLAIM | SC_PLACES_DECIDED));
}

int backup_claims(const unsigned char *bytes, apr_size_t len)
{
    int flags = notify_flags(bytes, len);

    return flags >= 0 && (flags & SC_PLACES_CLAIM);
}

void backup_keep(net_t *net, int from, int to, const unsigned char *bytes, apr_size_t len)
{
    backup_kept_t *k = net->tapped;

    if (from == k->from && to == k->to && len > 0 && bytes[0] == (unsigned int)k->event) {
        CU_ASSERT_FATAL(len <= sizeof(k->bytes));
        memcpy(k->bytes, bytes, len);
        k->len = len;
    }
}

/* ---- all sessions -----------------------------------------------------------------------------
 */

typedef struct check_t {
    net_t *net;
    int node;
    char *what;
    size_t size;
} check_t;

static int alive(const net_t *net)
{
    int i, n = 0;

    for (i = 0; i < net->n; i++) {
        n += net->node[i].alive;
    }
    return n;
}

static int same_body(const net_node_t *a, const net_node_t *b, const sc_record_t *rec,
                     const unsigned char *body)
{
    sc_buf_t other;
    sc_record_t found;
    int same;

    sc_buf_init(&other, 1024 * 1024);
    (void)a;
    same = sc_store_get(b->store, rec->context, &rec->id, &found, &other) == APR_SUCCESS &&
           other.len == rec->body_len &&
           (other.len == 0 || memcmp(other.data, body, other.len) == 0) &&
           found.max_idle_s == rec->max_idle_s && sc_stamp_cmp(&found.stamp, &rec->stamp) == 0;
    sc_buf_free(&other);
    return same;
}

/* What another node has of a session that this one holds. */
static int compare(check_t *c, int other, const sc_record_t *rec, const unsigned char *body,
                   int *copies)
{
    net_node_t *node = &c->net->node[c->node];
    net_node_t *b = &c->net->node[other];
    char here[256], there[256];
    sc_record_t found;
    backup_has_t has;

    put_where(node, rec, here, sizeof(here));
    if (sc_store_get(b->store, rec->context, &rec->id, &found, NULL) != APR_SUCCESS) {
        apr_uint16_t route;

        if (sc_store_route(node->store, b->config.route, strlen(b->config.route), 0, &route) !=
                APR_SUCCESS ||
            sc_record_holder(rec, route) == SC_HOLDER_NONE) {
            return 1; /* it will ask when it needs to know */
        }
        snprintf(c->what, c->size, "n%d is to hold %02x%02x (%s) and has nothing", other + 1,
                 rec->id.b[13], rec->id.b[12], here);
        return 0;
    }
    has = judge_record(b, &found);
    put_where(b, &found, there, sizeof(there));
    if (has == HAS_DEAD || has == HAS_HOLE || strcmp(here, there) != 0) {
        snprintf(c->what, c->size, "n%d says %02x%02x is at %s, n%d says %s (%d)", c->node + 1,
                 rec->id.b[13], rec->id.b[12], here, other + 1, there, (int)has);
        return 0;
    }
    if (has == HAS_COPY) {
        ++*copies;
        if (!same_body(node, b, rec, body)) {
            snprintf(c->what, c->size, "n%d and n%d hold different bodies of %02x%02x", c->node + 1,
                     other + 1, rec->id.b[13], rec->id.b[12]);
            return 0;
        }
    }
    return 1;
}

/* Whether somebody knows that a session is dead for good, of which this node knows a location. */
static int buried(check_t *c, const sc_record_t *rec)
{
    sc_record_t found;
    int i;

    for (i = 0; i < c->net->n; i++) {
        net_node_t *b = &c->net->node[i];

        if (b->alive &&
            sc_store_get(b->store, rec->context, &rec->id, &found, NULL) == APR_SUCCESS &&
            (found.flags & SC_REC_TOMBSTONE) && found.max_idle_s != SC_DEAD_IDLE) {
            snprintf(c->what, c->size, "n%d knows where %02x%02x is, which is dead on n%d",
                     c->node + 1, rec->id.b[13], rec->id.b[12], i + 1);
            return 1;
        }
    }
    return 0;
}

static int check_record(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    check_t *c = baton;
    net_t *net = c->net;
    int copies = 1, most = alive(net), want = 1 + (int)net->node[c->node].config.backup.backups;
    backup_has_t has = judge_record(&net->node[c->node], rec);
    int i;

    if (has == HAS_HOLE) {
        snprintf(c->what, c->size, "n%d is to hold %02x%02x and has no copy", c->node + 1,
                 rec->id.b[13], rec->id.b[12]);
        return 0;
    }
    if (has != HAS_COPY) {
        return has == HAS_DEAD || !buried(c, rec);
    }
    for (i = 0; i < net->n; i++) {
        if (i != c->node && net->node[i].alive && !compare(c, i, rec, body, &copies)) {
            return 0;
        }
    }
    if (copies != (want < most ? want : most)) {
        char here[256];

        put_where(&net->node[c->node], rec, here, sizeof(here));
        snprintf(c->what, c->size, "%d copies of %02x%02x (%s)", copies, rec->id.b[13],
                 rec->id.b[12], here);
        return 0;
    }
    return 1;
}

const char *backup_difference(net_t *net)
{
    static char what[768];
    check_t c = {net, 0, what, sizeof(what)};

    what[0] = '\0';
    for (c.node = 0; c.node < net->n; c.node++) {
        apr_uint32_t cursor = 0;

        if (!net->node[c.node].alive) {
            continue;
        }
        while (what[0] == '\0' && sc_store_scan(net->node[c.node].store, &cursor, 0, 1000,
                                                check_record, &c) == APR_SUCCESS) {
        }
    }
    return what[0] != '\0' ? what : NULL;
}

int backup_quiet(net_t *net)
{
    int i;

    for (i = 0; i < net->n; i++) {
        if (net->node[i].alive && net->node[i].board->moving != 0) {
            return 0;
        }
    }
    return 1;
}

int backup_settled(net_t *net, int ms)
{
    const char *difference = NULL;

    for (; ms > 0; ms -= 50) {
        net_run(net, 50);
        difference = backup_difference(net);
        if (difference == NULL && backup_quiet(net)) {
            return 1;
        }
    }
    fprintf(stderr, "\n  %s\n", difference != NULL ? difference : "still moving");
    return 0;
}
