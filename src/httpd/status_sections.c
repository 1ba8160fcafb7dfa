/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The page's sections about sessions, what goes on, what went wrong, and what happened lately.
 */

#include "status_html.h"

/** More are there for those who want to see them. */
#define EVENTS_SHOWN 12

/* ---- session spaces -------------------------------------------------------------------------- */

void sc_html_contexts(const sc_status_t *s)
{
    static const char *const heads[] = {"Session space",   "Sessions here",     "Primary", "Copies",
                                        "Known elsewhere", "Ended, remembered", "Data"};
    apr_pool_t *p = s->r->pool;
    sc_table_t t;

    ap_rputs("<section><h2>Sessions</h2>\n", s->r);
    if (!s->contexts->nelts) {
        ap_rputs("<p class=\"soft\">No session space is known yet.</p></section>\n", s->r);
        return;
    }
    sc_table_open(&t, s->r, "cards",
                  "Primary: this node is the first to serve them. Copies: others' sessions held "
                  "here.",
                  heads, 7, 0x7e);
    for (int i = 0; i < s->contexts->nelts; i++) {
        const sc_context_stats_t *c = &APR_ARRAY_IDX(s->contexts, i, sc_context_stats_t);

        sc_table_row(&t, sc_html_name(p, c->name));
        sc_table_cell(&t, sc_text_number(p, c->sessions));
        sc_table_cell(&t, sc_text_number(p, c->primaries));
        sc_table_cell(
            &t, sc_text_number(p, c->sessions > c->primaries ? c->sessions - c->primaries : 0));
        sc_table_cell(&t, sc_text_number(p, c->proxies));
        sc_table_cell(&t, sc_text_number(p, c->tombstones));
        sc_table_cell(&t, sc_text_bytes(p, c->body_bytes));
        sc_table_end_row(&t);
    }
    sc_table_close(&t);
    ap_rputs("</section>\n", s->r);
}

/* ---- what goes on ---------------------------------------------------------------------------- */

static void rate(sc_table_t *t, const sc_status_t *s, const char *what, apr_uint64_t lately,
                 apr_uint64_t all)
{
    apr_pool_t *p = s->r->pool;

    sc_table_row(t, what);
    sc_table_cell(t, sc_text_rate(p, lately, s->rates.span));
    sc_table_cell(t, sc_text_number(p, all));
    sc_table_end_row(t);
}

static void rate_bytes(sc_table_t *t, const sc_status_t *s, const char *what, apr_uint64_t lately,
                       apr_uint64_t all)
{
    apr_pool_t *p = s->r->pool;
    apr_uint64_t span = s->rates.span;

    sc_table_row(t, what);
    sc_table_cell(t, sc_text_bytes(p, span ? lately * APR_USEC_PER_SEC / span : 0));
    sc_table_cell(t, sc_text_bytes(p, all));
    sc_table_end_row(t);
}

static void put_rates(const sc_status_t *s)
{
    static const char *const heads[] = {"What", "A second", "Since the start"};
    const sc_counters_t *c = &s->count;
    const sc_rates_t *l = &s->rates;
    sc_table_t t;

    ap_rputs("<section><h2>Replication</h2>\n", s->r);
    sc_table_open(&t, s->r, "plain",
                  apr_psprintf(s->r->pool, "A second: on average over the last %d s.",
                               (int)(l->span / APR_USEC_PER_SEC)),
                  heads, 3, 0x6);
    rate(&t, s, "Sessions created here", l->created, c->created);
    rate(&t, s, "Changes made here", l->changed, c->changed);
    rate(&t, s, "Accesses noted", l->touches, c->touches);
    rate(&t, s, "Changes sent, one for each member", l->replicated, c->replicated);
    rate(&t, s, "Messages of members applied", l->applied, c->applied);
    rate_bytes(&t, s, "Bytes received", l->bytes_in, c->bytes_in);
    rate_bytes(&t, s, "Bytes sent", l->bytes_out, c->bytes_out);
    sc_table_close(&t);
    ap_rputs("</section>\n", s->r);
}

static void trouble(sc_table_t *t, const sc_status_t *s, const char *what, apr_uint64_t n)
{
    apr_pool_t *p = s->r->pool;

    sc_table_row(t, what);
    sc_table_cell(
        t, n ? apr_pstrcat(p, "<strong class=\"warn\">", sc_text_number(p, n), "</strong>", NULL)
             : "none");
    sc_table_end_row(t);
}

static void put_troubles(const sc_status_t *s)
{
    static const char *const heads[] = {"What", "Since the start"};
    const sc_counters_t *c = &s->count;
    sc_table_t t;

    ap_rputs("<section><h2>Degraded and refused</h2>\n", s->r);
    sc_table_open(&t, s->r, "plain", "All counters, with their names, are below.", heads, 2, 0x2);
    trouble(&t, s, "Served without all acknowledgements", c->degraded);
    trouble(&t, s, "Changes that reached a member too late or never", c->failed);
    trouble(&t, s, "New sessions refused, store full", c->refused_full);
    trouble(&t, s, "Saves refused, session too large", c->refused_size);
    trouble(&t, s, "Requests refused, no quorum", c->refused_quorum);
    trouble(&t, s, "Gaps in what members sent", c->gaps);
    trouble(&t, s, "Lapses of the lease", c->lapses);
    trouble(&t, s, "Strangers at the receiver", c->strangers);
    sc_table_close(&t);
    ap_rputs("</section>\n", s->r);
}

/* On balancers: why requests went where they went. */
static void put_choices(const sc_status_t *s)
{
    static const char *const heads[] = {"The node was chosen", "Requests"};
    const sc_tallies_t *n = &s->tallies;
    const struct {
        const char *why;
        apr_uint64_t n;
    } all[] = {
        {"The cookie names it", n->choices_route},
        {"It has become the primary", n->choices_primary},
        {"It holds a backup", n->choices_backup},
        {"A ranked id names it", n->choices_ranked},
        {"The cookie names it as backup", n->choices_hint},
        {"By the placement function", n->choices_placement},
        {"No session, or nobody else", n->choices_inner},
        {"The session has ended", n->choices_gone},
        {"None, nodes failed one by one", n->choices_refused},
    };
    sc_table_t t;

    ap_rputs("<section class=\"narrow\"><h2>Requests balanced</h2>\n", s->r);
    sc_table_open(&t, s->r, "plain", "Since httpd was started, all its balancers together.", heads,
                  2, 0x2);
    for (apr_size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sc_table_row(&t, all[i].why);
        sc_table_cell(&t, sc_text_number(s->r->pool, all[i].n));
        sc_table_end_row(&t);
    }
    sc_table_close(&t);
    ap_rputs("</section>\n", s->r);
}

static void put_balancers(const sc_status_t *s)
{
    static const char *const heads[] = {"Balancer", "Members", "Places",
                                        "Waiting",  "Resting", "Added, removed"};
    apr_pool_t *p = s->r->pool;
    sc_members_info_t b;
    sc_table_t t;

    for (int i = 0; sc_balancer_info(i, s->view, &b); i++) {
        if (i == 0) {
            ap_rputs("<section><h2>Balancers that take members</h2>\n", s->r);
            sc_table_open(&t, s->r, "cards", "Waiting: members that found no place.", heads, 6,
                          0x3e);
        }
        sc_table_row(&t, sc_html_name(p, b.name));
        sc_table_cell(&t, sc_text_number(p, (apr_uint64_t)b.members));
        sc_table_cell(&t, sc_text_number(p, (apr_uint64_t)b.places));
        sc_table_cell(&t, sc_text_number(p, (apr_uint64_t)b.waiting));
        sc_table_cell(&t, sc_text_number(p, (apr_uint64_t)b.resting));
        sc_table_cell(&t, apr_pstrcat(p, sc_text_number(p, b.added), ", ",
                                      sc_text_number(p, b.removed), NULL));
        sc_table_end_row(&t);
    }
    if (sc_balancer_info(0, s->view, &b)) {
        sc_table_close(&t);
        ap_rputs("</section>\n", s->r);
    }
}

void sc_html_activity(const sc_status_t *s)
{
    put_balancers(s);
    if (s->has_tallies) {
        put_choices(s);
    }
    ap_rvputs(s->r, "<div class=\"", s->has_central ? "narrow" : "two", "\">\n", NULL);
    if (!s->has_central) {
        put_rates(s);
    }
    put_troubles(s);
    ap_rputs("</div>\n", s->r);
}

/* ---- what happened lately -------------------------------------------------------------------- */

/* A sentence without its subject, a member or this node. */
static const char *what_happened(apr_pool_t *p, const sc_notice_t *n)
{
    switch (n->kind) {
    case SC_NOTICE_engine_started:
        return n->number ? apr_pstrcat(p, "the engine started, with ", sc_text_number(p, n->number),
                                       " sessions in the store", NULL)
                         : "the engine started";
    case SC_NOTICE_joined:
        return "joined";
    case SC_NOTICE_left:
        return "left, and said good-bye";
    case SC_NOTICE_gone:
        return "is gone, without a word";
    case SC_NOTICE_suspected:
        return "is silent and being asked";
    case SC_NOTICE_recovered:
        return "has answered again";
    case SC_NOTICE_joining:
        return "takes over sessions";
    case SC_NOTICE_ready:
        return "is ready";
    case SC_NOTICE_leaving:
        return "is about to leave";
    case SC_NOTICE_minority:
        return "refuses sessions, too few members";
    case SC_NOTICE_draining:
        return "drains";
    case SC_NOTICE_lagging:
        return "does not acknowledge in time";
    case SC_NOTICE_caught_up:
        return "acknowledges again";
    case SC_NOTICE_lease_lost:
        return "lost its lease, asks others first";
    case SC_NOTICE_lease_back:
        return "has its lease, answers by itself";
    case SC_NOTICE_quorum_lost:
        return apr_pstrcat(p, "lost the quorum, ", sc_text_number(p, n->number), " nodes are here",
                           NULL);
    case SC_NOTICE_quorum_met:
        return apr_pstrcat(p, "has a quorum, ", sc_text_number(p, n->number), " nodes are here",
                           NULL);
    case SC_NOTICE_transfer_began:
        return "is asked for its sessions";
    case SC_NOTICE_transfer_finished:
        return apr_pstrcat(p, "has given ", sc_text_number(p, n->number),
                           n->number == 1 ? " session" : " sessions", NULL);
    case SC_NOTICE_transfer_failed:
        return "could not give its sessions";
    default:
        return "unknown";
    }
}

static const char *class_of(apr_uint32_t kind)
{
    switch (kind) {
    case SC_NOTICE_joined:
    case SC_NOTICE_recovered:
    case SC_NOTICE_ready:
    case SC_NOTICE_caught_up:
    case SC_NOTICE_lease_back:
    case SC_NOTICE_quorum_met:
    case SC_NOTICE_transfer_finished:
        return "good";
    case SC_NOTICE_gone:
    case SC_NOTICE_quorum_lost:
    case SC_NOTICE_minority:
    case SC_NOTICE_transfer_failed:
        return "bad";
    case SC_NOTICE_suspected:
    case SC_NOTICE_lagging:
    case SC_NOTICE_lease_lost:
    case SC_NOTICE_leaving:
    case SC_NOTICE_draining:
        return "warn";
    default:
        return "mute";
    }
}

static const char *when(const sc_status_t *s, apr_time_t t)
{
    apr_pool_t *p = s->r->pool;
    apr_time_exp_t e;

    apr_time_exp_gmt(&e, t);
    return apr_psprintf(p,
                        "%s ago<small><time datetime=\"%04d-%02d-%02dT%02d:%02d:%02dZ\">%02d:%02d:"
                        "%02d UTC</time></small>",
                        sc_text_duration(p, s->wall - t), e.tm_year + 1900, e.tm_mon + 1, e.tm_mday,
                        e.tm_hour, e.tm_min, e.tm_sec, e.tm_hour, e.tm_min, e.tm_sec);
}

static void put_events(const sc_status_t *s, int from, int to, const char *caption)
{
    static const char *const heads[] = {"When", "Who", "What happened", "Times"};
    apr_pool_t *p = s->r->pool;
    sc_table_t t;

    sc_table_open(&t, s->r, "plain", caption, heads, 4, 0x8);
    for (int i = from; i < to; i++) {
        const sc_notice_t *n = &s->notice[i];

        sc_table_row(&t, when(s, n->last));
        sc_table_cell(&t, n->who[0] ? sc_html_name(p, n->who) : "this node");
        sc_table_cell(&t, sc_html_state(p, class_of(n->kind), what_happened(p, n)));
        sc_table_cell(&t, n->times > 1 ? sc_text_number(p, n->times) : "");
        sc_table_end_row(&t);
    }
    sc_table_close(&t);
}

void sc_html_events(const sc_status_t *s)
{
    int first = s->nnotices < EVENTS_SHOWN ? s->nnotices : EVENTS_SHOWN;

    ap_rputs("<section><h2>Recent events</h2>\n", s->r);
    put_events(s, 0, first, "Newest first. Times: what repeats itself is counted.");
    if (first < s->nnotices) {
        ap_rprintf(s->r, "<details><summary>%d older ones</summary>\n", s->nnotices - first);
        put_events(s, first, s->nnotices, "Newest first.");
        ap_rputs("</details>\n", s->r);
    }
    ap_rputs("</section>\n", s->r);
}

/* ---- all counters ---------------------------------------------------------------------------- */

static void counter(sc_table_t *t, apr_pool_t *p, const char *name, apr_uint64_t value)
{
    sc_table_row(t, apr_pstrcat(p, "<code>", name, "</code>", NULL));
    sc_table_cell(t, sc_text_number(p, value));
    sc_table_end_row(t);
}

void sc_html_counters(const sc_status_t *s)
{
    static const char *const heads[] = {"Counter", "Since the start"};
    apr_pool_t *p = s->r->pool;
    sc_table_t t;

    if (!s->store && !s->has_tallies) {
        return;
    }
    ap_rvputs(s->r, "<section class=\"narrow\"><h2>All counters</h2>\n<details",
              s->store ? "" : " open", "><summary>Show them</summary>\n", NULL);
    sc_table_open(&t, s->r, "plain", "What they count is in the module's README.", heads, 2, 0x2);
#define ROW(name) counter(&t, p, #name, s->count.name);
    if (s->store) {
        SC_COUNTERS(ROW)
    }
#undef ROW
#define ROW(name) counter(&t, p, #name, s->tallies.name);
    SC_TALLIES(ROW)
#undef ROW
#define ROW(name) counter(&t, p, #name, s->central.name);
    if (s->has_central) {
        SC_CENTRAL_COUNTERS(ROW)
    }
#undef ROW
    counter(&t, p, "status_actions", s->posts.status_actions);
    counter(&t, p, "status_refused", s->posts.status_refused);
    sc_table_close(&t);
    ap_rputs("</details></section>\n", s->r);
}
