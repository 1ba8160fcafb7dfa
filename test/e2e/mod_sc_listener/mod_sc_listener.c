/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An example of a module that uses mod_session_cluster.h: a journal of what happens to sessions and
 * members, and a handler that calls the functions for sessions. It needs mod_session_cluster
 * neither to be loaded nor to be configured; without it the journal stays empty.
 *
 *   ScListenerJournal file      one line for each event, from children and engine; the user that
 *                               these run as must be able to write there. Not changed by a graceful
 *                               restart as far as the engine is concerned, which is kept
 *   ScListenerValues On         a further line: what the session holds, of those created or changed
 *   ScListenerSleep ms          be a bad listener: sleep before each line (the engine waits)
 *   ScListenerCrash file        be a worse one: whoever finds that file removes it and dies
 *   SetHandler sc-listener      ?change_id=0|1, ?invalidate, ?locate
 *
 *   apxs -c -I../../../include mod_sc_listener.c
 */
#include <signal.h>
#include <unistd.h>

#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"
#include "apr_file_io.h"
#include "apr_strings.h"

#include "mod_session_cluster.h"

module AP_MODULE_DECLARE_DATA sc_listener_module;

/* read from the configuration by the parent, and in all processes that are forked from it */
static const char *journal;
static const char *crash;
static int sleep_ms;
static int values;

static APR_OPTIONAL_FN_TYPE(session_cluster_change_id) * change_id;
static APR_OPTIONAL_FN_TYPE(session_cluster_invalidate) * invalidate;
static APR_OPTIONAL_FN_TYPE(session_cluster_is_primary) * is_primary;
static APR_OPTIONAL_FN_TYPE(session_cluster_locate) * locate;

/* ---- listening ------------------------------------------------------------------------------- */

/* One write of less than a page: lines of several processes do not mix. */
static void note(server_rec *s, apr_pool_t *pool, const char *line)
{
    apr_size_t len = strlen(line);
    apr_file_t *file;
    apr_status_t rv;

    if (!journal) {
        return;
    }
    if (sleep_ms > 0) {
        apr_sleep(apr_time_from_msec(sleep_ms));
    }
    if (crash && apr_file_remove(crash, pool) == APR_SUCCESS) {
        kill(getpid(), SIGKILL);
    }
    /* opened each time: the engine closes what it has inherited */
    rv = apr_file_open(&file, journal, APR_FOPEN_WRITE | APR_FOPEN_CREATE | APR_FOPEN_APPEND,
                       APR_FPROT_OS_DEFAULT, pool);
    if (rv == APR_SUCCESS) {
        rv = apr_file_write_full(file, line, len, NULL);
        apr_file_close(file);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, s, "cannot write to %s", journal);
    }
}

static const char *what_of(const session_cluster_session_t *event)
{
    switch (event->what) {
    case SESSION_CLUSTER_CREATED:
        return "created";
    case SESSION_CLUSTER_CHANGED:
        return "changed";
    case SESSION_CLUSTER_DESTROYED:
        return "destroyed";
    case SESSION_CLUSTER_PRIMARY:
        return "primary";
    default:
        return "?";
    }
}

static const char *reason_of(const session_cluster_session_t *event)
{
    switch (event->reason) {
    case SESSION_CLUSTER_INVALIDATED:
        return "invalidated";
    case SESSION_CLUSTER_IDLE:
        return "idle";
    case SESSION_CLUSTER_SHUTDOWN:
        return "shutdown";
    case SESSION_CLUSTER_MOVED:
        return "moved";
    case SESSION_CLUSTER_RENAMED:
        return "renamed";
    default:
        return "-";
    }
}

/* values what id name=value,name=value | not-held | error */
static void note_values(const session_cluster_session_t *event, server_rec *s, apr_pool_t *pool)
{
    /* found here: the engine is forked before the hook optional_fn_retrieve is run */
    APR_OPTIONAL_FN_TYPE(session_cluster_attributes) *attributes =
        APR_RETRIEVE_OPTIONAL_FN(session_cluster_attributes);
    apr_table_t *table = NULL;
    apr_status_t rv =
        attributes ? attributes(event->context, event->id, pool, &table) : APR_ENOTIMPL;
    const apr_array_header_t *all;
    const char *text = "";
    int i;

    if (rv == APR_SUCCESS) {
        all = apr_table_elts(table);
        for (i = 0; i < all->nelts; i++) {
            const apr_table_entry_t *e = &APR_ARRAY_IDX(all, i, apr_table_entry_t);

            text = apr_pstrcat(pool, text, *text ? "," : "", e->key, "=", e->val, NULL);
        }
    } else {
        text = rv == APR_NOTFOUND ? "not-held" : "error";
    }
    note(s, pool,
         apr_psprintf(pool, "values %s %s %s\n", what_of(event), event->id, *text ? text : "-"));
}

/* what reason id new-id context primary replicated? in-a-request? pid */
static void on_session(const session_cluster_session_t *event, request_rec *r, server_rec *s,
                       apr_pool_t *pool)
{
    note(s, pool,
         apr_psprintf(pool, "%s %s %s %s %s %s %s %s %" APR_PID_T_FMT "\n", what_of(event),
                      reason_of(event), event->id, event->new_id ? event->new_id : "-",
                      event->context, *event->primary ? event->primary : "-",
                      event->replicated ? "replicated" : "own", r ? "request" : "engine",
                      getpid()));
    if (values) {
        note_values(event, s, pool);
    }
}

/* joined|left route address port node|balancer goodbye|lost pid */
static void on_member(const session_cluster_member_t *event, server_rec *s, apr_pool_t *pool)
{
    note(s, pool,
         apr_psprintf(pool, "%s %s %s %d %s %s %" APR_PID_T_FMT "\n",
                      event->joined ? "joined" : "left", *event->route ? event->route : "-",
                      event->address, (int)event->port, event->balancer ? "balancer" : "node",
                      event->goodbye ? "goodbye" : "lost", getpid()));
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void answer_place(request_rec *r)
{
    session_cluster_place_t place = {sizeof(place), NULL, NULL, NULL};
    apr_status_t rv = locate(r, &place);
    int i;

    ap_rprintf(r, "{\"status\": %d, \"is_primary\": %d", rv, is_primary(r));
    if (rv == APR_SUCCESS) {
        ap_rprintf(r, ", \"primary\": \"%s\", \"role\": \"%s\", \"backups\": [", place.primary,
                   place.role);
        for (i = 0; place.backups[i]; i++) {
            ap_rprintf(r, "%s\"%s\"", i ? ", " : "", place.backups[i]);
        }
        ap_rputs("]", r);
    }
    ap_rputs("}\n", r);
}

static int handler(request_rec *r)
{
    const char *args = r->args ? r->args : "";

    if (!r->handler || strcmp(r->handler, "sc-listener") != 0) {
        return DECLINED;
    }
    ap_set_content_type(r, "application/json");
    if (!locate || !is_primary || !change_id || !invalidate) {
        ap_rputs("{\"status\": \"mod_session_cluster is not loaded\"}\n", r);
    } else if (strncmp(args, "change_id=", 10) == 0) {
        ap_rprintf(r, "{\"status\": %d}\n", change_id(r, args[10] == '1'));
    } else if (strcmp(args, "invalidate") == 0) {
        ap_rprintf(r, "{\"status\": %d}\n", invalidate(r));
    } else {
        answer_place(r);
    }
    return OK;
}

/* ---- the module ------------------------------------------------------------------------------ */

static int forget(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    journal = crash = NULL;
    sleep_ms = values = 0;
    return OK;
}

static const char *set_journal(cmd_parms *cmd, void *dir, const char *arg)
{
    (void)dir;
    journal = ap_server_root_relative(cmd->pool, arg);
    return journal ? NULL : "not a path";
}

static const char *set_crash(cmd_parms *cmd, void *dir, const char *arg)
{
    (void)dir;
    crash = ap_server_root_relative(cmd->pool, arg);
    return crash ? NULL : "not a path";
}

static const char *set_sleep(cmd_parms *cmd, void *dir, const char *arg)
{
    (void)cmd;
    (void)dir;
    sleep_ms = atoi(arg);
    return NULL;
}

static const char *set_values(cmd_parms *cmd, void *dir, int on)
{
    (void)cmd;
    (void)dir;
    values = on;
    return NULL;
}

static void find_functions(void)
{
    change_id = APR_RETRIEVE_OPTIONAL_FN(session_cluster_change_id);
    invalidate = APR_RETRIEVE_OPTIONAL_FN(session_cluster_invalidate);
    is_primary = APR_RETRIEVE_OPTIONAL_FN(session_cluster_is_primary);
    locate = APR_RETRIEVE_OPTIONAL_FN(session_cluster_locate);
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_pre_config(forget, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_optional_fn_retrieve(find_functions, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(session_cluster, session_cluster_session, on_session, NULL, NULL,
                      APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(session_cluster, session_cluster_member, on_member, NULL, NULL,
                      APR_HOOK_MIDDLE);
}

static const command_rec directives[] = {
    AP_INIT_TAKE1("ScListenerJournal", set_journal, NULL, RSRC_CONF, "file for the events"),
    AP_INIT_TAKE1("ScListenerCrash", set_crash, NULL, RSRC_CONF, "file that asks for it"),
    AP_INIT_TAKE1("ScListenerSleep", set_sleep, NULL, RSRC_CONF, "milliseconds"),
    AP_INIT_FLAG("ScListenerValues", set_values, NULL, RSRC_CONF, "On: a line of values, too"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}};

AP_DECLARE_MODULE(sc_listener) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, directives, register_hooks,
    AP_MODULE_FLAG_NONE};
