/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What happens to sessions, told to whoever listens.
 *
 * Nothing of the other files is involved: the store says what a record was and what it has become,
 * and that is all it takes to know. What it does not say is why: m->cause is set around what
 * children ask for, around idling out and around the end of the node; everything else is the doing
 * of peers.
 *
 * What a child has asked for it tells its own listeners, when it has the answer; only what it does
 * not know is told here, too: that this node has become the primary on that occasion.
 *
 * With the backup manager a session is here when this node holds it. A copy that was fetched for
 * one request, or waits to be handed over, is none.
 */
#include "internal.h"

static int is_here(const sc_manager_t *m, const sc_record_t *rec)
{
    return rec != NULL && !(rec->flags & (SC_REC_TOMBSTONE | SC_REC_PROXY)) &&
           (!sc_mgr_is_backup(m) || sc_layout_here(m, rec));
}

static int is_own(const sc_manager_t *m, const sc_record_t *rec)
{
    return rec->primary == m->own_route;
}

static void say(sc_manager_t *m, sc_session_what_t what, sc_session_reason_t reason,
                const sc_record_t *rec, const sc_record_t *after, int replicated)
{
    sc_session_event_t event = {0};

    if (replicated && !m->config->delta.notify_replicated) {
        return;
    }
    event.what = what;
    event.reason = reason;
    event.context = sc_store_context_name(m->store, rec->context);
    event.id = rec->id;
    event.primary = sc_store_route_name(m->store, rec->primary);
    event.replicated = replicated;
    if (reason == SC_GONE_RENAMED) {
        (void)sc_record_heir(after, &event.heir);
    }
    m->cfg.up.event(m->cfg.up.ctx, &event);
}

static sc_session_reason_t reason_of(const sc_manager_t *m, const sc_record_t *after)
{
    if (after == NULL || !(after->flags & SC_REC_TOMBSTONE)) {
        return m->cause == SC_CAUSE_IDLE ? SC_GONE_IDLE : SC_GONE_MOVED;
    }
    if (m->cause == SC_CAUSE_SHUTDOWN) {
        return SC_GONE_SHUTDOWN;
    }
    return after->max_idle_s == SC_DEAD_IDLE      ? SC_GONE_IDLE
           : after->max_idle_s == SC_DEAD_RENAMED ? SC_GONE_RENAMED
                                                  : SC_GONE_INVALIDATED;
}

static void gone(sc_manager_t *m, const sc_record_t *before, const sc_record_t *after)
{
    sc_session_reason_t reason = reason_of(m, after);
    int own;

    if (m->cause == SC_CAUSE_REQUEST &&
        (reason == SC_GONE_INVALIDATED || reason == SC_GONE_RENAMED)) {
        return;
    }
    own = m->cause == SC_CAUSE_SHUTDOWN || (reason == SC_GONE_MOVED && is_own(m, before)) ||
          /* who does not decide lets it go without a tombstone */
          (m->cause == SC_CAUSE_IDLE && (is_own(m, before) || after != NULL));
    say(m, SC_SESSION_DESTROYED, reason, before, after, !own);
}

static void written(void *baton, const sc_record_t *before, const sc_record_t *after)
{
    sc_manager_t *m = baton;
    int was = is_here(m, before), is = is_here(m, after);
    int asked = m->cause == SC_CAUSE_REQUEST;

    if (was && !is) {
        gone(m, before, after);
    } else if (is && !was && !asked) {
        say(m, SC_SESSION_CREATED, SC_GONE_NOT, after, NULL, 1);
    } else if (is && was && !asked && sc_stamp_cmp(&before->stamp, &after->stamp) != 0) {
        say(m, SC_SESSION_CHANGED, SC_GONE_NOT, after, NULL, 1);
    }
    if (was && is && is_own(m, before) && !is_own(m, after)) {
        /* for its listeners it is gone, even if a copy stays; that goes as one of others then */
        say(m, SC_SESSION_DESTROYED, SC_GONE_MOVED, before, NULL, 0);
    }
    if (is && is_own(m, after) && (before == NULL ? !asked : !was || !is_own(m, before))) {
        say(m, SC_SESSION_PRIMARY, SC_GONE_NOT, after, NULL, 0);
    }
}

void sc_notify_start(sc_manager_t *m)
{
    if (m->cfg.up.event != NULL) {
        sc_store_watch(m->store, written, m);
    }
}
