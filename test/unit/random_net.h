/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file random_net.h
 * @brief Random histories: some nodes change, remove, rename and take over sessions while envelopes
 *        are lost, repeated and late, links part and heal, engines die and come back.
 *
 * When the network has been calm for a while all nodes must agree (DESIGN I5), what was removed
 * must be dead (I11), and every change that was answered as made must be there (I3, I4).
 */
#ifndef RANDOM_NET_H
#define RANDOM_NET_H

#include "delta_net.h"

/** What differs from manager to manager. */
typedef struct random_kind_t {
    const char *one;  /**< name in the environment: one history to be repeated, by its seed */
    const char *many; /**< how many are to be run */
    int degraded;     /**< a change counts, too, that not all members have acknowledged */
    net_t *(*create)(apr_uint64_t seed);
    /** Whether a session that lives on a node is dead there as soon as it is to be removed. */
    int (*buries)(net_t *net, int node);
    /** Let time pass until nothing is under way any more. */
    void (*settle)(net_t *net);
    /** @return what the nodes do not agree on, NULL: nothing */
    const char *(*difference)(net_t *net);
    /** Whether a node knows of a session as one that is alive. */
    int (*lives)(net_t *net, int node, apr_uint32_t id);
    /** Whether a session is there with an attribute, wherever it should be. */
    int (*kept)(net_t *net, apr_uint32_t id, const char *name);
} random_kind_t;

/** Run n histories, or those that the environment asks for. */
void random_histories(const random_kind_t *kind, apr_uint64_t n);
/** Run one. @param live live sessions at its end are added to it @return 1 if something is wrong,
 *  which has been printed then */
int random_judge(const random_kind_t *kind, apr_uint64_t seed, int *live);

#endif
