/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Log lines of the core: formatted here, written by whoever owns the sink.
 *
 * A line may carry names that came from the network, so control characters are replaced: one event
 * is one line, whatever a peer calls itself.
 */
#include <stdio.h>

#include "sc_base.h"

#define LINE_BYTES 1024

void sc_log(const sc_log_t *log, sc_log_level_t level, apr_status_t rv, const char *fmt, ...)
{
    char line[LINE_BYTES];
    va_list ap;
    char *p;

    if (log == NULL || log->write == NULL || level > log->level) {
        return;
    }
    va_start(ap, fmt);
    if (vsnprintf(line, sizeof(line), fmt, ap) < 0) {
        line[0] = '\0';
    }
    va_end(ap);
    for (p = line; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }
    log->write(log->ctx, level, rv, line);
}

int sc_log_allowed(sc_log_limit_t *limit, apr_time_t now, apr_interval_time_t interval,
                   apr_uint64_t *suppressed)
{
    if (now < limit->next) {
        limit->suppressed++;
        return 0;
    }
    if (suppressed != NULL) {
        *suppressed = limit->suppressed;
    }
    limit->suppressed = 0;
    limit->next = now + interval;
    return 1;
}
