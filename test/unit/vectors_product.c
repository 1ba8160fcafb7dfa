/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The product's own codecs of Java's objects beside the tests' reader: what the product reads is
 * what that reads, and what it writes of the same values is the vector. It has no encoder for what
 * it never says: objects of sessions, and all messages of maps but the question for their state.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net_rig.h"
#include "vectors.h"
#include "../../src/channel/java_object.h"
#include "../../src/tomcat/state.h"

#define MAP "localhost#/app-map"

/** Every call: its kind, its number, its id. */
static void test_calls_read(void)
{
    int n = 0;
    apr_size_t i;

    for (i = 0; i < VECTORS; i++) {
        vector_call_t call;
        vector_java_t v;
        sc_java_t j;

        if (vectors[i].kind != VECTOR_JAVA) {
            continue;
        }
        vector_open(&v, vectors[i].name);
        if (vector_call(v.top, &call)) {
            CU_ASSERT_EQUAL(sc_java_get(&j, v.body, v.packet.body_len), APR_SUCCESS);
            CU_ASSERT_EQUAL(j.kind, call.no_channel ? SC_JAVA_NO_CHANNEL
                                    : call.reply    ? SC_JAVA_REPLY
                                                    : SC_JAVA_REQUEST);
            CU_ASSERT_EQUAL(memcmp(&j.call, &call.call, sizeof(call.call)), 0);
            CU_ASSERT(j.id_len == call.id.len && memcmp(j.id, call.id.p, j.id_len) == 0);
            n++;
        } else if (strcmp(vectors[i].name, "static-stop.bin") != 0) {
            CU_ASSERT_EQUAL(sc_java_get(&j, v.body, v.packet.body_len), APR_ENOTIMPL);
        }
        vector_close(&v);
    }
    CU_ASSERT_EQUAL(n, 24);
}

/* Whether what the product writes is the whole frame. */
static int is_frame(const char *name, const sc_packet_t *packet, const sc_buf_t *body)
{
    sc_packet_t p = *packet;
    apr_size_t len = 0;
    unsigned char *frame = rig_vector(name, &len);
    sc_buf_t b;
    int same;

    p.body = body->data;
    p.body_len = body->len;
    sc_buf_init(&b, 65536);
    sc_frame_put(&b, &p);
    same = frame != NULL && body->err == APR_SUCCESS && b.len == len &&
           memcmp(b.data, frame, len) == 0;
    sc_buf_free(&b);
    free(frame);
    return same;
}

/* The head of a call, with the values that the tests' reader has found. */
static void call_of(const vector_java_t *v, sc_java_t *j, vector_call_t *call)
{
    memset(j, 0, sizeof(*j));
    CU_ASSERT_TRUE_FATAL(vector_call(v->top, call));
    j->kind = call->no_channel ? SC_JAVA_NO_CHANNEL : call->reply ? SC_JAVA_REPLY : SC_JAVA_REQUEST;
    j->call = call->call;
    j->id = call->id.p;
    j->id_len = call->id.len;
}

/** "I know no such call"; Tomcat itself writes it without references, too. */
static void test_no_channel(void)
{
    static const char *const names[] = {"rpc-no-channel-reply.bin",
                                        "nonjava-rpc-no-channel-reply.bin"};
    int i;

    for (i = 0; i < 2; i++) {
        vector_call_t call;
        vector_java_t v;
        sc_java_t j;
        sc_buf_t b;

        vector_open(&v, names[i]);
        call_of(&v, &j, &call);
        sc_buf_init(&b, 4096);
        sc_java_put(&b, &j);
        CU_ASSERT_TRUE(is_frame(names[i], &v.packet, &b));
        sc_buf_free(&b);
        vector_close(&v);
    }
}

/** The product never calls with a string in it: its calls have null there, and all around that is
 *  Tomcat's. */
static void test_strings(void)
{
    static const char *const names[] = {"rpc-request-string.bin", "rpc-reply-string.bin"};
    int i;

    for (i = 0; i < 2; i++) {
        java_list_t *written;
        vector_call_t call;
        java_node_t *null;
        vector_java_t v;
        sc_java_t j;
        sc_buf_t b, again;

        vector_open(&v, names[i]);
        call_of(&v, &j, &call);
        sc_buf_init(&b, 4096);
        sc_buf_init(&again, 4096);
        sc_java_put(&b, &j);
        CU_ASSERT_FALSE(is_frame(names[i], &v.packet, &b));
        written = java_read(v.pool, b.data, b.len);
        CU_ASSERT_FATAL(written != NULL && java_count(java_notes(written->first)) == 2);
        null = java_nth(java_notes(written->first), 1);
        CU_ASSERT_EQUAL(null->kind, JAVA_NULL);
        null->kind = JAVA_STRING;
        null->p = (const unsigned char *)(i == 0 ? "ping" : "pong");
        null->len = 4;
        java_write(&again, written);
        CU_ASSERT_TRUE(is_frame(names[i], &v.packet, &again));
        sc_buf_free(&again);
        sc_buf_free(&b);
        vector_close(&v);
    }
}

/** Static membership, from the values alone: who it is, how long it lives, what it says. */
static void test_static(void)
{
    static const struct {
        const char *name;
        sc_java_kind_t kind;
        sc_java_say_t say;
        int number; /* of the member */
    } says[] = {
        {"static-rpc-start-request.bin", SC_JAVA_REQUEST, SC_JAVA_START, 2},
        {"static-rpc-start-reply.bin", SC_JAVA_REPLY, SC_JAVA_START, 1},
        {"static-stop.bin", SC_JAVA_PLAIN, SC_JAVA_STOP, 2},
    };
    static const char membership[] = "grp-StaticMembership";
    apr_size_t i;

    for (i = 0; i < 3; i++) {
        java_node_t *saying;
        vector_call_t call;
        vector_java_t v;
        sc_member_t theirs;
        sc_java_t j;
        sc_buf_t b;

        vector_open(&v, says[i].name);
        memset(&j, 0, sizeof(j));
        if (says[i].kind != SC_JAVA_PLAIN) {
            call_of(&v, &j, &call);
        }
        saying = says[i].kind == SC_JAVA_PLAIN ? v.top : java_nth(java_notes(v.top), 1);
        CU_ASSERT_TRUE_FATAL(vector_member(java_field(saying, "member"), &theirs));
        j.kind = says[i].kind;
        j.say = says[i].say;
        j.membership = (const unsigned char *)membership;
        j.membership_len = sizeof(membership) - 1;
        CU_ASSERT_EQUAL(sc_member_set_host(&j.member, "127.0.0.1"), APR_SUCCESS);
        j.member.port = 4099 + says[i].number;
        j.member.secure_port = j.member.udp_port = -1;
        j.member.uid.b[15] = (unsigned char)says[i].number;
        j.member.alive_ms = theirs.alive_ms;
        if (says[i].say == SC_JAVA_STOP) {
            j.member.command_len = sizeof(SC_COMMAND_SHUTDOWN) - 1;
            memcpy(j.member.command, SC_COMMAND_SHUTDOWN, j.member.command_len);
        }
        sc_buf_init(&b, 4096);
        sc_java_put(&b, &j);
        CU_ASSERT_TRUE(is_frame(says[i].name, &v.packet, &b));
        sc_buf_free(&b);
        vector_close(&v);
    }
}

/** The question for a map's state: Tomcat's bytes; and those of a program that repeats the names
 *  say the same. */
static void test_state_question(void)
{
    static const char *const names[] = {"map-rpc-state-request.bin",
                                        "nonjava-map-rpc-state-request.bin"};
    int i;

    for (i = 0; i < 2; i++) {
        const unsigned char *data;
        java_list_t *written;
        sc_frame_kind_t kind;
        vector_call_t call;
        vector_java_t v;
        sc_parser_t parser;
        sc_packet_t p;
        apr_size_t n;
        sc_buf_t b;

        vector_open(&v, names[i]);
        CU_ASSERT_TRUE_FATAL(vector_call(v.top, &call));
        sc_buf_init(&b, 4096);
        sc_state_request(&b, &v.packet, &call.call, MAP);
        sc_parser_init(&parser, 65536);
        sc_put(&parser.in, b.data, b.len);
        CU_ASSERT_EQUAL_FATAL(sc_parser_next(&parser, &kind, &data, &n), APR_SUCCESS);
        CU_ASSERT_EQUAL_FATAL(sc_packet_get(&p, data, n), APR_SUCCESS);
        CU_ASSERT_EQUAL_FATAL(p.body_len, v.packet.body_len);
        CU_ASSERT_EQUAL(memcmp(p.body, v.body, p.body_len) == 0, i == 0);
        written = java_read(v.pool, p.body, p.body_len);
        CU_ASSERT_PTR_NOT_NULL_FATAL(written);
        CU_ASSERT_TRUE(java_same(written, v.stream));
        sc_parser_free(&parser);
        sc_buf_free(&b);
        vector_close(&v);
    }
}

/* Whether the product's member is that of the stream. */
static int is_member(const sc_jmember_t *m, java_node_t *n)
{
    sc_member_t want;

    return vector_member(n, &want) && m->port == want.port && m->host_len == want.host_len &&
           memcmp(m->host, want.host, want.host_len) == 0 &&
           memcmp(&m->uid, &want.uid, sizeof(want.uid)) == 0;
}

/** The answers to it, entry by entry. */
static void test_state_answers(void)
{
    static const char *const names[] = {"map-rpc-state-reply.bin", "map-rpc-state-reply-many.bin"};
    int i;

    for (i = 0; i < 2; i++) {
        java_node_t *list, *e;
        vector_call_t call;
        vector_java_t v;
        sc_location_t l;
        sc_state_t s;
        unsigned int n;

        vector_open(&v, names[i]);
        CU_ASSERT_TRUE_FATAL(vector_call(v.top, &call));
        list = java_inner(java_field(java_nth(java_notes(v.top), 1), "valuedata"));
        CU_ASSERT_PTR_NOT_NULL_FATAL(list);
        CU_ASSERT_EQUAL_FATAL(sc_state_open(&s, v.body, v.packet.body_len, &call.call, MAP),
                              APR_SUCCESS);
        for (n = 1; (e = java_nth(java_notes(list), n)) != NULL; n++) {
            java_node_t *key = java_inner(java_field(e, "keydata"));
            java_node_t *nodes = java_field(e, "nodes");

            CU_ASSERT_EQUAL_FATAL(sc_state_next(&s, &l), APR_SUCCESS);
            CU_ASSERT(key != NULL && key->len == l.id_len + 3 &&
                      memcmp(key->p, l.id, l.id_len) == 0 && key->p[l.id_len] == '.');
            CU_ASSERT_FATAL(l.primary < s.s.nmembers);
            CU_ASSERT_TRUE(is_member(&s.s.member[l.primary], java_field(e, "primary")));
            CU_ASSERT_EQUAL_FATAL(l.nbackups, java_count(&nodes->list));
            if (l.nbackups > 0) {
                CU_ASSERT_FATAL(l.backup[0] < s.s.nmembers);
                CU_ASSERT_TRUE(is_member(&s.s.member[l.backup[0]], java_nth(&nodes->list, 0)));
            }
        }
        CU_ASSERT_EQUAL(sc_state_next(&s, &l), APR_EOF);
        sc_state_close(&s);
        vector_close(&v);
    }
}

void vectors_add_product(CU_pSuite s)
{
    CU_add_test(s, "the product reads every call", test_calls_read);
    CU_add_test(s, "the product writes \"no such call\"", test_no_channel);
    CU_add_test(s, "the product's calls around a string", test_strings);
    CU_add_test(s, "the product writes static membership", test_static);
    CU_add_test(s, "the product asks for a map's state", test_state_question);
    CU_add_test(s, "the product reads the answers", test_state_answers);
}
