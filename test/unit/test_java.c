/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The Java objects of static membership and remote calls: byte for byte what Tomcat sends, objects
 * of others, and whatever else may come.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "net_rig.h"
#include "../../src/channel/java_object.h"

void sc_suite_java(void);

/** The message inside the frame of a vector. */
static unsigned char *body_of(const char *name, apr_size_t *len)
{
    sc_packet_t p;
    unsigned char *body = rig_captured(name, &p);

    CU_ASSERT_FALSE(p.options & SC_OPT_BYTE_MESSAGE);
    *len = p.body_len;
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

/** All captured calls: what kind they are their names say. @return their number */
static int read_calls(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int n = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        apr_size_t len = 0;
        unsigned char *body;
        sc_java_t j;

        if (strstr(name, "rpc-") == NULL) {
            continue;
        }
        body = body_of(name, &len);
        CU_ASSERT_EQUAL(sc_java_get(&j, body, len), APR_SUCCESS);
        CU_ASSERT_EQUAL(j.kind, strstr(name, "no-channel") != NULL ? SC_JAVA_NO_CHANNEL
                                : strstr(name, "reply") != NULL    ? SC_JAVA_REPLY
                                                                   : SC_JAVA_REQUEST);
        CU_ASSERT_EQUAL(j.say, strncmp(name, "static-", 7) == 0 ? SC_JAVA_START : SC_JAVA_NOTHING);
        CU_ASSERT(j.id_len > 0);
        free(body);
        n++;
    }
    closedir(dir);
    return n;
}

static void test_calls_of_others(void)
{
    static const char *const objects[] = {"tcp-data-string-use-ack.bin", "delta-evt13-delta.bin",
                                          "map-proxy.bin", "repmap-copy.bin"};
    const char *folder = getenv("SC_VECTORS") != NULL ? getenv("SC_VECTORS") : "test/vectors";
    apr_size_t i;
    sc_java_t j;

    CU_ASSERT_EQUAL(read_calls(folder), 24);
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
    memcpy(j.member.url, "http://[2001:db8::1]:8080/", 26);
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

/* ---- in a channel --------------------------------------------------------------------------- */

#define NAME "grp-StaticMembership"

static rig_t *one_node(int accept)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_STATIC, RIG_NODES);
    sc_config_t *c = &rig->node[0].config;

    c->mcast.accept_foreign = (apr_uint32_t)accept;
    c->ninterceptors = 1;
    strcpy(c->interceptor[0].name, "MessageDispatch");
    rig_start(rig, 0, 0);
    rig_run(rig, RIG_MS(1500));
    return rig;
}

static void tomcat(sc_member_t *m, const char *host, int uid)
{
    memset(m, 0, sizeof(*m));
    m->port = 4000;
    m->secure_port = m->udp_port = -1;
    CU_ASSERT_EQUAL_FATAL(sc_member_set_host(m, host), APR_SUCCESS);
    memset(m->uid.b, uid, sizeof(m->uid.b));
}

/** What `from` says of `of`, in an object of its own or in a call. */
static apr_status_t hear(rig_t *rig, const sc_member_t *from, const sc_member_t *of,
                         sc_java_kind_t kind, sc_java_say_t say)
{
    rig_node_t *n = &rig->node[0];
    apr_status_t rv;
    sc_packet_t p;
    sc_java_t j;
    sc_buf_t b;

    memset(&j, 0, sizeof(j));
    j.kind = kind;
    j.say = say;
    j.member = *of;
    j.id = j.membership = (const unsigned char *)NAME;
    j.id_len = j.membership_len = strlen(NAME);
    sc_buf_init(&b, 4096);
    sc_java_put(&b, &j);
    memset(&p, 0, sizeof(p));
    p.options = SC_OPT_ASYNCHRONOUS;
    p.from = *from;
    p.body = b.data;
    p.body_len = b.len;
    rv = n->transport_up.packet(n->transport_up.baton, &p);
    sc_buf_free(&b);
    return rv;
}

static apr_size_t foreign(rig_t *rig)
{
    const sc_member_t *seen[4];

    return sc_channel_foreign(rig->node[0].channel, seen, 4);
}

static void test_membership(void)
{
    rig_t *rig = one_node(1);
    rig_node_t *n = &rig->node[0];
    int frames = n->data_frames;
    sc_member_t m, next;
    int i;

    tomcat(&m, "10.0.0.5", 50);
    CU_ASSERT_EQUAL(hear(rig, &m, &m, SC_JAVA_REQUEST, SC_JAVA_START), APR_SUCCESS);
    CU_ASSERT_EQUAL(foreign(rig), 1);
    CU_ASSERT_EQUAL(n->data_frames, frames + 1);
    CU_ASSERT_EQUAL(n->last_options, SC_OPT_ASYNCHRONOUS); /* an answer is a Java object, too */
    CU_ASSERT_EQUAL(n->board.count.calls_refused, 0);
    /* its pings keep it, each is answered */
    for (i = 0; i < 20; i++) {
        rig_run(rig, RIG_MS(450));
        CU_ASSERT_EQUAL(hear(rig, &m, &m, SC_JAVA_REQUEST, SC_JAVA_PING), APR_SUCCESS);
    }
    CU_ASSERT_EQUAL(foreign(rig), 1);
    CU_ASSERT_EQUAL(n->data_frames, frames + 21);
    /* what it says of another one is not believed */
    tomcat(&next, "10.0.0.6", 60);
    CU_ASSERT_EQUAL(hear(rig, &m, &next, SC_JAVA_REQUEST, SC_JAVA_START), APR_SUCCESS);
    CU_ASSERT_EQUAL(n->board.count.calls_refused, 1);
    CU_ASSERT_EQUAL(foreign(rig), 1);
    CU_ASSERT_EQUAL(hear(rig, &next, &m, SC_JAVA_PLAIN, SC_JAVA_STOP), APR_SUCCESS);
    CU_ASSERT_EQUAL(foreign(rig), 2); /* it is in the list itself, and shows that it lives */
    /* a good-bye is believed at once, and has no answer */
    frames = n->data_frames;
    CU_ASSERT_EQUAL(hear(rig, &m, &m, SC_JAVA_PLAIN, SC_JAVA_STOP), APR_SUCCESS);
    CU_ASSERT_EQUAL(foreign(rig), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(n->log, "left"));
    CU_ASSERT_EQUAL(n->data_frames, frames);
    /* an answer to a call that nobody has made makes a member, and is not answered */
    CU_ASSERT_EQUAL(hear(rig, &next, &next, SC_JAVA_REPLY, SC_JAVA_PING), APR_SUCCESS);
    CU_ASSERT_EQUAL(foreign(rig), 1);
    CU_ASSERT_EQUAL(n->data_frames, frames);
    /* who knows this node so is told when it leaves */
    rig_leave(rig, 0);
    CU_ASSERT_EQUAL(n->data_frames, frames + 1);
    rig_destroy(rig);
}

static void test_strangers(void)
{
    rig_t *rig = one_node(1);
    rig_node_t *n = &rig->node[0];
    int frames = n->data_frames;
    sc_member_t m;

    tomcat(&m, "10.0.0.99", 50); /* in no list */
    CU_ASSERT_EQUAL(hear(rig, &m, &m, SC_JAVA_REQUEST, SC_JAVA_START), APR_EGENERAL);
    CU_ASSERT_EQUAL(foreign(rig), 0);
    CU_ASSERT_EQUAL(n->data_frames, frames);
    /* silent ones expire */
    tomcat(&m, "10.0.0.5", 51);
    CU_ASSERT_EQUAL(hear(rig, &m, &m, SC_JAVA_PLAIN, SC_JAVA_START), APR_SUCCESS);
    CU_ASSERT_EQUAL(foreign(rig), 1);
    rig_run(rig, apr_time_from_sec(5));
    CU_ASSERT_EQUAL(foreign(rig), 0);
    rig_destroy(rig);

    rig = one_node(0); /* foreign=refuse */
    CU_ASSERT_EQUAL(hear(rig, &m, &m, SC_JAVA_REQUEST, SC_JAVA_START), APR_EGENERAL);
    CU_ASSERT_EQUAL(foreign(rig), 0);
    CU_ASSERT_EQUAL(rig->node[0].data_frames, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(rig->node[0].log, "SC0442"));
    rig_destroy(rig);
}

/** The failure detector keeps a silent member that answers. Meanwhile somebody without our mark
 * says that he is it: no session is sent there, and it is back when it speaks itself. */
static void test_taken_name(void)
{
    rig_t *rig = rig_create(SC_MEMBERSHIP_MULTICAST, 2);
    rig_node_t *n = &rig->node[0];
    sc_member_t m;
    sc_buf_t b;
    int i;

    for (i = 0; i < 2; i++) {
        rig->node[i].config.mcast.accept_foreign = 1;
        rig_start(rig, i, 0);
    }
    rig_run(rig, RIG_MS(4000));
    CU_ASSERT_PTR_NOT_NULL_FATAL(rig_member(rig, 0, 1));
    m = *rig_member(rig, 0, 1);
    rig->node[1].mute = 1;
    rig_run(rig, RIG_MS(5000));
    CU_ASSERT_EQUAL_FATAL(rig_suspects(rig, 0), 1);
    m.ours = 0;
    m.payload_len = 0;
    m.alive_ms += 10000;
    sc_buf_init(&b, 4096);
    sc_member_put(&b, &m);
    rig_inject(rig, b.data, b.len);
    sc_buf_free(&b);
    rig_run(rig, RIG_MS(10));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 0);
    CU_ASSERT_EQUAL(foreign(rig), 1);
    CU_ASSERT_EQUAL(n->seen.gone, 1);
    rig->node[1].mute = 0;
    rig_run(rig, RIG_MS(15000));
    CU_ASSERT_EQUAL(rig_members(rig, 0), 1);
    CU_ASSERT_EQUAL(rig_suspects(rig, 0), 0);
    CU_ASSERT_EQUAL(foreign(rig), 0);
    CU_ASSERT_EQUAL(n->seen.added, 2);
    rig_destroy(rig);
}

void sc_suite_java(void)
{
    CU_pSuite s = CU_add_suite("java", NULL, NULL);

    CU_add_test(s, "Tomcat's objects, byte for byte", test_tomcat);
    CU_add_test(s, "remote calls and objects of others", test_calls_of_others);
    CU_add_test(s, "a member of ours in one", test_our_member);
    CU_add_test(s, "every length and changed bytes", test_hostile);
    CU_add_test(s, "static membership of a Tomcat", test_membership);
    CU_add_test(s, "static membership of strangers", test_strangers);
    CU_add_test(s, "a stranger with a member's name", test_taken_name);
}
