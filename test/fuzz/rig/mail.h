/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mail.h
 * @brief What the nodes of a test have sent each other: kept until the input takes it.
 */
#ifndef FUZZ_MAIL_H
#define FUZZ_MAIL_H

#include "fuzz.h"

#define FUZZ_BAG_MAX 64

typedef struct fuzz_mail_t {
    unsigned int serial;
    int from;    /**< node */
    int arrived; /**< at least once */
    sc_buf_t bytes;
    void (*done)(void *baton, apr_status_t rv); /**< NULL: it has ended, or nobody asked; its bytes
                                                   may still be repeated */
    void *baton;

    /* between channels */
    sc_member_t member; /**< that it is for */
    int datagram;       /**< no send */
    int forgotten;      /**< the member is gone */

    /* between managers */
    int to;   /**< node */
    int life; /**< of the sender's engine */
} fuzz_mail_t;

typedef struct fuzz_bag_t {
    fuzz_mail_t at[FUZZ_BAG_MAX];
    int n;
    int max;
    apr_size_t limit; /**< bytes of one */
    unsigned int serials;
} fuzz_bag_t;

/** @param bag zeroed @param max at most FUZZ_BAG_MAX */
void fuzz_bag_init(fuzz_bag_t *bag, int max, apr_size_t limit);
void fuzz_bag_free(fuzz_bag_t *bag);
/** A place for one more; the oldest that has ended makes room. @return NULL: all wait for their end
 */
fuzz_mail_t *fuzz_bag_put(fuzz_bag_t *bag, int from);
/** @return NULL: it has made room */
fuzz_mail_t *fuzz_bag_find(fuzz_bag_t *bag, unsigned int serial);
/** One of them, as the input says. @return NULL: there is none, the input is as it was */
fuzz_mail_t *fuzz_bag_any(fuzz_bag_t *bag, fuzz_in_t *in);
/** What arrives next, as the input says: one of them, damaged or not.
 *  @param tell receives whether its sender is told
 *  @param bytes receives a copy, to be freed
 *  @return NULL: there is none, and no copy */
fuzz_mail_t *fuzz_bag_take(fuzz_bag_t *bag, fuzz_in_t *in, sc_buf_t *bytes, int *tell);
/** The first that has not arrived yet, with a copy of its bytes. @return NULL: all have */
fuzz_mail_t *fuzz_bag_next(fuzz_bag_t *bag, sc_buf_t *bytes);

#endif
