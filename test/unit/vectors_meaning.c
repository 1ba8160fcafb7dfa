/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the captured objects say (tribes-protocol 5.2, 6 to 8, 11, 12).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net_rig.h"
#include "vectors.h"

#define CONTEXT "localhost#/app"
#define MAP "localhost#/app-map"
#define ID_A "26B51D288CAEBEDD9310589183C7003A.r1"
#define ID_B "14657E0B50A169B6C8AB02399C90C867.r1"
#define ID_C "9200F7FDC9BC3F7DA251EAC40812516B.r1"
#define ID_D "80AA0D797A6490BD293ED96BB759A8A4.r1"

static int is_null(java_node_t *n)
{
    return n != NULL && n->kind == JAVA_NULL;
}

/* Whether a node, when it is there, is this text; NULL: whether it is null. */
static int says(java_node_t *n, const char *text)
{
    return text == NULL ? is_null(n) : n != NULL && java_says(n, text);
}

/* ---- classes --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    apr_uint64_t serial;
    unsigned int flags;
    const char *above;
    const char *fields; /* type, name and, where there is one, "=" and class; each with a blank */
} classes[] = {
    {"[B", APR_UINT64_C(0xACF317F8060854E0), 0x02, NULL, ""},
    {"[Lorg.apache.catalina.tribes.Member;", APR_UINT64_C(0x5EC4606B842D393C), 0x02, NULL, ""},
    {MEMBER_IMPL, APR_UINT64_C(0x8476F37B32953667), 0x0C, NULL, ""},
    {STATIC_MEMBER, APR_UINT64_C(0xA32603887EB6B8A1), 0x0C, MEMBER_IMPL, ""},
    {RPC_MESSAGE, APR_UINT64_C(0x712A750FF274E509), 0x0C, NULL, ""},
    {NO_CHANNEL, APR_UINT64_C(0x7BAB8FB36A4B5BA6), 0x0C, RPC_MESSAGE, ""},
    {MAP_MESSAGE, 1, 0x02, NULL,
     "Zdiff Imsgtype [diffvalue=[B [keydata=[B [mapId=[B "
     "[nodes=[Lorg/apache/catalina/tribes/Member; Lprimary=Lorg/apache/catalina/tribes/Member; "
     "[valuedata=[B "},
    {"org.apache.catalina.tribes.tipis.AbstractReplicatedMap$State", 0, 0x12, "java.lang.Enum", ""},
    {"java.lang.Enum", 0, 0x12, NULL, ""},
    {SESSION_MESSAGE, 2, 0x02, "org.apache.catalina.ha.ClusterMessageBase",
     "ImEvtType JserializationTimestamp ZtimestampSet LmContextName=Ljava/lang/String; "
     "[mSession=[B LmSessionID=Ljava/lang/String; LuniqueId=Ljava/lang/String; "},
    {"org.apache.catalina.ha.ClusterMessageBase", 1, 0x02, NULL, "Jtimestamp "},
    {"org.apache.catalina.ha.session.DeltaSession", APR_UINT64_C(0x041D33B9B82EA975), 0x0C,
     "org.apache.catalina.session.StandardSession", ""},
    {"org.apache.catalina.session.StandardSession", 1, 0x02, NULL,
     "JcreationTime ZisNew ZisValid JlastAccessedTime ImaxInactiveInterval JthisAccessedTime "
     "Lattributes=Ljava/util/concurrent/ConcurrentMap; Lid=Ljava/lang/String; "},
    {ARRAY_LIST, APR_UINT64_C(0x7881D21D99C7619D), 0x03, NULL, "Isize "},
    {"java.lang.Long", APR_UINT64_C(0x3B8BE490CC8F23DF), 0x02, "java.lang.Number", "Jvalue "},
    {"java.lang.Integer", APR_UINT64_C(0x12E2A0A4F7818738), 0x02, "java.lang.Number", "Ivalue "},
    {"java.lang.Boolean", APR_UINT64_C(0xCD207280D59CFAEE), 0x02, NULL, "Zvalue "},
    {"java.lang.Number", APR_UINT64_C(0x86AC951D0B94E08B), 0x02, NULL, ""},
    {"org.apache.catalina.tribes.membership.StaticMembershipProvider$MemberMessage", 1, 0x02, NULL,
     "Imsgtype Lmember=Lorg/apache/catalina/tribes/Member; [membershipId=[B "},
};

#define CLASSES (sizeof(classes) / sizeof(classes[0]))

static int is_named(const java_node_t *cls, const char *name)
{
    return cls->len == strlen(name) && memcmp(cls->p, name, cls->len) == 0;
}

static void add(char *text, apr_size_t size, const unsigned char *p, apr_size_t len)
{
    apr_size_t used = strlen(text);

    snprintf(text + used, size - used, "%.*s", (int)len, (const char *)p);
}

static int has_fields(const java_node_t *cls, const char *want)
{
    char text[512] = "";
    apr_uint32_t i;

    for (i = 0; i < cls->nfields; i++) {
        const java_field_t *f = &cls->field[i];
        const java_node_t *class_name = java_value(f->class_name);

        add(text, sizeof(text), (const unsigned char *)&f->type, 1);
        add(text, sizeof(text), f->name, f->name_len);
        if (class_name != NULL) {
            add(text, sizeof(text), (const unsigned char *)"=", 1);
            add(text, sizeof(text), class_name->p, class_name->len);
        }
        add(text, sizeof(text), (const unsigned char *)" ", 1);
    }
    return strcmp(text, want) == 0;
}

static void check_class(java_node_t *n, void *baton)
{
    int *met = baton;
    java_node_t *cls = java_value(n->cls);

    for (; cls != NULL && cls->kind == JAVA_CLASS; cls = java_value(cls->above)) {
        apr_size_t i;

        for (i = 0; i < CLASSES && !is_named(cls, classes[i].name); i++) {
        }
        CU_ASSERT_FATAL(i < CLASSES);
        met[i]++;
        CU_ASSERT_EQUAL(cls->serial, classes[i].serial);
        CU_ASSERT_EQUAL(cls->flags, classes[i].flags);
        CU_ASSERT_TRUE(has_fields(cls, classes[i].fields));
        CU_ASSERT_PTR_NULL(cls->notes.first);
        if (classes[i].above == NULL) {
            CU_ASSERT_TRUE(is_null(cls->above));
        } else {
            CU_ASSERT_TRUE(is_named(java_value(cls->above), classes[i].above));
        }
    }
}

/** All classes that are met are known, in the version that is known. */
static void test_classes(void)
{
    int met[CLASSES] = {0};
    apr_size_t i;

    for (i = 0; i < VECTORS; i++) {
        vector_java_t v;

        if (vectors[i].kind == VECTOR_JAVA) {
            vector_open(&v, vectors[i].name);
            java_each(v.stream, check_class, met);
            vector_close(&v);
        }
    }
    for (i = 0; i < CLASSES; i++) {
        CU_ASSERT(met[i] > 0);
    }
}

/* ---- members --------------------------------------------------------------------------------- */

/* Those of one vector; each set-up has other unique ids, and its own ports. */
typedef struct people_t {
    sc_member_t m[64];
    apr_size_t n;
} people_t;

static void meet(people_t *people, const sc_member_t *m)
{
    apr_size_t i;

    CU_ASSERT_FATAL(people->n < sizeof(people->m) / sizeof(people->m[0]));
    people->m[people->n] = *m;
    for (i = 0; people->m[i].port != m->port; i++) {
    }
    CU_ASSERT_EQUAL(memcmp(&people->m[i].uid, &m->uid, sizeof(m->uid)), 0);
    people->n++;
    CU_ASSERT(m->host_len == 4 && memcmp(m->host, "\177\0\0\1", 4) == 0);
    CU_ASSERT_EQUAL(m->secure_port, -1);
    CU_ASSERT_EQUAL(m->udp_port, -1);
    CU_ASSERT(m->command_len == 0 || sc_member_leaving(m));
    CU_ASSERT_EQUAL(m->domain_len, 0);
    CU_ASSERT_EQUAL(m->payload_len, 0);
    CU_ASSERT_FALSE(m->ours);
    /* of a member that it has heard of Tomcat says its own clock instead */
    CU_ASSERT(
        m->alive_ms < APR_UINT64_C(1000) * 3600 ||
        (m->alive_ms > APR_UINT64_C(1795363000000) && m->alive_ms < APR_UINT64_C(1795968000000)));
}

static void meet_object(java_node_t *n, void *people)
{
    sc_member_t m;

    if (java_is(n, MEMBER_IMPL) || java_is(n, STATIC_MEMBER)) {
        CU_ASSERT_TRUE_FATAL(vector_member(n, &m));
        meet(people, &m);
    }
}

/** All members, those that send and those that are spoken of, are on loopback; whoever is met twice
 *  is the same. */
static void test_members(void)
{
    static people_t people;
    apr_size_t i, members = 0;

    for (i = 0; i < VECTORS; i++) {
        people.n = 0;
        if (vectors[i].kind == VECTOR_JAVA) {
            vector_java_t v;

            vector_open(&v, vectors[i].name);
            meet(&people, &v.packet.from);
            java_each(v.stream, meet_object, &people);
            vector_close(&v);
        } else if (vectors[i].kind == VECTOR_RAW) {
            sc_packet_t p;

            free(rig_captured(vectors[i].name, &p));
            meet(&people, &p.from);
        } else if (vectors[i].kind == VECTOR_MEMBER) {
            apr_size_t len = 0, used = 0;
            unsigned char *bytes = rig_vector(vectors[i].name, &len);
            sc_member_t m;

            CU_ASSERT_FATAL(bytes != NULL && sc_member_get(&m, bytes, len, &used) == APR_SUCCESS);
            meet(&people, &m);
            free(bytes);
        }
        members += people.n;
    }
    CU_ASSERT_EQUAL(members, 107); /* and four in an election, see suite coordinator */
}

/* ---- sessions -------------------------------------------------------------------------------- */

typedef struct session_t {
    apr_uint64_t created;
    apr_uint64_t accessed;
    apr_uint64_t this_accessed;
    int is_new;
    const char *id;
    const char *name; /* of its one attribute; NULL: none */
    const char *value;
} session_t;

/* A session's items from the n-th on (7.5). */
static void check_session(const java_list_t *list, unsigned int n, const session_t *want)
{
    java_node_t *item[16] = {0};
    unsigned int i, attributes = want->name != NULL;

    CU_ASSERT_EQUAL_FATAL(java_count(list), n + 13 + 2 * attributes);
    for (i = 0; i < 13 + 2 * attributes; i++) {
        item[i] = java_nth(list, n + i);
    }
    CU_ASSERT(java_is(item[0], "java.lang.Long"));
    CU_ASSERT_EQUAL(java_number(item[0]), want->created);
    CU_ASSERT_EQUAL(java_number(item[1]), want->accessed);
    CU_ASSERT(java_is(item[2], "java.lang.Integer"));
    CU_ASSERT_EQUAL(java_number(item[2]), 1800);
    CU_ASSERT(java_is(item[3], "java.lang.Boolean"));
    CU_ASSERT_EQUAL(java_number(item[3]), (apr_uint64_t)want->is_new);
    CU_ASSERT_EQUAL(java_number(item[4]), 1); /* valid */
    CU_ASSERT_EQUAL(java_number(item[5]), want->this_accessed);
    CU_ASSERT(java_is(item[6], "java.lang.Long"));
    CU_ASSERT_EQUAL(java_number(item[6]), 0); /* version */
    CU_ASSERT(item[7]->kind == JAVA_BLOCK && item[7]->len == 1 && item[7]->p[0] == 0);
    CU_ASSERT(item[8]->kind == JAVA_STRING && java_says(item[8], want->id));
    CU_ASSERT(is_null(item[9]));
    CU_ASSERT(is_null(item[10]));
    CU_ASSERT(java_is(item[11], "java.lang.Integer"));
    CU_ASSERT_EQUAL(java_number(item[11]), attributes);
    if (attributes > 0) {
        CU_ASSERT(java_says(item[12], want->name));
        CU_ASSERT(java_says(item[13], want->value));
    }
    CU_ASSERT(java_is(item[12 + 2 * attributes], "java.lang.Integer"));
    CU_ASSERT_EQUAL(java_number(item[12 + 2 * attributes]), 0); /* listeners */
}

/* A session on its own, in an array of bytes. */
static void check_session_value(java_node_t *array, const session_t *want)
{
    java_node_t *session = java_inner(array);

    CU_ASSERT_TRUE_FATAL(java_is(session, "org.apache.catalina.ha.session.DeltaSession"));
    CU_ASSERT_EQUAL(java_value(java_value(session->cls)->above)->nfields, 8);
    check_session(java_notes(session), 0, want);
}

/* What a new session is told to be, and its first attribute. */
static void check_delta(java_node_t *array, const char *id, const char *name, const char *value)
{
    vector_delta_t d;

    CU_ASSERT_FATAL(array != NULL && array->inner != NULL);
    CU_ASSERT_TRUE_FATAL(vector_delta(array->inner, &d));
    CU_ASSERT_TRUE(vector_says(&d.id, id));
    CU_ASSERT_EQUAL(d.record_all, 0);
    CU_ASSERT_EQUAL_FATAL(d.n, 3);
    CU_ASSERT_EQUAL(d.action[0].type, 2);
    CU_ASSERT_TRUE(vector_says(&d.action[0].name, "__SET__ISNEW__"));
    CU_ASSERT(java_is(d.action[0].value, "java.lang.Boolean"));
    CU_ASSERT_EQUAL(java_number(d.action[0].value), 1);
    CU_ASSERT_EQUAL(d.action[1].type, 3);
    CU_ASSERT_TRUE(vector_says(&d.action[1].name, "__SET__MAXINTERVAL__"));
    CU_ASSERT(java_is(d.action[1].value, "java.lang.Integer"));
    CU_ASSERT_EQUAL(java_number(d.action[1].value), 1800);
    CU_ASSERT_EQUAL(d.action[2].type, 0);
    CU_ASSERT_TRUE(vector_says(&d.action[2].name, name));
    CU_ASSERT(java_says(d.action[2].value, value));
    for (unsigned int i = 0; i < d.n; i++) {
        CU_ASSERT_EQUAL(d.action[i].action, 0); /* set */
    }
}

/* ---- DeltaManager ---------------------------------------------------------------------------- */

static const struct {
    const char *file;
    apr_uint64_t event;
    apr_uint32_t options;
    apr_int32_t from;
    apr_uint64_t time; /* 0: not set */
    const char *context;
    const char *session;
    const char *unique;
    int payload;
} events[] = {
    {"delta-evt01-created.bin", 1, 8, 4110, 1795363344826, CONTEXT, ID_A, ID_A "-1795363344826", 0},
    {"delta-evt02-expired.bin", 2, 8, 4111, 1795363347120, CONTEXT,
     "0C06CF5A8F77C5F32023AEA5F14637C5.r2", "0C06CF5A8F77C5F32023AEA5F14637C5.r2-EXPIRED-MSG", 0},
    {"delta-evt04-get-all-sessions.bin", 4, 8, 4111, 1795363343645, CONTEXT, "GET-ALL",
     "GET-ALL-" CONTEXT, 0},
    {"delta-evt12-all-session-data.bin", 12, 6, 4110, 1795363343670, CONTEXT, "SESSION-STATE",
     "SESSION-STATE-" CONTEXT, 1},
    {"delta-evt13-delta.bin", 13, 8, 4110, 1795363344830, CONTEXT, ID_A, ID_A "-1795363344830", 1},
    {"delta-evt14-all-session-transfercomplete.bin", 14, 8, 4110, 1795363343670, CONTEXT,
     "SESSION-STATE-TRANSFERRED", "SESSION-STATE-TRANSFERRED" CONTEXT, 0},
    {"delta-evt15-change-session-id.bin", 15, 8, 4110, 1795363345946, CONTEXT, ID_A,
     ID_A "-1795363345945", 1},
    {"delta-evt16-nocontextmanager.bin", 16, 8, 4130, 0, "localhost#/other", "NO-CONTEXT-MANAGER",
     "NO-CONTEXT-MANAGER-localhost#/other", 0},
};

#define EVENTS (sizeof(events) / sizeof(events[0]))

static void test_events(void)
{
    apr_size_t i;

    for (i = 0; i < EVENTS; i++) {
        vector_java_t v;
        java_node_t *o;

        vector_open(&v, events[i].file);
        o = v.top;
        CU_ASSERT_EQUAL(v.packet.options, events[i].options);
        CU_ASSERT_EQUAL(v.packet.from.port, events[i].from);
        CU_ASSERT_TRUE_FATAL(java_is(o, SESSION_MESSAGE));
        CU_ASSERT_EQUAL(java_count(&o->part->field), 1); /* of ClusterMessageBase */
        CU_ASSERT_EQUAL(java_count(&o->part->next->field), 7);
        CU_ASSERT_EQUAL(java_number(java_field(o, "timestamp")), 0);
        CU_ASSERT_EQUAL(java_number(java_field(o, "mEvtType")), events[i].event);
        CU_ASSERT_EQUAL(java_number(java_field(o, "serializationTimestamp")), events[i].time);
        CU_ASSERT_EQUAL(java_number(java_field(o, "timestampSet")), events[i].time != 0);
        CU_ASSERT(says(java_field(o, "mContextName"), events[i].context));
        CU_ASSERT(says(java_field(o, "mSessionID"), events[i].session));
        CU_ASSERT(says(java_field(o, "uniqueId"), events[i].unique));
        CU_ASSERT_EQUAL(is_null(java_field(o, "mSession")), !events[i].payload);
        vector_close(&v);
    }
}

static void test_event_payloads(void)
{
    static const session_t session = {
        1795363340905, 1795363340911, 1795363340911, 0, "6056E22751A2B1283C063420AD470202.r1",
        "pre",         "join"};
    java_node_t *array;
    vector_java_t v;

    vector_open(&v, "delta-evt12-all-session-data.bin");
    array = java_field(v.top, "mSession");
    CU_ASSERT_FATAL(array != NULL && array->inner != NULL);
    CU_ASSERT(java_is(java_nth(array->inner, 0), "java.lang.Integer"));
    CU_ASSERT_EQUAL(java_number(java_nth(array->inner, 0)), 1);
    check_session(array->inner, 1, &session);
    vector_close(&v);

    vector_open(&v, "delta-evt13-delta.bin");
    check_delta(java_field(v.top, "mSession"), ID_A, "color", "blue");
    vector_close(&v);

    vector_open(&v, "delta-evt15-change-session-id.bin");
    array = java_inner(java_field(v.top, "mSession"));
    CU_ASSERT_FATAL(array != NULL && array->kind == JAVA_BLOCK);
    CU_ASSERT_EQUAL(array->len, 2 + 35);
    CU_ASSERT_EQUAL(memcmp(array->p, "\0\0439B9D50B987D08A5E9E040746F370385F.r1", 37), 0);
    vector_close(&v);
}

/* ---- maps ------------------------------------------------------------------------------------ */

typedef enum call_t { PLAIN, REQUEST, REPLY } call_t;

static const struct {
    const char *file;
    call_t call;
    apr_uint32_t options;
    apr_int32_t from;
    apr_uint64_t type;
    const char *key;
    const char *map;
    apr_int32_t primary; /* 0: null */
    apr_int32_t node;    /* of one; 0: null */
    int value;
    int diff;
} maps[] = {
    {"map-backup.bin", PLAIN, 6, 4120, 1, ID_B, MAP, 4120, 4121, 1, 0},
    {"map-backup-diff.bin", PLAIN, 6, 4120, 1, ID_C, MAP, 4120, 4122, 0, 1},
    {"map-proxy.bin", PLAIN, 6, 4120, 3, ID_C, MAP, 4120, 4122, 0, 0},
    {"map-remove.bin", PLAIN, 6, 4120, 4, "73E74BA78D651370CB73B23C8309B5D8.r1", MAP, 0, 0, 0, 0},
    {"map-notify-mapmember.bin", PLAIN, 6, 4121, 12, ID_C, MAP, 4121, 4122, 0, 0},
    {"map-stop.bin", PLAIN, 6, 4122, 7, NULL, MAP, 4122, 0, 0, 0},
    {"map-rpc-init-request.bin", REQUEST, 2, 4121, 8, NULL, MAP, 4121, 0, 0, 0},
    {"map-rpc-init-reply.bin", REPLY, 0, 4120, 8, NULL, MAP, 4120, 0, 0, 0},
    {"map-rpc-start-request.bin", REQUEST, 2, 4121, 6, NULL, MAP, 4121, 0, 0, 0},
    {"map-rpc-start-reply.bin", REPLY, 0, 4120, 6, NULL, MAP, 4120, 0, 0, 0},
    {"map-rpc-ping-request.bin", REQUEST, 2, 4120, 13, NULL, MAP, 4120, 0, 0, 0},
    {"map-rpc-ping-reply.bin", REPLY, 0, 4121, 13, NULL, MAP, 4121, 0, 1, 0},
    {"map-rpc-state-request.bin", REQUEST, 2, 4121, 5, NULL, MAP, 0, 0, 0, 0},
    {"map-rpc-state-reply.bin", REPLY, 0, 4120, 5, NULL, MAP, 0, 0, 1, 0},
    {"map-rpc-state-reply-many.bin", REPLY, 0, 4121, 5, NULL, MAP, 0, 0, 1, 0},
    {"map-rpc-retrieve-backup-request.bin", REQUEST, 2, 4121, 2, ID_C, MAP, 0, 0, 0, 0},
    {"map-rpc-retrieve-backup-reply.bin", REPLY, 0, 4122, 2, NULL, MAP, 0, 0, 1, 0},
    {"repmap-copy.bin", PLAIN, 2, 4100, 9, "key1", "mymap", 4100, 4101, 1, 0},
    {"repmap-rpc-state-copy-request.bin", REQUEST, 2, 4101, 10, NULL, "mymap", 0, 0, 0, 0},
    {"repmap-rpc-state-copy-reply.bin", REPLY, 0, 4100, 10, NULL, "mymap", 0, 0, 1, 0},
    {"nonjava-map-backup.bin", PLAIN, 6, 4149, 1, ID_D, MAP, 4149, 4149, 1, 0},
    {"nonjava-map-backup-diff.bin", PLAIN, 6, 4149, 1, ID_D, MAP, 4149, 4149, 0, 1},
    {"nonjava-map-rpc-init-request.bin", REQUEST, 2, 4149, 8, NULL, MAP, 4149, 0, 0, 0},
    {"nonjava-map-rpc-start-request.bin", REQUEST, 2, 4149, 6, NULL, MAP, 4149, 0, 0, 0},
    {"nonjava-map-rpc-state-request.bin", REQUEST, 2, 4149, 5, NULL, MAP, 0, 0, 0, 0},
    {"nonjava-map-rpc-ping-reply.bin", REPLY, 0, 4149, 13, NULL, MAP, 4149, 0, 1, 0},
    {"nonjava-map-rpc-retrieve-backup-reply.bin", REPLY, 0, 4149, 2, ID_D, MAP, 0, 0, 0, 0},
};

#define MAPS (sizeof(maps) / sizeof(maps[0]))

static int port_of(java_node_t *n)
{
    sc_member_t m;

    return is_null(n) ? 0 : n != NULL && vector_member(n, &m) ? m.port : -1;
}

/* The port of the one member in an array, 0: there is no array. */
static int node_of(java_node_t *array)
{
    if (is_null(array)) {
        return 0;
    }
    return array != NULL && array->kind == JAVA_ARRAY && java_count(&array->list) == 1
               ? port_of(java_nth(&array->list, 0))
               : -1;
}

/* The message inside of a call, or the message itself. */
static java_node_t *map_message(const vector_java_t *v, call_t call, const char *map)
{
    vector_call_t head;

    if (call == PLAIN) {
        return v->top;
    }
    CU_ASSERT_TRUE_FATAL(vector_call(v->top, &head));
    CU_ASSERT_FALSE(head.no_channel);
    CU_ASSERT_EQUAL(head.reply, call == REPLY);
    CU_ASSERT_TRUE(vector_says(&head.id, map));
    return java_nth(java_notes(v->top), 1);
}

static void test_maps(void)
{
    apr_size_t i;

    for (i = 0; i < MAPS; i++) {
        java_node_t *o, *key;
        vector_java_t v;

        vector_open(&v, maps[i].file);
        CU_ASSERT_EQUAL(v.packet.options, maps[i].options);
        CU_ASSERT_EQUAL(v.packet.from.port, maps[i].from);
        o = map_message(&v, maps[i].call, maps[i].map);
        CU_ASSERT_TRUE_FATAL(java_is(o, MAP_MESSAGE));
        CU_ASSERT_EQUAL(java_count(&o->part->field), 8);
        CU_ASSERT_EQUAL(java_number(java_field(o, "msgtype")), maps[i].type);
        CU_ASSERT_EQUAL(java_number(java_field(o, "diff")), (apr_uint64_t)maps[i].diff);
        CU_ASSERT_EQUAL(is_null(java_field(o, "diffvalue")), !maps[i].diff);
        CU_ASSERT(says(java_field(o, "mapId"), maps[i].map));
        CU_ASSERT_EQUAL(is_null(java_field(o, "valuedata")), !maps[i].value);
        CU_ASSERT_EQUAL(port_of(java_field(o, "primary")), maps[i].primary);
        CU_ASSERT_EQUAL(node_of(java_field(o, "nodes")), maps[i].node);
        key = java_field(o, "keydata");
        CU_ASSERT_EQUAL(is_null(key), maps[i].key == NULL);
        if (maps[i].key != NULL) {
            CU_ASSERT(java_inner(key) != NULL && java_inner(key)->kind == JAVA_STRING &&
                      java_says(java_inner(key), maps[i].key));
        }
        /* whoever is not Java repeats every name */
        CU_ASSERT_EQUAL(java_value(o->cls)->field[3].class_name->kind,
                        strncmp(maps[i].file, "nonjava-", 8) == 0 ? JAVA_STRING : JAVA_REFERENCE);
        vector_close(&v);
    }
}

/* Open, and find a field of the message. */
static java_node_t *field_of(vector_java_t *v, const char *file, call_t call, const char *name)
{
    vector_open(v, file);
    return java_field(map_message(v, call, MAP), name);
}

static void test_map_values(void)
{
    static const session_t backup = {APR_UINT64_C(0x1A203FF4EEE),
                                     APR_UINT64_C(0x1A203FF4F0C),
                                     APR_UINT64_C(0x1A203FF4F0C),
                                     0,
                                     ID_B,
                                     "pre",
                                     "join"};
    static const session_t retrieved = {APR_UINT64_C(0x1A203FF7AB4),
                                        APR_UINT64_C(0x1A203FF7FF2),
                                        APR_UINT64_C(0x1A203FF7FF2),
                                        0,
                                        ID_C,
                                        "z",
                                        "1"};
    static const session_t other = {APR_UINT64_C(0x1A2040579B4),
                                    APR_UINT64_C(0x1A2040579B4),
                                    APR_UINT64_C(0x1A2040579B4),
                                    1,
                                    ID_D,
                                    NULL,
                                    NULL};
    static const char *const pings[] = {"map-rpc-ping-reply.bin", "nonjava-map-rpc-ping-reply.bin"};
    java_node_t *n;
    vector_java_t v;
    int i;

    check_session_value(field_of(&v, "map-backup.bin", PLAIN, "valuedata"), &backup);
    vector_close(&v);
    check_session_value(field_of(&v, "map-rpc-retrieve-backup-reply.bin", REPLY, "valuedata"),
                        &retrieved);
    vector_close(&v);
    check_session_value(field_of(&v, "nonjava-map-backup.bin", PLAIN, "valuedata"), &other);
    vector_close(&v);
    check_delta(field_of(&v, "map-backup-diff.bin", PLAIN, "diffvalue"), ID_C, "color", "blue");
    vector_close(&v);
    check_delta(field_of(&v, "nonjava-map-backup-diff.bin", PLAIN, "diffvalue"), ID_D, "a1", "1");
    vector_close(&v);
    n = field_of(&v, "repmap-copy.bin", PLAIN, "valuedata");
    CU_ASSERT(java_says(java_inner(n), "val1"));
    CU_ASSERT(java_is(java_field(v.top, "primary"), STATIC_MEMBER));
    CU_ASSERT(java_is(java_nth(&java_field(v.top, "nodes")->list, 0), MEMBER_IMPL));
    vector_close(&v);
    for (i = 0; i < 2; i++) {
        n = java_inner(field_of(&v, pings[i], REPLY, "valuedata"));
        CU_ASSERT_FATAL(n != NULL && n->kind == JAVA_ENUM);
        CU_ASSERT(java_is(n, "org.apache.catalina.tribes.tipis.AbstractReplicatedMap$State"));
        CU_ASSERT(java_says(n->constant, "INITIALIZED"));
        vector_close(&v);
    }
}

/* ---- lists of where sessions are ------------------------------------------------------------- */

static java_node_t *list_of(vector_java_t *v, const char *file)
{
    java_node_t *list = java_inner(field_of(v, file, REPLY, "valuedata"));

    CU_ASSERT_TRUE_FATAL(java_is(list, ARRAY_LIST));
    CU_ASSERT_EQUAL(java_number(java_field(list, "size")) + 1, java_count(java_notes(list)));
    return list;
}

static void test_lists(void)
{
    int primaries[3] = {0, 0, 0}, references = 0;
    java_node_t *list, *e, *key;
    vector_java_t v;
    unsigned int n;

    list = list_of(&v, "map-rpc-state-reply.bin");
    CU_ASSERT_EQUAL_FATAL(java_count(java_notes(list)), 2);
    e = java_nth(java_notes(list), 1);
    CU_ASSERT_EQUAL(java_number(java_field(e, "msgtype")), 3);
    CU_ASSERT(java_says(java_inner(java_field(e, "keydata")), ID_B));
    CU_ASSERT_EQUAL(port_of(java_field(e, "primary")), 4120);
    CU_ASSERT_EQUAL(java_field(e, "nodes")->kind, JAVA_ARRAY);
    CU_ASSERT_PTR_NULL(java_field(e, "nodes")->list.first);
    vector_close(&v);

    list = list_of(&v, "map-rpc-state-reply-many.bin");
    CU_ASSERT_EQUAL_FATAL(java_count(java_notes(list)), 1 + 9);
    for (n = 1; n <= 9; n++) {
        int primary, node;

        e = java_nth(java_notes(list), n);
        CU_ASSERT_TRUE_FATAL(java_is(e, MAP_MESSAGE));
        CU_ASSERT_EQUAL(java_number(java_field(e, "msgtype")), 3);
        CU_ASSERT(java_says(java_field(e, "mapId"), MAP));
        CU_ASSERT(is_null(java_field(e, "valuedata")));
        key = java_inner(java_field(e, "keydata"));
        primary = port_of(java_field(e, "primary"));
        node = node_of(java_field(e, "nodes"));
        CU_ASSERT_FATAL(key != NULL && key->len == 35 && primary >= 4120 && primary <= 4122);
        CU_ASSERT_EQUAL(primary, 4120 + key->p[34] - '1'); /* r1 is at 4120 */
        CU_ASSERT(node >= 4120 && node <= 4122 && node != primary);
        primaries[primary - 4120]++;
        references += java_field(e, "nodes")->list.first->kind == JAVA_REFERENCE;
        references += e->part->field.last->kind == JAVA_REFERENCE;
        references += java_value(e->cls) == e->cls ? 0 : 1;
    }
    CU_ASSERT(primaries[0] == 3 && primaries[1] == 3 && primaries[2] == 3);
    CU_ASSERT(references >= 8); /* so that they test references at all */
    vector_close(&v);

    vector_open(&v, "repmap-rpc-state-copy-reply.bin");
    e = java_inner(java_field(map_message(&v, REPLY, "mymap"), "valuedata"));
    CU_ASSERT_TRUE_FATAL(java_is(e, ARRAY_LIST));
    CU_ASSERT_EQUAL(java_number(java_field(e, "size")), 0);
    vector_close(&v);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void test_calls(void)
{
    static const struct {
        const char *file;
        const char *call;
    } calls[] = {
        {"map-rpc-init-request.bin", "5ad43a07ffd9489899a766449c196f0e"},
        {"map-rpc-init-reply.bin", "5ad43a07ffd9489899a766449c196f0e"},
        {"map-rpc-state-request.bin", "446c2caaf212402b8239cb194d96ef66"},
        {"map-rpc-state-reply.bin", "446c2caaf212402b8239cb194d96ef66"},
        {"map-rpc-start-request.bin", "8efcd1cd4f0d41e88357b2e997da9604"},
        {"map-rpc-start-reply.bin", "8efcd1cd4f0d41e88357b2e997da9604"},
        {"map-rpc-ping-request.bin", "d1d61782209a4d7e9e2e2423722bb2ab"},
        {"map-rpc-ping-reply.bin", "d1d61782209a4d7e9e2e2423722bb2ab"},
        {"map-rpc-retrieve-backup-request.bin", "a4e385deeef94329ae38ec00f44065fa"},
        {"map-rpc-retrieve-backup-reply.bin", "a4e385deeef94329ae38ec00f44065fa"},
        {"repmap-rpc-state-copy-request.bin", "825622b68e63442b82b10f396963d48b"},
        {"repmap-rpc-state-copy-reply.bin", "825622b68e63442b82b10f396963d48b"},
        {"static-rpc-start-request.bin", "f73d9cccb8c74fdcb848fa5f623b0440"},
        {"static-rpc-start-reply.bin", "f73d9cccb8c74fdcb848fa5f623b0440"},
        {"rpc-request-string.bin", "bd281d0916ab4cb39dc4c04547933d35"},
        {"rpc-no-channel-reply.bin", "bd281d0916ab4cb39dc4c04547933d35"},
        {"rpc-reply-string.bin", "911cef6dff06403182566cdce3abe2cd"},
        {"nonjava-rpc-no-channel-reply.bin", "af76ac0caa514bdaac188ba1220fe9b1"},
    };
    static const char *const nobody[] = {"rpc-no-channel-reply.bin",
                                         "nonjava-rpc-no-channel-reply.bin"};
    vector_call_t call;
    vector_java_t v;
    apr_size_t i;

    for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        sc_uid_t uid;

        CU_ASSERT_TRUE(sc_hex_get(uid.b, sizeof(uid.b), calls[i].call));
        vector_open(&v, calls[i].file);
        CU_ASSERT_TRUE_FATAL(vector_call(v.top, &call));
        CU_ASSERT_EQUAL(memcmp(&call.call, &uid, sizeof(uid)), 0);
        vector_close(&v);
    }
    vector_open(&v, "rpc-request-string.bin");
    CU_ASSERT_TRUE(vector_call(v.top, &call) && !call.reply && vector_says(&call.id, "rpc-1"));
    CU_ASSERT_EQUAL(v.packet.options, SC_OPT_USE_ACK);
    CU_ASSERT(java_says(java_nth(java_notes(v.top), 1), "ping"));
    vector_close(&v);
    vector_open(&v, "rpc-reply-string.bin");
    CU_ASSERT_TRUE(vector_call(v.top, &call) && call.reply && vector_says(&call.id, "rpc-1"));
    CU_ASSERT_EQUAL(v.packet.options, 0);
    CU_ASSERT(java_says(java_nth(java_notes(v.top), 1), "pong"));
    vector_close(&v);
    for (i = 0; i < 2; i++) {
        vector_open(&v, nobody[i]);
        CU_ASSERT_EQUAL(v.packet.options, SC_OPT_ASYNCHRONOUS);
        CU_ASSERT_TRUE(vector_call(v.top, &call));
        CU_ASSERT_TRUE(call.no_channel);
        CU_ASSERT_TRUE(vector_says(&call.id, i == 0 ? "rpc-1" : MAP));
        vector_close(&v);
    }
    vector_open(&v, "tcp-data-string-use-ack.bin");
    CU_ASSERT_EQUAL(v.packet.options, SC_OPT_USE_ACK); /* and no byte message */
    CU_ASSERT(v.top->kind == JAVA_STRING && java_says(v.top, "a String"));
    vector_close(&v);
}

static void test_static(void)
{
    static const struct {
        const char *file;
        call_t call;
        apr_uint64_t type;
        int number; /* of the member: 1 at 4100, 2 at 4101 */
    } says_of[] = {
        {"static-rpc-start-request.bin", REQUEST, 1, 2},
        {"static-rpc-start-reply.bin", REPLY, 1, 1},
        {"static-stop.bin", PLAIN, 2, 2},
    };
    apr_size_t i;

    for (i = 0; i < 3; i++) {
        vector_java_t v;
        java_node_t *o;
        sc_member_t m;

        vector_open(&v, says_of[i].file);
        o = map_message(&v, says_of[i].call, "grp-StaticMembership");
        CU_ASSERT_TRUE_FATAL(java_is(
            o, "org.apache.catalina.tribes.membership.StaticMembershipProvider$MemberMessage"));
        CU_ASSERT_EQUAL(java_number(java_field(o, "msgtype")), says_of[i].type);
        CU_ASSERT(java_says(java_field(o, "membershipId"), "grp-StaticMembership"));
        CU_ASSERT(java_is(java_field(o, "member"), STATIC_MEMBER));
        CU_ASSERT_TRUE_FATAL(vector_member(java_field(o, "member"), &m));
        CU_ASSERT_EQUAL(m.port, 4099 + says_of[i].number);
        CU_ASSERT_EQUAL(m.uid.b[15], says_of[i].number);
        CU_ASSERT_EQUAL(m.host_len, 4);
        CU_ASSERT_EQUAL(memcmp(m.host, "\177\0\0\1", 4), 0);
        CU_ASSERT_EQUAL(sc_member_leaving(&m), says_of[i].call == PLAIN);
        CU_ASSERT_TRUE(sc_member_same(&m, &v.packet.from));
        vector_close(&v);
    }
}

/* ---- what is not Java's ---------------------------------------------------------------------- */

/** Frames whose message is a text or, behind it, what an interceptor has put there. */
static void test_bytes(void)
{
#define FOX "the quick brown fox jumps over the lazy dog"
    static const struct {
        const char *file;
        apr_uint32_t options;
        apr_int32_t from;
        const char *text;
        apr_size_t behind;
    } texts[] = {
        {"tcp-data-bytemessage-no-ack.bin", 1, 4100, "noack", 0},
        {"tcp-data-bytemessage-use-ack.bin", 3, 4100, "hello tribes", 0},
        {"tcp-data-bytemessage-sync-ack.bin", 7, 4100, "sync", 0},
        {"tcp-data-bytemessage-async.bin", 9, 4100, "async", 0},
        {"mcast-broadcast-channeldata.bin", 65, 4100, "multicast", 0},
        {"interceptor-staticmembership-start.bin", 0, 4101, "Local StaticMember Notification Data",
         0},
        {"interceptor-staticmembership-stop.bin", 0, 4101, "Local StaticMember Shutdown Data", 0},
        {"interceptor-order.bin", 3, 4100, FOX, 4},
        {"interceptor-2pc-message.bin", 3, 4100, FOX, 0},
        {"interceptor-fragment-1-of-3.bin", 3, 4100, "the quick brown ", 9},
        {"interceptor-fragment-2-of-3.bin", 3, 4100, "fox jumps over t", 9},
        {"interceptor-fragment-3-of-3.bin", 3, 4100, "he lazy dog", 9},
    };
#undef FOX
    apr_size_t i;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        sc_packet_t p;
        unsigned char *body = rig_captured(texts[i].file, &p);

        CU_ASSERT_EQUAL(p.options, texts[i].options);
        CU_ASSERT_EQUAL(p.from.port, texts[i].from);
        CU_ASSERT_EQUAL_FATAL(p.body_len, strlen(texts[i].text) + texts[i].behind);
        CU_ASSERT_EQUAL(memcmp(p.body, texts[i].text, strlen(texts[i].text)), 0);
        free(body);
    }
}

void vectors_add_meaning(CU_pSuite s)
{
    CU_add_test(s, "classes and their versions", test_classes);
    CU_add_test(s, "members", test_members);
    CU_add_test(s, "DeltaManager's events", test_events);
    CU_add_test(s, "what events carry", test_event_payloads);
    CU_add_test(s, "messages of maps", test_maps);
    CU_add_test(s, "what they carry", test_map_values);
    CU_add_test(s, "lists of sessions", test_lists);
    CU_add_test(s, "remote calls", test_calls);
    CU_add_test(s, "static membership", test_static);
    CU_add_test(s, "bytes that are not Java's", test_bytes);
}
