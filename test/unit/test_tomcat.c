/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Tomcat's session map asked for its state: the question byte for byte, captured answers, and
 * whatever else may come instead of one. The room as a whole is in tomcat_room.c.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"
#include "tomcat_rig.h"

void sc_suite_tomcat(void);

static const sc_uid_t captured_call = {{0x44, 0x6c, 0x2c, 0xaa, 0xf2, 0x12, 0x40, 0x2b, 0x82, 0x39,
                                        0xcb, 0x19, 0x4d, 0x96, 0xef, 0x66}};

static void test_question(void)
{
    apr_size_t len = 0;
    unsigned char *frame = rig_vector("map-rpc-state-request.bin", &len);
    sc_packet_t packet;
    unsigned char *body = rig_captured("map-rpc-state-request.bin", &packet);
    sc_buf_t b;

    sc_buf_init(&b, 4096);
    sc_state_request(&b, &packet, &captured_call, MAP);
    CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(b.len, len);
    CU_ASSERT_EQUAL(memcmp(b.data, frame, len), 0);
    sc_buf_free(&b);
    free(frame);
    free(body);
}

static void test_one_session(void)
{
    sc_packet_t packet;
    unsigned char *body = rig_captured("map-rpc-state-reply.bin", &packet);
    sc_location_t l;
    sc_state_t s;

    CU_ASSERT_EQUAL_FATAL(sc_state_open(&s, body, packet.body_len, &captured_call, MAP),
                          APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(sc_state_next(&s, &l), APR_SUCCESS);
    CU_ASSERT_EQUAL_FATAL(l.id_len, 32);
    CU_ASSERT_EQUAL(memcmp(l.id, "14657E0B50A169B6C8AB02399C90C867", 32), 0);
    CU_ASSERT_EQUAL(l.nbackups, 0);
    CU_ASSERT_EQUAL_FATAL(l.primary, 0);
    CU_ASSERT_EQUAL(s.s.member[0].port, 4120);
    CU_ASSERT_EQUAL(sc_state_next(&s, &l), APR_EOF);
    sc_state_close(&s);
    free(body);
}

/* Nine sessions, each with a primary and a backup, in a list whose entries refer to each other's
 * parts. */
static void test_many_sessions(void)
{
    int primaries[3] = {0, 0, 0}, n = 0;
    sc_packet_t packet;
    unsigned char *body = rig_captured("map-rpc-state-reply-many.bin", &packet);
    sc_location_t l;
    sc_state_t s;

    CU_ASSERT_EQUAL_FATAL(sc_state_open(&s, body, packet.body_len, &captured_call, MAP),
                          APR_SUCCESS);
    while (sc_state_next(&s, &l) == APR_SUCCESS) {
        sc_id_t id;

        CU_ASSERT_EQUAL(sc_id_parse(&id, (const char *)l.id, l.id_len), APR_SUCCESS);
        CU_ASSERT_EQUAL_FATAL(l.nbackups, 1);
        CU_ASSERT_FATAL(l.primary < s.s.nmembers && l.backup[0] < s.s.nmembers);
        CU_ASSERT_NOT_EQUAL(l.primary, l.backup[0]);
        /* the route behind the id says whose it is: r1 is at 4120 */
        CU_ASSERT_EQUAL(s.s.member[l.primary].port, 4120 + l.id[l.id_len + 2] - '1');
        primaries[s.s.member[l.primary].port - 4120]++;
        n++;
    }
    CU_ASSERT_EQUAL(n, 9);
    CU_ASSERT_EQUAL(s.s.nmembers, 3);
    CU_ASSERT(primaries[0] == 3 && primaries[1] == 3 && primaries[2] == 3);
    CU_ASSERT_EQUAL(s.left, 0);
    CU_ASSERT_FALSE(s.s.r.bad);
    sc_state_close(&s);
    free(body);
}

/* Other things than an answer to this question. */
static void test_other_objects(void)
{
    static const struct {
        const char *name;
        apr_status_t want;
    } others[] = {{"map-rpc-state-request.bin", APR_EMISMATCH},
                  {"map-rpc-ping-reply.bin", APR_EMISMATCH},
                  {"static-rpc-start-reply.bin", APR_EMISMATCH},
                  {"rpc-reply-string.bin", APR_EMISMATCH},
                  {"map-proxy.bin", APR_EINVAL},
                  {"delta-evt13-delta.bin", APR_EINVAL},
                  {"tcp-data-string-use-ack.bin", APR_EINVAL}};
    sc_uid_t other = captured_call;
    sc_packet_t packet;
    unsigned char *body;
    sc_state_t s;
    sc_jstream_t call;
    sc_jcall_t head;

    for (apr_size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        body = rig_captured(others[i].name, &packet);
        CU_ASSERT_EQUAL(sc_state_open(&s, body, packet.body_len, &captured_call, MAP),
                        others[i].want);
        free(body);
    }
    body = rig_captured("map-rpc-state-reply.bin", &packet);
    other.b[15]++;
    CU_ASSERT_EQUAL(sc_state_open(&s, body, packet.body_len, &other, MAP), APR_EMISMATCH);
    CU_ASSERT_EQUAL(sc_state_open(&s, body, packet.body_len, &captured_call, "localhost#/b-map"),
                    APR_EINVAL);
    free(body);

    body = rig_captured("rpc-no-channel-reply.bin", &packet);
    sc_jstream_open(&call, body, packet.body_len);
    sc_jstream_call(&call, &head);
    CU_ASSERT_FALSE(call.r.bad);
    CU_ASSERT(head.no_channel && head.reply);
    CU_ASSERT_EQUAL(sc_state_open(&s, body, packet.body_len, &head.call, MAP), APR_NOTFOUND);
    sc_jstream_close(&call);
    free(body);
}

/* @return entries read, or -1 when it was malformed anywhere */
static int read_all(const unsigned char *body, apr_size_t len)
{
    /* memory of exactly that size, so that reading behind it is noticed by the sanitizers */
    unsigned char *copy = malloc(len > 0 ? len : 1);
    apr_status_t rv;
    sc_location_t l;
    sc_state_t s;
    int n = 0;

    memcpy(copy, body, len);
    rv = sc_state_open(&s, copy, len, &captured_call, MAP);
    if (rv != APR_SUCCESS) {
        free(copy);
        return -1;
    }
    while ((rv = sc_state_next(&s, &l)) == APR_SUCCESS) {
        CU_ASSERT(l.primary == SC_JNOBODY || l.primary < s.s.nmembers);
        for (int i = 0; i < l.nbackups; i++) {
            CU_ASSERT(l.backup[i] == SC_JNOBODY || l.backup[i] < s.s.nmembers);
        }
        CU_ASSERT(l.id == NULL || (l.id >= copy && l.id + l.id_len <= copy + len));
        n++;
    }
    sc_state_close(&s);
    free(copy);
    return rv == APR_EOF ? n : -1;
}

static void test_cut_off(void)
{
    sc_packet_t packet;
    unsigned char *body = rig_captured("map-rpc-state-reply-many.bin", &packet);

    for (apr_size_t len = 0; len < packet.body_len; len++) {
        CU_ASSERT_EQUAL(read_all(body, len), -1);
    }
    CU_ASSERT_EQUAL(read_all(body, packet.body_len), 9);
    free(body);
}

static void test_flipped(void)
{
    sc_packet_t packet;
    unsigned char *body = rig_captured("map-rpc-state-reply-many.bin", &packet);
    int refused = 0;

    for (apr_size_t i = 0; i < packet.body_len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            body[i] ^= (unsigned char)(1 << bit);
            refused += read_all(body, packet.body_len) < 0;
            body[i] ^= (unsigned char)(1 << bit);
        }
    }
    CU_ASSERT(refused > 1000); /* the others changed an address, an id, a version */
    free(body);
}

/* ---- streams that no Tomcat would write ------------------------------------------------------ */

static void put(sc_buf_t *b, const char *hex)
{
    for (; hex[0]; hex += 2) {
        while (hex[0] == ' ') {
            hex++;
        }
        if (hex[0]) {
            unsigned char c = 0;

            CU_ASSERT(sc_hex_get(&c, 1, hex));
            sc_put_u8(b, c);
        }
    }
}

static void put_name(sc_buf_t *b, const char *name)
{
    sc_put_u8(b, 0);
    sc_put_u8(b, (unsigned int)strlen(name));
    sc_put(b, name, strlen(name));
}

static void put_class(sc_buf_t *b, const char *name, unsigned int flags)
{
    put(b, "72");
    put_name(b, name);
    put(b, "0000000000000001");
    sc_put_u8(b, flags);
    put(b, "0000 78");
}

/* Reads a stream as a list and all of its entries. @return 1: it was one */
static int reads(const sc_buf_t *b)
{
    unsigned char *copy = malloc(b->len);
    sc_jmessage_t m;
    sc_jstream_t s;
    apr_uint32_t n;
    int ok;

    memcpy(copy, b->data, b->len);
    sc_jstream_open(&s, copy, b->len);
    for (n = sc_jstream_list(&s); n > 0 && !s.r.bad; n--) {
        sc_jstream_message(&s, &m);
    }
    sc_jstream_end(&s);
    ok = !s.r.bad;
    sc_jstream_close(&s);
    free(copy);
    return ok;
}

#define LIST                                                                                       \
    "73 72 0013 6a6176612e7574696c2e41727261794c697374 7881d21d99c7619d 03 0001 49 0004 "          \
    "73697a65 78 70"
#define MESSAGE "org.apache.catalina.tribes.tipis.AbstractReplicatedMap$MapMessage"

static void begin_list(sc_buf_t *b, const char *size)
{
    sc_buf_clear(b);
    put(b, "aced0005");
    put(b, LIST);
    put(b, size);
    put(b, "7704");
    put(b, size);
}

static void test_claims(void)
{
    sc_buf_t b;

    sc_buf_init(&b, 1 << 20);
    begin_list(&b, "00000000");
    put(&b, "78");
    CU_ASSERT(reads(&b));

    begin_list(&b, "ffffffff"); /* entries that do not come */
    put(&b, "78");
    CU_ASSERT_FALSE(reads(&b));

    begin_list(&b, "00000001"); /* an object of a class that nobody asked for */
    put(&b, "73");
    put_class(&b, "java.util.HashMap", 3);
    put(&b, "70 78");
    CU_ASSERT_FALSE(reads(&b));

    begin_list(&b, "00000001"); /* a message without fields is one */
    put(&b, "73");
    put_class(&b, MESSAGE, 2);
    put(&b, "70 78");
    CU_ASSERT(reads(&b));

    begin_list(&b, "00000001"); /* but not one with something above it */
    put(&b, "73");
    put_class(&b, MESSAGE, 2);
    put_class(&b, "java.lang.Object", 2);
    put(&b, "70 78");
    CU_ASSERT_FALSE(reads(&b));

    begin_list(&b, "00000001"); /* a reference to what has not come */
    put(&b, "71 007e0009 78");
    CU_ASSERT_FALSE(reads(&b));

    begin_list(&b, "00000001"); /* more classes than there can be */
    put(&b, "73");
    for (int i = 0; i < 64; i++) {
        put_class(&b, MESSAGE, 2);
    }
    put(&b, "70 78");
    CU_ASSERT_FALSE(reads(&b));
    sc_buf_free(&b);
}

/* A field of a message: its value as given. @return whether it reads */
static int reads_field(sc_buf_t *b, const char *type, const char *value)
{
    begin_list(b, "00000001");
    put(b, "73 72");
    put_name(b, MESSAGE);
    put(b, "0000000000000001 02 0001");
    put(b, type);
    put_name(b, "nodes");
    put(b, "74 0002 5b42 78 70"); /* which class a field is said to have does not matter */
    put(b, value);
    put(b, "78");
    return reads(b);
}

static void test_values(void)
{
    sc_buf_t b;

    sc_buf_init(&b, 1 << 20);
    CU_ASSERT(reads_field(&b, "5b", "70"));
    CU_ASSERT(reads_field(&b, "5b", "74 0003 616263"));
    CU_ASSERT(reads_field(&b, "5b", "71 007e0003"));       /* the string "[B" */
    CU_ASSERT_FALSE(reads_field(&b, "5b", "71 007e0005")); /* behind the message itself */
    CU_ASSERT_FALSE(reads_field(&b, "5b", "71 007dffff"));
    CU_ASSERT_FALSE(reads_field(&b, "5b", "74 ffff 616263"));
    CU_ASSERT(reads_field(&b, "5b", "75 72 0002 5b42 acf317f8060854e0 02 0000 78 70 00000001 00"));
    CU_ASSERT_FALSE(/* 4 GB that do not come */
                    reads_field(&b, "5b",
                                "75 72 0002 5b42 acf317f8060854e0 02 0000 78 70 ffffffff 00"));
    CU_ASSERT_FALSE(/* an array of something else */
                    reads_field(&b, "5b",
                                "75 72 0002 5b49 acf317f8060854e0 02 0000 78 70 00000000"));
    CU_ASSERT_FALSE(reads_field(&b, "5b", "7b"));
    CU_ASSERT_FALSE(reads_field(&b, "5b", "79"));
    CU_ASSERT_FALSE(reads_field(&b, "3f", "70"));
    sc_buf_free(&b);
}

/* Arrays within arrays: the reader must refuse, not descend. */
static void test_nesting(void)
{
    sc_buf_t b;

    sc_buf_init(&b, 1 << 20);
    begin_list(&b, "00000001");
    put(&b, "73 72");
    put_name(&b, MESSAGE);
    put(&b, "0000000000000001 02 0001 5b");
    put_name(&b, "nodes");
    put(&b, "74 0002 5b42 78 70 75");
    put(&b, "72");
    put_name(&b, "[Lorg.apache.catalina.tribes.Member;");
    put(&b, "5ec4606b842d393c 02 0000 78 70");
    for (int i = 0; i < 10000; i++) {
        put(&b, "00000001 75 71 007e0005");
    }
    CU_ASSERT_FALSE(reads(&b));
    sc_buf_free(&b);
}

void sc_suite_tomcat(void)
{
    CU_pSuite suite = CU_add_suite("tomcat", NULL, NULL);

    CU_add_test(suite, "the question, byte for byte", test_question);
    CU_add_test(suite, "an answer with one session", test_one_session);
    CU_add_test(suite, "an answer with many", test_many_sessions);
    CU_add_test(suite, "what is no answer", test_other_objects);
    CU_add_test(suite, "cut off at every byte", test_cut_off);
    CU_add_test(suite, "every bit flipped", test_flipped);
    CU_add_test(suite, "claims and classes", test_claims);
    CU_add_test(suite, "values", test_values);
    CU_add_test(suite, "nesting", test_nesting);
    tomcat_add_room(suite);
}
