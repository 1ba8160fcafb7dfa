/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a configuration of interceptors may say: attributes, and orders that cannot work.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "links_rig.h"

#define DETECTOR "TcpFailureDetector"

static apr_pool_t *pool;

/* ---- what a configuration may say ----------------------------------------------------------- */

static const char *check_of(sc_config_t *c)
{
    const char *message = sc_interceptor_check(c, pool);

    return message != NULL ? message : "right";
}

/** A configuration in which StaticMembership may stand. */
static void ready(sc_config_t *c)
{
    memset(c, 0, sizeof(*c));
    c->membership = SC_MEMBERSHIP_MULTICAST;
    c->mcast.accept_foreign = 1;
}

static int refuses(const char *name, const char *attr, const char *because)
{
    static sc_config_t c;
    const char *message;

    ready(&c);
    if (strcmp(name, PLACE) == 0) {
        links_add(&c, DETECTOR, NULL);
    } else {
        c.mcast.accept_foreign = 0; /* Tomcats may send what no member of ours does */
    }
    links_add(&c, name, attr, NULL);
    message = check_of(&c);
    if (strstr(message, because) == NULL) {
        printf("\n    %s %s: \"%s\"\n", name, attr != NULL ? attr : "", message);
        return 0;
    }
    return 1;
}

static void test_attributes(void)
{
    static sc_config_t c;
    int i;

    CU_ASSERT_TRUE(refuses("Throughput", NULL, "right"));
    CU_ASSERT_TRUE(refuses("Throughput", "interval=1", "right"));
    CU_ASSERT_TRUE(refuses("Throughput", "interval=0", "messages from 1"));
    CU_ASSERT_TRUE(refuses("Throughput", "x=0", "it has optionFlag, interval"));
    CU_ASSERT_TRUE(refuses("TcpPing", NULL, "right"));
    CU_ASSERT_TRUE(refuses("TcpPing", "interval=49", "milliseconds from 50"));
    CU_ASSERT_TRUE(refuses("TcpPing", "staticOnly=true", "right"));
    CU_ASSERT_TRUE(refuses("TcpPing", "staticOnly=1", "true or false"));
    CU_ASSERT_TRUE(refuses("TcpPing", "useThread=true", "has no useThread: the interval always"));
    CU_ASSERT_TRUE(refuses("NonBlockingCoordinator", NULL, "right"));
    CU_ASSERT_TRUE(refuses("NonBlockingCoordinator", "waitForCoordMsgTimeout=99", "from 100"));
    CU_ASSERT_TRUE(refuses("SimpleCoordinator", "optionFlag=x", "option bits"));
    CU_ASSERT_TRUE(refuses("DomainFilter", NULL, "right"));
    CU_ASSERT_TRUE(refuses("DomainFilter", "domain=a", "announces \"\""));
    CU_ASSERT_TRUE(refuses("DomainFilter", "logInterval=-1", "from 0"));
    CU_ASSERT_TRUE(refuses(
        "DomainFilter", "domain=1234567890123456789012345678901234567890123456789012345678901234",
        "63 bytes"));
    CU_ASSERT_TRUE(refuses("DomainFilter", "domain={97,98}", "{97,98} is ab here"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:1,domain={97,98}", "{97,98} is ab here"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:1,domain={97}", "{97,98} is ab here"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:1,domain=a{97}", "right"));
    CU_ASSERT_TRUE(refuses("TcpFailureDetector", "removeSuspectsTimeout=-1", "right"));
    CU_ASSERT_TRUE(refuses("TcpFailureDetector", "removeSuspectsTimeout=-2", "-1: never"));
    CU_ASSERT_TRUE(refuses("TcpFailureDetector", "removeSuspectsTimeout=0", "or -1: never"));
    CU_ASSERT_TRUE(refuses("Order", "optionFlag=6", "right"));
    CU_ASSERT_TRUE(refuses("Order", "optionFlag=1024", "selects no message"));
    CU_ASSERT_TRUE(refuses("TwoPhaseCommit", "optionFlag=18", "selects no message"));
    CU_ASSERT_TRUE(refuses("Fragmentation", "optionFlag=32", "selects no message"));
    CU_ASSERT_TRUE(refuses("Throughput", "optionFlag=512", "0, which means all, is right"));
    CU_ASSERT_TRUE(refuses("TcpPing", "optionFlag=512", "right"));
    CU_ASSERT_TRUE(refuses(PLACE, NULL, "member=host:port is missing"));
    CU_ASSERT_TRUE(refuses(PLACE, "localMember=x", "its own local member"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:4000", "right"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=[::1]:4000,domain=x", "right"));
    CU_ASSERT_TRUE(
        refuses(PLACE, "member=h:1,uniqueId=00112233445566778899aAbBcCdDeEfF,domain=", "right"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=", "host:port"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h", "host:port"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=:4000", "host:port"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:", "host:port"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:0", "from 1 to 65535"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:65536", "from 1 to 65535"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:4000x", "host:port"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:99999999999999999999", "host:port"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=::1:4000", "in brackets"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=[]:4000", "in brackets"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=[::1:4000", "in brackets"));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:1,", "only uniqueId= and domain="));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:1,port=2", "only uniqueId= and domain="));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:1,domain=a,domain=b", "only uniqueId="));
    CU_ASSERT_TRUE(refuses(PLACE, "member=h:1,uniqueId=0011", "32 hex digits"));
    CU_ASSERT_TRUE(
        refuses(PLACE, "member=h:1,uniqueId=00112233445566778899aAbBcCdDeEfG", "32 hex digits"));
    CU_ASSERT_TRUE(
        refuses(PLACE, "member=h:1,uniqueId=00112233445566778899aAbBcCdDeEfF0", "32 hex digits"));

    ready(&c);
    links_add(&c, DETECTOR, NULL);
    links_add(&c, PLACE, "member=h:1", "member=h:2", "member=i:1", NULL);
    CU_ASSERT_STRING_EQUAL(check_of(&c), "right");
    c.membership = SC_MEMBERSHIP_STATIC;
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "SessionClusterMember"));
    c.membership = SC_MEMBERSHIP_NONE;
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "there is none"));
    c.membership = SC_MEMBERSHIP_MULTICAST;
    c.ninterceptors = 0;
    links_add(&c, PLACE, "member=h:1", "member=h:2", "member=h:1", NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "h:1 is given twice"));
    c.ninterceptors = 0;
    links_add(&c, "DomainFilter", "domain=a", NULL);
    strcpy(c.mcast.domain, "a");
    CU_ASSERT_STRING_EQUAL(check_of(&c), "right");
    c.ninterceptors = 0;
    links_add(&c, "DomainFilter", NULL); /* Tomcat's default: those without a domain */
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "announces \"a\""));
    for (i = 0; i < SC_ATTRS_MAX; i++) { /* cut at any length: refused or right, no more */
        static const char full[] = "member=[::1]:4000,uniqueId=00112233445566778899aabbccddeeff";
        char part[sizeof(full)];
        apr_size_t n;

        for (n = 7; n < sizeof(full); n++) {
            apr_cpystrn(part, full, n + 1);
            c.ninterceptors = 0;
            links_add(&c, PLACE, part, NULL);
            (void)check_of(&c);
        }
    }
}

static void test_orders(void)
{
    static const char *const wrong[][2] = {
        {"StaticMembership", "TcpFailureDetector"},
        {"StaticMembership", "TcpPing"},
        {"StaticMembership", "NonBlockingCoordinator"},
        {"StaticMembership", "SimpleCoordinator"},
        {"StaticMembership", "Gzip"},
        {"StaticMembership", "Order"},
        {"StaticMembership", "Fragmentation"},
        {"StaticMembership", "TwoPhaseCommit"},
        {"TcpFailureDetector", "NonBlockingCoordinator"},
        {"TcpFailureDetector", "SimpleCoordinator"},
        {"DomainFilter", "NonBlockingCoordinator"},
        {"DomainFilter", "SimpleCoordinator"},
    };
    static sc_config_t c;
    apr_size_t i;
    int between;

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        for (between = 0; between < 2; between++) {
            int turned;

            for (turned = 0; turned < 2; turned++) {
                int lacks = strcmp(wrong[i][0], PLACE) == 0 && strcmp(wrong[i][1], DETECTOR) != 0;

                ready(&c);
                links_add(&c, wrong[i][turned],
                          strcmp(wrong[i][turned], PLACE) == 0 ? "member=h:1" : NULL, NULL);
                if (between) {
                    links_add(&c, "Throughput", NULL);
                }
                if (lacks && turned) {
                    links_add(&c, DETECTOR, NULL);
                }
                links_add(&c, wrong[i][!turned],
                          strcmp(wrong[i][!turned], PLACE) == 0 ? "member=h:1" : NULL, NULL);
                if (lacks && !turned) {
                    links_add(&c, DETECTOR, NULL);
                }
                if (turned) {
                    CU_ASSERT_STRING_EQUAL(check_of(&c), "right");
                } else {
                    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "must not stand above"));
                    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), wrong[i][0]));
                }
            }
        }
    }
    ready(&c);
    links_add(&c, PLACE, "member=h:1", NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "needs a TcpFailureDetector above"));
    c.ninterceptors = 0;
    links_add(&c, "TcpPing", NULL);
    links_add(&c, PLACE, "member=h:1", NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "needs a TcpFailureDetector above"));
    ready(&c);
    links_add(&c, DETECTOR, NULL);
    links_add(&c, PLACE, "member=h:1", "member=h:2,uniqueId=00112233445566778899aabbccddeeff",
              NULL);
    CU_ASSERT_STRING_EQUAL(check_of(&c), "right");
    c.mcast.accept_foreign = 0;
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "foreign=accept"));

    memset(&c, 0, sizeof(c));
    links_add(&c, "SimpleCoordinator", NULL);
    links_add(&c, "NonBlockingCoordinator", NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "one coordinator"));
}

/** Attributes that are right alone. */
static void test_together(void)
{
    static sc_config_t c;
    int turned;

    memset(&c, 0, sizeof(c));
    c.membership = SC_MEMBERSHIP_MULTICAST;
    links_add(&c, "Throughput", "interval=5", "interval=6", NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "interval is given twice"));
    c.ninterceptors = 0;
    links_add(&c, "Encrypt", "encryptionKey=000102030405060708090a0b0c0d0e0f",
              "encryptionKey=000102030405060708090a0b0c0d0e0e", NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(check_of(&c), "encryptionKey is given twice"));
    CU_ASSERT_PTR_NULL(strstr(check_of(&c), "0001"));
    for (turned = 0; turned < 2; turned++) { /* what marks compressed messages marks nothing else */
        c.ninterceptors = 0;
        links_add(&c, turned ? "Gzip" : "TcpFailureDetector", turned ? NULL : "optionFlag=768",
                  NULL);
        links_add(&c, turned ? "TcpFailureDetector" : "Gzip", turned ? "optionFlag=768" : NULL,
                  NULL);
        CU_ASSERT_PTR_NOT_NULL(strstr(
            check_of(&c), "TcpFailureDetector: optionFlag=768 has a bit of Gzip's, 256, which"));
        c.ninterceptors = 0;
        links_add(&c, turned ? "Gzip" : "TcpPing", turned ? NULL : "optionFlag=512", NULL);
        links_add(&c, turned ? "TcpPing" : "Gzip", turned ? "optionFlag=512" : NULL, NULL);
        CU_ASSERT_STRING_EQUAL(check_of(&c), "right");
        /* a member that the filter keeps out */
        strcpy(c.mcast.domain, "red");
        c.ninterceptors = 0;
        links_add(&c, DETECTOR, NULL);
        links_add(&c, turned ? "DomainFilter" : PLACE, turned ? "domain=red" : "member=h:1",
                  turned ? NULL : "member=h:2,domain=blue", NULL);
        links_add(&c, turned ? PLACE : "DomainFilter", turned ? "member=h:1" : "domain=red",
                  turned ? "member=h:2,domain=blue" : NULL, NULL);
        CU_ASSERT_PTR_NOT_NULL(strstr(
            check_of(&c), "member h:2,domain=blue is in domain \"blue\", and DomainFilter keeps"));
        c.ninterceptors = 0;
        links_add(&c, DETECTOR, NULL);
        links_add(&c, PLACE, "member=h:1", "member=h:2,domain=red", NULL);
        links_add(&c, "DomainFilter", "domain=red", NULL);
        CU_ASSERT_STRING_EQUAL(check_of(&c), "right");
        c.mcast.domain[0] = '\0';
    }
    /* Tomcats may send what they like */
    c.ninterceptors = 0;
    c.mcast.accept_foreign = 1;
    links_add(&c, "Order", "optionFlag=1024", NULL);
    CU_ASSERT_STRING_EQUAL(check_of(&c), "right");
    /* the longest member, and optionFlag besides the most of them */
    c.ninterceptors = 0;
    links_add(&c, DETECTOR, NULL);
    links_add(&c, PLACE,
              "member=[0000:0000:0000:0000:0000:0000:0000:0001%12345678901234567890123]:65535"
              ",uniqueId=00112233445566778899aabbccddeeff"
              ",domain=123456789012345678901234567890123456789012345678901234567890123",
              "member=h:2", "member=h:3", "member=h:4", "member=h:5", "member=h:6", "member=h:7",
              "member=h:8", "optionFlag=512", NULL);
    CU_ASSERT_STRING_EQUAL(check_of(&c), "right");
    CU_ASSERT_STRING_EQUAL(c.interceptor[1].attr[0].value + 173, "34567890123");
}

void links_config_tests(CU_pSuite s, apr_pool_t *p)
{
    pool = p;
    CU_add_test(s, "attributes", test_attributes);
    CU_add_test(s, "what does not go together", test_together);
    CU_add_test(s, "orders that cannot work", test_orders);
}
