/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What became of a request that went through a balancer: counted by why its node was chosen, and
 * whether the node failed under it. A session under which too many have failed, one after the
 * other, is refused before anybody is chosen (balancer_memory.c).
 */

#include "balancer.h"

#include "apr_lib.h"
#include "apr_optional_hooks.h"

APLOG_USE_MODULE(session_cluster);

const char *sc_choice_name(choice_t choice)
{
    static const char *const names[] = {
#define NAME(upper, lower) #lower,
        CHOICES(NAME)
#undef NAME
    };

    return names[choice];
}

void sc_choose(attempts_t *a, choice_t choice)
{
    const char *name = sc_choice_name(choice);

    a->choice = choice;
    if (a->told != name) {
        a->told = name;
        apr_table_setn(a->r->subprocess_env, "SESSION_CLUSTER_CHOICE", name);
    }
}

const char *sc_printable(apr_pool_t *p, const char *route)
{
    char *out = apr_pstrmemdup(p, route, strnlen(route, SC_ROUTE_MAX));

    for (char *c = out; *c; c++) {
        if (!apr_isalnum(*c) && !strchr("-_.:", *c)) {
            *c = '?';
        }
    }
    return out;
}

const char *sc_ticket_masked(const ticket_t *t, apr_pool_t *p)
{
    return t->id_len >= 16
               ? apr_pstrcat(p, sc_printable(p, apr_pstrmemdup(p, t->id, 4)), "...", NULL)
               : "...";
}

static void sc_tally_choice(choice_t choice)
{
    switch (choice) {
#define COUNT(upper, lower)                                                                        \
    case CHOICE_##upper:                                                                           \
        sc_tally(choices_##lower);                                                                 \
        break;
        CHOICES(COUNT)
#undef COUNT
    }
}

/* Whether the node died, or broke the connection, under this request; not when its answer only did
 * not come in time. mod_proxy_http says so in three ways: with an error of its own (500, 502); by
 * closing the client's connection before the answer has begun, so that the browser may try again;
 * and by cutting the answer short, which it marks by forbidding to cache it. */
static int node_failed(const attempts_t *a, int status)
{
    request_rec *r = a->r;
    int failed = 0;

    if (status == HTTP_BAD_GATEWAY || status == HTTP_INTERNAL_SERVER_ERROR) {
        failed = a->sent || strncmp(r->filename, "proxy:http", 10) != 0;
    } else if ((status == OK || status == DONE) && a->sent) {
        failed = !sc_newest(r->notes, "proxy-status") ||
                 (r->no_cache && !a->was_no_cache && !r->connection->aborted);
    }
    return failed && !apr_table_get(r->notes, "proxy-error-override") &&
           !apr_table_get(r->notes, "proxy_timedout");
}

static void note_failure(attempts_t *a)
{
    const sc_server_conf_t *conf = sc_httpd()->conf;
    apr_time_t now = sc_mono(&sc_clock_system);
    const ticket_t *t = sc_attempts_ticket(a, a->balancer->s);
    int n;

    sc_tally(node_failures);
    if (!t || !t->id_len) {
        return;
    }
    n = sc_failure_note(t, now - (apr_time_now() - a->r->request_time), now,
                        (int)conf->max_failures, apr_time_from_msec(conf->failure_ms));
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, a->r,
                  "SC0721: node %s failed under a request of session %s, the %d. failure within %u "
                  "s",
                  apr_table_get(a->r->subprocess_env, "BALANCER_WORKER_ROUTE"),
                  sc_ticket_masked(t, a->r->pool), n, conf->failure_ms / 1000);
}

static int request_status(int *status, request_rec *r)
{
    attempts_t *a = sc_attempts_made(r);

    if (!a) {
        return OK;
    }
    sc_away_over(a);
    if (a->balancer) {
        sc_tally_choice(a->choice);
        if (a->away == AWAY_LEAVING && a->choice != CHOICE_ROUTE) {
            sc_tally(moved_on);
        }
        if (node_failed(a, *status)) {
            note_failure(a);
        }
    }
    return OK;
}

int sc_outcome_refuse(attempts_t *a)
{
    const sc_server_conf_t *conf = sc_httpd()->conf;
    ticket_t t;
    int told;

    if (!sc_ticket_take(&t, a->balancer->s, a->r, a->url) ||
        !sc_failure_refused(&t, sc_mono(&sc_clock_system), &told)) {
        return 0;
    }
    if (!told) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, a->r,
                      "SC0722: %u nodes failed under requests of session %s within %u s; its "
                      "requests are answered with 502 for as long, and sent to no other node",
                      conf->max_failures, sc_ticket_masked(&t, a->r->pool),
                      conf->failure_ms / 1000);
    }
    sc_choose(a, CHOICE_REFUSED);
    sc_tally_choice(a->choice);
    return 1;
}

void sc_outcome_register(void)
{
    APR_OPTIONAL_HOOK(proxy, request_status, request_status, NULL, NULL, APR_HOOK_FIRST);
}
