/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_buf.h
 * @brief Room "base": byte strings that grow up to a bound, and readers that cannot run over.
 *
 * A buffer owns malloc'ed memory (not a pool's: buffers of a long-lived engine come and go, pools
 * do not shrink) and must be released with sc_buf_free. A writer that would pass the buffer's limit
 * or finds no memory sets a sticky error instead of writing; a reader that would pass the end sets
 * a sticky error and yields zeros. So codecs check once, at the end.
 *
 * Numbers: big-endian fixed widths where Tribes has them; elsewhere varints, 7 bits a byte, least
 * significant group first, at most 10 bytes, shortest form only.
 */
#ifndef SC_BUF_H
#define SC_BUF_H

#include "sc_base.h"

typedef struct sc_buf_t {
    unsigned char *data;
    apr_size_t len;
    apr_size_t cap;
    apr_size_t limit; /**< len never passes this */
    apr_status_t err; /**< sticky: APR_ENOSPC over the limit, APR_ENOMEM out of memory */
} sc_buf_t;

/** An empty buffer that may grow to limit bytes; allocates nothing yet. */
void sc_buf_init(sc_buf_t *b, apr_size_t limit);
/** Release the memory; the buffer is as after sc_buf_init with the same limit. */
void sc_buf_free(sc_buf_t *b);
/** Forget content and error, keep the memory. */
void sc_buf_clear(sc_buf_t *b);
/** Make room for n more bytes. @return start of the room (len is not changed), NULL on error. */
unsigned char *sc_buf_reserve(sc_buf_t *b, apr_size_t n);
/** Drop the first n bytes (n <= len), moving the rest to the front. */
void sc_buf_consume(sc_buf_t *b, apr_size_t n);
/** Exchange two buffers' contents and limits. */
void sc_buf_swap(sc_buf_t *a, sc_buf_t *b);

void sc_put(sc_buf_t *b, const void *bytes, apr_size_t n);
void sc_put_u8(sc_buf_t *b, unsigned int v);
void sc_put_u32(sc_buf_t *b, apr_uint32_t v); /**< big-endian */
void sc_put_u64(sc_buf_t *b, apr_uint64_t v); /**< big-endian */
void sc_put_varint(sc_buf_t *b, apr_uint64_t v);
/** varint length, then the bytes */
void sc_put_str(sc_buf_t *b, const void *bytes, apr_size_t n);
/** Overwrite 4 bytes at offset with v, big-endian; offset + 4 <= len, else sets the error. */
void sc_buf_patch_u32(sc_buf_t *b, apr_size_t offset, apr_uint32_t v);

/** Bytes needed by a varint. */
apr_size_t sc_varint_size(apr_uint64_t v);

typedef struct sc_rd_t {
    const unsigned char *p;
    const unsigned char *end;
    int bad; /**< sticky: something did not fit or was not in shortest form */
} sc_rd_t;

void sc_rd_init(sc_rd_t *r, const void *bytes, apr_size_t n);
/** Bytes not read yet; 0 after an error. */
apr_size_t sc_rd_left(const sc_rd_t *r);
unsigned int sc_get_u8(sc_rd_t *r);
apr_uint32_t sc_get_u32(sc_rd_t *r);
apr_uint64_t sc_get_u64(sc_rd_t *r);
apr_uint64_t sc_get_varint(sc_rd_t *r);
/** n bytes in place, valid as long as the input. @return NULL (and bad) when fewer are left. */
const unsigned char *sc_get(sc_rd_t *r, apr_size_t n);
/** varint length <= max, then the bytes in place. @return NULL on error; length in *n. */
const unsigned char *sc_get_str(sc_rd_t *r, apr_size_t max, apr_size_t *n);

#endif
