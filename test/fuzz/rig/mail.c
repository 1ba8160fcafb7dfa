/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the nodes of a test have sent each other; see mail.h.
 */
#include <string.h>

#include "mail.h"

void fuzz_bag_init(fuzz_bag_t *bag, int max, apr_size_t limit)
{
    FUZZ_CHECK(max <= FUZZ_BAG_MAX);
    bag->max = max;
    bag->limit = limit;
}

void fuzz_bag_free(fuzz_bag_t *bag)
{
    int i;

    for (i = 0; i < bag->n; i++) {
        sc_buf_free(&bag->at[i].bytes);
    }
    bag->n = 0;
}

fuzz_mail_t *fuzz_bag_put(fuzz_bag_t *bag, int from)
{
    fuzz_mail_t *mail;
    int i;

    for (i = 0; bag->n == bag->max && i < bag->max; i++) {
        mail = &bag->at[i];
        if (mail->done == NULL) {
            sc_buf_free(&mail->bytes);
            bag->n--;
            memmove(mail, mail + 1, (size_t)(bag->n - i) * sizeof(*mail));
        }
    }
    if (bag->n == bag->max) {
        return NULL;
    }
    mail = &bag->at[bag->n++];
    memset(mail, 0, sizeof(*mail));
    mail->serial = ++bag->serials;
    mail->from = from;
    sc_buf_init(&mail->bytes, bag->limit);
    return mail;
}

fuzz_mail_t *fuzz_bag_find(fuzz_bag_t *bag, unsigned int serial)
{
    int i;

    for (i = 0; i < bag->n; i++) {
        if (bag->at[i].serial == serial) {
            return &bag->at[i];
        }
    }
    return NULL;
}

static void copy(const fuzz_bag_t *bag, const fuzz_mail_t *mail, sc_buf_t *bytes)
{
    sc_buf_init(bytes, bag->limit);
    sc_put(bytes, mail->bytes.data, mail->bytes.len);
}

fuzz_mail_t *fuzz_bag_any(fuzz_bag_t *bag, fuzz_in_t *in)
{
    return bag->n > 0 ? &bag->at[(int)fuzz_below(in, (unsigned int)bag->max) % bag->n] : NULL;
}

fuzz_mail_t *fuzz_bag_take(fuzz_bag_t *bag, fuzz_in_t *in, sc_buf_t *bytes, int *tell)
{
    unsigned int how = fuzz_u8(in);
    fuzz_mail_t *mail;

    if (bag->n == 0) {
        return NULL;
    }
    /* the latest first: 0 is the answer to what has just happened */
    mail = &bag->at[bag->n - 1 - (int)fuzz_below(in, (unsigned int)bag->max) % bag->n];
    copy(bag, mail, bytes);
    if (how & 1) {
        fuzz_damage(in, bytes);
    }
    *tell = !(how & 2);
    return mail;
}

fuzz_mail_t *fuzz_bag_next(fuzz_bag_t *bag, sc_buf_t *bytes)
{
    int i;

    for (i = 0; i < bag->n; i++) {
        if (!bag->at[i].arrived) {
            copy(bag, &bag->at[i], bytes);
            return &bag->at[i];
        }
    }
    return NULL;
}
