/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is done to sessions in the central store: found, changed, renamed, ended, touched.
 *
 * A change reads the session anew, since another request may have changed it, merges and writes it.
 * Between its read and its write another node may write; the shorter that is, the rarer, so a read
 * that is too old by the time of the write is made again. What is overwritten nevertheless is found
 * at the second look.
 */
#include <string.h>

#include "central.h"

/** A read that a change was made on is good for so long. */
#define FRESH apr_time_from_msec(100)
#define FRESH_TRIES 3
/** In the value of an id that was changed: what it says of the new one. */
#define HEIR "heir"
/** Removed attributes are remembered so long, for changes that were under way. */
#define REMOVAL_MEMORY_MS 60000

/* ---- time ------------------------------------------------------------------------------------ */

apr_status_t sc_central_memory_init(sc_central_memory_t *m)
{
    apr_status_t rv = sc_random(&m->node, sizeof(m->node));

    m->node |= 1;
    return rv;
}

apr_uint64_t sc_central_wall_ms(const sc_central_t *c)
{
    apr_time_t wall = sc_wall(c->clock);

    return wall > 0 ? (apr_uint64_t)apr_time_as_msec(wall) : 0;
}

sc_stamp_t sc_central_stamp(const sc_central_t *c, const sc_stamp_t *than)
{
    apr_uint64_t last = __atomic_load_n(&c->memory->hlc, __ATOMIC_RELAXED);
    sc_stamp_t stamp;

    stamp.node = c->memory->node;
    do {
        stamp.hlc = sc_central_wall_ms(c) << 16;
        if (stamp.hlc <= last) {
            stamp.hlc = last + 1;
        }
        /* only for this one: a clock far ahead that has stamped one session must not spread */
    } while (!__atomic_compare_exchange_n(&c->memory->hlc, &last, stamp.hlc, 0, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    if (stamp.hlc <= than->hlc) {
        stamp.hlc = than->hlc + 1;
    }
    return stamp;
}

/* ---- finding --------------------------------------------------------------------------------- */

/* What has ended here is dead, whatever another node has written over it in a race it has won. */
int sc_central_is_dead(const sc_central_t *c, const sc_central_key_t *key, sc_central_kind_t *kind)
{
    apr_interval_time_t age;
    sc_recent_t what = sc_recent_get(c, key, &age);

    *kind = what == SC_RECENT_RENAMED ? SC_CENTRAL_RENAMED : SC_CENTRAL_ENDED;
    return (what == SC_RECENT_ENDED || what == SC_RECENT_RENAMED) &&
           age < apr_time_from_sec((apr_time_t)c->tombstone_s);
}

/* As sc_central_find, without counting. */
static sc_outcome_t find(const sc_central_t *c, const sc_central_store_t *store,
                         const sc_central_key_t *key, sc_buf_t *value, sc_central_value_t *v)
{
    sc_outcome_t outcome = sc_central_read(c, store, key, value, v);
    sc_central_kind_t kind;

    if (outcome == SC_FOUND && sc_central_is_dead(c, key, &kind)) {
        (void)sc_central_bury(c, store, key, kind, "");
        v->kind = kind;
        outcome = SC_ABSENT;
    }
    return outcome;
}

sc_outcome_t sc_central_find(const sc_central_t *c, const sc_central_store_t *store,
                             const sc_central_key_t *key, sc_buf_t *value, sc_central_value_t *v)
{
    sc_outcome_t outcome = find(c, store, key, value, v);

    sc_central_count(c->memory, central_reads, 1);
    if (outcome == SC_FOUND) {
        sc_central_count(c->memory, central_hits, 1);
    } else if (outcome == SC_ABSENT) {
        sc_central_count(c->memory, central_absent, 1);
    }
    return outcome;
}

/* ---- changing -------------------------------------------------------------------------------- */

static sc_outcome_t to_delta(const sc_change_t *change, const sc_stamp_t *stamp, sc_buf_t *delta)
{
    apr_pool_t *scratch;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&scratch, NULL, NULL);

    if (rv == APR_SUCCESS) {
        sc_buf_clear(delta);
        rv = sc_change_to_delta(change, stamp, delta, scratch);
        apr_pool_destroy(scratch);
    }
    return rv == APR_SUCCESS ? SC_DONE : rv == APR_ENOSPC ? SC_TOO_LARGE : SC_REFUSED;
}

/* Merge a delta into v, whose body then is in `merged`. */
static sc_outcome_t merge(const sc_central_t *c, sc_central_value_t *v, const sc_buf_t *delta,
                          sc_buf_t *merged)
{
    sc_stamp_t drop = {0, 0};
    sc_merge_t result;
    apr_status_t rv;
    apr_uint64_t now = sc_central_wall_ms(c);
    apr_size_t before = sc_body_payload(v->body, v->body_len);
    apr_size_t after;

    if (now > REMOVAL_MEMORY_MS) {
        drop.hlc = (now - REMOVAL_MEMORY_MS) << 16;
    }
    rv = sc_body_merge(v->body, v->body_len, delta->data, delta->len, &drop, merged, &result);
    if (rv != APR_SUCCESS) {
        return rv == APR_ENOSPC ? SC_TOO_LARGE : SC_REFUSED;
    }
    after = sc_body_payload(merged->data, merged->len);
    if (after > c->max_session && after >= before) {
        return SC_TOO_LARGE; /* one that gets smaller may still be too large */
    }
    if (sc_stamp_cmp(&result.newest, &v->stamp) > 0) {
        v->stamp = result.newest;
    }
    v->kind = SC_CENTRAL_LIVE;
    v->body = merged->data;
    v->body_len = merged->len;
    v->writer = c->memory->node;
    v->accessed_ms = now;
    return SC_DONE;
}

sc_outcome_t sc_central_bring(const sc_central_t *c, const sc_central_store_t *store,
                              const sc_central_key_t *key, const sc_buf_t *delta,
                              sc_central_value_t *v)
{
    sc_outcome_t outcome;
    sc_buf_t merged;

    sc_buf_init(&merged, c->max_value - SC_CENTRAL_FRAME);
    outcome = merge(c, v, delta, &merged);
    if (outcome == SC_DONE) {
        outcome = sc_central_write(c, store, key, v, sc_central_ttl(c, v->max_idle_s));
    }
    if (outcome == SC_DONE) {
        sc_recent_note(c, key, SC_RECENT_WRITTEN);
    }
    sc_buf_free(&merged);
    v->body = NULL;
    v->body_len = 0;
    return outcome;
}

/* What the change is made on: the session as it is now, or a new one. */
static sc_outcome_t basis(const sc_central_t *c, const sc_central_store_t *store,
                          const sc_central_key_t *key, const sc_change_t *change, sc_buf_t *value,
                          sc_central_value_t *v)
{
    if (change->flags & SC_CHANGE_NEW) {
        memset(v, 0, sizeof(*v));
        v->created_ms = sc_central_wall_ms(c);
        return SC_FOUND;
    }
    return find(c, store, key, value, v);
}

/* @param to where it is written, key but for a change of id */
static sc_outcome_t change_to(const sc_central_t *c, const sc_central_store_t *store,
                              const sc_central_key_t *key, const sc_central_key_t *to,
                              const sc_change_t *change, sc_buf_t *value, sc_buf_t *delta)
{
    sc_outcome_t outcome = SC_UNKNOWN;
    sc_central_value_t v;
    apr_uint32_t writer;
    apr_time_t begin;

    for (int i = 0; i < FRESH_TRIES; i++) {
        sc_stamp_t stamp;

        begin = sc_mono(c->clock);
        outcome = basis(c, store, key, change, value, &v);
        if (outcome != SC_FOUND) {
            return outcome;
        }
        stamp = sc_central_stamp(c, &v.stamp);
        outcome = to_delta(change, &stamp, delta);
        if (outcome != SC_DONE) {
            return outcome;
        }
        if (sc_mono(c->clock) - begin < FRESH) {
            break;
        }
    }
    writer = v.writer;
    v.max_idle_s = change->max_idle_s;
    outcome = sc_central_bring(c, store, to, delta, &v);
    if (outcome == SC_DONE && !c->local && !(change->flags & SC_CHANGE_NEW) &&
        writer != c->memory->node) {
        /* another node is at it, too: look at once */
        (void)sc_central_look_again(c, store, to, delta, value);
    }
    return outcome;
}

sc_outcome_t sc_central_change(const sc_central_t *c, const sc_central_store_t *store,
                               const sc_central_key_t *key, const sc_change_t *change,
                               sc_buf_t *value, sc_buf_t *delta)
{
    apr_uint64_t lock = sc_central_lock(c, key);
    sc_outcome_t outcome = change_to(c, store, key, key, change, value, delta);

    sc_central_unlock(c, key, lock);
    return outcome;
}

/* The new key first: when the second step fails, the session still has its old id, and the new one
 * is nobody's. */
sc_outcome_t sc_central_rename(const sc_central_t *c, const sc_central_store_t *store,
                               const sc_central_key_t *key, const sc_central_key_t *new_key,
                               const sc_change_t *change, const char *heir, sc_buf_t *value,
                               sc_buf_t *delta)
{
    apr_uint64_t lock = sc_central_lock(c, key);
    sc_outcome_t outcome = change_to(c, store, key, new_key, change, value, delta);

    if (outcome == SC_DONE) {
        outcome = sc_central_bury(c, store, key, SC_CENTRAL_RENAMED, heir);
    }
    sc_central_unlock(c, key, lock);
    return outcome;
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void put_heir(sc_buf_t *body, const char *heir, const sc_stamp_t *stamp)
{
    sc_attr_t a;

    memset(&a, 0, sizeof(a));
    a.name = HEIR;
    a.name_len = sizeof(HEIR) - 1;
    a.value = heir;
    a.value_len = strlen(heir);
    a.stamp = *stamp;
    sc_attr_put(body, &a);
}

int sc_central_heir_text(const sc_central_value_t *v, char *out)
{
    sc_attr_t a;
    sc_rd_t r;

    sc_rd_init(&r, v->body, v->body_len);
    if (v->kind != SC_CENTRAL_RENAMED || sc_attr_get(&r, &a) != APR_SUCCESS ||
        (a.flags & SC_ATTR_REMOVED) || a.value_len > SC_CENTRAL_HEIR_MAX ||
        sc_attr_name_cmp(a.name, a.name_len, HEIR, sizeof(HEIR) - 1) != 0) {
        return 0;
    }
    memcpy(out, a.value, a.value_len);
    out[a.value_len] = '\0';
    return 1;
}

sc_outcome_t sc_central_bury(const sc_central_t *c, const sc_central_store_t *store,
                             const sc_central_key_t *key, sc_central_kind_t kind, const char *heir)
{
    sc_stamp_t none = {0, 0};
    sc_outcome_t outcome;
    sc_central_value_t v;
    sc_buf_t body;

    memset(&v, 0, sizeof(v));
    v.kind = kind;
    v.writer = c->memory->node;
    v.accessed_ms = sc_central_wall_ms(c);
    v.stamp = sc_central_stamp(c, &none);
    sc_buf_init(&body, 256);
    if (*heir) {
        put_heir(&body, heir, &v.stamp);
        v.body = body.data;
        v.body_len = body.len;
    }
    outcome = sc_central_write(c, store, key, &v,
                               kind == SC_CENTRAL_RENAMED ? SC_CENTRAL_RENAMED_S : c->tombstone_s);
    sc_buf_free(&body);
    if (outcome == SC_DONE) {
        sc_recent_note(c, key, kind == SC_CENTRAL_RENAMED ? SC_RECENT_RENAMED : SC_RECENT_ENDED);
    }
    return outcome;
}

sc_outcome_t sc_central_end(const sc_central_t *c, const sc_central_store_t *store,
                            const sc_central_key_t *key, sc_buf_t *value)
{
    apr_uint64_t lock = sc_central_lock(c, key);
    sc_central_value_t v;
    sc_outcome_t outcome = sc_central_read(c, store, key, value, &v);
    sc_buf_t nothing;

    if (outcome == SC_ABSENT && v.kind == SC_CENTRAL_RENAMED) {
        sc_central_unlock(c, key, lock);
        return SC_ABSENT;
    }
    outcome = sc_central_bury(c, store, key, SC_CENTRAL_ENDED, "");
    if (outcome == SC_FULL && store->remove && store->remove(store->baton, key) == APR_SUCCESS) {
        /* no room to say that it has ended; what is not there is no session, either */
        sc_recent_note(c, key, SC_RECENT_ENDED);
        outcome = SC_DONE;
    } else if (outcome == SC_DONE && !c->local) {
        sc_buf_init(&nothing, 0);
        (void)sc_central_look_again(c, store, key, &nothing, value);
    }
    sc_central_unlock(c, key, lock);
    return outcome;
}

/* ---- touching -------------------------------------------------------------------------------- */

int sc_central_touch_due(const sc_central_t *c, const sc_central_key_t *key,
                         apr_uint32_t max_idle_s)
{
    apr_interval_time_t age;

    if (sc_recent_get(c, key, &age) != SC_RECENT_NOTHING &&
        age < apr_time_from_msec((apr_time_t)sc_central_touch_ms(c, max_idle_s))) {
        sc_central_count(c->memory, central_coalesced, 1);
        return 0;
    }
    sc_recent_note(c, key, SC_RECENT_WRITTEN);
    return 1;
}

void sc_central_touch_undo(const sc_central_t *c, const sc_central_key_t *key)
{
    apr_interval_time_t age;

    if (sc_recent_get(c, key, &age) == SC_RECENT_WRITTEN) {
        sc_recent_note(c, key, SC_RECENT_NOTHING);
    }
}

sc_outcome_t sc_central_touch(const sc_central_t *c, const sc_central_store_t *store,
                              const sc_central_key_t *key, sc_buf_t *value)
{
    apr_uint64_t lock = sc_central_lock(c, key);
    sc_central_value_t v;
    sc_outcome_t outcome = find(c, store, key, value, &v);

    if (outcome == SC_FOUND) {
        v.writer = c->memory->node;
        v.accessed_ms = sc_central_wall_ms(c);
        outcome = sc_central_write(c, store, key, &v, sc_central_ttl(c, v.max_idle_s));
        if (outcome == SC_DONE) {
            sc_central_count(c->memory, central_touches, 1);
        }
    }
    if (outcome != SC_DONE && outcome != SC_ABSENT) {
        sc_central_touch_undo(c, key);
    }
    sc_central_unlock(c, key, lock);
    return outcome;
}
