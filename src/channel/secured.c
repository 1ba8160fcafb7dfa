/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The initiator's side of a connection with a secret; see secured.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "secured.h"

/* A buffer of sealed frames is kept up to this size. */
#define KEEP_BYTES (64 * 1024)
#define LOG_INTERVAL apr_time_from_sec(10)

apr_status_t sc_secured_create(sc_secured_t **out, const sc_net_env_t *env, const sc_uid_t *wanted)
{
    sc_secured_t *s = calloc(1, sizeof(*s));
    unsigned char hello[SC_SHAKE_MAX];
    apr_status_t rv;
    apr_size_t len;

    *out = s;
    if (s == NULL) {
        return APR_ENOMEM;
    }
    sc_buf_init(&s->out, APR_SIZE_MAX / 2); /* the line bounds what it takes */
    rv = sc_shake_call(&s->shake, env->ring, &env->cfg.uid, wanted, hello, &len);
    sc_put(&s->out, hello, len);
    s->preface = len;
    return rv != APR_SUCCESS ? rv : s->out.err;
}

void sc_secured_free(sc_secured_t *s)
{
    if (s != NULL) {
        sc_seal_free(&s->sending);
        sc_seal_free(&s->receiving);
        sc_buf_free(&s->out);
        free(s);
    }
}

apr_status_t sc_secured_read(sc_secured_t *s, int fd)
{
    unsigned char proof[SC_SHAKE_MAX];
    apr_status_t rv = APR_EAGAIN;
    apr_size_t len = 0;

    while (rv == APR_EAGAIN) {
        apr_size_t room;
        unsigned char *p = sc_shake_room(&s->shake, &room);
        ssize_t n = recv(fd, p, room, MSG_DONTWAIT);

        if (n == 0) {
            return APR_EOF;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EWOULDBLOCK ? APR_EAGAIN : errno;
        }
        rv = sc_shake_heard(&s->shake, (apr_size_t)n, proof, &len);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_shake_seals(&s->shake, &s->sending, &s->receiving);
    }
    if (rv == APR_SUCCESS) {
        sc_put(&s->out, proof, len);
        s->preface += len;
        rv = s->out.err;
    }
    return rv;
}

void sc_secured_complain(const sc_net_env_t *env, sc_log_limit_t *limit, const sc_member_t *to,
                         sc_log_level_t level, const char *why)
{
    char name[SC_MEMBER_NAME];
    apr_uint64_t more = 0;

    if (sc_log_allowed(limit, sc_mono(sc_loop_clock(env->loop)), LOG_INTERVAL, &more)) {
        sc_log(env->cfg.log, level, 0,
               "SC0472: the connection to member %s was given up: %s (%" APR_UINT64_T_FMT
               " more before)",
               sc_member_name(to, name), why, more);
    }
}

apr_status_t sc_secured_failed(const sc_secured_t *s, apr_status_t rv, const sc_net_env_t *env,
                               sc_log_limit_t *limit, const sc_member_t *to)
{
    if (rv == APR_EACCES) {
        SC_NET_COUNT(env, strangers, 1);
        sc_secured_complain(env, limit, to, SC_LOG_WARNING, s->shake.why);
    } else if (rv == APR_EOF) {
        /* no news when it has just been started again; else it says why in its own log */
        sc_secured_complain(
            env, limit, to, SC_LOG_INFO,
            "it was closed during the handshake; does it have the same SessionClusterSecret?");
        rv = ECONNRESET;
    }
    return rv;
}

int sc_secured_waits(const sc_secured_t *s)
{
    return s->sent < s->out.len;
}

int sc_secured_empty(sc_secured_t *s)
{
    if (s->sent == s->out.len) {
        sc_buf_clear(&s->out);
        s->sent = 0;
    }
    return s->sending.cipher != NULL && s->out.len - s->sent == s->preface;
}

apr_size_t sc_secured_wrote(sc_secured_t *s, apr_size_t n)
{
    apr_size_t preface = n < s->preface ? n : s->preface;

    s->sent += n;
    s->preface -= preface;
    if (s->sent == s->out.len && s->out.cap > KEEP_BYTES) {
        sc_buf_free(&s->out);
        s->sent = 0;
    }
    return n - preface;
}
