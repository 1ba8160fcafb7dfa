/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file fuzz.h
 * @brief What all fuzz targets share.
 *
 * A target is a function of its input and nothing else: ids are counted instead of drawn, clocks
 * stand still until the input lets time pass, and everything is made anew for each input. What a
 * target promises is checked with FUZZ_CHECK, whose failure is a finding like a crash.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "sc_base.h"
#include "sc_buf.h"
#include "sc_member.h"
#include "../../../src/channel/java_object.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fuzz_failed(#condition, __FILE__, __LINE__);                                           \
        }                                                                                          \
    } while (0)

void fuzz_failed(const char *what, const char *file, int line) __attribute__((noreturn));

/** Call first: ids are counted from 1 again. @return an empty pool, cleared by the next call */
apr_pool_t *fuzz_start(void);

/** Formats every line and throws it away. FUZZ_LOG in the environment: to stderr. */
extern const sc_log_t fuzz_log;

/* ---- input as decisions -----------------------------------------------------------------------
 */

/** What is left of an input. At its end all numbers are 0 and all strings empty. */
typedef struct fuzz_in_t {
    const unsigned char *p;
    size_t left;
} fuzz_in_t;

unsigned int fuzz_u8(fuzz_in_t *in);
apr_uint32_t fuzz_u16(fuzz_in_t *in);
apr_uint32_t fuzz_u32(fuzz_in_t *in);
apr_uint64_t fuzz_u64(fuzz_in_t *in);
/** A number below n, from one byte. */
unsigned int fuzz_below(fuzz_in_t *in, unsigned int n);
/** A number of any size, small ones more often: from one byte to nine. */
apr_uint64_t fuzz_number(fuzz_in_t *in);
/** A byte string with its length in front of it, at most max bytes; in place. */
const unsigned char *fuzz_text(fuzz_in_t *in, size_t max, size_t *len);
/** A copy in memory of exactly that size, so that reading behind its end is noticed; to be freed.
 */
unsigned char *fuzz_copy(const void *bytes, size_t len);
/** Change bytes as the input says: none, some of them, the length. */
void fuzz_damage(fuzz_in_t *in, sc_buf_t *b);

/* ---- members ----------------------------------------------------------------------------------
 */

/** One of a few members that a test can know: 10.0.0.<n+1>:4000, route n<n+1>, READY. */
void fuzz_peer(sc_member_t *m, unsigned int n);
/** A member with fields as the input says: mostly one of fuzz_peer with something changed. */
void fuzz_member(fuzz_in_t *in, sc_member_t *m);
/** Append member data that is well-formed in its frame and lengths; the payload may be anything. */
void fuzz_member_bytes(fuzz_in_t *in, sc_buf_t *b);
/** A Java object as Tomcats send them, mostly of that member; points into the input. */
void fuzz_java(fuzz_in_t *in, sc_java_t *j, const sc_member_t *from);

#endif
