/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Runs the unit tests: all suites, or those named as arguments (topics as in suites.h). Exit code 1
 * when a test failed, when a suite was named that does not exist, or when a test file beside this
 * one (SC_TESTS, default test/unit) belongs to no suite: a test that never runs looks like one
 * that passes.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/Basic.h>

#include <apr_general.h>

#include "suites.h"

typedef struct topic_t {
    const char *name;
    void (*add)(void);
} topic_t;

#define TOPIC(topic) {#topic, sc_suite_##topic},
static const topic_t topics[] = {SC_SUITES(TOPIC)};
#undef TOPIC

#define NTOPICS (sizeof(topics) / sizeof(topics[0]))

static const topic_t *find_topic(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < NTOPICS; i++) {
        if (strlen(topics[i].name) == len && memcmp(topics[i].name, name, len) == 0) {
            return &topics[i];
        }
    }
    return NULL;
}

/* Complain about every test_<topic>.c that the list does not know. Returns their number. */
static int count_forgotten(void)
{
    static const char prefix[] = "test_";
    const char *folder = getenv("SC_TESTS");
    struct dirent *entry;
    int forgotten = 0;
    DIR *dir;

    if (folder == NULL) {
        folder = "test/unit";
    }
    dir = opendir(folder);
    if (dir == NULL) {
        return 0; /* run from elsewhere: nothing to compare with */
    }
    while ((entry = readdir(dir)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        const char *name = entry->d_name + sizeof(prefix) - 1;
        const topic_t *topic;

        if (strncmp(entry->d_name, prefix, sizeof(prefix) - 1) != 0 || dot == NULL ||
            strcmp(dot, ".c") != 0) {
            continue;
        }
        topic = find_topic(name, (size_t)(dot - name));
        if (topic == NULL || topic->add == NULL) {
            fprintf(stderr, "%s/%s: no suite of that name is linked or listed in suites.h\n",
                    folder, entry->d_name);
            forgotten++;
        }
    }
    closedir(dir);
    return forgotten;
}

static int add_suites(int argc, char *const argv[])
{
    int missing = 0;
    size_t t;
    int i;

    if (argc < 2) {
        for (t = 0; t < NTOPICS; t++) {
            if (topics[t].add != NULL) {
                topics[t].add();
            }
        }
        return count_forgotten();
    }
    for (i = 1; i < argc; i++) {
        const topic_t *topic = find_topic(argv[i], strlen(argv[i]));

        if (topic == NULL || topic->add == NULL) {
            fprintf(stderr, "no suite \"%s\"\n", argv[i]);
            missing++;
        } else {
            topic->add();
        }
    }
    return missing;
}

int main(int argc, char *argv[])
{
    unsigned int failed;
    int missing;

    setvbuf(stdout, NULL, _IONBF, 0); /* a crash must not swallow the name of its test */
    signal(SIGPIPE, SIG_IGN);
    if (apr_initialize() != APR_SUCCESS || CU_initialize_registry() != CUE_SUCCESS) {
        fprintf(stderr, "cannot initialize APR or CUnit\n");
        return 1;
    }
    missing = add_suites(argc, argv);
    if (CU_get_error() != CUE_SUCCESS) {
        fprintf(stderr, "CUnit: %s\n", CU_get_error_msg());
        missing++;
    }
    CU_basic_set_mode(getenv("SC_VERBOSE") != NULL ? CU_BRM_VERBOSE : CU_BRM_NORMAL);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed() +
             CU_get_number_of_tests_failed();
    CU_cleanup_registry();
    apr_terminate();
    return failed != 0 || missing != 0;
}
