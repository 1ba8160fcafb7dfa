/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file status_html.h
 * @brief Private to status_html.c (the page, what needs attention, members), status_sections.c and
 *        status_extras.c (the rest of what there is to see) and status_forms.c (what can be done).
 */
#ifndef SC_STATUS_HTML_H
#define SC_STATUS_HTML_H

#include "status.h"

/** A name, escaped and kept to itself. */
const char *sc_html_name(apr_pool_t *p, const char *name);
/** A state: a word with a mark. @param class good, warn, bad or mute */
const char *sc_html_state(apr_pool_t *p, const char *class, const char *word);

/** One of what needs attention. @param class as above @param html escaped */
void sc_html_note(const sc_status_t *s, const char *class, const char *html);
/** One of the numbers in a list of class facts. @param value, more escaped */
void sc_html_fact(const sc_status_t *s, const char *name, const char *value, const char *more);

/** A table whose rows begin with a heading; on narrow screens they may become cards. */
typedef struct sc_table_t {
    request_rec *r;
    const char *const *head;
    apr_uint32_t numbers; /**< bits of columns that are aligned to the right */
    int at;
} sc_table_t;

/** @param kind cards: as above; plain: it is narrow enough
 *  @param caption, heads markup, no names */
void sc_table_open(sc_table_t *t, request_rec *r, const char *kind, const char *caption,
                   const char *const *heads, int n, apr_uint32_t numbers);
/** @param html escaped */
void sc_table_row(sc_table_t *t, const char *html);
void sc_table_cell(sc_table_t *t, const char *html);
void sc_table_end_row(sc_table_t *t);
void sc_table_close(sc_table_t *t);

/* status_sections.c */
void sc_html_contexts(const sc_status_t *s);
void sc_html_activity(const sc_status_t *s);
void sc_html_events(const sc_status_t *s);
void sc_html_counters(const sc_status_t *s);

/* status_extras.c: only when there is such a thing */
void sc_html_central(const sc_status_t *s);
void sc_html_deployer(const sc_status_t *s);
/** What of that needs attention. */
void sc_html_extra_notes(const sc_status_t *s);

/* status_forms.c */
/** What a POST has come to. */
void sc_html_result(const sc_status_t *s);
void sc_html_forms(const sc_status_t *s);

#endif
