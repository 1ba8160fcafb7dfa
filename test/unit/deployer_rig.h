/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Farms on real directories, with a clock and a network of the test's: several in one process, each
 * in a folder of its own. Every message is looked at on its way, and so is every file that appears
 * in a deployDir: what a name stands for must be one of the contents that were put somewhere.
 */
#ifndef DEPLOYER_RIG_H
#define DEPLOYER_RIG_H

#include "../../src/deployer/internal.h"

#define RIG_FARMS 4
#define RIG_BLOCK 4096

typedef struct rig_letter_t {
    struct rig_letter_t *next;
    unsigned int from, to;
    int bulk;
    apr_size_t len;
    unsigned char bytes[];
} rig_letter_t;

typedef struct rig_farm_t {
    sc_farm_t *farm; /* NULL: down */
    apr_pool_t *pool;
    sc_config_deployer_t config;
    char root[256];
    unsigned int under_way[RIG_FARMS]; /* blocks, to each */
    unsigned int restarts;
    sc_farm_counts_t last; /* of the life before */
} rig_farm_t;

typedef struct rig_t {
    apr_pool_t *pool;
    apr_time_t now;
    sc_clock_t clock;
    sc_log_t log;
    char root[200];
    rig_farm_t at[RIG_FARMS];
    int cut[RIG_FARMS][RIG_FARMS];
    rig_letter_t *mail;
    rig_letter_t **mail_tail;
    unsigned int blocks;      /* that were delivered */
    unsigned int most;        /* blocks on their way to one member at one moment */
    unsigned int lose_blocks; /* so many of the next ones are lost */
    void (*on_block)(struct rig_t *rig, unsigned int from, unsigned int to);
} rig_t;

/** @param watchers the first ones watch */
void farms_begin(rig_t *rig, unsigned int farms, unsigned int watchers);
void farms_end(rig_t *rig);
void farms_up(rig_t *rig, unsigned int i);
/** End it as a signal would: nothing is saved. */
void farms_down(rig_t *rig, unsigned int i);
/** Members that cannot hear each other leave each other's view, or come back. */
void farms_cut(rig_t *rig, unsigned int a, unsigned int b, int cut);
/** Let time pass. */
void farms_run(rig_t *rig, apr_interval_time_t time);
/** Until nobody wants anything, and watchers have looked often enough. */
void farms_settle(rig_t *rig);
/** A message of farm `from`, as if it had sent it. */
void farms_say(rig_t *rig, unsigned int from, unsigned int to, const sc_buf_t *b);

/** Path of a file: dir is watch, deploy or temp. */
const char *farms_path(rig_t *rig, unsigned int i, const char *dir, const char *name);
/** size bytes that depend on the seed. */
void farms_put(rig_t *rig, unsigned int i, const char *name, apr_size_t size, unsigned int seed);
void farms_write(rig_t *rig, unsigned int i, const char *dir, const char *name, apr_size_t size,
                 unsigned int seed);
void farms_remove(rig_t *rig, unsigned int i, const char *name);
/** @return 1: deployDir has that file with that content */
int farms_has(rig_t *rig, unsigned int i, const char *name, apr_size_t size, unsigned int seed);
/** @return size of a file, -1: there is none */
long farms_size(rig_t *rig, unsigned int i, const char *dir, const char *name);
/** Files of tempDir that are on their way. */
unsigned int farms_parts(rig_t *rig, unsigned int i);

void deployer_add_farms(void);
void deployer_add_pace(void);
void deployer_add_abuse(void);
void deployer_add_pair(void);

#endif
