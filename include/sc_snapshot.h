/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_snapshot.h
 * @brief Room "manager": the file that sessions are in while all nodes are stopped.
 *
 *   magic 8 | version u32 | flags u32 | key id 8 | nonce 32          the head
 *   length u32 | kind u8 | bytes | seal                              blocks, the first one
 * SC_SNAP_META
 *   ...
 *   length u32 | SC_SNAP_END | number of records u64 | seal          the last one; nothing behind
 * it
 *
 * With a secret the blocks are AES-256-GCM and the seal is its tag. The key follows from the secret
 * and the head, so it is another one for each file, and a head that was changed opens nothing; the
 * key id tells which of two secrets it was. Without one the seal is an HMAC-SHA256 under a key that
 * follows from the head alone: it tells damage, and nobody's identity. Either way a block's seal
 * covers its length, its kind and its number, so blocks that are missing, repeated or exchanged are
 * noticed, and the last one tells a file that is cut off.
 *
 * A file is written under another name and gets its own when it is whole and on disk. It is read
 * twice: once to see that it is whole, and only then is the first record believed.
 *
 * What is in the blocks is the business of src/manager/snapshot.c. Nothing here knows the store.
 */
#ifndef SC_SNAPSHOT_H
#define SC_SNAPSHOT_H

#include "sc_buf.h"
#include "sc_secret.h"

#define SC_SNAP_VERSION 1
/** Bytes of one block at most; so a session of the largest size fits. */
#define SC_SNAP_BLOCK_MAX (128 * 1024 * 1024)
/** Longest path, without the final NUL. */
#define SC_SNAP_PATH_MAX 1023

typedef enum sc_snap_kind_t {
    SC_SNAP_META = 1,
    SC_SNAP_RECORDS = 2,
    SC_SNAP_END = 3
} sc_snap_kind_t;

/** Longest head. */
#define SC_SNAP_HEAD (8 + 4 + 4 + SC_KEY_ID + SC_NONCE)

/** How blocks of one file are sealed. */
typedef struct sc_snap_seal_t {
    sc_seal_t gcm; /**< with a secret */
    int encrypted;
    unsigned char key[SC_KEY]; /**< without one */
    apr_uint64_t count;        /**< without one: of blocks so far */
} sc_snap_seal_t;

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct sc_snap_writer_t {
    int fd;
    int dir;
    char name[256];
    char temporary[256];
    sc_snap_seal_t seal;
    sc_buf_t out;
    apr_uint64_t bytes; /**< written so far */
    int ended;          /**< the last block has been written */
} sc_snap_writer_t;

/**
 * Begin a file beside the one that may be there, mode 0600.
 * @param ring its first key is used; no keys: not encrypted
 * @return APR_SUCCESS, or the system's failure; nothing has to be released then
 */
apr_status_t sc_snap_create(sc_snap_writer_t *w, const char *path, const sc_keyring_t *ring);
/** Write one block. SC_SNAP_END is the last one. */
apr_status_t sc_snap_put(sc_snap_writer_t *w, sc_snap_kind_t kind, const void *bytes,
                         apr_size_t len);
/** Bring it to disk and give it its name. Only after SC_SNAP_END. The writer is released, whatever
 *  comes of it; on failure the file that was there before is there still. */
apr_status_t sc_snap_commit(sc_snap_writer_t *w);
/** Give it up: no trace is left. */
void sc_snap_abandon(sc_snap_writer_t *w);

/** It was encrypted with a secret that is not there. */
#define SC_SNAP_NO_KEY APR_EGENERAL

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct sc_snap_reader_t {
    int fd;
    apr_uint64_t size;
    apr_uint64_t at;
    unsigned char head[SC_SNAP_HEAD];
    const sc_keyring_t *ring;
    sc_snap_seal_t seal;
    sc_buf_t block;
    int begun;
    int ended;
} sc_snap_reader_t;

/**
 * Open the file at a path: a regular one, no link, this user's or root's, closed to all others.
 * @param ring as long as the reader
 * @return APR_SUCCESS; APR_ENOENT; APR_EACCES: somebody else's, or open to others; APR_EBADPATH: it
 *         is no regular file; and what sc_snap_open_fd returns
 */
apr_status_t sc_snap_open(sc_snap_reader_t *r, const char *path, const sc_keyring_t *ring);
/**
 * The same with a descriptor, which belongs to the reader from then on.
 * @return APR_SUCCESS; APR_EINVAL: no snapshot, or damaged; APR_ENOTIMPL: of a later version;
 *         SC_SNAP_NO_KEY: encrypted with a secret that is not in the ring; else the system's
 *         failure
 */
apr_status_t sc_snap_open_fd(sc_snap_reader_t *r, int fd, const sc_keyring_t *ring);
/**
 * The next block, opened; it stays until the next call.
 * @return APR_SUCCESS; APR_EOF: there was an end, and it was the end; APR_EINVAL: damaged, cut off,
 *         or something stands behind the end; APR_ENOMEM; the system's failure
 */
apr_status_t sc_snap_next(sc_snap_reader_t *r, sc_snap_kind_t *kind, const unsigned char **bytes,
                          apr_size_t *len);
/** To the first block again. */
apr_status_t sc_snap_rewind(sc_snap_reader_t *r);
void sc_snap_close(sc_snap_reader_t *r);

/** Remove the file. */
apr_status_t sc_snap_remove(const char *path);
/** Rename it to NAME.bad-SECONDS. @param aside receives that */
apr_status_t sc_snap_set_aside(const char *path, apr_time_t wall, char *aside, apr_size_t size);

#endif
