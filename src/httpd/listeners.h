/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file listeners.h
 * @brief Listeners of other modules (mod_session_cluster.h), as the other files tell them.
 */
#ifndef SC_LISTENERS_H
#define SC_LISTENERS_H

#include "sc_httpd.h"
#include "sc_events.h"

/** Whether there are any. */
int sc_listeners_any(void);
/** A number for the listeners that there are and the files they were loaded from: an engine that
 *  was made with others has to be replaced. */
apr_uint32_t sc_listeners_stamp(apr_pool_t *p);
/** In the engine: sc_tell_fn_t. @param baton sc_listeners_t of this process */
void sc_listeners_tell(server_rec *s, apr_pool_t *pool, const sc_told_t *told);
/** In a child: what a request has done. @param heir SC_GONE_RENAMED; else NULL */
void sc_listeners_did(request_rec *r, sc_session_what_t what, sc_session_reason_t reason,
                      const char *context, const sc_id_t *id, const sc_id_t *heir,
                      const char *primary);

#endif
