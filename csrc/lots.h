/* lots.h -- the tasks of chunks that may come back, until they are answered
   for.

   Knows a parcel's items, not what they mean; which chunks are kept, and which
   tasks are handed out again, is the caller's business.  Needs the GIL. */

#ifndef EZMPI_LOTS_H
#define EZMPI_LOTS_H

#include "parcel.h"

struct lots;
struct lot;

struct lots *lots_new(int workers);     /* NULL: MemoryError */
void lots_free(struct lots *lots);      /* NULL is allowed */

/* Keeps the tasks of a chunk that the worker is about to get.  parcel NULL:
   they need none, the caller can make them again.  -1: exception set. */
int lots_keep(struct lots *lots, int worker, uint64_t first, uint64_t count,
              struct parcel *parcel);
/* The worker has answered for its oldest chunk, which began with task first:
   what was kept of it, the caller's; NULL: nothing was. */
struct lot *lots_take(struct lots *lots, int worker, uint64_t first);
void lot_free(struct lot *lot); /* NULL is allowed */

/* From its task done on the lot is to be handed out again.  Steals lot.  -1:
   exception set. */
int lots_return(struct lots *lots, struct lot *lot, uint64_t done);
/* Moves the count lowest of these, which must be in one lot, to the parcel. */
int lots_draw(struct lots *lots, struct parcel *parcel, uint64_t count);

#endif
