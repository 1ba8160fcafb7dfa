/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file delta_digest.h
 * @brief Tests of comparing: making nodes different behind their managers' backs.
 */
#ifndef DELTA_DIGEST_H
#define DELTA_DIGEST_H

#include "delta_net.h"

/** Compare as often as possible, once a second. */
void digest_often(sc_config_t *c, int index);
/** A session of the test's context with this stamp (milliseconds since the test began), without a
 *  body and not in the store yet. */
void digest_record(net_t *net, int index, const sc_id_t *id, int ms, sc_record_t *rec);
apr_uint16_t digest_context(net_node_t *node, const char *name);
/** Write a session with one attribute to one node's store. */
void digest_plant(net_t *net, int index, apr_uint32_t number, const char *value, int ms);
/** An id of the last range. */
sc_id_t digest_id(apr_uint32_t n);
/** Let time pass until nothing differs. @return 1 if that came in time */
int digest_agree(net_t *net, int ms);
/** Records posted by all nodes that carry sessions, or ask for them. */
apr_uint64_t digest_exchanged(const net_t *net);
apr_uint64_t digest_posted(const net_t *net, sc_event_t event);

/** In delta_digest_abuse.c. */
void delta_digest_abuse_tests(void);

#endif
