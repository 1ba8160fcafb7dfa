/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Cookie headers: what is taken out is taken out completely, all other cookies stay as they were
 * and in their order, and what comes out as a route can be one.
 *
 *   first byte: the cookie's name; then headers, each up to a NUL
 */
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#include "fuzz.h"
#include "sc_cookie.h"

/** The next cookie behind *at, without the blanks around it. @return 0: there is none */
static int next_cookie(const char **at, const char **from, size_t *len)
{
    while (**at != '\0') {
        size_t n = strcspn(*at, ";");
        const char *p = *at;

        *at += n + ((*at)[n] != '\0');
        while (n > 0 && (*p == ' ' || *p == '\t')) {
            p++;
            n--;
        }
        while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t')) {
            n--;
        }
        if (n > 0) {
            *from = p;
            *len = n;
            return 1;
        }
    }
    return 0;
}

static int has_name(const char *cookie, size_t len, const char *name)
{
    size_t n = strlen(name);

    return len > n && cookie[n] == '=' && strncmp(cookie, name, n) == 0;
}

static void check_rest(const char *header, const char *rest, const char *name, int taken)
{
    const char *a = header, *b = rest != NULL ? rest : "", *from, *kept;
    size_t len, kept_len;
    int found = 0;

    FUZZ_CHECK(taken > 0 || rest == header);
    FUZZ_CHECK(taken == 0 || rest == NULL || (*rest != '\0' && strlen(rest) < strlen(header)));
    while (next_cookie(&a, &from, &len)) {
        if (has_name(from, len, name)) {
            found++;
            continue;
        }
        FUZZ_CHECK(next_cookie(&b, &kept, &kept_len));
        FUZZ_CHECK(len == kept_len && memcmp(from, kept, len) == 0);
    }
    FUZZ_CHECK(!next_cookie(&b, &kept, &kept_len));
    FUZZ_CHECK(found == taken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"JSESSIONID", "S", "__Host-id", "a=b", ""};
    apr_pool_t *pool = fuzz_start();
    fuzz_in_t in = {data, size};
    const char *name = names[fuzz_below(&in, sizeof(names) / sizeof(names[0]))];
    sc_cookie_t cookie;
    int total = 0;

    memset(&cookie, 0, sizeof(cookie));
    cookie.route = cookie.hint = "";
    while (in.left > 0) {
        const unsigned char *nul = memchr(in.p, 0, in.left);
        size_t n = nul != NULL ? (size_t)(nul - in.p) : in.left;
        char *header = (char *)fuzz_copy("", 0);
        const char *rest;
        int taken;

        header = realloc(header, n + 1);
        FUZZ_CHECK(header != NULL);
        memcpy(header, in.p, n);
        header[n] = '\0';
        in.p += n;
        in.left -= n;
        (void)fuzz_u8(&in);
        rest = header;
        taken = sc_cookie_take_from(pool, header, name, &cookie, &rest);
        check_rest(header, rest, name, taken);
        total += taken;
        free(header);
    }
    FUZZ_CHECK((cookie.kind == SC_COOKIE_NONE) == (total == 0));
    if (cookie.kind == SC_COOKIE_OURS) {
        FUZZ_CHECK(cookie.route[0] == '\0' || sc_route_valid(cookie.route, strlen(cookie.route)));
        FUZZ_CHECK(cookie.hint[0] == '\0' || sc_route_valid(cookie.hint, strlen(cookie.hint)));
    }
    return 0;
}
