/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The text of a form: see sc_form.h. */
#include <string.h>

#include "sc_form.h"

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* In place: it gets no longer. @return 0: it cannot be read */
static int unescape(char *text)
{
    char *out = text;

    for (const char *c = text; *c; c++) {
        if (*c == '%') {
            int high = digit(c[1]);
            int low = high >= 0 ? digit(c[2]) : -1;

            if (low < 0 || high + low == 0) {
                return 0;
            }
            *out++ = (char)(high << 4 | low);
            c += 2;
        } else {
            *out++ = (char)(*c == '+' ? ' ' : *c);
        }
    }
    *out = '\0';
    return 1;
}

/* @return -1: none of these */
static int which(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(name, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* @param pair "name=value" */
static int take(char *pair, const char *const *names, const char **values, int n)
{
    char *value = strchr(pair, '=');
    int i;

    if (!value) {
        return 0;
    }
    *value++ = '\0';
    i = which(pair, names, n);
    if (i < 0 || values[i] || !unescape(value)) {
        return 0;
    }
    values[i] = value;
    return 1;
}

static void nothing(const char **values, int n)
{
    for (int i = 0; i < n; i++) {
        values[i] = NULL;
    }
}

apr_status_t sc_form_read(char *body, apr_size_t len, const char *const *names, const char **values,
                          int n)
{
    char *pair = body;

    nothing(values, n);
    if (memchr(body, '\0', len)) {
        return APR_EINVAL;
    }
    body[len] = '\0';
    while (*pair) {
        apr_size_t size = strcspn(pair, "&");
        char *next = pair + size + (pair[size] != '\0');

        pair[size] = '\0';
        if (size > 0 && !take(pair, names, values, n)) {
            nothing(values, n);
            return APR_EINVAL;
        }
        pair = next;
    }
    return APR_SUCCESS;
}

apr_status_t sc_form_id(sc_id_t *id, const char *text)
{
    apr_size_t len;

    text += strspn(text, " \t\r\n\"");
    len = strspn(text, "0123456789ABCDEF");
    /* "ID", "ID.route", "ID-backup.route" */
    if (text[len] != '\0' && !strchr(".- \t\r\n\";", text[len])) {
        return APR_EINVAL;
    }
    return sc_id_parse(id, text, len);
}
