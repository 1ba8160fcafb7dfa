/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file secured.h
 * @brief Private to room "channel": the initiator's side of a connection with a secret.
 *
 * What goes out waits here as it goes over the wire: first the handshake's bytes (the preface),
 * then sealed frames. The sender's lines ask for it in pieces that the socket takes.
 */
#ifndef SC_SECURED_H
#define SC_SECURED_H

#include "net.h"

typedef struct sc_secured_t {
    sc_shake_t shake;
    sc_seal_t sending;
    sc_seal_t receiving;
    sc_buf_t out;
    apr_size_t sent;    /**< of out */
    apr_size_t preface; /**< bytes of the handshake in it that are not sent yet */
} sc_secured_t;

/** Begin with a hello. @param wanted unique id of the member that is called, or zero */
apr_status_t sc_secured_create(sc_secured_t **out, const sc_net_env_t *env, const sc_uid_t *wanted);
/** NULL is fine. */
void sc_secured_free(sc_secured_t *s);
/**
 * Read the answer of the other side.
 * @return APR_SUCCESS: both have proven themselves, the proof waits to be sent; APR_EAGAIN: more
 *         must come; APR_EOF; APR_EACCES: s->shake.why; else the socket's error
 */
apr_status_t sc_secured_read(sc_secured_t *s, int fd);
/**
 * What to do about a handshake that sc_secured_read has ended: count it, say so now and then.
 * @return rv as the error of the connection
 */
apr_status_t sc_secured_failed(const sc_secured_t *s, apr_status_t rv, const sc_net_env_t *env,
                               sc_log_limit_t *limit, const sc_member_t *to);
/** Say, now and then, why a connection to a member is given up. */
void sc_secured_complain(const sc_net_env_t *env, sc_log_limit_t *limit, const sc_member_t *to,
                         sc_log_level_t level, const char *why);
/** Whether something waits to be sent. */
int sc_secured_waits(const sc_secured_t *s);
/** Whether more frames may be sealed now: none is left of those before. */
int sc_secured_empty(sc_secured_t *s);
/** n bytes have been sent. @return how many of them were of frames */
apr_size_t sc_secured_wrote(sc_secured_t *s, apr_size_t n);

#endif
