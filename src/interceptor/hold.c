/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What is held back, and for whom; see hold.h.
 */
#include <stdlib.h>
#include <string.h>

#include "hold.h"

/* In frames of the largest size that the receiver takes. A member sends large messages on two
 * lanes, that of the sessions and that of the files, and their packets come mixed. */
#define FRAMES_PER_SENDER 2
#define FRAMES_IN_ALL 8
/* What the structures around those two messages take. */
#define STRUCTURES (2 * 2048)

void sc_parties_init(sc_parties_t *ps, sc_interceptor_t *self, apr_size_t size,
                     void (*drop)(sc_parties_t *ps, sc_party_t *p))
{
    apr_uint64_t frame = self->env->config->receiver.max_frame;

    memset(ps, 0, sizeof(*ps));
    ps->self = self;
    ps->size = size;
    ps->drop = drop;
    ps->per_sender = FRAMES_PER_SENDER * frame + STRUCTURES;
    ps->total = FRAMES_IN_ALL * frame;
}

static void remove_party(sc_parties_t *ps, sc_party_t *p)
{
    sc_party_t **link = &ps->first;

    while (*link != p) {
        link = &(*link)->next;
    }
    *link = p->next;
    ps->drop(ps, p);
    ps->strangers -= p->member ? 0 : 1;
    free(p);
}

void sc_parties_free(sc_parties_t *ps)
{
    while (ps->first != NULL) {
        remove_party(ps, ps->first);
    }
}

sc_party_t *sc_parties_find(const sc_parties_t *ps, const sc_member_t *m)
{
    sc_party_t *p;

    for (p = ps->first; p != NULL; p = p->next) {
        if (sc_member_same(&p->m, m)) {
            return p;
        }
    }
    return NULL;
}

/** Before one more stranger is remembered. */
static void make_room(sc_parties_t *ps)
{
    sc_party_t *oldest = NULL;
    sc_party_t *p;

    for (p = ps->first; p != NULL && ps->strangers >= SC_STRANGERS_MAX; p = p->next) {
        if (!p->member && (oldest == NULL || p->used <= oldest->used)) {
            oldest = p;
        }
    }
    if (oldest != NULL) {
        if (oldest->bytes > 0) {
            SC_CHAIN_COUNT(ps->self->env, held_refused);
        }
        remove_party(ps, oldest);
    }
}

sc_party_t *sc_parties_get(sc_parties_t *ps, const sc_member_t *m)
{
    sc_party_t *p = sc_parties_find(ps, m);

    if (p == NULL) {
        make_room(ps);
        p = calloc(1, ps->size);
        if (p == NULL) {
            return NULL;
        }
        p->m = *m;
        p->next = ps->first;
        ps->first = p;
        ps->strangers++;
    }
    p->used = sc_mono(ps->self->env->clock);
    return p;
}

void sc_parties_added(sc_parties_t *ps, const sc_member_t *m)
{
    sc_party_t *p = sc_parties_get(ps, m);

    if (p != NULL && !p->member) {
        p->member = 1;
        ps->strangers--;
        ps->stranger_bytes -= p->bytes;
    }
}

void sc_parties_gone(sc_parties_t *ps, const sc_member_t *m)
{
    sc_party_t *p = sc_parties_find(ps, m);

    if (p != NULL) {
        remove_party(ps, p);
    }
}

int sc_parties_charge(sc_parties_t *ps, sc_party_t *p, apr_uint64_t n)
{
    apr_uint64_t share = p->member ? p->bytes : ps->stranger_bytes;

    if (n > ps->per_sender || share > ps->per_sender - n || ps->bytes > ps->total - n) {
        return 0;
    }
    p->bytes += n;
    ps->bytes += n;
    ps->stranger_bytes += p->member ? 0 : n;
    return 1;
}

void sc_parties_release(sc_parties_t *ps, sc_party_t *p, apr_uint64_t n)
{
    p->bytes -= n;
    ps->bytes -= n;
    ps->stranger_bytes -= p->member ? 0 : n;
}

sc_held_t *sc_hold(sc_parties_t *ps, sc_party_t *p, const sc_packet_t *packet)
{
    apr_size_t size = sizeof(sc_held_t) + packet->body_len;
    sc_held_t *h;

    if (!sc_parties_charge(ps, p, size)) {
        return NULL;
    }
    h = malloc(size);
    if (h == NULL) {
        sc_parties_release(ps, p, size);
        return NULL;
    }
    memset(h, 0, sizeof(*h));
    h->since = sc_mono(ps->self->env->clock);
    h->packet = *packet;
    h->packet.body = (unsigned char *)(h + 1);
    if (packet->body_len > 0) {
        memcpy(h + 1, packet->body, packet->body_len);
    }
    return h;
}

void sc_held_free(sc_parties_t *ps, sc_party_t *p, sc_held_t *h)
{
    sc_parties_release(ps, p, sizeof(*h) + h->packet.body_len);
    free(h);
}

/* ---- what has been done ---------------------------------------------------------------------- */

void sc_recent_add(sc_recent_t *r, const sc_packet_t *packet)
{
    r->done[r->next].from = packet->from.uid;
    r->done[r->next].id = packet->id;
    r->next = (r->next + 1) % SC_RECENT_MAX;
}

int sc_recent_has(const sc_recent_t *r, const sc_packet_t *packet)
{
    apr_uint32_t i;

    for (i = 0; i < SC_RECENT_MAX; i++) {
        if (memcmp(&r->done[i].id, &packet->id, sizeof(packet->id)) == 0 &&
            memcmp(&r->done[i].from, &packet->from.uid, sizeof(packet->from.uid)) == 0) {
            return 1;
        }
    }
    return 0;
}
