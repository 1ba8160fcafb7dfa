/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where answers are received. A Tomcat connects to the address in the question, and keeps the
 * connection for the next answer; one that this node closed would make it complain at its next
 * answer. So connections that have brought an answer stay, others have to make room.
 *
 * Whoever connects here can make this node keep HEAD_BYTES of what he sends, and no more: the rest
 * of a frame is kept only if the 128 random bits of the question that is open now are in its
 * beginning. The rest of a frame that nobody waits for, or that is too large, is read and dropped,
 * since the Tomcat would take a closed connection for a failure of this node.
 */
#include <string.h>
#include <sys/socket.h>

#include "internal.h"
#include "sc_transport.h"

#include <apr_portable.h>

/* The bits of the question are in the first bytes of an answer, whatever its sender's name. */
#define HEAD_BYTES 2048
/* Mark, length and options of a frame. */
#define BEGIN_BYTES 15
#define PLACES_MAX 4
#define CONNS_MAX 512
#define ACCEPTS_MAX 32
#define CHUNK 16384
#define READS_MAX 16
#define IDLE_MAX apr_time_from_sec(60)
#define LOOK apr_time_from_sec(10)

typedef struct conn_t {
    sc_tc_answers_t *of;
    struct conn_t *next, **here;
    apr_pool_t *pool;
    apr_socket_t *sock;
    sc_watch_t watch;
    int proven; /* it has brought an answer */
    apr_time_t used;
    sc_buf_t in;      /* the frame so far */
    apr_size_t total; /* bytes of the frame, 0: not known yet */
    apr_size_t skip;  /* bytes of a frame that nobody waits for, still to come */
    int judged;       /* its beginning was looked at: it is an answer */
    apr_uint32_t options;
} conn_t;

/* An address of this machine, and a port of ours there. */
typedef struct place_t {
    sc_tc_answers_t *of;
    apr_socket_t *sock;
    sc_watch_t watch;
    int fd;
    char address[SC_HOST_MAX + 1];
    apr_uint32_t port;
} place_t;

struct sc_tc_answers_t {
    const sc_tomcat_env_t *env;
    sc_tc_answers_up_t up;
    apr_pool_t *pool;
    place_t place[PLACES_MAX];
    int nplaces;
    conn_t *conns;
    int nconns;
    sc_timer_t look;
};

static void conn_close(conn_t *c)
{
    sc_tc_answers_t *a = c->of;
    int judged = c->judged;

    sc_loop_unwatch(a->env->loop, &c->watch);
    sc_buf_free(&c->in);
    *c->here = c->next;
    if (c->next != NULL) {
        c->next->here = c->here;
    }
    a->nconns--;
    apr_pool_destroy(c->pool); /* and c with it */
    if (judged) {
        a->up.failed(a->up.baton, APR_EOF);
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

static int contains(const sc_buf_t *b, const sc_uid_t *what)
{
    apr_size_t i;

    for (i = BEGIN_BYTES; i + sizeof(what->b) <= b->len; i++) {
        if (b->data[i] == what->b[0] && memcmp(b->data + i, what->b, sizeof(what->b)) == 0) {
            return 1;
        }
    }
    return 0;
}

static void acknowledge(conn_t *c)
{
    apr_size_t n = SC_ACK_FRAME;

    if (c->options &
        SC_OPT_USE_ACK) { /* answers ask for none; what does not fit is not waited for */
        (void)apr_socket_send(c->sock, (const char *)sc_frame_ack(0), &n);
    }
}

static void between_frames(conn_t *c)
{
    sc_buf_free(&c->in);
    c->total = c->skip = 0;
    c->judged = 0;
}

static void drop_rest(conn_t *c)
{
    c->skip = c->total - c->in.len;
    sc_buf_free(&c->in);
    c->judged = 0;
}

/* @return 0: this is no frame */
static int begin_frame(conn_t *c)
{
    sc_rd_t r;
    apr_size_t n;

    if (!sc_frame_is(c->in.data, c->in.len)) {
        return 0;
    }
    sc_rd_init(&r, c->in.data + 7, 8);
    n = sc_get_u32(&r);
    c->options = sc_get_u32(&r);
    c->total = n + SC_FRAME_OVERHEAD;
    return n >= 4 && c->total >= BEGIN_BYTES && n <= APR_INT32_MAX;
}

static int is_wanted(const conn_t *c)
{
    const sc_uid_t *wanted = c->of->up.wanted(c->of->up.baton);

    return wanted != NULL && contains(&c->in, wanted);
}

/* The beginning of a frame is here: is it what is waited for, and can it be kept? */
static void judge(conn_t *c)
{
    sc_tc_answers_t *a = c->of;

    if (!is_wanted(c)) {
        drop_rest(c);
    } else if (c->total > a->env->config->tomcat.max_answer) {
        c->proven = 1;
        drop_rest(c);
        a->up.failed(a->up.baton, APR_ENOSPC);
    } else {
        c->judged = 1;
    }
}

static void whole_frame(conn_t *c)
{
    sc_tc_answers_t *a = c->of;

    c->judged = 0;
    if (is_wanted(c)) {
        c->proven = 1;
        a->up.frame(a->up.baton, &c->in);
    }
}

/* How many of n bytes can be taken before something has to be decided. */
static apr_size_t step(const conn_t *c, apr_size_t n)
{
    apr_size_t want = c->total == 0                         ? BEGIN_BYTES
                      : !c->judged && c->total > HEAD_BYTES ? HEAD_BYTES
                                                            : c->total;

    want -= c->in.len;
    return n < want ? n : want;
}

/* @return 0: it has to be closed */
static int feed(conn_t *c, const unsigned char *bytes, apr_size_t n)
{
    while (n > 0) {
        apr_size_t some = c->skip > 0 ? (n < c->skip ? n : c->skip) : step(c, n);

        if (c->skip > 0) {
            c->skip -= some;
            if (c->skip == 0) {
                acknowledge(c);
                between_frames(c);
            }
        } else {
            sc_put(&c->in, bytes, some);
            if (c->in.err != APR_SUCCESS ||
                (c->total == 0 && c->in.len == BEGIN_BYTES && !begin_frame(c))) {
                return 0;
            }
            if (c->total > 0 && c->in.len == c->total) {
                whole_frame(c);
                acknowledge(c);
                between_frames(c);
            } else if (c->total > HEAD_BYTES && c->in.len == HEAD_BYTES && !c->judged) {
                judge(c);
            }
        }
        bytes += some;
        n -= some;
    }
    return 1;
}

static void conn_event(void *baton, apr_int16_t events)
{
    conn_t *c = baton;
    unsigned char chunk[CHUNK];
    int i;

    (void)events;
    c->used = sc_loop_now(c->of->env->loop);
    for (i = 0; i < READS_MAX; i++) {
        apr_size_t n = sizeof(chunk);
        apr_status_t rv = apr_socket_recv(c->sock, (char *)chunk, &n);

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return;
        }
        if ((rv != APR_SUCCESS && n == 0) || !feed(c, chunk, n)) {
            conn_close(c);
            return;
        }
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static int make_room(sc_tc_answers_t *a)
{
    conn_t *c, *oldest = NULL;

    if (a->nconns < CONNS_MAX) {
        return 1;
    }
    for (c = a->conns; c != NULL; c = c->next) {
        if (!c->proven && !c->judged && (oldest == NULL || c->used < oldest->used)) {
            oldest = c;
        }
    }
    if (oldest != NULL) {
        conn_close(oldest);
    }
    return oldest != NULL;
}

static apr_status_t add_conn(sc_tc_answers_t *a, apr_pool_t *pool, apr_socket_t *sock)
{
    conn_t *c = apr_pcalloc(pool, sizeof(*c));
    apr_status_t rv = apr_socket_timeout_set(sock, 0);

    c->of = a;
    c->pool = pool;
    c->sock = sock;
    c->used = sc_loop_now(a->env->loop);
    sc_buf_init(&c->in, a->env->config->tomcat.max_answer + (apr_size_t)HEAD_BYTES);
    (void)apr_socket_opt_set(sock, APR_SO_KEEPALIVE, 1);
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(a->env->loop, &c->watch, sock, APR_POLLIN, conn_event, c);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    c->next = a->conns;
    c->here = &a->conns;
    if (c->next != NULL) {
        c->next->here = &c->next;
    }
    a->conns = c;
    a->nconns++;
    return APR_SUCCESS;
}

static void place_event(void *baton, apr_int16_t events)
{
    place_t *p = baton;
    sc_tc_answers_t *a = p->of;
    int i;

    (void)events;
    for (i = 0; i < ACCEPTS_MAX; i++) {
        apr_socket_t *sock = NULL;
        apr_pool_t *pool;

        if (apr_pool_create(&pool, a->pool) != APR_SUCCESS) {
            return;
        }
        if (apr_socket_accept(&sock, p->sock, pool) != APR_SUCCESS) {
            apr_pool_destroy(pool);
            return;
        }
        if (!make_room(a) || add_conn(a, pool, sock) != APR_SUCCESS) {
            apr_pool_destroy(pool);
        }
    }
}

static void look_due(void *baton, apr_time_t now)
{
    sc_tc_answers_t *a = baton;
    conn_t *c, *next;

    for (c = a->conns; c != NULL; c = next) {
        next = c->next;
        if (!c->proven && !c->judged && now - c->used > IDLE_MAX) {
            conn_close(c);
        }
    }
    (void)sc_timer_set(sc_loop_timers(a->env->loop), &a->look, now + LOOK, look_due, a);
}

/* ---- places ---------------------------------------------------------------------------------- */

static apr_status_t open_place(sc_tc_answers_t *a, place_t *p, const char *address)
{
    apr_uint32_t port = a->env->config->tomcat.reply_port;
    apr_status_t rv;

    memset(p, 0, sizeof(*p));
    p->of = a;
    memcpy(p->address, address, strlen(address));
    rv = sc_receiver_listen(address, &port, 1, &p->fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    p->port = port;
    {
        apr_os_sock_info_t info = {&p->fd,      NULL,
                                   NULL,        strchr(address, ':') ? AF_INET6 : AF_INET,
                                   SOCK_STREAM, APR_PROTO_TCP};

        rv = apr_os_sock_make(&p->sock, &info, a->pool);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_socket_timeout_set(p->sock, 0);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_loop_watch(a->env->loop, &p->watch, p->sock, APR_POLLIN, place_event, p);
    }
    return rv;
}

apr_status_t sc_tc_answers_at(sc_tc_answers_t *a, const char *address, apr_uint32_t *port)
{
    apr_status_t rv;
    int i;

    for (i = 0; i < a->nplaces; i++) {
        if (strcmp(a->place[i].address, address) == 0) {
            *port = a->place[i].port;
            return APR_SUCCESS;
        }
    }
    if (a->nplaces == PLACES_MAX) {
        return APR_ENOSPC;
    }
    rv = open_place(a, &a->place[a->nplaces], address);
    if (rv == APR_SUCCESS) {
        *port = a->place[a->nplaces++].port;
    }
    return rv;
}

/* ---- life ------------------------------------------------------------------------------------ */

sc_tc_answers_t *sc_tc_answers_create(const sc_tomcat_env_t *env, const sc_tc_answers_up_t *up,
                                      apr_pool_t *pool)
{
    sc_tc_answers_t *a = apr_pcalloc(pool, sizeof(*a));

    a->env = env;
    a->up = *up;
    a->pool = pool;
    look_due(a, sc_loop_now(env->loop));
    return a;
}

void sc_tc_answers_forget(sc_tc_answers_t *a)
{
    conn_t *c;

    for (c = a->conns; c != NULL; c = c->next) {
        if (c->judged) {
            drop_rest(c);
        }
    }
}

void sc_tc_answers_close(sc_tc_answers_t *a)
{
    int i;

    sc_tc_answers_forget(a);
    sc_timer_cancel(sc_loop_timers(a->env->loop), &a->look);
    while (a->conns != NULL) {
        conn_close(a->conns);
    }
    for (i = 0; i < a->nplaces; i++) {
        sc_loop_unwatch(a->env->loop, &a->place[i].watch);
        (void)apr_socket_close(a->place[i].sock);
    }
    a->nplaces = 0;
}
