/* iterator.h -- a job's results one by one, as a Python iterator.  Needs the
   GIL. */

#ifndef EZMPI_ITERATOR_H
#define EZMPI_ITERATOR_H

#include "crew.h"
#include "job.h"

/* A new reference to the type. */
PyObject *iterator_new_type(void);
/* Takes over the share in the job.  NULL: exception set. */
PyObject *iterator_new(PyObject *type, struct crew *crew, struct job *job,
                       PyObject *show);

#endif
