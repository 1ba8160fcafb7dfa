/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Forms posted to the status page: what is read is what was sent, once, and reads the same when it
 * is written in another way; and ids as people paste them.
 *
 *   the body of a POST
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "sc_form.h"

#define FIELDS 4

static const char *const names[FIELDS] = {"action", "nonce", "id", "context"};

/** With every byte escaped, fields in reverse. */
static char *write_again(const char *const *values, size_t *len)
{
    static const char digits[] = "0123456789abcdef";
    size_t need = 1;
    char *out, *o;

    for (int i = 0; i < FIELDS; i++) {
        need += values[i] != NULL ? strlen(names[i]) + 2 + 3 * strlen(values[i]) : 0;
    }
    out = o = malloc(need);
    FUZZ_CHECK(out != NULL);
    for (int i = FIELDS - 1; i >= 0; i--) {
        if (values[i] == NULL) {
            continue;
        }
        *o++ = '&';
        memcpy(o, names[i], strlen(names[i]));
        o += strlen(names[i]);
        *o++ = '=';
        for (const char *c = values[i]; *c != '\0'; c++) {
            *o++ = '%';
            *o++ = digits[(unsigned char)*c >> 4];
            *o++ = digits[(unsigned char)*c & 15];
        }
    }
    *len = (size_t)(o - out);
    FUZZ_CHECK(*len < need);
    return out;
}

static void check_id(const char *text)
{
    char hex[SC_ID_HEX + 1];
    sc_id_t id, again;

    if (sc_form_id(&id, text) == APR_SUCCESS) {
        FUZZ_CHECK(strstr(text, sc_id_format(&id, hex)) != NULL);
        FUZZ_CHECK(sc_form_id(&again, hex) == APR_SUCCESS && memcmp(&id, &again, sizeof(id)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *values[FIELDS], *same[FIELDS];
    char *body, *other;
    size_t len, sum = 0;

    (void)fuzz_start();
    body = malloc(size + 1); /* and not a byte more */
    FUZZ_CHECK(body != NULL);
    memcpy(body, data, size);
    if (sc_form_read(body, size, names, values, FIELDS) != APR_SUCCESS) {
        for (int i = 0; i < FIELDS; i++) {
            FUZZ_CHECK(values[i] == NULL);
        }
        free(body);
        return 0;
    }
    for (int i = 0; i < FIELDS; i++) {
        if (values[i] != NULL) {
            FUZZ_CHECK(values[i] > body && values[i] + strlen(values[i]) <= body + size);
            sum += strlen(names[i]) + 1 + strlen(values[i]);
            check_id(values[i]);
        }
    }
    FUZZ_CHECK(sum <= size);
    other = write_again(values, &len);
    FUZZ_CHECK(sc_form_read(other, len, names, same, FIELDS) == APR_SUCCESS);
    for (int i = 0; i < FIELDS; i++) {
        FUZZ_CHECK((values[i] == NULL) == (same[i] == NULL));
        FUZZ_CHECK(values[i] == NULL || strcmp(values[i], same[i]) == 0);
    }
    free(other);
    free(body);
    return 0;
}
