/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The ring of notices. Entries are moved as relaxed atomic words between two looks at their number,
 * as views are (board.c): what is copied while the engine writes it is thrown away.
 */
#include <stddef.h>
#include <string.h>

#include "sc_notice.h"

/** How far back one that repeats itself is looked for, and how old it may be. */
#define ALIKE_DEPTH 4
#define ALIKE_TIME apr_time_from_sec(60)

typedef apr_uint64_t __attribute__((may_alias)) word_t;

#define HEAD sizeof(word_t) /* the number */
#define WORDS ((sizeof(sc_notice_t) - HEAD) / sizeof(word_t))

_Static_assert(offsetof(sc_notice_t, seq) == 0, "the number stands before the words it guards");
_Static_assert(sizeof(sc_notice_t) == 4 * sizeof(word_t) + 2 * sizeof(apr_uint32_t) + SC_NOTICE_WHO,
               "a notice is made of whole words without padding");
_Static_assert(offsetof(sc_notices_t, entry) % sizeof(word_t) == 0, "and stands on their border");

static void words_copy(void *to, const void *from)
{
    word_t *t = (word_t *)to;
    const word_t *f = (const word_t *)from;
    apr_size_t i;

    for (i = 1; i <= WORDS; i++) {
        __atomic_store_n(&t[i], __atomic_load_n(&f[i], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
    }
}

static sc_notice_t *entry_of(sc_notices_t *ring, apr_uint64_t seq)
{
    return &ring->entry[seq % SC_NOTICES_MAX];
}

/* The number is 0 while the words change. */
static void write_entry(sc_notices_t *ring, const sc_notice_t *n)
{
    sc_notice_t *e = entry_of(ring, n->seq);

    __atomic_store_n(&e->seq, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    words_copy(e, n);
    __atomic_store_n(&e->seq, n->seq, __ATOMIC_RELEASE);
}

/* One of the last few that says the same. @return NULL: none */
static const sc_notice_t *alike(sc_notices_t *ring, const sc_notice_t *n)
{
    apr_uint64_t seq;

    for (seq = ring->last; seq > 0 && seq + ALIKE_DEPTH > ring->last; seq--) {
        const sc_notice_t *e = entry_of(ring, seq);

        if (e->seq == seq && e->kind == n->kind && memcmp(e->who, n->who, sizeof(e->who)) == 0 &&
            n->last >= e->last && n->last - e->last < ALIKE_TIME) {
            return e;
        }
    }
    return NULL;
}

void sc_notice_add(sc_notices_t *ring, apr_time_t wall, sc_notice_kind_t kind, const char *who,
                   apr_uint64_t number)
{
    const sc_notice_t *before;
    sc_notice_t n;
    apr_size_t len = who != NULL ? strlen(who) : 0;

    memset(&n, 0, sizeof(n));
    n.first = n.last = wall;
    n.kind = (apr_uint32_t)kind;
    n.times = 1;
    n.number = number;
    memcpy(n.who, who != NULL ? who : "", len < SC_NOTICE_WHO ? len : SC_NOTICE_WHO - 1);
    before = alike(ring, &n);
    if (before != NULL) {
        n.seq = before->seq;
        n.first = before->first;
        n.times = before->times + 1;
        write_entry(ring, &n);
        return;
    }
    n.seq = ring->last + 1;
    write_entry(ring, &n);
    __atomic_store_n(&ring->last, n.seq, __ATOMIC_RELEASE);
}

/* @return 0: it is being written, or another one by now */
static int read_entry(const sc_notices_t *ring, apr_uint64_t seq, sc_notice_t *out)
{
    const sc_notice_t *e = &ring->entry[seq % SC_NOTICES_MAX];

    if (__atomic_load_n(&e->seq, __ATOMIC_ACQUIRE) != seq) {
        return 0;
    }
    words_copy(out, e);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&e->seq, __ATOMIC_RELAXED) != seq) {
        return 0;
    }
    out->seq = seq;
    out->who[SC_NOTICE_WHO - 1] = '\0';
    return 1;
}

int sc_notices_read(const sc_notices_t *ring, sc_notice_t out[SC_NOTICES_MAX])
{
    apr_uint64_t last = __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE);
    apr_uint64_t seq;
    int n = 0;

    for (seq = last; seq > 0 && seq + SC_NOTICES_MAX > last; seq--) {
        n += read_entry(ring, seq, &out[n]);
    }
    return n;
}

const char *sc_notice_name(apr_uint32_t kind)
{
    static const char *const names[] = {"unknown",
#define SC_X(name) #name,
                                        SC_NOTICES(SC_X)
#undef SC_X
    };

    return names[kind < SC_NOTICE_KINDS ? kind : 0];
}
