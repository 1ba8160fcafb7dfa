/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The kinds of membership, and the one for a node that is alone.
 */
#include "sc_membership.h"

const sc_membership_class_t *sc_membership_find(sc_membership_kind_t kind)
{
    switch (kind) {
    case SC_MEMBERSHIP_NONE:
        return &sc_membership_none_class;
    case SC_MEMBERSHIP_MULTICAST:
        return &sc_membership_multicast_class;
    case SC_MEMBERSHIP_STATIC:
        return &sc_membership_static_class;
    case SC_MEMBERSHIP_DNS:
        return &sc_membership_dns_class;
    }
    return NULL;
}

/* ---- none: nobody is heard, and that is certain at once ------------------------------------- */

static apr_status_t none_create(sc_membership_t *self, apr_pool_t *pool)
{
    self->state = apr_pcalloc(pool, sizeof(sc_timer_t));
    return self->state != NULL ? APR_SUCCESS : APR_ENOMEM;
}

static void none_settled(void *baton, apr_time_t now)
{
    sc_membership_t *self = baton;

    (void)now;
    self->up.settled(self->up.baton);
}

static apr_status_t none_start(sc_membership_t *self)
{
    return sc_timer_set(self->env->timers, self->state, sc_mono(self->env->clock), none_settled,
                        self);
}

static void none_stop(sc_membership_t *self)
{
    sc_timer_cancel(self->env->timers, self->state);
}

static void none_announce(sc_membership_t *self)
{
    (void)self;
}

static void none_datagram(sc_membership_t *self, const void *bytes, apr_size_t len)
{
    (void)self;
    (void)bytes;
    (void)len;
}

static int none_packet(sc_membership_t *self, const sc_packet_t *packet)
{
    (void)self;
    (void)packet;
    return 0;
}

static void none_dropped(sc_membership_t *self, const sc_member_t *m)
{
    (void)self;
    (void)m;
}

static apr_time_t none_heard(const sc_membership_t *self, const sc_member_t *m)
{
    (void)self;
    (void)m;
    return 0;
}

const sc_membership_class_t sc_membership_none_class = {
    .name = "none",
    .create = none_create,
    .start = none_start,
    .stop = none_stop,
    .announce = none_announce,
    .datagram = none_datagram,
    .packet = none_packet,
    .dropped = none_dropped,
    .heard = none_heard,
};
