/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The list of unit test suites. A suite is a function sc_suite_<topic> in test_<topic>.c that
 * registers its tests with CUnit. They are declared weak, so that the runner links with whatever
 * part of the tree is there; a topic whose file was forgotten here is found by the runner's own
 * check of the folder (see main.c).
 */
#ifndef SUITES_H
#define SUITES_H

#define SC_SUITES(X)                                                                               \
    X(base)                                                                                        \
    X(timer)                                                                                       \
    X(store)                                                                                       \
    X(board)                                                                                       \
    X(notice)                                                                                      \
    X(loop)                                                                                        \
    X(link)                                                                                        \
    X(member)                                                                                      \
    X(java)                                                                                        \
    X(vectors)                                                                                     \
    X(frame)                                                                                       \
    X(channel)                                                                                     \
    X(membership)                                                                                  \
    X(secret)                                                                                      \
    X(transport)                                                                                   \
    X(interceptor)                                                                                 \
    X(links)                                                                                       \
    X(coordinator)                                                                                 \
    X(chain)                                                                                       \
    X(encrypt)                                                                                     \
    X(gzip)                                                                                        \
    X(fragmentation)                                                                               \
    X(order)                                                                                       \
    X(two_phase_commit)                                                                            \
    X(session)                                                                                     \
    X(message)                                                                                     \
    X(message_digest)                                                                              \
    X(delta)                                                                                       \
    X(placement)                                                                                   \
    X(backup)                                                                                      \
    X(events)                                                                                      \
    X(snapshot)                                                                                    \
    X(tomcat)                                                                                      \
    X(deployer)                                                                                    \
    X(central)

#define SC_SUITE_DECLARE(topic) void sc_suite_##topic(void) __attribute__((weak));
SC_SUITES(SC_SUITE_DECLARE)
#undef SC_SUITE_DECLARE

#endif
