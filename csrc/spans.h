/* spans.h -- sets of task numbers, as sorted spans.  Plain C. */

#ifndef EZMPI_SPANS_H
#define EZMPI_SPANS_H

#include <stdint.h>

struct span {
    uint64_t first, count;
    struct span *next;
};

struct spans {
    struct span *lowest;        /* NULL: there is none */
    struct span *latest;        /* added; most come in order */
    uint64_t total;             /* tasks in all of them */
};

/* Adds a span that has no task in common with those there.  -1: out of
   memory. */
int spans_add(struct spans *spans, uint64_t first, uint64_t count);
/* Takes out the count lowest tasks, which must be in the lowest span. */
void spans_take(struct spans *spans, uint64_t count);
void spans_clear(struct spans *spans);

#endif
