/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The text of a form: see sc_form.h. */
#include <string.h>

#include <apr_escape.h>

#include "sc_form.h"

/* In place: it gets no longer. @return 0: it cannot be read */
static int unescape(char *text)
{
    apr_status_t rv = apr_unescape_url(text, text, APR_ESCAPE_STRING, NULL, NULL, 1, NULL);

    return rv == APR_SUCCESS || rv == APR_NOTFOUND; /* there was nothing to be done */
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
