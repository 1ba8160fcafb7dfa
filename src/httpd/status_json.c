/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status as JSON. Names and meanings stay as they are: README.md, "Status page".
 */

#include "status.h"

#define DEPTH_MAX 8

typedef struct json_t {
    request_rec *r;
    int depth;             /**< open brackets */
    int filled[DEPTH_MAX]; /**< a comma is due there */
} json_t;

/* ---- writing --------------------------------------------------------------------------------- */

/* @param name NULL: an entry of a list */
static void begin(json_t *j, const char *name)
{
    ap_rputs(j->filled[j->depth] ? ",\n" : "\n", j->r);
    j->filled[j->depth] = 1;
    ap_rprintf(j->r, "%*s", 2 * j->depth, "");
    if (name) {
        ap_rvputs(j->r, sc_text_json(j->r->pool, name), ": ", NULL);
    }
}

static void open_at(json_t *j, const char *name, const char *bracket)
{
    if (j->depth > 0) {
        begin(j, name);
    }
    ap_rputs(bracket, j->r);
    j->filled[++j->depth] = 0;
}

static void close_at(json_t *j, const char *bracket)
{
    int filled = j->filled[j->depth--];

    if (filled) {
        ap_rprintf(j->r, "\n%*s", 2 * j->depth, "");
    }
    ap_rputs(bracket, j->r);
}

static void put(json_t *j, const char *name, const char *json)
{
    begin(j, name);
    ap_rputs(json, j->r);
}

static void put_text(json_t *j, const char *name, const char *value)
{
    put(j, name, sc_text_json(j->r->pool, value));
}

static void put_number(json_t *j, const char *name, apr_uint64_t value)
{
    put(j, name, apr_psprintf(j->r->pool, "%" APR_UINT64_T_FMT, value));
}

static void put_flag(json_t *j, const char *name, int value)
{
    put(j, name, value ? "true" : "false");
}

/* Time gone by since then, in units of so many microseconds; then = 0: never. */
static void put_age(json_t *j, const char *name, apr_time_t now, apr_time_t then, apr_time_t unit)
{
    if (then == 0) {
        put(j, name, "null");
    } else {
        put_number(j, name, now > then ? (apr_uint64_t)((now - then) / unit) : 0);
    }
}

/* ---- the facts ------------------------------------------------------------------------------- */

/* until = 0: none is needed. */
static void put_lease(json_t *j, apr_time_t until, apr_time_t now)
{
    apr_time_t left = until > now ? until - now : 0;

    put_flag(j, "leased", until == 0 || left > 0);
    if (until == 0) {
        put(j, "lease_ms", "null");
    } else {
        put_number(j, "lease_ms", (apr_uint64_t)apr_time_as_msec(left));
    }
}

static void put_node(json_t *j, const sc_status_t *s)
{
    const sc_board_t *b = s->board;
    apr_time_t started = sc_board_get(b->engine_started);

    open_at(j, "node", "{");
    put_text(j, "route", s->route);
    put_text(j, "role", sc_text_role(s->role));
    put_text(j, "state", sc_node_state_name(s->state));
    put_flag(j, "draining", sc_board_get(b->draining) != 0);
    put_text(j, "version", SC_VERSION);
    put_number(j, "engine_pid", sc_board_get(b->engine_pid));
    put_number(j, "engine_starts", sc_board_get(b->engine_starts));
    put_age(j, "uptime_s", s->now, started ? started : s->now, APR_USEC_PER_SEC);
    put_text(j, "receiver", s->receiver);
    put_flag(j, "encrypted", s->conf && s->conf->engine.secret.count > 0);
    put_number(j, "quorum", s->conf ? s->conf->engine.quorum : 0);
    put_flag(j, "quorum_lost", sc_board_get(b->quorum_lost) != 0);
    put_lease(j, sc_board_get(b->lease_until), s->now);
    put_number(j, "short_copies", sc_board_get(b->short_copies));
    put_number(j, "moving", sc_board_get(b->moving));
    put_number(j, "restarts", sc_board_get(b->restarts));
    close_at(j, "}");
}

static void put_member(json_t *j, const sc_status_t *s, const sc_board_member_t *m)
{
    apr_time_t now = s->now;

    open_at(j, NULL, "{");
    put_text(j, "route", m->route);
    put_text(j, "host", m->host);
    put_number(j, "port", m->port);
    put_text(j, "role", sc_text_role(m->role));
    put_text(j, "state", sc_member_state_name(m->state));
    put_text(j, "node_state", sc_node_state_name(m->node_state));
    put_flag(j, "self", m->self != 0);
    put_age(j, "since_s", now, m->since ? m->since : now, APR_USEC_PER_SEC);
    put_age(j, "heard_ms_ago", now, m->self ? now : m->heard, 1000);
    put_text(j, "domain", m->domain);
    put_flag(j, "no_backups", (m->flags & SC_MEMBER_NO_BACKUPS) != 0);
    put_flag(j, "foreign", m->foreign != 0);
    put_flag(j, "lagging", m->lagging != 0);
    put_flag(j, "leased", m->leased != 0);
    put_number(j, "lag_ms", (apr_uint64_t)apr_time_as_msec(sc_status_lag(s, m)));
    put_number(j, "queued", m->queued);
    put_number(j, "queued_bytes", m->queued_bytes);
    put_text(j, "url", m->url);
    put_number(j, "weight", m->weight);
    put_number(j, "lbset", m->lbset);
    close_at(j, "}");
}

static void put_view(json_t *j, const sc_status_t *s)
{
    open_at(j, "view", "{");
    put_number(j, "generation", s->view->changes);
    put_text(j, "coordinator", s->view->coordinator);
    open_at(j, "members", "[");
    for (apr_uint32_t i = 0; i < s->view->count; i++) {
        put_member(j, s, &s->view->member[i]);
    }
    close_at(j, "]");
    close_at(j, "}");
}

static void put_balancers(json_t *j, const sc_status_t *s)
{
    sc_members_info_t b;

    open_at(j, "balancers", "[");
    for (int i = 0; sc_balancer_info(i, s->view, &b); i++) {
        open_at(j, NULL, "{");
        put_text(j, "name", b.name);
        put_number(j, "places", (apr_uint64_t)b.places);
        put_number(j, "members", (apr_uint64_t)b.members);
        put_number(j, "resting", (apr_uint64_t)b.resting);
        put_number(j, "waiting", (apr_uint64_t)b.waiting);
        put_number(j, "added", b.added);
        put_number(j, "removed", b.removed);
        close_at(j, "}");
    }
    close_at(j, "]");
}

static void put_store(json_t *j, const sc_status_t *s)
{
    apr_uint64_t used = sc_status_used(&s->stats);

    open_at(j, "store", "{");
    put_number(j, "bytes", s->stats.bytes);
    put_number(j, "cells", s->stats.cells);
    put_number(j, "cells_free", s->stats.cells_free);
    put(j, "used_percent",
        apr_psprintf(j->r->pool, "%u.%u", (unsigned)(used / 10), (unsigned)(used % 10)));
    put_number(j, "sessions", s->stats.sessions);
    put_number(j, "proxies", s->stats.proxies);
    put_number(j, "tombstones", s->stats.tombstones);
    put_number(j, "lsn", s->stats.lsn);
    close_at(j, "}");
}

static void put_contexts(json_t *j, const sc_status_t *s)
{
    open_at(j, "contexts", "[");
    for (int i = 0; i < s->contexts->nelts; i++) {
        const sc_context_stats_t *c = &APR_ARRAY_IDX(s->contexts, i, sc_context_stats_t);

        open_at(j, NULL, "{");
        put_text(j, "name", c->name);
        put_number(j, "sessions", c->sessions);
        put_number(j, "primaries", c->primaries);
        put_number(j, "replicas", c->sessions > c->primaries ? c->sessions - c->primaries : 0);
        put_number(j, "backups", c->backups);
        put_number(j, "proxies", c->proxies);
        put_number(j, "tombstones", c->tombstones);
        put_number(j, "bytes", c->body_bytes);
        close_at(j, "}");
    }
    close_at(j, "]");
}

static void put_way(json_t *j, const char *name, const sc_board_way_t *w)
{
    open_at(j, name, "{");
    put_text(j, "file", w->file);
    put_text(j, "member", w->who);
    put_number(j, "done", w->done);
    put_number(j, "size", w->size);
    close_at(j, "}");
}

static void put_deployer(json_t *j, const sc_status_t *s)
{
    static const char *const ends[] = {"none", "runs", "done", "exit", "signal", "not run"};
    const sc_board_t *b = s->board;
    apr_uint64_t version = sc_board_get(b->deploy.version);
    apr_uint32_t command = sc_board_get(b->deploy.command);

    put_flag(j, "watching", s->deploys && s->conf->engine.deployer.watch);
    put_flag(j, "blind", sc_board_get(b->deploy.blind) != 0);
    put_text(j, "version",
             version ? apr_psprintf(j->r->pool, "%08x", (unsigned)(version >> 32)) : "");
    put_age(j, "batch_s_ago", s->now, sc_board_get(b->deploy.batch_at), APR_USEC_PER_SEC);
    put_text(j, "command", ends[command < SC_COMMAND_ENDS ? command : 0]);
    put_number(j, "command_code", sc_board_get(b->deploy.command_code));
    put_age(j, "command_s_ago", s->now, sc_board_get(b->deploy.command_at), APR_USEC_PER_SEC);
    put_way(j, "receiving", &s->in);
    put_way(j, "sending", &s->out);
}

static void put_central(json_t *j, const sc_status_t *s)
{
    const sc_central_info_t *i = &s->shared;

    open_at(j, "central", "{");
    put_flag(j, "on", s->has_central);
    put_text(j, "provider", s->has_central ? i->provider : "");
    put_text(j, "prefix", s->has_central ? i->prefix : "");
    put_flag(j, "answers", s->has_central && !i->silent_since);
    put_age(j, "silent_s", s->now, i->silent_since, APR_USEC_PER_SEC);
    put_number(j, "takes_us", (apr_uint64_t)i->takes);
    close_at(j, "}");
}

static void put_activity(json_t *j, const sc_status_t *s)
{
    apr_uint32_t total = sc_board_get(s->board->transfer_total);

    open_at(j, "transfer", "{");
    put_flag(j, "running", total != 0);
    put_number(j, "done", sc_board_get(s->board->transfer_done));
    put_number(j, "total", total);
    close_at(j, "}");

    open_at(j, "deployer", "{");
    put_flag(j, "running", sc_board_get(s->board->deploy.on) != 0);
    put_number(j, "files", sc_board_get(s->board->deploy.files));
    put_number(j, "bytes", sc_board_get(s->board->deploy.bytes));
    put_number(j, "waiting", sc_board_get(s->board->deploy.waiting));
    put_number(j, "done", sc_board_get(s->board->deploy.done_bytes));
    put_deployer(j, s);
    close_at(j, "}");

    put_central(j, s);
    open_at(j, "rates", "{");
    put_number(j, "seconds", s->rates.span / APR_USEC_PER_SEC);
#define PUT_RATE(name) put(j, #name, sc_text_rate(j->r->pool, s->rates.name, s->rates.span));
    SC_RATES(PUT_RATE)
#undef PUT_RATE
    close_at(j, "}");
}

static void put_counters(json_t *j, const sc_status_t *s)
{
    open_at(j, "counters", "{");
    if (s->store) {
#define PUT_COUNTER(name) put_number(j, #name, s->count.name);
        SC_COUNTERS(PUT_COUNTER)
#undef PUT_COUNTER
    }
#define PUT_TALLY(name) put_number(j, #name, s->tallies.name);
    SC_TALLIES(PUT_TALLY)
#undef PUT_TALLY
#define PUT_CENTRAL(name) put_number(j, #name, s->central.name);
    SC_CENTRAL_COUNTERS(PUT_CENTRAL)
#undef PUT_CENTRAL
    put_number(j, "status_actions", s->posts.status_actions);
    put_number(j, "status_refused", s->posts.status_refused);
    close_at(j, "}");
}

static const char *iso_time(apr_pool_t *p, apr_time_t t)
{
    apr_time_exp_t e;

    apr_time_exp_gmt(&e, t);
    return apr_psprintf(p, "%04d-%02d-%02dT%02d:%02d:%02dZ", e.tm_year + 1900, e.tm_mon + 1,
                        e.tm_mday, e.tm_hour, e.tm_min, e.tm_sec);
}

static void put_events(json_t *j, const sc_status_t *s)
{
    open_at(j, "events", "[");
    for (int i = 0; i < s->nnotices; i++) {
        const sc_notice_t *n = &s->notice[i];

        open_at(j, NULL, "{");
        put_number(j, "seq", n->seq);
        put_text(j, "time", iso_time(j->r->pool, n->last));
        put_text(j, "first", iso_time(j->r->pool, n->first));
        put_number(j, "times", n->times);
        put_text(j, "kind", sc_notice_name(n->kind));
        put_text(j, "member", n->who);
        put_number(j, "number", n->number);
        close_at(j, "}");
    }
    close_at(j, "]");
}

/* ---- what a POST has come to ----------------------------------------------------------------- */

static void put_time(json_t *j, const char *name, apr_time_t t)
{
    if (t < 0) {
        put(j, name, "null");
    } else {
        put_number(j, name, (apr_uint64_t)apr_time_sec(t));
    }
}

static void put_found(json_t *j, const sc_found_t *f)
{
    open_at(j, NULL, "{");
    put_text(j, "context", f->context);
    put_text(j, "id", f->id);
    put_text(j, "state", f->state);
    put_text(j, "role", f->role);
    put_text(j, "primary", f->primary);
    open_at(j, "backups", "[");
    for (int i = 0; i < f->backups->nelts; i++) {
        put_text(j, NULL, APR_ARRAY_IDX(f->backups, i, const char *));
    }
    close_at(j, "]");
    put_number(j, "bytes", f->bytes);
    put_time(j, "age_s", f->age);
    put_time(j, "idle_s", f->idle);
    put_time(j, "left_s", f->left);
    put_number(j, "epoch", f->epoch);
    close_at(j, "}");
}

static void put_actions(json_t *j, const sc_status_t *s)
{
    open_at(j, "actions", "{");
    put_flag(j, "enabled", s->may_act);
    put_text(j, "nonce", s->nonce);
    close_at(j, "}");
}

static void put_result(json_t *j, const sc_action_t *a)
{
    open_at(j, "result", "{");
    put_text(j, "action", a->name);
    put_flag(j, "done", a->done);
    put_text(j, "message", a->message);
    open_at(j, "sessions", "[");
    for (int i = 0; a->found && i < a->found->nelts; i++) {
        put_found(j, &APR_ARRAY_IDX(a->found, i, sc_found_t));
    }
    close_at(j, "]");
    close_at(j, "}");
}

static void put_engine(json_t *j, const sc_status_t *s)
{
    put_node(j, s);
    put_view(j, s);
    put_balancers(j, s);
    put_store(j, s);
    put_contexts(j, s);
    put_activity(j, s);
}

void sc_status_json(sc_status_t *s)
{
    request_rec *r = s->r;
    json_t j = {.r = r};

    ap_set_content_type(r, "application/json");
    if (r->header_only) {
        return;
    }
    open_at(&j, NULL, "{");
    if (!s->store && !s->has_tallies) {
        put_text(&j, "error", sc_status_no_engine);
    } else {
        if (s->action.name[0]) {
            put_result(&j, &s->action);
        }
        if (s->store) {
            put_engine(&j, s);
        }
        put_counters(&j, s);
        if (s->store) {
            put_events(&j, s);
            put_actions(&j, s);
        }
    }
    close_at(&j, "}");
    ap_rputs("\n", r);
}
