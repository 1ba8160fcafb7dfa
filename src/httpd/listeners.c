/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Listeners of other modules. They are in two optional hooks, so that neither side needs the other
 * to be loaded; each is called by itself here, with its time taken, instead of by APR's loop.
 */

#include <dlfcn.h>
#include <sys/stat.h>

#include "listeners.h"
#include "mod_session_cluster.h"

#include "apr_hash.h"

APLOG_USE_MODULE(session_cluster);

/** A call that takes longer is complained about. */
#define SLOW apr_time_from_msec(50)
#define COMPLAIN apr_time_from_sec(10)

typedef session_cluster_LINK_session_cluster_session_t session_link_t;
typedef session_cluster_LINK_session_cluster_member_t member_link_t;

static sc_log_limit_t slow; /* each process's own */

/* ---- who there is ---------------------------------------------------------------------------- */

static const apr_array_header_t *session_listeners(void)
{
    return apr_optional_hook_get("session_cluster_session");
}

static const apr_array_header_t *member_listeners(void)
{
    return apr_optional_hook_get("session_cluster_member");
}

int sc_listeners_any(void)
{
    return session_listeners() || member_listeners();
}

/* Where a function was loaded from, and which version of that file. */
static const char *file_of(apr_pool_t *p, void *function)
{
    Dl_info info;
    struct stat st;

    if (!dladdr(function, &info) || !info.dli_fname || stat(info.dli_fname, &st) != 0) {
        return "?";
    }
    return apr_psprintf(p, "%s %lx:%lx:%lx.%lx", info.dli_fname, (unsigned long)st.st_ino,
                        (unsigned long)st.st_size, (unsigned long)st.st_mtim.tv_sec,
                        (unsigned long)st.st_mtim.tv_nsec);
}

apr_uint32_t sc_listeners_stamp(apr_pool_t *p)
{
    const apr_array_header_t *sessions = session_listeners();
    const apr_array_header_t *members = member_listeners();
    const char *all = "";
    apr_ssize_t len = APR_HASH_KEY_STRING;

    for (int i = 0; sessions && i < sessions->nelts; i++) {
        all =
            apr_pstrcat(p, all, " s ",
                        file_of(p, (void *)APR_ARRAY_IDX(sessions, i, session_link_t).pFunc), NULL);
    }
    for (int i = 0; members && i < members->nelts; i++) {
        all = apr_pstrcat(p, all, " m ",
                          file_of(p, (void *)APR_ARRAY_IDX(members, i, member_link_t).pFunc), NULL);
    }
    return apr_hashfunc_default(all, &len);
}

/* ---- calling them ---------------------------------------------------------------------------- */

static void check_time(request_rec *r, server_rec *s, const char *who, apr_time_t start)
{
    apr_time_t now = sc_mono(&sc_clock_system);
    apr_time_t next = __atomic_load_n(&slow.next, __ATOMIC_RELAXED);

    if (now - start <= SLOW || now < next ||
        !__atomic_compare_exchange_n(&slow.next, &next, now + COMPLAIN, 0, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED)) {
        return;
    }
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                 "SC1060: a listener of %s took %" APR_TIME_T_FMT " ms; %s waited meanwhile",
                 who ? who : "an unnamed module", apr_time_as_msec(now - start),
                 r ? "its request" : "the whole cluster engine of this node");
}

static void run_session(const session_cluster_session_t *event, request_rec *r, server_rec *s,
                        apr_pool_t *pool)
{
    const apr_array_header_t *all = session_listeners();

    for (int i = 0; all && i < all->nelts; i++) {
        const session_link_t *link = &APR_ARRAY_IDX(all, i, session_link_t);
        apr_time_t start = sc_mono(&sc_clock_system);

        link->pFunc(event, r, s, pool);
        apr_pool_clear(pool);
        check_time(r, s, link->szName, start);
    }
}

static void run_member(const session_cluster_member_t *event, server_rec *s, apr_pool_t *pool)
{
    const apr_array_header_t *all = member_listeners();

    for (int i = 0; all && i < all->nelts; i++) {
        const member_link_t *link = &APR_ARRAY_IDX(all, i, member_link_t);
        apr_time_t start = sc_mono(&sc_clock_system);

        link->pFunc(event, s, pool);
        apr_pool_clear(pool);
        check_time(NULL, s, link->szName, start);
    }
}

/* ---- what has happened ----------------------------------------------------------------------- */

static void run_told(const sc_session_event_t *told, request_rec *r, server_rec *s,
                     apr_pool_t *pool)
{
    static const session_cluster_what_t whats[] = {
        [SC_SESSION_CREATED] = SESSION_CLUSTER_CREATED,
        [SC_SESSION_CHANGED] = SESSION_CLUSTER_CHANGED,
        [SC_SESSION_DESTROYED] = SESSION_CLUSTER_DESTROYED,
        [SC_SESSION_PRIMARY] = SESSION_CLUSTER_PRIMARY,
    };
    static const session_cluster_reason_t reasons[] = {
        [SC_GONE_INVALIDATED] = SESSION_CLUSTER_INVALIDATED,
        [SC_GONE_IDLE] = SESSION_CLUSTER_IDLE,
        [SC_GONE_SHUTDOWN] = SESSION_CLUSTER_SHUTDOWN,
        [SC_GONE_MOVED] = SESSION_CLUSTER_MOVED,
        [SC_GONE_RENAMED] = SESSION_CLUSTER_RENAMED,
    };
    session_cluster_session_t event;
    char id[SC_ID_HEX + 1], heir[SC_ID_HEX + 1];

    memset(&event, 0, sizeof(event));
    event.size = sizeof(event);
    event.what = whats[told->what];
    event.reason = reasons[told->reason];
    event.context = told->context;
    event.id = sc_id_format(&told->id, id);
    event.new_id = told->reason == SC_GONE_RENAMED ? sc_id_format(&told->heir, heir) : NULL;
    event.primary = told->primary;
    event.replicated = told->replicated;
    run_session(&event, r, s, pool);
}

void sc_listeners_tell(server_rec *s, apr_pool_t *pool, const sc_told_t *told)
{
    session_cluster_member_t event;

    if (told->happened == SC_HAPPENED_SESSION) {
        run_told(told->session, NULL, s, pool);
        return;
    }
    memset(&event, 0, sizeof(event));
    event.size = sizeof(event);
    event.joined = told->happened == SC_HAPPENED_JOINED;
    event.route = told->route;
    event.address = told->host;
    event.port = told->port;
    event.balancer = told->balancer;
    event.goodbye = told->goodbye;
    run_member(&event, s, pool);
}

void sc_listeners_did(request_rec *r, sc_session_what_t what, sc_session_reason_t reason,
                      const char *context, const sc_id_t *id, const sc_id_t *heir,
                      const char *primary)
{
    sc_session_event_t did;
    apr_pool_t *pool;

    if (!session_listeners() || apr_pool_create(&pool, r->pool) != APR_SUCCESS) {
        return;
    }
    memset(&did, 0, sizeof(did));
    did.what = what;
    did.reason = reason;
    did.context = context;
    did.id = *id;
    if (heir) {
        did.heir = *heir;
    }
    did.primary = primary;
    run_told(&did, r, r->server, pool);
    apr_pool_destroy(pool);
}
