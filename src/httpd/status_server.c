/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A section on mod_status' page, and lines for its ?auto. mod_status need not be loaded: the hook
 * is an optional one.
 */

#include "status.h"

#include "apr_optional_hooks.h"
#include "mod_status.h"

static void put_auto_extras(const sc_status_t *s)
{
    request_rec *r = s->r;

    if (s->has_central) {
        ap_rprintf(r, "ClusterStoreAnswers: %d\n", !s->shared.silent_since);
        ap_rprintf(r, "ClusterStoreTakesMicroseconds: %" APR_INT64_T_FMT "\n", s->shared.takes);
        ap_rprintf(r, "ClusterStoreReads: %" APR_UINT64_T_FMT "\n", s->central.central_reads);
        ap_rprintf(r, "ClusterStoreWrites: %" APR_UINT64_T_FMT "\n", s->central.central_writes);
        ap_rprintf(r, "ClusterStoreUnreachable: %" APR_UINT64_T_FMT "\n",
                   s->central.central_unreachable);
    }
    if (s->deploys) {
        ap_rprintf(r, "ClusterDeployerRunning: %d\n", sc_board_get(s->board->deploy.on) != 0);
        ap_rprintf(r, "ClusterDeployerFiles: %u\n", sc_board_get(s->board->deploy.files));
        ap_rprintf(r, "ClusterDeployerWaiting: %u\n", sc_board_get(s->board->deploy.waiting));
        ap_rprintf(r, "ClusterDeployerRefused: %" APR_UINT64_T_FMT "\n", s->count.deploy_refused);
    }
}

static void put_auto(const sc_status_t *s)
{
    request_rec *r = s->r;
    apr_uint32_t alive, all;

    sc_status_nodes(s, &alive, &all);
    ap_rprintf(r, "ClusterState: %s\n", sc_node_state_name(s->state));
    ap_rprintf(r, "ClusterNodesAlive: %u\n", alive);
    ap_rprintf(r, "ClusterSessions: %" APR_UINT64_T_FMT "\n", s->stats.sessions);
    ap_rprintf(r, "ClusterProxies: %" APR_UINT64_T_FMT "\n", s->stats.proxies);
    ap_rprintf(r, "ClusterMemory: %" APR_UINT64_T_FMT "\n", s->stats.bytes);
    ap_rprintf(r, "ClusterMemoryUsedPercent: %u.%u\n", (unsigned)(sc_status_used(&s->stats) / 10),
               (unsigned)(sc_status_used(&s->stats) % 10));
    ap_rprintf(r, "ClusterChanged: %" APR_UINT64_T_FMT "\n", s->count.changed);
    ap_rprintf(r, "ClusterDegraded: %" APR_UINT64_T_FMT "\n", s->count.degraded);
    ap_rprintf(r, "ClusterRefused: %" APR_UINT64_T_FMT "\n", sc_status_refused(&s->count));
    put_auto_extras(s);
}

static void put_extras(const sc_status_t *s)
{
    request_rec *r = s->r;
    apr_pool_t *p = r->pool;

    if (s->has_central) {
        ap_rvputs(r, "<dt>Central store ", ap_escape_html(p, s->shared.provider),
                  s->shared.silent_since ? " does not answer, for " : " answers",
                  s->shared.silent_since ? sc_text_duration(p, s->now - s->shared.silent_since)
                                         : "",
                  "; ", sc_text_number(p, s->central.central_reads), " sessions read, ",
                  sc_text_number(p, s->central.central_writes), " values written, ",
                  sc_text_number(p, s->central.central_unreachable),
                  " requests not answered</dt>\n", NULL);
    }
    if (s->deploys) {
        ap_rvputs(r, "<dt>The deployer ",
                  sc_board_get(s->board->deploy.on) ? "runs" : "does not run", "; ",
                  sc_text_number(p, sc_board_get(s->board->deploy.files)), " files here, ",
                  sc_text_number(p, sc_board_get(s->board->deploy.waiting)), " still to come, ",
                  sc_text_number(p, s->count.deploy_refused), " refused</dt>\n", NULL);
    }
}

static void put_section(const sc_status_t *s)
{
    request_rec *r = s->r;
    apr_pool_t *p = r->pool;
    apr_uint32_t alive, all;

    sc_status_nodes(s, &alive, &all);
    ap_rvputs(r, "<hr />\n<h2>Session cluster</h2>\n<dl>\n<dt>Node ",
              ap_escape_html(p, s->route[0] ? s->route : "without a route"), " is ",
              sc_node_state_name(s->state), "; ", NULL);
    ap_rprintf(r, "%u of %u nodes that it knows are alive</dt>\n", alive, all);
    ap_rvputs(r, "<dt>", sc_text_number(p, s->stats.sessions), " sessions here, ", NULL);
    ap_rprintf(r, "%u.%u %% of %s used</dt>\n", (unsigned)(sc_status_used(&s->stats) / 10),
               (unsigned)(sc_status_used(&s->stats) % 10), sc_text_bytes(p, s->stats.bytes));
    ap_rvputs(r, "<dt>", sc_text_rate(p, s->rates.changed, s->rates.span),
              " changes a second; since the start ", sc_text_number(p, s->count.degraded),
              " degraded, ", sc_text_number(p, sc_status_refused(&s->count)), " refused</dt>\n",
              NULL);
    put_extras(s);
    ap_rputs("</dl>\n", r);
}

static int status_hook(request_rec *r, int flags)
{
    sc_status_t s;

    if (!sc_status_look(&s, r) || !s.store) {
        return OK;
    }
    if (flags & AP_STATUS_SHORT) {
        put_auto(&s);
    } else {
        put_section(&s);
    }
    return OK;
}

void sc_status_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_handler(sc_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(sc_status_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ap, status_hook, status_hook, NULL, NULL, APR_HOOK_MIDDLE);
}
