/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Election messages, byte for byte, and what is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator_rig.h"

/* ---- messages ------------------------------------------------------------------------------- */

static sc_election_t election; /* large */

static void test_vector(void)
{
    sc_packet_t packet;
    unsigned char *body = rig_captured(ELECTION_VECTOR, &packet);
    apr_size_t len = packet.body_len;
    apr_size_t frame_len = 0;
    unsigned char *frame = rig_vector(ELECTION_VECTOR, &frame_len);
    sc_buf_t b;

    CU_ASSERT_EQUAL(packet.options, SC_OPT_USE_ACK);
    CU_ASSERT_TRUE(sc_election_is(body, len));
    CU_ASSERT_EQUAL_FATAL(sc_election_get(&election, body, len), APR_SUCCESS);
    CU_ASSERT_FALSE(election.conf);
    CU_ASSERT_EQUAL(election.members.n, 2);
    CU_ASSERT_EQUAL(election.leader.port, 4100);
    CU_ASSERT_TRUE(sc_member_same(&election.leader, &election.source));
    CU_ASSERT_TRUE(sc_member_same(&election.leader, &election.members.m[0]));
    CU_ASSERT_EQUAL(election.members.m[1].port, 4101);
    sc_buf_init(&b, SC_ELECTION_MAX);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL_FATAL(b.len, len);
    CU_ASSERT_EQUAL(memcmp(b.data, body, len), 0);
    /* and the frame around it */
    packet.body = b.data;
    packet.body_len = b.len;
    {
        sc_buf_t f;

        sc_buf_init(&f, 65536);
        sc_frame_put(&f, &packet);
        CU_ASSERT_EQUAL_FATAL(f.len, frame_len);
        CU_ASSERT_EQUAL(memcmp(f.data, frame, frame_len), 0);
        sc_buf_free(&f);
    }
    /* a confirmation is the same but for its last bytes */
    election.conf = 1;
    sc_buf_clear(&b);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL_FATAL(b.len, len);
    CU_ASSERT_EQUAL(memcmp(b.data, body, len - 16), 0);
    CU_ASSERT_EQUAL(b.data[len - 16], 0x43);
    CU_ASSERT_EQUAL_FATAL(sc_election_get(&election, b.data, b.len), APR_SUCCESS);
    CU_ASSERT_TRUE(election.conf);
    sc_buf_free(&b);
    free(body);
    free(frame);
}

/** Every truncation, and every byte that says how much there is. */
static void test_hostile(void)
{
    sc_packet_t packet;
    unsigned char *body = rig_captured(ELECTION_VECTOR, &packet);
    apr_size_t len = packet.body_len;
    apr_size_t count_at = 16 + 81 + 81;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        unsigned char *cut = malloc(i + 1); /* of its own, so that a read behind it is noticed */

        memcpy(cut, body, i);
        CU_ASSERT_EQUAL(sc_election_get(&election, cut, i), APR_EINVAL);
        cut[i] = body[i];
        free(cut);
    }
    body[len - 1] ^= 1; /* no type */
    CU_ASSERT_EQUAL(sc_election_get(&election, body, len), APR_EINVAL);
    body[len - 1] ^= 1;
    for (i = 0; i < 4; i++) { /* lengths of leader and source, number of members */
        static const unsigned char wrong[] = {0x00, 0x01, 0x03, 0x7f, 0x80, 0xff};
        apr_size_t at[3];
        apr_size_t k;
        apr_size_t w;

        at[0] = 16 + i;
        at[1] = 16 + 81 + i;
        at[2] = count_at + i;
        for (k = 0; k < 3; k++) {
            unsigned char was = body[at[k]];

            for (w = 0; w < sizeof(wrong); w++) {
                if (wrong[w] != was) {
                    body[at[k]] = wrong[w];
                    CU_ASSERT_EQUAL(sc_election_get(&election, body, len), APR_EINVAL);
                }
            }
            body[at[k]] = was;
        }
    }
    CU_ASSERT_EQUAL(sc_election_get(&election, body, len), APR_SUCCESS);
    free(body);
}

sc_member_t coordinator_numbered(int n)
{
    sc_member_t m;

    memset(&m, 0, sizeof(m));
    m.port = 4000 + n;
    m.secure_port = m.udp_port = -1;
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "10.0.0.1"), APR_SUCCESS);
    m.uid.b[0] = (unsigned char)n;
    return m;
}

/** As many members as a view can hold, and one more. */
static void test_bounds(void)
{
    apr_size_t count_at = 16 + 81 + 81;
    sc_buf_t b;
    sc_member_t m;
    int i;

    memset(&election, 0, sizeof(election));
    for (i = 1; i <= SC_MEMBERS_MAX; i++) {
        m = coordinator_numbered(i);
        CU_ASSERT_TRUE(sc_members_put(&election.members, &m));
    }
    m = coordinator_numbered(i);
    CU_ASSERT_FALSE(sc_members_put(&election.members, &m));
    election.leader = election.source = election.members.m[0];
    sc_buf_init(&b, SC_ELECTION_MAX);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
    CU_ASSERT_EQUAL(sc_election_get(&election, b.data, b.len), APR_SUCCESS);
    CU_ASSERT_EQUAL(election.members.n, SC_MEMBERS_MAX);
    /* one more, spliced in behind the number */
    {
        sc_buf_t more;
        sc_buf_t one;

        sc_buf_init(&one, 1000);
        sc_member_put(&one, &m);
        sc_buf_init(&more, SC_ELECTION_MAX);
        sc_put(&more, b.data, count_at);
        sc_put_u32(&more, SC_MEMBERS_MAX + 1);
        sc_put_u32(&more, (apr_uint32_t)one.len);
        sc_put(&more, one.data, one.len);
        sc_put(&more, b.data + count_at + 4, b.len - count_at - 4);
        CU_ASSERT_EQUAL(sc_election_get(&election, more.data, more.len), APR_EINVAL);
        sc_buf_free(&more);
        sc_buf_free(&one);
    }
    sc_buf_free(&b);
    /* nobody, and one that cannot be connected to */
    memset(&election.members, 0, sizeof(election.members));
    election.leader = election.source = coordinator_numbered(1);
    sc_buf_init(&b, SC_ELECTION_MAX);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL(sc_election_get(&election, b.data, b.len), APR_EINVAL);
    sc_buf_clear(&b);
    m = coordinator_numbered(2);
    m.host[0] = 228;
    sc_members_put(&election.members, &m);
    sc_election_put(&b, &election);
    CU_ASSERT_EQUAL(sc_election_get(&election, b.data, b.len), APR_EINVAL);
    sc_buf_free(&b);
}

static void test_members(void)
{
    static sc_members_t a;
    static sc_members_t b;
    sc_member_t m[4];
    int i;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    m[0] = coordinator_numbered(1);
    CU_ASSERT_PTR_NULL(sc_members_next(&a, &m[0]));
    for (i = 0; i < 4; i++) {
        m[i] = coordinator_numbered(i + 1);
        sc_members_put(&a, &m[i]);
        m[i].alive_ms = 5;
    }
    for (i = 3; i >= 0; i--) {
        sc_members_put(&b, &m[i]);
    }
    CU_ASSERT_TRUE(sc_members_same(&a, &b));
    CU_ASSERT_TRUE(sc_members_put(&a, &m[2]));
    CU_ASSERT_EQUAL(a.n, 4);
    CU_ASSERT_EQUAL(a.m[2].alive_ms, 5);
    CU_ASSERT_TRUE(sc_member_same(sc_members_next(&a, &m[0]), &m[1]));
    CU_ASSERT_TRUE(sc_member_same(sc_members_next(&a, &m[3]), &m[0]));
    CU_ASSERT_TRUE(sc_members_remove(&a, &m[1]));
    CU_ASSERT_FALSE(sc_members_remove(&a, &m[1]));
    CU_ASSERT_FALSE(sc_members_same(&a, &b));
    CU_ASSERT_TRUE(sc_member_same(sc_members_next(&a, &m[1]), &m[2])); /* itself is out */
}

void coordinator_messages_tests(CU_pSuite s)
{
    CU_add_test(s, "lists of members", test_members);
    CU_add_test(s, "an election of Tomcat's, byte for byte", test_vector);
    CU_add_test(s, "truncated and absurd messages", test_hostile);
    CU_add_test(s, "the most members, and one more", test_bounds);
}
