/* chunk.h -- tasks that travel in one message, and queues of such.

   Runs on the master (rank 0), in whatever thread has the helm; worker.c has a
   struct of its own for a chunk that came.  Here it is in one queue at a time:
   with its line until a worker gets it, at that worker's seat (seats.h), among
   the answered.  To make and free one takes Python: dispatch.h.  Plain C; what
   its parcels hold is not its business. */

#ifndef EZMPI_CHUNK_H
#define EZMPI_CHUNK_H

#include <stdatomic.h>
#include <stddef.h>

#include "protocol.h"

struct callable;
struct line;
struct parcel;
struct ticket;

struct chunk {
    struct chunk *next;             /* in its queue */
    struct line *line;              /* whose it is */
    struct header header;           /* as it is sent */
    struct callable *callable;      /* kept */
    struct parcel *tasks;           /* while they may be needed, or NULL */
    struct header reply;            /* of the answer, ... */
    struct parcel *answer;          /* ... or NULL where it has none */
    struct ticket *ticket;          /* of a single call (call.h), or NULL */
    int worker;                     /* that has it; while is_given */
    int avoids;                     /* where its task failed, or NOBODY */
    int is_pinned;                  /* it is for this worker and no other */
    _Atomic int is_given;           /* to a worker, now or once */
    int is_cancelled;               /* while it waits: not to be given */
    int deaths;                     /* of workers that may have run it */
    int is_given_up;                /* for that: it has no answer */
};

struct chunks {
    struct chunk *first, **last;
    size_t count;
};

void chunks_init(struct chunks *chunks);
void chunks_append(struct chunks *chunks, struct chunk *chunk);
void chunks_prepend(struct chunks *chunks, struct chunk *chunk);
/* Before those with higher tasks. */
void chunks_insert(struct chunks *chunks, struct chunk *chunk);
struct chunk *chunks_pop(struct chunks *chunks);    /* NULL: it is empty */

#endif
