/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Getting files from members, and giving them.
 *
 * Who wants a file asks for its blocks, two at a time (one while sessions are written), and asks
 * for the next one when one has been written. So the receiver sets the pace, nobody keeps a state
 * for anybody else, and what is lost is asked for again. One file after the other is fetched; one
 * that was begun and not finished is gone on with, since the name of its temporary file is its
 * checksum, and the checksum of the whole decides in the end.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#include "internal.h"

/** A member that answers nothing for so long is not asked any more for this file. A member may be
 *  reading or writing a large file before it answers. */
#define BLOCK_TIME apr_time_from_sec(20)
#define NEVER APR_INT64_MAX

/* ---- getting -------------------------------------------------------------------------------- */

/** @param keep 1: what has come so far can be gone on with */
static void end_fetch(sc_farm_t *f, int keep)
{
    f->fetching = NULL;
    f->count.done_bytes = 0;
    sc_landing_drop(&f->fetch, keep);
}

/** Not from this member; another one that has it will say so, or this one again. */
static void give_up(sc_farm_t *f, apr_status_t rv, const char *what, int keep)
{
    sc_deploy_entry_t *e = f->fetching;
    const sc_farm_peer_t *peer = sc_farm_peer(f, f->fetch_from);

    f->count.failed++;
    if (sc_farm_may_log(f)) {
        sc_log(f->env.log, SC_LOG_WARNING, rv,
               "SC0905: %s could not be brought here from member %s: %s; it is tried again when a "
               "member says next that it has it",
               e->name, peer != NULL ? peer->name : "?", what);
    }
    end_fetch(f, keep);
    sc_catalogue_want(&f->cat, e, NULL, 0);
}

static void fetched(sc_farm_t *f, sc_deploy_entry_t *e)
{
    sc_version_t v = f->fetch_version;

    sc_serve_forget(f, e);
    sc_catalogue_have(&f->cat, e, &v);
    f->count.placed++;
    sc_log(f->env.log, SC_LOG_INFO, 0, "SC0906: %s is in deployDir, %" APR_UINT64_T_FMT " bytes",
           e->name, v.size);
    sc_farm_changed(f);
}

static void complete(sc_farm_t *f)
{
    sc_deploy_entry_t *e = f->fetching;
    unsigned char sha[SC_SHA_BYTES];
    apr_status_t rv = sc_landing_sum(&f->fetch, sha);

    if (rv != APR_SUCCESS || memcmp(sha, f->fetch_version.sha, sizeof(sha)) != 0) {
        give_up(f, rv, "its checksum is wrong", 0);
        return;
    }
    rv = sc_landing_place(&f->fetch, f->deploy_root, e->name, (int)f->fetch_version.executable,
                          &e->placed);
    if (rv != APR_SUCCESS) {
        give_up(f, rv, "it could not be put into deployDir", 0);
        return;
    }
    end_fetch(f, 0);
    fetched(f, e);
}

/** When the next block may be asked for; NEVER: not before one has come. */
static apr_time_t ask_due(const sc_farm_t *f)
{
    apr_uint64_t window = (apr_uint64_t)(f->busy ? 1 : SC_FARM_WINDOW) * f->env.config->block_bytes;

    if (f->asked >= f->fetch_version.size || f->asked - f->fetch.size >= window) {
        return NEVER;
    }
    return f->rate_due > f->fetch_rest ? f->rate_due : f->fetch_rest;
}

apr_time_t sc_fetch_due(const sc_farm_t *f)
{
    apr_time_t due = f->fetching != NULL ? ask_due(f) : NEVER;

    return f->fetching != NULL && f->fetch_due < due ? f->fetch_due : due;
}

static void ask_more(sc_farm_t *f, apr_time_t now)
{
    while (now >= ask_due(f)) {
        apr_uint64_t left = f->fetch_version.size - f->asked;
        apr_uint64_t n = left < f->env.config->block_bytes ? left : f->env.config->block_bytes;

        sc_deploy_put_ask_block(&f->out, f->fetching->name, f->fetch_version.sha, f->asked, n);
        f->env.send(f->env.ctx, f->fetch_from, 0, f->out.data, f->out.len);
        f->asked += n;
        if (f->env.config->max_rate != 0) {
            apr_time_t from = f->rate_due > now - APR_USEC_PER_SEC / 10
                                  ? f->rate_due
                                  : now - APR_USEC_PER_SEC / 10;

            f->rate_due = from + (apr_time_t)(n * APR_USEC_PER_SEC / f->env.config->max_rate);
        }
    }
}

static void begin_fetch(sc_farm_t *f, sc_deploy_entry_t *e, apr_time_t now)
{
    static const char digits[] = "0123456789abcdef";
    char name[2 * SC_SHA_BYTES + 1];
    apr_status_t rv;
    unsigned int i;

    f->fetching = e;
    f->fetch_version = e->want;
    f->fetch_from = e->source;
    if (sc_landing_check(f->deploy_root, e->name, &e->want, &e->placed) == APR_SUCCESS) {
        f->fetching = NULL; /* it is there, only the catalogue was not */
        fetched(f, e);
        return;
    }
    for (i = 0; i < SC_SHA_BYTES; i++) {
        name[2 * i] = digits[e->want.sha[i] >> 4];
        name[2 * i + 1] = digits[e->want.sha[i] & 15];
    }
    name[2 * SC_SHA_BYTES] = '\0';
    rv = sc_landing_open(&f->fetch, f->temp_root, name, 1, e->want.size);
    if (rv != APR_SUCCESS) {
        give_up(f, rv, "tempDir cannot be written to", 0);
        return;
    }
    f->asked = f->fetch.size;
    f->fetch_due = now + BLOCK_TIME;
    if (f->fetch.size == f->fetch_version.size) {
        complete(f);
    } else {
        ask_more(f, now);
    }
}

void sc_fetch_block(sc_farm_t *f, sc_farm_peer_t *peer, const sc_deploy_msg_t *m)
{
    apr_uint64_t left = f->fetching != NULL ? f->fetch_version.size - f->fetch.size : 0;
    apr_uint64_t n = left < f->env.config->block_bytes ? left : f->env.config->block_bytes;
    apr_time_t begun = sc_farm_now(f);
    apr_status_t rv;

    if (f->fetching == NULL || peer->ref != f->fetch_from || m->offset != f->fetch.size ||
        memcmp(m->sum, f->fetch_version.sha, sizeof(m->sum)) != 0) {
        return; /* of a fetch that was given up */
    }
    if (m->len != n) {
        f->count.refused++;
        give_up(f, 0, "a block has the wrong size", 0);
        return;
    }
    rv = sc_landing_append(&f->fetch, m->bytes, (apr_size_t)m->len);
    if (rv != APR_SUCCESS) {
        give_up(f, rv, "tempDir cannot be written to", 0);
        return;
    }
    f->count.bytes_in += m->len;
    f->count.done_bytes = f->fetch.size;
    f->fetch_due = sc_farm_now(f) + BLOCK_TIME;
    if (f->fetch.size == f->fetch_version.size) {
        complete(f);
        f->fetch_rest = sc_pace_next(f, begun, sc_farm_now(f), SC_FARM_SMALL_SLICE);
    } else {
        f->fetch_rest = sc_pace_next(f, begun, sc_farm_now(f), m->len);
        ask_more(f, sc_farm_now(f));
    }
}

void sc_fetch_no_block(sc_farm_t *f, sc_farm_peer_t *peer, const sc_deploy_msg_t *m)
{
    if (f->fetching != NULL && peer->ref == f->fetch_from &&
        memcmp(m->sum, f->fetch_version.sha, sizeof(m->sum)) == 0) {
        give_up(f, 0, "it has another version now", 0);
    }
}

void sc_fetch_changed(sc_farm_t *f, const sc_deploy_entry_t *e)
{
    if (f->fetching == e) {
        int same = memcmp(e->want.sha, f->fetch_version.sha, sizeof(e->want.sha)) == 0;

        end_fetch(f, same);
    }
}

int sc_fetch_left(sc_farm_t *f, apr_uint32_t peer)
{
    int any = 0;
    apr_size_t i;

    if (f->fetching != NULL && f->fetch_from == peer) {
        end_fetch(f, 1);
    }
    for (i = 0; i < f->cat.n && f->cat.wanted > 0; i++) {
        if (f->cat.at[i]->want.kind != SC_DEPLOY_NONE && f->cat.at[i]->source == peer) {
            sc_catalogue_want(&f->cat, f->cat.at[i], NULL, 0);
            any = 1;
        }
    }
    return any;
}

static sc_deploy_entry_t *next_wanted(sc_farm_t *f)
{
    apr_size_t i;

    for (i = 0; i < f->cat.n && f->cat.wanted > 0; i++) {
        sc_deploy_entry_t *e = f->cat.at[(f->fetch_at + i) % f->cat.n];

        if (e->want.kind == SC_DEPLOY_FILE && !e->queued) {
            f->fetch_at = (f->fetch_at + i) % f->cat.n;
            return e;
        }
    }
    return NULL;
}

int sc_fetch_idle(const sc_farm_t *f)
{
    return f->fetching == NULL && f->cat.wanted == 0;
}

int sc_fetch_step(sc_farm_t *f, apr_time_t now)
{
    sc_deploy_entry_t *e;

    if (f->fetching != NULL) {
        if (now >= f->fetch_due) {
            give_up(f, APR_TIMEUP, "no answer", 1);
            return 1;
        }
        ask_more(f, now);
        return 0;
    }
    if (sc_farm_listening(f)) {
        return 0; /* removals first: a directory may have become a file */
    }
    e = next_wanted(f);
    if (e == NULL) {
        return 0;
    }
    begin_fetch(f, e, now);
    return 1;
}

void sc_fetch_close(sc_farm_t *f)
{
    end_fetch(f, 1);
    sc_serve_forget(f, f->serve_entry);
}

/* ---- giving --------------------------------------------------------------------------------- */

void sc_serve_forget(sc_farm_t *f, const sc_deploy_entry_t *e)
{
    if (e != NULL && f->serve_entry == e) {
        close(f->serve_fd);
        f->serve_fd = -1;
        f->serve_entry = NULL;
    }
}

apr_status_t sc_serve_ask(sc_farm_t *f, sc_farm_peer_t *peer, const sc_deploy_msg_t *m)
{
    sc_farm_ask_t *ask;
    unsigned int waiting = peer->serving;
    apr_size_t i;

    for (i = 0; i < f->nasks; i++) {
        waiting += f->asks[i].peer == peer->ref;
    }
    /* twice the window: what a member has given up may still be on its way to it */
    if (waiting >= 2 * SC_FARM_SERVED_EACH || f->nasks == SC_FARM_ASKS) {
        return APR_ENOSPC;
    }
    ask = &f->asks[f->nasks++];
    ask->peer = peer->ref;
    memcpy(ask->name, m->name, sizeof(ask->name));
    memcpy(ask->sha, m->sum, sizeof(ask->sha));
    ask->offset = m->offset;
    ask->len = m->len;
    return APR_SUCCESS;
}

static apr_status_t open_served(sc_farm_t *f, sc_deploy_entry_t *e)
{
    apr_status_t rv;
    struct stat st;
    int fd;

    if (f->serve_entry == e) {
        return APR_SUCCESS;
    }
    sc_serve_forget(f, f->serve_entry);
    rv = sc_deploy_open(f->deploy_root, e->name, &fd, &st);
    if (rv == APR_SUCCESS && (apr_uint64_t)st.st_size != e->have.size) {
        close(fd);
        rv = EINVAL;
    }
    if (rv == APR_SUCCESS) {
        f->serve_fd = fd;
        f->serve_entry = e;
    }
    return rv;
}

/** @return bytes read, 0 when it cannot be given */
static apr_size_t read_served(sc_farm_t *f, sc_deploy_entry_t *e, const sc_farm_ask_t *ask)
{
    apr_size_t done = 0;

    if (open_served(f, e) != APR_SUCCESS) {
        f->verify_due = 0; /* it is not what the catalogue says */
        return 0;
    }
    while (done < ask->len) {
        ssize_t n = pread(f->serve_fd, f->slice + done, (size_t)ask->len - done,
                          (off_t)(ask->offset + done));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            f->verify_due = 0;
            return 0;
        }
        done += (apr_size_t)n;
    }
    return done;
}

static void serve(sc_farm_t *f, sc_farm_peer_t *peer, const sc_farm_ask_t *ask)
{
    sc_deploy_entry_t *e = sc_catalogue_find(&f->cat, ask->name);
    apr_size_t n = 0;

    if (e != NULL && e->have.kind == SC_DEPLOY_FILE &&
        memcmp(e->have.sha, ask->sha, sizeof(ask->sha)) == 0 && ask->len <= e->have.size &&
        ask->offset <= e->have.size - ask->len) {
        n = read_served(f, e, ask);
    }
    if (n == 0) {
        sc_deploy_put_no_block(&f->out, ask->sha);
        f->env.send(f->env.ctx, peer->ref, 0, f->out.data, f->out.len);
        return;
    }
    sc_deploy_put_block(&f->out, ask->sha, ask->offset, f->slice, n);
    f->count.bytes_out += n;
    apr_cpystrn(f->count.out.file, e->name, sizeof(f->count.out.file));
    apr_cpystrn(f->count.out.who, peer->name, sizeof(f->count.out.who));
    f->count.out.size = e->have.size;
    f->count.out.done = ask->offset + n;
    f->served_at = sc_farm_now(f);
    peer->serving++;
    f->serving++;
    f->given_at = sc_farm_now(f);
    f->given = n;
    f->give_due = sc_pace_latest(f, f->given_at, n);
    f->env.send(f->env.ctx, peer->ref, 1, f->out.data, f->out.len);
}

int sc_serve_step(sc_farm_t *f, apr_time_t now)
{
    unsigned int each = f->busy ? 1 : SC_FARM_SERVED_EACH;
    apr_size_t i;

    for (i = 0; i < f->nasks && f->serving < SC_FARM_SERVED_ALL && now >= f->give_due; i++) {
        sc_farm_ask_t ask = f->asks[i];
        sc_farm_peer_t *peer = sc_farm_peer(f, ask.peer);

        if (peer != NULL && peer->serving >= each) {
            continue;
        }
        f->nasks--;
        memmove(&f->asks[i], &f->asks[i + 1], (f->nasks - i) * sizeof(f->asks[0]));
        if (peer != NULL) {
            serve(f, peer, &ask);
        }
        return 1;
    }
    return 0;
}
