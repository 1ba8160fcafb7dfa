/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file sc_form.h
 * @brief Room "base": the text of a form that a browser posts.
 *
 * What comes is anybody's. A form is taken whole or not at all: what could be read in two ways, by
 * us and by whoever has looked at it before, is refused.
 */
#ifndef SC_FORM_H
#define SC_FORM_H

#include "sc_base.h"

/**
 * Read application/x-www-form-urlencoded, in place.
 * @param body len bytes, and room for one more; values point into it
 * @param names of all fields that there may be
 * @param values of these; NULL: not sent
 * @return APR_SUCCESS; APR_EINVAL: a field without a name of these or without '=', one that is sent
 *         twice, an escape that is none, a NUL, escaped or not. Then all values are NULL
 */
apr_status_t sc_form_read(char *body, apr_size_t len, const char *const *names, const char **values,
                          int n);

/**
 * Read a session id as people paste it: alone, or a whole cookie value, quoted, with blanks.
 * @return APR_SUCCESS; APR_EINVAL: it is none
 */
apr_status_t sc_form_id(sc_id_t *id, const char *text);

#endif
