/* errors.h -- how a fault becomes a Python exception.

   The exceptions themselves live in ezmpi/errors.py and are fetched by name
   when one is raised.  All of this needs the GIL. */

#ifndef EZMPI_ERRORS_H
#define EZMPI_ERRORS_H

#include "compat.h"
#include "transport.h"

/* In place of a task's number: there is but one, of a single call. */
#define ERRORS_SINGLE_CALL UINT64_MAX

/* Raises ezmpi.errors.<name> with a formatted message; returns -1. */
int errors_raise(const char *name, const char *format, ...);

/* ezmpi.errors.<name>(text), a new reference; NULL: another exception is set,
   for some of its types import modules when they are used first. */
PyObject *errors_new(const char *name, const char *text);

/* ezmpi.errors.WorkerDied for a task, or ERRORS_SINGLE_CALL, that was with
   that rank when it died; host NULL: not known.  As errors_new. */
PyObject *errors_new_death(uint64_t task, int rank, const char *host);
/* The same for a task of an isolated worker, of this host: that its child did
   not survive.  before: what that did last, where it had not begun the task;
   else NULL.  Or for one that ran for longer than it may. */
PyObject *errors_new_end(uint64_t task, int rank, const char *before,
                         const struct transport_fate *fate);
PyObject *errors_new_timeout(uint64_t task, int rank, double seconds);
/* The same for whatever task uses what was shared: that rank's children die
   when they unpickle it; ended: by a signal, or 256 and their exit code. */
PyObject *errors_new_deadly(int rank, uint64_t ended);
/* Warns the user of a rank's death; so many workers are left.  -1: the warning
   is an error, and set. */
int errors_warn_death(int rank, const char *host, int left);

/* The one place where a transport's error becomes an exception
   (TransportError, naming the call); returns -1. */
int errors_raise_transport(const struct transport_error *error);

/* A worker's account of the exception that is set, which it clears: what
   errors_restore needs, as a tuple that can always be pickled.  what stands
   before the task's number in "Raised by task 3": "unpickling task".  NULL: an
   exception is set, and it is another one (MemoryError). */
PyObject *errors_account(int rank, const char *what);
/* The same on a worker, without Ctrl-C: it imports modules, which would be
   left half done.  Another signal's exception that comes yet takes the place
   of the one that is set. */
PyObject *errors_account_undisturbed(int rank, const char *what);

/* The exception that the account tells of, with its remote traceback as the
   cause and a note that names task, rank and host; a new reference.  NULL:
   exception set. */
PyObject *errors_restore(PyObject *account, uint64_t task, int broken);

/* Is the exception (borrowed) of one of the types, a tuple, or was it on the
   worker, which could not send it?  1, 0; -1: exception set. */
int errors_match(PyObject *exception, PyObject *types);

/* Adds to the exception (borrowed) a note that names the task it belongs
   to; for what went wrong on the master's side.  -1: Ctrl-C came meanwhile,
   and is set. */
int errors_note(PyObject *exception, const char *what, uint64_t task);
/* The same, of a task that was run several times: on these ranks (a list, in
   that order), and no more. */
int errors_note_attempts(PyObject *exception, PyObject *ranks);

#endif
