/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For processes that are forked and do not execute anything else.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sc_base.h"

/* Sockets of a process that has ended must not stay open in another one. */
int sc_close_others(int fd)
{
    struct rlimit limit = {1024, 1024};
    long max = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (long)limit.rlim_cur : 1024;
    long i;

    if (fd > STDERR_FILENO + 1) {
        (void)dup2(fd, STDERR_FILENO + 1);
        fd = STDERR_FILENO + 1;
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* which a copy does not have */
    }
#ifdef __linux__
    if (syscall(SYS_close_range, (unsigned int)STDERR_FILENO + 2, ~0u, 0u) == 0) {
        return fd;
    }
#endif
    for (i = STDERR_FILENO + 2; i < max && i < 65536; i++) {
        close((int)i);
    }
    return fd;
}
