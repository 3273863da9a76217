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

static struct chunk *
take(struct chunks *chunks, struct chunk **link)
{
    struct chunk *chunk = *link;
    chunks->count--;
    *link = chunk->next;
    if (chunks->last == &chunk->next)
        chunks->last = link;
    chunk->next = NULL;
    return chunk;
}

struct chunk *
chunks_pop(struct chunks *chunks)
{
    return chunks->first == NULL ? NULL : take(chunks, &chunks->first);
}

int
chunks_remove(struct chunks *chunks, struct chunk *chunk)
{
    struct chunk **link = &chunks->first;
    while (*link != NULL && *link != chunk)
        link = &(*link)->next;
    if (*link == NULL)
        return 0;
    take(chunks, link);
    return 1;
}
