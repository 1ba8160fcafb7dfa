/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Asking newcomers; see newcomers.h.
 */
#include <string.h>

#include "newcomers.h"

#define QUESTIONS_MAX SC_MEMBERS_MAX
#define TIMEOUT apr_time_from_sec(1)
#define PATIENCE apr_time_from_sec(1)

typedef enum phase_t {
    FREE,
    NEWCOMER, /* is being asked */
    RIVAL,    /* the newcomer lives, its rival is being asked */
    SILENT    /* it did not answer, and is not asked again before its time */
} phase_t;

typedef struct question_t {
    sc_newcomers_t *all;
    sc_newcomer_t about;
    phase_t phase;
    int ask_rival;
    int forgotten; /* the end of the probe under way concerns nobody */
    apr_time_t until;
} question_t;

struct sc_newcomers_t {
    const sc_chain_env_t *env;
    sc_newcomer_fn_t *answered;
    void *baton;
    question_t question[QUESTIONS_MAX];
};

static apr_time_t now_of(const sc_newcomers_t *all)
{
    return sc_mono(all->env->clock);
}

/** The place for a question: free, or that of the member that has been silent for longest.
 *  @return NULL: all are waiting for answers */
static question_t *place(sc_newcomers_t *all)
{
    question_t *best = NULL;
    apr_size_t i;

    for (i = 0; i < QUESTIONS_MAX; i++) {
        question_t *q = &all->question[i];

        if (q->phase == FREE) {
            return q;
        }
        if (q->phase == SILENT && (best == NULL || q->until < best->until)) {
            best = q;
        }
    }
    return best;
}

static question_t *find(sc_newcomers_t *all, const sc_member_t *m)
{
    apr_size_t i;

    for (i = 0; i < QUESTIONS_MAX; i++) {
        question_t *q = &all->question[i];

        if (q->phase != FREE && !q->forgotten && sc_member_same(&q->about.m, m)) {
            return q;
        }
    }
    return NULL;
}

static void ended(void *baton, apr_status_t rv);

static void probe(question_t *q, phase_t phase, const sc_member_t *whom)
{
    const sc_transport_t *t = q->all->env->transport;

    q->phase = phase;
    t->probe(t->ctx, whom, NULL, TIMEOUT, ended, q);
}

/** The place is free before anybody is told: what is told may ask again. */
static void tell(question_t *q, phase_t phase, int lives, int rival_lives)
{
    sc_newcomers_t *all = q->all;
    sc_newcomer_t about = q->about;

    q->phase = phase;
    q->until = now_of(all) + PATIENCE;
    all->answered(all->baton, &about, lives, rival_lives);
}

static void ended(void *baton, apr_status_t rv)
{
    question_t *q = baton;

    if (q->forgotten) {
        q->forgotten = 0;
        q->phase = FREE;
    } else if (q->phase == RIVAL) {
        tell(q, FREE, 1, rv == APR_SUCCESS);
    } else if (rv != APR_SUCCESS) {
        tell(q, SILENT, 0, 1);
    } else if (q->ask_rival) {
        probe(q, RIVAL, &q->about.rival);
    } else {
        tell(q, FREE, 1, 1);
    }
}

void sc_newcomers_ask(sc_newcomers_t *all, const sc_newcomer_t *n, int ask_rival)
{
    question_t *q = find(all, &n->m);

    if (q != NULL && q->phase != SILENT) {
        if (n->m.alive_ms > q->about.m.alive_ms) {
            q->about.m = n->m;
            q->about.said = n->said;
        }
        return;
    }
    if (q != NULL && q->until > now_of(all)) {
        return;
    }
    if (q == NULL) {
        q = place(all);
    }
    if (q != NULL) {
        memset(q, 0, sizeof(*q));
        q->all = all;
        q->about = *n;
        q->ask_rival = ask_rival;
        probe(q, NEWCOMER, &n->m);
    }
}

void sc_newcomers_clear(sc_newcomers_t *all)
{
    apr_size_t i;

    for (i = 0; i < QUESTIONS_MAX; i++) {
        question_t *q = &all->question[i];

        q->forgotten = q->phase == NEWCOMER || q->phase == RIVAL;
        q->phase = q->forgotten ? q->phase : FREE;
    }
}

sc_newcomers_t *sc_newcomers_create(const sc_chain_env_t *env, sc_newcomer_fn_t *answered,
                                    void *baton, apr_pool_t *pool)
{
    sc_newcomers_t *all = apr_pcalloc(pool, sizeof(*all));

    if (all != NULL) {
        all->env = env;
        all->answered = answered;
        all->baton = baton;
    }
    return all;
}
