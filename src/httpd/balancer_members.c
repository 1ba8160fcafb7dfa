/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Workers of nodes that announce themselves (SessionClusterMembers).
 *
 * mod_proxy keeps what all processes know of a worker in a slot of shared memory, and what one
 * process needs to use it (connections, a resolved address) in an object of its own. It adds
 * workers while it runs, for balancer-manager: a free slot (ProxySet growth=) is filled, and when
 * the balancer's time stamp has moved every child makes its own object for each slot that is new to
 * it. The same is done here, under the balancer's own locks and with its own stamp, so
 * balancer-manager shows these workers, and its changes to them count.
 *
 * mod_proxy never takes a worker away. Here the slots of nodes that are gone for good are used
 * again, or a cluster whose nodes come back at new addresses would run out of them:
 *
 *  - Whose node is gone is marked down as any other worker (balancer.c). When the node is not back
 *    within keep= seconds, or at once when it is back with another URL, the slot is given up: its
 *    hash is cleared, by which mod_proxy knows free slots, and its route, by which it finds
 *    workers. All else stays as it is, for requests that are still using it.
 *  - Each process takes its own object of such a slot out of the list before its next request
 *    looks for a worker (sc_members_sync), and destroys it when nothing uses its connections.
 *  - Only after REST is the slot filled again. Nobody can have the old object in hand then, but for
 *    requests that began before, and these have long chosen.
 *
 * Two functions of mod_proxy are needed that are not optional ones. They are weak references: the
 * loader leaves them NULL when no module that was loaded before has them, also when it binds at
 * once (RTLD_NOW) as httpd does. Then SessionClusterMembers is refused, and all else works without
 * mod_proxy. Both go through the global offset table, so they are looked up anew at each restart,
 * when httpd unloads and loads all modules.
 */

#include "balancer_members.h"

#include "apr_fnmatch.h"
#include "apr_shm.h"

APLOG_USE_MODULE(session_cluster);

/** A count of requests under way that a killed child has left behind is not waited for longer. */
#define BUSY_MAX apr_time_from_sec(600)

/** The nodes of a view that are to be workers of one balancer. */
typedef struct wish_t {
    const sc_board_member_t *member[SC_MEMBERS_MAX];
    int n;
    const sc_board_member_t *twice; /**< announces what another one does; NULL: nobody */
} wish_t;
/* ---- what all processes share -----------------------------------------------------------------
 */

/* All processes have to look again. */
static void stamp(managed_t *m)
{
    apr_time_t now = apr_time_now();
    apr_time_t was = __atomic_load_n(&m->b->s->wupdated, __ATOMIC_RELAXED);

    __atomic_store_n(&m->b->s->wupdated, now > was ? now : was + 1, __ATOMIC_RELEASE);
}

/* As mod_proxy does once, at the start of a child, when there are few workers or none yet. */
static void set_attempts(managed_t *m)
{
    int n = 0;

    for (int i = 0; i < m->b->max_workers; i++) {
        n += sc_slot_taken(sc_slot_at(m, i));
    }
    for (int i = 0; !m->attempts_fixed && i < m->sharers->nelts; i++) {
        proxy_balancer_shared *s = APR_ARRAY_IDX(m->sharers, i, proxy_balancer *)->s;

        s->max_attempts = n > 1 ? n - 1 : 0;
        if (!s->max_attempts_set) {
            s->max_attempts_set = 1;
        }
    }
}
void sc_members_sync(sc_members_t *members)
{
    for (int i = 0; members && i < members->managed->nelts; i++) {
        managed_t *m = &APR_ARRAY_IDX(members->managed, i, managed_t);

        if (m->shared && __atomic_load_n(&m->b->s->wupdated, __ATOMIC_ACQUIRE) !=
                             __atomic_load_n(&m->synced, __ATOMIC_ACQUIRE)) {
            sc_workers_lock(m);
            sc_workers_follow(m);
            sc_workers_unlock(m);
        }
    }
}
/* ---- who is to be a worker --------------------------------------------------------------------
 */

/* Of several lives of one route the newest counts, as everywhere (sc_standing). */
static int is_wanted(const managed_t *m, const sc_view_t *view, const sc_board_member_t *b)
{
    const sc_members_line_t *line = m->line;
    const sc_board_member_t *alive = NULL;

    return b->role == SC_ROLE_NODE && !b->foreign && b->state != SC_MEMBER_GONE && b->route[0] &&
           b->url[0] && (!line->route[0] || apr_fnmatch(line->route, b->route, 0) == APR_SUCCESS) &&
           (!line->url[0] || apr_fnmatch(line->url, b->url, 0) == APR_SUCCESS) &&
           sc_standing(view, b->route, &alive) != STANDING_UNKNOWN && alive == b;
}

static const sc_board_member_t *wished_url(const wish_t *wish, const char *url)
{
    for (int i = 0; i < wish->n; i++) {
        if (strcmp(wish->member[i]->url, url) == 0) {
            return wish->member[i];
        }
    }
    return NULL;
}

static const sc_board_member_t *wished_route(const wish_t *wish, const char *route)
{
    for (int i = 0; i < wish->n; i++) {
        if (strcmp(wish->member[i]->route, route) == 0) {
            return wish->member[i];
        }
    }
    return NULL;
}

static const proxy_worker *worker_at(const managed_t *m, const char *url)
{
    for (int i = 0; i < m->b->workers->nelts; i++) {
        const proxy_worker *w = APR_ARRAY_IDX(m->b->workers, i, const proxy_worker *);

        if (strcmp(SC_WORKER_NAME(w->s), url) == 0) {
            return w;
        }
    }
    return NULL;
}

/* Of two nodes that announce one URL: the one whose worker it is, else the one that came first. */
static int has_right(const managed_t *m, const sc_board_member_t *b, const sc_board_member_t *other)
{
    const proxy_worker *w = worker_at(m, b->url);

    if (w && strcmp(w->s->route, other->route) == 0) {
        return 0;
    }
    return (w && strcmp(w->s->route, b->route) == 0) || b->since < other->since;
}

static void wish_for(const managed_t *m, wish_t *wish, const sc_board_member_t *b)
{
    for (int i = 0; i < wish->n; i++) {
        const sc_board_member_t *other = wish->member[i];

        if (strcmp(other->url, b->url) == 0) {
            int right = has_right(m, b, other);

            wish->member[i] = right ? b : other;
            wish->twice = right ? other : b;
            return;
        }
    }
    wish->member[wish->n++] = b;
}

static void collect(const managed_t *m, const sc_view_t *view, wish_t *wish)
{
    wish->n = 0;
    wish->twice = NULL;
    for (apr_uint32_t i = 0; i < view->count; i++) {
        if (is_wanted(m, view, &view->member[i])) {
            wish_for(m, wish, &view->member[i]);
        }
    }
}

/* What stands in the configuration, or was added by an administrator, has the right of way. */
static int is_placed(const managed_t *m, const sc_board_member_t *b)
{
    for (int i = 0; i < m->b->workers->nelts; i++) {
        const proxy_worker *w = APR_ARRAY_IDX(m->b->workers, i, const proxy_worker *);

        if (!sc_slot_ours(w->s) && strcmp(w->s->route, b->route) == 0) {
            return 1;
        }
    }
    return worker_at(m, b->url) != NULL;
}

/* One that is about to leave is too late; one that has just begun comes soon. */
static int may_join(const sc_board_member_t *b)
{
    return b->state == SC_MEMBER_ALIVE &&
           (b->node_state == SC_NODE_JOINING || sc_node_complete(b->node_state));
}

static int has_handler(const char *url)
{
    static const char *const of[][2] = {{"http:", "mod_proxy_http.c"},
                                        {"https:", "mod_proxy_http.c"},
                                        {"ajp:", "mod_proxy_ajp.c"},
                                        {"h2:", "mod_proxy_http2.c"},
                                        {"h2c:", "mod_proxy_http2.c"}};

    for (apr_size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        if (strncmp(url, of[i][0], strlen(of[i][0])) == 0) {
            return ap_find_linked_module(of[i][1]) != NULL;
        }
    }
    return 0;
}

static apr_uint32_t announced(const sc_board_member_t *b)
{
    return 1u << 16 | (b->weight ? b->weight : 1) << 8 | b->lbset;
}

standing_t sc_members_standing(const sc_members_t *members, const proxy_balancer *b,
                               const proxy_worker *w, const sc_view_t *view,
                               const sc_board_member_t **alive)
{
    standing_t is = sc_standing(view, w->s->route, alive);

    for (int i = 0; members && sc_slot_ours(w->s) && i < members->managed->nelts; i++) {
        const managed_t *m = &APR_ARRAY_IDX(members->managed, i, const managed_t);

        if (m->b->workers == b->workers && (!*alive || !is_wanted(m, view, *alive) ||
                                            strcmp((*alive)->url, SC_WORKER_NAME(w->s)) != 0)) {
            *alive = NULL;
            return STANDING_GONE;
        }
    }
    return is;
}

/* ---- changes, with all locks of this process and the balancer's global one held ---------------
 */

static void set_parameters(const managed_t *m, proxy_worker *w, const sc_board_member_t *b)
{
    const sc_members_line_t *line = m->line;

    w->s->status = 0;
    PROXY_COPY_CONF_PARAMS(w, m->conf);
    apr_cpystrn(w->s->route, b->route, sizeof(w->s->route));
    w->s->lbfactor = 100 * (int)(b->weight ? b->weight : 1);
    w->s->lbset = (int)b->lbset;
    if (line->connect_ms) {
        w->s->conn_timeout = apr_time_from_msec(line->connect_ms);
        w->s->conn_timeout_set = 1;
    }
    if (line->timeout_ms) {
        w->s->timeout = apr_time_from_msec(line->timeout_ms);
        w->s->timeout_set = 1;
    }
    if (line->retry_ms) {
        w->s->retry = apr_time_from_msec(line->retry_ms);
        w->s->retry_set = 1;
    }
    if (line->ping_ms) {
        w->s->ping_timeout = apr_time_from_msec(line->ping_ms);
        w->s->ping_timeout_set = 1;
    }
    if (line->disable_reuse) {
        w->s->disablereuse = 1;
        w->s->disablereuse_set = 1;
    }
    w->s->context = SC_SLOT_MARK;
    w->s->updated = apr_time_now();
}

static int free_slot(const managed_t *m)
{
    for (int i = 0; i < m->b->max_workers; i++) {
        if (sc_slot_at(m, i) && !sc_slot_taken(sc_slot_at(m, i)) && !m->shared->note[i].rests) {
            return i;
        }
    }
    return -1;
}

/* The hash comes last: until then other processes take the slot for a free one. */
static apr_status_t fill(managed_t *m, int i, local_t *l)
{
    proxy_worker_shared *shm = sc_slot_at(m, i);
    proxy_worker *w = l->worker;
    proxy_hashes hash = w->s->hash;
    apr_status_t rv = m->b->storage->fgrab(m->b->wslot, (unsigned int)i);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    memset(&w->s->hash, 0, sizeof(w->s->hash));
    w->s->index = i;
    memcpy(shm, w->s, m->b->storage->slot_size(m->b->wslot));
    w->s = shm;
    rv = ap_proxy_initialize_worker(w, m->server, l->pool);
    if (rv != APR_SUCCESS) {
        (void)m->b->storage->release(m->b->wslot, (unsigned int)i);
        return rv;
    }
    shm->hash.fnv = hash.fnv;
    __atomic_store_n(&shm->hash.def, hash.def, __ATOMIC_RELEASE);
    return APR_SUCCESS;
}

static int add(managed_t *m, const sc_board_member_t *b)
{
    int i = free_slot(m);
    local_t *l = sc_worker_define(m, b->url);
    apr_status_t rv;

    if (!l) {
        return 0;
    }
    set_parameters(m, l->worker, b);
    rv = fill(m, i, l);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, m->server, "SC0708: %s: worker %s cannot be used",
                     m->b->s->name, b->url);
        apr_pool_destroy(l->pool);
        return 0;
    }
    m->shared->note[i].announced = announced(b);
    m->shared->note[i].absent = 0;
    m->shared->added++;
    sc_worker_enter(m, l);
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, m->server,
                 "SC0709: %s: member %s has announced itself and is a worker now: %s",
                 m->b->s->name, b->route, b->url);
    return 1;
}

static void give_up(managed_t *m, proxy_worker_shared *shm, int i, apr_time_t mono)
{
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, m->server,
                 "SC0710: %s: %s, worker of member %s, is given up", m->b->s->name,
                 SC_WORKER_NAME(shm), shm->route);
    (void)__atomic_fetch_or(&shm->status, PROXY_WORKER_HC_FAIL, __ATOMIC_ACQ_REL);
    shm->route[0] = '\0';
    __atomic_store_n(&shm->hash.def, 0, __ATOMIC_RELEASE);
    shm->hash.fnv = 0;
    m->shared->note[i].rests = mono + SC_SLOT_REST;
    m->shared->removed++;
}

/* What the node says counts when it says something new; else the administrator may have changed
 * it. */
static void take_over(managed_t *m, proxy_worker_shared *shm, note_t *note,
                      const sc_board_member_t *b)
{
    if (strcmp(shm->route, b->route) != 0) {
        apr_cpystrn(shm->route, b->route, sizeof(shm->route));
    }
    if (note->announced && note->announced != announced(b)) {
        shm->lbfactor = 100 * (int)(b->weight ? b->weight : 1);
        shm->lbset = (int)b->lbset;
        m->b->s->need_reset = 1;
    }
    note->announced = announced(b);
    note->absent = 0;
}

/* @param sure 0: who is not in the view may be there nevertheless
 * @return 1: the list of workers has changed */
static int review(managed_t *m, int i, const wish_t *wish, int sure, apr_time_t mono)
{
    proxy_worker_shared *shm = sc_slot_at(m, i);
    note_t *note = &m->shared->note[i];
    const sc_board_member_t *b;
    apr_time_t keep = apr_time_from_msec(m->line->keep_ms);
    apr_time_t absent;

    if (note->rests && note->rests <= mono) {
        note->rests = 0;
        shm->context = NULL;
        (void)m->b->storage->release(m->b->wslot, (unsigned int)i);
    }
    if (!sc_slot_ours(shm) || shm->method != NONE) {
        return 0;
    }
    b = wished_url(wish, SC_WORKER_NAME(shm));
    if (b) {
        take_over(m, shm, note, b);
        return 0;
    }
    if (!sure) {
        return 0;
    }
    note->absent = note->absent ? note->absent : mono;
    absent = mono - note->absent;
    if ((absent >= keep || wished_route(wish, shm->route)) &&
        (shm->busy == 0 || absent >= keep + BUSY_MAX)) {
        give_up(m, shm, i, mono);
        return 1;
    }
    return 0;
}

/* With the locks of this process; what others may do at the same time is found out again. */
static int is_due(const managed_t *m, const wish_t *wish, int sure, apr_time_t mono)
{
    for (int i = 0; i < m->b->max_workers; i++) {
        const proxy_worker_shared *shm = sc_slot_at(m, i);
        const note_t *note = &m->shared->note[i];
        const sc_board_member_t *b;

        if (note->rests && note->rests <= mono) {
            return 1;
        }
        if (sc_slot_ours(shm)) {
            b = wished_url(wish, SC_WORKER_NAME(shm));
            if (b ? note->absent || note->announced != announced(b) ||
                        strcmp(shm->route, b->route) != 0
                  : sure) {
                return 1;
            }
        }
    }
    for (int i = 0; i < wish->n; i++) {
        if (may_join(wish->member[i]) && !is_placed(m, wish->member[i])) {
            return 1;
        }
    }
    return 0;
}

static int join(managed_t *m, const sc_board_member_t *b, apr_time_t mono)
{
    if (!may_join(b) || is_placed(m, b)) {
        return 0;
    }
    if (!has_handler(b->url)) {
        if (sc_members_may_log(&m->shared->next_scheme, mono)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, m->server,
                         "SC0711: %s: member %s announces %s, and the module of mod_proxy for that "
                         "is not loaded",
                         m->b->s->name, b->route, b->url);
        }
        return 0;
    }
    if (free_slot(m) < 0) {
        if (sc_members_may_log(&m->shared->next_full, mono)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, m->server,
                         "SC0712: %s: no place is left for member %s (%s); ProxySet growth= says "
                         "how many workers there may be besides those of the configuration",
                         m->b->s->name, b->route, b->url);
        }
        return 0;
    }
    return add(m, b);
}

static void change(managed_t *m, const wish_t *wish, int sure, apr_time_t mono)
{
    int changed = 0;

    sc_workers_follow(m); /* another process may have done it meanwhile */
    for (int i = 0; i < m->b->max_workers; i++) {
        changed |= review(m, i, wish, sure, mono);
    }
    for (int i = 0; i < wish->n; i++) {
        changed |= join(m, wish->member[i], mono);
    }
    if (changed) {
        set_attempts(m);
        stamp(m);
        sc_workers_follow(m);
    }
}

/* The global lock is only tried: who has it does the same, or the next walk will. When no member is
 * left nobody is given up: it is rather this httpd that has lost the cluster's network, and then
 * the workers are all that there is to try. */
void sc_members_walk(sc_members_t *members, const sc_view_t *view, apr_time_t mono,
                     int main_request)
{
    wish_t wish;

    for (int i = 0; members && i < members->managed->nelts; i++) {
        managed_t *m = &APR_ARRAY_IDX(members->managed, i, managed_t);

        if (!m->shared) {
            continue;
        }
        sc_workers_lock(m);
        collect(m, view, &wish);
        if (wish.twice && sc_members_may_log(&m->shared->next_twice, mono)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, m->server,
                         "SC0717: %s: member %s announces %s, as another one does; one of them is "
                         "left out",
                         m->b->s->name, wish.twice->route, wish.twice->url);
        }
        if (main_request) {
            sc_workers_reap(m, mono);
        }
        if (is_due(m, &wish, wish.n > 0, mono) &&
            (!m->b->gmutex || apr_global_mutex_trylock(m->b->gmutex) == APR_SUCCESS)) {
            change(m, &wish, wish.n > 0, mono);
            (void)PROXY_GLOBAL_UNLOCK(m->b);
        }
        sc_workers_unlock(m);
    }
}

/* ---- start ------------------------------------------------------------------------------------
 */

static managed_t *same_list(sc_members_t *members, const proxy_balancer *b)
{
    for (int i = 0; i < members->managed->nelts; i++) {
        managed_t *m = &APR_ARRAY_IDX(members->managed, i, managed_t);

        if (m->b->workers == b->workers) {
            return m;
        }
    }
    return NULL;
}

static void manage(sc_members_t *members, const sc_members_line_t *line, server_rec *s,
                   proxy_server_conf *conf, proxy_balancer *b, apr_pool_t *p)
{
    managed_t *m = same_list(members, b);

    if (!m) {
        m = apr_array_push(members->managed);
        memset(m, 0, sizeof(*m));
        m->line = line;
        m->b = b;
        m->conf = conf;
        m->server = s;
        m->nstatic = b->workers->nelts;
        m->attempts_fixed = b->s->max_attempts_set;
        m->sharers = apr_array_make(p, 2, sizeof(proxy_balancer *));
    }
    APR_ARRAY_PUSH(m->sharers, proxy_balancer *) = b;
}

static int find_balancers(sc_members_t *members, const sc_members_line_t *line, server_rec *s,
                          apr_pool_t *p)
{
    int found = 0;

    for (; s; s = s->next) {
        proxy_server_conf *conf = ap_get_module_config(s->module_config, members->proxy);

        for (int i = 0; conf && i < conf->balancers->nelts; i++) {
            proxy_balancer *b = &APR_ARRAY_IDX(conf->balancers, i, proxy_balancer);

            if (strcmp(b->s->name, line->balancer) == 0) {
                if (b->growth <= 0) {
                    ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s,
                                 "SC0713: SessionClusterMembers %s: there is no place for members; "
                                 "say in <Proxy %s> how many there may be, for instance ProxySet "
                                 "growth=16",
                                 line->balancer, line->balancer);
                    return -1;
                }
                manage(members, line, s, conf, b, p);
                found++;
            }
        }
    }
    return found;
}

int sc_members_check(sc_members_t **members, module *proxy, server_rec *s, apr_pool_t *p)
{
    const sc_server_conf_t *conf = sc_httpd()->conf;
    const char *wrong = NULL;
    int rv = OK;

    *members = NULL;
    if (!conf || conf->members->nelts == 0) {
        return OK;
    }
    if (!proxy || !ap_find_linked_module("mod_proxy_balancer.c")) {
        wrong = "LoadModule proxy_module and proxy_balancer_module first";
    } else if (!ap_proxy_define_worker || !ap_proxy_initialize_worker) {
        wrong = "move the LoadModule line of proxy_module before that of session_cluster_module";
    }
    if (wrong) {
        ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s,
                     "SC0714: SessionClusterMembers needs mod_proxy_balancer: %s", wrong);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    *members = apr_pcalloc(p, sizeof(**members));
    (*members)->proxy = proxy;
    (*members)->managed = apr_array_make(p, 4, sizeof(managed_t));
    for (int i = 0; i < conf->members->nelts; i++) {
        const sc_members_line_t *line = APR_ARRAY_IDX(conf->members, i, sc_members_line_t *);
        int found = find_balancers(*members, line, s, p);

        if (found == 0) {
            ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s,
                         "SC0715: SessionClusterMembers %s: there is no such balancer; make it: "
                         "<Proxy %s> with ProxySet lbmethod=bysession growth=16",
                         line->balancer, line->balancer);
        }
        if (found <= 0) {
            rv = HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return rv;
}

/* What BalancerPersist has brought back: slots that are in use and look free to mod_proxy, counts
 * of requests that ended with the processes that served them, workers that are in the configuration
 * now. */
static void settle(managed_t *m)
{
    for (int i = 0; i < m->b->max_workers; i++) {
        proxy_worker_shared *shm = sc_slot_at(m, i);

        if (sc_slot_taken(shm)) {
            (void)m->b->storage->fgrab(m->b->wslot, (unsigned int)i);
            shm->busy = 0;
        } else if (shm) {
            shm->context = NULL;
        }
    }
    for (int i = 0; i < m->nstatic && i < m->b->workers->nelts; i++) {
        proxy_worker *w = APR_ARRAY_IDX(m->b->workers, i, proxy_worker *);

        if (w->s->context == SC_SLOT_MARK) {
            w->s->context = NULL;
        }
    }
    set_attempts(m);
}

/* Who was a member before a restart is a worker before the first child begins: its requests must
 * not find an empty balancer while one of them fills it. */
static void take_known(managed_t *m, const sc_view_t *view)
{
    wish_t wish;

    collect(m, view, &wish);
    change(m, &wish, 0, sc_mono(&sc_clock_system));
}

void sc_members_ready(sc_members_t *members, const sc_view_t *view, apr_pool_t *p)
{
    for (int i = 0; members && i < members->managed->nelts; i++) {
        managed_t *m = &APR_ARRAY_IDX(members->managed, i, managed_t);
        apr_array_header_t *workers = m->b->workers;
        int n = workers->nelts;
        apr_size_t bytes;
        apr_shm_t *shm;
        apr_status_t rv;

        if (!m->b->storage || !m->b->wslot) {
            continue; /* the first of the two passes of a start */
        }
        bytes = sizeof(shared_t) + (apr_size_t)m->b->max_workers * sizeof(note_t);
        rv = apr_shm_create(&shm, bytes, NULL, p);
        if (rv != APR_SUCCESS) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, m->server,
                         "SC0716: no shared memory for the members of %s; none will be added",
                         m->b->s->name);
            continue;
        }
        /* room for all that there can be, so that the list never moves while requests read it */
        while (workers->nelts < 2 * m->b->max_workers) {
            (void)apr_array_push(workers);
        }
        workers->nelts = n;
        m->shared = apr_shm_baseaddr_get(shm);
        memset(m->shared, 0, bytes);
        settle(m);
        m->synced = m->b->s->wupdated;
        if (view) {
            take_known(m, view);
        }
    }
}

/* ---- status -----------------------------------------------------------------------------------
 */

int sc_members_info(const sc_members_t *members, int i, const sc_view_t *view,
                    sc_members_info_t *out)
{
    const managed_t *m;
    wish_t wish;

    if (!members || i >= members->managed->nelts) {
        return 0;
    }
    m = &APR_ARRAY_IDX(members->managed, i, const managed_t);
    memset(out, 0, sizeof(*out));
    out->name = m->b->s->name;
    out->places = m->b->growth;
    if (!m->shared) {
        return 1;
    }
    sc_workers_lock(m);
    collect(m, view, &wish);
    for (int k = 0; k < m->b->max_workers; k++) {
        out->members += sc_slot_ours(sc_slot_at(m, k));
        out->resting += m->shared->note[k].rests != 0;
    }
    for (int k = 0; k < wish.n; k++) {
        out->waiting += may_join(wish.member[k]) && !is_placed(m, wish.member[k]);
    }
    sc_workers_unlock(m);
    out->added = __atomic_load_n(&m->shared->added, __ATOMIC_RELAXED);
    out->removed = __atomic_load_n(&m->shared->removed, __ATOMIC_RELAXED);
    return 1;
}
