/* snapshot.h -- is a function still what it was when it was pickled?

   Only for plain functions, which pickle to their name and hold nothing: no
   closure, defaults or attributes.  What such a one does elsewhere depends on
   its code and, if it is the script's, on the names that it reads in
   __main__, directly or through other functions.  While all of these are the
   same objects, nothing can have changed in its pickle or in what has to be
   bound on the workers for it, and comparing them takes less than a tenth of
   the time of pickling.

   All of this needs the GIL. */

#ifndef EZMPI_SNAPSHOT_H
#define EZMPI_SNAPSHOT_H

#include "compat.h"

struct snapshot;

/* Of a function that was just pickled, and whose bindings the workers have or
   will be sent.  record: the MainRecord that knows what it reads.  *snapshot:
   NULL where it is none that can be told from its parts.  -1: exception
   set. */
int snapshot_take(PyObject *function, PyObject *record,
                  struct snapshot **snapshot);
/* Never calls Python code. */
int snapshot_holds(const struct snapshot *snapshot, PyObject *function);
void snapshot_free(struct snapshot *snapshot); /* NULL is allowed */

#endif
