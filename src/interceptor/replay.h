/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which encrypted messages have been seen: a window of time and a bounded number of IVs in it.
 *
 * A message is new when its timestamp lies within the window around now, is higher than that of
 * every IV that had to be forgotten, and its IV is not remembered. Of those that are full the ones
 * with the lowest timestamps are forgotten. So nothing is ever taken for new twice.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include "sc_base.h"

#define SC_REPLAY_IV 16

typedef struct sc_replay_t sc_replay_t;

typedef enum sc_replay_verdict_t {
    SC_REPLAY_NEW,   /* remembered from now on, as not processed */
    SC_REPLAY_AGAIN, /* seen, but it could not be processed then */
    SC_REPLAY_DONE,  /* seen and processed */
    SC_REPLAY_OLD,   /* sent before the window, or before something that is forgotten */
    SC_REPLAY_AHEAD, /* sent after the window: somebody's clock is wrong */
    SC_REPLAY_FULL   /* no memory to remember it in */
} sc_replay_verdict_t;

/** @param now_ms wall time, milliseconds: nothing from before the window around it is taken
 *  @return NULL: no memory */
sc_replay_t *sc_replay_create(apr_uint64_t window_ms, apr_uint32_t max, apr_uint64_t seed,
                              apr_uint64_t now_ms);
void sc_replay_destroy(sc_replay_t *r);

/** @param iv SC_REPLAY_IV bytes, shorter ones filled up with zeros
 *  @param crowded set to 1 when an IV within the window had to be forgotten */
sc_replay_verdict_t sc_replay_look(sc_replay_t *r, const unsigned char *iv, apr_uint64_t ts,
                                   apr_uint64_t now_ms, int *crowded);
/** It has been processed: repetitions are done. */
void sc_replay_done(sc_replay_t *r, const unsigned char *iv);
/** IVs remembered now. */
apr_uint32_t sc_replay_count(const sc_replay_t *r);

#endif
