/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Handler "session-cluster-status": what the noticeboard and the store say about this node, as a
 * page for people and, with ?json and ?prometheus, as data for programs. Names and meanings are in
 * README.md ("Status page"), which a test compares with what is written.
 *
 * GET looks, POST acts (status_actions.c); nothing else is allowed.
 */

#include "status.h"

#include "options.h"

APLOG_USE_MODULE(session_cluster);

#define HANDLER "session-cluster-status"
/** Seconds between two loads of a page that loads itself again. */
#define REFRESH_MIN 2
#define REFRESH_MAX 3600

const char sc_status_no_engine[] =
    "no engine: this httpd has no SessionCluster directive that needs one";

/* ---- the facts --------------------------------------------------------------------------------
 */

/* Text in shared memory ends within its bounds, whatever stands there. */
static const char *bounded(apr_pool_t *p, const char *text, apr_size_t size)
{
    return apr_pstrmemdup(p, text, strnlen(text, size - 1));
}

/* As the other members see it: one that refuses sessions is not ready, though it has them. */
static apr_uint32_t own_state(const sc_board_t *b)
{
    apr_uint32_t state = sc_board_get(b->node_state);

    if (state != SC_NODE_READY) {
        return state;
    }
    return sc_board_get(b->quorum_lost) ? SC_NODE_MINORITY
           : sc_board_get(b->draining)  ? SC_NODE_DRAINING
                                        : SC_NODE_READY;
}

#define END(text) ((text)[sizeof(text) - 1] = '\0')

static void look_at_view(sc_status_t *s)
{
    s->view = apr_pcalloc(s->r->pool, sizeof(*s->view));
    if (sc_board_view(s->board, s->view) != APR_SUCCESS) {
        s->view->count = 0; /* it changes all the time: next call */
    }
    END(s->view->coordinator);
    for (apr_uint32_t i = 0; i < s->view->count; i++) {
        sc_board_member_t *m = &s->view->member[i];

        END(m->route);
        END(m->host);
        END(m->url);
        END(m->domain);
        m->weight = m->url[0] && !m->weight ? 1 : m->weight;
    }
}

static void look_at_contexts(sc_status_t *s)
{
    sc_context_stats_t c;

    s->contexts = apr_array_make(s->r->pool, 4, sizeof(c));
    for (apr_uint16_t i = 0; sc_store_context_stats(s->store, i, &c) == APR_SUCCESS; i++) {
        END(c.name);
        APR_ARRAY_PUSH(s->contexts, sc_context_stats_t) = c;
    }
}

static void look_at_counters(sc_status_t *s)
{
#define COPY(name) s->count.name = sc_board_get(s->board->count.name);
    SC_COUNTERS(COPY)
#undef COPY
#define COPY(name) s->rates.name = sc_board_get(s->board->rates.name);
    SC_RATES(COPY)
    COPY(span)
#undef COPY
}

int sc_status_look(sc_status_t *s, request_rec *r)
{
    const sc_httpd_t *self = sc_httpd();

    memset(s, 0, sizeof(*s));
    s->r = r;
    s->conf = self->conf;
    s->now = sc_mono(&sc_clock_system);
    s->wall = apr_time_now();
    s->role = self->conf ? self->conf->engine.role : SC_ROLE_NODE;
    s->route = s->receiver = s->action.name = s->action.message = "";
    s->has_tallies = sc_balancer_tallies(&s->tallies);
    sc_central_counters(&s->central);
    s->has_central = self->conf && sc_central_info(&s->shared, r->pool);
    s->deploys = self->conf && self->conf->engine.deployer.on;
    s->may_act = sc_config_dir(r)->status_actions == 1;
    s->nonce = sc_status_nonce();
    sc_status_counts(&s->posts);
    if (!self->store || !self->board) {
        return s->has_tallies;
    }
    s->store = self->store;
    s->board = self->board;
    s->route = bounded(r->pool, s->board->route, sizeof(s->board->route));
    s->receiver = bounded(r->pool, s->board->receiver, sizeof(s->board->receiver));
    s->state = own_state(s->board);
    sc_store_stats(s->store, &s->stats);
    look_at_view(s);
    look_at_contexts(s);
    look_at_counters(s);
    (void)sc_board_ways(s->board, &s->in, &s->out); /* it changes all the time: next call */
    s->notice = apr_palloc(r->pool, SC_NOTICES_MAX * sizeof(*s->notice));
    s->nnotices = sc_notices_read(&s->board->notices, s->notice);
    return 1;
}

void sc_status_nodes(const sc_status_t *s, apr_uint32_t *alive, apr_uint32_t *all)
{
    *alive = *all = 0;
    for (apr_uint32_t i = 0; i < s->view->count; i++) {
        const sc_board_member_t *m = &s->view->member[i];

        if (m->role == SC_ROLE_NODE) {
            *all += 1;
            *alive += m->state == SC_MEMBER_ALIVE;
        }
    }
}

apr_uint64_t sc_status_refused(const sc_counters_t *c)
{
    return c->refused_full + c->refused_size + c->refused_quorum;
}

apr_uint64_t sc_status_used(const sc_store_stats_t *stats)
{
    return stats->cells && stats->cells_free <= stats->cells
               ? (apr_uint64_t)(stats->cells - stats->cells_free) * 1000 / stats->cells
               : 0;
}

apr_time_t sc_status_lag(const sc_status_t *s, const sc_board_member_t *m)
{
    return m->owes && s->now > m->owes ? s->now - m->owes : 0;
}

/* ---- the handler ------------------------------------------------------------------------------
 */

/* The value of a word in the query, "" when it has none. @return NULL: it is not there */
static const char *argument(request_rec *r, const char *word)
{
    const char *args = r->args;
    apr_size_t n = strlen(word);

    while (args && *args) {
        apr_size_t len = strcspn(args, "&;=");

        if (len == n && memcmp(args, word, n) == 0) {
            args += n;
            return *args == '=' ? apr_pstrmemdup(r->pool, args + 1, strcspn(args + 1, "&;")) : "";
        }
        args += strcspn(args, "&;");
        args += *args ? 1 : 0;
    }
    return NULL;
}

static long refresh_of(request_rec *r)
{
    const char *text = argument(r, "refresh");
    apr_int64_t n;

    if (!text || sc_parse_number(text, &n) != APR_SUCCESS || n < 1) {
        return 0;
    }
    return n < REFRESH_MIN ? REFRESH_MIN : n > REFRESH_MAX ? REFRESH_MAX : (long)n;
}

typedef void form_t(sc_status_t *s);

static form_t *form_of(request_rec *r)
{
    return argument(r, "json")         ? sc_status_json
           : argument(r, "prometheus") ? sc_status_prometheus
                                       : sc_status_html;
}

int sc_status_handler(request_rec *r)
{
    sc_action_t action;
    sc_status_t s;
    int rv;

    if (!r->handler || strcmp(r->handler, HANDLER) != 0) {
        return DECLINED;
    }
    if (r->method_number != M_GET && r->method_number != M_POST) { /* HEAD is a GET, too */
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, M_POST, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    if (!sc_status_look(&s, r)) {
        r->status = HTTP_SERVICE_UNAVAILABLE;
    }
    if (r->method_number == M_POST) {
        rv = sc_status_post(&s);
        if (rv != OK) {
            return rv;
        }
        action = s.action;
        (void)sc_status_look(&s, r); /* what it has changed is to be seen */
        s.action = action;
    } else {
        s.refresh = refresh_of(r);
    }
    form_of(r)(&s);
    return OK;
}
