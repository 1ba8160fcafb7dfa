/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The noticeboard: what the engine pins up for everybody else in the mapping.
 *
 * The view is kept twice. view_gen names the current copy by its lowest bit; a publication fills
 * the other copy and then raises view_gen (release). A copy is written again only after view_gen
 * has moved on and a release fence; so a reader that finds view_gen unchanged after an acquire
 * fence has copied one view. All of a view's bytes are moved as relaxed atomic words, for the copy
 * that is about to be thrown away may be written at that very moment.
 */
#include <stddef.h>
#include <string.h>

#include "sc_board.h"

#define VIEW_TRIES 32
#define ALIVE_TRIES 4

/* Structures moved word by word: the compiler must not take the words for other objects. */
typedef apr_uint64_t __attribute__((may_alias)) word_t;

_Static_assert(sizeof(sc_view_t) % sizeof(word_t) == 0, "a view is made of whole words");
_Static_assert(sizeof(sc_board_member_t) % sizeof(word_t) == 0, "and so is a member");
_Static_assert(offsetof(sc_view_t, member) % sizeof(word_t) == 0, "members begin with a word");

/* Bytes that no field owns would be copied all the same, and equal views would differ in them. */
#define FIELD(field) sizeof(((sc_board_member_t *)0)->field)
_Static_assert(sizeof(sc_board_member_t) ==
                   FIELD(route) + FIELD(host) + FIELD(url) + FIELD(domain) + FIELD(uid) +
                       FIELD(port) + FIELD(role) + FIELD(state) + FIELD(node_state) + FIELD(self) +
                       FIELD(flags) + FIELD(lagging) + FIELD(leased) + FIELD(queued) +
                       FIELD(foreign) + FIELD(weight) + FIELD(lbset) + FIELD(queued_bytes) +
                       FIELD(since) + FIELD(heard) + FIELD(owes),
               "a member has no padding");
#undef FIELD
_Static_assert(sizeof(sc_view_t) == 4 * sizeof(apr_uint32_t) +
                                        sizeof(((sc_view_t *)0)->coordinator) +
                                        SC_MEMBERS_MAX * sizeof(sc_board_member_t),
               "a view has no padding");

/* Words that are read and written atomically stand where that is one access on every machine, also
 * where the ABI would align 64 bits to 4 bytes. */
#define ON_WORD(type, field)                                                                       \
    _Static_assert(offsetof(type, field) % sizeof(word_t) == 0, "atomic word off its border")
ON_WORD(sc_board_t, engine_started);
ON_WORD(sc_board_t, lease_until);
ON_WORD(sc_board_t, hlc);
ON_WORD(sc_board_t, hlc_at);
ON_WORD(sc_board_t, worked_at);
ON_WORD(sc_board_t, rates);
ON_WORD(sc_board_t, notices);
ON_WORD(sc_board_t, deploy.bytes);
ON_WORD(sc_board_t, deploy.version);
ON_WORD(sc_board_t, deploy.command_at);
ON_WORD(sc_board_t, deploy.way);
ON_WORD(sc_board_t, count);
ON_WORD(sc_board_t, peer);
ON_WORD(sc_board_t, view);
ON_WORD(sc_board_member_t, queued_bytes);
ON_WORD(sc_board_member_t, since);
ON_WORD(sc_board_member_t, heard);
ON_WORD(sc_board_member_t, owes);
#undef ON_WORD
_Static_assert(sizeof(sc_board_peer_t) == 3 * sizeof(word_t), "peers are words, too");
_Static_assert(sizeof(sc_board_t) % sizeof(word_t) == 0, "what follows the board is aligned");

static void words_in(void *to, const void *from, apr_size_t bytes)
{
    word_t *t = to;
    const word_t *f = from;
    apr_size_t i;

    for (i = 0; i < bytes / sizeof(word_t); i++) {
        __atomic_store_n(&t[i], f[i], __ATOMIC_RELAXED);
    }
}

static void words_out(void *to, const void *from, apr_size_t bytes)
{
    word_t *t = to;
    const word_t *f = from;
    apr_size_t i;

    for (i = 0; i < bytes / sizeof(word_t); i++) {
        t[i] = __atomic_load_n(&f[i], __ATOMIC_RELAXED);
    }
}

/* ---- deployed files on their way ------------------------------------------------------------- */

/* A sequence lock: who reads can wait, who writes cannot. */

#define WAY_TRIES 32
_Static_assert(sizeof(sc_board_way_t) % sizeof(word_t) == 0, "a way is made of whole words");

void sc_board_set_ways(sc_board_t *board, const sc_board_way_t *in, const sc_board_way_t *out)
{
    static const sc_board_way_t none;
    /* an engine that died here has left it odd */
    apr_uint32_t gen = board->deploy.way_gen | 1;

    __atomic_store_n(&board->deploy.way_gen, gen, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    words_in(&board->deploy.way[0], in ? in : &none, sizeof(none));
    words_in(&board->deploy.way[1], out ? out : &none, sizeof(none));
    __atomic_store_n(&board->deploy.way_gen, gen + 1, __ATOMIC_RELEASE);
}

apr_status_t sc_board_ways(const sc_board_t *board, sc_board_way_t *in, sc_board_way_t *out)
{
    for (int tries = 0; tries < WAY_TRIES; tries++) {
        apr_uint32_t gen = sc_board_get(board->deploy.way_gen);

        words_out(in, &board->deploy.way[0], sizeof(*in));
        words_out(out, &board->deploy.way[1], sizeof(*out));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(gen & 1) && __atomic_load_n(&board->deploy.way_gen, __ATOMIC_RELAXED) == gen) {
            in->file[sizeof(in->file) - 1] = in->who[sizeof(in->who) - 1] = '\0';
            out->file[sizeof(out->file) - 1] = out->who[sizeof(out->who) - 1] = '\0';
            return APR_SUCCESS;
        }
    }
    memset(in, 0, sizeof(*in));
    memset(out, 0, sizeof(*out));
    return APR_EAGAIN;
}

/* ---- the view -------------------------------------------------------------------------------- */

static apr_uint32_t bounded(apr_uint32_t count)
{
    return count < SC_MEMBERS_MAX ? count : SC_MEMBERS_MAX;
}

static apr_size_t view_bytes(apr_uint32_t count)
{
    return offsetof(sc_view_t, member) + bounded(count) * sizeof(sc_board_member_t);
}

/* After reading a copy: whether it was the current one all the time. */
static int still(const sc_board_t *board, apr_uint32_t gen)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&board->view_gen, __ATOMIC_RELAXED) == gen;
}

apr_status_t sc_board_view(const sc_board_t *board, sc_view_t *out)
{
    int tries;

    for (tries = 0; tries < VIEW_TRIES; tries++) {
        apr_uint32_t gen = sc_board_get(board->view_gen);
        const sc_view_t *view = &board->view[gen & 1];
        apr_uint32_t count = __atomic_load_n(&view->count, __ATOMIC_RELAXED);

        words_out(out, view, view_bytes(count));
        if (still(board, gen)) {
            out->count = bounded(count);
            memset(&out->member[out->count], 0,
                   (SC_MEMBERS_MAX - out->count) * sizeof(out->member[0]));
            return APR_SUCCESS;
        }
    }
    return APR_EAGAIN;
}

apr_uint32_t sc_board_view_gen(const sc_board_t *board)
{
    return sc_board_get(board->view_gen);
}

void sc_board_publish(sc_board_t *board, const sc_view_t *view)
{
    apr_uint32_t gen = board->view_gen + 1;
    sc_view_t *copy = &board->view[gen & 1];

    __atomic_thread_fence(__ATOMIC_RELEASE); /* the last turn of view_gen is seen before these */
    words_in(copy, view, view_bytes(view->count));
    __atomic_store_n(&copy->count, bounded(view->count), __ATOMIC_RELAXED);
    __atomic_store_n(&copy->gen, gen, __ATOMIC_RELAXED);
    sc_board_set(board->view_gen, gen);
}

/* Whether it is worth it to compare all of them; len is not 0. */
static inline int ends_alike(const char *entry, const char *route, apr_size_t len)
{
    return __atomic_load_n(&entry[len], __ATOMIC_RELAXED) == '\0' &&
           __atomic_load_n(&entry[len - 1], __ATOMIC_RELAXED) == route[len - 1];
}

/* Compare a route that may be changing with one that is not, from its end: routes of a cluster
 * begin alike. One with a NUL within is nobody's. */
static int is_route(const char *entry, const char *route, apr_size_t len)
{
    if (__atomic_load_n(&entry[len], __ATOMIC_RELAXED) != '\0') {
        return 0;
    }
    while (len > 0) {
        len--;
        if (__atomic_load_n(&entry[len], __ATOMIC_RELAXED) != route[len] || route[len] == '\0') {
            return 0;
        }
    }
    return 1;
}

static int alive_in(const sc_view_t *view, const char *route, apr_size_t len)
{
    apr_uint32_t count = bounded(__atomic_load_n(&view->count, __ATOMIC_RELAXED));
    apr_uint32_t i;

    for (i = 0; i < count; i++) {
        const sc_board_member_t *m = &view->member[i];

        if (__atomic_load_n(&m->role, __ATOMIC_RELAXED) == SC_ROLE_NODE &&
            __atomic_load_n(&m->state, __ATOMIC_RELAXED) == SC_MEMBER_ALIVE &&
            __atomic_load_n(&m->node_state, __ATOMIC_RELAXED) != SC_NODE_MINORITY &&
            is_route(m->route, route, len)) {
            return 1;
        }
    }
    return 0;
}

int sc_board_route_alive(const sc_board_t *board, const char *route, apr_size_t len)
{
    int alive = 0, tries;

    if (len == 0 || len > SC_ROUTE_MAX) {
        return 0;
    }
    for (tries = 0; tries < ALIVE_TRIES; tries++) {
        apr_uint32_t gen = sc_board_get(board->view_gen);

        alive = alive_in(&board->view[gen & 1], route, len);
        if (still(board, gen)) {
            break;
        }
    }
    return alive;
}

/* Of several live members of one route, which share it for a moment when a node has restarted: one
 * that is not suspect, and of these the one that came last. */
static apr_uint32_t state_in(const sc_view_t *view, const char *route, apr_size_t len)
{
    apr_uint32_t count = bounded(__atomic_load_n(&view->count, __ATOMIC_RELAXED));
    apr_uint32_t best = SC_MEMBER_GONE, state = SC_NODE_DOWN;
    apr_time_t newest = 0;

    for (apr_uint32_t i = 0; i < count; i++) {
        const sc_board_member_t *m = &view->member[i];
        apr_uint32_t is;
        apr_time_t since;

        if (!ends_alike(m->route, route, len) || !is_route(m->route, route, len)) {
            continue;
        }
        is = __atomic_load_n(&m->state, __ATOMIC_RELAXED);
        since = __atomic_load_n(&m->since, __ATOMIC_RELAXED);
        if (__atomic_load_n(&m->role, __ATOMIC_RELAXED) == SC_ROLE_NODE &&
            (is < best || (is == best && is < SC_MEMBER_GONE && since > newest))) {
            best = is;
            newest = since;
            state = __atomic_load_n(&m->node_state, __ATOMIC_RELAXED);
        }
    }
    return state;
}

apr_uint32_t sc_board_route_state(const sc_board_t *board, const char *route, apr_size_t len)
{
    apr_uint32_t state = SC_NODE_DOWN;

    if (len == 0 || len > SC_ROUTE_MAX) {
        return SC_NODE_DOWN;
    }
    for (int tries = 0; tries < ALIVE_TRIES; tries++) {
        apr_uint32_t gen = sc_board_get(board->view_gen);

        state = state_in(&board->view[gen & 1], route, len);
        if (still(board, gen)) {
            break;
        }
    }
    return state;
}

int sc_board_any_passing(const sc_board_t *board)
{
    const sc_view_t *view = &board->view[sc_board_get(board->view_gen) & 1];
    apr_uint32_t count = bounded(__atomic_load_n(&view->count, __ATOMIC_RELAXED));

    for (apr_uint32_t i = 0; i < count; i++) {
        const sc_board_member_t *m = &view->member[i];
        apr_uint32_t state = __atomic_load_n(&m->node_state, __ATOMIC_RELAXED);

        if ((state == SC_NODE_JOINING || sc_node_going(state)) &&
            __atomic_load_n(&m->role, __ATOMIC_RELAXED) == SC_ROLE_NODE &&
            __atomic_load_n(&m->state, __ATOMIC_RELAXED) != SC_MEMBER_GONE) {
            return 1;
        }
    }
    return 0;
}

int sc_board_any_node(const sc_board_t *board)
{
    const sc_view_t *view = &board->view[sc_board_get(board->view_gen) & 1];
    apr_uint32_t count = bounded(__atomic_load_n(&view->count, __ATOMIC_RELAXED));

    for (apr_uint32_t i = 0; i < count; i++) {
        const sc_board_member_t *m = &view->member[i];

        if (__atomic_load_n(&m->state, __ATOMIC_RELAXED) == SC_MEMBER_ALIVE &&
            __atomic_load_n(&m->role, __ATOMIC_RELAXED) == SC_ROLE_NODE &&
            !__atomic_load_n(&m->self, __ATOMIC_RELAXED)) {
            return 1;
        }
    }
    return 0;
}

/* ---- peers ---------------------------------------------------------------------------------- */

apr_uint64_t sc_board_peer_lsn(const sc_board_t *board, apr_uint64_t store_id)
{
    int i;

    for (i = 0; store_id != 0 && i < SC_PEERS_MAX; i++) {
        if (sc_board_get(board->peer[i].store_id) == store_id) {
            return sc_board_get(board->peer[i].lsn);
        }
    }
    return 0;
}

void sc_board_peer_set(sc_board_t *board, apr_uint64_t store_id, apr_uint64_t lsn, apr_time_t now)
{
    sc_board_peer_t *p = NULL;
    int i;

    if (store_id == 0) {
        return;
    }
    for (i = 0; i < SC_PEERS_MAX; i++) {
        sc_board_peer_t *e = &board->peer[i];

        if (e->store_id == store_id) {
            if (lsn > e->lsn) {
                sc_board_set(e->lsn, lsn);
            }
            sc_board_set(e->used, now);
            return;
        }
        /* the place for a new one: the first free, else the one not used for the longest time */
        if (p == NULL || (p->store_id != 0 && (e->store_id == 0 || e->used < p->used))) {
            p = e;
        }
    }
    /* an engine killed in between leaves a free entry, never one peer's number under another's id
     */
    sc_board_set(p->store_id, 0);
    sc_board_set(p->lsn, lsn);
    sc_board_set(p->used, now);
    sc_board_set(p->store_id, store_id);
}

/* ---- names ---------------------------------------------------------------------------------- */

const char *sc_node_state_name(apr_uint32_t state)
{
    static const char *const names[] = {"down",    "starting", "joining", "ready",
                                        "leaving", "minority", "draining"};

    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

const char *sc_member_state_name(apr_uint32_t state)
{
    static const char *const names[] = {"alive", "suspect", "gone"};

    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}
