/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file manager.h
 * @brief Whole managers over a channel of decisions: two real ones with a store each, and two more
 *        members that are only what the input makes of them.
 *
 * The input is a list of operations (manager.c): children ask, records of the other members come,
 * made up, built, or what the real peer has posted, whole or damaged, late, twice or not at all;
 * posts end well or badly; members come, go and change; time passes; an engine is killed and
 * replaced.
 */
#ifndef FUZZ_MANAGER_H
#define FUZZ_MANAGER_H

#include "fuzz.h"
#include "sc_manager.h"

/** Run the rest of the input. @param front 1: node 0 is a balancer */
void fuzz_managers(fuzz_in_t *in, sc_manager_kind_t kind, int front);
/** The same; node 0 begins with the snapshot at a path, and leaves one there if it leaves. */
void fuzz_managers_from(fuzz_in_t *in, sc_manager_kind_t kind, int front, const char *snapshot);

/** The clocks of node 0 when it begins: mono, and what wall is ahead of it. */
#define FUZZ_MONO apr_time_from_sec(100000)
#define FUZZ_WALL apr_time_from_sec(1700000000)

/** A session message as the input says: some event with fields that mostly mean something here.
 *  @param hlc about now, for stamps */
void fuzz_record(fuzz_in_t *in, sc_buf_t *b, apr_uint64_t hlc);
/** Append one session as blocks of messages and of snapshots have it. */
void fuzz_session(fuzz_in_t *in, sc_buf_t *b, apr_uint64_t hlc);
/** Read any message completely. What is accepted keeps the promises of sc_message.h. */
apr_status_t fuzz_read(const void *bytes, apr_size_t len);
/** One of a few ids. */
sc_id_t fuzz_id(unsigned int n);
/** One of a few contexts. */
const char *fuzz_context(unsigned int n);

#endif
