/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file coordinator_rig.h
 * @brief What the tests of the coordinators share: captured messages, numbered members.
 */
#ifndef COORDINATOR_RIG_H
#define COORDINATOR_RIG_H

#include <CUnit/CUnit.h>

#include "../../src/interceptor/election.h"
#include "net_rig.h"

#define SECONDS(n) apr_time_from_sec(n)
#define ELECTION_VECTOR "interceptor-nonblockingcoordinator-election.bin"

/** Member 10.0.0.1:400n, without our mark. */
sc_member_t coordinator_numbered(int n);

void coordinator_messages_tests(CU_pSuite s);
void coordinator_token_tests(CU_pSuite s);

#endif
