/* progress.h -- how far a job is, for whoever wants to see it.

   Needs the GIL; not at the helm.  The job may be dropped meanwhile. */

#ifndef EZMPI_PROGRESS_H
#define EZMPI_PROGRESS_H

#include "crew.h"
#include "job.h"

#define PROGRESS_SECONDS 0.1    /* from one look to the next */

/* A tuple: tasks done; of how many, or None; workers that have any, of
   whatever job.  None where there is nothing to be seen: without a job, in a
   forked child, or from what pickles for the pool.  NULL: exception set. */
PyObject *progress_of(struct crew *crew, struct job *job);
/* Calls show with these.  -1: exception set, of what it raised. */
int progress_show(struct crew *crew, struct job *job, PyObject *show);

#endif
