/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The catalogue: per name the version that deployDir has, and the one that is wanted instead.
 *
 * A sorted array of pointers: entries are found by halving, listed in order, and keep their place
 * in memory while others come and go. The counts are kept up to date with each change, because
 * limits are checked against them for each file.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void sc_catalogue_init(sc_catalogue_t *c, apr_size_t max_removed)
{
    memset(c, 0, sizeof(*c));
    c->max_removed = max_removed;
}

void sc_catalogue_free(sc_catalogue_t *c)
{
    apr_size_t i;

    for (i = 0; i < c->n; i++) {
        free(c->at[i]->name);
        free(c->at[i]);
    }
    free(c->at);
    sc_catalogue_init(c, c->max_removed);
}

/** Index of the first entry whose name is not before this one. */
static apr_size_t lower_bound(const sc_catalogue_t *c, const char *name)
{
    apr_size_t low = 0, high = c->n;

    while (low < high) {
        apr_size_t middle = low + (high - low) / 2;

        if (strcmp(c->at[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int is_at(const sc_catalogue_t *c, apr_size_t i, const char *name)
{
    return i < c->n && strcmp(c->at[i]->name, name) == 0;
}

sc_deploy_entry_t *sc_catalogue_find(const sc_catalogue_t *c, const char *name)
{
    apr_size_t i = lower_bound(c, name);

    return is_at(c, i, name) ? c->at[i] : NULL;
}

apr_size_t sc_catalogue_after(const sc_catalogue_t *c, const char *name)
{
    apr_size_t i = lower_bound(c, name);

    return is_at(c, i, name) ? i + 1 : i;
}

static int grow(sc_catalogue_t *c)
{
    apr_size_t cap = c->cap != 0 ? 2 * c->cap : 64;
    sc_deploy_entry_t **at = realloc(c->at, cap * sizeof(*at));

    if (at == NULL) {
        return 0;
    }
    c->at = at;
    c->cap = cap;
    return 1;
}

sc_deploy_entry_t *sc_catalogue_get(sc_catalogue_t *c, const char *name)
{
    apr_size_t i = lower_bound(c, name);
    sc_deploy_entry_t *e;

    if (is_at(c, i, name)) {
        return c->at[i];
    }
    if (c->n == c->cap && !grow(c)) {
        return NULL;
    }
    e = calloc(1, sizeof(*e));
    if (e != NULL) {
        e->name = strdup(name);
    }
    if (e == NULL || e->name == NULL) {
        free(e);
        return NULL;
    }
    memmove(&c->at[i + 1], &c->at[i], (c->n - i) * sizeof(c->at[0]));
    c->at[i] = e;
    c->n++;
    return e;
}

/* ---- versions ------------------------------------------------------------------------------- */

int sc_version_same(const sc_version_t *a, const sc_version_t *b)
{
    return a->kind == b->kind && a->executable == b->executable && a->size == b->size &&
           memcmp(a->sha, b->sha, sizeof(a->sha)) == 0;
}

static void account(sc_catalogue_t *c, const sc_deploy_entry_t *e, int sign)
{
    apr_uint64_t bytes = 0;

    if (e->want.kind == SC_DEPLOY_FILE) {
        bytes = e->want.size;
    } else if (e->have.kind == SC_DEPLOY_FILE) {
        bytes = e->have.size;
    }
    if (sign > 0) {
        c->bytes += bytes;
        c->files += e->have.kind == SC_DEPLOY_FILE;
        c->removed += e->have.kind == SC_DEPLOY_REMOVED;
        c->wanted += e->want.kind != SC_DEPLOY_NONE;
    } else {
        c->bytes -= bytes;
        c->files -= e->have.kind == SC_DEPLOY_FILE;
        c->removed -= e->have.kind == SC_DEPLOY_REMOVED;
        c->wanted -= e->want.kind != SC_DEPLOY_NONE;
    }
}

static void clear_want(sc_deploy_entry_t *e)
{
    memset(&e->want, 0, sizeof(e->want));
    e->source = 0;
}

void sc_catalogue_have(sc_catalogue_t *c, sc_deploy_entry_t *e, const sc_version_t *v)
{
    account(c, e, -1);
    e->have = *v;
    if (sc_stamp_cmp(&e->want.stamp, &v->stamp) <= 0) {
        clear_want(e);
    }
    account(c, e, 1);
    c->sum_known = 0;
}

void sc_catalogue_want(sc_catalogue_t *c, sc_deploy_entry_t *e, const sc_version_t *v,
                       apr_uint32_t source)
{
    account(c, e, -1);
    if (v != NULL) {
        e->want = *v;
        e->source = source;
    } else {
        clear_want(e);
    }
    account(c, e, 1);
}

/* ---- what is not needed any more ------------------------------------------------------------ */

static int by_stamp(const void *a, const void *b)
{
    return sc_stamp_cmp(a, b);
}

/** The stamp below which removals are forgotten, so that max_removed are left. */
static sc_stamp_t oldest_kept(const sc_catalogue_t *c)
{
    sc_stamp_t limit = {0, 0};
    sc_stamp_t *stamps = malloc(c->removed * sizeof(*stamps));
    apr_size_t n = 0;
    apr_size_t i;

    if (stamps == NULL) {
        return limit; /* no memory: later */
    }
    for (i = 0; i < c->n; i++) {
        if (c->at[i]->have.kind == SC_DEPLOY_REMOVED) {
            stamps[n++] = c->at[i]->have.stamp;
        }
    }
    qsort(stamps, n, sizeof(*stamps), by_stamp);
    limit = stamps[n - c->max_removed];
    free(stamps);
    return limit;
}

static int is_empty(const sc_deploy_entry_t *e)
{
    return e->have.kind == SC_DEPLOY_NONE && e->want.kind == SC_DEPLOY_NONE && !e->watched &&
           !e->queued && e->found.ino == 0;
}

void sc_catalogue_tidy(sc_catalogue_t *c)
{
    static const sc_version_t none;
    sc_stamp_t limit = {0, 0};
    apr_size_t kept = 0;
    apr_size_t i;

    if (c->removed > c->max_removed) {
        limit = oldest_kept(c);
    }
    for (i = 0; i < c->n; i++) {
        sc_deploy_entry_t *e = c->at[i];

        if (e->have.kind == SC_DEPLOY_REMOVED && sc_stamp_cmp(&e->have.stamp, &limit) < 0) {
            sc_version_t want = e->want;
            apr_uint32_t source = e->source;

            sc_catalogue_have(c, e, &none);
            if (want.kind != SC_DEPLOY_NONE) {
                sc_catalogue_want(c, e, &want, source);
            }
        }
        if (is_empty(e)) {
            free(e->name);
            free(e);
        } else {
            c->at[kept++] = e;
        }
    }
    c->n = kept;
}

/* ---- sum ------------------------------------------------------------------------------------ */

static int digest_entry(EVP_MD_CTX *md, sc_buf_t *b, const sc_deploy_entry_t *e)
{
    sc_buf_clear(b);
    sc_put_str(b, e->name, strlen(e->name));
    sc_put_u8(b, e->have.kind);
    sc_put_u8(b, e->have.executable);
    sc_put_varint(b, e->have.size);
    sc_put_u64(b, e->have.stamp.hlc);
    sc_put_u32(b, e->have.stamp.node);
    sc_put(b, e->have.sha, sizeof(e->have.sha));
    return b->err == APR_SUCCESS && EVP_DigestUpdate(md, b->data, b->len);
}

const unsigned char *sc_catalogue_sum(sc_catalogue_t *c)
{
    EVP_MD_CTX *md;
    sc_buf_t b;
    apr_size_t i;
    int ok;

    if (c->sum_known) {
        return c->sum;
    }
    md = EVP_MD_CTX_new();
    sc_buf_init(&b, 1024);
    ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    for (i = 0; ok && i < c->n; i++) {
        if (c->at[i]->have.kind != SC_DEPLOY_NONE) {
            ok = digest_entry(md, &b, c->at[i]);
        }
    }
    ok = ok && EVP_DigestFinal_ex(md, c->sum, NULL);
    EVP_MD_CTX_free(md);
    sc_buf_free(&b);
    if (!ok) {
        memset(c->sum, 0, sizeof(c->sum)); /* no memory: unlike all others, so they are compared */
    }
    c->sum_known = ok;
    return c->sum;
}
