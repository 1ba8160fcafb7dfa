/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The configuration an administrator gets who configures nothing.
 *
 * Zeroed as a whole first, padding included: a restart compares two of these with memcmp.
 */
#include <string.h>

#include "sc_config.h"

void sc_config_defaults(sc_config_t *c)
{
    memset(c, 0, sizeof(*c));

    c->role = SC_ROLE_NODE;

    c->membership = SC_MEMBERSHIP_NONE;
    memcpy(c->mcast.address, "228.0.0.4", sizeof("228.0.0.4"));
    c->mcast.port = 45565; /* not Tomcat's 45564: on a foreign group we stay silent */
    c->mcast.frequency_ms = 500;
    c->mcast.drop_ms = 3000;
    c->mcast.ttl = -1;
    c->mcast.recovery_errors = 10;
    c->mcast.recovery_ms = 5000;
    c->dns.refresh_ms = 5000;

    c->receiver.port = 4000;
    c->receiver.max_connections = 256;
    c->receiver.max_frame = 16 * 1024 * 1024;

    c->sender.timeout_ms = 3000;
    c->sender.max_retries = 1;
    c->sender.max_queue = 64 * 1024 * 1024;
    c->sender.keep_count = -1;
    c->sender.keep_ms = -1;

    c->send_options = SC_OPT_SYNCHRONIZED_ACK | SC_OPT_USE_ACK;
    c->ack_wait_ms = 1000;

    c->manager = SC_MANAGER_DELTA;
    c->delta.touch_ms = 1000;
    c->delta.fetch_ms = 1000;
    c->delta.state_ms = 60000;
    c->delta.block_bytes = 256 * 1024;
    c->delta.tombstone_s = 600;
    c->delta.digest_ms = 30000;

    c->backup.backups = 1;
    c->backup.select = SC_SELECT_RENDEZVOUS;
    c->backup.copy_rate = 20000;
    c->backup.place_ms = 100;
    c->backup.leave_ms = 10000;

    memcpy(c->tomcat.address, c->mcast.address, sizeof(c->tomcat.address));
    c->tomcat.port = 45564;
    c->tomcat.frequency_ms = 1000;
    c->tomcat.drop_ms = 3000;
    c->tomcat.interval_ms = 5000;
    c->tomcat.timeout_ms = 10000;
    c->deployer.scan_ms = 2000;
    c->deployer.max_files = 10000;
    c->deployer.max_file = 256u * 1024 * 1024;
    c->deployer.max_total = 1024u * 1024 * 1024;
    c->deployer.block_bytes = 64 * 1024;
    c->deployer.command_ms = 60000;

    c->tomcat.max_answer = 32 * 1024 * 1024;

    c->snapshot.wait_ms = 30000;

    c->max_session = 64 * 1024;
}
