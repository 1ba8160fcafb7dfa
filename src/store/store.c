/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The mapping: its geometry, its life, the names and the counts in it.
 *
 * The geometry is a pure function of the size. A handle computes it for itself and then compares it
 * with what the head says, so a head that was written by another release, or by nobody, cannot lead
 * a handle astray.
 *
 * Pages nobody has touched cost nothing (MAP_NORESERVE, no free list over virgin cells): a store
 * sized for the worst day takes memory as it fills.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <apr_siphash.h>

#include "store_layout.h"

/* ---- geometry ------------------------------------------------------------------------------- */

typedef struct geometry_t {
    apr_uint32_t ncells;
    apr_uint32_t nbuckets;
    apr_uint64_t board, context, route, wheel, bucket, gen, cell, touch, touched, end;
} geometry_t;

static apr_uint64_t aligned(apr_uint64_t offset, apr_uint64_t to)
{
    return (offset + to - 1) / to * to;
}

static void lay_out(geometry_t *g, apr_uint64_t ncells, apr_uint64_t page)
{
    apr_uint64_t nbuckets = 1;

    while (nbuckets < (ncells + 3) / 4) {
        nbuckets *= 2;
    }
    g->ncells = (apr_uint32_t)ncells;
    g->nbuckets = (apr_uint32_t)nbuckets;
    g->board = aligned(sizeof(head_t), 64);
    g->context = aligned(g->board + sizeof(sc_board_t), 64);
    g->route = aligned(g->context + SC_CONTEXTS_MAX * sizeof(context_entry_t), 64);
    g->wheel = aligned(g->route + SC_ROUTES_MAX * (SC_ROUTE_MAX + 1), 64);
    g->bucket = aligned(g->wheel + (WHEEL_SLOTS + 1) * sizeof(apr_uint32_t), 64);
    g->gen = aligned(g->bucket + nbuckets * sizeof(apr_uint32_t), 64);
    g->cell = aligned(g->gen + ncells * sizeof(apr_uint32_t), CELL_BYTES);
    g->touch = aligned(g->cell + ncells * CELL_BYTES, page);
    g->touched = aligned(g->touch + ncells * sizeof(apr_uint64_t), 64);
    g->end = g->touched + (ncells + 63) / 64 * sizeof(apr_uint64_t);
}

/* As many cells as fit. */
static apr_status_t geometry(geometry_t *g, apr_uint64_t bytes)
{
    long page = sysconf(_SC_PAGESIZE);
    apr_uint64_t ncells = bytes / CELL_BYTES;

    if (page <= 0 || bytes < SC_STORE_MIN) {
        return APR_EINVAL;
    }
    if (ncells > NO_CELL - 1) {
        ncells = NO_CELL - 1;
    }
    lay_out(g, ncells, (apr_uint64_t)page);
    while (g->end > bytes) {
        apr_uint64_t over = (g->end - bytes) / (CELL_BYTES + 16) + 1;

        if (over >= ncells) {
            return APR_EINVAL;
        }
        ncells -= over;
        lay_out(g, ncells, (apr_uint64_t)page);
    }
    return APR_SUCCESS;
}

/* Counters are told apart by their place only, so their names and order are part of the stamp. */
static apr_uint64_t stamp_counters(apr_uint64_t stamp)
{
#define SC_X(name) #name " "
    static const char names[] = SC_COUNTERS(SC_X);
#undef SC_X
    apr_size_t i;

    for (i = 0; i < sizeof(names); i++) {
        stamp = mix(stamp, (unsigned char)names[i]);
    }
    return stamp;
}

/* What two builds must agree on to share one noticeboard. */
static apr_uint64_t stamp_board(apr_uint64_t stamp)
{
    const apr_uint64_t facts[] = {
        sizeof(sc_board_t),
        offsetof(sc_board_t, node_state),
        offsetof(sc_board_t, lease_until),
        offsetof(sc_board_t, route),
        offsetof(sc_board_t, hlc),
        offsetof(sc_board_t, hlc_at),
        offsetof(sc_board_t, worked_at),
        offsetof(sc_board_t, receiver),
        offsetof(sc_board_t, restarts),
        offsetof(sc_board_t, short_copies),
        offsetof(sc_board_t, moving),
        offsetof(sc_board_t, draining),
        offsetof(sc_board_t, completed),
        offsetof(sc_board_t, rates),
        offsetof(sc_board_t, notices),
        offsetof(sc_board_t, forgot),
        offsetof(sc_board_t, count),
        offsetof(sc_board_t, peer),
        offsetof(sc_board_t, view_gen),
        offsetof(sc_board_t, view),
        sizeof(sc_board_peer_t),
        offsetof(sc_board_peer_t, lsn),
        sizeof(sc_counters_t),
        sizeof(sc_view_t),
        offsetof(sc_view_t, member),
        sizeof(sc_board_member_t),
        offsetof(sc_board_member_t, uid),
        offsetof(sc_board_member_t, domain),
        offsetof(sc_board_member_t, state),
        offsetof(sc_board_member_t, flags),
        offsetof(sc_board_member_t, leased),
        offsetof(sc_board_member_t, queued_bytes),
        offsetof(sc_board_member_t, heard),
        offsetof(sc_board_member_t, owes),
        sizeof(sc_notice_t),
        offsetof(sc_notice_t, number),
        sizeof(sc_rates_t),
        SC_NOTICES_MAX,
        SC_PEERS_MAX,
        SC_MEMBERS_MAX,
    };
    apr_size_t i;

    for (i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        stamp = mix(stamp, facts[i]);
    }
    return stamp_counters(stamp);
}

/* Everything two builds must agree on to share one mapping. */
static apr_uint64_t abi_stamp(void)
{
    const apr_uint64_t facts[] = {
        STORE_VERSION,
        sizeof(head_t),
        offsetof(head_t, key),
        offsetof(head_t, nroutes),
        offsetof(head_t, lsn),
        offsetof(head_t, proxies),
        offsetof(head_t, wheel_tick),
        offsetof(head_t, fresh),
        sizeof(record_cell_t),
        offsetof(record_cell_t, created),
        offsetof(record_cell_t, accessed),
        offsetof(record_cell_t, due),
        offsetof(record_cell_t, hlc),
        offsetof(record_cell_t, node),
        offsetof(record_cell_t, next),
        offsetof(record_cell_t, body),
        offsetof(record_cell_t, body_len),
        offsetof(record_cell_t, kind),
        offsetof(record_cell_t, check),
        offsetof(record_cell_t, loc_sel),
        offsetof(record_cell_t, loc),
        offsetof(record_cell_t, wheel_prev),
        offsetof(record_cell_t, wheel_slot),
        offsetof(record_cell_t, loc_check),
        sizeof(loc_t),
        offsetof(loc_t, lsn),
        offsetof(loc_t, epoch),
        offsetof(loc_t, routes),
        LSN_BITS,
        sizeof(body_cell_t),
        offsetof(body_cell_t, next),
        sizeof(context_entry_t),
        offsetof(context_entry_t, sessions),
        offsetof(context_entry_t, backups),
        offsetof(context_entry_t, proxies),
        offsetof(context_entry_t, body_bytes),
        SC_ROUTES_MAX,
        SC_CONTEXTS_MAX,
        WHEEL_SLOTS,
        TOUCH_GEN_BITS,
    };
    apr_uint64_t stamp = STORE_MAGIC;
    apr_size_t i;

    for (i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        stamp = mix(stamp, facts[i]);
    }
    return stamp_board(stamp);
}

static sc_store_t *handle(void *base, apr_size_t bytes, const geometry_t *g, apr_pool_t *pool)
{
    sc_store_t *s = apr_pcalloc(pool, sizeof(*s));
    unsigned char *b = base;

    if (s == NULL) {
        return NULL;
    }
    s->base = b;
    s->bytes = bytes;
    s->head = (head_t *)(void *)b;
    s->board = (sc_board_t *)(void *)(b + g->board);
    s->context = (context_entry_t *)(void *)(b + g->context);
    s->route = (char(*)[SC_ROUTE_MAX + 1])(void *)(b + g->route);
    s->wheel = (apr_uint32_t *)(void *)(b + g->wheel);
    s->bucket = (apr_uint32_t *)(void *)(b + g->bucket);
    s->gen = (apr_uint32_t *)(void *)(b + g->gen);
    s->cell = (cell_t *)(void *)(b + g->cell);
    s->touch = (apr_uint64_t *)(void *)(b + g->touch);
    s->touched = (apr_uint64_t *)(void *)(b + g->touched);
    s->touch_offset = (apr_size_t)g->touch;
    s->ncells = g->ncells;
    s->nbuckets = g->nbuckets;
    return s;
}

/* ---- life ----------------------------------------------------------------------------------- */

static apr_status_t unmap(void *data)
{
    sc_store_t *s = data;

    return munmap(s->base, s->bytes) == 0 ? APR_SUCCESS : errno;
}

/* Random parts of a new head. */
static apr_status_t seed(sc_store_t *s)
{
    sc_id_t random;
    apr_status_t rv = sc_id_generate(&random);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    memcpy(s->key, random.b, sizeof(s->key));
    memcpy(s->head->key, random.b, sizeof(s->key));
    if ((rv = sc_id_generate(&random)) != APR_SUCCESS) {
        return rv;
    }
    memcpy(&s->head->store_id, random.b, sizeof(s->head->store_id));
    if (s->head->store_id == 0) {
        s->head->store_id = 1; /* 0 is "no store" on the board */
    }
    return APR_SUCCESS;
}

apr_status_t sc_store_create(sc_store_t **store, apr_size_t bytes, apr_pool_t *pool)
{
    geometry_t g;
    apr_status_t rv = geometry(&g, bytes);
    sc_store_t *s;
    void *base;

    *store = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                0);
    if (base == MAP_FAILED) {
        return errno;
    }
    /* a core file must not carry sessions; a kernel that does not know the advice is no reason to
     * serve none */
    (void)madvise(base, bytes, MADV_DONTDUMP);
    s = handle(base, bytes, &g, pool);
    if (s == NULL || (rv = seed(s)) != APR_SUCCESS) {
        munmap(base, bytes);
        return s == NULL ? APR_ENOMEM : rv;
    }
    s->head->bytes = bytes;
    s->head->ncells = s->head->free_count = g.ncells;
    s->head->nbuckets = g.nbuckets;
    s->head->nroutes = 1;
    s->head->abi = abi_stamp();
    s->head->magic = STORE_MAGIC;
    apr_pool_cleanup_register(pool, s, unmap, apr_pool_cleanup_null);
    *store = s;
    return APR_SUCCESS;
}

apr_status_t sc_store_attach(sc_store_t **store, void *base, apr_size_t bytes, apr_pool_t *pool)
{
    const head_t *head = base;
    long page = sysconf(_SC_PAGESIZE);
    geometry_t g;
    sc_store_t *s;

    *store = NULL;
    if (base == NULL || page <= 0 || (apr_uintptr_t)base % (apr_uintptr_t)page != 0 ||
        geometry(&g, bytes) != APR_SUCCESS) {
        return APR_EMISMATCH;
    }
    if (head->magic != STORE_MAGIC || head->abi != abi_stamp() || head->bytes != bytes ||
        head->ncells != g.ncells || head->nbuckets != g.nbuckets || head->store_id == 0 ||
        head->ncontexts > SC_CONTEXTS_MAX || head->nroutes < 1 || head->nroutes > SC_ROUTES_MAX ||
        head->free_count > g.ncells || head->fresh > g.ncells) {
        return APR_EMISMATCH;
    }
    s = handle(base, bytes, &g, pool);
    if (s == NULL) {
        return APR_ENOMEM;
    }
    memcpy(s->key, head->key, sizeof(s->key));
    *store = s;
    return APR_SUCCESS;
}

void *sc_store_base(const sc_store_t *store)
{
    return store->base;
}

apr_size_t sc_store_bytes(const sc_store_t *store)
{
    return store->bytes;
}

apr_status_t sc_store_protect(sc_store_t *store)
{
    return mprotect(store->base, store->touch_offset, PROT_READ) == 0 ? APR_SUCCESS : errno;
}

struct sc_board_t *sc_store_board(const sc_store_t *store)
{
    return store->board;
}

apr_uint64_t sc_store_id(const sc_store_t *store)
{
    return ld64(&store->head->store_id);
}

apr_uint32_t sc_store_bucket(const sc_store_t *s, apr_uint16_t context, const sc_id_t *id)
{
    unsigned char key[2 + SC_ID_LEN];

    key[0] = (unsigned char)context;
    key[1] = (unsigned char)(context >> 8);
    memcpy(key + 2, id->b, SC_ID_LEN);
    return (apr_uint32_t)apr_siphash24(key, sizeof(key), s->key) & (s->nbuckets - 1);
}

/* ---- names ---------------------------------------------------------------------------------- */

/* Entries below the count never change, so a reader that loads the count first needs no lock. */
static apr_uint32_t count_of(const apr_uint32_t *count, apr_uint32_t max)
{
    apr_uint32_t n = ld32_acquire(count);

    return n < max ? n : max;
}

static int name_ok(const char *name, apr_size_t len, apr_size_t max)
{
    return len > 0 && len <= max && memchr(name, '\0', len) == NULL;
}

static int same_name(const char *entry, const char *name, apr_size_t len)
{
    return memcmp(entry, name, len) == 0 && entry[len] == '\0';
}

apr_status_t sc_store_context(sc_store_t *store, const char *name, apr_size_t len, int create,
                              apr_uint16_t *index)
{
    apr_uint32_t n = count_of(&store->head->ncontexts, SC_CONTEXTS_MAX);
    apr_uint32_t i;

    if (!name_ok(name, len, SC_CONTEXT_MAX)) {
        return APR_EINVAL;
    }
    for (i = 0; i < n; i++) {
        if (same_name(store->context[i].name, name, len)) {
            *index = (apr_uint16_t)i;
            return APR_SUCCESS;
        }
    }
    if (!create) {
        return APR_NOTFOUND;
    }
    if (n == SC_CONTEXTS_MAX) {
        return APR_ENOSPC;
    }
    memset(&store->context[n], 0, sizeof(store->context[n]));
    memcpy(store->context[n].name, name, len);
    st32_release(&store->head->ncontexts, n + 1);
    *index = (apr_uint16_t)n;
    return APR_SUCCESS;
}

const char *sc_store_context_name(const sc_store_t *store, apr_uint16_t index)
{
    if (index >= count_of(&store->head->ncontexts, SC_CONTEXTS_MAX)) {
        return "";
    }
    return store->context[index].name;
}

apr_status_t sc_store_route(sc_store_t *store, const char *name, apr_size_t len, int create,
                            apr_uint16_t *index)
{
    apr_uint32_t n = count_of(&store->head->nroutes, SC_ROUTES_MAX);
    apr_uint32_t i;

    if (!name_ok(name, len, SC_ROUTE_MAX)) {
        return APR_EINVAL;
    }
    for (i = SC_ROUTE_NONE + 1; i < n; i++) {
        if (same_name(store->route[i], name, len)) {
            *index = (apr_uint16_t)i;
            return APR_SUCCESS;
        }
    }
    if (!create) {
        return APR_NOTFOUND;
    }
    if (n == SC_ROUTES_MAX) {
        return APR_ENOSPC;
    }
    memset(store->route[n], 0, sizeof(store->route[n]));
    memcpy(store->route[n], name, len);
    st32_release(&store->head->nroutes, n + 1);
    *index = (apr_uint16_t)n;
    return APR_SUCCESS;
}

const char *sc_store_route_name(const sc_store_t *store, apr_uint16_t index)
{
    if (index == SC_ROUTE_NONE || index >= count_of(&store->head->nroutes, SC_ROUTES_MAX)) {
        return "";
    }
    return store->route[index];
}

/* ---- counts --------------------------------------------------------------------------------- */

static void add(apr_uint64_t *count, apr_uint64_t n, int sign)
{
    st64(count, sign > 0 ? ld64(count) + n : ld64(count) - n);
}

int sc_store_is_primary(const sc_record_t *rec, apr_uint32_t own_route)
{
    return own_route != SC_ROUTE_NONE && rec->primary == own_route;
}

int sc_store_is_backup(const sc_record_t *rec, apr_uint32_t own_route)
{
    int i;

    if (own_route == SC_ROUTE_NONE) {
        return 0;
    }
    for (i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
        if (rec->backups[i] == own_route) {
            return 1;
        }
    }
    return 0;
}

void sc_store_account(sc_store_t *s, const sc_record_t *rec, int sign)
{
    context_entry_t *c = &s->context[rec->context];

    if (rec->flags & SC_REC_TOMBSTONE) {
        add(&c->tombstones, 1, sign);
        add(&s->head->tombstones, 1, sign);
        return;
    }
    if (rec->flags & SC_REC_PROXY) {
        add(&c->proxies, 1, sign);
        add(&s->head->proxies, 1, sign);
        return;
    }
    add(&c->sessions, 1, sign);
    add(&s->head->sessions, 1, sign);
    add(&c->body_bytes, rec->body_len, sign);
    if (sc_store_is_primary(rec, s->head->own_route)) {
        add(&c->primaries, 1, sign);
    }
    if (sc_store_is_backup(rec, s->head->own_route)) {
        add(&c->backups, 1, sign);
    }
}

void sc_store_set_own_route(sc_store_t *store, apr_uint16_t route)
{
    apr_uint64_t primaries[SC_CONTEXTS_MAX] = {0}, backups[SC_CONTEXTS_MAX] = {0};
    apr_uint32_t i;

    if (route >= count_of(&store->head->nroutes, SC_ROUTES_MAX)) {
        route = SC_ROUTE_NONE;
    }
    if (store->head->own_route == route) {
        return;
    }
    store->head->own_route = route;
    for (i = 0; i < store->nbuckets; i++) {
        apr_uint32_t ref = ld32(&store->bucket[i]);
        apr_uint32_t hops;
        snap_t snap;

        for (hops = 0; ref != 0 && ref <= store->ncells && hops < MAX_HOPS; hops++) {
            if (!sc_snap_head(store, ref - 1, ld32(&store->gen[ref - 1]), &snap)) {
                break;
            }
            if (!(snap.rec.flags & NO_BODY) && snap.rec.context < SC_CONTEXTS_MAX) {
                primaries[snap.rec.context] += (apr_uint64_t)sc_store_is_primary(&snap.rec, route);
                backups[snap.rec.context] += (apr_uint64_t)sc_store_is_backup(&snap.rec, route);
            }
            ref = snap.next;
        }
    }
    for (i = 0; i < SC_CONTEXTS_MAX; i++) {
        st64(&store->context[i].primaries, primaries[i]);
        st64(&store->context[i].backups, backups[i]);
    }
}

void sc_store_stats(const sc_store_t *store, sc_store_stats_t *out)
{
    memset(out, 0, sizeof(*out));
    out->bytes = store->bytes;
    out->cells = store->ncells;
    out->cells_free = ld32(&store->head->free_count);
    out->cell_bytes = CELL_BYTES;
    out->sessions = ld64(&store->head->sessions);
    out->tombstones = ld64(&store->head->tombstones);
    out->proxies = ld64(&store->head->proxies);
    out->lsn = ld64(&store->head->lsn);
}

apr_status_t sc_store_context_stats(const sc_store_t *store, apr_uint16_t index,
                                    sc_context_stats_t *out)
{
    const context_entry_t *c;

    memset(out, 0, sizeof(*out));
    if (index >= count_of(&store->head->ncontexts, SC_CONTEXTS_MAX)) {
        return APR_NOTFOUND;
    }
    c = &store->context[index];
    memcpy(out->name, c->name, SC_CONTEXT_MAX);
    out->sessions = ld64(&c->sessions);
    out->primaries = ld64(&c->primaries);
    out->backups = ld64(&c->backups);
    out->proxies = ld64(&c->proxies);
    out->tombstones = ld64(&c->tombstones);
    out->body_bytes = ld64(&c->body_bytes);
    return APR_SUCCESS;
}
