/* status.h -- what each worker does, as far as the master knows.

   Needs the GIL; takes the helm itself. */

#ifndef EZMPI_STATUS_H
#define EZMPI_STATUS_H

#include "crew.h"

/* A list with a tuple for each worker that has not died: rank; host, or None
   while it is not known; whether it holds anything; of the chunk that it has
   to answer for first the callable's name (None: its job was given up),
   whether it is a single call, its job's number, its first task and how many
   it has; seconds since it was handed out or the one before was answered
   (None: nothing ever was).  What has come from workers is taken in before,
   where this thread may use MPI.  NULL: exception set, also in a forked child
   and by what pickles for the pool. */
PyObject *status_list(struct crew *crew);

#endif
