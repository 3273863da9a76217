/* seats.h -- who is idle, and which chunks each worker holds.

   Runs on the master (rank 0), in whatever thread has the helm.  A worker's
   chunks are answered for in the order in which they were given.  What is in a
   chunk, and who should get one, is not its business.  Plain C. */

#ifndef EZMPI_SEATS_H
#define EZMPI_SEATS_H

#include <stddef.h>

#include "chunk.h"

#define NOBODY (-1)

struct seats;

struct seats *seats_new(int workers);   /* NULL: out of memory */
void seats_free(struct seats *seats);   /* NULL is allowed; not the chunks */

/* The worker that has been idle longest; NOBODY: none is. */
int seats_idle(const struct seats *seats);
/* As if all that are idle had been so for equally long: by their numbers. */
void seats_sort_idle(struct seats *seats);
/* Lists the idle ones, at most so many, the longest idle first; returns how
   many. */
size_t seats_list_idle(const struct seats *seats, int *workers, size_t most);

/* Puts the chunk behind those that the worker holds. */
void seats_give(struct seats *seats, int worker, struct chunk *chunk);
/* The chunk that the worker has to answer for first, and by its ->next the
   later ones; NULL: it holds none. */
struct chunk *seats_oldest(const struct seats *seats, int worker);
int seats_held(const struct seats *seats, int worker);
/* It has answered: takes that chunk out. */
struct chunk *seats_answer(struct seats *seats, int worker);
/* It is idle, and is never to get anything again. */
void seats_dismiss(struct seats *seats, int worker);

#endif
