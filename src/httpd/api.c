/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What other modules and the configuration can ask for: the optional functions of
 * mod_session_cluster.h, session_cluster('attribute') in expressions, %{attribute}^sc in log
 * formats.
 */

#include "provider.h"
#include "mod_session_cluster.h"

#include "ap_expr.h"
#include "mod_log_config.h"

APLOG_USE_MODULE(session_cluster);

#define FUNCTION "session_cluster"
/** Reads of a session that is being changed all the time. */
#define READ_TRIES 3
static char log_tag[] = "^sc";

static APR_OPTIONAL_FN_TYPE(ap_session_load) * load_session;

/* ---- the request's session ------------------------------------------------------------------- */

/** The one that has been loaded, if any. */
static session_t *find(request_rec *r)
{
    const sc_dir_conf_t *dir = sc_config_dir(r);
    chain_t *chain = sc_chain(r, 0);
    session_t *s = chain && dir->cookie_name ? chain->sessions : NULL;

    while (s && (strcmp(s->name, dir->cookie_name) != 0 ||
                 strcmp(s->context, sc_config_context(r, dir)) != 0)) {
        s = s->next;
    }
    return s && s->state != SESSION_UNKNOWN ? s : NULL;
}

/** The same, loaded if it is not yet. mod_session decides whether there are sessions here. */
static session_t *load(request_rec *r)
{
    session_rec *z = NULL;

    if (load_session && sc_config_dir(r)->cookie_name) {
        (void)load_session(r, &z);
    }
    return z ? find(r) : NULL;
}

/** One that is stored. */
static apr_status_t stored(request_rec *r, session_t **s)
{
    if (!load_session || !sc_config_dir(r)->cookie_name) {
        return APR_ENOTIMPL;
    }
    *s = load(r);
    return *s && ((*s)->state == SESSION_LOADED || (*s)->rotated) ? APR_SUCCESS : APR_NOTFOUND;
}

static const char *value_of(const session_t *s, const char *name)
{
    const char *value = s && *name && *name != SC_OWN_PREFIX && strcmp(name, SC_EXPIRY_KEY) != 0
                            ? apr_table_get(s->z.entries, name)
                            : NULL;

    return value ? value : "";
}

/* ---- optional functions ---------------------------------------------------------------------- */

static apr_status_t session_cluster_change_id(request_rec *r, int refresh)
{
    session_t *s;
    apr_status_t rv = stored(r, &s);

    if (rv == APR_SUCCESS) {
        apr_table_setn(r->notes, SC_ROTATE_NOTE, refresh ? "refresh" : "1");
    }
    return rv;
}

static apr_status_t session_cluster_invalidate(request_rec *r)
{
    session_t *s;
    apr_status_t rv = stored(r, &s);

    return rv == APR_SUCCESS ? sc_session_end_now(r, s) : rv;
}

static int session_cluster_is_primary(request_rec *r)
{
    session_t *s;
    sc_record_t rec;

    return stored(r, &s) == APR_SUCCESS && sc_session_where(s, &rec) == APR_SUCCESS &&
           sc_session_role(&rec) == SC_HOLDER_PRIMARY;
}

/** Routes of a session's backups. */
static const char *const *backups_of(request_rec *r, const sc_record_t *rec, const char *primary)
{
    const sc_httpd_t *h = sc_httpd();
    apr_array_header_t *all = apr_array_make(r->pool, 5, sizeof(const char *));
    sc_view_t *view = apr_palloc(r->pool, sizeof(*view));

    if (h->conf->engine.manager == SC_MANAGER_BACKUP) {
        for (int i = 0; i < SC_BACKUPS_MAX && rec->backups[i] != SC_ROUTE_NONE; i++) {
            APR_ARRAY_PUSH(all, const char *) =
                apr_pstrdup(r->pool, sc_store_route_name(h->store, rec->backups[i]));
        }
    } else if (sc_board_view(h->board, view) == APR_SUCCESS) {
        for (apr_uint32_t i = 0; i < view->count; i++) {
            const sc_board_member_t *m = &view->member[i];

            if (m->role == SC_ROLE_NODE && m->route[0] && !m->foreign &&
                m->state != SC_MEMBER_GONE && strcmp(m->route, primary) != 0) {
                APR_ARRAY_PUSH(all, const char *) = apr_pstrdup(r->pool, m->route);
            }
        }
    }
    APR_ARRAY_PUSH(all, const char *) = NULL;
    return (const char *const *)(const void *)all->elts;
}

static apr_status_t session_cluster_locate(request_rec *r, session_cluster_place_t *place)
{
    static const char *const roles[] = {"proxy", "primary", "backup"};
    sc_record_t rec;
    session_t *s;
    apr_status_t rv;

    if (!place || place->size < sizeof(*place)) {
        return APR_EINVAL;
    }
    rv = stored(r, &s);
    if (rv == APR_SUCCESS) {
        rv = sc_session_where(s, &rec);
    }
    if (rv == APR_SUCCESS) {
        place->primary = apr_pstrdup(r->pool, sc_store_route_name(sc_httpd()->store, rec.primary));
        place->role = roles[sc_session_role(&rec)];
        place->backups = backups_of(r, &rec, place->primary);
    }
    return rv;
}

/** Whether a record is a session that goes on here. */
static int is_live(const sc_store_t *store, const sc_stored_t *found)
{
    const sc_record_t *rec = &found->rec;

    return !(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) &&
           (!rec->max_idle_s ||
            sc_store_last_access(store, found) + apr_time_from_sec((apr_time_t)rec->max_idle_s) >
                sc_mono(&sc_clock_system));
}

static apr_table_t *table_of(const sc_stored_t *found, apr_pool_t *pool)
{
    apr_table_t *out = apr_table_make(pool, 10);
    sc_attr_t a;
    sc_rd_t rd;

    sc_rd_init(&rd, found->body, found->rec.body_len);
    while (sc_attr_get(&rd, &a) == APR_SUCCESS) {
        if (!(a.flags & SC_ATTR_REMOVED) && a.name[0] != SC_OWN_PREFIX) {
            apr_table_addn(out, apr_pstrmemdup(pool, a.name, a.name_len),
                           apr_pstrmemdup(pool, a.value, a.value_len));
        }
    }
    return out;
}

static apr_status_t session_cluster_attributes(const char *context, const char *id,
                                               apr_pool_t *pool, apr_table_t **attributes)
{
    const sc_httpd_t *h = sc_httpd();
    apr_status_t rv = APR_EAGAIN;
    sc_stored_t found;
    apr_uint16_t where;
    sc_id_t key;

    *attributes = NULL;
    if (!h->store || h->central) {
        return APR_ENOTIMPL;
    }
    if (sc_id_parse(&key, id, strlen(id)) != APR_SUCCESS ||
        sc_store_context(h->store, context, strlen(context), 0, &where) != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    for (int i = 0; i < READ_TRIES && rv == APR_EAGAIN; i++) {
        rv = sc_store_read(h->store, where, &key, pool, &found);
    }
    if (rv == APR_SUCCESS && !is_live(h->store, &found)) {
        rv = APR_NOTFOUND;
    }
    if (rv == APR_SUCCESS) {
        *attributes = table_of(&found, pool);
    }
    return rv;
}

/* ---- expressions and logs -------------------------------------------------------------------- */

static const char *evaluate(ap_expr_eval_ctx_t *ctx, const void *data, const char *arg)
{
    (void)data;
    return ctx->r ? apr_pstrdup(ctx->p, value_of(load(ctx->r), arg)) : "";
}

static int look_up(ap_expr_lookup_parms *parms)
{
    if (parms->type != AP_EXPR_FUNC_STRING || ap_cstr_casecmp(parms->name, FUNCTION) != 0) {
        return DECLINED;
    }
    /* a function as void *: what the interface asks for, and POSIX allows */
    *parms->func = (const void *)evaluate;
    *parms->data = NULL;
    return OK;
}

/* Nothing is looked up for a line of a log. */
static const char *log_value(request_rec *r, char *name)
{
    const char *value = value_of(find(r), name);

    return *value ? ap_escape_logitem(r->pool, value) : "-";
}

static int register_log(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp)
{
    APR_OPTIONAL_FN_TYPE(ap_register_log_handler) *add =
        APR_RETRIEVE_OPTIONAL_FN(ap_register_log_handler);

    (void)plog;
    (void)ptemp;
    if (add) {
        add(p, log_tag, log_value, 0);
    }
    return OK;
}

/* ---- registration ---------------------------------------------------------------------------- */

static void find_functions(void)
{
    load_session = APR_RETRIEVE_OPTIONAL_FN(ap_session_load);
}

void sc_api_register(apr_pool_t *p)
{
    (void)p;
    APR_REGISTER_OPTIONAL_FN(session_cluster_change_id);
    APR_REGISTER_OPTIONAL_FN(session_cluster_invalidate);
    APR_REGISTER_OPTIONAL_FN(session_cluster_is_primary);
    APR_REGISTER_OPTIONAL_FN(session_cluster_locate);
    APR_REGISTER_OPTIONAL_FN(session_cluster_attributes);
    ap_hook_optional_fn_retrieve(find_functions, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_expr_lookup(look_up, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_config(register_log, NULL, NULL, APR_HOOK_MIDDLE);
}
