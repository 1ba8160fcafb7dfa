/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The central store, played: values, the three answers, merging, second looks, coalescing, the
 * gate.
 *
 * The played store can be taken for dead as the real clients take theirs (then everything is "not
 * found" until the connections are renewed), can fail, can lose everything, and can let somebody
 * else write between any two of its calls.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include <apr_strings.h>

#include "sc_central.h"

void sc_suite_central(void);

#define KEYS 8
#define VALUE_MAX 4096

typedef struct fake_value_t {
    sc_central_key_t key;
    unsigned char data[VALUE_MAX];
    apr_size_t len; /* 0: free */
    apr_uint32_t ttl_s;
} fake_value_t;

typedef struct fake_t {
    fake_value_t value[KEYS];
    int down;      /* the server does not answer */
    int dead;      /* the client takes it for dead */
    int revive_at; /* get: the dead mark goes before this call; 0: never */
    int readonly;  /* the server refuses values */
    int small;     /* larger values are too large */
    int unwanted;
    int gets, puts, renewals;
    void (*between)(struct fake_t *f); /* called once, before the next put */
} fake_t;

static fake_t fake;
static sc_central_memory_t memory, other_memory;
static apr_time_t now_mono, now_wall;
static sc_central_t rules, other;
static sc_central_store_t functions;
static sc_buf_t value, delta;

/* ---- the played store ------------------------------------------------------------------------ */

static fake_value_t *place_of(const sc_central_key_t *key)
{
    for (int i = 0; i < KEYS; i++) {
        if (fake.value[i].len > 0 && memcmp(&fake.value[i].key, key, sizeof(*key)) == 0) {
            return &fake.value[i];
        }
    }
    return NULL;
}

static apr_status_t fake_get(void *baton, const sc_central_key_t *key, unsigned char *out,
                             apr_size_t *len)
{
    const fake_value_t *v;

    (void)baton;
    fake.gets++;
    if (fake.revive_at == fake.gets) {
        fake.dead = 0;
    }
    if (fake.dead) {
        return APR_NOTFOUND;
    }
    if (fake.down) {
        fake.dead = 1;
        return APR_ECONNREFUSED;
    }
    v = place_of(key);
    if (!v) {
        return APR_NOTFOUND;
    }
    if (v->len > *len) {
        return APR_ENOSPC;
    }
    memcpy(out, v->data, v->len);
    *len = v->len;
    return APR_SUCCESS;
}

static void fake_set(const sc_central_key_t *key, const void *data, apr_size_t len,
                     apr_uint32_t ttl_s)
{
    fake_value_t *v = place_of(key);

    for (int i = 0; !v && i < KEYS; i++) {
        v = fake.value[i].len == 0 ? &fake.value[i] : NULL;
    }
    CU_ASSERT_FATAL(v != NULL && len <= VALUE_MAX);
    v->key = *key;
    memcpy(v->data, data, len);
    v->len = len;
    v->ttl_s = ttl_s;
}

static apr_status_t fake_put(void *baton, const sc_central_key_t *key, const unsigned char *data,
                             apr_size_t len, apr_uint32_t ttl_s)
{
    void (*between)(fake_t *) = fake.between;

    (void)baton;
    fake.puts++;
    fake.between = NULL;
    if (between) {
        between(&fake);
    }
    if (fake.dead) {
        return APR_NOTFOUND;
    }
    if (fake.down) {
        fake.dead = 1;
        return APR_ECONNREFUSED;
    }
    if (fake.small && len > 200) {
        return APR_ENOSPC;
    }
    if (fake.readonly) {
        return APR_EGENERAL;
    }
    fake_set(key, data, len, ttl_s);
    return APR_SUCCESS;
}

static apr_status_t fake_remove(void *baton, const sc_central_key_t *key)
{
    fake_value_t *v = place_of(key);

    (void)baton;
    if (fake.dead || fake.down) {
        return APR_ECONNREFUSED;
    }
    if (v) {
        v->len = 0;
    }
    return v ? APR_SUCCESS : APR_NOTFOUND;
}

static void fake_renew(void *baton)
{
    (void)baton;
    fake.renewals++;
    fake.dead = 0;
}

static int fake_wanted(void *baton)
{
    (void)baton;
    return !fake.unwanted;
}

static apr_time_t clock_mono(void *ctx)
{
    (void)ctx;
    return now_mono;
}

static apr_time_t clock_wall(void *ctx)
{
    return now_wall + (ctx ? *(apr_time_t *)ctx : 0);
}

static apr_time_t other_skew;
static const sc_clock_t clock_here = {NULL, clock_mono, clock_wall};
static const sc_clock_t clock_there = {&other_skew, clock_mono, clock_wall};

/* ---- helpers --------------------------------------------------------------------------------- */

static sc_central_key_t key_a, key_b;

static void begin(void)
{
    sc_id_t a = {{1}}, b = {{2}};

    memset(&fake, 0, sizeof(fake));
    memset(&memory, 0, sizeof(memory));
    memset(&other_memory, 0, sizeof(other_memory));
    CU_ASSERT_EQUAL_FATAL(sc_central_memory_init(&memory), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_central_memory_init(&other_memory), APR_SUCCESS);
    now_mono = apr_time_from_sec(1000);
    now_wall = apr_time_from_sec(1700000000);
    other_skew = 0;
    memset(&rules, 0, sizeof(rules));
    rules.memory = &memory;
    rules.clock = &clock_here;
    rules.prefix = "test";
    rules.max_value = VALUE_MAX;
    rules.max_session = 1000;
    rules.max_ttl_s = 1000000;
    rules.touch_s = 30;
    rules.tombstone_s = 600;
    CU_ASSERT_EQUAL_FATAL(sc_central_sentinel(&rules.sentinel, "test"), APR_SUCCESS);
    other = rules;
    other.memory = &other_memory;
    other.clock = &clock_there;
    functions.baton = &fake;
    functions.get = fake_get;
    functions.put = fake_put;
    functions.remove = fake_remove;
    functions.renew = fake_renew;
    functions.wanted = fake_wanted;
    CU_ASSERT_EQUAL_FATAL(sc_central_key(&key_a, "test", "app", 3, &a), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_central_key(&key_b, "test", "app", 3, &b), APR_SUCCESS);
    sc_buf_init(&value, VALUE_MAX);
    sc_buf_init(&delta, VALUE_MAX);
}

static void end(void)
{
    sc_buf_free(&value);
    sc_buf_free(&delta);
}

/* name=value;name=value, a name alone is removed */
static sc_outcome_t change(const sc_central_t *c, const char *what, unsigned int flags)
{
    sc_change_t ch;
    sc_buf_t attrs;
    sc_outcome_t outcome;
    char text[2048], *save = NULL;

    memset(&ch, 0, sizeof(ch));
    sc_buf_init(&attrs, 65536);
    apr_cpystrn(text, what, sizeof(text));
    for (char *p = strtok_r(text, ";", &save); p; p = strtok_r(NULL, ";", &save)) {
        char *v = strchr(p, '=');

        if (v) {
            *v++ = '\0';
        }
        sc_change_attr_put(&attrs, p, strlen(p), v, v ? strlen(v) : 0);
        ch.nattrs++;
    }
    ch.context = "app";
    ch.context_len = 3;
    ch.hint = "";
    ch.flags = flags;
    ch.max_idle_s = 100;
    ch.attrs = attrs.data;
    ch.attrs_len = attrs.len;
    outcome = sc_central_change(c, &functions, &key_a, &ch, &value, &delta);
    sc_buf_free(&attrs);
    return outcome;
}

/* The session as text, "-" when there is none, "?" when that is not known. */
static const char *seen(const sc_central_t *c, const sc_central_key_t *key)
{
    static char text[2048];
    sc_central_value_t v;
    sc_attr_t a;
    sc_rd_t r;

    switch (sc_central_find(c, &functions, key, &value, &v)) {
    case SC_FOUND:
        break;
    case SC_ABSENT:
        return v.kind == SC_CENTRAL_RENAMED ? "renamed" : "-";
    default:
        return "?";
    }
    text[0] = '\0';
    sc_rd_init(&r, v.body, v.body_len);
    while (sc_attr_get(&r, &a) == APR_SUCCESS) {
        if (!(a.flags & SC_ATTR_REMOVED)) {
            apr_snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.*s=%.*s",
                         *text ? ";" : "", (int)a.name_len, a.name, (int)a.value_len, a.value);
        }
    }
    return text;
}

/* ---- values ---------------------------------------------------------------------------------- */

static void test_values_are_checked(void)
{
    sc_central_value_t v;
    unsigned char *bytes;
    apr_size_t len;
    fake_value_t *at;

    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1;b=2", SC_CHANGE_NEW), SC_DONE);
    at = place_of(&key_a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    CU_ASSERT_EQUAL(sc_central_value_get(&v, &key_a, at->data, at->len), APR_SUCCESS);
    CU_ASSERT_EQUAL(v.writer, memory.node);
    CU_ASSERT_EQUAL(v.max_idle_s, 100);
    CU_ASSERT_EQUAL(sc_central_value_get(&v, &key_b, at->data, at->len), APR_EINVAL);
    len = at->len;
    for (apr_size_t i = 0; i < len; i++) {
        /* no room behind what is read, whatever the length says */
        bytes = malloc(i ? i : 1);
        CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
        memcpy(bytes, at->data, i);
        CU_ASSERT_EQUAL(sc_central_value_get(&v, &key_a, bytes, i), APR_EINVAL);
        free(bytes);
        at->data[i] ^= 0x10;
        CU_ASSERT_NOT_EQUAL(sc_central_value_get(&v, &key_a, at->data, len), APR_SUCCESS);
        at->data[i] ^= 0x10;
    }
    at->data[3]++;
    CU_ASSERT_EQUAL(sc_central_value_get(&v, &key_a, at->data, len), APR_EMISMATCH);
    end();
}

static void test_keys_differ(void)
{
    sc_id_t id = {{1}};
    sc_central_key_t k;

    begin();
    CU_ASSERT_NOT_EQUAL(memcmp(&key_a, &key_b, sizeof(key_a)), 0);
    CU_ASSERT_EQUAL(sc_central_key(&k, "tes", "app", 3, &id), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(memcmp(&key_a, &k, sizeof(k)), 0);
    CU_ASSERT_EQUAL(sc_central_key(&k, "test", "apps", 4, &id), APR_SUCCESS);
    CU_ASSERT_NOT_EQUAL(memcmp(&key_a, &k, sizeof(k)), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(&rules.sentinel, &k, sizeof(k)), 0);
    end();
}

static void test_garbage_is_refused(void)
{
    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    fake_set(&key_a, "garbage", 7, 100);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "-");
    CU_ASSERT_EQUAL(memory.count.central_refused, 1);
    CU_ASSERT_EQUAL(fake.renewals, 1); /* it might have been another question's answer */
    /* of a later version: it is there, but cannot be read, and is not overwritten */
    fake_set(&key_a, "SCV\x02 whatever that is", 20, 100);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "?");
    CU_ASSERT_EQUAL(change(&rules, "a=2", 0), SC_UNKNOWN);
    CU_ASSERT_EQUAL(place_of(&key_a)->len, 20);
    /* the sentinel is no session */
    CU_ASSERT_EQUAL(sc_central_check(&rules, &functions), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &rules.sentinel), "-");
    end();
}

/* ---- three answers --------------------------------------------------------------------------- */

static void test_absent_needs_the_sentinel(void)
{
    begin();
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "-");
    CU_ASSERT_PTR_NOT_NULL(place_of(&rules.sentinel));
    CU_ASSERT_EQUAL(memory.count.central_lost, 0); /* never there before */
    CU_ASSERT_EQUAL(memory.count.central_absent, 1);
    /* everything is lost, but the store answers: that is an answer */
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    memset(fake.value, 0, sizeof(fake.value));
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "-");
    CU_ASSERT_EQUAL(memory.count.central_lost, 1);
    end();
}

static void test_dead_is_not_absent(void)
{
    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    CU_ASSERT_EQUAL(sc_central_check(&rules, &functions), APR_SUCCESS);
    fake.down = 1;
    fake.dead = 1;
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "?");
    CU_ASSERT_EQUAL(change(&rules, "a=2", 0), SC_UNKNOWN);
    CU_ASSERT_EQUAL(change(&rules, "a=2", SC_CHANGE_NEW), SC_UNKNOWN);
    CU_ASSERT_EQUAL(sc_central_end(&rules, &functions, &key_a, &value), SC_UNKNOWN);
    /* it is back, the client does not know yet: new connections do */
    fake.down = 0;
    fake.dead = 1;
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1");
    /* nothing can be renewed: the client is taken at its word only with the sentinel */
    fake.dead = 1;
    functions.renew = NULL;
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "?");
    end();
}

/* Between two of its answers the client may find out that the server lives: whenever that is, a
 * session that is there must not be taken for absent. */
static void test_revival_at_any_call(void)
{
    for (int at = 1; at < 8; at++) {
        const char *text;

        begin();
        CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
        CU_ASSERT_EQUAL(sc_central_check(&rules, &functions), APR_SUCCESS);
        fake.dead = 1;
        fake.gets = 0;
        fake.revive_at = at;
        functions.renew = NULL;
        text = seen(&rules, &key_a);
        CU_ASSERT(strcmp(text, "a=1") == 0 || strcmp(text, "?") == 0);
        end();
    }
}

static void test_full_is_no_outage(void)
{
    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    CU_ASSERT_EQUAL(sc_central_check(&rules, &functions), APR_SUCCESS);
    fake.readonly = 1;
    CU_ASSERT_EQUAL(change(&rules, "a=2", 0), SC_FULL);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1");
    /* who logs out is logged out nevertheless */
    CU_ASSERT_EQUAL(sc_central_end(&rules, &functions, &key_a, &value), SC_DONE);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "-");
    fake.readonly = 0;
    memset(&memory.recent, 0, sizeof(memory.recent));
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    fake.small = 1;
    CU_ASSERT_EQUAL(change(&rules,
                           "b=0123456789012345678901234567890123456789012345678901234567890"
                           "123456789012345678901234567890123456789012345678901234567890123"
                           "456789",
                           0),
                    SC_TOO_LARGE);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1");
    end();
}

static void test_nobody_waits_any_more(void)
{
    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    fake.unwanted = 1;
    fake.puts = 0;
    CU_ASSERT_EQUAL(change(&rules, "a=2", 0), SC_UNKNOWN);
    CU_ASSERT_EQUAL(fake.puts, 0);
    end();
}

/* ---- changes --------------------------------------------------------------------------------- */

static void test_changes_merge(void)
{
    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1;b=1", SC_CHANGE_NEW), SC_DONE);
    CU_ASSERT_EQUAL(change(&other, "b=2;c=2", 0), SC_DONE);
    CU_ASSERT_EQUAL(change(&rules, "a", 0), SC_DONE);
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "b=2;c=2");
    /* a change of what does not exist does not make it */
    memset(fake.value, 0, sizeof(fake.value));
    CU_ASSERT_EQUAL(change(&rules, "a=3", 0), SC_ABSENT);
    CU_ASSERT_PTR_NULL(place_of(&key_a));
    end();
}

static void test_slow_clock_still_wins(void)
{
    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    other_skew = -apr_time_from_sec(86400);
    CU_ASSERT_EQUAL(change(&other, "a=2", 0), SC_DONE);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=2");
    other_skew = apr_time_from_sec(86400);
    CU_ASSERT_EQUAL(change(&other, "a=3", 0), SC_DONE);
    CU_ASSERT_EQUAL(change(&rules, "a=4", 0), SC_DONE);
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "a=4");
    end();
}

static void test_too_large(void)
{
    char text[1200];

    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    memset(text, 'x', sizeof(text));
    text[0] = 'b';
    text[1] = '=';
    text[1100] = '\0';
    CU_ASSERT_EQUAL(change(&rules, text, 0), SC_TOO_LARGE);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1");
    end();
}

static sc_buf_t others_delta;

static void other_writes(fake_t *f)
{
    sc_buf_t v, d;

    (void)f;
    v = value;
    d = delta;
    sc_buf_init(&value, VALUE_MAX);
    sc_buf_init(&delta, VALUE_MAX);
    CU_ASSERT_EQUAL(change(&other, "c=3", 0), SC_DONE);
    sc_buf_free(&value);
    others_delta = delta;
    value = v;
    delta = d;
}

static void test_overwritten_is_brought_in_again(void)
{
    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    fake.between = other_writes; /* between this one's read and its write */
    CU_ASSERT_EQUAL(change(&rules, "b=2", 0), SC_DONE);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1;b=2");
    /* who has lost looks again */
    CU_ASSERT_EQUAL(sc_central_look(&other, &functions, &key_a, &others_delta, &value),
                    SC_DEGRADED);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1;b=2;c=3");
    CU_ASSERT_EQUAL(other_memory.count.central_merges, 1);
    CU_ASSERT_EQUAL(sc_central_look(&other, &functions, &key_a, &others_delta, &value), SC_DONE);
    CU_ASSERT_EQUAL(sc_central_look(&rules, &functions, &key_a, &delta, &value), SC_DONE);
    /* a later change of the same is no loss, neither is a removal, nor the end */
    CU_ASSERT_EQUAL(change(&rules, "c=4", 0), SC_DONE);
    CU_ASSERT_EQUAL(sc_central_look(&other, &functions, &key_a, &others_delta, &value), SC_DONE);
    CU_ASSERT_EQUAL(change(&rules, "c", 0), SC_DONE);
    CU_ASSERT_EQUAL(sc_central_look(&other, &functions, &key_a, &others_delta, &value), SC_DONE);
    CU_ASSERT_EQUAL(sc_central_end(&rules, &functions, &key_a, &value), SC_DONE);
    CU_ASSERT_EQUAL(sc_central_look(&other, &functions, &key_a, &others_delta, &value), SC_DONE);
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "-");
    sc_buf_free(&others_delta);
    end();
}

static void test_lost_removal_is_made_again(void)
{
    sc_buf_t removal;

    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1;b=2", SC_CHANGE_NEW), SC_DONE);
    fake_value_t before = *place_of(&key_a);

    CU_ASSERT_EQUAL(change(&rules, "b", 0), SC_DONE);
    removal = delta;
    sc_buf_init(&delta, VALUE_MAX);
    fake_set(&key_a, before.data, before.len, 100); /* another node, from what it had read before */
    CU_ASSERT_EQUAL(sc_central_look(&rules, &functions, &key_a, &removal, &value), SC_DEGRADED);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1");
    sc_buf_free(&removal);
    end();
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void test_dead_ids_stay_dead(void)
{
    sc_buf_t nothing;

    begin();
    sc_buf_init(&nothing, 0);
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    fake_value_t before = *place_of(&key_a);

    CU_ASSERT_EQUAL(sc_central_end(&rules, &functions, &key_a, &value), SC_DONE);
    CU_ASSERT_EQUAL(place_of(&key_a)->ttl_s, 600);
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "-");
    CU_ASSERT_EQUAL(change(&other, "a=2", 0), SC_ABSENT);
    /* another node that had read it before writes it back */
    fake_set(&key_a, before.data, before.len, 100);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "-"); /* this one knows better */
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "-");
    fake_set(&key_a, before.data, before.len, 100);
    CU_ASSERT_EQUAL(sc_central_look(&rules, &functions, &key_a, &nothing, &value), SC_DEGRADED);
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "-");
    /* nor does a second look at a change of before bring it back */
    fake_set(&key_a, before.data, before.len, 100);
    CU_ASSERT_EQUAL(sc_central_look(&rules, &functions, &key_a, &delta, &value), SC_DEGRADED);
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "-");
    end();
}

static void test_rename(void)
{
    char heir[SC_CENTRAL_HEIR_MAX + 1];
    sc_central_value_t v;
    sc_change_t ch;

    begin();
    memset(&ch, 0, sizeof(ch));
    ch.context = "app";
    ch.context_len = 3;
    ch.hint = "";
    ch.max_idle_s = 50;
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    fake_value_t before = *place_of(&key_a);

    CU_ASSERT_EQUAL(
        sc_central_rename(&rules, &functions, &key_a, &key_b, &ch, "heir of a", &value, &delta),
        SC_DONE);
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "renamed");
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_b), "a=1");
    CU_ASSERT_EQUAL(sc_central_find(&other, &functions, &key_a, &value, &v), SC_ABSENT);
    CU_ASSERT_EQUAL(sc_central_heir_text(&v, heir), 1);
    CU_ASSERT_STRING_EQUAL(heir, "heir of a");
    CU_ASSERT_EQUAL(sc_central_find(&other, &functions, &key_b, &value, &v), SC_FOUND);
    CU_ASSERT_EQUAL(sc_central_heir_text(&v, heir), 0);
    /* who logs out under the old id does not make that forgotten */
    CU_ASSERT_EQUAL(sc_central_end(&other, &functions, &key_a, &value), SC_ABSENT);
    CU_ASSERT_STRING_EQUAL(seen(&other, &key_a), "renamed");
    CU_ASSERT_EQUAL(change(&other, "a=2", 0), SC_ABSENT);
    fake_set(&key_a, before.data, before.len, 100);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "renamed");
    CU_ASSERT_EQUAL(
        sc_central_rename(&rules, &functions, &key_a, &key_b, &ch, "heir of a", &value, &delta),
        SC_ABSENT);
    end();
}

/* ---- touches --------------------------------------------------------------------------------- */

static void test_touches_are_coalesced(void)
{
    begin();
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    CU_ASSERT_EQUAL(place_of(&key_a)->ttl_s, 111); /* a tenth of it is the interval of touches */
    CU_ASSERT_EQUAL(sc_central_touch_due(&rules, &key_a, 100), 0); /* just written */
    now_mono += apr_time_from_sec(9);
    CU_ASSERT_EQUAL(sc_central_touch_due(&rules, &key_a, 100), 0);
    now_mono += apr_time_from_sec(2);
    CU_ASSERT_EQUAL(sc_central_touch_due(&rules, &key_a, 100), 1);
    CU_ASSERT_EQUAL(sc_central_touch_due(&rules, &key_a, 100), 0); /* one of them is enough */
    CU_ASSERT_EQUAL(memory.count.central_coalesced, 3);
    CU_ASSERT_EQUAL(sc_central_touch_due(&other, &key_a, 100), 1); /* the other node cannot know */
    fake.puts = 0;
    CU_ASSERT_EQUAL(sc_central_touch(&rules, &functions, &key_a, &value), SC_DONE);
    CU_ASSERT_EQUAL(fake.puts, 1);
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1");
    CU_ASSERT_EQUAL(memory.count.central_touches, 1);
    /* one that fails is tried again with the next access */
    now_mono += apr_time_from_sec(11);
    CU_ASSERT_EQUAL(sc_central_touch_due(&rules, &key_a, 100), 1);
    fake.down = 1;
    CU_ASSERT_EQUAL(sc_central_touch(&rules, &functions, &key_a, &value), SC_UNKNOWN);
    fake.down = fake.dead = 0;
    CU_ASSERT_EQUAL(sc_central_touch_due(&rules, &key_a, 100), 1);
    /* nor does a touch make what is not there, or revive the dead */
    CU_ASSERT_EQUAL(sc_central_touch(&rules, &functions, &key_b, &value), SC_ABSENT);
    CU_ASSERT_EQUAL(sc_central_end(&rules, &functions, &key_a, &value), SC_DONE);
    CU_ASSERT_EQUAL(sc_central_touch(&rules, &functions, &key_a, &value), SC_ABSENT);
    end();
}

/* A store that is slow, and each time as much. */
static apr_interval_time_t slowness;

static apr_status_t slow_get(void *baton, const sc_central_key_t *key, unsigned char *out,
                             apr_size_t *len)
{
    now_mono += slowness;
    return fake_get(baton, key, out, len);
}

static void test_how_long_it_takes(void)
{
    sc_central_store_t slow;
    sc_central_value_t v;
    apr_interval_time_t before;

    begin();
    slow = functions;
    slow.get = slow_get;
    CU_ASSERT_EQUAL(memory.takes, 0); /* not known */
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    CU_ASSERT_EQUAL(memory.takes, 1); /* at once, by a clock that stands still */
    slowness = 8000;
    CU_ASSERT_EQUAL(sc_central_find(&rules, &slow, &key_a, &value, &v), SC_FOUND);
    CU_ASSERT(memory.takes > 900 && memory.takes < 1100); /* one answer is an eighth */
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(sc_central_find(&rules, &slow, &key_a, &value, &v), SC_FOUND);
    }
    CU_ASSERT(memory.takes > 7900 && memory.takes <= 8000);
    /* what a client says that asks nobody is no answer */
    before = memory.takes;
    slowness = 0;
    fake.down = 1;
    CU_ASSERT_EQUAL(sc_central_find(&rules, &slow, &key_a, &value, &v), SC_UNKNOWN);
    CU_ASSERT_EQUAL(memory.takes, before);
    fake.down = fake.dead = 0;
    for (int i = 0; i < 200; i++) {
        CU_ASSERT_EQUAL(sc_central_find(&rules, &slow, &key_a, &value, &v), SC_FOUND);
    }
    CU_ASSERT(memory.takes > 0 && memory.takes < 20); /* never "not known" again */
    end();
}

/* ---- locks and the gate ---------------------------------------------------------------------- */

static void test_a_dead_owner_locks_nobody_out(void)
{
    begin();
    for (int i = 0; i < SC_CENTRAL_LOCKS; i++) { /* held by somebody who is gone, until now */
        memory.lock[i] = (apr_uint64_t)now_mono;
    }
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    CU_ASSERT_EQUAL(memory.lock[key_a.b[SC_CENTRAL_KEY - 1] % SC_CENTRAL_LOCKS], 0);
    end();
}

static void test_gate(void)
{
    apr_interval_time_t retry = apr_time_from_msec(200);
    sc_central_gate_t g;
    apr_time_t now = apr_time_from_sec(10);

    memset(&g, 0, sizeof(g));
    CU_ASSERT_EQUAL(sc_gate_enter(&g, now, retry), SC_PASS_OPEN);
    CU_ASSERT_EQUAL(sc_gate_answered(&g, now), 0);
    CU_ASSERT_EQUAL(sc_gate_failed(&g, now, retry, 1), 1);
    CU_ASSERT_EQUAL(sc_gate_failed(&g, now, retry, 1), 0); /* told once */
    CU_ASSERT_EQUAL(sc_gate_enter(&g, now + retry - 1, retry), SC_PASS_SHUT);
    now += retry;
    CU_ASSERT_EQUAL(sc_gate_enter(&g, now, retry), SC_PASS_TRY);
    CU_ASSERT_EQUAL(sc_gate_enter(&g, now, retry), SC_PASS_SHUT); /* one at a time */
    /* tries that fail at once come as often; those that hang more rarely, once a second at least */
    for (int i = 0; i < 20; i++) {
        (void)sc_gate_failed(&g, now, retry, 0);
        now += 2 * retry;
        CU_ASSERT_EQUAL(sc_gate_enter(&g, now, retry), SC_PASS_TRY);
    }
    for (int i = 0; i < 20; i++) {
        (void)sc_gate_failed(&g, now, retry, 1);
        now += apr_time_from_sec(1);
        CU_ASSERT_EQUAL(sc_gate_enter(&g, now, retry), SC_PASS_TRY);
    }
    CU_ASSERT_EQUAL(sc_gate_enter(&g, now + retry, retry), SC_PASS_SHUT);
    CU_ASSERT(sc_gate_answered(&g, now) > apr_time_from_sec(20));
    CU_ASSERT_EQUAL(sc_gate_answered(&g, now), 0);
    CU_ASSERT_EQUAL(sc_gate_enter(&g, now, retry), SC_PASS_OPEN);
}

static void test_local_store(void)
{
    begin();
    rules.local = 1;
    functions.renew = NULL;
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "-");
    CU_ASSERT_EQUAL(fake.gets, 1); /* no sentinel: what is not there is not there */
    CU_ASSERT_EQUAL(change(&rules, "a=1", SC_CHANGE_NEW), SC_DONE);
    CU_ASSERT_EQUAL(change(&rules, "b=1", 0), SC_DONE);
    CU_ASSERT_EQUAL(fake.gets, 2); /* and no second look */
    CU_ASSERT_STRING_EQUAL(seen(&rules, &key_a), "a=1;b=1");
    end();
}

void sc_suite_central(void)
{
    CU_pSuite s = CU_add_suite("central", NULL, NULL);

    CU_add_test(s, "values are checked", test_values_are_checked);
    CU_add_test(s, "keys differ", test_keys_differ);
    CU_add_test(s, "garbage is refused", test_garbage_is_refused);
    CU_add_test(s, "absent needs the sentinel", test_absent_needs_the_sentinel);
    CU_add_test(s, "dead is not absent", test_dead_is_not_absent);
    CU_add_test(s, "revival at any call", test_revival_at_any_call);
    CU_add_test(s, "full is no outage", test_full_is_no_outage);
    CU_add_test(s, "nobody waits any more", test_nobody_waits_any_more);
    CU_add_test(s, "changes merge", test_changes_merge);
    CU_add_test(s, "a slow clock still wins", test_slow_clock_still_wins);
    CU_add_test(s, "too large", test_too_large);
    CU_add_test(s, "overwritten is brought in again", test_overwritten_is_brought_in_again);
    CU_add_test(s, "a lost removal is made again", test_lost_removal_is_made_again);
    CU_add_test(s, "dead ids stay dead", test_dead_ids_stay_dead);
    CU_add_test(s, "rename", test_rename);
    CU_add_test(s, "touches are coalesced", test_touches_are_coalesced);
    CU_add_test(s, "how long it takes", test_how_long_it_takes);
    CU_add_test(s, "a dead owner locks nobody out", test_a_dead_owner_locks_nobody_out);
    CU_add_test(s, "the gate", test_gate);
    CU_add_test(s, "a local store", test_local_store);
}
