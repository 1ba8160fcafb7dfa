/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file replicate.h
 * @brief Private to replicate.c, support.c, post.c and lag.c: changes that wait to be acknowledged.
 */
#ifndef SC_MANAGER_REPLICATE_H
#define SC_MANAGER_REPLICATE_H

#include "internal.h"

/** The end of a change's post. The wait is the callee's now. @param peer NULL: it is not there any
 *  more */
typedef void sc_ended_fn_t(sc_wait_t *w, sc_peer_t *peer, apr_status_t rv);

/** A post whose end is awaited. */
struct sc_wait_t {
    sc_wait_t *next;
    sc_wait_t **link; /* what points to this one */
    sc_manager_t *m;
    apr_uint32_t place; /* of the peer */
    apr_uint32_t serial;
    apr_time_t posted;
    sc_told_fn_t *told; /* who wants to know, of sc_mgr_post */
    apr_uint64_t tag;   /* theirs */

    sc_ended_fn_t *ended; /* a change of a session; NULL: it is none, the rest means nothing */
    sc_pending_t *pending;
    sc_wait_t *sibling; /* next one of the same pending */
    apr_uint16_t context;
    sc_id_t id;
    int whole;          /* what was posted last was the whole session already */
    int redo;           /* for a holder: if it is refused, the holders may be others now */
    int takes;          /* for a holder, or one that is to be one */
    apr_uint32_t epoch; /* of the location that was told */
};

/** A change that is to be posted, and to whom. */
typedef struct sc_parcel_t {
    apr_uint32_t options;
    apr_uint16_t context;
    const sc_id_t *id; /* of the session as it is now */
    int holders;       /* 1: goes to holders only */
    int redo;          /* 1: holders that refuse it may not be holders any more */
    sc_record_t rec;   /* of the session, with redo */
    sc_ended_fn_t *ended;
} sc_parcel_t;

struct sc_pending_t {
    sc_pending_t *next;
    sc_pending_t **link;
    sc_manager_t *m;
    sc_link_call_t call;
    apr_time_t since; /* when the request came */
    apr_time_t began; /* when the change was made */
    sc_timer_t timer;
    sc_wait_t *waits;
    apr_uint32_t unacked; /* targets that have not applied the change, and are alive */
    apr_uint64_t acks;    /* bits of the places of targets that have, of the first ones, */
    apr_uint64_t holds;   /* and of the holders that have */
    apr_uint32_t acked;  /* such targets, and holders, that are not in the view any more, but did */
    apr_uint32_t held;   /* not say good-bye: they have it when they come back */
    apr_uint32_t moving; /* how often it was waited until the session had other holders */
    apr_uint32_t open;   /* and that its location was decided */
    int stuck;           /* it has not got them */
    int guest;           /* the change was made on a copy that this node does not hold */
    apr_uint64_t has;    /* bits of the places of those, and of those that are to be holders */
    apr_uint32_t epoch;  /* of the location under which it was posted last */
    int lives;           /* backup manager: it concerns a session that goes on, */
    int renamed;         /* under another id, which concerns all */
    int repeated;        /* it has been posted again since */
    apr_time_t hold;     /* somebody who has not applied it may read until then */
    int whole;           /* the whole session was posted, as of the stamp */
    sc_stamp_t stamp;
    int shown;            /* nothing was changed: somebody wants to read it */
    int settled;          /* waits for nobody, only for time to pass */
    int warned;           /* a quarter of the time has passed */
    apr_uint32_t asked;   /* how often there was no proof of a quorum */
    apr_uint16_t context; /* what is repeated when it was refused */
    sc_id_t id;
    sc_timer_t redo;
    apr_uint32_t redos;
    apr_uint64_t refused; /* bits of the places of those that refused it last */
};

/* post.c */
void sc_wait_free(sc_wait_t *w);
/** Its pending no longer waits for this one. */
void sc_wait_detach(sc_wait_t *w);
/** Post m->msg once more for a wait whose post has ended. On failure the wait is left as it is. */
apr_status_t sc_wait_repost(sc_wait_t *w, const sc_peer_t *peer);
/** A change did not get to the peer: counted, logged now and then. */
void sc_post_failed(sc_manager_t *m, const sc_peer_t *peer, apr_status_t rv);
/** What stands in m->msg, and whom it concerns. */
void sc_parcel_address(sc_parcel_t *parcel, sc_manager_t *m, apr_uint32_t options,
                       apr_uint16_t context, const sc_id_t *id, sc_ended_fn_t *ended);
/** Post m->msg to all of them. @param p waits for them; NULL: nobody does */
void sc_parcel_post(sc_manager_t *m, sc_pending_t *p, const sc_parcel_t *parcel);

/* lag.c */
/** It has let a request run out of time. */
void sc_lag_begins(sc_manager_t *m, sc_peer_t *peer);
/** It has acknowledged what was posted then: that may be the end of it. */
void sc_lag_acked(sc_manager_t *m, sc_peer_t *peer, apr_time_t posted);
/** What was posted then could not be delivered: if that took its time, it is as if it was late. */
void sc_lag_failed(sc_manager_t *m, sc_peer_t *peer, apr_time_t posted);

/* support.c */
/** Backup manager: whether it concerns a session that lives here. @param rec receives it */
int sc_pending_live(const sc_pending_t *p, sc_record_t *rec);
/** Whether each holder has it, those too that this node does not see, and those that have been
 * asked to hold it. */
int sc_pending_all_have(const sc_pending_t *p, const sc_record_t *rec);
/** Members that have got it, and holders that have, without this one and those that are leaving:
 * they forget it. */
apr_uint32_t sc_pending_acked(const sc_pending_t *p);
apr_uint32_t sc_pending_held(const sc_pending_t *p);
/** Whether it may be answered, as far as those go that have it. */
int sc_pending_supported(const sc_pending_t *p);
/** Whether it was made under a location that is not decided yet. */
int sc_pending_open(sc_pending_t *p);
/** Whether the session is to get other holders first. That is begun, if it has not been. */
int sc_pending_moving(sc_pending_t *p);
/** Backup manager: whether somebody who holds the session, or has been asked to, has not got it. */
int sc_pending_lacking(const sc_pending_t *p);
/** Whether whoever waits for the answer does so no longer. */
int sc_pending_late(const sc_pending_t *p);
/** It is answered like that: what becomes of the copy that is here. */
void sc_pending_leave(const sc_pending_t *p, sc_outcome_t outcome);

#endif
