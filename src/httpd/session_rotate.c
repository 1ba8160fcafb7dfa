/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * SessionClusterRotateId: a session goes on under a new id. README, "New ids", has the rule and why
 * it is so.
 *
 * The change of id is one operation of the engine (CHANGE_ID), which leaves a tombstone under the
 * old id that names the new one, on every node. Nothing more is remembered there. Who the session
 * belonged to at that moment, and whether its rights changed, is told by an attribute of the
 * session itself that applications do not see: it is replicated, merged and handed over as all
 * others are, and so it is there wherever the session is.
 *
 * Three kinds of requests come with an old id:
 *
 *   overtaken   it had loaded the session when the id was changed: its change is refused by the
 *               engine, and made again under the new id if the same client asks for it
 *   reaching    it began later, the id was only refreshed and the same client asks: it gets the
 *               session, and the cookie that it has missed
 *   stale       all others: no session, nothing stored, no cookie, except for a login, which begins
 *               a session of its own
 */

#include <openssl/evp.h>

#include "apr_lib.h"

#include "provider.h"
#include "sc_message.h"

APLOG_USE_MODULE(session_cluster);

#define HEADER "Session-Cluster-Rotate"
#define DEFAULT_GRACE_S 10
#define GRACE_MAX_S 60
#define ATTRIBUTES_MAX 32
/** Of changed ids, one behind the other, that one request follows. */
#define HOPS_MAX 4

/** The mark: one letter, then a part of a hash in hex. */
#define MARK_LOGIN 'l'
#define MARK_REFRESH 'r'
#define MARK_HASH 16
#define MARK_LEN (1 + 2 * MARK_HASH)

/* ---- the directive --------------------------------------------------------------------------- */

static const char *set_grace(cmd_parms *cmd, sc_dir_conf_t *dir, const char *text)
{
    char *end = NULL;
    apr_int64_t seconds = apr_strtoi64(text, &end, 10);

    if (!apr_isdigit(*text) || *end || seconds > GRACE_MAX_S) {
        return apr_psprintf(cmd->pool, "%s wants grace=0 to %d seconds, not \"%s\"", cmd->cmd->name,
                            GRACE_MAX_S, text);
    }
    dir->rotate_grace_s = (int)seconds;
    return NULL;
}

const char *sc_rotate_directive(cmd_parms *cmd, void *vdir, int argc, char *const argv[])
{
    sc_dir_conf_t *dir = vdir;
    int word = 0;

    dir->rotate = SC_UNSET;
    dir->rotate_attrs = NULL;
    dir->rotate_grace_s = SC_UNSET;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];

        if (ap_cstr_casecmpn(arg, "grace=", 6) == 0) {
            const char *err = set_grace(cmd, dir, arg + 6);

            if (err) {
                return err;
            }
            continue;
        }
        if (ap_cstr_casecmp(arg, "on") == 0 || ap_cstr_casecmp(arg, "off") == 0) {
            word++;
            dir->rotate = ap_cstr_casecmp(arg, "on") == 0;
            continue;
        }
        if (!*arg || strlen(arg) > SC_NAME_MAX) {
            return apr_psprintf(cmd->pool,
                                "%s wants On, Off or the names of attributes that hold the login "
                                "(1 to %d bytes), not \"%s\"",
                                cmd->cmd->name, SC_NAME_MAX, arg);
        }
        if (!dir->rotate_attrs) {
            dir->rotate_attrs = apr_array_make(cmd->pool, 2, sizeof(const char *));
        }
        APR_ARRAY_PUSH(dir->rotate_attrs, const char *) = apr_pstrdup(cmd->pool, arg);
    }
    if (word + (dir->rotate_attrs != NULL) != 1 ||
        (dir->rotate_attrs && dir->rotate_attrs->nelts > ATTRIBUTES_MAX)) {
        return apr_psprintf(cmd->pool,
                            "%s wants either On or Off, once, or 1 to %d names of attributes that "
                            "hold the login; grace=seconds may follow",
                            cmd->cmd->name, ATTRIBUTES_MAX);
    }
    if (dir->rotate_attrs) {
        dir->rotate = 1;
    }
    return NULL;
}

apr_interval_time_t sc_rotation_grace(const sc_dir_conf_t *dir)
{
    return apr_time_from_sec(dir->rotate_grace_s == SC_UNSET ? DEFAULT_GRACE_S
                                                             : dir->rotate_grace_s);
}

/* ---- what is wanted -------------------------------------------------------------------------- */

static void ask_for(request_rec *r, chain_t *chain, const char *value)
{
    rotation_t wanted = ROTATE_LOGIN;

    if (!value || strcmp(value, "0") == 0) {
        return;
    }
    if (ap_cstr_casecmp(value, "refresh") == 0) {
        wanted = ROTATE_REFRESH;
    } else if (strcmp(value, "1") != 0) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "SC1050: " HEADER " is 1, refresh or 0, not \"%s\"; taken for 1",
                      ap_escape_logitem(r->pool, value));
    }
    chain->asked = wanted > chain->asked ? wanted : chain->asked;
}

/* A header is for this module, and not for browsers. */
static void take_header(request_rec *r, chain_t *chain, apr_table_t *t)
{
    const char *value = apr_table_get(t, HEADER);

    if (value) {
        ask_for(r, chain, value);
        apr_table_unset(t, HEADER);
    }
}

static void collect_one(request_rec *r, chain_t *chain)
{
    take_header(r, chain, r->headers_out);
    take_header(r, chain, r->err_headers_out);
    ask_for(r, chain, apr_table_get(r->notes, SC_ROTATE_NOTE));
    apr_table_unset(r->notes, SC_ROTATE_NOTE);
}

void sc_rotation_collect(request_rec *r, chain_t *chain)
{
    for (request_rec *q = r; q; q = q->main) {
        collect_one(q, chain);
    }
    for (request_rec *q = chain->top; q; q = q->next) {
        collect_one(q, chain);
    }
}

rotation_t sc_rotation_wanted(request_rec *r, chain_t *chain, const session_t *s)
{
    if (s->rotated) {
        return ROTATE_NOT;
    }
    sc_rotation_collect(r, chain);
    if (s->dir->rotate != 0 &&
        sc_session_login_changed(s->z.entries, s->loaded, s->dir->rotate_attrs)) {
        return ROTATE_LOGIN;
    }
    return chain->asked;
}

/* ---- the mark -------------------------------------------------------------------------------- */

/** What ties a session to the id that it had and to the client that had it: nobody learns either
 *  from it. @return 0: there is no hash */
static int hash_of(request_rec *r, const chain_t *chain, const sc_id_t *id, char *hex)
{
    const request_rec *top = chain->top;
    const char *agent = apr_table_get(top->headers_in, "User-Agent");
    const char *address = top->useragent_ip ? top->useragent_ip : "";
    unsigned char md[EVP_MAX_MD_SIZE];
    char text[SC_ID_HEX + 1];
    unsigned int len = 0;
    /* of these only the last can hold any text */
    const char *all =
        apr_pstrcat(r->pool, sc_id_format(id, text), " ", address, " ", agent ? agent : "", NULL);

    if (EVP_Digest(all, strlen(all), md, &len, EVP_sha256(), NULL) != 1 || len < MARK_HASH) {
        return 0;
    }
    ap_bin2hex(md, MARK_HASH, hex);
    return 1;
}

void sc_rotation_mark(request_rec *r, const chain_t *chain, const session_t *s, rotation_t rotation,
                      session_diff_t *diff)
{
    char mark[MARK_LEN + 1];

    mark[0] = rotation == ROTATE_REFRESH ? MARK_REFRESH : MARK_LOGIN;
    if (hash_of(r, chain, &s->id, mark + 1)) {
        sc_change_attr_put(&diff->attrs, SC_MARK_NAME, strlen(SC_MARK_NAME), mark, MARK_LEN);
        diff->nattrs++;
    }
}

/** The mark in a session's body. @return 0: there is none */
static int mark_in(const sc_stored_t *stored, char *mark)
{
    sc_attr_t a;
    sc_rd_t rd;

    sc_rd_init(&rd, stored->body, stored->rec.body_len);
    while (sc_attr_get(&rd, &a) == APR_SUCCESS) {
        if (!(a.flags & SC_ATTR_REMOVED) && a.value_len == MARK_LEN &&
            sc_attr_name_cmp(a.name, a.name_len, SC_MARK_NAME, strlen(SC_MARK_NAME)) == 0) {
            memcpy(mark, a.value, MARK_LEN);
            mark[MARK_LEN] = '\0';
            return 1;
        }
    }
    return 0;
}

/** Whether this client had the session under that id when it was changed.
 *  @return the letter of the mark; 0: no */
static char had(request_rec *r, const chain_t *chain, const sc_id_t *old, const sc_stored_t *heir)
{
    char mark[MARK_LEN + 1], hash[2 * MARK_HASH + 1];

    return mark_in(heir, mark) && hash_of(r, chain, old, hash) && strcmp(mark + 1, hash) == 0
               ? mark[0]
               : 0;
}

/* ---- old ids --------------------------------------------------------------------------------- */

int sc_rotation_reach(request_rec *r, chain_t *chain, session_t *s, const char *route,
                      sc_stored_t *stored)
{
    sc_id_t heir;
    int found;

    /* one step only: behind a second one may be a login */
    if (!sc_session_heir(s, &s->id, &heir)) {
        return 0;
    }
    found = sc_session_find(r, s, &heir, route, stored);
    if (found == 1) {
        found = had(r, chain, &s->id, stored) == MARK_REFRESH;
    }
    s->id = found == 1 ? heir : s->id;
    return found;
}

int sc_rotation_follow(request_rec *r, chain_t *chain, session_t *s, sc_link_op_t op,
                       const session_diff_t *diff, sc_id_t *newest, sc_outcome_t *outcome)
{
    char masked[SC_ID_MASKED], masked_heir[SC_ID_MASKED];
    sc_id_t id = s->id, heir;
    sc_stored_t stored;

    *outcome = SC_ABSENT;
    for (int hops = 0; hops < HOPS_MAX && sc_session_heir(s, &id, &heir); hops++) {
        sc_change_t change = {0};
        sc_id_t old = id;
        int found = sc_session_find(r, s, &heir, s->route ? s->route : "", &stored);

        id = *newest = heir;
        if (found == 0) {
            continue; /* ended, or changed once more */
        }
        if (found < 0) {
            *outcome = SC_UNKNOWN;
            return 1;
        }
        if (!had(r, chain, &old, &stored)) {
            ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                          "SC1051: session %s was given a new id by another client while this "
                          "request ran; what this one has changed is dropped",
                          sc_id_mask(&s->id, masked));
            *outcome = SC_REFUSED;
            return 0;
        }
        change.id = heir;
        if (sc_session_ask(r, s, op, &change, diff, outcome) != APR_SUCCESS) {
            *outcome = SC_UNKNOWN;
            return 1;
        }
        if (*outcome != SC_ABSENT) {
            ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r,
                          "SC1052: session %s has got a new id while this request ran; its change "
                          "went to %s",
                          sc_id_mask(&s->id, masked), sc_id_mask(&heir, masked_heir));
            return 1;
        }
    }
    return 0;
}
