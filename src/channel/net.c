/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The real transport: sender, receiver and group on the engine's event loop.
 */
#include "net.h"

struct sc_net_t {
    sc_net_env_t env;
    sc_sender_t *sender;
    sc_receiver_t *receiver;
    sc_group_t *group;
    sc_resolver_t *resolver;
    sc_udp_t *udp;
    sc_transport_t transport;
};

static void net_send(void *ctx, const sc_member_t *to, sc_lane_t lane, const sc_packet_t *packet,
                     sc_sent_fn_t *done, void *baton)
{
    sc_net_t *net = ctx;

    if (packet->options & (SC_OPT_UDP | SC_OPT_MULTICAST)) {
        sc_udp_send(net->udp, to, packet, done, baton);
    } else {
        sc_sender_send(net->sender, to, lane, packet, done, baton);
    }
}

static void net_probe(void *ctx, const sc_member_t *to, const sc_packet_t *packet,
                      apr_interval_time_t timeout, sc_sent_fn_t *done, void *baton)
{
    sc_net_t *net = ctx;
    sc_sender_probe(net->sender, to, packet, timeout, done, baton);
}

static void net_forget(void *ctx, const sc_member_t *member)
{
    sc_net_t *net = ctx;
    sc_sender_forget(net->sender, member);
    sc_udp_forget(net->udp, member);
}

static void net_queued(void *ctx, const sc_member_t *member, apr_uint64_t *bytes,
                       apr_uint32_t *frames)
{
    sc_net_t *net = ctx;
    sc_sender_queued(net->sender, member, bytes, frames);
}

static apr_status_t net_group_send(void *ctx, const void *bytes, apr_size_t len)
{
    sc_net_t *net = ctx;
    apr_status_t rv = sc_group_send(net->group, bytes, len);

    sc_group_sent(net->group, rv);
    return rv;
}

static apr_status_t net_resolve(void *ctx, const char *name, sc_resolved_fn_t *done, void *baton)
{
    sc_net_t *net = ctx;
    return sc_resolver_ask(net->resolver, name, done, baton);
}

apr_status_t sc_net_create(sc_net_t **out, sc_loop_t *loop, const sc_net_config_t *cfg,
                           const sc_transport_up_t *up, apr_pool_t *pool)
{
    sc_net_t *net = apr_pcalloc(pool, sizeof(*net));
    apr_status_t rv;

    *out = NULL;
    net->env.loop = loop;
    net->env.cfg = *cfg;
    net->env.up = *up;
    net->env.pool = pool;
    net->env.cfg.secrets = NULL; /* only keys are kept */
    net->transport.ctx = net;
    net->transport.resolve = net_resolve;
    net->transport.send = net_send;
    net->transport.probe = net_probe;
    net->transport.forget = net_forget;
    net->transport.queued = net_queued;
    net->transport.group_send = net_group_send;
    rv = sc_keyring_create(&net->env.ring, cfg->secrets);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    net->sender = sc_sender_create(&net->env);
    rv = sc_receiver_create(&net->receiver, &net->env);
    if (rv == APR_SUCCESS) {
        rv = sc_group_create(&net->group, &net->env);
        if (rv != APR_SUCCESS) {
            sc_receiver_close(net->receiver);
        }
    }
    if (rv == APR_SUCCESS) {
        net->resolver = sc_resolver_create(&net->env);
        net->udp = sc_udp_create(&net->env, net->group);
        *out = net;
    } else {
        sc_keyring_destroy(net->env.ring);
    }
    return rv;
}

apr_uint32_t sc_net_udp_port(const sc_net_t *net)
{
    return sc_udp_port(net->udp);
}

const sc_transport_t *sc_net_transport(sc_net_t *net)
{
    return &net->transport;
}

void sc_net_close(sc_net_t *net)
{
    sc_resolver_close(net->resolver);
    sc_udp_close(net->udp);
    sc_group_close(net->group);
    sc_receiver_close(net->receiver);
    sc_sender_close(net->sender);
    sc_keyring_destroy(net->env.ring);
    net->env.ring = NULL;
}

void sc_net_drain(sc_net_t *net, apr_interval_time_t timeout)
{
    sc_sender_drain(net->sender, timeout);
}
