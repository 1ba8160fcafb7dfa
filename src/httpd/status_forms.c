/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The page's forms, and what they have come to. Of what was sent nothing is written back, least of
 * all an id.
 */

#include "status_html.h"

/* ---- results --------------------------------------------------------------------------------- */

static const char *names(apr_pool_t *p, const apr_array_header_t *all)
{
    const char *out = "";

    for (int i = 0; i < all->nelts; i++) {
        out = apr_pstrcat(p, out, i ? ", " : "",
                          sc_html_name(p, APR_ARRAY_IDX(all, i, const char *)), NULL);
    }
    return *out ? out : "none";
}

static const char *duration(apr_pool_t *p, apr_time_t t)
{
    return t < 0 ? "" : sc_text_duration(p, t);
}

static void put_found(const sc_status_t *s)
{
    static const char *const heads[] = {"Session", "State", "This node is", "Primary", "Backups",
                                        "Size",    "Age",   "Idle",         "Ends in"};
    const apr_array_header_t *all = s->action.found;
    apr_pool_t *p = s->r->pool;
    sc_table_t t;

    sc_table_open(&t, s->r, "cards", "As this node knows it; another one may know better.", heads,
                  9, 0x1e0);
    for (int i = 0; i < all->nelts; i++) {
        const sc_found_t *f = &APR_ARRAY_IDX(all, i, sc_found_t);
        int live = strcmp(f->state, "live") == 0;

        sc_table_row(&t, apr_pstrcat(p, "<code>", ap_escape_html(p, f->id), "</code><small>",
                                     sc_html_name(p, f->context), "</small>", NULL));
        sc_table_cell(&t, sc_html_state(p, live ? "good" : "mute", f->state));
        sc_table_cell(&t, strcmp(f->role, "none") == 0 ? "" : f->role);
        sc_table_cell(&t, f->primary[0] ? sc_html_name(p, f->primary) : "");
        sc_table_cell(&t, names(p, f->backups));
        sc_table_cell(&t, live ? sc_text_bytes(p, f->bytes) : "");
        sc_table_cell(&t, duration(p, f->age));
        sc_table_cell(&t, duration(p, f->idle));
        sc_table_cell(&t, duration(p, f->left));
        sc_table_end_row(&t);
    }
    sc_table_close(&t);
}

void sc_html_result(const sc_status_t *s)
{
    if (!s->action.name[0]) {
        return;
    }
    ap_rvputs(s->r, "<p role=\"status\" class=\"message ", s->action.done ? "good" : "warn",
              "\"><span>", s->action.message, " <a href=\"?\">Back to the page</a></span></p>\n",
              NULL);
    if (s->action.found && s->action.found->nelts) {
        put_found(s);
    }
}

/* ---- forms ----------------------------------------------------------------------------------- */

static void begin(const sc_status_t *s)
{
    ap_rvputs(s->r,
              "<form method=\"post\" action=\"?\" autocomplete=\"off\">\n"
              "<input type=\"hidden\" name=\"nonce\" value=\"",
              s->nonce, "\">\n", NULL);
}

static void button(const sc_status_t *s, const char *action, const char *text, int danger)
{
    ap_rvputs(s->r, "<button name=\"action\" value=\"", action, "\"",
              danger ? " class=\"danger\">" : ">", text, "</button>\n", NULL);
}

static void put_session_form(const sc_status_t *s)
{
    request_rec *r = s->r;

    begin(s);
    ap_rprintf(r,
               "<label>Session id, or the whole value of the cookie\n<input name=\"id\" required "
               "maxlength=\"256\" spellcheck=\"false\" autocapitalize=\"characters\"></label>\n"
               "<label>Session space\n<select name=\"context\"><option value=\"\">all</option>");
    for (int i = 0; i < s->contexts->nelts; i++) {
        const char *name =
            ap_escape_html(r->pool, APR_ARRAY_IDX(s->contexts, i, sc_context_stats_t).name);

        ap_rvputs(r, "<option value=\"", name, "\">", name, "</option>", NULL);
    }
    ap_rputs("</select></label>\n", r);
    button(s, "lookup", "Look it up", 0);
    if (s->may_act && s->role == SC_ROLE_NODE) {
        button(s, "expire", "End the session", 1);
    }
    ap_rputs("</form>\n", r);
}

static void put_drain_form(const sc_status_t *s)
{
    int drains = sc_board_get(s->board->draining) != 0;

    ap_rputs("<section><h2>This node</h2>\n", s->r);
    begin(s);
    ap_rvputs(s->r, "<p>",
              drains ? "It drains. When it has no requests under way any more it can be stopped "
                       "without an error."
                     : "Before it is stopped or repaired: send its sessions to other nodes.",
              "</p>\n", NULL);
    if (drains) {
        button(s, "undrain", "Take new sessions again", 0);
    } else {
        button(s, "drain", "Drain this node", 1);
    }
    ap_rputs("</form></section>\n", s->r);
}

void sc_html_forms(const sc_status_t *s)
{
    ap_rputs("<div class=\"two\">\n", s->r);
    if (!s->has_central) { /* what is there is not known here */
        ap_rputs("<section><h2>One session</h2>\n", s->r);
        put_session_form(s);
        ap_rputs("<p class=\"soft\">Shows where it lives, its size and its age, never what is in "
                 "it.</p></section>\n",
                 s->r);
    }
    if (s->may_act && s->role == SC_ROLE_NODE && s->receiver[0]) {
        put_drain_form(s);
    }
    ap_rputs("</div>\n", s->r);
}
