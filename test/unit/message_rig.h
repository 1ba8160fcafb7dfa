/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the tests of session messages share: a sample of every message, and a reader that reads one
 * as the manager does and complains when what it was given breaks a promise of sc_message.h.
 */
#ifndef MESSAGE_RIG_H
#define MESSAGE_RIG_H

#include "sc_message.h"

#define WIRE_LIMIT (1024 * 1024)

/* All events, for an array. A fuzzer's inputs count on their order. */
#define WIRE_EVENTS                                                                                \
    SC_EVT_SESSION_CREATED, SC_EVT_SESSION_EXPIRED, SC_EVT_SESSION_ACCESSED,                       \
        SC_EVT_GET_ALL_SESSIONS, SC_EVT_ALL_SESSION_DATA, SC_EVT_SESSION_DELTA,                    \
        SC_EVT_ALL_SESSION_TRANSFERCOMPLETE, SC_EVT_CHANGE_SESSION_ID,                             \
        SC_EVT_ALL_SESSION_NOCONTEXTMANAGER, SC_EVT_BACKUP, SC_EVT_RETRIEVE, SC_EVT_PROXY,         \
        SC_EVT_REMOVE, SC_EVT_STATE, SC_EVT_COPY, SC_EVT_ACCESS, SC_EVT_NOTIFY, SC_EVT_PING,       \
        SC_EVT_BACKUP_DIFF, SC_EVT_DIGEST, SC_EVT_DIGEST_LIST, SC_EVT_TAKE, SC_EVT_RETRIEVE_REPLY, \
        SC_EVT_NOTIFY_REPLY, SC_EVT_PING_REPLY

sc_text_t wire_text(const char *s);
int wire_is_text(const char *s, apr_size_t len, const char *want);

/* A body with one attribute; a session of context "shop" that has it, with two backups. */
void wire_body(sc_buf_t *b);
void wire_session(sc_wire_session_t *s, const sc_buf_t *body);
void wire_check_session(const sc_wire_session_t *s);

/* A place with all there is: epoch 300, primary 1, backups 2 and 3, a digest. Its routes are the
 * first three of wire_list. */
void wire_place(sc_place_t *p);
/* The bytes of one place, of which nothing is checked. */
void wire_place_put(sc_buf_t *items, const sc_place_t *p);
/* A list of locations with routes n1, n2 and n3 and two groups, shop and blog, of two places. */
void wire_list(sc_buf_t *b, sc_event_t event);

/* All messages, one at a time; which counts from 0 to WIRE_SAMPLES - 1. */
#define WIRE_SAMPLES 27
void wire_sample(int which, sc_buf_t *b);
/* How many of its last bytes are a field that messages of the earlier version do not have. */
apr_size_t wire_later(int which);

/* Read a message completely. The bytes may be of any kind; what is accepted is checked. */
apr_status_t wire_read(const void *bytes, apr_size_t len);

/* Tests in other files of the suite. */
void wire_add_places(void *suite);
void wire_add_hostile(void *suite);

#endif
