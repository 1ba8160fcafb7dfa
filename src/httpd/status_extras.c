/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The page's sections about the central store and the deployer, which most servers have not.
 *
 * Names of files and of members come from others, provider and directories from the configuration;
 * all of them are escaped.
 */

#include "status_html.h"

/* ---- tables of two columns ------------------------------------------------------------------- */

static void row(sc_table_t *t, const char *what, const char *html)
{
    sc_table_row(t, what);
    sc_table_cell(t, html);
    sc_table_end_row(t);
}

static void row_number(sc_table_t *t, const char *what, apr_uint64_t n)
{
    row(t, what, sc_text_number(t->r->pool, n));
}

/* What is nothing to worry about only while it is none. */
static void row_trouble(sc_table_t *t, const char *what, apr_uint64_t n)
{
    apr_pool_t *p = t->r->pool;

    row(t, what,
        n ? apr_pstrcat(p, "<strong class=\"warn\">", sc_text_number(p, n), "</strong>", NULL)
          : "none");
}

static const char *percent(apr_pool_t *p, apr_uint64_t part, apr_uint64_t all, const char *of)
{
    return all ? apr_psprintf(p, "%u %% %s", (unsigned)(100.0 * (double)part / (double)all + .5),
                              of)
               : "";
}

/* ---- the central store ----------------------------------------------------------------------- */

static const char *store_state(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;

    if (s->shared.silent_since) {
        return sc_html_state(p, "bad", "does not answer");
    }
    return s->shared.takes || s->shared.local ? sc_html_state(p, "good", "answers")
                                              : sc_html_state(p, "mute", "not asked yet");
}

static void put_store_facts(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;
    const sc_central_counters_t *c = &s->central;
    const sc_central_info_t *i = &s->shared;

    ap_rputs("<dl class=\"facts\">\n", s->r);
    sc_html_fact(s, "Store", store_state(s),
                 i->silent_since
                     ? apr_pstrcat(p, "for ", sc_text_duration(p, s->now - i->silent_since), NULL)
                 : i->local ? "in this machine"
                            : apr_psprintf(p, "waited for %u ms at most", i->timeout_ms));
    sc_html_fact(s, "Answers in",
                 !i->takes         ? "not known"
                 : i->takes < 1000 ? apr_psprintf(p, "%d &micro;s", (int)i->takes)
                                   : apr_psprintf(p, "%.1f ms", (double)i->takes / 1000),
                 "on average, its last answers");
    sc_html_fact(s, "Sessions read", sc_text_number(p, c->central_reads),
                 percent(p, c->central_hits, c->central_reads, "were found"));
    sc_html_fact(s, "Values written", sc_text_number(p, c->central_writes),
                 percent(p, c->central_touches, c->central_writes, "of them only accesses"));
    ap_rputs("</dl>\n", s->r);
}

static void put_store_counts(const sc_status_t *s)
{
    static const char *const heads[] = {"What", "Since the start"};
    const sc_central_counters_t *c = &s->central;
    sc_table_t t;

    ap_rputs("<div class=\"two gap\">\n<div>", s->r);
    sc_table_open(&t, s->r, "plain", "Sessions that this node has asked for and changed.", heads, 2,
                  0x2);
    row_number(&t, "Sessions found", c->central_hits);
    row_number(&t, "Sessions that were not there, or had ended", c->central_absent);
    row_number(&t, "Accesses written", c->central_touches);
    row_number(&t,
               apr_psprintf(s->r->pool, "Accesses not written, within %u s of another one",
                            s->shared.touch_s),
               c->central_coalesced);
    row_number(&t, "Conflicts: changes brought in again", c->central_merges);
    sc_table_close(&t);
    ap_rputs("</div>\n<div>", s->r);
    sc_table_open(&t, s->r, "plain", "What went wrong.", heads, 2, 0x2);
    row_trouble(&t,
                s->shared.empty ? "Requests that went on without their session"
                                : "Requests refused with 503",
                c->central_unreachable);
    row_trouble(&t, "Times that it stopped answering", c->central_outages);
    row_trouble(&t, "Times that it had lost everything", c->central_lost);
    row_trouble(&t, "Values that were no sessions", c->central_refused);
    row_trouble(&t, "Writes of accesses, second looks given up", c->central_dropped);
    sc_table_close(&t);
    ap_rputs("</div>\n</div>\n", s->r);
}

void sc_html_central(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;
    const sc_config_t *e = &s->conf->engine;
    apr_uint32_t i;

    ap_rvputs(s->r, "<section><h2 id=\"store\">Central store</h2>\n<p class=\"soft\"><code>",
              sc_html_name(p, s->shared.provider), "</code>, keys begin with <code>",
              sc_html_name(p, s->shared.prefix), "</code>. Session spaces: ", NULL);
    for (i = 0; i < e->ncontexts; i++) {
        ap_rvputs(s->r, i ? ", " : "", sc_html_name(p, e->context[i]), NULL);
    }
    ap_rputs(i ? ".</p>\n" : "none yet.</p>\n", s->r);
    put_store_facts(s);
    put_store_counts(s);
    ap_rputs("</section>\n", s->r);
}

/* ---- the deployer ---------------------------------------------------------------------------- */

static const char *command_state(apr_pool_t *p, const sc_status_t *s)
{
    apr_uint32_t how = sc_board_get(s->board->deploy.command);

    return sc_html_state(p,
                         how == SC_COMMAND_DONE                             ? "good"
                         : how == SC_COMMAND_NONE || how == SC_COMMAND_RUNS ? "mute"
                                                                            : "bad",
                         sc_text_command(p, how, sc_board_get(s->board->deploy.command_code)));
}

static const char *ago(const sc_status_t *s, apr_time_t t)
{
    return t ? apr_pstrcat(s->r->pool, sc_text_duration(s->r->pool, s->now - t), " ago", NULL) : "";
}

static void put_farm_facts(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;
    const sc_board_t *b = s->board;
    const sc_config_deployer_t *c = &s->conf->engine.deployer;
    apr_uint64_t version = sc_board_get(b->deploy.version);
    apr_uint32_t waiting = sc_board_get(b->deploy.waiting);
    apr_time_t batch = sc_board_get(b->deploy.batch_at);
    int runs = sc_board_get(b->deploy.on) != 0;

    ap_rputs("<dl class=\"facts\">\n", s->r);
    sc_html_fact(s, "Deployer",
                 !runs ? sc_html_state(p, "bad", "does not run")
                 : c->watch && sc_board_get(b->deploy.blind)
                     ? sc_html_state(p, "warn", "cannot look")
                 : c->watch ? sc_html_state(p, "good", "watches")
                            : sc_html_state(p, "good", "receives"),
                 c->watch ? "and receives from others" : "watches no directory");
    sc_html_fact(s, "Files", sc_text_number(p, sc_board_get(b->deploy.files)),
                 sc_text_bytes(p, sc_board_get(b->deploy.bytes)));
    sc_html_fact(s, "Still to come",
                 waiting ? sc_html_state(p, "warn", sc_text_number(p, waiting)) : "none",
                 batch ? apr_pstrcat(p, "last batch ", ago(s, batch), NULL) : "no batch yet");
    sc_html_fact(s, "Version",
                 version ? apr_psprintf(p, "<code>%08x</code>", (unsigned)(version >> 32))
                         : "not known",
                 "same files, same version");
    if (c->command[0]) {
        sc_html_fact(s, "Last command", command_state(p, s),
                     ago(s, sc_board_get(b->deploy.command_at)));
    }
    ap_rputs("</dl>\n", s->r);
}

static void put_way(sc_table_t *t, const sc_board_way_t *w, const char *direction)
{
    apr_pool_t *p = t->r->pool;
    apr_uint64_t done = w->done < w->size ? w->done : w->size;

    if (!w->file[0]) {
        return;
    }
    sc_table_row(t, sc_html_name(p, w->file));
    sc_table_cell(
        t, apr_pstrcat(p, direction, w->who[0] ? sc_html_name(p, w->who) : "a member", NULL));
    sc_table_cell(
        t, apr_psprintf(p,
                        "<span class=\"way\">%s of %s<progress max=\"1000\" value=\"%u\" "
                        "aria-label=\"On its way\"></progress></span>",
                        sc_text_bytes(p, done), sc_text_bytes(p, w->size),
                        w->size ? (unsigned)(1000.0 * (double)done / (double)w->size) : 1000));
    sc_table_end_row(t);
}

static void put_ways(const sc_status_t *s)
{
    static const char *const heads[] = {"File", "Between", "Done"};
    sc_table_t t;

    if (!s->in.file[0] && !s->out.file[0]) {
        return;
    }
    sc_table_open(&t, s->r, "cards", "On its way at this moment.", heads, 3, 0);
    put_way(&t, &s->in, "from ");
    put_way(&t, &s->out, "to ");
    sc_table_close(&t);
}

static void put_farm_counts(const sc_status_t *s)
{
    static const char *const heads[] = {"What", "Since the start"};
    const sc_counters_t *c = &s->count;
    apr_pool_t *p = s->r->pool;
    sc_table_t t;

    ap_rputs("<div class=\"two gap\">\n<div>", s->r);
    sc_table_open(&t, s->r, "plain", "What it has done.", heads, 2, 0x2);
    row_number(&t, "Files placed", c->deploy_placed);
    row_number(&t, "Files removed", c->deploy_removed);
    row(&t, "Received", sc_text_bytes(p, c->deploy_bytes_in));
    row(&t, "Sent", sc_text_bytes(p, c->deploy_bytes_out));
    row_number(&t, "Batches", c->deploy_batches);
    row_number(&t, "Commands run after them", c->deploy_commands);
    sc_table_close(&t);
    ap_rputs("</div>\n<div>", s->r);
    sc_table_open(&t, s->r, "plain", "What went wrong; the error log says to which file.", heads, 2,
                  0x2);
    row_trouble(&t, "Names, files and messages refused", c->deploy_refused);
    row_trouble(&t, "Files that could not be fetched or placed at once", c->deploy_failed);
    row_trouble(&t, "Files that two watchers disagree about", c->deploy_conflicts);
    row_trouble(&t, "Commands that failed", c->deploy_commands_failed);
    sc_table_close(&t);
    ap_rputs("</div>\n</div>\n", s->r);
}

void sc_html_deployer(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;
    const sc_config_deployer_t *c = &s->conf->engine.deployer;

    ap_rputs("<section><h2 id=\"deployer\">Farm deployment</h2>\n<p class=\"soft\">", s->r);
    if (c->watch) {
        ap_rvputs(s->r, "<code>", sc_html_name(p, c->watch_dir), "</code> is watched, files ",
                  NULL);
    } else {
        ap_rputs("Files ", s->r);
    }
    ap_rvputs(s->r, "come to <code>", sc_html_name(p, c->deploy_dir), "</code>.</p>\n", NULL);
    put_farm_facts(s);
    put_ways(s);
    put_farm_counts(s);
    ap_rputs("</section>\n", s->r);
}

/* ---- what needs attention -------------------------------------------------------------------- */

static int command_failed(const sc_status_t *s)
{
    apr_uint32_t how = sc_board_get(s->board->deploy.command);

    return how != SC_COMMAND_NONE && how != SC_COMMAND_RUNS && how != SC_COMMAND_DONE;
}

void sc_html_extra_notes(const sc_status_t *s)
{
    apr_pool_t *p = s->r->pool;

    if (s->has_central && s->shared.silent_since) {
        sc_html_note(s, "bad",
                     apr_pstrcat(p, "The central store has not answered for ",
                                 sc_text_duration(p, s->now - s->shared.silent_since),
                                 s->shared.empty
                                     ? ": requests go on without their sessions."
                                     : ": requests with a session are refused with 503.",
                                 NULL));
    }
    if (s->deploys && s->state != SC_NODE_DOWN) {
        if (!sc_board_get(s->board->deploy.on)) {
            sc_html_note(s, "bad",
                         "The deployer does not run: files are neither taken nor received. The "
                         "error log says why.");
        } else if (sc_board_get(s->board->deploy.blind)) {
            sc_html_note(s, "warn",
                         "watchDir cannot be read as a whole: what is missing there is not taken "
                         "for removed.");
        }
        if (command_failed(s)) {
            sc_html_note(s, "warn",
                         "The command after the last batch of deployed files has failed; it is run "
                         "again after the next one.");
        }
    }
}
