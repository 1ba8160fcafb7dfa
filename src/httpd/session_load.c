/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Finding the session that a request's cookie names.
 *
 * The usual case is one read of shared memory, without asking anybody. Three answers are possible,
 * and they are kept apart: it is there; it surely does not exist (then the request begins with an
 * empty one under no id at all, since an id that a client made up is never adopted); or it could
 * not be found out. A node that was away must not answer from its old copy, so when its lease ran
 * out, or when it has not all sessions yet, or when the cookie names another node, the engine asks
 * the others before a miss counts as one.
 *
 * With the backup manager a node has all sessions of none but those it holds, as primary or as
 * backup. What else lies in its store is where a session is, or what a request brought along a
 * while ago: the engine is asked whenever this node is no holder. What it vouches for may then be
 * read here, held or not.
 */

#include "provider.h"
#include "sc_message.h"

APLOG_USE_MODULE(session_cluster);

/** On top of the engine's own bound, in case it dies meanwhile and a successor has to start. */
#define RESPAWN_TIME apr_time_from_sec(3)
/** A take-over is a hint about who looks after the session's expiry; no request waits for it long.
 */
#define TAKEOVER_TIME apr_time_from_msec(100)
/** Reads of a session that is being changed all the time. */
#define READ_TRIES 3

typedef enum lookup_t {
    LOOKUP_HIT,
    LOOKUP_GONE,      /**< surely not there */
    LOOKUP_RENAMED,   /**< it has a new id since a moment ago */
    LOOKUP_IDLE,      /**< idled out, as far as is known here */
    LOOKUP_ELSEWHERE, /**< only where it is is known here */
    LOOKUP_UNSURE,
    LOOKUP_NO_QUORUM
} lookup_t;

/* ---- the store ------------------------------------------------------------------------------- */

static apr_status_t read_store(const session_t *s, apr_pool_t *pool, sc_stored_t *out)
{
    sc_store_t *store = sc_httpd()->store;
    apr_status_t rv = APR_EAGAIN;
    apr_uint16_t context;

    if (sc_store_context(store, s->context, strlen(s->context), 0, &context) != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    for (int i = 0; i < READ_TRIES && rv == APR_EAGAIN; i++) {
        rv = sc_store_read(store, context, &s->id, pool, out);
    }
    return rv;
}

/** What a record that was read means. */
static lookup_t judge(const session_t *s, const sc_stored_t *stored, apr_time_t now)
{
    const sc_httpd_t *h = sc_httpd();
    const sc_record_t *rec = &stored->rec;

    if (rec->flags & SC_REC_TOMBSTONE) { /* its "idle time" is the reason, see sc_message.h */
        if (rec->max_idle_s == SC_DEAD_IDLE) {
            return LOOKUP_IDLE;
        }
        return rec->max_idle_s == SC_DEAD_RENAMED && rec->accessed + sc_rotation_grace(s->dir) > now
                   ? LOOKUP_RENAMED
                   : LOOKUP_GONE;
    }
    if (rec->flags & SC_REC_PROXY) {
        return LOOKUP_ELSEWHERE;
    }
    if (rec->max_idle_s &&
        sc_store_last_access(h->store, stored) + apr_time_from_sec((apr_time_t)rec->max_idle_s) <=
            now) {
        return LOOKUP_IDLE;
    }
    return LOOKUP_HIT;
}

int sc_session_heir(const session_t *s, const sc_id_t *id, sc_id_t *heir)
{
    session_t other = *s;
    sc_stored_t stored;

    if (sc_httpd()->central) {
        return sc_central_heir(s, id, heir);
    }
    other.id = *id;
    return sc_httpd()->store && read_store(&other, s->z.pool, &stored) == APR_SUCCESS &&
           sc_record_heir(&stored.rec, heir);
}

/** Whether sessions are in some places only: with the backup manager, unless this node is alone. */
static int is_spread(const sc_config_t *config)
{
    return config->manager == SC_MANAGER_BACKUP && config->membership != SC_MEMBERSHIP_NONE;
}

static sc_holder_t held_as(const sc_record_t *rec)
{
    const sc_httpd_t *h = sc_httpd();
    const char *own = h->conf->engine.route;
    apr_uint16_t route;

    /* one of the first names in the table, so this costs less than keeping it right would */
    if (sc_store_route(h->store, own, strlen(own), 0, &route) != APR_SUCCESS) {
        return SC_HOLDER_NONE;
    }
    return sc_record_holder(rec, route);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void describe(const session_t *s, sc_change_t *change)
{
    memset(change, 0, sizeof(*change));
    change->context = s->context;
    change->context_len = strlen(s->context);
    change->id = s->id;
    change->hint = "";
}

static lookup_t look_here(const session_t *s, apr_pool_t *pool, sc_stored_t *stored)
{
    return read_store(s, pool, stored) == APR_SUCCESS ? judge(s, stored, sc_mono(&sc_clock_system))
                                                      : LOOKUP_UNSURE;
}

static lookup_t fetch(request_rec *r, session_t *s, apr_pool_t *pool, const char *route,
                      sc_stored_t *stored)
{
    const sc_config_t *config = &sc_httpd()->conf->engine;
    sc_change_t change;
    sc_outcome_t outcome;
    lookup_t here;

    describe(s, &change);
    change.hint = route;
    change.hint_len = strlen(route);
    if (sc_ask(r, SC_LINK_FETCH, &change,
               apr_time_from_msec((apr_time_t)config->delta.fetch_ms + config->ack_wait_ms) +
                   RESPAWN_TIME,
               &outcome, &s->wait) != APR_SUCCESS) {
        return LOOKUP_UNSURE;
    }
    switch (outcome) {
    case SC_FOUND: /* the engine vouches for it: whatever the lease says, whoever holds it */
        here = look_here(s, pool, stored);
        return here == LOOKUP_ELSEWHERE ? LOOKUP_UNSURE : here;
    case SC_ABSENT: /* its tombstone may have come from somebody who was asked */
        return look_here(s, pool, stored) == LOOKUP_RENAMED ? LOOKUP_RENAMED : LOOKUP_GONE;
    case SC_NO_QUORUM:
        return LOOKUP_NO_QUORUM;
    default:
        return LOOKUP_UNSURE;
    }
}

/* Whether nobody can know better of a session that is not here, or that has idled out here.
 * @param rec NULL: not here */
static int knows_best(const sc_record_t *rec, const char *route)
{
    const sc_httpd_t *h = sc_httpd();
    const sc_config_t *config = &h->conf->engine;

    if (sc_board_get(h->board->node_state) != SC_NODE_READY) {
        return 0;
    }
    if (is_spread(config)) {
        return rec && held_as(rec) == SC_HOLDER_PRIMARY;
    }
    return config->membership == SC_MEMBERSHIP_NONE || !*route || strcmp(route, config->route) == 0;
}

static lookup_t look_up(request_rec *r, session_t *s, apr_pool_t *pool, const char *route,
                        sc_stored_t *stored)
{
    const sc_httpd_t *h = sc_httpd();
    apr_time_t now = sc_mono(&sc_clock_system);
    apr_time_t lease = sc_board_get(h->board->lease_until);
    apr_status_t rv = read_store(s, pool, stored);
    int here = rv == APR_SUCCESS;
    lookup_t means = here ? judge(s, stored, now) : LOOKUP_UNSURE;

    if (here && (means == LOOKUP_GONE || means == LOOKUP_RENAMED)) {
        return means; /* the end of a session is final, whoever says it */
    }
    if ((lease != 0 && now >= lease) || (!here && rv != APR_NOTFOUND) ||
        means == LOOKUP_ELSEWHERE || (here && (stored->rec.flags & SC_REC_DOUBT))) {
        return fetch(r, s, pool, route, stored);
    }
    if (means == LOOKUP_HIT &&
        (!is_spread(&h->conf->engine) || held_as(&stored->rec) != SC_HOLDER_NONE)) {
        return means;
    }
    /* not here, or idle: another node may know better, if this one is new or the session is
     * another one's */
    if (means != LOOKUP_HIT && knows_best(here ? &stored->rec : NULL, route)) {
        return LOOKUP_GONE;
    }
    return fetch(r, s, pool, route, stored);
}

/* Without a quorum the engine is asked, which knows as much, but also counts. */
static lookup_t find_out(request_rec *r, session_t *s, apr_pool_t *pool, const char *route,
                         sc_stored_t *stored)
{
    lookup_t result;

    if (!sc_board_get(sc_httpd()->board->quorum_lost)) {
        return look_up(r, s, pool, route, stored);
    }
    result = fetch(r, s, pool, route, stored);
    return result == LOOKUP_UNSURE ? LOOKUP_NO_QUORUM : result;
}

int sc_session_find(request_rec *r, session_t *s, const sc_id_t *id, const char *route,
                    sc_stored_t *stored)
{
    session_t other = *s;
    lookup_t result;

    if (sc_httpd()->central) {
        return sc_central_other(s, id, stored);
    }
    other.id = *id;
    result = find_out(r, &other, s->z.pool, route, stored);
    s->wait = other.wait;
    return result == LOOKUP_HIT                                    ? 1
           : result == LOOKUP_UNSURE || result == LOOKUP_NO_QUORUM ? -1
                                                                   : 0;
}

/* ---- taking what was found ------------------------------------------------------------------- */

apr_status_t sc_session_take(session_t *s, const unsigned char *body, apr_size_t len)
{
    apr_pool_t *pool = s->z.pool;
    apr_status_t rv;
    sc_attr_t a;
    sc_rd_t rd;

    s->loaded = apr_array_make(pool, 8, sizeof(sc_attr_t));
    sc_rd_init(&rd, body, len);
    while ((rv = sc_attr_get(&rd, &a)) == APR_SUCCESS) {
        if (!(a.flags & SC_ATTR_REMOVED) && a.name[0] != SC_OWN_PREFIX) {
            apr_table_addn(s->z.entries, apr_pstrmemdup(pool, a.name, a.name_len),
                           apr_pstrmemdup(pool, a.value, a.value_len));
            APR_ARRAY_PUSH(s->loaded, sc_attr_t) = a;
        }
    }
    return rv == APR_EOF ? APR_SUCCESS : APR_EINVAL;
}

static int filtered(const request_rec *top, const sc_dir_conf_t *dir)
{
    for (int i = 0; dir->filter && i < dir->filter->nelts; i++) {
        if (ap_regexec(APR_ARRAY_IDX(dir->filter, i, ap_regex_t *), top->uri, 0, NULL, 0) == 0) {
            return 1;
        }
    }
    return 0;
}

/* With SessionMaxAge the browser keeps the cookie for a limited time, so it has to be sent again
 * and again; mod_session does that at each save, and SessionExpiryUpdateInterval makes saves rarer
 * by comparing with the expiry time as loaded. No such time is stored here (it would have to be
 * replicated). Instead the session's life is cut into intervals: the first request in each gets an
 * expiry time that makes mod_session save. So a cookie is never older than one interval plus the
 * time without requests, which is what the directive promises. */
int sc_session_arm(request_rec *r, session_t *s, apr_time_t begin, apr_time_t last, apr_time_t now)
{
    const session_dir_conf *m = sc_provider_mod_session(r);
    apr_time_t interval = m ? m->expiry_update_time : 0;
    apr_time_t max_age = m ? apr_time_from_sec((apr_time_t)m->maxage) : 0;

    if (interval > 0 && max_age > interval && last >= begin && now >= last &&
        (now - begin) / interval != (last - begin) / interval) {
        s->z.expiry = apr_time_now() + max_age - interval;
        return 1;
    }
    return 0;
}

apr_status_t sc_session_where(const session_t *s, sc_record_t *rec)
{
    const sc_store_t *store = sc_httpd()->store;
    apr_uint16_t context;
    apr_status_t rv;

    if (!store || sc_store_context(sc_httpd()->store, s->context, strlen(s->context), 0,
                                   &context) != APR_SUCCESS) {
        return APR_NOTFOUND;
    }
    rv = sc_store_locate(store, context, &s->id, rec);
    return rv == APR_SUCCESS && (rec->flags & SC_REC_TOMBSTONE) ? APR_NOTFOUND : rv;
}

sc_holder_t sc_session_role(const sc_record_t *rec)
{
    const sc_httpd_t *h = sc_httpd();
    const sc_config_t *config = &h->conf->engine;

    if (is_spread(config)) {
        return held_as(rec);
    }
    if (config->membership == SC_MEMBERSHIP_NONE || !config->route[0] ||
        strcmp(sc_store_route_name(h->store, rec->primary), config->route) == 0) {
        return SC_HOLDER_PRIMARY;
    }
    return SC_HOLDER_BACKUP;
}

static int is_alive(const char *route)
{
    return *route && sc_board_route_alive(sc_httpd()->board, route, strlen(route));
}

/* Whether a session of that node lives here from now on, although the node is alive: it is about to
 * leave and has handed the session over to this one, or it drains. With the backup manager it then
 * hands over its sessions, too; with the delta manager whoever is asked takes them. */
static int is_given_away(const char *route, sc_holder_t role)
{
    const sc_httpd_t *h = sc_httpd();
    apr_uint32_t state = sc_board_route_state(h->board, route, strlen(route));

    if (role == SC_HOLDER_PRIMARY) {
        return sc_node_going(state);
    }
    return state == SC_NODE_DRAINING && !is_spread(&h->conf->engine) &&
           !sc_board_get(h->board->draining);
}

/** Ask to become its primary. @return 1: it is */
static int take_over(request_rec *r, session_t *s)
{
    sc_change_t change;
    sc_outcome_t outcome;

    describe(s, &change);
    return sc_ask(r, SC_LINK_TAKEOVER, &change, TAKEOVER_TIME, &outcome, &s->wait) == APR_SUCCESS &&
           (outcome == SC_DONE || outcome == SC_DEGRADED);
}

/* The cookie's node may be gone: then the session lives here from now on, and the cookie says so.
 * As long as it is alive the request is only a guest (a retry of the balancer, say); rewriting the
 * cookie would make it bounce. Not so when that node is about to leave or drains, and has handed
 * the session over, or leaves it to this one (is_given_away).
 *
 * With the backup manager each request of a guest costs a question to another node. So when the
 * session turns out to live with a third one (this node was away when that took it over), the
 * cookie names that one. */
static void bind_route(request_rec *r, session_t *s, const sc_stored_t *stored, const char *route)
{
    static const char *const roles[] = {"proxy", "primary", "backup"};
    const sc_httpd_t *h = sc_httpd();
    const char *own = h->conf->engine.route;
    const char *primary = sc_store_route_name(h->store, stored->rec.primary);
    sc_holder_t role = sc_session_role(&stored->rec);
    char masked[SC_ID_MASKED];

    s->role = roles[role];
    s->route = own;
    if (strcmp(route, own) == 0) {
        if (role == SC_HOLDER_NONE && is_alive(primary)) {
            s->route = apr_pstrdup(s->z.pool, primary);
            s->due = COOKIE_SET;
        }
        return;
    }
    if (*own && is_alive(route) && !is_given_away(route, role)) {
        s->route = route;
        return;
    }
    s->due = COOKIE_SET;
    if (!*own) {
        return;
    }
    s->old_route = *route ? route : NULL;
    if (role == SC_HOLDER_PRIMARY) {
        return;
    }
    if (take_over(r, s)) {
        s->role = roles[SC_HOLDER_PRIMARY];
    } else if (is_spread(&h->conf->engine) && is_alive(primary)) {
        s->route = apr_pstrdup(s->z.pool, primary);
        s->old_route = NULL;
        return;
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "SC0203: session %s moves from %s to %s",
                  sc_id_mask(&s->id, masked), *route ? route : "no route", own);
}

static void unknown(request_rec *r, chain_t *chain, session_t *s, const char *why)
{
    char masked[SC_ID_MASKED];

    s->state = SESSION_UNKNOWN;
    s->role = "none";
    if (sc_must_refuse()) {
        sc_refuse(chain, r, why);
    } else {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SC0204: session %s: %s; this request has no session, its cookie stays",
                      sc_id_mask(&s->id, masked), why);
    }
}

static void found(request_rec *r, chain_t *chain, session_t *s, const sc_stored_t *stored,
                  const char *route)
{
    const sc_httpd_t *h = sc_httpd();
    apr_time_t now = sc_mono(&sc_clock_system);
    apr_time_t last = sc_store_last_access(h->store, stored);

    if (sc_session_take(s, stored->body, stored->rec.body_len) != APR_SUCCESS) {
        apr_table_clear(s->z.entries);
        unknown(r, chain, s, "what the store holds of it cannot be read");
        return;
    }
    s->state = SESSION_LOADED;
    if (!filtered(chain->top, sc_config_dir(r))) {
        sc_store_note_access(h->store, stored->cell, stored->gen, now);
    }
    (void)sc_session_arm(r, s, stored->rec.created, last, now);
    bind_route(r, s, stored, route);
    /* as the stock providers do: what is made for one user is not for shared caches; a handler may
     * think otherwise */
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache, private");
}

/* The browser has an id that was changed a moment ago. */
static void begin_old(request_rec *r, chain_t *chain, session_t *s, const sc_cookie_t *cookie)
{
    sc_stored_t stored;

    switch (sc_rotation_reach(r, chain, s, cookie->route, &stored)) {
    case 1:
        if (!sc_httpd()->central) {
            found(r, chain, s, &stored, cookie->route);
        } else if (!sc_central_take(r, s, &stored, cookie->route)) {
            unknown(r, chain, s, "what the store holds of it cannot be read");
            break;
        }
        s->due = COOKIE_SET;
        break;
    case 0:
        s->stale = 1; /* nor is the browser told anything: it may have the new one already */
        break;
    default:
        unknown(r, chain, s, "the other members could not be asked for it in time");
        break;
    }
}

/* The same in a central store. */
static void find_central(request_rec *r, chain_t *chain, session_t *s, const sc_cookie_t *cookie)
{
    apr_time_t start = sc_mono(&sc_clock_system);
    central_found_t result =
        sc_central_load(r, s, cookie->route, filtered(chain->top, sc_config_dir(r)));

    s->wait += sc_mono(&sc_clock_system) - start;
    switch (result) {
    case CENTRAL_FOUND:
        apr_table_setn(r->headers_out, "Cache-Control", "no-cache, private");
        break;
    case CENTRAL_GONE:
        s->due = COOKIE_CLEAR;
        break;
    case CENTRAL_RENAMED:
        begin_old(r, chain, s, cookie);
        break;
    default:
        apr_table_clear(s->z.entries);
        unknown(r, chain, s, "the central store has not answered");
        break;
    }
}

static void find(request_rec *r, chain_t *chain, session_t *s, const sc_cookie_t *cookie)
{
    const sc_httpd_t *h = sc_httpd();
    sc_stored_t stored;
    lookup_t result;

    s->state = SESSION_NEW;
    s->role = "new";
    s->route = h->conf->engine.route;
    s->hint = cookie->hint;
    if (cookie->kind == SC_COOKIE_OURS) {
        s->id = cookie->id;
    }
    if (h->central) {
        if (cookie->kind == SC_COOKIE_OURS) {
            find_central(r, chain, s, cookie);
        }
        return;
    }
    if (!h->store || !h->board || !h->link) {
        unknown(r, chain, s, "there is no engine");
        return;
    }
    if (cookie->kind != SC_COOKIE_OURS) {
        return; /* without a quorum, too: it needs none before something is put into it */
    }
    result = find_out(r, s, chain->top->pool, cookie->route, &stored);
    switch (result) {
    case LOOKUP_HIT:
        found(r, chain, s, &stored, cookie->route);
        break;
    case LOOKUP_GONE:
    case LOOKUP_IDLE:
        s->due = COOKIE_CLEAR;
        break;
    case LOOKUP_RENAMED:
        begin_old(r, chain, s, cookie);
        break;
    case LOOKUP_UNSURE:
        unknown(r, chain, s, "the other members could not be asked for it in time");
        break;
    default:
        s->state = SESSION_UNKNOWN;
        s->role = "none";
        sc_refuse(chain, r, "fewer nodes are alive than SessionClusterQuorum asks for");
        break;
    }
}

/* ---- the hook -------------------------------------------------------------------------------- */

/** The cookie of a name, taken from this request's headers; the first that was taken counts. */
static const sc_cookie_t *take(chain_t *chain, request_rec *r, const char *name)
{
    taken_t *t = chain->taken;
    sc_cookie_t cookie;

    sc_cookie_take(r, name, &cookie);
    while (t && strcmp(t->name, name) != 0) {
        t = t->next;
    }
    if (!t) {
        t = apr_pcalloc(chain->top->pool, sizeof(*t));
        t->name = name;
        t->cookie.route = t->cookie.hint = "";
        t->next = chain->taken;
        chain->taken = t;
    }
    if (t->cookie.kind == SC_COOKIE_NONE) {
        t->cookie = cookie;
        t->cookie.route = apr_pstrdup(chain->top->pool, cookie.route);
        t->cookie.hint = apr_pstrdup(chain->top->pool, cookie.hint);
    }
    return &t->cookie;
}

void sc_session_place(chain_t *chain, session_t *s, const sc_dir_conf_t *dir)
{
    sc_dir_conf_t *copy = apr_pmemdup(chain->top->pool, dir, sizeof(*dir));

    /* names and cookie attributes come from configuration files only and live as long as those */
    if (dir->rotate_attrs) {
        copy->rotate_attrs = apr_array_make(chain->top->pool, 2, sizeof(const char *));
        for (int i = 0; i < dir->rotate_attrs->nelts; i++) {
            APR_ARRAY_PUSH(copy->rotate_attrs, const char *) =
                apr_pstrdup(chain->top->pool, APR_ARRAY_IDX(dir->rotate_attrs, i, const char *));
        }
    }
    copy->filter = NULL;
    s->dir = copy;
}

static session_t *new_session(chain_t *chain, const sc_dir_conf_t *dir, const char *context)
{
    session_t *s = apr_pcalloc(chain->top->pool, sizeof(*s));

    s->z.pool = chain->top->pool;
    s->z.entries = apr_table_make(chain->top->pool, 10);
    s->name = dir->cookie_name;
    s->context = apr_pstrdup(chain->top->pool, context);
    sc_session_place(chain, s, dir);
    s->next = chain->sessions;
    chain->sessions = s;
    return s;
}

int sc_session_load(request_rec *r, session_rec **z)
{
    const sc_dir_conf_t *dir = sc_config_dir(r);
    const sc_cookie_t *cookie;
    const char *context;
    chain_t *chain;
    session_t *s;

    if (!dir->cookie_name) {
        return DECLINED;
    }
    chain = sc_chain(r, 1);
    context = sc_config_context(r, dir);
    cookie = take(chain, r, dir->cookie_name);
    for (s = chain->sessions; s; s = s->next) {
        if (strcmp(s->name, dir->cookie_name) == 0 && strcmp(s->context, context) == 0) {
            break;
        }
    }
    if (!s) {
        s = new_session(chain, dir, context);
        find(r, chain, s, cookie);
    } else if (s->z.expiry && s->z.expiry < apr_time_now()) {
        /* the request takes longer than SessionMaxAge; it began with a good session, and
         * mod_session would empty the record now */
        s->z.expiry = 0;
    }
    sc_session_env(r, s);
    if (s->state == SESSION_UNKNOWN) {
        return APR_EGENERAL;
    }
    *z = &s->z;
    return OK;
}
