/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the codecs of session messages (message*.c) have in common: ids, stamps, names and numbers
 * as they stand in messages. Readers set the sticky error of sc_rd_t and return something harmless.
 */
#ifndef MESSAGE_PARTS_H
#define MESSAGE_PARTS_H

#include "sc_message.h"

/* Text of a name: no NUL, and not empty unless that means something. */
sc_text_t sc_part_text(sc_rd_t *r, apr_size_t max, int may_be_empty);
int sc_part_same(const sc_text_t *a, const sc_text_t *b);

void sc_part_put_id(sc_buf_t *b, const sc_id_t *id);
void sc_part_get_id(sc_rd_t *r, sc_id_t *id);

void sc_part_put_stamp(sc_buf_t *b, const sc_stamp_t *s);
void sc_part_get_stamp(sc_rd_t *r, sc_stamp_t *s);

/* A number that must fit into 32 bits. */
apr_uint32_t sc_part_number(sc_rd_t *r);
/* The same where only 0 and 1 mean something; what else there may be counts as 1. */
apr_uint32_t sc_part_yes(sc_rd_t *r);
/* An epoch from least to SC_EPOCH_MAX. */
apr_uint32_t sc_part_epoch(sc_rd_t *r, apr_uint32_t least);

/* Bytes of a string with its length. */
apr_size_t sc_part_str_size(apr_size_t n);

apr_status_t sc_part_verdict(const sc_rd_t *r);

#endif
