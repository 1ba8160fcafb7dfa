/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Handler "session-cluster-status": what the noticeboard and the store say about this node, as a
 * page for people and, with ?json, as data for programs. It reads shared memory only and asks
 * nobody, so it answers also when the engine does not. No session ids, no secrets.
 *
 * Names and meanings of the fields are the same in both and stay as they are:
 *
 * | field                      | meaning                                                          |
 * |----------------------------|------------------------------------------------------------------|
 * | node.route                 | SessionClusterRoute, "" without one                              |
 * | node.role                  | node, balancer                                                   |
 * | node.state                 | down, starting, joining (takes over sessions), ready, leaving,   |
 * |                            | minority (refuses sessions, see node.quorum)                     |
 * | node.version               | of the module                                                    |
 * | node.engine_pid            | process of the engine, 0: none has run yet                       |
 * | node.engine_starts         | engines that have used this store: 1 + crashes and replacements  |
 * | node.uptime_s              | seconds since the engine started                                 |
 * | node.receiver              | address:port where replication is received, "" stand-alone       |
 * | node.encrypted             | true: SessionClusterSecret names a secret                        |
 * | node.quorum                | nodes that SessionClusterQuorum asks for, itself too; 0: off     |
 * | node.quorum_lost           | true: fewer live members than that                               |
 * | node.leased                | true: may answer from its copies without asking the others       |
 * | node.lease_ms              | milliseconds for which it may; null: nobody to ask, for ever     |
 * | node.short_copies          | own sessions with fewer backups than asked for and possible      |
 * | node.moving                | changes of location under way                                    |
 * | node.restarts              | restarts of httpd that the store has survived                    |
 * | view.generation            | rises when a member joined, left or changed its state            |
 * | view.coordinator           | route or address of the member that a coordinator interceptor    |
 * |                            | has elected, "" without one                                      |
 * | view.members[]             | this node and the others, also those that are gone               |
 * | ...route, host, port, role | name, address and port of its receiver, node, balancer, foreign  |
 * | ...state                   | alive, suspect (silent, being asked), gone                       |
 * | ...node_state              | what it says of itself: see node.state                           |
 * | ...self                    | true: this node                                                  |
 * | ...since_s                 | seconds since its state changed last                             |
 * | ...heard_ms_ago            | milliseconds since its last sign of life, null: none known       |
 * | ...domain                  | its rack, "" without one                                         |
 * | ...no_backups              | true: it holds no backups of others' sessions                    |
 * | ...foreign                 | true: it has not this cluster's mark (a Tomcat), gets no sessions
 * | | ...lagging                 | true: it has not acknowledged in time, nobody waits for it | |
 * ...leased                  | true: it has heard this node lately                              |
 * | ...queued, queued_bytes    | frames and records waiting to be sent to it                      |
 * | ...url                     | announced to balancers, "" when it announces none                |
 * | ...weight, lbset           | announced with it                                                |
 * | balancers[]                | of SessionClusterMembers                                         |
 * | ...name                    | balancer://name                                                  |
 * | ...places                  | for members, ProxySet growth=                                    |
 * | ...members                 | workers that announced themselves, also gone ones that keep their|
 * |                            | place                                                            |
 * | ...resting                 | places that were given up and cannot be used for a moment        |
 * | ...waiting                 | members that find no place, or whose kind of URL is not loaded   |
 * | ...added, removed          | members that became workers, that were given up; since a restart |
 * | store.bytes                | SessionClusterMemory                                             |
 * | store.cells, cells_free    | its pieces of 128 bytes                                          |
 * | store.used_percent         | share of the cells that is taken                                 |
 * | store.sessions             | live sessions                                                    |
 * | store.proxies              | sessions of which only the location is known, not among these    |
 * | store.tombstones           | remembered ids of dead sessions                                  |
 * | store.lsn                  | number of the last change                                        |
 * | contexts[]                 | session spaces                                                   |
 * | ...name, sessions          | SessionClusterContext, live sessions                             |
 * | ...primaries, replicas     | live sessions of which this node is the primary; the others      |
 * | ...backups                 | of these others, the ones of which this node is a backup         |
 * | ...proxies                 | sessions of which only the location is known                     |
 * | ...tombstones, bytes       | dead ones remembered; bytes of live sessions' data               |
 * | transfer.running           | true: sessions are being taken over from another node            |
 * | transfer.done, total       | sessions received, announced                                     |
 * | counters.*                 | since the store was made, see SC_COUNTERS in sc_board.h          |
 *
 * Without an engine (no directive of this module) the answer is 503 and {"error": "..."}.
 */

#include "sc_httpd.h"

#include "apr_lib.h"

APLOG_USE_MODULE(session_cluster);

#define HANDLER "session-cluster-status"
#define DEPTH_MAX 8

/* ---- one description, two forms ---------------------------------------------------------------
 */

/** A page being written. In JSON objects and lists nest; in HTML an object is a table of two
 *  columns and a list a table with a line for each of its objects. */
typedef struct page_t {
    request_rec *r;
    int html;
    int depth;                /**< JSON: open brackets */
    int filled[DEPTH_MAX];    /**< JSON: a comma is due there */
    int in_row;               /**< HTML: fields are columns of a list */
    int in_table;             /**< HTML: a table is open */
    apr_array_header_t *head; /**< HTML: names of the columns; NULL: already written */
    apr_array_header_t *line; /**< HTML: cells of the row */
} page_t;

/* Length of the UTF-8 sequence at s (no overlong forms, no surrogates), 0 when it is none. */
static int utf8_length(const unsigned char *s)
{
    unsigned int low = 0x80, high = 0xbf;
    int n;

    if (s[0] < 0x80) {
        return 1;
    }
    n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] <= 0xf4 ? 4 : 0;
    if (n == 0 || s[0] < 0xc2) {
        return 0;
    }
    switch (s[0]) {
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    default:
        break;
    }
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (int i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

/* A JSON string, quotes included. Names come from the configuration and from other members, so any
 * byte may be in them; what is not UTF-8 becomes U+FFFD. */
static const char *json_string(apr_pool_t *p, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    char *out = apr_palloc(p, 6 * strlen(text) + 3);
    char *o = out;

    *o++ = '"';
    while (*s) {
        int n = utf8_length(s);
        if (*s == '"' || *s == '\\') {
            *o++ = '\\';
            *o++ = (char)*s++;
        } else if (*s < 0x20 || *s == 0x7f || n == 0) {
            o += apr_snprintf(o, 7, "\\u%04x", n == 0 ? 0xfffd : *s);
            s++;
        } else {
            memcpy(o, s, (apr_size_t)n);
            o += n;
            s += n;
        }
    }
    *o++ = '"';
    *o = '\0';
    return out;
}

static void json_name(page_t *page, const char *name)
{
    ap_rputs(page->filled[page->depth] ? ",\n" : "\n", page->r);
    page->filled[page->depth] = 1;
    ap_rprintf(page->r, "%*s", 2 * page->depth, "");
    if (name) {
        ap_rvputs(page->r, json_string(page->r->pool, name), ": ", NULL);
    }
}

static void json_open(page_t *page, const char *name, const char *bracket)
{
    if (page->depth > 0) {
        json_name(page, name);
    }
    ap_rputs(bracket, page->r);
    page->depth++;
    page->filled[page->depth] = 0;
}

static void json_close(page_t *page, const char *bracket)
{
    int filled = page->filled[page->depth];

    page->depth--;
    if (filled) {
        ap_rprintf(page->r, "\n%*s", 2 * page->depth, "");
    }
    ap_rputs(bracket, page->r);
}

static void html_table(page_t *page, int open)
{
    if (page->in_table != open) {
        ap_rputs(open ? "<table>\n" : "</table>\n", page->r);
        page->in_table = open;
    }
}

static void open_object(page_t *page, const char *name)
{
    if (page->html) {
        ap_rvputs(page->r, "<h2>", name, "</h2>\n", NULL);
    } else {
        json_open(page, name, "{");
    }
}

static void close_object(page_t *page)
{
    if (page->html) {
        html_table(page, 0);
    } else {
        json_close(page, "}");
    }
}

static void open_list(page_t *page, const char *name)
{
    if (page->html) {
        html_table(page, 0);
        ap_rvputs(page->r, "<h2>", name, "</h2>\n", NULL);
        page->in_row = 1;
        page->head = apr_array_make(page->r->pool, 16, sizeof(const char *));
    } else {
        json_open(page, name, "[");
    }
}

static void close_list(page_t *page)
{
    if (page->html) {
        if (page->head) {
            ap_rputs("<p>none</p>\n", page->r);
        }
        html_table(page, 0);
        page->in_row = 0;
    } else {
        json_close(page, "]");
    }
}

static void open_row(page_t *page)
{
    if (page->html) {
        page->line = apr_array_make(page->r->pool, 16, sizeof(const char *));
    } else {
        json_open(page, NULL, "{");
    }
}

static void html_cells(page_t *page, const apr_array_header_t *cells, const char *tag)
{
    html_table(page, 1);
    ap_rputs("<tr>", page->r);
    for (int i = 0; i < cells->nelts; i++) {
        ap_rvputs(page->r, "<", tag, ">", APR_ARRAY_IDX(cells, i, const char *), "</", tag, ">",
                  NULL);
    }
    ap_rputs("</tr>\n", page->r);
}

static void close_row(page_t *page)
{
    if (!page->html) {
        json_close(page, "}");
        return;
    }
    if (page->head) {
        html_cells(page, page->head, "th");
        page->head = NULL;
    }
    html_cells(page, page->line, "td");
}

/* Any field: its value as JSON, and as text without markup. */
static void put(page_t *page, const char *name, const char *json, const char *text)
{
    request_rec *r = page->r;

    if (!page->html) {
        json_name(page, name);
        ap_rputs(json, r);
    } else if (page->in_row) {
        if (page->head) {
            APR_ARRAY_PUSH(page->head, const char *) = name;
        }
        APR_ARRAY_PUSH(page->line, const char *) = ap_escape_html(r->pool, text);
    } else {
        html_table(page, 1);
        ap_rvputs(r, "<tr><th>", name, "</th><td>", ap_escape_html(r->pool, text), "</td></tr>\n",
                  NULL);
    }
}

static void put_text(page_t *page, const char *name, const char *value)
{
    put(page, name, page->html ? NULL : json_string(page->r->pool, value), value);
}

static void put_number(page_t *page, const char *name, apr_uint64_t value)
{
    const char *text = apr_psprintf(page->r->pool, "%" APR_UINT64_T_FMT, value);
    put(page, name, text, text);
}

static void put_flag(page_t *page, const char *name, int value)
{
    put(page, name, value ? "true" : "false", value ? "yes" : "no");
}

/* Time gone by since then, in units of so many microseconds; then = 0: never. */
static void put_age(page_t *page, const char *name, apr_time_t now, apr_time_t then,
                    apr_time_t unit)
{
    if (then == 0) {
        put(page, name, "null", "-");
    } else {
        put_number(page, name, now > then ? (apr_uint64_t)((now - then) / unit) : 0);
    }
}

/* ---- the facts --------------------------------------------------------------------------------
 */

static const char *role_name(apr_uint32_t role)
{
    return role == SC_ROLE_BALANCER ? "balancer" : role == SC_ROLE_FOREIGN ? "foreign" : "node";
}

/* Text in shared memory ends within its bounds, whatever stands there. */
static const char *bounded(request_rec *r, const char *text, apr_size_t size)
{
    return apr_pstrmemdup(r->pool, text, strnlen(text, size - 1));
}

/* As the other members see it: one that refuses sessions is not ready, though it has them. */
static apr_uint32_t own_state(const sc_board_t *b)
{
    apr_uint32_t state = sc_board_get(b->node_state);

    return state == SC_NODE_READY && sc_board_get(b->quorum_lost) ? SC_NODE_MINORITY : state;
}

/* until = 0: none is needed. */
static void put_lease(page_t *page, apr_time_t until, apr_time_t now)
{
    apr_time_t left = until > now ? until - now : 0;

    put_flag(page, "leased", until == 0 || left > 0);
    if (until == 0) {
        put(page, "lease_ms", "null", "-");
    } else {
        put_number(page, "lease_ms", (apr_uint64_t)apr_time_as_msec(left));
    }
}

static void put_node(page_t *page, const sc_board_t *b, const sc_server_conf_t *conf,
                     apr_time_t now)
{
    apr_time_t started = sc_board_get(b->engine_started);

    open_object(page, "node");
    put_text(page, "route", bounded(page->r, b->route, sizeof(b->route)));
    put_text(page, "role", role_name(conf ? conf->engine.role : SC_ROLE_NODE));
    put_text(page, "state", sc_node_state_name(own_state(b)));
    put_text(page, "version", SC_VERSION);
    put_number(page, "engine_pid", sc_board_get(b->engine_pid));
    put_number(page, "engine_starts", sc_board_get(b->engine_starts));
    put_age(page, "uptime_s", now, started ? started : now, APR_USEC_PER_SEC);
    put_text(page, "receiver", bounded(page->r, b->receiver, sizeof(b->receiver)));
    put_flag(page, "encrypted", conf && conf->engine.secret.count > 0);
    put_number(page, "quorum", conf ? conf->engine.quorum : 0);
    put_flag(page, "quorum_lost", sc_board_get(b->quorum_lost) != 0);
    put_lease(page, sc_board_get(b->lease_until), now);
    put_number(page, "short_copies", sc_board_get(b->short_copies));
    put_number(page, "moving", sc_board_get(b->moving));
    put_number(page, "restarts", sc_board_get(b->restarts));
    close_object(page);
}

static void put_member(page_t *page, const sc_board_member_t *m, apr_time_t now)
{
    open_row(page);
    put_text(page, "route", bounded(page->r, m->route, sizeof(m->route)));
    put_text(page, "host", bounded(page->r, m->host, sizeof(m->host)));
    put_number(page, "port", m->port);
    put_text(page, "role", role_name(m->role));
    put_text(page, "state", sc_member_state_name(m->state));
    put_text(page, "node_state", sc_node_state_name(m->node_state));
    put_flag(page, "self", m->self != 0);
    put_age(page, "since_s", now, m->since ? m->since : now, APR_USEC_PER_SEC);
    put_age(page, "heard_ms_ago", now, m->self ? now : m->heard, 1000);
    put_text(page, "domain", bounded(page->r, m->domain, sizeof(m->domain)));
    put_flag(page, "no_backups", (m->flags & SC_MEMBER_NO_BACKUPS) != 0);
    put_flag(page, "foreign", m->foreign != 0);
    put_flag(page, "lagging", m->lagging != 0);
    put_flag(page, "leased", m->leased != 0);
    put_number(page, "queued", m->queued);
    put_number(page, "queued_bytes", m->queued_bytes);
    put_text(page, "url", bounded(page->r, m->url, sizeof(m->url)));
    put_number(page, "weight", m->url[0] && !m->weight ? 1 : m->weight);
    put_number(page, "lbset", m->lbset);
    close_row(page);
}

static void put_balancers(page_t *page, const sc_view_t *view)
{
    sc_members_info_t b;

    open_list(page, "balancers");
    for (int i = 0; sc_balancer_info(i, view, &b); i++) {
        open_row(page);
        put_text(page, "name", b.name);
        put_number(page, "places", (apr_uint64_t)b.places);
        put_number(page, "members", (apr_uint64_t)b.members);
        put_number(page, "resting", (apr_uint64_t)b.resting);
        put_number(page, "waiting", (apr_uint64_t)b.waiting);
        put_number(page, "added", b.added);
        put_number(page, "removed", b.removed);
        close_row(page);
    }
    close_list(page);
}

static void put_view(page_t *page, const sc_board_t *b, apr_time_t now)
{
    sc_view_t *view = apr_pcalloc(page->r->pool, sizeof(*view));

    if (sc_board_view(b, view) != APR_SUCCESS) {
        view->count = 0; /* it changes all the time: next call */
    }
    open_object(page, "view");
    put_number(page, "generation", view->changes);
    put_text(page, "coordinator", bounded(page->r, view->coordinator, sizeof(view->coordinator)));
    open_list(page, "members");
    for (apr_uint32_t i = 0; i < view->count && i < SC_MEMBERS_MAX; i++) {
        put_member(page, &view->member[i], now);
    }
    close_list(page);
    close_object(page);
    put_balancers(page, view);
}

static void put_store(page_t *page, const sc_store_t *store)
{
    sc_store_stats_t s;
    apr_uint64_t permille;
    const char *percent;

    sc_store_stats(store, &s);
    permille = s.cells && s.cells_free <= s.cells
                   ? (apr_uint64_t)(s.cells - s.cells_free) * 1000 / s.cells
                   : 0;
    percent =
        apr_psprintf(page->r->pool, "%u.%u", (unsigned)(permille / 10), (unsigned)(permille % 10));
    open_object(page, "store");
    put_number(page, "bytes", s.bytes);
    put_number(page, "cells", s.cells);
    put_number(page, "cells_free", s.cells_free);
    put(page, "used_percent", percent, percent);
    put_number(page, "sessions", s.sessions);
    put_number(page, "proxies", s.proxies);
    put_number(page, "tombstones", s.tombstones);
    put_number(page, "lsn", s.lsn);
    close_object(page);
}

static void put_contexts(page_t *page, const sc_store_t *store)
{
    sc_context_stats_t c;

    open_list(page, "contexts");
    for (apr_uint16_t i = 0; sc_store_context_stats(store, i, &c) == APR_SUCCESS; i++) {
        open_row(page);
        put_text(page, "name", bounded(page->r, c.name, sizeof(c.name)));
        put_number(page, "sessions", c.sessions);
        put_number(page, "primaries", c.primaries);
        put_number(page, "replicas", c.sessions > c.primaries ? c.sessions - c.primaries : 0);
        put_number(page, "backups", c.backups);
        put_number(page, "proxies", c.proxies);
        put_number(page, "tombstones", c.tombstones);
        put_number(page, "bytes", c.body_bytes);
        close_row(page);
    }
    close_list(page);
}

static void put_tallies(page_t *page)
{
    sc_tallies_t tallies;

    (void)sc_balancer_tallies(&tallies);
#define PUT_TALLY(name) put_number(page, #name, tallies.name);
    SC_TALLIES(PUT_TALLY)
#undef PUT_TALLY
}

static void put_central(page_t *page)
{
    sc_central_counters_t counters;

    sc_central_counters(&counters);
#define PUT_COUNTER(name) put_number(page, #name, counters.name);
    SC_CENTRAL_COUNTERS(PUT_COUNTER)
#undef PUT_COUNTER
}

static void put_activity(page_t *page, const sc_board_t *b)
{
    apr_uint32_t total = sc_board_get(b->transfer_total);

    open_object(page, "transfer");
    put_flag(page, "running", total != 0);
    put_number(page, "done", sc_board_get(b->transfer_done));
    put_number(page, "total", total);
    close_object(page);

    open_object(page, "counters");
#define PUT_COUNTER(name) put_number(page, #name, sc_board_get(b->count.name));
    SC_COUNTERS(PUT_COUNTER)
#undef PUT_COUNTER
    put_tallies(page);
    put_central(page);
    close_object(page);
}

/* ---- the handler ------------------------------------------------------------------------------
 */

static int wants_json(const char *args)
{
    static const char word[] = "json";

    while (args && *args) {
        apr_size_t len = strcspn(args, "&;=");
        if (len == sizeof(word) - 1 && memcmp(args, word, len) == 0) {
            return 1;
        }
        args += strcspn(args, "&;");
        args += *args ? 1 : 0;
    }
    return 0;
}

static const char html_head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Session cluster</title>\n"
    "<style>body{font:14px/1.4 sans-serif;margin:2em}h1{font-size:20px}h2{font-size:16px;"
    "margin:1.5em 0 .3em}table{border-collapse:collapse}th,td{border:1px solid #bbb;"
    "padding:.15em .6em;text-align:left}th{background:#eee;font-weight:normal}</style>\n"
    "</head><body>\n<h1>Session cluster</h1>\n";

static int no_engine(page_t *page)
{
    static const char why[] =
        "no engine: this httpd has no SessionCluster directive that needs one";

    page->r->status = HTTP_SERVICE_UNAVAILABLE;
    if (page->r->header_only) {
        return OK;
    }
    if (page->html) {
        ap_rvputs(page->r, html_head, "<p>", why, "</p>\n</body></html>\n", NULL);
    } else {
        ap_rvputs(page->r, "{\n  \"error\": ", json_string(page->r->pool, why), "\n}\n", NULL);
    }
    return OK;
}

/* A balancer that is no member of a cluster has nothing but these. */
static int counters_only(page_t *page)
{
    if (page->r->header_only) {
        return OK;
    }
    if (page->html) {
        ap_rputs(html_head, page->r);
    } else {
        json_open(page, NULL, "{");
    }
    open_object(page, "counters");
    put_tallies(page);
    close_object(page);
    if (page->html) {
        ap_rputs("</body></html>\n", page->r);
    } else {
        json_close(page, "}");
        ap_rputs("\n", page->r);
    }
    return OK;
}

int sc_status_handler(request_rec *r)
{
    sc_tallies_t unused;
    const sc_httpd_t *self = sc_httpd();
    page_t page = {0};
    apr_time_t now;

    if (!r->handler || strcmp(r->handler, HANDLER) != 0) {
        return DECLINED;
    }
    if (r->method_number != M_GET) { /* HEAD is a GET, too */
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    page.r = r;
    page.html = !wants_json(r->args);
    ap_set_content_type(r, page.html ? "text/html; charset=utf-8" : "application/json");
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    if (!self->store || !self->board) {
        return sc_balancer_tallies(&unused) ? counters_only(&page) : no_engine(&page);
    }
    if (r->header_only) {
        return OK;
    }
    now = sc_mono(&sc_clock_system);
    if (page.html) {
        ap_rputs(html_head, r);
    } else {
        json_open(&page, NULL, "{");
    }
    put_node(&page, self->board, self->conf, now);
    put_view(&page, self->board, now);
    put_store(&page, self->store);
    put_contexts(&page, self->store);
    put_activity(&page, self->board);
    if (page.html) {
        ap_rputs("</body></html>\n", r);
    } else {
        json_close(&page, "}");
        ap_rputs("\n", r);
    }
    return OK;
}
