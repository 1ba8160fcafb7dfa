/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Private layout of the store's mapping and the handle on it. Only src/store sees this.
 *
 * Everything in the mapping is addressed by index. A "ref" is an index plus one, so that fresh,
 * zeroed memory reads as "nothing here". The handle holds its own copy of the geometry and of the
 * hash key: whatever happens to the mapping's bytes, an index is checked against numbers that
 * nobody else can write.
 *
 * Memory order, the whole argument in one place
 * ---------------------------------------------
 * Each cell has a generation (gen[cell], outside the cell, so that a body's bytes can never pose as
 * one). It is odd while the cell is the head of a record that is or was just about to be linked,
 * even otherwise; it only grows.
 *
 *  W1  The writer fills free cells with relaxed stores, then makes the generation odd (release),
 *      then swings the one link that makes the record reachable (release).
 *  W2  To retire a record it swings the link away (release), then makes the generation even, then
 *      executes a release fence; only after that the record's cells may be filled again.
 *  R1  A reader that finds a record through a link (acquire) sees by W1 its bytes and its odd
 *      generation, or later ones.
 *  R2  It notes the generation (acquire), copies with relaxed loads, executes an acquire fence and
 *      loads the generation again. Had any load seen a byte of a later use of a cell, then the
 *      fences of W2 and R2 would pair and the second load would see the raised generation. So an
 *      unchanged generation proves the copy is of one record.
 *  R3  While walking, a link is loaded again after the target's generation was noted, and the
 *      generation of the record that holds the link is checked after that. So at that instant the
 *      link belonged to a linked record and led to this target; if the target changes hands later,
 *      its own generation tells (R2). A walk that reaches the end of a chain through such links has
 *      seen every record that was there all the time, because a rewritten record takes the very
 *      place of its predecessor.
 *
 * The words that change in place (accessed, due, next) are single aligned words. A location does
 * not fit into one, and neither does the number of the change that made it: both are kept twice,
 * and loc_sel, whose lowest bit names the valid copy, is the word that changes (release); the other
 * copy is written only after a release fence, so a reader that finds loc_sel unchanged after an
 * acquire fence has read one location and its own number. A kill anywhere leaves the old pair or
 * the new one.
 *
 * What changes in place is not in the record's check sum, or a kill between two stores would cost
 * the session. Each copy of the location has a small check of its own instead, written with it: a
 * damaged epoch or number would otherwise win over the whole cluster's.
 *
 * A generation would have to run through 2^32 values between two loads of one reader to deceive it.
 */
#ifndef SC_STORE_LAYOUT_H
#define SC_STORE_LAYOUT_H

#include <stddef.h>
#include <string.h>

#include "sc_board.h"
#include "sc_store.h"

#define STORE_MAGIC 0x73634d5374524531ull
#ifndef STORE_VERSION /* tests of upgrades build another one */
#define STORE_VERSION 2
#endif

#define CELL_BYTES 128
#define BODY_WORDS 15  /* 64-bit words of a body cell, followed by a 32-bit one */
#define BODY_BYTES 124 /* bytes of a body cell */
#define NO_CELL 0xffffffffu

/* Chains hold 4 records on average at most; SipHash makes 128 as good as impossible. */
#define MAX_HOPS 128
/* A reader that finds the record changed this often in a row gives up and asks the engine. */
#define MAX_TRIES 64

#define WHEEL_SLOTS 4096      /* of one second each */
#define WHEEL_DUE WHEEL_SLOTS /* the list of those found due, behind the slots */

/* A touch is one word: milliseconds of mono time (35 years) and the generation's low bits. */
#define TOUCH_GEN_BITS 24
#define TOUCH_GEN_MASK 0xffffffull
#define TOUCH_MS_MAX ((1ull << 40) - 1)

/* Change numbers have 48 bits where they are stored. Half of that is more than any life of a store
 * can use up; a larger one is damage, and the other half is left to count on from there. */
#define LSN_BITS 48
#define LSN_MASK ((1ull << LSN_BITS) - 1)
#define LSN_MAX (1ull << (LSN_BITS - 1))
#define PROMISE_SHIFT LSN_BITS
#define BACKUP3_SHIFT (LSN_BITS + 8)

/* Records of these kinds have no body. */
#define NO_BODY (SC_REC_TOMBSTONE | SC_REC_PROXY)

static inline int flags_possible(apr_uint16_t flags)
{
    return flags == SC_REC_TOMBSTONE || flags == SC_REC_PROXY ||
           (flags & ~(SC_REC_GIVEN | SC_REC_DOUBT)) == 0;
}

/* Where a session lives, as stored, and the change that wrote it: routes as bytes. */
typedef struct loc_t {
    apr_uint64_t lsn; /* above it a byte: promised less epoch; above that one: backup 3 */
    apr_uint32_t epoch;
    apr_uint32_t routes; /* primary, backups 0-2, lowest byte first */
} loc_t;

_Static_assert(SC_ROUTES_MAX <= 256, "a route index must fit into a byte");
_Static_assert(SC_BACKUPS_MAX == 4, "loc_t packs exactly four backups");
_Static_assert(SC_CONTEXTS_MAX <= 0x10000, "a context index must fit into 16 bits");

typedef struct record_cell_t {
    apr_uint64_t id[2];
    apr_uint64_t created;
    apr_uint64_t accessed; /* changes in place */
    apr_uint64_t due;      /* changes in place */
    apr_uint64_t hlc;
    apr_uint32_t node;
    apr_uint32_t max_idle_s;
    apr_uint32_t next; /* ref of the next record of the chain; changes in place */
    apr_uint32_t body; /* ref of the first body cell */
    apr_uint32_t body_len;
    apr_uint32_t kind;       /* context, flags << 16 */
    apr_uint32_t check;      /* over all that does not change in place, and the body */
    apr_uint32_t loc_sel;    /* lowest bit: which of the two is valid */
    loc_t loc[2];            /* changes in place */
    apr_uint32_t wheel_prev; /* refs; the engine's own */
    apr_uint32_t wheel_next;
    apr_uint32_t wheel_slot;
    apr_uint16_t loc_check[2]; /* of each location; a free cell has its next here */
} record_cell_t;

typedef struct body_cell_t {
    apr_uint64_t word[BODY_WORDS];
    apr_uint32_t tail;
    apr_uint32_t next; /* ref of the next body cell or, in a free cell, of the next free one */
} body_cell_t;

typedef union cell_t {
    record_cell_t rec;
    body_cell_t body;
} cell_t;

_Static_assert(sizeof(record_cell_t) == CELL_BYTES, "a record head fills exactly one cell");
_Static_assert(sizeof(body_cell_t) == CELL_BYTES, "a body cell fills exactly one cell");
_Static_assert(offsetof(body_cell_t, next) == BODY_BYTES, "124 bytes, then the next cell");
_Static_assert(offsetof(record_cell_t, loc_check) == offsetof(body_cell_t, next),
               "free cells are linked by a word that no retired record needs");

typedef struct context_entry_t {
    char name[SC_CONTEXT_MAX + 1];
    apr_uint64_t sessions;
    apr_uint64_t primaries;
    apr_uint64_t backups;
    apr_uint64_t proxies;
    apr_uint64_t tombstones;
    apr_uint64_t body_bytes;
} context_entry_t;

typedef struct head_t {
    apr_uint64_t magic;
    apr_uint64_t abi;
    apr_uint64_t bytes;
    apr_uint64_t store_id;
    unsigned char key[16];
    apr_uint32_t ncells;
    apr_uint32_t nbuckets;
    apr_uint32_t ncontexts; /* entries in use; entries never change once they count */
    apr_uint32_t nroutes;   /* likewise; index 0 is taken from the start */
    /* the engine's own from here on; all but lsn is rebuilt by a recovery */
    apr_uint64_t lsn;
    apr_uint64_t sessions;
    apr_uint64_t tombstones;
    apr_uint64_t proxies;
    apr_uint64_t wheel_tick; /* slots of seconds before this one are swept */
    apr_uint32_t due_tail;   /* ref of the last record in the list WHEEL_DUE */
    apr_uint32_t own_route;
    apr_uint32_t free_first; /* ref of the first free cell */
    apr_uint32_t free_count; /* all free cells, those never used included */
    apr_uint32_t fresh;      /* cells from here on were never used, their pages never touched */
} head_t;

struct sc_store_t {
    unsigned char *base;
    apr_size_t bytes;
    head_t *head;
    sc_board_t *board;
    context_entry_t *context;
    char (*route)[SC_ROUTE_MAX + 1];
    apr_uint32_t *wheel;  /* WHEEL_SLOTS + 1 refs */
    apr_uint32_t *bucket; /* refs */
    apr_uint32_t *gen;
    cell_t *cell;
    apr_uint64_t *touch;
    apr_uint64_t *touched; /* one bit a cell: there is something new in touch[] */
    apr_size_t touch_offset;
    apr_uint32_t ncells;
    apr_uint32_t nbuckets;
    unsigned char key[16];
    sc_store_watch_fn_t *watch; /* NULL: nobody wants to know */
    void *watch_baton;
};

/* ---- words ---------------------------------------------------------------------------------- */

static inline apr_uint16_t ld16(const apr_uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline apr_uint32_t ld32(const apr_uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline apr_uint64_t ld64(const apr_uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline apr_uint32_t ld32_acquire(const apr_uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void st16(apr_uint16_t *p, apr_uint16_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void st32(apr_uint32_t *p, apr_uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void st64(apr_uint64_t *p, apr_uint64_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void st32_release(apr_uint32_t *p, apr_uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* ---- small facts ---------------------------------------------------------------------------- */

static inline apr_uint32_t body_cells(apr_size_t len)
{
    return (apr_uint32_t)((len + BODY_BYTES - 1) / BODY_BYTES);
}

static inline apr_uint64_t body_max(const sc_store_t *s)
{
    apr_uint64_t max = (apr_uint64_t)s->ncells * BODY_BYTES;

    return max < 0xffffffffu ? max : 0xffffffffu;
}

static inline apr_uint32_t kind_of(apr_uint16_t context, apr_uint16_t flags)
{
    return (apr_uint32_t)context | (apr_uint32_t)flags << 16;
}

/* A step of the check sum: cheap, and no word or place can change without changing the result. */
static inline apr_uint64_t mix(apr_uint64_t sum, apr_uint64_t word)
{
    sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
    return sum ^ sum >> 29;
}

/* Check of a location: which session's it is, where, and since which change. */
static inline apr_uint16_t loc_sum(const apr_uint64_t id[2], const loc_t *loc)
{
    apr_uint64_t sum = mix(id[0] ^ STORE_MAGIC, id[1]);

    sum = mix(mix(sum, loc->lsn), (apr_uint64_t)loc->epoch << 32 | loc->routes);
    return (apr_uint16_t)(sum >> 48);
}

/* Whether the cell still is what it was when its generation was noted (R2). */
static inline int unchanged(const sc_store_t *s, apr_uint32_t cell, apr_uint32_t gen)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return ld32(&s->gen[cell]) == gen;
}

/* ---- between the files of the room ---------------------------------------------------------- */

/* store.c: bucket of a key */
apr_uint32_t sc_store_bucket(const sc_store_t *s, apr_uint16_t context, const sc_id_t *id);
/* store.c: whether a record counts as one that the own route holds */
int sc_store_is_primary(const sc_record_t *rec, apr_uint32_t own_route);
int sc_store_is_backup(const sc_record_t *rec, apr_uint32_t own_route);
/* store.c: add a record to the counts (sign 1) or take it out (-1) */
void sc_store_account(sc_store_t *s, const sc_record_t *rec, int sign);

/* A consistent copy of a record's head, and where it was found. */
typedef struct snap_t {
    sc_record_t rec;
    apr_uint32_t cell;
    apr_uint32_t gen;
    apr_uint32_t next;
    apr_uint32_t body;
    apr_uint32_t check;
    int whole; /* the location has the right check */
} snap_t;

/* store_read.c: copy the head in a cell; gen already noted. Returns 0 when it changed meanwhile. */
int sc_snap_copy(const sc_store_t *s, apr_uint32_t cell, apr_uint32_t gen, snap_t *snap);
/* store_read.c: the same for all but the recovery; 0 also when what can be checked is broken */
int sc_snap_head(const sc_store_t *s, apr_uint32_t cell, apr_uint32_t gen, snap_t *snap);
/* store_read.c: a location and its number, as a record tells them */
void sc_snap_location(const loc_t *loc, sc_record_t *rec);
/* store_read.c: copy the body (rec.body_len bytes) that belongs to a head and verify the check
 * sum; out NULL: verify only. Returns 0 when it changed meanwhile or is broken. */
int sc_snap_body(const sc_store_t *s, const snap_t *snap, unsigned char *out);
/* store_read.c: check sum of a head, to be continued with the body's words */
apr_uint64_t sc_snap_sum(const sc_record_t *rec);

/* store_wheel.c */
void sc_wheel_add(sc_store_t *s, apr_uint32_t cell, apr_time_t due);
void sc_wheel_drop(sc_store_t *s, apr_uint32_t cell);
void sc_wheel_reset(sc_store_t *s);

#endif
