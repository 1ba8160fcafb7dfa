/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a request has changed: its table of entries against the attributes it was given.
 *
 * Only the difference goes to the engine. So two requests that change different attributes at the
 * same time both win, and a request that changed nothing cannot write back what it read long ago.
 *
 * Both lists are brought into the order of a session's body and walked side by side.
 */

#include <stdlib.h>

#include "provider.h"

typedef struct entry_t {
    const char *name;
    apr_size_t name_len;
    const char *value;
    int at; /* place in the table */
} entry_t;

static int entry_cmp(const void *va, const void *vb)
{
    const entry_t *a = va;
    const entry_t *b = vb;
    int c = sc_attr_name_cmp(a->name, a->name_len, b->name, b->name_len);

    return c ? c : (a->at > b->at) - (a->at < b->at);
}

static int is_attribute(const char *key)
{
    return key && *key && *key != SC_OWN_PREFIX && ap_cstr_casecmp(key, SC_EXPIRY_KEY) != 0;
}

/** The table's attributes, sorted, one of each name. */
static apr_array_header_t *sorted(const apr_table_t *t, apr_pool_t *pool)
{
    const apr_array_header_t *entries = apr_table_elts(t);
    const apr_table_entry_t *e = (const apr_table_entry_t *)(const void *)entries->elts;
    apr_array_header_t *all = apr_array_make(pool, entries->nelts, sizeof(entry_t));
    entry_t *a;
    int n = 0;

    for (int i = 0; i < entries->nelts; i++) {
        if (is_attribute(e[i].key)) {
            entry_t *to = apr_array_push(all);

            to->name = e[i].key;
            to->name_len = strlen(e[i].key);
            to->value = e[i].val ? e[i].val : "";
            to->at = i;
        }
    }
    if (all->nelts == 0) {
        return all;
    }
    a = (entry_t *)(void *)all->elts;
    qsort(a, (size_t)all->nelts, sizeof(*a), entry_cmp);
    for (int i = 1; i < all->nelts; i++) {
        /* of one name the last one counts: it takes the place of those before it */
        if (sc_attr_name_cmp(a[n].name, a[n].name_len, a[i].name, a[i].name_len) != 0) {
            n++;
        }
        a[n] = a[i];
    }
    all->nelts = n + 1;
    return all;
}

static int same_value(const entry_t *now, apr_size_t len, const sc_attr_t *before)
{
    return before->value_len == len && memcmp(before->value, now->value, len) == 0;
}

apr_status_t sc_session_diff(const apr_table_t *now, const apr_array_header_t *loaded,
                             apr_size_t limit, apr_pool_t *pool, session_diff_t *out)
{
    const apr_array_header_t *all = sorted(now, pool);
    const entry_t *a = (const entry_t *)(const void *)all->elts;
    const sc_attr_t *b = loaded ? (const sc_attr_t *)(const void *)loaded->elts : NULL;
    int na = all->nelts, nb = loaded ? loaded->nelts : 0;
    int i = 0, j = 0;

    memset(out, 0, sizeof(*out));
    sc_buf_init(&out->attrs, limit);
    while (i < na || j < nb) {
        int c = i == na   ? 1
                : j == nb ? -1
                          : sc_attr_name_cmp(a[i].name, a[i].name_len, b[j].name, b[j].name_len);

        if (c > 0) { /* was there, is no more */
            sc_change_attr_put(&out->attrs, b[j].name, b[j].name_len, NULL, 0);
            out->nattrs++;
            j++;
            continue;
        }
        apr_size_t len = strlen(a[i].value);

        out->live++;
        out->bytes += a[i].name_len + len;
        if (a[i].name_len > SC_NAME_MAX) {
            out->too_long = a[i].name;
        }
        if (c < 0 || !same_value(&a[i], len, &b[j])) {
            sc_change_attr_put(&out->attrs, a[i].name, a[i].name_len, a[i].value, len);
            out->nattrs++;
        }
        j += c == 0;
        i++;
    }
    return out->attrs.err;
}

static const sc_attr_t *find_loaded(const apr_array_header_t *loaded, const char *name)
{
    for (int i = 0; loaded && i < loaded->nelts; i++) {
        const sc_attr_t *a = &APR_ARRAY_IDX(loaded, i, sc_attr_t);

        if (sc_attr_name_cmp(a->name, a->name_len, name, strlen(name)) == 0) {
            return a;
        }
    }
    return NULL;
}

static int holds_login(const char *name, const apr_array_header_t *attrs)
{
    static const char suffix[] = "-user"; /* mod_auth_form: name of the realm, then this */
    apr_size_t len = strlen(name);

    for (int i = 0; attrs && i < attrs->nelts; i++) {
        if (ap_cstr_casecmp(name, APR_ARRAY_IDX(attrs, i, const char *)) == 0) {
            return 1;
        }
    }
    if (attrs) {
        return 0;
    }
    return len >= sizeof(suffix) - 1 &&
           ap_cstr_casecmp(name + len - (sizeof(suffix) - 1), suffix) == 0;
}

int sc_session_login_changed(const apr_table_t *now, const apr_array_header_t *loaded,
                             const apr_array_header_t *attrs)
{
    const apr_array_header_t *entries = apr_table_elts(now);
    const apr_table_entry_t *e = (const apr_table_entry_t *)(const void *)entries->elts;

    for (int i = 0; i < entries->nelts; i++) {
        if (is_attribute(e[i].key) && e[i].val && *e[i].val && holds_login(e[i].key, attrs)) {
            const sc_attr_t *before = find_loaded(loaded, e[i].key);
            apr_size_t len = strlen(e[i].val);

            if (!before || before->value_len != len || memcmp(before->value, e[i].val, len) != 0) {
                return 1;
            }
        }
    }
    return 0;
}
