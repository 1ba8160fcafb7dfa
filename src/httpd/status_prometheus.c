/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status in Prometheus' text format, version 0.0.4. Each family of metrics stands together, as
 * the format asks for. Names and meanings stay as they are: README.md, "Status page".
 */

#include <stddef.h>

#include "status.h"

#define PREFIX "session_cluster_"

static void family(request_rec *r, const char *name, const char *type, const char *help)
{
    ap_rvputs(r, "# HELP " PREFIX, name, " ", help, "\n# TYPE " PREFIX, name, " ", type, "\n",
              NULL);
}

/* @param labels "" or {...} @param value as the format wants it */
static void sample(request_rec *r, const char *name, const char *labels, const char *value)
{
    ap_rvputs(r, PREFIX, name, labels, " ", value, "\n", NULL);
}

static const char *integer(request_rec *r, apr_uint64_t n)
{
    return apr_psprintf(r->pool, "%" APR_UINT64_T_FMT, n);
}

static const char *seconds(request_rec *r, apr_time_t t)
{
    return apr_psprintf(r->pool, "%" APR_TIME_T_FMT ".%03d", t > 0 ? apr_time_sec(t) : 0,
                        t > 0 ? (int)apr_time_msec(t) : 0);
}

/** A gauge of one number. */
static void gauge(request_rec *r, const char *name, const char *help, apr_uint64_t value)
{
    family(r, name, "gauge", help);
    sample(r, name, "", integer(r, value));
}

static const char *label(request_rec *r, const char *name, const char *value)
{
    return apr_pstrcat(r->pool, "{", name, "=\"", sc_text_label(r->pool, value), "\"}", NULL);
}

/* ---- this node ------------------------------------------------------------------------------- */

static void put_node(const sc_status_t *s)
{
    request_rec *r = s->r;
    const sc_board_t *b = s->board;
    apr_time_t started = sc_board_get(b->engine_started);
    apr_time_t lease = sc_board_get(b->lease_until);

    gauge(r, "up", "1: an engine has run and has not left", s->state != SC_NODE_DOWN);
    family(r, "info", "gauge", "Always 1; what this node is");
    sample(r, "info",
           apr_psprintf(r->pool, "{route=\"%s\",role=\"%s\",version=\"%s\"}",
                        sc_text_label(r->pool, s->route), sc_text_role(s->role), SC_VERSION),
           "1");
    family(r, "state", "gauge", "1 for the state that the node is in, 0 for the others");
    for (apr_uint32_t i = SC_NODE_DOWN; i <= SC_NODE_DRAINING; i++) {
        sample(r, "state", label(r, "state", sc_node_state_name(i)), i == s->state ? "1" : "0");
    }
    gauge(r, "draining", "1: an administrator wants this node to be free",
          sc_board_get(b->draining) != 0);
    family(r, "uptime_seconds", "gauge", "Since the engine started");
    sample(r, "uptime_seconds", "", seconds(r, started ? s->now - started : 0));
    gauge(r, "engine_starts", "Engines that have used this store", sc_board_get(b->engine_starts));
    gauge(r, "restarts", "Restarts of httpd that the store has survived",
          sc_board_get(b->restarts));
    gauge(r, "quorum", "Nodes that SessionClusterQuorum asks for, 0: off",
          s->conf ? s->conf->engine.quorum : 0);
    gauge(r, "quorum_lost", "1: fewer live members than that", sc_board_get(b->quorum_lost) != 0);
    gauge(r, "leased", "1: may answer from its copies without asking the others",
          lease == 0 || lease > s->now);
    gauge(r, "short_copies", "Own sessions with fewer backups than asked for and possible",
          sc_board_get(b->short_copies));
    gauge(r, "moving", "Changes of location under way", sc_board_get(b->moving));
    gauge(r, "transfer_running", "1: sessions are being taken over from another node",
          sc_board_get(b->transfer_total) != 0);
    gauge(r, "transfer_received", "Sessions received in it", sc_board_get(b->transfer_done));
    gauge(r, "transfer_expected", "Sessions announced in it", sc_board_get(b->transfer_total));
    gauge(r, "deployer_running", "1: the deployer's process runs", sc_board_get(b->deploy.on) != 0);
    gauge(r, "deployer_files", "Files in deployDir", sc_board_get(b->deploy.files));
    gauge(r, "deployer_bytes", "Bytes of them and of those still to come",
          sc_board_get(b->deploy.bytes));
    gauge(r, "deployer_waiting", "Files still to come", sc_board_get(b->deploy.waiting));
    gauge(r, "deployer_done_bytes", "Bytes received of the file that is being fetched",
          sc_board_get(b->deploy.done_bytes));
    gauge(r, "deployer_blind", "1: watchDir cannot be read", sc_board_get(b->deploy.blind) != 0);
    gauge(r, "deployer_command_failed", "1: the last command after a batch has failed",
          sc_board_get(b->deploy.command) > SC_COMMAND_DONE);
    gauge(r, "central_answers", "1: there is a central store, and it answers",
          s->has_central && !s->shared.silent_since);
    family(r, "central_takes_seconds", "gauge", "Average time of its last answers");
    sample(r, "central_takes_seconds", "",
           apr_psprintf(r->pool, "%.6f", (double)s->shared.takes / APR_USEC_PER_SEC));
}

/* ---- members --------------------------------------------------------------------------------- */

static const char *value_of(const sc_status_t *s, const sc_board_member_t *m, int what)
{
    request_rec *r = s->r;

    switch (what) {
    case 0:
        return m->state == SC_MEMBER_ALIVE ? "1" : "0";
    case 1:
        return m->state == SC_MEMBER_SUSPECT ? "1" : "0";
    case 2:
        return seconds(r, m->self || !m->heard ? 0 : s->now - m->heard);
    case 3:
        return seconds(r, sc_status_lag(s, m));
    case 4:
        return m->lagging ? "1" : "0";
    case 5:
        return integer(r, m->queued);
    default:
        return integer(r, m->queued_bytes);
    }
}

/* A former life and a new one of a member may stand in the view for a moment, and no two samples
 * may have the same labels. The first one counts. */
static int is_repeated(const sc_status_t *s, apr_uint32_t i)
{
    const sc_board_member_t *m = s->view->member;

    for (apr_uint32_t k = 0; k < i; k++) {
        if (m[k].port == m[i].port && m[k].role == m[i].role && strcmp(m[k].host, m[i].host) == 0 &&
            strcmp(m[k].route, m[i].route) == 0) {
            return 1;
        }
    }
    return 0;
}

static void put_members(const sc_status_t *s)
{
    static const char *const names[][2] = {
        {"member_alive", "1: it is alive"},
        {"member_suspect", "1: it is silent and being asked"},
        {"member_heard_seconds", "Since its last sign of life"},
        {"member_lag_seconds", "How long what was sent to it has not been acknowledged"},
        {"member_lagging", "1: it has not acknowledged in time, nobody waits for it"},
        {"member_queued", "Frames and records waiting to be sent to it"},
        {"member_queued_bytes", "Their bytes"},
    };
    request_rec *r = s->r;
    apr_uint32_t alive, all;

    sc_status_nodes(s, &alive, &all);
    gauge(r, "nodes_alive", "Live members of role node, this one included", alive);
    for (int what = 0; what < (int)(sizeof(names) / sizeof(names[0])); what++) {
        family(r, names[what][0], "gauge", names[what][1]);
        for (apr_uint32_t i = 0; i < s->view->count; i++) {
            const sc_board_member_t *m = &s->view->member[i];

            if (is_repeated(s, i)) {
                continue;
            }
            sample(r, names[what][0],
                   apr_psprintf(r->pool, "{member=\"%s\",role=\"%s\",address=\"%s:%u\"}",
                                sc_text_label(r->pool, sc_text_member(r->pool, m)),
                                sc_text_role(m->role), sc_text_label(r->pool, m->host), m->port),
                   value_of(s, m, what));
        }
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void put_store(const sc_status_t *s)
{
    request_rec *r = s->r;
    apr_uint64_t used = sc_status_used(&s->stats);

    gauge(r, "store_bytes", "SessionClusterMemory", s->stats.bytes);
    family(r, "store_used_ratio", "gauge", "Share of the store that is taken");
    sample(r, "store_used_ratio", "",
           apr_psprintf(r->pool, "%u.%03u", (unsigned)(used / 1000), (unsigned)(used % 1000)));
    gauge(r, "sessions", "Live sessions here", s->stats.sessions);
    gauge(r, "proxies", "Sessions of which only the location is known", s->stats.proxies);
    gauge(r, "tombstones", "Remembered ids of dead sessions", s->stats.tombstones);
}

static void put_contexts(const sc_status_t *s)
{
    static const struct {
        const char *name, *help;
        apr_size_t field;
    } all[] = {
        {"context_sessions", "Live sessions of a session space",
         offsetof(sc_context_stats_t, sessions)},
        {"context_primaries", "Those of which this node is the primary",
         offsetof(sc_context_stats_t, primaries)},
        {"context_backups", "Those of which it is a backup", offsetof(sc_context_stats_t, backups)},
        {"context_proxies", "Sessions of which only the location is known",
         offsetof(sc_context_stats_t, proxies)},
        {"context_tombstones", "Remembered ids of dead sessions",
         offsetof(sc_context_stats_t, tombstones)},
        {"context_bytes", "Bytes of live sessions' data", offsetof(sc_context_stats_t, body_bytes)},
    };
    request_rec *r = s->r;

    for (apr_size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        family(r, all[k].name, "gauge", all[k].help);
        for (int i = 0; i < s->contexts->nelts; i++) {
            const sc_context_stats_t *c = &APR_ARRAY_IDX(s->contexts, i, sc_context_stats_t);
            apr_uint64_t value;

            memcpy(&value, (const char *)c + all[k].field, sizeof(value));
            sample(r, all[k].name, label(r, "context", c->name), integer(r, value));
        }
    }
}

/* ---- counters -------------------------------------------------------------------------------- */

static void put_counter(request_rec *r, const char *name, apr_uint64_t value)
{
    const char *total = apr_pstrcat(r->pool, name, "_total", NULL);

    family(r, total, "counter", apr_pstrcat(r->pool, "Counter ", name, " of the JSON form", NULL));
    sample(r, total, "", integer(r, value));
}

static void put_counters(const sc_status_t *s)
{
    if (s->store) {
#define PUT_COUNTER(name) put_counter(s->r, #name, s->count.name);
        SC_COUNTERS(PUT_COUNTER)
#undef PUT_COUNTER
    }
#define PUT_TALLY(name) put_counter(s->r, #name, s->tallies.name);
    SC_TALLIES(PUT_TALLY)
#undef PUT_TALLY
#define PUT_CENTRAL(name) put_counter(s->r, #name, s->central.name);
    SC_CENTRAL_COUNTERS(PUT_CENTRAL)
#undef PUT_CENTRAL
    put_counter(s->r, "status_actions", s->posts.status_actions);
    put_counter(s->r, "status_refused", s->posts.status_refused);
}

void sc_status_prometheus(sc_status_t *s)
{
    request_rec *r = s->r;

    ap_set_content_type(r, "text/plain; version=0.0.4; charset=utf-8");
    if (r->header_only) {
        return;
    }
    if (!s->store) {
        gauge(r, "up", "1: an engine has run and has not left", 0);
    } else {
        put_node(s);
        put_members(s);
        put_store(s);
        put_contexts(s);
    }
    if (s->store || s->has_tallies) {
        put_counters(s);
    }
}
