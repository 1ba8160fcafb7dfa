/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Asking the store, and what its answers mean.
 *
 * The clients behind httpd's providers remember a server that failed as dead for five seconds, and
 * say "not found" for everything meanwhile, as for a key that is not there. So "not found" counts
 * only between two sights of the sentinel that are less than these five seconds apart: had the
 * server been taken for dead in between, the second one would have failed, too.
 *
 * An error is not believed at once either, since a connection that was kept open fails when its
 * server has been started anew: once, with new connections, the question is repeated.
 */
#include <string.h>

#include "central.h"

/** Less than the time for which clients take a failed server for dead. */
#define SURE_TIME apr_time_from_sec(4)
/** The sentinel is written again so often, seconds: stores forget what is old. */
#define SENTINEL_DAY 86400
/** Room for the sentinel: whatever is there, it has been seen. */
#define SENTINEL_ROOM 256

static int is_wanted(const sc_central_store_t *store)
{
    return !store->wanted || store->wanted(store->baton);
}

/* ---- one call -------------------------------------------------------------------------------- */

/* An average in which an answer counts for an eighth. Two children that write it at the same time
 * lose one of many. */
static void note_time(const sc_central_t *c, apr_time_t begin)
{
    apr_interval_time_t took = sc_mono(c->clock) - begin;
    apr_interval_time_t was = __atomic_load_n(&c->memory->takes, __ATOMIC_RELAXED);

    took = took > 0 ? took : 1;
    was = was > 0 ? was + (took - was) / 8 : took;
    __atomic_store_n(&c->memory->takes, was > 0 ? was : 1, __ATOMIC_RELAXED);
}

static apr_status_t ask_get(const sc_central_t *c, const sc_central_store_t *store,
                            const sc_central_key_t *key, unsigned char *out, apr_size_t *len)
{
    apr_time_t begin = sc_mono(c->clock);
    apr_status_t rv = store->get(store->baton, key, out, len);

    if (rv == APR_SUCCESS) { /* "not found" may come from a client that asks nobody */
        note_time(c, begin);
    }
    return rv;
}

static apr_status_t ask_put(const sc_central_t *c, const sc_central_store_t *store,
                            const sc_central_key_t *key, const unsigned char *data, apr_size_t len,
                            apr_uint32_t ttl_s)
{
    apr_time_t begin = sc_mono(c->clock);
    apr_status_t rv = store->put(store->baton, key, data, len, ttl_s);

    if (rv == APR_SUCCESS) {
        note_time(c, begin);
    }
    return rv;
}

/* ---- the sentinel ---------------------------------------------------------------------------- */

static apr_status_t see_sentinel(const sc_central_t *c, const sc_central_store_t *store)
{
    unsigned char room[SENTINEL_ROOM];
    apr_size_t len = sizeof(room);
    apr_status_t rv = ask_get(c, store, &c->sentinel, room, &len);

    return rv == APR_ENOSPC ? APR_SUCCESS : rv;
}

static apr_status_t put_sentinel(const sc_central_t *c, const sc_central_store_t *store)
{
    sc_central_value_t v;
    apr_status_t rv;
    sc_buf_t b;

    memset(&v, 0, sizeof(v));
    v.kind = SC_CENTRAL_SENTINEL;
    v.writer = c->memory->node;
    sc_buf_init(&b, SENTINEL_ROOM);
    sc_central_value_put(&b, &c->sentinel, &v);
    rv =
        b.err != APR_SUCCESS ? b.err : ask_put(c, store, &c->sentinel, b.data, b.len, c->max_ttl_s);
    sc_buf_free(&b);
    if (rv == APR_SUCCESS) {
        __atomic_store_n(&c->memory->sentinel_put, sc_mono(c->clock), __ATOMIC_RELAXED);
    }
    return rv;
}

apr_status_t sc_central_check(const sc_central_t *c, const sc_central_store_t *store)
{
    apr_status_t rv = see_sentinel(c, store);
    apr_time_t put = __atomic_load_n(&c->memory->sentinel_put, __ATOMIC_RELAXED);

    if (rv == APR_SUCCESS) {
        if (put == 0 || sc_mono(c->clock) > put + apr_time_from_sec(SENTINEL_DAY)) {
            (void)put_sentinel(c, store); /* the next one will see to it */
        }
        return rv;
    }
    if (rv != APR_NOTFOUND) {
        return rv;
    }
    rv = put_sentinel(c, store);
    rv = rv == APR_SUCCESS ? see_sentinel(c, store) : rv;
    if (rv == APR_SUCCESS && put != 0) {
        sc_central_count(c->memory, central_lost, 1);
    }
    return rv == APR_NOTFOUND ? APR_EGENERAL : rv;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The key was not found. @return APR_NOTFOUND: it surely is not there; APR_SUCCESS: it is, after
 * all; others: the store cannot be asked */
static apr_status_t confirm(const sc_central_t *c, const sc_central_store_t *store,
                            const sc_central_key_t *key, unsigned char *out, apr_size_t *len)
{
    apr_time_t begin = sc_mono(c->clock);
    apr_status_t rv = sc_central_check(c, store);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    *len = c->max_value;
    rv = ask_get(c, store, key, out, len);
    if (rv != APR_NOTFOUND) {
        return rv;
    }
    rv = see_sentinel(c, store);
    if (rv == APR_SUCCESS && sc_mono(c->clock) - begin < SURE_TIME) {
        return APR_NOTFOUND;
    }
    return rv == APR_SUCCESS || rv == APR_NOTFOUND ? APR_TIMEUP : rv;
}

/* One question, once more when it fails. */
static apr_status_t get(const sc_central_t *c, const sc_central_store_t *store,
                        const sc_central_key_t *key, unsigned char *out, apr_size_t *len)
{
    apr_status_t rv = APR_EGENERAL;

    for (int i = 0; i < 2; i++) {
        *len = c->max_value;
        rv = ask_get(c, store, key, out, len);
        if (rv == APR_NOTFOUND && !c->local) {
            rv = confirm(c, store, key, out, len);
        }
        if (rv == APR_SUCCESS || rv == APR_NOTFOUND || rv == APR_ENOSPC || !store->renew ||
            !is_wanted(store)) {
            break;
        }
        if (i == 0) {
            store->renew(store->baton);
        }
    }
    return rv;
}

sc_outcome_t sc_central_read(const sc_central_t *c, const sc_central_store_t *store,
                             const sc_central_key_t *key, sc_buf_t *value, sc_central_value_t *v)
{
    apr_status_t rv;
    apr_size_t len;

    memset(v, 0, sizeof(*v));
    for (int i = 0; i < 2; i++) {
        sc_buf_clear(value);
        if (!sc_buf_reserve(value, c->max_value)) {
            return SC_UNKNOWN;
        }
        rv = get(c, store, key, value->data, &len);
        if (rv == APR_NOTFOUND) {
            return SC_ABSENT;
        }
        if (rv != APR_SUCCESS && rv != APR_ENOSPC) {
            return SC_UNKNOWN;
        }
        rv = rv == APR_SUCCESS ? sc_central_value_get(v, key, value->data, len) : APR_EINVAL;
        if (rv == APR_SUCCESS && v->kind != SC_CENTRAL_SENTINEL) {
            return v->kind == SC_CENTRAL_LIVE ? SC_FOUND : SC_ABSENT;
        }
        if (rv == APR_EMISMATCH) {
            break; /* it is a session, though none that can be read here */
        }
        memset(v, 0, sizeof(*v));
        if (!store->renew || i == 1) {
            break;
        }
        store->renew(store->baton); /* the answer to another question? */
    }
    sc_central_count(c->memory, central_refused, 1);
    return rv == APR_EMISMATCH ? SC_UNKNOWN : SC_ABSENT;
}

/* ---- writing --------------------------------------------------------------------------------- */

apr_uint64_t sc_central_touch_ms(const sc_central_t *c, apr_uint32_t max_idle_s)
{
    apr_uint64_t most = (apr_uint64_t)c->touch_s * 1000;
    apr_uint64_t share = (apr_uint64_t)max_idle_s * 100; /* a tenth */

    return max_idle_s != 0 && share < most ? share : most;
}

apr_uint32_t sc_central_ttl(const sc_central_t *c, apr_uint32_t max_idle_s)
{
    /* an access may have come as much later than the last one that was written */
    apr_uint64_t ttl = max_idle_s + sc_central_touch_ms(c, max_idle_s) / 1000 + 1;

    return max_idle_s == 0 || ttl > c->max_ttl_s ? c->max_ttl_s : (apr_uint32_t)ttl;
}

sc_outcome_t sc_central_write(const sc_central_t *c, const sc_central_store_t *store,
                              const sc_central_key_t *key, const sc_central_value_t *v,
                              apr_uint32_t ttl_s)
{
    apr_status_t rv;
    sc_buf_t b;

    sc_buf_init(&b, c->max_value);
    sc_central_value_put(&b, key, v);
    rv = b.err;
    for (int i = 0; rv == APR_SUCCESS && i < 2; i++) {
        if (!is_wanted(store)) {
            rv = APR_TIMEUP;
            break;
        }
        rv = ask_put(c, store, key, b.data, b.len, ttl_s);
        if (rv == APR_SUCCESS || rv == APR_ENOSPC || !store->renew) {
            break;
        }
        store->renew(store->baton);
        rv = i == 0 ? APR_SUCCESS : rv;
    }
    sc_buf_free(&b);
    if (rv == APR_SUCCESS) {
        sc_central_count(c->memory, central_writes, 1);
        if (!c->local && __atomic_load_n(&c->memory->sentinel_put, __ATOMIC_RELAXED) == 0) {
            (void)put_sentinel(c, store); /* before the store is full, say */
        }
        return SC_DONE;
    }
    if (rv == APR_ENOSPC) {
        return SC_TOO_LARGE;
    }
    return c->local || (is_wanted(store) && see_sentinel(c, store) == APR_SUCCESS) ? SC_FULL
                                                                                   : SC_UNKNOWN;
}
