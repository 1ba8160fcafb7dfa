/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Heap in use, counted exactly: the linker leads malloc and its relatives here (--wrap). What the
 * C library reports of itself counts what it keeps for later as in use.
 */
#include <stdlib.h>

#include "sim.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static long blocks;

long heap_blocks(void)
{
    return blocks;
}

static void *count(void *p)
{
    blocks += p != NULL;
    return p;
}

static void discount(const void *p)
{
    blocks -= p != NULL;
}

void *__wrap_malloc(size_t n)
{
    return count(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return count(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    discount(p);
    p = __real_realloc(p, n);
    return count(p);
}

void __wrap_free(void *p)
{
    discount(p);
    __real_free(p);
}
