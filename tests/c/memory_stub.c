/* memory_stub.c -- Python's memory, for what is linked without Python. */

#include "compat.h"

#include <stdlib.h>

void *
PyMem_RawMalloc(size_t size)
{
    return malloc(size);
}

void *
PyMem_RawCalloc(size_t count, size_t size)
{
    return calloc(count, size);
}

void *
PyMem_RawRealloc(void *memory, size_t size)
{
    return realloc(memory, size);
}

void
PyMem_RawFree(void *memory)
{
    free(memory);
}
