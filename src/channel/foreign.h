/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file foreign.h
 * @brief Private to room "channel": members without this cluster's mark (Tomcats), where they are
 *        accepted.
 *
 * They are seen and can exchange byte messages. They have no outbox and no stream, and the layer
 * above is never told of them: so they get no session message and count for nothing.
 */
#ifndef SC_FOREIGN_H
#define SC_FOREIGN_H

#include "java_object.h"
#include "sc_membership.h"

/** At most: they leave room for members with our mark. */
#define SC_FOREIGN_MAX 16

typedef struct sc_foreign_member_t {
    sc_member_t member;
    int suspect;
    apr_time_t since;          /**< of its last change of state */
    apr_time_t heard;          /**< its last message; heartbeats are membership's */
    unsigned char *membership; /**< name of the static membership in which it has this node */
    apr_size_t membership_len;
    apr_uint64_t member_serial; /**< sc_java_t */
    apr_uint64_t static_serial;
} sc_foreign_member_t;

typedef struct sc_foreign_t {
    const sc_chain_env_t *env;
    sc_membership_t *membership;
    /** Down the chain; bytes are copied. */
    void (*send)(void *ctx, const sc_member_t *to, const void *bytes, apr_size_t len,
                 apr_uint32_t options);
    void *ctx;
    sc_foreign_member_t *at[SC_FOREIGN_MAX];
    apr_size_t n;
} sc_foreign_t;

/** @return NULL when it is not known */
sc_foreign_member_t *sc_foreign_find(const sc_foreign_t *f, const sc_member_t *m);
/** @return 0: there is no room for it */
int sc_foreign_added(sc_foreign_t *f, const sc_member_t *m);
void sc_foreign_changed(sc_foreign_t *f, const sc_member_t *m);
void sc_foreign_suspected(sc_foreign_t *f, const sc_member_t *m, int suspect);
void sc_foreign_gone(sc_foreign_t *f, const sc_member_t *m, int goodbye);
void sc_foreign_clear(sc_foreign_t *f);

/* ---- Java objects (java_object.h) ----------------------------------------------------------- */

/**
 * One has come from a member without our mark: static membership's, a call of a procedure, or
 * nothing that this node understands.
 * @return APR_SUCCESS; it is none that is accepted: APR_EGENERAL
 */
apr_status_t sc_foreign_object(sc_foreign_t *f, const sc_packet_t *packet);
/** Append the answer to a call: of static membership what the local member says of itself
 *  (known = 1), of all others that nobody here answers such calls. */
void sc_foreign_answer(const sc_foreign_t *f, sc_buf_t *b, const sc_java_t *call, int known);
/** Say good-bye to those whose static membership is made of Java objects. */
void sc_foreign_goodbye(const sc_foreign_t *f);

#endif
