/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the deployer complains about: each thing once, and not so much that it fills the log, since
 * others decide what there is to complain about.
 */
#include <string.h>

#include "internal.h"

/** So many lines within that time. */
#define LOG_INTERVAL apr_time_from_sec(10)
#define LOG_LINES 50

/** Whether this has not been said yet. A memory that is full begins anew: what is still so is then
 *  said again. */
static int is_new(sc_farm_t *f, const char *name, apr_uint64_t about, const char *why)
{
    apr_uint64_t h = 0xcbf29ce484222325ull ^ about;
    apr_size_t i;

    for (; *name != '\0'; name++) {
        h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
    }
    for (; *why != '\0'; why++) {
        h = (h ^ (unsigned char)*why) * 0x100000001b3ull;
    }
    h = h != 0 ? h : 1;
    if (f->ntold >= SC_FARM_TOLD / 2) {
        memset(f->told, 0, sizeof(f->told));
        f->ntold = 0;
    }
    for (i = h % SC_FARM_TOLD; f->told[i] != 0; i = (i + 1) % SC_FARM_TOLD) {
        if (f->told[i] == h) {
            return 0;
        }
    }
    f->told[i] = h;
    f->ntold++;
    return 1;
}

int sc_farm_may_log(sc_farm_t *f)
{
    apr_time_t now = sc_farm_now(f);

    if (now - f->lines_since >= LOG_INTERVAL) {
        if (f->swallowed > 0) {
            sc_log(f->env.log, SC_LOG_WARNING, 0,
                   "SC0925: %u more complaints of the deployer were not written", f->swallowed);
        }
        f->lines = f->swallowed = 0;
        f->lines_since = now;
    }
    if (f->lines >= LOG_LINES) {
        f->swallowed++;
        return 0;
    }
    f->lines++;
    return 1;
}

void sc_farm_refuse(sc_farm_t *f, const char *name, apr_uint64_t about, const char *why)
{
    if (!is_new(f, name, about, why)) {
        return;
    }
    f->count.refused++;
    if (sc_farm_may_log(f)) {
        sc_log(f->env.log, SC_LOG_WARNING, 0, "SC0911: %s is not deployed: %s", name, why);
    }
}
