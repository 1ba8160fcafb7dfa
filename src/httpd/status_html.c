/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The status as a page for people.
 *
 * Everything that is not a literal passes ap_escape_html or is a number; names stand in <bdi>, so
 * that one in another direction of writing does not turn its neighbours round. There is no script.
 * The style sheet is the only thing that the page's Content-Security-Policy lets in, by a nonce
 * that is new for each answer.
 */

#include "status_html.h"

/* ---- small things ---------------------------------------------------------------------------- */

const char *sc_html_name(apr_pool_t *p, const char *name)
{
    return apr_pstrcat(p, "<bdi>", ap_escape_html(p, name), "</bdi>", NULL);
}

void sc_table_open(sc_table_t *t, request_rec *r, const char *kind, const char *caption,
                   const char *const *heads, int n, apr_uint32_t numbers)
{
    t->r = r;
    t->head = heads;
    t->numbers = numbers;
    ap_rvputs(r, "<table class=\"", kind, "\" role=\"table\"><caption>", caption,
              "</caption>\n<thead role=\"rowgroup\"><tr role=\"row\">", NULL);
    for (int i = 0; i < n; i++) {
        ap_rvputs(r, "<th scope=\"col\" role=\"columnheader\"",
                  numbers >> i & 1 ? " class=\"n\">" : ">", heads[i], "</th>", NULL);
    }
    ap_rputs("</tr></thead>\n<tbody role=\"rowgroup\">\n", r);
}

void sc_table_row(sc_table_t *t, const char *html)
{
    t->at = 0;
    ap_rvputs(t->r, "<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">", html, "</th>", NULL);
}

void sc_table_cell(sc_table_t *t, const char *html)
{
    int number = t->numbers >> ++t->at & 1;
    const char *class = !*html   ? number ? " class=\"n empty\"" : " class=\"empty\""
                        : number ? " class=\"n\""
                                 : "";

    ap_rvputs(t->r, "<td role=\"cell\"", class, " data-label=\"", t->head[t->at], "\">",
              number || !*html ? "" : "<span>", html, number || !*html ? "" : "</span>", "</td>",
              NULL);
}

void sc_table_end_row(sc_table_t *t)
{
    ap_rputs("</tr>\n", t->r);
}

void sc_table_close(sc_table_t *t)
{
    ap_rputs("</tbody></table>\n", t->r);
}

static const char *class_of(apr_uint32_t node_state)
{
    switch (node_state) {
    case SC_NODE_READY:
        return "good";
    case SC_NODE_JOINING:
    case SC_NODE_STARTING:
    case SC_NODE_LEAVING:
    case SC_NODE_DRAINING:
        return "warn";
    default:
        return "bad";
    }
}

const char *sc_html_state(apr_pool_t *p, const char *class, const char *word)
{
    return apr_pstrcat(p, "<span class=\"state ", class, "\">", word, "</span>", NULL);
}

/* ---- head ------------------------------------------------------------------------------------ */

static void headers(request_rec *r, const char *nonce)
{
    ap_set_content_type(r, "text/html; charset=utf-8");
    apr_table_setn(r->headers_out, "Content-Security-Policy",
                   apr_psprintf(r->pool,
                                "default-src 'none'; style-src 'nonce-%s'; img-src data:; "
                                "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                                nonce));
    apr_table_setn(r->headers_out, "X-Frame-Options", "DENY");
    /* the page's own forms are told apart from others' by what the browser says of their origin */
    apr_table_setn(r->headers_out, "Referrer-Policy", "same-origin");
}

static const char *style_nonce(request_rec *r)
{
    unsigned char random[16];
    char *out = apr_palloc(r->pool, 2 * sizeof(random) + 1);

    if (sc_random(random, sizeof(random)) != APR_SUCCESS) {
        memset(random, 0, sizeof(random));
    }
    for (apr_size_t i = 0; i < sizeof(random); i++) {
        (void)apr_snprintf(out + 2 * i, 3, "%02x", random[i]);
    }
    return out;
}

static void put_head(const sc_status_t *s, const char *nonce)
{
    request_rec *r = s->r;
    const char *name = s->route[0] ? s->route : ap_get_server_name_for_url(r);

    ap_rputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
             r);
    if (s->refresh) {
        ap_rprintf(r, "<meta http-equiv=\"refresh\" content=\"%ld\">\n", s->refresh);
    }
    ap_rvputs(r, "<title>", ap_escape_html(r->pool, name), s->store ? " is " : "",
              s->store ? sc_node_state_name(s->state) : "",
              " - session cluster</title>\n<link rel=\"icon\" href=\"data:,\">\n<style nonce=\"",
              nonce, "\">\n", sc_status_style, "</style></head>\n<body>\n", NULL);
}

static void put_links(const sc_status_t *s)
{
    static const long steps[] = {5, 30};
    request_rec *r = s->r;

    ap_rputs("<nav aria-label=\"This page\"><ul>\n", r);
    for (int i = 0; i < 2; i++) {
        if (s->refresh != steps[i]) {
            ap_rprintf(r, "<li><a href=\"?refresh=%ld\">Refresh every %ld s</a></li>\n", steps[i],
                       steps[i]);
        }
    }
    ap_rvputs(r, "<li><a href=\"?\">", s->refresh ? "Stop refreshing" : "Refresh now",
              "</a></li>\n<li><a href=\"?json\">JSON</a></li>\n"
              "<li><a href=\"?prometheus\">Prometheus</a></li>\n</ul></nav>\n",
              NULL);
}

static void put_title(const sc_status_t *s)
{
    request_rec *r = s->r;
    apr_pool_t *p = r->pool;
    const char *name = s->route[0] ? s->route : ap_get_server_name_for_url(r);

    ap_rvputs(r, "<header><div class=\"top\"><div><p class=\"kicker\">Session cluster, ",
              sc_text_role(s->role), "</p>\n<h1>", sc_html_name(p, name), " ",
              s->store ? sc_html_state(p, class_of(s->state), sc_node_state_name(s->state)) : "",
              "</h1></div>\n", NULL);
    put_links(s);
    ap_rputs("</div></header>\n<main>\n", r);
}

/* ---- what needs attention -------------------------------------------------------------------- */

void sc_html_note(const sc_status_t *s, const char *class, const char *text)
{
    ap_rvputs(s->r, "<li class=\"", class, "\"><span>", text, "</span></li>\n", NULL);
}

static void note_members(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;

    for (apr_uint32_t i = 0; i < s->view->count; i++) {
        const sc_board_member_t *m = &s->view->member[i];
        const char *name = sc_html_name(p, sc_text_member(p, m));

        if (m->state == SC_MEMBER_SUSPECT) {
            sc_html_note(s, "warn",
                         apr_pstrcat(p, "Member ", name, " is silent and being asked.", NULL));
        } else if (m->state == SC_MEMBER_GONE) {
            sc_html_note(s, "bad",
                         apr_pstrcat(p, "Member ", name, " is gone, since ",
                                     sc_text_duration(p, s->now - m->since), ".", NULL));
        } else if (m->lagging) {
            sc_html_note(s, "warn",
                         apr_pstrcat(p, "Member ", name,
                                     " does not acknowledge in time; nobody waits for it.", NULL));
        }
    }
}

static void note_transfer(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;
    apr_uint32_t total = sc_board_get(s->board->transfer_total);
    apr_uint32_t done = sc_board_get(s->board->transfer_done);

    if (total) {
        sc_html_note(s, "warn",
                     apr_psprintf(p,
                                  "Sessions are being taken over: %s of %s. <progress max=\"%u\" "
                                  "value=\"%u\" aria-label=\"State transfer\"></progress>",
                                  sc_text_number(p, done), sc_text_number(p, total), total,
                                  done < total ? done : total));
    }
}

static void put_notes(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;
    const sc_board_t *b = s->board;
    apr_time_t lease = sc_board_get(b->lease_until);
    apr_uint32_t short_copies = sc_board_get(b->short_copies);

    ap_rputs("<ul class=\"notes\" aria-label=\"What needs attention\">\n", s->r);
    if (s->state == SC_NODE_DOWN) {
        sc_html_note(s, "bad", "No engine runs: sessions can be read, but not changed.");
    }
    if (sc_board_get(b->quorum_lost)) {
        sc_html_note(s, "bad",
                     "Fewer nodes are here than SessionClusterQuorum asks for: sessions are not "
                     "served.");
    } else if (s->role == SC_ROLE_NODE && lease && lease <= s->now && s->state != SC_NODE_DOWN) {
        sc_html_note(s, "warn",
                     "Not every peer has confirmed lately that it hears this node: each session "
                     "is asked of the others before it is served.");
    }
    if (sc_board_get(b->draining) && strcmp(s->action.name, "drain") != 0) {
        sc_html_note(s, "warn",
                     "This node drains: balancers send it no new sessions, and its own move to "
                     "other nodes with their next requests.");
    }
    if (short_copies) {
        sc_html_note(s, "warn",
                     apr_pstrcat(p, sc_text_number(p, short_copies),
                                 " sessions have fewer backups than they should; they get "
                                 "them in the background.",
                                 NULL));
    }
    if (sc_status_used(&s->stats) >= 900) {
        sc_html_note(s, "bad",
                     "The store is nearly full: new sessions are refused soon, or already. Raise "
                     "SessionClusterMemory.");
    }
    sc_html_extra_notes(s);
    note_transfer(s);
    note_members(s);
    ap_rputs("</ul>\n", s->r);
}

/* ---- facts ----------------------------------------------------------------------------------- */

void sc_html_fact(const sc_status_t *s, const char *name, const char *value, const char *more)
{
    ap_rvputs(s->r, "<div><dt>", name, "</dt><dd>", value, "<small>", more, "</small></dd></div>\n",
              NULL);
}

static void put_facts(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;
    apr_uint64_t used = sc_status_used(&s->stats), primaries = 0;
    apr_uint64_t taken = s->stats.cell_bytes * (apr_uint64_t)(s->stats.cells - s->stats.cells_free);
    apr_time_t started = sc_board_get(s->board->engine_started);
    apr_uint32_t alive, all;

    for (int i = 0; i < s->contexts->nelts; i++) {
        primaries += APR_ARRAY_IDX(s->contexts, i, sc_context_stats_t).primaries;
    }
    sc_status_nodes(s, &alive, &all);
    ap_rputs("<dl class=\"facts\">\n", s->r);
    sc_html_fact(s, "Nodes alive", apr_psprintf(p, "%u of %u", alive, all),
                 s->conf && s->conf->engine.quorum
                     ? apr_psprintf(p, "%u are needed to serve", s->conf->engine.quorum)
                     : "no quorum asked for");
    sc_html_fact(s, "Sessions here", sc_text_number(p, s->stats.sessions),
                 s->has_central ? "they are in the central store"
                 : s->role == SC_ROLE_BALANCER
                     ? apr_pstrcat(p, sc_text_number(p, s->stats.proxies), " known elsewhere", NULL)
                     : apr_pstrcat(p, "primary for ", sc_text_number(p, primaries), NULL));
    sc_html_fact(s, "Memory", sc_text_bytes(p, taken),
                 apr_psprintf(p,
                              "of %s <meter min=\"0\" max=\"1000\" high=\"900\" value=\"%u\" "
                              "aria-label=\"Store used\">%u %%</meter>",
                              sc_text_bytes(p, s->stats.bytes), (unsigned)used,
                              (unsigned)(used / 10)));
    sc_html_fact(s, "Changes",
                 apr_pstrcat(p, sc_text_rate(p, s->rates.changed + s->rates.created, s->rates.span),
                             "/s", NULL),
                 apr_pstrcat(p,
                             sc_text_bytes(p, s->rates.span ? s->rates.bytes_out *
                                                                  APR_USEC_PER_SEC / s->rates.span
                                                            : 0),
                             "/s to members", NULL));
    sc_html_fact(s, "Refused", sc_text_number(p, sc_status_refused(&s->count)),
                 apr_pstrcat(p, sc_text_number(p, s->count.degraded), " degraded", NULL));
    sc_html_fact(s, "Engine up", sc_text_duration(p, started ? s->now - started : 0),
                 sc_board_get(s->board->engine_starts) > 1
                     ? apr_psprintf(p, "start number %u", sc_board_get(s->board->engine_starts))
                     : "first start");
    ap_rputs("</dl>\n", s->r);
}

/* ---- members --------------------------------------------------------------------------------- */

/* Who it is, and below that where it receives, unless that is its name, and its rack. */
static const char *member_name(apr_pool_t *p, const sc_board_member_t *m)
{
    const char *more =
        m->route[0] ? apr_psprintf(p, "%s:%u", ap_escape_html(p, m->host), m->port) : "";

    more = m->self ? apr_pstrcat(p, "this node", *more ? ", " : "", more, NULL) : more;
    if (m->domain[0]) {
        more = apr_pstrcat(p, more, *more ? ", " : "", sc_html_name(p, m->domain), NULL);
    }
    return apr_pstrcat(p, sc_html_name(p, sc_text_member(p, m)), "<small>", more, "</small>", NULL);
}

static const char *member_state(apr_pool_t *p, const sc_board_member_t *m)
{
    const char *says = m->role == SC_ROLE_NODE ? sc_node_state_name(m->node_state) : "";

    if (m->state == SC_MEMBER_GONE) {
        return sc_html_state(p, "bad", "gone");
    }
    if (m->state == SC_MEMBER_SUSPECT) {
        return sc_html_state(p, "warn", "suspect");
    }
    if (!*says || m->node_state == SC_NODE_READY) {
        return sc_html_state(p, "good", *says ? "alive, ready" : "alive");
    }
    return sc_html_state(p, class_of(m->node_state), apr_pstrcat(p, "alive, ", says, NULL));
}

static const char *member_notes(apr_pool_t *p, const sc_board_member_t *m)
{
    const char *out = "";

    if (m->url[0]) {
        out = apr_psprintf(p, "%s<small>weight %u, set %u</small>", sc_html_name(p, m->url),
                           m->weight, m->lbset);
    }
    if (m->flags & SC_MEMBER_NO_BACKUPS) {
        out = apr_pstrcat(p, out, *out ? "<br>" : "", "holds no backups", NULL);
    }
    if (m->lagging) {
        out = apr_pstrcat(p, out, *out ? "<br>" : "", "lagging", NULL);
    }
    return out;
}

static void put_members(const sc_status_t *s)
{
    static const char *const heads[] = {"Member", "State", "Role",  "State for",
                                        "Heard",  "Lag",   "Queue", "Notes"};
    apr_pool_t *p = s->r->pool;
    int notes = 0;
    sc_table_t t;

    ap_rputs("<section><h2 id=\"members\">Members</h2>\n", s->r);
    for (apr_uint32_t i = 0; i < s->view->count && !notes; i++) {
        notes = member_notes(p, &s->view->member[i])[0] != '\0';
    }
    sc_table_open(&t, s->r, "cards",
                  "Heard: since the last sign of life. Lag: how long what was sent has not been "
                  "acknowledged. Queue: what waits to be sent.",
                  heads, notes ? 8 : 7, 0x78);
    for (apr_uint32_t i = 0; i < s->view->count; i++) {
        const sc_board_member_t *m = &s->view->member[i];
        apr_time_t lag = sc_status_lag(s, m);
        int sent_to = !m->self && m->state != SC_MEMBER_GONE;

        sc_table_row(&t, member_name(p, m));
        sc_table_cell(&t, member_state(p, m));
        sc_table_cell(&t, sc_text_role(m->role));
        sc_table_cell(&t, sc_text_duration(p, s->now - (m->since ? m->since : s->now)));
        sc_table_cell(&t, m->self     ? ""
                          : !m->heard ? "never"
                                      : sc_text_duration(p, s->now - m->heard));
        sc_table_cell(&t, !sent_to ? "" : lag ? sc_text_duration(p, lag) : "none");
        sc_table_cell(&t, !sent_to    ? ""
                          : m->queued ? apr_psprintf(p, "%u, %s", m->queued,
                                                     sc_text_bytes(p, m->queued_bytes))
                                      : "empty");
        if (notes) {
            sc_table_cell(&t, member_notes(p, m));
        }
        sc_table_end_row(&t);
    }
    sc_table_close(&t);
    if (s->view->coordinator[0]) {
        ap_rvputs(s->r, "<p class=\"soft\">Coordinator: ", sc_html_name(p, s->view->coordinator),
                  "</p>\n", NULL);
    }
    ap_rputs("</section>\n", s->r);
}

/* ---- the page -------------------------------------------------------------------------------- */

static void put_footer(const sc_status_t *s)
{
    request_rec *r = s->r;
    char date[APR_RFC822_DATE_LEN];

    (void)apr_rfc822_date(date, s->wall);
    ap_rvputs(r, "</main>\n<footer>mod_session_cluster " SC_VERSION ", as of ", date, NULL);
    if (s->store) {
        ap_rprintf(r, "; engine %u", sc_board_get(s->board->engine_pid));
        ap_rvputs(r, s->receiver[0] ? ", receives at " : ", stand-alone",
                  ap_escape_html(r->pool, s->receiver),
                  s->conf && s->conf->engine.secret.count ? ", encrypted" : "", NULL);
    }
    ap_rputs("</footer>\n</body></html>\n", r);
}

void sc_status_html(sc_status_t *s)
{
    const char *nonce = style_nonce(s->r);

    headers(s->r, nonce);
    if (s->r->header_only) {
        return;
    }
    put_head(s, nonce);
    put_title(s);
    sc_html_result(s);
    if (s->store) {
        put_notes(s);
        put_facts(s);
        put_members(s);
        if (s->has_central) {
            sc_html_central(s);
        } else {
            sc_html_contexts(s);
        }
        if (s->deploys) {
            sc_html_deployer(s);
        }
        sc_html_activity(s);
        sc_html_events(s);
        sc_html_forms(s);
    } else if (!s->has_tallies) {
        ap_rvputs(s->r, "<p class=\"message bad\"><span>", sc_status_no_engine, "</span></p>\n",
                  NULL);
    }
    sc_html_counters(s);
    put_footer(s);
}
