/* guard.h -- a worker's rank that runs no user's code itself: a child that it
   forks does, and may die.

   The guard is the process that MPI started, or, of a local pool, that the
   script forked; it has the mailbox to the master, and passes everything on,
   both ways.  The child runs worker.c over a mailbox of its own, to the guard,
   and never calls MPI.  When it dies, the guard answers for what it held, and
   forks another.  Needs the GIL. */

#ifndef EZMPI_GUARD_H
#define EZMPI_GUARD_H

#include "crew.h"

struct guard;

/* local: the transport to forked processes.  NULL: exception set. */
struct guard *guard_new(struct crew *crew, const struct transport *local);

/* In the child: serves the guard.  -1: exception set. */
int guard_serve_in_child(PyObject *capsule);

/* In the worker's rank: as worker_serve. */
int guard_serve(struct guard *guard, int one_wait);

#endif
