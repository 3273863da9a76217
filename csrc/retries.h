/* retries.h -- which tasks failed, how often and where, and whether to run
   them again.

   Runs on the master, in whatever thread takes answers in; a worker knows
   nothing of it.  A task that is to be run again waits in its line's queue
   `again` (dispatch.h).  All of this needs the GIL. */

#ifndef EZMPI_RETRIES_H
#define EZMPI_RETRIES_H

#include <stdint.h>

#include "compat.h"

struct retries;

/* Of a plan, made by ezmpi._failures.  NULL: exception set. */
struct retries *retries_new(PyObject *plan);
void retries_free(struct retries *retries);     /* NULL is allowed */

/* The task failed on this rank, with this exception (borrowed): is it to be
   run again?  1; 0: no, and where it was, a note in the exception says how
   often and on which ranks.  -1: exception set. */
int retries_failed(struct retries *retries, uint64_t task, int rank,
                   PyObject *exception);
/* It did not fail, or nobody waits for it any more.  NULL is allowed.  -1:
   exception set. */
int retries_forget(struct retries *retries, uint64_t task);

#endif
