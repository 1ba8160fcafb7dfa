/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Comparing catalogues with members.
 *
 * A node says the sum of its catalogue to whoever joins, to all when it has changed, and to all now
 * and then in case it was missed. Who hears a sum unlike its own reads that catalogue, part by
 * part, and takes over what is newer there: removals at once, files by wanting them (fetch.c). The
 * catalogue lists only what is in deployDir, so whoever says that it has a version can give it, and
 * a late joiner is served by any node.
 *
 * All messages are those of a stranger: a member with the secret may be broken, or in wrong hands.
 */
#include <string.h>

#include <apr_strings.h>

#include "internal.h"

/** Bytes of entries in one LIST. */
#define LIST_BYTES (32 * 1024)
/** A part of a catalogue that does not come within this is not waited for. */
#define LIST_TIME apr_time_from_sec(20)
/** A stamp further ahead than this is no time of any clock that somebody cares for. */
#define AHEAD_MS ((apr_uint64_t)24 * 3600 * 1000)

static void send_out(sc_farm_t *f, apr_uint32_t peer)
{
    if (f->out.err == APR_SUCCESS) {
        f->env.send(f->env.ctx, peer, 0, f->out.data, f->out.len);
    }
}

/* ---- comparing ------------------------------------------------------------------------------ */

void sc_compare_say(sc_farm_t *f, apr_uint32_t peer, int hello)
{
    sc_deploy_put_sum(&f->out, sc_catalogue_sum(&f->cat), hello);
    send_out(f, peer);
}

void sc_compare_say_all(sc_farm_t *f, apr_time_t now)
{
    unsigned int i;

    for (i = 0; i < SC_FARM_PEERS; i++) {
        if (f->peer[i].ref != 0) {
            sc_compare_say(f, f->peer[i].ref, 0);
        }
    }
    f->announce = 0;
    f->repeat_due = now + SC_FARM_REPEAT;
}

static void ask_part(sc_farm_t *f, sc_farm_peer_t *p)
{
    p->asked = 1;
    p->deadline = sc_farm_now(f) + LIST_TIME;
    sc_deploy_put_ask(&f->out, p->after);
    send_out(f, p->ref);
}

void sc_compare_ask(sc_farm_t *f, sc_farm_peer_t *p)
{
    if (p->asked) {
        p->again = 1;
        return;
    }
    p->again = 0;
    p->after[0] = '\0';
    p->entries = 0;
    ask_part(f, p);
}

static void end_asking(sc_farm_t *f, sc_farm_peer_t *p)
{
    p->asked = 0;
    if (p->again) {
        sc_compare_ask(f, p);
    }
}

void sc_farm_remove(sc_farm_t *f, sc_deploy_entry_t *e, const sc_version_t *v)
{
    int was_file = e->have.kind == SC_DEPLOY_FILE;
    apr_status_t rv = APR_SUCCESS;

    sc_serve_forget(f, e);
    if (was_file) {
        rv = sc_deploy_unlink(f->deploy_root, e->name);
    }
    if (rv != APR_SUCCESS) {
        f->count.failed++;
        if (sc_farm_may_log(f)) {
            sc_log(f->env.log, SC_LOG_WARNING, rv,
                   "SC0912: %s could not be removed from deployDir; it is tried again when a "
                   "member says next that it was removed",
                   e->name);
        }
        return;
    }
    sc_catalogue_have(&f->cat, e, v);
    sc_fetch_changed(f, e);
    if (was_file) {
        f->count.removed++;
        sc_log(f->env.log, SC_LOG_INFO, 0, "SC0913: %s was removed from deployDir", e->name);
        sc_farm_changed(f);
    } else {
        sc_farm_noted(f);
    }
}

/** Whether what a member has is older than, or the same as, what is known here. */
static int is_known(const sc_deploy_entry_t *e, const sc_version_t *v)
{
    return (e->have.kind != SC_DEPLOY_NONE && sc_stamp_cmp(&v->stamp, &e->have.stamp) <= 0) ||
           (e->want.kind != SC_DEPLOY_NONE && sc_stamp_cmp(&v->stamp, &e->want.stamp) <= 0);
}

static void take_over(sc_farm_t *f, sc_farm_peer_t *p, sc_deploy_entry_t *e, const sc_version_t *v)
{
    if (v->kind == SC_DEPLOY_REMOVED) {
        sc_farm_remove(f, e, v);
    } else if (sc_version_same(&e->have, v)) {
        sc_catalogue_have(&f->cat, e, v);
        sc_fetch_changed(f, e);
        sc_farm_noted(f);
    } else {
        const char *limit = sc_farm_limit(f, e, v->size);

        if (limit != NULL) {
            sc_farm_refuse(f, e->name, v->stamp.hlc, limit);
            return;
        }
        sc_catalogue_want(&f->cat, e, v, p->ref);
        sc_fetch_changed(f, e);
    }
    if (e->watched && (v->kind != SC_DEPLOY_FILE || v->executable != e->seen_executable ||
                       memcmp(v->sha, e->seen_sha, sizeof(v->sha)) != 0)) {
        sc_watch_overruled(f, e);
    }
}

static void entry_heard(sc_farm_t *f, sc_farm_peer_t *p, const char *name, const sc_version_t *v)
{
    sc_deploy_entry_t *e = sc_catalogue_find(&f->cat, name);
    const char *limit;

    if ((v->stamp.hlc >> 16) > sc_farm_wall_ms(f) + AHEAD_MS) {
        sc_farm_refuse(f, name, v->stamp.hlc, "its stamp is more than a day ahead of this clock");
        return;
    }
    if (v->stamp.hlc > f->control.hlc) {
        f->control.hlc = v->stamp.hlc;
    }
    if (e == NULL) {
        if (f->cat.n >= f->cat.max_removed + 2 * (apr_size_t)f->env.config->max_files) {
            sc_farm_refuse(f, name, v->stamp.hlc, "there are too many names");
            return;
        }
        limit = v->kind == SC_DEPLOY_FILE ? sc_farm_limit(f, NULL, v->size) : NULL;
        if (limit != NULL) {
            sc_farm_refuse(f, name, v->stamp.hlc, limit);
            return;
        }
        e = sc_catalogue_get(&f->cat, name);
    }
    if (e != NULL && !is_known(e, v)) {
        take_over(f, p, e, v);
    }
}

/** A member's message is not what it may be. */
static void bad_message(sc_farm_t *f, const sc_farm_peer_t *p, const char *why)
{
    f->count.refused++;
    if (sc_farm_may_log(f)) {
        sc_log(f->env.log, SC_LOG_WARNING, 0,
               "SC0914: a deployer's message of member %s was refused: %s", p->name, why);
    }
}

static void list_heard(sc_farm_t *f, sc_farm_peer_t *p, sc_deploy_msg_t *m)
{
    char name[SC_DEPLOY_NAME_MAX + 1];
    apr_size_t most = 2 * (f->cat.max_removed + f->env.config->max_files) + 1024;
    sc_version_t v;
    apr_status_t rv;

    if (!p->asked || strcmp(m->name, p->after) != 0) {
        return; /* late */
    }
    while ((rv = sc_deploy_entry_get(&m->entries, name, &v)) == APR_SUCCESS) {
        if (strcmp(name, p->after) <= 0 || ++p->entries > most) {
            rv = APR_EINVAL;
            break;
        }
        apr_cpystrn(p->after, name, sizeof(p->after));
        entry_heard(f, p, name, &v);
    }
    if (rv != APR_EOF) {
        bad_message(f, p, "a catalogue with a name that may not be there");
        p->again = 0;
        end_asking(f, p);
    } else if (m->more && strcmp(m->name, p->after) != 0) {
        ask_part(f, p);
    } else {
        end_asking(f, p);
    }
}

void sc_compare_deadlines(sc_farm_t *f, apr_time_t now)
{
    unsigned int i;

    for (i = 0; i < SC_FARM_PEERS; i++) {
        sc_farm_peer_t *p = &f->peer[i];

        if (p->ref != 0 && p->asked && now >= p->deadline) {
            p->again = 0;
            end_asking(f, p); /* its next sum begins anew */
        }
    }
}

/* ---- messages ----------------------------------------------------------------------------------
 */

void sc_farm_message(sc_farm_t *f, apr_uint32_t ref, const void *bytes, apr_size_t len)
{
    sc_farm_peer_t *p = sc_farm_peer(f, ref);
    sc_deploy_msg_t m;
    apr_status_t rv;

    if (p == NULL) {
        return;
    }
    rv = sc_deploy_msg_get(&m, bytes, len);
    if (rv != APR_SUCCESS) {
        bad_message(f, p,
                    rv == APR_ENOTIMPL ? "it is of another version of this module"
                                       : "it cannot be read");
        return;
    }
    switch (m.event) {
    case SC_DEPLOY_HELLO:
        sc_compare_say(f, ref, 0);
        /* fall through */
    case SC_DEPLOY_SUM:
        if (memcmp(m.sum, sc_catalogue_sum(&f->cat), sizeof(m.sum)) != 0) {
            sc_compare_ask(f, p);
        }
        break;
    case SC_DEPLOY_ASK:
        sc_deploy_put_list(&f->out, &f->cat, m.name, LIST_BYTES);
        send_out(f, ref);
        break;
    case SC_DEPLOY_LIST:
        list_heard(f, p, &m);
        break;
    case SC_DEPLOY_ASK_BLOCK:
        if (sc_serve_ask(f, p, &m) != APR_SUCCESS) {
            bad_message(f, p, "it asks for more blocks at once than it may");
        }
        break;
    case SC_DEPLOY_BLOCK:
        sc_fetch_block(f, p, &m);
        break;
    default:
        sc_fetch_no_block(f, p, &m);
    }
}
