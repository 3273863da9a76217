/* worker.h -- serve: take a task, call it, answer.

   Needs the GIL. */

#ifndef EZMPI_WORKER_H
#define EZMPI_WORKER_H

#include "crew.h"

/* Serves rank 0 until its process ends (0), or, with one_wait, until it grants
   the end of one wait (0 too).  That is the master, or in a guard's child the
   guard, which passes on what the master says.  -1: exception set; the worker
   cannot go on, and neither can the job. */
int worker_serve(struct crew *crew, int one_wait);

#endif
