/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What this node did to sessions a moment ago: a table of one word per place, shared by the
 * children.
 *
 *   tag of the key (38 bits) | what (2 bits) | when, in eighths of a second (24 bits)
 *
 * It is advisory: a word that was overwritten costs one more write of an access, or leaves it to
 * the store to know that a session has ended. A word is read and written as a whole, so none is
 * ever half one key's and half another's; the place and the tag together are more than 50 bits of a
 * hash, so two keys are not confused.
 */
#include <string.h>

#include "central.h"

#define WHEN_BITS 24
#define WHAT_BITS 2
#define WHEN_MASK (((apr_uint64_t)1 << WHEN_BITS) - 1)
#define TAG_SHIFT (WHEN_BITS + WHAT_BITS)

static apr_uint64_t *place_of(const sc_central_t *c, const sc_central_key_t *key, apr_uint64_t *tag)
{
    apr_uint64_t word[2];

    memcpy(word, key->b, sizeof(word));
    *tag = word[1] << TAG_SHIFT;
    return &c->memory->recent[word[0] % SC_CENTRAL_RECENT];
}

static apr_uint64_t eighths(const sc_central_t *c)
{
    return ((apr_uint64_t)sc_mono(c->clock) >> 17) & WHEN_MASK;
}

void sc_recent_note(const sc_central_t *c, const sc_central_key_t *key, sc_recent_t what)
{
    apr_uint64_t tag;
    apr_uint64_t *place = place_of(c, key, &tag);

    __atomic_store_n(place, tag | (apr_uint64_t)what << WHEN_BITS | eighths(c), __ATOMIC_RELAXED);
}

sc_recent_t sc_recent_get(const sc_central_t *c, const sc_central_key_t *key,
                          apr_interval_time_t *age)
{
    apr_uint64_t tag;
    apr_uint64_t word = __atomic_load_n(place_of(c, key, &tag), __ATOMIC_RELAXED);

    *age = 0;
    if (word >> TAG_SHIFT << TAG_SHIFT != tag) {
        return SC_RECENT_NOTHING;
    }
    *age = (apr_interval_time_t)(((eighths(c) - word) & WHEN_MASK) << 17);
    return (sc_recent_t)(word >> WHEN_BITS & ((1 << WHAT_BITS) - 1));
}
