/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Ids, stamps, clock, log, buffers, configuration defaults, the cookie's text.
 */
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>

#include "sc_base.h"
#include "sc_buf.h"
#include "sc_config.h"
#include "sc_cookie.h"
#include "sc_form.h"

void sc_suite_base(void);

/* ---- ids ----------------------------------------------------------------------------------- */

static void test_id_text(void)
{
    static const char text[] = "0123456789ABCDEF00FF10EFDEADBEEF";
    char out[SC_ID_HEX + 1];
    char masked[SC_ID_MASKED];
    sc_id_t id;

    CU_ASSERT_EQUAL(sc_id_parse(&id, text, SC_ID_HEX), APR_SUCCESS);
    CU_ASSERT_EQUAL(id.b[0], 0x01);
    CU_ASSERT_EQUAL(id.b[7], 0xEF);
    CU_ASSERT_EQUAL(id.b[15], 0xEF);
    CU_ASSERT_STRING_EQUAL(sc_id_format(&id, out), text);
    CU_ASSERT_STRING_EQUAL(sc_id_mask(&id, masked), "0123...");
}

static void test_id_hostile(void)
{
    static const char good[] = "0123456789ABCDEF00FF10EFDEADBEEF";
    static const char bad[] = {'a', 'f', 'G', '/', ':', '@', '`', '\0', ' ', '.', '-', '\xff', '%'};
    char text[SC_ID_HEX + 2];
    sc_id_t id, before;
    apr_size_t i, k;

    memset(&id, 0x5A, sizeof(id));
    before = id;
    CU_ASSERT_EQUAL(sc_id_parse(&id, good, SC_ID_HEX - 1), APR_EINVAL);
    CU_ASSERT_EQUAL(sc_id_parse(&id, "", 0), APR_EINVAL);
    memcpy(text, good, SC_ID_HEX);
    text[SC_ID_HEX] = '0';
    CU_ASSERT_EQUAL(sc_id_parse(&id, text, SC_ID_HEX + 1), APR_EINVAL);
    for (i = 0; i < sizeof(bad); i++) {
        for (k = 0; k < SC_ID_HEX; k++) {
            memcpy(text, good, SC_ID_HEX);
            text[k] = bad[i];
            CU_ASSERT_EQUAL(sc_id_parse(&id, text, SC_ID_HEX), APR_EINVAL);
        }
    }
    /* a refused text leaves the id alone */
    CU_ASSERT(memcmp(&id, &before, sizeof(id)) == 0);
}

/* Every byte at every place: a digit counts there and nowhere else, anything else is refused. */
static void test_id_bytes(void)
{
    static const char digits[] = "0123456789ABCDEF";
    int wrong = 0;

    for (int c = 0; c < 256; c++) {
        const char *digit = c ? strchr(digits, c) : NULL;

        for (apr_size_t k = 0; k < SC_ID_HEX; k++) {
            char text[SC_ID_HEX];
            sc_id_t id, expected;
            apr_status_t rv;

            for (apr_size_t i = 0; i < SC_ID_HEX; i++) {
                text[i] = digits[(7 * i + 3) % 16];
            }
            text[k] = (char)c;
            rv = sc_id_parse(&id, text, SC_ID_HEX);
            wrong += rv != (digit ? APR_SUCCESS : APR_EINVAL);
            for (apr_size_t i = 0; digit && i < SC_ID_LEN; i++) {
                apr_size_t hi = 2 * i == k ? (apr_size_t)(digit - digits) : (14 * i + 3) % 16;
                apr_size_t lo = 2 * i + 1 == k ? (apr_size_t)(digit - digits) : (14 * i + 10) % 16;

                expected.b[i] = (unsigned char)(hi << 4 | lo);
            }
            wrong += digit && memcmp(&id, &expected, sizeof(id)) != 0;
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void test_id_generate(void)
{
    enum { ROUNDS = 256 };
    unsigned char ones[SC_ID_LEN] = {0}, zeros[SC_ID_LEN] = {0};
    sc_id_t id, last;
    sc_uid_t uid;
    int i;
    apr_size_t k;

    memset(&last, 0, sizeof(last));
    for (i = 0; i < ROUNDS; i++) {
        CU_ASSERT_EQUAL_FATAL(sc_id_generate(&id), APR_SUCCESS);
        CU_ASSERT(memcmp(&id, &last, sizeof(id)) != 0);
        last = id;
        for (k = 0; k < SC_ID_LEN; k++) {
            ones[k] |= id.b[k];
            zeros[k] |= (unsigned char)~id.b[k];
        }
        CU_ASSERT_EQUAL_FATAL(sc_uid_generate(&uid), APR_SUCCESS);
        CU_ASSERT_EQUAL(uid.b[6] & 0xf0, 0x40);
        CU_ASSERT_EQUAL(uid.b[8] & 0xc0, 0x80);
    }
    /* every one of the 128 bits is random: seen set and seen clear */
    for (k = 0; k < SC_ID_LEN; k++) {
        CU_ASSERT_EQUAL(ones[k], 0xff);
        CU_ASSERT_EQUAL(zeros[k], 0xff);
    }
}

/* ---- stamps, clock -------------------------------------------------------------------------- */

static void test_stamp_order(void)
{
    static const sc_stamp_t sorted[] = {
        {0, 0},     {0, 1},     {1, 0}, {1, 0xffffffffu}, {0x7fffffffffffffffull, 5},
        {~0ull, 0}, {~0ull, 9},
    };
    int n = (int)(sizeof(sorted) / sizeof(sorted[0]));
    int i, k;

    for (i = 0; i < n; i++) {
        for (k = 0; k < n; k++) {
            int c = sc_stamp_cmp(&sorted[i], &sorted[k]);
            CU_ASSERT_EQUAL((c > 0) - (c < 0), (i > k) - (i < k));
        }
    }
}

static void test_clock(void)
{
    apr_time_t a = sc_mono(&sc_clock_system);
    apr_time_t b = sc_mono(&sc_clock_system);
    apr_time_t w = sc_wall(&sc_clock_system);

    CU_ASSERT(a > 0);
    CU_ASSERT(b >= a);
    CU_ASSERT(w > apr_time_from_sec(1500000000));
}

/* ---- log ------------------------------------------------------------------------------------ */

typedef struct sink_t {
    int lines;
    sc_log_level_t level;
    apr_status_t rv;
    char line[2048];
} sink_t;

static void sink_write(void *ctx, sc_log_level_t level, apr_status_t rv, const char *line)
{
    sink_t *s = ctx;

    s->lines++;
    s->level = level;
    s->rv = rv;
    strncpy(s->line, line, sizeof(s->line) - 1);
}

static void test_log(void)
{
    sink_t s = {0};
    sc_log_t log = {NULL, SC_LOG_NOTICE, sink_write};
    char longer[3000];

    log.ctx = &s;
    sc_log(NULL, SC_LOG_ERROR, 0, "nobody %d", 1);
    sc_log(&log, SC_LOG_INFO, 0, "too fine");
    CU_ASSERT_EQUAL(s.lines, 0);
    sc_log(&log, SC_LOG_NOTICE, APR_EOF, "member %s port %d", "n1", 4000);
    CU_ASSERT_EQUAL(s.lines, 1);
    CU_ASSERT_EQUAL(s.level, SC_LOG_NOTICE);
    CU_ASSERT_EQUAL(s.rv, APR_EOF);
    CU_ASSERT_STRING_EQUAL(s.line, "member n1 port 4000");
    /* a peer's name cannot forge a second line or drive a terminal */
    sc_log(&log, SC_LOG_ERROR, 0, "route %s", "a\r\nb\033[1m\x7f");
    CU_ASSERT_STRING_EQUAL(s.line, "route a??b?[1m?");
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    sc_log(&log, SC_LOG_ERROR, 0, "%s", longer);
    CU_ASSERT_EQUAL(strlen(s.line), 1023);
}

static void test_log_limit(void)
{
    sc_log_limit_t l = {0, 0};
    apr_uint64_t gone = 99;

    CU_ASSERT_EQUAL(sc_log_allowed(&l, 1000, 60, &gone), 1);
    CU_ASSERT_EQUAL(gone, 0);
    CU_ASSERT_EQUAL(sc_log_allowed(&l, 1000, 60, &gone), 0);
    CU_ASSERT_EQUAL(sc_log_allowed(&l, 1059, 60, NULL), 0);
    CU_ASSERT_EQUAL(sc_log_allowed(&l, 1060, 60, &gone), 1);
    CU_ASSERT_EQUAL(gone, 2);
    CU_ASSERT_EQUAL(sc_log_allowed(&l, 5000, 60, &gone), 1);
    CU_ASSERT_EQUAL(gone, 0);
    CU_ASSERT_EQUAL(sc_log_allowed(&l, 5000, 60, NULL), 0);
    CU_ASSERT_EQUAL(sc_log_allowed(&l, 9000, 60, NULL), 1);
}

/* ---- buffers -------------------------------------------------------------------------------- */

static void test_buf_roundtrip(void)
{
    static const apr_uint64_t numbers[] = {
        0, 1, 127, 128, 16383, 16384, 0xffffffffu, 1ull << 62, (1ull << 63) - 1, 1ull << 63, ~0ull};
    sc_buf_t b;
    sc_rd_t r;
    apr_size_t i, n, before;
    const unsigned char *s;

    sc_buf_init(&b, 1 << 20);
    sc_put_u8(&b, 0x1ff);
    sc_put_u32(&b, 0x01020304);
    sc_put_u64(&b, 0x0102030405060708ull);
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        before = b.len;
        sc_put_varint(&b, numbers[i]);
        CU_ASSERT_EQUAL(b.len - before, sc_varint_size(numbers[i]));
    }
    sc_put_str(&b, "hello", 5);
    sc_put_str(&b, "", 0);
    sc_put(&b, NULL, 0);
    CU_ASSERT_EQUAL_FATAL(b.err, APR_SUCCESS);
    CU_ASSERT(memcmp(b.data, "\xff\x01\x02\x03\x04\x01\x02", 7) == 0);

    sc_rd_init(&r, b.data, b.len);
    CU_ASSERT_EQUAL(sc_get_u8(&r), 0xff);
    CU_ASSERT_EQUAL(sc_get_u32(&r), 0x01020304);
    CU_ASSERT_EQUAL(sc_get_u64(&r), 0x0102030405060708ull);
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        CU_ASSERT_EQUAL(sc_get_varint(&r), numbers[i]);
    }
    s = sc_get_str(&r, 5, &n);
    CU_ASSERT(s != NULL && n == 5 && memcmp(s, "hello", 5) == 0);
    s = sc_get_str(&r, 5, &n);
    CU_ASSERT(s != NULL && n == 0);
    CU_ASSERT_EQUAL(sc_rd_left(&r), 0);
    CU_ASSERT_EQUAL(r.bad, 0);
    CU_ASSERT_EQUAL(sc_get_u8(&r), 0);
    CU_ASSERT_EQUAL(r.bad, 1);
    sc_buf_free(&b);
    CU_ASSERT_PTR_NULL(b.data);
    CU_ASSERT_EQUAL(b.limit, 1 << 20);
}

static void test_buf_limit(void)
{
    static const apr_size_t limits[] = {0, 1, 3, 255, 256, 257, 1000, 5000};
    apr_size_t i, k;

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        sc_buf_t b;

        sc_buf_init(&b, limits[i]);
        for (k = 0; k < limits[i]; k++) {
            sc_put_u8(&b, (unsigned int)k);
        }
        CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
        CU_ASSERT_EQUAL(b.len, limits[i]);
        CU_ASSERT(b.cap <= limits[i]);
        CU_ASSERT_PTR_NOT_NULL(sc_buf_reserve(&b, 0));
        sc_put_u8(&b, 1);
        CU_ASSERT_EQUAL(b.err, APR_ENOSPC);
        CU_ASSERT_EQUAL(b.len, limits[i]);
        /* sticky until cleared */
        CU_ASSERT_PTR_NULL(sc_buf_reserve(&b, 0));
        sc_buf_consume(&b, limits[i]);
        sc_put(&b, "x", 1);
        CU_ASSERT_EQUAL(b.len, 0);
        sc_buf_clear(&b);
        CU_ASSERT_EQUAL(b.err, APR_SUCCESS);
        sc_buf_free(&b);
    }
}

static void test_buf_overflow(void)
{
    sc_buf_t b;

    sc_buf_init(&b, 64);
    sc_put(&b, "abc", 3);
    CU_ASSERT_PTR_NULL(sc_buf_reserve(&b, (apr_size_t)-1));
    CU_ASSERT_EQUAL(b.err, APR_ENOSPC);
    sc_buf_clear(&b);
    sc_put_str(&b, "abc", (apr_size_t)-1);
    CU_ASSERT_EQUAL(b.err, APR_ENOSPC);
    CU_ASSERT_EQUAL(b.len, 0);
    sc_buf_clear(&b);
    /* a string that does not fit leaves no length behind */
    sc_put_str(&b, "0123456789012345678901234567890123456789012345678901234567890123", 64);
    CU_ASSERT_EQUAL(b.err, APR_ENOSPC);
    CU_ASSERT_EQUAL(b.len, 0);
    sc_buf_free(&b);
    sc_buf_init(&b, (apr_size_t)-1);
    sc_put(&b, "abc", 3);
    CU_ASSERT_PTR_NULL(sc_buf_reserve(&b, (apr_size_t)-1));
    CU_ASSERT_EQUAL(b.err, APR_ENOSPC);
    CU_ASSERT_EQUAL(b.len, 3);
    sc_buf_free(&b);
}

static void test_buf_moves(void)
{
    sc_buf_t a, b;

    sc_buf_init(&a, 100);
    sc_buf_init(&b, 200);
    sc_put(&a, "0123456789", 10);
    sc_buf_consume(&a, 4);
    CU_ASSERT_EQUAL(a.len, 6);
    CU_ASSERT(memcmp(a.data, "456789", 6) == 0);
    sc_buf_swap(&a, &b);
    CU_ASSERT_EQUAL(a.len, 0);
    CU_ASSERT_EQUAL(a.limit, 200);
    CU_ASSERT_EQUAL(b.len, 6);
    CU_ASSERT_EQUAL(b.limit, 100);
    sc_buf_patch_u32(&b, 2, 0x41424344);
    CU_ASSERT(memcmp(b.data, "45ABCD", 6) == 0);
    sc_buf_patch_u32(&b, 3, 0);
    CU_ASSERT(b.err != APR_SUCCESS);
    CU_ASSERT(memcmp(b.data, "45ABCD", 6) == 0);
    sc_buf_clear(&b);
    sc_buf_patch_u32(&b, 0, 0);
    CU_ASSERT(b.err != APR_SUCCESS);
    sc_buf_consume(&b, 99);
    CU_ASSERT_EQUAL(b.len, 0);
    sc_buf_free(&a);
    sc_buf_free(&b);
}

static void test_varint_hostile(void)
{
    static const struct {
        const char *bytes;
        apr_size_t n;
    } bad[] = {
        {"", 0},
        {"\x80", 1},                                          /* ends in the middle */
        {"\x80\x00", 2},                                      /* 0 in two bytes */
        {"\xff\x80\x00", 3},                                  /* 127 in three bytes */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10},     /* 65 bits */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}, /* eleven bytes */
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 10},
    };
    apr_size_t i, n;
    sc_rd_t r;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        sc_rd_init(&r, bad[i].bytes, bad[i].n);
        CU_ASSERT_EQUAL(sc_get_varint(&r), 0);
        CU_ASSERT_EQUAL(r.bad, 1);
        CU_ASSERT_EQUAL(sc_rd_left(&r), 0);
        /* sticky, even though bytes may be left */
        CU_ASSERT_EQUAL(sc_get_u8(&r), 0);
        CU_ASSERT_PTR_NULL(sc_get(&r, 0));
    }
    sc_rd_init(&r, "\x05hello", 6);
    CU_ASSERT_PTR_NULL(sc_get_str(&r, 4, &n)); /* longer than allowed */
    CU_ASSERT_EQUAL(n, 0);
    sc_rd_init(&r, "\x06hello", 6);
    CU_ASSERT_PTR_NULL(sc_get_str(&r, 100, &n)); /* longer than the input */
    CU_ASSERT_EQUAL(r.bad, 1);
    sc_rd_init(&r, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
    CU_ASSERT_PTR_NULL(sc_get_str(&r, (apr_size_t)-1, &n));
    sc_rd_init(&r, NULL, 0);
    CU_ASSERT_PTR_NOT_NULL(sc_get(&r, 0));
    CU_ASSERT_PTR_NULL(sc_get(&r, 1));
    sc_rd_init(&r, "abc", 3);
    CU_ASSERT_EQUAL(sc_get_u32(&r), 0);
    CU_ASSERT_EQUAL(r.bad, 1);
}

/* Random garbage through every reader: nothing may read outside (the sanitizers watch). */
static void test_reader_fuzz(void)
{
    unsigned int seed = 12345;
    int round;

    for (round = 0; round < 2000; round++) {
        apr_size_t n = (apr_size_t)(rand_r(&seed) % 40), i, len;
        unsigned char *exact = malloc(n + 1);
        sc_rd_t r;

        for (i = 0; i < n; i++) {
            exact[i] = (unsigned char)(rand_r(&seed) >> 3);
        }
        exact = realloc(exact, n > 0 ? n : 1);
        sc_rd_init(&r, exact, n);
        for (i = 0; i < 50; i++) {
            apr_size_t left = sc_rd_left(&r);
            switch (rand_r(&seed) % 5) {
            case 0:
                sc_get_u32(&r);
                break;
            case 1:
                sc_get_u64(&r);
                break;
            case 2:
                sc_get_varint(&r);
                break;
            case 3:
                if (sc_get_str(&r, 30, &len) != NULL) {
                    CU_ASSERT(len <= left);
                }
                break;
            default:
                sc_get_u8(&r);
            }
            CU_ASSERT(sc_rd_left(&r) <= left);
        }
        CU_ASSERT_EQUAL(r.bad, 1);
        free(exact);
    }
}

/* ---- configuration -------------------------------------------------------------------------- */

static void test_config_defaults(void)
{
    sc_config_t a, b;

    memset(&a, 0xAA, sizeof(a));
    memset(&b, 0x55, sizeof(b));
    sc_config_defaults(&a);
    sc_config_defaults(&b);
    CU_ASSERT(memcmp(&a, &b, sizeof(a)) == 0); /* padding included */
    CU_ASSERT_EQUAL(a.membership, SC_MEMBERSHIP_NONE);
    CU_ASSERT_STRING_EQUAL(a.mcast.address, "228.0.0.4");
    CU_ASSERT_EQUAL(a.mcast.port, 45565);
    CU_ASSERT_EQUAL(a.mcast.frequency_ms, 500);
    CU_ASSERT_EQUAL(a.mcast.drop_ms, 3000);
    CU_ASSERT_EQUAL(a.mcast.ttl, -1);
    CU_ASSERT_STRING_EQUAL(a.receiver.address, "");
    CU_ASSERT_EQUAL(a.receiver.port, 4000);
    CU_ASSERT_EQUAL(a.receiver.max_connections, 256);
    CU_ASSERT_EQUAL(a.receiver.max_frame, 16u << 20);
    CU_ASSERT_EQUAL(a.sender.timeout_ms, 3000);
    CU_ASSERT_EQUAL(a.sender.max_retries, 1);
    CU_ASSERT_EQUAL(a.sender.max_queue, 64u << 20);
    CU_ASSERT_EQUAL(a.send_options, 6);
    CU_ASSERT_EQUAL(a.ack_wait_ms, 1000);
    CU_ASSERT_EQUAL(a.delta.touch_ms, 1000);
    CU_ASSERT_EQUAL(a.delta.fetch_ms, 1000);
    CU_ASSERT_EQUAL(a.delta.state_ms, 60000);
    CU_ASSERT_EQUAL(a.delta.block_bytes, 256u << 10);
    CU_ASSERT_EQUAL(a.delta.tombstone_s, 600);
    CU_ASSERT_EQUAL(a.max_session, 64u << 10);
    CU_ASSERT_EQUAL(a.quorum, 0);
    CU_ASSERT_EQUAL(a.ninterceptors, 0);
}

/* ---- forms ----------------------------------------------------------------------------------- */

static void test_form(void)
{
    static const char *const names[] = {"a", "bc"};
    static const struct {
        const char *body;
        const char *a, *bc; /* NULL: not there */
        int good;
    } rows[] = {
        {"", NULL, NULL, 1},
        {"a=", "", NULL, 1},
        {"a=1&bc=2", "1", "2", 1},
        {"bc=2&a=1", "1", "2", 1},
        {"&&a=1&&", "1", NULL, 1},
        {"a=b=c=", "b=c=", NULL, 1},
        {"a=x+y%20z%2B%2f%26%3d", "x y z+/&=", NULL, 1},
        {"a=%C3%a4%25", "\xc3\xa4%", NULL, 1},
        {"a=%01%7F\xff", "\x01\x7f\xff", NULL, 1},
        {"a", NULL, NULL, 0},
        {"=", NULL, NULL, 0},
        {"a=1&", "1", NULL, 1},
        {"a=1&a=1", NULL, NULL, 0}, /* which of them? */
        {"a=1&a=", NULL, NULL, 0},
        {"a=&a=1", NULL, NULL, 0},
        {"A=1", NULL, NULL, 0},
        {"a=1&d=2", NULL, NULL, 0},
        {"%61=1", NULL, NULL, 0}, /* names are not escaped by any browser */
        {"b=1", NULL, NULL, 0},
        {"bcd=1", NULL, NULL, 0},
        {" a=1", NULL, NULL, 0},
        {"a=1;bc=2", "1;bc=2", NULL, 1},
        {"a=%", NULL, NULL, 0},
        {"a=%4", NULL, NULL, 0},
        {"a=%4g", NULL, NULL, 0},
        {"a=%g4", NULL, NULL, 0},
        {"a=%00", NULL, NULL, 0},
        {"a=x%00y", NULL, NULL, 0},
        {"a=%&bc=41", NULL, NULL, 0},
        {"a=1&bc=%", NULL, NULL, 0},
    };
    const char *values[2];
    apr_size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        apr_size_t len = strlen(rows[i].body);
        char *body = malloc(len + 1);

        memcpy(body, rows[i].body, len);
        CU_ASSERT_EQUAL(sc_form_read(body, len, names, values, 2),
                        rows[i].good ? APR_SUCCESS : APR_EINVAL);
        CU_ASSERT((values[0] == NULL) == (rows[i].a == NULL));
        CU_ASSERT((values[1] == NULL) == (rows[i].bc == NULL));
        CU_ASSERT(values[0] == NULL || strcmp(values[0], rows[i].a) == 0);
        CU_ASSERT(values[1] == NULL || strcmp(values[1], rows[i].bc) == 0);
        free(body);
    }
    {
        char nul[] = "a=1\0bc=2";

        CU_ASSERT_EQUAL(sc_form_read(nul, sizeof(nul) - 1, names, values, 2), APR_EINVAL);
        CU_ASSERT(values[0] == NULL && values[1] == NULL);
    }
}

static void test_form_id(void)
{
#define ID "0123456789ABCDEF0123456789ABCDEF"
    static const char *const good[] = {ID,          " " ID "\r\n", "\"" ID "\"",   ID ".n1",
                                       ID "-n2.n1", ID "; Path=/", ID ".<script>", "\t\"" ID " x"};
    static const char *const bad[] = {"",
                                      "n1." ID,
                                      ID "0",
                                      "0" ID,
                                      "x" ID,
                                      ID "x",
                                      "SID=" ID,
                                      "0123456789ABCDEF",
                                      "0123456789abcdef0123456789abcdef"};
    char hex[SC_ID_HEX + 1];
    apr_size_t i;
    sc_id_t id;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CU_ASSERT_EQUAL(sc_form_id(&id, good[i]), APR_SUCCESS);
        CU_ASSERT_STRING_EQUAL(sc_id_format(&id, hex), ID);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CU_ASSERT_EQUAL(sc_form_id(&id, bad[i]), APR_EINVAL);
    }
#undef ID
}

/* ---- the cookie's text ---------------------------------------------------------------------- */

#define ID "0123456789ABCDEF00FF10EFDEADBEEF"

#define LONG64 "0123456789012345678901234567890123456789012345678901234567890123"

static void test_cookie(void)
{
    static const struct {
        const char *header;
        int taken;
        const char *rest; /* NULL: nothing */
        sc_cookie_kind_t kind;
        const char *route;
        const char *hint;
    } rows[] = {
        {"a=b; c=d", 0, "a=b; c=d", SC_COOKIE_NONE, "", ""},
        {"S=" ID, 1, NULL, SC_COOKIE_OURS, "", ""},
        {"S=" ID ".n1", 1, NULL, SC_COOKIE_OURS, "n1", ""},
        {"S=" ID "-n2.n1", 1, NULL, SC_COOKIE_OURS, "n1", "n2"},
        {"S=" ID "-n2", 1, NULL, SC_COOKIE_OURS, "", "n2"},
        {"S=" ID "-n-2_x.n1", 1, NULL, SC_COOKIE_OURS, "n1", "n-2_x"},
        {"S=" ID "-.n1", 1, NULL, SC_COOKIE_OURS, "n1", ""},
        {"S=" ID "-", 1, NULL, SC_COOKIE_OURS, "", ""},
        {"S=" ID "-n 2.n1", 1, NULL, SC_COOKIE_OURS, "n1", ""},
        {"S=" ID "-n2.n1.n3", 1, NULL, SC_COOKIE_OURS, "", "n2"},
        {"S=" ID "-n\xe9.n1", 1, NULL, SC_COOKIE_OURS, "n1", ""},
        {"S=" ID "-" LONG64 ".n1", 1, NULL, SC_COOKIE_OURS, "n1", ""},
        {"S=\"" ID "-n2.n1\"", 1, NULL, SC_COOKIE_OURS, "n1", "n2"},
        {"S=\"" ID ".n1\"", 1, NULL, SC_COOKIE_OURS, "n1", ""},
        {"a=b; S=" ID ".n1 ; c=d", 1, "a=b; c=d", SC_COOKIE_OURS, "n1", ""},
        {"S=x; a=b; S=" ID ".n1;S=y", 3, "a=b", SC_COOKIE_OURS, "n1", ""},
        {"S=" ID ".n 1", 1, NULL, SC_COOKIE_OURS, "", ""},
        {"S=" ID ".", 1, NULL, SC_COOKIE_OURS, "", ""},
        {"S=" ID "x", 1, NULL, SC_COOKIE_FOREIGN, "", ""},
        {"S=" ID "; S=x", 2, NULL, SC_COOKIE_OURS, "", ""},
        {"S=", 1, NULL, SC_COOKIE_FOREIGN, "", ""},
        {"S=\"", 1, NULL, SC_COOKIE_FOREIGN, "", ""},
        {"SS=" ID "; xS=" ID "; S", 0, "SS=" ID "; xS=" ID "; S", SC_COOKIE_NONE, "", ""},
        {";;  ;S=x; ;", 1, NULL, SC_COOKIE_FOREIGN, "", ""},
    };
    apr_pool_t *pool;
    apr_size_t i;

    apr_pool_create(&pool, NULL);
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *rest = rows[i].header;
        sc_cookie_t c;

        memset(&c, 0, sizeof(c));
        c.route = c.hint = "";
        CU_ASSERT_EQUAL(sc_cookie_take_from(pool, rows[i].header, "S", &c, &rest), rows[i].taken);
        CU_ASSERT_EQUAL(c.kind, rows[i].kind);
        CU_ASSERT_STRING_EQUAL(c.route, rows[i].route);
        CU_ASSERT_STRING_EQUAL(c.hint, rows[i].hint);
        if (rows[i].rest == NULL) {
            CU_ASSERT_PTR_NULL(rest);
        } else {
            CU_ASSERT_STRING_EQUAL(rest, rows[i].rest);
        }
    }
    apr_pool_destroy(pool);
}

static void test_route_text(void)
{
    char longest[SC_ROUTE_MAX + 2];

    memset(longest, 'r', sizeof(longest));
    CU_ASSERT(sc_route_valid(longest, SC_ROUTE_MAX));
    CU_ASSERT(!sc_route_valid(longest, SC_ROUTE_MAX + 1));
    CU_ASSERT(sc_route_valid("Aa-_09zZ", 8));
    CU_ASSERT(!sc_route_valid("", 0));
    CU_ASSERT(!sc_route_valid("n.1", 3));
    CU_ASSERT(!sc_route_valid("n 1", 3));
    CU_ASSERT(!sc_route_valid("n\0", 2));
    CU_ASSERT(!sc_route_valid("n@", 2) && !sc_route_valid("n[", 2) && !sc_route_valid("n`", 2));
}

void sc_suite_base(void)
{
    CU_pSuite s = CU_add_suite("base", NULL, NULL);

    CU_add_test(s, "id: text form", test_id_text);
    CU_add_test(s, "id: hostile text", test_id_hostile);
    CU_add_test(s, "each byte of an id", test_id_bytes);
    CU_add_test(s, "id: random", test_id_generate);
    CU_add_test(s, "stamp: total order", test_stamp_order);
    CU_add_test(s, "clock", test_clock);
    CU_add_test(s, "log: lines", test_log);
    CU_add_test(s, "log: limit", test_log_limit);
    CU_add_test(s, "buf: round trip", test_buf_roundtrip);
    CU_add_test(s, "buf: limit is exact and sticky", test_buf_limit);
    CU_add_test(s, "buf: sizes that overflow", test_buf_overflow);
    CU_add_test(s, "buf: consume, swap, patch", test_buf_moves);
    CU_add_test(s, "rd: malformed numbers and lengths", test_varint_hostile);
    CU_add_test(s, "rd: garbage", test_reader_fuzz);
    CU_add_test(s, "config: defaults", test_config_defaults);
    CU_add_test(s, "form: fields", test_form);
    CU_add_test(s, "form: ids", test_form_id);
    CU_add_test(s, "cookie: taking", test_cookie);
    CU_add_test(s, "cookie: routes", test_route_text);
}
