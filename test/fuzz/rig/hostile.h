/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file hostile.h
 * @brief Messages that nobody has sent, built so that they get far: the texts by which membership
 *        and interceptors know each other, election messages, envelopes; and what the links of a
 *        chain would have made of them on their way down, with the keys that only members have.
 */
#ifndef FUZZ_HOSTILE_H
#define FUZZ_HOSTILE_H

#include "fuzz.h"
#include "sc_config.h"
#include "sc_frame.h"

/** Append the body of a message as the input says.
 *  @param mail a message that is under way, of which parts may be used; NULL: none */
void fuzz_body(fuzz_in_t *in, sc_buf_t *b, const sc_packet_t *mail);
/** Do to a message what the links of a chain do to it, from one on that the input chooses, and as
 *  well or badly as it says. The body of the packet is ignored. */
void fuzz_wrap(fuzz_in_t *in, const sc_config_t *c, apr_time_t now, sc_packet_t *packet,
               sc_buf_t *body);
/** Open the body of a message that Encrypt has sealed, let the input change it, seal it again.
 *  @return 0: it cannot be opened */
int fuzz_reseal(fuzz_in_t *in, const sc_config_t *c, apr_time_t now, const sc_packet_t *packet,
                sc_buf_t *body);

#endif
