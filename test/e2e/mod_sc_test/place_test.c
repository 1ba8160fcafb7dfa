/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Which worker balancer_place.c chooses, without a server: a store, a view and workers made by
 * hand, one check after the other. Says each one that fails; the exit code is their number.
 *
 * Built by test_place.py from this file, src/httpd/balancer_place.c, src/store and src/base.
 */
#include <stdio.h>

#include "balancer.h"
#include "sc_placement.h"

#define ID "0123456789ABCDEF0123456789ABCDEF"

module AP_MODULE_DECLARE_DATA session_cluster_module;

static sc_httpd_t self;
static sc_server_conf_t conf;
static int failures;

sc_httpd_t *sc_httpd(void)
{
    return &self;
}

/* ---- the rig --------------------------------------------------------------------------------- */

#define WORKERS 5

typedef struct rig_t {
    apr_pool_t *pool;
    proxy_balancer balancer;
    proxy_balancer_shared shared;
    proxy_worker worker[WORKERS];
    proxy_worker_shared state[WORKERS];
    sc_view_t view;
    request_rec r;
    attempts_t *a; /* of the request */
} rig_t;

static const char *const names[WORKERS] = {"n1", "n2", "n3", "n4", "n5"};

/* Five nodes, all alive and ready, their workers usable; nothing known of any session. */
static rig_t *rig_make(apr_pool_t *parent)
{
    rig_t *g = apr_pcalloc(parent, sizeof(*g));

    g->pool = parent;
    memset(&conf, 0, sizeof(conf));
    sc_config_defaults(&conf.engine);
    conf.engine.role = SC_ROLE_BALANCER;
    self.conf = &conf;
    if (sc_store_create(&self.store, SC_STORE_MIN, g->pool) != APR_SUCCESS) {
        exit(100);
    }
    self.board = sc_store_board(self.store);
    g->balancer.s = &g->shared;
    g->balancer.workers = apr_array_make(g->pool, WORKERS, sizeof(proxy_worker *));
    for (int i = 0; i < WORKERS; i++) {
        g->worker[i].s = &g->state[i];
        g->state[i].status = PROXY_WORKER_INITIALIZED;
        apr_cpystrn(g->state[i].route, names[i], sizeof(g->state[i].route));
        APR_ARRAY_PUSH(g->balancer.workers, proxy_worker *) = &g->worker[i];
        apr_cpystrn(g->view.member[i].route, names[i], sizeof(g->view.member[i].route));
        g->view.member[i].node_state = SC_NODE_READY;
    }
    g->view.count = WORKERS;
    g->r.pool = g->pool;
    g->r.headers_in = apr_table_make(g->pool, 2);
    return g;
}

static const char *choose_away(rig_t *g, const ticket_t *t, away_t away)
{
    static const char *const why[] = {
#define NAME(upper, lower) #lower,
        CHOICES(NAME)
#undef NAME
    };
    choice_t how = CHOICE_REFUSED;
    proxy_worker *w;

    if (self.board) {
        sc_board_publish(self.board, &g->view);
    }
    g->a = apr_pcalloc(g->pool, sizeof(*g->a));
    g->a->r = &g->r;
    g->a->away = away;
    w = sc_place(&g->balancer, g->a, t, NULL, &how);
    return w ? apr_pstrcat(g->pool, w->s->route, " ", why[how], NULL) : "-";
}

static ticket_t ticket_of(const char *id, const char *route)
{
    ticket_t t = {.id = id, .id_len = strlen(id), .route = route};

    t.ours = sc_id_parse(&t.key, id, t.id_len) == APR_SUCCESS;
    return t;
}

/* A new request; @return the route chosen, "-" for none, and why, with a blank between */
static const char *choose(rig_t *g, const char *id, const char *route)
{
    ticket_t t = ticket_of(id, route);

    return choose_away(g, &t, AWAY_NOT);
}

/* The same from a cookie, as it comes. */
static const char *choose_by(rig_t *g, const char *cookie)
{
    ticket_t t;

    apr_cpystrn(g->shared.sticky, "SID", sizeof(g->shared.sticky));
    g->shared.sticky_separator = '.';
    apr_table_setn(g->r.headers_in, "Cookie", apr_pstrcat(g->pool, "SID=", cookie, NULL));
    if (!sc_ticket_take(&t, &g->shared, &g->r, "balancer://x/")) {
        return "no ticket";
    }
    return choose_away(g, &t, AWAY_NOT);
}

static void locate_in(const char *context, const char *id, const char *primary,
                      const char *const *backups, int flags)
{
    sc_record_t rec;

    memset(&rec, 0, sizeof(rec));
    if (sc_store_context(self.store, context, strlen(context), 1, &rec.context) != APR_SUCCESS ||
        sc_id_parse(&rec.id, id, strlen(id)) != APR_SUCCESS) {
        exit(101);
    }
    if (primary) {
        (void)sc_store_route(self.store, primary, strlen(primary), 1, &rec.primary);
    }
    for (int i = 0; backups && backups[i]; i++) {
        (void)sc_store_route(self.store, backups[i], strlen(backups[i]), 1, &rec.backups[i]);
    }
    rec.flags = (apr_uint16_t)flags;
    if (sc_store_put(self.store, &rec, NULL, 0) != APR_SUCCESS) {
        exit(102);
    }
}

static void locate(const char *primary, const char *const *backups)
{
    locate_in("app", ID, primary, backups, SC_REC_PROXY);
}

static void expect(const char *what, const char *got, const char *want)
{
    if (strcmp(got, want) != 0) {
        failures++;
        printf("%s: \"%s\" instead of \"%s\"\n", what, got, want);
    }
}

/* The order in which nodes would choose backups for ID, primary n1. */
static void backups_of_n1(const rig_t *g, const char *order[WORKERS])
{
    sc_candidate_t c[WORKERS];
    apr_size_t chosen[WORKERS], n;

    for (int i = 0; i < WORKERS; i++) {
        c[i].route = names[i];
        c[i].domain = g->view.member[i].domain;
        order[i] = NULL;
    }
    n = sc_placement_backups(sc_placement_seed(ID, SC_ID_HEX), &c[0], c, WORKERS, WORKERS, chosen);
    for (apr_size_t i = 0; i < n; i++) {
        order[i] = names[chosen[i]];
    }
}

static int number(const char *route)
{
    return route[1] - '1';
}

static const char *by(apr_pool_t *p, const char *route, const char *how)
{
    return apr_pstrcat(p, route, " ", how, NULL);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static void recorded(rig_t *g)
{
    static const char *const two[] = {"n4", "n3", NULL};

    locate("n1", two);
    expect("the primary is dead: first backup", choose(g, ID, "n1"), "n4 backup");
    g->state[3].status |= PROXY_WORKER_IN_ERROR;
    expect("its worker is in error: second backup", choose(g, ID, "n1"), "n3 backup");
    g->state[3].status &= ~PROXY_WORKER_IN_ERROR;
    expect("another than the cookie's is primary", choose(g, ID, "n2"), "n1 primary");
    expect("no route in the cookie", choose(g, ID, NULL), "n1 primary");
    g->view.member[0].state = SC_MEMBER_GONE;
    expect("the primary is gone", choose(g, ID, "n2"), "n4 backup");
    g->view.member[3].node_state = SC_NODE_MINORITY;
    expect("the backup is in a minority", choose(g, ID, "n2"), "n3 backup");
    g->view.member[3].node_state = SC_NODE_LEAVING;
    expect("the backup is about to leave", choose(g, ID, "n2"), "n3 backup");
    g->view.member[3].node_state = SC_NODE_JOINING;
    expect("the backup has not all others' sessions yet", choose(g, ID, "n2"), "n4 backup");
    g->view.member[3].state = SC_MEMBER_GONE;
    g->state[2].status |= PROXY_WORKER_DRAIN;
    expect("the backup is draining", strchr(choose(g, ID, "n2"), ' '), " placement");
}

static void recorded_and_tried(rig_t *g)
{
    static const char *const two[] = {"n4", "n3", NULL};
    ticket_t t = ticket_of(ID, "n1");
    choice_t how;

    locate("n1", two);
    (void)choose(g, ID, "n1");
    sc_attempts_note(g->a, &g->worker[3]);
    expect("tried before in this request", sc_place(&g->balancer, g->a, &t, NULL, &how)->s->route,
           "n3");
}

static void configuration_first(rig_t *g)
{
    static const char *const one[] = {"n4", NULL};

    locate("n1", one);
    g->state[3].lbset = 1;
    expect("a higher lbset", strchr(choose(g, ID, "n1"), ' '), " placement");
    g->state[3].lbset = 0;
    g->state[3].status |= PROXY_WORKER_HOT_STANDBY;
    expect("a standby", strchr(choose(g, ID, "n1"), ' '), " placement");
    for (int i = 1; i < WORKERS; i++) {
        g->state[i].status |= i == 3 ? 0 : PROXY_WORKER_IN_ERROR;
    }
    expect("a standby when nobody else is left", choose(g, ID, "n1"), "n4 backup");
    g->state[3].status |= PROXY_WORKER_HC_FAIL;
    expect("nobody", choose(g, ID, "n1"), "-");
}

static void what_is_no_location(rig_t *g)
{
    static const char *const one[] = {"n5", NULL};
    const char *order[WORKERS];

    backups_of_n1(g, order);
    expect("nothing told", choose(g, ID, "n1"), by(g->pool, order[0], "placement"));
    locate_in("app", ID, NULL, NULL, SC_REC_TOMBSTONE);
    expect("a dead session", choose(g, ID, "n1"), by(g->pool, order[0], "placement"));
    locate_in("shop", ID, "n1", one, SC_REC_PROXY);
    expect("dead in one context, alive in another", choose(g, ID, "n1"), "n5 backup");
    expect("an id that is not ours",
           strchr(choose(g, "0123456789abcdef0123456789abcdef", "n1"), ' '), " placement");
    expect("a long one", strchr(choose(g, ID "0", "n1"), ' '), " placement");
    expect("a short one", strchr(choose(g, "A", "n1"), ' '), " placement");
    locate_in("app", ID, "nobody", NULL, SC_REC_PROXY);
    expect("a member that nobody knows", choose(g, ID, "n1"), by(g->pool, order[0], "placement"));
    locate("n4", one);
    conf.engine.role = SC_ROLE_NODE;
    expect("what other front ends of a delta cluster cannot know", choose(g, ID, "n1"),
           by(g->pool, order[0], "placement"));
    conf.engine.manager = SC_MANAGER_BACKUP;
    expect("node and balancer in one", choose(g, ID, "n1"), "n4 primary");
    self.store = NULL;
    expect("no store", choose(g, ID, "n1"), by(g->pool, order[0], "placement"));
}

static void as_the_nodes_choose(rig_t *g)
{
    const char *order[WORKERS];

    backups_of_n1(g, order);
    g->view.member[0].state = SC_MEMBER_GONE;
    expect("first", choose(g, ID, "n1"), by(g->pool, order[0], "placement"));
    g->view.member[number(order[0])].state = SC_MEMBER_GONE;
    expect("second", choose(g, ID, "n1"), by(g->pool, order[1], "placement"));
    g->view.member[number(order[1])].flags = SC_MEMBER_NO_BACKUPS;
    expect("not one that holds no backups", choose(g, ID, "n1"),
           by(g->pool, order[2], "placement"));
    g->view.member[number(order[2])].node_state = SC_NODE_JOINING;
    expect("not one that has only begun", choose(g, ID, "n1"), by(g->pool, order[3], "placement"));
    g->view.member[number(order[3])].node_state = SC_NODE_MINORITY;
    expect("before one that has only begun: one without backups", choose(g, ID, "n1"),
           by(g->pool, order[1], "placement"));
    g->state[number(order[1])].status |= PROXY_WORKER_STOPPED;
    expect("one that has only begun", choose(g, ID, "n1"), by(g->pool, order[2], "placement"));
    g->state[number(order[2])].status |= PROXY_WORKER_STOPPED;
    expect("nobody that serves", choose(g, ID, "n1"), "-");
}

static void racks(rig_t *g)
{
    const char *order[WORKERS], *spread[WORKERS];

    backups_of_n1(g, order);
    /* the dead one shares its rack with the first and the second choice */
    for (int i = 0; i < WORKERS; i++) {
        apr_cpystrn(g->view.member[i].domain, "blue", sizeof(g->view.member[i].domain));
    }
    apr_cpystrn(g->view.member[number(order[2])].domain, "red",
                sizeof(g->view.member[number(order[2])].domain));
    g->view.member[0].state = SC_MEMBER_GONE;
    backups_of_n1(g, spread);
    expect("racks make a difference here", spread[0], order[2]);
    expect("another rack than that of the dead one", choose(g, ID, "n1"),
           by(g->pool, order[2], "placement"));
    g->view.member[number(order[2])].state = SC_MEMBER_GONE;
    expect("no other rack left", choose(g, ID, "n1"), by(g->pool, order[0], "placement"));
}

static void set_domain(rig_t *g, const char *route, const char *domain)
{
    sc_board_member_t *m = &g->view.member[number(route)];

    apr_cpystrn(m->domain, domain, sizeof(m->domain));
}

static void racks_of_those_that_count(rig_t *g)
{
    const char *order[WORKERS];

    backups_of_n1(g, order);
    set_domain(g, "n1", "blue");
    set_domain(g, order[0], "red");
    set_domain(g, order[1], "red");
    set_domain(g, order[2], "green");
    g->view.member[number(order[0])].node_state = SC_NODE_JOINING;
    expect("one that has only begun uses up no rack", choose(g, ID, "n1"),
           by(g->pool, order[1], "placement"));
}

/* A balancer that follows nodes and Tomcats. */
static void two_clusters(rig_t *g)
{
    const char *order[WORKERS];

    backups_of_n1(g, order);
    set_domain(g, "n1", "blue");
    set_domain(g, order[0], "red");
    set_domain(g, order[1], "red");
    set_domain(g, order[2], "green");
    g->view.member[number(order[0])].foreign = 1;
    g->view.member[number(order[3])].foreign = 1;
    expect("a node's session: no Tomcat, and none uses up a rack", choose(g, ID, "n1"),
           by(g->pool, order[1], "placement"));
    expect("a Tomcat's: the other one", choose(g, ID, order[0]),
           by(g->pool, order[3], "placement"));
    g->view.member[number(order[3])].state = SC_MEMBER_GONE;
    expect("no other Tomcat is left", strchr(choose(g, ID, order[0]), ' '), " placement");
    g->view.member[number(order[0])].state = SC_MEMBER_GONE;
    expect("as long as the view remembers it", choose(g, ID, "n1"),
           by(g->pool, order[1], "placement"));
}

static void hinted(rig_t *g)
{
    static const char *const one[] = {"n4", NULL};
    const char *order[WORKERS];

    backups_of_n1(g, order);
    expect("the hint", choose_by(g, ID "-n3.n1"), "n3 hint");
    expect("another hint", choose_by(g, ID "-n5.n1"), "n5 hint");
    expect("a hint that is nobody's", choose_by(g, ID "-n9.n1"),
           by(g->pool, order[0], "placement"));
    expect("no more than a dash", choose_by(g, ID "-.n1"), by(g->pool, order[0], "placement"));
    expect("the node itself", choose_by(g, ID "-n1.n1"), by(g->pool, order[0], "placement"));
    expect("without a route", choose_by(g, ID "-n3"), "n3 hint");
    g->state[2].status |= PROXY_WORKER_IN_ERROR;
    expect("its worker is in error", choose_by(g, ID "-n3.n1"),
           by(g->pool, strcmp(order[0], "n3") ? order[0] : order[1], "placement"));
    g->state[2].status &= ~PROXY_WORKER_IN_ERROR;
    g->view.member[2].state = SC_MEMBER_GONE;
    expect("it is gone", strchr(choose_by(g, ID "-n3.n1"), ' '), " placement");
    g->view.member[2].state = SC_MEMBER_ALIVE;
    locate("n1", one);
    expect("the nodes know better", choose_by(g, ID "-n3.n1"), "n4 backup");
    g->view.member[3].state = SC_MEMBER_GONE;
    expect("unless those are gone", choose_by(g, ID "-n3.n1"), "n3 hint");
    self.board = NULL;
    self.store = NULL;
    expect("a balancer without an engine", choose_by(g, ID "-n5.n1"), "n5 hint");
    g->state[4].status |= PROXY_WORKER_IN_ERROR;
    expect("and with nobody behind the hint", strchr(choose_by(g, ID "-n5.n1"), ' '), " placement");
}

/* The function needs no view, so balancers without an engine agree, too. */
static void without_engine(rig_t *g)
{
    const char *routes[WORKERS - 1] = {"n2", "n3", "n4", "n5"};
    apr_size_t order[WORKERS - 1];

    self.board = NULL;
    self.store = NULL;
    (void)sc_placement_rank(ID, SC_ID_HEX, routes, WORKERS - 1, order);
    for (int i = 0; i < WORKERS - 1; i++) {
        expect("by placement alone", choose_by(g, ID ".n1"),
               by(g->pool, routes[order[i]], "placement"));
        g->state[number(routes[order[i]])].status |= PROXY_WORKER_IN_ERROR;
    }
    expect("nobody left", choose_by(g, ID ".n1"), "-");
}

static void ranked(rig_t *g)
{
    const char *id = "q5GfaL2-abcdef";

    expect("a dot is no delimiter unless it is asked for",
           strchr(choose_by(g, apr_pstrcat(g->pool, id, ".n1.n4.n3", NULL)), ' '), " placement");
    apr_cpystrn(conf.ranked_delimiter, ".", sizeof(conf.ranked_delimiter));
    expect("second", choose_by(g, apr_pstrcat(g->pool, id, ".n1.n4.n3", NULL)), "n4 ranked");
    g->state[3].status |= PROXY_WORKER_IN_ERROR;
    expect("third", choose_by(g, apr_pstrcat(g->pool, id, ".n1.n4.n3", NULL)), "n3 ranked");
    expect("empty ones, unknown ones",
           choose_by(g, apr_pstrcat(g->pool, id, "..n1...nobody.n3.", NULL)), "n3 ranked");
    expect("more than anybody looks at",
           strchr(choose_by(g, apr_pstrcat(g->pool, id, ".a.b.c.d.e.f.g.h.n3", NULL)), ' '),
           " placement");
    apr_cpystrn(conf.ranked_delimiter, ":", sizeof(conf.ranked_delimiter));
    expect("another delimiter", choose_by(g, apr_pstrcat(g->pool, id, ".n1:n2:n3", NULL)),
           "n2 ranked");
}

static void about_to_leave(rig_t *g)
{
    static const char *const one[] = {"n4", NULL};
    ticket_t t = ticket_of(ID, "n1");

    locate("n1", one);
    expect("the backup takes it", choose_away(g, &t, AWAY_LEAVING), "n4 backup");
    g->view.member[3].node_state = SC_NODE_LEAVING;
    expect("not one that leaves, too", strchr(choose_away(g, &t, AWAY_LEAVING), ' '), " placement");
    for (int i = 1; i < WORKERS; i++) {
        g->view.member[i].node_state = i == 3 ? SC_NODE_LEAVING : SC_NODE_JOINING;
    }
    expect("all others come or go: it stays", choose_away(g, &t, AWAY_LEAVING), "-");
    expect("a dead node's goes to one of these", choose(g, ID, "n1"), "n4 backup");
    g->view.member[3].node_state = SC_NODE_JOINING;
    expect("one that has only begun, but has this one", choose_away(g, &t, AWAY_LEAVING),
           "n4 backup");
}

static void strangers(rig_t *g)
{
    g->view.count = 2;
    g->view.member[1].state = SC_MEMBER_GONE;
    expect("nodes that the view has never seen", strchr(choose(g, ID, "n1"), ' '), " placement");
    g->view.member[1].state = SC_MEMBER_ALIVE;
    expect("after those that it knows", choose(g, ID, "n1"), "n2 placement");
}

/* The sessions of a dead node go to all others alike. */
static void spread(rig_t *g)
{
    apr_pool_t *parent = g->pool;
    int got[WORKERS] = {0};
    char id[SC_ID_HEX + 1];

    g->view.member[0].state = SC_MEMBER_GONE;
    for (int i = 0; i < 10000; i++) {
        apr_snprintf(id, sizeof(id), "%032X", (unsigned)i * 2654435761u);
        apr_pool_create(&g->pool, parent);
        g->r.pool = g->pool;
        got[number(choose(g, id, "n1"))]++;
        apr_pool_destroy(g->pool);
    }
    for (int i = 1; i < WORKERS; i++) {
        if (got[i] < 2300 || got[i] > 2700) {
            failures++;
            printf("%d of 10000 sessions of n1 go to %s\n", got[i], names[i]);
        }
    }
}

static void standings(rig_t *g)
{
    static const struct {
        apr_uint32_t state, node_state;
        standing_t is;
    } cases[] = {{SC_MEMBER_ALIVE, SC_NODE_READY, STANDING_GOOD},
                 {SC_MEMBER_SUSPECT, SC_NODE_READY, STANDING_GOOD},
                 {SC_MEMBER_ALIVE, SC_NODE_JOINING, STANDING_PASSING},
                 {SC_MEMBER_ALIVE, SC_NODE_LEAVING, STANDING_PASSING},
                 {SC_MEMBER_ALIVE, SC_NODE_MINORITY, STANDING_MINORITY},
                 {SC_MEMBER_GONE, SC_NODE_READY, STANDING_GONE}};
    char what[32];

    for (apr_size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g->view.member[1].state = cases[i].state;
        g->view.member[1].node_state = cases[i].node_state;
        apr_snprintf(what, sizeof(what), "standing %d", (int)i);
        expect(what, sc_standing(&g->view, "n2", NULL) == cases[i].is ? "" : "another", "");
    }
    expect("standing of nobody",
           sc_standing(&g->view, "n9", NULL) == STANDING_UNKNOWN ? "" : "another", "");
}

/* Where a cookie ends, and that its route ends there. */
static void cookies(rig_t *g)
{
    static const struct {
        const char *cookie, *route;
        int taken;
    } cases[] = {{ID ".n2", "n2", 1},     {ID ".n2; other=x.n3", "n2", 1},
                 {ID ".n2,b=c", "n2", 1}, {ID ".n2;", "n2", 1},
                 {ID ".; b=c.d", "", 1},  {ID "; b=c.d", "none", 1},
                 {".n2; b=c", "n2", 1},   {"a b.n2", "none", 0}};
    ticket_t t;

    apr_cpystrn(g->shared.sticky, "SID", sizeof(g->shared.sticky));
    g->shared.sticky_separator = '.';
    for (apr_size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_table_setn(g->r.headers_in, "Cookie",
                       apr_pstrcat(g->pool, "x=y; SID=", cases[i].cookie, NULL));
        expect(cases[i].cookie,
               sc_ticket_take(&t, &g->shared, &g->r, "balancer://x/") == cases[i].taken ? ""
                                                                                        : "another",
               "");
        expect(cases[i].cookie, t.route ? t.route : "none", cases[i].route);
        expect("foul", t.foul == !cases[i].taken ? "" : "another", "");
    }
    apr_table_unset(g->r.headers_in, "Cookie");
    expect("no cookie", sc_ticket_take(&t, &g->shared, &g->r, "balancer://x/") ? "one" : "", "");
    expect("no cookie is not foul", t.foul ? "foul" : "", "");
}

/* It is read once for each attempt. */
static void one_ticket(rig_t *g)
{
    const ticket_t *t;

    (void)choose_by(g, ID ".n2");
    g->a->url = "balancer://x/";
    t = sc_attempts_ticket(g->a, &g->shared);
    expect("the ticket", t ? t->route : "none", "n2");
    apr_table_setn(g->r.headers_in, "Cookie", "SID=" ID ".n3");
    t = sc_attempts_ticket(g->a, &g->shared);
    expect("in the same attempt", t ? t->route : "none", "n2");
    g->a->ticket_of = NULL;
    t = sc_attempts_ticket(g->a, &g->shared);
    expect("in the next one", t ? t->route : "none", "n3");
    apr_table_unset(g->r.headers_in, "Cookie");
    g->a->ticket_of = NULL;
    expect("none", sc_attempts_ticket(g->a, &g->shared) ? "one" : "none", "none");
    expect("still none", sc_attempts_ticket(g->a, &g->shared) ? "one" : "none", "none");
}

static void fates(rig_t *g)
{
    ticket_t t = ticket_of(ID, "n1");
    sc_record_t rec;

    expect("nowhere", sc_fate(&t) == LOCATED_NOWHERE ? "" : "another", "");
    locate_in("first", ID, "n1", NULL, SC_REC_TOMBSTONE);
    expect("ended", sc_fate(&t) == LOCATED_DEAD && sc_locate(&t, &rec) == LOCATED_DEAD ? "" : "not",
           "");
    locate_in("second", ID, "n1", NULL, SC_REC_PROXY);
    expect("in another context",
           sc_fate(&t) == LOCATED_LIVE && sc_locate(&t, &rec) == LOCATED_LIVE ? "" : "not", "");
    t = ticket_of("another", "n1");
    expect("no id of ours", sc_fate(&t) == LOCATED_NOWHERE ? "" : "another", "");
    t = ticket_of(ID, "n1");
    self.store = NULL;
    expect("without a store", sc_fate(&t) == LOCATED_NOWHERE ? "" : "another", "");
    (void)g;
}

/* What is known of one view is not believed of the next. */
static void any_passing(rig_t *g)
{
    static const apr_uint32_t states[] = {SC_NODE_READY,    SC_NODE_READY, SC_NODE_LEAVING,
                                          SC_NODE_DRAINING, SC_NODE_READY, SC_NODE_JOINING};

    for (apr_size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        int want = states[i] != SC_NODE_READY;

        g->view.member[2].node_state = states[i];
        sc_board_publish(self.board, &g->view);
        expect("somebody is passing",
               sc_any_passing() == want && sc_any_passing() == want ? "" : "not", "");
    }
    self.board = NULL;
    expect("without an engine", sc_any_passing() ? "somebody" : "", "");
}

static void tried(rig_t *g)
{
    (void)choose(g, ID, "n1");
    expect("nobody yet", sc_was_tried(g->a, &g->worker[0]) ? "tried" : "", "");
    for (int i = 0; i < WORKERS; i++) {
        sc_attempts_note(g->a, &g->worker[i]);
        for (int k = 0; k < WORKERS; k++) {
            expect("tried", sc_was_tried(g->a, &g->worker[k]) == (k <= i) ? "" : "another", "");
        }
    }
}

static void newest(rig_t *g)
{
    apr_table_t *t = apr_table_make(g->pool, 2);
    const char *first = apr_pstrdup(g->pool, "value"), *last = apr_pstrdup(g->pool, "value");

    expect("of an empty table", sc_newest(t, "a") ? "one" : "none", "none");
    expect("in an empty table", sc_has_newest(t, first) ? "has" : "", "");
    apr_table_setn(t, "Other-Name", first);
    apr_table_setn(t, "NAME", "1");
    expect("the last", sc_newest(t, "NAME"), "1");
    expect("the one before", sc_newest(t, "Other-Name"), "value");
    expect("in other letters", sc_newest(t, "other-name"), "value");
    expect("that value", sc_has_newest(t, first) ? "has" : "", "has");
    expect("not one that is equal", sc_has_newest(t, last) ? "has" : "", "");
    for (int i = 0; i < 100; i++) {
        apr_table_setn(t, apr_psprintf(g->pool, "n%d", i), last);
    }
    expect("one of long ago", sc_newest(t, "NAME"), "1");
    expect("a value of long ago", sc_has_newest(t, first) ? "has" : "", "");
    expect("a new one", sc_has_newest(t, last) ? "has" : "", "has");
    expect("not there", sc_newest(t, "n100") ? "one" : "none", "none");
}

int main(void)
{
    static void (*const checks[])(rig_t *) = {recorded,
                                              recorded_and_tried,
                                              configuration_first,
                                              what_is_no_location,
                                              as_the_nodes_choose,
                                              racks,
                                              racks_of_those_that_count,
                                              two_clusters,
                                              hinted,
                                              without_engine,
                                              ranked,
                                              about_to_leave,
                                              strangers,
                                              spread,
                                              standings,
                                              cookies,
                                              one_ticket,
                                              fates,
                                              any_passing,
                                              tried,
                                              newest};
    apr_pool_t *pool;

    if (apr_initialize() != APR_SUCCESS) {
        return 99;
    }
    for (apr_size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        apr_pool_create(&pool, NULL);
        checks[i](rig_make(pool));
        apr_pool_destroy(pool);
    }
    apr_terminate();
    return failures;
}
