/* spans.c -- a list of spans, the lowest first. */

#include "spans.h"

#include <stdlib.h>

int
spans_add(struct spans *spans, uint64_t first, uint64_t count)
{
    struct span **link = &spans->lowest, *span;
    if (count == 0)
        return 0;
    if ((span = malloc(sizeof *span)) == NULL)
        return -1;
    if (spans->latest != NULL && spans->latest->first < first)
        link = &spans->latest->next;
    while (*link != NULL && (*link)->first < first)
        link = &(*link)->next;
    *span = (struct span){first, count, *link};
    *link = spans->latest = span;
    spans->total += count;
    return 0;
}

void
spans_take(struct spans *spans, uint64_t count)
{
    struct span *lowest = spans->lowest;
    lowest->first += count;
    lowest->count -= count;
    spans->total -= count;
    if (lowest->count > 0)
        return;
    spans->lowest = lowest->next;
    if (spans->latest == lowest)
        spans->latest = NULL;
    free(lowest);
}

void
spans_clear(struct spans *spans)
{
    while (spans->lowest != NULL)
        spans_take(spans, spans->lowest->count);
}
