/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What interceptors hold back of incoming messages, within bounds.
 *
 * Everything held belongs to a sender, as the head of its frame names it. Each member may have so
 * many bytes held for it; all senders that are no members share the part of one; and all together
 * have a bound, too. With a secret a head is a member's own. Without one it is all that there is to
 * know a sender by: who names itself a member has that member's room, and with enough members'
 * names all of it, so what is certain then is the bound of the whole. Each interceptor that holds
 * messages has its own: three of them in a chain, three times as much. Bytes are those of the
 * structures as well: a thousand empty messages are not nothing.
 */
#ifndef HOLD_H
#define HOLD_H

#include "sc_interceptor.h"

/* Senders that are no members and are remembered. */
#define SC_STRANGERS_MAX 32
/* The last messages that are known to be done. */
#define SC_RECENT_MAX 256

/** A sender; first member of what the interceptor keeps of it. */
typedef struct sc_party_t {
    struct sc_party_t *next;
    sc_member_t m;
    int member;         /* announced by the link below */
    apr_time_t used;    /* when it was heard last */
    apr_uint64_t bytes; /* held for it */
} sc_party_t;

typedef struct sc_parties_t {
    sc_interceptor_t *self;
    apr_size_t size;                                      /* of the interceptor's struct */
    void (*drop)(struct sc_parties_t *ps, sc_party_t *p); /* let go of all that it holds */
    sc_party_t *first;
    apr_uint32_t strangers;
    apr_uint64_t per_sender;
    apr_uint64_t total;
    apr_uint64_t bytes;          /* held now */
    apr_uint64_t stranger_bytes; /* of these, for no members */
} sc_parties_t;

/** A message that is held; its body lies behind it. */
typedef struct sc_held_t {
    struct sc_held_t *next;
    apr_time_t since;
    apr_uint32_t number; /* Order's */
    sc_packet_t packet;
} sc_held_t;

/** Messages that have been dealt with, by sender and id: what is repeated is known again. */
typedef struct sc_recent_t {
    struct {
        sc_uid_t from;
        sc_uid_t id;
    } done[SC_RECENT_MAX];
    apr_uint32_t next;
} sc_recent_t;

/** @param size of the struct that begins with an sc_party_t and is zeroed when it is made */
void sc_parties_init(sc_parties_t *ps, sc_interceptor_t *self, apr_size_t size,
                     void (*drop)(sc_parties_t *ps, sc_party_t *p));
/** Let go of everything. */
void sc_parties_free(sc_parties_t *ps);
/** @return NULL: not known */
sc_party_t *sc_parties_find(const sc_parties_t *ps, const sc_member_t *m);
/** Find or make; the stranger heard longest ago makes way. @return NULL: no memory */
sc_party_t *sc_parties_get(sc_parties_t *ps, const sc_member_t *m);
/** Membership's word on it. */
void sc_parties_added(sc_parties_t *ps, const sc_member_t *m);
void sc_parties_gone(sc_parties_t *ps, const sc_member_t *m);

/** Take n bytes. @return 0: they are not to be had */
int sc_parties_charge(sc_parties_t *ps, sc_party_t *p, apr_uint64_t n);
void sc_parties_release(sc_parties_t *ps, sc_party_t *p, apr_uint64_t n);

/** Copy a message, charged to its sender. @return NULL: over its bounds, or no memory */
sc_held_t *sc_hold(sc_parties_t *ps, sc_party_t *p, const sc_packet_t *packet);
void sc_held_free(sc_parties_t *ps, sc_party_t *p, sc_held_t *h);

void sc_recent_add(sc_recent_t *r, const sc_packet_t *packet);
int sc_recent_has(const sc_recent_t *r, const sc_packet_t *packet);

#endif
