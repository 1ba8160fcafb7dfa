/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Requests of children in the delta manager's tests, and looking at what the nodes hold; see
 * delta_net.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "delta_net.h"

/* ---- requests ---------------------------------------------------------------------------------
 */

sc_id_t net_id(apr_uint32_t number)
{
    apr_uint32_t scattered = number * 2654435761u;
    sc_id_t id;

    memset(&id, 0x5A, sizeof(id));
    memcpy(id.b, &scattered, sizeof(scattered));
    memcpy(id.b + 12, &number, sizeof(number));
    return id;
}

apr_uint32_t net_request(net_t *net, int node, sc_link_op_t op, int again, const sc_change_t *c)
{
    sc_link_call_t call;
    sc_buf_t body;

    memset(&call, 0, sizeof(call));
    CU_ASSERT_FATAL(net->ncalls < NET_CALLS);
    call.serial = net->ncalls++;
    sc_buf_init(&body, 16 * 1024 * 1024);
    sc_change_put(&body, c);
    sc_manager_request(net->node[node].m, &call, op, again, body.data, body.len);
    sc_buf_free(&body);
    return call.serial;
}

static void blank(sc_change_t *c, apr_uint32_t id)
{
    memset(c, 0, sizeof(*c));
    c->context = NET_CONTEXT;
    c->context_len = strlen(NET_CONTEXT);
    c->id = net_id(id);
    c->max_idle_s = 1800;
}

apr_uint32_t net_change(net_t *net, int node, unsigned int flags, int again, apr_uint32_t id, ...)
{
    sc_change_t c;
    sc_buf_t attrs;
    apr_uint32_t call;
    const char *name;
    va_list ap;

    blank(&c, id);
    c.flags = flags;
    sc_buf_init(&attrs, 16 * 1024 * 1024);
    va_start(ap, id);
    while ((name = va_arg(ap, const char *)) != NULL) {
        const char *value = va_arg(ap, const char *);

        if (strcmp(value, "-") == 0) {
            value = NULL;
        }
        sc_change_attr_put(&attrs, name, strlen(name), value, value != NULL ? strlen(value) : 0);
        c.nattrs++;
    }
    va_end(ap);
    c.attrs = attrs.data;
    c.attrs_len = attrs.len;
    call = net_request(net, node, SC_LINK_CHANGE, again, &c);
    sc_buf_free(&attrs);
    return call;
}

apr_uint32_t net_remove(net_t *net, int node, apr_uint32_t id)
{
    sc_change_t c;

    blank(&c, id);
    return net_request(net, node, SC_LINK_REMOVE, 0, &c);
}

apr_uint32_t net_fetch(net_t *net, int node, apr_uint32_t id, const char *hint)
{
    sc_change_t c;

    blank(&c, id);
    c.hint = hint;
    c.hint_len = strlen(hint);
    return net_request(net, node, SC_LINK_FETCH, 0, &c);
}

apr_uint32_t net_takeover(net_t *net, int node, apr_uint32_t id)
{
    sc_change_t c;

    blank(&c, id);
    return net_request(net, node, SC_LINK_TAKEOVER, 0, &c);
}

apr_uint32_t net_change_id(net_t *net, int node, apr_uint32_t id, apr_uint32_t new_id, int again,
                           const char *name, const char *value)
{
    sc_change_t c;
    sc_buf_t attrs;
    apr_uint32_t call;

    blank(&c, id);
    c.new_id = net_id(new_id);
    sc_buf_init(&attrs, 1024 * 1024);
    if (name != NULL) {
        sc_change_attr_put(&attrs, name, strlen(name), value, strlen(value));
        c.nattrs = 1;
    }
    c.attrs = attrs.data;
    c.attrs_len = attrs.len;
    call = net_request(net, node, SC_LINK_CHANGE_ID, again, &c);
    sc_buf_free(&attrs);
    return call;
}

int net_set(net_t *net, int node, unsigned int flags, apr_uint32_t id, const char *name,
            const char *value)
{
    apr_uint32_t call = name != NULL
                            ? net_change(net, node, flags, 0, id, name, value, (char *)NULL)
                            : net_change(net, node, flags, 0, id, (char *)NULL);

    return net_wait(net, call, 10000) ? (int)net->answer[call].outcome : -1;
}

sc_outcome_t net_outcome(net_t *net, apr_uint32_t call)
{
    CU_ASSERT(net_wait(net, call, 10000));
    CU_ASSERT_EQUAL(net->answer[call].times, 1);
    return net->answer[call].outcome;
}

void net_make(net_t *net, int node, apr_uint32_t from, apr_uint32_t n)
{
    apr_uint32_t i, call = 0;

    for (i = 0; i < n; i++) {
        call = net_change(net, node, SC_CHANGE_NEW, 0, from + i, "a", "1", (char *)NULL);
    }
    CU_ASSERT_EQUAL(net_outcome(net, call), SC_DONE);
}

void net_make_idle(net_t *net, int node, apr_uint32_t id, apr_uint32_t idle_s)
{
    sc_change_t c;

    blank(&c, id);
    c.max_idle_s = idle_s;
    c.flags = SC_CHANGE_NEW;
    CU_ASSERT_EQUAL(net_outcome(net, net_request(net, node, SC_LINK_CHANGE, 0, &c)), SC_DONE);
}

/* ---- looking ----------------------------------------------------------------------------------
 */

static apr_uint16_t context_of(net_node_t *node)
{
    apr_uint16_t index = 0;

    CU_ASSERT_EQUAL(sc_store_context(node->store, NET_CONTEXT, strlen(NET_CONTEXT), 0, &index),
                    APR_SUCCESS);
    return index;
}

net_state_t net_look(net_t *net, int index, apr_uint32_t id, sc_record_t *rec)
{
    net_node_t *node = &net->node[index];
    sc_id_t key = net_id(id);
    sc_record_t mine;

    if (rec == NULL) {
        rec = &mine;
    }
    if (sc_store_get(node->store, context_of(node), &key, rec, NULL) != APR_SUCCESS) {
        return NET_NOTHING;
    }
    return rec->flags & SC_REC_TOMBSTONE ? NET_DEAD : NET_LIVE;
}

const char *net_value(net_t *net, int index, apr_uint32_t id, const char *name)
{
    static char value[64 * 1024];
    net_node_t *node = &net->node[index];
    sc_id_t key = net_id(id);
    const char *found = NULL;
    sc_record_t rec;
    sc_buf_t body;
    sc_attr_t a;
    sc_rd_t r;

    sc_buf_init(&body, 16 * 1024 * 1024);
    if (sc_store_get(node->store, context_of(node), &key, &rec, &body) == APR_SUCCESS) {
        sc_rd_init(&r, body.data, body.len);
        while (sc_attr_get(&r, &a) == APR_SUCCESS) {
            if (!(a.flags & SC_ATTR_REMOVED) && a.value_len < sizeof(value) &&
                sc_attr_name_cmp(a.name, a.name_len, name, strlen(name)) == 0) {
                memcpy(value, a.value, a.value_len);
                value[a.value_len] = '\0';
                found = value;
            }
        }
    }
    sc_buf_free(&body);
    return found;
}

int net_is(const char *value, const char *want)
{
    return value != NULL && strcmp(value, want) == 0;
}

const char *net_primary(net_t *net, int index, apr_uint32_t id)
{
    sc_record_t rec;

    if (net_look(net, index, id, &rec) != NET_LIVE) {
        return "";
    }
    return sc_store_route_name(net->node[index].store, rec.primary);
}

void net_access(net_t *net, int index, apr_uint32_t id)
{
    net_node_t *node = &net->node[index];
    sc_id_t key = net_id(id);
    sc_stored_t stored;
    apr_pool_t *pool;

    apr_pool_create(&pool, net->pool);
    if (sc_store_read(node->store, context_of(node), &key, pool, &stored) == APR_SUCCESS) {
        sc_store_note_access(node->store, stored.cell, stored.gen, sc_mono(&node->clock));
    }
    apr_pool_destroy(pool);
}

apr_uint64_t net_sessions(net_t *net, int index)
{
    sc_store_stats_t stats;

    sc_store_stats(net->node[index].store, &stats);
    return stats.sessions;
}

/* ---- comparing --------------------------------------------------------------------------------
 */

typedef struct compare_t {
    net_t *net;
    int a;
    int b;
    char what[256];
} compare_t;

static int compare_one(void *baton, const sc_record_t *rec, const unsigned char *body)
{
    compare_t *c = baton;
    net_node_t *a = &c->net->node[c->a];
    net_node_t *b = &c->net->node[c->b];
    const char *why = NULL;
    sc_record_t other;
    char id[SC_ID_HEX + 1];
    sc_buf_t buf;
    apr_status_t rv;

    sc_buf_init(&buf, 16 * 1024 * 1024);
    rv = sc_store_get(b->store, rec->context, &rec->id, &other, &buf);
    if (rec->flags & SC_REC_TOMBSTONE) {
        if (rec->max_idle_s != SC_DEAD_IDLE && rv == APR_SUCCESS &&
            !(other.flags & SC_REC_TOMBSTONE)) {
            why = "dead here, alive there";
        }
    } else if (rv != APR_SUCCESS) {
        why = "missing there";
    } else if (other.flags & SC_REC_TOMBSTONE) {
        why = "dead there";
    } else if (sc_stamp_cmp(&rec->stamp, &other.stamp) != 0) {
        why = "different stamps";
    } else if (rec->body_len != buf.len || (buf.len > 0 && memcmp(body, buf.data, buf.len) != 0)) {
        why = "different attributes";
    } else if (rec->max_idle_s != other.max_idle_s || rec->epoch != other.epoch) {
        why = "different idle time or epoch";
    } else if (strcmp(sc_store_route_name(a->store, rec->primary),
                      sc_store_route_name(b->store, other.primary)) != 0) {
        why = "different primaries";
    }
    sc_buf_free(&buf);
    if (why != NULL) {
        snprintf(c->what, sizeof(c->what), "%s on n%d, compared with n%d: %s",
                 sc_id_format(&rec->id, id), c->a + 1, c->b + 1, why);
        return 0;
    }
    return 1;
}

const char *net_difference(net_t *net)
{
    static compare_t c;

    memset(&c, 0, sizeof(c));
    c.net = net;
    for (c.a = 0; c.a < net->n; c.a++) {
        for (c.b = 0; c.b < net->n; c.b++) {
            apr_uint32_t cursor = 0;

            if (c.a == c.b || !net->node[c.a].alive || !net->node[c.b].alive) {
                continue;
            }
            while (c.what[0] == '\0' && sc_store_scan(net->node[c.a].store, &cursor, 0, 4096,
                                                      compare_one, &c) == APR_SUCCESS) {
            }
            if (c.what[0] != '\0') {
                return c.what;
            }
        }
    }
    return NULL;
}
