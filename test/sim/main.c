/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The simulator's command line.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

typedef struct args_t {
    plan_t plan;
    apr_uint64_t start;
    apr_uint64_t count;
    const char *file;
    int list;
    int stop; /* after so many failures */
    int traffic;
    int test;
    apr_uint32_t failed;
    apr_uint32_t run;
} args_t;

static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                        {"start", required_argument, NULL, 's'},
                                        {"seed", required_argument, NULL, 'x'},
                                        {"file", required_argument, NULL, 'f'},
                                        {"manager", required_argument, NULL, 'm'},
                                        {"nodes", required_argument, NULL, 'N'},
                                        {"quorum", required_argument, NULL, 'q'},
                                        {"profile", required_argument, NULL, 'p'},
                                        {"minutes", required_argument, NULL, 'M'},
                                        {"traffic", no_argument, NULL, 't'},
                                        {"drains", no_argument, NULL, 'd'},
                                        {"list", no_argument, NULL, 'l'},
                                        {"verbose", no_argument, NULL, 'v'},
                                        {"self-test", no_argument, NULL, 'S'},
                                        {"max-failures", required_argument, NULL, 'F'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

static void usage(void)
{
    puts("sim [--seeds N] [--start S] [--seed X [-v [-v]]] [--file seeds.txt] [--max-failures N]\n"
         "    [--manager delta|backup] [--nodes N] [--quorum on|off] [--profile NAME]\n"
         "    [--minutes N] [--drains] [--list] [--self-test] [--traffic]");
}

static int run_one(args_t *a, const plan_t *plan)
{
    result_t r;

    run_seed(plan, &r);
    a->run++;
    if (r.rule[0] == '\0' && r.heap != 0) {
        snprintf(r.rule, sizeof(r.rule), "C6 heap");
        snprintf(r.what, sizeof(r.what), "%ld blocks of heap stay behind", r.heap);
    }
    if (r.rule[0] != '\0') {
        a->failed++;
        printf("seed %" APR_UINT64_T_FMT " (%s) FAILED: %s: %s\n", plan->seed, r.setup, r.rule,
               r.what);
        printf("  replay: sim --seed %" APR_UINT64_T_FMT " --manager %s%s -v\n", plan->seed,
               plan->manager == SC_MANAGER_BACKUP ? "backup" : "delta",
               plan->nodes || plan->quorum >= 0 || plan->profile >= 0 || plan->minutes != 3 ||
                       plan->drains
                   ? " (and the same other options)"
                   : "");
    } else if (a->list || plan->verbose) {
        printf("seed %" APR_UINT64_T_FMT " (%s): %u operations, %u without answer, %u sessions, "
               "%" APR_UINT64_T_FMT " steps, trace %016" APR_UINT64_T_HEX_FMT "\n",
               plan->seed, r.setup, r.operations, r.noanswer, r.sessions, r.steps, r.hash);
    }
    fflush(stdout);
    return r.rule[0] != '\0';
}

static int profile_of(const char *name)
{
    int i;

    for (i = 0; i < PROFILES && strcmp(name, profile_name(i)) != 0; i++) {
    }
    return i < PROFILES ? i : -1;
}

/** Lines: manager quorum nodes seed [profile] # why; "-" for what the seed itself decides. */
static void run_file(args_t *a)
{
    FILE *f = fopen(a->file, "r");
    char line[512], manager[32], quorum[32], nodes[32], profile[32];
    apr_uint64_t seed;

    if (f == NULL) {
        perror(a->file);
        exit(2);
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        plan_t p = a->plan;

        profile[0] = '\0';
        if (sscanf(line, "%31s %31s %31s %" APR_UINT64_T_FMT " %31[a-z]", manager, quorum, nodes,
                   &seed, profile) < 4 ||
            manager[0] == '#') {
            continue;
        }
        p.manager = strcmp(manager, "backup") == 0 ? SC_MANAGER_BACKUP : SC_MANAGER_DELTA;
        p.quorum = quorum[0] == '-' ? -1 : strcmp(quorum, "on") == 0;
        p.nodes = nodes[0] == '-' ? 0 : atoi(nodes);
        p.profile = profile[0] != '\0' ? profile_of(profile) : -1;
        p.seed = seed;
        (void)run_one(a, &p);
    }
    fclose(f);
}

static int self_test(const args_t *a)
{
    static const apr_uint64_t seeds[] = {1, 2, 3, 4, 5, 6};
    apr_size_t i;
    int bad = 0;

    for (i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        plan_t p = a->plan;
        result_t first, again;

        p.seed = seeds[i];
        run_seed(&p, &first);
        run_seed(&p, &again);
        if (first.hash != again.hash || strcmp(first.what, again.what) != 0) {
            printf("seed %" APR_UINT64_T_FMT " does not replay: %016" APR_UINT64_T_HEX_FMT
                   " and %016" APR_UINT64_T_HEX_FMT "\n",
                   p.seed, first.hash, again.hash);
            bad++;
        }
    }
    puts(bad ? "self-test: FAILED" : "self-test: seeds replay exactly");
    return bad != 0;
}

static int run_all(args_t *a)
{
    apr_uint64_t i;

    if (a->file != NULL) {
        run_file(a);
    }
    for (i = 0; i < a->count && (a->stop == 0 || a->failed < (apr_uint32_t)a->stop); i++) {
        plan_t p = a->plan;

        p.seed = a->start + i;
        (void)run_one(a, &p);
    }
    printf("%u seeds, %u failed\n", a->run, a->failed);
    return a->failed != 0;
}

/** @return 0; 1: help was asked for; 2: something is wrong */
static int parse(args_t *a, int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
        switch (c) {
        case 'n':
            a->count = strtoull(optarg, NULL, 10);
            break;
        case 's':
            a->start = strtoull(optarg, NULL, 10);
            break;
        case 'x':
            a->start = strtoull(optarg, NULL, 10);
            a->count = 1;
            a->list = 1;
            break;
        case 'f':
            a->file = optarg;
            break;
        case 'm':
            a->plan.manager = strcmp(optarg, "backup") == 0 ? SC_MANAGER_BACKUP : SC_MANAGER_DELTA;
            break;
        case 'N':
            a->plan.nodes = atoi(optarg);
            break;
        case 'q':
            a->plan.quorum = strcmp(optarg, "on") == 0;
            break;
        case 'p':
            a->plan.profile = profile_of(optarg);
            if (a->plan.profile < 0) {
                return 2;
            }
            break;
        case 'M':
            a->plan.minutes = atoi(optarg);
            break;
        case 'F':
            a->stop = atoi(optarg);
            break;
        case 'd':
            a->plan.drains = 1;
            break;
        case 'l':
            a->list = 1;
            break;
        case 'v':
            a->plan.verbose++;
            break;
        case 't':
            a->traffic = 1;
            break;
        case 'S':
            a->test = 1;
            break;
        default:
            return c == 'h' ? 1 : 2;
        }
    }
    return a->plan.nodes < 0 || a->plan.nodes == 1 || a->plan.nodes > 20 || a->plan.minutes < 1 ? 2
                                                                                                : 0;
}

int main(int argc, char **argv)
{
    args_t a = {0};
    int wrong;

    apr_initialize();
    a.plan.quorum = a.plan.profile = -1;
    a.plan.minutes = 3;
    a.start = 1;
    wrong = parse(&a, argc, argv);
    if (wrong) {
        usage();
        return wrong == 2 ? 2 : 0;
    }
    if (a.traffic) {
        return traffic_table(SC_MANAGER_DELTA) | traffic_table(SC_MANAGER_BACKUP);
    }
    return a.test ? self_test(&a) : run_all(&a);
}
