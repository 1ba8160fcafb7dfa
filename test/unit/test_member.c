/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Member data: byte for byte what Tomcat sends, our mark, and whatever else may come.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"

void sc_suite_member(void);

#define HEARTBEAT "mcast-member-heartbeat.bin"
#define SHUTDOWN "mcast-member-shutdown.bin"

static void our_member(sc_member_t *m)
{
    memset(m, 0, sizeof(*m));
    m->alive_ms = 12345;
    m->port = 4000;
    m->secure_port = -1;
    m->udp_port = -1;
    sc_member_set_host(m, "10.1.2.3");
    memset(m->uid.b, 7, sizeof(m->uid.b));
    m->ours = 1;
    m->version = SC_PROTOCOL_VERSION;
    m->role = SC_ROLE_NODE;
    m->node_state = SC_NODE_READY;
    m->store_id = APR_UINT64_C(0xFEDCBA9876543210);
    strcpy(m->route, "node-1");
    strcpy(m->url, "http://10.1.2.3:8080");
    m->flags = SC_MEMBER_NO_BACKUPS;
}

static void encode(sc_buf_t *b, const sc_member_t *m)
{
    sc_buf_init(b, 4096);
    sc_member_put(b, m);
    CU_ASSERT_EQUAL_FATAL(b->err, APR_SUCCESS);
}

static void test_tomcat_heartbeat(void)
{
    static const unsigned char uid[16] = {0xAA, 0x1F, 0x3A, 0xAD, 0x0D, 0xE4, 0x4A, 0xBA,
                                          0xB2, 0x95, 0x94, 0xF0, 0xFC, 0x33, 0x72, 0x1F};
    char name[SC_MEMBER_NAME];
    apr_size_t len = 0;
    apr_size_t used = 0;
    unsigned char *bytes = rig_vector(HEARTBEAT, &len);
    sc_member_t m;
    sc_buf_t b;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL_FATAL(sc_member_get(&m, bytes, len, &used), APR_SUCCESS);
    CU_ASSERT_EQUAL(used, 77);
    CU_ASSERT_EQUAL(m.alive_ms, 1019);
    CU_ASSERT_EQUAL(m.port, 4100);
    CU_ASSERT_EQUAL(m.secure_port, -1);
    CU_ASSERT_EQUAL(m.udp_port, -1);
    CU_ASSERT_EQUAL(m.host_len, 4);
    CU_ASSERT_EQUAL(memcmp(m.uid.b, uid, 16), 0);
    CU_ASSERT_FALSE(m.ours);
    CU_ASSERT_FALSE(sc_member_leaving(&m));
    CU_ASSERT_STRING_EQUAL(sc_member_name(&m, name), "127.0.0.1:4100");
    encode(&b, &m);
    CU_ASSERT_EQUAL_FATAL(b.len, len);
    CU_ASSERT_EQUAL(memcmp(b.data, bytes, len), 0);
    sc_buf_free(&b);
    free(bytes);
}

static void test_tomcat_shutdown(void)
{
    apr_size_t len = 0;
    apr_size_t used = 0;
    unsigned char *bytes = rig_vector(SHUTDOWN, &len);
    sc_member_t m;
    sc_buf_t b;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL_FATAL(sc_member_get(&m, bytes, len, &used), APR_SUCCESS);
    CU_ASSERT_EQUAL(used, 86);
    CU_ASSERT_TRUE(sc_member_leaving(&m));
    CU_ASSERT_EQUAL(m.port, 4101);
    encode(&b, &m);
    CU_ASSERT_EQUAL_FATAL(b.len, len);
    CU_ASSERT_EQUAL(memcmp(b.data, bytes, len), 0);
    m.command[0] ^= 1;
    CU_ASSERT_FALSE(sc_member_leaving(&m));
    sc_buf_free(&b);
    free(bytes);
}

static void test_mark(void)
{
    char name[SC_MEMBER_NAME];
    sc_member_t m;
    sc_member_t got;
    apr_size_t used;
    sc_buf_t b;

    our_member(&m);
    encode(&b, &m);
    sc_put(&b, "behind", 6); /* the caller's business */
    CU_ASSERT_EQUAL_FATAL(sc_member_get(&got, b.data, b.len, &used), APR_SUCCESS);
    CU_ASSERT_EQUAL(used, b.len - 6);
    CU_ASSERT_TRUE(got.ours);
    CU_ASSERT_EQUAL(got.version, SC_PROTOCOL_VERSION);
    CU_ASSERT_EQUAL(got.role, SC_ROLE_NODE);
    CU_ASSERT_EQUAL(got.node_state, SC_NODE_READY);
    CU_ASSERT_EQUAL(got.store_id, m.store_id);
    CU_ASSERT_STRING_EQUAL(got.route, "node-1");
    CU_ASSERT_STRING_EQUAL(got.url, "http://10.1.2.3:8080");
    CU_ASSERT_EQUAL(got.flags, SC_MEMBER_NO_BACKUPS);
    CU_ASSERT_STRING_EQUAL(sc_member_name(&got, name), "node-1 (10.1.2.3:4000)");
    CU_ASSERT_TRUE(sc_member_same(&m, &got));
    sc_buf_free(&b);
}

static apr_status_t with_mark(const void *mark, apr_size_t len, sc_member_t *got)
{
    sc_member_t m;
    apr_size_t used;
    apr_status_t rv;
    sc_buf_t b;

    our_member(&m);
    m.ours = 0;
    memcpy(m.payload, mark, len);
    m.payload_len = (apr_uint16_t)len;
    encode(&b, &m);
    rv = sc_member_get(got, b.data, b.len, &used);
    sc_buf_free(&b);
    return rv;
}

#define STORE_ID "\0\0\0\0\0\0\0\1"

static void test_mark_of_others(void)
{
    sc_member_t got;

    /* some other application's payload */
    CU_ASSERT_EQUAL(with_mark("SCM", 3, &got), APR_SUCCESS);
    CU_ASSERT_FALSE(got.ours);
    CU_ASSERT_EQUAL(with_mark("hello world", 11, &got), APR_SUCCESS);
    CU_ASSERT_FALSE(got.ours);
    /* a later version may say more */
    CU_ASSERT_EQUAL(with_mark("SCM1\2\0\3" STORE_ID "\2n1\0more", 22, &got), APR_SUCCESS);
    CU_ASSERT_TRUE(got.ours);
    CU_ASSERT_EQUAL(got.version, 2);
    CU_ASSERT_STRING_EQUAL(got.route, "n1");
    /* what cannot be read, or means nothing */
    CU_ASSERT_EQUAL(with_mark("SCM1", 4, &got), APR_EINVAL);
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\3" STORE_ID "\2n1", 18, &got), APR_EINVAL);   /* no url */
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\3" STORE_ID "\0\0", 17, &got), APR_EINVAL);   /* no route */
    CU_ASSERT_EQUAL(with_mark("SCM1\1\1\3" STORE_ID "\0\0", 17, &got), APR_SUCCESS);  /* balancer */
    CU_ASSERT_EQUAL(with_mark("SCM1\1\2\3" STORE_ID "\2n1\0", 19, &got), APR_EINVAL); /* role */
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\5" STORE_ID "\2n1\0", 19, &got), APR_EINVAL); /* state */
    CU_ASSERT_EQUAL(with_mark("SCM1\0\0\3" STORE_ID "\2n1\0", 19, &got), APR_EINVAL); /* version */
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\3" STORE_ID "\2n\n\0", 19, &got), APR_EINVAL);
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\3" STORE_ID "\2n\0\0", 19, &got), APR_EINVAL);
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\3" STORE_ID "\2n \0", 19, &got), APR_EINVAL);
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\3" STORE_ID "\2n\x80\0", 19, &got), APR_EINVAL);
}

/** The flag by which a mark says that a ready node is in the minority; no flag of the member. */
#define MINORITY 0x40u
#define DRAINING 0x80u

/** Earlier versions do not know the state: they must find the byte of a ready node in its place. */
static void test_minority(void)
{
    sc_member_t m, got;
    apr_size_t used;
    sc_buf_t b;

    our_member(&m);
    m.node_state = SC_NODE_MINORITY;
    encode(&b, &m);
    CU_ASSERT_EQUAL_FATAL(sc_member_get(&got, b.data, b.len, &used), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.node_state, SC_NODE_MINORITY);
    CU_ASSERT_EQUAL(got.flags, SC_MEMBER_NO_BACKUPS);
    CU_ASSERT_EQUAL(got.payload[6], SC_NODE_READY);
    CU_ASSERT_EQUAL(got.payload[got.payload_len - 1], SC_MEMBER_NO_BACKUPS | MINORITY);
    sc_buf_free(&b);
    /* of no other state */
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\4" STORE_ID "\2n1\0\x40", 20, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.node_state, SC_NODE_LEAVING);
    CU_ASSERT_EQUAL(got.flags, 0);
}

/** A draining member is written as a ready one, too: that is what it is for earlier versions. */
static void test_draining(void)
{
    sc_member_t m, got;
    apr_size_t used;
    sc_buf_t b;

    our_member(&m);
    m.node_state = SC_NODE_DRAINING;
    encode(&b, &m);
    CU_ASSERT_EQUAL(sc_member_get(&got, b.data, b.len, &used), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.node_state, SC_NODE_DRAINING);
    CU_ASSERT_EQUAL(got.flags, m.flags);
    CU_ASSERT_EQUAL(got.payload[6], SC_NODE_READY);
    sc_buf_free(&b);
    /* who refuses sessions does not say that it drains; and only a ready one can */
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\3" STORE_ID "\2n1\0\xc0\x01", 21, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.node_state, SC_NODE_MINORITY);
    CU_ASSERT_EQUAL(got.flags, 0);
    CU_ASSERT_EQUAL(with_mark("SCM1\1\0\2" STORE_ID "\2n1\0\x80\x01", 21, &got), APR_SUCCESS);
    CU_ASSERT_EQUAL(got.node_state, SC_NODE_JOINING);
    CU_ASSERT_EQUAL(got.flags, 0);
}

/** The mark's flags: those of earlier versions end before them, those of later ones go on. */
static void test_flags(void)
{
    static const unsigned char before[] = "SCM1\1\0\3" STORE_ID "\2n1\0";
    static const struct {
        const char *bytes;
        apr_size_t len;
        apr_status_t rv;
        apr_uint32_t flags;
    } cases[] = {
        {"", 0, APR_SUCCESS, 0},
        {"\0", 1, APR_SUCCESS, 0},
        {"\1", 1, APR_SUCCESS, SC_MEMBER_NO_BACKUPS},
        {"\5", 1, APR_SUCCESS, 5},                        /* a bit of a later version */
        {"\1more", 5, APR_SUCCESS, SC_MEMBER_NO_BACKUPS}, /* a field of a later version */
        {"\xff\xff\xff\xff\x0f", 5, APR_SUCCESS, ~(MINORITY | DRAINING)},
        {"\xff\xff\xff\xff\x1f", 5, APR_EINVAL, 0}, /* more than 32 bits */
        {"\x81", 1, APR_EINVAL, 0},                 /* ends in the middle */
        {"\x81\0", 2, APR_EINVAL, 0},               /* longer than need be */
    };
    unsigned char mark[64];
    sc_member_t got;
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(mark, before, sizeof(before) - 1);
        memcpy(mark + sizeof(before) - 1, cases[i].bytes, cases[i].len);
        CU_ASSERT_EQUAL(with_mark(mark, sizeof(before) - 1 + cases[i].len, &got), cases[i].rv);
        if (cases[i].rv == APR_SUCCESS) {
            CU_ASSERT_TRUE(got.ours);
            CU_ASSERT_EQUAL(got.flags, cases[i].flags);
            CU_ASSERT_STRING_EQUAL(got.route, "n1");
        }
    }
}

/** A mark as this version writes it, with the eyes of an earlier one: what it knows comes first. */
static void test_flags_come_last(void)
{
    sc_member_t m, got;
    apr_size_t used;
    sc_buf_t b, bare;
    sc_rd_t r;

    our_member(&m);
    encode(&b, &m);
    CU_ASSERT_EQUAL_FATAL(sc_member_get(&got, b.data, b.len, &used), APR_SUCCESS);
    sc_rd_init(&r, got.payload, got.payload_len);
    (void)sc_get(&r, 4 + 3 + 8);
    (void)sc_get_str(&r, SC_ROUTE_MAX, &used);
    (void)sc_get_str(&r, SC_URL_MAX, &used);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 1);
    CU_ASSERT_EQUAL(sc_get_varint(&r), SC_MEMBER_NO_BACKUPS);
    CU_ASSERT_FALSE(r.bad);
    m.flags = 0;
    encode(&bare, &m);
    CU_ASSERT_EQUAL(b.len, bare.len);
    sc_buf_free(&bare);
    sc_buf_free(&b);
}

/** What balancers get: written behind what earlier versions know, and nothing when there is
 * nothing.
 */
static void test_worker(void)
{
    static const unsigned char before[] = "SCM1\1\0\3" STORE_ID "\2n1\17http://10.0.0.1\0";
    static const struct {
        const char *bytes;
        apr_size_t len;
        apr_status_t rv;
        apr_uint32_t weight, lbset;
        int bad;
    } cases[] = {
        {"", 0, APR_SUCCESS, 0, 0, 0},
        {"\7", 1, APR_SUCCESS, 0, 0, 0}, /* a wall clock */
        {"\0\5", 2, APR_SUCCESS, 5, 0, 0},
        {"\7\144\143", 3, APR_SUCCESS, 100, 99, 0},
        {"\0\1\2more", 7, APR_SUCCESS, 1, 2, 0},
        {"\0\145\0", 3, APR_SUCCESS, 0, 0, 1},
        {"\0\1\144", 3, APR_SUCCESS, 0, 0, 1},
        {"\0\xff\xff\xff\xff\x1f\0", 7, APR_SUCCESS, 0, 0, 1}, /* more than 32 bits */
        {"\0\x81", 2, APR_EINVAL, 0, 0, 0},                    /* ends in the middle */
        {"\0\1\x81", 3, APR_EINVAL, 0, 0, 0},
    };
    unsigned char mark[64];
    sc_member_t got;
    apr_size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(mark, before, sizeof(before) - 1);
        memcpy(mark + sizeof(before) - 1, cases[i].bytes, cases[i].len);
        CU_ASSERT_EQUAL(with_mark(mark, sizeof(before) - 1 + cases[i].len, &got), cases[i].rv);
        if (cases[i].rv == APR_SUCCESS) {
            CU_ASSERT_STRING_EQUAL(got.route, "n1");
            CU_ASSERT_STRING_EQUAL(got.url, cases[i].bad ? "" : "http://10.0.0.1");
            CU_ASSERT_EQUAL(got.weight, cases[i].weight);
            CU_ASSERT_EQUAL(got.lbset, cases[i].lbset);
            CU_ASSERT_EQUAL(got.bad_url, cases[i].bad);
        }
    }
    /* a balancer is nobody's worker, and is a member all the same */
    memcpy(mark, before, sizeof(before) - 1);
    mark[5] = SC_ROLE_BALANCER;
    CU_ASSERT_EQUAL(with_mark(mark, sizeof(before) - 1, &got), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(got.url, "");
    CU_ASSERT_TRUE(got.bad_url);
}

/** URLs that a balancer may send requests to, and others. */
static const struct {
    const char *url;
    sc_url_kind_t kind;
} urls[] = {
    {"http://10.1.2.3:8080", SC_URL_GOOD},
    {"http://10.1.2.3", SC_URL_GOOD},
    {"https://www-1.example.org:65535/app/v1.0_x~", SC_URL_GOOD},
    {"ajp://node_1:8010", SC_URL_GOOD},
    {"h2://a.b", SC_URL_GOOD},
    {"h2c://a.b.:1", SC_URL_GOOD},
    {"http://[2001:db8::1]:81/a", SC_URL_GOOD},
    {"http://[::ffff:10.0.0.1]", SC_URL_GOOD},
    {"http://127.0.0.1:81", SC_URL_LOOPBACK},
    {"http://127.9.9.9", SC_URL_LOOPBACK},
    {"http://[::1]:443", SC_URL_LOOPBACK},
    {"http://[::ffff:127.0.0.1]", SC_URL_LOOPBACK},
    {"http://localhost", SC_URL_LOOPBACK},
    {"http://localhost.:81", SC_URL_LOOPBACK},
    {"http://a.localhost", SC_URL_LOOPBACK},
    {"http://mylocalhost", SC_URL_GOOD},
    {"", SC_URL_BAD},
    {"http", SC_URL_BAD},
    {"http:", SC_URL_BAD},
    {"http:/a", SC_URL_BAD},
    {"http://", SC_URL_BAD},
    {"http:///a", SC_URL_BAD},
    {"http://:80", SC_URL_BAD},
    {"://a", SC_URL_BAD},
    {"HTTP://a", SC_URL_BAD},
    {"http://A", SC_URL_BAD},
    {"ftp://a", SC_URL_BAD},
    {"file:///etc/passwd", SC_URL_BAD},
    {"unix:/run/s|http://a", SC_URL_BAD},
    {"balancer://a", SC_URL_BAD},
    {"http://a:", SC_URL_BAD},
    {"http://a:0", SC_URL_BAD},
    {"http://a:80", SC_URL_BAD}, /* that is http://a */
    {"https://a:443/b", SC_URL_BAD},
    {"ajp://a:8009", SC_URL_BAD},
    {"h2://[2001:db8::1]:443", SC_URL_BAD},
    {"h2c://a:80", SC_URL_BAD},
    {"http://a:080", SC_URL_BAD},
    {"http://a:65536", SC_URL_BAD},
    {"http://a:123456", SC_URL_BAD},
    {"http://a:8x", SC_URL_BAD},
    {"http://a:80:80", SC_URL_BAD},
    {"http://u@a", SC_URL_BAD},
    {"http://u:p@a", SC_URL_BAD},
    {"http://a?x", SC_URL_BAD},
    {"http://a/?x", SC_URL_BAD},
    {"http://a/#x", SC_URL_BAD},
    {"http://a/", SC_URL_BAD},
    {"http://a/b/", SC_URL_BAD},
    {"http://a//b", SC_URL_BAD},
    {"http://a/../b", SC_URL_BAD},
    {"http://a/b/..", SC_URL_BAD},
    {"http://a/.b", SC_URL_BAD},
    {"http://a/b.", SC_URL_BAD},
    {"http://a/%2e", SC_URL_BAD},
    {"http://a/b\\c", SC_URL_BAD},
    {"http://a/b c", SC_URL_BAD},
    {"http://a\r\nb", SC_URL_BAD},
    {"http://a..b", SC_URL_BAD},
    {"http://.a", SC_URL_BAD},
    {"http://-a", SC_URL_BAD},
    {"http://a$1", SC_URL_BAD},
    {"http://*", SC_URL_BAD},
    {"http://[::1", SC_URL_BAD},
    {"http://[::1]x", SC_URL_BAD},
    {"http://[::0001]", SC_URL_BAD}, /* another spelling */
    {"http://[FE80::1]", SC_URL_BAD},
    {"http://[fe80::1]", SC_URL_BAD},
    {"http://[fe80::1%eth0]", SC_URL_BAD},
    {"http://[ff02::1]", SC_URL_BAD},
    {"http://[::]", SC_URL_BAD},
    {"http://[::7f00:1]", SC_URL_BAD},
    {"http://[10.0.0.1]", SC_URL_BAD},
    {"http://0.0.0.0", SC_URL_BAD},
    {"http://169.254.169.254", SC_URL_BAD},
    {"http://[::ffff:169.254.169.254]", SC_URL_BAD},
    {"http://224.0.0.1", SC_URL_BAD},
    {"http://255.255.255.255", SC_URL_BAD},
    {"http://127.1", SC_URL_BAD}, /* what resolvers take for addresses */
    {"http://2130706433", SC_URL_BAD},
    {"http://0x7f000001", SC_URL_BAD},
    {"http://10.0.0.0x1", SC_URL_BAD},
    {"http://10.0.0.1.", SC_URL_BAD},
    {"http://10.0.0.256", SC_URL_BAD},
};

static void test_worker_urls(void)
{
    char url[SC_URL_MAX + 2];
    sc_member_t m;
    apr_size_t i;

    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        CU_ASSERT_EQUAL(sc_worker_url_kind(urls[i].url), urls[i].kind);
        if (sc_worker_url_kind(urls[i].url) != urls[i].kind) {
            printf("%s\n", urls[i].url);
        }
    }
    /* lengths: of a host, of the whole */
    memset(url, 'a', sizeof(url));
    memcpy(url, "http://", 7);
    url[7 + SC_HOST_MAX] = '\0';
    CU_ASSERT_EQUAL(sc_worker_url_kind(url), SC_URL_GOOD);
    url[7 + SC_HOST_MAX] = 'a';
    url[7 + SC_HOST_MAX + 1] = '\0';
    CU_ASSERT_EQUAL(sc_worker_url_kind(url), SC_URL_BAD);
    memset(url + 8, 'a', sizeof(url) - 8);
    url[8] = '/';
    url[SC_URL_MAX] = '\0';
    CU_ASSERT_EQUAL(sc_worker_url_kind(url), SC_URL_GOOD);
    url[SC_URL_MAX] = 'a';
    url[SC_URL_MAX + 1] = '\0';
    CU_ASSERT_EQUAL(sc_worker_url_kind(url), SC_URL_BAD);
    /* loopback is for who is there, too */
    our_member(&m);
    CU_ASSERT_FALSE(sc_worker_url_usable("http://127.0.0.1:81", &m));
    CU_ASSERT_TRUE(sc_worker_url_usable("http://10.0.0.9", &m));
    sc_member_set_host(&m, "127.0.0.2");
    CU_ASSERT_TRUE(sc_worker_url_usable("http://[::1]:81", &m));
    sc_member_set_host(&m, "::1");
    CU_ASSERT_TRUE(sc_worker_url_usable("http://localhost:81", &m));
    CU_ASSERT_FALSE(sc_worker_url_usable("http://a/../b", &m));
    m.host_len = 0;
    CU_ASSERT_FALSE(sc_worker_url_usable("http://localhost:81", &m));
    CU_ASSERT_EQUAL(sc_worker_url_port("https://a"), 443);
    CU_ASSERT_EQUAL(sc_worker_url_port("httpss://a"), 0);
    CU_ASSERT_EQUAL(sc_worker_url_port("http"), 0);
}

static void test_domain(void)
{
    char out[SC_DOMAIN_MAX + 1];
    char longest[SC_DOMAIN_MAX + 1];
    sc_member_t m, got;
    apr_size_t used;
    sc_buf_t b;
    int c;

    our_member(&m);
    memset(out, 'x', sizeof(out));
    CU_ASSERT_STRING_EQUAL(sc_member_domain(&m, out), "");
    memcpy(m.domain, "rack 7/a", 8);
    m.domain_len = 8;
    CU_ASSERT_STRING_EQUAL(sc_member_domain(&m, out), "rack 7/a");
    encode(&b, &m);
    CU_ASSERT_EQUAL_FATAL(sc_member_get(&got, b.data, b.len, &used), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(sc_member_domain(&got, out), "rack 7/a");
    sc_buf_free(&b);
    for (c = 0; c < 256; c++) { /* no half of a domain that is not text */
        m.domain[7] = (unsigned char)c;
        sc_member_domain(&m, out);
        CU_ASSERT_EQUAL(strlen(out), c >= 0x20 && c < 0x7f ? 8u : 0u);
    }
    memset(m.domain, 'd', sizeof(m.domain));
    memset(longest, 'd', SC_DOMAIN_MAX);
    longest[SC_DOMAIN_MAX] = '\0';
    m.domain_len = SC_DOMAIN_MAX;
    CU_ASSERT_STRING_EQUAL(sc_member_domain(&m, out), longest);
    m.domain_len = SC_DOMAIN_MAX + 1;
    CU_ASSERT_STRING_EQUAL(sc_member_domain(&m, out), "");
}

static void test_longest_fields(void)
{
    unsigned char mark[SC_MEMBER_PAYLOAD_MAX];
    sc_member_t m;
    sc_member_t got;
    apr_size_t used;
    sc_buf_t b;

    our_member(&m);
    memset(m.route, 'r', SC_ROUTE_MAX);
    m.route[SC_ROUTE_MAX] = '\0';
    memset(m.url, 'u', SC_URL_MAX);
    memcpy(m.url, "https://10.1.2.3:65535/", 23);
    m.url[SC_URL_MAX] = '\0';
    m.weight = SC_WEIGHT_MAX;
    m.lbset = SC_LBSET_MAX;
    m.said_ms = APR_UINT64_MAX;
    m.domain_len = SC_MEMBER_DOMAIN_MAX;
    m.command_len = SC_MEMBER_COMMAND_MAX;
    m.flags = ~(MINORITY | DRAINING);
    encode(&b, &m);
    CU_ASSERT_EQUAL(sc_member_get(&got, b.data, b.len, &used), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(got.route, m.route);
    CU_ASSERT_STRING_EQUAL(got.url, m.url);
    CU_ASSERT_EQUAL(got.weight, SC_WEIGHT_MAX);
    CU_ASSERT_EQUAL(got.lbset, SC_LBSET_MAX);
    CU_ASSERT_EQUAL(got.flags, m.flags);
    sc_buf_free(&b);
    /* a route of one more byte */
    memcpy(mark, "SCM1\1\0\3" STORE_ID "\x40", 16);
    memset(mark + 16, 'r', 65);
    CU_ASSERT_EQUAL(with_mark(mark, 16 + 64 + 1, &got), APR_EINVAL);
    mark[15] = 63;
    mark[16 + 63] = 0;
    CU_ASSERT_EQUAL(with_mark(mark, 16 + 63 + 1, &got), APR_SUCCESS);
}

/** A Tomcat may announce more than we can hold: it must still be recognised as foreign. */
static void test_over_our_limits(void)
{
    sc_member_t m;
    sc_member_t got;
    apr_size_t used;
    sc_buf_t b;

    our_member(&m);
    m.ours = 0;
    sc_buf_init(&b, 4096);
    sc_member_put(&b, &m);
    /* 600 bytes of payload: before the end marker, both lengths mended */
    b.len -= 10;
    memset(sc_buf_reserve(&b, 600), 'x', 600);
    b.len += 600;
    sc_put(&b, "TRIBES-E\1", 10);
    sc_buf_patch_u32(&b, 10, (apr_uint32_t)(b.len - 24));
    sc_buf_patch_u32(&b, (apr_size_t)(77 - 10 - 4), 600);
    CU_ASSERT_EQUAL(sc_member_get(&got, b.data, b.len, &used), APR_ENOSPC);
    CU_ASSERT_EQUAL(used, b.len);
    CU_ASSERT_FALSE(got.ours);
    CU_ASSERT_TRUE(sc_member_same(&got, &m));
    sc_buf_free(&b);
}

/** What whoever gets a member may rely on. */
static void check_bounds(const sc_member_t *m)
{
    char domain[SC_DOMAIN_MAX + 1];
    const char *c;

    CU_ASSERT(m->command_len <= SC_MEMBER_COMMAND_MAX && m->domain_len <= SC_MEMBER_DOMAIN_MAX &&
              m->payload_len <= SC_MEMBER_PAYLOAD_MAX && m->host_len <= sizeof(m->host));
    CU_ASSERT(strlen(sc_member_domain(m, domain)) <= m->domain_len);
    if (!m->ours) {
        CU_ASSERT(m->flags == 0 && m->route[0] == '\0' && m->url[0] == '\0');
        return;
    }
    CU_ASSERT(m->version >= 1 && m->role <= SC_ROLE_BALANCER && m->node_state <= SC_NODE_DRAINING);
    CU_ASSERT(m->role == SC_ROLE_BALANCER || m->route[0] != '\0');
    CU_ASSERT(strnlen(m->route, sizeof(m->route)) <= SC_ROUTE_MAX);
    CU_ASSERT(strnlen(m->url, sizeof(m->url)) <= SC_URL_MAX);
    CU_ASSERT(m->weight <= SC_WEIGHT_MAX && m->lbset <= SC_LBSET_MAX);
    if (m->url[0] != '\0') {
        CU_ASSERT(m->role == SC_ROLE_NODE && sc_worker_url_usable(m->url, m));
        CU_ASSERT_FALSE(m->bad_url);
    } else {
        CU_ASSERT(m->weight == 0 && m->lbset == 0);
    }
    for (c = m->route; *c != '\0'; c++) {
        CU_ASSERT(*c > 0x20 && *c < 0x7f);
    }
}

/** Every length and every single changed byte of what Tomcat and we send. */
static void hostile(const unsigned char *bytes, apr_size_t len)
{
    apr_size_t used;
    apr_size_t i;
    int change;
    sc_member_t m;

    for (i = 0; i < len; i++) {
        unsigned char *copy = malloc(i > 0 ? i : 1); /* so that a sanitizer sees the end */

        memcpy(copy, bytes, i);
        CU_ASSERT_EQUAL(sc_member_get(&m, copy, i, &used), APR_EINVAL);
        free(copy);
    }
    for (i = 0; i < len; i++) {
        unsigned char *copy = malloc(len);

        memcpy(copy, bytes, len);
        for (change = 1; change < 256; change++) {
            apr_status_t rv;

            copy[i] = (unsigned char)(bytes[i] ^ change);
            rv = sc_member_get(&m, copy, len, &used);
            CU_ASSERT(rv == APR_SUCCESS || rv == APR_EINVAL || rv == APR_ENOSPC);
            if (rv == APR_SUCCESS) {
                CU_ASSERT_EQUAL(used, len);
                check_bounds(&m);
            }
        }
        free(copy);
    }
}

/** Our mark cut anywhere, with lengths that add up. */
static void test_cut_mark(void)
{
    sc_member_t m, got, cut;
    apr_size_t used, n;
    sc_buf_t b;

    our_member(&m);
    encode(&b, &m);
    CU_ASSERT_EQUAL_FATAL(sc_member_get(&got, b.data, b.len, &used), APR_SUCCESS);
    sc_buf_free(&b);
    for (n = 0; n <= got.payload_len; n++) {
        int other = n < 4;                       /* no mark at all */
        int earlier = n == got.payload_len - 1u; /* one without flags */
        int whole = n == got.payload_len;

        CU_ASSERT_EQUAL(with_mark(got.payload, n, &cut),
                        other || earlier || whole ? APR_SUCCESS : APR_EINVAL);
        CU_ASSERT_EQUAL(cut.ours, earlier || whole);
        CU_ASSERT_EQUAL(cut.flags, whole ? SC_MEMBER_NO_BACKUPS : 0u);
    }
}

static void test_hostile(void)
{
    apr_size_t len = 0;
    unsigned char *bytes;
    sc_member_t m;
    sc_buf_t b;

    bytes = rig_vector(HEARTBEAT, &len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    hostile(bytes, len);
    free(bytes);
    bytes = rig_vector(SHUTDOWN, &len);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    hostile(bytes, len);
    free(bytes);
    our_member(&m);
    encode(&b, &m);
    hostile(b.data, b.len);
    sc_buf_free(&b);
}

/** Inner lengths that do not add up to the outer one, which Tribes would not notice. */
static void test_lengths_must_add_up(void)
{
    static const apr_size_t at[] = {39, 43, 63}; /* command, domain, payload of an IPv4 member */
    static const apr_uint32_t values[] = {1, 2, 10, 0x7fffffff, 0x80000000u, 0xffffffffu};
    apr_size_t len = 0;
    apr_size_t used;
    unsigned char *bytes = rig_vector(HEARTBEAT, &len);
    sc_member_t m;
    sc_buf_t b;
    apr_size_t i;
    apr_size_t k;

    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        for (k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            unsigned char old[4];
            sc_buf_t in_place = {bytes, len, len, len, APR_SUCCESS};

            memcpy(old, bytes + at[i], 4);
            sc_buf_patch_u32(&in_place, at[i], values[k]);
            CU_ASSERT_EQUAL(sc_member_get(&m, bytes, len, &used), APR_EINVAL);
            memcpy(bytes + at[i], old, 4);
        }
    }
    CU_ASSERT_EQUAL(sc_member_get(&m, bytes, len, &used), APR_SUCCESS);
    our_member(&m);
    m.ours = 0;
    memcpy(m.payload, "payload", 7);
    m.payload_len = 7;
    encode(&b, &m);
    sc_buf_patch_u32(&b, 63, 6); /* a byte is left that belongs to nothing */
    CU_ASSERT_EQUAL(sc_member_get(&m, b.data, b.len, &used), APR_EINVAL);
    sc_buf_patch_u32(&b, 63, 7);
    CU_ASSERT_EQUAL(sc_member_get(&m, b.data, b.len, &used), APR_SUCCESS);
    sc_buf_free(&b);
    bytes[34] = 5; /* an address of no kind that exists */
    CU_ASSERT_EQUAL(sc_member_get(&m, bytes, len, &used), APR_EINVAL);
    free(bytes);
}

static void test_addresses(void)
{
    char host[SC_HOST_MAX + 1];
    char name[SC_MEMBER_NAME];
    sc_member_t m;
    sc_member_t got;
    apr_size_t used;
    sc_buf_t b;

    our_member(&m);
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "no.number"), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "10.0.0"), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_member_set_host(&m, ""), APR_EINVAL);
    CU_ASSERT_STRING_EQUAL(sc_member_host(&m, host), "10.1.2.3"); /* unchanged */
    CU_ASSERT_TRUE(sc_member_usable(&m));
    CU_ASSERT_EQUAL(sc_member_set_host(&m, "2001:db8::1"), APR_SUCCESS);
    CU_ASSERT_STRING_EQUAL(sc_member_name(&m, name), "node-1 ([2001:db8::1]:4000)");
    CU_ASSERT_TRUE(sc_member_usable(&m));
    m.ours = 0;
    encode(&b, &m);
    CU_ASSERT_EQUAL(b.len, 89); /* tribes-protocol 1.1: IPv6 without extras */
    CU_ASSERT_EQUAL(sc_member_get(&got, b.data, b.len, &used), APR_SUCCESS);
    CU_ASSERT_TRUE(sc_member_same(&got, &m));
    sc_buf_free(&b);

    sc_member_set_host(&m, "0.0.0.0");
    CU_ASSERT_FALSE(sc_member_usable(&m));
    sc_member_set_host(&m, "::");
    CU_ASSERT_FALSE(sc_member_usable(&m));
    sc_member_set_host(&m, "228.0.0.4");
    CU_ASSERT_FALSE(sc_member_usable(&m));
    sc_member_set_host(&m, "255.255.255.255");
    CU_ASSERT_FALSE(sc_member_usable(&m));
    sc_member_set_host(&m, "ff02::1");
    CU_ASSERT_FALSE(sc_member_usable(&m));
    sc_member_set_host(&m, "127.0.0.1");
    m.port = 0;
    CU_ASSERT_FALSE(sc_member_usable(&m));
    m.port = 65536;
    CU_ASSERT_FALSE(sc_member_usable(&m));
    m.port = -1;
    CU_ASSERT_FALSE(sc_member_usable(&m));
    m.port = 65535;
    CU_ASSERT_TRUE(sc_member_usable(&m));
    m.host_len = 0;
    CU_ASSERT_FALSE(sc_member_usable(&m));
    CU_ASSERT_STRING_EQUAL(sc_member_host(&m, host), "-");
}

/** Absolute order (tribes-protocol 4.13): shorter address, address, port, unique id. */
static void test_order(void)
{
    sc_member_t a;
    sc_member_t b;

    our_member(&a);
    b = a;
    CU_ASSERT_EQUAL(sc_member_order(&a, &b), 0);
    b.uid.b[15]++;
    CU_ASSERT(sc_member_order(&a, &b) < 0);
    CU_ASSERT_FALSE(sc_member_same(&a, &b));
    CU_ASSERT_TRUE(sc_member_same_address(&a, &b));
    a.port = b.port + 1;
    CU_ASSERT(sc_member_order(&a, &b) > 0);
    CU_ASSERT_FALSE(sc_member_same_address(&a, &b));
    sc_member_set_host(&b, "200.1.2.3");
    CU_ASSERT(sc_member_order(&a, &b) < 0);
    sc_member_set_host(&a, "::1");
    CU_ASSERT(sc_member_order(&a, &b) > 0);
}

static void test_no_room(void)
{
    sc_member_t m;
    apr_size_t limit;
    sc_buf_t whole;

    our_member(&m);
    encode(&whole, &m);
    for (limit = 0; limit < whole.len; limit++) {
        sc_buf_t b;

        sc_buf_init(&b, limit);
        sc_member_put(&b, &m);
        CU_ASSERT_EQUAL(b.err, APR_ENOSPC);
        CU_ASSERT(b.len <= limit);
        sc_buf_free(&b);
    }
    sc_buf_free(&whole);
}

void sc_suite_member(void)
{
    CU_pSuite s = CU_add_suite("member", NULL, NULL);

    CU_add_test(s, "a heartbeat of Tomcat, byte for byte", test_tomcat_heartbeat);
    CU_add_test(s, "a good-bye of Tomcat, byte for byte", test_tomcat_shutdown);
    CU_add_test(s, "our mark", test_mark);
    CU_add_test(s, "marks of others, of later versions, and broken ones", test_mark_of_others);
    CU_add_test(s, "a node in the minority", test_minority);
    CU_add_test(s, "a draining member", test_draining);
    CU_add_test(s, "flags of a mark", test_flags);
    CU_add_test(s, "flags come behind what earlier versions know", test_flags_come_last);
    CU_add_test(s, "what a balancer gets", test_worker);
    CU_add_test(s, "URLs for balancers", test_worker_urls);
    CU_add_test(s, "domains", test_domain);
    CU_add_test(s, "the longest fields", test_longest_fields);
    CU_add_test(s, "a foreign member over our limits", test_over_our_limits);
    CU_add_test(s, "every length and every changed byte", test_hostile);
    CU_add_test(s, "a mark that ends early", test_cut_mark);
    CU_add_test(s, "lengths must add up", test_lengths_must_add_up);
    CU_add_test(s, "addresses", test_addresses);
    CU_add_test(s, "absolute order", test_order);
    CU_add_test(s, "no room", test_no_room);
}
