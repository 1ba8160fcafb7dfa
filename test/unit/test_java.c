/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The Java objects of static membership and remote calls: byte for byte what Tomcat sends, objects
 * of others, and whatever else may come.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"
#include "../../src/channel/java_object.h"

void sc_suite_java(void);

/** The message inside the frame of a vector. */
static unsigned char *body_of(const char *name, apr_size_t *len)
{
    apr_size_t n = 0;
    unsigned char *bytes = rig_vector(name, &n);
    unsigned char *body;
    sc_packet_t p;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL_FATAL(sc_packet_get(&p, bytes + 11, n - SC_FRAME_OVERHEAD), APR_SUCCESS);
    CU_ASSERT_FALSE(p.options & SC_OPT_BYTE_MESSAGE);
    body = malloc(p.body_len + 1);
    memcpy(body, p.body, p.body_len);
    *len = p.body_len;
    free(bytes);
    return body;
}

static const struct {
    const char *name;
    sc_java_kind_t kind;
    const char *id;
    sc_java_say_t say;
    apr_int32_t port;
} vectors[] = {
    {"static-rpc-start-request.bin", SC_JAVA_REQUEST, "grp-StaticMembership", SC_JAVA_START, 4101},
    {"static-rpc-start-reply.bin", SC_JAVA_REPLY, "grp-StaticMembership", SC_JAVA_START, 4100},
    {"static-stop.bin", SC_JAVA_PLAIN, "", SC_JAVA_STOP, 4101},
    {"rpc-no-channel-reply.bin", SC_JAVA_NO_CHANNEL, "rpc-1", SC_JAVA_NOTHING, 0},
    {"nonjava-rpc-no-channel-reply.bin", SC_JAVA_NO_CHANNEL, NULL, SC_JAVA_NOTHING, 0},
};

#define NVECTORS (sizeof(vectors) / sizeof(vectors[0]))

static void test_tomcat(void)
{
    apr_size_t i;

    for (i = 0; i < NVECTORS; i++) {
        apr_size_t len = 0;
        unsigned char *body = body_of(vectors[i].name, &len);
        sc_java_t j;
        sc_buf_t b;

        CU_ASSERT_EQUAL_FATAL(sc_java_get(&j, body, len), APR_SUCCESS);
        CU_ASSERT_EQUAL(j.kind, vectors[i].kind);
        CU_ASSERT_EQUAL(j.say, vectors[i].say);
        if (vectors[i].id != NULL) {
            CU_ASSERT_EQUAL(j.id_len, strlen(vectors[i].id));
            CU_ASSERT(j.id_len == 0 || memcmp(j.id, vectors[i].id, j.id_len) == 0);
        }
        if (j.say != SC_JAVA_NOTHING) {
            CU_ASSERT_EQUAL(j.member.port, vectors[i].port);
            CU_ASSERT_EQUAL(sc_member_leaving(&j.member), j.say == SC_JAVA_STOP);
            CU_ASSERT_EQUAL(j.membership_len, 20);
            CU_ASSERT_EQUAL(memcmp(j.membership, "grp-StaticMembership", 20), 0);
        }
        sc_buf_init(&b, 65536);
        sc_java_put(&b, &j);
        CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
        CU_ASSERT_EQUAL_FATAL(b.len, len);
        CU_ASSERT_EQUAL(memcmp(b.data, body, len), 0);
        sc_buf_free(&b);
        free(body);
    }
}

static void test_calls_of_others(void)
{
    static const char *const calls[] = {"rpc-request-string.bin", "rpc-reply-string.bin",
                                        "map-rpc-init-request.bin", "map-rpc-state-reply.bin",
                                        "nonjava-map-rpc-state-request.bin"};
    static const char *const objects[] = {"tcp-data-string-use-ack.bin", "delta-evt13-delta.bin",
                                          "map-proxy.bin", "repmap-copy.bin"};
    apr_size_t i;
    sc_java_t j;

    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        apr_size_t len = 0;
        unsigned char *body = body_of(calls[i], &len);

        CU_ASSERT_EQUAL(sc_java_get(&j, body, len), APR_SUCCESS);
        CU_ASSERT_EQUAL(j.kind, strstr(calls[i], "reply") ? SC_JAVA_REPLY : SC_JAVA_REQUEST);
        CU_ASSERT_EQUAL(j.say, SC_JAVA_NOTHING);
        CU_ASSERT(j.id_len > 0);
        free(body);
    }
    for (i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        apr_size_t len = 0;
        unsigned char *body = body_of(objects[i], &len);

        CU_ASSERT_EQUAL(sc_java_get(&j, body, len), APR_ENOTIMPL);
        free(body);
    }
}

/** Our own member: a payload longer than a short block holds, versions of another Tomcat. */
static void test_our_member(void)
{
    static const char name[] = "a-channel-StaticMembership";
    sc_java_t j, got;
    sc_buf_t b;

    memset(&j, 0, sizeof(j));
    j.kind = SC_JAVA_REPLY;
    memset(&j.call, 7, sizeof(j.call));
    j.id = j.membership = (const unsigned char *)name;
    j.id_len = j.membership_len = sizeof(name) - 1;
    j.say = SC_JAVA_PING;
    j.member.port = 4000;
    j.member.ours = 1;
    j.member.version = SC_PROTOCOL_VERSION;
    j.member.node_state = SC_NODE_READY;
    memset(j.member.route, 'r', SC_ROUTE_MAX);
    memset(j.member.url, 'u', SC_URL_MAX);
    j.member_serial = 1234;
    j.static_serial = 5678;
    CU_ASSERT_EQUAL_FATAL(sc_member_set_host(&j.member, "::1"), APR_SUCCESS);
    sc_buf_init(&b, 65536);
    sc_java_put(&b, &j);
    CU_ASSERT_EQUAL_FATAL(b.err, APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_java_get(&got, b.data, b.len), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.kind, SC_JAVA_REPLY);
    CU_ASSERT_EQUAL(got.say, SC_JAVA_PING);
    CU_ASSERT_EQUAL(memcmp(&got.call, &j.call, sizeof(j.call)), 0);
    CU_ASSERT_TRUE(got.member.ours);
    CU_ASSERT_STRING_EQUAL(got.member.url, j.member.url);
    CU_ASSERT_EQUAL(got.member_serial, 1234);
    CU_ASSERT_EQUAL(got.static_serial, 5678);
    CU_ASSERT_EQUAL(got.id_len, j.id_len);
    CU_ASSERT_EQUAL(got.membership_len, j.membership_len);
    sc_buf_free(&b);
}

/** Cut at every length, in memory that ends there, and with every byte changed. */
static void test_hostile(void)
{
    apr_size_t i;

    for (i = 0; i < NVECTORS; i++) {
        apr_size_t len = 0;
        unsigned char *body = body_of(vectors[i].name, &len);
        apr_size_t n;
        sc_java_t j;

        for (n = 0; n < len; n++) {
            unsigned char *copy = malloc(n + 1);
            unsigned int v;

            memcpy(copy, body, n);
            copy = realloc(copy, n > 0 ? n : 1);
            /* a call whose content is cut is one with something unknown in it; only the byte that
             * ends it is not looked for */
            CU_ASSERT(sc_java_get(&j, copy, n) != APR_SUCCESS || j.say == SC_JAVA_NOTHING ||
                      (n + 1 == len && vectors[i].kind != SC_JAVA_PLAIN));
            free(copy);
            for (v = 1; v < 256; v += 13) {
                body[n] ^= (unsigned char)v;
                (void)sc_java_get(&j, body, len);
                body[n] ^= (unsigned char)v;
            }
        }
        free(body);
    }
}

void sc_suite_java(void)
{
    CU_pSuite s = CU_add_suite("java", NULL, NULL);

    CU_add_test(s, "Tomcat's objects, byte for byte", test_tomcat);
    CU_add_test(s, "remote calls and objects of others", test_calls_of_others);
    CU_add_test(s, "a member of ours in one", test_our_member);
    CU_add_test(s, "every length and changed bytes", test_hostile);
}
