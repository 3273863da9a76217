/* chunk.c -- singly linked queues. */

#include "chunk.h"

#include <stddef.h>

void
chunks_init(struct chunks *chunks)
{
    chunks->first = NULL;
    chunks->last = &chunks->first;
    chunks->count = 0;
}

static void
put(struct chunks *chunks, struct chunk **link, struct chunk *chunk)
{
    chunks->count++;
    chunk->next = *link;
    *link = chunk;
    if (chunks->last == link)
        chunks->last = &chunk->next;
}

void
chunks_append(struct chunks *chunks, struct chunk *chunk)
{
    put(chunks, chunks->last, chunk);
}

void
chunks_prepend(struct chunks *chunks, struct chunk *chunk)
{
    put(chunks, &chunks->first, chunk);
}

void
chunks_insert(struct chunks *chunks, struct chunk *chunk)
{
    struct chunk **link = &chunks->first;
    while (*link != NULL && (*link)->header.first < chunk->header.first)
        link = &(*link)->next;
    put(chunks, link, chunk);
}

struct chunk *
chunks_pop(struct chunks *chunks)
{
    struct chunk *chunk = chunks->first;
    if (chunk == NULL)
        return NULL;
    chunks->count--;
    chunks->first = chunk->next;
    if (chunks->last == &chunk->next)
        chunks->last = &chunks->first;
    chunk->next = NULL;
    return chunk;
}
